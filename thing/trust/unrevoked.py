"""
Revocation around whatever admits: an authorizer of any kind, and a list of what is revoked.

What a list has, :mod:`thing.trust.revocation` knows; who is admitted otherwise, the authorizer
inside. Here is when the one is asked, and when the other.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from thing.core.credentials import readSshCertificate
from thing.errors import NotAuthorized
from thing.identity import CredentialKind, Identity
from thing.trust.interfaces import IAuthorizer, IKeyContinuity
from thing.trust.revocation import RevokedKeys
from thing.trust.sshkeys import describeCertificate


@implementer(IAuthorizer, IKeyContinuity)
class Unrevoked:
    """
    Admits whom another authorizer admits, unless it is revoked.

    :param authorizer: who decides about all that is not revoked, an :class:`IAuthorizer`.
    :param revoked: what is believed no longer.
    :ivar authorizer: the same.
    :ivar revoked: the same.
    """

    def __init__(self, authorizer: Any, revoked: RevokedKeys) -> None:
        self.authorizer = IAuthorizer(authorizer)
        self.revoked = revoked

    def authorize(self, identity: Identity) -> Identity | Deferred[Identity]:
        """
        Refuse what is revoked, and let the authorizer decide about the rest.

        :param identity: what the peer has proved.
        :return: what the authorizer returns.
        :raises NotAuthorized: if it is revoked, or as the authorizer does.
        """
        if identity.kind is not CredentialKind.SSH_CERTIFICATE:
            self._refuseRevoked(identity)  # Before: who believes at first use stores the key.
            decision: Identity | Deferred[Identity] = self.authorizer.authorize(identity)
            return decision

        def unlessRevoked(admitted: Identity) -> Identity:
            self._refuseRevoked(identity)
            return admitted

        # After: until the authorizer believes the authority, a certificate's content is no word.
        answer = self.authorizer.authorize(identity)
        if isinstance(answer, Identity):
            return unlessRevoked(answer)
        return maybeDeferred(lambda: answer).addCallback(unlessRevoked)

    def nextKeyAnnounced(self, current: Identity, next: Identity) -> None:
        """
        Tell the authorizer, if it wants to know, unless one of the keys is revoked.

        :param current: the server as this session's handshake proved it.
        :param next: the server as it will be.
        :raises NotAuthorized: if one of the keys is revoked, or as the authorizer does.
        :raises CredentialError: as the authorizer does.
        """
        if IKeyContinuity.providedBy(self.authorizer):
            for identity in (current, next):
                self._refuseRevoked(identity)
            self.authorizer.nextKeyAnnounced(current, next)

    def _refuseRevoked(self, identity: Identity) -> None:
        """Refuse a peer of which anything is revoked."""
        why = self.revoked.whyRevoked(identity)
        if why is None:
            return
        if identity.kind is CredentialKind.SSH_CERTIFICATE:
            certificate = readSshCertificate(identity.credential)
            why = f"{describeCertificate(identity.fingerprint, certificate)}: {why}"
        raise NotAuthorized(why)

"""
Revocation around whatever admits: an authorizer of any kind, and a list of what is revoked.

What a list has, :mod:`thing.trust.revocation` knows; who is admitted otherwise, the authorizer
inside. Here is when the one is asked, and when the other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from thing.core.credentials import readSshCertificate
from thing.errors import NotAuthorized
from thing.identity import CredentialKind, Identity
from thing.trust.interfaces import (
    IAuthorizer,
    IKeyContinuity,
    IRevocations,
    ServerAuthorizer,
    ThingAuthorizer,
    judgeAs,
)
from thing.trust.sshkeys import describeCertificate


@implementer(IAuthorizer, IKeyContinuity)
class Unrevoked:
    """
    Admits whom another authorizer admits, unless it is revoked.

    :param authorizer: who decides about all that is not revoked, an :class:`IAuthorizer`.
    :param revoked: what is believed no longer, an :class:`IRevocations`.
    :ivar authorizer: the same.
    :ivar revoked: the same.
    """

    def __init__(self, authorizer: ThingAuthorizer | ServerAuthorizer, revoked: Any) -> None:
        judgeAs(self, authorizer)
        self.authorizer: Any = authorizer
        self.revoked = IRevocations(revoked)

    def authorize(self, identity: Identity) -> Identity | Deferred[Identity]:
        """
        Refuse what is revoked, and let the authorizer decide about the rest.

        :param identity: what the peer has proved.
        :return: what the authorizer returns.
        :raises NotAuthorized: if it is revoked, or as the authorizer does.
        """
        if identity.kind is CredentialKind.ED25519:
            self._refuseRevoked(identity)  # Before: who believes at first use stores the key.

        def unlessRevoked(admitted: Identity) -> Identity:
            self._refuseRevoked(replace(identity, authorities=admitted.authorities))
            for key in admitted.announcers:
                self._refuseRevoked(Identity(CredentialKind.ED25519, key))
            return admitted

        # After: until the authorizer believes the authority, a certificate's content is no word.
        answer = self.authorizer.authorize(identity)
        if isinstance(answer, Identity):
            return unlessRevoked(answer)
        return maybeDeferred(lambda: answer).addCallback(unlessRevoked)

    def keysAnnounced(self, current: Identity, following: Identity | None) -> Deferred[None] | None:
        """
        Tell the authorizer, if it wants to know, unless one of the keys is revoked.

        :param current: the server as this session's handshake proved it.
        :param following: the server by the other key that holds; None for no other.
        :return: what the authorizer returns.
        :raises NotAuthorized: if one of the keys is revoked, or as the authorizer does.
        :raises CredentialError: as the authorizer does.
        """
        if not IKeyContinuity.providedBy(self.authorizer):
            return None
        for identity in (current, following):
            if identity is not None:
                self._refuseRevoked(identity)
        kept: Deferred[None] | None = self.authorizer.keysAnnounced(current, following)
        return kept

    def _refuseRevoked(self, identity: Identity) -> None:
        """Refuse a peer of which anything is revoked."""
        why = self.revoked.whyRevoked(identity)
        if why is None:
            return
        if identity.kind is CredentialKind.SSH_CERTIFICATE:
            certificate = readSshCertificate(identity.credential)
            why = f"{describeCertificate(identity.fingerprint, certificate)}: {why}"
        raise NotAuthorized(why)

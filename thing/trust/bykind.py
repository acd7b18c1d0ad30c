"""
One authorizer made of several: one for each kind of credential.

Here is just who is asked; what each kind is worth is in the module of that kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from thing.arguments import checkKind
from thing.errors import NotAuthorized
from thing.identity import CredentialKind, Identity
from thing.trust.interfaces import (
    IAuthorizer,
    IKeyContinuity,
    ServerAuthorizer,
    ThingAuthorizer,
    judgeAs,
)


@implementer(IAuthorizer, IKeyContinuity)
class ByKind:
    """
    Asks the authorizer of the kind of credential that was proved.

    :param authorizers: for each kind that is judged at all, an :class:`IAuthorizer`.
    :raises TypeError: if one is none, or some judge things and others servers.
    :ivar authorizers: the same.
    """

    def __init__(
        self, authorizers: Mapping[CredentialKind, ThingAuthorizer | ServerAuthorizer]
    ) -> None:
        checkKind("authorizers", authorizers, Mapping, "a mapping of kinds to authorizers")
        judgeAs(self, *authorizers.values())
        self.authorizers: dict[CredentialKind, Any] = dict(authorizers)

    @property
    def peerKinds(self) -> tuple[CredentialKind, ...]:
        """What ``settings.peerKinds`` is to be."""
        return tuple(kind for kind in self.authorizers if kind is not CredentialKind.NONE)

    def authorize(self, identity: Identity) -> Identity | Deferred[Identity]:
        """
        Let the kind's authorizer decide.

        :param identity: what the peer has proved.
        :return: what that authorizer returns.
        :raises NotAuthorized: as that authorizer does, or if there is none for this kind.
        """
        authorizer = self.authorizers.get(identity.kind)
        if authorizer is None:
            raise NotAuthorized(f"nobody is admitted by a credential of kind {identity.kind.name}")
        decision: Identity | Deferred[Identity] = authorizer.authorize(identity)
        return decision

    def keysAnnounced(self, current: Identity, following: Identity | None) -> Deferred[None] | None:
        """
        Tell the kind's authorizer, if it wants to know.

        :param current: the server as this session's handshake proved it.
        :param following: the server by the other key that holds; None for no other.
        :return: what that authorizer returns.
        :raises NotAuthorized: as that authorizer does.
        :raises CredentialError: as that authorizer does.
        """
        authorizer = self.authorizers.get(current.kind)
        if not IKeyContinuity.providedBy(authorizer):
            return None
        kept: Deferred[None] | None = authorizer.keysAnnounced(current, following)
        return kept

"""Authorizers for tests that are not about whom to believe."""

from __future__ import annotations

from zope.interface import implementer

from thing.errors import NotAuthorized
from thing.identity import Identity
from thing.trust.interfaces import IAuthorizer


@implementer(IAuthorizer)
class AnyPeer:
    """Believes whoever comes, client or server; a program has no such thing."""

    def authorize(self, identity: Identity) -> Identity:
        """Believe it."""
        return identity


@implementer(IAuthorizer)
class NoPeer:
    """Believes nobody."""

    def authorize(self, identity: Identity) -> Identity:
        """
        Refuse it.

        :raises NotAuthorized: always.
        """
        raise NotAuthorized("nobody is admitted")

"""
Who decides whether a peer that has proved its key is let in.

The interfaces are zope's. Beside them stand the same for type checkers: a server takes a
:class:`ThingAuthorizer`, a client a :class:`ServerAuthorizer`. Who can judge both has an
``authorize`` that takes any :class:`~thing.identity.Identity`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, NewType, Protocol

from zope.interface import Interface, alsoProvides

from thing.arguments import checkMethods, described
from thing.core.messages import Role
from thing.identity import Identity

if TYPE_CHECKING:  # Programs without Twisted have authorizers, too.
    from twisted.internet.defer import Deferred

ThingIdentity = NewType("ThingIdentity", Identity)
"""What a client has proved, to the one who judges clients."""

ServerIdentity = NewType("ServerIdentity", Identity)
"""What a server has proved, to the one who judges servers."""


class ThingAuthorizer(Protocol):
    """What a server takes: judges things, as :class:`IAuthorizer` says."""

    def authorize(self, identity: ThingIdentity, /) -> Identity | Awaitable[Identity]:
        """Decide whether to go on with a client."""


class ServerAuthorizer(Protocol):
    """What a client takes: judges servers, as :class:`IAuthorizer` says."""

    def authorize(self, identity: ServerIdentity, /) -> Identity | Awaitable[Identity]:
        """Decide whether to go on with a server."""


class IAuthorizer(Interface):
    """
    The one decision in which every kind of credential ends.

    Both roles ask it: the server about a client, the client about a server.
    """

    def authorize(identity: Any) -> Identity | Awaitable[Identity]:
        """
        Decide whether to go on with a peer.

        Called once in each handshake, and only after the peer has proved that
        it holds the key, or the secret of a session in which it did (or, of a client, that it
        has none to show). The
        answer must come within ``settings.handshakeTimeout`` seconds of the connection; later
        the handshake has failed, and the answer changes nothing. A refused peer
        learns the code of the refusal and no more.

        :param identity: the :class:`~thing.identity.Identity` that the peer has proved; it has no
            name yet.
        :return: the identity with the name that this side knows it by, or a
            Deferred or a coroutine of that.
        :raises NotAuthorized: if the peer is refused; a Deferred may fail with
            the same.
        """


class IThingAuthorizer(IAuthorizer):
    """What judges things and no servers: a client that has it would believe anybody, or nobody."""


class IServerAuthorizer(IAuthorizer):
    """What judges servers and no things."""


def judgeAs(judge: object, *authorizers: object) -> None:
    """
    Have one who asks others judge whom they judge.

    :param judge: asks them.
    :param authorizers: are asked.
    :raises TypeError: if one is no authorizer, or one judges things and another servers.
    """
    for each in authorizers:
        checkAuthorizer(each, None)
        for interface in (IThingAuthorizer, IServerAuthorizer):
            if interface.providedBy(each):
                alsoProvides(judge, interface)
    if IThingAuthorizer.providedBy(judge) and IServerAuthorizer.providedBy(judge):
        names = " and ".join(type(each).__name__ for each in authorizers)
        raise TypeError(f"{names} do not judge the same: one does things, another servers")


def checkAuthorizer(authorizer: object, role: Role | None) -> None:
    """
    Refuse what cannot judge the peers of a role.

    :param authorizer: whom a program has chosen.
    :param role: the role of the program's side; None for either.
    :raises TypeError: if it is no authorizer, or one for the other role.
    """
    if not IAuthorizer.providedBy(authorizer):
        raise TypeError(
            f"authorizer is what provides IAuthorizer, as PinnedServers([...]) and"
            f" AuthorizedThings(path) do, not {described(authorizer)}"
        )
    if role is not None:
        checkRole(authorizer, role)


def checkRole(authorizer: object, role: Role) -> None:
    """
    Refuse what judges the wrong side.

    :param authorizer: whom a program has chosen, whatever it provides.
    :param role: the role of the program's side.
    :raises TypeError: if it is for the other role, or judges nobody.
    """
    checkMethods("authorizer", authorizer, ("authorize",), "what provides IAuthorizer")
    name = type(authorizer).__name__
    if role is Role.CLIENT and IThingAuthorizer.providedBy(authorizer):
        raise TypeError(
            f"authorizer is a {name}, which judges things: a client needs what judges servers,"
            " as PinnedServers or KnownServers does"
        )
    if role is Role.SERVER and IServerAuthorizer.providedBy(authorizer):
        raise TypeError(
            f"authorizer is a {name}, which judges servers: a server needs what judges things,"
            " as AuthorizedThings or Anyone does"
        )


class IKeyContinuity(Interface):
    """
    What an authorizer of a client also provides if it follows a server from key to key.

    A server that is to change its key announces the new one beforehand, and says
    when the old one holds no longer, so that no client has to be told by hand.
    """

    def keysAnnounced(current: Identity, following: Identity | None) -> Deferred[None] | None:
        """
        Remember by which keys a server holds: the current one, and at most one more.

        Called once in each established session whose handshake proved a key of
        the server's, and with another key only if both have signed the announcement.

        :param current: the server as this session's handshake proved it.
        :param following: the server by the other key, as a rule its next one; None for no other.
        :return: nothing, or a Deferred that fires when that is stored.
        :raises NotAuthorized: if this side does not believe one of the keys; a
            Deferred may fail with the same, and with the next.
        :raises CredentialError: if the key cannot be stored.
        """


class IRevocations(Interface):
    """What knows keys that are believed no longer, whoever else believes them."""

    def whyRevoked(identity: Identity) -> str | None:
        """
        Say what of a peer's is revoked.

        :param identity: what the peer has proved.
        :return: one line for this side's log; nothing if nothing is revoked.
        """

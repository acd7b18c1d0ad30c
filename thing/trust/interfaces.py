"""Who decides whether a peer that has proved its key is let in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

from thing.identity import Identity

if TYPE_CHECKING:  # Programs without Twisted have authorizers, too.
    from twisted.internet.defer import Deferred


class IAuthorizer(Interface):
    """
    The one decision in which every kind of credential ends.

    Both roles ask it: the server about a client, the client about a server.
    """

    def authorize(identity: Identity) -> Identity | Deferred[Identity]:
        """
        Decide whether to go on with a peer.

        Called once in each handshake, and only after the peer has proved that
        it holds the key, or the secret of a session in which it did (or, of a client, that it
        has none to show). The
        answer must come within ``settings.handshakeTimeout`` seconds of the connection; later
        the handshake has failed, and the answer changes nothing. A refused peer
        learns the code of the refusal and no more.

        :param identity: what the peer has proved; it has no name yet.
        :return: the identity with the name that this side knows it by, or a
            Deferred or a coroutine of that.
        :raises NotAuthorized: if the peer is refused; a Deferred may fail with
            the same.
        """


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

"""
Keys made on the spot, and the settings and authorizers that make their owners meet.

They are kept nowhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zope.interface import implementer

from thing.core.settings import ClientSettings, ServerSettings
from thing.errors import NotAuthorized
from thing.identity import Identity
from thing.trust import IdentityKey, PinnedServers
from thing.trust.interfaces import IThingAuthorizer, ThingIdentity


@implementer(IThingAuthorizer)
class OnlyThing:
    """Admits one key, by a name."""

    def __init__(self, key: IdentityKey, name: str) -> None:
        """
        :param key: the key.
        :param name: what the identity is called.
        """
        self._publicKey = key.data
        self._name = name

    def authorize(self, identity: ThingIdentity) -> Identity:
        """
        Admit the one.

        :param identity: what the peer has proved.
        :return: the same, with its name.
        :raises NotAuthorized: if it is another.
        """
        if identity.publicKey != self._publicKey:
            raise NotAuthorized(f"{identity.fingerprint} is not the key of {self._name}")
        return replace(identity, name=self._name)


class Keys:
    """
    A server's key and a client's, of which nobody else knows, and who believes them.

    :ivar server: the server's key.
    :ivar client: the client's key.
    :ivar things: the server's authorizer: it admits the client's key alone, by its name.
    :ivar servers: the client's authorizer: it believes the server's key alone.
    """

    def __init__(self, name: str = "thing") -> None:
        """:param name: what the server knows the client by."""
        self.server = IdentityKey.generate()
        self.client = IdentityKey.generate()
        self.things: Any = OnlyThing(self.client, name)
        self.servers: Any = PinnedServers([self.server.fingerprint])

    def serverSettings(self, **choices: Any) -> ServerSettings:
        """
        Make a server's settings.

        :param choices: fields of :class:`~thing.core.settings.ServerSettings`.
        :return: the settings; the server's key is in them, unless another was chosen.
        """
        return ServerSettings(**{"credential": self.server, **choices})

    def clientSettings(self, **choices: Any) -> ClientSettings:
        """
        Make a client's settings.

        :param choices: fields of :class:`~thing.core.settings.ClientSettings`.
        :return: the settings; the client's key is in them, unless another was chosen.
        """
        return ClientSettings(**{"credential": self.client, **choices})

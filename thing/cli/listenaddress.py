"""
Where a command listens, as the user names it: a port, an address, a socket of the system's.

What comes to be connected there is not its concern.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

LOOPBACK = "127.0.0.1"
"""Where it listens if only a port is said: nobody on the network reaches that."""

_TCP = re.compile(r"(?:(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:\[\]]+)):)?(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen."""

    host: str = LOOPBACK
    """The address."""

    port: int = 0
    """The port; 0 for any that is free."""

    path: str | None = None
    """The path of a socket in the file system; None for TCP."""

    def listen(self, reactor: Any, factory: Any) -> Any:
        """
        Listen. A socket in the file system is for the user alone.

        :param reactor: provides ``IReactorTCP`` and ``IReactorUNIX``.
        :param factory: builds the protocols.
        :return: the port.
        :raises CannotListenError: if that cannot be had.
        """
        from thing.daemon.unixports import UnixPorts

        if self.path is None:
            return reactor.listenTCP(self.port, factory, interface=self.host)
        # So that it takes the place of one that nobody listens on any more.
        return UnixPorts(reactor).listenUNIX(self.path, factory, mode=0o600, wantPID=True)

    def url(self, port: Any) -> str:
        """
        Say where it is reached.

        :param port: what listens.
        :return: a URL, as of a web server; of a socket, what curl and others call it.
        """
        if self.path is not None:
            return f"unix:{self.path}"
        host = self.host
        if ip_address(host).is_unspecified:  # It listens at all addresses.
            host = "::1" if ":" in host else LOOPBACK
        return f"http://{f'[{host}]' if ':' in host else host}:{port.getHost().port}/"

    def __str__(self) -> str:
        """As the user would write it."""
        if self.path is not None:
            return f"unix:{self.path}"
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def parseListen(text: str) -> ListenAddress:
    """
    Understand what the user wrote.

    :param text: ``PORT``, ``ADDRESS:PORT``, ``[IPV6]:PORT`` or ``unix:PATH``.
    :return: where to listen.
    :raises ValueError: if it is none of these; the message says so.
    """
    if text.startswith("unix:") and text.removeprefix("unix:"):
        return ListenAddress(path=text.removeprefix("unix:"))
    match = _TCP.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not PORT, ADDRESS:PORT, [IPV6]:PORT or unix:PATH")
    port = int(match["port"])
    if port > 65535:
        raise ValueError(f"{port} is not a port")
    host = match["v6"] or match["host"] or LOOPBACK
    if host == "localhost":
        host = LOOPBACK
    try:
        version = ip_address(host).version
    except ValueError:
        raise ValueError(f"{host!r} is not an address of this machine") from None
    if (version == 6) != (match["v6"] is not None):
        raise ValueError(f"an IPv6 address, and no other, goes in brackets: {text!r}")
    return ListenAddress(host, port)

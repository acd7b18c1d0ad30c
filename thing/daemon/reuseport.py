"""
TCP ports that several processes of one machine listen on at once (``SO_REUSEPORT``).

The kernel gives each new connection to one of them, and each process has a core
to itself. All must belong to one user, or the kernel refuses the second.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

_KINDS = frozenset({"tcp", "tcp6"})


def canReuse(description: str) -> bool:
    """
    Tell whether a port can be shared.

    :param description: of a server endpoint.
    :return: whether it is a ``tcp:`` or a ``tcp6:`` port, behind ``haproxy:`` or not.
    """
    return description.removeprefix("haproxy:").partition(":")[0] in _KINDS


class SharedPorts:
    """
    A reactor whose TCP ports other processes may have, too.

    Twisted's endpoints know a reactor's ``listenTCP`` and no option for this.
    """

    def __init__(self, reactor: Any) -> None:
        """:param reactor: provides ``IReactorSocket``."""
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        """Be the reactor in all else."""
        return getattr(self._reactor, name)

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """
        Listen, as ``IReactorTCP`` has it.

        :param port: the number.
        :param factory: builds the protocols.
        :param backlog: how many connections may wait to be accepted.
        :param interface: the address to listen on; empty for all of IPv4.
        :return: the port.
        :raises CannotListenError: if it cannot be had.
        """
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as listening:
            try:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                listening.bind(_resolved(family, interface, port))
                listening.listen(backlog)
            except OSError as error:
                raise CannotListenError(interface, port, error) from error  # type: ignore[no-untyped-call]
            listening.setblocking(False)
            # The port has a descriptor of its own.
            adopted: IListeningPort = self._reactor.adoptStreamPort(
                listening.fileno(), family, factory
            )
        return adopted


def _resolved(family: socket.AddressFamily, interface: str, port: int) -> Any:
    """The address with its scope, which an IPv6 address may have in words."""
    if family is socket.AF_INET:
        return (interface, port)
    return socket.getaddrinfo(interface, port, family, socket.SOCK_STREAM)[0][4]

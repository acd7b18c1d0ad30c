"""
What can be asked of the transports that a session may be given, which differ in what they can do.

Nothing here holds a transport; what sends over one is in :mod:`thing.session.sinks`.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import ISSLTransport, IWriteDescriptor

NOT_SENT_LIMIT = 65536
"""What the kernel may hold unsent where no :class:`~thing.core.pace.Pace` tells that, octets."""

FULL_READ = FileDescriptor.bufferSize
"""How many octets Twisted's transports for sockets read at a time at first."""

LONG_READ = 4 * FULL_READ
"""How many they read at a time where so many come: fewer turns of the reactor, fewer copies."""

MOST_LAYERS = 8
"""How many transports may lie in one another: a few, and never one in itself."""


def canSendDirectly(transport: Any) -> bool:
    """
    Whether a transport has ``writeSomeData``, which sends to the kernel now.

    ``write`` waits for another turn of the reactor, and has it look whether the socket is
    writable. Only the type counts: a wrapper lends its transport's methods, and over TLS they
    would go past the encryption.

    :param transport: any stream transport.
    :return: whether it is so.
    """
    return (
        IWriteDescriptor.providedBy(transport)
        and not ISSLTransport.providedBy(transport)
        and hasattr(type(transport), "writeSomeData")
    )


def closeWriteSide(transport: Any) -> None:
    """
    Close our half only: closing with octets unread would reset the stream, and lose the last word.

    :param transport: any stream transport.
    """
    # TLS has no half-close; the method that its transport seems to have is the socket's.
    if ISSLTransport.providedBy(transport) or not hasattr(transport, "loseWriteConnection"):
        transport.loseConnection()
    else:
        transport.loseWriteConnection()


def abort(transport: Any) -> None:
    """
    Cut the stream now, as far as this kind of transport can.

    :param transport: any stream transport.
    """
    getattr(transport, "abortConnection", transport.loseConnection)()


def setNoDelay(transport: Any) -> None:
    """
    Have small messages sent without waiting for more, where the transport can be told.

    :param transport: any stream transport.
    """
    setTcpNoDelay = getattr(transport, "setTcpNoDelay", None)
    if setTcpNoDelay is not None:
        with suppress(OSError):  # Some unix sockets' transports have the method, too.
            setTcpNoDelay(True)


def awaitsProxyHeader(transport: Any) -> bool:
    """
    Tell whether a PROXY header comes before the first data, and in it where they come from.

    :param transport: any stream transport, whatever layers it has.
    :return: whether Twisted's ``haproxy:`` is one of the layers; its class has no public name.
    """
    for _ in range(MOST_LAYERS):
        if type(transport).__module__.startswith("twisted.protocols.haproxy."):
            return True
        transport = getattr(transport, "transport", None)
    return False


def readMore(transport: Any) -> None:
    """
    Have much read at a time, where the transport can be told: as much as it could came at once.

    :param transport: any stream transport.
    """
    if isinstance(transport, FileDescriptor):
        transport.bufferSize = LONG_READ


def sendMore(transport: Any, octets: int) -> None:
    """
    Have a transport give the kernel so much at a time, where it can be told.

    :param transport: any stream transport.
    :param octets: how much at most.
    """
    if isinstance(transport, FileDescriptor):
        transport.SEND_LIMIT = octets


def limitUnsent(transport: Any, octets: int) -> None:
    """
    Have the kernel ask for more only when it holds next to nothing unsent, where it can be told.

    :param transport: any stream transport.
    :param octets: how much it may hold.
    """
    getHandle = getattr(transport, "getHandle", None)
    handle = getHandle() if getHandle is not None else None
    notSent = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if notSent is not None and isinstance(handle, socket.socket):
        with suppress(OSError):  # It is no TCP socket, or gone.
            handle.setsockopt(socket.IPPROTO_TCP, notSent, octets)

"""
Whatever stands in a PROXY header, what is behind it goes on, and the log is not filled.

Twisted reads the header, and some that are none make it raise: a reactor then ends the connection
and logs a traceback, of which a server writes a few.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from twisted.python.failure import Failure

from fuzz.choices import Choices
from fuzz.cost import admitted, within
from thing.daemon.logs import isComplaint
from thing.session.addresses import formatAddress, networkOf


class _Behind(Protocol):
    """What is behind the header: it asks where the client is, as a server's door does."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        networkOf(self.transport.getPeer())
        assert formatAddress(self.transport.getPeer()).isprintable()


def oneInput(data: bytes) -> None:
    """
    Begin a connection with octets.

    :param data: where they are cut, then the octets.
    """
    choices = Choices(data)
    size = choices.octet() or 256
    said = choices.octets(1 << 20)
    factory = HAProxyWrappingFactory(Factory.forProtocol(_Behind))
    protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    transport = StringTransport()
    protocol.makeConnection(transport)
    for at in range(0, len(said), size):
        if transport.disconnecting:
            return
        try:
            with within(admitted(size), "a header"):
                protocol.dataReceived(said[at : at + size])
        except Exception as error:
            if not isComplaint({"log_failure": Failure(error)}):
                raise
            return


def seeds() -> list[bytes]:
    """
    Make headers to begin with.

    :return: of each version and family some, each with octets behind it.
    """
    signature = b"\r\n\r\n\0\r\nQUIT\n"
    headers = [
        b"PROXY TCP4 127.0.0.1 127.0.0.2 1 2\r\n",
        b"PROXY TCP6 ::1 ::2 1 2\r\n",
        b"PROXY UNKNOWN\r\n",
        signature + b"\x21\x11\0\x0c" + bytes(12),
        signature + b"\x21\x21\0\x24" + bytes(36),
        signature + b"\x21\x31\0\xd8" + b"/a".ljust(108, b"\0") * 2,
        signature + b"\x20\0\0\0",
        signature + b"\x21\x11\0\x0f" + bytes(12) + b"\5\0\0",
    ]
    return [b"\0" + each + b"behind" for each in headers]

"""The header that tells a backend who the client is, read by parsers that others wrote."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.protocols.haproxy._v2parser import V2Parser
from twisted.trial.unittest import SynchronousTestCase

from tests.daemon.test_forward import BackendFactory, BackendServer, ForwardCase
from tests.daemon.test_haproxy import HAPROXY
from thing.endpoints.proxyheader import FINGERPRINT, proxyHeader
from thing.identity import CredentialKind, Identity

FOUR = IPv4Address("TCP", "192.0.2.7", 40000), IPv4Address("TCP", "198.51.100.1", 9000)
SIX = IPv6Address("TCP", "2001:db8:0:0:0:0:0:7", 1), IPv6Address("TCP", "2001:db8:0:0:0:0:0:1", 2)
UNIX = UNIXAddress(b"/run/client"), UNIXAddress(b"/run/thing")

NAMED = Identity(CredentialKind.ED25519, bytes(32), "Gerät 7")


class Session:
    """What a header is written of."""

    sessionId = "00ff" * 8

    def __init__(self, address: Any, host: Any, peer: Identity = NAMED) -> None:
        self.address = address
        self.peer = peer
        self.transport = self
        self.getHost = lambda: host


def tlvs(data: bytes) -> dict[int, bytes]:
    """Types and values; each type must be there once."""
    found: dict[int, bytes] = {}
    while data:
        kind, length = struct.unpack_from("!BH", data)
        assert kind not in found and len(data) >= 3 + length
        found[kind], data = data[3 : 3 + length], data[3 + length :]
    return found


class HeaderTests(SynchronousTestCase):
    """What is written, as Twisted reads it."""

    def header(self, *args: Any) -> tuple[Any, dict[int, bytes]]:
        """What a parser makes of a header, and its TLVs."""
        header = proxyHeader(Session(*args))  # type: ignore[arg-type]
        info, rest = V2Parser().feed(header + b"data")
        self.assertEqual(rest, b"data")
        size = {0x11: 12, 0x21: 36, 0x31: 216, 0x00: 0}[header[13]]
        return info, tlvs(header[16 + size :])

    def test_addresses(self) -> None:
        """Both addresses arrive, of each family."""
        for source, destination in (FOUR, SIX, UNIX):
            info, _ = self.header(source, destination)
            self.assertEqual((info.source, info.destination), (source, destination))

    def test_scope(self) -> None:
        """The interface of a link-local address is not part of it."""
        local = IPv6Address("TCP", "fe80::1%eth0", 5)
        info, _ = self.header(local, local)
        self.assertEqual(info.source.host, "fe80:0:0:0:0:0:0:1")

    def test_mapped(self) -> None:
        """IPv4 that came to a port for IPv6, too, is IPv4."""
        mapped = [IPv6Address("TCP", f"::ffff:{each.host}", each.port) for each in FOUR]
        info, _ = self.header(*mapped)
        self.assertEqual((info.source, info.destination), FOUR)

    def test_unnamed(self) -> None:
        """A unix socket's client mostly has no name."""
        for name in (None, b""):
            info, _ = self.header(UNIXAddress(name), UNIX[1])
            self.assertEqual(info.destination, UNIX[1])

    def test_noAddress(self) -> None:
        """Without addresses, or with such as do not go together, there is all the rest."""
        wrong = IPv4Address("TCP", "no address", 1)
        for pair in ((None, None), (FOUR[0], SIX[0]), (UNIX[0], FOUR[0]), (wrong, FOUR[0])):
            info, known = self.header(*pair)
            self.assertIsNone(info.source)
            self.assertIn(FINGERPRINT, known)

    def test_thing(self) -> None:
        """Session, name and fingerprint are told, and that the thing has proved itself."""
        _, known = self.header(*FOUR)
        self.assertEqual(set(known), {0x05, 0x20, 0xE0})
        self.assertEqual(known[0x05], b"00ff" * 8)
        self.assertEqual(known[0xE0], NAMED.fingerprint.encode())
        self.assertEqual(struct.unpack_from("!BI", known[0x20]), (0x07, 0))
        self.assertEqual(tlvs(known[0x20][5:]), {0x21: b"Thing 1", 0x22: "Gerät 7".encode()})

    def test_stranger(self) -> None:
        """Who has no key has no name and no fingerprint, and is not verified."""
        _, known = self.header(*FOUR, Identity(CredentialKind.NONE))
        self.assertEqual(set(known), {0x05, 0x20})
        self.assertEqual(struct.unpack_from("!BI", known[0x20]), (0x01, 1))
        self.assertEqual(tlvs(known[0x20][5:]), {0x21: b"Thing 1"})

    def test_noFingerprint(self) -> None:
        """A thing with a pre-shared key has a name only."""
        _, known = self.header(*FOUR, Identity(CredentialKind.PRESHARED, name="lamp"))
        self.assertEqual(set(known), {0x05, 0x20})
        self.assertEqual(struct.unpack_from("!BI", known[0x20]), (0x07, 0))


class BackendTests(ForwardCase):
    """Backends that expect the header."""

    async def test_twisted(self) -> None:
        """A server of Twisted's sees the client's address for the connection's, and the data."""
        from twisted.internet import reactor

        backends = BackendFactory(BackendServer)
        port: Any = await serverFromString(reactor, "haproxy:tcp:0:interface=127.0.0.1").listen(
            backends
        )
        self.addCleanup(port.stopListening)
        await self.serve(f"tcp:127.0.0.1:{port.getHost().port}")
        self.backend.proxyProtocol = True
        client = await self.connect()
        client.sendMessage(b"hello")
        backend = await backends.connected
        await backend.whenReceived(5)
        self.assertEqual(bytes(backend.received), b"hello")
        own, seen = client.transport.getHost(), backend.transport.getPeer()
        self.assertEqual((seen.host, seen.port), (own.host, own.port))
        self.assertEqual(backend.transport.getHost().port, self.port)


CONFIGURATION = """\
defaults
    mode http
    timeout client 30s
    timeout connect 30s
    timeout server 30s
frontend backend
    bind 127.0.0.1:{port} accept-proxy
    http-request return content-type text/plain lf-string "%[src]:%[src_port] %[fc_pp_unique_id]"
"""


class HaproxyTests(ForwardCase):
    """The parser of those who made the header."""

    if HAPROXY is None:
        skip = "there is no haproxy here"

    async def test_haproxy(self) -> None:
        """HAProxy finds the client's address, and the session's id among the TLVs."""
        port = await self.listening()
        await self.serve(f"tcp:127.0.0.1:{port}")
        self.backend.proxyProtocol = True
        client = await self.connect()
        client.sendMessage(b"GET / HTTP/1.0\r\n\r\n")
        own = client.transport.getHost()
        await client.whenTerminated()
        answer = bytes(client.received).decode()
        self.assertIn("200 OK", answer)
        self.assertTrue(answer.endswith(f"127.0.0.1:{own.port} {client.sessionId}"), answer)

    async def listening(self) -> int:
        """The port of an HAProxy that expects the header."""
        from twisted.internet import reactor

        unused = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(Factory())
        port = int(unused.getHost().port)
        await unused.stopListening()
        configuration = Path(self.mktemp())
        configuration.write_text(CONFIGURATION.format(port=port))
        assert HAPROXY is not None
        process = subprocess.Popen(
            [HAPROXY, "-db", "-f", str(configuration)], stderr=subprocess.DEVNULL
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        endpoint = clientFromString(reactor, f"tcp:127.0.0.1:{port}")
        while True:
            try:
                probe = await endpoint.connect(Factory.forProtocol(Protocol))
            except ConnectError:
                await deferLater(reactor, 0.05)
            else:
                probe.transport.abortConnection()
                return port

"""Two sockets that are joined."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from thing.session.relay import RelayEnd, factoryOf
from thing.session.transports import FULL_READ, LONG_READ

MUCH = 4 * FULL_READ


class Waiting(RelayEnd):
    """Holds back what comes until it is joined, and tells when it is over."""

    def __init__(self) -> None:
        super().__init__()
        self.made: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.pauseProducing()
        self.made.callback(None)

    def connectionLost(self, *reason: Any) -> None:
        super().connectionLost(*reason)
        self.gone.callback(None)


class SocketTests(TestCase):
    """Between two connections over TCP."""

    timeout = 60

    async def end(self) -> tuple[Waiting, socket.socket]:
        """One end, and the socket that it is connected to."""
        from twisted.internet import reactor

        end = Waiting()
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port: Any = await endpoint.listen(factoryOf(end))
        peer = socket.create_connection(("127.0.0.1", port.getHost().port), 30)
        await end.made
        await port.stopListening()

        def close() -> Deferred[None]:
            peer.close()
            end.transport.abortConnection()
            return end.gone

        self.addCleanup(close)
        return end, peer

    async def test_much(self) -> None:
        """
        Much is read at a time where much comes, and only there: reads take memory. It is written
        at once.
        """
        (one, peer), (other, far) = await self.end(), await self.end()
        self.assertEqual(peer.send(bytes(FULL_READ)), FULL_READ)
        one.join(other)
        sent = deferToThread(peer.sendall, bytes(MUCH - FULL_READ))
        with far.makefile("rb") as reading:
            received = await deferToThread(reading.read, MUCH)
        await sent
        self.assertEqual(received, bytes(MUCH))
        self.assertEqual(one.transport.bufferSize, LONG_READ)
        self.assertEqual(other.transport.bufferSize, FULL_READ)
        self.assertEqual(other.transport.SEND_LIMIT, LONG_READ)

    async def test_little(self) -> None:
        """A little goes on at once, whether the peer has acknowledged what came before or not."""
        (one, _), (other, _) = await self.end(), await self.end()
        one.join(other)
        self.assertTrue(one.transport.getTcpNoDelay())
        self.assertTrue(other.transport.getTcpNoDelay())

    async def test_bothEnd(self) -> None:
        """When both peers have ended their halves, both connections are closed."""
        (one, peer), (other, far) = await self.end(), await self.end()
        one.join(other)
        for side in (peer, far):
            await deferToThread(side.sendall, b"all")
            side.shutdown(socket.SHUT_WR)
        for side in (peer, far):
            with side.makefile("rb") as reading:
                self.assertEqual(await deferToThread(reading.read), b"all")
        await one.gone
        await other.gone

"""What was connected over sockets and is closed is freed by reference counting alone."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import gatherResults, inlineCallbacks
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater

from tests.endpoints.test_parsers import SocketCase, Talker
from tests.leftovers import collectorOff
from thing.daemon.forward import ForwardFactory
from thing.endpoints.backend import Backend


class FreedTests(SocketCase):
    """Sessions over sockets of this machine, behind endpoints."""

    @inlineCallbacks
    def talk(self, end: str) -> Generator[Any, Any, None]:
        """Connect, and end it by one of the transport's methods."""
        talker: Talker = yield self.client.connect(self.talkers)
        talker.transport.write(b"hello")
        yield talker.until(5)
        getattr(talker.transport, end)()
        yield gatherResults([talker.lost, self.echoes[-1].lost])

    @inlineCallbacks
    def assertFreed(self, description: str) -> Generator[Any, Any, None]:
        """Conversations with whoever is there leave nothing for the collector."""
        # Twisted's clients are circles of their own, but what they lead to must live on.
        self.client = clientFromString(self.reactor, description)
        self.talkers = Factory.forProtocol(Talker)
        yield self.talk("loseConnection")  # What is made once for all is made.
        self.echoes.clear()
        with collectorOff() as left:
            for _ in range(3):
                for end in ("loseConnection", "abortConnection"):
                    yield self.talk(end)
            self.echoes.clear()
            yield deferLater(self.reactor, 0.0)
        for each in ("endpoints.stream.ApplicationFactory", "session.hosts._Found"):
            del left[f"thing.{each}"]
        self.assertEqual(dict(left), {})

    @inlineCallbacks
    def test_tcp(self) -> Generator[Any, Any, None]:
        """Over TCP."""
        description = yield self.serveTcp()
        yield self.assertFreed(description + self.pin)

    @inlineCallbacks
    def test_forward(self) -> Generator[Any, Any, None]:
        """With a server behind that knows nothing of Thing."""
        yield self.serveTcp()
        server = self.endpoint.factory
        behind = self.reactor.listenTCP(0, Factory.forProtocol(self.echo), interface="127.0.0.1")
        self.addCleanup(behind.stopListening)
        number = behind.getHost().port
        backend = Backend(clientFromString(self.reactor, f"tcp:127.0.0.1:{number}"))
        factory = ForwardFactory(server.settings, server.authorizer, backend)
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        yield self.assertFreed(f"thing:127.0.0.1:{port.getHost().port}{self.pin}")

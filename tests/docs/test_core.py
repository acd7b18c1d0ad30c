"""docs/bring-your-own-io.rst: a client on blocking sockets meets Twisted's server."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.task import deferLater

from tests.docs.test_docs import DOCS, EXAMPLES, GOODBYE, DocumentedPrograms
from thing.core.heartbeat import TtlPolicy
from thing.session.protocol import ThingProtocol
from thing.testing import Keys, LoopbackServer
from thing.trust.authorized import Anyone

PAGE = DOCS / "bring-your-own-io.rst"
PROGRAM = "blocking_client.py"


class Shout(ThingProtocol):
    """The server of the tutorial."""

    def messageReceived(self, message: bytes) -> None:
        self.sendMessage(message.upper())


class Mute(ThingProtocol):
    """Answers nothing."""


class BlockingClientTests(DocumentedPrograms):
    """blocking_client.py"""

    def open(self, kind: type[ThingProtocol], **choices: Any) -> LoopbackServer:
        """A server for anyone."""
        keys = Keys()
        keys.things = Anyone()
        settings = keys.serverSettings(allowAnonymous=True, **choices)
        return LoopbackServer(self, kind, settings=settings, keys=keys)

    async def test_converses(self) -> None:
        """It says and prints what the page shows."""
        server = self.open(Shout)
        client = self.example(PROGRAM, server.host, str(server.port), server.fingerprint)
        self.assertEqual(await client.exits(), 0, client.output)
        shown = PAGE.read_text().partition(f"$ python {PROGRAM} ")[2].split("\n\n")[0]
        lines = [line.strip() for line in shown.split("\n")[1:]]
        said = re.sub(r"SHA256:\S+(?=,)", "SHA256:...", client.output)
        self.assertEqual(said.splitlines(), lines)
        self.assertIn(GOODBYE, client.output)

    async def test_beats(self) -> None:
        """It beats on the granted schedule: the session outlives its TTL."""
        server = self.open(Mute, ttl=TtlPolicy(default=1.0))
        client = self.example(PROGRAM, server.host, str(server.port), server.fingerprint)
        await client.says("TTL 1 s")
        from twisted.internet import reactor

        (session,) = server.factory.sessions
        while session.heartbeats < 4:
            await deferLater(reactor, 0.05)
        session.goodbye()
        self.assertEqual(await client.exits(), 0, client.output)
        self.assertIn(GOODBYE, client.output)

    async def test_doubts(self) -> None:
        """A server with another key than the pinned one is not believed."""
        server = self.open(Shout)
        other = self.open(Shout)
        client = self.example(PROGRAM, server.host, str(server.port), other.fingerprint)
        await client.exits()
        self.assertIn("NOT_AUTHORIZED", client.output)

    def test_size(self) -> None:
        """The page promises little: the whole client is no longer than a screen or two."""
        lines = (EXAMPLES / PROGRAM).read_text().split("\n")
        self.assertLess(len([line for line in lines if line.strip()]), 80)

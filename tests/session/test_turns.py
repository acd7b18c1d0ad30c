"""Callbacks that are coroutines, or return Deferreds."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.trial.unittest import SynchronousTestCase

import tests.helpers  # noqa: F401  # It loads the profile.
from tests.pairs import CallbackBug
from thing import testing
from thing.core.window import MAX_WINDOW, RECORD_COST
from thing.errors import ErrorCode, ReplyStatus, RequestFailed
from thing.events import Cause, Termination
from thing.session import turns
from thing.session.protocol import ThingProtocol, linkOf
from thing.session.turns import MOST_WAITING


class Slow(ThingProtocol):
    """Each callback of some names goes on until it is told to end."""

    slow: tuple[str, ...] = ("messageReceived",)

    def __init__(self) -> None:
        self.told: list[object] = []
        self.working: list[Deferred[None]] = []

    def work(self, name: str, *what: object) -> Awaitable[None] | None:
        self.told.append((name, *what))
        if name not in self.slow:
            return None
        return self.until(name, *what)

    async def until(self, name: str, *what: object) -> None:
        working: Deferred[None] = Deferred()
        self.working.append(working)
        await working
        self.told.append(("done", name, *what))

    def finish(self) -> None:
        """Let the first that is at work end."""
        self.working.pop(0).callback(None)

    def handshakeCompleted(self) -> Awaitable[None] | None:
        return self.work("handshakeCompleted")

    def messageReceived(self, message: bytes) -> Awaitable[None] | None:
        return self.work("messageReceived", message)

    def dataEnded(self) -> Awaitable[None] | None:
        return self.work("dataEnded")

    def heartbeatReceived(self, sequence: int, rtt: float | None) -> Awaitable[None] | None:
        return self.work("heartbeatReceived") if "heartbeatReceived" in self.slow else None

    def goodbyeReceived(self) -> Awaitable[None] | None:
        return self.work("goodbyeReceived")

    def terminated(self, termination: Termination) -> Awaitable[None] | None:
        return self.work("terminated", termination.cause)

    def connectionLost(self, reason: Any = None) -> Any:
        return self.work("connectionLost")


class Quiet(ThingProtocol):
    """Says nothing."""


def slow(*names: str) -> type[Slow]:
    """A protocol with such callbacks."""
    return type("Slow", (Slow,), {"slow": names})


class OrderTests(SynchronousTestCase):
    """What waits for a callback, and what does not."""

    def pair(self, *names: str, server: Any = None, client: Any = Quiet) -> Any:
        return testing.Pair(server or slow(*names), client).up()

    def test_messages(self) -> None:
        """The next message waits, heartbeats go on, and so does a goodbye that is behind it."""
        pair = self.pair("messageReceived")
        for data in (b"1", b"2", b"3"):
            pair.client.sendMessage(data)
        pair.client.goodbye()
        pair.advance(15)
        expected: list[object] = [("handshakeCompleted",)]
        for data in (b"1", b"2", b"3"):
            expected.append(("messageReceived", data))
            self.assertEqual(pair.server.told, expected)
            pair.server.finish()
            expected.append(("done", "messageReceived", data))
            pair.pump()
        expected += [("goodbyeReceived",), ("terminated", Cause.GOODBYE), ("connectionLost",)]
        pair.advance(5)
        self.assertEqual(pair.server.told, expected)
        self.assertTrue(pair.client.termination.clean)

    def test_doneAtOnce(self) -> None:
        """A coroutine that waits for nothing is done before the next message."""

        class Server(Slow):
            async def messageReceived(self, message: bytes) -> None:
                self.told.append(message)

        pair = self.pair(server=Server)
        for data in (b"1", b"2", b"3"):
            pair.client.sendMessage(data)
        pair.client.goodbye()
        pair.pump()
        self.assertEqual(pair.server.told[1:4], [b"1", b"2", b"3"])
        self.assertTrue(pair.client.termination.clean)

    def test_backpressure(self) -> None:
        """What the peer may send meanwhile is bounded, and all of it arrives in the end."""
        pair = self.pair("messageReceived")
        for _ in range(100):
            pair.client.sendMessage(bytes(60_000))
        pair.advance(5)
        self.assertLess(linkOf(pair.server).core.held, MAX_WINDOW)
        self.assertGreater(pair.client.queued, 5_000_000)
        for _ in range(100):
            pair.server.finish()
            pair.pump()
        self.assertEqual(pair.server.working, [])
        self.assertEqual(len(pair.server.told), 1 + 2 * 100)
        self.assertEqual(pair.client.queued, 0)

    def test_handshake(self) -> None:
        """The first message waits for ``handshakeCompleted``, nobody else does."""
        pair = testing.Pair(slow("handshakeCompleted"), Quiet).connect()
        established = pair.serverSession.whenEstablished()
        pair.pump()
        self.successResultOf(established)
        pair.client.sendMessage(b"hello")
        pair.advance(10)
        self.assertEqual(pair.server.told, [("handshakeCompleted",)])
        pair.server.finish()
        self.assertEqual(pair.server.told[-1], ("messageReceived", b"hello"))

    def test_connectionMade(self) -> None:
        """A session is made while ``connectionMade`` is at work; data wait for it."""

        class Server(Slow):
            def connectionMade(self) -> Any:
                return self.until("connectionMade")

        pair = self.pair(server=Server)
        pair.client.sendMessage(b"hello")
        pair.pump()
        self.assertEqual(pair.server.told, [("handshakeCompleted",)])
        pair.server.finish()
        self.assertEqual(
            pair.server.told[1:], [("done", "connectionMade"), ("messageReceived", b"hello")]
        )

    def test_heartbeat(self) -> None:
        """Data wait for any callback, but no heartbeat does."""
        pair = self.pair("heartbeatReceived")
        pair.advance(pair.client.session.interval * 3)
        self.assertGreater(len(pair.server.working), 1)
        pair.client.sendMessage(b"hello")
        pair.pump()
        self.assertNotIn(("messageReceived", b"hello"), pair.server.told)
        while pair.server.working:
            self.assertNotIn(("messageReceived", b"hello"), pair.server.told)
            pair.server.finish()
        self.assertEqual(pair.server.told[-1], ("messageReceived", b"hello"))

    def test_pause(self) -> None:
        """A pause of the program's own and a callback do not end one another."""
        pair = self.pair("messageReceived")
        pair.client.sendMessage(b"1")
        pair.client.sendMessage(b"2")
        pair.pump()
        pair.server.pauseProducing()
        pair.server.resumeProducing()
        self.assertEqual(len(pair.server.working), 1)
        pair.server.pauseProducing()
        pair.server.finish()
        self.assertEqual(len(pair.server.working), 0)
        pair.server.resumeProducing()
        self.assertEqual(pair.server.told[-1], ("messageReceived", b"2"))

    def test_inlineCallbacks(self) -> None:
        """What ``inlineCallbacks`` makes is waited for; to forget it is an error that says so."""

        class Server(Slow):
            @inlineCallbacks
            def messageReceived(self, message: bytes) -> Iterator[Any]:  # type: ignore[override]
                yield self.work("x", message)
                yield self.until("x")

        pair = self.pair(server=Server)
        pair.client.sendMessage(b"1")
        pair.client.sendMessage(b"2")
        pair.pump()
        self.assertEqual(pair.server.told[1:], [("x", b"1")])

        class Forgets(Slow):
            def messageReceived(self, message: bytes) -> Iterator[Any]:  # type: ignore[override]
                yield self.told.append(message)

        class Yields(Slow):
            async def messageReceived(self, message: bytes) -> Any:  # type: ignore[override]
                yield self.told.append(message)

        for kind in (Forgets, Yields):
            pair = self.pair(server=kind)
            pair.client.sendMessage(b"1")
            pair.pump()
            (failure,) = self.flushLoggedErrors(TypeError)
            self.assertIn("a callback is a generator", str(failure.value))
            self.assertEqual(pair.client.termination.code, ErrorCode.INTERNAL_ERROR)

    def test_otherResults(self) -> None:
        """What cannot be awaited does not count, as it never did."""

        class Server(Slow):
            def messageReceived(self, message: bytes) -> Any:
                return self.sendMessage(message)

        pair = self.pair(server=Server)
        pair.client.sendMessage(b"1")
        pair.pump()
        self.assertIsNone(pair.server.termination)


class WaitingTests(SynchronousTestCase):
    """What a callback may wait for."""

    def test_request(self) -> None:
        """A reply comes though messages before it wait for the very callback that asked."""

        class Server(Slow):
            async def messageReceived(self, message: bytes) -> None:
                self.told.append(await self.request(message))

        class Client(Quiet):
            def requestReceived(self, data: bytes) -> bytes:
                return data.upper()

        for more in (0, 100_000):  # That much is more than what may come before it is taken.
            pair: Any = testing.Pair(Server, Client).up()
            for data in (b"a", b"b", bytes(more)[:16000], b"c"):
                pair.client.sendMessage(data)
            for _ in range(more // 1000):
                pair.client.sendMessage(bytes(1000))
            pair.pump()
            self.assertEqual(pair.server.told[1:3], [b"A", b"B"])
            self.assertEqual(len(pair.server.told), 1 + 4 + more // 1000)

    def test_goodbye(self) -> None:
        """It may say goodbye and wait for the end, whatever still comes."""

        class Ends(Slow):
            async def messageReceived(self, message: bytes) -> None:
                self.told.append(message)
                if message == b"1":
                    self.told.append((await self.goodbye()).cause)

        for ends, other in (("server", "client"), ("client", "server")):
            kinds = (Ends, Quiet) if ends == "server" else (Quiet, Ends)
            pair: Any = testing.Pair(*kinds).up()
            for data in (b"1", b"2", b"3"):
                getattr(pair, other).sendMessage(data)
            pair.advance(1)
            told = [each for each in getattr(pair, ends).told if each != ("handshakeCompleted",)]
            self.assertEqual(
                [each for each in told if each != ("goodbyeReceived",)],
                [
                    b"1",
                    Cause.GOODBYE,
                    b"2",
                    b"3",
                    ("terminated", Cause.GOODBYE),
                    ("connectionLost",),
                ],
            )

    def test_goodbyeIsBounded(self) -> None:
        """What waits here after a goodbye is bounded, and all of it is delivered in the end."""
        pair: Any = testing.Pair(Slow, Quiet).up()
        for _ in range(100):
            pair.client.sendMessage(bytes(60_000))
        pair.pump()
        pair.server.goodbye()
        pair.pump()
        self.assertLess(linkOf(pair.server).driver.aside, MOST_WAITING + 2 * 60_001)
        for _ in range(100):
            pair.server.finish()
            pair.pump()
        pair.advance(3)
        self.assertEqual(len([each for each in pair.server.told if each[0] == "done"]), 100)
        self.assertTrue(pair.server.termination.clean)

    def test_emptyMessagesAreBounded(self) -> None:
        """So are messages without an octet: each costs something."""
        self.patch(turns, "MOST_WAITING", 10_000)
        pair: Any = testing.Pair(Slow, Quiet).up()
        for _ in range(1000):
            pair.client.sendMessage(b"")
        pair.pump()
        pair.server.goodbye()
        pair.pump()
        self.assertLessEqual(linkOf(pair.server).driver.aside, 10_000 + RECORD_COST)
        for _ in range(1000):
            pair.server.finish()
            pair.pump()
        pair.advance(3)
        self.assertEqual(len([each for each in pair.server.told if each[0] == "done"]), 1000)
        self.assertTrue(pair.server.termination.clean)

    def test_acknowledged(self) -> None:
        """A message is acknowledged when its callback is done; if that fails, so does it."""
        pair: Any = testing.Pair(Slow, Quiet).up()
        acknowledged = pair.client.request(b"1")
        pair.client.sendMessage(b"2")
        pair.pump()
        self.assertNoResult(acknowledged)
        self.assertEqual(pair.server.told[1:], [("messageReceived", b"1")])
        pair.server.finish()
        pair.pump()
        self.assertEqual(self.successResultOf(acknowledged), b"")
        self.assertEqual(pair.server.told[-1], ("messageReceived", b"2"))
        pair.server.finish()
        failing = pair.client.request(b"3")
        pair.pump()
        pair.server.working.pop().errback(CallbackBug())
        pair.pump()
        self.assertIs(self.failureResultOf(failing, RequestFailed).value.status, ReplyStatus.FAILED)
        self.assertEqual(len(self.flushLoggedErrors(CallbackBug)), 1)
        self.assertIsNone(pair.server.termination)


class EndTests(SynchronousTestCase):
    """Sessions that end while a callback is at work."""

    def test_told(self) -> None:
        """The program is told of the end when the callback is done; whoever waits, at once."""
        for end in ("abort", "cut"):
            pair: Any = testing.Pair(Slow, Quiet).up()
            terminated = pair.server.whenTerminated()
            pair.client.sendMessage(b"1")
            pair.pump()
            if end == "abort":
                pair.client.abort()
            else:
                pair.cut()
            pair.advance(5)
            self.assertIs(self.successResultOf(terminated).cause, Cause.TRUNCATED)
            self.assertEqual(pair.serverFactory.sessions, set())
            self.assertEqual(pair.server.told[1:], [("messageReceived", b"1")])
            pair.server.finish()
            self.assertEqual(
                pair.server.told[2:],
                [
                    ("done", "messageReceived", b"1"),
                    ("terminated", Cause.TRUNCATED),
                    ("connectionLost",),
                ],
            )

    def test_arrived(self) -> None:
        """What had arrived before the end is still delivered, one after another."""
        pair: Any = testing.Pair(Slow, Quiet).up()
        for data in (b"1", b"2"):
            pair.client.sendMessage(data)
        pair.pump()
        pair.cut()
        pair.server.finish()
        self.assertEqual(pair.server.told[-1], ("messageReceived", b"2"))
        pair.server.finish()
        self.assertEqual(pair.server.told[-1], ("connectionLost",))

    def test_ownAbort(self) -> None:
        """Who aborts the session wants no more of it."""
        pair: Any = testing.Pair(Slow, Quiet).up()
        for data in (b"1", b"2"):
            pair.client.sendMessage(data)
        pair.pump()
        pair.server.goodbye()
        pair.server.abort()
        pair.advance(5)
        pair.server.finish()
        self.assertNotIn(("messageReceived", b"2"), pair.server.told)
        self.assertEqual(
            pair.server.told[-2:],
            [("terminated", Cause.ABORTED), ("connectionLost",)],
        )

    def test_slowEnd(self) -> None:
        """``connectionLost`` waits for ``terminated``."""
        pair: Any = testing.Pair(slow("terminated", "connectionLost"), Quiet).up()
        pair.client.goodbye()
        pair.advance(5)
        self.assertEqual(pair.server.told[-1], ("terminated", Cause.GOODBYE))
        pair.server.finish()
        self.assertEqual(pair.server.told[-1], ("connectionLost",))
        pair.server.finish()

    def test_failure(self) -> None:
        """A coroutine that fails ends the session as a callback that raises, and drops the rest."""
        pair: Any = testing.Pair(Slow, Quiet).up()
        for data in (b"1", b"2"):
            pair.client.sendMessage(data)
        pair.pump()
        pair.server.working.pop().errback(CallbackBug())
        pair.advance(5)
        self.assertEqual(len(self.flushLoggedErrors(CallbackBug)), 1)
        self.assertEqual(pair.server.told[2:], [("terminated", Cause.ABORTED), ("connectionLost",)])
        for side in (pair.server, pair.client):
            self.assertEqual(side.termination.code, ErrorCode.INTERNAL_ERROR)

    def test_lateFailure(self) -> None:
        """One that fails after the end is logged, and the rest is told."""
        for error in (CallbackBug(), CancelledError()):
            pair: Any = testing.Pair(Slow, Quiet).up()
            pair.client.sendMessage(b"1")
            pair.pump()
            pair.cut()
            pair.server.working.pop().errback(error)
            self.assertEqual(len(self.flushLoggedErrors(type(error))), 1)
            self.assertEqual(pair.server.told[-1], ("connectionLost",))


class Life:
    """What may happen in a session, by names."""

    def __init__(self, pair: Any) -> None:
        self.pair = pair
        self.sent = 0
        self.violent = False

    @property
    def over(self) -> bool:
        return bool(self.pair.client.termination or self.pair.server.termination)

    def send(self) -> None:
        self.sent += self.pair.client.sendMessage(b"%d" % self.sent)

    def finish(self) -> None:
        if self.pair.server.working:
            self.pair.server.finish()

    def fail(self) -> None:
        if self.pair.server.working:
            self.violent = True
            self.pair.server.working.pop(0).errback(CallbackBug())

    def beat(self) -> None:
        self.pair.advance(2.0)

    def pause(self) -> None:
        self.pair.server.pauseProducing()

    def resume(self) -> None:
        self.pair.server.resumeProducing()

    def goodbye(self) -> None:
        self.pair.client.goodbye()

    def leave(self) -> None:
        self.pair.server.goodbye()

    def cut(self) -> None:
        self.violent = True
        self.pair.cut()

    def abort(self) -> None:
        self.violent = True
        self.pair.client.abort()


STEPS = st.lists(
    st.sampled_from(
        ("send", "send", "finish", "fail", "beat", "pause", "resume", "goodbye", "leave",
         "cut", "abort")
    ),
    max_size=30,
)  # fmt: skip


class PropertyTests(SynchronousTestCase):
    """Whatever happens in whatever order."""

    @given(STEPS, st.booleans())
    def test_anyOrder(self, steps: list[str], allSlow: bool) -> None:
        """
        Callbacks about data come in order and one at a time, ``terminated`` behind them and once,
        ``connectionLost`` last; and of an orderly session nothing is lost.
        """
        names = ("messageReceived", "dataEnded", "terminated") if allSlow else ("messageReceived",)
        life = Life(testing.Pair(slow(*names), Quiet).up())
        for step in steps:
            if life.over and step in ("send", "cut", "abort"):
                continue
            getattr(life, step)()
            life.pair.pump()
        pair = life.pair
        self.settle(pair)
        self.flushLoggedErrors(CallbackBug)
        told = pair.server.told
        self.assertEqual([each[0] for each in told].count("terminated"), 1)
        self.assertEqual(told[-1], ("connectionLost",))
        received = [int(each[1]) for each in told if each[0] == "messageReceived"]
        self.assertEqual(received, list(range(len(received))))
        if not life.violent:
            self.assertEqual(len(received), life.sent)
        self.assertOneAtATime([each for each in told if each[-1] != "heartbeatReceived"])

    def settle(self, pair: Any) -> None:
        """End the session in order, with every callback done in time."""
        pair.server.resumeProducing()
        if pair.client.termination is None:
            pair.client.goodbye()
        for _ in range(200):
            pair.advance(0.5)
            if pair.server.working:
                pair.server.finish()
        self.assertEqual(pair.server.working, [])

    def assertOneAtATime(self, told: list[Any]) -> None:
        """After a slow callback comes that it is done, if it has not failed."""
        for one, after in pairwise(told):
            if one[0] == "messageReceived" and after[0] != "done":
                self.assertIn(after[0], ("terminated", "messageReceived", "connectionLost"))
            if after[0] == "done":
                self.assertEqual(after[1:], one)

"""Sessions on asyncio: messages, requests, liveness and ends, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

from twisted.trial.unittest import SynchronousTestCase

from tests.asyncio.loops import run, serving
from thing.asyncio import KnownServers, Session, connect, serve
from thing.asyncio.link import Link
from thing.asyncio.session import READ_HIGH
from thing.core.capacity import Capacity
from thing.core.heartbeat import TtlPolicy
from thing.core.messages import REQUESTS_OUTSTANDING
from thing.errors import (
    EndReason,
    ErrorCode,
    HandshakeFailed,
    LocalProtocolError,
    NotAuthorized,
    ReplyStatus,
    RequestFailed,
    RequestTimedOut,
    SessionEnded,
)
from thing.events import Cause, Event, HeartbeatAcknowledged, HeartbeatReceived
from thing.identity import Identity, Purpose
from thing.testing import Keys
from thing.trust.authorized import Anyone
from thing.trust.known import KnownServers as TwistedKnown


async def echo(session: Session) -> None:
    """Answers in capitals until the end."""
    async for message in session:
        await session.send(message.upper())


class Records(logging.Handler):
    """What is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class AsyncCase(SynchronousTestCase):
    """A test that sees what is logged."""

    def setUp(self) -> None:
        self.records = Records()
        log = logging.getLogger("thing.asyncio")
        log.addHandler(self.records)
        self.addCleanup(log.removeHandler, self.records)
        self.patch(log, "propagate", False)


class MessageTests(AsyncCase):
    """What both programs say."""

    def test_conversation(self) -> None:
        """Messages of any length arrive whole and in order, both ways."""

        async def main() -> None:
            messages = [b"", b"one", bytes(300_000), b"last"]
            async with serving(echo) as pair, pair.client() as session:
                for message in messages:
                    await session.send(message)
                self.assertEqual(
                    [await session.recv() for _ in messages],
                    [message.upper() for message in messages],
                )

        run(main())

    def test_sayGoodbye(self) -> None:
        """All that was sent before a goodbye arrives, and the iteration ends."""
        got: list[bytes] = []

        async def collect(session: Session) -> None:
            got.extend([message async for message in session])

        async def main() -> None:
            async with serving(collect) as pair:
                async with pair.client() as session:
                    for number in range(1000):
                        await session.send(b"%d" % number)
                assert session.termination is not None
                self.assertTrue(session.termination.clean)
            self.assertEqual(got, [b"%d" % number for number in range(1000)])

        run(main())

    def test_slowReader(self) -> None:
        """A program that does not read holds its peer back: what waits is bounded on both sides."""

        async def main() -> None:
            async with serving() as pair, pair.client() as session:
                server = await pair.arrived.get()
                sent = 0

                async def flood() -> None:
                    nonlocal sent
                    while True:
                        await session.send(bytes(1000))
                        sent += 1

                flooding = asyncio.get_running_loop().create_task(flood())
                await asyncio.sleep(200.0)  # Many TTLs: the heartbeats pass all that waits.
                before = sent
                await asyncio.sleep(10.0)
                self.assertEqual(sent, before)
                self.assertLess(server.link.aside, READ_HIGH + 2000)
                self.assertLess(session._core.queued, 1 << 17)
                for _ in range(before):
                    self.assertEqual(len(await server.recv()), 1000)
                await asyncio.sleep(10.0)
                self.assertGreater(sent, before)
                flooding.cancel()
                await asyncio.wait([flooding])

        run(main())

    def test_cancelledReader(self) -> None:
        """To cancel a ``recv`` loses no message."""

        async def main() -> None:
            async with serving(echo) as pair, pair.client() as session:
                for _ in range(3):
                    reading = asyncio.get_running_loop().create_task(session.recv())
                    await asyncio.sleep(0)
                    reading.cancel()
                    await session.send(b"a")
                    await asyncio.wait([reading])
                    self.assertEqual(await session.recv(), b"A")

        run(main())

    def test_halfClosed(self) -> None:
        """One half may end before the other."""

        async def answer(session: Session) -> None:
            received = [message async for message in session]
            await session.send(b"%d" % len(received))
            session.end_data()
            await session.wait_closed()

        async def main() -> None:
            async with serving(answer) as pair, pair.client() as session:
                await session.send(b"one")
                await session.send(b"two")
                session.end_data()
                self.assertEqual([message async for message in session], [b"2"])
                with self.assertRaises(EOFError):
                    await session.recv()

        run(main())

    def test_misuse(self) -> None:
        """What cannot be sent is an error at once, and the session goes on."""

        async def main() -> None:
            async with serving(echo) as pair, pair.client() as session:
                with self.assertRaises(TypeError):
                    await session.send("text")  # type: ignore[arg-type]
                with self.assertRaises(LocalProtocolError):
                    session.go_away(EndReason.CLOSING)
                with self.assertRaises(LocalProtocolError):
                    await session.send(bytes(9 << 20))
                await session.send(b"a")
                self.assertEqual(await session.recv(), b"A")
                server = await pair.arrived.get()
                with self.assertRaises(LocalProtocolError):
                    server.set_last_word(b"word")

        run(main())

    def test_noSecrets(self) -> None:
        """What a session shows of itself is its peer and its id."""

        async def main() -> None:
            async with serving(echo) as pair, pair.client() as session:
                keying = session.export_keying_material("test", b"", 32)
                server = await pair.arrived.get()
                self.assertEqual(server.export_keying_material("test", b"", 32), keying)
                self.assertEqual(session.session_id, server.session_id)
                self.assertEqual(repr(server), f"<Session {server.session_id} with thing>")

        run(main())


class RequestTests(AsyncCase):
    """Questions and answers."""

    def test_answered(self) -> None:
        """Either side asks, and many questions are open at once."""

        async def double(session: Session, data: bytes) -> bytes | None:
            await asyncio.sleep(10.0 - int(data))
            return b"%d" % (2 * int(data)) if data != b"0" else None

        async def main() -> None:
            async with serving(on_request=double) as pair, pair.client(on_request=double) as one:
                other = await pair.arrived.get()
                for asking in (one, other):
                    answers = await asyncio.gather(
                        *(asking.request(b"%d" % number, timeout=20.0) for number in range(5))
                    )
                    self.assertEqual(answers, [b"", b"2", b"4", b"6", b"8"])

        run(main())

    def test_asMessages(self) -> None:
        """Without a handler a request is a message that is acknowledged."""

        async def main() -> None:
            async with serving() as pair, pair.client() as session:
                server = await pair.arrived.get()
                self.assertEqual(await server.request(b"lights on"), b"")
                self.assertEqual(await session.recv(), b"lights on")

        run(main())

    def test_failures(self) -> None:
        """Who cannot answer says so, whatever went wrong; the session goes on."""

        async def fail(session: Session, data: bytes) -> Any:
            if data == b"busy":
                raise RequestFailed(ReplyStatus.BUSY)
            if data == b"bug":
                raise ZeroDivisionError
            return {b"text": "text", b"long": bytes(20_000)}[data]

        async def main() -> None:
            async with serving(on_request=fail) as pair, pair.client() as session:
                for data in (b"busy", b"bug", b"text", b"long"):
                    with self.assertRaises(RequestFailed) as caught:
                        await session.request(data)
                    status = ReplyStatus.BUSY if data == b"busy" else ReplyStatus.FAILED
                    self.assertIs(caught.exception.status, status, data)
                with self.assertRaises(LocalProtocolError):
                    await session.request(bytes(20_000))
                with self.assertRaises(LocalProtocolError):
                    await session.request(b"", timeout=0.0)

        run(main())
        self.assertEqual(len(self.records.lines), 3)

    def test_smallPeer(self) -> None:
        """An answer that does not fit the record of who asked fails, and no request is lost."""

        async def answer(session: Session, data: bytes) -> bytes:
            return bytes(int(data))

        async def main() -> None:
            small = {"capacity": Capacity(512, 576, 128, 0)}
            async with serving(on_request=answer) as pair, pair.client(small) as session:
                for _ in range(REQUESTS_OUTSTANDING + 1):
                    with self.assertRaises(RequestFailed) as caught:
                        await session.request(b"491")
                    self.assertIs(caught.exception.status, ReplyStatus.FAILED)
                self.assertEqual(await session.request(b"490"), bytes(490))

        run(main())
        self.assertTrue(self.records.lines)

    def test_unread(self) -> None:
        """A reply does not wait behind messages that nobody reads."""

        async def answer(session: Session, data: bytes) -> bytes:
            return data

        async def main() -> None:
            async with serving(on_request=answer) as pair, pair.client() as session:
                server = await pair.arrived.get()
                while not session._held:
                    await server.send(bytes(1000))
                    await asyncio.sleep(0)
                self.assertEqual(await session.request(b"now"), b"now")

        run(main())

    def test_inVain(self) -> None:
        """Nobody waits longer than he likes, or than there is a session."""
        cancelled: list[bytes] = []

        async def sleep(session: Session, data: bytes) -> None:
            try:
                await asyncio.sleep(1e5)
            except asyncio.CancelledError:
                cancelled.append(data)
                raise

        async def main() -> None:
            async with serving(on_request=sleep) as pair, pair.client() as session:
                with self.assertRaises(RequestTimedOut):
                    await session.request(b"1", timeout=5.0)
                asking = asyncio.get_running_loop().create_task(session.request(b"2"))
                await asyncio.sleep(1.0)
                asking.cancel()
                await asyncio.wait([asking])
                self.assertEqual(session._requests._waiting, {})
                asking = asyncio.get_running_loop().create_task(session.request(b"3"))
                await asyncio.sleep(1.0)
                session.abort()
                await asyncio.wait([asking])
                self.assertIsInstance(asking.exception(), SessionEnded)
                with self.assertRaises(SessionEnded):
                    await session.request(b"4")

        run(main())
        self.assertEqual(cancelled, [b"1", b"2", b"3"])


class LivenessTests(AsyncCase):
    """Both sides know within a TTL whether the other is there."""

    def test_beats(self) -> None:
        """An idle session lives on for hours, beat by beat, and tells each to who listens."""
        told: list[Event] = []

        async def main() -> None:
            async with serving() as pair, pair.client() as session:
                server = await pair.arrived.get()
                session.on_event = server.on_event = told.append
                await asyncio.sleep(3600.0)
                self.assertIsNone(session.termination)
                self.assertEqual(session.ttl, 30.0)
                assert session.silence is not None
                self.assertLessEqual(session.silence, 10.0)
                self.assertIsNotNone(server.round_trip_time)

        run(main())
        for kind in (HeartbeatAcknowledged, HeartbeatReceived):
            self.assertEqual(len([each for each in told if isinstance(each, kind)]), 360)

    def test_handles(self) -> None:
        """A loop's handles need no more than to be cancelled: uvloop's cannot be asked when."""

        class Handle:
            def __init__(self, handle: asyncio.TimerHandle) -> None:
                self.cancel = handle.cancel

        async def main() -> None:
            loop = asyncio.get_running_loop()
            call_at = loop.call_at

            def handle(when: float, call: Any, *args: Any, **choices: Any) -> Any:
                found = call_at(when, call, *args, **choices)
                return Handle(found) if isinstance(getattr(call, "__self__", None), Link) else found

            async with serving() as pair:
                self.patch(loop, "call_at", handle)
                async with pair.client() as session:
                    await asyncio.sleep(100.0)
                    self.assertIsNone(session.termination)

        run(main())

    def test_flatLine(self) -> None:
        """A client that falls silent is flat-lined when its TTL is over."""

        async def main() -> None:
            policy = {"ttl": TtlPolicy(default=12.0)}
            async with serving(settings=policy) as pair, pair.client() as session:
                server = await pair.arrived.get()
                since = asyncio.get_running_loop().time()
                self.patch(session.link, "_send", lambda: None)
                self.patch(session.link, "_set_timer", lambda: None)
                with self.assertRaises(SessionEnded) as caught:
                    await server.recv()
                self.assertIs(caught.exception.termination.cause, Cause.FLAT_LINED)
                self.assertIs(caught.exception.termination.reason, EndReason.HEARTBEAT_MISSED)
                self.assertLessEqual(asyncio.get_running_loop().time() - since, 12.0)
                with self.assertRaises(SessionEnded) as caught:
                    await session.recv()
                self.assertIs(caught.exception.termination.cause, Cause.FLAT_LINED)
                self.assertTrue(caught.exception.termination.byPeer)

        run(main())

    def test_lapse(self) -> None:
        """A server that falls silent has lapsed when the TTL is over."""

        async def main() -> None:
            async with serving() as pair, pair.client() as session:
                server = await pair.arrived.get()
                self.patch(server.link, "_send", lambda: None)
                self.patch(server.link, "_set_timer", lambda: None)
                with self.assertRaises(SessionEnded) as caught:
                    async for _ in session:
                        pass
                self.assertIs(caught.exception.termination.cause, Cause.LAPSED)
                self.assertLessEqual(asyncio.get_running_loop().time(), 31.0)
                server.abort()

        run(main())

    def test_truncated(self) -> None:
        """A stream that just ends is neither a goodbye nor a flat line."""

        async def main() -> None:
            async with serving() as pair, pair.client() as session:
                server = await pair.arrived.get()
                server.abort()
                with self.assertRaises(SessionEnded) as caught:
                    await session.recv()
                self.assertIs(caught.exception.termination.cause, Cause.TRUNCATED)

        run(main())

    def test_resetMeanwhile(self) -> None:
        """A final word to a peer that has reset its stream ends in order here, too."""

        async def main() -> None:
            async with serving() as pair, pair.client() as session:
                server = await pair.arrived.get()
                assert server.link.transport is not None
                self.patch(
                    server.link.transport, "write_eof", Mock(side_effect=OSError(107, "gone"))
                )
                server.link.reject(ErrorCode.INTERNAL_ERROR)
                self.assertIs((await server.wait_closed()).cause, Cause.ABORTED)
                await session.wait_closed()
                self.assertEqual(pair.server.sessions, set())

        run(main())

    def test_wholeRest(self) -> None:
        """What came before the end is read after it."""

        async def main() -> None:
            async with serving() as pair, pair.client() as session:
                server = await pair.arrived.get()
                for number in range(5):
                    await server.send(b"%d" % number)
                await asyncio.sleep(1.0)
                server.abort()
                await session.wait_closed()
                self.assertEqual(
                    [await session.recv() for _ in range(5)],
                    [b"%d" % number for number in range(5)],
                )
                with self.assertRaises(SessionEnded):
                    await session.recv()

        run(main())

    def test_sendAfterGoodbye(self) -> None:
        """Who sends while the session says goodbye learns how it ended."""

        async def main() -> None:
            async with serving() as pair, pair.client() as session:
                session.close()
                with self.assertRaises(SessionEnded) as caught:
                    await session.send(b"late")
                self.assertTrue(caught.exception.termination.clean)

        run(main())


class TrustTests(AsyncCase):
    """Who is believed."""

    def refused(self, code: ErrorCode, **choices: Any) -> None:
        """A session does not come up, and the client learns the code."""

        async def main() -> None:
            server = {"authorizer": choices.pop("things")} if "things" in choices else {}
            async with serving(**server) as pair:
                with self.assertRaises(HandshakeFailed) as caught:
                    await pair.client(**choices)
                self.assertIs(caught.exception.termination.cause, Cause.REJECTED)
                self.assertEqual(caught.exception.termination.code, code)
                self.assertEqual(pair.server.sessions, set())

        run(main())

    def test_strangers(self) -> None:
        """A server with another key is not believed, nor is a client that is not known."""
        keys = Keys()
        self.refused(ErrorCode.NOT_AUTHORIZED, authorizer=keys.servers)
        self.refused(ErrorCode.NOT_AUTHORIZED, things=keys.things)

    def test_misuse(self) -> None:
        """What is no authorizer, or one for the reactor, is refused before anything is done."""
        keys = Keys()
        settings, server = keys.clientSettings(), keys.serverSettings()
        for wrong in (Anyone, "known_hosts", None, TwistedKnown(self.mktemp(), "a", 1, True)):
            with self.assertRaises(TypeError):
                connect("a:1", settings, wrong)  # type: ignore[arg-type]
            with self.assertRaises(TypeError):
                serve(echo, None, 0, server, wrong)  # type: ignore[arg-type]
        with self.assertRaises(TypeError):
            connect("a:1", server, keys.servers)  # type: ignore[arg-type]
        with self.assertRaises(TypeError):
            serve(echo, None, 0, settings, keys.things)  # type: ignore[arg-type]

    def test_otherSide(self) -> None:
        """A server is refused what knows servers, and a client what knows things."""
        keys = Keys()
        servers = KnownServers(self.mktemp(), "server", 1, first_use=True)
        with self.assertRaises(TypeError):
            serve(echo, None, 0, keys.serverSettings(), servers)  # type: ignore[arg-type]
        with self.assertRaises(TypeError):
            connect("a:1", keys.clientSettings(), Anyone())  # type: ignore[arg-type]

    def test_oddAuthorizers(self) -> None:
        """One that fails, waits, answers nonsense or admits what is no thing admits nobody."""

        class Odd:
            def __init__(self, answer: Any) -> None:
                self.answer = answer

            async def authorize(self, identity: Identity) -> Any:
                await asyncio.sleep(1.0)
                if isinstance(self.answer, Exception):
                    raise self.answer
                return self.answer(identity)

        for answer, code in (
            (ZeroDivisionError(), ErrorCode.INTERNAL_ERROR),
            (lambda identity: None, ErrorCode.INTERNAL_ERROR),
            (NotAuthorized("wait", ErrorCode.UNDECIDED), ErrorCode.UNDECIDED),
            (lambda one: replace(one, purpose=Purpose.OPERATOR), ErrorCode.NOT_AUTHORIZED),
        ):
            self.refused(code, things=Odd(answer))

    def test_slowAuthorizer(self) -> None:
        """One that never answers costs no more than the handshake's time, and is told so."""
        cancelled: list[bool] = []

        class Slow:
            async def authorize(self, identity: Identity) -> Identity:
                try:
                    await asyncio.sleep(1e5)
                finally:
                    cancelled.append(True)
                return identity

        self.refused(ErrorCode.HANDSHAKE_TIMEOUT, things=Slow())
        self.assertEqual(cancelled, [True])

    def test_knownServers(self) -> None:
        """A file of known servers is asked, and follows a server to its next key."""
        path = self.mktemp()
        keys = Keys()
        following = Keys().server

        async def main() -> None:
            settings = {"nextCredential": following}
            async with serving(keys=keys, settings=settings) as pair:
                for first in (True, False):
                    known = KnownServers(path, "server", 1, first_use=first)
                    async with pair.client(authorizer=known) as session:
                        self.assertEqual(str(session.peer), "[server]:1")
                        await asyncio.sleep(1.0)
            async with (
                serving(settings={"credential": following}, keys=keys) as pair,
                pair.client(authorizer=KnownServers(path, "server", 1)),
            ):
                await asyncio.sleep(1.0)
            self.assertEqual(
                KnownServers(path, "server", 1).fingerprints(), [following.fingerprint]
            )
            async with serving(keys=keys) as pair:
                with self.assertRaises(HandshakeFailed):
                    await pair.client(authorizer=KnownServers(path, "server", 1))

        run(main())

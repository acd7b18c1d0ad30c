"""Servers and clients that come back, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.asyncio.loops import Pair, run, serving
from tests.asyncio.test_session import AsyncCase, echo
from thing.asyncio import Session, reconnect
from thing.asyncio.client import parse_address
from thing.core import Backoff, Limits
from thing.core.expiry import SHARE
from thing.errors import EndReason, ErrorCode, HandshakeFailed, SessionEnded
from thing.events import Cause
from thing.identity import Identity
from thing.testing import Keys
from thing.trust.tickets import TicketKeys


class ServerTests(AsyncCase):
    """A server and all its sessions."""

    def test_closed(self) -> None:
        """A server that closes asks its clients to leave, and hears their goodbyes."""

        async def main() -> None:
            async with serving() as pair:
                session = await pair.client()
                closing = pair.server.close(retry_after=5.0)
                self.assertIsNone(closing)
                await pair.server.wait_closed()
                termination = await session.wait_closed()
                self.assertTrue(termination.clean)
                self.assertIs(termination.reason, EndReason.SHUTDOWN)
                assert termination.retryAfter is not None
                self.assertGreaterEqual(termination.retryAfter, 5.0)
                with self.assertRaises(HandshakeFailed) as caught:
                    await pair.client()
                self.assertIs(caught.exception.termination.code, ErrorCode.SERVER_BUSY)

        run(main())

    def test_handlerReturns(self) -> None:
        """A session is over when its handler returns; one that fails is logged, and told so."""

        async def once(session: Session) -> None:
            await session.send(await session.recv())

        async def fail(session: Session) -> None:
            raise ZeroDivisionError

        async def main() -> None:
            async with serving(once) as pair, pair.client() as session:
                await session.send(b"a")
                self.assertEqual([message async for message in session], [b"a"])
                assert session.termination is not None
                self.assertIs(session.termination.reason, EndReason.CLOSING)
            async with serving(fail) as pair, pair.client() as session:
                with self.assertRaises(SessionEnded) as caught:
                    await session.recv()
                self.assertIs(caught.exception.termination.code, ErrorCode.INTERNAL_ERROR)

        run(main())
        self.assertEqual(len(self.records.lines), 1)

    def test_limits(self) -> None:
        """Beyond its limits a server takes nobody, and says when to come back."""

        async def main() -> None:
            async with serving(limits=Limits(sessions=2)) as pair:
                sessions = [await pair.client() for _ in range(2)]
                with self.assertRaises(HandshakeFailed) as caught:
                    await pair.client()
                self.assertIs(caught.exception.termination.code, ErrorCode.SERVER_BUSY)
                self.assertGreater(caught.exception.termination.retryAfter, 0.0)
                sessions[0].close()
                await sessions[0].wait_closed()
                await asyncio.sleep(1.0)
                async with pair.client():
                    self.assertEqual(len(pair.server.sessions), 2)
                self.assertEqual(pair.server.door.connected, 1)

        run(main())

    def test_held(self) -> None:
        """When too much waits for all sessions together, the one with the most ends."""

        async def main() -> None:
            async with serving(limits=Limits(held=70_000)) as pair:
                large, small = [await pair.client() for _ in range(2)]
                await large.send(bytes(60_000))
                await small.send(bytes(20_000))
                termination = await large.wait_closed()
                self.assertIs(termination.code, ErrorCode.SERVER_BUSY)
                self.assertGreater(termination.retryAfter, 0.0)
                self.assertEqual([len(pair.server.sessions), small.termination], [1, None])
                session = await pair.arrived.get()
                session = await pair.arrived.get()
                self.assertEqual(await session.recv(), bytes(20_000))
                self.assertLess(pair.server.door.held, 70_000)

        run(main())

    def test_silentStrangers(self) -> None:
        """Who connects and says nothing keeps no place: the newest are heard."""

        async def main() -> None:
            async with serving(limits=Limits(handshakes=3)) as pair:
                strangers = [pair.plug() for _ in range(20)]
                await asyncio.sleep(1.0)
                async with pair.client():
                    self.assertLessEqual(len(pair.server.door.handshakes), 3)
                await asyncio.sleep(60.0)
                self.assertEqual(len(pair.server.door.handshakes), 0)
                for stranger in strangers:
                    stranger.close()

        run(main())

    def test_puzzle(self) -> None:
        """Where many handshakes lead to nothing, who comes solves a puzzle."""

        async def main() -> None:
            limits = Limits(puzzleAfter=1, puzzleBits=3)
            async with serving(limits=limits) as pair:
                for _ in range(5):
                    with self.assertRaises(HandshakeFailed):
                        await pair.client(authorizer=Keys().servers)
                self.assertGreaterEqual(pair.server.ask_puzzle(), 3)
                async with pair.client():
                    pass

        run(main())

    def test_hostile(self) -> None:
        """Octets that are no Thing end their connection, and nothing else."""

        async def main() -> None:
            loop = asyncio.get_running_loop()
            async with serving(echo) as pair, pair.client() as session:
                for octets in (b"GET / HTTP/1.1\r\n\r\n", bytes(100_000), b"\xff" * 10):
                    stranger = pair.plug()
                    await loop.sock_sendall(stranger, octets)
                    while await loop.sock_recv(stranger, 65536):
                        pass
                    stranger.close()
                await session.send(b"a")
                self.assertEqual(await session.recv(), b"A")

        run(main())

    def test_expired(self) -> None:
        """A session ends when what its peer has proved is over, not at once with all others."""

        class Passing:
            async def authorize(self, identity: Identity) -> Identity:
                return replace(identity, expires=now + 90.0)

        now = time.time()

        async def main() -> None:
            loop = asyncio.get_running_loop()
            self.patch(time, "time", lambda: now + loop.time())
            async with serving(authorizer=Passing()) as pair:
                pair.server.door.jitter = lambda: 0.5
                session = await pair.client()
                async for _ in session:
                    pass
                assert session.termination is not None
                self.assertIs(session.termination.reason, EndReason.EXPIRED)
                self.assertAlmostEqual(loop.time(), 90.0 + 0.5 * SHARE * 90.0, delta=1.0)

        run(main())

    def test_cancelled(self) -> None:
        """A server whose task is cancelled while it waits for goodbyes cuts what is left."""

        async def main() -> None:
            async with serving() as pair:
                session = await pair.client()
                self.patch(session.link, "_send", lambda: None)
                closing = asyncio.get_running_loop().create_task(
                    pair.server.__aexit__(None, None, None)
                )
                await asyncio.sleep(1.0)
                closing.cancel()
                await asyncio.wait([closing])
                self.assertIs((await session.wait_closed()).cause, Cause.TRUNCATED)

        run(main())


class ReconnectTests(AsyncCase):
    """Clients that come back."""

    def sessions(self, pair: Pair, **choices: Any) -> reconnect:
        """Of a client whose every connection is another pair of sockets."""
        settings = pair.keys.clientSettings()
        found = reconnect(
            "server:1",
            settings,
            choices.pop("authorizer", pair.keys.servers),
            backoff=Backoff(jitter=lambda: 0.5),
            **choices,
        )
        connecting = found._once._connecting
        loop = asyncio.get_running_loop()

        async def plugged(*args: Any, **kwargs: Any) -> Any:
            return await create(args[0], sock=pair.plug() if len(args) > 1 else kwargs["sock"])

        create = loop.create_connection
        self.patch(loop, "create_connection", plugged)
        self.assertEqual(connecting, {})
        return found

    def test_again(self) -> None:
        """A session that was lost is followed by another, without signatures, after a pause."""

        async def main() -> None:
            loop = asyncio.get_running_loop()
            async with serving(settings={"tickets": TicketKeys()}) as pair:
                ends, starts = [], []
                async with self.sessions(pair) as sessions:
                    async for session in sessions:
                        starts.append(loop.time())
                        server = await pair.arrived.get()
                        assert session.agreed is not None
                        self.assertEqual(session.agreed.resumed, len(starts) > 1)
                        if len(starts) == 3:
                            break
                        server.abort()
                        with self.assertRaises(SessionEnded):
                            await session.recv()
                        ends.append(loop.time())
                pauses = [start - end for start, end in zip(starts[1:], ends, strict=True)]
                for pause, expected in zip(pauses, (5.0, 10.0), strict=True):
                    self.assertAlmostEqual(pause, expected, delta=0.1)
                await asyncio.sleep(1.0)
                self.assertEqual(pair.server.sessions, set())

        run(main())

    def test_nobodyThere(self) -> None:
        """It tries again where nobody listens, and goes on with who comes."""

        async def main() -> None:
            async with serving() as pair:
                sessions = self.sessions(pair)
                working = asyncio.get_running_loop().create_connection
                tries: list[float] = []

                async def refuse(*args: Any, **kwargs: Any) -> Any:
                    if len(args) > 1:  # The others are the server's ends.
                        tries.append(asyncio.get_running_loop().time())
                        if len(tries) < 4:
                            raise ConnectionRefusedError("nobody")
                    return await working(*args, **kwargs)

                self.patch(asyncio.get_running_loop(), "create_connection", refuse)
                session = await sessions.__anext__()
                self.assertEqual(len(tries), 4)
                await sessions.aclose()
                assert session.termination is not None
                self.assertTrue(session.termination.clean)

        run(main())

    def test_hopeless(self) -> None:
        """After a rejection that only an operator can mend it gives up, if it is to."""

        async def main() -> None:
            async with serving() as pair:
                sessions = self.sessions(pair, authorizer=Keys().servers, give_up=True)
                with self.assertRaises(HandshakeFailed):
                    await sessions.__anext__()

        run(main())


class AddressTests(SynchronousTestCase):
    """Where a server is."""

    def test_read(self) -> None:
        """A host and a port, with IPv6 in brackets."""
        for text, expected in (
            ("localhost:9000", ("localhost", 9000)),
            ("[::1]:9000", ("::1", 9000)),
            ("192.0.2.1:1", ("192.0.2.1", 1)),
        ):
            self.assertEqual(parse_address(text), expected)

    def test_refused(self) -> None:
        """What is none is no guess."""
        for text in ("", "localhost", ":9000", "a:", "::1:9000", "a:b", "a:70000", "a:²", "[]:1"):
            self.assertRaises(ValueError, parse_address, text)

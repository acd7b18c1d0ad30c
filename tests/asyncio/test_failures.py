"""What goes wrong in a program's own code: it is logged, so often, and no place is lost by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.asyncio.loops import Pair, StepLoop, run, serving
from tests.asyncio.test_session import AsyncCase
from thing.asyncio import KnownServers, Session
from thing.asyncio.server import HANDLERS
from thing.core import KeptTicket, Limits
from thing.core.rates import FAILURES_LOGGED, FAILURES_WINDOW
from thing.errors import ErrorCode, HandshakeFailed
from thing.events import Event, HandshakeCompleted, Terminated
from thing.identity import Identity
from thing.testing import Keys
from thing.trust.tickets import TicketKeys

KINDS = (ZeroDivisionError, asyncio.CancelledError, GeneratorExit, BaseException)


class BrokenAuthorizer:
    """A directory that is down."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def authorize(self, identity: Identity) -> Identity:
        """Admit nobody."""
        raise self.error


def raiser(error: BaseException, kind: type[Any] = object) -> Callable[[Event], object]:
    """A function for ``on_event`` with a bug."""

    def broken(event: Event) -> None:
        if isinstance(event, kind):
            raise error

    return broken


class EventTests(AsyncCase):
    """``on_event``, of a server's session and of a client's."""

    async def left(self, pair: Pair) -> None:
        """Nobody is there any more, as far as the server knows."""
        await asyncio.sleep(5.0)
        server = pair.server
        self.assertEqual(server.sessions, set())
        self.assertEqual(server._connected, set())
        self.assertEqual((server.door.connected, server.door.up), (0, 0))
        self.assertEqual(dict(server.door.perNetwork), {})
        self.assertEqual(server._handling, set())

    def test_everyEvent(self) -> None:
        """One that always fails, in whatever way, is logged, and spoils nothing."""

        async def main(kind: type[BaseException]) -> None:
            error = kind()

            async def echo(session: Session) -> None:
                session.on_event = raiser(error)
                async for message in session:
                    await session.send(message)

            async with serving(echo) as pair:
                for abort in (False, True):
                    async with pair.client() as session:
                        session.on_event = raiser(error)
                        await session.send(b"a")
                        self.assertEqual(await session.recv(), b"a")
                        await asyncio.sleep(60.0)
                        if abort:
                            session.abort()
                await self.left(pair)

        for kind in KINDS:
            before = len(self.records.lines)
            run(main(kind))
            self.assertGreater(len(self.records.lines), before)

    def test_end(self) -> None:
        """One that ends the program when a session ends does that, and no place is kept."""

        async def main() -> None:
            async with serving() as pair:
                session = await pair.client()
                server = await pair.arrived.get()
                server.on_event = raiser(SystemExit(), Terminated)
                session.abort()
                await self.left(pair)

        loop = StepLoop()
        self.addCleanup(loop.close)
        running = loop.create_task(main())
        with self.assertRaises(SystemExit):
            loop.run_until_complete(running)
        loop.run_until_complete(running)  # As ``asyncio.run`` does, for what has to be closed.

    def test_tickets(self) -> None:
        """A program that has a use for ``on_event`` gets its tickets all the same."""

        async def main() -> None:
            tickets = KeptTicket()
            async with serving(settings={"tickets": TicketKeys()}) as pair:
                for resumed in (False, True):
                    settings = {"resumption": True}
                    async with pair.client(settings, tickets=tickets) as session:
                        session.on_event = raiser(AssertionError(), HandshakeCompleted)
                        assert session.agreed is not None
                        self.assertEqual(session.agreed.resumed, resumed)
                        await asyncio.sleep(1.0)

        run(main())


class BrakeTests(AsyncCase):
    """However often it fails, the log does not fill a disk."""

    def check(self, sort: str, told: int = FAILURES_LOGGED) -> None:
        """So many were logged with their tracebacks, and then how many there were."""
        lines = [line for line in self.records.lines if line.startswith(sort)]
        self.assertEqual(sum("Traceback" in line for line in lines), told)
        self.records.lines.clear()

    def test_authorizer(self) -> None:
        """Strangers have a failing authorizer asked, each is told so."""

        async def main() -> None:
            broken = BrokenAuthorizer(ZeroDivisionError())
            async with serving(authorizer=broken) as pair:
                for _ in range(3 * FAILURES_LOGGED):
                    with self.assertRaises(HandshakeFailed) as caught:
                        await pair.client()
                    self.assertIs(caught.exception.termination.code, ErrorCode.INTERNAL_ERROR)
                self.check("The authorizer failed")
                await asyncio.sleep(FAILURES_WINDOW)
                with self.assertRaises(HandshakeFailed):
                    await pair.client()
                more = f"The authorizer failed ({2 * FAILURES_LOGGED} more times)"
                self.assertEqual(self.records.lines[0], more)

        run(main())

    def test_cancelledAuthorizer(self) -> None:
        """An authorizer whose own work was cancelled has decided: nobody waits for it."""

        async def main() -> None:
            async with serving(authorizer=BrokenAuthorizer(asyncio.CancelledError())) as pair:
                with self.assertRaises(HandshakeFailed) as caught:
                    await pair.client()
                self.assertIs(caught.exception.termination.code, ErrorCode.INTERNAL_ERROR)
                self.assertLess(asyncio.get_running_loop().time(), 1.0)

        run(main())

    def test_handlers(self) -> None:
        """So it is with handlers of sessions, of requests and of streams."""

        async def fail(*args: object) -> Any:
            raise ZeroDivisionError

        async def main() -> None:
            async with serving(fail) as pair:
                for _ in range(2 * FAILURES_LOGGED):
                    await (await pair.client()).wait_closed()
            async with (
                serving(on_request=fail, streams={"": fail, "a": fail}) as pair,
                pair.client() as session,
            ):
                for _ in range(2 * FAILURES_LOGGED):
                    asking = session.request(b""), session.open_stream("a")
                    await asyncio.gather(*asking, return_exceptions=True)
                    await asyncio.sleep(0.1)

        run(main())
        for sort in ("The handler of a session", "A request was not", "What serves a stream"):
            lines = [line for line in self.records.lines if line.startswith(sort)]
            self.assertEqual(len(lines), FAILURES_LOGGED, sort)

    def test_continuity(self) -> None:
        """An authorizer that cannot keep a server's next key is heard of."""

        class Broken(KnownServers):
            async def keys_announced(self, current: Identity, following: Identity | None) -> None:
                raise ZeroDivisionError

        async def main() -> None:
            following = {"nextCredential": Keys().server}
            known = Broken(self.mktemp(), "server", 1, first_use=True)
            async with serving(settings=following) as pair, pair.client(authorizer=known):
                await asyncio.sleep(1.0)

        run(main())
        self.check("The server's keys are not kept", 1)

    def test_streamProtocol(self) -> None:
        """A protocol in a stream that fails costs its stream alone."""

        class Broken(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                raise ZeroDivisionError

        async def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.write(b"a")
            await writer.drain()

        async def main() -> None:
            async with serving(streams={"give": give}) as pair, pair.client() as session:
                _, writer = await session.open_stream("give")
                writer.transport.set_protocol(Broken())
                writer.write_eof()
                await asyncio.sleep(1.0)
                self.assertTrue(writer.transport.is_closing())
                self.assertEqual(await session.request(b""), b"")

        run(main())
        self.check("The protocol in a stream failed", 1)


class HandlerTests(AsyncCase):
    """Handlers that go on when their sessions are over."""

    def test_pileUp(self) -> None:
        """They are bounded: with too many, clients are turned away until some have returned."""
        over: list[asyncio.Event] = []

        async def linger(session: Session) -> None:
            await over[0].wait()

        async def main() -> None:
            over.append(asyncio.Event())
            async with serving(linger, limits=Limits(sessions=3)) as pair:
                for _ in range(3 * HANDLERS):
                    async with pair.client():
                        pass
                with self.assertRaises(HandshakeFailed) as caught:
                    await pair.client()
                self.assertIs(caught.exception.termination.code, ErrorCode.SERVER_BUSY)
                self.assertGreater(caught.exception.termination.retryAfter, 0.0)
                self.assertEqual(len(pair.server._handling), 3 * HANDLERS)
                over[0].set()
                await asyncio.sleep(1.0)
                async with pair.client():
                    pass

        run(main())
        self.assertEqual(len(self.records.lines), 1)
        self.assertNotIn("Traceback", self.records.lines[0])
        self.assertNotIn("NoneType", self.records.lines[0])

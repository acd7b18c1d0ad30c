"""Streams of a session on asyncio: readers and writers, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.asyncio.loops import run, serving
from tests.asyncio.test_session import AsyncCase
from thing.asyncio import StreamCut
from thing.errors import ErrorCode, LocalProtocolError, SessionEnded, StopCode, StreamRefused

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


async def echo(reader: Reader, writer: Writer) -> None:
    """Sends back what comes, to its end."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def idle(reader: Reader, writer: Writer) -> None:
    """Reads nothing, until the stream is over."""
    await writer.wait_closed()


class StreamTests(AsyncCase):
    """What goes through streams."""

    def test_bothWays(self) -> None:
        """Either side opens streams, many at once, and what is written arrives to its end."""

        async def call(session: Any, number: int) -> None:
            reader, writer = await session.open_stream(f"echo:{number}")
            self.assertEqual(writer.get_extra_info("label"), f"echo:{number}")
            self.assertIs(writer.get_extra_info("session"), session)
            writer.write(b"%d\n" % number)
            self.assertEqual(await reader.readline(), b"%d\n" % number)
            data = bytes([number]) * 300_000
            writer.write(data)
            writer.write_eof()
            self.assertEqual(await reader.read(), data)
            await writer.wait_closed()

        async def main() -> None:
            streams = {"echo:": echo}
            async with serving(streams=streams) as pair, pair.client(streams=streams) as session:
                server = await pair.arrived.get()
                calls = [call(each, number) for each in (session, server) for number in range(5)]
                await asyncio.gather(*calls)
                await asyncio.sleep(1.0)
                for each in (session, server):
                    self.assertEqual(each._streams._open, {})
                    self.assertEqual(each._core.openStreams, 0)

        run(main())

    def test_slowReader(self) -> None:
        """Who does not read a stream holds its writer back, and no other stream, and no beat."""

        async def main() -> None:
            streams = {"idle": idle, "echo": echo}
            async with serving(streams=streams) as pair, pair.client() as session:
                server = await pair.arrived.get()
                _, writer = await session.open_stream("idle")
                sent = 0

                async def flood() -> None:
                    nonlocal sent
                    while True:
                        writer.write(bytes(10_000))
                        await writer.drain()
                        sent += 10_000

                flooding = asyncio.get_running_loop().create_task(flood())
                await asyncio.sleep(200.0)
                before = sent
                await asyncio.sleep(10.0)
                self.assertEqual(sent, before)
                self.assertLess(sent, 1 << 20)
                reader, other = await session.open_stream("echo")
                other.write(bytes(200_000))
                other.write_eof()
                self.assertEqual(len(await reader.read()), 200_000)
                self.assertIsNone(server.termination)
                flooding.cancel()
                await asyncio.wait([flooding])
                writer.transport.abort()

        run(main())

    def test_together(self) -> None:
        """What is written piece by piece in one turn goes together, and before a goodbye."""

        async def count(reader: Reader, writer: Writer) -> None:
            counts.append(len(await reader.read()))

        counts: list[int] = []

        async def main() -> None:
            streams = {"count": count}
            async with serving(streams=streams) as pair, pair.client() as session:
                _, writer = await session.open_stream("count")
                before = session._core.octetsSent
                for _ in range(1000):
                    writer.write(b"x")
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                self.assertLess(session._core.octetsSent - before, 2000)
                writer.write(b"last")

        run(main())
        self.assertEqual(counts, [1004])

    def test_lateReader(self) -> None:
        """What came before it is read waits, and reading makes room for more."""

        async def give(reader: Reader, writer: Writer) -> None:
            writer.write(bytes(1 << 20))
            await writer.drain()

        async def main() -> None:
            async with serving(streams={"give": give}) as pair, pair.client() as session:
                reader, writer = await session.open_stream("give")
                await asyncio.sleep(5.0)
                self.assertEqual(len(await reader.read()), 1 << 20)
                writer.close()
                await writer.wait_closed()

        run(main())

    def test_refused(self) -> None:
        """A stream that nobody takes, or that its handler refuses, is refused with a code."""

        async def refuse(reader: Reader, writer: Writer) -> None:
            raise StreamRefused(StopCode.BUSY)

        async def main() -> None:
            async with serving(streams={"refuse": refuse}) as pair, pair.client() as session:
                with self.assertRaises(StreamRefused) as caught:
                    await session.open_stream("nothing")
                self.assertIs(caught.exception.code, StopCode.NOT_TAKEN)
                reader, _ = await session.open_stream("refuse")
                with self.assertRaises(StreamCut) as cut:
                    await reader.read()
                self.assertIs(cut.exception.code, StopCode.BUSY)
                for label in ("", "x" * 300):
                    with self.assertRaises(LocalProtocolError):
                        await session.open_stream(label)
                self.assertEqual(session._core.openStreams, 0)

        run(main())

    def test_failed(self) -> None:
        """A handler that fails is logged, and costs its stream alone."""

        async def fail(reader: Reader, writer: Writer) -> None:
            raise ZeroDivisionError

        async def main() -> None:
            streams = {"fail": fail, "echo": echo}
            async with serving(streams=streams) as pair, pair.client() as session:
                reader, _ = await session.open_stream("fail")
                with self.assertRaises(StreamCut) as cut:
                    await reader.read()
                self.assertIs(cut.exception.code, StopCode.FAILED)
                reader, writer = await session.open_stream("echo")
                writer.write_eof()
                self.assertEqual(await reader.read(), b"")

        run(main())
        self.assertEqual(len(self.records.lines), 1)

    def test_undecided(self) -> None:
        """Nobody waits longer than he likes for a stream to be taken."""

        async def main() -> None:
            async with serving() as pair, pair.client() as session:
                server = await pair.arrived.get()
                self.patch(server._streams, "requested", lambda event: None)
                with self.assertRaises(asyncio.TimeoutError):
                    await session.open_stream("slow", timeout=5.0)
                opening = asyncio.get_running_loop().create_task(session.open_stream("slow"))
                await asyncio.sleep(1.0)
                opening.cancel()
                await asyncio.wait([opening])
                self.assertTrue(opening.cancelled())
                await asyncio.sleep(1.0)
                self.assertEqual(session._streams._open, {})
                self.assertEqual(session._streams._opening, {})
                self.assertEqual(server._core.openStreams, 0)

        run(main())

    def test_tooMany(self) -> None:
        """More streams than the peer takes are an error at once."""

        async def main() -> None:
            async with serving(streams={"idle": idle}) as pair, pair.client() as session:
                opened = [await session.open_stream("idle") for _ in range(100)]
                with self.assertRaises(LocalProtocolError) as caught:
                    await session.open_stream("idle")
                self.assertIs(caught.exception.code, ErrorCode.TOO_MANY_STREAMS)
                for _, writer in opened:
                    writer.transport.abort()

        run(main())

    def test_piledUp(self) -> None:
        """Handlers that go on when their streams are over do not pile up."""

        async def linger(reader: Reader, writer: Writer) -> None:
            await over.wait()

        over = asyncio.Event()

        async def main() -> None:
            async with serving(streams={"linger": linger}) as pair, pair.client() as session:
                for _ in range(200):
                    _, writer = await session.open_stream("linger")
                    writer.transport.abort()
                with self.assertRaises(StreamRefused) as caught:
                    await session.open_stream("linger")
                self.assertIs(caught.exception.code, StopCode.BUSY)
                over.set()
                await asyncio.sleep(1.0)
                await session.open_stream("linger")

        run(main())

    def test_sessionEnds(self) -> None:
        """A goodbye ends streams in order; an end of any other kind is told as what it is."""

        async def main(clean: bool) -> None:
            async with serving(streams={"idle": idle}) as pair, pair.client() as session:
                server = await pair.arrived.get()
                reader, _ = await session.open_stream("idle")
                opening = asyncio.get_running_loop().create_task(reader.read())
                await asyncio.sleep(1.0)
                if clean:
                    server.close()
                    self.assertEqual(await opening, b"")
                else:
                    server.abort()
                    with self.assertRaises(SessionEnded):
                        await opening
                await session.wait_closed()
                with self.assertRaises(SessionEnded):
                    await session.open_stream("idle")

        for clean in (True, False):
            run(main(clean))

    def test_nobodyTakes(self) -> None:
        """To close a stream whose peer takes nothing any more ends in time all the same."""

        async def main() -> None:
            async with serving(streams={"idle": idle}) as pair, pair.client() as session:
                _, writer = await session.open_stream("idle")
                writer.write(bytes(1 << 20))
                writer.close()
                with self.assertRaises(StreamCut) as cut:
                    await writer.wait_closed()
                self.assertIs(cut.exception.code, StopCode.TIMED_OUT)
                self.assertIsNone(session.termination)

        run(main())

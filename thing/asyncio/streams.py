"""
The streams of a session as asyncio knows streams: each is a transport, with a reader and a writer.

What may be sent in a stream, and when it is over, is decided in the core. A reader that is full
pauses its transport, and the peer's credit is what it may still send; a writer whose ``drain`` is
awaited waits for that of the peer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from thing.asyncio.link import Link
from thing.core.lane import moves
from thing.core.streams import keysOf
from thing.errors import SessionEnded, StopCode, StreamRefused
from thing.events import (
    StreamAccepted,
    StreamClosed,
    StreamData,
    StreamDrained,
    StreamEnded,
    StreamRequested,
    StreamStopped,
    Termination,
)

StreamHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]
"""Serves a stream that the peer opened; the stream closes when it returns."""

StreamEvent = (
    StreamAccepted | StreamClosed | StreamData | StreamDrained | StreamEnded | StreamStopped
)
"""What happens to a stream that is there."""

READ_LIMIT = 65536
"""How far a reader looks for the end of a line by default, octets."""

WRITE_HIGH = 65536
"""With more than so much waiting in a stream ``drain`` waits, octets."""

WRITE_LOW = 16384
"""With less than so much it goes on, octets."""


class StreamCut(ConnectionResetError):
    """
    One stream of a session was stopped, by the peer or by this side; the session goes on.

    :ivar code: why: a :class:`~thing.errors.StopCode`, or one of the application's.
    """

    def __init__(self, code: StopCode | int) -> None:
        """:param code: why."""
        super().__init__(str(StreamRefused(code)))
        self.code = code


class StreamTransport(asyncio.Transport):
    """One stream, as a transport of asyncio."""

    def __init__(self, streams: Streams, number: int, label: str) -> None:
        """
        :param streams: the session's.
        :param number: the stream's number.
        :param label: what it is for.
        """
        super().__init__({"label": label})
        self._streams = streams
        self._link = streams.link
        self._core = streams.link.core
        self._number = number
        self._protocol: Any = None
        self._full = self._ended = self._peer_ended = self._closing = self._over = False
        self._watching: asyncio.TimerHandle | None = None
        self._written: list[bytes] = []
        self._size = 0

    def begin(self, protocol: asyncio.Protocol) -> None:
        """
        Connect a protocol, and deliver what has come already.

        :param protocol: the protocol.
        """
        self._protocol = protocol
        protocol.connection_made(self)
        self.resume_reading()

    # What a protocol, a reader and a writer ask.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """
        Tell something about the stream.

        :param name: ``label``, ``session``, or of the session's own transport ``peername`` or
            ``sockname``.
        :param default: what to return if it is not known.
        :return: what is known.
        """
        if name == "session":
            return self._streams.session
        below = self._link.transport
        if name in ("peername", "sockname") and below is not None:
            return below.get_extra_info(name, default)
        return super().get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """:param protocol: takes the place of the one before."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """:return: the protocol."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def pause_reading(self) -> None:
        """Deliver no data; how much the peer may send meanwhile is bounded."""
        self._core.holdStream(self._number)

    def resume_reading(self) -> None:
        """Deliver data again."""
        self._link.follow(self._core.releaseStream(self._number, self._link.now))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """
        Send octets.

        :param data: the octets.
        """
        if self._over or self._ended or self._closing or not data:
            return
        self._written.append(bytes(data))
        self._size += len(data)
        self._streams.written(self._number, self)
        if self.get_write_buffer_size() > WRITE_HIGH and not self._full:
            self._full = True
            self.hand_over()
            self._core.wantStream(self._number, WRITE_LOW)
            self._protocol.pause_writing()

    def hand_over(self) -> None:
        """Give the session what was written: what is written in one turn goes together."""
        written, self._written, self._size = self._written, [], 0
        if written:
            self._core.sendStream(self._number, b"".join(written), limited=False)

    def get_write_buffer_size(self) -> int:
        """:return: how many octets wait to be sent."""
        return self._size + self._core.streamQueued(self._number)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """:return: with how much waiting writers go on, and wait, octets."""
        return WRITE_LOW, WRITE_HIGH

    def can_write_eof(self) -> bool:
        """:return: always True: each half ends by itself."""
        return True

    def write_eof(self) -> None:
        """End this half, behind what waits."""
        if not self._ended and not self._over:
            self._ended = True
            self.hand_over()
            self._core.endStream(self._number)
            self._link.flush()
            self._settle()

    def is_closing(self) -> bool:
        """:return: whether it is closed, or about to be."""
        return self._closing or self._over

    def close(self) -> None:
        """Close in order: what was written arrives, and what comes is of no use."""
        if not self.is_closing():
            self._closing = True
            self.hand_over()
            self._watch()
            self._link.follow(self._core.closeStream(self._number, self._link.now))

    def abort(self) -> None:
        """End both halves at once."""
        self.stop(StopCode.CANCELLED)

    def stop(self, code: int) -> None:
        """
        End both halves at once.

        :param code: why, a :class:`~thing.errors.StopCode` or one of the application's.
        """
        if not self._over:
            self._core.stopStream(self._number, code)
            self._link.flush()
            self.lost(StreamCut(code))

    def _watch(self) -> None:
        """Nobody waits for ever for a peer that takes nothing any more."""
        self._watching = self._link.loop.call_later(
            self._streams.patience, self._check, self.get_write_buffer_size()
        )

    def _check(self, before: int) -> None:
        if moves(before, self.get_write_buffer_size(), self._streams.patience):
            self._watch()
        else:
            self.stop(StopCode.TIMED_OUT)

    # What the session tells.

    def received(self, data: bytes) -> None:
        """:param data: octets that came."""
        if not self._closing:
            self._protocol.data_received(data)

    def drained(self) -> None:
        """Little waits to be sent."""
        if self._full:
            self._full = False
            self._protocol.resume_writing()

    def peer_ended(self) -> None:
        """The peer has ended its half."""
        self._peer_ended = True
        if not self._closing and not self._protocol.eof_received():
            self.close()
        self._settle()

    def _settle(self) -> None:
        """Both halves have ended: be over when all has gone out."""
        if self._ended and self._peer_ended and not self.is_closing():
            self._closing = True
            self._link.follow(self._core.closeStream(self._number, self._link.now))

    def lost(self, error: Exception | None) -> None:
        """
        The stream is over; its protocol is told in a turn of its own.

        :param error: why, or None for an end in order.
        """
        if self._over:
            return
        self._over = True
        self._written.clear()
        if self._watching is not None:
            self._watching.cancel()
        self._streams.forget(self._number)
        if self._protocol is not None:
            self._link.loop.call_soon(self._protocol.connection_lost, error)


class Streams:
    """
    The streams of one session.

    :ivar link: drives the Connection.
    :ivar session: whose they are.
    :ivar patience: how long a close waits while next to nothing moves, seconds.
    """

    def __init__(
        self,
        link: Link,
        session: object,
        served: Mapping[str, StreamHandler],
        patience: float,
        most: int,
    ) -> None:
        """
        :param link: drives the Connection.
        :param session: whose they are.
        :param served: what serves the peer's, by label.
        :param patience: how long a close waits while next to nothing moves, seconds.
        :param most: how many of the peer's may be served at once, those included whose handler
            goes on when they are over.
        """
        self.link = link
        self.session = session
        self.patience = patience
        self._served = served
        self._most = most
        self._open: dict[int, StreamTransport] = {}
        self._opening: dict[int, asyncio.Future[None]] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._unsent: dict[int, StreamTransport] = {}

    async def open(
        self, label: str, timeout: float, limit: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """
        Open a stream.

        :param label: what it is for.
        :param timeout: how long the peer may take to decide, seconds.
        :param limit: how far the reader looks for the end of a line, octets.
        :return: as :meth:`thing.asyncio.session.Session.open_stream`.
        """
        number = self.link.core.openStream(label, self.link.now)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._opening[number] = waiter
        reader, writer = self._make(number, label, limit)
        stream = self._open[number]
        self.link.flush()
        try:
            await asyncio.wait_for(waiter, timeout)
        except (asyncio.TimeoutError, asyncio.CancelledError) as error:
            late = isinstance(error, asyncio.TimeoutError)
            stream.stop(StopCode.TIMED_OUT if late else StopCode.CANCELLED)
            raise
        except StreamRefused:
            stream.lost(None)
            raise
        finally:
            self._opening.pop(number, None)
        return reader, writer

    def _make(
        self, number: int, label: str, limit: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit, loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport = self._open[number] = StreamTransport(self, number, label)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        transport.begin(protocol)
        return reader, writer

    def _stop(self, number: int, code: int) -> None:
        self.link.core.stopStream(number, code)
        self.link.flush()

    def written(self, number: int, stream: StreamTransport) -> None:
        """
        Something was written that the session is given in the loop's next turn.

        :param number: the stream's number.
        :param stream: the stream.
        """
        self._unsent[number] = stream
        self.link.flush()

    def hand_over(self) -> None:
        """Give the session all that was written."""
        unsent, self._unsent = self._unsent, {}
        for stream in unsent.values():
            stream.hand_over()

    def forget(self, number: int) -> None:
        """:param number: of a stream that is over."""
        self._open.pop(number, None)
        self._unsent.pop(number, None)

    # What the session tells.

    def requested(self, event: StreamRequested) -> None:
        """
        The peer opens a stream: serve it, or refuse it.

        :param event: which.
        """
        handler = next(
            (self._served[key] for key in keysOf(event.label) if key in self._served), None
        )
        if handler is None:
            self._stop(event.stream, StopCode.NOT_TAKEN)
        elif len(self._serving) >= self._most:
            self._stop(event.stream, StopCode.BUSY)
        elif self.link.core.acceptStream(event.stream):
            reader, writer = self._make(event.stream, event.label, READ_LIMIT)
            serving = asyncio.get_running_loop().create_task(self._serve(handler, reader, writer))
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)

    async def _serve(
        self, handler: StreamHandler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        transport: Any = writer.transport
        try:
            await handler(reader, writer)
        except StreamRefused as error:
            transport.stop(error.code)
        except (ConnectionError, SessionEnded):
            transport.abort()  # The stream or its session has failed, and its handler with it.
        except Exception:
            self.link.failures.log("What serves a stream failed; its stream ends")
            transport.stop(StopCode.FAILED)
        finally:
            transport.close()

    def deliver(self, event: StreamEvent) -> None:
        """
        Take what happens to a stream.

        :param event: what happened.
        """
        opening = self._opening.get(event.stream)
        if opening is not None and not opening.done():
            if isinstance(event, StreamAccepted):
                opening.set_result(None)
            elif isinstance(event, StreamStopped):
                opening.set_exception(StreamRefused(event.code))
            return
        stream = self._open.get(event.stream)
        if stream is None:
            return
        try:
            self._deliver(stream, event)
        except Exception:
            self.link.failures.log("The protocol in a stream failed; its stream ends")
            stream.stop(StopCode.FAILED)

    def _deliver(self, stream: StreamTransport, event: StreamEvent) -> None:
        match event:
            case StreamData(data=data):
                stream.received(data)
            case StreamDrained():
                stream.drained()
            case StreamEnded():
                stream.peer_ended()
            case StreamClosed():
                stream.lost(None)
            case StreamStopped(code=code):
                stream.lost(None if code == StopCode.DONE else StreamCut(code))

    def end(self, termination: Termination) -> None:
        """
        The session is over, and all its streams with it.

        :param termination: how.
        """
        for opening in self._opening.values():
            if not opening.done():
                opening.set_exception(SessionEnded(termination))
        for stream in list(self._open.values()):
            stream.lost(None if termination.clean else SessionEnded(termination))

"""
Messages that come down: to standard output, or each to a program of the user's.

Whoever takes no more for a while is waited for: the session is paused then, and what the server
may send meanwhile is bounded by its credit. Heartbeats go on.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.cli.programs import Program, ProgramFailed
from thing.cli.standard import Output
from thing.errors import ReplyStatus, RequestFailed
from thing.logger import Logger

QUEUE_HIGH = 65536
"""When so many octets of messages wait for a program, the session is paused."""

MESSAGE_COST = 512
"""What a message that waits for a program costs besides its octets."""

QUEUE_MOST = 16 << 20
"""So many octets may wait: what a paused session had is told at its end, and there are others."""


class Downlink(Protocol):
    """Takes messages."""

    def take(self, message: bytes) -> Deferred[None]:
        """
        Deal with a message.

        :param message: the message.
        :return: fires when that is done; fails with ``RequestFailed``, which is logged already.
        """

    def close(self) -> Deferred[Any]:
        """:return: fires when all messages are dealt with that were taken; no more come."""

    def cut(self) -> None:
        """Deal with no more, and drop what waits."""


class Overflow:
    """Drops messages that there is no room for, and logs that, however many they are."""

    def __init__(self, log: Logger) -> None:
        """:param log: takes the lines."""
        self._log = log
        self._count = 0

    def drop(self) -> Deferred[None]:
        """:return: what becomes of a message that is dropped."""
        if not self._count:
            self._log.warn("Messages are dropped: too much waits already")
        self._count += 1
        return fail(RequestFailed(ReplyStatus.BUSY))

    def end(self) -> None:
        """Note that there is room again."""
        count, self._count = self._count, 0
        if count:
            self._log.warn("{count} messages were dropped", count=count)


@implementer(IPushProducer)
class Printer:
    """Writes messages to standard output, each with the end of a line."""

    _log = Logger()

    def __init__(self, reactor: Any, flow: IPushProducer) -> None:
        """
        :param reactor: provides ``IReactorFDSet``.
        :param flow: is paused while standard output is full, and stopped when it fails.
        """
        self._closed: Deferred[None] = Deferred()
        self._open = True
        self._closing = False
        self._flow = flow
        self._overdue: int | None = None
        self._overflow = Overflow(self._log)
        self._output: Any = Output(reactor, self, "output", 1)  # type: ignore[no-untyped-call]
        self._output.registerProducer(self, True)

    def take(self, message: bytes) -> Deferred[None]:
        """
        Write a message.

        :param message: the message.
        :return: as :class:`Downlink` says.
        """
        if not self._open:
            return fail(RequestFailed(ReplyStatus.FAILED))
        if self._overdue is not None:
            if self._overdue + len(message) > QUEUE_MOST:
                return self._overflow.drop()
            self._overdue += len(message)
        self._output.write(message if message.endswith(b"\n") else message + b"\n")
        return succeed(None)

    def close(self) -> Deferred[Any]:
        """:return: as :class:`Downlink` says."""
        self._closing = True
        if self._open:
            self._output.unregisterProducer()
            self._output.loseConnection()
        return self._closed

    def cut(self) -> None:
        """Write no more."""
        self._over()

    def pauseProducing(self) -> None:
        """Standard output is full."""
        self._overdue = 0
        self._flow.pauseProducing()

    def resumeProducing(self) -> None:
        """Standard output takes more."""
        self._overdue = None
        self._overflow.end()
        self._flow.resumeProducing()

    def stopProducing(self) -> None:
        """Standard output takes nothing any more: have what comes dropped."""
        self._flow.resumeProducing()

    def childConnectionLost(self, name: str, reason: Failure) -> None:
        """
        Nothing more is written: all is, or nobody reads it.

        :param name: that it is output.
        :param reason: why.
        """
        error = reason.value
        why = error.strerror if isinstance(error, OSError) else None
        if why or not self._closing:  # That nobody reads may be told as an end in order.
            self._log.error(
                "Cannot write to standard output: {reason}", reason=why or "nobody reads it"
            )
            self._flow.stopProducing()
        self._over()

    def _over(self) -> None:
        if self._open:
            self._open = False
            self._closed.callback(None)


class Dispatcher:
    """Gives each message to a run of a program, one after the other."""

    _log = Logger()

    def __init__(self, program: Program, flow: IPushProducer) -> None:
        """
        :param program: the program.
        :param flow: is paused while too much waits.
        """
        self._program = program
        self._flow = flow
        self._waiting: deque[tuple[bytes, Deferred[None]]] = deque()
        self._cost = 0
        self._closed: Deferred[None] | None = None
        self._busy = False
        self._overflow = Overflow(self._log)

    def take(self, message: bytes) -> Deferred[None]:
        """
        Have the program run, when those before have been dealt with.

        :param message: the message.
        :return: as :class:`Downlink` says.
        """
        cost = len(message) + MESSAGE_COST
        if self._cost + cost > QUEUE_MOST:
            return self._overflow.drop()
        done: Deferred[None] = Deferred()
        self._waiting.append((message, done))
        self._cost += cost
        self._next()
        if self._cost >= QUEUE_HIGH:
            self._flow.pauseProducing()
        return done

    def close(self) -> Deferred[Any]:
        """:return: as :class:`Downlink` says."""
        self._closed = Deferred()
        self._next()
        return self._closed

    def cut(self) -> None:
        """Kill the program, and drop what waits."""
        dropped, self._waiting = self._waiting, deque()
        if dropped:
            self._log.warn("{count} messages are dropped", count=len(dropped))
        for _, done in dropped:
            done.errback(RequestFailed(ReplyStatus.FAILED))
        self._program.kill()

    def _next(self) -> None:
        if self._busy:
            return
        if self._waiting:
            self._busy = True
            message, done = self._waiting.popleft()
            self._program.run(message).addBoth(self._ended, len(message) + MESSAGE_COST, done)
        elif self._closed is not None and not self._closed.called:
            self._closed.callback(None)

    def _ended(self, result: bytes | Failure, cost: int, done: Deferred[None]) -> None:
        self._busy = False
        wasFull, self._cost = self._cost >= QUEUE_HIGH, self._cost - cost
        if isinstance(result, Failure):
            result.trap(ProgramFailed)  # type: ignore[no-untyped-call]
            self._log.warn(
                "The program for messages failed: {reason}", reason=result.getErrorMessage()
            )
            done.errback(RequestFailed(ReplyStatus.FAILED))
        else:
            done.callback(None)
        if wasFull and self._cost < QUEUE_HIGH:
            self._overflow.end()
            self._flow.resumeProducing()
        self._next()


class Answerer:
    """Has requests answered by a program, so many at once."""

    _log = Logger()

    def __init__(self, program: Program, most: int) -> None:
        """
        :param program: its standard output is the answer.
        :param most: how many requests are dealt with at once.
        """
        self._program = program
        self._most = most

    def answer(self, request: bytes) -> Deferred[bytes]:
        """
        Have a request answered.

        :param request: what is asked.
        :return: fires with the answer; fails with ``RequestFailed``. To cancel it kills the
            program.
        :raises RequestFailed: ``BUSY``.
        """
        if len(self._program.running) >= self._most:
            raise RequestFailed(ReplyStatus.BUSY)
        return self._program.run(request).addErrback(self._failed)

    def _failed(self, failure: Failure) -> bytes:
        failure.trap(ProgramFailed)  # type: ignore[no-untyped-call]
        self._log.warn(
            "The program for requests failed: {reason}", reason=failure.getErrorMessage()
        )
        raise RequestFailed(ReplyStatus.FAILED)

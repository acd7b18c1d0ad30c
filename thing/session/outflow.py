"""
What an application writes, on its way into a session.

It behaves as the write side of Twisted's own transports: ``write`` never
blocks, never fails for size and calls nobody but a producer that it pauses;
all else happens in a turn of the reactor of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IPullProducer, IReactorTime
from zope.interface import implementer

from thing.core.lane import moves
from thing.core.messages import FRAGMENT_LIMIT
from thing.session.clock import callOff
from thing.session.producers import QUEUE_LOW, RegisteredProducer

BUFFER_SIZE = 65536
"""With more octets than this unsent a producer is paused, as Twisted's transports do."""


class Carrier(Protocol):
    """What an outflow needs of its session."""

    @property
    def queued(self) -> int:
        """How many octets wait in the session."""

    def written(self) -> None:
        """Note that something was written, which is sent in a turn of the reactor."""

    def sendMessage(self, message: bytes) -> bool:
        """Send octets."""

    def endData(self) -> None:
        """Send nothing more: end this direction, behind what waits."""

    def goodbye(self) -> object:
        """Close both directions in order."""

    def timeOut(self) -> None:
        """End both directions at once: the peer takes nothing any more, and something is left."""

    def guard(self, callback: Any, *args: object) -> None:
        """Call something of the application's."""


@implementer(IPullProducer)
class Outflow:
    """
    One stream's write side; its session asks it for more whenever little waits to be sent.

    :ivar bufferSize: with more octets than this unsent a producer is paused.
    """

    def __init__(self, session: Carrier, clock: IReactorTime, patience: float) -> None:
        """
        :param session: carries the octets.
        :param clock: gives turns of the reactor, and measures the patience.
        :param patience: how long a close waits while next to nothing moves, seconds.
        """
        self.bufferSize = BUFFER_SIZE
        self._producer = RegisteredProducer()
        self._session = session
        self._clock = clock
        self._patience = patience
        self._written: list[bytes] = []
        self._size = self._given = 0
        self._asking = self._draining = False
        self._ending = False
        self._closing = False
        self._over = False
        self._ended = False
        self._saidGoodbye = False
        self._turn: IDelayedCall | None = None
        self._stall: IDelayedCall | None = None

    @property
    def saidGoodbye(self) -> bool:
        """Whether this side has closed: then nothing may hold back the peer's goodbye."""
        return self._saidGoodbye

    # The application's side.

    def write(self, pieces: list[bytes]) -> None:
        """
        Take octets, and pause the producer if it was quick.

        :param pieces: the octets.
        """
        if self._over or self._ended or (self._ending and not self._producer.registered):
            return
        size = sum(map(len, pieces))
        if not size:
            return
        if not self._written:
            self._session.written()
        self._written += pieces
        self._size += size
        if not self._asking:
            self._wake()
        if self._size + self._session.queued > self.bufferSize:
            self._producer.pause()

    def register(self, producer: Any, streaming: bool) -> None:
        """
        Let a producer write as fast as the peer takes it.

        :param producer: an ``IPushProducer`` if ``streaming``, else an ``IPullProducer``.
        :param streaming: which of the two.
        :raises RuntimeError: if there is one already.
        """
        self._producer.register(producer, streaming)
        if self._over:
            self._producer.stop()
        elif not streaming:
            self._producer.resume()

    def unregister(self) -> None:
        """Forget the producer; a close that waited for it goes on."""
        self._producer.unregister()
        if self._ending and not self._over:
            self._wake()

    def end(self) -> None:
        """Close this half after all that was written, and after all that a producer writes."""
        self._ending = True
        self._wake()

    @property
    def ended(self) -> bool:
        """Whether this half is closed."""
        return self._ended

    def close(self) -> None:
        """Say goodbye after all that was written, and after all that a producer writes."""
        self._ending = self._closing = True
        self._wake()

    # The session's side.

    def drain(self) -> None:
        """Give the session what was written so far."""
        if self._draining or not self._written:
            return
        written, self._written, self._size = self._written, [], 0
        self._given += sum(map(len, written))
        *others, last = _gathered(written)
        self._draining = True  # To send may ask for more, or for the end: not before the last.
        try:
            for octets in others:
                self._session.sendMessage(octets)
        finally:
            self._draining = False
        self._session.sendMessage(last)

    def resumeProducing(self) -> None:
        """Little waits to be sent: let the producer go on (``IPullProducer``)."""
        if self._written or self._draining or self._over:
            return  # What is written will be drained first, and this called again.
        if self._producer.waits:
            self._asking = True
            self._session.guard(self._producer.resume)
            self._asking = False
            self.drain()  # It was asked in a turn of its own.
        else:
            self._closeIfDone()

    def stopProducing(self) -> None:
        """Nothing can be sent any more (``IPullProducer``)."""
        self._over = True
        self._written, self._size = [], 0
        if self._producer.registered:
            self._wake()  # The application may be in the middle of the call that led here.

    def lost(self) -> None:
        """The stream is closed: no timer and no producer is left behind."""
        self.stopProducing()
        callOff(self._turn)
        callOff(self._stall)
        self._turn = self._stall = None
        self._session.guard(self._producer.stop)

    def _wake(self) -> None:
        if self._turn is None:
            self._turn = self._clock.callLater(0, self._takeTurn)

    def _takeTurn(self) -> None:
        self._turn = None
        if self._over:
            self._session.guard(self._producer.stop)
            return
        self.drain()
        self._closeIfDone()

    def _closeIfDone(self) -> None:
        """End once the producer is done; close once the session has next to nothing to send."""
        if not self._ending or self._draining or self._over:
            return
        if self._closing and self._stall is None:
            waiting, sent = self._session.queued, self._sent
            self._stall = self._clock.callLater(self._patience, self._checkProgress, waiting, sent)
        if self._producer.registered or self._written:
            return
        if not self._closing:
            if not self._ended:
                self._ended = True
                self._session.endData()
        elif self._session.queued < QUEUE_LOW:
            self._sayGoodbye()

    @property
    def _sent(self) -> int:
        return self._given - self._session.queued

    def _checkProgress(self, waiting: int, sent: int) -> None:
        """Nobody waits for ever for a peer; for a producer one does, which is the program's own."""
        self._stall = None
        left = waiting - (self._sent - sent)
        if not self._session.queued or moves(waiting, left, self._patience):
            self._closeIfDone()
        elif self._producer.registered:
            self._session.timeOut()  # A goodbye would say that it has written all.
        else:
            self._sayGoodbye()  # Which has a deadline of its own.

    def _sayGoodbye(self) -> None:
        self._over = self._saidGoodbye = True
        callOff(self._stall)
        self._stall = None
        self._session.guard(self._producer.stop)
        self._session.goodbye()


def _gathered(written: list[bytes]) -> Iterator[bytes]:
    """Join short pieces; long ones fill their records, and to join them would but copy them."""
    short: list[bytes] = []
    for piece in written:
        if len(piece) < FRAGMENT_LIMIT:
            short.append(piece)
            continue
        if short:
            yield b"".join(short)
            short = []
        yield piece
    if short:
        yield b"".join(short)

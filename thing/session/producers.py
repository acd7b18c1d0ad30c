"""
The application's producer: who writes as fast as the peer takes it, and no faster.

The transport's producer, which a driver is itself, lives in :mod:`thing.session.sinks`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from thing.core.states import WRITABLE_STATES, State
from thing.events import Session, Termination

QUEUE_HIGH = 65536
"""With this many octets queued the application's producer is paused."""

QUEUE_LOW = QUEUE_HIGH // 2
"""With less than this it goes on."""


class RegisteredProducer:
    """
    The producer that an application has registered, if any, whatever its kind.

    :ivar registered: whether there is one.
    :ivar streaming: whether it is an ``IPushProducer``, else it is an ``IPullProducer``.
    :ivar paused: whether it was told to pause.
    """

    __slots__ = ("_producer", "paused", "registered", "streaming")

    def __init__(self) -> None:
        self._producer: Any = None
        self.registered = self.streaming = self.paused = False

    def register(self, producer: Any, streaming: bool) -> None:
        """
        Let a producer write.

        :param producer: an ``IPushProducer`` or an ``IPullProducer``.
        :param streaming: which of the two.
        :raises RuntimeError: if there is one already.
        """
        if self.registered:
            raise RuntimeError(
                f"Cannot register producer {producer}, because producer {self._producer}"
                " was never unregistered."
            )
        self._producer, self.registered, self.streaming = producer, True, streaming

    def unregister(self) -> None:
        """Forget the producer."""
        self._producer = None
        self.registered = self.streaming = self.paused = False

    @property
    def waits(self) -> bool:
        """Whether there is one that writes only when it is told to resume."""
        return self.registered and (self.paused or not self.streaming)

    def pause(self) -> None:
        """Tell a push producer to pause, once."""
        if self.streaming and not self.paused:
            self.paused = True
            self._producer.pauseProducing()

    def resume(self) -> None:
        """Tell one that waits to write."""
        if self.waits:
            self.paused = False
            self._producer.resumeProducing()

    def stop(self) -> None:
        """Tell it that nothing can be sent any more, and forget it."""
        producer, registered = self._producer, self.registered
        self.unregister()
        if registered:
            producer.stopProducing()


class Outgoing(Protocol):
    """What paces a producer: the outgoing side of a Connection."""

    @property
    def session(self) -> Session | None:
        """What was agreed on; None before data can be sent."""

    @property
    def termination(self) -> Termination | None:
        """How it ended; None while it has not."""

    @property
    def state(self) -> State:
        """Its state."""

    @property
    def queued(self) -> int:
        """How many octets of data wait to be sent."""

    @property
    def messagesSent(self) -> int:
        """How many messages were given to send."""


class PacedProducer(RegisteredProducer):
    """An application's producer, paced by how much waits to be sent."""

    __slots__ = ("_core", "_guard", "_pulling")

    def __init__(self, core: Outgoing, guard: Callable[[Callable[[], object]], object]) -> None:
        """
        :param core: what the producer writes to.
        :param guard: calls the producer, which may raise.
        """
        super().__init__()
        self._core = core
        self._guard = guard
        self._pulling = False

    def register(self, producer: Any, streaming: bool) -> None:
        """
        Let a producer write, from now on or as soon as it can.

        :param producer: an ``IPushProducer`` or an ``IPullProducer``.
        :param streaming: which of the two.
        :raises RuntimeError: if there is one already.
        """
        super().register(producer, streaming)
        self.balance()

    def balance(self) -> None:
        """Pause the producer while nothing can be sent or much is queued, else let it go on."""
        if not self.registered:
            return
        core = self._core
        up = core.session is not None
        if core.termination is not None or (up and core.state not in WRITABLE_STATES):
            self._guard(self.stop)
        elif self.streaming:
            self._balancePush(core.queued if up else QUEUE_HIGH)
        elif up and not self._pulling:
            self._pull()

    def _balancePush(self, queued: int) -> None:
        if queued >= QUEUE_HIGH and not self.paused:
            self._guard(self.pause)
        elif queued < QUEUE_LOW and self.paused:
            self._guard(self.resume)

    def _pull(self) -> None:
        core = self._core
        self._pulling = True
        try:
            while self.waits and core.queued < QUEUE_LOW:
                sent = core.messagesSent
                self._guard(self.resume)
                if core.messagesSent == sent:
                    return  # It has nothing now; its next message brings us back here.
        finally:
            self._pulling = False

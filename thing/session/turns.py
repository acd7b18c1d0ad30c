"""
:class:`Turns`: the callbacks of one session that take their time, and what waits for them.

A callback may be a coroutine, or return a Deferred. While one is at work the main stream is held,
and so is its credit; all else goes on, with the replies that it may wait for: they spend none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from thing.core.window import RECORD_COST
from thing.events import (
    DataEnded,
    Event,
    GoodbyeReceived,
    LastWordReceived,
    MessageReceived,
    RequestReceived,
)
from thing.session.driver import Driver
from thing.session.started import started

MOST_WAITING = 1 << 20
"""How many octets may wait here, once this side has said goodbye; what is empty costs, too."""

T = TypeVar("T")


class Turns:
    """
    Has data wait while a callback is at work, or while the program has paused.

    As long as this side has not said goodbye it is the Connection that keeps what waits.
    Afterwards it must not: the peer's goodbye is behind it, and that very callback may wait for
    the end.
    """

    __slots__ = (
        "_advancing", "_afterwards", "_atWork", "_deliver", "_driver", "_held", "_parting",
        "_paused", "_waiting",
    )  # fmt: skip

    def __init__(self, driver: Driver, deliver: Callable[[Event], None]) -> None:
        """
        :param driver: drives the Connection.
        :param deliver: is told of each event that has waited here.
        """
        self._driver = driver
        self._deliver = deliver
        self._atWork = 0
        self._paused = self._parting = self._held = self._advancing = False
        self._waiting: deque[Event] = deque()
        self._afterwards: deque[Callable[[], object]] = deque()

    # What the program asks for.

    def pause(self) -> None:
        """Hold the main stream, until :meth:`resume`."""
        self._paused = True
        self._settle()

    def resume(self) -> None:
        """Go on with the main stream, once no callback is at work."""
        self._paused = False
        self._settle()

    def part(self) -> None:
        """This side says goodbye: what the peer still sends must come by."""
        self._parting = True
        self.resume()

    def drop(self) -> None:
        """This side ends the session at once, if it is up: what waits it does not want."""
        if self._driver.core.termination is None:
            self._clear()

    def _clear(self) -> None:
        self._waiting.clear()
        self._driver.aside = 0

    # What callbacks return.

    def follow(self, result: object) -> None:
        """
        Have data wait for a callback; if it fails the session ends, as if it had raised.

        :param result: what it returned; it is at work if that can be awaited.
        :raises TypeError: if that is a generator, which does nothing by itself.
        """
        work = started(result)
        if work is not None:
            self._atWork += 1
            work.addCallbacks(self._done, self._failed)
            self._settle()

    def acknowledge(self, result: object) -> Deferred[None] | None:
        """
        Have data wait for a callback whose failure is dealt with by somebody else.

        :param result: as for :meth:`follow`.
        :return: fires when it is done, or fails as it does; None if it is not at work.
        :raises TypeError: as :meth:`follow`.
        """
        work = started(result)
        if work is None:
            return None
        self._atWork += 1
        work.addBoth(self._done)
        self._settle()
        return work.addCallback(_nothing)

    def _done(self, result: T) -> T:
        self._atWork -= 1
        self._advance()
        return result

    def _failed(self, failure: Failure) -> None:
        self._clear()
        self._atWork -= 1
        self._driver.fail(failure)
        self._advance()

    # What waits.

    def postpones(self, event: Event) -> bool:
        """
        Take an event that stands in the order of the data, if it is not its turn yet.

        :param event: any event.
        :return: whether it is taken.
        """
        if not (self._atWork or self._waiting) or not isinstance(event, _IN_ORDER):
            return False
        self._waiting.append(event)
        self._driver.aside += _costOf(event)
        self._settle()
        return True

    def afterwards(self, callback: Callable[[], object]) -> None:
        """
        Call somebody once no callback is at work and nothing waits: now, if that is so.

        :param callback: what to call.
        """
        self._afterwards.append(callback)
        self._advance()

    def _advance(self) -> None:
        """Go on with what waits, one after another."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while not self._atWork and (self._waiting or self._afterwards):
                if self._waiting:
                    event = self._waiting.popleft()
                    self._driver.aside -= _costOf(event)
                    self._driver.guard(self._deliver, event)
                else:
                    self._driver.guard(self._afterwards.popleft())
        finally:
            self._advancing = False
        self._settle()

    def _settle(self) -> None:
        """Hold the main stream, or do so no longer."""
        many = self._driver.aside > MOST_WAITING
        if self._paused or many or (self._atWork and not self._parting):
            self._held = True
            self._driver.hold()
        elif self._held:
            self._held = False
            self._driver.release()


def _costOf(event: Event) -> int:
    """About how much of the memory it takes, octets: what is empty is not free."""
    return RECORD_COST + (len(event.data) if isinstance(event, _WITH_DATA) else 0)


def _nothing(result: object) -> None:
    """Whatever a callback returns, who waits for it is told nothing."""


_WITH_DATA = (MessageReceived, RequestReceived, LastWordReceived)
"""What of it has octets."""

_IN_ORDER = (MessageReceived, RequestReceived, DataEnded, LastWordReceived, GoodbyeReceived)
"""What stands in the order of the data."""

"""The latest of what happened, for those who come a little late: bounded, in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from sys import getsizeof
from typing import NamedTuple

from twisted.logger import Logger

from thing.fleet.model import FedEvent, FleetEvent

MOST_EVENTS = 10_000
"""How many events are kept."""

MOST_OCTETS = 8 << 20
"""About how many octets they may have together: a few messages are longer than many others."""

LONGEST_POSITION = 41
"""How many characters a position has at most: two numbers of 64 bits."""

OVERHEAD = 512
"""What an event costs besides its message, octets."""

Position = tuple[int, int]
"""Milliseconds since 1970, and a number among the events of that millisecond."""

Receiver = Callable[[FedEvent | None], object]
"""Is told an event, or None for events that are lost."""


class _Kept(NamedTuple):
    """An event that is kept."""

    position: Position
    fed: FedEvent
    cost: int


class Feed:
    """
    Keeps the latest events, and tells each to everybody who subscribed.

    A position is the time of day in milliseconds, and a number among those of
    that millisecond; it never goes back, whatever the clock does.
    """

    _log = Logger()

    def __init__(
        self, since: float, mostEvents: int = MOST_EVENTS, mostOctets: int = MOST_OCTETS
    ) -> None:
        """
        :param since: the time of day; nothing is known of what was before.
        :param mostEvents: how many events to keep.
        :param mostOctets: about how many octets they may have together.
        """
        self._mostEvents = mostEvents
        self._mostOctets = mostOctets
        self._kept: deque[_Kept] = deque()
        self._octets = 0
        self._latest: Position = (int(since * 1000), 0)
        self._lost = self._latest  # The latest that is kept no more.
        self._receivers: dict[object, Receiver] = {}

    def append(self, event: FleetEvent) -> FedEvent:
        """
        Keep an event, and tell it.

        :param event: the event.
        :return: the event with its position.
        """
        moment = max(int(event.at * 1000), self._latest[0])
        number = self._latest[1] + 1 if moment == self._latest[0] else 0
        self._latest = moment, number
        fed = FedEvent(formatPosition(self._latest), event)
        cost = costOf(event)
        self._kept.append(_Kept(self._latest, fed, cost))
        self._octets += cost
        while len(self._kept) > self._mostEvents or self._octets > self._mostOctets:
            oldest = self._kept.popleft()
            self._octets -= oldest.cost
            self._lost = oldest.position
        for receiver in list(self._receivers.values()):
            self._tell(receiver, fed)
        return fed

    def subscribe(self, receiver: Receiver, after: str | None = None) -> Callable[[], None]:
        """
        Be told what happens, in order, beginning with what is kept.

        :param receiver: is told.
        :param after: the position behind which to begin; None for now. One that was never
            given out here, or whose followers are kept no more, brings None first.
        :return: ends the subscription.
        :raises ValueError: if it is no position.
        """
        if after is not None:
            position = parsePosition(after)
            if self._lost > position or position > self._latest:
                self._tell(receiver, None)
            for fed in self._following(position):
                self._tell(receiver, fed)
        key = object()
        self._receivers[key] = receiver
        return partial(self._unsubscribe, key)

    @property
    def latest(self) -> str:
        """The position of the latest event."""
        return formatPosition(self._latest)

    def _unsubscribe(self, key: object) -> None:
        self._receivers.pop(key, None)

    def _following(self, position: Position) -> list[FedEvent]:
        later = takewhile(lambda kept: kept.position > position, reversed(self._kept))
        return [kept.fed for kept in later][::-1]

    def _tell(self, receiver: Receiver, fed: FedEvent | None) -> None:
        try:
            receiver(fed)
        except Exception:
            self._log.failure("A receiver of events failed")


def costOf(event: FleetEvent) -> int:
    """
    Tell about how much memory an event takes.

    :param event: the event.
    :return: octets; a character may take four of them.
    """
    return OVERHEAD + sum(getsizeof(part) for part in event.data.values() if isinstance(part, str))


def parsePosition(text: str) -> Position:
    """
    Read a position.

    :param text: ``milliseconds-number``.
    :return: the two integers, to be compared.
    :raises ValueError: if it is none.
    """
    moment, _, number = text.partition("-")
    plain = all(part.isascii() and part.isdecimal() for part in (moment, number))
    if len(text) > LONGEST_POSITION or not plain:
        raise ValueError("a position is two whole numbers with a hyphen between them")
    return int(moment), int(number)


def formatPosition(position: Position) -> str:
    """
    Write a position.

    :param position: the two integers.
    :return: ``milliseconds-number``.
    """
    return f"{position[0]}-{position[1]}"

"""
The latest of what happened, for those who come a little late: bounded, in memory.

It is the order of events on one node; over Redis the stream is, and this holds only what
happened while that was away.
"""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from sys import getsizeof
from typing import NamedTuple

from thing.fleet.model import FedEvent, FleetEvent
from thing.fleet.positions import Position, formatPosition
from thing.fleet.subscriptions import Receiver, Subscription

MOST_EVENTS = 10_000
"""How many events are kept."""

MOST_OCTETS = 8 << 20
"""About how many octets they may have together: a few messages are longer than many others."""

OVERHEAD = 512
"""What an event costs besides its message, octets."""


class _Kept(NamedTuple):
    """An event that is kept."""

    position: Position
    fed: FedEvent
    cost: int


class Feed:
    """
    Keeps the latest events, and tells each to all subscriptions.

    A position is the time of day in milliseconds, and a number among those of
    that millisecond; it never goes back, whatever the clock does.
    """

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
        self._places: dict[Subscription, Position] = {}  # Up to where each was told.
        self._beingTold: set[Subscription] = set()

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
        for subscription in list(self._places):
            self._catchUp(subscription)
        self._trim()
        return fed

    def _trim(self) -> None:
        while len(self._kept) > self._mostEvents or self._octets > self._mostOctets:
            oldest = self._kept.popleft()
            self._octets -= oldest.cost
            self._lost = oldest.position

    def subscribe(self, receiver: Receiver, after: str | None = None) -> Subscription:
        """
        Make a subscription, which is told what happens, in order, beginning with what is kept.

        :param receiver: is told.
        :param after: the position behind which to begin; None for where it is started. One
            that was never given out here, or whose followers are kept no more, brings None
            first.
        :return: the subscription; it is yet to be started.
        :raises ValueError: if that is no position.
        """
        return Subscription(self, receiver, after)

    @property
    def subscriptions(self) -> list[Subscription]:
        """Those that are started, and not cancelled."""
        return list(self._places)

    def begin(self, subscription: Subscription) -> None:
        """
        Tell a subscription what is kept, and then what happens.

        :param subscription: is started now.
        """
        after = subscription.after
        self._places[subscription] = self._latest if after is None else after
        subscription.catchingUp = True
        self._catchUp(subscription)
        subscription.catchingUp = False

    def end(self, subscription: Subscription) -> None:
        """
        Tell a subscription nothing more.

        :param subscription: is cancelled now.
        """
        del self._places[subscription]

    def _catchUp(self, subscription: Subscription) -> None:
        """Tell a subscription all that it was not told yet."""
        if subscription in self._beingTold:
            return  # Its receiver made something happen: it is told that next.
        self._beingTold.add(subscription)
        while subscription.active and self._places[subscription] != self._latest:
            self._tellFollowing(subscription)
        self._beingTold.discard(subscription)

    def _tellFollowing(self, subscription: Subscription) -> None:
        place = self._places[subscription]
        if not self._lost <= place <= self._latest:
            self._places[subscription] = min(max(place, self._lost), self._latest)
            subscription.tell(None)
            return
        for kept in self._keptAfter(place):
            if not subscription.active:
                return
            self._places[subscription] = kept.position
            subscription.tell(kept.fed)

    @property
    def latest(self) -> str:
        """The position of the latest event."""
        return formatPosition(self._latest)

    def _keptAfter(self, place: Position) -> list[_Kept]:
        later = list(takewhile(lambda kept: kept.position > place, reversed(self._kept)))
        return later[::-1]


def costOf(event: FleetEvent) -> int:
    """
    Tell about how much memory an event takes.

    :param event: the event.
    :return: octets; a character may take four of them.
    """
    return OVERHEAD + sum(getsizeof(part) for part in event.data.values() if isinstance(part, str))

"""
One subscription to events: whom to tell, from where on, and whether still.

It is handed out before anything is told, so that who is told can always end it. Which events
there are, and how far each subscription is, is known by its source: a feed, or a registry's tail.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from zope.interface import implementer

from thing.fleet.interfaces import ISubscription
from thing.fleet.model import FedEvent
from thing.fleet.positions import parsePosition
from thing.logger import Logger

Receiver = Callable[[FedEvent | None], object]
"""Is told an event, or None for events that are lost."""


class Source(Protocol):
    """Where a subscription's events come from."""

    def begin(self, subscription: Subscription) -> None:
        """
        Tell a subscription what happens, from its position on.

        :param subscription: is started now; what it is told at once may end it.
        """

    def end(self, subscription: Subscription) -> None:
        """
        Tell a subscription nothing more, and forget it.

        :param subscription: was started, and is cancelled now.
        """


@implementer(ISubscription)
class Subscription:
    """
    Somebody who is told what happens, from :meth:`start` until :meth:`cancel`.

    :ivar active: whether it is started, and not cancelled.
    :ivar after: the position behind which to begin; None for where it is started.
    :ivar catchingUp: whether it is told what was, and not yet what happens; its source says so.
    """

    _log = Logger()

    def __init__(
        self,
        source: Source,
        receiver: Receiver,
        after: str | None = None,
        room: Callable[[], bool] | None = None,
    ) -> None:
        """
        :param source: where the events come from.
        :param receiver: is told.
        :param after: the position behind which to begin; None for where it is started.
        :param room: tells whether the receiver takes more of what was; None if it always does.
        :raises ValueError: if that is no position.
        """
        self.active = self.catchingUp = False
        self.after = None if after is None else parsePosition(after)
        self._source = source
        self._receiver = receiver
        self._room = room
        self._used = False

    def start(self) -> None:
        """Begin to be told. Of a subscription that was started or cancelled nothing is changed."""
        if not self._used:
            self._used = self.active = True
            self._source.begin(self)

    def cancel(self) -> None:
        """Be told nothing more. It may be called at any time, and more than once."""
        self._used = True
        if self.active:
            self.active = False
            self._source.end(self)

    def tell(self, fed: FedEvent | None) -> None:
        """
        Tell the receiver; for the source only.

        :param fed: an event; None if some are lost. Once the subscription is cancelled nothing
            is told, and what the receiver raises is logged.
        """
        if self.active:
            try:
                self._receiver(fed)
            except Exception:
                self._log.failure("A receiver of events failed")

    def hasRoom(self) -> bool:
        """:return: whether the receiver takes more of what was."""
        return self._room is None or self._room()

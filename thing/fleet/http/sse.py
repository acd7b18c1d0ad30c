"""
Server-sent events: the feed, as a browser and ``curl`` can follow it.

A reader is written to while its transport has room. What comes meanwhile waits
here, up to a limit; a reader that lets more wait is cut off. It may come back
and go on where it was, as long as the feed remembers.

The network takes a little for anybody. So while nothing happens nobody knows whether a reader
reads, until it is sent more than that: once in any case, and whenever places are wanted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.fleet.feed import MOST_OCTETS, OVERHEAD, costOf
from thing.fleet.http.answers import Answer, encode, writeHead
from thing.fleet.model import FedEvent, Kind

if TYPE_CHECKING:
    from thing.fleet.http.channel import StatusRequest
    from thing.fleet.interfaces import IPresence, ISubscription

MAX_WAITING = 256 * 1024
"""How many octets of events may wait for one reader."""

MAX_CATCHING_UP = 2 * MOST_OCTETS
"""
The same while there are events from before the reader came, which wait through no fault of
its own: more than the feed keeps. They are written as JSON when the reader takes them.
"""

STALL_TIMEOUT = 60.0
"""How long a reader may take to read what was written, seconds."""

COMMENT_INTERVAL = 15.0
"""After so long another comment is sent: who reads knows that the server is there, seconds."""

REVIEW_INTERVAL = 0.5
"""How often it is asked whether a reader still may follow, seconds."""

MAX_READERS = 64
"""How many readers at once."""

SEND_BUFFER = 32 * 1024
"""How many octets the system may take that a reader has no room for; it would take megabytes."""

_TYPE = "text/event-stream"
_HEADERS = {"Connection": "close", "X-Accel-Buffering": "no"}  # So that nginx holds nothing back.
_COMMENT = b":\n\n"
# To a terminal that is eight lines with a colon, and no program's line is long.
_PROBE = (b":" + b" " * 62 + b"\r") * 511 + b":" + b" " * 62 + b"\n"
_PROBE *= MAX_WAITING // len(_PROBE)
_RESET = b"event: reset\ndata: {}\n\n"


class EventWriter:
    """Writes events; one that many readers get is written once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._latest: tuple[FedEvent | None, bytes] = None, b""

    def write(self, fed: FedEvent | None) -> bytes:
        """
        Write an event.

        :param fed: the event; None if events were lost.
        :return: the octets.
        """
        if fed is None:
            return _RESET
        if self._latest[0] is not fed:
            kind, data = fed.event.kind.value.encode(), encode(fed.asDict())
            text = b"event: %s\nid: %s\ndata: %s\n\n" % (kind, fed.position.encode(), data)
            self._latest = fed, text
        return self._latest[1]


@implementer(IPushProducer)
class EventStream:
    """
    One reader.

    :ivar waiting: how many octets of events wait for it, besides what its transport holds.
    """

    def __init__(
        self,
        request: StatusRequest,
        writer: EventWriter,
        wanted: Callable[[FedEvent], bool],
        admitted: Callable[[StatusRequest], bool],
        ended: Callable[[EventStream, bool], None],
    ) -> None:
        """
        :param request: asks for the events; it is not answered yet.
        :param writer: writes them.
        :param wanted: which events.
        :param admitted: tells whether the request still would be answered.
        :param ended: told once: the reader is gone, and whether it was cut off.
        """
        self.waiting = 0
        self._request = request
        self._clock = request.clock
        self._writer = writer
        self._wanted = wanted
        self._admitted = admitted
        self._ended = ended
        self._catchingUp = 0
        self._pending: deque[tuple[FedEvent | None, int, bool]] = deque()
        self._paused = True
        self._over = False
        self._stalled: IDelayedCall | None = None
        self._comments: IDelayedCall | None = None
        self._reviews: IDelayedCall | None = None
        self._probed: float | None = None
        self._subscription: ISubscription | None = None

    def start(self, presence: IPresence, after: str | None) -> None:
        """
        Subscribe, and begin to answer.

        :param presence: whose events.
        :param after: the position behind which to begin; None for now.
        :raises ValueError: if it is no position; then nothing is answered.
        """
        subscription = presence.subscribe(self._receive, after, self._hasRoom)  # type: ignore[no-untyped-call]
        self._subscription = subscription
        request = self._request
        request.notifyFinish().addBoth(self._finished)
        writeHead(request, Answer(b"", _TYPE, headers=_HEADERS))
        request.endConnection()
        self._paused = False
        request.registerProducer(self, True)
        request.write(_COMMENT)
        self._comments = self._clock.callLater(COMMENT_INTERVAL, self._comment)
        self._reviews = self._clock.callLater(REVIEW_INTERVAL, self._review)
        subscription.start()

    def stop(self) -> None:
        """End the answer in order."""
        if not self._over and not self._request.gone:
            self._request.unregisterProducer()
            self._request.finish()

    def probe(self) -> None:
        """
        Send so much that only who reads can take it; who does not is cut off after a while.

        Nothing is sent to one that holds us back already, or was probed a moment ago.
        """
        now = self._clock.seconds()
        if not self._paused and (self._probed is None or now >= self._probed + STALL_TIMEOUT):
            self._probed = now
            self._request.write(_PROBE)

    def pauseProducing(self) -> None:
        """Hold back: the transport is full."""
        if not self._paused:
            self._paused = True
            self._stalled = self._clock.callLater(STALL_TIMEOUT, self._cut)

    def resumeProducing(self) -> None:
        """Go on: the transport is empty."""
        self._paused = False
        _cancel(self._stalled)
        self._flush()

    def stopProducing(self) -> None:
        """Do nothing: that the reader is gone is told elsewhere."""

    def _receive(self, fed: FedEvent | None) -> None:
        if self._over or (fed is not None and not self._wanted(fed)):
            return
        cost = OVERHEAD if fed is None else costOf(fed.event)
        # What comes behind that waits through no fault of the reader's, either.
        subscription = self._subscription
        assert subscription is not None, "it is told by that"
        late = fed is None or self._catchingUp > 0 or subscription.catchingUp
        self._pending.append((fed, cost, late))
        self._count(cost, late)
        self._flush()
        if self.waiting > MAX_WAITING or self._catchingUp > MAX_CATCHING_UP:
            self._cut()

    def _hasRoom(self) -> bool:
        """Whether it takes more of what was; what comes it has to take."""
        return not self._paused

    def _count(self, cost: int, late: bool) -> None:
        if late:
            self._catchingUp += cost
        else:
            self.waiting += cost

    def _flush(self) -> None:
        while self._pending and not self._paused and not self._over:
            fed, cost, late = self._pending.popleft()
            self._count(-cost, late)
            self._request.write(self._writer.write(fed))

    def _comment(self) -> None:
        self._comments = self._clock.callLater(COMMENT_INTERVAL, self._comment)
        if self._probed is None:
            self.probe()
        elif not self._paused:
            self._request.write(_COMMENT)

    def _review(self) -> None:
        self._reviews = self._clock.callLater(REVIEW_INTERVAL, self._review)
        if not self._admitted(self._request):
            self._end(False)
            self._request.cut()

    def _cut(self) -> None:
        if not self._over:
            self._end(True)
            self._request.cut()

    def _finished(self, reason: Failure | None) -> None:
        if not self._over:
            self._end(False)

    def _end(self, cutOff: bool) -> None:
        self._over = True
        self._pending.clear()
        self.waiting = self._catchingUp = 0
        for call in (self._stalled, self._comments, self._reviews):
            _cancel(call)
        if self._subscription is not None:
            self._subscription.cancel()  # type: ignore[no-untyped-call]
        self._ended(self, cutOff)


def _cancel(call: IDelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()


def eventFilter(ids: list[str], kinds: list[str]) -> Callable[[FedEvent], bool]:
    """
    Make what chooses events.

    :param ids: of these things; of all if there are none.
    :param kinds: of these kinds; of all if there are none.
    :return: tells whether an event is wanted.
    :raises ValueError: if there is no such kind.
    """
    things, wanted = set(ids), {Kind(kind) for kind in kinds}

    def isWanted(fed: FedEvent) -> bool:
        return (not things or fed.event.id in things) and (not wanted or fed.event.kind in wanted)

    return isWanted

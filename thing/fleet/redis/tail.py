"""
Telling subscriptions what the stream of a registry holds: what was, then what comes.

While the registry is away it has the feed of this node tell them. It writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from thing.fleet.feed import Feed
from thing.fleet.positions import Position, formatPosition, parsePosition
from thing.fleet.redis.connection import Link, RegistryAway, RegistryRefused
from thing.fleet.redis.operations import Read
from thing.fleet.redis.rows import MALFORMED, eventOf, positionOf
from thing.fleet.redis.script import Script
from thing.fleet.subscriptions import Receiver, Subscription
from thing.logger import Logger

BATCH = 200
"""How many entries are read at once."""

BATCH_OCTETS = 1 << 20
"""
About how many octets they may have together, unless it is one: no answer may be so long
that Redis counts as lost before it is read.
"""

ROOM_PAUSE = 0.01
"""After what time a receiver that takes no more is asked again, seconds; then twice that."""

LONGEST_ROOM_PAUSE = 0.5
"""After what time it is asked again at the latest, seconds."""

PATIENCE = 1.0
"""How long Redis is asked to wait for the next entry, seconds."""


class _Follower:
    """How far a subscription is."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.after = subscription.after
        """Behind which position of the stream it begins; None for its end."""
        self.at: Position | None = None
        """What it was told of the stream; None while it is not told of the stream at all."""
        self.local: Subscription | None = None
        """To this node's own events, while it is told of those."""
        self.reading: object = None
        """Stands for the reading of what was that goes on."""
        self.pause: Deferred[None] | None = None
        """Until it is asked again whether it takes more."""

    @property
    def active(self) -> bool:
        """Whether it is to be told anything."""
        return self.subscription.active

    def followLocally(self, feed: Feed) -> None:
        """Be told of this node's own events, unless it is already."""
        if self.active and self.local is None:
            self.local = feed.subscribe(self.subscription.tell)
            self.local.start()

    def leaveLocal(self) -> None:
        """Be told of this node's own events no more."""
        if self.local is not None:
            self.local.cancel()
            self.local = None

    def wake(self) -> None:
        """End the pause, if there is one."""
        if self.pause is not None:
            self.pause.cancel()


class Tail:
    """
    Tells subscriptions what is in the stream.

    While the registry is away they are told what happens on this node. Each
    change between the two brings None, since something may be missing.

    :ivar malformed: how many entries made no sense.
    :ivar link: the connection on which the stream is followed.
    """

    _log = Logger()

    def __init__(
        self,
        feed: Feed,
        history: Link,
        script: Script,
        clock: IReactorTime,
        makeLink: Callable[..., Link],
    ) -> None:
        """
        :param feed: what happens on this node while the registry is away.
        :param history: the connection on which this node writes; what was is read there.
        :param script: reads there.
        :param clock: measures time.
        :param makeLink: makes the connection on which the stream is followed, from ``onUp``.
        """
        self.malformed = 0
        self.link = makeLink(onUp=self._goOn)
        self._feed = feed
        self._history = history
        self._script = script
        self._clock = clock
        self._key = f"{script.prefix}feed"
        self._followers: dict[Subscription, _Follower] = {}
        self._connected = False
        self._following = False
        self._latest: Position | None = None

    def subscribe(
        self, receiver: Receiver, after: str | None, room: Callable[[], bool] | None = None
    ) -> Subscription:
        """
        Make a subscription, which is told what happens, in order.

        :param receiver: is told.
        :param after: the position behind which to begin; None for where it is started.
        :param room: tells whether it takes more of what was; None if it always does.
        :return: the subscription; it is yet to be started.
        :raises ValueError: if that is no position.
        """
        return Subscription(self, receiver, after, room)

    @property
    def subscriptions(self) -> list[Subscription]:
        """Those that are started, and not cancelled."""
        return list(self._followers)

    def begin(self, subscription: Subscription) -> None:
        """
        Tell a subscription what was, and then what happens.

        :param subscription: is started now.
        """
        follower = self._followers[subscription] = _Follower(subscription)
        if self._connected:
            self._startReading(follower)
            return
        if follower.after is not None:
            subscription.tell(None)
        follower.followLocally(self._feed)

    def end(self, subscription: Subscription) -> None:
        """
        Tell a subscription nothing more.

        :param subscription: is cancelled now.
        """
        follower = self._followers.pop(subscription)
        follower.wake()
        follower.leaveLocal()

    def connected(self) -> None:
        """Tell of the stream from now on: the registry is there, and right."""
        self._connected = True
        for follower in list(self._followers.values()):
            follower.leaveLocal()
            self._beginAnew(follower)

    def _beginAnew(self, follower: _Follower) -> None:
        """Tell of the stream from now on, and that something may be missing."""
        follower.after = None
        follower.subscription.tell(None)
        self._startReading(follower)

    def away(self) -> None:
        """Tell of this node only from now on."""
        self._connected = False
        self._latest = None
        for follower in list(self._followers.values()):
            follower.at = follower.reading = None
            follower.subscription.catchingUp = False
            follower.wake()
            follower.subscription.tell(None)
            follower.followLocally(self._feed)

    # What was.

    def _startReading(self, follower: _Follower) -> None:
        """Tell a subscription what was, and then let it be told what comes."""
        if follower.active:
            follower.reading = object()
            follower.subscription.catchingUp = True
            Deferred.fromCoroutine(self._readHistory(follower)).addErrback(
                lambda failure: self._log.failure("Reading the stream failed", failure)
            )

    async def _readHistory(self, follower: _Follower) -> None:
        reading = follower.reading
        try:
            at = await self._findBeginning(follower)
            if follower.after is None and self._latest is None:
                self._latest = at  # Nothing was that it is to be told.
            while follower.active and follower.reading is reading:
                if self._latest is not None and at >= self._latest:
                    follower.at = at
                    follower.subscription.catchingUp = False
                    self._startFollowing()
                    return
                if not follower.subscription.hasRoom():
                    await self._waitForRoom(follower)
                    if not await self._isInStream(at):
                        follower.subscription.tell(None)  # What follows it may be gone as well.
                    continue
                more, entries = await self._entriesAfter(self._history, at)
                at = self._tell(entries, at, [follower])
                if not more:
                    # What was followed and is not there any more was taken away.
                    at = max(at, self._latest or at)
                    self._latest = at
        except RegistryAway:
            return  # When the registry is back it begins anew.
        except RegistryRefused as error:
            if follower.reading is reading:
                follower.reading = None
                self.link.drop(str(error))

    async def _waitForRoom(self, follower: _Follower) -> None:
        """Wait until a follower may take more, or is to be told no more."""
        seconds = ROOM_PAUSE
        while follower.active and not follower.subscription.hasRoom():
            follower.pause = deferLater(self._clock, seconds)
            seconds = min(2 * seconds, LONGEST_ROOM_PAUSE)
            try:
                await follower.pause
            except CancelledError:
                return
            finally:
                follower.pause = None

    async def _findBeginning(self, follower: _Follower) -> Position:
        """Find out where a follower begins, and tell it if something is missing there."""
        newest = await self._latestInStream()
        if follower.after is None:
            return newest
        if not await self._isInStream(follower.after):
            follower.subscription.tell(None)  # It was never given out, or is kept no more.
        return min(follower.after, newest)

    async def _isInStream(self, at: Position) -> bool:
        exact = formatPosition(at)
        found = await self._history.call("XRANGE", self._key, exact, exact, "COUNT", 1)
        return bool(found)

    async def _latestInStream(self) -> Position:
        entries = await self._history.call("XREVRANGE", self._key, "+", "-", "COUNT", 1)
        try:
            return parsePosition(positionOf(entries[0][0]))
        except MALFORMED:
            return (0, 0)  # The stream is empty.

    async def _entriesAfter(self, link: Link, at: Position) -> tuple[bool, list[Any]]:
        """Read some entries, and tell whether there may be more."""
        read = Read(after=formatPosition(at), limit=BATCH, octets=BATCH_OCTETS)
        answer = await self._script.run(link, read)
        try:
            more, entries = answer
            return bool(more), list(entries)
        except MALFORMED:
            raise RegistryAway("the registry's answer makes no sense") from None

    # What comes.

    async def tryReading(self, link: Link) -> None:
        """
        Find out whether the stream may be read.

        :param link: a connection to the registry.
        :raises RegistryRefused: if not.
        """
        await self._script.load(link)
        await link.call("XRANGE", self._key, "0-1", "0-1")
        await link.call("XREVRANGE", self._key, "+", "-", "COUNT", 1)
        await link.call("XREAD", "STREAMS", self._key, "$")
        await self._script.run(link, Read(after="0-0", limit=1, octets=1))

    def _goOn(self) -> None:
        """Read on, as the connection for that is there again: nothing is lost by that."""
        for follower in list(self._followers.values()):
            if self._connected and follower.reading is None:
                self._beginAnew(follower)  # Reading what was had been refused.
        self._startFollowing()

    def _startFollowing(self) -> None:
        """Read the end of the stream for as long as there is somebody to be told."""
        if not self._following and self.link.up and self._connected and self._latest is not None:
            self._following = True
            Deferred.fromCoroutine(self._readNew()).addErrback(
                lambda failure: self._log.failure("Following the stream failed", failure)
            )

    async def _readNew(self) -> None:
        milliseconds = int(PATIENCE * 1000)
        try:
            while self._latest is not None and self._followers and self._connected:
                found = await self.link.call(
                    *("XREAD", "COUNT", 1, "BLOCK", milliseconds),
                    *("STREAMS", self._key, formatPosition(self._latest)),
                    wait=PATIENCE,
                )
                self._tellFollowers(_entriesOf(found) if found else [])
                more = bool(found)
                while more and self._latest is not None:
                    more, entries = await self._entriesAfter(self.link, self._latest)
                    self._tellFollowers(entries)
            self._latest = self._latest if self._followers else None
        except RegistryAway:
            return  # The connection comes back, or the registry is away altogether.
        except RegistryRefused as error:
            self.link.drop(str(error))
        finally:
            self._following = False

    def _tellFollowers(self, entries: list[Any]) -> None:
        """Tell some entries to all who have read what was."""
        if self._latest is not None:
            there = [each for each in self._followers.values() if each.at is not None]
            self._latest = self._tell(entries, self._latest, there)

    def _tell(self, entries: list[Any], at: Position, followers: list[_Follower]) -> Position:
        """Tell some entries; give the position of the last."""
        for entry in entries:
            try:
                position = parsePosition(positionOf(entry[0]))
            except MALFORMED:
                self.malformed += 1
                continue
            at = max(at, position)
            event = eventOf(entry)
            if event is None:
                self.malformed += 1
            for follower in followers:
                if follower.at is None or position > follower.at:
                    if follower.at is not None:
                        follower.at = position
                    if event is not None:
                        follower.subscription.tell(event)
        return at


def _entriesOf(found: Any) -> list[Any]:
    """The entries of the one stream that was read."""
    try:
        ((_, entries),) = found
    except MALFORMED:
        return []
    return entries if isinstance(entries, list) else []

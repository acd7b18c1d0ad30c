"""
What a node has to write into the registry: in order, once, and never without bound.

It neither knows what a write says nor sends it, and sees no connection.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure

from thing.fleet.redis.connection import RegistryAway, RegistryRefused
from thing.fleet.redis.operations import Change
from thing.fleet.redis.script import Outcome, outcomeOf
from thing.fleet.sessions import LocalSession
from thing.logger import Logger

WINDOW = 128
"""How many writes may be unanswered at once."""

WINDOW_OCTETS = 1 << 20
"""
About how many octets they may have together, unless it is one: Redis must be able to take
them, and answer, long before it counts as lost.
"""

MOST_WAITING = 50_000
"""How many writes wait at most: more than when all sessions end at once, with last words."""

MOST_OCTETS = 64 << 20
"""About how many octets they may have together."""

MOST_OF_ONE = 5000
"""How many writes of one thing may wait before more of its messages are lost."""

MOST_OCTETS_OF_ONE = 8 << 20
"""About how many octets they may have together."""

OVERHEAD = 256
"""What a write costs besides its texts, octets."""


@dataclass(slots=True, eq=False)
class Write:
    """Something to be written."""

    session: LocalSession
    change: Change
    uplink: bool = False
    """Whether it is lost if it is dropped, as a thing's own word; all the rest is repaired."""
    tries: int = 0
    refused: bool = False
    """Whether the registry refused it, in a way that time alone does not mend."""
    octets: int = field(init=False)

    def __post_init__(self) -> None:
        """Count its octets."""
        texts = (each for each in vars(self.change).values() if isinstance(each, str))
        self.octets = OVERHEAD + sum(map(len, texts))

    def saysSame(self, other: Write) -> bool:
        """
        Compare with another write.

        :param other: the other.
        :return: whether it is of the same kind, and of the same session.
        """
        return self.session is other.session and self.change.op == other.change.op


class _Queue:
    """What waits of one thing."""

    __slots__ = ("octets", "writes")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.writes: deque[Write] = deque()
        self.octets = 0

    @property
    def isLong(self) -> bool:
        """Whether more of the thing's messages would be too much."""
        return len(self.writes) >= MOST_OF_ONE or self.octets >= MOST_OCTETS_OF_ONE

    def append(self, write: Write) -> None:
        """
        Let a write wait.

        :param write: behind all that wait.
        """
        self.writes.append(write)
        self.octets += write.octets

    def appendleft(self, write: Write) -> None:
        """
        Let a write wait again.

        :param write: before all that wait.
        """
        self.writes.appendleft(write)
        self.octets += write.octets

    def popleft(self) -> Write:
        """:return: the first write, which waits no more."""
        write = self.writes.popleft()
        self.octets -= write.octets
        return write


class Outbox:
    """
    Sends writes, a window of them at once, and keeps what is not answered.

    Those of one thing go in order; things take turns, so that one that says much does not
    hold up what happens to the others. After a loss of the connection everything that is
    not answered is sent again: the script knows what it has done already. A session that the
    registry refuses, though it is up, rests until it is tried again, and so does all that
    comes after it of its thing.

    :ivar dropped: how many messages were lost because too much had to wait.
    :ivar refused: how many writes the registry refused for what they are.
    """

    _log = Logger()

    def __init__(
        self,
        send: Callable[[Write], Deferred[Any]],
        settled: Callable[[Write, Outcome], bool],
        damaged: Callable[[str], object],
        needed: Callable[[Write], bool],
        *,
        mostWaiting: int = MOST_WAITING,
        mostOctets: int = MOST_OCTETS,
    ) -> None:
        """
        :param send: runs a write's operation.
        :param settled: told what became of a write; returns whether it is done with.
        :param damaged: told, with the reason, when registry and truth may differ by what was
            dropped, or an answer shows that they do: the connection is to be made anew, and
            the registry repaired.
        :param needed: tells whether a write that was refused must be done all the same.
        :param mostWaiting: how many writes may wait.
        :param mostOctets: about how many octets they may have.
        """
        self.dropped = 0
        self.refused = 0
        self._send, self._settled, self._damaged = send, settled, damaged
        self._needed = needed
        self._mostWaiting, self._mostOctets = mostWaiting, mostOctets
        self._queues: OrderedDict[str, _Queue] = OrderedDict()  # By thing; whose turn it is first.
        self._resting: OrderedDict[str, _Queue] = OrderedDict()
        self._onTheWay: dict[Write, None] = {}
        self._octetsOnTheWay = 0
        self._unanswered: OrderedDict[Write, int] = OrderedDict()  # The oldest is first.
        self._octets = 0
        self._open = False
        self._put = 0
        self._waiters: list[tuple[int, Deferred[None]]] = []

    def __len__(self) -> int:
        """How many writes are not answered yet."""
        return len(self._unanswered)

    @property
    def octets(self) -> int:
        """About how many octets they have."""
        return self._octets

    def put(self, write: Write) -> None:
        """
        Have something written.

        :param write: what.
        """
        queue = self._findQueue(write)
        if write.uplink and queue is not None and queue.isLong:
            self.dropped += 1
            return
        self._count(write)
        self._queueOf(write).append(write)
        self._sendNext()
        while len(self) > self._mostWaiting or self._octets > self._mostOctets:
            if not self._queues and not self._resting:
                return  # All is on its way.
            self._drop(self._takeNext(self._queues or self._resting))

    def _count(self, write: Write) -> None:
        """A write is to be answered, after all that were put before."""
        if write not in self._unanswered:
            self._octets += write.octets
        self._put += 1
        self._unanswered[write] = self._put
        self._unanswered.move_to_end(write)

    def _findQueue(self, write: Write) -> _Queue | None:
        return self._queues.get(write.session.id) or self._resting.get(write.session.id)

    def _queueOf(self, write: Write) -> _Queue:
        return self._findQueue(write) or self._queues.setdefault(write.session.id, _Queue())

    @staticmethod
    def _takeNext(queues: OrderedDict[str, _Queue]) -> Write:
        """Take the write whose turn it is out of its queue; the thing's next turn is the last."""
        id, queue = next(iter(queues.items()))
        write = queue.popleft()
        if queue.writes:
            queues.move_to_end(id)
        else:
            del queues[id]
        return write

    def open(self) -> None:
        """Begin to send."""
        self._open = True
        self.retry()

    def retry(self) -> None:
        """Send what rests as well."""
        self._queues.update(self._resting)
        self._resting.clear()
        self._sendNext()

    def rest(self, write: Write, reason: str) -> None:
        """
        Keep what the registry refused, and all that comes after it of its thing.

        :param write: a session that is up; it comes before all that waits of its thing.
        :param reason: what the registry said, in one line.
        """
        self._complain(write, reason)
        id, queue = write.session.id, self._queueOf(write)
        for each in [one for one in reversed(self._onTheWay) if one.session.id == id]:
            self._takeOff(each)
            queue.appendleft(each)
        if not any(each.saysSame(write) for each in queue.writes):
            queue.appendleft(write)
        for each in queue.writes:  # Who waits does not wait for these.
            self._count(each)
        self._queues.pop(id, None)
        self._resting[id] = queue

    def _complain(self, write: Write, reason: str) -> None:
        if not write.refused:
            write.refused = True
            self.refused += 1
            self._log.error(
                "The registry refused to {op} {id}: {error}",
                op=write.change.op,
                id=write.session.id,
                error=reason,
            )

    def close(self) -> None:
        """Send no more; what is not answered is sent first when it is opened again."""
        self._open = False
        for write in reversed(self._onTheWay):
            self._queueOf(write).appendleft(write)
            self._queues.move_to_end(write.session.id, last=False)
        self._onTheWay.clear()
        self._octetsOnTheWay = 0
        waiters, self._waiters = self._waiters, []
        for _, waiter in waiters:
            waiter.errback(RegistryAway("the registry was lost"))

    def whenWritten(self) -> Deferred[None]:
        """
        Wait until all that was put so far is answered, or refused once more.

        :return: fires then; fails with ``RegistryAway`` when the outbox is closed first.
        """
        self.retry()
        if not len(self):
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append((self._put, waiter))
        return waiter

    def _sendNext(self) -> None:
        while self._open and self._queues and self._hasRoom():
            write = self._takeNext(self._queues)
            self._onTheWay[write] = None
            self._octetsOnTheWay += write.octets
            sending = maybeDeferred(self._send, write)  # It counts tries, so it comes first.
            write.tries += 1
            sending.addCallback(outcomeOf)
            which = write, write.tries
            sending.addCallbacks(self._answered, self._failed, which, {}, which)
            sending.addErrback(self._failedHere, write)

    def _hasRoom(self) -> bool:
        """Whether the write whose turn it is may be sent, too."""
        if not self._onTheWay:
            return True
        octets = self._octetsOnTheWay + next(iter(self._queues.values())).writes[0].octets
        return len(self._onTheWay) < WINDOW and octets <= WINDOW_OCTETS

    def _isAwaited(self, write: Write, tries: int) -> bool:
        return write in self._onTheWay and write.tries == tries

    def _answered(self, outcome: Outcome, write: Write, tries: int) -> None:
        if not self._isAwaited(write, tries):
            return  # It is to be sent again, and the script will say that it is done.
        if self._settled(write, outcome):
            self._finish(write)
        else:
            self._damaged(f"{write.session.id} is {outcome.word} to the registry")

    def _failed(self, failure: Failure, write: Write, tries: int) -> None:
        error = failure.value
        if not self._isAwaited(write, tries):
            return
        if not isinstance(error, RegistryAway | RegistryRefused):
            self._failedHere(failure, write)
            return
        if isinstance(error, RegistryAway) or error.passing:
            self._damaged(str(error))
            return
        if self._needed(write):
            self.rest(write, str(error))
            self._release()
            self._sendNext()
            return
        self._complain(write, str(error))
        self._finish(write)

    def _failedHere(self, failure: Failure, write: Write) -> None:
        self._log.failure("A write to the registry could not be dealt with", failure)
        if write in self._onTheWay:
            self._finish(write)

    def _takeOff(self, write: Write) -> None:
        """A write is on its way no more."""
        del self._onTheWay[write]
        self._octetsOnTheWay -= write.octets

    def _finish(self, write: Write) -> None:
        self._takeOff(write)
        self._forget(write)
        self._sendNext()

    def _drop(self, write: Write) -> None:
        self._forget(write)
        if write.uplink:
            self.dropped += 1
        elif self._open:
            self._damaged("more is to be written than the registry takes")

    def _forget(self, write: Write) -> None:
        """A write is over."""
        self._octets -= write.octets
        del self._unanswered[write]
        self._release()

    def _release(self) -> None:
        """Those who wait for writes that are over, or rest, may go on."""
        oldest = next(iter(self._unanswered.values()), self._put + 1)
        ready = [each for each in self._waiters if each[0] < oldest]
        self._waiters = [each for each in self._waiters if each[0] >= oldest]
        for _, waiter in ready:
            waiter.callback(None)

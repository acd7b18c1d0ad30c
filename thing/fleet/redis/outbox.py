"""What a node has to write into the registry: in order, once, and never without bound."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from thing.fleet.local import LocalSession
from thing.fleet.redis.connection import RegistryAway, RegistryRefused
from thing.fleet.redis.script import Outcome, outcomeOf

WINDOW = 128
"""How many writes may be unanswered at once."""

MOST_WAITING = 50_000
"""How many writes wait at most: more than when all sessions end at once, with last words."""

MOST_OCTETS = 64 << 20
"""About how many octets they may have together."""

OVERHEAD = 256
"""What a write costs besides its words, octets."""


@dataclass(slots=True, eq=False)
class Write:
    """Something to be written."""

    op: str
    session: LocalSession
    words: Sequence[str | float]
    uplink: bool = False
    """Whether it is a message: that is lost if it is dropped; all the rest is repaired."""
    tries: int = 0
    octets: int = field(init=False)

    def __post_init__(self) -> None:
        """Count its octets."""
        self.octets = OVERHEAD + sum(len(each) for each in self.words if isinstance(each, str))


class Outbox:
    """
    Sends writes in order, a window of them at once, and keeps what is not answered.

    After a loss of the connection everything that is not answered is sent
    again: the script knows what it has done already.

    :ivar dropped: how many messages were lost because too much had to wait.
    :ivar refused: how many writes the registry refused for good.
    """

    _log = Logger()

    def __init__(
        self,
        send: Callable[[Write], Deferred[Any]],
        settled: Callable[[Write, Outcome], bool],
        damaged: Callable[[str], object],
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
        :param mostWaiting: how many writes may wait.
        :param mostOctets: about how many octets they may have.
        """
        self.dropped = 0
        self.refused = 0
        self._send, self._settled, self._damaged = send, settled, damaged
        self._mostWaiting, self._mostOctets = mostWaiting, mostOctets
        self._waiting: deque[Write] = deque()
        self._onTheWay: dict[Write, None] = {}
        self._octets = 0
        self._open = False
        self._put = 0
        self._over = 0
        self._waiters: list[tuple[int, Deferred[None]]] = []

    def __len__(self) -> int:
        """How many writes are not answered yet."""
        return len(self._waiting) + len(self._onTheWay)

    @property
    def octets(self) -> int:
        """About how many octets they have."""
        return self._octets

    def put(self, write: Write) -> None:
        """
        Have something written.

        :param write: what.
        """
        self._waiting.append(write)
        self._octets += write.octets
        self._put += 1
        self._pump()
        while self._waiting and (len(self) > self._mostWaiting or self._octets > self._mostOctets):
            self._drop(self._waiting.popleft())

    def open(self) -> None:
        """Begin to send."""
        self._open = True
        self._pump()

    def close(self) -> None:
        """Send no more; what is not answered is sent first when it is opened again."""
        self._open = False
        self._waiting.extendleft(reversed(self._onTheWay))
        self._onTheWay.clear()
        waiters, self._waiters = self._waiters, []
        for _, waiter in waiters:
            waiter.errback(RegistryAway("the registry was lost"))

    def whenWritten(self) -> Deferred[None]:
        """
        Wait until all that was put so far is answered.

        :return: fires then; fails with ``RegistryAway`` when the outbox is closed first.
        """
        if not len(self):
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append((self._put, waiter))
        return waiter

    def _pump(self) -> None:
        while self._open and self._waiting and len(self._onTheWay) < WINDOW:
            write = self._waiting.popleft()
            self._onTheWay[write] = None
            sending = self._send(write)  # It counts tries, so it must come first.
            write.tries += 1
            sending.addCallback(outcomeOf)
            sending.addCallbacks(self._answered, self._failed, (write,), {}, (write,))
            sending.addErrback(self._broken, write)

    def _answered(self, outcome: Outcome, write: Write) -> None:
        if write not in self._onTheWay:
            return  # It is to be sent again, and the script will say that it is done.
        if self._settled(write, outcome):
            self._finish(write)
        else:
            self._damaged(f"{write.session.id} is {outcome.word} to the registry")

    def _failed(self, failure: Failure, write: Write) -> None:
        error = failure.value
        if write not in self._onTheWay:
            return
        if not isinstance(error, RegistryRefused) or error.passing:
            self._damaged(str(error))
            return
        self.refused += 1
        self._log.error(
            "The registry refused to {op} {id}: {error}",
            op=write.op,
            id=write.session.id,
            error=str(error),
        )
        self._finish(write)

    def _broken(self, failure: Failure, write: Write) -> None:
        self._log.failure("What the registry answered could not be dealt with", failure)
        self._finish(write)

    def _finish(self, write: Write) -> None:
        self._onTheWay.pop(write, None)
        self._count(write)
        self._pump()

    def _drop(self, write: Write) -> None:
        self._count(write)
        if write.uplink:
            self.dropped += 1
        elif self._open:
            self._damaged("more is to be written than the registry takes")

    def _count(self, write: Write) -> None:
        """A write is over: those who wait for it may go on."""
        self._octets -= write.octets
        self._over += 1
        ready = [each for each in self._waiters if each[0] <= self._over]
        self._waiters = [each for each in self._waiters if each[0] > self._over]
        for _, waiter in ready:
            waiter.callback(None)

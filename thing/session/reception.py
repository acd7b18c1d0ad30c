"""
:class:`Reception`: receives the connections of one factory, and keeps its books on them.

What is to be done about a newcomer is decided by the door (:mod:`thing.core.door`); here it is
done, and counted, and logged. Nothing here depends on what a user's protocol does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from twisted.internet.interfaces import IAddress

from thing.core.door import Displace, Door, Go, Member, Verdict, Wait
from thing.core.rates import RecentCount
from thing.errors import ErrorCode
from thing.events import Cause, Session, Termination
from thing.session.expiry import Expiry
from thing.session.journal import Journal


class Connected(Member, Protocol):
    """What the reception knows of a connection, and can do about it."""

    @property
    def address(self) -> IAddress | None:
        """Where the peer is."""

    @property
    def session(self) -> Session | None:
        """What was agreed on; None before the session is up."""

    @property
    def silent(self) -> bool:
        """Whether nothing has come from the peer yet."""

    @property
    def termination(self) -> Termination | None:
        """How the connection ended; None while it has not."""

    def reject(self, code: ErrorCode, detail: str, retryAfter: float) -> None:
        """
        End the connection and tell the peer.

        :param code: what the peer is told.
        :param detail: why, for this side's log.
        :param retryAfter: how long it should stay away, seconds.
        """

    def expire(self) -> None:
        """Ask the client to leave, since its credential has expired."""

    def cutOff(self, detail: str) -> None:
        """
        End the connection without a word.

        :param detail: why, for this side's log.
        """


C = TypeVar("C", bound=Connected)


class Reception(Generic[C]):
    """
    Receives connections; each enters, may be established, ends, and leaves.

    :ivar door: who is here.
    :ivar terminations: how many sessions and handshakes ended, by cause.
    :ivar completed: how many handshakes were completed.
    :ivar limitsHit: how many connections were turned away or cut off, by one of ``LIMITS_HIT``.
    :ivar puzzlesAsked: how many clients were asked to solve a puzzle.
    """

    def __init__(
        self,
        door: Door[C],
        journal: Journal,
        expiry: Expiry[C],
        now: Callable[[], float],
        judges: bool,
        changed: Callable[[], object],
    ) -> None:
        """
        :param door: judges newcomers.
        :param journal: is told of sessions.
        :param expiry: ends those whose peer's credential expires.
        :param now: tells the time, seconds.
        :param judges: whether newcomers are judged at all: a server's are, a client's not.
        :param changed: told when a session has begun or ended.
        """
        self.door = door
        self.terminations: Counter[Cause] = Counter()
        self.completed = 0
        self.limitsHit: Counter[str] = Counter()
        self.puzzlesAsked = 0
        self._journal = journal
        self._expiry = expiry
        self._now = now
        self._judges = judges
        self._changed = changed
        self._exchanges = RecentCount()  # Of handshakes that are no sessions.

    # Coming in.

    def admits(self) -> bool:
        """:return: whether one more connection can be afforded, if only to be refused."""
        verdict = self.door.knock() if self._judges else None
        if verdict is not None:
            self.limitsHit[verdict.limit] += 1
        return verdict is None

    def enter(self, connection: C) -> None:
        """
        Count a new connection.

        :param connection: whose stream is there.
        """
        self.door.enter(connection, self._now(), connection.termination is not None)

    def judge(self, newcomer: C) -> None:
        """
        Have a newcomer judged, and do what the verdict is.

        :param newcomer: who has entered.
        """
        if self._judges:
            self._carryOut(self.door.judge(newcomer), newcomer)

    def readdress(self, connection: C, network: str) -> None:
        """
        Count a connection by another network from now on, and have it judged by that.

        :param connection: who has entered, and has sent nothing but a PROXY header.
        :param network: where it really comes from.
        """
        verdict = self.door.readdress(connection, network)
        if self._judges and connection.termination is None:
            self._carryOut(verdict, connection)

    def _carryOut(self, verdict: Verdict[C], newcomer: C) -> None:
        if verdict is None:
            return
        self.limitsHit[verdict.limit] += 1
        match verdict:
            case Displace():
                # A word to it would cost more, and be waited for while it takes the word.
                verdict.displaced.cutOff(verdict.detail)
            case Go():
                newcomer.cutOff(verdict.detail)
            case Wait():
                newcomer.reject(ErrorCode.SERVER_BUSY, verdict.detail, verdict.retryAfter)

    def admit(self, connection: C) -> None:
        """
        Have one judged who is admitted, and do what the verdict is: by now all places may be taken.

        :param connection: who is in a handshake, and has proved who it is.
        """
        if self._judges:
            self._carryOut(self.door.admit(connection), connection)

    # Being here.

    def establish(self, connection: C, session: Session) -> None:
        """
        Count a session that is up.

        :param connection: whose.
        :param session: what was agreed on.
        """
        self.door.establish(connection)
        self._exchanges.add(-1, self._now())
        self.completed += 1
        self._journal.established(session, connection.address)
        if self._judges and session.peer.expires is not None:
            self._expiry.begin(connection, session.peer.expires, self.door.jitter())
        self._changed()

    def hold(self, connection: C, octets: int) -> None:
        """
        Count what waits in the memory for a session, and end sessions while that is too much.

        :param connection: whose.
        :param octets: how much waits now.
        """
        if self.door.hold(connection, octets) and self._judges:
            while (judged := self.door.relieve()) is not None:
                heaviest, verdict = judged
                self._carryOut(verdict, heaviest)

    def end(self, connection: C, termination: Termination) -> bool:
        """
        Count a session or a handshake that is over.

        :param connection: whose.
        :param termination: how it ended.
        :return: whether its stream must go at once, whatever was said of the end.
        """
        goes = self.door.end(connection)
        self._expiry.end(connection)
        self.terminations[termination.cause] += 1
        self._journal.ended(connection.session, connection.address, termination, connection.silent)
        self._changed()
        return goes and self._judges

    def leave(self, connection: C) -> None:
        """
        Forget a connection.

        :param connection: who has entered, and whose stream is gone.
        """
        self.door.leave(connection)

    # Puzzles.

    def askPuzzle(self) -> int:
        """
        Decide how hard a puzzle to ask of a client.

        :return: bits; zero for no puzzle.
        """
        bits = self.door.limits.difficulty(self._exchanges.count(self._now()))
        self.puzzlesAsked += bits > 0
        return bits

    def exchange(self) -> None:
        """Count a key exchange, in vain until there is a session."""
        self._exchanges.add(1, self._now())

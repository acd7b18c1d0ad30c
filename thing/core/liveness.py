"""
One Connection's time: its deadlines, and the peer's silence, in one place.

When a peer is late or dead is decided in :mod:`thing.core.heartbeat`; what follows from it is the
Connection's to do.
"""

from __future__ import annotations

from thing.core.heartbeat import Deadline, Verdict, Watch


class Liveness:
    """
    What a Connection waits for, each until a moment: a handshake, a heartbeat, a goodbye.

    :ivar ttl: the TTL as it was granted last, seconds; None before Established.
    """

    __slots__ = ("_deadline", "_watch", "ttl")

    def __init__(self) -> None:
        """Nothing is waited for yet."""
        self._deadline: Deadline | None = None
        self._watch: Watch | None = None
        self.ttl: float | None = None

    def limit(self, now: float, seconds: float, patience: float = 0.0) -> None:
        """
        Set the deadline: what is under way must be over by then.

        :param now: the time, seconds.
        :param seconds: how long it may take.
        :param patience: how much longer if this side stalled itself, seconds.
        """
        self._deadline = Deadline(now + seconds, patience)

    def shorten(self, now: float, seconds: float, patience: float = 0.0) -> bool:
        """
        Set the deadline, unless there is one that comes sooner.

        :param now: the time, seconds.
        :param seconds: how long what is under way may take at most.
        :param patience: how much longer if this side stalled itself, seconds.
        :return: whether it is set.
        """
        if self._deadline is not None and self._deadline.due <= now + seconds:
            return False
        self.limit(now, seconds, patience)
        return True

    @property
    def limited(self) -> bool:
        """Whether there is a deadline, beside the peer's silence."""
        return self._deadline is not None

    def watch(self, now: float, ttl: float, patient: bool) -> None:
        """
        The session is up: from now on the peer's silence counts, and nothing else.

        :param now: the time, seconds.
        :param ttl: the TTL, seconds.
        :param patient: whether this side's lateness gives the peer up to a TTL more.
        """
        self.ttl = ttl
        self._deadline = None
        self._watch = Watch(ttl, now, patient)

    @property
    def watched(self) -> bool:
        """Whether the peer's silence counts, as far as this side has not begun to end it."""
        return self._watch is not None

    def renew(self, now: float, ttl: float) -> None:
        """
        The peer gave its sign of life; it changes nothing where that does not count any more.

        :param now: the time, seconds.
        :param ttl: the TTL from now on, seconds.
        """
        if self._watch is not None:
            self.ttl = ttl
            self._watch.renew(now, ttl)

    def remaining(self, now: float) -> float:
        """
        How long the peer still has before its silence ends the session.

        :param now: the time, seconds.
        :return: seconds, not negative; none if its silence does not count.
        """
        return 0.0 if self._watch is None else self._watch.remaining(now)

    def unwatch(self) -> None:
        """Nothing is renewed any more: the deadline alone counts."""
        self._watch = None

    def next(self, watching: bool) -> float | None:
        """
        Tell when :meth:`check` wants to be called.

        :param watching: whether the peer's silence counts in the state that the Connection is in.
        :return: the moment, seconds; None for never.
        """
        watch, deadline = self._watch, self._deadline
        if watch is None or not watching:
            return None if deadline is None else deadline.due
        return watch.nextCheck if deadline is None else min(deadline.due, watch.nextCheck)

    def check(self, now: float, watching: bool) -> Verdict:
        """
        Look at the deadlines.

        :param now: the time, seconds.
        :param watching: whether the peer's silence counts in the state that the Connection is in.
        :return: what was found.
        """
        if self._deadline is not None and self._deadline.expired(now):
            return Verdict.OUT_OF_TIME
        if self._watch is None or not watching:
            return Verdict.ALIVE
        return self._watch.check(now)

    def silence(self, now: float) -> float | None:
        """
        How long the peer has been silent.

        :param now: the time, seconds.
        :return: seconds; None if it does not count.
        """
        return None if self._watch is None else self._watch.silence(now)

    def end(self) -> None:
        """The session is over: nothing is waited for."""
        self._watch = self._deadline = None

"""
:class:`Door`: who is here of a factory's connections, and whether a newcomer may stay.

And whether all together hold too much of the memory, and whose session ends for it.

It counts and it decides, and no more: it knows no protocol and no transport, has no clock,
and does nothing to anybody. How much is allowed is in :mod:`thing.core.limits`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from thing.core.limits import Limits


class Member(Protocol):
    """What the door knows of a connection."""

    network: str
    """By what network it is counted; empty for one that is of none. The door may change it."""

    up: bool
    """Whether its session is up: the door's own note, false at first."""

    @property
    def proved(self) -> bool:
        """Whether the peer has proved who it is."""


M = TypeVar("M", bound=Member)


@dataclass(frozen=True, slots=True)
class Displace(Generic[M]):
    """The newcomer may stay, and another must go for it without a word."""

    limit: str
    """Which limit is reached, one of ``LIMITS_HIT``."""

    detail: str
    """The same in words, for this side's log."""

    displaced: M
    """Who must go."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The newcomer must go, and is told when to come back."""

    limit: str
    """Which limit is exceeded, one of ``LIMITS_HIT``."""

    detail: str
    """The same in words, for this side's log."""

    retryAfter: float
    """How long it should stay away, seconds."""


@dataclass(frozen=True, slots=True)
class Go:
    """The newcomer must go without a word."""

    limit: str
    """Which limit is exceeded, one of ``LIMITS_HIT``."""

    detail: str
    """The same in words, for this side's log."""


Verdict = Displace[M] | Wait | Go | None
"""About a newcomer; None if it comes in, and nobody minds."""


class Door(Generic[M]):
    """
    Counts the connections of one factory, and judges newcomers.

    Of a newcomer the first rule decides that holds when it is counted with the others. Before
    there is anything of it, :meth:`knock`:

    ===============  ==============================================  ==========
    limit            holds if                                        verdict
    ===============  ==============================================  ==========
    ``connections``  ``sessions`` and ``handshakes`` together are    go
                     connected without it
    ===============  ==============================================  ==========

    Once it is connected, :meth:`judge`:

    ==========================  ====================================  ==========
    limit                       holds if                              verdict
    ==========================  ====================================  ==========
    ``draining``                everybody is asked to leave           turned away
    ``sessions``                as many as ``sessions`` are up        turned away
    ``sessions_per_address``    as many as ``sessionsPerAddress`` of  turned away
                                its network are up
    ``handshakes_per_address``  more than ``handshakesPerAddress``    turned away
                                of its network are in handshakes
    ``handshakes``              more than ``handshakes`` are in       come in, and another
                                handshakes, and not it alone          is displaced
    none                        always                                come in
    ==========================  ====================================  ==========

    Displaced is the oldest handshake whose peer has proved nothing. If there is none the
    newcomer is turned away: who has proved who it is waits for this side alone.

    A handshake takes no session's place, or silence would keep others out: who has proved who it
    is, and is admitted, is judged by the rules of sessions again, by :meth:`admit`. But with
    less room for sessions than ``handshakes``, half as many may be in progress, or as many as
    there is room for: the other half is for those on their way out.

    What waits in the memory for a session that is up, to be taken or to be sent, is counted by
    :meth:`hold`. Then :meth:`relieve`:

    ==========================  ===================================  ==========
    ``held``                    more than ``held`` octets wait for   turned away
                                all sessions
    ==========================  ===================================  ==========

    It is a session of the network for whose sessions the most waits, and of these the one for which
    the most waits: who takes the most is no longer served, however slowly it does, and however
    many sessions it has for that. A session whose network is empty stands for itself.

    When a PROXY header tells where it really comes from, :meth:`readdress`: the two rules of
    its network, anew.

    Who is turned away waits, from ``retryAfter`` to twice that, at random. But with as many
    connected as may be in handshakes that are neither up nor in one, so on their way out, it goes:
    even the refusals pile up. So does, then, whose handshake failed for another reason, which
    :meth:`end` tells. Whose network is empty is of none: no rule of networks holds.

    :ivar limits: how much is allowed; may be replaced at any time.
    :ivar jitter: gives random numbers from 0 up to 1; may be replaced.
    :ivar draining: whether everybody is asked to leave.
    :ivar connected: how many streams are there, of those that are told to wait, too.
    :ivar handshakes: who is in a handshake, the oldest first, and since when.
    :ivar up: how many sessions are up.
    :ivar perNetwork: how many sessions of each network are up.
    :ivar handshakesPerNetwork: how many of each are in handshakes.
    :ivar holding: for whom how many octets wait.
    :ivar held: how many octets wait for all of them.
    """

    def __init__(self, limits: Limits, jitter: Callable[[], float]) -> None:
        """
        :param limits: how much is allowed.
        :param jitter: gives random numbers from 0 up to 1.
        """
        self.limits = limits
        self.draining = False
        self.connected = 0
        self.handshakes: dict[M, float] = {}
        self.up = 0
        self.perNetwork: Counter[str] = Counter()
        self.handshakesPerNetwork: Counter[str] = Counter()
        self.holding: dict[M, int] = {}
        self.held = 0
        self.jitter = jitter

    # Counting.

    def enter(self, member: M, now: float, over: bool = False) -> None:
        """
        Count a connection from now on.

        :param member: whose stream is there.
        :param now: the time, seconds.
        :param over: whether it has ended before it began, so that no handshake comes.
        """
        self.connected += 1
        if not over:
            self.handshakes[member] = now
            self.handshakesPerNetwork[member.network] += 1

    def establish(self, member: M) -> None:
        """
        Count a session that is up, and no handshake any more.

        :param member: whose it is.
        """
        self._endHandshake(member)
        member.up = True
        self.up += 1
        self.perNetwork[member.network] += 1

    def end(self, member: M) -> bool:
        """
        Count a session or a handshake no more; its stream may still be there.

        :param member: whose it is.
        :return: whether the stream must go at once: of a handshake, if too many are on their way
            out.
        """
        failed = member in self.handshakes
        self._endHandshake(member)
        if member.up:
            self.hold(member, 0)
            member.up = False
            self.up -= 1
            _countDown(self.perNetwork, member.network)
        return failed and self._leaving > self._most

    def leave(self, member: M) -> None:
        """
        Count a connection no more.

        :param member: who has entered, and whose stream is gone.
        """
        self.connected -= 1

    def hold(self, member: M, octets: int) -> bool:
        """
        Count what waits in the memory for a session; of others nothing is counted.

        :param member: whose it is.
        :param octets: how much waits now.
        :return: whether more waits than may: :meth:`relieve` tells who goes.
        """
        if member.up:
            self.held += octets - self.holding.pop(member, 0)
            if octets:
                self.holding[member] = octets
        return self.held > self.limits.held

    def _endHandshake(self, member: M) -> None:
        if member in self.handshakes:
            del self.handshakes[member]
            _countDown(self.handshakesPerNetwork, member.network)

    # Judging.

    def knock(self) -> Go | None:
        """
        Judge a newcomer of whom there is nothing yet, and nothing is counted.

        :return: the verdict; None to have it enter.
        """
        most = self.limits.sessions + self.limits.handshakes
        return Go("connections", f"limit of {most} connections") if self.connected >= most else None

    def judge(self, newcomer: M) -> Verdict[M]:
        """
        Judge a newcomer.

        :param newcomer: who has entered.
        :return: the verdict.
        """
        if self.draining:
            return self._turnAway("draining", "draining")
        return (
            self._judgeSessions(newcomer.network)
            or self._judgeHandshakesOf(newcomer.network)
            or self._judgeHandshakes(newcomer)
        )

    def admit(self, member: M) -> Wait | Go | None:
        """
        Judge one in a handshake who has proved who it is, and is admitted.

        :param member: who it is.
        :return: the verdict; None to have its session come up.
        """
        return self._judgeSessions(member.network)

    def relieve(self) -> tuple[M, Wait | Go] | None:
        """
        Decide whose session ends, since more waits for all than may; it is not counted any more.

        :return: who must go, and the verdict; None if nobody must.
        """
        most = self.limits.held
        if self.held <= most:
            return None
        shares: Counter[str | M] = Counter()
        for member, octets in self.holding.items():
            shares[member.network or member] += octets
        ((heaviest, share),) = shares.most_common(1)
        those = [each for each in self.holding if heaviest in (each.network, each)]
        member = max(those, key=self.holding.__getitem__)
        detail = (
            f"limit of {most} octets held: {self.holding[member]} for it, {share} for its network"
        )
        self.hold(member, 0)
        return member, self._turnAway("held", detail)

    def readdress(self, member: M, network: str) -> Wait | Go | None:
        """
        Count a connection by another network from now on, and judge it by that.

        :param member: who has entered.
        :param network: where it really comes from.
        :return: the verdict.
        """
        before, member.network = member.network, network
        if member.up:
            _countDown(self.perNetwork, before)
            self.perNetwork[network] += 1
        if member in self.handshakes:
            _countDown(self.handshakesPerNetwork, before)
            self.handshakesPerNetwork[network] += 1
        return self._judgeSessionsOf(network) or self._judgeHandshakesOf(network)

    def _judgeSessions(self, network: str) -> Wait | Go | None:
        most = self.limits.sessions
        if self.up >= most:
            return self._turnAway("sessions", f"limit of {most} sessions")
        return self._judgeSessionsOf(network)

    def _judgeSessionsOf(self, network: str) -> Wait | Go | None:
        most = self.limits.sessionsPerAddress
        if network and self.perNetwork[network] >= most:
            detail = f"limit of {most} sessions of one address"
            return self._turnAway("sessions_per_address", detail)
        return None

    def _judgeHandshakesOf(self, network: str) -> Wait | Go | None:
        limits = self.limits
        if network and self.handshakesPerNetwork[network] > limits.handshakesPerAddress:
            detail = f"limit of {limits.handshakesPerAddress} handshakes of one address"
            return self._turnAway("handshakes_per_address", detail)
        return None

    def _judgeHandshakes(self, newcomer: M) -> Verdict[M]:
        """Let it in; if there are too many the oldest goes, not the quick and honest newcomer."""
        most = self._most
        if len(self.handshakes) <= max(1, most):
            return None
        others = (member for member in self.handshakes if member is not newcomer)
        oldest = next((member for member in others if not member.proved), None)
        detail = f"limit of {most} handshakes"
        if oldest is None:
            return self._turnAway("handshakes", detail)
        return Displace("handshakes", detail, oldest)

    @property
    def _most(self) -> int:
        """How many may be in handshakes now, and as many on their way out."""
        most = self.limits.handshakes
        return min(most, max(self.limits.sessions - self.up, most // 2))

    @property
    def _leaving(self) -> int:
        """How many are on their way out."""
        return self.connected - len(self.handshakes) - self.up

    def _turnAway(self, limit: str, detail: str) -> Wait | Go:
        """Tell it when to come back, as long as such words are few."""
        if self._leaving >= self._most:
            return Go(limit, detail)
        return Wait(limit, detail, self.limits.retryAfter * (1 + self.jitter()))


def _countDown(counts: Counter[str], network: str) -> None:
    counts[network] -= 1
    if not counts[network]:
        del counts[network]

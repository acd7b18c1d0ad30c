"""
A large fleet on paper: what each thing that it needs is used for, and what is used up first.

All is arithmetic with the limits that the code has and the costs that ``fleetcosts.py``
measured. The rest is named in :class:`Habits`: how the things behave, and what machines there
are; nothing else is assumed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

# What is modelled is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fleetcosts import Costs

from thing import Limits
from thing.core.backoff import BASE
from thing.core.heartbeat import BEATS_PER_TTL, TtlPolicy
from thing.fleet.redis.admission import ADMISSION_TIME
from thing.fleet.redis.connection import ANSWER_TIME
from thing.fleet.redis.keeper import LEASE
from thing.fleet.redis.outbox import MOST_WAITING, WINDOW
from thing.fleet.redis.script import BATCH, MOST_FED, MOST_FED_OCTETS

PERIOD = LEASE / 3 * 0.875
"""How long a node waits on average between two renewals of its lease, seconds."""

PACKET = 66
"""What TCP, IP and Ethernet add to what is sent at once, octets."""

MOST_THINGS = 10**9
"""A resource that lasts for so many things is not used up."""


@dataclass(frozen=True)
class Habits:
    """How the things behave, and what there is for them; choose what yours are."""

    reconnects: float = 4.0
    """How often a thing comes back in a day, for reasons of its own."""

    messages: float = 4.0
    """How many messages a thing sends in an hour."""

    followers: int = 2
    """How many nodes somebody is subscribed on, each of which is sent the whole stream."""

    history: float = 60.0
    """For how long the stream must remember, seconds: a consumer may be down for that."""

    nodeMemory: float = 2.0 * 2**30
    """What one node may use of its machine's memory, octets."""

    redisMemory: float = 8.0 * 2**30
    """What Redis may use, octets."""

    network: float = 125e6
    """What the network of one machine carries, octets a second."""


@dataclass(frozen=True)
class Plan:
    """So many things on so many nodes, each a process with a core of its own."""

    things: float
    nodes: int
    costs: Costs
    habits: Habits = Habits()
    limits: Limits = Limits()
    ttlPolicy: TtlPolicy = TtlPolicy()

    # At rest.

    @property
    def each(self) -> float:
        """How many things a node has."""
        return self.things / self.nodes

    @property
    def worst(self) -> float:
        """How many it has when another one is lost."""
        return self.things / (self.nodes - 1)

    def ttl(self, sessions: float) -> float:
        """
        Tell what TTL is granted.

        :param sessions: how many a node has.
        :return: seconds.
        """
        return self.ttlPolicy.grant(None, math.ceil(sessions))

    def beats(self, sessions: float) -> float:
        """
        Tell how often a node's things beat.

        :param sessions: how many it has.
        :return: heartbeats a second.
        """
        return BEATS_PER_TTL * sessions / self.ttl(sessions)

    @property
    def reconnects(self) -> float:
        """How many things come back in a second, of all."""
        return self.things * self.habits.reconnects / 86400

    @property
    def messages(self) -> float:
        """How many messages they send in a second, all."""
        return self.things * self.habits.messages / 3600

    @property
    def events(self) -> float:
        """How many entries the stream gets in a second: one that left, one that joined."""
        return 2 * self.reconnects + self.messages

    def beatShare(self, sessions: float) -> float:
        """
        Tell what part of its core a node needs for heartbeats.

        :param sessions: how many it has.
        :return: the part.
        """
        return self.beats(sessions) * self.costs.beat

    def busy(self, sessions: float) -> float:
        """
        Tell what part of its core a node needs from day to day; a message costs as a heartbeat.

        :param sessions: how many it has.
        :return: the part.
        """
        part = sessions / self.things
        handshakes = part * self.reconnects * self.costs.handshake
        return self.beatShare(sessions) + handshakes + part * self.messages * self.costs.beat

    @property
    def leaseOps(self) -> float:
        """How many operations a second Redis has of leases alone: a renewal and a sweep each."""
        return 2 * self.nodes / PERIOD

    @property
    def redisOps(self) -> float:
        """How many it has in all: also three for each reconnect, one for each message."""
        return self.leaseOps + 3 * self.reconnects + self.messages

    @property
    def redisBusy(self) -> float:
        """What part of its core Redis needs, the entries that are handed on included."""
        costs = self.costs
        return (
            self.nodes / PERIOD * (costs.renew + costs.sweep)
            + self.reconnects * (costs.admit + costs.join + costs.leave)
            + self.messages * costs.tell
            + self.events * self.habits.followers * costs.read
        )

    @property
    def fed(self) -> float:
        """How many entries the stream holds at most."""
        return min(MOST_FED, MOST_FED_OCTETS / self.costs.entry)

    @property
    def history(self) -> float:
        """For how long the stream remembers, seconds."""
        return self.fed / self.events

    @property
    def redisMemory(self) -> float:
        """What Redis stores, octets."""
        return self.things * self.costs.thing + self.fed * self.costs.entry

    @property
    def redisTraffic(self) -> float:
        """What goes to Redis and comes from it, octets a second: each write is as an entry."""
        writes = self.redisOps + self.events * self.habits.followers
        return writes * (self.costs.entryOctets + PACKET)

    def traffic(self, sessions: float) -> float:
        """
        Tell what a node's heartbeats are on the network: beat, answer and what confirms it.

        :param sessions: how many it has.
        :return: octets a second.
        """
        return self.beats(sessions) * (self.costs.beatOctets + 3 * PACKET)

    # In a storm.

    @property
    def sweepTime(self) -> float:
        """How long Redis needs to take all things of one lost node off, seconds."""
        return self.each * self.costs.lost + self.each / BATCH * self.costs.sweep

    @property
    def sweepers(self) -> float:
        """How many nodes sweep at the same time then."""
        return (self.nodes - 1) * min(1.0, self.sweepTime / PERIOD)

    @property
    def restoreTime(self) -> float:
        """How long Redis needs to be told of all sessions, and to be asked for them, seconds."""
        return self.things * (self.costs.restore + self.costs.mine)

    @property
    def returning(self) -> float:
        """
        How many a second come back at most, of those that one node asked to leave.

        Who is asked to stay away for t comes back between t and t + max(t, BASE), and t is spread
        evenly: that is the density where the most come, BASE after the first.
        """
        retryAfter = self.limits.retryAfter
        spread = self.limits.spread(math.ceil(self.each), retryAfter)
        soon = min(1.0, retryAfter / BASE)
        return self.each / spread * (1 - soon + math.log(1 + soon))

    @property
    def rush(self) -> float:
        """How many handshakes a second a node completes when all things come in one moment."""
        able = (1 - self.busy(self.each)) / self.costs.handshake
        return max(0.0, min(able, self.each / BASE))

    @property
    def rushWait(self) -> float:
        """
        How long Redis lets its nodes wait then, seconds.

        Each node has a full window of writes there, and asks at each handshake, however long the
        answers take.
        """
        asking = self.nodes * self.rush * self.costs.admit
        if asking >= 1:
            return math.inf
        return self.nodes * WINDOW * self.costs.join / (1 - asking)


@dataclass(frozen=True)
class Resource:
    """Something that a fleet uses."""

    name: str
    use: Callable[[Plan], float]
    """The part of it that is used."""
    byNodes: bool = False
    """Whether more is used only by more nodes; else it is by more things on the same nodes."""

    def lasts(self, plan: Plan) -> float:
        """
        Tell for how many things it lasts.

        :param plan: a fleet.
        :return: how many; infinity for more than anybody has.
        """
        step = plan.each if self.byNodes else 1.0
        low, high = 0, math.ceil(MOST_THINGS / step)

        def grown(number: int) -> Plan:
            if self.byNodes:
                return replace(plan, nodes=number, things=number * plan.each)
            return replace(plan, things=float(number))

        if self.use(grown(high)) < 1:
            return math.inf
        while high - low > 1:
            middle = (low + high) // 2
            if self.use(grown(max(middle, 2))) < 1:
                low = middle
            else:
                high = middle
        return low * step


RESOURCES = (
    Resource("sessions of a process, a node lost", lambda plan: plan.worst / plan.limits.sessions),
    Resource("a node's core, at rest", lambda plan: plan.busy(plan.each)),
    Resource(
        "a node's core, a node killed",
        lambda plan: (
            plan.busy(plan.worst) + plan.each / BASE / (plan.nodes - 1) * plan.costs.handshake
        ),
    ),
    Resource(
        "a node's core, the next one restarted",
        lambda plan: plan.busy(plan.worst) + plan.returning * plan.costs.handshake,
    ),
    Resource(
        "a node's memory", lambda plan: plan.worst * plan.costs.session / plan.habits.nodeMemory
    ),
    Resource("a node's network", lambda plan: plan.traffic(plan.worst) / plan.habits.network),
    Resource("a node's outbox, all come anew", lambda plan: 2 * plan.each / MOST_WAITING),
    Resource("Redis's core, at rest", lambda plan: plan.redisBusy),
    Resource("Redis's memory", lambda plan: plan.redisMemory / plan.habits.redisMemory),
    Resource("Redis's network", lambda plan: plan.redisTraffic / plan.habits.network),
    Resource("the stream's history", lambda plan: plan.habits.history / plan.history),
    Resource(
        "the stream, a node lost", lambda plan: (2 * plan.each + plan.events * LEASE) / plan.fed
    ),
    Resource(
        "Redis's answers, many sweep",
        lambda plan: plan.sweepers * BATCH * plan.costs.lost / ADMISSION_TIME,
        byNodes=True,
    ),
    Resource(
        "Redis's answers, all restore",
        lambda plan: plan.nodes * BATCH * plan.costs.restore / ANSWER_TIME,
        byNodes=True,
    ),
    Resource(
        "Redis's answers, all come anew",
        lambda plan: plan.rushWait / ANSWER_TIME,
        byNodes=True,
    ),
)
"""Everything that may break, in the order of the table."""


def first(plan: Plan) -> Resource:
    """
    Find what breaks first.

    :param plan: a fleet.
    :return: the resource that lasts for the fewest things.
    """
    return min(RESOURCES, key=lambda resource: resource.lasts(plan))

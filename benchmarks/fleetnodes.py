"""
A large fleet, simulated: things, nodes, their balancer and Redis, in time that is not waited for.

The real objects decide when things come back (``Backoff``) and whom a node turns away
(``Limits``). The windows, batches, leases and deadlines are those of the code; what anything
costs is measured by ``fleetcosts.py``. A node is one core that completes handshakes one by
one besides its heartbeats, and Redis is one core that runs one operation after the other. The
network takes no time.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count

from fleetmodel import Plan

from thing import Cause, ErrorCode, Termination
from thing.core.settings import ClientSettings
from thing.endpoints import Backoff
from thing.fleet.redis.admission import ADMISSION_TIME
from thing.fleet.redis.keeper import LEASE
from thing.fleet.redis.outbox import WINDOW
from thing.fleet.redis.script import BATCH

HANDSHAKE_TIME = ClientSettings().handshakeTimeout
"""How long a handshake may take, seconds."""

TRUNCATED = Termination(Cause.TRUNCATED)


class Timeline:
    """
    What is to happen, in order.

    :ivar now: the time, seconds.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()

    def at(self, due: float, call: Callable[[], object]) -> None:
        """
        Let something happen.

        :param due: when, seconds.
        :param call: what.
        """
        heapq.heappush(self._events, (due, next(self._order), call))

    def run(self, over: Callable[[], bool]) -> None:
        """
        Let everything happen.

        :param over: tells when nothing else is of interest.
        """
        while self._events and not over():
            self.now, _, call = heapq.heappop(self._events)
            call()


@dataclass
class Storm:
    """What happened."""

    name: str
    things: int = 0
    """How many had to come back."""
    back: float = 0.0
    """When the last was back, seconds."""
    peak: int = 0
    """How many handshakes one node completed in one second at most."""
    turnedAway: int = 0
    """How many tries were told that a node has too many sessions."""
    cutOff: int = 0
    """How many were cut off, for newer ones or since they took too long."""
    puzzled: int = 0
    """How many were asked to solve a puzzle, at most."""
    ops: int = 0
    """How many operations Redis ran."""
    opsPeak: int = 0
    """How many in one second at most."""
    busyPeak: float = 0.0
    """What part of one second Redis was busy at most."""
    longest: float = 0.0
    """How long an operation waited and took at most, seconds."""
    swept: int = 0
    """How many things were taken off by the sweep; the others had moved before."""
    lastLeft: float = 0.0
    """When the last of them was, seconds."""
    queued: int = 0
    """How many writes waited on one node at most."""
    took: float = 0.0
    """How long all of it took, seconds."""


class Redis:
    """One core that runs one operation after the other."""

    def __init__(self, timeline: Timeline, alike: int = 1) -> None:
        """
        :param timeline: where its work goes on.
        :param alike: for how many nodes each node stands that is simulated.
        """
        self._timeline = timeline
        self._alike = alike
        self._free = 0.0
        self._longest = 0.0
        self._ops: Counter[int] = Counter()
        self._busy: Counter[int] = Counter()

    def run(self, cost: float, done: Callable[[], object] | None = None) -> float:
        """
        Run an operation.

        :param cost: how long it takes, seconds.
        :param done: called when it is answered.
        :return: when it is, seconds.
        """
        took = cost * self._alike
        now = self._timeline.now
        self._free = max(self._free, now) + took
        second = int(self._free)
        self._ops[second] += self._alike
        self._busy[second] += round(took * 1e9)
        self._longest = max(self._longest, self._free - now)
        if done is not None:
            self._timeline.at(self._free, done)
        return self._free

    def report(self, storm: Storm) -> None:
        """
        Say what it had to do.

        :param storm: what happened.
        """
        storm.ops = sum(self._ops.values())
        storm.opsPeak = max(self._ops.values(), default=0)
        storm.busyPeak = min(1.0, max(self._busy.values(), default=0) / 1e9)
        storm.longest = self._longest


class Thing:
    """Tries until it is back."""

    __slots__ = ("backoff", "fleet")

    def __init__(self, fleet: Fleet) -> None:
        """:param fleet: where it wants to be."""
        self.fleet = fleet
        self.backoff = Backoff(jitter=fleet.chance.random)

    def lost(self, termination: Termination | None) -> None:
        """
        Wait, and try again.

        :param termination: how it ended, if there was a stream.
        """
        timeline = self.fleet.timeline
        pause = self.backoff.down(timeline.now, termination)
        timeline.at(timeline.now + pause, partial(self.fleet.arrive, self))


@dataclass(eq=False)
class Node:
    """One process: it completes handshakes, the oldest first, and sheds load as a ThingFactory."""

    fleet: Fleet
    index: int
    sessions: int
    handshake: float
    """How long one takes it, seconds."""
    up: bool = True
    deciding: int = 0
    """How many handshakes wait for Redis to say whether the thing may come."""
    waiting: deque[tuple[float, Thing]] = field(default_factory=deque)
    completed: Counter[int] = field(default_factory=Counter)
    """How many handshakes, in each second."""
    writes: deque[tuple[float, Callable[[], object]]] = field(default_factory=deque)
    unanswered: int = 0
    busy: bool = False

    @property
    def connections(self) -> int:
        """How many the balancer has there."""
        return self.sessions + len(self.waiting) + self.deciding

    def arrive(self, thing: Thing) -> None:
        """
        Take a connection.

        :param thing: whose it is.
        """
        fleet, now = self.fleet, self.fleet.timeline.now
        limits, storm = fleet.plan.limits, fleet.storm
        if self.connections + 1 > limits.sessions:
            storm.turnedAway += 1
            wait = limits.retryAfter * (1 + fleet.chance.random())
            busy = ErrorCode.SERVER_BUSY
            thing.lost(Termination(Cause.REJECTED, busy, byPeer=True, retryAfter=wait))
            return
        handshakes = len(self.waiting) + self.deciding
        storm.puzzled += limits.difficulty(handshakes) > 0
        self.waiting.append((now, thing))
        if handshakes >= limits.handshakes:
            storm.cutOff += 1
            self.waiting.popleft()[1].lost(TRUNCATED)
        self._next()

    def _next(self) -> None:
        if not self.busy and self.waiting:
            self.busy = True
            timeline = self.fleet.timeline
            timeline.at(timeline.now + self.handshake, self._proved)

    def _proved(self) -> None:
        """The oldest has proved its key: ask Redis, if it is not too late."""
        self.busy = False
        fleet, now = self.fleet, self.fleet.timeline.now
        arrived, thing = self.waiting.popleft()
        if now - arrived > HANDSHAKE_TIME:
            fleet.storm.cutOff += 1
            thing.lost(TRUNCATED)
        else:
            self.deciding += 1
            answered = fleet.redis.run(fleet.plan.costs.admit)
            fleet.timeline.at(min(answered, now + ADMISSION_TIME), self._admitted)
        self._next()

    def _admitted(self) -> None:
        fleet = self.fleet
        self.deciding -= 1
        self.sessions += 1
        self.completed[int(fleet.timeline.now)] += 1
        fleet.cameBack(self)

    def write(self, cost: float, done: Callable[[], object] = lambda: None) -> None:
        """
        Write something into the registry, a window at once.

        :param cost: what it costs Redis, seconds.
        :param done: called when it is written.
        """
        self.writes.append((cost, done))
        self._pump()
        storm = self.fleet.storm
        storm.queued = max(storm.queued, len(self.writes) + self.unanswered)

    def _pump(self) -> None:
        while self.writes and self.unanswered < WINDOW:
            cost, done = self.writes.popleft()
            self.unanswered += 1
            self.fleet.redis.run(cost, partial(self._written, done))

    def _written(self, done: Callable[[], object]) -> None:
        self.unanswered -= 1
        done()
        self._pump()


class Fleet:
    """All nodes, Redis, and the balancer, which sends each thing where the fewest are."""

    def __init__(self, plan: Plan, name: str, seed: int, *, alike: int = 1) -> None:
        """
        :param plan: how large it is.
        :param name: of the storm.
        :param seed: of chance.
        :param alike: for how many nodes each node stands that is simulated.
        """
        fits = math.ceil(plan.worst * 1.05)
        sessions = max(plan.limits.sessions, fits)
        self.plan = replace(plan, limits=replace(plan.limits, sessions=sessions))
        self.storm = Storm(name)
        self.chance = random.Random(f"{seed} {name} {plan.nodes}")
        self.timeline = Timeline()
        self.redis = Redis(self.timeline, alike)
        busy = min(0.95, plan.busy(plan.worst))
        each, more = divmod(round(plan.things), plan.nodes)
        self.nodes = [
            Node(self, index, each + (index < more), plan.costs.handshake / (1 - busy))
            for index in range(plan.nodes // alike)
        ]
        self.missing = 0
        self.held = 0
        """How many things Redis takes for those of a node that is lost."""
        self.leaseOver = math.inf
        self._fewest = [(node.connections, node.index) for node in self.nodes]
        heapq.heapify(self._fewest)

    def arrive(self, thing: Thing) -> None:
        """
        Lead a thing to the node that has the fewest.

        :param thing: which.
        """
        while True:
            connections, index = self._fewest[0]
            node = self.nodes[index]
            if node.up and node.connections == connections:
                break
            heapq.heappop(self._fewest)
            if node.up:
                heapq.heappush(self._fewest, (node.connections, index))
        node.arrive(thing)
        heapq.heapreplace(self._fewest, (node.connections, index))

    def start(self, node: Node) -> None:
        """
        Let a node be led to again.

        :param node: which.
        """
        node.up = True
        heapq.heappush(self._fewest, (node.connections, node.index))

    def end(
        self, node: Node, farewell: Callable[[], Termination], after: Callable[[], float]
    ) -> None:
        """
        End a node's sessions.

        :param node: which.
        :param farewell: makes the end of one.
        :param after: when its thing notices, seconds from now.
        """
        leaving, node.sessions, node.up = node.sessions, 0, False
        self.missing += leaving
        self.storm.things += leaving
        for _ in range(leaving):
            lost = partial(Thing(self).lost, farewell())
            self.timeline.at(self.timeline.now + after(), lost)

    def cameBack(self, node: Node) -> None:
        """
        Write down that a thing is back.

        :param node: where.
        """
        costs = self.plan.costs
        # Of those that are missing each is as likely to be taken off already.
        isHeld = self.chance.random() * self.missing < self.held
        self.held -= isHeld
        self.missing -= 1
        self.storm.back = self.timeline.now
        swept = isHeld and self.timeline.now >= self.leaseOver
        cost = costs.lost + costs.join if swept else costs.moved if isHeld else costs.join
        node.write(cost, partial(self._joined, swept))

    def _joined(self, swept: bool) -> None:
        if swept:
            self.storm.swept += 1
            self.storm.lastLeft = self.timeline.now

    # Leases.

    def keepLeases(self) -> None:
        """Have all nodes that are up renew their leases, and clean up."""
        for node in self.nodes:
            if node.up:
                self.timeline.at(self.chance.random() * LEASE / 3, self._renew)

    def _renew(self) -> None:
        self.redis.run(self.plan.costs.renew, self._sweep)

    def _sweep(self) -> None:
        costs, over = self.plan.costs, self.timeline.now >= self.leaseOver
        taken = min(BATCH, self.held) if over else 0
        self.held -= taken
        if over and not self.held:
            self.leaseOver = math.inf
        self.redis.run(costs.sweep + taken * costs.lost, partial(self._swept, taken, over))

    def _swept(self, taken: int, again: bool) -> None:
        if taken:
            self.storm.swept += taken
            self.storm.lastLeft = self.timeline.now
        if again:
            self._sweep()
        else:
            pause = LEASE / 3 * (1 - 0.25 * self.chance.random())
            self.timeline.at(self.timeline.now + pause, self._renew)

    def isBack(self, until: float) -> bool:
        """
        Tell whether all things are back.

        :param until: not before then, seconds.
        :return: whether they are.
        """
        return not self.missing and self.timeline.now > until

    def finish(self) -> Storm:
        """
        Sum up.

        :return: what happened.
        """
        peaks = (max(node.completed.values(), default=0) for node in self.nodes)
        self.storm.peak = max(peaks, default=0)
        self.redis.report(self.storm)
        return self.storm

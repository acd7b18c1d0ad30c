"""The storms that a large fleet may meet, simulated with the nodes of ``fleetnodes.py``."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial

from fleetmodel import Plan
from fleetnodes import TRUNCATED, Fleet, Storm

from thing import Cause, EndReason, Limits, Termination
from thing.core.heartbeat import BEATS_PER_TTL
from thing.fleet.redis.connection import CAP
from thing.fleet.redis.keeper import LEASE
from thing.fleet.redis.script import BATCH

AWAY = 10.0
"""How long a node takes to restart and to be found by its balancer, seconds."""

RESTARTED = 60_000
"""With about so many things the first restarts of a row are simulated; the others are as these."""

FEWEST_RESTARTED = 3
"""How many are simulated at least."""


def _lose(plan: Plan, name: str, seed: int, after: Callable[[random.Random], float]) -> Storm:
    """Lose one node, until all things are back and all that were lost are taken off."""
    fleet = Fleet(plan, name, seed)
    lost = fleet.nodes[0]
    fleet.held = lost.sessions
    fleet.leaseOver = LEASE - fleet.chance.random() * LEASE / 3
    fleet.end(lost, lambda: TRUNCATED, lambda: after(fleet.chance))
    fleet.keepLeases()
    fleet.timeline.run(lambda: not fleet.missing and fleet.leaseOver == math.inf)
    return fleet.finish()


def killed(plan: Plan, seed: int) -> Storm:
    """
    Kill a node's process: the kernel tells its things at once.

    :param plan: the fleet.
    :param seed: of chance.
    :return: what happened.
    """
    return _lose(plan, "a node is killed", seed, lambda chance: 0.0)


def vanished(plan: Plan, seed: int) -> Storm:
    """
    Take a node's machine away: its things notice when their TTL is over.

    :param plan: the fleet.
    :param seed: of chance.
    :return: what happened.
    """
    ttl = plan.ttl(plan.each)

    def notices(chance: random.Random) -> float:
        return ttl - chance.random() * ttl / BEATS_PER_TTL

    return _lose(plan, "a node's machine vanishes", seed, notices)


def restarted(plan: Plan, seed: int) -> Storm:
    """
    Restart the nodes in order, each as soon as all things are back.

    :param plan: the fleet.
    :param seed: of chance.
    :return: what happened; the time is for all nodes.
    """
    fleet = Fleet(plan, "nodes are restarted in a row", seed)
    limits, chance, timeline = plan.limits, fleet.chance, fleet.timeline
    row = fleet.nodes[: max(FEWEST_RESTARTED, math.ceil(RESTARTED / plan.each))]
    fleet.keepLeases()
    for node in row:
        leaving, until = node.sessions, timeline.now + AWAY
        fleet.end(node, partial(_asked, limits, leaving, chance), lambda: 0.0)
        for _ in range(leaving):
            node.write(plan.costs.leave)
        timeline.at(until, partial(fleet.start, node))
        timeline.run(partial(fleet.isBack, until))
    storm = fleet.finish()
    storm.took = timeline.now / len(row) * plan.nodes
    return storm


def _asked(limits: Limits, leaving: int, chance: random.Random) -> Termination:
    """What a node that drains says to one of its things."""
    away = limits.retryAfter + limits.spread(leaving, limits.retryAfter) * chance.random()
    return Termination(Cause.GOODBYE, reason=EndReason.SHUTDOWN, retryAfter=away)


def anew(plan: Plan, seed: int) -> Storm:
    """
    Restart all balancers: every session ends in one moment, and every thing comes back.

    All nodes fare alike, so it is one that is simulated, with its part of Redis.

    :param plan: the fleet.
    :param seed: of chance.
    :return: what happened; the time is until all of it is written.
    """
    fleet = Fleet(plan, "all come anew", seed, alike=plan.nodes)
    (node,) = fleet.nodes
    leaving = node.sessions
    fleet.end(node, lambda: TRUNCATED, lambda: 0.0)
    fleet.start(node)
    for _ in range(leaving):
        node.write(plan.costs.leave)
    fleet.timeline.run(lambda: not (fleet.missing or node.writes or node.unanswered))
    storm = fleet.finish()
    storm.things = round(plan.things)
    storm.took = fleet.timeline.now
    for name in ("turnedAway", "cutOff", "puzzled"):
        setattr(storm, name, plan.nodes * getattr(storm, name))
    return storm


def emptied(plan: Plan, seed: int) -> Storm:
    """
    Restart Redis with nothing: all nodes tell it what they have.

    :param plan: the fleet.
    :param seed: of chance.
    :return: what happened; the time is until all is known again.
    """
    fleet = Fleet(plan, "Redis is restarted with nothing", seed)
    timeline, redis, costs = fleet.timeline, fleet.redis, plan.costs
    repaired: list[float] = []

    def restore(left: int) -> None:
        some = min(BATCH, left)
        timeline.at(timeline.now + some * costs.words, partial(tell, some, left - some))

    def tell(some: int, left: int) -> None:
        following = partial(restore, left) if left else partial(ask, known)
        redis.run(some * costs.restore, following)

    def ask(left: int) -> None:
        if left <= 0:
            repaired.append(timeline.now)
            return
        redis.run(BATCH * costs.mine, partial(ask, left - BATCH))

    known = fleet.nodes[0].sessions
    for node in fleet.nodes:
        connected = fleet.chance.random() * CAP
        begin = partial(redis.run, costs.renew, partial(restore, node.sessions))
        timeline.at(connected, begin)
    timeline.run(lambda: len(repaired) == len(fleet.nodes))
    storm = fleet.finish()
    storm.took = repaired[-1]
    return storm

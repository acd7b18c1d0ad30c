"""Presence on one machine: everything is in this process, and nothing is to be installed."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from twisted.internet.defer import Deferred, execute, maybeDeferred, succeed
from zope.interface import implementer

from thing.events import Event, Terminated
from thing.fleet.feed import Feed
from thing.fleet.interfaces import IPresence
from thing.fleet.local import LocalRegistry
from thing.fleet.model import Filter, FleetEvent, NodeRecord, Page, ThingRecord, Twins
from thing.fleet.sessions import LocalSession
from thing.fleet.subscriptions import Receiver, Subscription
from thing.session.factory import ThingFactory
from thing.session.journal import isHealthCheck
from thing.session.protocol import ThingProtocol

MINUTES = 60
"""For how many minutes the terminations of each are kept."""

MOST_SCANNED = 10_000
"""How many things are looked at for one page; a page may be short for that."""


@implementer(IPresence)
class MemoryPresence:
    """
    The presence of one node that shares nothing.

    :ivar node: this node's name.
    :ivar local: the sessions of this node.
    :ivar feed: the latest of what happened.
    """

    def __init__(
        self,
        factory: ThingFactory,
        *,
        node: str,
        twins: Twins = Twins.REPLACE,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        """
        :param factory: a server's factory, with no session yet.
        :param node: this node's name.
        :param twins: what happens when an identity connects while it is connected.
        :param wallClock: tells the time of day, seconds.
        """
        self.node = node
        self.feed = Feed(wallClock())
        self.local = LocalRegistry(factory, self, node=node, twins=twins, wallClock=wallClock)
        self.health = Health(factory, node, wallClock)

    def record(self, session: LocalSession, event: FleetEvent) -> None:
        """
        Put an event into the feed: there is no other node that could disagree.

        :param session: whose event it is.
        :param event: the event.
        """
        self.feed.append(event)

    def things(self, after: str, limit: int, wanted: Filter) -> Deferred[Page]:
        """
        List things in the order of their ids.

        :param after: the id behind which to begin; the empty string for the first.
        :param limit: how many at most.
        :param wanted: which.
        :return: fires with the page; it may be short, and another follow all the same.
        """
        return succeed(pageOf(self.local, after, limit, wanted))

    def thing(self, id: str) -> Deferred[ThingRecord | None]:
        """
        Tell what is known of one thing, here or gone.

        :param id: which.
        :return: fires with the record, or None.
        """
        return succeed(self.local.find(id))

    def nodes(self) -> Deferred[list[NodeRecord]]:
        """
        Tell how this node is.

        :return: fires with a list of one.
        """
        return succeed([self.health.record()])

    def deliver(self, id: str, message: bytes, timeout: float) -> Deferred[bytes]:
        """
        Send a message to a thing, as a request.

        :param id: which thing.
        :param message: the octets.
        :param timeout: how long it may take to answer, seconds.
        :return: fires with what it answered, or fails as ``IPresence`` says.
        """
        return maybeDeferred(self.local.deliver, id, message, timeout)

    def dismiss(self, id: str) -> Deferred[None]:
        """
        Ask a thing to leave.

        :param id: which thing.
        :return: fires once it is asked; fails with ``NotPresent``.
        """
        return execute(self.local.dismiss, id)

    def subscribe(
        self,
        receiver: Receiver,
        after: str | None = None,
        room: Callable[[], bool] | None = None,
    ) -> Subscription:
        """
        Make a subscription, which is told what happens, in order.

        :param receiver: is told.
        :param after: the position behind which to begin; None for where it is started.
        :param room: is not asked: all that was is in memory already.
        :return: the subscription; it is yet to be started.
        :raises ValueError: if that is no position.
        """
        return self.feed.subscribe(receiver, after)


class Health:
    """How a node is, from its factory."""

    def __init__(self, factory: ThingFactory, node: str, wallClock: Callable[[], float]) -> None:
        """
        :param factory: the node's factory; it is observed from now on.
        :param node: the node's name.
        :param wallClock: tells the time of day, seconds.
        """
        self._factory = factory
        self._node = node
        self._wallClock = wallClock
        self._since = wallClock()
        self._minutes: deque[tuple[int, Counter[str]]] = deque(maxlen=MINUTES)
        factory.observers.append(self._observe)

    def _observe(self, protocol: ThingProtocol, event: Event) -> None:
        # A balancer's checks, every two seconds, would hide what people look for here.
        if not isinstance(event, Terminated):
            return
        if isHealthCheck(event.termination, protocol.silent):
            return
        minute = int(self._wallClock() // 60) * 60
        if not self._minutes or self._minutes[-1][0] != minute:
            self._minutes.append((minute, Counter()))
        self._minutes[-1][1][event.termination.cause.name] += 1

    def record(self, registry: str = "memory") -> NodeRecord:
        """
        Tell how the node is now.

        :param registry: whether the registry is shared, and can be reached.
        :return: the record.
        """
        factory = self._factory
        return NodeRecord(
            node=self._node,
            since=self._since,
            status="draining" if factory.draining else "up",
            sessions=len(factory.sessions),
            handshakes=factory.handshakes,
            completed=factory.completed,
            terminations={cause.name: count for cause, count in factory.terminations.items()},
            minutes=tuple((minute, dict(counts)) for minute, counts in self._minutes),
            loopLag=factory.loopLag,
            registry=registry,
            version=_version(),
        )


def pageOf(local: LocalRegistry, after: str, limit: int, wanted: Filter) -> Page:
    """
    List things of one node.

    :param local: its sessions.
    :param after: the id behind which to begin.
    :param limit: how many at most.
    :param wanted: which.
    :return: the page; it may be short, and another follow all the same.
    """
    found: list[ThingRecord] = []
    for looked, (id, record) in enumerate(local.list(after, wanted), 1):
        if record is not None:
            if len(found) == limit:
                return Page(tuple(found), found[-1].id)
            found.append(record)
        if looked == MOST_SCANNED:
            return Page(tuple(found), id)
    return Page(tuple(found), None)


def _version() -> str:
    try:
        return version("thing")
    except PackageNotFoundError:
        return ""

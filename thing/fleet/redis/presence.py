"""
:class:`RedisPresence`: one fleet on many nodes, over a Redis or a Valkey that they share.

It joins the parts of this room; each does its work alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from zope.interface import implementer

from thing.events import Event, LastWordReceived
from thing.fleet.feed import Feed
from thing.fleet.health import Health
from thing.fleet.interfaces import ISharedPresence
from thing.fleet.local import LocalRegistry
from thing.fleet.model import (
    Filter,
    FleetEvent,
    NodeRecord,
    NotPresent,
    Page,
    ThingRecord,
    Twins,
)
from thing.fleet.redis.address import Address, parseAddress
from thing.fleet.redis.admission import Admission
from thing.fleet.redis.complaints import Complaints
from thing.fleet.redis.connection import Link, checkLibrary
from thing.fleet.redis.endpoints import endpointOf, logIn
from thing.fleet.redis.errands import Errands
from thing.fleet.redis.inbox import Answerer, Inbox
from thing.fleet.redis.keeper import LEASE, Keeper
from thing.fleet.redis.queries import Queries
from thing.fleet.redis.script import Bounds, Script
from thing.fleet.redis.tail import Tail
from thing.fleet.redis.writes import lastWordWrite, writeOf
from thing.fleet.sessions import LocalSession
from thing.fleet.subscriptions import Receiver, Subscription
from thing.logger import Logger
from thing.session.factory import ThingFactory
from thing.session.protocol import ThingProtocol

WRITING, HEARING, FOLLOWING = "writing", "hearing other nodes", "following events"
"""What the connections to the registry are for."""


@implementer(ISharedPresence)
class RedisPresence(Service):
    """
    The presence of one node in a fleet of many.

    It keeps this node's sessions in the registry, and asks it about all
    others. While the registry is away it answers from what this node knows.
    As a service it is to be stopped after the sessions have ended.

    :ivar node: this node's name.
    :ivar local: the sessions of this node.
    :ivar feed: what happened on this node while the registry was away.
    :ivar malformed: how many things in the registry made no sense.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        address: Address,
        factory: ThingFactory,
        *,
        node: str,
        twins: Twins = Twins.REPLACE,
        wallClock: Callable[[], float] = time.time,
        lease: float = LEASE,
        bounds: Bounds | None = None,
        advertised: str = "",
    ) -> None:
        """
        :param reactor: connects.
        :param address: where the registry is.
        :param factory: a server's factory, with no session yet.
        :param node: this node's name; no other may have it.
        :param twins: what happens when an identity connects while it is connected; all nodes
            should have the same.
        :param wallClock: tells the time of day until the registry does, seconds.
        :param lease: for how long the node counts as alive after it last said so, seconds.
        :param bounds: how much the registry keeps; all nodes should have the same.
        :param advertised: where other nodes reach this one, ``host:port``; empty for nowhere.
        """
        self.node = node
        self.feed = Feed(wallClock())
        self.local = LocalRegistry(factory, self, node=node, twins=twins, wallClock=self._timeOfDay)
        self._lease = lease
        clock = factory.clock
        makeLink = partial(Link, endpointOf(reactor, clock, address), clock, factory.jitter)
        self._keeper = Keeper(
            makeLink,
            address,
            Script(address.prefix, bounds),
            self.local,
            record=self._ownRecord,
            takeUp=self._takeUp,
            onConnected=self._connected,
            onAway=self._away,
            wallClock=wallClock,
            lease=lease,
        )
        self.health = Health(factory, node, self._timeOfDay, advertised)
        self._inbox = Inbox(self.local, self._publish)
        self._queries = Queries(self._keeper, self._inbox, self.local, self._ownRecord)
        self._errands = Errands(self._keeper, self._inbox, self._queries, self.local)
        self._address = address
        # When the registry goes away, all connections do: that is the keeper's to say.
        self._complaints = {purpose: Complaints(borne=1) for purpose in (HEARING, FOLLOWING)}
        self._inboxLink = makeLink(
            prepare=self._listen,
            onUp=self._listening,
            onDown=partial(self._lacks, HEARING),
            onPublished=self._inbox.receive,
        )
        self._tail = Tail(
            self.feed,
            self._keeper.link,
            self._keeper.script,
            clock,
            partial(
                makeLink,
                prepare=self._prepareToFollow,
                onDown=partial(self._lacks, FOLLOWING),
            ),
        )
        self._clock = clock
        self._inboxCheck: Any = None
        factory.admission = Admission(self.local, self._keeper)
        factory.observers.append(self._observe)

    @property
    def registry(self) -> str:
        """
        Whether the registry can be reached: ``connected`` or ``away``; ``impaired`` if this node
        can write and ask, but not hear the other nodes, or not follow the events.
        """
        if not self._keeper.connected:
            return "away"
        return "impaired" if any(self.connections.values()) else "connected"

    @property
    def connections(self) -> dict[str, str]:
        """By what each connection is for, why it is down, in one line; empty if it is up."""
        reasons = {purpose: each.reason for purpose, each in self._complaints.items()}
        return {WRITING: self._keeper.reason, **reasons}

    def _timeOfDay(self) -> float:
        return self._keeper.timeOfDay()

    def _ownRecord(self) -> NodeRecord:
        reasons = [f"{purpose}: {reason}" for purpose, reason in self.connections.items() if reason]
        return self.health.record(self.registry, "; ".join(reasons))

    def _takeUp(self, before: NodeRecord) -> None:
        self.health.takeUp(before)

    @property
    def malformed(self) -> int:
        """How many things that were read from the registry made no sense."""
        return self._queries.malformed + self._tail.malformed + self._inbox.malformed

    @property
    def dropped(self) -> int:
        """How many messages of things were lost, since the registry was away for too long."""
        return self._keeper.outbox.dropped

    @property
    def waiting(self) -> int:
        """How many writes the registry has not answered yet."""
        return len(self._keeper.outbox)

    # The service.

    def startService(self) -> None:
        """Connect to the registry, or go on trying."""
        super().startService()  # type: ignore[no-untyped-call]
        self._keeper.start()
        self._inboxLink.start()
        self._tail.link.start()
        self._scheduleCheck()

    def stopService(self) -> Deferred[None]:
        """
        Take this node and what is left of its sessions off, and disconnect.

        :return: fires when it is done, or as well as can be.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._inboxCheck is not None and self._inboxCheck.active():
            self._inboxCheck.cancel()
        await self._keeper.stop()
        self._inbox.abandon()
        await DeferredList([self._inboxLink.stop(), self._tail.link.stop()])

    def _connected(self) -> None:
        self._tail.connected()

    def _away(self) -> None:
        self._inbox.abandon()
        self._tail.away()

    async def _listen(self, link: Link) -> None:
        await logIn(link, self._address)
        await link.call("SUBSCRIBE", f"{self._address.prefix}inbox:{self.node}")
        self._complaints[HEARING].clear()

    async def _prepareToFollow(self, link: Link) -> None:
        await logIn(link, self._address)
        await self._tail.tryReading(link)
        self._complaints[FOLLOWING].clear()

    def _listening(self) -> None:
        """See what this node was not told while it could not be."""
        if self._keeper.connected:
            restoring = Deferred.fromCoroutine(self._keeper.restore())
            restoring.addErrback(lambda failure: self._keeper.link.drop(failure.getErrorMessage()))

    def _lacks(self, purpose: str, reason: str) -> None:
        """Say why a connection besides the keeper's is down; of a registry that is away it says."""
        complaints = self._complaints[purpose]
        complaints.reason = reason
        if self.running and self._keeper.connected and complaints.isNew(reason):
            self._log.warn(
                "The connection for {purpose} to the registry {address} is down: {reason}",
                purpose=purpose,
                address=str(self._address),
                reason=reason,
            )

    def _scheduleCheck(self) -> None:
        self._inboxCheck = self._clock.callLater(self._lease / 3, self._checkInbox)

    def _checkInbox(self) -> None:
        """Ask something, since a subscriber does not notice that its network is gone."""
        if self._inboxLink.up:
            self._inboxLink.call("PING").addErrback(lambda _: None)
        self._scheduleCheck()

    def _publish(self, node: str, text: str) -> Deferred[Any]:
        channel = f"{self._address.prefix}inbox:{node}"
        return self._keeper.link.call("PUBLISH", channel, text)

    # What happens here.

    def record(self, session: LocalSession, event: FleetEvent) -> None:
        """
        Have an event written into the registry, which decides about the order.

        :param session: whose event it is.
        :param event: the event.
        """
        if not self._keeper.connected:
            self.feed.append(event)
        write = writeOf(session, event, self._keeper.script.bounds.events)
        if write is not None:
            self._keeper.outbox.put(write)

    def _observe(self, protocol: ThingProtocol, event: Event) -> None:
        if isinstance(event, LastWordReceived):
            with suppress(NotPresent):  # A newer session has its thing.
                session = self.local.session(self.local.idOf(protocol))
                if session.protocol is protocol:
                    self._keeper.outbox.put(lastWordWrite(session))

    # What can be asked.

    def things(self, after: str, limit: int, wanted: Filter) -> Deferred[Page]:
        """
        List things in the order of their ids.

        :param after: the id behind which to begin; the empty string for the first.
        :param limit: how many at most.
        :param wanted: which.
        :return: fires with the page; it may be short, and another follow all the same.
        """
        listing = Deferred.fromCoroutine(self._queries.things(after, limit, wanted))
        return listing.addCallback(self._marked)

    def _marked(self, page: Page) -> Page:
        """A page, and whether this node can know that it is right."""
        return page if self.registry == "connected" else replace(page, complete=False)

    def thing(self, id: str) -> Deferred[ThingRecord | None]:
        """
        Tell what is known of one thing, here or gone.

        :param id: which.
        :return: fires with the record, or None.
        """
        return Deferred.fromCoroutine(self._queries.thing(id))

    def nodes(self) -> Deferred[list[NodeRecord]]:
        """
        Tell how the nodes are, this one first.

        :return: fires with the records.
        """
        return Deferred.fromCoroutine(self._queries.nodes())

    # What can be done.

    def deliver(self, id: str, message: bytes, timeout: float) -> Deferred[bytes]:
        """
        Send a message to a thing on any node, as a request.

        :param id: which thing.
        :param message: the octets.
        :param timeout: how long the thing may take to answer, seconds.
        :return: fires with what it answered, or fails as ``IPresence`` says.
        """
        return Deferred.fromCoroutine(self._errands.deliver(id, message, timeout))

    def dismiss(self, id: str) -> Deferred[None]:
        """
        Ask a thing on any node to leave.

        :param id: which thing.
        :return: fires once it is asked; fails with ``NotPresent`` or ``Undelivered``.
        """
        return Deferred.fromCoroutine(self._errands.dismiss(id))

    def locate(self, id: str) -> Deferred[ThingRecord | None]:
        """
        Tell where a thing is, without what only its node measures.

        :param id: which thing.
        :return: fires with what is known of it, or None; fails with ``Undelivered``.
        """
        return Deferred.fromCoroutine(self._errands.locate(id))

    def ask(
        self, op: str, question: dict[str, Any], node: str | None = None
    ) -> Deferred[tuple[list[dict[str, Any]], bool]]:
        """
        Ask another node something, or all that are up the same.

        :param op: what they are asked, as they serve it.
        :param question: what else belongs to it; JSON can hold it.
        :param node: only this one.
        :return: fires with the answers of those that gave one in time, and whether that is all.
        """
        return Deferred.fromCoroutine(self._errands.ask(op, question, node))

    def serve(self, op: str, answerer: Answerer) -> None:
        """
        Answer what other nodes ask by :meth:`ask`.

        :param op: which question.
        :param answerer: answers it.
        """
        self._inbox.serve(op, answerer)

    def forget(self, node: str) -> Deferred[None]:
        """
        Show a node that stopped or was lost no more.

        :param node: its name.
        :return: fires once it is forgotten; fails as ``IPresence`` says.
        """
        return Deferred.fromCoroutine(self._errands.forget(node))

    def forgetThing(self, id: str) -> Deferred[None]:
        """
        Remember a thing no more that is gone.

        :param id: which thing.
        :return: fires once it is forgotten; fails as ``IPresence`` says.
        """
        return Deferred.fromCoroutine(self._errands.forgetThing(id))

    def subscribe(
        self,
        receiver: Receiver,
        after: str | None = None,
        room: Callable[[], bool] | None = None,
    ) -> Subscription:
        """
        Make a subscription, which is told what happens on all nodes, in order.

        :param receiver: is told; while the registry is away, of this node only.
        :param after: the position behind which to begin; None for where it is started.
        :param room: tells whether the receiver takes more of what was; None if it always does.
        :return: the subscription; it is yet to be started.
        :raises ValueError: if that is no position.
        """
        return self._tail.subscribe(receiver, after, room)


def connectPresence(
    reactor: Any,
    url: str,
    factory: ThingFactory,
    **choices: Any,
) -> RedisPresence:
    """
    Make the presence of a node from the URL of the registry.

    :param reactor: connects.
    :param url: where the registry is, as :func:`~thing.fleet.redis.address.parseAddress` reads it.
    :param factory: a server's factory, with no session yet.
    :param choices: as for :class:`RedisPresence`.
    :return: the presence, a service that is yet to be started.
    :raises ThingError: in one plain line, if the URL is of no use, or the library is missing.
    """
    address = parseAddress(url)
    checkLibrary()
    return RedisPresence(reactor, address, factory, **choices)

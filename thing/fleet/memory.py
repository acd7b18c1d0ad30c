"""
Presence on one machine: everything is in this process, and nothing is to be installed.

It joins a node's registry of sessions, its feed and its health; it decides nothing by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.defer import Deferred, execute, fail, maybeDeferred, succeed
from zope.interface import implementer

from thing.fleet.feed import Feed
from thing.fleet.health import Health
from thing.fleet.interfaces import IPresence
from thing.fleet.local import LocalRegistry
from thing.fleet.model import (
    Filter,
    FleetEvent,
    NodeRecord,
    Page,
    ThingRecord,
    Twins,
    notForgotten,
)
from thing.fleet.sessions import LocalSession
from thing.fleet.subscriptions import Receiver, Subscription
from thing.session.factory import ThingFactory


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
        advertised: str = "",
    ) -> None:
        """
        :param factory: a server's factory, with no session yet.
        :param node: this node's name.
        :param twins: what happens when an identity connects while it is connected.
        :param wallClock: tells the time of day, seconds.
        :param advertised: where other nodes would reach this one.
        """
        self.node = node
        self.feed = Feed(wallClock())
        self.local = LocalRegistry(factory, self, node=node, twins=twins, wallClock=wallClock)
        self.health = Health(factory, node, wallClock, advertised)

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
        return Deferred.fromCoroutine(self.local.page(after, limit, wanted))

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

    def locate(self, id: str) -> Deferred[ThingRecord | None]:
        """
        Tell where a thing is, or was.

        :param id: which.
        :return: fires with what is known of it, or None.
        """
        return succeed(self.local.find(id))

    def dismiss(self, id: str) -> Deferred[None]:
        """
        Ask a thing to leave.

        :param id: which thing.
        :return: fires once it is asked; fails with ``NotPresent``.
        """
        return execute(self.local.dismiss, id)

    def forget(self, node: str) -> Deferred[None]:
        """
        Forget no node: there is this one only, and it is up.

        :param node: its name.
        :return: fails with ``NotLost``, or ``NotPresent`` for another.
        """
        return fail(notForgotten(node, node == self.node))

    def forgetThing(self, id: str) -> Deferred[None]:
        """
        Remember a thing no more that is gone.

        :param id: which thing.
        :return: fires once it is forgotten; fails with ``NotPresent`` or ``NotGone``.
        """
        return execute(self.local.directory.forget, id)

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

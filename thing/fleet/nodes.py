"""
:class:`Nodes`: the sessions that this node has with others, as their client.

One is made when it is needed, carries as many streams as a server takes, and is closed when nobody
has needed it for a while. Where a node is, is in the registry; whom to believe, in this server's
files alone. What the streams are for is in :mod:`thing.fleet.relays`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    DeferredSemaphore,
    fail,
    gatherResults,
    maybeDeferred,
    succeed,
)
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.core.credentials import Credential
from thing.core.messages import REQUESTS_OUTSTANDING
from thing.core.settings import ClientSettings
from thing.errors import EndReason, NotAuthorized, ThingError
from thing.events import Termination
from thing.fleet.health import rawFingerprint
from thing.fleet.model import NodeRecord
from thing.fleet.reaches import MOST_OF_ONE
from thing.identity import Identity, Purpose
from thing.logger import Logger
from thing.session.clock import callOff
from thing.session.factory import ThingFactory
from thing.session.protocol import ThingProtocol
from thing.trust.interfaces import IServerAuthorizer
from thing.trust.keywords import server

IDLE_TIME = 60.0
"""For how long a session stays that nobody needs, seconds."""

CONNECT_TIME = 4.0
"""How long a node may take to be connected to, and as long again for the handshake, seconds."""

ANSWER_TIME = 5.0
"""How long a node may take to answer a request, seconds: it need not ask anybody else."""

HOLD_OFF = 1.0
"""For how long a node is not tried again that could not be reached, seconds."""

GOODBYE_TIME = 2.0
"""How long nodes may take to say goodbye when this one stops, seconds."""

TTL = 10.0
"""What TTL is asked for, seconds: within it each node knows that the way to the other is gone."""

STREAMS = MOST_OF_ONE
"""How many streams a session carries: as many as ``twistd thing`` takes of an operator, too."""

MakeEndpoint = Callable[[str, int], IStreamClientEndpoint]
"""Makes what connects to a host and a port, within :data:`CONNECT_TIME`."""


class NoWay(ThingError):
    """A node cannot be reached; why, in one plain line."""


@implementer(IServerAuthorizer)
class OneNode:
    """
    Believes a node by the key that the registry tells, if this server's own files admit that key.

    :ivar record: what the registry tells.
    """

    def __init__(self, factory: ThingFactory, record: NodeRecord) -> None:
        """
        :param factory: this server's.
        :param record: what the registry tells.
        """
        self.record = record
        self._factory = factory

    def authorize(self, identity: Identity) -> Any:
        """
        Decide about whoever answers where the node should be.

        :param identity: what it has proved.
        :return: the same, or a Deferred of it.
        :raises NotAuthorized: if it is not the node.
        """
        told = self.record.fingerprint
        if identity.fingerprint != told:
            raise NotAuthorized(f"its key is {identity.fingerprint}, and the registry tells {told}")
        if told == rawFingerprint(self._factory.settings):
            return identity  # Nodes may share the key of their server.
        return self._factory.judge(identity).addCallback(self._admitted)

    def _admitted(self, identity: Identity) -> Identity:
        if identity.purpose is not Purpose.NODE:
            raise NotAuthorized(f"{identity} is no node here")
        # To its client it is a server, which may ask for nothing.
        return replace(identity, purpose=Purpose.THING, permits=())


class NodeSession(ThingProtocol):
    """A session with another node: it takes nothing, and is not used again once it leaves."""

    def __init__(self, way: Way) -> None:
        """:param way: which."""
        self._way = way

    def goingAway(self, reason: EndReason | int, retryAfter: float) -> None:
        """Note that the node is leaving."""
        self._way.retire()

    def terminated(self, termination: Termination) -> None:
        """Note that the session is over."""
        self._way.retire()


class Way:
    """
    A session with another node, from the first who needs it until nobody has for a while.

    :ivar node: the node's name.
    :ivar authorizer: believes the node.
    :ivar session: carries streams; None until it is up.
    :ivar users: how many need it.
    :ivar questions: admits as many requests as may be unanswered.
    """

    def __init__(self, authorizer: OneNode, clock: Any, retired: Callable[[Way], object]) -> None:
        """
        :param authorizer: believes the node.
        :param clock: measures how long nobody needs it.
        :param retired: called when it is to be used no more.
        """
        self.node = authorizer.record.node
        self.authorizer = authorizer
        self.session: NodeSession | None = None
        self.users = 0
        self.questions = DeferredSemaphore(REQUESTS_OUTSTANDING)
        self.connecting: Deferred[Any] | None = None
        self._clock = clock
        self._retired = retired
        self._waiting: set[Deferred[NodeSession]] = set()
        self._problem: NoWay | None = None
        self._isRetired = False
        self._idle: IDelayedCall | None = None

    def hold(self) -> None:
        """Need it."""
        self.users += 1
        callOff(self._idle)

    def release(self) -> None:
        """Need it no more."""
        self.users -= 1
        if not self.users and not self._isRetired:
            self._idle = self._clock.callLater(IDLE_TIME, self.leave)

    def leave(self) -> None:
        """Say goodbye, or stop connecting."""
        self.retire()
        if self.session is not None:
            self.session.goodbye()
        elif self.connecting is not None:
            self.connecting.cancel()

    def retire(self) -> None:
        """Be used for nothing new."""
        self._isRetired = True
        callOff(self._idle)
        self._retired(self)

    def whenUp(self) -> Deferred[NodeSession]:
        """:return: fires with the session; fails with :class:`NoWay`. It may be cancelled."""
        if self.session is not None:
            return succeed(self.session)
        if self._problem is not None:
            return fail(self._problem)
        waiter: Deferred[NodeSession] = Deferred(self._waiting.discard)
        self._waiting.add(waiter)
        return waiter

    def up(self, session: NodeSession) -> None:
        """
        Begin to carry streams.

        :param session: the session.
        """
        self.session, self.connecting = session, None
        while self._waiting:
            self._waiting.pop().callback(session)

    def failed(self, problem: NoWay) -> None:
        """
        Fail those who wait.

        :param problem: why there is no session.
        """
        self.connecting, self._problem = None, problem
        self.retire()
        while self._waiting:
            self._waiting.pop().errback(problem)


@implementer(IProtocolFactory)
class _Held:
    """Builds the protocol of a stream for which its session is needed as long as it is there."""

    def __init__(self, factory: IProtocolFactory, way: Way) -> None:
        self._factory = factory
        self._way = way

    def buildProtocol(self, address: IAddress) -> IProtocol | None:
        """Build it."""
        return self._factory.buildProtocol(address)

    def doStart(self) -> None:
        """Need the session."""
        self._way.hold()
        self._factory.doStart()

    def doStop(self) -> None:
        """Need it no more."""
        self._factory.doStop()
        self._way.release()


class Nodes(Service):
    """
    Makes sessions with other nodes, and keeps them while they are needed.

    As a service it is to be stopped after the sessions of operators have ended.
    """

    _log = Logger()

    def __init__(
        self,
        presence: Any,
        credential: Callable[[], Credential | None],
        makeEndpoint: MakeEndpoint,
    ) -> None:
        """
        :param presence: an :class:`~thing.fleet.interfaces.IPresence`: tells where other nodes are.
        :param credential: gives what this node shows them; None if it has nothing to show.
        :param makeEndpoint: connects to one.
        """
        self._presence = presence
        self._credential = credential
        self._makeEndpoint = makeEndpoint
        self._factory: ThingFactory = presence.local.factory
        self._ways: list[Way] = []
        self._problems: dict[str, tuple[float, NoWay]] = {}

    @property
    def connected(self) -> list[str]:
        """The nodes to which there is a session, or is about to be; once for each session."""
        return [way.node for way in self._ways]

    def open(
        self, node: str, announcement: bytes, label: str, timeout: float, factory: IProtocolFactory
    ) -> Deferred[IProtocol]:
        """
        Open a stream to another node, behind a request that says what it is for.

        :param node: which node.
        :param announcement: the request; its answer says nothing.
        :param label: the stream's.
        :param timeout: how long the node may take to decide about it, seconds.
        :param factory: builds the protocol.
        :return: fires with the protocol; fails with :class:`NoWay`, or as ``connect`` of a
            stream's endpoint. It may be cancelled.
        """

        async def opening() -> IProtocol:
            way = await self._wayTo(node)
            way.hold()
            try:
                session = await way.whenUp()
                await way.questions.run(session.request, announcement, ANSWER_TIME)
                endpoint = session.streams.endpoint(label, timeout)
                return await endpoint.connect(_Held(factory, way))
            finally:
                way.release()

        return Deferred.fromCoroutine(opening())

    async def _wayTo(self, node: str) -> Way:
        way = self._free(node)
        if way is None:
            self._checkProblem(node)
            record, credential = await self._recordOf(node), self._credential()
            if credential is None:
                raise NoWay("this server has no file of nodes")
            # Somebody else may have asked, too.
            way = self._free(node) or self._dial(record, credential)
        return way

    def _checkProblem(self, node: str) -> None:
        """Fail as it did a moment ago: nobody is tried as fast as somebody may ask."""
        now = self._factory.clock.seconds()
        self._problems = {
            name: found for name, found in self._problems.items() if now - found[0] < HOLD_OFF
        }
        if node in self._problems:
            raise self._problems[node][1]

    def _free(self, node: str) -> Way | None:
        fitting = (each for each in self._ways if each.node == node and each.users < STREAMS)
        return next(fitting, None)

    async def _recordOf(self, node: str) -> NodeRecord:
        """Where a node is, and by which key it is known, as the registry tells."""
        records: list[NodeRecord] = await self._presence.nodes()
        for record in records:
            if record.node == node and record.isThere:
                if record.advertised and record.fingerprint:
                    return record
                raise NoWay(f"the node {node} does not say where it is reached")
        raise NoWay(f"the registry does not tell where the node {node} is")

    def _dial(self, record: NodeRecord, credential: Credential) -> Way:
        authorizer = OneNode(self._factory, record)
        way = Way(authorizer, self._factory.clock, self._retired)
        self._ways.append(way)
        settings = ClientSettings(
            credential=credential,
            handshakeTimeout=CONNECT_TIME,
            requestedTtl=TTL,
            resumption=False,
        )
        factory = ThingFactory(
            settings, authorizer, clock=self._factory.clock, jitter=self._factory.jitter
        )
        factory.protocol = partial(NodeSession, way)
        way.connecting = maybeDeferred(self._connect, record, factory)
        way.connecting.addCallback(self._connected)
        way.connecting.addCallbacks(way.up, partial(self._failed, way))
        return way

    def _connect(self, record: NodeRecord, factory: ThingFactory) -> Deferred[Any]:
        try:
            host, port = server(record.advertised)
            endpoint = self._makeEndpoint(host, port or 0)
        except ValueError as error:
            raise NoWay(str(error)) from None
        return endpoint.connect(factory)

    def _connected(self, session: NodeSession) -> Deferred[NodeSession]:
        up = session.whenEstablished()
        established: Deferred[NodeSession] = Deferred(lambda _: session.abort())
        up.addCallbacks(lambda _: established.callback(session), established.errback)
        return established

    def _failed(self, way: Way, failure: Failure) -> None:
        reason = failure.getErrorMessage() or type(failure.value).__name__
        problem = NoWay(f"the node {way.node} cannot be reached: {reason}")
        if not isinstance(failure.value, CancelledError):  # Else this server is stopping.
            self._problems[way.node] = self._factory.clock.seconds(), problem
            self._log.warn(
                "The node {node} at {address} cannot be reached: {reason}",
                node=way.node,
                address=way.authorizer.record.advertised,
                reason=reason,
            )
        way.failed(problem)

    def _retired(self, way: Way) -> None:
        if way in self._ways:
            self._ways.remove(way)

    # Trust that changes.

    def reconsider(self, _: object = None) -> Deferred[int]:
        """
        Ask again whether the nodes to which there are sessions are believed; cut off who is not.

        :return: fires with how many were not.
        """
        return gatherResults([self._judged(way) for way in list(self._ways)]).addCallback(sum)

    def _judged(self, way: Way) -> Deferred[int]:
        session = way.session
        if session is None or session.provedIdentity is None:
            return succeed(0)
        judging = maybeDeferred(way.authorizer.authorize, session.provedIdentity)
        return judging.addCallbacks(lambda _: 0, partial(self._disbelieved, way, session))

    def _disbelieved(self, way: Way, session: NodeSession, failure: Failure) -> int:
        error: Any = failure.value
        if not isinstance(error, NotAuthorized) or error.isPassing:
            return 0
        self._log.warn(
            "The node {node} is not believed any more: {reason}", node=way.node, reason=str(error)
        )
        session.abort()
        return 1

    def stopService(self) -> Deferred[Any]:
        """:return: fires when all sessions are over."""
        super().stopService()  # type: ignore[no-untyped-call]
        ways = list(self._ways)
        sessions = [way.session for way in ways if way.session is not None]
        ended = DeferredList([session.whenTerminated() for session in sessions])
        for way in ways:
            way.leave()

        def giveUp() -> None:
            for session in sessions:
                session.abort()

        givingUp = self._factory.clock.callLater(GOODBYE_TIME, giveUp)
        return ended.addCallback(lambda _: callOff(givingUp))

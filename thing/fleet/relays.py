"""
Reaches from one node to another, at both: the operator's, and the thing's.

Specification, "Between nodes". The operator's node says in a request who asks for what, and opens
a stream; the thing's node judges by its own files, whatever the other one has judged, and joins
that stream with one of the thing's. The sessions are those of :mod:`thing.fleet.nodes`; what is
joined and told, is in :mod:`thing.fleet.reaches`, as on one node.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime
from twisted.python.failure import Failure

from thing.core.rates import RateLimiter
from thing.errors import (
    CredentialError,
    ErrorCode,
    LocalProtocolError,
    NotAuthorized,
    ReplyStatus,
    RequestFailed,
    RequestTimedOut,
    SessionEnded,
    StopCode,
    StreamRefused,
)
from thing.fleet.model import Status, ThingRecord, Undelivered, keyOf
from thing.fleet.nodes import Nodes, NoWay
from thing.fleet.reach import Asked, Reach
from thing.fleet.reaches import ANSWER_TIME, REFUSALS_LOGGED, Reaches
from thing.identity import CredentialKind, Identity, Purpose
from thing.logger import Logger
from thing.session.addresses import formatAddress
from thing.session.attendant import Attendant
from thing.session.factory import ThingFactory
from thing.session.protocol import ThingProtocol
from thing.text import readObject
from thing.trust.keys import formatPublicKey, parsePublicKey
from thing.trust.permits import SERVICE_NAME, allows

RELAY = "relay:"
"""How the labels begin of streams between nodes; what follows is the reach's id."""

ANNOUNCED_TIME = 10.0
"""For how long a reach may be announced before its stream is asked for, seconds."""

MOST_ANNOUNCED = 256
"""How many reaches may be announced at once in one session; of more, the first are forgotten."""

_ID = re.compile(r"[0-9a-f]{16}")
_LONGEST = 1024
"""How long a thing's id or an address may be."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a node tells another of a reach."""

    id: str
    """16 hexadecimal digits."""
    key: bytes
    """The operator's public key, which its session with the node has proved: 32 raw bytes."""
    address: str
    """Where the operator is."""
    service: str
    thing: str

    def encode(self) -> bytes:
        """:return: the request."""
        told = {
            "reach": self.id,
            "key": formatPublicKey(self.key),
            "from": self.address,
            "service": self.service,
            "thing": self.thing,
        }
        return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Announcement:
        """
        Read a request.

        :param data: what came.
        :return: what it tells.
        :raises ValueError: if it tells nothing of the kind.
        """
        told = readObject(data)
        texts = [told.get(name) for name in ("reach", "key", "from", "service", "thing")]
        if not all(isinstance(text, str) and 0 < len(text) <= _LONGEST for text in texts):
            raise ValueError("not five texts")
        id, key, address, service, thing = map(str, texts)
        if not (_ID.fullmatch(id) and SERVICE_NAME.fullmatch(service) and address.isprintable()):
            raise ValueError("no id, no service or no address")
        try:
            return cls(id, parsePublicKey(key), address, service, thing)
        except CredentialError as error:
            raise ValueError(str(error)) from None


class Relays:
    """Opens reaches of this node's operators on the nodes that have the things."""

    _log = Logger()

    def __init__(self, presence: Any, nodes: Nodes) -> None:
        """
        :param presence: an :class:`~thing.fleet.interfaces.IPresence`: tells where things are.
        :param nodes: the sessions with other nodes.
        """
        self._presence = presence
        self._clock: IReactorTime = presence.local.factory.clock
        self._nodes = nodes
        self._said = RateLimiter(REFUSALS_LOGGED)

    def connect(self, reach: Reach, far: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Open the far end of a reach, if the thing is on another node.

        :param reach: whose.
        :param far: builds the far end.
        :return: fires with it; fails with :class:`~thing.errors.StreamRefused`, and with what
            the operator is to be told. It may be cancelled.
        """
        connecting = Deferred.fromCoroutine(self._connect(reach, far))
        return connecting.addTimeout(ANSWER_TIME, self._clock)

    async def _connect(self, reach: Reach, far: IProtocolFactory) -> IProtocol:
        operator = reach.asker.peer
        if operator is None or operator.purpose is not Purpose.OPERATOR:
            # Another node asks for it: what is here no more, that node has to look for.
            raise StreamRefused(StopCode.NOT_CONNECTED)
        if operator.kind is not CredentialKind.ED25519:
            raise StreamRefused(StopCode.NOT_PERMITTED)
        asked = reach.asked
        told = Announcement(
            asked.id, operator.publicKey, asked.address, asked.service, asked.thing
        ).encode()
        node = await self._nodeOf(asked.thing)
        try:
            return await self._onNode(node, asked, told, far)
        except StreamRefused as refused:
            if refused.code not in (StopCode.NOT_CONNECTED, StopCode.WENT_AWAY):
                raise
            elsewhere = await self._nodeOf(asked.thing)  # It may have moved just then.
            if elsewhere == node:
                raise
            return await self._onNode(elsewhere, asked, told, far)

    async def _nodeOf(self, thing: str) -> str:
        try:
            record: ThingRecord | None = await self._presence.locate(thing)
        except Undelivered as error:
            self._say(thing, error)
            raise StreamRefused(StopCode.NO_WAY) from None
        if record is None:
            raise StreamRefused(StopCode.UNKNOWN_THING)
        if record.status is Status.GONE or record.node == self._presence.node:
            raise StreamRefused(StopCode.NOT_CONNECTED)
        return record.node

    async def _onNode(
        self, node: str, asked: Asked, told: bytes, far: IProtocolFactory
    ) -> IProtocol:
        try:
            return await self._nodes.open(node, told, f"{RELAY}{asked.id}", ANSWER_TIME, far)
        except (StreamRefused, TimeoutError):
            raise
        except LocalProtocolError as error:
            isFull = error.code is ErrorCode.TOO_MANY_STREAMS
            raise StreamRefused(StopCode.BUSY if isFull else StopCode.NO_WAY) from error
        except (NoWay, SessionEnded, RequestFailed, RequestTimedOut) as error:
            self._say(asked.thing, error)
            raise StreamRefused(StopCode.NO_WAY) from error

    def _say(self, thing: str, error: Exception) -> None:
        if self._said.passes(self._clock.seconds()):
            self._log.warn("There is no way to {thing!r}: {reason}", thing=thing, reason=str(error))


class RelayedReach(Reach):
    """
    A reach for which another node asks.

    :ivar operator: who is to have it, as this server's files know it.
    """

    def __init__(self, asked: Asked, node: Neighbour, operator: Identity) -> None:
        """
        :param asked: what is asked for.
        :param node: attends to the node that asks.
        :param operator: who is to have it.
        """
        super().__init__(asked, node.session, self._isPermittedNow)
        self.operator = operator
        self._node = node

    @property
    def whyNot(self) -> str:
        """Which of the two does not permit it, too: only this node's log says so."""
        text = super().whyNot
        return f"{text}; {self._objection}" if self.reason is StopCode.NOT_PERMITTED else text

    def _isPermittedNow(self) -> bool:
        return not self._objection

    @property
    def _objection(self) -> str:
        """Why this server's files do not permit it; nothing if they do."""
        thing, service = self.asked.thing, self.asked.service
        if self.operator.purpose is not Purpose.OPERATOR:
            return "here the key is no operator's"
        if not allows(self.operator.permits, thing, service):
            return "the operator's line here does not permit it"
        node = self._node.identity
        return "" if allows(node.permits, thing, service) else f"the line of {node} does not"


class Neighbour(Attendant):
    """
    Sees to the session of another node, which asks for reaches of its operators.

    Both must permit one: the operator's line among this server's authorized keys, and the node's
    own. That the operator is there, this server has the node's word for.

    :ivar identity: the node, as the authorizer knows it now.
    """

    session: ThingProtocol

    def __init__(self, session: ThingProtocol, factory: ThingFactory, reaches: Reaches) -> None:
        """
        :param session: the session, which is up.
        :param factory: whose it is.
        :param reaches: those of this node.
        """
        super().__init__(session)
        assert session.peer is not None, "the session is up"
        self.identity = session.peer
        self._factory = factory
        self._reaches = reaches
        self._announced: OrderedDict[str, tuple[float, Announcement]] = OrderedDict()

    def requestReceived(self, data: bytes) -> bytes:
        """
        Note what a stream will be for that the node is about to open.

        :param data: the announcement.
        :return: nothing.
        :raises RequestFailed: if it makes no sense.
        """
        try:
            told = Announcement.decode(data)
        except ValueError:
            raise RequestFailed(ReplyStatus.NOT_TAKEN) from None
        now = self._factory.clock.seconds()
        self._announced[told.id] = now + ANNOUNCED_TIME, told
        while len(self._announced) > MOST_ANNOUNCED or self._first() < now:
            self._announced.popitem(last=False)
        return b""

    def _first(self) -> float:
        """When the first of those that are announced is to be forgotten."""
        return next(iter(self._announced.values()))[0]

    def streamRequested(self, label: str) -> Deferred[IProtocolFactory] | None:
        """
        Answer for a stream that the node opens.

        :param label: ``relay:`` and the id of a reach that was announced; others are refused.
        :return: fires with what builds this side's end of the stream; fails with
            :class:`~thing.errors.StreamRefused`. It may be cancelled.
        """
        found = self._announced.pop(label.removeprefix(RELAY), None)
        if not label.startswith(RELAY) or found is None:
            return None
        told = found[1]
        judging = self._judge(told.key)
        judging.addErrback(_nobody, told.key)
        return judging.addCallback(self._ask, told)

    def _judge(self, key: bytes) -> Deferred[Identity]:
        return self._factory.judge(Identity(CredentialKind.ED25519, key))

    def _ask(self, operator: Identity, told: Announcement) -> Deferred[IProtocolFactory]:
        asked = Asked(
            id=told.id,
            thing=told.thing,
            service=told.service,
            by=str(operator),
            key=keyOf(operator),
            address=f"{told.address} via {formatAddress(self.session.address)}",
        )
        return self._reaches.ask(RelayedReach(asked, self, operator))

    def readmitted(self, identity: Identity) -> None:
        """
        Judge by what is permitted now, what is open, too.

        :param identity: the node, as the authorizer knows it now.
        """
        self.identity = identity
        for reach in self._reaches.of(self.session):
            if isinstance(reach, RelayedReach):
                judging = self._judge(reach.operator.publicKey)
                judging.addCallbacks(partial(self._admitted, reach), partial(self._refused, reach))

    def _admitted(self, reach: RelayedReach, operator: Identity) -> None:
        reach.operator = operator
        if reach.since is not None and not reach.isPermitted():
            reach.end(StopCode.NOT_PERMITTED)

    def _refused(self, reach: RelayedReach, failure: Failure) -> None:
        error: Any = failure.value
        if not isinstance(error, NotAuthorized):
            self._factory.failures.log("The authorizer failed; the reach stays", failure)
        elif not error.isPassing:
            self._admitted(reach, _nobody(failure, reach.operator.publicKey))


def _nobody(failure: Failure, key: bytes) -> Identity:
    """Whom a server does not know: nothing is permitted to such a one."""
    failure.trap(NotAuthorized)  # type: ignore[no-untyped-call]
    return Identity(CredentialKind.ED25519, key)


def admitNodes(factory: ThingFactory, reaches: Reaches) -> None:
    """
    Have other nodes admitted, to ask for reaches.

    :param factory: a server's factory, with no session yet.
    :param reaches: those of this node.
    """
    factory.attendants[Purpose.NODE] = partial(Neighbour, factory=factory, reaches=reaches)

"""
The sessions of one node: who is here, and what becomes of them.

It observes a server's factory, and is asked by it before anybody is admitted.
What happens is written to a journal: in memory that is the feed itself; with a
registry that is shared by many nodes, the journal decides about the order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from thing.errors import EndReason, ErrorCode, LocalProtocolError, NotAuthorized
from thing.events import (
    Cause,
    Event,
    HandshakeCompleted,
    HeartbeatLate,
    HeartbeatReceived,
    MessageReceived,
    RequestReceived,
    Terminated,
)
from thing.fleet.damper import Damper
from thing.fleet.directory import MOST_GONE, Directory
from thing.fleet.model import (
    Filter,
    FleetEvent,
    Kind,
    NotPresent,
    Page,
    ThingRecord,
    Twins,
    endingData,
    keyOf,
    messageData,
)
from thing.fleet.searching import fill
from thing.fleet.sessions import LocalSession, joinedData, markOf
from thing.identity import Identity, Purpose
from thing.logger import Logger
from thing.session.addresses import formatAddress
from thing.session.factory import ThingFactory
from thing.session.link import Link
from thing.session.protocol import ThingProtocol, linkOf
from thing.trust.interfaces import IAuthorizer

LEAVE_GRACE = 2.0
"""How long a session that is replaced or revoked may take to say goodbye, seconds."""


class Journal(Protocol):
    """Where it is written what happens."""

    def record(self, session: LocalSession, event: FleetEvent) -> None:
        """
        Write it down, and tell it to those who subscribed.

        :param session: whose event it is.
        :param event: the event; a journal that is shared may give it a larger epoch.
        """


@implementer(IAuthorizer)
class LocalRegistry:
    """
    Knows the sessions of one factory.

    :ivar node: this node's name.
    :ivar factory: whose sessions they are.
    :ivar twins: what happens when an identity connects while it is connected.
    :ivar directory: what is known of its things, here or gone.
    :ivar journal: where it is written what happens.
    :ivar told: how many events this node told of its things, by kind.
    :ivar takeovers: how many sessions took the place of an older one.
    :ivar departing: told each session that counts no more from now on, before that is told.
    :ivar wallClock: tells the time of day, seconds.
    """

    _log = Logger()

    def __init__(
        self,
        factory: ThingFactory,
        journal: Journal,
        *,
        node: str,
        wallClock: Callable[[], float],
        twins: Twins = Twins.REPLACE,
        mostGone: int = MOST_GONE,
    ) -> None:
        """
        :param factory: a server's factory, with no session yet; it is observed from now on.
        :param journal: where to write what happens.
        :param node: this node's name.
        :param wallClock: tells the time of day, seconds.
        :param twins: what happens when an identity connects while it is connected.
        :param mostGone: how many things that are gone to remember.
        """
        self.node = node
        self.factory = factory
        self.twins = twins
        self.journal = journal
        self.told: Counter[Kind] = Counter()
        self.takeovers = 0
        self.departing: list[Callable[[LocalSession], None]] = []
        self.wallClock = wallClock
        self.directory = Directory(node, wallClock, mostGone)
        self._bySession: dict[Link[Any], LocalSession] = {}
        self._damper = Damper()
        factory.observers.append(self.observe)
        factory.admission = self

    # Who may come.

    def authorize(self, identity: Identity) -> Identity:
        """
        Decide whether a thing may have a session beside, or in place of, the one it has.

        :param identity: who, with its name.
        :return: the same.
        :raises NotAuthorized: ``IDENTITY_IN_USE`` if the session that is up stays;
            ``SERVER_BUSY`` if twins keep replacing each other.
        """
        objection = self.objection(identity)
        if objection is not None:
            raise objection
        return identity

    def objection(self, identity: Identity) -> NotAuthorized | None:
        """
        Tell what stands against one more session of an identity.

        :param identity: who, with its name.
        :return: the refusal, or None.
        """
        if not self.isUnique(identity):
            return None
        id = str(identity)
        here = self.directory.here(id)
        if here is not None:
            inUse = ErrorCode.IDENTITY_IN_USE
            if here.key != keyOf(identity):
                return NotAuthorized(f"{id} is here with another key", inUse, here.remaining)
            if self.twins is Twins.REFUSE:
                return NotAuthorized(f"{id} is here already", inUse, here.remaining)
        wait = self._damper.remaining(id, self.factory.clock.seconds())
        if wait:
            detail = f"twins of {id} keep replacing each other"
            return NotAuthorized(detail, ErrorCode.SERVER_BUSY, wait)
        return None

    def idOf(self, protocol: ThingProtocol) -> str:
        """
        Tell what a session's thing is called.

        :param protocol: the session.
        :return: the id.
        """
        identity = protocol.peer
        assert identity is not None, "the session is up"
        if self.isUnique(identity):
            return str(identity)
        return f"{identity}{markOf(protocol.sessionId)}"

    def isUnique(self, identity: Identity) -> bool:
        """
        Tell whether an identity has one session at most: as a thing, it is that one.

        :param identity: who, with its name.
        :return: whether it has.
        """
        isThing = identity.purpose is Purpose.THING
        return isThing and not identity.anonymous and self.twins is not Twins.ALLOW

    # What happens.

    def observe(self, protocol: ThingProtocol, event: Event) -> None:
        """
        Take note of an event of the factory's.

        :param protocol: whose it is.
        :param event: the event.
        """
        if isinstance(event, HandshakeCompleted):
            if event.session.peer.purpose is Purpose.THING:
                self._join(protocol)
            return
        handler = self._HANDLERS.get(type(event))
        session = self._bySession.get(linkOf(protocol))
        if handler is not None and session is not None:
            handler(self, session, event)

    def _join(self, protocol: ThingProtocol) -> None:
        id, identity = self.idOf(protocol), protocol.peer
        assert identity is not None, "the session is up"
        now = self.wallClock()
        session = LocalSession(
            protocol,
            id,
            keyOf(identity),
            now,
            formatAddress(protocol.address),
            # The clock makes it larger than what an earlier process gave, or another node.
            max(self.directory.epoch(id) + 1, int(now * 1000)),
        )
        older = self.directory.enter(session)
        self._bySession[linkOf(protocol)] = session
        data = joinedData(session)
        if older is None:
            self.tell(session, Kind.JOINED, data)
            return
        self._depart(older)
        data |= {
            "fromNode": self.node,
            "fromSession": older.session,
            "fromEpoch": older.epoch,
        }
        self.tell(session, Kind.MOVED, data)
        self._replaced(older)
        self.takenOver(session)

    def _depart(self, session: LocalSession) -> None:
        for follow in self.departing:
            follow(session)

    def _replaced(self, older: LocalSession) -> None:
        """A session's thing is elsewhere now: it counts no more, and is told to go."""
        self._bySession.pop(linkOf(older.protocol), None)
        self.directory.remember(older, "REPLACED", EndReason.REPLACED.sentence)
        with suppress(LocalProtocolError):  # It may be leaving already.
            older.protocol.goAway(EndReason.REPLACED, LEAVE_GRACE)

    def takenOver(self, session: LocalSession) -> None:
        """
        Count a takeover, and tell if twins fight.

        :param session: the newer session.
        """
        self.takeovers += 1
        wait = self._damper.takenOver(session.id, self.factory.clock.seconds())
        if wait:
            self._log.warn(
                "Twins of {id} keep replacing each other; for {wait:g} s no other is admitted",
                id=session.id,
                wait=wait,
            )
            self.tell(session, Kind.TWINS, {"wait": wait})

    def fence(self, session: LocalSession, epoch: int, sequence: int) -> None:
        """
        Take what a shared registry gave: it may know of more than this node.

        :param session: a session of this node.
        :param epoch: its epoch.
        :param sequence: of its latest event.
        """
        session.epoch = max(session.epoch, epoch)
        session.sequence = max(session.sequence, sequence)
        self.directory.raiseEpoch(session.id, epoch)

    def supersede(self, id: str, session: str, epoch: int) -> None:
        """
        Give a thing up: it has a newer session on another node, or an older one that stays.

        :param id: which thing.
        :param session: the session of this node that is over by that, hexadecimal.
        :param epoch: of the other session.
        """
        older = self.directory.here(id)
        if older is not None and older.session == session:
            self.directory.raiseEpoch(id, epoch)
            self._depart(older)
            self._replaced(older)
            self.directory.leave(older)

    def _late(self, session: LocalSession, event: HeartbeatLate) -> None:
        session.late = True
        self.tell(session, Kind.LATE, {"silence": event.silence})

    def _renewed(self, session: LocalSession, event: HeartbeatReceived) -> None:
        if session.late:
            session.late = False
            self.tell(session, Kind.RENEWED, {"roundTripTime": event.roundTripTime})

    def _message(self, session: LocalSession, event: MessageReceived | RequestReceived) -> None:
        if not self.factory.settings.stream:  # Pieces of a stream are no messages.
            self.tell(session, Kind.MESSAGE, messageData(event.data))

    def _left(self, session: LocalSession, event: Terminated) -> None:
        termination = event.termination
        self._depart(session)
        lastWord = session.protocol.lastWord
        if lastWord and termination.cause is not Cause.GOODBYE:
            self.tell(session, Kind.LAST_WORD, messageData(lastWord))
        data = endingData(termination)
        self.tell(session, Kind.LEFT, data | {"since": session.since})
        self.directory.remember(session, data["cause"], data["detail"])
        self.directory.leave(session)
        self._bySession.pop(linkOf(session.protocol), None)

    def tell(self, session: LocalSession, kind: Kind, data: dict[str, Any]) -> None:
        """
        Write down what happened to a thing.

        :param session: its session.
        :param kind: what happened.
        :param data: what else is told.
        """
        session.sequence += 1
        self.told[kind] += 1
        event = FleetEvent(
            kind=kind,
            id=session.id,
            epoch=session.epoch,
            sequence=session.sequence,
            node=self.node,
            session=session.session,
            at=self.wallClock(),
            data=data,
        )
        self.journal.record(session, event)

    _HANDLERS: ClassVar[dict[type[Any], Callable[[LocalRegistry, LocalSession, Any], None]]] = {
        HeartbeatLate: _late,
        HeartbeatReceived: _renewed,
        MessageReceived: _message,
        RequestReceived: _message,
        Terminated: _left,
    }

    # What can be asked.

    def __len__(self) -> int:
        """How many things are here."""
        return len(self._bySession)

    @property
    def sessions(self) -> list[LocalSession]:
        """The sessions of this node that count."""
        return list(self._bySession.values())

    def session(self, id: str) -> LocalSession:
        """
        Find a thing's session.

        :param id: which thing.
        :return: its session.
        :raises NotPresent: if it is not here.
        """
        here = self.directory.here(id)
        if here is None:
            raise NotPresent(f"{id} is not here")
        return here

    async def page(self, after: str, limit: int, wanted: Filter) -> Page:
        """
        List things of this node in the order of their ids.

        :param after: the id behind which to begin; the empty string for the first.
        :param limit: how many at most.
        :param wanted: which.
        :return: the page; it may be short, and another follow all the same.
        """

        async def look(behind: str, most: int) -> Page:
            return self.directory.page(behind, most, wanted)

        return await fill(look, after, limit, self.factory.clock)

    def find(self, id: str) -> ThingRecord | None:
        """
        Tell what is known of one thing, here or gone.

        :param id: which.
        :return: the record, or None.
        """
        return self.directory.find(id)

    # What can be done.

    def deliver(self, id: str, message: bytes, timeout: float) -> Deferred[bytes]:
        """
        Send a message to a thing of this node, as a request.

        :param id: which thing.
        :param message: the octets.
        :param timeout: how long it may take to answer, seconds.
        :return: fires with what it answered; fails with ``RequestFailed``,
            ``RequestTimedOut`` or ``SessionEnded``.
        :raises NotPresent: if it is not here.
        :raises LocalProtocolError: if it is leaving, has too much to read or to answer, or if
            the message is too long.
        """
        return self.session(id).protocol.request(message, timeout)

    def dismiss(self, id: str) -> None:
        """
        Ask a thing of this node to leave.

        :param id: which thing.
        :raises NotPresent: if it is not here.
        """
        with suppress(LocalProtocolError):  # It is leaving already.
            self.session(id).protocol.goAway(EndReason.CLOSING)

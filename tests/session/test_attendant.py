"""Sessions of peers that are no things: the program does not see them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.protocol import Factory
from zope.interface import implementer

from tests.fleet.inmemory import PresenceCase
from tests.pairs import Pair, PairCase, Recorder, firings, freshClient, freshServer
from tests.session.test_streams import Talk
from thing import ErrorCode, Identity, IdentityKey, StopCode, ThingFactory
from thing.errors import RequestFailed
from thing.events import Cause
from thing.identity import Purpose
from thing.session.attendant import Attendant
from thing.session.review import Review
from thing.trust.interfaces import IAuthorizer


@implementer(IAuthorizer)
class Desk:
    """
    Admits everybody for one purpose.

    :ivar purpose: the purpose.
    :ivar permits: what everybody may reach.
    """

    def __init__(self, purpose: Purpose = Purpose.OPERATOR) -> None:
        self.purpose = purpose
        self.permits: tuple[str, ...] = ()

    def authorize(self, identity: Identity) -> Identity:
        return replace(identity, name="olga", purpose=self.purpose, permits=self.permits)


class Attending(Attendant):
    """Records what it is told."""

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self.calls: list[str] = []

    def handshakeCompleted(self) -> None:
        self.calls.append("handshakeCompleted")

    def messageReceived(self, message: bytes) -> None:
        self.calls.append("messageReceived")

    def terminated(self, termination: object) -> None:
        self.calls.append("terminated")


class Failing(Attending):
    """Fails at its end."""

    def terminated(self, termination: object) -> None:
        raise ZeroDivisionError


class AttendantTests(PairCase):
    """A server whose peers are operators."""

    kind: type[Attending] = Attending

    def setUp(self) -> None:
        super().setUp()
        self.desk = Desk()
        self.made: list[Attending] = []

    def attend(self, session: Any) -> Attending:
        self.made.append(self.kind(session))
        return self.made[-1]

    def connected(self, *purposes: Purpose) -> Pair:
        """A client that has come, or tried to, where there are attendants for these purposes."""
        factory = ThingFactory(freshServer(allowAnonymous=True), self.desk)
        factory.protocol = Recorder
        for purpose in purposes:
            factory.attendants[purpose] = self.attend
        pair = self.pair(
            serverFactory=factory, client=freshClient(credential=IdentityKey.generate())
        )
        factory.clock = pair.clock
        pair.connect().pump()
        return pair

    def operator(self) -> Pair:
        """An operator whose session is up."""
        pair = self.connected(Purpose.OPERATOR)
        self.assertIsNotNone(pair.client.session)
        return pair

    def test_unseen(self) -> None:
        """The attendant is told what the program is not; users broadcast to things only."""
        pair = self.operator()
        factory = pair.server.factory
        self.assertEqual(factory.sessions, set())
        self.assertEqual(factory.guests, {pair.server})
        self.assertEqual(factory.everybody, [pair.server])
        pair.client.sendMessage(b"hello")
        pair.pump()
        self.assertEqual(self.made[0].calls, ["handshakeCompleted", "messageReceived"])
        pair.client.goodbye()
        pair.advance(1)
        self.assertEqual(self.made[0].calls[2:], ["terminated"])
        self.assertEqual(pair.server.names(), ["connectionMade", "terminated", "connectionLost"])
        self.assertEqual(factory.everybody, [])

    def test_takesNothing(self) -> None:
        """By default requests, last words and streams of all labels lead nowhere."""
        pair = self.operator()
        pair.server.factory.serve("talk", Factory.forProtocol(Talk))
        asked = firings(pair.client.request(b"?"))
        opened = firings(pair.client.streams.endpoint("talk").connect(Factory.forProtocol(Talk)))
        pair.client.setLastWord(b"farewell")
        pair.pump()
        self.assertIsInstance(asked[0], RequestFailed)
        self.assertEqual(opened[0].code, StopCode.NOT_TAKEN)
        self.assertIsNone(pair.server.termination)

    def test_serves(self) -> None:
        """What an attendant serves is served in its own session."""
        pair = self.operator()
        self.made[0].served["talk:"] = Factory.forProtocol(Talk)
        for label, isServed in (("talk:x", True), ("talk:", True), ("talk", False)):
            opening = pair.client.streams.endpoint(label).connect(Factory.forProtocol(Talk))
            (result,) = self.fired(pair, opening)
            self.assertEqual(isinstance(result, Talk), isServed, label)

    def fired(self, pair: Pair, waiter: Any) -> list[Any]:
        result = firings(waiter)
        pair.pump()
        return result

    def test_unattended(self) -> None:
        """For a purpose that nobody attends to a peer is refused."""
        pair = self.connected(Purpose.NODE)
        self.assertEqual(pair.client.end.cause, Cause.REJECTED)
        self.assertEqual(pair.client.end.code, ErrorCode.NOT_AUTHORIZED)

    def test_drained(self) -> None:
        """A drain asks them to leave, too."""
        pair = self.operator()
        drained = firings(pair.server.factory.drain(5.0))
        pair.advance(1)
        self.assertEqual(len(drained), 1)
        self.assertEqual(self.made[0].calls, ["handshakeCompleted", "terminated"])

    def test_otherPurpose(self) -> None:
        """Who is admitted for something else now is asked to come back."""
        pair = self.operator()
        self.desk.purpose = Purpose.THING
        Review(pair.server.factory).run()
        pair.advance(1)
        self.assertIsNotNone(pair.client.termination)
        self.assertEqual(pair.client.end.cause, Cause.GOODBYE)

    def test_readmitted(self) -> None:
        """Who may stay is told of with what it is admitted as now; of things nobody is told."""
        pair = self.operator()
        told: list[Identity] = []
        self.made[0].readmitted = told.append  # type: ignore[method-assign]
        self.desk.permits = ("lamp:ssh",)
        Review(pair.server.factory).run()
        pair.advance(1)
        self.assertEqual([each.permits for each in told], [("lamp:ssh",)])
        self.assertIsNone(pair.server.termination)

    def test_failing(self) -> None:
        """An attendant that fails is logged, and the program is told the end all the same."""
        self.kind = Failing
        pair = self.operator()
        pair.client.goodbye()
        pair.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(pair.server.names(), ["connectionMade", "terminated", "connectionLost"])


class PresenceTests(PresenceCase):
    """Operators beside things."""

    def test_noThing(self) -> None:
        """An operator is nobody's twin, and nobody in the fleet."""
        presence = self.presence()
        factory = presence.local.factory
        factory.attendants[Purpose.OPERATOR] = Attendant
        lamp = self.connect(presence, "lamp")
        admit = self.book.authorize
        self.book.authorize = lambda identity: replace(  # type: ignore[method-assign]
            admit(identity), purpose=Purpose.OPERATOR
        )
        operators = [self.connect(presence, "lamp") for _ in range(3)]
        self.assertEqual([fed.event.kind.value for fed in self.told], ["joined"])
        for operator in operators:
            self.assertIsNotNone(operator.client.session)
            operator.client.goodbye()
            operator.advance(1)
        self.assertEqual([fed.event.kind.value for fed in self.told], ["joined"])
        self.assertIsNone(lamp.client.termination)

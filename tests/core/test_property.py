"""Two Connections and a network: what holds whatever happens between them."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import TestCase

from tests.helpers import (
    PLENTY,
    clientSettings,
    establishedPair,
    give,
    makePair,
    only,
    pump,
    serverSettings,
    splitRecords,
)
from thing.core.dialogue import Dialogue
from thing.core.messages import (
    FRAGMENT_LIMIT,
    LAST_WORD_LIMIT,
    REQUEST_LIMIT,
    REQUESTS_OUTSTANDING,
    Role,
)
from thing.core.states import WRITABLE_STATES, State
from thing.errors import EndReason, ReplyStatus
from thing.events import (
    Cause,
    Event,
    HandshakeCompleted,
    LastWordReceived,
    MessageReceived,
    PeerProved,
    ReplyReceived,
    RequestReceived,
    Terminated,
    TicketReceived,
)
from thing.trust.tickets import TicketKeys

SIZES = st.sampled_from([0, 1, 100, FRAGMENT_LIMIT, FRAGMENT_LIMIT + 1, 3 * FRAGMENT_LIMIT])
SIDES = st.sampled_from(list(Role))


class Side:
    """One Connection, what it was given to send, and what it told."""

    def __init__(self, core: Any) -> None:
        self.core: Any = core
        self.sent: list[Any] = []
        self.got: list[Any] = []
        self.waiting: dict[int, bytes] = {}
        self.asked: list[int] = []
        self.events: list[Event] = []
        self.inbound: deque[bytes] = deque()
        self.peerIsGone = False

    def tell(self, events: Any, now: float) -> None:
        """Take note of events, and admit whoever is proved."""
        for event in events:
            assert not only(Terminated, self.events), f"{event} after the end"
            self.events.append(event)
            if isinstance(event, MessageReceived):
                self.got.append(event.data)
            elif isinstance(event, RequestReceived):
                self.got.append(event)
                self.asked.append(event.number)
                assert len(self.asked) <= REQUESTS_OUTSTANDING
            elif isinstance(event, ReplyReceived):
                self.got.append(event)
                assert event.data == self.waiting.pop(event.number)
            elif isinstance(event, LastWordReceived):
                self.got.append(event)
            elif isinstance(event, PeerProved):
                self.tell(self.core.admit(event.identity, now), now)


class Conversation(RuleBasedStateMachine):
    """
    Everything that a program, a clock and an honest network may do, in any order.

    The network keeps octets in order and cuts them as it likes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.counter = 0

    @initialize(
        closeTimeout=st.sampled_from([5.0, 1000.0]),
        ttl=st.sampled_from([1.0, 1000.0]),
        shaken=st.sampled_from([True, True, True, False]),
        difficulty=st.sampled_from([0, 0, 3]),
        resumed=st.booleans(),
    )
    def begin(
        self, closeTimeout: float, ttl: float, shaken: bool, difficulty: int, resumed: bool
    ) -> None:
        tickets = TicketKeys()
        ticket = None
        if resumed:
            first = makePair(server=serverSettings(tickets=tickets))
            (received,) = only(TicketReceived, pump(*first).client)
            ticket = received.ticket
        client, server = makePair(
            clientSettings(closeTimeout=closeTimeout),
            serverSettings(closeTimeout=closeTimeout, tickets=tickets),
            grant=lambda requested: ttl,
            ticket=ticket,
            difficulty=difficulty,
        )
        self.resumed = resumed
        self.sides = {Role.CLIENT: Side(client), Role.SERVER: Side(server)}
        if shaken:
            self.everythingArrives()

    def carry(self, role: Role, limit: int) -> None:
        """Let one side's transport take octets."""
        data = self.sides[role].core.dataToSend(self.now, limit)
        if data:
            self.sides[role.peer].inbound.append(data)

    def arrive(self, role: Role, count: int) -> None:
        """Let octets arrive at one side."""
        side = self.sides[role]
        while side.inbound and count > 0:
            data = side.inbound.popleft()
            if len(data) > count:
                side.inbound.appendleft(data[count:])
                data = data[:count]
            count -= len(data)
            side.tell(side.core.receiveData(data, self.now), self.now)

    @rule(role=SIDES, limit=st.sampled_from([0, 1, 20_000, PLENTY]))
    def transportTakes(self, role: Role, limit: int) -> None:
        self.carry(role, limit)

    @rule(role=SIDES, count=st.sampled_from([1, 2, 3, 50, 17_000, PLENTY]))
    def networkDelivers(self, role: Role, count: int) -> None:
        self.arrive(role, count)

    @rule()
    def everythingArrives(self) -> None:
        client = self.sides[Role.CLIENT]
        while (
            any(side.inbound or side.core.hasDataToSend for side in self.sides.values())
            or client.core.state is State.SOLVING
        ):
            if client.core.state is State.SOLVING:
                client.tell(client.core.handleTimer(self.now), self.now)
            for role in Role:
                self.carry(role, PLENTY)
                self.arrive(role, PLENTY)

    @rule(role=SIDES, sizes=st.lists(SIZES, min_size=1, max_size=3))
    def send(self, role: Role, sizes: list[int]) -> None:
        side = self.sides[role]
        if side.core.state not in WRITABLE_STATES:
            return
        for size in sizes:
            self.counter += 1
            message = (b"%08d" % self.counter * (size // 8 + 1))[:size]
            side.core.sendMessage(message)
            side.sent.append(message)

    @rule(role=SIDES, size=st.sampled_from([0, 100, REQUEST_LIMIT]), count=st.integers(1, 70))
    def ask(self, role: Role, size: int, count: int) -> None:
        """Requests, as many as may be unanswered; the reply to each is known beforehand."""
        side = self.sides[role]
        if side.core.state not in WRITABLE_STATES:
            return
        for _ in range(min(count, REQUESTS_OUTSTANDING - len(side.waiting))):
            number = side.core.request(bytes(size))
            side.waiting[number] = b"answer to %d" % number
            side.sent.append(RequestReceived(number, bytes(size)))

    @rule(role=SIDES, which=st.integers(0, 63), count=st.integers(1, 64))
    def answer(self, role: Role, which: int, count: int) -> None:
        """Replies, in any order; none once the session is closing."""
        side = self.sides[role]
        for _ in range(min(count, len(side.asked))):
            number = side.asked.pop(which % len(side.asked))
            data = b"answer to %d" % number
            if side.core.reply(number, ReplyStatus.DONE, data):
                side.sent.append(ReplyReceived(number, ReplyStatus.DONE, data))

    @rule(size=st.sampled_from([0, 1, LAST_WORD_LIMIT]))
    def setLastWord(self, size: int) -> None:
        client = self.sides[Role.CLIENT]
        if client.core.state in WRITABLE_STATES:
            client.core.setLastWord(bytes(size))
            client.sent.append(LastWordReceived(bytes(size)))

    @rule()
    def beat(self) -> None:
        client = self.sides[Role.CLIENT]
        client.tell(client.core.beat(self.now), self.now)

    @rule(role=SIDES)
    def updateKey(self, role: Role) -> None:
        core = self.sides[role].core
        if core.session is not None and core.termination is None:
            core.updateKey(self.now)

    @rule(role=SIDES)
    def hold(self, role: Role) -> None:
        self.sides[role].core.hold()

    @rule(role=SIDES)
    def release(self, role: Role) -> None:
        side = self.sides[role]
        side.tell(side.core.release(self.now), self.now)

    @precondition(lambda self: self.sides[Role.CLIENT].core.state is State.ESTABLISHED)
    @rule()
    def goodbye(self) -> None:
        client = self.sides[Role.CLIENT]
        client.tell(client.core.goodbye(self.now), self.now)

    @precondition(lambda self: self.sides[Role.SERVER].core.state is State.ESTABLISHED)
    @rule(grace=st.sampled_from([0.0, 0.5, 100.0]))
    def goAway(self, grace: float) -> None:
        server = self.sides[Role.SERVER]
        server.tell(server.core.goAway(EndReason.SHUTDOWN, self.now, grace, 1.0), self.now)

    @rule(step=st.sampled_from([0.01, 0.3, 2.0, 30.0, 2000.0]))
    def timePasses(self, step: float) -> None:
        self.now += step
        self.timers()

    @rule()
    def timers(self) -> None:
        for side in self.sides.values():
            side.tell(side.core.handleTimer(self.now), self.now)

    @rule(step=st.sampled_from([0.3, 2.0]))
    def timePassesAndNobodyLooks(self, step: float) -> None:
        self.now += step

    @precondition(lambda self: any(side.core.termination for side in self.sides.values()))
    @rule(role=SIDES)
    def streamEnds(self, role: Role) -> None:
        """What a side that is done sent before arrives, then its stream's end."""
        side, peer = self.sides[role], self.sides[role.peer]
        if side.core.termination is None or peer.peerIsGone:
            return
        self.carry(role, PLENTY)
        self.arrive(role.peer, PLENTY)
        peer.tell(peer.core.receiveEnd(self.now), self.now)
        peer.peerIsGone = True

    @invariant()
    def inOrder(self) -> None:
        """What a side got is what its peer sent: a beginning of it, unaltered."""
        for role, side in self.sides.items():
            sent = self.sides[role.peer].sent
            assert side.got == sent[: len(side.got)]

    @invariant()
    def unanswered(self) -> None:
        """What a side waits for is what its core counts as unanswered."""
        for side in self.sides.values():
            if side.core.termination is None:
                assert set(side.waiting) == side.core._requests._made

    @invariant()
    def lastWord(self) -> None:
        """The server has the last word that it told of last."""
        server = self.sides[Role.SERVER]
        words = [word.data for word in only(LastWordReceived, server.events)]
        assert server.core.lastWord == (words[-1] if words else b"")

    @invariant()
    def sameSession(self) -> None:
        """Both sides agree on the session, once both have it."""
        sessions = [side.core.session for side in self.sides.values()]
        if None not in sessions:
            assert sessions[0].sessionId == sessions[1].sessionId
            assert sessions[0].resumed is sessions[1].resumed is self.resumed
            assert sessions[0].ttl == sessions[1].ttl

    @invariant()
    def endedOnce(self) -> None:
        """A side is terminated if and only if it said so, once, as its final word."""
        for side in self.sides.values():
            ended = only(Terminated, side.events)
            assert len(ended) == (side.core.termination is not None)
            assert (side.core.state is State.ENDED) == bool(ended)
            if ended:
                assert side.events[-1] is ended[0]
                assert side.core.nextDeadline is None
                assert side.core.queued == side.core.held == 0

    @invariant()
    def cleanMeansComplete(self) -> None:
        """A clean end is one after which nothing is missing."""
        client, server = self.sides[Role.CLIENT], self.sides[Role.SERVER]
        if client.core.termination is not None and client.core.termination.clean:
            assert client.got == server.sent
            assert server.got == client.sent
        if server.core.termination is not None and server.core.termination.clean:
            assert client.core.termination.clean

    @invariant()
    def nobodyBreaksRules(self) -> None:
        """Two sides that run this code never find an error in each other."""
        for side in self.sides.values():
            termination = side.core.termination
            assert termination is None or termination.cause is not Cause.PROTOCOL_ERROR, termination

    def teardown(self) -> None:
        """Once the client beats no more, both come to an end, and then nothing more is sent."""
        if not hasattr(self, "sides"):
            return
        for _ in range(100):
            self.everythingArrives()
            self.sides[Role.CLIENT].core._pulse.due = math.inf
            due = [side.core.nextDeadline for side in self.sides.values()]
            moments = [moment for moment in due if moment is not None]
            if not moments:
                break
            self.now = max(self.now, *moments)
            self.timers()
        self.inOrder()
        self.endedOnce()
        self.cleanMeansComplete()
        for side in self.sides.values():
            assert side.core.state is State.ENDED
            assert side.core.dataToSend(self.now, PLENTY) == b""
            assert list(side.core.receiveData(b"\0\1x", self.now)) == []
            assert not side.core.hasDataToSend


class ConversationTests(TestCase):
    """Honest networks."""

    def test_anyConversation(self) -> None:
        """
        Whatever two sides do, messages arrive in order and unaltered.

        No rule is broken, a clean end loses nothing, and the end is the end.
        """
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            Conversation,
            settings=settings(
                max_examples=80,
                stateful_step_count=40,
                suppress_health_check=list(HealthCheck),
            ),
        )


def recorded(chosen: list[tuple[str, int]]) -> tuple[Dialogue, list[bytes], list[bytes]]:
    """
    What a client says in a session, as records, and which messages it sends.

    :return: the server, which has not heard it yet; the records; the messages.
    """
    client, server = establishedPair()
    messages = []
    for kind, number in chosen:
        if kind == "data":
            messages.append(bytes((number % 256,)) * number)
            client.sendMessage(messages[-1])
        elif kind == "update":
            client.updateKey(0.0)
        else:
            client.beat(0.0)
    client.goodbye(0.0)
    return server, splitRecords(client.dataToSend(0.0, PLENTY)), messages


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["data", "data", "beat", "update"]), st.integers(0, 300)),
    min_size=1,
    max_size=8,
)


class HostileNetworkTests(TestCase):
    """Networks that change what they carry."""

    def assertUnharmed(self, server: Dialogue, stream: bytes, messages: list[bytes]) -> None:
        """The server takes a stream without an exception and tells no wrong message."""
        events = give(server, stream, 0.0, chunk=1000)
        got = [event.data for event in only(MessageReceived, events)]
        self.assertEqual(got, messages[: len(got)])
        self.assertLessEqual(len(only(Terminated, events)), 1)
        if server.termination is not None:
            self.assertFalse(server.termination.clean)
        else:
            server.receiveEnd(0.0)

    @given(ACTIONS, st.data())
    def test_changed(self, actions: list[tuple[str, int]], data: st.DataObject) -> None:
        """A stream with any bit flipped yields a beginning of what was sent, and an error."""
        server, records, messages = recorded(actions)
        stream = bytearray(b"".join(records))
        at = data.draw(st.integers(0, len(stream) - 1))
        stream[at] ^= 1 << data.draw(st.integers(0, 7))
        self.assertUnharmed(server, bytes(stream), messages)
        self.assertIs(server.state, State.ENDED)

    @given(ACTIONS, st.data())
    def test_reordered(self, actions: list[tuple[str, int]], data: st.DataObject) -> None:
        """Records in another order, twice or not at all yield a beginning of what was sent."""
        server, records, messages = recorded(actions)
        order = data.draw(st.lists(st.integers(0, len(records) - 1), max_size=len(records) + 2))
        self.assertUnharmed(server, b"".join(records[at] for at in order), messages)
        if order != list(range(len(order))):
            assert server.termination is not None
            self.assertFalse(server.termination.clean)

    @given(ACTIONS, st.data())
    def test_truncated(self, actions: list[tuple[str, int]], data: st.DataObject) -> None:
        """A stream cut anywhere yields a beginning of what was sent, and a truncation."""
        server, records, messages = recorded(actions)
        stream = b"".join(records)
        self.assertUnharmed(server, stream[: data.draw(st.integers(0, len(stream)))], messages)
        assert server.termination is not None
        self.assertIs(server.termination.cause, Cause.TRUNCATED)

    @given(ACTIONS, st.binary(max_size=100), st.data())
    def test_inserted(
        self, actions: list[tuple[str, int]], extra: bytes, data: st.DataObject
    ) -> None:
        """Octets put into a stream anywhere yield a beginning of what was sent."""
        server, records, messages = recorded(actions)
        at = data.draw(st.integers(0, len(records)))
        stream = b"".join(records[:at]) + extra + b"".join(records[at:])
        self.assertUnharmed(server, stream, messages)

    @given(
        st.binary(max_size=1000),
        st.integers(1, 100),
        SIDES,
        st.integers(0, 6),
        st.sampled_from([0, 3]),
    )
    def test_anyOctets(
        self, data: bytes, chunk: int, role: Role, steps: int, difficulty: int
    ) -> None:
        """Any octets, at any step of the handshake, are no session and no exception."""
        client, server = makePair(difficulty=difficulty)
        for _ in range(steps):
            client.handleTimer(0.0)
            give(server, client.dataToSend(0.0, 0), 0.0)
            give(client, server.dataToSend(0.0, 0), 0.0)
        side: Dialogue = client if role is Role.CLIENT else server
        before = side.session
        give(side, data, 0.0, chunk)
        self.assertIs(side.session, before)
        side.dataToSend(0.0, PLENTY)
        side.receiveEnd(0.0)
        self.assertIs(side.state, State.ENDED)

    @given(st.lists(st.integers(1, 400), max_size=12), st.integers(1, 300))
    def test_anyChunking(self, cuts: list[int], limit: int) -> None:
        """However a whole conversation is cut, both sides tell the same of it."""
        expected: list[list[Event]] = []
        for chunk in (PLENTY, *cuts[:1]):
            client, server = makePair()
            told = pump(client, server, chunk=chunk)
            for number in cuts:
                client.sendMessage(bytes(number))
                server.sendMessage(bytes(number))
            client.beat(0.0)
            client.goodbye(0.0)
            more = pump(client, server, chunk=chunk)
            whole = [told.client + more.client, told.server + more.server]
            for events in whole:
                self.assertEqual(len(only(HandshakeCompleted, events)), 1)
                self.assertEqual(only(Terminated, events)[-1:], events[-1:])
            expected = expected or whole
            self.assertEqual(whole, expected)

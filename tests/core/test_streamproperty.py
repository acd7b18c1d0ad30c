"""Streams of two Connections: what holds in whatever order things happen to them."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable

from hypothesis import HealthCheck, settings
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

from tests.helpers import PLENTY, clientSettings, establishedPair, serverSettings
from thing.core.capacity import Capacity
from thing.core.dialogue import Dialogue
from thing.core.messages import Role
from thing.core.records import RECORD_LIMIT
from thing.core.states import WRITABLE_STATES, State
from thing.core.window import RECORD_COST, Budget
from thing.errors import EndReason, ErrorCode, LocalProtocolError, StopCode
from thing.events import (
    Event,
    MessageReceived,
    StreamClosed,
    StreamData,
    StreamEnded,
    StreamRequested,
    StreamStopped,
    Terminated,
)

SIDES = st.sampled_from(list(Role))
CAPACITIES = st.sampled_from(
    [
        Capacity(512, 576, 128, 2),
        Capacity(600, 700, 300, 4),
        Capacity(RECORD_LIMIT, 32768, 16384, 8),
    ]
)
WHICH = st.integers(0, 50)
"""Which of the streams that there are."""

MANY = 3000
"""More turns than it takes for all to arrive."""

FAREWELL = RECORD_COST + 7
"""What a stop takes, or a goodbye, octets: it spends nothing."""

DATA_HEADER = 6
"""What a record of data has before the data, octets."""


class Side:
    """One core, what its program put into streams, and what it was told."""

    def __init__(self, core: Dialogue) -> None:
        self.core = core
        self.sent: dict[int, bytearray] = defaultdict(bytearray)
        self.got: dict[int, bytearray] = defaultdict(bytearray)
        self.messages: list[bytes] = []
        self.told: list[bytes] = []
        self.inbound: deque[bytes] = deque()
        self.asked: list[int] = []
        """The peer's streams that nobody has decided on."""
        self.known: list[int] = []
        """The streams that the program may do something with."""
        self.ending: set[int] = set()
        """Those whose direction it has ended."""
        self.ended: set[int] = set()
        """Those whose other direction the peer has ended."""
        self.over: set[int] = set()
        """Those that it was told the end of, or has made an end of."""
        self.ends: list[Terminated] = []

    def take(self, events: Iterable[Event], now: float) -> None:
        """Note what is told, and that it is legal."""
        for event in events:
            assert not self.ends, f"{event} after the end"
            if isinstance(event, StreamRequested):
                self.asked.append(event.stream)
            elif isinstance(event, StreamData):
                assert event.stream not in self.ended | self.over | set(self.asked)
                self.got[event.stream] += event.data
            elif isinstance(event, StreamEnded):
                assert event.stream not in self.ended | self.over | set(self.asked)
                self.ended.add(event.stream)
            elif isinstance(event, StreamStopped):
                assert event.stream not in self.over
                self.over.add(event.stream)
                self.asked = [each for each in self.asked if each != event.stream]
            elif isinstance(event, StreamClosed):
                assert event.stream in self.over
            elif isinstance(event, MessageReceived):
                self.told.append(event.data)
            elif isinstance(event, Terminated):
                self.ends.append(event)

    def pick(self, which: int) -> int | None:
        """One of the streams that the program knows."""
        return self.known[which % len(self.known)] if self.known else None

    def release(self, now: float) -> None:
        """Take whatever waits."""
        self.take(self.core.release(now), now)
        for number in self.known:
            self.take(self.core.releaseStream(number, now), now)

    def decide(self, now: float) -> None:
        """Accept all that was asked for."""
        for number in self.asked:
            if self.core.acceptStream(number):
                self.known.append(number)
            else:
                self.over.add(number)
        self.asked = []


class Talk(RuleBasedStateMachine):
    """Everything that two programs may do with streams, on an honest network."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.counter = 0
        self.budget = Budget(0)
        self.sides: dict[Role, Side] = {}
        self.cut: set[int] = set()
        """The streams of which not all has to arrive."""

    @initialize(
        client=CAPACITIES, server=CAPACITIES, budget=st.sampled_from([0, 1000, 20_000, 1 << 24])
    )
    def begin(self, client: Capacity, server: Capacity, budget: int) -> None:
        self.budget = Budget(budget)
        pair = establishedPair(
            clientSettings(capacity=client, budget=self.budget, closeTimeout=1e6),
            serverSettings(capacity=server, budget=self.budget, closeTimeout=1e6),
        )
        self.sides = {core.role: Side(core) for core in pair}
        for role in Role:
            self.open(role)
        self.everythingArrives()
        self.decide(Role.SERVER, accept=True)

    # The network.

    @rule(role=SIDES, limit=st.sampled_from([0, 1, 1000, 20_000, PLENTY]))
    def carry(self, role: Role, limit: int) -> None:
        side = self.sides[role]
        data = side.core.dataToSend(self.now, limit)
        side.take(side.core.takeEvents(), self.now)
        if data:
            self.sides[role.peer].inbound.append(data)

    @rule(role=SIDES, count=st.sampled_from([1, 7, 600, 17_000, PLENTY]))
    def arrive(self, role: Role, count: int) -> None:
        side = self.sides[role]
        while side.inbound and count > 0:
            data = side.inbound.popleft()
            if len(data) > count:
                side.inbound.appendleft(data[count:])
                data = data[:count]
            count -= len(data)
            side.take(side.core.receiveData(data, self.now), self.now)

    @rule()
    def everythingArrives(self) -> None:
        for _ in range(MANY):
            if not any(side.inbound or side.core.hasDataToSend for side in self.sides.values()):
                return
            for role in Role:
                self.carry(role, PLENTY)
                self.arrive(role, PLENTY)
        raise AssertionError("it does not come to rest")

    @rule(step=st.sampled_from([0.001, 0.1, 5.0]))
    def timePasses(self, step: float) -> None:
        self.now += step

    # The programs.

    @rule(role=SIDES)
    def open(self, role: Role) -> None:
        side = self.sides[role]
        if side.core.state is State.ESTABLISHED:
            try:
                side.known.append(side.core.openStream("x", self.now))
            except LocalProtocolError as error:
                assert error.code is ErrorCode.TOO_MANY_STREAMS

    @rule(role=SIDES, accept=st.sampled_from([True, True, False]))
    def decide(self, role: Role, accept: bool) -> None:
        side = self.sides[role]
        if accept:
            side.decide(self.now)
        for number in side.asked:
            side.core.stopStream(number, StopCode.NOT_TAKEN)
            side.over.add(number)
        side.asked = []

    @rule(role=SIDES, which=WHICH, size=st.sampled_from([1, 100, 500, 20_000]))
    def send(self, role: Role, which: int, size: int) -> None:
        side, number = self.sides[role], self.sides[role].pick(which)
        if number is None or number in side.over:
            return
        self.counter += 1
        data = (b"%08d" % self.counter * (size // 8 + 1))[:size]
        if side.core.sendStream(number, data):
            assert number not in side.ending
            side.sent[number] += data

    @rule(role=SIDES, size=st.sampled_from([0, 1, 500, 40_000]))
    def say(self, role: Role, size: int) -> None:
        side = self.sides[role]
        message = bytes(size)
        if side.core.state in WRITABLE_STATES and side.core.sendMessage(message):
            side.messages.append(message)

    @rule(role=SIDES, which=WHICH)
    def hold(self, role: Role, which: int) -> None:
        side, number = self.sides[role], self.sides[role].pick(which)
        side.core.hold()
        if number is not None:
            side.core.holdStream(number)

    @rule(role=SIDES)
    def release(self, role: Role) -> None:
        self.sides[role].release(self.now)

    @rule(role=SIDES, which=WHICH)
    def end(self, role: Role, which: int) -> None:
        side, number = self.sides[role], self.sides[role].pick(which)
        if number is not None and side.core.state in WRITABLE_STATES:
            side.core.endStream(number)
            side.ending.add(number)

    @rule(role=SIDES, which=WHICH)
    def close(self, role: Role, which: int) -> None:
        """What this side has sent still arrives; what the other one sends is of no use."""
        side, number = self.sides[role], self.sides[role].pick(which)
        if number is not None and number not in side.over:
            side.over.add(number)
            side.ending.add(number)
            side.take(side.core.closeStream(number, self.now), self.now)

    @rule(role=SIDES, which=WHICH)
    def stop(self, role: Role, which: int) -> None:
        side, number = self.sides[role], self.sides[role].pick(which)
        if number is not None and number not in side.over:
            side.core.stopStream(number, StopCode.FAILED)
            side.over.add(number)
            self.cut.add(number)

    @precondition(lambda self: self.counter > 2)
    @rule()
    def goodbye(self) -> None:
        client = self.sides[Role.CLIENT]
        if client.core.state is State.ESTABLISHED:
            client.take(client.core.goodbye(self.now), self.now)

    @precondition(lambda self: self.counter > 2)
    @rule()
    def goAway(self) -> None:
        server = self.sides[Role.SERVER]
        if server.core.state is State.ESTABLISHED:
            server.take(server.core.goAway(EndReason.CLOSING, self.now, 1e6), self.now)

    # What holds.

    @invariant()
    def inOrder(self) -> None:
        """What a side got is a beginning of what the other one sent."""
        for role, side in self.sides.items():
            other = self.sides[role.peer]
            for number, octets in side.got.items():
                assert other.sent[number].startswith(octets)
            assert side.told == other.messages[: len(side.told)]

    @invariant()
    def withinWindows(self) -> None:
        """What is held is no more than what was granted, and windows are within the budget."""
        for side in self.sides.values():
            streams = side.core._streams.open.values()
            for inbox, window in (
                (side.core._inbox, side.core._window),
                *((each.inbox, each.window) for each in streams),
            ):
                if window is not None:
                    most = window.granted - window._consumed
                    octets = most * (RECORD_COST + DATA_HEADER) / RECORD_COST
                    assert inbox.held <= octets + FAREWELL
        assert self.budget.reserved >= 0

    @invariant()
    def counted(self) -> None:
        """What waits in inboxes and in lanes is counted as it comes and goes."""
        for side in self.sides.values():
            core = side.core
            inboxes = [core._inbox, *(each.inbox for each in core._streams.open.values())]
            waiting = sum(each.held + len(each._begun or b"") for each in inboxes)
            assert core._tally.octets == waiting
            lanes = [core._outbox.main, *(core._outbox._lanes or {}).values()]
            queued = sum(RECORD_COST * len(each._queue or ()) + each.queued for each in lanes)
            assert core._outbox.held == sum(each.held for each in lanes) == queued

    @invariant()
    def nobodyBreaksRules(self) -> None:
        """Two sides that run this code find no error in each other, and end by a goodbye."""
        for side in self.sides.values():
            termination = side.core.termination
            assert termination is None or termination.clean, termination

    def teardown(self) -> None:
        """Left alone, all arrives; then the session says goodbye, and nothing is left."""
        if not self.sides:
            return
        self.settle()
        for role, side in self.sides.items():
            other = self.sides[role.peer]
            assert other.told == side.messages
            for number, octets in side.sent.items():
                if number in other.known and number not in other.over | self.cut:
                    assert other.got[number] == octets, number
                    if number in side.ending and not side.ends:
                        assert number in other.ended, number
        client = self.sides[Role.CLIENT]
        if client.core.state is State.ESTABLISHED:
            client.take(client.core.goodbye(self.now), self.now)
        self.settle()
        for side in self.sides.values():
            assert side.core.termination is not None, side.core.state
            assert side.core._streams.open == {}
        self.nobodyBreaksRules()
        assert self.budget.reserved == 0

    def settle(self) -> None:
        """Accept, release and carry until nothing moves."""
        for _ in range(MANY):
            moved = False
            for role, side in self.sides.items():
                side.decide(self.now)
                side.release(self.now)
                moved = moved or side.core.hasDataToSend or bool(side.inbound)
                self.carry(role, PLENTY)
                self.arrive(role, PLENTY)
            if not moved:
                return
        raise AssertionError("it does not come to rest")


class TalkTests(TestCase):
    """Honest networks."""

    def test_anyTalk(self) -> None:
        """
        Whatever is opened, sent, held, released, ended, closed and stopped in whatever order and
        however cut, each stream's octets arrive in order and whole, no more than the windows is
        held, nobody is refused, and the session ends.
        """
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            Talk,
            settings=settings(
                max_examples=150,
                stateful_step_count=60,
                suppress_health_check=list(HealthCheck),
            ),
        )

"""Liveness: schedules, deadlines, late before dead, stalls, and hundreds of beats."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.helpers import (
    PLENTY,
    Eavesdropper,
    Told,
    clientSettings,
    ending,
    establishedPair,
    give,
    makePair,
    only,
    pump,
    runTimers,
    sendTo,
    serverSettings,
)
from thing.core.client import ClientConnection
from thing.core.heartbeat import (
    LATE_TOLERANCE,
    STILL_GRACE,
    Deadline,
    Pulse,
    TtlPolicy,
    Verdict,
    Watch,
    checkSchedule,
    toMilliseconds,
)
from thing.core.messages import CHB, MAX_TTL, MIN_INTERVAL, MIN_TTL, SFL, SUU, UNKNOWN_RTT
from thing.core.server import ServerConnection
from thing.core.states import State
from thing.errors import EndReason, ErrorCode, LocalProtocolError, RemoteProtocolError
from thing.events import (
    Cause,
    Event,
    HeartbeatAcknowledged,
    HeartbeatLate,
    HeartbeatReceived,
    HeartbeatSent,
    LastWordReceived,
    MessageReceived,
    RequestReceived,
    StreamData,
    StreamEnded,
    Terminated,
)


class TtlPolicyTests(TestCase):
    """What is granted."""

    def test_default(self) -> None:
        """A client that does not ask gets the default."""
        self.assertEqual(TtlPolicy().grant(None, 1), 30.0)

    def test_asked(self) -> None:
        """A client gets what it asks for, within the limits."""
        policy = TtlPolicy(minimum=5.0, default=10.0, maximum=60.0)
        for asked, granted in ((20.0, 20.0), (1.0, 5.0), (600.0, 60.0)):
            self.assertEqual(policy.grant(asked, 1), granted)

    def test_stretched(self) -> None:
        """A large fleet gets a TTL that keeps its beats within what the server takes."""
        policy = TtlPolicy(default=10.0, maximum=100.0, beatsPerSecond=300.0)
        self.assertEqual(policy.grant(None, 1000), 10.0)
        self.assertEqual(policy.grant(None, 2000), 20.0)
        self.assertEqual(policy.grant(1.0, 2000), 20.0)
        self.assertEqual(policy.grant(None, 10**6), 100.0)

    def test_misfits(self) -> None:
        """Numbers that do not fit together are refused loudly, and the message has them."""
        for numbers in (
            {"minimum": 0.05},
            {"minimum": 40.0},
            {"maximum": 20.0},
            {"maximum": MAX_TTL / 1000 + 1},
            {"beatsPerSecond": 0.0},
            {"default": float("nan")},
        ):
            error = self.assertRaises(LocalProtocolError, TtlPolicy, **numbers)
            self.assertIs(error.code, ErrorCode.BAD_ARGUMENT)
            self.assertIn("TTL", str(error))

    @given(
        st.none() | st.floats(0.1, MAX_TTL / 1000),
        st.integers(0, 10**7),
        st.floats(0.1, 1e4),
        st.floats(0.1, 1e6),
    )
    def test_alwaysLegal(
        self, asked: float | None, sessions: int, minimum: float, beatsPerSecond: float
    ) -> None:
        """Whatever is asked of whatever fleet, the grant is one that a client accepts."""
        policy = TtlPolicy(
            minimum=minimum,
            default=minimum,
            maximum=max(minimum, 3600.0),
            beatsPerSecond=beatsPerSecond,
        )
        ttl = policy.grant(asked, sessions)
        self.assertTrue(policy.minimum <= ttl <= policy.maximum)
        checkSchedule(toMilliseconds(ttl), toMilliseconds(ttl / 3))


class ScheduleTests(TestCase):
    """TTLs and intervals on the wire."""

    def test_toMilliseconds(self) -> None:
        """Durations are rounded to whole milliseconds within an unsigned 32-bit integer."""
        for seconds, milliseconds in ((1.0, 1000), (0.0336, 34), (-1.0, 0), (1e9, 0xFFFFFFFF)):
            self.assertEqual(toMilliseconds(seconds), milliseconds)

    def test_bounds(self) -> None:
        """The bounds are inclusive, and an interval is at most half of its TTL."""
        for ttl, interval in (
            (MIN_TTL, MIN_INTERVAL),
            (MIN_TTL, MIN_TTL // 2),
            (MAX_TTL, MAX_TTL // 2),
        ):
            checkSchedule(ttl, interval)
        for ttl, interval in (
            (MIN_TTL - 1, MIN_INTERVAL),
            (MAX_TTL + 1, 1000),
            (MIN_TTL, MIN_INTERVAL - 1),
            (MIN_TTL, MIN_TTL // 2 + 1),
            (0, 0),
            (0xFFFFFFFF, 0xFFFFFFFF),
        ):
            error = self.assertRaises(RemoteProtocolError, checkSchedule, ttl, interval)
            self.assertIs(error.code, ErrorCode.TTL_OUT_OF_BOUNDS)


class DeadlineTests(TestCase):
    """A moment, and fairness."""

    def test_early(self) -> None:
        """Before its moment a deadline is not over, and does not move."""
        deadline = Deadline(10.0, 10.0)
        self.assertFalse(deadline.expired(9.999))
        self.assertEqual(deadline.due, 10.0)

    def test_onTime(self) -> None:
        """Seen on time it earns one more look at once, and is then over."""
        deadline = Deadline(10.0, 10.0)
        self.assertFalse(deadline.expired(10.0))
        self.assertEqual(deadline.due, 10.0)
        self.assertTrue(deadline.expired(10.0))

    def test_late(self) -> None:
        """Seen late it is put off by as much as it was late."""
        deadline = Deadline(10.0, 10.0)
        self.assertFalse(deadline.expired(13.0))
        self.assertEqual(deadline.due, 16.0)
        self.assertFalse(deadline.expired(15.9))
        self.assertTrue(deadline.expired(16.0))

    def test_lateAgain(self) -> None:
        """Seen late each time it is put off each time, up to its patience."""
        deadline = Deadline(10.0, 5.0)
        self.assertFalse(deadline.expired(13.0))  # 3 s late: due at 16, at 18 at the latest.
        self.assertFalse(deadline.expired(17.0))  # 1 s late: due at 18.
        self.assertEqual(deadline.due, 18.0)
        self.assertTrue(deadline.expired(18.0))

    def test_patience(self) -> None:
        """However late it is seen, it is put off by no more than its patience."""
        deadline = Deadline(10.0, 5.0)
        self.assertFalse(deadline.expired(1000.0))
        self.assertEqual(deadline.due, 1005.0)

    def test_noPatience(self) -> None:
        """Without patience a late look still earns one pass, and no more."""
        deadline = Deadline(10.0, 0.0)
        self.assertFalse(deadline.expired(1000.0))
        self.assertTrue(deadline.expired(1000.0))

    def test_tolerance(self) -> None:
        """A timer's ordinary delay is not lateness."""
        deadline = Deadline(10.0, 10.0)
        self.assertFalse(deadline.expired(10.0))
        self.assertTrue(deadline.expired(10.0 + LATE_TOLERANCE / 2))

    def test_set(self) -> None:
        """Set anew it has forgotten all."""
        deadline = Deadline(10.0, 5.0)
        deadline.expired(1000.0)
        deadline.set(2000.0, 5.0)
        self.assertFalse(deadline.expired(2000.0))
        self.assertTrue(deadline.expired(2000.0))

    @given(st.lists(st.floats(0.0, 20.0), max_size=30), st.floats(0.1, 20.0))
    def test_endsInTime(self, lags: list[float], patience: float) -> None:
        """However its looks are delayed, it is over within its patience after the first."""
        deadline = Deadline(10.0, patience)
        delays = iter([*lags, *[0.0] * 10])
        first = now = deadline.due + next(delays)
        while not deadline.expired(now):
            self.assertLessEqual(deadline.due, first + patience)
            now = deadline.due + next(delays)


def checks(watch: Watch, until: float, lag: float = 0.0) -> Iterator[tuple[float, Verdict]]:
    """Check a watch whenever it asks, always that much late; all verdicts but ALIVE."""
    now = 0.0
    while (due := watch.nextCheck) <= until:
        now = max(now, due + lag)
        verdict = watch.check(now)
        if verdict is not Verdict.ALIVE:
            yield now, verdict
        if verdict is Verdict.DEAD:
            return


class WatchTests(TestCase):
    """One peer's silence."""

    def test_lateThenDead(self) -> None:
        """A silent peer is late after half a TTL, once, and dead after a whole one."""
        self.assertEqual(
            list(checks(Watch(10.0, 0.0), 100.0)), [(5.0, Verdict.LATE), (10.0, Verdict.DEAD)]
        )

    def test_renewed(self) -> None:
        """A sign of life starts a whole TTL anew, counted from its own time."""
        watch = Watch(10.0, 0.0)
        watch.renew(4.0, 10.0)
        self.assertEqual(list(checks(watch, 100.0)), [(9.0, Verdict.LATE), (14.0, Verdict.DEAD)])

    def test_notAdded(self) -> None:
        """Signs of life do not add up: after a thousand at once a TTL is still a TTL."""
        watch = Watch(10.0, 0.0)
        for _ in range(1000):
            watch.renew(1.0, 10.0)
        self.assertEqual(list(checks(watch, 100.0))[-1], (11.0, Verdict.DEAD))

    def test_anotherTtl(self) -> None:
        """A renewal may change the TTL, both ways."""
        for ttl in (2.0, 60.0):
            watch = Watch(10.0, 0.0)
            watch.renew(1.0, ttl)
            self.assertEqual(
                list(checks(watch, 100.0)),
                [(1.0 + ttl / 2, Verdict.LATE), (1.0 + ttl, Verdict.DEAD)],
            )

    def test_lateAgain(self) -> None:
        """After a renewal a peer may be late again."""
        watch = Watch(10.0, 0.0)
        self.assertIs(watch.check(5.0), Verdict.LATE)
        self.assertIs(watch.check(6.0), Verdict.ALIVE)
        watch.renew(6.0, 10.0)
        self.assertIs(watch.check(11.0), Verdict.LATE)

    def test_lateBeforeDead(self) -> None:
        """However late it is checked, a peer is never dead before it was late."""
        for lag in (0.0, 0.01, 1.0, 7.0, 50.0):
            verdicts = [verdict for _, verdict in checks(Watch(10.0, 0.0), 1000.0, lag)]
            self.assertEqual(verdicts, [Verdict.LATE, Verdict.DEAD])

    def test_stalled(self) -> None:
        """After a stall of its own the watch gives the peer a pass, then a grace as long."""
        watch = Watch(10.0, 0.0)
        self.assertIs(watch.check(13.0), Verdict.LATE)
        self.assertEqual(watch.nextCheck, 16.0)
        watch.renew(13.0, 10.0)  # The pass brought what had come in the meantime.
        self.assertEqual(list(checks(watch, 100.0))[-1], (23.0, Verdict.DEAD))

    def test_stalledAndSilent(self) -> None:
        """A peer that stays silent after a stall is dead within the grace."""
        watch = Watch(10.0, 0.0)
        watch.check(13.0)
        self.assertEqual(list(checks(watch, 100.0)), [(16.0, Verdict.DEAD)])

    def test_stoodStill(self) -> None:
        """Who did not see half a TTL pass gives a moment, though it is back at the deadline."""
        for patient in (True, False):
            for at in (10.0, 10.25):
                watch = Watch(10.0, 0.0, patient)
                self.assertIs(watch.check(at), Verdict.LATE)
                self.assertEqual(watch.nextCheck, at + STILL_GRACE)
                self.assertIs(watch.check(at + STILL_GRACE), Verdict.DEAD)

    def test_impatient(self) -> None:
        """An impatient watch gives a grace of a moment after its own stall, however long."""
        watch = Watch(10.0, 0.0, patient=False)
        self.assertIs(watch.check(25.0), Verdict.LATE)
        self.assertEqual(watch.nextCheck, 25.0 + STILL_GRACE)
        self.assertIs(watch.check(25.0 + STILL_GRACE), Verdict.DEAD)
        watch = Watch(10.0, 0.0, patient=False)
        watch.check(25.0)
        watch.renew(25.5, 10.0)  # The moment brought an acknowledgement.
        self.assertEqual(list(checks(watch, 100.0))[-1], (35.5, Verdict.DEAD))

    def test_impatientAndAwake(self) -> None:
        """Who saw half a TTL pass gives as much as it is late; and never more than the TTL."""
        for lag in (0.0, 0.04, 0.25, 5.0):
            watch = Watch(10.0, 0.0, patient=False)
            self.assertIs(watch.check(5.0), Verdict.LATE)
            self.assertIs(watch.check(10.0 + lag), Verdict.ALIVE)
            self.assertAlmostEqual(watch.nextCheck, 10.0 + lag + min(lag, STILL_GRACE))
        watch = Watch(0.5, 0.0, patient=False)
        watch.check(25.0)
        self.assertEqual(watch.nextCheck, 25.5)

    def test_deadInTime(self) -> None:
        """With a driver that is always late, death is still found within two TTLs and a bit."""
        for lag in (0.04, 0.06, 1.0):
            when, verdict = list(checks(Watch(10.0, 0.0), 1000.0, lag))[-1]
            self.assertIs(verdict, Verdict.DEAD)
            self.assertLessEqual(when, 20.0 + 2 * lag)

    def test_remaining(self) -> None:
        """Nobody has less than no time left."""
        self.assertEqual(Watch(10.0, 0.0).remaining(11.0), 0.0)

    @given(st.lists(st.tuples(st.floats(0.0, 30.0), st.booleans()), max_size=40))
    def test_healthyPeerLives(self, steps: list[tuple[float, bool]]) -> None:
        """A peer whose sign of life is read in each pass is never dead, whatever the stalls."""
        watch = Watch(10.0, 0.0)
        now = 0.0
        for step, timerFirst in steps:
            now += step
            if timerFirst:
                self.assertIsNot(watch.check(now), Verdict.DEAD)
            watch.renew(now, 10.0)
            self.assertIs(watch.check(now), Verdict.ALIVE)


class PulseTests(TestCase):
    """The client's beats."""

    def test_numbers(self) -> None:
        """Beats are numbered from one, and the first has no round-trip time to tell."""
        pulse = Pulse()
        self.assertEqual(pulse.beat(1.0), CHB(1, UNKNOWN_RTT))
        self.assertEqual(pulse.acknowledged(SUU(1, 30000, 10000), 1.25), 0.25)
        self.assertEqual(pulse.beat(2.0), CHB(2, 250_000))

    def test_oneOutstanding(self) -> None:
        """No beat is made while one is not acknowledged."""
        pulse = Pulse()
        pulse.beat(1.0)
        self.assertIsNone(pulse.beat(2.0))

    def test_longRoundTrip(self) -> None:
        """A round-trip time that does not fit its field is told as unknown."""
        pulse = Pulse()
        pulse.beat(0.0)
        pulse.acknowledged(SUU(1, 30000, 10000), 5000.0)
        self.assertEqual(pulse.beat(6000.0), CHB(2, UNKNOWN_RTT))

    def test_wrongAcknowledgements(self) -> None:
        """Only the outstanding beat is acknowledged, and only once."""
        pulse = Pulse()
        for sequence in (0, 1):
            self.assertRefused(ErrorCode.HEARTBEAT_SEQUENCE, pulse, SUU(sequence, 30000, 10000))
        pulse.beat(0.0)
        for sequence in (0, 2):
            self.assertRefused(ErrorCode.HEARTBEAT_SEQUENCE, pulse, SUU(sequence, 30000, 10000))
        pulse.acknowledged(SUU(1, 30000, 10000), 0.0)
        self.assertRefused(ErrorCode.HEARTBEAT_SEQUENCE, pulse, SUU(1, 30000, 10000))

    def test_wrongSchedule(self) -> None:
        """An acknowledgement with a TTL out of bounds is refused."""
        pulse = Pulse()
        pulse.beat(0.0)
        self.assertRefused(ErrorCode.TTL_OUT_OF_BOUNDS, pulse, SUU(1, 1, 1))

    def beats(self, pulse: Pulse, until: float, interval: int = 4000) -> list[float]:
        """When a pulse beats that is asked each half second, and acknowledged at once."""
        sent = []
        for half in range(int(until * 2) + 1):
            chb = pulse.keepTime(now := half / 2)
            if chb is not None:
                sent.append(now)
                pulse.acknowledged(SUU(chb.sequence, 3 * interval, interval), now)
        return sent

    def test_schedule(self) -> None:
        """The first comes somewhere in the first interval, the others one interval apart."""
        for jitter in (0.0, 0.25, 0.75):
            pulse = Pulse()
            pulse.begin(0.0, 4.0, jitter)
            first = 4.0 * jitter
            self.assertEqual(self.beats(pulse, 15), [first + 4.0 * beat for beat in range(4)])

    def test_notBegun(self) -> None:
        """Before the session is up nothing is due."""
        self.assertIsNone(Pulse().keepTime(1e9))

    def test_otherInterval(self) -> None:
        """Another interval counts from the last beat, whether it is longer or shorter."""
        for interval, following in ((6000, [7.0, 13.0, 19.0]), (2000, [3.0, 5.0, 7.0])):
            pulse = Pulse()
            pulse.begin(0.0, 4.0, 0.25)
            self.assertEqual(self.beats(pulse, 20, interval)[:4], [1.0, *following])

    def test_otherIntervalTooLate(self) -> None:
        """An interval by which the next beat is overdue has it sent at once."""
        pulse = Pulse()
        pulse.begin(0.0, 4.0, 0.25)
        pulse.keepTime(1.0)
        pulse.acknowledged(SUU(1, 6000, 2000), 4.5)
        self.assertEqual(pulse.due, 4.5)

    def test_missed(self) -> None:
        """What was missed in a stall is not made up for, and the schedule stays as it was."""
        pulse = Pulse()
        pulse.begin(0.0, 4.0, 0.25)
        self.assertEqual(pulse.keepTime(10.0), CHB(1, UNKNOWN_RTT))
        self.assertEqual(pulse.due, 13.0)
        self.assertIsNone(pulse.keepTime(13.0))  # One is outstanding; the schedule goes on.
        self.assertEqual(pulse.due, 17.0)

    def answers(self, roundTrip: float) -> list[float]:
        """When answers come on a path that is so long; the TTL is 12 s, the interval 4 s."""
        pulse = Pulse()
        pulse.begin(0.0, 4.0, 0.25)
        found: list[float] = []
        pending = math.inf
        while (now := min(pulse.due, pending)) < 200.0:
            if now == pending:
                found.append(now)
                pulse.acknowledged(SUU(len(found), 12000, 4000), now)
                pending = math.inf
            if pulse.keepTime(now) is not None:
                pending = now + roundTrip
        return found

    def test_longWay(self) -> None:
        """
        Answers never come a TTL apart on a path whose round trip is shorter: where it takes more
        than half of one the next beat waits for no time of its own. Else the schedule holds.
        """
        for roundTrip in (0.5, 3.875, 4.125, 5.875, 6.125, 7.875, 8.125, 10.0, 11.875):
            found = self.answers(roundTrip)
            gaps = [later - earlier for earlier, later in itertools.pairwise(found)]
            self.assertGreater(len(gaps), 12)
            self.assertLess(max(gaps), 12.0, roundTrip)
            if roundTrip < 6.0:
                self.assertEqual({(at - roundTrip) % 4.0 for at in found}, {1.0})

    def assertRefused(self, code: ErrorCode, pulse: Pulse, suu: SUU) -> None:
        error = self.assertRaises(RemoteProtocolError, pulse.acknowledged, suu, 1.0)
        self.assertIs(error.code, code)


def live(
    client: ClientConnection, server: ServerConnection, until: float, silent: bool = False
) -> Told:
    """An idle session on a perfect network, whose drivers are on time; or a client's is gone."""
    told = Told()
    sides = (server,) if silent else (client, server)
    while True:
        due = [side.nextDeadline for side in sides]
        now = min((moment for moment in due if moment is not None), default=until)
        if now >= until:
            return told
        for side in sides:
            if side.nextDeadline is not None and side.nextDeadline <= now:
                told.by(side.role).extend(side.handleTimer(now))
        more = pump(client, server, now)
        told.client += more.client
        told.server += more.server


class SessionTests(TestCase):
    """Heartbeats of a whole session."""

    def test_hundredsOfBeats(self) -> None:
        """After hundreds of beats a silence is still noticed within one TTL."""
        client, server = establishedPair()
        told = live(client, server, 5000.0)
        self.assertEqual(len(only(HeartbeatReceived, told.server)), 500)
        self.assertEqual(len(only(HeartbeatAcknowledged, told.client)), 500)
        self.assertEqual(only(HeartbeatLate, told.client + told.server), [])
        last = 4995.0
        told = live(client, server, 6000.0, silent=True)
        self.assertEqual(only(HeartbeatLate, told.server), [HeartbeatLate(15.0)])
        termination = ending(told.server)
        self.assertEqual(
            (termination.cause, termination.reason, termination.lastHeartbeat),
            (Cause.FLAT_LINED, EndReason.HEARTBEAT_MISSED, 500),
        )
        self.assertLessEqual(server._now, last + 30.0)

    def test_deadAtTtl(self) -> None:
        """With timers on time, a silent peer is dead at the TTL, not before and not after."""
        client, server = establishedPair()
        self.assertEqual([when for when, _ in runTimers(server, 0.0, 100.0)], [15.0, 30.0])
        told = runTimers(client, 0.0, 100.0)
        self.assertIsInstance(told[0][1], HeartbeatSent)
        self.assertEqual([when for when, _ in told], [5.0, 15.0, 30.0])

    def test_serverFlatLines(self) -> None:
        """The server tells the client why it ends the session, and which beat came last."""
        client, server = establishedPair()
        client.beat(1.0)
        pump(client, server, 1.0)
        listener = Eavesdropper(server)
        termination = ending(event for _, event in runTimers(server, 1.0, 100.0))
        self.assertIs(termination.cause, Cause.FLAT_LINED)
        data = server.dataToSend(31.0, 0)
        self.assertEqual(listener.read(data), [SFL(1, EndReason.HEARTBEAT_MISSED)])
        told = ending(client.receiveData(data, 31.0))
        self.assertEqual((told.cause, told.byPeer), (Cause.FLAT_LINED, True))
        self.assertEqual((told.reason, told.lastHeartbeat), (EndReason.HEARTBEAT_MISSED, 1))

    def test_clientLapses(self) -> None:
        """A client that hears nothing for a TTL declares the server lost, without a word."""
        client, _ = establishedPair()
        client.beat(10.0)
        client.dataToSend(10.0, PLENTY)
        told = runTimers(client, 10.0, 100.0)
        self.assertEqual(told[0], (15.0, HeartbeatLate(15.0)))
        self.assertEqual(told[1][0], 30.0)
        self.assertIs(ending([told[1][1]]).cause, Cause.LAPSED)
        self.assertEqual(client.dataToSend(30.0, PLENTY), b"")

    def test_onlyHeartbeatsRenew(self) -> None:
        """Data is no heartbeat: a client that only talks is flat-lined."""
        client, server = establishedPair()
        for second in range(1, 30):
            client.sendMessage(b"data")
            give(server, client.dataToSend(float(second), PLENTY), float(second))
        self.assertEqual([when for when, _ in runTimers(server, 29.0, 100.0)], [29.0, 30.0])
        self.assertIs(server.state, State.ENDED)

    def test_stallKeepsHealthyPeer(self) -> None:
        """
        A stall of the whole process, longer than the TTL, ends no session.

        The timers run first, before what came in meanwhile is read; that is
        the order which kills sessions with plain timeouts.
        """
        client, server = establishedPair(grant=lambda requested: 1.0)
        client.beat(0.3)
        beat = client.dataToSend(0.3, PLENTY)
        for stalled in (2.8, 30.0):
            for side in (client, server):
                self.assertEqual(only(Terminated, side.handleTimer(stalled)), [])
            give(server, beat, stalled)
            pump(client, server, stalled)
            client.beat(stalled)
            beat = client.dataToSend(stalled, PLENTY)
        for side in (client, server):
            self.assertIs(side.state, State.ESTABLISHED)

    def test_stallDoesNotKeepTheDead(self) -> None:
        """After a stall a peer that is truly gone is found within the grace."""
        _, server = establishedPair(grant=lambda requested: 1.0)
        self.assertEqual(only(Terminated, server.handleTimer(2.5)), [])
        told = runTimers(server, 2.5, 100.0)
        self.assertLessEqual(told[-1][0], 2.5 + 1.0)
        self.assertIs(server.state, State.ENDED)

    def test_heartbeatsGoFirst(self) -> None:
        """A heartbeat and its acknowledgement wait behind no queued data."""
        client, server = establishedPair(server=serverSettings(maxMessage=1 << 24))
        client.sendMessage(bytes(4 << 20))
        server.sendMessage(bytes(4 << 20))
        give(server, client.dataToSend(0.0, 1), 0.0)
        client.beat(1.0)
        events = give(server, client.dataToSend(1.0, 1), 1.0)
        self.assertEqual(events, [HeartbeatReceived(1, None, 30.0)])
        (acknowledged,) = give(client, server.dataToSend(1.5, 1), 1.5)
        self.assertEqual(acknowledged, HeartbeatAcknowledged(1, 0.5, 30.0, 10.0))
        self.assertEqual(client.roundTripTime, 0.5)

    def test_stretched(self) -> None:
        """A server may grant another TTL with each heartbeat, and both sides go by it."""
        grants = iter((30.0, 60.0))
        client, server = establishedPair(grant=lambda requested: next(grants))
        client.beat(10.0)
        told = pump(client, server, 10.0)
        (acknowledged,) = told.client
        assert isinstance(acknowledged, HeartbeatAcknowledged)
        self.assertEqual((acknowledged.ttl, acknowledged.interval), (60.0, 20.0))
        for side in (client, server):
            self.assertEqual(runTimers(side, 10.0, 100.0)[-1][0], 70.0)

    def test_roundTripIsTold(self) -> None:
        """The server learns the round-trip time that the client measured last."""
        client, server = establishedPair()
        for now in (1.0, 2.0):
            client.beat(now)
            give(server, client.dataToSend(now, PLENTY), now + 0.1)
            give(client, server.dataToSend(now + 0.1, PLENTY), now + 0.25)
        client.beat(3.0)
        (received,) = give(server, client.dataToSend(3.0, PLENTY), 3.0)
        assert isinstance(received, HeartbeatReceived)
        self.assertAlmostEqual(received.roundTripTime or 0.0, 0.25)

    def test_wrongSequence(self) -> None:
        """A heartbeat whose number is not the next ends the session."""
        for sequence in (0, 2, 1 << 63):
            _, server = establishedPair()
            termination = ending(sendTo(server, CHB(sequence)))
            self.assertIs(termination.code, ErrorCode.HEARTBEAT_SEQUENCE)

    def test_replayedNumber(self) -> None:
        """A heartbeat whose number was there before ends the session."""
        client, server = establishedPair()
        client.beat(0.0)
        pump(client, server)
        self.assertIs(ending(sendTo(server, CHB(1))).code, ErrorCode.HEARTBEAT_SEQUENCE)

    def test_twoOutstanding(self) -> None:
        """A client that does not wait for its acknowledgement is refused."""
        _, server = establishedPair()
        sendTo(server, CHB(1))
        self.assertIs(ending(sendTo(server, CHB(2))).code, ErrorCode.HEARTBEAT_OUTSTANDING)

    def test_wrongAcknowledgement(self) -> None:
        """An acknowledgement that nobody waits for ends the session."""
        client, _ = establishedPair()
        termination = ending(sendTo(client, SUU(1, 30000, 10000)))
        self.assertIs(termination.code, ErrorCode.HEARTBEAT_SEQUENCE)

    def test_acknowledgedOutOfBounds(self) -> None:
        """An acknowledgement that grants what may not be granted ends the session."""
        client, _ = establishedPair()
        client.beat(0.0)
        termination = ending(sendTo(client, SUU(1, MAX_TTL + 1, 10000)))
        self.assertIs(termination.code, ErrorCode.TTL_OUT_OF_BOUNDS)

    def test_beatIsOneAtATime(self) -> None:
        """A beat while one is outstanding is no beat."""
        client, _ = establishedPair()
        client.beat(0.0)
        client.dataToSend(0.0, PLENTY)
        client.beat(1.0)
        self.assertFalse(client.hasDataToSend)


class LongPauseTests(TestCase):
    """No pause costs a session: a side reads whatever its application does."""

    TTL = 3.0

    def pair(self) -> tuple[ClientConnection, ServerConnection]:
        """A session whose close takes no longer than the pauses here."""
        return establishedPair(
            clientSettings(closeTimeout=1000.0),
            serverSettings(closeTimeout=1000.0),
            grant=lambda requested: self.TTL,
        )

    def pause(self, client: ClientConnection, server: ServerConnection, start: float) -> float:
        """
        Let ten TTLs pass on a perfect network, with beats and drivers that are on time.

        :return: the time at the end.
        """
        client.beat(start)
        pump(client, server, start)
        told = live(client, server, start, start + 10 * self.TTL)
        late = only(HeartbeatLate, told.client + told.server)
        self.assertEqual(late + only(Terminated, told.client + told.server), [])
        return start + 10 * self.TTL

    def test_everythingHeld(self) -> None:
        """With nothing, data, requests, replies, last words or streams behind it, both ways."""
        client, server = self.pair()
        number = client.openStream("test", 0.0)
        pump(client, server)
        server.acceptStream(number)
        for side in (client, server):
            side.hold()
            side.holdStream(number)
        now = self.pause(client, server, 0.0)
        for side in (client, server):
            side.sendMessage(bytes(200_000))
            side.request(b"question")
            side.sendStream(number, bytes(200_000))
            side.endStream(number)
        client.setLastWord(b"gone")
        now = self.pause(client, server, now)
        for side in (client, server):
            self.assertLess(side._inbox.held, 2 * side._limits.capacity.mainCredit)
            self.assertIs(side.state, State.ESTABLISHED)
        got: list[Event] = []
        for _ in range(2):
            for side in (client, server):
                got += side.release(now)
                got += side.releaseStream(number, now)
            told = pump(client, server, now)
            got += told.client + told.server
        self.assertEqual([event.data for event in only(MessageReceived, got)], [bytes(200_000)] * 2)
        self.assertEqual(sum(len(event.data) for event in only(StreamData, got)), 400_000)
        self.assertEqual(len(only(RequestReceived, got)), 2)
        self.assertEqual(len(only(StreamEnded, got)), 2)
        self.assertEqual(len(only(LastWordReceived, got)), 1)

    def test_beforeEstablished(self) -> None:
        """A program that holds before its session is up may do so as long."""
        client, server = makePair(grant=lambda requested: self.TTL)
        for side in (client, server):
            side.hold()
        pump(client, server)
        client.sendMessage(b"held")
        now = self.pause(client, server, 0.0)
        self.assertEqual([*server.release(now)], [MessageReceived(b"held")])

    def test_goodbyeHeld(self) -> None:
        """A goodbye waits behind what is held as long as the one who says it will."""
        for states in ((State.AWAIT_SGB, State.ESTABLISHED), (State.AWAIT_SGB, State.AWAIT_CFL)):
            client, server = self.pair()
            if states[1] is State.ESTABLISHED:
                server.hold()
                client.sendMessage(b"held")
            else:
                client.hold()
                server.sendMessage(b"held")
            client.goodbye(0.0)
            now = self.pause(client, server, 0.0)
            self.assertEqual((client.state, server.state), states)
            events = [*server.release(now), *client.release(now)]
            told = pump(client, server, now)
            self.assertEqual(only(MessageReceived, events), [MessageReceived(b"held")])
            self.assertTrue(ending(events + told.client).clean)
            self.assertTrue(ending(told.server).clean)

    def test_streamHoldsGoodbye(self) -> None:
        """So does what is held in a stream hold it."""
        client, server = self.pair()
        number = client.openStream("test", 0.0)
        pump(client, server)
        server.acceptStream(number)
        server.holdStream(number)
        client.sendStream(number, bytes(200_000))
        client.goodbye(0.0)
        now = self.pause(client, server, 0.0)
        self.assertIs(client.state, State.LEAVING)  # For want of credit.
        events = [*server.releaseStream(number, now)]
        told = pump(client, server, now)
        data = only(StreamData, events + told.server)
        self.assertEqual(sum(len(event.data) for event in data), 200_000)
        self.assertTrue(ending(told.server).clean)

    def test_askedToLeave(self) -> None:
        """A client that was asked to leave and did is in time, though its goodbye is held."""
        client, server = self.pair()
        server.hold()
        client.sendMessage(b"held")
        pump(client, server)
        server.goAway(EndReason.SHUTDOWN, 0.0, grace=1.0)
        now = self.pause(client, server, 0.0)
        self.assertIs(server.state, State.GOING_AWAY)
        events = [*server.release(now)]
        self.assertEqual(only(MessageReceived, events), [MessageReceived(b"held")])
        told = pump(client, server, now)
        self.assertTrue(ending(told.server).clean)
        self.assertTrue(ending(told.client).clean)

    def test_again(self) -> None:
        """A program that takes a little between two pauses lives on, too."""
        client, server = self.pair()
        server.hold()
        client.sendMessage(b"one")
        client.sendMessage(bytes(300_000))
        now = 0.0
        got: list[Event] = []
        while len(got) < 2:
            now = self.pause(client, server, now)
            for event in server.release(now):
                got.append(event)
                server.hold()
            server.hold()
            self.assertLess(now, 100 * 10 * self.TTL)
        self.assertEqual(got, [MessageReceived(b"one"), MessageReceived(bytes(300_000))])

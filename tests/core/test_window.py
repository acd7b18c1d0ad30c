"""Credit: what is granted, spent and consumed; how a window grows with the path, and falls back."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from tests import helpers  # noqa: F401  # The same examples in every run.
from thing.core.window import FEW_RECORDS, MAX_WINDOW, RECORD_COST, Budget, Window
from thing.errors import ErrorCode, RemoteProtocolError

FIRST = 1000
ROUND_TRIP = 1.0
QUICK, SLOW = ROUND_TRIP, 100.0
"""Times from one raise to the next, seconds: a path that is much quicker than what is granted."""


class SpendTests(SynchronousTestCase):
    """What a peer may spend."""

    def test_exactly(self) -> None:
        """All that was granted may be spent, and not an octet more."""
        window = Window(FIRST, 0.0, Budget(0))
        window.spend(FIRST - 1)
        window.spend(1)
        with self.assertRaises(RemoteProtocolError) as caught:
            window.spend(1)
        self.assertIs(caught.exception.code, ErrorCode.CREDIT_EXCEEDED)

    def test_raised(self) -> None:
        """What was consumed may be spent again once a quarter of the window was."""
        window = Window(FIRST, 0.0, Budget(0))
        window.spend(FIRST)
        self.assertIsNone(window.consume(FIRST // 4 - 1, SLOW, ROUND_TRIP))
        self.assertEqual(window.consume(1, SLOW, ROUND_TRIP), FIRST + FIRST // 4)
        window.spend(FIRST // 4)
        self.assertRaises(RemoteProtocolError, window.spend, 1)

    def test_notStuck(self) -> None:
        """A record that cannot be split gets its credit before half of the window is consumed."""
        window = Window(FIRST, 0.0, Budget(0), whole=FIRST)
        window.spend(100)
        self.assertEqual(window.consume(100, SLOW, ROUND_TRIP), FIRST + 100)

    def test_stuckOnlyWhenEmpty(self) -> None:
        """That is not so while something waits: its consumption brings the credit."""
        window = Window(FIRST, 0.0, Budget(0), whole=FIRST)
        window.spend(101)
        self.assertIsNone(window.consume(100, SLOW, ROUND_TRIP))
        self.assertEqual(window.consume(1, SLOW, ROUND_TRIP), FIRST + 101)


class GrowthTests(SynchronousTestCase):
    """How a window follows the path."""

    def turn(self, window: Window, wait: float, roundTrip: float = ROUND_TRIP) -> None:
        """Have the whole window spent and consumed ``wait`` seconds after the last raise."""
        self.now += wait
        size = window.granted - self.spent
        window.spend(size)
        self.spent += size
        window.consume(size, self.now, roundTrip)

    def sizes(self, window: Window, rate: float, roundTrip: float) -> list[int]:
        """The sizes of a window that is filled at this rate, after each of some round trips."""
        sizes = []
        for _ in range(12):
            self.turn(window, max(roundTrip, window.size / rate), roundTrip)
            sizes.append(window.size)
        return sizes

    def setUp(self) -> None:
        """Begin at zero."""
        self.now, self.spent = 0.0, 0

    def test_quick(self) -> None:
        """A window that is consumed in each round trip doubles, up to the most."""
        window = Window(FIRST, 0.0, Budget(1 << 20), most=5 * FIRST)
        sizes = self.sizes(window, 1e9, 0.1)
        self.assertEqual(sizes, [2 * FIRST, 4 * FIRST, *10 * [5 * FIRST]])

    def test_slow(self) -> None:
        """One for which the path takes longer stays: a thin path is not flooded."""
        for rate, roundTrip in ((FIRST / 0.9, 0.1), (FIRST / 4.1, 1.0), (FIRST / 0.02, 0.001)):
            window = Window(FIRST, self.now, Budget(1 << 20))
            self.spent = 0
            self.assertEqual(set(self.sizes(window, rate, roundTrip)), {FIRST})

    def test_queue(self) -> None:
        """It grows to what goes in a round trip and a queue that a heartbeat may wait behind."""
        rate, first = 1 << 20, 1 << 15
        for roundTrip, lasts in ((1.0, 1.5), (0.25, 0.5), (1 / 64, 1 / 8), (1 / 4096, 0.01)):
            window = Window(first, self.now, Budget(1 << 30))
            self.spent = 0
            most = max(first, int(rate * lasts))
            self.assertEqual(self.sizes(window, rate, roundTrip)[-1], most)

    def test_fewRecords(self) -> None:
        """Of a few long records nobody can tell the rate: a small window grows sooner."""
        first = FEW_RECORDS // 3
        window = Window(first, 0.0, Budget(1 << 20))
        for size in (2 * first, 3 * first, 3 * first):
            self.turn(window, 2 * ROUND_TRIP)
            self.assertEqual(window.size, size)

    def test_early(self) -> None:
        """Within a round trip of the look before nobody can tell the rate at all."""
        window = Window(FIRST, 0.0, Budget(1 << 20))
        self.turn(window, ROUND_TRIP / 2)
        self.assertEqual(window.size, FIRST)
        self.turn(window, ROUND_TRIP / 2)
        self.assertEqual(window.size, 2 * FIRST)

    def test_brief(self) -> None:
        """Within 10 milliseconds neither, whatever the peer says of the round trip."""
        for roundTrip in (0.0, 1e-6, 0.001):
            window = Window(FIRST, self.now, Budget(1 << 20))
            self.spent = 0
            for _ in range(9):
                self.turn(window, 0.00105, roundTrip)
                self.assertEqual(window.size, FIRST)
            self.turn(window, 0.00105, roundTrip)
            self.assertEqual(window.size, 2 * FIRST)

    def test_shortRoundTrip(self) -> None:
        """Who says less of the round trip has no larger window, however its data come in."""
        for bursts in (1, 4, 8):
            sizes = [self.burst(bursts, said) for said in (0.3, 0.001, 1e-6, 0.0)]
            self.assertEqual(sizes, sorted(sizes, reverse=True), bursts)

    def burst(self, reads: int, said: float) -> int:
        """
        The size of a window on a path of 125 kB/s and 0.3 s whose data come once in that.

        :param reads: in how many reads, a millisecond apart, each window comes.
        :param said: what is said of the round trip, seconds.
        """
        window, now = Window(24576, 0.0, Budget(1 << 30)), 0.0
        spent = 0
        for _ in range(40):
            octets = window.granted - spent
            now += max(0.3, octets / 125000)
            for _ in range(reads):
                part = min(-(-octets // reads), window.granted - spent)
                window.spend(part)
                spent += part
                now += 0.001
                window.consume(part, now, said)
        return window.size

    def test_budget(self) -> None:
        """All windows together grow by no more than the budget."""
        budget = Budget(3 * FIRST)
        windows = [Window(FIRST, 0.0, budget) for _ in range(3)]
        for window in windows:
            self.now, self.spent = 0.0, 0
            self.turn(window, QUICK)
        self.assertEqual([window.size for window in windows], [2 * FIRST] * 3)
        self.assertEqual(budget.reserved, 3 * FIRST)
        self.assertFalse(budget.short)

    def test_short(self) -> None:
        """When it is short windows fall back to the first, and it recovers as they are used up."""
        budget = Budget(FIRST)
        wide, other = Window(FIRST, 0.0, budget), Window(FIRST, 0.0, budget)
        self.turn(wide, QUICK)
        self.spent = 0
        self.turn(other, QUICK)
        self.assertEqual((wide.size, other.size, budget.short), (2 * FIRST, FIRST, True))
        wide.spend(FIRST - 1)
        self.assertIsNone(wide.consume(FIRST - 1, 2 * QUICK, ROUND_TRIP))
        self.assertEqual(wide.size, FIRST)
        self.assertEqual(budget.reserved, FIRST)  # It may be asked for what it had granted.
        wide.spend(FIRST + 1)
        self.assertEqual(wide.consume(FIRST + 1, 3 * QUICK, ROUND_TRIP), 4 * FIRST)
        self.assertEqual((wide.size, budget.reserved, budget.short), (FIRST, 0, False))
        self.now, self.spent = 3 * QUICK, 3 * FIRST
        self.turn(wide, QUICK)
        self.assertEqual(wide.size, 2 * FIRST)

    def test_longShort(self) -> None:
        """It is short no longer once an eighth has come back; who idles may keep the rest."""
        budget = Budget(8 * FIRST)
        windows = [Window(FIRST, 0.0, budget) for _ in range(9)]
        for window in windows:
            self.now, self.spent = 0.0, 0
            self.turn(window, QUICK)
        self.assertTrue(budget.short)
        windows[0].close()
        self.assertEqual((budget.reserved, budget.short), (7 * FIRST, False))
        self.now, self.spent = 0.0, FIRST
        self.turn(windows[8], 2 * QUICK)
        self.assertEqual(windows[8].size, 2 * FIRST)

    def test_trickle(self) -> None:
        """While it is short a window falls back though the peer need not be told of it."""
        budget = Budget(7 * FIRST)
        window = Window(FIRST, 0.0, budget)
        for _ in range(3):
            self.turn(window, QUICK)
        self.assertEqual((window.size, budget.reserve(1)), (8 * FIRST, False))
        window.spend(1)
        self.assertIsNone(window.consume(1, self.now, ROUND_TRIP))
        self.assertEqual(window.size, FIRST)

    def test_smallBudget(self) -> None:
        """What was refused because there is little at all does not make it short."""
        budget = Budget(FIRST // 2)
        self.assertFalse(budget.reserve(FIRST))
        self.assertFalse(budget.short)
        self.assertTrue(budget.reserve(FIRST // 2))

    def test_share(self) -> None:
        """Who has a share of a budget gets no more than that, and gives back to the whole."""
        whole = Budget(10 * FIRST)
        share, other = Budget(FIRST, whole), Budget(20 * FIRST, whole)
        self.assertTrue(share.reserve(FIRST))
        self.assertFalse(share.reserve(1))
        self.assertEqual((share.short, whole.short, other.short), (True, False, False))
        self.assertTrue(other.reserve(9 * FIRST))
        self.assertFalse(other.reserve(1))
        share.release(FIRST)
        self.assertEqual((share.short, whole.short), (True, True))  # The whole one still is.
        other.release(9 * FIRST)
        self.assertEqual((share.short, other.short, whole.reserved), (False, False, 0))

    def test_closed(self) -> None:
        """A window that is closed gives back what it had, once."""
        budget = Budget(FIRST)
        window = Window(FIRST, 0.0, budget)
        self.turn(window, QUICK)
        window.close()
        window.close()
        self.assertEqual(budget.reserved, 0)


class PathTests(SynchronousTestCase):
    """A window on a path, behind a sender that always has messages of 16 KiB."""

    def carried(self, rate: int, roundTrip: float, stall: float = 0.0) -> tuple[float, int]:
        """
        How much a path carries once the window has grown.

        :param rate: what the path carries at most, octets a second.
        :param roundTrip: of the path, seconds.
        :param stall: for how long nothing arrives in every twenty times that, seconds.
        :return: that share of the rate, and the window at the end, octets.
        """
        window = Window(24576, 0.0, Budget(1 << 30))
        credit, spent, left, free, now, consumed = 24576, 0, 0, 0.0, 0.0, 0
        events: list[tuple[float, int, int]] = []  # When, how much is granted, or comes.
        seconds = 60 * max(roundTrip, stall)
        while now < seconds:
            while credit - spent > RECORD_COST:
                left = left or 16384
                octets = min(left, credit - spent - RECORD_COST)
                left -= octets
                spent += RECORD_COST + octets
                free = max(free, now) + (RECORD_COST + octets) / rate
                arrives = free + roundTrip / 2
                late = arrives % (20 * stall) if stall else 0.0
                if late < stall:  # Then what waited is read, ten times as fast as it came.
                    arrives += stall - late + late / 10
                heappush(events, (arrives, 0, RECORD_COST + octets))
            now, granted, cost = heappop(events)
            if granted:
                credit = granted
                continue
            window.spend(cost)
            told = window.consume(cost, now, roundTrip)
            consumed += cost if now > seconds / 2 else 0
            if told is not None:
                heappush(events, (now + roundTrip / 2, told, 0))
        return consumed / (rate * seconds / 2), window.size

    def test_filled(self) -> None:
        """Long and short, thin and quick paths are filled, and hold no long queue."""
        for megabits in (1, 2, 20, 100):
            for roundTrip in (0.001, 0.02, 0.1, 0.3, 0.6):
                rate = megabits * 125000
                share, size = self.carried(rate, roundTrip)
                if rate * roundTrip * 3 / 2 < MAX_WINDOW:
                    self.assertGreater(share, 0.9, (megabits, roundTrip))
                lasts = max(0.01, roundTrip + max(0.25, roundTrip / 2))
                self.assertLessEqual(
                    size, max(FEW_RECORDS, lasts * rate + 1), (megabits, roundTrip)
                )

    def test_stalls(self) -> None:
        """What was held up on the way, and comes all at once, is no quick path."""
        for roundTrip in (0.05, 0.1, 0.3):
            _, size = self.carried(125000, roundTrip, 0.5)
            self.assertLess(size, 2 * 125000 * (roundTrip + 0.25), roundTrip)


class PropertyTests(SynchronousTestCase):
    """What holds whatever a sender and an application do."""

    @given(
        first=some.integers(2 * RECORD_COST, 4096),
        steps=some.lists(
            some.tuples(some.integers(1, 4096), some.integers(0, 8), some.floats(0.0, 4.0)),
            max_size=200,
        ),
        total=some.integers(0, 20000),
    )
    def test_anyOrder(self, first: int, steps: list[tuple[int, int, float]], total: int) -> None:
        """
        A sender within its credit is never refused, never waits when all is consumed, and no
        more is ever outstanding than the first window and the budget.
        """
        budget = Budget(total)
        window = Window(first, 0.0, budget, most=8 * first, whole=first)
        waiting: deque[int] = deque()
        credit, spent, consumed, now = first, 0, 0, 0.0
        for wanted, taken, wait in steps:
            now += wait
            cost = min(wanted, first)
            if spent + cost <= credit:
                window.spend(cost)
                spent += cost
                waiting.append(cost)
            else:
                self.assertTrue(waiting, "all is consumed, and a record of the first window waits")
            for _ in range(min(taken, len(waiting))):
                cost = waiting.popleft()
                consumed += cost
                told = window.consume(cost, now, ROUND_TRIP)
                if told is not None:
                    self.assertGreater(told, credit)
                    credit = told
            self.assertEqual(window.granted, credit)
            self.assertLessEqual(credit - consumed, first + budget.reserved)
            self.assertLessEqual(budget.reserved, total)
        window.close()
        self.assertEqual(budget.reserved, 0)

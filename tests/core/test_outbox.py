"""What waits to be sent: order, fragments, turns, credit, ends and limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.helpers import SERVER_CREDENTIAL  # noqa: F401  (loads the hypothesis profile)
from thing.core.inbox import DATA_AT
from thing.core.lane import LEAST_RATE, Lane, moves
from thing.core.messages import (
    CAC,
    CCR,
    CDT,
    COP,
    CRP,
    CRQ,
    CST,
    END,
    FRAGMENT_LIMIT,
    MORE,
    SST,
    MessageType,
)
from thing.core.outbox import Outbox
from thing.core.window import RECORD_COST
from thing.errors import ErrorCode, LocalProtocolError

PLENTY = 1 << 30
"""More credit than any test spends."""

REPLY = CRP(1, 0, b"answer").typed()
"""A reply."""


def long(lane: Lane) -> None:
    """Have a message wait that is longer than a record."""
    lane.data(bytes(150))


def drained(outbox: Outbox) -> list[bytes]:
    """All that may go, in the order in which it would be sent."""
    taken = []
    while outbox:
        message = outbox.take()
        assert message is not None, "it says that something may go"
        taken.append(message)
    assert outbox.take() is None
    return taken


def joined(fragments: list[bytes]) -> list[bytes]:
    """The messages that fragments make, checked for their type and flags."""
    messages, current = [], b""
    for fragment in fragments:
        assert fragment[0] == MessageType.CDT
        data = CDT.decode(fragment[1:])
        assert len(data.data) <= FRAGMENT_LIMIT
        current += data.data
        if data.flags != MORE:
            assert data.flags == 0
            messages.append(current)
            current = b""
    assert not current
    return messages


def outboxWith(limit: int = 1 << 24, credit: int = PLENTY) -> Outbox:
    """An outbox whose main stream has credit."""
    outbox = Outbox(MessageType.CDT, MessageType.CCR, limit)
    outbox.main.credit = credit
    return outbox


class OutboxTests(TestCase):
    """One side's queue."""

    def test_empty(self) -> None:
        """At first nothing waits."""
        outbox = outboxWith()
        self.assertEqual((bool(outbox), outbox.main.queued), (False, 0))

    def test_fragments(self) -> None:
        """A message is cut into full fragments, all but the last flagged."""
        for length, counts in (
            (0, [0]),
            (1, [1]),
            (FRAGMENT_LIMIT, [FRAGMENT_LIMIT]),
            (FRAGMENT_LIMIT + 1, [FRAGMENT_LIMIT, 1]),
            (3 * FRAGMENT_LIMIT, [FRAGMENT_LIMIT] * 3),
        ):
            outbox = outboxWith()
            outbox.data(outbox.main, bytes(length))
            fragments = drained(outbox)
            self.assertEqual([len(fragment) - 6 for fragment in fragments], counts)
            flags = [fragment[1] for fragment in fragments]
            self.assertEqual(flags, [MORE] * (len(counts) - 1) + [0])

    def test_longest(self) -> None:
        """No record has more octets of data than the peer takes."""
        outbox = outboxWith()
        outbox.longest = 100
        outbox.data(outbox.main, bytes(250))
        self.assertEqual([len(each) - 6 for each in drained(outbox)], [100, 100, 50])

    def test_urgentOvertakes(self) -> None:
        """An urgent message goes between two fragments of a message."""
        outbox = outboxWith()
        outbox.data(outbox.main, bytes(2 * FRAGMENT_LIMIT))
        first = outbox.take()
        assert first is not None
        outbox.urgent(bytes((MessageType.CHB,)) + b"1")
        outbox.urgent(bytes((MessageType.CKU,)))
        rest = drained(outbox)
        self.assertEqual(rest[:2], [bytes((MessageType.CHB,)) + b"1", bytes((MessageType.CKU,))])
        self.assertEqual(joined([first, *rest[2:]]), [bytes(2 * FRAGMENT_LIMIT)])

    def test_farewellIsLast(self) -> None:
        """The farewell goes after all data, whenever it was queued."""
        outbox = outboxWith()
        outbox.data(outbox.main, b"before")
        outbox.farewell(MessageType.CGB)
        outbox.urgent(bytes((MessageType.CHB,)))
        kinds = [message[0] for message in drained(outbox)]
        self.assertEqual(kinds, [MessageType.CHB, MessageType.CDT, MessageType.CGB])

    def test_waiting(self) -> None:
        """It is known which urgent messages still wait."""
        outbox = outboxWith()
        self.assertFalse(outbox.isWaiting(MessageType.SUU))
        outbox.urgent(bytes((MessageType.SGA,)))
        outbox.urgent(bytes((MessageType.SUU,)))
        self.assertTrue(outbox.isWaiting(MessageType.SUU))
        drained(outbox)
        self.assertFalse(outbox.isWaiting(MessageType.SUU))

    def test_repliesWaiting(self) -> None:
        """It is known how many replies wait, and what they take up."""
        outbox = outboxWith()
        self.assertEqual(outbox.repliesWaiting, 0)
        for _ in range(3):
            outbox.reply(REPLY)
        self.assertEqual((outbox.repliesWaiting, outbox.queued), (3, 3 * (len(REPLY) - 1)))
        self.assertEqual(outbox.held, outbox.queued + 3 * RECORD_COST)
        outbox.take()
        self.assertEqual(outbox.repliesWaiting, 2)
        drained(outbox)
        self.assertEqual((outbox.repliesWaiting, outbox.queued, outbox.held), (0, 0, 0))
        outbox.reply(REPLY)
        outbox.clear()
        self.assertEqual((outbox.repliesWaiting, outbox.queued, bool(outbox)), (0, 0, False))

    def test_farewellBehindReplies(self) -> None:
        """Goodbye goes behind replies, as behind all else."""
        outbox = outboxWith(credit=0)
        outbox.reply(REPLY)
        outbox.farewell(MessageType.CGB)
        self.assertEqual(drained(outbox), [REPLY, bytes((MessageType.CGB,))])

    def test_limit(self) -> None:
        """No more octets wait than the limit says; what is refused leaves no trace."""
        outbox = outboxWith(10)
        outbox.data(outbox.main, bytes(4))
        outbox.data(outbox.main, bytes(6))
        error = self.assertRaises(LocalProtocolError, outbox.data, outbox.main, b"x")
        self.assertIs(error.code, ErrorCode.BUFFER_FULL)
        self.assertEqual(outbox.main.queued, 10)
        self.assertEqual(joined(drained(outbox)), [bytes(4), bytes(6)])
        outbox.data(outbox.main, bytes(10))

    def test_emptyMessagesTakeRoom(self) -> None:
        """Empty messages cannot be queued without end."""
        outbox = outboxWith(3)
        for _ in range(3):
            outbox.data(outbox.main, b"")
        self.assertRaises(LocalProtocolError, outbox.data, outbox.main, b"")
        self.assertEqual(joined(drained(outbox)), [b""] * 3)
        self.assertEqual(outbox.main.queued, 0)

    def test_limitIsOfEachStream(self) -> None:
        """What waits in one stream leaves another its room."""
        outbox = outboxWith(10)
        other = outbox.lane(1, PLENTY)
        outbox.data(outbox.main, bytes(10))
        outbox.data(other, bytes(10))
        self.assertRaises(LocalProtocolError, outbox.data, other, b"x")

    def test_clear(self) -> None:
        """Cleared in the middle of a message, nothing is left, and a new start is whole."""
        outbox = outboxWith()
        outbox.data(outbox.main, bytes(2 * FRAGMENT_LIMIT))
        outbox.take()
        outbox.urgent(bytes((MessageType.CHB,)))
        outbox.notice(COP(1, b"x").typed())
        outbox.grant(0, 1)
        outbox.data(outbox.lane(1, PLENTY), b"x")
        outbox.farewell(MessageType.CGB)
        outbox.clear()
        self.assertEqual((bool(outbox), outbox.main.queued), (False, 0))
        outbox.data(outbox.main, b"new")
        self.assertEqual(joined(drained(outbox)), [b"new"])

    @given(st.lists(st.integers(0, 3 * FRAGMENT_LIMIT), max_size=8))
    def test_anySizes(self, sizes: list[int]) -> None:
        """Messages of any sizes come out whole and in order, and the count goes to zero."""
        outbox = outboxWith()
        messages = [bytes((number,)) * size for number, size in enumerate(sizes)]
        for message in messages:
            outbox.data(outbox.main, message)
        self.assertEqual(outbox.main.queued, sum(size or 1 for size in sizes))
        self.assertEqual(joined(drained(outbox)), messages)
        self.assertEqual(outbox.main.queued, 0)


class OrderTests(TestCase):
    """What goes before what."""

    def test_kinds(self) -> None:
        """First what is urgent, then what is about streams, then data, then the farewell."""
        outbox = outboxWith()
        outbox.farewell(MessageType.CGB)
        outbox.data(outbox.main, b"data")
        outbox.grant(0, 1000)
        outbox.notice(COP(1, b"x").typed())
        outbox.urgent(bytes((MessageType.CHB,)))
        kinds = [MessageType(message[0]).name for message in drained(outbox)]
        self.assertEqual(kinds, ["CHB", "COP", "CCR", "CDT", "CGB"])

    def test_latestCredit(self) -> None:
        """Of the credits of one stream the latest waits alone."""
        outbox = outboxWith()
        for credit in (1, 2, 3):
            for number in (0, 1):
                outbox.grant(number, credit)
        told = {CCR.decode(message[1:]) for message in drained(outbox)}
        self.assertEqual(told, {CCR(0, 3), CCR(1, 3)})

    def test_forgotten(self) -> None:
        """Of a stream that is over nothing goes but its opening, and what is said after that."""
        outbox = outboxWith()
        gone, other = outbox.lane(1, PLENTY), outbox.lane(2, PLENTY)
        for message in (COP(1, b"x"), CAC(1), CAC(2), SST(1, 9)):
            outbox.notice(message.typed())
        for lane in (gone, other):
            outbox.grant(lane.number, 100)
            outbox.data(lane, b"data")
        outbox.forget(gone)
        outbox.notice(CST(1, 0).typed())
        self.assertEqual(
            drained(outbox),
            [
                COP(1, b"x").typed(),
                CAC(2).typed(),
                CST(1, 0).typed(),
                CCR(2, 100).typed(),
                CDT(0, 2, b"data").typed(),
            ],
        )

    def test_farewellWaitsForAll(self) -> None:
        """The farewell is behind the data of every stream, those without credit, too."""
        outbox = outboxWith()
        stuck = outbox.lane(1, 0)
        outbox.data(stuck, b"data")
        outbox.farewell(MessageType.CGB)
        self.assertEqual(drained(outbox), [])
        outbox.raiseCredit(stuck, 1000)
        kinds = [message[0] for message in drained(outbox)]
        self.assertEqual(kinds, [MessageType.CDT, MessageType.CGB])

    def test_farewellWaitsForEnds(self) -> None:
        """It is behind an end that still waits for credit, too."""
        outbox = outboxWith()
        stuck = outbox.lane(1, 0)
        stuck.end()
        outbox.wake(stuck)
        outbox.farewell(MessageType.CGB)
        self.assertEqual(drained(outbox), [])
        outbox.raiseCredit(stuck, RECORD_COST)
        self.assertEqual(drained(outbox), [CDT(END, 1, b"").typed(), bytes((MessageType.CGB,))])


class TurnTests(TestCase):
    """Streams that have something to send, and the credit for it, take turns."""

    def numbers(self, outbox: Outbox) -> list[int]:
        """The streams in the order of their records."""
        return [CDT.decode(message[1:]).stream for message in drained(outbox)]

    def test_oneRecordEach(self) -> None:
        """One record of each goes in turn, however much one has."""
        outbox = outboxWith()
        outbox.longest = 100
        for number, octets in ((1, 300), (3, 100), (5, 200)):
            outbox.data(outbox.lane(number, PLENTY), bytes(octets))
        self.assertEqual(self.numbers(outbox), [1, 3, 5, 1, 5, 1])

    def test_withoutCredit(self) -> None:
        """A stream without credit is passed over, and takes its turns again once it has some."""
        outbox = outboxWith()
        outbox.longest = 100
        stuck, other = outbox.lane(1, RECORD_COST + 100), outbox.lane(3, PLENTY)
        outbox.data(stuck, bytes(200))
        outbox.data(other, bytes(300))
        self.assertEqual(self.numbers(outbox), [1, 3, 3, 3])
        self.assertEqual(stuck.queued, 100)
        outbox.raiseCredit(stuck, 2 * (RECORD_COST + 100))
        self.assertEqual(self.numbers(outbox), [1])

    def test_stalls(self) -> None:
        """It is counted how often a stream has to stop for credit with something left to send."""
        outbox = outboxWith()
        lane = outbox.lane(1, 2 * RECORD_COST + 12)
        outbox.data(lane, b"all of it")
        drained(outbox)
        self.assertEqual(outbox.stalls, 0)
        outbox.data(lane, b"more")
        drained(outbox)
        self.assertEqual(outbox.stalls, 1)
        outbox.raiseCredit(lane, PLENTY)
        drained(outbox)
        self.assertEqual(outbox.stalls, 1)

    def test_noStall(self) -> None:
        """A reply that goes past what has stopped is no stall more."""
        outbox = outboxWith(credit=RECORD_COST + 1)
        outbox.data(outbox.main, b"more")
        drained(outbox)
        for _ in range(3):
            outbox.reply(REPLY)
            self.assertEqual(drained(outbox), [REPLY])
        self.assertEqual(outbox.stalls, 1)

    def test_lessCredit(self) -> None:
        """Credit that shrinks, or stays, changes nothing."""
        outbox = outboxWith()
        lane = outbox.lane(1, RECORD_COST + 10)
        for credit in (0, RECORD_COST + 10):
            outbox.raiseCredit(lane, credit)
            self.assertEqual(lane.credit, RECORD_COST + 10)

    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 500)), max_size=30))
    def test_fair(self, wanted: list[tuple[int, int]]) -> None:
        """No stream sends two records while another one has something and the credit for it."""
        outbox = outboxWith()
        outbox.longest = 100
        lanes = {number: outbox.lane(number, PLENTY) for number in range(1, 6)}
        lanes[0] = outbox.main
        for number, octets in wanted:
            outbox.data(lanes[number], bytes(octets))
        before: dict[int, int] = {}
        at = 0
        while outbox:
            had = {number for number, lane in lanes.items() if lane}
            message = outbox.take()
            assert message is not None
            at += 1
            number = CDT.decode(message[1:]).stream
            since = before.get(number, 0)
            for other in had - {number}:
                self.assertTrue(before.get(other, 0) >= since or number not in before)
            before[number] = at


class MovesTests(TestCase):
    """Whether a close waits on for what is to be sent."""

    def test_rate(self) -> None:
        """It does while as much goes as the least rate asks for, or all that waited."""
        enough = LEAST_RATE * 5
        for before, now, expected in (
            (100_000, 100_000 - enough, True),
            (100_000, 100_000 - enough + 1, False),
            (enough - 1, 0, True),
            (enough - 1, 1, False),
            (0, 0, False),
            (1, 2, False),
        ):
            self.assertIs(moves(before, now, 5.0), expected, (before, now))


class LaneTests(TestCase):
    """What waits in one stream."""

    def lane(self, number: int = 1, credit: int = PLENTY) -> Lane:
        """A stream's lane."""
        return Lane(number, credit, 1 << 24)

    def taken(self, lane: Lane, most: int = 100) -> list[CDT]:
        """All that may go."""
        found = []
        while lane.ready:
            found.append(CDT.decode(lane.take(MessageType.CDT, most)[1:]))
        return found

    def test_long(self) -> None:
        """A long record takes a quarter of the credit at most, so that more is granted in time."""
        for credit, length in (
            (FRAGMENT_LIMIT, FRAGMENT_LIMIT - RECORD_COST),
            (2 * FRAGMENT_LIMIT, FRAGMENT_LIMIT),
            (RECORD_COST + 80_000, 20_000),
            (1 << 20, 60_000),
        ):
            lane = Lane(1, credit, 1 << 20)
            lane.data(bytes(1 << 20))
            self.assertEqual(len(lane.take(MessageType.CDT, 60_000)) - DATA_AT, length)

    def test_split(self) -> None:
        """Data are cut to what is left of the credit; the rest waits for more."""
        lane = self.lane(credit=RECORD_COST + 7)
        lane.data(b"0123456789")
        self.assertEqual(self.taken(lane), [CDT(0, 1, b"0123456")])
        self.assertEqual((lane.queued, bool(lane)), (3, True))
        lane.credit += RECORD_COST
        self.assertEqual(self.taken(lane), [])  # A record without an octet is of no use.
        lane.credit += 3
        self.assertEqual(self.taken(lane), [CDT(0, 1, b"789")])
        self.assertEqual((lane.queued, bool(lane)), (0, False))

    def test_more(self) -> None:
        """In the main stream alone fragments say that more follows."""
        for number, flag in ((0, MORE), (1, 0)):
            lane = self.lane(number)
            lane.data(bytes(150))
            self.assertEqual(
                self.taken(lane), [CDT(flag, number, bytes(100)), CDT(0, number, bytes(50))]
            )

    def test_emptyMessage(self) -> None:
        """A message without octets goes as soon as there is credit for a record."""
        lane = self.lane(0, RECORD_COST - 1)
        lane.data(b"")
        self.assertFalse(lane.ready)
        lane.credit += 1
        self.assertEqual(self.taken(lane), [CDT(0, 0, b"")])

    def test_whole(self) -> None:
        """What is not split waits until there is credit for all of it."""
        lane = self.lane(0, RECORD_COST + 4)
        body = CRQ(1, b"hello").encode()
        lane.whole(MessageType.CRQ, body, 5)
        self.assertFalse(lane.ready)
        lane.credit += 1
        self.assertTrue(lane.ready)
        self.assertEqual(lane.take(MessageType.CDT, 1), bytes((MessageType.CRQ,)) + body)
        self.assertFalse(lane.ready)

    def test_endWithTheLast(self) -> None:
        """The end goes with the last record that waits, or alone if there is none."""
        lane = self.lane()
        lane.data(bytes(150))
        lane.end()
        self.assertEqual(self.taken(lane), [CDT(0, 1, bytes(100)), CDT(END, 1, bytes(50))])
        lane = self.lane()
        lane.data(b"all")
        self.taken(lane)
        lane.end()
        self.assertEqual(self.taken(lane), [CDT(END, 1, b"")])
        self.assertEqual(self.taken(lane), [])

    def test_replyInOrder(self) -> None:
        """A reply goes behind what was before it, as far as that has credit, and spends none."""
        lane = self.lane(0, 2 * (RECORD_COST + 100))
        lane.data(bytes(150))
        lane.reply(REPLY)
        lane.data(b"later")
        lane.reply(REPLY)
        kinds = [lane.take(MessageType.CDT, 100)[0] for _ in range(4)]
        self.assertEqual(
            kinds, [MessageType.CDT, MessageType.CDT, MessageType.CRP, MessageType.CRP]
        )
        self.assertFalse(lane.ready)
        lane.credit += RECORD_COST
        self.assertEqual(self.taken(lane), [CDT(0, 0, b"later")])

    def test_replyPassesBlocked(self) -> None:
        """It goes past what waits for credit, also past the rest of a message, or the end."""
        for first in (lambda lane: lane.whole(MessageType.CRQ, CRQ(1, b"x").encode(), 1), long):
            lane = self.lane(0, RECORD_COST)
            lane.data(b"")
            first(lane)
            lane.end()
            lane.reply(REPLY)
            self.assertEqual(lane.take(MessageType.CDT, 100)[0], MessageType.CDT)
            self.assertEqual(lane.take(MessageType.CDT, 100), REPLY)
            self.assertFalse(lane.ready)
        lane = self.lane(0, RECORD_COST + 10)
        long(lane)
        lane.reply(REPLY)
        self.assertEqual(CDT.decode(lane.take(MessageType.CDT, 100)[1:]).flags, MORE)
        self.assertEqual(lane.take(MessageType.CDT, 100), REPLY)
        self.assertFalse(lane.ready)

    def test_endBehindEmpty(self) -> None:
        """Behind an empty message it goes alone: together they would be no message."""
        lane = self.lane(0)
        lane.data(b"")
        lane.end()
        self.assertEqual(self.taken(lane), [CDT(0, 0, b""), CDT(END, 0, b"")])

    def test_endBehindReply(self) -> None:
        """The end comes behind replies, too, and then alone."""
        lane = self.lane(0)
        lane.data(b"last")
        lane.reply(REPLY)
        lane.end()
        self.assertEqual(lane.take(MessageType.CDT, 100)[1], 0)
        self.assertEqual(lane.take(MessageType.CDT, 100), REPLY)
        self.assertEqual(self.taken(lane), [CDT(END, 0, b"")])
        self.assertFalse(lane)

    def test_endBehindWhole(self) -> None:
        """Behind what is no data the end goes alone."""
        lane = self.lane(0)
        lane.whole(MessageType.CRQ, CRQ(1, b"").encode(), 0)
        lane.end()
        self.assertEqual(lane.take(MessageType.CDT, 100)[0], MessageType.CRQ)
        self.assertEqual(self.taken(lane), [CDT(END, 0, b"")])

    def test_endNeedsCredit(self) -> None:
        """The end spends as every record does."""
        lane = self.lane(credit=RECORD_COST - 1)
        lane.end()
        self.assertEqual((lane.ready, bool(lane), lane.ending), (False, True, True))
        lane.credit += 1
        self.assertEqual(self.taken(lane), [CDT(END, 1, b"")])

    def test_clear(self) -> None:
        """What is cleared leaves nothing, no half of anything, and no end."""
        lane = self.lane()
        lane.data(bytes(150))
        lane.end()
        lane.take(MessageType.CDT, 100)
        lane.clear()
        self.assertEqual((lane.ready, bool(lane), lane.queued), (False, False, 0))

    @given(
        st.lists(st.binary(max_size=400), max_size=8),
        st.lists(st.integers(0, 500), min_size=1, max_size=40),
        st.integers(1, 300),
        st.sampled_from([0, 1]),
    )
    def test_anyCredit(
        self, messages: list[bytes], credits: list[int], most: int, number: int
    ) -> None:
        """However credit comes, what goes is never more, is in order, and whole in the end."""
        lane = self.lane(number, 0)
        for message in messages:
            lane.data(message)
        lane.end()
        got: list[CDT] = []
        spent = 0
        for more in [*credits, PLENTY]:
            lane.credit += more
            for record in self.taken(lane, most):
                got.append(record)
                spent += RECORD_COST + len(record.data)
            self.assertLessEqual(spent, lane.credit)
        self.assertEqual(b"".join(record.data for record in got), b"".join(messages))
        self.assertEqual([record.flags for record in got].count(END), 1)
        self.assertEqual(got[-1].flags, END)
        self.assertEqual(lane.queued, 0)

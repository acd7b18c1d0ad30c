"""What waits to be sent: order, fragments and limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.helpers import SERVER_CREDENTIAL  # noqa: F401  (loads the hypothesis profile)
from thing.core.messages import CDT, FRAGMENT_LIMIT, MORE, MessageType
from thing.core.outbox import Outbox
from thing.errors import ErrorCode, LocalProtocolError


def drained(outbox: Outbox) -> list[bytes]:
    """All that waits, in the order in which it would be sent."""
    taken = []
    while outbox:
        message = outbox.take()
        assert message is not None, "it says that something waits"
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


class OutboxTests(TestCase):
    """One side's queue."""

    def outbox(self, limit: int = 1 << 24) -> Outbox:
        return Outbox(MessageType.CDT, limit)

    def test_empty(self) -> None:
        """At first nothing waits."""
        outbox = self.outbox()
        self.assertEqual((bool(outbox), outbox.queued), (False, 0))

    def test_fragments(self) -> None:
        """A message is cut into full fragments, all but the last flagged."""
        for length, counts in (
            (0, [0]),
            (1, [1]),
            (FRAGMENT_LIMIT, [FRAGMENT_LIMIT]),
            (FRAGMENT_LIMIT + 1, [FRAGMENT_LIMIT, 1]),
            (3 * FRAGMENT_LIMIT, [FRAGMENT_LIMIT] * 3),
        ):
            outbox = self.outbox()
            outbox.data(bytes(length))
            fragments = drained(outbox)
            self.assertEqual([len(fragment) - 2 for fragment in fragments], counts)
            flags = [fragment[1] for fragment in fragments]
            self.assertEqual(flags, [MORE] * (len(counts) - 1) + [0])

    def test_urgentOvertakes(self) -> None:
        """An urgent message goes between two fragments of a message."""
        outbox = self.outbox()
        outbox.data(bytes(2 * FRAGMENT_LIMIT))
        first = outbox.take()
        outbox.urgent(bytes((MessageType.CHB,)) + b"1")
        outbox.urgent(bytes((MessageType.CKU,)))
        rest = drained(outbox)
        self.assertEqual(rest[:2], [bytes((MessageType.CHB,)) + b"1", bytes((MessageType.CKU,))])
        self.assertEqual(joined([first, *rest[2:]]), [bytes(2 * FRAGMENT_LIMIT)])

    def test_farewellIsLast(self) -> None:
        """The farewell goes after all data, whenever it was queued."""
        outbox = self.outbox()
        outbox.data(b"before")
        outbox.farewell(MessageType.CGB)
        outbox.urgent(bytes((MessageType.CHB,)))
        kinds = [message[0] for message in drained(outbox)]
        self.assertEqual(kinds, [MessageType.CHB, MessageType.CDT, MessageType.CGB])

    def test_waiting(self) -> None:
        """It is known which urgent messages still wait."""
        outbox = self.outbox()
        self.assertFalse(outbox.isWaiting(MessageType.SUU))
        outbox.urgent(bytes((MessageType.SGA,)))
        outbox.urgent(bytes((MessageType.SUU,)))
        self.assertTrue(outbox.isWaiting(MessageType.SUU))
        drained(outbox)
        self.assertFalse(outbox.isWaiting(MessageType.SUU))

    def test_limit(self) -> None:
        """No more octets wait than the limit says; what is refused leaves no trace."""
        outbox = self.outbox(10)
        outbox.data(bytes(4))
        outbox.data(bytes(6))
        error = self.assertRaises(LocalProtocolError, outbox.data, b"x")
        self.assertIs(error.code, ErrorCode.BUFFER_FULL)
        self.assertEqual(outbox.queued, 10)
        self.assertEqual(joined(drained(outbox)), [bytes(4), bytes(6)])
        outbox.data(bytes(10))

    def test_emptyMessagesTakeRoom(self) -> None:
        """Empty messages cannot be queued without end."""
        outbox = self.outbox(3)
        for _ in range(3):
            outbox.data(b"")
        self.assertRaises(LocalProtocolError, outbox.data, b"")
        self.assertEqual(joined(drained(outbox)), [b""] * 3)
        self.assertEqual(outbox.queued, 0)

    def test_clear(self) -> None:
        """Cleared in the middle of a message, nothing is left, and a new start is whole."""
        outbox = self.outbox()
        outbox.data(bytes(2 * FRAGMENT_LIMIT))
        outbox.take()
        outbox.urgent(bytes((MessageType.CHB,)))
        outbox.farewell(MessageType.CGB)
        outbox.clear()
        self.assertEqual((bool(outbox), outbox.queued), (False, 0))
        outbox.data(b"new")
        self.assertEqual(joined(drained(outbox)), [b"new"])

    @given(st.lists(st.integers(0, 3 * FRAGMENT_LIMIT), max_size=8))
    def test_anySizes(self, sizes: list[int]) -> None:
        """Messages of any sizes come out whole and in order, and the count goes to zero."""
        outbox = self.outbox()
        messages = [bytes((number,)) * size for number, size in enumerate(sizes)]
        for message in messages:
            outbox.data(message)
        self.assertEqual(outbox.queued, sum(size or 1 for size in sizes))
        self.assertEqual(joined(drained(outbox)), messages)
        self.assertEqual(outbox.queued, 0)

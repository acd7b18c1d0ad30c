"""What was received and waits: order, fragments, octets that belong together, ends, and costs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.helpers import SERVER_CREDENTIAL  # noqa: F401  (loads the hypothesis profile)
from thing.core.inbox import Inbox, Tally, costOf, streamOf
from thing.core.messages import (
    CCR,
    CDT,
    CGB,
    CHB,
    CLW,
    COP,
    CRP,
    CRQ,
    END,
    MORE,
    SDT,
    SRP,
    SRQ,
    MessageType,
)
from thing.core.outbox import Outbox
from thing.core.window import RECORD_COST
from thing.errors import ErrorCode, RemoteProtocolError

ASK = CRQ(1, b"?").typed()
BYE = CGB().typed()

LIMIT = 1000
"""The longest message that the inboxes here take, octets."""


def fragment(data: bytes, more: bool = False) -> bytes:
    """A CDT."""
    return CDT(MORE if more else 0, 0, data).typed()


def inboxWith(*messages: bytes, stream: bool = False) -> Inbox:
    """An inbox in which messages wait."""
    inbox = Inbox(MessageType.CGB, None if stream else LIMIT, Tally())
    for message in messages:
        inbox.put(message)
    return inbox


def taken(inbox: Inbox) -> list[bytes]:
    """All that leaves now."""
    found = []
    while inbox.next is not None:
        content = inbox.take()
        if content is not None:
            found.append(content)
    return found


class OrderTests(TestCase):
    """One way out."""

    def test_empty(self) -> None:
        """At first nothing waits, and nothing leaves."""
        inbox = inboxWith()
        self.assertEqual((inbox.next, inbox.held, inbox.messages), (None, 0, 0))
        self.assertEqual(list(inbox.rest()), [])

    def test_order(self) -> None:
        """All leaves in the order in which it came: data as content, anything else as it was."""
        inbox = inboxWith(fragment(b"1"), ASK, fragment(b""), fragment(b"2"), BYE)
        self.assertEqual(taken(inbox), [b"1", ASK, b"", b"2", BYE])
        self.assertEqual((inbox.messages, inbox.held), (3, 0))

    def test_next(self) -> None:
        """What leaves next is known before it leaves."""
        inbox = inboxWith(fragment(b"1"), ASK)
        self.assertIs(inbox.next, MessageType.CDT)
        inbox.take()
        self.assertIs(inbox.next, MessageType.CRQ)

    def test_accept(self) -> None:
        """What need not wait leaves at once, the same as if it had waited, by the same rules."""
        for stream in (False, True):
            messages = (fragment(b"1"), ASK, fragment(b"2", more=True), fragment(b"3"), BYE)
            waited, accepted = inboxWith(stream=stream), inboxWith(stream=stream)
            for message in messages:
                waited.put(message)
                self.assertEqual(accepted.accept(message), waited.take())
                self.assertEqual((accepted.held, accepted.messages), (0, waited.messages))
            accepted.put(ASK)
            self.assertEqual(list(accepted.rest()), [])  # The goodbye was the last that counted.

    def test_holding(self) -> None:
        """While it holds, nothing leaves, and what comes waits behind the rest."""
        for stream in (False, True):
            inbox = inboxWith(fragment(b"1"), ASK, stream=stream)
            inbox.holding = True
            self.assertIsNone(inbox.next)
            inbox.put(BYE)
            inbox.holding = False
            self.assertEqual(taken(inbox), [b"1", ASK, BYE])

    def test_held(self) -> None:
        """What waits is counted by its octets, and each message for more."""
        inbox = inboxWith(fragment(b"12345"), ASK)
        both = len(fragment(b"12345")) + len(ASK) + 2 * RECORD_COST
        self.assertEqual(inbox.held, both)
        inbox.take()
        self.assertEqual(inbox.held, len(ASK) + RECORD_COST)
        inbox.clear()
        self.assertEqual((inbox.held, inbox.next), (0, None))


class MessageTests(TestCase):
    """Fragments become messages."""

    def test_fragments(self) -> None:
        """A message leaves when its last fragment does."""
        inbox = inboxWith(fragment(b"a", more=True), fragment(b"b", more=True))
        self.assertEqual(taken(inbox), [])
        self.assertEqual((inbox.held, inbox.messages), (0, 0))
        inbox.put(fragment(b"c"))
        self.assertEqual(taken(inbox), [b"abc"])
        self.assertEqual(inbox.messages, 1)

    def test_limit(self) -> None:
        """A message as long as the limit is taken; one octet more is not, in however many parts."""
        half = fragment(bytes(LIMIT // 2), more=True)
        self.assertEqual(taken(inboxWith(half, fragment(bytes(LIMIT // 2)))), [bytes(LIMIT)])
        for tooLong in ((half, fragment(bytes(LIMIT // 2 + 1))), (fragment(bytes(LIMIT + 1)),)):
            error = self.assertRaises(RemoteProtocolError, taken, inboxWith(*tooLong))
            self.assertIs(error.code, ErrorCode.MESSAGE_TOO_LONG)

    def test_nothingInside(self) -> None:
        """Nothing else stands inside a message, as a stream neither."""
        for stream in (False, True):
            for other in (ASK, BYE, CLW(b"").typed()):
                inbox = inboxWith(fragment(b"half", more=True), other, stream=stream)
                error = self.assertRaises(RemoteProtocolError, taken, inbox)
                self.assertIs(error.code, ErrorCode.MALFORMED_MESSAGE)
                self.assertIn(MessageType(other[0]).name, error.detail)


class FlagTests(TestCase):
    """Data say where they belong, before they wait anywhere."""

    def test_meaningless(self) -> None:
        """Flags without a meaning, and a fragment that adds nothing but wants more, are refused."""
        for flags, stream, data in (
            (4, 0, b"x"),
            (MORE | END, 0, b"x"),
            (0x80, 0, b""),
            (MORE, 0, b""),
            (MORE, 1, b"x"),
            (MORE | END, 1, b"x"),
            (4, 1, b"x"),
        ):
            error = self.assertRaises(
                RemoteProtocolError, streamOf, CDT(flags, stream, data).typed()
            )
            self.assertIs(error.code, ErrorCode.MALFORMED_MESSAGE)

    def test_tooShort(self) -> None:
        """Data without flags, or without the whole number of a stream, are refused."""
        whole = CDT(0, 1, b"").typed()
        self.assertEqual(streamOf(whole), 1)
        for length in range(1, len(whole)):
            error = self.assertRaises(RemoteProtocolError, streamOf, whole[:length])
            self.assertIs(error.code, ErrorCode.MALFORMED_MESSAGE)

    def test_stream(self) -> None:
        """The stream is told of all data whose flags mean something."""
        for stream in (0, 1, 2, 0xFFFFFFFF):
            for flags in (0, END):
                for data in (b"", b"x"):
                    self.assertEqual(streamOf(SDT(flags, stream, data).typed()), stream)
        self.assertEqual(streamOf(CDT(MORE, 0, b"x").typed()), 0)


class CostTests(TestCase):
    """What records spend (specification, "Credit")."""

    def test_content(self) -> None:
        """What stands in a stream's order costs its octets and 64, the empty ones, too."""
        for content in (b"", b"x", bytes(490)):
            for message in (
                CDT(0, 0, content),
                SDT(0, 9, content),
                CRQ(1, content),
                SRQ(1, content),
                CLW(content),
            ):
                self.assertEqual(costOf(message.typed()), 64 + len(content))

    def test_nothing(self) -> None:
        """All else costs nothing, replies neither."""
        replies = CRP(1, 0, b"x"), SRP(1, 0, b"x")
        for message in (CHB(1), CGB(), CCR(0, 9), COP(1, b"x"), *replies):
            self.assertEqual(costOf(message.typed()), 0)

    def test_consumed(self) -> None:
        """What has left, or was forgotten, was consumed; a fragment is, before its message is."""
        inbox = inboxWith(fragment(b"12", more=True), fragment(b"3"), ASK, BYE)
        costs = []
        while inbox.next is not None:
            inbox.take()
            costs.append(inbox.consumed)
        self.assertEqual(costs, [66, 131, 196, 196])
        inbox = inboxWith(fragment(b"12"), ASK)
        inbox.clear()
        self.assertEqual(inbox.consumed, 131)


class EndTests(TestCase):
    """The end of a direction, which is not the session's."""

    def end(self, data: bytes) -> bytes:
        """The last CDT."""
        return CDT(END, 0, data).typed()

    def test_alone(self) -> None:
        """An end that brings nothing is no message."""
        for stream in (False, True):
            inbox = inboxWith(fragment(b"1"), self.end(b""), stream=stream)
            self.assertTrue(inbox.closed)
            self.assertFalse(inbox.ended)
            self.assertEqual(taken(inbox), [b"1"])
            self.assertTrue(inbox.ended)

    def test_withTheLast(self) -> None:
        """The last message, or the last octets, may bring the end."""
        for stream in (False, True):
            inbox = inboxWith(self.end(b"all"), stream=stream)
            self.assertEqual(taken(inbox), [b"all"])
            self.assertTrue(inbox.ended)

    def test_ofMessage(self) -> None:
        """Behind a fragment the end is the message's last fragment, an empty one, too."""
        for last, whole in ((b"", b"half"), (b"more", b"halfmore")):
            inbox = inboxWith(fragment(b"half", more=True), self.end(last))
            self.assertEqual(taken(inbox), [whole])
            self.assertEqual((inbox.ended, inbox.messages), (True, 1))

    def test_farewellBehind(self) -> None:
        """A goodbye behind the end leaves as ever; what was left when it ended is whole."""
        inbox = inboxWith(fragment(b"1"), self.end(b""), BYE)
        self.assertEqual(taken(inbox), [b"1", BYE])
        inbox = inboxWith(fragment(b"1"), self.end(b"2"), BYE)
        inbox.holding = True
        self.assertEqual([content for _, content in inbox.rest()], [b"1", b"2"])
        self.assertTrue(inbox.ended)


class StreamTests(TestCase):
    """Octets that came together leave together."""

    def test_joined(self) -> None:
        """Octets leave at once up to whatever else stands behind them."""
        inbox = inboxWith(
            fragment(b"1", more=True), fragment(b"2"), fragment(b"3"), ASK, fragment(b"4"),
            stream=True,
        )  # fmt: skip
        self.assertEqual(taken(inbox), [b"123", ASK, b"4"])
        self.assertEqual(inbox.messages, 3)

    def test_noLimit(self) -> None:
        """There is no longest message in a stream."""
        inbox = inboxWith(*[fragment(bytes(LIMIT), more=True)] * 3, stream=True)
        self.assertEqual(taken(inbox), [bytes(3 * LIMIT)])

    def test_empty(self) -> None:
        """A message without octets counts, and is not told."""
        inbox = inboxWith(fragment(b""), fragment(b""), stream=True)
        self.assertEqual(taken(inbox), [])
        self.assertEqual(inbox.messages, 2)

    def test_beforeBroken(self) -> None:
        """Octets before what breaks a rule leave before it is refused."""
        inbox = inboxWith(
            fragment(b"1"), fragment(b"2", more=True), ASK, fragment(b"3"), stream=True
        )
        self.assertEqual(inbox.take(), b"12")
        self.assertRaises(RemoteProtocolError, inbox.take)


class RestTests(TestCase):
    """What is left when the session is over."""

    def rest(self, *messages: bytes, stream: bool = False) -> list[bytes]:
        """What is told of messages that are held when the session ends."""
        inbox = inboxWith(*messages, stream=stream)
        inbox.holding = True
        found = []
        try:
            for kind, content in inbox.rest():
                self.assertIn(kind, (MessageType.CDT, MessageType.CRQ))
                found.append(content)
        except RemoteProtocolError:
            found.append(b"refused")
        return found

    def test_inOrder(self) -> None:
        """It leaves as it would have before: held or not, whole and in order."""
        messages = (fragment(b"1"), fragment(b"2"), ASK, fragment(b"3"))
        self.assertEqual(self.rest(*messages), [b"1", b"2", ASK, b"3"])
        self.assertEqual(self.rest(*messages, stream=True), [b"12", ASK, b"3"])

    def test_incomplete(self) -> None:
        """Half a message is none, but octets of a stream are what they are."""
        messages = (fragment(b"1"), fragment(b"2", more=True))
        self.assertEqual(self.rest(*messages), [b"1"])
        self.assertEqual(self.rest(*messages, stream=True), [b"12"])

    def test_goodbye(self) -> None:
        """The goodbye itself, and what comes behind it, is not told any more."""
        self.assertEqual(self.rest(fragment(b"1"), BYE, fragment(b"2")), [b"1"])

    def test_behindGoodbye(self) -> None:
        """Once the goodbye has left, nothing is left."""
        inbox = inboxWith(BYE, fragment(b"2"))
        self.assertEqual(inbox.take(), BYE)
        self.assertEqual(list(inbox.rest()), [])

    def test_broken(self) -> None:
        """What breaks a rule is refused, after all that came before it."""
        messages = (fragment(b"1"), fragment(b"2", more=True), ASK, fragment(b"3"))
        self.assertEqual(self.rest(*messages), [b"1", b"refused"])
        self.assertEqual(self.rest(*messages, stream=True), [b"12", b"refused"])


class MirrorTests(TestCase):
    """The outbox and the inbox."""

    @given(
        st.lists(st.one_of(st.binary(max_size=50), st.just(None)), max_size=8),
        st.sets(st.integers(0, 30)),
        st.booleans(),
        st.booleans(),
    )
    def test_mirror(
        self, sent: list[bytes | None], pauses: set[int], stream: bool, rest: bool
    ) -> None:
        """What one outbox takes leaves an inbox the same, whenever it holds, whatever the end."""
        outbox = Outbox(MessageType.CDT, MessageType.CCR, 1 << 24)
        outbox.main.credit = 1 << 24
        for message in sent:
            if message is None:
                outbox.whole(MessageType.CRQ, ASK[1:], 1)
            else:
                outbox.data(outbox.main, message * 1000)
        inbox = Inbox(MessageType.CGB, None if stream else 1 << 24, Tally())
        got: list[bytes] = []
        step = 0
        while (message := outbox.take()) is not None:
            inbox.holding = step in pauses
            step += 1
            inbox.put(message)
            got += taken(inbox)
        if rest:
            got += [content for _, content in inbox.rest()]
        else:
            inbox.holding = False
            got += taken(inbox)
        expected = [ASK if each is None else each * 1000 for each in sent]
        if stream:
            self.assertEqual(b"".join(got), b"".join(expected))
            self.assertEqual(got.count(ASK), expected.count(ASK))
        else:
            self.assertEqual(got, expected)
        self.assertEqual(inbox.held, 0)

"""Requests and replies: their numbers and bounds in the core, their Deferreds above it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import TestCase

from tests.helpers import (
    PLENTY,
    Eavesdropper,
    clientSettings,
    ending,
    establishedPair,
    give,
    only,
    pump,
    sendTo,
    splitRecords,
)
from tests.pairs import Pair, PairCase, firings, freshClient, freshServer
from thing.core.capacity import MAX_REQUEST_RECORD, Capacity
from thing.core.layout import Message
from thing.core.messages import (
    CDT,
    CGB,
    CRP,
    CRQ,
    END,
    FRAGMENT_LIMIT,
    MORE,
    REQUEST_LIMIT,
    REQUESTS_OUTSTANDING,
    SDT,
    SGB,
    SRP,
    SRQ,
    Role,
)
from thing.core.records import HEADER_LENGTH, TAG_LENGTH
from thing.core.requests import RequestLedger
from thing.core.states import State
from thing.errors import (
    EndReason,
    ErrorCode,
    LocalProtocolError,
    RemoteProtocolError,
    ReplyStatus,
    RequestFailed,
    RequestTimedOut,
    SessionEnded,
)
from thing.events import (
    Cause,
    GoodbyeReceived,
    HeartbeatReceived,
    MessageReceived,
    ReplyReceived,
    RequestReceived,
    Terminated,
)
from thing.session.protocol import linkOf

DONE, FAILED, NOT_TAKEN, BUSY = ReplyStatus


def sides(role: Role, **settings: Any) -> tuple[Any, Any]:
    """Two sides of an established session, that of the role first."""
    client, server = establishedPair(**settings)
    return (client, server) if role is Role.CLIENT else (server, client)


def carry(sender: Any, receiver: Any) -> list[Any]:
    """Bring all that one side has to send to the other; what it tells."""
    return give(receiver, sender.dataToSend(0.0, PLENTY), 0.0)


def released(holding: Any, other: Any) -> list[Any]:
    """Have one side go on, until neither has more to send; what that side tells."""
    told = list(holding.release(0.0))
    while holding.hasDataToSend or other.hasDataToSend:
        carry(holding, other)
        told += carry(other, holding)
    return told


REQUESTS: dict[Role, type[CRQ] | type[SRQ]] = {Role.CLIENT: CRQ, Role.SERVER: SRQ}
REPLIES: dict[Role, type[CRP] | type[SRP]] = {Role.CLIENT: CRP, Role.SERVER: SRP}
DATA: dict[Role, type[CDT] | type[SDT]] = {Role.CLIENT: CDT, Role.SERVER: SDT}


class LedgerTests(TestCase):
    """The numbers alone."""

    def test_wraps(self) -> None:
        """After the last number comes zero, on both sides."""
        ledger = RequestLedger()
        ledger._madeLast = ledger._takenLast = 0xFFFFFFFE
        for number in (0xFFFFFFFF, 0, 1):
            self.assertEqual(ledger.next, number)
            ledger.made(number)
            ledger.take(number, 5, 0)

    def test_notUsedTwice(self) -> None:
        """A number that is unanswered since the last time round is not used again."""
        ledger = RequestLedger()
        ledger.made(1)
        ledger.take(1, 5, 0)
        ledger._madeLast = ledger._takenLast = 0
        with self.assertRaises(LocalProtocolError) as local:
            ledger.next  # noqa: B018
        self.assertIs(local.exception.code, ErrorCode.BUFFER_FULL)
        remote = self.assertRaises(RemoteProtocolError, ledger.take, 1, 5, 0)
        self.assertIs(remote.code, ErrorCode.TOO_MANY_REQUESTS)
        ledger.replied(1)
        self.assertEqual(ledger.next, 1)


class ExchangeTests(TestCase):
    """Requests of either side, between two cores."""

    def test_answered(self) -> None:
        """A request arrives, and its reply comes back with its number."""
        for role in Role:
            asking, answering = sides(role)
            self.assertEqual(asking.request(b"what?"), 1)
            self.assertEqual(carry(asking, answering), [RequestReceived(1, b"what?")])
            self.assertTrue(answering.reply(1, DONE, b"that"))
            self.assertEqual(carry(answering, asking), [ReplyReceived(1, DONE, b"that")])

    def test_bothWays(self) -> None:
        """The two sides' numbers have nothing to do with each other."""
        client, server = establishedPair()
        self.assertEqual((client.request(b"a"), client.request(b"b")), (1, 2))
        self.assertEqual(server.request(b"c"), 1)
        told = pump(client, server)
        self.assertEqual(told.server, [RequestReceived(1, b"a"), RequestReceived(2, b"b")])
        self.assertEqual(told.client, [RequestReceived(1, b"c")])

    def test_anyOrder(self) -> None:
        """Replies come in the order in which they are made."""
        client, server = establishedPair()
        for data in (b"a", b"b", b"c"):
            client.request(data)
        pump(client, server)
        for number in (3, 1, 2):
            server.reply(number, DONE)
        replies = only(ReplyReceived, pump(client, server).client)
        self.assertEqual([reply.number for reply in replies], [3, 1, 2])

    def test_inOrderWithData(self) -> None:
        """Requests and replies keep their places among messages, fragmented ones too."""
        client, server = establishedPair()
        server.request(b"earlier")
        pump(client, server)
        long = bytes(3 * FRAGMENT_LIMIT)
        client.sendMessage(long)
        client.request(b"question")
        client.sendMessage(b"")
        client.reply(1, DONE, b"answer")
        client.sendMessage(long)
        self.assertEqual(
            pump(client, server, limit=1).server,
            [
                MessageReceived(long),
                RequestReceived(1, b"question"),
                MessageReceived(b""),
                ReplyReceived(1, DONE, b"answer"),
                MessageReceived(long),
            ],
        )

    def test_overtaken(self) -> None:
        """Heartbeats go before requests that wait."""
        client, server = establishedPair()
        client.request(b"question")
        client.beat(1.0)
        kinds = [type(event) for event in pump(client, server, 1.0).server]
        self.assertEqual(kinds, [HeartbeatReceived, RequestReceived])

    def test_longest(self) -> None:
        """The longest request and the longest reply fill one record; one octet more is refused."""
        content = bytes(REQUEST_LIMIT)
        for role in Role:
            asking, answering = sides(role)
            asking.request(content)
            self.assertEqual(carry(asking, answering), [RequestReceived(1, content)])
            answering.reply(1, DONE, content)
            sent = answering.dataToSend(0.0, PLENTY)
            record = splitRecords(sent)[-1]  # Credit goes before it.
            self.assertEqual(len(record), HEADER_LENGTH + MAX_REQUEST_RECORD)
            self.assertEqual(len(record), HEADER_LENGTH + 1 + 4 + 1 + REQUEST_LIMIT + TAG_LENGTH)
            self.assertEqual(give(asking, sent, 0.0), [ReplyReceived(1, DONE, content)])
            error = self.assertRaises(LocalProtocolError, asking.request, content + b"x")
            self.assertIs(error.code, ErrorCode.BAD_ARGUMENT)
            asking.request(b"")
            carry(asking, answering)
            error = self.assertRaises(LocalProtocolError, answering.reply, 2, DONE, content + b"x")
            self.assertIs(error.code, ErrorCode.BAD_ARGUMENT)
            self.assertTrue(answering.reply(2, FAILED))

    def test_kinds(self) -> None:
        """What is asked is a copy, of anything that is like bytes; a text is refused."""
        client, server = establishedPair()
        buffer = bytearray(b"before")
        client.request(buffer)  # type: ignore[arg-type]
        buffer[:] = b"after!"
        self.assertEqual(pump(client, server).server, [RequestReceived(1, b"before")])
        self.assertRaises(TypeError, client.request, "text")

    def test_statuses(self) -> None:
        """Each status is told; one that is not known counts as a failure."""
        for number, status in (*enumerate(ReplyStatus), (4, FAILED), (255, FAILED)):
            client, _ = establishedPair()
            client.request(b"what?")
            events = sendTo(client, SRP(1, number, b"x"))
            self.assertEqual(events, [ReplyReceived(1, status, b"x")])

    def test_counted(self) -> None:
        """What waits counts as queued, with its header; when it is sent, no more."""
        client, server = establishedPair()
        client.request(b"12345")
        self.assertEqual(client.queued, 9)
        pump(client, server)
        self.assertEqual(client.queued, 0)
        server.reply(1, DONE, b"12345")
        self.assertEqual(server.queued, 10)

    def test_full(self) -> None:
        """A request that finds no room is refused, and uses no number."""
        client, server = establishedPair(clientSettings(maxBuffered=100))
        client.sendMessage(bytes(90))
        error = self.assertRaises(LocalProtocolError, client.request, bytes(7))
        self.assertIs(error.code, ErrorCode.BUFFER_FULL)
        self.assertEqual(client.request(bytes(6)), 1)
        self.assertEqual(len(pump(client, server).server), 2)

    def test_replyWithoutRoom(self) -> None:
        """A reply is taken even where data finds no room."""
        client, server = establishedPair(clientSettings(maxBuffered=100))
        server.request(b"question")
        pump(client, server)
        client.sendMessage(bytes(100))
        self.assertTrue(client.reply(1, DONE, b"answer"))
        self.assertRaises(LocalProtocolError, client.sendMessage, b"")
        self.assertIn(ReplyReceived(1, DONE, b"answer"), pump(client, server).server)

    def test_outstanding(self) -> None:
        """No more than 64 requests are unanswered; each reply that is read makes room for one."""
        for role in Role:
            asking, answering = sides(role)
            for _ in range(REQUESTS_OUTSTANDING):
                asking.request(b"")
            carry(asking, answering)
            error = self.assertRaises(LocalProtocolError, asking.request, b"")
            self.assertIs(error.code, ErrorCode.BUFFER_FULL)
            answering.reply(17, FAILED)
            answering.reply(5, DONE)
            carry(answering, asking)
            self.assertEqual((asking.request(b""), asking.request(b"")), (65, 66))
            self.assertEqual(len(carry(asking, answering)), 2)
            self.assertRaises(LocalProtocolError, asking.request, b"")

    def test_answeredOnce(self) -> None:
        """There is one reply to a request, and none to no request."""
        _, server = establishedPair()
        sendTo(server, CRQ(1, b""))
        server.reply(1, DONE)
        for number in (0, 1, 2):
            error = self.assertRaises(LocalProtocolError, server.reply, number, DONE)
            self.assertIs(error.code, ErrorCode.BAD_ARGUMENT)


class RuleTests(TestCase):
    """What a peer must not do."""

    def assertRefused(self, role: Role, code: ErrorCode, *messages: Message) -> None:
        """A side that receives these messages ends, tells why, and tells nothing of the last."""
        side, _ = sides(role)
        listener = Eavesdropper(side)
        events = sendTo(side, *messages)
        self.assertIs(ending(events).code, code)
        self.assertEqual(len(only(RequestReceived, events)), len(messages) - 1)
        (told,) = listener.read(side.dataToSend(0.0, PLENTY))
        self.assertEqual(told.code, code)  # type: ignore[attr-defined]

    def test_wrongNumbers(self) -> None:
        """Requests are numbered one by one from one."""
        for role in Role:
            request = REQUESTS[role.peer]
            for number in (0, 2, 0xFFFFFFFF):
                self.assertRefused(role, ErrorCode.REQUEST_NUMBER, request(number, b""))
            for number in (0, 1, 3):
                self.assertRefused(
                    role, ErrorCode.REQUEST_NUMBER, request(1, b""), request(number, b"")
                )

    def test_tooMany(self) -> None:
        """The 65th unanswered request is refused."""
        for role in Role:
            requests = [REQUESTS[role.peer](number + 1, b"") for number in range(65)]
            self.assertRefused(role, ErrorCode.TOO_MANY_REQUESTS, *requests)

    def test_unreadReplies(self) -> None:
        """Replies that are still to be sent count: who asks and does not read is refused."""
        _, server = establishedPair()
        for number in range(1, REQUESTS_OUTSTANDING + 1):
            sendTo(server, CRQ(number, b""))
            server.reply(number, DONE, bytes(REQUEST_LIMIT))
        self.assertLess(server.queued, 2 << 20)
        server.dataToSend(0.0, 1)
        self.assertEqual(sendTo(server, CRQ(65, b"")), [RequestReceived(65, b"")])
        self.assertIs(ending(sendTo(server, CRQ(66, b""))).code, ErrorCode.TOO_MANY_REQUESTS)

    def test_unexpectedReplies(self) -> None:
        """A reply to no request, or a second one, is refused."""
        for role in Role:
            reply = REPLIES[role.peer]
            side, _ = sides(role)
            events = sendTo(side, reply(1, DONE, b""))
            self.assertIs(ending(events).code, ErrorCode.REPLY_UNEXPECTED)
            side, _ = sides(role)
            side.request(b"")
            events = sendTo(side, reply(1, DONE, b"first"), reply(1, DONE, b"second"))
            self.assertEqual(only(ReplyReceived, events), [ReplyReceived(1, DONE, b"first")])
            self.assertIs(ending(events).code, ErrorCode.REPLY_UNEXPECTED)

    def test_reflected(self) -> None:
        """A side's own kinds of message are not taken from its peer."""
        for role in Role:
            for message in (REQUESTS[role](1, b""), REPLIES[role](1, DONE, b"")):
                side, _ = sides(role)
                side.request(b"")
                self.assertIs(ending(sendTo(side, message)).code, ErrorCode.REFLECTED_MESSAGE)

    def test_tooLong(self) -> None:
        """A request or a reply that is too long is refused, though a record holds it."""
        for role in Role:
            longer = REQUESTS[role.peer](1, bytes(REQUEST_LIMIT + 1))
            self.assertRefused(role, ErrorCode.MESSAGE_TOO_LONG, longer)
            side, _ = sides(role)
            side.request(b"")
            events = sendTo(side, REPLIES[role.peer](1, DONE, bytes(REQUEST_LIMIT + 1)))
            self.assertIs(ending(events).code, ErrorCode.MESSAGE_TOO_LONG)

    def test_insideMessage(self) -> None:
        """Between two fragments there is no place for a request, in a stream neither."""
        for stream in (False, True):
            for role in Role:
                settings = {role.name.lower(): _settings(role, stream=stream)}
                side, _ = sides(role, **settings)
                request = REQUESTS[role.peer](1, b"")
                events = sendTo(side, DATA[role.peer](MORE, 0, b"half"), request)
                self.assertIs(ending(events).code, ErrorCode.MALFORMED_MESSAGE)
                self.assertEqual(only(RequestReceived, events), [])

    def test_short(self) -> None:
        """Without its number, or its status, a message is malformed."""
        for role in Role:
            for kind, body in ((REQUESTS[role.peer], bytes(3)), (REPLIES[role.peer], bytes(4))):
                side, _ = sides(role)
                events = sendTo(side, _Raw(kind, body))
                self.assertIs(ending(events).code, ErrorCode.MALFORMED_MESSAGE)

    def test_afterGoodbye(self) -> None:
        """After CGB a client asks and answers nothing."""
        for message in (CRQ(1, b""), CRP(1, DONE, b"")):
            _, server = establishedPair()
            server.request(b"")
            events = sendTo(server, CGB(), message)
            self.assertIs(ending(events).code, ErrorCode.UNEXPECTED_MESSAGE)


def _settings(role: Role, **choices: Any) -> Any:
    return (freshClient if role is Role.CLIENT else freshServer)(**choices)


class _Raw:
    """A message with any body."""

    def __init__(self, kind: type[Message], body: bytes) -> None:
        self.TYPE = kind.TYPE
        self._body = body

    def encode(self) -> bytes:
        return self._body


class ClosingTests(TestCase):
    """Requests while a session ends."""

    def test_queuedBefore(self) -> None:
        """What was asked and answered before the goodbye arrives."""
        client, server = establishedPair()
        server.request(b"theirs")
        pump(client, server)
        client.request(b"mine")
        client.reply(1, DONE, b"answered")
        client.goodbye(0.0)
        (request, reply, goodbye) = give(server, client.dataToSend(0.0, PLENTY), 0.0)
        self.assertEqual(request, RequestReceived(1, b"mine"))
        self.assertEqual(reply, ReplyReceived(1, DONE, b"answered"))
        self.assertEqual(goodbye, GoodbyeReceived())

    def test_answeredBeforeGoodbyeIsRead(self) -> None:
        """A reply that is queued when CGB comes is flushed; after it there are none."""
        client, server = establishedPair()
        client.request(b"first")
        client.request(b"second")
        client.goodbye(0.0)
        events = server.receiveData(client.dataToSend(0.0, PLENTY), 0.0)
        self.assertEqual(next(events), RequestReceived(1, b"first"))
        self.assertTrue(server.reply(1, DONE, b"in time"))
        self.assertEqual(next(events), RequestReceived(2, b"second"))
        self.assertEqual(list(events), [GoodbyeReceived()])
        self.assertIs(server.state, State.CLOSING)
        self.assertFalse(server.reply(2, DONE, b"too late"))
        told = pump(client, server).client
        self.assertEqual(only(ReplyReceived, told), [ReplyReceived(1, DONE, b"in time")])
        self.assertTrue(ending(told).clean)

    def test_whileLeaving(self) -> None:
        """A client that leaves takes requests, and answers none."""
        client, server = establishedPair()
        server.goAway(EndReason.SHUTDOWN, 0.0, 10.0)
        self.assertEqual(server.request(b"still there?"), 1)
        told = give(client, server.dataToSend(0.0, PLENTY), 0.0)
        self.assertEqual(only(RequestReceived, told), [RequestReceived(1, b"still there?")])
        self.assertFalse(client.reply(1, DONE))
        self.assertIsNone(client.request(b""))
        self.assertTrue(ending(pump(client, server).server).clean)


class HoldTests(TestCase):
    """Requests that the application does not want yet, and replies, which come all the same."""

    def test_held(self) -> None:
        """Requests are held with the data, in order, and counted; replies are told at once."""
        client, server = establishedPair()
        server.request(b"theirs")
        pump(client, server)
        server.hold()
        client.sendMessage(b"one")
        client.request(b"two")
        client.reply(1, DONE, b"three")
        self.assertEqual(pump(client, server).server, [ReplyReceived(1, DONE, b"three")])
        self.assertGreater(server.held, len(b"onetwo"))
        self.assertEqual(
            list(server.release(0.0)), [MessageReceived(b"one"), RequestReceived(1, b"two")]
        )
        self.assertEqual(server._inbox.held, 0)

    def test_replyWithoutCredit(self) -> None:
        """Whoever holds what came, and its credit, until a reply is here gets the reply."""
        for role in Role:
            for sizes, answer in (((1, 9000), bytes(16000)), ((1000,) * 40, b"ok")):
                asking, answering = sides(role)
                asking.hold()
                for size in sizes:
                    answering.sendMessage(bytes(size))
                asking.request(b"")
                pump(*((asking, answering) if role is Role.CLIENT else (answering, asking)))
                answering.reply(1, DONE, answer)
                self.assertEqual(carry(answering, asking), [ReplyReceived(1, DONE, answer)])
                told = released(asking, answering)
                self.assertEqual([len(each.data) for each in told], list(sizes))

    def test_replyInsideMessage(self) -> None:
        """So it does between two fragments of a message, as a stream, too."""
        for stream in (False, True):
            for role in Role:
                settings = {role.name.lower(): _settings(role, stream=stream)}
                asking, answering = sides(role, **settings)
                asking.hold()
                message = bytes(100_000)
                answering.sendMessage(message)
                asking.request(b"")
                carry(asking, answering)
                answering.reply(1, DONE, b"here")
                self.assertEqual(carry(answering, asking), [ReplyReceived(1, DONE, b"here")])
                told = released(asking, answering)
                self.assertEqual(b"".join(each.data for each in told), message)

    def test_replyTooLate(self) -> None:
        """Behind the end of its direction there is none, nor behind a goodbye that waits."""
        for role in Role:
            late = REPLIES[role.peer](1, DONE, b"")
            side, _ = sides(role)
            side.request(b"")
            events = sendTo(side, DATA[role.peer](END, 0, b""), late)
            self.assertIs(ending(events).code, ErrorCode.STREAM_ENDED)
        client, server = establishedPair()
        server.request(b"")
        server.hold()
        events = sendTo(server, CDT(0, 0, b"held"), CGB(), CRP(1, DONE, b""))
        self.assertIs(ending(events).code, ErrorCode.UNEXPECTED_MESSAGE)
        self.assertEqual(only(ReplyReceived, events), [])
        client.request(b"")
        client.hold()
        client.goodbye(0.0)
        client.dataToSend(0.0, PLENTY)
        events = sendTo(client, SDT(0, 0, b"held"), SGB(), SRP(1, DONE, b""))
        self.assertIs(ending(events).code, ErrorCode.UNEXPECTED_MESSAGE)
        self.assertEqual(only(ReplyReceived, events), [])

    def test_rulesHold(self) -> None:
        """A rule that a held request breaks is seen when it is looked at."""
        _, server = establishedPair()
        server.hold()
        self.assertEqual(sendTo(server, CRQ(1, b""), CRQ(3, b"")), [])
        events = list(server.release(0.0))
        self.assertEqual(events[0], RequestReceived(1, b""))
        self.assertIs(ending(events).code, ErrorCode.REQUEST_NUMBER)

    def test_endLosesNothing(self) -> None:
        """What is held when the stream ends is told before the end, up to a broken rule."""
        client, server = establishedPair()
        server.request(b"")
        pump(client, server)
        server.hold()
        client.sendMessage(b"held")
        client.request(b"held, too")
        pump(client, server)
        sendTo(server, CRQ(9, b"wrong"))
        events = server.receiveEnd(0.0)
        self.assertEqual(events[:2], [MessageReceived(b"held"), RequestReceived(1, b"held, too")])
        self.assertEqual(len(only(Terminated, events)), 1)
        self.assertIs(events[-1], only(Terminated, events)[0])


class AskingTests(PairCase):
    """Requests as the application sees them."""

    def session(self, handler: Callable[[bytes], Any] | None = None, **named: Any) -> Pair:
        """An established pair, whose server answers with a handler."""
        pair = self.pair(**named).up()
        if handler is not None:
            pair.server.requestReceived = handler  # type: ignore[method-assign]
        return pair

    def ask(self, pair: Pair, data: bytes = b"what?", timeout: float = 10.0) -> list[Any]:
        """What becomes of a client's request."""
        fired = firings(pair.client.request(data, timeout))
        pair.pump()
        return fired

    def assertFailed(self, fired: list[Any], status: ReplyStatus) -> None:
        """The request has failed with a status, once."""
        (error,) = fired
        self.assertIsInstance(error, RequestFailed)
        self.assertIs(error.status, status)

    def test_answers(self) -> None:
        """Octets, a Deferred, a coroutine or nothing at all: each is an answer."""

        async def coroutine(data: bytes) -> bytes:
            return await succeed(data * 2)

        for handler, answer in (
            (lambda data: data.upper(), b"WHAT?"),
            (lambda data: None, b""),
            (lambda data: succeed(b"later"), b"later"),
            (lambda data: succeed(None), b""),
            (coroutine, b"what?what?"),
            (lambda data: bytes(REQUEST_LIMIT), bytes(REQUEST_LIMIT)),
        ):
            self.assertEqual(self.ask(self.session(handler)), [answer])

    def test_otherDirection(self) -> None:
        """A server asks as a client does."""
        pair = self.session()
        pair.client.requestReceived = bytes.upper  # type: ignore[method-assign]
        fired = firings(pair.server.request(b"what?"))
        pair.pump()
        self.assertEqual(fired, [b"WHAT?"])

    def test_later(self) -> None:
        """Answers that take time come when they are there, whatever the order."""
        pending: list[Deferred[bytes]] = []

        def handler(data: bytes) -> Deferred[bytes]:
            pending.append(Deferred())
            return pending[-1]

        pair = self.session(handler)
        first, second = self.ask(pair, b"1"), self.ask(pair, b"2")
        self.assertEqual((first, second), ([], []))
        pending[1].callback(b"two")
        pair.pump()
        self.assertEqual((first, second), ([], [b"two"]))
        pending[0].callback(b"one")
        pair.pump()
        self.assertEqual((first, second), ([b"one"], [b"two"]))

    def test_default(self) -> None:
        """By default a request is an acknowledged message, in order with the others."""
        pair = self.session()
        pair.client.sendMessage(b"before")
        fired = firings(pair.client.request(b"noted?"))
        pair.client.sendMessage(b"after")
        pair.pump()
        self.assertEqual(fired, [b""])
        self.assertEqual(pair.server.messages, [b"before", b"noted?", b"after"])

    def test_stream(self) -> None:
        """A program that uses the data as a stream takes no requests, unless it says so itself."""
        pair = self.session(server=freshServer(stream=True))
        self.assertFailed(self.ask(pair), NOT_TAKEN)
        self.assertEqual(pair.server.messages, [])
        pair.server.requestReceived = bytes.upper  # type: ignore[method-assign]
        self.assertEqual(self.ask(pair), [b"WHAT?"])

    def test_saysSo(self) -> None:
        """A handler may say itself why not; the session goes on, and nothing is logged."""
        for status in (NOT_TAKEN, BUSY, FAILED):
            pair = self.session(lambda data, status=status: fail(RequestFailed(status)))
            self.assertFailed(self.ask(pair), status)
            self.assertIsNone(pair.server.termination)

    def test_bugs(self) -> None:
        """A handler's failure is logged and told as such, and the session goes on."""
        for handler, kind in (
            (lambda data: 1 // 0, ZeroDivisionError),
            (lambda data: fail(ValueError("later")), ValueError),
            (lambda data: fail(RequestFailed(DONE)), RequestFailed),
            (lambda data: "text", TypeError),
            (lambda data: bytearray(b"not bytes"), TypeError),
            (lambda data: succeed(17), TypeError),
            (lambda data: bytes(REQUEST_LIMIT + 1), ValueError),
        ):
            pair = self.session(handler)
            self.assertFailed(self.ask(pair), FAILED)
            self.assertEqual(len(self.flushLoggedErrors(kind)), 1)
            self.assertIsNone(pair.server.termination)
            pair.server.requestReceived = bytes.upper  # type: ignore[method-assign]
            self.assertEqual(self.ask(pair), [b"WHAT?"])

    def test_smallPeer(self) -> None:
        """An answer that does not fit the record of who asked fails, and no request is lost."""
        for small in Role:
            settings = {"capacity": Capacity(512, 576, 128, 0)}
            pair = self.session(
                server=freshServer(**settings if small is Role.SERVER else {}),
                client=freshClient(**settings if small is Role.CLIENT else {}),
            )
            asks, answers = pair.client, pair.server
            if small is Role.SERVER:
                asks, answers = answers, asks
            answers.requestReceived = lambda data: bytes(int(data))  # type: ignore[method-assign]
            for octets in (491, REQUEST_LIMIT) * REQUESTS_OUTSTANDING:
                fired = firings(asks.request(b"%d" % octets))
                pair.pump()
                self.assertFailed(fired, FAILED)
            self.assertTrue(self.flushLoggedErrors(ValueError))
            fired = firings(asks.request(b"490"))
            pair.pump()
            self.assertEqual(fired, [bytes(490)])
            error = self.assertRaises(LocalProtocolError, answers.request, bytes(491))
            self.assertIn("491 octets, and the peer takes 490 at most", str(error))

    def test_messageReceivedFails(self) -> None:
        """By default the same holds for ``messageReceived``, if a request was the message."""
        pair = self.session()
        pair.server.doing["messageReceived"] = lambda _: 1 // 0
        self.assertFailed(self.ask(pair), FAILED)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNone(pair.server.termination)

    def test_timesOut(self) -> None:
        """After its time a request fails; the late reply is discarded, and frees its slot."""
        answer: Deferred[bytes] = Deferred()
        pair = self.session(lambda data: answer)
        fired = self.ask(pair, timeout=2.5)
        pair.advance(2.4)
        self.assertEqual(fired, [])
        pair.advance(0.2)
        (error,) = fired
        self.assertIsInstance(error, RequestTimedOut)
        self.assertIn("2.5 s", str(error))
        ledger = linkOf(pair.client).core._requests
        self.assertEqual(ledger._made, {1})
        answer.callback(b"late")
        pair.pump()
        self.assertEqual(len(fired), 1)
        self.assertEqual(ledger._made, set())
        self.assertIsNone(pair.client.termination)

    def test_cancelled(self) -> None:
        """Who cancels waits no longer; the reply is discarded."""
        pair = self.session(bytes.upper)
        waiter = pair.client.request(b"what?")
        fired = firings(waiter)
        waiter.cancel()
        self.assertIsInstance(fired[0], CancelledError)
        pair.pump()
        self.assertEqual(len(fired), 1)
        self.assertEqual(self.ask(pair), [b"WHAT?"])

    def test_neverAnswered(self) -> None:
        """With 64 unanswered, who asks is refused; timed out ones count until they are answered."""
        pair = self.session(lambda data: Deferred())
        fired = [self.ask(pair, timeout=1.0) for _ in range(REQUESTS_OUTSTANDING)]
        pair.advance(1.1)
        self.assertEqual({type(each[0]) for each in fired}, {RequestTimedOut})
        error = self.assertRaises(LocalProtocolError, pair.client.request, b"one more")
        self.assertIs(error.code, ErrorCode.BUFFER_FULL)
        self.assertIsNone(pair.server.termination)

    def test_sessionEnds(self) -> None:
        """All that is unanswered fails when the session ends, before ``terminated`` is called."""
        for end in ("abort", "goodbye"):
            pair = self.session(lambda data: Deferred())
            fired = [self.ask(pair) for _ in range(3)]
            pair.client.doing["terminated"] = lambda _, fired=fired: self.assertTrue(all(fired))
            getattr(pair.client, end)()
            pair.pump()
            for (error,) in fired:
                self.assertIsInstance(error, SessionEnded)
                self.assertEqual(error.termination, pair.client.end)
                self.assertEqual(str(error), str(pair.client.end))

    def test_serverAborts(self) -> None:
        """A truncation fails them, too."""
        pair = self.session(lambda data: Deferred())
        fired = self.ask(pair)
        pair.server.abort()
        pair.pump()
        self.assertIs(fired[0].termination.cause, Cause.TRUNCATED)

    def test_cancelledAtTheEnd(self) -> None:
        """Who is failed at the end may cancel another: each fires once."""
        pair = self.session(lambda data: Deferred())
        waiters = [pair.client.request(b"") for _ in range(3)]
        waiters[0].addErrback(lambda _: waiters[2].cancel())
        fired = [firings(waiter) for waiter in waiters]
        pair.client.abort()
        self.assertEqual(fired[0], [None])
        self.assertIsInstance(fired[1][0], SessionEnded)
        self.assertIsInstance(fired[2][0], CancelledError)

    def test_askedAfterTheEnd(self) -> None:
        """After the end a request fails at once, with how it ended."""
        pair = self.session()
        pair.client.goodbye()
        pair.pump()
        (error,) = firings(pair.client.request(b"late"))
        self.assertEqual(error.termination, pair.client.end)

    def test_askedAtTheEnd(self) -> None:
        """So does one that is made because another failed, and one made by ``terminated``."""
        pair = self.session(lambda data: Deferred())
        fired: list[Any] = []

        def again(_: object) -> None:
            fired.extend(firings(pair.client.request(b"again")))

        pair.client.request(b"").addErrback(again)
        pair.client.doing["terminated"] = again
        pair.client.abort()
        self.assertEqual([type(error) for error in fired], [SessionEnded] * 2)

    def test_askedWhileClosing(self) -> None:
        """A request of a session that is closing is not sent, and fails when it has ended."""
        pair = self.session(bytes.upper)
        pair.client.goodbye()
        fired = firings(pair.client.request(b"late"))
        self.assertEqual(fired, [])
        pair.pump()
        self.assertIs(fired[0].termination.cause, Cause.GOODBYE)

    def test_askedTooEarly(self) -> None:
        """Before the session is up nothing can be asked."""
        pair = self.pair()
        for side in (pair.client, pair.server):
            error = self.assertRaises(LocalProtocolError, side.request, b"early")
            self.assertIs(error.code, ErrorCode.WRONG_STATE)
        pair.up()

    def test_badArguments(self) -> None:
        """Too long a request, and a timeout that is none, are refused, and leave nothing behind."""
        pair = self.session()
        infinite, nothing = float("inf"), float("nan")
        for arguments in (
            (bytes(REQUEST_LIMIT + 1), 1.0),
            *((b"", timeout) for timeout in (0.0, -1.0, infinite, nothing)),
        ):
            error = self.assertRaises(LocalProtocolError, pair.client.request, *arguments)
            self.assertIs(error.code, ErrorCode.BAD_ARGUMENT)
        self.assertRaises(TypeError, pair.client.request, "text")
        self.assertEqual(linkOf(pair.client).core._requests.next, 1)

    def test_handlersAreCancelled(self) -> None:
        """Who is at work on an answer when the session ends is cancelled, without a log entry."""
        cancelled: list[Any] = []
        pair = self.session(lambda data: Deferred(cancelled.append))
        for _ in range(3):
            self.ask(pair)
        pair.client.abort()
        pair.pump()
        self.assertEqual(len(cancelled), 3)

    def test_cancellerFails(self) -> None:
        """One whose canceller fails does not keep the others from being cancelled."""
        cancelled: list[Any] = []

        def canceller(waiter: Deferred[bytes]) -> None:
            cancelled.append(waiter)
            raise ZeroDivisionError

        pair = self.session(lambda data: Deferred(canceller))
        self.ask(pair)
        self.ask(pair)
        pair.client.abort()
        pair.pump()
        self.assertEqual(len(cancelled), 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_handlerEndsTheSession(self) -> None:
        """A handler that ends the session: its answer is dropped, the request fails."""
        for how in ("abort", "goodbye", "loseConnection"):
            pair = self.pair().up()

            def handler(data: bytes, pair: Pair = pair, how: str = how) -> bytes:
                getattr(pair.server, how)()
                return b"bye"

            pair.server.requestReceived = handler  # type: ignore[method-assign]
            fired = self.ask(pair)
            self.assertEqual(len(fired), 1)
            self.assertIsInstance(fired[0], SessionEnded if how == "abort" else bytes)

    def test_answersAndAsks(self) -> None:
        """A handler may ask back before it answers."""
        pair = self.pair().up()
        pair.server.requestReceived = lambda _: pair.server.request(b"who?")  # type: ignore[method-assign]
        pair.client.requestReceived = lambda _: b"me"  # type: ignore[method-assign]
        self.assertEqual(self.ask(pair), [b"me"])

    def test_held(self) -> None:
        """A paused program sees no requests; who asked it has his time, and it its replies."""
        pair = self.session(bytes.upper)
        pair.client.pauseProducing()
        self.assertEqual(self.ask(pair), [b"WHAT?"])
        pair.client.resumeProducing()
        pair.server.pauseProducing()
        fired = self.ask(pair, timeout=1.0)
        self.assertEqual(fired, [])
        pair.advance(1.1)
        self.assertIsInstance(fired[0], RequestTimedOut)
        pair.server.resumeProducing()
        pair.pump()
        self.assertEqual(len(fired), 1)

    def test_heldAtTheEnd(self) -> None:
        """A request that was held when its session ended is dealt with; its answer is dropped."""
        seen: list[bytes] = []

        def handler(data: bytes) -> Deferred[bytes]:
            seen.append(data)
            return Deferred()

        pair = self.session(handler)
        pair.server.pauseProducing()
        self.ask(pair, b"held")
        pair.client.abort()
        pair.pump()
        self.assertEqual(seen, [b"held"])
        self.assertEqual(linkOf(pair.server).requests._answering, {})

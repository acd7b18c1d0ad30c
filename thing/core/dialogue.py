"""
What the two programs of a session say to each other: messages, requests and replies.

Both roles do it alike. How it gets across, when it is legal and how a session ends is the
business of :mod:`thing.core.connection`.
"""

from __future__ import annotations

from typing import ClassVar

from thing.core import endings
from thing.core.keyschedule import exportKeyingMaterial
from thing.core.messages import CKU, REQUEST_LIMIT, Reply, Request
from thing.core.opening import H
from thing.core.requests import RequestLedger, contentOf
from thing.core.settings import Settings
from thing.core.states import WRITABLE_STATES, State
from thing.core.streaming import Streaming
from thing.core.streams import STREAM_COST
from thing.errors import ErrorCode, LocalProtocolError, RemoteProtocolError, ReplyStatus
from thing.events import (
    KeyUpdated,
    MessageReceived,
    ReplyReceived,
    RequestReceived,
    Termination,
)


class Dialogue(Streaming[H]):
    """
    A Connection, with what its program sends and is told.

    :ivar messagesSent: how many of the application's messages and requests were given to send.
    """

    _requestOut: ClassVar[type[Request]]
    _replyOut: ClassVar[type[Reply]]

    __slots__ = ("_ledger", "_requestsReceived", "messagesSent")

    def __init__(self, settings: Settings, handshake: H) -> None:
        """
        :param settings: what this side chose.
        :param handshake: this side's handshake, not begun.
        """
        super().__init__(settings, handshake)
        self.messagesSent = self._requestsReceived = 0
        self._ledger: RequestLedger | None = None

    @property
    def messagesReceived(self) -> int:
        """How many of the application's messages and requests came in."""
        inbox = self._inboxOrNone
        return self._requestsReceived + (0 if inbox is None else inbox.messages)

    @property
    def held(self) -> int:
        """
        How many octets of memory wait here for one of the two programs, or for the rest of what
        the peer began: of records, messages, requests and streams, with something for each.
        """
        held = self._reader.buffered + self._outbox.held
        if self._tallyOrNone is not None:
            held += self._tallyOrNone.octets
        if self._streamsOrNone is not None:
            held += STREAM_COST * len(self._streamsOrNone.open)
        return held if self._ledger is None else held + self._ledger.held

    def sendMessage(self, data: bytes) -> bool:
        """
        Queue an application message of any length, zero included.

        :param data: the message.
        :return: whether it is queued; False once the session is closing or
            over, as a program cannot always know that yet.
        :raises LocalProtocolError: ``WRONG_STATE`` before the session is up;
            ``BUFFER_FULL`` if with it too much would wait.
        :raises TypeError: unless ``data`` is bytes or like bytes.
        """
        if not self._mayWrite:
            return False
        self._outbox.data(self._outbox.main, data)
        self.messagesSent += 1
        return True

    @property
    def _mayWrite(self) -> bool:
        """Whether data can be sent; that they cannot is the caller's error only at first."""
        if self._machine.state in WRITABLE_STATES:
            return not self._outbox.mainEnding
        if self.session is None and self.termination is None:
            raise LocalProtocolError(ErrorCode.WRONG_STATE, f"no data in {self.state.name}")
        return False

    @property
    def requestLimit(self) -> int:
        """How many octets a request or a reply may have: as many as the peer's records hold."""
        return self._peerCapacity.request

    def request(self, data: bytes) -> int | None:
        """
        Queue a request; its reply is told by :class:`~thing.events.ReplyReceived`.

        :param data: what is asked, at most :attr:`requestLimit` octets.
        :return: its number; None once the session is closing or over.
        :raises LocalProtocolError: ``WRONG_STATE`` before the session is up;
            ``BAD_ARGUMENT`` if it is too long; ``BUFFER_FULL`` if too many are
            unanswered, or if with it too much would wait.
        :raises TypeError: unless ``data`` is bytes or like bytes.
        """
        content = contentOf(data, self.requestLimit)
        if not self._mayWrite:
            return None
        number = self._requests.next
        request = self._requestOut(number, content)
        self._outbox.whole(request.TYPE, request.encode(), len(content))
        self._requests.made(number)
        self.messagesSent += 1
        return number

    def reply(self, number: int, status: ReplyStatus, data: bytes = b"") -> bool:
        """
        Queue the reply to a request of the peer's.

        It is never refused for want of room, and never waits for credit: the peer's requests are
        bounded, and wait for it.

        :param number: the request's.
        :param status: what became of it.
        :param data: the answer, at most :attr:`requestLimit` octets.
        :return: whether it is queued; False once the session is closing or over.
        :raises LocalProtocolError: ``BAD_ARGUMENT`` if it is too long, or if no such
            request is unanswered; ``WRONG_STATE`` before the session is up.
        """
        content = contentOf(data, self.requestLimit)
        if not self._mayWrite:
            return False
        self._requests.reply(number)
        reply = self._replyOut(number, status, content)
        self._outbox.reply(reply.typed())
        return True

    def updateKey(self, now: float) -> None:
        """
        Move this side's sending key forward now (it also does so by itself, in time).

        :param now: the time, seconds.
        :raises LocalProtocolError: ``WRONG_STATE`` unless the session is up.
        """
        key = self._writer.key
        if self.session is None or key is None:
            raise LocalProtocolError(ErrorCode.WRONG_STATE, f"no traffic key in {self.state.name}")
        if self.state is State.AWAIT_CFL:
            return  # The final word is said.
        if key.records:  # An unused key needs no update, and the peer would refuse it.
            self._writer.update(now)

    def exportKeyingMaterial(self, label: str, context: bytes, length: int) -> bytes:
        """
        Derive octets that only the two ends of this session know.

        :param label: what they are for; ASCII, at most 128 characters.
        :param context: what else they are bound to.
        :param length: how many, 1 to 8160.
        :return: the same octets on both sides.
        :raises LocalProtocolError: ``WRONG_STATE`` unless the session is up,
            ``BAD_ARGUMENT`` for a label or a length out of bounds.
        """
        if self._exporterSecret is None:
            raise LocalProtocolError(ErrorCode.WRONG_STATE, f"no keys in {self.state.name}")
        return exportKeyingMaterial(self._exporterSecret, label, context, length)

    @property
    def _requests(self) -> RequestLedger:
        if self._ledger is None:
            self._ledger = RequestLedger()
        return self._ledger

    def _receiveData(self, data: bytes) -> None:
        self._events.append(MessageReceived(data))

    def _receiveRequest(self, message: bytes) -> None:
        request = Request.decode(message[1:])
        if len(request.data) > REQUEST_LIMIT:
            raise RemoteProtocolError(ErrorCode.MESSAGE_TOO_LONG, "a request")
        self._requests.take(request.number, len(request.data), self._outbox.repliesWaiting)
        self._requestsReceived += 1
        self._events.append(RequestReceived(request.number, request.data))

    def _receiveReply(self, message: bytes) -> None:
        self._checkReply()
        reply = Reply.decode(message[1:])
        if len(reply.data) > REQUEST_LIMIT:
            raise RemoteProtocolError(ErrorCode.MESSAGE_TOO_LONG, "a reply")
        self._requests.replied(reply.number)
        status = endings.known(ReplyStatus, reply.status)
        if not isinstance(status, ReplyStatus):
            status = ReplyStatus.FAILED
        self._events.append(ReplyReceived(reply.number, status, reply.data))

    def _receiveUpdate(self, message: bytes) -> None:
        CKU.decode(message[1:])  # SKU has the same layout.
        self._events.append(KeyUpdated(self._reader.update(self._now)))

    def _end(self, termination: Termination) -> None:
        super()._end(termination)
        self._ledger = None

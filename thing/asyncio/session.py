"""
:class:`Session`: one session, as a program on asyncio sees it.

What is asked and answered in it, and its streams, are parts with modules of their own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, get_args

from thing.arguments import checkCallable, checkCount, checkNumber
from thing.asyncio.contexts import Closing
from thing.asyncio.facts import SessionFacts
from thing.asyncio.known import KeyContinuity
from thing.asyncio.link import Link
from thing.asyncio.log import Failures, log
from thing.asyncio.requests import Requests
from thing.asyncio.streams import READ_LIMIT, StreamEvent, StreamHandler, Streams
from thing.core.client import ClientConnection
from thing.core.connection import WRITE_BATCH
from thing.core.kept import KeptTicket
from thing.core.server import ServerConnection
from thing.core.settings import ClientSettings, ServerSettings
from thing.core.states import ESTABLISHED_STATES
from thing.errors import (
    EndReason,
    ErrorCode,
    HandshakeFailed,
    LocalProtocolError,
    ReplyStatus,
    SessionEnded,
    ThingError,
)
from thing.events import (
    DataEnded,
    Event,
    HandshakeCompleted,
    KeysAnnounced,
    MessageReceived,
    ReplyReceived,
    RequestReceived,
    StreamRequested,
    Terminated,
    Termination,
    TicketReceived,
)
from thing.text import visible
from thing.trust.interfaces import ServerAuthorizer, ThingAuthorizer

if TYPE_CHECKING:
    from typing_extensions import Self

READ_HIGH = 65536
"""With more than so many octets of messages unread the peer is held back, octets."""

MESSAGE_COST = 64
"""What each message counts beside its octets, so that empty ones are not free, octets."""


RequestHandler = Callable[["Session", bytes], Awaitable[bytes | None]]
"""Answers a request of the peer's; raises :class:`~thing.errors.RequestFailed` to say no."""


class Session(SessionFacts, Closing):
    """
    One session, of either role.

    Iterate over it for its messages; the iteration ends when no more come, since the peer has ended
    its half or both sides have said goodbye, and fails with :class:`~thing.errors.SessionEnded`
    when the session ends in any other way. Used by ``async with`` it is closed in the end, in
    order.

    Every method may be cancelled: nothing that came is lost by it. What is not a coroutine does
    not wait. What can be asked of it is described at
    :class:`~thing.asyncio.facts.SessionFacts`.
    """

    def __init__(
        self,
        settings: ClientSettings | ServerSettings,
        core: ClientConnection | ServerConnection,
        authorizer: ThingAuthorizer | ServerAuthorizer,
        on_request: RequestHandler | None,
        streams: Mapping[str, StreamHandler],
        failures: Failures,
        tickets: KeptTicket | None = None,
    ) -> None:
        """
        :param settings: what this side chose.
        :param core: the Connection, not started.
        :param authorizer: whom to believe.
        :param on_request: answers requests; without, they are taken as messages.
        :param streams: what serves streams that the peer opens, by label.
        :param failures: logs what goes wrong in the program's own code.
        :param tickets: keeps what lets the next session begin without signatures.
        """
        self._on_event: Callable[[Event], object] | None = None
        self._tickets = tickets
        self.link = Link(core, authorizer, self, failures)
        self._core = core
        self._settings = settings
        self._authorizer = authorizer
        self._on_request = on_request
        self._requests = Requests(self.link)
        self._streams = Streams(
            self.link, self, streams, settings.closeTimeout, 2 * settings.capacity.maxStreams
        )
        self._messages: deque[bytes] = deque()
        self._held = self._ended = self._closing = False
        self._stirred = asyncio.Event()  # A message came, or none comes any more.
        self._room = asyncio.Event()  # Little waits to be sent, or nothing can be.
        self._up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closed = asyncio.Event()
        self._keeping: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        """The session's peer and id, and nothing that is secret."""
        return f"<Session {self.session_id or 'not up'} with {self.peer}>"

    # What can be asked.

    @property
    def on_event(self) -> Callable[[Event], object] | None:
        """
        Called with each event of the core (:mod:`thing.events`) before it is dealt with here.

        It is for logs and measures, and waits for nothing. If it fails, that is logged, and the
        session goes on.
        """
        return self._on_event

    @on_event.setter
    def on_event(self, on_event: Callable[[Event], object] | None) -> None:
        checkCallable("on_event", on_event)
        self._on_event = on_event

    # Messages.

    async def send(self, message: bytes) -> None:
        """
        Send a message; wait first while much of what was sent before waits for the peer.

        :param message: any length, up to what the peer takes.
        :raises SessionEnded: if the session is over, or once it is, if it says goodbye already.
        :raises LocalProtocolError: ``BUFFER_FULL`` if it alone is longer than ``maxBuffered``.
        :raises TypeError: unless it is bytes or like bytes.
        """
        while self.termination is None and self._core.queued > WRITE_BATCH:
            self._room.clear()
            await self._room.wait()
        if not self._core.sendMessage(message):
            raise SessionEnded(await self.wait_closed())
        self.link.flush()

    async def recv(self) -> bytes:
        """
        Wait for the next message.

        :return: the message.
        :raises SessionEnded: when the session is over, and all that came is taken;
            ``termination`` says how it ended.
        :raises EOFError: when the peer has ended its half, and the session goes on.
        """
        while not self._messages:
            if self.termination is not None:
                raise SessionEnded(self.termination)
            if self._ended:
                raise EOFError("the peer sends no more messages")
            self._stirred.clear()
            await self._stirred.wait()
        message = self._messages.popleft()
        self.link.aside -= len(message) + MESSAGE_COST
        if self._held and self.link.aside <= READ_HIGH // 2:
            self._held = False
            self.link.follow(self._core.release(self.link.now))
        return message

    def __aiter__(self) -> Self:
        """:return: the session, for its messages."""
        return self

    async def __anext__(self) -> bytes:
        """:return: the next message."""
        try:
            return await self.recv()
        except EOFError:
            raise StopAsyncIteration from None
        except SessionEnded as ended:
            if ended.termination.clean:
                raise StopAsyncIteration from None
            raise

    def end_data(self) -> None:
        """End this side's half, behind all that was sent; the peer's goes on."""
        self._core.endStream(0)
        self.link.flush()

    # Requests and streams.

    async def request(self, data: bytes, timeout: float = 10.0) -> bytes:
        """
        Ask the peer something; it arrives in order with the messages.

        :param data: what is asked, at most 16380 octets, and no more than the peer's records hold
            (490 at least).
        :param timeout: how long to wait for the reply, seconds.
        :return: the reply.
        :raises RequestFailed: if the peer says that it could not.
        :raises RequestTimedOut: if no reply came in time; whether it was dealt with is not known.
        :raises SessionEnded: if the session ended first; neither is it known then.
        :raises LocalProtocolError: ``BAD_ARGUMENT`` if it is too long; ``BUFFER_FULL`` if 64
            are unanswered, or too much waits to be sent.
        :raises TypeError: unless it is bytes or like bytes.
        """
        if self.termination is not None:
            raise SessionEnded(self.termination)
        return await self._requests.ask(data, timeout)

    async def open_stream(
        self, label: str, timeout: float = 30.0, limit: int = READ_LIMIT
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """
        Open a stream beside the messages.

        :param label: what it is for, 1 to 255 octets in UTF-8.
        :param timeout: how long the peer may take to decide, seconds.
        :param limit: how far the reader looks for the end of a line, octets.
        :return: a reader and a writer, as of ``asyncio.open_connection``.
        :raises StreamRefused: if the peer does not take it; ``code`` says why.
        :raises asyncio.TimeoutError: if the peer has not decided in time.
        :raises SessionEnded: if the session is over, or ends first.
        :raises LocalProtocolError: ``TOO_MANY_STREAMS``; ``WRONG_STATE`` while the session says
            goodbye; ``BAD_ARGUMENT`` for a label that is none, or a number out of bounds.
        """
        checkNumber("timeout", timeout)
        checkCount("limit", limit)
        if self.termination is not None:
            raise SessionEnded(self.termination)
        return await self._streams.open(label, timeout, limit)

    def set_last_word(self, last_word: bytes) -> bool:
        """
        Client: leave a message that the server makes public if the session ends without goodbye.

        :param last_word: at most 4096 octets; they replace those before, none withdraw them.
        :return: whether the server gets it; False once the session is closing or over.
        :raises LocalProtocolError: ``WRONG_STATE`` on a server; ``BAD_ARGUMENT`` if it is too
            long; ``BUFFER_FULL`` if too much waits to be sent.
        """
        if not isinstance(self._core, ClientConnection):
            raise LocalProtocolError(ErrorCode.WRONG_STATE, "only a client leaves a last word")
        left = self._core.setLastWord(last_word)
        self.link.flush()
        return left

    # The end.

    def close(self) -> None:
        """
        End the session in order: all that was sent before arrives; what still comes is dropped.

        A client says goodbye; a server asks the client to. Before the session is up it is aborted.
        Calling it again is harmless. :meth:`wait_closed` waits until it is done.
        """
        self._closing = True
        self.hand_over()
        if self._core.state not in ESTABLISHED_STATES:
            self.abort()  # Of one that is over nothing comes.
            return
        if isinstance(self._core, ClientConnection):
            self.link.follow(self._core.goodbye(self.link.now))
        else:
            self.go_away(EndReason.CLOSING)
        self.link.follow(self._core.release(self.link.now))  # Its goodbye is behind what is held.

    def go_away(
        self, reason: EndReason, grace: float | None = None, retry_after: float = 0.0
    ) -> None:
        """
        Server: ask the client to say goodbye; its heartbeats renew nothing any more.

        :param reason: why.
        :param grace: how long to wait at most, seconds; None for ``closeTimeout``.
        :param retry_after: how long the client should stay away, seconds.
        :raises LocalProtocolError: ``WRONG_STATE`` on a client, or unless the session is up.
        """
        if not isinstance(self._core, ServerConnection):
            raise LocalProtocolError(ErrorCode.WRONG_STATE, "only a server goes away")
        grace = self._settings.closeTimeout if grace is None else grace
        self.link.follow(self._core.goAway(reason, self.link.now, grace, retry_after))

    def abort(self) -> None:
        """End the session at once; the peer sees a truncated stream."""
        self.link.follow(self._core.abort(self.link.now))

    async def wait_closed(self) -> Termination:
        """
        Wait for the end of the session and of its stream.

        :return: how it ended.
        """
        await self._closed.wait()
        assert self.termination is not None, "without a stream there is no session"
        return self.termination

    async def wait_established(self) -> None:
        """
        Wait for the handshake.

        :raises HandshakeFailed: if the session does not come up.
        """
        await asyncio.shield(self._up)

    def _cut(self) -> None:
        self.abort()

    # What the link tells.

    def connected(self, link: Link) -> None:
        """:param link: which has its transport now."""

    def admitted(self, link: Link) -> None:
        """:param link: whose peer was admitted."""

    def hand_over(self) -> None:
        """Give the core what was written in streams."""
        self._streams.hand_over()

    def holds(self, octets: int) -> None:
        """:param octets: how much waits in the memory for this session now."""

    def sent(self) -> None:
        """Less waits to be sent."""
        if self._core.queued <= WRITE_BATCH:
            self._room.set()

    def disconnected(self) -> None:
        """The stream is gone."""
        self._closed.set()

    def deliver(self, event: Event) -> None:
        """
        Deal with what the core tells.

        :param event: what happened.
        """
        try:
            self._tell(event)
        finally:
            handler = _DELIVERIES.get(type(event))
            if handler is not None:
                handler(self, event)

    def _tell(self, event: Event) -> None:
        if self._on_event is not None:
            try:
                self._on_event(event)
            except (KeyboardInterrupt, SystemExit):
                raise  # The program is to end; any other is caught, as by a loop.
            except BaseException:
                self.link.failures.log("A session's on_event failed; the session goes on")

    def _end_reading(self) -> None:
        self._ended = True
        self._stirred.set()

    def _take(self, data: bytes) -> None:
        if self._closing:
            return
        self._messages.append(data)
        self.link.aside += len(data) + MESSAGE_COST
        self._stirred.set()
        if self.link.aside > READ_HIGH and not self._held and self.termination is None:
            self._held = True
            self._core.hold()

    def _answer(self, event: RequestReceived) -> None:
        handler = self._on_request
        if handler is not None:
            self._requests.answer(event, lambda data: handler(self, data))
        else:
            self._take(event.data)
            status = ReplyStatus.NOT_TAKEN if self._closing else ReplyStatus.DONE
            self._requests.reply(event.number, status)

    def _keep(self, event: KeysAnnounced) -> None:
        if isinstance(self._authorizer, KeyContinuity):
            work = self._keep_keys(self._authorizer, event)
            keeping = asyncio.get_running_loop().create_task(work)
            self._keeping.add(keeping)
            keeping.add_done_callback(self._keeping.discard)

    async def _keep_keys(self, authorizer: KeyContinuity, event: KeysAnnounced) -> None:
        try:
            await authorizer.keys_announced(event.current, event.following)
        except ThingError as error:
            log.warning("The server's keys are not kept: %s", visible(str(error)))
        except Exception:
            self.link.failures.log("The server's keys are not kept")

    def _keep_ticket(self, event: TicketReceived) -> None:
        if self._tickets is not None:
            self._tickets.keep(event.ticket, self._settings.credential, self.link.now)

    def _end(self, termination: Termination) -> None:
        if not self._up.done():
            self._up.set_exception(HandshakeFailed(termination))
            self._up.exception()  # Whoever waits is told; nobody need.
        self._requests.end(termination)
        self._streams.end(termination)
        self._stirred.set()
        self._room.set()


_DELIVERIES: dict[type[Any], Callable[[Session, Any], None]] = {
    HandshakeCompleted: lambda session, e: session._up.set_result(None),
    MessageReceived: lambda session, e: session._take(e.data),
    DataEnded: lambda session, e: session._end_reading(),
    RequestReceived: Session._answer,
    ReplyReceived: lambda session, e: session._requests.replied(e),
    StreamRequested: lambda session, e: session._streams.requested(e),
    **dict.fromkeys(get_args(StreamEvent), lambda session, e: session._streams.deliver(e)),
    KeysAnnounced: Session._keep,
    TicketReceived: Session._keep_ticket,
    Terminated: lambda session, e: session._end(e.termination),
}
"""What becomes of each event; all others are for ``on_event`` alone."""

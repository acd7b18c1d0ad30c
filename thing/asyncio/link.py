"""
The thin layer between one Connection and asyncio: its transport, its timer, its owner.

The mirror of :mod:`thing.session.driver`. Octets come in from the transport, the core makes events
of them, and those go to the owner; what the core has for the peer goes out as the transport takes
it. All that the protocol decides is decided in :mod:`thing.core`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Iterable, Iterator
from typing import Protocol, cast

from thing.asyncio.log import Failures
from thing.asyncio.sink import Sink
from thing.core.client import ClientConnection
from thing.core.server import ServerConnection
from thing.core.states import State
from thing.errors import ErrorCode, NotAuthorized
from thing.events import Event, PeerProved, Terminated, Termination
from thing.identity import Identity, Purpose
from thing.trust.interfaces import ServerAuthorizer, ThingAuthorizer

LINGER = 2.0
"""How long the transport may take to carry a final word to the peer, seconds."""


class Authorizer(Protocol):
    """Whom to believe, client or server, as :class:`thing.trust.interfaces.IAuthorizer` says."""

    def authorize(self, identity: Identity, /) -> Identity | Awaitable[Identity]:
        """
        Decide whether to go on with a peer.

        :param identity: what it has proved.
        :return: the identity with the name that this side knows it by, or an awaitable of that.
        :raises NotAuthorized: if the peer is refused.
        """


class Owner(Protocol):
    """Whom a link works for."""

    def connected(self, link: Link) -> None:
        """
        Take note of the transport, and refuse it if it is one too many.

        :param link: which has its transport now.
        """

    def admitted(self, link: Link) -> None:
        """
        Take note of a peer that was admitted, and refuse it if it is one too many.

        :param link: whose peer it is.
        """

    def deliver(self, event: Event) -> None:
        """
        Take an event: any but :class:`~thing.events.PeerProved`.

        :param event: what happened.
        """

    def hand_over(self) -> None:
        """Give the core what the program has written and the core has not: the end may come."""

    def holds(self, octets: int) -> None:
        """
        Count what waits in the memory for the session; it has changed.

        :param octets: how much waits now.
        """

    def sent(self) -> None:
        """Octets were handed to the transport: less waits than before."""

    def disconnected(self) -> None:
        """The transport is gone, and the session is over."""


class Link(asyncio.Protocol):
    """
    Drives one Connection over one transport of asyncio.

    :ivar core: the Connection.
    :ivar transport: the stream to the peer; None before there is one, and when it is gone.
    :ivar failures: logs what goes wrong in the program's own code.
    :ivar loop: the event loop.
    :ivar aside: how many octets wait that the core has told of, and the program has not taken.
    """

    def __init__(
        self,
        core: ClientConnection | ServerConnection,
        authorizer: ThingAuthorizer | ServerAuthorizer,
        owner: Owner,
        failures: Failures,
    ) -> None:
        """
        :param core: the Connection, not started.
        :param authorizer: whom to believe.
        :param owner: is told of every event.
        :param failures: logs what goes wrong in the program's own code.
        """
        self.core = core
        self.failures = failures
        self.transport: asyncio.Transport | None = None
        self._authorizer = cast(Authorizer, authorizer)
        self._owner = owner
        self.loop = asyncio.get_running_loop()
        self._pending: list[Iterator[Event]] = []
        self._following = self._sending = False
        self._sink: Sink | None = None
        self._held = self.aside = 0
        self._flushing: asyncio.Handle | None = None
        self._timer: asyncio.Handle | None = None
        self._wakes_at = 0.0
        self._linger: asyncio.TimerHandle | None = None
        self._deciding: asyncio.Task[None] | None = None

    @property
    def now(self) -> float:
        """The time, seconds."""
        return self.loop.time()

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        Begin the handshake.

        :param transport: the stream to the peer.
        """
        self.transport = cast(asyncio.Transport, transport)
        self._sink = Sink(self.transport, self._send, self.loop)
        self._owner.connected(self)
        if self.core.termination is None:
            self.follow(self.core.start(self.now))

    def data_received(self, data: bytes) -> None:
        """
        Take octets.

        :param data: the octets.
        """
        self._owner.hand_over()
        self.follow(self.core.receiveData(data, self.now))

    def eof_received(self) -> bool:
        """:return: whether the transport stays open: no, when the peer's half has ended."""
        self.follow(self.core.receiveEnd(self.now))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """
        End what has not ended, and leave no timer behind.

        :param exc: why, or None.
        """
        self.transport = None
        self._take_no_more()
        try:
            self.follow(self.core.receiveEnd(self.now))
        finally:  # Whatever the program does then, its server counts who is gone.
            for call in (self._timer, self._linger, self._flushing):
                if call is not None:
                    call.cancel()
            self._owner.disconnected()

    def resume_writing(self) -> None:
        """The transport has given away all."""
        if self._sink is not None:
            self._sink.look()

    # Events: what the core tells.

    def follow(self, events: Iterable[Event]) -> None:
        """
        Deal with what the core tells, then send what it has and set the timer.

        What an event brings about is dealt with before what the core was going to tell next.

        :param events: what it tells, possibly lazily.
        """
        self._pending.append(iter(events))
        if self._following:
            return
        self._following = True
        try:
            while self._pending:
                event = next(self._pending[-1], None)
                if event is None:
                    self._pending.pop()
                else:
                    self._deal(event)
        finally:
            self._following = False
        self._send()
        self._set_timer()

    def _deal(self, event: Event) -> None:
        if isinstance(event, PeerProved):
            self._deciding = self.loop.create_task(self._decide(event.identity))
        elif isinstance(event, Terminated):
            self._end(event)
        else:
            self._owner.deliver(event)

    # Who the peer is.

    async def _decide(self, identity: Identity) -> None:
        try:
            answer = self._authorizer.authorize(identity)
            admitted = await answer if inspect.isawaitable(answer) else answer
            _check(admitted)
        except NotAuthorized as error:
            self._refuse(error)
        except Exception:
            self.failures.log("The authorizer failed")
            self._refuse(NotAuthorized("the authorizer failed", ErrorCode.INTERNAL_ERROR))
        except BaseException:  # It was cancelled, or the program is to end.
            self._refuse(NotAuthorized("the authorizer gave up", ErrorCode.INTERNAL_ERROR))
            raise
        else:
            self._owner.admitted(self)
            if self.core.state is State.AUTHORIZING:
                self.follow(self.core.admit(admitted, self.now))

    def _refuse(self, error: NotAuthorized) -> None:
        if self.core.state is State.AUTHORIZING:
            self.reject(error.code, error.detail, error.retryAfter)

    def reject(self, code: ErrorCode, detail: str = "", retry_after: float = 0.0) -> None:
        """
        End the connection, and tell the peer a code.

        :param code: what the peer is told.
        :param detail: why, for this side's log only.
        :param retry_after: how long a client should stay away, seconds.
        """
        self.follow(self.core.reject(code, self.now, detail, retry_after))

    # Out: what the core has for the peer.

    def flush(self) -> None:
        """Send what the core has in the loop's next turn: what is said in one goes together."""
        if self._flushing is None and self.transport is not None:
            self._flushing = self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = None
        self._owner.hand_over()
        self._send()
        self._set_timer()

    def _send(self) -> None:
        if self._sending or self._following:
            return
        self._sending = True
        try:
            while (sink := self._sink) is not None:
                urgent = not self.core.hasDataReady
                data = self.core.dataToSend(self.now, sink.room, sink.longest)
                if not data:
                    break
                sink.send(data, urgent)
                self.follow(self.core.takeEvents())
                self._owner.sent()
        finally:
            self._sending = False
        held = self.core.held + self.aside
        if self.transport is not None:
            held += self.transport.get_write_buffer_size()
        if held != self._held:
            self._held = held
            self._owner.holds(held)

    # Time.

    def _set_timer(self) -> None:
        """Keep one timer at the next deadline; a deadline that moves later needs no other."""
        deadline = self.core.nextDeadline
        if self._timer is not None:
            if deadline is not None and self._wakes_at <= deadline:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None and self.transport is not None:
            # Kept here: what uvloop returns for a time that is past cannot be asked for it.
            self._wakes_at = deadline
            self._timer = self.loop.call_at(deadline, self._wake)

    def _wake(self) -> None:
        self._timer = None
        deadline = self.core.nextDeadline
        if deadline is None or self.now < deadline:
            self._set_timer()
        else:
            self.follow(self.core.handleTimer(self.now))

    # The end.

    def cut(self) -> None:
        """Cut the stream of a connection that is over already."""
        if self.transport is not None:
            self.transport.abort()

    def _end(self, event: Terminated) -> None:
        """Say the final word, tell the owner, and see to it that the transport closes in time."""
        if self._deciding is not None and self._deciding is not asyncio.current_task():
            self._deciding.cancel()
        self._take_no_more()
        final_word = self.core.dataToSend(self.now, 0)
        transport = self.transport
        if transport is not None:
            if final_word:
                transport.write(final_word)
            self._close(transport, event.termination, bool(final_word))
        self._owner.deliver(event)

    def _take_no_more(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()

    def _close(
        self, transport: asyncio.Transport, termination: Termination, final_word: bool
    ) -> None:
        if not (final_word or termination.byPeer or termination.clean):
            transport.abort()
            return
        self._linger = self.loop.call_later(LINGER, transport.abort)
        if final_word and transport.can_write_eof() and not transport.is_closing():
            try:
                transport.write_eof()  # To close with octets unread would reset the stream.
            except OSError:  # The peer has done that already.
                transport.abort()
        else:
            transport.close()


def _check(identity: object) -> None:
    """Whether a session can be had with what an authorizer returned."""
    if not isinstance(identity, Identity):
        raise TypeError(f"an authorizer returned a {type(identity).__name__}")
    if identity.purpose is not Purpose.THING:
        raise NotAuthorized(f"nobody here attends to {identity.purpose.value}s: {identity}")

"""
What ``thing reach --listen`` does: each connection to a port here is one to a service of a thing.

All of them are streams of one session, which is had anew when it is lost.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from thing.cli.destination import Destination
from thing.cli.endings import notConnected, plain, reportEnd
from thing.cli.exits import CommandError, ExitCode, complain
from thing.cli.listenaddress import ListenAddress
from thing.cli.options import ClientOptions
from thing.cli.output import ReaderGone, write
from thing.cli.reaching import keyOf
from thing.cli.session import CommandProtocol, catchSignals
from thing.core.backoff import Backoff
from thing.endpoints.reconnect import ThingClientService, terminationOf
from thing.errors import EndReason, StopCode, StreamRefused
from thing.session.factory import ThingFactory
from thing.session.reasons import SessionOver, StreamCut
from thing.session.relay import RelayEnd, factoryOf
from thing.session.transports import abort

MOST = 256
"""How many connections are taken at once; servers let an operator have no more open."""

RETRY = 1.0
"""The longest pause before the first try to have the session again, seconds."""


class ForwardSession(CommandProtocol):
    """A session that streams come and go in."""

    def goingAway(self, reason: EndReason | int, retryAfter: float) -> None:
        """
        Report nothing: that there is no session is said by the next line.

        :param reason: why.
        :param retryAfter: how long to stay away, seconds.
        """


class LocalEnd(RelayEnd):
    """
    A connection to the port.

    :ivar connecting: has it joined with a stream.
    """

    def __init__(self, forwarder: Forwarder) -> None:
        """:param forwarder: has the session."""
        super().__init__()
        self.connecting: Deferred[None] | None = None
        self._forwarder = forwarder

    def connectionMade(self) -> None:
        """Read nothing yet, and ask for a stream."""
        self.transport.pauseProducing()
        self._forwarder.opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Have the stream closed as this is.

        :param reason: why the connection is closed.
        """
        super().connectionLost(reason)
        self._forwarder.closed(self)

    def drop(self) -> None:
        """Close both ends at once."""
        other = self.part()
        for end in (self, other):
            if end is not None:
                abort(end.transport)


class StreamEnd(RelayEnd):
    """The other end: a stream that reaches the service."""

    def __init__(self, forwarder: Forwarder, local: LocalEnd) -> None:
        """
        :param forwarder: is told why it is cut.
        :param local: the end here.
        """
        super().__init__()
        self._forwarder = forwarder
        self._local = local

    def connectionMade(self) -> None:
        """Let octets pass, both ways."""
        if self._local.lost:
            self.transport.abortConnection()
        else:
            self.join(self._local)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Have the connection closed as the stream is; a session's end, be it in order, cuts it.

        :param reason: why the stream is over.
        """
        if isinstance(reason.value, SessionOver):
            reason = Failure(StreamCut(StopCode.CANCELLED))  # type: ignore[no-untyped-call]
        elif isinstance(reason.value, StreamCut) and reason.value.code != StopCode.CANCELLED:
            self._forwarder.explain(reason.value.code)
        super().connectionLost(reason)


class Forwarder:
    """Forwards a port from the first session to the user's Ctrl-C."""

    def __init__(
        self,
        options: ClientOptions,
        factory: ThingFactory,
        endpoint: Any,
        *,
        destination: Destination,
        address: ListenAddress,
    ) -> None:
        """
        :param options: what the user chose.
        :param factory: makes a :class:`ForwardSession`.
        :param endpoint: to connect by.
        :param destination: what to reach.
        :param address: where to listen.
        """
        self._options = options
        self._factory = factory
        self._destination = destination
        self._address = address
        self._ends: set[LocalEnd] = set()
        self._port: Any = None
        self._wasUp = False
        self._over: Deferred[ExitCode] = Deferred()
        self._service = ThingClientService(
            endpoint,
            factory,
            backoff=Backoff(base=RETRY),
            giveUp=True,
            onUp=self._up,
            onDown=self._down,
            onRejected=self._rejected,
            clock=factory.clock,
        )

    async def run(self, reactor: Any) -> ExitCode:
        """
        Go through with it.

        :param reactor: what runs.
        :return: the exit code.
        :raises CommandError: if it cannot listen.
        """
        catchSignals(reactor, self.interrupt)
        ends = Factory.forProtocol(lambda: LocalEnd(self))
        ends.noisy = False
        try:
            self._port = self._address.listen(reactor, ends)
        except (CannotListenError, OSError) as error:
            why = error.socketError if isinstance(error, CannotListenError) else error
            raise CommandError(f"cannot listen at {self._address}: {why.strerror or why}") from None
        self._service.startService()
        self._service.whenConnected(failAfterFailures=1).addErrback(self._notUp)
        code = await self._over
        closed: Deferred[Any] = maybeDeferred(self._port.stopListening)
        for end in list(self._ends):
            end.drop()
        await self._service.stopService()
        await closed
        return code

    def interrupt(self, number: int) -> None:
        """
        The user interrupts: goodbye at first, the end if that takes too long.

        :param number: the signal.
        """
        if self._over.called:
            for session in list(self._factory.sessions):
                session.abort()
        elif self._wasUp:
            self._over.callback(ExitCode.GOODBYE)
        else:
            complain("interrupted")
            self._over.callback(ExitCode.INTERRUPTED)

    # What the service tells.

    def _up(self, session: Any) -> None:
        if self._over.called:
            return
        if self._wasUp:
            complain("the session is up again")
            return
        self._wasUp = True
        try:
            with suppress(ReaderGone):  # Nobody wants to know.
                write([self._address.url(self._port)])
        except CommandError as error:
            error.show()
            self._over.callback(ExitCode(error.exit_code))

    def _down(self, reason: Failure, delay: float | None) -> None:
        if not self._wasUp or delay is None:
            return
        why = terminationOf(reason) or plain(reason.value)
        complain(f"there is no session: {why}; next try in {delay:.1f} s")

    def _notUp(self, failure: Failure) -> None:
        """The first try failed, so that there is no sense in going on."""
        if self._over.called:
            return
        if (termination := terminationOf(failure)) is not None:
            self._over.callback(reportEnd(self._options, termination))
        else:
            self._over.callback(notConnected(self._options, failure.value))

    def _rejected(self, failure: Failure) -> None:
        if self._wasUp:
            self._notUp(failure)

    # What the connections tell.

    def opened(self, end: LocalEnd) -> None:
        """
        Have a connection joined with a stream.

        :param end: the connection, which is added to those that are open.
        """
        if len(self._ends) >= MOST:
            complain(f"one connection too many: {MOST} are open")
            abort(end.transport)
            return
        self._ends.add(end)
        end.connecting = Deferred.fromCoroutine(self._connect(end))

    def closed(self, end: LocalEnd) -> None:
        """
        Forget a connection.

        :param end: the connection.
        """
        self._ends.discard(end)
        if end.connecting is not None:
            end.connecting.cancel()

    async def _connect(self, end: LocalEnd) -> None:
        try:
            await self._stream(end)
            return
        except CancelledError:
            return
        except StreamRefused as error:
            self.explain(error.code)
        except TimeoutError:
            self.explain(StopCode.TIMED_OUT)
        except Exception as error:  # The session ended, or takes no more streams.
            complain(f"a connection is refused: {plain(error)}")
        abort(end.transport)

    async def _stream(self, end: LocalEnd) -> None:
        waiting: Deferred[Any] = self._service.whenConnected()
        waiting.addTimeout(self._options.timeout, self._factory.clock, _noSession)
        session = await waiting
        endpoint = session.streams.endpoint(self._destination.label)
        await endpoint.connect(factoryOf(StreamEnd(self, end)))

    def explain(self, code: StopCode | int) -> None:
        """
        Tell why a connection is closed.

        :param code: what was said.
        """
        key = keyOf(self._factory.settings.credential)
        self._destination.refusal(code, key).show()


def _noSession(result: object, timeout: float) -> object:
    raise ConnectionError(f"there was no session within {timeout:g} s")

"""
One session of a command, from the connection to the exit code.

:func:`converse` is what ``thing connect`` and ``thing ping`` share; what each
does within the session is in its own subclass of :class:`CommandProtocol`.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import click
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import connectionDone
from twisted.internet.task import react
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import provider

from thing.cli.addresses import Addresses, waysOf
from thing.cli.endings import comeBack, notConnected, plain, reportEnd
from thing.cli.exits import CommandError, ExitCode, complain
from thing.cli.options import ClientOptions
from thing.cli.output import ReaderGone
from thing.errors import EndReason, LocalProtocolError
from thing.events import Termination
from thing.identity import CredentialKind, Identity
from thing.session.factory import ThingFactory
from thing.session.hosts import SystemResolver
from thing.session.protocol import ThingProtocol

_PROOFS = {
    CredentialKind.ED25519: "the server's key is {peer.fingerprint}",
    CredentialKind.X509: "the key in the server's X.509 certificate is {peer.fingerprint}",
    CredentialKind.SSH_CERTIFICATE: "the key in the server's certificate is {peer.fingerprint}",
    CredentialKind.PRESHARED: "the server has the pre-shared key {peer}",
}
"""What to report of what the server has proved."""


class CommandProtocol(ThingProtocol):
    """
    The client's side of a command's session: reports, leaves, and knows when all is over.

    :ivar lost: why the stream closed, if that was not its plain end.
    :ivar sentAway: whether the server asked to leave before this side was done.
    :ivar trouble: what the command failed by, however the session ended; None for nothing.
    """

    def __init__(self, verbose: bool) -> None:
        """:param verbose: whether to report on standard error."""
        self.verbose = verbose
        self.lost = ""
        self.sentAway = False
        self.trouble: CommandError | None = None
        self._done = False
        self._connectedAt = 0.0

    def note(self, message: str) -> None:
        """
        Report something, if reports are wanted.

        :param message: what happened.
        """
        if self.verbose:
            complain(message)

    def done(self) -> None:
        """All that was to be done in the session is done; the rest is goodbye."""
        self._done = True

    def leave(self) -> None:
        """Say goodbye."""
        self.done()
        self.goodbye()

    def cut(self) -> None:
        """End at once, whatever is not yet sent or written."""
        self.abort()

    def interrupted(self, number: int) -> None:
        """
        The user interrupts, for the first time: say goodbye.

        :param number: the signal.
        """
        self.note("saying goodbye; interrupt again to end at once")
        self.leave()

    def fail(self, trouble: str) -> None:
        """
        End because of this side's own input or output: no goodbye shall say that all was well.

        :param trouble: what went wrong.
        """
        self.trouble = self.trouble or CommandError(trouble)
        if self.termination is None:
            self.abort()

    async def over(self) -> Termination:
        """
        Wait until there is nothing left to send, receive or write.

        :return: how the session ended.
        """
        return await self.whenTerminated()

    # Callbacks.

    def connectionMade(self) -> None:
        """Note the time."""
        self._connectedAt = self.factory.clock.seconds()

    def handshakeCompleted(self) -> None:
        """Report what was agreed on."""
        session = self.session
        assert session is not None, "the handshake made a session"
        took = self.handshakeTime() * 1000
        self.note(f"handshake in {took:.1f} ms: {session.group}, {session.aead}")
        self.note(f"session {self.sessionId} with {session.peer}")
        self.note(_PROOFS[session.peer.kind].format(peer=session.peer))
        self.note(f"TTL {session.ttl:g} s, a heartbeat every {session.interval:g} s")

    def handshakeTime(self) -> float:
        """:return: for how long the stream has been open, seconds."""
        return self.factory.clock.seconds() - self._connectedAt

    def heartbeatAcknowledged(self, sequence: int, roundTripTime: float) -> None:
        """
        Report the round trip.

        :param sequence: the heartbeat's number.
        :param roundTripTime: from heartbeat to acknowledgement, seconds.
        """
        self.note(f"beat={sequence} time={roundTripTime * 1000:.2f} ms")

    def heartbeatLate(self, silence: float) -> None:
        """
        Report that the server is silent.

        :param silence: since the last acknowledgement, seconds.
        """
        self.note(f"late: no heartbeat was acknowledged for {silence:.1f} s")

    def goingAway(self, reason: EndReason | int, retryAfter: float) -> None:
        """
        Report that the server asks to leave, if that was not expected.

        :param reason: why.
        :param retryAfter: how long to stay away, seconds.
        """
        sentence = reason.sentence if isinstance(reason, EndReason) else f"reason {reason}"
        message = f"the server asks to leave: {sentence}{comeBack(retryAfter)}"
        if self._done:
            self.note(message)
        else:
            self.sentAway = True
            complain(message)

    def serverKeyAnnounced(self, identity: Identity) -> None:
        """
        Report the server's next key.

        :param identity: the next key.
        """
        self.note(f"the server's next key is {identity.fingerprint}")

    def keyUpdated(self, generation: int) -> None:
        """
        Report that the server moved to its next traffic key.

        :param generation: how many times it did so.
        """
        self.note(f"the server uses traffic key {generation}")

    def terminated(self, termination: Termination) -> None:
        """
        Report the end.

        :param termination: how the session ended.
        """
        self.note(f"end: {termination}")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Note why.

        :param reason: why the transport closed.
        """
        if not isinstance(reason.value, ConnectionDone):
            self.lost = f"; {plain(reason.value)}"
        super().connectionLost(reason)


class Conversation:
    """A session from its connection to its exit code; the user may interrupt it at any time."""

    def __init__(self, options: ClientOptions, factory: ThingFactory, endpoint: Any) -> None:
        """
        :param options: what the user chose.
        :param factory: makes a :class:`CommandProtocol`.
        :param endpoint: to connect by.
        """
        self._options = options
        self._factory = factory
        self._endpoint = endpoint
        self._connecting: Deferred[Any]
        self._protocol: CommandProtocol | None = None
        self._leaving = False
        self._interrupted = False

    async def run(self, reactor: Any) -> ExitCode:
        """
        Go through with it.

        :param reactor: what runs.
        :return: the exit code.
        """
        catchSignals(reactor, self.interrupt)
        self._connecting = self._endpoint.connect(self._factory)
        return await self._outcome()

    def interrupt(self, number: int) -> None:
        """
        The user interrupts: goodbye at first, the end if that takes too long or is too early.

        :param number: the signal.
        """
        protocol = self._protocol
        inSession = (
            protocol is not None and protocol.session is not None and protocol.termination is None
        )
        if protocol is not None and inSession and not self._leaving:
            self._leaving = True
            protocol.interrupted(number)
            return
        self._interrupted = True
        if protocol is not None:
            protocol.cut()
        else:
            self._connecting.cancel()

    async def _outcome(self) -> ExitCode:
        try:
            patience = self._options.timeout * len(self._options.targets)
            self._connecting.addTimeout(patience, self._factory.clock)
            self._protocol = await self._connecting
        except Exception as error:  # An endpoint may fail in any way: OverflowError of a port.
            if self._interrupted:
                complain("interrupted")
                return ExitCode.INTERRUPTED
            return notConnected(self._options, error)
        termination = await self._protocol.over()
        trouble = self._protocol.trouble
        if trouble is not None:
            trouble.show()
            return ExitCode(trouble.exit_code)
        if self._interrupted:
            complain("interrupted")
            return ExitCode.INTERRUPTED
        if termination.clean and self._protocol.sentAway:
            return ExitCode.SENT_AWAY
        return reportEnd(self._options, termination, self._protocol.lost)


def catchSignals(reactor: Any, interrupt: Callable[[int], object]) -> None:
    """
    Have the signals by which a user interrupts call something, as often as they come.

    :param reactor: what runs, or is about to.
    :param interrupt: called with the signal's number.
    """

    def catch() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # As nohup wants it.
            signal.signal(number, lambda got, _: reactor.callFromThread(interrupt, got))

    catch()
    reactor.callWhenRunning(catch)  # The reactor sets its own handlers when it starts.


def converse(
    options: ClientOptions,
    protocol: Callable[[], CommandProtocol],
    *,
    requestedTtl: float | None = None,
    stream: bool = False,
    held: Callable[[ClientOptions, ThingFactory, Any], Any] = Conversation,
    jitter: Callable[[], float] = random.random,
) -> NoReturn:
    """
    Hold a session and exit with its code.

    :param options: what the user chose.
    :param protocol: makes this side's protocol.
    :param requestedTtl: the TTL to ask for, seconds; None leaves it to the server.
    :param stream: whether messages may be received in pieces.
    :param held: what holds the session; it is made of what the user chose, of what makes the
        protocols, and of how to connect, and run.
    :param jitter: when the first heartbeat comes, within the first interval.
    :raises SystemExit: always, with the exit code.
    :raises click.UsageError: if an option does not make sense.
    :raises CredentialError: if a key or a file cannot be used.
    """
    with warningsTold():
        ways = waysOf(options)
    _, choice = ways[0]
    chosen = options.settings
    if requestedTtl is not None:
        chosen["requestedTtl"] = requestedTtl
    try:
        settings = choice.settings(stream=stream, **chosen)
    except LocalProtocolError as error:
        raise click.UsageError(error.detail) from None
    from twisted.internet import reactor

    reactor.installNameResolver(SystemResolver(reactor))  # type: ignore[attr-defined]
    endpoint = Addresses(reactor, ways)
    factory = ThingFactory(settings, choice.authorizer, jitter=jitter)
    factory.protocol = protocol
    runToExit(held(options, factory, endpoint).run)


def runToExit(main: Callable[[Any], Coroutine[Any, Any, ExitCode]]) -> NoReturn:
    """
    Run a command's coroutine on the reactor, and exit with the code that it gives.

    :param main: is called with the reactor. What it fails with that any command may meet, or that
        nobody reads its output, is told and ends it as elsewhere.
    :raises SystemExit: always, with the exit code.
    """

    async def run(reactor: Any) -> None:
        try:
            code = int(await main(reactor))
        except ReaderGone:
            code = ExitCode.GOODBYE.value
        except CommandError as error:
            error.show()
            code = error.exit_code
        raise SystemExit(code)

    with blockingRestored(), warningsTold():
        react(run)
    raise AssertionError("it exits")


@contextmanager
def warningsTold() -> Iterator[None]:
    """
    Tell the user what a program would find in its log: a command has none.

    :return: a context manager.
    """

    @provider(ILogObserver)
    def tell(event: LogEvent) -> None:
        if event["log_level"] is LogLevel.warn and event["log_namespace"].startswith("thing."):
            complain(formatEvent(event))

    observer = ILogObserver(tell)
    globalLogPublisher.addObserver(observer)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observer)


@contextmanager
def blockingRestored() -> Iterator[None]:
    """
    Leave the standard streams, which other processes share, as they were.

    :return: a context manager.
    """
    before = []
    for descriptor in (0, 1, 2):
        with suppress(OSError):
            before.append((descriptor, os.get_blocking(descriptor)))
    try:
        yield
    finally:
        for descriptor, blocking in before:
            with suppress(OSError):
                os.set_blocking(descriptor, blocking)

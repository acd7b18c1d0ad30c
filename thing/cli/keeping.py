"""
:class:`Agent`: keeps a session up, and has what goes up and comes down in it dealt with.

When it comes back is :class:`~thing.endpoints.reconnect.ThingClientService`'s to say. What goes up
is in :mod:`thing.cli.uplink`, what comes down in :mod:`thing.cli.downlink`.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IPushProducer, IStreamClientEndpoint
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.cli.downlink import Answerer, Downlink
from thing.cli.endings import plain
from thing.cli.exits import ExitCode
from thing.cli.uplink import Uplink
from thing.daemon.signals import Signals
from thing.daemon.systemd import Supervisor
from thing.endpoints import Backoff, ThingClientService, isHopeless, terminationOf
from thing.endpoints.backend import Backend
from thing.logger import Logger
from thing.session.clock import callOff
from thing.session.factory import ThingFactory
from thing.session.protocol import ThingProtocol
from thing.text import visible

OUTPUT_PATIENCE = 10.0
"""How long, after the goodbye, what came before it may take to be dealt with, seconds."""


class AgentProtocol(ThingProtocol):
    """A session of the agent's."""

    factory: AgentFactory
    _log = Logger()

    def messageReceived(self, message: bytes) -> None:
        """
        Pass a message on.

        :param message: the message.
        """
        self.factory.downlink.take(message).addErrback(lambda _: None)  # It is logged.

    def requestReceived(self, data: bytes) -> bytes | Awaitable[bytes | None] | None:
        """
        Have a request answered; if there is nothing to answer it, it is a message.

        :param data: what is asked.
        :return: the answer; empty when the message is dealt with.
        """
        if self.factory.answerer is None:
            return self.factory.downlink.take(data)
        return self.factory.answerer.answer(data)

    def heartbeatAcknowledged(self, sequence: int, roundTripTime: float) -> None:
        """
        Log the round trip, for those who want to know.

        :param sequence: the heartbeat's number.
        :param roundTripTime: from heartbeat to acknowledgement, seconds.
        """
        self._log.debug(
            "Heartbeat {sequence}: {milliseconds:.2f} ms",
            sequence=sequence,
            milliseconds=roundTripTime * 1000,
        )

    def heartbeatLate(self, silence: float) -> None:
        """
        Log that the server is silent.

        :param silence: since the last acknowledgement, seconds.
        """
        self._log.warn("The server is silent for {silence:.1f} s", silence=silence)


class AgentFactory(ThingFactory):
    """
    Builds the agent's sessions.

    :ivar downlink: takes the messages.
    :ivar answerer: answers the requests; None if they are messages.
    """

    protocol = AgentProtocol
    downlink: Downlink
    answerer: Answerer | None = None


@implementer(IPushProducer)
class Agent:
    """
    Keeps a session up from the start of the process to its end.

    As a producer it is paused by what takes messages, and pauses the session.

    :ivar factory: builds the sessions.
    """

    _log = Logger()

    def __init__(
        self,
        factory: AgentFactory,
        endpoint: IStreamClientEndpoint,
        *,
        exposed: Mapping[str, Backend],
        supervisor: Supervisor,
        backoff: Backoff | None = None,
    ) -> None:
        """
        :param factory: builds the sessions; its downlink is to be set.
        :param endpoint: how to connect.
        :param exposed: what is served in streams, by label.
        :param supervisor: is told how it is.
        :param backoff: how long to stay away.
        """
        self.factory = factory
        self._exposed = list(exposed.values())
        self._supervisor = supervisor
        self._uplink: Uplink | None = None
        self._session: ThingProtocol | None = None
        self._held = False
        self._failing: Deferred[None] = Deferred()
        self._status = "Connecting"
        for label, backend in exposed.items():
            factory.serve(label, backend)
        self._service = ThingClientService(
            endpoint,
            factory,
            backoff=backoff,
            onUp=self._up,
            onDown=self._down,
            clock=factory.clock,
        )

    # From the start to the end.

    def read(self, read: Callable[[Uplink], Any]) -> None:
        """
        Say what goes up.

        :param read: begins to read it, as :class:`~thing.cli.uplink.Uplink` says.
        :raises OSError: if it cannot be read.
        """
        self._uplink = Uplink(read)

    async def run(self, reactor: Any) -> None:
        """
        Go on until the reactor is stopped, with goodbye then.

        :param reactor: what runs.
        :raises SystemExit: if it cannot go on, with the exit code.
        """
        signals = Signals(reactor)

        def hangUp() -> None:
            try:
                reactor.stop()
            except ReactorNotRunning:  # It is stopping already.
                self.hurry()

        # The end of its terminal ends it, unless nohup says that it does not.
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signals.attend(None if ignored else hangUp, self.hurry)

        def end() -> Deferred[None]:
            return self.stop().addBoth(lambda _: signals.restore())

        reactor.addSystemEventTrigger("before", "shutdown", end)
        self.start()
        await self._failing

    def start(self) -> None:
        """Begin to have sessions."""
        self._service.startService()
        self._supervisor.ready(self.factory.clock, lambda: self._status)

    def stop(self) -> Deferred[None]:
        """
        Say goodbye, and see to it that what has come arrives.

        :return: fires when nothing is left to be done.
        """
        self._supervisor.stopping(self.factory.settings.closeTimeout + OUTPUT_PATIENCE)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._uplink is not None:
            self._uplink.close()
        await self._service.stopService()
        late = self.factory.clock.callLater(OUTPUT_PATIENCE, self._cut)
        closing = [each.stopService() for each in self._exposed]
        await DeferredList([self.factory.downlink.close(), *closing])
        callOff(late)
        self._supervisor.stopped()

    def hurry(self) -> None:
        """End at once, whatever is not sent or dealt with yet."""
        self._log.info("Hurrying: the session ends now")
        for session in list(self.factory.sessions):
            session.abort()
        self._cut()

    def _cut(self) -> None:
        """Wait for nobody who takes what came, any more."""
        self.factory.downlink.cut()
        for backend in self._exposed:
            backend.abort()

    # What the service tells.

    def _up(self, session: ThingProtocol) -> None:
        self._session = session
        self._status = f"Session with {visible(str(session.peer))}"
        if self._held:
            session.pauseProducing()
        if self._uplink is not None:
            self._uplink.attach(session)

    def _down(self, reason: Failure, delay: float | None) -> None:
        self._session = None
        termination = terminationOf(reason)
        why = plain(reason.value) if termination is None else str(termination)
        self._status = f"No session: {visible(why)}"
        if delay is None:
            return
        hopeless = isHopeless(termination)
        level = LogLevel.error if hopeless else LogLevel.warn
        if termination is not None and termination.clean:
            level = LogLevel.info
        self._log.emit(
            level,
            "No session: {reason}; {advice}next try in {delay:.0f} s",
            reason=why,
            advice="somebody must act; " if hopeless else "",
            delay=delay,
        )

    # What the downlink tells.

    def pauseProducing(self) -> None:
        """Have no more messages come."""
        self._held = True
        if self._session is not None:
            self._session.pauseProducing()

    def resumeProducing(self) -> None:
        """Have messages come again."""
        self._held = False
        if self._session is not None:
            self._session.resumeProducing()

    def stopProducing(self) -> None:
        """End: who takes messages takes none any more, and the peers are to know."""
        if not self._failing.called:
            self._failing.errback(SystemExit(ExitCode.FAILED.value))

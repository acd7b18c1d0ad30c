"""
One connection to a registry, which comes back when it is lost.

This is the one module that knows the client library, txredisapi. Its protocols
speak to Redis; its factories are not used, since they give up for good when the
registry is lost at the wrong moment, and check no certificate by themselves.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from thing.errors import ThingError
from thing.logger import Logger

ANSWER_TIME = 2.0
"""How long the registry may take to answer; then the connection is dropped. Seconds."""

READ_TIME = 0.05
"""How long the reactor is left alone to read an overdue answer, seconds."""

READ_TURNS = 3
"""
How often it is: if each of its turns takes long, as this process is held up, one passes
until the question is written, and another until the answer is read.
"""

CONNECT_TIME = 5.0
"""How long a try to connect may take, seconds."""

BASE = 0.1
"""The longest pause before the first try after a loss, seconds; twice that after each failure."""

CAP = 5.0
"""The longest pause between two tries, seconds."""

STABLE = 10.0
"""A connection that was up for so long makes up for the failures before, seconds."""

ENVIRONMENT = (
    *("NOSCRIPT", "LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "MISCONF", "OOM", "BUSY"),
    *("NOAUTH", "NOPERM", "WRONGPASS", "CLUSTERDOWN", "TRYAGAIN", "UNKILLABLE", "MOVED", "ASK"),
    "WRONGTYPE",  # Somebody has put something else there; the repair removes it.
)
"""How errors begin that are the registry's state, and not the fault of what it was asked."""

DENIALS = ("The user executing the script", "ACL failure in script")
"""How errors go on after ``ERR`` when a script lacks a right; NOPERM is not said of it."""

_PASSING = re.compile(
    rf"(?:^|-)(?:{'|'.join(ENVIRONMENT)})\b|^ERR (?:{'|'.join(DENIALS)})\b",
)
"""An older Redis puts an error that a script met behind words of its own, and a hyphen."""


class RegistryAway(ThingError):
    """The registry cannot be reached, or did not answer in time."""


class RegistryRefused(ThingError):
    """The registry answered with an error."""

    @property
    def passing(self) -> bool:
        """Whether the same may go well at another time, or with another server."""
        return _PASSING.search(str(self)) is not None


class _QuietFactory(Factory):
    """Builds protocols, and does not log each try to reach a registry that is away."""

    noisy = False


def checkLibrary() -> None:
    """
    See whether the client library is installed.

    :raises ThingError: if it is not, in one line that says what to do.
    """
    try:
        import txredisapi  # noqa: F401
    except ImportError:
        raise ThingError(
            "a registry in Redis needs txredisapi: pip install 'txthing[redis]'"
        ) from None


def makeProtocol(
    onPublished: Callable[[bytes], object] | None, lost: Callable[[Any, Failure], object]
) -> Any:
    """
    Make a protocol for one connection.

    :param onPublished: makes it a subscriber, and is called with what is published to it.
    :param lost: called with the protocol, and why it is connected no more.
    :return: the protocol.
    """
    import txredisapi  # It imports the reactor: not before the program has chosen one.

    nonsense: list[Failure] = []
    base: Any = txredisapi.RedisProtocol if onPublished is None else txredisapi.SubscriberProtocol

    class LinkProtocol(base):  # type: ignore[misc]
        """Tells of its end, and takes every answer as octets."""

        def messageReceived(self, pattern: object, channel: object, message: Any) -> None:
            if onPublished is not None and isinstance(message, bytes):
                onPublished(message)

        def dataReceived(self, data: bytes, unpause: bool = False) -> None:
            try:
                base.dataReceived(self, data, unpause)
            except Exception as error:
                away = RegistryAway(f"it is no Redis: {_line(error)}")
                nonsense[:] = [Failure(away)]  # type: ignore[no-untyped-call]
                self.transport.abortConnection()

        def connectionLost(self, why: Failure) -> None:
            base.connectionLost(self, why)
            lost(self, *nonsense or [why])

    return LinkProtocol(charset=None, convertNumbers=False)


class Link:
    """
    A connection that is made again whenever it is lost.

    :ivar up: whether it is there and prepared.
    :ivar losses: how often it was lost, or could not be made.
    """

    _log = Logger()

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        jitter: Callable[[], float],
        *,
        prepare: Callable[[Link], Awaitable[object]],
        onUp: Callable[[], object],
        onDown: Callable[[str], object] = lambda reason: None,
        onPublished: Callable[[bytes], object] | None = None,
    ) -> None:
        """
        :param endpoint: connects.
        :param clock: measures time.
        :param jitter: gives random numbers from 0 up to 1.
        :param prepare: awaited with this link before it counts as up; may use :meth:`call`.
        :param onUp: called when it is up.
        :param onDown: called with the reason, in one line, after each loss and each failed try.
        :param onPublished: makes it a subscriber; called with what is published.
        """
        self.up = False
        self.losses = 0
        self._endpoint = endpoint
        self._clock = clock
        self._jitter = jitter
        self._prepare, self._onPublished = prepare, onPublished
        self._onUp, self._onDown = onUp, onDown
        self._running = False
        self._failures = 0
        self._upSince = 0.0
        self._protocol: Any = None
        self._reason = ""
        self._connecting: Deferred[Any] | None = None
        self._overdue = 0
        self._deadlines: deque[float] = deque()  # One for each answer that is to come.
        self._watch: IDelayedCall | None = None
        self._retry: IDelayedCall | None = None
        self._stopped: list[Deferred[None]] = []

    def start(self) -> None:
        """Connect, and go on connecting."""
        if not self._running:
            self._running = True
            self._connect()

    def stop(self) -> Deferred[None]:
        """
        Disconnect, and come back no more.

        :return: fires when nothing is left to be done.
        """
        self._running = False
        _cancel(self._retry)
        waiter: Deferred[None] = Deferred()
        self._stopped.append(waiter)
        if self._protocol is not None:
            self.drop("stopped")
        elif self._connecting is not None:
            self._connecting.cancel()
        else:
            self._tellStopped()
        return waiter

    def call(self, *command: bytes | str | float, wait: float = 0.0) -> Deferred[Any]:
        """
        Send a command; the answers come in the order of the commands.

        :param command: its words.
        :param wait: for how long the registry was asked to wait, seconds.
        :return: fires with the answer: octets, numbers, None, and lists of them. It fails with
            ``RegistryAway`` if the connection is lost or the time is over, and then the
            command may have been carried out; with ``RegistryRefused`` for an error.
        """
        protocol = self._protocol
        if protocol is None or self._reason or not protocol.connected:
            return fail(RegistryAway("the registry cannot be reached"))
        self._deadlines.append(self._clock.seconds() + ANSWER_TIME + wait)
        if self._watch is None:
            self._watch = self._clock.callLater(ANSWER_TIME + wait, self._checkDeadlines)
        answer: Deferred[Any] = Deferred()  # Who waits no more changes no order.
        asked: Deferred[Any] = protocol.execute_command(
            *map(_encoded, command), apply_timeout=False
        )
        asked.addCallbacks(self._answered, self._failed)
        asked.chainDeferred(answer)
        return answer

    @property
    def lag(self) -> float:
        """For how long the oldest command has waited for its answer, seconds."""
        if not self._deadlines:
            return 0.0
        return max(0.0, self._clock.seconds() - (self._deadlines[0] - ANSWER_TIME))

    def drop(self, reason: str) -> None:
        """
        Give the connection up; another is made soon.

        :param reason: why, in one line.
        """
        protocol = self._protocol
        if protocol is not None and protocol.connected and not self._reason:
            self._reason = reason
            self._markUnusable()
            protocol.transport.abortConnection()

    # Connecting.

    def _connect(self) -> None:
        self._retry = None
        self._reason = ""
        connecting = self._endpoint.connect(_QuietFactory.forProtocol(self._build))
        self._connecting = connecting.addTimeout(CONNECT_TIME, self._clock)
        connecting.addCallbacks(self._connected, self._notConnected)

    def _build(self) -> Any:
        return makeProtocol(self._onPublished, self._lost)

    def _connected(self, protocol: Any) -> None:
        self._connecting = None
        if not protocol.connected:
            self._down("the connection was closed at once")
            return
        self._protocol = protocol
        if self._running:
            Deferred.fromCoroutine(self._makeReady(protocol))
        else:
            self.drop("stopped")

    async def _makeReady(self, protocol: Any) -> None:
        try:
            await self._prepare(self)
        except Exception as error:
            if self._protocol is protocol:
                self.drop(_line(error))
            return
        if self._protocol is protocol and not self._reason:
            self.up = True
            self._upSince = self._clock.seconds()
            self._onUp()

    def _notConnected(self, failure: Failure) -> None:
        self._connecting = None
        self._down(_line(failure.value))

    def _lost(self, protocol: Any, why: Failure) -> None:
        if protocol is not self._protocol:
            return
        self._markUnusable()
        self._protocol = None
        self._deadlines.clear()
        self._overdue = 0
        self._down(self._reason or _line(why.value))

    def _markUnusable(self) -> None:
        """It cannot be used any more."""
        if self.up and self._clock.seconds() - self._upSince >= STABLE:
            self._failures = 0
        self.up = False

    def _down(self, reason: str) -> None:
        self.losses += 1
        _cancel(self._watch)
        self._watch = None
        if not self._running:
            self._onDown(reason)
            self._tellStopped()
            return
        pause = self._jitter() * min(CAP, BASE * 2 ** min(self._failures, 10))
        self._failures += 1
        self._retry = self._clock.callLater(pause, self._connect)
        self._onDown(reason)

    def _tellStopped(self) -> None:
        waiters, self._stopped = self._stopped, []
        for waiter in waiters:
            waiter.callback(None)

    # Waiting for answers.

    def _checkDeadlines(self) -> None:
        """See whether an answer is overdue."""
        self._watch = None
        if self._deadlines:
            left = self._deadlines[0] - self._clock.seconds()
            if left > 0:
                self._watch = self._clock.callLater(left, self._checkDeadlines)
            elif self._overdue < READ_TURNS:
                self._overdue += 1
                self._watch = self._clock.callLater(READ_TIME, self._checkDeadlines)
            else:
                self.drop(f"no answer within {ANSWER_TIME:g} s")

    def _answered(self, answer: Any) -> Any:
        self._overdue = 0
        if self._deadlines:
            self._deadlines.popleft()
        return answer

    def _failed(self, failure: Failure) -> Failure:
        import txredisapi

        if isinstance(failure.value, txredisapi.ResponseError):
            self._answered(None)
            raise RegistryRefused(_line(failure.value)) from None
        raise RegistryAway(self._reason or "the registry was lost") from None


async def askOnce(
    endpoint: IStreamClientEndpoint, clock: IReactorTime, *commands: tuple[bytes | str, ...]
) -> Any:
    """
    Connect, say what must be said, and disconnect.

    :param endpoint: connects.
    :param clock: measures time.
    :param commands: the words of each command.
    :return: the answer to the last.
    :raises Exception: if one is answered with an error, or not in time.
    """
    lost: Deferred[None] = Deferred()
    factory = _QuietFactory.forProtocol(lambda: makeProtocol(None, lambda *_: lost.callback(None)))
    protocol: Any = await _timed(endpoint.connect(factory), CONNECT_TIME, clock)
    try:
        answer = None
        for command in commands:
            asked = protocol.execute_command(*map(_encoded, command), apply_timeout=False)
            answer = await _timed(asked, ANSWER_TIME, clock)
        return answer
    finally:
        protocol.transport.abortConnection()
        await lost


def _timed(waiting: Deferred[Any], seconds: float, clock: IReactorTime) -> Deferred[Any]:
    return waiting.addTimeout(seconds, clock)


def _encoded(word: bytes | str | float) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode(errors="backslashreplace")


def _line(error: BaseException | None) -> str:
    """What went wrong, in one line."""
    if isinstance(error, ThingError | OSError) or type(error).__module__ == "txredisapi":
        return " ".join(str(error).split())[:300] or type(error).__name__
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _cancel(call: IDelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()

"""
What ``twistd thing --demo`` serves: a conversation that shows what a session is.

A message is a line of UTF-8, or a few; a newline at its end is optional.
Replies end in one. Nothing that a peer wrote reaches a terminal with anything
in it that could steer that terminal.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from itertools import islice
from typing import Any, ClassVar

from thing.errors import LocalProtocolError
from thing.session.addresses import formatAddress
from thing.session.factory import ThingFactory
from thing.session.protocol import ThingProtocol
from thing.text import visible

MAX_TEXT = 4096
"""The longest message that is answered, octets: nobody types more."""

MAX_LINES = 20
"""How many lines of a message are answered: so a reply is not much longer than this module."""

MAX_WHO = 50
"""How many sessions ``who`` lists."""

MAX_WAITING = 65536
"""With this many octets waiting for a peer, it does not hear what others say."""

SAY_INTERVAL = 1.0
"""How long a session waits between two ``say``, seconds, since each costs one message a peer."""

HELP = """\
help       this text
who        who is here
time       the server's time
status     this session: how long it is up, heartbeats, round trip
say TEXT   tell everybody who is here
bye        end the session
Anything else is echoed."""


class DemoProtocol(ThingProtocol):
    """One visitor."""

    factory: DemoFactory
    _since = 0.0
    _heartbeats = 0
    _measured: float | None = None
    _lastSaid: float | None = None

    def handshakeCompleted(self) -> None:
        """Greet."""
        session = self.session
        assert session is not None, "the handshake is complete"
        self._since = self._now()
        # Who does not read the answers is not asked for more questions.
        self.registerProducer(self, True)
        self._reply(
            f"Welcome to Thing. This is session {self.sessionId}.\n"
            f"You are {visible(str(session.peer))} at {formatAddress(self.address)}.\n"
            f"The keys are from {session.group}, the cipher is {session.aead}.\n"
            f"The TTL is {session.ttl:g} s, with a heartbeat every {session.interval:g} s.\n"
            f"Say help to see what you can say."
        )

    def heartbeatReceived(self, sequence: int, roundTripTime: float | None) -> None:
        """
        Remember for ``status``.

        :param sequence: how many there were.
        :param roundTripTime: what the peer measured last, seconds, or None.
        """
        self._heartbeats = sequence
        self._measured = roundTripTime

    def messageReceived(self, message: bytes) -> None:
        """
        Answer each line.

        :param message: one line or a few.
        """
        lines = message.removesuffix(b"\n").decode("utf-8", "replace").split("\n")
        if len(message) > MAX_TEXT or len(lines) > MAX_LINES:
            self._reply(f"Too much at once: {MAX_TEXT} octets in {MAX_LINES} lines at most.")
            return
        self._reply("\n".join(self._answer(line.removesuffix("\r")) for line in lines))

    def _reply(self, text: str) -> None:
        """Send lines, if this peer can still be sent anything."""
        with suppress(LocalProtocolError):  # It does not read, and will not miss a demo's reply.
            self.sendMessage(f"{text}\n".encode())

    def _answer(self, line: str) -> str:
        words = line.split(maxsplit=1)
        if words and words[0].lower() == "say":
            return self._say(*words[1:])
        command = self._COMMANDS.get(line.strip().lower())
        return command(self) if command is not None else visible(line)

    def _who(self) -> str:
        sessions = self.factory.sessions
        shown = [_nameOf(protocol) for protocol in islice(sessions, MAX_WHO)]
        if len(sessions) > len(shown):
            shown.append(f"and {len(sessions) - len(shown)} more")
        return "\n".join(shown)

    def _time(self) -> str:
        return self.factory.wallClock().isoformat(sep=" ", timespec="seconds")

    def _status(self) -> str:
        measured = "not measured yet"
        if self._measured is not None:
            measured = f"{self._measured * 1000:.1f} ms"
        return (
            f"Session {self.sessionId} is up for {self._now() - self._since:.0f} s,"
            f" heartbeats so far: {self._heartbeats}, round trip: {measured}"
        )

    def _say(self, text: str = "") -> str:
        if not text:
            return "Say what?"
        now = self._now()
        if self._lastSaid is not None and now - self._lastSaid < SAY_INTERVAL:
            return f"Not so fast: every {SAY_INTERVAL:g} s at most."
        self._lastSaid = now
        others = [
            protocol
            for protocol in self.factory.sessions
            if protocol is not self and protocol.queued < MAX_WAITING
        ]
        for protocol in others:
            if isinstance(protocol, DemoProtocol):
                protocol._reply(f"{_nameOf(self)} says: {visible(text)}")
        return f"Said to {len(others)}."

    def _bye(self) -> str:
        self.loseConnection()
        return "Goodbye."

    def _now(self) -> float:
        return self.factory.clock.seconds()

    _COMMANDS: ClassVar[dict[str, Callable[[DemoProtocol], str]]] = {
        "help": lambda self: HELP,
        "who": _who,
        "time": _time,
        "status": _status,
        "bye": _bye,
    }


class DemoFactory(ThingFactory):
    """
    Builds a :class:`DemoProtocol` for each visitor.

    :ivar wallClock: tells the time of day.
    """

    protocol = DemoProtocol

    def __init__(self, *arguments: Any, **others: Any) -> None:
        """
        :param arguments: as for :class:`~thing.session.factory.ThingFactory`.
        :param others: likewise.
        """
        super().__init__(*arguments, **others)
        self.wallClock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)


def _nameOf(protocol: ThingProtocol) -> str:
    """A peer as the others see it; the session id tells twins apart."""
    return f"{visible(str(protocol.peer))} [{protocol.sessionId[:8]}]"

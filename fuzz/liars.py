"""
Peers with real keys that lie: what they send is changed before it is proved, or sealed.

A lie that is told before the proof stands in the liar's own transcript, so that its MAC and its
signature are right. One that is told before the seal is what the record layer carries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fuzz.choices import Choices
from fuzz.grammar import changed, lies
from thing.core.clienthandshake import ClientHandshake
from thing.core.credentials import Credential
from thing.core.dialogue import Dialogue
from thing.core.handshakemessages import SHF, SignedCheck
from thing.core.layout import OCTETS32, Message
from thing.core.messages import MessageType, Role
from thing.core.serverhandshake import ServerHandshake
from thing.core.states import State, StateMachine
from thing.core.wire import MessageWriter

Seen = set[tuple[object, ...]]
"""What an input brought about that others may not have: as rows of the state table."""


class Plot:
    """
    How many lies are due, and what they are.

    :ivar proved: how many messages of the handshake are changed before they are proved.
    :ivar sealed: how many messages are changed before they are sealed.
    :ivar lied: whether anything was changed.
    """

    def __init__(self, choices: Choices) -> None:
        """:param choices: what decides."""
        self._choices = choices
        self.proved = self.sealed = 0
        self.lied = False

    def beforeProof(self, message: Message) -> Message:
        """
        Change a message of the handshake, if that is due.

        :param message: the message.
        :return: what is sent.
        """
        if not self.proved:
            return message
        self.proved -= 1
        self.lied = True
        return changed(message, self._choices)

    def beforeSeal(self, message: bytes) -> list[bytes]:
        """
        Change a message, if that is due.

        :param message: its type octet and its body.
        :return: what is sent.
        """
        if not self.sealed:
            return [message]
        self.sealed -= 1
        self.lied = True
        return lies(message, self._choices)


class _Lying:
    """A handshake whose messages are changed before they are proved; goes in front of a role's."""

    plot: Plot

    def _send(self, message: Message) -> bytes:
        return super()._send(self.plot.beforeProof(message))  # type: ignore[misc]

    def _prove(self, role: Role, key: bytes, credential: Credential, message: SignedCheck) -> bytes:
        told = self.plot.beforeProof(message)
        return super()._prove(role, key, credential, told)  # type: ignore[misc]

    def _confirm(self, key: bytes, part: bytes) -> bytes:
        if part[0] == MessageType.SHF:
            told = self.plot.beforeProof(SHF.decode(part[1:] + bytes(OCTETS32.size)))
            part = told.typed()[: -OCTETS32.size]
        return super()._confirm(key, part)  # type: ignore[misc]


class LyingClient(_Lying, ClientHandshake):
    """A client's handshake."""


class LyingServer(_Lying, ServerHandshake):
    """A server's handshake."""


class LyingWriter(MessageWriter):
    """Seals what a plot makes of messages, with the key that is right."""

    __slots__ = ("_plot",)

    def __init__(self, sender: Role, plot: Plot) -> None:
        """
        :param sender: whose messages they are.
        :param plot: what is made of them.
        """
        super().__init__(sender)
        self._plot = plot

    def add(self, message: bytes) -> None:
        """
        Make records of what is sent in a message's place.

        :param message: the message's type and its body.
        """
        for told in self._plot.beforeSeal(message):
            self.write(told)

    def seal(self, message: bytes, now: float) -> None:
        """
        Make records of what is sent in a message's place, under the session's key.

        :param message: the message's type and its body.
        :param now: the time, seconds.
        """
        for told in self._plot.beforeSeal(message):
            if told:
                super().seal(told, now)
            else:
                self.write(told)

    def write(self, message: bytes) -> None:
        """
        Make a record of just this.

        :param message: the message's type and its body; or nothing at all.
        """
        if self.key is None and not message:
            self.ready.append(bytes(3))
        else:
            super().add(message)


class Watching(StateMachine):
    """A state machine that notes what was legal when."""

    __slots__ = ("_seen",)

    def __init__(self, role: Role, seen: Seen) -> None:
        """
        :param role: this side's role.
        :param seen: takes note.
        """
        super().__init__(role)
        self._seen = seen

    def receive(self, kind: MessageType) -> None:
        """
        Advance by a message from the peer.

        :param kind: the message's type.
        """
        before = self.state
        super().receive(kind)
        self._seen.add((self.role, before, kind))

    def step(self, step: Any) -> None:
        """
        Advance by something that this side does.

        :param step: what.
        """
        before: State = self.state
        super().step(step)
        self._seen.add((self.role, before, step))


def corrupt(
    side: Dialogue[Any], handshake: Callable[[], LyingClient | LyingServer], plot: Plot, seen: Seen
) -> None:
    """
    Turn a side into one that lies.

    :param side: a Connection that is not started.
    :param handshake: makes its handshake.
    :param plot: its lies.
    :param seen: what it comes through.
    """
    side._machine = Watching(side.role, seen)
    side._writer = LyingWriter(side.role, plot)
    side._handshakeOrNone = handshake()
    side._handshakeOrNone.plot = plot

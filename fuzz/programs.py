"""One side of a session: its program does anything, and what it is told is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from fuzz.choices import Choices
from fuzz.grammar import SIZES
from fuzz.liars import Plot
from fuzz.timed import Timed
from thing.core.messages import LAST_WORD_LIMIT, REQUESTS_OUTSTANDING, Role
from thing.core.records import RECORD_LIMIT
from thing.core.states import State
from thing.errors import EndReason, ErrorCode, LocalProtocolError, ReplyStatus
from thing.events import (
    Event,
    MessageReceived,
    PeerProved,
    RequestReceived,
    StreamRequested,
    Terminated,
)
from thing.identity import Identity


class Side:
    """
    One Connection, what its program knows, and what is on its way to it.

    :ivar core: the Connection, which is watched.
    :ivar plot: what it lies.
    :ivar sent: the messages that its program sent.
    :ivar got: those that it was told of.
    :ivar end: how it ended, once it was told.
    :ivar wire: the octets on their way to it.
    """

    def __init__(self, core: Any, plot: Plot, patient: bool) -> None:
        """
        :param core: the Connection.
        :param plot: what it lies.
        :param patient: whether its program takes its time to decide who may come in.
        """
        self.core: Any = Timed(core)
        self.plot = plot
        self.sent: list[bytes] = []
        self.got: list[bytes] = []
        self.end: Terminated | None = None
        self.wire = bytearray()
        self._patient = patient
        self._undecided: Identity | None = None
        self._unanswered: list[int] = []
        self._streams: list[int] = []

    # What comes from outside.

    def hear(self, events: Iterable[Event], now: float) -> None:
        """
        Take note of what the Connection tells, and decide whom it admits.

        :param events: what it tells.
        :param now: the time, seconds.
        """
        for event in events:
            assert self.end is None, f"{event} after the end"
            if isinstance(event, Terminated):
                self.end = event
            elif isinstance(event, PeerProved):
                self._undecided = event.identity
                if not self._patient:
                    self.decide(True, now)
            elif isinstance(event, MessageReceived):
                assert self.core.stream or len(event.data) <= self.core._limits.maxMessage
                self.got.append(event.data)
            elif isinstance(event, RequestReceived):
                self._unanswered.append(event.number)
                assert len(self._unanswered) <= REQUESTS_OUTSTANDING
            elif isinstance(event, StreamRequested):
                self._streams.append(event.stream)

    def decide(self, admitted: bool, now: float) -> None:
        """
        Let the program decide about the peer that was proved, if one waits.

        :param admitted: whether it is admitted.
        :param now: the time, seconds.
        """
        if self._undecided is not None:
            identity, self._undecided = self._undecided, None
            if self.core.state is not State.AUTHORIZING:
                return
            if admitted:
                self.hear(self.core.admit(identity, now), now)
            else:
                self.hear(self.core.reject(ErrorCode.NOT_AUTHORIZED, now), now)

    def take(self, count: int, now: float) -> None:
        """
        Let octets arrive.

        :param count: how many of those that are on their way.
        :param now: the time, seconds.
        """
        octets = bytes(self.wire[:count])
        del self.wire[:count]
        self.hear(self.core.receiveData(octets, now), now)

    def check(self) -> None:
        """See whether what is kept is what is admitted, and the state what was told."""
        core = self.core
        assert (self.end is not None) == (core.state is State.ENDED)
        assert (self.end is None) == (core.termination is None)
        capacity, streams = core._limits.capacity, core._streamsOrNone
        there = {} if streams is None else streams.open
        assert len(there) <= 2 * (capacity.maxStreams + core._peerCapacity.maxStreams) + 1
        places = 2 * (capacity.maxStreams + core._peerCapacity.maxStreams)
        inboxes = [each.inbox for each in there.values()]
        if core._inboxOrNone is not None:
            inboxes.append(core._inboxOrNone)
        kept = sum(each.held for each in inboxes)
        most = 2 * (capacity.mainCredit + places * capacity.streamCredit)
        assert kept <= most + core._limits.budget.reserved, f"{kept} octets are held"
        begun = [len(each._begun or b"") for each in inboxes]
        assert max(begun, default=0) <= core._limits.maxMessage
        tally = core._tallyOrNone
        assert tally is None or tally.octets == kept + sum(begun), "miscounted what came"
        lanes = [each.lane for each in there.values()]
        if core._outbox._main is not None:
            lanes.append(core._outbox._main)
        assert core._outbox.held == sum(each.held for each in lanes), "miscounted what goes"
        assert self.end is None or not core.held, f"{core.held} octets are left at the end"
        longest = RECORD_LIMIT if core.session else 8192
        assert core._reader.buffered <= longest + 3, "half a record that is too long"
        assert len(core.lastWord) <= LAST_WORD_LIMIT

    # What the program does.

    def do(self, choices: Choices, now: float) -> None:
        """
        Let the program do one thing; that it may not now is its own error.

        :param choices: which, and with what.
        :param now: the time, seconds.
        """
        action = choices.pick(ACTIONS)
        with suppress(LocalProtocolError):
            self.hear(action(self, choices, now) or (), now)

    def _say(self, choices: Choices, now: float) -> None:
        octets = bytes((choices.octet(),)) * choices.pick(SIZES)
        if self.core.sendMessage(octets):
            self.sent.append(octets)

    def _ask(self, choices: Choices, now: float) -> None:
        self.core.request(bytes(choices.pick(SIZES)))

    def _reply(self, choices: Choices, now: float) -> None:
        if self._unanswered:
            number = self._unanswered.pop(choices.octet() % len(self._unanswered))
            self.core.reply(number, choices.pick(list(ReplyStatus)), bytes(choices.pick(SIZES)))

    def leave(self, choices: Choices, now: float) -> Iterable[Event]:
        """
        Say goodbye, or ask the client to leave.

        :param choices: what decides.
        :param now: the time, seconds.
        :return: the events that follow.
        """
        if self.core.role is Role.CLIENT:
            return self.core.goodbye(now)
        reason = choices.pick(list(EndReason))
        return list(self.core.goAway(reason, now, choices.below(40), choices.below(3)))

    def _speakOf(self, choices: Choices, now: float) -> Iterable[Event]:
        if self.core.role is Role.SERVER:
            return ()
        if choices.below(2):
            return self.core.beat(now)
        self.core.setLastWord(bytes(choices.pick(SIZES)))
        return ()

    def _update(self, choices: Choices, now: float) -> None:
        self.core.updateKey(now)

    def _hold(self, choices: Choices, now: float) -> None:
        if self.core.session is not None and self.end is None:
            self.core.hold()

    def release(self, choices: Choices, now: float) -> Iterable[Event]:
        """
        Go on with what was held.

        :param choices: what decides.
        :param now: the time, seconds.
        :return: the events that follow.
        """
        up = self.core.session is not None and self.end is None
        return self.core.release(now) if up else ()

    def _open(self, choices: Choices, now: float) -> None:
        self._streams.append(self.core.openStream("label", now))

    def _stream(self, choices: Choices, now: float) -> Iterable[Event]:
        number = self._streams[choices.octet() % len(self._streams)] if self._streams else 1
        way, core = choices.below(8), self.core
        if core.session is None or self.end is not None:
            return ()
        if way == 0:
            core.acceptStream(number)
            return core.releaseStream(number, now)
        if way < 3:
            core.sendStream(number, bytes(choices.pick(SIZES)))
        elif way == 3:
            core.endStream(number if choices.below(4) else 0)
        elif way == 4:
            core.holdStream(number)
        elif way == 5:
            core.stopStream(number, choices.number(2))
        elif way == 6:
            return core.closeStream(number, now)
        else:
            core.wantStream(number, choices.octet())
        return ()

    def _refuse(self, choices: Choices, now: float) -> Iterable[Event]:
        if choices.below(2):
            return self.core.abort(now)
        return self.core.reject(ErrorCode.INTERNAL_ERROR, now)

    def judge(self, choices: Choices, now: float) -> None:
        """
        Decide about whoever was proved.

        :param choices: what decides.
        :param now: the time, seconds.
        """
        self.decide(bool(choices.below(4)), now)

    def export(self) -> bytes:
        """
        Derive what only the two ends of the session know.

        :return: the octets; none while there are no keys.
        """
        with suppress(LocalProtocolError):
            octets: bytes = self.core.exportKeyingMaterial("fuzz", b"", 16)
            return octets
        return b""


ACTIONS: tuple[Callable[[Side, Choices, float], Any], ...] = (
    *(Side._say, Side._say, Side._ask, Side._reply, Side.leave, Side._speakOf, Side._update),
    *(Side._hold, Side.release, Side._open, Side._stream, Side._stream, Side._stream),
    *(Side._refuse, Side.judge, Side.judge),
)
"""What a program does; those that stand there twice twice as often."""

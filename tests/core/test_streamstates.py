"""The states of a stream, exhaustively, on real Connections of both roles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from twisted.trial.unittest import TestCase

from tests.helpers import PLENTY, ending, establishedPair, sendTo
from thing.core.dialogue import Dialogue
from thing.core.layout import Message
from thing.core.messages import (
    CAC,
    CCR,
    CDT,
    COP,
    CST,
    END,
    SAC,
    SCR,
    SDT,
    SOP,
    SST,
    Role,
)
from thing.core.states import State
from thing.core.stream import STREAM_TRANSITIONS, StreamState, StreamStep
from thing.errors import ErrorCode, StopCode
from thing.events import StreamAccepted, StreamClosed, StreamData, StreamEnded, StreamStopped

OPENER = {True: "this side", False: "the peer"}


@dataclass
class Scene:
    """One side of a session, with one stream in some state."""

    side: Dialogue
    number: int

    def messages(self) -> dict[str, Message]:
        """All that the peer may say about the stream."""
        number = self.number
        if self.side.role is Role.SERVER:
            return {
                "open": COP(number, b"x"),
                "accept": CAC(number),
                "data": CDT(0, number, b"x"),
                "end": CDT(END, number, b""),
                "credit": CCR(number, 1 << 20),
                "stop": CST(number, StopCode.FAILED),
            }
        return {
            "open": SOP(number, b"x"),
            "accept": SAC(number),
            "data": SDT(0, number, b"x"),
            "end": SDT(END, number, b""),
            "credit": SCR(number, 1 << 20),
            "stop": SST(number, StopCode.FAILED),
        }

    def get(self, *names: str) -> None:
        """Let the peer say something, and flush what this side says."""
        for name in names:
            sendTo(self.side, self.messages()[name])
            self.side.dataToSend(0.0, PLENTY)

    def do(self, step: StreamStep) -> None:
        """Let this side take a step, and flush it."""
        if step is StreamStep.ACCEPT:
            self.side.acceptStream(self.number)
            list(self.side.releaseStream(self.number, 0.0))
        elif step is StreamStep.SEND_END:
            self.side.endStream(self.number)
        elif step is StreamStep.STOP:
            self.side.stopStream(self.number, StopCode.FAILED)
        self.side.dataToSend(0.0, PLENTY)

    @property
    def state(self) -> StreamState:
        """Where the stream stands; one that is forgotten is over."""
        stream = self.side._streams.open.get(self.number)
        return StreamState.OVER if stream is None else stream.state


S, T = StreamState, StreamStep

WAYS: dict[StreamState, tuple[tuple[bool, tuple[str | StreamStep, ...]], ...]] = {
    S.ASKING: ((True, ()),),
    S.ASKING_ENDED: ((True, (T.SEND_END,)),),
    S.ASKED: ((False, ()),),
    S.ASKED_ENDED: ((False, ("end",)),),
    S.OPEN: ((True, ("accept",)), (False, (T.ACCEPT,))),
    S.SENT_END: (
        (True, ("accept", T.SEND_END)),
        (True, (T.SEND_END, "accept")),
        (False, (T.ACCEPT, T.SEND_END)),
    ),
    S.GOT_END: (
        (True, ("accept", "end")),
        (False, (T.ACCEPT, "end")),
        (False, ("end", T.ACCEPT)),
    ),
    S.OVER: (
        (True, ("stop",)),
        (True, (T.STOP,)),
        (False, ("stop",)),
        (False, (T.STOP,)),
        (True, ("accept", "end", T.SEND_END)),
        (True, ("accept", T.SEND_END, "end")),
        (False, (T.ACCEPT, "end", T.SEND_END)),
        (False, (T.ACCEPT, T.SEND_END, "end")),
    ),
}
"""How each state is come to: whether this side opened the stream, and what happened then."""

UNKNOWN, ENDED, NUMBER = (
    ErrorCode.STREAM_UNKNOWN,
    ErrorCode.STREAM_ENDED,
    ErrorCode.STREAM_NUMBER,
)

REFUSED: dict[StreamState, dict[str, ErrorCode]] = {
    S.ASKING: {"data": UNKNOWN, "end": UNKNOWN, "credit": UNKNOWN},
    S.ASKING_ENDED: {"data": UNKNOWN, "end": UNKNOWN, "credit": UNKNOWN},
    S.ASKED: {"accept": UNKNOWN},
    S.ASKED_ENDED: {"accept": UNKNOWN, "data": ENDED, "end": ENDED},
    S.OPEN: {"accept": UNKNOWN},
    S.SENT_END: {"accept": UNKNOWN},
    S.GOT_END: {"accept": UNKNOWN, "data": ENDED, "end": ENDED},
    S.OVER: {},
}
"""What the specification refuses, and how; an opening with the number is refused everywhere."""

STEPS = {"accept": T.ACCEPTED, "end": T.GET_END, "stop": T.STOPPED}
"""The step that each message of the peer's is, if it is one."""


def scenesIn(state: StreamState) -> Iterator[tuple[str, Scene]]:
    """Fresh scenes of both roles with a stream in a state, by each way to it."""
    for role in Role:
        for opened, way in WAYS[state]:
            client, server = establishedPair()
            side: Dialogue = client if role is Role.CLIENT else server
            scene = Scene(side, 1 if opened is (role is Role.CLIENT) else 2)
            if opened:
                side.openStream("x", 0.0)
                side.dataToSend(0.0, PLENTY)
            else:
                scene.get("open")
            for each in way:
                if isinstance(each, StreamStep):
                    scene.do(each)
                else:
                    scene.get(each)
            names = [each if isinstance(each, str) else each.name for each in way]
            yield f"{role.name}, opened by {OPENER[opened]}, {', '.join(names)}", scene


class StreamStateTests(TestCase):
    """Every state, every message, every step."""

    def test_scenes(self) -> None:
        """Each way leads to the state that it is for."""
        self.assertEqual(set(WAYS), set(StreamState))
        for state in StreamState:
            for where, scene in scenesIn(state):
                self.assertIs(scene.state, state, where)

    def test_refusals(self) -> None:
        """What is not refused is a step that the table has, or changes nothing."""
        self.assertEqual(set(REFUSED), set(StreamState))
        for state in StreamState:
            for name, step in STEPS.items():
                legal = step in STREAM_TRANSITIONS[state]
                refused = name in REFUSED[state]
                self.assertIs(legal, not refused and state is not S.OVER, f"{name} in {state}")

    def test_everyMessage(self) -> None:
        """
        Each message in each state leads where the table says, or changes nothing, or is refused
        with its code.
        """
        for state in StreamState:
            for name in ("open", "accept", "data", "end", "credit", "stop"):
                for where, scene in scenesIn(state):
                    events = sendTo(scene.side, scene.messages()[name])
                    code = NUMBER if name == "open" else REFUSED[state].get(name)
                    if code is not None:
                        self.assertIs(ending(events).code, code, f"{name}: {where}")
                        continue
                    self.assertIs(scene.side.state, State.ESTABLISHED, f"{name}: {where}")
                    step = STEPS.get(name)
                    after = state
                    if step is not None:
                        after = STREAM_TRANSITIONS[state].get(step, state)
                    self.assertIs(scene.state, after, f"{name}: {where}")
                    if state is S.OVER:
                        self.assertEqual(events, [], f"{name}: {where}")

    def test_told(self) -> None:
        """What a message says is told, but of a stream that nobody has decided on."""
        events = {
            "accept": StreamAccepted,
            "data": StreamData,
            "end": StreamEnded,
            "stop": StreamStopped,
        }
        for state in StreamState:
            for name, kind in events.items():
                if state is S.OVER or name in REFUSED[state]:
                    continue
                for where, scene in scenesIn(state):
                    told = sendTo(scene.side, scene.messages()[name])
                    held = state in (S.ASKED, S.ASKED_ENDED) and name != "stop"
                    self.assertEqual([type(event) for event in told], [] if held else [kind], where)

    def test_everyStep(self) -> None:
        """Each step of this side's leads where the table says, or changes nothing."""
        for state in StreamState:
            for step in (T.ACCEPT, T.SEND_END, T.STOP):
                for where, scene in scenesIn(state):
                    scene.do(step)
                    after = STREAM_TRANSITIONS[state].get(step, state)
                    self.assertIs(scene.state, after, f"{step.name}: {where}")
                    self.assertIs(scene.side.state, State.ESTABLISHED)

    def test_closed(self) -> None:
        """
        A stream that this side has closed, and whose octets wait for credit, is taken no easier,
        and told no more.
        """
        for state in (S.OPEN, S.GOT_END):
            for name in ("open", "accept", "data", "end", "credit", "stop"):
                for where, scene in scenesIn(state):
                    scene.side.sendStream(scene.number, bytes(1 << 17))
                    scene.side.closeStream(scene.number, 0.0)
                    scene.side.dataToSend(0.0, PLENTY)
                    self.assertIs(scene.state, state, where)  # Its own END waits.
                    events = sendTo(scene.side, scene.messages()[name])
                    code = NUMBER if name == "open" else REFUSED[state].get(name)
                    if code is not None:
                        self.assertIs(ending(events).code, code, f"{name}: {where}")
                    else:
                        told = [event for event in events if not isinstance(event, StreamClosed)]
                        self.assertEqual(told, [], f"{name}: {where}")
                        after = STREAM_TRANSITIONS[state].get(STEPS.get(name, T.ACCEPT), state)
                        self.assertIs(scene.state, after, f"{name}: {where}")

    def test_neverOpened(self) -> None:
        """All about a number that was never used is refused, but an opening by its side."""
        for role in Role:
            for number in (0, 3, 4, 1 << 31, (1 << 32) - 1):
                for name in ("open", "accept", "data", "end", "credit", "stop"):
                    if number == 0 and name in ("data", "end", "credit"):
                        continue  # The main stream's.
                    client, server = establishedPair()
                    side: Dialogue = client if role is Role.CLIENT else server
                    events = sendTo(side, Scene(side, number).messages()[name])
                    code = NUMBER if name == "open" else UNKNOWN
                    self.assertIs(ending(events).code, code, f"{name} {number}")

"""
Both sides of a session, with real keys: programs that do anything, a peer that lies, a bad network.

An input says what the sides can do, then what happens: which program does what, what of it is
changed before it is proved or sealed, which octets are on their way, how time goes by. Whatever it
says, no exception gets out, each side is told of one end and of nothing after it, both agree on
who they are and with which keys, no more is kept than is admitted, and nothing takes long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fuzz.choices import Choices
from fuzz.grammar import SIZES, kindOf, make
from fuzz.liars import LyingClient, LyingServer, LyingWriter, Plot, Seen, corrupt
from fuzz.pairs import NEXT, clientOf, serverOf
from fuzz.programs import ACTIONS, Side
from tests.helpers import PLENTY, SERVER_CREDENTIAL, nextKeyMessage
from thing.core.catalogue import MESSAGES
from thing.core.client import ClientConnection
from thing.core.layout import OPAQUE8, OPAQUE16, REST, Message
from thing.core.messages import Role
from thing.core.server import ServerConnection
from thing.core.states import State
from thing.events import Cause

MOST_STEPS = 60
"""How much happens in one input at most: each takes some milliseconds at most."""

MOST_FIELDS = max(len(each.LAYOUT) for each in MESSAGES.values())
"""How many fields a message has at most."""

ROUNDS = 8
"""How often both sides are asked in turn before the network is quiet."""


class Play:
    """
    One input's life of a session.

    :ivar sides: both sides.
    :ivar now: the time, seconds.
    :ivar honest: whether nothing was changed on the way.
    """

    def __init__(self, choices: Choices, seen: Seen) -> None:
        """
        :param choices: what decides.
        :param seen: takes note of what was come through.
        """
        self._choices = choices
        self.now = 0.0
        self.honest = True
        options, kinds = choices.octet(), choices.octet()
        plots = Plot(choices), Plot(choices)
        client, ticket = clientOf(options, kinds)
        server = serverOf(options, kinds)
        difficulty = 1 if options & 1 else 0
        caller = ClientConnection(client, ticket, lambda: 0.5)
        callee = ServerConnection(server, None, lambda: difficulty)
        corrupt(caller, lambda: LyingClient(client, ticket), plots[0], seen)
        corrupt(callee, lambda: LyingServer(server), plots[1], seen)
        patient = bool(options & 32)
        self.sides = Side(caller, plots[0], patient), Side(callee, plots[1], patient)
        # The first lies are due before anything is sent, as CHI is sent at the start.
        lies = choices.octet()
        plots[0].proved, plots[1].proved = lies & 3, lies >> 2 & 3
        plots[0].sealed, plots[1].sealed = lies >> 4 & 1, lies >> 5 & 1
        for side in self.sides:
            side.hear(side.core.start(0.0), 0.0)

    def step(self) -> None:
        """Let one thing happen."""
        choices = self._choices
        what = choices.octet()
        side = self.sides[what & 1]
        _STEPS[(what >> 1) % len(_STEPS)](self, side)
        for each in self.sides:
            each.hear(each.core.takeEvents(), self.now)
            each.check()

    def _exchange(self, side: Side) -> None:
        """Let all octets arrive, at both sides, until there are none; the side's go first."""
        order = (side, self._peer(side))
        for _ in range(ROUNDS):
            for each in order:
                if each.core.state is State.SOLVING:
                    self._look(each)
                self._carry(each, PLENTY)
            if not any(each.wire for each in order):
                return
            for each in order:
                each.take(PLENTY, self.now)

    def _carry(self, side: Side, limit: int) -> None:
        """Let a side's transport take octets."""
        self._peer(side).wire += side.core.dataToSend(self.now, limit)
        side.hear(side.core.takeEvents(), self.now)

    def _some(self, side: Side) -> None:
        """Let some octets go, and some arrive."""
        self._carry(side, (0, 1, 700, PLENTY)[self._choices.below(4)])
        self._peer(side).take(1 + self._choices.octet(), self.now)

    def _program(self, side: Side) -> None:
        side.do(self._choices, self.now)

    def _lie(self, side: Side) -> None:
        """Have the next message, or the next ones, changed."""
        count = self._choices.octet()
        if count & 1:
            side.plot.proved += 1
        else:
            side.plot.sealed += 1 + count // 2 % 3

    def _write(self, message: bytes, side: Side) -> None:
        """Seal what the side's own code would perhaps not send."""
        self.honest = False
        writer: LyingWriter = side.core._writer
        if side.end is None and (writer.key is not None or side.core.session is None):
            writer.write(message)

    def _invent(self, side: Side) -> None:
        kind = kindOf(self._choices)
        self._write(make(kind, self._choices).typed(), side)

    def _flood(self, side: Side) -> None:
        """One message again and again; each number in it grows, or none."""
        kind, grows = kindOf(self._choices), self._choices.octet()
        message = make(kind, self._choices)
        for _ in range(2 + grows % 80):
            self._write(message.typed(), side)
            message = _counted(message, grows // 80)

    def _spoil(self, side: Side) -> None:
        """Change octets on the way."""
        self.honest = False
        at = self._choices.number(2) % (len(side.wire) + 1)
        way = self._choices.octet()
        if way < 96:
            side.wire[at : at + 1] = bytes((way,))
        elif way < 160:
            del side.wire[at : at + way % 64]
        elif way < 224:
            side.wire[at:at] = self._choices.octets(way % 64)
        else:
            side.wire[at:at] = bytes((way,)) * 1000

    def _wait(self, side: Side) -> None:
        """Let time go by: to the next deadline, or some."""
        share = self._choices.octet()
        due: float | None = side.core.nextDeadline
        if share < 128 and due is not None:
            self.now = max(self.now, due)
        else:
            self.now += share / 8
        for each in self.sides:
            self._look(each)

    def _look(self, side: Side) -> None:
        """Let a side look at its deadlines."""
        side.hear(side.core.handleTimer(self.now), self.now)

    def _announce(self, side: Side) -> None:
        """A server's next key, rightly signed: no lie, but it may not be due."""
        if side.core.role is Role.SERVER and side.core.session is not None:
            message = nextKeyMessage(side.core.session, SERVER_CREDENTIAL, NEXT)
            self._write(message.typed(), side)

    def _cut(self, side: Side) -> None:
        """The stream ends: what is on its way may be lost."""
        if self._choices.below(2):
            side.take(PLENTY, self.now)
        self.honest = False
        self._stop(side)

    def _stop(self, side: Side) -> None:
        side.hear(side.core.receiveEnd(self.now), self.now)

    def _peer(self, side: Side) -> Side:
        return self.sides[1] if side is self.sides[0] else self.sides[0]

    def finish(self) -> None:
        """Let all that is left arrive, then end both streams; see whether all is as it should."""
        for side in self.sides:
            side.decide(True, self.now)
            side.hear(side.release(self._choices, self.now), self.now)
        self._exchange(self.sides[0])
        for side in self.sides:
            inbox = side.core._inboxOrNone
            stuck = inbox is not None and inbox.held and not side.core.openStreams
            assert side.end is not None or not stuck, "something waits that nobody holds"
        self._agree()
        for side in self.sides:
            self._stop(side)
            side.core.dataToSend(self.now, PLENTY)  # A final word, if what was held breaks a rule.
            assert side.core.dataToSend(self.now, PLENTY) == b""
            assert side.end is not None, "nobody was told of the end"
            assert side.core.nextDeadline is None
            side.check()

    def _agree(self) -> None:
        client, server = self.sides
        ours, theirs = client.core.session, server.core.session
        if ours is not None and theirs is not None:
            assert ours.sessionId == theirs.sessionId
            assert (ours.group, ours.aead, ours.resumed) == (
                *(theirs.group, theirs.aead, theirs.resumed),
            )
            exported = client.export(), server.export()
            assert b"" in exported or exported[0] == exported[1]
        if not self.honest or client.plot.lied or server.plot.lied:
            return
        if client.end is not None and client.end.termination.cause is Cause.GOODBYE:
            for one, other in ((client, server), (server, client)):
                assert b"".join(one.sent) == b"".join(other.got), "a goodbye, and something is lost"
        elif server.end is not None:
            assert server.end.termination.cause is not Cause.GOODBYE


_STEPS: tuple[Callable[[Play, Side], None], ...] = (
    *(Play._exchange, Play._program, Play._lie, Play._invent, Play._exchange, Play._program),
    *(Play._flood, Play._some, Play._spoil, Play._wait, Play._announce, Play._cut),
    *(Play._exchange, Play._program, Play._invent, Play._some),
)
"""What happens; those that stand there more than once more often."""


def _counted(message: Message, step: int) -> Message:
    """A message with its first number grown, if it has one."""
    for field, name in zip(message.LAYOUT, message.__match_args__, strict=True):
        value = getattr(message, name)
        if isinstance(value, int) and field.size > 1:
            return replace(message, **{name: (value + step) % (1 << 8 * field.size)})  # type: ignore[type-var]
    return message


def play(octets: bytes) -> Seen:
    """
    Live through an input.

    :param octets: the input.
    :return: what it brought about.
    """
    seen: Seen = set()
    choices = Choices(octets)
    life = Play(choices, seen)
    for _ in range(MOST_STEPS):
        if choices.over:
            break
        life.step()
    life.finish()
    for side in life.sides:
        assert side.end is not None
        ending = side.end.termination
        seen.add((side.core.role, ending.cause, ending.code))
    return seen


def oneInput(octets: bytes) -> None:
    """
    Live through an input.

    :param octets: what the sides can do, and what happens.
    """
    play(octets)


def seeds() -> list[bytes]:
    """
    Make lives to begin with: of each sort of pair, and each message in each state of a session.

    :return: the inputs.
    """
    pairs = [bytes((options, kinds, 0)) + _UP for options, kinds in _SORTS]
    for role in Role:
        for action in range(len(ACTIONS)):
            for choice in range(2):
                pairs.append(bytes(3) + _UP + _step(Play._program, role, action, choice, 4, 0))
        pairs.append(bytes(3) + _UP + (_step(Play._program, role, 0, 1, _MOST) + _UP) * 6)
    for options, way in _WAYS:
        for kind, cls in MESSAGES.items():
            choices = Choices(b"")
            make(cls, choices)
            message = _step(Play._invent, kind.sender, kind, *bytes(choices.used))
            arrive = _step(Play._some, kind.sender, 3, 255)
            pairs.append(bytes((options, 0, 0)) + way + message + arrive)
        for role in Role:
            pairs.append(bytes((options, 0, 0)) + way + _step(Play._program, role, _LEAVE, 0, 9, 0))
    return pairs + _talks() + floods() + _lies()


def _talks() -> list[bytes]:
    """A request that is answered, and each thing that is done to a stream that both sides know."""

    def does(role: Role, action: Callable[..., object], *more: int) -> bytes:
        return _step(Play._program, role, ACTIONS.index(action), *more) + _UP

    asked = [does(role, Side._ask, 4) + does(role.peer, Side._reply, 0, 0, 4) for role in Role]
    known = does(Role.CLIENT, Side._open) + does(Role.SERVER, Side._stream, 0, 0)
    streamed = [known + does(role, Side._stream, 0, way, 1) for role in Role for way in range(8)]
    return [bytes(3) + _UP + each for each in asked + streamed]


def _lies() -> list[bytes]:
    """In each state one message changed before its seal, in some ways; and before its proof."""
    told = []
    for options, way in _WAYS:
        for role in Role:
            begun = bytes((options, 0, 0)) + way
            for change in (0, 3, 4, 8):
                lie = _step(Play._lie, role, 0) + _step(Play._program, role, 0, 1, 4)
                told.append(begun + lie + _UP + bytes((change, 0, 1, 0)))
            for field in range(0 if options or _UP in way else MOST_FIELDS):
                told.append(begun + _step(Play._lie, role, 1) + _UP + bytes((field, 1, 0)))
    return told


def floods() -> list[bytes]:
    """
    Make floods of each message, eighty at a time.

    :return: the inputs: long ones to a small side that takes nothing, and short ones.
    """
    made = []
    for kind, cls in MESSAGES.items():
        hold = _step(Play._program, kind.sender.peer, ACTIONS.index(Side._hold), 0)
        for number, grows in ((0, 79), (1, 159), (1, 239)):
            fields = [_LONG if each in _FREE else number for each in cls.LAYOUT]
            flood = _step(Play._flood, kind.sender, kind, grows, *fields)
            made.append(bytes((16, 0, 0)) + _UP + hold + flood + _UP)
        short = [octet for each in cls.LAYOUT for octet in ((0, 0) if each in _FREE else (1,))]
        made.append(bytes(3) + _UP + _step(Play._flood, kind.sender, kind, 159, *short) + _UP)
    return made


_FREE = (OPAQUE8, OPAQUE16, REST)
"""The layouts of octets of any length."""

_MOST = SIZES.index(max(SIZES))

_LONG = 162
"""What chooses 490 of them: the most that a small side takes in a record of data."""


def _step(step: Callable[[Play, Side], None], role: Role, *more: int) -> bytes:
    """A step as an input has it."""
    return bytes((_STEPS.index(step) << 1 | (role is Role.SERVER), *more))


_UP = _step(Play._exchange, Role.CLIENT)
_LEAVE = ACTIONS.index(Side.leave)
_GOODBYE = _step(Play._program, Role.CLIENT, _LEAVE)
_ASKED = _step(Play._some, Role.CLIENT, 3, 255)
_TOLD = _step(Play._some, Role.SERVER, 3, 255)
_SHI_ALONE = _step(Play._lie, Role.SERVER, 2) + _ASKED + bytes((8, 2, 0, 4)) + _TOLD
_ADMIT = _step(Play._program, Role.CLIENT, ACTIONS.index(Side.judge), 1)
_WAYS = (
    (0, b""),  # AWAIT_CHI and AWAIT_SHI
    (1, _ASKED),  # AWAIT_SECOND_CHI
    (1, _ASKED + _TOLD),  # SOLVING
    (1, _ASKED + _TOLD + _step(Play._wait, Role.CLIENT, 128)),  # AWAIT_SECOND_SHI
    (0, _SHI_ALONE),  # AWAIT_SDH
    (0, _ASKED),  # AWAIT_CDH
    (0, _ASKED + _TOLD),  # AWAIT_SCC
    (0, _ASKED + _TOLD + _ASKED),  # AWAIT_CCC
    (32, _ASKED + _TOLD + _ASKED + _TOLD),  # AUTHORIZING, the client
    (32, _ASKED + _TOLD + _ASKED + _TOLD + _ADMIT + _ASKED),  # AUTHORIZING, the server
    (0, _ASKED + _TOLD + _ASKED + _TOLD),  # AWAIT_SHF
    (0, _UP),
    (0, _UP + _step(Play._program, Role.SERVER, _LEAVE, 0, 30, 0)),  # GOING_AWAY
    (0, _UP + _GOODBYE),  # LEAVING
    (0, _UP + _GOODBYE + _step(Play._some, Role.CLIENT, 3, 0)),  # AWAIT_SGB
    (0, _UP + _GOODBYE + _ASKED),  # CLOSING
    (0, _UP + _GOODBYE + _ASKED + _step(Play._some, Role.SERVER, 3, 0)),  # AWAIT_CFL
)
"""What the sides can do, and what leads them to each state in which one can be."""

_SORTS = [(options, 0) for options in (0, 1, 2, 4, 8, 16, 32, 64, 192)] + [
    (options, kinds) for options in (0, 17) for kinds in (*range(8), 8, 16, 24, 32, 70, 128)
]
"""What the sides of the first inputs can do."""

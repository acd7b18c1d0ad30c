"""The state tables, exhaustively: on the machine alone and on real Connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from twisted.trial.unittest import TestCase

from tests.helpers import (
    CAN,
    PLENTY,
    SERVER_CREDENTIAL,
    Eavesdropper,
    Ed25519Credential,
    clientSettings,
    ending,
    give,
    nextKeyMessage,
    only,
    recordFor,
    serverSettings,
    splitRecords,
)
from thing.core.client import ClientConnection
from thing.core.dialogue import Dialogue
from thing.core.handshakemessages import CCC, CDH, CHI, SCC, SDH, SHF, SHI
from thing.core.layout import Message
from thing.core.messages import (
    CAC,
    CCR,
    CDT,
    CFL,
    CGB,
    CHB,
    CHR,
    CKU,
    CLW,
    COP,
    CRP,
    CRQ,
    CST,
    SAC,
    SCR,
    SDT,
    SFL,
    SGA,
    SGB,
    SHR,
    SKU,
    SOP,
    SRP,
    SRQ,
    SST,
    SUU,
    MessageType,
    Role,
)
from thing.core.records import clearRecord
from thing.core.server import ServerConnection
from thing.core.states import (
    BEATING_STATES,
    ESTABLISHED_STATES,
    LIVENESS_STATES,
    TRANSITIONS,
    WRITABLE_STATES,
    State,
    StateMachine,
    Step,
)
from thing.errors import (
    EndReason,
    ErrorCode,
    LocalProtocolError,
    RemoteProtocolError,
    ReplyStatus,
    StopCode,
)
from thing.events import Cause, Terminated
from thing.identity import CredentialKind, Identity

NEXT_CREDENTIAL = Ed25519Credential("the server's next")
ANYBODY = Identity(CredentialKind.NONE)

ROLE_STATES = [
    (role, state) for role, table in TRANSITIONS.items() for state in (*table, State.ENDED)
]

SOME: dict[MessageType, Message] = {
    message.TYPE: message
    for message in (
        CHI((1,), bytes(32), (0x1D,), (2,), (1,), 0, *CAN),
        SHI(1, bytes(32), 0x1D, 2, *CAN),
        SDH(bytes(32)),
        CDH(bytes(32)),
        SCC(bytes(32), (1,), 1, bytes(32), (), 0x0807, bytes(64), bytes(32)),
        CCC(0, b"", (), 0, b"", bytes(32)),
        SHF(30000, 10000, (), bytes(32)),
        CHB(1),
        SUU(1, 30000, 10000),
        CGB(),
        SGB(),
        CFL(),
        SFL(0, EndReason.HEARTBEAT_MISSED),
        SGA(EndReason.SHUTDOWN, 0, 1000),
        CDT(0, 0, b"data"),
        SDT(0, 0, b"data"),
        CRQ(1, b"question"),
        SRQ(1, b"question"),
        CRP(1, ReplyStatus.DONE, b"answer"),
        SRP(1, ReplyStatus.DONE, b"answer"),
        CLW(b"gone"),
        CCR(0, 1 << 20),
        SCR(0, 1 << 20),
        COP(1, b"label"),
        SOP(2, b"label"),
        CAC(2),
        SAC(1),
        CST(2, StopCode.DONE),
        SST(1, StopCode.DONE),
        CKU(),
        SKU(),
        CHR(ErrorCode.ABORTED),
        SHR(ErrorCode.ABORTED),
    )
}
"""A well-formed message of each type but SNK, which belongs to a session."""


HANDSHAKE = {kind for kind in MessageType if kind < MessageType.CHB}


@dataclass
class Scene:
    """A Connection in some state, and its peer's next handshake record."""

    side: Dialogue
    following: bytes = b""

    def record(self, kind: MessageType) -> bytes:
        """A record with a message of this type, right in all but, perhaps, the state."""
        if self.following and kind in HANDSHAKE and self.isLegal(kind):
            return self.following
        if kind is not MessageType.SNK:
            body = SOME[kind].encode()
        elif self.side.session is not None:
            body = nextKeyMessage(self.side.session, SERVER_CREDENTIAL, NEXT_CREDENTIAL).encode()
        else:
            body = b""
        return recordFor(self.side, bytes((kind,)) + body)

    def isLegal(self, kind: MessageType) -> bool:
        """Whether the table has this message in this state."""
        return kind in TRANSITIONS[self.side.role].get(self.side.state, {})


RETRY_STATES = (State.SOLVING, State.AWAIT_SECOND_SHI, State.AWAIT_SECOND_CHI)
"""The states that a handshake passes through only if the server asks for a retry."""


def unstarted(retry: bool) -> tuple[ClientConnection, ServerConnection]:
    """Two Connections, of which the server asks an easy puzzle if there is to be a retry."""
    return ClientConnection(clientSettings()), ServerConnection(
        serverSettings(nextCredential=NEXT_CREDENTIAL), None, lambda: retry
    )


def clientTour(retry: bool) -> Iterator[Scene]:
    """A real client on its way through its states, one by one, with or without a retry."""
    client, server = unstarted(retry)
    server.start(0.0)

    def answer() -> list[bytes]:
        give(server, client.dataToSend(0.0, 0), 0.0)
        return splitRecords(server.dataToSend(0.0, 0))

    yield Scene(client)
    client.start(0.0)
    if retry:
        (shi,) = answer()
        yield Scene(client, shi)
        list(client.receiveData(shi, 0.0))
        yield Scene(client)
        client.handleTimer(0.0)
    shi, sdh = answer()
    yield Scene(client, shi)
    list(client.receiveData(shi, 0.0))
    yield Scene(client, sdh)
    list(client.receiveData(sdh, 0.0))
    (scc,) = answer()
    yield Scene(client, scc)
    (proved,) = client.receiveData(scc, 0.0)
    yield Scene(client)
    client.admit(proved.identity, 0.0)
    (shf,) = answer()  # What it announces is left out, and still due.
    yield Scene(client, shf)
    list(client.receiveData(shf, 0.0))
    client.beat(0.0)  # So that SUU is expected,
    client.request(b"question")  # and SRP,
    client.openStream("label", 0.0)  # and SAC.
    yield Scene(client)
    client.goodbye(0.0)
    yield Scene(client)
    client.dataToSend(0.0, PLENTY)
    yield Scene(client)
    client.abort(0.0)
    yield Scene(client)


def serverTour(retry: bool, goAway: bool) -> Iterator[Scene]:
    """A real server on its way; it may ask for a retry, and ask the client to leave."""
    client, server = unstarted(retry)
    client.start(0.0)

    def answer() -> bytes:
        give(client, server.dataToSend(0.0, 0), 0.0)
        return client.dataToSend(0.0, 0)

    yield Scene(server)
    server.start(0.0)
    chi = answer()
    yield Scene(server, chi)
    list(server.receiveData(chi, 0.0))
    if retry:
        answer()
        client.handleTimer(0.0)
        chi = answer()
        yield Scene(server, chi)
        list(server.receiveData(chi, 0.0))
    cdh = answer()
    yield Scene(server, cdh)
    list(server.receiveData(cdh, 0.0))
    ccc = answer()
    yield Scene(server, ccc)
    (proved,) = server.receiveData(ccc, 0.0)
    yield Scene(server)
    server.admit(proved.identity, 0.0)
    server.request(b"question")  # So that CRP is expected,
    server.openStream("label", 0.0)  # and CAC.
    server.dataToSend(0.0, PLENTY)
    yield Scene(server)
    if goAway:
        server.goAway(EndReason.SHUTDOWN, 0.0, grace=1.0)
        yield Scene(server)
    list(server.receiveData(recordFor(server, bytes((MessageType.CGB,))), 0.0))
    yield Scene(server)
    server.dataToSend(0.0, PLENTY)
    yield Scene(server)
    server.abort(0.0)
    yield Scene(server)


def sceneIn(role: Role, state: State) -> Scene:
    """Drive a real Connection of either role into a state; what it sent on the way is gone."""
    retry = state in RETRY_STATES
    goAway = state is State.GOING_AWAY
    tour = clientTour(retry) if role is Role.CLIENT else serverTour(retry, goAway)
    scene = next(scene for scene in tour if scene.side.state is state)
    if Step.FLUSHED not in TRANSITIONS[role].get(state, {}):
        scene.side.dataToSend(0.0, PLENTY)
    return scene


LEGAL = {
    Role.CLIENT: {
        "IDLE": "",
        "AWAIT_SHI": "SHI SHR",
        "SOLVING": "SHR",
        "AWAIT_SECOND_SHI": "SHI SHR",
        "AWAIT_SDH": "SDH SHR",
        "AWAIT_SCC": "SCC SHR",
        "AUTHORIZING": "SHR",
        "AWAIT_SHF": "SHF SHR",
        "ESTABLISHED": "SUU SDT SRQ SRP SCR SOP SAC SST SKU SNK SGA SFL SHR",
        "LEAVING": "SUU SDT SRQ SRP SCR SOP SAC SST SKU SNK SGA SFL SHR",
        "AWAIT_SGB": "SUU SDT SRQ SRP SCR SOP SAC SST SKU SNK SGA SGB SFL SHR",
    },
    Role.SERVER: {
        "IDLE": "",
        "AWAIT_CHI": "CHI",
        "AWAIT_SECOND_CHI": "CHI CHR",
        "AWAIT_CDH": "CDH CHR",
        "AWAIT_CCC": "CCC CHR",
        "AUTHORIZING": "CHR",
        "ESTABLISHED": "CHB CDT CRQ CRP CLW CCR COP CAC CST CKU CGB CHR",
        "GOING_AWAY": "CHB CDT CRQ CRP CLW CCR COP CAC CST CKU CGB CHR",
        "CLOSING": "CHB CCR CST CKU CHR",
        "AWAIT_CFL": "CHB CCR CST CKU CFL CHR",
    },
}
"""The messages that are legal in each state: a second opinion, by which the table is judged."""


class MachineTests(TestCase):
    """The machine alone."""

    def test_legalMessages(self) -> None:
        """The table has the messages that the protocol allows, and no others."""
        for role, states in LEGAL.items():
            table = {
                state.name: {each.name for each in inputs if isinstance(each, MessageType)}
                for state, inputs in TRANSITIONS[role].items()
            }
            self.assertEqual(
                table, {name: set(messages.split()) for name, messages in states.items()}
            )

    def machineIn(self, role: Role, state: State) -> StateMachine:
        machine = StateMachine(role)
        machine.state = state
        return machine

    def test_everyMessage(self) -> None:
        """Each message in each state leads where the table says, or is the peer's error."""
        for role, state in ROLE_STATES:
            for kind in MessageType:
                machine = self.machineIn(role, state)
                after = TRANSITIONS[role].get(state, {}).get(kind)
                if after is not None:
                    machine.receive(kind)
                    self.assertIs(machine.state, after)
                    continue
                error = self.assertRaises(RemoteProtocolError, machine.receive, kind)
                reflected = kind.sender is role
                self.assertIs(
                    error.code,
                    ErrorCode.REFLECTED_MESSAGE if reflected else ErrorCode.UNEXPECTED_MESSAGE,
                )
                self.assertIn(kind.name, error.detail)
                if not reflected:
                    self.assertIn(state.name, error.detail)
                self.assertIs(machine.state, state)

    def test_everyStep(self) -> None:
        """Each step in each state leads where the table says, or is the caller's error."""
        for role, state in ROLE_STATES:
            for step in Step:
                machine = self.machineIn(role, state)
                after = TRANSITIONS[role].get(state, {}).get(step)
                if step is Step.END:
                    after = State.ENDED
                if after is not None:
                    machine.step(step)
                    self.assertIs(machine.state, after)
                    continue
                error = self.assertRaises(LocalProtocolError, machine.step, step)
                self.assertIs(error.code, ErrorCode.WRONG_STATE)
                self.assertIn(step.name, error.detail)
                self.assertIn(state.name, error.detail)
                self.assertIs(machine.state, state)

    def test_everyStateIsReached(self) -> None:
        """From IDLE every state of a role's table can be reached, and no other."""
        for table in TRANSITIONS.values():
            reached, frontier = {State.IDLE}, [State.IDLE]
            while frontier:
                for after in table.get(frontier.pop(), {}).values():
                    if after not in reached:
                        reached.add(after)
                        frontier.append(after)
            self.assertEqual(reached, {*table, State.ENDED})

    def test_nobodySendsForTheOther(self) -> None:
        """A role's table takes the other role's messages only."""
        for role, table in TRANSITIONS.items():
            for inputs in table.values():
                for each in inputs:
                    if isinstance(each, MessageType):
                        self.assertIs(each.sender, role.peer)

    def test_everyMessageIsUsed(self) -> None:
        """Each message type is legal somewhere."""
        used = {
            each
            for table in TRANSITIONS.values()
            for inputs in table.values()
            for each in inputs
            if isinstance(each, MessageType)
        }
        self.assertEqual(used, set(MessageType))

    def test_sets(self) -> None:
        """The sets of states nest as their meanings do."""
        self.assertLess(WRITABLE_STATES, LIVENESS_STATES)
        self.assertLess(BEATING_STATES, LIVENESS_STATES)
        self.assertLess(LIVENESS_STATES, ESTABLISHED_STATES)
        self.assertNotIn(State.ENDED, ESTABLISHED_STATES)


class ConnectionTests(TestCase):
    """Real Connections, with the right keys."""

    def scenes(self, legal: bool) -> Iterator[tuple[Scene, MessageType]]:
        """A fresh scene for each role, state and message that is, or is not, legal there."""
        for role, state in ROLE_STATES:
            for kind in MessageType:
                if (kind in TRANSITIONS[role].get(state, {})) is legal:
                    yield sceneIn(role, state), kind

    def test_legal(self) -> None:
        """Each legal message is taken and leads to the state of the table."""
        for scene, kind in self.scenes(legal=True):
            before = scene.side.state
            events = list(scene.side.receiveData(scene.record(kind), 0.0))
            after = TRANSITIONS[scene.side.role][before][kind]
            self.assertIs(scene.side.state, after, f"{kind.name} in {before.name}: {events}")
            if after is not State.ENDED:
                self.assertEqual(only(Terminated, events), [], f"{kind.name} in {before.name}")
                continue
            termination = ending(events)
            if kind in (MessageType.CHR, MessageType.SHR):
                self.assertIs(termination.code, ErrorCode.ABORTED)
                self.assertTrue(termination.byPeer)
            else:
                self.assertIn(termination.cause, (Cause.GOODBYE, Cause.FLAT_LINED))

    def test_illegal(self) -> None:
        """Each illegal message ends the Connection, and the peer is told why."""
        for scene, kind in self.scenes(legal=False):
            side, before = scene.side, scene.side.state
            if before is State.ENDED:
                continue
            where = f"{kind.name} in {before.name} of {side.role.name}"
            listener = Eavesdropper(side)
            events = list(side.receiveData(scene.record(kind), 0.0))
            termination = ending(events)
            reflected = kind.sender is side.role
            code = ErrorCode.REFLECTED_MESSAGE if reflected else ErrorCode.UNEXPECTED_MESSAGE
            self.assertIs(termination.code, code, where)
            self.assertIn(kind.name, termination.detail)
            if not reflected:
                self.assertIn(before.name, termination.detail)
            self.assertFalse(termination.byPeer)
            self.assertIs(side.state, State.ENDED)
            (told,) = listener.read(side.dataToSend(0.0, PLENTY))
            expected = CHR if side.role is Role.CLIENT else SHR
            self.assertEqual(told, expected(code), where)

    def test_ended(self) -> None:
        """After its end a Connection takes nothing, tells nothing and sends nothing."""
        for role in Role:
            for kind in MessageType:
                side = sceneIn(role, State.ENDED).side
                self.assertEqual(list(side.receiveData(recordFor(side, bytes((kind,))), 0.0)), [])
                self.assertEqual(side.handleTimer(1000.0), [])
                self.assertEqual(side.receiveEnd(0.0), [])
                self.assertEqual(side.dataToSend(0.0, PLENTY), b"")
                self.assertIsNone(side.nextDeadline)

    def test_unknownType(self) -> None:
        """An unknown message type ends the Connection; from a stranger it says no more."""
        for role, state in ROLE_STATES:
            side = sceneIn(role, state).side
            if state is State.ENDED:
                continue
            code = ErrorCode.UNKNOWN_MESSAGE
            if state is State.AWAIT_CHI:
                code = ErrorCode.NOT_THING
            termination = ending(side.receiveData(recordFor(side, b"\x7f"), 0.0))
            self.assertIs(termination.code, code, state.name)

    def test_steps(self) -> None:
        """Each step that a Connection offers is taken where it is legal, and refused elsewhere."""
        for role, state in ROLE_STATES:
            for step in (Step.START, Step.ADMIT, Step.GOODBYE, Step.GO_AWAY):
                side = sceneIn(role, state).side
                calls: dict[Step, Callable[[], object]] = {
                    Step.START: lambda side=side: side.start(0.0),
                    Step.ADMIT: lambda side=side: side.admit(ANYBODY, 0.0),
                }
                if isinstance(side, ClientConnection):
                    calls[Step.GOODBYE] = lambda side=side: side.goodbye(0.0)
                elif isinstance(side, ServerConnection):
                    calls[Step.GO_AWAY] = lambda side=side: side.goAway(
                        EndReason.SHUTDOWN, 0.0, 1.0
                    )
                after = TRANSITIONS[role].get(state, {}).get(step)
                if step not in calls:
                    self.assertIsNone(after)
                elif after is None:
                    error = self.assertRaises(LocalProtocolError, calls[step])
                    self.assertIs(error.code, ErrorCode.WRONG_STATE)
                    self.assertIs(side.state, state)
                else:
                    calls[step]()
                    self.assertIs(side.state, after)

    def test_retry(self) -> None:
        """With a retry each side passes through the states that are there for it, and no others."""
        self.assertEqual(
            [scene.side.state.name for scene in clientTour(retry=True)][:6],
            ["IDLE", "AWAIT_SHI", "SOLVING", "AWAIT_SECOND_SHI", "AWAIT_SDH", "AWAIT_SCC"],
        )
        self.assertEqual(
            [scene.side.state.name for scene in serverTour(retry=True, goAway=False)][:5],
            ["IDLE", "AWAIT_CHI", "AWAIT_SECOND_CHI", "AWAIT_CDH", "AWAIT_CCC"],
        )

    def test_clearRejects(self) -> None:
        """A reject in the clear is heard while its sender may have no keys, and never believed."""
        heard = {
            Role.CLIENT: "AWAIT_SHI SOLVING AWAIT_SECOND_SHI AWAIT_SDH AWAIT_SCC",
            Role.SERVER: "AWAIT_SECOND_CHI AWAIT_CDH",
        }
        code = ErrorCode.SERVER_BUSY
        for role, state in ROLE_STATES:
            if state in (State.IDLE, State.ENDED):
                continue
            side = sceneIn(role, state).side
            reject = (SHR if role is Role.CLIENT else CHR)(code, 5000)
            ended = ending(list(side.receiveData(clearRecord(reject.TYPE, reject.encode()), 0.0)))
            if state.name in heard[role].split():
                self.assertEqual((ended.code, ended.unauthenticated), (code, True))
            else:
                stranger = state is State.AWAIT_CHI
                expected = ErrorCode.UNEXPECTED_MESSAGE if stranger else ErrorCode.RECORD_UNREADABLE
                self.assertEqual((ended.code, ended.byPeer), (expected, False), state)

    def test_clearAfterKeys(self) -> None:
        """A client that waits for SCC hears nothing else in the clear, nor a reject misformed."""
        for record in (
            clearRecord(MessageType.SHI, b"\0" * 6),
            clearRecord(MessageType.SGB, b""),
            clearRecord(MessageType.CHR, CHR(1).encode()),
            clearRecord(MessageType.SHR, b"\0" * 16),
        ):
            side = sceneIn(Role.CLIENT, State.AWAIT_SCC).side
            ended = ending(list(side.receiveData(record, 0.0)))
            self.assertIs(ended.code, ErrorCode.RECORD_UNREADABLE)
        side = sceneIn(Role.CLIENT, State.AWAIT_SCC).side
        ended = ending(list(side.receiveData(clearRecord(MessageType.SHR, b"\0"), 0.0)))
        self.assertIs(ended.code, ErrorCode.MALFORMED_MESSAGE)

    def test_solved(self) -> None:
        """Only a client that has a puzzle to solve goes on by its timer."""
        for state in TRANSITIONS[Role.CLIENT]:
            side = sceneIn(Role.CLIENT, state).side
            side.handleTimer(0.0)
            after = TRANSITIONS[Role.CLIENT][state].get(Step.SOLVED, state)
            self.assertIs(side.state, after)

    def test_flushed(self) -> None:
        """Sending all that is queued moves on exactly the states that wait for it."""
        for role, state in ROLE_STATES:
            side = sceneIn(role, state).side
            side.dataToSend(0.0, PLENTY)
            after = TRANSITIONS[role].get(state, {}).get(Step.FLUSHED, state)
            self.assertIs(side.state, after)

    def test_abort(self) -> None:
        """Every state can be aborted, without a word."""
        for role, state in ROLE_STATES:
            side = sceneIn(role, state).side
            events = side.abort(0.0)
            self.assertIs(side.state, State.ENDED)
            if state is not State.ENDED:
                self.assertIs(ending(events).code, ErrorCode.ABORTED)
            self.assertEqual(side.dataToSend(0.0, PLENTY), b"", f"{role.name} {state.name}")

    def test_streamEnd(self) -> None:
        """A stream that ends in any state before the end is truncated, never a clean end."""
        for role, state in ROLE_STATES:
            if state is State.ENDED:
                continue
            side = sceneIn(role, state).side
            termination = ending(side.receiveEnd(0.0))
            self.assertIs(termination.cause, Cause.TRUNCATED)
            self.assertFalse(termination.clean)
            self.assertIn(state.name, termination.detail)

    def test_noStateIsForEver(self) -> None:
        """Every state but the first and the last has a deadline, and silence ends it."""
        for role, state in ROLE_STATES:
            if state in (State.IDLE, State.ENDED):
                continue
            side = sceneIn(role, state).side
            for _ in range(10):
                if side.nextDeadline is None:
                    break
                side.handleTimer(side.nextDeadline)
            self.assertIs(side.state, State.ENDED, f"{role.name} {state.name}")

    def test_writable(self) -> None:
        """Data is queued in the writable states, dropped after, and refused before."""
        for role, state in ROLE_STATES:
            side = sceneIn(role, state).side
            if state in WRITABLE_STATES:
                self.assertTrue(side.sendMessage(b"data"))
                self.assertEqual(side.queued, 4)
                self.assertEqual(side.request(b"data"), 2)
                self.assertEqual(side.queued, 12)
            elif state is State.ENDED or state in ESTABLISHED_STATES:
                before = side.queued
                self.assertFalse(side.sendMessage(b"data"))
                self.assertIsNone(side.request(b"data"))
                self.assertFalse(side.reply(1, ReplyStatus.DONE))
                self.assertEqual(side.queued, before)
            else:
                for call in (side.sendMessage, side.request, partial(side.reply, 1, 0)):
                    error = self.assertRaises(LocalProtocolError, call, b"data")
                    self.assertIs(error.code, ErrorCode.WRONG_STATE)

    def test_beating(self) -> None:
        """A client beats in the beating states only."""
        for state in (*TRANSITIONS[Role.CLIENT], State.ENDED):
            side = sceneIn(Role.CLIENT, state).side
            assert isinstance(side, ClientConnection)
            before = side._pulse._sequence
            side._pulse._waiting = False  # Forget the beat that the scene sent.
            side.beat(0.0)
            self.assertEqual(side._pulse._sequence - before, int(state in BEATING_STATES), state)

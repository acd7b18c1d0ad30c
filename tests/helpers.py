"""What the tests share: credentials, settings, a core pair and how bytes get across."""

from __future__ import annotations

import copy
import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from unittest import TestCase

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck
from hypothesis import settings as hypothesisSettings

from tests import PROJECT
from thing.core.capacity import Capacity
from thing.core.catalogue import MESSAGES
from thing.core.client import ClientConnection
from thing.core.clienthandshake import ClientHandshake
from thing.core.credentials import SignatureScheme
from thing.core.dialogue import Dialogue
from thing.core.groups import X25519, GroupName, Random, ServerExchange
from thing.core.layout import Message, Received
from thing.core.messages import SNK, MessageType, Role
from thing.core.nextkey import announcement
from thing.core.records import HEADER_LENGTH, RECORD_LIMIT, RecordReader, TrafficKey
from thing.core.server import ServerConnection
from thing.core.serverhandshake import ServerHandshake
from thing.core.settings import ClientSettings, ServerSettings
from thing.core.states import State
from thing.events import (
    Event,
    PeerProved,
    ResumptionTicket,
    Session,
    Terminated,
    Termination,
)
from thing.identity import CredentialKind

# The same examples in every run: a red build can be repeated, and none is red by chance.
hypothesisSettings.register_profile(
    "thing",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
hypothesisSettings.load_profile("thing")

PLENTY = 1 << 30
"""More octets than any test sends: takes all that waits."""

CAN = Capacity(RECORD_LIMIT, 24576, 16384, 100)
"""What a side can take by default: four fields of CHI and SHI."""

E = TypeVar("E")


def socketDirectory(case: TestCase) -> str:
    """
    A directory for unix sockets, whose paths must be short, until a test is over.

    :param case: the test.
    """
    path = tempfile.mkdtemp(prefix="thing-")
    case.addCleanup(shutil.rmtree, path, ignore_errors=True)
    return path


_SILENT_RESOLVER = """
import os, socket, sys, threading

def getaddrinfo(host, *_, **__):
    if threading.current_thread() is threading.main_thread():
        os._exit(99)  # The true one would let no signal through.
    os.write(2, f"asked for {host}\\n".encode())
    threading.Event().wait()

socket.getaddrinfo = getaddrinfo
"""


def silentResolver(directory: Path) -> str:
    """
    Prepare Python processes in which no lookup ever ends.

    :param directory: where to write what they import when they start.
    :return: their ``PYTHONPATH``.
    """
    (directory / "sitecustomize.py").write_text(_SILENT_RESOLVER)
    return f"{directory}{os.pathsep}{PROJECT}"


class SeededRandom:
    """A source of randomness that gives the same octets for the same seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._calls = 0

    def __call__(self, count: int) -> bytes:
        self._calls += 1
        return hashlib.shake_256(b"%d %s" % (self._calls, self._seed)).digest(count)


class Ed25519Credential:
    """A raw key made from a word."""

    kind = CredentialKind.ED25519
    scheme = SignatureScheme.ED25519

    def __init__(self, word: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(word.encode()).digest())
        self.data = self._key.public_key().public_bytes_raw()

    def sign(self, content: bytes) -> bytes:
        return self._key.sign(content)


class CountedCredential(Ed25519Credential):
    """
    A raw key.

    :ivar signatures: how many were made with it.
    """

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.signatures = 0

    def sign(self, content: bytes) -> bytes:
        self.signatures += 1
        return super().sign(content)


class CountedGroup(X25519):
    """
    A group.

    :ivar exchanges: how many were begun, or answered.
    """

    def __init__(self) -> None:
        self.exchanges = 0

    def begin(self, random: Random) -> ServerExchange:
        self.exchanges += 1
        return super().begin(random)

    def respond(self, serverShare: bytes, random: Random) -> tuple[bytes, bytes]:
        self.exchanges += 1
        return super().respond(serverShare, random)


SERVER_CREDENTIAL = Ed25519Credential("the server")
CLIENT_CREDENTIAL = Ed25519Credential("the client")


def serverSettings(**choices: object) -> ServerSettings:
    """A server's settings; X25519 alone by default, since ML-KEM brings its own randomness."""
    defaults: dict[str, object] = {
        "credential": SERVER_CREDENTIAL,
        "groups": (GroupName.X25519,),
        "random": SeededRandom("server"),
    }
    return ServerSettings(**(defaults | choices))  # type: ignore[arg-type]


def clientSettings(**choices: object) -> ClientSettings:
    """A client's settings; X25519 alone by default, since ML-KEM brings its own randomness."""
    defaults: dict[str, object] = {
        "credential": CLIENT_CREDENTIAL,
        "groups": (GroupName.X25519,),
        "random": SeededRandom("client"),
    }
    return ClientSettings(**(defaults | choices))  # type: ignore[arg-type]


@dataclass
class Told:
    """The events that each side told, in order."""

    client: list[Event] = field(default_factory=list)
    server: list[Event] = field(default_factory=list)

    def by(self, role: Role) -> list[Event]:
        """One side's events."""
        return self.client if role is Role.CLIENT else self.server


def only(kind: type[E], events: Iterable[object]) -> list[E]:
    """The events of one type."""
    return [event for event in events if isinstance(event, kind)]


def makePair(
    client: ClientSettings | None = None,
    server: ServerSettings | None = None,
    grant: Callable[[float | None], float] | None = None,
    now: float = 0.0,
    ticket: ResumptionTicket | None = None,
    difficulty: int = 0,
) -> tuple[ClientConnection, ServerConnection]:
    """Two sides, started; nothing has been carried between them."""
    pair = (
        ClientConnection(client or clientSettings(), ticket, lambda: 0.5),
        ServerConnection(server or serverSettings(), grant, lambda: difficulty),
    )
    for side in pair:
        side.start(now)
    return pair


def give(side: Dialogue, data: bytes, now: float, chunk: int = PLENTY) -> list[Event]:
    """Give octets to one side, cut into chunks, and admit its peer when it is proved."""
    events: list[Event] = []
    for at in range(0, len(data), chunk):
        for event in side.receiveData(data[at : at + chunk], now):
            events.append(event)
            if isinstance(event, PeerProved):
                events += side.admit(event.identity, now)
    return events


def pump(
    client: Dialogue,
    server: Dialogue,
    now: float = 0.0,
    chunk: int = PLENTY,
    limit: int = PLENTY,
    turn: float = 0.0,
) -> Told:
    """
    Carry octets both ways until neither side has any, admitting whoever is proved.

    A client that has a puzzle to solve is given all the time for it that it asks for.

    :param now: the time, seconds.
    :param chunk: how many octets the receiver gets at once.
    :param limit: how many octets the sender's transport takes at once.
    :param turn: how long each turn takes, seconds.
    """
    told = Told()
    while client.hasDataToSend or server.hasDataToSend or client.state is State.SOLVING:
        if client.state is State.SOLVING:
            told.client += client.handleTimer(now)
        told.server += give(server, client.dataToSend(now, limit), now, chunk)
        told.client += give(client, server.dataToSend(now, limit), now, chunk)
        now += turn
    return told


def establishedPair(
    client: ClientSettings | None = None,
    server: ServerSettings | None = None,
    grant: Callable[[float | None], float] | None = None,
    now: float = 0.0,
    ticket: ResumptionTicket | None = None,
    difficulty: int = 0,
) -> tuple[ClientConnection, ServerConnection]:
    """Two sides of an established session."""
    pair = makePair(client, server, grant, now, ticket, difficulty)
    pump(*pair, now)
    assert pair[0].session is not None and pair[1].session is not None
    return pair


def decoded(octets: bytes) -> Any:
    """The message that octets are, the type's included."""
    return MESSAGES[MessageType(octets[0])].decode(octets[1:])


def asReceived(message: Any) -> Received[Any]:
    """A message as if it had come in."""
    return Received(message, message.typed())


class MessageClient(ClientHandshake):
    """A client's handshake that takes and gives messages, to be looked at and changed."""

    def begin(self) -> Any:
        return decoded(super().begin())

    def retry(self, solution: int) -> Any:
        return decoded(super().retry(solution))

    def receiveSHI(self, shi: Any) -> Any:
        return super().receiveSHI(asReceived(shi))

    def receiveSDH(self, sdh: Any) -> Any:
        return decoded(super().receiveSDH(asReceived(sdh)))

    def receiveSCC(self, scc: Any) -> Any:
        return super().receiveSCC(asReceived(scc))

    def answer(self) -> Any:
        return decoded(super().answer())

    def receiveSHF(self, shf: Any) -> None:
        super().receiveSHF(asReceived(shf))


class MessageServer(ServerHandshake):
    """A server's handshake that takes and gives messages, to be looked at and changed."""

    def receiveCHI(self, chi: Any, difficulty: int = 0) -> Any:
        return tuple(map(decoded, super().receiveCHI(asReceived(chi), difficulty)))

    def receiveCDH(self, cdh: Any) -> Any:
        return decoded(super().receiveCDH(asReceived(cdh)))

    def receiveCCC(self, ccc: Any) -> Any:
        return super().receiveCCC(asReceived(ccc))

    def finish(self, ttl: float, interval: float) -> Any:
        return decoded(super().finish(ttl, interval))


def makeHandshakes(
    client: ClientSettings | None = None, server: ServerSettings | None = None
) -> tuple[MessageClient, MessageServer]:
    """Two handshakes without records, states or time."""
    return (
        MessageClient(client or clientSettings()),
        MessageServer(server or serverSettings()),
    )


def ending(events: Iterable[Event]) -> Termination:
    """How the events' session ended; it must have, once."""
    (terminated,) = only(Terminated, events)
    return terminated.termination


# The tests' way around the connections' own rules: seal what they would not, read what they sent.


def recordFor(receiver: Dialogue, message: bytes) -> bytes:
    """The record that ``receiver`` takes for its peer's next one, with this message in it."""
    if receiver._reader.key is None:
        return len(message).to_bytes(HEADER_LENGTH, "big") + message
    return copy.copy(receiver._reader.key).seal(message)


def sendTo(receiver: Dialogue, *messages: Message, now: float = 0.0) -> list[Event]:
    """Let ``receiver`` have messages that its peer's own code would perhaps not send now."""
    events: list[Event] = []
    for message in messages:
        plaintext = bytes((message.TYPE,)) + message.encode()
        events += receiver.receiveData(recordFor(receiver, plaintext), now)
    return events


def cut(record: bytes) -> tuple[bytes, bytes]:
    """
    Cut a record in two.

    :param record: a record.
    :return: its header and its payload.
    """
    return record[:HEADER_LENGTH], record[HEADER_LENGTH:]


def splitRecords(data: bytes) -> list[bytes]:
    """Cut octets into whole records, headers included."""
    reader = RecordReader()
    reader.feed(data)
    records = []
    while (record := reader.next(RECORD_LIMIT)) is not None:
        records.append(b"".join(record))
    assert not reader.buffered, "not a whole number of records"
    return records


def carryRecords(
    client: Dialogue, server: Dialogue, onTheWay: Callable[[int, bytes], bytes]
) -> None:
    """
    Carry records both ways, one by one, until neither side has any.

    :param onTheWay: what becomes of each record, given its number and its octets.
    """
    number = itertools.count()
    while client.hasDataToSend or server.hasDataToSend or client.state is State.SOLVING:
        if client.state is State.SOLVING:
            client.handleTimer(0.0)
        for sender, receiver in ((client, server), (server, client)):
            for record in splitRecords(sender.dataToSend(0.0, PLENTY)):
                give(receiver, onTheWay(next(number), record), 0.0)


def flip(record: bytes, at: int) -> bytes:
    """Flip one bit, another one in each octet."""
    return record[:at] + bytes((record[at] ^ 1 << at % 8,)) + record[at + 1 :]


C = TypeVar("C", bound=Dialogue)
S = TypeVar("S", bound=Dialogue)


def tampered(
    make: Callable[[], tuple[C, S]],
    change: Callable[[bytes, int], bytes] = flip,
    step: int = 1,
) -> Iterator[tuple[int, int, C, S]]:
    """
    Let fresh pairs shake hands, with one octet of one record changed on the way in each.

    :param make: makes a pair, which without a change would come to a session.
    :param change: what is done to a record at an octet.
    :param step: only every so many octets.
    :return: which record of how many, and the two sides afterwards.
    """
    lengths: list[int] = []

    def note(number: int, record: bytes) -> bytes:
        lengths.append(len(record))
        return record

    client, server = make()
    carryRecords(client, server, note)
    assert client.session is not None and server.session is not None
    for target, length in enumerate(lengths):
        for at in range(0, length, step):

            def onTheWay(number: int, record: bytes, target: int = target, at: int = at) -> bytes:
                return change(record, at) if number == target else record

            client, server = make()
            carryRecords(client, server, onTheWay)
            yield target, len(lengths), client, server


class Eavesdropper:
    """Reads what a side sends, with the side's own keys as they were when it was made."""

    def __init__(self, side: Dialogue) -> None:
        self._key: TrafficKey | None = copy.copy(side._writer.key)

    def read(self, data: bytes) -> list[Message]:
        """Decode records; follows key updates."""
        messages = []
        for record in splitRecords(data):
            plaintext = record[HEADER_LENGTH:]
            if self._key is not None:
                plaintext = self._key.open(*cut(record))
            kind = MessageType(plaintext[0])
            messages.append(MESSAGES[kind].decode(plaintext[1:]))
            if self._key is not None and kind in (MessageType.CKU, MessageType.SKU):
                self._key.update(0.0)
        return messages


def nextKeyMessage(
    session: Session, current: Ed25519Credential, following: Ed25519Credential
) -> SNK:
    """A server's announcement of its next key, rightly signed by both."""
    return announcement(session.sessionId, current, following)


def runTimers(
    side: Dialogue, start: float, until: float, lag: float = 0.0
) -> list[tuple[float, Event]]:
    """
    Call a side's timer whenever it asks, as an idle driver would.

    :param lag: how much later than asked the timer is called, seconds.
    :return: each event with the time at which it was told.
    """
    told: list[tuple[float, Event]] = []
    now = start
    for _ in range(10_000):
        due = side.nextDeadline
        if due is None or due > until:
            return told
        now = max(now, due + lag)
        told += [(now, event) for event in side.handleTimer(now)]
    raise AssertionError("the deadline does not move on")

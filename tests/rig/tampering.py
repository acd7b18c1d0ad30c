"""
A man in the middle who changes, drops, doubles, reorders, cuts or invents records deceives nobody.

A server, its clients and the man between them talk over sockets of the loopback. Each session says
something both ways, in messages, a request and a stream, and then comes to one of the ends that
there are. Most begin with signatures, others with a hybrid group, a pre-shared key, a ticket or a
puzzle, or their keys are announced and updated. First he only counts a session's records; then he
does each thing to each record, those of the handshake and of the end too, in one session each.
Whatever he does, both sides must know within the time to live and what a close may take; none may
call an end clean unless it was, or report a last word that the other did not say; and what arrives
must be how what was sent began.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.rig import check as rig
from thing import (
    Anyone,
    ClientSettings,
    IdentityKey,
    Limits,
    PinnedServers,
    ServerSettings,
    ThingFactory,
    ThingProtocol,
    TtlPolicy,
)
from thing.core.groups import GroupName
from thing.core.messages import CFL, CGB, CHR, SFL, SGB, SHR, MessageType
from thing.core.records import HEADER_LENGTH, clearRecord
from thing.errors import EndReason, ErrorCode
from thing.events import (
    Cause,
    Event,
    KeysAnnounced,
    KeyUpdated,
    ResumptionTicket,
    Termination,
)
from thing.identity import CredentialKind
from thing.trust.preshared import PresharedKey, PresharedServer
from thing.trust.tickets import TicketKeys

AT_ONCE = 40
"""How many sessions there are at a time."""

SLACK = 10.0
"""How much later than promised an end may be told on a machine that does much else, seconds."""

LABEL = "bulk"
SAID = tuple(bytes((number,)) * 300 for number in range(3))
"""What each side says in messages; the server says it in answer."""
ASKED, ANSWERED = b"asked", b"answered"
STREAMED = bytes(range(256)) * 8
"""What the client says in a stream, which the server sends back."""


@dataclass(frozen=True)
class Pace:
    """How long things may take."""

    ttl: float
    """The TTL, seconds."""
    close: float
    """How long a handshake, and a close, may take, seconds."""

    @property
    def longest(self) -> float:
        """When both sides know at the latest, seconds: a server may wait for a TTL and a close."""
        return 2 * self.ttl + 2 * self.close


SLOW, FAST = Pace(3.0, 2.0), Pace(1.0, 1.0)


# The two sides.


class Side(ThingProtocol):
    """One side: takes note of what came, and of how it ended."""

    factory: Sides

    def __init__(self) -> None:
        super().__init__()
        self.attempt: Attempt | None = None
        self.got: list[bytes] = []
        self.ended: Deferred[Termination] = Deferred()

    def messageReceived(self, message: bytes) -> None:
        self.got.append(message)
        if self.factory.updates and message == SAID[0]:
            self.updateKey()

    def terminated(self, termination: Termination) -> None:
        self.ended.callback(termination)


class ServerSide(Side):
    """The server's: says the same as it hears."""

    def connectionMade(self) -> None:
        self.factory.arrived[self.transport.getPeer().port] = self
        self.streams.serve(LABEL, Factory.forProtocol(Echo))

    def messageReceived(self, message: bytes) -> None:
        super().messageReceived(message)
        self.sendMessage(message)

    def requestReceived(self, data: bytes) -> bytes:
        self.got.append(data)
        return ANSWERED


class ClientSide(Side):
    """The client's: says its part; when all is answered the session comes to its end."""

    def handshakeCompleted(self) -> None:
        for message in SAID:
            self.sendMessage(message)
        replied = self.request(ASKED)
        streaming = self.streams.endpoint(LABEL).connect(Factory.forProtocol(Stream))
        streaming.addCallback(lambda stream: stream.done)
        gatherResults([replied, streaming], consumeErrors=True).addCallbacks(
            self._complete, lambda failure: failure.trap(Exception)
        )

    def _complete(self, answers: list[bytes]) -> None:
        assert self.attempt is not None
        self.attempt.answers = answers
        if self.termination is None and answers == [ANSWERED, STREAMED]:
            self.attempt.end(self.attempt)


class Stream(Protocol):
    """
    The client's end of a stream.

    :ivar done: fires with what came back, if the stream ended in order.
    """

    def connectionMade(self) -> None:
        self.got = b""
        self.done: Deferred[bytes] = Deferred()
        self.transport.write(STREAMED)

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        if len(self.got) == len(STREAMED):
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(ConnectionDone):
            self.done.callback(self.got)
        elif STREAMED.startswith(self.got):
            self.done.errback(reason)
        else:
            self.done.callback(b"changed")


class Echo(Protocol):
    """The server's end of a stream."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Sides(ThingFactory):
    """
    Builds the sessions of one side.

    :ivar arrived: the server's, by the port of the other end.
    :ivar updates: whether each moves its sending key forward.
    :ivar seen: how many events there were of each kind.
    """

    def __init__(self, *arguments: Any, updates: bool, limits: Limits | None = None) -> None:
        super().__init__(*arguments, limits=limits)
        self.arrived: dict[int, Side] = {}
        self.updates = updates
        self.seen: Counter[type] = Counter()
        self.observers.append(self._see)
        self._ticket: tuple[ResumptionTicket, Any] | None = None

    def _see(self, protocol: ThingProtocol, event: Event) -> None:
        self.seen[type(event)] += 1

    def keepTicket(self, ticket: ResumptionTicket, credential: Any) -> None:
        """Keep it for all: a server takes it more than once, so that many may try at a time."""
        self._ticket = ticket, credential

    def buildProtocol(self, addr: Any) -> Any:
        """Build a session, with a ticket if there is one."""
        if self._ticket is not None:
            super().keepTicket(*self._ticket)
        return super().buildProtocol(addr)


# Beginnings.


@dataclass(frozen=True)
class Beginning:
    """How a session begins, and what happens to its keys."""

    seen: Callable[[Attempt], bool]
    """Tells whether a session that nobody disturbed began so."""
    server: dict[str, Any] = field(default_factory=dict)
    """Settings of the server."""
    client: dict[str, Any] = field(default_factory=dict)
    """Settings of the client."""
    authorizer: Any = None
    """Whom the client believes, if not the server's key."""
    group: GroupName = GroupName.X25519
    """Of the key exchange."""
    limits: Limits | None = None
    """The server's."""
    updates: bool = False
    """Whether both move their keys forward."""


def _hasNewKeys(attempt: Attempt) -> bool:
    announced = attempt.client.factory.seen[KeysAnnounced]
    return announced > 0 and all(
        side.factory.seen[KeyUpdated] for side in (attempt.client, attempt.server)
    )


SHARED = PresharedKey.generate(b"kettle")

SIGNATURES = "signatures"

BEGINNINGS = {
    SIGNATURES: Beginning(lambda attempt: not attempt.client.session.resumed),
    "new keys": Beginning(
        _hasNewKeys, server={"nextCredential": IdentityKey.generate()}, updates=True
    ),
    "a hybrid group": Beginning(
        lambda attempt: attempt.client.session.group == GroupName.X25519MLKEM768.name,
        group=GroupName.X25519MLKEM768,
    ),
    "a pre-shared key": Beginning(
        lambda attempt: attempt.client.session.peer.kind is CredentialKind.PRESHARED,
        server={
            "peerKinds": (CredentialKind.PRESHARED,),
            "presharedKeys": {SHARED.identity: SHARED.key},
        },
        client={"peerKinds": (CredentialKind.PRESHARED,), "credential": SHARED},
        authorizer=PresharedServer(SHARED),
    ),
    "a ticket": Beginning(
        lambda attempt: attempt.client.session.resumed, server={"tickets": TicketKeys()}
    ),
    "a puzzle": Beginning(
        lambda attempt: attempt.there.records[1][HEADER_LENGTH] == MessageType.CHI,
        limits=Limits(puzzleAfter=0, puzzleBits=6),
    ),
}
"""The beginnings; the first has all ends, the others have the first one."""


# Ends.


def parting(attempt: Attempt) -> None:
    """The client says goodbye."""
    attempt.client.goodbye()


def partingServer(attempt: Attempt) -> None:
    """The server says goodbye."""
    if attempt.server.termination is None:
        attempt.server.goodbye()


def askedToLeave(attempt: Attempt) -> None:
    """The server asks the client to leave, as for a shutdown."""
    if attempt.server.termination is None:
        attempt.server.goAway(EndReason.SHUTDOWN)


def frozen(attempt: Attempt) -> None:
    """Nothing comes from the client any more, and the server flat-lines it."""
    attempt.there.withhold()


def rejected(attempt: Attempt) -> None:
    """The server's program refuses to go on."""
    attempt.server.reject(ErrorCode.INTERNAL_ERROR, "the rig says so")


def aborted(attempt: Attempt) -> None:
    """The client cuts its stream."""
    attempt.client.abort()


ENDS: dict[str, Callable[[Attempt], None]] = {
    "the client's goodbye": parting,
    "the server's goodbye": partingServer,
    "the server's wish": askedToLeave,
    "a flat line": frozen,
    "a reject": rejected,
    "an abort": aborted,
}
"""How a session ends that nobody disturbs."""

MEANT = {
    "the client's goodbye": {(Cause.GOODBYE, Cause.GOODBYE)},
    "the server's goodbye": {(Cause.GOODBYE, Cause.GOODBYE)},
    "the server's wish": {(Cause.GOODBYE, Cause.GOODBYE)},
    "a flat line": {
        (Cause.FLAT_LINED, Cause.FLAT_LINED),
        (Cause.LAPSED, Cause.FLAT_LINED),  # The client has found out by itself,
        (Cause.LAPSED, Cause.TRUNCATED),  # and has cut the stream before.
    },
    "a reject": {(Cause.ABORTED, Cause.ABORTED)},
    "an abort": {(Cause.ABORTED, Cause.TRUNCATED)},
}
"""What the client is told of it, and the server."""


# The man in the middle.


@dataclass
class Attempt:
    """
    One session, and what is done to it.

    :ivar client: the client's side.
    :ivar server: the server's.
    :ivar there: the way to the server.
    :ivar back: the way to the client.
    :ivar answers: what the client got for its request and in its stream, once it has both.
    :ivar terminations: what the client and the server were told; nothing if one was not.
    :ivar seconds: when both knew.
    """

    end: Callable[[Attempt], None]
    tampering: str = ""
    toClient: bool = False
    target: int = -1
    client: Any = None
    server: Any = None
    there: Any = None
    back: Any = None
    answers: list[bytes] = field(default_factory=list)
    terminations: list[Termination] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        whose = "server" if self.toClient else "client"
        end = next(name for name, end in ENDS.items() if end is self.end)
        return f"{self.tampering} record {self.target} of the {whose}, {end}"


class Way:
    """
    One direction: cuts what comes into records, and does one thing to one of them.

    :ivar records: those that came, in order.
    """

    def __init__(self, attempt: Attempt, toClient: bool, send: Any, cut: Any) -> None:
        self._attempt = attempt
        self._target = attempt.target if attempt.toClient is toClient else -1
        self._send, self._cut = send, cut
        self.toClient = toClient
        self.records: list[bytes] = []
        self._data = b""
        self._kept = b""
        self._withheld = False

    def withhold(self) -> None:
        """Let nothing through any more."""
        self._withheld = True

    def received(self, data: bytes) -> None:
        """Take octets from one side, and send what becomes of them to the other."""
        self._data += data
        while len(self._data) >= HEADER_LENGTH:
            end = HEADER_LENGTH + int.from_bytes(self._data[:HEADER_LENGTH], "big")
            if len(self._data) < end:
                return
            record, self._data = self._data[:end], self._data[end:]
            number = len(self.records)
            self.records.append(record)
            if self._withheld:
                continue
            if number == self._target:
                TAMPERINGS[self._attempt.tampering](self, record)
            else:
                self._send(record)
                if self._kept:
                    self._send(self._kept)
                    self._kept = b""

    def flip(self, record: bytes, at: int) -> None:
        """Send it with one bit changed."""
        self._send(record[:at] + bytes((record[at] ^ 4,)) + record[at + 1 :])

    def keep(self, record: bytes) -> None:
        """Send it behind the next."""
        self._kept = record

    def cut(self, record: bytes) -> None:
        """Send some of it, and cut both streams."""
        self._send(record)
        self.withhold()
        self.opposite.withhold()
        self._cut()

    def say(self, *records: bytes) -> None:
        """Send these."""
        for record in records:
            self._send(record)

    @property
    def opposite(self) -> Way:
        """The other direction."""
        way: Way = self._attempt.there if self.toClient else self._attempt.back
        return way

    @property
    def final(self) -> bytes:
        """All final words that whoever has no keys can say in this direction."""
        words = (
            (SFL(0, EndReason.HEARTBEAT_MISSED, 0), SGB(), SHR(ErrorCode.NOT_AUTHORIZED))
            if self.toClient
            else (CGB(), CFL(), CHR(ErrorCode.NOT_AUTHORIZED))
        )
        return b"".join(clearRecord(word.TYPE, word.encode()) for word in words)


TAMPERINGS: dict[str, Callable[[Way, bytes], None]] = {
    "length of": lambda way, record: way.flip(record, HEADER_LENGTH - 1),
    "first octet of": lambda way, record: way.flip(record, HEADER_LENGTH),
    "last octet of": lambda way, record: way.flip(record, len(record) - 1),
    "without": lambda way, record: None,
    "doubled": lambda way, record: way.say(record, record),
    "behind its next": lambda way, record: way.keep(record),
    "cut before": lambda way, record: way.cut(b""),
    "cut within": lambda way, record: way.cut(record[: len(record) // 2]),
    "cut behind": lambda way, record: way.cut(record),
    "noise before": lambda way, record: way.say(
        record[:HEADER_LENGTH] + os.urandom(len(record) - HEADER_LENGTH), record
    ),
    "its first again before": lambda way, record: way.say(way.records[0], record),
    "its last again before": lambda way, record: way.say(
        way.records[max(0, len(way.records) - 2)], record
    ),
    "the receiver's own before": lambda way, record: way.say(*way.opposite.records[-1:], record),
    "final words in the clear before": lambda way, record: way.say(way.final, record),
}
"""What he does to a record."""

LOSSES = (
    *("length of", "first octet of", "last octet of"),
    *("without", "cut before", "cut within"),
)
"""After which of them the record has not come."""


@implementer(IHalfCloseableProtocol)
class Middle(Protocol):
    """The man in the middle, on one side of himself."""

    factory: Any = None

    def __init__(self) -> None:
        self.way: Way | None = None
        self.other: Middle | None = None
        self._early = b""

    def connectionMade(self) -> None:
        if self.factory is not None:
            self.factory.met[self.transport.getPeer().port] = self

    def dataReceived(self, data: bytes) -> None:
        if self.way is None:
            self._early += data
        else:
            self.way.received(data)

    def begin(self, way: Way, other: Middle) -> None:
        """Carry on what comes here."""
        self.way, self.other = way, other
        early, self._early = self._early, b""
        self.dataReceived(early)

    def readConnectionLost(self) -> None:
        """This side has ended its half."""
        if self.other is not None:
            self.other.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """The other half has ended."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.other is not None:
            self.other.transport.loseConnection()


class Stage:
    """
    A server, its clients, and the man in the middle.

    :ivar met: his near ends, by the port of the client.
    """

    def __init__(self, reactor: Any, pace: Pace, beginning: Beginning) -> None:
        key = IdentityKey.generate()
        self._reactor, self._pace = reactor, pace
        times: dict[str, Any] = {
            "handshakeTimeout": pace.close,
            "closeTimeout": pace.close,
            "groups": (beginning.group,),
        }
        policy = TtlPolicy(default=pace.ttl, minimum=pace.ttl)
        served: dict[str, Any] = {"credential": key, "ttl": policy, **times, **beginning.server}
        asked: dict[str, Any] = {"credential": IdentityKey.generate(), **times, **beginning.client}
        updates, limits = beginning.updates, beginning.limits
        self.servers = Sides(ServerSettings(**served), Anyone(), updates=updates, limits=limits)
        self.servers.protocol = ServerSide
        server = beginning.authorizer or PinnedServers([key.fingerprint])
        self._clients = Sides(ClientSettings(**asked), server, updates=updates)
        self._clients.protocol = ClientSide
        self.met: dict[int, Middle] = {}
        self._atOnce = DeferredSemaphore(AT_ONCE)
        self._ports: list[Any] = []

    async def open(self) -> None:
        """Begin to listen."""
        near = Factory.forProtocol(Middle)
        near.met = self.met  # type: ignore[attr-defined]
        for factory in (self.servers, near):
            endpoint = TCP4ServerEndpoint(self._reactor, 0, backlog=1024, interface="127.0.0.1")
            self._ports.append(await endpoint.listen(factory))

    async def close(self) -> None:
        """Listen no more."""
        for port in self._ports:
            await port.stopListening()

    def _towards(self, which: int) -> TCP4ClientEndpoint:
        port = self._ports[which].getHost().port
        return TCP4ClientEndpoint(self._reactor, "127.0.0.1", port)

    def have(self, attempt: Attempt) -> Deferred[Attempt]:
        """Have one session, when it is its turn; fires with it, when both sides know its end."""
        return self._atOnce.run(lambda: Deferred.fromCoroutine(self._have(attempt)))

    async def _have(self, attempt: Attempt) -> Attempt:
        far = await connectProtocol(self._towards(0), Middle())
        client = attempt.client = await self._towards(1).connect(self._clients)
        client.attempt, began = attempt, time.monotonic()
        attempt.server = await self._find(self.servers.arrived, far)
        attempt.server.attempt = attempt
        near = await self._find(self.met, client)

        def cut() -> None:
            for each in (near, far):
                each.transport.loseConnection()

        attempt.there = Way(attempt, False, far.transport.write, cut)
        attempt.back = Way(attempt, True, near.transport.write, cut)
        near.begin(attempt.there, far)
        far.begin(attempt.back, near)
        ends = gatherResults([attempt.client.ended, attempt.server.ended])
        ends.addTimeout(self._pace.longest + SLACK, self._reactor, _nothing)
        attempt.terminations = await ends
        attempt.seconds = time.monotonic() - began
        for each in (near, far):
            each.transport.abortConnection()
        return attempt

    async def _find(self, where: dict[int, Any], other: Any) -> Any:
        """Whoever has accepted a connection."""
        port = other.transport.getHost().port
        while port not in where:
            await deferLater(self._reactor, 0.001)
        return where.pop(port)


def _nothing(result: object, timeout: float) -> list[Termination]:
    """They do not know in time."""
    return []


# What is asked of it.


def wrong(attempt: Attempt, longest: float) -> str:
    """What was not as promised; nothing if all was."""
    if len(attempt.terminations) != 2:
        return "it hangs"
    client, server = attempt.terminations
    if attempt.seconds > longest:
        return f"known after {attempt.seconds:.1f} s"
    for whose, got, sent in (
        ("client", attempt.client.got, list(SAID)),
        ("server", attempt.server.got, [*SAID, ASKED]),
    ):
        if got != sent[: len(got)]:
            return f"the {whose} got what was not sent"
    if attempt.answers and attempt.answers != [ANSWERED, STREAMED]:
        return "another answer"
    return _falseEnd(attempt, client, server)


def _falseEnd(attempt: Attempt, client: Termination, server: Termination) -> str:
    """Whether a side was told an end that is not true."""
    complete = len(attempt.client.got) == len(SAID) and len(attempt.server.got) == len(SAID) + 1
    if (client.clean or server.clean) and not (complete and attempt.answers):
        return "called clean, and something is missing"
    if server.clean and not client.clean:
        return "only the server calls it clean"
    way, receiver = (attempt.back, client) if attempt.toClient else (attempt.there, server)
    if receiver.clean and attempt.tampering in LOSSES and len(way.records) > attempt.target:
        return "called clean without a record"
    for told, other in ((client, server), (server, client)):
        if not told.byPeer or told.unauthenticated or told.clean:
            continue
        if other.byPeer or told.cause is Cause.FLAT_LINED is not other.cause:
            return f"told {told}, and the other side: {other}"
        if told.code != other.code:
            return f"told {told}, and the other side: {other}"
    return ""


# The check.


def _undisturbed(attempt: Attempt, pace: Pace) -> rig.Row:
    """Whether the end is the one that was meant, where nobody does anything."""
    name = next(name for name, end in ENDS.items() if end is attempt.end)
    causes = tuple(end.cause for end in attempt.terminations)
    figure = ", ".join(cause.name for cause in causes)
    held = causes in MEANT[name] and not wrong(attempt, pace.longest + SLACK)
    return rig.Row(f"{name}, undisturbed", figure, held)


def planned(counted: list[Attempt], short: bool) -> Iterator[Attempt]:
    """
    What to try, each thing with each record.

    :param counted: the sessions that nobody disturbed.
    :param short: only the records of the end of a goodbye, and the server's second.
    """
    for honest in counted[:1] if short else counted:
        for tampering, way in product(TAMPERINGS, (honest.there, honest.back)):
            # Some more, for there may be more the next time: what may go together need not.
            targets = [*range(len(way.records) + 1)]
            if short:
                targets = targets[1:2] * way.toClient + targets[-3:]
            for target in targets:
                yield Attempt(honest.end, tampering, way.toClient, target)


async def tried(reactor: Any, name: str, short: bool) -> list[rig.Row]:
    """
    Have all sessions of one beginning.

    :param reactor: the reactor.
    :param name: the beginning.
    :param short: in the short form.
    """
    pace, beginning = FAST if short else SLOW, BEGINNINGS[name]
    ends = list(ENDS.values()) if name == SIGNATURES else [parting]
    stage = Stage(reactor, pace, beginning)
    await stage.open()
    if "tickets" in beginning.server:
        await stage.have(Attempt(parting))  # Brings the first ticket.
    honest = await gatherResults([stage.have(Attempt(end)) for end in ends])
    rows = [_undisturbed(one, pace) for one in honest]
    rows.append(rig.Row(f"the session begins with {name}", "", all(map(beginning.seen, honest))))
    attempts = await gatherResults([stage.have(one) for one in planned(honest, short)])
    await stage.close()
    for tampering in TAMPERINGS:
        those = [one for one in attempts if one.tampering == tampering]
        broken = [f"{one}: {what}" for one in those if (what := wrong(one, pace.longest + SLACK))]
        clean = sum(one.terminations[0].clean for one in those if one.terminations)
        figure = f"{len(those)} sessions, {clean} clean, {len(broken)} deceived"
        rows.append(rig.Row(f"{name}: {tampering} a record", figure, not broken))
        rows += [rig.Row(what, "", False) for what in broken[:5]]
    return rows


async def triedAll(reactor: Any, short: bool) -> list[rig.Row]:
    """
    Have all sessions.

    :param reactor: the reactor.
    :param short: in the short form, which has one beginning.
    """
    names = [SIGNATURES] if short else BEGINNINGS
    return [row for name in names for row in await tried(reactor, name, short)]


def check(short: bool) -> Iterator[rig.Row]:
    """
    Try it.

    :param short: in the short form.
    """
    yield from rig.reacting(triedAll, short)

"""Whatever a peer sends, in the clear or rightly sealed, no exception gets out."""

from __future__ import annotations

from collections.abc import Iterator

from fuzz import run
from tests.helpers import PLENTY, clientSettings, give, makePair, recordFor, serverSettings
from thing.core.client import ClientConnection
from thing.core.dialogue import Dialogue
from thing.core.extensions import GivenTicket
from thing.core.messages import REQUESTS_OUTSTANDING
from thing.core.preshared import Resumable
from thing.core.server import ServerConnection
from thing.core.states import WRITABLE_STATES, State
from thing.errors import EndReason, ErrorCode, LocalProtocolError, ReplyStatus
from thing.events import (
    Event,
    MessageReceived,
    RequestReceived,
    ResumptionTicket,
    Terminated,
)
from thing.identity import CredentialKind, Identity

STEPS = 18
RAW, SEALED, TIME, SEND, LEAVE, BEAT, UPDATE, HOLD, RELEASE, END, ASK, REPLY, WORD = range(13)
OPEN, ACCEPT, WRITE, FINISH, STOP = range(13, STEPS)


KINDS = (CredentialKind.ED25519, CredentialKind.X509, CredentialKind.SSH_CERTIFICATE)
SECRET = bytes(32)
TICKET = ResumptionTicket(b"ticket", SECRET, Identity(CredentialKind.ED25519, bytes(32)), 60.0)


class Sealer:
    """Seals always the same ticket, and takes anything for it."""

    def seal(self, resumable: Resumable, server: bytes) -> GivenTicket:
        """
        Seal a ticket.

        :param resumable: what is to be in it.
        :param server: anything.
        :return: always the same.
        """
        return GivenTicket(60, TICKET.ticket)

    def open(self, ticket: bytes, server: bytes) -> Resumable:
        """
        Open a ticket.

        :param ticket: anything.
        :param server: anything.
        :return: a secret that the client has, too.
        """
        return Resumable(SECRET, Identity(CredentialKind.NONE))


def pairOf(choice: int) -> tuple[ClientConnection, ServerConnection]:
    """
    Make two sides that use more or less of what the handshake has.

    :param choice: its bit 0 is for a retry, bit 1 for a ticket, bit 2 for every kind of credential
        and for pre-shared keys, bit 3 for octets as they come instead of messages.
    :return: the two sides.
    """
    retry, resumed, kinds, stream = choice & 1, choice & 2, choice & 4, bool(choice & 8)
    peerKinds = KINDS if kinds else KINDS[:1]
    server = serverSettings(
        tickets=Sealer() if resumed else None,
        allowAnonymous=bool(resumed),
        peerKinds=(*peerKinds, CredentialKind.PRESHARED) if kinds else peerKinds,
        presharedKeys={b"kettle": SECRET},
        stream=stream,
    )
    client = clientSettings(peerKinds=peerKinds, maxDifficulty=8, stream=stream)
    return makePair(client, server, ticket=TICKET if resumed else None, difficulty=retry)


def steps(data: bytes) -> Iterator[tuple[int, bytes]]:
    """
    Cut octets into steps: what happens, a length, and as many octets.

    :param data: the octets.
    :return: what happens in each step, and the octets that it has.
    """
    at = 0
    while at + 2 <= len(data):
        end = at + 2 + data[at + 1]
        yield data[at] % STEPS, data[at + 2 : end]
        at = end


def call(side: Dialogue, kind: int, octets: bytes, now: float) -> list[Event]:
    """
    Let this side's program do one thing, if it is legal now.

    :param side: the Connection.
    :param kind: what it does.
    :param octets: what it does it with.
    :param now: the time, seconds.
    :return: the events that follow.
    """
    if kind == SEND and side.state in WRITABLE_STATES:
        side.sendMessage(octets)
    elif kind == ASK:
        ask(side, octets)
    elif kind == WORD and isinstance(side, ClientConnection):
        side.setLastWord(octets)
    elif kind == LEAVE and side.state is State.ESTABLISHED:
        if isinstance(side, ServerConnection):
            return side.goAway(EndReason.SHUTDOWN, now, 1.0)
        assert isinstance(side, ClientConnection)
        return side.goodbye(now)
    elif kind == BEAT and isinstance(side, ClientConnection):
        return side.beat(now)
    elif kind == UPDATE and side.session is not None and side.termination is None:
        side.updateKey(now)
    return []


def stream(side: Dialogue, kind: int, octets: bytes, now: float) -> list[Event]:
    """
    Let this side's program do something with a stream.

    :param side: the Connection.
    :param kind: what it does.
    :param octets: the stream's number, if there are any, and what goes into it.
    :param now: the time, seconds.
    :return: the events that follow.
    """
    number = octets[0] if octets else 1
    if kind == OPEN and side.state is State.ESTABLISHED:
        try:
            side.openStream("label", now)
        except LocalProtocolError as error:
            assert error.code is ErrorCode.TOO_MANY_STREAMS
    elif kind == ACCEPT:
        side.acceptStream(number)
        return list(side.releaseStream(number, now))
    elif kind == WRITE:
        side.sendStream(number, octets)
    elif kind == FINISH:
        side.endStream(number)
        side.holdStream(number)
    elif kind == STOP and len(octets) % 2:
        side.stopStream(number, len(octets))
    elif kind == STOP:
        return side.closeStream(number, now)
    return []


def ask(side: Dialogue, octets: bytes) -> None:
    """
    Let this side's program ask something, unless too much is unanswered.

    :param side: the Connection.
    :param octets: what it asks.
    """
    if side.state in WRITABLE_STATES:
        try:
            side.request(octets)
        except LocalProtocolError as error:
            assert error.code is ErrorCode.BUFFER_FULL


def reply(side: Dialogue, unanswered: list[int]) -> None:
    """
    Let this side's program answer the newest request, if there is one.

    :param side: the Connection.
    :param unanswered: the numbers of the requests that it was told of.
    """
    if side.session is not None and unanswered:
        side.reply(unanswered.pop(), ReplyStatus.DONE, b"answer")


def drive(side: Dialogue, kind: int, octets: bytes, now: float) -> list[Event]:
    """
    Let one thing happen to a Connection.

    :param side: the Connection.
    :param kind: what happens.
    :param octets: what it happens with.
    :param now: the time, seconds.
    :return: the events that follow.
    """
    if kind == RAW:
        return give(side, octets, now)
    if kind == SEALED:
        return give(side, recordFor(side, octets), now)
    if kind == TIME:
        return side.handleTimer(now)
    if kind == HOLD:
        side.hold()
        return []
    if kind == RELEASE:
        return list(side.release(now))
    if kind == END:
        return side.receiveEnd(now)
    if kind >= OPEN:
        up = side.session is not None and side.termination is None
        return stream(side, kind, octets, now) if up else []
    return call(side, kind, octets, now)


def bounded(side: Dialogue) -> bool:
    """
    Whether no more is held for streams than what the peer was granted.

    :param side: the Connection.
    :return: whether it is so.
    """
    capacity = side._limits.capacity
    streams = side._streams.open
    held = side._inbox.held + sum(each.inbox.held for each in streams.values())
    most = 2 * (capacity.mainCredit + capacity.maxStreams * capacity.streamCredit)
    places = 2 * capacity.maxStreams
    return held <= most + side._limits.budget.reserved and len(streams) <= 2 * places + 1


def oneInput(data: bytes) -> None:
    """
    Lead a Connection some way into its life, then let anything happen to it.

    :param data: what it uses (:func:`pairOf`), how far to lead it and its role, all in the
        first octet; then what happens.
    """
    if len(data) < 2:
        return
    client, server = pairOf(data[0] >> 3)
    for _ in range(data[0] // 2 % 4):
        client.handleTimer(0.0)
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        give(client, server.dataToSend(0.0, PLENTY), 0.0)
    side: Dialogue = server if data[0] % 2 else client
    side.dataToSend(0.0, PLENTY)
    now = 0.0
    over = False
    unanswered: list[int] = []
    for kind, octets in steps(data[1:]):
        now += len(octets) / 10 if kind == TIME else 0.0
        if kind == REPLY:
            reply(side, unanswered)
        for event in drive(side, kind, octets, now):
            assert not over, f"{event} after the end"
            over = isinstance(event, Terminated)
            if isinstance(event, MessageReceived):
                assert side.stream or len(event.data) <= side._limits.maxMessage
            elif isinstance(event, RequestReceived):
                unanswered.append(event.number)
                assert len(unanswered) <= REQUESTS_OUTSTANDING
        side.dataToSend(now, PLENTY)
        side.takeEvents()
        assert bounded(side)
        assert over == (side.state is State.ENDED)
    side.receiveEnd(now)
    assert side.state is State.ENDED
    side.dataToSend(now, PLENTY)  # A final word, if what was held breaks a rule.
    assert side.dataToSend(now, PLENTY) == b""


if __name__ == "__main__":
    run(oneInput)

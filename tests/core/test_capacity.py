"""What each side can take: its bounds, what follows from it, and what a small peer gets by with."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.helpers import (
    PLENTY,
    clientSettings,
    ending,
    give,
    makePair,
    only,
    pump,
    serverSettings,
    splitRecords,
)
from thing.core.capacity import MOST, Capacity
from thing.core.client import ClientConnection
from thing.core.dialogue import Dialogue
from thing.core.extensions import GivenTicket
from thing.core.groups import GroupName
from thing.core.preshared import MAX_TICKET, Resumable
from thing.core.records import HEADER_LENGTH, RECORD_LIMIT
from thing.core.server import ServerConnection
from thing.errors import ErrorCode, LocalProtocolError
from thing.events import MessageReceived, TicketReceived
from thing.identity import CredentialKind
from thing.trust.preshared import PresharedKey

LEAST = Capacity(512, 576, 128, 0)

OUT_OF_BOUNDS = (
    LEAST._replace(recordLimit=511),
    LEAST._replace(mainCredit=575),
    LEAST._replace(streamCredit=127),
    LEAST._replace(recordLimit=513),
    Capacity(RECORD_LIMIT, 64 + 16402 - 1, 128, 0),
    Capacity(0, 0, 0, 0),
)

UNSPEAKABLE = (
    MOST._replace(recordLimit=RECORD_LIMIT + 1),
    MOST._replace(mainCredit=1 << 32),
    MOST._replace(streamCredit=1 << 32),
    MOST._replace(maxStreams=1 << 16),
    MOST._replace(maxStreams=-1),
)


class CapacityTests(TestCase):
    """Four numbers."""

    def test_bounds(self) -> None:
        """The least and the most are fine, and whatever holds the costliest record."""
        for capacity in (LEAST, MOST, Capacity(RECORD_LIMIT, 64 + 16402, 128, 0)):
            self.assertEqual(capacity.problem, "")
        for capacity in OUT_OF_BOUNDS:
            self.assertNotEqual(capacity.problem, "", capacity)

    def test_settings(self) -> None:
        """A program that chooses what is out of bounds is told so."""
        for capacity in OUT_OF_BOUNDS + UNSPEAKABLE:
            for make in (clientSettings, serverSettings):
                error = self.assertRaises(LocalProtocolError, make, capacity=capacity)
                self.assertIs(error.code, ErrorCode.BAD_ARGUMENT)

    def test_refused(self) -> None:
        """A peer that says what is out of bounds is refused, and told why, by either side."""
        for capacity in OUT_OF_BOUNDS:
            for liar in (0, 1):
                client, server = clientSettings(), serverSettings()
                # Past the settings' own check.
                object.__setattr__((client, server)[liar], "capacity", capacity)
                told = pump(*makePair(client, server))
                for events in (told.client, told.server):
                    self.assertIs(ending(events).code, ErrorCode.LIMITS_OUT_OF_BOUNDS)

    def test_longer(self) -> None:
        """A peer that can take longer records than there are now is sent the longest there are."""
        for liar in (0, 1):
            for limit in (RECORD_LIMIT + 1, 0xFFFFFFFF):
                settings = clientSettings(), serverSettings()
                capacity = MOST._replace(recordLimit=limit)
                object.__setattr__(settings[liar], "capacity", capacity)
                pair = makePair(*settings)
                pump(*pair)
                other = pair[1 - liar]
                assert other.session is not None
                other.sendMessage(bytes(70_000))
                sent = splitRecords(other.dataToSend(0.0, PLENTY, PLENTY))
                self.assertEqual(len(sent[0]) - HEADER_LENGTH, RECORD_LIMIT)

    def test_follows(self) -> None:
        """What fits into a record follows: data, requests and last words."""
        self.assertEqual((LEAST.fragment, LEAST.request, LEAST.lastWord), (490, 490, 495))
        self.assertEqual((MOST.fragment, MOST.request), (65536, 16380))

    def test_whole(self) -> None:
        """What the costliest record spends that is not split is never more than may be granted."""
        for limit in (512, 4096, 4113, 5000, 16000, 16402, 20_000, RECORD_LIMIT):
            capacity = Capacity(limit, 64 + min(limit, 16402), 128, 0)
            self.assertEqual(capacity.problem, "")
            self.assertGreaterEqual(capacity.whole, 64 + capacity.request)
            self.assertGreaterEqual(capacity.whole, 64 + min(4096, capacity.lastWord))
            self.assertLessEqual(capacity.whole, capacity.mainCredit)


class LongTickets:
    """Gives tickets as long as they may be."""

    def __init__(self) -> None:
        self._given: dict[bytes, Resumable] = {}

    def seal(self, resumable: Resumable, server: bytes) -> GivenTicket:
        ticket = bytes((len(self._given),)) * MAX_TICKET
        self._given[ticket] = resumable
        return GivenTicket(60, ticket)

    def open(self, ticket: bytes, server: bytes) -> Resumable | None:
        return self._given.get(ticket)


KEY = PresharedKey(b"k" * 128, bytes(32))


class SmallPeerTests(TestCase):
    """A device that takes records of 1024 octets before Established, and 512 after."""

    def longest(self, client: ClientConnection, server: ServerConnection) -> int:
        """The longest payload of a handshake's records, both ways, and that there is a session."""
        longest = 0
        pair: list[tuple[Dialogue, Dialogue]] = [(client, server), (server, client)]
        while client.hasDataToSend or server.hasDataToSend:
            for sender, receiver in pair:
                data = sender.dataToSend(0.0, 0)
                for record in splitRecords(data):
                    longest = max(longest, len(record) - 2)
                self.events += give(receiver, data, 0.0)
                client.handleTimer(0.0)
        self.assertIsNotNone(client.session)
        self.assertIsNotNone(server.session)
        return longest

    def setUp(self) -> None:
        """Nothing was told."""
        self.events: list[object] = []

    def test_rawKeys(self) -> None:
        """With raw keys, a ticket that is given and one that is offered, 1024 octets suffice."""
        tickets = LongTickets()
        server = serverSettings(tickets=tickets, capacity=LEAST)
        pair = makePair(clientSettings(capacity=LEAST), server)
        self.assertLessEqual(self.longest(*pair), 1024)
        (received,) = only(TicketReceived, self.events)
        self.assertEqual(len(received.ticket.ticket), MAX_TICKET)
        for difficulty in (0, 4):
            resumed = makePair(
                clientSettings(capacity=LEAST),
                server,
                ticket=received.ticket,
                difficulty=difficulty,
            )
            longest = self.longest(*resumed)
            self.assertLessEqual(longest, 1024)
            self.assertGreater(longest, MAX_TICKET)
            session = resumed[0].session
            assert session is not None
            self.assertTrue(session.resumed)

    def test_presharedKey(self) -> None:
        """So it is with a pre-shared key, however long its identity."""
        kinds = (CredentialKind.PRESHARED,)
        pair = makePair(
            clientSettings(capacity=LEAST, credential=KEY, peerKinds=kinds),
            serverSettings(peerKinds=kinds, presharedKeys={KEY.identity: bytes(32)}),
        )
        self.assertLessEqual(self.longest(*pair), 1024)

    def test_anonymous(self) -> None:
        """And with a list of everything that there is, and nobody's credential."""
        pair = makePair(
            clientSettings(groups=(GroupName.X25519, GroupName.X25519MLKEM768)),
            serverSettings(),
        )
        self.assertLessEqual(self.longest(*pair), 1024)

    def test_session(self) -> None:
        """Once Established no record is longer than what it said, and all arrives."""
        client, server = makePair(clientSettings(capacity=LEAST))
        pump(client, server)
        server.sendMessage(bytes(5000))
        server.request(bytes(490))
        told: list[object] = []
        while server.hasDataToSend or client.hasDataToSend:
            data = server.dataToSend(0.0, PLENTY)
            for record in splitRecords(data):
                self.assertLessEqual(len(record) - HEADER_LENGTH, 512)
            told += give(client, data, 0.0)
            give(server, client.dataToSend(0.0, PLENTY), 0.0)
        self.assertEqual(only(MessageReceived, told), [MessageReceived(bytes(5000))])
        error = self.assertRaises(LocalProtocolError, server.openStream, "x", 0.0)
        self.assertIs(error.code, ErrorCode.TOO_MANY_STREAMS)

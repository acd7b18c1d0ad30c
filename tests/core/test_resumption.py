"""Resumption: when a ticket is given, what it is good for, and what a stolen one is not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.certificates import authority, issue, privateKey
from tests.core.test_credentials import EVERY_KIND, certifiedKey, chainOf
from tests.core.test_handshake import AlteredClient, AlteredServer, altering, converse, solve
from tests.helpers import (
    CLIENT_CREDENTIAL,
    PLENTY,
    SERVER_CREDENTIAL,
    CountedCredential,
    CountedGroup,
    Ed25519Credential,
    MessageClient,
    MessageServer,
    SeededRandom,
    Told,
    clientSettings,
    ending,
    give,
    makePair,
    nextKeyMessage,
    only,
    pump,
    sendTo,
    serverSettings,
    splitRecords,
    tampered,
)
from thing.core.client import ClientConnection
from thing.core.credentials import Anonymous
from thing.core.extensions import ExtensionType, GivenTicket, PresharedOffer, find
from thing.core.groups import GroupName
from thing.core.handshakemessages import CCC, CHI, SCC, SHF, SHI
from thing.core.keyschedule import expandLabel
from thing.core.messages import CHI_LIMIT
from thing.core.preshared import MAX_LIFETIME, MAX_TICKET, Form, Preshared, Resumable, resumption
from thing.core.records import Aead
from thing.core.server import ServerConnection
from thing.core.settings import ClientSettings, ServerSettings
from thing.core.states import State
from thing.errors import ErrorCode, RemoteProtocolError
from thing.events import (
    Cause,
    HandshakeCompleted,
    KeysAnnounced,
    PeerProved,
    ResumptionTicket,
    TicketReceived,
)
from thing.identity import CredentialKind, Identity
from thing.trust.certificates import CertificateChain
from thing.trust.tickets import TicketKeys

LIFETIME = 1000.0


class Wall:
    """A wall clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1_900_000_000.0

    def __call__(self) -> float:
        return self.now


class FixedSealer:
    """Gives one ticket, whatever is asked; opens what it is told to."""

    def __init__(self, ticket: bytes, opened: Resumable | None = None, lifetime: int = 60) -> None:
        self.lifetime = lifetime
        self.ticket = ticket
        self.opened = opened
        self.sealed: list[Resumable] = []

    def seal(self, resumable: Resumable, server: bytes) -> GivenTicket | None:
        self.sealed.append(resumable)
        return GivenTicket(self.lifetime, self.ticket)

    def open(self, ticket: bytes, server: bytes) -> Resumable | None:
        return self.opened


class TicketCase(TestCase):
    """Tests with a server that gives tickets."""

    def setUp(self) -> None:
        self.wall = Wall()
        self.tickets = TicketKeys(lifetime=LIFETIME, wallClock=self.wall)
        self.visits = 0

    def client(self, **choices: object) -> ClientSettings:
        """A client's settings, with new randomness at each visit."""
        self.visits += 1
        return clientSettings(**{"random": SeededRandom(f"client {self.visits}"), **choices})

    def server(self, **choices: object) -> ServerSettings:
        """The server's settings, with new randomness at each visit."""
        self.visits += 1
        defaults = {"random": SeededRandom(f"server {self.visits}"), "tickets": self.tickets}
        return serverSettings(**{**defaults, **choices})

    def meet(
        self,
        client: ClientSettings | None = None,
        server: ServerSettings | None = None,
        ticket: ResumptionTicket | None = None,
        difficulty: int = 0,
    ) -> tuple[ClientConnection, ServerConnection, Told]:
        """Let a client and the server shake hands."""
        pair = makePair(
            client or self.client(), server or self.server(), None, 0.0, ticket, difficulty
        )
        return (*pair, pump(*pair))

    def ticketIn(self, told: Told) -> ResumptionTicket:
        """The one ticket that a client was given."""
        (received,) = only(TicketReceived, told.client)
        return received.ticket

    def firstTicket(self, **named: Any) -> ResumptionTicket:
        """The ticket of a handshake with signatures."""
        return self.ticketIn(self.meet(**named)[2])

    def assertUp(self, client: Any, server: Any, resumed: bool) -> None:
        """Both sides have one session, resumed or not."""
        assert client.session is not None and server.session is not None
        self.assertEqual(client.session.sessionId, server.session.sessionId)
        self.assertEqual((client.session.resumed, server.session.resumed), (resumed, resumed))

    def handshakes(
        self, ticket: ResumptionTicket | None, **choices: object
    ) -> tuple[MessageClient, MessageServer]:
        """Two handshakes without records."""
        return MessageClient(self.client(), ticket), MessageServer(self.server(**choices))


class GivenTests(TicketCase):
    """When a ticket is given."""

    def test_given(self) -> None:
        """A handshake with signatures gives a ticket, after the session is up."""
        client, server, told = self.meet()
        self.assertUp(client, server, resumed=False)
        kinds = [type(event) for event in told.client]
        self.assertEqual(kinds, [PeerProved, HandshakeCompleted, KeysAnnounced, TicketReceived])
        ticket = self.ticketIn(told)
        self.assertEqual(ticket.lifetime, LIFETIME)
        self.assertEqual(ticket.peer, Identity(CredentialKind.ED25519, SERVER_CREDENTIAL.data))
        self.assertEqual(len(ticket.secret), 32)

    def test_anonymousDoesNotAsk(self) -> None:
        """Who shows nothing asks for no ticket, by which it would be recognized, unless told to."""
        for asked, count in ((None, 0), (False, 0), (True, 1)):
            settings = self.client(credential=Anonymous(), resumption=asked)
            _, server, told = self.meet(settings, self.server(allowAnonymous=True))
            self.assertTrue(server.session.peer.anonymous)
            self.assertEqual(len(only(TicketReceived, told.client)), count)
        sealer = FixedSealer(b"ticket")
        self.meet(
            self.client(credential=Anonymous()), self.server(tickets=sealer, allowAnonymous=True)
        )
        self.assertEqual(sealer.sealed, [])

    def test_notAsked(self) -> None:
        """A client that does not ask is given none, and takes none."""
        sealer = FixedSealer(b"ticket")
        client, server, told = self.meet(self.client(resumption=False), self.server(tickets=sealer))
        self.assertUp(client, server, resumed=False)
        self.assertEqual(only(TicketReceived, told.client), [])
        self.assertEqual(sealer.sealed, [])
        client, server = makePair(self.client(resumption=False), self.server())
        ticket = ((ExtensionType.TICKET, GivenTicket(60, b"ticket").encode()),)
        server._handshake._giveTicket = lambda: ticket
        self.assertEqual(only(TicketReceived, pump(client, server).client), [])
        self.assertUp(client, server, resumed=False)

    def test_noSealer(self) -> None:
        """A server that seals no tickets gives none."""
        client, server, told = self.meet(server=self.server(tickets=None))
        self.assertUp(client, server, resumed=False)
        self.assertEqual(only(TicketReceived, told.client), [])

    def test_sealed(self) -> None:
        """What is sealed: the secret that the client has, and the client without a name."""
        sealer = FixedSealer(b"ticket")
        client, server = makePair(self.client(), self.server(tickets=sealer))
        told = Told()
        while client.hasDataToSend or server.hasDataToSend:
            for event in server.receiveData(client.dataToSend(0.0, PLENTY), 0.0):
                if isinstance(event, PeerProved):
                    server.admit(replace(event.identity, name="kettle"), 0.0)
            told.client += give(client, server.dataToSend(0.0, PLENTY), 0.0)
        assert server.session is not None
        self.assertEqual(server.session.peer.name, "kettle")
        (sealed,) = sealer.sealed
        self.assertEqual(sealed.secret, self.ticketIn(told).secret)
        self.assertEqual(sealed.peer, Identity(CredentialKind.ED25519, CLIENT_CREDENTIAL.data))
        self.assertIsNone(sealed.expires)

    def test_secret(self) -> None:
        """The secret follows from the main secret and all messages up to CCC."""
        messages = []

        def listen(message: Any) -> Any:
            messages.append(message)
            return message

        client, server = self.handshakes(None)
        converse(client, server, listen)
        ticket = client.ticket()
        assert ticket is not None
        hashed = hashlib.sha256()
        for message in messages[:6]:
            body = bytes((message.TYPE,)) + message.encode()
            hashed.update(len(body).to_bytes(3, "big") + body)
        expected = expandLabel(client.secrets.mainSecret, b"res main", hashed.digest())
        self.assertEqual(ticket.secret, expected)
        self.assertIsInstance(messages[5], CCC)

    def test_lifetime(self) -> None:
        """A client keeps a ticket for seven days at most, whatever the server says."""
        sealer = FixedSealer(b"ticket", lifetime=MAX_LIFETIME + 1)
        _, _, told = self.meet(server=self.server(tickets=sealer))
        self.assertEqual(self.ticketIn(told).lifetime, MAX_LIFETIME)

    def test_lifetimeOfResumed(self) -> None:
        """A resumed session's ticket is kept no longer than the one before: signatures are due."""
        first = replace(self.firstTicket(), lifetime=7.5)
        _, _, told = self.meet(ticket=first)
        self.assertEqual(self.ticketIn(told).lifetime, 7.5)

    def test_lengths(self) -> None:
        """A client ignores a ticket that is empty, or too long for its next CHI."""
        for length, taken in ((0, False), (1, True), (MAX_TICKET, True), (MAX_TICKET + 1, False)):
            client, server, told = self.meet(server=self.server(tickets=FixedSealer(bytes(length))))
            self.assertUp(client, server, resumed=False)
            self.assertEqual(len(only(TicketReceived, told.client)), int(taken), length)

    def test_nothingSealed(self) -> None:
        """A sealer that has no ticket to give stops nothing."""
        sealer = FixedSealer(b"")
        sealer.seal = lambda resumable, server: None  # type: ignore[method-assign]
        client, server, told = self.meet(server=self.server(tickets=sealer))
        self.assertUp(client, server, resumed=False)
        self.assertEqual(only(TicketReceived, told.client), [])

    def test_tooLongToSeal(self) -> None:
        """A client whose chain is too long for a ticket gets a session and no ticket."""
        long = chainOf("rsa2048")
        self.assertGreater(len(long.data), MAX_TICKET)
        client, server, told = self.meet(
            self.client(credential=long), self.server(peerKinds=EVERY_KIND)
        )
        self.assertUp(client, server, resumed=False)
        self.assertEqual(only(TicketReceived, told.client), [])

    def test_malformed(self) -> None:
        """A ticket that is cut is refused."""
        for value in (b"", bytes(5), GivenTicket(60, b"ticket").encode() + b"\0"):
            client, server = self.handshakes(None)
            server._giveTicket = lambda value=value: ((ExtensionType.TICKET, value),)
            converse(client, server)
            error = self.assertRaises(RemoteProtocolError, client.ticket)
            self.assertIs(error.code, ErrorCode.MALFORMED_MESSAGE)

    def test_malformedIsTold(self) -> None:
        """The server can read that a ticket was cut: the refusal is under the session's key."""
        client, server = makePair(self.client(), self.server())
        server._handshake._giveTicket = lambda: ((ExtensionType.TICKET, b""),)
        told = pump(client, server)
        for events, byPeer in ((told.client, False), (told.server, True)):
            termination = ending(events)
            self.assertIs(termination.code, ErrorCode.MALFORMED_MESSAGE)
            self.assertIs(termination.byPeer, byPeer)

    def test_questionOnTheWay(self) -> None:
        """A ticket that somebody on the way takes out of SHF is missed: the MAC covers it."""
        error = self.assertRaises(
            RemoteProtocolError, converse, *self.handshakes(None), altering(SHF, extensions=())
        )
        self.assertIs(error.code, ErrorCode.BAD_MAC)

    def test_notShown(self) -> None:
        """No repr shows a ticket, or the secret that goes with it."""
        ticket = self.firstTicket()
        peer = Identity(CredentialKind.NONE)
        secrets = (ticket.ticket, ticket.secret)
        for shown in (
            repr(ticket),
            repr(resumption(ticket)),
            repr(Resumable(ticket.secret, peer)),
            repr(Preshared(Form.KEY, b"", ticket.secret, peer)),
            repr(TicketReceived(ticket)),
            repr(self.server()),
        ):
            self.assertNotIn(repr(ticket.secret)[2:-1], shown)
            for secret in secrets[1:]:
                self.assertNotIn(secret.hex(), shown)


class ResumedTests(TicketCase):
    """Sessions that a ticket resumes."""

    def test_resumed(self) -> None:
        """Both sides have the identities of the first session, and all else is new."""
        first, firstServer, told = self.meet()
        assert first.session is not None and firstServer.session is not None
        client, server, again = self.meet(ticket=self.ticketIn(told))
        self.assertUp(client, server, resumed=True)
        assert client.session is not None and server.session is not None
        self.assertEqual(client.session.peer, first.session.peer)
        self.assertEqual(server.session.peer, firstServer.session.peer)
        self.assertNotEqual(client.session.sessionId, first.session.sessionId)
        self.assertNotEqual(first._exporterSecret, client._exporterSecret)
        for one, other in (
            (first._writer.key, client._writer.key),
            (first._reader.key, client._reader.key),
        ):
            self.assertNotEqual(one._secret, other._secret)
        kinds = [type(event) for event in again.server]
        self.assertEqual(kinds, [PeerProved, HandshakeCompleted])

    def test_noSignature(self) -> None:
        """Nobody signs; the key exchange is made all the same."""
        ticket = self.firstTicket()
        mine, theirs = CountedCredential("the client"), CountedCredential("the server")
        group = CountedGroup()
        client, server, _ = self.meet(
            self.client(credential=mine),
            self.server(credential=theirs, groupTable={GroupName.X25519: group}),
            ticket,
        )
        self.assertUp(client, server, resumed=True)
        self.assertEqual((mine.signatures, theirs.signatures, group.exchanges), (0, 0, 1))

    def test_askedAgain(self) -> None:
        """Both sides are asked again whether they admit the peer, and may refuse."""
        ticket = self.firstTicket()
        client, server = makePair(self.client(), self.server(), ticket=ticket)
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        give(client, server.dataToSend(0.0, PLENTY), 0.0)
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        (proved,) = client.receiveData(server.dataToSend(0.0, PLENTY), 0.0)
        assert isinstance(proved, PeerProved)
        self.assertEqual(proved.identity, ticket.peer)
        client.admit(proved.identity, 0.0)
        (proved,) = server.receiveData(client.dataToSend(0.0, PLENTY), 0.0)
        assert isinstance(proved, PeerProved)
        self.assertEqual(proved.identity.publicKey, CLIENT_CREDENTIAL.data)
        self.assertIs(server.state, State.AUTHORIZING)
        server.reject(ErrorCode.NOT_AUTHORIZED, 0.0, "revoked")
        termination = ending(client.receiveData(server.dataToSend(0.0, PLENTY), 0.0))
        self.assertIs(termination.code, ErrorCode.NOT_AUTHORIZED)
        client, server = makePair(self.client(), self.server(), ticket=ticket)
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        give(client, server.dataToSend(0.0, PLENTY), 0.0)
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        list(client.receiveData(server.dataToSend(0.0, PLENTY), 0.0))
        client.reject(ErrorCode.NOT_AUTHORIZED, 0.0, "no server of ours any more")
        events = give(server, client.dataToSend(0.0, PLENTY), 0.0)
        self.assertIs(ending(events).code, ErrorCode.NOT_AUTHORIZED)

    def test_everyKind(self) -> None:
        """Certificates survive the ticket, octet by octet, on both sides."""
        leaf = issue("kettle", authority(), key=privateKey("p256", "kettle"))
        short = CertificateChain([leaf.certificate], leaf.key)
        for own in (CLIENT_CREDENTIAL, certifiedKey(), short):
            for other in (SERVER_CREDENTIAL, certifiedKey("s"), chainOf("rsa2048")):
                settings: dict[str, Any] = {"credential": own, "peerKinds": EVERY_KIND}
                choices: dict[str, Any] = {"credential": other, "peerKinds": EVERY_KIND}
                first, firstServer, told = self.meet(
                    self.client(**settings), self.server(**choices)
                )
                assert first.session is not None and firstServer.session is not None
                client, server, _ = self.meet(
                    self.client(**settings), self.server(**choices), self.ticketIn(told)
                )
                self.assertUp(client, server, resumed=True)
                assert client.session is not None and server.session is not None
                self.assertEqual(client.session.peer, first.session.peer)
                self.assertEqual(server.session.peer, firstServer.session.peer)
                self.assertEqual(server.session.peer.data, own.data)
                self.assertEqual(client.session.peer.data, other.data)

    def test_anonymous(self) -> None:
        """A client that nobody knows comes back as one that nobody knows."""
        nobody = {"credential": Anonymous(), "resumption": True}
        ticket = self.firstTicket(
            client=self.client(**nobody), server=self.server(allowAnonymous=True)
        )
        client, server, _ = self.meet(
            self.client(**nobody), self.server(allowAnonymous=True), ticket
        )
        self.assertUp(client, server, resumed=True)
        assert server.session is not None
        self.assertTrue(server.session.peer.anonymous)

    def test_otherChoices(self) -> None:
        """What is resumed is the identities: group and AEAD are chosen anew."""
        ticket = self.firstTicket(client=self.client(aeads=(Aead.AES_256_GCM,)))
        groups = (GroupName.X25519MLKEM768,)
        client, server, _ = self.meet(
            self.client(groups=groups, aeads=(Aead.CHACHA20_POLY1305,)),
            self.server(groups=groups),
            ticket,
        )
        self.assertUp(client, server, resumed=True)

    def test_retry(self) -> None:
        """Who has a ticket is asked no puzzle, however hard it would be."""
        client, server, _ = self.meet(ticket=self.firstTicket(), difficulty=200)
        self.assertUp(client, server, resumed=True)

    def test_bytewise(self) -> None:
        """However the octets are cut, the session is resumed."""
        client, server = makePair(self.client(), self.server(), ticket=self.firstTicket())
        pump(client, server, chunk=1)
        self.assertUp(client, server, resumed=True)

    def test_messages(self) -> None:
        """The ticket is CHI's last extension; SCC and CCC show nothing beside their MACs."""
        messages = []

        def listen(message: Any) -> Any:
            messages.append(message)
            return message

        ticket = self.firstTicket()
        converse(*self.handshakes(ticket), listen)
        chi, shi, _, _, scc, ccc, shf = messages
        self.assertEqual(chi.extensions[0], (ExtensionType.TICKET, b""))
        self.assertEqual(chi.extensions[1][0], ExtensionType.PRESHARED_KEY)
        offer = PresharedOffer.decode(chi.extensions[1][1])
        self.assertEqual((offer.form, offer.identity), (Form.TICKET, ticket.ticket))
        self.assertEqual(shi.extensions, ((ExtensionType.PRESHARED_KEY, b""),))
        self.assertEqual(scc.acceptedKinds, (3,))
        for proof in (scc, ccc):
            shown = (proof.credentialKind, proof.credential, proof.scheme, proof.signature)
            self.assertEqual(shown, (3, b"", 0, b""))
        self.assertIsNotNone(find(shf.extensions, ExtensionType.TICKET))

    def test_nextKey(self) -> None:
        """A server announces its next key in full handshakes only."""
        following = {"nextCredential": Ed25519Credential("the server's next")}
        _, _, told = self.meet(server=self.server(**following))
        self.assertEqual(len(only(KeysAnnounced, told.client)), 1)
        client, server, again = self.meet(
            server=self.server(**following), ticket=self.ticketIn(told)
        )
        self.assertUp(client, server, resumed=True)
        self.assertEqual(only(KeysAnnounced, again.client), [])

    def test_nextKeyRefused(self) -> None:
        """A client refuses a next key in a resumed session, whoever signed it."""
        client, _, _ = self.meet(ticket=self.firstTicket())
        assert client.session is not None
        following = Ed25519Credential("the server's next")
        announced = nextKeyMessage(client.session, SERVER_CREDENTIAL, following)
        termination = ending(sendTo(client, announced))
        self.assertIs(termination.code, ErrorCode.UNEXPECTED_MESSAGE)

    def test_chain(self) -> None:
        """However often a session is resumed, the first handshake's time runs out."""
        ticket = self.firstTicket()
        for number in range(1, 5):
            self.wall.now += 200.0
            client, server, told = self.meet(ticket=ticket)
            self.assertUp(client, server, resumed=True)
            ticket = self.ticketIn(told)
            self.assertEqual(ticket.lifetime, LIFETIME - 200 * number)
            assert client.session is not None and server.session is not None
            self.assertEqual(server.session.peer.publicKey, CLIENT_CREDENTIAL.data)
            self.assertEqual(client.session.peer.publicKey, SERVER_CREDENTIAL.data)
        self.wall.now += 200.0
        client, server, told = self.meet(ticket=ticket)
        self.assertUp(client, server, resumed=False)
        self.assertEqual(self.ticketIn(told).lifetime, LIFETIME)

    def test_longest(self) -> None:
        """With every option in use and the longest ticket, CHI is within its limit."""
        peer = Identity(CredentialKind.ED25519, SERVER_CREDENTIAL.data)
        ticket = ResumptionTicket(bytes(MAX_TICKET), bytes(32), peer, 60.0)
        settings = self.client(
            groups=tuple(GroupName),
            aeads=tuple(Aead),
            peerKinds=EVERY_KIND,
            requestedTtl=30.0,
        )
        client, connection = makePair(settings, self.server(), ticket=ticket, difficulty=4)
        lengths = []
        while client.hasDataToSend or client.state is State.SOLVING:
            client.handleTimer(0.0)
            data = client.dataToSend(0.0, PLENTY)
            lengths += [len(record) - 2 for record in splitRecords(data)]
            give(connection, data, 0.0)
            give(client, connection.dataToSend(0.0, PLENTY), 0.0)
        self.assertGreater(lengths[1], lengths[0])
        self.assertLessEqual(lengths[1], CHI_LIMIT)
        self.assertUp(client, connection, resumed=False)


class IgnoredTests(TicketCase):
    """Tickets with which the handshake goes on with signatures."""

    def assertIgnored(
        self,
        ticket: ResumptionTicket,
        client: ClientSettings | None = None,
        server: ServerSettings | None = None,
    ) -> None:
        """The ticket is of no use, and does no harm."""
        mine, theirs = CountedCredential("the client"), CountedCredential("the server")
        one, other, told = self.meet(
            client or self.client(credential=mine),
            server or self.server(credential=theirs),
            ticket,
        )
        self.assertUp(one, other, resumed=False)
        assert one.session is not None and other.session is not None
        self.assertEqual(other.session.peer.publicKey, CLIENT_CREDENTIAL.data)
        self.assertEqual(one.session.peer.publicKey, SERVER_CREDENTIAL.data)
        if client is server is None:
            self.assertEqual((mine.signatures, theirs.signatures), (1, 1))
            self.assertNotEqual(self.ticketIn(told).ticket, ticket.ticket)

    def test_unreadable(self) -> None:
        """A ticket of which any octet is changed cannot be opened."""
        good = self.firstTicket()
        for at in range(len(good.ticket)):
            octets = bytearray(good.ticket)
            octets[at] ^= 1 << at % 8
            self.assertIsNone(self.tickets.open(bytes(octets), self.server().shown))
        for octets in (b"x", good.ticket[:-1], good.ticket + b"\0", bytes(MAX_TICKET)):
            self.assertIgnored(replace(good, ticket=octets))

    @given(st.binary(max_size=MAX_TICKET))
    def test_anyOctets(self, octets: bytes) -> None:
        """Any octets are no ticket, and the handshake goes on."""
        self.setUp()
        peer = Identity(CredentialKind.ED25519, SERVER_CREDENTIAL.data)
        self.assertIgnored(ResumptionTicket(octets, bytes(32), peer, 60.0))

    def test_expired(self) -> None:
        """A ticket that has expired is of no use; just before, it is."""
        ticket = self.firstTicket()
        self.wall.now += LIFETIME - 1
        client, server, _ = self.meet(ticket=ticket)
        self.assertUp(client, server, resumed=True)
        self.wall.now += 2
        self.assertIgnored(ticket)

    def test_foreign(self) -> None:
        """A ticket of another server's keys is of no use."""
        others = TicketKeys(lifetime=LIFETIME, wallClock=self.wall)
        self.assertIgnored(self.firstTicket(server=self.server(tickets=others)))

    def test_noSealer(self) -> None:
        """A server that opens no tickets ignores them."""
        ticket = self.firstTicket()
        self.assertIgnored(ticket, server=self.server(tickets=None))

    def test_kindNoLongerTaken(self) -> None:
        """A ticket of a client whose kind is no longer taken is ignored."""
        ticket = self.firstTicket()
        certified = {"peerKinds": (CredentialKind.SSH_CERTIFICATE,)}
        client, server, told = self.meet(server=self.server(**certified), ticket=ticket)
        self.assertIs(ending(told.client).code, ErrorCode.NO_COMMON_CREDENTIAL)
        own = certifiedKey()
        client, server, _ = self.meet(self.client(credential=own), self.server(**certified), ticket)
        self.assertUp(client, server, resumed=False)
        assert server.session is not None
        self.assertEqual(server.session.peer.credential, own.data)

    def test_otherServer(self) -> None:
        """A ticket is good only for a server that is known, and will be, as when it gave it."""
        other = Ed25519Credential("another server")
        good = self.firstTicket()
        for choices in (
            {"credential": other},
            {"otherCredentials": (certifiedKey(),)},
            {"nextCredential": other},
        ):
            client, server, _ = self.meet(server=self.server(**choices), ticket=good)
            self.assertUp(client, server, resumed=False)
        client, server, _ = self.meet(ticket=good)
        self.assertUp(client, server, resumed=True)

    def test_anonymousNoLongerTaken(self) -> None:
        """The ticket of a client that nobody knows ends with the permission."""
        nobody = {"credential": Anonymous(), "resumption": True}
        ticket = self.firstTicket(
            client=self.client(**nobody), server=self.server(allowAnonymous=True)
        )
        _, _, told = self.meet(self.client(**nobody), self.server(), ticket)
        self.assertIs(ending(told.client).code, ErrorCode.CREDENTIAL_REQUIRED)
        self.assertIgnored(ticket)

    def test_serverKindNoLongerTaken(self) -> None:
        """A client does not offer the ticket of a server of which it no longer takes the kind."""
        ticket = self.firstTicket()
        certified = certifiedKey()
        client, server, _ = self.meet(
            self.client(peerKinds=(CredentialKind.SSH_CERTIFICATE,)),
            self.server(credential=certified),
            ticket,
        )
        self.assertUp(client, server, resumed=False)
        assert client.session is not None
        self.assertEqual(client.session.peer.credential, certified.data)

    def test_notTaken(self) -> None:
        """A server that could take the ticket and does not is met with signatures."""
        ticket = self.firstTicket()
        client, server = self.handshakes(ticket)
        server._takeOffer = lambda chi: None
        theServer, theClient, ours, theirs = converse(client, server)
        self.assertEqual(theServer.publicKey, SERVER_CREDENTIAL.data)
        self.assertEqual(theClient.publicKey, CLIENT_CREDENTIAL.data)
        self.assertEqual(ours, theirs)
        self.assertFalse(client.resumed)


class AttackTests(TicketCase):
    """What is refused."""

    def assertRefused(self, code: ErrorCode, call: Callable[..., object], *args: object) -> None:
        self.assertIs(self.assertRaises(RemoteProtocolError, call, *args).code, code)

    def test_stolen(self) -> None:
        """A ticket without its secret is useless, and costs no key exchange."""
        ticket = self.firstTicket()
        for secret in (bytes(32), b"", ticket.ticket[:32]):
            group = CountedGroup()
            _, _, told = self.meet(
                server=self.server(groupTable={GroupName.X25519: group}),
                ticket=replace(ticket, secret=secret),
            )
            for events in (told.client, told.server):
                termination = ending(events)
                self.assertEqual(
                    (termination.cause, termination.code), (Cause.REJECTED, ErrorCode.BAD_MAC)
                )
            self.assertEqual(only(PeerProved, told.server), [])
            self.assertEqual(group.exchanges, 0)

    def test_binderBits(self) -> None:
        """A binder with any bit flipped is refused."""
        chi = self.handshakes(self.firstTicket())[0].begin()
        body = chi.encode()
        for bit in range(256):
            at = len(body) - 32 + bit // 8
            changed = body[:at] + bytes((body[at] ^ 1 << bit % 8,)) + body[at + 1 :]
            _, server = self.handshakes(None)
            self.assertRefused(ErrorCode.BAD_MAC, server.receiveCHI, CHI.decode(changed))

    def test_notLast(self) -> None:
        """An offer that does not stand last is malformed."""
        client, server = self.handshakes(self.firstTicket())
        chi = client.begin()
        chi = replace(chi, extensions=chi.extensions[::-1])
        self.assertRefused(ErrorCode.MALFORMED_MESSAGE, server.receiveCHI, chi)

    def test_asKey(self) -> None:
        """The secret of a ticket is no pre-shared key, even if a server had it as one."""
        ticket = self.firstTicket()
        client, server = self.handshakes(
            ticket,
            peerKinds=(CredentialKind.ED25519, CredentialKind.PRESHARED),
            presharedKeys={ticket.ticket: ticket.secret},
        )
        chi = client.begin()
        offer = replace(PresharedOffer.decode(chi.extensions[-1][1]), form=Form.KEY)
        chi = replace(
            chi, extensions=(*chi.extensions[:-1], (ExtensionType.PRESHARED_KEY, offer.encode()))
        )
        self.assertRefused(ErrorCode.NOT_AUTHORIZED, server.receiveCHI, chi)

    def test_replayed(self) -> None:
        """A CHI that is sent again opens nothing: what follows needs the client's share."""
        client, server = makePair(self.client(), self.server(), ticket=self.firstTicket())
        chi = client.dataToSend(0.0, PLENTY)
        give(server, chi, 0.0)
        give(client, server.dataToSend(0.0, PLENTY), 0.0)
        rest = client.dataToSend(0.0, PLENTY)
        _, again = makePair(self.client(), self.server())
        self.assertEqual(give(again, chi, 0.0), [])
        self.assertEqual(give(again, rest, 0.0), [])  # The share of before.
        again.dataToSend(0.0, PLENTY)
        events = give(again, b"\x00\x00\x40" + bytes(64), 0.0)
        self.assertIs(ending(events).code, ErrorCode.RECORD_UNREADABLE)
        self.assertEqual(only(PeerProved, events), [])

    def test_replayedWhole(self) -> None:
        """All that a client said in a resumed session is of no use a second time."""
        ticket = self.firstTicket()
        client, server = makePair(self.client(), self.server(), ticket=ticket)
        said = []
        while client.hasDataToSend or server.hasDataToSend:
            said.append(client.dataToSend(0.0, PLENTY))
            give(server, said[-1], 0.0)
            give(client, server.dataToSend(0.0, PLENTY), 0.0)
        self.assertUp(client, server, resumed=True)
        _, again = makePair(self.client(), self.server())
        events = []
        for data in said:
            events += give(again, data, 0.0)
            again.dataToSend(0.0, PLENTY)
        self.assertEqual(only(PeerProved, events), [])
        self.assertIs(ending(events).code, ErrorCode.RECORD_UNREADABLE)

    def test_impostor(self) -> None:
        """A server that takes a ticket which it cannot open fails at its MAC."""
        client = MessageClient(self.client(), self.firstTicket())
        opened = Resumable(bytes(32), Identity(CredentialKind.NONE))
        server = MessageServer(
            self.server(tickets=FixedSealer(b"ticket", opened), allowAnonymous=True)
        )
        server._binder = lambda preshared, chi: chi[-32:]
        self.assertRefused(ErrorCode.BAD_MAC, converse, client, server)

    def test_beside(self) -> None:
        """Whoever shows a credential beside the secret is refused, rightly signed or not."""
        ticket = self.firstTicket()
        shown = {"credentialKind": 1, "credential": SERVER_CREDENTIAL.data, "scheme": 0x0807}
        server = AlteredServer(altering(SCC, **shown), self.server())
        server.credential = SERVER_CREDENTIAL
        client = MessageClient(self.client(), ticket)
        self.assertRefused(ErrorCode.BAD_CREDENTIAL, converse, client, server)
        for fields in ({"credentialKind": 1}, {"credential": b"x"}, {"scheme": 0x0807}):
            altered = AlteredClient(altering(CCC, **fields), self.client())
            altered._offer = resumption(ticket)
            _, honest = self.handshakes(None)
            self.assertRefused(ErrorCode.BAD_CREDENTIAL, converse, altered, honest)

    def test_retryBinder(self) -> None:
        """In a retry the binder of the first CHI is of no use any more."""
        client, server = self.handshakes(self.firstTicket())
        first = client.begin()
        with mock.patch.object(server, "_lookUp", return_value=None):  # It learns of it later.
            (shi,) = server.receiveCHI(first, 1)
        assert isinstance(shi, SHI)
        search = client.receiveSHI(shi)
        assert search is not None
        second = client.retry(solve(search))
        old = (*second.extensions[:-1], first.extensions[-1])
        self.assertRefused(ErrorCode.BAD_MAC, server.receiveCHI, replace(second, extensions=old))

    def test_flipped(self) -> None:
        """With a bit of any octet flipped there is no session, or none that is resumed."""
        ticket = self.firstTicket()
        for difficulty, records in ((0, 7), (2, 7)):

            def make(
                difficulty: int = difficulty,
            ) -> tuple[ClientConnection, ServerConnection]:
                settings = self.client(maxDifficulty=8)
                return makePair(settings, self.server(), None, 0.0, ticket, difficulty)

            for target, count, client, server in tampered(make, step=2):
                self.assertEqual(count, records)
                self.assertIsNone(client.session, f"record {target}")
                if target < records - 1:
                    self.assertIsNone(server.session, f"record {target}")

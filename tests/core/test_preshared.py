"""Handshakes with a pre-shared key: what it proves, and what is refused."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.core.test_handshake import (
    AlteredClient,
    AlteredServer,
    altering,
    converse,
    solve,
)
from tests.helpers import (
    CAN,
    CLIENT_CREDENTIAL,
    PLENTY,
    SERVER_CREDENTIAL,
    CountedCredential,
    CountedGroup,
    Ed25519Credential,
    MessageClient,
    MessageServer,
    clientSettings,
    ending,
    establishedPair,
    give,
    makeHandshakes,
    makePair,
    only,
    pump,
    sendTo,
    serverSettings,
    splitRecords,
    tampered,
)
from thing.core.client import ClientConnection
from thing.core.credentials import Unsigned
from thing.core.extensions import ExtensionType, GivenTicket, PresharedOffer
from thing.core.groups import X25519, GroupName, Random
from thing.core.handshakemessages import CCC, CHI, SCC, SDH, SHF, SHI
from thing.core.keyschedule import HandshakeSecrets
from thing.core.layout import Message
from thing.core.preshared import Form, presharedKey
from thing.core.records import Aead
from thing.core.server import ServerConnection
from thing.core.settings import ClientSettings, ServerSettings
from thing.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from thing.events import Cause, KeysAnnounced, PeerProved, TicketReceived
from thing.identity import CredentialKind, Identity
from thing.trust.preshared import PresharedKey
from thing.trust.tickets import TicketKeys

KEY = PresharedKey(b"kettle", bytes(range(32)))
KETTLE = Identity(CredentialKind.PRESHARED, credential=b"kettle")
PRESHARED = CredentialKind.PRESHARED
BOTH_KINDS = (CredentialKind.ED25519, PRESHARED)


def keyClient(key: PresharedKey = KEY, **choices: object) -> ClientSettings:
    """The settings of a client with a pre-shared key."""
    return clientSettings(**{"credential": key, "peerKinds": (PRESHARED,), **choices})


def keyServer(**choices: object) -> ServerSettings:
    """The settings of a server that knows the kettle's key, and takes raw keys, too."""
    keys = {KEY.identity: KEY.key}
    return serverSettings(**{"presharedKeys": keys, "peerKinds": BOTH_KINDS, **choices})


def keyHandshakes() -> tuple[MessageClient, MessageServer]:
    """Two handshakes with the same key."""
    return makeHandshakes(keyClient(), keyServer())


class Listed:
    """Passes messages on, and keeps them."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def __call__(self, message: Message) -> Message:
        self.messages.append(message)
        return message

    def only(self, cls: type[Any]) -> Any:
        """The one message of a class."""
        (message,) = only(cls, self.messages)
        return message


class GoodTests(TestCase):
    """Sessions."""

    def test_session(self) -> None:
        """Each side is proved to the other by the key's identity, and the session is one."""
        client, server = makePair(keyClient(), keyServer())
        told = pump(client, server)
        assert client.session is not None and server.session is not None
        self.assertEqual(client.session.sessionId, server.session.sessionId)
        for events in (told.client, told.server):
            self.assertEqual([e.identity for e in only(PeerProved, events)], [KETTLE])
        self.assertFalse(client.session.resumed)
        self.assertFalse(server.session.resumed)
        client.sendMessage(b"boiling")
        (received,) = [e.data for e in pump(client, server).server if hasattr(e, "data")]
        self.assertEqual(received, b"boiling")

    def test_bytewise(self) -> None:
        """Octets that come one by one make the same session."""
        client, server = makePair(keyClient(), keyServer())
        pump(client, server, chunk=1)
        other, _ = establishedPair(keyClient(), keyServer())
        assert client.session is not None and other.session is not None
        self.assertEqual(client.session.sessionId, other.session.sessionId)

    def test_everyChoice(self) -> None:
        """A pre-shared key goes with each group and AEAD."""
        for group in GroupName:
            for aead in Aead:
                client, _ = establishedPair(
                    keyClient(groups=(group,), aeads=(aead,)),
                    keyServer(groups=tuple(GroupName)),
                )
                assert client.session is not None
                self.assertEqual(client.session.group, group.name)

    def test_keySizes(self) -> None:
        """Keys of 16 and of 64 octets are as good, whatever their identities."""
        for key in (
            PresharedKey(b"x", bytes(range(16))),
            PresharedKey("Wasserkessel ß".encode() * 8, bytes(range(64))),
        ):
            keys = {key.identity: key.key}
            client, _ = establishedPair(keyClient(key), keyServer(presharedKeys=keys))
            assert client.session is not None
            self.assertEqual(client.session.peer.credential, key.identity)

    def test_noSignature(self) -> None:
        """Nobody signs; the key exchange is made all the same."""
        credential, group = CountedCredential("the server"), CountedGroup()
        table = {GroupName.X25519: group}
        establishedPair(keyClient(groupTable=table), keyServer(credential=credential))
        establishedPair(keyClient(), keyServer(credential=credential, groupTable=table))
        self.assertEqual(credential.signatures, 0)
        self.assertEqual(group.exchanges, 2)

    def test_messages(self) -> None:
        """The offer is CHI's last extension; SCC and CCC show nothing beside their MACs."""
        listed = Listed()
        converse(*keyHandshakes(), listed)
        number, value = listed.only(CHI).extensions[-1]
        self.assertEqual(number, ExtensionType.PRESHARED_KEY)
        offer = PresharedOffer.decode(value)
        self.assertEqual((offer.form, offer.identity), (Form.KEY, b"kettle"))
        self.assertEqual(listed.only(CHI).credentialKinds, (3,))
        self.assertEqual(listed.only(SHI).extensions, ((ExtensionType.PRESHARED_KEY, b""),))
        self.assertEqual(listed.only(SCC).acceptedKinds, (3,))
        for proof in (listed.only(SCC), listed.only(CCC)):
            shown = (proof.credentialKind, proof.credential, proof.scheme, proof.signature)
            self.assertEqual(shown, (3, b"", 0, b""))

    def test_binder(self) -> None:
        """The binder is an HMAC over all of CHI that stands before it."""

        def label(secret: bytes, name: bytes) -> bytes:
            full = b"thing/1 " + name
            context = hashlib.sha256(b"").digest()
            info = b"\0\x20" + bytes((len(full),)) + full + b"\x20" + context + b"\x01"
            return hmac.digest(secret, info, "sha256")

        client, _ = keyHandshakes()
        chi = client.begin()
        body = chi.encode()
        early = hmac.digest(bytes(32), KEY.key, "sha256")
        partial = len(body[:-32]) + 1
        covered = partial.to_bytes(3, "big") + b"\x01" + body[:-32]
        expected = hmac.digest(
            label(early, b"ext binder"), hashlib.sha256(covered).digest(), "sha256"
        )
        self.assertEqual(body[-32:], expected)

    def test_otherClients(self) -> None:
        """A server that takes pre-shared keys serves raw keys as ever."""
        client, server = establishedPair(server=keyServer())
        assert client.session is not None and server.session is not None
        self.assertEqual(server.session.peer.publicKey, CLIENT_CREDENTIAL.data)
        self.assertEqual(client.session.peer.publicKey, SERVER_CREDENTIAL.data)

    def test_retry(self) -> None:
        """Who has the key is asked no puzzle, however hard it would be."""
        client, server = establishedPair(keyClient(maxDifficulty=1), keyServer(), difficulty=200)
        assert client.session is not None and server.session is not None
        self.assertEqual(server.session.peer, KETTLE)
        self.assertEqual(client.session.sessionId, server.session.sessionId)

    def test_nextKey(self) -> None:
        """A server announces no next key to who knows it by a pre-shared one."""
        client, server = makePair(
            keyClient(), keyServer(nextCredential=Ed25519Credential("the server's next"))
        )
        self.assertEqual(only(KeysAnnounced, pump(client, server).client), [])
        self.assertIsNotNone(client.session)

    def test_noTicket(self) -> None:
        """With a pre-shared key no ticket is asked for, given, or taken if it is given."""
        listed = Listed()
        client, server = makeHandshakes(keyClient(), keyServer(tickets=TicketKeys()))
        converse(client, server, listed)
        self.assertEqual(len(listed.only(CHI).extensions), 1)
        self.assertEqual(listed.only(SHF).extensions, ())
        client, server = makePair(keyClient(), keyServer())
        ticket = ((ExtensionType.TICKET, GivenTicket(60, b"ticket").encode()),)
        server._handshake._giveTicket = lambda: ticket
        self.assertEqual(only(TicketReceived, pump(client, server).client), [])
        self.assertIsNotNone(client.session)

    def test_askedAllTheSame(self) -> None:
        """A client with a pre-shared key that asks for a ticket is given none."""
        server = MessageServer(keyServer(tickets=TicketKeys()))
        client = MessageClient(keyClient())
        # The package's client does not ask; put the question in before the binder is made.
        make = client._makeCHI
        client._makeCHI = lambda extensions: make(((ExtensionType.TICKET, b""), *extensions))
        listed = Listed()
        converse(client, server, listed)
        self.assertEqual(len(listed.only(CHI).extensions), 2)
        self.assertEqual(listed.only(SHF).extensions, ())


class RefusalTests(TestCase):
    """What is refused, by whom, and what the other side learns."""

    def assertRefused(self, code: ErrorCode, call: Callable[..., object], *args: object) -> None:
        self.assertIs(self.assertRaises(RemoteProtocolError, call, *args).code, code)

    def test_alike(self) -> None:
        """
        An identity that is not known and a key that is wrong look the same to the client;
        the server's log tells which it was.
        """
        seen, told = [], []
        for key in (
            PresharedKey(b"toast!", KEY.key),
            PresharedKey(b"kettle", bytes(32)),
        ):
            client, server = makePair(keyClient(key), keyServer())
            ours = ending(give(server, client.dataToSend(0.0, PLENTY), 0.0))
            self.assertEqual((ours.cause, ours.code), (Cause.REJECTED, ErrorCode.NOT_AUTHORIZED))
            answer = server.dataToSend(0.0, PLENTY)
            theirs = ending(client.receiveData(answer, 0.0))
            self.assertEqual((theirs.code, theirs.byPeer), (ErrorCode.NOT_AUTHORIZED, True))
            seen.append((answer, theirs))
            told.append(ours.detail)
        self.assertEqual(seen[0], seen[1])
        self.assertEqual(
            told,
            [
                "the pre-shared key b'toast!': is not among ours",
                "the pre-shared key b'kettle': whoever offers it does not have it",
            ],
        )

    def test_nothingSpent(self) -> None:
        """Whoever does not have a key costs no key exchange."""
        group = CountedGroup()
        settings = keyServer(groupTable={GroupName.X25519: group})
        client, server = makePair(keyClient(PresharedKey(b"kettle", bytes(32))), settings)
        pump(client, server)
        self.assertIsNotNone(server.termination)
        self.assertEqual(group.exchanges, 0)

    def test_emptyKey(self) -> None:
        """A key that is empty by mistake is nobody's: it would be everybody's."""
        for key in (b"", bytes(32)):
            client = MessageClient(keyClient())
            client._offer = presharedKey(b"toaster", key)
            server = MessageServer(keyServer(presharedKeys={b"toaster": b""}))
            self.assertRefused(ErrorCode.NOT_AUTHORIZED, server.receiveCHI, client.begin())

    def test_binderBits(self) -> None:
        """A binder with any bit flipped is refused."""
        chi = keyHandshakes()[0].begin()
        body = chi.encode()
        for bit in range(256):
            at = len(body) - 32 + bit // 8
            changed = body[:at] + bytes((body[at] ^ 1 << bit % 8,)) + body[at + 1 :]
            _, server = keyHandshakes()
            self.assertRefused(ErrorCode.NOT_AUTHORIZED, server.receiveCHI, CHI.decode(changed))

    def test_binderCoversAll(self) -> None:
        """A CHI of which anything else was changed does not go with its binder."""
        for fields in (
            {"versions": (1, 2)},
            {"random": bytes(32)},
            {"groups": (GroupName.X25519, 0x99)},
            {"aeads": (2,)},
            {"credentialKinds": (1, 3)},
            {"requestedTtl": 1000},
        ):
            client, server = keyHandshakes()
            chi = replace(client.begin(), **fields)  # type: ignore[arg-type]
            self.assertRefused(ErrorCode.NOT_AUTHORIZED, server.receiveCHI, chi)
        client, server = keyHandshakes()
        chi = client.begin()
        chi = replace(chi, extensions=((ExtensionType.TICKET, b""), *chi.extensions))
        self.assertRefused(ErrorCode.NOT_AUTHORIZED, server.receiveCHI, chi)

    def test_otherForm(self) -> None:
        """The binder of a key is not that of a ticket with the same secret, nor the reverse."""
        client, server = keyHandshakes()
        offer = presharedKey(KEY.identity, KEY.key)
        client._offer = replace(offer, form=Form.TICKET)
        chi = client.begin()
        identity = PresharedOffer.decode(chi.extensions[-1][1])
        asKey = replace(identity, form=Form.KEY).encode()
        chi = replace(chi, extensions=(*chi.extensions[:-1], (3, asKey)))
        self.assertRefused(ErrorCode.NOT_AUTHORIZED, server.receiveCHI, chi)

    def test_notLast(self) -> None:
        """An offer that does not stand last is malformed, whether its binder is right or not."""
        client, server = keyHandshakes()
        chi = client.begin()
        chi = replace(chi, extensions=(*chi.extensions, (0x99, b"")))
        self.assertRefused(ErrorCode.MALFORMED_MESSAGE, server.receiveCHI, chi)

    def test_malformed(self) -> None:
        """An offer that is cut or too long is malformed."""
        client, _ = keyHandshakes()
        chi = client.begin()
        good = chi.extensions[-1][1]
        for value in (b"", good[:-1], good + b"\0", good[:2]):
            _, server = keyHandshakes()
            changed = replace(chi, extensions=((ExtensionType.PRESHARED_KEY, value),))
            self.assertRefused(ErrorCode.MALFORMED_MESSAGE, server.receiveCHI, changed)

    def test_unknownForm(self) -> None:
        """An offer of a form from the future is ignored: the handshake goes on with signatures."""
        offer = (ExtensionType.PRESHARED_KEY, PresharedOffer(9, b"?" * 40).encode())
        client = AlteredClient(altering(CHI, extensions=(offer,)))
        _, server = makeHandshakes(server=keyServer())
        theServer, theClient, _, _ = converse(client, server)
        self.assertEqual(theServer.publicKey, SERVER_CREDENTIAL.data)
        self.assertEqual(theClient.publicKey, CLIENT_CREDENTIAL.data)

    def test_serverWithout(self) -> None:
        """A server that takes no pre-shared keys ignores the offer, and has no other proof."""
        for settings in (
            serverSettings(),
            serverSettings(presharedKeys={KEY.identity: KEY.key}),  # The kind is not taken.
        ):
            client, server = makePair(keyClient(), settings)
            told = pump(client, server)
            for events in (told.server, told.client):
                self.assertIs(ending(events).code, ErrorCode.NO_COMMON_CREDENTIAL)

    def test_notTaken(self) -> None:
        """A client whose offer a server does not take goes no further, whatever else it shows."""
        client, _ = keyHandshakes()
        client.begin()
        shi = SHI(1, bytes(32), GroupName.X25519, Aead.AES_256_GCM, *CAN)
        self.assertRefused(ErrorCode.NO_COMMON_CREDENTIAL, client.receiveSHI, shi)
        client, server = makePair(keyClient(), keyServer())
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        sendTo(client, shi)
        learned = ending(give(server, client.dataToSend(0.0, PLENTY), 0.0))
        self.assertIs(learned.code, ErrorCode.NO_COMMON_CREDENTIAL)

    def test_neverOffered(self) -> None:
        """A server that takes a secret which was not offered, or says more of it, is refused."""
        for settings, value in (
            (clientSettings(), b""),
            (clientSettings(), b"\x01"),
            (keyClient(), b"\x01"),
        ):
            client = MessageClient(settings)
            client.begin()
            extensions = ((ExtensionType.PRESHARED_KEY, value),)
            shi = SHI(1, bytes(32), GroupName.X25519, Aead.AES_256_GCM, *CAN, extensions)
            self.assertRefused(ErrorCode.BAD_CREDENTIAL, client.receiveSHI, shi)

    def test_impostor(self) -> None:
        """A server that says it has the key, and has not, fails at its MAC."""
        client, _ = keyHandshakes()
        server = MessageServer(keyServer(presharedKeys={KEY.identity: bytes(32)}))
        server._binder = lambda preshared, chi: chi[-32:]
        self.assertRefused(ErrorCode.BAD_MAC, converse, client, server)

    def test_clientImpostor(self) -> None:
        """A client that got past the binder by chance would still fail at its MAC."""
        client = MessageClient(keyClient(PresharedKey(b"kettle", bytes(32))))
        _, server = keyHandshakes()
        server._binder = lambda preshared, chi: chi[-32:]
        answer = server.receiveCHI(client.begin())
        assert isinstance(answer[0], SHI) and isinstance(answer[1], SDH)
        client.receiveSHI(answer[0])
        server.receiveCDH(client.receiveSDH(answer[1]))
        client._acceptedKinds = (3,)
        self.assertRefused(ErrorCode.BAD_MAC, server.receiveCCC, client.answer())

    def test_besideServerSecret(self) -> None:
        """A server that shows a credential beside the secret is refused, rightly signed or not."""
        for fields in (
            {"credentialKind": 1},
            {"credentialKind": 0},
            {"credential": b"x"},
            {"scheme": 0x0807},
            {"credentialKind": 1, "credential": SERVER_CREDENTIAL.data, "scheme": 0x0807},
        ):
            client, _ = keyHandshakes()
            server = AlteredServer(altering(SCC, **fields), keyServer())
            self.assertRefused(ErrorCode.BAD_CREDENTIAL, converse, client, server)
            client, _ = keyHandshakes()
            server = AlteredServer(altering(SCC, **fields), keyServer())
            server.credential = SERVER_CREDENTIAL  # What it signs with.
            self.assertRefused(ErrorCode.BAD_CREDENTIAL, converse, client, server)

    def test_besideClientSecret(self) -> None:
        """A client that shows a credential beside the secret is refused."""
        for fields, code in (
            ({"credentialKind": 1}, ErrorCode.BAD_CREDENTIAL),
            ({"credentialKind": 0}, ErrorCode.CREDENTIAL_REQUIRED),
            ({"credential": b"x"}, ErrorCode.BAD_CREDENTIAL),
            ({"scheme": 0x0807}, ErrorCode.BAD_CREDENTIAL),
        ):
            client = AlteredClient(altering(CCC, **fields), keyClient())
            _, server = keyHandshakes()
            self.assertRefused(code, converse, client, server)

    def test_besideSignature(self) -> None:
        """A signature beside the secret is refused, on either side."""
        sign = Unsigned.sign
        self.patch(Unsigned, "sign", lambda _, content: CLIENT_CREDENTIAL.sign(content))
        self.assertRefused(ErrorCode.BAD_CREDENTIAL, converse, *keyHandshakes())
        client, server = keyHandshakes()
        server.credential = type("Silent", (Unsigned,), {"sign": sign})()
        self.assertRefused(ErrorCode.BAD_CREDENTIAL, converse, client, server)

    def test_notWithoutSecret(self) -> None:
        """Kind 3 where no secret was taken is refused, on either side."""
        unsigned = {"credentialKind": 3, "credential": b"", "scheme": 0}
        client = MessageClient(clientSettings(peerKinds=BOTH_KINDS))
        server = AlteredServer(altering(SCC, **unsigned))
        server._settings = serverSettings(
            credential=Unsigned(), otherCredentials=(SERVER_CREDENTIAL,)
        )
        self.assertRefused(ErrorCode.BAD_CREDENTIAL, converse, client, server)
        altered = AlteredClient(altering(CCC, **unsigned))
        _, honest = makeHandshakes(server=keyServer())
        self.assertRefused(ErrorCode.BAD_CREDENTIAL, converse, altered, honest)

    def test_reflected(self) -> None:
        """Who has no key cannot use one holder's words against another holder, or itself."""
        one, _ = makePair(keyClient(), keyServer())
        other, _ = makePair(keyClient(), keyServer())
        chi = one.dataToSend(0.0, PLENTY)
        self.assertIs(ending(give(other, chi, 0.0)).code, ErrorCode.REFLECTED_MESSAGE)
        self.assertIs(ending(give(one, chi, 0.0)).code, ErrorCode.REFLECTED_MESSAGE)

    def test_otherFinishedKey(self) -> None:
        """Though both have one secret, neither's MAC passes for the other's."""
        client, server = keyHandshakes()
        answer = server.receiveCHI(client.begin())
        assert isinstance(answer[0], SHI) and isinstance(answer[1], SDH)
        client.receiveSHI(answer[0])
        scc = server.receiveCDH(client.receiveSDH(answer[1]))
        part = scc.macPart(scc.typed())
        forged = replace(scc, mac=client._mac(client.secrets.clientFinished, part))
        self.assertRefused(ErrorCode.BAD_MAC, client.receiveSCC, forged)
        client.receiveSCC(scc)
        ccc = client.answer()
        part = ccc.macPart(ccc.typed())
        forged = replace(ccc, mac=server._mac(server.secrets.serverFinished, part))
        self.assertRefused(ErrorCode.BAD_MAC, server.receiveCCC, forged)

    def test_retryBinder(self) -> None:
        """In a retry the binder of the first CHI is of no use any more."""
        client, server = keyHandshakes()
        first = client.begin()
        with mock.patch.object(server, "_lookUp", return_value=None):  # It learns of it later.
            answer = server.receiveCHI(first, 1)
        assert isinstance(answer[0], SHI)
        search = client.receiveSHI(answer[0])
        assert search is not None
        second = client.retry(solve(search))
        old = (*second.extensions[:-1], first.extensions[-1])
        self.assertRefused(
            ErrorCode.NOT_AUTHORIZED, server.receiveCHI, replace(second, extensions=old)
        )

    def test_replayed(self) -> None:
        """A CHI that is sent again opens nothing: what follows needs the client's share."""
        client, server = makePair(keyClient(), keyServer())
        chi = client.dataToSend(0.0, PLENTY)
        pump(client, server)
        _, again = makePair(keyClient(), keyServer(random=lambda count: b"\x05" * count))
        self.assertEqual(give(again, chi, 0.0), [])
        records = splitRecords(again.dataToSend(0.0, PLENTY))
        self.assertEqual(len(records), 2)
        mallory = MessageClient(keyClient(PresharedKey(b"kettle", bytes(32))))
        cdh = mallory._groupTable[GroupName.X25519].respond(records[1][6:38], bytes)[0]
        share = b"\x00\x00\x25\x04\x00\x20" + cdh + b"\x00\x00"
        self.assertEqual(give(again, share, 0.0), [])
        events = give(again, b"\x00\x00\x40" + bytes(64), 0.0)
        self.assertIs(ending(events).code, ErrorCode.RECORD_UNREADABLE)
        self.assertEqual(only(PeerProved, events), [])

    def test_flipped(self) -> None:
        """With a bit of any octet flipped there is no session, a puzzle for strangers or not."""
        for difficulty, records in ((0, 7), (2, 7)):

            def make(
                difficulty: int = difficulty,
            ) -> tuple[ClientConnection, ServerConnection]:
                return makePair(keyClient(maxDifficulty=8), keyServer(), difficulty=difficulty)

            for target, count, client, server in tampered(make):
                self.assertEqual(count, records)
                self.assertIsNone(client.session, f"record {target}")
                if target < records - 1:
                    self.assertIsNone(server.session, f"record {target}")

    @given(st.binary(max_size=300))
    def test_anyIdentity(self, identity: bytes) -> None:
        """An identity may be any octets; if it is not known it is refused as any other."""
        client = MessageClient(keyClient())
        client._offer = presharedKey(identity, b"guess")
        _, server = keyHandshakes()
        self.assertRefused(ErrorCode.NOT_AUTHORIZED, server.receiveCHI, client.begin())

    def test_peerKinds(self) -> None:
        """A client with a pre-shared key that would take another kind of server is a mistake."""
        for kinds in ((CredentialKind.ED25519,), BOTH_KINDS):
            error = self.assertRaises(
                LocalProtocolError, clientSettings, credential=KEY, peerKinds=kinds
            )
            self.assertIs(error.code, ErrorCode.BAD_ARGUMENT)


class SecretTests(TestCase):
    """What the key is good for, and what it is not."""

    shared = bytes(range(32))
    hashed = bytes(32)

    def test_both(self) -> None:
        """Every secret depends on the key and on the key exchange: neither alone is enough."""
        right = HandshakeSecrets.derive(self.shared, self.hashed, KEY.key)
        for other in (
            HandshakeSecrets.derive(self.shared, self.hashed),
            HandshakeSecrets.derive(self.shared, self.hashed, bytes(range(1, 33))),
            HandshakeSecrets.derive(bytes(32), self.hashed, KEY.key),
        ):
            for name in HandshakeSecrets.__slots__:
                self.assertNotEqual(getattr(right, name), getattr(other, name), name)

    def test_fresh(self) -> None:
        """Two sessions with one key and one client have no secret in common."""
        _, _, first, _ = converse(*keyHandshakes())
        client, server = makeHandshakes(
            keyClient(random=lambda count: b"\x07" * count), keyServer()
        )
        _, _, second, _ = converse(client, server)
        for name in type(first).__slots__:
            self.assertNotEqual(getattr(first, name), getattr(second, name))

    def test_forwardSecrecy(self) -> None:
        """
        Who overheard a session and learns the key later has not its secrets: they take a
        private share, and no side has one any more.
        """
        agreed = []

        class Overheard(X25519):
            def respond(self, serverShare: bytes, random: Random) -> tuple[bytes, bytes]:
                share, secret = super().respond(serverShare, random)
                agreed.append(secret)
                return share, secret

        listed = Listed()
        table = {GroupName.X25519: Overheard()}
        client, server = makeHandshakes(keyClient(groupTable=table), keyServer())
        converse(client, server, listed)
        self.assertIsNone(server._exchange)
        overheard = hashlib.sha256()
        for message in listed.messages[:4]:
            body = bytes((message.TYPE,)) + message.encode()
            overheard.update(len(body).to_bytes(3, "big") + body)
        sdh, cdh = listed.messages[2], listed.messages[3]
        guesses = [b"", bytes(32), sdh.share, cdh.share, *agreed]  # type: ignore[attr-defined]
        right = [
            HandshakeSecrets.derive(guess, overheard.digest(), KEY.key) == client.secrets
            for guess in guesses
        ]
        self.assertEqual(right, [False, False, False, False, True])

    def test_notShown(self) -> None:
        """No repr shows a key."""
        offer = presharedKey(KEY.identity, KEY.key)
        for shown in (repr(offer), repr(keyServer()), repr(KEY), repr(keyClient())):
            self.assertNotIn(repr(KEY.key)[2:-1], shown)
            self.assertNotIn(KEY.key.hex(), shown)

    def test_unsignedIsNoProof(self) -> None:
        """What stands for a credential beside a secret signs nothing."""
        self.assertEqual(Unsigned().sign(b"content"), b"")

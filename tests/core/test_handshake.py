"""The handshake: negotiation, proofs, every refusal, and every byte of it changed on its way."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import TestCase

from tests.helpers import (
    CLIENT_CREDENTIAL,
    PLENTY,
    SERVER_CREDENTIAL,
    Ed25519Credential,
    MessageClient,
    MessageServer,
    carryRecords,
    clientSettings,
    ending,
    establishedPair,
    flip,
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
from thing.core.backoff import Pace, paceAfter
from thing.core.credentials import Anonymous, SignatureScheme
from thing.core.groups import GroupName
from thing.core.handshake import Handshake
from thing.core.handshakemessages import CCC, CDH, CHI, SCC, SDH, SHF, SHI
from thing.core.keyschedule import SIGNATURE_CONTEXTS, SessionSecrets, mac, signatureContent
from thing.core.layout import Message
from thing.core.messages import CHR, MAGIC, MAX_TTL, MIN_TTL, SHR, MessageType, Role
from thing.core.puzzle import Search
from thing.core.records import HEADER_LENGTH, Aead, clearRecord
from thing.core.settings import ClientSettings, ServerSettings
from thing.core.states import State
from thing.errors import ErrorCode, RemoteProtocolError
from thing.events import Cause, HandshakeCompleted, KeysAnnounced, PeerProved
from thing.identity import CredentialKind, Identity

MALLORY = Ed25519Credential("mallory")

Alter = Callable[[Any], Any]


def unchanged(message: Any) -> Any:
    """On the way, nothing happens."""
    return message


def converse(
    client: MessageClient,
    server: MessageServer,
    onTheWay: Alter = unchanged,
    difficulty: int = 0,
) -> tuple[Identity, Identity, SessionSecrets, SessionSecrets]:
    """
    Let two handshakes run to their ends.

    :param onTheWay: what happens to each message between the two.
    :param difficulty: how hard a puzzle the server asks, bits; zero for none.
    :return: who the server is, who the client is, and each side's session secrets.
    """
    answer = server.receiveCHI(onTheWay(client.begin()), difficulty)
    if difficulty:
        search = client.receiveSHI(onTheWay(answer[0]))
        assert search is not None
        answer = server.receiveCHI(onTheWay(client.retry(solve(search))))
    shi, sdh = answer
    client.receiveSHI(onTheWay(shi))
    cdh = client.receiveSDH(onTheWay(sdh))
    theServer = client.receiveSCC(onTheWay(server.receiveCDH(onTheWay(cdh))))
    theClient = server.receiveCCC(onTheWay(client.answer()))
    client.receiveSHF(onTheWay(server.finish(30.0, 10.0)))
    return theServer, theClient, client.sessionSecrets(), server.sessionSecrets()


def solve(search: Search) -> int:
    """Search to the end."""
    while (number := search.go()) is None:
        pass
    return number


class Altered(Handshake):
    """A handshake whose owner says something else than the package would, and stands by it."""

    alter: Alter

    def _send(self, message: Any) -> Any:
        return super()._send(self.alter(message))

    def _prove(self, role: Role, key: bytes, credential: Any, message: Any) -> Any:
        return super()._prove(role, key, credential, self.alter(message))


class AlteredClient(Altered, MessageClient):
    """Such a client."""

    def __init__(self, alter: Alter, settings: ClientSettings | None = None) -> None:
        super().__init__(settings or clientSettings())
        self.alter = alter


class AlteredServer(Altered, MessageServer):
    """Such a server."""

    def __init__(self, alter: Alter, settings: ServerSettings | None = None) -> None:
        super().__init__(settings or serverSettings())
        self.alter = alter


def altering(cls: type[Message], **fields: object) -> Alter:
    """Change fields of the messages of one class, and nothing else."""
    return lambda message: replace(message, **fields) if isinstance(message, cls) else message


class Impostor:
    """Shows one key and signs with another."""

    kind = CredentialKind.ED25519
    scheme = SignatureScheme.ED25519

    def __init__(self, shown: Ed25519Credential, own: Ed25519Credential) -> None:
        self.data = shown.data
        self.sign = own.sign


class NegotiationTests(TestCase):
    """What is chosen."""

    def test_everyChoice(self) -> None:
        """Each group works with each AEAD."""
        for group, aead in itertools.product(GroupName, Aead):
            client, server = establishedPair(
                clientSettings(groups=(group,), aeads=(aead,)),
                serverSettings(groups=tuple(GroupName)),
            )
            for side in (client, server):
                assert side.session is not None
                self.assertEqual(side.session.group, group.name)
                self.assertEqual(side.session.aead, aead.name)

    def test_clientPrefers(self) -> None:
        """The client's order decides, as far as the server has what it wants."""
        for groups in (tuple(GroupName), tuple(GroupName)[::-1]):
            for aeads in (tuple(Aead), tuple(Aead)[::-1]):
                client, server = makeHandshakes(
                    clientSettings(groups=groups, aeads=aeads),
                    serverSettings(groups=tuple(GroupName)),
                )
                converse(client, server)
                self.assertEqual((server.group, server.aead), (groups[0], aeads[0]))
                self.assertEqual((client.group, client.aead), (groups[0], aeads[0]))

    def test_defaultIsHybrid(self) -> None:
        """Without any choice made, the exchange is post-quantum."""
        client, server = makeHandshakes(
            ClientSettings(credential=CLIENT_CREDENTIAL),
            ServerSettings(credential=SERVER_CREDENTIAL),
        )
        converse(client, server)
        self.assertIs(server.group, GroupName.X25519MLKEM768)

    def test_unknownOffers(self) -> None:
        """Numbers that the server does not know do not disturb it."""
        client = AlteredClient(
            altering(
                CHI,
                versions=(9, 1),
                groups=(0xFFFF, 0x1D),
                aeads=(0xFFFF, 2),
                credentialKinds=(99, 1),
            )
        )
        _, server = makeHandshakes()
        converse(client, server)
        self.assertIs(server.group, GroupName.X25519)

    def test_identities(self) -> None:
        """Each side knows the other's key, and no name."""
        theServer, theClient, _, _ = converse(*makeHandshakes())
        self.assertEqual(theServer, Identity(CredentialKind.ED25519, SERVER_CREDENTIAL.data))
        self.assertEqual(theClient, Identity(CredentialKind.ED25519, CLIENT_CREDENTIAL.data))

    def test_sameSecrets(self) -> None:
        """Both sides have the same secrets, and the same session id."""
        _, _, ours, theirs = converse(*makeHandshakes())
        self.assertEqual(ours, theirs)

    def test_freshSecrets(self) -> None:
        """Two handshakes of the same two have nothing in common."""
        _, _, first, _ = converse(*makeHandshakes())
        client, server = makeHandshakes(clientSettings(random=lambda count: b"\x07" * count))
        _, _, second, _ = converse(client, server)
        for name in SessionSecrets.__slots__:
            self.assertNotEqual(getattr(first, name), getattr(second, name))

    def test_clientIsNotShown(self) -> None:
        """The client's key goes to a server that it has admitted, and to no observer."""
        client, server = makePair()
        clear = client.dataToSend(0.0, 0)
        give(server, clear, 0.0)
        list(client.receiveData(server.dataToSend(0.0, 0), 0.0))
        cdh = client.dataToSend(0.0, 0)
        give(server, cdh, 0.0)
        (proved,) = only(PeerProved, client.receiveData(server.dataToSend(0.0, 0), 0.0))
        self.assertEqual(client.dataToSend(0.0, PLENTY), b"")
        client.admit(proved.identity, 0.0)
        ccc = client.dataToSend(0.0, 0)
        self.assertNotIn(CLIENT_CREDENTIAL.data, clear + cdh + ccc)

    def test_anonymous(self) -> None:
        """A client without a credential is let in where the server says so, by both."""
        client, server = makePair(
            clientSettings(credential=Anonymous()), serverSettings(allowAnonymous=True)
        )
        told = pump(client, server)
        (proved,) = only(PeerProved, told.server)
        self.assertTrue(proved.identity.anonymous)
        self.assertIsNotNone(client.session)
        self.assertIsNotNone(server.session)

    def test_anonymousIsAChoice(self) -> None:
        """A server that allows anonymous clients still knows those that show a key."""
        _, theClient, _, _ = converse(*makeHandshakes(None, serverSettings(allowAnonymous=True)))
        self.assertEqual(theClient.publicKey, CLIENT_CREDENTIAL.data)

    def test_name(self) -> None:
        """The session's peer is the identity as it was admitted, name included."""
        client, server = makePair()
        named = Identity(CredentialKind.ED25519, CLIENT_CREDENTIAL.data, "kettle")
        give(server, client.dataToSend(0.0, 0), 0.0)
        give(client, server.dataToSend(0.0, 0), 0.0)
        give(server, client.dataToSend(0.0, 0), 0.0)
        give(client, server.dataToSend(0.0, 0), 0.0)
        list(server.receiveData(client.dataToSend(0.0, 0), 0.0))
        (completed,) = server.admit(named, 0.0)
        assert isinstance(completed, HandshakeCompleted)
        self.assertEqual(completed.session.peer.name, "kettle")

    def test_schedule(self) -> None:
        """The TTL that the client asks for reaches the server's policy, and the grant both."""
        asked: list[float | None] = []

        def grant(requested: float | None) -> float:
            asked.append(requested)
            return 12.0

        client, server = establishedPair(clientSettings(requestedTtl=5.0), grant=grant)
        self.assertEqual(asked, [5.0])
        for side in (client, server):
            assert side.session is not None
            self.assertEqual((side.session.ttl, side.session.interval), (12.0, 4.0))


class RefusalTests(TestCase):
    """What is refused, with which code, and what the other side learns."""

    def assertRefused(self, code: ErrorCode, call: Callable[..., object], *args: object) -> None:
        self.assertIs(self.assertRaises(RemoteProtocolError, call, *args).code, code)

    def test_offers(self) -> None:
        """An offer in which nothing fits is refused, and the client learns which part."""
        chi = makeHandshakes()[0].begin()
        for fields, code in (
            ({"versions": (2, 0)}, ErrorCode.VERSION_UNSUPPORTED),
            ({"groups": (0x17,)}, ErrorCode.NO_COMMON_GROUP),
            ({"aeads": (1,)}, ErrorCode.NO_COMMON_AEAD),
            ({"credentialKinds": (0, 2)}, ErrorCode.NO_COMMON_CREDENTIAL),
            ({"requestedTtl": MIN_TTL - 1}, ErrorCode.TTL_OUT_OF_BOUNDS),
            ({"requestedTtl": MAX_TTL + 1}, ErrorCode.TTL_OUT_OF_BOUNDS),
        ):
            client, server = makePair()
            client.dataToSend(0.0, 0)
            events = sendTo(server, replace(chi, **fields))  # type: ignore[arg-type]
            termination = ending(events)
            self.assertEqual((termination.cause, termination.code), (Cause.REJECTED, code))
            learned = ending(client.receiveData(server.dataToSend(0.0, 0), 0.0))
            self.assertEqual((learned.cause, learned.code), (Cause.REJECTED, code))
            self.assertTrue(learned.byPeer)
            self.assertEqual(learned.detail, "unauthenticated")

    def test_otherVersion(self) -> None:
        """Of a later version the versions alone are read, whatever is behind them."""
        for behind in (b"", b"\xff", bytes(40), b"\xff" * 1000):
            client, server = makePair()
            client.dataToSend(0.0, 0)
            chi = bytes((MessageType.CHI,)) + MAGIC + b"\x02\x02\x03" + behind
            refused = ending(server.receiveData(clearRecord(chi[0], chi[1:]), 0.0))
            self.assertIs(refused.code, ErrorCode.VERSION_UNSUPPORTED)
            learned = ending(client.receiveData(server.dataToSend(0.0, 0), 0.0))
            self.assertIs(learned.code, ErrorCode.VERSION_UNSUPPORTED)
            self.assertIs(paceAfter(learned), Pace.SELDOM)
            client, server = makePair()
            give(server, client.dataToSend(0.0, 0), 0.0)
            refused = ending(client.receiveData(clearRecord(MessageType.SHI, b"\x02" + behind), 0))
            self.assertIs(refused.code, ErrorCode.VERSION_UNSUPPORTED)
            learned = ending(server.receiveData(client.dataToSend(0.0, 0), 0.0))
            self.assertIs(learned.code, ErrorCode.VERSION_UNSUPPORTED)

    def test_versionsCut(self) -> None:
        """A list of versions that is none is malformed, and one behind no magic is nobody's."""
        for body, code in (
            (MAGIC, ErrorCode.MALFORMED_MESSAGE),
            (MAGIC + b"\x00", ErrorCode.MALFORMED_MESSAGE),
            (MAGIC + b"\x02\x02", ErrorCode.MALFORMED_MESSAGE),
            (b"THINK\x01\x02", ErrorCode.NOT_THING),
        ):
            _, server = makePair()
            told = ending(server.receiveData(clearRecord(MessageType.CHI, body), 0.0))
            self.assertIs(told.code, code)
        client, _ = makePair()
        told = ending(client.receiveData(clearRecord(MessageType.SHI, b""), 0.0))
        self.assertIs(told.code, ErrorCode.MALFORMED_MESSAGE)

    def test_bounds(self) -> None:
        """A TTL just within its bounds may be asked for."""
        chi = makeHandshakes()[0].begin()
        for ttl in (MIN_TTL, MAX_TTL):
            _, server = makeHandshakes()
            server.receiveCHI(replace(chi, requestedTtl=ttl))
            self.assertEqual(server.requestedTtl, ttl / 1000)

    def test_choices(self) -> None:
        """A choice that was not offered is refused, and the server learns which part."""
        for fields, code in (
            ({"version": 2}, ErrorCode.VERSION_UNSUPPORTED),
            ({"group": 0}, ErrorCode.RETRY_REFUSED),
            ({"group": GroupName.X25519MLKEM768}, ErrorCode.NO_COMMON_GROUP),
            ({"aead": Aead.CHACHA20_POLY1305}, ErrorCode.NO_COMMON_AEAD),
        ):
            client, server = makePair(clientSettings(aeads=(Aead.AES_256_GCM,)))
            give(server, client.dataToSend(0.0, 0), 0.0)
            record, _ = splitRecords(server.dataToSend(0.0, 0))
            shi = replace(SHI.decode(record[HEADER_LENGTH + 1 :]), **fields)  # type: ignore[arg-type]
            termination = ending(sendTo(client, shi))
            self.assertEqual((termination.cause, termination.code), (Cause.REJECTED, code))
            learned = ending(server.receiveData(client.dataToSend(0.0, 0), 0.0))
            self.assertEqual((learned.code, learned.byPeer), (code, True))

    def test_serverShare(self) -> None:
        """A bad share from the server is refused, and the server learns it."""
        for share in (b"", bytes(31), bytes(32), bytes(33)):
            client, server = makePair()
            give(server, client.dataToSend(0.0, 0), 0.0)
            shi, _ = splitRecords(server.dataToSend(0.0, 0))
            list(client.receiveData(shi, 0.0))
            self.assertIs(ending(sendTo(client, SDH(share))).code, ErrorCode.BAD_SHARE)
            learned = ending(server.receiveData(client.dataToSend(0.0, 0), 0.0))
            self.assertIs(learned.code, ErrorCode.BAD_SHARE)

    def test_clientShare(self) -> None:
        """A bad share from the client is refused, and the client learns it, in the clear."""
        for share in (b"", bytes(31), bytes(32), bytes(33)):
            client, server = makePair()
            give(server, client.dataToSend(0.0, 0), 0.0)
            server.dataToSend(0.0, 0)
            self.assertIs(ending(sendTo(server, CDH(share))).code, ErrorCode.BAD_SHARE)
            said = SHR(ErrorCode.BAD_SHARE).encode()
            self.assertEqual(server.dataToSend(0.0, PLENTY), clearRecord(SHR.TYPE, said))

    def test_crossesTheShare(self) -> None:
        """What a server refuses in the clear while CDH is on its way reaches the client."""
        client, server = makePair()
        give(server, client.dataToSend(0.0, 0), 0.0)
        give(client, server.dataToSend(0.0, 0), 0.0)
        self.assertIs(client.state, State.AWAIT_SCC)
        server.reject(ErrorCode.SERVER_BUSY, 0.0, retryAfter=5.0)
        word = server.dataToSend(0.0, 0)
        for piece in (word[:3], word[3:]):
            events = list(client.receiveData(piece, 0.0))
        termination = ending(events)
        self.assertIs(termination.code, ErrorCode.SERVER_BUSY)
        self.assertTrue(termination.unauthenticated)
        self.assertEqual(termination.retryAfter, 5.0)

    def test_serverSignature(self) -> None:
        """A server that shows a key which it does not have is refused."""
        client, server = makeHandshakes(
            None, serverSettings(credential=Impostor(SERVER_CREDENTIAL, MALLORY))
        )
        self.assertRefused(ErrorCode.BAD_SIGNATURE, converse, client, server)

    def test_clientSignature(self) -> None:
        """A client that shows a key which it does not have is refused, and learns it."""
        client, server = makePair(clientSettings(credential=Impostor(CLIENT_CREDENTIAL, MALLORY)))
        told = pump(client, server)
        self.assertIs(ending(told.server).code, ErrorCode.BAD_SIGNATURE)
        self.assertIs(ending(told.client).code, ErrorCode.BAD_SIGNATURE)
        self.assertEqual(only(PeerProved, told.server), [])

    def test_macs(self) -> None:
        """A wrong MAC in SCC, CCC or SHF is refused."""
        for cls in (SCC, CCC, SHF):
            self.assertRefused(
                ErrorCode.BAD_MAC, converse, *makeHandshakes(), altering(cls, mac=bytes(32))
            )

    def test_serverWithoutCredential(self) -> None:
        """A server that does not authenticate is refused."""
        client, _ = makeHandshakes()
        server = AlteredServer(
            altering(SCC, credentialKind=0, credential=b"", scheme=0),
            serverSettings(credential=SERVER_CREDENTIAL),
        )
        self.assertRefused(ErrorCode.BAD_CREDENTIAL, converse, client, server)

    def test_anonymousClientKnows(self) -> None:
        """A client without a credential does not even try a server that wants one."""
        client, server = makePair(clientSettings(credential=Anonymous()))
        told = pump(client, server)
        self.assertIs(ending(told.client).code, ErrorCode.CREDENTIAL_REQUIRED)
        self.assertIs(ending(told.server).code, ErrorCode.CREDENTIAL_REQUIRED)
        self.assertEqual(only(PeerProved, told.server), [])

    def test_anonymousRefused(self) -> None:
        """A client that sends no credential to a server that wants one is refused."""
        _, server = makeHandshakes()
        client = AlteredClient(unchanged, clientSettings(credential=Anonymous()))
        client.receiveSHI((shi := server.receiveCHI(client.begin()))[0])
        client.receiveSCC(server.receiveCDH(client.receiveSDH(shi[1])))
        client._acceptedKinds = (0,)
        self.assertRefused(ErrorCode.CREDENTIAL_REQUIRED, server.receiveCCC, client.answer())

    def test_credentialKindNotTaken(self) -> None:
        """A client does not show a credential of a kind that the server does not take."""
        client, _ = makeHandshakes()
        server = AlteredServer(altering(SCC, acceptedKinds=(7,)))
        self.assertRefused(ErrorCode.NO_COMMON_CREDENTIAL, converse, client, server)

    def test_schedules(self) -> None:
        """A TTL or an interval that no server may grant is refused, and the server learns it."""
        for ttl, interval in (
            (0.0, 0.0),
            (0.099, 0.033),
            (MAX_TTL / 1000 + 1, 10.0),
            (30.0, 0.024),
            (30.0, 15.001),
            (30.0, 0.0),
        ):
            client, server = makePair()
            finish = server._handshake.finish
            server._handshake.finish = lambda *_, f=finish, s=(ttl, interval): f(*s)
            told = pump(client, server)
            self.assertIs(ending(told.client).code, ErrorCode.TTL_OUT_OF_BOUNDS)
            self.assertIsNone(client.session)
            self.assertIs(ending(told.server).code, ErrorCode.TTL_OUT_OF_BOUNDS)

    def test_reject(self) -> None:
        """A peer that the program refuses learns the code and how long to stay away."""
        client, server = makePair()
        give(server, client.dataToSend(0.0, 0), 0.0)
        give(client, server.dataToSend(0.0, 0), 0.0)
        give(server, client.dataToSend(0.0, 0), 0.0)
        give(client, server.dataToSend(0.0, 0), 0.0)
        list(server.receiveData(client.dataToSend(0.0, 0), 0.0))
        self.assertIs(server.state, State.AUTHORIZING)
        ours = ending(server.reject(ErrorCode.NOT_AUTHORIZED, 0.0, "a stranger", 60.0))
        self.assertEqual((ours.cause, ours.detail), (Cause.REJECTED, "a stranger"))
        theirs = ending(client.receiveData(server.dataToSend(0.0, 0), 0.0))
        self.assertIs(theirs.code, ErrorCode.NOT_AUTHORIZED)
        self.assertEqual((theirs.byPeer, theirs.retryAfter, theirs.detail), (True, 60.0, ""))

    def test_strangers(self) -> None:
        """Whoever does not speak the protocol gets no answer at all."""
        for first in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.7\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\xff\xff\xff",
            b"\0\0\x06\x01thing",
            b"\0\0\x01\x99",
            (1025).to_bytes(HEADER_LENGTH, "big"),
        ):
            _, server = makePair()
            termination = ending(server.receiveData(first, 0.0))
            self.assertIs(termination.code, ErrorCode.NOT_THING, first)
            self.assertEqual(server.dataToSend(0.0, PLENTY), b"")

    def test_longRecords(self) -> None:
        """During the handshake records are kept short, and refused at their headers."""
        client, server = makePair()
        give(server, client.dataToSend(0.0, 0), 0.0)
        header = (8193).to_bytes(HEADER_LENGTH, "big")
        # For the client it is the first record of all: that is no Thing server.
        for side, code in ((client, ErrorCode.NOT_THING), (server, ErrorCode.RECORD_TOO_LONG)):
            termination = ending(side.receiveData(header, 0.0))
            self.assertIs(termination.code, code)


class ExtensionTests(TestCase):
    """Room to grow."""

    extensions = ((0x7FFF, b"from the future"), (0x0001, b""))

    def test_ignoredAndCovered(self) -> None:
        """Unknown extensions change nothing, except for the transcript."""
        _, _, plain, _ = converse(*makeHandshakes())
        for cls in (CHI, SHI, SDH, CDH, SCC, CCC):
            alter = altering(cls, extensions=self.extensions)
            client, server = makeHandshakes()
            if cls.TYPE.sender is Role.CLIENT:
                client = AlteredClient(alter)
            else:
                server = AlteredServer(alter)
            theServer, theClient, ours, theirs = converse(client, server)
            self.assertEqual(ours, theirs)
            self.assertNotEqual(ours.sessionId, plain.sessionId, cls.__name__)
            self.assertEqual(theServer.publicKey, SERVER_CREDENTIAL.data)
            self.assertEqual(theClient.publicKey, CLIENT_CREDENTIAL.data)

    def test_addedOnTheWay(self) -> None:
        """An extension that somebody adds on the way makes the handshake fail."""
        for cls in (CHI, SHI, SDH, CDH, SCC, CCC, SHF):
            error = self.assertRaises(
                RemoteProtocolError,
                converse,
                *makeHandshakes(),
                altering(cls, extensions=self.extensions),
            )
            self.assertIs(error.code, ErrorCode.BAD_MAC, cls.__name__)

    def test_removedOnTheWay(self) -> None:
        """An extension that somebody removes on the way makes the handshake fail."""
        for cls in (CHI, SHI, SDH, CDH, SCC, CCC):
            alter = altering(cls, extensions=self.extensions)
            client, server = makeHandshakes()
            if cls.TYPE.sender is Role.CLIENT:
                client = AlteredClient(alter)
            else:
                server = AlteredServer(alter)
            error = self.assertRaises(
                RemoteProtocolError, converse, client, server, altering(cls, extensions=())
            )
            self.assertIs(error.code, ErrorCode.BAD_MAC, cls.__name__)


class BindingTests(TestCase):
    """What a proof is bound to."""

    def upToProofs(self) -> tuple[MessageClient, MessageServer, SCC]:
        client, server = makeHandshakes()
        shi, sdh = server.receiveCHI(client.begin())
        client.receiveSHI(shi)
        return client, server, server.receiveCDH(client.receiveSDH(sdh))

    def assertRefused(self, code: ErrorCode, call: Callable[..., object], *args: object) -> None:
        self.assertIs(self.assertRaises(RemoteProtocolError, call, *args).code, code)

    def withMac(self, side: Handshake, key: bytes, message: Any) -> Any:
        """The message with the MAC that somebody who knows the key would give it."""
        return replace(message, mac=side._mac(key, message.macPart(message.typed())))

    def test_anotherCredential(self) -> None:
        """A proof with the credential exchanged is refused, even if the MAC is made anew."""
        client, server, scc = self.upToProofs()
        forged = replace(scc, credential=MALLORY.data)
        self.assertRefused(ErrorCode.BAD_MAC, client.receiveSCC, forged)
        remade = self.withMac(client, client.secrets.serverFinished, forged)
        self.assertRefused(ErrorCode.BAD_SIGNATURE, client.receiveSCC, remade)
        client.receiveSCC(scc)
        ccc = client.answer()
        forged = replace(ccc, credential=MALLORY.data)
        self.assertRefused(ErrorCode.BAD_MAC, server.receiveCCC, forged)
        remade = self.withMac(server, server.secrets.clientFinished, forged)
        self.assertRefused(ErrorCode.BAD_SIGNATURE, server.receiveCCC, remade)

    def test_signedAnewWithoutTheMac(self) -> None:
        """
        Who did not take part in the key exchange cannot put a key of its own into a session.

        Without the MAC this would be the identity misbinding that SIGMA prevents.
        """
        client, server, scc = self.upToProofs()
        client.receiveSCC(scc)
        ccc = client.answer()
        mallorys = replace(ccc, credential=MALLORY.data)
        content = server._signatureContent(Role.CLIENT, mallorys.signedPart(mallorys.typed()))
        mallorys = replace(mallorys, signature=MALLORY.sign(content))
        self.assertRefused(ErrorCode.BAD_MAC, server.receiveCCC, mallorys)

    def test_relayed(self) -> None:
        """A client's proof to one server is worth nothing at another, MAC or not."""
        client, _, scc = self.upToProofs()  # The server that the client meets is Mallory.
        client.receiveSCC(scc)
        ccc = client.answer()
        asClient, server = makeHandshakes(clientSettings(random=lambda count: b"\x55" * count))
        shi, sdh = server.receiveCHI(asClient.begin())
        asClient.receiveSHI(shi)
        asClient.receiveSCC(server.receiveCDH(asClient.receiveSDH(sdh)))
        self.assertRefused(ErrorCode.BAD_MAC, server.receiveCCC, ccc)
        remade = self.withMac(asClient, asClient.secrets.clientFinished, ccc)
        self.assertRefused(ErrorCode.BAD_SIGNATURE, server.receiveCCC, remade)

    def test_replayed(self) -> None:
        """A server's proof from one handshake is worth nothing in the next."""
        _, _, old = self.upToProofs()
        client, server = makeHandshakes(clientSettings(random=lambda count: b"\x55" * count))
        shi, sdh = server.receiveCHI(client.begin())
        client.receiveSHI(shi)
        server.receiveCDH(client.receiveSDH(sdh))
        self.assertRefused(ErrorCode.BAD_MAC, client.receiveSCC, old)
        remade = self.withMac(client, client.secrets.serverFinished, old)
        self.assertRefused(ErrorCode.BAD_SIGNATURE, client.receiveSCC, remade)

    def test_serverProofIsNoClientProof(self) -> None:
        """A signature made under the server's context does not pass for a client's."""
        client, server, scc = self.upToProofs()
        client.receiveSCC(scc)
        ccc = client.answer()
        hashed = server._transcript.hashWith(ccc.signedPart(ccc.typed()))
        wrong = signatureContent(SIGNATURE_CONTEXTS[Role.SERVER], hashed)
        forged = replace(ccc, signature=CLIENT_CREDENTIAL.sign(wrong))
        remade = self.withMac(server, server.secrets.clientFinished, forged)
        self.assertRefused(ErrorCode.BAD_SIGNATURE, server.receiveCCC, remade)

    def test_otherFinishedKey(self) -> None:
        """A MAC under one role's key does not pass for the other's."""
        client, server, scc = self.upToProofs()
        client.receiveSCC(scc)
        ccc = client.answer()
        for key in (server.secrets.serverFinished, server.secrets.serverConfirm):
            self.assertRefused(ErrorCode.BAD_MAC, server.receiveCCC, self.withMac(server, key, ccc))

    def test_confirmationCoversEverything(self) -> None:
        """SHF's MAC covers the client's proof, too."""
        client, server, scc = self.upToProofs()
        client.receiveSCC(scc)
        before = server._transcript.hash()
        server.receiveCCC(client.answer())
        shf = server.finish(30.0, 10.0)
        self.assertNotEqual(shf.mac, mac(server.secrets.serverConfirm, before))
        for fields in ({"ttl": 60000}, {"interval": 9999}):
            changed = replace(shf, **fields)  # type: ignore[arg-type]
            self.assertRefused(ErrorCode.BAD_MAC, client.receiveSHF, changed)
        client.receiveSHF(shf)

    def test_reflected(self) -> None:
        """A message that comes back to its sender is named as such and ends the handshake."""
        client, server = makePair()
        chi = client.dataToSend(0.0, 0)
        termination = ending(client.receiveData(chi, 0.0))
        self.assertIs(termination.code, ErrorCode.REFLECTED_MESSAGE)
        give(server, chi, 0.0)
        termination = ending(server.receiveData(server.dataToSend(0.0, 0), 0.0))
        self.assertIs(termination.code, ErrorCode.REFLECTED_MESSAGE)

    def test_sealedReflected(self) -> None:
        """Once keys exist, a record that comes back to its sender is not even readable."""
        client, server = makePair()
        give(server, client.dataToSend(0.0, 0), 0.0)
        give(client, server.dataToSend(0.0, 0), 0.0)
        give(server, client.dataToSend(0.0, 0), 0.0)
        termination = ending(server.receiveData(server.dataToSend(0.0, 0), 0.0))
        self.assertIs(termination.code, ErrorCode.RECORD_UNREADABLE)


class TamperingTests(TestCase):
    """Every byte of every message changed, one at a time."""

    def pair(self, hybrid: bool = False) -> tuple[Any, Any]:
        groups = tuple(GroupName) if hybrid else (GroupName.X25519,)
        return makePair(clientSettings(groups=groups), serverSettings(groups=groups))

    def tamper(self, change: Callable[[bytes, int], bytes], step: int, hybrid: bool) -> None:
        for target, count, client, server in tampered(lambda: self.pair(hybrid), change, step):
            self.assertEqual(count, 7)
            # Only the last message may leave the server alone with a session.
            if target < 6:
                self.assertIsNone(server.session, f"record {target}")
            self.assertIsNone(client.session, f"record {target}")

    @staticmethod
    def drop(record: bytes, at: int) -> bytes:
        """Take one octet out."""
        return record[:at] + record[at + 1 :]

    @staticmethod
    def insert(record: bytes, at: int) -> bytes:
        """Put one octet in."""
        return record[:at] + b"\xa5" + record[at:]

    def test_flipped(self) -> None:
        """With a bit of any byte flipped, no session is established on both sides."""
        self.tamper(flip, 1, hybrid=False)

    def test_flippedHybrid(self) -> None:
        """The same holds for the long shares of the hybrid group, here and there."""
        self.tamper(flip, 61, hybrid=True)

    def test_dropped(self) -> None:
        """With any byte missing, no session is established on both sides."""
        self.tamper(self.drop, 3, hybrid=False)

    def test_inserted(self) -> None:
        """With a byte too many anywhere, no session is established on both sides."""
        self.tamper(self.insert, 3, hybrid=False)

    def test_doubled(self) -> None:
        """With any record sent twice, no session lasts; without it, the handshake is stuck."""
        for target in range(7):
            for copies in (0, 2):

                def onTheWay(
                    number: int, record: bytes, target: int = target, copies: int = copies
                ) -> bytes:
                    return record * copies if number == target else record

                client, server = self.pair()
                carryRecords(client, server, onTheWay)
                if copies:
                    self.assertIsNotNone(client.termination)
                    self.assertIsNotNone(server.termination)
                else:
                    self.assertIsNone(client.session)

    def test_flippedBeneathTheAead(self) -> None:
        """A proof of which any bit is changed is refused, even by one who has the keys."""
        for cls in (SCC, CCC, SHF):
            length = 0

            def measure(message: Any, cls: Any = cls) -> Any:
                nonlocal length
                if isinstance(message, cls):
                    length = len(message.encode())
                return message

            converse(*makeHandshakes(), measure)
            for at in range(length):

                def onTheWay(message: Any, cls: Any = cls, at: int = at) -> Any:
                    if not isinstance(message, cls):
                        return message
                    return cls.decode(flip(message.encode(), at))

                self.assertRaises(RemoteProtocolError, converse, *makeHandshakes(), onTheWay)

    def test_downgrade(self) -> None:
        """Whoever takes the better offers out of CHI gets no session."""

        def onTheWay(message: Any) -> Any:
            if isinstance(message, CHI):
                return replace(message, groups=(0x1D,), aeads=(29,))
            return message

        settings = (
            clientSettings(groups=tuple(GroupName)),
            serverSettings(groups=tuple(GroupName)),
        )
        error = self.assertRaises(
            RemoteProtocolError, converse, *makeHandshakes(*settings), onTheWay
        )
        self.assertIs(error.code, ErrorCode.BAD_MAC)


class ClearRejectTests(TestCase):
    """What a reject is worth, before and after there are keys."""

    def test_advisory(self) -> None:
        """Before keys exist, a reject ends the handshake; it is marked as unauthenticated."""
        client, server = makePair()
        give(server, client.dataToSend(0.0, 0), 0.0)
        for side, message in ((client, SHR(0x0F, 1000)), (server, CHR(0x06))):
            termination = ending(sendTo(side, message))
            self.assertIs(termination.cause, Cause.REJECTED)
            self.assertEqual((termination.byPeer, termination.detail), (True, "unauthenticated"))

    def test_unknownCode(self) -> None:
        """A reject with a code from the future is kept as its number."""
        client, _ = makePair()
        termination = ending(sendTo(client, SHR(0x7777)))
        self.assertEqual(termination.code, 0x7777)
        self.assertIn("30583", str(termination))

    def test_keysProveNobody(self) -> None:
        """A reject under keys, from a server that has not proved itself, is unauthenticated."""
        client, server = makePair()
        give(server, client.dataToSend(0.0, 0), 0.0)
        give(client, server.dataToSend(0.0, 0), 0.0)
        self.assertIs(client.state, State.AWAIT_SCC)
        termination = ending(sendTo(client, SHR(ErrorCode.NOT_AUTHORIZED)))
        self.assertEqual((termination.byPeer, termination.detail), (True, "unauthenticated"))

    def test_provedServer(self) -> None:
        """A reject from a server that has proved itself is authenticated."""
        client, server = makePair()
        give(server, client.dataToSend(0.0, 0), 0.0)
        give(client, server.dataToSend(0.0, 0), 0.0)
        give(server, client.dataToSend(0.0, 0), 0.0)
        give(client, server.dataToSend(0.0, 0), 0.0)
        self.assertIs(client.state, State.AWAIT_SHF)
        termination = ending(sendTo(client, SHR(ErrorCode.NOT_AUTHORIZED)))
        self.assertEqual((termination.byPeer, termination.detail), (True, ""))

    def test_notAfterKeys(self) -> None:
        """Once keys exist, a reject in the clear is not honoured: it is an unreadable record."""
        client, server = establishedPair()
        for side, message in ((client, SHR(0x0C)), (server, CHR(0x0C))):
            body = message.encode()
            record = (1 + len(body)).to_bytes(HEADER_LENGTH, "big") + bytes((message.TYPE,)) + body
            termination = ending(side.receiveData(record, 0.0))
            self.assertIs(termination.code, ErrorCode.RECORD_UNREADABLE)
            self.assertFalse(termination.byPeer)

    def test_oneWord(self) -> None:
        """A side that is told of an error does not answer it with another."""
        client, server = makePair()
        give(server, client.dataToSend(0.0, 0), 0.0)
        sendTo(client, SHR(0x0F))
        self.assertEqual(client.dataToSend(0.0, PLENTY), b"")


class ListenerTests(TestCase):
    """The whole conversation, read along."""

    def test_sevenSteps(self) -> None:
        """The handshake is CHI, SHI, SDH, CDH, SCC, CCC, SHF; all after the shares is sealed."""
        messages: list[Message] = []

        def listen(message: Message) -> Message:
            messages.append(message)
            return message

        converse(*makeHandshakes(), listen)
        self.assertEqual([type(m) for m in messages], [CHI, SHI, SDH, CDH, SCC, CCC, SHF])
        records: list[bytes] = []
        client, server = makePair()
        while client.hasDataToSend or server.hasDataToSend:
            for sender, receiver in ((client, server), (server, client)):
                data = sender.dataToSend(0.0, PLENTY)
                records += splitRecords(data)
                give(receiver, data, 0.0)
        for record, message in zip(records, messages, strict=True):
            plaintext = bytes((message.TYPE,)) + message.encode()
            if message.TYPE < MessageType.SCC:
                self.assertEqual(record[HEADER_LENGTH:], plaintext)
            else:
                self.assertEqual(len(record), HEADER_LENGTH + len(plaintext) + 16)
                self.assertNotIn(plaintext[1:9], record)

    def test_sessionId(self) -> None:
        """The session id is the same on both sides, and no hash of what can be overheard."""
        client, server = establishedPair()
        assert client.session is not None and server.session is not None
        self.assertEqual(client.session.sessionId, server.session.sessionId)
        self.assertEqual(len(client.session.sessionId), 16)
        self.assertNotEqual(client.session.sessionId, hashlib.sha256().digest()[:16])

    def test_events(self) -> None:
        """Each side tells of the peer's proof, then of the session, once; then of its keys."""
        told = pump(*makePair())
        for events, more in (told.client, [KeysAnnounced]), (told.server, []):
            kinds = [type(event) for event in events]
            self.assertEqual(kinds, [PeerProved, HandshakeCompleted, *more])

    def test_bytewise(self) -> None:
        """Octets that come one by one make the same session."""
        client, server = makePair()
        pump(client, server, chunk=1)
        other, _ = establishedPair()
        assert client.session is not None and other.session is not None
        self.assertEqual(client.session.sessionId, other.session.sessionId)

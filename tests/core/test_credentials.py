"""Credentials, and what a signature proves."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, padding, rsa, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
)
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.certificates import Issued, authority, issue, privateKey
from tests.core.test_handshake import AlteredClient, AlteredServer, converse
from tests.helpers import (
    CLIENT_CREDENTIAL,
    SERVER_CREDENTIAL,
    Ed25519Credential,
    clientSettings,
    ending,
    establishedPair,
    makeHandshakes,
    makePair,
    only,
    pump,
    serverSettings,
)
from thing.core.capacity import Capacity
from thing.core.credentials import (
    MAX_CHAIN,
    Anonymous,
    SignatureScheme,
    joinChain,
    readCredential,
    readSshCertificate,
    schemeOf,
    splitChain,
    verifyCredential,
)
from thing.errors import ErrorCode, RemoteProtocolError
from thing.events import KeysAnnounced
from thing.identity import CredentialKind, Identity
from thing.trust.certificates import CertificateChain
from thing.trust.keys import IdentityKey
from thing.trust.sshcertificates import CertifiedKey

SORTS = {
    "ed25519": SignatureScheme.ED25519,
    "p256": SignatureScheme.ECDSA_P256,
    "rsa2048": SignatureScheme.RSA_PSS,
}
"""The sorts of key that a certificate may have, and how they sign."""

EVERY_KIND = (CredentialKind.ED25519, CredentialKind.X509, CredentialKind.SSH_CERTIFICATE)


@functools.cache
def chainOf(sort: str, owner: str = "kettle") -> CertificateChain:
    """A credential of kind X509; for one sort and owner, always the same."""
    root = authority("root")
    leaf = issue(owner, root, key=privateKey(sort, owner))
    return CertificateChain([leaf.certificate, root.certificate], leaf.key)


def sshCertificate(publicKey: Ed25519PublicKey) -> bytes:
    """The blob of a certificate that an authority signed."""
    signed = (
        SSHCertificateBuilder()
        .public_key(publicKey)
        .serial(1)
        .type(SSHCertificateType.USER)
        .key_id(b"kettle")
        .valid_principals([b"kettle"])
        .valid_after(0)
        .valid_before(2**64 - 1)
        .sign(privateKey("ed25519", "an authority"))
    )
    return base64.b64decode(signed.public_bytes().split(b" ")[1])


@functools.cache
def certifiedKey(word: str = "kettle") -> CertifiedKey:
    """A credential of kind SSH_CERTIFICATE; for one word, always the same."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(word.encode()).digest())
    return CertifiedKey(IdentityKey(private), sshCertificate(private.public_key()))


def foreign(publicKey: Any) -> Issued:
    """A certificate of a key that the tests, or nobody, could sign with."""
    return issue("x", authority(), key=SimpleNamespace(public_key=lambda: publicKey))


# Ed25519's points of small order. One signature of theirs may verify for any content.
SMALL_ORDER = [
    bytes.fromhex(octets)
    for octets in (
        "01" + "00" * 31,
        "ec" + "ff" * 30 + "7f",
        "00" * 32,
        "00" * 31 + "80",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
]


class VerifyTests(TestCase):
    """Checking a peer's credential and signature."""

    content = b"what is signed"

    def assertRefused(
        self, code: ErrorCode, kind: int, data: bytes, scheme: int, signature: bytes
    ) -> None:
        error = self.assertRaises(
            RemoteProtocolError, verifyCredential, kind, data, scheme, signature, self.content
        )
        self.assertIs(error.code, code)

    def test_ed25519(self) -> None:
        """A good signature proves the key; it gives no name."""
        self.assertEqual(
            verifyCredential(
                1,
                SERVER_CREDENTIAL.data,
                0x0807,
                SERVER_CREDENTIAL.sign(self.content),
                self.content,
            ),
            Identity(CredentialKind.ED25519, SERVER_CREDENTIAL.data, None),
        )

    def test_anonymous(self) -> None:
        """No credential proves nobody."""
        nobody = Anonymous()
        identity = verifyCredential(
            nobody.kind, nobody.data, nobody.scheme, nobody.sign(self.content), self.content
        )
        self.assertTrue(identity.anonymous)

    def test_anonymousWithData(self) -> None:
        """No credential comes without data, signature and scheme."""
        for data, scheme, signature in ((b"x", 0, b""), (b"", 0, b"x"), (b"", 0x0807, b"")):
            self.assertRefused(ErrorCode.BAD_CREDENTIAL, 0, data, scheme, signature)

    def test_wrongKey(self) -> None:
        """Another key's signature proves nothing."""
        self.assertRefused(
            ErrorCode.BAD_SIGNATURE,
            1,
            SERVER_CREDENTIAL.data,
            0x0807,
            CLIENT_CREDENTIAL.sign(self.content),
        )

    def test_otherContent(self) -> None:
        """A signature of something else proves nothing."""
        self.assertRefused(
            ErrorCode.BAD_SIGNATURE,
            1,
            SERVER_CREDENTIAL.data,
            0x0807,
            SERVER_CREDENTIAL.sign(b"something else"),
        )

    def test_signatureLengths(self) -> None:
        """A signature cut short, empty or too long proves nothing."""
        good = SERVER_CREDENTIAL.sign(self.content)
        for bad in (b"", good[:-1], good + b"\0", bytes(64), bytes(65535)):
            self.assertRefused(ErrorCode.BAD_SIGNATURE, 1, SERVER_CREDENTIAL.data, 0x0807, bad)

    def test_keyLengths(self) -> None:
        """A key of another length is no key."""
        signature = SERVER_CREDENTIAL.sign(self.content)
        for bad in (b"", SERVER_CREDENTIAL.data[:-1], SERVER_CREDENTIAL.data + b"\0"):
            self.assertRefused(ErrorCode.BAD_CREDENTIAL, 1, bad, 0x0807, signature)

    def test_unknownKindOrScheme(self) -> None:
        """Kinds and schemes that are not known prove nothing."""
        signature = SERVER_CREDENTIAL.sign(self.content)
        for kind, scheme in ((2, 0x0807), (255, 0x0807), (1, 0), (1, 0x0403), (0, 0x0807)):
            self.assertRefused(
                ErrorCode.BAD_CREDENTIAL, kind, SERVER_CREDENTIAL.data, scheme, signature
            )

    def test_keyThatAnybodyHas(self) -> None:
        """
        A key of small order is refused: its signatures can be made by anybody, for any content.

        Otherwise a signature would not prove who made it, nor bind the
        transcript.
        """
        for key in SMALL_ORDER:
            for nonce in SMALL_ORDER:
                error = self.assertRaises(
                    RemoteProtocolError,
                    verifyCredential,
                    1,
                    key,
                    0x0807,
                    nonce + bytes(32),
                    self.content,
                )
                self.assertIn(error.code, (ErrorCode.BAD_CREDENTIAL, ErrorCode.BAD_SIGNATURE))


CONTENT = b"what is signed"


class CertificateTests(TestCase):
    """Credentials that are certificates: what the core makes of them, which is not to believe."""

    def assertRefused(self, code: ErrorCode, call: Callable[..., object], *args: object) -> None:
        self.assertIs(self.assertRaises(RemoteProtocolError, call, *args).code, code)

    def test_x509(self) -> None:
        """A signature by the leaf's key proves the chain, as it was shown."""
        for sort, scheme in SORTS.items():
            chain = chainOf(sort)
            self.assertEqual(chain.scheme, scheme)
            identity = verifyCredential(2, chain.data, scheme, chain.sign(CONTENT), CONTENT)
            self.assertEqual(identity.kind, CredentialKind.X509)
            self.assertEqual(identity.credential, chain.data)
            encoded = (
                privateKey(sort, "kettle")
                .public_key()
                .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            )
            self.assertEqual(identity.publicKey, encoded)
            self.assertIsNone(identity.name)
            self.assertEqual(identity, readCredential(2, chain.data))

    def test_sshCertificate(self) -> None:
        """A signature by the key in an OpenSSH certificate proves the certificate."""
        own = certifiedKey()
        identity = verifyCredential(4, own.data, 0x0807, own.sign(CONTENT), CONTENT)
        expected = Identity(CredentialKind.SSH_CERTIFICATE, own.publicKey, credential=own.data)
        self.assertEqual(identity, expected)
        self.assertEqual(identity, readCredential(4, own.data))

    def test_otherSignatures(self) -> None:
        """A signature by another key, or of something else, proves nothing."""
        credentials = [certifiedKey(), *map(chainOf, SORTS)]
        others = [certifiedKey("toaster"), *(chainOf(sort, "toaster") for sort in SORTS)]
        for own, other in zip(credentials, others, strict=True):
            for signature in (
                other.sign(CONTENT),
                own.sign(CONTENT + b"!"),
                own.sign(CONTENT)[:-1],
                own.sign(CONTENT) + b"\0",
                b"",
            ):
                self.assertRefused(
                    *(ErrorCode.BAD_SIGNATURE, verifyCredential),
                    *(own.kind, own.data, own.scheme, signature, CONTENT),
                )

    def test_otherSchemes(self) -> None:
        """Each key has one scheme, and is refused with any other."""
        for own in (certifiedKey(), *map(chainOf, SORTS)):
            for scheme in (0, 0x0401, 0x0403, 0x0503, 0x0804, 0x0805, 0x0807, 0x0809, 0xFFFF):
                if scheme != own.scheme:
                    self.assertRefused(
                        *(ErrorCode.BAD_CREDENTIAL, verifyCredential),
                        *(own.kind, own.data, scheme, own.sign(CONTENT), CONTENT),
                    )

    def test_otherPaddings(self) -> None:
        """An RSA signature of another padding, salt or hash proves nothing."""
        chain, key = chainOf("rsa2048"), privateKey("rsa2048", "kettle")
        mgf = padding.MGF1(hashes.SHA256())
        for signature in (
            key.sign(CONTENT, padding.PKCS1v15(), hashes.SHA256()),
            key.sign(CONTENT, padding.PSS(mgf, 20), hashes.SHA256()),
            key.sign(CONTENT, padding.PSS(mgf, padding.PSS.MAX_LENGTH), hashes.SHA256()),
            key.sign(CONTENT, padding.PSS(padding.MGF1(hashes.SHA1()), 32), hashes.SHA256()),
            key.sign(CONTENT, padding.PSS(mgf, 32), hashes.SHA512()),
        ):
            self.assertRefused(
                *(ErrorCode.BAD_SIGNATURE, verifyCredential),
                *(2, chain.data, chain.scheme, signature, CONTENT),
            )

    def test_otherEncodings(self) -> None:
        """An ECDSA signature of another form or hash proves nothing."""
        chain, key = chainOf("p256"), privateKey("p256", "kettle")
        r, s = utils.decode_dss_signature(chain.sign(CONTENT))
        for signature in (
            r.to_bytes(32, "big") + s.to_bytes(32, "big"),
            key.sign(CONTENT, ec.ECDSA(hashes.SHA384())),
            utils.encode_dss_signature(0, 0),
            utils.encode_dss_signature(r, 0),
        ):
            self.assertRefused(
                *(ErrorCode.BAD_SIGNATURE, verifyCredential),
                *(2, chain.data, chain.scheme, signature, CONTENT),
            )

    def test_otherKeys(self) -> None:
        """Keys of other kinds, curves and sizes are refused before anything is done with them."""
        numbers = rsa.RSAPublicNumbers
        keys = {
            "P-384": privateKey("p384").public_key(),
            "secp256k1": privateKey("secp256k1").public_key(),
            "Ed448": ed448.Ed448PrivateKey.generate().public_key(),
            "DSA": dsa.generate_private_key(1024).public_key(),
            "RSA of 1024 bits": numbers(65537, (1 << 1023) + 1).public_key(),
            "RSA of 2047 bits": numbers(65537, (1 << 2046) + 1).public_key(),
            "RSA of 4097 bits": numbers(65537, (1 << 4096) + 1).public_key(),
            "RSA of 8192 bits": numbers(65537, (1 << 8191) + 1).public_key(),
            "RSA with a long exponent": numbers((1 << 33) + 1, (1 << 3071) + 1).public_key(),
        }
        for name, key in keys.items():
            data = joinChain([foreign(key).der])
            for scheme in SORTS.values():
                error = self.assertRaises(
                    RemoteProtocolError, verifyCredential, 2, data, scheme, b"x" * 64, CONTENT
                )
                self.assertIs(error.code, ErrorCode.BAD_CREDENTIAL, name)
            self.assertRefused(ErrorCode.BAD_CREDENTIAL, readCredential, 2, data)

    def test_exponentOfOne(self) -> None:
        """An RSA key with which every number is its own signature is refused."""
        key = rsa.RSAPublicNumbers(3, (1 << 2047) + 1).public_key()
        leaf = foreign(key).der
        end = b"\x02\x01\x03"  # The exponent, as DER has it.
        at = leaf.index(key.public_bytes(Encoding.DER, PublicFormat.PKCS1)[-200:])
        at = leaf.index(end, at)
        for exponent in (0, 1, 2):
            changed = leaf[:at] + end[:2] + bytes((exponent,)) + leaf[at + 3 :]
            self.assertRefused(ErrorCode.BAD_CREDENTIAL, readCredential, 2, joinChain([changed]))

    def test_sizes(self) -> None:
        """RSA keys from the first size to the last are taken."""
        for bits in (2048, 3072, 4096):
            for exponent in (3, 65537, (1 << 32) + 1):
                key = rsa.RSAPublicNumbers(exponent, (1 << bits - 1) + 1).public_key()
                self.assertIs(schemeOf(key), SignatureScheme.RSA_PSS)

    def test_keyThatAnybodyHas(self) -> None:
        """A key of small order does not get better by a certificate."""
        for octets in SMALL_ORDER:
            key = Ed25519PublicKey.from_public_bytes(octets)
            for kind, data in (
                (CredentialKind.X509, joinChain([foreign(key).der])),
                (CredentialKind.SSH_CERTIFICATE, sshCertificate(key)),
            ):
                self.assertRefused(ErrorCode.BAD_CREDENTIAL, readCredential, kind, data)
                self.assertRefused(
                    *(ErrorCode.BAD_CREDENTIAL, verifyCredential),
                    *(kind, data, 0x0807, octets + bytes(32), CONTENT),
                )

    def test_otherSshKeys(self) -> None:
        """OpenSSH certificates of other keys, and OpenSSH keys without one, are refused."""
        builder = (
            SSHCertificateBuilder()
            .public_key(privateKey("p256").public_key())
            .type(SSHCertificateType.USER)
            .valid_for_all_principals()
            .valid_after(0)
            .valid_before(2**64 - 1)
        )
        signed = builder.sign(privateKey("ed25519", "an authority")).public_bytes()
        plain = (
            privateKey("ed25519").public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        )
        for line in (signed, plain):
            blob = base64.b64decode(line.split(b" ")[1])
            self.assertRefused(ErrorCode.BAD_CREDENTIAL, readSshCertificate, blob)
            self.assertRefused(ErrorCode.BAD_CREDENTIAL, readCredential, 4, blob)


class ChainTests(TestCase):
    """How certificates are put into one credential."""

    @given(st.lists(st.binary(max_size=100), min_size=1, max_size=MAX_CHAIN))
    def test_inverse(self, certificates: list[bytes]) -> None:
        """What is joined is split again."""
        self.assertEqual(splitChain(joinChain(certificates)), certificates)

    def test_layout(self) -> None:
        """Each certificate has its length before it."""
        self.assertEqual(joinChain([b"leaf", b"root"]), b"\0\x04leaf\0\x04root")

    def test_refused(self) -> None:
        """No certificate, too many, and one that is cut are refused."""
        whole = joinChain([b"leaf", b"root"])
        for data in (b"", joinChain([b"x"] * (MAX_CHAIN + 1)), whole[:-1], whole + b"\0", b"\0"):
            for read in (splitChain, lambda data: readCredential(2, data)):
                error = self.assertRaises(RemoteProtocolError, read, data)
                self.assertIs(error.code, ErrorCode.BAD_CREDENTIAL)

    def test_leafOnly(self) -> None:
        """What stands behind the leaf is not looked at here, be it a chain or not."""
        leaf = splitChain(chainOf("p256").data)[0]
        identity = readCredential(2, joinChain([leaf, b"not a certificate"]))
        self.assertEqual(identity.publicKey, readCredential(2, joinChain([leaf])).publicKey)


MUTATIONS = st.lists(
    st.tuples(st.integers(0, 1 << 16), st.sampled_from(["flip", "cut", "double", "set"])),
    min_size=1,
    max_size=4,
)


def mutate(data: bytes, mutations: list[tuple[int, str]]) -> bytes:
    """Damage octets."""
    octets = bytearray(data)
    for number, how in mutations:
        at = number % max(1, len(octets))
        if how == "flip" and octets:
            octets[at] ^= 1 << number % 8
        elif how == "set" and octets:
            octets[at] = number >> 8 & 0xFF
        elif how == "cut":
            del octets[at : at + 1 + number % 5]
        else:
            octets[at:at] = octets[at : at + 8]
    return bytes(octets)


class DamageTests(TestCase):
    """Whatever a peer shows, it is understood or refused."""

    def assertUnderstood(self, kind: int, data: bytes) -> None:
        """No other exception than a plain refusal comes out, whatever the signature."""
        for call in (
            lambda: readCredential(kind, data),
            *(
                lambda scheme=scheme: verifyCredential(kind, data, scheme, b"x" * 64, CONTENT)
                for scheme in SORTS.values()
            ),
        ):
            try:
                call()
            except RemoteProtocolError as error:
                self.assertIn(error.code, (ErrorCode.BAD_CREDENTIAL, ErrorCode.BAD_SIGNATURE))

    @given(st.sampled_from(list(SORTS)), MUTATIONS)
    def test_x509(self, sort: str, mutations: list[tuple[int, str]]) -> None:
        """A damaged leaf, in a chain that is well-formed, is understood or refused."""
        leaf, root = splitChain(chainOf(sort).data)
        self.assertUnderstood(2, joinChain([mutate(leaf, mutations), root]))

    @given(st.sampled_from(list(SORTS)), MUTATIONS)
    def test_chain(self, sort: str, mutations: list[tuple[int, str]]) -> None:
        """A damaged chain is understood or refused."""
        self.assertUnderstood(2, mutate(chainOf(sort).data, mutations))

    def test_everyOctet(self) -> None:
        """The same holds for each octet of a leaf, which has the version among them."""
        for sort in SORTS:
            leaf = splitChain(chainOf(sort).data)[0]
            for at in range(len(leaf)):
                for value in (0, leaf[at] ^ 1, leaf[at] ^ 0x80, 0xFF):
                    changed = leaf[:at] + bytes((value,)) + leaf[at + 1 :]
                    self.assertUnderstood(2, joinChain([changed]))

    @given(MUTATIONS)
    def test_sshCertificate(self, mutations: list[tuple[int, str]]) -> None:
        """A damaged OpenSSH certificate is understood or refused."""
        self.assertUnderstood(4, mutate(certifiedKey().data, mutations))

    @given(st.integers(0, 255), st.binary(max_size=200))
    def test_anyOctets(self, kind: int, data: bytes) -> None:
        """Any octets of any kind are understood or refused."""
        self.assertUnderstood(kind, data)


class SessionTests(TestCase):
    """Certificates in sessions."""

    def assertCode(self, code: ErrorCode, client: Any, server: Any) -> None:
        error = self.assertRaises(RemoteProtocolError, converse, client, server)
        self.assertIs(error.code, code)

    def test_everyKind(self) -> None:
        """Each kind of credential, on both sides, makes a session."""
        credentials = (CLIENT_CREDENTIAL, certifiedKey(), *map(chainOf, SORTS))
        for own in credentials:
            for other in credentials:
                client, server = establishedPair(
                    clientSettings(credential=own, peerKinds=EVERY_KIND),
                    serverSettings(credential=other, peerKinds=EVERY_KIND),
                )
                assert client.session is not None and server.session is not None
                self.assertEqual(client.session.peer.data, other.data)
                self.assertEqual(server.session.peer.data, own.data)
                self.assertEqual(client.session.peer.kind, other.kind)
                self.assertEqual(server.session.peer.kind, own.kind)

    def test_serverPicks(self) -> None:
        """A server with several credentials shows the one that the client prefers."""
        chain, certified = chainOf("p256"), certifiedKey()
        settings = serverSettings(otherCredentials=(chain, certified))
        for kinds, expected in (
            ((CredentialKind.ED25519,), SERVER_CREDENTIAL.data),
            ((CredentialKind.X509,), chain.data),
            ((CredentialKind.SSH_CERTIFICATE,), certified.data),
            ((CredentialKind.PRESHARED, CredentialKind.X509), chain.data),
            (EVERY_KIND[::-1], certified.data),
        ):
            client, server = makeHandshakes(clientSettings(peerKinds=kinds), settings)
            self.assertEqual(converse(client, server)[0].data, expected)

    def test_serverHasNone(self) -> None:
        """A server that has nothing which the client can judge says so."""
        for settings, kinds in (
            (serverSettings(credential=chainOf("p256")), (CredentialKind.ED25519,)),
            (serverSettings(), (CredentialKind.X509, CredentialKind.SSH_CERTIFICATE)),
        ):
            client, server = makePair(clientSettings(peerKinds=kinds), settings)
            told = pump(client, server)
            for events in (told.client, told.server):
                self.assertIs(ending(events).code, ErrorCode.NO_COMMON_CREDENTIAL)

    def test_serverKindNotOffered(self) -> None:
        """A server that shows a kind which the client did not offer is refused, rightly signed."""
        for own in (chainOf("ed25519"), certifiedKey()):
            server = AlteredServer(lambda message: message)
            server._chooseCredential = lambda chi, own=own: own
            self.assertCode(ErrorCode.BAD_CREDENTIAL, makeHandshakes()[0], server)

    def test_clientKnows(self) -> None:
        """A client does not show its certificate to a server that would not take it."""
        for own in (chainOf("p256"), certifiedKey()):
            client, server = makePair(clientSettings(credential=own))
            told = pump(client, server)
            for events in (told.client, told.server):
                self.assertIs(ending(events).code, ErrorCode.NO_COMMON_CREDENTIAL)

    def test_clientKindNotTaken(self) -> None:
        """A client that shows a kind which the server does not take is refused, rightly signed."""
        for own in (chainOf("rsa2048"), certifiedKey()):
            client = AlteredClient(lambda message: message, clientSettings(credential=own))
            server = makeHandshakes()[1]
            shi, sdh = server.receiveCHI(client.begin())
            client.receiveSHI(shi)
            client.receiveSCC(server.receiveCDH(client.receiveSDH(sdh)))
            client._acceptedKinds = EVERY_KIND
            error = self.assertRaises(RemoteProtocolError, server.receiveCCC, client.answer())
            self.assertIs(error.code, ErrorCode.BAD_CREDENTIAL)

    def test_macFirst(self) -> None:
        """A kind that is not taken is not looked at before the MAC is right."""
        client = AlteredClient(lambda message: message, clientSettings(credential=certifiedKey()))
        server = makeHandshakes()[1]
        shi, sdh = server.receiveCHI(client.begin())
        client.receiveSHI(shi)
        client.receiveSCC(server.receiveCDH(client.receiveSDH(sdh)))
        client._acceptedKinds = EVERY_KIND
        ccc = client.answer()
        forged = type(ccc)(
            *(ccc.credentialKind, ccc.credential, (), ccc.scheme, ccc.signature, bytes(32))
        )
        error = self.assertRaises(RemoteProtocolError, server.receiveCCC, forged)
        self.assertIs(error.code, ErrorCode.BAD_MAC)

    def test_nextKey(self) -> None:
        """A server announces its next certificate under the one that the client has seen."""
        for current, following in (
            (chainOf("p256"), chainOf("rsa2048")),
            (certifiedKey(), certifiedKey("toaster")),
        ):
            client, server = makePair(
                clientSettings(peerKinds=EVERY_KIND),
                serverSettings(credential=current, nextCredential=following),
            )
            (announced,) = only(KeysAnnounced, pump(client, server).client)
            self.assertEqual(announced.current.data, current.data)
            self.assertEqual(announced.following.data, following.data)

    def test_nextKeyTooLong(self) -> None:
        """A next certificate that is too long for the client is due, and not announced."""
        following = chainOf("rsa2048")
        client, server = makePair(
            clientSettings(peerKinds=EVERY_KIND, capacity=Capacity(512, 576, 128, 0)),
            serverSettings(credential=chainOf("p256"), nextCredential=following),
        )
        self.assertGreater(len(following.data), 512)
        self.assertEqual(only(KeysAnnounced, pump(client, server).client), [])
        self.assertIsNotNone(client.session)

    def test_nextKeyOfAnotherKind(self) -> None:
        """What comes next for one kind of credential is no news for who was shown another."""
        settings = serverSettings(
            otherCredentials=(chainOf("p256"),), nextCredential=Ed25519Credential("next")
        )
        for kind in (CredentialKind.ED25519, CredentialKind.X509):
            client, server = makePair(clientSettings(peerKinds=(kind,)), settings)
            (announced,) = only(KeysAnnounced, pump(client, server).client)
            self.assertEqual(announced.current.kind, kind)
            self.assertEqual(announced.following is None, kind is CredentialKind.X509)


class RegistryTests(TestCase):
    """Numbers."""

    def test_numbers(self) -> None:
        """Kinds are the specification's numbers, schemes TLS's."""
        self.assertEqual({int(kind) for kind in CredentialKind}, {0, 1, 2, 3, 4})
        self.assertEqual({int(scheme) for scheme in SignatureScheme}, {0, 0x0403, 0x0804, 0x0807})

"""Our own X.509 chain, and which peers' chains are believed."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import ssl
import subprocess
import traceback
from types import SimpleNamespace
from typing import Any
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.certificates import (
    CLIENT,
    NOW,
    SERVER,
    Issued,
    authority,
    clock,
    hashFor,
    issue,
    keyUsage,
    moment,
    named,
    privateKey,
    proved,
    revocations,
)
from tests.helpers import clientSettings, makePair, only, pump, serverSettings
from tests.trust.test_keys import DirectoryMixin, write
from thing.core.credentials import SignatureScheme, joinChain, splitChain, verifyCredential
from thing.errors import CredentialError, ErrorCode, NotAuthorized, RemoteProtocolError
from thing.events import PeerProved
from thing.identity import CredentialKind, Identity
from thing.trust import CertificateChain, IAuthorizer, ServerCertificates, ThingCertificates, crls
from thing.trust.keys import MAX_KEY_FILE
from thing.trust.revocation import RevokedKeys
from thing.trust.unrevoked import Unrevoked

NO_OPENSSL = None if shutil.which("openssl") else "openssl is not installed"
SORTS = ("ed25519", "p256", "rsa2048")
DNS, URI, MAIL = x509.DNSName, x509.UniformResourceIdentifier, x509.RFC822Name


def ip(text: str) -> x509.IPAddress:
    """An address or a network as a name in a certificate."""
    return x509.IPAddress(ipaddress.ip_network(text) if "/" in text else ipaddress.ip_address(text))


def unfitKeys() -> dict[str, Any]:
    """Public keys with which an authority's signature is not to be checked."""
    numbers = rsa.RSAPublicNumbers
    return {
        "Ed25519": privateKey("ed25519").public_key(),
        "secp256k1": privateKey("secp256k1").public_key(),
        "DSA": dsa.generate_private_key(1024).public_key(),
        "RSA of 2047 bits": numbers(65537, (1 << 2046) + 1).public_key(),
        "RSA of 8193 bits": numbers(65537, (1 << 8192) + 1).public_key(),
        "a long exponent": numbers((1 << 33) + 1, (1 << 3071) + 1).public_key(),
        "a huge exponent": numbers((1 << 3060) + 1, (1 << 3071) + 1).public_key(),
    }


def holding(publicKey: Any, name: str, issuer: Issued) -> Issued:
    """The certificate of an authority with a key that nobody could sign with."""
    return authority(name, issuer, key=SimpleNamespace(public_key=lambda: publicKey))


class Rooted(DirectoryMixin):
    """A test with a root in a file."""

    def setUp(self) -> None:
        super().setUp()
        self.root = authority()
        self.roots = self.store("roots", self.root.pem)

    def store(self, name: str, *content: bytes) -> str:
        """Write a file and return its path."""
        return write(self.path(name), b"".join(content))

    def things(self, **choices: Any) -> ThingCertificates:
        return ThingCertificates(
            choices.pop("roots", self.roots), **{"wallClock": clock, **choices}
        )

    def server(self, host: str = "a.example", **choices: Any) -> ServerCertificates:
        roots = choices.pop("roots", self.roots)
        return ServerCertificates(roots, host, **{"wallClock": clock, **choices})

    def leaf(self, *names: x509.GeneralName, **choices: Any) -> Issued:
        """A certificate that the root issued to ``names``, or to a.example."""
        issuer = choices.pop("issuer", self.root)
        subject = choices.pop("subject", "leaf")
        return issue(subject, issuer, names or (DNS("a.example"),), **choices)

    def assertRefused(self, reason: str, authorizer: Any, *chain: Issued) -> None:
        """The chain is refused for this reason, told in one printable line."""
        identity = proved(*chain)
        error = self.assertRaises(NotAuthorized, authorizer.authorize, identity)
        self.assertIn(reason, error.detail)
        self.assertTrue(error.detail.startswith(f"the certificate of {identity.fingerprint}"))
        self.assertTrue(error.detail.isprintable(), error.detail)
        self.assertIs(error.code, self.codeFor(error.detail))

    @staticmethod
    def codeFor(detail: str) -> ErrorCode:
        """What a peer is told: no more than that it is not authorized, unless time can mend it."""
        if re.search(": (no|the) list of revoked |: the root ", detail):
            return ErrorCode.UNDECIDED
        if "expired at" in detail or "not valid before" in detail:
            return ErrorCode.NOT_VALID_NOW
        return ErrorCode.NOT_AUTHORIZED

    def assertBothRefuse(self, reason: str, *chain: Issued) -> None:
        """The chain is refused as a thing's and as a server's."""
        self.assertRefused(reason, self.things(), *chain)
        self.assertRefused(reason, self.server(), *chain)

    def assertAdmitted(self, *chain: Issued) -> None:
        """The chain is good for a thing and for a server."""
        for authorizer in self.things(), self.server():
            identity = authorizer.authorize(proved(*chain))
            self.assertEqual(identity.name, "a.example")
            self.assertEqual(identity.credential, proved(*chain).credential)


class CertificateChainTests(Rooted, TestCase):
    """Our own certificate and its private key, in files."""

    def test_sorts(self) -> None:
        """A chain of each sort of key is loaded, and proves its key with the sort's scheme."""
        schemes = [SignatureScheme.ED25519, SignatureScheme.ECDSA_P256, SignatureScheme.RSA_PSS]
        for sort, scheme in zip(SORTS, schemes, strict=True):
            leaf = self.leaf(sort=sort)
            chain = CertificateChain.load(
                self.store("chain.pem", leaf.pem, self.root.pem), self.store("key", leaf.keyPem())
            )
            self.assertIs(chain.kind, CredentialKind.X509)
            self.assertIs(chain.scheme, scheme)
            self.assertEqual(splitChain(chain.data), [leaf.der, self.root.der])
            identity = verifyCredential(
                chain.kind, chain.data, chain.scheme, chain.sign(b"content"), b"content"
            )
            self.assertEqual(identity, proved(leaf, self.root))
            self.assertEqual(chain.publicKey, identity.publicKey)
            self.assertEqual(chain.fingerprint, identity.fingerprint)

    def test_oneFile(self) -> None:
        """The private key may stand in the certificates' file, before or after them."""
        leaf = self.leaf()
        for parts in (leaf.pem, leaf.keyPem()), (leaf.keyPem(), leaf.pem, self.root.pem):
            chain = CertificateChain.load(self.store("both.pem", *parts))
            self.assertEqual(splitChain(chain.data)[0], leaf.der)

    def test_formats(self) -> None:
        """The private key may be of the formats that openssl wrote before PKCS #8."""
        for sort in "p256", "rsa2048":
            leaf = self.leaf(sort=sort)
            key = leaf.key.private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
            )
            CertificateChain.load(self.store("both.pem", leaf.pem, key))

    def test_passphrase(self) -> None:
        """An encrypted private key needs its passphrase, and no other takes one."""
        leaf = self.leaf()
        certificate = self.store("chain.pem", leaf.pem)
        key = self.store("key", leaf.keyPem(b"correct horse"))
        CertificateChain.load(certificate, key, b"correct horse")
        for passphrase in None, b"":
            self.assertEqual(
                self.refusal(CertificateChain.load, certificate, key, passphrase),
                f"{key} is encrypted: a passphrase is needed",
            )
        self.assertEqual(
            self.refusal(CertificateChain.load, certificate, key, b"battery staple"),
            f"{key} does not decrypt: the passphrase is wrong or the file is damaged",
        )
        self.store("key", leaf.keyPem())
        self.assertEqual(
            self.refusal(CertificateChain.load, certificate, key, b"correct horse"),
            f"{key} is not encrypted, but a passphrase was given",
        )
        CertificateChain.load(certificate, key, b"")

    def test_tooOpen(self) -> None:
        """A file with a private key that others may read is refused; one without may be public."""
        leaf = self.leaf()
        certificate = write(self.path("chain.pem"), leaf.pem, 0o644)
        CertificateChain.load(certificate, self.store("key", leaf.keyPem()))
        key = write(self.path("key"), leaf.keyPem(), 0o640)
        self.assertIn("too open", self.refusal(CertificateChain.load, certificate, key))
        both = write(self.path("both"), leaf.pem + leaf.keyPem(), 0o644)
        self.assertIn("too open", self.refusal(CertificateChain.load, both))

    def test_otherKey(self) -> None:
        """A private key that is not the leaf's is refused."""
        other = issue("other", key=privateKey("p256", "other"))
        path = self.store("both.pem", self.leaf().pem, other.keyPem())
        self.assertEqual(
            self.refusal(CertificateChain.load, path),
            f"{path}: the private key is not that of the first certificate",
        )

    def test_order(self) -> None:
        """Certificates in a wrong order, or with one missing between, are refused."""
        middle = authority("middle", self.root)
        leaf = self.leaf(issuer=middle)
        for chain in (leaf, self.root, middle), (leaf, self.root), (middle, leaf):
            path = self.store("both.pem", *(each.pem for each in chain), leaf.keyPem())
            self.assertIn("out of order", self.refusal(CertificateChain.load, path))

    def test_notSigned(self) -> None:
        """An issuer that has the right name, but did not sign, is refused."""
        impostor = authority(key=privateKey("p256", "impostor"))
        leaf = self.leaf()
        path = self.store("both.pem", leaf.pem, impostor.pem, leaf.keyPem())
        self.assertEqual(
            self.refusal(CertificateChain.load, path),
            f"{path}: certificate 1 is not signed by the next, though it is so named",
        )

    def test_signedWithEd25519(self) -> None:
        """A certificate that no peer could verify is refused at once."""
        leaf = self.leaf(issuer=authority(sort="ed25519"))
        path = self.store("both.pem", leaf.pem, leaf.keyPem())
        self.assertIn(
            "certificate 1 is signed with Ed25519", self.refusal(CertificateChain.load, path)
        )

    def test_unfitAuthority(self) -> None:
        """A chain that peers would refuse for an authority's key is refused at once."""
        middle = holding(unfitKeys()["a huge exponent"], "middle", self.root)
        leaf = self.leaf(issuer=authority("middle", self.root))
        path = self.store("both.pem", leaf.pem, middle.pem, leaf.keyPem())
        self.assertIn(
            "certificate 2, CN=middle: an authority's key is",
            self.refusal(CertificateChain.load, path),
        )

    def test_unsuitableKeys(self) -> None:
        """Keys that the protocol has no scheme for are refused."""
        for sort in "rsa1024", "p384", "secp256k1":
            leaf = self.leaf(sort=sort)
            path = self.store("both.pem", leaf.pem, leaf.keyPem())
            self.assertIn(
                "not Ed25519, P-256 or RSA of 2048 to 4096 bits",
                self.refusal(CertificateChain.load, path),
            )

    def test_tooLong(self) -> None:
        """A chain that does not fit a handshake, in octets or in number, is refused."""
        names = [DNS(f"{number:060}.example") for number in range(100)]
        leaf = self.leaf(*names)
        path = self.store("both.pem", leaf.pem, leaf.keyPem())
        self.assertIn("at most 6000 fit", self.refusal(CertificateChain.load, path))
        chain = [self.root]
        for number in range(8):
            chain.insert(0, authority(f"authority {number}", chain[0]))
        path = self.store("both.pem", *(each.pem for each in chain), chain[0].keyPem())
        self.assertIn("9 certificates", self.refusal(CertificateChain.load, path))

    def test_files(self) -> None:
        """Files that are missing, empty, damaged, too long or hold something else are refused."""
        leaf = self.leaf()
        good, goodKey = self.store("good", leaf.pem), self.store("goodKey", leaf.keyPem())
        openssh = leaf.key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        cut = leaf.keyPem().splitlines(keepends=True)
        for content, reason in (
            (b"", "holds no private key"),
            (b"\xff\0", "holds no private key"),
            (leaf.pem, "holds no private key"),
            (openssh, "OpenSSH's format"),
            (b"".join([cut[0], *cut[2:]]), "is damaged"),
            (bytes(MAX_KEY_FILE + 1), "longer than"),
        ):
            bad = self.store("bad", content)
            message = self.refusal(CertificateChain.load, good, bad)
            self.assertIn(bad, message)
            self.assertIn(reason, message)
        for content in b"", b"\xff\0", leaf.keyPem(), leaf.pem[:200], leaf.pem.replace(b"M", b"Q"):
            bad = self.store("bad", content)
            self.assertIn(bad, self.refusal(CertificateChain.load, bad, goodKey))
        self.assertIn("No such", self.refusal(CertificateChain.load, self.path("no"), goodKey))
        self.assertIn("No such", self.refusal(CertificateChain.load, good, self.path("no")))

    def test_secrets(self) -> None:
        """Neither the private key nor the passphrase is in an error, its traceback or a repr."""
        leaf = self.leaf()
        certificate = self.store("chain.pem", leaf.pem)
        lines = leaf.keyPem(b"correct horse").splitlines()
        path = self.store("key", b"\n".join([*lines[:2], b"AAAA" + lines[2], *lines[3:]]))
        error = self.assertRaises(
            CredentialError, CertificateChain.load, certificate, path, b"correct horse"
        )
        self.assertIsNone(error.__context__)
        told = "".join(traceback.format_exception(error))
        self.assertNotIn("correct horse", told)
        self.assertNotIn(lines[2].decode(), told)
        chain = CertificateChain([leaf.certificate], leaf.key)
        self.assertEqual(repr(chain), f"<CertificateChain CN=leaf {chain.fingerprint}>")

    def test_expired(self) -> None:
        """A chain that is expired by our own clock is loaded: it is the peer who judges."""
        middle = authority("middle", self.root, ends=-20)
        leaf = self.leaf(issuer=middle, ends=-10)
        chain = CertificateChain([leaf.certificate, middle.certificate], leaf.key)
        self.assertEqual(chain.expires, NOW - 20)

    def test_handshake(self) -> None:
        """Each sort of chain proves each side to the other in a handshake."""
        for sort in SORTS:
            leaf = self.leaf(sort=sort)
            chain = CertificateChain([leaf.certificate], leaf.key)
            choices: dict[str, Any] = {"credential": chain, "peerKinds": (CredentialKind.X509,)}
            told = pump(*makePair(clientSettings(**choices), serverSettings(**choices)))
            for events, authorizer in (
                (told.server, self.things()),
                (told.client, self.server()),
            ):
                (event,) = only(PeerProved, events)
                self.assertEqual(event.identity, proved(leaf))
                self.assertEqual(authorizer.authorize(event.identity).name, "a.example")


class PathTests(Rooted, TestCase):
    """Which paths from a leaf to a root are believed, for things and servers alike."""

    def test_interfaces(self) -> None:
        """Both are authorizers."""
        verifyObject(IAuthorizer, self.things())
        verifyObject(IAuthorizer, self.server())

    def test_sorts(self) -> None:
        """A leaf with each sort of key, of roots with each sort that may sign, is admitted."""
        for rootSort in "p256", "p384", "rsa2048":
            self.root = authority(sort=rootSort)
            self.store("roots", self.root.pem)
            for sort in SORTS:
                self.assertAdmitted(self.leaf(sort=sort))

    def test_intermediates(self) -> None:
        """A chain through intermediates is admitted, with the root at its end or without."""
        middle = authority("middle", self.root)
        lower = authority("lower", middle, sort="rsa2048")
        leaf = self.leaf(issuer=lower)
        self.assertAdmitted(leaf, lower, middle)
        self.assertAdmitted(leaf, lower, middle, self.root)

    def test_longest(self) -> None:
        """A chain of as many certificates as there may be is admitted."""
        chain = [self.root]
        for number in range(6):
            chain.insert(0, authority(f"authority {number}", chain[0]))
        self.assertAdmitted(self.leaf(issuer=chain[0]), *chain)
        self.assertAdmitted(self.leaf(issuer=chain[0]), *chain[:-1])

    def test_expired(self) -> None:
        """A certificate whose time is over is refused, the leaf's and any other, root included."""
        self.assertBothRefuse(
            "certificate 1 expired at 2030-03-17T17:46:39Z, and now is 2030-03-17T17:46:40Z",
            self.leaf(ends=-1),
        )
        self.assertAdmitted(self.leaf(ends=0))
        middle = authority("middle", self.root, ends=-1)
        self.assertBothRefuse("certificate 2 expired at", self.leaf(issuer=middle), middle)
        self.root = authority(ends=-1)
        self.store("roots", self.root.pem)
        self.assertBothRefuse(f"the root CN=root in {self.roots} is not valid now, ", self.leaf())

    def test_rootOfTwoExpired(self) -> None:
        """Of two roots of one name it is the one that has signed whose time counts."""
        old = authority(key=privateKey("p256", "old"), ends=-1)
        new = authority(key=privateKey("p256", "new"))
        self.store("roots", old.pem + new.pem)
        things = self.things()
        for leaf, code in (
            (self.leaf(issuer=old), ErrorCode.UNDECIDED),
            (self.leaf(issuer=authority(key=privateKey("p256", "a third"))), None),
        ):
            error = self.assertRaises(NotAuthorized, things.authorize, proved(leaf))
            self.assertIs(error.code, code or ErrorCode.NOT_AUTHORIZED)
        self.assertEqual(things.authorize(proved(self.leaf(issuer=new))).name, "a.example")

    def test_revokedRoot(self) -> None:
        """The key of an authority that is revoked binds, whether or not it is in the chain."""
        middle = authority("middle", self.root)
        for revoked in (self.root, middle):
            line = revoked.key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
            judge = Unrevoked(self.things(), RevokedKeys(self.store("revoked", line + b"\n")))
            for chain in (
                (self.leaf(issuer=middle), middle),
                (self.leaf(issuer=middle), middle, self.root),
            ):
                error = self.assertRaises(NotAuthorized, judge.authorize, proved(*chain))
                self.assertIn("is revoked by", str(error))

    def test_notYetValid(self) -> None:
        """A certificate whose time has not come is refused, with the time by our clock."""
        self.assertBothRefuse(
            "certificate 1 is not valid before 2030-03-17T17:46:41Z, "
            "and now is 2030-03-17T17:46:40Z",
            self.leaf(begins=1),
        )
        self.assertAdmitted(self.leaf(begins=0))

    def test_clock(self) -> None:
        """It is the given clock that counts, and each time it is asked anew."""
        times = [NOW, NOW + 7200]
        things = self.things(wallClock=lambda: times.pop(0))
        things.authorize(proved(self.leaf()))
        self.assertRefused("expired", things, self.leaf())
        self.assertRefused("2001-09-09", self.things(wallClock=lambda: 1e9), self.leaf())

    def test_otherRoot(self) -> None:
        """A chain of a root that is not ours is refused, with the issuer's name."""
        other = authority("other")
        reason = (
            "the chain ends with the issuer CN=other, which is not among the roots "
            f"in {self.roots}; or an intermediate certificate is missing"
        )
        self.assertBothRefuse(reason, self.leaf(issuer=other))
        self.assertBothRefuse(reason, self.leaf(issuer=other), other)

    def test_impostor(self) -> None:
        """A root that has but the name of ours is refused, shown or not."""
        impostor = authority(key=privateKey("p256", "impostor"))
        leaf = self.leaf(issuer=impostor)
        self.assertBothRefuse("is not verified", leaf)
        self.assertBothRefuse("is not verified", leaf, impostor)

    def test_unfitKeys(self) -> None:
        """
        No signature is checked with an authority's key that a peer shows and that is unfit.

        With an exponent as long as the modulus a check takes 200 times as long, and a peer
        that nobody has authorized sends seven such keys.
        """
        above = authority("above", self.root)
        for sort, key in unfitKeys().items():
            middle, top = holding(key, "middle", above), holding(key, "above", self.root)
            leaf = self.leaf(issuer=authority("middle", above))
            with mock.patch("thing.trust.authorities.PolicyBuilder") as verifier:
                self.assertBothRefuse(
                    "certificate 2, CN=middle: an authority's key is", leaf, middle, above
                )
                self.assertBothRefuse(
                    "certificate 3, CN=above: an authority's key is",
                    *(leaf, authority("middle", above), top),
                )
            self.assertFalse(verifier.called, sort)

    def test_fitKeys(self) -> None:
        """Authorities with RSA keys of the largest size and exponent that are fit are judged."""
        numbers = rsa.RSAPublicNumbers
        for bits, exponent in (8192, 65537), (2048, (1 << 33) - 1):
            key = numbers(exponent, (1 << bits - 1) + 1).public_key()
            middle = holding(key, "middle", self.root)
            leaf = self.leaf(issuer=authority("middle", self.root))
            self.assertBothRefuse("is not verified", leaf, middle)

    def test_missingIntermediate(self) -> None:
        """A leaf without the intermediate that issued it is refused, with that one's name."""
        middle = authority("middle", self.root)
        self.assertBothRefuse("ends with the issuer CN=middle", self.leaf(issuer=middle))

    def test_selfSigned(self) -> None:
        """A leaf that signed itself is refused."""
        leaf = issue("leaf", None, [DNS("a.example")])
        self.assertBothRefuse("ends with the issuer CN=leaf", leaf)

    def test_order(self) -> None:
        """A chain in another order than from the leaf up is refused."""
        middle = authority("middle", self.root)
        leaf = self.leaf(issuer=middle)
        reason = "out of order: certificate 1 is issued by CN=middle, but the next is that of CN="
        self.assertBothRefuse(reason + "root", leaf, self.root, middle)
        self.assertBothRefuse(
            "out of order: certificate 1 is issued by CN=root, but the next is that of CN=leaf",
            middle,
            leaf,
        )

    def test_oneName(self) -> None:
        """
        A chain with two authorities of one name is refused before any path is tried.

        Of such a chain the paths that a verifier may try grow with a power of its length.
        """
        key = privateKey("p256", "loop")
        issuers = {name: issue(name, None, key=key, ca=True) for name in ("a", "b")}
        for subjects in "aaaaaaa", "bababab":
            # Each is signed by the one key, so that each could have issued each of its name.
            loop = [
                issue(name, issuers[above], key=key, ca=True)
                for name, above in zip(subjects, subjects[1:] + "a", strict=True)
            ]
            leaf = self.leaf(issuer=loop[0])
            self.assertBothRefuse("two authorities of one name", leaf, *loop)

    def test_notAuthority(self) -> None:
        """A chain through a certificate that is not an authority's is refused."""
        for choices in (
            {"usage": keyUsage("digital_signature")},
            {"usage": keyUsage("key_cert_sign")},
            {"ca": True, "usage": keyUsage("digital_signature")},
            {"ca": True, "usage": keyUsage("crl_sign")},
        ):
            middle = issue("middle", self.root, [DNS("b.example")], **choices)
            self.assertBothRefuse("is not verified", self.leaf(issuer=middle), middle)

    def test_authorityAsLeaf(self) -> None:
        """An authority's own certificate is nobody's."""
        leaf = self.leaf(ca=True)
        self.assertBothRefuse("cA must not be asserted", leaf)

    def test_pathLength(self) -> None:
        """An authority that may have none below it can have none."""
        middle = authority("middle", self.root, pathLength=0)
        lower = authority("lower", middle)
        self.assertAdmitted(self.leaf(issuer=middle), middle)
        self.assertBothRefuse("is not verified", self.leaf(issuer=lower), lower, middle)

    def test_nameConstraints(self) -> None:
        """An authority that is for some names only can certify no others."""
        for constraints in (
            x509.NameConstraints([DNS("b.example")], None),
            x509.NameConstraints(None, [DNS("example")]),
        ):
            middle = authority("middle", self.root, extensions=[(constraints, True)])
            leaf = self.leaf(issuer=middle)
            self.assertBothRefuse("name constraint", leaf, middle)
        constraints = x509.NameConstraints([DNS("a.example")], None)
        middle = authority("middle", self.root, extensions=[(constraints, True)])
        self.assertAdmitted(self.leaf(issuer=middle), middle)
        self.assertRefused(
            "name constraint", self.things(), self.leaf(DNS("c.example"), issuer=middle), middle
        )

    def test_use(self) -> None:
        """A server's certificate is not a thing's, nor the other way; one for no use is both's."""
        server, thing = self.leaf(use=SERVER), self.leaf(use=CLIENT)
        self.assertEqual(self.server().authorize(proved(server)).name, "a.example")
        self.assertEqual(self.things().authorize(proved(thing)).name, "a.example")
        self.assertRefused("required EKU not found", self.things(), server)
        self.assertRefused("required EKU not found", self.server(), thing)
        self.assertAdmitted(self.leaf())

    def test_keyUsage(self) -> None:
        """A key that may not sign is refused, though it has signed the handshake."""
        self.assertAdmitted(self.leaf(usage=keyUsage("digital_signature")))
        self.assertBothRefuse(
            "its key usage does not permit signatures", self.leaf(usage=keyUsage("key_agreement"))
        )

    def test_unknownExtension(self) -> None:
        """A critical extension that is not understood is refused; any other means nothing."""
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
        self.assertBothRefuse("is not verified", self.leaf(extensions=[(unknown, True)]))
        self.assertAdmitted(self.leaf(extensions=[(unknown, False)]))

    def test_noNames(self) -> None:
        """A certificate without alternative names is refused: a common name is no name."""
        leaf = issue("a.example", self.root)
        self.assertBothRefuse("it has no alternative name (subjectAltName)", leaf)

    def test_signedWithEd25519(self) -> None:
        """A certificate that an Ed25519 key signed is refused: the verifier knows none."""
        middle = authority("middle", self.root, sort="ed25519")
        self.assertBothRefuse(
            "certificate 1 is signed with Ed25519", self.leaf(issuer=middle), middle
        )

    def test_otherKind(self) -> None:
        """A peer that proved something else, or nothing, is refused."""
        for authorizer in self.things(), self.server():
            for kind in set(CredentialKind) - {CredentialKind.X509}:
                identity = Identity(kind, b"x" * 32, credential=proved(self.leaf()).credential)
                error = self.assertRaises(NotAuthorized, authorizer.authorize, identity)
                self.assertEqual(error.detail, f"no X.509 certificate was proved, but {kind.name}")

    def test_plainLog(self) -> None:
        """What a stranger wrote into a certificate cannot forge the log, nor flood it."""
        for name in "a\n2030-01-01 admitted", "a\x1b[2J", "a\u202eb", "x" * 64:
            leaf = issue(name, None, [DNS("*\x7f\n.example")] * 20)
            self.assertBothRefuse("ends with the issuer", leaf)
            error = self.assertRaises(NotAuthorized, self.things().authorize, proved(leaf))
            self.assertLess(len(error.detail), 1000)
        leaf = self.leaf(*[DNS("*" + "x" * 500)] * 10)
        for authorizer in self.things(), self.server():
            error = self.assertRaises(NotAuthorized, authorizer.authorize, proved(leaf))
            self.assertLess(len(error.detail), 500)

    def test_severalRoots(self) -> None:
        """Each of the roots in a file is believed, and two may have one name."""
        second = authority(key=privateKey("p256", "second"))
        third = authority("third", sort="rsa2048")
        self.store("roots", self.root.pem, second.pem, b"a comment\n", third.pem)
        for root in self.root, second, third:
            self.assertAdmitted(self.leaf(issuer=root))

    def test_reload(self) -> None:
        """After reload, the new roots count, and they alone."""
        second = authority("second")
        things, server = self.things(), self.server()
        self.store("roots", second.pem)
        things.authorize(proved(self.leaf()))
        for authorizer in things, server:
            authorizer.reload()
            authorizer.authorize(proved(self.leaf(issuer=second)))
            self.assertRefused("ends with the issuer CN=root", authorizer, self.leaf())

    def test_reloadKeepsOld(self) -> None:
        """A reload that fails changes nothing, and says why."""
        things = self.things()
        self.store("roots", b"nonsense")
        self.assertIn("is damaged", self.refusal(things.reload))
        os.remove(self.roots)
        self.assertIn("No such file", self.refusal(things.reload))
        self.assertEqual(things.authorize(proved(self.leaf())).name, "a.example")


class RootsTests(Rooted, TestCase):
    """Files of roots, good and bad."""

    def refusalOf(self, *content: bytes) -> str:
        """Why a file of roots with this content is refused."""
        path = self.store("bad", *content)
        message = self.refusal(ThingCertificates, path)
        self.assertIn(path, message)
        return message

    def test_files(self) -> None:
        """A file that is missing, empty, damaged or without a certificate is an error."""
        for content in b"", b"\xff\0", b"hello", self.root.keyPem(), self.root.pem[:200]:
            self.assertIn("is damaged, or holds no certificate in PEM", self.refusalOf(content))
        damaged = self.root.pem.replace(b"MII", b"MIA", 1)
        self.assertIn("is damaged", self.refusalOf(self.root.pem, damaged))
        self.assertIn("No such file", self.refusal(ThingCertificates, self.path("missing")))
        with open(self.path("long"), "wb") as file:
            file.truncate(16 * 1024 * 1024 + 1)
        self.assertIn("longer than", self.refusal(ThingCertificates, self.path("long")))

    def test_notAuthority(self) -> None:
        """A certificate that is not an authority's is no root."""
        reason = "certificate 2, CN=leaf, is not an authority's"
        for choices in (
            {},
            {"usage": keyUsage("key_cert_sign")},
            {"ca": True, "usage": keyUsage("digital_signature")},
        ):
            self.assertIn(reason, self.refusalOf(self.root.pem, issue("leaf", **choices).pem))

    def test_noKeyUsage(self) -> None:
        """An authority's certificate must say that it is, in words that its holder can look up."""
        self.assertEqual(
            self.refusalOf(_withoutKeyUsage().pem),
            f"{self.path('bad')}: certificate 1, CN=root, is not an authority's: "
            "it needs basicConstraints CA:TRUE and keyUsage keyCertSign",
        )

    def test_keys(self) -> None:
        """A root with a key that makes no check, or a long one, is refused before it is needed."""
        for key in unfitKeys().values():
            self.assertIn(
                "certificate 1, CN=unfit: an authority's key is RSA of 2048 to 8192 bits "
                "with a public exponent below 2^33, or ECDSA on P-256, P-384 or P-521",
                self.refusalOf(holding(key, "unfit", self.root).pem),
            )

    def test_keysOfThePlatform(self) -> None:
        """Of the platform's roots those with such keys are left out, and the rest believed."""
        unfit = holding(unfitKeys()["a huge exponent"], "unfit", self.root)
        ders = [unfit.der, self.root.der]
        context = SimpleNamespace(get_ca_certs=lambda binary_form: ders)
        self.patch(ssl, "create_default_context", lambda: context)
        server = self.server(roots=None)
        self.assertEqual(server.authorize(proved(self.leaf())).name, "a.example")
        self.assertRefused(
            "not among the roots", server, self.leaf(issuer=authority("unfit", self.root))
        )

    def test_platform(self) -> None:
        """Without a file a client believes the platform's roots, or says that there are none."""
        places = {"SSL_CERT_FILE": self.roots, "SSL_CERT_DIR": self.directory}
        patch = mock.patch.dict(os.environ, places)
        patch.start()
        self.addCleanup(patch.stop)
        server = self.server(roots=None)
        self.assertEqual(server.authorize(proved(self.leaf())).name, "a.example")
        self.assertRefused(
            "not among the roots of the platform", server, self.leaf(issuer=authority("other"))
        )
        os.environ["SSL_CERT_FILE"] = self.store("none", b"")
        self.assertEqual(
            self.refusal(server.reload), "the platform has no roots: give a file of them"
        )


def _withoutKeyUsage() -> Issued:
    """An authority's certificate as careless tools make it."""
    key = privateKey("p256", "root")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(named("root"))
        .issuer_name(named("root"))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(moment(-1))
        .not_valid_after(moment(1))
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(key, hashFor(key))
    )
    return Issued(certificate, key)


class HostTests(Rooted, TestCase):
    """Which servers a certificate is for."""

    def test_names(self) -> None:
        """A certificate is for each of its hosts, whatever the case, and for no other."""
        leaf = self.leaf(DNS("a.example"), DNS("B.example"), ip("192.0.2.1"), ip("2001:db8::1"))
        for host, name in (
            ("a.example", "a.example"),
            ("A.Example", "a.example"),
            ("a.example.", "a.example"),
            ("b.example", "b.example"),
            ("192.0.2.1", "192.0.2.1"),
            ("2001:DB8:0::1", "2001:db8:0::1"),
        ):
            self.assertEqual(self.server(host).authorize(proved(leaf)).name, name)
        for host in "c.example", "example", "x.a.example", "192.0.2.2", "2001:db8::2", "localhost":
            self.assertRefused(
                f"it is not for {host}, but for a.example, B.example, 192.0.2.1, 2001:db8::1",
                self.server(host),
                leaf,
            )

    def test_wildcards(self) -> None:
        """A wildcard stands for one whole label at the left, and for nothing else."""
        leaf = self.leaf(DNS("*.a.example"))
        self.assertEqual(self.server("x.a.example").authorize(proved(leaf)).name, "x.a.example")
        for host in "a.example", "y.x.a.example", "x.b.example":
            self.assertRefused("it is not for", self.server(host), leaf)
        for pattern in "*", "*.example", "x*.a.example", "x.*.example", "*.*.example":
            self.assertRefused("it is not for", self.server("x.a.example"), self.leaf(DNS(pattern)))

    def test_sortsOfName(self) -> None:
        """An address as a DNS name is for no address, nor is any other sort of name for a host."""
        for host, name in (
            ("192.0.2.1", DNS("192.0.2.1")),
            ("192.0.2.1", ip("192.0.2.0/24")),
            ("a.example", URI("https://a.example")),
            ("a.example", MAIL("a.example")),
            ("a.example", x509.DirectoryName(named("a.example"))),
        ):
            self.assertRefused(f"it is not for {host}", self.server(host), self.leaf(name))

    def test_otherNames(self) -> None:
        """Names of other sorts beside the host's do no harm, odd ones neither."""
        leaf = self.leaf(URI("urn:a:b:c"), URI("x"), MAIL("?"), DNS("a.example"))
        self.assertEqual(self.server().authorize(proved(leaf)).name, "a.example")

    def test_badHosts(self) -> None:
        """What cannot be a host is an error before there is any connection."""
        for host in (
            *("", ".", "a b", "*.example", "a..b", "-a", "a_b.example", "b\u00fc.example", "1.2.3"),
            *("[::1]", "a:1", "a/b", "a\n", "x" * 64, ".".join(["x" * 60] * 5)),
        ):
            self.assertIn("not an IP address, nor a host", self.refusal(self.server, host))
        for host in "localhost", "xn--bcher-kva.example", "1.example", "::1", "127.0.0.1":
            self.server(host)


class ThingNameTests(Rooted, TestCase):
    """By what name a thing is known."""

    def nameOf(self, *names: x509.GeneralName) -> str | None:
        return self.things().authorize(proved(self.leaf(*names))).name

    def test_order(self) -> None:
        """A thing has its first DNS name, else its first URI, mail address or IP address."""
        names = [
            ip("192.0.2.1"),
            MAIL("pump@plant.example"),
            URI("urn:dev:mac:0024befffe804ff1"),
            URI("urn:other"),
            DNS("Pump-7.plant.example"),
            DNS("other.example"),
        ]
        self.assertEqual(self.nameOf(*names), "pump-7.plant.example")
        self.assertEqual(self.nameOf(*names[:4]), "urn:dev:mac:0024befffe804ff1")
        self.assertEqual(self.nameOf(*names[:2]), "pump@plant.example")
        self.assertEqual(self.nameOf(*names[:1]), "192.0.2.1")
        self.assertEqual(self.nameOf(ip("2001:db8::1")), "2001:db8::1")

    def test_unfit(self) -> None:
        """A name that is not what its sort says is passed over: it could be another's."""
        for unfit in (
            *(
                DNS("*.a.example"),
                DNS("192.0.2.1"),
                DNS("::1"),
                DNS("a@b"),
                DNS("urn:x"),
                DNS("a b"),
            ),
            *(
                DNS(""),
                DNS("a..b"),
                DNS(".a"),
                URI("a.example"),
                URI("fe80::1"),
                URI(""),
                URI("a:"),
            ),
            *(
                URI("a:b c"),
                MAIL("a.example"),
                MAIL("a:b@c"),
                MAIL("@c"),
                MAIL("a b@c"),
            ),
            *(MAIL("urn:x"), ip("192.0.2.0/24"), x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))),
            *(x509.DirectoryName(named("a.example")),),
            *(x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\x01a"),),
        ):
            self.assertEqual(self.nameOf(unfit, ip("192.0.2.7")), "192.0.2.7")
            self.assertRefused(
                "none of its names can be a thing's", self.things(), self.leaf(unfit)
            )

    def test_tooLong(self) -> None:
        """A name that is longer than names are is refused."""
        self.assertRefused(
            "more than 184 octets", self.things(), self.leaf(URI("urn:" + "x" * 181))
        )
        self.assertEqual(self.nameOf(URI("urn:" + "x" * 180)), "urn:" + "x" * 180)


class RevocationTests(Rooted, TestCase):
    """Lists of revoked certificates."""

    def setUp(self) -> None:
        super().setUp()
        self.middle = authority("middle", self.root)
        self.good, self.bad = self.leaf(), self.leaf()
        self.lists = self.path("lists")

    def list(self, *content: bytes) -> str:
        return self.store("lists", *content)

    def assertJudged(self, reason: str, *chain: Issued) -> None:
        """The chain is refused as a thing's and as a server's, or admitted if for no reason."""
        for authorizer in self.things(revoked=self.lists), self.server(revoked=self.lists):
            if reason:
                self.assertRefused(reason, authorizer, *chain)
            else:
                authorizer.authorize(proved(*chain))

    def refusalOf(self, *content: bytes) -> str:
        """Why a file of lists with this content is refused, without its path."""
        path = self.list(*content)
        message = self.refusal(self.things, revoked=path)
        self.assertTrue(message.startswith(path), message)
        return message.removeprefix(path)

    def test_revoked(self) -> None:
        """A certificate that its issuer's list names is refused, and any other is admitted."""
        self.list(revocations(self.root, self.bad))
        self.assertJudged("", self.good)
        serial = self.bad.certificate.serial_number
        self.assertJudged(
            f"THE CERTIFICATE OF CN=leaf IS REVOKED: serial number {serial:x} "
            f"is in the list of CN=root in {self.lists}",
            self.bad,
        )

    def test_revokedIntermediate(self) -> None:
        """A certificate whose issuer is revoked is refused."""
        self.list(revocations(self.root, self.middle), revocations(self.middle))
        leaf = self.leaf(issuer=self.middle)
        self.assertJudged("THE CERTIFICATE OF CN=middle IS REVOKED", leaf, self.middle)
        self.assertJudged("", self.good)

    def test_otherIssuersSerial(self) -> None:
        """A serial number counts only as one of the list's issuer."""
        leaf = self.leaf(issuer=self.middle)
        self.list(revocations(self.root, leaf), revocations(self.middle, self.good))
        self.assertJudged("", leaf, self.middle)
        self.assertJudged("", self.good)

    def test_noList(self) -> None:
        """Without a list of each issuer in the path nobody is admitted."""
        leaf = self.leaf(issuer=self.middle)
        self.list(revocations(self.root))
        self.assertJudged(
            f"no list of revoked certificates of CN=middle in {self.lists}", leaf, self.middle
        )
        self.list(revocations(self.middle))
        self.assertJudged("no list of revoked certificates of CN=root", leaf, self.middle)
        self.list(revocations(self.middle), revocations(self.root))
        self.assertJudged("", leaf, self.middle)

    def test_outOfDate(self) -> None:
        """A list that is out of date, or of the future, admits nobody."""
        for times, shown in (
            ({"ends": -1}, "is for 2030-03-17T16:46:40Z to 2030-03-17T17:46:39Z, and now is "),
            ({"begins": 1}, "is for 2030-03-17T17:46:41Z to 2030-03-17T18:46:40Z, and now is "),
        ):
            self.list(revocations(self.root, **times))
            self.assertJudged(
                f"the list of revoked certificates of CN=root in {self.lists} {shown}", self.good
            )
        self.list(revocations(self.root, begins=0, ends=0.5))
        self.assertJudged("", self.good)

    def test_notYetValidList(self) -> None:
        """A list whose time has not begun is used when it has; until then the one before it."""
        self.list(revocations(self.root, self.bad))
        times = [0.0]
        things = self.things(revoked=self.lists, wallClock=lambda: NOW + times[0])
        for _ in range(3):
            self.list(revocations(self.root, self.good, begins=10, ends=3000))
            things.reload()
        lists = things.authorities.lists
        assert lists is not None
        self.assertEqual(len(lists._earlier), 1)
        things.authorize(proved(self.good))
        self.assertRefused("IS REVOKED", things, self.bad)
        trouble = (
            f"the list of revoked certificates of CN=root in {self.lists} "
            "is for 2030-03-17T17:46:50Z to 2030-03-17T18:36:40Z: it is not used yet"
        )
        self.assertEqual(lists.troubles(moment(0)), [trouble])
        self.assertEqual(lists.nextBegin(moment(0)), moment(10))
        times[0] = 10.0
        things.authorize(proved(self.bad))
        self.assertRefused("IS REVOKED", things, self.good)
        self.assertEqual(lists.troubles(moment(10)), [])
        self.assertIsNone(lists.nextBegin(moment(10)))
        times[0] = 3001.0
        self.assertRefused("and now is", things, self.bad)
        self.assertEqual(
            lists.troubles(moment(3001)), [trouble.replace("not used yet", "out of date")]
        )
        things.reload()
        self.assertEqual(things.authorities.lists._earlier, [])

    def test_inSlices(self) -> None:
        """The numbers in a long list are read in slices, and what they come to is another thing."""
        self.patch(crls, "SERIALS", 2)
        issued = [self.leaf() for _ in range(5)]
        self.list(revocations(self.root))
        things = self.things(revoked=self.lists)
        self.list(revocations(self.root, *issued))
        work = things.again()
        for _ in range(2):
            next(work)
            things.authorize(proved(issued[4]))
        again = self.assertRaises(StopIteration, next, work).value
        things.authorize(proved(issued[4]))
        for each in issued:
            self.assertRaises(NotAuthorized, again.authorize, proved(each))

    def test_revokedByOldList(self) -> None:
        """Whom a list names is refused for good, even if it is out of date."""
        self.list(revocations(self.root, self.bad, ends=-1))
        self.assertJudged("IS REVOKED", self.bad)

    def test_severalLists(self) -> None:
        """Of several lists of one issuer each counts, revocation and date."""
        self.list(revocations(self.root), revocations(self.root, self.bad))
        self.assertJudged("", self.good)
        self.assertJudged("IS REVOKED", self.bad)
        self.list(revocations(self.root), revocations(self.root, ends=-1))
        self.assertJudged("and now is", self.good)

    def test_twoIssuersOfOneName(self) -> None:
        """Of two roots of one name each has its own list."""
        second = authority(key=privateKey("p256", "second"))
        self.store("roots", self.root.pem, second.pem)
        other = self.leaf(issuer=second)
        self.list(revocations(self.root, self.bad))
        self.assertJudged("IS REVOKED", self.bad)
        self.assertJudged("no list of revoked certificates of CN=root", other)
        self.list(revocations(self.root, other), revocations(second, self.good))
        self.assertJudged("", self.good)
        self.assertJudged("", other)

    def test_forgedRootsList(self) -> None:
        """A list that is named as a root's but not signed by it is an error at once."""
        forged = revocations(self.root, key=privateKey("p256", "forger"))
        self.assertEqual(
            self.refusalOf(revocations(self.root), forged), ": list 2: it is not signed by CN=root"
        )

    def test_forgedIntermediatesList(self) -> None:
        """A list that is named as an intermediate's but not signed by it is no list of it."""
        self.list(
            revocations(self.root), revocations(self.middle, key=privateKey("p256", "forger"))
        )
        self.assertJudged(
            "no list of revoked certificates of CN=middle",
            self.leaf(issuer=self.middle),
            self.middle,
        )

    def test_mayNotSignLists(self) -> None:
        """A list of an authority whose key may not sign lists is none."""
        self.root = authority(usage=keyUsage("key_cert_sign"))
        self.store("roots", self.root.pem)
        self.assertIn("it is not signed by CN=root", self.refusalOf(revocations(self.root)))

    def test_partialLists(self) -> None:
        """A list that is but a part, or says something critical else, is an error."""
        for extension in (
            x509.DeltaCRLIndicator(1),
            x509.IssuingDistributionPoint(None, None, True, False, None, False, False),
        ):
            self.assertIn(
                f"its critical extension {extension.oid.dotted_string} is not understood",
                self.refusalOf(revocations(self.root, extensions=[(extension, True)])),
            )
        self.list(revocations(self.root, extensions=[(x509.CRLNumber(7), False)]))
        self.assertJudged("", self.good)

    def test_noNextUpdate(self) -> None:
        """A list that never gets out of date is an error, since nobody would miss the next."""
        self.assertIn(
            "it does not say when the next is due", self.refusalOf(_withoutNextUpdate(self.root))
        )

    def test_files(self) -> None:
        """A file that is missing, empty or damaged is an error, not one without revocations."""
        for content in b"", b"hello", self.root.pem:
            self.assertEqual(
                self.refusalOf(content), " holds no list of revoked certificates in PEM"
            )
        good = revocations(self.root)
        lines = good.splitlines(keepends=True)
        for damaged in b"".join(lines[:1] + lines[2:]), good.replace(b"MI", b"MA", 1):
            self.assertEqual(self.refusalOf(good, damaged), ": list 2 is damaged")
        self.assertIn("No such", self.refusal(self.things, revoked=self.path("missing")))

    def test_reload(self) -> None:
        """After reload a revoked certificate is refused, and a bad one changes nothing."""
        self.list(revocations(self.root))
        things, server = self.things(revoked=self.lists), self.server(revoked=self.lists)
        for authorizer in things, server:
            self.list(revocations(self.root, self.bad))
            authorizer.authorize(proved(self.bad))
            authorizer.reload()
            self.assertRefused("IS REVOKED", authorizer, self.bad)
            self.list(b"nonsense")
            self.assertIn("holds no list", self.refusal(authorizer.reload))
            self.assertRefused("IS REVOKED", authorizer, self.bad)
            authorizer.authorize(proved(self.good))

    def test_allOrNothing(self) -> None:
        """A reload of good roots and bad lists takes neither."""
        self.list(revocations(self.root))
        things = self.things(revoked=self.lists)
        self.store("roots", authority("second").pem)
        self.list(b"nonsense")
        self.refusal(things.reload)
        things.authorize(proved(self.good))


def _withoutNextUpdate(issuer: Issued) -> bytes:
    """A list as no library writes it, though RFC 5280's syntax lets it."""
    crl = x509.load_pem_x509_crl(revocations(issuer))
    signed = crl.tbs_certlist_bytes
    at = signed.rindex(b"\x17\x0d")
    body = signed[:at] + signed[at + 15 :]
    assert signed[1] < 0x80, "a short form of length"
    body = body[:1] + bytes([signed[1] - 15]) + body[2:]
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    signature = issuer.key.sign(body, ec.ECDSA(hashes.SHA256()))
    whole = body + algorithm + b"\x03" + bytes([len(signature) + 1]) + b"\0" + signature
    der = b"\x30\x81" + bytes([len(whole)]) + whole
    return x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)


def _signedParts(data: bytes) -> list[bytes]:
    """The part of each certificate in a chain that its issuer has signed."""
    return [x509.load_der_x509_certificate(der).tbs_certificate_bytes for der in splitChain(data)]


class HostileTests(Rooted, TestCase):
    """Chains that no honest peer shows."""

    def setUp(self) -> None:
        super().setUp()
        self.lists = self.store("lists", revocations(self.root), revocations(authority("middle")))
        self.authorizers = [self.things(revoked=self.lists), self.server(revoked=self.lists)]

    def judge(self, data: bytes) -> int:
        """How many admit this credential; the others must refuse it in a plain line."""
        admitted = 0
        for authorizer in self.authorizers:
            identity = Identity(CredentialKind.X509, b"key", credential=data)
            try:
                name = authorizer.authorize(identity).name
            except NotAuthorized as error:
                self.assertTrue(error.detail.isprintable(), error.detail)
                self.assertLess(len(error.detail), 2000)
            else:
                self.assertEqual(name, "a.example")
                admitted += 1
        try:
            verifyCredential(CredentialKind.X509, data, SignatureScheme.ECDSA_P256, b"x", b"")
        except RemoteProtocolError as error:
            self.assertIn(error.code, (ErrorCode.BAD_CREDENTIAL, ErrorCode.BAD_SIGNATURE))
        else:
            self.fail("what is no signature was believed")
        return admitted

    @given(st.binary(max_size=200))
    def test_anyBytes(self, data: bytes) -> None:
        """Any octets are refused, in the handshake or by the authorizer."""
        self.assertEqual(self.judge(data), 0)
        self.assertEqual(self.judge(joinChain([data])), 0)

    def test_noChain(self) -> None:
        """A credential that is no chain, or too long a one, is refused as such."""
        leaf = self.leaf()
        for data in b"", proved(leaf).credential[:-1], proved(*[leaf] * 9).credential:
            error = self.assertRaises(
                NotAuthorized,
                self.things().authorize,
                Identity(CredentialKind.X509, b"", credential=data),
            )
            self.assertIn("not a chain of certificates", error.detail)

    def test_everyOctetChanged(self) -> None:
        """With any one octet changed a chain is refused, unless all that is signed is the same."""
        middle = authority("middle", self.root)
        leaf = self.leaf(DNS("a.example"), issuer=middle)
        good = proved(leaf, middle).credential
        self.assertEqual(self.judge(good), 2)
        for at in range(len(good)):
            for change in 0x01, 0x80:
                changed = bytearray(good)
                changed[at] ^= change
                if self.judge(bytes(changed)):
                    self.assertEqual(_signedParts(bytes(changed)), _signedParts(good))

    def test_unknownFeature(self) -> None:
        """A known extension with a number that is not known is refused as unreadable."""
        feature = x509.UnrecognizedExtension(
            x509.ObjectIdentifier("1.3.6.1.5.5.7.1.24"), bytes.fromhex("3003020163")
        )
        self.assertBothRefuse("cannot be read", self.leaf(extensions=[(feature, False)]))

    @given(st.data())
    def test_resigned(self, data: st.DataObject) -> None:
        """Odd extensions, even in a certificate of a true authority, are judged without a fault."""
        oids = st.sampled_from(
            [f"2.5.29.{number}" for number in (14, 15, 17, 19, 30, 31, 32, 35, 37, 54)]
            + ["1.3.6.1.5.5.7.1.1", "1.3.6.1.5.5.7.1.24", "1.2.3"]
        )
        values = st.binary(max_size=12) | st.sampled_from(
            [
                *(bytes.fromhex(each) for each in ("3000", "30020500", "3003820161", "0303070080")),
                *(bytes.fromhex(each) for each in ("30038201ff", "3002a400", "300587030a0000")),
                *(bytes.fromhex(each) for each in ("30078605ff3a2f2fff", "3003810140", "30028800")),
            ]
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(""))
            .issuer_name(self.root.certificate.subject)
            .public_key(privateKey("p256").public_key())
            .serial_number(1)
            .not_valid_before(moment(-1))
            .not_valid_after(moment(1))
        )
        for oid in data.draw(st.lists(oids, max_size=4, unique=True)):
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), data.draw(values))
            builder = builder.add_extension(extension, data.draw(st.booleans()))
        leaf = Issued(builder.sign(self.root.key, hashFor(self.root.key)), None)
        self.judge(proved(leaf).credential)
        below = self.leaf(issuer=Issued(leaf.certificate, privateKey("p256")))
        self.judge(proved(below, leaf).credential)


class OpenSSLTests(Rooted, TestCase):
    """Certificates that the real openssl made."""

    skip = NO_OPENSSL

    def openssl(self, *arguments: str) -> None:
        subprocess.run(
            ["openssl", *arguments], check=True, capture_output=True, timeout=60, cwd=self.directory
        )

    def test_chain(self) -> None:
        """A certificate of an authority that openssl made is loaded, proved and admitted."""
        self.openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"),
            *("-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Plant authority"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
        self.openssl("genpkey", "-algorithm", "ed25519", "-out", "pump.key")
        self.openssl(
            *("req", "-x509", "-new", "-CA", "ca.pem", "-CAkey", "ca.key", "-key", "pump.key"),
            *("-out", "pump.pem", "-days", "1", "-subj", "/CN=pump", "-addext"),
            *("basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=DNS:pump.example"),
        )
        chain = CertificateChain.load(self.path("pump.pem"), self.path("pump.key"))
        identity = verifyCredential(chain.kind, chain.data, chain.scheme, chain.sign(b"x"), b"x")
        things = ThingCertificates(self.path("ca.pem"))
        self.assertEqual(things.authorize(identity).name, "pump.example")

"""Trust by OpenSSH certificates, made by the real ssh-keygen, and by damaged and hostile ones."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_private_key,
)
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.pairs import PairCase, freshClient, freshServer
from tests.trust.test_keys import NO_SSH_KEYGEN, DirectoryMixin, read, sshKeygen, write
from thing.core.credentials import readSshCertificate, verifyCredential
from thing.errors import CredentialError, ErrorCode, NotAuthorized, RemoteProtocolError
from thing.identity import CredentialKind, Identity
from thing.trust import (
    CertifiedKey,
    CertifiedServers,
    CertifiedThings,
    IAuthorizer,
    IdentityKey,
    RevokedKeys,
)
from thing.trust.sshcertificates import MAX_CERTIFICATE

WINDOW = ("-V", "-1h:+1h")
HOUR = 3600


def blobIn(path: str) -> bytes:
    """The key or the certificate in a public file."""
    return base64.b64decode(read(path).split()[1])


def string(data: bytes) -> bytes:
    """Octets after their length, as ssh has them."""
    return len(data).to_bytes(4, "big") + data


def identityOf(blob: bytes) -> Identity:
    """A peer that proved the key of a certificate."""
    raw = readSshCertificate(blob).public_key().public_bytes_raw()
    return Identity(CredentialKind.SSH_CERTIFICATE, raw, credential=blob)


def rsaLine(exponent: int, bits: int) -> str:
    """The line of a public key that nobody could sign with."""
    key = RSAPublicNumbers(exponent, (1 << bits - 1) + 1).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


class AuthorityMixin(DirectoryMixin):
    """A test with an authority, and with what it signs."""

    def authority(self, name: str = "ca", keyType: str = "ed25519", *options: str) -> str:
        """Make an authority's key; the path of its public file."""
        sshKeygen(
            "-q", "-t", keyType, *options, "-N", "", "-C", "the authority", "-f", self.path(name)
        )
        return self.path(f"{name}.pub")

    def certify(self, *options: str, ca: str = "ca", name: str = "key", keyId: str = "id") -> str:
        """Sign a key, which is made if it is not there; the path of the private key."""
        path = self.path(name)
        if not os.path.exists(path):
            IdentityKey.generate().save(path)
        sshKeygen("-q", "-s", self.path(ca), "-I", keyId, *options, f"{path}.pub")
        return path

    def proved(self, *options: str, **choices: str) -> Identity:
        """A peer that proved the key of a certificate that ssh-keygen signs so."""
        return identityOf(blobIn(f"{self.certify(*WINDOW, *options, **choices)}-cert.pub"))

    def built(
        self, build: Callable[[SSHCertificateBuilder], SSHCertificateBuilder] | None = None
    ) -> Identity:
        """A peer whose certificate has what ssh-keygen would not write."""
        ca = load_ssh_private_key(read(self.path("ca")), None)
        builder = (
            SSHCertificateBuilder()
            .public_key(Ed25519PrivateKey.generate().public_key())
            .type(SSHCertificateType.USER)
        )
        builder = (build or (lambda same: same))(builder)
        if builder._valid_after is None:
            builder = builder.valid_after(0).valid_before(2**64 - 1)
        if not builder._valid_principals:
            builder = builder.valid_principals([b"sensor-7"])
        return identityOf(base64.b64decode(builder.sign(ca).public_bytes().split()[1]))

    def refusalBy(self, authorizer: IAuthorizer, identity: Identity) -> str:
        """The one line that this side's log has for a refused peer, who learns just the code."""
        error = self.assertRaises(NotAuthorized, authorizer.authorize, identity)
        passing = "it expired at" in error.detail or "it is not valid before" in error.detail
        self.assertIs(error.code, ErrorCode.NOT_VALID_NOW if passing else ErrorCode.NOT_AUTHORIZED)
        self.assertTrue(error.detail.isprintable(), error.detail)
        self.assertLess(len(error.detail), 2000)
        return error.detail


class CertifiedKeyTests(AuthorityMixin, TestCase):
    """Our own certificate and its private key."""

    skip = NO_SSH_KEYGEN

    def setUp(self) -> None:
        super().setUp()
        self.authority()

    def test_loads(self) -> None:
        """A certificate is found beside its key, and a signature with it proves the key."""
        path = self.certify("-n", "sensor-7")
        key = CertifiedKey.load(path)
        self.assertIs(key.isHost, False)
        self.assertEqual(key.publicKey, IdentityKey.load(path).publicKey)
        self.assertIn(f" {key.fingerprint} ", sshKeygen("-lf", f"{path}-cert.pub"))
        identity = verifyCredential(4, key.data, key.scheme, key.sign(b"content"), b"content")
        self.assertEqual(
            identity,
            Identity(CredentialKind.SSH_CERTIFICATE, key.publicKey, credential=key.data),
        )

    def test_loadsHost(self) -> None:
        """Of a host's certificate it is known that it is one."""
        self.assertIs(CertifiedKey.load(self.certify("-h", "-n", "example.org")).isHost, True)

    def test_loadsEncrypted(self) -> None:
        """An encrypted key is loaded with its passphrase."""
        IdentityKey.generate().save(self.path("key"), b"open sesame")
        path = self.certify("-n", "sensor-7")
        self.assertIs(CertifiedKey.load(path, passphrase=b"open sesame").isHost, False)
        self.assertIn("a passphrase is needed", self.refusal(CertifiedKey.load, path))

    def test_otherPath(self) -> None:
        """A certificate may be in a file of any name."""
        path = self.certify("-n", "sensor-7")
        os.rename(f"{path}-cert.pub", self.path("certificate"))
        CertifiedKey.load(path, self.path("certificate"))
        self.assertIn("No such file", self.refusal(CertifiedKey.load, path))

    def test_otherKey(self) -> None:
        """A certificate of another key is refused, by the name of its file."""
        path = self.certify("-n", "sensor-7")
        IdentityKey.generate().save(self.path("other"))
        self.assertIn(
            f"{path}-cert.pub: the certificate is not of the key SHA256:",
            self.refusal(CertifiedKey.load, self.path("other"), f"{path}-cert.pub"),
        )

    def test_notACertificate(self) -> None:
        """A file with anything but one certificate of an Ed25519 key is refused, and not quoted."""
        path = self.certify("-n", "sensor-7")
        line = read(f"{path}-cert.pub").strip()
        sshKeygen("-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", self.path("rsa"))
        self.certify(name="rsa")
        for content in (
            b"",
            b"# nothing\n",
            line + b"\n" + line,
            read(f"{path}.pub"),
            read(self.path("rsa-cert.pub")),
            line.replace(b"AAAA", b"AAAB", 1),
            b" ".join(line.split()[:2])[:-40],
            b"secret " + line,
            read(path),
        ):
            message = self.refusal(CertifiedKey.load, path, write(self.path("bad"), content))
            self.assertTrue(message.startswith(self.path("bad")), message)
            self.assertNotIn("secret", message)

    def test_tooLong(self) -> None:
        """A certificate that would crowd a handshake's record is refused when it is loaded."""
        names = ",".join(f"a-rather-long-name-{number}" for number in range(200))
        message = self.refusal(CertifiedKey.load, self.certify("-n", names))
        self.assertIn(f"longer than {MAX_CERTIFICATE} octets", message)

    def test_noSecrets(self) -> None:
        """What is shown of the key is its fingerprint."""
        key = CertifiedKey.load(self.certify("-n", "sensor-7"))
        self.assertEqual(repr(key), f"<CertifiedKey {key.fingerprint}>")


class CertifiedThingsTests(AuthorityMixin, TestCase):
    """The authorizer with authorities for things."""

    skip = NO_SSH_KEYGEN

    def setUp(self) -> None:
        super().setUp()
        self.authority()

    def things(self, *args: object, **choices: object) -> CertifiedThings:
        return CertifiedThings(self.path("ca.pub"), *args, **choices)

    def fileOf(self, *lines: str | bytes) -> str:
        content = b"\n".join(each if isinstance(each, bytes) else each.encode() for each in lines)
        return write(self.path("authorities"), content)

    def test_admits(self) -> None:
        """A thing is admitted by its certificate, and has the name of the first principal."""
        verifyObject(IAuthorizer, self.things())
        identity = self.proved("-n", "sensor-7,other", "-z", "7")
        admitted = self.things().authorize(identity)
        self.assertEqual(admitted.name, "sensor-7")
        self.assertEqual(
            (admitted.publicKey, admitted.credential), (identity.publicKey, identity.credential)
        )

    def test_authorityTypes(self) -> None:
        """An authority's key may be Ed25519, ECDSA of any of ssh's curves, or RSA."""
        for name, keyType, options, signing in (
            ("p256", "ecdsa", ("-b", "256"), ()),
            ("p384", "ecdsa", ("-b", "384"), ()),
            ("p521", "ecdsa", ("-b", "521"), ()),
            ("rsa", "rsa", ("-b", "2048"), ()),
            ("rsa256", "rsa", ("-b", "2048"), ("-t", "rsa-sha2-256")),
        ):
            path = self.authority(name, keyType, *options)
            identity = self.proved("-n", "sensor-7", *signing, ca=name)
            self.assertEqual(CertifiedThings(path).authorize(identity).name, "sensor-7")
            self.assertIn("no authority in", self.refusalBy(self.things(), identity))

    def test_principals(self) -> None:
        """If principals are asked for, the name is the first one that is among them."""
        identity = self.proved("-n", "admin,sensor-7,Sensor-8,x[1]")
        for wanted, name in (
            (["sensor-7"], "sensor-7"),
            ({"other", "sensor-7", "admin"}, "admin"),
            (["sensor-*"], "sensor-7"),
            (["Sensor-?"], "Sensor-8"),
            (["x[1]"], "x[1]"),
            ("sensor-*", "sensor-7"),
        ):
            self.assertEqual(self.things(principals=wanted).authorize(identity).name, name)
        for wanted in (["sensor"], ["SENSOR-7"], ["x?"], "r*"):
            self.assertTrue(
                self.refusalBy(self.things(principals=wanted), identity).endswith(
                    ": none of its principals is admitted here: admin, sensor-7, Sensor-8, x[1]"
                )
            )
        self.assertIn("no principal is given", self.refusal(self.things, principals=()))

    def test_otherKinds(self) -> None:
        """A raw key and a client without any are refused: this is for certificates."""
        raw = Identity(CredentialKind.ED25519, self.proved("-n", "sensor-7").publicKey)
        self.assertEqual(
            self.refusalBy(self.things(), raw),
            "no OpenSSH certificate was proved, but ED25519",
        )
        self.assertEqual(
            self.refusalBy(self.things(), Identity(CredentialKind.NONE)),
            "no OpenSSH certificate was proved, but NONE",
        )

    def test_otherAuthority(self) -> None:
        """A certificate of another authority is refused, and nothing in it is repeated."""
        self.authority("other")
        identity = self.proved("-n", "sensor-7", ca="other", keyId="a lie")
        fingerprint = sshKeygen("-lf", self.path("other.pub")).split()[1]
        self.assertEqual(
            self.refusalBy(self.things(), identity),
            f"the certificate of {identity.fingerprint}: it is signed by {fingerprint}, "
            f"no authority in {self.path('ca.pub')}",
        )

    def test_selfSigned(self) -> None:
        """A thing that certifies its own key is refused."""
        IdentityKey.generate().save(self.path("key"))
        self.assertIn("no authority in", self.refusalBy(self.things(), self.proved(ca="key")))

    def test_forged(self) -> None:
        """A certificate that was altered after it was signed is refused."""
        identity = self.proved("-n", "sensor-7", keyId="the-id")
        for old, new in ((b"sensor-7", b"sensor-8"), (b"the-id", b"not-id")):
            forged = identityOf(identity.credential.replace(old, new))
            self.assertRegex(
                self.refusalBy(self.things(), forged),
                r"^the certificate of SHA256:\S+: the signature of SHA256:\S+ does not verify$",
            )

    def test_forgedByType(self) -> None:
        """A signature that was altered is refused, whatever the type of the authority's key."""
        for name, keyType in (("ed", "ed25519"), ("ec", "ecdsa"), ("rsa", "rsa")):
            things = CertifiedThings(self.authority(name, keyType))
            identity = self.proved("-n", "sensor-7", ca=name)
            for at in range(-60, 0):
                blob = bytearray(identity.credential)
                blob[at] ^= 1
                detail = self.refusalBy(things, identityOf(bytes(blob)))
                self.assertIn("does not verify", detail)

    def test_sha1(self) -> None:
        """A signature that is made with SHA-1 is refused."""
        path = self.authority("rsa", "rsa")
        identity = self.proved("-t", "ssh-rsa", "-n", "sensor-7", ca="rsa")
        self.assertIn(
            ": its signature is made with SHA-1, which proves nothing",
            self.refusalBy(CertifiedThings(path), identity),
        )

    def test_hostCertificate(self) -> None:
        """A host's certificate does not make a client."""
        identity = self.proved("-h", "-n", "sensor-7", "-z", "7")
        self.assertEqual(
            self.refusalBy(self.things(), identity),
            f"the certificate of {identity.fingerprint} (key ID 'id', serial 7): "
            "it is a host certificate, but a user certificate is due",
        )

    def test_window(self) -> None:
        """A certificate counts from its first second on, and at its last no longer."""
        identity = self.proved("-n", "sensor-7")
        certificate = readSshCertificate(identity.credential)
        start, end = certificate.valid_after, certificate.valid_before
        self.assertGreaterEqual(end - start, 2 * HOUR)
        for now in (start, end - 1):
            things = self.things(wallClock=lambda now=now: now)
            self.assertEqual(things.authorize(identity).name, "sensor-7")
        for now, why in (
            (start - 0.5, f"it is not valid before {self.written(start)}"),
            (end, f"it expired at {self.written(end)}"),
            (end + HOUR, f"it expired at {self.written(end)}"),
        ):
            things = self.things(wallClock=lambda now=now: now)
            self.assertTrue(self.refusalBy(things, identity).endswith(f": {why}"))

    @staticmethod
    def written(seconds: int) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

    def test_wallClock(self) -> None:
        """Without another clock, the time is the computer's."""
        self.things().authorize(self.proved("-n", "sensor-7"))
        expired = identityOf(
            blobIn(f"{self.certify('-n', 'sensor-7', '-V', '-2h:-1h', name='old')}-cert.pub")
        )
        self.assertIn("it expired at ", self.refusalBy(self.things(), expired))

    def test_forever(self) -> None:
        """A certificate without an end is valid at any time."""
        self.certify("-n", "sensor-7", "-V", "always:forever")
        identity = identityOf(blobIn(self.path("key-cert.pub")))
        for now in (0, 2**62):
            things = self.things(wallClock=lambda now=now: now)
            self.assertEqual(things.authorize(identity).name, "sensor-7")

    def test_farFuture(self) -> None:
        """A certificate of a time that no calendar has is refused, in plain words."""
        identity = self.built(lambda b: b.valid_after(2**64 - 2).valid_before(2**64 - 1))
        self.assertIn(
            f"it is not valid before {2**64 - 2} seconds after 1970",
            self.refusalBy(self.things(), identity),
        )

    def test_criticalOptions(self) -> None:
        """A critical option is refused, those that sshd understands among them."""
        for option, name in (
            ("force-command=/bin/true", "force-command"),
            ("source-address=192.0.2.0/24", "source-address"),
            ("critical:x@example.org=1", "x@example.org"),
            ("critical:y@example.org", "y@example.org"),
        ):
            detail = self.refusalBy(self.things(), self.proved("-n", "sensor-7", "-O", option))
            self.assertTrue(detail.endswith(f": its critical option '{name}' is not understood"))
        hostile = self.built(lambda b: b.add_critical_option(b"\x1b[2J\xff" + b"x" * 3000, b""))
        self.assertIn(r"'\x1b[2J\\xff", self.refusalBy(self.things(), hostile))

    def test_extensions(self) -> None:
        """Extensions mean nothing here."""
        identity = self.proved("-n", "sensor-7", "-O", "extension:x@example.org=1")
        self.assertEqual(self.things().authorize(identity).name, "sensor-7")
        self.assertEqual(self.things().authorize(self.proved("-n", "a", "-O", "clear")).name, "a")

    def test_noPrincipal(self) -> None:
        """A certificate without principals, which would be valid for all, is refused."""
        self.assertTrue(
            self.refusalBy(self.things(), self.proved()).endswith(
                ": it has no principal, or an empty one"
            )
        )

    def test_badPrincipals(self) -> None:
        """A principal that is empty, not text, not printable or too long is no name."""
        for principal, why in (
            (b"", "or an empty one"),
            (b"\xff\xfe", "a principal is not text"),
            (b"a\x1b[2J", "not printable"),
            ("a\u202eb".encode(), "not printable"),
            ("a\ufe0f".encode(), "not printable"),
            ("a\u200cb".encode(), "not printable"),
            (b"x" * 185, "more than 184 octets"),
        ):
            for principals in ([principal], [b"sensor-7", principal]):
                identity = self.built(lambda b, names=principals: b.valid_principals(names))
                self.assertIn(why, self.refusalBy(self.things(), identity))

    def test_manyPrincipals(self) -> None:
        """Of many principals a refusal names a few."""
        identity = self.built(
            lambda b: b.valid_principals([b"name-%d" % each for each in range(200)])
        )
        detail = self.refusalBy(self.things(principals=["x"]), identity)
        self.assertTrue(detail.endswith("name-6, name-7, ..."), detail)

    def test_keyId(self) -> None:
        """A refusal says the key ID and the serial number, in printable characters."""
        identity = self.built(lambda b: b.key_id(b"\x1b]0;\xff\n" + b"x" * 1000).serial(2**64 - 1))
        detail = self.refusalBy(self.things(principals=["y"]), identity)
        self.assertIn(r"(key ID '\x1b]0;\\xff\nxxx", detail)
        self.assertIn(f"serial {2**64 - 1})", detail)

    def test_damaged(self) -> None:
        """What is no certificate at all is refused."""
        for data in (b"", b"nonsense", self.proved("-n", "a").credential[:-1]):
            identity = Identity(CredentialKind.SSH_CERTIFICATE, bytes(32), credential=data)
            self.assertIn("not an OpenSSH certificate", self.refusalBy(self.things(), identity))

    def test_authorityFiles(self) -> None:
        """Authorities stand as in TrustedUserCAKeys, or as in authorized_keys."""
        self.authority("other")
        ca, other = read(self.path("ca.pub")).decode(), read(self.path("other.pub")).decode()
        mine, others = self.proved("-n", "mine"), self.proved("-n", "others", ca="other")
        for lines in (
            [f"# authorities\n\n  {ca}", other],
            [f"cert-authority {ca}", f"CERT-AUTHORITY\t {other}"],
        ):
            things = CertifiedThings(self.fileOf(*lines))
            self.assertEqual(things.authorize(mine).name, "mine")
            self.assertEqual(things.authorize(others).name, "others")

    def test_badAuthorityFiles(self) -> None:
        """A file with a line that is no authority is an error that names the line."""
        ca = read(self.path("ca.pub")).decode().strip()
        certificate = read(f"{self.certify('-n', 'a')}-cert.pub").decode()
        weak = read(self.authority("weak", "rsa", "-b", "1024")).decode()
        security = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t"
        for line, why in (
            (f"cert-authority {ca}", "cert-authority stands in some lines, but not in all"),
            (f'cert-authority,principals="a" {ca}', "neither a public key nor just cert-authority"),
            (f"no-pty {ca}", "neither a public key nor just cert-authority"),
            ("cert-authority", "neither a public key nor just cert-authority"),
            ("hunter2", "neither a public key nor just cert-authority"),
            ("cert-authority hunter2", "not a public key line"),
            (certificate, "a certificate, but an authority's plain key is needed"),
            (security, "an authority's key must be Ed25519, ECDSA or RSA"),
            ("ssh-dss AAAAB3NzaC1kc3M=", "an authority's key must be Ed25519, ECDSA or RSA"),
            (weak, "an authority's RSA key that is not of 2048 to 8192 bits"),
            (rsaLine(65537, 8193), "an authority's RSA key that is not of 2048 to 8192 bits"),
            (rsaLine((1 << 33) + 1, 3072), "an authority's RSA key that is not of 2048 to 8192"),
            (rsaLine((1 << 3060) + 1, 3072), "an authority's RSA key that is not of 2048 to 8192"),
            (ca[:-30].rstrip(), "the ssh-ed25519 is damaged"),
            (ca.replace("AAAAC3", "AAAAC4"), "the ssh-ed25519 is damaged"),
            (ca.replace("AAAAC3", "AA!AAC3"), "the ssh-ed25519 is damaged"),
            ("ssh-ed25519", "not a public key line"),
        ):
            message = self.refusal(CertifiedThings, self.fileOf(ca, line))
            self.assertIn(f"{self.path('authorities')}:2: {why}", message)
            self.assertNotIn("hunter2", message)

    def test_keysOfHosts(self) -> None:
        """A server's authority is bounded as a thing's; what is revoked may be of any size."""
        for exponent, bits in (65537, 8193), ((1 << 3060) + 1, 3072):
            line = rsaLine(exponent, bits)
            for marked in line, f"@cert-authority * {line}":
                self.assertIn(
                    ":1: an authority's RSA key that is not of 2048 to 8192 bits",
                    self.refusal(CertifiedServers, self.fileOf(marked), "a.example"),
                )
            ca = read(self.path("ca.pub")).decode().strip()
            CertifiedServers(self.fileOf(ca, f"@revoked * {line}"), "a.example")
        for fit in rsaLine(3, 8192), rsaLine((1 << 33) - 1, 2048):
            CertifiedServers(self.fileOf(fit), "a.example")

    def test_noAuthority(self) -> None:
        """A file without any authority, or none at all, is an error: nobody could be admitted."""
        for content in ("", "# ssh-ed25519"):
            self.assertIn("has no authority", self.refusal(CertifiedThings, self.fileOf(content)))
        self.assertIn("No such file", self.refusal(CertifiedThings, self.path("missing")))

    def test_reload(self) -> None:
        """After reload, authorities that were added count and removed ones do not."""
        other = read(self.authority("other"))
        identity = self.proved("-n", "sensor-7")
        things = CertifiedThings(self.fileOf(read(self.path("ca.pub"))))
        self.fileOf(other)
        things.authorize(identity)
        things.reload()
        self.assertIn("no authority in", self.refusalBy(things, identity))
        things.authorize(self.proved("-n", "sensor-7", ca="other"))

    def test_reloadKeepsOld(self) -> None:
        """A reload that fails for either file changes nothing of both."""
        identity = self.proved("-n", "sensor-7")
        revoked = RevokedKeys(write(self.path("revoked"), b""))
        things = CertifiedThings(self.fileOf(read(self.path("ca.pub"))), revoked)
        self.authority("other")

        write(self.path("revoked"), read(self.path("key.pub")))
        self.fileOf("nonsense")
        self.assertIn(":1: ", self.refusal(things.reload))
        things.authorize(identity)

        self.fileOf(read(self.path("other.pub")))
        write(self.path("revoked"), b"nonsense")
        self.assertIn(":1: ", self.refusal(things.reload))
        things.authorize(identity)

        self.fileOf(read(self.path("ca.pub")))
        write(self.path("revoked"), read(self.path("key.pub")))
        things.reload()
        self.assertIn(f"is revoked by {self.path('revoked')}", self.refusalBy(things, identity))

    def test_revoked(self) -> None:
        """A revoked certificate, key or authority is refused, and the refusal says by what."""
        identity = self.proved("-n", "sensor-7", "-z", "7")
        other = self.proved("-n", "sensor-7", "-z", "8", name="other")
        ca = self.path("ca.pub")
        for options, spec, why in (
            (("-s", ca), "serial: 7", "the certificate is revoked"),
            (("-s", "NONE"), "id: id", "the certificate is revoked"),
            ((), f"key: {read(self.path('key.pub')).decode()}", f"the key {identity.fingerprint}"),
            ((), f"key: {read(ca).decode()}", "the authority SHA256:"),
        ):
            krl = self.path("krl")
            sshKeygen("-q", "-k", "-f", krl, *options, write(self.path("spec"), spec.encode()))
            things = self.things(RevokedKeys(krl))
            detail = self.refusalBy(things, identity)
            self.assertIn("(key ID 'id', serial 7): " + why, detail)
            self.assertTrue(detail.endswith(f"is revoked by {krl}"))
            if "serial" in spec:
                self.assertEqual(things.authorize(other).name, "sensor-7")


class CertifiedServersTests(AuthorityMixin, TestCase):
    """The authorizer with authorities for servers."""

    skip = NO_SSH_KEYGEN

    def setUp(self) -> None:
        super().setUp()
        self.ca = read(self.authority()).decode()

    def servers(self, *lines: str, host: str = "example.org", **choices: object) -> object:
        path = write(self.path("known"), "\n".join(lines or [self.ca]).encode())
        return CertifiedServers(path, host, **choices)

    def test_admits(self) -> None:
        """A server is believed if one of its principals is the host's name, in any letters."""
        verifyObject(IAuthorizer, self.servers())
        identity = self.proved("-h", "-n", "other.example,Example.ORG")
        for host in ("example.org", "EXAMPLE.org"):
            self.assertEqual(self.servers(host=host).authorize(identity).name, "example.org")
        for host in ("192.0.2.1", "2001:db8::1"):
            identity = self.proved("-h", "-n", host)
            self.assertEqual(self.servers(host=host).authorize(identity).name, host)

    def test_otherHost(self) -> None:
        """A certificate for other hosts, or for a pattern of hosts, is refused."""
        for names in ("other.example", "*.org,*,example.*", "www.example.org,example.org."):
            self.assertTrue(
                self.refusalBy(self.servers(), self.proved("-h", "-n", names)).endswith(
                    f": it is not for example.org, but for {names.replace(',', ', ')}"
                )
            )

    def test_noPrincipal(self) -> None:
        """A certificate that ssh would take for any host is refused."""
        self.assertIn("it has no principal", self.refusalBy(self.servers(), self.proved("-h")))

    def test_userCertificate(self) -> None:
        """A thing's certificate does not make a server, even in the host's name."""
        self.assertIn(
            "it is a user certificate, but a host certificate is due",
            self.refusalBy(self.servers(), self.proved("-n", "example.org")),
        )

    def test_judged(self) -> None:
        """Time, signature, authority and options are judged as those of things are."""
        identity = self.proved("-h", "-n", "example.org")
        end = readSshCertificate(identity.credential).valid_before
        self.assertIn(
            "it expired at", self.refusalBy(self.servers(wallClock=lambda: end), identity)
        )
        forged = identityOf(identity.credential.replace(b"example.org", b"example.com"))
        self.assertIn("does not verify", self.refusalBy(self.servers(host="example.com"), forged))
        self.authority("other")
        other = self.proved("-h", "-n", "example.org", ca="other")
        self.assertIn("no authority in", self.refusalBy(self.servers(), other))
        option = self.proved("-h", "-n", "example.org", "-O", "critical:x@example.org")
        self.assertIn("is not understood", self.refusalBy(self.servers(), option))
        raw = Identity(CredentialKind.ED25519, identity.publicKey)
        self.assertIn("but ED25519", self.refusalBy(self.servers(), raw))
        revoked = RevokedKeys(self.path("ca.pub"))
        self.assertIn("the authority", self.refusalBy(self.servers(revoked=revoked), identity))

    def test_knownHosts(self) -> None:
        """Of a known_hosts file, the authorities for this host count."""
        identity = self.proved("-h", "-n", "example.org")
        others = (
            "example.org ssh-ed25519 AAAA",
            f"other.example {self.ca}",
            f"@cert-authority other.example {read(self.authority('other')).decode()}",
            "@cert-authority * sk-ssh-ed25519@openssh.com AAAA",
            f"@unknown * {self.ca}",
            "|1|AAAAAAAAAAAAAAAAAAAAAAAAAAA=|AAAAAAAAAAAAAAAAAAAAAAAAAAA= ssh-rsa AAAA",
        )
        for hosts in ("example.org", "*", "*.ORG", "a,!b.example,e?ample.org"):
            servers = self.servers(*others, f"@cert-authority {hosts} {self.ca}")
            self.assertEqual(servers.authorize(identity).name, "example.org")
        for hosts in ("www.example.org", "!example.org,*", "[example.org]:1"):
            message = self.refusal(self.servers, *others, f"@cert-authority {hosts} {self.ca}")
            self.assertIn("has no authority", message)
        foreign = self.proved("-h", "-n", "example.org", ca="other", name="foreign")
        self.assertIn("no authority", self.refusalBy(servers, foreign))

    def test_knownHostsHashed(self) -> None:
        """A host's name may be hashed, as ssh-keygen -H does."""
        path = write(self.path("hashed"), f"@cert-authority example.org {self.ca}".encode())
        sshKeygen("-q", "-H", "-f", path)
        identity = self.proved("-h", "-n", "example.org")
        self.assertEqual(
            CertifiedServers(path, "example.org").authorize(identity).name, "example.org"
        )

    def test_knownHostsRevoked(self) -> None:
        """A key that is marked as revoked for this host is refused, the authority's or its own."""
        identity = self.proved("-h", "-n", "example.org")
        own = read(self.path("key.pub")).decode()
        for key in (self.ca, own, read(self.path("key-cert.pub")).decode()):
            servers = self.servers(f"@revoked * {key}", f"@cert-authority * {self.ca}")
            self.assertRegex(
                self.refusalBy(servers, identity),
                rf": the key SHA256:\S+ is revoked by {self.path('known')}:1$",
            )
        servers = self.servers(f"@revoked other.example {own}", f"@cert-authority * {self.ca}")
        self.assertEqual(servers.authorize(identity).name, "example.org")

    def test_ports(self) -> None:
        """Lines of ``[host]:port`` count for that port, as those of the host do for any."""
        identity = self.proved("-h", "-n", "example.org")
        for hosts in "example.org", "[example.org]:9000", "[*.org]:*", "[Example.org]:9000":
            servers = self.servers(f"@cert-authority {hosts} {self.ca}", port=9000)
            self.assertEqual(servers.authorize(identity).name, "example.org")
            revoking = self.servers(
                f"@revoked {hosts} {read(self.path('key.pub')).decode()}", self.ca, port=9000
            )
            self.assertIn("is revoked by", self.refusalBy(revoking, identity))
            self.assertIn("is revoked by", str(revoking.whyRevoked(identity)))
        for hosts in "[example.org]:9001", "[www.example.org]:9000":
            message = self.refusal(self.servers, f"@cert-authority {hosts} {self.ca}", port=9000)
            self.assertIn("has no authority", message)

    def test_readAgain(self) -> None:
        """A change to the file counts at once, for servers without a certificate, too."""
        identity = self.proved("-h", "-n", "example.org")
        raw = Identity(CredentialKind.ED25519, identity.publicKey)
        servers = self.servers(self.ca)
        servers.authorize(identity)
        self.assertIsNone(servers.whyRevoked(raw))
        self.servers(f"@revoked * {read(self.path('key.pub')).decode()}", self.ca)
        self.assertIn("is revoked by", str(servers.whyRevoked(raw)))
        self.assertIn("is revoked by", self.refusalBy(servers, identity))
        os.remove(self.path("known"))
        self.assertIn("No such file", str(servers.whyRevoked(raw)))
        self.assertIn("No such file", self.refusalBy(servers, identity))

    def test_hostsLikeKeys(self) -> None:
        """A host that is called as a type of key is, is a host."""
        identity = self.proved("-h", "-n", "example.org")
        for host in "ssh-gw.example", "ecdsa-lab", "ssh-ed25519", "sk-x,ssh-y":
            servers = self.servers(f"{host} {self.ca}", f"@cert-authority * {self.ca}")
            self.assertEqual(servers.authorize(identity).name, "example.org")
            self.assertIn("no authority", self.refusal(self.servers, f"{host} {self.ca}"))

    def test_damaged(self) -> None:
        """A damaged line costs itself and no other."""
        identity = self.proved("-h", "-n", "example.org")
        for line in (
            "hunter2",
            "@cert-authority * hunter2 hunter2",
            "@cert-authority * ssh-ed25519 AAAA",
            f"@cert-authority |1|x|y {self.ca}",
            "@revoked other.example hunter2",
            *("ssh-gw AAAA", "ssh-gw", "ecdsa-lab.example", "sk-1 ssh-ed2"),
        ):
            self.servers(line, self.ca).authorize(identity)
        servers = self.servers("@revoked * hunter2", self.ca)
        self.assertTrue(
            self.refusalBy(servers, identity).endswith(
                f": what {self.path('known')}:1 revokes cannot be read"
            )
        )

    def test_badFiles(self) -> None:
        """An authority that cannot be one is an error that names its line."""
        for line in (
            "ssh-ed25519 AAAA",
            f"@cert-authority * {read(self.certify('-n', 'a') + '-cert.pub').decode()}",
        ):
            message = self.refusal(self.servers, self.ca.strip(), line)
            self.assertTrue(message.startswith(f"{self.path('known')}:2: "), message)

    def test_badHost(self) -> None:
        """What cannot be a host is an error."""
        for host in ("", "a b", "*", "a\n"):
            self.assertIn("not a host", self.refusal(self.servers, host=host))

    def test_reload(self) -> None:
        """After reload, what the file has now counts."""
        servers = self.servers()
        identity = self.proved("-h", "-n", "example.org")
        self.servers(read(self.authority("other")).decode())
        servers.authorize(identity)
        servers.reload()
        self.assertIn("no authority in", self.refusalBy(servers, identity))


class HostileTests(AuthorityMixin, TestCase):
    """Any bytes at all."""

    skip = NO_SSH_KEYGEN

    def setUp(self) -> None:
        super().setUp()
        self.authority()
        self.identity = self.proved("-n", "sensor-7", "-O", "critical:x@example.org=1")
        self.good = self.proved("-n", "sensor-7", name="good")

    def judge(self, blob: bytes) -> None:
        """A blob is read and judged, and nothing but the two refusals comes of it."""
        try:
            readSshCertificate(blob)
        except RemoteProtocolError as error:
            self.assertIs(error.code, ErrorCode.BAD_CREDENTIAL)
        identity = Identity(CredentialKind.SSH_CERTIFICATE, bytes(32), credential=blob)
        for authorizer in (
            CertifiedThings(self.path("ca.pub")),
            CertifiedServers(self.path("ca.pub"), "sensor-7"),
        ):
            self.refusalBy(authorizer, identity)

    def test_everyCut(self) -> None:
        """A certificate that is cut anywhere is refused."""
        for end in range(len(self.good.credential)):
            self.judge(self.good.credential[:end])

    def test_everyBit(self) -> None:
        """A certificate with any bit changed is refused."""
        blob = self.good.credential
        for at in range(len(blob) * 8):
            changed = bytearray(blob)
            changed[at // 8] ^= 1 << at % 8
            self.judge(bytes(changed))

    def test_everyLength(self) -> None:
        """A certificate that has any other length in the place of any four octets is refused."""
        blob = self.identity.credential
        for at in range(len(blob) - 4):
            for length in (0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF):
                changed = blob[:at] + length.to_bytes(4, "big") + blob[at + 4 :]
                if changed != blob:
                    self.judge(changed)

    @given(st.data())
    def test_mutated(self, data: st.DataObject) -> None:
        """A certificate that was cut up and put together otherwise is refused."""
        blob = self.good.credential
        place = st.integers(0, len(blob))
        for _ in range(data.draw(st.integers(1, 4))):
            start, end = sorted((data.draw(place), data.draw(place)))
            blob = blob[:start] + data.draw(st.binary(max_size=40)) + blob[end:]
        if blob != self.good.credential:
            self.judge(blob)

    @given(st.binary(max_size=600))
    def test_anyBytes(self, blob: bytes) -> None:
        """Any bytes are refused as a certificate, also behind the type and the nonce of one."""
        self.judge(blob)
        self.judge(self.good.credential[: 4 + 32 + 4 + 32 + 4 + 32] + blob)

    def test_anySignature(self) -> None:
        """Any bytes in the place of an authority's signature are refused, whatever its type."""
        signed = self.good.credential[: -(4 + 4 + 11 + 4 + 64) - (4 + 4 + 11 + 4 + 32)]
        for name, keyType, algorithms in (
            ("ca", "ed25519", [b"ssh-ed25519"]),
            ("ec", "ecdsa", [b"ecdsa-sha2-nistp256"]),
            ("rsa", "rsa", [b"rsa-sha2-256", b"rsa-sha2-512"]),
        ):
            path = self.path("ca.pub") if name == "ca" else self.authority(name, keyType)
            self.checkSignatures(CertifiedThings(path), signed + string(blobIn(path)), algorithms)

    def checkSignatures(
        self, things: CertifiedThings, signed: bytes, algorithms: list[bytes]
    ) -> None:
        integers = st.sampled_from([b"", b"\0", b"\1", b"\xff", b"\x7f" * 70]) | st.binary()
        pairs = st.lists(integers.map(string), min_size=2, max_size=2).map(b"".join)
        sized = st.sampled_from([0, 64, 256]).flatmap(
            lambda size: st.binary(min_size=size, max_size=size)
        )

        @given(st.sampled_from(algorithms), pairs | sized | st.binary(max_size=300))
        def check(algorithm: bytes, signature: bytes) -> None:
            blob = signed + string(string(algorithm) + string(signature))
            self.assertIn("does not verify", self.refusalBy(things, identityOf(blob)))

        check()

    @given(
        st.binary(max_size=300)
        | st.lists(
            st.sampled_from(
                [
                    "CA",
                    "CERTIFICATE",
                    "cert-authority ",
                    "@cert-authority ",
                    "@revoked ",
                    "* ",
                    "example.org ",
                    "|1|",
                    "ssh-ed25519 ",
                    "ssh-rsa ",
                    "ecdsa-sha2-nistp256-cert-v01@openssh.com ",
                    "AAAA",
                    "=",
                    "\n",
                    "\t",
                    "#",
                    "\udcff",
                ]
            ),
            max_size=20,
        )
    )
    def test_anyAuthorities(self, content: bytes | list[str]) -> None:
        """Any bytes are a file of authorities, or an error of one line that names the file."""
        if isinstance(content, list):
            parts = {
                "CA": read(self.path("ca.pub")).decode().strip(),
                "CERTIFICATE": read(self.path("good-cert.pub")).decode().strip(),
            }
            text = "".join(parts.get(each, each) for each in content)
            content = text.encode("utf-8", "surrogateescape")
        path = write(self.path("any"), content)
        ca = read(self.path("ca.pub")).split()[1]
        for read_ in (CertifiedThings, lambda path: CertifiedServers(path, "example.org")):
            try:
                read_(path)
            except CredentialError as error:
                self.assertTrue(str(error).startswith(path))
                self.assertTrue(str(error).isprintable(), str(error))
            else:
                self.assertIn(ca, content)


class HandshakeTests(AuthorityMixin, PairCase):
    """Certificates in whole handshakes."""

    skip = NO_SSH_KEYGEN

    def setUp(self) -> None:
        DirectoryMixin.setUp(self)
        PairCase.setUp(self)
        self.authority()
        kinds = (CredentialKind.SSH_CERTIFICATE,)
        server = self.certify("-h", "-n", "example.org", name="server")
        client = self.certify("-n", "sensor-7", "-z", "7", name="client")
        self.choices = (
            freshServer(credential=CertifiedKey.load(server), peerKinds=kinds),
            freshClient(credential=CertifiedKey.load(client), peerKinds=kinds),
        )

    def authorizers(self, **choices: object) -> dict[str, object]:
        return {
            "authorizer": CertifiedThings(self.path("ca.pub"), **choices),
            "clientAuthorizer": CertifiedServers(self.path("ca.pub"), "example.org"),
        }

    def test_bothSides(self) -> None:
        """A server and a thing believe each other's certificates, and know the names in them."""
        pair = self.pair(*self.choices, **self.authorizers()).up()
        self.assertEqual(pair.server.session.peer.name, "sensor-7")
        self.assertEqual(pair.client.session.peer.name, "example.org")
        self.assertIs(pair.server.session.peer.kind, CredentialKind.SSH_CERTIFICATE)

    def test_refused(self) -> None:
        """A thing whose certificate is revoked learns that it is not authorized, and no more."""
        spec = write(self.path("spec"), b"serial: 7")
        sshKeygen("-q", "-k", "-f", self.path("krl"), "-s", self.path("ca.pub"), spec)
        revoked = RevokedKeys(self.path("krl"))
        pair = self.pair(*self.choices, **self.authorizers(revoked=revoked)).connect()
        pair.pump()
        here, there = pair.server.termination, pair.client.termination
        self.assertIs(here.code, ErrorCode.NOT_AUTHORIZED)
        self.assertIn("(key ID 'id', serial 7): the certificate is revoked by", here.detail)
        self.assertIs(there.code, ErrorCode.NOT_AUTHORIZED)
        self.assertNotIn("revoked", str(there))

"""Revoked keys: in text files, in lists that the real ssh-keygen writes, and in damaged ones."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.trust.test_keys import NO_SSH_KEYGEN, DirectoryMixin, read, sshKeygen, write
from tests.trust.test_sshcertificates import AuthorityMixin, blobIn, identityOf, string
from thing.errors import CredentialError
from thing.identity import CredentialKind, Identity, sshBlob
from thing.trust import IdentityKey, RevokedKeys, formatPublicKey, revocation
from thing.trust.revocation import ENTRIES, MAX_BITMAP, MAX_RANGES, RANGES, readRevoked
from thing.trust.slices import atOnce

HEADER = b"SSHKRL\n\0" + bytes((0, 0, 0, 1)) + bytes(3 * 8) + bytes(4 + 4)
CERTIFICATES, KEYS, SHA1, SIGNATURE, SHA256, EXTENSION = 1, 2, 3, 4, 5, 255
SERIALS, RANGE, BITMAP, KEY_IDS, CERTIFICATE_EXTENSION = 0x20, 0x21, 0x22, 0x23, 0x39


def section(kind: int, *parts: bytes) -> bytes:
    """A section of a list, or of a section of certificates."""
    return bytes((kind,)) + string(b"".join(parts))


def number(value: int) -> bytes:
    """A serial number."""
    return value.to_bytes(8, "big")


def certificates(*sections: bytes, authority: bytes = b"") -> bytes:
    """A section of certificates."""
    return section(CERTIFICATES, string(authority), string(b""), *sections)


def rawKey(seed: int) -> Identity:
    """A peer that proved a raw key, for each number another."""
    key = Ed25519PrivateKey.from_private_bytes(number(seed) * 4).public_key()
    return Identity(CredentialKind.ED25519, key.public_bytes_raw())


class ListMixin(DirectoryMixin):
    """A test with a file of revoked keys."""

    def revoked(self, content: bytes) -> RevokedKeys:
        return RevokedKeys(write(self.path("revoked"), content))

    def why(self, content: bytes) -> str:
        """Why a file is refused, without the path."""
        message = self.refusal(self.revoked, content)
        self.assertTrue(message.startswith(self.path("revoked") + ":"), message)
        self.assertTrue(message.isprintable())
        return message.removeprefix(self.path("revoked") + ":").strip()


class RealListTests(ListMixin, AuthorityMixin, TestCase):
    """Lists that ssh-keygen writes, judged as ssh-keygen judges them."""

    skip = NO_SSH_KEYGEN

    def setUp(self) -> None:
        super().setUp()
        self.authority()
        self.authority("other")
        self.identities: dict[str, Identity] = {}
        for serial in (0, 1, 5, 6, 7, 8, 300, 1000, 2**63, 2**64 - 1):
            self.make(f"ca-{serial}", "-z", str(serial), keyId=f"id {serial}")
        self.make("other-7", "-z", "7", keyId="id 7", ca="other")
        self.make("host-8", "-h", "-z", "8", keyId="id host")

    def make(self, name: str, *options: str, **choices: str) -> None:
        path = self.certify("-n", "a", *options, name=name, **choices)
        self.identities[name] = identityOf(blobIn(f"{path}-cert.pub"))

    def write(self, specification: str, *options: str) -> RevokedKeys:
        """Have ssh-keygen write a list of what is specified."""
        path = self.path("krl")
        spec = write(self.path("spec"), specification.encode())
        sshKeygen("-q", "-k", "-f", path, *options, spec)
        return RevokedKeys(path)

    def judgedBySsh(self) -> set[str]:
        """The certificates that ssh-keygen says are revoked."""
        files = [self.path(f"{name}-cert.pub") for name in self.identities]
        done = subprocess.run(
            ["ssh-keygen", "-Q", "-f", self.path("krl"), *files],
            check=False,  # It fails if any is revoked.
            capture_output=True,
            text=True,
            timeout=60,
        )
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), len(files), done.stderr)
        verdicts = dict(zip(self.identities, lines, strict=True))
        return {name for name, line in verdicts.items() if line.endswith("REVOKED")}

    def assertRevokes(self, revoked: RevokedKeys, *names: str) -> None:
        """Just these are revoked, by our judgement and by ssh-keygen's."""
        ours = {name for name, each in self.identities.items() if revoked.isRevoked(each)}
        self.assertEqual(ours, set(names))
        self.assertEqual(ours, self.judgedBySsh())

    def test_serial(self) -> None:
        """A serial number of an authority's is revoked, and not the same one of another's."""
        revoked = self.write("serial: 7", "-s", self.path("ca.pub"))
        self.assertRevokes(revoked, "ca-7")
        self.assertEqual(
            revoked.whyRevoked(self.identities["ca-7"]),
            f"the certificate is revoked by {self.path('krl')}",
        )
        self.assertIsNone(revoked.whyRevoked(self.identities["ca-8"]))

    def test_serials(self) -> None:
        """Serial numbers far apart, in a row and up to the greatest are revoked."""
        revoked = self.write(
            f"serial: 1\nserial: 5-7\nserial: 1000\nserial: {2**63}\nserial: {2**64 - 1}",
            "-s",
            self.path("ca.pub"),
        )
        self.assertRevokes(
            revoked, "ca-1", "ca-5", "ca-6", "ca-7", "ca-1000", f"ca-{2**63}", f"ca-{2**64 - 1}"
        )

    def test_range(self) -> None:
        """A long range is revoked from its first number to its last."""
        revoked = self.write("serial: 6-300", "-s", self.path("ca.pub"))
        self.assertRevokes(revoked, "ca-6", "ca-7", "ca-8", "host-8", "ca-300")

    def test_overlapping(self) -> None:
        """Ranges that overlap, or lie within each other, revoke what any of them does."""
        sections = certificates(
            section(RANGE, number(7), number(7)),
            section(RANGE, number(5), number(999)),
            section(RANGE, number(6), number(8)),
            section(SERIALS, number(1), number(5), number(1)),
            authority=blobIn(self.path("ca.pub")),
        )
        revoked = RevokedKeys(write(self.path("krl"), HEADER + sections))
        names = ("ca-1", "ca-5", "ca-6", "ca-7", "ca-8", "host-8", "ca-300")
        self.assertRevokes(revoked, *names)

    def test_bitmap(self) -> None:
        """Numbers close together, which make a bitmap, are revoked, and none between them."""
        for numbers in (range(1, 1001, 2), range(6, 1001, 2), [*range(5, 400, 3), 7, 1000]):
            specification = "\n".join(f"serial: {each}" for each in numbers)
            revoked = self.write(specification, "-s", self.path("ca.pub"))
            self.assertIn(bytes((BITMAP,)), read(self.path("krl")))
            expected = [
                name
                for name in self.identities
                if name != "other-7" and int(name.split("-")[1]) in numbers
            ]
            self.assertTrue(expected)
            self.assertRevokes(revoked, *expected)

    def test_keyId(self) -> None:
        """A key ID is revoked for an authority, or for all of them."""
        revoked = self.write("id: id 7\nid: id host", "-s", self.path("ca.pub"))
        self.assertRevokes(revoked, "ca-7", "host-8")
        revoked = self.write("id: id 7", "-s", "NONE")
        self.assertRevokes(revoked, "ca-7", "other-7")

    def test_allAuthorities(self) -> None:
        """A serial number may be revoked for all authorities."""
        self.assertRevokes(self.write("serial: 7", "-s", "NONE"), "ca-7", "other-7")

    def test_keys(self) -> None:
        """A key is revoked by itself or by a hash, with its certificates and as a raw key."""
        line = read(self.path("ca-7.pub")).decode()
        for kind in ("key", "sha1", "sha256"):
            revoked = self.write(f"{kind}: {line}")
            self.assertRevokes(revoked, "ca-7")
            identity = self.identities["ca-7"]
            self.assertEqual(
                revoked.whyRevoked(identity),
                f"the key {identity.fingerprint} is revoked by {self.path('krl')}",
            )
            raw = Identity(CredentialKind.ED25519, identity.publicKey)
            self.assertTrue(revoked.isRevoked(raw))
            self.assertFalse(revoked.isRevoked(rawKey(1)))

    def test_fingerprint(self) -> None:
        """A key is revoked by the fingerprint that ssh prints."""
        fingerprint = self.identities["ca-7"].fingerprint
        self.assertRevokes(self.write(f"hash: {fingerprint}"), "ca-7")

    def test_authority(self) -> None:
        """An authority whose key is revoked takes along all that it has signed."""
        line = read(self.path("ca.pub")).decode()
        for kind in ("key", "sha1", "sha256"):
            revoked = self.write(f"{kind}: {line}")
            self.assertRevokes(revoked, *(name for name in self.identities if name != "other-7"))
            self.assertRegex(
                revoked.whyRevoked(self.identities["ca-7"]) or "",
                r"^the authority SHA256:\S+ is revoked by ",
            )

    def test_certificate(self) -> None:
        """A list of a certificate is one of its serial number, or of its key ID."""
        sshKeygen("-q", "-k", "-f", self.path("krl"), self.path("ca-7-cert.pub"))
        self.assertRevokes(RevokedKeys(self.path("krl")), "ca-7")
        sshKeygen("-q", "-k", "-f", self.path("krl"), self.path("ca-0-cert.pub"))
        self.assertRevokes(RevokedKeys(self.path("krl")), "ca-0")

    def test_updated(self) -> None:
        """A list that was added to revokes all that was ever put into it."""
        self.write("serial: 7\nid: id 1", "-s", self.path("ca.pub"))
        revoked = self.write("serial: 7\nserial: 8", "-u", "-s", self.path("other.pub"))
        self.assertRevokes(revoked, "ca-7", "ca-1", "other-7")

    def test_empty(self) -> None:
        """A list may revoke nothing."""
        sshKeygen("-q", "-k", "-f", self.path("krl"))
        self.assertRevokes(RevokedKeys(self.path("krl")))

    def test_text(self) -> None:
        """A text file of keys and certificates revokes their keys, and authorities."""
        for names, expected in (
            (["ca-7.pub", "ca-8-cert.pub", "ca-5.pub"], {"ca-5", "ca-7", "ca-8"}),
            (["other.pub"], {"other-7"}),
        ):
            revoked = self.revoked(b"".join(read(self.path(name)) for name in names))
            found = {name for name, each in self.identities.items() if revoked.isRevoked(each)}
            self.assertEqual(found, expected)

    def test_everyCut(self) -> None:
        """A real list that was cut is an error, unless whole sections are missing."""
        self.write("serial: 7\nserial: 9\nid: x", "-s", self.path("ca.pub"))
        self.write(f"key: {read(self.path('ca-5.pub')).decode()}", "-u")
        content = read(self.path("krl"))
        second = len(HEADER) + 5 + int.from_bytes(content[len(HEADER) + 1 :][:4], "big")
        for end in range(1, len(content)):
            if end not in (len(HEADER), second):
                self.why(content[:end])
        self.assertFalse(self.revoked(content[: len(HEADER)]).isRevoked(self.identities["ca-5"]))
        self.revoked(content[:second])
        self.assertTrue(self.revoked(content).isRevoked(self.identities["ca-5"]))


class ListTests(ListMixin, TestCase):
    """Lists made by hand."""

    key = rawKey(1)
    blob = sshBlob(key.publicKey)

    def whyList(self, *sections: bytes) -> str:
        """Why a list of these sections is refused."""
        why = self.why(HEADER + b"".join(sections))
        self.assertTrue(why.startswith("the revocation list is damaged: "), why)
        return why.removeprefix("the revocation list is damaged: ")

    def test_signature(self) -> None:
        """A list's signature is ignored, and nothing may follow it but another."""
        keys = section(KEYS, string(self.blob))
        signature = section(SIGNATURE, b"any key") + string(b"any signature")
        revoked = self.revoked(HEADER + keys + signature + signature)
        self.assertTrue(revoked.isRevoked(self.key))
        self.assertEqual(self.whyList(signature, keys), "a section follows the signature")
        self.assertEqual(self.whyList(keys, section(SIGNATURE, b"key")), "it ends too early")

    def test_unknown(self) -> None:
        """A format or a section that is not understood is an error: it might revoke something."""
        self.assertEqual(
            self.why(HEADER.replace(b"\0\0\0\1", b"\0\0\0\2")),
            "the revocation list is damaged: its format is 2, but only 1 is understood",
        )
        for kind in (0, 6, 254):
            self.assertEqual(self.whyList(section(kind)), f"its section {kind} is not understood")
        self.assertEqual(
            self.whyList(certificates(section(0x24))),
            "its section 0x24 of certificates is not understood",
        )

    def test_extensions(self) -> None:
        """An extension is passed over, unless it says that it must be understood."""
        extra = string(b"x@example.org") + b"\0" + string(b"anything")
        critical = string(b"x\x1b@example.org") + b"\1" + string(b"anything")
        revoked = self.revoked(
            HEADER
            + section(EXTENSION, extra)
            + certificates(section(CERTIFICATE_EXTENSION, extra))
            + section(KEYS, string(self.blob))
        )
        self.assertTrue(revoked.isRevoked(self.key))
        why = r"its critical extension 'x\x1b@example.org' is not understood"
        self.assertEqual(self.whyList(section(EXTENSION, critical)), why)
        self.assertEqual(self.whyList(certificates(section(CERTIFICATE_EXTENSION, critical))), why)

    def test_reserved(self) -> None:
        """The list's number, date, flags, comment and what is reserved mean nothing."""
        header = HEADER[:12] + b"\xff" * 24 + string(b"reserved") + string(b"comment\xff")
        revoked = self.revoked(
            header
            + section(CERTIFICATES, string(b""), string(b"reserved"))
            + section(KEYS, string(self.blob))
        )
        self.assertTrue(revoked.isRevoked(self.key))

    def test_hashes(self) -> None:
        """A hash of another length is an error; more than one may stand in a section."""
        for kind, name, other in ((SHA1, "sha1", "sha256"), (SHA256, "sha256", "sha1")):
            digest = hashlib.new(name, self.blob).digest()
            parts = string(bytes(len(digest))) + string(digest)
            revoked = self.revoked(HEADER + section(kind, parts))
            self.assertTrue(revoked.isRevoked(self.key))
            self.assertFalse(revoked.isRevoked(rawKey(2)))
            for wrong in (b"", digest[:-1], hashlib.new(other, self.blob).digest()):
                self.assertEqual(
                    self.whyList(section(kind, string(wrong))), "a fingerprint of a wrong length"
                )

    def test_otherTypes(self) -> None:
        """A key of a type that no thing and no authority can have may be revoked, to no effect."""
        blob = string(b"sk-ssh-ed25519@openssh.com") + string(bytes(32)) + string(b"ssh:")
        revoked = self.revoked(HEADER + section(KEYS, string(blob), string(self.blob)))
        self.assertTrue(revoked.isRevoked(self.key))
        self.revoked(HEADER + certificates(section(SERIALS, number(1)), authority=blob))

    def test_notKeys(self) -> None:
        """What is no key, where a key belongs, is an error."""
        for blob in (
            b"nonsense",
            self.blob[:-1],
            self.blob + b"\0",
            string(b"ssh-ed25519"),
            string(b"\xff"),
            string(b"ssh-ed25519 AAAA"),
            string(b"nonsense"),
        ):
            self.whyList(section(KEYS, string(blob)))
            self.whyList(certificates(authority=blob))

    def test_serials(self) -> None:
        """Serial numbers that cannot be are an error."""
        for bad in (
            section(SERIALS, number(0)),
            section(SERIALS, number(1), b"\0"),
            section(RANGE, number(0), number(5)),
            section(RANGE, number(6), number(5)),
            section(RANGE, number(6)),
            section(BITMAP, number(0), string(b"\1")),
            section(BITMAP, number(2**64 - 1), string(b"\3")),
            section(BITMAP, number(1), string(b"\xff")),
            section(BITMAP, number(1)),
            section(BITMAP, number(1), string(bytes(MAX_BITMAP + 1))),
        ):
            self.whyList(certificates(bad))
        self.revoked(
            HEADER
            + certificates(
                section(BITMAP, number(2**64 - 1), string(b"\1")),
                section(BITMAP, number(0), string(b"\2")),
                section(BITMAP, number(1), string(b"")),
                section(BITMAP, number(1), string(b"\0" + b"\xff" * (MAX_BITMAP - 1))),
            )
        )

    def test_tooMany(self) -> None:
        """More ranges of serial numbers than memory is meant for are an error, at once."""
        bitmap = section(BITMAP, number(1), string(b"\x55" * (MAX_BITMAP - 1)))
        self.assertEqual(
            self.whyList(certificates(bitmap * (1 + MAX_RANGES // (4 * (MAX_BITMAP - 1))))),
            f"more than {MAX_RANGES} ranges of serial numbers",
        )
        numbers = number(7) * (MAX_RANGES + 1)
        self.assertIn("more than", self.whyList(certificates(section(SERIALS, numbers))))

    def test_inSlices(self) -> None:
        """A long list is read in slices, serial numbers are put in order so, and none is lost."""
        serials = [each * 2654435761 % 2**32 * 2 + 1 for each in range(3 * RANGES)]
        keys = [string(sshBlob(each.to_bytes(32, "big"))) for each in range(3 * ENTRIES)]
        content = (
            HEADER
            + certificates(section(SERIALS, *map(number, serials)))
            + section(KEYS, *keys)
            + section(SHA256, *(string(number(each) * 4) for each in range(3 * ENTRIES)))
        )
        work, slices = readRevoked("list", content), 1
        while True:
            try:
                next(work)
            except StopIteration as done:
                revoked = done.value
                break
            slices += 1
        # Read, sorted in parts, put together; and the rest.
        self.assertGreaterEqual(slices, 3 * 3 - 3 + 2 * 3)
        self.assertEqual(revoked.serials[b""], [(each, each) for each in sorted(serials)])
        self.assertEqual(len(revoked.keys), 3 * ENTRIES)
        self.assertEqual(len(revoked.digests["sha256"]), 3 * ENTRIES)

    @given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=12))
    def test_anyRanges(self, given: list[tuple[int, int]]) -> None:
        """Ranges that overlap, in whatever order and parts, revoke the numbers that are in one."""
        self.patch(revocation, "RANGES", 3)
        ranges = [(first, first + more) for first, more in given]
        merged = atOnce(revocation._merge(ranges))
        inRanges = {each for first, last in ranges for each in range(first, last + 1)}
        self.assertEqual(
            [each for low, high in merged for each in range(low, high + 1)], sorted(inRanges)
        )

    @given(st.binary(max_size=300))
    def test_anyBytes(self, data: bytes) -> None:
        """Any bytes in a list are an error of one line, or are understood."""
        for content in (data, HEADER + data, HEADER + certificates(data), HEADER[:9] + data):
            self.understoodOrNot(content)

    @given(st.data())
    def test_mutated(self, data: st.DataObject) -> None:
        """A list with any octets changed is an error of one line, or is understood."""
        content = (
            HEADER
            + certificates(
                section(SERIALS, number(1), number(9)),
                section(RANGE, number(20), number(30)),
                section(BITMAP, number(40), string(b"\x55\xaa")),
                section(KEY_IDS, string(b"id")),
                authority=self.blob,
            )
            + section(KEYS, string(self.blob))
            + section(SHA1, string(bytes(20)))
            + section(SHA256, string(bytes(32)))
            + section(EXTENSION, string(b"x"), b"\0", string(b"y"))
        )
        self.revoked(content)
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, len(content)))
            end = data.draw(st.integers(start, min(len(content), start + 8)))
            content = content[:start] + data.draw(st.binary(max_size=8)) + content[end:]
        self.understoodOrNot(content)

    def understoodOrNot(self, content: bytes) -> None:
        try:
            revoked = self.revoked(content)
        except CredentialError as error:
            self.assertTrue(str(error).startswith(self.path("revoked") + ":"))
            self.assertTrue(str(error).isprintable(), str(error))
        else:
            self.assertFalse(revoked.isRevoked(rawKey(2)))


class FileTests(ListMixin, TestCase):
    """Text files, and files altogether."""

    def test_text(self) -> None:
        """A key in a line of its own is revoked; blank lines and comments mean nothing."""
        lines = ["# revoked", "", f" \t{formatPublicKey(rawKey(1).publicKey, 'a comment')}\r"]
        revoked = self.revoked("\n".join(lines).encode())
        self.assertEqual(
            revoked.whyRevoked(rawKey(1)),
            f"the key {rawKey(1).fingerprint} is revoked by {self.path('revoked')}",
        )
        self.assertIsNone(revoked.whyRevoked(rawKey(2)))

    def test_nothing(self) -> None:
        """An empty file revokes nothing, nor is nobody ever revoked."""
        revoked = self.revoked(b"")
        self.assertFalse(revoked.isRevoked(rawKey(1)))
        self.assertFalse(revoked.isRevoked(Identity(CredentialKind.NONE)))
        preshared = Identity(CredentialKind.PRESHARED, credential=b"sensor-7")
        self.assertFalse(revoked.isRevoked(preshared))

    def test_otherCertificates(self) -> None:
        """A key is revoked also where an X.509 certificate shows it."""
        for key in (
            Ed25519PrivateKey.generate().public_key(),
            generate_private_key(SECP256R1()).public_key(),
        ):
            line = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
            der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            identity = Identity(CredentialKind.X509, der, credential=b"a chain")
            self.assertTrue(self.revoked(line).isRevoked(identity))
            self.assertFalse(self.revoked(b"").isRevoked(identity))

    def test_otherTypes(self) -> None:
        """Keys of types that no thing and no authority can have may stand there, as for sshd."""
        line = formatPublicKey(rawKey(1).publicKey).encode()
        content = b"ssh-dss AAAAB3NzaC1kc3M=\nsk-ssh-ed25519@openssh.com AAAA\n" + line
        self.assertTrue(self.revoked(content).isRevoked(rawKey(1)))

    def test_badLines(self) -> None:
        """A line that is not understood is an error: it might revoke something."""
        good = formatPublicKey(rawKey(1).publicKey).encode()
        for line in (
            b"hunter2",
            b"serial: 7",
            b"ssh-ed25519",
            b"ssh-ed25519 AAAA",
            b"ssh-rsa AAAAB3NzaC1yc2EAAAA=",
            b"no-pty " + good,
            b"\xff\xfe",
            b"ssh-ed25519 \xff",
            good.replace(b"AAAAC3", b"AAAAC4"),
        ):
            why = self.why(good + b"\n" + line)
            self.assertTrue(why.startswith("2: "), why)
            self.assertNotIn("hunter2", why)

    def test_missing(self) -> None:
        """A file that is missing is an error, not a file that revokes nothing."""
        self.assertIn("No such file", self.refusal(RevokedKeys, self.path("missing")))

    def test_bounds(self) -> None:
        """A file or a line that is too long is an error."""
        path = write(self.path("revoked"), b"")
        os.truncate(path, 16 * 1024 * 1024 + 1)
        self.assertIn("longer than 16777216 bytes", self.refusal(RevokedKeys, path))
        self.assertEqual(self.why(b"#" * 8193), "1: longer than 8192 bytes")

    def test_reload(self) -> None:
        """After reload, what the file has now is revoked, and nothing else."""
        revoked = self.revoked(formatPublicKey(rawKey(1).publicKey).encode())
        self.revoked(HEADER + section(KEYS, string(sshBlob(rawKey(2).publicKey))))
        self.assertTrue(revoked.isRevoked(rawKey(1)))
        revoked.reload()
        self.assertEqual([revoked.isRevoked(rawKey(each)) for each in (1, 2)], [False, True])

    def test_reloadKeepsOld(self) -> None:
        """A reload that fails changes nothing, and says why."""
        line = formatPublicKey(rawKey(1).publicKey).encode()
        revoked = self.revoked(line)
        other = formatPublicKey(rawKey(2).publicKey).encode()
        for content in (other + b"\nnonsense", HEADER + b"\1"):
            write(self.path("revoked"), content)
            self.refusal(revoked.reload)
            self.assertEqual([revoked.isRevoked(rawKey(each)) for each in (1, 2)], [True, False])
        os.remove(self.path("revoked"))
        self.assertIn("No such file", self.refusal(revoked.reload))
        self.assertTrue(revoked.isRevoked(rawKey(1)))

    def test_realKey(self) -> None:
        """The public line of a generated key revokes that key."""
        key = IdentityKey.generate()
        proved = Identity(CredentialKind.ED25519, key.publicKey)
        self.assertTrue(self.revoked(key.publicLine("lost").encode()).isRevoked(proved))
        blob = base64.b64decode(key.publicLine().split()[1])
        self.assertTrue(self.revoked(HEADER + section(KEYS, string(blob))).isRevoked(proved))

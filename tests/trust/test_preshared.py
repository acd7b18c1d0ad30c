"""Pre-shared keys in files, and whom they admit."""

from __future__ import annotations

import os
import shutil
import subprocess
import traceback
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.helpers import clientSettings, makePair, only, pump, serverSettings
from tests.trust.test_keys import DirectoryMixin, write
from thing.core.credentials import SignatureScheme
from thing.errors import CredentialError, ErrorCode, NotAuthorized
from thing.events import PeerProved
from thing.identity import CredentialKind, Identity
from thing.trust import (
    IAuthorizer,
    PresharedKey,
    PresharedKeys,
    PresharedServer,
    PresharedThings,
)

NO_PSKTOOL = None if shutil.which("psktool") else "psktool is not installed"
SECRET = bytes(range(0x40, 0x60))
OTHER = bytes(range(0x60, 0x80))


def proved(identity: bytes) -> Identity:
    """What a peer with the key of this identity proves in a handshake."""
    return Identity(CredentialKind.PRESHARED, credential=identity)


class PresharedKeyTests(DirectoryMixin, TestCase):
    """A client's one key."""

    def test_credential(self) -> None:
        """A key is a credential that shows nothing and signs nothing."""
        key = PresharedKey(b"pump", SECRET)
        self.assertIs(key.kind, CredentialKind.PRESHARED)
        self.assertIs(key.scheme, SignatureScheme.NONE)
        self.assertEqual((key.data, key.sign(b"content")), (b"", b""))
        self.assertEqual((key.identity, key.key), (b"pump", SECRET))

    def test_generate(self) -> None:
        """Each generated key is another, of 32 octets."""
        keys = {PresharedKey.generate(b"pump").key for _ in range(10)}
        self.assertEqual((len(keys), {len(key) for key in keys}), (10, {32}))

    def test_load(self) -> None:
        """A key's line, in a file by itself, is the key again."""
        key = PresharedKey.generate("Küche 2".encode())
        line = key.secretLine()
        self.assertEqual(line, f"Küche 2:{key.key.hex()}")
        path = write(self.path("psk"), f"# ours\n\n{line}\n".encode())
        self.assertEqual(PresharedKey.load(path), key)

    def test_loadOne(self) -> None:
        """A client's file without a key, or with two, is an error."""
        for lines, count in (b"# none\n", 0), (b"a:%b\nb:%b\n", 2):
            content = lines.replace(b"%b", SECRET.hex().encode())
            path = write(self.path("psk"), content)
            self.assertEqual(
                self.refusal(PresharedKey.load, path), f"{path}: one key expected, not {count}"
            )

    def test_sizes(self) -> None:
        """A key has 16 to 64 octets; of a shorter one it is said why it is refused."""
        for size in 16, 64:
            PresharedKey(b"pump", bytes(size))
        self.assertEqual(
            self.refusal(PresharedKey, b"pump", bytes(15)),
            "the key has 15 octets, but of fewer than 16 it can be found by trying (RFC 9257)",
        )
        self.assertIn("more than 64", self.refusal(PresharedKey, b"pump", bytes(65)))

    def test_identities(self) -> None:
        """An identity is printable text that a line of the file can have."""
        for good in (
            b"p",
            b"x" * 128,
            b"a b",
            b"a#b",
            "ü".encode(),
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645".encode(),
        ):
            PresharedKey(good, SECRET)
        for bad in b"", b"x" * 129:
            self.assertIn("not 1 to 128", self.refusal(PresharedKey, bad, SECRET))
        self.assertEqual(self.refusal(PresharedKey, b"\xff", SECRET), "the identity is not text")
        for bad in (
            b"a:b",
            b"#a",
            b" a",
            b"a ",
            b"a\nb",
            b"a\0",
            b"\x1b[2J",
            "a\u202eb".encode(),
            "a\u3164".encode(),
        ):
            self.assertIn("not printable", self.refusal(PresharedKey, bad, SECRET))

    def test_secret(self) -> None:
        """The key is not in its representation."""
        self.assertEqual(repr(PresharedKey(b"pump", SECRET)), "PresharedKey(identity=b'pump')")


class PresharedKeysTests(DirectoryMixin, TestCase):
    """A server's file of keys."""

    def keys(self, *lines: str) -> PresharedKeys:
        return PresharedKeys(write(self.path("psk"), "\n".join(lines).encode()))

    def refusalOf(self, *lines: str) -> str:
        """Why a file of these lines is refused, without the path."""
        message = self.refusal(self.keys, *lines)
        self.assertTrue(message.startswith(self.path("psk")), message)
        self.assertTrue(message.isprintable())
        return message.removeprefix(self.path("psk"))

    def test_mapping(self) -> None:
        """The keys are a mapping from identities to keys."""
        keys = self.keys(f"pump:{SECRET.hex()}", f"Küche 2:{OTHER.hex().upper()}")
        self.assertEqual(dict(keys), {b"pump": SECRET, "Küche 2".encode(): OTHER})
        self.assertEqual(len(keys), 2)
        self.assertIsNone(keys.get(b"fan"))
        self.assertEqual(repr(keys), f"<PresharedKeys {self.path('psk')}: 2>")

    def test_layout(self) -> None:
        """Blank lines, comments, indentation and carriage returns mean nothing."""
        keys = self.keys("# things", "", " \t", f" pump:{SECRET.hex()} \r", f"#fan:{OTHER.hex()}")
        self.assertEqual(dict(keys), {b"pump": SECRET})
        self.assertEqual(dict(self.keys()), {})

    def test_badLines(self) -> None:
        """Any line that is not understood is an error that names its number."""
        good = f"pump:{SECRET.hex()}"
        for line, reason in (
            ("pump", "not a line identity:key"),
            (SECRET.hex(), "not a line identity:key"),
            ("pump:", "the key has 0 octets"),
            ("pump:616", "not in hexadecimal"),
            ("pump:0x" + SECRET.hex(), "not in hexadecimal"),
            ("pump:" + SECRET.hex(" "), "not in hexadecimal"),
            ("pump:" + "ü" * 32, "not in hexadecimal"),
            ("a:pump:" + SECRET.hex(), "not in hexadecimal"),
            ("pump :" + SECRET.hex(), "not printable"),
            (":" + SECRET.hex(), "the identity has 0 octets"),
            ("pump:" + SECRET[:15].hex(), "of fewer than 16 it can be found by trying (RFC 9257)"),
            ("x" * 8193, "longer than 8192 bytes"),
        ):
            message = self.refusalOf("", good.replace("pump", "fan"), line)
            self.assertTrue(message.startswith(":3: "), message)
            self.assertIn(reason, message)
            self.assertNotIn(SECRET.hex()[:8], message)

    def test_duplicate(self) -> None:
        """An identity that stands twice is an error that names both lines."""
        self.assertEqual(
            self.refusalOf(f"pump:{SECRET.hex()}", f"pump:{OTHER.hex()}"),
            ":2: the identity is already in line 1",
        )

    def test_tooOpen(self) -> None:
        """A file that others may read is refused."""
        line = f"pump:{SECRET.hex()}".encode()
        for mode in 0o644, 0o640, 0o604:
            path = write(self.path("psk"), line, mode)
            for load in PresharedKeys, PresharedKey.load:
                self.assertEqual(
                    self.refusal(load, path),
                    f"{path}: permissions {mode:04o} are too open: chmod 600 {path}",
                )

    def test_files(self) -> None:
        """A file that is missing or too long is an error, not one without keys."""
        self.assertIn("No such file", self.refusal(PresharedKeys, self.path("missing")))
        path = write(self.path("psk"), b"")
        os.truncate(path, 16 * 1024 * 1024 + 1)
        self.assertIn("longer than 16777216 bytes", self.refusal(PresharedKeys, path))

    def test_reload(self) -> None:
        """After reload the file's keys count, and they alone."""
        keys = self.keys(f"pump:{SECRET.hex()}")
        self.keys(f"fan:{OTHER.hex()}")
        self.assertEqual(dict(keys), {b"pump": SECRET})
        keys.reload()
        self.assertEqual(dict(keys), {b"fan": OTHER})

    def test_reloadKeepsOld(self) -> None:
        """A reload that fails changes nothing, and says why."""
        keys = self.keys(f"pump:{SECRET.hex()}")
        write(self.path("psk"), f"fan:{OTHER.hex()}\nnonsense".encode())
        self.assertIn(":2: ", self.refusal(keys.reload))
        os.remove(self.path("psk"))
        self.assertIn("No such file", self.refusal(keys.reload))
        self.assertEqual(dict(keys), {b"pump": SECRET})

    def test_secrets(self) -> None:
        """No part of a line is in the error, in its traceback or in what caused it."""
        for line in "pump" + SECRET.hex(), f"pump:{SECRET.hex()}zz", f"pump:{SECRET.hex()}a":
            path = write(self.path("psk"), line.encode())
            error = self.assertRaises(CredentialError, PresharedKeys, path)
            self.assertIsNone(error.__context__)
            self.assertNotIn(SECRET.hex()[:8], "".join(traceback.format_exception(error)))

    @given(
        st.binary(max_size=200)
        | st.lists(
            st.sampled_from(
                [
                    *("pump", "fan", ":", "\n", "\r", " ", "#", "0", "zz", "ü", "\x85", "\udcff"),
                    *(SECRET.hex(), OTHER.hex(), f"pump:{SECRET.hex()}\n", f"fan:{OTHER.hex()}\n"),
                ]
            ),
            max_size=12,
        ).map(lambda parts: "".join(parts).encode("utf-8", "surrogateescape"))
    )
    def test_anyBytes(self, content: bytes) -> None:
        """Any bytes are keys, each fit to be used, or an error without them."""
        path = write(self.path("psk"), content)
        try:
            keys = PresharedKeys(path)
        except CredentialError as error:
            self.assertTrue(str(error).startswith(f"{path}:"))
            self.assertTrue(str(error).isprintable())
            self.assertNotIn(SECRET.hex(), str(error))
            return
        for identity, key in keys.items():
            line = PresharedKey(identity, key).secretLine()
            self.assertIn(line.lower().encode(), content.lower())


class PresharedThingsTests(DirectoryMixin, TestCase):
    """Whom a pre-shared key admits."""

    def setUp(self) -> None:
        super().setUp()
        self.file = write(
            self.path("psk"), f"pump:{SECRET.hex()}\nKüche 2:{OTHER.hex()}\n".encode()
        )
        self.keys = PresharedKeys(self.file)
        self.things = PresharedThings(self.keys)
        self.server = PresharedServer(PresharedKey(b"pump", SECRET))

    def refusedBy(self, authorizer: Any, identity: Identity) -> str:
        """Why an authorizer refuses."""
        error = self.assertRaises(NotAuthorized, authorizer.authorize, identity)
        self.assertIs(error.code, ErrorCode.NOT_AUTHORIZED)
        self.assertTrue(error.detail.isprintable())
        return error.detail

    def test_interfaces(self) -> None:
        """Both are authorizers."""
        verifyObject(IAuthorizer, self.things)
        verifyObject(IAuthorizer, self.server)

    def test_admits(self) -> None:
        """Who proves a key is admitted under its identity."""
        self.assertEqual(self.things.authorize(proved(b"pump")).name, "pump")
        self.assertEqual(self.things.authorize(proved("Küche 2".encode())).name, "Küche 2")
        self.assertEqual(self.server.authorize(proved(b"pump")).name, "pump")

    def test_unknown(self) -> None:
        """A key that the server does not have admits nobody, and the refusal tells no key."""
        reason = "the pre-shared key fan is not among ours"
        self.assertEqual(self.refusedBy(self.things, proved(b"fan")), reason)
        plainly = PresharedThings({b"pump": SECRET})
        self.assertEqual(self.refusedBy(plainly, proved(b"fan")), reason)

    def test_taken(self) -> None:
        """A key that was taken out of the file admits nobody after the reload."""
        write(self.file, f"fan:{SECRET.hex()}".encode())
        self.things.authorize(proved(b"pump"))
        self.keys.reload()
        self.assertIn("is not among ours", self.refusedBy(self.things, proved(b"pump")))
        self.assertEqual(self.things.authorize(proved(b"fan")).name, "fan")

    def test_otherServer(self) -> None:
        """A server that proved a key of another identity is not believed."""
        self.assertEqual(
            self.refusedBy(self.server, proved(b"fan")),
            "the server proved the pre-shared key fan, not ours",
        )

    def test_otherKind(self) -> None:
        """A peer that proved something else, or nothing, is refused."""
        for authorizer in self.things, self.server:
            for kind in set(CredentialKind) - {CredentialKind.PRESHARED}:
                self.assertEqual(
                    self.refusedBy(authorizer, Identity(kind, b"", credential=b"pump")),
                    f"no pre-shared key was proved, but {kind.name}",
                )

    def test_hostileIdentity(self) -> None:
        """An identity that cannot be one is refused in a plain line, even if a mapping has it."""
        for identity in b"", b"a\nb", b"\xff", b"x" * 129:
            things = PresharedThings({identity: SECRET})
            self.assertIn("the identity", self.refusedBy(things, proved(identity)))

    def test_handshake(self) -> None:
        """A key of the file proves each side to the other in a handshake."""
        path = write(self.path("ours"), f"pump:{SECRET.hex()}".encode())
        key = PresharedKey.load(path)
        kinds = (CredentialKind.PRESHARED,)
        told = pump(
            *makePair(
                clientSettings(credential=key, peerKinds=kinds),
                serverSettings(presharedKeys=self.keys, peerKinds=kinds),
            )
        )
        for events, authorizer in (told.server, self.things), (told.client, PresharedServer(key)):
            (event,) = only(PeerProved, events)
            self.assertEqual(authorizer.authorize(event.identity).name, "pump")


class PsktoolTests(DirectoryMixin, TestCase):
    """Files that GnuTLS's psktool made."""

    skip = NO_PSKTOOL

    def test_psktool(self) -> None:
        """The keys that psktool adds to a file are read."""
        path = self.path("psk")
        for name in "pump", "fan":
            subprocess.run(
                ["psktool", "--username", name, "--pskfile", path],
                check=True,
                capture_output=True,
                timeout=60,
            )
        os.chmod(path, 0o600)
        keys = PresharedKeys(path)
        self.assertEqual(set(keys), {b"pump", b"fan"})
        self.assertEqual({len(key) for key in keys.values()}, {32})

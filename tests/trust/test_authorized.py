"""Which clients a server admits."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.trust.test_keys import DirectoryMixin, write
from thing.errors import CredentialError, ErrorCode, NotAuthorized
from thing.identity import CredentialKind, Identity, Purpose
from thing.trust import Anyone, AuthorizedThings, IAuthorizer, IdentityKey, formatPublicKey

ANONYMOUS = Identity(CredentialKind.NONE)


def identity(number: int) -> Identity:
    """A peer that proved some key, for each number another."""
    return Identity(CredentialKind.ED25519, number.to_bytes(32, "big"))


def line(number: int, comment: str = "") -> str:
    """The public key line of that peer."""
    return formatPublicKey(identity(number).publicKey, comment)


class AnyoneTests(TestCase):
    """The authorizer that asks for no more than a proof, or not even that."""

    def test_admits(self) -> None:
        """Any key is admitted without a name, and so is a client that has none."""
        verifyObject(IAuthorizer, Anyone())
        self.assertEqual(Anyone().authorize(identity(1)), identity(1))
        self.assertEqual(Anyone().authorize(ANONYMOUS), ANONYMOUS)


class AuthorizedThingsTests(DirectoryMixin, TestCase):
    """The authorizer with a file of keys and names."""

    def things(self, *lines: str) -> AuthorizedThings:
        return AuthorizedThings(write(self.path("things"), "\n".join(lines).encode()))

    def nameOf(self, text: str) -> str | None:
        """The name that the one line gives to the key of number 1."""
        return self.things(text).authorize(identity(1)).name

    def refusalOf(self, *lines: str) -> str:
        """Why a file of these lines is refused, without the path."""
        message = self.refusal(self.things, *lines)
        self.assertTrue(message.startswith(self.path("things")), message)
        return message.removeprefix(self.path("things"))

    def test_names(self) -> None:
        """A thing has the name of its option, else its comment, else none."""
        verifyObject(IAuthorizer, self.things())
        self.assertEqual(self.nameOf(line(1)), None)
        self.assertEqual(self.nameOf(line(1, "sensor-7")), "sensor-7")
        self.assertEqual(self.nameOf(line(1, "the sensor  on the roof")), "the sensor  on the roof")
        self.assertEqual(self.nameOf('name="sensor-7" ' + line(1)), "sensor-7")
        self.assertEqual(self.nameOf('name="sensor-7" ' + line(1, "a comment")), "sensor-7")
        self.assertEqual(self.nameOf('NAME="Küche, 2 \\"b\\" \\n"\t' + line(1)), 'Küche, 2 "b" \\n')

    def test_byteOrderMark(self) -> None:
        """A byte order mark is no part of the first line."""
        write(self.path("things"), b"\xef\xbb\xbf" + line(1, "lamp").encode())
        things = AuthorizedThings(self.path("things"))
        self.assertEqual(things.authorize(identity(1)).name, "lamp")

    def test_layout(self) -> None:
        """Blank lines, comments, indentation and carriage returns mean nothing."""
        things = self.things("# things", "", "  \t", " " + line(1, "a") + " \r", "#" + line(2))
        self.assertEqual(things.authorize(identity(1)).name, "a")
        self.assertRaises(NotAuthorized, things.authorize, identity(2))

    def test_unknown(self) -> None:
        """A key that is not in the file is refused, with the line that would admit it."""
        error = self.assertRaises(NotAuthorized, self.things(line(1)).authorize, identity(2))
        self.assertEqual(error.code, ErrorCode.NOT_AUTHORIZED)
        self.assertEqual(
            error.detail,
            f"{identity(2).fingerprint} is not in {self.path('things')}; "
            f"to admit it, add the line: {line(2, 'NAME')}",
        )

    def test_anonymous(self) -> None:
        """A client without a credential, which the settings let through, has no name."""
        things = self.things(line(1))
        self.assertEqual(things.authorize(ANONYMOUS), ANONYMOUS)
        self.assertRaises(NotAuthorized, things.authorize, identity(2))

    def test_options(self) -> None:
        """An option that is not understood is an error: it might be a restriction."""
        for option in ('command="/bin/true"', "restrict", 'name="a",no-pty', 'from="10.0.0.0/8"'):
            self.assertIn("is not understood", self.refusalOf("", f"{option} {line(1)}"))
        self.assertEqual(
            self.refusalOf("", f"restrict {line(1)}"), ":2: the option restrict is not understood"
        )

    def test_permits(self) -> None:
        """A key that may reach something is an operator's, and no thing's."""
        things = self.things(
            f'permit-reach="lamp-*:ssh",name="olga",Permit-Reach="*,!safe:web" {line(1)}',
            line(2, "lamp"),
        )
        olga, lamp = things.authorize(identity(1)), things.authorize(identity(2))
        self.assertEqual((olga.name, olga.purpose), ("olga", Purpose.OPERATOR))
        self.assertEqual(olga.permits, ("lamp-*:ssh", "*,!safe:web"))
        self.assertEqual((lamp.purpose, lamp.permits), (Purpose.THING, ()))
        self.assertEqual(
            self.nameOf(f'permit-reach="*:*" {line(1, "by its comment")}'), "by its comment"
        )
        for wrong in (
            'permit-reach=""',
            "permit-reach",
            'permit-reach="lamp"',
            'permit-reach="a:b c"',
        ):
            self.assertTrue(self.refusalOf(line(2), f"{wrong} {line(1)}").startswith(":2: "))

    def test_privateKey(self) -> None:
        """A private key that was put there by mistake is named as such."""
        IdentityKey.generate().save(self.path("key"))
        refusal = self.refusalOf(Path(self.path("key")).read_text().partition("\n")[0])
        self.assertIn("a private key", refusal)

    def test_badName(self) -> None:
        """A name that is empty, given twice, unquoted, not printable or too long is an error."""
        for options in 'name=""', "name", 'name="a",name="b"', "name=a", 'name="a', 'name="a\\"':
            self.refusalOf(f"{options} {line(1)}")
        for name in "a\x1b[2J", "a\u202eb", "a\u2028b", "a\0", "x" * 185, "ü" * 93:
            self.assertIn("name", self.refusalOf(f'name="{name}" {line(1)}'))
            self.assertIn("name", self.refusalOf(f"{line(1)} {name}"))
        for name in "x" * 184, "ü" * 92:
            self.assertEqual(self.nameOf(line(1, name)), name)

    def test_notText(self) -> None:
        """A name of bytes that are not UTF-8 is an error, and the error is plain text."""
        path = write(self.path(), line(1).encode() + b" \xff\xfe")
        self.assertIn(f"{path}:1: ", self.refusal(AuthorizedThings, path))

    def test_otherTypes(self) -> None:
        """A key of another type, or none, is an error that names the line."""
        for text in "ssh-rsa AAAAB3NzaC1yc2E= x", 'name="a" ecdsa-sha2-nistp256 AAAA':
            self.assertIn("only ssh-ed25519 is understood", self.refusalOf(text))
        self.assertEqual(
            self.refusalOf(line(1), "ssh-ed25519 AAAA"), ":2: the public key is damaged"
        )
        for text in "hello", "ssh-ed25519", "AAAA AAAA", 'name="a"', '"', "-----BEGIN X-----":
            self.assertTrue(self.refusalOf(line(1), text).startswith(":2: "))

    def test_duplicateKey(self) -> None:
        """A key that stands twice is an error that names both lines."""
        self.assertEqual(
            self.refusalOf(line(1, "a"), line(2), line(1, "b")),
            ":3: the key is already in line 1",
        )

    def test_duplicateName(self) -> None:
        """Two keys may have one name, so that a thing can change its key."""
        things = self.things(line(1, "a"), line(2, "a"))
        self.assertEqual([things.authorize(identity(n)).name for n in (1, 2)], ["a", "a"])

    def test_bounds(self) -> None:
        """A line or a file that is too long is an error."""
        self.assertEqual(self.refusalOf("", "#" * 8193), ":2: longer than 8192 bytes")
        self.things("#" * 8192)
        path = self.path("things")
        with open(path, "wb") as file:
            file.truncate(16 * 1024 * 1024 + 1)
        self.assertIn("longer than 16777216 bytes", self.refusal(AuthorizedThings, path))

    def test_missing(self) -> None:
        """A file that is missing is an error, not a file without keys."""
        self.assertIn("No such file", self.refusal(AuthorizedThings, self.path("missing")))

    def test_reload(self) -> None:
        """After reload, keys that were added are admitted and removed ones are not."""
        things = self.things(line(1, "a"))
        self.things(line(2, "b"))
        things.authorize(identity(1))
        things.reload()
        self.assertEqual(things.authorize(identity(2)).name, "b")
        self.assertRaises(NotAuthorized, things.authorize, identity(1))

    def test_reloadKeepsOld(self) -> None:
        """A reload that fails changes nothing, and says why."""
        things = self.things(line(1, "a"))
        write(self.path("things"), f"{line(2)}\nnonsense".encode())
        self.assertIn(":2: ", self.refusal(things.reload))
        os.remove(self.path("things"))
        self.assertIn("No such file", self.refusal(things.reload))
        self.assertEqual(things.authorize(identity(1)).name, "a")
        self.assertRaises(NotAuthorized, things.authorize, identity(2))

    def test_otherKind(self) -> None:
        """A key counts only as the kind of credential that the file is about."""
        impostor = Identity(99, identity(1).publicKey)
        self.assertRaises(NotAuthorized, self.things(line(1)).authorize, impostor)

    @settings(deadline=None)
    @given(
        st.binary(max_size=200)
        | st.lists(
            st.sampled_from(
                [
                    line(1),
                    line(2),
                    "ssh-ed25519",
                    "ssh-rsa",
                    " ",
                    "\t",
                    "\n",
                    "#",
                    "name=",
                    '"',
                    "\\",
                    ",",
                    "restrict",
                    "ü",
                    "\x85",
                    "\udcff",
                    'name="a" ',
                ]
            ),
            max_size=20,
        ).map(lambda parts: "".join(parts).encode("utf-8", "surrogateescape"))
    )
    def test_anyBytes(self, content: bytes) -> None:
        """Any bytes are a set of things, of which each has a printable name, or an error."""
        path = write(self.path(), content)
        try:
            things = AuthorizedThings(path)
        except CredentialError as error:
            self.assertTrue(str(error).startswith(f"{path}:"))
            self.assertTrue(str(error).isprintable())
            return
        for number in 1, 2:
            try:
                name = things.authorize(identity(number)).name
            except NotAuthorized:
                self.assertNotIn(line(number).encode() + b"\n", content.split(b"#")[0])
            else:
                self.assertTrue(name is None or (name and name.isprintable()))

    def test_realKey(self) -> None:
        """The public line of a generated key admits that key."""
        key = IdentityKey.generate()
        things = self.things(key.publicLine("mine"))
        proved = Identity(CredentialKind.ED25519, key.publicKey)
        self.assertEqual(things.authorize(proved).name, "mine")

"""The token by which a thing joins: what it holds, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import traceback
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from thing.errors import CredentialError
from thing.identity import CredentialKind, fingerprint
from thing.trust.jointoken import (
    MAX_FINGERPRINTS,
    MAX_SERVERS,
    MAX_TOKEN,
    JoinToken,
    checkId,
    newId,
)

ID = "00112233445566ff"
SECRET = bytes(range(0xE0, 0x100))
PRINT = fingerprint(bytes(32))
TOKEN = JoinToken(ID, SECRET, (PRINT,), ("example.org:7000",))

FINGERPRINTS = st.lists(
    st.binary(min_size=32, max_size=32).map(fingerprint), min_size=1, max_size=MAX_FINGERPRINTS
).map(tuple)
HOSTS = st.sampled_from(
    ("localhost", "192.0.2.7", "[2001:db8::1]", "[fe80::1%eth0]", "a_b.example.", "münchen.example")
)
SERVERS = st.lists(
    st.builds("{}:{}".format, HOSTS, st.integers(1, 65535)), min_size=1, max_size=MAX_SERVERS
).map(tuple)
TOKENS = st.builds(
    JoinToken,
    st.binary(min_size=8, max_size=8).map(bytes.hex),
    st.binary(min_size=32, max_size=32),
    FINGERPRINTS,
    SERVERS,
)


def sealed(content: bytes) -> str:
    """A token with a good checksum, whatever it holds."""
    octets = content + hashlib.sha256(content).digest()[:4]
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def octetsOf(token: JoinToken) -> bytes:
    """What a token holds, its checksum left out."""
    text = token.encode()
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[:-4]


class TokenTests(TestCase):
    """Tokens as they are written and read."""

    def test_layout(self) -> None:
        """A token is what the specification says that it is, octet for octet."""
        address = b"example.org:7000"
        digest = base64.b64decode(PRINT.removeprefix("SHA256:") + "=")
        content = b"\1" + bytes.fromhex(ID) + SECRET + b"\1" + digest + b"\1\x10" + address
        self.assertEqual(TOKEN.encode(), sealed(content))

    @given(TOKENS)
    def test_again(self, token: JoinToken) -> None:
        """What is written is read again; a token begins with a letter, as no option does."""
        text = token.encode()
        self.assertEqual(JoinToken.parse(text), token)
        self.assertTrue(text[0].isalpha())
        self.assertLessEqual(len(text), MAX_TOKEN)

    def test_longest(self) -> None:
        """The longest token is just within the limit, and is understood."""
        host = ".".join(("a" * 63, "b" * 63, "c" * 63, "d" * 57))
        token = JoinToken(ID, SECRET, (PRINT,) * MAX_FINGERPRINTS, (f"{host}:65535",) * MAX_SERVERS)
        self.assertEqual(len(token.servers[0]), 255)
        self.assertEqual(len(token.encode()), MAX_TOKEN)
        self.assertEqual(JoinToken.parse(token.encode()), token)

    def test_wrapped(self) -> None:
        """Blanks and ends of lines, as a letter or a terminal puts in, do no harm."""
        text = TOKEN.encode()
        self.assertEqual(JoinToken.parse(f"  {text[:40]}\r\n  {text[40:]} \n"), TOKEN)

    def test_credential(self) -> None:
        """A token is a pre-shared key by a name that no file can have."""
        self.assertIs(TOKEN.kind, CredentialKind.PRESHARED)
        self.assertEqual((TOKEN.identity, TOKEN.key), (b"join:" + ID.encode(), SECRET))
        self.assertEqual((TOKEN.data, TOKEN.sign(b"content")), (b"", b""))

    def test_addresses(self) -> None:
        """The addresses are there for connecting, too."""
        token = JoinToken(ID, SECRET, (PRINT,), ("[2001:db8::1]:7000", "localhost:1"))
        self.assertEqual(token.addresses, (("2001:db8::1", 7000), ("localhost", 1)))

    def test_secret(self) -> None:
        """What is shown of a token has nothing of its secret."""
        for shown in (repr(TOKEN), str(TOKEN), f"{TOKEN}"):
            self.assertIn(ID, shown)
            self.assertNotIn(repr(SECRET), shown)
            self.assertNotIn(SECRET.hex(), shown)
            self.assertNotIn(TOKEN.encode()[20:40], shown)

    def test_ids(self) -> None:
        """Each id is another, and can be one."""
        ids = {checkId(newId()) for _ in range(10)}
        self.assertEqual(len(ids), 10)


class RefusalTests(TestCase):
    """What is no token."""

    def refusal(self, text: str) -> str:
        """What is said about a text that is no token; nothing of a secret is in its traceback."""
        error = self.assertRaises(CredentialError, JoinToken.parse, text)
        for shown in traceback.format_exception(error):
            self.assertNotIn(TOKEN.encode()[20:40], shown)
        self.assertNotIn("\n", str(error))
        return str(error)

    @given(TOKENS, st.data())
    def test_mistyped(self, token: JoinToken, data: st.DataObject) -> None:
        """A token with one character changed, left out or put in is refused."""
        text = token.encode()
        at = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.sampled_from("AZaz09-_").filter(lambda each: each != text[at]))
        for wrong in (text[:at] + other + text[at + 1 :], text[:at] + other + text[at:]):
            self.refusal(wrong)
        self.refusal(text[:at])

    @given(st.binary(max_size=400))
    def test_anything(self, content: bytes) -> None:
        """Whatever has a good checksum is a token that is written just so, or refused."""
        for text in (sealed(content), sealed(b"\1" + content)):
            try:
                token = JoinToken.parse(text)
            except CredentialError:
                continue
            self.assertEqual(token.encode(), text)

    @given(st.text(max_size=200))
    def test_anyText(self, text: str) -> None:
        """No text confuses the reader."""
        self.refusal(text)

    def test_reasons(self) -> None:
        """A refusal says what is wrong."""
        content = octetsOf(TOKEN)
        damaged = "the token is damaged"
        for text, expected in (
            ("", "the token is empty"),
            (" \n", "the token is empty"),
            ("A" * (MAX_TOKEN + 1), f"not a token: it has more than {MAX_TOKEN} characters"),
            ("thing/join", "not a token: there are only letters, digits, '-' and '_' in one"),
            (TOKEN.encode()[:-1], "the token is not whole, or mistyped: its checksum is wrong"),
            (sealed(b""), "the token is not whole, or mistyped: its checksum is wrong"),
            (
                sealed(b"\2" + content[1:]),
                "the token is of version 2, and here only 1 is understood",
            ),
            (sealed(content + b"\0"), f"{damaged}: it has more than its parts"),
            (sealed(content[:-1]), f"{damaged}: it does not have its layout"),
            (sealed(content[:20]), f"{damaged}: it does not have its layout"),
            (sealed(content[:41] + b"\0\0"), "a token has 1 to 8 fingerprints"),
            (sealed(content[:74] + b"\0"), "a token has 1 to 8 addresses of the server"),
            (sealed(content[:41] + b"\x09" + bytes(288) + content[74:]), "1 to 8 fingerprints"),
        ):
            self.assertIn(expected, self.refusal(text))

    def test_canonical(self) -> None:
        """A token that another base64 also reads, with bits that do not count, is refused."""
        token = next(
            each
            for size in range(3)
            for each in [JoinToken(ID, SECRET, (PRINT,), (f"{'a' * (size + 1)}:7000",))]
            if len(each.encode()) % 4
        )
        last = token.encode()[-1]
        self.refusal(token.encode()[:-1] + chr(ord(last) + 1))

    def test_servers(self) -> None:
        """Only what can be one server is an address: no pattern, no list, no other line."""
        for server in (
            *("example.org", "example.org:0", "example.org:65536", ":7000", "a:b:7000"),
            *("*:7000", "?:7000", "a,b:7000", "!a:7000", "|1|a:7000", "a b:7000", "@a:7000"),
            *("a\nb:7000", "a\0b:7000", "[::1:7000", "::1:7000", "#:7000", "\udc80:7000"),
            *(
                "a" * 64 + ":7000",
                "[fe80::1%a,b]:7000",
                "https://a:7000",
            ),
        ):
            self.assertRaises(CredentialError, JoinToken, ID, SECRET, (PRINT,), (server,))
            octets = server.encode("utf-8", "surrogateescape")
            address = bytes((len(octets),)) + octets
            self.refusal(sealed(octetsOf(TOKEN)[:74] + b"\1" + address))

    def test_parts(self) -> None:
        """No token is made of what cannot be its parts."""
        good: dict[str, Any] = {
            "invitation": ID,
            "key": SECRET,
            "fingerprints": (PRINT,),
            "servers": ("localhost:1",),
        }
        for part, value in (
            ("invitation", ""),
            ("invitation", ID.upper()),
            ("invitation", ID + "\n"),
            ("key", SECRET[1:]),
            ("key", SECRET + b"\0"),
            ("fingerprints", ()),
            ("fingerprints", (PRINT,) * 9),
            ("fingerprints", ("SHA256:x",)),
            ("fingerprints", (f" {PRINT}",)),
            ("servers", ()),
            ("servers", ("localhost:1",) * 9),
            ("servers", ("a." * 125 + "a:1000",)),
        ):
            self.assertRaises(CredentialError, JoinToken, **(good | {part: value}))

"""Credentials, and what a signature proves."""

from twisted.trial.unittest import TestCase

from tests.helpers import CLIENT_CREDENTIAL, SERVER_CREDENTIAL
from thing.core.credentials import Anonymous, SignatureScheme, verifyCredential
from thing.errors import ErrorCode, RemoteProtocolError
from thing.identity import CredentialKind, Identity

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


class RegistryTests(TestCase):
    """Numbers."""

    def test_numbers(self) -> None:
        """Kinds are the specification's numbers, schemes TLS's."""
        self.assertEqual({int(kind) for kind in CredentialKind}, {0, 1})
        self.assertEqual(SignatureScheme.ED25519, 0x0807)

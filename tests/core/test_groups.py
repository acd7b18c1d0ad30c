"""The key exchange groups."""

from twisted.trial.unittest import TestCase

from tests.helpers import SeededRandom
from thing.core.groups import (
    GROUPS,
    MLKEM_CIPHERTEXT_LENGTH,
    MLKEM_KEY_LENGTH,
    X25519,
    X25519_LENGTH,
    X25519MLKEM768,
    Group,
    GroupName,
)
from thing.errors import ErrorCode, RemoteProtocolError

# The points of small order, RFC 7748's and their non-canonical twins: their result is zero.
SMALL_ORDER = [
    bytes.fromhex(octets)
    for octets in (
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
]


class GroupTestCase(TestCase):
    """What the tests below share."""

    def assertBadShare(self, group: Group, server: bytes | None, client: bytes | None) -> None:
        if server is not None:
            error = self.assertRaises(
                RemoteProtocolError, group.respond, server, SeededRandom("client")
            )
            self.assertIs(error.code, ErrorCode.BAD_SHARE)
        if client is not None:
            exchange = group.begin(SeededRandom("server"))
            error = self.assertRaises(RemoteProtocolError, exchange.finish, client)
            self.assertIs(error.code, ErrorCode.BAD_SHARE)


class GroupTests(GroupTestCase):
    """What holds for every group."""

    def test_agreement(self) -> None:
        """Both sides come to the same secret, another one each time."""
        for group in GROUPS.values():
            seen = set()
            for seed in ("one", "two"):
                exchange = group.begin(SeededRandom(seed))
                share, secret = group.respond(exchange.share, SeededRandom("client" + seed))
                self.assertEqual(exchange.finish(share), secret)
                seen.add(secret)
            self.assertEqual(len(seen), 2)

    def test_lengths(self) -> None:
        """A share that is cut, empty or too long is refused on both sides."""
        for group in GROUPS.values():
            exchange = group.begin(SeededRandom("server"))
            share, _ = group.respond(exchange.share, SeededRandom("client"))
            for bad in (b"", exchange.share[:-1], exchange.share + b"\0"):
                self.assertBadShare(group, bad, None)
            for bad in (b"", share[:-1], share + b"\0"):
                self.assertBadShare(group, None, bad)

    def test_numbers(self) -> None:
        """The groups have TLS's numbers, and the hybrid one is preferred."""
        self.assertEqual([int(name) for name in GROUPS], [0x11EC, 0x001D])


class X25519Tests(GroupTestCase):
    """X25519 alone."""

    def test_vector(self) -> None:
        """The exchange gives the public key and the secret of RFC 7748, section 6.1."""
        private = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
        public = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
        alice = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
        secret = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
        exchange = X25519().begin(lambda count: private)
        self.assertEqual(exchange.share.hex(), public)
        self.assertEqual(exchange.finish(alice).hex(), secret)
        self.assertEqual(X25519().respond(alice, lambda count: private)[1].hex(), secret)

    def test_allZero(self) -> None:
        """A share that makes the result all zero is refused on both sides."""
        for point in SMALL_ORDER:
            self.assertBadShare(X25519(), point, point)


class HybridTests(GroupTestCase):
    """X25519 and ML-KEM-768 at once."""

    group = X25519MLKEM768()

    def test_layout(self) -> None:
        """ML-KEM's part comes first, X25519's second, in the shares and in the secret."""
        exchange = self.group.begin(SeededRandom("server"))
        share, secret = self.group.respond(exchange.share, SeededRandom("client"))
        self.assertEqual(len(exchange.share), MLKEM_KEY_LENGTH + X25519_LENGTH)
        self.assertEqual(len(share), MLKEM_CIPHERTEXT_LENGTH + X25519_LENGTH)
        self.assertEqual(len(secret), 64)
        # The same X25519 keys without ML-KEM give the same second half.
        serverRandom = SeededRandom("server")
        serverRandom(64)
        classical = X25519().begin(serverRandom)
        self.assertEqual(exchange.share[MLKEM_KEY_LENGTH:], classical.share)
        self.assertEqual(secret[32:], classical.finish(share[MLKEM_CIPHERTEXT_LENGTH:]))

    def test_allZero(self) -> None:
        """A hybrid share with an X25519 part of small order is refused all the same."""
        exchange = self.group.begin(SeededRandom("server"))
        share, _ = self.group.respond(exchange.share, SeededRandom("client"))
        for point in SMALL_ORDER:
            self.assertBadShare(self.group, exchange.share[:MLKEM_KEY_LENGTH] + point, None)
            self.assertBadShare(self.group, None, share[:MLKEM_CIPHERTEXT_LENGTH] + point)

    def test_badEncapsulationKey(self) -> None:
        """A key whose coefficients are not reduced is refused (FIPS 203, section 7.2)."""
        exchange = self.group.begin(SeededRandom("server"))
        self.assertBadShare(
            self.group, b"\xff" * MLKEM_KEY_LENGTH + exchange.share[MLKEM_KEY_LENGTH:], None
        )

    def test_badCiphertext(self) -> None:
        """A changed ciphertext gives another secret, and no error that would tell."""
        exchange = self.group.begin(SeededRandom("server"))
        share, secret = self.group.respond(exchange.share, SeededRandom("client"))
        changed = bytes((share[0] ^ 1,)) + share[1:]
        other = exchange.finish(changed)
        self.assertNotEqual(other[:32], secret[:32])
        self.assertEqual(other[32:], secret[32:])

    def test_bothAreNeeded(self) -> None:
        """The secret is not known from one of the two exchanges alone."""
        exchange = self.group.begin(SeededRandom("server"))
        _, first = self.group.respond(exchange.share, SeededRandom("client"))
        _, second = self.group.respond(exchange.share, SeededRandom("client"))
        self.assertEqual(first[32:], second[32:])  # The same X25519 keys on both sides,
        self.assertNotEqual(first[:32], second[:32])  # but another encapsulated secret.


class NameTests(TestCase):
    """The registry."""

    def test_complete(self) -> None:
        """Every named group is there."""
        self.assertEqual(set(GROUPS), set(GroupName))

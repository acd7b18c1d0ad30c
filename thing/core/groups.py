"""
The key exchange groups (specification, "Groups").

Both are TLS 1.3's, under their TLS numbers: X25519 (RFC 7748) and the hybrid
X25519MLKEM768 (ML-KEM of FIPS 203, combined as in draft-ietf-tls-ecdhe-mlkem).
The roles are this protocol's: the server's share comes first and holds the
encapsulation key, the client's answers it with the ciphertext.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from thing.errors import ErrorCode, RemoteProtocolError

Random = Callable[[int], bytes]
"""Gives that many unpredictable octets, as :func:`secrets.token_bytes` does."""

X25519_LENGTH = 32
MLKEM_KEY_LENGTH = 1184
MLKEM_CIPHERTEXT_LENGTH = 1088
MLKEM_SEED_LENGTH = 64


class GroupName(IntEnum):
    """The groups, by their TLS numbers."""

    X25519MLKEM768 = 0x11EC
    X25519 = 0x001D


class ServerExchange(Protocol):
    """The server's half of one key exchange, used once."""

    share: bytes
    """The public share that SDH carries."""

    def finish(self, clientShare: bytes) -> bytes:
        """
        Complete the exchange.

        :param clientShare: what CDH carries.
        :return: the shared secret.
        :raises RemoteProtocolError: ``BAD_SHARE``.
        """


class Group(Protocol):
    """A way to agree on a secret over an open channel."""

    def begin(self, random: Random) -> ServerExchange:
        """
        The server's half.

        :param random: the source of randomness.
        :return: the exchange; its private part never leaves it.
        """

    def respond(self, serverShare: bytes, random: Random) -> tuple[bytes, bytes]:
        """
        The client's half, in one step.

        :param serverShare: what SDH carries.
        :param random: the source of randomness.
        :return: the client's share and the shared secret.
        :raises RemoteProtocolError: ``BAD_SHARE``.
        """


def _agree(private: X25519PrivateKey, public: bytes) -> bytes:
    """X25519, refusing what RFC 7748, section 6.1, tells to refuse: the all-zero result."""
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise RemoteProtocolError(ErrorCode.BAD_SHARE, "X25519") from None


def _expect(share: bytes, length: int) -> None:
    if len(share) != length:
        raise RemoteProtocolError(ErrorCode.BAD_SHARE, f"{len(share)} octets, not {length}")


class _X25519Exchange:
    def __init__(self, random: Random) -> None:
        self._private = X25519PrivateKey.from_private_bytes(random(X25519_LENGTH))
        self.share = self._private.public_key().public_bytes_raw()

    def finish(self, clientShare: bytes) -> bytes:
        _expect(clientShare, X25519_LENGTH)
        return _agree(self._private, clientShare)


class X25519:
    """Diffie-Hellman over Curve25519."""

    def begin(self, random: Random) -> ServerExchange:
        """
        The server's half.

        :param random: the source of randomness.
        :return: the exchange.
        """
        return _X25519Exchange(random)

    def respond(self, serverShare: bytes, random: Random) -> tuple[bytes, bytes]:
        """
        The client's half.

        :param serverShare: what SDH carries.
        :param random: the source of randomness.
        :return: the client's share and the shared secret.
        :raises RemoteProtocolError: ``BAD_SHARE``.
        """
        exchange = _X25519Exchange(random)
        return exchange.share, exchange.finish(serverShare)


class _HybridExchange:
    def __init__(self, random: Random) -> None:
        self._mlkem = MLKEM768PrivateKey.from_seed_bytes(random(MLKEM_SEED_LENGTH))
        self._x25519 = _X25519Exchange(random)
        self.share = self._mlkem.public_key().public_bytes_raw() + self._x25519.share

    def finish(self, clientShare: bytes) -> bytes:
        _expect(clientShare, MLKEM_CIPHERTEXT_LENGTH + X25519_LENGTH)
        ciphertext = clientShare[:MLKEM_CIPHERTEXT_LENGTH]
        return self._mlkem.decapsulate(ciphertext) + self._x25519.finish(
            clientShare[MLKEM_CIPHERTEXT_LENGTH:]
        )


class X25519MLKEM768:
    """X25519 and ML-KEM-768 at once: safe while either of them is."""

    def begin(self, random: Random) -> ServerExchange:
        """
        The server's half.

        :param random: the source of randomness.
        :return: the exchange.
        """
        return _HybridExchange(random)

    def encapsulate(self, key: bytes) -> tuple[bytes, bytes]:
        """
        Encapsulate a fresh secret.

        :param key: the peer's encapsulation key.
        :return: the secret and its ciphertext.
        :raises ValueError: if the key is not valid (FIPS 203, section 7.2).
        """
        return MLKEM768PublicKey.from_public_bytes(key).encapsulate()

    def respond(self, serverShare: bytes, random: Random) -> tuple[bytes, bytes]:
        """
        The client's half.

        :param serverShare: what SDH carries.
        :param random: the source of randomness for X25519; ML-KEM brings its own.
        :return: the client's share and the shared secret.
        :raises RemoteProtocolError: ``BAD_SHARE``.
        """
        _expect(serverShare, MLKEM_KEY_LENGTH + X25519_LENGTH)
        try:
            secret, ciphertext = self.encapsulate(serverShare[:MLKEM_KEY_LENGTH])
        except ValueError:
            raise RemoteProtocolError(ErrorCode.BAD_SHARE, "ML-KEM-768") from None
        exchange = _X25519Exchange(random)
        shared = secret + exchange.finish(serverShare[MLKEM_KEY_LENGTH:])
        return ciphertext + exchange.share, shared


GROUPS: dict[GroupName, Group] = {
    GroupName.X25519MLKEM768: X25519MLKEM768(),
    GroupName.X25519: X25519(),
}
"""Every group that this package has."""

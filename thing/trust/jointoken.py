"""
The token by which a new thing joins: one line, which holds all that the thing must know.

Specification, "Joining". Whoever reads a token may use it, so nothing shows the secret in it but
:meth:`JoinToken.encode`. What the server knows of it is in :mod:`thing.trust.invitations`.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from thing.core.credentials import Unsigned
from thing.core.layout import OCTETS32, OPAQUE8, UINT8, Field
from thing.errors import CredentialError, RemoteProtocolError
from thing.trust.keys import parseFingerprint
from thing.trust.keywords import host, server
from thing.trust.knownhosts import nameOfServer

if TYPE_CHECKING:
    from typing_extensions import Self

VERSION = 1
"""The first octet of a token."""

IDENTITY_PREFIX = "join:"
"""What the identity of an invitation's pre-shared key begins with; none in a file has a colon."""

SECRET_SIZE = 32
"""The octets of a token's secret."""

MAX_FINGERPRINTS = 8
"""The most keys of a server that a token names: no more are believed of one server, either."""

MAX_SERVERS = 8
"""The most addresses in a token."""

MAX_SERVER = 255
"""The longest address in a token, octets."""

_CHECKSUM_SIZE = 4

MAX_TOKEN = (
    4 * (1 + 8 + SECRET_SIZE + 1 + 32 * MAX_FINGERPRINTS + 1 + 256 * MAX_SERVERS + 4) + 2
) // 3
"""The longest token, characters."""

_ID = re.compile("[0-9a-f]{16}")


def newId() -> str:
    """
    Draw the id of an invitation.

    :return: the id, 16 hexadecimal digits.
    """
    return secrets.token_hex(8)


def newSecret() -> bytes:
    """
    Draw the secret of an invitation.

    :return: 32 octets.
    """
    return secrets.token_bytes(SECRET_SIZE)


def checkId(invitation: str) -> str:
    """
    Check the id of an invitation.

    :param invitation: the id.
    :return: the same.
    :raises CredentialError: if it is none.
    """
    if not _ID.fullmatch(invitation):
        raise CredentialError("the id of an invitation is 16 hexadecimal digits, a to f small")
    return invitation


def joinIdentity(invitation: str) -> bytes:
    """
    Tell what an invitation's pre-shared key is called.

    :param invitation: the invitation's id.
    :return: the key's identity.
    """
    return f"{IDENTITY_PREFIX}{invitation}".encode()


def invitationOf(identity: bytes) -> str | None:
    """
    Tell which invitation's a pre-shared key is.

    :param identity: what the key is called; a stranger's choice, so it may be anything.
    :return: the invitation's id; None if it is the key of none.
    """
    prefix = IDENTITY_PREFIX.encode()
    invitation = identity[len(prefix) :].decode("ascii", "replace")
    return invitation if identity.startswith(prefix) and _ID.fullmatch(invitation) else None


def checkServer(text: str) -> tuple[str, int]:
    """
    Read an address as tokens have it.

    :param text: ``host:port``; an IPv6 address in brackets.
    :return: the host and the port.
    :raises CredentialError: if it is none, or is longer than :data:`MAX_SERVER` octets.
    """
    try:
        name, port = server(text)
        host(name)
    except ValueError as error:
        raise CredentialError(str(error)) from None
    if port is None:
        raise CredentialError(f"{text[:80]!r} has no port: HOST:PORT is needed")
    nameOfServer(name, port)
    if len(text.encode()) > MAX_SERVER:
        raise CredentialError(f"the address of a server has more than {MAX_SERVER} octets")
    return name, port


@dataclass(frozen=True, slots=True)
class JoinToken(Unsigned):
    """
    A token: where the server is, how to know it, and the secret of one invitation.

    It is what a joining thing authenticates with, too: a credential of the kind ``PRESHARED``.

    :raises CredentialError: if a part cannot be one.
    """

    invitation: str
    """The invitation's id, 16 hexadecimal digits."""

    key: bytes = field(repr=False)
    """The secret, 32 octets."""

    fingerprints: tuple[str, ...]
    """The fingerprints of the server's keys, as ssh prints them: 1 to 8."""

    servers: tuple[str, ...]
    """Where the server is: 1 to 8 of ``host:port``, the first to be tried first."""

    def __post_init__(self) -> None:
        """:raises CredentialError: if a part cannot be one."""
        checkId(self.invitation)
        if len(self.key) != SECRET_SIZE:
            raise CredentialError(f"a token's secret has {SECRET_SIZE} octets")
        if not 0 < len(self.fingerprints) <= MAX_FINGERPRINTS:
            raise CredentialError(f"a token has 1 to {MAX_FINGERPRINTS} fingerprints")
        if not 0 < len(self.servers) <= MAX_SERVERS:
            raise CredentialError(f"a token has 1 to {MAX_SERVERS} addresses of the server")
        for each in self.fingerprints:
            if parseFingerprint(each) != each:
                raise CredentialError(f"not as ssh prints a fingerprint: {each!r}")
        for each in self.servers:
            checkServer(each)

    @property
    def identity(self) -> bytes:
        """What the pre-shared key is called, in the clear."""
        return joinIdentity(self.invitation)

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """The host and the port of each of :attr:`servers`."""
        return tuple(map(checkServer, self.servers))

    def encode(self) -> str:
        """
        Write the token; this shows its secret.

        :return: one word of letters, digits, ``-`` and ``_``; it begins with a letter.
        """
        digests = (base64.b64decode(each.partition(":")[2] + "=") for each in self.fingerprints)
        content = b"".join(
            (
                UINT8.write(VERSION),
                bytes.fromhex(self.invitation),
                self.key,
                _written(OCTETS32, digests),
                _written(OPAQUE8, (each.encode() for each in self.servers)),
            )
        )
        return _inBase64(content + _checksum(content))

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read a token.

        :param text: the token; blanks and ends of lines in it do not count.
        :return: the token.
        :raises CredentialError: if it is none; the message quotes nothing of its secret.
        """
        content = _content("".join(text.split()))
        if isinstance(content, str):
            raise CredentialError(content)
        try:
            return cls(*_fields(content))
        except RemoteProtocolError:
            raise CredentialError("the token is damaged: it does not have its layout") from None


def _written(layout: Field[bytes], values: Iterable[bytes]) -> bytes:
    """A list: how many there are, and each."""
    written = [layout.write(value) for value in values]
    return UINT8.write(len(written)) + b"".join(written)


def _checksum(content: bytes) -> bytes:
    """What tells a token that was cut or mistyped; it keeps nobody from making one."""
    return hashlib.sha256(content).digest()[:_CHECKSUM_SIZE]


def _inBase64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def _content(text: str) -> bytes | str:
    """
    What a token holds before its checksum, or what is wrong with it as it was copied.

    An answer, not an exception: one raised here could carry those of the decoder as its context,
    and with them the secret.
    """
    if not text:
        return "the token is empty"
    if len(text) > MAX_TOKEN:
        return f"not a token: it has more than {MAX_TOKEN} characters"
    if not re.fullmatch("[A-Za-z0-9_-]+", text):
        return "not a token: there are only letters, digits, '-' and '_' in one"
    octets = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if len(text) % 4 != 1 else b""
    content, checksum = octets[:-_CHECKSUM_SIZE], octets[-_CHECKSUM_SIZE:]
    if _inBase64(octets) != text or not content or checksum != _checksum(content):
        return "the token is not whole, or mistyped: its checksum is wrong"
    if content[0] != VERSION:
        return f"the token is of version {content[0]}, and here only {VERSION} is understood"
    return content


def _fields(content: bytes) -> tuple[str, bytes, tuple[str, ...], tuple[str, ...]]:
    """
    The parts of a token.

    :raises RemoteProtocolError: if it is cut.
    :raises CredentialError: if it has more than its parts.
    """
    invitation, key, at = content[1:9].hex(), content[9:41], 41
    digests, at = _readList(OCTETS32, content, at)
    servers, at = _readList(OPAQUE8, content, at)
    if at != len(content):
        raise CredentialError("the token is damaged: it has more than its parts")
    fingerprints = (f"SHA256:{base64.b64encode(each).decode().rstrip('=')}" for each in digests)
    texts = (each.decode("utf-8", "surrogateescape") for each in servers)
    return invitation, key, tuple(fingerprints), tuple(texts)


def _readList(layout: Field[bytes], content: bytes, at: int) -> tuple[list[bytes], int]:
    """As many values as the list says that it has, and where it ends."""
    count, at = UINT8.read(content, at)
    values = []
    for _ in range(count):
        value, at = layout.read(content, at)
        values.append(value)
    return values, at

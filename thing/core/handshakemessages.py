"""
The messages of the handshake (specification, "Messages").

Each class declares its body's layout once, for both directions (:mod:`thing.core.layout`). What
they say, and what is done about it, is decided in :mod:`thing.core.handshake`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from thing.core.layout import (
    EXTENSIONS,
    LIST8,
    LIST16,
    OCTETS32,
    OPAQUE16,
    UINT8,
    UINT16,
    UINT32,
    Extensions,
    Message,
)
from thing.core.messages import MAGIC, VERSION, MessageType
from thing.errors import ErrorCode, RemoteProtocolError

SHOWN = 8
"""How many numbers of a peer's list go into a log, so that no stranger fills it."""

M = TypeVar("M", bound="Init")


class Init(Message):
    """
    CHI or SHI: it begins with what every version has, the magic and the versions.

    What follows is laid out by the version, so it is read only if that is this one.
    """

    __slots__ = ()

    @classmethod
    def decode(cls: type[M], body: bytes) -> M:
        """
        Read a body.

        :param body: the octets after the type.
        :return: the message.
        :raises RemoteProtocolError: as a :class:`~thing.core.layout.Message`, and before that
            ``VERSION_UNSUPPORTED``.
        """
        if body.startswith(cls.PREFIX):
            versions, _ = cls.LAYOUT[0].read(body, len(cls.PREFIX))
            versions = versions if isinstance(versions, tuple) else (versions,)
            if VERSION not in versions:
                raise RemoteProtocolError(
                    ErrorCode.VERSION_UNSUPPORTED, f"versions {versions[:SHOWN]}"
                )
        return super().decode(body)


@dataclass(frozen=True, slots=True)
class CHI(Init):
    """Client Handshake Init: what the client offers and asks for, after the magic."""

    TYPE = MessageType.CHI
    PREFIX = MAGIC
    LAYOUT = (
        *(LIST8, OCTETS32, LIST16, LIST16, LIST8, UINT32),
        *(UINT32, UINT32, UINT32, UINT16, EXTENSIONS),
    )

    versions: tuple[int, ...]
    random: bytes
    groups: tuple[int, ...]
    aeads: tuple[int, ...]
    credentialKinds: tuple[int, ...]
    """The kinds of server credential that the client can check."""
    requestedTtl: int
    """Milliseconds; zero leaves the choice to the server."""
    recordLimit: int
    """The longest record that the client takes once Established, octets."""
    mainCredit: int
    """Its first credit for the main stream, octets."""
    streamCredit: int
    """Its first credit for every other stream, octets."""
    maxStreams: int
    """How many streams the server may have open at once."""
    extensions: Extensions = ()


@dataclass(frozen=True, slots=True)
class SHI(Init):
    """Server Handshake Init: what the server chose."""

    TYPE = MessageType.SHI
    LAYOUT = (
        *(UINT8, OCTETS32, UINT16, UINT16),
        *(UINT32, UINT32, UINT32, UINT16, EXTENSIONS),
    )

    version: int
    random: bytes
    group: int
    """The group's number; zero asks for a retry."""
    aead: int
    recordLimit: int
    """The longest record that the server takes once Established, octets."""
    mainCredit: int
    """Its first credit for the main stream, octets."""
    streamCredit: int
    """Its first credit for every other stream, octets."""
    maxStreams: int
    """How many streams the client may have open at once."""
    extensions: Extensions = ()


@dataclass(frozen=True, slots=True)
class Share(Message):
    """One side's ephemeral public share."""

    LAYOUT = (OPAQUE16, EXTENSIONS)

    share: bytes
    extensions: Extensions = ()


class SDH(Share):
    """Server Diffie-Hellman: the server's ephemeral public share."""

    __slots__ = ()
    TYPE = MessageType.SDH


class CDH(Share):
    """Client Diffie-Hellman: the client's ephemeral public share."""

    __slots__ = ()
    TYPE = MessageType.CDH


class Check(Message):
    """A message that ends in a MAC over all before it, empty while it is not made."""

    __slots__ = ()
    mac: bytes

    @staticmethod
    def macPart(octets: bytes) -> bytes:
        """
        Tell what the MAC covers.

        :param octets: the message's type octet and its body.
        :return: the octets up to the MAC.
        """
        return octets[: -OCTETS32.size]


class SignedCheck(Check):
    """SCC or CCC: before the MAC stands a signature over all before it."""

    __slots__ = ()
    signature: bytes

    def signedPart(self, octets: bytes) -> bytes:
        """
        Tell what the signature covers.

        :param octets: the message's type octet and its body.
        :return: the octets up to the signature.
        """
        return octets[: -len(OPAQUE16.write(self.signature)) - OCTETS32.size]

    def unsigned(self) -> bytes:
        """
        Encode the message up to where its signature goes.

        :return: the type octet, and the body without the signature and the MAC.
        """
        return self.typed()[: -len(OPAQUE16.write(self.signature)) - len(self.mac)]


@dataclass(frozen=True, slots=True)
class SCC(SignedCheck):
    """Server Crypto Check: the server's credential, its challenge and its proof."""

    TYPE = MessageType.SCC
    LAYOUT = (OCTETS32, LIST8, UINT8, OPAQUE16, EXTENSIONS, UINT16, OPAQUE16, OCTETS32)

    challenge: bytes
    acceptedKinds: tuple[int, ...]
    """The kinds of client credential that the server takes; 0 stands for none at all."""
    credentialKind: int
    credential: bytes
    extensions: Extensions
    scheme: int
    signature: bytes = b""
    mac: bytes = b""


@dataclass(frozen=True, slots=True)
class CCC(SignedCheck):
    """Client Crypto Check: the client's credential, or none, and its proof."""

    TYPE = MessageType.CCC
    LAYOUT = (UINT8, OPAQUE16, EXTENSIONS, UINT16, OPAQUE16, OCTETS32)

    credentialKind: int
    credential: bytes
    extensions: Extensions
    scheme: int
    signature: bytes = b""
    mac: bytes = b""


@dataclass(frozen=True, slots=True)
class SHF(Check):
    """Server Handshake Finalize: the Connection's TTL and beat interval, and the server's MAC."""

    TYPE = MessageType.SHF
    LAYOUT = (UINT32, UINT32, EXTENSIONS, OCTETS32)

    ttl: int
    """Milliseconds."""
    interval: int
    """Milliseconds."""
    extensions: Extensions = ()
    mac: bytes = b""

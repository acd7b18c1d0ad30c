"""
Secrets that both sides have before the handshake: pre-shared keys and tickets.

Specification, "Pre-shared keys" and "Resumption". Both enter the key schedule
as in TLS 1.3 (RFC 8446, sections 4.2.11 and 7.1), beside a fresh
Diffie-Hellman, and take the place of both signatures.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from thing.core.credentials import Credential
from thing.core.extensions import GivenTicket
from thing.core.layout import OPAQUE16, UINT8
from thing.events import ResumptionTicket
from thing.identity import CredentialKind, Identity

MAX_TICKET = 768
"""The longest ticket, octets: with it CHI is still within its limit."""

MAX_LIFETIME = 604800
"""For how long a client keeps a ticket at most, seconds: seven days (RFC 8446, section 4.6.1)."""

MIN_KEY = 16
"""The shortest pre-shared key, octets (RFC 9257, section 6)."""


class Form(IntEnum):
    """The sorts of secret that a client can offer; the label of its binder goes with it."""

    KEY = 1
    TICKET = 2

    @property
    def binderLabel(self) -> bytes:
        """The label of the binder's key (specification, "Key schedule")."""
        return b"ext binder" if self is Form.KEY else b"res binder"


@dataclass(frozen=True, slots=True)
class Preshared:
    """One secret that is offered, and whom the peer is thereby proved to be."""

    form: Form
    identity: bytes
    """What is sent: the key's identity, or the ticket."""
    secret: bytes = field(repr=False)
    peer: Identity
    expires: float | None = None
    """When a ticket's first handshake, with signatures, is too long ago; wall clock, seconds."""


class PresharedCredential(Credential, Protocol):
    """A credential of the kind ``PRESHARED``; it signs nothing."""

    @property
    def identity(self) -> bytes:
        """What the key is called, in the clear; 1 to 128 octets."""

    @property
    def key(self) -> bytes:
        """The secret, 16 to 64 octets."""


def presharedKey(identity: bytes, key: bytes) -> Preshared:
    """
    A pre-shared key, as it is offered and accepted.

    :param identity: what it is called.
    :param key: the secret.
    :return: the secret; it proves that the peer has the same.
    """
    peer = Identity(CredentialKind.PRESHARED, credential=identity, secretDigest=digestOf(key))
    return Preshared(Form.KEY, identity, key, peer)


def digestOf(key: bytes) -> bytes:
    """
    Tell one pre-shared key from another of the same identity, without keeping it.

    :param key: the secret.
    :return: 32 octets, of no use for anything else.
    """
    return hmac.digest(key, b"thing pre-shared key", "sha256")


def resumption(ticket: ResumptionTicket) -> Preshared:
    """
    A ticket, as it is offered.

    :param ticket: what an earlier session left.
    :return: the secret; it proves that the peer is the one of that session.
    """
    return Preshared(Form.TICKET, ticket.ticket, ticket.secret, ticket.peer)


@dataclass(frozen=True, slots=True)
class Resumable:
    """What a server puts into a ticket."""

    secret: bytes = field(repr=False)
    peer: Identity
    """The client, as the first handshake proved it; the name is not kept."""
    expires: float | None = None
    """What :class:`Preshared` has; None if this handshake is the first."""


class TicketSealer(Protocol):
    """What seals tickets, and opens those that it or its like sealed."""

    def seal(self, resumable: Resumable, server: bytes) -> GivenTicket | None:
        """
        Seal a ticket.

        :param resumable: what is to be in it.
        :param server: what :func:`showing` says of the server.
        :return: the ticket, or None if it would be too long, or of no use.
        """

    def open(self, ticket: bytes, server: bytes) -> Resumable | None:
        """
        Open a ticket.

        :param ticket: what a client offers, anything at all.
        :param server: what :func:`showing` says of the server.
        :return: what is in it; None if it cannot be read, has expired, or was sealed by a
            server that was known otherwise.
        """


def showing(credentials: Iterable[Credential]) -> bytes:
    """
    What a server is known by: a ticket is good only for the very same.

    A server that changes its credentials, or announces new ones, must prove them.

    :param credentials: the server's own, and the next one.
    :return: octets for the seal to cover.
    """
    return b"".join(UINT8.write(each.kind) + OPAQUE16.write(each.data) for each in credentials)

"""What the two sides of a session can do, as an input's first octets say."""

from __future__ import annotations

from functools import cache
from typing import Any

from fuzz.grammar import KNOWN
from tests.core.test_credentials import certifiedKey, chainOf
from tests.helpers import (
    CLIENT_CREDENTIAL,
    SERVER_CREDENTIAL,
    Ed25519Credential,
    clientSettings,
    serverSettings,
)
from thing.core.capacity import Capacity
from thing.core.credentials import Anonymous
from thing.core.extensions import GivenTicket
from thing.core.groups import GroupName
from thing.core.preshared import Resumable
from thing.core.window import Budget
from thing.events import (
    ResumptionTicket,
)
from thing.identity import CredentialKind, Identity
from thing.trust.preshared import PresharedKey

KINDS = (CredentialKind.ED25519, CredentialKind.X509, CredentialKind.SSH_CERTIFICATE)
SECRET = bytes(range(32))
TICKET = ResumptionTicket(b"ticket", SECRET, Identity(CredentialKind.ED25519, bytes(32)), 60.0)
BUDGET = 100_000
"""What all windows may grow by together, octets: a few of them, so that it is short soon."""

SMALL = Capacity(600, 1000, 300, 3)
NEXT = Ed25519Credential("the server's next")
KNOWN += [b"kettle", b"ticket", CLIENT_CREDENTIAL.data, NEXT.data]


@cache
def credentials() -> tuple[Any, ...]:
    """
    Make the credentials that a side may have: they cost too much to be made for each input.

    :return: one of each kind.
    """
    chains = tuple(chainOf(sort) for sort in ("ed25519", "p256", "rsa2048"))
    made = (CLIENT_CREDENTIAL, *chains, certifiedKey())
    KNOWN.extend(each.data for each in made)
    return made


class Sealer:
    """Seals always the same ticket, and takes anything for it."""

    def seal(self, resumable: Resumable, server: bytes) -> GivenTicket:
        """
        Seal a ticket.

        :param resumable: what is to be in it.
        :param server: anything.
        :return: always the same.
        """
        return GivenTicket(60, TICKET.ticket)

    def open(self, ticket: bytes, server: bytes) -> Resumable | None:
        """
        Open a ticket.

        :param ticket: anything.
        :param server: anything.
        :return: a secret that the client has, too, unless the ticket is empty.
        """
        return Resumable(SECRET, Identity(CredentialKind.NONE)) if ticket else None


def _shared(options: int) -> dict[str, Any]:
    hybrid = (GroupName.X25519, GroupName.X25519MLKEM768)
    shared: dict[str, Any] = {"stream": bool(options & 8), "budget": Budget(BUDGET)}
    if options & 16:
        shared |= {"capacity": SMALL, "maxMessage": 5000, "maxWindow": 2000}
    if options & 64:
        shared["groups"] = hybrid[:: -1 if options & 128 else 1]
    return shared


def clientOf(options: int, kinds: int) -> tuple[Any, ResumptionTicket | None]:
    """
    Choose what a client can do.

    :param options: a bit for each thing that it may use.
    :param kinds: which credentials there are.
    :return: its settings, and its ticket if it has one.
    """
    way, shared = kinds % 8, _shared(options)
    if way == 7:
        key = PresharedKey(b"kettle", SECRET)
        only = (CredentialKind.PRESHARED,)
        return clientSettings(credential=key, peerKinds=only, maxDifficulty=8, **shared), None
    ours = Anonymous() if way == 6 else credentials()[way % 5]
    return (
        clientSettings(
            credential=ours,
            peerKinds=KINDS,
            maxDifficulty=8,
            lastWord=b"word" if options & 2 else b"",
            **shared,
        ),
        TICKET if options & 4 else None,
    )


def serverOf(options: int, kinds: int) -> Any:
    """
    Choose what a server can do.

    :param options: a bit for each thing that it may use.
    :param kinds: which credentials there are.
    :return: its settings.
    """
    chosen = kinds // 8 % 5
    return serverSettings(
        credential=credentials()[chosen] if chosen else SERVER_CREDENTIAL,
        nextCredential=NEXT if kinds & 128 and not chosen else None,
        tickets=Sealer() if options & 2 or options & 4 else None,
        allowAnonymous=bool(options & 4) or kinds % 128 == 6,
        peerKinds=(*KINDS, CredentialKind.PRESHARED),
        presharedKeys={b"kettle": SECRET},
        **_shared(options),
    )

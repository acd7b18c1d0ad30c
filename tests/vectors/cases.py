"""
What the test vectors show: each file's case, its inputs, and the two sides made of them.

Times, keys, certificates and tickets are fixed, as all that is random is.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.helpers import only, pump
from thing.core.capacity import Capacity
from thing.core.client import ClientConnection
from thing.core.credentials import Anonymous, Credential, joinChain, splitChain
from thing.core.extensions import GivenTicket
from thing.core.groups import GROUPS, X25519MLKEM768, GroupName
from thing.core.layout import UINT32, UINT64
from thing.core.messages import Role
from thing.core.preshared import Resumable
from thing.core.records import Aead
from thing.core.server import ServerConnection
from thing.core.settings import ClientSettings, ServerSettings
from thing.core.window import Budget
from thing.events import ResumptionTicket, TicketReceived
from thing.identity import CredentialKind, Identity
from thing.trust import tickets
from thing.trust.certificates import CertificateChain
from thing.trust.keys import IdentityKey
from thing.trust.preshared import PresharedKey
from thing.trust.sshcertificates import CertifiedKey

FOLDER = Path(__file__).resolve().parent
MLKEM = json.loads((FOLDER / "inputs" / "mlkem768.json").read_text())

REQUESTED_TTL = 20.0

WALL_CLOCK = 1_767_225_600
"""When the first ticket is given: 2026-01-01 00:00 UTC, in seconds since 1970."""

LATER = 3600
"""How much later the session is resumed, seconds."""

TICKET_LIFETIME = 24 * 3600

SMALL = Capacity(512, 576, 128, 0)
"""The least that a peer can take."""

CLIENT, SERVER = Role.CLIENT, Role.SERVER

ED25519, X509 = CredentialKind.ED25519, CredentialKind.X509
PRESHARED, SSH_CERTIFICATE = CredentialKind.PRESHARED, CredentialKind.SSH_CERTIFICATE
NONE = CredentialKind.NONE


@dataclass(frozen=True)
class Case:
    """What one file of vectors shows."""

    name: str
    """The file's name, without its suffix."""
    shows: str
    group: GroupName = GroupName.X25519
    aead: Aead = Aead.AES_256_GCM
    kind: CredentialKind = ED25519
    """The kind of both sides' credentials."""
    anonymous: bool = False
    """Whether the client has no credential."""
    difficulty: int = 0
    """How hard a puzzle the server asks, bits; zero for none."""
    tickets: bool = False
    """Whether the client asks for a ticket, and is given one."""
    resumed: bool = False
    """Whether it offers the ticket of the case that gives the first."""
    small: bool = False
    """Whether the client takes no more than the least."""

    @property
    def clientKind(self) -> CredentialKind:
        """The kind of the client's credential."""
        return NONE if self.anonymous else self.kind

    @property
    def basic(self) -> bool:
        """Whether it is one of those that show every group and AEAD."""
        return self in BASIC

    @property
    def fragmented(self) -> bool:
        """Whether a message in two fragments is in the file; they are long, so not in each."""
        return self.group is GroupName.X25519 and self.anonymous

    @property
    def comment(self) -> str:
        """What the file shows, in words."""
        return f"Thing, version 1: {self.group.name}, {self.aead.name}, {self.shows}."


def _basic(group: GroupName, aead: Aead, mutual: bool) -> Case:
    words = (group.name, aead.name, "mutual" if mutual else "anonymous")
    client = "a client with an Ed25519 key" if mutual else "an anonymous client"
    name = "-".join(words).lower().replace("_", "-")
    return Case(name, client, group, aead, anonymous=not mutual)


BASIC = [_basic(*choice) for choice in product(GROUPS, Aead, (True, False))]
TICKET = Case("ticket", "a client that is given a ticket", tickets=True)
CASES = [
    *BASIC,
    Case("retry", "a retry with a puzzle", difficulty=10),
    Case("preshared", "a pre-shared key", kind=PRESHARED),
    TICKET,
    Case("resumption", "the session that the ticket resumes", tickets=True, resumed=True),
    Case(
        "resumption-retry",
        "the session that the ticket resumes, after a retry with a puzzle",
        tickets=True,
        resumed=True,
        difficulty=10,
    ),
    Case("x509", "X.509 certificates", kind=X509),
    Case("small", "a small client with a pre-shared key", kind=PRESHARED, small=True),
    Case("ssh-certificate", "OpenSSH certificates", kind=SSH_CERTIFICATE),
]


def octets(name: str, length: int = 32) -> bytes:
    """Fixed octets that look random, one value for each name."""
    return hashlib.shake_256(b"thing/1 test vector: " + name.encode()).digest(length)


class Source:
    """A source of randomness that gives known values in the order in which they are asked for."""

    def __init__(self, *values: bytes) -> None:
        self._values = list(values)

    def __call__(self, count: int) -> bytes:
        value = self._values.pop(0)
        if len(value) != count:
            raise ValueError(f"{count} octets asked for, {len(value)} foreseen")
        return value


class RecordedEncapsulation(X25519MLKEM768):
    """The hybrid group with the one encapsulation that was recorded."""

    def encapsulate(self, key: bytes) -> tuple[bytes, bytes]:
        private = MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(MLKEM["seed"]))
        if private.public_key().public_bytes_raw() != key:
            raise ValueError("not the key that was recorded")
        ciphertext = bytes.fromhex(MLKEM["ciphertext"])
        return private.decapsulate(ciphertext), ciphertext


class FixedTickets(tickets.TicketKeys):
    """Seals tickets with a known key and a known nonce, at a known time."""

    def __init__(self, inputs: dict[str, Any]) -> None:
        super().__init__(lifetime=TICKET_LIFETIME, wallClock=lambda: inputs["wallClock"])
        key = inputs["ticketKeyName"] + inputs["ticketKey"]
        self._keys = [tickets._TicketKey(key, inputs["wallClock"])]
        self._nonce = inputs["ticketNonce"]

    def seal(self, resumable: Resumable, server: bytes) -> GivenTicket | None:
        with mock.patch.object(tickets.secrets, "token_bytes", Source(self._nonce)):
            return super().seal(resumable, server)


class LateTickets(FixedTickets):
    """Those of a server that gets the key of a ticket only after it has asked for a retry."""

    asked = False

    def open(self, ticket: bytes, server: bytes) -> Resumable | None:
        found = super().open(ticket, server) if self.asked else None
        self.asked = True
        return found


def privateKey(seed: bytes) -> Ed25519PrivateKey:
    """The private key of a seed."""
    return Ed25519PrivateKey.from_private_bytes(seed)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def x509Chain(owner: str, seed: bytes) -> bytes:
    """A leaf certificate and that of its authority, as a credential."""
    ca = ec.derive_private_key(int.from_bytes(octets("authority key"), "big"), ec.SECP256R1())
    return joinChain(
        (
            _certificate(owner, privateKey(seed).public_key(), ca),
            _certificate("authority", ca.public_key(), ca),
        )
    )


def _certificate(
    name: str, key: CertificatePublicKeyTypes, ca: ec.EllipticCurvePrivateKey
) -> bytes:
    begins = datetime.fromtimestamp(WALL_CLOCK, timezone.utc)
    isAuthority = name == "authority"
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named("authority"))
        .public_key(key)
        .serial_number(1 + isAuthority)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(isAuthority, None), critical=True)
    )
    if not isAuthority:
        names = x509.SubjectAlternativeName([x509.DNSName(f"{name}.example")])
        builder = builder.add_extension(names, critical=False)
    signed = builder.sign(ca, hashes.SHA256(), ecdsa_deterministic=True)  # RFC 6979.
    return signed.public_bytes(Encoding.DER)


def sshCertificate(owner: str, seed: bytes) -> bytes:
    """An OpenSSH certificate (PROTOCOL.certkeys): of a user for a client, else of a host."""
    ca = privateKey(octets("authority identity"))

    def string(value: bytes) -> bytes:
        return UINT32.write(len(value)) + value

    kind = string(b"ssh-ed25519")
    signed = b"".join(
        (
            string(b"ssh-ed25519-cert-v01@openssh.com"),
            string(octets(f"{owner} certificate")),
            string(privateKey(seed).public_key().public_bytes_raw()),
            UINT64.write(1),
            UINT32.write(1 if owner == "client" else 2),
            string(owner.encode()),
            string(string(f"{owner}.example".encode())),
            UINT64.write(WALL_CLOCK),
            UINT64.write(WALL_CLOCK + 3650 * 24 * 3600),
            *(string(b""), string(b""), string(b"")),
            string(kind + string(ca.public_key().public_bytes_raw())),
        )
    )
    return signed + string(kind + string(ca.sign(signed)))


CERTIFY: dict[CredentialKind, Callable[[str, bytes], bytes]] = {
    X509: x509Chain,
    SSH_CERTIFICATE: sshCertificate,
}


def inputsOf(case: Case) -> dict[str, Any]:
    """All that is random or secret in a case."""

    def fresh(name: str, length: int = 32) -> bytes:
        return octets(name if case.basic else f"{case.name}, {name}", length)

    inputs: dict[str, Any] = {}
    for name in ("clientRandom", "serverRandom", "challenge", "clientX25519", "serverX25519"):
        inputs[name] = fresh(name)
    if case.group is GroupName.X25519MLKEM768:
        inputs["mlkemSeed"] = bytes.fromhex(MLKEM["seed"])
        inputs["mlkemCiphertext"] = bytes.fromhex(MLKEM["ciphertext"])
    owners = () if case.kind is PRESHARED else ("server", "next", "client")
    for owner in owners[:2] if case.anonymous else owners:
        seed = inputs[f"{owner}Seed"] = octets(f"{owner} identity")
        inputs[f"{owner}PublicKey"] = privateKey(seed).public_key().public_bytes_raw()
        if case.kind in CERTIFY:
            inputs[f"{owner}Credential"] = CERTIFY[case.kind](owner, seed)
    if case.difficulty:
        inputs |= {"puzzleSeed": fresh("puzzleSeed"), "retryRandom": fresh("retryRandom")}
        inputs["difficulty"] = case.difficulty
    if case.kind is PRESHARED:
        inputs |= {"presharedIdentity": b"kettle", "presharedKey": octets("presharedKey")}
    if case.tickets:
        inputs |= {"ticketKeyName": octets("ticketKeyName", 16), "ticketKey": octets("ticketKey")}
        inputs["ticketNonce"] = fresh("ticketNonce", 12)
        inputs["wallClock"] = WALL_CLOCK + (LATER if case.resumed else 0)
    if case.resumed:
        given = firstTicket()
        inputs |= {"ticket": given.ticket, "resumptionSecret": given.secret}
    inputs["requestedTtl"] = round(REQUESTED_TTL * 1000)
    return inputs


@functools.cache
def firstTicket() -> ResumptionTicket:
    """The ticket that is given in the case of that name."""
    sides = connections(TICKET, inputsOf(TICKET))
    for side in sides.values():
        side.start(0.0)
    (received,) = only(TicketReceived, pump(sides[CLIENT], sides[SERVER]).client)
    return received.ticket


def credentialOf(case: Case, inputs: dict[str, Any], owner: str) -> Credential:
    """What one side authenticates with."""
    if case.kind is PRESHARED:
        return PresharedKey(inputs["presharedIdentity"], inputs["presharedKey"])
    key = privateKey(inputs[f"{owner}Seed"])
    data = inputs.get(f"{owner}Credential", b"")
    if case.kind is X509:
        chain = list(map(x509.load_der_x509_certificate, splitChain(data)))
        return CertificateChain(chain, key)
    own = IdentityKey(key)
    return CertifiedKey(own, data) if data else own


def identityOf(case: Case, inputs: dict[str, Any], owner: str) -> Identity:
    """Whom one side is proved to be."""
    if case.kind is PRESHARED:
        return Identity(PRESHARED, credential=inputs["presharedIdentity"])
    if f"{owner}Seed" not in inputs:
        return Identity(NONE)
    credential = inputs.get(f"{owner}Credential", b"")
    publicKey = inputs[f"{owner}PublicKey"]
    if case.kind is X509:  # The DER of an Ed25519 key's SubjectPublicKeyInfo, RFC 8410.
        publicKey = bytes.fromhex("302a300506032b6570032100") + publicKey
    return Identity(case.kind, publicKey, credential=credential)


def _ticketsOf(case: Case, inputs: dict[str, Any]) -> FixedTickets | None:
    """What the server seals tickets with, and opens them."""
    if not case.tickets:
        return None
    return LateTickets(inputs) if case.resumed and case.difficulty else FixedTickets(inputs)


def connections(case: Case, inputs: dict[str, Any]) -> dict[Role, Any]:
    """Both sides, not started."""
    common: dict[str, Any] = {
        "groups": (case.group,),
        "aeads": (case.aead,),
        "groupTable": {**GROUPS, GroupName.X25519MLKEM768: RecordedEncapsulation()},
        "peerKinds": (case.kind,),
        "budget": Budget(0),  # No window grows: what is granted does not depend on the time.
    }
    order = ("puzzleSeed", "retryRandom", "mlkemSeed", "serverX25519", "serverRandom", "challenge")
    preshared = case.kind is PRESHARED
    server = ServerSettings(
        **common,
        random=Source(*(inputs[name] for name in order if name in inputs)),
        credential=credentialOf(case, inputs, "server"),
        nextCredential=None if preshared else credentialOf(case, inputs, "next"),
        allowAnonymous=case.anonymous,
        presharedKeys={inputs["presharedIdentity"]: inputs["presharedKey"]} if preshared else {},
        tickets=_ticketsOf(case, inputs),
    )
    client = ClientSettings(
        **common,
        random=Source(inputs["clientRandom"], inputs["clientX25519"]),
        credential=Anonymous() if case.anonymous else credentialOf(case, inputs, "client"),
        requestedTtl=inputs["requestedTtl"] / 1000,
        resumption=case.tickets,
        **({"capacity": SMALL} if case.small else {}),
    )
    ticket = None
    if case.resumed:
        peer = identityOf(case, inputs, "server")
        ticket = ResumptionTicket(
            inputs["ticket"], inputs["resumptionSecret"], peer, TICKET_LIFETIME
        )
    return {
        CLIENT: ClientConnection(client, ticket),
        SERVER: ServerConnection(server, None, lambda: case.difficulty),
    }

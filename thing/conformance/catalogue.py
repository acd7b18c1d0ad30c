"""
All checks there are, and the order in which they are tried and told.

What each does is in the rows.
"""

from __future__ import annotations

from thing.conformance.check import Check, Profile
from thing.conformance.rows.clienthandshakes import CLIENT_HANDSHAKES
from thing.conformance.rows.clientproofs import CLIENT_PROOFS
from thing.conformance.rows.clientsecrets import CLIENT_SECRETS
from thing.conformance.rows.endings import ENDINGS
from thing.conformance.rows.heartbeats import HEARTBEATS
from thing.conformance.rows.records import RECORDS, UPDATES
from thing.conformance.rows.requests import REQUESTS
from thing.conformance.rows.serverhandshakes import SERVER_HANDSHAKES
from thing.conformance.rows.serverproofs import SERVER_PROOFS
from thing.conformance.rows.serversecrets import SERVER_SECRETS
from thing.conformance.rows.streams import STREAMS
from thing.core.messages import Role

SECTIONS = (
    "Introduction and model",
    "Notation",
    "Records",
    "Framing",
    "Protection",
    "Message types",
    "Messages",
    "CHI, Client Handshake Init",
    "Extensions",
    "Handshake",
    "Retry and puzzle",
    "Pre-shared keys",
    "Resumption",
    "Credentials and signatures",
    "Groups",
    "Profiles",
    "Server Next Key",
    "Heartbeat",
    "Timing and liveness",
    "Data",
    "What each side can take",
    "Streams",
    "Credit",
    "Requests and replies",
    "Last word",
    "Key update",
    "Termination",
    "Client-initiated (CICT)",
    "Server-initiated (SICT)",
    "Going away (SGA)",
    "Deadlines and the end of the stream",
    "Rejects",
    "States",
    "Registries",
)
"""The sections of the specification that rows are about, in its order."""

CHECKS: tuple[Check, ...] = (
    *(*RECORDS, *SERVER_HANDSHAKES, *SERVER_PROOFS, *SERVER_SECRETS),
    *(*CLIENT_HANDSHAKES, *CLIENT_PROOFS, *CLIENT_SECRETS),
    *(*HEARTBEATS, *STREAMS, *REQUESTS, *UPDATES, *ENDINGS),
)
"""Every row."""


def checksFor(role: Role, profile: Profile = Profile.FULL) -> list[Check]:
    """
    Tell which rows a peer must pass, section by section.

    :param role: the peer's role.
    :param profile: what it claims to be.
    :return: the rows; in the order of their sections.
    """
    chosen = [
        each for each in CHECKS if role in each.examines and (each.small or profile is Profile.FULL)
    ]
    return sorted(chosen, key=lambda each: SECTIONS.index(each.section))

"""Rows about what a client makes of a server's proof, and of its confirmation."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from thing.conformance.bench import ClientBench
from thing.conformance.check import CLIENT, Checks
from thing.conformance.steps import (
    changing,
    misconfirming,
    refusedIn,
    refusingHandshake,
)
from thing.conformance.verdict import Failed, NotTried, Over, judge
from thing.conformance.words import Twists, flipped
from thing.core.credentials import SignatureScheme
from thing.core.handshakemessages import SCC
from thing.core.messages import MessageType
from thing.errors import ErrorCode
from thing.trust.keys import IdentityKey

CLIENT_PROOFS = Checks()

T = MessageType
_MAC = "``mac`` is right, else ``BAD_MAC``."
_BOUNDS = (
    "``ttl`` and ``interval`` are in bounds (`Timing and liveness`_), else ``TTL_OUT_OF_BOUNDS``."
)


# The server's proof.

CLIENT_PROOFS.add(
    "proofs.mac",
    CLIENT,
    "Handshake",
    _MAC,
    refusingHandshake(Twists(mac={T.SCC: flipped}), ErrorCode.BAD_MAC),
)


def _ofKind(kind: int, scc: SCC) -> SCC:
    """Say that the credential is of another kind."""
    return replace(scc, credentialKind=kind)


def _refusingProof(
    name: str, sentence: str, code: ErrorCode, twists: Twists, section: str = "Handshake"
) -> None:
    """A row about a server's proof that is wrong but for its MAC."""

    async def run(bench: ClientBench) -> None:
        peer = await bench.peer(twists)
        await peer.hear()
        if peer.preshared is not None:
            raise NotTried("it offers a pre-shared key, and so no signature is due")
        peer.answer()
        await peer.exchange()
        peer.prove()
        await peer.refused(code)

    CLIENT_PROOFS.add(name, CLIENT, section, sentence, run)


_FORM = (
    "``credential`` has the form of the kind, and ``scheme`` belongs to its key (`Credentials and "
    "signatures`_), else ``BAD_CREDENTIAL``."
)
_OFFERED = (
    "``credentialKind`` is one that it offered in CHI, and neither 0 nor 3, else "
    "``BAD_CREDENTIAL``."
)
_refusingProof(
    "proofs.signature",
    "``signature`` verifies, else ``BAD_SIGNATURE``.",
    ErrorCode.BAD_SIGNATURE,
    Twists(signature={T.SCC: flipped}),
)
_refusingProof(
    "proofs.signature-short",
    "A signature that is not 64 octets long does not verify.",
    ErrorCode.BAD_SIGNATURE,
    Twists(signature={T.SCC: lambda signature: signature[:-1]}),
    "Credentials and signatures",
)
_refusingProof(
    "proofs.scheme",
    _FORM,
    ErrorCode.BAD_CREDENTIAL,
    changing(T.SCC, lambda scc: replace(scc, scheme=SignatureScheme.ECDSA_P256)),
)
_refusingProof(
    "proofs.form",
    _FORM,
    ErrorCode.BAD_CREDENTIAL,
    changing(T.SCC, lambda scc: replace(scc, credential=scc.credential[:-1])),
)
_refusingProof(
    "proofs.small-order",
    "one of these seven MUST be refused with ``BAD_CREDENTIAL``, in SCC, CCC and SNK, before the "
    "signature is looked at",
    ErrorCode.BAD_CREDENTIAL,
    changing(T.SCC, lambda scc: replace(scc, credential=bytes(32))),
    "Credentials and signatures",
)
for _name, _number in (("proofs.kind", 0xF1), ("proofs.nobody", 0), ("proofs.preshared", 3)):
    _refusingProof(
        _name,
        _OFFERED,
        ErrorCode.BAD_CREDENTIAL,
        changing(T.SCC, partial(_ofKind, _number)),
    )


@CLIENT_PROOFS.row(
    "proofs.stranger",
    CLIENT,
    "Handshake",
    "and refuses another one with ``NOT_AUTHORIZED``.",
)
async def _stranger(bench: ClientBench) -> None:
    peer = await bench.peer(credential=IdentityKey.generate())
    await peer.hear()
    if peer.preshared is not None:
        raise NotTried("it offers a pre-shared key, and so there is no other key")
    peer.answer()
    await peer.exchange()
    peer.prove()
    try:
        await peer.finish()
    except Over as end:
        judge(end, (ErrorCode.NOT_AUTHORIZED,))
    else:
        raise Failed("it believes a server whose key it does not know")


@CLIENT_PROOFS.row(
    "proofs.not-taken",
    CLIENT,
    "Handshake",
    "it refuses with ``CREDENTIAL_REQUIRED`` if it has no credential, and with "
    "``NO_COMMON_CREDENTIAL`` if it has one; a pre-shared key is one.",
)
async def _notTaken(bench: ClientBench) -> None:
    peer = await bench.peer(changing(T.SCC, lambda scc: replace(scc, acceptedKinds=(0xF1,))))
    await refusedIn(peer, ErrorCode.CREDENTIAL_REQUIRED, ErrorCode.NO_COMMON_CREDENTIAL)


# The confirmation.

CLIENT_PROOFS.add(
    "proofs.confirmation",
    CLIENT,
    "Handshake",
    _MAC,
    misconfirming(Twists(mac={T.SHF: flipped}), ErrorCode.BAD_MAC),
)


def _granting(name: str, ttl: int, interval: int) -> None:
    """A row about what is granted out of bounds."""

    async def run(bench: ClientBench) -> None:
        peer = await bench.session(ttl=ttl, interval=interval)
        peer.answering = False  # It shall see that in SHF, and not in the first SUU.
        await peer.refused(ErrorCode.TTL_OUT_OF_BOUNDS)

    CLIENT_PROOFS.add(name, CLIENT, "Handshake", _BOUNDS, run)


_granting("handshake.ttl-short", 99, 30)
_granting("handshake.ttl-long", 604800001, 1000)
_granting("handshake.interval-short", 100, 24)
_granting("handshake.interval-long", 1000, 501)

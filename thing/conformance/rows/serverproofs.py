"""Rows about what a server makes of a client's proof."""

from __future__ import annotations

from dataclasses import replace

from thing.conformance.bench import ServerBench
from thing.conformance.check import SERVER, Checks
from thing.conformance.steps import (
    changing,
    refusingHandshake,
)
from thing.conformance.verdict import NotTried, Over, judge
from thing.conformance.words import Twists, flipped
from thing.core.credentials import SignatureScheme
from thing.core.handshakemessages import CCC
from thing.core.messages import MessageType
from thing.errors import ErrorCode
from thing.identity import CredentialKind
from thing.trust.keys import IdentityKey

SERVER_PROOFS = Checks()

T = MessageType


SERVER_PROOFS.add(
    "proofs.mac",
    SERVER,
    "Handshake",
    "``mac`` is right, else ``BAD_MAC``.",
    refusingHandshake(Twists(mac={T.CCC: flipped}), ErrorCode.BAD_MAC),
)


def _refusingProof(
    name: str, sentence: str, code: ErrorCode, twists: Twists, section: str = "Handshake"
) -> None:
    """A row about a client's proof with a key of its own that is wrong but for its MAC."""

    async def run(bench: ServerBench) -> None:
        peer = await bench.peer(twists)
        await peer.begin()
        if peer.taken:
            raise NotTried("it takes the pre-shared key, and so no signature")
        await peer.exchange()
        own = bench.choice.credential
        peer.prove(own if own.kind is CredentialKind.ED25519 else IdentityKey.generate())
        await peer.refused(code)

    SERVER_PROOFS.add(name, SERVER, section, sentence, run)


_VERIFIES = "``signature`` verifies (not for kinds 0 and 3), else ``BAD_SIGNATURE``."
_FORM = (
    "For others: ``credential`` has the form of the kind, and ``scheme`` belongs to its key. Else "
    "``BAD_CREDENTIAL``."
)
_refusingProof(
    "proofs.signature", _VERIFIES, ErrorCode.BAD_SIGNATURE, Twists(signature={T.CCC: flipped})
)
_refusingProof(
    "proofs.signature-short",
    "A signature that is not 64 octets long does not verify.",
    ErrorCode.BAD_SIGNATURE,
    Twists(signature={T.CCC: lambda signature: signature[:-1]}),
    "Credentials and signatures",
)
_refusingProof(
    "proofs.scheme",
    _FORM,
    ErrorCode.BAD_CREDENTIAL,
    changing(T.CCC, lambda ccc: replace(ccc, scheme=SignatureScheme.ECDSA_P256)),
)
_refusingProof(
    "proofs.form",
    _FORM,
    ErrorCode.BAD_CREDENTIAL,
    changing(T.CCC, lambda ccc: replace(ccc, credential=ccc.credential[:-1])),
)
_refusingProof(
    "proofs.small-order",
    "one of these seven MUST be refused with ``BAD_CREDENTIAL``, in SCC, CCC and SNK, before the "
    "signature is looked at",
    ErrorCode.BAD_CREDENTIAL,
    changing(T.CCC, lambda ccc: replace(ccc, credential=bytes(32))),
    "Credentials and signatures",
)
_refusingProof(
    "proofs.kind",
    "Otherwise the kind is in ``acceptedKinds``, and not 3.",
    ErrorCode.BAD_CREDENTIAL,
    changing(T.CCC, lambda ccc: replace(ccc, credentialKind=0xF1)),
)
_refusingProof(
    "proofs.preshared",
    "Otherwise the kind is in ``acceptedKinds``, and not 3.",
    ErrorCode.BAD_CREDENTIAL,
    changing(T.CCC, lambda ccc: CCC(CredentialKind.PRESHARED, b"", (), 0)),
)


@SERVER_PROOFS.row(
    "proofs.stranger",
    SERVER,
    "Handshake",
    "A client that it does not admit is refused with ``NOT_AUTHORIZED``.",
)
async def _stranger(bench: ServerBench) -> None:
    peer = await bench.peer()
    await peer.begin()
    if peer.taken:
        raise NotTried("it takes the pre-shared key, and so no signature")
    await peer.exchange()
    peer.prove(IdentityKey.generate())
    try:
        await peer.finish()
    except Over as end:
        judge(end, (ErrorCode.NOT_AUTHORIZED,))
    else:
        raise NotTried("it admits everybody")


@SERVER_PROOFS.row(
    "proofs.nobody",
    SERVER,
    "Handshake",
    "If ``credentialKind`` is 0, that is in ``acceptedKinds``, else ``CREDENTIAL_REQUIRED``.",
)
async def _nobody(bench: ServerBench) -> None:
    peer = await bench.peer(changing(T.CCC, lambda ccc: CCC(0, b"", (), 0)))
    await peer.begin()
    if peer.taken:
        raise NotTried("it takes the pre-shared key")
    await peer.exchange()
    if CredentialKind.NONE in peer.scc.acceptedKinds:
        raise NotTried("it takes clients without a credential")
    peer.proved(CCC(0, b"", (), 0), peer.secrets.clientFinished, _NoSignature())
    await peer.refused(ErrorCode.CREDENTIAL_REQUIRED)


class _NoSignature:
    """Signs nothing."""

    kind = CredentialKind.NONE
    data = b""
    scheme = SignatureScheme.NONE

    def sign(self, content: bytes) -> bytes:
        return b""


@SERVER_PROOFS.row(
    "proofs.nobody-signs",
    SERVER,
    "Handshake",
    "For kinds 0 and 3: ``scheme`` is 0 and ``credential`` and ``signature`` are empty.",
)
async def _nobodySigns(bench: ServerBench) -> None:
    peer = await bench.peer(Twists(signature={T.CCC: lambda signature: b"x"}))
    await peer.begin()
    if peer.taken:
        raise NotTried("it takes the pre-shared key")
    await peer.exchange()
    peer.prove(_NoSignature())
    await peer.refused(ErrorCode.BAD_CREDENTIAL)

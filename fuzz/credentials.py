"""Whatever a peer shows as its credential, it is understood or plainly refused."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fuzz.cost import BEFORE, within
from tests.certificates import authority, privateKey
from tests.core.test_credentials import certifiedKey, chainOf
from tests.helpers import CLIENT_CREDENTIAL
from tests.trust.test_keys import write
from thing.core.credentials import (
    MAX_CHAIN,
    SignatureScheme,
    joinChain,
    readCredential,
    splitChain,
    verifyCredential,
)
from thing.core.messages import HANDSHAKE_LIMIT
from thing.errors import ErrorCode, NotAuthorized, RemoteProtocolError
from thing.identity import CredentialKind, Identity
from thing.trust import (
    AuthorizedThings,
    CertifiedThings,
    ServerCertificates,
    ThingCertificates,
    formatPublicKey,
)

REFUSALS = (ErrorCode.BAD_CREDENTIAL, ErrorCode.BAD_SIGNATURE)


def oneInput(data: bytes) -> None:
    """
    Read octets as a credential of a kind, check a signature under it, and judge it.

    :param data: the kind, then the credential.
    """
    if not data:
        return
    kind, credential = data[0] % (max(CredentialKind) + 2), data[1:HANDSHAKE_LIMIT]
    with within(BEFORE, "a credential"):
        for scheme in SignatureScheme:
            try:
                verifyCredential(kind, credential, scheme, credential[-64:], b"content")
            except RemoteProtocolError as error:
                assert error.code in REFUSALS
        try:
            identity = readCredential(kind, credential)
        except RemoteProtocolError as error:
            assert error.code is ErrorCode.BAD_CREDENTIAL
            return
        assert identity.anonymous or identity.data == credential
        if identity.kind is CredentialKind.X509:
            chain = splitChain(credential)
            assert joinChain(chain) == credential
            assert 0 < len(chain) <= MAX_CHAIN
        for each in authorizers():
            _judge(each, identity)


def _judge(authorizer: Any, identity: Identity) -> None:
    """Ask an authorizer about whoever can show anything."""
    with suppress(NotAuthorized):
        admitted = authorizer.authorize(identity)
        assert admitted.data == identity.data


@cache
def authorizers() -> tuple[Any, ...]:
    """
    Make what judges credentials: it costs too much to be made for each input.

    :return: one for each kind.
    """
    with tempfile.TemporaryDirectory() as directory:
        roots, signers, keys = (os.path.join(directory, name) for name in "rsk")
        write(roots, authority("root").certificate.public_bytes(Encoding.PEM))
        signer = privateKey("ed25519", "an authority").public_key()
        line = signer.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        write(signers, line + b"\n")
        write(keys, formatPublicKey(CLIENT_CREDENTIAL.data, "kettle").encode())
        return (
            ThingCertificates(roots),
            ServerCertificates(roots, "kettle.example"),
            CertifiedThings(signers),
            AuthorizedThings(keys),
        )


def seeds() -> list[bytes]:
    """
    Make credentials to begin with.

    :return: one of each kind, and of each sort of key.
    """
    chains = map(chainOf, ("ed25519", "p256", "rsa2048"))
    made = (CLIENT_CREDENTIAL, certifiedKey(), *chains)
    return [bytes((each.kind,)) + each.data for each in made]

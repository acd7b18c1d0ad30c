"""Whatever a peer shows as its credential, it is understood or plainly refused."""

from __future__ import annotations

from fuzz import run
from thing.core.credentials import (
    MAX_CHAIN,
    SignatureScheme,
    joinChain,
    readCredential,
    splitChain,
    verifyCredential,
)
from thing.errors import ErrorCode, RemoteProtocolError
from thing.identity import CredentialKind

REFUSALS = (ErrorCode.BAD_CREDENTIAL, ErrorCode.BAD_SIGNATURE)


def oneInput(data: bytes) -> None:
    """
    Read octets as a credential of a kind, and check a signature under it.

    :param data: the kind, then the credential.
    """
    if not data:
        return
    kind, credential = data[0] % (max(CredentialKind) + 2), data[1:]
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


if __name__ == "__main__":
    run(oneInput)

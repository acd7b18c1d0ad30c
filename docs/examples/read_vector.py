"""
Checks a test vector with SHA-256, HMAC and an AEAD: where a peer in any language begins.

    python read_vector.py tests/vectors/x25519-aes-256-gcm-anonymous.json
"""

import hashlib
import hmac
import json
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def expandLabel(secret: bytes, label: str, context: bytes = b"", length: int = 32) -> bytes:
    """HKDF-Expand-Label, for results of up to 32 octets: one HMAC."""
    full = b"thing/1 " + label.encode()
    info = length.to_bytes(2, "big") + bytes((len(full),)) + full + bytes((len(context),)) + context
    return hmac.digest(secret, info + b"\1", "sha256")[:length]


def openRecord(key: bytes, iv: bytes, sequence: int, record: bytes) -> bytes:
    """The type and the body of a protected record."""
    nonce = int.from_bytes(iv, "big") ^ sequence
    return AESGCM(key).decrypt(nonce.to_bytes(12, "big"), record[3:], record[:3])


def check(what: str, ours: bytes, theirs: str) -> None:
    """Compare what was computed with what the vector has."""
    if ours.hex() != theirs:
        sys.exit(f"{what}: {ours.hex()}, and not {theirs}")
    print(f"{what} is right")


def main(path: str) -> None:
    """Go through a vector, in the order in which a peer is built."""
    with open(path) as file:
        vector = json.load(file)
    transcript = hashlib.sha256()
    for message in vector["handshake"][:4]:
        plaintext = bytes.fromhex(message["plaintext"])
        transcript.update(len(plaintext).to_bytes(3, "big") + plaintext)
        check(
            f"the transcript after {message['name']}",
            transcript.digest(),
            message["transcriptHash"],
        )
    zeros, empty = bytes(32), hashlib.sha256().digest()
    early = hmac.digest(zeros, zeros, "sha256")
    shared = bytes.fromhex(vector["sharedSecret"])
    handshake = hmac.digest(expandLabel(early, "derived", empty), shared, "sha256")
    server = expandLabel(handshake, "s hs traffic", transcript.digest())
    secrets = vector["handshakeSecrets"]["serverTraffic"]
    check("the server's handshake secret", server, secrets["secret"])
    key, iv = expandLabel(server, "key"), expandLabel(server, "iv", length=12)
    check("its key", key, secrets["key"])
    scc = vector["handshake"][4]
    check("SCC", openRecord(key, iv, 0, bytes.fromhex(scc["record"])), scc["plaintext"])


if __name__ == "__main__":
    main(*sys.argv[1:])

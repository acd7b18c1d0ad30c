"""
What both roles' handshakes share: the transcript, the secrets and the proofs.

Specification, "Handshake". The construction is SIGMA-I with key confirmation: ephemeral
Diffie-Hellman, then from each side a signature over the transcript and a MAC under a key that only
the Diffie-Hellman can give. Where both sides have a secret already, it enters the keys and the MAC
alone proves it, as in TLS 1.3. A handshake takes messages with the octets that they came in, and
returns the octets of those to send; it knows nothing of records, states or time. The seven steps
are in :mod:`thing.core.clienthandshake` and :mod:`thing.core.serverhandshake`.
"""

from __future__ import annotations

import hmac

from thing.core.capacity import Capacity
from thing.core.credentials import Credential, SignatureScheme, verifyCredential
from thing.core.extensions import PresharedOffer
from thing.core.groups import GroupName
from thing.core.handshakemessages import CCC, SCC, SHF, SHOWN, SignedCheck
from thing.core.keyschedule import (
    SIGNATURE_CONTEXTS,
    HandshakeSecrets,
    SessionSecrets,
    Transcript,
    binder,
    mac,
    resumptionSecret,
    signatureContent,
)
from thing.core.layout import OPAQUE16, Message, Received
from thing.core.messages import Role
from thing.core.preshared import Form, Preshared
from thing.core.records import Aead
from thing.core.settings import Settings
from thing.errors import ErrorCode, RemoteProtocolError
from thing.identity import CredentialKind, Identity


class Handshake:
    """
    One side of a handshake, as far as both do the same.

    :ivar group: the key exchange group that was chosen.
    :ivar aead: the AEAD that was chosen.
    :ivar peerCapacity: what the peer can take once Established.
    :ivar secrets: the handshake's secrets, once both shares are known.
    :ivar preshared: the secret that the server took from the client's offer, if it did.
    """

    group: GroupName
    aead: Aead
    peerCapacity: Capacity
    secrets: HandshakeSecrets
    preshared: Preshared | None = None

    def __init__(self, settings: Settings) -> None:
        """:param settings: what this side chose."""
        self._random = settings.random
        self._groupTable = settings.groupTable
        self._transcript = Transcript()

    @property
    def resumed(self) -> bool:
        """Whether a ticket takes the place of the signatures."""
        return self.preshared is not None and self.preshared.form is Form.TICKET

    def _send(self, message: Message) -> bytes:
        """A message for the peer, which is in the transcript from now on."""
        octets = message.typed()
        self._transcript.add(octets)
        return octets

    def _derive(self, sharedSecret: bytes) -> None:
        secret = None if self.preshared is None else self.preshared.secret
        self.secrets = HandshakeSecrets.derive(sharedSecret, self._transcript.hash(), secret)

    def _binder(self, preshared: Preshared, chi: bytes) -> bytes:
        """The binder of an offer; it stands at CHI's end, and covers all before it."""
        hashed = self._transcript.hashWith(chi[: -len(PresharedOffer.NO_BINDER)])
        return binder(preshared.secret, preshared.form.binderLabel, hashed)

    def _resumptionSecret(self) -> bytes:
        return resumptionSecret(self.secrets.mainSecret, self._transcript.hash())

    def _mac(self, key: bytes, part: bytes) -> bytes:
        return mac(key, self._transcript.hashWith(part))

    def _signatureContent(self, role: Role, part: bytes) -> bytes:
        return signatureContent(SIGNATURE_CONTEXTS[role], self._transcript.hashWith(part))

    def _prove(self, role: Role, key: bytes, credential: Credential, message: SignedCheck) -> bytes:
        """Sign a message and confirm the key; it is in the transcript from now on."""
        octets = message.unsigned()
        octets += OPAQUE16.write(credential.sign(self._signatureContent(role, octets)))
        return self._confirm(key, octets)

    def _confirm(self, key: bytes, part: bytes) -> bytes:
        """Complete a message with its MAC."""
        octets = part + self._mac(key, part)
        self._transcript.add(octets)
        return octets

    def _checkMac(
        self, key: bytes, received: Received[SCC] | Received[CCC] | Received[SHF]
    ) -> None:
        message = received.message
        expected = self._mac(key, message.macPart(received.octets))
        if not hmac.compare_digest(expected, message.mac):
            raise RemoteProtocolError(ErrorCode.BAD_MAC, message.TYPE.name)

    def _verify(
        self,
        role: Role,
        key: bytes,
        received: Received[SCC] | Received[CCC],
        kinds: tuple[CredentialKind, ...],
    ) -> Identity:
        """Check the peer's MAC and signature; its message is in the transcript from now on."""
        message = received.message
        self._checkMac(key, received)
        if self.preshared is None:
            if message.credentialKind not in kinds:
                raise RemoteProtocolError(
                    ErrorCode.BAD_CREDENTIAL, f"kind {message.credentialKind} is not taken"
                )
            identity = verifyCredential(
                message.credentialKind,
                message.credential,
                message.scheme,
                message.signature,
                self._signatureContent(role, message.signedPart(received.octets)),
            )
        else:
            identity = self.preshared.peer
            shown = (message.credentialKind, message.credential, message.scheme, message.signature)
            if shown != (CredentialKind.PRESHARED, b"", SignatureScheme.NONE, b""):
                raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, "beside a secret already taken")
        self._transcript.add(received.octets)
        return identity

    def sessionSecrets(self) -> SessionSecrets:
        """
        Derive what the session needs; to be called once, after SHF.

        :return: the secrets and the session id.
        """
        return SessionSecrets.derive(self.secrets.mainSecret, self._transcript.hash())


def choose(offered: tuple[int, ...], ours: tuple[int, ...], code: ErrorCode) -> int:
    """
    Choose the first on the client's list that the server has, as SSH does (RFC 4253, 7.1).

    :param offered: the client's list.
    :param ours: what this side has.
    :param code: what it is called if there is none.
    :return: the choice.
    :raises RemoteProtocolError: ``code`` if there is none.
    """
    for number in offered:
        if number in ours:
            return number
    raise RemoteProtocolError(code, f"offered {offered[:SHOWN]}")

"""
The seven steps of the handshake, for both roles (specification, "Handshake").

The construction is SIGMA-I with key confirmation: ephemeral Diffie-Hellman,
then from each side a signature over the transcript and a MAC under a key that
only the Diffie-Hellman can give. A handshake takes decoded messages and
returns those to send; it knows nothing of records, states or time.
"""

from __future__ import annotations

import hmac
from dataclasses import replace
from typing import TypeVar

from thing.core.credentials import Credential, verifyCredential
from thing.core.groups import GroupName, ServerExchange
from thing.core.heartbeat import toMilliseconds
from thing.core.keyschedule import (
    SIGNATURE_CONTEXTS,
    HandshakeSecrets,
    SessionSecrets,
    Transcript,
    mac,
    signatureContent,
)
from thing.core.layout import Message
from thing.core.messages import (
    CCC,
    CDH,
    CHI,
    MAX_TTL,
    MIN_TTL,
    SCC,
    SDH,
    SHF,
    SHI,
    VERSION,
    Check,
    Role,
)
from thing.core.records import Aead
from thing.core.settings import ClientSettings, ServerSettings, Settings
from thing.errors import ErrorCode, RemoteProtocolError
from thing.identity import CredentialKind, Identity

SERVER_KINDS = (CredentialKind.ED25519,)
"""The kinds of server credential that this package can check."""

CLIENT_KINDS = (CredentialKind.ED25519,)
"""The kinds of client credential that this package can check, none at all aside."""

M = TypeVar("M", bound=Message)
P = TypeVar("P", SCC, CCC)


class Handshake:
    """
    What both roles share: the transcript, the secrets and the proofs.

    :ivar group: the key exchange group that was chosen.
    :ivar aead: the AEAD that was chosen.
    :ivar secrets: the handshake's secrets, once both shares are known.
    """

    group: GroupName
    aead: Aead
    secrets: HandshakeSecrets

    def __init__(self, settings: Settings) -> None:
        """:param settings: what this side chose."""
        self._random = settings.random
        self._groupTable = settings.groupTable
        self._transcript = Transcript()

    def _add(self, message: M) -> M:
        self._transcript.add(message.TYPE, message.encode())
        return message

    def _derive(self, sharedSecret: bytes) -> None:
        self.secrets = HandshakeSecrets.derive(sharedSecret, self._transcript.hash())

    def _mac(self, key: bytes, message: Check) -> bytes:
        return mac(key, self._transcript.hashWith(message.TYPE, message.macPart()))

    def _checkMac(self, key: bytes, message: SCC | CCC | SHF) -> None:
        if not hmac.compare_digest(self._mac(key, message), message.mac):
            raise RemoteProtocolError(ErrorCode.BAD_MAC, message.TYPE.name)

    def _signatureContent(self, role: Role, message: Check) -> bytes:
        hashed = self._transcript.hashWith(message.TYPE, message.signedPart())
        return signatureContent(SIGNATURE_CONTEXTS[role], hashed)

    def _prove(self, role: Role, key: bytes, credential: Credential, message: P) -> P:
        """Sign the message and confirm the key; add it to the transcript."""
        message = replace(message, signature=credential.sign(self._signatureContent(role, message)))
        return self._add(replace(message, mac=self._mac(key, message)))

    def _verify(self, role: Role, key: bytes, message: SCC | CCC) -> Identity:
        """Check the peer's MAC and signature; add its message to the transcript."""
        self._checkMac(key, message)
        identity = verifyCredential(
            message.credentialKind,
            message.credential,
            message.scheme,
            message.signature,
            self._signatureContent(role, message),
        )
        self._add(message)
        return identity

    def sessionSecrets(self) -> SessionSecrets:
        """
        Derive what the session needs; to be called once, after SHF.

        :return: the secrets and the session id.
        """
        return SessionSecrets.derive(self.secrets.mainSecret, self._transcript.hash())


class ServerHandshake(Handshake):
    """The server's side."""

    def __init__(self, settings: ServerSettings) -> None:
        """:param settings: what the server chose."""
        super().__init__(settings)
        self._settings = settings
        self._exchange: ServerExchange | None = None
        self.requestedTtl: float | None = None

    def receiveCHI(self, chi: CHI) -> tuple[SHI, SDH]:
        """
        Step 1: choose from what the client offers.

        :param chi: the offer.
        :return: steps 2 and 3, the choice and the server's share.
        :raises RemoteProtocolError: if nothing fits, or the TTL asked for is out of bounds.
        """
        if VERSION not in chi.versions:
            raise RemoteProtocolError(ErrorCode.VERSION_UNSUPPORTED, f"offered {chi.versions}")
        if self._settings.credential.kind not in chi.credentialKinds:
            raise RemoteProtocolError(ErrorCode.NO_COMMON_CREDENTIAL)
        if chi.requestedTtl and not MIN_TTL <= chi.requestedTtl <= MAX_TTL:
            raise RemoteProtocolError(ErrorCode.TTL_OUT_OF_BOUNDS, f"{chi.requestedTtl} ms")
        self.group = GroupName(
            _choose(chi.groups, self._settings.groups, ErrorCode.NO_COMMON_GROUP)
        )
        self.aead = Aead(_choose(chi.aeads, self._settings.aeads, ErrorCode.NO_COMMON_AEAD))
        self.requestedTtl = chi.requestedTtl / 1000 if chi.requestedTtl else None
        self._exchange = self._groupTable[self.group].begin(self._random)
        self._add(chi)
        shi = self._add(SHI(VERSION, self._random(32), self.group, self.aead))
        return shi, self._add(SDH(self._exchange.share))

    def receiveCDH(self, cdh: CDH) -> SCC:
        """
        Step 4: the secrets follow from the client's share.

        :param cdh: the client's share.
        :return: step 5, the server's proof.
        :raises RemoteProtocolError: ``BAD_SHARE``.
        """
        assert self._exchange is not None, "the state machine puts CHI first"
        sharedSecret = self._exchange.finish(cdh.share)
        self._exchange = None
        self._add(cdh)
        self._derive(sharedSecret)
        credential = self._settings.credential
        accepted = ((CredentialKind.NONE,) if self._settings.allowAnonymous else ()) + CLIENT_KINDS
        scc = SCC(
            self._random(32), accepted, credential.kind, credential.data, (), credential.scheme
        )
        return self._prove(Role.SERVER, self.secrets.serverFinished, credential, scc)

    def receiveCCC(self, ccc: CCC) -> Identity:
        """
        Step 6: check the client's proof.

        :param ccc: the proof.
        :return: who the client is.
        :raises RemoteProtocolError: if it proves nothing.
        """
        if ccc.credentialKind == CredentialKind.NONE and not self._settings.allowAnonymous:
            raise RemoteProtocolError(ErrorCode.CREDENTIAL_REQUIRED)
        return self._verify(Role.CLIENT, self.secrets.clientFinished, ccc)

    def finish(self, ttl: float, interval: float) -> SHF:
        """
        Step 7: the client is admitted.

        :param ttl: the TTL granted, seconds.
        :param interval: the beat interval, seconds.
        :return: the server's confirmation.
        """
        shf = SHF(toMilliseconds(ttl), toMilliseconds(interval))
        return self._add(replace(shf, mac=self._mac(self.secrets.serverConfirm, shf)))


class ClientHandshake(Handshake):
    """The client's side."""

    def __init__(self, settings: ClientSettings) -> None:
        """:param settings: what the client chose."""
        super().__init__(settings)
        self._settings = settings
        self._acceptedKinds: tuple[int, ...] = ()

    def begin(self) -> CHI:
        """
        Make the offer.

        :return: step 1.
        """
        return self._add(
            CHI(
                (VERSION,),
                self._random(32),
                self._settings.groups,
                self._settings.aeads,
                SERVER_KINDS,
                toMilliseconds(self._settings.requestedTtl or 0),
            )
        )

    def receiveSHI(self, shi: SHI) -> None:
        """
        Step 2: take the server's choice.

        :param shi: the choice.
        :raises RemoteProtocolError: if it was not offered.
        """
        if shi.version != VERSION:
            raise RemoteProtocolError(ErrorCode.VERSION_UNSUPPORTED, f"chosen {shi.version}")
        if shi.group == 0:
            raise RemoteProtocolError(ErrorCode.RETRY_UNSUPPORTED)
        self.group = GroupName(
            _choose((shi.group,), self._settings.groups, ErrorCode.NO_COMMON_GROUP)
        )
        self.aead = Aead(_choose((shi.aead,), self._settings.aeads, ErrorCode.NO_COMMON_AEAD))
        self._add(shi)

    def receiveSDH(self, sdh: SDH) -> CDH:
        """
        Step 3: the secrets follow from the server's share.

        :param sdh: the server's share.
        :return: step 4, the client's share.
        :raises RemoteProtocolError: ``BAD_SHARE``.
        """
        self._add(sdh)
        share, sharedSecret = self._groupTable[self.group].respond(sdh.share, self._random)
        cdh = self._add(CDH(share))
        self._derive(sharedSecret)
        return cdh

    def receiveSCC(self, scc: SCC) -> Identity:
        """
        Step 5: check the server's proof.

        :param scc: the proof.
        :return: who the server is.
        :raises RemoteProtocolError: if it proves nothing.
        """
        if scc.credentialKind not in SERVER_KINDS:
            raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, "a server must authenticate")
        self._acceptedKinds = scc.acceptedKinds
        return self._verify(Role.SERVER, self.secrets.serverFinished, scc)

    def answer(self) -> CCC:
        """
        Step 6: the client admits the server and proves itself.

        :return: the client's proof.
        :raises RemoteProtocolError: if the server takes no credential that the client has.
        """
        credential: Credential = self._settings.credential
        if credential.kind not in self._acceptedKinds:
            code = ErrorCode.NO_COMMON_CREDENTIAL
            if credential.kind is CredentialKind.NONE:
                code = ErrorCode.CREDENTIAL_REQUIRED
            raise RemoteProtocolError(code, f"the server takes kinds {self._acceptedKinds}")
        ccc = CCC(credential.kind, credential.data, (), credential.scheme)
        return self._prove(Role.CLIENT, self.secrets.clientFinished, credential, ccc)

    def receiveSHF(self, shf: SHF) -> None:
        """
        Step 7: check the server's confirmation.

        :param shf: the confirmation, with the TTL and the interval.
        :raises RemoteProtocolError: ``BAD_MAC``.
        """
        self._checkMac(self.secrets.serverConfirm, shf)
        self._add(shf)


def _choose(offered: tuple[int, ...], ours: tuple[int, ...], code: ErrorCode) -> int:
    """The first on the client's list that the server has, as SSH chooses (RFC 4253, 7.1)."""
    for number in offered:
        if number in ours:
            return number
    raise RemoteProtocolError(code, f"offered {offered}")

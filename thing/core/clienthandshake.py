"""
The client's side of the handshake: what it offers, whom it believes, what it keeps.

Specification, "Handshake". What both sides do alike is in :mod:`thing.core.handshake`.
"""

from __future__ import annotations

from typing import cast

from thing.core.capacity import Capacity
from thing.core.credentials import Credential, Unsigned
from thing.core.extensions import (
    ExtensionType,
    GivenTicket,
    PresharedOffer,
    Puzzle,
    Solution,
    find,
)
from thing.core.groups import GroupName
from thing.core.handshake import Handshake, choose
from thing.core.handshakemessages import CCC, CDH, CHI, SCC, SDH, SHF, SHI, SHOWN
from thing.core.heartbeat import toMilliseconds
from thing.core.layout import Extensions, Received
from thing.core.messages import VERSION, Role
from thing.core.preshared import (
    MAX_LIFETIME,
    MAX_TICKET,
    Form,
    Preshared,
    PresharedCredential,
    presharedKey,
    resumption,
)
from thing.core.puzzle import Search
from thing.core.records import Aead
from thing.core.settings import ClientSettings
from thing.errors import ErrorCode, RemoteProtocolError
from thing.events import ResumptionTicket
from thing.identity import CredentialKind, Identity


class ClientHandshake(Handshake):
    """
    The client's side.

    :ivar nextKeyDue: whether the server holds by one more key, which it will announce; None as
        long as it has not said, or if a secret took the place of its keys.
    """

    def __init__(self, settings: ClientSettings, ticket: ResumptionTicket | None = None) -> None:
        """
        :param settings: what the client chose.
        :param ticket: what an earlier session left.
        """
        super().__init__(settings)
        self._settings = settings
        self._clientRandom = b""
        self._retried = False
        self._acceptedKinds: tuple[int, ...] = ()
        self._peer: Identity | None = None
        self._given: tuple[bytes, bytes] | None = None
        self._left = 0.0
        self.nextKeyDue: bool | None = None
        self._offer: Preshared | None = None
        if settings.credential.kind is CredentialKind.PRESHARED:
            ours = cast(PresharedCredential, settings.credential)
            self._offer = presharedKey(ours.identity, ours.key)
        elif ticket is not None and ticket.peer.kind in settings.peerKinds:
            self._offer = resumption(ticket)
            self._left = ticket.lifetime

    @property
    def _byKey(self) -> bool:
        return self._offer is not None and self._offer.form is Form.KEY

    def begin(self) -> bytes:
        """
        Make the offer.

        :return: step 1.
        """
        self._clientRandom = self._random(32)
        return self._makeCHI(())

    def retry(self, solution: int) -> bytes:
        """
        Make the offer again, with the puzzle solved.

        :param solution: what the search found.
        :return: step 1, once more.
        """
        self._retried = True
        return self._makeCHI(((ExtensionType.SOLUTION, Solution(solution).encode()),))

    def _makeCHI(self, extensions: Extensions) -> bytes:
        settings, offer = self._settings, self._offer
        if settings.wantsTicket:
            extensions += ((ExtensionType.TICKET, b""),)
        if offer is not None:  # It stands last, so that its binder can cover all the rest.
            unbound = PresharedOffer(offer.form, offer.identity)
            extensions += ((ExtensionType.PRESHARED_KEY, unbound.encode()),)
        chi = CHI(
            (VERSION,),
            self._clientRandom,
            settings.groups,
            settings.aeads,
            settings.peerKinds,
            toMilliseconds(settings.requestedTtl or 0),
            *settings.capacity,
            extensions,
        )
        return self._send(chi) if offer is None else self._bind(offer, chi.typed())

    def _bind(self, offer: Preshared, chi: bytes) -> bytes:
        """Put an offer's binder where it goes."""
        chi = chi[: -len(PresharedOffer.NO_BINDER)] + self._binder(offer, chi)
        self._transcript.add(chi)
        return chi

    def receiveSHI(self, received: Received[SHI]) -> Search | None:
        """
        Step 2: take the server's choice.

        :param received: the choice.
        :return: None; or what to search, if the server asks for a retry.
        :raises RemoteProtocolError: if it was not offered, or the retry is refused.
        """
        shi = received.message
        if shi.group == 0:
            search = self._takePuzzle(shi)
            self._transcript.add(received.octets)
            return search
        self.group = GroupName(
            choose((shi.group,), self._settings.groups, ErrorCode.NO_COMMON_GROUP)
        )
        self.aead = Aead(choose((shi.aead,), self._settings.aeads, ErrorCode.NO_COMMON_AEAD))
        self.peerCapacity = Capacity.of(shi)
        taken = find(shi.extensions, ExtensionType.PRESHARED_KEY)
        if taken is not None:
            if taken or self._offer is None:
                raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, "no such secret was offered")
            self.preshared = self._offer
        elif self._byKey:
            raise RemoteProtocolError(
                ErrorCode.NO_COMMON_CREDENTIAL, "the server did not take the pre-shared key"
            )
        self._transcript.add(received.octets)
        return None

    def _takePuzzle(self, shi: SHI) -> Search:
        if self._retried:
            raise RemoteProtocolError(ErrorCode.RETRY_REFUSED, "a second one")
        value = find(shi.extensions, ExtensionType.PUZZLE)
        if value is None:
            raise RemoteProtocolError(ErrorCode.RETRY_REFUSED, "there is no puzzle")
        puzzle = Puzzle.decode(value)
        most = self._settings.maxDifficulty
        if puzzle.difficulty > most:
            raise RemoteProtocolError(
                ErrorCode.RETRY_REFUSED,
                f"a puzzle of {puzzle.difficulty} bits, and at most {most} are solved here",
            )
        return Search(puzzle, self._clientRandom)

    def receiveSDH(self, received: Received[SDH]) -> bytes:
        """
        Step 3: the secrets follow from the server's share.

        :param received: the server's share.
        :return: step 4, the client's share.
        :raises RemoteProtocolError: ``BAD_SHARE``.
        """
        self._transcript.add(received.octets)
        group = self._groupTable[self.group]
        share, sharedSecret = group.respond(received.message.share, self._random)
        cdh = self._send(CDH(share))
        self._derive(sharedSecret)
        return cdh

    def receiveSCC(self, received: Received[SCC]) -> Identity:
        """
        Step 5: check the server's proof.

        :param received: the proof.
        :return: who the server is.
        :raises RemoteProtocolError: if it proves nothing.
        """
        key = self.secrets.serverFinished
        self._peer = self._verify(Role.SERVER, key, received, self._settings.peerKinds)
        self._acceptedKinds = received.message.acceptedKinds
        return self._peer

    def answer(self) -> bytes:
        """
        Step 6: the client admits the server and proves itself.

        :return: the client's proof.
        :raises RemoteProtocolError: if the server takes no credential that the client has.
        """
        ours: Credential = self._settings.credential if self.preshared is None else Unsigned()
        if ours.kind not in self._acceptedKinds:
            code = ErrorCode.NO_COMMON_CREDENTIAL
            if ours.kind is CredentialKind.NONE:
                code = ErrorCode.CREDENTIAL_REQUIRED
            kinds = ", ".join(map(_nameOf, self._acceptedKinds[:SHOWN]))
            raise RemoteProtocolError(
                code, f"the server takes {kinds}, and this side has {ours.kind.name}"
            )
        ccc = CCC(ours.kind, ours.data, (), ours.scheme)
        return self._prove(Role.CLIENT, self.secrets.clientFinished, ours, ccc)

    def receiveSHF(self, received: Received[SHF]) -> None:
        """
        Step 7: check the server's confirmation.

        :param received: the confirmation, with the TTL and the interval.
        :raises RemoteProtocolError: ``BAD_MAC``.
        """
        self._checkMac(self.secrets.serverConfirm, received)
        value = find(received.message.extensions, ExtensionType.TICKET)
        if value is not None and self._settings.wantsTicket:
            self._given = value, self._resumptionSecret()
        if self.preshared is None:
            following = find(received.message.extensions, ExtensionType.NEXT_KEY)
            self.nextKeyDue = following is not None
        self._transcript.add(received.octets)

    def ticket(self) -> ResumptionTicket | None:
        """
        Read the ticket that came with SHF.

        :return: what to keep of this session; None if there is none, or it is too long.
        :raises RemoteProtocolError: ``MALFORMED_MESSAGE``.
        """
        if self._given is None:
            return None
        assert self._peer is not None, "the server is proved"
        value, secret = self._given
        given = GivenTicket.decode(value)
        if not 0 < len(given.ticket) <= MAX_TICKET:
            return None
        # Whatever the server says: signatures are due again and again.
        most = self._left if self.resumed else MAX_LIFETIME
        return ResumptionTicket(given.ticket, secret, self._peer, min(given.lifetime, most))


def _nameOf(kind: int) -> str:
    """A kind of credential in words, as far as it is known here."""
    return CredentialKind(kind).name if kind in CredentialKind._value2member_map_ else str(kind)

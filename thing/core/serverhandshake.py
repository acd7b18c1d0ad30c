"""
The server's side of the handshake: what it chooses, whom it believes, what it gives.

Specification, "Handshake". What both sides do alike is in :mod:`thing.core.handshake`.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import replace

from thing.core.capacity import Capacity
from thing.core.credentials import Credential, Unsigned
from thing.core.extensions import ExtensionType, PresharedOffer, Puzzle, Solution, find
from thing.core.groups import GroupName, ServerExchange
from thing.core.handshake import Handshake, choose
from thing.core.handshakemessages import CCC, CDH, CHI, SCC, SDH, SHF, SHI
from thing.core.heartbeat import toMilliseconds
from thing.core.layout import Extensions, Received
from thing.core.messages import MAX_TTL, MIN_TTL, VERSION, Role
from thing.core.preshared import MIN_KEY, Form, Preshared, Resumable, presharedKey
from thing.core.puzzle import solves
from thing.core.records import Aead
from thing.core.settings import ServerSettings
from thing.errors import ErrorCode, NotAuthorized, RemoteProtocolError
from thing.identity import CredentialKind, Identity


class ServerHandshake(Handshake):
    """
    The server's side.

    :ivar credential: what the server proves itself with, unless a secret does.
    """

    credential: Credential = Unsigned()

    def __init__(self, settings: ServerSettings) -> None:
        """:param settings: what the server chose."""
        super().__init__(settings)
        self._settings = settings
        self._exchange: ServerExchange | None = None
        self._asked: tuple[CHI, Puzzle] | None = None
        self._accepted: tuple[CredentialKind, ...] = (CredentialKind.PRESHARED,)
        self._wantsTicket = False
        self._peer: Identity | None = None
        self.requestedTtl: float | None = None

    def receiveCHI(self, received: Received[CHI], difficulty: int = 0) -> tuple[bytes, ...]:
        """
        Step 1: choose from what the client offers.

        :param received: the offer; a second time, with the puzzle solved.
        :param difficulty: how hard a puzzle to ask the first time, bits; zero for none.
        :return: steps 2 and 3, the choice and the server's share; or SHI alone, with the puzzle.
        :raises RemoteProtocolError: if nothing fits, the puzzle is not solved, the TTL asked for
            is out of bounds or a secret is offered that the client does not have.
        """
        chi = received.message
        if self._asked is None:
            self._negotiate(chi)
        else:
            self._checkRetry(chi, *self._asked)
        self.preshared = self._takeOffer(received)
        if self.preshared is not None or not difficulty:  # Who is known need not work.
            return self._answer(received)
        puzzle = Puzzle(self._random(32), difficulty)
        self._asked = chi, puzzle
        self._transcript.add(received.octets)
        extensions = ((ExtensionType.PUZZLE, puzzle.encode()),)
        return (self._send(SHI(VERSION, self._random(32), 0, 0, 0, 0, 0, 0, extensions)),)

    @property
    def asked(self) -> bool:
        """Whether the client was asked to solve a puzzle."""
        return self._asked is not None

    @property
    def chosen(self) -> bool:
        """Whether SHI told a choice, and not a puzzle."""
        return self._exchange is not None

    def _negotiate(self, chi: CHI) -> None:
        if chi.requestedTtl and not MIN_TTL <= chi.requestedTtl <= MAX_TTL:
            raise RemoteProtocolError(ErrorCode.TTL_OUT_OF_BOUNDS, f"{chi.requestedTtl} ms")
        self.peerCapacity = Capacity.of(chi)
        self.group = GroupName(choose(chi.groups, self._settings.groups, ErrorCode.NO_COMMON_GROUP))
        self.aead = Aead(choose(chi.aeads, self._settings.aeads, ErrorCode.NO_COMMON_AEAD))
        self.requestedTtl = chi.requestedTtl / 1000 if chi.requestedTtl else None

    def _checkRetry(self, chi: CHI, first: CHI, puzzle: Puzzle) -> None:
        """One hash, and nothing more is spent on a stranger who did not work for it."""
        given = find(chi.extensions, ExtensionType.SOLUTION)
        if given is None or not solves(puzzle, first.random, Solution.decode(given).number):
            raise RemoteProtocolError(ErrorCode.PUZZLE_UNSOLVED)
        if _withoutRetry(chi) != _withoutRetry(first):
            raise RemoteProtocolError(ErrorCode.PUZZLE_UNSOLVED, "the second CHI differs")

    def _answer(self, received: Received[CHI]) -> tuple[bytes, bytes]:
        chi = received.message
        if self.preshared is None:
            self.credential = self._chooseCredential(chi)
            nobody = (CredentialKind.NONE,) if self._settings.allowAnonymous else ()
            self._accepted = nobody + self._settings.peerKinds
        self._wantsTicket = find(chi.extensions, ExtensionType.TICKET) is not None
        self._exchange = self._groupTable[self.group].begin(self._random)
        self._transcript.add(received.octets)
        taken = () if self.preshared is None else ((ExtensionType.PRESHARED_KEY, b""),)
        can = self._settings.capacity
        shi = self._send(SHI(VERSION, self._random(32), self.group, self.aead, *can, taken))
        return shi, self._send(SDH(self._exchange.share))

    def _chooseCredential(self, chi: CHI) -> Credential:
        ours = {
            credential.kind: credential
            for credential in (self._settings.credential, *self._settings.otherCredentials)
        }
        kind = choose(chi.credentialKinds, tuple(ours), ErrorCode.NO_COMMON_CREDENTIAL)
        return ours[CredentialKind(kind)]

    def _takeOffer(self, received: Received[CHI]) -> Preshared | None:
        """The secret that the client offers and has, if this side has it, too."""
        chi = received.message
        value = find(chi.extensions, ExtensionType.PRESHARED_KEY)
        if value is None:
            return None
        if chi.extensions[-1][0] != ExtensionType.PRESHARED_KEY:
            raise RemoteProtocolError(ErrorCode.MALFORMED_MESSAGE, "the offer does not stand last")
        offer = PresharedOffer.decode(value)
        try:
            found = self._lookUp(offer)
        except NotAuthorized as error:  # Who has the keys cannot look them up now.
            raise RemoteProtocolError(error.code, error.detail) from None
        if found is None or hmac.compare_digest(self._binder(found, received.octets), offer.binder):
            return found
        if found.form is Form.TICKET:
            raise RemoteProtocolError(ErrorCode.BAD_MAC, "a ticket's binder")
        # Whether it is the identity or the key that is wrong, the peer need not know.
        known = self._settings.presharedKeys.get(offer.identity) is not None
        problem = "whoever offers it does not have it" if known else "is not among ours"
        raise RemoteProtocolError(
            ErrorCode.NOT_AUTHORIZED, f"the pre-shared key {offer.identity[:64]!r}: {problem}"
        )

    def _lookUp(self, offer: PresharedOffer) -> Preshared | None:
        settings = self._settings
        if offer.form == Form.KEY and CredentialKind.PRESHARED in settings.peerKinds:
            # For an identity that is not known, a key that nobody has.
            unknown = secrets.token_bytes(32)  # For each offer, so that time tells nothing.
            key = settings.presharedKeys.get(offer.identity) or unknown
            return presharedKey(offer.identity, key if len(key) >= MIN_KEY else unknown)
        if offer.form == Form.TICKET and settings.tickets is not None:
            found = settings.tickets.open(offer.identity, settings.shown)
            if found is not None and settings.takes(found.peer):
                return Preshared(
                    Form.TICKET, offer.identity, found.secret, found.peer, found.expires
                )
        return None

    def receiveCDH(self, received: Received[CDH]) -> bytes:
        """
        Step 4: the secrets follow from the client's share.

        :param received: the client's share.
        :return: step 5, the server's proof.
        :raises RemoteProtocolError: ``BAD_SHARE``.
        """
        assert self._exchange is not None, "the state machine puts CHI first"
        sharedSecret = self._exchange.finish(received.message.share)
        self._exchange = None
        self._transcript.add(received.octets)
        self._derive(sharedSecret)
        ours = self.credential
        scc = SCC(self._random(32), self._accepted, ours.kind, ours.data, (), ours.scheme)
        return self._prove(Role.SERVER, self.secrets.serverFinished, ours, scc)

    def receiveCCC(self, received: Received[CCC]) -> Identity:
        """
        Step 6: check the client's proof.

        :param received: the proof.
        :return: who the client is.
        :raises RemoteProtocolError: if it proves nothing.
        """
        if received.message.credentialKind == CredentialKind.NONE not in self._accepted:
            raise RemoteProtocolError(ErrorCode.CREDENTIAL_REQUIRED)
        key = self.secrets.clientFinished
        self._peer = self._verify(Role.CLIENT, key, received, self._accepted)
        return self._peer

    @property
    def following(self) -> Credential | None:
        """What holds beside the credential that this client was shown; None for nothing."""
        following = self._settings.nextCredential
        if following is None or self.preshared is not None:
            return None
        return following if following.kind is self.credential.kind else None

    def finish(self, ttl: float, interval: float) -> bytes:
        """
        Step 7: the client is admitted.

        :param ttl: the TTL granted, seconds.
        :param interval: the beat interval, seconds.
        :return: the server's confirmation.
        """
        extensions = self._giveTicket()
        if self.following is not None:
            extensions += ((ExtensionType.NEXT_KEY, b""),)
        shf = SHF(toMilliseconds(ttl), toMilliseconds(interval), extensions)
        return self._confirm(self.secrets.serverConfirm, shf.typed())

    def _giveTicket(self) -> Extensions:
        """A ticket, if the client asked for one; its first handshake's age goes with it."""
        sealer, preshared = self._settings.tickets, self.preshared
        byKey = preshared is not None and preshared.form is Form.KEY
        if sealer is None or not self._wantsTicket or byKey:
            return ()
        assert self._peer is not None, "the client is proved"
        expires = None if preshared is None else preshared.expires
        resumable = Resumable(self._resumptionSecret(), self._peer, expires)
        given = sealer.seal(resumable, self._settings.shown)
        return () if given is None else ((ExtensionType.TICKET, given.encode()),)


def _withoutRetry(chi: CHI) -> CHI:
    """What of a CHI must be the same in both tries."""
    changing = (ExtensionType.SOLUTION, ExtensionType.PRESHARED_KEY)
    kept = tuple(each for each in chi.extensions if each[0] not in changing)
    return replace(chi, extensions=kept)

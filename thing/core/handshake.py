"""
The seven steps of the handshake, for both roles (specification, "Handshake").

The construction is SIGMA-I with key confirmation: ephemeral Diffie-Hellman,
then from each side a signature over the transcript and a MAC under a key that
only the Diffie-Hellman can give. Where both sides have a secret already, it
enters the keys and the MAC alone proves it, as in TLS 1.3. A handshake takes
decoded messages and returns those to send; it knows nothing of records,
states or time.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import replace
from typing import TypeVar, cast

from thing.core.credentials import Credential, SignatureScheme, Unsigned, verifyCredential
from thing.core.extensions import (
    ExtensionType,
    GivenTicket,
    PresharedOffer,
    Puzzle,
    Solution,
    find,
)
from thing.core.groups import GroupName, ServerExchange
from thing.core.heartbeat import toMilliseconds
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
from thing.core.layout import Extensions, Message
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
    SignedCheck,
)
from thing.core.preshared import (
    MAX_LIFETIME,
    MAX_TICKET,
    MIN_KEY,
    Form,
    Preshared,
    PresharedCredential,
    Resumable,
    presharedKey,
    resumption,
)
from thing.core.puzzle import Search, solves
from thing.core.records import Aead
from thing.core.settings import ClientSettings, ServerSettings, Settings
from thing.errors import ErrorCode, RemoteProtocolError
from thing.events import ResumptionTicket
from thing.identity import CredentialKind, Identity

SHOWN = 8
"""How many numbers of a peer's list go into a log, so that no stranger fills it."""

M = TypeVar("M", bound=Message)
P = TypeVar("P", SCC, CCC)


class Handshake:
    """
    What both roles share: the transcript, the secrets and the proofs.

    :ivar group: the key exchange group that was chosen.
    :ivar aead: the AEAD that was chosen.
    :ivar secrets: the handshake's secrets, once both shares are known.
    :ivar preshared: the secret that the server took from the client's offer, if it did.
    """

    group: GroupName
    aead: Aead
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

    def _add(self, message: M) -> M:
        self._transcript.add(message.TYPE, message.encode())
        return message

    def _derive(self, sharedSecret: bytes) -> None:
        secret = None if self.preshared is None else self.preshared.secret
        self.secrets = HandshakeSecrets.derive(sharedSecret, self._transcript.hash(), secret)

    def _binder(self, preshared: Preshared, chi: CHI) -> bytes:
        """The binder of an offer; it stands at CHI's end, and covers all before it."""
        covered = chi.encode()[: -len(PresharedOffer.NO_BINDER)]
        hashed = self._transcript.hashWith(chi.TYPE, covered)
        return binder(preshared.secret, preshared.form.binderLabel, hashed)

    def _resumptionSecret(self) -> bytes:
        return resumptionSecret(self.secrets.mainSecret, self._transcript.hash())

    def _mac(self, key: bytes, message: Check) -> bytes:
        return mac(key, self._transcript.hashWith(message.TYPE, message.macPart()))

    def _checkMac(self, key: bytes, message: SCC | CCC | SHF) -> None:
        if not hmac.compare_digest(self._mac(key, message), message.mac):
            raise RemoteProtocolError(ErrorCode.BAD_MAC, message.TYPE.name)

    def _signatureContent(self, role: Role, message: SignedCheck) -> bytes:
        hashed = self._transcript.hashWith(message.TYPE, message.signedPart())
        return signatureContent(SIGNATURE_CONTEXTS[role], hashed)

    def _prove(self, role: Role, key: bytes, credential: Credential, message: P) -> P:
        """Sign the message and confirm the key; add it to the transcript."""
        signed = message.withSignature(credential.sign(self._signatureContent(role, message)))
        return self._add(signed.withMac(self._mac(key, signed)))

    def _verify(
        self, role: Role, key: bytes, message: SCC | CCC, kinds: tuple[CredentialKind, ...]
    ) -> Identity:
        """Check the peer's MAC and signature; add its message to the transcript."""
        self._checkMac(key, message)
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
                self._signatureContent(role, message),
            )
        else:
            identity = self.preshared.peer
            shown = (message.credentialKind, message.credential, message.scheme, message.signature)
            if shown != (CredentialKind.PRESHARED, b"", SignatureScheme.NONE, b""):
                raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, "beside a secret already taken")
        self._add(message)
        return identity

    def sessionSecrets(self) -> SessionSecrets:
        """
        Derive what the session needs; to be called once, after SHF.

        :return: the secrets and the session id.
        """
        return SessionSecrets.derive(self.secrets.mainSecret, self._transcript.hash())


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

    def receiveCHI(self, chi: CHI, difficulty: int = 0) -> tuple[Message, ...]:
        """
        Step 1: choose from what the client offers.

        :param chi: the offer; a second time, with the puzzle solved.
        :param difficulty: how hard a puzzle to ask the first time, bits; zero for none.
        :return: steps 2 and 3, the choice and the server's share; or SHI alone, with the puzzle.
        :raises RemoteProtocolError: if nothing fits, the puzzle is not solved, the TTL asked for
            is out of bounds or a secret is offered that the client does not have.
        """
        if self._asked is not None:
            self._checkRetry(chi, *self._asked)
            return self._answer(chi)
        self._negotiate(chi)
        if not difficulty:
            return self._answer(chi)
        puzzle = Puzzle(self._random(32), difficulty)
        self._asked = chi, puzzle
        self._add(chi)
        extensions = ((ExtensionType.PUZZLE, puzzle.encode()),)
        return (self._add(SHI(VERSION, self._random(32), 0, 0, extensions)),)

    @property
    def asked(self) -> bool:
        """Whether the client was asked to solve a puzzle."""
        return self._asked is not None

    @property
    def chosen(self) -> bool:
        """Whether SHI told a choice, and not a puzzle."""
        return self._exchange is not None

    def _negotiate(self, chi: CHI) -> None:
        if VERSION not in chi.versions:
            raise RemoteProtocolError(
                ErrorCode.VERSION_UNSUPPORTED, f"offered {chi.versions[:SHOWN]}"
            )
        if chi.requestedTtl and not MIN_TTL <= chi.requestedTtl <= MAX_TTL:
            raise RemoteProtocolError(ErrorCode.TTL_OUT_OF_BOUNDS, f"{chi.requestedTtl} ms")
        self.group = GroupName(
            _choose(chi.groups, self._settings.groups, ErrorCode.NO_COMMON_GROUP)
        )
        self.aead = Aead(_choose(chi.aeads, self._settings.aeads, ErrorCode.NO_COMMON_AEAD))
        self.requestedTtl = chi.requestedTtl / 1000 if chi.requestedTtl else None

    def _checkRetry(self, chi: CHI, first: CHI, puzzle: Puzzle) -> None:
        """One hash, and nothing more is spent on a stranger who did not work for it."""
        given = find(chi.extensions, ExtensionType.SOLUTION)
        if given is None or not solves(puzzle, first.random, Solution.decode(given).number):
            raise RemoteProtocolError(ErrorCode.PUZZLE_UNSOLVED)
        if _withoutRetry(chi) != _withoutRetry(first):
            raise RemoteProtocolError(ErrorCode.PUZZLE_UNSOLVED, "the second CHI differs")

    def _answer(self, chi: CHI) -> tuple[SHI, SDH]:
        self.preshared = self._takeOffer(chi)
        if self.preshared is None:
            self.credential = self._chooseCredential(chi)
            nobody = (CredentialKind.NONE,) if self._settings.allowAnonymous else ()
            self._accepted = nobody + self._settings.peerKinds
        self._wantsTicket = find(chi.extensions, ExtensionType.TICKET) is not None
        self._exchange = self._groupTable[self.group].begin(self._random)
        self._add(chi)
        taken = () if self.preshared is None else ((ExtensionType.PRESHARED_KEY, b""),)
        shi = self._add(SHI(VERSION, self._random(32), self.group, self.aead, taken))
        return shi, self._add(SDH(self._exchange.share))

    def _chooseCredential(self, chi: CHI) -> Credential:
        ours = {
            credential.kind: credential
            for credential in (self._settings.credential, *self._settings.otherCredentials)
        }
        kind = _choose(chi.credentialKinds, tuple(ours), ErrorCode.NO_COMMON_CREDENTIAL)
        return ours[CredentialKind(kind)]

    def _takeOffer(self, chi: CHI) -> Preshared | None:
        """The secret that the client offers and has, if this side has it, too."""
        value = find(chi.extensions, ExtensionType.PRESHARED_KEY)
        if value is None:
            return None
        if chi.extensions[-1][0] != ExtensionType.PRESHARED_KEY:
            raise RemoteProtocolError(ErrorCode.MALFORMED_MESSAGE, "the offer does not stand last")
        offer = PresharedOffer.decode(value)
        found = self._lookUp(offer)
        if found is None or hmac.compare_digest(self._binder(found, chi), offer.binder):
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
            if found is not None and self._takes(found.peer.kind):
                return Preshared(
                    Form.TICKET, offer.identity, found.secret, found.peer, found.expires
                )
        return None

    def _takes(self, kind: CredentialKind) -> bool:
        if kind is CredentialKind.NONE:
            return self._settings.allowAnonymous
        return kind in self._settings.peerKinds

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
        ours = self.credential
        scc = SCC(self._random(32), self._accepted, ours.kind, ours.data, (), ours.scheme)
        return self._prove(Role.SERVER, self.secrets.serverFinished, ours, scc)

    def receiveCCC(self, ccc: CCC) -> Identity:
        """
        Step 6: check the client's proof.

        :param ccc: the proof.
        :return: who the client is.
        :raises RemoteProtocolError: if it proves nothing.
        """
        if ccc.credentialKind == CredentialKind.NONE not in self._accepted:
            raise RemoteProtocolError(ErrorCode.CREDENTIAL_REQUIRED)
        key = self.secrets.clientFinished
        self._peer = self._verify(Role.CLIENT, key, ccc, self._accepted)
        return self._peer

    def finish(self, ttl: float, interval: float) -> SHF:
        """
        Step 7: the client is admitted.

        :param ttl: the TTL granted, seconds.
        :param interval: the beat interval, seconds.
        :return: the server's confirmation.
        """
        shf = SHF(toMilliseconds(ttl), toMilliseconds(interval), self._giveTicket())
        return self._add(shf.withMac(self._mac(self.secrets.serverConfirm, shf)))

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


class ClientHandshake(Handshake):
    """The client's side."""

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

    def begin(self) -> CHI:
        """
        Make the offer.

        :return: step 1.
        """
        self._clientRandom = self._random(32)
        return self._makeCHI(())

    def retry(self, solution: int) -> CHI:
        """
        Make the offer again, with the puzzle solved.

        :param solution: what the search found.
        :return: step 1, once more.
        """
        self._retried = True
        return self._makeCHI(((ExtensionType.SOLUTION, Solution(solution).encode()),))

    def _makeCHI(self, extensions: Extensions) -> CHI:
        settings, offer = self._settings, self._offer
        if settings.resumption and not self._byKey:
            extensions += ((ExtensionType.TICKET, b""),)
        chi = CHI(
            (VERSION,),
            self._clientRandom,
            settings.groups,
            settings.aeads,
            settings.peerKinds,
            toMilliseconds(settings.requestedTtl or 0),
            extensions,
        )
        if offer is not None:
            unbound = PresharedOffer(offer.form, offer.identity)
            chi = _withOffer(chi, unbound)
            bound = replace(unbound, binder=self._binder(offer, chi))
            chi = _withOffer(replace(chi, extensions=extensions), bound)
        return self._add(chi)

    def receiveSHI(self, shi: SHI) -> Search | None:
        """
        Step 2: take the server's choice.

        :param shi: the choice.
        :return: None; or what to search, if the server asks for a retry.
        :raises RemoteProtocolError: if it was not offered, or the retry is refused.
        """
        if shi.version != VERSION:
            raise RemoteProtocolError(ErrorCode.VERSION_UNSUPPORTED, f"chosen {shi.version}")
        if shi.group == 0:
            search = self._takePuzzle(shi)
            self._add(shi)
            return search
        self.group = GroupName(
            _choose((shi.group,), self._settings.groups, ErrorCode.NO_COMMON_GROUP)
        )
        self.aead = Aead(_choose((shi.aead,), self._settings.aeads, ErrorCode.NO_COMMON_AEAD))
        taken = find(shi.extensions, ExtensionType.PRESHARED_KEY)
        if taken is not None:
            if taken or self._offer is None:
                raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, "no such secret was offered")
            self.preshared = self._offer
        elif self._byKey:
            raise RemoteProtocolError(
                ErrorCode.NO_COMMON_CREDENTIAL, "the server did not take the pre-shared key"
            )
        self._add(shi)
        return None

    def _takePuzzle(self, shi: SHI) -> Search:
        if self._retried:
            raise RemoteProtocolError(ErrorCode.RETRY_REFUSED, "a second one")
        value = find(shi.extensions, ExtensionType.PUZZLE)
        if value is None:
            raise RemoteProtocolError(ErrorCode.RETRY_REFUSED, "there is no puzzle")
        puzzle = Puzzle.decode(value)
        if puzzle.difficulty > self._settings.maxDifficulty:
            raise RemoteProtocolError(
                ErrorCode.RETRY_REFUSED, f"a puzzle of {puzzle.difficulty} bits"
            )
        return Search(puzzle, self._clientRandom)

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
        key = self.secrets.serverFinished
        self._peer = self._verify(Role.SERVER, key, scc, self._settings.peerKinds)
        self._acceptedKinds = scc.acceptedKinds
        return self._peer

    def answer(self) -> CCC:
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

    def receiveSHF(self, shf: SHF) -> None:
        """
        Step 7: check the server's confirmation.

        :param shf: the confirmation, with the TTL and the interval.
        :raises RemoteProtocolError: ``BAD_MAC``.
        """
        self._checkMac(self.secrets.serverConfirm, shf)
        value = find(shf.extensions, ExtensionType.TICKET)
        if value is not None and self._settings.resumption and not self._byKey:
            self._given = value, self._resumptionSecret()
        self._add(shf)

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


def _withOffer(chi: CHI, offer: PresharedOffer) -> CHI:
    """CHI with an offer, which stands last so that its binder can cover all the rest."""
    last = (ExtensionType.PRESHARED_KEY, offer.encode())
    return replace(chi, extensions=(*chi.extensions, last))


def _withoutRetry(chi: CHI) -> CHI:
    """What of a CHI must be the same in both tries."""
    changing = (ExtensionType.SOLUTION, ExtensionType.PRESHARED_KEY)
    kept = tuple(each for each in chi.extensions if each[0] not in changing)
    return replace(chi, extensions=kept)


def _choose(offered: tuple[int, ...], ours: tuple[int, ...], code: ErrorCode) -> int:
    """The first on the client's list that the server has, as SSH chooses (RFC 4253, 7.1)."""
    for number in offered:
        if number in ours:
            return number
    raise RemoteProtocolError(code, f"offered {offered[:SHOWN]}")

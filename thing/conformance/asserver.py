"""
This side as a server, to examine a client: the handshake, its answers, its ends.

What is wrong in what it says is said by the rows.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from thing.conformance.line import Line
from thing.conformance.peer import Peer
from thing.conformance.verdict import Failed, NotTried
from thing.conformance.words import Twists
from thing.core.capacity import Capacity
from thing.core.credentials import Credential, SignatureScheme, Unsigned, verifyCredential
from thing.core.extensions import ExtensionType, PresharedOffer, Puzzle, find
from thing.core.groups import GROUPS, GroupName, ServerExchange
from thing.core.handshakemessages import CCC, CDH, CHI, SCC, SDH, SHF, SHI
from thing.core.keyschedule import (
    SIGNATURE_CONTEXTS,
    HandshakeSecrets,
    binder,
    resumptionSecret,
    signatureContent,
)
from thing.core.layout import Extensions, Message
from thing.core.messages import (
    CFL,
    CGB,
    CHB,
    CHI_LIMIT,
    CLW,
    HANDSHAKE_LIMIT,
    MAX_TTL,
    MIN_TTL,
    SGB,
    SUU,
    VERSION,
    Role,
)
from thing.core.preshared import Form
from thing.core.records import Aead
from thing.identity import CredentialKind

TTL, INTERVAL = 2000, 500
"""What this side grants unless a check is about that, milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerChoice:
    """What this side is as a server."""

    credential: Credential
    """What it shows."""

    presharedKeys: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """The pre-shared keys that it takes, by identity."""

    groups: tuple[int, ...] = tuple(GROUPS)
    aeads: tuple[int, ...] = tuple(Aead)
    ttl: int = TTL
    interval: int = INTERVAL

    ticket: bytes = b""
    """The value of a ticket to give to who asks for one."""

    tickets: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """The secrets of the tickets that it takes."""


class ServerPeer(Peer):
    """
    One connection of a client's.

    :ivar choice: what this side is.
    :ivar chi: the client's offer, the last that came.
    :ivar cdh: its share.
    :ivar ccc: its proof.
    :ivar beats: the number of its last heartbeat.
    :ivar resumption: the secret that goes with a ticket of this session.
    """

    role = Role.SERVER
    chi: CHI
    cdh: CDH
    ccc: CCC

    def __init__(
        self, line: Line, clock: Any, patience: float, twists: Twists, choice: ServerChoice
    ) -> None:
        """
        :param line: the stream.
        :param clock: tells the time, and calls back.
        :param patience: how long to wait for each answer, seconds.
        :param twists: what of the handshake is to be wrong.
        :param choice: what this side is.
        """
        super().__init__(line, clock, patience, twists)
        self.choice = choice
        self.limit = CHI_LIMIT
        self.preshared: bytes | None = None
        self.beats = 0
        self.resumption = b""
        self._exchange: ServerExchange

    async def hear(self) -> CHI:
        """
        Step 1: the client's offer.

        :return: it.
        :raises Failed: if it is out of bounds.
        """
        self.chi = chi = await self.expect(CHI)
        self.capacity = Capacity.of(chi)
        if chi.requestedTtl and not MIN_TTL <= chi.requestedTtl <= MAX_TTL:
            raise Failed(f"it asks for a TTL of {chi.requestedTtl} ms")
        self.preshared = self._offered(chi)
        self.transcript.add(self.last)
        self.limit = HANDSHAKE_LIMIT
        return chi

    def _offered(self, chi: CHI) -> bytes | None:
        """The secret that it offers, if this side has it."""
        value = find(chi.extensions, ExtensionType.PRESHARED_KEY)
        if value is None:
            return None
        if chi.extensions[-1][0] != ExtensionType.PRESHARED_KEY:
            raise Failed("PRESHARED_KEY does not stand last in its CHI")
        offer = PresharedOffer.decode(value)
        known = self.choice.presharedKeys if offer.form == Form.KEY else self.choice.tickets
        secret = known.get(offer.identity)
        if secret is not None:
            label = Form(offer.form).binderLabel
            right = binder(secret, label, self.transcript.hashWith(self.last[:-32]))
            if not hmac.compare_digest(right, offer.binder):
                raise Failed("the binder of its offer is wrong")
        return secret

    def ask(self, extensions: Extensions) -> None:
        """
        Ask for a retry.

        :param extensions: with the puzzle, as a rule.
        """
        self.limit = CHI_LIMIT
        self.handshaken(SHI(VERSION, secrets.token_bytes(32), 0, 0, 0, 0, 0, 0, extensions))

    def askPuzzle(self, difficulty: int) -> Puzzle:
        """
        Ask for a retry, with a puzzle.

        :param difficulty: how hard it is, bits.
        :return: what was asked.
        """
        puzzle = Puzzle(secrets.token_bytes(32), difficulty)
        self.ask(((ExtensionType.PUZZLE, puzzle.encode()),))
        return puzzle

    def answer(self) -> None:
        """Steps 2 and 3: this side's choice and its share."""
        self.choose()
        self.share()

    def choose(self) -> None:
        """Step 2: this side's choice."""
        group = next((each for each in self.chi.groups if each in self.choice.groups), None)
        aead = next((each for each in self.chi.aeads if each in self.choice.aeads), None)
        if group is None or aead is None:
            raise NotTried("it offers no group, or no AEAD, of those that this check is about")
        self.aead = Aead(aead)
        self.group = GroupName(group)
        taken = ((ExtensionType.PRESHARED_KEY, b""),) if self.preshared is not None else ()
        self.handshaken(SHI(VERSION, secrets.token_bytes(32), group, aead, *self.ours, taken))

    def share(self) -> None:
        """Step 3: this side's share."""
        self._exchange = GROUPS[self.group].begin(secrets.token_bytes)
        self.handshaken(SDH(self._exchange.share))

    async def exchange(self) -> None:
        """Step 4: the client's share."""
        self.cdh = await self.expect(CDH)
        shared = self._exchange.finish(self.cdh.share)
        self.transcript.add(self.last)
        self.secrets = HandshakeSecrets.derive(shared, self.transcript.hash(), self.preshared)
        self.useKeys(self.secrets.clientSecret, self.secrets.serverSecret)

    @property
    def kinds(self) -> tuple[int, ...]:
        """The kinds of credential that this side takes."""
        return (1, 3) if self.preshared is not None else (0, 1, 2, 4)

    def prove(self) -> None:
        """Step 5: this side's proof."""
        ours = self.choice.credential if self.preshared is None else Unsigned()
        if self.preshared is None and ours.kind not in self.chi.credentialKinds:
            raise NotTried("it can check no key as this side has")
        scc = SCC(secrets.token_bytes(32), self.kinds, ours.kind, ours.data, (), ours.scheme)
        self.proved(scc, self.secrets.serverFinished, ours)

    async def finish(self, confirming: bool = True) -> None:
        """
        Steps 6 and 7: the client's proof, and this side's confirmation.

        :param confirming: whether the session is up then; else the confirmation is wrong, and the
            client says so under the key of the handshake.
        """
        self.ccc = ccc = await self.expect(CCC)
        self._judge(ccc)
        self.transcript.add(self.last)
        self.resumption = resumptionSecret(self.secrets.mainSecret, self.transcript.hash())
        asked = find(self.chi.extensions, ExtensionType.TICKET) is not None
        ticket = ((ExtensionType.TICKET, self.choice.ticket),) if self.choice.ticket else ()
        extensions: Extensions = ticket if asked else ()
        shf = self.twisted(SHF(self.choice.ttl, self.choice.interval, extensions))
        self.confirmed(shf.typed(), self.secrets.serverConfirm)
        if confirming:
            self.established()

    def _judge(self, ccc: CCC) -> None:
        self.checkMac(ccc, self.secrets.clientFinished)
        shown = (ccc.credentialKind, ccc.credential, ccc.scheme, ccc.signature)
        if self.preshared is not None:
            if shown != (CredentialKind.PRESHARED, b"", SignatureScheme.NONE, b""):
                raise Failed("beside an accepted secret it shows a credential")
            return
        if ccc.credentialKind not in self.kinds:
            raise Failed(f"it shows a credential of kind {ccc.credentialKind}, not taken")
        hashed = self.transcript.hashWith(ccc.signedPart(self.last))
        content = signatureContent(SIGNATURE_CONTEXTS[Role.CLIENT], hashed)
        verifyCredential(*shown, content)

    async def handshake(self) -> None:
        """
        Go through the handshake.

        :raises Over: if the client ends it.
        :raises Failed: if it does something wrong.
        """
        await self.hear()
        await self.conclude()

    async def conclude(self) -> None:
        """
        Go through the rest of a handshake, once CHI came.

        :raises Over: if the client ends it.
        :raises Failed: if it does something wrong.
        """
        self.answer()
        await self.exchange()
        self.prove()
        await self.finish()

    def aside(self, message: Message) -> bool:
        """
        Take care of a message that may come at any time in a session.

        :param message: the message.
        :return: whether it is one.
        """
        if isinstance(message, CHB):
            self.beaten(message)
            return True
        return isinstance(message, CLW) or super().aside(message)

    def beaten(self, chb: CHB) -> None:
        """
        Check a heartbeat, and answer it.

        :param chb: the heartbeat.
        :raises Failed: if its number is wrong.
        """
        if chb.sequence != self.beats + 1:
            raise Failed(f"CHB has the number {chb.sequence} and not {self.beats + 1}")
        self.beats += 1
        if self.answering:
            self.send(SUU(chb.sequence, self.choice.ttl, self.choice.interval))

    async def alive(self) -> None:
        """
        See that the client has read all that was sent, and that the session goes on.

        :raises Failed: if it does not.
        """
        await self.asked()

    async def goodbye(self) -> None:
        """
        Take its goodbye to the end.

        :raises Failed: if it does not end in order.
        """
        await self.expect(CGB)
        self.send(SGB())
        end = await self.ends()
        if not isinstance(end.word, CFL):
            raise Failed(str(end))

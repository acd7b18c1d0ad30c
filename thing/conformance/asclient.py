"""
This side as a client, to examine a server: the handshake, its heartbeats, its goodbye.

What is wrong in what it says is said by the rows.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from thing.conformance.line import Line
from thing.conformance.peer import Peer
from thing.conformance.verdict import Failed, NotTried, Over
from thing.conformance.words import Twists
from thing.core.capacity import Capacity
from thing.core.credentials import Credential, Unsigned, verifyCredential
from thing.core.extensions import ExtensionType, PresharedOffer, Puzzle, Solution, find
from thing.core.groups import GROUPS, GroupName
from thing.core.handshakemessages import CCC, CDH, CHI, SCC, SDH, SHF, SHI
from thing.core.heartbeat import checkSchedule
from thing.core.keyschedule import (
    SIGNATURE_CONTEXTS,
    HandshakeSecrets,
    binder,
    resumptionSecret,
    signatureContent,
)
from thing.core.messages import CFL, CGB, CHB, SGB, SUU, VERSION, MessageType, Role
from thing.core.preshared import Preshared
from thing.core.puzzle import Search
from thing.core.records import Aead
from thing.errors import RemoteProtocolError
from thing.identity import CredentialKind, Identity

Decide = Callable[[Identity], Awaitable[object]]
"""Decides whether the server is the one that is to be examined; raises if it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientChoice:
    """What this side is as a client."""

    credential: Credential
    """What it shows."""

    kinds: tuple[CredentialKind, ...]
    """The kinds of credential that it can judge."""

    decide: Decide
    """Decides about the server."""

    offer: Preshared | None = None
    """A secret that it offers."""

    groups: tuple[int, ...] = tuple(GROUPS)
    aeads: tuple[int, ...] = tuple(Aead)

    ttl: int = 0
    """What it asks for, milliseconds."""

    wantsTicket: bool = False


class ClientPeer(Peer):
    """
    One connection to a server.

    :ivar choice: what this side is.
    :ivar shi: the server's choice.
    :ivar scc: its proof.
    :ivar shf: its confirmation.
    :ivar puzzle: what it asked, if it did.
    :ivar beats: how many heartbeats were sent.
    :ivar ttl: what it granted last, milliseconds.
    :ivar renewed: when this side said what renews the session, at the latest.
    :ivar resumption: the secret that goes with its ticket.
    """

    role = Role.CLIENT
    shi: SHI
    scc: SCC
    shf: SHF

    def __init__(
        self, line: Line, clock: Any, patience: float, twists: Twists, choice: ClientChoice
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
        self.random = secrets.token_bytes(32)
        self.puzzle: Puzzle | None = None
        self.beats = self.ttl = 0
        self.renewed = 0.0
        self.resumption = b""

    def chi(self) -> CHI:
        """:return: what this side offers, without any secret."""
        ticket = ((ExtensionType.TICKET, b""),) if self.choice.wantsTicket else ()
        return CHI(
            (VERSION,),
            self.random,
            self.choice.groups,
            self.choice.aeads,
            self.choice.kinds,
            self.choice.ttl,
            *self.ours,
            ticket,
        )

    def offerTo(self, chi: CHI) -> None:
        """
        Say CHI, and offer a secret if there is one.

        :param chi: what is offered besides.
        """
        offer = self.choice.offer
        if offer is None:
            self.handshaken(chi)
            return
        unbound = PresharedOffer(offer.form, offer.identity).encode()
        extensions = (*chi.extensions, (ExtensionType.PRESHARED_KEY, unbound))
        part = self.twisted(replace(chi, extensions=extensions)).typed()[:-32]
        made = binder(offer.secret, offer.form.binderLabel, self.transcript.hashWith(part))
        change = self.twists.mac.get(MessageType.CHI)
        self.put(part + (made if change is None else change(made)))

    async def begin(self) -> None:
        """Steps 1 to 3: the offer, the choice and the server's share; with a puzzle, if asked."""
        self.offerTo(self.chi())
        await self.choose()
        if self.shi.group == 0:
            self.solve()
            await self.choose()
            if self.shi.group == 0:
                raise Failed("it asks for a second retry")
        await self.share()

    async def choose(self) -> None:
        """The server's choice comes."""
        self.shi = await self.expect(SHI)
        self.transcript.add(self.last)
        if self.shi.group == 0:
            value = find(self.shi.extensions, ExtensionType.PUZZLE)
            if value is None:
                raise Failed("it asks for a retry, and there is no puzzle")
            self.puzzle = Puzzle.decode(value)
            return
        if self.shi.group not in self.choice.groups or self.shi.aead not in self.choice.aeads:
            raise Failed("it chose what was not offered")
        self.capacity = Capacity.of(self.shi)

    def solve(self, wrong: int = 0) -> None:
        """
        Say CHI once more, with the puzzle solved.

        :param wrong: what is added to the solution.
        """
        assert self.puzzle is not None, "a puzzle was asked"
        if self.puzzle.difficulty > 20:
            raise Failed(f"it asks a puzzle of {self.puzzle.difficulty} bits")
        search = Search(self.puzzle, self.random)
        while (number := search.go()) is None:
            pass
        solution = (ExtensionType.SOLUTION, Solution(number + wrong).encode())
        chi = self.chi()
        self.offerTo(replace(chi, extensions=(solution, *chi.extensions)))

    @property
    def taken(self) -> bool:
        """Whether the server took the secret that was offered."""
        return find(self.shi.extensions, ExtensionType.PRESHARED_KEY) is not None

    async def share(self) -> None:
        """The server's share comes."""
        if self.taken and self.choice.offer is None:
            raise Failed("it accepts a secret that was not offered")
        self.aead = Aead(self.shi.aead)
        self.sdh = await self.expect(SDH)
        self.transcript.add(self.last)

    async def exchange(self) -> None:
        """Steps 4 and 5: this side's share, and the server's proof."""
        group = GROUPS[GroupName(self.shi.group)]
        share, shared = group.respond(self.sdh.share, secrets.token_bytes)
        self.handshaken(CDH(share))
        offer = self.choice.offer if self.taken else None
        secret = None if offer is None else offer.secret
        self.secrets = HandshakeSecrets.derive(shared, self.transcript.hash(), secret)
        self.useKeys(self.secrets.clientSecret, self.secrets.serverSecret)
        self.line.reader.clearReject = True
        try:
            self.scc = await self.expect(SCC)
        finally:
            self.line.reader.clearReject = False
        await self._judge(self.scc)
        self.transcript.add(self.last)

    async def _judge(self, scc: SCC) -> None:
        self.checkMac(scc, self.secrets.serverFinished)
        if self.taken:
            empty = (scc.credential, scc.scheme, scc.signature) == (b"", 0, b"")
            if scc.credentialKind != CredentialKind.PRESHARED or not empty:
                raise Failed("beside an accepted secret it shows a credential")
            return
        if scc.credentialKind not in self.choice.kinds:
            raise Failed(f"it shows a credential of kind {scc.credentialKind}, not offered")
        hashed = self.transcript.hashWith(scc.signedPart(self.last))
        identity = verifyCredential(
            scc.credentialKind,
            scc.credential,
            scc.scheme,
            scc.signature,
            signatureContent(SIGNATURE_CONTEXTS[Role.SERVER], hashed),
        )
        await self.choice.decide(identity)

    @property
    def shown(self) -> Credential:
        """What this side shows now."""
        return Unsigned() if self.taken else self.choice.credential

    def prove(self, credential: Credential | None = None) -> None:
        """
        Step 6: this side's proof.

        :param credential: what signs; by default what was chosen.
        """
        ours = self.shown if credential is None else credential
        if ours.kind not in self.scc.acceptedKinds:
            raise NotTried(f"it takes no credential of kind {ours.kind.name}")
        self.renewed = self.clock.seconds()
        ccc = CCC(ours.kind, ours.data, (), ours.scheme)
        self.proved(ccc, self.secrets.clientFinished, ours)

    async def finish(self) -> None:
        """Step 7: the server's confirmation."""
        self.shf = await self.expect(SHF)
        self.checkMac(self.shf, self.secrets.serverConfirm)
        self.resumption = resumptionSecret(self.secrets.mainSecret, self.transcript.hash())
        self.transcript.add(self.last)
        self.established()
        self._granted(self.shf.ttl, self.shf.interval)

    def _granted(self, ttl: int, interval: int) -> None:
        try:
            checkSchedule(ttl, interval)
        except RemoteProtocolError as error:
            raise Failed(f"what it grants is out of bounds: {error.detail}") from None
        self.ttl = ttl

    async def handshake(self) -> None:
        """
        Go through the handshake.

        :raises Over: if the server ends it.
        :raises Failed: if it does something wrong.
        """
        await self.begin()
        await self.exchange()
        self.prove()
        await self.finish()

    async def beat(self) -> SUU:
        """
        Send a heartbeat.

        :return: the server's answer.
        :raises Failed: if it is wrong, or there is none.
        """
        self.beats += 1
        self.renewed = self.clock.seconds()
        self.send(CHB(self.beats))
        return await self.understood()

    async def understood(self) -> SUU:
        """
        Wait for the answer to a heartbeat that was sent.

        :return: the answer to the last one.
        :raises Failed: if it is wrong, or there is none.
        """
        suu = await self.expect(SUU)
        if suu.sequence != self.beats:
            raise Failed(f"SUU has the number {suu.sequence} and not {self.beats}")
        self._granted(suu.ttl, suu.interval)
        return suu

    async def alive(self) -> None:
        """
        See that the server has read all that was sent, and that the session goes on.

        :raises Failed: if it does not.
        """
        try:
            await self.beat()
        except Over as end:
            raise Failed(str(end)) from None

    async def goodbye(self) -> None:
        """
        End in order.

        :raises Failed: if the server does not.
        """
        self.send(CGB())
        await self.expect(SGB)
        self.send(CFL())
        await self.closed()

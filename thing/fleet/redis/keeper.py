"""
A node's part in the registry: its lease, its sessions, and the repair of both.

Whatever is wrong with the registry, the cure is one and the same: the
connection is made anew, the lease renewed, every session that is up restored,
what had to wait written, and what is not here any more taken off. Each of
these may be done twice without harm.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from thing.fleet.local import LocalRegistry
from thing.fleet.model import NodeRecord, NotPresent, Twins
from thing.fleet.redis.address import Address
from thing.fleet.redis.complaints import Complaints
from thing.fleet.redis.connection import ANSWER_TIME, Link, RegistryAway, RegistryRefused
from thing.fleet.redis.endpoints import logIn
from thing.fleet.redis.operations import (
    Claim,
    Claims,
    Disown,
    Held,
    Join,
    Leave,
    Operation,
    Renew,
    Restore,
    Retire,
)
from thing.fleet.redis.outbox import Outbox, Write
from thing.fleet.redis.rows import nodeOf
from thing.fleet.redis.script import (
    BATCH,
    KEEP_STOPPED,
    Outcome,
    Script,
    asJson,
    outcomeOf,
    pairsOf,
)
from thing.fleet.redis.writes import heldNow
from thing.fleet.sessions import LocalSession
from thing.logger import Logger

LEASE = 10.0
"""For how long a node counts as alive after it last said so, seconds."""

FAREWELL_TIME = 5.0
"""How long the last writes may take when a node stops, seconds."""

NOTHING_ASKED = '{"op":"answer","call":""}'
"""What a node can be sent without a consequence: an answer, and nothing was asked."""

WRITTEN = frozenset({"joined", "moved", "same", "done"})
"""The registry's words for a write that it has."""

REFUSED = frozenset({"key", "here"})
"""Its words for a newcomer that must go, since an older session stays."""


class Usurped(RegistryAway):
    """Another process has this node's name."""


class Keeper:
    """
    Keeps a node's sessions in the registry.

    :ivar connected: whether the registry can be reached and is known to be right about this node.
    :ivar script: what is run in Redis.
    :ivar outbox: what is to be written.
    :ivar swept: how often a batch of a lost node's things, or of old ones, was cleaned up.
    """

    _log = Logger()

    def __init__(
        self,
        makeLink: Callable[..., Link],
        address: Address,
        script: Script,
        local: LocalRegistry,
        *,
        record: Callable[[], NodeRecord],
        takeUp: Callable[[NodeRecord], object],
        onConnected: Callable[[], object],
        onAway: Callable[[], object],
        wallClock: Callable[[], float],
        lease: float = LEASE,
    ) -> None:
        """
        :param makeLink: makes a connection from ``prepare``, ``onUp`` and ``onDown``.
        :param address: where the registry is.
        :param script: what is run in it.
        :param local: the sessions of this node.
        :param record: tells how this node is.
        :param takeUp: told how this node was in an earlier process, if that is known.
        :param onConnected: called when the registry can be used.
        :param onAway: called when it cannot be any more.
        :param wallClock: tells the time of day, seconds.
        :param lease: for how long the node counts as alive, seconds.
        """
        self.connected = False
        self.script = script
        self.swept = 0
        self.link = makeLink(prepare=self._prepare, onUp=self._up, onDown=self._down)
        self.outbox = Outbox(self._send, self._settled, self.link.drop, self._isNeeded)
        self._address = address
        self._local = local
        self._record, self._wallClock = record, wallClock
        self._takeUp = takeUp
        self._onConnected, self._onAway = onConnected, onAway
        self._lease = lease
        self._clock: IReactorTime = local.factory.clock
        self._process = secrets.token_hex(8)
        self._first = True
        self._usurped = False
        self._complaints = Complaints()
        self._registryAhead: float | None = None
        """The registry's time of day less this node's steady clock, seconds; once it is known."""
        self._nextRenewal: IDelayedCall | None = None
        self._running = False

    @property
    def node(self) -> str:
        """This node's name."""
        return self._local.node

    def timeOfDay(self) -> float:
        """
        Tell the time of day as the registry has it, or as this node has it until that is known.

        So the epochs that nodes give while they are alone are in the order of what happened,
        whatever the nodes' own clocks say.

        :return: seconds since 1970.
        """
        if self._registryAhead is None:
            return self._wallClock()
        return self._clock.seconds() + self._registryAhead

    def start(self) -> None:
        """Connect, and keep the lease."""
        self._running = True
        self.link.start()
        self._schedule()

    async def stop(self) -> None:
        """Write what is left to be written, take this node off, and disconnect."""
        self._running = False
        if self._nextRenewal is not None and self._nextRenewal.active():
            self._nextRenewal.cancel()
        if self.connected:
            leaving = Deferred.fromCoroutine(self._retire())
            leaving.addTimeout(FAREWELL_TIME, self._clock)
            try:
                await leaving
            except (RegistryAway, RegistryRefused, TimeoutError) as error:
                self._log.warn("The registry was not told of the end: {error}", error=str(error))
        await self.link.stop()

    async def _retire(self) -> None:
        await self.outbox.whenWritten()
        retire = Retire(
            node=self.node,
            process=self._process,
            record=asJson(replace(self._record(), status="stopped").asDict()),
            keep=int(KEEP_STOPPED * 1000),
            most=self.script.bounds.events,
            limit=BATCH,
        )
        while await self.ask(retire):
            pass

    def ask(self, operation: Operation) -> Deferred[Any]:
        """
        Run an operation of the script.

        :param operation: which.
        :return: fires with the answer; fails with ``RegistryAway`` or ``RegistryRefused``.
        """
        if not self.link.up:
            return fail(RegistryAway("the registry cannot be reached"))
        return self.script.run(self.link, operation)

    @property
    def reason(self) -> str:
        """Why the registry is away, in one line; empty while it is connected."""
        return self._complaints.reason

    # The connection.

    async def _prepare(self, link: Link) -> None:
        await logIn(link, self._address)
        await self.script.load(link)
        # Who may not publish would look well until there is a word for another node.
        await link.call("PUBLISH", f"{self.script.prefix}inbox:{self.node}", NOTHING_ASKED)

    def _up(self) -> None:
        Deferred.fromCoroutine(self._repair())

    def _down(self, reason: str) -> None:
        self.outbox.close()
        self._away(reason)

    def _away(self, reason: str) -> None:
        self._complaints.reason = reason
        if self._running and self._complaints.isNew(reason):
            self._log.warn(
                "The registry {address} is away, this node goes on by itself: {reason}",
                address=str(self._address),
                reason=reason,
            )
        if self.connected:
            self.connected = False
            self._onAway()

    # The lease.

    def _schedule(self, busy: bool = False) -> None:
        pause = 0.0 if busy else self._lease / 3 * (1 - 0.25 * self._local.factory.jitter())
        self._nextRenewal = self._clock.callLater(pause, self._keepLease)

    def _keepLease(self) -> None:
        self._nextRenewal = None
        Deferred.fromCoroutine(self._renewAndSweep()).addErrback(
            lambda failure: self._log.failure("Keeping the lease failed", failure)
        )

    async def _renewAndSweep(self) -> None:
        # Who cleans up after a large node must not lose its own lease by that.
        busy, until = False, self._clock.seconds() + self._lease / 3
        try:
            if self.link.up:
                wasConnected, wasUsurped = self.connected, self._usurped
                kept = await self._renew()
                if wasUsurped:
                    await self._repair()
                elif wasConnected and not kept:
                    # Others may have taken this node's things off already.
                    self.link.drop("this node's lease had run out")
                elif wasConnected:
                    self.outbox.retry()
                busy = await self._sweep(until)
                if self.connected:
                    self._complaints.clear()  # Not before all that a node does was done once.
        except Usurped as error:
            self._losesName(error)
        except RegistryAway:
            pass  # It is told by the connection.
        except RegistryRefused as error:
            self.link.drop(str(error))
        finally:
            if self._running:
                self._schedule(busy)

    async def _sweep(self, until: float) -> bool:
        """Clean up what others left; tell whether there is more of that than was time for."""
        while self.connected and await self.script.sweep(self.link, self._lease):
            self.swept += 1
            if self._clock.seconds() >= until:
                return True
        return False

    async def _renew(self) -> bool:
        """Renew the lease; tell whether it had not run out."""
        renew = Renew(
            node=self.node,
            process=self._process,
            lease=int(self._lease * 1000),
            record=asJson(self._record().asDict()),
            first=self._first,
        )
        answer = await self.ask(renew)
        try:
            word, now = answer[0].decode(), int(answer[1])
        except (AttributeError, IndexError, TypeError, ValueError):
            raise RegistryAway("the registry's answer makes no sense") from None
        if word == "usurped":
            raise Usurped(f"another process is the node {self.node}")
        before = nodeOf(self.node.encode(), answer[-1], alive=False) if self._first else None
        self._first = self._usurped = False
        self._registryAhead = now / 1000 - self._clock.seconds()
        if before is not None:
            self._takeUp(before)
            return await self._renew()  # With what was taken up.
        return bool(word == "kept")

    def _losesName(self, error: Usurped) -> None:
        if not self._usurped:
            self._usurped = True
            self._log.critical("{error}: each needs a name of its own", error=str(error))
        self.outbox.close()
        self._away(str(error))

    # The repair.

    async def _repair(self) -> None:
        try:
            await self._renew()
            await self.restore()
            self.outbox.open()
            await self.outbox.whenWritten()
            await self._disown()
        except Usurped as error:
            self._losesName(error)
        except Exception as error:
            # Of a connection that is lost already this has no effect.
            self.link.drop(str(error) or type(error).__name__)
        else:
            self._complaints.reason = ""
            self.connected = True
            self._log.info("The registry {address} is up to date", address=str(self._address))
            self._onConnected()

    async def restore(self) -> None:
        """
        Have all sessions of this node in the registry; those that are, are left as they are.

        :raises RegistryAway: if the connection is lost meanwhile.
        """
        sessions = iter(self._local.sessions)
        while batch := list(islice(sessions, BATCH)):
            await self._restoreBatch([session for session in batch if self._isHere(session)])

    async def _restoreBatch(self, sessions: list[LocalSession]) -> None:
        now = self.timeOfDay()
        held = [heldNow(session, now) for session in sessions]
        try:
            answers = await self.ask(self._restoring(held))
        except RegistryRefused as error:
            if error.passing:
                raise
            # One that is refused must not keep the others out.
            for session, change in zip(sessions, held, strict=True):
                if len(sessions) > 1:
                    await self._restoreBatch([session])
                elif self._isHere(session):
                    self.outbox.rest(Write(session, change, tries=1), str(error))
            return
        for session, answer in zip(sessions, answers or [], strict=True):
            self._restored(session, outcomeOf(answer))

    def _restoring(self, sessions: list[Held]) -> Restore:
        return Restore(node=self.node, most=self.script.bounds.events, sessions=sessions)

    def _restored(self, session: LocalSession, outcome: Outcome) -> None:
        if outcome.word in WRITTEN:
            self._fence(session, outcome)
        else:
            self._giveSessionUp(session, outcome)

    async def _disown(self) -> None:
        """Take off what the registry takes for this node's, and is not here."""
        cursor = "0"
        while True:
            answer = await self.ask(Claims(node=self.node, cursor=cursor, count=BATCH))
            # Somebody may have put there what is no text: it is to be taken off, too.
            cursor, *found = (each.decode(errors="surrogateescape") for each in answer)
            claims = [Claim(id=id, session=session) for id, session in pairsOf(found)]
            wrong = [each for each in claims if not self._has(each.id, each.session)]
            if wrong:
                most = self.script.bounds.events
                await self.ask(Disown(node=self.node, most=most, claims=wrong))
            if cursor == "0":
                return

    # Writing.

    def _send(self, write: Write) -> Deferred[Any]:
        change = write.change
        if not isinstance(change, Held):
            return self.ask(change)
        if write.tries or not self.connected:
            # By now another node may have a newer session of the same thing.
            return self.ask(self._restoring([change])).addCallback(lambda answers: answers[0])
        join = Join(
            node=self.node,
            most=self.script.bounds.events,
            deadline=int(1000 * (self.timeOfDay() + ANSWER_TIME)),
            refuse=self._local.twins is Twins.REFUSE,
            held=change,
        )
        return self.ask(join)

    def _settled(self, write: Write, outcome: Outcome) -> bool:
        if outcome.word in WRITTEN:
            self._fence(write.session, outcome)
        elif outcome.word == "stale" or outcome.word in REFUSED:
            self._giveSessionUp(write.session, outcome)
        elif outcome.word == "late" or self._isHere(write.session):
            return False
        elif write.uplink and outcome.word == "unknown":
            self.outbox.dropped += 1
        return True

    def _isNeeded(self, write: Write) -> bool:
        """Whether others must know of it: that a session is up, or that its thing is gone."""
        if isinstance(write.change, Leave):
            return self._local.directory.here(write.session.id) is None
        return isinstance(write.change, Held) and self._isHere(write.session)

    def _fence(self, session: LocalSession, outcome: Outcome) -> None:
        self._local.fence(session, outcome.epoch or 0, outcome.sequence or 0)

    def _giveSessionUp(self, session: LocalSession, outcome: Outcome) -> None:
        if outcome.word in REFUSED and self._isHere(session):
            self._log.warn("{id} is here already, on {node}", id=session.id, node=outcome.detail)
        self._local.supersede(session.id, session.session, outcome.epoch or session.epoch)

    def _isHere(self, session: LocalSession) -> bool:
        return self._has(session.id, session.session)

    def _has(self, id: str, session: str) -> bool:
        try:
            return self._local.session(id).session == session
        except NotPresent:
            return False

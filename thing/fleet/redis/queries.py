"""
What can be asked of a fleet on many nodes, and of this node while the registry is away.

It reads, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, FirstError, gatherResults

from thing.errors import ThingError
from thing.fleet.local import LocalRegistry
from thing.fleet.model import Filter, NodeRecord, Page, Status, ThingRecord, searchText
from thing.fleet.redis.connection import RegistryAway, RegistryRefused
from thing.fleet.redis.inbox import Inbox
from thing.fleet.redis.keeper import Keeper
from thing.fleet.redis.operations import Find, List, Nodes
from thing.fleet.redis.rows import FIELDS, MALFORMED, nodesOf, realOf, recordOf, trafficOf
from thing.fleet.searching import fill

MEASURE_TIME = 0.5
"""How long a page waits for the figures of other nodes, seconds."""

LOOKED = 1000
"""How many things the registry looks at in one go: others wait meanwhile."""

TOLD = 200
"""How many of them it tells of."""


class Queries:
    """
    Answers from the registry, or else from what this node knows.

    :ivar malformed: how many answers made no sense.
    """

    def __init__(
        self,
        keeper: Keeper,
        inbox: Inbox,
        local: LocalRegistry,
        own: Callable[[], NodeRecord],
    ) -> None:
        """
        :param keeper: asks the registry.
        :param inbox: asks the other nodes.
        :param local: the sessions of this node.
        :param own: tells how this node is.
        """
        self.malformed = 0
        self._keeper = keeper
        self._inbox = inbox
        self._local = local
        self._own = own
        self._clock = local.factory.clock

    async def things(self, after: str, limit: int, wanted: Filter) -> Page:
        """
        List things in the order of their ids.

        :param after: the id behind which to begin; the empty string for the first.
        :param limit: how many at most.
        :param wanted: which.
        :return: the page.
        """
        try:
            self._checkConnected()
            page = await fill(partial(self._look, wanted), after, limit, self._clock)
            return replace(page, things=tuple(await self._measured(page.things)))
        except (RegistryAway, RegistryRefused):
            known = await self._local.page(after, limit, wanted)
            return replace(known, complete=False)

    async def thing(self, id: str) -> ThingRecord | None:
        """
        Tell what is known of one thing, here or gone.

        :param id: which.
        :return: the record, or None.
        """
        try:
            found = await self.stored(id)
        except (RegistryAway, RegistryRefused):
            return self._local.find(id)
        return None if found is None else (await self._measured([found]))[0]

    async def stored(self, id: str) -> ThingRecord | None:
        """
        Tell what the registry has of one thing.

        :param id: which.
        :return: the record, or None.
        :raises RegistryAway: if there is no answer, or :class:`RegistryRefused`.
        """
        self._checkConnected()
        found = self._records(await self._keeper.ask(Find(ids=[id], fields=FIELDS)))
        return found[0] if found else None

    async def _look(self, wanted: Filter, after: str, limit: int) -> Page:
        most = min(limit + 1, TOLD)  # One more tells whether another page follows.
        every = wanted == Filter()
        listing = List(
            set="ids" if wanted.status is Status.GONE else "here",
            after=after,
            count=most if every else LOOKED,
            most=most,
            text=(wanted.text or "").casefold(),
            node=wanted.node or "",
            status=wanted.status.value if wanted.status else "",
            fields=FIELDS,
        )
        try:
            last, rows = await self._keeper.ask(listing)
            following = last.decode() or None
        except MALFORMED:
            raise RegistryAway("the registry's answer makes no sense") from None
        found = [each for each in self._records(rows) if _admitted(each, wanted)]
        if len(found) > limit:
            following = found[limit - 1].id
        return Page(tuple(found[:limit]), following)

    def _records(self, rows: Any) -> list[ThingRecord]:
        records = [recordOf(row) for row in rows or []]
        found = [record for record in records if record is not None]
        self.malformed += len(records) - len(found)
        return found

    async def _measured(self, records: Sequence[ThingRecord]) -> list[ThingRecord]:
        """Add what only the nodes of the things know, as far as they say so in time."""
        nodes: dict[str, list[str]] = {}
        for record in records:
            if record.status is not Status.GONE and record.node != self._local.node:
                nodes.setdefault(record.node, []).append(record.id)
        asking = [Deferred.fromCoroutine(self._measure(node, ids)) for node, ids in nodes.items()]
        told: dict[str, Any] = {}
        try:
            for found in await gatherResults(asking, consumeErrors=True):
                told |= found
        except FirstError as error:  # Such as that nobody waits for it any more.
            error.subFailure.raiseException()
        return [self._withTraffic(record, told) for record in records]

    async def _measure(self, node: str, ids: list[str]) -> dict[str, Any]:
        try:
            return await self._inbox.measure(node, ids, MEASURE_TIME)
        except ThingError:
            return {}  # It does not say.

    def _withTraffic(self, record: ThingRecord, told: dict[str, Any]) -> ThingRecord:
        if record.status is Status.GONE:
            return record
        if record.node == self._local.node:
            own = self._local.find(record.id)
            if own is None or own.session != record.session or own.traffic is None:
                return record
            return replace(record, status=own.status, lastSeen=own.lastSeen, traffic=own.traffic)
        if record.id not in told:
            return record
        found = told[record.id]
        try:
            if found["session"] != record.session:
                return record
            return replace(
                record,
                status=Status(found["status"]),
                lastSeen=realOf(found["lastSeen"]),
                traffic=trafficOf(found["traffic"]),
            )
        except MALFORMED:
            self.malformed += 1
            return record

    async def nodes(self) -> list[NodeRecord]:
        """
        Tell how the nodes are, this one first.

        :return: the records.
        """
        own = self._own()
        try:
            self._checkConnected()
            answer = await self._keeper.ask(Nodes())
        except (RegistryAway, RegistryRefused):
            return [self._own()]
        records, malformed = nodesOf(answer)
        self.malformed += malformed
        return [own, *(each for each in records if each.node != own.node)]

    def _checkConnected(self) -> None:
        if not self._keeper.connected:
            raise RegistryAway("the registry cannot be reached")


def _admitted(record: ThingRecord, wanted: Filter) -> bool:
    """Whether a thing is asked for; the registry knows only about what it was told."""
    text = searchText(record.id, record.name, record.fingerprint, record.address)
    return wanted.admits(record.status, record.node, text)

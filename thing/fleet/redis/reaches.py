"""
:class:`FleetReaches`: the reaches to the things of all nodes that share a registry.

Each node is asked for its own. Nothing of them is kept in the registry: what ended with its node is
not to be cleaned up.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from thing.fleet.interfaces import IReaches
from thing.fleet.model import NotPresent, ReachRecord, ThingRecord, Undelivered
from thing.fleet.reaches import Reaches
from thing.fleet.redis.rows import MALFORMED, realOf, wholeOf

LIST, END = "reaches", "endReach"
"""What nodes ask each other."""


@implementer(IReaches)
class FleetReaches:
    """
    Knows the reaches of this node, and asks the others for theirs.

    :ivar here: those by way of this node.
    """

    def __init__(self, here: Reaches, presence: Any) -> None:
        """
        :param here: those by way of this node.
        :param presence: an :class:`~thing.fleet.interfaces.ISharedPresence`.
        """
        self.here = here
        self._presence = presence
        presence.serve(LIST, self._list)
        presence.serve(END, self._end)

    def listed(self, thing: str | None = None) -> Deferred[tuple[list[ReachRecord], bool]]:
        """
        List those that are open.

        :param thing: only those to this one; None for all.
        :return: fires with them, and with whether all nodes have told theirs.
        """

        async def listing() -> tuple[list[ReachRecord], bool]:
            found, complete = await self.here.listed(thing)
            node = None if thing is None else await self._nodeOf(thing)
            if node == self._presence.node:
                return found, complete
            answers, complete = await self._presence.ask(LIST, {"thing": thing}, node)
            for answer in answers:
                try:
                    found += map(recordOf, answer["found"])
                except MALFORMED:
                    complete = False
            return found, complete

        return Deferred.fromCoroutine(listing())

    async def _nodeOf(self, thing: str) -> str | None:
        """Which node has a thing, or had it last; None if nobody tells."""
        try:
            record: ThingRecord | None = await self._presence.locate(thing)
        except Undelivered:
            return None
        return self._presence.node if record is None else record.node

    def end(self, id: str) -> Deferred[None]:
        """
        End one, on whichever node.

        :param id: which.
        :return: fires once it is ended; fails with ``NotPresent``, or with ``Undelivered`` if
            a node did not answer that may have it.
        """

        async def ending() -> None:
            if any(reach.asked.id == id for reach in self.here.open):
                return await self.here.end(id)
            answers, complete = await self._presence.ask(END, {"reach": id})
            if any(answer.get("ended") is True for answer in answers):
                return None
            try:
                return await self.here.end(id)  # Its thing's node does not answer.
            except NotPresent:
                if not complete:
                    raise Undelivered("not all nodes answered") from None
                raise

        return Deferred.fromCoroutine(ending())

    # What other nodes ask.

    def _list(self, question: dict[str, Any]) -> dict[str, Any]:
        return {"found": [each.asDict() for each in self.here.records(question["thing"])]}

    def _end(self, question: dict[str, Any]) -> dict[str, Any]:
        found = [each for each in self.here.open if each.asked.id == question["reach"]]
        for reach in found:
            self.here.end(reach.asked.id)
        return {"ended": bool(found)}


def recordOf(found: dict[str, Any]) -> ReachRecord:
    """
    Read what another node tells of a reach.

    :param found: what :meth:`~thing.fleet.model.ReachRecord.asDict` gave.
    :return: the record.
    :raises ValueError: if it makes no sense; also others of
        :data:`~thing.fleet.redis.rows.MALFORMED`.
    """
    names = ("id", "thing", "service", "by", "key", "from", "node")
    id, thing, service, by, key, address, node = texts = [found[name] for name in names]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("not texts")
    return ReachRecord(
        id=id,
        thing=thing,
        service=service,
        by=by,
        key=key,
        address=address,
        since=realOf(found["since"]),
        node=node,
        octetsUp=wholeOf(found["octetsUp"]),
        octetsDown=wholeOf(found["octetsDown"]),
    )

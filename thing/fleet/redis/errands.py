"""
What is done to a thing on any node: the registry tells where it is, and that node does it.

What is done is said by who sends it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from thing.fleet.local import LocalRegistry
from thing.fleet.model import NotGone, NotPresent, Status, ThingRecord, Undelivered, notForgotten
from thing.fleet.redis.connection import RegistryAway, RegistryRefused
from thing.fleet.redis.inbox import Inbox
from thing.fleet.redis.keeper import Keeper
from thing.fleet.redis.operations import Forget, ForgetThing
from thing.fleet.redis.queries import Queries
from thing.fleet.redis.script import outcomeOf

GRACE = 2.0
"""How long another node may take besides what a thing may, seconds."""


class Errands:
    """Finds out where a thing is, and has it done there."""

    def __init__(
        self, keeper: Keeper, inbox: Inbox, queries: Queries, local: LocalRegistry
    ) -> None:
        """
        :param keeper: asks the registry.
        :param inbox: asks the other nodes.
        :param queries: tell what the registry has of a thing.
        :param local: the sessions of this node.
        """
        self._keeper = keeper
        self._inbox = inbox
        self._queries = queries
        self._local = local

    async def deliver(self, id: str, message: bytes, timeout: float) -> bytes:
        """
        Send a message to a thing, as a request.

        :param id: which thing.
        :param message: the octets.
        :param timeout: how long the thing may take to answer, seconds.
        :return: what it answered.
        :raises ThingError: as ``IPresence`` says.
        """

        async def on(node: str) -> bytes:
            if node == self._local.node:
                return await self._local.deliver(id, message, timeout)
            return await self._inbox.deliver(node, id, message, timeout, GRACE)

        delivered: bytes = await self._onNodeOf(id, on)
        return delivered

    async def dismiss(self, id: str) -> None:
        """
        Ask a thing to leave.

        :param id: which thing.
        :raises NotPresent: if it is not here, or :class:`Undelivered`.
        """

        async def on(node: str) -> None:
            if node == self._local.node:
                self._local.dismiss(id)
            else:
                await self._inbox.dismiss(node, id, GRACE)

        await self._onNodeOf(id, on)

    async def forget(self, node: str) -> None:
        """
        Show a node that stopped or was lost no more.

        :param node: its name.
        :raises ThingError: as ``IPresence`` says.
        """
        answer = await self._orUndelivered(self._keeper.ask(Forget(node=node)))
        if outcomeOf(answer).word != "done":
            raise notForgotten(node, outcomeOf(answer).word == "alive")

    async def forgetThing(self, id: str) -> None:
        """
        Remember a thing no more that is gone.

        :param id: which.
        :raises ThingError: as ``IPresence`` says.
        """
        answer = await self._orUndelivered(self._keeper.ask(ForgetThing(id=id)))
        word = outcomeOf(answer).word
        if word == "here":
            raise NotGone(f"{id} is here")
        with suppress(NotPresent, NotGone):  # What this node remembers by itself.
            self._local.directory.forget(id)
        if word != "done":
            raise NotPresent(f"nobody has heard of {id}")

    async def locate(self, id: str) -> ThingRecord | None:
        """
        Tell where a thing is, without what only its node measures.

        :param id: which thing.
        :return: what is known of it; None if nobody has heard of it.
        :raises Undelivered: if the registry does not say.
        """
        if self._local.directory.here(id) is not None:
            return self._local.find(id)
        found: ThingRecord | None = await self._orUndelivered(self._queries.stored(id))
        return found

    async def ask(
        self, op: str, question: dict[str, Any], node: str | None
    ) -> tuple[list[dict[str, Any]], bool]:
        """
        Ask another node something, or all that are up the same.

        :param op: what they are asked, as they serve it.
        :param question: what else belongs to it; JSON can hold it.
        :param node: only this one.
        :return: the answers of those that gave one in time; and whether that is all of them.
        """
        if not self._keeper.connected:
            return [], False
        _own, *others = await self._queries.nodes()
        asked = {**question, "op": op}
        up = [each.node for each in others if each.isThere]
        names = [name for name in up if node in (None, name)]
        results = await DeferredList(
            [Deferred.fromCoroutine(self._inbox.ask(name, asked, GRACE)) for name in names],
            consumeErrors=True,
        )
        return [answer for done, answer in results if done], all(done for done, _ in results)

    async def _onNodeOf(self, id: str, on: Callable[[str], Awaitable[Any]]) -> Any:
        """Do something on the node that a thing is on; if it moved meanwhile, once more."""
        node = await self._nodeOf(id)
        try:
            return await self._orUndelivered(on(node))
        except NotPresent:
            elsewhere = await self._nodeOf(id)
            if elsewhere == node:
                raise
            return await self._orUndelivered(on(elsewhere))

    async def _nodeOf(self, id: str) -> str:
        """On which node a thing is; this one, if it is here at all."""
        if self._local.directory.here(id) is not None:
            return self._local.node
        found = await self.locate(id)
        if found is None or found.status is Status.GONE or found.node == self._local.node:
            raise NotPresent(f"{id} is not here")
        return found.node

    async def _orUndelivered(self, asking: Awaitable[Any]) -> Any:
        """What the registry, or another node, answers."""
        try:
            return await asking
        except (RegistryAway, RegistryRefused) as error:
            raise Undelivered(str(error)) from None

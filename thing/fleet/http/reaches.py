"""The API's paths about reaches: which services of things operators use, and the end of that."""

from __future__ import annotations

from typing import Any

from thing.fleet.http.answers import Answer, Problem, jsonAnswer
from thing.fleet.http.routes import Call, Route
from thing.fleet.interfaces import IReaches
from thing.fleet.model import NotPresent, Undelivered
from thing.logger import Logger


class ReachApi:
    """
    Answers requests about reaches.

    :ivar routes: what answers each path.
    """

    _log = Logger()

    def __init__(self, reaches: IReaches | None) -> None:
        """:param reaches: knows them; None on a server whose things cannot be reached."""
        self._reaches: Any = reaches
        self.routes = {
            "/reaches": Route({b"GET": self._getAll}),
            "/reaches/{id}": Route({b"DELETE": self._delete}),
        }

    async def listed(self, thing: str | None = None) -> dict[str, Any]:
        """
        List those that are open.

        :param thing: only those to this one; None for all.
        :return: the answer to who asks for the list.
        """
        if self._reaches is None:
            return {"reaches": [], "complete": True}
        found, complete = await self._reaches.listed(thing)
        return {"reaches": [reach.asDict() for reach in found], "complete": complete}

    async def _getAll(self, call: Call) -> Answer:
        call.query()
        return jsonAnswer(await self.listed())

    async def _delete(self, call: Call) -> Answer:
        call.query()
        try:
            if self._reaches is None:
                raise NotPresent("nothing is reached here")
            await self._reaches.end(call.id)
        except NotPresent:
            raise Problem(404, "There is no such reach.") from None
        except Undelivered:
            raise Problem(504, "The thing's node did not answer.") from None
        self._log.info("Over HTTP the reach {id} was ended", id=call.id)
        return jsonAnswer({}, 202)

"""The API's path about the past: what a node's figures were."""

from __future__ import annotations

from thing.fleet.history import SPANS, History
from thing.fleet.http.answers import Answer, Problem, jsonAnswer
from thing.fleet.http.routes import Call, Route


class HistoryApi:
    """
    Answers requests about the past.

    :ivar routes: what answers each path.
    """

    def __init__(self, history: History | None, node: str) -> None:
        """
        :param history: knows it; None on a server that keeps none.
        :param node: whose it is.
        """
        self._history = history
        self._node = node
        self.routes = {"/history": Route({b"GET": self._get})}

    async def _get(self, call: Call) -> Answer:
        asked = call.query("span").one("span")
        span = LATEST if asked is None else asked
        if span not in SPANS:
            raise Problem(400, f"span is none of {', '.join(SPANS)}.", parameter="span")
        if self._history is None:
            raise Problem(404, "This server keeps no history.")
        return jsonAnswer({"node": self._node, **self._history.told(span)})


LATEST = next(iter(SPANS))
"""The span that is told by default."""

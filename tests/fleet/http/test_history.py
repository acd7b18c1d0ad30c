"""What a node's figures were, over HTTP."""

from __future__ import annotations

from tests.fleet.http.web import WebCase
from thing.fleet.history import SPANS, TICK, historyOf
from thing.fleet.http import StatusSite
from thing.fleet.meter import Meter


class HistoryTests(WebCase):
    """``GET /history``."""

    def keepHistory(self) -> None:
        """Have the server keep one."""
        local = self.home.local
        history = historyOf(Meter(local.factory), local)
        history.start()
        self.addCleanup(history.stop)
        self.site = StatusSite(self.home, history=history, wallClock=self.wallClock)

    def tearDown(self) -> None:
        self.doCleanups()
        super().tearDown()

    def test_told(self) -> None:
        """Of each span it is told what was, the last hour by default, and whose it is."""
        self.keepHistory()
        self.connect(self.home, "lamp")
        self.advance(TICK)
        for query, span in (("", "1h"), *((f"?span={span}", span) for span in SPANS)):
            found = self.ask(f"/history{query}")
            self.assertEqual(found.status, 200)
            self.assertEqual(
                {name: found.json[name] for name in ("node", "span", "at", "joined", "sessions")},
                {
                    "node": "node",
                    "span": span,
                    "at": [self.wallClock()],
                    "joined": [1],
                    "sessions": [1],
                },
            )

    def test_unknown(self) -> None:
        """There is no other span, nor another parameter."""
        self.keepHistory()
        for query, name in (("span=1y", "span"), ("span=", "span"), ("of=lamp", "of")):
            found = self.ask(f"/history?{query}")
            self.assertEqual((found.status, found.json["parameter"]), (400, name))

    def test_none(self) -> None:
        """A server that keeps no history says so."""
        self.assertEqual(self.ask("/history").title, "This server keeps no history.")
        self.assertEqual(self.ask("/history?span=2h").status, 400)

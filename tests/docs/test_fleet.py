"""docs/howto-fleet.rst: the limits and kinds that it names are those of the code."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.docs.test_docs import DOCS
from thing.fleet import Kind
from thing.fleet.feed import MOST_EVENTS, MOST_OCTETS
from thing.fleet.http import channel, places, sse
from thing.fleet.http.answers import ANSWER_TIMEOUT
from thing.fleet.http.description import LISTED, LONGEST_WAIT, MOST_LISTED, WAIT


class FleetPageTests(TestCase):
    """docs/howto-fleet.rst"""

    def setUp(self) -> None:
        """Read it."""
        self.text = (DOCS / "howto-fleet.rst").read_text()

    def test_numbers(self) -> None:
        """The limits that the page names are those of the code."""
        text = " ".join(self.text.split())
        for words in (
            f"pages of {LISTED} things",
            f"up to {MOST_LISTED}",
            f"{WAIT:g} without it and {LONGEST_WAIT:g} at most",
            f"last {MOST_EVENTS:,} events, or {MOST_OCTETS >> 20} MiB",
            f"more than {sse.MAX_WAITING >> 10} KiB of events",
            f"every {sse.COMMENT_INTERVAL:g} seconds",
            f"{sse.MAX_READERS} may follow at once",
            f"first comment is one of {sse.MAX_WAITING >> 10} KiB",
            f"{channel.MAX_CONNECTIONS}; {sse.MAX_READERS}",
            f"{places.MAX_STRANGERS}; {places.MAX_ADMITTED}",
            f"{channel.MAX_HEAD >> 10} KiB; {channel.MAX_HEADERS}",
            f"answer before - {channel.REQUEST_TIMEOUT:g} seconds",
            f"to read an answer - {ANSWER_TIMEOUT:g} seconds",
        ):
            self.assertIn(words, text)
        for kind in Kind:
            self.assertIn(f"``{kind.value}``", text)

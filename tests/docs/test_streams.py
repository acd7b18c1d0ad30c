"""docs/howto-streams.rst: several protocols in one session."""

from __future__ import annotations

from tests.docs.test_docs import DOCS, EXAMPLES, GOODBYE
from tests.docs.test_transport import LISTENING, TransportPrograms

PAGE = DOCS / "howto-streams.rst"


class StreamsTests(TransportPrograms):
    """streams.py"""

    async def test_besideEachOther(self) -> None:
        """A page and a call go through one session, each opened by another side."""
        server = self.example("streams.py", "server", "0", "server_key", "things")
        port = await self.portOf(server, LISTENING)
        words = ("thing", "127.0.0.1", port, "thing_key", f"SHA256:{self.fingerprint}")
        output = await self.succeeds(self.example("streams.py", *words))
        self.assertRegex(output, f"to be 21.5 degrees warm\nshell: NOT_PERMITTED: .*\n{GOODBYE}")
        await server.says("lamp asks for its setpoint")
        await server.says("lamp shows: 20.5 degrees")
        await server.says(f"lamp: {GOODBYE}")

    def test_shown(self) -> None:
        """The page shows the whole example, class by class."""
        page, example = PAGE.read_text(), (EXAMPLES / "streams.py").read_text()
        for name in ("Hub", "Thing", "Advisor"):
            self.assertIn(f":pyobject: {name}\n", page)
            self.assertIn(f"class {name}(", example)

"""docs/howto-asyncio.rst: its programs meet each other, and Twisted's."""

from __future__ import annotations

import re

from tests.docs.test_docs import DOCS, EXAMPLES, FINGERPRINT, GOODBYE, DocumentedPrograms
from thing import IdentityKey

PAGE = DOCS / "howto-asyncio.rst"


class AsyncioTests(DocumentedPrograms):
    """asyncio_server.py, asyncio_client.py and asyncio_always_on.py"""

    async def test_conversation(self) -> None:
        """Server and client say what the page shows."""
        server = self.example("asyncio_server.py")
        client = self.example("asyncio_client.py", await server.says(FINGERPRINT))
        self.assertEqual(await client.exits(), 0, client.output)
        shown = PAGE.read_text().partition("$ python asyncio_client.py ")[2].split("\n\n")[0]
        lines = [line.strip() for line in shown.splitlines()[1:]]
        said = re.sub(r"\d\d:\d\d", "12:34", client.output).splitlines()
        self.assertEqual(said, lines)
        await server.says(f"anonymous: {GOODBYE}")

    async def test_alwaysOn(self) -> None:
        """The client comes back when Twisted's server does, and knows it by its key."""
        IdentityKey.generate().save(self.directory / "key")
        server = self.example("server.py")
        await server.says(FINGERPRINT)
        source = (EXAMPLES / "asyncio_always_on.py").read_text()
        source = source.replace(
            "import asyncio\n", "import asyncio\nfrom thing.core import Backoff\n"
        )
        self.write(
            "hurried.py", source.replace(", servers):", ", servers, backoff=Backoff(base=0.2)):")
        )
        client = self.run_("hurried.py", "known", "key")
        await client.says("up with \\[localhost\\]:")
        server.signal("KILL")
        await client.says("lost: the stream ended without goodbye or flat line")
        again = self.example("server.py")
        await again.says(FINGERPRINT)
        await again.says("is here")
        await client.says("(?s)up with .*up with")

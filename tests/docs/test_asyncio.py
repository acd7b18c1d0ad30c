"""docs/howto-asyncio.rst: the program that nobody types there; the walk runs the others."""

from __future__ import annotations

from tests.docs.test_docs import EXAMPLES, FINGERPRINT, DocumentedPrograms
from thing import IdentityKey


class AsyncioTests(DocumentedPrograms):
    """asyncio_always_on.py"""

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

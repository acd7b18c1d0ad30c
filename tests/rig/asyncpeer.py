"""
The same as ``peer.py`` on asyncio, but for bulk data: ``python -m tests.rig.asyncpeer``.

It reads its words from the same pipe, and tells the same.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from tests.rig.peer import clientSettings, serverSettings, tell
from thing import Anyone, PinnedServers
from thing.asyncio import Session, connect, serve
from thing.errors import ThingError


class Peer:
    """Does what its standard input says."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self._sessions: list[Session] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Do all that is said, until the input ends."""
        loop = asyncio.get_running_loop()
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            word, *arguments = json.loads(line)
            await getattr(self, f"do_{word}")(*arguments)
        for task in self._tasks:
            task.cancel()

    async def _have(self, session: Session) -> None:
        """Have one session to its end."""
        self._sessions.append(session)
        tell("up", id=session.session_id, ttl=session.ttl)
        try:
            async for _ in session:
                pass
        except ThingError:
            pass  # The end says it.
        end = session.termination
        assert end is not None, "it is over"
        tell("end", id=session.session_id, cause=end.cause.name, text=str(end))

    async def do_serve(self, host: str) -> None:
        """Listen, and tell where, and with what key."""
        settings = serverSettings()
        server = await serve(self._have, host, 0, settings, Anyone())
        (listening,) = server.sockets
        key = settings.credential.fingerprint
        tell("serves", port=listening.getsockname()[1], key=key)

    async def do_open(self, host: str, port: int, key: str, ttls: list[float]) -> None:
        """Have a session with each of these TTLs."""
        for ttl in ttls:
            session = await connect(f"{host}:{port}", clientSettings(ttl), PinnedServers([key]))
            task = asyncio.create_task(self._have(session))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def do_stall(self, seconds: float) -> None:
        """Hold the loop up."""
        time.sleep(seconds)

    async def do_figures(self) -> None:
        """Tell what was counted: the heartbeats, of a client."""
        tell("figures", of={each.session_id: figuresOf(each) for each in self._sessions})


def figuresOf(session: Session) -> dict[str, Any]:
    """
    What is known of a session.

    :param session: the session.
    """
    return {"worst": session.round_trip_time or 0.0}


if __name__ == "__main__":
    asyncio.run(Peer().run())

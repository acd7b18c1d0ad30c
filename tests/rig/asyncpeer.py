"""
The same as ``peer.py`` on asyncio, but for bulk data: ``python -m tests.rig.asyncpeer``.

It reads its words from the same pipe, and tells the same.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Coroutine
from typing import Any

from tests.rig.peer import clientSettings, serverSettings, tell
from tests.rig.peers import content
from thing import Anyone, PinnedServers
from thing.asyncio import Session, connect, serve
from thing.errors import SessionEnded, ThingError
from thing.events import Event, HeartbeatAcknowledged, HeartbeatReceived


class Side:
    """One session, and what was counted of it."""

    def __init__(self, session: Session) -> None:
        """:param session: the session."""
        self.session = session
        self.figures = {"beats": 0, "worst": 0.0, "received": 0}
        session.on_event = self._count

    def _count(self, event: Event) -> None:
        if isinstance(event, HeartbeatAcknowledged | HeartbeatReceived):
            self.figures["beats"] += 1
        if isinstance(event, HeartbeatAcknowledged):
            self.figures["worst"] = max(self.figures["worst"], event.roundTripTime)

    async def read(self) -> None:
        """Take all that comes, to the end."""
        try:
            async for message in self.session:
                self.figures["received"] += len(message)
        except ThingError:
            pass  # The end says it.

    async def give(self) -> None:
        """Send as fast as it goes, to the end."""
        try:
            for some in content(None):
                await self.session.send(some)
        except SessionEnded:
            pass  # The end says it.


class Peer:
    """Does what its standard input says."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self._sides: list[Side] = []
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
        side = Side(session)
        self._sides.append(side)
        tell("up", id=session.session_id, ttl=session.ttl)
        await side.read()
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
            self._begin(self._have(session))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def do_give(self, size: None, rate: float) -> None:
        """Send in all sessions, without end."""
        assert size is None and not rate, "it can do no other"
        for side in self._sides:
            self._begin(side.give())

    async def do_stall(self, seconds: float) -> None:
        """Hold the loop up."""
        time.sleep(seconds)

    async def do_figures(self) -> None:
        """Tell what was counted."""
        tell("figures", of={each.session.session_id: each.figures for each in self._sides})


if __name__ == "__main__":
    asyncio.run(Peer().run())

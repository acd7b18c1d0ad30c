"""An event loop whose clock moves when nothing else does, and two sessions in it."""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from thing.asyncio import Server, Session, connect, serve
from thing.testing import Keys

T = TypeVar("T")

FAR = 1e6
"""Nothing in a test waits for so long, seconds."""


class StepSelector(selectors.DefaultSelector):
    """Waits for nobody: where nothing is ready time goes on to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout != 0:
            if timeout is None or self.now > FAR:
                raise AssertionError("everybody waits, and nothing will happen")
            self.now += max(timeout or 0.0, 1e-9)
        return ready


class StepLoop(asyncio.SelectorEventLoop):
    """Runs through hours in no time; sockets within the process answer at once."""

    def __init__(self) -> None:
        self.steps = StepSelector()
        super().__init__(self.steps)

    def time(self) -> float:
        return self.steps.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end, and see that no task is left."""
    loop = StepLoop()
    troubles: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: troubles.append(context))
    try:
        result = loop.run_until_complete(main)
        loop.run_until_complete(asyncio.sleep(3.0))  # What lingers is gone by then.
        left = asyncio.all_tasks(loop)
        assert not left, left
        assert not troubles, troubles
        return result
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


Handler = Callable[[Session], Awaitable[object]]


class Pair:
    """
    A server that listens on no port, and what its clients need.

    :ivar keys: of both sides.
    :ivar server: the server.
    :ivar arrived: the server's sessions, in their order.
    """

    def __init__(self, server: Server, keys: Keys, arrived: asyncio.Queue[Session]) -> None:
        self.keys = keys
        self.server = server
        self.arrived = arrived

    def client(self, settings: dict[str, Any] | None = None, **choices: Any) -> connect:
        """A client of the server's, over a pair of sockets."""
        return connect(
            "server:1",
            self.keys.clientSettings(**(settings or {})),
            choices.pop("authorizer", self.keys.servers),
            sock=self.plug(),
            **choices,
        )

    def plug(self) -> socket.socket:
        """The client's end of a connection to the server."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        loop = asyncio.get_running_loop()
        connecting = loop.create_task(
            loop.create_connection(self.server._build, sock=theirs)  # As a port's would.
        )
        connecting.add_done_callback(lambda done: done.exception())
        return ours


@asynccontextmanager
async def serving(
    handler: Handler | None = None, settings: dict[str, Any] | None = None, **choices: Any
) -> AsyncIterator[Pair]:
    """A server; its handler waits for the end if there is none."""
    keys: Keys = choices.pop("keys", None) or Keys()
    arrived: asyncio.Queue[Session] = asyncio.Queue()

    async def handle(session: Session) -> None:
        arrived.put_nowait(session)
        if handler is None:
            await session.wait_closed()
        else:
            await handler(session)

    authorizer = choices.pop("authorizer", keys.things)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    async with serve(
        handle,
        None,
        None,
        keys.serverSettings(**(settings or {})),
        authorizer,
        sock=listening,
        **choices,
    ) as server:
        yield Pair(server, keys, arrived)

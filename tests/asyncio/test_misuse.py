"""What clients, servers and sessions are given: a mistake is an error at once."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.asyncio.loops import run, serving
from thing.asyncio import Session, connect, reconnect, serve
from thing.core import Backoff, KeptTicket, Limits
from thing.testing import Keys

KEYS = Keys()


async def handler(*args: object) -> Any:
    """A coroutine function, whatever it is for."""


class CallableHandler:
    """An object that is one, too."""

    async def __call__(self, *args: object) -> Any:
        """Do nothing."""


def sync(*args: object) -> Any:
    """Awaits nothing."""


HANDLERS: tuple[Any, ...] = (handler, partial(handler, 1), CallableHandler())
NO_HANDLERS: tuple[Any, ...] = (sync, partial(sync, 1), "x", 5, CallableHandler, asyncio.Lock())
NO_STREAMS: tuple[Any, ...] = ([1], "x", {5: handler}, *({"a": each} for each in NO_HANDLERS))


def server(first: Any = handler, authorizer: Any = KEYS.things, **choices: Any) -> serve:
    """A server that is not open yet."""
    return serve(first, None, 0, KEYS.serverSettings(), authorizer, **choices)


def client(address: Any = "a:1", authorizer: Any = KEYS.servers, **choices: Any) -> connect:
    """A client that is not open yet."""
    return connect(address, KEYS.clientSettings(), authorizer, **choices)


def always(address: Any = "a:1", **choices: Any) -> reconnect:
    """A client that comes back."""
    return reconnect(address, KEYS.clientSettings(), KEYS.servers, **choices)


class MisuseTests(SynchronousTestCase):
    """Each argument, of a wrong kind."""

    def assertRefused(self, call: Any, **wrong: tuple[Any, ...]) -> None:
        """Each is one sentence that names what was wrong."""
        for name, values in wrong.items():
            for value in values:
                with self.assertRaises((TypeError, ValueError), msg=f"{name}={value}") as caught:
                    call(**{name: value})
                self.assertNotIn("object at 0x", str(caught.exception))

    def test_serve(self) -> None:
        """A server's arguments."""
        self.assertRefused(
            server,
            first=(None, *NO_HANDLERS),
            authorizer=(None, "x", sync),
            limits=(5, Limits, "x"),
            on_request=NO_HANDLERS,
            streams=NO_STREAMS,
        )
        for each in HANDLERS:
            server(each, on_request=each, streams={"a": each, "b:": each}, limits=Limits())

    def test_connect(self) -> None:
        """A client's."""
        addresses = (None, 5, "a", "a:0", "a..b:1", f"{'x' * 64}:1", "a\nb:1", "a b:1", b"a:1")
        wrong = {
            "address": addresses,
            "on_request": NO_HANDLERS,
            "streams": NO_STREAMS,
            "tickets": (True, KeptTicket, "x"),
            "timeout": (0, -1.0, "x", None, float("inf"), float("nan")),
        }
        self.assertRefused(client, **wrong)
        self.assertRefused(always, **wrong)
        self.assertRefused(always, backoff=(5, Backoff), give_up=("no", 1, None))
        for each in HANDLERS:
            client(on_request=each, streams={"a": each}, tickets=KeptTicket(), timeout=1)
        always("[::1]:9", backoff=Backoff(), give_up=True)

    def test_replaced(self) -> None:
        """What a server is given later, and what counts stays as it was."""

        async def main() -> None:
            async with serving() as pair:
                for name, values in {
                    "settings": (None, KEYS.clientSettings()),
                    "authorizer": (None, KEYS.servers, "x"),
                    "on_request": NO_HANDLERS,
                    "streams": (None, *NO_STREAMS),
                }.items():
                    before = getattr(pair.server, name)
                    for value in values:
                        with self.assertRaises(TypeError):
                            setattr(pair.server, name, value)
                    self.assertIs(getattr(pair.server, name), before)
                    setattr(pair.server, name, before)
                pair.server.on_request = answer
                async with pair.client() as session:
                    self.assertEqual(await session.request(b"a"), b"aa")

        async def answer(session: Session, data: bytes) -> bytes:
            return data * 2

        run(main())

    def test_session(self) -> None:
        """What a session is given."""

        async def main() -> None:
            async with serving() as pair, pair.client() as session:
                for wrong in (handler, "x", partial(handler, 1), CallableHandler()):
                    with self.assertRaises(TypeError):
                        session.on_event = wrong  # type: ignore[assignment]
                session.on_event = sync
                session.on_event = None
                for arguments in ({"timeout": "x"}, {"timeout": -1.0}, {"limit": 0}):
                    with self.assertRaises((TypeError, ValueError)):
                        await session.open_stream("a", **arguments)  # type: ignore[arg-type]
                self.assertEqual(session._core.openStreams, 0)

        run(main())

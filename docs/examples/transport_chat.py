"""
A chat, line by line, in which nobody can speak under another's name.

    $ python transport_chat.py server thing:9000:identity=server_key:authorized=things
    $ python transport_chat.py client \
        thing:localhost:9000:identity=thing_key:serverKey=...

The client sends the lines that it is given on its standard input, and leaves at their end.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from thing import HandshakeFailed
from thing.endpoints import IThingTransport


class Seat(LineReceiver):
    """The server's side of one session."""

    transport: IThingTransport
    factory: Any

    def connectionMade(self) -> None:
        # The name that the file of authorized keys gives, and not one that a client tells.
        self.name = str(self.transport.peer)
        self.factory.seats.append(self)
        names = ", ".join(sorted(seat.name for seat in self.factory.seats))
        self.factory.tell(f"* {self.name} came; here are {names}")

    def lineReceived(self, line: bytes) -> None:
        # Whoever is admitted may still try to write on other people's terminals.
        text = "".join(filter(str.isprintable, line.decode(errors="replace")))
        self.factory.tell(f"{self.name}: {text}")

    def lineLengthExceeded(self, line: bytes) -> None:
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self in self.factory.seats:
            self.factory.seats.remove(self)
            self.factory.tell(f"* {self.name} left: {reason.value}")


class Room(Factory):
    """Who is there."""

    protocol = Seat

    def __init__(self) -> None:
        self.seats: list[Seat] = []

    def tell(self, text: str) -> None:
        """Tell everybody."""
        print(text, flush=True)
        for seat in self.seats:
            seat.sendLine(text.encode())


class Screen(LineReceiver):
    """The client's side: it shows what it hears."""

    transport: IThingTransport

    def connectionMade(self) -> None:
        self.gone: Deferred[object] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        print(line.decode(), flush=True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone.callback(reason.value)


class Keyboard(LineReceiver):
    """Reads the standard input."""

    delimiter = b"\n"

    def __init__(self, screen: Screen) -> None:
        self.screen = screen

    def lineReceived(self, line: bytes) -> None:
        self.screen.sendLine(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.screen.transport.loseConnection()


async def serve(reactor: Any, description: str) -> None:
    port = await endpoints.serverFromString(reactor, description).listen(Room())
    print(f"listening on {port.getHost()}", flush=True)
    await Deferred()


async def connect(reactor: Any, description: str) -> None:
    endpoint = endpoints.clientFromString(reactor, description)
    screen = await endpoints.connectProtocol(endpoint, Screen())
    StandardIO(Keyboard(screen))
    print(await screen.gone)


async def main(reactor: Any, role: str, description: str) -> None:
    try:
        await (serve if role == "server" else connect)(reactor, description)
    except (CannotListenError, ConnectError, HandshakeFailed) as failure:
        raise SystemExit(str(failure)) from None


task.react(main, sys.argv[1:])

"""
Things that come, live for a while and go in every way, in a process of their own.

``python -m tests.rig.crowd PORT DIRECTORY FIRST COUNT LIFE`` has so many of the fleet's things
(``benchmarks/credentials.py``), each with one session after the other. Each line that it prints is
one fact: ``up ID`` with ``new`` or ``resumed``, ``end ID CAUSE`` with the server's reason if it had
one, ``refused CODE`` of somebody whom the server does not know, ``barred CODE`` of a thing that it
does not admit now, ``away`` and why nothing came of a handshake on a machine that is too busy for
it, or ``wrong`` and what was not as it should be. When its standard input ends all say goodbye, and
it ends with the last.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import TimeoutError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.python.failure import Failure

from benchmarks.credentials import fleetKey
from thing import ClientSettings, IdentityKey, PinnedServers, ThingFactory, ThingProtocol
from thing.core.groups import GroupName
from thing.errors import EndReason, ErrorCode
from thing.events import Cause, Termination
from thing.trust.keys import fingerprint, parsePublicKey

LABEL = "echo"
DISMISS = b"dismiss me"
"""The request that has the server send a thing away."""

STREAMED = bytes(range(256)) * 256
"""What goes through a stream and comes back."""

STRANGERS = 0.2
"""How often somebody comes first whom the server does not admit."""

BACK = 1.0
"""
How long a thing is away at most, seconds; ten times as long where there was no room for it, or as
long as a tenth of a life where it was not admitted.
"""

HANDSHAKE = WAIT = 60.0
"""How long a handshake may take, and an answer, seconds."""

BUSY = (ErrorCode.SERVER_BUSY, ErrorCode.HANDSHAKE_TIMEOUT)
"""With what a handshake comes to nothing where too much is to be done."""


def tell(*words: object) -> None:
    """
    Print a fact.

    :param words: it.
    """
    print(*words, flush=True)


class Thing(ThingProtocol):
    """One session of a thing."""

    factory: Coming
    _ending: Any = None
    _away = False
    _replaced = False

    def handshakeCompleted(self) -> None:
        """Tell so, and come to an end some time."""
        assert self.session is not None, "it is up"
        tell("up", self.sessionId, "resumed" if self.session.resumed else "new")
        place = self.factory.place
        life = 0.0 if place.crowd.leaving else random.expovariate(1 / place.crowd.life)
        self._ending = self.factory.clock.callLater(life, self._end, random.choice(ENDS))

    def _end(self, how: Any) -> None:
        self._ending = None
        how(self)

    def _stay(self) -> None:
        """The session ends already."""
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None

    def part(self) -> None:
        """Say goodbye."""
        self._stay()
        if self.termination is None:
            self.goodbye()

    def stream(self) -> None:
        """Say much in a stream, and goodbye when it has come back."""
        factory = Factory.forProtocol(lambda: Streaming(self))  # type: ignore[arg-type]
        self.streams.endpoint(LABEL, WAIT).connect(factory).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        # The end of a session is told by itself.
        leaves = self._away or self.factory.place.crowd.leaving
        if self.termination is None and not leaves:
            tell("wrong", failure.getErrorMessage())
        self.part()

    def ask(self) -> None:
        """Ask something, and say goodbye when it is answered."""
        self.request(b"?", WAIT).addCallbacks(lambda _: self.part(), self._failed)

    def beDismissed(self) -> None:
        """Have the server say when to leave."""
        self.request(DISMISS, WAIT).addErrback(self._failed)

    def beReplaced(self) -> None:
        """Have another session, which takes the place of this one."""
        self._replaced = True
        self.factory.place.replace()

    def goingAway(self, reason: EndReason | int, retryAfter: float) -> None:
        """The goodbye follows by itself."""
        self._stay()
        self._away = True

    def terminated(self, termination: Termination) -> None:
        """Tell how, and come back unless another has come instead."""
        self._stay()
        place = self.factory.place
        within = BACK
        if self.session is not None:
            reason = termination.reason
            why = [reason.name] if isinstance(reason, EndReason) else []
            tell("end", self.sessionId, termination.cause.name, *why)
        elif termination.code in BUSY:
            tell("away", termination.code)
            within = 10 * BACK
        elif termination.cause is Cause.REJECTED:
            code = termination.code
            what = "refused" if self.factory.strange else "barred"
            tell(what, code.name if isinstance(code, ErrorCode) else code)
            within = max(BACK, place.crowd.life / 10)
        else:
            tell("wrong", f"a handshake came to nothing: {termination}")
        if self._replaced:
            place.gone()
        else:
            place.comeBack(within)


ENDS = (
    Thing.part,
    Thing.stream,
    Thing.stream,
    Thing.ask,
    Thing.abort,
    Thing.beDismissed,
    Thing.beReplaced,
)
"""What a session comes to, if nothing is done to its process."""


class Streaming(Protocol):
    """Sends, and sees what comes back; then its thing parts."""

    def __init__(self, thing: Thing) -> None:
        """:param thing: whose it is."""
        self._thing = thing

    def connectionMade(self) -> None:
        """Send all."""
        self._got = bytearray()
        self.transport.write(STREAMED)

    def dataReceived(self, data: bytes) -> None:
        """Part when all is there."""
        self._got += data
        if len(self._got) == len(STREAMED):
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Say whether it was the same."""
        if not STREAMED.startswith(self._got):
            tell("wrong", "something else came back")
        self._thing.part()


class Coming(ThingFactory):
    """
    Has one session after the other, for one thing.

    :ivar place: whose.
    :ivar strange: whether it is no thing, but somebody whom the server does not admit.
    """

    protocol = Thing

    def __init__(self, place: Place, key: IdentityKey, strange: bool) -> None:
        """
        :param place: whose.
        :param key: who it is.
        :param strange: whether the server does not admit it.
        """
        settings = ClientSettings(
            credential=key, groups=(GroupName.X25519,), handshakeTimeout=HANDSHAKE
        )
        super().__init__(settings, PinnedServers([place.crowd.server]))
        self.place = place
        self.strange = strange


class Place:
    """
    One thing, and now and then a stranger in its place.

    :ivar crowd: all of them.
    :ivar here: how many are here or come back: one, and each that is being replaced.
    """

    def __init__(self, crowd: Crowd, key: IdentityKey) -> None:
        """
        :param crowd: all of them.
        :param key: the thing's.
        """
        self.crowd = crowd
        self.here = 1
        self.thing = Coming(self, key, False)
        self._stranger = Coming(self, IdentityKey.generate(), True)

    def comeBack(self, within: float = BACK) -> None:
        """
        The session is over: have another, soon.

        :param within: how soon, seconds.
        """
        if self.crowd.leaving:
            self.gone()
        else:
            self.crowd.reactor.callLater(random.uniform(0, within), self._come)

    def replace(self) -> None:
        """Have another session beside the one that there is."""
        self.here += 1
        self._connect(self.thing)

    def gone(self) -> None:
        """A session is over that is not to come back."""
        self.here -= 1
        self.crowd.left()

    def _come(self) -> None:
        if self.crowd.leaving:
            self.gone()
        else:
            self._connect(self._stranger if random.random() < STRANGERS else self.thing)

    def _connect(self, factory: Coming) -> None:
        self.crowd.endpoint.connect(factory).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        tell("away" if failure.check(TimeoutError) else "wrong", failure.getErrorMessage())
        self.comeBack(10 * BACK)


class Crowd(Protocol):
    """
    All things of this process; it is the protocol of the standard input.

    :ivar leaving: whether nobody comes back any more.
    """

    def __init__(self, reactor: Any, endpoint: Any, server: str, life: float) -> None:
        """
        :param reactor: the reactor.
        :param endpoint: where the server is.
        :param server: the fingerprint of its key.
        :param life: how long a session lives on average, seconds.
        """
        self.reactor, self.endpoint = reactor, endpoint
        self.server, self.life = server, life
        self.leaving = False
        self.over: Deferred[None] = Deferred()
        self._places: list[Place] = []

    def add(self, key: IdentityKey) -> None:
        """
        Have one more thing come.

        :param key: the thing's.
        """
        place = Place(self, key)
        self._places.append(place)
        place.comeBack(max(BACK, self.life / 4))

    def left(self) -> None:
        """Somebody has left for good."""
        if not any(place.here for place in self._places):
            self.over.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Nobody is to come any more; who is here says goodbye."""
        self.leaving = True
        for place in self._places:
            for session in list(place.thing.sessions):
                session.part()


async def main(reactor: Any, port: str, directory: str, first: str, count: str, life: str) -> None:
    """
    Have them until the standard input ends.

    :param reactor: the reactor.
    :param port: the server's.
    :param directory: the credentials.
    :param first: the number of the first thing.
    :param count: how many there are.
    :param life: how long a session lives on average, seconds.
    """
    where = Path(directory)
    key = parsePublicKey((where / "thing-server.pub").read_text())
    seeds = (where / "fleet").read_bytes()
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", int(port), HANDSHAKE)
    crowd = Crowd(reactor, endpoint, fingerprint(key), float(life))
    for number in range(int(first), int(first) + int(count)):
        crowd.add(fleetKey(seeds, number))
    StandardIO(crowd)
    await crowd.over


if __name__ == "__main__":
    react(main, sys.argv[1:])

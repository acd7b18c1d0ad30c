"""Peers of ours on this machine, examined in this process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from twisted.internet.defer import ensureDeferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from thing import (
    Anyone,
    ClientSettings,
    IdentityKey,
    Limits,
    PinnedServers,
    ServerSettings,
    ThingFactory,
    ThingProtocol,
)
from thing.conformance.asclient import ClientChoice
from thing.conformance.asserver import ServerChoice
from thing.conformance.bench import Bench, ClientBench, ServerBench, Terms
from thing.conformance.catalogue import checksFor
from thing.conformance.check import Outcome, Profile
from thing.conformance.examination import Examination
from thing.conformance.line import Lines
from thing.core.credentials import Anonymous
from thing.core.heartbeat import TtlPolicy
from thing.core.messages import Role
from thing.core.preshared import presharedKey
from thing.identity import CredentialKind, Identity
from thing.trust import PresharedKey, PresharedServer, PresharedThings

PATIENCE = 20.0
"""How long to wait for an answer, seconds: a busy machine is no fault."""


class Echo(Protocol):
    """Sends back what comes."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None, "it is connected"
        self.transport.write(data)


class Peer(ThingProtocol):
    """Takes all that comes, and streams."""

    def streamRequested(self, label: str) -> Any:
        return Factory.forProtocol(Echo) if label == "conformance" else None


class ExaminingCase(TestCase):
    """Examines peers of ours; what is open is closed at the end."""

    timeout = 60.0

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = cast(Any, reactor)
        self.key = IdentityKey.generate()

    def terms(self, profile: Profile = Profile.FULL) -> Terms:
        """How patient this is."""
        return Terms(clock=self.reactor, patience=PATIENCE, profile=profile)

    def listen(self, factory: Any) -> int:
        """The port at which a factory listens until the test is over."""
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(lambda: maybeDeferred(port.stopListening))
        return cast(int, port.getHost().port)

    def serverBench(
        self, limits: Limits | None = None, shared: PresharedKey | None = None, **settings: Any
    ) -> ServerBench:
        """A server of ours, to be examined."""
        chosen = ServerSettings(
            credential=self.key,
            allowAnonymous=shared is None,
            handshakeTimeout=2.0,
            ttl=TtlPolicy(minimum=0.2),
            **settings,
        )
        things = Anyone() if shared is None else PresharedThings(chosen.presharedKeys)
        factory = ThingFactory(chosen, things, **({} if limits is None else {"limits": limits}))
        factory.protocol = Peer
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.listen(factory))

        async def decide(identity: Identity) -> None:
            self.assertEqual(identity.publicKey, self.key.data)

        kinds = (CredentialKind.ED25519,) if shared is None else (CredentialKind.PRESHARED,)
        choice = ClientChoice(
            credential=Anonymous(),
            kinds=kinds,
            decide=decide,
            offer=None if shared is None else presharedKey(shared.identity, shared.key),
        )
        return ServerBench(self.terms(), endpoint, choice)

    def clientBench(
        self, programs: int = 8, shared: PresharedKey | None = None, **settings: Any
    ) -> ClientBench:
        """Clients of ours that come back at once, to be examined."""
        lines = Lines(Role.CLIENT)
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.listen(lines))
        servers: Any = PinnedServers([self.key.fingerprint])
        keys = {}
        if shared is not None:
            servers, keys = PresharedServer(shared), {shared.identity: shared.key}
            settings |= {"credential": shared, "peerKinds": (CredentialKind.PRESHARED,)}

        async def comeBack() -> None:
            factory = ThingFactory(ClientSettings(handshakeTimeout=2.0, **settings), servers)
            factory.protocol = Peer
            while not over:
                session = await endpoint.connect(factory)
                sessions.append(session)
                await session.whenTerminated()

        over: list[bool] = []
        sessions: list[Any] = []
        running = [ensureDeferred(comeBack()) for _ in range(programs)]

        def end() -> None:
            over.append(True)
            lines.cut()
            for session in sessions:
                session.transport.abortConnection()
            for each in running:
                each.addErrback(lambda failure: None)  # Nobody listens any more.
                each.cancel()

        self.addCleanup(end)
        choice = ServerChoice(credential=self.key, presharedKeys=keys)
        return ClientBench(self.terms(), lines, choice)

    async def outcomes(
        self, bench: Bench[Any], names: Iterable[str] = (), without: tuple[str, ...] = ()
    ) -> dict[str, Outcome]:
        """What the rows of these names, or all but those that begin so, have found."""
        wanted = set(names)
        rows = [
            each
            for each in checksFor(cast(Any, bench).examines, bench.terms.profile)
            if each.name in wanted or not (wanted or each.name.startswith(without))
        ]
        self.assertEqual(wanted - {each.name for each in rows}, set())
        examination = Examination(bench, rows)
        results = await examination.run(8)
        self.whys = {each.check.name: each.why for each in results}
        self.assertEqual([each.check for each in results], rows)
        return {each.check.name: each.outcome for each in results}

"""A fleet in memory: one server's factory with its presence, and things that come and go."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from zope.interface import implementer

from tests.anypeer import AnyPeer
from tests.pairs import Pair, PairCase, Recorder, freshClient, freshServer
from thing import Anonymous, Identity, IdentityKey, NotAuthorized, ThingFactory
from thing.events import Cause
from thing.fleet import FedEvent, Kind, MemoryPresence, Twins
from thing.trust.interfaces import IAuthorizer

WALL = 1_800_000_000.0
"""The time of day at which every test begins, seconds."""


@implementer(IAuthorizer)
class Book:
    """
    Knows things by their keys; anonymous ones are admitted, too.

    :ivar names: the name of each key, by its fingerprint.
    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def authorize(self, identity: Identity) -> Identity:
        if identity.anonymous:
            return identity
        if identity.fingerprint not in self.names:
            raise NotAuthorized("not in the book")
        return Identity(identity.kind, identity.publicKey, self.names[identity.fingerprint])


class PresenceCase(PairCase):
    """Tests with a presence in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.book = Book()
        self.keys: dict[str, IdentityKey] = {}
        self.told: list[FedEvent] = []
        self.wallStep = 0.0

    def wallClock(self) -> float:
        """The time of day, which a test may step."""
        return WALL + self.clock.seconds() + self.wallStep

    def presence(
        self, twins: Twins = Twins.REPLACE, node: str = "node", **choices: Any
    ) -> MemoryPresence:
        """A server's presence, with everything that happens kept in ``told``."""
        factory = ThingFactory(
            freshServer(allowAnonymous=True, **choices),
            self.book,
            clock=self.clock,
            jitter=lambda: 0.5,
        )
        factory.protocol = Recorder
        presence = MemoryPresence(factory, node=node, twins=twins, wallClock=self.wallClock)
        presence.subscribe(self.told.append).start()
        return presence

    def key(self, name: str) -> IdentityKey:
        """A thing's key, which the book knows."""
        if name not in self.keys:
            self.keys[name] = key = IdentityKey.generate()
            self.book.names[key.fingerprint] = name
        return self.keys[name]

    def connect(
        self, presence: MemoryPresence, name: str | None = "lamp", key: IdentityKey | None = None
    ) -> Pair:
        """A thing connects, and is admitted or not; without a name it is anonymous."""
        credential = Anonymous() if name is None else key or self.key(name)
        pair = self.pair(
            client=freshClient(credential=credential),
            serverFactory=presence.local.factory,
            clientAuthorizer=AnyPeer(),
            clock=self.clock,
        )
        pair.connect().pump()
        return pair

    def advance(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass, with the network of every pair at work all the while."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end - 1e-9:
            self.clock.advance(min(step, end - self.clock.seconds()))
            for pair in self.pairs:
                pair.pump()

    def kinds(self, id: str | None = None) -> list[Kind]:
        """What happened, to one thing or to all."""
        return [fed.event.kind for fed in self.told if id in (None, fed.event.id)]

    def assertOrdered(self) -> None:
        """The events of each thing are in the order of (epoch, sequence)."""
        latest: dict[str, tuple[int, int]] = {}
        for fed in self.told:
            event = fed.event
            place = event.epoch, event.sequence
            self.assertGreater(place, latest.get(event.id, (0, 0)), event)
            latest[event.id] = place

    def assertRejected(self, pair: Pair, code: Any) -> None:
        """The client was refused with this code, and has no session."""
        self.assertIs(pair.client.end.cause, Cause.REJECTED)
        self.assertIs(pair.client.end.code, code)
        self.assertIsNone(pair.client.session)

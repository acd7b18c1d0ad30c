"""Mistakes of programs: each is an error at once, in a sentence that says what to do."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.anypeer import AnyPeer
from thing import (
    Anonymous,
    Anyone,
    AuthorizedThings,
    ClientSettings,
    CredentialKind,
    IdentityKey,
    KnownServers,
    Limits,
    LocalProtocolError,
    PinnedServers,
    ServerSettings,
    ThingFactory,
    ThingProtocol,
    TtlPolicy,
)
from thing.endpoints import Backoff, ThingClientEndpoint, ThingClientService, ThingServerEndpoint
from thing.trust import ByKind, PresharedKey, PresharedServer, PresharedThings
from thing.trust.interfaces import IRevocations
from thing.trust.unrevoked import Unrevoked

KEY = IdentityKey.generate()
PINNED = PinnedServers([KEY.fingerprint])
SERVER = ServerSettings(credential=KEY)
CLIENT = ClientSettings()
HERE: Any = type("Endpoint", (), {"listen": lambda *_: None, "connect": lambda *_: None})()
SECRET = "5wordf1sh-5wordf1sh"


def factory(*arguments: Any, **named: Any) -> Any:
    made: Any = ThingFactory
    return made(*arguments, clock=Clock(), **named)


def setting(**named: Any) -> list[Callable[[], object]]:
    """Both kinds of settings with this."""
    server: Any = ServerSettings
    client: Any = ClientSettings
    return [lambda: server(**{"credential": KEY, **named}), lambda: client(**named)]


def called(kind: Any, *arguments: Any, **named: Any) -> Callable[[], object]:
    return lambda: kind(*arguments, **named)


WRONG_NUMBERS = ("30", b"30", None, True, timedelta(seconds=30), [30], math.nan, -1, math.inf)


class MisuseTests(SynchronousTestCase):
    """What is given to constructors."""

    def assertRefused(self, wrong: Callable[[], object], *words: str) -> None:
        """It is refused, and the sentence has these words and no secret."""
        error = self.assertRaises((TypeError, ValueError), wrong)
        text = str(error)
        for word in words:
            self.assertIn(word, text)
        self.assertNotIn("\n", text)
        self.assertNotIn(SECRET, text)

    def test_role(self) -> None:
        """An authorizer is for the other role, by itself or inside another; so for a client."""
        one = {CredentialKind.ED25519: Anyone()}
        for authorizer in (Anyone(), ByKind(one), Unrevoked(Anyone(), _Revoked())):
            self.assertRefused(lambda it=authorizer: factory(CLIENT, it), "judges things", "Pinned")
            self.assertRefused(
                called(ThingClientEndpoint, HERE, CLIENT, authorizer, clock=Clock()),
                "judges things",
            )
            factory(SERVER, authorizer)
        other = {CredentialKind.ED25519: PINNED}
        for judge in (PINNED, ByKind(other), Unrevoked(PINNED, _Revoked())):
            self.assertRefused(lambda it=judge: factory(SERVER, it), "judges servers", "Anyone")
            self.assertRefused(
                called(ThingServerEndpoint, HERE, SERVER, judge, clock=Clock()), "judges servers"
            )
            factory(CLIENT, judge)
        for settings in (SERVER, CLIENT):
            factory(settings, AnyPeer())

    def test_replaced(self) -> None:
        """So is one that replaces another."""
        client = factory(CLIENT, PINNED)
        self.assertRefused(lambda: setattr(client, "authorizer", Anyone()), "judges things")
        self.assertIs(client.authorizer, PINNED)
        for wrong in (SERVER, None, ClientSettings):
            self.assertRefused(lambda it=wrong: setattr(client, "settings", it), "ClientSettings(")
        self.assertIs(client.settings, CLIENT)

    def test_mixed(self) -> None:
        """No authorizer judges things by one kind of credential and servers by another."""
        mixed: Any = {CredentialKind.ED25519: Anyone(), CredentialKind.X509: PINNED}
        self.assertRefused(lambda: ByKind(mixed), "Anyone and PinnedServers")

    def test_authorizer(self) -> None:
        """A class, nothing, a path, a list of pins, a function, what is no authorizer."""
        for wrong in (Anyone, PinnedServers, AnyPeer, None, "things", [KEY.fingerprint], len, 5):
            for settings in (SERVER, CLIENT):
                self.assertRefused(
                    lambda it=wrong, s=settings: factory(s, it), "authorizer", "IAuthorizer"
                )
            self.assertRefused(called(ByKind, {CredentialKind.ED25519: wrong}), "authorizer")
            self.assertRefused(called(Unrevoked, wrong, _Revoked()), "authorizer")
        self.assertRefused(called(ByKind, [Anyone()]), "authorizers", "mapping")

    def test_settings(self) -> None:
        """The class, nothing, the settings of the other role, a key."""
        for wrong in (ServerSettings, ClientSettings, None, KEY, {}):
            self.assertRefused(lambda it=wrong: factory(it, Anyone()), "settings", "Settings(")
        for kind, settings, judge in (
            (ThingServerEndpoint, CLIENT, Anyone()),
            (ThingClientEndpoint, SERVER, PINNED),
        ):
            self.assertRefused(
                called(kind, HERE, settings, judge, clock=Clock()), "settings", "Settings("
            )

    def test_factory(self) -> None:
        """Limits that are numbers, clocks that are functions, jitter that is a number."""
        for name, wrong in (
            ("limits", 5),
            ("limits", Limits),
            ("limits", {"sessions": 5}),
            ("jitter", 0.5),
            ("wallClock", 0.0),
        ):
            self.assertRefused(lambda n=name, w=wrong: factory(SERVER, Anyone(), **{n: w}), name)
        for clock in (5, Clock, "clock", lambda: 0.0):
            self.assertRefused(called(ThingFactory, SERVER, Anyone(), clock=clock), "clock")

    def test_protocol(self) -> None:
        """An instance, or a class of something else, is found out when somebody listens."""
        for wrong in (ThingProtocol(), Protocol, Protocol(), None, "Shout", ThingFactory):
            made = factory(SERVER, Anyone())
            made.protocol = wrong
            for use in (made.doStart, lambda it=made: it.buildProtocol(None)):
                self.assertRefused(use, "protocol is a subclass of ThingProtocol")

    def test_credential(self) -> None:
        """A path, the class, nothing, a public line, the private octets."""
        for wrong in ("server_key", Path("server_key"), None, IdentityKey, b"key", [KEY], SECRET):
            for field in ("credential", "nextCredential", "otherCredentials"):
                if wrong is not None or field == "credential":
                    self.assertRefused(setting(**{field: wrong})[0], field, "credential")
            self.assertRefused(setting(credential=wrong)[1], "credential", "IdentityKey.load(path)")
        self.assertRefused(setting(credential=Anonymous())[0], "credential", "must be known")
        self.assertRefused(setting(otherCredentials=("key",))[0], "otherCredentials")

    def test_durations(self) -> None:
        """What is no number of seconds, and numbers out of bounds."""
        for wrong in WRONG_NUMBERS:
            for name in ("handshakeTimeout", "closeTimeout"):
                for make in setting(**{name: wrong}):
                    self.assertRefused(make, name)
            for name in ("default", "minimum", "maximum", "beatsPerSecond"):
                self.assertRefused(called(TtlPolicy, **{name: wrong}), name)
            if wrong is not None:
                self.assertRefused(setting(requestedTtl=wrong)[1], "requestedTtl")
                self.assertRefused(called(Backoff, stableAfter=wrong), "stableAfter")
            for name in ("base", "cap", "seldom"):
                self.assertRefused(called(Backoff, **{name: wrong}), name)
            self.assertRefused(called(Limits, retryAfter=wrong), "retryAfter")
        self.assertRefused(setting(requestedTtl=30_000_000)[1], "TTL", "is not within", " s to ")
        self.assertRefused(setting(ttl=30)[0], "ttl", "TtlPolicy(default=30)")
        self.assertRefused(setting(ttl=TtlPolicy)[0], "ttl", "TtlPolicy(default=30)")

    def test_counts(self) -> None:
        """What is no whole number, and too few."""
        for wrong in ("5", None, True, 1.5, math.nan, -1):
            for name in ("maxMessage", "maxBuffered", "maxWindow"):
                for make in setting(**{name: wrong}):
                    self.assertRefused(make, name)
            self.assertRefused(setting(maxDifficulty=wrong)[1], "maxDifficulty")
            for name in ("sessions", "handshakesPerAddress", "puzzleAfter", "returnsPerSecond"):
                self.assertRefused(called(Limits, **{name: wrong}), name)
        self.assertRefused(called(Limits, returnsPerSecond=0), "returnsPerSecond")

    def test_others(self) -> None:
        """Other settings of a wrong kind."""
        for name, wrong in (
            ("stream", "yes"),
            ("capacity", 5),
            ("budget", 1 << 20),
            ("peerKinds", CredentialKind.ED25519),
            ("peerKinds", ("ED25519",)),
            ("peerKinds", ()),
            ("groups", "X25519"),
            ("aeads", [None]),
        ):
            for make in setting(**{name: wrong}):
                self.assertRefused(make, name)
        for name, wrong in (
            ("allowAnonymous", "no"),
            ("tickets", True),
            ("presharedKeys", [("lamp", SECRET)]),
        ):
            self.assertRefused(setting(**{name: wrong})[0], name)
        for name, wrong in (("lastWord", "bye"), ("resumption", "no")):
            self.assertRefused(setting(**{name: wrong})[1], name)

    def test_preshared(self) -> None:
        """Text for octets, the class, a key for the keys; the secret is not told."""
        self.assertRefused(called(PresharedKey, "lamp", SECRET.encode()), "identity", "bytes")
        self.assertRefused(called(PresharedKey, b"lamp", SECRET), "key", "bytes")
        for wrong in ({"lamp": SECRET.encode()}, {b"lamp": SECRET}):
            self.assertRefused(setting(presharedKeys=wrong)[0], "presharedKeys", "bytes")
        key = PresharedKey.generate(b"lamp")
        self.assertRefused(called(PresharedThings, key), "keys", "mapping")
        for one in (b"lamp", {b"lamp": key.key}, PresharedKey):
            self.assertRefused(called(PresharedServer, one), "key", "PresharedKey")

    def test_pins(self) -> None:
        """One fingerprint in place of a list; octets, a key, nothing."""
        for wrong in (KEY.fingerprint, b"SHA256:x", KEY, None, [KEY], [b"SHA256:x"]):
            self.assertRefused(called(PinnedServers, wrong), "fingerprints")
        PinnedServers(iter([KEY.fingerprint]))

    def test_paths(self) -> None:
        """What is no path."""
        for wrong in (None, 5, [Path("things")], KEY):
            self.assertRefused(called(AuthorizedThings, wrong), "PathLike")

    def test_endpoints(self) -> None:
        """A description in place of an endpoint, the class, a port; classes for factories."""
        for wrong in ("tcp:9000", 9000, None, type(HERE), Factory()):
            self.assertRefused(
                called(ThingServerEndpoint, wrong, SERVER, Anyone(), clock=Clock()),
                "endpoint",
                "serverFromString",
            )
            for kind, rest in (
                (ThingClientEndpoint, (CLIENT, PINNED)),
                (ThingClientService, (factory(CLIENT, PINNED),)),
            ):
                self.assertRefused(
                    called(kind, wrong, *rest, clock=Clock()), "endpoint", "clientFromString"
                )
        server: Any = ThingServerEndpoint(HERE, SERVER, Anyone(), clock=Clock())
        client: Any = ThingClientEndpoint(HERE, CLIENT, PINNED, clock=Clock())
        for wrong in (Protocol, Protocol(), Factory, None):
            for use in (server.listen, client.connect):
                self.assertRefused(called(use, wrong), "factory of protocols")
            self.assertRefused(called(ThingClientService, HERE, wrong, clock=Clock()), "factory")

    def test_service(self) -> None:
        """The class of a backoff, a number for it, callbacks that are none."""
        own = factory(CLIENT, PINNED)
        for name, wrong in (
            ("backoff", Backoff),
            ("backoff", 5),
            ("giveUp", "yes"),
            ("onUp", "up"),
            ("onDown", 5),
            ("onRejected", True),
        ):
            self.assertRefused(
                called(ThingClientService, HERE, own, clock=Clock(), **{name: wrong}), name
            )

    def test_firstUse(self) -> None:
        """What is truthy is no leave to believe anybody."""

        async def tell(identity: object) -> None:
            """Nobody would await it."""

        path, made = self.mktemp(), KnownServers

        def known(**named: Any) -> object:
            return made(path, "localhost", 9000, **named)

        for wrong in ("no", 0, 1, None, "true"):
            self.assertRefused(lambda it=wrong: known(firstUse=it), "firstUse", "True or False")
        for told in ("tell", tell):
            self.assertRefused(lambda it=told: known(firstUse=True, onFirstUse=it), "onFirstUse")
        known(firstUse=True)

    def test_awaited(self) -> None:
        """A coroutine function where nobody awaits it."""

        async def number() -> float:
            return 0.5

        self.assertRefused(lambda: factory(SERVER, Anyone(), jitter=number), "jitter", "nobody")
        self.assertRefused(called(Backoff, jitter=number), "jitter", "nobody")
        own = factory(CLIENT, PINNED)
        ThingClientService(HERE, own, clock=Clock(), onUp=number)

    def test_isLocal(self) -> None:
        """What is out of bounds is still the library's own error, with its code."""
        error = self.assertRaises(LocalProtocolError, setting(closeTimeout=-1)[1])
        self.assertEqual(error.detail, "closeTimeout is -1 seconds, but must be positive")

    def test_dataReceived(self) -> None:
        """Who takes the session's octets away is warned."""
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")

            class Deaf(ThingProtocol):
                def dataReceived(self, data: bytes) -> None:
                    """Take them."""

            class Looks(ThingProtocol):
                def dataReceived(self, data: bytes) -> None:
                    super().dataReceived(data)

        (told,) = [str(each.message) for each in warned]
        self.assertEqual(told, "Deaf.dataReceived takes the session's octets: use messageReceived")


@implementer(IRevocations)
class _Revoked:
    """Revokes nobody."""

    def whyRevoked(self, identity: object) -> None:
        """Nothing is revoked."""

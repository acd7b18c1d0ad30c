"""The options of ``twistd thing``, and the service that they make."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Mapping
from unittest import mock

from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.logger import LogLevel, capturedLogs, formatEvent, globalLogPublisher
from twisted.python.usage import UsageError
from twisted.trial.unittest import TestCase

from tests.certificates import SERVER
from tests.trust.test_choice import HOST, KIND_OF, KINDS, TrustFiles, root
from tests.trust.test_keys import NO_SSH_KEYGEN, DirectoryMixin, read, sshKeygen, write
from thing import (
    Anyone,
    AuthorizedThings,
    CredentialKind,
    Identity,
    IdentityKey,
    Limits,
    NotAuthorized,
    ServerSettings,
    ThingFactory,
)
from thing.core.capacity import Capacity
from thing.core.preshared import Resumable
from thing.core.records import RECORD_LIMIT
from thing.daemon.demo import DemoFactory
from thing.daemon.errors import CannotStart
from thing.daemon.forward import ForwardFactory
from thing.daemon.service import ThingService
from thing.daemon.tap import Options, makeService
from thing.endpoints.backend import Backend
from thing.fleet.reaches import MOST_OF_ONE
from thing.identity import Purpose
from thing.trust import (
    ByKind,
    CertificateChain,
    CertifiedKey,
    CertifiedThings,
    PresharedKey,
    ThingCertificates,
    TicketKeys,
)
from thing.trust.joiners import Joiners
from thing.trust.keywords import asOption
from thing.trust.unrevoked import Unrevoked


class NamedFactory(ThingFactory):
    """What ``--factory`` names in these tests."""


NOT_A_FACTORY = "a word"


def parse(*words: str) -> Options:
    """The options in a command line."""
    options = Options()
    options.parseOptions(list(words))
    return options


class TapCase(DirectoryMixin, TestCase):
    """Tests with a per-user directory of their own, and a key in it."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        self.home = self.path("home")
        for name, value in (("THING_HOME", self.home), ("XDG_DATA_HOME", None)):
            self.patchEnvironment(name, value)

    def patchEnvironment(self, name: str, value: str | None) -> None:
        """Set or unset a variable until the end of the test."""
        before = os.environ.get(name)
        self.addCleanup(self.setEnvironment, name, before)
        self.setEnvironment(name, value)

    @staticmethod
    def setEnvironment(name: str, value: str | None) -> None:
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value

    def keyFile(self, name: str = "key", passphrase: bytes | None = None) -> str:
        """A file with a new private key."""
        path = self.path(name)
        IdentityKey.generate().save(path, passphrase)
        return path

    def thingsFile(self, *keys: IdentityKey) -> str:
        """A file of authorized things."""
        lines = "".join(f"{key.publicLine('a-thing')}\n" for key in keys)
        return write(self.path("things"), lines.encode())

    def service(self, *words: str) -> ThingService:
        """The service that a command line describes."""
        return makeService(parse(*words))

    def settings(self, *words: str) -> ServerSettings:
        """The settings that a command line describes."""
        settings = self.service(*words).factory.settings
        assert isinstance(settings, ServerSettings)
        return settings

    def problem(self, *words: str) -> str:
        """What the one line says with which a command line is refused."""
        error = self.assertRaises(CannotStart, self.service, *words)
        line = str(error.code)
        self.assertTrue(line.startswith("twistd thing: "), line)
        self.assertNotIn("\n", line)
        return line.removeprefix("twistd thing: ")

    def assertProblem(self, words: tuple[str, ...], *expected: str) -> None:
        """A command line is refused, and the line says all of these."""
        problem = self.problem(*words)
        for part in expected:
            self.assertIn(part, problem)


class OptionTests(TapCase):
    """What each option means."""

    def test_defaults(self) -> None:
        """
        With no options port 9000 is served, with nothing to say to a thing, and with the library's
        own settings, but for room for as many streams as one operator may have reaches.
        """
        service = self.service()
        self.assertIs(type(service.factory), ThingFactory)
        self.assertEqual(list(service._endpoints), ["tcp:9000"])
        settings = service.factory.settings
        assert isinstance(settings, ServerSettings)
        self.assertIsInstance(settings.tickets, TicketKeys)
        self.assertEqual(
            settings,
            ServerSettings(
                credential=settings.credential,
                allowAnonymous=True,
                tickets=settings.tickets,
                capacity=Capacity(RECORD_LIMIT, 24576, 16384, MOST_OF_ONE),
            ),
        )
        self.assertEqual(service.factory.limits, Limits())

    def test_ports(self) -> None:
        """A port is a number or an endpoint description, and there may be several."""
        words = ("--port", "9001", "-p", "tcp:9002:interface=127.0.0.1", "--port=tcp6:9003")
        endpoints = self.service(*words)._endpoints
        self.assertEqual(list(endpoints), ["tcp:9001", "tcp:9002:interface=127.0.0.1", "tcp6:9003"])
        self.assertIsInstance(endpoints["tcp:9001"], TCP4ServerEndpoint)

    def test_logFormat(self) -> None:
        """JSON is for twistd's log, and text is what there is without a word."""
        self.assertIsNone(self.service("--log-format=text")._makeObserver)
        self.assertProblem(("--log-format=yaml",), "--log-format", "'yaml'", "text or json")
        self.assertProblem(("--log-format=json",), "needs twistd")
        options = Options()
        log = self.path("log")
        options.parent = {"logfile": log, "logger": None, "syslog": 0, "nodaemon": 1}
        before = signal.getsignal(signal.SIGUSR1)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)
        options.parseOptions(["--log-format=json"])
        makeObserver = makeService(options)._makeObserver
        assert makeObserver is not None
        makeObserver()({"log_format": "hello"})
        self.assertIn('"message": "hello"', read(log).decode())

    def test_noLog(self) -> None:
        """A log that cannot be opened keeps the server from starting, in one line."""
        options = Options()
        log = "/nonexistent/log"
        options.parent = {"logfile": log, "logger": None, "syslog": 0, "nodaemon": 1}
        options.parseOptions(["--log-format=json"])
        error = self.assertRaises(CannotStart, makeService(options)._makeObserver)
        self.assertIn("No such file", str(error.code))

    def test_numbers(self) -> None:
        """Each number of the command line arrives in the settings or the limits."""
        service = self.service(
            *("--ttl=20", "--min-ttl=5.5", "--max-ttl=60", "--beats-per-second=700"),
            *("--handshake-timeout=3", "--close-timeout=4"),
            *("--drain-timeout=0", "--retry-after=0"),
            *("--max-sessions=8", "--max-sessions-per-address=2", "--max-handshakes=3"),
            *("--max-handshakes-per-address=4", "--puzzle-after=6", "--returns-per-second=7"),
            "--max-held=9000",
            *("--max-message=1000", "--max-buffered=2000"),
        )
        settings, limits = service.factory.settings, service.factory.limits
        assert isinstance(settings, ServerSettings)
        ttl = settings.ttl
        self.assertEqual(
            (ttl.default, ttl.minimum, ttl.maximum, ttl.beatsPerSecond), (20, 5.5, 60, 700)
        )
        self.assertEqual((settings.handshakeTimeout, settings.closeTimeout), (3, 4))
        self.assertEqual((settings.maxMessage, settings.maxBuffered), (1000, 2000))
        self.assertEqual(
            limits,
            Limits(
                sessions=8,
                sessionsPerAddress=2,
                handshakes=3,
                handshakesPerAddress=4,
                held=9000,
                puzzleAfter=6,
                retryAfter=0,
                returnsPerSecond=7,
            ),
        )
        self.assertEqual((service._drainTimeout, service._retryAfter), (0, 0))

    def test_authorized(self) -> None:
        """``--authorized`` admits the keys of a file, and anonymous clients only if asked to."""
        things = self.thingsFile()
        for words, anonymous in (((), False), (("--anonymous",), True)):
            factory = self.service("--authorized", things, *words).factory
            assert isinstance(factory.settings, ServerSettings)
            deciding = factory.authorizer.authorizers
            self.assertIsInstance(deciding[CredentialKind.ED25519], AuthorizedThings)
            self.assertEqual(CredentialKind.NONE in deciding, anonymous)
            self.assertEqual(factory.settings.allowAnonymous, anonymous)

    def test_anyone(self) -> None:
        """``--anyone`` admits every client, with a key or without."""
        factory = self.service("--anyone").factory
        assert isinstance(factory.settings, ServerSettings)
        kinds = (CredentialKind.ED25519, CredentialKind.NONE)
        self.assertEqual(tuple(factory.authorizer.authorizers), kinds)
        self.assertTrue(factory.settings.allowAnonymous)

    def test_operators(self) -> None:
        """Operators are admitted, as they may be permitted something at any time."""
        factory = self.service("--authorized", self.thingsFile()).factory
        self.assertIn(Purpose.OPERATOR, factory.attendants)
        self.assertIn("reach:", factory.served)

    def test_serve(self) -> None:
        """Each label has a backend of its own, beside whatever else is served."""
        words = (
            "--anyone",
            "--serve",
            "web=tcp:localhost:8080",
            "--serve=a b=tcp:host=localhost:port=8081",
        )
        for others in (
            (),
            ("--forward=tcp:localhost:1",),
            ("--factory=tests.daemon.test_tap.NamedFactory",),
        ):
            service = self.service(*words, *others)
            self.assertEqual(set(service.factory.served), {"web", "a b", "reach:"})
            backends = [each for each in service._companions if isinstance(each, Backend)]
            self.assertEqual(len(backends), 2 + (others[:1] == ("--forward=tcp:localhost:1",)))
            self.assertFalse(any(each.proxyProtocol for each in backends))
        endpoint = service.factory.served["a b"].endpoint  # type: ignore[union-attr]
        self.assertEqual(endpoint._port, 8081)
        backend = self.service(*words[:3], "--proxy-protocol")._companions[0]
        assert isinstance(backend, Backend)
        self.assertTrue(backend.proxyProtocol)

    def test_identities(self) -> None:
        """The keys are read from the files that are named, encrypted or not."""
        plain, following = self.keyFile("plain"), self.keyFile("following")
        settings = self.settings("--identity", plain, "--next-identity", following)
        assert settings.nextCredential is not None
        self.assertEqual(settings.credential.data, IdentityKey.load(plain).data)
        self.assertEqual(settings.nextCredential.data, IdentityKey.load(following).data)

        encrypted = self.keyFile("encrypted", b"open sesame")
        passphrase = write(self.path("passphrase"), b"open sesame\n", 0o600)
        settings = self.settings("--identity", encrypted, "--passphrase-file", passphrase)
        self.assertEqual(settings.credential.data, IdentityKey.load(encrypted, b"open sesame").data)

    def test_factory(self) -> None:
        """``--factory`` builds a subclass by its name, with settings, authorizer and limits."""
        words = ("--factory", "tests.daemon.test_tap.NamedFactory", "--anyone", "--max-sessions=5")
        factory = self.service(*words).factory
        self.assertIs(type(factory), NamedFactory)
        nobody = Identity(CredentialKind.NONE)
        self.assertEqual(factory.authorizer.authorize(nobody), nobody)
        self.assertEqual(factory.limits.sessions, 5)

    def test_forward(self) -> None:
        """``--forward`` takes a client endpoint, and sessions become streams."""
        factory = self.service("--forward", "tcp:127.0.0.1:8007", "--anyone").factory
        assert isinstance(factory, ForwardFactory)
        self.assertIsInstance(factory.backend.endpoint, TCP4ClientEndpoint)
        self.assertTrue(factory.settings.stream)

    def test_pathsBecomeAbsolute(self) -> None:
        """Files are found again after the daemon has changed its directory."""
        options = parse("--identity=key", "--authorized=things")
        self.assertEqual(options["identity"], os.path.abspath("key"))
        self.assertEqual(options["authorized"], os.path.abspath("things"))

    def test_demo(self) -> None:
        """``--demo`` serves a conversation to whoever is admitted, and is served for no other."""
        for words in ((), ("--authorized", self.thingsFile())):
            self.assertIsInstance(self.service("--demo", *words).factory, DemoFactory)
            self.assertIs(type(self.service(*words).factory), ThingFactory)

    def test_openServerIsLogged(self) -> None:
        """A server that admits everybody says so, unless it was asked for."""
        for words in ((), ("--demo",)):
            (warning,) = self.warnings(*words)
            self.assertIn("Everybody is admitted", warning)
        self.assertEqual(self.warnings("--anyone"), [])
        self.assertEqual(self.warnings("--authorized", self.thingsFile()), [])

    def warnings(self, *words: str) -> list[str]:
        """The warnings that a command line brings."""
        warned: list[str] = []

        def observe(event: dict[str, object]) -> None:
            if (
                event["log_namespace"] == "thing.daemon.assembly"
                and event["log_level"] is LogLevel.warn
            ):
                warned.append(str(event["log_format"]))

        globalLogPublisher.addObserver(observe)
        try:
            self.service(*words)
        finally:
            globalLogPublisher.removeObserver(observe)
        return warned


class DefaultIdentityTests(TapCase):
    """The key of a server that was given none."""

    def test_madeOnce(self) -> None:
        """It is made at the first start, for its owner only, and found at the next."""
        path = os.path.join(self.home, "server_key")
        with capturedLogs() as events:
            first = self.settings().credential
        told = "".join(str(formatEvent(event)) for event in events)
        self.assertRegex(told, "A new key is made for the server: /.*/server_key")
        self.assertEqual(first.data, IdentityKey.load(path).data)
        self.assertEqual(stat.S_IMODE(os.stat(self.home).st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with capturedLogs() as events:
            self.assertEqual(self.settings().credential.data, first.data)
        self.assertNotIn("A new key", "".join(str(formatEvent(event)) for event in events))

    def test_xdg(self) -> None:
        """Without ``THING_HOME`` it is in the user's data directory."""
        self.setEnvironment("THING_HOME", None)
        data = os.path.abspath(self.path("data"))
        self.setEnvironment("XDG_DATA_HOME", data)
        self.service()
        self.assertTrue(os.path.exists(os.path.join(data, "thing", "server_key")))

    def test_noDirectory(self) -> None:
        """If its directory cannot be made, that is said in one line."""
        self.setEnvironment("THING_HOME", os.path.join(write(self.path("file"), b""), "home"))
        self.assertProblem((), "cannot create", "Not a directory")

    def test_notMadeAgain(self) -> None:
        """Reading the keys anew never makes a key: a server does not change its key by itself."""
        service = self.service()
        before = service.factory.settings
        os.remove(os.path.join(self.home, "server_key"))
        service.reload()
        self.assertIs(service.factory.settings, before)
        self.assertFalse(os.path.exists(os.path.join(self.home, "server_key")))


class ProblemTests(TapCase):
    """What is refused, in one line that says why."""

    def test_numbers(self) -> None:
        """What is not a number, or not a possible one, is refused with the option's name."""
        for option in ("ttl", "min-ttl", "handshake-timeout", "close-timeout"):
            for text in ("soon", "", "0", "-1", "nan", "inf", "1e999"):
                self.assertProblem((f"--{option}={text}",), f"--{option}: {text!r} is not")
        for option in ("drain-timeout", "retry-after"):
            for text in ("soon", "-1", "nan", "inf"):
                self.assertProblem((f"--{option}={text}",), f"--{option}: {text!r} is not")
        for option in ("max-sessions", "max-handshakes", "max-message", "beats-per-second"):
            for text in ("many", "0", "-1", "1.5", ""):
                self.assertProblem((f"--{option}={text}",), f"--{option}: {text!r} is not")

    def test_ttlBounds(self) -> None:
        """TTLs that do not fit together are refused, and so are those that no server may grant."""
        for words in (
            ("--ttl=5", "--min-ttl=6"),
            ("--ttl=5", "--max-ttl=4"),
            ("--min-ttl=10", "--max-ttl=9"),
            ("--min-ttl=0.01",),
            ("--max-ttl=1e8",),
        ):
            self.assertProblem(words, "TTL", "minimum", "maximum")
        self.assertFalse(os.path.exists(self.home), "a key was made for nothing")

    def test_unknownOption(self) -> None:
        """An unknown option, a missing value and a stray word are refused."""
        self.assertProblem(("--prot=9000",), "--prot", "--help")
        self.assertProblem(("--ttl",), "--ttl")
        self.assertProblem(("--anyone=yes",), "--anyone")
        self.assertProblem(("9000",), "Wrong number of arguments")

    def test_endpoints(self) -> None:
        """A description that is none is refused, as are a wrong number and a missing file."""
        self.assertProblem(("--port=65536",), "65536 is not within 0 to 65535")
        self.assertProblem(("--port=carrier-pigeon:1",), "--port", "carrier-pigeon")
        self.assertProblem(("--port=tcp",), "--port", "'tcp'")
        self.assertProblem(("--port=tcp:http-alt:interface=x:y=z",), "--port")
        self.assertProblem(("--port=ssl:0:privateKey=/nonexistent",), "--port", "/nonexistent")
        self.assertProblem(("--port=systemd:domain=INET:index=7",), "--port", "systemd")
        self.assertProblem(("--forward=pigeon:1", "--anyone"), "--forward", "pigeon")
        self.assertProblem(("--forward=8007", "--anyone"), "--forward", "8007")

    def test_nodes(self) -> None:
        """Where other nodes reach this one is a host and a port, and of use with their keys."""
        key = self.keyFile()
        for text in ("9000", "tcp:a:9000", "a", "a:0", "a:65536", ""):
            self.assertProblem((f"--advertise={text}",), f"--advertise: {text!r} is")
        self.assertProblem(("--anyone", "--advertise=a:9000"), "--advertise needs --nodes")
        self.assertProblem(("--anyone", "--nodes", key), "--nodes needs --identity")

    def test_identity(self) -> None:
        """A key file that is missing, not a key, or open to others is refused."""
        key = self.keyFile()
        for option in ("--identity", "--next-identity"):
            self.assertProblem((option, self.path("none")), self.path("none"), "No such file")
            self.assertProblem(
                (option, write(self.path("text"), b"hello", 0o600)), "not an OpenSSH"
            )
            os.chmod(f"{key}.pub", 0o600)
            self.assertProblem((option, f"{key}.pub"), "public key")
            os.chmod(key, 0o644)
            self.assertProblem((option, key), key, "too open")
            os.chmod(key, 0o600)

    def test_passphrase(self) -> None:
        """An encrypted key without its passphrase is refused, as is a passphrase of no use."""
        encrypted, plain = self.keyFile("encrypted", b"right"), self.keyFile("plain")
        right = write(self.path("right"), b"right\n", 0o600)
        wrong = write(self.path("wrong"), b"wrong-one\n", 0o600)
        empty = write(self.path("empty"), b"\n", 0o600)
        secret = "--passphrase-file"
        self.assertProblem(("--identity", encrypted), encrypted, "a passphrase is needed")
        problem = self.problem("--identity", encrypted, secret, wrong)
        self.assertIn("passphrase is wrong", problem)
        self.assertNotIn("wrong-one", problem)
        self.assertProblem(("--identity", plain, secret, right), "not encrypted")
        self.assertProblem(("--identity", encrypted, secret, empty), empty, "no passphrase")
        self.assertProblem(("--identity", encrypted, secret, self.path("none")), "No such file")
        self.assertProblem((secret, right), "--identity")
        os.chmod(right, 0o640)
        self.assertProblem(("--identity", encrypted, secret, right), right, "too open")

    def test_authorized(self) -> None:
        """A file of things that is missing or has a line that is not understood is refused."""
        self.assertProblem(("--authorized", self.path("none")), "No such file")
        damaged = write(self.path("damaged"), b"# things\nssh-ed25519 AAAA nonsense\n")
        self.assertProblem(("--authorized", damaged), f"{damaged}:2: ")

    def test_factory(self) -> None:
        """A name that does not import, or is not a factory's, is refused."""
        write(self.path("broken_plugin.py"), b"raise RuntimeError('broken\\nin two lines')")
        self.patch(sys, "path", [*sys.path, os.path.dirname(self.path("broken_plugin.py"))])
        for name, expected in (
            ("no.such.module", "cannot import no.such.module"),
            ("no.such.module", "PYTHONPATH=DIRECTORY"),
            ("tests.daemon.test_tap.Missing", "cannot import tests.daemon.test_tap.Missing"),
            ("not a name", "cannot import not a name"),
            ("broken_plugin.Factory", "broken in two lines"),
            ("tests.daemon.test_tap.NOT_A_FACTORY", "not a subclass of thing.ThingFactory"),
            ("tests.daemon.test_tap.parse", "not a subclass of thing.ThingFactory"),
            ("tests.daemon.test_tap", "not a subclass of thing.ThingFactory"),
        ):
            self.assertProblem(("--factory", name, "--anyone"), "--factory: ", expected)

    def test_choices(self) -> None:
        """Options that exclude or need each other are refused otherwise."""
        factory, forward = (
            "--factory=tests.daemon.test_tap.NamedFactory",
            "--forward=tcp:localhost:1",
        )
        for served in (factory, forward):
            self.assertProblem((served, "--demo", "--anyone"), "--demo", served.split("=")[0])
        things = f"--authorized={self.thingsFile()}"
        self.assertProblem((factory, forward, "--anyone"), "--factory", "--forward")
        self.assertProblem((things, "--anyone"), "--authorized", "--anyone")
        self.assertProblem(("--anonymous",), "--anonymous", "--authorized")
        self.assertProblem(("--anonymous", "--anyone"), "--anonymous", "--authorized")
        serve = "--serve=web=tcp:localhost:1"
        self.assertProblem(("--proxy-protocol", "--anyone"), "--forward", "--serve")
        self.service("--proxy-protocol", serve, things)
        for served in (factory, forward, serve):
            self.assertProblem((served,), served.partition("=")[0], "--authorized", "--anyone")
            self.service(served, things)

    def test_serve(self) -> None:
        """What is not a label and an endpoint is refused, and so is a label that is there twice."""
        for text in ("web", "=tcp:localhost:1", "web=", "x" * 256 + "=tcp:a:1", "\udcff=tcp:a:1"):
            self.assertProblem((f"--serve={text}", "--anyone"), f"--serve: {text!r}", "LABEL=ENDP")
        self.assertProblem(("--serve=web=nonsense:1", "--anyone"), "--serve: 'nonsense:1'")
        twice = ("--serve=web=tcp:a:1", "--serve=web=tcp:a:2", "--anyone")
        self.assertProblem(twice, "--serve: the label 'web' is there twice")

    def test_empty(self) -> None:
        """An empty value, as of an unset variable, is refused; it never opens a server."""
        self.assertProblem(("--factory=", "--anyone"), "--factory: cannot import")
        self.assertProblem(("--forward=", "--anyone"), "--forward: ''")
        self.assertProblem(("--serve=", "--anyone"), "--serve: ''")
        for option in ("--authorized=", "--identity=", "--next-identity="):
            self.assertProblem((option,), f"{option[:-1]}: is empty")
        self.assertProblem(("--port=",), "--port: ''")

    def test_isAnException(self) -> None:
        """The error is one that twistd reports, and that ends a program without a traceback."""
        error = self.assertRaises(CannotStart, parse, "--ttl=soon")
        self.assertIsInstance(error, SystemExit)
        self.assertIsInstance(error, Exception)
        self.assertNotIsInstance(error, UsageError)


class HelpTests(TestCase):
    """What ``twistd thing --help`` prints."""

    def setUp(self) -> None:
        self.text = Options().getUsage()

    def test_everyOption(self) -> None:
        """Every option has a line of its own, and no line is longer than a terminal's."""
        for name in Options().longOpt:
            starts = (f"--{name}", f"--{name} ")["=" not in name]
            described = [x for x in self.text.splitlines() if x[6:].startswith(starts)]
            self.assertEqual(len(described), 1, name)
            self.assertRegex(described[0], r"--\S+ +\w+")
        self.assertLessEqual(max(map(len, self.text.splitlines())), 84)

    def test_units(self) -> None:
        """An option that takes a number says its unit and its default."""
        for line in self.text.splitlines():
            if "=SECONDS" in line or "=OCTETS" in line or "=N " in line:
                self.assertRegex(line, r"\[(\d+|TTL/3)\]$")

    def test_noneIsMissing(self) -> None:
        """The help has no option that the parser does not have."""
        known = {name.removesuffix("=") for name in Options().longOpt}
        for line in self.text.splitlines():
            if line.startswith("      --"):
                self.assertIn(line.split()[0][2:].partition("=")[0], known)


class ReloadTests(TapCase):
    """The files that SIGHUP reads anew."""

    def test_authorized(self) -> None:
        """A key that was added to the file is admitted after it is read anew."""
        key = IdentityKey.generate()
        things = self.thingsFile()
        service = self.service("--authorized", things)
        thing = Identity(CredentialKind.ED25519, key.publicKey)
        self.assertRaises(NotAuthorized, service.factory.authorizer.authorize, thing)
        self.thingsFile(key)
        service.reload()
        admitted = service.factory.authorizer.authorize(thing)
        self.assertEqual(admitted.publicKey, key.publicKey)

    def test_allOrNothing(self) -> None:
        """If one of the files is of no use now, all stays as it was."""
        current, things = self.keyFile(), self.thingsFile()
        service = self.service("--identity", current, "--authorized", things)
        before = service.factory.settings
        os.remove(current)
        IdentityKey.generate().save(self.path("new"))
        os.rename(self.path("new"), current)
        write(things, b"nonsense\n")
        service.reload()
        self.assertIs(service.factory.settings, before)

        self.thingsFile()
        service.reload()
        settings = service.factory.settings
        self.assertEqual(settings.credential.data, IdentityKey.load(current).data)


class KindsTests(TrustFiles, TapCase):
    """Every kind of credential in the options of ``twistd thing``, and read anew by SIGHUP."""

    skip = NO_SSH_KEYGEN

    def words(self, given: Mapping[str, str]) -> list[str]:
        """What a server chooses, as it is typed."""
        return [
            asOption(name) if value == "yes" else f"{asOption(name)}={value}"
            for name, value in given.items()
        ]

    def deciding(self, service: ThingService) -> dict[CredentialKind, object]:
        found: dict[CredentialKind, object] = service.factory.authorizer.authorizers
        return dict(found)

    def test_each(self) -> None:
        """Each kind by itself makes settings for this kind, with its credential."""
        for kind in KINDS:
            settings = self.settings(*self.words(self.serverOf(kind)))
            invites = (CredentialKind.PRESHARED,) if kind == "raw" else ()
            self.assertEqual(settings.peerKinds, (KIND_OF[kind], *invites))
            kinds = {each.kind for each in (settings.credential, *settings.otherCredentials)}
            own = CredentialKind.ED25519 if kind == "preshared" else KIND_OF[kind]
            self.assertIn(own, kinds)
            self.assertFalse(settings.allowAnonymous)
            self.assertEqual(set(settings.presharedKeys) > {b"lamp"}, kind == "preshared")

    def test_everything(self) -> None:
        """Whatever a server can choose at once has an option, and an effect."""
        service = self.service(*self.words(self.wholeServer()))
        settings = service.factory.settings
        assert isinstance(settings, ServerSettings)
        deciding = self.deciding(service)
        sorts = {
            type(each.authorizer if isinstance(each, Unrevoked) else each)
            for each in deciding.values()
        }
        admitting = {AuthorizedThings, CertifiedThings, ThingCertificates, Joiners, Anyone}
        self.assertEqual(sorts, admitting)
        self.assertEqual(len(settings.otherCredentials), 2)
        self.assertTrue(settings.allowAnonymous)
        assert isinstance(settings.tickets, TicketKeys)
        self.assertEqual(settings.tickets.path, os.path.abspath(self.path("tickets")))

    def test_defaultIdentity(self) -> None:
        """A server with a certificate needs no key of its own made; one without any does."""
        self.settings(f"--certificate={self.path('server.pem')}", "--anyone")
        self.assertFalse(os.path.exists(self.home))
        self.settings(f"--preshared-keys={self.path('preshareds')}")
        self.assertTrue(os.path.exists(os.path.join(self.home, "server_key")))

    def test_advice(self) -> None:
        """A command to try is printed if a pin can be; there is none for a certificate."""
        port = mock.Mock()
        port.getHost.return_value = IPv4Address("TCP", "127.0.0.1", 9000)
        for kind, count in (("raw", 1), ("x509", 0)):
            service = self.service(*self.words(self.serverOf(kind)))
            service.ports["tcp:9000"] = port
            with capturedLogs() as events:
                service._announcePorts()
            printed = [line for line in map(formatEvent, events) if "Try it" in line]
            self.assertEqual(len(printed), count, kind)

    def test_noTickets(self) -> None:
        """``--ticket-lifetime=0`` is no lifetime, and not as if it was not given."""
        self.assertIsNone(self.settings("--ticket-lifetime=0").tickets)

    def test_problems(self) -> None:
        """What is wrong is told by the option, or by the file."""
        missing = self.path("missing")
        own = f"--identity={self.path('server')}"
        for option in ("authorities", "trust-roots", "preshared-keys", "certificate"):
            self.assertProblem((own, f"--{option}={missing}", "--ticket-lifetime=0"), missing)
            self.assertProblem((own, f"--{option}="), f"--{option}: is empty")
        self.assertProblem(("--revoked=x",), "--revoked needs --authorized or --authorities")
        self.assertProblem(("--revocation-lists=x",), "--revocation-lists needs --trust-roots")
        self.assertProblem(("--ticket-lifetime=soon",), "--ticket-lifetime: 'soon'")
        self.assertProblem(("--trust-roots=x", "--anyone"), "exclude each other")

    def test_reload(self) -> None:
        """Every file is read anew: credentials, things, authorities, revoked, keys, tickets."""
        given = self.wholeServer()
        service = self.service(*self.words(given))
        before, deciding = service.factory.settings, self.deciding(service)
        assert isinstance(before, ServerSettings)
        assert before.tickets is not None
        nobody = Identity(CredentialKind.NONE)
        ticket = before.tickets.seal(Resumable(bytes(32), nobody), b"the server")
        assert ticket is not None
        self.chain("server.pem", HOST, SERVER)
        other = PresharedKey.generate(b"toaster")
        self.pem("preshareds", f"{other.secretLine()}\n".encode())
        self.pem("things", b"# empty\n")
        os.remove(self.path("tickets"))
        sshKeygen("-q", "-k", "-u", "-f", self.path("krl"), self.path("lamp-cert.pub"))
        service.reload()
        after, now = service.factory.settings, self.deciding(service)
        assert isinstance(after, ServerSettings)
        self.assertNotEqual(after.otherCredentials[1].data, before.otherCredentials[1].data)
        self.assertEqual(set(after.presharedKeys), {b"toaster"})
        assert after.tickets is not None
        self.assertIsNone(after.tickets.open(ticket.ticket, b"the server"))

        lamp = IdentityKey.load(self.path("lamp"))
        certified = CertifiedKey.load(self.path("lamp")).data
        for identity in (
            Identity(CredentialKind.ED25519, lamp.publicKey),
            Identity(CredentialKind.SSH_CERTIFICATE, lamp.publicKey, credential=certified),
            Identity(CredentialKind.PRESHARED, credential=b"lamp"),
        ):
            ByKind(deciding).authorize(identity)
            self.assertRaises(NotAuthorized, ByKind(now).authorize, identity)

    def test_reloadRoots(self) -> None:
        """Other roots admit other things."""
        chain = CertificateChain.load(self.path("lamp.pem"))
        lamp = Identity(CredentialKind.X509, chain.publicKey, credential=chain.data)
        service = self.service(*self.words(self.serverOf("x509")))
        self.assertEqual(service.factory.authorizer.authorize(lamp).name, "lamp")
        self.pem("roots.pem", root("another root").pem)
        service.reload()
        self.assertRaises(NotAuthorized, service.factory.authorizer.authorize, lamp)

    def test_reloadInMemory(self) -> None:
        """Ticket keys that are in no file outlive SIGHUP, so that nobody has to sign anew."""
        service = self.service(*self.words(self.serverOf("raw")))
        before = service.factory.settings
        service.reload()
        self.assertIsNot(service.factory.settings, before)
        self.assertIs(service.factory.settings.tickets, before.tickets)

    def test_reloadAllOrNothing(self) -> None:
        """If any file is of no use now, all stays as it was."""
        service = self.service(*self.words(self.wholeServer()))
        before, authorizer = service.factory.settings, service.factory.authorizer
        self.pem("preshareds", b"# empty\n")
        for name in ("crl.pem", "krl", "server.pem", "ca.pub"):
            good = read(self.path(name))
            self.pem(name, b"nonsense\n")
            service.reload()
            self.assertIs(service.factory.settings, before)
            self.assertIs(service.factory.authorizer, authorizer)
            self.pem(name, good)
        service.reload()
        self.assertEqual(len(service.factory.settings.presharedKeys), 0)

"""The ``thing`` command's parts: its arguments, its keys, its input and output, its ends."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import click
from click.testing import CliRunner, Result
from twisted.internet.defer import Deferred, ensureDeferred, fail
from twisted.internet.error import (
    ConnectError,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
)
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import thing
from tests import PROJECT
from tests.anypeer import AnyPeer
from tests.helpers import clientSettings
from tests.pairs import Pair, PairCase
from thing import (
    Cause,
    ClientSettings,
    CredentialKind,
    EndReason,
    ErrorCode,
    Identity,
    IdentityKey,
    PinnedServers,
    Termination,
    ThingFactory,
)
from thing.cli.commands import commands
from thing.cli.connect import connect
from thing.cli.endings import codeOf, plain
from thing.cli.exits import ExitCode
from thing.cli.options import ClientOptions
from thing.cli.options import clientOptions as takesClientOptions
from thing.cli.ping import ping
from thing.cli.pinging import Pinger, Statistics
from thing.cli.pipe import Pipe
from thing.cli.progress import Progress
from thing.cli.servers import choiceOf, complainOfKey
from thing.cli.session import CommandProtocol, Conversation, blockingRestored
from thing.cli.target import DEFAULT_PORT, parseTarget
from thing.trust import ClientChoice, PresharedKey
from thing.trust.choice import CLIENT_KEYWORDS
from thing.trust.home import homeDirectory

LOADED = """
import sys
{first}
print(*sys.modules, sep="\\n", file=sys.stderr)
"""


def clientOptions(**choices: Any) -> ClientOptions:
    """What a user chose."""
    defaults: dict[str, Any] = {
        "target": parseTarget("localhost:9000"),
        "trust": {},
        "anonymous": False,
        "timeout": 10.0,
        "verbose": False,
    }
    return ClientOptions(**(defaults | choices))


class HomeCase(SynchronousTestCase):
    """Tests with a per-user directory of their own."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.home = self.directory / "home"
        self.patch(os, "environ", {**os.environ, "THING_HOME": str(self.home)})

    def invoke(self, *arguments: str) -> Result:
        """Run the command in this process."""
        return CliRunner().invoke(commands, [str(argument) for argument in arguments])

    def assertExit(self, result: Result, code: ExitCode, said: str = "") -> None:
        """The command exited so and said so."""
        self.assertEqual(result.exit_code, code, result.output)
        self.assertIn(said, result.output)


class HomeTests(SynchronousTestCase):
    """The per-user directory."""

    def homeWith(self, **environment: str) -> str:
        """The directory in an environment."""
        with mock.patch.dict(os.environ, {"HOME": "/home/me", **environment}, clear=True):
            return homeDirectory()

    def test_default(self) -> None:
        """Without any variable it is where the XDG specification puts a user's data."""
        self.assertEqual(self.homeWith(), "/home/me/.local/share/thing")

    def test_dataHome(self) -> None:
        """``XDG_DATA_HOME`` moves it; a relative or empty one does not, as XDG wants it."""
        self.assertEqual(self.homeWith(XDG_DATA_HOME="/data"), "/data/thing")
        for none in ("", "relative"):
            self.assertEqual(self.homeWith(XDG_DATA_HOME=none), "/home/me/.local/share/thing")

    def test_homeless(self) -> None:
        """A user without a home is told what to set; nothing is made of a tilde."""
        self.patch(os.path, "expanduser", lambda path: path)
        self.assertEqual(self.homeWith(XDG_DATA_HOME="/data"), "/data/thing")
        with mock.patch.dict(os.environ, {"THING_HOME": "", "XDG_DATA_HOME": ""}):
            invoke = CliRunner().invoke
            result = invoke(commands, ["keygen"])
            self.assertEqual(result.exit_code, ExitCode.FAILED)
            self.assertIn("set THING_HOME", result.output)
        said = clientOptions(trust={"serverKey": IdentityKey.generate().fingerprint})
        with mock.patch.dict(os.environ, {"THING_HOME": "", "XDG_DATA_HOME": ""}):
            self.assertEqual(said.trustWithDefaults.keys(), {"serverKey", "resumption"})
        self.assertFalse(os.path.lexists("~"))

    def test_own(self) -> None:
        """``THING_HOME`` is the directory itself."""
        self.assertEqual(self.homeWith(THING_HOME="/own", XDG_DATA_HOME="/data"), "/own")
        self.assertEqual(self.homeWith(THING_HOME="own"), os.path.abspath("own"))


class GroupTests(HomeCase):
    """``thing`` itself."""

    def loadedAfter(self, first: str) -> set[str]:
        """The modules that a fresh interpreter has loaded after some code."""
        done = subprocess.run(
            [sys.executable, "-c", LOADED.format(first=first)],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return set(done.stderr.split())

    def test_help(self) -> None:
        """``--help`` names the commands and the exit codes."""
        result = self.invoke("--help")
        self.assertExit(result, ExitCode.GOODBYE)
        for word in commands.commands:
            self.assertIn(f"\n  {word} ", result.output)
        for code in ExitCode:
            self.assertIn(f"{code.value:>3}  {code.sentence}", result.output)

    def test_helpOfCommands(self) -> None:
        """Each has an example of its own, and the exit codes that it can have, and no others."""
        for name in commands.commands:
            shown = self.invoke(name, "--help").output
            self.assertIn("\n  Examples:\n", shown)
            _, _, examples = shown.partition("\n  Examples:\n")
            self.assertRegex(examples, rf"^    .*thing {name}\b")
            self.assertIn(f"\n    130  {ExitCode.INTERRUPTED.sentence}\n", shown)
            session = name in ("connect", "ping", "reach")
            self.assertEqual(ExitCode.LAPSED.sentence in shown, session, name)
            self.assertEqual(ExitCode.DAMAGED.sentence in shown, name == "join", name)
            self.assertTrue(all(len(line) <= 80 for line in shown.splitlines()), name)

    def test_summaries(self) -> None:
        """What each is for is read whole in the list of all, on a narrow terminal."""
        self.assertNotIn("...\n", self.invoke("--help").output.partition("\n")[2])

    def test_helpIsQuick(self) -> None:
        """``--help`` loads no reactor, and of Thing no more than the tables of options need."""
        package = self.loadedAfter(
            "import thing.trust.choice, thing.trust.home, thing.session.settable"
        )
        helped = self.loadedAfter(
            "from thing.cli.commands import commands\ncommands(['--help'], standalone_mode=False)"
        )
        self.assertIn("thing.cli.connect", helped)
        self.assertNotIn("twisted.internet.reactor", helped)
        heavy = ("thing.", "twisted", "cryptography", "rich", "zope")
        more = {name for name in helped - package if name.startswith(heavy)}
        self.assertEqual({name for name in more if not name.startswith("thing.cli")}, set())

    def test_version(self) -> None:
        """``--version`` tells the version."""
        self.assertEqual(self.invoke("--version").output, f"thing {thing.__version__}\n")

    def test_unknownCommand(self) -> None:
        """An unknown command is a mistake in the command line."""
        self.assertExit(self.invoke("frobnicate"), ExitCode.USAGE, "frobnicate")


class KeygenTests(HomeCase):
    """``thing keygen``."""

    def test_default(self) -> None:
        """The key goes to the per-user directory, which nobody else may enter."""
        result = self.invoke("keygen", "-C", "me@here")
        self.assertExit(result, ExitCode.GOODBYE)
        key = IdentityKey.load(self.home / "id_ed25519")
        self.assertEqual(
            result.output.splitlines(),
            [
                f"Your identification has been saved in {self.home}/id_ed25519",
                f"Your public key has been saved in {self.home}/id_ed25519.pub",
                "The key fingerprint is:",
                f"{key.fingerprint} me@here",
            ],
        )
        self.assertEqual(stat.S_IMODE(self.home.stat().st_mode), 0o700)
        self.assertEqual(stat.S_IMODE((self.home / "id_ed25519").stat().st_mode), 0o600)

    def test_comment(self) -> None:
        """The comment is user@host by default."""
        self.invoke("keygen")
        self.assertRegex((self.home / "id_ed25519.pub").read_text(), r"^ssh-ed25519 \S+ \S+@\S+\n$")

    def test_neverOverwrites(self) -> None:
        """A file that is there stays as it is."""
        path = self.directory / "key"
        path.write_text("precious")
        self.assertExit(self.invoke("keygen", "-f", path), ExitCode.FAILED, "exists already")
        self.assertEqual(path.read_text(), "precious")

    def test_publicMissing(self) -> None:
        """A key that was left without its public file gets it, and is not made anew."""
        path, key = self.directory / "key", IdentityKey.generate()
        key.save(path)
        os.unlink(f"{path}.pub")
        result = self.invoke("keygen", "-f", path, "-C", "lamp")
        self.assertExit(result, ExitCode.GOODBYE, f"is in {path} already")
        self.assertIn(key.fingerprint, result.output)
        self.assertEqual((self.directory / "key.pub").read_text(), f"{key.publicLine('lamp')}\n")

    def test_publicMissingOfAnother(self) -> None:
        """A key that is not encrypted as was asked for is not taken for the one that was wanted."""
        path, secret = self.directory / "key", self.directory / "secret"
        secret.write_bytes(b"open sesame\n")
        secret.chmod(0o600)
        IdentityKey.generate().save(path)
        os.unlink(f"{path}.pub")
        result = self.invoke("keygen", "-f", path, "--passphrase-file", secret)
        self.assertExit(result, ExitCode.FAILED, "exists already")
        self.assertEqual(sorted(os.listdir(self.directory)), ["key", "secret"])

    def test_noDirectory(self) -> None:
        """A per-user directory that cannot be created is said in one line."""
        self.home.write_text("a file")
        result = self.invoke("keygen")
        self.assertExit(result, ExitCode.FAILED, "cannot create")
        self.assertEqual(result.output.count("\n"), 1)

    def test_passphraseFile(self) -> None:
        """The first line of the passphrase file encrypts the key."""
        secret = self.directory / "secret"
        secret.write_bytes(b"open sesame\r\nsecond line\n")
        secret.chmod(0o600)
        path = self.directory / "key"
        result = self.invoke("keygen", "-f", path, "--passphrase-file", secret)
        self.assertExit(result, ExitCode.GOODBYE)
        self.assertNotIn("sesame", result.output)
        self.assertIsInstance(IdentityKey.load(path, b"open sesame"), IdentityKey)

    def test_openPassphraseFile(self) -> None:
        """A passphrase file that others may read is refused."""
        secret = self.directory / "secret"
        secret.write_bytes(b"open sesame\n")
        secret.chmod(0o644)
        result = self.invoke("keygen", "-f", self.directory / "key", "--passphrase-file", secret)
        self.assertExit(result, ExitCode.FAILED, "too open")
        self.assertEqual(sorted(os.listdir(self.directory)), ["secret"])

    def test_preshared(self) -> None:
        """A pre-shared key goes into a file of its own, for its owner only, and is not shown."""
        path = self.directory / "secret"
        for arguments, file in ((("-f", path), path), ((), self.home / "preshared_key")):
            result = self.invoke("keygen", "--preshared", "lamp", *arguments)
            self.assertExit(result, ExitCode.GOODBYE, f"key lamp has been saved in {file}\n")
            key = PresharedKey.load(file)
            self.assertEqual((key.identity, len(key.key)), (b"lamp", 32))
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
            self.assertNotIn(key.key.hex(), result.output)
            again = self.invoke("keygen", "--preshared", "lamp", *arguments)
            self.assertExit(again, ExitCode.FAILED, "exists already")
            self.assertEqual(PresharedKey.load(file), key)

    def test_presharedMistakes(self) -> None:
        """A name that none can have is refused, and so are a comment and a passphrase."""
        path = self.directory / "secret"
        for name in ("", "a:b", "two\nlines", "x" * 129):
            result = self.invoke("keygen", "--preshared", name, "-f", path)
            self.assertExit(result, ExitCode.FAILED, "the identity")
        for more in (("-C", "c"), ("-p",), ("--passphrase-file", "x")):
            result = self.invoke("keygen", "--preshared", "lamp", "-f", path, *more)
            self.assertExit(result, ExitCode.USAGE, "neither a comment nor a passphrase")
        self.assertFalse(path.exists())

    def test_twoPassphrases(self) -> None:
        """A passphrase is asked for or read from a file, not both."""
        result = self.invoke("keygen", "-p", "--passphrase-file", "file")
        self.assertExit(result, ExitCode.USAGE, "exclude each other")


class FingerprintTests(HomeCase):
    """``thing fingerprint``."""

    def setUp(self) -> None:
        super().setUp()
        self.key = IdentityKey.generate()
        self.path = self.directory / "key"

    def test_public(self) -> None:
        """A public key file's fingerprint and comment are shown as ssh-keygen does."""
        self.key.save(self.path, comment="one comment")
        result = self.invoke("fingerprint", f"{self.path}.pub")
        self.assertEqual(result.output, f"256 {self.key.fingerprint} one comment (ED25519)\n")

    def test_privateWithPublic(self) -> None:
        """A private key file's public neighbour is enough: no passphrase is needed."""
        self.key.save(self.path, b"secret", "neighbour")
        result = self.invoke("fingerprint", self.path)
        self.assertEqual(result.output, f"256 {self.key.fingerprint} neighbour (ED25519)\n")

    def test_privateAlone(self) -> None:
        """A private key file alone is enough, too."""
        self.key.save(self.path)
        os.unlink(f"{self.path}.pub")
        result = self.invoke("fingerprint", self.path)
        self.assertEqual(result.output, f"256 {self.key.fingerprint} no comment (ED25519)\n")

    def test_unprintableComment(self) -> None:
        """A comment cannot steer the terminal."""
        public = Path(f"{self.path}.pub")
        public.write_bytes(self.key.publicLine().encode() + b" \x1b[2J\xff\n")
        result = self.invoke("fingerprint", public)
        self.assertEqual(result.output, f"256 {self.key.fingerprint} \ufffd[2J\ufffd (ED25519)\n")

    def test_noKey(self) -> None:
        """A file without a key is said in one line."""
        self.path.write_text("nothing\n")
        result = self.invoke("fingerprint", self.path)
        self.assertExit(result, ExitCode.FAILED, "not a public key line")
        self.assertEqual(result.output.count("\n"), 1)

    def test_sameAsSsh(self) -> None:
        """For keys that ssh-keygen made, the line is ssh-keygen's own."""
        program = shutil.which("ssh-keygen")
        if program is None:
            self.skipTest("ssh-keygen is not installed")
        make = [program, "-q", "-t", "ed25519", "-f", self.path, "-C", "from ssh"]
        subprocess.run([*make, "-N", "secret"], check=True, timeout=60)
        shown = subprocess.run(
            [program, "-lf", self.path], check=True, timeout=60, capture_output=True, text=True
        )
        for path in (self.path, f"{self.path}.pub"):
            self.assertEqual(self.invoke("fingerprint", path).output, shown.stdout)

    def test_sshReadsOurs(self) -> None:
        """A key that ``thing keygen`` made and encrypted is one that ssh-keygen reads."""
        program = shutil.which("ssh-keygen")
        if program is None:
            self.skipTest("ssh-keygen is not installed")
        secret = self.directory / "secret"
        secret.write_bytes(b"open sesame\n")
        secret.chmod(0o600)
        made = self.invoke("keygen", "-f", self.path, "-C", "c", "--passphrase-file", secret)
        self.assertExit(made, ExitCode.GOODBYE)
        derived = subprocess.run(
            [program, "-y", "-P", "open sesame", "-f", self.path],
            check=True,
            timeout=60,
            capture_output=True,
            text=True,
        )
        public = Path(f"{self.path}.pub").read_text()
        self.assertEqual(derived.stdout.split()[:2], public.split()[:2])


class PlainTests(SynchronousTestCase):
    """How errors are told."""

    def test_plain(self) -> None:
        """Why there is no connection is said once; all else in one line, without a full stop."""
        for error, text in (
            (
                ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
                "Connection refused",
            ),
            (NoRouteError(errno.EHOSTUNREACH, "No route to host"), "No route to host"),
            (ConnectError(), "An error occurred while connecting"),
            (ValueError("one\n two."), "one two"),
            (ValueError(), "ValueError"),
        ):
            self.assertEqual(plain(error), text)


class TargetTests(SynchronousTestCase):
    """How a server is named."""

    def test_hosts(self) -> None:
        """A host stands alone or with a port; an IPv6 address stands in brackets."""
        for text, server in (
            ("example.com", ("example.com", DEFAULT_PORT)),
            ("example.com:22", ("example.com", 22)),
            ("192.0.2.1:1", ("192.0.2.1", 1)),
            ("[2001:db8::1]", ("2001:db8::1", DEFAULT_PORT)),
            ("[::1]:65535", ("::1", 65535)),
            ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
            ("redis_1:1", ("redis_1", 1)),
        ):
            target = parseTarget(text)
            self.assertEqual((target.server, target.isEndpoint), (server, False), text)

    def test_endpointStrings(self) -> None:
        """Of an endpoint string the host and the port are known, if its kind has them."""
        for text, server in (
            ("tcp:example.com:22", ("example.com", 22)),
            ("tcp:host=example.com:port=22:timeout=3", ("example.com", 22)),
            ("tcp:example.com:port=22", ("example.com", 22)),
            ("tcp:port=22:host=example.com", ("example.com", 22)),
            (r"tls:\:\:1:22", ("::1", 22)),
            ("unix:/run/thing.sock", None),
            ("tcp:example.com:ssh", None),
        ):
            target = parseTarget(text)
            self.assertEqual((target.server, target.isEndpoint), (server, True), text)

    def test_thingStrings(self) -> None:
        """Of a session's string all is known that it says, read as Twisted reads it."""
        key = "serverKey=" + IdentityKey.generate().fingerprint.replace(":", r"\:")
        target = parseTarget(f"thing:localhost:9000:{key}:identity=a\\:b\\=c:ttl=30")
        self.assertEqual((target.text, target.server), ("localhost:9000", ("localhost", 9000)))
        assert target.thing is not None
        self.assertEqual(target.thing.trust["identity"], "a:b=c")
        self.assertEqual(target.thing.settings, {"requestedTtl": 30.0})
        target = parseTarget(r"thing:endpoint=unix\:/run/thing:knownServers=known")
        self.assertEqual((target.text, target.server), ("unix:/run/thing", None))

    def test_timeout(self) -> None:
        """An option counts more than the string, and the string more than the default."""
        asked: list[ClientOptions] = []

        @click.command()
        @takesClientOptions
        def command(client: ClientOptions) -> None:
            asked.append(client)

        key = "serverKey=" + IdentityKey.generate().fingerprint.replace(":", r"\:")
        patient = f"thing:localhost:9000:{key}:handshakeTimeout=30"
        for arguments, seconds in (
            ((patient,), 30.0),
            (("--timeout=3", patient), 3.0),
            (("--timeout=10", patient), 10.0),
            (("--timeout=3", f"thing:localhost:9000:{key}"), 3.0),
            ((f"thing:localhost:9000:{key}",), 10.0),
        ):
            result = CliRunner().invoke(command, arguments)
            self.assertEqual(result.exit_code, 0, result.output)
            self.assertEqual(asked.pop().settings["handshakeTimeout"], seconds, arguments)

    def test_mistakes(self) -> None:
        """What is no name of a server is refused, with a word on what would be."""
        for text, said in (
            ("", "HOST:PORT"),
            ("two words", "HOST:PORT"),
            ("host:0", "0 is not a port"),
            ("host:65536", "65536 is not a port"),
            ("tcp:host:0", "0 is not a port"),
            ("tcp:host:-1", "-1 is not a port"),
            ("tcp:host:70000", "70000 is not a port"),
            ("tls:host:port=700000", "700000 is not a port"),
            ("::1", "[::1]"),
            ("[example.com]:1", "not an IPv6 address"),
            (":22", "HOST:PORT"),
            ("a..b", "between dots"),
            (f"{'x' * 64}:1", "between dots"),
            (f"tcp:{'x' * 64}:1", "between dots"),
            ("tls:a b:1", "blanks"),
            ("thing:localhost", "host and port, or endpoint, must be said"),
            ("thing:localhost:9000:colour=red", "colour is not known"),
            ("thing:localhost:9000:ttl=soon", "'soon' is not a number of seconds"),
        ):
            with self.assertRaises(ValueError) as caught:
                parseTarget(text)
            self.assertIn(said, str(caught.exception))

    def test_notAnEndpoint(self) -> None:
        """A string that Twisted does not take for an endpoint is a mistake in the command line."""
        for text in ("fe80:nonsense:x", "tcp:host:port:1:2:3:4", "tcp:example.com:ssh"):
            with self.assertRaises(click.UsageError):
                parseTarget(text).endpoint(Clock(), 1.0)


class OptionTests(HomeCase):
    """Options that do not make sense are refused before anything is done."""

    def test_mistakes(self) -> None:
        """Each is told apart."""
        key = IdentityKey.generate().fingerprint
        for arguments, said in (
            (("--timeout", "0", "host"), "not a positive number"),
            (("--timeout", "nan", "host"), "not a positive number"),
            (("--timeout", "inf", "host"), "not a positive number"),
            (("--ttl", "-1", "host"), "not a positive number"),
            (("-q", "nan", "host"), "not a number"),
            (("--server-key", key, "--trust-on-first-use", "host"), "--trust-on-first-use"),
            (("--server-key", key, "--known-hosts", "file", "host"), "--known-hosts"),
            (("--anonymous", "--identity", "file", "host"), "exclude each other"),
            (("--anonymous", "--preshared-key", "file", "host"), "exclude each other"),
            (("--anonymous", "--certificate", "file", "host"), "exclude each other"),
            (("--identity", "a", "--certificate", "b", "host"), "exclude each other"),
            (("--preshared-key", "a", "--trust-roots", "b", "host"), "exclude each other"),
            (("--preshared-key", "a", "--server-key", key, "host"), "exclude each other"),
            (("--preshared-key", "a", "--trust-on-first-use", "host"), "needs --known-hosts"),
            (("--trust-roots", "a", "--trust-on-first-use", "host"), "needs --known-hosts"),
            (("--identity-certificate", "a", "host"), "needs --identity"),
            (("--private-key", "a", "host"), "--private-key needs --certificate"),
            (("--passphrase-file", "a", "host"), "needs --identity or --certificate"),
            (("--revocation-lists", "a", "host"), "--revocation-lists needs --trust-roots"),
            (("--server-key", key, "--server-name", "a", "host"), "--server-name needs"),
            (("--server-name", "::1", "host"), "neither a host nor"),
            (("--server-key", "SHA256:short", "host"), "not a fingerprint"),
            (("--server-key", key, "--server-key", "", "host"), "not a fingerprint"),
            (("--trust-roots", "", "host"), "--trust-roots: is empty"),
            (("--identity", "", "host"), "--identity: is empty"),
            (("unix:/run/thing",), "--server-key"),
            (("unix:/run/thing", "--known-hosts", "a"), "--known-hosts needs --server-name"),
            (("unix:/run/thing", "--trust-roots", "a"), "--trust-roots needs --server-name"),
            (("unix:/run/thing", "--authorities", "a"), "--authorities needs --server-name"),
            (("unix:/run/thing", "--server-name", "a"), "--server-key"),
            ((), "TARGET"),
        ):
            self.assertExit(self.invoke("connect", *arguments), ExitCode.USAGE, said)
        self.assertFalse(self.home.exists())

    def test_files(self) -> None:
        """A file that is of no use is told in one line, whichever option names it."""
        missing = str(self.directory / "missing")
        key = self.directory / "key"
        IdentityKey.generate().save(key)
        for arguments in (
            ("--identity", missing),
            ("--identity", key, "--identity-certificate", missing),
            ("--certificate", missing),
            ("--certificate", key, "--private-key", missing),
            ("--preshared-key", missing),
            ("--known-hosts", missing),
            ("--authorities", missing),
            ("--trust-roots", missing),
        ):
            result = self.invoke("connect", *arguments, "host")
            self.assertExit(result, ExitCode.FAILED, f"{missing}: No such file")
            self.assertEqual(result.output.count("\n"), 1)

    def test_everyKeyword(self) -> None:
        """Whatever a client can choose is an option, but for what makes no sense but twice."""
        for command in (connect, ping):
            options = {each.name for each in command.params}
            keywords = {keyword.name for keyword in CLIENT_KEYWORDS}
            self.assertEqual(keywords - options, {"resumption"})
            self.assertIn("--trust-roots", self.invoke(command.name, "--help").output)

    def test_ping(self) -> None:
        """An interval whose TTL the protocol does not know is refused, and so is no heartbeat."""
        self.assertExit(
            self.invoke("ping", "-i", "0.01", "host"), ExitCode.USAGE, "a TTL of 0.03 s"
        )
        self.assertExit(self.invoke("ping", "-c", "0", "host"), ExitCode.USAGE)


class ChoiceTests(HomeCase):
    """What the options come to."""

    def choice(self, **trust: str) -> ClientChoice:
        return choiceOf(clientOptions(trust=trust))

    def pin(self) -> str:
        return IdentityKey.generate().fingerprint

    def test_defaults(self) -> None:
        """Without options nobody is shown, and a file of known servers is made and asked."""
        choice = self.choice()
        self.assertIs(choice.credential.kind, CredentialKind.NONE)
        known = choice.authorizer.authorizers[CredentialKind.ED25519]
        self.assertEqual((known.path, known.firstUse), (str(self.home / "known_servers"), False))
        self.assertEqual(stat.S_IMODE((self.home / "known_servers").stat().st_mode), 0o600)
        self.assertFalse(choice.settings().wantsTicket)

    def test_defaultKey(self) -> None:
        """The default key is shown, unless another or none is to be."""
        self.invoke("keygen")
        self.assertIsInstance(self.choice().credential, IdentityKey)
        anonymous = choiceOf(clientOptions(anonymous=True)).credential
        self.assertIs(anonymous.kind, CredentialKind.NONE)
        self.invoke("keygen", "--preshared", "lamp")
        choice = self.choice(presharedKey=str(self.home / "preshared_key"))
        self.assertIs(choice.credential.kind, CredentialKind.PRESHARED)

    def test_noDefaultFile(self) -> None:
        """Who says which server to believe has no file of known servers asked, or made."""
        choice = self.choice(serverKey=self.pin())
        self.assertIsInstance(choice.authorizer.authorizers[CredentialKind.ED25519], PinnedServers)
        self.assertFalse(self.home.exists())

    def test_firstUse(self) -> None:
        """On first use the key is stored in the default file, and its user is told."""
        errors = io.StringIO()
        self.patch(sys, "stderr", errors)
        key = IdentityKey.generate()
        identity = Identity(CredentialKind.ED25519, key.publicKey)
        self.choice(firstUse="yes").authorizer.authorize(identity)
        self.assertIn("Permanently added '[localhost]:9000' (ED25519) to ", errors.getvalue())
        self.choice().authorizer.authorize(identity)
        self.assertIn(key.publicLine(), (self.home / "known_servers").read_text())

    def test_advice(self) -> None:
        """Only who has a refusal by the file of known servers is told how to add a key to it."""
        errors = io.StringIO()
        self.patch(sys, "stderr", errors)
        for name in ("serverKey", "presharedKey", "authorities", "trustRoots"):
            complainOfKey("it is not for you", clientOptions(trust={name: "x"}))
        self.assertEqual(
            errors.getvalue(), "thing: the server is not trusted: it is not for you\n" * 4
        )
        complainOfKey("it cannot be stored", clientOptions(trust={"firstUse": "yes"}))
        self.assertNotIn("--trust-on-first-use", errors.getvalue())
        complainOfKey("it is not in it", clientOptions())
        self.assertIn("--trust-on-first-use", errors.getvalue())


class FakeStreams:
    """
    Standard input and output, as fast as the test lets them be.

    :ivar pipe: whom to tell what happens.
    :ivar paused: whether input is not read.
    :ivar written: the output.
    :cvar typed: whether the input is a terminal's.
    """

    typed = False

    def __init__(self, reactor: Any, pipe: Pipe) -> None:
        self.pipe = pipe
        self.paused = False
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.paused = True

    def close(self) -> None:
        self.closed = True
        self.pipe.outputClosed()


class TalkCase(PairCase):
    """Tests with a command's protocol in the client's place, in memory."""

    def talkingPair(self, talk: CommandProtocol, **named: Any) -> Pair:
        """A pair whose client is a command's protocol."""
        return Pair(clientProtocol=lambda: talk, **named)

    def setUp(self) -> None:
        super().setUp()
        self.errors = io.StringIO()
        self.output = io.StringIO()
        self.patch(sys, "stderr", self.errors)


class PipeTests(TalkCase):
    """``thing connect`` between standard input and output and a session."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(sys.modules["thing.cli.pipe"], "StandardStreams", FakeStreams)
        self.patch(sys.modules["thing.cli.pipe"], "progressOf", self.progressOf)
        self.terminal = io.StringIO()
        self.watched = False

    def progressOf(self, clock: Any) -> Progress | None:
        """What shows progress, if the test wants it."""
        return Progress(clock, self.terminal, 4000, lambda: 80) if self.watched else None

    def pipe(self, quitAfter: float = 1.0, **named: Any) -> tuple[Pair, Pipe, FakeStreams]:
        """A pipe whose session is up, and its standard streams."""
        pipe = Pipe(False, quitAfter)
        pair = self.talkingPair(pipe, **named).up()
        streams: Any = pipe._streams
        assert isinstance(streams, FakeStreams)
        return pair, pipe, streams

    def test_fastInput(self) -> None:
        """Input is not read while the session's queue is full, and read again when it drains."""
        pair, pipe, streams = self.pipe()
        fed = 0
        while not streams.paused:
            pipe.inputReceived(b"z" * 8191 + b"\n")
            fed += 8192
            self.assertLess(fed, 1 << 20)
        self.assertLess(pipe.queued, 100_000)
        pair.pump()
        self.assertFalse(streams.paused)
        self.assertEqual(sum(map(len, pair.server.messages)), fed)

    def test_progress(self) -> None:
        """What takes longer than a second is shown on one line, which the end leaves."""
        self.watched = True
        pair, pipe, _ = self.pipe()
        pipe.inputReceived(b"x" * 1000)
        pair.advance(0.5)
        self.assertEqual(self.terminal.getvalue(), "")
        pair.advance(0.5)
        shown = (
            "\r[#####               ]  25%  1.0kB of 4.0kB sent  0B received  1.0kB/s  3.0s left"
        )
        self.assertEqual(self.terminal.getvalue(), shown[:80])
        pair.server.sendMessage(b"y" * 500)
        pipe.inputReceived(b"x" * 3000)
        pair.advance(1.0)
        pipe.leave()
        pair.pump()
        last = self.terminal.getvalue().split("\r")[-1]
        self.assertRegex(
            last, r"^\[#{20}\] 100%  4.0kB of 4.0kB sent  500B received  .* 2\.0s *\n$"
        )
        self.assertEqual(self.terminal.getvalue().count("\n"), 1)

    def test_quick(self) -> None:
        """What is done within a second shows nothing."""
        self.watched = True
        pair, pipe, _ = self.pipe()
        pipe.leave()
        pair.pump()
        pair.advance(5.0)
        self.assertEqual(self.terminal.getvalue(), "")

    def test_sentAwayMeanwhile(self) -> None:
        """What is said meanwhile has a line of its own."""
        self.watched = True
        pair, _, _ = self.pipe()
        pair.advance(1.0)
        pair.server.goAway(EndReason.SHUTDOWN)
        pair.pump()
        self.assertTrue(self.terminal.getvalue().endswith("\n"))

    def test_slowOutput(self) -> None:
        """Nothing is written while standard output is full; all is when it takes more."""
        pair, pipe, streams = self.pipe()
        pipe.pauseProducing()
        pair.server.sendMessage(b"patience")
        pair.pump()
        self.assertEqual(streams.written, b"")
        pipe.resumeProducing()
        self.assertEqual(streams.written, b"patience")

    def test_silence(self) -> None:
        """After the input's end goodbye comes so long after the last reply, and not before."""
        pair, pipe, streams = self.pipe(quitAfter=1.0)
        pipe.inputReceived(b"question")
        pipe.inputEnded()
        for _ in range(3):
            pair.advance(0.75)
            pair.server.sendMessage(b"reply")
            pair.pump()
        pair.advance(0.75)
        self.assertIsNone(pipe.termination)
        pair.advance(0.5)
        self.assertIs(self.successResultOf(ensureDeferred(pipe.over())).cause, Cause.GOODBYE)
        self.assertEqual(pair.server.messages, [b"question"])
        self.assertEqual(streams.written, b"reply" * 3)

    def test_serverSaysNoMore(self) -> None:
        """A server that has ended its half still gets all of the input; then goodbye is at once."""
        pair, pipe, _ = self.pipe()
        pair.server.endData()
        pair.pump()
        for part in (b"a", b"b", b"c"):
            self.assertIsNone(pipe.termination)
            pipe.inputReceived(part)
            pair.advance(5.0)
        pipe.inputEnded()
        pair.pump()
        self.assertIs(self.successResultOf(ensureDeferred(pipe.over())).cause, Cause.GOODBYE)
        self.assertEqual(pair.server.messages, [b"a", b"b", b"c"])

    def test_serverSaysNoMoreThen(self) -> None:
        """Where the input has ended, the server's end of its half ends the wait for replies."""
        for quitAfter in (1.0, -1.0):
            pair, pipe, _ = self.pipe(quitAfter)
            pipe.inputReceived(b"question")
            pipe.inputEnded()
            pair.pump()
            self.assertIsNone(pipe.termination)
            pair.server.endData()
            pair.pump()
            self.assertTrue(pipe.termination is not None and pipe.termination.clean)

    def test_serverSaysNoMoreToPerson(self) -> None:
        """At a terminal the session ends with the server's half, as nobody need wait there."""
        self.patch(FakeStreams, "typed", True)
        pair, pipe, _ = self.pipe()
        pair.server.endData()
        pair.pump()
        self.assertTrue(pipe.termination is not None and pipe.termination.clean)

    def test_fullOutputIsNotSilence(self) -> None:
        """While standard output is full nothing can be received: that is not the end."""
        pair, pipe, _ = self.pipe(quitAfter=1.0)
        pipe.inputEnded()
        pipe.pauseProducing()
        pair.advance(5.0)
        self.assertIsNone(pipe.termination)
        pipe.resumeProducing()
        pair.advance(2.0)
        self.assertTrue(pipe.termination is not None and pipe.termination.clean)

    def test_slowServerIsNotSilent(self) -> None:
        """While input waits to be sent there is nothing to reply to yet."""
        pair, pipe, _ = self.pipe(quitAfter=1.0)
        pair.freeze()
        pipe.inputReceived(b"w" * (1 << 20))
        pipe.inputEnded()
        pair.advance(5.0)
        self.assertGreater(pipe.queued, 0)
        pair.serverEnd.frozen = pair.clientEnd.frozen = False
        pair.advance(2.5)
        self.assertTrue(pipe.termination is not None and pipe.termination.clean)
        self.assertEqual(sum(map(len, pair.server.messages)), 1 << 20)

    def test_atOnce(self) -> None:
        """With zero goodbye follows the input; what the server had queued still arrives."""
        pair, pipe, streams = self.pipe(quitAfter=0.0)
        pair.server.doing["messageReceived"] = pair.server.sendMessage
        pipe.inputReceived(b"a\nb")
        pipe.inputEnded()
        pair.pump()
        self.assertIs(self.successResultOf(ensureDeferred(pipe.over())).cause, Cause.GOODBYE)
        self.assertEqual(streams.written, b"a\nb")
        self.assertTrue(streams.closed)

    def test_never(self) -> None:
        """With a negative number the server decides when it is over."""
        pair, pipe, _ = self.pipe(quitAfter=-1.0)
        pipe.inputEnded()
        pair.advance(100.0)
        self.assertIsNone(pipe.termination)
        pair.server.goodbye()
        pair.pump()
        self.assertFalse(pipe.sentAway)
        self.assertTrue(pipe.termination is not None and pipe.termination.clean)

    def test_leaving(self) -> None:
        """After goodbye input is read no more, but what the server sends is still written."""
        pair, pipe, streams = self.pipe()
        pair.server.sendMessage(b"last words")
        pipe.leave()
        self.assertTrue(streams.paused)
        self.assertFalse(streams.closed)
        pair.pump()
        self.assertEqual(streams.written, b"last words")
        self.assertTrue(streams.closed)

    def test_outputGone(self) -> None:
        """When nobody reads the output any more, goodbye is said even if it was full."""
        pair, pipe, _ = self.pipe()
        pipe.pauseProducing()
        pair.server.sendMessage(b"unread")
        pair.pump()
        pipe.outputClosed()
        pair.pump()
        self.assertTrue(pipe.termination is not None and pipe.termination.clean)

    def test_sentAway(self) -> None:
        """A server that asks to leave while there is input makes a difference, and a line."""
        pair, pipe, streams = self.pipe()
        pair.server.goAway(EndReason.OVERLOADED, retryAfter=5.0)
        pair.pump()
        self.assertTrue(pipe.sentAway)
        self.assertTrue(streams.paused)
        self.assertIn("too many sessions; come back in 5 s", self.errors.getvalue())

    def test_binary(self) -> None:
        """Octets are sent as they come, at once, whether they have a newline or not."""
        pair, pipe, _ = self.pipe()
        for octets in (b"\0\1\2", b"one\ntwo\n", b"\xff" * 65536):
            pipe.inputReceived(octets)
            pair.pump()
            self.assertEqual(pair.server.messages.pop(), octets)

    def test_failure(self) -> None:
        """When input or output fails there is no goodbye, which would say that all was well."""
        pair, pipe, streams = self.pipe()
        pair.server.sendMessage(b"last words")
        pair.pump()
        pipe.fail("cannot read standard input: Input/output error")
        pipe.fail("and more went wrong after that")
        pair.pump()
        self.assertEqual(str(pipe.trouble), "cannot read standard input: Input/output error")
        self.assertIs(pair.server.termination.cause, Cause.TRUNCATED)
        self.assertEqual(streams.written, b"last words")
        self.assertTrue(streams.closed)


class PingerTests(TalkCase):
    """``thing ping`` on a clock."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(sys, "stdout", self.output)

    def lines(self) -> list[str]:
        """What was printed."""
        return self.output.getvalue().splitlines()

    def test_schedule(self) -> None:
        """The first heartbeat comes at once, the others at the granted interval."""
        pinger = Pinger("server", False, 4)
        pair = self.talkingPair(
            pinger,
            client=clientSettings(requestedTtl=3.0),
            jitter=lambda: 0.0,
        ).up()
        pair.advance(0.0)
        pair.advance(2.5)
        self.assertEqual(len(self.lines()), 4)
        pair.advance(1.0)
        self.assertIs(pinger.termination and pinger.termination.cause, Cause.GOODBYE)
        self.assertIn("TTL 3 s, a beat every 1 s", self.lines()[0])
        self.assertEqual(self.lines()[-3], "--- server heartbeat statistics ---")
        self.assertIn("4 sent, 4 acknowledged, 0% loss", self.lines()[-2])

    def test_lost(self) -> None:
        """A server that falls silent leaves a late heartbeat, and loss in the summary."""
        pinger = Pinger("server", False, None)
        pair = self.talkingPair(
            pinger, client=clientSettings(requestedTtl=3.0), jitter=lambda: 0.0
        ).up()
        pair.advance(0.5)
        pair.freeze()
        pair.advance(10.0)
        self.assertIs(pinger.termination and pinger.termination.cause, Cause.LAPSED)
        self.assertIn("beat=2 late: 1.5 s since the last acknowledgement", self.lines())
        self.assertIn("2 sent, 1 acknowledged, 50% loss", self.output.getvalue())

    def test_serverSaysNoMore(self) -> None:
        """That the server ends its half says nothing of heartbeats."""
        pinger = Pinger("server", False, 2)
        pair = self.talkingPair(pinger, jitter=lambda: 0.0).up()
        pair.server.endData()
        pair.pump()
        self.assertIsNone(pinger.termination)
        pair.advance(30.0)
        self.assertIn("2 sent, 2 acknowledged", self.output.getvalue())

    def test_noHeartbeat(self) -> None:
        """A session without any heartbeat has a summary without times."""
        pinger = Pinger("server", False, None)
        pair = self.talkingPair(pinger, jitter=lambda: 0.99).up()
        pinger.leave()
        pair.pump()
        self.assertIn("0 sent, 0 acknowledged, 0% loss", self.lines()[-1])

    def test_statistics(self) -> None:
        """The mean and the deviation are those of the numbers, also of nearly equal ones."""
        statistics = Statistics()
        for value in (0.001, 0.002, 0.003, 0.004):
            statistics.add(value)
        self.assertEqual(str(statistics), "rtt min/avg/max/mdev = 1.000/2.500/4.000/1.118 ms")
        equal = Statistics()
        for _ in range(1000):
            equal.add(0.1)
        self.assertEqual(str(equal), "rtt min/avg/max/mdev = 100.000/100.000/100.000/0.000 ms")


class Unreachable:
    """An endpoint whose connection comes as the test says."""

    def __init__(self, connecting: Deferred[Any]) -> None:
        self.connecting = connecting

    def connect(self, factory: ThingFactory) -> Deferred[Any]:
        return self.connecting


class FakeReactor(Clock):
    """A reactor that has started."""

    def callWhenRunning(self, call: Any, *args: Any) -> None:
        call(*args)

    def callFromThread(self, call: Any, *args: Any) -> None:
        call(*args)


class ConversationTests(TalkCase):
    """From the connection to the exit code."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = FakeReactor()
        self.handlers: dict[int, Any] = {}
        self.patch(signal, "signal", self.handlers.__setitem__)

    def conversation(self, connecting: Deferred[Any]) -> Deferred[ExitCode]:
        """Begin to talk."""
        factory = ThingFactory(ClientSettings(), AnyPeer(), clock=self.reactor)
        options = clientOptions(timeout=5.0)
        talk = Conversation(options, factory, Unreachable(connecting))
        return ensureDeferred(talk.run(self.reactor))

    def codeOf(self, running: Deferred[ExitCode]) -> int:
        """The exit code, once there is one."""
        return int(self.successResultOf(running))

    def test_cannotConnect(self) -> None:
        """Whatever keeps the connection from coming is said in one line."""
        for error, said in (
            (ConnectionRefusedError(), "refused"),
            (DNSLookupError("no such host"), "no such host"),
            (OSError(101, "Network is unreachable"), "Network is unreachable"),
            (OverflowError("port must be 0-65535."), "port must be 0-65535"),
        ):
            self.assertEqual(self.codeOf(self.conversation(fail(error))), ExitCode.NOT_CONNECTED)
            self.assertIn(said, self.errors.getvalue())
        self.assertEqual(self.errors.getvalue().count("\n"), 4)

    def test_noConnectionInTime(self) -> None:
        """A connection that does not come is waited for as long as the user wants."""
        running = self.conversation(Deferred())
        self.reactor.advance(4.9)
        self.assertNoResult(running)
        self.reactor.advance(0.2)
        self.assertEqual(self.codeOf(running), ExitCode.NOT_CONNECTED)
        self.assertIn("no connection within 5 s", self.errors.getvalue())

    def test_interruptedWhileConnecting(self) -> None:
        """Ctrl-C while connecting ends at once."""
        running = self.conversation(Deferred())
        self.handlers[signal.SIGINT](signal.SIGINT, None)
        self.assertEqual(self.codeOf(running), ExitCode.INTERRUPTED)
        self.assertEqual(self.errors.getvalue(), "thing: interrupted\n")

    def test_codes(self) -> None:
        """Every way in which a session can end has its code."""
        rejected = Cause.REJECTED
        for termination, code in (
            (Termination(Cause.GOODBYE), ExitCode.GOODBYE),
            (Termination(Cause.FLAT_LINED), ExitCode.FLAT_LINED),
            (Termination(Cause.LAPSED), ExitCode.LAPSED),
            (Termination(Cause.TRUNCATED), ExitCode.TRUNCATED),
            (Termination(Cause.PROTOCOL_ERROR), ExitCode.PROTOCOL_ERROR),
            (Termination(Cause.ABORTED), ExitCode.ABORTED),
            (Termination(rejected, ErrorCode.SERVER_BUSY, byPeer=True), ExitCode.REJECTED),
            (Termination(rejected, ErrorCode.NOT_AUTHORIZED, byPeer=True), ExitCode.REJECTED),
            (Termination(rejected, 200, byPeer=True), ExitCode.REJECTED),
            (Termination(rejected, ErrorCode.CREDENTIAL_REQUIRED), ExitCode.REJECTED),
            (Termination(rejected, ErrorCode.NOT_AUTHORIZED), ExitCode.NOT_TRUSTED),
            (Termination(rejected, ErrorCode.NOT_VALID_NOW), ExitCode.NOT_TRUSTED),
            (Termination(rejected, ErrorCode.UNDECIDED), ExitCode.NOT_TRUSTED),
            (Termination(rejected, ErrorCode.HANDSHAKE_TIMEOUT), ExitCode.NOT_CONNECTED),
            (Termination(rejected, ErrorCode.RETRY_REFUSED), ExitCode.NOT_CONNECTED),
            (Termination(rejected, ErrorCode.INTERNAL_ERROR), ExitCode.ABORTED),
            (Termination(rejected, ErrorCode.BAD_SIGNATURE), ExitCode.PROTOCOL_ERROR),
        ):
            self.assertIs(codeOf(termination), code)
        for cause in Cause:
            self.assertIsInstance(codeOf(Termination(cause)), ExitCode)


class BlockingTests(SynchronousTestCase):
    """What the command shares with its shell."""

    def test_restored(self) -> None:
        """Standard streams that a session made non-blocking are left as they were."""
        reader, writer = os.pipe()
        kept = os.dup(0)
        self.addCleanup(lambda: [os.close(one) for one in (reader, writer, kept)])
        os.dup2(reader, 0)
        try:
            with contextlib.suppress(SystemExit), blockingRestored():
                os.set_blocking(0, False)
                raise SystemExit
            self.assertTrue(os.get_blocking(0))
        finally:
            os.dup2(kept, 0)

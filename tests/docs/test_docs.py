"""What the documentation shows and claims: its programs run, its commands work, its tests exist."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.client import URI, Agent, readBody
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from tests import PROJECT
from tests.docs.pages import stepsOf
from thing import IdentityKey
from thing.cli.exits import ExitCode

README = PROJECT / "README.rst"
DOCS = PROJECT / "docs"
EXAMPLES = DOCS / "examples"
SECURITY = DOCS / "security.rst"

PATIENCE = 60.0
"""How long anything that a program is to say or do may take, seconds."""

FINGERPRINT = r"SHA256:[A-Za-z0-9+/]{43}"
GOODBYE = "both sides said goodbye"

TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"

TEST_NAME = re.compile(r"``(tests[\w.]+)\.(\w+)\.(test_\w+)``")


class Program(ProcessProtocol):
    """A child process: what it says, and how it ends."""

    def __init__(self) -> None:
        self.output = ""
        self.status: int | None = None
        self._waiting: list[Callable[[], bool]] = []

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self.output += data.decode()
        self._look()

    def processEnded(self, reason: Failure) -> None:  # type: ignore[override]
        self.status = reason.value.exitCode
        if self.status is None:
            self.status = -reason.value.signal
        self._look()

    def _look(self) -> None:
        self._waiting = [isStillWaiting for isStillWaiting in self._waiting if isStillWaiting()]

    def says(self, pattern: str) -> Deferred[str]:
        """Wait until it has said this; fail if it ends before."""

        def found() -> str | None:
            match = re.search(pattern, self.output)
            return match[0] if match is not None else None

        return self._until(found, f"it never said {pattern}")

    def exits(self) -> Deferred[int]:
        """Wait for its end."""
        return self._until(lambda: self.status, "it never ended")

    def signal(self, name: str) -> None:
        """Send it a signal, unless it is over."""
        number = signal.Signals[f"SIG{name}"].value
        with contextlib.suppress(ProcessExitedAlready):
            self.transport.signalProcess(number)  # type: ignore[union-attr]

    def _until(self, found: Callable[[], Any], complaint: str) -> Deferred[Any]:
        from twisted.internet import reactor

        waiter: Deferred[Any] = Deferred()

        def isStillWaiting() -> bool:
            if waiter.called:
                return False
            if (answer := found()) is not None:
                waiter.callback(answer)
            elif self.status is not None:
                waiter.errback(AssertionError(f"{complaint}:\n{self.output}"))
            return not waiter.called

        def complain(value: object, timeout: float) -> None:
            raise AssertionError(f"{complaint} within {timeout} s:\n{self.output}")

        if isStillWaiting():
            self._waiting.append(isStillWaiting)
        return waiter.addTimeout(PATIENCE, reactor, complain)


@implementer(IAgentEndpointFactory)
class OneEndpoint:
    """Takes every address for that of one endpoint."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self._endpoint


class DocumentedPrograms(TestCase):
    """Runs programs in a directory of their own, on a free port in place of 9000."""

    timeout = 3 * PATIENCE

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir(parents=True)
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "PYTHONUNBUFFERED": "1",
            "THING_HOME": str(self.directory / "home"),
        }
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def moved(self, text: str) -> str:
        """The text with the free port in place of 9000, on the loopback interface only."""
        listening = f"tcp:{self.port}:interface=127.0.0.1"
        return text.replace("tcp:9000", listening).replace("9000", str(self.port))

    def write(self, name: str, source: str) -> None:
        """Put a program into the directory."""
        (self.directory / name).write_text(self.moved(source))

    def example(self, name: str, *arguments: str) -> Program:
        """Run a program of docs/examples."""
        self.write(name, (EXAMPLES / name).read_text())
        return self.run_(name, *arguments)

    def run_(self, *arguments: str) -> Program:
        """Run this interpreter; whatever happens, it is gone after the test."""
        from twisted.internet import reactor

        program = Program()
        reactor.spawnProcess(  # type: ignore[attr-defined]
            program,
            sys.executable,
            [sys.executable, *arguments],
            self.environment,
            str(self.directory),
        )
        self.addCleanup(self._end, program)
        return program

    async def _end(self, program: Program) -> None:
        program.signal("KILL")
        await program.exits()


class ReadmeTests(DocumentedPrograms):
    """README.rst"""

    def setUp(self) -> None:
        super().setUp()
        self.text = README.read_text()

    def test_commands(self) -> None:
        """It has one command to start the server and one to run the tests, each on one line."""
        prefix = r"^    \$ python3 -m venv \.venv && \.venv/bin/pip install --quiet .*&& "
        for command in (
            r"\.venv/bin/twistd -n thing --demo --port 9000$",
            r"\.venv/bin/trial -j 2 tests$",
        ):
            self.assertEqual(len(re.findall(prefix + command, self.text, re.MULTILINE)), 1, command)

    async def test_anyProtocol(self) -> None:
        """Twisted's web server runs in sessions, for things that have its files' trust only."""
        from twisted.internet import reactor

        server, thing = IdentityKey.generate(), IdentityKey.generate()
        server.save(self.directory / "server_key")
        thing.save(self.directory / "my_key")
        self.write("things", thing.publicLine("lamp"))
        (self.directory / "docs").mkdir()
        (self.directory / "docs" / "hello").write_text("hello, thing")
        (start,) = re.findall(r"(?m)^    \$ \.venv/bin/twistd (-n web .+)$", self.text)
        web = self.run_(
            "-c", TWISTD, *shlex.split(start.replace("9000", f"{self.port}:interface=127.0.0.1"))
        )
        await web.says("Starting factory|starting on")
        (target,) = re.findall(r"``(thing:localhost:9000:\S+)``", self.text)
        pin = server.fingerprint.removeprefix("SHA256:")
        described = target.replace("9000", str(self.port)).replace("…", pin)
        described = described.replace("my_key", str(self.directory / "my_key"))
        endpoint = clientFromString(reactor, described)
        agent = Agent.usingEndpointFactory(reactor, OneEndpoint(endpoint))
        response = await agent.request(b"GET", b"http://web/hello")
        self.assertEqual(await readBody(response), b"hello, thing")
        web.signal("TERM")
        await web.exits()


class ExampleTests(DocumentedPrograms):
    """docs/examples"""

    def test_all(self) -> None:
        """Every example is on a page, and is run by a test here, or by the walk there."""
        pages = "".join(page.read_text() for page in DOCS.glob("*.rst"))
        typed = "".join(
            step.text
            for page in DOCS.glob("*.rst")
            for step in stepsOf(page.read_text())
            if step.language == "console" or step.word == "given"
        )
        folder = PROJECT / "tests"
        tests = "".join(path.read_text() for path in sorted(folder.rglob("test_*.py")))
        for example in sorted(path.name for path in EXAMPLES.iterdir() if path.suffix == ".py"):
            self.assertIn(f".. literalinclude:: examples/{example}\n", pages)
            if f"python {example}" not in typed:
                self.assertIn(f'"{example}"', tests)

    async def test_portTaken(self) -> None:
        """A server whose port is taken says so in one line, and exits."""
        servers = {
            path.name
            for path in EXAMPLES.glob("*.py")
            if re.search(r"serverFromString|ServerEndpoint|asyncio import serve", path.read_text())
        }
        self.assertGreater(len(servers), 10)
        for name in servers:
            text = (EXAMPLES / name).read_text()
            self.assertRegex(text, r"except \(?(CannotListenError|OSError)", name)
        here = f"tcp:{self.port}:interface=127.0.0.1"
        with socket.create_server(("127.0.0.1", self.port)):
            for name, words in {"server.py": (), "transport_asyncio.py": ("server", here)}.items():
                server = self.example(name, *words)
                self.assertEqual(await server.exits(), 1, server.output)
                self.assertRegex(server.output, r"^Couldn't listen on .*already in use.*\n$")
            server = self.example("asyncio_server.py")
            self.assertEqual(await server.exits(), 1, server.output)
            self.assertRegex(server.output, r"^\[Errno \d+\] .*address already in use.*\n$")

    async def test_nobodyListens(self) -> None:
        """A client whose server is not there says so in one line, and exits."""
        key = IdentityKey.generate().fingerprint
        client = self.example("client.py", key)
        self.assertEqual(await client.exits(), 1, client.output)
        self.assertRegex(client.output, r"^Connection was refused by other side.*\n$")
        blocking = self.example("blocking_client.py", "127.0.0.1", str(self.port), key)
        for client in (blocking, self.example("asyncio_client.py", key)):
            self.assertEqual(await client.exits(), 1, client.output)
            self.assertRegex(
                client.output, r"^.*\[Errno \d+\] (Connect call failed|.*refused).*\n$"
            )

    async def test_anotherFingerprint(self) -> None:
        """The first client refuses a server with another key than it was told of."""
        server = self.example("server.py")
        await server.says(FINGERPRINT)
        client = self.example("client.py", IdentityKey.generate().fingerprint)
        self.assertEqual(await client.exits(), 1, client.output)
        self.assertIn("the server's key is SHA256:", client.output)
        await server.says("None: ")

    async def test_authorizer(self) -> None:
        """The asynchronous authorizer admits a key once the database has a name for it."""
        with sqlite3.connect(self.directory / "things.db") as database:
            database.execute("CREATE TABLE things (fingerprint, name)")
        server = self.example("authorizer.py")
        await server.says(FINGERPRINT)
        stranger = self.example("keyclient.py")
        self.assertEqual(await stranger.exits(), 1, stranger.output)
        await server.says("a stranger: .*NOT_AUTHORIZED.* is not in the database")
        key = IdentityKey.load(self.directory / "thing_key")
        with sqlite3.connect(self.directory / "things.db") as database:
            database.execute("INSERT INTO things VALUES (?, ?)", (key.fingerprint, "lamp"))
        thing = self.example("keyclient.py")
        self.assertEqual(await thing.exits(), 0, thing.output)
        self.assertEqual(thing.output, f"hello, lamp\n{GOODBYE}\n")
        await server.says(f"lamp is here\nlamp: {GOODBYE}")

    async def test_upload(self) -> None:
        """A file of many buffers' size arrives whole at a server that pauses at each piece."""
        content = os.urandom(3_000_000)
        (self.directory / "big").write_bytes(content)
        server = self.example("store.py")
        client = self.example("upload.py", await server.says(FINGERPRINT), "big")
        self.assertEqual(await client.exits(), 0, client.output)
        self.assertEqual(client.output, f"{GOODBYE}\n")
        await server.says("stored")
        self.assertEqual((self.directory / "stored").read_bytes(), content)

    async def test_ask(self) -> None:
        """One request is answered, one fails without harm, and who is lost has its last word."""
        server = self.example("answer.py")
        client = self.example("ask.py", await server.says(FINGERPRINT))
        self.assertEqual(await client.exits(), 0, client.output)
        self.assertIn("the answer is 42\n", client.output)
        self.assertIn("no answer: FAILED: ", client.output)
        self.assertIn("the session was aborted", client.output)
        await server.says("anonymous: the kettle is gone")

    async def test_reconnect(self) -> None:
        """The client comes back to a server that died, and says goodbye when it is stopped."""
        server = self.example("server.py")
        fingerprint = await server.says(FINGERPRINT)
        client = self.example("reconnect.py", fingerprint)
        await client.says("session [0-9a-f]{32}")
        server.signal("KILL")
        await client.says("the stream ended without goodbye or flat line")
        await server.exits()
        server = self.example("server.py")
        await client.says("(?s)session .*session [0-9a-f]{32}")
        client.signal("TERM")
        await server.says(f"anonymous: {GOODBYE}")
        await client.exits()
        self.assertIn(GOODBYE, client.output)
        self.assertNotIn("Traceback", client.output)

    async def test_reconnectInVain(self) -> None:
        """Who is turned away tries again without a fuss, and does not give up."""
        pinned = IdentityKey.generate().fingerprint
        client = self.example("reconnect.py", pinned)
        await client.says("Connection was refused")
        server = self.example("server.py")
        await server.says(FINGERPRINT)
        await client.says("NOT_AUTHORIZED")
        client.signal("TERM")
        await client.exits()
        self.assertNotIn("Traceback", client.output)

    async def test_tests(self) -> None:
        """The examples of tests pass, by the command that the page gives."""
        command = r"^    \$ PYTHONPATH=\. trial (.+)$"
        (names,) = re.findall(command, (DOCS / "howto-test.rst").read_text(), re.MULTILINE)
        self.assertEqual(names, "test_shout")
        self.write("shout.py", (EXAMPLES / "shout.py").read_text())
        self.write("test_shout.py", (EXAMPLES / "test_shout.py").read_text())
        self.write("test_greeter.py", (EXAMPLES / "test_greeter.py").read_text())
        for name, count in ((names, 3), ("test_greeter", 5)):
            trial = self.run_("-m", "twisted.trial", name)
            self.assertEqual(await trial.exits(), 0, trial.output)
            self.assertIn(f"PASSED (successes={count})", trial.output)


class OperatingTests(DocumentedPrograms):
    """docs/operating.rst"""

    def setUp(self) -> None:
        super().setUp()
        self.text = (DOCS / "operating.rst").read_text()

    def test_options(self) -> None:
        """It has every option of the daemon, and no other."""
        from thing.daemon.tap import Options

        parameters = [row[0] for row in Options.optParameters]
        flags = [row[0] for row in Options.optFlags]
        table = self.text.split(".. list-table::")[1].split("\n\n\n")[0]
        rows = re.findall(r"\n   \* - (.*)", table)[1:]
        named = re.findall(r"``--([a-z-]+)", "\n".join(rows))
        self.assertEqual(sorted(named), sorted(["port", "serve", *parameters, *flags]))

    def test_exitCodes(self) -> None:
        """It has every exit code of the command, with the meaning that its help gives."""
        codes = "".join(f"{code.value:<3} {code.sentence}\n" for code in ExitCode)
        self.assertIn(f"=\n{codes}=", self.text)


class HowtoTests(DocumentedPrograms):
    """The how-tos for operators."""

    async def test_options(self) -> None:
        """The options that they name are those of the programs that they speak of."""
        known = "--offline --now --version"  # systemd's, and python's.
        for program in (
            ("-c", TWISTD, "--help"),
            ("-c", TWISTD, "thing", "--help"),
            ("-m", "thing.cli", "ping", "--help"),
        ):
            helping = self.run_(*program)
            self.assertEqual(await helping.exits(), 0)
            known += helping.output
        for page in ("howto-first-server", "howto-systemd", "howto-upgrade"):
            text = (DOCS / f"{page}.rst").read_text()
            options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
            self.assertGreater(len(options), 2)
            for option in options:
                self.assertIn(option, known, page)

    def test_files(self) -> None:
        """Every example for operators is on a page."""
        pages = "".join(page.read_text() for page in DOCS.glob("*.rst"))
        for name in (
            *("thing.service", "thing.socket", "thing-agent.service", "haproxy.cfg"),
            *("etc-thing/options.env", "etc-thing/agent.env"),
        ):
            self.assertTrue((EXAMPLES / "operating" / name).is_file())
            self.assertIn(f".. literalinclude:: examples/operating/{name}\n", pages)


class TrustTests(DocumentedPrograms):
    """docs/trust.rst"""

    def setUp(self) -> None:
        super().setUp()
        self.text = (DOCS / "trust.rst").read_text()

    def commands(self, section: str) -> list[list[str]]:
        """The words of the commands in a section."""
        text = self.text.partition(f"\n{section}\n---")[2].partition("\n---")[0]
        lines = re.sub(r" \\\n +", " ", text)
        return [shlex.split(line) for line in re.findall(r"(?m)^    (\w.+)$", lines)]

    async def test_options(self) -> None:
        """The options that it names are those of the server or of the command."""
        known = ""
        for program in (
            ("-c", TWISTD, "thing", "--help"),
            ("-m", "thing.cli", "connect", "--help"),
        ):
            helping = self.run_(*program)
            self.assertEqual(await helping.exits(), 0)
            known += helping.output
        for option in set(re.findall(r"(?<!\w)--[a-z][a-z-]+", self.text)):
            self.assertIn(option, known)

    async def test_sshCertificates(self) -> None:
        """Its commands make an authority, a server and a thing, which know each other by name."""
        *making, twistd, thing, empty, revoking = self.commands("An OpenSSH certificate")
        for command in making:
            subprocess.run(command, cwd=self.directory, check=True)
        self.assertEqual((twistd[0], thing[:2]), ("twistd", ["thing", "connect"]))
        where = ("--port", self.moved("tcp:9000"))
        server = self.run_("-c", TWISTD, *twistd[1:], *where)
        await server.says("Listening")
        ping = ("-m", "thing.cli", "ping", "-c", "1", *(self.moved(word) for word in thing[2:]))
        client = self.run_(*ping)
        self.assertEqual(await client.exits(), 0, client.output)
        await server.says("sensor-7 at .* is established")
        server.signal("TERM")
        await server.exits()

        subprocess.run(empty, cwd=self.directory, check=True)
        server = self.run_("-c", TWISTD, *twistd[1:], *where, "--revoked", "revoked")
        await server.says("Listening")
        again = self.run_(*ping)
        self.assertEqual(await again.exits(), 0, again.output)
        subprocess.run(revoking, cwd=self.directory, check=True)
        server.signal("HUP")
        await server.says("Reloaded")
        refused = self.run_(*ping)
        self.assertEqual(await refused.exits(), int(ExitCode.REJECTED), refused.output)
        await server.says("sensor-7.*is revoked by")
        server.signal("TERM")
        await server.exits()

    async def test_x509(self) -> None:
        """Its commands make an authority and a server that a client believes by its name."""
        section = self.text.partition("An X.509 certificate\n---")[2].partition("\n---")[0]
        commands = re.findall(r"(?m)^    ((?:openssl|printf|chmod) .+)$", section)
        self.assertEqual(len(commands), 5)
        for command in commands:
            subprocess.run(command, shell=True, cwd=self.directory, check=True, capture_output=True)
        words = ("--certificate", "server.pem", "--private-key", "server.key", "--anyone")
        where = ("--port", self.moved("tcp:9000"))
        server = self.run_("-c", TWISTD, "-n", "thing", *words, *where)
        await server.says("Listening")
        ping = ("-m", "thing.cli", "ping", "-c", "1", "--trust-roots", "ca.pem")
        client = self.run_(*ping, f"localhost:{self.port}")
        self.assertEqual(await client.exits(), 0, client.output)
        other = self.run_(*ping, f"127.0.0.1:{self.port}")
        self.assertEqual(await other.exits(), int(ExitCode.NOT_TRUSTED), other.output)
        self.assertIn("it is not for 127.0.0.1, but for", other.output)
        server.signal("TERM")
        await server.exits()

    async def test_ownRecords(self) -> None:
        """A server that looks things up in a database admits who is in it, by name."""
        key = IdentityKey.generate()
        key.save(self.directory / "key")
        client = ("-m", "thing.cli", "ping", "-c", "1", self.moved("localhost:9000"))
        words = ("--identity", "key", "--trust-on-first-use")
        server = self.example("own_records.py")
        await server.says("Listening")
        refused = self.run_(*client, *words)
        self.assertEqual(await refused.exits(), int(ExitCode.REJECTED), refused.output)
        await server.says("is not in the records")
        adding = self.run_("own_records.py", key.fingerprint, "sensor-7")
        self.assertEqual(await adding.exits(), 0, adding.output)
        admitted = self.run_(*client, *words)
        self.assertEqual(await admitted.exits(), 0, admitted.output)
        await server.says("sensor-7 at .* is established")
        server.signal("TERM")
        await server.exits()


class SecurityTests(TestCase):
    """docs/security.rst"""

    def test_tests(self) -> None:
        """Every test that the page names exists."""
        names = TEST_NAME.findall(SECURITY.read_text())
        self.assertGreater(len(names), 30)
        for module, case, method in names:
            tests = getattr(importlib.import_module(module), case)
            self.assertTrue(callable(getattr(tests, method, None)), f"{module}.{case}.{method}")

    def test_rows(self) -> None:
        """Every attack in its tables has a test."""
        _, attacks = SECURITY.read_text().split("Can SFL be exploited?\n---")
        _, *tables = attacks.split(".. list-table::")
        rows = [row for table in tables for row in table.split("\n   * - ")[2:]]  # not its head
        self.assertGreater(len(rows), 20)
        for row in rows:
            self.assertRegex(row, TEST_NAME)

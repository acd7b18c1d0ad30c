"""What systemd is told, what it hands over, and the example units."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import SkipTest, mock

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.unix import DatagramPort
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.daemon.test_service import ServiceCase
from tests.daemon.test_twistd import PROJECT, TWISTD, Process, TwistdCase
from thing import ClientSettings, IdentityKey, PinnedServers
from thing.daemon.systemd import TICK, Supervisor
from thing.endpoints import Backoff, ThingClientEndpoint, ThingClientService

EXAMPLES = Path(PROJECT, "docs", "examples", "operating")
UNIT = EXAMPLES / "thing.service"
AGENT = EXAMPLES / "thing-agent.service"
UNITS = ("thing.service", "thing.socket", "thing-agent.service")

NO_ANALYZER = None if shutil.which("systemd-analyze") else "there is no systemd-analyze"

DENY_WRITE_EXECUTE = """
import ctypes, os, sys
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0):
    print("not denied", flush=True)
    sys.exit(0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""What MemoryDenyWriteExecute= does, where the kernel has it in a call of its own."""


class Manager:
    """Stands for systemd: a socket, and what was told to it."""

    def __init__(self, address: str | None = None) -> None:
        """:param address: where to listen; None for a name that the kernel chooses."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address or "")
        self.socket.setblocking(False)
        name = self.socket.getsockname()
        self.address = name if isinstance(name, str) else "@" + name[1:].decode()

    def told(self) -> list[list[str]]:
        """The assignments of each message since the last time."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return messages


class SupervisorTests(SynchronousTestCase):
    """Supervisor"""

    def setUp(self) -> None:
        self.manager = Manager()
        self.addCleanup(self.manager.socket.close)
        self.clock = Clock()
        self.sessions = 3

    def status(self) -> str:
        return f"{self.sessions} sessions"

    def supervisor(self, watchdog: float = 0.0, address: str | None = None) -> Supervisor:
        """One that tells us; its timer is gone at the end."""
        supervisor = Supervisor(address or self.manager.address, watchdog)

        def stop() -> None:
            supervisor.stopped()
            self.assertEqual(self.clock.getDelayedCalls(), [])

        self.addCleanup(stop)
        return supervisor

    def test_life(self) -> None:
        """It tells of readiness, reload, and drain, as sd_notify(3) has it."""
        supervisor = self.supervisor()
        supervisor.ready(self.clock, self.status)
        self.assertEqual(self.manager.told(), [["READY=1", "STATUS=3 sessions"]])
        supervisor.reloading()
        ((reloading, moment),) = self.manager.told()
        self.assertEqual(reloading, "RELOADING=1")
        self.assertRegex(moment, r"^MONOTONIC_USEC=\d+$")
        supervisor.reloaded()
        self.assertEqual(self.manager.told(), [["READY=1", "STATUS=3 sessions"]])
        supervisor.stopping(11.0)
        self.assertEqual(
            self.manager.told(),
            [["STOPPING=1", "EXTEND_TIMEOUT_USEC=16000000", "STATUS=3 sessions"]],
        )

    def test_watchdog(self) -> None:
        """Only while the clock's calls come it tells so, twice in the time."""
        supervisor = self.supervisor(watchdog=3.0)
        supervisor.ready(self.clock, self.status)
        self.manager.told()
        for sessions in range(4):
            self.sessions = sessions
            self.clock.advance(1.5)
            self.assertEqual(self.manager.told(), [["WATCHDOG=1", f"STATUS={sessions} sessions"]])
        self.assertEqual(self.manager.told(), [])

    def test_draining(self) -> None:
        """It goes on while the server drains, and ends with it."""
        supervisor = self.supervisor(watchdog=3.0)
        supervisor.ready(self.clock, self.status)
        supervisor.stopping(60.0)
        self.manager.told()
        self.clock.advance(1.5)
        self.assertEqual(len(self.manager.told()), 1)
        supervisor.stopped()
        self.clock.advance(60.0)
        self.assertEqual(self.manager.told(), [])

    def test_status(self) -> None:
        """Without a watchdog only the status is told, and as often with a patient one."""
        for watchdog, alive in ((0.0, []), (600.0, ["WATCHDOG=1"])):
            supervisor = self.supervisor(watchdog)
            supervisor.ready(self.clock, self.status)
            self.manager.told()
            self.clock.advance(TICK)
            self.assertEqual(self.manager.told(), [[*alive, "STATUS=3 sessions"]])
            supervisor.stopped()

    def test_notReadyYet(self) -> None:
        """A reload before the server is there does not make it ready."""
        supervisor = self.supervisor()
        supervisor.reloading()
        supervisor.reloaded()
        self.assertEqual(self.manager.told(), [])

    def test_notReadyAnyMore(self) -> None:
        """Nor does one whose end comes when the server drains."""
        supervisor = self.supervisor()
        supervisor.ready(self.clock, self.status)
        supervisor.reloading()
        supervisor.stopping(1.0)
        self.manager.told()
        supervisor.reloaded()
        supervisor.reloading()
        self.assertEqual(self.manager.told(), [])

    def test_path(self) -> None:
        """The address may be a path."""
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        manager = Manager(f"{directory}/notify")
        self.addCleanup(manager.socket.close)
        self.supervisor(address=manager.address).ready(self.clock, self.status)
        self.assertEqual(len(manager.told()), 1)

    def test_nobody(self) -> None:
        """If nobody asked nothing is told, and there is no timer."""
        supervisor = Supervisor()
        supervisor.ready(self.clock, self.status)
        supervisor.reloading()
        supervisor.reloaded()
        supervisor.stopping(1.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        supervisor.stopped()

    def test_errors(self) -> None:
        """What cannot be told is logged once for all, and raises nothing."""
        for address in ("/nonexistent/notify", "vsock:2:1234", "@nobody-listens", "/x" * 500):
            with capturedLogs() as logged:
                supervisor = self.supervisor(watchdog=2.0, address=address)
                supervisor.ready(self.clock, self.status)
                self.clock.advance(1.0)
                supervisor.stopping(1.0)
                supervisor.stopped()
            self.assertEqual([event["log_level"] for event in logged], [LogLevel.error])

    def test_full(self) -> None:
        """A service manager that does not read does not stop the server."""
        with capturedLogs() as logged:
            supervisor = self.supervisor(watchdog=2.0)
            supervisor.ready(self.clock, self.status)
            self.manager.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            self.clock.pump([1.0] * 2000)
        self.assertEqual(len(logged), 1)

    def test_environment(self) -> None:
        """The environment says whom to tell and how often, and no child finds it there."""
        environ = {
            "NOTIFY_SOCKET": self.manager.address,
            "WATCHDOG_USEC": "3000000",
            "WATCHDOG_PID": str(os.getpid()),
            "LISTEN_FDNAMES": "thing",
            "PATH": "/bin",
        }
        supervisor = Supervisor.fromEnvironment(environ)
        self.addCleanup(supervisor.stopped)
        self.assertEqual(environ, {"PATH": "/bin"})
        supervisor.ready(self.clock, self.status)
        self.clock.advance(1.5)
        self.assertEqual([told[0] for told in self.manager.told()], ["READY=1", "WATCHDOG=1"])

    def test_otherWatchdogs(self) -> None:
        """A watchdog for another process is not ours; nonsense is none."""
        for usec, pid in (("3000000", "1"), ("soon", ""), ("-1", ""), ("", ""), ("0", "")):
            environ = {
                "NOTIFY_SOCKET": self.manager.address,
                "WATCHDOG_USEC": usec,
                "WATCHDOG_PID": pid,
            }
            supervisor = Supervisor.fromEnvironment(environ)
            supervisor.ready(self.clock, self.status)
            self.clock.advance(TICK)
            supervisor.stopped()
            for told in self.manager.told():
                self.assertNotIn("WATCHDOG=1", told)
        supervisor = Supervisor.fromEnvironment({})
        supervisor.ready(self.clock, self.status)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ServiceTests(ServiceCase):
    """What a ThingService has told."""

    def setUp(self) -> None:
        super().setUp()
        self.calls: list[str] = []
        self.supervisor = mock.Mock(spec=Supervisor)
        self.whenReady: Deferred[str] = Deferred()

        def ready(clock: object, status: Any) -> None:
            self.status = status
            self.calls.append("ready")
            self.whenReady.callback(status())

        self.supervisor.ready.side_effect = ready
        for name in ("reloading", "reloaded", "stopping", "stopped"):
            call = getattr(self.supervisor, name)
            call.side_effect = lambda *_, name=name: self.calls.append(name)

    async def test_life(self) -> None:
        """Ready when the ports listen, reloads, the drain with its time, and the end."""
        service = self.started(supervisor=self.supervisor, drainTimeout=5.0)
        self.assertEqual(await self.whenReady, "0 sessions")
        await self.connect(f"tcp:127.0.0.1:{self.where(service).port}")
        service.factory.trust = mock.Mock(reload=lambda: succeed(0))
        service.reload()
        self.assertEqual(self.status(), "1 sessions")
        stopped = service.stopService()
        self.assertEqual(self.calls, ["ready", "reloading", "reloaded", "stopping"])
        self.assertEqual(self.status(), "Draining, 1 sessions")
        self.supervisor.stopping.assert_called_once_with(6.0)
        await stopped
        self.assertEqual(self.calls[-1], "stopped")

    async def test_slowReload(self) -> None:
        """A reload is over when all sessions are reviewed, or when that has failed."""
        service = self.started(supervisor=self.supervisor)
        await self.whenReady
        for end in (lambda reviewing: reviewing.callback(3), lambda r: r.errback(ValueError())):
            self.calls.clear()
            reviewing: Deferred[int] = Deferred()
            service.factory.trust = mock.Mock(reload=lambda reviewing=reviewing: reviewing)
            service.reload().addErrback(lambda failure: failure.trap(ValueError))
            self.assertEqual(self.calls, ["reloading"])
            end(reviewing)
            self.assertEqual(self.calls, ["reloading", "reloaded"])

    async def test_overlappingReloads(self) -> None:
        """Of reloads that overlap, the end of the last is told."""
        service = self.started(supervisor=self.supervisor)
        await self.whenReady
        self.calls.clear()
        reviewing: list[Deferred[int]] = [Deferred(), Deferred()]
        service.factory.trust = mock.Mock(reload=iter(reviewing).__next__)
        service.reload()
        service.reload()
        reviewing[0].callback(0)
        self.assertEqual(self.calls, ["reloading", "reloading"])
        reviewing[1].callback(0)
        self.assertEqual(self.calls, ["reloading", "reloading", "reloaded"])

    async def test_slowPort(self) -> None:
        """It is not ready before its last port listens."""
        from twisted.internet import reactor

        service = self.service(supervisor=self.supervisor)
        (inner,) = service._endpoints.values()
        slow: Deferred[Any] = Deferred()
        service._endpoints["slow"] = mock.Mock(listen=lambda factory: slow)
        service.privilegedStartService()
        service.startService()
        turned: Deferred[None] = Deferred()
        reactor.callLater(0.01, turned.callback, None)  # type: ignore[attr-defined]
        await turned
        self.assertEqual(self.calls, [])
        slow.callback(await inner.listen(service.factory))
        self.assertEqual(self.calls, ["ready"])


class Told(DatagramProtocol):
    """Hears what a process tells."""

    def __init__(self) -> None:
        self.assignments: list[str] = []
        self._waiters: list[tuple[str, Deferred[None]]] = []

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        for assignment in datagram.decode().split("\n"):
            self.assignments.append(assignment)
            waiters, self._waiters = self._waiters, []
            for prefix, waiter in waiters:
                if assignment.startswith(prefix):
                    waiter.callback(None)
                else:
                    self._waiters.append((prefix, waiter))

    def whenTold(self, prefix: str) -> Deferred[None]:
        """Wait for the next assignment of this kind."""
        waiter: Deferred[None] = Deferred()
        self._waiters.append((prefix, waiter))
        return waiter


class SystemdCase(TwistdCase):
    """Tests that do what systemd does."""

    def setUp(self) -> None:
        super().setUp()
        from twisted.internet import reactor

        directory = tempfile.mkdtemp()  # A socket's path must be short.
        self.addCleanup(shutil.rmtree, directory)
        self.told = Told()
        self.notify = f"{directory}/notify"
        port = DatagramPort(self.notify, self.told, reactor=reactor)
        port.startListening()
        self.addCleanup(port.stopListening)

    def listening(self, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
        """The socket that stays open, whatever becomes of the service."""
        host = "127.0.0.1" if family is socket.AF_INET else "::"
        dual = family is socket.AF_INET6
        held = socket.create_server((host, 0), family=family, backlog=128, dualstack_ipv6=dual)
        self.addCleanup(held.close)
        return held

    def activated(self, held: socket.socket, *arguments: str, **environment: str) -> Process:
        """Start ``twistd`` with a socket, as systemd does."""
        script = f"import os; os.environ['LISTEN_PID'] = str(os.getpid()); {TWISTD}"
        return self.spawn(
            *("-c", script, *arguments),
            childFDs={0: "w", 1: "r", 2: "r", 3: held.fileno()},
            LISTEN_FDS="1",
            LISTEN_FDNAMES="thing",
            NOTIFY_SOCKET=self.notify,
            **environment,
        )


class RestartTests(SystemdCase):
    """A process that is told to end, and the next one, on one socket."""

    SERVER = ("--nodaemon", "--pidfile=", "thing", "--port=systemd:domain=INET:index=0")
    DEMO = (*SERVER, "--demo")

    async def test_restart(self) -> None:
        """An always-on client is back after one reconnect, and never refused meanwhile."""
        from twisted.internet import reactor

        held = self.listening()
        key = IdentityKey.generate()
        key.save(os.path.join(self.directory, "key"))
        words = (*self.DEMO, f"--identity={os.path.abspath(self.path('key'))}", "--retry-after=0")
        first = self.activated(held, *words)
        await first.whenLine("thing connect")
        told: list[Any] = []
        up: list[Deferred[Any]] = [Deferred(), Deferred()]
        waiting = iter(up)
        service = ThingClientService(
            ThingClientEndpoint(
                clientFromString(reactor, f"tcp:127.0.0.1:{held.getsockname()[1]}"),
                # The next server may take long to start on a busy machine.
                ClientSettings(handshakeTimeout=50.0),
                PinnedServers([key.fingerprint]),
            ),
            Factory.forProtocol(Protocol),
            backoff=Backoff(jitter=lambda: 0.0),
            onUp=lambda protocol: next(waiting).callback(protocol.transport.session.sessionId),
            onDown=lambda reason, delay: told.append((reason.value, delay)),
        )
        self.addCleanup(service.stopService)
        service.startService()
        before = await up[0]
        os.kill(first.pid, signal.SIGTERM)
        await first.ended
        second = self.activated(held, *words)
        self.assertNotEqual(await up[1], before)
        # It was down once, at the goodbye, and tried once: at once, while nobody listened.
        ((reason, delay),) = told
        self.assertEqual(reason.termination.cause.name, "GOODBYE")
        self.assertEqual(delay, 0.0)
        self.assertIn("Draining 1 sessions", first.output)
        self.assertClean(first)
        await service.stopService()
        await second.whenLine("both sides said goodbye")

    async def test_notify(self) -> None:
        """It tells that it listens, that its reactor turns, of a reload, and of its end."""
        ready, alive = self.told.whenTold("READY=1"), self.told.whenTold("WATCHDOG=1")
        held = self.listening()
        process = self.activated(held, *self.SERVER, WATCHDOG_USEC="500000")
        await ready
        socket.create_connection(held.getsockname()).close()
        await alive
        reloading, readyAgain = self.told.whenTold("RELOADING=1"), self.told.whenTold("READY=1")
        os.kill(process.pid, signal.SIGHUP)
        await reloading
        await readyAgain
        os.kill(process.pid, signal.SIGTERM)
        await process.ended
        self.assertIn("STOPPING=1", self.told.assignments)
        self.assertIn("STATUS=Draining, 0 sessions", self.told.assignments)
        self.assertClean(process)

    async def test_hung(self) -> None:
        """A server whose reactor does not turn tells nothing, so that it is started again."""
        from twisted.internet import reactor

        Path(self.cwd, "hanger.py").write_text(
            "import time\n"
            "from thing import ThingFactory, ThingProtocol\n"
            "class Hanger(ThingProtocol):\n"
            "    def messageReceived(self, message):\n"
            "        print('hanging', flush=True)\n"
            "        time.sleep(600)\n"
            "class HangerFactory(ThingFactory):\n"
            "    protocol = Hanger\n"
        )
        held = self.listening()
        process = self.activated(
            held,
            *(*self.SERVER, "--factory=hanger.HangerFactory", "--anyone"),
            PYTHONPATH=f"{PROJECT}{os.pathsep}{self.cwd}",
            WATCHDOG_USEC="200000",
        )
        await self.told.whenTold("WATCHDOG=1")
        client = await self.connect(f"tcp:127.0.0.1:{held.getsockname()[1]}")
        client.sendMessage(b"hang")
        await process.whenLine("hanging")
        await deferLater(reactor, 0.1)  # type: ignore[arg-type]
        before = len(self.told.assignments)
        await deferLater(reactor, 1.0)  # type: ignore[arg-type]
        self.assertEqual(len(self.told.assignments), before)

    async def test_environment(self) -> None:
        """A child of the server finds nothing of it in its environment."""
        Path(self.cwd, "looker.py").write_text(
            "import subprocess, sys\n"
            "from thing import ThingFactory\n"
            "class Looker(ThingFactory):\n"
            "    def startFactory(self):\n"
            "        look = 'import os; print(\"child\", *sorted(os.environ), flush=True)'\n"
            "        subprocess.run([sys.executable, '-c', look])\n"
        )
        process = self.activated(
            self.listening(),
            *(*self.SERVER, "--factory=looker.Looker", "--anyone"),
            PYTHONPATH=f"{PROJECT}{os.pathsep}{self.cwd}",
            WATCHDOG_USEC="60000000",
        )
        line = await process.whenLine("child ")
        self.assertIn("THING_HOME", line)
        for prefix in ("NOTIFY", "WATCHDOG", "LISTEN"):
            self.assertNotIn(prefix, line)

    async def test_sharedSocket(self) -> None:
        """Two processes on one inherited socket serve it together; one alone serves it, too."""
        held = self.listening()
        servers = [self.activated(held, *self.DEMO) for _ in range(2)]
        for server in servers:
            await server.whenLine("thing connect")
        description = f"tcp:127.0.0.1:{held.getsockname()[1]}"
        await (await self.connect(description)).whenHeard("Welcome")
        await self.stop(servers[0])
        await (await self.connect(description)).whenHeard("Welcome")


class UnitTests(SystemdCase):
    """docs/examples/operating"""

    def setUp(self) -> None:
        super().setUp()
        self.service = UNIT.read_text()

    def test_verify(self) -> None:
        """systemd finds no fault with the units, but for the program that is not here."""
        directory = Path(self.mktemp()).resolve()
        directory.mkdir()
        for name in UNITS:
            text = (EXAMPLES / name).read_text()
            (directory / name).write_text(
                re.sub("/opt/thing/bin/(twistd|thing)", sys.executable, text)
            )
        done = subprocess.run(
            ["systemd-analyze", "verify", *(directory / name for name in UNITS)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if "Failed to" in done.stderr and "systemd" in done.stderr:
            raise SkipTest(f"systemd-analyze cannot work here: {done.stderr.strip()}")
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    test_verify.skip = NO_ANALYZER  # type: ignore[attr-defined]

    def test_security(self) -> None:
        """systemd rates the exposure of the services as the documentation says."""
        for unit in (UNIT, AGENT):
            done = subprocess.run(
                [*("systemd-analyze", "security", "--offline=yes", "--no-pager"), unit],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            if done.returncode:
                raise SkipTest(f"systemd-analyze rates no files: {done.stderr.strip()}")
            found = re.search(rf"exposure level for {unit.name}: ([\d.]+) OK", done.stdout)
            assert found is not None, done.stdout
            self.assertLessEqual(float(found[1]), 1.5)

    def test_sameWalls(self) -> None:
        """The agent has the walls of the server, one by one."""
        walls, agents = (
            re.search(r"(?s)\n(NoNewPrivileges=.*)\n\n\[Install\]", unit.read_text())
            for unit in (UNIT, AGENT)
        )
        assert walls is not None and agents is not None
        settings = [
            [line for line in found[1].splitlines() if not line.startswith("#")]
            for found in (walls, agents)
        ]
        self.assertEqual(*settings)

    test_security.skip = NO_ANALYZER  # type: ignore[attr-defined]

    def command(self) -> list[str]:
        """The words of ExecStart, as systemd fills them in, for the files of the example."""
        lines = self.service.replace("\\\n", " ")
        (start,) = re.findall(r"(?m)^ExecStart=(.+)$", lines)
        (options,) = re.findall(
            r'(?m)^THING_OPTIONS="(.+)"$', (EXAMPLES / "etc-thing" / "options.env").read_text()
        )
        for name, value in {
            "$THING_OPTIONS": options,
            "/etc/thing": self.cwd,
            "%d": self.cwd,
            "%S": self.cwd,
        }.items():
            start = start.replace(name, value)
        return shlex.split(start)

    async def test_service(self) -> None:
        """Its command serves the socket with the files of the example, and says so."""
        if not socket.has_dualstack_ipv6():
            raise SkipTest("there is no IPv6 on this machine")
        thing = IdentityKey.generate()
        things = (EXAMPLES / "etc-thing" / "authorized_things").read_text()
        Path(self.cwd, "authorized_things").write_text(things + thing.publicLine("lamp") + "\n")
        IdentityKey.generate().save(os.path.join(self.cwd, "server_key"))
        os.mkdir(os.path.join(self.cwd, "thing"))
        held = self.listening(socket.AF_INET6)
        program, *words = self.command()
        self.assertEqual(program, "/opt/thing/bin/twistd")
        ready = self.told.whenTold("READY=1")
        process = self.activated(held, *words)
        await ready
        client = await self.connect(f"tcp:127.0.0.1:{held.getsockname()[1]}", credential=thing)
        await process.whenLine("with lamp at ")
        await client.goodbye()
        os.kill(process.pid, signal.SIGTERM)
        await process.ended
        self.assertIn('"message": "Server Shut Down."', process.output)
        self.assertTrue(os.path.exists(os.path.join(self.cwd, "thing", "ticket_keys")))

    async def test_denyWriteExecute(self) -> None:
        """A server with tcp: ports needs no memory to write and execute."""
        words = ("--nodaemon", "--pidfile=", "thing", "--demo", "--port=tcp:0:interface=127.0.0.1")
        process = self.spawn("-c", DENY_WRITE_EXECUTE, "-c", TWISTD, *words)
        begun = process.whenLine("")
        if await begun == "not denied":
            raise SkipTest("this kernel has no PR_SET_MDWE")
        line = await process.whenLine("thing connect ")
        address = line.partition("thing connect ")[2].split()[0]
        client = await self.connect(f"tcp:{address}", credential=IdentityKey.generate())
        await client.whenHeard("Welcome")
        await self.stop(process)

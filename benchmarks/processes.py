"""The other processes, as the measuring one sees them: servers, and what loads them."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

SETTLING = 15.0
"""How long a server may take to notice that its clients are gone, seconds."""

STARTING = 30.0
"""How long a program may take to be there, seconds."""

READ = 1 << 16
"""How many octets are read at once."""

PAUSE = 0.003
"""How long a server must have done nothing before it counts as done, seconds."""


def allowFiles() -> None:
    """Let this process open as many files as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def cpuOf(pid: int) -> float:
    """
    Read a process's CPU clock: the user's and the system's time of all its threads.

    It is what ``/proc/PID/schedstat`` has for a process of one thread.

    :param pid: which.
    :return: seconds.
    """
    return time.clock_gettime((~pid << 3) | 2)  # As clock_getcpuclockid(3) makes it.


def memoryOf(pid: int) -> int:
    """
    Read how much of the machine's memory a process has, its share of what is shared included.

    :param pid: which.
    :return: octets, the kernel's ``Pss``.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("Pss:"))
    return int(kilobytes) * 1024


def awaitQuiet(pid: int) -> None:
    """
    Wait until a process waits itself, with all its threads.

    :param pid: which.
    :raises RuntimeError: if that takes too long.
    """
    deadline = time.monotonic() + SETTLING
    while time.monotonic() < deadline:
        before = cpuOf(pid)
        time.sleep(PAUSE)
        if cpuOf(pid) == before and _sleeps(pid):
            return
    raise RuntimeError(f"process {pid} does not come to rest")


def _sleeps(pid: int) -> bool:
    states = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            states.append((task / "stat").read_text().rpartition(")")[2].split()[0])
        except OSError:
            continue  # The thread ended.
    return set(states) == {"S"}


class Child:
    """
    A process that answers a line of JSON to each line that it gets.

    :ivar pid: its number.
    """

    def __init__(self, *arguments: str, **environment: str) -> None:
        """
        :param arguments: of this Python.
        :param environment: what it has besides this process's own.
        """
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": str(HERE.parent), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def ask(self, line: str) -> Any:
        """
        Send a line and wait for the answer.

        :param line: the line.
        :return: the answer.
        :raises RuntimeError: if the process ends instead; it does so by itself
            when it is at a loss, or left alone for too long.
        """
        self.tell(line)
        return self.answer()

    def tell(self, line: str) -> None:
        """
        Send a line.

        :param line: the line; the answer to it must be waited for.
        """
        assert self._process.stdin is not None, "it has a pipe"
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """
        Wait for the answer to the first line that has none yet.

        :return: the answer.
        :raises RuntimeError: as :meth:`ask`.
        """
        assert self._process.stdout is not None, "it has a pipe"
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args} ended")
        return json.loads(answer)

    def stop(self) -> None:
        """End it: it stops when it is no longer asked, and is killed if it does not."""
        assert self._process.stdin is not None, "it has a pipe"
        with suppress(BrokenPipeError):  # It is over already.
            self._process.stdin.close()
        reaped(self._process)


class Server(Child):
    """A server's process."""

    def __init__(self, kind: str, directory: Path) -> None:
        """
        :param kind: one of :data:`peers.KINDS`.
        :param directory: the credentials.
        """
        super().__init__(str(HERE / "peers.py"), kind, str(directory))

    @cached_property
    def ports(self) -> dict[str, int]:
        """The port of each job."""
        ports: dict[str, int] = self.ask("usage")["ports"]
        return ports

    def cpu(self) -> float:
        """:return: the CPU time used so far, once the server has no more to do, seconds."""
        awaitQuiet(self.pid)
        return cpuOf(self.pid)

    def memory(self) -> int:
        """:return: how much memory it has, octets."""
        return memoryOf(self.pid)

    def settle(self, connections: int = 0) -> dict[str, Any]:
        """
        Wait until the server has no more to do, and has collected its garbage.

        :param connections: how many connections are to be left.
        :return: what it has used so far.
        :raises RuntimeError: if that takes too long.
        """
        deadline = time.monotonic() + SETTLING
        while time.monotonic() < deadline:
            usage: dict[str, Any] = self.ask("collect")
            if usage["connections"] == connections:
                return usage
            time.sleep(0.01)
        raise RuntimeError("the server does not come to rest")


class Onlooker:
    """Has a server's page open, and reads whatever happens there until the server ends."""

    def __init__(self, port: int) -> None:
        """:param port: the page's."""
        self._connection = socket.create_connection(("127.0.0.1", port), SETTLING)
        self._connection.settimeout(None)
        self._connection.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        first = self._connection.recv(READ)
        if not first.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the page says {first[:80]!r}")
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        with self._connection, suppress(OSError):
            while self._connection.recv(READ):
                pass


def program(name: str) -> str | None:
    """
    Look for a program, also beside this Python, and where only root does by default.

    :param name: its name.
    :return: its path, or None if it is not installed.
    """
    path = os.environ.get("PATH", os.defpath)
    return shutil.which(name, path=f"{Path(sys.executable).parent}:{path}:/usr/sbin")


class Load(Child):
    """A process full of clients."""

    def __init__(self, group: str, directory: Path, address: str = "127.0.0.1") -> None:
        """
        :param group: the key exchange group that they offer.
        :param directory: the credentials.
        :param address: where they come from.
        """
        # pyOpenSSL has no call for it.
        configuration = directory / f"{group}.cnf"
        configuration.write_text(
            "openssl_conf = all\n[all]\nssl_conf = ssl\n"
            f"[ssl]\nsystem_default = tls\n[tls]\nGroups = {group}\n"
        )
        super().__init__(
            str(HERE / "load.py"), group, str(directory), address, OPENSSL_CONF=str(configuration)
        )

    def do(self, name: str, **arguments: object) -> Any:
        """
        Have something done.

        :param name: a method of ``load.Load``.
        :param arguments: its arguments.
        :return: what it returns.
        """
        return self.ask(json.dumps([name, arguments]))


# Programs that answer nothing.


def python(onto: ExitStack, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """
    Start a process of this Python.

    :param onto: ends it.
    :param log: what it writes goes there.
    :param arguments: its arguments.
    :return: the process.
    """
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    with log.open("wb") as output:
        return running(
            onto, sys.executable, *arguments, env=environment, stdout=output, stderr=output
        )


def freePort() -> int:
    """:return: a port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def running(onto: ExitStack, *command: str, **others: Any) -> subprocess.Popen[bytes]:
    """
    Start a process.

    :param onto: ends it.
    :param command: its program and arguments.
    :param others: for ``Popen``.
    :return: the process.
    """
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **others)
    onto.callback(ended, process)
    return process


def ended(process: subprocess.Popen[Any], patience: float = SETTLING) -> int:
    """
    Ask a process to end, and see that it does.

    :param process: which.
    :param patience: how long it may take before it is killed, seconds.
    :return: its exit code.
    """
    process.terminate()
    return reaped(process, patience)


def reaped(process: subprocess.Popen[Any], patience: float = SETTLING) -> int:
    """
    Wait for the end of a process that has been asked to end; kill it if it takes too long.

    :param process: which.
    :param patience: how long it may take, seconds.
    :return: its exit code.
    """
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def whenLogged(process: subprocess.Popen[Any], log: Path, pattern: str, patience: float) -> str:
    """
    Wait until a process has said something in its log.

    :param process: which.
    :param log: its log; it need not be there yet.
    :param pattern: a regular expression with a group.
    :param patience: how long it may take, seconds.
    :return: what the group is.
    :raises RuntimeError: if that takes too long, or the process ends.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(FileNotFoundError):
            if found := re.search(pattern, log.read_text()):
                return found[1]
        time.sleep(0.05)
    raise RuntimeError(f"{log} does not say {pattern}")


def awaited(there: Callable[[], bool], what: str) -> None:
    """
    Wait until something is there.

    :param there: whether it is.
    :param what: what it is.
    :raises RuntimeError: if that takes too long.
    """
    deadline = time.monotonic() + STARTING
    while not there():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} does not come up")
        time.sleep(0.02)


def untilListening(port: int) -> None:
    """
    Wait until somebody listens.

    :param port: where.
    """
    listening = f"0100007F:{port:04X} 00000000:0000 0A"
    awaited(lambda: listening in Path("/proc/net/tcp").read_text(), f"port {port}")

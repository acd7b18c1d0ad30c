"""
The ways by which an operator gets to a service beside a device: ``ssh -R``, and ``thing reach``.

Each part is a process of its own on this machine's loopback. ``python ways.py`` is the service.
"""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from jobs import SIZE_LENGTH
from processes import awaited, awaitQuiet, cpuOf, freePort, program, python, running, untilListening
from startup import TWISTD

from thing import IdentityKey

MIB = 1 << 20

PATIENCE = 120.0
"""How long one transfer may take, seconds."""

SERVICE = "data"
"""What the service is called."""


@dataclass(frozen=True)
class Way:
    """A way from the operator to the service."""

    port: int
    """Where the operator connects, on this machine."""
    server: Callable[[], list[int]]
    """Finds the processes in the middle that are there for this way."""

    def transfer(self, size: int) -> tuple[float, float]:
        """
        Make one transfer, in a connection of its own.

        :param size: how much, octets; negative for what the service sends.
        :return: how long it took, and the server's CPU time, both in seconds.
        """
        pids = _resting(self.server)
        before, began = _used(pids), time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.sendall(size.to_bytes(SIZE_LENGTH, "big", signed=True))
            if size > 0:
                _send(connection, size)
            _take(connection, 1 if size > 0 else -size)
            took = time.monotonic() - began
        return took, _used(pids) - before


def _resting(find: Callable[[], list[int]]) -> list[int]:
    """What is found once it rests: a process that only helped to begin has ended by then."""
    pids: list[int] = []

    def rests() -> bool:
        try:
            pids[:] = find()
            _used(pids)
        except OSError:
            return False
        return True

    awaited(rests, "the processes in the middle")
    return pids


def _used(pids: list[int]) -> float:
    for pid in pids:
        awaitQuiet(pid)
    return sum(cpuOf(pid) for pid in pids)


def _send(connection: socket.socket, size: int) -> None:
    piece = memoryview(bytes(MIB))
    while size > 0:
        size -= connection.send(piece[:size])


def _take(connection: socket.socket, size: int) -> None:
    room = memoryview(bytearray(MIB))
    while size > 0:
        came = connection.recv_into(room[:size])
        if not came:
            raise EOFError(f"{size} octets are missing")
        size -= came


# The service beside the device.


def serve() -> None:
    """Serve until the standard input ends; where, is printed first."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    sys.stdin.read()


def _accept(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection:
        size = int.from_bytes(connection.recv(SIZE_LENGTH, socket.MSG_WAITALL), "big", signed=True)
        if size < 0:
            _send(connection, -size)
        else:
            _take(connection, size)
            connection.sendall(b"!")
        with suppress(ConnectionResetError):
            connection.recv(1)  # The other side closes first.


def service(onto: ExitStack) -> int:
    """
    Start the service.

    :param onto: ends it.
    :return: its port.
    """
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None, "it has pipes"
    onto.callback(process.wait)
    onto.callback(process.stdin.close)
    onto.callback(process.stdout.close)
    return int(process.stdout.readline())


# OpenSSH.


class OpenSsh:
    """An sshd of one's own, with keys of its own, for the user who runs this."""

    def __init__(self, directory: Path, onto: ExitStack) -> None:
        """
        :param directory: for keys, configuration and log.
        :param onto: ends what is started.
        """
        self._directory = directory
        self._onto = onto
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True
            )
        self._port = freePort()
        (directory / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{self._port}\nHostKey {directory}/host\nPidFile none\n"
            f"AuthorizedKeysFile {directory}/user.pub\nStrictModes no\n"
        )
        if os.geteuid() == 0:  # It wants this, which the system's init makes elsewhere.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        sshd = program("sshd")
        assert sshd is not None, "it was looked for"
        command = (sshd, "-D", "-f", f"{directory}/sshd_config", "-E", f"{directory}/sshd.log")
        self._daemon = running(onto, *command)
        untilListening(self._port)

    def remote(self, port: int) -> Way:
        """
        Have the device connect, and offer a service.

        :param port: the service's.
        :return: the way to it from the server's machine.
        """
        return self._forward("-R", freePort(), port, list)

    def local(self, way: Way) -> Way:
        """
        Have the operator connect from elsewhere.

        :param way: the way from the server's machine.
        :return: the way from the operator's.
        """
        return self._forward("-L", freePort(), way.port, way.server)

    def _forward(self, how: str, port: int, to: int, others: Callable[[], list[int]]) -> Way:
        """A session in which a port is forwarded; its processes are in the middle, and others."""
        before = set(childrenOf(self._daemon.pid))
        options = (
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            "ExitOnForwardFailure=yes",
            f"UserKnownHostsFile={self._directory}/known_hosts",
        )
        running(
            self._onto,
            *("ssh", "-q", "-F", "none", "-N", "-i", f"{self._directory}/user"),
            *(word for option in options for word in ("-o", option)),
            *("-p", str(self._port), how, f"127.0.0.1:{port}:127.0.0.1:{to}"),
            f"{getpass.getuser()}@127.0.0.1",
        )
        untilListening(port)
        (session,) = set(childrenOf(self._daemon.pid)) - before
        return Way(port, lambda: [*others(), session, *descendants(session)])


# Thing.


def thing(directory: Path, port: int, onto: ExitStack) -> Way:
    """
    Start a server, an agent and an operator's command.

    :param directory: for keys and logs.
    :param port: the service's.
    :param onto: ends what is started.
    :return: the way.
    """
    keys = {name: IdentityKey.generate() for name in ("server", "device", "operator")}
    for name, key in keys.items():
        key.save(directory / name)
    (directory / "authorized").write_text(
        f"{keys['device'].publicLine()} device\n"
        f'permit-reach="device:{SERVICE}" {keys["operator"].publicLine()} operator\n'
    )
    listening, forwarded = freePort(), freePort()
    where = f"127.0.0.1:{listening}"
    server = python(
        onto,
        directory / "server.log",
        *("-c", TWISTD, "--nodaemon", "--pidfile=", "thing"),
        *("--port", f"tcp:{listening}:interface=127.0.0.1"),
        *("--identity", f"{directory}/server", "--authorized", f"{directory}/authorized"),
    )
    untilListening(listening)
    known = ("--server-key", keys["server"].fingerprint)
    python(
        onto,
        directory / "agent.log",
        *("-m", "thing.cli", "agent", where, "--identity", f"{directory}/device", *known),
        *("--expose", f"{SERVICE}=tcp:127.0.0.1:{port}"),
    )
    python(
        onto,
        directory / "operator.log",
        *("-m", "thing.cli", "reach", "device", SERVICE, "--server", where),
        *("--listen", str(forwarded), "--identity", f"{directory}/operator", *known),
    )
    untilListening(forwarded)
    way = Way(forwarded, lambda: [server.pid])
    awaited(lambda: _goes(way), "the agent")
    return way


def _goes(way: Way) -> bool:
    """Whether anything goes that way by now."""
    try:
        way.transfer(1)
    except (OSError, EOFError):
        return False
    return True


# Processes.


def childrenOf(pid: int) -> list[int]:
    """
    Look for the children of a process.

    :param pid: whose.
    :return: the number of each.
    """
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descendants(pid: int) -> Iterator[int]:
    """
    Look for the children of a process, and for theirs.

    :param pid: whose.
    :return: the number of each.
    """
    for child in childrenOf(pid):
        yield child
        yield from descendants(child)


if __name__ == "__main__":
    serve()

"""A mosquitto, which is told nothing and asked nothing: all is seen from outside."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from peers import BROKERS
from processes import SETTLING, awaitQuiet, cpuOf, ended, memoryOf, program

STARTING = 30.0
"""How long a broker may take to listen, seconds."""


class Broker:
    """
    One broker's process.

    :ivar pid: its number.
    :ivar ports: the port of each job.
    """

    def __init__(self, kind: str, directory: Path) -> None:
        """
        :param kind: one of :data:`peers.BROKERS`; those with TLS ask clients for no certificate.
        :param directory: the credentials.
        :raises RuntimeError: if it does not start.
        """
        path = program("mosquitto")
        assert path is not None, "the caller looked for it"
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        lines = [
            f"listener {port} 127.0.0.1",
            "allow_anonymous true",
            f"user {pwd.getpwuid(os.getuid()).pw_name}",
            f"log_dest file {directory / kind}.log",
        ]
        algorithm = BROKERS[kind]
        if algorithm:
            certificate = directory / f"{algorithm}-server.pem"
            lines += [f"certfile {certificate}", f"keyfile {certificate}"]
        configuration = directory / f"{kind}.conf"
        configuration.write_text("\n".join(lines) + "\n")
        setpriv = program("setpriv")
        # It is ended with this process, however this one ends.
        leash = [setpriv, "--pdeathsig", "TERM"] if setpriv else []
        self._process = subprocess.Popen(
            [*leash, path, "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.pid = self._process.pid
        self.ports = {"beat": port}
        self._awaitListening(port)
        awaitQuiet(self.pid)
        self._own = self._sockets()

    def _awaitListening(self, port: int) -> None:
        deadline = time.monotonic() + STARTING
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError("mosquitto does not listen")

    def _sockets(self) -> int:
        count = 0
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                count += os.readlink(entry).startswith("socket:")
            except OSError:
                continue  # It was closed meanwhile.
        return count

    def cpu(self) -> float:
        """:return: the CPU time used so far, once the broker has no more to do, seconds."""
        awaitQuiet(self.pid)
        return cpuOf(self.pid)

    def memory(self) -> int:
        """:return: how much memory it has, octets."""
        return memoryOf(self.pid)

    def settle(self, connections: int = 0) -> dict[str, Any]:
        """
        Wait until the broker has no more to do.

        :param connections: how many connections are to be left.
        :return: nothing.
        :raises RuntimeError: if that takes too long.
        """
        deadline = time.monotonic() + SETTLING
        while self._sockets() - self._own != connections:
            if time.monotonic() > deadline:
                raise RuntimeError("the broker does not come to rest")
            time.sleep(0.01)
        awaitQuiet(self.pid)
        return {}

    def stop(self) -> None:
        """End it."""
        ended(self._process)

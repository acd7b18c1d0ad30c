"""The other processes, as the measuring one sees them: servers, and what loads them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

SETTLING = 15.0
"""How long a server may take to notice that its clients are gone, seconds."""


class Child:
    """A process that answers a line of JSON to each line that it gets."""

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

    def ask(self, line: str) -> Any:
        """
        Send a line and wait for the answer.

        :param line: the line.
        :return: the answer.
        :raises RuntimeError: if the process ends instead; it does so by itself
            when it is at a loss, or left alone for too long.
        """
        assert self._process.stdin is not None, "it has a pipe"
        assert self._process.stdout is not None, "it has a pipe"
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args} ended")
        return json.loads(answer)

    def stop(self) -> None:
        """End it: it stops when it is no longer asked, and is killed if it does not."""
        assert self._process.stdin is not None, "it has a pipe"
        self._process.stdin.close()
        try:
            self._process.wait(SETTLING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


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
        """:return: the CPU time used so far, user's and system's, seconds."""
        return float(self.ask("usage")["cpu"])

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


class Load(Child):
    """A process full of clients."""

    def __init__(self, group: str, directory: Path) -> None:
        """
        :param group: the key exchange group that they offer.
        :param directory: the credentials.
        """
        # pyOpenSSL has no call for it.
        configuration = directory / f"{group}.cnf"
        configuration.write_text(
            "openssl_conf = all\n[all]\nssl_conf = ssl\n"
            f"[ssl]\nsystem_default = tls\n[tls]\nGroups = {group}\n"
        )
        super().__init__(
            str(HERE / "load.py"), group, str(directory), OPENSSL_CONF=str(configuration)
        )

    def do(self, name: str, **arguments: object) -> Any:
        """
        Have something done.

        :param name: a method of ``load.Load``.
        :param arguments: its arguments.
        :return: what it returns.
        """
        return self.ask(json.dumps([name, arguments]))

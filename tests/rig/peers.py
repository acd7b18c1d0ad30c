"""Two processes with sessions between them, as the check sees them; they run ``peer.py``."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from benchmarks.processes import reaped

STARTING = 60.0
"""How long a process may take to be there, and sessions to come up, seconds."""

ENDING = 10.0
"""How long a process may take to end once its input has, seconds."""

TWISTED, ASYNCIO = "tests.rig.peer", "tests.rig.asyncpeer"
"""On what a peer runs."""

CHUNK = 16384
"""How long a message of what is sent is, octets."""


def content(size: int | None) -> Iterator[bytes]:
    """
    What a peer sends: no two messages are alike.

    :param size: how many octets; None without end.
    :return: message by message.
    """
    left = sys.maxsize if size is None else size
    block = hashlib.shake_256(b"the rig").digest(CHUNK)
    for number in itertools.count():
        if left <= 0:
            return
        some = (number.to_bytes(8, "big") + block[8:])[:left]
        left -= len(some)
        yield some


def digestOf(size: int) -> str:
    """
    The SHA-256 of so much of it.

    :param size: octets.
    """
    whole = hashlib.sha256()
    for some in content(size):
        whole.update(some)
    return whole.hexdigest()


class Peer:
    """
    A process that has one side of sessions.

    :ivar pid: its number.
    :ivar told: all that it told, each with ``at``, when it came here: monotonic seconds.
    """

    def __init__(
        self,
        onto: ExitStack,
        kind: str = TWISTED,
        python: Sequence[str] = (sys.executable,),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """
        :param onto: ends it.
        :param kind: on what it runs.
        :param python: what runs it, as :func:`tests.rig.network.within` says.
        :param environment: what it has besides this process's own.
        """
        self._process = subprocess.Popen(
            [*python, "-m", kind],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.told: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        onto.callback(self.end)

    def _read(self) -> None:
        assert self._process.stdout is not None, "it has a pipe"
        for line in self._process.stdout:
            told = {"at": time.monotonic(), **json.loads(line)}
            with self._news:
                self.told.append(told)
                self._news.notify_all()

    def do(self, word: str, *arguments: object) -> None:
        """
        Have it do something.

        :param word: what.
        :param arguments: its arguments.
        """
        assert self._process.stdin is not None, "it has a pipe"
        self._process.stdin.write(json.dumps([word, *arguments]) + "\n")
        self._process.stdin.flush()

    def of(self, what: str) -> list[dict[str, Any]]:
        """
        What it told of one kind.

        :param what: the word for it.
        """
        with self._news:
            return [each for each in self.told if each["what"] == what]

    def until(self, what: str, count: int = 1, seconds: float = STARTING) -> list[dict[str, Any]]:
        """
        Wait until it has told something so often.

        :param what: the word for it.
        :param count: how often.
        :param seconds: how long to wait at most.
        :return: all of that kind.
        :raises TimeoutError: if it does not come.
        """
        if not self.waits(lambda: len(self.of(what)) >= count, seconds):
            raise TimeoutError(f"{self._process.args}: no {count} times {what!r}: {self.told[-5:]}")
        return self.of(what)

    def waits(self, there: Callable[[], bool], seconds: float) -> bool:
        """
        Wait for something that it tells.

        :param there: whether it has.
        :param seconds: how long at most.
        :return: whether it has.
        """
        deadline = time.monotonic() + seconds
        while not there():
            with self._news:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._news.wait(min(left, 0.1))
        return True

    def figures(self) -> dict[str, dict[str, Any]]:
        """Ask what it counted, for each session by its id."""
        before = len(self.of("figures"))
        self.do("figures")
        found: dict[str, dict[str, Any]] = self.until("figures", before + 1)[-1]["of"]
        return found

    def signal(self, number: signal.Signals) -> None:
        """
        Send it a signal.

        :param number: which.
        """
        self._process.send_signal(number)

    def end(self) -> None:
        """End it, however it is."""
        self.signal(signal.SIGCONT)
        assert self._process.stdin is not None, "it has a pipe"
        assert self._process.stdout is not None, "it has a pipe"
        with suppress(OSError):
            self._process.stdin.close()
        reaped(self._process, ENDING)
        self._reader.join()
        self._process.stdout.close()


def connected(server: Peer, client: Peer, ttls: Sequence[float], host: str = "127.0.0.1") -> None:
    """
    Have sessions between two peers, and wait until all are up on both sides.

    :param server: serves.
    :param client: has them all.
    :param ttls: the TTL of each, seconds.
    :param host: where the server is.
    """
    before = len(server.of("up"))
    if not server.of("serves"):
        server.do("serve", host)
    (serving,) = server.until("serves")
    client.do("open", host, serving["port"], serving["key"], list(ttls))
    for peer in (client, server):
        peer.until("up", before + len(ttls))


def endsOf(peer: Peer) -> dict[str, list[dict[str, Any]]]:
    """
    How each session ended, as a peer told it.

    :param peer: the peer.
    :return: for each session that came up, by its id, its ends: none, or one.
    """
    ends: dict[str, list[dict[str, Any]]] = {each["id"]: [] for each in peer.of("up")}
    for each in peer.of("end"):
        ends[each["id"]].append(each)
    return ends

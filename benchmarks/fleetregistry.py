"""What each operation of a registry costs: a real redis-server runs the script that nodes run."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hiredis
from peers import REDIS_SOCKET
from workloads import HYBRID

from thing.events import Cause, Termination
from thing.fleet.model import FleetEvent, Kind, NodeRecord, endingData, messageData
from thing.fleet.redis.address import PREFIX
from thing.fleet.redis.keeper import LEASE
from thing.fleet.redis.operations import Admit, Claims, Held, Join, Operation, Renew, Restore, Sweep
from thing.fleet.redis.script import BATCH, MOST_FED, MOST_FED_OCTETS, MOST_GONE, Script, asJson
from thing.fleet.redis.writes import heldNow, writeOf
from thing.fleet.sessions import LocalSession

THINGS = 4000
"""With how many things it is measured."""

PIPELINE = 50
"""How many commands are sent at once, as busy nodes do."""

PATIENCE = 30.0
"""How long Redis may take to start, or to answer, seconds."""

MESSAGE = bytes(100)
"""What a thing sends to its server now and then."""


def sessionOf(number: int, epoch: int, session: str) -> LocalSession:
    """
    Make a session as a node has it, with what of its protocol is written down.

    :param number: of its thing.
    :param epoch: its epoch.
    :param session: how its id begins.
    :return: the session.
    """
    name = f"thing-{number:07}"
    peer = SimpleNamespace(name=name, fingerprint=f"SHA256:{number:043}")
    agreed = SimpleNamespace(peer=peer, group=HYBRID, aead="AES-256-GCM", resumed=False, ttl=30.0)
    protocol: Any = SimpleNamespace(
        session=agreed, sessionId=f"{session}{number:024x}", lastWord=b"", ttl=30.0
    )
    address = f"192.0.2.{number % 256}:{1024 + number % 60000}"
    return LocalSession(protocol, name, peer.fingerprint, time.time(), address, epoch)


def _written(session: LocalSession, kind: Kind, data: dict[str, Any]) -> Operation:
    """What a node writes of an event, other than that a session came up."""
    session.sequence += 1
    event = FleetEvent(
        kind=kind,
        id=session.id,
        epoch=session.epoch,
        sequence=session.sequence,
        node="node-01",
        session=session.session,
        at=time.time(),
        data=data,
    )
    write = writeOf(session, event, MOST_FED)
    assert write is not None and not isinstance(write.change, Held), "it is the node's to write"
    return write.change


class Registry:
    """
    A redis-server of its own, and one connection to it.

    :ivar pid: of the redis-server.
    :ivar version: of Redis.
    """

    def __init__(self, directory: Path) -> None:
        """
        Start it.

        :param directory: where its socket and its log are to be.
        :raises RuntimeError: if it cannot be started.
        """
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            raise RuntimeError("there is no redis-server; --no-redis does without")
        path = directory / REDIS_SOCKET
        self._process = subprocess.Popen(
            [
                *(program, "--port", "0", "--unixsocket", str(path), "--save", ""),
                *("--dir", str(directory), "--logfile", str(directory / "redis.log")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self.pid = self._process.pid
        self._reader = hiredis.Reader()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        try:
            self._connect(str(path))
            self._script = Script(PREFIX)
            self.ask("SCRIPT", "LOAD", self._script.text)
            self.version = self._info("redis_version")
        except BaseException:
            self.stop()
            raise

    def _connect(self, path: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._socket.connect(path)
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError("redis-server does not start") from None
                time.sleep(0.02)

    def stop(self) -> None:
        """End it."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def ask(self, *words: Any) -> Any:
        """
        Run a command.

        :param words: its words.
        :return: the answer.
        """
        return self._all([words])[0]

    def _all(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        self._socket.sendall(b"".join(hiredis.pack_command(tuple(each)) for each in commands))
        answers: list[Any] = []
        while len(answers) < len(commands):
            answer = self._reader.gets()
            if answer is False:
                self._reader.feed(self._socket.recv(1 << 16))
                continue
            if isinstance(answer, Exception):
                raise RuntimeError(str(answer))
            answers.append(answer)
        return answers

    def _info(self, name: str) -> str:
        text: str = self.ask("INFO").decode()
        return next(
            line.partition(":")[2] for line in text.splitlines() if line.startswith(f"{name}:")
        )

    def memory(self) -> int:
        """:return: what all that is stored takes, octets."""
        return int(self._info("used_memory_dataset"))

    def cost(self, commands: Sequence[Sequence[Any]], of: int = 0) -> float:
        """
        Run commands, in pipelines.

        :param commands: the commands.
        :param of: how many operations they count as; as many as they are by default.
        :return: the CPU time that Redis took for each, seconds.
        """
        before = self._used()
        for at in range(0, len(commands), PIPELINE):
            self._all(commands[at : at + PIPELINE])
        return (self._used() - before) / (of or len(commands))

    def _used(self) -> float:
        return float(self._info("used_cpu_user")) + float(self._info("used_cpu_sys"))

    def command(self, operation: Operation) -> tuple[Any, ...]:
        """
        Make a command of an operation of the script.

        :param operation: which.
        :return: the command.
        """
        return self._script.command(operation)

    def sweep(self) -> tuple[Any, ...]:
        """:return: the command that cleans up, as a node has it, but for its patience."""
        sweep = Sweep(
            most=MOST_FED,
            limit=BATCH,
            keep=10**12,
            mostGone=MOST_GONE,
            keepNodes=10**12,
            mostOctets=MOST_FED_OCTETS,
            lease=int(LEASE * 1000),
        )
        return self.command(sweep)


def measureRedis(registry: Registry) -> dict[str, float]:
    """
    Measure what Redis takes, with some thousand things on two nodes.

    :param registry: the Redis.
    :return: the costs, by name.
    """
    registry.ask("FLUSHALL")
    cost, command = registry.cost, registry.command
    found: dict[str, float] = {}
    record = asJson(
        NodeRecord(node="node-01", since=1e9, lastSeen=1e9, status="up", sessions=THINGS).asDict()
    )
    renewals = [
        Renew(node=f"node-{i % 2 + 1:02}", process="p", lease=10**9, record=record, first=False)
        for i in range(THINGS)
    ]
    found["renew"] = cost([command(each) for each in renewals])

    sessions = [sessionOf(number, 1, "a" * 8) for number in range(THINGS)]
    before = registry.memory()
    found["join"] = cost([_join(registry, each, "node-01") for each in sessions])
    length, octets = (
        registry.ask("XLEN", "thing:feed"),
        registry.ask("MEMORY", "USAGE", "thing:feed", "SAMPLES", 0),
    )
    found["entry"] = octets / length
    found["thing"] = (registry.memory() - before - octets) / THINGS

    asked = [Admit(id=each.id, key=each.key, refuse=False) for each in sessions]
    found["admit"] = cost([command(each) for each in asked])
    sent = messageData(MESSAGE)
    messages = [command(_written(each, Kind.MESSAGE, sent)) for each in sessions]
    found["tell"] = cost(messages)
    found["read"], found["entryOctets"] = _read(registry)

    newer = [sessionOf(number, 2, "b" * 8) for number in range(THINGS)]
    found["moved"] = cost([_join(registry, each, "node-02") for each in newer])
    data = endingData(Termination(Cause.TRUNCATED)) | {"since": 1e9}
    found["leave"] = cost([command(_written(each, Kind.LEFT, data)) for each in newer])

    again = [sessionOf(number, 3, "c" * 8) for number in range(THINGS)]
    cost([_join(registry, each, "node-01") for each in again])
    mine = command(Claims(node="node-01", cursor="0", count=BATCH))
    found["mine"] = cost([mine] * 20, 20 * BATCH)
    found["sweep"] = cost([registry.sweep()] * 1000)
    registry.ask("ZADD", "thing:leases", 1, "node-01")  # It has run out.
    runs = THINGS // BATCH
    found["lost"] = cost([registry.sweep()] * runs, THINGS)

    registry.ask("FLUSHALL")
    held = [heldNow(each, time.time()) for each in again]
    batches = [
        Restore(node="node-01", most=MOST_FED, sessions=held[at : at + BATCH])
        for at in range(0, THINGS, BATCH)
    ]
    found["restore"] = cost([command(each) for each in batches], THINGS)
    if registry.ask("SCARD", "thing:n:node-01") != THINGS:
        raise RuntimeError("the script did not do what was to be measured")
    return found


def _join(registry: Registry, session: LocalSession, node: str) -> tuple[Any, ...]:
    """The command for a session that came up."""
    held = heldNow(session, time.time())
    join = Join(node=node, most=MOST_FED, deadline=10**15, refuse=False, held=held)
    return registry.command(join)


def _read(registry: Registry) -> tuple[float, float]:
    """What it takes to hand entries on one by one, and how long one is."""
    entries = registry.ask("XRANGE", "thing:feed", "-", "+", "COUNT", 2000)
    commands = [
        ("XREAD", "COUNT", 1, "BLOCK", 1000, "STREAMS", "thing:feed", entry[0])
        for entry in entries[:-1]
    ]
    octets = sum(len(word) + 5 for _, flat in entries for word in flat) / len(entries)
    return registry.cost(commands), octets

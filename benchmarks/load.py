"""
The load: many light clients in one process, each a socket and what it speaks.

``python load.py GROUP DIRECTORY ADDRESS`` does what it is asked in lines of JSON on
standard input, answers each with a line of JSON, and ends with its input. Its
own CPU time counts nowhere, but a slow client would cut the server's work into
smaller pieces; so a wave of heartbeats is sealed before the first is sent, and
a download is read to the end before it is decrypted.
"""

from __future__ import annotations

import json
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs import ANSWER, CHUNK, SIZE_LENGTH
from peers import LIFETIME
from processes import allowFiles
from wires import READ, Wire, wiresOf

AT_ONCE = 16
"""How many handshakes are in progress at once."""

PATIENCE = 30.0
"""How long a server may keep everybody waiting, seconds."""

IP_BIND_ADDRESS_NO_PORT = 24
"""Linux: bind to an address only."""

THINGS_APART = 6000
"""How many things each process may have at once that are no other's."""


class Load:
    """All clients of this process."""

    def __init__(self, wires: dict[str, Callable[[], Wire]], address: str) -> None:
        """
        :param wires: what makes a wire to each kind of server.
        :param address: where the clients come from.
        """
        self._wires = wires
        self._address = address
        self._sessions: list[tuple[socket.socket, Wire]] = []
        self._selector = selectors.DefaultSelector()

    def open(self, kind: str, port: int, count: int) -> None:
        """
        Open sessions, a few at a time, and keep them.

        :param kind: the kind of server.
        :param port: its port.
        :param count: how many.
        """
        while count:
            some = [self._connect(kind, port) for _ in range(min(count, AT_ONCE))]
            count -= len(some)
            self._until(some, lambda wire: wire.established)

    def _connect(self, kind: str, port: int) -> tuple[socket.socket, Wire]:
        connection = socket.socket()
        connection.settimeout(PATIENCE)
        # With the port left to connect, those of connections just closed can be had again.
        connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        connection.bind((self._address, 0))
        connection.connect(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = self._wires[kind]()
        self._sessions.append((connection, wire))
        self._selector.register(connection, selectors.EVENT_READ, wire)
        connection.sendall(wire.begin())
        return connection, wire

    def _until(
        self, sessions: list[tuple[socket.socket, Wire]], reached: Callable[[Wire], bool]
    ) -> None:
        """Read and answer until every session is where it should be."""
        waiting = {wire for _, wire in sessions if not reached(wire)}
        while waiting:
            ready = self._selector.select(PATIENCE)
            if not ready:
                raise RuntimeError("the server keeps everybody waiting")
            for key, _ in ready:
                answer = key.data.feed(self._read(key.fileobj))
                if answer:
                    key.fileobj.sendall(answer)
                if reached(key.data):
                    waiting.discard(key.data)

    @staticmethod
    def _read(connection: Any) -> bytes:
        data: bytes = connection.recv(READ)
        if not data:
            raise RuntimeError("the server hung up")
        return data

    def beat(self, waves: int) -> None:
        """
        Let all sessions beat together.

        :param waves: how many times.
        """
        for _ in range(waves):
            self._beat(self._sessions)

    def beatAround(self, together: int) -> None:
        """
        Let every session beat once.

        :param together: how many beat at a time.
        """
        for first in range(0, len(self._sessions), together):
            self._beat(self._sessions[first : first + together])

    def _beat(self, sessions: list[tuple[socket.socket, Wire]]) -> None:
        goals = {wire: wire.acknowledged + 1 for _, wire in sessions}
        beats = [(connection, wire.beat()) for connection, wire in sessions]
        for connection, beat in beats:
            connection.sendall(beat)
        self._until(sessions, lambda wire: wire.acknowledged >= goals[wire])

    def beatSteadily(self, rate: float, seconds: float) -> int:
        """
        Let one session after the other beat.

        :param rate: how many beats a second.
        :param seconds: for how long.
        :return: how many were not answered within a second after the end.
        """
        begun, sent = time.monotonic(), 0
        before = sum(wire.acknowledged for _, wire in self._sessions)
        while (passed := time.monotonic() - begun) < seconds:
            while sent < rate * passed:
                connection, wire = self._sessions[sent % len(self._sessions)]
                connection.sendall(wire.beat())
                sent += 1
            self._take(max(0.0, sent / rate - passed))
        while time.monotonic() - begun < seconds + 1:
            self._take(0.1)
        return before + sent - sum(wire.acknowledged for _, wire in self._sessions)

    def _take(self, patience: float) -> None:
        """Read and answer what has come by then, or the first that comes."""
        for key, _ in self._selector.select(patience):
            answer = key.data.feed(self._read(key.fileobj))
            if answer:
                key.fileobj.sendall(answer)

    def ask(self, rate: float, count: int) -> list[float]:
        """
        Ask over the first session, at times that no late answer puts off.

        :param rate: how many questions a second.
        :param count: how many.
        :return: how long after its time each was answered, seconds.
        """
        connection, wire = self._sessions[0]
        begun, asked, answered, times = time.perf_counter(), 0, wire.answered, []
        while len(times) < count:
            passed = time.perf_counter() - begun
            if asked < count and asked <= rate * passed:
                connection.sendall(wire.ask())
                asked += 1
                continue
            self._take(max(0.0, asked / rate - passed) if asked < count else PATIENCE)
            came = time.perf_counter() - begun
            times += [
                came - number / rate for number in range(len(times), wire.answered - answered)
            ]
        return times

    def upload(self, size: int) -> None:
        """
        Send to the server over the first session.

        :param size: how much, octets.
        """
        connection, wire = self._sessions[0]
        goal = wire.received + len(ANSWER)
        connection.sendall(wire.seal(size.to_bytes(SIZE_LENGTH, "big")))
        for left in range(size, 0, -len(CHUNK)):
            connection.sendall(wire.seal(CHUNK[:left]))
            self._until(self._sessions[:1], lambda wire: not wire.waiting)
        self._until(self._sessions[:1], lambda wire: wire.received >= goal)

    def download(self, size: int) -> None:
        """
        Have the server send over the first session.

        :param size: how much, octets.
        """
        connection, wire = self._sessions[0]
        goal = wire.received + size
        connection.sendall(wire.seal(size.to_bytes(SIZE_LENGTH, "big")))
        self._until(self._sessions[:1], lambda wire: wire.received >= goal)

    def latency(self, kind: str, port: int, count: int) -> list[float]:
        """
        Open and close sessions one after the other.

        :param kind: the kind of server.
        :param port: its port.
        :param count: how many.
        :return: how long each took to open, seconds.
        """
        times = []
        for _ in range(count):
            begun = time.perf_counter()
            self.open(kind, port, 1)
            times.append(time.perf_counter() - begun)
            self.close()
        return times

    def close(self) -> None:
        """Hang up, without a word: how a session ends is not what is measured."""
        for connection, _ in self._sessions:
            self._selector.unregister(connection)
            connection.close()
        self._sessions.clear()


def main(group: str, directory: Path, address: str) -> None:
    """
    Do what is asked until standard input ends.

    :param group: the key exchange group.
    :param directory: the credentials.
    :param address: where the clients come from; its last octet chooses which things they are.
    """
    first = int(address.rpartition(".")[2]) * THINGS_APART
    allowFiles()
    load = Load(wiresOf(directory, group, first), address)
    signal.alarm(LIFETIME)
    for line in sys.stdin:
        signal.alarm(LIFETIME)
        name, arguments = json.loads(line)
        answer = getattr(load, name)(**arguments)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])

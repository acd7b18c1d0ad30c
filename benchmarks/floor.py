"""
How many system calls a heartbeat takes, beside the floor of three: one wait, one recv, one send.

Run from anywhere::

    python benchmarks/floor.py [--json FILE]

strace counts the server's calls while one session beats again and again, and while 200 beat
together, where one wait serves many. It takes half a minute, and needs strace.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from twisted.python.usage import Options, UsageError

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import command
import credentials
from broker import Broker
from peers import BROKERS
from processes import Load, Server, awaitQuiet, program
from workloads import CLASSIC, MOSQUITTO, MOSQUITTO_TLS, TCP, THING, TLS, Peer

PEERS = (THING, TLS, MOSQUITTO_TLS, MOSQUITTO, TCP)

SHAPES = {"single": (1, 1000), "fleet": (200, 5)}
"""How many sessions beat, and how many times."""

ATTACHING = 10.0
"""How long strace may take to begin or to end, seconds."""


def counted(server: Server | Broker, load: Load, waves: int, directory: Path) -> Counter[str]:
    """
    Count the server's system calls while its sessions beat.

    :param server: the server.
    :param load: its clients, connected.
    :param waves: how many times they beat.
    :param directory: for strace's output.
    :return: how often each call was made.
    :raises RuntimeError: if strace fails.
    """
    output = directory / "strace"
    output.unlink(missing_ok=True)
    strace = subprocess.Popen(
        ["strace", "-f", "-c", "-o", str(output), "-p", str(server.pid)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _awaitTracer(server.pid, strace)
        load.do("beat", waves=waves)
        awaitQuiet(server.pid)
    finally:
        strace.send_signal(signal.SIGINT)
        _, complaint = strace.communicate(timeout=ATTACHING)
    if not output.exists():
        raise RuntimeError(f"strace: {complaint}")
    return parse(output.read_text())


def _awaitTracer(pid: int, strace: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + ATTACHING
    while time.monotonic() < deadline and strace.poll() is None:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        if not any(line.split() == ["TracerPid:", "0"] for line in lines):
            return
        time.sleep(0.01)
    raise RuntimeError("strace does not begin")


def parse(summary: str) -> Counter[str]:
    """
    Read strace's summary.

    :param summary: what ``strace -c`` writes.
    :return: how often each call was made.
    """
    calls: Counter[str] = Counter()
    for line in summary.splitlines():
        words = line.split()
        if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
            calls[words[-1]] = int(words[3])
    return calls


def measure(directory: Path) -> dict[str, dict[str, dict[str, float]]]:
    """
    Count for all peers.

    :param directory: for the credentials; empty, and for this user's eyes only.
    :return: for each peer and shape, how often each call is made for a heartbeat.
    """
    credentials.create(directory, 1000)
    load = Load(CLASSIC, directory)
    try:
        return {
            peer.name: _measurePeer(peer, load, directory)
            for peer in PEERS
            if peer.kind not in BROKERS or program("mosquitto")
        }
    finally:
        load.stop()


def _measurePeer(peer: Peer, load: Load, directory: Path) -> dict[str, dict[str, float]]:
    server = (Broker if peer.kind in BROKERS else Server)(peer.kind, directory)
    taken = {}
    try:
        for shape, (sessions, waves) in SHAPES.items():
            load.do("open", kind=peer.wire, port=server.ports["beat"], count=sessions)
            load.do("beat", waves=1)
            server.cpu()
            calls = counted(server, load, waves, directory)
            load.do("close")
            taken[shape] = {
                name: count / sessions / waves
                for name, count in calls.most_common()
                if count / sessions / waves >= 0.005
            }
    finally:
        server.stop()
    return taken


def table(taken: dict[str, dict[str, dict[str, float]]]) -> str:
    """
    Lay the counts out.

    :param taken: the counts.
    :return: lines for a terminal.
    """
    lines = ["system calls for each heartbeat; the floor is 3: one wait, one recv, one send"]
    for shape, (sessions, _) in SHAPES.items():
        lines += ["", f"{shape}, {sessions} at once"]
        for peer, shapes in taken.items():
            calls = shapes[shape]
            what = ", ".join(f"{name} {count:.2f}" for name, count in calls.items())
            lines.append(f"  {peer:<16}{sum(calls.values()):>6.2f}  {what}")
    return "\n".join(lines)


class FloorOptions(Options):
    """The command line."""

    synopsis = "python benchmarks/floor.py [--json FILE]"
    optParameters = [["json", None, None, "Write the counts to this file."]]

    def postOptions(self) -> None:
        """
        Look for the program.

        :raises UsageError: if it is missing.
        """
        if program("strace") is None:
            raise UsageError("strace is not installed")


def main(arguments: list[str]) -> None:
    """
    Count and print.

    :param arguments: the command line.
    """
    options = FloorOptions()
    command.parse(options, arguments)
    with tempfile.TemporaryDirectory(prefix="thing-benchmark-") as name:
        taken = measure(Path(name))
    print(table(taken))
    if options["json"]:
        Path(options["json"]).write_text(json.dumps(taken, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

"""
How many instructions the server's side of Thing takes for each thing it does.

Run from anywhere::

    python benchmarks/instructions.py [--json FILE] [--compare FILE [--limit PERCENT]]

What a server does is done in memory, with its Connections, its drivers and its protocols, but
without a reactor and a kernel, and valgrind's callgrind counts. The clients' octets were
recorded before, so that nothing of the clients is counted. Counts of two runs differ by less
than 1 in 1000, whatever else the machine does: regressions show here that times never would.
Only instructions are counted: a cache miss costs nothing, and a system call neither.
It takes a minute and needs valgrind.

With ``--limit`` the exit status is 1 if a count is higher than in the file by more than that,
so that a change which costs more has to say so: by the counts that it writes into that file.
Other versions of Python or of a library take other counts; those are not compared.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.backends.openssl.backend import backend
from twisted.python.usage import Options, UsageError

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import credentials
from jobs import CHUNK
from memory import Memory, Node, Recorded, record, shake
from peers import beginLogging
from wires import Fleet

from thing import ClientSettings, ThingProtocol
from thing.trust.tickets import TicketKeys

MARK = os.getppid
"""What callgrind is told to look for: nothing else calls it, and it does next to nothing."""

PATIENCE = 600.0
"""How long valgrind may take, seconds."""

COPYING = "glibc.cpu.x86_rep_movsb_threshold=1000000000"
"""
How the C library copies: octet by octet it would, in the eyes of callgrind, which counts each.

From some length on it uses an instruction of the processor's that repeats itself; whether it
does depends on where octets happen to lie, and the counts of bulk data on that.
"""

WARM = 20
"""How many of each are done uncounted before: Python adapts its code to what it sees."""

MIB = 1 << 20

PATIENT = ClientSettings().capacity._replace(mainCredit=0xFFFFFFFF)
"""A recorded client cannot grant credit while it is sent data, so it has granted enough."""


@dataclass(frozen=True)
class Part:
    """Something that is counted: how many of it, and what does them one by one."""

    name: str
    unit: str
    operations: float
    """How many units the counted steps are."""
    steps: int
    make: Callable[[Path, int], Iterator[object]]
    """From the credentials and how many steps to what does a step each time it is asked."""


def _handshakes(group: str, resumed: bool = False) -> Callable[[Path, int], Iterator[object]]:
    def make(directory: Path, steps: int) -> Iterator[object]:
        tickets, fleet = TicketKeys(), Fleet(directory, group)
        records = []
        node = Node(directory, tickets)
        for _ in range(steps + 1):
            records.append(record(node, fleet.back() if resumed else fleet.next()))
        node = Node(directory, tickets)
        kept = [shake(node, records[0])]  # Of the resumed ones it is the one that is not.
        yield
        for each in records[1:]:
            kept.append(shake(node, each))
            yield
        sessions = [protocol.session for protocol, _ in kept[1:]]
        assert all(each is not None and each.resumed is resumed for each in sessions)

    return make


def _session(
    directory: Path, beats: int = 0, messages: int = 0
) -> tuple[Node, ThingProtocol, Memory, Recorded]:
    # A ticket is never the same twice, and the session's keys depend on it.
    fleet = Fleet(directory, "X25519", capacity=PATIENT)
    recorded = record(Node(directory), fleet.next(), beats, messages)
    node = Node(directory)
    return node, *shake(node, recorded), recorded


def _beats(directory: Path, steps: int) -> Iterator[object]:
    node, protocol, transport, recorded = _session(directory, beats=steps)
    yield
    for octets in recorded.beats:
        protocol.dataReceived(octets)
        node.timers.turn()
        yield transport.take()
    assert protocol.heartbeats == steps


def _uploads(directory: Path, steps: int) -> Iterator[object]:
    node, protocol, _, recorded = _session(directory, messages=steps)
    yield
    for octets in recorded.data:
        protocol.dataReceived(octets)
        node.timers.turn()
        yield
    assert protocol.termination is None


def _downloads(directory: Path, steps: int) -> Iterator[object]:
    _, protocol, transport, _ = _session(directory)
    yield
    for _ in range(steps):
        protocol.sendMessage(CHUNK)
        yield transport.take()


PARTS = (
    Part("handshake", "handshake", 20, 20, _handshakes("X25519")),
    Part("handshake, ML-KEM", "handshake", 20, 20, _handshakes("X25519MLKEM768")),
    Part("handshake, resumed", "handshake", 20, 20, _handshakes("X25519", resumed=True)),
    Part("heartbeat", "heartbeat", 200, 200, _beats),
    Part("client to server", "MiB", 32 * len(CHUNK) / MIB, 32, _uploads),
    Part("server to client", "MiB", 32 * len(CHUNK) / MIB, 32, _downloads),
)
"""All parts, in the order of the table."""


def work() -> None:
    """Do every part, with a mark before and after; run under callgrind."""
    beginLogging()
    with tempfile.TemporaryDirectory(prefix="thing-benchmark-") as name:
        directory = Path(name)
        credentials.create(directory, 1 + WARM + max(part.steps for part in PARTS))
        for part in PARTS:
            steps = part.make(directory, WARM + part.steps)
            for _ in range(1 + WARM):
                next(steps)
            gc.collect()
            gc.disable()  # When it comes depends on what came before.
            MARK()
            for _ in range(part.steps):
                next(steps)
            MARK()
            gc.enable()
            for _ in steps:
                raise RuntimeError("there are more steps than were counted")


@dataclass(frozen=True)
class Counted:
    """What was counted, and with what."""

    versions: dict[str, str]
    """Of what takes its share of the counts."""
    counts: dict[str, float]
    """For each part how many instructions one unit took."""

    def risenBy(self, share: float, before: Counted) -> list[str]:
        """
        Look for what costs more now.

        :param share: how much more at least, as a part of what it was.
        :param before: what was counted then.
        :return: the names of those parts.
        """
        return [
            name
            for name, count in self.counts.items()
            if name in before.counts and count > before.counts[name] * (1 + share)
        ]


def versions() -> dict[str, str]:
    """:return: the versions of all that takes a share of the counts."""
    packages = {name: version(name) for name in ("twisted", "cryptography")}
    openssl = backend.openssl_version_text()
    return {"python": platform.python_version(), "openssl": openssl, **packages}


def counts() -> dict[str, float]:
    """
    Run everything under callgrind.

    :return: for each part how many instructions one unit took.
    :raises RuntimeError: if valgrind fails.
    """
    with tempfile.TemporaryDirectory(prefix="thing-callgrind-") as name:
        file = Path(name) / "out"
        done = subprocess.run(
            [
                *("valgrind", "--tool=callgrind", "--dump-before=getppid"),
                *(f"--callgrind-out-file={file}", sys.executable, __file__, "work"),
            ],
            env={**os.environ, "PYTHONHASHSEED": "0", "GLIBC_TUNABLES": COPYING},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        totals = [_total(Path(f"{file}.{number}")) for number in range(1, 2 * len(PARTS) + 1)]
        if done.returncode or None in totals:
            raise RuntimeError(done.stderr)
    return {
        part.name: (total or 0) / part.operations
        for part, total in zip(PARTS, totals[1::2], strict=True)
    }


def _total(dump: Path) -> int | None:
    """What was executed up to a mark, since the one before."""
    if dump.exists():
        for line in dump.read_text(errors="replace").splitlines():
            if line.startswith("totals:"):
                return int(line.split()[1])
    return None


def table(taken: dict[str, float], before: dict[str, float]) -> str:
    """
    Lay the counts out.

    :param taken: the counts.
    :param before: those of another run, or nothing.
    :return: lines for a terminal.
    """
    lines = [
        f"{'instructions':<22}{'for each':<12}{'count':>14}" + f"{'change':>10}" * bool(before)
    ]
    for part in PARTS:
        line = f"{part.name:<22}{part.unit:<12}{taken[part.name]:>14,.0f}"
        if part.name in before:
            line += f"{taken[part.name] / before[part.name] - 1:>+10.2%}"
        lines.append(line)
    return "\n".join(lines)


class InstructionOptions(Options):
    """The command line."""

    synopsis = "python benchmarks/instructions.py [--json FILE] [--compare FILE [--limit PERCENT]]"
    optParameters = [
        ["json", None, None, "Write the counts to this file."],
        ["compare", None, None, "Say how they differ from those in this file."],
        ["limit", None, None, "Fail if one is higher by more than this, percent.", float],
    ]

    def postOptions(self) -> None:
        """
        Check what only makes sense together.

        :raises UsageError: if there is a limit, and nothing to compare with.
        """
        if self["limit"] is not None and not self["compare"]:
            raise UsageError("--limit needs --compare")


def main(arguments: list[str]) -> None:
    """
    Count and print.

    :param arguments: the command line.
    """
    if arguments == ["work"]:
        work()
        return
    options = InstructionOptions()
    try:
        options.parseOptions(arguments)
    except UsageError as error:
        sys.exit(f"{options}\n{error}")
    before = Counted({}, {})
    if options["compare"]:
        before = Counted(**json.loads(Path(options["compare"]).read_text()))
    taken = Counted(versions(), counts())
    comparable = before.versions == taken.versions
    print(table(taken.counts, before.counts))
    if options["json"]:
        report = json.dumps(asdict(taken), indent=1) + "\n"
        Path(options["json"]).write_text(report, encoding="utf-8")
    if options["limit"] is None:
        return
    if not comparable:
        print(f"\nnot compared: counted with {before.versions}, and now with {taken.versions}")
        return
    risen = taken.risenBy(options["limit"] / 100, before)
    if risen:
        sys.exit(
            f"\nhigher by more than {options['limit']:g} %: {', '.join(risen)}. If that is worth"
            f" it, write the counts with --json {options['compare']}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])

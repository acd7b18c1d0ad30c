"""
Where a server's time goes: a flame graph for each workload, and a table of functions.

Run from anywhere::

    python benchmarks/profiles.py [--kind KIND] [--native] [--seconds N] DIRECTORY

py-spy, which the extra ``bench`` brings, looks at the server's stack a thousand times a second
while it is under load; time in which the server waits is left out. It writes
``DIRECTORY/WORKLOAD.svg`` and ``.txt``. With ``--native`` the functions of OpenSSL and of
other compiled libraries are in it, too. It takes about two minutes, and may need root.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.python.usage import Options, UsageError

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import command
import credentials
import flames
from peers import KINDS, RESUMED, THING_KINDS
from processes import Load, Server, program

RATE = 1000
"""How often the stack is looked at, times a second."""

MIB = 1 << 20

SHOWN = 40
"""How many functions each table has."""

SLACK = 60.0
"""How much longer than it should py-spy may take, seconds."""


@dataclass(frozen=True)
class Job:
    """One workload, to be done again and again."""

    name: str
    group: str
    port: str
    sessions: int
    """How many are open all the time; zero to open and close some all the time."""
    call: str = ""
    arguments: tuple[tuple[str, int], ...] = ()
    resumed: bool = False


JOBS = (
    Job("handshake", "X25519", "beat", 0),
    Job("handshake-mlkem", "X25519MLKEM768", "beat", 0),
    Job("handshake-resumed", "X25519", "beat", 0, resumed=True),
    Job("heartbeat-fleet", "X25519", "beat", 200, "beat", (("waves", 5),)),
    Job("heartbeat-single", "X25519", "beat", 1, "beat", (("waves", 300),)),
    Job("server-to-client", "X25519", "download", 1, "download", (("size", 32 * MIB),)),
    Job("client-to-server", "X25519", "upload", 1, "upload", (("size", 32 * MIB),)),
)
"""What is profiled."""

HANDSHAKES = 64
"""How many are open at once where they are opened and closed all the time."""


def profile(job: Job, kind: str, seconds: int, native: bool, directory: Path, into: Path) -> None:
    """
    Profile one workload.

    :param job: the workload.
    :param kind: the kind of server.
    :param seconds: for how long.
    :param native: whether to look into compiled code.
    :param directory: the credentials.
    :param into: where the results go.
    :raises RuntimeError: if py-spy fails.
    """
    server, load = Server(kind, directory), Load(job.group, directory)
    try:
        begin = {"kind": RESUMED if job.resumed else kind, "port": server.ports[job.port]}
        if job.call:
            load.do("open", count=job.sessions, **begin)
        _under(job, begin, load)
        raw = into / f"{job.name}.raw"
        command = [
            *(program("py-spy") or "py-spy", "record", "--pid", str(server.pid), "--function"),
            *("--duration", str(seconds), "--rate", str(RATE), "--format", "raw"),
            *("--output", str(raw), *(["--native"] * native)),
        ]
        spy = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + SLACK + seconds
        while spy.poll() is None and time.monotonic() < end:
            _under(job, begin, load)
        if spy.poll() is None:
            spy.kill()
        if spy.wait():
            raise RuntimeError(f"py-spy ended with {spy.returncode}; does it need to be root?")
        stacks = flames.parse(raw.read_text(), "ReactorBase.mainLoop", "_watchForSteps")
        raw.unlink()
        (into / f"{job.name}.svg").write_text(flames.draw(stacks, f"{kind}: {job.name}"))
        (into / f"{job.name}.txt").write_text(flames.functions(stacks, SHOWN))
    finally:
        load.stop()
        server.stop()


def _under(job: Job, begin: dict[str, Any], load: Load) -> None:
    """Put the server under load, once."""
    if job.call:
        load.do(job.call, **dict(job.arguments))
    else:
        load.do("open", count=HANDSHAKES, **begin)
        load.do("close")


class ProfileOptions(Options):
    """The command line."""

    synopsis = "python benchmarks/profiles.py [--kind KIND] [--native] [--seconds N] DIRECTORY"
    optFlags = [["native", None, "Look into compiled code, too."]]
    optParameters = [
        ["kind", None, "thing", f"The kind of server, one of {', '.join(KINDS)}."],
        ["seconds", None, 10, "How long to look at each workload.", int],
        ["only", None, None, "Only this workload."],
    ]

    def parseArgs(self, directory: str) -> None:
        """
        Take the directory.

        :param directory: where the results go.
        """
        self["directory"] = Path(directory)

    def postOptions(self) -> None:
        """
        Check what can be checked.

        :raises UsageError: if something is unknown or missing.
        """
        if self["kind"] not in KINDS:
            raise UsageError(f"{self['kind']} is no kind of server")
        if program("py-spy") is None:
            raise UsageError("py-spy is missing: pip install py-spy")


def main(arguments: list[str]) -> None:
    """
    Profile everything.

    :param arguments: the command line.
    """
    options: Any = ProfileOptions()
    command.parse(options, arguments)
    options["directory"].mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="thing-benchmark-") as name:
        credentials.create(Path(name), 2000)
        for job in JOBS:
            if options["only"] not in (None, job.name):
                continue
            if options["kind"] not in THING_KINDS and job.group != "X25519":
                continue
            print(job.name, file=sys.stderr, flush=True)
            profile(
                job,
                options["kind"],
                options["seconds"],
                bool(options["native"]),
                Path(name),
                options["directory"],
            )


if __name__ == "__main__":
    main(sys.argv[1:])

"""A function in a process of its own, of whose system calls one fails or is the last."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.rig.check import LeftOut, needProgram
from thing.errors import CredentialError, NotAuthorized

CALLS = (
    *("openat", "mkdir", "mkdirat", "write", "pwrite64", "fchmod", "fchown", "fsync", "ftruncate"),
    *("link", "linkat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir"),
    *("flock", "close"),
)
"""The system calls that change files."""

PATIENCE = 20.0
"""How long strace may take to begin, seconds."""

REFUSED = 3
"""How a process ends whose function fails as it should, with an error of one line."""


@dataclass(frozen=True)
class Ending:
    """How a process ended."""

    code: int
    """Its exit code; negative for a signal."""
    said: str
    """What its function failed with."""
    calls: tuple[str, ...]
    """The system calls of :data:`CALLS` that it made."""

    def each(self) -> Iterator[tuple[str, int]]:
        """Go through the calls: the name of each, and how many of that name there are by then."""
        seen: Counter[str] = Counter()
        for call in self.calls:
            seen[call] += 1
            yield call, seen[call]


def traced(function: Callable[[], object], *inject: str) -> Ending:
    """
    Run a function in a process of its own.

    :param function: what to run.
    :param inject: what is to become of its system calls, as strace has it.
    :return: how that ended.
    :raises LeftOut: if there is no strace, or it may not do that.
    """
    strace = needProgram("strace")
    with tempfile.TemporaryDirectory(prefix="thing-rig-") as scratch:
        said, log = Path(scratch, "said"), Path(scratch, "log")
        wait, go = os.pipe()
        child = os.fork()
        if child == 0:  # It makes no call before it waits, which could be traced or not.
            _child(function, wait, said)
        os.close(wait)
        trace = ",".join(f"?{call}" for call in CALLS)
        options = [f"--inject={each}" for each in inject]
        tracer = subprocess.Popen(
            [strace, "-qq", "-o", log, f"--trace={trace}", *options, "-p", str(child)],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _awaitTracer(child, tracer)
        finally:
            os.write(go, b"\n")
            os.close(go)
            _, status = os.waitpid(child, 0)
            tracer.communicate(timeout=PATIENCE)
        calls = re.findall(r"^(\w+)\(", log.read_text(), re.MULTILINE)
        text = said.read_text() if said.exists() else ""
        return Ending(os.waitstatus_to_exitcode(status), text, tuple(calls))


def _awaitTracer(child: int, tracer: subprocess.Popen[str]) -> None:
    """Wait until a process is traced."""
    end = time.monotonic() + PATIENCE
    while "TracerPid:\t0" in Path(f"/proc/{child}/status").read_text():
        if tracer.poll() is not None or time.monotonic() > end:
            raise LeftOut("strace may not look at another process here")
        time.sleep(0.002)


def _child(function: Callable[[], object], wait: int, said: Path) -> None:
    """Run the function once the other process has written something, and end."""
    code = 1
    try:
        os.read(wait, 1)
        function()
        code = 0
    except (CredentialError, NotAuthorized) as error:
        said.write_text(str(error))
        code = REFUSED
    except BaseException as error:
        said.write_text("".join(traceback.format_exception_only(error)))
    finally:
        os._exit(code)

"""
Run the rig: a check, some, or all.

From the project's directory::

    python -m tests.rig [--short] [--strict] [--json FILE] [NAME ...]
    python -m tests.rig --list

One check runs in this process; of many each has its own, one after the other so that none disturbs
another, or with ``--short`` several at a time. A line is printed for each thing that was tried,
with what was seen. The exit status is 1 if a promise was not kept. What cannot be tried here is
left out, and it is said why; with ``--strict`` the exit status is 1 then, too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from twisted.python.usage import Options, UsageError

from tests.rig.check import CHECKS, promiseOf, run

SHORT_LIMIT = 240.0
"""How long a short form may take at most, on a machine that is busy; seconds."""

AT_ONCE = 4
"""How many short forms run at a time: they mostly wait."""

ENDING = 20.0
"""How long a check that took too long may take to end what it started, seconds."""


class RigOptions(Options):
    """The command line."""

    synopsis = "python -m tests.rig [--short] [--strict] [--json FILE] [NAME ...] | --list"
    optFlags = [
        ["short", None, "The least of each check that can still fail, as in .ci/run."],
        ["strict", None, "Fail, too, if a check is left out, as in .ci/run."],
        ["list", None, "Print the names of the checks, and what each is about."],
    ]
    optParameters = [["json", None, None, "Write all that was found into this file."]]

    def parseArgs(self, *names: str) -> None:
        """
        Take the names.

        :param names: of checks; none for all.
        :raises UsageError: if there is no such check.
        """
        for name in names:
            if name not in CHECKS:
                raise UsageError(f"there is no check {name}; --list tells all")
        self["names"] = names or tuple(CHECKS)


def runApart(name: str, short: bool) -> dict[str, Any]:
    """
    Run a check in a process of its own, and print what it says when it is over.

    :param name: its name.
    :param short: whether in the short form.
    :return: what came of it, as in the file.
    """
    limit = SHORT_LIMIT if short else CHECKS[name]
    over = True
    with tempfile.TemporaryDirectory(prefix="thing-rig-") as directory:
        report = Path(directory, "report")
        options = ["--json", str(report), *(["--short"] if short else [])]
        with subprocess.Popen(
            [sys.executable, "-m", "tests.rig", *options, name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            try:
                said, _ = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                over = False
                process.terminate()
                try:
                    said, _ = process.communicate(timeout=ENDING)
                except subprocess.TimeoutExpired:
                    process.kill()
                    said, _ = process.communicate()
                said += f"{name}: not over after {limit:g} s\n"
        print(said, flush=True)
        with suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads(report.read_text())[0]
            return {**found, "held": found["held"] and over}
    return {"name": name, "held": False, "leftOut": ""}


def runAll(names: Sequence[str], short: bool) -> list[dict[str, Any]]:
    """
    Run checks, each in a process of its own.

    :param names: their names.
    :param short: whether in the short form.
    :return: what came of each.
    """
    if short:  # What may take long first: it is not to be waited for alone.
        names = sorted(names, key=CHECKS.__getitem__, reverse=True)
    with ThreadPoolExecutor(AT_ONCE if short else 1) as pool:
        found = list(pool.map(partial(runApart, short=short), names))
    broken = [each["name"] for each in found if not each["held"]]
    left = [each["name"] for each in found if each["leftOut"]]
    print(f"{len(found) - len(broken) - len(left)} of {len(found)} checks held")
    for title, which in (("left out", left), ("BROKEN", broken)):
        if which:
            print(f"{title}: {', '.join(which)}")
    return found


def main(arguments: Sequence[str]) -> None:
    """
    Run what is asked for.

    :param arguments: the command line.
    :raises SystemExit: with 1 if a promise was not kept, or not tried and all have to be.
    """
    options = RigOptions()
    try:
        options.parseOptions(arguments)
    except UsageError as error:
        sys.exit(f"{options}\n{error}")
    if options["list"]:
        for name in CHECKS:
            print(f"{name:<12}{promiseOf(name)}")
        return
    names, short = options["names"], bool(options["short"])
    if len(names) == 1:
        # However it ends, what it started is ended first.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"{names[0]}: told to end"))
        found = [run(names[0], short, partial(print, flush=True)).plain()]
    else:
        found = runAll(names, short)
    if options["json"]:
        Path(options["json"]).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if not all(each["held"] and not (options["strict"] and each["leftOut"]) for each in found):
        sys.exit(1)


if __name__ == "__main__":
    # The processes of a check import this package, too, wherever they are started.
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent.parent)
    main(sys.argv[1:])

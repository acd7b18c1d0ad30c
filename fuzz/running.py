"""
Runs targets for a time: guided by coverage with atheris, at random without.

What fails is written into a directory, once for each kind and place of failure, and does not stop
the run. A slow input is tried again without atheris, whose instruments cost time themselves.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.util
import random
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import thing
from fuzz.choices import mutation
from fuzz.cost import TooSlow, often

TARGETS = ("sessions", "messages", "credentials", "files", "texts", "requests", "proxies")
"""The targets, what a stranger reaches first."""

CORPUS = Path(__file__).resolve().parent / "corpus"
"""Inputs that reached something new once: a file for each target, base64, one in each line."""

PACKAGE = str(Path(thing.__file__).resolve().parent)
"""Where the code is of which it is told how far an input reaches."""

LONGEST = 4096
"""How long an input is at most, octets."""

MOST_KEPT = 6000
"""How many octets of a target's inputs are kept in the repository."""

MOST_SLOW = 50
"""How many slow inputs a run keeps, to try them again."""


def load(name: str) -> Any:
    """
    Load a target.

    :param name: one of :data:`TARGETS`.
    :return: its module, with ``oneInput`` and ``seeds``.
    """
    return importlib.import_module(f"fuzz.{name}")


def corpus(name: str) -> list[bytes]:
    """
    Read a target's corpus.

    :param name: the target.
    :return: its inputs; none if it has no file.
    """
    path = CORPUS / f"{name}.txt"
    return [base64.b64decode(line) for line in path.read_text().split()] if path.exists() else []


@dataclass
class Finder:
    """
    Tries inputs, and keeps those that fail, one for each sort of failure.

    :ivar inputs: how many were tried.
    :ivar found: where each sort of failure was first seen.
    """

    oneInput: Callable[[bytes], None]
    directory: Path
    inputs: int = 0
    found: dict[str, Path] = field(default_factory=dict)

    def attempt(self, octets: bytes) -> None:
        """
        Try an input.

        :param octets: the input; written down if it fails as none before.
        """
        self.inputs += 1
        try:
            often(self.oneInput, octets)
        except Exception as error:
            self._keep(octets, error)

    def _keep(self, octets: bytes, error: Exception) -> None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        sort = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        if isinstance(error, TooSlow):
            slow = [each for each in self.found if each.startswith("TooSlow")]
            sort = f"TooSlow {len(slow)}, {error}"
            if len(slow) >= MOST_SLOW:
                return
        if sort not in self.found:
            path = self.directory / hashlib.sha256(octets).hexdigest()[:16]
            path.write_bytes(octets)
            self.found[sort] = path
            print(f"FOUND {sort}: {error} ({path})", flush=True)


def atRandom(finder: Finder, seeds: list[bytes], seconds: float, source: random.Random) -> str:
    """
    Try seeds, then mutations of them, for a time.

    :param finder: tries inputs.
    :param seeds: what to start from.
    :param seconds: how long.
    :param source: the source of chance.
    :return: what was covered, in words.
    """
    until = monotonic() + seconds
    for octets in seeds:
        finder.attempt(octets)
        if monotonic() > until:
            break
    while monotonic() < until:
        finder.attempt(mutation(source, seeds)[:LONGEST])
    return "at random"


def guided(name: str, seeds: list[bytes], seconds: float, directory: Path) -> tuple[int, str]:
    """
    Fuzz a target by coverage, in a process of its own.

    :param name: the target.
    :param seeds: what to start from.
    :param seconds: how long.
    :param directory: takes what is found, and in ``reached`` what reached something new.
    :return: how many inputs there were, and what was covered, in libFuzzer's words.
    """
    reached = directory / "reached"
    reached.mkdir(exist_ok=True)
    for octets in seeds:
        (reached / hashlib.sha256(octets).hexdigest()[:16]).write_bytes(octets)
    command = [sys.executable, "-m", "fuzz.guided", name, str(directory), str(reached)]
    options = [f"-max_total_time={seconds:.0f}", f"-max_len={LONGEST}", "-print_final_stats=1"]
    inputs, covered = 0, "nothing"
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("FOUND"):
                print(line, end="", flush=True)
            if stat := re.search(r"#(\d+)\s+\w+\s+(cov: \d+ ft: \d+)", line):
                inputs, covered = int(stat[1]), stat[2]
            if stat := re.match(r"stat::number_of_executed_units: *(\d+)", line):
                inputs = int(stat[1])
    if process.returncode:
        raise RuntimeError(f"the fuzzer ended with {process.returncode}")
    return inputs, covered


def confirmed(target: Any, directory: Path) -> dict[str, Path]:
    """
    Try what was found once more, here and without instruments.

    :param target: the target.
    :param directory: where it is.
    :return: what still fails, by its sort.
    """
    finder = Finder(target.oneInput, directory)
    for path in sorted(each for each in directory.iterdir() if each.is_file()):
        octets = path.read_bytes()
        before = len(finder.found)
        finder.attempt(octets)
        if len(finder.found) == before:
            path.unlink()
    return finder.found


def reach(oneInput: Callable[[bytes], None], octets: bytes) -> set[tuple[str, int, int]]:
    """
    Tell which steps from line to line an input takes in the package; slowly.

    :param oneInput: the target.
    :param octets: the input.
    :return: the steps: a file, the line before, the line.
    """
    steps: set[tuple[str, int, int]] = set()

    def enter(frame: Any, event: str, _: Any) -> Any:
        name: str = frame.f_code.co_filename
        if not name.startswith(PACKAGE):
            return None
        before = 0

        def line(frame: Any, event: str, _: Any) -> Any:
            nonlocal before
            if event == "line":
                steps.add((name, before, frame.f_lineno))
                before = frame.f_lineno
            return line

        return line

    sys.settrace(enter)
    try:
        with suppress(Exception):  # What fails is told elsewhere; to be traced takes long.
            oneInput(octets)
    finally:
        sys.settrace(None)
    return steps


def smallest(
    oneInput: Callable[[bytes], None], seeds: Iterable[bytes], others: Iterable[bytes], most: int
) -> list[bytes]:
    """
    Choose those inputs that reach what the seeds do not, the shortest first.

    :param oneInput: the target.
    :param seeds: what is tried in any case.
    :param others: what to choose from.
    :param most: how many octets to choose at most.
    :return: the choice.
    """
    reached: set[tuple[str, int, int]] = set()
    for octets in seeds:
        reached |= reach(oneInput, octets)
    chosen: list[bytes] = []
    for octets in sorted(set(others), key=lambda each: (len(each), each)):
        if sum(map(len, chosen)) + len(octets) > most:
            break
        steps = reach(oneInput, octets)
        if not steps <= reached:
            reached |= steps
            chosen.append(octets)
    return chosen


def keep(name: str, chosen: Iterable[bytes]) -> None:
    """
    Write a target's corpus.

    :param name: the target.
    :param chosen: its inputs.
    """
    CORPUS.mkdir(exist_ok=True)
    lines = [base64.b64encode(octets).decode() + "\n" for octets in chosen]
    (CORPUS / f"{name}.txt").write_text("".join(lines))


def isGuided() -> bool:
    """
    Tell whether atheris is here.

    :return: whether it is.
    """
    return importlib.util.find_spec("atheris") is not None


def newDirectory() -> Path:
    """
    Make a directory for what is found.

    :return: its path.
    """
    return Path(tempfile.mkdtemp(prefix="thing-fuzz-"))

"""What the commands have in common: how each begins, and what becomes of what it measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from goals import Verdict
from measure import Result, plain
from twisted.python.usage import Options, UsageError


def parse(options: Options, arguments: Sequence[str]) -> None:
    """
    Read a command line, or say what is wrong with it.

    :param options: reads it.
    :param arguments: the command line.
    :raises SystemExit: if it is wrong.
    """
    try:
        options.parseOptions(arguments)
    except UsageError as error:
        sys.exit(f"{options}\n{error}")


def tell(text: str) -> None:
    """
    Say what is being done; standard output has the tables.

    :param text: what to say.
    """
    print(text, file=sys.stderr, flush=True)


def counted(workload: str, figures: Mapping[str, tuple[str, float]]) -> list[Result]:
    """
    Have what a long run counted as results.

    :param workload: what the run is called.
    :param figures: by name, what was counted: the unit and the figure.
    :return: the results.
    """
    return [Result.of(workload, name, unit, [figure]) for name, (unit, figure) in figures.items()]


def listing(results: Iterable[Result]) -> str:
    """
    Lay out what a long run counted.

    :param results: the results.
    :return: a line for each.
    """
    return "\n".join(f"{each.peer:<52}{each.median:>12.2f} {each.unit}" for each in results)


def write(
    path: str | None, results: list[Result], verdicts: Iterable[Verdict] | None = None, **about: Any
) -> None:
    """
    Keep what was measured.

    :param path: the file; None for nowhere.
    :param results: the figures.
    :param verdicts: whether the goals were met; None if there are none.
    :param about: what else is said of the run, before them.
    """
    if not path:
        return
    report = {**about, "results": plain(results)}
    if verdicts is not None:
        report["goals"] = [asdict(verdict) for verdict in verdicts]
    Path(path).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def endBy(verdicts: Iterable[Verdict]) -> None:
    """
    End with the exit status that the verdicts have.

    :param verdicts: the verdicts.
    :raises SystemExit: with 1, if a goal was missed.
    """
    if any(verdict.met is False for verdict in verdicts):
        sys.exit(1)

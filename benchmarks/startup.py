"""How much CPU time ``twistd thing --help`` takes beyond ``twistd --help``: Thing's imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from processes import HERE

COMMANDS = {"twistd": ["--help"], "twistd thing": ["thing", "--help"]}
"""The arguments of both, by what the table calls them."""

TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
"""The program ``twistd``, wherever it is installed."""


def cost(arguments: list[str], directory: Path) -> float:
    """
    Run twistd.

    :param arguments: its arguments.
    :param directory: where.
    :return: the CPU time that it took, the user's and the system's, milliseconds.
    :raises RuntimeError: if it fails.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", TWISTD, *arguments],
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"twistd {arguments} failed")
    return (usage.ru_utime + usage.ru_stime) * 1000


def measure(directory: Path, rounds: int) -> dict[str, list[float]]:
    """
    Run both by turns, the first time unmeasured.

    :param directory: where.
    :param rounds: how often.
    :return: for each command its figures.
    """
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            figure = cost(arguments, directory)
            if number:
                taken[name].append(figure)
    return taken

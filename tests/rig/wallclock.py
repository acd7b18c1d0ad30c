"""
A wall clock that is set while a process runs, and no other clock with it.

A little library between the process and libc, built with ``cc``. libfaketime does too much: with it
``clock_nanosleep``, and so each ``time.sleep`` of Python, takes the steady clock for the wall's.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.rig.check import needProgram

SOURCE = Path(__file__).with_suffix(".c")


class WallClock:
    """
    The wall clock of whatever is started with its environment.

    :ivar environment: what such a process has to have.
    """

    def __init__(self, directory: Path, name: str) -> None:
        """
        :param directory: for its files.
        :param name: whose it is.
        :raises LeftOut: if there is no compiler.
        """
        library = directory / "wallclock.so"
        if not library.exists():
            compiler = needProgram("cc")
            options = ("-shared", "-fPIC", "-O1", "-Wall", "-Werror")
            subprocess.run([compiler, *options, "-o", library, SOURCE], check=True)
        self._file = os.open(directory / f"{name}.clock", os.O_RDWR | os.O_CREAT, 0o600)
        self.environment = {
            "LD_PRELOAD": str(library),
            "RIG_WALL_CLOCK": str(directory / f"{name}.clock"),
        }
        self.set(0)

    def set(self, ahead: int) -> None:
        """
        Set it.

        :param ahead: how far it is ahead of the machine's from now on, seconds.
        """
        os.pwrite(self._file, ahead.to_bytes(8, "little", signed=True), 0)

    def close(self) -> None:
        """Close its file."""
        os.close(self._file)

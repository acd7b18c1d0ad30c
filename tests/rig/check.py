"""
What a check is, which there are, and what the rig makes of what they find.

A check is a module with a function ``check(short)``, which yields a :class:`Row` for each thing
that it tried, as it tries it. The first sentence of the module's docstring says what is
promised, as a user would be told. It ends what it starts, bounds what it waits for, and needs no
more than a temporary directory, the loopback, and namespaces that it makes; what it needs
besides and does not find makes it raise :class:`LeftOut`. With ``short`` it does the least that
can still fail, within two seconds or so.
"""

from __future__ import annotations

import importlib
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from twisted.internet.task import react

T = TypeVar("T")

CHECKS: dict[str, float] = {
    "bulk": 1800.0,
    "clocks": 1200.0,
    "disks": 900.0,
    "killed": 600.0,
    "links": 1800.0,
    "openfiles": 600.0,
    "pauses": 600.0,
    "soak": 5400.0,
    "stalls": 2700.0,
    "streams": 300.0,
    "tampering": 900.0,
}
"""The checks, in the order of the alphabet, and how long each may take at most, seconds."""


@dataclass(frozen=True)
class Row:
    """One thing that was tried."""

    what: str
    """What was done, to whom."""
    figure: str
    """What was seen, with its unit."""
    held: bool
    """Whether that is as promised."""

    def __str__(self) -> str:
        return f"  {self.what:<60}{self.figure:>40}{'' if self.held else '  BROKEN'}"


class LeftOut(Exception):
    """Something is missing here that the check needs; the text says what."""


@dataclass
class Result:
    """What came of a check."""

    name: str
    promise: str
    rows: list[Row] = field(default_factory=list)
    leftOut: str = ""
    """Why it was left out, if it was."""
    seconds: float = 0.0

    @property
    def held(self) -> bool:
        """Whether the promise was kept, or not put to the proof."""
        return all(row.held for row in self.rows) and bool(self.rows or self.leftOut)

    def __str__(self) -> str:
        if self.leftOut:
            return f"{self.name}: left out: {self.leftOut}"
        held = sum(row.held for row in self.rows)
        return f"{self.name}: {held} of {len(self.rows)} held ({self.seconds:.1f} s)"

    def plain(self) -> dict[str, Any]:
        """The result as it is kept in a file."""
        return {**asdict(self), "held": self.held}


def promiseOf(name: str) -> str:
    """The first sentence of a check's docstring."""
    text = importlib.import_module(f"tests.rig.{name}").__doc__ or ""
    return " ".join(text.partition("\n\n")[0].split())


def run(name: str, short: bool, tell: Callable[[str], object]) -> Result:
    """
    Run one check to its end.

    :param name: its name.
    :param short: whether in the short form.
    :param tell: is given each line for people.
    :return: what came of it.
    """
    module = importlib.import_module(f"tests.rig.{name}")
    result = Result(name, promiseOf(name))
    tell(f"{name}: {result.promise}")
    began = time.monotonic()
    try:
        for row in module.check(short):
            result.rows.append(row)
            tell(str(row))
    except LeftOut as missing:
        result.leftOut = str(missing)
    result.seconds = time.monotonic() - began
    tell(str(result))
    return result


def reacting(main: Callable[..., Awaitable[T]], *arguments: object) -> T:
    """
    Do something on the reactor, which a process can run once.

    :param main: is called with the reactor and the arguments.
    :param arguments: what it gets.
    :return: what it returns.
    """
    found: list[T] = []

    async def keep(reactor: object) -> None:
        found.append(await main(reactor, *arguments))

    try:
        react(keep)
    except SystemExit as end:
        if end.code:
            raise
    return found[0]


def needProgram(name: str) -> str:
    """
    Look for a program.

    :param name: its name.
    :return: its path.
    :raises LeftOut: if it is not installed.
    """
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if path is None:
        raise LeftOut(f"{name} is not installed")
    return path


def needRoot() -> None:
    """
    See whether this process may do what only root may.

    :raises LeftOut: if not.
    """
    if os.geteuid() != 0:
        raise LeftOut("only root may do that")

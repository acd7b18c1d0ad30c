"""
Have Spin look at every state of the models, and at mutations, of each of which it must find fault.

``python -m formal.spin.run`` needs ``spin`` and ``gcc``, and takes no arguments. It prints of each
run the states, the seconds and the verdict, and the hash of what was looked at. The exit status is
0 if all is as it should be, 1 if not, 2 for an argument, 77 if there is no Spin.
``docs/proof-states.rst`` says what the models are.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from formal.run import SKIPPED
from formal.spin.tables import PAGE, tables

DIRECTORY = Path(__file__).resolve().parent

DEPTH = 2_000_000
"""How many steps a run may have."""

TIME_LIMIT = 300
"""How long Spin may look at one model, seconds."""

_STATES = re.compile(r"^ *(\d+) states, stored", re.MULTILINE)
_ERROR = re.compile(r"^pan:1: (.*?)(?: \(at depth \d+\))?$", re.MULTILINE)


@dataclass(frozen=True)
class Model:
    """
    A model, whole or mutated.

    :ivar name: what it is called.
    :ivar file: which file it is in.
    :ivar define: the macro that chooses between its two forms; empty if it has one.
    :ivar old: what a mutation changes, in the model or in the tables; it must stand there once.
    :ivar new: what stands there instead.
    """

    name: str
    file: str
    define: str = ""
    old: str = ""
    new: str = ""


MODELS = (
    Model("endings that anything may befall", "ends.pml"),
    Model("goodbyes that cross", "ends.pml", "PEACE"),
    Model("streams, one after the other", "streams.pml"),
    Model("credit, windows that grow", "credit.pml", "GROWING"),
    Model("credit, three streams in turn", "credit.pml"),
)
"""The models; Spin must find no fault of any."""

MUTATIONS = (
    Model(
        "a table without a stop that crosses a goodbye",
        "ends.pml",
        "PEACE",
        "        :: input == CST -> state[SERVER] = CLOSING\n",
    ),
    Model(
        "a table without SGA that crosses CGB",
        "ends.pml",
        "PEACE",
        "        :: input == SGA -> state[CLIENT] = AWAIT_SGB\n",
    ),
    Model(
        "SGB goes before the data",
        "ends.pml",
        "PEACE",
        "!sga && other[SERVER] == 0 && !waiting[SERVER] && farewell[SERVER]",
        "!sga && other[SERVER] == 0 && farewell[SERVER]",
    ),
    Model(
        "SGA though CGB came",
        "ends.pml",
        "PEACE",
        "leaving = state[SERVER] != GOING_AWAY || parting[SERVER]",
        "leaving = state[SERVER] != GOING_AWAY",
    ),
    Model(
        "a client that leaves has no deadline",
        "ends.pml",
        "",
        "farewell[CLIENT] = true; limited[CLIENT] = true",
        "farewell[CLIENT] = true",
    ),
    Model(
        "SGB and the stream's end are clean",
        "ends.pml",
        "",
        "endTold(SERVER, CLIENT, BY_TRUNCATED) }",
        "endTold(SERVER, CLIENT, (state[SERVER] == AWAIT_CFL -> BY_GOODBYE : BY_TRUNCATED)) }",
    ),
    Model(
        "deadlines outlive the end",
        "ends.pml",
        "",
        "    watched[me] = false; limited[me] = false;\n",
    ),
    Model(
        "a place outlives both ENDs",
        "streams.pml",
        "",
        "k == CST || (k == END && AT(halfClosed)) ->",
        "k == CST ->",
    ),
    Model(
        "a table that forgets END",
        "streams.pml",
        "",
        "        :: input == ACCEPTED -> STREAM = SENT_END\n",
        "        :: input == ACCEPTED -> STREAM = OPEN\n",
    ),
    Model(
        "credit goes before the acceptance",
        "streams.pml",
        "",
        "AT(grants) && !AT(accepts) ->",
        "AT(grants) ->",
    ),
    Model(
        "a window of one record",
        "credit.pml",
        "",
        "#define MIN_WINDOW 2",
        "#define MIN_WINDOW 1",
    ),
    Model(
        "no credit for a whole record",
        "credit.pml",
        "",
        "due || (n == 0 && held[n] == 0 && room[n] < WHOLE) ->",
        "due ->",
    ),
    Model(
        "a stream goes without credit",
        "credit.pml",
        "",
        "!inTurn[n] && left[n] >= next[n] ->",
        "!inTurn[n] ->",
    ),
    Model("the first stream goes first", "credit.pml", "", "turns!n;", "turns!!n;"),
)
"""Changes to the models; Spin must find a fault of each."""


@dataclass(frozen=True)
class Verdict:
    """
    What came of a run.

    :ivar states: how many states Spin has seen.
    :ivar seconds: how long that took, with the compiler.
    :ivar error: the fault that it found; empty for none.
    """

    states: int
    seconds: float
    error: str


def check(model: Model) -> Verdict:
    """
    Have Spin look at all states of a model.

    :param model: the model.
    :return: what came of it.
    :raises RuntimeError: if the model cannot be read, or is too big.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        for name, text in texts(model).items():
            (Path(directory) / name).write_text(text)
        defines = [f"-D{model.define}"] if model.define else []
        _run(directory, "spin", "-a", *defines, model.file)
        _run(directory, "gcc", "-w", "-DSAFETY", "-o", "pan", "pan.c")
        said = _run(directory, "./pan", f"-m{DEPTH}")
    states, error = _STATES.search(said), _ERROR.search(said)
    if states is None or "max search depth too small" in said:
        raise RuntimeError(f"{model.name}: {said[:2000]}")
    return Verdict(int(states[1]), time.monotonic() - began, error[1] if error else "")


def texts(model: Model) -> dict[str, str]:
    """
    Give the text that Spin gets.

    :param model: the model.
    :return: the text of each file.
    :raises ValueError: if what is to be mutated is not there just once.
    """
    files = {name: (DIRECTORY / name).read_text() for name in (model.file, PAGE.name)}
    if model.old:
        if sum(text.count(model.old) for text in files.values()) != 1:
            raise ValueError(f"{model.name}: what it changes is not there just once")
        files = {name: text.replace(model.old, model.new) for name, text in files.items()}
    return files


def digest() -> str:
    """:return: the SHA-256 of all that Spin gets; the page has that of what it tells of."""
    hashed = hashlib.sha256()
    for model in (*MODELS, *MUTATIONS):
        hashed.update(f"{model.name}\n{model.define}\n".encode())
        for name, text in sorted(texts(model).items()):
            hashed.update(f"{name}\n{text}".encode())
    return hashed.hexdigest()


def _run(directory: str, *command: str) -> str:
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def main(arguments: list[str]) -> int:
    """
    Look at all models and all mutations, two at a time.

    :param arguments: of the command: none.
    :return: the exit status.
    """
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    if shutil.which("spin") is None or shutil.which("gcc") is None:
        print("Skipped: spin and gcc are not both there")
        return SKIPPED
    if PAGE.read_text() != tables():
        print("tables.pml is not what the code gives: run python -m formal.spin.tables")
        return 1
    good = True
    every = (*MODELS, *MUTATIONS)
    with ThreadPoolExecutor(2) as pool:
        for model, verdict in zip(every, pool.map(check, every), strict=True):
            right = bool(verdict.error) is bool(model.old)
            good = good and right
            found = verdict.error[:60] or "no fault"
            mark = "" if right else "   WRONG"
            print(
                f"{model.name:<46} {verdict.states:>8} states {verdict.seconds:5.1f} s"
                f"  {found}{mark}",
                flush=True,
            )
    print(f"All of it was of {digest()}")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

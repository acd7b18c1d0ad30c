"""The command ``python -m fuzz``."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from fuzz import running
from fuzz.cost import often


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run what the command line says.

    :param arguments: the command line; that of the process by default.
    :return: 0 if nothing was found, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz targets.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(running.TARGETS))
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--plain", action="store_true", help="at random, although atheris is here")
    parser.add_argument("--seed", type=int, default=0, help="of what is random, without atheris")
    parser.add_argument("--found", type=Path, help="a directory for what is found")
    parser.add_argument("--input", type=Path, help="try this file alone, with one target")
    parser.add_argument("--keep", action="store_true", help="choose the corpus anew")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.targets) - set(running.TARGETS)
    if unknown or (chosen.input and len(chosen.targets) != 1):
        parser.error(f"a target is one of {', '.join(running.TARGETS)}")
    if chosen.input:
        often(running.load(chosen.targets[0]).oneInput, chosen.input.read_bytes())
        return 0
    targets = chosen.targets or list(running.TARGETS)
    chosen.seconds /= len(targets)
    chosen.found = chosen.found or running.newDirectory()
    return int(sum([_run(name, chosen) for name in targets]) > 0)


def _run(name: str, chosen: argparse.Namespace) -> int:
    """Fuzz one target; how many sorts of failure were found."""
    target = running.load(name)
    directory: Path = chosen.found / name
    directory.mkdir(parents=True, exist_ok=True)
    seeds = target.seeds() + running.corpus(name)
    if running.isGuided() and not chosen.plain:
        inputs, covered = running.guided(name, seeds, chosen.seconds, directory)
    else:
        finder = running.Finder(target.oneInput, directory)
        covered = running.atRandom(finder, seeds, chosen.seconds, random.Random(chosen.seed))
        inputs = finder.inputs
    found = running.confirmed(target, directory)
    print(f"{name}: {inputs} inputs, {covered}, {len(found)} found", flush=True)
    if chosen.keep:
        reached = [each.read_bytes() for each in (directory / "reached").glob("*")]
        fresh = running.smallest(
            target.oneInput, target.seeds(), running.corpus(name) + reached, running.MOST_KEPT
        )
        running.keep(name, fresh)
    return len(found)


if __name__ == "__main__":
    sys.exit(main())

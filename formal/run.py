"""
Run ProVerif on the models, or check that its results are current.

``PROVERIF=PATH python -m formal.run [--all] [NAME ...]`` runs what has changed since the results
were written, or all; only runs whose names have one of NAME in them. It writes the results and the
tables of ``docs/proof.rst``. ``--check`` needs no ProVerif and writes nothing; ``--show NAME``
prints the text that ProVerif gets.

The exit status is 0 if all is as it should be, 1 if not, 2 for an option that it does not know,
77 if there is no ProVerif.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from formal import endings, groups, preshared, records, sessions, signatures
from formal.claims import Run, Verdict, runs
from formal.results import PAGE, Result, faults, load, page, save, settled

MODELS = (
    *(*signatures.MODELS, *groups.MODELS, *preshared.MODELS),
    *(*records.MODELS, *endings.MODELS, *sessions.MODELS),
)
"""All models, in the page's order."""

SKIPPED = 77
"""The exit status that says that nothing was run: that of automake's tests."""

TIME_LIMIT = 3600
"""How long one run may take, seconds of CPU."""

MEMORY_LIMIT = 4 << 30
"""How much memory one run may take, octets."""

_RESULT = re.compile(r"^RESULT .* (is true|is false|cannot be proved)\.?$", re.MULTILINE)


def main(arguments: list[str]) -> int:
    """
    Run what has to be run, or check.

    :param arguments: of the command.
    :return: the exit status.
    """
    options = [each for each in arguments if each.startswith("--")]
    names = [each for each in arguments if not each.startswith("--")]
    if options not in ([], ["--all"], ["--check"], ["--show"]):
        print(__doc__, file=sys.stderr)
        return 2
    chosen = [run for run in runs(MODELS) if any(name in run.name for name in names or ("",))]
    if options == ["--show"]:
        print("\n".join(run.text() for run in chosen if run.name in names))
        return 0
    if options == ["--check"]:
        return _check()
    proverif = os.environ.get("PROVERIF")
    if not proverif:
        print("Skipped: nothing was run, as PROVERIF does not say where ProVerif is")
        return SKIPPED
    return _runAll(Path(proverif).resolve(), chosen, again=options == ["--all"])


def _check() -> int:
    found = list(faults(MODELS, load()))
    text = PAGE.read_text()
    if page(MODELS, load(), text) != text:
        found.append(f"{PAGE.name}: its tables are not those of the results")
    print("\n".join(found or ["The results are those of the models."]))
    return int(bool(found))


def _runAll(proverif: Path, chosen: list[Run], *, again: bool) -> int:
    results = load()
    due = [run for run in chosen if again or not settled(run, results.get(run.name))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for run, result in zip(due, pool.map(partial(prove, proverif), due), strict=True):
            results[run.name] = result
            save(results)
            good = Verdict(result.verdict) is run.expected
            mark = "" if good else f"   WRONG: expected {run.expected.value}"
            print(f"{run.name:<60} {result.verdict:<7} {result.seconds:7.1f} s{mark}", flush=True)
    known = {run.name for run in runs(MODELS)}
    results = {name: each for name, each in results.items() if name in known}
    save(results)
    PAGE.write_text(page(MODELS, results, PAGE.read_text()))
    return int(not all(settled(run, results.get(run.name)) for run in chosen))


def prove(proverif: Path, run: Run) -> Result:
    """
    Run ProVerif once.

    :param proverif: the program.
    :param run: what to run.
    :return: what it said; "open" if it did not end in time.
    :raises RuntimeError: if it does not understand the model.
    """
    with tempfile.TemporaryDirectory() as directory:
        model, said = Path(directory) / "model.pv", Path(directory) / "said"
        model.write_text(run.text())
        sha256 = run.hash()
        with said.open("w") as output:
            child = subprocess.Popen([proverif, model], stdout=output, stderr=output)
            resource.prlimit(child.pid, resource.RLIMIT_CPU, (TIME_LIMIT, TIME_LIMIT))
            resource.prlimit(child.pid, resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        text = said.read_text()
    answers = _RESULT.findall(text)
    if not answers and child.returncode >= 0 and "Error:" in text:
        raise RuntimeError(f"{run.name}: {text[-2000:]}")
    return Result(sha256, _verdict(answers).value, round(used.ru_utime + used.ru_stime, 1))


def _verdict(answers: list[str]) -> Verdict:
    """All queries of a claim in one: it is proved if each is, and broken if one is."""
    if "is false" in answers:
        return Verdict.BROKEN
    if answers and set(answers) == {"is true"}:
        return Verdict.PROVED
    return Verdict.OPEN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What ProVerif said, kept in the repository, and the page's tables of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from formal.claims import Model, Run, Verdict, runs

FORMAL = Path(__file__).resolve().parent
RESULTS = FORMAL / "results.json"
PAGE = FORMAL.parent / "docs" / "proof.rst"

_BLOCK = re.compile(
    r"^(\.\. begin generated: (?P<name>[^\n]+)\n).*?^(\.\. end generated: (?P=name)\n)",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Result:
    """
    What came of a run.

    :ivar sha256: the hash of the text that ProVerif had.
    :ivar verdict: what it said.
    :ivar seconds: how much CPU that took.
    """

    sha256: str
    verdict: str
    seconds: float


Results = Mapping[str, Result]


def load(path: Path = RESULTS) -> dict[str, Result]:
    """
    Read the results.

    :param path: where they are.
    :return: the result of each run, by its name.
    """
    kept = json.loads(path.read_text()) if path.exists() else {}
    return {name: Result(**each) for name, each in kept.items()}


def save(results: Results, path: Path = RESULTS) -> None:
    """
    Write the results.

    :param results: the result of each run, by its name.
    :param path: where they go.
    """
    kept = {name: asdict(results[name]) for name in sorted(results)}
    path.write_text(json.dumps(kept, indent=1) + "\n")


def faults(models: tuple[Model, ...], results: Results) -> Iterator[str]:
    """
    Tell what is not as it should be.

    :param models: the models.
    :param results: the result of each run.
    :return: a line for each run that is missing, that was of another text, or whose verdict is
        another than was claimed; and for each result that belongs to no run.
    """
    names = set()
    for run in runs(models):
        names.add(run.name)
        result = results.get(run.name)
        if result is None:
            yield f"{run.name}: it was never run"
        elif result.sha256 != run.hash():
            yield f"{run.name}: the model or the query has changed since it was run"
        elif result.verdict != run.expected.value:
            yield f"{run.name}: {result.verdict}, and not {run.expected.value}"
    for name in sorted(set(results) - names):
        yield f"{name}: there is no such run any more"


def page(models: tuple[Model, ...], results: Results, text: str) -> str:
    """
    The page with its tables as they are now.

    :param models: the models; each has two tables, ``claims NAME`` and ``mutations NAME``.
    :param results: the result of each run.
    :param text: the page.
    :return: the new text.
    :raises ValueError: if a table is missing on the page, or there twice.
    """
    draw = {}
    for model in models:
        draw[f"claims {model.name}"] = _claims(model, results)
        draw[f"mutations {model.name}"] = _mutations(model, results)
    names = [match["name"] for match in _BLOCK.finditer(text)]
    if sorted(names) != sorted(draw):
        raise ValueError(f"the page's tables are {names}")
    return _BLOCK.sub(lambda match: f"{match[1]}\n{draw[match['name']]}\n\n{match[3]}", text)


def _claims(model: Model, results: Results) -> str:
    rows = [("claim", "in the words of :doc:`security`", "query", "verdict", "seconds")]
    for claim in model.claims:
        sentence = claim.sentence or "(it shows that the model does something)"
        query = f"``{' '.join(_queries(claim.query).split())}``"
        result = results.get(Run(model, claim).name)
        verdict = claim.verdict.value + (f": {claim.why}" if claim.why else "")
        rows.append((f"``{claim.name}``: {claim.what}", sentence, query, verdict, _seconds(result)))
    return _table(rows, (22, 28, 32, 10, 8))


def _mutations(model: Model, results: Results) -> str:
    rows = [("what is taken out or changed", "claim", "then it is", "seconds")]
    for run in runs((model,)):
        if run.mutation is not None:
            verdict = run.expected.value
            if run.mutation.why:
                verdict += f": {run.mutation.why}"
            what = f"{run.mutation.what} (``{run.mutation.name}``)"
            seconds = _seconds(results.get(run.name))
            rows.append((what, f"``{run.claim.name}``", verdict, seconds))
    return _table(rows, (38, 14, 40, 8)) if len(rows) > 1 else "There are none."


def _queries(query: str) -> str:
    """A query without the variables that it names, for readers."""
    return re.sub(r"^query [^;(]*;\s", "query ", query.strip(), flags=re.MULTILINE)


def _seconds(result: Result | None) -> str:
    return "" if result is None else f"{result.seconds:.1f}"


def _table(rows: list[tuple[str, ...]], widths: Iterable[int]) -> str:
    lines = [".. list-table::", "   :header-rows: 1"]
    lines += [f"   :widths: {' '.join(map(str, widths))}", ""]
    for row in rows:
        for number, cell in enumerate(row):
            lines.append(f"   {'  ' if number else '* '}- {cell}".rstrip())
    return "\n".join(lines)


def settled(run: Run, result: Result | None) -> bool:
    """
    Tell whether a run need not be made again.

    :param run: the run.
    :param result: what came of it the last time.
    :return: whether that was of the same text, with the verdict that it must have.
    """
    if result is None or result.sha256 != run.hash():
        return False
    return Verdict(result.verdict) is run.expected

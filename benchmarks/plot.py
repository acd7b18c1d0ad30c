"""The results as a picture; needs matplotlib, which the extra ``bench`` brings."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from goals import Verdict
from measure import Result

OURS, THEIRS, MISSED = "#2a7f62", "#9aa5b1", "#c0392b"
COLUMNS = 3


def draw(results: list[Result], verdicts: list[Verdict], path: Path) -> None:
    """
    Draw a run.

    :param results: its results; each workload gets a panel.
    :param verdicts: the last panel shows them.
    :param path: where to; the name's ending tells the format, ``.svg`` or ``.png``.
    :raises ImportError: if there is no matplotlib.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "thing"  # The same figures make the same file.
    titles = list(dict.fromkeys(each.workload for each in results))
    rows = -(-len(titles) // COLUMNS)
    figure = pyplot.figure(figsize=(14, 2.6 * rows + 6), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(2.6 * rows, 6))
    panels = upper.subplots(rows, COLUMNS, squeeze=False).flat
    for panel, title in zip(panels, titles, strict=False):
        _workload(panel, title, [each for each in results if each.workload == title])
    for panel in list(panels)[len(titles) :]:
        panel.axis("off")
    _goals(lower.subplots(), [each for each in verdicts if each.figure is not None])
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _workload(panel: Any, title: str, results: list[Result]) -> None:
    """One bar for each peer, its median; the line is from quartile to quartile."""
    names = [each.peer for each in results]
    medians = [each.median for each in results]
    colours = [OURS if name.startswith("Thing") else THEIRS for name in names]
    below, above = zip(*(_reach(each) for each in results), strict=True)
    panel.barh(names, medians, color=colours, xerr=(below, above), error_kw={"elinewidth": 1})
    panel.invert_yaxis()
    panel.set_title(f"{title}, {results[0].unit}", fontsize=10)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _reach(result: Result) -> tuple[float, float]:
    if len(result.rounds) < 2:
        return 0.0, 0.0
    low, _, high = statistics.quantiles(result.rounds, n=4, method="inclusive")
    return result.median - low, high - result.median


def _goals(panel: Any, verdicts: list[Verdict]) -> None:
    """How much of each goal's limit was used; of a limit of zero each one is as bad as double."""
    parts = [
        (verdict.figure or 0.0) / verdict.limit if verdict.limit else 2 * (verdict.figure or 0.0)
        for verdict in verdicts
    ]
    colours = [OURS if verdict.met else MISSED for verdict in verdicts]
    panel.barh([verdict.goal for verdict in verdicts], parts, color=colours)
    panel.axvline(1.0, color="black", linewidth=1)
    panel.invert_yaxis()
    panel.set_title("goals: figure / limit; beyond the line a goal is missed", fontsize=10)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)

"""What Thing is to cost at most, and whether it did in a run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import workloads as w
from measure import Result

LOST_ALIVE = "sessions lost that should live"

FOUND_LATE = "frozen sessions found after TTL + 1 s"

FOUND_LATE_RUNNING = "the same, time of the server's stalls left out"
FOUND_LATE_GRACED = "the same, the grace for them left out, too"
"""
What :mod:`endurance` counts: a server that stands still finds nobody, and by the specification
it gives whom it could not hear as much time again.
"""

ENDURANCE = "endurance"
"""The workload of :mod:`endurance`."""

CHURN = "churn"
"""The workload of :mod:`churn`."""

LOST_IN_CHURN = "sessions lost while others come and go"
PAUSES = "pauses of the collector above 20 ms"
LAGS = "lags of the loop above 100 ms"


class Figures:
    """The results of one run, to be asked for."""

    def __init__(self, results: Iterable[Result]) -> None:
        """:param results: the results."""
        self._rounds = {(each.workload, each.peer): each.rounds for each in results}

    def rounds(self, workload: str, peer: str) -> list[float]:
        """
        Look a result up.

        :param workload: what was measured.
        :param peer: of which peer.
        :return: the figure of each round.
        :raises KeyError: if it was not measured.
        """
        return self._rounds[workload, peer]

    def ratio(self, workload: w.Workload, ours: w.Peer, theirs: w.Peer) -> float:
        """
        Compare two peers within each round.

        :param workload: what was measured.
        :param ours: the first peer.
        :param theirs: the second.
        :return: the first's cost divided by the second's, the median over the rounds.
        :raises KeyError: if one was not measured.
        """
        pairs = zip(
            self.rounds(workload.title, ours.name),
            self.rounds(workload.title, theirs.name),
            strict=True,
        )
        return statistics.median(a / b for a, b in pairs)

    def median(self, workload: str, peer: str) -> float:
        """
        Sum a result up.

        :param workload: what was measured.
        :param peer: of which peer.
        :return: the median over the rounds.
        :raises KeyError: if it was not measured.
        """
        return statistics.median(self.rounds(workload, peer))


@dataclass(frozen=True)
class Goal:
    """Something to stay within."""

    title: str
    unit: str
    limit: float
    measure: Callable[[Figures], float]

    def judge(self, figures: Figures) -> Verdict:
        """
        Compare a run with the goal.

        :param figures: the run's.
        :return: the verdict.
        """
        try:
            figure = self.measure(figures)
        except KeyError:
            return Verdict(self.title, self.unit, self.limit, None, None)
        return Verdict(self.title, self.unit, self.limit, figure, figure <= self.limit)


@dataclass(frozen=True)
class Verdict:
    """Whether a goal was met in a run."""

    goal: str
    unit: str
    limit: float
    figure: float | None
    """What was measured; None if nothing was."""
    met: bool | None

    @property
    def word(self) -> str:
        """The verdict in a word or two."""
        return "not measured" if self.met is None else "met" if self.met else "MISSED"


def _relative(
    title: str, workload: w.Workload, theirs: w.Peer, limit: float, ours: w.Peer = w.THING
) -> Goal:
    name = f"{title}: {ours.name} / {theirs.name}"
    return Goal(name, "", limit, lambda figures: figures.ratio(workload, ours, theirs))


def _hybrid(figures: Figures) -> float:
    rounds = (figures.rounds(w.HANDSHAKE.title, peer.name) for peer in (w.THING_HYBRID, w.THING))
    return statistics.median(a - b for a, b in zip(*rounds, strict=True))


def _crowded(figures: Figures) -> float:
    crowd = figures.rounds(w.CROWD.title, w.CROWD_THING.name)
    fleet = figures.rounds(w.FLEET.title, w.THING.name)
    return statistics.median(a / b for a, b in zip(crowd, fleet, strict=True))


def _overPlain(figures: Figures, peer: w.Peer, plain: w.Peer = w.TCP) -> float:
    """What an idle session takes beyond a plain one, KB."""
    first, second = (figures.median(w.MEMORY.title, each.name) for each in (peer, plain))
    return first - second


def _memory(figures: Figures, theirs: w.Peer, plain: w.Peer) -> float:
    beyond = _overPlain(figures, theirs, plain)
    if beyond <= 0:
        raise KeyError("too few sessions to tell")
    return _overPlain(figures, w.THING) / beyond


def _worst(figures: Figures) -> float:
    return max(
        figure
        for direction in ("server to client", "client to server")
        for figure in figures.rounds(w.BEHIND, f"{direction}, worst")
    )


def _imports(figures: Figures) -> float:
    with_, without = (figures.rounds(w.START, name) for name in ("twistd thing", "twistd"))
    return statistics.median(with_) - statistics.median(without)


GOALS = (
    _relative("handshake", w.HANDSHAKE, w.TLS, 1.1),
    _relative("handshake", w.HANDSHAKE, w.TLS_RSA, 0.85),
    Goal("handshake: what ML-KEM adds", "µs", 180.0, _hybrid),
    Goal(
        "handshake: resumed / full",
        "",
        0.75,
        lambda figures: figures.ratio(w.HANDSHAKE, w.THING_RESUMED, w.THING),
    ),
    _relative("handshake, wall time", w.LATENCY, w.TLS, 1.2),
    _relative("heartbeat, fleet", w.FLEET, w.TCP, 1.35),
    _relative("heartbeat, single", w.SINGLE, w.TCP, 1.3),
    Goal("heartbeat: crowd / fleet", "", 1.35, _crowded),
    _relative("client to server", w.UPLOAD, w.TLS, 0.8, w.THING_ENDPOINT),
    _relative("server to client", w.DOWNLOAD, w.TLS, 0.65, w.THING_ENDPOINT),
    Goal("idle session over TCP", "KB", 6.0, lambda figures: _overPlain(figures, w.THING)),
    Goal(
        "idle session over plain: Thing / TLS",
        "",
        0.25,
        lambda figures: _memory(figures, w.TLS, w.TCP),
    ),
    Goal(
        "idle session over plain: Thing / mosquitto TLS",
        "",
        0.5,
        lambda figures: _memory(figures, w.MOSQUITTO_TLS, w.MOSQUITTO),
    ),
    Goal("heartbeat behind data, the worst", "ms", 300.0, _worst),
    Goal(w.LOST, "", 0.0, lambda figures: sum(figures.rounds(w.LOST, w.THING_ENDPOINT.name))),
    *(
        Goal(name, "", 0.0, lambda figures, name=name: figures.median(ENDURANCE, name))
        for name in (LOST_ALIVE, FOUND_LATE, FOUND_LATE_RUNNING, FOUND_LATE_GRACED)
    ),
    *(
        Goal(name, "", 0.0, lambda figures, name=name: figures.median(CHURN, name))
        for name in (LOST_IN_CHURN, PAUSES, LAGS)
    ),
    Goal("imports of twistd thing --help", "ms", 150.0, _imports),
)
"""All goals, in the order of the table."""


def judge(results: Iterable[Result]) -> list[Verdict]:
    """
    Judge a run.

    :param results: its results.
    :return: a verdict on each goal.
    """
    figures = Figures(results)
    return [goal.judge(figures) for goal in GOALS]


def report(verdicts: Iterable[Verdict]) -> str:
    """
    Lay the verdicts out.

    :param verdicts: the verdicts.
    :return: lines for a terminal.
    """
    lines = [f"{'goal':<52}{'figure':>12}{'at most':>12}"]
    for verdict in verdicts:
        figure = "" if verdict.figure is None else _number(verdict.figure, verdict.unit)
        limit = _number(verdict.limit, verdict.unit)
        lines.append(f"{verdict.goal:<52}{figure:>12}{limit:>12}  {verdict.word}")
    return "\n".join(lines)


def _number(value: float, unit: str) -> str:
    return f"{value:.1f} {unit}" if unit else f"{value:.2f}"


def read(report: dict[str, Any]) -> list[Result]:
    """
    Take results back from JSON.

    :param report: what a command wrote.
    :return: its results.
    """
    return [Result(**each) for each in report["results"]]

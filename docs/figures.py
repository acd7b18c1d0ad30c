"""
Write the figures of ``performance.rst``, and a sentence of ``when-to-use.rst``, from what the
benchmarks wrote.

``python docs/figures.py`` writes them between their marker comments, from ``benchmarks/results``;
with ``--check`` it writes nothing and exits with 1 if a page is stale.
"""

from __future__ import annotations

import json
import statistics
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from generate import DOCS, main, table

RESULTS = DOCS.parent / "benchmarks" / "results"

VERDICTS = {True: "met", False: "**missed**", None: "not measured"}


def read(name: str) -> Any:
    """
    Read what a benchmark wrote.

    :param name: of the file, without its ending.
    :return: its content.
    """
    return json.loads((RESULTS / f"{name}.json").read_text())


def number(value: float | None, unit: str = "") -> str:
    """
    A figure with as many digits as mean something.

    :param value: the figure, or None.
    :param unit: its unit.
    :return: text.
    """
    if value is None:
        return "-"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if unit else f"{value:.2f}"
    return f"{text} {unit}".rstrip()


def machine() -> str:
    """:return: what the figures were taken on."""
    about = read("figures")["machine"]
    return table(("what", "which"), about.items())


def goals() -> str:
    """:return: every goal, and whether it was met."""
    verdicts = {each["goal"]: each for each in read("figures")["goals"]}
    for name in ("endurance", "reload", "churn", "processors", "reach"):
        verdicts |= {each["goal"]: each for each in read(name)["goals"]}
    return table(
        ("goal", "figure", "at most", "verdict"),
        (
            (
                each["goal"],
                number(each["figure"], each["unit"]),
                number(each["limit"], each["unit"]),
                VERDICTS[each["met"]],
            )
            for each in verdicts.values()
        ),
    )


def figures(name: str = "figures") -> str:
    """
    Lay out what was measured for each peer.

    :param name: of the file, without its ending.
    :return: a table for each workload.
    """
    results = read(name)["results"]
    parts = []
    for title in dict.fromkeys(each["workload"] for each in results):
        rows = [each for each in results if each["workload"] == title]
        compared = any(each["ratio"] is not None for each in rows)
        heading = f"{title}, {rows[0]['unit']}"
        head = ("peer", "median", "spread", "Thing / this")[: 4 if compared else 3]
        cells = [
            (
                each["peer"],
                number(each["median"], " "),
                f"{each['spread']:.0%}",
                "" if each["ratio"] is None else f"{each['ratio']:.2f}",
            )[: len(head)]
            for each in rows
        ]
        parts.append(f"{heading}\n{'~' * len(heading)}\n\n{table(head, cells)}")
    return "\n\n".join(parts)


def counted(name: str) -> str:
    """
    Lay out what was counted in a long run.

    :param name: of the file, without its ending.
    :return: a table.
    """
    return table(
        ("what", "figure"),
        ((each["peer"], number(each["median"], each["unit"])) for each in read(name)["results"]),
    )


def instructions() -> str:
    """:return: how many instructions each thing takes."""
    return table(
        ("what the server does", "instructions"),
        ((name, f"{count:,.0f}") for name, count in read("instructions")["counts"].items()),
    )


def floor() -> str:
    """:return: the system calls of a heartbeat."""

    def rows() -> Iterator[tuple[str, ...]]:
        for peer, shapes in read("floor").items():
            for shape, calls in shapes.items():
                which = ", ".join(f"{name} {count:.2f}" for name, count in calls.items())
                yield peer, shape, f"{sum(calls.values()):.2f}", which

    return table(("peer", "beats", "calls", "which"), rows())


def link() -> str:
    """:return: how much of a link with a delay is filled, each way."""

    def rows() -> Iterator[tuple[str, ...]]:
        for direction, transfers in read("link").items():
            medians = {kind: statistics.median(each) for kind, each in transfers.items()}
            for kind, rate in medians.items():
                ratio = f"{medians['Thing'] / rate:.2f}" if kind != "Thing" else ""
                yield direction, kind, f"{rate / 1e6:.2f} MB/s", ratio

    return table(("direction", "peer", "median", "Thing / this"), rows())


def mosquitto() -> str:
    """:return: what mosquitto takes with TLS, as parts of what Thing does, in a sentence."""
    parts = {
        each["workload"]: 1 / each["ratio"]
        for each in read("figures")["results"]
        if each["peer"] == "mosquitto TLS"
    }
    handshake, memory = parts["handshake"], number(parts["idle session"], " ")
    low, high = sorted((parts["heartbeat, fleet"], parts["heartbeat, single"]))
    sentence = (
        f"On an equal footing mosquitto, in C and with TLS, takes {handshake:.2f} of the CPU time "
        f"that Thing takes for a handshake, {low:.2f} to {high:.2f} of it for a heartbeat, and "
        f"{memory} times the memory for a connection: :doc:`performance`."
    )
    return textwrap.fill(sentence, 100)


DRAW: dict[str, Callable[[], str]] = {
    "machine": machine,
    "goals": goals,
    "figures": figures,
    "endurance": lambda: counted("endurance"),
    "reload": lambda: figures("reload"),
    "churn": lambda: counted("churn"),
    "processors": lambda: figures("processors"),
    "latency": lambda: figures("latency"),
    "link": link,
    "instructions": instructions,
    "floor": floor,
    "reach": lambda: figures("reach"),
}
"""What writes each generated part of the page on performance."""

PAGES = {"performance": DRAW, "when-to-use": {"mosquitto": mosquitto}}
"""By page, what writes its generated parts."""


if __name__ == "__main__":
    sys.exit(max(main(sys.argv[1:], DOCS / f"{page}.rst", draw) for page, draw in PAGES.items()))

"""Measure Thing against Twisted's TLS 1.3 and plain TCP: ``python run.py --help``."""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.python.usage import Options, UsageError

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measure import FULL, QUICK, SMOKE, Bench, Result, plain


class BenchmarkOptions(Options):
    """The command line."""

    synopsis = "python benchmarks/run.py [--quick] [--json FILE]"
    optFlags = [
        ["quick", None, "Take less than a minute; the figures scatter more."],
        ["smoke", None, "Only see whether everything runs; the figures mean nothing."],
    ]
    optParameters = [["json", None, None, "Write all figures to this file."]]


def machine() -> dict[str, str]:
    """:return: what the figures were taken on."""
    return {
        "python": platform.python_version(),
        "openssl": SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii"),
        **{name: version(name) for name in ("twisted", "cryptography", "pyopenssl")},
        "system": f"{platform.system()} {platform.machine()}",
    }


def table(results: list[Result]) -> str:
    """
    Lay the results out.

    :param results: the results.
    :return: lines for a terminal.
    """
    lines = [f"{'':<18}{'median':>10}{'spread':>9}{'Thing / this':>15}"]
    title = ""
    for result in results:
        if result.workload != title:
            title = result.workload
            lines += ["", f"{title}, {result.unit}"]
        ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
        lines.append(
            f"  {result.peer:<16}{result.median:>10.1f}{result.spread:>8.0%}{ratio:>16}".rstrip()
        )
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """
    Measure and print.

    :param arguments: the command line.
    """
    options = BenchmarkOptions()
    try:
        options.parseOptions(arguments)
    except UsageError as error:
        sys.exit(f"{options}\n{error}")
    size = SMOKE if options["smoke"] else QUICK if options["quick"] else FULL

    def tell(message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="thing-benchmark-") as directory:
        results = Bench(size, Path(directory)).run(tell)
    tell(f"{time.monotonic() - begun:.0f} s")
    about = machine()
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(table(results))
    if options["json"]:
        report: dict[str, Any] = {
            "machine": about,
            "size": asdict(size),
            "results": plain(results),
        }
        Path(options["json"]).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

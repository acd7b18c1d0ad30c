"""Measure Thing against Twisted's TLS 1.3, mosquitto and plain TCP: ``python run.py --help``."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

from OpenSSL import SSL
from twisted.python.usage import Options, UsageError

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import command
import goals
from measure import Bench, Result
from processes import program
from workloads import BEHIND, FULL, QUICK, SMOKE, START, WORKLOADS


class BenchmarkOptions(Options):
    """The command line."""

    synopsis = "python benchmarks/run.py [--quick] [--json FILE] [--plot FILE]"
    optFlags = [
        ["quick", None, "Take a minute and a half; the figures scatter more."],
        ["smoke", None, "Only see whether everything runs; the figures mean nothing."],
    ]
    optParameters = [
        ["only", None, "", "Only workloads that begin so, as in --only heartbeat."],
        ["rounds", None, None, "Measure so often in place of 15 times.", int],
        ["json", None, None, "Write all figures and verdicts to this file."],
        ["plot", None, None, "Draw them into this file, .svg or .png; needs matplotlib."],
    ]

    def postOptions(self) -> None:
        """
        Find out now what would be missed at the end.

        :raises UsageError: if there is to be a plot, and no matplotlib; or nothing is measured.
        """
        titles = (*(each.title for each in WORKLOADS), BEHIND, START)
        if not any(title.startswith(self["only"]) for title in titles):
            raise UsageError(f"--only: no workload begins with {self['only']!r}")
        if self["plot"]:
            try:
                import matplotlib  # noqa: F401
            except ImportError:
                raise UsageError("--plot needs matplotlib: pip install matplotlib") from None


def machine() -> dict[str, str]:
    """:return: what the figures were taken on."""
    about = {
        "python": platform.python_version(),
        "openssl": SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii"),
        **{name: version(name) for name in ("twisted", "cryptography", "pyopenssl")},
        "system": f"{platform.system()} {_kernel()} {platform.machine()}",
        "cpu": _processor(),
        "load": f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs when it began",
    }
    mosquitto, openssl = program("mosquitto"), program("openssl")
    if mosquitto:
        about["mosquitto"] = _said(mosquitto, "-h").partition(" version ")[2]
    if openssl:
        about["system's openssl"] = " ".join(_said(openssl, "version").split()[1:2])
    return about


def _kernel() -> str:
    """The kernel's version, without what its build is called: that is the host's affair."""
    return ".".join(platform.release().split(".")[:2])


def _said(*command: str) -> str:
    """The first line of what a program says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor()


def table(results: list[Result]) -> str:
    """
    Lay the results out.

    :param results: the results.
    :return: lines for a terminal.
    """
    lines = [f"{'':<26}{'median':>10}{'spread':>9}{'Thing / this':>15}"]
    title = ""
    for result in results:
        if result.workload != title:
            title = result.workload
            lines += ["", f"{title}, {result.unit}"]
        ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
        lines.append(
            f"  {result.peer:<24}{result.median:>10.1f}{result.spread:>8.0%}{ratio:>16}".rstrip()
        )
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """
    Measure and print.

    :param arguments: the command line.
    """
    options = BenchmarkOptions()
    command.parse(options, arguments)
    size = SMOKE if options["smoke"] else QUICK if options["quick"] else FULL
    if options["rounds"]:
        size = replace(size, rounds=options["rounds"])

    begun, about = time.monotonic(), machine()
    with tempfile.TemporaryDirectory(prefix="thing-benchmark-") as directory:
        results = Bench(size, Path(directory), options["only"]).run(command.tell)
    command.tell(f"{time.monotonic() - begun:.0f} s")
    verdicts = goals.judge(results)
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(table(results), goals.report(verdicts), sep="\n\n")
    command.write(options["json"], results, verdicts, machine=about, size=asdict(size))
    if options["plot"]:
        import plot

        plot.draw(results, verdicts, Path(options["plot"]))


if __name__ == "__main__":
    main(sys.argv[1:])

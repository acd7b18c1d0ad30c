"""
How long a reactor stands still while long files of keys are read anew.

Run from anywhere, on Linux::

    python benchmarks/reload.py [--keys NUMBER] [--revoked NUMBER] [--json FILE]

A file of authorized things is put in another order, so that every line is read, and then gets one
more line; each time it is told how long that took and the longest turn of the reactor. The same is
told of an X.509 list of revoked certificates, of which a turn reads a slice. All is the processor's
time of this process, with Python's collector as ``twistd thing`` has it. The exit status is 1 if a
goal was missed. It takes a quarter of a minute.
"""

from __future__ import annotations

import gc
import random
import sys
import tempfile
import time
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.task import LoopingCall, react
from twisted.python.usage import Options

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import command
import goals
import run
from goals import Goal
from measure import Result

from thing import IdentityKey
from thing.daemon.garbage import INTERVAL
from thing.session.clock import SteadyClock
from thing.trust.chosen import ServerChoice
from thing.trust.crls import readLists
from thing.trust.keys import formatPublicKey
from thing.trust.live import LiveTrust

IN_ALL, LONGEST = "long lists, in all", "long lists, the longest turn"
"""The workloads: what is told of each reading."""

START, ORDER, MORE = "keys at the start", "keys in another order", "one more key"
REVOKED = "revoked certificates"
"""What is read."""

Figures = dict[tuple[str, str], float]
"""Milliseconds, by the workload and what is read."""

GOALS = (
    Goal(
        "keys read anew: the longest turn",
        "ms",
        50.0,
        lambda figures: max(
            figure for what in (ORDER, MORE) for figure in figures.rounds(LONGEST, what)
        ),
    ),
)
"""How long a turn may take. A list of revoked certificates is decoded at once, and not judged."""


class ReloadOptions(Options):
    """The command line."""

    synopsis = "python benchmarks/reload.py [--keys NUMBER] [--revoked NUMBER] [--json FILE]"
    optParameters = [
        ["keys", None, 50_000, "How many lines the file has.", int],
        ["revoked", None, 100_000, "How many certificates are revoked.", int],
        ["rounds", None, 5, "How often all is measured.", int],
        ["json", None, None, "Write all figures and verdicts to this file."],
    ]


class Turns:
    """
    Watches the turns of a reactor, or of whoever says when one is over.

    :ivar longest: the longest, seconds of the processor's time.
    :ivar took: all of them, the same.
    """

    def __init__(self) -> None:
        """The first turn begins now."""
        self.longest = self.took = 0.0
        self._last = time.process_time()

    def end(self) -> None:
        """A turn is over, and the next begins."""
        now = time.process_time()
        turn, self._last = now - self._last, now
        self.longest = max(self.longest, turn)
        self.took += turn

    def figures(self, what: str) -> Figures:
        """
        Tell of them.

        :param what: what was read.
        :return: the figures.
        """
        return {(IN_ALL, what): self.took * 1e3, (LONGEST, what): self.longest * 1e3}


def lookAtNew() -> None:
    """Have the collector look at what is new, and then no more at what is there."""
    gc.collect()
    gc.freeze()


async def reloaded(live: LiveTrust, what: str) -> Figures:
    """
    Read the files anew.

    :param live: whose they are.
    :param what: what is read.
    :return: the figures.
    """
    collecting = LoopingCall(lookAtNew)
    collecting.start(INTERVAL)
    turns = Turns()
    watching = LoopingCall(turns.end)
    watching.start(0)
    await live.reload()
    watching.stop()
    collecting.stop()
    turns.end()
    return turns.figures(what)


async def readKeys(reactor: Any, keys: int, directory: Path) -> Figures:
    """
    Read a file of keys, and read it anew.

    :param reactor: whose turns are looked at.
    :param keys: how many there are.
    :param directory: an empty one.
    :return: the figures.
    """
    lines = [
        f"{formatPublicKey(random.randbytes(32), f'thing-{number}')}\n" for number in range(keys)
    ]
    things, key = directory / "things", directory / "key"
    IdentityKey.generate().save(key)
    things.write_text("".join(lines))
    turns = Turns()
    choice = ServerChoice.read({"identity": str(key), "authorized": str(things)})
    turns.end()
    live = LiveTrust(choice, SteadyClock.of(reactor))
    random.shuffle(lines)
    things.write_text("".join(lines))
    figures = turns.figures(START) | await reloaded(live, ORDER)
    lines.append(f"{IdentityKey.generate().publicLine('new')}\n")
    things.write_text("".join(lines))
    return figures | await reloaded(live, MORE)


def revokes(count: int) -> tuple[x509.Certificate, bytes]:
    """
    Revoke certificates.

    :param count: how many.
    :return: the root, and its list, PEM.
    """
    key, now = Ed25519PrivateKey.generate(), datetime.now(timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])
    usage = x509.KeyUsage(*[False] * 5, True, True, False, False)  # Certificates and lists.
    root = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(usage, critical=True)
        .sign(key, None)
    )
    serials = (x509.random_serial_number() for _ in range(count))
    revoked = [x509.RevokedCertificateBuilder(serial, now).build() for serial in serials]
    # One by one it copies them each time.
    builder = x509.CertificateRevocationListBuilder(
        name, now, now + timedelta(days=1), revoked_certificates=revoked
    )
    return root, builder.sign(key, None).public_bytes(Encoding.PEM)


def readRevoked(root: x509.Certificate, revoked: bytes) -> Figures:
    """
    Read a list of revoked certificates, a slice in each turn.

    :param root: who signed it.
    :param revoked: the list, PEM.
    :return: the figures.
    """
    lookAtNew()
    turns = Turns()
    for _ in readLists("revoked", revoked, [root]):
        turns.end()
    turns.end()
    return turns.figures(REVOKED)


async def measure(reactor: Any, options: ReloadOptions) -> None:
    """
    Measure and print.

    :param reactor: whose turns are looked at.
    :param options: the command line.
    """
    about, taken = run.machine(), defaultdict[tuple[str, str], list[float]](list)
    root, revoked = revokes(options["revoked"])
    for number in range(options["rounds"]):
        command.tell(f"round {number + 1} of {options['rounds']}")
        with tempfile.TemporaryDirectory(prefix="thing-reload-") as directory:
            figures = await readKeys(reactor, options["keys"], Path(directory))
        for key, figure in (figures | readRevoked(root, revoked)).items():
            taken[key].append(figure)
    results = [
        Result.of(workload, what, "ms CPU", rounds)
        for (workload, what), rounds in sorted(taken.items(), key=lambda item: item[0][0])
    ]
    verdicts = [goal.judge(goals.Figures(results)) for goal in GOALS]
    print(run.table(results), goals.report(verdicts), sep="\n\n")
    size = {name: options[name] for name in ("keys", "revoked", "rounds")}
    command.write(options["json"], results, verdicts, machine=about, size=size)
    command.endBy(verdicts)


if __name__ == "__main__":
    options = ReloadOptions()
    command.parse(options, sys.argv[1:])
    react(measure, [options])

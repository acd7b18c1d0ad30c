"""
How long a reactor stands still while long files of keys are read anew.

Run from anywhere::

    python benchmarks/reload.py [--keys NUMBER]

A file of authorized things is put in another order, so that every line is read, and then gets one
more line; each time it is told how long that took and the longest turn of the reactor, in the
processor's time of this process. The exit status is 1 if a turn took more than 50 milliseconds.
It takes a few seconds.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet.task import LoopingCall, react
from twisted.python.usage import Options, UsageError

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from thing import IdentityKey
from thing.session.clock import SteadyClock
from thing.trust.chosen import ServerChoice
from thing.trust.keys import formatPublicKey
from thing.trust.live import LiveTrust

LONGEST = 0.05
"""How long a turn may take, seconds."""


class ReloadOptions(Options):
    """The options."""

    optParameters = [["keys", None, 50_000, "How many lines the file has.", int]]


class Turns:
    """
    Watches the turns of a reactor.

    :ivar longest: the longest, seconds of the processor's time.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = time.process_time()
        self._looking = LoopingCall(self._look)
        self._looking.start(0)

    def _look(self) -> None:
        now = time.process_time()
        self.longest = max(self.longest, now - self._last)
        self._last = now

    def stop(self) -> None:
        """Look once more, and then no more."""
        self._look()
        self._looking.stop()


async def reloaded(live: LiveTrust, what: str) -> bool:
    """Read the files anew, and tell how that was; whether no turn took too long."""
    begins, turns = time.process_time(), Turns()
    await live.reload()
    turns.stop()
    took = time.process_time() - begins
    print(f"{what}: {took * 1e3:.0f} ms in all, the longest turn {turns.longest * 1e3:.1f} ms")
    return turns.longest <= LONGEST


async def measure(reactor: Any, keys: int) -> None:
    """Measure it with so many keys."""
    lines = [
        f"{formatPublicKey(random.randbytes(32), f'thing-{number}')}\n" for number in range(keys)
    ]
    with tempfile.TemporaryDirectory() as directory:
        things, key = os.path.join(directory, "things"), os.path.join(directory, "key")
        IdentityKey.generate().save(key)
        Path(things).write_text("".join(lines))
        began = time.process_time()
        choice = ServerChoice.read({"identity": key, "authorized": things})
        print(f"{keys} keys at the start: {(time.process_time() - began) * 1e3:.0f} ms at once")
        live = LiveTrust(choice, SteadyClock.of(reactor))
        random.shuffle(lines)
        Path(things).write_text("".join(lines))
        held = await reloaded(live, "in another order")
        lines.append(f"{IdentityKey.generate().publicLine('new')}\n")
        Path(things).write_text("".join(lines))
        held = await reloaded(live, "with one more") and held
    if not held:
        raise SystemExit(1)


if __name__ == "__main__":
    options = ReloadOptions()
    try:
        options.parseOptions()
    except UsageError as error:
        sys.exit(f"{sys.argv[0]}: {error}")
    react(measure, [options["keys"]])

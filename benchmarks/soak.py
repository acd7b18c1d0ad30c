"""
Two thousand sessions that are killed, aborted, frozen and parted from; the books must balance.

Run from the project's directory::

    python -m benchmarks.soak [SESSIONS [SECONDS]]

It takes about a minute, ends by itself, prints what happened, and exits with 1
if one session ended for a wrong reason or was told differently by the two sides.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react

from tests.soak import Plan, Soak

PROCESSES = 20
"""In how many processes the clients are; every fifth is killed, every fifth frozen."""


async def soak(reactor: Any, sessions: int, duration: float) -> None:
    """
    Run one soak and report it.

    :param reactor: runs it.
    :param sessions: how many sessions.
    :param duration: for how long their ends are spread, seconds.
    :raises SystemExit: if the books do not balance.
    """
    plan = Plan(
        processes=PROCESSES,
        perProcess=max(1, sessions // PROCESSES),
        killed=PROCESSES // 5,
        frozen=PROCESSES // 5,
        duration=duration,
        ttl=10.0,
        patience=120.0,
    )
    run = Soak(plan, reactor)
    await run.run()
    print(run.table())
    wrong = run.imbalance()
    print(f"\n{len(wrong)} wrong", *wrong[:20], sep="\n")
    if wrong:
        raise SystemExit(1)


def main(reactor: Any, sessions: str = "2000", duration: str = "20") -> Any:
    """
    Take the command line.

    :param reactor: runs it.
    :param sessions: how many sessions.
    :param duration: for how long their ends are spread, seconds.
    :return: a Deferred that fires when it is over.
    """
    return ensureDeferred(soak(reactor, int(sessions), float(duration)))


if __name__ == "__main__":
    react(main, sys.argv[1:])

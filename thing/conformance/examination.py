"""
Goes through the checks, one by one or several at once, within bounds.

What is tried, and how it is shown, is elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    FirstError,
    ensureDeferred,
    gatherResults,
)
from twisted.internet.defer import (
    TimeoutError as DeferredTimeout,
)

from thing.conformance.bench import Bench, NotReached
from thing.conformance.check import Check, Outcome
from thing.conformance.verdict import Failed, NotTried, Over
from thing.errors import RemoteProtocolError

MISSES = 3
"""How many checks in a row may find no peer; then there is none, and the rest is not tried."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a check has found."""

    check: Check
    outcome: Outcome
    why: str
    """In words; empty if it holds."""

    seconds: float
    """How long it took."""


class Examination:
    """
    One run.

    :ivar results: what was found, in the order of the rows; ends before a row that still runs.
    :ivar reached: whether the peer was there to be examined, to the last.
    """

    def __init__(
        self,
        bench: Bench[Any],
        checks: Sequence[Check],
        told: Callable[[Result], object] = lambda result: None,
    ) -> None:
        """
        :param bench: where.
        :param checks: the rows.
        :param told: is told of each result, in the order of the rows.
        """
        self.results: list[Result] = []
        self.reached = True
        self._bench = bench
        self._checks = checks
        self._told = told
        self._next = self._missed = 0
        self._early: dict[int, Result] = {}

    async def run(self, parallel: int = 1) -> list[Result]:
        """
        Go through all rows.

        :param parallel: how many at once.
        :return: what was found, in their order.
        :raises NotReached: if there is no peer at all.
        """
        await self._bench.ready()
        workers = [ensureDeferred(self._work()) for _ in range(parallel)]
        try:
            await gatherResults(workers, consumeErrors=True)
        except FirstError as first:  # Of whoever is told.
            first.subFailure.raiseException()
        return self.results

    async def _work(self) -> None:
        while self._next < len(self._checks) and self.reached:
            number = self._next
            self._next += 1
            self._early[number] = await self._examine(self._checks[number])
            while len(self.results) in self._early:
                result = self._early.pop(len(self.results))
                self.results.append(result)
                self._told(result)

    async def _examine(self, check: Check) -> Result:
        bench, clock = self._bench.again(), self._bench.terms.clock
        began = clock.seconds()
        running: Deferred[None] = ensureDeferred(check.run(bench))  # type: ignore[arg-type]
        running.addTimeout(check.bound, clock)
        outcome, why = Outcome.HOLDS, ""
        try:
            await running
            self._missed = 0
        except NotTried as reason:
            outcome, why = Outcome.NOT_TRIED, str(reason)
        except (Failed, Over, RemoteProtocolError) as problem:
            outcome, why = Outcome.FAILS, str(problem)
            self._missed = 0
        except CancelledError:
            raise
        except DeferredTimeout:
            outcome, why = Outcome.FAILS, f"it is not over within {check.bound:g} s"
        except NotReached as problem:
            outcome, why = Outcome.FAILS, f"there is no peer: {problem}"
            self._missed += 1
            self.reached = self._missed < MISSES
        except Exception as surprise:  # What a peer said surprised whoever read it.
            outcome, why = Outcome.FAILS, f"{type(surprise).__name__}: {surprise}"
        finally:
            bench.clear()
        if outcome is Outcome.FAILS and not check.must:
            outcome = Outcome.DIFFERS
        return Result(check, outcome, why, clock.seconds() - began)


def passed(results: Iterable[Result]) -> bool:
    """
    Judge a run.

    :param results: what was found.
    :return: whether all holds that has to.
    """
    return all(result.outcome is not Outcome.FAILS for result in results)

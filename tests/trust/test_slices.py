"""Work in slices."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from thing.trust.slices import Slices, atOnce, eachOf, inOneSlice, inTurns


def counting(done: list[int], slices: int) -> Slices[str]:
    """Work of so many slices, each of which is noted."""
    for number in range(slices):
        if number:
            yield
        done.append(number)
    return "done"


class SlicesTests(SynchronousTestCase):
    """Tests for :mod:`thing.trust.slices`."""

    def test_atOnce(self) -> None:
        """All is done, and what it comes to is told; what it raises comes out."""
        done: list[int] = []
        self.assertEqual(atOnce(counting(done, 3)), "done")
        self.assertEqual(done, [0, 1, 2])
        self.assertRaises(ZeroDivisionError, atOnce, eachOf([0], lambda each: 1 // each, 1))

    def test_inTurns(self) -> None:
        """The first slice is done now, and each other one when what is waited for is there."""
        done: list[int] = []
        pauses: list[Deferred[None]] = []

        def pause() -> Deferred[None]:
            pauses.append(Deferred())
            return pauses[-1]

        work = Deferred.fromCoroutine(inTurns(counting(done, 3), pause))
        self.assertEqual((done, len(pauses)), ([0], 1))
        pauses[0].callback(None)
        self.assertEqual((done, len(pauses)), ([0, 1], 2))
        self.assertNoResult(work)
        pauses[1].callback(None)
        self.assertEqual(self.successResultOf(work), "done")

    def test_inOneSlice(self) -> None:
        """Work that is short is done at the first step."""
        work = inOneSlice(divmod)(7, 2)
        stopped = self.assertRaises(StopIteration, next, work)
        self.assertEqual(stopped.value, (3, 1))

    def test_eachOf(self) -> None:
        """So many are taken in a slice, and none is left out."""
        taken: list[int] = []
        work = eachOf(range(5), taken.append, 2)
        sizes = []
        for _ in work:
            sizes.append(len(taken))
        self.assertEqual((sizes, taken), ([2, 4], [0, 1, 2, 3, 4]))

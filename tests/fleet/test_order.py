"""The order of things: numbers in ids by their value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from thing.fleet.order import idAt, placeOf

ORDERED = [
    *("", "#1", "0", "00", "01", "1", "9a", "10", "10a", "Lamp", "lamp", "lamp-1", "lamp-2"),
    *("lamp-010", "lamp-10", "lamp-10-1", "lamp-10-2", "lamp-\u0661", "lamp1", "v1.9", "v1.10"),
    *("\xe4", "\uffee", "\U0001f4a1"),
]
"""The same as in ``tests/fleet/page/order.test.mjs``."""

IDS = st.text(st.sampled_from("a-0019\0\xe4")) | st.text()


class OrderTests(SynchronousTestCase):
    """Places, and whose they are."""

    def test_order(self) -> None:
        """A smaller number comes before a larger one, all else by code points."""
        self.assertEqual(sorted([*ORDERED[9:], *ORDERED[:9]], key=placeOf), ORDERED)

    @given(st.integers(0, 10**30), st.integers(0, 10**30))
    def test_numbers(self, one: int, other: int) -> None:
        """However large they are, and whatever follows."""
        left, right = placeOf(f"lamp-{one}x"), placeOf(f"lamp-{other}x")
        self.assertEqual(left < right, one < other)

    @given(IDS, IDS)
    def test_own(self, one: str, other: str) -> None:
        """Each id has a place of its own, and is found there."""
        self.assertEqual(idAt(placeOf(one)), one)
        self.assertEqual(placeOf(one) == placeOf(other), one == other)

"""Who has a place at the fleet's HTTP server, and who must go for a newcomer."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from thing.fleet.http.places import NoPlace, Places


class Guest:
    """A connection."""

    def __init__(self, network: str = "", idle: bool = True) -> None:
        self.network = network
        self.idle = idle

    def __repr__(self) -> str:
        return f"<{self.network}>"


class PlacesTests(SynchronousTestCase):
    """Three places for strangers, and two for others."""

    def setUp(self) -> None:
        self.places: Places[Guest] = Places(3, 2)

    def enter(self, *networks: str) -> list[Guest]:
        """Guests from these networks, of whom nobody has to go."""
        guests = [Guest(network) for network in networks]
        for guest in guests:
            self.assertIsNone(self.places.enter(guest))
        return guests

    def admit(self, network: str = "", idle: bool = True) -> Guest:
        """A guest who was admitted."""
        guest = Guest(network, idle)
        self.assertIsNone(self.places.enter(guest) or self.places.admit(guest))
        return guest

    def displaced(self, newcomer: Guest) -> Guest:
        """Who has to go for a newcomer."""
        displaced = self.places.enter(newcomer)
        assert displaced is not None
        self.assertNotIn(displaced, self.places.strangers)
        self.assertIn(newcomer, self.places.strangers)
        return displaced

    def test_oldest(self) -> None:
        """Of strangers from everywhere the oldest goes."""
        first, second, _ = self.enter("a", "b", "c")
        self.assertIs(self.displaced(Guest("d")), first)
        self.assertIs(self.displaced(Guest("e")), second)

    def test_most(self) -> None:
        """Who has the most gives up his oldest, and nobody else is touched."""
        alone, first, second = self.enter("a", "b", "b")
        self.assertIs(self.displaced(Guest("c")), first)
        self.assertIs(self.displaced(Guest("b")), second)
        self.assertIn(alone, self.places.strangers)

    def test_own(self) -> None:
        """A flood from one network displaces itself, and never the newcomer."""
        alone, *flood = self.enter("a", "b", "b")
        for _ in range(10):
            newcomer = Guest("b")
            self.assertIs(self.displaced(newcomer), flood.pop(0))
            flood.append(newcomer)
        self.assertIn(alone, self.places.strangers)

    def test_noNetwork(self) -> None:
        """Those of unix sockets are of one network, where no other is."""
        first, *_ = self.enter("", "", "")
        self.assertIs(self.displaced(Guest("")), first)

    def test_admitted(self) -> None:
        """Strangers cannot displace whoever was admitted, nor take such a place."""
        held = [self.admit(), self.admit()]
        self.enter("a", "a", "a")
        for _ in range(10):
            self.displaced(Guest("a"))
        self.assertEqual(list(self.places.admitted), held)

    def test_oftenAdmitted(self) -> None:
        """Who asks again has its place."""
        guest = self.admit()
        self.assertIsNone(self.places.admit(guest))
        self.assertEqual((list(self.places.admitted), self.places.strangers), ([guest], {}))

    def test_idle(self) -> None:
        """For one more that is admitted the first goes that asks nothing just now."""
        busy, idle = self.admit(idle=False), self.admit()
        guest = Guest()
        self.places.enter(guest)
        self.assertIs(self.places.admit(guest), idle)
        self.assertEqual(list(self.places.admitted), [busy, guest])

    def test_allBusy(self) -> None:
        """If all are asking something, the newcomer stays a stranger."""
        for _ in range(2):
            self.admit(idle=False)
        (guest,) = self.enter("a")
        with self.assertRaises(NoPlace):
            self.places.admit(guest)
        self.assertEqual(list(self.places.strangers), [guest])

    def test_gone(self) -> None:
        """Who has no place any more gets none by what it still says, and may leave twice."""
        (guest,) = self.enter("a")
        for _ in range(2):
            self.places.leave(guest)
        self.assertIsNone(self.places.admit(guest))
        self.assertEqual((self.places.admitted, self.places.strangers), ({}, {}))

    @given(st.lists(st.tuples(st.sampled_from("eal"), st.integers(0, 7), st.booleans())))
    def test_counts(self, steps: list[tuple[str, int, bool]]) -> None:
        """Whatever comes, nobody has two places, there are no more than there are, and it ends."""
        places: Places[Guest] = Places(3, 2)
        guests = [Guest("abc"[at % 3]) for at in range(8)]
        inside: set[Guest] = set()
        for step, at, idle in steps:
            guest = guests[at]
            guest.idle = idle
            displaced = None
            if step == "l":
                places.leave(guest)
                inside.discard(guest)
            elif step == "a":
                with contextlib.suppress(NoPlace):
                    displaced = places.admit(guest)
            elif guest not in inside:
                inside.add(guest)
                displaced = places.enter(guest)
            if displaced is not None:
                self.assertIsNot(displaced, guest)
                inside.remove(displaced)
            self.assertLessEqual(len(places.strangers), 3)
            self.assertLessEqual(len(places.admitted), 2)
            self.assertEqual({*places.strangers, *places.admitted}, inside)
            self.assertEqual(len(places.strangers) + len(places.admitted), len(inside))

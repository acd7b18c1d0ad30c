"""A set that asks nothing of its members."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from thing.session.sessionset import SessionSet


@dataclass
class Like:
    """All of them are equal, and none has a hash."""

    name: str = "like"


class SessionSetTests(SynchronousTestCase):
    """It is a set in all else."""

    def test_members(self) -> None:
        """Who is equal to a member is none by that."""
        one, other = Like(), Like()
        those = SessionSet([one])
        those.add(one)
        self.assertIn(one, those)
        self.assertNotIn(other, those)
        those.discard(other)
        self.assertEqual((len(those), [*those]), (1, [one]))
        those.add(other)
        self.assertEqual(len(those), 2)
        those.remove(one)
        self.assertIs(those.pop(), other)
        self.assertFalse(those)
        self.assertRaises(KeyError, those.remove, one)

    def test_sets(self) -> None:
        """It is compared and joined as sets are."""
        one, other = Like(), Like()
        those = SessionSet([one])
        self.assertEqual(those, SessionSet([one]))
        self.assertNotEqual(those, SessionSet([other]))
        self.assertEqual(SessionSet[int]([1, 2]), {1, 2})
        self.assertEqual(SessionSet[Like](), set())
        self.assertEqual([*those | SessionSet([other])], [one, other])
        self.assertEqual(len(those & SessionSet([other])), 0)
        self.assertEqual(repr(those), "SessionSet([Like(name='like')])")

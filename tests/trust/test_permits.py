"""Which services of which things an operator may reach."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from thing.errors import CredentialError
from thing.trust.permits import allows, checkPermit

NAMES = st.text("ab:*?![]-", max_size=6)


class PermitTests(TestCase):
    """Rules, and the judgement by them."""

    def allowed(self, rule: str, *names: str) -> list[str]:
        """What of these, written THING SERVICE, a rule allows."""
        permits = (checkPermit(rule),)
        return [name for name in names if allows(permits, *name.split(" "))]

    def test_patterns(self) -> None:
        """Names, patterns and lists of them, on both sides."""
        names = ("lamp-1 ssh", "lamp-1 web", "lamp-12 ssh", "sensor ssh", "Lamp-1 ssh")
        self.assertEqual(self.allowed("lamp-1:ssh", *names), ["lamp-1 ssh"])
        self.assertEqual(self.allowed("lamp-?:*", *names), ["lamp-1 ssh", "lamp-1 web"])
        self.assertEqual(self.allowed("lamp-*,sensor:ssh", *names), [*names[:1], *names[2:4]])
        self.assertEqual(self.allowed("*:ssh,web", *names), list(names))

    def test_exclusions(self) -> None:
        """What is excluded is not allowed, wherever in the list it stands."""
        names = ("lamp-1 ssh", "lamp-2 ssh", "lamp-1 web")
        self.assertEqual(self.allowed("!lamp-2,lamp-*:*", *names), [names[0], names[2]])
        self.assertEqual(self.allowed("lamp-*,!lamp-2:*,!web", *names), [names[0]])

    def test_several(self) -> None:
        """One rule that matches is enough; none allows nothing."""
        permits = ("!lamp-2,lamp-*:*", "lamp-2:web")
        self.assertTrue(allows(permits, "lamp-2", "web"))
        self.assertFalse(allows(permits, "lamp-2", "ssh"))
        self.assertFalse(allows((), "lamp-2", "ssh"))

    def test_colons(self) -> None:
        """A thing without a name is known by its fingerprint, which has a colon."""
        self.assertEqual(
            self.allowed("SHA256:ab/c+*:ssh", "SHA256:ab/c+d ssh"), ["SHA256:ab/c+d ssh"]
        )

    def test_brackets(self) -> None:
        """A bracket is just a bracket."""
        self.assertEqual(self.allowed("[ab]:ssh", "a ssh", "[ab] ssh"), ["[ab] ssh"])

    def test_wrong(self) -> None:
        """What is no rule, or could permit nothing, is an error."""
        for rule in (
            *("", "lamp", ":ssh", "lamp:", "lamp:ssh,", ",lamp:ssh", "lamp,!:ssh", "lamp:a b"),
            *("lamp:!ssh", "!lamp:ssh", "lamp:" + "x" * 65, "x" * 1025 + ":ssh", "lamp:s\u00e9"),
        ):
            self.assertRaises(CredentialError, checkPermit, rule)

    @given(NAMES, NAMES, NAMES)
    def test_anything(self, rule: str, thing: str, service: str) -> None:
        """A rule is refused or can be asked; what nobody could be permitted is not."""
        try:
            permits = (checkPermit(rule),)
        except CredentialError:
            return
        allows(permits, thing, service)
        self.assertNotIn("", rule.rpartition(":")[0].split(","))

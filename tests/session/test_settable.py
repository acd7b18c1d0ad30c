"""What a session and a server can be set to: the tables, and the settings that are made of them."""

from __future__ import annotations

import dataclasses
from enum import IntEnum
from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import SERVER_CREDENTIAL
from thing.core.groups import GroupName
from thing.core.heartbeat import TtlPolicy
from thing.core.limits import Limits
from thing.core.records import Aead
from thing.core.settings import ClientSettings, ServerSettings
from thing.errors import LocalProtocolError
from thing.session.settable import CLIENT_SETTINGS, SERVER_SETTINGS, limitsOf, settingsOf
from thing.trust.choice import CLIENT_KEYWORDS, SERVER_KEYWORDS

serverSettings = partial(ServerSettings, credential=SERVER_CREDENTIAL)
SIDES = ((SERVER_SETTINGS, SERVER_KEYWORDS), (CLIENT_SETTINGS, CLIENT_KEYWORDS))


class TableTests(SynchronousTestCase):
    """The tables."""

    def test_names(self) -> None:
        """No keyword of a side stands twice, those of trust included."""
        for settings, trust in SIDES:
            names = [each.name for each in (*settings, *trust)]
            self.assertEqual(len(names), len(set(names)))

    def test_fields(self) -> None:
        """Each row is a field that there is, with its default; no field stands twice."""
        for settings, _ in SIDES:
            for each in settings:
                self.assertIn(each.field, {field.name for field in dataclasses.fields(each.of)})
                self.assertEqual(each.default, getattr(each.of(), each.field))
            self.assertEqual(len({(each.of, each.field) for each in settings}), len(settings))

    def test_defaults(self) -> None:
        """A default that is a value is read back as it is shown; another one is told in words."""
        for each in (*SERVER_SETTINGS, *CLIENT_SETTINGS):
            self.assertNotEqual(each.defaultText, "")
            if each.default is not None:
                self.assertEqual(each.read(each.defaultText), each.default)

    def test_everyField(self) -> None:
        """What a server's TTLs and limits have can all be set, but for how hard puzzles are."""
        left = {"puzzleBits", "maxPuzzleBits"}
        for of in (TtlPolicy, Limits):
            fields = {field.name for field in dataclasses.fields(of)}
            self.assertEqual(
                fields - {each.field for each in SERVER_SETTINGS if each.of is of} - left, set()
            )


class MadeTests(SynchronousTestCase):
    """What is made of what was chosen."""

    def other(self, default: Any) -> Any:
        """A value that is not the default."""
        if isinstance(default, tuple):
            return tuple(reversed(default))
        return 7.0 if default is None else default + 1

    def test_each(self) -> None:
        """Each keyword sets its field and no other."""
        for each in SERVER_SETTINGS:
            value = self.other(each.default)
            chosen = {each.name: value}
            settings = serverSettings(**settingsOf(SERVER_SETTINGS, chosen))
            limits = limitsOf(chosen)
            expected = {"settings": serverSettings(), "limits": Limits()}
            if each.of is Limits:
                expected["limits"] = Limits(**{each.field: value})
            elif each.of is TtlPolicy:
                expected["settings"] = serverSettings(ttl=TtlPolicy(**{each.field: value}))
            else:
                expected["settings"] = serverSettings(**{each.field: value})
            self.assertEqual({"settings": settings, "limits": limits}, expected, each.name)
        for each in CLIENT_SETTINGS:
            value = self.other(each.default)
            settings = ClientSettings(**settingsOf(CLIENT_SETTINGS, {each.name: value}))
            self.assertEqual(settings, ClientSettings(**{each.field: value}), each.name)

    def test_nothing(self) -> None:
        """What was not chosen is as it is by default, and what is not in the table is left."""
        self.assertEqual(settingsOf(SERVER_SETTINGS, {"port": 1}), {})
        self.assertEqual(settingsOf(CLIENT_SETTINGS, {}), {})
        self.assertEqual(limitsOf({"ttl": 5.0}), Limits())

    def test_ttlBounds(self) -> None:
        """Numbers of the TTL that do not go together are refused."""
        self.assertRaises(LocalProtocolError, settingsOf, SERVER_SETTINGS, {"minTtl": 100.0})

    def test_names(self) -> None:
        """Algorithms are chosen by the names that their registries have."""
        registries: dict[str, type[IntEnum]] = {"groups": GroupName, "aeads": Aead}
        for each in SERVER_SETTINGS:
            if each.name in registries:
                for member in registries[each.name]:
                    self.assertEqual(each.read(f" {member.name.lower()} "), (member,))
                self.assertRaises(ValueError, each.read, "")

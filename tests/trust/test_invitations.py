"""Invitations: what is kept of them, and what becomes of each."""

from __future__ import annotations

import json
import os
import traceback
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tests.trust.power import PowerLost, outages
from tests.trust.test_keys import DirectoryMixin, modeOf, read, runTogether, write
from thing.errors import CredentialError
from thing.identity import fingerprint
from thing.trust import files, invitations
from thing.trust.files import LOCK_INTERVAL, LOCK_TRIES, lockedFile
from thing.trust.invitations import (
    MAX_INVITATIONS,
    MAX_LIFE,
    Invitation,
    Invitations,
    OtherKey,
    State,
    UnknownInvitation,
)

NOW = 1_800_000_000.0
KEY, OTHER = bytes(32), bytes(range(32))
PRINT, OTHER_PRINT = fingerprint(KEY), fingerprint(OTHER)


class StoreCase(DirectoryMixin, TestCase):
    """A file of invitations, and the time."""

    def setUp(self) -> None:
        super().setUp()
        self.now = NOW
        self.clock = Clock()
        self.file = self.path("invitations")
        self.store = self.opened()

    def opened(self) -> Invitations:
        """The store, as another process has it."""
        return Invitations(self.file, lambda: self.now, self.clock)

    def made(self, name: str = "lamp", **choices: Any) -> Invitation:
        return self.successResultOf(self.store.make(name, **choices))

    def failing(self, outcome: Deferred[Any], *errors: type[Exception]) -> str:
        """What is said about what fails."""
        failure = self.failureResultOf(outcome, *(errors or (CredentialError,)))
        text = failure.getErrorMessage()
        self.assertNotIn("\n", text)
        return text


class InvitationsTests(StoreCase):
    """What becomes of invitations."""

    def test_made(self) -> None:
        """An invitation is open, has an id and a secret of its own, and counts for an hour."""
        made, second = self.made(), self.made("kettle", life=60, confirm=True, replace=True)
        self.assertEqual(
            (made.name, made.state, made.fingerprint, made.confirm, made.replace),
            ("lamp", State.OPEN, "", False, False),
        )
        self.assertEqual((made.expires, second.expires), (NOW + 3600, NOW + 60))
        self.assertEqual((second.confirm, second.replace), (True, True))
        self.assertEqual((len(made.secret), len(second.secret)), (32, 32))
        self.assertNotEqual(made.secret, second.secret)
        self.assertNotEqual(made.id, second.id)
        self.assertEqual(self.store.list(), [made, second])
        self.assertEqual(self.store.find(made.id), made)

    def test_file(self) -> None:
        """What there is is in a file for its owner alone, from its first byte on, for others."""
        self.assertFalse(os.path.exists(self.file))
        made = self.made('lámpa "2"')
        self.assertEqual(modeOf(self.file), 0o600)
        self.assertEqual(self.opened().list(), [made])

    def test_used(self) -> None:
        """One key claims an invitation, and uses it; then its secret is nowhere any more."""
        made = self.made()
        claimed = self.successResultOf(self.store.claim(made.id, KEY))
        self.assertEqual((claimed.state, claimed.fingerprint), (State.CLAIMED, PRINT))
        self.assertEqual(claimed.secret, made.secret)
        used = self.successResultOf(self.store.use(made.id, KEY))
        self.assertEqual((used.state, used.fingerprint, used.secret), (State.USED, PRINT, b""))
        self.assertNotIn(made.secret.hex().encode(), read(self.file))
        self.assertEqual(self.opened().list(), [used])

    def test_again(self) -> None:
        """The key that has claimed it may do each step again, and it changes nothing."""
        made = self.made()
        for step, state in (
            (self.store.claim, State.CLAIMED),
            (self.store.use, State.USED),
            (self.store.claim, State.USED),
        ):
            for _ in range(2):
                found = self.successResultOf(step(made.id, KEY))
                self.assertEqual((found.state, found.fingerprint), (state, PRINT))

    def test_otherKey(self) -> None:
        """What one key has claimed is no other key's, in whatever state it is."""
        made, asked = self.made(), self.made("kettle", confirm=True)
        for each in (made, asked):
            self.successResultOf(self.store.claim(each.id, KEY))
            text = self.failing(self.store.claim(each.id, OTHER), OtherKey)
            self.assertEqual(
                text, f"the invitation {each.id} is for {PRINT}, not for {OTHER_PRINT}"
            )
            self.failing(self.store.use(each.id, OTHER), OtherKey)
        self.successResultOf(self.store.use(made.id, KEY))
        self.failing(self.store.claim(made.id, OTHER), OtherKey)
        self.failing(self.store.use(made.id, OTHER), OtherKey)

    def test_confirmed(self) -> None:
        """With confirmation a key waits, until somebody says yes to that very key."""
        made = self.made(confirm=True)
        self.assertIn("nobody has come", self.failing(self.store.confirm(made.id, PRINT)))
        waiting = self.successResultOf(self.store.claim(made.id, KEY))
        self.assertEqual((waiting.state, waiting.fingerprint), (State.WAITING, PRINT))
        self.failing(self.store.confirm(made.id, OTHER_PRINT), OtherKey)
        self.failing(self.store.confirm(made.id, "SHA256:yes"))
        self.assertEqual(self.successResultOf(self.store.claim(made.id, KEY)), waiting)
        for _ in range(2):
            confirmed = self.successResultOf(self.opened().confirm(made.id, PRINT))
            self.assertIs(confirmed.state, State.CLAIMED)
        self.assertEqual(self.store.find(made.id), confirmed)
        self.successResultOf(self.store.use(made.id, KEY))
        self.assertIs(self.successResultOf(self.store.confirm(made.id, PRINT)).state, State.USED)

    def test_notUsedUnclaimed(self) -> None:
        """What no key has claimed, or nobody has said yes to, is not used."""
        made, waiting = self.made(), self.made("kettle", confirm=True)
        self.failing(self.store.use(made.id, KEY))
        self.successResultOf(self.store.claim(waiting.id, KEY))
        self.failing(self.store.use(waiting.id, KEY))
        self.assertIs(self.store.list()[1].state, State.WAITING)

    def test_withdrawn(self) -> None:
        """What is withdrawn is nobody's, in each process."""
        other = self.opened()
        made, kept = self.made(), self.made("kettle")
        self.assertEqual(self.successResultOf(other.withdraw(made.id)), made)
        self.assertEqual((self.store.list(), self.store.find(made.id)), ([kept], None))
        for step in (
            self.store.withdraw(made.id),
            self.store.claim(made.id, KEY),
            self.store.use(made.id, KEY),
            self.store.confirm(made.id, PRINT),
        ):
            self.assertEqual(
                self.failing(step, UnknownInvitation), f"there is no invitation '{made.id}'"
            )

    def test_expired(self) -> None:
        """When its time is over an invitation is nobody's; with the next change it is gone."""
        made, later = self.made(life=60), self.made("kettle", life=61)
        self.now = NOW + 59.9
        self.assertEqual(self.store.list(), [made, later])
        self.now = NOW + 60
        self.assertEqual((self.store.list(), self.store.find(made.id)), ([later], None))
        self.failing(self.store.claim(made.id, KEY), UnknownInvitation)
        self.successResultOf(self.store.claim(later.id, KEY))
        self.assertNotIn(made.secret.hex().encode(), read(self.file))

    def test_bounds(self) -> None:
        """What cannot be an invitation is none, and there are not too many."""
        for choices in (
            {"life": 0},
            {"life": -1},
            {"life": float("nan")},
            {"life": MAX_LIFE + 1},
            {"life": float("inf")},
            {"name": ""},
            {"name": "a\nb"},
            {"name": "a" * 256},
            {"name": "\u202elamp"},
        ):
            self.failing(self.store.make(**{"name": "lamp"} | choices))
        self.assertEqual(self.store.list(), [])
        self.patch(invitations, "MAX_INVITATIONS", 2)
        self.made(), self.made(life=1)
        self.assertIn("2 invitations already", self.failing(self.store.make("lamp")))
        self.now += 1
        self.made()

    def test_longest(self) -> None:
        """As many invitations as there can be, with the longest names, are read again."""
        longest = Invitation(
            id="f" * 16,
            name="\U00020000" * 46,
            expires=int(NOW + MAX_LIFE),
            confirm=False,
            replace=False,
            state=State.CLAIMED,
            fingerprint=PRINT,
            secret=KEY,
        )
        line = invitations._format({"": longest})
        self.assertLess(len(line) * MAX_INVITATIONS, invitations.MAX_FILE)
        write(self.file, line)
        self.assertEqual(self.opened().list(), [longest])

    def test_secret(self) -> None:
        """Nothing shows a secret."""
        made = self.made()
        for shown in (repr(made), str(made), repr(self.store), repr(self.store.list())):
            self.assertNotIn(made.secret.hex(), shown)
            self.assertNotIn(repr(made.secret), shown)

    def test_locked(self) -> None:
        """While another process has the lock, a change waits; in the end it says so."""
        made = self.made()
        with lockedFile(self.file):
            claim = self.store.claim(made.id, KEY)
            self.clock.advance(LOCK_INTERVAL)
            self.assertNoResult(claim)
        self.clock.advance(LOCK_INTERVAL)
        self.successResultOf(claim)
        with lockedFile(self.file):
            claim = self.store.claim(made.id, KEY)
            self.clock.pump([LOCK_INTERVAL] * LOCK_TRIES)
            self.assertIn("another process", self.failing(claim))

    def test_readOnce(self) -> None:
        """The file is read again only if it has changed: strangers ask for invitations."""
        made = self.made()
        self.store.list()
        with mock.patch.object(invitations, "readFile", side_effect=AssertionError):
            for _ in range(3):
                self.assertEqual(self.store.find(made.id), made)
                self.assertIsNone(self.store.find("0" * 16))

    def test_faultOnce(self) -> None:
        """So is one that is damaged, too long or too open; what the system says is asked again."""
        made = self.made()
        good = read(self.file)
        for content, mode in ((b"damaged\n", 0o600), (good * 40000, 0o600), (good, 0o644)):
            write(self.file, content, mode)
            text = str(self.assertRaises(CredentialError, self.store.find, made.id))
            with mock.patch.object(invitations, "readFile", side_effect=AssertionError):
                error = self.assertRaises(CredentialError, self.store.list)
            self.assertEqual(str(error), text)
            write(self.file, good)
            self.assertEqual(self.store.find(made.id), made)
        write(self.file, good)
        with mock.patch.object(files, "open", create=True, side_effect=OSError(24, "Too many")):
            self.assertRaises(CredentialError, self.store.find, made.id)
        self.assertEqual(self.store.find(made.id), made)

    def test_twoAtOnce(self) -> None:
        """Of two processes in which two keys come at once, one key has it."""
        made = self.made()
        ours, others = self.opened(), self.opened()
        for store in (ours, others):
            store.list()
        self.successResultOf(others.claim(made.id, OTHER))
        self.failing(ours.claim(made.id, KEY), OtherKey)
        self.assertEqual(ours.list()[0].fingerprint, OTHER_PRINT)


_CLAIM = """
from twisted.internet.task import react
from thing.trust.invitations import Invitations

def claim(reactor):
    claiming = Invitations(sys.argv[1]).claim(sys.argv[2], bytes.fromhex(sys.argv[3]))
    return claiming.addCallbacks(
        lambda invitation: print(invitation.fingerprint),
        lambda failure: print(failure.type.__name__),
    )

react(claim)
"""


class ProcessTests(StoreCase):
    """Processes that share the file."""

    def test_oneClaims(self) -> None:
        """Of keys that come to as many processes at the same moment, one has it."""
        invitation = Invitations(self.file, clock=self.clock)
        made = self.successResultOf(invitation.make("lamp"))
        keys = [bytes(31) + bytes((number,)) for number in range(4)]
        printed = runTogether(_CLAIM, [[self.file, made.id, key.hex()] for key in keys])
        (found,) = invitation.list()
        self.assertEqual(
            printed,
            [
                [found.fingerprint if fingerprint(key) == found.fingerprint else "OtherKey"]
                for key in keys
            ],
        )
        self.assertIn(found.fingerprint, map(fingerprint, keys))


class PowerTests(StoreCase):
    """Lost power at any moment leaves what was, or what was to be."""

    def test_eachStep(self) -> None:
        """After each step the file has the state before it, or the one after it, and goes on."""
        before = State.OPEN
        made = self.made()
        for name, after in (("claim", State.CLAIMED), ("use", State.USED)):
            states = []
            for power in outages():
                store = self.opened()
                with power:
                    outcome = getattr(store, name)(made.id, KEY)
                if power.lost:
                    self.failureResultOf(outcome, PowerLost)
                else:
                    self.successResultOf(outcome)
                (found,) = self.opened().list()
                states.append(found.state)
            self.assertEqual(set(states), {before, after})
            self.assertEqual(states, sorted(states, key=lambda state: state is after))
            before = after

    def test_full(self) -> None:
        """A disk that is full leaves the file as it was, and is told in one line."""
        made = self.made()
        with mock.patch.object(files.os, "rename", side_effect=OSError(28, "No space left")):
            text = self.failing(self.store.claim(made.id, KEY))
        self.assertEqual(text, f"cannot write {self.file}: No space left")
        self.assertEqual(self.opened().list(), [made])


class FileTests(StoreCase):
    """Whatever stands in the file, it is understood or refused in one line."""

    def refusal(self, content: bytes) -> str:
        """What is said about a content, whoever asks; the file stays what it is."""
        write(self.file, content)
        error = self.assertRaises(CredentialError, self.opened)
        text = str(error)
        for shown in traceback.format_exception(error):
            self.assertNotIn("5ec2e7", shown)
        self.assertNotIn("\n", text)
        for outcome in (self.store.make("lamp"), self.store.claim("0" * 16, KEY)):
            self.assertEqual(self.failing(outcome), text)
        self.assertRaises(CredentialError, self.store.list)
        self.assertEqual(read(self.file), content)
        return text.removeprefix(self.file)

    def line(self, **changes: object) -> bytes:
        fields = {
            "id": "0123456789abcdef",
            "name": "lamp",
            "expires": 2_000_000_000,
            "confirm": False,
            "replace": False,
            "state": "open",
            "fingerprint": "",
            "secret": "5ec2e7" + "00" * 29,
        }
        return json.dumps(fields | changes).encode() + b"\n"

    def test_line(self) -> None:
        """A line that somebody wrote is understood; blank lines and comments say nothing."""
        write(self.file, b"\n# lamps\n" + self.line())
        (found,) = self.opened().list()
        self.assertEqual((found.name, found.expires), ("lamp", 2_000_000_000))

    def test_wrong(self) -> None:
        """A line that is not understood is refused with its number."""
        shape = (
            "not an object of id, name, expires, confirm, replace, state, fingerprint, secret, "
            "each of its type"
        )
        form = "the secret is not in hexadecimal, or the state is none"
        for content, expected in (
            (b"5ec2e7\n", "not a line of JSON"),
            (b"[" * 8000, "not a line of JSON"),
            (b"\xff\n", "not a line of JSON"),
            (b"{" + self.line(), "not a line of JSON"),
            (b"[]\n", shape),
            (b"{}\n", shape),
            (self.line(more=1), shape),
            (self.line(expires="2000000000"), shape),
            (self.line(expires=True), shape),
            (self.line(expires=2e9), shape),
            (self.line(name=None), shape),
            (self.line(confirm=0), shape),
            (self.line(expires=0), "the time at which it expires is out of bounds"),
            (self.line(expires=10**4000), "the time at which it expires is out of bounds"),
            (self.line(secret="5ec2e7z"), form),
            (self.line(state="new"), form),
            (self.line(secret="5ec2e7"), "the secret does not go with the state open"),
            (
                self.line(state="used", fingerprint=PRINT),
                "the secret does not go with the state used",
            ),
            (self.line(state="claimed"), "not a fingerprint"),
            (self.line(fingerprint=PRINT), "nobody has come, but there is a fingerprint"),
            (self.line(id="0123"), "the id of an invitation is 16 hexadecimal digits"),
            (self.line(name=""), "an invitation has a name"),
            (self.line(name="\ud800"), "characters that are not printable"),
            (self.line(name="a" * 185), "more than 184 octets"),
            (self.line(name="ü" * 93), "more than 184 octets"),
            (b"x" * 9000, "longer than 8192 bytes"),
        ):
            self.assertIn(expected, self.refusal(b"# one\n" + content))
            self.assertTrue(self.refusal(b"# one\n" + content).startswith(":2: "), content)

    def test_twice(self) -> None:
        """An invitation stands once."""
        self.assertEqual(
            self.refusal(self.line() + self.line(name="kettle")),
            ":2: the invitation 0123456789abcdef stands there twice",
        )

    def test_tooMany(self) -> None:
        """A file with more invitations than there can be is refused, and so is a longer one."""
        self.patch(invitations, "MAX_INVITATIONS", 1)
        self.assertEqual(
            self.refusal(self.line() + self.line(id="f" * 16)), ":2: more than 1 invitations"
        )
        self.patch(invitations, "MAX_FILE", 100)
        self.assertIn("longer than 100 bytes", self.refusal(self.line()))

    def test_open(self) -> None:
        """A file that others may read is refused: whoever has read it may have joined."""
        self.made()
        os.chmod(self.file, 0o640)
        error = self.assertRaises(CredentialError, self.opened)
        self.assertIn("permissions 0640 are too open", str(error))
        self.assertIn("too open", self.failing(self.store.make("kettle")))

    def test_mended(self) -> None:
        """What is wrong with the file is told as long as it is, and then no more."""
        write(self.file, b"5ec2e7\n")
        for _ in range(2):
            self.assertRaises(CredentialError, self.store.list)
        write(self.file, self.line())
        self.assertEqual(len(self.store.list()), 1)

    @given(st.binary(max_size=300))
    def test_anything(self, content: bytes) -> None:
        """No content confuses the reader."""
        for octets in (content, self.line()[:-1] + content, self.line() + content):
            try:
                found = invitations._parse("invitations", octets)
            except CredentialError as error:
                self.assertTrue(str(error).startswith("invitations:"))
            else:
                self.assertEqual(invitations._parse("", invitations._format(found)), found)

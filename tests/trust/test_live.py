"""A server follows its files of keys, in the sessions that are up, too."""

from __future__ import annotations

import errno
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.pairs import Pair, freshClient
from tests.trust.test_keys import DirectoryMixin, write
from tests.turning import TurningClock
from thing import CredentialKind, EndReason, Identity, IdentityKey, NotAuthorized
from thing.endpoints.stream import ApplicationFactory, StreamFactory
from thing.trust import authorized, formatPublicKey
from thing.trust.chosen import ServerChoice
from thing.trust.live import INTERVAL, LiveTrust


class LiveCase(DirectoryMixin, SynchronousTestCase):
    """A server that follows its files."""

    def setUp(self) -> None:
        super().setUp()
        self.logged: list[str] = []
        observe = self.observe
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.thing, self.clock = IdentityKey.generate(), TurningClock()
        IdentityKey.generate().save(self.path("key"))
        self.authorize()
        given = {"identity": self.path("key"), "authorized": self.path("things")}
        self.choice = ServerChoice.read(given)
        self.factory = StreamFactory(
            self.choice.settings(), self.choice.authorizer, clock=self.clock
        )
        self.factory.trust = LiveTrust(self.choice, self.clock)
        self.application = ApplicationFactory(self.factory, Factory.forProtocol(Protocol))
        self.application.doStart()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Listen no more; then nothing is looked at any more, either."""
        if self.application.sessions.numPorts:
            self.application.doStop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def connect(self) -> Pair:
        """The thing, at the beginning of its handshake."""
        return Pair(
            client=freshClient(credential=self.thing),
            serverFactory=self.application,
            clock=self.clock,
        ).connect()

    def observe(self, event: Any) -> None:
        if event["log_namespace"].startswith(("thing.trust.live", "thing.trust.tickets")):
            self.logged.append(formatEvent(event))

    def authorize(self, *keys: IdentityKey) -> None:
        """Replace the file of authorized things, as an editor does."""
        lines = "".join(f"{key.publicLine('lamp')}\n" for key in keys) or "# empty\n"
        write(self.path("new"), lines.encode())
        os.replace(self.path("new"), self.path("things"))

    def wait(self) -> None:
        """Let the time pass in which a change is seen, and seen to be over."""
        self.clock.pump([INTERVAL, INTERVAL])

    def admits(self) -> bool:
        """Whether the thing is admitted now."""
        try:
            self.factory.authorizer.authorize(
                Identity(CredentialKind.ED25519, self.thing.publicKey)
            )
        except NotAuthorized:
            return False
        return True


class LiveTests(LiveCase):
    """Files that change while a server runs."""

    def test_added(self) -> None:
        """A key that is put into the file is admitted within seconds."""
        self.assertFalse(self.admits())
        self.authorize(self.thing)
        self.wait()
        self.assertTrue(self.admits())
        self.assertEqual(len(self.logged), 1)
        self.assertRegex(
            self.logged[0], r"^Reloaded: the server's key is SHA256:\S{43}; keys authorized: 1$"
        )

    def test_removed(self) -> None:
        """A key that is taken out of the file is not."""
        self.authorize(self.thing)
        self.wait()
        self.authorize()
        self.wait()
        self.assertFalse(self.admits())

    def test_whileAnybodyIsHere(self) -> None:
        """Who is here when nobody listens any more is reviewed all the same, to the last."""
        self.authorize(self.thing)
        self.wait()
        pair = self.connect()
        pair.pump()
        self.application.doStop()
        self.authorize()
        pair.advance(3 * INTERVAL)
        self.assertIs(pair.client.end.reason, EndReason.REVOKED)
        self.stop()

    def test_comesLater(self) -> None:
        """So is who began before, and is let in when nobody listens any more."""
        self.authorize(self.thing)
        self.wait()
        pair = self.connect()
        self.application.doStop()
        pair.pump()
        self.assertIsNotNone(pair.client.session)
        self.authorize()
        pair.advance(3 * INTERVAL)
        self.assertIs(pair.client.end.reason, EndReason.REVOKED)
        self.stop()

    def test_halfWritten(self) -> None:
        """A file that is being written in place is not read before it is whole."""
        self.authorize(self.thing)
        self.wait()
        whole = Path(self.path("things")).read_bytes()
        write(self.path("things"), b"")
        self.clock.advance(INTERVAL)
        write(self.path("things"), whole + b"# the end\n")
        self.clock.advance(INTERVAL)
        self.assertEqual(len(self.logged), 1)
        self.assertTrue(self.admits())
        self.clock.advance(INTERVAL)
        self.assertEqual(len(self.logged), 2)
        self.assertTrue(self.admits())

    def test_emptied(self) -> None:
        """A file that is suddenly empty, as a full disk leaves it, revokes nobody, loudly."""
        self.authorize(self.thing)
        self.wait()
        write(self.path("things"), b"")
        self.wait()
        self.assertTrue(self.admits())
        self.assertIn("Not reloaded, all stays as it was: ", self.logged[-1])
        self.assertIn("things is suddenly empty, which is taken for a fault", self.logged[-1])
        write(self.path("things"), b"# empty\n")
        self.wait()
        self.assertFalse(self.admits())

    def test_ownKey(self) -> None:
        """The server's own key follows its file, too; whatever else was set stays."""
        IdentityKey.generate().save(self.path("other"))
        os.replace(self.path("other"), self.path("key"))
        self.wait()
        settings: Any = self.factory.settings
        self.assertEqual(settings.credential.data, IdentityKey.load(self.path("key")).publicKey)
        self.assertTrue(settings.stream)
        self.assertIs(settings.tickets, self.choice.tickets)

    def test_damaged(self) -> None:
        """A file that is of no use changes nothing, until it is mended."""
        self.authorize(self.thing)
        self.wait()
        write(self.path("things"), b"nonsense\n")
        self.wait()
        self.assertTrue(self.admits())
        self.assertIn("Not reloaded, all stays as it was", self.logged[-1])
        os.remove(self.path("things"))
        self.wait()
        self.assertTrue(self.admits())
        self.authorize()
        self.wait()
        self.assertFalse(self.admits())

    def test_unchanged(self) -> None:
        """Files that have not changed are not read, nor looked at more than once a second."""
        with mock.patch.object(ServerChoice, "again", side_effect=AssertionError):
            self.wait()
        self.authorize(self.thing)
        with mock.patch.object(os, "stat", side_effect=AssertionError):
            self.clock.advance(INTERVAL / 2)
        self.assertFalse(self.admits())

    def test_description(self) -> None:
        """A description has it so, wherever the process goes after it is parsed."""
        for name in ("key", "things"):
            self.assertFalse(os.path.isabs(self.path(name)))
        words = f"thing:0:identity={self.path('key')}:authorized={self.path('things')}"
        endpoint = serverFromString(MemoryReactorClock(), words)
        live = endpoint.factory.trust
        self.assertIsInstance(live, LiveTrust)
        for path in live.choice.files:
            self.assertTrue(os.path.isabs(path), path)

    def test_begins(self) -> None:
        """What is in a file already but begins to count later is put to use when it does."""
        now = datetime.fromtimestamp(1000.0, timezone.utc)
        begins = [now + timedelta(seconds=10)]
        with mock.patch.object(ServerChoice, "nextBegin", lambda choice, now: begins[0]):
            live = LiveTrust(self.choice, self.clock, lambda: 1000.0 + self.clock.seconds())
            told: list[ServerChoice] = []
            live.followers.append(lambda choice: succeed(told.append(choice) or 0))
            live.start()
            self.addCleanup(live.stop)
            self.clock.pump([INTERVAL] * 9)
            self.assertEqual(told, [])
            begins[0] = None
            self.clock.pump([INTERVAL] * 9)
        self.assertEqual(len(told), 1)

    def test_troubles(self) -> None:
        """What is wrong with a file that can be used is said once, as long as it lasts."""
        troubles = ["one"]
        live, before = LiveTrust(self.choice, self.clock), self.factory.trust
        assert before is not None
        before.stop()
        with mock.patch.object(ServerChoice, "troubles", lambda choice, now: [*troubles]):
            live.start()
            self.addCleanup(live.stop)
            self.assertEqual(self.logged, ["one"])
            self.wait()
            troubles.append("two")
            self.wait()
            self.assertEqual(self.logged, ["one", "two"])
            troubles.clear()
            self.wait()
            troubles.append("one")
            self.wait()
            live.stop()
        self.assertEqual(self.logged, ["one", "two", "one"])

    def test_sayUnreadable(self) -> None:
        """What the process cannot read any more is said, since no change of it is followed."""
        given = {**self.choice.given, "ticketKeys": self.path("tickets")}
        live = LiveTrust(ServerChoice.read(given), self.clock)
        live.sayUnreadable()
        self.assertEqual(self.logged, [])

        def refuse(path: str, flags: int, mode: int = 0, *, dir_fd: int | None = None) -> int:
            raise PermissionError(errno.EACCES, "Permission denied")

        with mock.patch("thing.trust.files.os.open", refuse):
            live.sayUnreadable()
        self.assertEqual(
            self.logged,
            [
                f"{path} cannot be read any more: Permission denied; what it was at the start "
                "holds until a restart, even if it changes"
                for path in (self.path("key"), self.path("things"))
            ]
            + [
                "No new ticket key can be made, so tickets end with those that there are: "
                f"cannot lock {self.path('tickets')}: Permission denied"
            ],
        )
        self.logged.clear()
        with mock.patch("thing.trust.tickets.os.access", return_value=False):
            live.sayUnreadable()
        self.assertEqual(len(self.logged), 1)
        self.assertIn("cannot write into the directory of ", self.logged[0])

    def test_followers(self) -> None:
        """Whoever follows is told each new choice, and all of what they did for it is counted."""
        live = LiveTrust(self.choice, self.clock)
        told: list[ServerChoice] = []

        def follow(choice: ServerChoice) -> Deferred[int]:
            told.append(choice)
            return succeed(2)

        live.followers += [follow, follow]
        self.assertEqual(self.successResultOf(live.reload()), 4)
        self.assertIs(told[0], told[1])
        self.assertIsNot(told[0], self.choice)

    def test_followerFails(self) -> None:
        """What a follower cannot use is not kept, and the log says why."""
        live = LiveTrust(self.choice, self.clock)

        def follow(choice: ServerChoice) -> Deferred[int]:
            raise ValueError("not that")

        live.followers.append(follow)
        self.assertEqual(self.successResultOf(live.reload()), 0)
        expected = "Not reloaded, all stays as it was: ValueError: not that"
        self.assertEqual(self.logged, [expected])

    def test_replaced(self) -> None:
        """A factory follows the trust that it has now, and no other."""
        before, after = self.factory.trust, LiveTrust(self.choice, self.clock)
        assert before is not None
        self.factory.trust = after
        self.assertEqual((len(before.followers), len(after.followers)), (0, 1))
        self.factory.trust = None
        self.assertEqual(after.followers, [])
        before.stop()


class LongListTests(LiveCase):
    """Lists that are too long for one turn of the reactor."""

    MANY = 1000
    """Lines of a file: some 90 KB."""

    def setUp(self) -> None:
        super().setUp()
        self.read: list[int] = []
        self.trust = self.factory.trust
        assert self.trust is not None
        parse = authorized.parseLine

        def counting(text: str, number: int) -> Any:
            self.read.append(number)
            return parse(text, number)

        self.patch(authorized, "parseLine", counting)
        self.many = "".join(
            f"{formatPublicKey(number.to_bytes(32, 'big'), f'thing-{number}')}\n"
            for number in range(self.MANY)
        )

    def write(self, *lines: str) -> None:
        write(self.path("new"), "".join(lines).encode())
        os.replace(self.path("new"), self.path("things"))

    def turn(self) -> int:
        """Let the reactor turn once; how many lines were read in that."""
        before = len(self.read)
        self.clock.turn()
        return len(self.read) - before

    def turns(self) -> list[int]:
        """Let it turn until nothing is to be done at once; the lines read in each turn."""
        lines = []
        while self.clock.isBusy():
            lines.append(self.turn())
        return lines

    def reload(self) -> int:
        """Read the files, to the end; how many sessions were asked to leave for that."""
        reloading = self.trust.reload()
        self.turns()
        return self.successResultOf(reloading)

    def lamp(self) -> str:
        return f"{self.thing.publicLine('lamp')}\n"

    def test_inSlices(self) -> None:
        """A turn reads some lines, and nothing of them counts before all are read."""
        self.write(self.lamp(), self.many)
        reloading = self.trust.reload()
        first = len(self.read)
        self.assertNoResult(reloading)
        self.assertFalse(self.admits())
        lines = self.turns()
        self.assertEqual(first + sum(lines), 1 + self.MANY)
        self.assertGreater(len(lines), 4)
        self.assertLess(max(first, *lines), self.MANY / 4)
        self.assertEqual(self.successResultOf(reloading), 0)
        self.assertTrue(self.admits())

    def test_otherLists(self) -> None:
        """Pre-shared keys, what is revoked and the keys of nodes are read so, too."""
        for keyword, content in (
            ("presharedKeys", "".join(f"thing-{each}:{each:064x}\n" for each in range(2000))),
            ("revoked", self.many),
            ("nodes", self.many),
        ):
            path = write(self.path(keyword), b"# empty\n")
            live = LiveTrust(ServerChoice.read({**self.choice.given, keyword: path}), self.clock)
            write(path, content.encode())
            reloading = live.reload()
            self.assertGreater(len(self.turns()), 4, keyword)
            self.successResultOf(reloading)

    def test_overlapping(self) -> None:
        """Who asks while the file is read gets a reading that begins later, one for all."""
        self.write(self.many)
        first = self.trust.reload()
        self.turn()
        self.write(self.lamp(), self.many)
        others = [self.trust.reload(), self.trust.reload()]
        while not first.called:
            self.turn()
        self.assertFalse(self.admits())
        self.assertNoResult(others[0])
        self.turns()
        for each in others:
            self.successResultOf(each)
        self.assertTrue(self.admits())
        self.assertEqual(len(self.logged), 2)

    def test_revokedMeanwhile(self) -> None:
        """A key that is taken out while the file is read is out, and its session ends."""
        self.write(self.lamp(), self.many)
        self.reload()
        pair = self.connect()
        pair.pump()
        self.write(self.many, self.lamp())
        reloading = self.trust.reload()
        self.write(self.many)
        self.turns()
        self.successResultOf(reloading)
        self.assertTrue(self.admits())
        pair.advance(3 * INTERVAL)
        self.assertFalse(self.admits())
        self.assertIs(pair.client.end.reason, EndReason.REVOKED)

    def test_admittedMeanwhile(self) -> None:
        """Who was let in by the old list while the new one was read is reviewed with the rest."""
        self.write(self.lamp())
        self.reload()
        self.write(self.many)
        reloading = self.trust.reload()
        pair = self.connect()
        pair.pump()
        self.assertIsNotNone(pair.client.session)
        self.turns()
        self.assertEqual(self.successResultOf(reloading), 1)
        pair.pump()
        self.assertIs(pair.client.end.reason, EndReason.REVOKED)

    def test_brokenMeanwhile(self) -> None:
        """What is read is what the file had when its reading began; then what it has counts."""
        self.write(self.lamp(), self.many)
        reloading = self.trust.reload()
        write(self.path("things"), b"nonsense\n")
        self.turns()
        self.successResultOf(reloading)
        self.assertTrue(self.admits())
        self.wait()
        self.assertTrue(self.admits())
        self.assertIn("Not reloaded, all stays as it was", self.logged[-1])
        self.write(self.many)
        self.wait()
        self.turns()
        self.assertFalse(self.admits())

    def test_brokenLate(self) -> None:
        """A fault at the end of a long list leaves all as it was."""
        self.write(self.lamp(), self.many)
        self.reload()
        self.write(self.many, "nonsense\n")
        self.assertEqual(self.reload(), 0)
        self.assertTrue(self.admits())
        self.assertIn(f"things:{self.MANY + 1}: ", self.logged[-1])

    def test_added(self) -> None:
        """Of a list that has just more lines, those are read: all else is known."""
        self.write(self.many)
        self.reload()
        self.read.clear()
        self.write(self.many, self.lamp())
        self.reload()
        self.assertEqual(self.read, [self.MANY + 1])
        self.assertTrue(self.admits())
        self.write(self.many, self.lamp(), self.lamp())
        self.reload()
        self.assertIn(
            f"things:{self.MANY + 2}: the key is already in line {self.MANY + 1}", self.logged[-1]
        )

    def test_stopped(self) -> None:
        """Who stops looking gives up a reading; when it starts again, the file is read."""
        self.write(self.lamp(), self.many)
        reloading = self.trust.reload()
        self.turn()
        self.application.doStop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.successResultOf(reloading), 0)
        self.assertFalse(self.admits())
        self.application.doStart()
        self.wait()
        self.turns()
        self.assertTrue(self.admits())

    def test_failsForGood(self) -> None:
        """A reading that ends as none should does not keep the next one from being made."""
        with mock.patch.object(ServerChoice, "again", side_effect=KeyboardInterrupt):
            self.failureResultOf(self.trust.reload(), KeyboardInterrupt)
        self.write(self.lamp())
        self.reload()
        self.assertTrue(self.admits())

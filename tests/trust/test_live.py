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
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.pairs import Pair, freshClient
from tests.trust.test_keys import DirectoryMixin, write
from thing import CredentialKind, EndReason, Identity, IdentityKey, NotAuthorized
from thing.endpoints.stream import ApplicationFactory, StreamFactory
from thing.trust.chosen import ServerChoice
from thing.trust.live import INTERVAL, LiveTrust


class LiveTests(DirectoryMixin, SynchronousTestCase):
    """Files that change while a server runs."""

    def setUp(self) -> None:
        super().setUp()
        self.logged: list[str] = []
        observe = self.observe
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.thing, self.clock = IdentityKey.generate(), Clock()
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

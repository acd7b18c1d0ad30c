"""The things that a node knows: who is here, who was, in order, and within bounds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from thing.fleet import Filter, Status, directory
from thing.fleet.directory import MOST_ENDINGS, Directory
from thing.fleet.sessions import LocalSession, markOf

NOW = 1000.0


def sessionOf(id: str, session: str = "aa" * 16, epoch: int = 1) -> LocalSession:
    """A session that is up, as far as a directory looks at it."""
    peer = SimpleNamespace(name=id, fingerprint="SHA256:x")
    agreed = SimpleNamespace(peer=peer, group="x25519", aead="aes", resumed=False)
    figures = dict.fromkeys(
        (
            *("heartbeats", "octetsReceived", "octetsSent", "messagesReceived", "messagesSent"),
            *("openStreams", "creditStalls"),
        ),
        0,
    )
    protocol: Any = SimpleNamespace(
        session=agreed,
        sessionId=session,
        termination=None,
        silence=4.0,
        roundTripTime=0.1,
        ttl=30.0,
        **figures,
    )
    return LocalSession(protocol, id, "key", 900.0, "192.0.2.1:1", epoch)


class DirectoryTests(SynchronousTestCase):
    """A directory of one node."""

    def setUp(self) -> None:
        self.directory = Directory("node", lambda: NOW, mostGone=2)

    def enter(self, *ids: str) -> list[LocalSession]:
        """Things come."""
        sessions = [sessionOf(id) for id in ids]
        for session in sessions:
            self.directory.enter(session)
        return sessions

    def ids(self, status: Status | None = None, after: str = "") -> list[str]:
        """Which things are listed."""
        page = self.directory.page(after, 10, Filter(status=status))
        return [record.id for record in page.things]

    def test_order(self) -> None:
        """Things are listed in the order of their ids, behind any."""
        self.enter("c", "a", "b")
        self.assertEqual(self.ids(), ["a", "b", "c"])
        self.assertEqual(self.ids(after="a"), ["b", "c"])
        self.assertEqual(self.ids(after="bb"), ["c"])
        self.assertEqual(self.ids(after="c"), [])

    def test_numbers(self) -> None:
        """Numbers in ids count as numbers, also where a page begins."""
        self.enter("lamp-10", "lamp-2", "lamp-1")
        self.assertEqual(self.ids(), ["lamp-1", "lamp-2", "lamp-10"])
        self.assertEqual(self.ids(after="lamp-2"), ["lamp-10"])
        self.assertEqual(self.ids(after="lamp-3"), ["lamp-10"])

    def test_pages(self) -> None:
        """A page has no more than was asked for, and names the last id if another follows."""
        self.enter(*"abcd")
        found, after = [], ""
        for size in (2, 1, 1):
            page = self.directory.page(after, size, Filter())
            found.append(([record.id for record in page.things], page.following))
            after = page.following or ""
        self.assertEqual(found, [(["a", "b"], "b"), (["c"], "c"), (["d"], None)])

    def test_longSearch(self) -> None:
        """Who looks for few among many gets short pages, and goes on behind what was looked at."""
        self.patch(directory, "LOOKED", 3)
        self.enter(*"abcdefg")
        wanted = Filter(text="SHA256:y")
        followers = []
        after: str | None = ""
        while after is not None:
            page = self.directory.page(after, 10, wanted)
            self.assertEqual(page.things, ())
            followers.append(after := page.following)
        self.assertEqual(followers, ["c", "f", None])

    def test_hereAndGone(self) -> None:
        """Who left is known as gone, and here again when it comes back."""
        lamp, _ = self.enter("lamp", "door")
        self.assertIs(self.directory.here("lamp"), lamp)
        self.directory.leave(lamp)
        self.assertIsNone(self.directory.here("lamp"))
        self.assertEqual((self.ids(), self.ids(Status.GONE)), (["door"], ["lamp"]))
        record = self.directory.find("lamp")
        assert record is not None
        self.assertEqual((record.status, record.lastSeen, record.traffic), (Status.GONE, NOW, None))
        self.enter("lamp")
        self.assertEqual((self.ids(), self.ids(Status.GONE)), (["door", "lamp"], []))

    def test_record(self) -> None:
        """Of who is here it tells what is measured now."""
        (lamp,) = self.enter("lamp")
        record = self.directory.find("lamp")
        assert record is not None and record.traffic is not None
        self.assertEqual((record.status, record.lastSeen), (Status.PRESENT, NOW - 4.0))
        lamp.late = True
        self.assertEqual(self.ids(Status.LATE), ["lamp"])
        self.assertIsNone(self.directory.find("door"))

    def test_takeover(self) -> None:
        """A newer session has its thing, and the older one is told; it is one thing all along."""
        (older,) = self.enter("lamp")
        newer = sessionOf("lamp", "bb" * 16, epoch=2)
        self.assertIs(self.directory.enter(newer), older)
        self.assertIs(self.directory.here("lamp"), newer)
        self.assertEqual(self.ids(), ["lamp"])
        self.assertEqual(self.directory.epoch("lamp"), 2)

    def test_epochs(self) -> None:
        """The largest epoch is kept, also of who is gone; of strangers nothing is."""
        (lamp,) = self.enter("lamp")
        self.directory.leave(lamp)
        for epoch in (7, 5):
            self.directory.raiseEpoch("lamp", epoch)
            self.directory.raiseEpoch("door", epoch)
        self.assertEqual([self.directory.epoch(id) for id in ("lamp", "door")], [7, 0])

    def test_endings(self) -> None:
        """The latest ends of a thing's sessions are remembered, the last one first."""
        (lamp,) = self.enter("lamp")
        for number in range(MOST_ENDINGS + 2):
            self.directory.remember(lamp, "GOODBYE", str(number))
        self.directory.remember(sessionOf("door"), "GOODBYE", "of nobody")
        record = self.directory.find("lamp")
        assert record is not None
        self.assertEqual([each.detail for each in record.endings], ["6", "5", "4", "3", "2"])
        ending = record.endings[0]
        self.assertEqual((ending.node, ending.since, ending.until), ("node", 900.0, NOW))

    def test_forgotten(self) -> None:
        """Of those that are gone the last ones are remembered, and not who came back."""
        one, two, three, four = self.enter("one", "two", "three", "four")
        self.directory.leave(one)
        self.directory.leave(two)
        self.enter("one")
        self.directory.leave(three)
        self.directory.leave(four)
        self.assertEqual(self.ids(Status.GONE), ["four", "three"])
        self.assertEqual(self.ids(), ["one"])
        self.assertIsNone(self.directory.find("two"))

    def test_onlyItsOwn(self) -> None:
        """A thing that is called after its session is forgotten with it."""
        session = sessionOf(f"lamp{markOf('aa' * 16)}")
        self.assertTrue(session.onlyItsOwn)
        self.directory.enter(session)
        self.directory.leave(session)
        self.assertIsNone(self.directory.find(session.id))
        self.assertEqual(self.ids(Status.GONE), [])

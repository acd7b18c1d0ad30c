"""The latest of what happened: order, bounds, and those who come late."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from thing.fleet.feed import OVERHEAD, Feed, costOf
from thing.fleet.model import FedEvent, FleetEvent, Kind
from thing.fleet.positions import formatPosition, parsePosition


def event(at: float = 1.0, id: str = "lamp", **data: Any) -> FleetEvent:
    """Something that happened."""
    return FleetEvent(
        kind=Kind.MESSAGE,
        id=id,
        epoch=1,
        sequence=1,
        node="here",
        session="00",
        at=at,
        data=data,
    )


class FeedTests(SynchronousTestCase):
    """What is kept, and who is told."""

    def setUp(self) -> None:
        self.feed = Feed(0.0)
        self.told: list[FedEvent | None] = []

    def ids(self) -> list[str | None]:
        """What was told, by the ids of the things."""
        return [None if fed is None else fed.event.id for fed in self.told]

    def test_live(self) -> None:
        """Who subscribes without a position is told what happens from now on, until it ends."""
        self.feed.append(event(id="before"))
        subscription = self.feed.subscribe(self.told.append)
        subscription.start()
        self.feed.append(event(id="now"))
        subscription.cancel()
        self.feed.append(event(id="after"))
        self.assertEqual(self.ids(), ["now"])
        subscription.cancel()

    def test_resume(self) -> None:
        """Who gives the position of an event is told all that followed it, and then what comes."""
        first = self.feed.append(event(id="a"))
        self.feed.append(event(id="b"))
        self.feed.append(event(id="c"))
        self.feed.subscribe(self.told.append, first.position).start()
        self.feed.append(event(id="d"))
        self.assertEqual(self.ids(), ["b", "c", "d"])

    def test_resumeAtTheEnd(self) -> None:
        """Who has all misses nothing."""
        self.feed.append(event())
        self.feed.subscribe(self.told.append, self.feed.latest).start()
        self.assertEqual(self.told, [])

    def test_lostByCount(self) -> None:
        """What is kept has a bound; who needs more is told that something is lost."""
        feed = Feed(0.0, mostEvents=3)
        positions = [feed.append(event(id=id)).position for id in "abcde"]
        feed.subscribe(self.told.append, positions[1]).start()
        self.assertEqual(self.ids(), ["c", "d", "e"])
        self.told.clear()
        feed.subscribe(self.told.append, positions[0]).start()
        self.assertEqual(self.ids(), [None, "c", "d", "e"])

    def test_lostBySize(self) -> None:
        """A few long messages count as many short ones, and one that is too long is not kept."""
        feed = Feed(0.0, mostOctets=3 * OVERHEAD + 200)
        before = feed.latest
        for id in "abc":
            feed.append(event(id=id))
        feed.append(event(id="d", text="x" * 100))
        subscription = feed.subscribe(self.told.append, before)
        subscription.start()
        self.assertEqual(self.ids(), [None, "b", "c", "d"])
        subscription.cancel()
        self.told.clear()
        feed.append(event(id="e", text="x" * 10_000))
        feed.subscribe(self.told.append, before).start()
        self.assertEqual(self.ids(), [None])

    def test_wideCharacters(self) -> None:
        """What counts is the memory that a text takes: one wide character makes all of them so."""
        plain, wide = (costOf(event(text="x" * 1000 + last)) for last in ("x", "\U0001f4a1"))
        self.assertGreater(plain, 1000)
        self.assertGreater(wide, 4000)

    def test_ofAnotherProcess(self) -> None:
        """A position from before this feed began, or from its future, is not one of its own."""
        feed = Feed(50.0)
        feed.append(event(at=51.0, id="a"))
        for strange in ("49000-3", "51000-7", "99999999-0"):
            self.told.clear()
            feed.subscribe(self.told.append, strange).start()
            self.assertIn(None, self.ids(), strange)

    def test_clockGoesBack(self) -> None:
        """Positions grow, whatever the clock does."""
        positions = [
            parsePosition(self.feed.append(event(at=at)).position) for at in (5.0, 5.0, 2.0, 5.001)
        ]
        self.assertEqual(positions, [(5000, 0), (5000, 1), (5000, 2), (5001, 0)])

    def test_receiverFails(self) -> None:
        """One that fails does not keep the others from being told; the log has it."""

        def broken(fed: FedEvent | None) -> None:
            raise RuntimeError("broken")

        self.feed.subscribe(broken).start()
        self.feed.subscribe(self.told.append).start()
        self.feed.append(event(id="a"))
        self.assertEqual(self.ids(), ["a"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_endsWhileTold(self) -> None:
        """A subscription may end while something is told."""
        subscription = self.feed.subscribe(lambda fed: subscription.cancel())
        subscription.start()
        self.feed.subscribe(self.told.append).start()
        self.feed.append(event(id="a"))
        self.feed.append(event(id="b"))
        self.assertEqual(self.ids(), ["a", "b"])

    def test_endsWhileToldWhatWas(self) -> None:
        """A subscription may end at the first event that was before it; nothing is left of it."""
        first = self.feed.append(event(id="a"))
        for id in "bcd":
            self.feed.append(event(id=id))

        def receive(fed: FedEvent | None) -> None:
            self.told.append(fed)
            for subscription in self.feed.subscriptions:
                subscription.cancel()

        for after in (first.position, "9999-0"):
            self.feed.subscribe(receive, after).start()
            self.assertEqual(self.feed.subscriptions, [])
        self.feed.append(event(id="e"))
        self.assertEqual(self.ids(), ["b", None])

    def test_happensWhileToldWhatWas(self) -> None:
        """What a receiver makes happen is told it in its turn, once; so it is told the others."""
        first = self.feed.append(event(id="a"))
        self.feed.append(event(id="b"))
        self.feed.append(event(id="c"))

        def receive(fed: FedEvent | None) -> None:
            self.told.append(fed)
            if fed is not None and fed.event.id in ("b", "e"):
                self.feed.append(event(id=f"after {fed.event.id}"))

        others: list[FedEvent | None] = []
        self.feed.subscribe(receive, first.position).start()
        self.assertEqual(self.ids(), ["b", "c", "after b"])
        self.feed.subscribe(others.append).start()
        self.feed.append(event(id="e"))
        self.assertEqual(self.ids(), ["b", "c", "after b", "e", "after e"])
        self.assertEqual(others, self.told[3:])

    def test_lostWhileToldWhatWas(self) -> None:
        """Who makes more happen than is kept is told that events are lost, and goes on."""
        feed = Feed(0.0, mostEvents=3)

        def receive(fed: FedEvent | None) -> None:
            self.told.append(fed)
            if fed is not None and fed.event.id == "a":
                for id in "bcdef":
                    feed.append(event(id=id))

        feed.subscribe(receive).start()
        feed.append(event(id="a"))
        self.assertEqual(self.ids(), ["a", None, "d", "e", "f"])

    def test_tooLongToKeep(self) -> None:
        """What is too long to be kept is told all the same."""
        feed = Feed(0.0, mostOctets=OVERHEAD)
        feed.subscribe(self.told.append).start()
        feed.append(event(id="a", text="x" * 1000))
        feed.append(event(id="b", text="x" * 1000))
        self.assertEqual(self.ids(), ["a", "b"])

    def test_notAPosition(self) -> None:
        """What is no position is refused."""
        for text in ("", "1", "-", "1-", "-1", "1-2-3", "a-b", "1 -2", "٣-1", "1-" + 60 * "0"):
            self.assertRaises(ValueError, self.feed.subscribe, self.told.append, text)
        for text in (f"{2**64}-0", f"0-{2**64}"):
            self.assertRaises(ValueError, self.feed.subscribe, self.told.append, text)
        self.feed.subscribe(self.told.append, f"{2**64 - 1}-{2**64 - 1}")

    @given(st.tuples(st.integers(0, 1 << 50), st.integers(0, 1 << 30)))
    def test_positionsAreReadAsWritten(self, position: tuple[int, int]) -> None:
        """Writing and reading are inverse."""
        self.assertEqual(parsePosition(formatPosition(position)), position)


class EventTests(SynchronousTestCase):
    """Events as JSON holds them."""

    def test_inverse(self) -> None:
        """What is written is read back the same."""
        before = event(text="hello")
        self.assertEqual(FleetEvent.fromDict(before.asDict()), before)

    def test_notAnEvent(self) -> None:
        """What lacks a field, or has a kind that is not known, is refused."""
        found = event().asDict()
        for name in ("kind", "epoch", "at"):
            self.assertRaises(
                (KeyError, ValueError),
                FleetEvent.fromDict,
                {key: value for key, value in found.items() if key != name},
            )
        self.assertRaises(ValueError, FleetEvent.fromDict, found | {"kind": "exploded"})

"""What waits to be written into the registry: its order, its bounds, and what is sent again."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from thing.fleet.redis.connection import RegistryAway, RegistryRefused
from thing.fleet.redis.operations import LastWord
from thing.fleet.redis.outbox import (
    MOST_OCTETS_OF_ONE,
    MOST_OF_ONE,
    OVERHEAD,
    WINDOW,
    WINDOW_OCTETS,
    Outbox,
    Write,
)
from thing.fleet.redis.script import Outcome


class Sessionlike:
    """As much of a session as the outbox needs."""

    def __init__(self, id: str) -> None:
        self.id = id


class OutboxTests(SynchronousTestCase):
    """An outbox whose registry is the test."""

    def setUp(self) -> None:
        self.sent: list[tuple[Write, Deferred[Any]]] = []
        self.names: dict[Write, str] = {}
        self.settled: list[tuple[str, str]] = []
        self.damage: list[str] = []
        self.done = True
        self.needed: set[str] = set()
        self.outbox = self.make(mostWaiting=200, mostOctets=1 << 20)

    def make(self, **bounds: int) -> Outbox:
        return Outbox(
            self.send,
            self.settle,
            self.damage.append,
            self.isNeeded,
            **bounds,
        )

    def isNeeded(self, write: Write) -> bool:
        return self.names[write] in self.needed

    def send(self, write: Write) -> Deferred[Any]:
        sending: Deferred[Any] = Deferred()
        self.sent.append((write, sending))
        return sending

    def settle(self, write: Write, outcome: Outcome) -> bool:
        self.settled.append((self.names[write], outcome.word))
        return self.done

    def put(
        self, *ops: str, uplink: bool = False, words: tuple[str, ...] = (), id: str = "lamp"
    ) -> None:
        session: Any = Sessionlike(id)
        for op in ops:
            write = Write(session, LastWord(id="", session="", lastWord="".join(words)), uplink)
            self.names[write] = op
            self.outbox.put(write)

    def ops(self) -> list[str]:
        """What was sent so far."""
        return [self.names[write] for write, _ in self.sent]

    def answer(self, at: int, word: bytes = b"done") -> None:
        self.sent[at][1].callback([word, b"1", b"2"])

    def lose(self) -> None:
        """The connection is lost with all that is on its way."""
        for _, sending in self.sent:
            if not sending.called:
                sending.errback(RegistryAway("lost"))
        self.outbox.close()

    def test_order(self) -> None:
        """What was put first is sent first, but nothing before it is opened."""
        self.put("a", "b")
        self.assertEqual(self.ops(), [])
        self.outbox.open()
        self.put("c")
        self.assertEqual(self.ops(), ["a", "b", "c"])
        for at in range(3):
            self.answer(at)
        self.assertEqual(self.settled, [("a", "done"), ("b", "done"), ("c", "done")])
        self.assertEqual((len(self.outbox), self.outbox.octets), (0, 0))

    def test_window(self) -> None:
        """No more than a window is on its way."""
        self.outbox.open()
        self.put(*["x"] * (WINDOW + 10))
        self.assertEqual(len(self.sent), WINDOW)
        self.answer(0)
        self.assertEqual(len(self.sent), WINDOW + 1)

    def test_windowOfOctets(self) -> None:
        """However few they are, what is on its way is no more than Redis takes in a moment."""
        self.outbox = self.make()
        self.outbox.open()
        self.put("huge", words=("x" * 3 * WINDOW_OCTETS,))
        self.put(*["large"] * 4, words=("x" * (WINDOW_OCTETS // 2 - OVERHEAD),))
        self.assertEqual(self.ops(), ["huge"])
        self.answer(0)
        self.assertEqual(self.ops(), ["huge", "large", "large"])
        self.lose()
        del self.sent[:]
        self.outbox.open()
        self.assertEqual(self.ops(), ["large", "large"])

    def test_turns(self) -> None:
        """What happens to one thing does not wait behind all that another says."""
        self.outbox.open()
        self.put(*[f"message {number}" for number in range(WINDOW + 30)], uplink=True)
        self.put("joins", "leaves", id="door")
        for at in range(4):
            self.answer(at)
        later = ["message 128", "joins", "message 129", "leaves"]
        self.assertEqual(self.ops()[WINDOW:], later)

    def test_turnsAgain(self) -> None:
        """What is sent again is in the order of before, of every thing."""
        for number in range(3):
            for id in ("lamp", "door", "cat"):
                self.put(f"{id} {number}", id=id)
        self.outbox.open()
        before = self.ops()
        self.answer(0)
        self.lose()
        del self.sent[:]
        self.outbox.open()
        self.assertEqual(self.ops(), before[1:])
        self.assertEqual(before[:4], ["lamp 0", "door 0", "cat 0", "lamp 1"])

    def test_oneSaysTooMuch(self) -> None:
        """Beyond what one thing may have waiting its messages are lost, and nobody else's."""
        outbox = self.make()
        self.outbox = outbox
        self.put(*["message"] * (MOST_OF_ONE + 10), uplink=True)
        self.assertEqual((len(outbox), outbox.dropped), (MOST_OF_ONE, 10))
        self.put("message", uplink=True, id="door")
        self.put("leave")
        self.assertEqual((len(outbox), outbox.dropped), (MOST_OF_ONE + 2, 10))
        self.put(*["message"] * 20, uplink=True, words=("x" * (1 << 20),), id="cat")
        self.assertEqual(outbox.dropped, 10 + 12)
        self.assertLess(outbox.octets, 2 * MOST_OCTETS_OF_ONE)

    def test_again(self) -> None:
        """What was not answered is sent again, in the same order, before what came later."""
        self.outbox.open()
        self.put("a", "b", "c")
        self.answer(0)
        self.lose()
        self.put("d")
        del self.sent[:]
        self.outbox.open()
        self.assertEqual(self.ops(), ["b", "c", "d"])
        self.assertEqual([write.tries for write, _ in self.sent], [2, 2, 1])

    def test_notDone(self) -> None:
        """An answer that shows damage leaves the write to be sent again after the repair."""
        self.outbox.open()
        self.done = False
        self.put("a")
        self.answer(0, b"unknown")
        self.assertEqual(self.damage, ["lamp is unknown to the registry"])
        self.lose()
        self.outbox.open()
        self.assertEqual(self.ops(), ["a", "a"])

    def test_nonsense(self) -> None:
        """An answer that makes no sense is damage, too."""
        self.outbox.open()
        for answer in (None, 7, [], [None], [b"\xff"], [b"done", b"x"], [[]]):
            self.put("a")
            self.sent[-1][1].callback(answer)
        self.assertEqual(len(self.damage), 7)

    def test_refused(self) -> None:
        """A write that the registry refuses for good is given up; what is its state, is not."""
        self.outbox.open()
        self.put("a", "b")
        self.sent[0][1].errback(RegistryRefused("ERR value is not an integer"))
        self.assertEqual((self.outbox.refused, len(self.outbox), self.damage), (1, 1, []))
        self.sent[1][1].errback(RegistryRefused("READONLY You can't write against a replica"))
        self.assertEqual((self.outbox.refused, len(self.outbox), len(self.damage)), (1, 1, 1))

    def refuse(self, at: int) -> None:
        """The registry refuses something for what it is."""
        self.sent[at][1].errback(RegistryRefused("ERR value is not an integer"))

    def test_rests(self) -> None:
        """What must be done is tried again before what came after it, and keeps nobody else."""
        self.needed = {"join"}
        self.outbox.open()
        self.put("join", "say", uplink=True)
        self.put("other", id="door")
        self.refuse(0)
        self.put("leave")
        self.answer(1, b"unknown")  # The answer to what was sent before.
        self.answer(2)
        self.assertEqual((self.settled, self.damage), ([("other", "done")], []))
        self.assertEqual((self.ops()[3:], len(self.outbox)), ([], 3))
        self.outbox.retry()
        self.assertEqual(self.ops()[3:], ["join", "say", "leave"])
        for at in (3, 4, 5):
            self.answer(at)
        self.assertEqual(self.settled[1:], [(op, "done") for op in ("join", "say", "leave")])
        self.assertEqual((len(self.outbox), self.outbox.octets, self.outbox.refused), (0, 0, 1))

    def test_restsNoMore(self) -> None:
        """What need not be done any more is given up when it is refused again."""
        self.needed = {"join"}
        self.outbox.open()
        self.put("join", "leave")
        for at in (0, 2):
            self.refuse(at)
            self.needed.clear()
            self.outbox.retry()
        self.assertEqual(self.ops(), ["join", "leave", "join", "leave"])
        self.answer(3)
        self.assertEqual((len(self.outbox), self.outbox.octets), (0, 0))

    def test_restsOverALoss(self) -> None:
        """What rests is tried again when the connection was made anew."""
        self.needed = {"join"}
        self.outbox.open()
        self.put("join", "say")
        self.refuse(0)
        self.lose()
        self.put("leave")
        self.outbox.open()
        self.assertEqual(self.ops()[2:], ["join", "say", "leave"])

    def test_restingIsWritten(self) -> None:
        """Who waits until all is answered waits for another try of what rests, and no longer."""
        self.needed = {"join"}
        self.outbox.open()
        self.put("join", "say")
        self.refuse(0)
        waiting = self.outbox.whenWritten()
        self.assertNoResult(waiting)
        self.refuse(2)
        self.successResultOf(waiting)
        self.assertEqual(len(self.outbox), 2)

    def test_restingIsDropped(self) -> None:
        """What rests counts for the bounds as all that waits."""
        self.needed = {"join"}
        self.outbox.open()
        self.put("join")
        self.refuse(0)
        self.put(*["message"] * 300, uplink=True)
        self.assertEqual((len(self.outbox), len(self.damage)), (200, 1))
        self.assertEqual(self.outbox.dropped, 100)

    def test_fullWhileAway(self) -> None:
        """While it is closed the oldest are dropped beyond a count; messages are counted."""
        self.put(*[f"state {number}" for number in range(10)])
        self.put(*[f"message {number}" for number in range(300)], uplink=True)
        self.assertEqual((len(self.outbox), self.outbox.dropped), (200, 100))
        self.assertEqual(self.damage, [])
        self.outbox.open()
        self.assertEqual(self.ops()[0], "message 100")

    def test_fullOfOctets(self) -> None:
        """Beyond a number of octets, too."""
        self.put(*["message"] * 100, uplink=True, words=("x" * 100_000,))
        kept = (1 << 20) // (100_000 + OVERHEAD)
        self.assertEqual((len(self.outbox), self.outbox.dropped), (kept, 100 - kept))
        self.assertLessEqual(self.outbox.octets, 1 << 20)

    def test_fullWhileOpen(self) -> None:
        """While it is open a state that is dropped is damage; what is on its way is kept."""
        self.outbox.open()
        self.put(*["x"] * 300)
        self.assertEqual(len(self.outbox), 200)
        self.assertEqual(len(self.sent), WINDOW)
        self.assertEqual(len(self.damage), 100)

    def test_written(self) -> None:
        """Who waits for what was put is told when it is answered, or that it will not be."""
        self.successResultOf(self.outbox.whenWritten())
        self.outbox.open()
        self.put("a", "b")
        waiting = self.outbox.whenWritten()
        self.put("c")
        self.answer(0)
        self.assertNoResult(waiting)
        self.answer(1)
        self.successResultOf(waiting)
        waiting = self.outbox.whenWritten()
        self.lose()
        self.failureResultOf(waiting, RegistryAway)

    def test_writtenInTurns(self) -> None:
        """Who waits is told when all is answered that was put before, and not as many others."""
        self.put("a", "b", "c")
        waiting = self.outbox.whenWritten()
        self.put("x", "y", id="door")
        self.outbox.open()
        self.assertEqual(self.ops(), ["a", "x", "b", "y", "c"])
        for at in range(4):
            self.answer(at)
        self.assertNoResult(waiting)
        self.answer(4)
        self.successResultOf(waiting)

    def test_notSent(self) -> None:
        """A write that cannot even be sent is logged and given up; the next one is sent."""

        def send(write: Write) -> Deferred[Any]:
            if self.names[write] == "bad":
                raise RuntimeError("told to")
            return self.send(write)

        self.outbox = Outbox(send, self.settle, self.damage.append, self.isNeeded)
        self.outbox.open()
        self.put("bad", "good")
        self.assertEqual((self.ops(), len(self.outbox)), (["good"], 1))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_broken(self) -> None:
        """What goes wrong while an answer is dealt with is logged, and not raised."""

        def settle(write: Write, outcome: Outcome) -> bool:
            raise RuntimeError("told to")

        outbox = Outbox(self.send, settle, self.damage.append, self.isNeeded)
        outbox.open()
        session: Any = Sessionlike("lamp")
        outbox.put(Write(session, LastWord(id="", session="", lastWord="")))
        self.answer(0)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(len(outbox), 0)

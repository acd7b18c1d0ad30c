"""What becomes of a connection that comes in: the door's verdict carried out, counted, logged."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.logger import Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.pairs import Pair
from thing.core.door import Door
from thing.core.limits import Limits
from thing.errors import ErrorCode
from thing.events import Cause, Session, Termination
from thing.session.expiry import Expiry
from thing.session.journal import REFUSALS_LOGGED, Journal, isHealthCheck
from thing.session.reception import Reception

ADDRESS = IPv4Address("TCP", "192.0.2.7", 7)


class Somebody:
    """A connection that notes what is done about it."""

    address = ADDRESS
    proved = False
    silent = False

    def __init__(self, network: str = "192.0.2.7") -> None:
        self.network = network
        self.up = False
        self.session: Session | None = None
        self.termination: Termination | None = None
        self.told: list[tuple[object, ...]] = []

    def reject(self, code: ErrorCode, detail: str, retryAfter: float) -> None:
        self.told.append((code, detail, retryAfter))

    def expire(self) -> None:
        self.told.append(("expired",))

    def cutOff(self, detail: str) -> None:
        self.told.append((detail,))


class JournalCase(SynchronousTestCase):
    """Tests with a journal, and a time that the test sets."""

    def setUp(self) -> None:
        self.now = 0.0
        self.lines: list[dict[str, Any]] = []
        log = Logger(namespace="tests.journal", observer=self.lines.append)  # type: ignore[arg-type]
        self.journal = Journal(log, lambda: self.now)

    def texts(self) -> list[str]:
        """What was logged, as it is read."""
        return [formatEvent(line) for line in self.lines]


class JournalTests(JournalCase):
    """What is logged, and what is not."""

    rejected = Termination(Cause.REJECTED, ErrorCode.SERVER_BUSY)

    def test_session(self) -> None:
        """A session has a line when it is up and one when it has ended, which name it."""
        session = Pair().up().server.session
        assert session is not None
        self.journal.established(session, ADDRESS)
        self.journal.ended(session, ADDRESS, Termination(Cause.GOODBYE), False)
        self.assertEqual([line["sessionId"] for line in self.lines], [session.sessionId.hex()] * 2)
        up, ended = self.texts()
        self.assertIn("at 192.0.2.7:7 is established: ", up)
        self.assertIn(f"Session {session.sessionId.hex()} with ", ended)
        self.assertEqual(self.lines[1]["cause"], "GOODBYE")

    def test_handshake(self) -> None:
        """A handshake that failed is a stranger's."""
        self.journal.ended(None, ADDRESS, self.rejected, False)
        (text,) = self.texts()
        self.assertTrue(text.startswith("Handshake with a stranger at 192.0.2.7:7 ended: "), text)

    def test_flood(self) -> None:
        """Of many that fail in a second the first are logged, and then how many there were."""
        for _ in range(REFUSALS_LOGGED + 5):
            self.journal.ended(None, ADDRESS, self.rejected, False)
        self.assertEqual(len(self.lines), REFUSALS_LOGGED)
        self.now = 1.0
        self.journal.ended(None, ADDRESS, self.rejected, False)
        self.assertEqual(self.texts()[REFUSALS_LOGGED], "5 more handshakes with strangers ended")

    def test_healthChecks(self) -> None:
        """A stream that was closed without an octet is not worth a line, and counts for none."""
        truncated = Termination(Cause.TRUNCATED)
        for termination, silent, isOne in (
            (truncated, True, True),
            (truncated, False, False),
            (self.rejected, True, False),
        ):
            self.assertEqual(isHealthCheck(termination, silent), isOne)
        for _ in range(2 * REFUSALS_LOGGED):
            self.journal.ended(None, ADDRESS, truncated, True)
        self.assertEqual(self.lines, [])
        self.journal.ended(None, ADDRESS, truncated, False)
        self.assertEqual(len(self.lines), 1)


class ReceptionTests(JournalCase):
    """What is done about a verdict, and what is counted."""

    def reception(self, judges: bool = True, **limits: Any) -> Reception[Somebody]:
        """A reception with these limits."""
        door: Door[Somebody] = Door(Limits(**limits), lambda: 0.5)
        expiry: Expiry[Somebody] = Expiry(Clock(), lambda: self.now)
        return Reception(door, self.journal, expiry, lambda: self.now, judges, lambda: None)

    def enter(self, reception: Reception[Somebody]) -> Somebody:
        """Somebody who has come in, and was judged."""
        somebody = Somebody()
        reception.enter(somebody)
        reception.judge(somebody)
        return somebody

    def test_comesIn(self) -> None:
        """Of whoever comes in nothing is said."""
        reception = self.reception()
        self.assertTrue(reception.admits())
        self.assertEqual(self.enter(reception).told, [])
        self.assertEqual(reception.limitsHit, {})

    def test_waits(self) -> None:
        """Who must wait is told when to come back."""
        reception = self.reception(sessions=0, retryAfter=4.0)
        told = (ErrorCode.SERVER_BUSY, "limit of 0 sessions", 6.0)
        self.assertEqual(self.enter(reception).told, [told])
        self.assertEqual(reception.limitsHit, {"sessions": 1})

    def test_goes(self) -> None:
        """Who must go is cut off."""
        reception = self.reception(sessions=0, handshakes=1)
        first = self.enter(reception)
        reception.end(first, Termination(Cause.REJECTED))
        self.assertEqual(self.enter(reception).told, [("limit of 0 sessions",)])
        self.assertEqual(reception.limitsHit, {"sessions": 2})

    def test_isDisplaced(self) -> None:
        """It is the other one that is cut off, if somebody is displaced."""
        reception = self.reception(handshakes=1)
        first, newcomer = self.enter(reception), self.enter(reception)
        self.assertEqual((first.told, newcomer.told), ([("limit of 1 handshakes",)], []))
        self.assertEqual(reception.limitsHit, {"handshakes": 1})

    def test_notEvenARefusal(self) -> None:
        """Connections that cannot even be refused are counted, too."""
        reception = self.reception(sessions=0, handshakes=0)
        self.assertFalse(reception.admits())
        self.assertEqual(reception.limitsHit, {"connections": 1})

    def test_readdressed(self) -> None:
        """A connection that proves to come from elsewhere is judged by that, if it goes on."""
        reception = self.reception(sessionsPerAddress=1, retryAfter=4.0)
        reception.door.establish(self.enter(reception))
        told = (ErrorCode.SERVER_BUSY, "limit of 1 sessions of one address", 6.0)
        for termination, expected in ((None, [told]), (Termination(Cause.ABORTED), [])):
            moved = Somebody("")
            moved.termination = termination
            reception.enter(moved)
            reception.readdress(moved, "192.0.2.7")
            self.assertEqual((moved.told, moved.network), (expected, "192.0.2.7"))

    def test_client(self) -> None:
        """A client's connections are counted, and never judged."""
        reception = self.reception(False, sessions=0, handshakes=0, sessionsPerAddress=0)
        self.assertTrue(reception.admits())
        somebody = self.enter(reception)
        reception.readdress(somebody, "192.0.2.9")
        self.assertEqual((somebody.told, reception.door.connected), ([], 1))

    def test_counts(self) -> None:
        """Handshakes that were completed, and ends by cause."""
        reception = self.reception()
        session = Pair().up().server.session
        assert session is not None
        somebody, other = self.enter(reception), self.enter(reception)
        reception.establish(somebody, session)
        self.assertEqual((reception.completed, reception.door.up), (1, 1))
        reception.end(somebody, Termination(Cause.GOODBYE))
        reception.end(other, Termination(Cause.TRUNCATED))
        self.assertEqual(reception.terminations, {Cause.GOODBYE: 1, Cause.TRUNCATED: 1})
        for each in (somebody, other):
            reception.leave(each)
        self.assertEqual(reception.door.connected, 0)

    def test_puzzles(self) -> None:
        """Puzzles are asked after so many key exchanges without a session, and counted."""
        reception = self.reception(puzzleAfter=2, puzzleBits=5)
        asked = []
        for _ in range(3):
            asked.append(reception.askPuzzle())
            reception.exchange()
        self.assertEqual((asked, reception.puzzlesAsked), ([0, 0, 5], 1))
        session = Pair().up().server.session
        assert session is not None
        for _ in range(2):
            reception.establish(self.enter(reception), session)
        self.assertEqual(reception.askPuzzle(), 0)

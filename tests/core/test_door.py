"""Who may come in: every row of the door's rules, and what it counts."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from thing.core.door import Displace, Door, Go, Wait
from thing.core.limits import LIMITS_HIT, Limits


class Somebody:
    """A connection, as far as the door knows one."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.up = False
        self.proved = False


class DoorCase(SynchronousTestCase):
    """Tests with a door that allows five sessions, and three handshakes, unless a test says so."""

    def door(self, **limits: Any) -> Door[Somebody]:
        """A door, with advice of six seconds."""
        chosen = {"sessions": 5, "handshakes": 3, "retryAfter": 4.0, **limits}
        return Door(Limits(**chosen), lambda: 0.5)

    def enter(self, door: Door[Somebody], network: str = "192.0.2.1") -> Somebody:
        """Somebody who has just connected."""
        somebody = Somebody(network)
        door.enter(somebody, float(door.connected))
        return somebody

    def establish(self, door: Door[Somebody], network: str = "192.0.2.1") -> Somebody:
        """Somebody whose session is up."""
        somebody = self.enter(door, network)
        door.establish(somebody)
        return somebody


class VerdictTests(DoorCase):
    """One test for each row, and for what comes first."""

    def test_allRows(self) -> None:
        """The table of the rules has a row for each limit that can be hit, and no other."""
        rows = re.findall(r"^ +``(\w+)``  ", str(Door.__doc__), re.MULTILINE)
        self.assertEqual(sorted(rows), sorted(LIMITS_HIT))

    def test_comeIn(self) -> None:
        """Up to all limits whoever comes is let in."""
        door = self.door()
        for _ in range(2):
            self.establish(door)
        for _ in range(3):
            self.assertIsNone(door.knock())
            self.assertIsNone(door.judge(self.enter(door)))

    def test_connections(self) -> None:
        """With as many connected as all limits allow, who knocks goes, and nothing is told."""
        door = self.door(sessions=1, handshakes=2)
        for _ in range(2):
            self.enter(door)
        self.assertIsNone(door.knock())
        self.enter(door)
        verdict = door.knock()
        self.assertEqual(verdict, Go("connections", "limit of 3 connections"))
        door.leave(self.enter(door))
        self.assertEqual(door.knock(), verdict)

    def test_tooMuchIsHeld(self) -> None:
        """When too much waits the session with the most goes, of the network with the most."""
        door = self.door(held=100)
        one, two, alone = (self.establish(door, network) for network in ("lan", "lan", "away"))
        for member, octets in ((one, 20), (two, 31), (alone, 49)):
            door.hold(member, octets)
            self.assertIsNone(door.relieve())
        door.hold(one, 21)
        member, verdict = door.relieve() or (None, None)
        self.assertIs(member, two)
        detail = "limit of 100 octets held: 31 for it, 52 for its network"
        self.assertEqual(verdict, Wait("held", detail, 6.0))
        self.assertIsNone(door.relieve())

    def test_tooMuchIsHeldByUnknown(self) -> None:
        """Those of no network are no network together."""
        door = self.door(held=100)
        one, two, alone = (self.establish(door, network) for network in ("", "", "away"))
        for member, octets in ((one, 40), (two, 41), (alone, 42)):
            door.hold(member, octets)
        self.assertIs((door.relieve() or [None])[0], alone)

    def test_draining(self) -> None:
        """While everybody is asked to leave nobody is taken on."""
        door = self.door()
        door.draining = True
        self.assertEqual(door.judge(self.enter(door)), Wait("draining", "draining", 6.0))
        door.draining = False
        self.assertIsNone(door.judge(self.enter(door)))

    def test_sessions(self) -> None:
        """One more than may be up waits, and so does who is admitted when all places are taken."""
        door = self.door(handshakes=4)
        for _ in range(4):
            self.establish(door)
        last, late = (self.enter(door) for _ in range(2))
        self.assertIsNone(door.judge(late))
        self.assertIsNone(door.admit(last))
        door.establish(last)
        expected = Wait("sessions", "limit of 5 sessions", 6.0)
        self.assertEqual(door.judge(self.enter(door)), expected)
        self.assertEqual(door.admit(late), expected)

    def test_nearlyFull(self) -> None:
        """Handshakes take no session's place: for the last ones half as many may be in progress."""
        door = self.door(handshakes=6)
        for _ in range(3):
            self.establish(door)
        silent = [self.enter(door) for _ in range(3)]
        for each in silent:
            self.assertIsNone(door.judge(each))
        verdict = door.judge(self.enter(door))
        self.assertEqual(verdict, Displace("handshakes", "limit of 3 handshakes", silent[0]))

    def test_nearlyFullForOne(self) -> None:
        """However few places and handshakes there may be, the newcomer comes in."""
        for up, handshakes in ((0, 1), (4, 1), (4, 2), (3, 2)):
            door = self.door(handshakes=handshakes)
            for _ in range(up):
                self.establish(door)
            for _ in range(3):
                newcomer = self.enter(door)
                verdict = door.judge(newcomer)
                if isinstance(verdict, Displace):
                    self.assertIsNot(verdict.displaced, newcomer)
                    door.end(verdict.displaced)
                else:
                    self.assertIsNone(verdict)
                self.assertIn(newcomer, door.handshakes)
            self.assertLessEqual(len(door.handshakes), handshakes)

    def test_sessionsPerAddress(self) -> None:
        """One more than may be up of its network waits; of another it comes in."""
        door = self.door(sessionsPerAddress=2)
        self.establish(door)
        last, late = (self.enter(door) for _ in range(2))
        for each in (last, late):
            self.assertIsNone(door.judge(each))
        self.assertIsNone(door.admit(last))
        door.establish(last)
        detail = "limit of 2 sessions of one address"
        expected = Wait("sessions_per_address", detail, 6.0)
        self.assertEqual(door.judge(self.enter(door)), expected)
        self.assertEqual(door.admit(late), expected)
        self.assertIsNone(door.judge(self.enter(door, "192.0.2.9")))

    def test_handshakesPerAddress(self) -> None:
        """One more than may be in handshakes of its network waits; sessions do not count."""
        door = self.door(handshakesPerAddress=1)
        for _ in range(2):
            self.establish(door)
        self.assertIsNone(door.judge(self.enter(door)))
        detail = "limit of 1 handshakes of one address"
        expected = Wait("handshakes_per_address", detail, 6.0)
        self.assertEqual(door.judge(self.enter(door)), expected)
        self.assertIsNone(door.judge(self.enter(door, "192.0.2.9")))

    def test_handshakes(self) -> None:
        """One more than may be in handshakes comes in, and the oldest is displaced."""
        door = self.door()
        oldest, *_ = [self.enter(door) for _ in range(3)]
        verdict = door.judge(self.enter(door))
        self.assertEqual(verdict, Displace("handshakes", "limit of 3 handshakes", oldest))

    def test_provedStay(self) -> None:
        """It is the oldest whose peer has proved nothing, if there is one."""
        door = self.door()
        proved, unproved, _ = [self.enter(door) for _ in range(3)]
        proved.proved = True
        verdict = door.judge(self.enter(door))
        assert isinstance(verdict, Displace)
        self.assertIs(verdict.displaced, unproved)

    def test_allProved(self) -> None:
        """If all others have proved who they are none of them goes: the newcomer waits."""
        door = self.door()
        for _ in range(3):
            self.enter(door).proved = True
        expected = Wait("handshakes", "limit of 3 handshakes", 6.0)
        self.assertEqual(door.judge(self.enter(door)), expected)

    def test_alone(self) -> None:
        """Who is in a handshake alone displaces nobody, however few there may be."""
        door = self.door(handshakes=0)
        self.assertIsNone(door.judge(self.enter(door)))

    def test_order(self) -> None:
        """If several hold, the first one of the table decides."""
        names = ("sessions", "sessionsPerAddress", "handshakesPerAddress", "handshakes")
        most = dict.fromkeys(names, 1)
        door = self.door(**most)
        self.establish(door)
        self.enter(door)
        newcomer = self.enter(door)
        door.draining = True
        decided = [getattr(door.judge(newcomer), "limit", None)]
        door.draining = False
        for name in names:
            decided.append(getattr(door.judge(newcomer), "limit", None))
            most[name] = 9
            door.limits = Limits(**most)
        order = ["draining", "sessions", "sessions_per_address", "handshakes_per_address"]
        self.assertEqual(decided, [*order, "handshakes"])
        self.assertIsNone(door.judge(newcomer))

    def test_network(self) -> None:
        """By the address in a PROXY header it is judged anew, by the rules of networks alone."""
        door = self.door(sessionsPerAddress=1, sessions=2, handshakes=1)
        self.establish(door, "192.0.2.9")
        moved = [self.enter(door, "") for _ in range(3)]
        door.draining = True
        self.assertIsNone(door.readdress(moved[0], "192.0.2.1"))
        detail = "limit of 1 sessions of one address"
        expected = Wait("sessions_per_address", detail, 6.0)
        self.assertEqual(door.readdress(moved[1], "192.0.2.9"), expected)
        door.limits = Limits(handshakesPerAddress=1)
        detail = "limit of 1 handshakes of one address"
        expected = Wait("handshakes_per_address", detail, 7.5)
        self.assertEqual(door.readdress(moved[2], "192.0.2.1"), expected)

    def test_noNetwork(self) -> None:
        """Streams that are of no network are limited by none."""
        door = self.door(sessionsPerAddress=0, handshakesPerAddress=0)
        for _ in range(2):
            self.assertIsNone(door.judge(self.enter(door, "")))

    def test_refusalsPileUp(self) -> None:
        """With as many on their way out as there may be handshakes, no word is said any more."""
        door = self.door(sessions=0, handshakes=4)
        for _ in range(2):
            refused = self.enter(door)
            self.assertIsInstance(door.judge(refused), Wait)
            self.assertFalse(door.end(refused))
        expected = Go("sessions", "limit of 0 sessions")
        self.assertEqual(door.judge(self.enter(door)), expected)
        door.leave(refused)
        self.assertIsInstance(door.judge(self.enter(door)), Wait)

    def test_failuresPileUp(self) -> None:
        """Nor may more stay whose handshake has failed; a session takes its time to end."""
        for up, most in ((0, 4), (2, 3), (4, 2)):
            door = self.door(handshakes=4)
            members = [self.establish(door) for _ in range(up)]
            gone = [door.end(self.enter(door)) for _ in range(most + 1)]
            self.assertEqual(gone, [False] * most + [True])
            self.assertFalse(any(map(door.end, members)))

    def test_refusalsOfOneAddress(self) -> None:
        """So it is with who is turned away by the address in a PROXY header."""
        door = self.door(sessionsPerAddress=0, handshakes=1)
        verdicts = []
        for _ in range(2):
            refused = self.enter(door, "")
            verdicts.append(door.readdress(refused, "192.0.2.1"))
            door.end(refused)
        self.assertEqual([type(verdict) for verdict in verdicts], [Wait, Go])

    def test_spread(self) -> None:
        """The advice is from once to twice as long, so that they do not come back as one."""
        numbers = iter(tenth / 10 for tenth in range(10))
        door: Door[Somebody] = Door(Limits(sessions=0, retryAfter=10.0), lambda: next(numbers))
        verdicts = [door.judge(self.enter(door)) for _ in range(10)]
        told = [verdict.retryAfter for verdict in verdicts if isinstance(verdict, Wait)]
        self.assertEqual(told, [10.0 + tenth for tenth in range(10)])

    def test_replaced(self) -> None:
        """Limits may be replaced at any time."""
        door = self.door(sessions=0)
        self.assertIsInstance(door.judge(self.enter(door)), Wait)
        door.limits = Limits()
        self.assertIsNone(door.judge(self.enter(door)))


class CountTests(DoorCase):
    """Who is here, at every step of a connection's life."""

    def assertCounts(
        self, door: Door[Somebody], connected: int, handshakes: int, up: int, **networks: int
    ) -> None:
        """So many are there, so many of each kind."""
        self.assertEqual(
            (door.connected, len(door.handshakes), door.up), (connected, handshakes, up)
        )
        self.assertEqual(door.perNetwork, Counter(networks))

    def test_session(self) -> None:
        """Connected, in a handshake, up, over, gone; and nothing is left behind."""
        door = self.door()
        somebody = self.enter(door, "lan")
        self.assertCounts(door, 1, 1, 0)
        self.assertEqual(door.handshakesPerNetwork, Counter(lan=1))
        door.establish(somebody)
        self.assertCounts(door, 1, 0, 1, lan=1)
        self.assertEqual(door.handshakesPerNetwork, Counter())
        door.end(somebody)
        self.assertCounts(door, 1, 0, 0)
        door.leave(somebody)
        self.assertCounts(door, 0, 0, 0)

    def test_handshake(self) -> None:
        """A handshake that comes to nothing."""
        door = self.door()
        somebody = self.enter(door, "lan")
        door.end(somebody)
        self.assertCounts(door, 1, 0, 0)
        door.leave(somebody)
        self.assertCounts(door, 0, 0, 0)

    def test_over(self) -> None:
        """A connection that has ended before it began is in no handshake."""
        door = self.door()
        somebody = Somebody("lan")
        door.end(somebody)
        door.enter(somebody, 0.0, over=True)
        self.assertCounts(door, 1, 0, 0)
        self.assertEqual(door.handshakesPerNetwork, Counter())
        door.leave(somebody)
        self.assertCounts(door, 0, 0, 0)

    def test_twice(self) -> None:
        """What is over may be said to be over again."""
        door = self.door()
        somebody, other = self.establish(door, "lan"), self.enter(door, "lan")
        for _ in range(2):
            door.end(somebody)
            door.end(other)
        self.assertCounts(door, 2, 0, 0)

    def test_held(self) -> None:
        """What waits for sessions that are up is counted, and for no other connection."""
        door = self.door()
        shaking, first, second = self.enter(door), self.establish(door), self.establish(door)
        for member, octets in ((shaking, 7), (first, 1), (second, 2), (first, 5)):
            door.hold(member, octets)
        self.assertEqual((door.held, door.holding), (7, {second: 2, first: 5}))
        door.hold(second, 0)
        door.end(first)
        door.hold(first, 9)
        self.assertEqual((door.held, door.holding), (0, {}))

    def test_readdressed(self) -> None:
        """What moves to another network is counted there, and leaves from there."""
        door = self.door()
        shaking, up = self.enter(door, ""), self.establish(door, "")
        for each in (shaking, up):
            door.readdress(each, "lan")
            self.assertEqual(each.network, "lan")
        self.assertCounts(door, 2, 1, 1, lan=1)
        self.assertEqual(door.handshakesPerNetwork, Counter(lan=1))
        for each in (shaking, up):
            door.end(each)
            door.leave(each)
        self.assertCounts(door, 0, 0, 0)
        self.assertEqual(door.handshakesPerNetwork, Counter())

    def test_sinceWhen(self) -> None:
        """It is known since when each handshake goes on, the oldest first."""
        door = self.door()
        first, second, third = (self.enter(door) for _ in range(3))
        door.end(second)
        self.assertEqual(list(door.handshakes.items()), [(first, 0.0), (third, 2.0)])

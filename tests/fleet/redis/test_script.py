"""The script that changes the registry, run by hand in a real Redis."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from hiredis import ReplyError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.fleet.redis.redises import PATIENCE, RedisClient, RedisServer
from tests.fleet.test_order import ORDERED
from thing.fleet.model import Status
from thing.fleet.order import placeOf
from thing.fleet.redis.connection import RegistryRefused
from thing.fleet.redis.operations import (
    Admit,
    Claim,
    Claims,
    Disown,
    Find,
    Forget,
    ForgetThing,
    Held,
    Join,
    LastWord,
    Leave,
    List,
    Nodes,
    Operation,
    Read,
    Renew,
    Restore,
    Retire,
    Sweep,
    Tell,
)
from thing.fleet.redis.rows import FIELDS, eventOf, nodesOf, recordOf
from thing.fleet.redis.script import Script, pairsOf

PREFIX = "thing:"
MOST = 100_000
NODES = ("a", "b", "c")

SHARED = ("ids", "here", "gone", "leases", "past", "owners", "nodes", "texts", "feed", "n:a")
"""The keys that are not of one thing."""
IDS = ("lamp", "door")
KEYS = ("key one", "key two")
ENDING = json.dumps(
    {"session": "s", "node": "a", "since": 1.0, "until": 2.0, "cause": "GOODBYE", "detail": "d"}
)
ONCE = "0123456789abcdef"
"""The session of a thing that has no other."""
LONG = 10**9
"""A lease that does not run out, milliseconds."""


def nodeSaying(status: str) -> str:
    """How a node says that it is."""
    said = {"since": 1, "lastSeen": 2, "status": status, "sessions": 0, "handshakes": 0}
    said |= {"completed": 0, "terminations": {}, "minutes": [], "loopLag": 0, "registry": "x"}
    said |= dict.fromkeys(("registryReason", "version", "advertised", "fingerprint"), "")
    return json.dumps(said)


class Registry:
    """The script, ready to be run."""

    def __init__(self, path: str) -> None:
        self.client = RedisClient(path)
        self.script = Script(PREFIX)
        self.client.ask("SCRIPT", "LOAD", self.script.text)

    def run(self, operation: Operation) -> Any:
        """Run an operation; an error is the test's."""
        answer = self.client.ask(*self.script.command(operation))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def held(
        self, session: str, id: str = "lamp", epoch: int = 1, sequence: int = 1, **more: Any
    ) -> Held:
        """A session."""
        chosen = {"told": sequence, "status": "present", "key": "key", "lastWord": "", **more}
        chosen.setdefault("text", f"{id}\nname\nsha256:x\n192.0.2.1:1")
        return Held(
            id=id,
            session=session,
            epoch=epoch,
            sequence=sequence,
            since="100.000",
            at="101.000",
            data=json.dumps({"name": id}),
            name="name",
            fingerprint="SHA256:x",
            address="192.0.2.1:1",
            ttl=30_000,
            group="x25519",
            aead="aes",
            resumed=False,
            **chosen,
        )

    def join(
        self,
        node: str,
        session: str,
        refuse: bool = False,
        deadline: int = 10**15,
        **more: Any,
    ) -> list[bytes]:
        """A session comes up."""
        held = self.held(session, **more)
        return self.run(Join(node=node, most=MOST, deadline=deadline, refuse=refuse, held=held))

    def restore(self, node: str, session: str, **more: Any) -> list[bytes]:
        """A session is restored."""
        held = self.held(session, **more)
        return self.run(Restore(node=node, most=MOST, sessions=[held]))[0]

    def tell(
        self, session: str, sequence: int, kind: str = "message", id: str = "lamp", **more: Any
    ) -> list[bytes]:
        """Something happens to a thing."""
        chosen = {"data": "{}", "status": "", "at": "102.0", **more}
        return self.run(
            Tell(most=MOST, id=id, session=session, sequence=sequence, kind=kind, **chosen)
        )

    def leave(
        self, session: str, sequence: int, id: str = "lamp", at: str = "102.000"
    ) -> list[bytes]:
        """A session ends."""
        ended = {"at": at, "data": "{}", "ending": ENDING}
        return self.run(Leave(most=MOST, id=id, session=session, sequence=sequence, **ended))

    def admit(self, key: str = "key", refuse: bool = False) -> list[bytes]:
        """Somebody wants to come in."""
        return self.run(Admit(id="lamp", key=key, refuse=refuse))

    def renew(self, node: str, lease: int = LONG, process: str = "1", first: bool = True) -> Any:
        """A lease is renewed."""
        renew = Renew(node=node, process=process, lease=lease, record=nodeSaying("up"), first=first)
        return self.run(renew)[0]

    def retire(self, node: str, keep: int = LONG) -> Any:
        """A node stops."""
        record = nodeSaying("stopped")
        return self.run(
            Retire(node=node, process="1", record=record, keep=keep, most=MOST, limit=50)
        )

    def nodes(self) -> dict[str, str]:
        """How the nodes are."""
        records, malformed = nodesOf(self.run(Nodes()))
        assert malformed == 0
        return {each.node: each.status for each in records}

    def sweep(
        self,
        limit: int = 50,
        keep: int = 10**12,
        gone: int = 10**6,
        mostOctets: int = 10**12,
    ) -> int:
        """Clean up."""
        return self.run(
            Sweep(
                most=MOST,
                limit=limit,
                keep=keep,
                mostGone=gone,
                keepNodes=10**12,
                mostOctets=mostOctets,
                lease=LONG,
            )
        )

    def mine(self, node: str) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """What a node is said to have: the cursor, and things with their sessions."""
        cursor, *found = self.run(Claims(node=node, cursor="0", count=50))
        return cursor, pairsOf(found)

    def disown(self, node: str, *claims: tuple[bytes, bytes]) -> None:
        """A node takes something off."""
        words = [tuple(word.decode(errors="surrogateescape") for word in each) for each in claims]
        wrong = [Claim(id=id, session=session) for id, session in words]
        self.run(Disown(node=node, most=MOST, claims=wrong))

    def look(self, which: str = "here", after: str = "", **wanted: Any) -> tuple[str, str]:
        """The last thing that was looked at, and those that are asked for."""
        chosen = {"count": 10, "most": 10, "text": "", "node": "", "status": "", **wanted}
        last, rows = self.run(List(set=which, after=after, fields=FIELDS, **chosen))
        return last.decode(), " ".join(row[0].decode() for row in rows)

    def listed(self, which: str) -> list[str]:
        """The ids of the first things."""
        return self.look(which)[1].split()

    def record(self, id: str = "lamp") -> Any:
        """What is stored of a thing."""
        rows = self.run(Find(ids=[id], fields=FIELDS))
        return recordOf(rows[0]) if rows else None

    def feed(self) -> list[Any]:
        """What happened."""
        entries = self.client.ask("XRANGE", f"{PREFIX}feed", "-", "+")
        return [eventOf(entry).event for entry in entries]

    def kinds(self) -> list[str]:
        """What happened, in words."""
        return [event.kind.value for event in self.feed()]


class ScriptCase(TestCase):
    """Tests with a script."""

    def setUp(self) -> None:
        self.redis = RedisServer().start()
        self.addCleanup(self.redis.remove)
        self.registry = Registry(self.redis.path)
        self.addCleanup(self.registry.client.__exit__)
        for node in NODES:
            self.registry.renew(node)


class HoldTests(ScriptCase):
    """Which session has a thing."""

    def test_epochsOnlyGrow(self) -> None:
        """A newcomer gets an epoch above the one before, whatever its node's clock says."""
        self.assertEqual(self.registry.join("a", "s1", epoch=1000)[:2], [b"joined", b"1000"])
        self.assertEqual(self.registry.join("b", "s2", epoch=5)[:2], [b"moved", b"1001"])
        self.assertEqual(self.registry.join("c", "s3", epoch=5000)[:2], [b"moved", b"5000"])

    def test_moved(self) -> None:
        """Who moved is told with where from, and the older session's end is remembered."""
        self.registry.join("a", "s1", epoch=7)
        self.registry.join("b", "s2", epoch=8)
        event = self.registry.feed()[-1]
        self.assertEqual(
            event.data, {"name": "lamp", "fromNode": "a", "fromSession": "s1", "fromEpoch": 7}
        )
        (ending,) = self.registry.record().endings
        self.assertEqual((ending.session, ending.node, ending.cause), ("s1", "a", "REPLACED"))
        self.assertEqual(ending.since, 100.0)

    def test_staleChangesNothing(self) -> None:
        """A writer whose session has the thing no more changes nothing, and is told so."""
        self.registry.join("a", "s1", epoch=7)
        self.registry.join("b", "s2", epoch=8)
        before = self.registry.record(), len(self.registry.feed())
        for answer in (
            self.registry.leave("s1", 9),
            self.registry.tell("s1", 9),
            self.registry.tell("s1", 9, "late", status="late"),
            self.registry.run(LastWord(id="lamp", session="s1", lastWord='{"text":"x"}')),
            self.registry.restore("a", "s1", epoch=7),
        ):
            self.assertEqual(answer, [b"stale", b"8"])
        self.assertEqual((self.registry.record(), len(self.registry.feed())), before)

    def test_otherKey(self) -> None:
        """A thing that is here is not taken over by another key; one that is gone may be."""
        self.registry.join("a", "s1", key="one")
        self.assertEqual(self.registry.join("b", "s2", key="two"), [b"key", b"a"])
        self.assertEqual(self.registry.restore("b", "s2", key="two", epoch=9), [b"key", b"a"])
        self.assertEqual(self.registry.admit("two"), [b"key", b"30000"])
        self.registry.leave("s1", 2)
        self.assertEqual(self.registry.admit("two"), [b"yes"])
        self.assertEqual(self.registry.join("b", "s2", key="two")[0], b"joined")

    def test_refuse(self) -> None:
        """With the policy that twins are refused, who is here stays, unless its node is lost."""
        self.registry.join("a", "s1")
        self.assertEqual(self.registry.admit(refuse=True), [b"here", b"30000"])
        self.assertEqual(self.registry.join("b", "s2", refuse=True), [b"here", b"a"])
        self.registry.renew("a", lease=0)
        self.assertEqual(self.registry.admit(refuse=True), [b"yes"])
        self.assertEqual(self.registry.join("b", "s2", refuse=True)[0], b"joined")
        self.assertEqual(self.registry.kinds(), ["joined", "left", "joined"])

    def test_tooLate(self) -> None:
        """A session that is told of after its node stopped waiting changes nothing."""
        self.assertEqual(self.registry.join("a", "s1", deadline=1), [b"late"])
        self.assertIsNone(self.registry.record())

    def test_again(self) -> None:
        """What was done already is not done again."""
        self.registry.join("a", "s1", epoch=5)
        self.assertEqual(self.registry.join("a", "s1", epoch=5), [b"same", b"5", b"1"])
        for _ in range(2):
            self.registry.tell("s1", 2, data='{"text":"x"}')
        for _ in range(2):
            self.registry.leave("s1", 3)
        self.assertEqual(self.registry.kinds(), ["joined", "message", "left"])

    def test_twins(self) -> None:
        """Twins that replace each other on different nodes are damped, longer each time."""
        answers = []
        for number in range(6):
            self.registry.join(NODES[number % 2], f"s{number}")
            answers.append(self.registry.admit())
        self.assertEqual(answers[:3], [[b"yes"]] * 3)
        waits = [int(answer[1]) / 1000 for answer in answers[4:]]
        self.assertEqual([answer[0] for answer in answers[4:]], [b"wait", b"wait"])
        self.assertTrue(9 < waits[0] <= 10 and 19 < waits[1] <= 20, waits)
        twins = [
            event.data["wait"] for event in self.registry.feed() if event.kind.value == "twins"
        ]
        self.assertEqual(twins, [10.0, 20.0])

    def test_endings(self) -> None:
        """Of earlier sessions the last five ends are remembered."""
        for number in range(7):
            self.registry.join("a", f"s{number}")
        sessions = [ending.session for ending in self.registry.record().endings]
        self.assertEqual(sessions, ["s5", "s4", "s3", "s2", "s1"])

    def test_anyName(self) -> None:
        """Names may have anything in them."""
        for id in ('"quoted"', "line\nbreak", "é中", "a b", "{}", "%s", "x" * 1000):
            self.registry.join("a", "s1", id=id)
            self.registry.join('n"\n', "s2", id=id)
            record = self.registry.record(id)
            self.assertEqual((record.id, record.node), (id, 'n"\n'))
            self.assertEqual(self.registry.feed()[-1].data["fromNode"], "a")


class ListTests(ScriptCase):
    """Looking for things."""

    def setUp(self) -> None:
        super().setUp()
        for id, node in (("bell", "b"), ("door", "a"), ("lamp", "b"), ("lock", "a")):
            self.registry.join(node, f"{id}-1", id=id, status="late" if id == "lock" else "present")

    def test_wanted(self) -> None:
        """By text, by node and by status, and by all of them; nothing asks for everything."""
        look = self.registry.look
        self.assertEqual(look(), ("", "bell door lamp lock"))
        self.assertEqual(look(text="l"), ("", "bell lamp lock"))
        self.assertEqual(look(text="192.0.2."), ("", "bell door lamp lock"))
        self.assertEqual(look(text="zebra"), ("", ""))
        self.assertEqual(look(node="b"), ("", "bell lamp"))
        self.assertEqual(look(node=""), ("", "bell door lamp lock"))
        self.assertEqual(look(status="late"), ("", "lock"))
        self.assertEqual(look(text="lock", node="a", status="late"), ("", "lock"))
        self.assertEqual(look(text="lock", node="b"), ("", ""))

    def test_noText(self) -> None:
        """A node is no part of the text, nor a text the beginning of a node."""
        look = self.registry.look
        self.assertEqual(look(text="b"), ("", "bell"))
        self.assertEqual(look(node="bell"), ("", ""))
        self.assertEqual(look(text="b\0bell"), ("", ""))

    def test_bounds(self) -> None:
        """It says how far it looked: at so many, or until it had found enough."""
        look = self.registry.look
        self.assertEqual(look(text="lamp", count=2), ("door", ""))
        self.assertEqual(look(text="lamp", count=2, after="door"), ("lock", "lamp"))
        self.assertEqual(look(text="lamp", count=2, after="lock"), ("", ""))
        self.assertEqual(look(text="l", most=1), ("bell", "bell"))
        self.assertEqual(look(text="l", most=2, after="bell"), ("", "lamp lock"))
        self.assertEqual(look(most=2, count=2), ("door", "bell door"))

    def test_order(self) -> None:
        """They are in order as :mod:`thing.fleet.order` has it, whatever is in their ids."""
        odd = ["\0", "\0b2\0", "\0b10", *ORDERED[1:]]
        for id in odd:
            self.registry.join("a", f"{id}-1", id=id, text="odd")
        found, after = [], ""
        for _ in odd:
            after, ids = self.registry.look(text="odd", count=99, most=1, after=after)
            found.append(ids)
        self.assertEqual(found, odd)
        listed = self.registry.look("ids", text="odd", count=99, most=99)[1]
        self.assertEqual(listed, " ".join(odd))

    def test_moved(self) -> None:
        """What is searched goes with the thing: to another node, and when it is forgotten."""
        look, client = self.registry.look, self.registry.client
        self.registry.join("a", "lamp-2", id="lamp", epoch=9, text="lamp\nelsewhere")
        self.assertEqual((look(node="b")[1], look(text="elsewhere")[1]), ("bell", "lamp"))
        self.registry.leave("bell-1", 2, "bell")
        self.assertEqual((look(text="bell")[1], look("ids", text="bell")[1]), ("", "bell"))
        self.registry.sweep(keep=-1)
        self.assertEqual(look("ids", text="bell")[1], "")
        self.assertEqual(client.ask("HLEN", f"{PREFIX}texts"), 3)

    def test_lost(self) -> None:
        """What somebody else put there is found by its id; what was lost a node brings again."""
        look, client = self.registry.look, self.registry.client
        client.ask("DEL", f"{PREFIX}texts")
        self.assertEqual((look(text="lamp")[1], look(node="b")[1]), ("lamp", "bell lamp"))
        self.assertEqual(look(text="sha256")[1], "")
        held = self.registry.held("lamp-1", "lamp")
        self.registry.run(Restore(node="b", most=MOST, sessions=[held]))
        self.assertEqual(look(text="sha256")[1], "lamp")


class ReadTests(ScriptCase):
    """Reading the stream in pieces."""

    def add(self, text: str) -> str:
        """An entry, and its position."""
        position: bytes = self.registry.client.ask("XADD", f"{PREFIX}feed", "*", "data", text)
        return position.decode()

    def read(self, after: str, limit: int, octets: int) -> tuple[int, list[str]]:
        """A piece: whether there may be more, and the positions."""
        more, entries = self.registry.run(Read(after=after, limit=limit, octets=octets))
        return more, [position.decode() for position, _ in entries]

    def test_pieces(self) -> None:
        """No piece has more entries, or many more octets, than were asked for."""
        added = [self.add("x" * 1000) for _ in range(10)]
        self.assertEqual(self.read("0-0", 3, 10**6), (1, added[:3]))
        self.assertEqual(self.read(added[2], 100, 1500), (1, added[3:5]))
        self.assertEqual(self.read(added[4], 100, 10**6), (0, added[5:]))
        self.assertEqual(self.read(added[-1], 100, 10**6), (0, []))

    def test_longest(self) -> None:
        """An entry that is longer than what was asked for comes alone."""
        added = [self.add("x" * 100_000) for _ in range(2)]
        self.assertEqual(self.read("0-0", 100, 1000), (1, added[:1]))


class SpoiltTests(ScriptCase):
    """Somebody has deleted something, or put something else there."""

    def spoil(self, *words: Any) -> None:
        """Do something to Redis that no node does."""
        answer = self.registry.client.ask(*words)
        if isinstance(answer, Exception):
            raise answer

    def test_numbers(self) -> None:
        """What is no number that the script could have written counts as none."""
        for number in ("inf", "nan", "-1", "1e400", "x", "9" * 400, ""):
            self.registry.join("a", "s1")
            fields = ("epoch", number, "sequence", number, "told", number)
            self.spoil("HSET", f"{PREFIX}t:lamp", *fields)
            self.assertEqual(self.registry.restore("a", "s1"), [b"same", b"0", b"0"], number)
            self.spoil("HSET", f"{PREFIX}t:lamp", "fightUntil", number)
            self.assertEqual(self.registry.admit(), [b"yes"], number)
            self.registry.join("a", "s2", epoch=7)
            self.assertEqual(self.registry.record().epoch, 7)
            self.spoil("DEL", f"{PREFIX}t:lamp")

    def test_clockWasSetBack(self) -> None:
        """Nobody waits for longer than twins ever have to, as a fight seems to be to come."""
        for number in range(5):
            self.registry.join("a", f"s{number}")
        self.assertEqual(self.registry.admit()[0], b"wait")
        now = int(self.registry.client.ask("TIME")[0]) * 1000
        fight = ("takeovers", f"{now + 10**8} " * 4, "fightUntil", now + 10**8)
        self.spoil("HSET", f"{PREFIX}t:lamp", *fight)
        self.assertEqual(self.registry.admit(), [b"yes"])
        self.registry.join("b", "later")
        self.assertEqual(self.registry.admit(), [b"yes"])

    def test_thing(self) -> None:
        """A thing's key of another type is none."""
        for op in (
            self.registry.admit,
            lambda: self.registry.tell("s1", 5, "late", status="late", at="1.000"),
            self.registry.record,
            lambda: self.registry.mine("a"),
        ):
            self.registry.join("a", "s1")
            self.spoil("DEL", f"{PREFIX}t:lamp")
            self.spoil("SET", f"{PREFIX}t:lamp", "a string")
            op()
            self.assertIsNone(self.registry.record(), op)
            self.assertEqual(self.registry.restore("a", "s1")[0], b"joined", op)

    def test_keys(self) -> None:
        """A key of another type is removed with the next lease, and every node begins anew."""
        for name in SHARED:
            self.registry.join("a", "s1")
            self.spoil("DEL", f"{PREFIX}{name}")
            self.spoil("SET", f"{PREFIX}{name}", "a string")
            for node in NODES:
                self.assertEqual(self.registry.renew(node, first=False), b"new", (name, node))
                self.registry.restore("a", "s1")
                self.assertEqual(self.registry.renew(node, first=False), b"kept", (name, node))
            self.registry.sweep()
            self.assertEqual(self.registry.listed("here")[0], "lamp", name)
            self.assertEqual(self.registry.listed("ids")[0], "lamp", name)
            self.assertEqual(self.registry.mine("a")[1], [(b"lamp", b"s1")], name)

    def test_setOfALostNode(self) -> None:
        """So is the set of a node that is lost, by who cleans up, or has a thing of its next."""
        for rejoin in (False, True):
            self.registry.join("c", f"s{rejoin}")
            self.registry.renew("c", lease=0)
            self.spoil("DEL", f"{PREFIX}n:c")
            self.spoil("SET", f"{PREFIX}n:c", "a string")
            if rejoin:
                self.registry.join("a", "s2")
            while self.registry.sweep():
                pass
            self.assertEqual(self.registry.client.ask("EXISTS", f"{PREFIX}n:c"), 0)
            joined = self.registry.join("b", f"t{rejoin}")[0]
            self.assertEqual(joined, b"moved" if rejoin else b"joined")

    def test_setOfALivingNode(self) -> None:
        """Whoever finds that of a node that lives has this node write it anew."""
        self.registry.renew("a")
        self.registry.join("a", "s1")
        self.registry.join("a", "s1", id="other")
        self.spoil("DEL", f"{PREFIX}n:a")
        self.spoil("SET", f"{PREFIX}n:a", "a string")
        self.registry.join("b", "s2")
        self.assertEqual(self.registry.renew("a", first=False), b"new")
        self.registry.restore("a", "s1", id="other")
        self.assertEqual(self.registry.mine("a")[1], [(b"other", b"s1")])

    def test_noPlaces(self) -> None:
        """What is put among the places of things, and is none, stops no list, and is taken out."""
        ids = ["aa", "mm", "zz", "\u00e9\u4e2d\U0001f4a1"]
        for id in ids:
            self.registry.join("a", f"s-{id}", id=id)
        noText = b"b\xff\0b\xff", b"\xed\xa0\x80\0\xed\xa0\x80"
        for place in (b"aa", b"n1\0a", b"n2\0a", b"n3\0a", *noText):
            self.spoil("ZADD", f"{PREFIX}here", 0, place)
        for count in (1, 2, 3, 10):
            found, after = [], None
            while after != "":
                query = {"after": after or "", "count": count, "most": count}
                query |= {"text": "", "node": "", "status": ""}
                last, rows = self.registry.run(List(set="here", fields=["node"], **query))
                found += [row[0].decode() for row in rows]
                after = last.decode()
            self.assertEqual(found, ids)
        self.assertEqual(self.registry.client.ask("ZCARD", f"{PREFIX}here"), 4)

    def test_deleted(self) -> None:
        """That the lists of things are gone is noticed, and they are written again."""
        for name in ("ids", "here"):
            self.registry.join("a", "s1")
            self.spoil("DEL", f"{PREFIX}{name}")
            self.assertEqual(self.registry.renew("a", first=False), b"new", name)
            self.assertEqual(self.registry.restore("a", "s1")[0], b"same", name)
            self.assertEqual(self.registry.listed(name)[0], "lamp", name)
            self.assertEqual(self.registry.renew("a", first=False), b"kept", name)

    def test_exhausted(self) -> None:
        """A stream that can take nothing more, since its last position is used, begins anew."""
        self.registry.join("a", "s1")
        last = f"{2**64 - 1}-{2**64 - 1}"
        self.spoil("XADD", f"{PREFIX}feed", last, "kind", "nonsense")
        self.assertEqual(self.registry.run(Read(after=last, limit=10, octets=1000)), [0, []])
        self.registry.join("a", "s2")
        self.assertEqual(self.registry.kinds(), ["moved"])
        self.assertEqual(self.registry.renew("b", first=False), b"new")


class RightsTests(ScriptCase):
    """The access list takes a right to read away from the nodes."""

    def stored(self) -> dict[bytes, Any]:
        """All that is in Redis, as it would save it."""
        keys = sorted(self.redis.ask("KEYS", "*"))
        return {key: self.redis.ask("DUMP", key) for key in keys}

    def test_nothingIsRemoved(self) -> None:
        """What may not be read is no other type: nothing is changed, and the error is told."""
        self.registry.join("a", "s1", id="door")
        self.registry.leave("s1", 2, id="door")
        self.registry.join("a", "s2")
        renew = partial(self.registry.renew, "a", first=False)
        before = self.stored()
        for right, op in (
            ("zcard", renew),
            ("hlen", renew),
            ("xlen", renew),
            ("scard", renew),
            ("hmget", self.registry.admit),
            ("hmget", lambda: self.registry.join("b", "s3")),
            ("hmget", lambda: self.registry.restore("a", "s2")),
            ("hmget", lambda: self.registry.tell("s2", 9)),
            ("hmget", lambda: self.registry.leave("s2", 9)),
            ("hmget", lambda: self.registry.mine("a")),
            ("hmget", lambda: self.registry.record("door")),
            ("xrange", lambda: self.registry.run(Read(after="0-0", limit=9, octets=999))),
        ):
            self.redis.ask("ACL", "SETUSER", "default", f"-{right}")
            error = self.assertRaises(ReplyError, op)
            self.redis.ask("ACL", "SETUSER", "default", f"+{right}")
            self.assertTrue(RegistryRefused(str(error)).passing, (right, error))
            self.assertEqual(self.stored(), before, right)
        self.assertEqual(renew(), b"kept")
        self.assertEqual(self.registry.record("door").status, Status.GONE)

    def test_otherTypeBesides(self) -> None:
        """What is of another type meanwhile is removed when all can be read again."""
        self.registry.join("a", "s1")
        self.redis.ask("DEL", f"{PREFIX}gone")
        self.redis.ask("SET", f"{PREFIX}gone", "a string")
        before = self.stored()
        self.redis.ask("ACL", "SETUSER", "default", "-xlen")
        self.assertRaises(ReplyError, self.registry.renew, "a", first=False)
        self.redis.ask("ACL", "SETUSER", "default", "+xlen")
        self.assertEqual(self.stored(), before)
        self.assertEqual(self.registry.renew("b", first=False), b"new")


class AtOnceTests(ScriptCase):
    """Redis takes nothing back of a script that fails in its middle: each change is whole."""

    WRITES = ("hset", "hdel", "sadd", "srem", "zadd", "zrem", "xadd", "xtrim", "del", "publish")

    def setUp(self) -> None:
        super().setUp()
        self.ops: dict[str, Callable[[], Any]] = {
            "join": lambda: self.registry.join("b", "s9", id="cat"),
            "move": lambda: self.registry.join("b", "s9"),
            "fight": lambda: self.registry.join("b", "s9", id="twin"),
            "join after a loss": lambda: self.registry.join("b", "s9", id="stray"),
            "restore": lambda: self.registry.restore("a", "s9", id="cat"),
            "tell": lambda: self.registry.tell("s1", 5, "late", status="late"),
            "leave": lambda: self.registry.leave("s1", 5),
            "leave for good": lambda: self.registry.leave(ONCE, 5, id=f"door#{ONCE}"),
            "last word": lambda: self.registry.run(
                LastWord(id="lamp", session="s1", lastWord='{"text":"bye"}')
            ),
            "renew": lambda: self.registry.renew("b"),
            "forget": lambda: self.registry.run(Forget(node="c")),
            "sweep": self.registry.sweep,
            "disown": lambda: self.registry.disown("a", (b"lamp", b"s1")),
            "retire": lambda: self.registry.retire("a"),
        }

    def stored(self) -> dict[bytes, Any]:
        """All that is in Redis, in an order of its own."""
        readers: dict[bytes, Callable[[bytes], Any]] = {
            b"hash": lambda key: self.pairs(self.redis.ask("HGETALL", key)),
            b"set": lambda key: set(self.redis.ask("SMEMBERS", key)),
            b"zset": lambda key: self.pairs(self.redis.ask("ZRANGE", key, 0, -1, "WITHSCORES")),
            b"stream": lambda key: self.redis.ask("XRANGE", key, "-", "+"),
            b"string": lambda key: self.redis.ask("GET", key),
        }
        return {
            key: readers[self.redis.ask("TYPE", key)](key) for key in self.redis.ask("KEYS", "*")
        }

    @staticmethod
    def pairs(flat: list[Any]) -> dict[Any, Any]:
        return dict(pairsOf(flat))

    def begin(self) -> None:
        """Three nodes, of which one is lost, and some things."""
        self.redis.ask("FLUSHDB")
        for node in NODES:
            self.registry.renew(node)
        self.registry.join("a", "s1")
        self.registry.join("a", ONCE, id=f"door#{ONCE}")
        for number in range(4):
            self.registry.join("ab"[number % 2], f"t{number}", id="twin")
        self.registry.join("c", "s4", id="stray", lastWord='{"text":"lost"}')
        self.registry.renew("c", lease=0)

    def refused(self, op: Callable[[], Any]) -> str:
        """What Redis says against it; empty if it does it."""
        try:
            op()
        except ReplyError as error:
            self.assertTrue(RegistryRefused(str(error)).passing, error)
            return str(error)
        return ""

    def tryUnder(self, name: str, limit: tuple[str, ...], lifted: tuple[str, ...]) -> str:
        """Have a change tried under a limit; it is refused and nothing of it done, or all is."""
        self.begin()
        before = self.stored()
        self.redis.ask(*limit)
        error = self.refused(self.ops[name])
        self.redis.ask(*lifted)
        if error and name not in ("sweep", "retire"):  # Those are several changes.
            self.assertEqual(self.stored(), before, (name, limit))
        assertAgreed(self.registry)
        self.assertEqual(self.refused(self.ops[name]), "", (name, limit))
        assertAgreed(self.registry)
        return error

    def test_rights(self) -> None:
        """While the right to one of its commands is missing, nothing of a change is done."""
        rule = ("ACL", "SETUSER", "default")
        for name in self.ops:
            tries = [
                self.tryUnder(name, (*rule, f"-{right}"), (*rule, f"+{right}"))
                for right in self.WRITES
            ]
            self.assertIn("can't run this command", "".join(tries), name)

    def test_keys(self) -> None:
        """Nor while the right to some of the keys is missing, or to channels of other nodes."""
        rule = ("ACL", "SETUSER", "default")
        lifted = (*rule, "allkeys", "allchannels")
        for letter in "tnhigflo":
            missing = (*rule, "resetkeys", f"~{PREFIX}", f"~{PREFIX}[^{letter}]*")
            for name in self.ops:
                self.tryUnder(name, missing, lifted)
        self.assertIn("can't publish", self.tryUnder("move", (*rule, "resetchannels"), lifted))

    def test_types(self) -> None:
        """What meets a key of another type changes nothing, until that is removed."""
        for key in SHARED:
            for name, op in self.ops.items():
                self.begin()
                self.redis.ask("SET", f"{PREFIX}{key}", "a string")
                before = self.stored()
                if self.refused(op) and name not in ("sweep", "retire"):
                    self.assertEqual(self.stored(), before, (name, key))

    def test_memory(self) -> None:
        """Without memory nothing of a change is done."""
        option = ("CONFIG", "SET", "maxmemory")
        for name in self.ops.keys() - {"forget"}:  # That only frees some.
            self.assertIn("OOM", self.tryUnder(name, (*option, "1"), (*option, "0")), name)

    def test_replica(self) -> None:
        """A server that is a replica by now changes nothing."""
        limit, lifted = ("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")
        for name in self.ops:
            self.assertIn("READONLY", self.tryUnder(name, limit, lifted), name)

    def test_olderRedis(self) -> None:
        """Where a script cannot ask before, all of a change is done when it is tried again."""
        text = self.registry.script.text.replace("redis.acl_check_cmd and", "false and")
        self.registry.client.ask("SCRIPT", "LOAD", text)
        self.registry.script.digest = hashlib.sha1(text.encode()).hexdigest()
        for name, op in self.ops.items():
            for right in self.WRITES:
                self.begin()
                self.redis.ask("ACL", "SETUSER", "default", f"-{right}")
                self.refused(op)
                self.redis.ask("ACL", "SETUSER", "default", f"+{right}")
                self.assertEqual(self.refused(op), "", (name, right))
                self.registry.sweep()
                for node in NODES:  # As it does when it is connected anew.
                    self.registry.disown(node, *self.gone(node))
                assertAgreed(self.registry)

    def gone(self, node: str) -> list[tuple[bytes, bytes]]:
        """What a node is said to have, and is not here any more."""
        present = self.redis.ask("ZRANGE", f"{PREFIX}here", 0, -1)
        return [(id, session) for id, session in self.registry.mine(node)[1] if id not in present]


class SweepTests(ScriptCase):
    """What is cleaned up."""

    def test_lost(self) -> None:
        """The things of a node whose lease ran out leave, with their last words, batch by batch."""
        for number in range(7):
            self.registry.join("a", f"s{number}", id=f"t{number}", lastWord='{"text":"farewell"}')
        self.registry.join("b", "other", id="other")
        self.assertEqual(self.registry.sweep(), 0)
        self.registry.renew("a", lease=0)
        rounds = 1
        while self.registry.sweep(limit=3):
            rounds += 1
        self.assertGreater(rounds, 2)
        self.assertEqual(self.registry.kinds()[8:], ["lastWord", "left"] * 7)
        left = self.registry.feed()[9]
        self.assertEqual(left.data["cause"], "NODE_LOST")
        self.assertEqual(left.sequence, 3)
        self.assertEqual(self.registry.record("other").status.value, "present")
        self.assertEqual(self.registry.record("t3").endings[0].cause, "NODE_LOST")
        records, malformed = nodesOf(self.registry.run(Nodes()))
        self.assertEqual((records[0].node, records[0].status), ("a", "lost"))
        self.assertEqual(malformed, 0)

    def test_back(self) -> None:
        """A node that comes back late restores its sessions, in their epochs."""
        self.registry.join("a", "s1", epoch=7)
        self.registry.renew("a", lease=0)
        self.registry.sweep()
        self.assertEqual(self.registry.renew("a", first=False), b"new")
        answer = self.registry.restore("a", "s1", epoch=7, sequence=2, told=0)
        self.assertEqual(answer, [b"joined", b"7", b"3"])
        self.assertEqual(self.registry.kinds(), ["joined", "left", "joined"])
        self.assertEqual(self.registry.renew("a", first=False), b"kept")

    def test_oneSession(self) -> None:
        """Things of one session only are forgotten; restored, they have a larger epoch."""
        id = "anonymous#0123456789abcdef"
        self.registry.join("a", "0123456789abcdef" * 2, id=id, epoch=7)
        self.registry.renew("a", lease=0)
        self.registry.sweep()
        self.assertIsNone(self.registry.record(id))
        self.registry.restore("a", "0123456789abcdef" * 2, id=id, epoch=7)
        self.assertGreater(self.registry.feed()[-1].epoch, 10**12)

    def test_forgotten(self) -> None:
        """Who is gone for long, or went before many others, is forgotten."""
        for number in range(6):
            self.registry.join("a", f"s{number}", id=f"t{number}")
            self.registry.leave(f"s{number}", 2, id=f"t{number}", at="102.0")
        self.registry.sweep(gone=4)
        known = [number for number in range(6) if self.registry.record(f"t{number}")]
        self.assertEqual(known, [2, 3, 4, 5])
        while self.registry.sweep(limit=1, keep=-1000):
            pass
        self.assertEqual(self.registry.client.ask("ZCARD", f"{PREFIX}ids"), 0)
        self.assertEqual(self.registry.client.ask("KEYS", f"{PREFIX}t:*"), [])

    def test_octets(self) -> None:
        """The stream is shortened when it takes too many octets."""
        self.registry.join("a", "s1")
        data = json.dumps({"text": "x" * 10_000})
        for number in range(400):
            self.registry.tell("s1", number + 2, at="1.0", data=data)
        self.registry.sweep(mostOctets=1 << 20)
        length = self.registry.client.ask("XLEN", f"{PREFIX}feed")
        self.assertTrue(20 < length < 110, length)

    def test_clockWasSetBack(self) -> None:
        """A lease that lasts longer than any does is cut to what one does."""
        now = self.registry.client.ask("TIME")
        self.registry.client.ask("ZADD", "thing:leases", int(now[0]) * 1000 + 5 * LONG, "a")
        self.registry.sweep()
        until = float(self.registry.client.ask("ZSCORE", "thing:leases", "a"))
        self.assertLess(abs(until - int(now[0]) * 1000 - LONG), PATIENCE * 1000)

    def test_thingForgotten(self) -> None:
        """A thing that is gone is remembered no more when somebody says so; one that is here is."""
        forget = partial(self.registry.run, ForgetThing(id="lamp"))
        self.assertEqual(forget(), [b"unknown"])
        self.registry.join("a", "s1")
        self.assertEqual(forget(), [b"here"])
        self.registry.leave("s1", 2)
        self.assertEqual(forget(), [b"done"])
        self.assertIsNone(self.registry.record())
        for name, ask in (("ids", "ZCARD"), ("gone", "ZCARD"), ("texts", "HLEN")):
            self.assertEqual(self.registry.client.ask(ask, f"{PREFIX}{name}"), 0, name)
        self.assertEqual(self.registry.join("a", "s2")[0], b"joined")

    def test_nodeForgotten(self) -> None:
        """A node that was lost is shown no more when somebody says so; one that is up is."""
        forget = partial(self.registry.run, Forget(node="b"))
        self.assertEqual(self.registry.run(Forget(node="z")), [b"unknown"])
        for node in NODES:
            self.registry.renew(node)
        self.assertEqual(forget(), [b"alive"])
        self.registry.join("b", "s1")
        self.registry.renew("b", lease=0)
        (lost,) = [each for each in nodesOf(self.registry.run(Nodes()))[0] if each.node == "b"]
        self.assertEqual((lost.status, lost.since, lost.lastSeen), ("lost", 1.0, 2.0))
        self.assertEqual(forget(), [b"done"])
        self.registry.sweep()
        self.assertEqual(self.registry.kinds()[-1], "left")
        names = [each.node for each in nodesOf(self.registry.run(Nodes()))[0]]
        self.assertEqual(names, ["a", "c"])
        self.registry.renew("b")
        self.assertEqual(forget(), [b"alive"])

    def test_stopped(self) -> None:
        """A node that stopped in order is shown so for a while, and no more once it is back."""
        for node in NODES:
            self.registry.renew(node)
        self.registry.retire("a")
        self.registry.retire("b", keep=0)
        stopped = {"a": "stopped", "b": "stopped", "c": "up"}
        self.assertEqual(self.registry.nodes(), stopped)
        self.registry.sweep()
        self.assertEqual(self.registry.nodes(), {"a": "stopped", "c": "up"})
        self.registry.renew("a", process="2")
        self.registry.sweep()
        self.assertEqual(self.registry.nodes(), {"a": "up", "c": "up"})
        self.registry.retire("c")
        self.assertEqual(self.registry.run(Forget(node="c")), [b"done"])
        self.assertEqual(self.registry.nodes(), {"a": "up"})

    def test_before(self) -> None:
        """A process that takes its name for the first time is told how the node was before."""
        renew = partial(Renew, node="a", process="2", lease=LONG, record="{}")
        self.assertEqual(self.registry.run(renew(first=True))[2].decode(), nodeSaying("up"))
        self.assertEqual(self.registry.run(renew(first=False))[2], b"")
        self.assertEqual(self.registry.run(renew(node="new", first=True))[2], b"")

    def test_usurped(self) -> None:
        """Of two processes with one name the later has it; the other is told, each time."""
        self.assertEqual(self.registry.renew("a", process="2"), b"new")
        self.assertEqual(self.registry.renew("a", process="1", first=False), b"usurped")
        self.assertEqual(self.registry.renew("a", process="2", first=False), b"kept")
        self.assertEqual(self.registry.retire("a"), 0)
        self.assertEqual(self.registry.renew("a", process="2", first=False), b"kept")

    def test_usurperIsLost(self) -> None:
        """When the process that has the name is lost, the one before has it again."""
        self.registry.renew("a", process="2", lease=1)
        time.sleep(0.01)
        self.assertEqual(self.registry.renew("a", process="1", first=False), b"new")
        self.assertEqual(self.registry.renew("a", process="1", first=False), b"kept")
        self.assertEqual(self.registry.renew("a", process="2", first=False), b"usurped")

    def test_disowned(self) -> None:
        """What a node does not have is taken off, unless it came back meanwhile."""
        self.registry.join("a", "s1", id="one")
        self.registry.join("a", "s2", id="two")
        cursor, found = self.registry.mine("a")
        self.assertEqual(cursor, b"0")
        self.assertEqual(set(found), {(b"one", b"s1"), (b"two", b"s2")})
        self.registry.join("a", "s3", id="two")
        self.registry.disown("a", *found)
        self.assertEqual(self.registry.record("one").status.value, "gone")
        self.assertEqual(self.registry.record("two").status.value, "present")


def assertAgreed(registry: Registry) -> None:
    """State and feed say the same."""
    ask = registry.client.ask
    last: dict[str, Any] = {}
    status: dict[str, str] = {}
    for event in registry.feed():
        last[event.id] = event
        kind = event.kind.value
        if kind in ("joined", "moved", "renewed"):
            status[event.id] = "present"
        elif kind in ("late", "left"):
            status[event.id] = {"late": "late", "left": "gone"}[kind]
    known = {id: event for id, event in last.items() if "#" not in id or status[id] != "gone"}
    for id, event in known.items():
        record = registry.record(id)
        assert record.status.value == status[id], (record, event)
        assert (record.epoch, record.sequence) == (event.epoch, event.sequence)
        assert (record.node, record.session) == (event.node, event.session)
    present = {id.encode() for id, each in status.items() if each != "gone"}
    here = {placeOf(id.decode()).encode() for id in present}
    assert set(ask("ZRANGE", f"{PREFIX}here", 0, -1)) == here
    assert set(ask("ZRANGE", f"{PREFIX}gone", 0, -1)) == {id.encode() for id in known} - present
    for node in NODES:
        members = set(ask("SMEMBERS", f"{PREFIX}n:{node}"))
        assert members == {id for id in present if last[id.decode()].node == node}


@dataclass
class Session:
    """A session as its node sees it."""

    id: str
    name: str
    node: str
    key: str
    epoch: int
    sequence: int = 1


class RegistryMachine(RuleBasedStateMachine):
    """
    Three nodes do what nodes do, in any order; some answers are never read.

    The feed alone, replayed, is the model: the state must be what it says.
    """

    server: RedisServer
    numbers = 0

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(self.server.path)
        self.registry.client.ask("FLUSHDB")
        self.live: list[Session] = []
        for node in NODES:
            self.registry.renew(node)

    def teardown(self) -> None:
        self.registry.client.__exit__()

    @rule(
        node=st.sampled_from(NODES),
        id=st.sampled_from(IDS),
        key=st.sampled_from(KEYS),
        clock=st.integers(1, 30),
        refuse=st.booleans(),
    )
    def join(self, node: str, id: str, key: str, clock: int, refuse: bool) -> None:
        """A session comes up, with whatever time its node believes it to be."""
        RegistryMachine.numbers += 1
        session = Session(id, f"s{self.numbers}", node, key, clock)
        answer = self.registry.join(node, session.name, refuse, id=id, key=key, epoch=clock)
        if answer[0] in (b"joined", b"moved"):
            session.epoch, session.sequence = int(answer[1]), int(answer[2])
            self.live.append(session)

    @rule(at=st.integers(0, 9), heard=st.booleans(), back=st.integers(0, 2))
    def restore(self, at: int, heard: bool, back: int) -> None:
        """A node restores a session, perhaps not knowing its last epoch; it may be another's."""
        if not self.live:
            return
        session = self.live[at % len(self.live)]
        before = self.registry.record(session.id)
        answer = self.registry.restore(
            session.node,
            session.name,
            id=session.id,
            key=session.key,
            epoch=session.epoch - back,
            sequence=session.sequence + 1,
            told=0,
        )
        if heard and answer[0] in (b"joined", b"moved", b"same"):
            session.epoch, session.sequence = int(answer[1]), int(answer[2])
        if answer[0] == b"stale":
            self.live.remove(session)
        if before is not None and before.epoch >= session.epoch:
            assert self.registry.record(session.id).session == before.session

    @rule(
        at=st.integers(0, 9),
        what=st.sampled_from([("late", "late"), ("renewed", "present"), ("message", "")]),
    )
    def tell(self, at: int, what: tuple[str, str]) -> None:
        """Something happens to a thing."""
        if self.live:
            session = self.live[at % len(self.live)]
            session.sequence += 1
            tell = partial(self.registry.tell, session.name, session.sequence, what[0], session.id)
            self.fenced(session, partial(tell, at="1.0", status=what[1]))

    @rule(at=st.integers(0, 9), again=st.booleans())
    def leave(self, at: int, again: bool) -> None:
        """A session ends; its node may say so again later."""
        if self.live:
            session = self.live[at % len(self.live)]
            session.sequence += 1
            leave = partial(self.registry.leave, session.name, session.sequence, session.id, "1.0")
            self.fenced(session, leave)
            if not again:
                self.live.remove(session)

    def fenced(self, session: Session, write: Callable[[], object]) -> None:
        """A session's word changes nothing if another one has the thing."""
        before = self.registry.record(session.id), len(self.registry.feed())
        write()
        if before[0] is not None and before[0].session != session.name:
            assert (self.registry.record(session.id), len(self.registry.feed())) == before

    @rule(node=st.sampled_from(NODES))
    def lose(self, node: str) -> None:
        """A node's lease runs out."""
        self.registry.renew(node, lease=0, first=False)

    @rule(node=st.sampled_from(NODES))
    def back(self, node: str) -> None:
        """A node renews its lease."""
        self.registry.renew(node, first=False)

    @rule(limit=st.integers(1, 3))
    def sweep(self, limit: int) -> None:
        """Somebody sweeps, as far as the batch goes."""
        self.registry.sweep(limit=limit)

    @rule(node=st.sampled_from(NODES))
    def disown(self, node: str) -> None:
        """A node takes off what it does not have."""
        own = {(each.id, each.name) for each in self.live if each.node == node}
        _, found = self.registry.mine(node)
        for id, session in found:
            if (id.decode(), session.decode()) not in own:
                self.registry.disown(node, (id, session))

    @invariant()
    def ordered(self) -> None:
        """Of the events of one identity, each has a larger (epoch, sequence)."""
        latest: dict[str, tuple[int, int]] = {}
        for event in self.registry.feed():
            place = event.epoch, event.sequence
            assert place > latest.get(event.id, (0, 0)), (place, latest)
            latest[event.id] = place

    @invariant()
    def stateIsTheLastEvent(self) -> None:
        """Who is here, where, in which session and how is what the feed said last."""
        assertAgreed(self.registry)


class PropertyTests(SynchronousTestCase):
    """What holds whatever happens."""

    def test_anyOrder(self) -> None:
        """Whatever three nodes do, in whatever order, state and feed agree and go forward."""
        server = RedisServer().start()
        self.addCleanup(server.remove)
        RegistryMachine.server = server
        case = RegistryMachine.TestCase
        case.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
        case("runTest").debug()

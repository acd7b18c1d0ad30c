"""What a node asks of the script: both sides name the same fields, and no number is rounded."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from importlib.resources import files

from twisted.trial.unittest import SynchronousTestCase

from tests.fleet.redis.redises import RedisClient
from tests.fleet.redis.test_script import MOST, PREFIX, ScriptCase
from thing.fleet.redis.operations import (
    Admit,
    Claim,
    Claims,
    Disown,
    Find,
    Held,
    Join,
    Nodes,
    Operation,
    Restore,
    Sweep,
)
from thing.fleet.redis.rows import FIELDS

LARGEST = 2**53 - 1
"""The largest number up to which a double holds every whole one, and the script takes any."""


def fieldNames(kind: type) -> set[str]:
    """What Python names."""
    return {field.name for field in fields(kind)}


class NameTests(SynchronousTestCase):
    """The script names what the classes name."""

    def setUp(self) -> None:
        text = files("thing.fleet.redis").joinpath("registry.lua").read_text("utf-8")
        self.text = re.sub(r"--.*", "", text)

    def used(self, variable: str, text: str) -> set[str]:
        """The fields of a variable that a piece of the script names."""
        return set(re.findall(rf"\b{variable}\.(\w+)", text))

    def test_operations(self) -> None:
        """Each operation reads exactly the fields of its class, and each class has one."""
        bodies = re.findall(r"^function OPS\.(\w+)\(o?\)$(.*?)^end$", self.text, re.M | re.S)
        found = {op: self.used("o", body) for op, body in bodies}
        named = {each.op: fieldNames(each) for each in Operation.__subclasses__()}
        self.assertEqual(found, named)
        self.assertEqual(len(re.findall(r"function OPS", self.text)), len(named))

    def test_parts(self) -> None:
        """So it is with what some operations have many of."""
        self.assertEqual(self.used("held", self.text), fieldNames(Held))
        self.assertEqual(self.used("claim", self.text), fieldNames(Claim))


class EncodeTests(SynchronousTestCase):
    """How an operation travels."""

    def test_object(self) -> None:
        """It is a JSON object, with objects in it for its parts."""
        claims = [Claim(id="lamp", session="s1")]
        disown = Disown(node="a", most=7, claims=claims)
        self.assertEqual(
            json.loads(disown.encode()),
            {"node": "a", "most": 7, "claims": [{"id": "lamp", "session": "s1"}]},
        )
        self.assertEqual(Nodes().encode(), b"{}")

    def test_octets(self) -> None:
        """What was no UTF-8 is in it as it was; what is, is not escaped."""
        id = b'\xff\xc3"\n\x00'.decode(errors="surrogateescape")
        self.assertIn(b'\xff\xc3\\"\\n\\u0000', Admit(id=id, key="é", refuse=False).encode())
        self.assertIn("é".encode(), Admit(id=id, key="é", refuse=False).encode())


class NumberTests(ScriptCase):
    """Large numbers in a real Redis."""

    def test_epochs(self) -> None:
        """Epochs up to the largest come back, are told and are counted up as they are."""
        subscriber = RedisClient(self.redis.path)
        self.addCleanup(subscriber.__exit__)
        subscriber.ask("SUBSCRIBE", f"{PREFIX}inbox:a")
        epoch = LARGEST - 2
        answers = [
            self.registry.join("a", "s1", epoch=epoch),
            self.registry.join("b", "s2", epoch=epoch),
            self.registry.join("c", "s3", epoch=5),
            self.registry.restore("c", "s3", epoch=5),
            self.registry.restore("a", "s1", epoch=epoch),
            self.registry.leave("s2", 2),
        ]
        found = [[each.decode() for each in answer] for answer in answers]
        self.assertEqual(
            found,
            [
                ["joined", str(epoch), "1"],
                ["moved", str(epoch + 1), "1"],
                ["moved", str(LARGEST), "1"],
                ["same", str(LARGEST), "1"],
                ["stale", str(LARGEST)],
                ["stale", str(LARGEST)],
            ],
        )
        self.assertEqual(self.registry.record().epoch, LARGEST)
        feed = self.registry.feed()
        self.assertEqual([each.epoch for each in feed], [epoch, epoch + 1, LARGEST])
        self.assertEqual([each.data["fromEpoch"] for each in feed[1:]], [epoch, epoch + 1])
        told = json.loads(subscriber.ask("PING")[2])  # What was published comes first.
        self.assertEqual((told["op"], told["epoch"]), ("supersede", epoch + 1))

    def test_everyEpoch(self) -> None:
        """So it is with any, of however many digits."""
        around = [10**digits + less for digits in range(1, 16) for less in (-1, 1)]
        for epoch in (*around, 2**52 + 1, LARGEST - 1, LARGEST):
            id = f"thing {epoch}"
            answer = self.registry.join("a", "s1", id=id, epoch=epoch)
            self.assertEqual(answer, [b"joined", b"%d" % epoch, b"1"])
            self.assertEqual(self.registry.record(id).epoch, epoch)
            self.assertEqual(self.registry.feed()[-1].epoch, epoch)

    def test_sequences(self) -> None:
        """Sequences, too, as the node counts them and as the registry does."""
        top = LARGEST - 4
        answer = self.registry.join("a", "s1", sequence=top, told=top)
        self.assertEqual(answer, [b"joined", b"1", b"%d" % top])
        self.assertEqual(self.registry.tell("s1", top + 1)[2], b"%d" % (top + 1))
        self.assertEqual(self.registry.tell("s1", top + 1)[2], b"%d" % (top + 1))
        self.assertEqual(self.registry.tell("s1", top + 3)[2], b"%d" % (top + 3))
        self.registry.leave("s1", top + 4)
        found = [each.sequence for each in self.registry.feed()]
        self.assertEqual(found, [top, top + 1, top + 3, LARGEST])
        self.assertEqual(self.registry.record().sequence, LARGEST)

    def test_limits(self) -> None:
        """Bounds and times of many digits are taken as they are."""
        self.registry.renew("a", lease=LARGEST // 2)
        until = int(float(self.registry.client.ask("ZSCORE", f"{PREFIX}leases", "a")))
        now = int(self.registry.client.ask("TIME")[0]) * 1000
        self.assertTrue(0 <= until - LARGEST // 2 - now < 60_000, until)
        held = self.registry.held("s1")
        for deadline, word in ((now - 60_000, b"late"), (now + 10**6, b"joined")):
            join = Join(node="a", most=LARGEST, deadline=deadline, refuse=False, held=held)
            self.assertEqual(self.registry.run(join)[0], word)
        sweep = Sweep(
            most=LARGEST,
            limit=50,
            keep=LARGEST,
            mostGone=LARGEST,
            keepNodes=LARGEST,
            mostOctets=LARGEST,
            lease=LARGEST // 2,
        )
        self.assertEqual(self.registry.run(sweep), 0)
        self.assertEqual(self.registry.record().status.value, "present")


class WordTests(ScriptCase):
    """Texts and octets in a real Redis."""

    def test_texts(self) -> None:
        """What is JSON within the operation is stored and told letter by letter."""
        word = json.dumps({"text": 'é\n"\\ \x00', "octets": 12345678901234567890})
        self.registry.join("a", "s1", lastWord=word)
        self.registry.tell("s1", 2, data=word)
        self.assertEqual(
            self.registry.client.ask("HGET", f"{PREFIX}t:lamp", "lastWord").decode(), word
        )
        _, flat = self.registry.client.ask("XRANGE", f"{PREFIX}feed", "-", "+")[-1]
        self.assertEqual(dict(zip(flat[::2], flat[1::2], strict=True))[b"data"].decode(), word)

    def test_noText(self) -> None:
        """A thing of no name at all, which somebody put there, is disowned like any other."""
        id = b"\xff\xfe\x00"
        self.registry.client.ask("SADD", f"{PREFIX}n:a", id)
        cursor, *found = self.registry.run(Claims(node="a", cursor="0", count=50))
        self.assertEqual((cursor, found), (b"0", [id, b""]))
        self.registry.disown("a", (id, b""))
        self.assertEqual(self.registry.client.ask("SMEMBERS", f"{PREFIX}n:a"), [])

    def test_rows(self) -> None:
        """All that a record is made of is what the script stores."""
        self.registry.join("a", "s1")
        stored = self.registry.client.ask("HGETALL", f"{PREFIX}t:lamp")[::2]
        self.assertLessEqual(set(FIELDS), {name.decode() for name in stored})
        row = self.registry.run(Find(ids=["nobody", "lamp"], fields=["key", "nothing"]))
        self.assertEqual(row, [[b"lamp", b"key", None]])

    def test_nobody(self) -> None:
        """No sessions, no answers."""
        self.assertEqual(self.registry.run(Restore(node="a", most=MOST, sessions=[])), [])
        self.assertEqual(self.registry.run(Find(ids=[], fields=FIELDS)), [])

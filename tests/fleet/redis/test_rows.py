"""What is read from a registry: records of what makes sense, and nothing of what does not."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from thing.fleet.model import NodeRecord
from thing.fleet.redis.rows import FIELDS, eventOf, nodesOf, recordOf, trafficOf
from thing.fleet.redis.script import asJson
from thing.text import readObject

NO_NUMBERS = ("1e999", "-1e999", "Infinity", "-Infinity", "NaN")
"""What Python reads as numbers that JSON cannot hold."""

FIGURES = (
    *("roundTripTime", "silence", "heartbeats", "octetsIn", "octetsOut"),
    *("messagesIn", "messagesOut", "streams", "creditStalls", "ttl"),
)


def row(**more: str) -> list[bytes]:
    """What the script answers of a thing."""
    fields = dict.fromkeys(FIELDS, "1") | {"status": "present", "endings": ""} | more
    return [b"lamp", *(fields[name].encode() for name in FIELDS)]


def entry(**more: str) -> list[Any]:
    """An entry of the stream."""
    fields = {"kind": "left", "id": "lamp", "epoch": "1", "sequence": "1", "node": "a"}
    fields |= {"session": "s", "at": "1", "data": "{}", **more}
    return [b"1-1", [word.encode() for pair in fields.items() for word in pair]]


class NodeTests(SynchronousTestCase):
    """How the nodes are."""

    def test_order(self) -> None:
        """Nodes are in the order in which people count, as things are."""
        names = ("node-10", "node-2", "a", "node-1")
        record = NodeRecord(node="", since=0, lastSeen=0, status="up", sessions=0)
        said = asJson(record.asDict()).encode()
        flat = [part for name in names for part in (name.encode(), said)]
        found, malformed = nodesOf([b"1", flat, []])
        self.assertEqual([each.node for each in found], ["a", "node-1", "node-2", "node-10"])
        self.assertEqual(malformed, 0)


class NumberTests(SynchronousTestCase):
    """Numbers that nobody can count with, or that are no JSON, are nowhere in what is read."""

    def test_sense(self) -> None:
        """What these tests spoil is read as it should be."""
        self.assertIsNotNone(recordOf(row()))
        self.assertIsNotNone(eventOf(entry()))
        self.assertIsNotNone(trafficOf(dict.fromkeys(FIGURES, 1)))

    def test_json(self) -> None:
        """No number in what somebody wrote as JSON is infinite, however deep it is."""
        for number in NO_NUMBERS:
            for text in (f'{{"x":{number}}}', f'{{"x":[{{"y":[{number}]}}]}}'):
                self.assertRaises(ValueError, readObject, text)
            self.assertIsNone(eventOf(entry(data=f'{{"wait":{number}}}')), number)
        self.assertEqual(readObject('{"x":[1.5e3,-0.25,7]}'), {"x": [1500.0, -0.25, 7]})

    def test_records(self) -> None:
        """A thing, an event and a node with such a number are none."""
        ending = '{"session":"s","node":"a","since":1,"until":%s,"cause":"c","detail":"d"}'
        self.assertIsNotNone(recordOf(row(endings=ending % "2")))
        for number in NO_NUMBERS:
            for name in ("epoch", "sequence", "since", "seen"):
                self.assertIsNone(recordOf(row(**{name: number})), (name, number))
            self.assertIsNone(recordOf(row(endings=ending % number)), number)
            for name in ("epoch", "sequence", "at"):
                self.assertIsNone(eventOf(entry(**{name: number})), (name, number))
            said = asJson({"since": 1, "status": "up"})[:-1] + f',"sessions":{number}}}'
            self.assertEqual(nodesOf([b"1", [b"a", said.encode()], []]), ([], 1), number)

    def test_figures(self) -> None:
        """Figures of which one is such a number are none, also if it is said in a text."""
        for name in FIGURES:
            for number in (float("inf"), float("nan"), *NO_NUMBERS):
                figures = dict.fromkeys(FIGURES, 1) | {name: number}
                self.assertIsNone(trafficOf(figures), (name, number))

    def test_tooLarge(self) -> None:
        """A whole number that the script could not keep makes no sense."""
        self.assertIsNotNone(recordOf(row(epoch=str(2**53 - 1))))
        self.assertIsNone(recordOf(row(epoch=str(2**53))))
        self.assertIsNone(eventOf(entry(sequence=str(2**53))))

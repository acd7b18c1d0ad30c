"""The parts of the commands about a fleet: addresses, tokens, tables, events, the board's keys."""

from __future__ import annotations

import io
import math
import os
import re
import shlex
import time
from typing import Any
from unittest import mock

from click.testing import CliRunner
from rich.cells import cell_len
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.madeup import CLEAR, NOW, traffic
from tests.cli.madeup import thing as record
from tests.cli.test_commands import PROJECT, HomeCase
from thing.cli import sending
from thing.cli.address import DEFAULT_STATUS, parseStatus
from thing.cli.answers import Answer, BadAnswer
from thing.cli.board import HELP as BOARD_HELP
from thing.cli.board import MOST_TYPED, Board, endings, ordered, summary
from thing.cli.commands import commands
from thing.cli.errands import Deed, Errand, Outcome, reachCommand
from thing.cli.events import KINDS
from thing.cli.exits import ExitCode
from thing.cli.following import describe
from thing.cli.formats import (
    WIDEST,
    Columns,
    formatCount,
    formatRoundTrip,
    formatSpan,
    formatTime,
    visible,
)
from thing.cli.ls import STATUSES
from thing.cli.records import PAGE, Node, Row, nodes, pages
from thing.cli.screen import Keys
from thing.cli.status import readToken
from thing.cli.stream import MAX_EVENT, EventReader, ServerEvent
from thing.cli.watching import MOST_THINGS, Snapshot, takeSnapshot
from thing.errors import CredentialError
from thing.fleet import FedEvent, FleetEvent, Kind, NodeRecord, Status


class Told:
    """Answers as an :class:`~thing.cli.api.Api` does, without a network."""

    address = parseStatus(DEFAULT_STATUS)

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def get(self, path: str, query: dict[str, Any] | None = None) -> Any:
        self.asked.append((path, dict(query or {})))
        return Answer(200, self.answers.pop(0), NOW)


def page(*records: Any, following: str | None = None, complete: bool = True) -> dict[str, Any]:
    """What ``GET /things`` answers."""
    return {
        "things": [each if isinstance(each, dict) else each.asDict() for each in records],
        "following": following,
        "complete": complete,
        "node": "north",
    }


def rowsOf(*records: Any) -> list[Row]:
    """Things as they are shown."""
    told: Any = Told(page(*records))
    (only,) = pages(told, {}, keep=True)
    return only.rows


def nodeOf(**changes: Any) -> Node:
    """A node as it is shown."""
    known: dict[str, Any] = {"node": "north", "since": NOW, "status": "up", "sessions": 2}
    known["lastSeen"] = NOW
    told: Any = Told({"nodes": [NodeRecord(**(known | changes)).asDict()], "complete": True})
    return nodes(told)[0][0]


class AddressTests(SynchronousTestCase):
    """``--status``"""

    def test_urls(self) -> None:
        """A URL names a host, a port or its scheme's, and what the paths begin with."""
        for text, expected in {
            "http://127.0.0.1:9001": ("127.0.0.1", 9001, False, ""),
            "http://[::1]:9001/": ("::1", 9001, False, ""),
            "https://example.org/fleet/": ("example.org", 443, True, "/fleet"),
            "http://example.org": ("example.org", 80, False, ""),
        }.items():
            address = parseStatus(text)
            found = (address.host, address.port, address.secure, address.base)
            self.assertEqual((found, address.socket), (expected, None))

    def test_sockets(self) -> None:
        """A socket in the file system is named as an endpoint or as a URL."""
        for text, path, base in (
            ("unix:/run/thing/status", "/run/thing/status", ""),
            ("unix:relative", "relative", ""),
            ("http+unix://%2Frun%2Fthing/base", "/run/thing", "/base"),
            ("http+unix:/run/thing", "/run/thing", ""),
        ):
            address = parseStatus(text)
            self.assertEqual((address.socket, address.base), (path, base))
            self.assertEqual(address.host, "localhost")

    def test_mistakes(self) -> None:
        """Everything else is refused; so is a secret that all users of the machine could see."""
        for text in (
            *(
                "",
                "127.0.0.1:9001",
                "localhost",
                "http:",
                "http://",
                "ftp://host",
                "unix:",
                "unix:/",
            ),
            *("http://host:99999", "http://host:x", "http://[::1", "http+unix:", "http+unix://"),
            *("http://user:secret@host", "http://host?token=secret", "http://host#x"),
            *("http://ho st", "http://host\r\nX-Evil: 1", "http://host\x00"),
        ):
            with self.assertRaises(ValueError, msg=text) as raised:
                parseStatus(text)
            self.assertTrue(str(raised.exception).isprintable(), text)

    def test_overhearable(self) -> None:
        """What goes over a network without TLS can be overheard; on this machine it cannot."""
        for text, overhearable in (
            ("http://192.0.2.1:9001", True),
            ("http://example.org", True),
            ("https://example.org", False),
            ("http://127.0.0.2:1", False),
            ("http://[::1]:1", False),
            ("http://localhost:1", False),
            ("unix:/run/x", False),
        ):
            self.assertIs(parseStatus(text).overhearable, overhearable, text)


class TokenTests(HomeCase):
    """``--token-file``"""

    def write(self, content: bytes, mode: int = 0o600) -> str:
        """A file."""
        path = self.directory / "token"
        path.write_bytes(content)
        path.chmod(mode)
        return str(path)

    def test_firstLine(self) -> None:
        """The first line is the token, without what is around it."""
        self.assertEqual(readToken(self.write(b" abc+/=~ \r\nmore\n")), "abc+/=~")

    def test_noToken(self) -> None:
        """What cannot stand in a header, or nothing at all, is no token; it is not shown."""
        for content in (b"", b"\nx", b"two words", b"sn\xc3\xb6w", b"a\x00b", b"x" * 5000):
            path = self.write(content)
            with self.assertRaises(CredentialError) as raised:
                readToken(path)
            self.assertNotIn("words", str(raised.exception))

    def test_openFile(self) -> None:
        """A file that others may read is refused in one line, before anybody is asked."""
        path = self.write(b"secret", 0o644)
        for arguments in (["ls"], ["send", "x", "y"], ["events"], ["top", "--once"]):
            result = self.invoke(*arguments, "--token-file", path)
            self.assertExit(result, ExitCode.FAILED, "too open")
            self.assertEqual(result.output.count("\n"), 1)

    def test_overhearable(self) -> None:
        """That others can read the token on its way is said."""
        path = self.write(b"secret")
        result = self.invoke("ls", "--token-file", path, "--status", "http://fleet.invalid:1")
        self.assertExit(result, ExitCode.NOT_CONNECTED, "others on the way can read the token")
        self.assertNotIn("secret", result.output)


COMMANDS = (
    *("ls", "show", "send", "leave", "end", "events", "top", "nodes"),
    *("invite", "invitations"),
)
"""Those that ask a status server."""


class ArgumentTests(HomeCase):
    """What is typed."""

    def test_help(self) -> None:
        """Each command names the exit codes and where the server is."""
        for command in COMMANDS:
            result = self.invoke(command, "--help")
            self.assertExit(result, ExitCode.GOODBYE, ExitCode.NO_ACCESS.sentence)
            self.assertIn("THING_STATUS_TOKEN_FILE", result.output)
            self.assertIn(DEFAULT_STATUS, result.output)

    def test_documented(self) -> None:
        """The documentation names options, variables and keys that are there."""
        text = (PROJECT / "docs" / "operating.rst").read_text()
        text = text.partition("\nThe fleet in the terminal\n---")[2]
        known = BOARD_HELP + "".join(self.invoke(command, "--help").output for command in COMMANDS)
        options = set(re.findall(r"``(-[\w-]+|\$THING_\w+)", text))
        self.assertIn("--status-is", options)
        for option in options:
            self.assertIn(option.lstrip("$"), known)
        self.assertEqual(re.findall("first ([0-9]+)", text), [str(PAGE), str(MOST_THINGS)])
        for key in ("n", "r", "l", "m", "R", "/", "?", "q", "s", "x", "o"):
            self.assertIn(f"``{key}``", text)
            self.assertRegex(BOARD_HELP, rf"(?m)^ .*{re.escape(key)}  ")

    def test_mistakes(self) -> None:
        """What makes no sense is explained before anybody is asked."""
        for arguments, said in (
            (["ls", "--status", "nowhere"], "is not http://"),
            (["ls", "--status-is", "dead"], "'present'"),
            (["ls", "--reach", "--status-is", "late"], "exclude"),
            (["end", "lamp"], "16 hexadecimal digits"),
            (["send"], "ID"),
            (["send", "x", "y", "--timeout", "61"], "60 s is the longest"),
            (["send", "x", "y", "--timeout", "nan"], "positive"),
            (["events", "--after", "yesterday"], "a position is"),
            (["events", "--kind", "birthday"], "'joined'"),
            (["events", "-n", "0"], "0"),
            (["top", "-n", "3"], "--batch"),
            (["top", "--json"], "--batch"),
            (["top", "--once", "-n", "3"], "exclude"),
            (["top", "-d", "0"], "positive"),
            (["top"], "no terminal"),
        ):
            self.assertExit(self.invoke(*arguments), ExitCode.USAGE, said)

    def test_words(self) -> None:
        """The statuses and kinds that are spelled out here are all that there are."""
        self.assertEqual(STATUSES, tuple(status.value for status in Status))
        self.assertEqual(KINDS, tuple(kind.value for kind in Kind))

    def test_environment(self) -> None:
        """The server and the token's file can come from the environment."""
        self.patch(os, "environ", {**os.environ, "THING_STATUS": "unix:/nowhere/at/all"})
        self.assertExit(self.invoke("ls"), ExitCode.NOT_CONNECTED, "unix:/nowhere/at/all")
        os.environ["THING_STATUS_TOKEN_FILE"] = str(self.directory / "missing")
        self.assertExit(self.invoke("ls"), ExitCode.FAILED, "missing")

    def test_hugeInput(self) -> None:
        """A message that no server takes is not read to its end."""
        self.patch(sending, "MAX_INPUT", 10)
        result = CliRunner().invoke(commands, ["send", "x"], input=b"x" * 11)
        self.assertExit(result, ExitCode.NOT_TAKEN, "longer")


class ShownTests(SynchronousTestCase):
    """How things are written."""

    def test_visible(self) -> None:
        """What could steer a terminal is replaced, line ends too; long texts are cut."""
        self.assertEqual(visible(f"a{CLEAR}b\nc\ud800"), "a\ufffd[2J\ufffd\ufffdb\ufffdc\ufffd")
        self.assertEqual(visible("x" * 11, 10), "x" * 10 + "…")
        self.assertEqual(visible("x" * 10, 10), "x" * 10)

    def test_span(self) -> None:
        """Durations have two units and at most six characters, without a jump between them."""
        for seconds, text in (
            *((None, "-"), (-5.0, "0.0s"), (0.04, "0.0s"), (9.94, "9.9s"), (9.96, "10s")),
            *((59.4, "59s"), (59.6, "1m00s"), (3599.4, "59m59s"), (3599.6, "1h00m")),
            *((86399.0, "23h59m"), (86400.0, "1d00h"), (99.9 * 86400, "99d21h"), (1e7, "115d")),
        ):
            self.assertEqual(formatSpan(seconds), text)

    def test_tripTime(self) -> None:
        """Round trips are in milliseconds until they are a second."""
        for seconds, text in (
            *((None, "-"), (0.0, "0.0ms"), (0.01234, "12.3ms"), (0.09996, "100ms")),
            *((0.9994, "999ms"), (0.9996, "1.0s"), (75.0, "1m15s")),
        ):
            self.assertEqual(formatRoundTrip(seconds), text)

    def test_amount(self) -> None:
        """Large numbers are short."""
        for number, text in (
            *((0, "0"), (999, "999"), (1000, "1.0k"), (99_949, "99.9k"), (99_951, "100k")),
            *((999_499, "999k"), (999_501, "1.0M"), (5 * 10**12, "5.0T")),
        ):
            self.assertEqual(formatCount(number), text)
            self.assertLessEqual(len(formatCount(number)), 5)

    def test_moment(self) -> None:
        """A time of day is where the user is; one that no calendar has is a question mark."""
        with mock.patch.dict(os.environ, TZ="XYZ-3"):
            time.tzset()
            self.assertEqual(formatTime(NOW), "2027-01-15 11:00:00")
        time.tzset()
        for wrong in (1e300, -1e300, math.inf):
            self.assertEqual(formatTime(wrong), "?")

    def test_columns(self) -> None:
        """Columns are aligned by what a terminal shows; later rows widen them, giants do not."""
        columns = Columns(("A", "B"), right=("B",))
        lines = columns.lines([("電球", "1"), ("ab", "22")])
        self.assertEqual(lines, ["電球   1", "ab    22"])
        self.assertEqual({cell_len(line) for line in lines}, {8})
        self.assertEqual(columns.lines([("longer", "1")]), ["longer   1"])
        columns.lines([("x" * 1000, "1")])
        self.assertEqual(columns.lines([("a", "1")]), ["a" + " " * (WIDEST - 1) + "   1"])


class RecordTests(SynchronousTestCase):
    """What a server told is read."""

    def test_row(self) -> None:
        """A row is reckoned from its node's own time, which is told in fractions of a second."""
        (row,) = rowsOf(record("lamp", since=NOW - 100, lastSeen=NOW - 3.5))
        self.assertEqual((row.id, row.status, row.node), ("lamp", "present", "north"))
        assert row.up is not None
        self.assertAlmostEqual(row.up, 100.7, places=5)
        self.assertEqual((row.silence, row.roundTripTime, row.cause), (4.2, 0.0123, None))
        self.assertEqual(row.messages, 7)
        self.assertEqual(row.found["fingerprint"], "SHA256:lamp")

    def test_gone(self) -> None:
        """What is gone is up no more, and silent since it was seen."""
        (row,) = rowsOf(record("x", status=Status.GONE, lastSeen=NOW - 60, traffic=None))
        self.assertEqual(
            (row.up, row.silence, row.roundTripTime, row.messages), (None, 60, None, 0)
        )
        self.assertIsNone(row.cause)

    def test_cause(self) -> None:
        """Of what is gone is told how its last session ended; of what is here, not."""
        endings = [{"cause": "FLAT_LINED"}, {"cause": "GOODBYE"}]
        for status, wanted in (("gone", "FLAT_LINED"), ("present", None)):
            (row,) = rowsOf(record("x").asDict() | {"status": status, "endings": endings})
            self.assertEqual(row.cause, wanted)
        for nonsense in ([], {}, 5, [5], [{"cause": 5}], [{}]):
            (row,) = rowsOf(record("x").asDict() | {"status": "gone", "endings": nonsense})
            self.assertIsNone(row.cause)

    def test_unmeasured(self) -> None:
        """What has not been measured is not known."""
        (row,) = rowsOf(record("x", traffic=traffic(roundTripTime=None, silence=None)))
        self.assertIsNone(row.roundTripTime)

    def test_newerServer(self) -> None:
        """What a newer server tells besides does not matter; its words are shown."""
        (row,) = rowsOf(record("x").asDict() | {"status": "asleep", "mood": {"good": True}})
        self.assertEqual(row.status, "asleep")

    def test_wrongTypes(self) -> None:
        """A member that is missing or of a wrong type is named."""
        good = record("x").asDict()
        for name, wrong in (
            *((name, 5) for name in ("id", "status", "node", "address", "traffic")),
            *((name, None) for name in ("id", "since", "lastSeen")),
            *((name, wrong) for name in ("since", "lastSeen") for wrong in ("1", True, 10**400)),
            *(("traffic", {name: "1"}) for name in ("silence", "roundTripTime", "messagesIn")),
        ):
            with self.assertRaises(BadAnswer) as raised:
                rowsOf(good | {name: wrong})
            self.assertIn(
                repr(next(iter(wrong)) if isinstance(wrong, dict) else name), str(raised.exception)
            )
            self.assertEqual(raised.exception.exit_code, ExitCode.PROTOCOL_ERROR)

    def test_wrongPages(self) -> None:
        """A page is an object with a list."""
        for wrong in ({}, {"things": {}}, {"things": [1]}, page() | {"following": 5}):
            told: Any = Told(wrong)
            with self.assertRaises(BadAnswer):
                list(pages(told, {}, keep=False))

    def test_pages(self) -> None:
        """Each page is asked for when it is wanted, behind the one before."""
        told: Any = Told(page(record("a"), following="a"), page(record("b"), complete=False))
        asking = pages(told, {"q": "x"}, keep=False)
        first = next(asking)
        self.assertEqual(len(told.asked), 1)
        self.assertEqual((first.rows[0].id, first.rows[0].found), ("a", {}))
        (second,) = asking
        self.assertFalse(second.complete)
        self.assertEqual(told.asked[1], ("/things", {"limit": PAGE, "q": "x", "after": "a"}))

    def test_roundAndRound(self) -> None:
        """A server whose pages do not go forward is left."""
        for order in ("bb", "bab", ("", "b", "")):
            told: Any = Told(*(page(following=following) for following in order))
            with self.assertRaises(BadAnswer):
                list(pages(told, {}, keep=False))

    def test_nodes(self) -> None:
        """Of a node is told what ended in the last minutes, and not before."""
        minutes = ((int(NOW) - 60, {"GOODBYE": 2}), (int(NOW), {"GOODBYE": 1, "LAPSED": 1}))
        node = nodeOf(minutes=((int(NOW) - 3600, {"GOODBYE": 50}), *minutes), loopLag=0.5)
        self.assertEqual(node.ended, {"GOODBYE": 3, "LAPSED": 1})
        self.assertEqual((node.name, node.loopLag, node.registry), ("north", 0.5, "memory"))

    def test_wrongNodes(self) -> None:
        """Nodes that are none are refused."""
        good = NodeRecord(node="n", since=NOW, status="up", sessions=1, lastSeen=NOW).asDict()
        for wrong in (
            *([1], [{}], {}, [good | {"sessions": "1"}], [good | {"minutes": 1}]),
            *([good | {"minutes": [[1]]}], [good | {"minutes": [["x", {}]]}]),
            [good | {"minutes": [[NOW, {"GOODBYE": "x"}]]}],
        ):
            told: Any = Told({"nodes": wrong})
            with self.assertRaises(BadAnswer):
                nodes(told)

    def test_look(self) -> None:
        """A look is at the nodes and at all pages, up to a bound."""
        listed = {"nodes": [], "complete": True}
        told: Any = Told(listed, page(record("a"), following="a"), page(record("b")))
        snapshot = takeSnapshot(told, "")
        self.assertEqual([row.id for row in snapshot.rows], ["a", "b"])
        self.assertEqual((snapshot.complete, snapshot.more), (True, False))
        many = [record(f"{number:04}") for number in range(MOST_THINGS)]
        told = Told(listed, page(*many, following=many[-1].id, complete=False))
        snapshot = takeSnapshot(told, "x")
        self.assertEqual((snapshot.complete, snapshot.more), (False, True))
        self.assertEqual(told.asked[1][1]["q"], "x")


class StreamTests(SynchronousTestCase):
    """Server-sent events."""

    STREAM = (
        ":\n\nevent: joined\nid: 1-0\ndata: {}\n\n"
        "data: one\r\ndata:two\r\r: still there\nid\nevent: x\n\nid: a\0b\ndata: \N{SNOWMAN}\n\n"
        "unknown: 1\nretry: 5\ndata\n\nid: 9\n\ndata: last"
    ).encode()

    EVENTS = (
        ServerEvent("", "", ""),
        ServerEvent("joined", "{}", "1-0"),
        ServerEvent("message", "one\ntwo", "1-0"),
        ServerEvent("", "still there", "1-0"),
        ServerEvent("message", "\N{SNOWMAN}", ""),
        ServerEvent("message", "", ""),
    )

    def test_whole(self) -> None:
        """A stream is cut into events and comments; what is not whole is no event."""
        self.assertEqual(tuple(EventReader().feed(self.STREAM)), self.EVENTS)

    def test_anyChunks(self) -> None:
        """However the stream comes, the events are the same."""
        for size in (1, 2, 3, 7):
            reader = EventReader()
            found = [
                event
                for start in range(0, len(self.STREAM), size)
                for event in reader.feed(self.STREAM[start : start + size])
            ]
            self.assertEqual(tuple(found), self.EVENTS, size)

    def test_tooLong(self) -> None:
        """An event without an end is given up, in one line or in many."""
        for piece in (b"x" * 100_000, b"data: " + b"x" * 100_000 + b"\n"):
            reader = EventReader()

            def flood(reader: EventReader = reader, piece: bytes = piece) -> None:
                for _ in range(2 * MAX_EVENT // len(piece)):
                    self.assertEqual(list(reader.feed(piece)), [])

            self.assertRaises(ValueError, flood)

    def test_manyComments(self) -> None:
        """A long stream of short events is not held."""
        reader = EventReader()
        for _ in range(3 * MAX_EVENT // 100_000):
            self.assertTrue(list(reader.feed(b":" + b"x" * 100_000 + b"\n\n")))


REACH = {"service": "ssh", "by": "olga"}
"""What events of reaches tell."""


class DescribeTests(SynchronousTestCase):
    """Events, for people."""

    def describe(self, kind: str, **data: object) -> str:
        """What is said of an event, without its time."""
        return describe({"kind": kind, "id": "lamp", "at": NOW, **data})[19:]

    def test_kinds(self) -> None:
        """Each kind says in words what it tells."""
        for kind, data, said in (
            ("joined", {"address": "a:1", "node": "n"}, "from a:1, on n"),
            ("moved", {"address": "a:1", "node": "n", "fromNode": "m"}, "from a:1, on n; was on m"),
            ("late", {"silence": 12.0}, "silent for 12s"),
            ("renewed", {"roundTripTime": 0.001}, "alive, round trip 1.0ms"),
            ("message", {"text": "hello\n"}, "hello"),
            ("message", {"base64": "AAAA"}, "3 octets"),
            ("lastWord", {"text": "farewell"}, "farewell"),
            ("left", {"detail": "both sides said goodbye"}, "both sides said goodbye"),
            ("twins", {"wait": 10.0}, "two with one key; newcomers wait for 10s"),
            ("reached", {**REACH, "from": "a:1"}, "ssh, by olga from a:1"),
            (
                "reachEnded",
                {**REACH, "duration": 3.0, "octetsUp": 5, "octetsDown": 1500, "reason": "DONE"},
                "ssh, by olga, after 3.0s: DONE; 5 octets to it, 1.5k from it",
            ),
            (
                "reachEnded",
                {**REACH, "duration": 3.0, "octetsUp": 5, "octetsDown": 5, "reason": 300},
                "ssh, by olga, after 3.0s: code 300; 5 octets to it, 5 from it",
            ),
        ):
            self.assertEqual(self.describe(kind, **data), f"  {kind:<8}  lamp  {said}")
        self.assertEqual([kind for kind in KINDS if self.describe(kind).endswith("lamp")], [])

    def test_events(self) -> None:
        """What the server writes is understood."""
        event = FleetEvent(
            kind=Kind.LATE, id="x", epoch=1, sequence=1, node="n", session="", at=NOW,
            data={"silence": 3.0},
        )  # fmt: skip
        self.assertIn("silent for 3.0s", describe(FedEvent("1-0", event).asDict()))

    def test_unknownKind(self) -> None:
        """A kind of a newer server is named."""
        self.assertEqual(self.describe("promoted", rank=5), "  promoted  lamp")

    def test_strangers(self) -> None:
        """Nothing that a thing wrote steers the terminal or makes a second line."""
        for said in (
            self.describe("message", text=f"x{CLEAR}\ny"),
            self.describe(CLEAR),
            describe({"kind": "left", "id": CLEAR, "at": NOW, "detail": CLEAR}),
        ):
            self.assertTrue(said.isprintable())

    def test_wrongMembers(self) -> None:
        """Members of a wrong type are a question mark; without the main ones it is no event."""
        self.assertIn("silent for ?", self.describe("late", silence="long"))
        self.assertIn("silent for ?", self.describe("late", silence=10**400))
        self.assertIn("from ?, on ?", self.describe("joined", address=5))
        self.assertIn("?", self.describe("message"))
        for wrong in ({}, {"kind": "late", "id": "x"}, {"kind": 1, "id": "x", "at": 1}):
            self.assertRaises(ValueError, describe, wrong)


class KeyTests(SynchronousTestCase):
    """What a terminal sends becomes keys."""

    def test_keys(self) -> None:
        """Characters are themselves, and sequences are the keys that have no character."""
        sent = "q\x1b[A\x1bOB\x1b[5~\x1b[6~\x1b[H\x1b[F\r\n\x7f\x1b[1;5Aä\x1b[15~".encode()
        self.assertEqual(
            list(Keys().feed(sent)),
            [
                "q",
                "up",
                "down",
                "pageUp",
                "pageDown",
                "home",
                "end",
                "enter",
                "enter",
                "backspace",
                "up",
                "ä",
                "unknown",
            ],
        )

    def test_escape(self) -> None:
        """The key Esc alone is a key."""
        self.assertEqual(list(Keys().feed(b"\x1b")), ["escape"])

    def test_mouse(self) -> None:
        """A click is known by its line, the wheel by where it turns; all else is for nothing."""
        for octets, key in (
            (b"\x1b[<0;12;7M", "click 6"),
            (b"\x1b[<0;12;7m", "unknown"),
            (b"\x1b[<2;12;7M", "unknown"),
            (b"\x1b[<64;1;1M", "wheelUp"),
            (b"\x1b[<65;1;1M", "wheelDown"),
            (b"\x1b[<M", "unknown"),
        ):
            self.assertEqual([*Keys().feed(octets)], [key])

    def test_pieces(self) -> None:
        """A character that comes in pieces is one; what is none is dropped."""
        keys = Keys()
        self.assertEqual([*keys.feed(b"\xc3"), *keys.feed(b"\xa4\xff")], ["ä"])

    def test_paste(self) -> None:
        """What is pasted is no command, and ends no line."""
        keys = [*Keys().feed(b"\x1b[200~a\nq\x1b[201~q")]
        self.assertEqual(keys, ["paste a", "paste  ", "paste q", "q"])

    def test_brokenUp(self) -> None:
        """A sequence that comes in pieces, as a slow line cuts it, is one key."""
        keys = Keys()
        for pieces, names in (
            ((b"q\x1b[", b"B", b"s"), ["q", "down", "s"]),
            ((b"\x1b[<0;1", b"2;7M"), ["click 6"]),
            ((b"\x1b[", b"q"), ["unknown"]),
            ((b"\x1b", b"s"), ["escape", "s"]),
        ):
            self.assertEqual([key for piece in pieces for key in keys.feed(piece)], names)


class BoardCase(SynchronousTestCase):
    """Tests with a board."""

    def setUp(self) -> None:
        self.board = Board("http://here", "name", False, "")

    def see(self, *rows: Row, nodes: Any = (), complete: bool = True, more: bool = False) -> None:
        """Show a snapshot."""
        self.board.see(
            Snapshot(at=NOW, nodes=list(nodes), rows=list(rows), complete=complete, more=more)
        )

    def press(self, *keys: str) -> None:
        """Press keys."""
        for key in keys:
            self.board.press(key)

    def screen(self, width: int = 80, height: int = 24) -> list[str]:
        """The lines of the screen."""
        file = io.StringIO()
        console = Console(file=file, width=width, height=height, color_system=None)
        console.print(self.board.render(width, height))
        return file.getvalue().splitlines()

    def ids(self) -> list[str]:
        """The first cells of the things on the screen."""
        lines = self.screen()
        top = next(number for number, line in enumerate(lines) if line.startswith("ID "))
        return [line.split()[0] for line in lines[top + 1 : -1] if line.strip()]


class SortTests(BoardCase):
    """In which order things are."""

    def setUp(self) -> None:
        super().setUp()
        self.see(
            *rowsOf(
                record("a", traffic=traffic(roundTripTime=0.2, silence=1.0, messagesIn=1)),
                record("b", traffic=traffic(roundTripTime=None, silence=9.0, messagesIn=5)),
                record("c", traffic=traffic(roundTripTime=0.4, silence=5.0, messagesIn=9)),
            )
        )

    def test_keys(self) -> None:
        """Each key sorts by something, what is largest first, and R turns it round."""
        for key, order in (("r", "cab"), ("l", "bca"), ("m", "cba"), ("n", "abc")):
            self.press(key)
            self.assertEqual("".join(self.ids()), order, key)
        self.press("R")
        self.assertEqual(self.ids(), ["c", "b", "a"])

    def test_unknownIsLast(self) -> None:
        """What is not measured is last, either way."""
        self.press("r", "R")
        self.assertEqual(self.ids(), ["a", "c", "b"])

    def test_equal(self) -> None:
        """What is equal keeps the order of the ids, so that rows do not jump."""
        rows = rowsOf(record("x-2"), record("x-10"), record("y"))
        for reverse in (False, True):
            self.assertEqual(ordered(rows, "trip", reverse), rows)


class SearchTests(BoardCase):
    """Looking for things."""

    def setUp(self) -> None:
        super().setUp()
        self.see(*rowsOf(record("lamp"), record("door", name="Front"), record("pump")))

    def test_search(self) -> None:
        """What is typed narrows the list at once, in ids, names and keys; case counts not."""
        self.press("/", "F", "R")
        self.assertEqual(self.ids(), ["door"])
        self.assertTrue(self.screen()[-1].startswith("/FR"))
        self.press("backspace", "backspace", "M", "p", "enter")
        self.assertEqual(self.ids(), ["lamp", "pump"])
        self.assertIn("search: Mp", self.screen()[-1])

    def test_escape(self) -> None:
        """Esc drops the search, while it is typed and after."""
        self.press("/", "q", "q", "escape")
        self.assertEqual(len(self.ids()), 3)
        self.press("/", "l", "enter", "escape")
        self.assertEqual(len(self.ids()), 3)
        self.assertFalse(self.board.over)

    def test_bounded(self) -> None:
        """A text to search for has a longest, and no keys in it that are no characters."""
        self.press("/", "up", "\t", *("x" * (2 * MOST_TYPED)))
        self.assertEqual(self.board.search, "x" * MOST_TYPED)


class ScreenTests(BoardCase):
    """What is on the screen."""

    def test_small(self) -> None:
        """80 by 24 hold the nodes, the headings, things and the keys, each line within."""
        self.see(*rowsOf(*(record(f"thing-{n:03}") for n in range(100))), nodes=[nodeOf()])
        lines = self.screen()
        self.assertEqual(len(lines), 24)
        self.assertLessEqual({cell_len(line) for line in lines}, set(range(81)))
        self.assertRegex(lines[0], r"^thing top  \d\d:\d\d:\d\d  100 things, 0 late")
        self.assertRegex(lines[3], r"^north +up +2 +0 +0.0ms +memory")
        self.assertRegex(lines[6], r"^thing-000 +present north +8m24s +4.2s  12.3ms +7$")
        self.assertRegex(lines[-1], r"^1-17 of 100  q quit")

    def test_sizes(self) -> None:
        """Every size that a terminal can have is drawn, however small."""
        self.see(*rowsOf(*(record(f"{n}" * 50) for n in range(60))), nodes=[nodeOf()] * 20)
        for width in (1, 5, 20, 71, 72, 103, 104, 300):
            for height in (1, 3, 10, 24, 60):
                for help in ("?", "?"):
                    lines = self.screen(width, height)
                    self.assertLessEqual(max(map(cell_len, lines)), width)
                    self.press(help)

    def test_wide(self) -> None:
        """A wide terminal shows addresses; wide characters do not move the columns."""
        self.see(*rowsOf(record("lamp"), record("電球")))
        lines = [line for line in self.screen(120) if "192.0.2.1" in line]
        self.assertEqual(len({cell_len(line.partition("present")[0]) for line in lines}), 1)

    def test_scroll(self) -> None:
        """The list scrolls by lines and pages, and not beyond its ends."""
        self.see(*rowsOf(*(record(f"{n:03}") for n in range(100))))
        first = self.ids()
        self.press("up", "up")
        self.assertEqual(self.ids(), first)
        self.press("pageDown")
        self.assertEqual(self.ids()[-1], f"{len(first):03}")
        self.press("down")
        self.assertEqual(self.ids()[-1], f"{len(first) + 1:03}")
        self.press("end")
        self.assertEqual(self.ids()[-1], "099")
        self.press("pageUp", "up")
        self.assertEqual(self.ids()[0], f"{98 - len(first):03}")
        self.press("home")
        self.assertEqual(self.ids(), first)
        self.press("end")
        self.see(*rowsOf(record("only")))
        self.assertEqual(self.ids(), ["only"])

    def test_away(self) -> None:
        """A server that is away is told of; what was known stays, until it is back."""
        self.board.complain("cannot reach it")
        self.assertIn("cannot reach it; trying again", self.screen()[1])
        self.see(*rowsOf(record("lamp")))
        self.assertNotIn("cannot", "".join(self.screen()))
        self.board.complain("cannot reach it")
        self.assertIn("cannot reach it; trying again", self.screen()[1])
        self.assertEqual(self.ids(), ["lamp"])

    def test_waiting(self) -> None:
        """Before the first answer that is said."""
        self.assertIn("asking the status server", self.screen()[1])

    def test_strangers(self) -> None:
        """Names that would steer the terminal, or look like rich's markup, do not."""
        self.see(
            *rowsOf(record(CLEAR, node=CLEAR, address=CLEAR), record("[red]x[/nothing]")),
            nodes=[
                nodeOf(node=CLEAR, status=CLEAR, registry=CLEAR, minutes=((int(NOW), {CLEAR: 1}),))
            ],
        )
        self.board.complain(CLEAR)
        lines = self.screen(150)
        self.assertTrue(all(line.isprintable() for line in lines))
        self.assertIn("[red]x[/nothing]", "".join(lines))

    def test_troubledNodesFirst(self) -> None:
        """If not all nodes have room, those that are not well have it."""
        nodes = [nodeOf(node=f"n{n}") for n in range(30)] + [nodeOf(node="ill", status="lost")]
        self.see(nodes=nodes)
        lines = self.screen()
        self.assertTrue(lines[3].startswith("ill "))
        self.assertIn("and 27 more", "\n".join(lines))

    def test_summaries(self) -> None:
        """The lines on top count things and endings, and say what is missing."""
        rows = rowsOf(record("a", status=Status.LATE), record("b"))
        found = [nodeOf(minutes=((int(NOW), {"LAPSED": 1}),)) for _ in range(2)]
        whole = Snapshot(at=NOW, nodes=found, rows=rows, complete=True, more=False)
        self.assertTrue(summary(whole, 2).endswith("  2 things, 1 late"))
        self.assertTrue(summary(whole, 1).endswith("  2 things, 1 late, 1 shown"))
        self.assertEqual(endings(whole), "Ended in the last 10 minutes: 2 lapsed")
        part = Snapshot(at=NOW, nodes=[], rows=rows[:1], complete=False, more=True)
        self.assertIn("1 thing, 1 late, and more: search, INCOMPLETE", summary(part, 1))
        self.assertEqual(endings(part), "Ended in the last 10 minutes: none")

    def chosen(self) -> str:
        """The thing that is chosen, as it is drawn."""
        file = io.StringIO()
        console = Console(file=file, width=80, height=24, force_terminal=True)
        console.print(self.board.render(80, 24))
        found = re.search(r"\x1b\[7m(\w+)", file.getvalue())
        return "" if found is None else found[1]

    def test_choose(self) -> None:
        """A thing is chosen by keys or the mouse, and stays so wherever it goes."""
        self.see(*rowsOf(record("a"), record("b"), record("c")), nodes=[nodeOf()])
        self.assertEqual(self.chosen(), "")
        for key, id in (("down", "a"), ("down", "b"), ("end", "c"), ("up", "b"), ("R", "b")):
            self.press(key)
            self.assertEqual(self.chosen(), id, key)
        line = next(n for n, text in enumerate(self.screen()) if text.startswith("c "))
        self.press(f"click {line}")
        self.assertEqual(self.chosen(), "c")
        for nowhere in (0, 3, line + 5, 23, 999):
            self.press(f"click {nowhere}")
            self.assertEqual((self.chosen(), self.board.detailed), ("c", None))
        self.see(*rowsOf(record("a"), record("b")))
        self.assertEqual(self.chosen(), "")
        self.press("wheelDown", "escape")
        self.assertEqual(self.chosen(), "")

    def test_unchosen(self) -> None:
        """Nothing is done with a thing that was not chosen."""
        self.see(*rowsOf(record("a")))
        for key in ("enter", "s", "x", "o"):
            self.press(key)
            self.assertIsNone(self.board.errand)
            self.assertIn("choose a thing first", self.screen()[-1])
        self.press("?", "?")
        self.assertIn("q quit", self.screen()[-1])

    def test_details(self) -> None:
        """Enter, or a second click, asks for what is known; what comes for another is dropped."""
        self.see(*rowsOf(record("a"), record("b")))
        self.press("down", "enter")
        errand = self.board.errand
        assert errand is not None
        self.assertEqual((errand.deed, errand.id), (Deed.SHOW, "a"))
        lines = [f"line {n} {CLEAR if n == 7 else ''}" for n in range(50)]
        self.board.done(Outcome(Errand(Deed.SHOW, "b"), ["of another"]))
        self.assertIn("asking the status server", self.screen()[3])
        self.board.done(Outcome(errand, lines))
        self.assertEqual(self.screen()[3].rstrip(), "line 0")
        self.press("end")
        self.assertEqual(self.screen()[-2].rstrip(), "line 49")
        self.press("q")
        self.assertFalse(self.board.over)
        self.assertEqual(self.ids(), ["a", "b"])
        line = next(n for n, text in enumerate(self.screen()) if text.startswith("b "))
        self.press(f"click {line}", f"click {line}")
        self.assertEqual(self.board.detailed, "b")

    def test_send(self) -> None:
        """A message is typed, with the usual keys, and sent at Enter; Esc drops it."""
        self.see(*rowsOf(record("a")))
        self.press("down", "s", *"lihts", "left", "left", "left", "g", "end", "!")
        self.assertIn("Send a: lights!", self.screen()[-1])
        self.press("enter")
        self.assertEqual(self.board.errand, Errand(Deed.SEND, "a", "lights!"))
        self.assertIn("sending it to a", self.screen()[-1])
        self.board.done(Outcome(Errand(Deed.SEND, "a", ""), ["a answers: ok"]))
        self.assertIn("a answers: ok", self.screen()[-1])
        for keys in (("x", "escape"), ("enter",), (" ", "enter")):
            self.press("s", *keys)
            self.assertIsNone(self.board.errand)
        self.press("s", *("x" * 300))
        self.assertEqual(max(map(cell_len, self.screen())), 80)

    def test_paste(self) -> None:
        """What is pasted goes into a line that is typed, and nowhere else."""
        self.see(*rowsOf(record("a")))
        self.press("down", "paste q", "paste s", "s", "paste x", "paste  ", "paste y")
        self.assertIn("Send a: x y", self.screen()[-1])
        self.press("escape", "x", "paste y")
        self.assertIsNone(self.board.errand)
        self.assertFalse(self.board.over)

    def test_leave(self) -> None:
        """A thing is asked to leave if the user says yes to that, and at nothing else."""
        self.see(*rowsOf(record("a")))
        self.press("down")
        for answer in ("n", "enter", "escape", "q"):
            self.press("x", answer)
            self.assertIsNone(self.board.errand, answer)
            self.assertFalse(self.board.over)
        self.press("x")
        self.assertIn("Ask a to leave? [y/N]", self.screen()[-1])
        self.press("y")
        self.assertEqual(self.board.errand, Errand(Deed.LEAVE, "a"))

    def test_reach(self) -> None:
        """The command that reaches a service is seen and can be changed; no id is more than one."""
        self.see(*rowsOf(record("a")))
        self.press("down", "o", "enter")
        self.assertEqual(
            self.board.errand, Errand(Deed.REACH, "a", "ssh -o ProxyCommand='thing reach %h ssh' a")
        )
        for id in ("-oProxyCommand=x", "$(reboot)", "a b", "SHA256:x", "';x"):
            self.assertEqual(shlex.split(reachCommand(id)), ["thing", "reach", "--", id, "ssh"])

    def test_helpAndQuit(self) -> None:
        """The help tells the keys and goes at any; q ends it."""
        self.press("?")
        self.assertIn("the other way round", "\n".join(self.screen()))
        self.press("q")
        self.assertFalse(self.board.over)
        self.press(" ")
        self.assertTrue(self.board.hurried)
        self.press("q")
        self.assertTrue(self.board.over)
        self.assertFalse(self.board.hurried)

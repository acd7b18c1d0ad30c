"""``thing ls``, ``send``, ``events`` and ``top -b`` as users run them, over real HTTP."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from typing import Any
from unittest import mock

from rich.cells import cell_len
from twisted.internet.defer import Deferred, fail, succeed

from tests.cli.madeup import CLEAR, NOW, OWN, FleetCase, answer, reactor, thing
from tests.cli.test_process import Command
from tests.helpers import socketDirectory
from thing import ReplyStatus, RequestFailed, RequestTimedOut
from thing.cli.exits import ExitCode
from thing.errors import ErrorCode, LocalProtocolError
from thing.fleet import Kind, NotLost, NotPresent, Status, Undelivered
from thing.fleet.http import sse
from thing.fleet.model import Ending, ReachRecord

STEERING = "".join(map(chr, [*range(32), 127, *range(128, 160), 0x202E]))
"""Characters that no terminal must get from a stranger."""


class ProcessCase(FleetCase):
    """Commands and what they write."""

    def assertFit(self, written: bytes, but: str = "\n") -> None:
        """What was written steers no terminal."""
        found = set(written.decode()) & set(STEERING) - set(but)
        self.assertEqual(found, set(), written)

    async def output(self, *arguments: str, code: ExitCode = ExitCode.GOODBYE) -> list[str]:
        """Run a command to its end; the lines that it wrote, and :attr:`said` for the others."""
        command = self.run_(*arguments)
        command.endInput()
        await self.assertExit(command, code)
        self.said = command.err.decode()
        self.assertFit(command.out)
        self.assertFit(command.err)
        return command.out.decode().splitlines()


class ListTests(ProcessCase):
    """``thing ls``"""

    async def test_table(self) -> None:
        """Things stand in columns, wide characters too; nothing else is said."""
        self.fleet.add(thing("lamp"), thing("電球", status=Status.LATE), thing(f"x{CLEAR}"))
        self.serveFleet()
        heading, *lines = await self.output("ls")
        self.assertEqual(
            heading.split("  ")[0:2] + heading.split()[-1:], ["ID", "", "ADDRESS"], heading
        )
        for title in ("STATUS", "NODE", "UP FOR", "LAST BEAT", "ROUND TRIP"):
            self.assertIn(title, heading)
        self.assertEqual(
            [line.split()[0] for line in lines], ["lamp", "x\ufffd[2J\ufffd\ufffd", "電球"]
        )
        self.assertRegex(lines[0], r"^lamp +present +north +8m24s +4.2s +12.3ms +192.0.2.1:4711$")
        self.assertEqual(len({cell_len(line.partition("north")[0]) for line in lines}), 1)
        self.assertEqual(self.said, "")

    async def test_json(self) -> None:
        """With ``--json`` each line is what the API tells, in ASCII."""
        records = [thing(f"x{CLEAR}"), thing("電球")]
        self.fleet.add(*records)
        self.serveFleet()
        lines = await self.output("ls", "--json")
        self.assertEqual([json.loads(line) for line in lines], [each.asDict() for each in records])
        self.assertTrue(all(line.isascii() for line in lines))

    async def test_more(self) -> None:
        """That there are more than the first is said, and ``--all`` lists them."""
        self.fleet.add(*(thing(f"{n:04}") for n in range(1100)))
        self.serveFleet()
        self.assertEqual(len(await self.output("ls")), 501)
        self.assertEqual(self.said, "thing: there are more; --all lists them\n")
        lines = await self.output("ls", "--all", "--json")
        self.assertEqual([json.loads(line)["id"] for line in lines], sorted(self.fleet.known))
        self.assertEqual(self.said, "")

    async def test_longSearch(self) -> None:
        """What is among many is found, in however many pages the server tells it."""
        self.fleet.add(*(thing(f"{n:04}") for n in range(1100)), thing("zebra"))
        self.fleet.looked = 300
        self.serveFleet()
        for arguments in (["zebra"], ["zebra", "--all"]):
            lines = await self.output("ls", *arguments)
            self.assertEqual([line.split()[0] for line in lines], ["ID", "zebra"])
            self.assertEqual(self.said, "")
        lines = await self.output("ls", "--json")
        self.assertEqual([json.loads(line)["id"] for line in lines], sorted(self.fleet.known)[:500])
        self.assertEqual(self.said, "thing: there are more; --all lists them\n")
        self.assertEqual(len(await self.output("ls", "03", "--json")), 130)
        self.assertEqual(self.said, "")
        self.assertIn("zebra", "\n".join(await self.output("top", "zebra", "--once")))

    async def test_readerGoesAway(self) -> None:
        """Pages that nobody wants to read are not asked for, and that is no mistake."""
        self.fleet.add(*(thing(f"{n:05}") for n in range(20_000)))
        self.serveFleet()
        reader, writer = os.pipe()
        command = self.run_("ls", "--all", "--json", childFDs={0: "w", 1: writer, 2: "r"})
        os.close(writer)
        os.close(reader)
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual(command.err, b"")
        self.assertLess(self.fleet.asked, 3)

    async def test_filters(self) -> None:
        """Only things that fit are listed: by status, by node, by a part of what they are."""
        self.fleet.add(
            thing("lamp"),
            thing("door", node="south"),
            thing("gone", status=Status.GONE, traffic=None),
        )
        self.serveFleet()
        for arguments, expected in (
            ([], ["door", "lamp"]),
            (["LAM"], ["lamp"]),
            (["--node", "south"], ["door"]),
            (["--status-is", "gone"], ["gone"]),
            (["nothing"], []),
        ):
            lines = await self.output("ls", *arguments)
            self.assertEqual([line.split()[0] for line in lines[1:]], expected)

    async def test_gone(self) -> None:
        """How those that are gone went stands beside them."""
        ending = Ending("00" * 16, "north", NOW - 9.0, NOW, "FLAT_LINED", "it was silent")
        self.fleet.add(thing("lamp", status=Status.GONE, traffic=None, endings=(ending,)))
        self.serveFleet()
        (_, line) = await self.output("ls", "--status-is", "gone")
        self.assertRegex(line, "^lamp +gone: flat lined +north +- ")

    async def test_nobody(self) -> None:
        """Where no server answers, what to do is said besides."""
        self.environment["THING_STATUS"] = f"unix:{socketDirectory(self)}/nobody"
        for arguments in (["ls"], ["send", "x", "y"], ["events"], ["top", "--once"]):
            await self.output(*arguments, code=ExitCode.NOT_CONNECTED)
            first, second = self.said.splitlines()
            self.assertIn("cannot reach unix:", first)
            self.assertIn("was started with --status;", second)

    async def test_incomplete(self) -> None:
        """That a part of the fleet could not be asked is said on standard error."""
        self.fleet.complete = False
        self.serveFleet()
        self.assertEqual(await self.output("ls", "--json"), [])
        self.assertIn("the answer is incomplete", self.said)

    async def test_colour(self) -> None:
        """On a terminal what is not well is coloured, unless the user wants no colour."""
        self.fleet.add(thing("lamp"), thing("door", status=Status.LATE))
        self.serveFleet()
        for environment, coloured in (
            ({"TERM": "xterm"}, True),
            ({"TERM": "xterm", "NO_COLOR": "1"}, False),
            ({"TERM": "dumb"}, False),
        ):
            with mock.patch.dict(self.environment, environment):
                command = self.run_("ls", usePTY=True)
            self.assertEqual(await command.ended, ExitCode.GOODBYE, command.out)
            self.assertIs(b"\x1b[33mdoor " in command.out, coloured, command.out)
            self.assertNotIn(b"\x1b[33mlamp", command.out)

    async def test_fullDisk(self) -> None:
        """Output that cannot be written is an error."""
        self.serveFleet()
        with open("/dev/full", "wb") as full:
            command = self.run_("ls", childFDs={0: "w", 1: full.fileno(), 2: "r"})
        await self.assertExit(
            command, ExitCode.FAILED, b"cannot write to standard output: No space"
        )
        self.assertEqual(command.err.count(b"\n"), 1)

    async def test_noOutput(self) -> None:
        """Without standard output there is nothing to do; without a terminal top has none."""
        self.serveFleet()
        for arguments in (["ls"], ["send", "x", "y"], ["events"], ["top", "--once"], ["top"]):
            command = self.run_(*arguments, childFDs={0: "w", 2: "r"})
            await self.assertExit(command, ExitCode.USAGE, b"standard ")
        self.assertEqual(self.fleet.delivered, [])

    async def test_encoding(self) -> None:
        """An encoding that lacks a character gets a question mark for it."""
        self.fleet.add(thing("電球"))
        self.serveFleet()
        self.environment["PYTHONIOENCODING"] = "latin-1"
        self.assertIn("??", (await self.output("ls"))[1])

    async def test_hostile(self) -> None:
        """What a hostile server says is one line, and an exit code that fits."""
        busy = f'{{"title": "{CLEAR[4:5]}"}}'.encode()
        for octets, code in (
            (answer(b"<html>"), ExitCode.PROTOCOL_ERROR),
            (answer(b'{"things": [{"id": 5}]}'), ExitCode.PROTOCOL_ERROR),
            (answer(b"", "302 Found", f"Location: http://x/{CLEAR}"), ExitCode.PROTOCOL_ERROR),
            (answer(busy, "503 Busy", OWN), ExitCode.NOT_CONNECTED),
            (answer(b'{"title": "No."}', "401 No", OWN), ExitCode.NO_ACCESS),
        ):
            self.serveOctets(octets)
            self.assertEqual(await self.output("ls", code=code), [])
            self.assertEqual(self.said.count("\n"), 1)


def reach(number: int, **changes: Any) -> ReachRecord:
    """Somebody who reaches a service."""
    known: dict[str, Any] = {
        "id": f"{number:016x}",
        "thing": "lamp",
        "service": "ssh",
        "by": "anna",
        "key": "SHA256:anna",
        "address": "192.0.2.9:22022",
        "since": time.time() - 125,
        "node": "north",
        "octetsUp": 950,
        "octetsDown": 12_345_678,
    }
    return ReachRecord(**(known | changes))


class ReachTests(ProcessCase):
    """``thing ls --reach`` and ``thing end``"""

    async def test_table(self) -> None:
        """Who reaches what stands in columns; strangers' words steer no terminal."""
        self.reaches.open = [reach(1), reach(2, thing=f"x{CLEAR}", service="web", octetsUp=0)]
        self.serveFleet()
        heading, first, second = await self.output("ls", "--reach")
        self.assertEqual(
            heading.split(),
            ["ID", "THING", "SERVICE", "BY", "FROM", "NODE", "OPEN", "FOR", "UP", "DOWN"],
        )
        self.assertRegex(
            first, r"^0{15}1 +lamp +ssh +anna +192.0.2.9:22022 +north +2m0\ds +950 +12\.3M$"
        )
        self.assertEqual(second.split()[2], "web")
        self.assertEqual(self.said, "")

    async def test_json(self) -> None:
        """With ``--json`` each line is what the API tells."""
        self.reaches.open = [reach(1, thing="電球")]
        self.serveFleet()
        (line,) = await self.output("ls", "--reach", "--json")
        self.assertEqual(json.loads(line), self.reaches.open[0].asDict())
        self.assertTrue(line.isascii())

    async def test_filters(self) -> None:
        """A text and a node choose."""
        self.reaches.open = [
            reach(1),
            reach(2, thing="Clock"),
            reach(3, by="bob", node="south"),
            reach(4, service="web"),
        ]
        self.serveFleet()
        for arguments, numbers in (
            ((), [1, 2, 3, 4]),
            (("clock",), [2]),
            (("WEB",), [4]),
            (("bob",), [3]),
            (("--node", "north"), [1, 2, 4]),
            (("lamp", "--node", "north"), [1, 4]),
            (("nobody",), []),
        ):
            _, *lines = await self.output("ls", "--reach", *arguments)
            self.assertEqual([int(line.split()[0], 16) for line in lines], numbers, arguments)

    async def test_incomplete(self) -> None:
        """That nodes did not answer is said."""
        self.reaches.complete = False
        self.serveFleet()
        self.assertEqual(len(await self.output("ls", "--reach")), 1)
        self.assertIn("not all nodes", self.said)

    async def test_hostile(self) -> None:
        """A server that answers nonsense is said to."""
        for body in (b"{}", b'{"reaches": [1]}', b'{"reaches": [{"id": 1}]}'):
            self.serveOctets(answer(body, "200 OK", OWN))
            await self.output("ls", "--reach", code=ExitCode.PROTOCOL_ERROR)

    async def test_end(self) -> None:
        """One is ended, once."""
        self.reaches.open = [reach(1), reach(2)]
        self.serveFleet()
        self.assertEqual(await self.output("end", f"{1:016x}"), [])
        self.assertEqual(self.said, "")
        self.assertEqual([each.id for each in self.reaches.open], [f"{2:016x}"])
        await self.output("end", f"{1:016x}", code=ExitCode.UNKNOWN)
        self.assertIn("There is no such reach", self.said)

    async def test_notEnded(self) -> None:
        """That the thing's node did not answer is said."""
        self.serveFleet()
        self.patch(self.reaches, "end", lambda id: fail(Undelivered(id)))
        await self.output("end", f"{1:016x}", code=ExitCode.NOT_CONNECTED)
        self.assertIn("node did not answer", self.said)


class OneThingTests(ProcessCase):
    """``thing show`` and ``thing leave``"""

    async def test_show(self) -> None:
        """All that is known stands there, fit for a terminal: session, reaches and ends."""
        ending = Ending("00" * 16, "south", NOW - 90, NOW - 60, "FLAT_LINED", f"silent{CLEAR}")
        self.fleet.add(thing("lamp", name=None, resumed=True, endings=(ending,)))
        self.reaches.open = [reach(1)]
        self.serveFleet()
        lines = await self.output("show", "lamp")
        text = "\n".join(lines)
        for line in (
            r"id           lamp",
            r"key          SHA256:lamp",
            r"status       present",
            r"since        20\d\d-.*, for \d+d",
            r"cipher       X25519MLKEM768, AES_256_GCM, resumed",
            r"last beat    4\.2s ago of a TTL of 30 s",
            r"messages     3 in, 4 out",
            r"octets       1\.0k in, 2\.0k out",
            r"20\d\d-\S+ \S+ +30s +south +silent.*",
        ):
            self.assertRegex(text, rf"(?m)^{line}$")
        self.assertRegex(text, r"(?m)^0{15}1 +lamp +ssh +anna ")
        self.assertEqual(self.said, "")
        self.reaches.complete = False
        self.assertEqual(len(await self.output("show", "lamp")), len(lines))
        self.assertIn("not all nodes", self.said)
        (line,) = await self.output("show", "lamp", "--json")
        self.assertEqual(json.loads(line)["id"], "lamp")
        self.fleet.add(thing("bell", status=Status.GONE, traffic=None))
        self.assertRegex("\n".join(await self.output("show", "bell")), r"(?m)^since .* ago$")
        await self.output("show", "no such", code=ExitCode.UNKNOWN)
        self.assertIn("no such: Nobody has heard of this thing\n", self.said)

    async def test_leave(self) -> None:
        """A thing is asked; one that is not here, or whose node is silent, is told apart."""
        asked: list[str] = []
        answers: list[Deferred[None]] = [succeed(None), fail(NotPresent("")), fail(Undelivered(""))]

        def dismiss(id: str) -> Deferred[None]:
            asked.append(id)
            return answers.pop(0)

        self.patch(self.fleet, "dismiss", dismiss)
        self.serveFleet()
        self.assertEqual(await self.output("leave", "a/b"), [])
        self.assertEqual((asked, self.said), (["a/b"], ""))
        await self.output("leave", "lamp", code=ExitCode.NOT_HERE)
        await self.output("leave", "lamp", code=ExitCode.NOT_CONNECTED)
        self.assertIn("lamp: The thing's node did not answer", self.said)


class NodesTests(ProcessCase):
    """``thing nodes``"""

    async def test_list(self) -> None:
        """They stand in columns, or each is what the API tells."""
        self.serveFleet()
        heading, line = await self.output("nodes")
        self.assertEqual(heading.split()[:3], ["NODE", "STATE", "SESSIONS"])
        self.assertRegex(line, "^north +up +0 +0 +0.0ms +memory$")
        (line,) = await self.output("nodes", "--json")
        self.assertEqual(json.loads(line)["node"], "north")
        await self.output("nodes", "--json", "--forget", "x", code=ExitCode.USAGE)

    async def test_forget(self) -> None:
        """One that was lost is forgotten; one that is up, or not known, is told apart."""
        answers = [succeed(None), fail(NotLost("")), fail(NotPresent(""))]
        self.patch(self.fleet, "forget", lambda node: answers.pop(0))
        self.serveFleet()
        self.assertEqual(await self.output("nodes", "--forget", "south"), [])
        await self.output("nodes", "--forget", "north", code=ExitCode.NODE_UP)
        self.assertEqual(self.said, "thing: north: The node is up\n")
        await self.output("nodes", "--forget", "odd", code=ExitCode.UNKNOWN)


class SendTests(ProcessCase):
    """``thing send``"""

    def setUp(self) -> None:
        super().setUp()
        self.serveFleet()

    async def send(
        self, *arguments: str, input: bytes = b"", code: ExitCode = ExitCode.GOODBYE
    ) -> Command:
        """Run it to its end."""
        command = self.run_("send", *arguments)
        command.write(input)
        command.endInput()
        await self.assertExit(command, code)
        return command

    async def test_acknowledged(self) -> None:
        """A message is acknowledged; a thing that answers nothing has nothing printed."""
        command = await self.send("a/b c", "hello", "--timeout", "7")
        self.assertEqual((command.out, command.err), (b"", b""))
        self.assertEqual(self.fleet.delivered, [("a/b c", b"hello", 7.0)])

    async def test_octets(self) -> None:
        """Standard input and the answer are octets, whatever they are."""
        octets = bytes(range(256))
        self.fleet.delivering = lambda message: message[::-1]
        for arguments in (["x"], ["x", "-"]):
            command = await self.send(*arguments, input=octets)
            self.assertEqual(command.out, octets[::-1])
        self.assertEqual([each[1] for each in self.fleet.delivered], [octets] * 2)

    async def test_text(self) -> None:
        """An answer that is text is written as it is, too."""
        self.fleet.delivering = lambda message: "grün\n".encode()
        self.assertEqual((await self.send("x", "y")).out, "grün\n".encode())

    async def test_json(self) -> None:
        """With ``--json`` the answer is an object."""
        self.fleet.delivering = lambda message: b"\xff"
        command = await self.send("x", "y", "--json")
        self.assertEqual(
            json.loads(command.out), {"acknowledged": True, "reply": {"base64": "/w=="}}
        )

    async def test_terminal(self) -> None:
        """On a terminal an answer steers nothing; its lines stay, and the last is whole."""
        self.fleet.delivering = lambda message: f"one{CLEAR}\r\ntwo".encode()
        command = self.run_("send", "x", "y", usePTY=True)
        self.assertEqual(await command.ended, ExitCode.GOODBYE)
        self.assertFit(command.out, but="\r\n")
        self.assertEqual(command.out.decode(), "one\ufffd[2J\ufffd\ufffd\r\ntwo\r\n")

    async def test_codes(self) -> None:
        """What became of the message is told by the exit code, and in one line."""
        for error, code in (
            (NotPresent("x"), ExitCode.NOT_HERE),
            (RequestFailed(ReplyStatus.NOT_TAKEN), ExitCode.REFUSED),
            (RequestFailed(ReplyStatus.FAILED), ExitCode.BROKE),
            (RequestFailed(ReplyStatus.BUSY), ExitCode.NOT_TAKEN),
            (RequestTimedOut("x"), ExitCode.UNANSWERED),
            (Undelivered("x"), ExitCode.UNANSWERED),
            (LocalProtocolError(ErrorCode.BAD_ARGUMENT, "x"), ExitCode.NOT_TAKEN),
            (LocalProtocolError(ErrorCode.WRONG_STATE, "x"), ExitCode.NOT_TAKEN),
        ):
            self.fleet.delivering = lambda message, error=error: fail(error)
            command = await self.send("lamp", "y", code=code)
            self.assertEqual(command.out, b"")
            self.assertTrue(command.err.startswith(b"thing: lamp: "), command.err)
            self.assertEqual(command.err.count(b"\n"), 1)

    async def test_serverGoesAway(self) -> None:
        """If the status server goes away while the thing is waited for, nobody knows."""

        def go(message: bytes) -> Deferred[bytes]:
            self.site.close()
            return Deferred()

        self.fleet.delivering = go
        command = await self.send("x", "y", code=ExitCode.UNANSWERED)
        self.assertIn(b"the message may have arrived", command.err)

    async def test_proxyGivesUp(self) -> None:
        """If a proxy answers that it waited in vain, nobody knows, either."""
        for status in ("502 Bad Gateway", "504 Gateway Time-out"):
            self.serveOctets(answer(b"<html>", status))
            command = await self.send("x", "y", code=ExitCode.UNANSWERED)
            said = f"a proxy answers {status} for it; the message may have arrived"
            self.assertIn(said.encode(), command.err)

    async def test_interrupted(self) -> None:
        """Ctrl-C and SIGTERM end the waiting."""
        for number in (signal.SIGINT, signal.SIGTERM):
            waiting: Deferred[None] = Deferred()

            def wait(message: bytes, waiting: Deferred[None] = waiting) -> Deferred[bytes]:
                waiting.callback(None)
                return Deferred()

            self.fleet.delivering = wait
            command = self.run_("send", "x", "y")
            await waiting
            command.signal(number)
            await self.assertExit(command, ExitCode.INTERRUPTED, b"thing: interrupted\n")

    async def test_wrongReply(self) -> None:
        """An answer that makes no sense is no acknowledgement."""
        for reply in (
            b"{}",
            b'{"reply": 5}',
            b'{"reply": {"base64": "?"}}',
            b'{"reply": {"text": 1}}',
        ):
            self.serveOctets(answer(reply))
            command = await self.send("x", "y", code=ExitCode.PROTOCOL_ERROR)
            self.assertIn(b"'reply' is missing or wrong", command.err)


class EventsTests(ProcessCase):
    """``thing events``"""

    def follow(self, *arguments: str, **named: Any) -> Deferred[Command]:
        """Start it; fires once it is connected."""
        self.patch(sse, "COMMENT_INTERVAL", 0.2)
        connected: Deferred[Command] = Deferred()
        subscribe = self.fleet.subscribe

        def subscribed(*details: Any, **others: Any) -> Any:
            self.fleet.subscribe = subscribe  # type: ignore[method-assign]
            reactor.callLater(0, connected.callback, command)
            return subscribe(*details, **others)

        self.fleet.subscribe = subscribed  # type: ignore[method-assign]
        command = self.run_("events", *arguments, **named)

        def ended(code: int) -> int:
            if not connected.called:
                connected.errback(AssertionError(command.err))
            return code

        command.ended.addCallback(ended)
        return connected

    async def test_lines(self) -> None:
        """Each event is a line, at once, until Ctrl-C or a request to terminate."""
        self.serveFleet()
        for number in (signal.SIGINT, signal.SIGTERM):
            command = await self.follow()
            self.fleet.happen(Kind.JOINED, "lamp", address="a:1", node="north")
            await command.wrote(b"  joined    lamp  from a:1, on north\n")
            self.fleet.happen(Kind.MESSAGE, CLEAR, text=f"{CLEAR}\n")
            await command.wrote(b"  message   ")
            command.signal(number)
            await self.assertExit(command, ExitCode.GOODBYE)
            self.assertFit(command.out)
            self.assertEqual((command.out.count(b"\n"), command.err), (2, b""))

    async def test_json(self) -> None:
        """With ``--json`` each line is what the API tells, with its position."""
        self.serveFleet()
        command = await self.follow("--json", "-n", "2")
        self.fleet.happen(Kind.LATE, "lamp", silence=3.0)
        self.fleet.happen(Kind.MESSAGE, CLEAR, text=CLEAR)
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertFit(command.out)
        late, message = map(json.loads, command.out.splitlines())
        self.assertEqual((late["kind"], late["silence"], late["id"]), ("late", 3.0, "lamp"))
        self.assertEqual(message["text"], CLEAR)
        self.assertEqual(message["position"], self.fleet.feed.latest)

    async def test_after(self) -> None:
        """What was before is told from a position on; what is lost is said."""
        self.serveFleet()
        self.fleet.happen(Kind.LATE, "a", silence=1.0)
        position = self.fleet.feed.latest
        self.fleet.happen(Kind.LATE, "b", silence=1.0)
        lines = await self.output("events", "--after", position, "-n", "1")
        self.assertIn("late      b", lines[0])
        lines = await self.output("events", "--after", "0-0", "-n", "2", "--json")
        self.assertIn("events were lost", self.said)
        self.assertEqual(json.loads(lines[0]), {"kind": "reset"})
        self.assertEqual([json.loads(line).get("id") for line in lines], [None, "a", "b"])

    async def test_filters(self) -> None:
        """Only events of some things, and of some kinds, are told."""
        self.serveFleet()
        command = await self.follow("--id", "a", "--id", "b", "--kind", "late", "-n", "2")
        for kind in (Kind.RENEWED, Kind.LATE):
            for id in ("a", "b", "c"):
                self.fleet.happen(kind, id, silence=1.0)
        await self.assertExit(command, ExitCode.GOODBYE)
        words = [line.split()[2:4] for line in command.out.decode().splitlines()]
        self.assertEqual(words, [["late", "a"], ["late", "b"]])

    async def test_resumed(self) -> None:
        """A connection that is lost is made again, and what happened meanwhile is told once."""
        self.serveFleet()
        command = await self.follow("-n", "4")
        self.fleet.happen(Kind.LATE, "first", silence=1.0)
        await command.wrote(b"first")
        await self.site.close()
        self.fleet.happen(Kind.LATE, "meanwhile", silence=1.0)
        await command.wrote(b"connected again")
        self.fleet.happen(Kind.LATE, "then", silence=1.0)
        await command.wrote(b"then")
        number = self.port.getHost().port
        await self.port.stopListening()
        await self.site.close()
        await command.wrote(b"Connection refused; trying again in ")
        port = reactor.listenTCP(number, self.site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.fleet.happen(Kind.LATE, "last", silence=1.0)
        await self.assertExit(command, ExitCode.GOODBYE, b"ended the stream; trying again in ")
        ids = [line.split()[3] for line in command.out.decode().splitlines()]
        self.assertEqual(ids, ["first", "meanwhile", "then", "last"])
        self.assertFit(command.err)

    async def test_lostMeanwhile(self) -> None:
        """Without a position to resume from, it is said that events may be lost."""
        self.serveFleet()
        command = await self.follow("--json")
        await self.site.close()
        await command.wrote(b"events were lost")
        await command.wrote(b'{"kind": "reset"}')
        command.signal(signal.SIGINT)
        await self.assertExit(command, ExitCode.GOODBYE)

    async def test_readerGoesAway(self) -> None:
        """When nobody reads any more it ends, at the next event or without one."""
        self.serveFleet()
        for happens in (True, False):
            reader, writer = os.pipe()
            command = await self.follow(childFDs={0: "w", 1: writer, 2: "r"})
            os.close(writer)
            os.close(reader)
            if happens:
                self.fleet.happen(Kind.LATE, "x", silence=1.0)
            await self.assertExit(command, ExitCode.GOODBYE)
            self.assertEqual(command.err, b"")

    async def test_interruptedCount(self) -> None:
        """Who wanted to see so many and was stopped before is told so by the exit code."""
        self.serveFleet()
        command = await self.follow("-n", "1")
        command.signal(signal.SIGINT)
        await self.assertExit(command, ExitCode.INTERRUPTED)

    async def test_notThere(self) -> None:
        """A server that is not there at first is not waited for; nor is one that refuses."""
        await self.output("events", "--status", "http://127.0.0.1:1", code=ExitCode.NOT_CONNECTED)
        self.serveOctets(answer(b'{"title": "A token is needed."}', "401 No", OWN))
        await self.output("events", code=ExitCode.NO_ACCESS)

    async def test_hostile(self) -> None:
        """A stream of nonsense ends it in one line."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        event = b'data: {"kind": "late", "id": "x", "at": 1}\n\n'
        for stream in (
            b"data: <html>\n\n",
            b"data: {}\n\n",
            b"data: " + b"[" * 1_000_000 + b"\n\n",
            b"id: \x1b[2J\n" + event,
            b"data: " + b"x" * (9 << 20),
        ):
            self.serveOctets(head + stream)
            command = self.run_("events")
            await self.assertExit(command, ExitCode.PROTOCOL_ERROR, b"sent nonsense")
            self.assertFit(command.err)
            self.assertEqual((command.out, command.err.count(b"\n")), (b"", 1))


class BatchTests(ProcessCase):
    """``thing top -b``"""

    async def test_once(self) -> None:
        """``--once`` prints the nodes and the things, sorted, one time."""
        self.fleet.add(thing("a"), thing("b", status=Status.LATE), thing(CLEAR))
        self.fleet.health = [replace(self.fleet.health[0], sessions=3)]
        self.serveFleet()
        lines = await self.output("top", "--once", "-R")
        self.assertRegex(lines[0], r"^\d\d:\d\d:\d\d  3 things, 1 late$")
        self.assertEqual(lines[1], "Ended in the last 10 minutes: none")
        self.assertEqual(lines[3].split(), ["north", "up", "3", "0", "0.0ms", "memory"])
        self.assertRegex(lines[5], "^ID .* MESSAGES +ADDRESS$")
        self.assertEqual([line[0] for line in lines[6:]], ["b", "a", "\ufffd"])

    async def test_json(self) -> None:
        """With ``--json`` each look is an object on a line."""
        records = [thing("a"), thing("b")]
        self.fleet.add(*records)
        self.serveFleet()
        lines = await self.output("top", "-b", "--json", "-n", "2", "-d", "0.1")
        for look in map(json.loads, lines):
            self.assertEqual(look["things"], [each.asDict() for each in records])
            self.assertEqual(look["nodes"], [each.asDict() for each in self.fleet.health])
            self.assertIs(look["complete"], True)
        self.assertEqual(len(lines), 2)

    async def test_search(self) -> None:
        """A text narrows what is shown."""
        self.fleet.add(thing("lamp"), thing("door"))
        self.serveFleet()
        self.assertTrue((await self.output("top", "--once", "LAMP"))[-1].startswith("lamp "))

    async def test_away(self) -> None:
        """A server that goes away between two looks is told of and asked again."""
        self.serveFleet()
        command = self.run_("top", "-b", "-d", "0.1")
        await command.wrote(b"0 things")
        number = self.port.getHost().port
        await self.port.stopListening()
        await self.site.close()
        await command.wrote(b"Connection refused")
        self.fleet.add(thing("lamp"))
        port = reactor.listenTCP(number, self.site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        await command.wrote(b"1 thing, 0 late")
        command.signal(signal.SIGTERM)
        await self.assertExit(command, ExitCode.GOODBYE)

    async def test_notThere(self) -> None:
        """Without a first look there is nothing to print."""
        arguments = ("top", "--once", "--status", "http://127.0.0.1:1")
        self.assertEqual(await self.output(*arguments, code=ExitCode.NOT_CONNECTED), [])
        self.assertEqual(self.said.count("\n"), 2)

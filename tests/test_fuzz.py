"""The fuzz targets, each on a bounded set of inputs that is the same in every run."""

from __future__ import annotations

import contextlib
import functools
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from fuzz import cost, files, grammar, messages, running, sessions
from fuzz.__main__ import main
from fuzz.choices import Choices, mutated, mutation
from fuzz.liars import Seen
from thing.core.catalogue import MESSAGES
from thing.core.client import ClientConnection
from thing.core.connection import Connection
from thing.core.layout import Message
from thing.core.messages import MessageType
from thing.core.server import ServerConnection
from thing.core.states import TRANSITIONS
from thing.errors import CredentialError, ErrorCode, LocalProtocolError

COUNTS = {
    "sessions": 100,
    "messages": 2000,
    "credentials": 300,
    "files": 100,
    "texts": 1000,
    "requests": 20,
    "proxies": 300,
}
"""How many inputs are made for each target, beside its seeds and its corpus: a second in all."""

KEPT = 64 * 1024
"""How much the corpus is at most, octets of text."""


CALL = 2.5e-6
"""
What a call of a function counts as, where work is counted and not timed, seconds.

That is more than it takes, so that work that grows faster than its input is found in a short one:
eighty of the shortest messages cost two thirds of what is admitted.
"""


class Work:
    """Stands for the CPU time of this thread: it goes by with each call, and nothing else."""

    def __init__(self) -> None:
        self.calls = 0

    def seconds(self) -> float:
        """How much work was done, in terms of time."""
        return self.calls * CALL

    def __enter__(self) -> None:
        self._patch = patch("fuzz.cost.thread_time", self.seconds)
        self._patch.start()
        self._before = sys.getprofile()
        sys.setprofile(self._called)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)
        self._patch.stop()

    def _called(self, frame: object, event: str, _: object) -> None:
        self.calls += event in ("call", "c_call")


def attempt(oneInput: Callable[[bytes], object], octets: bytes) -> None:
    """
    Have a target take an input; a failure names it, to be run again.

    Nothing is timed here, but its calls are counted: too many are a failure, too. What is done
    once, as to read a module, does not count.
    """
    try:
        with Work():
            cost.often(oneInput, octets)
    except Exception as error:
        raise AssertionError(f"{type(error).__name__} for {octets.hex()}: {error}") from error


class TargetTests(SynchronousTestCase):
    """Each target."""

    def assertHolds(self, name: str) -> None:
        """A target takes its seeds, its corpus and inputs made of them."""
        target = running.load(name)
        seeds = target.seeds() + running.corpus(name)
        for octets in mutated(random.Random(1), seeds, COUNTS[name]):
            attempt(target.oneInput, octets)

    def test_targets(self) -> None:
        """Each target is run here, and by the command."""
        self.assertEqual(set(COUNTS), set(running.TARGETS))
        here = {path.stem for path in running.CORPUS.glob("*.txt")}
        self.assertLessEqual(here, set(running.TARGETS))

    def test_sessions(self) -> None:
        """
        Neither records, in the clear or sealed, nor calls, nor lies confuse either side.

        And every row of the state table is gone through by the lives to begin with.
        """
        seen: Seen = set()
        seeds = sessions.seeds()
        for octets in seeds:
            attempt(lambda octets: seen.update(sessions.play(octets)), octets)
        rows = {
            (role, state, given)
            for role, table in TRANSITIONS.items()
            for state, inputs in table.items()
            for given in inputs
        }
        self.assertEqual(rows - seen, set())
        for octets in running.corpus("sessions"):
            attempt(sessions.oneInput, octets)
        source = random.Random(1)
        for _ in range(COUNTS["sessions"]):
            attempt(sessions.oneInput, mutation(source, seeds))

    def test_messages(self) -> None:
        """No octets confuse the messages' decoders."""
        self.assertHolds("messages")

    def test_credentials(self) -> None:
        """No octets confuse the readers of credentials, and those who judge them."""
        self.assertHolds("credentials")

    def test_files(self) -> None:
        """No content of a file that is trusted confuses its readers."""
        self.assertHolds("files")

    def test_texts(self) -> None:
        """Nothing that is said in JSON confuses whoever reads it."""
        self.assertHolds("texts")

    def test_requests(self) -> None:
        """No octets confuse the status server, or leave something there."""
        self.assertHolds("requests")

    def test_proxies(self) -> None:
        """No header of a proxy confuses what is behind it."""
        self.assertHolds("proxies")

    def test_corpus(self) -> None:
        """What the repository keeps is small."""
        size = sum(path.stat().st_size for path in running.CORPUS.iterdir())
        self.assertGreater(size, 0)
        self.assertLess(size, KEPT)


class GrammarTests(SynchronousTestCase):
    """Nobody has to remember that a new message, field or state is to be fuzzed."""

    def test_fields(self) -> None:
        """For every layout of a field there is something that makes one."""
        for kind in (*MESSAGES.values(), *grammar.VALUES):
            for field in kind.LAYOUT:
                self.assertIn(field, grammar.MAKERS, f"{kind.__name__} has {field}")

    def test_made(self) -> None:
        """What is made of any choices is a message; so is what a change makes of it."""
        source = random.Random(2)
        for kind in (*MESSAGES.values(), *grammar.VALUES) * 20:
            choices = Choices(source.randbytes(60))
            for made in (grammar.make(kind, choices), grammar.changed(_empty(kind), choices)):
                self.assertIsInstance(made, kind)
                self.assertTrue(made.encode().startswith(kind.PREFIX))

    def test_lies(self) -> None:
        """There is every way to change a message, and each is taken."""
        message = MESSAGES[MessageType.CHB](7, 8).typed()  # type: ignore[call-arg]
        told = [
            grammar.lies(message, Choices(bytes((way, *rest))))
            for way in range(grammar.CHANGES)
            for rest in ((0, 0, 200), (1, 1, 255, 1, 1))
        ]
        self.assertTrue(any(each == [] for each in told))
        self.assertIn([message, message], told)
        self.assertTrue(any(len(each) == 2 and message in each for each in told))
        kinds = {one[0] for each in told for one in each if one}
        self.assertGreater(len(kinds), 1)


def _empty(kind: type[Message]) -> Message:
    return grammar.make(kind, Choices(b""))


class OracleTests(SynchronousTestCase):
    """What is wrong is seen."""

    def confused(self, octets: bytes) -> None:
        if octets.startswith(b"x"):
            raise LocalProtocolError(ErrorCode.BAD_ARGUMENT)

    def test_found(self) -> None:
        """An input that confuses a target is kept, once for each place, and the run goes on."""
        directory = Path(self.mktemp())
        directory.mkdir()
        finder = running.Finder(self.confused, directory)
        with contextlib.redirect_stdout(StringIO()) as said:
            for octets in (b"x", b"xx", b"y"):
                finder.attempt(octets)
        self.assertEqual(finder.inputs, 3)
        (path,) = finder.found.values()
        self.assertEqual(path.read_bytes(), b"x")
        self.assertEqual(said.getvalue().count("FOUND"), 1)

    def test_refusals(self) -> None:
        """A refusal is right; what else a reader raises gets out."""

        def refusing(octets: bytes) -> None:
            raise CredentialError("no key")

        self.assertTrue(files.refused(refusing, b"x"))
        self.assertFalse(files.refused(self.confused, b"y"))
        self.assertRaises(LocalProtocolError, files.refused, self.confused, b"x")

    def test_slow(self) -> None:
        """An input is too slow only if it always is."""
        times = iter([0.0, 1.0, 0.0, 1.0, 0.0, 0.001] + [0.0, 1.0] * cost.TRIES)

        def slow(octets: bytes) -> None:
            with cost.within(cost.admitted(len(octets)), "a test"):
                pass

        with patch("fuzz.cost.thread_time", lambda: next(times)):
            cost.often(slow, b"")
            self.assertRaises(cost.TooSlow, cost.often, slow, b"")
        self.assertEqual(list(times), [])

    def test_counted(self) -> None:
        """Where work is counted, too many calls are a failure, unless they come only once."""
        done: list[bytes] = []

        def work(octets: bytes) -> None:
            with cost.within(cost.admitted(0), "a test"):
                if octets not in done:
                    for _ in octets:
                        len(octets)
                if octets.endswith(b"once"):
                    done.append(octets)

        attempt(work, bytes(1900))
        attempt(work, bytes(2100) + b"once")
        error = self.assertRaises(AssertionError, attempt, work, bytes(2100))
        self.assertIn("TooSlow", str(error))

    def test_admitted(self) -> None:
        """Longer input may cost more, by the KiB."""
        self.assertEqual(cost.admitted(0), cost.AFTER)
        self.assertEqual(cost.admitted(2048), 3 * cost.AFTER)


class WatchTests(SynchronousTestCase):
    """What a core does is watched, wherever it does it."""

    def findings(self, costs: dict[str, float], inputs: Iterable[bytes]) -> list[str]:
        """
        What is found if methods of a core take long; each no longer once it was found.

        :param costs: how long, seconds.
        :param inputs: what is tried.
        """
        now, found = 0.0, []

        def slowed(method: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(method)
            def slow(*arguments: Any, **named: Any) -> Any:
                nonlocal now
                now += costs.get(method.__name__, 0.0)
                return method(*arguments, **named)

            return slow

        def confuses(octets: bytes) -> bool:
            try:
                sessions.oneInput(octets)
            except cost.TooSlow as error:
                found.append(str(error))
                return costs.pop(str(error).partition(" in ")[0], None) is not None
            return False

        with contextlib.ExitStack() as patches:
            patches.enter_context(patch("fuzz.cost.thread_time", lambda: now))
            for name in costs:
                side = ClientConnection if hasattr(ClientConnection, name) else ServerConnection
                owner = next(each for each in side.__mro__ if name in vars(each))
                patches.enter_context(patch.object(owner, name, slowed(vars(owner)[name])))
            for octets in inputs:
                while confuses(octets):
                    pass
        return found

    def test_everyCall(self) -> None:
        """Cost is found that is in what comes, goes, is decided, held or due, and all else."""
        names = (
            *("start", "receiveData", "receiveEnd", "dataToSend", "takeEvents", "handleTimer"),
            *("admit", "reject", "abort", "goAway", "goodbye", "beat", "updateKey"),
            *("sendMessage", "request", "reply", "hold", "release"),
            *("openStream", "acceptStream", "sendStream", "endStream", "stopStream"),
            *("holdStream", "releaseStream", "closeStream", "wantStream"),
        )
        found = self.findings(dict.fromkeys(names, 1.0), sessions.seeds())
        self.assertEqual({each.partition(" in ")[0] for each in found}, set(names))

    def test_oneByOne(self) -> None:
        """So is what is in the events that a call tells one by one, however little each costs."""
        for seconds in (1.0, 0.001):
            found, *_ = self.findings({"_receiveInOrder": seconds}, sessions.floods())
            self.assertIn("receiveData in ESTABLISHED", found)

    def test_stranger(self) -> None:
        """What a stranger's octets cost counts together, in whichever calls."""
        honest = [bytes(64)]
        self.assertEqual(self.findings({"_advance": cost.BEFORE / 20}, honest), [])
        (found,) = self.findings({"_advance": cost.BEFORE / 3}, honest)
        self.assertIn("in AWAIT_", found)

    def test_growing(self) -> None:
        """Calls for each message that are as many as messages came before are too many."""
        advance, came = Connection._advance, Counter[int]()

        def scan(core: Connection[Any]) -> bool:
            came[id(core)] += 1
            return sum(map(callable, range(came[id(core)]))) == 0 and advance(core)

        with patch.object(Connection, "_advance", scan):
            error = self.assertRaises(AssertionError, self.attemptAll, sessions.floods())
        self.assertIn("receiveData in ESTABLISHED", str(error))

    def attemptAll(self, inputs: list[bytes]) -> None:
        for octets in inputs:
            attempt(sessions.oneInput, octets)


class CommandTests(SynchronousTestCase):
    """The command."""

    def fuzz(self, *arguments: str) -> tuple[int, str]:
        with contextlib.redirect_stdout(StringIO()) as said:
            status = main(["--plain", "--found", self.mktemp(), "--seconds", "0", *arguments])
        return status, said.getvalue()

    def test_nothingFound(self) -> None:
        """It says how much was tried and what came of it, and exits with 0 if that is nothing."""
        status, said = self.fuzz("messages")
        self.assertEqual(status, 0)
        self.assertRegex(said, r"^messages: \d+ inputs, at random, 0 found\n$")

    def test_found(self) -> None:
        """It says what was found and where, and exits with 1."""

        def broken(octets: bytes) -> None:
            raise LocalProtocolError(ErrorCode.BAD_ARGUMENT)

        self.patch(messages, "oneInput", broken)
        status, said = self.fuzz("messages")
        self.assertEqual(status, 1)
        self.assertIn("FOUND LocalProtocolError", said)
        self.assertIn(", 1 found", said)

    def test_input(self) -> None:
        """It tries one input alone."""
        path = Path(self.mktemp())
        path.write_bytes(b"\0")
        self.assertEqual(main(["messages", "--input", str(path)]), 0)

    def test_unknown(self) -> None:
        """A target that there is not is an error of use."""
        with patch("sys.stderr", StringIO()) as said:
            error = self.assertRaises(SystemExit, main, ["other"])
        self.assertEqual(error.code, 2)
        self.assertIn("sessions, messages", said.getvalue())

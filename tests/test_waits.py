"""
No thread of Thing waits for another within a time, except as ``thing/cli/waiting.py`` does.

Where the C library has no ``sem_clockwait``, Python goes by the wall clock in such a wait, and
where it has one nothing shows that: so the modules are read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from tests import PROJECT
from tests.test_imports import importsIn, isIn

THREADING = ("_thread", "concurrent.futures", "multiprocessing", "queue", "threading")
"""Whose locks, events, conditions, queues, threads and results can be waited for."""

UNTIMED = {
    **dict.fromkeys(("exception", "join", "result", "wait"), 0),
    **dict.fromkeys(("acquire", "get", "wait_for"), 1),
    "put": 2,
}
"""How many arguments each wait has at most if it has no time."""


def timedWaits(source: str) -> Iterator[str]:
    """
    Find waits for other threads that go by a clock that Python chooses.

    :param source: a module's text.
    :return: those calls, and imports, as they stand there.
    """
    imports = [each.target for each in importsIn(source, "thing")]
    if not any(isIn(target, module) for target in imports for module in THREADING):
        return
    for node in ast.walk(ast.parse(source)):
        # A Timer is a thread that waits for an event.
        if getattr(node, "attr", getattr(node, "name", "")) == "Timer" or _isTimedWait(node):
            yield ast.unparse(node)


def _isTimedWait(node: ast.AST) -> bool:
    """Whether this calls a method of a lock, or of what is made of one, with a time."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    untimed = UNTIMED.get(node.func.attr)
    if untimed is None or isinstance(node.func.value, ast.Constant):  # "".join(…)
        return False
    return (
        len(node.args) > untimed
        or any(isinstance(each, ast.Starred) for each in node.args)
        or any(each.arg in ("timeout", None) for each in node.keywords)  # None is **arguments.
    )


class WaitTests(SynchronousTestCase):
    """What the modules do, and that it would be found."""

    def test_none(self) -> None:
        """No module waits for a thread within a time by a lock."""
        paths = sorted((PROJECT / "thing").rglob("*.py"))
        sources = {str(path.relative_to(PROJECT)): path.read_text("utf-8") for path in paths}
        self.assertIn("import threading\n", sources["thing/session/clock.py"])
        found = {name: list(timedWaits(source)) for name, source in sources.items()}
        self.assertEqual({name: waits for name, waits in found.items() if waits}, {})

    def test_found(self) -> None:
        """Each kind of such a wait is found, however the time is given."""
        for wait in (
            *("event.wait(1.0)", "event.wait(timeout=seconds)", "self._wanted.wait(*times)"),
            *("condition.wait_for(done, 1)", "condition.wait_for(done, timeout=1)"),
            *("lock.acquire(True, 1)", "lock.acquire(timeout=1)", "lock.acquire(**patience)"),
            *("answers.get(timeout=1)", "answers.get(True, 1)", "answers.put(1, True, 1)"),
            *("thread.join(1.0)", "future.result(1)", "future.exception(timeout=1)"),
            "threading.Timer",
        ):
            for module in ("import threading", "from queue import SimpleQueue", "import _thread"):
                source = f"{module}\n\ndef work():\n    {wait}\n"
                self.assertEqual(list(timedWaits(source)), [wait])
        self.assertEqual(list(timedWaits("from threading import Thread, Timer")), ["Timer"])

    def test_others(self) -> None:
        """Waits without a time are not meant, nor what only has such a name."""
        for line in (
            *("event.wait()", "lock.acquire()", "lock.acquire(blocking=False)", "thread.join()"),
            *("answers.get()", "answers.put(1)", "', '.join(names)", "names.get(1)"),
        ):
            self.assertEqual(list(timedWaits(f"import threading\n{line}\n")), [], line)
        self.assertEqual(list(timedWaits("import asyncio\nevent.wait(1.0)\n")), [])

"""
A process that is killed while it writes a file leaves the old one or the new one, and no key.

Each thing that writes is done in a process of its own, under strace, which kills it as it enters
one system call: once for each call that it makes. Then each file has to be the old one or the new
one, whole, with its mode; what is new and secret may be nowhere else; and who does the same again
succeeds, and leaves nothing that is secret beside the files.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.rig.check import Row
from tests.rig.tracing import traced
from tests.rig.writers import WRITERS, Writer, contents, faults, left, secretsLeft


def check(short: bool) -> Iterator[Row]:
    """
    Kill each writer at each of its calls.

    :param short: whether to try two of them.
    :return: a row for each.
    """
    for writer in WRITERS[:2] if short else WRITERS:
        yield killedAtEach(writer)


def killedAtEach(writer: Writer) -> Row:
    """
    Kill one writer at each of its calls.

    :param writer: the writer.
    :return: what came of it.
    """
    with tempfile.TemporaryDirectory(prefix="thing-rig-") as scratch:
        wrong, calls = callsOf(writer, scratch)
        behind = kills = 0
        for call, number in calls:
            with tempfile.TemporaryDirectory(dir=scratch) as directory:
                found, stayed = killedAt(writer, Path(directory), call, number)
            wrong += [f"{call} {number}: {each}" for each in found]
            behind, kills = behind + stayed, kills + 1
    figure = f"{kills} kills, {behind} left something to sweep"
    return Row(writer.name, "; ".join(wrong) or figure, not wrong and kills > 5)


def callsOf(writer: Writer, scratch: str) -> tuple[list[str], list[tuple[str, int]]]:
    """
    Have a writer do its work undisturbed.

    :param writer: the writer.
    :param scratch: an empty directory for that.
    :return: what is wrong already, and each system call that can be disturbed: its name, and how
        many of that name there are by then.
    """
    writeOnce(writer, Path(scratch))  # What is imported late is imported now.
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        writer.prepare(Path(directory))
        ending = traced(partial(writer.write, Path(directory)), *writer.inject)
    injected = {each.partition(":")[0] for each in writer.inject}
    calls = [each for each in ending.each() if each[0] not in injected]
    return [ending.said] if ending.code else [], calls


def writeOnce(writer: Writer, directory: Path) -> None:
    """
    Have a writer do its work, as a test of the test.

    :param writer: the writer.
    :param directory: where; it is empty afterwards.
    """
    writer.prepare(directory)
    writer.write(directory)
    for name, read in writer.files.items():
        read(directory / name)
        os.unlink(directory / name)


def killedAt(writer: Writer, directory: Path, call: str, number: int) -> tuple[list[str], bool]:
    """Kill a writer at one call; what is wrong then, and whether something was left behind."""
    writer.prepare(directory)
    before = contents(directory)
    kill = f"{call}:signal=KILL:when={number}"
    ending = traced(partial(writer.write, directory), *writer.inject, kill)
    wrong = faults(writer, directory, before)
    if ending.code != -signal.SIGKILL:
        wrong.append(f"was not killed: {ending.code} {ending.said}")
    stayed = left(writer, directory)
    if writer.nameless and stayed:
        wrong.append(f"left {stayed}")
    writer.write(directory)
    wrong += [f"after it {each}" for each in faults(writer, directory, before)]
    missing, secrets = set(writer.files) - {*os.listdir(directory)}, secretsLeft(writer, directory)
    if missing or secrets:
        wrong.append(f"after it {missing} are missing, {secrets} left")
    return wrong, bool(stayed)

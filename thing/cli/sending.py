"""What ``thing send`` does: a message goes to a thing, its answer to standard output."""

from __future__ import annotations

import base64
import binascii
import os
import sys
from typing import Any

import click

from thing.cli.answers import Answer, Unreachable, wrong
from thing.cli.api import PATIENCE, Api
from thing.cli.exits import CommandError, ExitCode
from thing.cli.formats import visible
from thing.cli.output import asLine, endingQuietly, write, writeOctets

MAX_INPUT = 1 << 20
"""The longest message that is read from standard input, octets; servers take far less."""

_ENDS = {
    404: ExitCode.NOT_HERE,
    409: ExitCode.REFUSED,
    413: ExitCode.NOT_TAKEN,
    502: ExitCode.BROKE,
    503: ExitCode.NOT_TAKEN,
    504: ExitCode.UNANSWERED,
}
"""What the server's numbers mean."""


def readMessage(argument: str | None) -> bytes:
    """
    Find the message.

    :param argument: what the user wrote; None or a hyphen for standard input.
    :return: the octets.
    :raises CommandError: if standard input cannot be read, or is too long.
    """
    if argument is not None and argument != "-":
        return os.fsencode(argument)
    if sys.stdin is None:
        raise click.UsageError("standard input must be open; /dev/null is")
    try:
        octets = sys.stdin.buffer.read(MAX_INPUT + 1)
    except OSError as error:
        raise CommandError(f"cannot read standard input: {error.strerror}") from None
    if len(octets) > MAX_INPUT:
        raise CommandError(f"the message is longer than {MAX_INPUT >> 20} MiB", ExitCode.NOT_TAKEN)
    return octets


def sendMessage(api: Api, id: str, message: bytes, timeout: float, asJson: bool) -> None:
    """
    Send the message and print the answer.

    :param api: the server.
    :param id: to which thing.
    :param message: the octets.
    :param timeout: how long the thing may take to answer, seconds.
    :param asJson: whether to print JSON.
    :raises CommandError: if the thing did not acknowledge it.
    """
    with endingQuietly(ExitCode.INTERRUPTED):
        answer = _acknowledged(api, id, message, timeout)
        reply = _replyOf(answer)
        if asJson:
            write([asLine(answer.found)])
        elif sys.stdout.isatty():
            write(readable(reply))
        else:
            writeOctets(reply)


def deliver(api: Api, id: str, message: bytes, timeout: float) -> bytes:
    """
    Send a message, whatever signals come.

    :param api: the server.
    :param id: to which thing.
    :param message: the octets.
    :param timeout: how long the thing may take to answer, seconds.
    :return: what it answered.
    :raises CommandError: if the thing did not acknowledge it.
    """
    return _replyOf(_acknowledged(api, id, message, timeout))


def _acknowledged(api: Api, id: str, message: bytes, timeout: float) -> Answer:
    answer = _ask(api, id, message, timeout)
    code = _ENDS.get(answer.status)
    if code is not None:
        raise CommandError(f"{visible(id)}: {answer.title.rstrip('.')}", code)
    if answer.status != 200:
        raise api.failed(answer)
    return answer


def _ask(api: Api, id: str, message: bytes, timeout: float) -> Answer:
    query = {"id": id, "timeout": f"{timeout:g}"}
    try:
        return api.ask("POST", "/thing/messages", query, message, timeout + PATIENCE)
    except Unreachable as error:
        if not api.sent:
            raise
        raise CommandError(f"{error}; the message may have arrived", ExitCode.UNANSWERED) from None


def _replyOf(answer: Answer) -> bytes:
    """The octets that the thing answered."""
    reply: Any = answer.found.get("reply")
    try:
        match reply:
            case {"text": str(text)}:
                return text.encode()
            case {"base64": str(text)}:
                return base64.b64decode(text, validate=True)
    except (UnicodeEncodeError, binascii.Error):
        pass
    raise wrong("reply")


def readable(reply: bytes) -> list[str]:
    """
    Make an answer fit for a terminal.

    :param reply: what a thing answered.
    :return: its lines, without what could steer the terminal.
    """
    if not reply:
        return []
    lines = reply.decode("utf-8", "replace").removesuffix("\n").split("\n")
    return [visible(line.removesuffix("\r"), len(line)) for line in lines]

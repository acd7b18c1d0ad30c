"""What ``thing invite`` and ``thing invitations`` do: they ask a status server to."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from thing.cli.answers import Answer, Unreachable, listIn, numberIn, textIn, wrong
from thing.cli.api import Api
from thing.cli.exits import CommandError, ExitCode, complain
from thing.cli.formats import Columns, formatSpan, formatTime, visible
from thing.cli.output import asLine, endingQuietly, write

LOOK_INTERVAL = 1.0
"""How often is looked whether a key has come, seconds."""

_ID = re.compile("[0-9a-f]{16}")
_COMMAND = re.compile("thing join [A-Za-z0-9_-]+")
_MARGIN = 2
"""The light modules around a QR code; the standard wants four, cameras do with two."""

_HALVES = {"11": " ", "10": "\N{LOWER HALF BLOCK}", "01": "\N{UPPER HALF BLOCK}"}
_BRIGHT_ON_BLACK = "\x1b[97;40m"
_PLAIN = "\x1b[0m"

_STATES = {
    "open": "open",
    "waiting": "waits for a yes",
    "claimed": "joins",
    "used": "has joined",
}
"""What has become of an invitation, in words."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Whom to invite."""

    name: str
    """What the thing will be called."""

    servers: Sequence[str]
    """Where the server is, ``host:port`` each."""

    life: float
    """For how long the invitation counts, seconds."""

    confirm: bool
    """Whether somebody must say yes to the key."""

    replace: bool
    """Whether it takes the place of a thing of that name."""

    def asDict(self) -> dict[str, Any]:
        """:return: the wish as the API takes it."""
        return {
            "name": self.name,
            "servers": list(self.servers),
            "lifetime": self.life,
            "confirm": self.confirm,
            "replace": self.replace,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Invited:
    """An invitation, as it is shown."""

    id: str
    name: str
    state: str
    asks: bool
    """Whether somebody must say yes to the key."""
    fingerprint: str
    """Of the key that has come; empty before."""
    left: float
    """How long it still counts, seconds."""
    found: dict[str, Any]
    """All that was told."""


def inviteThing(api: Api, wish: Wish, code: bool) -> None:
    """
    Invite a thing, print the command for it, and ask about its key if that is wished.

    :param api: the server.
    :param wish: whom to invite.
    :param code: whether to show the token as a QR code.
    :raises CommandError: if it is not invited, or turned away.
    """
    with endingQuietly(ExitCode.INTERRUPTED):
        answer = api.post("/invitations", wish.asDict())
        if answer.status == 409:
            advice = "--replace lets the new one take the place of a thing's line, and of no other"
            raise CommandError(
                _title(answer), ExitCode.NAME_TAKEN, None if wish.replace else advice
            )
        if answer.status != 201:
            raise _invitesNobody(api, answer)
        invited = _invitedOf(answer.found, answer.now)
        command = textIn(answer.found, "command")
        if not _COMMAND.fullmatch(command):
            raise wrong("command")
        _handOver(api, invited, command)
        if sys.stderr.isatty():
            until = formatTime(time.time() + invited.left)
            complain(f"until {until} one thing can join by it as {visible(invited.name)}")
        if code:
            _show(_rowsOf(answer.found))
        if wish.confirm and _canAsk():
            _confirmComing(api, invited)


def _handOver(api: Api, invited: Invited, command: str) -> None:
    """Write the line that has the token; if that fails nobody has it, and it counts no more."""
    try:
        write([command])
    except BaseException:
        try:
            withdrawInvitation(api, invited.id)
        except click.ClickException as error:
            complain(f"the invitation is not withdrawn: {error.message}")
        raise


def listInvitations(api: Api, asJson: bool) -> None:
    """
    Print the invitations.

    :param api: the server.
    :param asJson: whether to print JSON.
    :raises CommandError: if it does not answer, or nonsense.
    """
    with endingQuietly(ExitCode.INTERRUPTED):
        found = _all(api)
        if asJson:
            write(asLine(each.found) for each in found)
            return
        columns = Columns(("ID", "NAME", "STATE", "COUNTS FOR", "KEY"), ("COUNTS FOR",))
        cells = [
            (
                visible(each.id),
                visible(each.name),
                _stateOf(each),
                formatSpan(each.left),
                visible(each.fingerprint) or "-",
            )
            for each in found
        ]
        write(columns.lines([columns.headings, *cells]))


def withdrawInvitation(api: Api, id: str) -> None:
    """
    Have an invitation count no more.

    :param api: the server.
    :param id: which.
    :raises CommandError: if there is none such, or the server does not answer.
    """
    with endingQuietly(ExitCode.INTERRUPTED):
        answer = api.ask("DELETE", f"/invitations/{_checked(id)}")
        if answer.status != 200:
            raise _isOver(api, answer)


def confirmKey(api: Api, id: str, fingerprint: str | None) -> None:
    """
    Say yes to the key that has come with an invitation.

    :param api: the server.
    :param id: which invitation.
    :param fingerprint: which key; None to ask on the terminal.
    :raises CommandError: if no key has come, or another one, or the user says no.
    """
    with endingQuietly(ExitCode.INTERRUPTED):
        _checked(id)
        if fingerprint is None:
            if not _canAsk():
                raise click.UsageError("there is no terminal to ask on; give --key")
            invited = _find(api, id)
            if invited.state == "open":
                raise CommandError(
                    f"no key has come with the invitation {id} yet", ExitCode.WAITING
                )
            if not _yes(invited):
                advice = f"thing invitations --withdraw {id} would turn it away"
                raise CommandError("nothing is changed", ExitCode.WAITING, advice)
            fingerprint = invited.fingerprint
        _sayYes(api, id, fingerprint)


def _show(rows: Sequence[str]) -> None:
    """Draw a QR code on standard error; one that is folded is none."""
    needed = len(rows) + 2 * _MARGIN
    if not rows:
        complain("the token is too long for a QR code; fewer addresses would shorten it")
    elif sys.stderr.isatty() and os.get_terminal_size(2).columns < needed:
        complain(f"the terminal is too narrow for the QR code, which has {needed} columns")
    else:
        for line in codeLines(rows):
            click.echo(line, err=True)


def codeLines(rows: Sequence[str]) -> Iterator[str]:
    """
    Draw a QR code, two rows in a line.

    What is light is drawn, and what is dark is not, as most terminals are dark.

    :param rows: a digit for each module, 1 for a dark one.
    :return: the lines.
    """
    width = len(rows) + 2 * _MARGIN
    margin = ["0" * width] * _MARGIN
    side = "0" * _MARGIN
    whole = [*margin, *(f"{side}{row}{side}" for row in rows), *margin]
    whole += ["1" * width] * (len(whole) % 2)
    for upper, lower in zip(whole[::2], whole[1::2], strict=True):
        pairs = (f"{one}{other}" for one, other in zip(upper, lower, strict=True))
        drawn = "".join(_HALVES.get(pair, "\N{FULL BLOCK}") for pair in pairs)
        yield f"{_BRIGHT_ON_BLACK}{drawn}{_PLAIN}"


# What the server tells.


def _all(api: Api) -> list[Invited]:
    answer = api.ask("GET", "/invitations")
    if answer.status != 200:
        raise _invitesNobody(api, answer)
    return [_invitedOf(each, answer.now) for each in listIn(answer.found, "invitations")]


def _find(api: Api, id: str) -> Invited:
    for each in _all(api):
        if each.id == id:
            return each
    raise CommandError(f"there is no invitation {id}; its time may be over", ExitCode.OVER)


def _invitedOf(found: object, now: float) -> Invited:
    if not isinstance(found, dict):
        raise wrong("invitations")
    return Invited(
        id=textIn(found, "id"),
        name=textIn(found, "name"),
        state=textIn(found, "state"),
        asks=found.get("confirm") is True,
        fingerprint=textIn(found, "fingerprint"),
        left=numberIn(found, "expires") - now,
        found=found,
    )


def _rowsOf(found: dict[str, Any]) -> list[str]:
    """The rows of a QR code, which is square; none if there is no code."""
    rows = [row for row in listIn(found, "qr") if isinstance(row, str)]
    if any(len(row) != len(rows) or set(row) - set("01") for row in rows):
        raise wrong("qr")
    return rows


def _stateOf(invited: Invited) -> str:
    state = _STATES.get(invited.state, visible(invited.state, 20))
    return f"{state}, asks" if invited.asks and invited.state == "open" else state


def _checked(id: str) -> str:
    if not _ID.fullmatch(id):
        raise click.UsageError(f"{visible(id)!r} is not the id of an invitation")
    return id


def _title(answer: Answer) -> str:
    return answer.title.rstrip(".")


def _invitesNobody(api: Api, answer: Answer) -> CommandError:
    """What to raise for an answer about all that is not the one hoped for."""
    if answer.status == 404:
        return CommandError(f"{api.address.text}: {_title(answer)}", ExitCode.NOT_TAKEN)
    return api.failed(answer)


def _isOver(api: Api, answer: Answer) -> CommandError:
    """What to raise for an answer about one that is not the one hoped for."""
    if answer.status == 404:
        return CommandError(_title(answer), ExitCode.OVER)
    return api.failed(answer)


# The key that comes.


def _canAsk() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _yes(invited: Invited) -> bool:
    question = f"{visible(invited.name)} has come with the key {visible(invited.fingerprint)}"
    return click.confirm(f"{question}.\nIs that its key?", err=True)


def _sayYes(api: Api, id: str, fingerprint: str) -> None:
    answer = api.post(f"/invitations/{id}/confirmation", {"fingerprint": fingerprint})
    if answer.status == 409:
        raise CommandError(_title(answer), ExitCode.OTHER_KEY)
    if answer.status != 200:
        raise _isOver(api, answer)


def _confirmComing(api: Api, invited: Invited) -> None:
    """Wait for the key, and ask."""
    complain("waiting for its key; Ctrl-C leaves it to thing invitations --confirm")
    deadline = time.monotonic() + invited.left
    while invited.state == "open":
        time.sleep(LOOK_INTERVAL)
        try:
            invited = _find(api, invited.id)
        except Unreachable:
            if time.monotonic() > deadline:
                raise
    if invited.state != "waiting":
        complain("somebody else has said yes")
    elif _yes(invited):
        _sayYes(api, invited.id, invited.fingerprint)
    else:
        withdrawInvitation(api, invited.id)
        raise CommandError("it is turned away, and the invitation withdrawn", ExitCode.OVER)

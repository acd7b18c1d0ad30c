"""The options that every command about a fleet has: its status server, and the token for it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from thing.cli.address import DEFAULT_STATUS, StatusAddress, parseStatus
from thing.cli.exits import complain
from thing.cli.keys import FILE
from thing.errors import CredentialError

if TYPE_CHECKING:
    from thing.cli.api import Api

MAX_TOKEN_FILE = 4096
"""The most octets that a token's file may hold."""

_TOKEN = re.compile(rb"[!-~]{1,1024}")


def readToken(path: str) -> str:
    """
    Read a token.

    :param path: the file whose first line it is.
    :return: the token.
    :raises CredentialError: if the file cannot be read, is open to others, or holds none.
    """
    from thing.trust.files import readFile

    first, _, _ = readFile(path, MAX_TOKEN_FILE, private=True).partition(b"\n")
    token = first.strip()
    if not _TOKEN.fullmatch(token):
        raise CredentialError(f"{path}: the first line is not a token: ASCII without blanks")
    return token.decode("ascii")


@dataclass(frozen=True, slots=True)
class StatusOptions:
    """What the user chose."""

    address: StatusAddress
    """The status server."""

    tokenFile: str | None
    """The file that has the token; None for no token."""

    def api(self) -> Api:
        """
        Make what asks the status server; it connects later.

        :return: the client.
        :raises CredentialError: if the token cannot be read.
        """
        from thing.cli.api import Api

        if self.tokenFile is None:
            return Api(self.address, None)
        token = readToken(self.tokenFile)
        if self.address.overhearable:
            complain(f"{self.address.text} is not https: others on the way can read the token")
        return Api(self.address, token)


def _parseStatus(context: click.Context, parameter: click.Parameter, text: str) -> StatusAddress:
    try:
        return parseStatus(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def statusOptions(command: Callable[..., None]) -> Callable[..., None]:
    """
    Give a command the options that lead to a status server.

    :param command: called with ``status``, the :class:`StatusOptions`, and with its own options.
    :return: the command, to be given its own options.
    """

    def withOptions(address: StatusAddress, tokenFile: str | None, **others: object) -> None:
        command(StatusOptions(address, tokenFile), **others)

    decorated: Callable[..., None] = functools.wraps(command)(withOptions)
    decorated = click.option(
        "--token-file",
        "tokenFile",
        type=FILE,
        envvar="THING_STATUS_TOKEN_FILE",
        show_envvar=True,
        help="A file whose first line is the status server's token.",
    )(decorated)
    return click.option(
        "--status",
        "address",
        metavar="URL",
        default=DEFAULT_STATUS,
        envvar="THING_STATUS",
        show_default=True,
        show_envvar=True,
        callback=_parseStatus,
        help="The status server: http://HOST:PORT, https://HOST:PORT or unix:PATH.",
    )(decorated)

"""What the commands about a fleet are told alike: where its status server is, and the token."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import click

from thing.cli.exits import complain
from thing.cli.keys import FILE
from thing.errors import CredentialError

if TYPE_CHECKING:
    from thing.cli.api import Api

DEFAULT_STATUS = "http://127.0.0.1:9001"
"""Where the status server is if nothing is said."""

MAX_TOKEN_FILE = 4096
"""The most octets that a token's file may hold."""

_TOKEN = re.compile(rb"[!-~]{1,1024}")
_SCHEMES = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class StatusAddress:
    """A status server, as the user named it."""

    text: str
    """What the user wrote."""

    host: str
    """Its host; ``localhost`` behind a socket in the file system."""

    port: int

    secure: bool = False
    """Whether to speak TLS with it."""

    socket: str | None = None
    """The path of its socket in the file system; None if it has none."""

    base: str = ""
    """What its paths begin with, if it is behind a proxy that gives it a part of a site."""

    @property
    def overhearable(self) -> bool:
        """Whether others on the network can read what is sent there."""
        if self.secure or self.socket is not None or self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True


def parseStatus(text: str) -> StatusAddress:
    """
    Understand what the user wrote.

    :param text: a URL of ``http:`` or ``https:``, ``unix:PATH``, or ``http+unix:`` with the path,
        percent-encoded where a URL has the host.
    :return: the address.
    :raises ValueError: if it is none of these; the message says so.
    """
    if not text.isprintable() or " " in text:
        raise ValueError("an address has no blanks and no control characters")
    scheme, _, rest = text.partition(":")
    if scheme == "unix" and rest.strip("/"):
        return StatusAddress(text, "localhost", 0, socket=rest)
    parts = urlsplit(text)
    if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise ValueError("neither a user nor a query belongs there; a token goes into a file")
    if scheme == "http+unix":
        path, base = (unquote(parts.netloc), parts.path) if parts.netloc else (parts.path, "")
        if path.strip("/"):
            return StatusAddress(text, "localhost", 0, socket=path, base=base.rstrip("/"))
    if scheme not in _SCHEMES or not parts.hostname:
        raise ValueError(f"{text!r} is not http://HOST:PORT, https://HOST or unix:PATH")
    return StatusAddress(
        text,
        parts.hostname,
        parts.port or _SCHEMES[scheme],
        secure=scheme == "https",
        base=parts.path.rstrip("/"),
    )


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

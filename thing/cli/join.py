"""``thing join``: its options; what it does is imported when it runs."""

from __future__ import annotations

import os
import sys

import click

from thing.cli.exits import ANY_COMMAND, CommandError, ExitCode, complain, guide
from thing.cli.keys import FILE, defaultKeyFile
from thing.cli.options import secondsOption
from thing.trust.home import homeDirectory, makeHome

MAX_INPUT = 16 * 1024
"""The longest line that is read for a token, octets; the longest token has a fourth of that."""


_ENDS = (
    ExitCode.DAMAGED,
    ExitCode.OVER,
    ExitCode.OTHER_KEY,
    ExitCode.NAME_TAKEN,
    ExitCode.WAITING,
    ExitCode.KEY_REFUSED,
    ExitCode.NOT_CONNECTED,
    ExitCode.NOT_TRUSTED,
)
"""How it can end besides."""


@click.command(epilog=guide("thing join - < token", codes=(*ANY_COMMAND, *_ENDS)))
@click.argument("token")
@click.option(
    "--identity",
    "keyFile",
    type=FILE,
    help="The private key to join with, made if it is not there.  [default: the one that thing "
    "keygen makes]",
)
@click.option(
    "--passphrase-file",
    "passphraseFile",
    type=FILE,
    help="Its first line decrypts that key.  [default: ask on the terminal]",
)
@click.option(
    "--known-hosts",
    "knownServers",
    type=FILE,
    help="Where the server's key is written.  [default: known_servers in the per-user directory]",
)
@secondsOption(
    "--timeout",
    help="Give up after so long.  [default: a minute without an answer; a yes is awaited as long "
    "as the invitation counts]",
)
def join(
    token: str,
    keyFile: str | None,
    passphraseFile: str | None,
    knownServers: str | None,
    timeout: float | None,
) -> None:
    """
    Join a server that has invited this thing.

    TOKEN is what thing invite printed. If it is -, a line is read from
    standard input, where no other user of this machine can see it; the whole
    line thing join TOKEN does as well.

    A key is made unless there is one, and the server authorizes it. What the
    server is known by is written to known_servers, and a first session is
    held. Whatever interrupts this: the same command goes on with it.
    """
    from thing.cli.joining import joinServer, keyFor, parseToken

    parsed = parseToken(_readInput() if token == "-" else token)  # noqa: S105 - no secret
    if keyFile is None or knownServers is None:
        makeHome()
    keyFile = keyFile or defaultKeyFile()
    key = keyFor(keyFile, passphraseFile)
    knownServers = knownServers or os.path.join(homeDirectory(), "known_servers")
    joinServer(parsed, key, keyFile, knownServers, timeout)


def _readInput() -> str:
    """The first line: who writes it may have more to do before standard input ends."""
    if sys.stdin is None:
        raise click.UsageError("standard input must be open; /dev/null is")
    if sys.stdin.isatty():
        complain("the token, in one line:")
    try:
        return sys.stdin.buffer.readline(MAX_INPUT).decode("utf-8", "replace")
    except OSError as error:
        raise CommandError(f"cannot read standard input: {error.strerror}") from None

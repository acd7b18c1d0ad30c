"""
All commands in one, and what they have in common when they end.

What a command does is in the module of its name.
"""

from __future__ import annotations

import sys

import click

from thing.cli.agent import agent
from thing.cli.conformance import conformance
from thing.cli.connect import connect
from thing.cli.end import end
from thing.cli.events import events
from thing.cli.exits import CommandError, ExitCode, complain, guide
from thing.cli.invite import invitations, invite
from thing.cli.join import join
from thing.cli.keys import fingerprint, keygen
from thing.cli.ls import ls
from thing.cli.nodes import nodes
from thing.cli.output import ReaderGone, guardStandardStreams
from thing.cli.ping import ping
from thing.cli.reach import reach
from thing.cli.send import send
from thing.cli.show import leave, show
from thing.cli.top import top
from thing.errors import CredentialError

__all__ = ["commands", "run"]


class _Commands(click.Group):
    """Turns the errors that any command may meet into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        """
        Run the command.

        :param ctx: what was parsed.
        :return: what the command returns.
        :raises CommandError: if a key or a file cannot be used.
        """
        try:
            return super().invoke(ctx)
        except CredentialError as error:
            raise CommandError(str(error)) from None
        except (click.Abort, KeyboardInterrupt):
            raise CommandError("interrupted", ExitCode.INTERRUPTED) from None


def _showVersion(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from thing.version import __version__  # It takes a while.

        click.echo(f"thing {__version__}")
        context.exit()


@click.group(
    cls=_Commands,
    epilog=guide(codes=ExitCode),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_showVersion,
    help="Show the version and exit.",
)
def commands() -> None:
    """Talk over Thing: secure sessions that know whether the other side is alive."""


_SESSIONS = (connect, ping, agent, reach, join)
_FLEET = (ls, show, send, leave, end, events, top, nodes, invite, invitations)
for _command in (keygen, fingerprint, *_SESSIONS, *_FLEET, conformance):
    commands.add_command(_command)


def run() -> None:
    """
    Run what the user typed.

    :raises SystemExit: always, with the exit code.
    """
    guardStandardStreams()
    if sys.stdout is None:
        complain("standard output must be open; /dev/null is")
        raise SystemExit(ExitCode.USAGE)
    try:
        commands(prog_name="thing")
    except ReaderGone:
        raise SystemExit(ExitCode.GOODBYE) from None
    except CommandError as error:  # Of a completion, which click does first.
        error.show()
        raise SystemExit(error.exit_code) from None

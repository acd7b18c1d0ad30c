"""
The ``thing`` command: keys, sessions like ``nc``, like ``ping`` and always on, and the fleet.

The modules named after commands hold what click needs to know and are quick
to import; what does the work is imported when a command runs.

Any room below may be touched from here, and nothing of the terminal is known there. What a
command shows of a peer's or a server's words never steers the terminal, and no rule of the
protocol or of trust is decided here: a command asks, and tells what was answered.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

__all__ = ["main"]


def main() -> None:
    """
    Run the command line.

    :raises SystemExit: always, with the exit code.
    """
    try:
        fillGaps()
        from thing.cli.commands import run  # Not sooner: it takes a while, and opens files.

        run()
    except KeyboardInterrupt:
        with suppress(OSError):
            os.write(2, b"thing: interrupted\n")
        sys.exit(130)


def fillGaps() -> None:
    """
    Open the standard descriptors that are closed; no file and no socket gets their numbers then.

    ``/dev/null`` stands there the wrong way round, so that to use it is an error: but standard
    error takes all that is written to it.
    """
    for descriptor, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)

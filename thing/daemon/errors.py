"""What keeps a server from starting."""

from __future__ import annotations


class CannotStart(SystemExit, Exception):
    """
    The server cannot start; all that its user sees is one line.

    As a ``SystemExit`` it ends the program without a traceback. As an
    ``Exception`` it makes ``twistd`` remove its PID file and tell the process
    that started a daemon.
    """

    def __init__(self, problem: str) -> None:
        """:param problem: what is wrong, without the name of the program."""
        super().__init__(f"twistd thing: {problem}")

"""
Connects a command to a host without a reactor, and within a time.

The system looks names up in the thread that asks and hears no signal meanwhile: here that is
another thread, so that the user can interrupt the command, and nobody waits for it at the end.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

from thing.cli.waiting import waitUntil
from thing.trust.keywords import asciiHost


def dial(host: str, port: int, patience: float) -> socket.socket:
    """
    Connect to a host, to the first of its addresses that takes it.

    :param host: a name, or an address.
    :param port: the port.
    :param patience: how long it may take, with the lookup, seconds.
    :return: the connection.
    :raises OSError: if there is none; TimeoutError if there is none in time.
    :raises ValueError: if it can be no host.
    """
    until = time.monotonic() + patience
    problem: OSError = TimeoutError("timed out")
    found = _lookUp(asciiHost(host), port, patience)
    for untried, (family, kind, protocol, _, address) in zip(
        range(len(found), 0, -1), found, strict=True
    ):
        left = (until - time.monotonic()) / untried  # Each has its share: one may be silent.
        if left <= 0:
            raise TimeoutError("timed out")
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(left)
            connection.connect(address)
        except OSError as error:
            problem = error
            connection.close()
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise problem


def _lookUp(host: str, port: int, patience: float) -> list[Any]:
    """What the system says of a name."""
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as error:
            answers.append(error)

    threading.Thread(target=ask, daemon=True).start()
    if not waitUntil(lambda: answers, patience):
        raise TimeoutError("timed out")
    (answer,) = answers
    if isinstance(answer, Exception):
        raise answer
    found: list[Any] = answer
    return found

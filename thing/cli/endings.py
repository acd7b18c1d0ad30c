"""
How a session's end, or that there was none, is told to the user: a line and an exit code.

What ends a session is not decided here.
"""

from __future__ import annotations

import os
from dataclasses import replace

from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectError, ConnectingCancelledError

from thing.cli.exits import ExitCode, complain
from thing.cli.options import ClientOptions
from thing.cli.servers import complainOfKey
from thing.errors import ErrorCode
from thing.events import Cause, Termination

_CODES = {
    Cause.GOODBYE: ExitCode.GOODBYE,
    Cause.FLAT_LINED: ExitCode.FLAT_LINED,
    Cause.LAPSED: ExitCode.LAPSED,
    Cause.TRUNCATED: ExitCode.TRUNCATED,
    Cause.PROTOCOL_ERROR: ExitCode.PROTOCOL_ERROR,
    Cause.ABORTED: ExitCode.ABORTED,
}

_REFUSED_HERE: dict[ErrorCode | int | None, ExitCode] = {
    # There is nothing to show that the server takes.
    ErrorCode.CREDENTIAL_REQUIRED: ExitCode.REJECTED,
    ErrorCode.NO_COMMON_CREDENTIAL: ExitCode.REJECTED,
    ErrorCode.NOT_AUTHORIZED: ExitCode.NOT_TRUSTED,
    ErrorCode.NOT_VALID_NOW: ExitCode.NOT_TRUSTED,
    ErrorCode.UNDECIDED: ExitCode.NOT_TRUSTED,
    # The server has much to do, and asks for more than is done here.
    ErrorCode.RETRY_REFUSED: ExitCode.NOT_CONNECTED,
    ErrorCode.HANDSHAKE_TIMEOUT: ExitCode.NOT_CONNECTED,
    ErrorCode.INTERNAL_ERROR: ExitCode.ABORTED,
}
"""What this side refuses a handshake for though the server has broken no rule."""

_CANCELLED = (CancelledError, ConnectingCancelledError, DeferredTimeout)


def notConnected(options: ClientOptions, error: BaseException | None) -> ExitCode:
    """
    Tell the user that there is no connection.

    :param options: what the user chose.
    :param error: why.
    :return: the exit code.
    """
    complain(whyNot(replace(options, target=options.targets[-1]), error))
    return ExitCode.NOT_CONNECTED


def whyNot(options: ClientOptions, error: BaseException | None) -> str:
    """
    Write why there is no connection.

    :param options: what the user chose; the target is the address that was tried.
    :param error: why.
    :return: a line.
    """
    late = isinstance(error, _CANCELLED)
    why = f"no connection within {options.timeout:g} s" if late else plain(error)
    return f"cannot connect to {options.target.text}: {why}"


def reportEnd(options: ClientOptions, termination: Termination, lost: str = "") -> ExitCode:
    """
    Tell the user how a session, or a try for one, ended, unless that was in order.

    :param options: what the user chose.
    :param termination: how it ended.
    :param lost: why the stream closed, to be added where nobody said so.
    :return: the exit code.
    """
    code = codeOf(termination)
    if code is ExitCode.NOT_TRUSTED:
        complainOfKey(termination.detail, options)
    elif code is not ExitCode.GOODBYE:
        why = lost if termination.cause is Cause.TRUNCATED else ""
        complain(f"{termination}{why}{comeBack(termination.retryAfter)}")
    return code


def codeOf(termination: Termination) -> ExitCode:
    """
    The exit code that goes with a session's end.

    :param termination: how the session ended.
    :return: the code.
    """
    if termination.cause is not Cause.REJECTED:
        return _CODES[termination.cause]
    if termination.byPeer:
        return ExitCode.REJECTED
    return _REFUSED_HERE.get(termination.code, ExitCode.PROTOCOL_ERROR)


def comeBack(retryAfter: float | None) -> str:
    """
    Write when to come back.

    :param retryAfter: what the server said, seconds; None or zero if it did not.
    :return: the end of a line; nothing if it did not.
    """
    return f"; come back in {retryAfter:g} s" if retryAfter else ""


def plain(error: BaseException | None) -> str:
    """
    Write an error for a line that goes on.

    :param error: the error.
    :return: its text on one line, without the full stop; of a connection that did not come about
        what the system says.
    """
    if isinstance(error, ConnectError) and isinstance(error.osError, int):
        return os.strerror(error.osError)
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__

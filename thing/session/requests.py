"""
The requests of one session: who waits for which reply, and who is at work on one.

What may be asked and answered when is decided in :mod:`thing.core`; here
numbers become Deferreds, and every one of those fires once.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from thing.core.requests import checkedAnswer
from thing.errors import (
    ErrorCode,
    LocalProtocolError,
    ReplyStatus,
    RequestFailed,
    RequestTimedOut,
    SessionEnded,
)
from thing.events import ReplyReceived, Termination
from thing.session.driver import Driver


class Requests:
    """Both sides' requests that have no answer yet."""

    __slots__ = ("_answering", "_clock", "_driver", "_waiting")

    def __init__(self, driver: Driver, clock: IReactorTime) -> None:
        """
        :param driver: drives the Connection.
        :param clock: measures how long a reply is waited for.
        """
        self._driver = driver
        self._clock = clock
        self._waiting: dict[object, Deferred[bytes]] = {}
        self._answering: dict[int, Deferred[object]] = {}

    # This side's requests.

    def ask(self, data: bytes, timeout: float) -> Deferred[bytes]:
        """
        Send a request.

        :param data: what is asked.
        :param timeout: how long to wait for the reply, seconds.
        :return: as :meth:`thing.session.protocol.ThingProtocol.request`.
        :raises LocalProtocolError: as there.
        """
        if not 0 < timeout < math.inf:
            raise LocalProtocolError(ErrorCode.BAD_ARGUMENT, f"a timeout of {timeout} s")
        core = self._driver.core
        number = core.request(data)
        if core.termination is not None:
            return fail(SessionEnded(core.termination))
        # While the session closes there is no number; its end is what is waited for.
        key = object() if number is None else number
        waiter: Deferred[bytes] = Deferred(lambda _: self._forget(key))
        self._waiting[key] = waiter
        waiter.addTimeout(timeout, self._clock, _timedOut)
        self._driver.flush()
        return waiter

    def _forget(self, key: object) -> None:
        """Nobody waits any more; a reply that comes yet is discarded."""
        self._waiting.pop(key, None)

    def replied(self, event: ReplyReceived) -> None:
        """
        Give a reply to who waits for it.

        :param event: the reply.
        """
        waiter = self._waiting.pop(event.number, None)
        if waiter is None:
            return
        if event.status is ReplyStatus.DONE:
            waiter.callback(event.data)
        else:
            waiter.errback(RequestFailed(event.status))

    # The peer's.

    def answer(self, number: int, data: bytes, handler: Callable[[bytes], object]) -> None:
        """
        Have a request of the peer's dealt with, and send the reply when it is.

        :param number: the request's.
        :param data: what is asked.
        :param handler: gives the answer, at once or later.
        """
        answer: Deferred[object] = maybeDeferred(handler, data)
        self._answering[number] = answer
        replying = answer.addCallback(self._checked).addErrback(self._failed, number)
        replying.addCallback(self._reply, number)

    def _checked(self, answer: object) -> tuple[ReplyStatus, bytes]:
        """What a handler gave, if it can be sent to this peer."""
        return ReplyStatus.DONE, checkedAnswer(answer, self._driver.core.requestLimit)

    def _failed(self, failure: Failure, number: int) -> tuple[ReplyStatus, bytes]:
        error = failure.value
        if isinstance(error, RequestFailed) and error.status is not ReplyStatus.DONE:
            return error.status, b""
        if number in self._answering:  # Else it was cancelled, because the session ended.
            self._driver.failures.log("A request was not answered; its session goes on", failure)
        return ReplyStatus.FAILED, b""

    def _reply(self, answer: tuple[ReplyStatus, bytes], number: int) -> None:
        if self._answering.pop(number, None) is not None:
            self._driver.core.reply(number, *answer)
            self._driver.flush()

    # The end.

    def end(self, termination: Termination) -> None:
        """
        Fail whoever waits, and cancel whoever is at work.

        :param termination: how the session ended.
        """
        # One by one: what is called may cancel another.
        while self._waiting:
            waiter = self._waiting.pop(next(iter(self._waiting)))
            waiter.errback(SessionEnded(termination))
        while self._answering:
            answer = self._answering.pop(next(iter(self._answering)))
            self._driver.guard(answer.cancel)


def _timedOut(result: object, timeout: float) -> object:
    raise RequestTimedOut(f"no reply within {timeout:g} s")

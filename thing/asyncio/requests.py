"""
The requests of one session: who waits for which reply, and who is at work on one.

What a request is, and how many there may be, is the core's.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from thing.asyncio.link import Link
from thing.core.requests import checkedAnswer
from thing.errors import (
    ErrorCode,
    LocalProtocolError,
    ReplyStatus,
    RequestFailed,
    RequestTimedOut,
    SessionEnded,
)
from thing.events import ReplyReceived, RequestReceived, Termination

Answer = Callable[[bytes], Awaitable[bytes | None]]
"""Answers a request."""


class Requests:
    """Both sides' requests that have no answer yet."""

    def __init__(self, link: Link) -> None:
        """:param link: drives the Connection."""
        self._link = link
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._answering: dict[int, asyncio.Task[None]] = {}

    # This side's requests.

    async def ask(self, data: bytes, timeout: float) -> bytes:
        """
        Send a request, and wait for the reply.

        :param data: what is asked.
        :param timeout: how long to wait, seconds.
        :return: as :meth:`thing.asyncio.session.Session.request`.
        :raises LocalProtocolError: as there.
        :raises RequestTimedOut: if no reply came in time, or the session is closing meanwhile.
        """
        if not 0 < timeout < math.inf:
            raise LocalProtocolError(ErrorCode.BAD_ARGUMENT, f"a timeout of {timeout} s")
        number = self._link.core.request(data)
        waiter: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        # While the session closes there is no number; its end is what is waited for.
        key = -id(waiter) if number is None else number
        self._waiting[key] = waiter
        self._link.flush()
        try:
            return await asyncio.wait_for(waiter, timeout)
        except asyncio.TimeoutError:
            raise RequestTimedOut(f"no reply within {timeout:g} s") from None
        finally:
            self._waiting.pop(key, None)  # A reply that comes yet is discarded.

    def replied(self, event: ReplyReceived) -> None:
        """
        Give a reply to who waits for it.

        :param event: the reply.
        """
        waiter = self._waiting.pop(event.number, None)
        if waiter is None or waiter.done():
            return
        if event.status is ReplyStatus.DONE:
            waiter.set_result(event.data)
        else:
            waiter.set_exception(RequestFailed(event.status))

    # The peer's.

    def answer(self, event: RequestReceived, handler: Answer) -> None:
        """
        Have a request of the peer's dealt with, and send the reply when it is.

        :param event: the request.
        :param handler: gives the answer.
        """
        task = asyncio.get_running_loop().create_task(self._work(event, handler))
        self._answering[event.number] = task

    async def _work(self, event: RequestReceived, handler: Answer) -> None:
        status, content = ReplyStatus.FAILED, b""
        try:
            content = checkedAnswer(await handler(event.data), self._link.core.requestLimit)
            status = ReplyStatus.DONE
        except RequestFailed as error:
            if error.status is not ReplyStatus.DONE:
                status = error.status
        except Exception:
            self._link.failures.log("A request was not answered; its session goes on")
        finally:
            if self._answering.pop(event.number, None) is not None:  # Else the session has ended.
                self.reply(event.number, status, content)

    def reply(self, number: int, status: ReplyStatus, content: bytes = b"") -> None:
        """
        Send a reply.

        :param number: the request's.
        :param status: what became of it.
        :param content: the answer.
        """
        self._link.core.reply(number, status, content)
        self._link.flush()

    # The end.

    def end(self, termination: Termination) -> None:
        """
        Fail whoever waits, and cancel whoever is at work.

        :param termination: how the session ended.
        """
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting.values():
            if not waiter.done():
                waiter.set_exception(SessionEnded(termination))
        answering, self._answering = self._answering, {}
        for task in answering.values():
            task.cancel()

"""
What a request is answered, good or bad, and how it is written without waiting for ever.

What the answer says is for others to decide; answers without end are written elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.errors import ThingError
from thing.fleet.http.channel import COMMON_HEADERS, ROLE, StatusRequest

STATUSES = (200, 201, 202, 400, 401, 403, 404, 405, 409, 413, 421, 500, 502, 503, 504)
"""The statuses of all answers."""

ANSWER_TIMEOUT = 30.0
"""How long a client may take to read an answer, seconds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    body: bytes
    contentType: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Problem(ThingError):
    """
    Why a request gets no good answer; told as RFC 9457 has it.

    :ivar status: of HTTP.
    """

    def __init__(
        self, status: int, title: str, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        """
        :param status: of HTTP.
        :param title: one plain sentence.
        :param headers: what the answer's head says besides.
        :param members: what its body says besides.
        """
        super().__init__(title)
        self.status = status
        self._title = title
        self._headers = headers or {}
        self._members = members

    def answer(self) -> Answer:
        """:return: the answer that tells it."""
        told = {"title": self._title, "status": self.status, **self._members}
        return Answer(encode(told), "application/problem+json", self.status, self._headers)


def encode(found: Any) -> bytes:
    """
    Write JSON.

    :param found: what JSON can hold.
    :return: UTF-8; a text that cannot be has escapes for what is no character.
    """
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def jsonAnswer(found: Any, status: int = 200) -> Answer:
    """
    Answer with JSON.

    :param found: what JSON can hold.
    :param status: of HTTP.
    :return: the answer.
    """
    return Answer(encode(found), "application/json", status)


def textAnswer(text: str, status: int = 200) -> Answer:
    """
    Answer with a line of text.

    :param text: without the end of the line.
    :param status: of HTTP.
    :return: the answer.
    """
    return Answer(f"{text}\n".encode(), "text/plain; charset=utf-8", status)


def pageAnswer(page: bytes) -> Answer:
    """
    Answer with the page, and let it run what it holds and nothing else.

    :param page: the document; its scripts and styles are elements in it.
    :return: the answer.
    """
    policy = [
        "default-src 'none'",
        "base-uri 'none'",
        "connect-src 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "img-src data:",
        f"script-src {_hashes(page, b'script')}",
        f"style-src {_hashes(page, b'style')}",
    ]
    headers = {"Content-Security-Policy": "; ".join(policy)}
    return Answer(page, "text/html; charset=utf-8", headers=headers)


def _hashes(page: bytes, element: bytes) -> str:
    """The elements of one kind, as a Content-Security-Policy names them."""
    contents = re.findall(rb"<%s\b[^>]*>(.*?)</%s>" % (element, element), page, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(each).digest()).decode() for each in contents)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"


def writeHead(request: StatusRequest, answer: Answer) -> None:
    """
    Set status and headers.

    :param request: the request.
    :param answer: its answer; the body is left alone.
    """
    request.setResponseCode(answer.status, HTTPStatus(answer.status).phrase.encode())
    headers = {
        "Date": request.date,
        **COMMON_HEADERS,
        **({ROLE: request.role} if request.role else {}),
        **answer.headers,
    }
    for name, value in headers.items():
        request.setHeader(name, value)
    request.setHeader("Content-Type", answer.contentType)


@implementer(IPushProducer)
class Sending:
    """
    An answer on its way.

    The request counts as finished only once the transport has room again, so that a
    client that asks and asks and never reads is read from no more.
    """

    _deadline: IDelayedCall | None = None
    _paused = False
    _over = False

    def __init__(self, request: StatusRequest, answer: Answer) -> None:
        """
        :param request: the request; it may be gone already.
        :param answer: its answer.
        """
        self._request = request
        if request.gone:
            return
        request.notifyFinish().addErrback(self._lost)
        writeHead(request, answer)
        request.setHeader("Content-Length", str(len(answer.body)))
        request.registerProducer(self, True)
        request.write(answer.body)
        if self._paused:
            self._deadline = request.clock.callLater(ANSWER_TIMEOUT, request.cut)
        else:
            self._finish()

    def pauseProducing(self) -> None:
        """Wait: the client has much to read."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Go on: the client has read it all."""
        if self._paused:
            self._paused = False
            self._finish()

    def stopProducing(self) -> None:
        """Do nothing: that the client is gone is told elsewhere."""

    def _finish(self) -> None:
        if not self._over:
            self._end()
            self._request.unregisterProducer()
            self._request.finish()

    def _lost(self, reason: Failure) -> None:
        self._end()

    def _end(self) -> None:
        self._over = True
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

"""
What nodes ask of each other: to hand a message over, to let a thing go, to measure.

Each node subscribes to a channel. Whoever publishes to it learns at once if
nobody reads; an answer is published to the channel of the node that asked.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from thing.errors import (
    ErrorCode,
    LocalProtocolError,
    ReplyStatus,
    RequestFailed,
    RequestTimedOut,
    ThingError,
)
from thing.fleet.local import LocalRegistry
from thing.fleet.model import NotPresent, Undelivered
from thing.fleet.redis.rows import MALFORMED, realOf, wholeOf
from thing.fleet.redis.script import asJson
from thing.logger import Logger
from thing.text import readObject

MOST_ASKED = 1000
"""How many answers of other nodes may be waited for at once."""

MOST_MEASURED = 1000
"""Of how many things figures may be asked at once."""

LONGEST_TIMEOUT = 3600.0
"""How long a thing may be given to answer, seconds."""

Answerer = Callable[[dict[str, Any]], dict[str, Any]]
"""Answers a question of another node; what it raises of :data:`MALFORMED` is a bad question."""

Publish = Callable[[str, str], Deferred[Any]]
"""Publishes a text to a node; fires with how many read it."""


class Inbox:
    """
    Asks other nodes, and answers them.

    :ivar malformed: how many messages made no sense.
    """

    _log = Logger()

    def __init__(self, local: LocalRegistry, publish: Publish) -> None:
        """
        :param local: the sessions of this node.
        :param publish: publishes to a node.
        """
        self.malformed = 0
        self._local = local
        self._publish = publish
        self._clock: IReactorTime = local.factory.clock
        self._prefix = secrets.token_hex(8)  # Nobody answers what an earlier process asked.
        self._numbers = count()
        self._asked: dict[str, Deferred[dict[str, Any]]] = {}
        self._served: dict[str, Answerer] = {}

    # Asking.

    async def deliver(
        self, node: str, id: str, message: bytes, timeout: float, grace: float
    ) -> bytes:
        """
        Send a message to a thing of another node, as a request.

        :param node: which node.
        :param id: which thing.
        :param message: the octets.
        :param timeout: how long the thing may take to answer, seconds.
        :param grace: how long the node may take besides, seconds.
        :return: what the thing answered.
        :raises ThingError: as ``IPresence`` says.
        """
        encoded = base64.b64encode(message).decode("ascii")
        asked = {"op": "deliver", "id": id, "message": encoded, "timeout": timeout}
        answer = await self.ask(node, asked, timeout + grace)
        try:
            return base64.b64decode(answer["message"], validate=True)
        except MALFORMED:
            self.malformed += 1
            raise Undelivered(f"the node {node} answers nonsense") from None

    async def dismiss(self, node: str, id: str, grace: float) -> None:
        """
        Ask a thing of another node to leave.

        :param node: which node.
        :param id: which thing.
        :param grace: how long the node may take, seconds.
        :raises ThingError: as ``IPresence`` says.
        """
        await self.ask(node, {"op": "dismiss", "id": id}, grace)

    async def measure(self, node: str, ids: list[str], grace: float) -> dict[str, Any]:
        """
        Ask another node for the figures of some of its things.

        :param node: which node.
        :param ids: which things.
        :param grace: how long the node may take, seconds.
        :return: by id, what :meth:`_measure` gives; not of all, perhaps.
        :raises ThingError: if there is no answer.
        """
        found = (await self.ask(node, {"op": "measure", "ids": ids}, grace)).get("found")
        return found if isinstance(found, dict) else {}

    async def ask(self, node: str, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        """
        Ask another node something.

        :param node: which node.
        :param question: what.
        :param seconds: how long to wait.
        :return: the answer.
        :raises ThingError: what the node says, or ``Undelivered`` if it says nothing.
        """
        if len(self._asked) >= MOST_ASKED:
            raise Undelivered("too many answers of other nodes are waited for already")
        number = f"{self._prefix}.{next(self._numbers)}"
        answer: Deferred[dict[str, Any]] = Deferred()
        overdue = self._clock.callLater(
            seconds, self._fail, number, f"the node {node} did not answer in time"
        )
        self._asked[number] = answer
        try:
            text = asJson({**question, "call": number, "from": self._local.node})
            if not await self._publish(node, text):
                raise Undelivered(f"the node {node} cannot be reached")
            found = await answer
        finally:
            self._asked.pop(number, None)
            if overdue.active():
                overdue.cancel()
        if "error" in found:
            raise _errorOf(found)
        return found

    def _fail(self, number: str, reason: str) -> None:
        answer = self._asked.pop(number, None)
        if answer is not None:
            answer.errback(Undelivered(reason))

    def abandon(self) -> None:
        """Wait for no answer any more."""
        for number in list(self._asked):
            self._fail(number, "the registry was lost")

    # Answering.

    def serve(self, op: str, answerer: Answerer) -> None:
        """
        Answer a kind of question that this module knows nothing of.

        :param op: which.
        :param answerer: answers it.
        """
        self._served[op] = answerer

    def receive(self, text: bytes) -> None:
        """
        Take what was published to this node.

        :param text: a JSON object, if it is one of ours.
        """
        try:
            found = readObject(text)
            if found["op"] in self._served:
                answer = self._served[found["op"]](found)
                self._reply(found, lambda: answer)
            else:
                self._HANDLERS[found["op"]](self, found)
        except MALFORMED:
            self.malformed += 1
        except Exception:
            self._log.failure("What another node said could not be dealt with")

    def _supersede(self, found: dict[str, Any]) -> None:
        self._local.supersede(found["id"], found["session"], wholeOf(found["epoch"]))

    def _answer(self, found: dict[str, Any]) -> None:
        answer = self._asked.pop(found["call"], None)
        if answer is not None:
            answer.callback(found)

    def _deliver(self, found: dict[str, Any]) -> None:
        id, message = _idOf(found), base64.b64decode(found["message"], validate=True)
        timeout = min(max(0.0, realOf(found["timeout"])), LONGEST_TIMEOUT)

        def deliver() -> Deferred[dict[str, Any]]:
            return self._local.deliver(id, message, timeout).addCallback(_messageData)

        self._reply(found, deliver)

    def _dismiss(self, found: dict[str, Any]) -> None:
        id = _idOf(found)

        def dismiss() -> dict[str, Any]:
            self._local.dismiss(id)
            return {}

        self._reply(found, dismiss)

    def _measure(self, found: dict[str, Any]) -> None:
        """Tell what is known only here: of each thing its session, and how and when it was."""
        measured = {}
        for id in found["ids"][:MOST_MEASURED]:
            record = self._local.find(id)
            if record is not None and record.traffic is not None:
                measured[id] = {
                    "session": record.session,
                    "status": record.status.value,
                    "lastSeen": record.lastSeen,
                    "traffic": record.traffic.asDict(),
                }
        self._reply(found, lambda: {"found": measured})

    def _reply(self, found: dict[str, Any], work: Callable[[], Any]) -> None:
        """Do what was asked, and tell who asked what came of it."""
        node, number = found["from"], found["call"]
        if not (isinstance(node, str) and isinstance(number, str)):
            raise TypeError("nobody to answer to")

        def failed(failure: Failure) -> dict[str, Any]:
            if not isinstance(failure.value, ThingError):
                self._log.failure("Another node's question failed", failure)
            return _errorData(failure.value)

        working: Deferred[Any] = maybeDeferred(work).addErrback(failed)
        working.addCallback(
            lambda answer: self._publish(node, asJson({**answer, "op": "answer", "call": number}))
        )
        working.addErrback(lambda _: None)  # The registry is lost: the other side will notice.

    _HANDLERS = {
        "supersede": _supersede,
        "answer": _answer,
        "deliver": _deliver,
        "dismiss": _dismiss,
        "measure": _measure,
    }


def _idOf(found: dict[str, Any]) -> str:
    if not isinstance(found["id"], str):
        raise TypeError("not an id")
    return found["id"]


def _messageData(message: bytes) -> dict[str, Any]:
    return {"message": base64.b64encode(message).decode("ascii")}


def _errorData(error: BaseException | None) -> dict[str, Any]:
    """Put what went wrong into words for another node."""
    detail = str(error)
    if isinstance(error, LocalProtocolError):
        return {"error": "protocol", "code": int(error.code), "detail": error.detail}
    if isinstance(error, RequestFailed):
        return {"error": "failed", "status": int(error.status), "detail": detail}
    if isinstance(error, NotPresent):
        return {"error": "absent", "detail": detail}
    if isinstance(error, RequestTimedOut):
        return {"error": "late", "detail": detail}
    return {"error": "undelivered", "detail": detail if isinstance(error, ThingError) else ""}


def _errorOf(found: dict[str, Any]) -> ThingError:
    """The other way round."""
    detail = str(found.get("detail"))
    try:
        if found["error"] == "protocol":
            return LocalProtocolError(ErrorCode(found["code"]), detail)
        if found["error"] == "failed":
            return RequestFailed(ReplyStatus(found["status"]))
    except MALFORMED:
        pass
    plain: dict[Any, type[ThingError]] = {"absent": NotPresent, "late": RequestTimedOut}
    return plain.get(str(found["error"]), Undelivered)(detail)

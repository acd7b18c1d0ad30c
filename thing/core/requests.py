"""
The requests of one session, both sides': their numbers, and which are unanswered.

Specification, "Requests and replies". What they say is of no concern here.
"""

from __future__ import annotations

from thing.core.lane import frozen
from thing.core.messages import REQUESTS_OUTSTANDING
from thing.core.window import RECORD_COST
from thing.errors import ErrorCode, LocalProtocolError, RemoteProtocolError

_NUMBERS = 1 << 32


def contentOf(data: bytes, most: int) -> bytes:
    """
    Check what a request or a reply says.

    :param data: what it says.
    :param most: how many octets it may have.
    :return: the same, which cannot change any more.
    :raises LocalProtocolError: ``BAD_ARGUMENT`` if it is too long.
    :raises TypeError: unless it is bytes or like bytes.
    """
    content = frozen(data)
    if len(content) > most:
        raise LocalProtocolError(
            ErrorCode.BAD_ARGUMENT, f"{len(content)} octets, and the peer takes {most} at most"
        )
    return content


def checkedAnswer(answer: object, most: int) -> bytes:
    """
    Check what a program answered to a request.

    :param answer: what it gave.
    :param most: how many octets the peer takes (:attr:`thing.core.dialogue.Dialogue.requestLimit`).
    :return: what can be sent; None is an empty answer.
    :raises TypeError: unless it is bytes or None.
    :raises ValueError: if it is too long.
    """
    content = b"" if answer is None else answer
    if not isinstance(content, bytes):
        raise TypeError(f"a request was answered with a {type(answer).__name__}")
    if len(content) > most:
        raise ValueError(f"an answer of {len(content)} octets, and the peer takes {most} at most")
    return content


class RequestLedger:
    """
    Keeps the numbers of both directions, at most 64 unanswered requests in each.

    :ivar held: how many octets the peer's unanswered requests have, with
        :data:`~thing.core.window.RECORD_COST` for each.
    """

    __slots__ = ("_made", "_madeLast", "_taken", "_takenLast", "held")

    def __init__(self) -> None:
        """Start before the first request of either side."""
        self._madeLast = 0
        self._made: set[int] = set()
        self._takenLast = 0
        self._taken: dict[int, int] = {}  # What each costs.
        self.held = 0

    # This side's requests.

    @property
    def next(self) -> int:
        """
        The number for this side's next request.

        :raises LocalProtocolError: ``BUFFER_FULL`` if too many are unanswered.
        """
        number = (self._madeLast + 1) % _NUMBERS
        if len(self._made) >= REQUESTS_OUTSTANDING or number in self._made:
            raise LocalProtocolError(
                ErrorCode.BUFFER_FULL, f"{len(self._made)} requests are unanswered"
            )
        return number

    def made(self, number: int) -> None:
        """
        Note that this side's request is on its way.

        :param number: what :attr:`next` was.
        """
        self._madeLast = number
        self._made.add(number)

    def replied(self, number: int) -> None:
        """
        Take the peer's reply.

        :param number: the request's.
        :raises RemoteProtocolError: ``REPLY_UNEXPECTED`` if there is no such request.
        """
        if number not in self._made:
            raise RemoteProtocolError(ErrorCode.REPLY_UNEXPECTED, f"number {number}")
        self._made.remove(number)

    # The peer's.

    def take(self, number: int, octets: int, repliesWaiting: int) -> None:
        """
        Take the peer's request.

        :param number: its number.
        :param octets: how many it has.
        :param repliesWaiting: how many replies are still to be sent: a peer that does not
            read them must not be owed more and more.
        :raises RemoteProtocolError: ``REQUEST_NUMBER`` if it is not the next,
            ``TOO_MANY_REQUESTS`` if too many are unanswered.
        """
        if number != (self._takenLast + 1) % _NUMBERS:
            raise RemoteProtocolError(ErrorCode.REQUEST_NUMBER, f"{number} after {self._takenLast}")
        if len(self._taken) + repliesWaiting >= REQUESTS_OUTSTANDING or number in self._taken:
            raise RemoteProtocolError(ErrorCode.TOO_MANY_REQUESTS)
        self._takenLast = number
        self._taken[number] = RECORD_COST + octets
        self.held += RECORD_COST + octets

    def reply(self, number: int) -> None:
        """
        Note that this side answers.

        :param number: the number of the peer's request.
        :raises LocalProtocolError: ``BAD_ARGUMENT`` if it is not unanswered.
        """
        if number not in self._taken:
            raise LocalProtocolError(ErrorCode.BAD_ARGUMENT, f"no request {number} is unanswered")
        self.held -= self._taken.pop(number)

"""
What is said of a peer: that it failed, that something was not tried, and how it ended.

Who judges is not here.
"""

from __future__ import annotations

from thing.core.layout import Message
from thing.core.messages import Reject
from thing.errors import ErrorCode


class Failed(Exception):
    """The peer does not keep to the specification; or that cannot be seen."""


class NotTried(Exception):
    """The check has no use with this peer, and the peer may be as it is."""


class Over(Exception):
    """
    The peer has ended the connection.

    :ivar word: its final word; None if it said nothing.
    """

    def __init__(self, word: Message | None) -> None:
        """:param word: its final word; None if it said nothing."""
        self.word = word
        super().__init__(f"it ended the connection {told(word)}")

    @property
    def code(self) -> int | None:
        """The code of its reject; None if it said something else, or nothing."""
        return self.word.code if isinstance(self.word, Reject) else None


def told(word: Message | None) -> str:
    """
    Write how a connection was ended.

    :param word: the final word, or None.
    :return: words.
    """
    if word is None:
        return "without a word"
    if not isinstance(word, Reject):
        return f"by {word.TYPE.name}"
    return f"by {word.TYPE.name} {codeName(word.code)}"


def codeName(code: int) -> str:
    """
    Write an error code.

    :param code: its number.
    :return: its name, or the number if it has none.
    """
    return ErrorCode(code).name if code in ErrorCode._value2member_map_ else f"{code:#06x}"


def judge(end: Over, codes: tuple[ErrorCode, ...]) -> None:
    """
    Compare how a peer ended with how it should have.

    :param end: how it ended.
    :param codes: with which codes it may refuse.
    :raises Failed: if it has not done so.
    """
    if end.code not in codes:
        wanted = " or ".join(code.name for code in codes)
        raise Failed(f"it should refuse with {wanted}; {end}")

"""
:class:`Places`: who has one at the HTTP server, and who must go for a newcomer.

As the door of sessions does (:mod:`thing.core.door`), it counts and it decides, has no clock,
and does nothing to anybody. But nobody who comes is turned away here: whether somebody asks for
the server's health, or has the token, is known only once a request of his has been read.
"""

from __future__ import annotations

from collections import Counter
from typing import Generic, Protocol, TypeVar

from thing.errors import ThingError

MAX_STRANGERS = 128
"""How many connections at once that have proved nothing; one beyond displaces another."""

MAX_ADMITTED = 128
"""How many at once that were answered what not everybody is; readers of events are among them."""

HTTP_LIMITS = ("strangers", "admitted")
"""What connections are cut off for, and requests refused."""


class NoPlace(ThingError):
    """There is no place for one more that may be answered what not everybody is."""


class Visitor(Protocol):
    """What is known here of a connection."""

    network: str
    """By what network it is counted; of unix sockets it is empty."""

    @property
    def idle(self) -> bool:
        """Whether nothing is answered on it just now but what everybody may ask."""


V = TypeVar("V", bound=Visitor)


class Places(Generic[V]):
    """
    The places of one server: some for strangers, as many others for those that were admitted.

    Strangers have proved nothing. If one more than there are places comes, the network that has
    the most of them gives up its oldest: whoever holds many keeps out nobody but himself. Who asks
    what not everybody may, and is answered, is admitted, and no stranger takes that place; if all
    are taken, the one goes that was admitted first and is idle.

    :ivar strangers: who has proved nothing, the oldest first.
    :ivar admitted: who has, in the order in which they did.
    """

    def __init__(self, maxStrangers: int = MAX_STRANGERS, maxAdmitted: int = MAX_ADMITTED) -> None:
        """
        :param maxStrangers: how many places strangers have.
        :param maxAdmitted: how many others have.
        """
        self.strangers: dict[V, None] = {}
        self.admitted: dict[V, None] = {}
        self._maxStrangers = maxStrangers
        self._maxAdmitted = maxAdmitted
        self._perNetwork: Counter[str] = Counter()  # Of the strangers.

    def enter(self, newcomer: V) -> V | None:
        """
        Give a place to a connection of which nothing is known yet.

        :param newcomer: the connection.
        :return: who must go for it, and has no place any more; None if nobody.
        """
        self.strangers[newcomer] = None
        self._perNetwork[newcomer.network] += 1
        if len(self.strangers) <= self._maxStrangers:
            return None
        most = max(self._perNetwork.values())
        oldest = next(each for each in self.strangers if self._perNetwork[each.network] == most)
        self.leave(oldest)
        return oldest

    def admit(self, stranger: V) -> V | None:
        """
        Give a better place to a stranger who may be answered what not everybody is.

        :param stranger: the connection; nothing happens to one that has such a place, or none.
        :return: who must go for it, and has no place any more; None if nobody.
        :raises NoPlace: if all such places are taken, and none is idle.
        """
        if stranger not in self.strangers:
            return None
        idle = None
        if len(self.admitted) >= self._maxAdmitted:
            idle = next((each for each in self.admitted if each.idle), None)
            if idle is None:
                raise NoPlace(f"none of {len(self.admitted)} connections is idle")
            self.leave(idle)
        self.leave(stranger)
        self.admitted[stranger] = None
        return idle

    def leave(self, visitor: V) -> None:
        """
        Free a place.

        :param visitor: who has it; nothing happens if it has none.
        """
        self.admitted.pop(visitor, None)
        if visitor in self.strangers:
            del self.strangers[visitor]
            self._perNetwork[visitor.network] -= 1
            if not self._perNetwork[visitor.network]:
                del self._perNetwork[visitor.network]

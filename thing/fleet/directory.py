"""
The things that this node knows: which session each has, or how its last one ended.

Nothing happens here: who comes and goes is told by the registry of this node's sessions, which
tells it to others, too.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from thing.fleet.model import (
    Ending,
    Filter,
    NotGone,
    NotPresent,
    Page,
    Status,
    ThingRecord,
    searchText,
)
from thing.fleet.order import idAt, placeOf
from thing.fleet.sessions import LocalSession

MOST_GONE = 100_000
"""How many things that are gone are remembered; who went first is forgotten first."""

LOOKED = 2000
"""How many things are looked at in one go: others wait meanwhile."""

MOST_ENDINGS = 5
"""How many ends of earlier sessions are remembered of each thing."""


@dataclass(slots=True)
class _Known:
    """A thing that is or was here."""

    place: str
    """Where its id is in the order."""
    here: LocalSession | None = None
    last: ThingRecord | None = None
    """Once it is gone."""
    text: str = ""
    """What it is searched by."""
    epoch: int = 0
    endings: deque[Ending] = field(default_factory=lambda: deque(maxlen=MOST_ENDINGS))

    @property
    def status(self) -> Status:
        """Whether it is here."""
        if self.here is None:
            return Status.GONE
        return Status.LATE if self.here.late else Status.PRESENT


class Directory:
    """Things by their ids, in order, and what is known of each."""

    def __init__(
        self, node: str, wallClock: Callable[[], float], mostGone: int = MOST_GONE
    ) -> None:
        """
        :param node: this node's name.
        :param wallClock: tells the time of day, seconds.
        :param mostGone: how many things that are gone to remember.
        """
        self._node = node
        self._wallClock = wallClock
        self._mostGone = mostGone
        self._known: dict[str, _Known] = {}
        self._places: list[str] = []  # Of all that are known, sorted.
        self._placesHere: list[str] = []  # Of those that are here, likewise.
        self._gone: OrderedDict[str, None] = OrderedDict()  # Who went first is first.

    # What is known.

    def here(self, id: str) -> LocalSession | None:
        """
        Find a thing's session.

        :param id: which thing.
        :return: its session; None if it is not here.
        """
        known = self._known.get(id)
        return None if known is None else known.here

    def epoch(self, id: str) -> int:
        """
        Tell the largest epoch of a thing.

        :param id: which thing.
        :return: its epoch; 0 of one that is not known.
        """
        known = self._known.get(id)
        return 0 if known is None else known.epoch

    def find(self, id: str) -> ThingRecord | None:
        """
        Tell what is known of one thing, here or gone.

        :param id: which.
        :return: the record, or None.
        """
        known = self._known.get(id)
        return None if known is None else self._recordOf(known)

    def page(self, after: str, limit: int, wanted: Filter) -> Page:
        """
        List things in the order of their ids, as far as one look goes.

        :param after: the id behind which to begin; the empty string for the first.
        :param limit: how many at most.
        :param wanted: which.
        :return: a slice of the page; it may be short, and another follow all the same.
        """
        found: list[ThingRecord] = []
        for looked, (id, record) in enumerate(self._list(after, wanted), 1):
            if record is not None:
                if len(found) == limit:
                    return Page(tuple(found), found[-1].id)
                found.append(record)
            if looked == LOOKED:
                return Page(tuple(found), id)
        return Page(tuple(found), None)

    def _list(self, after: str, wanted: Filter) -> Iterator[tuple[str, ThingRecord | None]]:
        """Of each thing that is looked at, its id, and its record if it is wanted."""
        places = self._places if wanted.status is Status.GONE else self._placesHere
        for at in range(bisect_right(places, placeOf(after)) if after else 0, len(places)):
            id = idAt(places[at])
            known = self._known[id]
            node = known.last.node if known.last else self._node
            fits = wanted.admits(known.status, node, known.text)
            yield id, self._recordOf(known) if fits else None

    # What becomes of it.

    def enter(self, session: LocalSession) -> LocalSession | None:
        """
        Let a thing have a session from now on.

        :param session: the session, which is up.
        :return: the session that it had, if it is here already.
        """
        agreed = session.protocol.session
        assert agreed is not None, "the session is up"
        known = self._known.get(session.id)
        if known is None:
            known = self._known[session.id] = _Known(placeOf(session.id))
            insort(self._places, known.place)
        older = known.here
        if older is None:
            insort(self._placesHere, known.place)
        known.epoch = session.epoch
        known.here, known.last = session, None
        peer = agreed.peer
        known.text = searchText(session.id, peer.name, peer.fingerprint, session.address)
        self._gone.pop(session.id, None)
        return older

    def raiseEpoch(self, id: str, epoch: int) -> None:
        """
        Let no later session of a thing have a smaller epoch than one elsewhere.

        :param id: which thing.
        :param epoch: of a session that it has or had, anywhere.
        """
        known = self._known.get(id)
        if known is not None:
            known.epoch = max(known.epoch, epoch)

    def remember(self, session: LocalSession, cause: str, detail: str) -> None:
        """
        Remember how a session ended, as long as its thing is known.

        :param session: the session, which is over now.
        :param cause: why, as :class:`~thing.events.Cause` names it.
        :param detail: why, in words.
        """
        known = self._known.get(session.id)
        if known is not None:
            now = self._wallClock()
            known.endings.appendleft(
                Ending(session.session, self._node, session.since, now, cause, detail)
            )

    def leave(self, session: LocalSession) -> None:
        """
        Let a thing be here no more, though it may be remembered.

        :param session: the session that it had.
        """
        known = self._known[session.id]
        known.here = None
        known.last = self._record(session, known)
        _takeOut(self._placesHere, known.place)
        if session.onlyItsOwn:
            self._forget(session.id)  # Of a session's own name nobody will come again.
            return
        self._gone[session.id] = None
        if len(self._gone) > self._mostGone:
            self._forget(self._gone.popitem(last=False)[0])

    def _forget(self, id: str) -> None:
        _takeOut(self._places, self._known.pop(id).place)

    def forget(self, id: str) -> None:
        """
        Remember a thing no more that is gone.

        :param id: which.
        :raises NotPresent: if it is not known, or :class:`NotGone` while it is here.
        """
        known = self._known.get(id)
        if known is None:
            raise NotPresent(f"nobody has heard of {id}")
        if known.here is not None:
            raise NotGone(f"{id} is here")
        del self._gone[id]
        self._forget(id)

    # Records.

    def _recordOf(self, known: _Known) -> ThingRecord:
        if known.here is not None:
            return self._record(known.here, known)
        assert known.last is not None, "who is not here was"
        return known.last

    def _record(self, session: LocalSession, known: _Known) -> ThingRecord:
        protocol = session.protocol
        agreed = protocol.session
        assert agreed is not None, "the session was up"
        gone = known.here is not session or protocol.termination is not None
        now = self._wallClock()
        silence = None if gone else protocol.silence
        return ThingRecord(
            id=session.id,
            name=agreed.peer.name,
            fingerprint=agreed.peer.fingerprint,
            status=Status.GONE if gone else known.status,
            node=self._node,
            session=session.session,
            epoch=session.epoch,
            sequence=session.sequence,
            since=session.since,
            lastSeen=now if silence is None else now - silence,
            address=session.address,
            group=agreed.group,
            aead=agreed.aead,
            resumed=agreed.resumed,
            traffic=None if gone else session.traffic,
            endings=tuple(known.endings),
        )


def _takeOut(places: list[str], place: str) -> None:
    """Take a place that is there out of a sorted list."""
    del places[bisect_right(places, place) - 1]

"""
:class:`Reaches`: the reaches of one node, their places, and what is told of them.

Specification, "Reaching". Who may ask for one, and how, is in :mod:`thing.fleet.operators`; what
one of them is, in :mod:`thing.fleet.reach`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    TimeoutError,
    execute,
    maybeDeferred,
    succeed,
)
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.core.rates import RateLimiter
from thing.errors import ErrorCode, LocalProtocolError, SessionEnded, StopCode, StreamRefused
from thing.fleet.interfaces import IReaches
from thing.fleet.local import LocalRegistry
from thing.fleet.model import Kind, NotPresent, ReachRecord
from thing.fleet.reach import Reach, fromThing
from thing.fleet.sessions import LocalSession
from thing.logger import Logger
from thing.session.protocol import ThingProtocol
from thing.session.relay import factoryOf
from thing.trust.permits import REACH

MOST_OPEN = 1000
"""How many reaches a node has at once, those that are being opened among them."""

MOST_OF_ONE = 256
"""How many of them one operator has."""

ANSWER_TIME = 9.0
"""How long a thing may take to accept, seconds: who asks for a reach waits for ten."""

REFUSALS_LOGGED = 10
"""How many refusals are logged each second, one by one; of the rest the number is."""

OPENED, OTHER = "OPENED", "OTHER"
"""What came of a reach that was not refused; of one that was with a code that has no name."""

OUTCOMES = (OPENED, *(code.name for code in StopCode), OTHER)
"""All that can come of a reach."""

Way = Callable[[Reach, IProtocolFactory], Deferred[IProtocol]]
"""
Opens the far end of a reach: fires with the protocol, or fails with
:class:`~thing.errors.StreamRefused` and what the operator is to be told; may be cancelled.
"""


@implementer(IReaches)
class Reaches:
    """
    The reaches by way of one node.

    :ivar outcomes: how many were asked for, by what came of it, one of :data:`OUTCOMES`.
    :ivar elsewhere: opens the far end for a thing that is not on this node.
    """

    _log = Logger()

    def __init__(
        self, local: LocalRegistry, *, mostOpen: int = MOST_OPEN, mostOfOne: int = MOST_OF_ONE
    ) -> None:
        """
        :param local: the sessions of this node.
        :param mostOpen: how many there may be at once.
        :param mostOfOne: how many of them one operator may have.
        """
        self.outcomes = Counter(dict.fromkeys(OUTCOMES, 0))
        self.elsewhere: Way = self._nowhere
        self._local = local
        self._clock = local.factory.clock
        self._mostOpen = mostOpen
        self._mostOfOne = mostOfOne
        self._held: dict[str, Reach] = {}  # With those that are being opened.
        self._heldBy: Counter[str] = Counter()
        self._heldTo: dict[LocalSession, dict[str, Reach]] = {}
        self._opening: dict[str, Deferred[IProtocol]] = {}
        self._passed = (0, 0)
        self._refusals = RateLimiter(REFUSALS_LOGGED)
        local.departing.append(self._thingLeaves)

    # What can be asked.

    @property
    def here(self) -> Reaches:
        """These: no other node's are known here."""
        return self

    @property
    def open(self) -> list[Reach]:
        """Those to things of this node that are open."""
        return [reach for reach in self._held.values() if reach.isTold]

    @property
    def octets(self) -> tuple[int, int]:
        """How many octets were passed so far, to things of this node and from them."""
        up, down = self._passed
        for reach in self.open:
            up, down = up + reach.octetsUp, down + reach.octetsDown
        return up, down

    def of(self, asker: ThingProtocol) -> list[Reach]:
        """
        List those that one session asked for.

        :param asker: the session.
        :return: all that are open, or being opened.
        """
        return [reach for reach in self._held.values() if reach.asker is asker]

    def listed(self, thing: str | None = None) -> Deferred[tuple[list[ReachRecord], bool]]:
        """
        List the open reaches to things of this node.

        :param thing: only those to this one; None for all.
        :return: fires with them, and with whether these are all.
        """
        return succeed((self.records(thing), True))

    def records(self, thing: str | None = None) -> list[ReachRecord]:
        """
        Tell what is known of the open reaches to things of this node.

        :param thing: only of those to this one; None for all.
        :return: a record of each.
        """
        wanted = [reach for reach in self.open if thing in (None, reach.asked.thing)]
        return [reach.record(self._local.node) for reach in wanted]

    def end(self, id: str) -> Deferred[None]:
        """
        End a reach that is open.

        :param id: which.
        :return: fires once it is ended; fails with ``NotPresent``.
        """
        return execute(self._end, id)

    def _end(self, id: str) -> None:
        reach = self._held.get(id)
        if reach is None or reach.since is None:
            raise NotPresent(f"there is no reach {id}")
        reach.end(StopCode.ENDED)

    # Opening.

    def ask(self, reach: Reach) -> Deferred[IProtocolFactory]:
        """
        Open a reach, if that may be, as far as the thing.

        :param reach: a new one.
        :return: fires with what builds the near end; when that has its stream, octets pass.
            Fails with :class:`~thing.errors.StreamRefused`, and the code that the operator is to
            be told. It may be cancelled.
        """
        answer: Deferred[IProtocolFactory] = Deferred(lambda _: self._giveUp(reach))
        objection = self._objection(reach)
        if objection is not None:
            self._refuse(reach, objection)
            answer.errback(StreamRefused(objection))
            return answer
        self._hold(reach)
        connecting = maybeDeferred(self._connect, reach)
        self._opening[reach.asked.id] = connecting
        connecting.addBoth(self._connected, reach, answer)
        return answer

    def _objection(self, reach: Reach) -> StopCode | None:
        """Why it may not be, whether the thing is there or not."""
        asked = reach.asked
        if not reach.isPermitted():
            return StopCode.NOT_PERMITTED
        if len(self._held) >= self._mostOpen or self._heldBy[asked.key] >= self._mostOfOne:
            return StopCode.BUSY
        return StopCode.FAILED if asked.id in self._held else None

    def _hold(self, reach: Reach) -> None:
        self._held[reach.asked.id] = reach
        self._heldBy[reach.asked.key] += 1
        reach.begun = self._begun

    def _release(self, reach: Reach) -> None:
        id, key, session = reach.asked.id, reach.asked.key, reach.session
        del self._held[id]
        self._heldBy[key] -= 1
        if not self._heldBy[key]:
            del self._heldBy[key]
        if session is not None:
            del self._heldTo[session][id]
            if not self._heldTo[session]:
                del self._heldTo[session]

    def _connect(self, reach: Reach) -> Deferred[IProtocol]:
        far = factoryOf(reach.far)
        try:
            reach.session = session = self._local.session(reach.asked.thing)
        except NotPresent:
            return self.elsewhere(reach, far)
        self._heldTo.setdefault(session, {})[reach.asked.id] = reach
        streams = session.protocol.streams
        return streams.endpoint(f"{REACH}{reach.asked.service}", ANSWER_TIME).connect(far)

    def _nowhere(self, reach: Reach, far: IProtocolFactory) -> Deferred[IProtocol]:
        isKnown = self._local.find(reach.asked.thing) is not None
        raise StreamRefused(StopCode.NOT_CONNECTED if isKnown else StopCode.UNKNOWN_THING)

    def _giveUp(self, reach: Reach, code: StopCode = StopCode.CANCELLED) -> None:
        """Nobody waits for the thing's answer any more, or it can give none."""
        opening = self._opening.get(reach.asked.id)
        if opening is not None:
            reach.reason = code
            opening.cancel()

    def _connected(self, result: Any, reach: Reach, answer: Deferred[IProtocolFactory]) -> None:
        """The thing has decided, or it will not."""
        del self._opening[reach.asked.id]
        code = self._codeOf(reach, result) if isinstance(result, Failure) else reach.reason
        if code is None and not reach.isPermitted():  # Any more.
            code = StopCode.NOT_PERMITTED
        if code is None:
            answer.callback(factoryOf(reach.near))
            if reach.near.transport is not None:
                return
            code = StopCode.CANCELLED  # It was given up in this very moment.
        self._release(reach)
        self._refuse(reach, code)
        reach.far.drop(StopCode.CANCELLED)
        if not answer.called:
            answer.errback(StreamRefused(code))

    def _codeOf(self, reach: Reach, failure: Failure) -> StopCode | int:
        """What the operator is told of a far end that did not come about."""
        error = failure.value
        if reach.reason is not None:
            return reach.reason  # It was given up.
        if isinstance(error, StreamRefused):
            code = error.code if reach.session is None else fromThing(error.code)
            return StopCode.FAILED if code == StopCode.DONE else code
        if isinstance(error, LocalProtocolError):
            isFull = error.code is ErrorCode.TOO_MANY_STREAMS
            return StopCode.BUSY if isFull else StopCode.NOT_CONNECTED
        for kind, code in _CODES.items():
            if isinstance(error, kind):
                return code
        self._local.factory.failures.log("A reach could not be opened", failure)
        return StopCode.FAILED

    def _refuse(self, reach: Reach, code: StopCode | int) -> None:
        reach.reason = code
        self.outcomes[code.name if isinstance(code, StopCode) else OTHER] += 1
        now, asked = self._clock.seconds(), reach.asked
        held = self._refusals.takeHeld(now)
        if held:
            self._log.info("{count} more reaches were refused", count=held)
        if self._refusals.passes(now):
            self._log.info(
                "{by} at {address} is refused {service} of {thing!r}: {reason}",
                by=asked.by,
                address=asked.address,
                service=asked.service,
                thing=asked.thing,
                reason=reach.whyNot,
            )

    # What becomes of them.

    def _begun(self, reach: Reach) -> None:
        asked = reach.asked
        reach.since, reach.began = self._local.wallClock(), self._clock.seconds()
        reach.over, reach.gone = self._over, self._release
        if reach.session is None:
            return  # It is told where the thing is.
        self.outcomes[OPENED] += 1
        self._log.info(
            "Reach {reach}: {by} at {address} reaches {service} of {thing!r}",
            reach=asked.id,
            by=asked.by,
            address=asked.address,
            service=asked.service,
            thing=asked.thing,
        )
        self._local.tell(reach.session, Kind.REACHED, asked.asData())

    def _over(self, reach: Reach) -> None:
        if reach.session is None:
            return
        up, down = self._passed
        self._passed = up + reach.octetsUp, down + reach.octetsDown
        assert reach.reason is not None, "it is over"
        data = {
            **reach.asked.asData(),
            "duration": self._clock.seconds() - reach.began,
            "octetsUp": reach.octetsUp,
            "octetsDown": reach.octetsDown,
            "reason": _nameOf(reach.reason),
        }
        self._log.info(
            "Reach {reach} of {thing!r} ended after {duration:.1f} s: {reason};"
            " {octetsUp} octets to the thing, {octetsDown} from it",
            thing=reach.asked.thing,
            **data,
        )
        self._local.tell(reach.session, Kind.REACH_ENDED, data)

    def _thingLeaves(self, session: LocalSession) -> None:
        for reach in [*self._heldTo.get(session, {}).values()]:
            if reach.asked.id in self._opening:
                self._giveUp(reach, StopCode.WENT_AWAY)
            else:
                reach.thingLeaves()


_CODES = {
    TimeoutError: StopCode.TIMED_OUT,
    SessionEnded: StopCode.WENT_AWAY,
    CancelledError: StopCode.CANCELLED,
}
"""What an operator is told of a failure."""


def _nameOf(code: StopCode | int) -> str | int:
    return code.name if isinstance(code, StopCode) else code

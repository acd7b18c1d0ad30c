"""
:class:`Operator`: attends to the session of an operator, who may ask for reaches and nothing else.

Specification, "Reaching". What may be reached by whom is said by :mod:`thing.trust.permits`; what
becomes of a reach that may be, is in :mod:`thing.fleet.reaches`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory
from zope.interface import implementer

from thing.errors import StopCode, StreamRefused
from thing.fleet.model import keyOf
from thing.fleet.reach import Asked, Reach
from thing.fleet.reaches import Reaches
from thing.identity import Identity, Purpose
from thing.session.addresses import formatAddress
from thing.session.attendant import Attendant
from thing.session.factory import ThingFactory
from thing.session.interfaces import IStreamServer
from thing.session.protocol import ThingProtocol
from thing.trust.permits import REACH, SERVICE_NAME, allows


class Operator(Attendant):
    """Sees to one operator's session."""

    session: ThingProtocol

    def __init__(self, session: ThingProtocol, reaches: Reaches) -> None:
        """
        :param session: the session, which is up.
        :param reaches: those of this node.
        """
        super().__init__(session)
        assert session.peer is not None, "the session is up"
        self._identity = session.peer
        self._reaches = reaches

    def streamRequested(self, label: str) -> Deferred[IProtocolFactory] | None:
        """
        Answer for a stream that the operator opens.

        :param label: ``reach:SERVICE:THING``; all others are refused.
        :return: fires with what builds this side's end of the stream; fails with
            :class:`~thing.errors.StreamRefused`. It may be cancelled.
        """
        service, _, thing = label.removeprefix(REACH).partition(":")
        if not (label.startswith(REACH) and SERVICE_NAME.fullmatch(service) and thing):
            return None
        asked = Asked(
            thing=thing,
            service=service,
            by=str(self._identity),
            key=keyOf(self._identity),
            address=formatAddress(self.session.address),
        )
        return self._reaches.ask(Reach(asked, self.session, partial(self._permits, thing, service)))

    def _permits(self, thing: str, service: str) -> bool:
        return allows(self._identity.permits, thing, service)

    def readmitted(self, identity: Identity) -> None:
        """
        Judge by what is permitted now, what is open, too.

        :param identity: the operator, as the authorizer knows it now.
        """
        self._identity = identity
        for reach in self._reaches.of(self.session):
            if reach.since is not None and not reach.isPermitted():
                reach.end(StopCode.NOT_PERMITTED)


@implementer(IStreamServer)
class NotForThings:
    """Answers things that ask for a reach: whatever they name, they may not."""

    def __init__(self, reaches: Reaches) -> None:
        """:param reaches: count it."""
        self._outcomes = reaches.outcomes

    def streamRequested(self, protocol: Any, label: str) -> None:
        """
        Refuse a stream.

        :param protocol: in whose session.
        :param label: the stream's.
        :raises StreamRefused: ``NOT_PERMITTED``.
        """
        self._outcomes[StopCode.NOT_PERMITTED.name] += 1
        raise StreamRefused(StopCode.NOT_PERMITTED)

    def doStart(self) -> None:
        """Do nothing."""

    def doStop(self) -> None:
        """Do nothing."""


def admitOperators(factory: ThingFactory, reaches: Reaches) -> None:
    """
    Have operators admitted, and refuse to things what is theirs.

    :param factory: a server's factory, with no session yet.
    :param reaches: those of this node.
    """
    factory.attendants[Purpose.OPERATOR] = partial(Operator, reaches=reaches)
    factory.serve(REACH, NotForThings(reaches))

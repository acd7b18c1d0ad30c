"""
:class:`SessionFactory`: what one session knows of the factory that built it.

The factory itself is :class:`~thing.session.factory.ThingFactory`, which knows of all sessions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from thing.core.credentials import Credential
from thing.core.limits import Limits
from thing.core.settings import ClientSettings, ServerSettings
from thing.events import Event, ResumptionTicket
from thing.identity import Identity, Purpose
from thing.session.attendant import Attendant
from thing.session.callbacks import SessionCallbacks
from thing.session.failures import Failures
from thing.session.served import Served
from thing.session.sessionset import SessionSet

P = TypeVar("P", bound=SessionCallbacks)


class SessionFactory(Protocol[P]):
    """
    What a protocol and its link know of the factory that built them.

    Each is as :class:`~thing.session.factory.ThingFactory` says.
    """

    settings: ServerSettings | ClientSettings
    authorizer: Any
    limits: Limits
    clock: IReactorTime
    jitter: Callable[[], float]
    failures: Failures
    sessions: SessionSet[P]
    guests: SessionSet[P]
    attendants: dict[Purpose, Callable[[P], Attendant]]
    observers: list[Callable[[P, Event], None]]
    served: Served

    def authorize(self, identity: Identity) -> Deferred[Identity]:
        """
        Decide whether to go on with a peer.

        :param identity: what it has proved.
        :return: fires with the identity and its name, or fails.
        """

    def observe(self, protocol: P, event: Event) -> None:
        """
        Tell the observers.

        :param protocol: whose event it is.
        :param event: the event.
        """

    def keepTicket(self, ticket: ResumptionTicket, credential: Credential) -> None:
        """
        Keep a ticket for the next connection.

        :param ticket: what the server gave.
        :param credential: what the client showed for it.
        """

    def loopLagged(self, seconds: float) -> None:
        """
        Note how late a timer came.

        :param seconds: how late.
        """

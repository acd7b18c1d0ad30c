"""
:class:`KeptTicket`: a client's ticket for its next session, in memory and for one use.

What is in it is known to the server alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from thing.core.credentials import Credential
from thing.core.settings import ClientSettings
from thing.events import ResumptionTicket


class _Kept(NamedTuple):
    """A ticket, who may use it, and when it is of use."""

    ticket: ResumptionTicket
    credential: Credential
    until: float


class KeptTicket:
    """Where a client's factory keeps the latest ticket that it was given."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: _Kept | None = None

    def keep(self, ticket: ResumptionTicket, credential: Credential, now: float) -> None:
        """
        Keep a ticket, and no other.

        :param ticket: what the server gave.
        :param credential: what the client showed for it.
        :param now: the time, seconds.
        """
        self._kept = _Kept(ticket, credential, now + ticket.lifetime)

    def take(self, settings: ClientSettings, now: float) -> ResumptionTicket | None:
        """
        Take the ticket, if it is of use; it is kept no more, whether or not it is.

        :param settings: of the connection that is to use it.
        :param now: the time, seconds.
        :return: the ticket, with the lifetime that is left, or None.
        """
        kept, self._kept = self._kept, None
        if kept is None or kept.credential is not settings.credential or not settings.wantsTicket:
            return None  # With another key it is another client.
        left = kept.until - now
        return replace(kept.ticket, lifetime=left) if left > 0 else None

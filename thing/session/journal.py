"""
:class:`Journal`: what a factory logs of its sessions and of the handshakes that came to nothing.

The lines are here, and the brake that keeps a flood of strangers from filling a disk.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IAddress

from thing.core.rates import RateLimiter
from thing.events import Cause, Session, Termination
from thing.logger import Logger
from thing.session.addresses import formatAddress

REFUSALS_LOGGED = 10
"""How many handshakes that fail are logged each second, one by one; of the rest the number is."""


class Journal:
    """The log of one factory's sessions."""

    def __init__(self, log: Logger, now: Callable[[], float]) -> None:
        """
        :param log: takes the lines.
        :param now: tells the time, seconds.
        """
        self._log = log
        self._now = now
        self._refusals = RateLimiter(REFUSALS_LOGGED)

    def established(self, session: Session, address: IAddress | None) -> None:
        """
        Log that a session is up.

        :param session: what was agreed on.
        :param address: the peer's.
        """
        self._log.info(
            "Session {sessionId} with {peer} at {address} is {established}: "
            "{group}, {aead}, TTL {ttl:g} s",
            established="resumed" if session.resumed else "established",
            sessionId=session.sessionId.hex(),
            peer=str(session.peer),
            fingerprint=session.peer.fingerprint,
            address=formatAddress(address),
            group=session.group,
            aead=session.aead,
            ttl=session.ttl,
        )

    def ended(
        self,
        session: Session | None,
        address: IAddress | None,
        termination: Termination,
        silent: bool,
    ) -> None:
        """
        Log that a session or a handshake is over, unless it is one refusal too many.

        :param session: what was agreed on; None for a handshake.
        :param address: the peer's.
        :param termination: how it ended.
        :param silent: whether nothing had come from the peer.
        """
        if session is None and (isHealthCheck(termination, silent) or not self._logsRefusal()):
            return
        sessionId = "" if session is None else session.sessionId.hex()
        self._log.info(
            "{what} with {peer} at {address} ended: {termination}",
            what=f"Session {sessionId}" if session is not None else "Handshake",
            sessionId=sessionId,
            peer="a stranger" if session is None else str(session.peer),
            address=formatAddress(address),
            termination=str(termination),
            cause=termination.cause.name,
        )

    def _logsRefusal(self) -> bool:
        """Whether one more handshake that failed gets a line of its own: a flood fills no disk."""
        now = self._now()
        held = self._refusals.takeHeld(now)
        if held:
            self._log.info("{count} more handshakes with strangers ended", count=held)
        return self._refusals.passes(now)


def isHealthCheck(termination: Termination, silent: bool) -> bool:
    """
    Tell whether the peer closed the stream without an octet, as a balancer's health check does.

    :param termination: how its connection ended.
    :param silent: whether nothing had come from it.
    :return: whether it did.
    """
    return silent and termination.cause is Cause.TRUNCATED

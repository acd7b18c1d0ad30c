"""
A session of this node, as the fleet sees it: its place in time, and what is told of it.

What becomes of it is the registry's business; it only carries what that has decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from thing.fleet.model import Traffic
from thing.session.protocol import ThingProtocol


@dataclass(slots=True, eq=False)
class LocalSession:
    """
    A session of this node.

    :ivar protocol: carries it.
    :ivar id: what its thing is called.
    :ivar key: what :func:`~thing.fleet.model.keyOf` says of its identity.
    :ivar since: when it came up, time of day, seconds.
    :ivar address: from where it came.
    :ivar epoch: its number among the sessions of its thing: a later one has a larger.
    :ivar sequence: of its latest event.
    :ivar late: whether a heartbeat is missed.
    """

    protocol: ThingProtocol
    id: str
    key: str
    since: float
    address: str
    epoch: int
    sequence: int = 0
    late: bool = False

    @property
    def session(self) -> str:
        """The session id, hexadecimal."""
        return self.protocol.sessionId

    @property
    def remaining(self) -> float:
        """How long it lives without another heartbeat, seconds; 0 if it is on its way out."""
        ttl, silence = self.protocol.ttl, self.protocol.silence
        return 0.0 if ttl is None or silence is None else max(0.0, ttl - silence)

    @property
    def traffic(self) -> Traffic:
        """What is measured of it now."""
        protocol = self.protocol
        return Traffic(
            roundTripTime=protocol.roundTripTime,
            silence=protocol.silence,
            heartbeats=protocol.heartbeats,
            octetsIn=protocol.octetsReceived,
            octetsOut=protocol.octetsSent,
            messagesIn=protocol.messagesReceived,
            messagesOut=protocol.messagesSent,
            streams=protocol.openStreams,
            creditStalls=protocol.creditStalls,
            ttl=protocol.ttl,
        )

    @property
    def onlyItsOwn(self) -> bool:
        """Whether its thing has no other session, ever: it is called after this one."""
        return self.id.endswith(markOf(self.session))


def markOf(session: str) -> str:
    """
    Tell what a thing of one session only has behind its name.

    :param session: the session id, hexadecimal.
    :return: the end of the thing's id.
    """
    return f"#{session[:16]}"


def joinedData(session: LocalSession) -> dict[str, Any]:
    """
    Tell what an event says of a session that came up.

    :param session: the session.
    :return: what JSON can hold.
    """
    agreed = session.protocol.session
    assert agreed is not None, "the session is up"
    return {
        "name": agreed.peer.name,
        "fingerprint": agreed.peer.fingerprint,
        "address": session.address,
        "ttl": agreed.ttl,
        "resumed": agreed.resumed,
    }

"""
:class:`Attendant`: sees to the session of a peer that is no thing, in the program's place.

An operator, another node, or somebody who came by an invitation has a session like any other,
but the program that serves things knows nothing of it. Who attends to which purpose is said in
:attr:`ThingFactory.attendants <thing.session.factory.ThingFactory.attendants>`.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocolFactory

from thing.identity import Identity
from thing.session.callbacks import SessionCallbacks
from thing.session.interfaces import IStreamServer


class Attendant(SessionCallbacks):
    """
    Is told what a session tells; takes nothing, unless a subclass does.

    :ivar session: the :class:`~thing.session.protocol.ThingProtocol` of the session, to be asked
        and acted on; it is told nothing but :meth:`terminated` and :meth:`connectionLost`.
    :ivar served: what is served in this session's streams, by label, in the place of what the
        factory serves.
    """

    def __init__(self, session: Any) -> None:
        """:param session: the session, which is up."""
        self.session = session
        self.served: dict[str, IProtocolFactory | IStreamServer] = {}

    def readmitted(self, identity: Identity) -> None:
        """
        Note that the peer was judged again and may stay; what it is permitted may be another.

        :param identity: the peer, as the authorizer knows it now.
        """

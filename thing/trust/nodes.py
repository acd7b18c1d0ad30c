"""
Which servers are nodes of the same fleet: the keys in a file, and what each may ask for.

What a node believes of another stands in this file alone; what a registry says is no more than
where to look.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zope.interface import implementer

from thing.errors import NotAuthorized
from thing.identity import Purpose
from thing.trust.authorized import AuthorizedThings
from thing.trust.interfaces import IThingAuthorizer, ThingIdentity


@implementer(IThingAuthorizer)
class NodesFirst:
    """
    Admits the nodes in a file as such, and has another authorizer decide about all others.

    The file is like that of the authorized things; but ``permit-reach`` in it bounds
    what a node may ask for, whoever the operator is. Without it a node may ask for nothing.

    :param keys: the file.
    :param others: decides about the others; None refuses them.
    """

    def __init__(self, keys: AuthorizedThings, others: Any) -> None:
        self._keys = keys
        self._others = others

    def authorize(self, identity: ThingIdentity) -> Any:
        """
        Admit a node, or whom the other authorizer admits.

        :param identity: what the peer has proved.
        :return: the identity of a node, with the name and the permits that the file gives it;
            or what the other authorizer returns.
        :raises NotAuthorized: if the peer is refused.
        """
        line = self._keys.lineOf(identity)
        if line is not None:
            return replace(identity, name=line.name, purpose=Purpose.NODE, permits=line.permits)
        if self._others is None:
            raise NotAuthorized(f"{identity.fingerprint} is not in {self._keys.path}")
        return self._others.authorize(identity)

"""
Who may come: what the registry says of newcomers, and how long it is waited for.

The rules of the registry are the script's, those of this node its own registry's.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from zope.interface import implementer

from thing.errors import ErrorCode, NotAuthorized
from thing.fleet.local import LocalRegistry
from thing.fleet.model import Twins, keyOf
from thing.fleet.redis.connection import RegistryAway, RegistryRefused
from thing.fleet.redis.keeper import Keeper
from thing.fleet.redis.operations import Admit
from thing.fleet.redis.rows import MALFORMED
from thing.identity import Identity
from thing.trust.interfaces import IAuthorizer

ADMISSION_TIME = 1.0
"""How long a handshake waits for the registry; then this node decides by itself. Seconds."""

BUSY_TIME = 0.5
"""With answers that come so late the registry is not asked about newcomers, seconds."""


@implementer(IAuthorizer)
class Admission:
    """Decides about newcomers by what the registry knows, or else by what this node does."""

    def __init__(self, local: LocalRegistry, keeper: Keeper) -> None:
        """
        :param local: the sessions of this node.
        :param keeper: asks the registry.
        """
        self._local = local
        self._keeper = keeper

    def authorize(self, identity: Identity) -> Deferred[Identity]:
        """
        Decide whether a thing may have a session beside, or in place of, the one it has.

        :param identity: who, with its name.
        :return: fires with the same; fails with ``NotAuthorized``.
        """
        return Deferred.fromCoroutine(self._authorize(identity))

    async def _authorize(self, identity: Identity) -> Identity:
        self._checkHere(identity)
        # When a whole fleet comes anew, questions that nobody waits for any more must not pile up.
        unique = self._local.isUnique(identity)
        if unique and self._keeper.connected and self._keeper.link.lag < BUSY_TIME:
            refuse = self._local.twins is Twins.REFUSE
            admit = Admit(id=str(identity), key=keyOf(identity), refuse=refuse)
            asking = self._keeper.ask(admit)
            try:
                answer = await asking.addTimeout(ADMISSION_TIME, self._local.factory.clock)
            except (RegistryAway, RegistryRefused, TimeoutError):
                pass
            else:
                _checkAnswer(str(identity), answer)
            # Another may have come to this node while the registry was asked.
            self._checkHere(identity)
        return identity

    def _checkHere(self, identity: Identity) -> None:
        """Raise this node's objection, if it has one."""
        objection = self._local.objection(identity)
        if objection is not None:
            raise objection


def _checkAnswer(id: str, answer: Any) -> None:
    """Raise the registry's objection, if it has one."""
    try:
        word, *rest = (part.decode() for part in answer)
        wait = int(rest[0]) / 1000 if word != "yes" else 0.0
    except MALFORMED:
        return
    if word == "key":
        raise NotAuthorized(f"{id} is here with another key", ErrorCode.IDENTITY_IN_USE, wait)
    if word == "here":
        raise NotAuthorized(f"{id} is here already", ErrorCode.IDENTITY_IN_USE, wait)
    if word == "wait":
        raise NotAuthorized(f"twins of {id} keep replacing each other", ErrorCode.SERVER_BUSY, wait)

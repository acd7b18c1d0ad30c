"""
The keys that a server announces, on their way to the client's authorizer.

What an announcement is worth is the authorizer's to say.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from thing.errors import ThingError
from thing.events import KeysAnnounced
from thing.logger import Logger
from thing.trust.interfaces import IKeyContinuity


def keepKeys(authorizer: object, announced: KeysAnnounced, log: Logger) -> None:
    """
    Have the keys of a server remembered, if its authorizer does that.

    :param authorizer: the client's.
    :param announced: the keys.
    :param log: is told if they cannot be.
    """

    def notKept(failure: Failure) -> None:
        log.warn("The server's keys are not kept: {error}", error=str(failure.value))

    if IKeyContinuity.providedBy(authorizer):
        try:
            kept = authorizer.keysAnnounced(announced.current, announced.following)
            if isinstance(kept, Deferred):
                kept.addErrback(notKept)
        except ThingError:
            notKept(Failure())  # type: ignore[no-untyped-call]

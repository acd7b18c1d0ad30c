"""
Trust by an application's own lookup, in the manner of :mod:`twisted.cred`.

A checker is told what a peer has proved and answers with its name, at once or
later. One that asks a database::

    @implementer(ICredentialsChecker)
    class ThingsInDatabase:
        credentialInterfaces = (IThingCredentials,)

        def __init__(self, pool: adbapi.ConnectionPool) -> None:
            self.pool = pool

        async def requestAvatarId(self, credentials):
            rows = await self.pool.runQuery(
                "SELECT name FROM things WHERE fingerprint = ? AND NOT revoked",
                (credentials.identity.fingerprint,),
            )
            if not rows:
                raise UnauthorizedLogin("not in the table of things")
            return rows[0][0]

    authorizer = CheckedThings(ThingsInDatabase(pool), timeout=2.0)

The avatar ID becomes the session's ``peer.name``. There is no adapter for a
portal: its checkers are used as above, and a protocol that wants an avatar
calls its realm's ``requestAvatar(peer.name, ...)`` once the session is up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from twisted.cred.checkers import ANONYMOUS, ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import LoginDenied, UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import Attribute, implementer

from thing.errors import CredentialError, ErrorCode, NotAuthorized
from thing.identity import Identity
from thing.trust.interfaces import IThingAuthorizer, ThingIdentity
from thing.trust.keys import checkName


class IThingCredentials(ICredentials):
    """The credentials of a peer of Thing, which has proved them already."""

    identity = Attribute(
        "What the peer has proved: an Identity without a name. Of a certificate, only the key "
        "is proved; whether to believe the rest is for the checker to judge."
    )


@implementer(IThingCredentials)
@dataclass(frozen=True)
class ThingCredentials:
    """
    What a checker is given.

    :param identity: what the peer has proved.
    """

    identity: Identity


@implementer(IThingAuthorizer)
class CheckedThings:
    """
    Admits whom a checker admits, by the avatar ID as the name.

    ``UnauthorizedLogin`` and ``LoginDenied`` refuse the peer, as does
    ``NotAuthorized``; so does a lookup that takes too long, which is cancelled.
    Any other failure, an avatar ID that cannot be a name among them, is the
    checker's own: it is logged whole, and the peer learns of an internal error.

    :param checker: an :class:`~twisted.cred.checkers.ICredentialsChecker` of
        :class:`IThingCredentials`; its answer may be a coroutine.
    :param timeout: how long a lookup may take, seconds; the handshake's own
        timeout ends it, too.
    :param clock: measures that; by default the reactor.
    :raises CredentialError: if the checker does not take such credentials, or
        if the timeout is not positive and finite.
    """

    def __init__(
        self,
        checker: ICredentialsChecker,
        timeout: float = 5.0,
        clock: IReactorTime | None = None,
    ) -> None:
        if not any(each.implementedBy(ThingCredentials) for each in checker.credentialInterfaces):
            raise CredentialError(f"{checker!r} does not check IThingCredentials")
        if not 0 < timeout < math.inf:
            raise CredentialError(f"a lookup cannot take {timeout:g} s")
        if clock is None:
            from twisted.internet import reactor

            clock = IReactorTime(reactor)
        self.checker = checker
        self.timeout = timeout
        self._clock = clock

    def authorize(self, identity: ThingIdentity) -> Deferred[Identity]:
        """
        Ask the checker about a peer.

        :param identity: what the peer has proved.
        :return: a Deferred of the identity with its name, or without one if the
            checker says ``ANONYMOUS``; cancelling it cancels the lookup.
        """
        request: Callable[..., Any] = self.checker.requestAvatarId
        lookup = maybeDeferred(request, ThingCredentials(identity))
        lookup.addCallbacks(partial(_named, identity), _refused)
        return self._inTime(lookup)

    def _inTime(self, lookup: Deferred[Identity]) -> Deferred[Identity]:
        """What the lookup brings, if it does in time; nobody waits for one that goes on anyway."""

        def expire() -> None:
            detail = f"the lookup took longer than {self.timeout:g} s"
            # Not the peer's fault: it may come back.
            answer.errback(NotAuthorized(detail, ErrorCode.UNDECIDED))
            lookup.cancel()

        def settle(outcome: Identity | Failure) -> None:
            if not answer.called:
                answer.callback(outcome)

        def stopTimer(outcome: Identity | Failure) -> Identity | Failure:
            if timer.active():
                timer.cancel()
            return outcome

        answer: Deferred[Identity] = Deferred(lambda _: lookup.cancel())
        timer = self._clock.callLater(self.timeout, expire)
        answer.addBoth(stopTimer)
        lookup.addBoth(settle)
        return answer


def _named(identity: Identity, avatarId: object) -> Identity:
    """The identity with the avatar ID for its name."""
    if avatarId == ANONYMOUS:
        return identity
    if isinstance(avatarId, bytes):
        avatarId = avatarId.decode("utf-8")
    if not isinstance(avatarId, str) or not avatarId:
        raise CredentialError(f"an avatar ID must be a name, not {avatarId!r:.80}")
    return replace(identity, name=checkName(avatarId))


def _refused(failure: Failure) -> Failure:
    """Put a refusal in our terms; any other failure stays what it is."""
    error = failure.value
    if not isinstance(error, (UnauthorizedLogin, LoginDenied)):
        return failure
    reason = " ".join(str(error).split()) or type(error).__name__
    raise NotAuthorized(f"the checker refused: {reason}") from None

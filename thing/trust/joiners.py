"""
Who comes by an invitation, to join and for nothing else; and whom such a one believes.

Their pre-shared keys have identities that none in a file can have, so that both sorts are taken
side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from thing.errors import CredentialError, ErrorCode, NotAuthorized
from thing.identity import CredentialKind, Identity, Purpose
from thing.logger import Logger
from thing.trust.interfaces import (
    IServerAuthorizer,
    IThingAuthorizer,
    ServerIdentity,
    ThingIdentity,
)
from thing.trust.invitations import Invitations
from thing.trust.jointoken import JoinToken, invitationOf, joinIdentity


class JoinKeys(Mapping[bytes, bytes]):
    """
    Pre-shared keys by identity: others', and the secrets of the invitations that count now.

    :param invitations: the invitations.
    :param others: the other keys.
    """

    _log = Logger()

    def __init__(self, invitations: Invitations, others: Mapping[bytes, bytes]) -> None:
        self._invitations = invitations
        self._others = others
        self._told = ""

    def __getitem__(self, identity: bytes) -> bytes:
        key: bytes | None = self.get(identity)
        if key is None:
            raise KeyError(identity)
        return key

    def get(self, identity: bytes, default: Any = None) -> Any:
        """
        Look a key up; strangers ask.

        :param identity: the identity.
        :param default: what to give if it is not known.
        :return: the key.
        :raises NotAuthorized: ``UNDECIDED`` for an invitation's, if the file of invitations cannot
            be read now; the log says so, once as long as it lasts.
        """
        invitation = invitationOf(identity)
        if invitation is None:
            return self._others.get(identity, default)
        try:
            found = self._invitations.find(invitation)
        except CredentialError as error:
            if str(error) != self._told:
                self._told = str(error)
                self._log.error("Nobody can join: {reason}", reason=self._told)
            raise NotAuthorized(str(error), ErrorCode.UNDECIDED) from error
        self._told = ""
        return default if found is None or not found.secret else found.secret

    def __iter__(self) -> Iterator[bytes]:
        yield from self._others
        with suppress(CredentialError):  # Who is not known now is told so when it comes.
            yield from (joinIdentity(each.id) for each in self._invitations.list() if each.secret)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        """The file, and nothing of any key."""
        return f"<JoinKeys {self._invitations.path}>"


@implementer(IThingAuthorizer)
class Joiners:
    """
    Admits who comes by an invitation, to join; about other pre-shared keys another one decides.

    :param invitations: the invitations.
    :param others: decides about the other keys, an :class:`IAuthorizer`; None if there are none.
    """

    def __init__(self, invitations: Invitations, others: Any = None) -> None:
        self._invitations = invitations
        self._others = others

    def authorize(self, identity: ThingIdentity) -> Identity | Deferred[Identity]:
        """
        Admit a joiner.

        :param identity: what the peer has proved.
        :return: the identity, named as its pre-shared key is; or what the other one returns.
        :raises NotAuthorized: if the invitation does not count, or as the other one does;
            ``UNDECIDED`` if the file of invitations cannot be read.
        """
        invitation = invitationOf(identity.credential)
        if identity.kind is not CredentialKind.PRESHARED or invitation is None:
            if self._others is None:
                raise NotAuthorized("the pre-shared key is no invitation's")
            decision: Identity | Deferred[Identity] = self._others.authorize(identity)
            return decision
        try:
            found = self._invitations.find(invitation)
        except CredentialError as error:
            raise NotAuthorized(str(error), ErrorCode.UNDECIDED) from error
        if found is None or not found.secret:
            raise NotAuthorized(f"the invitation {invitation} was used or withdrawn, or is over")
        return replace(
            identity,
            name=joinIdentity(invitation).decode(),
            expires=float(found.expires),
            purpose=Purpose.JOINER,
        )


@implementer(IServerAuthorizer)
class InvitingServer:
    """
    Believes the server that has a token's secret.

    :param token: the token, which is also what the joiner authenticates with.
    """

    def __init__(self, token: JoinToken) -> None:
        self.token = token

    def authorize(self, identity: ServerIdentity) -> Identity:
        """
        Admit the server.

        :param identity: what the server has proved.
        :return: the identity, named as the pre-shared key is.
        :raises NotAuthorized: if it has proved anything else.
        """
        if (
            identity.kind is not CredentialKind.PRESHARED
            or identity.credential != self.token.identity
        ):
            raise NotAuthorized("the server has not proved that it has made the token")
        return replace(identity, name=self.token.identity.decode())

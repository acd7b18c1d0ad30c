"""
Joining: a server invites things, and writes the keys of those that come into its file.

Specification, "Joining". What is durable and what follows from it is in
:mod:`thing.trust.invitations` and :mod:`thing.trust.authorizing`; here it is done in order, in the
sessions of those who come. Servers that share both files invite together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater

from thing.core.settings import ServerSettings
from thing.errors import (
    CredentialError,
    EndReason,
    LocalProtocolError,
    NotAuthorized,
    ReplyStatus,
    RequestFailed,
)
from thing.events import Termination
from thing.identity import CredentialKind, Identity, Purpose, fingerprint
from thing.logger import Logger
from thing.session.addresses import formatAddress
from thing.session.attendant import Attendant
from thing.session.factory import ThingFactory
from thing.session.joinmessages import JoinReply, JoinRequest, Refusal, encodeRefusal
from thing.session.review import LEAVE_GRACE
from thing.trust.authorized import Listing, NotListed, readListing
from thing.trust.authorizing import KeyTaken, authorizeThing, checkFree
from thing.trust.files import MAX_FILE, StrPath, readFile
from thing.trust.invitations import (
    LIFE,
    Invitation,
    Invitations,
    NameTaken,
    OtherKey,
    State,
    UnknownInvitation,
)
from thing.trust.jointoken import JoinToken, invitationOf
from thing.trust.slices import inTurns
from thing.trust.unlocking import onceUnlocked

LOOK_INTERVAL = 1.0
"""How often a joiner's invitation is looked at, seconds: another process may have changed it."""

MAX_SESSIONS = 4
"""How many sessions there may be by one invitation: a thing has one, and perhaps lost ones."""


class Inviter:
    """
    Invites things to a server, and has them join.

    It attends to the sessions of the purpose ``JOINER``, from when it is made on.
    """

    def __init__(
        self,
        factory: ThingFactory,
        invitations: Invitations,
        authorized: StrPath,
    ) -> None:
        """
        :param factory: the server's.
        :param invitations: its invitations.
        :param authorized: the file of authorized things, which the server reads, too.
        """
        self.factory = factory
        self.invitations = invitations
        self.authorized = authorized
        self._joiners: dict[str, list[Joiner]] = {}
        factory.attendants[Purpose.JOINER] = partial(Joiner, self)

    # What operators do.

    def list(self) -> list[Invitation]:
        """
        Tell the invitations, the oldest first.

        :return: those whose time is not over.
        :raises CredentialError: if their file cannot be read.
        """
        return self.invitations.list()

    async def _invite(
        self, name: str, servers: Sequence[str], life: float, confirm: bool, replaces: bool
    ) -> tuple[Invitation, JoinToken]:
        draft = JoinToken("0" * 16, bytes(32), self._fingerprints(), tuple(servers))
        await self._checkFree(name, None, replaces)
        made = await self.invitations.make(name, life, confirm, replaces)
        return made, replace(draft, invitation=made.id, key=made.secret)

    def invite(
        self,
        name: str,
        servers: Sequence[str],
        life: float = LIFE,
        confirm: bool = False,
        replace: bool = False,
    ) -> Deferred[tuple[Invitation, JoinToken]]:
        """
        Invite a thing.

        :param name: what it will be called.
        :param servers: where the server is, ``host:port`` each, 1 to 8.
        :param life: for how long the invitation counts, seconds.
        :param confirm: whether somebody must say yes to the key that comes.
        :param replace: whether the key takes the place of those that have the name.
        :return: fires with the invitation and its token. Fails with
            :exc:`~thing.trust.invitations.NameTaken` if the name is another's, or with
            :exc:`~thing.errors.CredentialError` if something cannot be, the server has no key by
            which a joiner could know it, or a file cannot be read or written: also that of the
            things, into which nothing is written yet.
        """
        return Deferred.fromCoroutine(self._invite(name, servers, life, confirm, replace))

    def withdraw(self, invitation: str) -> Deferred[Invitation]:
        """
        Have an invitation count no more; the session of who came by it ends.

        :param invitation: its id.
        :return: as :meth:`~thing.trust.invitations.Invitations.withdraw`.
        """
        return self.invitations.withdraw(invitation)

    def confirm(self, invitation: str, fingerprint: str) -> Deferred[Invitation]:
        """
        Say yes to the key that has come with an invitation.

        :param invitation: its id.
        :param fingerprint: the key's.
        :return: as :meth:`~thing.trust.invitations.Invitations.confirm`.
        """
        return self.invitations.confirm(invitation, fingerprint)

    # The server's keys.

    def _fingerprints(self) -> tuple[str, ...]:
        """By what a joiner knows the server, now and after its key has changed."""
        settings = self._settings
        following = settings.nextCredential
        keys = [self.serverKey]
        if following is not None and following.kind is CredentialKind.ED25519:
            keys.append(following.data)
        return tuple(map(fingerprint, keys))

    @property
    def serverKey(self) -> bytes:
        """
        The key by which things know the server, 32 raw octets.

        :raises CredentialError: if it has none: a joiner could not know it by a fingerprint.
        """
        settings = self._settings
        for each in (settings.credential, *settings.otherCredentials):
            if each.kind is CredentialKind.ED25519:
                return each.data
        raise CredentialError(
            "a token has the fingerprint of a raw Ed25519 key, and this server shows "
            "certificates only"
        )

    @property
    def _settings(self) -> ServerSettings:
        settings = self.factory.settings
        assert isinstance(settings, ServerSettings), "only a server invites"
        return settings

    # Those who come.

    def arrived(self, joiner: Joiner) -> None:
        """
        Note that somebody is here; if there are too many by one invitation, the first ones go.

        :param joiner: attends to the session.
        """
        here = self._joiners.setdefault(joiner.invitation, [])
        here.append(joiner)
        for each in here[:-MAX_SESSIONS]:
            each.leave(EndReason.REPLACED)

    def left(self, joiner: Joiner) -> None:
        """
        Note that somebody has gone.

        :param joiner: attended to the session.
        """
        here = [each for each in self._joiners.pop(joiner.invitation, ()) if each is not joiner]
        if here:
            self._joiners[joiner.invitation] = here

    async def refusalOf(self, invitation: str, publicKey: bytes) -> Refusal | None:
        """
        Ask whether a key could join now; if not, the invitation is to stay open for another one.

        :param invitation: the id of the invitation that it came by.
        :param publicKey: the key, 32 raw octets.
        :return: why the server would not have it; None if it would.
        :raises CredentialError: as :meth:`admit`.
        """
        try:
            known = await self.factory.judge(Identity(CredentialKind.ED25519, publicKey))
        except NotListed:
            pass
        except NotAuthorized as error:
            return Refusal.NOT_NOW if error.isPassing else Refusal.KEY_REFUSED
        else:
            if known.purpose is not Purpose.THING:
                return Refusal.KEY_TAKEN
        found = self.invitations.find(invitation)
        if found is not None and found.state is State.OPEN:
            await self._checkFree(found.name, publicKey, found.replace)
        return None

    async def _checkFree(self, name: str, publicKey: bytes | None, replaces: bool) -> None:
        """Check that a thing can be added, and that nothing else has its name."""
        listing = await self._listing()
        await self._unlocked(
            partial(checkFree, self.authorized, name, publicKey, replaces, listing)
        )
        if name.encode() in self._settings.presharedKeys:
            raise NameTaken(f"a pre-shared key has the name {name!r}")

    async def _unlocked(self, action: Callable[[], None]) -> None:
        """Do something with the file of things, once no other process holds its lock."""
        done = onceUnlocked(action, self.factory.clock)
        if isinstance(done, Deferred):
            await done

    async def admit(self, invitation: Invitation, publicKey: bytes) -> JoinReply:
        """
        Authorize the key that has claimed an invitation.

        :param invitation: the invitation, claimed or used.
        :param publicKey: the key, 32 raw octets.
        :return: what the thing is told.
        :raises CredentialError: if that cannot be, or a file cannot be written.
        """
        reply = JoinReply(invitation.name, self.serverKey)
        if invitation.state is State.USED:
            return reply
        now = datetime.fromtimestamp(self.invitations.wallClock(), timezone.utc)
        await self._unlocked(
            partial(
                authorizeThing,
                self.authorized,
                invitation.name,
                publicKey,
                f"joined {now:%Y-%m-%dT%H:%M:%SZ} by invitation {invitation.id}",
                invitation.replace,
                await self._listing(),
            )
        )
        with suppress(UnknownInvitation):  # Withdrawn this very moment: the line stands.
            await self.invitations.use(invitation.id, publicKey)
        if self.factory.trust is not None:
            await self.factory.trust.refresh()  # The thing comes with its key right away.
        return reply

    async def _listing(self) -> Listing:
        """What the file of things has now: as a rule what the server knows already."""
        trust, path = self.factory.trust, os.fspath(self.authorized)
        things = None if trust is None else trust.choice.authorizedThings
        return await inTurns(
            readListing(path, readFile(path, MAX_FILE), None if things is None else things.listing),
            partial(deferLater, self.factory.clock, 0.0),
        )


class Joiner(Attendant):
    """Attends to who came by an invitation: takes one request, to join, and nothing else."""

    _log = Logger()

    def __init__(self, inviter: Inviter, session: Any) -> None:
        """
        :param inviter: has it join.
        :param session: its session.
        """
        super().__init__(session)
        self._inviter = inviter
        self._asked = False
        self._settled: Deferred[None] | None = None
        self._looking = LoopingCall(self._look)
        self._looking.clock = inviter.factory.clock

    @property
    def invitation(self) -> str:
        """The id of the invitation that it came by."""
        peer = self.session.provedIdentity
        invitation = None if peer is None else invitationOf(peer.credential)
        assert invitation is not None, "the authorizer admits nobody else for this"
        return invitation

    def handshakeCompleted(self) -> None:
        """Look at its invitation as long as it is here."""
        self._inviter.arrived(self)
        self._looking.start(LOOK_INTERVAL, now=False)

    def terminated(self, termination: Termination) -> None:
        """Look no more."""
        self._inviter.left(self)
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> None:
        """See whether somebody has said yes, or the invitation counts no more."""
        try:
            found = self._inviter.invitations.find(self.invitation)
        except CredentialError:
            return  # That can be mended, and is told wherever somebody wants something.
        if self._settled is not None:
            if found is None or found.state is not State.WAITING:
                settled, self._settled = self._settled, None
                settled.callback(None)
        elif found is None or found.state is State.USED:
            self._looking.stop()
            self.leave(EndReason.REVOKED)

    def leave(self, reason: EndReason) -> None:
        """
        Ask it to leave, unless it is going already.

        :param reason: why.
        """
        with suppress(LocalProtocolError):
            self.session.goAway(reason, LEAVE_GRACE)

    async def requestReceived(self, data: bytes) -> bytes:
        """
        Have it join.

        :param data: its request.
        :return: the reply, perhaps after somebody has said yes.
        :raises RequestFailed: if it is no such request, or not the first.
        """
        if self._asked:
            raise RequestFailed(ReplyStatus.NOT_TAKEN)
        self._asked = True
        try:
            request = JoinRequest.parse(data)
        except CredentialError:
            raise RequestFailed(ReplyStatus.NOT_TAKEN) from None
        answer = await self._join(request.publicKey)
        if isinstance(answer, Refusal):
            self._tell(
                "{key} does not join by invitation {id}: {why}", request, why=answer.sentence
            )
            return encodeRefusal(answer)
        self._tell("{name} joins with {key} by invitation {id}", request, name=answer.name)
        return answer.encode()

    def _tell(self, text: str, request: JoinRequest, **others: str) -> None:
        self._log.info(
            text + ", from {address}",
            key=fingerprint(request.publicKey),
            id=self.invitation,
            address=formatAddress(self.session.address),
            **others,
        )

    async def _join(self, publicKey: bytes) -> JoinReply | Refusal:
        """Go from step to step; each is durable before the next."""
        try:
            refusal = await self._inviter.refusalOf(self.invitation, publicKey)
            if refusal is not None:
                return refusal
            claim = partial(self._inviter.invitations.claim, self.invitation, publicKey)
            while (invitation := await claim()).state is State.WAITING:
                self._tell(
                    "{key} waits for a yes to join by invitation {id}", JoinRequest(publicKey)
                )
                self._settled = Deferred()
                await self._settled
            return await self._inviter.admit(invitation, publicKey)
        except CredentialError as error:
            return self._refusalBy(error)

    def _refusalBy(self, error: CredentialError) -> Refusal:
        for kind, refusal in _REFUSALS.items():
            if isinstance(error, kind):
                return refusal
        self._log.error(
            "Invitation {id} waits, as something is wrong here: {reason}",
            id=self.invitation,
            reason=str(error),
        )
        return Refusal.NOT_NOW


_REFUSALS = {
    UnknownInvitation: Refusal.WITHDRAWN,
    OtherKey: Refusal.OTHER_KEY,
    NameTaken: Refusal.NAME_TAKEN,
    KeyTaken: Refusal.KEY_TAKEN,
}

"""
How a new thing joins a server: with a token once, and with its own key from then on.

Specification, "Joining". What is written here is written before anything is said that could not
be said again: who was interrupted joins with the same token and the same key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater

from thing.core.settings import ClientSettings
from thing.errors import (
    CredentialError,
    ErrorCode,
    HandshakeFailed,
    NotAuthorized,
    ThingError,
)
from thing.identity import CredentialKind, Identity, fingerprint
from thing.session.factory import ThingFactory
from thing.session.joinmessages import JoinReply, JoinRequest, Refusal, parseReply
from thing.session.protocol import ThingProtocol
from thing.trust.files import StrPath
from thing.trust.interfaces import ServerIdentity
from thing.trust.invitations import MAX_LIFE
from thing.trust.joiners import InvitingServer
from thing.trust.jointoken import JoinToken
from thing.trust.keys import IdentityKey
from thing.trust.known import KnownServers
from thing.trust.servers import PinnedServers

PATIENCE = 60.0
"""For how long it is tried again if nothing is said, seconds."""

FIRST_SESSION_TIME = 10.0
"""How long the first session may take to come up, seconds: each node reads its files anew."""

PAUSE = 2.0
"""How long after a try in vain the next one begins, seconds."""

Address = tuple[str, int]


class JoinFailed(ThingError):
    """A thing has not joined; with the same token and key it may try again."""


class NotReached(JoinFailed):
    """No server could be reached, or none could do what was asked; why, for each address."""


class OtherServer(JoinFailed):
    """A server, or the file of known servers, has another key than the token says."""


class JoinRefused(JoinFailed):
    """
    The server has refused, and would again.

    :ivar refusal: why; None if it has taken the token for none of its own.
    """

    def __init__(self, text: str, refusal: Refusal | None = None) -> None:
        """
        :param text: why, in one line.
        :param refusal: the same, if the server has said it.
        """
        self.refusal = refusal
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Joined:
    """A thing has joined: its key is authorized, and the server's is among the known ones."""

    name: str | None
    """What it is called; None if it had joined before, and was not told."""

    server: str
    """The fingerprint of the server's key."""

    address: str
    """Where the server was found: the one of the token's addresses."""

    trouble: str = ""
    """Why the first session with its own key did not come up; empty if it did."""


class Joining:
    """
    Has one thing join.

    :ivar token: its token.
    """

    def __init__(
        self,
        token: JoinToken,
        key: IdentityKey,
        knownServers: StrPath,
        *,
        endpointFor: Callable[[str, int], IStreamClientEndpoint],
        clock: IReactorTime,
        patience: float = PATIENCE,
        onAsked: Callable[[], object] = lambda: None,
    ) -> None:
        """
        :param token: its token.
        :param key: its own key, which is in a file already: what is authorized must not be lost.
        :param knownServers: the file that the server's key is written to.
        :param endpointFor: makes an endpoint of a host and a port.
        :param clock: measures time.
        :param patience: for how long it is tried again what may yet go well, seconds.
        :param onAsked: called whenever the server was asked; it may wait for somebody's yes.
        """
        self.token = token
        self._key = key
        self._path = knownServers
        self._endpointFor = endpointFor
        self._clock = clock
        self._patience = patience
        self._onAsked = onAsked
        self._deadline = 0.0
        self._faults: dict[str, str] = {}
        self._known: dict[str, KnownServers] = {}

    @property
    def whyNot(self) -> str:
        """Why asking was in vain the last time at each of the server's addresses, in one line."""
        return "; ".join(f"{text}: {fault}" for text, fault in self._faults.items())

    def run(self) -> Deferred[Joined]:
        """
        Join.

        :return: fires when the thing has joined, whether or not its first session came up; it may
            be cancelled. Fails with :exc:`JoinRefused`, with :exc:`NotReached` if no server could
            be reached in time, with :exc:`OtherServer` if one has another key than the token
            says, or else with :exc:`JoinFailed` if a file is of no use.
        """
        return Deferred.fromCoroutine(self._run())

    async def _run(self) -> Joined:
        self._checkKnown()
        self._deadline = self._clock.seconds() + self._patience
        while True:
            refused = []
            for text in self.token.servers:
                reply = await self._ask(text)
                if isinstance(reply, JoinReply):
                    return await self._finish(text, reply.name, reply.serverKey)
                if reply is Refusal.WITHDRAWN:
                    refused.append(text)
            isLate = self._clock.seconds() >= self._deadline
            if refused:
                # One of its nodes may know nothing of the token, and the next answer in a moment.
                joined = await self._comeBack(isLate or len(refused) == len(self.token.servers))
                if joined is not None:
                    return joined
            if isLate:
                raise NotReached(self.whyNot)
            await deferLater(self._clock, PAUSE)

    def _checkKnown(self) -> None:
        """See that the file of known servers does not say otherwise, before it is too late."""
        for text, (host, port) in zip(self.token.servers, self.token.addresses, strict=True):
            try:
                known = KnownServers(self._path, host, port, firstUse=True, clock=self._clock)
                known.checkExpected(self.token.fingerprints)
                held = known.fingerprints()
            except CredentialError as error:
                raise JoinFailed(str(error)) from error
            except NotAuthorized as error:
                raise OtherServer(str(error)) from error
            if held and not set(held) & set(self.token.fingerprints):
                raise OtherServer(
                    f"{known.path} has other keys for {known.server} than the token: "
                    f"{', '.join(held)}; if the token is right, take them out"
                )
            self._known[text] = known

    # With the token.

    async def _ask(self, text: str) -> JoinReply | Refusal | None:
        """Ask the server at an address; a refusal that time may change, or no answer, is noted."""
        settings = ClientSettings(credential=self.token, peerKinds=(CredentialKind.PRESHARED,))
        try:
            protocol = await self._connect(text, settings, InvitingServer(self.token))
        except HandshakeFailed as error:
            self._faults[text] = str(error)
            code = error.termination.code
            return Refusal.WITHDRAWN if code == ErrorCode.NOT_AUTHORIZED else None
        except _Unreachable as error:
            self._faults[text] = str(error)
            return None
        asked = self._clock.seconds()
        try:
            return await self._askIn(protocol, text)
        finally:
            # That somebody takes long to say yes is nobody's fault.
            self._deadline += self._clock.seconds() - asked
            protocol.goodbye()

    async def _askIn(self, protocol: ThingProtocol, text: str) -> JoinReply | None:
        asking = protocol.request(JoinRequest(self._key.publicKey).encode(), MAX_LIFE)
        self._onAsked()
        try:
            reply = parseReply(await asking)
        except CredentialError as error:
            raise JoinFailed(f"{text}: {error}") from error
        except ThingError as error:  # The session ended, or the server failed.
            self._faults[text] = str(error)
            return None
        if isinstance(reply, JoinReply):
            self._checkServer(reply.serverKey)
            return reply
        if reply is Refusal.NOT_NOW:
            self._faults[text] = reply.sentence
            return None
        raise JoinRefused(f"{text}: {reply.sentence}", reply)

    def _checkServer(self, serverKey: bytes) -> None:
        found = fingerprint(serverKey)
        if found not in self.token.fingerprints:
            raise OtherServer(
                f"the server says that its key is {found}, but the token has "
                f"{', '.join(self.token.fingerprints)}"
            )

    async def _connect(self, text: str, settings: ClientSettings, authorizer: Any) -> ThingProtocol:
        """A session that is up."""
        host, port = self.token.addresses[self.token.servers.index(text)]
        factory = ThingFactory(settings, authorizer, clock=self._clock)
        try:
            protocol: Any = await self._endpointFor(host, port).connect(factory)
        except (CancelledError, ConnectingCancelledError) as error:
            raise CancelledError from error
        except Exception as error:  # An endpoint may fail in any way.
            plain = " ".join(str(error).split()).rstrip(".")
            raise _Unreachable(plain or type(error).__name__) from error
        try:
            await protocol.whenEstablished()
        except CancelledError:
            protocol.abort()
            raise
        assert isinstance(protocol, ThingProtocol)
        return protocol

    # With the own key.

    async def _finish(self, text: str, name: str | None, serverKey: bytes) -> Joined:
        """Write down what is known now, and have the first session."""
        try:
            await self._store(serverKey)
        except (CredentialError, NotAuthorized) as error:
            raise JoinFailed(f"the key is authorized, but the server's is not: {error}") from error
        return Joined(name, fingerprint(serverKey), text, await self._trouble(text))

    async def _store(self, serverKey: bytes) -> None:
        """Write the server's key to the file of known servers, for each of its addresses."""
        for known in self._known.values():
            stored = known.authorize(ServerIdentity(Identity(CredentialKind.ED25519, serverKey)))
            if isinstance(stored, Deferred):
                await stored

    async def _trouble(self, first: str) -> str:
        """Have the first session; why there is none, or nothing if it came up."""
        end = self._clock.seconds() + FIRST_SESSION_TIME
        others = [text for text in self.token.servers if text != first]
        while True:
            faults = []
            for text in (first, *others):
                try:
                    await self._comeAs(text, self._known[text])
                except (HandshakeFailed, _Unreachable) as error:
                    faults.append(f"{text}: {error}")
                else:
                    return ""
            if self._clock.seconds() >= end:
                return "; ".join(faults)
            await deferLater(self._clock, PAUSE)

    async def _comeBack(self, isLast: bool) -> Joined | None:
        """
        Come where no token is taken any more: perhaps as it is used, and just that was not told.

        If that is in vain, this was the last try, or there is another.
        """
        others = []
        for text in self.token.servers:
            try:
                server = await self._comeAs(text, PinnedServers(self.token.fingerprints))
            except HandshakeFailed as error:
                others += [] if error.termination.byPeer else [f"{text}: {error}"]
            except _Unreachable:
                pass
            else:
                return await self._finish(text, None, server.publicKey)
        if not isLast:
            return None
        if others:
            raise OtherServer(f"not the server of the token: {'; '.join(others)}")
        raise JoinRefused(f"the token was used or withdrawn, or its time is over: {self.whyNot}")

    async def _comeAs(self, text: str, authorizer: Any) -> Identity:
        """Have a session with the own key; who the server is."""
        settings = ClientSettings(
            credential=self._key, peerKinds=(CredentialKind.ED25519,), resumption=False
        )
        protocol = await self._connect(text, settings, authorizer)
        assert protocol.provedIdentity is not None, "the session is up"
        await protocol.goodbye()
        return protocol.provedIdentity


class _Unreachable(Exception):
    """There is no stream to a server; why."""

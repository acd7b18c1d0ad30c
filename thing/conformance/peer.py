"""
One connection to an examined peer: what both roles say and hear alike.

It holds the keys and counts what must be counted, keeps to the rules as long as nobody says
otherwise, and refuses what the peer does wrong, as :class:`Failed`.
"""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from typing import Any, TypeVar, cast

from thing.conformance.line import Line
from thing.conformance.verdict import Failed, Over, judge
from thing.conformance.words import WORDS, Twists, costOf
from thing.core.capacity import Capacity
from thing.core.catalogue import MESSAGES
from thing.core.credentials import Credential
from thing.core.handshakemessages import Check, SignedCheck
from thing.core.keyschedule import (
    SIGNATURE_CONTEXTS,
    HandshakeSecrets,
    SessionSecrets,
    Transcript,
    mac,
    signatureContent,
)
from thing.core.layout import OPAQUE16, Message
from thing.core.messages import (
    CFL,
    HANDSHAKE_LIMIT,
    SFL,
    SGA,
    SNK,
    Accept,
    Credit,
    Data,
    MessageType,
    Open,
    Reject,
    Reply,
    Request,
    Role,
    Stop,
)
from thing.core.records import RECORD_LIMIT, Aead, TrafficKey
from thing.core.wire import MessageWriter
from thing.errors import ErrorCode, RemoteProtocolError, ReplyStatus, StopCode

CAPACITY = Capacity(RECORD_LIMIT, 1 << 20, 1 << 16, 100)
"""What this side takes, unless a check wants it otherwise."""

QUIET = 0.15
"""How long to wait for what must not come, seconds."""

M = TypeVar("M", bound=Message)


class Peer(ABC):
    """
    One connection.

    :ivar role: this side's role.
    :ivar line: the stream.
    :ivar say: the messages that this side says.
    :ivar theirs: those of the peer.
    :ivar capacity: what the peer takes; known once it has said it.
    :ivar credit: how much this side may have spent on the main stream.
    :ivar spent: how much it has.
    :ivar received: what the peer has spent on the main stream.
    :ivar answering: whether what the peer asks for is answered by itself.
    :ivar last: the octets of the message that came last, type included.
    :ivar session: the secrets of the session, once there is one.
    """

    role: Role
    capacity: Capacity
    secrets: HandshakeSecrets
    session: SessionSecrets
    aead: Aead

    def __init__(self, line: Line, clock: Any, patience: float, twists: Twists) -> None:
        """
        :param line: the stream.
        :param clock: tells the time, and calls back.
        :param patience: how long to wait for each answer, seconds.
        :param twists: what of the handshake is to be wrong.
        """
        self.line = line
        self.clock = clock
        self.patience = patience
        self.twists = twists
        self.writer = MessageWriter(self.role)
        self.transcript = Transcript()
        self.say = WORDS[self.role]
        self.theirs = WORDS[self.role.peer]
        self.limit = HANDSHAKE_LIMIT
        self.ours = CAPACITY
        self.credit = self.spent = self.received = self.requests = 0
        self.answering = True
        self.last = b""

    # Out.

    def send(self, *messages: Message | bytes) -> None:
        """
        Send messages, at once, whatever they are and whatever the credit.

        :param messages: each, or its octets with the type.
        """
        records = b"".join(map(self.seal, messages))
        self.line.send(records)

    def seal(self, message: Message | bytes) -> bytes:
        """
        Make a record, and count it.

        :param message: a message, or its octets with the type.
        :return: the record.
        """
        if not isinstance(message, bytes):
            self.spent += costOf(message)
            message = message.typed()
        self.writer.add(message)
        return self.writer.take()

    def empty(self) -> bytes:
        """:return: a sealed record that holds nothing, not even a type."""
        assert self.writer.key is not None, "there is a key"
        return self.writer.key.seal(b"")

    def update(self) -> None:
        """Move to the next key, and say so."""
        self.writer.update(self.clock.seconds())
        self.line.send(self.writer.take())

    async def give(self, *messages: Message) -> None:
        """
        Send messages that spend credit, each when there is enough.

        :param messages: each stands in the main stream.
        """
        for message in messages:
            while self.spent + costOf(message) > self.credit:
                await self.expect(self.theirs.credit)
            self.send(message)

    # In.

    async def receive(self, within: float | None = None) -> Message:
        """
        Wait for the next message.

        :param within: for how long at most, seconds; by default the usual patience.
        :return: the message.
        :raises Over: if it is a final word, or nothing comes any more.
        :raises Failed: if it is nothing that the peer may say, or nothing comes in time.
        """
        octets = await self._octets(self.patience if within is None else within)
        self.last = octets
        kind = octets[0]
        if kind not in MESSAGES or MessageType(kind).sender is self.role:
            raise Failed(f"it sent a message of type {kind:#04x}")
        message = MESSAGES[MessageType(kind)].decode(octets[1:])
        if isinstance(message, (Reject, SFL, CFL)):
            raise Over(message)
        if message.TYPE is self.theirs.update.TYPE:
            self.line.reader.update(self.clock.seconds())
        return message

    async def _octets(self, within: float) -> bytes:
        until = self.clock.seconds() + within
        while True:
            try:
                octets = self.line.reader.nextMessage(self.limit)
            except RemoteProtocolError as error:
                raise Failed(f"it sent a record that is wrong: {error}") from None
            if octets is not None:
                return octets
            if self.line.ended:
                raise Over(None)
            if not await self.line.changed(self.clock, until):
                raise Failed(f"nothing came for {within:g} s")

    async def expect(self, wanted: type[M], *more: type[M], within: float | None = None) -> M:
        """
        Wait for a message of some type; what may come between is taken care of.

        :param wanted: its type.
        :param more: others that will do.
        :param within: for how long at most, seconds; by default the usual patience.
        :return: the message.
        :raises Over: if the peer ends instead.
        :raises Failed: if something else comes, or nothing.
        """
        within = self.patience if within is None else within
        until = self.clock.seconds() + within
        while True:
            message = await self._before(until, wanted)
            self._note(message)
            if isinstance(message, (wanted, *more)):
                return cast(M, message)
            if not self.aside(message):
                raise Failed(f"it sent {message.TYPE.name} where {wanted.__name__} is due")

    async def _before(self, until: float, wanted: type[Message]) -> Message:
        left = until - self.clock.seconds()
        try:
            return await self.receive(left)
        except Failed as failure:
            if self.clock.seconds() < until:
                raise
            raise Failed(f"no {wanted.__name__} came in time") from failure

    def _note(self, message: Message) -> None:
        """Count what came."""
        if isinstance(message, Credit) and message.stream == 0:
            self.credit = max(self.credit, message.credit)
        self.received += costOf(message)
        if self.received > self.ours.mainCredit:
            raise Failed("it spends more on the main stream than it was granted")

    def aside(self, message: Message) -> bool:
        """
        Take care of a message that may come at any time in a session.

        :param message: the message.
        :return: whether it is one.
        """
        if self.answering and isinstance(message, Request):
            self.send(self.say.reply(message.number, ReplyStatus.NOT_TAKEN, b""))
        if self.answering and isinstance(message, Open):
            self.send(self.say.stop(message.stream, StopCode.NOT_TAKEN))
        asides = (Data, Request, Reply, Credit, Open, Accept, Stop, SNK, SGA, self.theirs.update)
        return isinstance(message, asides)

    async def quiet(self, *forbidden: type[Message], seconds: float = QUIET) -> None:
        """
        See that something does not come for a while.

        :param forbidden: what must not; the end must not in any case.
        :param seconds: for how long.
        :raises Failed: if it does.
        """
        try:
            await self.pause(seconds, *forbidden)
        except Over as end:
            raise Failed(str(end)) from None

    async def pause(self, seconds: float, *forbidden: type[Message]) -> None:
        """
        Let some time pass, and take care of what comes.

        :param seconds: how long.
        :param forbidden: what must not come.
        :raises Over: if the peer ends.
        :raises Failed: if it does something wrong.
        """
        until = self.clock.seconds() + seconds
        while (left := until - self.clock.seconds()) > 0:
            try:
                message = await self.receive(left)
            except Failed:
                if self.clock.seconds() >= until:
                    return
                raise
            self._note(message)
            if isinstance(message, forbidden):
                raise Failed(f"it sent {message.TYPE.name}")
            self.aside(message)

    # How it ends.

    async def ends(self, within: float | None = None) -> Over:
        """
        Wait for the end.

        :param within: for how long at most, seconds; by default the usual patience.
        :return: how it ended.
        :raises Failed: if it does not.
        """
        within = self.patience if within is None else within
        until = self.clock.seconds() + within
        try:
            while True:
                message = await self.receive(until - self.clock.seconds())
                self._note(message)
                self.aside(message)
        except Over as end:
            return end
        except Failed:
            if self.clock.seconds() < until:
                raise
            raise Failed("it goes on as if nothing were wrong") from None

    async def refused(self, *codes: ErrorCode, within: float | None = None) -> None:
        """
        See that the peer refuses what it was sent.

        :param codes: with one of these.
        :param within: how long that may take, seconds.
        :raises Failed: if it does not.
        """
        judge(await self.ends(within), codes)

    async def cut(self) -> None:
        """
        See that the peer ends without a word.

        :raises Failed: if it does not.
        """
        end = await self.ends()
        if end.word is not None:
            raise Failed(str(end))

    async def closed(self, seconds: float = 4.0) -> None:
        """
        See that the peer closes the stream, and sends nothing before that.

        :param seconds: within this time.
        :raises Failed: if it does not.
        """
        try:
            message = await self.receive(seconds)
        except Over as end:
            if end.word is not None:
                raise Failed(f"after the end it sent {end.word.TYPE.name}") from None
            return
        raise Failed(f"after the end it sent {message.TYPE.name}")

    @abstractmethod
    async def alive(self) -> None:
        """
        See that the peer has read all that was sent, and that the session goes on.

        :raises Failed: if it does not.
        """

    async def asked(self) -> None:
        """
        Ask something, and have the answer.

        :raises Failed: if there is none.
        """
        self.requests += 1
        self.send(self.say.request(self.requests, b""))
        try:
            reply = await self.expect(self.theirs.reply)
        except Over as end:
            raise Failed(str(end)) from None
        if reply.number != self.requests:
            raise Failed(f"it answers the request {reply.number} and not {self.requests}")

    # The handshake.

    def handshaken(self, message: Message) -> None:
        """
        Say a message of the handshake that proves nothing.

        :param message: the message.
        """
        self.put(self.twisted(message))

    def twisted(self, message: M) -> M:
        """
        Change a message as the check wants it.

        :param message: the message.
        :return: the same, or another.
        """
        change = self.twists.message.get(message.TYPE)
        return message if change is None else cast(M, change(message))

    def put(self, message: Message | bytes) -> None:
        """
        Send a message of the handshake, which enters the transcript.

        :param message: the message, or its octets with the type.
        """
        octets = message if isinstance(message, bytes) else message.typed()
        self.transcript.add(octets)
        change = self.twists.octets.get(MessageType(octets[0]))
        self.send(*((octets,) if change is None else change(octets)))

    def proved(self, message: SignedCheck, key: bytes, credential: Credential) -> None:
        """
        Say SCC or CCC.

        :param message: all but its signature and its MAC.
        :param key: the MAC's.
        :param credential: what signs.
        """
        message = self.twisted(message)
        part = message.unsigned()
        hashed = self.transcript.hashWith(part)
        signature = credential.sign(signatureContent(SIGNATURE_CONTEXTS[self.role], hashed))
        change = self.twists.signature.get(message.TYPE)
        part += OPAQUE16.write(signature if change is None else change(signature))
        self.confirmed(part, key)

    def confirmed(self, part: bytes, key: bytes) -> None:
        """
        Say a message that ends in a MAC.

        :param part: all before the MAC, type included.
        :param key: the MAC's.
        """
        made = mac(key, self.transcript.hashWith(part))
        change = self.twists.mac.get(MessageType(part[0]))
        self.put(part + (made if change is None else change(made)))

    def checkMac(self, message: Check, key: bytes) -> None:
        """
        Check the MAC of the message that came last.

        :param message: the message.
        :param key: the MAC's.
        :raises Failed: if it is wrong.
        """
        right = mac(key, self.transcript.hashWith(message.macPart(self.last)))
        if not hmac.compare_digest(right, message.mac):
            raise Failed(f"the MAC of its {message.TYPE.name} is wrong")

    def useKeys(self, clientSecret: bytes, serverSecret: bytes) -> None:
        """
        Take keys into use, for both directions.

        :param clientSecret: of what the client sends.
        :param serverSecret: of what the server sends.
        """
        now = self.clock.seconds()
        keys = [TrafficKey(self.aead, secret, now) for secret in (clientSecret, serverSecret)]
        self.writer.key, self.line.reader.key = keys if self.role is Role.CLIENT else keys[::-1]

    def established(self) -> None:
        """The session is up."""
        self.session = SessionSecrets.derive(self.secrets.mainSecret, self.transcript.hash())
        self.useKeys(self.session.clientSecret, self.session.serverSecret)
        self.limit = self.ours.recordLimit
        self.credit = self.capacity.mainCredit

    @abstractmethod
    async def handshake(self) -> None:
        """
        Go through the handshake.

        :raises Over: if the peer ends it.
        :raises Failed: if it does something wrong.
        """

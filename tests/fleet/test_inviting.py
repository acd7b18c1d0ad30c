"""A server invites, and takes in those who come: one key for each invitation, in one line."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from tests.joining import NOW, SERVER, JoinCase
from tests.pairs import firings
from tests.session.test_streams import Talk
from tests.trust.power import PowerLost, outages
from tests.trust.test_keys import read, write
from thing import testing
from thing.errors import (
    CredentialError,
    EndReason,
    ErrorCode,
    ReplyStatus,
    RequestFailed,
    SessionEnded,
    StopCode,
)
from thing.events import Cause
from thing.fleet import MemoryPresence
from thing.fleet.inviting import MAX_SESSIONS
from thing.fleet.model import Filter
from thing.identity import CredentialKind, Identity, Purpose
from thing.session.attendant import Attendant
from thing.session.joinmessages import JoinReply, JoinRequest, Refusal, parseReply
from thing.trust import IdentityKey, PresharedKey, authorized, formatPublicKey
from thing.trust.invitations import MAX_LIFE, Invitation, NameTaken, State
from thing.trust.jointoken import JoinToken


class InvitingCase(JoinCase):
    """What the tests of joiners do again and again."""

    def setUp(self) -> None:
        super().setUp()
        self.key = IdentityKey.generate()
        self.other = IdentityKey.generate()

    def ask(self, pair: testing.Pair, key: IdentityKey | None = None) -> list[Any]:
        """Ask for a key to be authorized; what comes of it."""
        answers = self.asked(pair, key or self.key)
        self.settle()
        return [parseReply(each) if isinstance(each, bytes) else each for each in answers]

    def asked(self, pair: testing.Pair, key: IdentityKey) -> list[Any]:
        """What a request for a key will fire with."""
        return firings(pair.client.request(JoinRequest(key.publicKey).encode(), MAX_LIFE))

    def stateOf(self, made: Invitation) -> State:
        """What has become of an invitation that counts."""
        found = self.state(made)
        assert found is not None
        return found.state

    def assertRefused(self, pair: testing.Pair) -> None:
        """A session did not come up, as its secret is nobody's."""
        self.assertIsNone(pair.client.session)
        self.assertEqual(pair.client.end.code, ErrorCode.NOT_AUTHORIZED)


class InviteTests(InvitingCase):
    """What an operator asks for."""

    def test_token(self) -> None:
        """A token has where the server is, who it is, and the invitation's own secret."""
        made, token = self.invited(servers=(SERVER, "[2001:db8::1]:1"), life=60)
        self.assertEqual((token.invitation, token.key), (made.id, made.secret))
        self.assertEqual(token.servers, (SERVER, "[2001:db8::1]:1"))
        self.assertEqual(token.fingerprints, (self.serverKey.fingerprint,))
        self.assertEqual(made.expires, NOW + 60)
        self.assertEqual(self.node.inviter.list(), [made])

    def test_nextKey(self) -> None:
        """If another key is to come, the token holds with that one, too."""
        following = IdentityKey.generate()
        following.save(self.path("next"))
        self.node = self.anotherNode(nextIdentity=self.path("next"))
        _, token = self.invited()
        self.assertEqual(token.fingerprints, (self.serverKey.fingerprint, following.fingerprint))

    def refused(self, *arguments: Any, error: type[Exception] = CredentialError) -> str:
        """Why there is no such invitation."""
        failure = self.failureResultOf(self.node.inviter.invite(*arguments), error)
        self.assertEqual(self.node.inviter.list(), [])
        return failure.getErrorMessage()

    def test_wrong(self) -> None:
        """Nothing is made of what cannot be an invitation."""
        self.refused("", (SERVER,))
        self.refused("a\n", (SERVER,))
        self.refused("lamp\\", (SERVER,))
        self.refused("lamp", ())
        self.refused("lamp", (SERVER,) * 9)
        self.refused("lamp", ("*:9000",))
        self.refused("lamp", (SERVER,), 0)
        self.refused("lamp", (SERVER,), MAX_LIFE + 1)
        write(self.things, b"not a line\n")
        self.assertIn(f"{self.things}:1: ", self.refused("lamp", (SERVER,)))

    def test_nameTaken(self) -> None:
        """A name that another key has is given again only if that is meant."""
        write(self.things, self.other.publicLine("lamp").encode())
        self.refused("lamp", (SERVER,), error=NameTaken)
        made, _ = self.invited(replace=True)
        self.assertTrue(made.replace)

    def test_presharedName(self) -> None:
        """A name that a pre-shared key has is not given, nor can a thing's key replace that one."""
        psk = write(self.path("psk"), b"lamp:" + b"ab" * 32 + b"\n")
        made, token = self.invited()
        self.node = self.anotherNode(presharedKeys=psk)
        for replaces in (False, True):
            inviting = self.node.inviter.invite("lamp", (SERVER,), replace=replaces)
            self.failureResultOf(inviting, NameTaken)
        self.assertIs(self.ask(self.joiner(token))[0], Refusal.NAME_TAKEN)
        self.assertIs(self.stateOf(made), State.OPEN)
        self.invited("kettle")

    def test_cannotWrite(self) -> None:
        """Where the server could not write who joins, nobody is invited, and the log need not."""
        os.mkdir(self.path("readonly"))
        things = os.path.join(self.path("readonly"), "things")
        write(things, b"# things\n")
        self.node = self.anotherNode(authorized=things)
        refused = OSError(30, "Read-only file system")
        with mock.patch("thing.trust.files.opened", side_effect=refused):
            self.assertIn(f"cannot lock {things}: Read-only", self.refused("lamp", (SERVER,)))
        self.assertEqual(read(things), b"# things\n")

    def test_noKey(self) -> None:
        """A server that no joiner could know by a fingerprint invites nobody, and says why."""
        settings = self.node.factory.settings
        credential = PresharedKey.generate(b"x")
        self.node.factory.settings = replace(settings, credential=credential)
        self.assertIn("raw Ed25519 key", self.refused("lamp", (SERVER,)))
        self.node.factory.settings = replace(
            settings, credential=credential, otherCredentials=(self.serverKey,)
        )
        self.invited()

    def test_fault(self) -> None:
        """A disk that is full is told in one line."""
        with mock.patch("os.rename", side_effect=OSError(28, "No space left")):
            self.assertIn("No space left", self.refused("lamp", (SERVER,)))


class JoinTests(InvitingCase):
    """Somebody who comes by an invitation."""

    def test_joins(self) -> None:
        """Its key is authorized in one line, it learns its name, and comes as a thing at once."""
        made, token = self.invited()
        self.clock.advance(90)
        pair = self.joiner(token)
        (reply,) = self.ask(pair)
        self.assertEqual(reply, JoinReply("lamp", self.serverKey.publicKey))
        public = formatPublicKey(self.key.publicKey)
        self.assertEqual(
            self.lines(),
            [f'name="lamp" {public} joined 2027-01-15T08:01:30Z by invitation {made.id}'],
        )
        pair.client.goodbye()
        self.settle()
        self.assertEqual(pair.client.end.cause, Cause.GOODBYE)
        thing = self.thing(self.key)
        self.assertEqual(thing.server.peer.name, "lamp")
        self.assertIs(thing.server.peer.purpose, Purpose.THING)
        found = self.state(made)
        assert found is not None
        self.assertEqual((found.state, found.fingerprint), (State.USED, self.key.fingerprint))

    def manyLines(self) -> str:
        return "".join(
            f"{formatPublicKey(number.to_bytes(32, 'big'), f'thing-{number}')}\n"
            for number in range(1000)
        )

    def test_longList(self) -> None:
        """Of a long list that the server knows, who joins costs the one line that is new."""
        write(self.things, self.manyLines().encode())
        assert self.node.factory.trust is not None
        self.node.factory.trust.reload()
        while self.clock.isBusy():
            self.clock.turn()
        read: list[int] = []
        parse = authorized.parseLine

        def counting(text: str, number: int) -> Any:
            read.append(number)
            return parse(text, number)

        self.patch(authorized, "parseLine", counting)
        _, token = self.invited()
        self.assertEqual(read, [])
        self.assertIsInstance(self.ask(self.joiner(token))[0], JoinReply)
        self.assertEqual(read, [1001])
        self.assertEqual(self.thing(self.key).server.peer.name, "lamp")

    def test_changedList(self) -> None:
        """Of one that has changed, too, nobody is told that it has joined before its key counts."""
        made, _ = self.invited()
        write(self.things, ("# changed\n" + self.manyLines()).encode())
        inviter, key = self.node.inviter, self.key.publicKey
        made = self.successResultOf(inviter.invitations.claim(made.id, key))
        admitting = Deferred.fromCoroutine(inviter.admit(made, key))
        turns = 0
        while not admitting.called:
            self.clock.turn()
            turns += 1
        self.assertGreater(turns, 8)  # The list is read twice.
        self.successResultOf(admitting)
        lamp = self.node.factory.authorizer.authorize(Identity(CredentialKind.ED25519, key))
        self.assertEqual(lamp.name, "lamp")

    def test_nothingElse(self) -> None:
        """It can do nothing but join: no message, no presence, no stream, no other request."""
        presence = MemoryPresence(self.node.factory, node="north")
        self.node.factory.serve("talk", Factory.forProtocol(Talk))
        seen: list[Any] = []
        presence.subscribe(seen.append).start()
        _, token = self.invited()
        pair = self.joiner(token)
        self.assertIs(pair.server.peer.purpose, Purpose.JOINER)
        self.assertEqual(self.node.factory.sessions, set())
        pair.client.sendMessage(b"hello")
        pair.client.setLastWord(b"farewell")
        opened = firings(pair.client.streams.endpoint("talk").connect(Factory.forProtocol(Talk)))
        asked = [firings(pair.client.request(each)) for each in (b"?", b"[" * 16000, b"{}")]
        self.settle(1)
        self.assertEqual(opened[0].code, StopCode.NOT_TAKEN)
        for (failed,) in asked:
            self.assertIsInstance(failed, RequestFailed)
            self.assertEqual(failed.status, ReplyStatus.NOT_TAKEN)
        self.assertEqual(pair.server.messages, [])
        self.assertEqual(self.successResultOf(presence.things("", 10, Filter())).things, ())
        self.assertEqual(seen, [])
        self.assertEqual(self.lines(), [])

    def test_once(self) -> None:
        """Who has asked once asks no more in this session, and joins by no other key."""
        _, token = self.invited()
        pair = self.joiner(token)
        first, second = self.asked(pair, self.key), self.asked(pair, self.other)
        self.settle()
        self.assertIsInstance(parseReply(first[0]), JoinReply)
        self.assertIsInstance(second[0], RequestFailed)
        self.assertEqual(len(self.lines()), 1)

    def test_tokenUsed(self) -> None:
        """A token that was used is of no use to whoever has stolen it."""
        _, token = self.invited()
        self.ask(self.joiner(token))
        self.assertRefused(self.joiner(token))

    def test_leaves(self) -> None:
        """Who has joined and stays is asked to leave, and so is who came and asks for nothing."""
        _, token = self.invited()
        idle, pair = self.joiner(token), self.joiner(token)
        self.ask(pair)
        self.settle(4)
        for each in (idle, pair):
            self.assertEqual(each.client.end.cause, Cause.GOODBYE)
            self.assertEqual(each.client.end.reason, EndReason.REVOKED)
        self.assertEqual(self.node.factory.guests, set())

    def test_crowd(self) -> None:
        """Who has a token takes few places with it; who comes last has the best right to one."""
        _, token = self.invited()
        pairs = [self.joiner(token) for _ in range(MAX_SESSIONS + 3)]
        self.settle(3)
        ended = [pair.client.termination is not None for pair in pairs]
        self.assertEqual(ended, [True] * 3 + [False] * MAX_SESSIONS)
        self.assertEqual(pairs[0].client.end.reason, EndReason.REPLACED)
        self.assertIsInstance(self.ask(pairs[-1])[0], JoinReply)

    def test_guessed(self) -> None:
        """A secret that is guessed, or an id, opens nothing, and nothing tells the two apart."""
        _, token = self.invited()
        ends = []
        for changed in (
            replace(token, key=bytes(32)),
            replace(token, invitation="0" * 16),
            replace(token, key=token.key[:-1] + bytes((token.key[-1] ^ 1,))),
        ):
            pair = self.joiner(changed)
            self.assertRefused(pair)
            ends.append(pair.client.end)
        self.assertEqual(len(set(map(str, ends))), 1)

    def test_withdrawn(self) -> None:
        """When an invitation is withdrawn, the session of who came by it ends."""
        for confirm in (False, True):
            made, token = self.invited(confirm=confirm)
            pair = self.joiner(token)
            answers = self.ask(pair) if confirm else []
            other = self.anotherNode()
            self.successResultOf(other.inviter.withdraw(made.id))
            self.settle(4)
            self.assertEqual(pair.client.end.cause, Cause.GOODBYE)
            self.assertEqual(pair.client.end.reason, EndReason.REVOKED)
            self.assertRefused(self.joiner(token))
            self.assertEqual(self.lines(), [])
            self.assertEqual(len(answers), 0)

    def test_expired(self) -> None:
        """When its time is over, nobody comes by it, and who is here must leave."""
        _, token = self.invited(life=20)
        pair = self.joiner(token)
        self.settle(23)
        self.assertIsNotNone(pair.client.termination)
        self.assertRefused(self.joiner(token))
        self.assertEqual(self.lines(), [])

    def test_expiredMeanwhile(self) -> None:
        """In the moment in which its time is over, a request is refused."""
        _, token = self.invited(life=20)
        pair = self.joiner(token)
        self.clock.rightNow += 20
        (refusal,) = self.ask(pair)
        self.assertIs(refusal, Refusal.WITHDRAWN)
        self.assertEqual(self.lines(), [])

    def test_twoAtOnce(self) -> None:
        """Of two who have come at once, one joins, and the other is told."""
        _, token = self.invited()
        first, second = self.joiner(token), self.joiner(token)
        answers = self.asked(first, self.key), self.asked(second, self.other)
        self.settle()
        one, two = (parseReply(each) for (each,) in answers)
        self.assertEqual(
            (one, two), (JoinReply("lamp", self.serverKey.publicKey), Refusal.OTHER_KEY)
        )
        self.assertEqual(len(self.lines()), 1)
        self.assertEqual(self.nameOf(self.key), "lamp")

    def test_nameTaken(self) -> None:
        """A name that is taken by now is not given, and nothing used up; once it is free, it is."""
        made, token = self.invited()
        held = self.other.publicLine("lamp")
        write(self.things, f"# things\n{held}\n".encode())
        self.assertIs(self.ask(self.joiner(token))[0], Refusal.NAME_TAKEN)
        self.assertEqual(self.lines(), [held])
        self.assertIs(self.stateOf(made), State.OPEN)
        write(self.things, b"# things\n")
        self.assertIsInstance(self.ask(self.joiner(token))[0], JoinReply)

    def test_replaced(self) -> None:
        """A key that takes the place of another ends that one's session, too."""
        write(self.things, f"# things\n{self.other.publicLine('lamp')}\n".encode())
        self.node = self.anotherNode()
        before = self.thing(self.other)
        self.assertIsNotNone(before.client.session)
        _, token = self.invited(replace=True)
        self.assertIsInstance(self.ask(self.joiner(token))[0], JoinReply)
        self.settle(3)
        self.assertEqual(before.client.end.reason, EndReason.REVOKED)
        self.assertEqual(len(self.lines()), 1)
        self.assertEqual(self.thing(self.key).server.peer.name, "lamp")

    def test_keyTaken(self) -> None:
        """A key that is something else already gets no second name, and another key joins."""
        for line in (
            self.key.publicLine("kettle"),
            f'name="olga",permit-reach="*:*" {self.key.publicLine()}',
        ):
            for isRead, confirm in itertools.product((True, False), (True, False)):
                write(self.things, f"# things\n{line}\n".encode())
                if isRead:
                    self.node = self.anotherNode()
                    self.node.factory.attendants[Purpose.OPERATOR] = Attendant
                made, token = self.invited(confirm=confirm)
                self.assertIs(self.ask(self.joiner(token))[0], Refusal.KEY_TAKEN)
                self.assertEqual(self.lines(), [line])
                self.assertIs(self.stateOf(made), State.OPEN)
                asking = self.ask(self.joiner(token), self.other)
                if confirm:
                    self.successResultOf(self.node.inviter.confirm(made.id, self.other.fingerprint))
                    self.settle(2)
                    self.assertEqual(self.nameOf(self.other), "lamp")
                else:
                    self.assertIsInstance(asking[0], JoinReply)

    def test_keyRevoked(self) -> None:
        """A key that is revoked does not join, and uses up nothing."""
        revoked = write(self.path("revoked"), self.key.publicLine().encode() + b"\n")
        self.node = self.anotherNode(revoked=revoked)
        made, token = self.invited()
        self.assertIs(self.ask(self.joiner(token))[0], Refusal.KEY_REFUSED)
        self.assertIs(self.stateOf(made), State.OPEN)
        self.assertIsInstance(self.ask(self.joiner(token), self.other)[0], JoinReply)

    def test_fault(self) -> None:
        """A server that cannot write says that it cannot now; later the same key joins."""
        _, token = self.invited()
        for path in (self.things, self.given["invitations"]):
            before = read(path)
            pair = self.joiner(token)
            write(path, b"damaged\n" + before)
            self.assertIs(self.ask(pair)[0], Refusal.NOT_NOW)
            write(path, before)
        self.assertIsInstance(self.ask(self.joiner(token))[0], JoinReply)

    def test_log(self) -> None:
        """What is logged of it has no secret."""
        events: list[str] = []

        def observer(event: LogEvent) -> None:
            events.append(formatEvent(event))

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        made, token = self.invited()
        self.ask(self.joiner(token))
        text = "\n".join(events)
        self.assertIn(f"lamp joins with {self.key.fingerprint} by invitation {made.id}", text)
        for secret in (token.encode(), token.encode()[20:50], made.secret.hex(), repr(made.secret)):
            self.assertNotIn(secret, text)

    def test_names(self) -> None:
        """Whatever is odd in a name but is seen is that thing's name."""
        for name in ('a",permit-reach="*:*', "# lamp", "ssh-ed25519 x", " a, b ", "Küche \\x"):
            _, token = self.invited(name)
            key = IdentityKey.generate()
            (reply,) = self.ask(self.joiner(token), key)
            self.assertEqual(reply.name, name)
            thing = self.thing(key)
            self.assertEqual(thing.server.peer.name, name)
            self.assertIs(thing.server.peer.purpose, Purpose.THING)


class ConfirmTests(InvitingCase):
    """An invitation for which somebody must say yes."""

    def waiting(self) -> tuple[Invitation, JoinToken, testing.Pair, list[Any]]:
        """Somebody who has asked, and waits."""
        made, token = self.invited(confirm=True)
        pair = self.joiner(token)
        answers = self.asked(pair, self.key)
        self.settle(30)
        self.assertEqual((answers, self.lines()), ([], []))
        (found,) = self.node.inviter.list()
        self.assertEqual((found.state, found.fingerprint), (State.WAITING, self.key.fingerprint))
        return made, token, pair, answers

    def test_confirmed(self) -> None:
        """The key waits until somebody has said yes to it, on whichever node."""
        for node in (self.node, self.anotherNode()):
            write(self.things, b"# things\n")
            made, _, _, answers = self.waiting()
            self.failureResultOf(
                node.inviter.confirm(made.id, self.other.fingerprint), CredentialError
            )
            self.settle(2)
            self.assertEqual(answers, [])
            self.successResultOf(node.inviter.confirm(made.id, self.key.fingerprint))
            self.settle(2)
            self.assertEqual(parseReply(answers[0]).name, "lamp")
            self.assertEqual(len(self.lines()), 1)
            self.successResultOf(node.inviter.withdraw(made.id))

    def test_away(self) -> None:
        """Who waits and goes may come again, before the yes or after it."""
        made, token, pair, answers = self.waiting()
        pair.cut()
        self.settle()
        self.assertIsInstance(answers[0], SessionEnded)
        self.assertIs(self.ask(self.joiner(token), self.other)[0], Refusal.OTHER_KEY)
        again = self.joiner(token)
        self.assertEqual(self.ask(again), [])
        again.cut()
        self.settle()
        self.successResultOf(self.node.inviter.confirm(made.id, self.key.fingerprint))
        self.settle(3)
        self.assertEqual(self.lines(), [])
        self.assertIsInstance(self.ask(self.joiner(token))[0], JoinReply)

    def test_fault(self) -> None:
        """While the file of invitations is at fault who waits stays; nobody is refused for good."""
        made, token, pair, answers = self.waiting()
        before = read(self.given["invitations"])
        write(self.given["invitations"], b"damaged\n")
        trust = self.node.factory.trust
        assert trust is not None
        write(self.things, b"# none yet\n")
        reviewed = trust.reload()
        self.settle(2)
        self.assertEqual(self.successResultOf(reviewed), 0)
        self.assertIsNone(pair.client.termination)
        self.assertIs(self.joiner(token).client.end.code, ErrorCode.UNDECIDED)
        write(self.given["invitations"], before)
        self.successResultOf(self.node.inviter.confirm(made.id, self.key.fingerprint))
        self.settle(2)
        self.assertEqual(parseReply(answers[0]).name, "lamp")

    def test_never(self) -> None:
        """Without a yes nobody joins, however long it takes."""
        _, token, pair, answers = self.waiting()
        self.settle(60)
        self.assertEqual(answers, [])
        self.clock.rightNow = 3600.0 - 1
        pair.cut()
        self.settle(2)
        self.assertRefused(self.joiner(token))
        self.assertEqual(self.lines(), [])

    def test_withdrawn(self) -> None:
        """A no is an invitation withdrawn; who waits is told."""
        made, _, pair, answers = self.waiting()
        self.successResultOf(self.node.inviter.withdraw(made.id))
        self.settle(4)
        self.assertIs(parseReply(answers[0]), Refusal.WITHDRAWN)
        self.assertEqual(pair.client.end.reason, EndReason.REVOKED)
        self.assertEqual(self.lines(), [])


class NodesTests(InvitingCase):
    """Nodes that share the files."""

    def test_elsewhere(self) -> None:
        """Who was invited at one node joins at another, and is known to both."""
        other = self.anotherNode()
        _, token = self.invited()
        self.assertIsInstance(self.ask(self.joiner(token, other))[0], JoinReply)
        self.assertRefused(self.joiner(token))
        self.assertEqual(self.thing(self.key, other).server.peer.name, "lamp")
        assert self.node.factory.trust is not None
        self.node.factory.trust.reload()
        self.assertEqual(self.thing(self.key).server.peer.name, "lamp")

    def test_twoAtOnce(self) -> None:
        """Of two who ask two nodes at once, one joins."""
        other = self.anotherNode()
        _, token = self.invited()
        first, second = self.joiner(token), self.joiner(token, other)
        answers = self.asked(first, self.key), self.asked(second, self.other)
        self.settle()
        replies = [parseReply(each) for (each,) in answers]
        self.assertEqual(sorted(map(type, replies), key=str), sorted((JoinReply, Refusal), key=str))
        self.assertEqual(len(self.lines()), 1)

    def test_twoInvitations(self) -> None:
        """Of two invitations by one name that come at once to two nodes, one gets it."""
        other = self.anotherNode()
        (_, one), (_, two) = self.invited(), self.invited()
        first, second = self.joiner(one), self.joiner(two, other)
        self.assertIsInstance(self.ask(first)[0], JoinReply)
        self.assertIs(self.ask(second, self.other)[0], Refusal.NAME_TAKEN)

    def test_restart(self) -> None:
        """A restart loses no invitation."""
        made, token = self.invited()
        self.node = self.anotherNode()
        self.assertEqual(self.node.inviter.list(), [made])
        self.assertIsInstance(self.ask(self.joiner(token))[0], JoinReply)


class PowerTests(InvitingCase):
    """Lost power at any moment leaves no line, or a line that works."""

    def test_eachStep(self) -> None:
        """Whatever is on the disk then, the same key joins after it, and no other does."""
        outcomes = set()
        for power in outages():
            write(self.things, b"# things\n")
            made, token = self.invited()
            pair = self.joiner(token)
            with power:
                self.asked(pair, self.key)
                self.settle()
            self.flushLoggedErrors(PowerLost)
            outcomes.add(self.afterwards(made, token))
        self.assertEqual(outcomes, {(0, "open"), (0, "claimed"), (1, "claimed"), (1, "used")})

    def afterwards(self, made: Invitation, token: JoinToken) -> tuple[int, str]:
        """What there is on the disk; a node that starts over it has the thing join."""
        node = self.anotherNode()
        found = self.state(made)
        assert found is not None
        lines = self.lines()
        if lines:
            self.assertEqual(self.nameOf(self.key), "lamp")
        if found.state is State.CLAIMED:
            stolen = self.joiner(token, node)
            self.assertIs(self.ask(stolen, self.other)[0], Refusal.OTHER_KEY)
        if found.state is not State.USED:
            (reply,) = self.ask(self.joiner(token, node))
            self.assertEqual(reply, JoinReply("lamp", self.serverKey.publicKey))
        self.assertEqual(len(self.lines()), 1)
        if lines:
            self.assertEqual(self.lines(), lines)
        self.assertEqual(self.thing(self.key, node).server.peer.name, "lamp")
        self.successResultOf(node.inviter.withdraw(made.id))
        return len(lines), found.state.value

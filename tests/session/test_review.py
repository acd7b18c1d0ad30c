"""Who is not authorized any more loses the session that is up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.task import Clock
from zope.interface import implementer

from tests.anypeer import AnyPeer
from tests.fleet.inmemory import Book
from tests.pairs import Pair, PairCase, Recorder, freshClient, freshServer
from tests.turning import TurningClock
from thing import (
    Anonymous,
    Anyone,
    CredentialKind,
    EndReason,
    ErrorCode,
    Identity,
    IdentityKey,
    NotAuthorized,
    ThingFactory,
)
from thing.events import Cause
from thing.fleet import MemoryPresence, Twins
from thing.session.review import ANSWER_TIME, AT_ONCE, IN_TURN, LEAVE_GRACE, Review
from thing.trust.interfaces import IAuthorizer
from thing.trust.preshared import PresharedKey, PresharedServer, PresharedThings


@implementer(IAuthorizer)
class Later:
    """
    Answers when the test says so.

    :ivar asked: what was asked and not answered.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[Identity, Deferred[Identity]]] = []

    def authorize(self, identity: Identity) -> Deferred[Identity]:
        answer: Deferred[Identity] = Deferred()
        self.asked.append((identity, answer))
        return answer

    def answer(self) -> None:
        """Admit the first that was asked about."""
        identity, answer = self.asked.pop(0)
        answer.callback(identity)


@implementer(IAuthorizer)
class Failing:
    """Fails as it is told."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def authorize(self, identity: Identity) -> Identity:
        raise self.error


class Stuck:
    """An authorizer that never answers about some."""

    def __init__(self, book: Book) -> None:
        self.book = book

    def authorize(self, identity: Identity) -> Identity | Deferred[Identity]:
        if self.book.names.get(identity.fingerprint, "").startswith("stuck"):
            return Deferred()
        return self.book.authorize(identity)


class ReviewCase(PairCase):
    """A server that asks about everybody who is here."""

    factory: ThingFactory

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()

    def review(self) -> list[Any]:
        """Review, for as many turns of the reactor as it takes."""
        fired: list[Any] = []
        Review(self.factory).run().addBoth(fired.append)
        for _ in range(1000):
            if fired:
                break
            self.clock.advance(0.0)
        return fired


class ReviewTests(ReviewCase):
    """Questions to an authorizer."""

    def setUp(self) -> None:
        super().setUp()
        self.book = Book()
        self.factory = ThingFactory(
            freshServer(allowAnonymous=True), self.book, clock=self.clock, jitter=lambda: 0.5
        )
        self.factory.protocol = Recorder

    def connect(self, name: str) -> Pair:
        """A thing that the book knows."""
        key = IdentityKey.generate()
        self.book.names[key.fingerprint] = name
        pair = self.pair(
            client=freshClient(credential=key),
            serverFactory=self.factory,
            clientAuthorizer=AnyPeer(),
            clock=self.clock,
        )
        if self.factory.admission is None:
            return pair.up()
        pair.connect().pump()
        return pair

    def remove(self, pair: Pair) -> None:
        """Take a thing's key out of the book."""
        del self.book.names[pair.server.peer.fingerprint]  # type: ignore[union-attr]

    def test_revoked(self) -> None:
        """A key that is gone ends its session, which is told why; all others stay."""
        pairs = [self.connect(name) for name in "abc"]
        self.remove(pairs[1])
        self.assertEqual(self.review(), [1])
        for pair in pairs:
            pair.pump()
        self.assertIs(pairs[1].client.end.cause, Cause.GOODBYE)
        self.assertIs(pairs[1].client.end.reason, EndReason.REVOKED)
        self.assertEqual([pairs[at].client.termination for at in (0, 2)], [None, None])

    def test_noAnswer(self) -> None:
        """An authorizer that never answers about some keeps nobody else from being asked about."""
        for at in range(AT_ONCE):
            self.connect(f"stuck{at}")
        self.factory.authorizer = Stuck(self.book)
        revoked = self.connect("revoked")
        self.remove(revoked)
        fired: list[int] = []
        Review(self.factory).run().addBoth(fired.append)
        self.clock.pump([0.0] * 40)
        self.assertEqual(fired, [])
        self.clock.advance(ANSWER_TIME)
        self.flushLoggedErrors(DeferredTimeout)
        self.clock.pump([0.0] * 40)
        self.assertEqual(fired, [1])
        revoked.pump()
        self.assertIs(revoked.client.end.reason, EndReason.REVOKED)
        self.assertEqual(len(self.factory.sessions), AT_ONCE)

    def test_justComing(self) -> None:
        """A key that is removed while its thing waits for admission admits nobody any more."""
        admission = self.factory.admission = Later()
        pairs = [self.connect(name) for name in "ab"]
        del self.book.names[admission.asked[0][0].fingerprint]
        self.assertEqual(self.review(), [0])
        for _ in range(2):
            admission.answer()
        self.assertEqual(len(admission.asked), 1)  # The other is asked about again.
        admission.answer()
        for pair in pairs:
            pair.pump()
        self.assertIs(pairs[0].client.end.cause, Cause.REJECTED)
        self.assertIs(pairs[0].client.end.code, ErrorCode.NOT_AUTHORIZED)
        self.assertIsNotNone(pairs[1].client.session)
        self.assertIsNone(pairs[1].client.termination)

    def test_doesNotHeed(self) -> None:
        """Who does not leave is flat-lined within seconds, whatever it sends."""
        pair = self.connect("a")
        self.remove(pair)
        pair.serverEnd.frozen = True  # It never learns of it, and goes on.
        self.review()
        pair.client.sendMessage(b"still here")
        pair.advance(LEAVE_GRACE + 0.5)
        self.assertIs(pair.server.end.cause, Cause.FLAT_LINED)
        self.assertIs(pair.server.end.reason, EndReason.REVOKED)

    def test_leavingAlready(self) -> None:
        """Who was asked to leave before, with more time, is gone within seconds, too."""
        pair = self.connect("a")
        pair.serverEnd.frozen = True
        pair.server.goAway(EndReason.SHUTDOWN, grace=20.0)
        self.remove(pair)
        self.review()
        pair.advance(LEAVE_GRACE + 0.5)
        self.assertIs(pair.server.end.cause, Cause.FLAT_LINED)
        self.assertIs(pair.server.end.reason, EndReason.REVOKED)

    def test_otherName(self) -> None:
        """Who is known by another name is asked to come back under that."""
        pair = self.connect("a")
        self.book.names[pair.server.peer.fingerprint] = "b"  # type: ignore[union-attr]
        self.assertEqual(self.review(), [1])
        pair.pump()
        self.assertIs(pair.client.end.reason, EndReason.CLOSING)

    def test_anonymous(self) -> None:
        """Who showed no key is asked about, too."""
        pair = self.pair(
            client=freshClient(credential=Anonymous()), serverFactory=self.factory, clock=self.clock
        ).up()
        self.factory.authorizer = Failing(
            NotAuthorized("no strangers", ErrorCode.CREDENTIAL_REQUIRED)
        )
        self.assertEqual(self.review(), [1])
        pair.pump()
        self.assertIs(pair.client.end.reason, EndReason.REVOKED)

    def test_authorizerFails(self) -> None:
        """An authorizer that is broken or busy ends nobody's session."""
        pairs = [self.connect(name) for name in "ab"]
        self.factory.authorizer = Failing(RuntimeError("no database"))
        self.assertEqual(self.review(), [0])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        for code in (ErrorCode.SERVER_BUSY, ErrorCode.UNDECIDED, ErrorCode.NOT_VALID_NOW):
            self.factory.authorizer = Failing(NotAuthorized("slow", code))
            self.assertEqual(self.review(), [0])
        self.assertEqual([pair.client.termination for pair in pairs], [None, None])

    def test_aFewAtOnce(self) -> None:
        """An authorizer that takes its time is asked about a few at a time."""
        pairs = [self.connect(str(number)) for number in range(3 * AT_ONCE)]
        later = self.factory.authorizer = Later()
        fired: list[Any] = []
        Review(self.factory).run().addBoth(fired.append)
        seen = 0
        while not fired:
            self.clock.advance(0.0)
            self.assertLessEqual(len(later.asked), AT_ONCE)
            if later.asked:
                later.answer()
                seen += 1
        # Who is admitted without the name it had is asked to come back.
        self.assertEqual((seen, fired), (len(pairs), [len(pairs)]))

    def test_aTurn(self) -> None:
        """Of an authorizer that answers at once, so many are asked about in a turn, by count."""

        class Session:
            termination = None
            provedIdentity = peer = Identity(CredentialKind.ED25519, bytes(32))

        class Sessions:
            reviews, clock, everybody = 0, TurningClock(), [Session()] * 1000
            asked = 0

            def judge(self, identity: Identity) -> Deferred[Identity]:
                self.asked += 1
                return succeed(identity)

            def readmit(self, session: Any, identity: Identity) -> None:
                pass

        sessions: Any = Sessions()
        reviewing = Review(sessions).run()
        turns = []
        while sessions.clock.isBusy():
            before = sessions.asked
            sessions.clock.turn()
            turns.append(sessions.asked - before)
        self.assertEqual(self.successResultOf(reviewing), 0)
        self.assertEqual(sum(turns), 1000)
        self.assertLessEqual(max(turns), IN_TURN)

    def test_endedMeanwhile(self) -> None:
        """A session that ended before it was asked about, or before the answer, is no matter."""
        pairs = [self.connect(str(number)) for number in range(2)]
        later = self.factory.authorizer = Later()
        fired: list[Any] = []
        Review(self.factory).run().addBoth(fired.append)
        self.clock.advance(0.0)
        for pair in pairs:
            pair.client.abort()
            pair.pump()
        while later.asked:
            later.asked.pop(0)[1].errback(NotAuthorized("gone"))
        self.clock.advance(0.0)
        self.assertEqual(fired, [0])

    def test_nobody(self) -> None:
        """With nobody there it is over at once."""
        self.assertEqual(self.review(), [0])


class ProofTests(ReviewCase):
    """A session lives as long as what it proved would be admitted again, and no longer."""

    def setUp(self) -> None:
        super().setUp()
        self.old, self.new = (PresharedKey.generate(b"lamp") for _ in range(2))
        self.factory = ThingFactory(freshServer(), Anyone(), clock=self.clock, jitter=lambda: 0.5)
        self.factory.protocol = Recorder
        self.share(self.old)

    def share(self, key: PresharedKey, kind: CredentialKind = CredentialKind.PRESHARED) -> None:
        """Have the server know one key from now on."""
        keys = {key.identity: key.key}
        self.factory.settings = replace(
            self.factory.settings, peerKinds=(kind,), presharedKeys=keys
        )
        self.factory.authorizer = PresharedThings(keys)

    def begin(self, key: PresharedKey) -> Pair:
        """A thing with a key, which has not begun."""
        return self.pair(
            client=freshClient(credential=key, peerKinds=(CredentialKind.PRESHARED,)),
            serverFactory=self.factory,
            clientAuthorizer=PresharedServer(key),
            clock=self.clock,
        )

    def test_sameKey(self) -> None:
        """Whose key is still there stays."""
        pair = self.begin(self.old).up()
        self.share(PresharedKey(self.old.identity, self.old.key))
        self.assertEqual(self.review(), [0])
        self.assertIsNone(pair.server.termination)

    def test_replaced(self) -> None:
        """A pre-shared key that is replaced by another of the same name ends its session."""
        pair = self.begin(self.old).up()
        self.share(self.new)
        owner = self.begin(self.new).up()
        self.assertEqual(self.review(), [1])
        pair.pump()
        self.assertIs(pair.client.end.reason, EndReason.REVOKED)
        self.assertIsNone(owner.server.termination)

    def test_replacedForAny(self) -> None:
        """So it is whoever decides about the things: that a key is ours is not his to know."""
        pair = self.begin(self.old).up()
        self.share(self.new)
        self.factory.authorizer = Anyone()
        self.assertEqual(self.review(), [1])
        pair.pump()
        self.assertIs(pair.client.end.reason, EndReason.REVOKED)

    def test_replacedMeanwhile(self) -> None:
        """A key that is replaced in the middle of its handshake admits nobody."""
        admission = self.factory.admission = Later()
        pair = self.begin(self.old).connect()
        pair.pump()
        self.share(self.new)
        self.assertEqual(self.review(), [0])
        admission.answer()
        pair.pump()
        self.assertIs(pair.client.end.code, ErrorCode.NOT_AUTHORIZED)

    def test_kindIsTakenNoMore(self) -> None:
        """Who proved what is not taken any more must leave, too."""
        self.begin(self.old).up()
        self.share(self.old, CredentialKind.ED25519)
        self.assertEqual(self.review(), [1])

    def test_ownerComesBack(self) -> None:
        """Where the session that is up stays, the owner of a stolen key gets in with a new one."""
        MemoryPresence(self.factory, node="n", twins=Twins.REFUSE)
        thief = self.begin(self.old).up()
        thief.serverEnd.frozen = True  # It does not go by itself.
        self.share(self.new)
        self.review()
        thief.advance(LEAVE_GRACE + 0.5)
        self.assertIs(thief.server.end.reason, EndReason.REVOKED)
        self.begin(self.new).up()

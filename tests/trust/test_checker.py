"""Trust by an application's own lookup."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.cred.checkers import ANONYMOUS, ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import LoginDenied, UnauthorizedLogin, UnhandledCredentials
from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.helpers import CLIENT_CREDENTIAL
from tests.pairs import PairCase
from thing.errors import CredentialError, ErrorCode, NotAuthorized
from thing.identity import CredentialKind, Identity
from thing.trust import CheckedThings, IAuthorizer, IThingCredentials, ThingCredentials

IDENTITY = Identity(CredentialKind.ED25519, CLIENT_CREDENTIAL.data)


@implementer(ICredentialsChecker)
class Checker:
    """Answers as it is told, and keeps what it was asked."""

    credentialInterfaces = (IThingCredentials,)

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer
        self.asked: list[IThingCredentials] = []

    def requestAvatarId(self, credentials: IThingCredentials) -> Any:
        self.asked.append(credentials)
        return self.answer()


def failing(error: Exception) -> Callable[[], Any]:
    """What raises an error."""

    def answer() -> Any:
        raise error

    return answer


class LookupBug(Exception):
    """What a checker's own code fails with."""


class CheckedThingsTests(SynchronousTestCase):
    """The authorizer with a checker."""

    def setUp(self) -> None:
        self.clock = Clock()

    def tearDown(self) -> None:
        """No timer is ever left behind."""
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def ask(self, answer: Callable[[], Any], **choices: Any) -> Deferred[Identity]:
        """Ask an authorizer whose checker answers so."""
        self.checker = Checker(answer)
        things = CheckedThings(self.checker, clock=self.clock, **choices)
        verifyObject(IAuthorizer, things)
        return things.authorize(IDENTITY)

    def test_credentials(self) -> None:
        """The checker is given what the peer has proved."""
        self.successResultOf(self.ask(lambda: "sensor-7"))
        (asked,) = self.checker.asked
        verifyObject(IThingCredentials, asked)
        self.assertEqual(asked.identity, IDENTITY)

    def test_names(self) -> None:
        """The avatar ID is the name: text or UTF-8, at once or later, or from a coroutine."""

        async def coroutine() -> str:
            return "Küche"

        for answer in (
            lambda: "Küche",
            lambda: b"K\xc3\xbcche",
            lambda: succeed("Küche"),
            coroutine,
        ):
            identity = self.successResultOf(self.ask(answer))
            self.assertEqual(identity, Identity(IDENTITY.kind, IDENTITY.publicKey, "Küche"))

    def test_anonymous(self) -> None:
        """Whom the checker calls anonymous has no name."""
        self.assertEqual(self.successResultOf(self.ask(lambda: ANONYMOUS)), IDENTITY)

    def test_later(self) -> None:
        """An answer may come until the last moment."""
        lookup: Deferred[str] = Deferred()
        answer = self.ask(lambda: lookup)
        self.clock.advance(4.999)
        self.assertNoResult(answer)
        lookup.callback("sensor-7")
        self.assertEqual(self.successResultOf(answer).name, "sensor-7")
        self.clock.advance(10)

    def test_refused(self) -> None:
        """A login that is not authorized, or denied, is a refusal with the checker's reason."""

        class Subclass(UnauthorizedLogin):
            pass

        for error, detail in (
            (UnauthorizedLogin("not in the table"), "the checker refused: not in the table"),
            (UnauthorizedLogin(), "the checker refused: UnauthorizedLogin"),
            (Subclass("a\nb\tc"), "the checker refused: a b c"),
            (LoginDenied("too often"), "the checker refused: too often"),
        ):
            for answer in (failing(error), lambda error=error: fail(error)):
                failure = self.failureResultOf(self.ask(answer), NotAuthorized)
                self.assertEqual(failure.value.detail, detail)
                self.assertIs(failure.value.code, ErrorCode.NOT_AUTHORIZED)

    def test_refusedInOurTerms(self) -> None:
        """A checker that refuses as an authorizer does is taken at its word."""
        error = NotAuthorized("go away", ErrorCode.CREDENTIAL_REQUIRED)
        self.assertIs(self.failureResultOf(self.ask(failing(error))).value, error)

    def test_timeout(self) -> None:
        """A lookup that takes too long is cancelled, and the peer refused."""
        cancelled: list[Deferred[str]] = []
        for timeout, choices in ((5, {}), (0.5, {"timeout": 0.5})):
            lookup: Deferred[str] = Deferred(cancelled.append)
            answer = self.ask(lambda lookup=lookup: lookup, **choices)
            self.clock.advance(timeout - 0.001)
            self.assertNoResult(answer)
            self.clock.advance(0.001)
            failure = self.failureResultOf(answer, NotAuthorized)
            self.assertEqual(failure.value.detail, f"the lookup took longer than {timeout:g} s")
            self.assertIs(cancelled[-1], lookup)

    def test_timeoutIgnored(self) -> None:
        """A lookup that goes on although it was cancelled keeps nobody waiting."""
        for late in ("sensor-7", LookupBug("too late")):
            second: Deferred[str] = Deferred()

            async def lookUp(second: Deferred[str] = second) -> str:
                try:
                    await Deferred()
                except CancelledError:
                    return await second
                return "never"

            answer = self.ask(lookUp)
            self.clock.advance(5)
            self.failureResultOf(answer, NotAuthorized)
            if isinstance(late, str):
                second.callback(late)
            else:
                second.errback(late)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_cancelled(self) -> None:
        """If nobody waits for the answer any more, the lookup is cancelled and no timer is left."""
        cancelled: list[Deferred[str]] = []
        lookup: Deferred[str] = Deferred(cancelled.append)
        answer = self.ask(lambda: lookup)
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual(cancelled, [lookup])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelledIgnored(self) -> None:
        """A lookup may go on although nobody waits for it; its end changes nothing."""
        second: Deferred[str] = Deferred()

        async def lookUp() -> str:
            try:
                await Deferred()
            except CancelledError:
                return await second
            return "never"

        answer = self.ask(lookUp)
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        second.callback("sensor-7")

    def test_otherErrors(self) -> None:
        """Any other error stays what it is: it is no refusal, but a fault on this side."""
        for error in (LookupBug("the database is gone"), UnhandledCredentials("a mistake")):
            for answer in (failing(error), lambda error=error: fail(error)):
                self.assertIs(self.failureResultOf(self.ask(answer)).value, error)

    def test_badNames(self) -> None:
        """An avatar ID that cannot be a name is a fault on this side, too."""
        for avatarId in (None, 7, True, "", b"", ["sensor-7"], "a\x1b[2J", "x" * 256, b"\xff"):
            answer = self.ask(lambda avatarId=avatarId: avatarId)
            self.failureResultOf(answer, CredentialError, UnicodeDecodeError)

    def test_badChoices(self) -> None:
        """A checker of other credentials, or a timeout that is none, is an error at the start."""
        other = Checker(lambda: "sensor-7")
        other.credentialInterfaces = (IUsernamePassword,)
        self.assertIn(
            "does not check IThingCredentials",
            str(self.assertRaises(CredentialError, CheckedThings, other, clock=self.clock)),
        )
        checker = Checker(lambda: "sensor-7")
        for timeout in (0, -1, float("nan"), float("inf")):
            self.assertRaises(CredentialError, CheckedThings, checker, timeout, self.clock)

    def test_reactor(self) -> None:
        """Without another clock, the reactor measures."""
        things = CheckedThings(Checker(lambda: "sensor-7"))
        self.assertEqual(self.successResultOf(things.authorize(IDENTITY)).name, "sensor-7")

    def test_equal(self) -> None:
        """Credentials of the same identity are the same."""
        self.assertEqual(ThingCredentials(IDENTITY), ThingCredentials(IDENTITY))


@implementer(ICredentialsChecker)
class ThingsInDatabase:
    """The checker that the module's docstring shows."""

    credentialInterfaces = (IThingCredentials,)

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool

    async def requestAvatarId(self, credentials: IThingCredentials) -> str:
        rows = await self.pool.runQuery(
            "SELECT name FROM things WHERE fingerprint = ? AND NOT revoked",
            (credentials.identity.fingerprint,),
        )
        if not rows:
            raise UnauthorizedLogin("not in the table of things")
        return rows[0][0]


class DatabaseTests(TestCase):
    """A checker that asks a real database, in threads."""

    async def test_lookup(self) -> None:
        """A thing is admitted while its row in a table says so."""
        pool = ConnectionPool("sqlite3", self.mktemp(), check_same_thread=False, cp_max=1)
        self.addCleanup(pool.close)
        await pool.runOperation("CREATE TABLE things (fingerprint, name, revoked)")
        things = CheckedThings(ThingsInDatabase(pool), timeout=60)
        for statement, refused in (
            ("DELETE FROM things WHERE name = ?", True),
            (f"INSERT INTO things VALUES ('{IDENTITY.fingerprint}', ?, FALSE)", False),
            ("UPDATE things SET revoked = TRUE WHERE name = ?", True),
        ):
            await pool.runOperation(statement, ("sensor-7",))
            if refused:
                failure = await self.assertFailure(things.authorize(IDENTITY), NotAuthorized)
                self.assertIn("not in the table of things", failure.detail)
            else:
                self.assertEqual((await things.authorize(IDENTITY)).name, "sensor-7")


class HandshakeTests(PairCase):
    """Checkers in whole handshakes."""

    def ends(self, answer: Callable[[], Any], wait: float = 0) -> tuple[Any, Any]:
        """How the session ended here and there, before it was up."""
        pair = self.pair(authorizer=None)
        things = CheckedThings(Checker(answer), timeout=0.5, clock=pair.clock)
        pair.serverFactory.authorizer = things
        pair.connect().pump()
        pair.advance(wait)
        return pair.server.termination, pair.client.termination

    def test_admitted(self) -> None:
        """A peer has the name that was looked up, however long that took."""
        lookup: Deferred[str] = Deferred()
        pair = self.pair()
        pair.serverFactory.authorizer = CheckedThings(Checker(lambda: lookup), clock=pair.clock)
        pair.connect().pump()
        self.assertIsNone(pair.server.session)
        lookup.callback("sensor-7")
        pair.pump()
        self.assertEqual(pair.server.session.peer.name, "sensor-7")

    def test_refused(self) -> None:
        """A refused peer learns that it is not authorized, this side's log why."""
        here, there = self.ends(failing(UnauthorizedLogin("not in the table")))
        self.assertIs(here.code, ErrorCode.NOT_AUTHORIZED)
        self.assertIn("the checker refused: not in the table", str(here))
        self.assertIs(there.code, ErrorCode.NOT_AUTHORIZED)
        self.assertNotIn("table", str(there))

    def test_timeout(self) -> None:
        """A peer whose lookup takes too long learns that nothing was decided: it may come back."""
        here, there = self.ends(Deferred, wait=1)
        self.assertIs(here.code, ErrorCode.UNDECIDED)
        self.assertIn("the lookup took longer than 0.5 s", str(here))
        self.assertIs(there.code, ErrorCode.UNDECIDED)

    def test_failed(self) -> None:
        """A checker that fails is logged whole; the peer learns of an internal error."""
        here, there = self.ends(failing(LookupBug("the database is gone")))
        self.assertEqual(len(self.flushLoggedErrors(LookupBug)), 1)
        self.assertIs(here.code, ErrorCode.INTERNAL_ERROR)
        self.assertIs(there.code, ErrorCode.INTERNAL_ERROR)
        self.assertNotIn("database", str(there))

    def test_peerLeaves(self) -> None:
        """If the peer leaves while it is looked up, the lookup is cancelled."""
        cancelled: list[Deferred[str]] = []
        pair = self.pair()
        things = CheckedThings(Checker(lambda: Deferred(cancelled.append)), clock=pair.clock)
        pair.serverFactory.authorizer = things
        pair.connect().pump()
        pair.client.abort()
        pair.pump()
        self.assertEqual(len(cancelled), 1)

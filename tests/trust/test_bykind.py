"""One authorizer for each kind of credential, and the one that is made of them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.helpers import SERVER_CREDENTIAL, Ed25519Credential
from tests.pairs import PairCase, freshServer
from tests.trust.test_keys import DirectoryMixin, read, write
from thing.errors import CredentialError, ErrorCode, NotAuthorized
from thing.identity import CredentialKind, Identity
from thing.trust import (
    Anyone,
    ByKind,
    IAuthorizer,
    IKeyContinuity,
    KnownServers,
    formatPublicKey,
)
from thing.trust.files import LOCK_INTERVAL, LOCK_TRIES, lockedFile

RAW = Identity(CredentialKind.ED25519, bytes(32))
X509 = Identity(CredentialKind.X509, b"key", credential=b"chain")
NOBODY = Identity(CredentialKind.NONE)


@implementer(IAuthorizer)
class Answering:
    """
    Answers what it was told to.

    :ivar asked: about whom it was asked.
    """

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.asked: list[Identity] = []

    def authorize(self, identity: Identity) -> Any:
        self.asked.append(identity)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@implementer(IKeyContinuity)
class Learning(Answering):
    """Learns next keys, too, or refuses to."""

    def __init__(self, answer: Any = None) -> None:
        super().__init__(answer)
        self.learned: list[tuple[Identity, Identity | None]] = []

    def keysAnnounced(self, current: Identity, following: Identity | None) -> None:
        self.learned.append((current, following))
        if isinstance(self.answer, Exception):
            raise self.answer


class ByKindTests(TestCase):
    """Which authorizer is asked, and what becomes of its answer."""

    def test_interfaces(self) -> None:
        """It is an authorizer, and one that can learn next keys."""
        made = ByKind({})
        self.assertTrue(verifyObject(IAuthorizer, made))
        self.assertTrue(verifyObject(IKeyContinuity, made))

    def test_dispatches(self) -> None:
        """The kind's own authorizer decides, and no other is asked."""
        raw, x509 = Answering(RAW), Answering(X509)
        made = ByKind({CredentialKind.ED25519: raw, CredentialKind.X509: x509})
        self.assertIs(made.authorize(X509), X509)
        self.assertEqual((raw.asked, x509.asked), ([], [X509]))
        self.assertIs(made.authorize(RAW), RAW)
        self.assertEqual((raw.asked, x509.asked), ([RAW], [X509]))

    def test_refuses(self) -> None:
        """A kind that nobody judges is refused, and so is a client without a key."""
        made = ByKind({CredentialKind.ED25519: Anyone()})
        for identity in (X509, NOBODY):
            error = self.assertRaises(NotAuthorized, made.authorize, identity)
            self.assertIn(identity.kind.name, error.detail)
            self.assertIs(error.code, ErrorCode.NOT_AUTHORIZED)

    def test_refusalsPass(self) -> None:
        """What the kind's authorizer raises is raised."""
        refusal = NotAuthorized("no", ErrorCode.CREDENTIAL_REQUIRED)
        made = ByKind({CredentialKind.NONE: Answering(refusal)})
        self.assertIs(self.assertRaises(NotAuthorized, made.authorize, NOBODY), refusal)

    def test_deferred(self) -> None:
        """An answer that comes later is waited for."""
        later: Deferred[Identity] = Deferred()
        self.assertIs(ByKind({CredentialKind.X509: Answering(later)}).authorize(X509), later)

    def test_peerKinds(self) -> None:
        """The settings take the kinds that are judged, in order; nobody is no kind of peer."""
        kinds = (CredentialKind.X509, CredentialKind.NONE, CredentialKind.ED25519)
        made = ByKind({kind: Anyone() for kind in kinds})
        self.assertEqual(made.peerKinds, (CredentialKind.X509, CredentialKind.ED25519))
        settings = freshServer(peerKinds=made.peerKinds)
        self.assertEqual(settings.peerKinds, made.peerKinds)

    def test_noAuthorizer(self) -> None:
        """What is no authorizer is found out at once."""
        self.assertRaises(TypeError, ByKind, {CredentialKind.X509: object()})

    def test_nextKey(self) -> None:
        """A next key is told to the current kind's authorizer, if that wants to know."""
        learning = Learning()
        made = ByKind({CredentialKind.ED25519: learning, CredentialKind.X509: Anyone()})
        made.keysAnnounced(RAW, X509)
        made.keysAnnounced(X509, RAW)
        made.keysAnnounced(NOBODY, RAW)
        self.assertEqual(learning.learned, [(RAW, X509)])

    def test_nextKeyRefused(self) -> None:
        """What is wrong with a next key is not kept from the session."""
        for error in (NotAuthorized("no"), CredentialError("cannot write")):
            made = ByKind({CredentialKind.ED25519: Learning(error)})
            raised = self.assertRaises(type(error), made.keysAnnounced, RAW, RAW)
            self.assertIs(raised, error)


class SessionTests(DirectoryMixin, PairCase):
    """Made of several, it does in a session what each does alone."""

    def setUp(self) -> None:
        DirectoryMixin.setUp(self)
        PairCase.setUp(self)

    def test_nextKey(self) -> None:
        """A server's next key gets into the client's file of known servers."""
        line = formatPublicKey(SERVER_CREDENTIAL.data)
        path = write(self.path("servers"), f"[example.org]:9000 {line}\n".encode())
        following = Ed25519Credential("the next")
        known = KnownServers(path, "example.org", 9000)
        pair = self.pair(
            freshServer(nextCredential=following),
            clientAuthorizer=ByKind({CredentialKind.ED25519: known}),
        ).up()
        self.assertEqual(len(pair.client.of("serverKeyAnnounced")), 1)
        self.assertIn(formatPublicKey(following.data).encode(), read(path))

    def test_retiredKey(self) -> None:
        """A server that is met with its next key takes the one before out of the client's file."""
        before, now = Ed25519Credential("before"), SERVER_CREDENTIAL
        path = write(
            self.path("servers"), f"[example.org]:9000 {formatPublicKey(before.data)}\n".encode()
        )
        known = KnownServers(path, "example.org", 9000)
        for settings in (
            freshServer(credential=before, nextCredential=now),
            freshServer(credential=now),
        ):
            self.pair(settings, clientAuthorizer=known).up()
        (line,) = read(path).decode().splitlines()
        self.assertIn(formatPublicKey(now.data), line)
        pair = self.pair(freshServer(credential=before), clientAuthorizer=known).connect()
        pair.pump()
        (termination,) = pair.client.of("terminated")
        self.assertIn("HAS CHANGED", termination.detail)

    def announce(self) -> KnownServers:
        """A server has announced its next key while another process has the client's file."""
        line = formatPublicKey(SERVER_CREDENTIAL.data)
        path = write(self.path("servers"), f"[example.org]:9000 {line}\n".encode())
        self.clock = Clock()
        known = KnownServers(path, "example.org", 9000, clock=self.clock)
        pair = self.pair(
            freshServer(nextCredential=Ed25519Credential("the next")), clientAuthorizer=known
        )
        self.held = lockedFile(path)
        self.held.__enter__()
        pair.up()
        self.assertEqual(len(pair.client.of("serverKeyAnnounced")), 1)
        return known

    def test_nextKeyLater(self) -> None:
        """The session goes on meanwhile, and the key is stored once the file is free."""
        known = self.announce()
        self.held.__exit__(None, None, None)
        self.clock.advance(LOCK_INTERVAL)
        self.assertEqual(len(read(known.path).splitlines()), 2)

    def test_nextKeyNever(self) -> None:
        """If the file is not free for a second, the log says that the key is not kept."""
        logged: list[str] = []

        def observe(event: dict[str, Any]) -> None:
            logged.append(formatEvent(event))

        self.announce()
        self.addCleanup(self.held.__exit__, None, None, None)
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.clock.pump([LOCK_INTERVAL] * LOCK_TRIES)
        self.assertEqual(len([line for line in logged if "server's keys are not kept" in line]), 1)

    def test_refused(self) -> None:
        """A thing of a kind that nobody judges gets no session, and is told just the code."""
        pair = self.pair(authorizer=ByKind({CredentialKind.X509: Anyone()})).connect()
        pair.pump()
        (here,) = pair.server.of("terminated")
        self.assertIn("nobody is admitted by a credential of kind ED25519", here.detail)
        (there,) = pair.client.of("terminated")
        self.assertEqual((there.code, there.byPeer), (ErrorCode.NOT_AUTHORIZED, True))
        self.assertNotIn("ED25519", str(there))

"""A client that is always on follows its files of keys, from one session to the next."""

from __future__ import annotations

import os
import time
from typing import Any

from cryptography.x509 import DNSName
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.certificates import CLIENT, NOW, SERVER, Issued, authority, issue, proved, revocations
from tests.trust.test_keys import DirectoryMixin, write
from thing import ErrorCode, Identity, IdentityKey, NotAuthorized
from thing.endpoints import ThingClientEndpoint
from thing.identity import CredentialKind
from thing.trust import ClientChoice, formatPublicKey
from thing.trust.fresh import FreshTrust

HOST, PORT = "server.example", 9000


class FreshCase(DirectoryMixin, SynchronousTestCase):
    """A client's files."""

    def setUp(self) -> None:
        super().setUp()
        self.server = IdentityKey.generate()
        self.now = time.time() - NOW

    def put(self, name: str, content: bytes, mode: int = 0o600) -> str:
        """Replace a file, as who renews it does."""
        write(self.path("new"), content)
        os.chmod(self.path("new"), mode)
        os.replace(self.path("new"), self.path(name))
        return self.path(name)

    def fresh(self, **given: str) -> FreshTrust:
        """A client that chose so."""
        return FreshTrust(ClientChoice.read(given, (HOST, PORT)), Clock())

    def renewed(self, trust: FreshTrust) -> ClientChoice:
        """What it has when it connects."""
        return self.successResultOf(Deferred.fromCoroutine(trust.renewed()))

    def code(self, trust: FreshTrust, identity: Identity) -> ErrorCode | None:
        """How it refuses a server when it connects; None if it does not."""
        try:
            self.renewed(trust).authorizer.authorize(identity)
        except NotAuthorized as refusal:
            return refusal.code
        return None

    @property
    def proved(self) -> Identity:
        """What the server proves."""
        return Identity(CredentialKind.ED25519, self.server.publicKey)


class FreshTests(FreshCase):
    """Files that change from one session to the next."""

    def test_listRenewed(self) -> None:
        """A list of revoked certificates that has run out stops it until it is renewed."""
        span: dict[str, Any] = {"begins": self.now - 3600, "ends": self.now + 3600}
        root = authority("root", **span)
        leaf = proved(issue("server", root, (DNSName(HOST),), use=SERVER, **span))
        self.put("roots", root.pem)
        self.put("lists", revocations(root, begins=self.now - 3600, ends=self.now - 1800))
        trust = self.fresh(trustRoots=self.path("roots"), revocationLists=self.path("lists"))
        with capturedLogs() as events:
            self.assertIs(self.code(trust, leaf), ErrorCode.UNDECIDED)
            self.assertIs(self.code(trust, leaf), ErrorCode.UNDECIDED)
        (line,) = map(formatEvent, events)
        self.assertIn("it is out of date", line)
        self.put("lists", revocations(root, begins=self.now - 1800, ends=self.now + 1800))
        self.assertIsNone(self.code(trust, leaf))

    def test_rootRenewed(self) -> None:
        """So does a root."""
        span: dict[str, Any] = {"begins": self.now - 3600, "ends": self.now + 3600}
        old, new = authority("old", **span), authority("new", **span)
        leaf = proved(issue("server", new, (DNSName(HOST),), use=SERVER, **span))
        trust = self.fresh(trustRoots=self.put("roots", old.pem))
        self.assertIs(self.code(trust, leaf), ErrorCode.NOT_AUTHORIZED)
        self.put("roots", old.pem + new.pem)
        self.assertIsNone(self.code(trust, leaf))

    def test_revoked(self) -> None:
        """What is revoked by now is not believed."""
        self.put("revoked", b"# none yet\n")
        trust = self.fresh(serverKey=self.server.fingerprint, revoked=self.path("revoked"))
        self.assertIsNone(self.code(trust, self.proved))
        self.put("revoked", formatPublicKey(self.server.publicKey).encode() + b"\n")
        self.assertIs(self.code(trust, self.proved), ErrorCode.NOT_AUTHORIZED)

    def test_ownCertificate(self) -> None:
        """Its own certificate is the one that the file has by then, and else the very same."""
        root = authority("root")

        def own(name: str) -> Issued:
            return issue(name, root, (DNSName(name),), use=CLIENT)

        first, second = own("first"), own("second")
        self.put("own", first.pem + first.keyPem())
        trust = self.fresh(certificate=self.path("own"), serverKey=self.server.fingerprint)
        before = trust.choice
        self.assertIs(self.renewed(trust), before)
        self.put("own", second.pem + second.keyPem())
        after = self.renewed(trust)
        self.assertIn(second.der, after.credential.data)
        settings = before.settings(handshakeTimeout=3.0)
        self.assertEqual(after.applied(settings), after.settings(handshakeTimeout=3.0))

    def test_fault(self) -> None:
        """On an error all stays, with one line for as long as it lasts, and it is tried again."""
        self.server.save(self.path("own"))
        trust = self.fresh(identity=self.path("own"), serverKey=self.server.fingerprint)
        before = trust.choice
        other = IdentityKey.generate()
        with capturedLogs() as events:
            self.put("own", b"nonsense")
            self.assertIs(self.renewed(trust), before)
            self.assertIs(self.renewed(trust), before)
            other.save(self.path("locked"), passphrase=b"x")
            os.replace(self.path("locked"), self.path("own"))
            self.assertIs(self.renewed(trust), before)
        first, second = map(formatEvent, events)
        self.assertIn("The keys stay as they were: ", first)
        self.assertIn("passphrase", second)
        other.save(self.path("other"))
        os.replace(self.path("other"), self.path("own"))
        self.assertEqual(self.renewed(trust).credential.data, other.publicKey)

    def test_emptied(self) -> None:
        """A list of what is revoked that is suddenly empty is a fault."""
        self.put("revoked", formatPublicKey(self.server.publicKey).encode() + b"\n")
        trust = self.fresh(serverKey=self.server.fingerprint, revoked=self.path("revoked"))
        self.put("revoked", b"")
        self.assertIs(self.code(trust, self.proved), ErrorCode.NOT_AUTHORIZED)

    def test_knownServers(self) -> None:
        """The file of known servers, which it writes itself, is looked up at each decision."""
        self.put("known", b"")
        trust = self.fresh(knownServers=self.path("known"), firstUse="yes")
        known = trust.choice.knownServers
        assert known is not None
        stored: list[Identity] = []
        known.onFirstUse = stored.append
        for _ in range(2):
            self.assertIsNone(self.code(trust, self.proved))
        self.assertEqual(len(stored), 1)
        self.assertIs(self.renewed(trust).knownServers, known)


@implementer(IStreamClientEndpoint)
class Refused:
    """An endpoint that connects to nobody."""

    def connect(self, protocolFactory: object) -> Deferred[Any]:
        return fail(ConnectionRefusedError())


class EndpointTests(FreshCase):
    """An endpoint that reads its files again."""

    def test_connects(self) -> None:
        """It does before each session; what a program has set stays while no file changes."""
        self.server.save(self.path("own"))
        trust = self.fresh(identity=self.path("own"), serverKey=self.server.fingerprint)
        choice = trust.choice
        endpoint = ThingClientEndpoint(
            Refused(),
            choice.settings(handshakeTimeout=3.0),
            choice.authorizer,
            clock=Clock(),
        )
        endpoint.trust = trust
        own: Any = choice.authorizer.authorizers[CredentialKind.ED25519]
        endpoint.factory.authorizer = own

        def connect() -> Any:
            failing = endpoint.connect(Factory.forProtocol(Protocol))
            self.failureResultOf(failing, ConnectionRefusedError)
            return endpoint.factory.settings

        self.assertIs(connect().credential, choice.credential)
        self.assertIs(endpoint.factory.authorizer, own)
        other = IdentityKey.generate()
        other.save(self.path("other"))
        os.replace(self.path("other"), self.path("own"))
        self.assertEqual(connect().credential.data, other.publicKey)
        self.assertEqual(connect().handshakeTimeout, 3.0)
        self.assertIs(endpoint.factory.authorizer, trust.choice.authorizer)

    def test_description(self) -> None:
        """A description has it so, wherever the process goes after it is parsed."""
        self.server.save(self.path("own"))
        self.assertFalse(os.path.isabs(self.path("own")))
        key = self.server.fingerprint.removeprefix("SHA256:")
        words = f"thing:{HOST}:{PORT}:identity={self.path('own')}:serverKey={key}"
        trust = clientFromString(MemoryReactorClock(), words).trust
        self.assertEqual(trust.choice.given["identity"], os.path.abspath(self.path("own")))
        words = f"thing:{HOST}:{PORT}:trustRoots=platform"
        trust = clientFromString(MemoryReactorClock(), words).trust
        self.assertEqual(trust.choice.given["trustRoots"], "platform")

"""A session ends when what its peer has proved is over."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_private_key,
)
from cryptography.x509 import DNSName
from twisted.internet.task import Clock
from zope.interface import implementer

from tests.anypeer import AnyPeer
from tests.certificates import NOW, authority, issue
from tests.pairs import Pair, PairCase, Recorder, freshClient, freshServer
from tests.trust.test_keys import DirectoryMixin, read, write
from thing import (
    CredentialKind,
    EndReason,
    ErrorCode,
    Identity,
    IdentityKey,
    ThingFactory,
)
from thing.core.credentials import Credential
from thing.core.expiry import LOOK_INTERVAL, SPREAD
from thing.events import Cause
from thing.session.protocol import linkOf
from thing.session.review import LEAVE_GRACE, Review
from thing.trust.certificates import CertificateChain, ThingCertificates
from thing.trust.interfaces import IAuthorizer
from thing.trust.sshcertificates import CertifiedKey, CertifiedThings
from thing.trust.tickets import TicketKeys

FOREVER = 2**64 - 1


@implementer(IAuthorizer)
class Until:
    """
    Admits anyone.

    :ivar expires: until when.
    """

    def __init__(self, expires: Any) -> None:
        self.expires = expires

    def authorize(self, identity: Identity) -> Identity:
        return replace(identity, name="lamp", expires=self.expires)


class ExpiryTests(DirectoryMixin, PairCase):
    """Certificates that run out while their session is up."""

    def setUp(self) -> None:
        super().setUp()
        self.pairs = []
        self.clock = Clock()
        self.step = 0.0
        self.random = 0.5

    def wallClock(self) -> float:
        """The time of day; whoever sets it sets :attr:`step`."""
        return NOW + self.step + self.clock.seconds()

    def factory(self, authorizer: Any, **settings: Any) -> ThingFactory:
        """A server's."""
        factory = ThingFactory(
            freshServer(peerKinds=tuple(CredentialKind)[1:], **settings),
            authorizer,
            clock=self.clock,
            jitter=lambda: self.random,
            wallClock=self.wallClock,
        )
        factory.protocol = Recorder
        return factory

    def connect(self, factory: ThingFactory, credential: Credential | None = None) -> Pair:
        """A thing that shows this; by default a key."""
        client = freshClient(credential=credential or IdentityKey.generate())
        return self.pair(
            client=client, serverFactory=factory, clientAuthorizer=AnyPeer(), clock=self.clock
        )

    def until(self, expires: Any) -> Pair:
        """A session whose credential expires so long after :data:`NOW`."""
        return self.connect(self.factory(Until(None if expires is None else NOW + expires))).up()

    def assertEndsAt(self, seconds: float, pair: Pair) -> None:
        """The session is up until then, and is asked to leave then."""
        pair.advance(seconds - 1 - self.clock.seconds())
        self.assertIsNone(pair.client.termination)
        pair.advance(2.0)
        self.assertIs(pair.client.end.cause, Cause.GOODBYE)
        self.assertIs(pair.client.end.reason, EndReason.EXPIRED)

    def x509(self, *ends: float) -> tuple[CertificateChain, ThingCertificates]:
        """A chain of a leaf and an intermediate that end so, and who admits it."""
        root = authority()
        middle = authority("middle", root, ends=ends[1])
        leaf = issue("leaf", middle, (DNSName("a.example"),), ends=ends[0])
        roots = write(self.path("roots"), root.pem)
        return (
            CertificateChain([leaf.certificate, middle.certificate], leaf.key),
            ThingCertificates(roots, wallClock=self.wallClock),
        )

    def ssh(self, ends: int) -> tuple[CertifiedKey, CertifiedThings]:
        """A certified key whose certificate ends so, and who admits it."""
        ca, key = Ed25519PrivateKey.generate(), IdentityKey.generate()
        key.save(self.path("key"))
        public = load_ssh_private_key(read(self.path("key")), None).public_key()
        certificate = (
            SSHCertificateBuilder()
            .public_key(public)  # type: ignore[arg-type]
            .type(SSHCertificateType.USER)
            .valid_after(0)
            .valid_before(ends)
            .valid_principals([b"lamp"])
            .sign(ca)
            .public_bytes()
        )
        line = ca.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        authorities = write(self.path("authorities"), line + b"\n")
        return (
            CertifiedKey(key, base64.b64decode(certificate.split()[1])),
            CertifiedThings(authorities, wallClock=self.wallClock),
        )

    def test_x509(self) -> None:
        """A chain is over with the first of its certificates."""
        for ends in (100.0, 3600.0), (3600.0, 100.0):
            self.clock = Clock()
            chain, things = self.x509(*ends)
            pair = self.connect(self.factory(things), chain).up()
            self.assertEqual(pair.server.peer.expires, NOW + 100)  # type: ignore[union-attr]
            self.assertEndsAt(105.0, pair)

    def test_sshCertificate(self) -> None:
        """A certificate of OpenSSH is over at its end; then it admits nobody."""
        key, things = self.ssh(int(NOW) + 100)
        factory = self.factory(things)
        self.assertEndsAt(105.0, self.connect(factory, key).up())
        pair = self.connect(factory, key).connect()
        pair.pump()
        self.assertIs(pair.client.end.code, ErrorCode.NOT_VALID_NOW)

    def test_sshForever(self) -> None:
        """A certificate of OpenSSH without an end is never over."""
        key, things = self.ssh(FOREVER)
        pair = self.connect(self.factory(things), key).up()
        self.assertIsNone(pair.server.peer.expires)  # type: ignore[union-attr]

    def test_resumed(self) -> None:
        """A session that a ticket resumes ends with the certificate that the first one showed."""
        key, things = self.ssh(int(NOW) + 100)
        factory = self.factory(things, tickets=TicketKeys(wallClock=self.wallClock))
        first = self.connect(factory, key).up()
        first.advance(1.0)
        first.client.goodbye()
        first.advance(1.0)
        pair = self.pair(
            serverFactory=factory, clientFactory=first.client.factory, clock=self.clock
        ).up()
        self.assertTrue(pair.server.session.resumed)  # type: ignore[union-attr]
        self.assertEqual(pair.server.peer.expires, NOW + 100)  # type: ignore[union-attr]
        self.assertEndsAt(104.9, pair)

    def test_spread(self) -> None:
        """Sessions whose credentials end together end within a minute after, not before."""
        for self.random in (0.0, 0.5, 0.999):
            self.clock = Clock()
            self.assertEndsAt(3600.0 + self.random * SPREAD + 0.5, self.until(3600.0))

    def test_over(self) -> None:
        """What is over when the session is up ends it at once."""
        pair = self.until(-5.0)
        pair.advance(1.0)
        self.assertIs(pair.client.end.reason, EndReason.EXPIRED)

    def test_doesNotHeed(self) -> None:
        """Who does not leave is flat-lined, whatever it sends."""
        pair = self.until(100.0)
        pair.advance(104.0)
        pair.serverEnd.frozen = True
        pair.advance(1.0 + LEAVE_GRACE + 0.5)
        self.assertIs(pair.server.end.cause, Cause.FLAT_LINED)
        self.assertIs(pair.server.end.reason, EndReason.EXPIRED)

    def test_wallClockIsSet(self) -> None:
        """A wall clock that is set is followed within a minute, forwards and back."""
        pair = self.until(3600.0)
        pair.advance(10.0)
        self.step = -7200.0
        pair.advance(4000.0)
        self.assertIsNone(pair.client.termination)
        self.step = 3600.0
        pair.advance(LOOK_INTERVAL + 1.0)
        self.assertIs(pair.client.end.reason, EndReason.EXPIRED)

    def test_noTimers(self) -> None:
        """A session without an end has no timer for it; one that is over, no longer one."""
        never, until = self.until(None), self.until(3600.0)
        self.assertEqual(sum(map(_isLook, self.clock.getDelayedCalls())), 1)
        for pair in (never, until):
            pair.client.goodbye()
            pair.advance(1.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_endIsAboutToBeTold(self) -> None:
        """A session that ends in the same moment is left alone."""
        pair = self.until(100.0)
        pair.client.goodbye()
        pair.advance(1.0)
        linkOf(pair.server).expire()
        self.assertIs(pair.server.end.reason, None)

    def test_review(self) -> None:
        """A review leaves a session whose certificate has just expired to its own end."""
        chain, things = self.x509(100.0, 3600.0)
        factory = self.factory(things)
        pair = self.connect(factory, chain).up()
        pair.advance(101.0)
        Review(factory).run()
        pair.advance(1.0)
        self.assertIsNone(pair.client.termination)
        self.assertEndsAt(105.0, pair)

    def test_notATime(self) -> None:
        """An authorizer that returns something else than a time has failed."""
        pair = self.connect(self.factory(Until("tomorrow"))).connect()
        pair.pump()
        self.assertIs(pair.client.end.code, ErrorCode.INTERNAL_ERROR)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)


def _isLook(call: Any) -> bool:
    """Whether a timer is one that looks at the wall clock."""
    return getattr(call.func, "__name__", "") == "_look"

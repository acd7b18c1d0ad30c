"""Revocation around any authorizer: what is refused, when, and what is passed on."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.trust.test_bykind import Answering, Learning
from tests.trust.test_keys import NO_SSH_KEYGEN, DirectoryMixin, read, sshKeygen, write
from tests.trust.test_sshcertificates import AuthorityMixin
from thing.errors import NotAuthorized
from thing.identity import CredentialKind, Identity
from thing.trust import CertifiedThings, IAuthorizer, IdentityKey, IKeyContinuity, RevokedKeys
from thing.trust.known import KnownServers
from thing.trust.unrevoked import Unrevoked


class KeyTests(DirectoryMixin, TestCase):
    """Raw keys."""

    def setUp(self) -> None:
        super().setUp()
        self.good, self.bad = (IdentityKey.generate() for _ in range(2))
        lines = f"{self.bad.publicLine()}\n".encode()
        self.revoked = RevokedKeys(write(self.path("revoked"), lines))

    def identity(self, key: IdentityKey) -> Identity:
        return Identity(CredentialKind.ED25519, key.publicKey)

    def test_interfaces(self) -> None:
        """It is an authorizer, and one that can learn next keys."""
        made = Unrevoked(Answering(), self.revoked)
        self.assertTrue(verifyObject(IAuthorizer, made))
        self.assertTrue(verifyObject(IKeyContinuity, made))

    def test_admits(self) -> None:
        """Who is not revoked gets the authorizer's own answer, whatever that is."""
        good = self.identity(self.good)
        later: Deferred[Identity] = Deferred()
        for answer in (good, later):
            made = Unrevoked(Answering(answer), self.revoked)
            self.assertIs(made.authorize(good), answer)
        refusal = NotAuthorized("no")
        made = Unrevoked(Answering(refusal), self.revoked)
        self.assertIs(self.assertRaises(NotAuthorized, made.authorize, good), refusal)

    def test_refuses(self) -> None:
        """Who is revoked is refused before the authorizer hears of it, and the refusal says why."""
        bad, inner = self.identity(self.bad), Answering()
        error = self.assertRaises(NotAuthorized, Unrevoked(inner, self.revoked).authorize, bad)
        why = f"the key {bad.fingerprint} is revoked by {self.path('revoked')}"
        self.assertEqual(error.detail, why)
        self.assertEqual(inner.asked, [])

    def test_firstUse(self) -> None:
        """A revoked key is not stored by who believes at first use."""
        path = self.path("servers")
        made = Unrevoked(KnownServers(path, "example.org", 9000, firstUse=True), self.revoked)
        self.assertRaises(NotAuthorized, made.authorize, self.identity(self.bad))
        made.authorize(self.identity(self.good))
        stored = read(path).decode()
        self.assertIn(self.good.publicLine(), stored)
        self.assertNotIn(self.bad.publicLine(), stored)

    def test_nextKey(self) -> None:
        """A next key is passed on if neither it nor the current one is revoked."""
        good, bad, inner = self.identity(self.good), self.identity(self.bad), Learning()
        made = Unrevoked(inner, self.revoked)
        for current, following in ((good, bad), (bad, good)):
            self.assertRaises(NotAuthorized, made.keysAnnounced, current, following)
        self.assertEqual(inner.learned, [])
        made.keysAnnounced(good, good)
        self.assertEqual(inner.learned, [(good, good)])

    def test_announcer(self) -> None:
        """Who is believed by the word of a revoked key is refused."""
        announced = replace(self.identity(self.good), announcers=(self.bad.publicKey,))
        for answer in (announced, succeed(announced)):
            made = Unrevoked(Answering(answer), self.revoked)
            decision = maybeDeferred(made.authorize, self.identity(self.good))
            why = self.failureResultOf(decision, NotAuthorized).value.detail
            self.assertIn(self.identity(self.bad).fingerprint, why)

    def test_noOtherKey(self) -> None:
        """That no other key holds is passed on, and the authorizer's Deferred comes back."""
        good, inner = self.identity(self.good), Learning()
        inner.keysAnnounced = lambda *keys: succeed(keys)
        kept = Unrevoked(inner, self.revoked).keysAnnounced(good, None)
        self.assertEqual(self.successResultOf(kept), (good, None))

    def test_nextKeyNotWanted(self) -> None:
        """An authorizer that learns no keys is told of none."""
        bad = self.identity(self.bad)
        Unrevoked(Answering(), self.revoked).keysAnnounced(bad, bad)


class CertificateTests(AuthorityMixin, TestCase):
    """OpenSSH certificates."""

    skip = NO_SSH_KEYGEN

    def setUp(self) -> None:
        super().setUp()
        self.authority()
        self.bad = self.proved("-n", "sensor-7", "-z", "7", name="bad")
        self.good = self.proved("-n", "sensor-8", "-z", "8", name="good")
        spec = write(self.path("spec"), b"serial: 7")
        sshKeygen("-q", "-k", "-f", self.path("krl"), "-s", self.path("ca.pub"), spec)
        self.revoked = RevokedKeys(self.path("krl"))
        self.why = (
            f"the certificate of {self.bad.fingerprint} (key ID 'id', serial 7): "
            f"the certificate is revoked by {self.path('krl')}"
        )

    def test_judged(self) -> None:
        """Of what the authorizer believes, what is not revoked is admitted, by its name."""
        made = Unrevoked(CertifiedThings(self.path("ca.pub")), self.revoked)
        self.assertEqual(made.authorize(self.good).name, "sensor-8")
        self.assertEqual(self.refusalBy(made, self.bad), self.why)

    def test_contentIsNoWord(self) -> None:
        """What is not believed is refused for that: its content may be anybody's invention."""
        authority = self.authority("other")
        made = Unrevoked(CertifiedThings(authority), self.revoked)
        refusal = self.refusalBy(made, self.bad)
        self.assertIn("no authority in", refusal)
        self.assertNotIn("key ID", refusal)

    def test_later(self) -> None:
        """An answer that comes later is judged when it comes."""
        for identity in (self.good, self.bad):
            later: Deferred[Identity] = Deferred()
            made = Unrevoked(Answering(later), self.revoked)
            answer = made.authorize(identity)
            assert isinstance(answer, Deferred)
            self.assertNoResult(answer)
            later.callback(identity)
            if identity is self.good:
                self.assertIs(self.successResultOf(answer), identity)
            else:
                failure = self.failureResultOf(answer, NotAuthorized)
                self.assertEqual(failure.value.detail, self.why)

    def test_coroutine(self) -> None:
        """So is what a coroutine answers."""

        async def admit(identity: Identity) -> Identity:
            return identity

        for identity in (self.good, self.bad):
            answer = Unrevoked(Answering(admit(identity)), self.revoked).authorize(identity)
            assert isinstance(answer, Deferred)
            if identity is self.good:
                self.assertIs(self.successResultOf(answer), identity)
            else:
                self.failureResultOf(answer, NotAuthorized)

"""Who comes by an invitation, and whom such a one believes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.trust.test_invitations import KEY, NOW, StoreCase
from tests.trust.test_keys import write
from thing.errors import CredentialError, ErrorCode, NotAuthorized
from thing.identity import CredentialKind, Identity, Purpose, fingerprint
from thing.trust import IAuthorizer, IdentityKey, PresharedKey, PresharedKeys, PresharedThings
from thing.trust.chosen import ServerChoice
from thing.trust.invitations import Invitation, Invitations
from thing.trust.joiners import InvitingServer, Joiners, JoinKeys
from thing.trust.jointoken import JoinToken, joinIdentity
from thing.trust.slices import atOnce

SECRET = bytes(range(32))


def proved(identity: bytes, kind: CredentialKind = CredentialKind.PRESHARED) -> Identity:
    """What a peer proves with the key of this identity."""
    return Identity(kind, credential=identity)


class JoinersCase(StoreCase):
    """Invitations beside a file of pre-shared keys."""

    def setUp(self) -> None:
        super().setUp()
        line = PresharedKey(b"kettle", SECRET).secretLine()
        self.others = PresharedKeys(write(self.path("preshareds"), line.encode()))
        self.keys = JoinKeys(self.store, self.others)
        self.joiners = Joiners(self.store, PresharedThings(self.others))


class JoinKeysTests(JoinersCase):
    """The keys for a handshake."""

    def test_both(self) -> None:
        """The secrets of invitations stand beside the keys in a file."""
        made = self.made()
        identity = joinIdentity(made.id)
        self.assertEqual(dict(self.keys), {b"kettle": SECRET, identity: made.secret})
        self.assertEqual(len(self.keys), 2)
        self.assertEqual(self.keys[identity], made.secret)
        self.assertIsNone(self.keys.get(b"lamp"))
        self.assertRaises(KeyError, lambda: self.keys[b"lamp"])

    def test_over(self) -> None:
        """What is used, withdrawn or over has no key any more, at once."""
        used, withdrawn, over = (self.made(life=life) for life in (60, 60, 30))
        claimed = self.made()
        for each in (used, claimed):
            self.successResultOf(self.store.claim(each.id, KEY))
        self.successResultOf(self.opened().use(used.id, KEY))
        self.successResultOf(self.opened().withdraw(withdrawn.id))
        self.now += 30
        for each in (used, withdrawn, over):
            self.assertIsNone(self.keys.get(joinIdentity(each.id)))
        self.assertEqual(self.keys.get(joinIdentity(claimed.id)), claimed.secret)
        self.assertEqual(set(self.keys), {b"kettle", joinIdentity(claimed.id)})

    def test_strangers(self) -> None:
        """Whatever strangers ask for, there is no key."""
        made = self.made()
        for identity in (
            *(b"join:", b"join", b"", b"join:" + bytes(16), b"join:" + b"\xff" * 16),
            *(joinIdentity(made.id) + b" ", joinIdentity(made.id).upper(), made.id.encode()),
            *(joinIdentity(made.id)[:-1], joinIdentity("0" * 16), b"\n" + joinIdentity(made.id)),
        ):
            self.assertIsNone(self.keys.get(identity), identity)

    def test_fault(self) -> None:
        """While the file cannot be read nobody comes by an invitation, yet; and others do."""
        made = self.made()
        write(self.file, b"damaged\n")
        with capturedLogs() as events:
            for _ in range(3):
                error = self.assertRaises(NotAuthorized, self.keys.get, joinIdentity(made.id))
                self.assertIs(error.code, ErrorCode.UNDECIDED)
        (line,) = map(formatEvent, events)
        self.assertIn("Nobody can join: ", line)
        self.assertEqual(self.keys.get(b"kettle"), SECRET)
        self.assertEqual(dict(self.keys), {b"kettle": SECRET})

    def test_secret(self) -> None:
        """Nothing shows a key."""
        made = self.made()
        self.assertNotIn(made.secret.hex(), repr(self.keys))
        self.assertNotIn(SECRET.hex(), repr(JoinKeys(self.store, {b"kettle": SECRET})))


class JoinersTests(JoinersCase):
    """Whom a server admits by pre-shared keys."""

    def refusal(self, identity: Identity, judge: Any = None) -> NotAuthorized:
        return self.assertRaises(NotAuthorized, (judge or self.joiners).authorize, identity)

    def test_joiner(self) -> None:
        """Who comes by an invitation is there to join, until its time is over."""
        self.assertTrue(verifyObject(IAuthorizer, self.joiners))
        made = self.made(life=60)
        admitted = self.joiners.authorize(proved(joinIdentity(made.id)))
        self.assertIs(admitted.purpose, Purpose.JOINER)
        self.assertEqual((admitted.name, admitted.expires), (f"join:{made.id}", NOW + 60))
        self.now += 60
        self.assertIn("is over", str(self.refusal(proved(joinIdentity(made.id)))))

    def test_used(self) -> None:
        """Nobody comes by an invitation that is used or withdrawn."""
        for end in (self.store.withdraw, lambda each: self.store.use(each, KEY)):
            made = self.made()
            self.successResultOf(self.store.claim(made.id, KEY))
            self.assertIs(
                self.joiners.authorize(proved(joinIdentity(made.id))).purpose, Purpose.JOINER
            )
            self.successResultOf(end(made.id))
            self.refusal(proved(joinIdentity(made.id)))

    def test_others(self) -> None:
        """Who has a key in a file is a thing as ever; without a file there is none."""
        admitted = self.joiners.authorize(proved(b"kettle"))
        self.assertEqual((admitted.name, admitted.purpose), ("kettle", Purpose.THING))
        self.refusal(proved(b"lamp"))
        self.refusal(proved(b"kettle"), Joiners(self.store))

    def test_otherKind(self) -> None:
        """An invitation's name is worth nothing but for the key that it is of."""
        made = self.made()
        for kind in CredentialKind:
            if kind is not CredentialKind.PRESHARED:
                self.refusal(proved(joinIdentity(made.id), kind))

    def test_fault(self) -> None:
        """If the file cannot be read now, it may be later."""
        made = self.made()
        write(self.file, b"damaged\n")
        error = self.refusal(proved(joinIdentity(made.id)))
        self.assertIs(error.code, ErrorCode.UNDECIDED)


class InvitingServerTests(TestCase):
    """Whom a joiner believes."""

    def test_itsServer(self) -> None:
        """The server that has the secret of this very token, and no other."""
        token = JoinToken("0" * 16, KEY, (fingerprint(KEY),), ("localhost:1",))
        server = InvitingServer(token)
        self.assertTrue(verifyObject(IAuthorizer, server))
        self.assertEqual(server.authorize(proved(token.identity)).name, "join:" + "0" * 16)
        for identity in (
            proved(joinIdentity("1" * 16)),
            proved(token.identity, CredentialKind.ED25519),
            Identity(CredentialKind.ED25519, KEY),
            Identity(CredentialKind.NONE),
        ):
            self.assertRaises(NotAuthorized, server.authorize, identity)


class KeywordTests(StoreCase):
    """What a server's choice makes of it."""

    def setUp(self) -> None:
        super().setUp()
        IdentityKey.generate().save(self.path("server"))
        line = IdentityKey.generate().publicLine("kettle")
        self.given = {
            "identity": self.path("server"),
            "authorized": write(self.path("things"), line.encode() + b"\n"),
            "invitations": self.file,
        }

    def invited(self) -> Invitation:
        """An invitation of now."""
        return self.successResultOf(Invitations(self.file, clock=Clock()).make("lamp"))

    def test_chosen(self) -> None:
        """Who comes by an invitation is admitted, beside whoever is anyway."""
        choice = ServerChoice.read(self.given)
        settings = choice.settings()
        self.assertIn(CredentialKind.PRESHARED, settings.peerKinds)
        made = self.invited()
        identity = joinIdentity(made.id)
        self.assertEqual(settings.presharedKeys.get(identity), made.secret)
        self.assertIs(choice.authorizer.authorize(proved(identity)).purpose, Purpose.JOINER)
        self.assertNotIn(made.secret.hex(), repr(choice) + repr(settings))

    def test_beside(self) -> None:
        """Pre-shared keys of things are taken, too, and followed when they change."""
        line = PresharedKey(b"toaster", SECRET).secretLine()
        path = write(self.path("preshareds"), line.encode())
        choice = ServerChoice.read(self.given | {"presharedKeys": path})
        made = self.invited()
        write(path, line.replace("toaster", "radiator").encode())
        again = atOnce(choice.again())
        for now, name in ((choice, b"toaster"), (again, b"radiator")):
            self.assertEqual(set(now.presharedKeys), {name, joinIdentity(made.id)})
        self.assertIs(again.invitations, choice.invitations)
        self.assertEqual(again.authorizer.authorize(proved(b"radiator")).name, "radiator")
        self.assertRaises(NotAuthorized, again.authorizer.authorize, proved(b"toaster"))

    def test_notFollowed(self) -> None:
        """A new invitation is no reason to read all files anew and ask about all sessions."""
        choice = ServerChoice.read(self.given)
        self.assertNotIn(self.file, choice.files)
        self.assertIn(self.given["authorized"], choice.files)

    def test_needs(self) -> None:
        """Without a file of authorized things there is nothing to join."""
        given = {key: value for key, value in self.given.items() if key != "authorized"}
        self.assertRaises(CredentialError, ServerChoice.read, given | {"anyone": "yes"})

    def test_fault(self) -> None:
        """A file that is not understood is found when the server starts."""
        write(self.file, b"damaged\n")
        error = self.assertRaises(CredentialError, ServerChoice.read, self.given)
        self.assertEqual(str(error), f"{self.file}:1: not a line of JSON")

    def test_replacedKey(self) -> None:
        """An identity is equal for what it has proved; purpose and rules are the authorizer's."""
        plain = proved(b"kettle")
        self.assertEqual(replace(plain, purpose=Purpose.JOINER), plain)

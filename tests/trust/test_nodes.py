"""The file of other nodes: who is one, what it may ask for, and what this node shows them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.trust.test_choice import TrustFiles
from thing import CredentialError, IdentityKey, NotAuthorized
from thing.identity import CredentialKind, Identity, Purpose
from thing.trust.chosen import ServerChoice
from thing.trust.slices import atOnce


def proved(key: IdentityKey) -> Identity:
    """What somebody has proved who has a key."""
    return Identity(CredentialKind.ED25519, key.publicKey)


class NodeKeyTests(TrustFiles, SynchronousTestCase):
    """A server with ``nodes``."""

    def setUp(self) -> None:
        super().setUp()
        self.north, self.south = IdentityKey.generate(), IdentityKey.generate()
        self.nodes(
            f'permit-reach="*:ssh",permit-reach="lamp:web" {self.north.publicLine("north")}',
            self.south.publicLine("south"),
        )

    def nodes(self, *lines: str) -> None:
        """Write the file."""
        self.pem("nodes", "".join(f"{line}\n" for line in lines).encode())

    def choice(self, *kinds: str, **more: str) -> ServerChoice:
        """What is chosen beside the file."""
        return self.server(self.serverOf(*kinds or ("raw",)) | {"nodes": self.path("nodes")} | more)

    def test_nodes(self) -> None:
        """A key in it is a node's, with its permits; others are what they are without it."""
        authorizer = self.choice().authorizer
        north = authorizer.authorize(proved(self.north))
        self.assertEqual(
            (north.name, north.purpose, north.permits),
            ("north", Purpose.NODE, ("*:ssh", "lamp:web")),
        )
        south = authorizer.authorize(proved(self.south))
        self.assertEqual((south.purpose, south.permits), (Purpose.NODE, ()))
        lamp = authorizer.authorize(proved(IdentityKey.load(self.path("lamp"))))
        self.assertEqual((lamp.name, lamp.purpose), ("lamp", Purpose.THING))
        stranger = proved(IdentityKey.generate())
        self.assertRaises(NotAuthorized, authorizer.authorize, stranger)

    def test_both(self) -> None:
        """A key that is in the file of things, too, is a node's."""
        self.nodes(IdentityKey.load(self.path("lamp")).publicLine("lamp"))
        lamp = self.choice().authorizer.authorize(proved(IdentityKey.load(self.path("lamp"))))
        self.assertIs(lamp.purpose, Purpose.NODE)

    def test_nobodyElse(self) -> None:
        """Where no raw keys of things are taken, those of nodes are."""
        choice = self.choice("preshared")
        self.assertIn(CredentialKind.ED25519, choice.authorizer.peerKinds)
        self.assertIs(choice.authorizer.authorize(proved(self.north)).purpose, Purpose.NODE)
        lamp = proved(IdentityKey.load(self.path("lamp")))
        self.assertRaises(NotAuthorized, choice.authorizer.authorize, lamp)

    def test_revoked(self) -> None:
        """A key that is revoked is no node's."""
        self.pem("revoked", f"{self.north.publicLine()}\n".encode())
        authorizer = self.choice(revoked=self.path("revoked")).authorizer
        self.assertRaises(NotAuthorized, authorizer.authorize, proved(self.north))
        self.assertIs(authorizer.authorize(proved(self.south)).purpose, Purpose.NODE)

    def test_shown(self) -> None:
        """Other nodes are shown the raw key, or the one that is for them; without any, nothing."""
        for kinds in ("raw",), ("ssh",), ("ssh", "x509"):
            choice = self.choice(*kinds)
            self.assertIs(choice.nodeCredential, choice.credentials[0])
        self.assertIsNone(self.server(self.serverOf("raw")).nodeCredential)
        self.north.save(self.path("north"))
        chosen = self.choice(nodeIdentity=self.path("north"))
        assert chosen.nodeCredential is not None
        self.assertEqual(chosen.nodeCredential.data, self.north.publicKey)
        self.assertNotIn(chosen.nodeCredential, chosen.credentials)

    def test_needs(self) -> None:
        """It needs a raw key; a key for nodes is of no use without it."""
        x509 = self.serverOf("x509") | {"nodes": self.path("nodes")}
        self.assertIn("identity", str(self.assertRaises(CredentialError, self.server, x509)))
        alone = self.serverOf("raw") | {"nodeIdentity": self.path("server")}
        self.assertIn("nodes", str(self.assertRaises(CredentialError, self.server, alone)))

    def test_wrong(self) -> None:
        """A line that is not understood is an error, with its number."""
        for line in ("what=", f'permit-reach="ssh" {self.north.publicLine()}'):
            self.nodes(line)
            self.assertIn("nodes:1", str(self.assertRaises(CredentialError, self.choice)))

    def test_again(self) -> None:
        """It is read again; if it has lost all its lines, that is taken for a fault."""
        choice = self.choice()
        self.assertIn(self.path("nodes"), choice.files)
        self.nodes(self.south.publicLine())
        again = atOnce(choice.again())
        self.assertRaises(NotAuthorized, again.authorizer.authorize, proved(self.north))
        self.nodes()
        self.assertIn("empty", str(self.assertRaises(CredentialError, atOnce, again.again())))

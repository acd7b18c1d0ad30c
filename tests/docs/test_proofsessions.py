"""The models of what follows the handshake are those of the code."""

import hashlib
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.docs.test_proof import stated
from tests.helpers import CLIENT_CREDENTIAL, SERVER_CREDENTIAL
from thing.core import nextkey, records
from thing.core.keyschedule import nextTrafficSecret
from thing.core.layout import OPAQUE16, UINT8
from thing.core.preshared import Resumable
from thing.core.records import Aead, TrafficKey
from thing.identity import CredentialKind, Identity
from thing.trust import TicketKeys, tickets

IV = bytes(range(1, 13))


class Spoken:
    """A key schedule and an AEAD that keep what they are asked for, in the words of the models."""

    def __init__(self) -> None:
        self.derived: dict[str, str] = {}
        self.sealed: list[tuple[bytes, bytes]] = []

    def expand(self, secret: bytes, label: bytes, context: bytes = b"", length: int = 32) -> bytes:
        """HKDF-Expand-Label."""
        name = label.decode()
        self.derived[name] = f'Expand({secret.decode()}, "{name}", {context.decode()})'
        return IV if label == b"iv" else secret

    def cipher(self, key: bytes) -> "Spoken":
        """The AEAD with a key."""
        return self

    def encrypt(self, nonce: bytes, message: bytes, associated: bytes) -> bytes:
        """Seal nothing, and keep the nonce and the associated data."""
        self.sealed.append((nonce, associated))
        return message + bytes(16)


class RecordTests(SynchronousTestCase):
    """How records are protected"""

    def seal(self, count: int) -> Spoken:
        """What is asked for to seal some records of 5 octets, a key update behind them, and one."""
        spoken = Spoken()
        ciphers = {Aead.AES_256_GCM: spoken.cipher}
        with (
            mock.patch.object(records, "expandLabel", spoken.expand),
            mock.patch.object(records, "nextTrafficSecret", lambda secret: secret),
            mock.patch.object(records, "_CIPHERS", ciphers),
        ):
            key = TrafficKey(Aead.AES_256_GCM, b"traffic", 0.0)
            for _ in range(count):
                key.seal(b"12345")
            key.update(0.0)
            key.seal(b"12345")
        return spoken

    def test_derived(self) -> None:
        """Key and IV come of the traffic secret as the models say, and nothing else does."""
        said = dict(stated("record"))
        self.assertEqual(said.pop("sealed"), "AEAD(key, iv XOR number, header)")
        self.assertEqual(self.seal(1).derived, said)

    def test_sealed(self) -> None:
        """The nonce is the IV XOR the number, from 0 on behind an update; the header is bound."""
        for (nonce, header), number in zip(self.seal(3).sealed, (0, 1, 2, 0), strict=True):
            both = int.from_bytes(IV, "big") ^ number
            self.assertEqual(nonce, both.to_bytes(12, "big"))
            self.assertEqual(header, (5 + 16).to_bytes(3, "big"))

    def test_generations(self) -> None:
        """The next traffic secret comes of the one before, by one derivation."""
        spoken = Spoken()
        with mock.patch("thing.core.keyschedule.expandLabel", spoken.expand):
            nextTrafficSecret(b"session n")
        self.assertEqual(list(spoken.derived.values()), [dict(stated("secret"))["session n+1"]])


class AnnouncementTests(SynchronousTestCase):
    """What the signatures of SNK cover"""

    def test_signed(self) -> None:
        """The context and the hash of each are those of the models."""
        current, following = SERVER_CREDENTIAL, CLIENT_CREDENTIAL
        words = {"session id": b"s" * 16}
        for name, each in (("current", current), ("next", following)):
            words[name] = UINT8.write(each.kind) + OPAQUE16.write(each.data)
        with mock.patch.object(nextkey, "signatureContent") as content:
            content.return_value = b""
            nextkey.announcement(words["session id"], current, following)
        asked = [call.args for call in content.call_args_list]
        said = dict(stated("announced"))
        self.assertEqual(list(said), ["signature", "nextSignature"])
        for (context, hashed), statement in zip(asked, said.values(), strict=True):
            quoted, _, covered = statement.partition(", H(")
            octets = b"".join(words[word] for word in covered.removesuffix(")").split(", "))
            self.assertEqual(f'"{context.decode()}"', quoted)
            self.assertEqual(hashed, hashlib.sha256(octets).digest())


class TicketTests(SynchronousTestCase):
    """How tickets are sealed"""

    def test_sealed(self) -> None:
        """The key's name and what the server is known by are bound."""
        spoken = Spoken()
        client = Identity(CredentialKind.ED25519, CLIENT_CREDENTIAL.data)
        with mock.patch.object(tickets, "AESGCM", spoken.cipher):
            given = TicketKeys(None).seal(Resumable(bytes(32), client), b"server")
        assert given is not None
        ((nonce, associated),) = spoken.sealed
        name = given.ticket[: tickets.NAME_LENGTH]
        self.assertTrue(given.ticket.startswith(name + nonce))
        said = "AEAD(ticket key, nonce, key name || server)"
        self.assertEqual((associated, dict(stated("ticket"))["sealed"]), (name + b"server", said))


class LayoutTests(SynchronousTestCase):
    """What the models were made for"""

    def test_layouts(self) -> None:
        """They say the layout of each message that ends a session, moves a key or announces one."""
        layouts = {name for name, _ in stated("layout")}
        self.assertLessEqual({"CKU", "SKU", "CGB", "SGB", "CFL", "SFL"}, layouts)
        self.assertLessEqual({"CHR", "SHR", "SNK", "GivenTicket"}, layouts)

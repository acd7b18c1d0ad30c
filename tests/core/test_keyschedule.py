"""The transcript and the key schedule, against a second implementation made of plain HMAC."""

import hashlib
import hmac

from twisted.trial.unittest import TestCase

from tests.helpers import CLIENT_CREDENTIAL, SERVER_CREDENTIAL, makeHandshakes
from thing.core import keyschedule
from thing.core.keyschedule import (
    HandshakeSecrets,
    SessionSecrets,
    Transcript,
    expandLabel,
    exportKeyingMaterial,
    extract,
    nextKeyHash,
    nextTrafficSecret,
    signatureContent,
)
from thing.core.messages import Role

EMPTY = hashlib.sha256(b"").digest()


def plainExtract(salt: bytes, material: bytes) -> bytes:
    """HKDF-Extract, RFC 5869, section 2.2."""
    return hmac.new(salt, material, hashlib.sha256).digest()


def plainExpand(secret: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand, RFC 5869, section 2.3."""
    out, block, number = b"", b"", 0
    while len(out) < length:
        number += 1
        block = hmac.new(secret, block + info + bytes((number,)), hashlib.sha256).digest()
        out += block
    return out[:length]


def plainLabel(secret: bytes, label: bytes, context: bytes, length: int = 32) -> bytes:
    """HKDF-Expand-Label, RFC 8446, section 7.1, with the prefix of Thing."""
    full = b"thing/1 " + label
    info = length.to_bytes(2, "big") + bytes((len(full),)) + full
    return plainExpand(secret, info + bytes((len(context),)) + context, length)


class HkdfTests(TestCase):
    """The building blocks."""

    def test_extract(self) -> None:
        """Extract gives RFC 5869's first test vector."""
        prk = "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
        self.assertEqual(extract(bytes(range(13)), b"\x0b" * 22).hex(), prk)

    def test_plainExpand(self) -> None:
        """The second implementation gives RFC 5869's first test vector, so it may judge."""
        prk = bytes.fromhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
        okm = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        self.assertEqual(plainExpand(prk, bytes(range(0xF0, 0xFA)), 42).hex(), okm)

    def test_expandLabel(self) -> None:
        """Labels, contexts and lengths go into the derivation as RFC 8446 says."""
        secret = bytes(range(32))
        for label in (b"key", b"iv", b"x" * 200):
            for context in (b"", EMPTY):
                for length in (1, 12, 32, 33, 8160):
                    self.assertEqual(
                        expandLabel(secret, label, context, length),
                        plainLabel(secret, label, context, length),
                    )


class TranscriptTests(TestCase):
    """The running hash."""

    def test_framing(self) -> None:
        """Each message counts with its length and its type."""
        transcript = Transcript()
        transcript.add(b"\x01abc")
        transcript.add(b"\x02")
        self.assertEqual(
            transcript.hash(), hashlib.sha256(b"\0\0\x04\x01abc" + b"\0\0\x01\x02").digest()
        )

    def test_hashWith(self) -> None:
        """A partial message is hashed as if it were whole, and leaves no trace."""
        transcript = Transcript()
        transcript.add(b"\x01abc")
        before = transcript.hash()
        self.assertEqual(
            transcript.hashWith(b"\x05de"),
            hashlib.sha256(b"\0\0\x04\x01abc" + b"\0\0\x03\x05de").digest(),
        )
        self.assertEqual(transcript.hash(), before)


class ScheduleTests(TestCase):
    """Every secret."""

    shared = bytes(range(64))
    hashed = hashlib.sha256(b"transcript").digest()

    def test_handshakeSecrets(self) -> None:
        """The handshake's secrets follow TLS 1.3's ladder, each with its own label."""
        early = plainExtract(bytes(32), bytes(32))
        handshake = plainExtract(plainLabel(early, b"derived", EMPTY), self.shared)
        main = plainExtract(plainLabel(handshake, b"derived", EMPTY), bytes(32))
        self.assertEqual(
            HandshakeSecrets.derive(self.shared, self.hashed),
            HandshakeSecrets(
                clientSecret=plainLabel(handshake, b"c hs traffic", self.hashed),
                serverSecret=plainLabel(handshake, b"s hs traffic", self.hashed),
                serverFinished=plainLabel(handshake, b"s finished", self.hashed),
                clientFinished=plainLabel(handshake, b"c finished", self.hashed),
                serverConfirm=plainLabel(handshake, b"s confirm", self.hashed),
                mainSecret=main,
            ),
        )

    def test_preshared(self) -> None:
        """A pre-shared secret enters the ladder at its beginning, whatever its length."""
        for secret in (bytes(range(16)), bytes(range(64))):
            early = plainExtract(bytes(32), secret)
            handshake = plainExtract(plainLabel(early, b"derived", EMPTY), self.shared)
            derived = HandshakeSecrets.derive(self.shared, self.hashed, secret)
            self.assertEqual(
                derived.clientSecret, plainLabel(handshake, b"c hs traffic", self.hashed)
            )
            main = plainExtract(plainLabel(handshake, b"derived", EMPTY), bytes(32))
            self.assertEqual(derived.mainSecret, main)

    def test_noneIsZeros(self) -> None:
        """Where there is no pre-shared secret, 32 zero octets stand for one, as in RFC 8446."""
        self.assertEqual(
            HandshakeSecrets.derive(self.shared, self.hashed, bytes(32)),
            HandshakeSecrets.derive(self.shared, self.hashed),
        )

    def test_binder(self) -> None:
        """A binder is a MAC under a key of the early secret (RFC 8446, section 4.2.11.2)."""
        secret = bytes(range(16))
        early = plainExtract(bytes(32), secret)
        for label in (b"ext binder", b"res binder"):
            key = plainLabel(early, label, EMPTY)
            self.assertEqual(
                keyschedule.binder(secret, label, self.hashed), plainExtract(key, self.hashed)
            )

    def test_resumptionSecret(self) -> None:
        """The resumption secret follows from the main secret, with its own label."""
        self.assertEqual(
            keyschedule.resumptionSecret(bytes(32), self.hashed),
            plainLabel(bytes(32), b"res main", self.hashed),
        )

    def test_sessionSecrets(self) -> None:
        """The session's secrets and its id follow from the main secret, each with its label."""
        main = bytes(32)
        self.assertEqual(
            SessionSecrets.derive(main, self.hashed),
            SessionSecrets(
                clientSecret=plainLabel(main, b"c ap traffic", self.hashed),
                serverSecret=plainLabel(main, b"s ap traffic", self.hashed),
                exporterSecret=plainLabel(main, b"exp main", self.hashed),
                sessionId=plainLabel(main, b"session id", self.hashed, 16),
            ),
        )

    def test_allDifferent(self) -> None:
        """No two secrets are the same."""
        handshake = HandshakeSecrets.derive(self.shared, self.hashed)
        session = SessionSecrets.derive(handshake.mainSecret, self.hashed)
        names = [(s, name) for s in (handshake, session) for name in type(s).__slots__]
        self.assertEqual(len({getattr(s, name)[:16] for s, name in names}), len(names))

    def test_boundToSharedSecretAndTranscript(self) -> None:
        """Another shared secret or another transcript changes every handshake secret."""
        first = HandshakeSecrets.derive(self.shared, self.hashed)
        for other in (
            HandshakeSecrets.derive(bytes(64), self.hashed),
            HandshakeSecrets.derive(self.shared, bytes(32)),
        ):
            for name in HandshakeSecrets.__slots__:
                if other.mainSecret == first.mainSecret and name == "mainSecret":
                    continue  # The main secret meets the transcript one step later.
                self.assertNotEqual(getattr(first, name), getattr(other, name), name)

    def test_ratchet(self) -> None:
        """The next traffic secret is RFC 8446's, section 7.2."""
        self.assertEqual(
            nextTrafficSecret(self.hashed), plainLabel(self.hashed, b"traffic upd", b"")
        )

    def test_exporter(self) -> None:
        """Exported material is RFC 8446's, section 7.5."""
        label = plainLabel(self.hashed, b"channel", EMPTY)
        context = hashlib.sha256(b"context").digest()
        self.assertEqual(
            exportKeyingMaterial(self.hashed, "channel", b"context", 100),
            plainLabel(label, b"exporter", context, 100),
        )

    def test_mac(self) -> None:
        """A MAC is HMAC-SHA256."""
        self.assertEqual(
            keyschedule.mac(self.shared, self.hashed), plainExtract(self.shared, self.hashed)
        )

    def test_secretsAreNotShown(self) -> None:
        """The repr of the secrets shows the session id at most."""
        handshake = HandshakeSecrets.derive(self.shared, self.hashed)
        session = SessionSecrets.derive(handshake.mainSecret, self.hashed)
        self.assertEqual(repr(handshake), "HandshakeSecrets()")
        self.assertEqual(repr(session), f"SessionSecrets(sessionId={session.sessionId!r})")


class SignatureTests(TestCase):
    """What is signed."""

    def test_content(self) -> None:
        """A signature covers padding, a context, a zero and a hash, as in RFC 8446, 4.4.3."""
        self.assertEqual(
            signatureContent(b"context", bytes(32)), b"\x20" * 64 + b"context\0" + bytes(32)
        )

    def test_contextsDiffer(self) -> None:
        """No context is another's beginning, so no signature can stand for another use's."""
        contexts = [
            *keyschedule.SIGNATURE_CONTEXTS.values(),
            keyschedule.CURRENT_KEY_CONTEXT,
            keyschedule.NEXT_KEY_CONTEXT,
        ]
        for one in contexts:
            for other in contexts:
                self.assertEqual(one is other, other.startswith(one))
        self.assertEqual(set(keyschedule.SIGNATURE_CONTEXTS), set(Role))

    def test_nextKeyHash(self) -> None:
        """An announcement's hash covers the session and both credentials, framed."""
        self.assertEqual(
            nextKeyHash(b"s" * 16, 1, b"old", 1, b"new"),
            hashlib.sha256(b"s" * 16 + b"\x01\0\x03old" + b"\x01\0\x03new").digest(),
        )


class WholeHandshakeTests(TestCase):
    """The schedule as the handshake uses it."""

    def test_fromMessagesAlone(self) -> None:
        """
        Who has the messages and the shared secret derives the same secrets.

        This is what an implementer would do, with nothing but the specification.
        """
        client, server = makeHandshakes()
        chi = client.begin()
        shi, sdh = server.receiveCHI(chi)
        client.receiveSHI(shi)
        assert server._exchange is not None
        exchange = server._exchange
        cdh = client.receiveSDH(sdh)
        shared = exchange.finish(cdh.share)
        scc = server.receiveCDH(cdh)
        client.receiveSCC(scc)
        ccc = client.answer()
        server.receiveCCC(ccc)
        shf = server.finish(30.0, 10.0)
        client.receiveSHF(shf)

        def framed(message: object, cut: int = 0) -> bytes:
            body = message.encode()  # type: ignore[attr-defined]
            body = body[: len(body) - cut]
            return (1 + len(body)).to_bytes(3, "big") + bytes((message.TYPE,)) + body  # type: ignore[attr-defined]

        def digest(data: bytes) -> bytes:
            return hashlib.sha256(data).digest()

        opening = b"".join(map(framed, (chi, shi, sdh, cdh)))
        secrets = HandshakeSecrets.derive(shared, digest(opening))
        self.assertEqual(client.secrets, secrets)
        self.assertEqual(server.secrets, secrets)
        for proof, before, key, credential, context in (
            (scc, opening, secrets.serverFinished, SERVER_CREDENTIAL, "server"),
            (ccc, opening + framed(scc), secrets.clientFinished, CLIENT_CREDENTIAL, "client"),
        ):
            signed = digest(before + framed(proof, 32 + 2 + 64))
            content = b" " * 64 + f"thing/1 {context} crypto check\0".encode() + signed
            self.assertEqual(proof.signature, credential.sign(content))
            self.assertEqual(proof.mac, plainExtract(key, digest(before + framed(proof, 32))))
        before = opening + framed(scc) + framed(ccc)
        self.assertEqual(
            shf.mac, plainExtract(secrets.serverConfirm, digest(before + framed(shf, 32)))
        )
        session = SessionSecrets.derive(secrets.mainSecret, digest(before + framed(shf)))
        self.assertEqual(client.sessionSecrets(), session)
        self.assertEqual(server.sessionSecrets(), session)

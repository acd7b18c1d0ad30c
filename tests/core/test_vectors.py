"""The test vectors are what the core makes, what it takes, and what the specification says."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from itertools import zip_longest
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity
from cryptography.x509 import load_der_x509_certificate
from twisted.trial.unittest import TestCase

from tests.vectors.cases import CASES, FOLDER, Case, connections, identityOf
from tests.vectors.generate import textOf
from thing.core.messages import Role
from thing.core.states import State
from thing.errors import EndReason, ErrorCode, ReplyStatus, StopCode
from thing.events import (
    Cause,
    DataEnded,
    Event,
    GoingAway,
    GoodbyeReceived,
    HandshakeCompleted,
    HeartbeatAcknowledged,
    HeartbeatReceived,
    KeysAnnounced,
    KeyUpdated,
    LastWordReceived,
    MessageReceived,
    PeerProved,
    ReplyReceived,
    RequestReceived,
    ResumptionTicket,
    Session,
    StreamAccepted,
    StreamData,
    StreamEnded,
    StreamRequested,
    StreamStopped,
    Terminated,
    Termination,
    TicketReceived,
)
from thing.identity import Identity

ROLES = {"client": Role.CLIENT, "server": Role.SERVER}
ROUND_TRIP = 0.25


def load(case: Case) -> Any:
    """A file of vectors, its octet strings still in hexadecimal."""
    return json.loads((FOLDER / f"{case.name}.json").read_text())


class CurrentTests(TestCase):
    """The files are up to date."""

    def test_current(self) -> None:
        """Made anew, every file is the same to the octet."""
        for case in CASES:
            path = FOLDER / f"{case.name}.json"
            self.assertEqual(path.read_text(), textOf(case), case.name)

    def test_noOthers(self) -> None:
        """There is no file that nothing makes."""
        names = {path.stem for path in FOLDER.glob("*.json")}
        self.assertEqual(names, {case.name for case in CASES})


# What follows is written from the specification's text alone: it shares no code with the core.


def expandLabel(secret: bytes, label: str, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label, as in the section "Notation"."""
    full = b"thing/1 " + label.encode()
    info = length.to_bytes(2, "big") + bytes([len(full)]) + full + bytes([len(context)]) + context
    out = block = b""
    counter = 1
    while len(out) < length:
        block = hmac.digest(secret, block + info + bytes([counter]), "sha256")
        out += block
        counter += 1
    return out[:length]


def sha256(data: bytes) -> bytes:
    """The hash of everything here."""
    return hashlib.sha256(data).digest()


def opaque16(octets: bytes) -> bytes:
    """Octets behind their length."""
    return len(octets).to_bytes(2, "big") + octets


def framed(plaintext: bytes) -> bytes:
    """A message, or the first part of one, as it counts for the transcript."""
    return len(plaintext).to_bytes(3, "big") + plaintext


def proofParts(name: str, plaintext: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Signed part, signature, MAC part and MAC of SCC, CCC or SHF; the type included."""

    def vector(at: int, size: int) -> int:
        return at + size + int.from_bytes(plaintext[at : at + size], "big")

    at = 1
    if name == "SHF":
        at = vector(at + 8, 2)
        return b"", b"", plaintext[:at], plaintext[at:]
    if name == "SCC":
        at = vector(at + 32, 1)
    at = vector(at + 1, 2)  # kind and credential
    at = vector(at, 2) + 2  # extensions and scheme
    end = vector(at, 2)
    return plaintext[:at], plaintext[at + 2 : end], plaintext[:end], plaintext[end:]


class Follower:
    """One direction's keys."""

    def __init__(self, aead: str, secret: bytes) -> None:
        self.cipher = {"AES_256_GCM": AESGCM, "CHACHA20_POLY1305": ChaCha20Poly1305}[aead]
        self.use(secret)

    def use(self, secret: bytes) -> None:
        self.secret = secret
        self.key = expandLabel(secret, "key", b"", 32)
        self.iv = expandLabel(secret, "iv", b"", 12)
        self.sequence = 0

    def seal(self, plaintext: bytes) -> bytes:
        header = (len(plaintext) + 16).to_bytes(3, "big")
        nonce = int.from_bytes(self.iv, "big") ^ self.sequence
        self.sequence += 1
        sealed = self.cipher(self.key).encrypt(nonce.to_bytes(12, "big"), plaintext, header)
        return header + sealed

    def update(self) -> None:
        self.use(expandLabel(self.secret, "traffic upd", b"", 32))

    @property
    def traffic(self) -> dict[str, str]:
        return {"secret": self.secret.hex(), "key": self.key.hex(), "iv": self.iv.hex()}


class DerivationTests(TestCase):
    """What the specification says leads to the same secrets, proofs and records."""

    def sharedSecret(self, inputs: dict[str, bytes], messages: dict[str, bytes]) -> bytes:
        """The client's X25519 half; ML-KEM from the ciphertext in CDH."""
        serverShare, clientShare = messages["SDH"][3:-2], messages["CDH"][3:-2]
        private = X25519PrivateKey.from_private_bytes(inputs["clientX25519"])
        self.assertEqual(clientShare[-32:], private.public_key().public_bytes_raw())
        agreed = private.exchange(X25519PublicKey.from_public_bytes(serverShare[-32:]))
        if "mlkemSeed" not in inputs:
            self.assertEqual((len(serverShare), len(clientShare)), (32, 32))
            return agreed
        mlkem = MLKEM768PrivateKey.from_seed_bytes(inputs["mlkemSeed"])
        self.assertEqual(serverShare[:1184], mlkem.public_key().public_bytes_raw())
        self.assertEqual(clientShare[:1088], inputs["mlkemCiphertext"])
        return mlkem.decapsulate(clientShare[:1088]) + agreed

    def handshakeSecrets(self, shared: bytes, hashed: bytes, preshared: bytes) -> dict[str, bytes]:
        """The first half of the key schedule."""
        early = hmac.digest(bytes(32), preshared, "sha256")
        salt = expandLabel(early, "derived", sha256(b""), 32)
        handshake = hmac.digest(salt, shared, "sha256")
        salt = expandLabel(handshake, "derived", sha256(b""), 32)
        labels = {
            "client": "c hs traffic",
            "server": "s hs traffic",
            "serverFinished": "s finished",
            "clientFinished": "c finished",
            "serverConfirm": "s confirm",
        }
        secrets = {
            name: expandLabel(handshake, label, hashed, 32) for name, label in labels.items()
        }
        return {**secrets, "mainSecret": hmac.digest(salt, bytes(32), "sha256")}

    def sessionSecrets(self, main: bytes, hashed: bytes) -> dict[str, bytes]:
        """The second half."""
        labels = {
            "client": ("c ap traffic", 32),
            "server": ("s ap traffic", 32),
            "exporterSecret": ("exp main", 32),
            "sessionId": ("session id", 16),
        }
        return {name: expandLabel(main, text, hashed, n) for name, (text, n) in labels.items()}

    def checkSecrets(self, aead: str, secrets: dict[str, bytes], told: Any) -> dict[str, Follower]:
        """Compare a stage of the key schedule; the traffic keys it gives."""
        ways = {name: Follower(aead, secrets.pop(name)) for name in ("client", "server")}
        expected: dict[str, Any] = {name: value.hex() for name, value in secrets.items()}
        expected |= {f"{name}Traffic": way.traffic for name, way in ways.items()}
        self.assertEqual(told, expected)
        return ways

    def checkProof(
        self, name: str, plaintext: bytes, before: bytes, inputs: Any, key: bytes, told: Any
    ) -> None:
        """Compare a MAC, and a signature where there is one."""
        signedPart, signature, macPart, mac = proofParts(name, plaintext)
        hashed = sha256(before + framed(macPart))
        self.assertEqual(mac, hmac.digest(key, hashed, "sha256"))
        expected = {"macHash": hashed, "macKey": key, "mac": mac}
        if name != "SHF":
            role = {"SCC": "server", "CCC": "client"}[name]
            hashed = sha256(before + framed(signedPart))
            content = b" " * 64 + f"thing/1 {role} crypto check".encode() + b"\0" + hashed
            shown, private = self.credential(role, inputs)
            scheme = b"\x08\x07" if private else b"\0\0"
            self.assertTrue(signedPart.endswith(shown + b"\0\0" + scheme))
            self.assertEqual(signature, private.sign(content) if private else b"")
            expected |= {"signatureHash": hashed, "signedContent": content, "signature": signature}
        self.assertEqual(told, {key: value.hex() for key, value in expected.items()})

    def credential(self, role: str, inputs: Any) -> tuple[bytes, Any]:
        """What one side shows, as it is sent, and the key that it signs with, if it does."""
        if "presharedKey" in inputs or "ticket" in inputs:
            return b"\x03\0\0", None
        if f"{role}Seed" not in inputs:
            return b"\0\0\0", None
        key = Ed25519PrivateKey.from_private_bytes(inputs[f"{role}Seed"])
        raw = key.public_key().public_bytes_raw()
        if f"{role}Credential" not in inputs:
            return b"\x01" + opaque16(raw), key
        credential = inputs[f"{role}Credential"]
        if credential[4:].startswith(b"ssh-"):
            found = load_ssh_public_identity(
                b"ssh-ed25519-cert-v01@openssh.com " + base64.b64encode(credential)
            )
            assert isinstance(found, SSHCertificate)
            found.verify_cert_signature()
            kind = b"\x04"
        else:
            end = 2 + int.from_bytes(credential[:2], "big")
            found = load_der_x509_certificate(credential[2:end])
            issuer = load_der_x509_certificate(credential[end + 2 :])
            found.verify_directly_issued_by(issuer)
            kind = b"\x02"
        proved = found.public_key()
        assert isinstance(proved, Ed25519PublicKey)
        self.assertEqual(proved.public_bytes_raw(), raw)
        return kind + opaque16(credential), key

    def checkPuzzle(self, chis: list[bytes], shi: bytes, vector: Any) -> None:
        """The first SHI asks, and the second CHI solves it, which is one hash."""
        inputs, told = vector["inputs"], vector["puzzle"]
        seed, difficulty = bytes.fromhex(inputs["puzzleSeed"]), inputs["difficulty"]
        asked = b"\0\x01\0\x21" + seed + bytes([difficulty])
        random = bytes.fromhex(inputs["retryRandom"])
        self.assertEqual(shi, b"\x02\x01" + random + bytes(4 + 14) + opaque16(asked))
        number = told["number"].to_bytes(8, "big")
        client = bytes.fromhex(inputs["clientRandom"])
        content = b"thing/1 client puzzle\0" + seed + client + number
        self.assertEqual(told["content"], content.hex())
        self.assertEqual(told["hash"], sha256(content).hex())
        self.assertEqual(int(told["hash"], 16) >> 256 - difficulty, 0)
        solution = b"\0\x02\0\x08" + number
        before, after = (chi[: chi.index(client) + 32] for chi in chis)
        self.assertEqual(before, after)
        self.assertNotIn(solution, chis[0])
        self.assertIn(solution, chis[1])

    def checkOffer(self, chi: bytes, before: bytes, vector: Any, told: Any) -> None:
        """The offer is the last of CHI; its binder covers all that stands before it."""
        offered = vector["preshared"]
        secret, identity = (bytes.fromhex(offered[name]) for name in ("secret", "identity"))
        inputs = vector["inputs"]
        self.assertIn(
            (offered["secret"], offered["identity"]),
            [
                (inputs.get("presharedKey"), inputs.get("presharedIdentity")),
                (inputs.get("resumptionSecret"), inputs.get("ticket")),
            ],
        )
        form, label = (1, "ext binder") if "presharedKey" in inputs else (2, "res binder")
        early = hmac.digest(bytes(32), secret, "sha256")
        key = expandLabel(early, label, sha256(b""), 32)
        self.assertEqual(offered["form"], form)
        self.assertEqual(offered["earlySecret"], early.hex())
        self.assertEqual(offered["binderKey"], key.hex())
        hashed = sha256(before + framed(chi[:-32]))
        binder = hmac.digest(key, hashed, "sha256")
        self.assertEqual(told, {"hash": hashed.hex(), "binder": binder.hex()})
        value = bytes([form]) + opaque16(identity) + binder
        self.assertTrue(chi.endswith(b"\0\x03" + opaque16(value)))

    def checkTicket(self, secret: bytes, vector: Any) -> bytes:
        """A ticket is the sealed secret and the sealed client; SHF brings it as an extension."""
        told = vector["ticket"]
        inputs = vector["inputs"]
        name, nonce, key, client = (
            bytes.fromhex(inputs[each])
            for each in ("ticketKeyName", "ticketNonce", "ticketKey", "clientPublicKey")
        )
        ends = 1000 * (1767225600 + 24 * 3600)
        contents = b"\x01" + ends.to_bytes(8, "big") + secret + b"\x01" + opaque16(client)
        self.assertEqual(told["contents"], contents.hex())
        server = b"".join(
            b"\x01" + opaque16(bytes.fromhex(inputs[each]))
            for each in ("serverPublicKey", "nextPublicKey")
        )
        ticket = name + nonce + AESGCM(key).encrypt(nonce, contents, name + server)
        self.assertEqual(told["ticket"], ticket.hex())
        lifetime = ends // 1000 - inputs["wallClock"]
        self.assertEqual(told["lifetime"], lifetime)
        value = lifetime.to_bytes(4, "big") + opaque16(ticket)
        return b"\0\x04" + opaque16(value)

    def checkSession(self, ways: dict[str, Follower], told: Any) -> None:
        """Seal the same plaintexts to the same records."""
        for entry in told:
            way = ways[entry["from"]]
            self.assertEqual(way.sequence, entry["sequence"])
            self.assertEqual(way.seal(bytes.fromhex(entry["plaintext"])).hex(), entry["record"])
            if entry["name"] in ("CKU", "SKU"):
                way.update()

    def checkNextKey(self, sessionId: bytes, inputs: dict[str, bytes], vector: Any) -> None:
        """Compare what SNK's signatures cover, and the signatures."""
        told = vector["nextKey"]
        shown = [self.credential(owner, inputs)[0] for owner in ("server", "next")]
        hashed = sha256(sessionId + b"".join(shown))
        self.assertEqual(told["hash"], hashed.hex())
        snk = b"\x42" + shown[1]
        for seed, context, content, signature in (
            ("serverSeed", b"current", "signedContent", "signature"),
            ("nextSeed", b"next", "nextSignedContent", "nextSignature"),
        ):
            signed = b" " * 64 + b"thing/1 server " + context + b" key\0" + hashed
            self.assertEqual(told[content], signed.hex())
            made = Ed25519PrivateKey.from_private_bytes(inputs[seed]).sign(signed)
            self.assertEqual(told[signature], made.hex())
            snk += bytes.fromhex("08070040") + made
        self.assertEqual(vector["session"][0]["plaintext"], snk.hex())

    def check(self, vector: Any) -> None:
        """Derive a whole file."""
        inputs = {k: bytes.fromhex(v) for k, v in vector["inputs"].items() if isinstance(v, str)}
        told = vector["handshake"]
        messages = {entry["name"]: bytes.fromhex(entry["plaintext"]) for entry in told}
        shared = self.sharedSecret(inputs, messages)
        self.assertEqual(vector["sharedSecret"], shared.hex())
        preshared = inputs.get("presharedKey", inputs.get("resumptionSecret", bytes(32)))
        binders = iter(vector.get("preshared", {"binders": []})["binders"])
        transcript = b""
        ways: dict[str, Follower] = {}
        secrets: dict[str, bytes] = {}
        resumption = b""
        macKeys = {"SCC": "serverFinished", "CCC": "clientFinished", "SHF": "serverConfirm"}
        for entry in told:
            name = entry["name"]
            plaintext = bytes.fromhex(entry["plaintext"])
            record = ways[entry["from"]].seal(plaintext) if ways else framed(plaintext)
            self.assertEqual(record.hex(), entry["record"])
            if name == "CHI" and "preshared" in vector:
                self.checkOffer(plaintext, transcript, vector, next(binders))
            if name in macKeys:
                proof = vector["proofs"][name]
                key = secrets[macKeys[name]]
                self.checkProof(name, plaintext, transcript, inputs, key, proof)
            transcript += framed(plaintext)
            self.assertEqual(sha256(transcript).hex(), entry["transcriptHash"])
            if name == "CDH":
                secrets = self.handshakeSecrets(shared, sha256(transcript), preshared)
                ways = self.checkSecrets(vector["aead"], secrets, vector["handshakeSecrets"])
            elif name == "CCC":
                resumption = expandLabel(secrets["mainSecret"], "res main", sha256(transcript), 32)
        self.assertEqual(list(binders), [])
        if "puzzle" in vector:
            first, shi, second = (bytes.fromhex(entry["plaintext"]) for entry in told[:3])
            self.checkPuzzle([first, second], shi, vector)
        given = self.checkTicket(resumption, vector) if "ticket" in vector else b""
        following = b"\0\x05" + opaque16(b"") if "nextKey" in vector else b""
        self.assertEqual(messages["SHF"][9:-32], opaque16(given + following))
        session = self.sessionSecrets(secrets["mainSecret"], sha256(transcript))
        session["resumptionSecret"] = resumption
        ways = self.checkSecrets(vector["aead"], session, vector["sessionSecrets"])
        exporter = vector["exporter"]
        forLabel = expandLabel(session["exporterSecret"], exporter["label"], sha256(b""), 32)
        context = sha256(bytes.fromhex(exporter["context"]))
        exported = expandLabel(forLabel, "exporter", context, 48)
        self.assertEqual(exporter["result"], exported.hex())
        self.assertIs("nextKey" in vector, vector["session"][0]["name"] == "SNK")
        if "nextKey" in vector:
            self.checkNextKey(session["sessionId"], inputs, vector)
        self.checkSession(ways, vector["session"])
        after = {f"{name}Traffic": way.traffic for name, way in ways.items()}
        self.assertEqual(vector["updated"], after)
        for ending in vector["endings"].values():
            self.checkEnding(ways, ending)

    def checkEnding(self, ways: dict[str, Follower], ending: Any) -> None:
        """Seal an ending; the next one goes on from the same place."""
        before = {name: way.sequence for name, way in ways.items()}
        self.checkSession(ways, ending)
        for name, way in ways.items():
            way.sequence = before[name]

    def test_derivation(self) -> None:
        """Hashes and HMAC alone lead from the inputs to every secret, proof and record."""
        for case in CASES:
            self.check(load(case))

    def test_whatIsShown(self) -> None:
        """The files hold what only some of them do: else its derivation would go unchecked."""
        holding = {
            name: {case.name for case in CASES if name in load(case)}
            for name in ("puzzle", "preshared", "ticket")
        }
        self.assertEqual(
            holding,
            {
                "puzzle": {"retry", "resumption-retry"},
                "preshared": {"preshared", "resumption", "resumption-retry", "small"},
                "ticket": {"ticket", "resumption", "resumption-retry"},
            },
        )
        for case in CASES:
            names = {entry["name"] for entry in load(case)["session"]}
            self.assertTrue({"COP", "SAC", "CDT", "SDT"} <= names, case.name)
            self.assertTrue({"SST"} <= names if case.small else {"SOP", "CST"} <= names, case.name)
            if case.small or case.fragmented:
                self.assertTrue(names & {"CCR", "SCR"}, case.name)
        without = {case.name for case in CASES if "nextKey" not in load(case)}
        self.assertEqual(without, holding["preshared"])

    def test_resumption(self) -> None:
        """The ticket of one file is what the session of the next begins with."""
        files = {case.name: load(case) for case in CASES}
        first, later = files["ticket"], files["resumption"]["inputs"]
        self.assertEqual(later["ticket"], first["ticket"]["ticket"])
        self.assertEqual(later["resumptionSecret"], first["sessionSecrets"]["resumptionSecret"])


Action = Callable[[Any, bytes, float], object]


def _dies(server: Any, plaintext: bytes, now: float) -> None:
    while server.termination is None:
        server.handleTimer(server.nextDeadline)


def _replies(side: Any, plaintext: bytes) -> None:
    side.reply(int.from_bytes(plaintext[1:5], "big"), plaintext[5], plaintext[6:])


def _streamOf(plaintext: bytes, at: int) -> int:
    return int.from_bytes(plaintext[at : at + 4], "big")


def _sends(side: Any, plaintext: bytes) -> None:
    """Send a message of the main stream, or octets of another; END goes with them."""
    number, data = _streamOf(plaintext, 2), plaintext[6:]
    if number:
        side.sendStream(number, data)
    elif data or not plaintext[1] & 2:
        side.sendMessage(data)
    if plaintext[1] & 2:
        side.endStream(number)


ACTIONS: dict[str, Action] = {
    "CHB": lambda side, plaintext, now: side.beat(now),
    "CDT": lambda side, plaintext, now: _sends(side, plaintext),
    "SDT": lambda side, plaintext, now: _sends(side, plaintext),
    "CRQ": lambda side, plaintext, now: side.request(plaintext[5:]),
    "SRQ": lambda side, plaintext, now: side.request(plaintext[5:]),
    "CRP": lambda side, plaintext, now: _replies(side, plaintext),
    "SRP": lambda side, plaintext, now: _replies(side, plaintext),
    "CLW": lambda side, plaintext, now: side.setLastWord(plaintext[1:]),
    "COP": lambda side, plaintext, now: side.openStream(plaintext[6:].decode(), now),
    "SOP": lambda side, plaintext, now: side.openStream(plaintext[6:].decode(), now),
    "CAC": lambda side, plaintext, now: side.acceptStream(_streamOf(plaintext, 1)),
    "SAC": lambda side, plaintext, now: side.acceptStream(_streamOf(plaintext, 1)),
    "CST": lambda side, plaintext, now: side.stopStream(_streamOf(plaintext, 1), plaintext[6]),
    "SST": lambda side, plaintext, now: side.stopStream(_streamOf(plaintext, 1), plaintext[6]),
    "CKU": lambda side, plaintext, now: side.updateKey(now),
    "SKU": lambda side, plaintext, now: side.updateKey(now),
    "CGB": lambda side, plaintext, now: side.goodbye(now),
    "SGA": lambda side, plaintext, now: side.goAway(EndReason.SHUTDOWN, now, 5.0, 60.0),
    "SFL": _dies,
    "CHR": lambda side, plaintext, now: side.reject(ErrorCode.INTERNAL_ERROR, now),
    "SHR": lambda side, plaintext, now: side.reject(ErrorCode.INTERNAL_ERROR, now, "", 1.5),
}
"""What a side's program does so that this message is sent; others follow by themselves."""


class Replay:
    """A fresh Connection that meets one side's recorded octets, and must make the other's."""

    def __init__(self, case: Case, vector: Any, role: str, chunk: int) -> None:
        inputs = {
            name: bytes.fromhex(value) if isinstance(value, str) else value
            for name, value in vector["inputs"].items()
        }
        self.side = connections(case, inputs)[ROLES[role]]
        self.role = role
        self.vector = vector
        self.identities = {
            name: identityOf(case, inputs, name) for name in ("client", "server", "next")
        }
        self._chunk = chunk
        self._now = 0.0
        self.events: list[Event] = list(self.side.start(0.0))
        self.expected: list[Event] = []
        self.sent = b""
        self.expectedSent = b""
        self._message = b""
        self._asked: dict[int, list[Event]] = {}

    def play(self, entries: Any) -> None:
        """Go through records in the order in which they were on the wire."""
        for entry, following in zip_longest(entries, entries[1:]):
            plaintext = bytes.fromhex(entry["plaintext"])
            if entry["name"] in ("CDT", "SDT") and not _streamOf(plaintext, 2):
                self._message += plaintext[6:]
                plaintext = plaintext[:6] + self._message
                if plaintext[1] != 1:
                    self._message = b""
            more = entry["name"] in ("CDT", "SDT") and plaintext[1] == 1
            if entry["from"] == self.role:
                self.expectedSent += bytes.fromhex(entry["record"])
                if entry["name"] in ACTIONS and not more:
                    ACTIONS[entry["name"]](self.side, plaintext, self._now)
                if entry["name"] in ("CAC", "SAC"):
                    number = _streamOf(plaintext, 1)
                    self.events += self.side.releaseStream(number, self._now)
                    self.expected += self._asked.pop(number)
            else:
                self._now += ROUND_TRIP if entry["name"] == "SUU" else 0.0
                self._receive(bytes.fromhex(entry["record"]))
                if not more:
                    self.expected += self._told(entry["name"], plaintext)
            if following is None or self.role in (entry["from"], following["from"]):
                self.sent += self.side.dataToSend(self._now, 1 << 30)

    def _receive(self, record: bytes) -> None:
        for at in range(0, len(record), self._chunk):
            for event in self.side.receiveData(record[at : at + self._chunk], self._now):
                self.events.append(event)
                if isinstance(event, PeerProved):
                    self.events += self.side.admit(event.identity, self._now)
        while self.side.state is State.SOLVING:
            self.events += self.side.handleTimer(self._now)

    def _told(self, name: str, plaintext: bytes) -> list[Event]:
        """The events that must follow from a message."""
        return {
            "SCC": self._proved,
            "CCC": lambda _: [*self._proved(b""), self._completed()],
            "SHF": lambda _: [self._completed(), *self._ticket()],
            "SNK": lambda _: [KeysAnnounced(self.identities["server"], self.identities["next"])],
            "CHB": lambda body: [self._heartbeat(body)],
            "SUU": lambda body: [
                HeartbeatAcknowledged(int.from_bytes(body[:8], "big"), ROUND_TRIP, 20.0, 6.667)
            ],
            "CDT": self._data,
            "SDT": self._data,
            "COP": self._requested,
            "SOP": self._requested,
            "CAC": lambda body: [StreamAccepted(_streamOf(body, 0))],
            "SAC": lambda body: [StreamAccepted(_streamOf(body, 0))],
            "CST": lambda body: [StreamStopped(_streamOf(body, 0), StopCode(body[5]))],
            "SST": lambda body: [StreamStopped(_streamOf(body, 0), StopCode(body[5]))],
            "CRQ": self._question,
            "SRQ": self._question,
            "CRP": self._answered,
            "SRP": self._answered,
            "CLW": lambda body: [LastWordReceived(body)],
            "CKU": lambda _: [KeyUpdated(1)],
            "SKU": lambda _: [KeyUpdated(1)],
            "CGB": lambda _: [GoodbyeReceived()],
            "SGA": lambda _: [GoingAway(EndReason.SHUTDOWN, 60.0, 5.0)],
            "SGB": self._goodbye,
            "CFL": self._goodbye,
            "SFL": lambda _: [self._flatLined()],
            "CHR": lambda _: [self._rejected(0.0)],
            "SHR": lambda _: [self._rejected(1.5)],
        }.get(name, lambda _: [])(plaintext[1:])

    def _peer(self) -> Identity:
        return self.identities["server" if self.role == "client" else "client"]

    def _proved(self, body: bytes) -> list[Event]:
        return [PeerProved(self._peer())]

    def _completed(self) -> Event:
        sessionId = bytes.fromhex(self.vector["sessionSecrets"]["sessionId"])
        group, aead = self.vector["group"], self.vector["aead"]
        resumed = "ticket" in self.vector["inputs"]
        return HandshakeCompleted(
            Session(sessionId, self._peer(), group, aead, 20.0, 6.667, resumed)
        )

    def _ticket(self) -> list[Event]:
        if "ticket" not in self.vector:
            return []
        ticket = bytes.fromhex(self.vector["ticket"]["ticket"])
        secret = bytes.fromhex(self.vector["sessionSecrets"]["resumptionSecret"])
        lifetime = self.vector["ticket"]["lifetime"]
        return [TicketReceived(ResumptionTicket(ticket, secret, self._peer(), lifetime))]

    def _heartbeat(self, body: bytes) -> Event:
        sequence, rtt = int.from_bytes(body[:8], "big"), body[8:].hex()
        return HeartbeatReceived(sequence, None if rtt == "ffffffff" else ROUND_TRIP, 20.0)

    def _data(self, body: bytes) -> list[Event]:
        """A message, or octets; what comes before a stream is accepted is told then."""
        ends, number, data = bool(body[0] & 2), _streamOf(body, 1), body[5:]
        events: list[Event] = []
        if number:
            events += [StreamData(number, data)] if data else []
            events += [StreamEnded(number)] if ends else []
        else:
            events += [MessageReceived(data)] if data or not ends else []
            events += [DataEnded()] if ends else []
        if number in self._asked:
            self._asked[number] += events
            return []
        return events

    def _requested(self, body: bytes) -> list[Event]:
        self._asked[_streamOf(body, 0)] = []
        return [StreamRequested(_streamOf(body, 0), body[5:].decode())]

    def _question(self, body: bytes) -> list[Event]:
        return [RequestReceived(int.from_bytes(body[:4], "big"), body[4:])]

    def _answered(self, body: bytes) -> list[Event]:
        number, status = int.from_bytes(body[:4], "big"), ReplyStatus(body[4])
        return [ReplyReceived(number, status, body[5:])]

    def _goodbye(self, body: bytes) -> list[Event]:
        asked = any(name == "SGA" for name in self.names)
        reason = EndReason.SHUTDOWN if asked else None
        advice = 60.0 if asked and self.role == "client" else None
        return [Terminated(Termination(Cause.GOODBYE, reason=reason, retryAfter=advice))]

    names: tuple[str, ...] = ()
    """The messages of the ending that is replayed."""

    def _flatLined(self) -> Event:
        return Terminated(
            Termination(
                Cause.FLAT_LINED,
                byPeer=True,
                reason=EndReason.HEARTBEAT_MISSED,
                retryAfter=0.0,
                lastHeartbeat=3,
            )
        )

    def _rejected(self, retryAfter: float) -> Event:
        return Terminated(
            Termination(Cause.ABORTED, ErrorCode.INTERNAL_ERROR, byPeer=True, retryAfter=retryAfter)
        )


class ReplayTests(TestCase):
    """Fresh Connections take the recorded octets."""

    def check(self, role: str, chunk: int) -> None:
        """Replay all files to one role, each with all its endings."""
        for case in CASES:
            vector = load(case)
            for name, ending in vector["endings"].items():
                replay = Replay(case, vector, role, chunk)
                replay.names = tuple(entry["name"] for entry in ending)
                replay.play(vector["handshake"])
                replay.play(vector["session"])
                replay.play(ending)
                where = f"{case.name}, {name}"
                self.assertEqual(replay.events, replay.expected, where)
                self.assertEqual(replay.sent.hex(), replay.expectedSent.hex(), where)
                self.assertIsNotNone(replay.side.termination, where)

    def test_client(self) -> None:
        """A client that hears the recorded server tells its events and says the same again."""
        self.check("client", 1 << 20)

    def test_server(self) -> None:
        """A server that hears the recorded client tells its events and says the same again."""
        self.check("server", 1 << 20)

    def test_clientInPieces(self) -> None:
        """For a client it does not matter how the octets are cut."""
        self.check("client", 7)

    def test_serverInPieces(self) -> None:
        """For a server it does not matter how the octets are cut."""
        self.check("server", 7)

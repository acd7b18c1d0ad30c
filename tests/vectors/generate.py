"""
Make the test vectors: both roles, driven with a fixed source of randomness.

``python -m tests.vectors.generate`` writes them beside this module. The core
makes the records; all secrets are computed here, apart from the core's own
state, from the inputs and the plaintext, and open every record. So a vector is
only written where both agree. The specification, "Test vectors", describes
the files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from tests.vectors.cases import (
    CASES,
    CLIENT,
    FOLDER,
    SERVER,
    Case,
    connections,
    inputsOf,
    octets,
)
from thing.core import keyschedule, puzzle
from thing.core.client import ClientConnection
from thing.core.extensions import ExtensionType, GivenTicket, PresharedOffer, Solution, find
from thing.core.groups import GroupName
from thing.core.handshakemessages import CCC, CHI, SCC, SHF
from thing.core.layout import OPAQUE16
from thing.core.messages import SNK, MessageType, Role
from thing.core.preshared import Form
from thing.core.records import Aead
from thing.core.server import ServerConnection
from thing.core.states import State
from thing.errors import EndReason, ErrorCode, ReplyStatus, StopCode
from thing.events import Event, PeerProved

ROUND_TRIP = 0.25
"""How long every SUU takes to come, seconds; a fraction that floats hold exactly."""

EXPORTER_LABEL, EXPORTER_CONTEXT, EXPORTER_LENGTH = "EXPORTER-thing-example", b"context", 48

ROLES = {CLIENT: "client", SERVER: "server"}
ALL = 1 << 30
"""More octets than any transport here is given at once."""


def records(data: bytes) -> Iterator[bytes]:
    """The records in a run of octets, headers included."""
    while data:
        length = 3 + int.from_bytes(data[:3], "big")
        yield data[:length]
        data = data[length:]


class Pair:
    """Both sides and the wire between them."""

    def __init__(self, case: Case, inputs: dict[str, Any]) -> None:
        self.now = 0.0
        self.sides = connections(case, inputs)
        self.client: ClientConnection = self.sides[CLIENT]
        self.server: ServerConnection = self.sides[SERVER]
        self.wire: list[tuple[Role, bytes]] = []
        self.events: dict[Role, list[Event]] = {CLIENT: [], SERVER: []}
        self.server.start(self.now)
        self.client.start(self.now)
        self.flow()

    def carry(self, sender: Role) -> bool:
        """Bring what one side has to send to the other; tell whether there was anything."""
        data = self.sides[sender].dataToSend(self.now, ALL)
        self.wire += [(sender, record) for record in records(data)]
        receiver = self.sides[sender.peer]
        for event in receiver.receiveData(data, self.now):
            self.events[sender.peer].append(event)
            if isinstance(event, PeerProved):
                self.events[sender.peer] += receiver.admit(event.identity, self.now)
        return bool(data)

    def flow(self) -> None:
        """Carry until nobody has anything to send."""
        while any([self.carry(CLIENT), self.carry(SERVER), self.client.state is State.SOLVING]):
            self.search()

    def search(self) -> None:
        """Let the client solve the puzzle that it has, if it has one."""
        while self.client.state is State.SOLVING:
            self.client.handleTimer(self.now)

    def heartbeat(self) -> None:
        """One CHB and its SUU."""
        self.client.beat(self.now)
        self.carry(CLIENT)
        self.now += ROUND_TRIP
        self.carry(SERVER)

    def ask(self) -> None:
        """Requests in both directions, and their replies, with each status."""
        self.client.request(b"what is the time?")
        self.client.request(b"")
        self.flow()
        self.server.reply(2, ReplyStatus.FAILED)
        self.server.reply(1, ReplyStatus.DONE, b"noon")
        self.server.request(b"boil")
        self.flow()
        self.client.reply(1, ReplyStatus.NOT_TAKEN)
        self.flow()

    def converse(self, case: Case) -> None:
        """What every session here has between SHF and its end."""
        self.now = 5.0
        self.heartbeat()
        self.heartbeat()
        self.client.sendMessage(b"hello, server")
        self.server.sendMessage(b"hello, client")
        self.server.sendMessage(b"")
        if case.fragmented:
            self.client.sendMessage(octets("message", 16384 + 16))
        self.client.setLastWord(b"gone without goodbye")
        self.flow()
        self.ask()
        self.client.updateKey(self.now)
        self.heartbeat()
        self.server.updateKey(self.now)
        self.server.sendMessage(b"under the next key")
        self.flow()
        self.credit(case)
        self.streams(case)
        self.client.endStream(0)
        self.flow()

    def credit(self, case: Case) -> None:
        """A message that is longer than what a small client grants at first."""
        if case.small:
            self.server.sendMessage(octets("message", 1000))
            self.flow()

    def streams(self, case: Case) -> None:
        """One that is accepted and ends both ways, half by half; one that is stopped."""
        number = self.client.openStream("amp", self.now)
        self.client.sendStream(number, b"early")
        self.flow()
        self.server.acceptStream(number)
        self.events[SERVER] += self.server.releaseStream(number, self.now)
        self.server.sendStream(number, octets("stream", 150))
        self.flow()
        self.client.sendStream(number, b"the last")
        self.client.endStream(number)
        self.flow()
        self.server.endStream(number)
        self.flow()
        side = self.client if case.small else self.server
        number = side.openStream("logs", self.now)
        self.flow()
        other = self.server if case.small else self.client
        other.stopStream(number, StopCode.NOT_TAKEN)
        self.flow()


def _goodbye(pair: Pair) -> None:
    pair.client.goodbye(pair.now)
    pair.flow()


def _goingAway(pair: Pair) -> None:
    pair.server.goAway(EndReason.SHUTDOWN, pair.now, grace=5.0, retryAfter=60.0)
    pair.flow()


def _flatLine(pair: Pair) -> None:
    while pair.server.termination is None:
        pair.now = pair.server.nextDeadline or 0.0
        pair.server.handleTimer(pair.now)
    pair.carry(SERVER)


def _clientReject(pair: Pair) -> None:
    pair.client.reject(ErrorCode.INTERNAL_ERROR, pair.now)
    pair.carry(CLIENT)


def _serverReject(pair: Pair) -> None:
    pair.server.reject(ErrorCode.INTERNAL_ERROR, pair.now, retryAfter=1.5)
    pair.carry(SERVER)


ENDINGS: dict[str, Callable[[Pair], None]] = {
    "goodbye": _goodbye,
    "goingAway": _goingAway,
    "flatLine": _flatLine,
    "clientReject": _clientReject,
    "serverReject": _serverReject,
}
"""The ways in which a session is ended here."""


class Direction:
    """One direction's traffic secret as an observer who knows it follows it."""

    def __init__(self, aead: Aead, secret: bytes) -> None:
        self._aead = aead
        self.generation = 0
        self._use(secret)

    def _use(self, secret: bytes) -> None:
        self.sequence = 0
        self.traffic = {
            "secret": secret,
            "key": keyschedule.expandLabel(secret, b"key", length=32),
            "iv": keyschedule.expandLabel(secret, b"iv", length=12),
        }

    def open(self, record: bytes) -> bytes:
        """The plaintext of the next record."""
        cipher = AESGCM if self._aead is Aead.AES_256_GCM else ChaCha20Poly1305
        counter = self.sequence.to_bytes(12, "big")
        nonce = bytes(a ^ b for a, b in zip(self.traffic["iv"], counter, strict=True))
        self.sequence += 1
        return cipher(self.traffic["key"]).decrypt(nonce, record[3:], record[:3])

    def update(self) -> None:
        """Move to the next key."""
        self.generation += 1
        self._use(keyschedule.nextTrafficSecret(self.traffic["secret"]))


def sharedSecretOf(case: Case, inputs: dict[str, Any]) -> bytes:
    """What the key exchange gives, from the private keys."""
    server = X25519PrivateKey.from_private_bytes(inputs["serverX25519"])
    client = X25519PrivateKey.from_private_bytes(inputs["clientX25519"])
    agreed = server.exchange(
        X25519PublicKey.from_public_bytes(client.public_key().public_bytes_raw())
    )
    if case.group is GroupName.X25519:
        return agreed
    mlkem = MLKEM768PrivateKey.from_seed_bytes(inputs["mlkemSeed"])
    return mlkem.decapsulate(inputs["mlkemCiphertext"]) + agreed


class Observer:
    """Reads a whole session with the help of its inputs, and writes down what it sees."""

    def __init__(self, case: Case, inputs: dict[str, Any]) -> None:
        self._aead = case.aead
        self._inputs = inputs
        self._transcript = keyschedule.Transcript()
        self._directions: dict[Role, Direction] = {}
        sharedSecret = sharedSecretOf(case, inputs)
        self.vector: dict[str, Any] = {
            "comment": case.comment,
            "group": case.group.name,
            "aead": case.aead.name,
            "inputs": inputs,
            "handshake": [],
            "sharedSecret": sharedSecret,
        }
        self._secrets: keyschedule.HandshakeSecrets
        self._session: keyschedule.SessionSecrets

    def _use(self, clientSecret: bytes, serverSecret: bytes) -> dict[str, Any]:
        self._directions = {
            CLIENT: Direction(self._aead, clientSecret),
            SERVER: Direction(self._aead, serverSecret),
        }
        return self.traffic()

    def traffic(self) -> dict[str, Any]:
        """The keys in use."""
        return {f"{ROLES[role]}Traffic": way.traffic for role, way in self._directions.items()}

    def handshake(self, wire: list[tuple[Role, bytes]]) -> None:
        """Read all messages up to SHF."""
        proofs = self.vector["proofs"] = {}
        for sender, record in wire:
            protected = bool(self._directions)
            plaintext = self._directions[sender].open(record) if protected else record[3:]
            kind, body = MessageType(plaintext[0]), plaintext[1:]
            if protected:
                proofs.update(self._proofs(kind, body))
            if kind is MessageType.CHI:
                self._readCHI(CHI.decode(body))
            self._transcript.add(bytes((kind,)) + body)
            self.vector["handshake"].append(
                {
                    "name": kind.name,
                    "from": ROLES[sender],
                    "plaintext": plaintext,
                    "record": record,
                    "transcriptHash": self._transcript.hash(),
                }
            )
            if kind is MessageType.CDH:
                self._handshakeSecrets()
            elif kind is MessageType.CCC:
                main = self._secrets.mainSecret
                resumption = keyschedule.resumptionSecret(main, self._transcript.hash())
            elif kind is MessageType.SHF:
                self._readTicket(SHF.decode(body))
        self._sessionSecrets(resumption)
        for name in ("proofs", "ticket"):  # After the secrets, for the reader.
            if name in self.vector:
                self.vector[name] = self.vector.pop(name)

    def _readCHI(self, chi: CHI) -> None:
        """A second CHI's solution, and any offer."""
        solution = find(chi.extensions, ExtensionType.SOLUTION)
        if solution is not None:
            number = Solution.decode(solution).number
            content = puzzle.CONTEXT + self._inputs["puzzleSeed"] + chi.random
            content += number.to_bytes(8, "big")
            self.vector["puzzle"] = {
                "number": number,
                "content": content,
                "hash": hashlib.sha256(content).digest(),
            }
        value = find(chi.extensions, ExtensionType.PRESHARED_KEY)
        if value is not None:
            self._readOffer(chi, PresharedOffer.decode(value))

    def _readOffer(self, chi: CHI, offer: PresharedOffer) -> None:
        """The binder of an offer; there are two in a retry."""
        form = Form(offer.form)
        secret = self._secretOffered
        early = keyschedule.extract(bytes(32), secret or b"")
        key = keyschedule.expandLabel(early, form.binderLabel, hashlib.sha256(b"").digest())
        hashed = self._transcript.hashWith(chi.typed()[:-32])
        if offer.binder != keyschedule.mac(key, hashed):
            raise ValueError("the core has another binder")
        offers = self.vector.setdefault(
            "preshared",
            {
                "form": offer.form,
                "identity": offer.identity,
                "secret": secret,
                "earlySecret": early,
                "binderKey": key,
                "binders": [],
            },
        )
        offers["binders"].append({"hash": hashed, "binder": offer.binder})

    @property
    def _secretOffered(self) -> bytes | None:
        return self._inputs.get("presharedKey", self._inputs.get("resumptionSecret"))

    def _readTicket(self, shf: SHF) -> None:
        """The ticket that is given, opened."""
        value = find(shf.extensions, ExtensionType.TICKET)
        if value is not None:
            given, inputs = GivenTicket.decode(value), self._inputs
            name, nonce, sealed = given.ticket[:16], given.ticket[16:28], given.ticket[28:]
            server = b"".join(
                b"\x01" + OPAQUE16.write(inputs[each])
                for each in ("serverPublicKey", "nextPublicKey")
            )
            contents = AESGCM(inputs["ticketKey"]).decrypt(nonce, sealed, name + server)
            self.vector["ticket"] = {
                "lifetime": given.lifetime,
                "contents": contents,
                "ticket": given.ticket,
            }

    def _handshakeSecrets(self) -> None:
        hashed = self._transcript.hash()
        self._secrets = keyschedule.HandshakeSecrets.derive(
            self.vector["sharedSecret"], hashed, self._secretOffered
        )
        traffic = self._use(self._secrets.clientSecret, self._secrets.serverSecret)
        self.vector["handshakeSecrets"] = {
            **traffic,
            "serverFinished": self._secrets.serverFinished,
            "clientFinished": self._secrets.clientFinished,
            "serverConfirm": self._secrets.serverConfirm,
            "mainSecret": self._secrets.mainSecret,
        }

    def _sessionSecrets(self, resumption: bytes) -> None:
        hashed = self._transcript.hash()
        secrets = keyschedule.SessionSecrets.derive(self._secrets.mainSecret, hashed)
        self.vector["sessionSecrets"] = {
            **self._use(secrets.clientSecret, secrets.serverSecret),
            "exporterSecret": secrets.exporterSecret,
            "resumptionSecret": resumption,
            "sessionId": secrets.sessionId,
        }
        self._session = secrets

    def _proofs(self, kind: MessageType, body: bytes) -> dict[str, Any]:
        secrets = self._secrets
        if kind is MessageType.SHF:
            return {"SHF": self._macOf(SHF.decode(body), secrets.serverConfirm)}
        role, message, key = (
            (SERVER, SCC.decode(body), secrets.serverFinished)
            if kind is MessageType.SCC
            else (CLIENT, CCC.decode(body), secrets.clientFinished)
        )
        hashed = self._transcript.hashWith(message.signedPart(message.typed()))
        content = keyschedule.signatureContent(keyschedule.SIGNATURE_CONTEXTS[role], hashed)
        return {
            kind.name: {
                "signatureHash": hashed,
                "signedContent": content,
                "signature": message.signature,
                **self._macOf(message, key),
            }
        }

    def _macOf(self, message: SCC | CCC | SHF, key: bytes) -> dict[str, bytes]:
        hashed = self._transcript.hashWith(message.macPart(message.typed()))
        mac = keyschedule.mac(key, hashed)
        if mac != message.mac:
            raise ValueError(f"the core has another MAC in {message.TYPE.name}")
        return {"macHash": hashed, "macKey": key, "mac": mac}

    def exporter(self) -> None:
        """Derive the exporter's example."""
        self.vector["exporter"] = {
            "label": EXPORTER_LABEL,
            "context": EXPORTER_CONTEXT,
            "result": keyschedule.exportKeyingMaterial(
                self._session.exporterSecret,
                EXPORTER_LABEL,
                EXPORTER_CONTEXT,
                EXPORTER_LENGTH,
            ),
        }

    def nextKey(self, case: Case, body: bytes) -> None:
        """What SNK's signatures cover."""
        snk = SNK.decode(body)
        data = [
            self._inputs.get(f"{owner}Credential", self._inputs[f"{owner}PublicKey"])
            for owner in ("server", "next")
        ]
        hashed = keyschedule.nextKeyHash(
            self._session.sessionId, case.kind, data[0], case.kind, data[1]
        )
        self.vector["nextKey"] = {
            "hash": hashed,
            "signedContent": keyschedule.signatureContent(keyschedule.CURRENT_KEY_CONTEXT, hashed),
            "signature": snk.signature,
            "nextSignedContent": keyschedule.signatureContent(keyschedule.NEXT_KEY_CONTEXT, hashed),
            "nextSignature": snk.nextSignature,
        }

    def session(self, wire: list[tuple[Role, bytes]]) -> list[dict[str, Any]]:
        """Read records of the session."""
        seen = []
        for sender, record in wire:
            way = self._directions[sender]
            entry: dict[str, Any] = {"generation": way.generation, "sequence": way.sequence}
            plaintext = way.open(record)
            kind = MessageType(plaintext[0])
            seen.append(
                {
                    "name": kind.name,
                    "from": ROLES[sender],
                    **entry,
                    "plaintext": plaintext,
                    "record": record,
                }
            )
            if kind in (MessageType.CKU, MessageType.SKU):
                way.update()
        return seen


def vectorOf(case: Case) -> dict[str, Any]:
    """Everything that the file of a case holds."""
    inputs = inputsOf(case)
    observer = Observer(case, inputs)
    pair = Pair(case, inputs)
    pair.converse(case)
    established = len(pair.wire)
    steps = 9 if case.difficulty else 7
    observer.handshake(pair.wire[:steps])
    observer.exporter()
    session = observer.session(pair.wire[steps:])
    if session[0]["name"] == "SNK":
        observer.nextKey(case, session[0]["plaintext"][1:])
    vector = observer.vector
    vector["session"] = session
    vector["updated"] = observer.traffic()
    vector["endings"] = {}
    for name, end in ENDINGS.items():
        observer = Observer(case, inputs)
        pair = Pair(case, inputs)
        pair.converse(case)
        end(pair)
        observer.handshake(pair.wire[:steps])
        observer.session(pair.wire[steps:established])
        vector["endings"][name] = observer.session(pair.wire[established:])
    return vector


def textOf(case: Case) -> str:
    """The file of a case."""
    return json.dumps(vectorOf(case), indent=1, default=bytes.hex) + "\n"


def main() -> None:
    """Write all files."""
    for case in CASES:
        (FOLDER / f"{case.name}.json").write_text(textOf(case))


if __name__ == "__main__":
    main()

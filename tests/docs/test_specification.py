"""The specification says what the code does."""

import ast
import base64
import hashlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import TestCase

from tests import PROJECT
from tests.vectors.generate import CASES, connections, inputsOf
from thing.core import (
    capacity,
    credentials,
    groups,
    heartbeat,
    keyschedule,
    layout,
    messages,
    preshared,
    puzzle,
    records,
    settings,
    streams,
    window,
)
from thing.core.limits import Limits
from thing.core.messages import Role
from thing.errors import ErrorCode, RemoteProtocolError
from thing.identity import fingerprint
from thing.trust import jointoken

PAGE = PROJECT / "docs" / "specification.rst"

LIMITS = {
    # Of each module, every number that the protocol or this side's defaults fix.
    messages: {
        "VERSION": "The chosen version: {}.",
        "CHI_LIMIT": "first record at a server {} octets",
        "HANDSHAKE_LIMIT": "other records before Established {} octets",
        "FRAGMENT_LIMIT": "data in one CDT or SDT 22 octets less than the record ({} RECOMMENDED)",
        "REQUEST_LIMIT": "data in one request or reply {} octets",
        "REQUESTS_OUTSTANDING": "unanswered requests of one side {}",
        "LAST_WORD_LIMIT": "last word {} octets",
        "UNKNOWN_RTT": "round-trip time unknown {}",
        "MIN_TTL": "TTL {} to",
        "MAX_TTL": "TTL 100 to {} milliseconds",
        "MIN_INTERVAL": "beat interval {} milliseconds",
        "MORE": "Bit ``0{}`` is MORE",
        "END": "bit ``0{}`` is END",
    },
    records: {
        "HEADER_LENGTH": "record header {} octets",
        "TAG_LENGTH": "AEAD tag {} octets",
        "RECORD_LIMIT": "records once Established 512 to {} octets",
        "KEY_LENGTH": "AEAD key {} octets",
        "IV_LENGTH": "AEAD IV and nonce {} octets",
        "MAX_RECORDS": "records under one key {} (2^23)",
        "MAX_BYTES": "octets under one key {} (2^36)",
        "MAX_AGE": "age of one key {} seconds",
    },
    capacity: {
        "MIN_RECORD": "records once Established {} to 65558 octets",
        "MIN_STREAM_CREDIT": "first credit of another stream {} octets or more",
        "MOST_CREDIT": "the first credit of the main stream (`Streams`_) 576 to {}",
        "MOST_STREAMS": "how many streams the peer may have open at once that 0 to {}",
        "DATA_OVERHEAD": "A record of data has {} octets beside the data",
        "REPLY_OVERHEAD": "A record of data has {} octets beside the data",
        "MAX_REQUEST_RECORD": "or than {} if that is less",
    },
    streams: {
        "SHARE": "largest windows of one Connection {} (default)",
        "STREAM_COST": "a stream that is open counts there as {} octets",
        "MAX_CODE": "code of a stop 0 to {}",
        "MAX_STREAM": "numbers of streams 1 to {}",
        "LABEL_LIMIT": "label of a stream 1 to {} octets",
    },
    window: {
        "RECORD_COST": "cost of a record in a stream's order its data and {} octets",
        "MAX_WINDOW": "window of a stream {} octets at most (default)",
        "FEW_RECORDS": "window that grows by four round trips up to {} octets (default)",
        "BRIEF": "what any window may hold {} milliseconds of its rate (default)",
        "QUEUE": "queue behind a longer window {} milliseconds (default)",
    },
    keyschedule: {
        "HASH_LENGTH": "hash, MAC and every secret {} octets",
        "SESSION_ID_LENGTH": "session id {} octets",
    },
    heartbeat: {
        "BEATS_PER_TTL": "beats in one TTL {}",
        "LATE_TOLERANCE": "lateness without grace {} milliseconds",
        "STILL_GRACE": "grace of a side that stood still {} second",
    },
    layout: {
        "MAX_EXTENSIONS": "extensions in a list {}",
    },
    credentials: {
        "MAX_CHAIN": "certificates in a chain {}",
    },
    puzzle: {
        "HASH_BITS": "hash of a puzzle {} bits",
        "HASHES_PER_SECOND": "hashes a second that are waited for {}",
        "PATIENCE_BITS": "hardest puzzle that is waited for {} bits",
    },
    preshared: {
        "MAX_TICKET": "ticket {} octets",
        "MAX_LIFETIME": "lifetime of a ticket, at a client {} seconds",
        "MIN_KEY": "pre-shared key {} to 64 octets",
    },
    jointoken: {
        "VERSION": "version uint8 {}",
        "SECRET_SIZE": "secret {} octets the same",
        "_CHECKSUM_SIZE": "checksum {} octets the first",
        "MAX_FINGERPRINTS": "keys of the server in a token 1 to {}",
        "MAX_SERVERS": "addresses in a token 1 to {}, of",
        "MAX_SERVER": "addresses in a token 1 to 8, of {} octets at most",
        "MAX_TOKEN": "token to join by {} characters at most",
    },
    groups: {
        "X25519_LENGTH": "X25519 key {} octets",
        "MLKEM_KEY_LENGTH": "ML-KEM-768 encapsulation key {} octets",
        "MLKEM_CIPHERTEXT_LENGTH": "ML-KEM-768 ciphertext {} octets",
        "MLKEM_SEED_LENGTH": "ML-KEM-768 seed {} octets",
    },
}
"""The specification's words for each number."""

DEFAULTS = {
    "handshakeTimeout": "handshake deadline {} seconds (default)",
    "closeTimeout": "close deadline {} seconds (default)",
    "maxMessage": "one message of the application {} octets (default)",
}
"""The specification's words for the settings that it recommends."""

CAPACITY = (
    "records once Established 512 to 65558 octets ({} by default)",
    "first credit of the main stream 576 octets or more ({} by default)",
    "first credit of another stream 128 octets or more ({} by default)",
    "streams that the peer may have open 0 to 65535 ({} by default)",
)
"""The words for what a side can take by default, in the order of CHI's fields."""

POLICY = "default {default} s, minimum {minimum} s, maximum {maximum} s, {beatsPerSecond} beats"


def script() -> ModuleType:
    """The script that draws the generated parts."""
    spec = importlib.util.spec_from_file_location("generate", PROJECT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(text: str) -> str:
    """A text with every run of white space as one space."""
    return " ".join(text.split())


def numbersIn(module: ModuleType) -> dict[str, int | float]:
    """The numeric constants that a module itself defines."""
    source = Path(module.__file__ or "").read_text()
    names = [
        target.id
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    found = {name: getattr(module, name) for name in names if name.isupper()}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def labelsIn(module: ModuleType) -> set[str]:
    """The labels that a module passes to ``expandLabel``."""
    tree = ast.parse(Path(module.__file__ or "").read_text())
    return {
        argument.value.decode("ascii")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "expandLabel"
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, bytes)
    }


class SpecificationTests(TestCase):
    """The page and the code agree."""

    def setUp(self) -> None:
        """Read the page."""
        self.page = PAGE.read_text()
        self.words = words(self.page)

    def test_generatedPartsAreCurrent(self) -> None:
        """Tables, diagrams and the worked example are as the code has them."""
        self.assertEqual(script().refreshed(self.page), self.page)

    def test_staleIsNoticed(self) -> None:
        """A changed word in a generated part is put right."""
        stale = self.page.replace("a record holds no message", "a record is void")
        self.assertNotEqual(stale, self.page)
        self.assertEqual(script().refreshed(stale), self.page)

    def test_missingPartIsNoticed(self) -> None:
        """A generated part without its markers is an error."""
        torn = self.page.replace(".. begin generated: reasons\n", "")
        self.assertRaises(ValueError, script().refreshed, torn)

    def test_joinToken(self) -> None:
        """The token on the page is what the page's text makes of what stands beside it."""
        block = self.page.split(".. begin generated: join-token")[1].split(".. end")[0]
        token = "".join(re.findall(r"\n       (\S+)", block))
        found: dict[str, list[str]] = {}
        for name, value in re.findall(r"\n   (\w+) = (\S+)", block):
            found.setdefault(name, []).append(value)
        prints = [base64.b64decode(each[7:] + "=") for each in found["fingerprint"]]
        addresses = [each.encode() for each in found["address"]]
        content = b"".join(
            (
                b"\1" + bytes.fromhex(found["id"][0] + found["secret"][0]),
                bytes((len(prints),)) + b"".join(prints),
                bytes((len(addresses),)),
                *(bytes((len(each),)) + each for each in addresses),
            )
        )
        octets = content + hashlib.sha256(content).digest()[:4]
        self.assertEqual(base64.urlsafe_b64encode(octets).rstrip(b"=").decode(), token)
        read = jointoken.JoinToken.parse(token)
        self.assertEqual((read.encode(), list(read.servers)), (token, found["address"]))

    def test_labels(self) -> None:
        """Every label of the key schedule is on the page."""
        labels = labelsIn(keyschedule) | labelsIn(records)
        self.assertTrue({"derived", "c hs traffic", "traffic upd", "exporter", "key"} <= labels)
        for label in (*labels, keyschedule.LABEL_PREFIX.decode()):
            self.assertIn(f'"{label}"', self.page)

    def test_contexts(self) -> None:
        """Every context string and the magic are on the page."""
        contexts = {
            *keyschedule.SIGNATURE_CONTEXTS.values(),
            keyschedule.CURRENT_KEY_CONTEXT,
            keyschedule.NEXT_KEY_CONTEXT,
            messages.MAGIC,
        }
        self.assertEqual(len(contexts), 5)
        for context in contexts:
            self.assertIn(f'"{context.decode("ascii")}"', self.page)
        self.assertIn(messages.MAGIC.hex(), self.page)

    def test_limits(self) -> None:
        """Every number that the code fixes is on the page, with its value."""
        for module, phrases in LIMITS.items():
            numbers = numbersIn(module)
            self.assertEqual(set(numbers), set(phrases), module.__name__)
            for name, value in numbers.items():
                phrase = words(phrases[name])
                scale = 1000 if isinstance(value, float) and "milliseconds" in phrase else 1
                self.assertIn(phrase.format(round(value * scale)), self.words, name)

    def test_defaults(self) -> None:
        """The recommended settings are the code's defaults."""
        fields = settings.Settings.__dataclass_fields__
        for name, phrase in DEFAULTS.items():
            self.assertIn(phrase.format(round(fields[name].default)), self.words, name)
        for value, phrase in zip(fields["capacity"].default, CAPACITY, strict=True):
            self.assertIn(phrase.format(value), self.words)
        self.assertIn(f"({settings.BUDGET >> 20} MiB are RECOMMENDED for a server)", self.words)
        held = Limits.__dataclass_fields__["held"].default
        self.assertIn(f"waiting in memory for all of a server {held} octets (default)", self.words)
        policy = heartbeat.TtlPolicy.__dataclass_fields__
        defaults = {name: round(field.default) for name, field in policy.items()}
        self.assertIn(POLICY.format(**defaults), self.words)

    def test_numbers(self) -> None:
        """Every group and AEAD is on the page under its number."""
        for group in groups.GroupName:
            self.assertRegex(self.page, rf"(?m)^0x{group:04x} {group.name} ")
        for aead in records.Aead:
            name = aead.name.replace("_", ".").replace("POLY", "Poly").replace("CHACHA", "ChaCha")
            self.assertRegex(self.page, rf"(?m)^{int(aead)} +{name} ")

    def test_expandLabelExamples(self) -> None:
        """The worked examples of HKDF-Expand-Label are right."""
        for label, length in ((b"key", 32), (b"iv", 12)):
            result = keyschedule.expandLabel(bytes(range(32)), label, length=length)
            self.assertIn(f"result = {result.hex()}\n", self.page)
        early = keyschedule.extract(bytes(32), bytes(32))
        emptyHash = re.search(r"``(e3b0[0-9a-f]{60})``", self.page)
        assert emptyHash is not None
        derived = keyschedule.expandLabel(early, b"derived", bytes.fromhex(emptyHash[1]))
        self.assertIn(f"= {early.hex()}\n", self.page)
        self.assertIn(f"= {derived.hex()}\n", self.page)

    def test_fingerprintExample(self) -> None:
        """The example of a fingerprint is right."""
        example = re.search(r"``([0-9a-f]{64})`` it is\s+``(SHA256:[^`]+)``", self.page)
        assert example is not None
        self.assertEqual(fingerprint(bytes.fromhex(example[1])), example[2])

    def test_smallOrder(self) -> None:
        """Each key of small order on the page is refused as such, whatever its sign."""
        keys = re.findall(r"(?m)^    ([0-9a-f]{64})$", self.page.partition("**Small order.**")[2])
        self.assertEqual(len(set(keys)), 7)
        scheme = credentials.SignatureScheme.ED25519
        for key in map(bytes.fromhex, keys):
            for sign in (0x00, 0x80):
                data = key[:31] + bytes((key[31] | sign,))
                with self.assertRaises(RemoteProtocolError) as raised:
                    credentials.verifyCredential(1, data, scheme, bytes(64), b"content")
                self.assertIs(raised.exception.code, ErrorCode.BAD_CREDENTIAL)

    def test_rejectExample(self) -> None:
        """The example of a clear reject is what a server with another group says."""
        example = re.search(r"clear SHR\s+``([0-9a-f ]+)``", self.page)
        assert example is not None
        ours, other = CASES[0], next(case for case in CASES if case.group is not CASES[0].group)
        client = connections(ours, inputsOf(ours))[Role.CLIENT]
        server = connections(other, inputsOf(other))[Role.SERVER]
        client.start(0.0)
        server.start(0.0)
        list(server.receiveData(client.dataToSend(0.0, 1), 0.0))
        self.assertEqual(server.dataToSend(0.0, 1), bytes.fromhex(example[1]))

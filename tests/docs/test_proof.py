"""The models of the protocol are those of the code, and the results are those of the models."""

from __future__ import annotations

import contextlib
import hmac
import importlib
import io
import os
import re
from collections.abc import Iterator
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from formal.claims import MODELS_DIRECTORY, Claim, Model, Mutation, Run, Verdict, runs
from formal.results import PAGE, Result, faults, load, page
from formal.run import MODELS, SKIPPED, main
from tests import PROJECT
from tests.core.test_handshake import converse
from tests.core.test_resumption import FixedSealer
from tests.helpers import (
    MessageClient,
    MessageServer,
    clientSettings,
    makeHandshakes,
    serverSettings,
)
from thing.core import groups, handshake, keyschedule
from thing.core.catalogue import MESSAGES
from thing.core.extensions import GivenTicket, PresharedOffer
from thing.core.groups import MLKEM_CIPHERTEXT_LENGTH, MLKEM_KEY_LENGTH, GroupName
from thing.core.layout import Message
from thing.core.messages import MessageType
from thing.core.preshared import Resumable
from thing.errors import RemoteProtocolError
from thing.events import ResumptionTicket
from thing.identity import CredentialKind
from thing.trust.preshared import PresharedKey

SECURITY = PROJECT / "docs" / "security.rst"

EXTENSIONS = {each.__name__: each for each in (PresharedOffer, GivenTicket)}

ELSEWHERE = {
    # That it does, each way in claims as "client"; that both must choose otherwise is for tests.
    "A client authenticates itself, unless both sides chose otherwise.": (
        "tests.core.test_handshake.RefusalTests.test_anonymousRefused",
        "tests.core.test_handshake.RefusalTests.test_anonymousClientKnows",
    ),
    "Both sides know that the other is gone within one TTL, a server that was itself asleep within "
    "one more, and such a client within one more second.": (
        "tests.core.test_heartbeat.SessionTests.test_deadAtTtl",
        "tests.core.test_heartbeat.WatchTests.test_deadInTime",
        "tests.core.test_sleep.SleepTests.test_noWord",
    ),
    "A stranger costs bounded memory and time, and the authorizer is not asked about it: of a "
    "program's own code only ``connectionMade``, ``terminated`` and ``connectionLost`` run.": (
        "tests.session.test_hostile.StrangerTests.test_memory",
        "tests.session.test_security.StrangerTests.test_halfOpen",
        "tests.session.test_security.StrangerTests.test_keyExchanges",
        "tests.core.test_handshake.RefusalTests.test_strangers",
    ),
    "A session's memory is bounded.": (
        "tests.core.test_connection.DataTests.test_memory",
        "tests.session.test_held.IdleTests.test_memory",
    ),
    # The models for Spin ask for it, too: "Nobody waits for ever."
    "Every wait has a deadline.": (
        "tests.core.test_connection.HandshakeTimeoutTests.test_inEachState",
    ),
}
"""What is promised and claimed of no model, with the tests that show it."""

LIMITS = {
    "Signatures are Ed25519 and not post-quantum: a quantum computer could impersonate from then "
    "on.",
    "A ticket tells by its length whether its client has a key, a certificate or neither.",
    "The identity of a pre-shared key is sent in the clear.",
}
"""What stands among the promises and is none, but says where they end."""


def stated(kind: str) -> Iterator[tuple[str, str]]:
    """What the models say of one kind: each name, and what is said of it."""
    for path in sorted([*MODELS_DIRECTORY.glob("*.pvl"), *MODELS_DIRECTORY.glob("*.pv")]):
        for found in re.finditer(rf"\(\* {kind} ([^:]+): (.*?) ?\*\)", path.read_text(), re.DOTALL):
            yield found[1], " ".join(found[2].split())


def layoutOf(cls: type[Message]) -> str:
    """A message's layout in the words of the models."""
    pairs = zip(cls.__match_args__, cls.LAYOUT, strict=True)
    return ", ".join(f"{name} {field}" for name, field in pairs) or "nothing"


def promised() -> list[str]:
    """The sentences under "What is promised" on the page about security."""
    _, _, after = SECURITY.read_text().partition("What is promised\n----------------\n")
    section, _, _ = after.partition("What is not promised\n")
    withoutHeads = re.sub(r"^\*[^*]+\*", "", section, flags=re.MULTILINE)
    return re.split(r"(?<=\.) (?=[A-Z])", " ".join(withoutHeads.split()))


class ResultTests(SynchronousTestCase):
    """The results and the page"""

    def test_current(self) -> None:
        """Each claim and mutation was run as it stands, and has the verdict that it must have."""
        self.assertEqual(list(faults(MODELS, load())), [])

    def test_page(self) -> None:
        """The page's tables are those of the results."""
        text = PAGE.read_text()
        self.assertEqual(page(MODELS, load(), text), text)

    def test_sentences(self) -> None:
        """Each sentence that a claim shows stands on the page about security."""
        security = " ".join(SECURITY.read_text().split())
        for run in runs(MODELS):
            self.assertIn(run.claim.sentence, security, run.name)

    def test_promises(self) -> None:
        """Each sentence of what is promised is a claim's, or it is said where else it is shown."""
        claimed = {run.claim.sentence for run in runs(MODELS)}
        self.assertEqual(set(promised()) - claimed, set(ELSEWHERE) | LIMITS)

    def test_elsewhere(self) -> None:
        """The tests that show what no model does are there."""
        for sentence, names in ELSEWHERE.items():
            for name in names:
                path, case, method = name.rsplit(".", 2)
                found = getattr(importlib.import_module(path), case, None)
                self.assertTrue(callable(getattr(found, method, None)), (sentence, name))

    def test_mutations(self) -> None:
        """
        Each claim that is proved has a mutation that breaks it, of its own or in the small model
        of the same, and so says something.
        """
        broken = {
            (run.model.name.removeprefix("few"), run.claim.name)
            for run in runs(MODELS)
            if run.mutation is not None and run.mutation.verdict is run.claim.unproved
        }
        for model in MODELS:
            for claim in model.claims:
                if claim.verdict is Verdict.PROVED:
                    self.assertIn((model.name.removeprefix("few"), claim.name), broken)

    def test_whys(self) -> None:
        """What is not proved, and what breaks nothing, has a reason; each name is there once."""
        names = [run.name for run in runs(MODELS)]
        self.assertEqual(len(set(names)), len(names))
        for run in runs(MODELS):
            if run.mutation is not None and run.mutation.verdict is not Verdict.BROKEN:
                self.assertTrue(run.mutation.why, run.name)
            if run.claim.verdict is Verdict.OPEN:
                self.assertTrue(run.claim.why, run.name)


class FaultTests(SynchronousTestCase):
    """What is noticed"""

    claim = Claim("possible", "It ends.", "", "query attacker(c).", Verdict.BROKEN)
    model = Model("signatures", "A model", (claim,))

    def faults(self, *results: Result) -> list[str]:
        """The faults if the claim had this result."""
        return list(faults((self.model,), dict.fromkeys(["signatures/possible"], *results)))

    def test_good(self) -> None:
        """A result of the same text with the verdict that is due is none."""
        self.assertEqual(self.faults(Result(Run(self.model, self.claim).hash(), "broken", 1.0)), [])

    def test_changed(self) -> None:
        """A model, or a query, that has changed since."""
        (fault,) = self.faults(Result("0" * 64, "broken", 1.0))
        self.assertIn("has changed", fault)

    def test_wrong(self) -> None:
        """Another verdict."""
        (fault,) = self.faults(Result(Run(self.model, self.claim).hash(), "proved", 1.0))
        self.assertIn("proved, and not broken", fault)

    def test_missing(self) -> None:
        """No result, and one that belongs to nothing."""
        fault, other = faults((self.model,), {"other": Result("", "open", 0.0)})
        self.assertIn("never run", fault)
        self.assertIn("no such run", other)

    def test_nowhere(self) -> None:
        """A mutation of something that does not stand in the model."""
        run = Run(self.model, self.claim, Mutation("none", "nothing", "not there", ""))
        self.assertRaises(ValueError, run.text)

    def test_skipped(self) -> None:
        """Without ProVerif nothing is run, and that is said."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), mock.patch.dict(os.environ, {"PROVERIF": ""}):
            self.assertEqual(main([]), SKIPPED)
        self.assertIn("Skipped", said.getvalue())


class LayoutTests(SynchronousTestCase):
    """What the models were made for"""

    def test_layouts(self) -> None:
        """The fields of each message that is in a model are those of the code."""
        classes = {kind.name: cls for kind, cls in MESSAGES.items()} | EXTENSIONS
        layouts = dict(stated("layout"))
        self.assertLessEqual({"CHI", "SHI", "SDH", "CDH", "SCC", "CCC", "SHF"}, set(layouts))
        for name, layout in layouts.items():
            self.assertEqual(layout, layoutOf(classes[name]), name)

    def test_schedule(self) -> None:
        """The derivations of the models are those that the code makes, and it makes all of them."""
        schedule = Schedule()
        with schedule.watching():
            self.converse()
            keyschedule.nextTrafficSecret(b"session n")
        self.assertEqual(schedule.secrets, dict(stated("secret")))

    def test_proofs(self) -> None:
        """What the models' proofs cover, and with which key, is what the code's cover."""
        schedule = Schedule()
        with schedule.watching():
            self.converse()
        self.assertEqual(schedule.proofs, dict(stated("proof")))

    def test_transcripts(self) -> None:
        """What the transcript has in the end is what the models have in it, with a retry, too."""
        for name, difficulty in (("once", 0), ("retry", 1)):
            schedule = Schedule()
            with schedule.watching():
                converse(*makeHandshakes(), difficulty=difficulty)
            self.assertEqual(schedule.transcripts, [dict(stated("transcript"))[name]] * 2)

    def test_shared(self) -> None:
        """Both secrets of the hybrid enter the key schedule, in the order of the models."""
        wants = clientSettings(groups=(GroupName.X25519MLKEM768,))
        serving = serverSettings(groups=wants.groups)
        schedule = Schedule()
        with (
            schedule.watching(),
            mock.patch.object(groups, "MLKEM768PrivateKey", SpokenMlKem),
            mock.patch.object(groups, "MLKEM768PublicKey", SpokenMlKem),
            mock.patch.object(groups._X25519Exchange, "finish", lambda *_: b"X25519"),
        ):
            converse(MessageClient(wants), MessageServer(serving))
        self.assertEqual(
            {("X25519MLKEM768", shared.decode()) for shared in schedule.shared},
            set(stated("shared")),
        )

    def converse(self) -> None:
        """
        Run a handshake of each way in: with signatures, after a retry, with X25519MLKEM768, with a
        pre-shared key and with a ticket.
        """
        converse(*makeHandshakes(), difficulty=1)
        hybrid = clientSettings(groups=(GroupName.X25519MLKEM768,))
        converse(MessageClient(hybrid), MessageServer(serverSettings(groups=hybrid.groups)))
        wants = clientSettings(resumption=True)
        tickets = FixedSealer(b"ticket")
        serving = serverSettings(tickets=tickets)
        theServer, theClient, _, _ = converse(MessageClient(wants), MessageServer(serving))
        tickets.opened = Resumable(PRESHARED, theClient)
        kept = ResumptionTicket(b"ticket", PRESHARED, theServer, 60.0)
        converse(MessageClient(wants, kept), MessageServer(serving))
        psk = PresharedKey(b"kettle", PRESHARED)
        kinds = (CredentialKind.PRESHARED,)
        client = clientSettings(credential=psk, peerKinds=kinds)
        server = serverSettings(peerKinds=kinds, presharedKeys={psk.identity: psk.key})
        converse(MessageClient(client), MessageServer(server))

    def test_nothing(self) -> None:
        """Without a secret, zeros stand for it."""
        salt = keyschedule._handshakeSalt(bytes(32))
        self.assertEqual(keyschedule._NOTHING_PRESHARED, salt)


PRESHARED = b"a secret of 32 octets, known to A"


class Schedule:
    """The code's key schedule with words for octets: what it derives, and what it proves."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.proofs: dict[str, str] = {}
        self.shared: set[bytes] = set()
        self._transcripts: list[SpokenTranscript] = []
        self._names = {derivation: name for name, derivation in stated("secret")}

    def named(self, derivation: str) -> bytes:
        """The name that the models have for a derivation; or itself, if they have none."""
        name = self._names.get(derivation, derivation)
        if derivation in self._names:
            self.secrets[name] = derivation
        return name.encode()

    def extract(self, salt: bytes, keyMaterial: bytes) -> bytes:
        """HKDF-Extract in words."""
        known = {b"zeros": "zeros", PRESHARED: "preshared"}
        if keyMaterial not in known:
            self.shared.add(keyMaterial)
        return self.named(f"Extract({salt.decode()}, {known.get(keyMaterial, 'shared')})")

    def expand(self, secret: bytes, label: bytes, context: bytes = b"", length: int = 32) -> bytes:
        """HKDF-Expand-Label in words."""
        return self.named(f'Expand({secret.decode()}, "{label.decode()}", {context.decode()})')

    def transcript(self) -> SpokenTranscript:
        """A transcript that is kept."""
        self._transcripts.append(SpokenTranscript())
        return self._transcripts[-1]

    @property
    def transcripts(self) -> list[str]:
        """What each side's transcript has by now."""
        return [", ".join(each.names) for each in self._transcripts]

    def mac(self, key: bytes, hashed: bytes) -> bytes:
        """A MAC, with the words for its key."""
        self.prove("mac", key.decode(), hashed)
        return hmac.digest(key, hashed, "sha256")

    def sign(self, context: bytes, hashed: bytes) -> bytes:
        """What is signed, with the words for what it covers."""
        self.prove("signature", f'"{context.decode()}"', hashed)
        return context + hashed

    def prove(self, kind: str, key: str, hashed: bytes) -> None:
        """Keep a proof, by the message and the field that it is for."""
        found = re.search(r"(\w+) before (\w+)\)$", hashed.decode())
        assert found is not None, hashed
        name = f"{found[1]} {found[2]}"
        keys = self.proofs.get(name, "").partition(", ")[0].split(" or ")
        every = " or ".join(sorted({key, *keys} - {""}))
        self.proofs[name] = f"{every}, {hashed.decode()}"

    def watching(self) -> contextlib.ExitStack:
        """Until this ends, the code's handshakes derive and prove in words."""
        salt = b'Expand(Extract(zeros, preshared), "derived", H())'
        watched = contextlib.ExitStack()
        for module, name, value in (
            (keyschedule, "_ZEROS", b"zeros"),
            (keyschedule, "_EMPTY_HASH", b"H()"),
            (keyschedule, "_NOTHING_PRESHARED", salt),
            (keyschedule, "extract", self.extract),
            (keyschedule, "expandLabel", self.expand),
            (keyschedule, "mac", self.mac),
            (handshake, "mac", self.mac),
            (handshake, "signatureContent", self.sign),
            (handshake, "Transcript", self.transcript),
        ):
            watched.enter_context(mock.patch.object(module, name, value))
        return watched


class SpokenMlKem:
    """ML-KEM-768, either key, with words for the secret."""

    SECRET = b"ML-KEM-768, "

    @classmethod
    def from_seed_bytes(cls, seed: bytes) -> SpokenMlKem:
        """Make a private key."""
        return cls()

    @classmethod
    def from_public_bytes(cls, key: bytes) -> SpokenMlKem:
        """Read a public key."""
        return cls()

    def public_key(self) -> SpokenMlKem:
        """The public key of a private one."""
        return self

    def public_bytes_raw(self) -> bytes:
        """The public key's octets."""
        return bytes(MLKEM_KEY_LENGTH)

    def encapsulate(self) -> tuple[bytes, bytes]:
        """The secret, and its ciphertext."""
        return self.SECRET, bytes(MLKEM_CIPHERTEXT_LENGTH)

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """The secret."""
        return self.SECRET


class SpokenTranscript:
    """A transcript that says what it is a hash of."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def add(self, message: bytes) -> None:
        """Append a message."""
        self.names.append(MessageType(message[0]).name)

    @property
    def said(self) -> str:
        """The first message and the last."""
        return "..".join(dict.fromkeys((self.names[0], self.names[-1]))) if self.names else ""

    def hash(self) -> bytes:
        """All messages so far."""
        return f"H({self.said})".encode()

    def hashWith(self, part: bytes) -> bytes:
        """The same, and the message of which this is a part, up to the field that is missing."""
        cls = MESSAGES[MessageType(part[0])]
        field, at = "binder", 1 + len(cls.PREFIX)  # The binder is the end of CHI's last field.
        for name, layout in zip(cls.__match_args__, cls.LAYOUT, strict=True):
            if at == len(part):
                field = name
                break
            with contextlib.suppress(RemoteProtocolError):
                at = layout.read(part, at)[1]
        before = f"{self.said}, " if self.said else ""
        return f"H({before}{cls.TYPE.name} before {field})".encode()

"""The fuzz targets, each on a bounded set of inputs that is the same in every run."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from twisted.trial.unittest import TestCase

from fuzz import fuzz_connection, fuzz_credentials, fuzz_keyfiles, fuzz_messages
from tests.core.test_credentials import certifiedKey, chainOf
from tests.core.test_states import SOME
from tests.helpers import CAN, CLIENT_CREDENTIAL, SERVER_CREDENTIAL, MessageClient, clientSettings
from thing.core.catalogue import MESSAGES
from thing.core.extensions import GivenTicket, PresharedOffer, Puzzle, Solution
from thing.core.handshakemessages import SHI
from thing.core.messages import MessageType
from thing.errors import CredentialError, ErrorCode, LocalProtocolError
from thing.trust import formatPublicKey
from thing.trust.jointoken import JoinToken

PUBLIC = formatPublicKey(CLIENT_CREDENTIAL.data, "kettle").encode()
OTHER = formatPublicKey(SERVER_CREDENTIAL.data).encode()

MESSAGE_SEEDS = [
    bytes((number,)) + SOME[cls.TYPE].encode()
    for number, cls in enumerate(MESSAGES.values())
    if cls.TYPE in SOME
]

EXTENSION_SEEDS = [
    bytes((number,)) + value.encode()
    for number, value in enumerate(
        (
            Puzzle(bytes(32), 3),
            Solution(1),
            PresharedOffer(1, b"kettle"),
            GivenTicket(60, b"ticket"),
        ),
        len(MESSAGES),
    )
]

CREDENTIAL_SEEDS = [
    bytes((each.kind,)) + each.data
    for each in (
        CLIENT_CREDENTIAL,
        certifiedKey(),
        *map(chainOf, ("ed25519", "p256", "rsa2048")),
    )
]

KEY_SEEDS = [
    PUBLIC,
    b"# comment\n\n" + PUBLIC + b"\n" + OTHER + b"\n",
    b'name="the \\"kettle\\"" ' + PUBLIC,
    b"[example.org]:7000 " + OTHER + b"\n@revoked [example.org]:7000 " + PUBLIC,
    b"*,![example.org]:7000 " + OTHER,
    b"|1|AAAAAAAAAAAAAAAAAAAAAAAAAAA=|AAAAAAAAAAAAAAAAAAAAAAAAAAA= " + OTHER,
    b"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
    JoinToken("00112233445566ff", bytes(32), ("SHA256:" + "A" * 43,), ("a:1",)).encode().encode(),
    b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE=\n-----END OPENSSH PRIVATE KEY-----",
]


def step(kind: int, octets: bytes) -> bytes:
    """A step of the connection's target, as the input has it."""
    return bytes((kind, len(octets))) + octets


def opening() -> list[bytes]:
    """CHIs and SHIs with extensions, offers and tickets among them; none is too long for a step."""
    asked = SHI(1, bytes(32), 0, 0, *CAN, ((1, Puzzle(bytes(32), 1).encode()),))
    taken = SHI(1, bytes(32), 0x1D, 2, *CAN, ((3, b""),))
    chi = MessageClient(clientSettings()).begin()
    offered = [
        replace(chi, requestedTtl=0, extensions=extensions)
        for extensions in (
            ((4, b""), (3, PresharedOffer(2, b"ticket").encode())),
            ((2, Solution(0).encode()), (3, PresharedOffer(1, b"kettle").encode())),
            ((3, PresharedOffer(9, b"?").encode()), (4, b"")),
        )
    ]
    return [bytes((each.TYPE,)) + each.encode() for each in (asked, taken, chi, *offered)]


SESSION_STEPS = (
    [
        step(fuzz_connection.SEALED, (bytes((kind,)) + message.encode())[:255])
        for kind, message in SOME.items()
    ]
    + [step(fuzz_connection.SEALED, message) for message in opening()]
    + [
        step(fuzz_connection.SEALED, bytes((kind,)) + number.to_bytes(4, "big") + b"\0rest")
        for kind in (MessageType.CRQ, MessageType.SRQ, MessageType.CRP, MessageType.SRP)
        for number in (2, 3)
    ]
    + [
        step(fuzz_connection.SEALED, bytes((kind,)) + number.to_bytes(4, "big") + rest)
        for kind, rest in (
            (MessageType.CCR, bytes(6) + b"\x10\0"),
            (MessageType.SCR, bytes(6) + b"\x10\0"),
            (MessageType.COP, b"\x05label"),
            (MessageType.SOP, b"\x05label"),
            (MessageType.CAC, b""),
            (MessageType.SAC, b""),
            (MessageType.CST, b"\0\1"),
            (MessageType.SST, b"\0\1"),
        )
        for number in (1, 2, 3, 4)
    ]
    + [
        step(fuzz_connection.SEALED, bytes((kind, flags)) + number.to_bytes(4, "big") + b"data")
        for kind in (MessageType.CDT, MessageType.SDT)
        for number in (0, 1, 2)
        for flags in (0, 2)
    ]
    + [
        step(kind, bytes((number,)) + b"octets"[kind % 2 :])
        for kind in range(fuzz_connection.OPEN, fuzz_connection.STEPS)
        for number in (1, 2)
    ]
    + [
        step(kind, b"\x30\0data")
        for kind in range(fuzz_connection.STEPS)
        if kind not in (fuzz_connection.RAW, fuzz_connection.END)
    ]
)


def mutated(source: random.Random, seeds: list[bytes], count: int) -> Iterator[bytes]:
    """
    Inputs made of seeds: cut, joined, with octets changed, put in and taken out.

    :param source: the source of chance, seeded.
    :param seeds: what to start from; each is also an input itself.
    :param count: how many inputs.
    """
    yield from seeds
    for _ in range(count):
        octets = bytearray(source.choice(seeds))
        for _ in range(source.randrange(6)):
            at = source.randrange(len(octets) + 1)
            change = source.randrange(5)
            if change == 0 and at < len(octets):
                octets[at] = source.randrange(256)
            elif change == 1:
                octets[at:at] = source.randbytes(source.randrange(1, 5))
            elif change == 2:
                del octets[at : at + source.randrange(1, 5)]
            elif change == 3:
                octets[at:] = source.choice(seeds)
            elif at < len(octets):
                octets[at] ^= 1 << source.randrange(8)
        yield bytes(octets)


class TargetTests(TestCase):
    """Each target."""

    def assertHolds(self, target: Callable[[bytes], None], inputs: Iterator[bytes]) -> None:
        """The target takes each input; a failure names the input, to be run again."""
        for octets in inputs:
            try:
                target(octets)
            except Exception as error:
                raise AssertionError(f"{type(error).__name__} for {octets.hex()}") from error

    def test_messages(self) -> None:
        """No octets confuse the messages' decoders."""
        inputs = mutated(random.Random(1), MESSAGE_SEEDS + EXTENSION_SEEDS, 3000)
        self.assertHolds(fuzz_messages.oneInput, inputs)

    def test_connection(self) -> None:
        """No sequence of records, in the clear or sealed, and of calls confuses a Connection."""
        source = random.Random(2)

        def lives() -> Iterator[bytes]:
            for _ in range(500):
                chosen = source.choices(SESSION_STEPS, k=source.randrange(1, 12))
                start = source.choice((0, 1, 2, 3, 4, 5, 6, 7)) | source.randrange(8) << 3
                yield bytes((start,)) + b"".join(chosen)

        self.assertHolds(fuzz_connection.oneInput, mutated(source, list(lives()), 1000))

    def test_credentials(self) -> None:
        """No octets confuse the readers of credentials."""
        inputs = mutated(random.Random(4), CREDENTIAL_SEEDS, 3000)
        self.assertHolds(fuzz_credentials.oneInput, inputs)

    def test_keyfiles(self) -> None:
        """No content of a file of keys confuses its readers."""
        inputs = mutated(random.Random(3), KEY_SEEDS, 500)
        self.assertHolds(fuzz_keyfiles.oneInput, inputs)

    def test_failureIsSeen(self) -> None:
        """An input that confuses a target is reported; the refusals that are right are not."""

        def confused(octets: bytes) -> None:
            raise LocalProtocolError(ErrorCode.BAD_ARGUMENT)

        def refusing(octets: bytes) -> None:
            raise CredentialError("no key")

        self.assertRaises(AssertionError, self.assertHolds, confused, iter([b"x"]))
        self.assertTrue(fuzz_keyfiles.refused(refusing, b"x"))
        self.assertRaises(LocalProtocolError, fuzz_keyfiles.refused, confused, b"x")

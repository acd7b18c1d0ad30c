"""Retry and puzzle: what is asked of a stranger before anything is done for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.core.test_handshake import converse, solve
from tests.helpers import (
    CAN,
    PLENTY,
    CountedCredential,
    CountedGroup,
    Eavesdropper,
    MessageClient,
    MessageServer,
    clientSettings,
    decoded,
    ending,
    establishedPair,
    give,
    makeHandshakes,
    makePair,
    only,
    pump,
    recordFor,
    runTimers,
    sendTo,
    serverSettings,
    tampered,
)
from thing.core import puzzle
from thing.core.client import ClientConnection
from thing.core.extensions import ExtensionType, Puzzle, Solution, find
from thing.core.groups import GroupName
from thing.core.handshakemessages import CHI, SHI
from thing.core.messages import CHI_LIMIT, CHR, SHR, MessageType
from thing.core.puzzle import Search, solves
from thing.core.records import HEADER_LENGTH
from thing.core.server import ServerConnection
from thing.core.states import State
from thing.errors import ErrorCode, RemoteProtocolError
from thing.events import Cause, HandshakeCompleted, PeerProved, Terminated

DIFFICULTY = 10
RANDOM = bytes(range(32))


def leadingZeros(seed: bytes, clientRandom: bytes, number: int) -> int:
    """How many bits of the specification's hash are zero before the first one."""
    content = b"thing/1 client puzzle\x00" + seed + clientRandom + number.to_bytes(8, "big")
    return 256 - int.from_bytes(hashlib.sha256(content).digest(), "big").bit_length()


class SearchTests(TestCase):
    """The puzzle alone."""

    @given(st.binary(min_size=32, max_size=32), st.integers(0, 9), st.integers(0, 2**64 - 1))
    def test_solves(self, seed: bytes, difficulty: int, number: int) -> None:
        """A number solves a puzzle if so many leading bits of the hash are zero, or more."""
        right = leadingZeros(seed, RANDOM, number) >= difficulty
        self.assertIs(solves(Puzzle(seed, difficulty), RANDOM, number), right)

    @given(st.binary(min_size=32, max_size=32), st.integers(0, 9))
    def test_found(self, seed: bytes, difficulty: int) -> None:
        """The search finds the first number that is a solution."""
        asked = Puzzle(seed, difficulty)
        found = solve(Search(asked, RANDOM))
        self.assertTrue(solves(asked, RANDOM, found))
        for number in range(found):
            self.assertLess(leadingZeros(seed, RANDOM, number), difficulty)

    def test_slices(self) -> None:
        """The search goes on where it was, and tries no more than a slice at a time."""
        self.patch(Search, "SLICE", 16)
        asked = Puzzle(bytes(32), DIFFICULTY)
        found = solve(Search(asked, RANDOM))
        search = Search(asked, RANDOM)
        for _ in range(found // 16):
            self.assertIsNone(search.go())
        self.assertEqual(search.go(), found)
        self.assertGreater(found, 16)  # Else this test is blind.

    def test_impossible(self) -> None:
        """The hardest puzzle that can be written is no error; nobody solves it."""
        asked = Puzzle(bytes(32), 255)
        self.assertIsNone(Search(asked, RANDOM).go())
        self.assertFalse(solves(asked, RANDOM, 0))

    def test_notTransferable(self) -> None:
        """A solution is of use with its own seed and its own client's random only."""
        asked = Puzzle(bytes(32), DIFFICULTY)
        found = solve(Search(asked, RANDOM))
        self.assertFalse(solves(Puzzle(b"\x01" * 32, DIFFICULTY), RANDOM, found))
        self.assertFalse(solves(asked, bytes(32), found))

    def test_oneHash(self) -> None:
        """A solution is checked with one hash, whatever the difficulty."""
        made = []

        def counted(data: bytes) -> Any:
            made.append(data)
            return hashlib.sha256(data)

        self.patch(puzzle, "hashlib", SimpleNamespace(sha256=counted))
        for difficulty in (1, 12, 255):
            del made[:]
            solves(Puzzle(bytes(32), difficulty), RANDOM, 7)
            self.assertEqual(len(made), 1)


class RetryTests(TestCase):
    """Two Connections."""

    def test_solved(self) -> None:
        """A client that solves the puzzle gets its session, the same on both sides."""
        for difficulty in (1, 2, DIFFICULTY):
            client, server = makePair(difficulty=difficulty)
            told = pump(client, server)
            assert client.session is not None and server.session is not None
            self.assertEqual(client.session.sessionId, server.session.sessionId)
            for events in (told.client, told.server):
                self.assertEqual(
                    [type(each) for each in events[:2]], [PeerProved, HandshakeCompleted]
                )

    def test_bytewise(self) -> None:
        """Octets that come one by one make the same session."""
        client, server = makePair(difficulty=DIFFICULTY)
        pump(client, server, chunk=1)
        other, _ = establishedPair(difficulty=DIFFICULTY)
        assert client.session is not None and other.session is not None
        self.assertEqual(client.session.sessionId, other.session.sessionId)

    def test_everyGroup(self) -> None:
        """A retry changes nothing about what is chosen."""
        for group in GroupName:
            client, _ = establishedPair(
                clientSettings(groups=(group,)),
                serverSettings(groups=tuple(GroupName)),
                difficulty=1,
            )
            assert client.session is not None
            self.assertEqual(client.session.group, group.name)

    def test_asked(self) -> None:
        """The server decides when CHI comes, and once: the second CHI is asked nothing."""
        asked: list[int] = []
        client = ClientConnection(clientSettings())
        server = ServerConnection(serverSettings(), None, lambda: asked.append(0) or 1)
        client.start(0.0)
        server.start(0.0)
        self.assertEqual(asked, [])
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        self.assertEqual(len(asked), 1)
        self.assertIs(server.state, State.AWAIT_SECOND_CHI)
        give(client, server.dataToSend(0.0, PLENTY), 0.0)
        pump(client, server)
        self.assertIsNotNone(server.session)

    def test_messages(self) -> None:
        """SHI with group 0 has the puzzle alone; the second CHI is the first, and the solution."""
        client, server = makePair(difficulty=DIFFICULTY)
        records = client.dataToSend(0.0, PLENTY)
        (first,) = Eavesdropper(client).read(records)
        give(server, records, 0.0)
        records = server.dataToSend(0.0, PLENTY)
        (shi,) = Eavesdropper(server).read(records)
        assert isinstance(shi, SHI) and isinstance(first, CHI)
        self.assertEqual((shi.group, shi.aead), (0, 0))
        ((number, value),) = shi.extensions
        self.assertEqual(number, ExtensionType.PUZZLE)
        asked = Puzzle.decode(value)
        self.assertEqual(asked.difficulty, DIFFICULTY)
        give(client, records, 0.0)
        while client.state is State.SOLVING:
            client.handleTimer(0.0)
        (second,) = Eavesdropper(client).read(client.dataToSend(0.0, PLENTY))
        assert isinstance(second, CHI)
        solution = find(second.extensions, ExtensionType.SOLUTION)
        assert solution is not None
        number = Solution.decode(solution).number
        self.assertGreaterEqual(leadingZeros(asked.seed, first.random, number), DIFFICULTY)
        others = tuple(each for each in second.extensions if each[0] != ExtensionType.SOLUTION)
        self.assertEqual(replace(second, extensions=others), first)

    def test_freshSeed(self) -> None:
        """Each client is asked its own puzzle."""
        seeds = set()
        _, server = makeHandshakes()
        settings = server._settings  # One source of randomness for all of them.
        for _ in range(5):
            (shi,) = MessageServer(settings).receiveCHI(MessageClient(clientSettings()).begin(), 1)
            assert isinstance(shi, SHI)
            seeds.add(Puzzle.decode(shi.extensions[0][1]).seed)
        self.assertEqual(len(seeds), 5)

    def test_nothingSpent(self) -> None:
        """Before the puzzle is solved, neither side makes a key exchange or a signature."""
        credential, group = CountedCredential("the server"), CountedGroup()
        settings = serverSettings(credential=credential, groupTable={GroupName.X25519: group})
        client, server = makePair(server=settings, difficulty=DIFFICULTY)
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        give(client, server.dataToSend(0.0, PLENTY), 0.0)
        self.assertEqual((group.exchanges, credential.signatures), (0, 0))
        wrong = decoded(client._handshake.retry(0))  # It is not the solution.
        self.assertIs(ending(sendTo(server, wrong)).code, ErrorCode.PUZZLE_UNSOLVED)
        self.assertEqual((group.exchanges, credential.signatures), (0, 0))
        pump(*makePair(server=settings, difficulty=DIFFICULTY))
        self.assertEqual((group.exchanges, credential.signatures), (1, 1))

    def test_negotiatedFirst(self) -> None:
        """Who could not be served even with the puzzle solved is told so at once."""
        for choices, code in (
            ({"groups": (GroupName.X25519MLKEM768,)}, ErrorCode.NO_COMMON_GROUP),
            ({"aeads": (1,)}, ErrorCode.NO_COMMON_AEAD),
        ):
            client, server = makePair(clientSettings(**choices), difficulty=DIFFICULTY)
            told = pump(client, server)
            self.assertIs(ending(told.server).code, code)
            self.assertIs(ending(told.client).code, code)


class ServerTests(TestCase):
    """What a server refuses."""

    def asked(self, difficulty: int = 12) -> tuple[MessageClient, MessageServer, int]:
        """Two handshakes after the first CHI and the first SHI, and the solution."""
        client, server = makeHandshakes()
        (shi,) = server.receiveCHI(client.begin(), difficulty)
        assert isinstance(shi, SHI)
        search = client.receiveSHI(shi)
        assert search is not None
        return client, server, solve(search)

    def assertUnsolved(self, change: Callable[[CHI], CHI]) -> None:
        client, server, number = self.asked()
        error = self.assertRaises(
            RemoteProtocolError, server.receiveCHI, change(client.retry(number))
        )
        self.assertIs(error.code, ErrorCode.PUZZLE_UNSOLVED)
        self.assertFalse(server.chosen)

    def withSolution(self, number: int) -> Callable[[CHI], CHI]:
        solution = (ExtensionType.SOLUTION, Solution(number).encode())

        def change(chi: CHI) -> CHI:
            others = (each for each in chi.extensions if each[0] != ExtensionType.SOLUTION)
            return replace(chi, extensions=(solution, *others))

        return change

    def test_unsolved(self) -> None:
        """A number that is not a solution is refused."""
        _, _, right = self.asked()
        self.assertUnsolved(self.withSolution(right ^ 1))
        self.assertUnsolved(self.withSolution(2**64 - 1))

    def test_noSolution(self) -> None:
        """The same CHI again, without a solution, is refused."""
        self.assertUnsolved(
            lambda chi: replace(
                chi, extensions=tuple(e for e in chi.extensions if e[0] != ExtensionType.SOLUTION)
            )
        )

    def test_otherSeed(self) -> None:
        """The solution of another puzzle is refused."""
        client, server = makeHandshakes()
        (shi,) = server.receiveCHI(client.begin(), 12)
        assert isinstance(shi, SHI)
        other = Puzzle(bytes(32), 12).encode()
        search = client.receiveSHI(replace(shi, extensions=((ExtensionType.PUZZLE, other),)))
        assert search is not None
        second = client.retry(solve(search))
        error = self.assertRaises(RemoteProtocolError, server.receiveCHI, second)
        self.assertIs(error.code, ErrorCode.PUZZLE_UNSOLVED)

    def test_differs(self) -> None:
        """A second CHI that differs from the first in anything else is refused."""
        for fields in (
            {"versions": (1, 2)},
            {"random": bytes(32)},
            {"groups": (GroupName.X25519, GroupName.X25519MLKEM768)},
            {"aeads": (2,)},
            {"credentialKinds": (1, 2)},
            {"requestedTtl": 30_000},
        ):
            self.assertUnsolved(lambda chi, fields=fields: replace(chi, **fields))
        self.assertUnsolved(lambda chi: replace(chi, extensions=(*chi.extensions, (0x99, b""))))
        self.assertUnsolved(
            lambda chi: replace(
                chi, extensions=tuple(e for e in chi.extensions if e[0] != ExtensionType.TICKET)
            )
        )

    def test_place(self) -> None:
        """Where among the extensions the solution stands does not matter."""
        client, server, number = self.asked()
        second = client.retry(number)
        self.assertGreater(len(second.extensions), 1)  # Else this test is blind.
        server.receiveCHI(replace(second, extensions=second.extensions[::-1]))
        self.assertTrue(server.chosen)

    def test_malformed(self) -> None:
        """A solution that is cut or too long is refused as malformed."""
        for value in (b"", bytes(7), bytes(9)):
            client, server, _ = self.asked()
            second = replace(client.retry(0), extensions=((ExtensionType.SOLUTION, value),))
            error = self.assertRaises(RemoteProtocolError, server.receiveCHI, second)
            self.assertIs(error.code, ErrorCode.MALFORMED_MESSAGE)

    def test_unasked(self) -> None:
        """A solution that nobody asked for means nothing."""
        client, server = makeHandshakes()
        chi = replace(client.begin(), extensions=((ExtensionType.SOLUTION, bytes(8)),))
        server.receiveCHI(chi)
        self.assertTrue(server.chosen)

    def test_told(self) -> None:
        """A client whose second CHI is refused is told which rule it broke."""
        client, server = makePair(difficulty=DIFFICULTY)
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        give(client, server.dataToSend(0.0, PLENTY), 0.0)
        termination = ending(sendTo(server, decoded(client._handshake.retry(0))))
        self.assertEqual(
            (termination.cause, termination.code), (Cause.REJECTED, ErrorCode.PUZZLE_UNSOLVED)
        )
        learned = ending(client.receiveData(server.dataToSend(0.0, PLENTY), 0.0))
        self.assertEqual((learned.code, learned.byPeer), (ErrorCode.PUZZLE_UNSOLVED, True))

    def waiting(self) -> ServerConnection:
        """A server that has asked."""
        client, server = makePair(difficulty=DIFFICULTY)
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        server.dataToSend(0.0, PLENTY)
        return server

    def test_long(self) -> None:
        """The second CHI may be as long as the first, and is refused at its header beyond that."""
        server = self.waiting()
        self.assertEqual(give(server, CHI_LIMIT.to_bytes(HEADER_LENGTH, "big"), 0.0), [])
        server = self.waiting()
        termination = ending(give(server, (CHI_LIMIT + 1).to_bytes(HEADER_LENGTH, "big"), 0.0))
        self.assertIs(termination.code, ErrorCode.RECORD_TOO_LONG)

    def test_deadline(self) -> None:
        """The handshake's deadline waits for a client as long as its puzzle may take."""
        server = self.waiting()
        ((at, event),) = runTimers(server, 0.0, 1000.0)
        self.assertEqual(at, 10.0 + 2**DIFFICULTY / 4096)
        assert isinstance(event, Terminated)
        self.assertIs(event.termination.code, ErrorCode.HANDSHAKE_TIMEOUT)


class ClientTests(TestCase):
    """What a client refuses, and how it searches."""

    def answered(self, *extensions: tuple[int, bytes], **choices: object) -> ClientConnection:
        """A client that got an SHI which asks for a retry, with these extensions."""
        client, _ = makePair(clientSettings(**choices))
        client.dataToSend(0.0, PLENTY)
        sendTo(client, SHI(1, bytes(32), 0, 0, *CAN, extensions))
        return client

    def asking(self, difficulty: int, **choices: object) -> ClientConnection:
        """A client that was asked a puzzle."""
        value = Puzzle(bytes(32), difficulty).encode()
        return self.answered((ExtensionType.PUZZLE, value), **choices)

    def assertRefused(self, client: ClientConnection, code: ErrorCode) -> None:
        assert client.termination is not None
        self.assertEqual(
            (client.termination.cause, client.termination.code), (Cause.REJECTED, code)
        )
        (told,) = Eavesdropper(client).read(client.dataToSend(0.0, PLENTY))
        self.assertEqual(told, CHR(code))

    def test_tooHard(self) -> None:
        """A puzzle above the client's own bound is refused, one at the bound is not."""
        self.assertRefused(self.asking(21), ErrorCode.RETRY_REFUSED)
        self.assertRefused(self.asking(255), ErrorCode.RETRY_REFUSED)
        self.assertIs(self.asking(20).state, State.SOLVING)
        self.assertRefused(self.asking(5, maxDifficulty=4), ErrorCode.RETRY_REFUSED)
        self.assertIs(self.asking(4, maxDifficulty=4).state, State.SOLVING)

    def test_noPuzzle(self) -> None:
        """A retry without a puzzle is refused."""
        self.assertRefused(self.answered(), ErrorCode.RETRY_REFUSED)
        self.assertRefused(self.answered((0x99, bytes(33))), ErrorCode.RETRY_REFUSED)

    def test_malformed(self) -> None:
        """A puzzle that is cut or too long is refused."""
        for value in (b"", bytes(32), bytes(34)):
            client = self.answered((ExtensionType.PUZZLE, value))
            self.assertRefused(client, ErrorCode.MALFORMED_MESSAGE)

    def test_version(self) -> None:
        """A retry of a version that was not offered is refused as that."""
        client, _ = makePair()
        client.dataToSend(0.0, PLENTY)
        value = Puzzle(bytes(32), 1).encode()
        sendTo(client, SHI(2, bytes(32), 0, 0, *CAN, ((ExtensionType.PUZZLE, value),)))
        self.assertRefused(client, ErrorCode.VERSION_UNSUPPORTED)

    def test_secondRetry(self) -> None:
        """A second retry is refused."""
        client = self.asking(1)
        client.handleTimer(0.0)
        self.assertIs(client.state, State.AWAIT_SECOND_SHI)
        client.dataToSend(0.0, PLENTY)
        value = Puzzle(b"\x01" * 32, 1).encode()
        sendTo(client, SHI(1, bytes(32), 0, 0, *CAN, ((ExtensionType.PUZZLE, value),)))
        self.assertRefused(client, ErrorCode.RETRY_REFUSED)

    def test_slices(self) -> None:
        """A client that searches asks to be called at once, and each call tries one slice."""
        self.patch(Search, "SLICE", 8)
        client = self.asking(DIFFICULTY)
        search = client._search
        assert search is not None
        calls = 0
        while client.state is State.SOLVING:
            self.assertEqual(client.nextDeadline, calls / 1000)
            self.assertFalse(client.hasDataToSend)
            before = search._next
            calls += 1
            self.assertEqual(client.handleTimer(calls / 1000), [])
            if client.state is State.SOLVING:
                self.assertEqual(search._next, before + 8)
        self.assertGreater(calls, 1)
        self.assertEqual(client.nextDeadline, 10.0 + 2**DIFFICULTY / 4096)
        self.assertTrue(client.hasDataToSend)

    def test_deadline(self) -> None:
        """A search that takes longer than the hardest that is waited for ends the handshake."""
        self.patch(Search, "SLICE", 1)
        client = self.asking(255, maxDifficulty=255)
        until = 10.0 + 2**20 / 4096
        for tenth in range(1, round(10 * until)):
            self.assertEqual(client.handleTimer(tenth / 10), [])
        events = client.handleTimer(until) + client.handleTimer(until)
        self.assertIs(ending(events).code, ErrorCode.HANDSHAKE_TIMEOUT)
        self.assertRefused(client, ErrorCode.HANDSHAKE_TIMEOUT)
        self.assertIsNone(client.nextDeadline)

    def test_rejected(self) -> None:
        """A server that changes its mind while the client searches is heard."""
        client = self.asking(20)
        termination = ending(sendTo(client, SHR(ErrorCode.SERVER_BUSY, 1000)))
        self.assertEqual((termination.code, termination.retryAfter), (ErrorCode.SERVER_BUSY, 1.0))
        self.assertIsNone(client.nextDeadline)
        self.assertEqual(client.handleTimer(1.0), [])
        self.assertEqual(client.dataToSend(1.0, PLENTY), b"")

    def test_nothingElse(self) -> None:
        """While the client searches nothing else is legal, not even the choice."""
        client = self.asking(20)
        shi = bytes((MessageType.SHI,)) + SHI(1, bytes(32), GroupName.X25519, 2, *CAN).encode()
        termination = ending(client.receiveData(recordFor(client, shi), 0.0))
        self.assertIs(termination.code, ErrorCode.UNEXPECTED_MESSAGE)

    def test_ends(self) -> None:
        """An abort, a refusal or the stream's end stops the search."""
        for end in (
            lambda client: client.abort(0.0),
            lambda client: client.reject(ErrorCode.ABORTED, 0.0),
            lambda client: client.receiveEnd(0.0),
        ):
            client = self.asking(20)
            ending(end(client))
            self.assertIsNone(client.nextDeadline)
            self.assertEqual(client.handleTimer(0.0), [])


class TranscriptTests(TestCase):
    """A retry is part of what both sides prove."""

    def test_secrets(self) -> None:
        """Both sides have the same secrets, which are not those without a retry."""
        _, _, ours, theirs = converse(*makeHandshakes(), difficulty=1)
        self.assertEqual(ours, theirs)
        _, _, plain, _ = converse(*makeHandshakes())
        self.assertNotEqual(ours.sessionId, plain.sessionId)

    def test_flipped(self) -> None:
        """With a bit of any octet of either CHI or SHI flipped, there is no session."""

        def make() -> tuple[ClientConnection, ServerConnection]:
            return makePair(clientSettings(maxDifficulty=DIFFICULTY), difficulty=4)

        for target, count, client, server in tampered(make):
            self.assertEqual(count, 9)
            self.assertIsNone(client.session, f"record {target}")
            if target < 8:  # The last may leave the server alone with a session.
                self.assertIsNone(server.session, f"record {target}")

    def test_addedOnTheWay(self) -> None:
        """
        Somebody on the way can make a client work, but not get it a session: what the client
        was asked is in its transcript.
        """
        client, server = makePair()
        chi = client.dataToSend(0.0, PLENTY)
        value = Puzzle(bytes(32), 1).encode()
        sendTo(client, SHI(1, bytes(32), 0, 0, *CAN, ((ExtensionType.PUZZLE, value),)))
        client.handleTimer(0.0)
        client.dataToSend(0.0, PLENTY)  # The second CHI goes no further.
        give(server, chi, 0.0)
        told = pump(client, server)
        self.assertIsNone(client.session)
        self.assertEqual(only(PeerProved, told.client), [])

    def test_removedOnTheWay(self) -> None:
        """Somebody who solves the puzzle in the client's stead gets it no session either."""
        client, server = makePair(difficulty=DIFFICULTY)
        chi = client.dataToSend(0.0, PLENTY)
        give(server, chi, 0.0)
        (shi,) = Eavesdropper(server).read(server.dataToSend(0.0, PLENTY))
        first = CHI.decode(chi[HEADER_LENGTH + 1 :])
        assert isinstance(shi, SHI)
        number = solve(Search(Puzzle.decode(shi.extensions[0][1]), first.random))
        solution = (ExtensionType.SOLUTION, Solution(number).encode())
        sendTo(server, replace(first, extensions=(*first.extensions, solution)))
        self.assertIs(server.state, State.AWAIT_CDH)
        told = pump(client, server)
        self.assertIsNone(client.session)
        self.assertEqual(only(PeerProved, told.client), [])

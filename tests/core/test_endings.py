"""How a session ended: what is made of a peer's final word, known or from the future."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.helpers import PLENTY, Eavesdropper, establishedPair
from thing.core.endings import (
    MAX_RETRY_AFTER,
    flatLinedByPeer,
    heededRetryAfter,
    known,
    refused,
    rejectedByPeer,
)
from thing.core.messages import CHR, SFL, SHR
from thing.errors import EndReason, ErrorCode, RemoteProtocolError, ReplyStatus
from thing.events import UNAUTHENTICATED, Cause


class EndingsTests(TestCase):
    """Each way to the end."""

    def test_known(self) -> None:
        """A number has its name where this side knows one, else it stays a number."""
        self.assertIs(known(ErrorCode, int(ErrorCode.BAD_MAC)), ErrorCode.BAD_MAC)
        self.assertIs(known(ReplyStatus, 0), ReplyStatus.DONE)
        self.assertEqual(known(EndReason, 999), 999)

    def test_retryAfter(self) -> None:
        """A server's advice is taken in seconds, and for an hour at most."""
        self.assertEqual(heededRetryAfter(1500), 1.5)
        self.assertEqual(heededRetryAfter(0xFFFFFFFF), MAX_RETRY_AFTER)

    def test_refused(self) -> None:
        """A rule broken in a session is its protocol error; before, the handshake is refused."""
        error = RemoteProtocolError(ErrorCode.BAD_MAC, "SCC")
        for established, cause in ((False, Cause.REJECTED), (True, Cause.PROTOCOL_ERROR)):
            ending = refused(error, established)
            self.assertEqual(
                (ending.cause, ending.code, ending.detail, ending.byPeer),
                (cause, ErrorCode.BAD_MAC, "SCC", False),
            )

    def test_rejected(self) -> None:
        """A reject is a refusal before Established; in a session its code says whose fault."""
        for code, cause in (
            (ErrorCode.RECORD_UNREADABLE, Cause.PROTOCOL_ERROR),
            (0x3F, Cause.PROTOCOL_ERROR),
            (ErrorCode.IDENTITY_IN_USE, Cause.ABORTED),
            (ErrorCode.INTERNAL_ERROR, Cause.ABORTED),
            (0x9999, Cause.ABORTED),
        ):
            before = rejectedByPeer(SHR(code, 2000), established=False, proved=True)
            within = rejectedByPeer(SHR(code, 2000), established=True, proved=True)
            self.assertEqual((before.cause, within.cause), (Cause.REJECTED, cause), code)
            for ending in (before, within):
                self.assertEqual((ending.code, ending.byPeer), (code, True))
                self.assertEqual((ending.retryAfter, ending.detail), (2.0, ""))

    def test_clientsAdvice(self) -> None:
        """No client sends a server away."""
        for established in (True, False):
            ending = rejectedByPeer(CHR(ErrorCode.NOT_AUTHORIZED, 2000), established, proved=True)
            self.assertEqual(ending.retryAfter, 0.0)
        client, _ = establishedPair()
        spy = Eavesdropper(client)
        client.reject(ErrorCode.NOT_AUTHORIZED, 0.0, retryAfter=7.0)
        self.assertEqual(
            spy.read(client.dataToSend(0.0, PLENTY)), [CHR(ErrorCode.NOT_AUTHORIZED, 0)]
        )

    def test_misuse(self) -> None:
        """A code of this side's own misuse means nothing if a peer says it."""
        for code in range(0x60, 0x80):
            ending = rejectedByPeer(SHR(code), established=True, proved=True)
            self.assertEqual((ending.cause, ending.code), (Cause.ABORTED, code))
            self.assertNotIsInstance(ending.code, ErrorCode)

    def test_unproved(self) -> None:
        """What somebody says who has not proved anything is marked as that."""
        ending = rejectedByPeer(SHR(ErrorCode.SERVER_BUSY), established=False, proved=False)
        self.assertEqual(ending.detail, UNAUTHENTICATED)
        self.assertTrue(ending.unauthenticated)

    def test_flatLined(self) -> None:
        """A flat line has the server's reason, its advice and the last heartbeat it saw."""
        ending = flatLinedByPeer(SFL(7, EndReason.SHUTDOWN, 3000))
        self.assertEqual(
            (ending.cause, ending.byPeer, ending.reason, ending.retryAfter, ending.lastHeartbeat),
            (Cause.FLAT_LINED, True, EndReason.SHUTDOWN, 3.0, 7),
        )

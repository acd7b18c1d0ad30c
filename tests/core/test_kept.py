"""A client's ticket between two of its sessions."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import CLIENT_CREDENTIAL, clientSettings
from thing.core.credentials import Anonymous
from thing.core.kept import KeptTicket
from thing.events import ResumptionTicket
from thing.identity import CredentialKind, Identity

TICKET = ResumptionTicket(b"a ticket", b"its secret", Identity(CredentialKind.NONE, b""), 60.0)
SETTINGS = clientSettings(credential=CLIENT_CREDENTIAL, resumption=True)


class KeptTicketTests(SynchronousTestCase):
    """Kept once, used once."""

    def kept(self) -> KeptTicket:
        """A place with a ticket, which was put there at ten."""
        kept = KeptTicket()
        kept.keep(TICKET, CLIENT_CREDENTIAL, 10.0)
        return kept

    def test_none(self) -> None:
        """At first there is none."""
        self.assertIsNone(KeptTicket().take(SETTINGS, 0.0))

    def test_once(self) -> None:
        """It has the lifetime that is left, and is taken once."""
        kept = self.kept()
        self.assertEqual(kept.take(SETTINGS, 25.0), replace(TICKET, lifetime=45.0))
        self.assertIsNone(kept.take(SETTINGS, 25.0))

    def test_latest(self) -> None:
        """The latest replaces the one before."""
        kept = self.kept()
        kept.keep(replace(TICKET, ticket=b"another"), CLIENT_CREDENTIAL, 10.0)
        taken = kept.take(SETTINGS, 10.0)
        self.assertEqual(taken, replace(TICKET, ticket=b"another"))

    def test_ofNoUse(self) -> None:
        """One that has expired, is another key's, or is not wanted is not used, nor kept."""
        for settings, now in (
            (SETTINGS, 70.0),
            (clientSettings(credential=Anonymous(), resumption=True), 10.0),
            (clientSettings(credential=CLIENT_CREDENTIAL, resumption=False), 10.0),
        ):
            kept = self.kept()
            self.assertIsNone(kept.take(settings, now))
            self.assertIsNone(kept.take(SETTINGS, 10.0))

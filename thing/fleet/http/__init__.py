"""The fleet over HTTP: what is known, what happens, a word to a thing, figures, and the page."""

from thing.fleet.http.service import StatusError, StatusService, StatusSite, makeStatusService

__all__ = ["StatusError", "StatusService", "StatusSite", "makeStatusService"]

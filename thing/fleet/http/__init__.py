"""
The fleet over HTTP: what is known, what happens, a word to a thing, figures, and the page.

Here live HTTP's own part (``channel``, ``answers``, ``queries``), who may ask (``guard``), what
is asked (``api``, and its ``description`` with its ``schemas``), events without end (``sse``)
and figures for Prometheus (``metrics``); ``service`` joins them. It asks an
:class:`~thing.fleet.interfaces.IPresence`, whichever it is, and a meter.

It never touches a session or a registry by itself, keeps nothing of what it tells, and lets no
client make it keep or wait for more than a limit says. What a path answers begins in ``api``,
and must be described in ``description``.
"""

from thing.fleet.http.service import StatusError, StatusService, StatusSite, makeStatusService

__all__ = ["StatusError", "StatusService", "StatusSite", "makeStatusService"]

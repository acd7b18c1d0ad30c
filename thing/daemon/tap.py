"""
What twistd asks for by name: the options of ``twistd thing``, and what makes a service of them.

What only a server needs is imported when one is made: ``--help`` does not wait for it.
"""

from __future__ import annotations

from twisted.application.service import IService

from thing.daemon.options import Options
from thing.daemon.signals import Signals

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """
    Make the service that the options describe.

    :param options: the options, parsed.
    :return: the service; nothing listens yet.
    :raises CannotStart: if a file, a name or an endpoint is of no use.
    """
    from twisted.internet import reactor

    # Not later: imports take a while, files are read, and whoever starts it may send SIGHUP.
    signals = Signals(reactor)
    signals.catchHangUp()
    from thing.daemon.assembly import assemble

    return assemble(options, signals)

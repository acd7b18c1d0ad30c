"""
The ``thing`` command of twistd.

It names :mod:`thing.daemon.tap` and does not import it, so that ``twistd --help``
loads nothing of Thing.
"""

from twisted.application.service import ServiceMaker

thingService = ServiceMaker(
    name="Thing server",
    module="thing.daemon.tap",
    description="Secure sessions that know whether the other side is alive.",
    tapname="thing",
)

"""
What twistd asks for by name: the options of ``twistd thing``, and what makes a service of them.

Each is imported when it is asked for: ``--help`` does not wait for what only a server needs.
"""

from typing import TYPE_CHECKING

from thing.lazy import importer

if TYPE_CHECKING:
    from thing.daemon.assembly import makeService
    from thing.daemon.options import Options

__all__ = ["Options", "makeService"]

_HOMES = {
    "thing.daemon.assembly": ("makeService",),
    "thing.daemon.options": ("Options",),
}

if not TYPE_CHECKING:  # Type checkers would believe that any name is there.
    __getattr__, __dir__ = importer(__name__, _HOMES)

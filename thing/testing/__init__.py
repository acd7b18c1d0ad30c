"""
Help for the tests of programs that use Thing: sessions in memory, on a clock that a test moves.

:class:`Pair` connects two sides in memory, and makes the network between them and the reactor
do what the test wants. :class:`Keys` are keys made on the spot. Thing's own tests
are written with it. Nothing here is for service.
"""

from thing.testing.keys import Keys
from thing.testing.pair import Pair
from thing.testing.transports import MemoryTransport

__all__ = ["Keys", "MemoryTransport", "Pair"]

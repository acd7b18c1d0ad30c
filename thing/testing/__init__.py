"""
Help for the tests of programs that use Thing: sessions in memory, on a clock that a test moves.

:class:`Pair` connects two sides in memory, and makes the network between them and the reactor
do what the test wants. :class:`FakeThingTransport` is for a protocol alone, and
:class:`LoopbackServer` for tests with sockets. :class:`Keys` are made on the spot. Thing's
own tests are written with it; nothing here is for service.

What is between the two sides is made up here, and the sides never are: sessions, endpoints and
keys are those of the rooms below, by the names that every program has.
"""

from thing.testing.fake import FakeThingTransport
from thing.testing.keys import Keys
from thing.testing.pair import Pair
from thing.testing.server import LoopbackServer
from thing.testing.transports import MemoryTransport

__all__ = ["FakeThingTransport", "Keys", "LoopbackServer", "MemoryTransport", "Pair"]

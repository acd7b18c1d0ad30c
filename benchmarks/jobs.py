"""What the servers of the benchmarks do with what comes, whatever carries it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

BEAT = bytes(13)
"""What the streams' clients send as a heartbeat: as long as CHB, its type included."""

ANSWER = bytes(17)
"""What the streams' servers answer: as long as SUU, its type included."""

CHUNK = bytes(65536)
"""The application's messages in bulk."""

SIZE_LENGTH = 8
"""A bulk transfer begins with its size, octets."""


class Beats:
    """Answers heartbeats, for the streams, which have none of their own."""

    def __init__(self, consumer: Any) -> None:
        """:param consumer: takes the answers."""
        self._consumer = consumer
        self._octets = 0

    def take(self, data: bytes) -> None:
        """
        Answer every heartbeat that is complete.

        :param data: what came in.
        """
        beats, self._octets = divmod(self._octets + len(data), len(BEAT))
        if beats:
            self._consumer.write(ANSWER * beats)


class Upload:
    """Takes a size and that many octets, then answers."""

    def __init__(self, consumer: Any) -> None:
        """:param consumer: takes the answer."""
        self._consumer = consumer
        self._left = 0

    def take(self, data: bytes) -> None:
        """
        Count.

        :param data: what came in.
        """
        if not self._left:
            self._left = int.from_bytes(data[:SIZE_LENGTH], "big")
            data = data[SIZE_LENGTH:]
        self._left -= len(data)
        if not self._left:
            self._consumer.write(ANSWER)


@implementer(IPushProducer)
class Download:
    """Takes a size and sends that many octets, as fast as they are taken."""

    def __init__(self, consumer: Any) -> None:
        """:param consumer: takes them."""
        self._consumer = consumer
        self._left = 0
        self._paused = False

    def take(self, data: bytes) -> None:
        """
        Begin to send.

        :param data: the size.
        """
        self._left = int.from_bytes(data, "big")
        self._consumer.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        """Wait."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Go on."""
        self._paused = False
        while self._left and not self._paused:
            chunk = CHUNK[: self._left]
            self._left -= len(chunk)
            self._consumer.write(chunk)
        if not self._left:
            self._consumer.unregisterProducer()

    def stopProducing(self) -> None:
        """Give up."""
        self._left = 0


JOBS: dict[str, Callable[[Any], Beats | Upload | Download]] = {
    "beat": Beats,
    "upload": Upload,
    "download": Download,
}
"""What a server does, each on a port of its own."""

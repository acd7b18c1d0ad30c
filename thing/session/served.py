"""What a factory serves in the streams of its sessions, and how much went over them."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.interfaces import IProtocolFactory

from thing.core.streams import keysOf
from thing.session.interfaces import IStreamServer


class StreamTally:
    """
    What went over all streams of a label.

    :ivar received: octets of the peers'.
    :ivar sent: octets for the peers.
    """

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.received = self.sent = 0


class Served(dict[str, "IProtocolFactory | IStreamServer"]):
    """What is served, by label; one that ends in a colon stands for all that begin so."""

    def __init__(self) -> None:
        """Serve nothing yet."""
        super().__init__()
        self._tallies: dict[str, StreamTally] = {}

    def tallyOf(self, label: str) -> StreamTally:
        """
        Find what counts the octets of a stream.

        :param label: what the stream is for.
        :return: the tally of what is served; one for all labels that peers made up.
        """
        return self._tally(next((key for key in keysOf(label) if key in self), ""))

    def tallies(self) -> Iterator[tuple[str, StreamTally]]:
        """:return: what went over the streams of each label; behind the empty one of all others."""
        return ((label, self._tally(label)) for label in ("", *self))

    def _tally(self, label: str) -> StreamTally:
        return self._tallies.setdefault(label, StreamTally())

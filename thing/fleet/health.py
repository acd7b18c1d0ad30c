"""How one node is, as it tells others: what its factory counts, and how sessions ended of late."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from thing.events import Event, Terminated
from thing.fleet.model import NodeRecord
from thing.session.factory import ThingFactory
from thing.session.journal import isHealthCheck
from thing.session.protocol import ThingProtocol

MINUTES = 60
"""For how many minutes the terminations of each are kept."""


class Health:
    """How a node is, from its factory."""

    def __init__(self, factory: ThingFactory, node: str, wallClock: Callable[[], float]) -> None:
        """
        :param factory: the node's factory; it is observed from now on.
        :param node: the node's name.
        :param wallClock: tells the time of day, seconds.
        """
        self._factory = factory
        self._node = node
        self._wallClock = wallClock
        self._since = wallClock()
        self._minutes: deque[tuple[int, Counter[str]]] = deque(maxlen=MINUTES)
        factory.observers.append(self._observe)

    def _observe(self, protocol: ThingProtocol, event: Event) -> None:
        # A balancer's checks, every two seconds, would hide what people look for here.
        if not isinstance(event, Terminated):
            return
        if isHealthCheck(event.termination, protocol.silent):
            return
        minute = int(self._wallClock() // 60) * 60
        if not self._minutes or self._minutes[-1][0] != minute:
            self._minutes.append((minute, Counter()))
        self._minutes[-1][1][event.termination.cause.name] += 1

    def record(self, registry: str = "memory", reason: str = "") -> NodeRecord:
        """
        Tell how the node is now.

        :param registry: whether the registry is shared, and can be reached.
        :param reason: why it cannot, or not in full.
        :return: the record.
        """
        factory = self._factory
        return NodeRecord(
            node=self._node,
            since=self._since,
            status="draining" if factory.draining else "up",
            sessions=len(factory.sessions),
            handshakes=factory.handshakes,
            completed=factory.completed,
            terminations={cause.name: count for cause, count in factory.terminations.items()},
            minutes=tuple((minute, dict(counts)) for minute, counts in self._minutes),
            loopLag=factory.loopLag,
            registry=registry,
            registryReason=reason,
            version=_version(),
        )


def _version() -> str:
    try:
        return version("thing")
    except PackageNotFoundError:
        return ""

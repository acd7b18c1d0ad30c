"""
How one node is, as it tells others: what its factory counts, and how sessions ended of late.

How all nodes are is put together by who asks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from thing.core.credentials import readCredential
from thing.events import Cause, Event, Terminated
from thing.fleet.meter import GUEST, whoseOf
from thing.fleet.model import NodeRecord
from thing.identity import CredentialKind
from thing.session.factory import ThingFactory
from thing.session.journal import isHealthCheck
from thing.session.protocol import ThingProtocol
from thing.version import __version__

MINUTES = 60
"""For how many minutes the terminations of each are kept."""

STEP = 1.0
"""If the time of day differs by more than the steady clock, it was set, seconds."""


class Health:
    """How a node is, from its factory."""

    def __init__(
        self, factory: ThingFactory, node: str, wallClock: Callable[[], float], advertised: str = ""
    ) -> None:
        """
        :param factory: the node's factory; it is observed from now on.
        :param node: the node's name.
        :param wallClock: tells the time of day, seconds.
        :param advertised: where other nodes reach this one, ``host:port``; empty for nowhere.
        """
        self._advertised = advertised
        self._factory = factory
        self._node = node
        self._wallClock = wallClock
        self._began = factory.clock.seconds()
        self._since = wallClock()
        self._minutes: deque[tuple[int, Counter[str]]] = deque(maxlen=MINUTES)
        factory.observers.append(self._observe)

    def _observe(self, protocol: ThingProtocol, event: Event) -> None:
        # A balancer's checks, every two seconds, would hide what people look for here; and who is
        # no thing comes and goes without any being lost.
        if not isinstance(event, Terminated) or isHealthCheck(event.termination, protocol.silent):
            return
        if protocol.peer is not None and whoseOf(protocol.peer) == GUEST:
            return
        self._minute(self._wallClock())[event.termination.cause.name] += 1

    def _minute(self, now: float) -> Counter[str]:
        """What ended in this minute."""
        minute = int(now // 60) * 60
        counts: Counter[str] = Counter()
        while self._minutes and self._minutes[-1][0] >= minute:
            counts += self._minutes.pop()[1]  # If it is yet to come, the clock was set back.
        self._minutes.append((minute, counts))
        return counts

    def takeUp(self, before: NodeRecord) -> None:
        """
        Go on with what ended of late in an earlier process of this node.

        :param before: how the node was then; it may say anything.
        """
        now = self._wallClock()
        minutes = dict(self._minutes)
        for minute, counts in before.minutes[-MINUTES:]:
            if now - 60 * MINUTES < minute <= now:
                known = {cause: counts[cause] for cause in counts if cause in Cause.__members__}
                minutes[minute] = minutes.get(minute, Counter()) + Counter(known)
        self._minutes = deque(sorted(minutes.items()), maxlen=MINUTES)

    def _started(self, now: float) -> float:
        """When the node started, as the clock has it now: it may have been set since then."""
        started = now - (self._factory.clock.seconds() - self._began)
        if abs(started - self._since) >= STEP:
            self._since = started
        return self._since

    def record(self, registry: str = "memory", reason: str = "") -> NodeRecord:
        """
        Tell how the node is now.

        :param registry: whether the registry is shared, and can be reached.
        :param reason: why it cannot, or not in full.
        :return: the record.
        """
        factory, now = self._factory, self._wallClock()
        self._minute(now)
        return NodeRecord(
            node=self._node,
            since=self._started(now),
            lastSeen=now,
            status="draining" if factory.draining else "up",
            sessions=len(factory.sessions),
            handshakes=factory.handshakes,
            completed=factory.completed,
            terminations={cause.name: count for cause, count in factory.terminations.items()},
            minutes=tuple((minute, dict(counts)) for minute, counts in self._minutes if counts),
            loopLag=factory.loopLag,
            registry=registry,
            registryReason=reason,
            version=__version__,
            advertised=self._advertised,
            fingerprint=rawFingerprint(factory.settings),
        )


def rawFingerprint(settings: Any) -> str:
    """
    Tell by which raw key a server is known.

    :param settings: the server's.
    :return: the key's fingerprint; empty if it has none.
    """
    for credential in (settings.credential, *settings.otherCredentials):
        if credential.kind is CredentialKind.ED25519:
            return readCredential(credential.kind, credential.data).fingerprint
    return ""

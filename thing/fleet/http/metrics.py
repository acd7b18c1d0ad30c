"""
The figures of a node as Prometheus reads them.

They are named and written here, and counted elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from thing.core.limits import LIMITS_HIT
from thing.fleet.http.answers import Answer
from thing.fleet.http.places import HTTP_LIMITS
from thing.fleet.interfaces import IPresence, IReaches, ISharedPresence
from thing.fleet.local import LocalRegistry
from thing.fleet.meter import Histogram, Meter
from thing.fleet.model import Kind
from thing.fleet.reaches import Reaches

if TYPE_CHECKING:
    from thing.fleet.http.api import FleetApi
    from thing.fleet.http.channel import HttpFactory


class NodeCollector(Collector):
    """Tells a meter's figures, and those of the HTTP server, when they are asked for."""

    def __init__(
        self,
        meter: Meter,
        presence: IPresence,
        api: FleetApi,
        http: HttpFactory,
        reaches: IReaches | None = None,
    ) -> None:
        """
        :param meter: counts what happens to sessions.
        :param presence: knows the fleet.
        :param api: answers HTTP.
        :param http: has its connections.
        :param reaches: knows the reaches; None for none.
        """
        self._meter = meter
        self._presence: Any = presence
        self._local: LocalRegistry = self._presence.local
        self._api = api
        self._http = http
        self._reached: Reaches | None = None if reaches is None else reaches.here

    def collect(self) -> Iterator[Metric]:
        """:return: all figures."""
        yield from self._sessions()
        yield from self._liveness()
        yield from self._traffic()
        yield from self._reaches()
        yield from self._watchers()
        yield from self._shared()

    def _sessions(self) -> Iterator[Metric]:
        meter, factory = self._meter, self._meter.factory
        yield _gauge("sessions", "Sessions of things that are up.", len(factory.sessions))
        yield _gauge(
            "guests",
            "Sessions of operators, other nodes and those who join that are up.",
            len(factory.guests),
        )
        yield _gauge("handshakes_in_progress", "Handshakes in progress.", factory.handshakes)
        yield _gauge("draining", "1 while everybody is asked to leave.", factory.draining)
        yield _labelled(
            "handshakes",
            "Handshakes that are over, by result.",
            ("result",),
            {(result,): count for result, count in meter.handshakes.items()},
        )
        yield _histogram(
            "handshake_duration_seconds",
            "How long handshakes took, and whether they came to a session.",
            {
                "established": meter.handshakeTimes[True],
                "failed": meter.handshakeTimes[False],
            },
            "result",
        )
        yield _labelled(
            "terminations",
            "Sessions that ended, by cause, by the error's code or the server's reason, and by "
            "whose they were: a thing's or a guest's.",
            ("cause", "reason", "peer"),
            meter.terminations,
        )
        yield _labelled(
            "limits_hit",
            "Connections turned away or cut off, and sessions ended, by the limit that they met.",
            ("limit",),
            {(limit,): factory.limitsHit[limit] for limit in LIMITS_HIT},
        )
        held = factory.door.held
        yield _gauge("held_bytes", "Octets that wait in memory for all sessions, both ways.", held)
        yield _counter("puzzles_asked", "Clients asked to solve a puzzle.", factory.puzzlesAsked)

    def _liveness(self) -> Iterator[Metric]:
        meter = self._meter
        yield _counter("heartbeats", "Heartbeats received.", meter.heartbeats)
        yield _counter("heartbeats_missed", "Heartbeats that did not come in time.", meter.late)
        yield _histogram(
            "heartbeat_round_trip_seconds",
            "Round-trip times that clients measured, one for each heartbeat.",
            {"": meter.roundTrips},
        )
        yield _histogram(
            "heartbeat_lateness_seconds",
            "How much later than agreed each heartbeat came.",
            {"": meter.lateness},
        )
        yield _histogram(
            "event_loop_lag_seconds",
            "How late the event loop called a timer, measured twice a second.",
            {"": meter.loopLag},
        )
        yield _histogram(
            "gc_pause_seconds",
            "How long Python's collector stopped the process, each time.",
            {"": meter.pauses},
        )
        yield _gauge(
            "session_timer_lateness_seconds",
            "How late the latest timer of a session was called.",
            meter.factory.loopLag,
        )

    def _traffic(self) -> Iterator[Metric]:
        octetsIn, octetsOut, messagesIn, messagesOut, stalls = self._meter.traffic
        yield _counter("received_bytes", "Octets received, handshakes included.", octetsIn)
        yield _counter("sent_bytes", "Octets sent, handshakes included.", octetsOut)
        yield _counter("messages_received", "Messages and requests received.", messagesIn)
        yield _counter("messages_sent", "Messages and requests sent.", messagesOut)
        yield _gauge(
            "streams_open", "Streams that are open, main streams aside.", self._meter.openStreams
        )
        yield _labelled(
            "stream_octets",
            "Octets of streams, by what is served; those of all other labels have none.",
            ("label", "direction"),
            self._meter.streamOctets,
        )
        yield _counter(
            "credit_stalls",
            "How often something had to wait until a client granted credit for its stream.",
            stalls,
        )

    def _reaches(self) -> Iterator[Metric]:
        """Services of things that operators use; where none can be reached there are no samples."""
        reached = self._reached
        up, down = (0, 0) if reached is None else reached.octets
        yield _gauge(
            "reaches_open",
            "Reaches of services of this node's things that are open.",
            None if reached is None else len(reached.open),
        )
        yield _labelled(
            "reaches",
            "Reaches that were asked for, by what came of it.",
            ("outcome",),
            {} if reached is None else {(name,): n for name, n in reached.outcomes.items()},
        )
        yield _labelled(
            "reach_octets",
            "Octets that reaches passed, up to this node's things and down from them.",
            ("direction",),
            {} if reached is None else {("up",): up, ("down",): down},
        )

    def _watchers(self) -> Iterator[Metric]:
        local, api = self._local, self._api
        yield _labelled(
            "events",
            "Events that this node told of its things; twins are those that fight.",
            ("kind",),
            {(kind.value,): local.told[kind] for kind in Kind},
        )
        yield _counter(
            "takeovers", "Sessions that took the place of an older one.", local.takeovers
        )
        yield _gauge("event_readers", "Who follows the events over HTTP.", len(api.readers))
        yield _counter("event_readers_cut_off", "Readers of events that were too slow.", api.cutOff)
        yield _labelled(
            "http_answers",
            "Answers over HTTP, by status.",
            ("status",),
            {(str(status),): count for status, count in api.answers.items()},
        )
        yield _gauge("http_connections", "Connections over HTTP.", len(self._http.channels))
        yield _labelled(
            "http_limits_hit",
            "Connections over HTTP cut off, or refused an answer, by the limit that they met.",
            ("limit",),
            {(limit,): self._http.limitsHit[limit] for limit in HTTP_LIMITS},
        )

    def _shared(self) -> Iterator[Metric]:
        """The registry that nodes share; without one there are no samples."""
        asked = self._presence if ISharedPresence.providedBy(self._presence) else None
        yield _gauge(
            "registry_up",
            "1 while the shared registry can be reached, by all connections to it.",
            None if asked is None else asked.registry == "connected",
        )
        connections = GaugeMetricFamily(
            "thing_registry_connection_up",
            "1 for each connection to the shared registry that is up, by what it is for.",
            labels=("purpose",),
        )
        for purpose, reason in asked.connections.items() if asked is not None else ():
            connections.add_metric((purpose,), not reason)
        yield connections
        yield _gauge(
            "registry_writes_waiting",
            "Writes that the shared registry has not answered yet.",
            None if asked is None else asked.waiting,
        )
        yield _counter(
            "registry_messages_dropped",
            "Messages of things that were lost, since the shared registry was away for too long.",
            None if asked is None else asked.dropped,
        )
        yield _counter(
            "registry_malformed",
            "What was read from the shared registry and made no sense.",
            None if asked is None else asked.malformed,
        )


Three = tuple[str, str, str]


def _gauge(name: str, documentation: str, value: float | None) -> Metric:
    return GaugeMetricFamily(
        f"thing_{name}", documentation, value=None if value is None else float(value)
    )


def _counter(name: str, documentation: str, value: float | None) -> Metric:
    return CounterMetricFamily(f"thing_{name}", documentation, value=value)


def _labelled(
    name: str,
    documentation: str,
    labels: tuple[str, ...],
    counts: Mapping[tuple[str], int] | Mapping[tuple[str, str], int] | Mapping[Three, int],
) -> Metric:
    family = CounterMetricFamily(f"thing_{name}", documentation, labels=labels)
    for values, count in sorted(counts.items()):
        family.add_metric(values, count)
    return family


def _histogram(
    name: str, documentation: str, histograms: Mapping[str, Histogram], label: str = ""
) -> Metric:
    labels = (label,) if label else ()
    family = HistogramMetricFamily(f"thing_{name}", documentation, labels=labels)
    for value, histogram in histograms.items():
        family.add_metric((value,) if label else (), _buckets(histogram), histogram.total)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """The buckets as Prometheus has them: each holds the smaller ones, too."""
    bounds: Iterable[str] = (*map(repr, histogram.bounds), "+Inf")
    return list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))


class Exporter:
    """Writes the figures of a node and of its process."""

    def __init__(
        self,
        meter: Meter,
        presence: IPresence,
        api: FleetApi,
        http: HttpFactory,
        reaches: IReaches | None = None,
    ) -> None:
        """
        :param meter: counts what happens to sessions.
        :param presence: knows the fleet.
        :param api: answers HTTP.
        :param http: has its connections.
        :param reaches: knows the reaches; None for none.
        """
        self._registry = CollectorRegistry()
        self._registry.register(NodeCollector(meter, presence, api, http, reaches))
        ProcessCollector(registry=self._registry)

    def answer(self) -> Answer:
        """:return: the figures of now."""
        return Answer(generate_latest(self._registry), CONTENT_TYPE_LATEST)

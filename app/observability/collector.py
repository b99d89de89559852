"""What can be read at any time: states, and counters that components keep for themselves."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from app.observability.metrics import PREFIX, class_of
from app.services import Services

_MIB: Final = 1024 * 1024
_PERCENT: Final = 100
_BREAKER_STATES: Final = {"closed": 0, "half_open": 1, "open": 2}

Samples = Mapping[tuple[str, ...], float] | float


def _restarts(stats: object) -> int:
    """Of workers that are watched; the others are never started again."""
    return int(getattr(getattr(stats, "staff", None), "restarts", 0))


def _gauge(name: str, text: str, samples: Samples, *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels), samples)


def _counter(name: str, text: str, samples: Samples, *labels: str) -> Metric:
    return _filled(CounterMetricFamily(f"{PREFIX}_{name}", text, labels=labels), samples)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: Samples) -> Metric:
    if isinstance(samples, Mapping):
        for labels, value in samples.items():
            family.add_metric(labels, value)
    else:
        family.add_metric((), samples)
    return family


class ServicesCollector(Collector):
    """Reads the services of one application. On the event loop, which owns what is read."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry would collect to find it out, before anything runs."""
        return ()

    def collect(self) -> Iterator[Metric]:
        yield from self._state()
        yield from self._workers()
        yield from self._capacity()
        yield from self._machine()
        yield from self._stores()

    def _state(self) -> Iterator[Metric]:
        services = self._services
        build = InfoMetricFamily(f"{PREFIX}_build", "What is running.")
        build.add_metric(
            (),
            {
                "version": version("surtitle"),
                "python": platform.python_version(),
                "model": services.recognizer.model,
            },
        )
        yield build
        yield _gauge("ready", "1 when the models are warm.", services.ready)
        yield _gauge("draining", "1 when nothing new is taken.", services.draining)
        yield _gauge("sessions", "Streams that are running.", len(services.sessions))

    def _workers(self) -> Iterator[Metric]:
        stats = self._services.stats()
        each = {(name,): worker for name, worker in stats.items()}
        yield _gauge(
            "queue_jobs",
            "Jobs that wait for a worker.",
            {
                (name, class_of(work)): count
                for name, worker in stats.items()
                for work, count in worker.queued.items()
            },
            "worker",
            "work",
        )
        yield _gauge(
            "running_jobs",
            "Jobs that workers do now.",
            {name: worker.running for name, worker in each.items()},
            "worker",
        )
        for name, text, read in (
            ("batches", "Batches done.", "batches"),
            ("batched_jobs", "Jobs done, in batches.", "rows"),
            ("superseded_jobs", "Jobs whose place a newer one took: partials.", "superseded"),
            ("rejected_jobs", "Jobs refused because the queue was full.", "rejected"),
            ("failed_jobs", "Jobs that workers could not do.", "failed"),
        ):
            counts: dict[tuple[str, ...], float] = {
                worker: getattr(counted, read) for worker, counted in each.items()
            }
            yield _counter(name, text, counts, "worker")
        yield _counter(
            "worker_restarts",
            "Workers that were started again.",
            {worker: _restarts(counted) for worker, counted in each.items()},
            "worker",
        )

    def _capacity(self) -> Iterator[Metric]:
        services = self._services
        pressure = services.recognizer.pressure
        yield _gauge(
            "capacity_strain", "Share of the workers' time that finals take.", pressure.strain
        )
        yield _gauge(
            "capacity_limit",
            "Strain from which on no more speakers are taken.",
            services.capacity.limit,
        )
        yield _gauge("capacity_room", "1 when one more speaker is taken.", services.capacity.room)
        yield _gauge("final_wait_seconds", "Wait of finals for a worker, of late.", pressure.wait)
        yield _gauge("speakers", "Streams that had finals of late.", pressure.speakers)
        yield _counter(
            "speakers_refused", "Streams there was no room for.", services.capacity.refused
        )
        yield _gauge(
            "limits_level",
            "By how many levels limits of lower tiers are shrunk.",
            services.limiter.load.level,
        )

    def _machine(self) -> Iterator[Metric]:
        services, machine = self._services, self._services.machine.latest
        yield _gauge(
            "event_loop_pressed",
            "1 when the silent are listened to by the second, because tasks wake late.",
            services.lag.pressed,
        )
        yield _gauge("cpu_used_ratio", "Use of all processors.", machine.cpu_percent / _PERCENT)
        yield _gauge("memory_used_ratio", "Memory in use.", machine.memory_used_percent / _PERCENT)
        yield _gauge(
            "disk_used_ratio", "Data directory's disk in use.", machine.disk_used_percent / _PERCENT
        )
        yield _gauge(
            "disk_free_bytes", "Data directory's disk that is free.", machine.disk_free_mib * _MIB
        )
        gpu = services.limiter.load.latest.gpu_memory
        yield _gauge(
            "gpu_memory_used_ratio",
            "Memory in use of the fullest GPU.",
            {} if gpu is None else gpu,
        )

    def _stores(self) -> Iterator[Metric]:
        services = self._services
        redis = services.state.redis
        yield _gauge(
            "store_up",
            "0 while the shared store does not answer.",
            1.0 if redis is None else not redis.away,
        )
        yield _counter(
            "store_outages", "Times it ceased to answer.", 0 if redis is None else redis.outages
        )
        yield _gauge("usage_backlog", "Charges that wait to be booked.", services.metering.backlog)
        caches = {(name,): cache for name, cache in services.caches().items()}
        yield _gauge(
            "cache_entries", "What is remembered.",
            {name: cache.size for name, cache in caches.items()}, "cache",
        )  # fmt: skip
        yield _counter(
            "cache_hits", "Asked for and remembered.",
            {name: cache.hits for name, cache in caches.items()}, "cache",
        )  # fmt: skip
        yield _counter(
            "cache_misses", "Asked for and not remembered.",
            {name: cache.misses for name, cache in caches.items()}, "cache",
        )  # fmt: skip
        yield _gauge(
            "breaker_state",
            "Circuit breakers: 0 closed, 1 half open, 2 open.",
            {(name,): _BREAKER_STATES[state] for name, state in services.breaker_states().items()},
            "breaker",
        )

"""What components keep for themselves, as it is shown."""

from __future__ import annotations

import contextlib
from pathlib import Path

from prometheus_client import generate_latest

from app.observability.collector import ServicesCollector
from guards.adaptive import Load
from inference.dispatcher import DispatcherStats
from inference.memory import CacheStats
from streaming.breaker import BreakerState, CircuitBreaker
from streaming.types import Priority
from tests.app.observability.support import Scrape, parse
from tests.app.support import Fakes, services

STATS = DispatcherStats(
    queued={Priority.FINAL: 1, Priority.PARTIAL: 2, Priority.OFFLINE: 0},
    running=2,
    batches=10,
    rows=25,
    superseded=3,
    rejected=4,
    failed=5,
    waits=(0.1, 0.2),
)


def shown(fakes: Fakes) -> Scrape:
    registry = fakes.services.metrics.registry
    registry.register(ServicesCollector(fakes.services))
    return parse(generate_latest(registry).decode())


async def test_states_and_counters(tmp_path: Path) -> None:
    async with services(tmp_path) as fakes:
        fakes.services.stats = lambda: {"speech": STATS}
        fakes.services.model_caches = lambda: {"sentences": CacheStats(7, 3, 5)}
        _open(fakes.services.breakers.breaker("remote"))
        _open(half_open := fakes.services.breakers.breaker("redis"))
        half_open._enter(BreakerState.HALF_OPEN)
        for _ in range(20):
            fakes.services.lag.note(0.25)
        fakes.services.limiter.load.update(Load(gpu_memory=0.5), 1.0)
        fakes.services.draining = True
        fakes.services.capacity.refused = 6
        fakes.services.metering.backlog = 8
        seen = shown(fakes)
        free = fakes.services.machine.latest.disk_free_mib * 1024 * 1024
    for name, labels, value in (
        ("surtitle_ready", {}, 1),
        ("surtitle_draining", {}, 1),
        ("surtitle_build_info", {"model": "fake"}, 1),
        ("surtitle_queue_jobs", {"worker": "speech", "work": "partial"}, 2),
        ("surtitle_running_jobs", {"worker": "speech"}, 2),
        ("surtitle_batches_total", {"worker": "speech"}, 10),
        ("surtitle_batched_jobs_total", {"worker": "speech"}, 25),
        ("surtitle_superseded_jobs_total", {"worker": "speech"}, 3),
        ("surtitle_rejected_jobs_total", {"worker": "speech"}, 4),
        ("surtitle_failed_jobs_total", {"worker": "speech"}, 5),
        ("surtitle_worker_restarts_total", {"worker": "speech"}, 0),
        ("surtitle_cache_hits_total", {"cache": "sentences"}, 7),
        ("surtitle_cache_misses_total", {"cache": "sentences"}, 3),
        ("surtitle_cache_entries", {"cache": "sentences"}, 5),
        ("surtitle_breaker_state", {"breaker": "remote"}, 2),
        ("surtitle_breaker_state", {"breaker": "redis"}, 1),
        ("surtitle_event_loop_delay_seconds_count", {}, 20),
        ("surtitle_event_loop_delay_seconds_bucket", {"le": "0.1"}, 0),
        ("surtitle_event_loop_delay_seconds_bucket", {"le": "0.25"}, 20),
        ("surtitle_event_loop_pressed", {}, 1),
        ("surtitle_gpu_memory_used_ratio", {}, 0.5),
        ("surtitle_speakers_refused_total", {}, 6),
        ("surtitle_usage_backlog", {}, 8),
        ("surtitle_store_up", {}, 1),
        ("surtitle_disk_free_bytes", {}, free),
    ):
        assert seen.value(name, **labels) == value, name


async def test_what_is_not_there_has_a_name_and_no_value(tmp_path: Path) -> None:
    async with services(tmp_path) as fakes:
        seen = shown(fakes)
    assert seen.families["surtitle_gpu_memory_used_ratio"].samples == []
    assert "surtitle_gpu_memory_used_ratio" in seen.names


def _open(breaker: CircuitBreaker) -> None:
    while breaker.available:
        with contextlib.suppress(OSError), breaker.attempt():
            raise OSError("down")

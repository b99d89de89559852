from __future__ import annotations

import pytest

from bench.load.loop_delay import about_loop, buckets, quantile_of

METRICS = """\
# HELP surtitle_event_loop_delay_seconds How late the loop is.
# TYPE surtitle_event_loop_delay_seconds histogram
surtitle_event_loop_delay_seconds_bucket{le="0.005"} 90
surtitle_event_loop_delay_seconds_bucket{le="0.05"} 99.0
surtitle_event_loop_delay_seconds_bucket{le="+Inf"} 100
surtitle_event_loop_delay_seconds_count 100
surtitle_queue_wait_seconds_bucket{le="0.005"} 7
"""


def test_a_loops_histogram_is_found_among_metrics() -> None:
    assert buckets(METRICS) == {0.005: 90, 0.05: 99, float("inf"): 100}
    assert buckets("<html>") == {}


@pytest.mark.parametrize(
    ("q", "edge"), [(0.5, 0.005), (0.9, 0.005), (0.99, 0.05), (1.0, float("inf"))]
)
def test_a_quantile_is_the_edge_of_its_bucket(q: float, edge: float) -> None:
    assert quantile_of(buckets(METRICS), q) == edge
    assert quantile_of({}, q) is None


def test_numbers_about_a_loop_are_found_on_a_health_page() -> None:
    page = (
        '{"event_loop": {"delay_p99_seconds": 0.02, "name": "x"}, "sessions": 3, "loop_ok": true}'
    )
    assert about_loop(page) == {"event_loop.delay_p99_seconds": 0.02}
    assert about_loop("[]") == {}
    assert about_loop("") == {}

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.adaptive import LEVELS, Load, LoadConfig, LoadPolicy, shrink
from guards.principal import Tier
from guards.tiers import DEFAULTS

BUSY = Load(queue_wait=3)
CALM = Load(queue_wait=0.5)
BETWEEN = Load(queue_wait=1.7)


def run(policy: LoadPolicy, load: Load, start: float, seconds: int) -> list[int]:
    return [policy.update(load, start + second) for second in range(seconds)]


def test_it_rises_step_by_step_and_falls_more_slowly() -> None:
    policy = LoadPolicy()
    assert run(policy, BUSY, 0, 16) == [0] * 5 + [1] * 5 + [2] * 5 + [3]
    assert run(policy, BUSY, 16, 60)[-1] == 3
    falling = run(policy, CALM, 100, 91)
    assert falling == [3] * 30 + [2] * 30 + [1] * 30 + [0]


def test_a_moment_of_load_changes_nothing() -> None:
    policy = LoadPolicy()
    for second in range(100):
        load = CALM if second % 5 == 4 else BUSY
        assert policy.update(load, second) == 0


def test_between_too_much_and_calm_it_stays() -> None:
    policy = LoadPolicy()
    run(policy, BUSY, 0, 6)
    assert policy.level == 1
    assert set(run(policy, BETWEEN, 6, 300)) == {1}


@pytest.mark.parametrize("load", [Load(cpu=1.0), Load(gpu_memory=0.99)])
def test_what_is_full_alone_leads_to_the_first_level_only_and_later(load: Load) -> None:
    policy = LoadPolicy()
    assert run(policy, load, 0, 200) == [0] * 60 + [1] * 140


def test_a_late_loop_is_load_too() -> None:
    policy = LoadPolicy()
    assert run(policy, Load(loop_delay=0.3), 0, 100)[-1] == 3


loads = st.builds(
    Load,
    queue_wait=st.floats(0, 10),
    loop_delay=st.floats(0, 1),
    cpu=st.floats(0, 1),
    gpu_memory=st.none() | st.floats(0, 1),
)


@given(steps=st.lists(st.tuples(loads, st.floats(0, 100)), max_size=100))
def test_levels_change_one_at_a_time_and_not_too_soon(steps: list[tuple[Load, float]]) -> None:
    policy, config = LoadPolicy(), LoadConfig()
    now, changed, level = 0.0, 0.0, 0
    for load, seconds in steps:
        now += seconds
        after = policy.update(load, now)
        assert 0 <= after < len(LEVELS)
        assert abs(after - level) <= 1
        if after != level:
            patience = config.rise_seconds if after > level else config.fall_seconds
            assert now - changed >= patience
            changed, level = now, after


def test_lower_tiers_shrink_first_and_more() -> None:
    shares = [
        [shrink(DEFAULTS[tier], tier, level).requests_per_minute for level in range(len(LEVELS))]
        for tier in (Tier.FREE, Tier.BASIC, Tier.PRO, Tier.ENTERPRISE, Tier.ADMIN)
    ]
    assert shares == [
        [10, 5, 2, 0],
        [50, 50, 25, 10],
        [200, 200, 200, 100],
        [1000] * 4,
        [1000] * 4,
    ]


def test_quotas_stay_and_a_stream_is_left_but_at_the_worst() -> None:
    free = [shrink(DEFAULTS[Tier.FREE], Tier.FREE, level) for level in range(len(LEVELS))]
    assert {limits.quota for limits in free} == {DEFAULTS[Tier.FREE].quota}
    assert {limits.requests_per_day for limits in free} == {1000}
    assert [limits.streams for limits in free] == [1, 1, 1, 0]

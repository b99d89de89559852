from __future__ import annotations

from pathlib import Path

import pytest

from guards.principal import Tier
from guards.tiers import DEFAULTS, LIMITS, Endpoint, Tiers, TiersError
from guards.usage import Quota


@pytest.mark.parametrize(
    ("tier", "minute", "day", "streams", "audio", "characters"),
    [
        (Tier.FREE, 10, 1_000, 1, 60, 100_000),
        (Tier.BASIC, 50, 10_000, 3, 600, 1_000_000),
        (Tier.PRO, 200, 100_000, 20, 6_000, 10_000_000),
        (Tier.ENTERPRISE, 1_000, 1_000_000, 200, 60_000, 100_000_000),
        (Tier.ADMIN, 1_000, 1_000_000, 200, 60_000, 100_000_000),
    ],
)
def test_the_defaults_are_those_of_the_design(
    tier: Tier, minute: int, day: int, streams: int, audio: int, characters: int
) -> None:
    limits = Tiers().of(tier)
    assert limits.requests_per_minute == minute
    assert limits.requests_per_day == day
    assert limits.streams == streams
    assert limits.quota == Quota(audio * 60_000, characters)
    for endpoint in Endpoint:
        assert 0 < limits.per_minute(endpoint) <= minute


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "tiers.toml"
    path.write_text("[free]\nstreams = 2\ntext_per_minute = 5\n[pro]\naudio_minutes_per_day = 0\n")
    tiers = Tiers.load(path)
    assert tiers.of(Tier.FREE).streams == 2
    assert tiers.of(Tier.FREE).per_minute(Endpoint.TEXT) == 5
    assert tiers.of(Tier.FREE).requests_per_day == 1_000
    assert tiers.of(Tier.PRO).quota.audio_ms == 0
    assert tiers.of(Tier.BASIC) == DEFAULTS[Tier.BASIC]
    assert Tiers.load(None).limits == DEFAULTS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[gold]\nstreams = 1", r"\[gold\] is no tier"),
        ("[free]\nstreems = 1", r"\[free\] streems is no limit; limits are .*streams"),
        ("[free]\nstreams = -1", r"\[free\] streams is a whole number"),
        ("[free]\nmessages_per_second = 0", "of at least 1"),
        ("[free]\nstreams = 1.5", "whole number"),
        ("[free]\nstreams = true", "whole number"),
        ('[free]\nstreams = "1"', "whole number"),
        ("free = 1", "free is no table"),
        ("[free", "is not TOML"),
        ("[free]\nstreams = 99999999999999999999", "whole number|TOML"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "tiers.toml"
    path.write_text(text)
    with pytest.raises(TiersError, match=said) as caught:
        Tiers.load(path)
    assert "\n" not in str(caught.value)


def test_keys_have_limits_of_their_own() -> None:
    tiers = Tiers()
    limits = tiers.of(Tier.FREE, {"streams": 7, "a_limit_of_the_past": 1})
    assert limits.streams == 7
    assert limits.requests_per_minute == 10
    assert tiers.of(Tier.FREE).streams == 1


def test_all_limits_can_be_named() -> None:
    assert {"requests_per_minute", "streams", "characters_per_day"} <= set(LIMITS)

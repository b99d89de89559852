from __future__ import annotations

import math

from guards.ratelimit_headers import headers
from guards.windows import Decision, Standing, Window

MINUTE = Window("minute", 10, 60)
DAY = Window("day", 1000, 86_400)


def test_all_windows_are_told_and_the_tightest_again() -> None:
    decision = Decision(True, (Standing(MINUTE, 8.5, 42.2, 0.0), Standing(DAY, 100.0, 4000.5, 0.0)))
    assert headers(decision) == {
        "RateLimit-Policy": '"minute";q=10;w=60, "day";q=1000;w=86400',
        "RateLimit": '"minute";r=1;t=43, "day";r=900;t=4001',
        "RateLimit-Limit": "10",
        "RateLimit-Remaining": "1",
        "RateLimit-Reset": "43",
    }


def test_a_refusal_says_when_there_is_more() -> None:
    decision = Decision(
        False, (Standing(MINUTE, 2.0, 42.0, 0.0), Standing(DAY, 1000.0, 4000.0, 4100.2))
    )
    told = headers(decision)
    assert told["RateLimit"] == '"minute";r=8;t=42, "day";r=0;t=4101'
    assert (told["RateLimit-Limit"], told["RateLimit-Reset"]) == ("1000", "4101")


def test_a_limit_of_nothing_is_told_in_numbers() -> None:
    nothing = Window("minute", 0, 60)
    told = headers(Decision(False, (Standing(nothing, 0.0, 10.0, math.inf),)))
    assert told["RateLimit"] == '"minute";r=0;t=60'

"""How limits are told to clients.

``RateLimit-Policy`` and ``RateLimit`` are those of draft-ietf-httpapi-ratelimit-headers-10. Beside
them stand ``RateLimit-Limit``, ``-Remaining`` and ``-Reset`` of draft 06 for the tightest window,
because that is what most clients read today.
"""

from __future__ import annotations

import math

from guards.windows import Decision, Standing


def headers(decision: Decision) -> dict[str, str]:
    """The headers that tell of a decision."""
    tightest = decision.tightest
    return {
        "RateLimit-Policy": ", ".join(
            f'"{one.window.name}";q={one.window.limit};w={one.window.seconds}'
            for one in decision.standings
        ),
        "RateLimit": ", ".join(
            f'"{one.window.name}";r={one.remaining};t={_reset(one)}' for one in decision.standings
        ),
        "RateLimit-Limit": str(tightest.window.limit),
        "RateLimit-Remaining": str(tightest.remaining),
        "RateLimit-Reset": str(_reset(tightest)),
    }


def _reset(standing: Standing) -> int:
    """Whole seconds until there is more: when refused, until one more is admitted."""
    if standing.retry_after:
        return math.ceil(min(standing.retry_after, standing.window.seconds))
    return math.ceil(standing.reset)

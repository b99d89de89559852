"""What was used: one's own, and everybody's for administrators."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from litestar import Request, Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, Operation
from litestar.params import FromQuery, QueryParameter
from msgspec import Meta, Struct

from app.controllers.documentation import LIMITED, SECURITY, answered, answered_as, problems
from app.services import services_of
from app.usage_report import By, UsageRow, as_csv, seconds, summed
from guards.admission import limited
from guards.auth import admin_only, authenticated
from guards.principal import Principal, Tier
from guards.tiers import LIMITS, Endpoint
from guards.usage import Amount, today, until_tomorrow
from streaming.errors import SurtitleError

_MAX_DAYS: Final = 400


class PeriodInvalid(SurtitleError):
    """Days that are in the wrong order, or too many at once."""

    code = "invalid_request"
    status = 400


class Used(Struct):
    """Audio of streams and files, characters of text that was translated, and requests."""

    audio_seconds: float
    characters: int
    requests: int


class DayUsed(Used):
    day: date


class OwnUsage(Struct):
    """Usage of the key that asks. ``limits`` are what holds for it now, by name; quotas are
    renewed at ``resets_at``.
    """

    key_id: str
    user_id: str
    tier: Tier
    today: Used
    month: Used
    days: list[DayUsed]
    limits: dict[str, int]
    resets_at: datetime


class UsageReport(Struct):
    """``first`` and ``last`` are included. Days are those of UTC."""

    first: date
    last: date
    rows: list[UsageRow]


_OWN_EXAMPLE: Final = {
    "key_id": "key_5f2c8a1b",
    "user_id": "ana",
    "tier": "free",
    "today": {"audio_seconds": 1800.25, "characters": 12_000, "requests": 9},
    "month": {"audio_seconds": 5400.5, "characters": 48_000, "requests": 31},
    "days": [
        {
            "audio_seconds": 1800.25,
            "characters": 12_000,
            "requests": 9,
            "day": "2026-11-25",
        }
    ],
    "limits": {"requests_per_minute": 10, "streams": 1, "audio_minutes_per_day": 60},
    "resets_at": "2026-11-26T00:00:00Z",
}


@get(
    "/v1/usage",
    guards=[authenticated, limited(Endpoint.ACCOUNT)],
    summary="What this key has used",
    description="Today, in this month, and by day of this month. Days are those of UTC. A running "
    "stream has a few seconds reserved ahead, which are given back at its end.",
    tags=["usage"],
    operation_id="ownUsage",
    security=SECURITY,
    response_headers=LIMITED,
    responses=answered(OwnUsage, "What was used, and what may be.", _OWN_EXAMPLE)
    | problems(401, 429, 503),
)
async def own_usage(request: Request[Principal, Any, Any]) -> OwnUsage:
    services = services_of(request)
    principal = request.user
    now = services.metering.clock()
    day = today(now)
    report = await services.metering.usage.report(day.replace(day=1), day, [principal.key_id])
    by_day = {one.day: one.amount for one in report}
    limits = services.limiter.limits(principal)
    return OwnUsage(
        key_id=principal.key_id,
        user_id=principal.user_id,
        tier=principal.tier,
        today=_used(by_day.get(day, Amount())),
        month=_used(sum(by_day.values(), Amount())),
        days=[DayUsed(*_figures(amount), day) for day, amount in by_day.items()],
        limits={name: getattr(limits, name) for name in LIMITS},
        resets_at=datetime.fromtimestamp(round(now + until_tomorrow(now)), UTC),
    )


_EXAMPLE: Final = {
    "first": "2026-11-01",
    "last": "2026-11-30",
    "rows": [
        {
            "user_id": "ana",
            "key_id": None,
            "day": None,
            "audio_seconds": 5400.5,
            "characters": 120_000,
            "requests": 77,
        }
    ],
}


@dataclass
class _ReportOperation(Operation):
    def __post_init__(self) -> None:
        answered_as(self, "text/csv")


@get(
    "/admin/usage",
    guards=[admin_only, limited(Endpoint.ACCOUNT)],
    operation_class=_ReportOperation,
    summary="What everybody has used",
    description="By default of this month, by user.",
    tags=["usage"],
    operation_id="usageReport",
    security=SECURITY,
    response_headers=LIMITED,
    responses={
        200: ResponseSpec(
            UsageReport,
            generate_examples=False,
            description="The report, or CSV with a head when `format` is `csv`.",
            examples=[Example(value=_EXAMPLE)],
        ),
        **problems(400, 401, 403, 429, 503),
    },
)
async def usage_report(
    request: Request[Principal, Any, Any],
    first: FromQuery[Annotated[date | None, QueryParameter(description="First day.")]] = None,
    last: FromQuery[Annotated[date | None, QueryParameter(description="Last day.")]] = None,
    user: FromQuery[Annotated[str, Meta(max_length=256)] | None] = None,
    by: FromQuery[By] = "user",
    format: FromQuery[Literal["json", "csv"]] = "json",  # noqa: A002 - the parameter's name
) -> Response[Any]:
    begin, end = period(first, last)
    usage = await services_of(request).metering.usage.report(begin, end)
    rows = summed((one for one in usage if user in (None, one.user_id)), by)
    if format == "csv":
        name = f"usage-{begin}-{end}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(as_csv(rows), media_type="text/csv", headers=headers)
    return Response(UsageReport(begin, end, rows))


def period(first: date | None, last: date | None) -> tuple[date, date]:
    """These days, or this month's so far. Raises ``PeriodInvalid``."""
    end = last or today(time.time())
    begin = first or end.replace(day=1)
    if begin > end:
        raise PeriodInvalid(f"{begin} is after {end}.")
    if end - begin > timedelta(days=_MAX_DAYS):
        raise PeriodInvalid(f"A report is of at most {_MAX_DAYS} days.")
    return begin, end


def _figures(amount: Amount) -> tuple[float, int, int]:
    return seconds(amount), amount.characters, amount.requests


def _used(amount: Amount) -> Used:
    return Used(*_figures(amount))

"""Distributions of delays, drawn as plain SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from bench.quality.records import Record, by_group

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 320, 48, 36, 150, 40
_COLOURS = ("#0b6e99", "#d9730d", "#448361", "#9065b0", "#c14c8a", "#787774", "#d44c47", "#000000")
_SECONDS = 3.0


def plots(records: Sequence[Record]) -> dict[str, str]:
    """An SVG of each delay's distribution, one curve for each set and language of speech."""
    spoken = [record for record in records if record.set in ("english", "longform", "languages")]
    groups = by_group(spoken)
    drawn: dict[str, tuple[str, Callable[[Record], Sequence[float]]]] = {
        "first-shown": ("word → first shown", lambda r: r.first_shown),
        "committed": ("word → in stable text", lambda r: r.committed),
        "final": ("end of speech → final", lambda r: [stage.total for stage in r.stages]),
    }
    return {
        name: cumulative(
            title,
            {
                f"{key[0]} {key[1]}": [value for record in group for value in values(record)]
                for key, group in groups.items()
            },
        )
        for name, (title, values) in drawn.items()
        if groups
    }


def cumulative(title: str, series: Mapping[str, Sequence[float]]) -> str:
    """Share of values up to each number of seconds, as steps of percent."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">',
        "<style>text{font:12px sans-serif}</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="22" font-weight="bold">{escape(title)}, seconds</text>',
    ]
    for percent in range(0, 101, 25):
        y = _y(percent / 100)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{percent} %</text>')
    for half in range(int(2 * _SECONDS) + 1):
        x = _x(half / 2)
        parts.append(f'<path d="M{x:.1f} {_y(0):.1f}V{_y(1):.1f}" stroke="#eeeeee"/>')
        label = f'<text x="{x:.1f}" y="{_y(0) + 18:.1f}" text-anchor="middle">{half / 2:g}</text>'
        parts.append(label)
    named = [(name, sorted(values)) for name, values in series.items() if values]
    for number, (name, values) in enumerate(named):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(
            f"{_x(min(values[_rank(percent, len(values))], _SECONDS)):.1f},{_y(percent / 100):.1f}"
            for percent in range(101)
        )
        parts.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>'
        )
        y = _TOP + 16 * number + 8
        x = _WIDTH - _RIGHT + 12
        parts.append(f'<text x="{x}" y="{y}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _rank(percent: int, count: int) -> int:
    return min(count - 1, max(0, -(-percent * count // 100) - 1))


def _x(seconds: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * seconds / _SECONDS


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share

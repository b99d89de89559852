"""Captions on a terminal, or as lines where there is none."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

_TRANSLATION_STYLE = "cyan"


@contextmanager
def display(out: TextIO, targets: int = 0) -> Iterator[Callable[[dict[str, Any]], None]]:
    """What takes the events of a stream: a live view, or finals as plain lines.

    ``targets`` is the number of translations a final will get.
    """
    if not out.isatty():
        yield Lines(out)
        return
    console = Console(file=out)
    with Live(console=console, refresh_per_second=12, transient=True) as live:
        yield LiveView(console, live.update, targets)


def _notice(event: dict[str, Any]) -> str:
    return f"{event['type']}: {event['message']}"


class Lines:
    """Each final as a line, its translations below it; warnings and errors on stderr."""

    def __init__(self, out: TextIO, notices: TextIO | None = None) -> None:
        self._out = out
        self._notices = notices or sys.stderr

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "final" and event["text"]:
            print(event["text"], file=self._out, flush=True)
        elif kind == "translation" and event["final"] and event["text"]:
            print(f"[{event['target']}] {event['text']}", file=self._out, flush=True)
        elif kind == "warning" or (kind == "error" and not event["fatal"]):
            print(_notice(event), file=self._notices, flush=True)


class LiveView:
    """The open caption, stable text bright and the rest dim, its translations below.

    What is final and translated scrolls up as ordinary lines; what waits for a translation too
    long does so without it. ``update`` redraws the live part.
    """

    _PATIENCE = 3

    def __init__(self, console: Console, update: Callable[[Group], None], targets: int = 0) -> None:
        self._targets = targets
        self._console = console
        self._update = update
        self._captions: dict[int, Text] = {}
        self._translations: dict[int, dict[str, tuple[str, bool]]] = {}
        self._final: deque[int] = deque()

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "partial":
            caption = Text(event["stable"], style="bold")
            caption.append(event["unstable"], style="dim")
            self._captions[event["segment"]] = caption
        elif kind == "final":
            self._captions[event["segment"]] = Text(event["text"], style="bold")
            self._final.append(event["segment"])
        elif kind == "translation":
            self._translations.setdefault(event["segment"], {})[event["target"]] = (
                event["text"],
                event["final"],
            )
        elif kind == "done":
            self._scroll(len(self._final))
        elif kind in ("warning", "error"):
            self._console.print(Text(_notice(event), style="yellow"))
        while self._final and (
            self._translated(self._final[0]) or len(self._final) > self._PATIENCE
        ):
            self._scroll(1)
        self._update(Group(*self._lines(sorted(self._captions))))

    def _translated(self, segment: int) -> bool:
        known = self._translations.get(segment, {}).values()
        return sum(final for _, final in known) >= self._targets

    def _scroll(self, count: int) -> None:
        for _ in range(count):
            segment = self._final.popleft()
            for line in self._lines([segment]):
                self._console.print(line)
            self._captions.pop(segment, None)
            self._translations.pop(segment, None)

    def _lines(self, segments: list[int]) -> Iterator[Text]:
        for segment in segments:
            caption = self._captions.get(segment)
            if caption is None or not caption.plain:
                continue
            yield caption
            for target, (text, final) in sorted(self._translations.get(segment, {}).items()):
                style = _TRANSLATION_STYLE if final else f"{_TRANSLATION_STYLE} dim"
                yield Text(f"  {target}  {text}", style=style)

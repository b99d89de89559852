"""Hands results from threads to the event loops that wait for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

logger = logging.getLogger(__name__)


def deliver(results: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    """Hand results to their loops, one call for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for future, result in results:
        by_loop.setdefault(future.get_loop(), []).append((future, result))
    for loop, items in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, items)
        except RuntimeError:  # the loop has closed: nobody waits for these any more
            logger.debug("%d results came after their event loop had closed", len(items))


def _settle(items: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in items:
        if future.done():  # cancelled meanwhile
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)

"""Calls to engines elsewhere, over HTTP: pooled, bounded in time and size, tried again where that
may help, and left alone for a while when they are down.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

import httpx
import msgspec
import stamina

from streaming.breaker import BreakerOpen, CircuitBreaker
from streaming.errors import ModelUnavailable, TranslationFailed
from streaming.text import clean

logger = logging.getLogger(__name__)

T = TypeVar("T")

_ATTEMPTS: Final = 3
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 2.0
_MAX_BYTES: Final = 1 << 20
_RETRYABLE: Final = frozenset({429, 502, 503, 504})
_REFUSED: Final = frozenset({400, 413, 422})
"""Answers that are about the text and not about the service."""


class _Down(Exception):
    """The service failed. ``retry_after``: seconds it asked to be left alone, if it did."""

    def __init__(
        self, reason: str, *, retryable: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(reason)
        self.retryable = retryable
        self.retry_after = retry_after


class RemoteClient:
    """One service. ``name`` is what people are told; addresses and keys stay in here.

    ``timeout`` bounds a call with all its tries, in seconds; one try takes half of it at most.
    ``connections`` bounds the pool.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        breaker: CircuitBreaker,
        timeout: float,
        connections: int,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.breaker = breaker
        self._timeout = timeout
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/",
            headers={"Accept": "application/json", **(headers or {})},
            timeout=timeout / 2,
            limits=httpx.Limits(max_connections=connections, keepalive_expiry=30),
        )

    async def ask(self, path: str, kind: type[T], body: Any = None) -> T:
        """GET, or POST ``body`` as JSON, and read the answer as ``kind``.

        Raises ``ModelUnavailable`` when the service is down, and ``TranslationFailed`` when it
        does not want this body.
        """
        began = time.monotonic()
        tries = 0

        def again(error: Exception) -> bool | float:
            if not isinstance(error, _Down) or not error.retryable:
                return False
            wait = error.retry_after
            if wait is None:
                # Exponential, with full jitter: who failed together does not come back together.
                ceiling = min(_LONGEST_WAIT, _FIRST_WAIT * 2**tries)
                wait = random.uniform(0, ceiling)  # noqa: S311 - no secret
            left = self._timeout - (time.monotonic() - began)
            return max(wait, 0.001) if wait < left else False

        try:
            async with asyncio.timeout(self._timeout):
                async for attempt in stamina.retry_context(again, attempts=_ATTEMPTS, timeout=None):
                    with attempt, self.breaker.attempt(failures=(_Down,)):
                        tries = attempt.num
                        return await self._once(path, kind, body)
        except BreakerOpen as error:
            raise self._unavailable(error.retry_after) from error
        except _Down as error:
            logger.warning("%s %s", self.name, error)
            raise self._unavailable(error.retry_after) from error
        except TimeoutError as error:
            raise self._unavailable(None) from error
        raise AssertionError("a retry ends by returning or raising")

    async def close(self) -> None:
        await self._http.aclose()

    def _unavailable(self, retry_after: float | None) -> ModelUnavailable:
        return ModelUnavailable(f"{self.name} does not answer.", retry_after=retry_after)

    async def _once(self, path: str, kind: type[T], body: Any) -> T:
        try:
            async with asyncio.timeout(self._timeout / 2):
                status, headers, data = await self._exchange(path, body)
        except (httpx.TimeoutException, TimeoutError) as error:
            raise _Down("is too slow", retryable=True) from error
        except httpx.TransportError as error:
            raise _Down(type(error).__name__, retryable=True) from error
        except httpx.HTTPError as error:
            raise _Down(type(error).__name__) from error
        if status in _REFUSED:
            raise TranslationFailed(f"{self.name} does not translate this.")
        if status != httpx.codes.OK:
            retryable = status in _RETRYABLE
            raise _Down(f"HTTP {status}", retryable=retryable, retry_after=_retry_after(headers))
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _Down("answers with something else") from error

    async def _exchange(self, path: str, body: Any) -> tuple[int, httpx.Headers, bytes]:
        content = None if body is None else msgspec.json.encode(body)
        request = self._http.build_request(
            "GET" if body is None else "POST",
            path,
            content=content,
            headers={"Content-Type": "application/json"} if content else None,
        )
        response = await self._http.send(request, stream=True)
        try:
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > _MAX_BYTES:
                    raise _Down("answers at too great length")
        finally:
            await response.aclose()
        return response.status_code, response.headers, bytes(data)


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds of a ``Retry-After`` header (RFC 9110, 10.2.3: a number or a date)."""
    text = headers.get("retry-after", "")
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def tidy(name: str, source: str, translated: str) -> str:
    """What a stranger made of a sentence, as one line of text of a believable length.

    Raises ``TranslationFailed``.
    """
    text = " ".join(clean(translated).split())
    if not text or len(text) > 4 * len(source) + 200:
        raise TranslationFailed(f"{name} gave no translation.")
    return text

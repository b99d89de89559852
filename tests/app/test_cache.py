from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cache import Key, LruCache, ResultCache
from app.sentences import Segment
from app.transcription import Transcript, TranslatedTranscript
from guards.errors import StoreUnavailable
from guards.redis.cache import RedisCache
from guards.redis.client import RedisHome
from streaming.types import Translation, Word
from tests.clock import Clock

T = TypeVar("T")
KEY = ("1", "en", "pt", "Hello.")
OLA = Translation("Olá.", "fake")


# ------------------------------------------------------------ memory


def test_the_least_recently_used_goes_first() -> None:
    cache: LruCache[str, int] = LruCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
    assert cache.evictions == 1


def test_weights_are_kept_through_replacing() -> None:
    cache: LruCache[str, str] = LruCache(10, len)
    cache.put("a", "x" * 6)
    cache.put("a", "x" * 4)
    cache.put("b", "y" * 6)
    assert len(cache) == 2
    cache.put("c", "z" * 11)
    assert cache.get("c") is None
    cache.put("a", "w" * 5)
    assert cache.get("b") is None
    cache.clear()
    cache.put("d", "v" * 10)
    assert cache.get("d") == "v" * 10


def test_values_are_kept_for_a_lifetime() -> None:
    clock = Clock()
    cache: LruCache[str, int] = LruCache(2, lifetime=60, clock=clock)
    cache.put("a", 1)
    clock.now += 59.9
    assert cache.get("a") == 1
    clock.now += 0.1
    assert cache.get("a") is None
    assert (len(cache), cache.weight, cache.evictions) == (0, 0, 0)


def test_a_lifetime_of_nothing_keeps_nothing() -> None:
    cache: LruCache[str, int] = LruCache(2, lifetime=0)
    cache.put("a", 1)
    assert len(cache) == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["get", "put", "wait"]), st.integers(0, 9), st.integers(0, 9))
    )
)
def test_it_never_holds_too_much_or_what_is_too_old(steps: list[tuple[str, int, int]]) -> None:
    clock = Clock(0.0)
    cache: LruCache[int, int] = LruCache(20, lambda value: value, lifetime=5, clock=clock)
    put: dict[int, tuple[int, float]] = {}
    for step, key, value in steps:
        if step == "put":
            cache.put(key, value)
            put[key] = value, clock.now
        elif step == "wait":
            clock.now += value / 2
        elif (found := cache.get(key)) is not None:
            assert found == put[key][0]
            assert clock.now < put[key][1] + 5
        assert cache.weight <= 20


# ------------------------------------------------------------ both homes


@dataclass
class Homes:
    """Makes caches that share a home, as those of several processes do."""

    redis: RedisHome | None
    name: str = "translations"

    def cache(
        self, *, near: float = 60, lifetime: float = 60, patience: float = 5.0, kind: Any = None
    ) -> ResultCache[Any]:
        shared = None
        if self.redis is not None:
            shared = RedisCache(self.redis, self.name, lifetime=lifetime, capacity=100_000)
        memory: LruCache[Key, Any] = LruCache(1000, lifetime=near)
        return ResultCache(memory, kind or Translation, shared, patience=patience)


@pytest.fixture
def homes(redis: RedisHome | None) -> Homes:
    return Homes(redis)


class Maker:
    """Makes a result when the test says so, and counts."""

    def __init__(self, result: Any = OLA, *, held: bool = False) -> None:
        self.result = result
        self.made = 0
        self.asked = asyncio.Event()
        self.free = asyncio.Event()
        if not held:
            self.free.set()

    async def __call__(self) -> Any:
        self.made += 1
        self.asked.set()
        await self.free.wait()
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


async def test_a_result_is_made_once_and_then_kept(homes: Homes) -> None:
    cache, maker = homes.cache(), Maker()
    assert await cache.get(KEY) is None
    assert await cache.fetch(KEY, maker) == (OLA, False)
    assert await cache.fetch(KEY, maker) == (OLA, True)
    assert cache.peek(KEY) == await cache.get(KEY) == OLA
    assert maker.made == 1
    stats = cache.stats
    assert (stats.hits, stats.misses, stats.entries, stats.joined) == (3, 1, 1, 0)
    assert stats.shared is (homes.redis is not None)
    assert stats.shared_failures == 0


async def test_every_part_of_the_key_counts(homes: Homes) -> None:
    cache, maker = homes.cache(), Maker()
    keys = [KEY, ("2", *KEY[1:]), ("1", "en", "ptHello.", ""), ("1", "en", "pt", "hello.")]
    for key in keys:
        assert await cache.fetch(key, maker) == (OLA, False)
    assert maker.made == len(keys)


async def test_many_who_ask_at_once_get_one_result(homes: Homes) -> None:
    cache, maker = homes.cache(), Maker(held=True)
    tasks = [asyncio.create_task(cache.fetch(KEY, maker)) for _ in range(50)]
    await maker.asked.wait()
    maker.free.set()
    assert await asyncio.gather(*tasks) == [(OLA, False)] * 50
    assert maker.made == 1
    assert cache.stats.joined == 49


async def test_an_error_is_not_kept(homes: Homes) -> None:
    cache = homes.cache()
    with pytest.raises(ValueError, match="no"):
        await cache.fetch(KEY, Maker(ValueError("no")))
    assert await cache.fetch(KEY, Maker()) == (OLA, False)


async def test_one_who_leaves_costs_the_others_nothing(homes: Homes) -> None:
    cache, maker = homes.cache(), Maker(held=True)
    leaving = asyncio.create_task(cache.fetch(KEY, maker))
    await maker.asked.wait()
    staying = asyncio.create_task(cache.fetch(KEY, maker))
    await asyncio.sleep(0)
    leaving.cancel()
    maker.free.set()
    assert await staying == (OLA, False)
    assert maker.made == 1


async def test_a_result_that_nobody_waits_for_any_more_is_begun_anew(homes: Homes) -> None:
    cache, maker = homes.cache(), Maker(held=True)
    task = asyncio.create_task(cache.fetch(KEY, maker))
    await maker.asked.wait()
    task.cancel()
    await asyncio.wait([task])
    # Nor does a claim of the one that left hold this up.
    async with asyncio.timeout(4):
        assert await homes.cache().fetch(KEY, Maker()) == (OLA, False)


async def test_what_is_not_worth_keeping_is_not_kept(homes: Homes) -> None:
    cache = homes.cache()
    for _ in range(2):
        result = await cache.fetch(KEY, Maker(), worth_keeping=lambda found: found.text == "")
        assert result == (OLA, False)


async def test_clearing_forgets_all_of_it_and_what_is_being_made(homes: Homes) -> None:
    cache, maker = homes.cache(), Maker()
    for text in ("a", "b", "c"):
        await cache.fetch(("1", text), maker)
    held = Maker(held=True)
    task = asyncio.create_task(cache.fetch(KEY, held))
    await held.asked.wait()
    assert await cache.clear() == 3
    held.free.set()
    assert await task == (OLA, False)
    for key in (("1", "a"), KEY):
        assert await cache.get(key) is None
    assert await cache.clear() == 0
    assert len(cache) == 0


async def test_a_transcript_comes_back_as_it_was(homes: Homes) -> None:
    words = (Word("Good", 0.0, 0.4, 0.9), Word(" morning.", 0.4, 1.0, 0.75))
    segments = (Segment(0.0, 1.0, "Good morning.", 0.5, words),)
    translation = TranslatedTranscript("pt", "Bom dia.", (Segment(0.0, 1.0, "Bom dia."),))
    for transcript in (
        Transcript("Good morning.", "en", 1.92, segments, translation),
        Transcript("", None, 0.0, ()),
    ):
        key = ("1", transcript.text)
        await homes.cache(kind=Transcript).fetch(key, Maker(transcript))
        if homes.redis is not None:
            assert await homes.cache(kind=Transcript).get(key) == transcript


# ------------------------------------------------------------ several processes

shared = pytest.mark.parametrize(
    "redis", [pytest.param("redis", marks=pytest.mark.redis)], indirect=True
)


@shared
async def test_what_one_process_made_others_have(homes: Homes) -> None:
    one, other = homes.cache(), homes.cache()
    await one.fetch(KEY, Maker())
    unused = Maker()
    assert await other.fetch(KEY, unused) == (OLA, True)
    assert unused.made == 0
    assert other.peek(KEY) == OLA  # from now on without Redis
    assert (other.stats.hits, other.stats.misses) == (2, 0)


@shared
async def test_several_processes_make_a_result_once(homes: Homes) -> None:
    caches = [homes.cache() for _ in range(4)]
    maker = Maker(held=True)
    tasks = [asyncio.create_task(cache.fetch(KEY, maker)) for cache in caches for _ in range(5)]
    await maker.asked.wait()
    await asyncio.sleep(0.1)  # the others have seen by now that it is being made
    maker.free.set()
    results = await asyncio.gather(*tasks)
    assert [found for found, _ in results] == [OLA] * 20
    assert maker.made == 1
    assert sum(cache.stats.misses for cache in caches) == 1


@shared
async def test_a_process_that_is_stuck_is_not_waited_for_long(homes: Homes) -> None:
    stuck, maker = Maker(held=True), Maker(Translation("Oi.", "other"))
    task = asyncio.create_task(homes.cache(patience=0.2).fetch(KEY, stuck))
    await stuck.asked.wait()
    assert await homes.cache(patience=0.2).fetch(KEY, maker) == (Translation("Oi.", "other"), False)
    stuck.free.set()
    assert await task == (OLA, False)


@shared
async def test_another_process_makes_what_one_failed_to(homes: Homes) -> None:
    failing, maker = Maker(ValueError("no"), held=True), Maker()
    task = asyncio.create_task(homes.cache().fetch(KEY, failing))
    await failing.asked.wait()
    waiting = asyncio.create_task(homes.cache().fetch(KEY, maker))
    await asyncio.sleep(0.05)
    failing.free.set()
    with pytest.raises(ValueError, match="no"):
        await task
    async with asyncio.timeout(4):
        assert await waiting == (OLA, False)


@shared
async def test_what_one_process_clears_others_forget_soon(homes: Homes) -> None:
    one, other = homes.cache(), homes.cache(near=0)
    await one.fetch(KEY, Maker())
    assert await other.get(KEY) == OLA
    assert await one.clear() == 1
    assert await other.get(KEY) is None


@shared
async def test_what_cannot_be_read_is_made_again(homes: Homes) -> None:
    await homes.cache(kind=str).fetch(KEY, Maker("another release's form"))
    assert await homes.cache().fetch(KEY, Maker()) == (OLA, False)
    assert await homes.cache().fetch(KEY, Maker()) == (OLA, True)


class Away:
    """A shared home that does not answer, from the start or from some call on."""

    def __init__(self, answers: int = 0) -> None:
        self.answers = answers

    async def _answer(self, value: T) -> T:
        self.answers -= 1
        if self.answers < 0:
            raise StoreUnavailable("away")
        return value

    async def get(self, _name: str) -> bytes | None:
        return await self._answer(None)

    async def put(self, _name: str, _value: bytes) -> int:
        return await self._answer(0)

    async def claim(self, _name: str, _holder: str, _seconds: float) -> bool:
        return await self._answer(True)

    async def release(self, _name: str, _holder: str) -> None:
        return await self._answer(None)

    async def clear(self) -> int:
        return await self._answer(0)


@pytest.mark.parametrize("answers", range(5))
async def test_without_the_shared_home_memory_does(answers: int) -> None:
    cache: ResultCache[Translation] = ResultCache(LruCache(10), Translation, Away(answers))
    maker = Maker()
    assert await cache.fetch(KEY, maker) == (OLA, False)
    assert await cache.fetch(KEY, maker) == (OLA, True)
    assert maker.made == 1
    assert cache.stats.shared_failures == 4 - answers
    with pytest.raises(StoreUnavailable):
        await cache.clear()
    assert cache.peek(KEY) is None

from __future__ import annotations

from app.cache import LruCache


def test_the_least_recently_used_goes_first() -> None:
    cache: LruCache[str, int] = LruCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)


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

from __future__ import annotations

from types import SimpleNamespace

import pytest

import inference.decoding
from bench.quality.__main__ import _variants
from bench.quality.variants import Variant, check, describe, parse, patched
from streaming.session_config import SessionConfig


def test_values_are_json_or_plain_text() -> None:
    assert parse("partial_ms=300") == ("partial_ms", 300)
    assert parse('start.vocabulary=["Ada"]') == ("start.vocabulary", ["Ada"])
    assert parse("start.source=auto") == ("start.source", "auto")
    with pytest.raises(ValueError, match="key=value"):
        parse("partial_ms")


def test_session_fields_are_found_by_name_and_by_path() -> None:
    config = Variant("a", (("endpoint_ms", 300), ("segmenter.threshold", 0.7))).config()
    assert config.segmenter.endpoint_ms == 300
    assert config.segmenter.threshold == 0.7
    assert config.partial_ms == SessionConfig().partial_ms


@pytest.mark.parametrize("key", ["endpoint", "segmenter.endpoint", "nothing.at.all"])
def test_a_field_there_is_none_of_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"endpoint|nothing"):
        check(Variant("a", ((key, 1),)))


def test_prefixes_go_where_they_belong() -> None:
    variant = Variant("a", (("start.source", "auto"), ("simulation.workers", 1)))
    assert variant.under("start") == {"source": "auto"}
    assert variant.under("simulation") == {"workers": 1}
    assert variant.config() == SessionConfig()


def test_patches_last_as_long_as_they_are_wanted() -> None:
    engine = SimpleNamespace(beam_size=1)
    before = inference.decoding.BUCKETS
    changed = [*before[:-1], before[-1] + 100]
    overrides = (("recognizer.beam_size", 5), ("inference.decoding.BUCKETS", changed))
    with patched(engine, Variant("a", overrides)):
        assert engine.beam_size == 5
        assert tuple(changed) == inference.decoding.BUCKETS
    assert engine.beam_size == 1
    assert inference.decoding.BUCKETS is before


def test_an_attribute_there_is_none_of_is_refused() -> None:
    with (
        pytest.raises(AttributeError),
        patched(SimpleNamespace(), Variant("a", (("recognizer.x", 1),))),
    ):
        pass
    with pytest.raises(AttributeError):
        check(Variant("a", (("inference.decoding.NOTHING", 1),)))


def test_overrides_before_the_first_variant_hold_for_all() -> None:
    one, two = _variants([("partial_ms", 300), "one", "two", ("endpoint_ms", 400)])
    assert one == Variant("one", (("partial_ms", 300),))
    assert two == Variant("two", (("partial_ms", 300), ("endpoint_ms", 400)))
    assert [v.name for v in _variants([])] == ["default"]
    assert describe(two) == "partial_ms=300 endpoint_ms=400"
    assert describe(Variant("default")) == "as it is"

from __future__ import annotations

import pytest
from faster_whisper.tokenizer import _LANGUAGE_CODES

from inference.identification import TextIdentifier
from inference.languages import Languages, canonical, name_of
from streaming.errors import UnknownLanguage
from streaming.types import Route

SPEECH = frozenset(_LANGUAGE_CODES)
DIRECT = frozenset({("en", "pt"), ("pt", "en"), ("en", "zh-Hant"), ("en", "zh"), ("jv", "en")})
PIVOTS = {("pt", "zh"), ("pt", "zh-Hant"), ("jv", "pt"), ("jv", "zh"), ("jv", "zh-Hant")}


def text_route(source: str, target: str) -> Route | None:
    if (source, target) in DIRECT:
        return Route(source, target, "direct", "tiny")
    if (source, target) in PIVOTS:
        return Route(source, target, "pivot", "tiny+tiny")
    return None


@pytest.fixture
def languages() -> Languages:
    return Languages(
        speech=SPEECH,
        speech_to_english=True,
        text_pairs=DIRECT | PIVOTS,
        text_route=text_route,
    )


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("pt-BR", "pt"),
        ("PT", "pt"),
        ("por", "pt"),
        (" en_US ", "en"),
        ("eng_Latn", "en"),
        ("zh-Hans", "zh"),
        ("zh-CN", "zh"),
        ("cmn", "zh"),
        ("zh-TW", "zh-Hant"),
        ("zho_Hant", "zh-Hant"),
        ("iw", "he"),
        ("in", "id"),
        ("fil", "tl"),
        ("jw", "jv"),
        ("nb", "no"),
        ("nob_Latn", "no"),
        ("nn", "nn"),
        ("arb_Arab", "ar"),
        ("arz_Arab", "arz"),
        ("sr-Latn", "sr-Latn"),
        ("srp_Cyrl", "sr"),
        ("yue", "yue"),
    ],
)
def test_a_language_has_one_code(tag: str, code: str) -> None:
    assert canonical(tag) == code
    assert canonical(code) == code


@pytest.mark.parametrize("tag", ["", "auto", "und", "xx", "english", "a", "en-", "<script>", "💬"])
def test_what_is_no_language_has_no_code(tag: str) -> None:
    assert canonical(tag) is None


@pytest.mark.parametrize(
    ("tag", "code"),
    [("jv", "jw"), ("nb-NO", "no"), ("nn", "nn"), ("fil", "tl"), ("iw", "he"), ("zh-TW", "zh")],
)
def test_speech_goes_by_the_recognisers_codes(languages: Languages, tag: str, code: str) -> None:
    assert languages.spoken(tag) == code


@pytest.mark.parametrize(
    ("tag", "code"),
    [("jw", "jv"), ("pt-PT", "pt"), ("zh-HK", "zh-Hant"), ("zh-CN", "zh"), ("de", "de")],
)
def test_targets_go_by_the_translators_codes(languages: Languages, tag: str, code: str) -> None:
    assert languages.target(tag) == code


@pytest.mark.parametrize(
    ("tag", "near"),
    [
        ("portugese", ["pt"]),
        ("Deutsch", ["de"]),
        ("german", ["de"]),
        ("português", ["pt"]),
        ("klingon", []),
        ("tlh", []),
        ("", []),
    ],
)
def test_an_unknown_language_is_answered_with_the_nearest(
    languages: Languages, tag: str, near: list[str]
) -> None:
    for look_up in (languages.spoken, languages.target):
        with pytest.raises(UnknownLanguage) as caught:
            look_up(tag)
        assert caught.value.details["suggestions"][:1] == near
        assert "pt" in caught.value.details["supported"]
        assert ("Did you mean" in caught.value.message) == bool(near)
        assert all(f"{code} ({name_of(code)})" in caught.value.message for code in near)


def test_automatic_is_no_target(languages: Languages) -> None:
    with pytest.raises(UnknownLanguage, match="name the one you want"):
        languages.target("auto")


@pytest.mark.parametrize(
    ("source", "target", "kind", "engine"),
    [
        ("de", "de", "identity", "identity"),
        ("jw", "jv", "identity", "identity"),
        ("pt", "en", "direct", "tiny"),
        ("jw", "en", "direct", "tiny"),
        ("pt", "zh", "pivot", "tiny+tiny"),
        ("de", "en", "whisper", "whisper"),
        ("de", "pt", "whisper+pivot", "whisper+tiny"),
    ],
)
def test_speech_takes_the_best_way(
    languages: Languages, source: str, target: str, kind: str, engine: str
) -> None:
    route = languages.speech_route(source, target)
    assert route is not None
    assert (route.kind, route.engine) == (kind, engine)
    assert (route.source, route.target) == (source, target)
    assert route.spoken == kind.startswith("whisper")


def test_there_is_not_always_a_way(languages: Languages) -> None:
    assert languages.speech_route("en", "de") is None
    assert languages.text_route("de", "en") is None
    assert languages.text_route("de", "pt") is None
    deaf = Languages(
        speech=frozenset({"en"}), speech_to_english=False, text_pairs=DIRECT, text_route=text_route
    )
    assert deaf.speech_route("de", "en") is None
    english_only = Languages(
        speech=frozenset({"en"}), speech_to_english=True, text_pairs=DIRECT, text_route=text_route
    )
    assert english_only.speech_route("de", "en") is None  # nobody hears German
    assert english_only.spoken("en-GB") == "en"


def test_the_listing_has_every_language_and_every_way(languages: Languages) -> None:
    listing = languages.listing()
    by_code = {language.code: language for language in listing}
    assert len(by_code) == len(listing) == len(SPEECH)  # jw is jv, zh-Hant is no source
    assert [language.name for language in listing] == sorted(one.name for one in listing)
    german = {route.target: route.kind for route in by_code["de"].routes}
    assert german == {
        "de": "identity",
        "en": "whisper",
        "pt": "whisper+pivot",
        "zh": "whisper+pivot",
        "zh-Hant": "whisper+pivot",
    }
    assert by_code["jv"].speech
    assert by_code["pt"].name == "Portuguese"
    for language in listing:
        for route in language.routes:
            assert route == languages.speech_route(language.code, route.target)


def test_a_language_that_is_only_written_is_listed_with_its_text_routes() -> None:
    catalogue = Languages(
        speech=frozenset({"en"}),
        speech_to_english=True,
        text_pairs=frozenset({("pt", "en"), ("en", "pt")}),
        text_route=text_route,
    )
    portuguese = next(one for one in catalogue.listing() if one.code == "pt")
    assert not portuguese.speech
    assert {route.kind for route in portuguese.routes} == {"identity", "direct"}


@pytest.fixture(scope="module")
def identifier() -> TextIdentifier:
    made = TextIdentifier(SPEECH)
    made.load()
    return made


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Good morning, how are you today?", "en"),
        ("Bom dia, como é que você está hoje?", "pt"),
        ("Guten Morgen, wie geht es Ihnen heute?", "de"),
        ("今日はとてもいい天気ですね。", "ja"),
        ("שלום, מה שלומך היום?", "he"),
        ("Kumusta ka? Mabuti naman ako, salamat.", "tl"),
        ("Sugeng enjing, kepiye kabare sampeyan dina iki?", "jw"),
    ],
)
async def test_a_sentence_gives_its_language_away(
    identifier: TextIdentifier, text: str, code: str
) -> None:
    found, confidence = await identifier.identify(text)
    assert found == code
    assert 0.3 < confidence <= 1.0


@pytest.mark.parametrize("text", ["", "   \n", "12345", "!?", "🎉", "ok"])
async def test_some_texts_tell_nothing(identifier: TextIdentifier, text: str) -> None:
    assert await identifier.identify(text) == ("und", 0.0)
    assert await identifier.rank(text) == []


async def test_a_short_text_leaves_doubt(identifier: TextIdentifier) -> None:
    _, short = await identifier.identify("Bom dia")
    _, long = await identifier.identify("Bom dia, como é que você está hoje?")
    assert short < 0.5 < long


async def test_only_the_given_languages_are_considered() -> None:
    two = TextIdentifier(["en", "pt-BR"])
    ranked = await two.rank("Guten Morgen, wie geht es Ihnen?")
    assert {code for code, _ in ranked} == {"en", "pt-BR"}
    assert sum(probability for _, probability in ranked) == pytest.approx(1.0, abs=1e-4)
    code, confidence = await two.identify("Bom dia, meus amigos")
    assert code == "pt-BR"
    assert confidence > 0.8
    assert await two.identify("ok") == ("und", 0.0)
    unknown = TextIdentifier(["haw"])
    assert await unknown.identify("Good morning to you") == ("und", 0.0)


async def test_a_huge_text_is_sampled(identifier: TextIdentifier) -> None:
    code, _ = await identifier.identify("The weather is fine. " * 50_000)
    assert code == "en"


def test_while_text_engines_do_not_answer_speech_is_translated_from_the_audio() -> None:
    down: set[tuple[str, str]] = set()
    catalogue = Languages(
        speech=SPEECH,
        speech_to_english=True,
        text_pairs=DIRECT,
        text_route=text_route,
        text_available=lambda source, target: (source, target) not in down,
    )
    before = catalogue.listing()

    def kind(source: str, target: str) -> str:
        route = catalogue.speech_route(source, target)
        assert route is not None
        return route.kind

    assert kind("pt", "en") == "direct"
    down |= {("pt", "en"), ("pt", "zh")}
    assert kind("pt-BR", "en-GB") == "whisper"
    assert kind("pt", "zh") == "whisper+pivot"
    down.add(("en", "zh"))
    assert kind("pt", "zh") == "pivot"  # no better: the engine's answer will tell
    down.add(("en", "pt"))
    assert kind("en", "pt") == "direct"  # English is not translated to English
    assert catalogue.listing() == before
    assert catalogue.text_route("pt", "en") is not None


def test_what_the_translator_learns_is_listed() -> None:
    catalogue = Languages(
        speech=frozenset({"en"}),
        speech_to_english=False,
        text_pairs=frozenset(),
        text_route=text_route,
    )
    assert [language.code for language in catalogue.listing()] == ["en"]
    with pytest.raises(UnknownLanguage):
        catalogue.target("pt")
    catalogue.update(DIRECT)
    assert catalogue.target("pt-BR") == "pt"
    assert "pt" in {language.code for language in catalogue.listing()}

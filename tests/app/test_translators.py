"""Translation services of the settings, on a real socket, seen from clients of the server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from app.breakers import Breakers
from app.settings import Settings, load
from app.translators import build_remotes, keep_up
from inference.fakes import FakeTranslator
from inference.languages import Languages
from inference.remote_chat import ChatEngine
from inference.translator import TextTranslator
from tests.app.support import Fakes, running
from tests.inference.remote_server import service
from tests.inference.test_translator import Tagger
from tests.streaming.harness import s16, speech

TEXT = {"text": "alpha bravo", "source": "en", "target": "pt"}


def configured(tmp_path: Path, url: str, **options: Any) -> Settings:
    return load(data_dir=tmp_path, translators={"far": {"url": url, **options}})


async def built(settings: Settings, breakers: Breakers) -> Fakes:
    """Fakes whose translator is real: first the service, then an engine here."""
    translator = TextTranslator(
        [Tagger("here", "en-pt")], build_remotes(settings, breakers), remembered=0
    )
    await translator.refresh()
    translator.start()
    return Fakes(translator=translator)  # type: ignore[arg-type]  # a translator all the same


async def test_services_are_made_as_the_settings_want_them(tmp_path: Path) -> None:
    options = {"model": "small", "languages": "en, pt-BR", "first": "pt-PT>en", "connections": 7}
    settings = configured(tmp_path, "http://127.0.0.1:9/v1", dialect="openai", **options)
    breakers = Breakers.of(settings)
    (engine,) = build_remotes(settings, breakers)
    assert isinstance(engine, ChatEngine)
    assert (engine.name, engine.at_once) == ("far", 7)
    assert engine.pairs == {("en", "pt"), ("pt", "en")}
    assert engine.first == frozenset({("pt", "en")})
    assert [status.name for status in breakers.states] == ["translator:far"]
    await engine.close()


async def test_an_answer_names_who_made_it_and_what_stood_in_is_not_kept(tmp_path: Path) -> None:
    async with service(FakeTranslator()) as elsewhere:
        settings = configured(tmp_path, elsewhere.url, first="all")
        breakers = Breakers.of(settings)
        fakes = await built(settings, breakers)
        async with (
            running(tmp_path, fakes) as (address, _, _),
            httpx.AsyncClient(base_url=f"http://{address}") as http,
        ):
            http.headers["Authorization"] = f"Bearer {fakes.key}"
            await elsewhere.stop()
            for _ in range(2):
                answer = (await http.post("/translate/text", json=TEXT)).json()
                assert (answer["engine"], answer["cached"]) == ("here", False)
            await elsewhere.start()
            breakers.reset()
            for cached in (False, True):
                answer = (await http.post("/translate/text", json=TEXT)).json()
                assert (answer["engine"], answer["cached"]) == ("far", cached)
        await fakes.translator.close()  # type: ignore[attr-defined]  # see above


async def test_a_stream_goes_on_and_is_told_once(tmp_path: Path) -> None:
    async with service(FakeTranslator()) as elsewhere:
        settings = configured(tmp_path, elsewhere.url, first="all", timeout_seconds=1)
        fakes = await built(settings, Breakers.of(settings))
        async with running(tmp_path, fakes) as (address, _, _):
            headers = {"Authorization": f"Bearer {fakes.key}"}
            url = f"ws://{address}/v1/stream"
            async with connect(url, additional_headers=headers) as stream:
                start = {"type": "start", "source": "en", "targets": ["pt"], "interim": False}
                await stream.send(json.dumps(start))

                async def said(*phrases: str) -> list[dict[str, Any]]:
                    """Events until the last of these has its final translation."""
                    await stream.send(s16(speech(*phrases)))
                    events: list[dict[str, Any]] = []
                    finals = 0
                    while finals < len(phrases):
                        events.append(json.loads(await stream.recv()))
                        finals += events[-1]["type"] == "translation" and events[-1]["final"]
                    return events

                before = await said("alpha bravo")
                await elsewhere.stop()
                during = await said("charlie delta", "echo foxtrot", "golf hotel")
        await fakes.translator.close()  # type: ignore[attr-defined]  # see above
    assert before[-1]["text"] == "[pt] ALPHA BRAVO"
    texts = {event["text"] for event in during if event["type"] == "translation"}
    assert texts == {"en>pt(charlie delta)", "en>pt(echo foxtrot)", "en>pt(golf hotel)"}
    warnings = [event for event in before + during if event["type"] == "warning"]
    assert [warning["code"] for warning in warnings] == ["translator_fallback"]
    assert warnings[0]["details"] == {"source": "en", "target": "pt", "engine": "here"}
    assert elsewhere.url not in json.dumps(warnings)
    assert not [event for event in during if event["type"] == "error"]


async def test_what_a_service_translates_is_listed_once_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.translators.RETRY_SECONDS", 0.01)
    async with service(FakeTranslator([("en", "de")])) as elsewhere:
        await elsewhere.stop()
        settings = load(
            data_dir=tmp_path,
            breakers=("translator:far=1/0.01",),
            translators={"far": {"url": elsewhere.url}},
        )
        fakes = await built(settings, Breakers.of(settings))
        translator: Any = fakes.translator
        languages = Languages(
            speech=frozenset({"en"}),
            speech_to_english=False,
            text_pairs=translator.pairs,
            text_route=translator.route,
        )
        known = asyncio.Event()

        async def changed() -> None:
            languages.update(translator.pairs)
            known.set()

        watch = asyncio.create_task(keep_up(translator, changed))
        assert "de" not in [route.target for route in languages.listing()[0].routes]
        await elsewhere.start()
        await known.wait()
        assert "de" in [route.target for route in languages.listing()[0].routes]
        watch.cancel()
        await translator.close()

"""The demo page as people use it: a real browser, a real server, real models, real speech."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import Playwright, expect, sync_playwright

from streaming.types import SAMPLE_RATE, Audio
from tests.e2e.proxy import Proxy
from tests.e2e.server import Server
from tests.speech import audioeval_clips
from tests.web.chromium import chromium, watched, write_wav

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

# Words that Portuguese has and English has not, frequent ones and those of the clips.
PORTUGUESE = set(
    re.findall(r"\w+", "um uma que não para com sobre olá mundo cão raposa preguiçoso")
)

# Every text the caption list ever showed, as (open stable, open unstable).
RECORD = """() => {
  window.recorded = [];
  const list = document.getElementById("captions");
  new MutationObserver(() => {
    for (const line of list.querySelectorAll(".open .source")) {
      window.recorded.push([...line.children].map((span) => span.textContent));
    }
  }).observe(list, { subtree: true, childList: true, characterData: true });
}"""


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as driver:
        yield driver


def speech(tmp_path: Path) -> tuple[Path, str]:
    """Seven seconds of English without a pause, and what is said in them.

    Figures are spoken but not asked for: "one" and "1" are both right.
    """
    fox, counting, hello = (
        next(clip for clip in audioeval_clips("en") if name in clip.id)
        for name in ("fox", "counting", "hello")
    )
    pieces = [silence(1.5), *(trimmed(clip.audio()) for clip in (fox, counting, hello)), silence(3)]
    text = f"{fox.text} {hello.text}"
    return write_wav(tmp_path / "speech.wav", np.concatenate(pieces)), text


def trimmed(audio: Audio) -> Audio:
    """Audio without the silence around it."""
    loud = np.flatnonzero(np.abs(audio) > 0.03 * np.abs(audio).max())
    return audio[loud[0] : loud[-1] + 1]


def silence(seconds: float) -> Audio:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def test_speech_becomes_captions_and_portuguese(
    server: Server, playwright: Playwright, tmp_path: Path
) -> None:
    recording, reference = speech(tmp_path)
    with chromium(playwright, microphone=recording) as browser, watched(browser) as seen:
        page = seen.page
        page.goto(f"{server.url}/#key={server.key}")
        assert page.url == f"{server.url}/"
        page.get_by_label("Spoken").select_option(label="English")
        page.locator("#picker summary").click()
        page.get_by_role("checkbox", name="Portuguese").check()
        page.keyboard.press("Escape")
        page.evaluate(RECORD)
        page.get_by_role("button", name="Start", exact=True).click()
        expect(page.locator("#status")).to_have_text("Listening")

        # The microphone plays in real time.
        expected = set(words(reference))
        page.wait_for_function(
            """(expected) => {
              const text = document.getElementById("captions").textContent.toLowerCase();
              return expected.filter((word) => text.includes(word)).length >= 0.7 * expected.length;
            }""",
            arg=sorted(expected),
            timeout=60_000,
        )
        expect(page.locator("#delay-value")).to_have_text(re.compile(r"^\d+\.\d s$"))
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(page.locator("body")).to_have_attribute("data-state", "idle", timeout=60_000)

        sources = page.locator("#captions .source").all_inner_texts()
        translations = page.locator("#captions .translation").all_inner_texts()
        recorded = page.evaluate("window.recorded")
        assert page.locator("#captions .open").count() == 0
        assert page.get_by_role("alert").count() == 0
        assert seen.errors == []
        assert [address for address in seen.addresses[1:] if server.key in address] == []

    assert server.key not in server.log.read_text(encoding="utf-8")

    heard = words(" ".join(sources))
    assert len(expected & set(heard)) >= 0.7 * len(expected), heard
    assert any(stable for stable, _ in recorded), "no stable text was seen while speaking"
    assert any(unstable for _, unstable in recorded), "no unstable text was seen while speaking"

    assert len(translations) == len(sources)
    portuguese = words(" ".join(translations))
    assert portuguese
    assert portuguese != heard
    assert PORTUGUESE & set(portuguese), portuguese


def test_a_network_that_breaks_loses_no_word_and_says_none_twice(
    server: Server, playwright: Playwright, tmp_path: Path
) -> None:
    fox, hello = (
        next(clip for clip in audioeval_clips("en") if name in clip.id) for name in ("fox", "hello")
    )
    pieces = [silence(1.5)]
    for clip in (hello, fox, hello):
        pieces += [trimmed(clip.audio()), silence(1.5)]
    recording = write_wav(tmp_path / "speech.wav", np.concatenate([*pieces, silence(8)]))
    with (
        Proxy(server.port).running() as proxy,
        chromium(playwright, microphone=recording) as browser,
        watched(browser) as seen,
    ):
        page = seen.page
        page.add_init_script("Math.random = () => 0.9")
        page.goto(f"http://127.0.0.1:{proxy.port}/#key={server.key}")
        page.get_by_label("Spoken").select_option(label="English")
        page.get_by_role("button", name="Start", exact=True).click()
        expect(page.locator("#captions .open")).to_have_count(1, timeout=30_000)
        proxy.cut()
        expect(page.locator("#status")).to_have_text("Reconnecting…")
        expect(page.locator("#status")).to_have_text("Listening")
        expect(page.locator("#captions")).to_contain_text("dog", timeout=30_000)
        proxy.cut()
        # Stopped while there is no connection: the last words come all the same.
        expect(page.locator("#status")).to_have_text("Reconnecting…")
        page.wait_for_timeout(4_000)
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(page.locator("body")).to_have_attribute("data-state", "idle", timeout=60_000)
        heard = words(" ".join(page.locator("#captions .source").all_inner_texts()))
        sockets = [address for address in seen.addresses if address.startswith("ws://")]
        assert page.get_by_role("alert").count() == 0
    assert heard == words(f"{hello.text} {fox.text} {hello.text}")
    assert len(sockets) == 3
    assert all("resume=1" in address for address in sockets[1:])
    assert not any("rs_" in address for address in sockets)


def test_a_wrong_key_is_told_in_words(server: Server, playwright: Playwright) -> None:
    with chromium(playwright) as browser, watched(browser) as seen:
        seen.page.goto(f"{server.url}/#key=not-a-key")
        seen.page.get_by_role("button", name="Start", exact=True).click()
        expect(seen.page.get_by_role("alert")).to_contain_text("API key is wrong")
        expect(seen.page.locator("body")).to_have_attribute("data-state", "idle")
        expect(seen.page.locator("#captions > li")).to_have_count(0)


def test_assets_come_with_their_types_and_a_policy(server: Server) -> None:
    page = httpx.get(f"{server.url}/", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert "unsafe" not in page.headers.get("content-security-policy", "")
    for path in re.findall(r'(?:src|href)="(demo/[^"]+)"', page.text):
        asset = httpx.get(f"{server.url}/{path}")
        assert asset.status_code == 200, path
        if path.endswith(".js"):
            assert asset.headers["content-type"].startswith("text/javascript")

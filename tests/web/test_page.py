"""The page against a server that does as it is told: faults, hostile texts, broken connections."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from streaming import wire
from tests.web.chromium import chromium, watched
from tests.web.standin import KEY, Script, serving

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="alert(1)"><b>bold</b> & more'


def final(segment: int, start: float, end: float, text: str) -> wire.FinalEvent:
    return wire.FinalEvent(
        segment=segment, start=start, end=end, language="en", text=text, confidence=0.9
    )


def partial(segment: int, end: float, stable: str, unstable: str) -> wire.PartialEvent:
    return wire.PartialEvent(
        segment=segment, start=0.2, end=end, language="en", stable=stable, unstable=unstable
    )


def error(code: str, message: str, *, fatal: bool, after: float | None = None) -> wire.ErrorEvent:
    return wire.ErrorEvent(
        code=code, message=message, retryable=fatal, retry_after=after, fatal=fatal
    )


def translation(segment: int, text: str) -> wire.TranslationEvent:
    return wire.TranslationEvent(segment=segment, target="pt", text=text, final=True)


PATIENT = "Math.random = () => 0.9"
"""The jitter of a page that can be seen to wait."""


def start(page: Page, url: str, *targets: str) -> None:
    page.add_init_script(PATIENT)
    page.goto(f"{url}#key={KEY}")
    page.locator("#picker summary").click()
    for target in targets:
        page.get_by_role("checkbox", name=target).check()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Start", exact=True).click()


def stop(page: Page) -> None:
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("body")).to_have_attribute("data-state", "idle")


def test_captions_are_text_and_never_markup(browser: Browser) -> None:
    script = Script(
        events=[
            (0.3, partial(0, 0.3, "Hello", " wor")),
            (0.6, final(0, 0.2, 0.6, HOSTILE)),
            (0.7, translation(0, HOSTILE)),
            (0.8, partial(1, 0.8, "An open", " tail")),
        ]
    )
    with serving(script) as url, watched(browser) as seen:
        start(seen.page, url, "Portuguese")
        row = seen.page.locator("#captions > li").first
        expect(row.locator(".source .stable")).to_have_text(HOSTILE)
        expect(row.locator(".translation")).to_have_text(HOSTILE)
        expect(seen.page.locator("#captions > li.open .unstable").first).to_have_text("tail")
        expect(seen.page.locator("#announcer p")).to_have_text([HOSTILE, HOSTILE])
        assert seen.page.locator("#captions img, #captions b, #announcer img").count() == 0
        expect(seen.page.locator("#delay-value")).to_have_text(re.compile(r"^\d+\.\d s$"))
        stop(seen.page)
        expect(seen.page.locator("#captions > li.open")).to_have_count(0)
        assert seen.errors == []
        assert script.starts[0].targets == ["pt"]
        assert script.starts[0].sample_rate == seen.page.evaluate(
            "(async () => { const c = new AudioContext(); const r = c.sampleRate;"
            " await c.close(); return r; })()"
        )


def test_the_key_leaves_the_address_and_is_in_no_other(browser: Browser) -> None:
    with serving(Script()) as url, watched(browser) as seen:
        start(seen.page, url)
        expect(seen.page.locator("body")).to_have_attribute("data-state", "live")
        assert seen.page.url == url
        assert any(address.startswith("ws://") for address in seen.addresses)
        # The navigation itself: fragments are not sent, but the browser reports them.
        assert [a for a in seen.addresses if KEY in a] in ([], [f"{url}#key={KEY}"])
        stored = seen.page.evaluate("[localStorage, sessionStorage].map((s) => JSON.stringify(s))")
        assert KEY not in stored[0]
        assert KEY in stored[1]
        stop(seen.page)


def test_a_lost_connection_goes_on_and_hears_again_what_was_open(browser: Browser) -> None:
    script = Script(
        events=[
            (0.2, wire.SpeechStartedEvent(at=0.2)),
            (0.5, final(0, 0.2, 0.5, "Kept.")),
            (0.8, partial(1, 0.8, "Not", " finished")),
        ],
        break_after=[1.5],
    )
    with serving(script) as url, watched(browser) as seen:
        start(seen.page, url)
        expect(seen.page.locator("#captions > li")).to_have_count(2)
        expect(seen.page.locator("#status")).to_have_text("Reconnecting…")
        expect(seen.page.locator("#captions")).to_contain_text("Not finished")
        # The second connection plays the script once more, and takes the open segment's place.
        texts = seen.page.locator("#captions > li .source")
        expect(texts).to_have_text(["Kept.", "Kept.", "Not finished"])
        expect(seen.page.locator("#status")).to_have_text("Listening")
        stop(seen.page)
        assert len(script.heard) == 2
        # Its time goes on where the first one's final ended, not at zero.
        seconds = seen.page.locator("#captions time").evaluate_all(
            "(times) => times.map((time) => parseFloat(time.dateTime.slice(2)))"
        )
        assert 0.1 <= seconds[0] <= 0.3
        assert 0.4 <= seconds[1] <= 0.9


def test_a_busy_server_is_told_in_words(browser: Browser) -> None:
    script = Script(refuse=(503, {"Retry-After": "12"}))
    with serving(script) as url, watched(browser) as seen:
        start(seen.page, url)
        banner = seen.page.get_by_role("alert")
        expect(banner).to_contain_text("The server is busy. All streams are taken.")
        expect(banner).to_contain_text("Try again in 12 seconds.")
        expect(seen.page.locator("body")).to_have_attribute("data-state", "idle")


def test_a_wrong_key_asks_for_another(browser: Browser) -> None:
    with serving(Script()) as url, watched(browser) as seen:
        seen.page.goto(f"{url}#key=wrong")
        seen.page.get_by_role("button", name="Start", exact=True).click()
        expect(seen.page.get_by_role("alert")).to_contain_text("API key is wrong")
        seen.page.get_by_role("button", name="Change key").click()
        seen.page.get_by_label("Key", exact=True).fill(KEY)
        seen.page.get_by_role("button", name="Use key").click()
        expect(seen.page.get_by_role("alert")).to_be_hidden()
        seen.page.get_by_role("button", name="Start", exact=True).click()
        expect(seen.page.locator("#status")).to_have_text("Listening")
        stop(seen.page)


def test_a_refused_microphone_is_told_in_words(playwright: Playwright) -> None:
    with (
        chromium(playwright, allow=False) as browser,
        serving(Script()) as url,
        watched(browser) as seen,
    ):
        start(seen.page, url)
        expect(seen.page.get_by_role("alert")).to_contain_text("may not use the microphone")
        expect(seen.page.locator("body")).to_have_attribute("data-state", "idle")


def test_warnings_pass_and_fatal_errors_end(browser: Browser) -> None:
    script = Script(
        events=[
            (0.2, wire.WarningEvent(code="lagging", message="Captions are late.")),
            (0.4, partial(0, 0.4, "Half a", " word")),
            (
                1.5,
                error("quota_exceeded", "Today's minutes are used up", fatal=True, after=3600),
            ),
        ]
    )
    with serving(script) as url, watched(browser) as seen:
        start(seen.page, url)
        expect(seen.page.locator("#notice")).to_have_text("Captions are late.")
        banner = seen.page.get_by_role("alert")
        expect(banner).to_contain_text("Today's minutes are used up. Try again in 60 minutes.")
        expect(seen.page.locator("#captions .stable").first).to_have_text("Half a word")


def test_a_start_that_is_refused_ends(browser: Browser) -> None:
    refusal = error("pair_unsupported", "Nothing leads from English to Latin", fatal=False)
    with serving(Script(refuse_start=refusal)) as url, watched(browser) as seen:
        start(seen.page, url)
        expect(seen.page.get_by_role("alert")).to_contain_text(
            "Nothing leads from English to Latin."
        )
        expect(seen.page.locator("body")).to_have_attribute("data-state", "idle")


def test_a_server_that_goes_away_is_followed_by_another(browser: Browser) -> None:
    script = Script(
        events=[
            (0.4, final(0, 0.1, 0.4, "Before.")),
            (0.8, error("draining", "The server is shutting down", fatal=True)),
        ],
        break_after=[1.0],
    )
    with serving(script) as url, watched(browser) as seen:
        start(seen.page, url)
        expect(seen.page.locator("#status")).to_have_text("Reconnecting…")
        expect(seen.page.locator("#status")).to_have_text("Listening")
        expect(seen.page.get_by_role("alert")).to_be_hidden()
        stop(seen.page)
        assert len(script.heard) == 2


def test_targets_follow_the_source_and_change_while_running(browser: Browser) -> None:
    script = Script()
    with serving(script) as url, watched(browser) as seen:
        start(seen.page, url, "Portuguese")
        page = seen.page
        expect(page.locator("#status")).to_have_text("Listening")
        page.locator("#picker summary").click()
        page.get_by_role("checkbox", name="Spanish").check()
        page.keyboard.press("Escape")
        expect(page.locator("#targets")).to_have_text("Portuguese, Spanish")
        stop(page)
        assert [change.targets for change in script.configures] == [["pt", "es"]]

        page.get_by_label("Spoken").select_option("es")
        expect(page.locator("#targets")).to_have_text("Portuguese")
        page.get_by_label("Spoken").select_option("en")
        expect(page.locator("#targets")).to_have_text("Portuguese, Spanish")
        page.get_by_label("Spoken").select_option("pt")
        expect(page.locator("#targets")).to_have_text("English")
        page.locator("#picker summary").click()
        expect(page.locator("#target-list label")).to_have_text(["English"])


def test_files_hold_every_caption_and_its_times(browser: Browser, tmp_path: Path) -> None:
    script = Script(
        events=[
            (0.3, final(0, 0.1, 0.3, "One & <two>.")),
            (0.4, translation(0, "Um e dois.")),
            (0.5, final(1, 3725.5, 3726.25, "Much later.")),
        ]
    )
    with serving(script) as url, watched(browser) as seen:
        start(seen.page, url, "Portuguese")
        expect(seen.page.locator("#captions > li")).to_have_count(2)
        stop(seen.page)
        seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        seen.page.get_by_role("button", name="Copy all text").click()
        expect(seen.page.locator("#notice")).to_have_text("Copied.")
        copied = seen.page.evaluate("navigator.clipboard.readText()")
        saved = {}
        for name in (".txt", ".vtt"):
            with seen.page.expect_download() as download:
                seen.page.get_by_role("button", name=f"({name})").click()
            assert download.value.suggested_filename.endswith(name)
            download.value.save_as(tmp_path / name)
            saved[name] = (tmp_path / name).read_text(encoding="utf-8")
        seen.page.get_by_role("button", name="Clear captions").click()
        seen.page.get_by_role("button", name="Clear", exact=True).click()
        expect(seen.page.locator("#captions > li")).to_have_count(0)
        expect(seen.page.get_by_role("button", name="Copy all text")).to_be_disabled()
    assert saved[".txt"] == copied == "One & <two>.\nUm e dois.\n\nMuch later.\n"
    assert saved[".vtt"] == (
        "WEBVTT\n\n"
        "00:00:00.100 --> 00:00:00.300\nOne &amp; &lt;two&gt;.\nUm e dois.\n\n"
        "01:02:05.500 --> 01:02:06.250\nMuch later.\n"
    )


def test_reading_back_is_not_disturbed(browser: Browser) -> None:
    long = [(0.05 + n / 1000, final(n, n, n + 1, f"Sentence {n}. " * 12)) for n in range(20)]
    late = [(1.5 + n / 2, final(100 + n, 20 + n, 21 + n, "A late one.")) for n in range(4)]
    with serving(Script(events=[*long, *late])) as url, watched(browser) as seen:
        page = seen.page
        start(page, url)
        expect(page.locator("#captions > li")).to_have_count(20)
        bottom = "(s) => s.scrollHeight - s.scrollTop - s.clientHeight"
        stage = page.locator("#stage")
        assert stage.evaluate(bottom) < 2
        stage.evaluate("(s) => { s.scrollTop = 100; }")
        expect(page.locator("#captions")).to_contain_text("A late one.")
        assert stage.evaluate("(s) => s.scrollTop") == 100
        page.get_by_role("button", name="Latest").click()
        expect(page.locator("#captions > li")).to_have_count(24)
        assert stage.evaluate(bottom) < 2
        stop(page)


def test_the_keyboard_does_it_all(browser: Browser) -> None:
    with serving(Script()) as url, watched(browser) as seen:
        page = seen.page
        page.goto(f"{url}#key={KEY}")
        size = "document.documentElement.style.getPropertyValue('--caption')"
        before = page.evaluate(size)
        page.keyboard.press("+")
        assert float(page.evaluate(size)[:-3]) > float(before[:-3])
        page.keyboard.press("f")
        expect(page.locator("body")).to_have_class(re.compile("presenting"))
        expect(page.locator(".dock")).to_be_hidden()
        page.keyboard.press("Escape")
        expect(page.locator(".dock")).to_be_visible()
        page.keyboard.press("d")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.keyboard.press("?")
        page.get_by_label("Use these shortcuts").uncheck()
        page.keyboard.press("Escape")
        page.keyboard.press("d")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")


CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const probe = document.body.appendChild(document.createElement("i"));
  const luminance = (name) => {
    probe.style.color = `var(--${name})`;
    canvas.fillStyle = getComputedStyle(probe).color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pairs = [["ink", "paper"], ["muted", "paper"], ["muted", "raised"], ["ink", "raised"],
    ["muted", "sunken"], ["accent", "paper"], ["accent-dim", "paper"], ["on-accent", "accent"],
    ["on-live", "live"], ["ink", "warn"]];
  const ratios = pairs.map(([text, ground]) => {
    const [low, high] = [luminance(text), luminance(ground)].sort((a, b) => a - b);
    return [`${text} on ${ground}`, (high + 0.05) / (low + 0.05)];
  });
  probe.remove();
  return ratios;
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_can_be_read_and_controls_have_names(browser: Browser, dark: bool) -> None:
    with serving(Script()) as url, watched(browser, dark=dark) as seen:
        seen.page.goto(url)
        assert [pair for pair in seen.page.evaluate(CONTRASTS) if pair[1] < 4.5] == []
        unnamed = seen.page.locator("button, select, input, summary").evaluate_all(
            """(all) => all.filter((e) => !(e.getAttribute("aria-label")
              || e.getAttribute("aria-labelledby") || e.textContent.trim() || e.labels?.length))
              .map((e) => e.outerHTML)"""
        )
        assert unnamed == []
        assert seen.errors == []


def test_a_phone_needs_no_sideways_scrolling(browser: Browser) -> None:
    script = Script(events=[(0.2, final(0, 0, 0.2, "Donaudampfschifffahrt" * 8))])
    with serving(script) as url, watched(browser, viewport={"width": 360, "height": 640}) as seen:
        start(seen.page, url)
        expect(seen.page.locator("#captions > li")).to_have_count(1)
        wide = seen.page.evaluate(
            """[...document.querySelectorAll("html, #stage, .bar, .dock, .dock *, .bar *")]
              .filter((e) => e.checkVisibility() && !e.closest("select")
                && (e.getBoundingClientRect().right > innerWidth || e.matches("html, #stage")
                  && e.scrollWidth > e.clientWidth)).map((e) => e.id || e.tagName)"""
        )
        assert wide == []
        expect(seen.page.get_by_role("button", name="Stop", exact=True)).to_be_in_viewport(ratio=1)
        stop(seen.page)

"""The page's store of audio that may have to be sent again, in the browser that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.web.standin import Script, serving

pytestmark = pytest.mark.browser

STEPS = """async ([limit, idle, steps]) => {
  const { Replay } = await import("/demo/replay.js");
  const replay = new Replay(limit, idle);
  const told = [];
  let number = 0;
  const bytes = (parts) => parts.flatMap((part) => [...new Uint8Array(part)]);
  for (const [name, ...given] of steps) {
    if (name === "push") {
      // A frame of a second: two bytes with its number.
      const [sent] = given;
      const pcm = new Uint8Array([number, number]).buffer;
      told.push(replay.push({ pcm, start: number, end: number + 1, sent }).lost);
      number += 1;
    } else if (name === "take") {
      told.push(bytes(replay.take().map((frame) => frame.pcm)));
    } else if (name === "after") {
      const parts = replay.after(...given);
      told.push(parts && bytes(parts));
    } else {
      replay[name](...given);
    }
  }
  return told;
}"""


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    with serving(Script()) as url:
        page = browser.new_page()
        page.goto(url)
        yield page
        page.close()


def run(page: Page, *steps: tuple[Any, ...], limit: int = 90, idle: int = 2) -> list[Any]:
    """What the steps that answer answered: bytes are the numbers of the seconds they are of."""
    answers: list[Any] = page.evaluate(STEPS, [limit, idle, [list(step) for step in steps]])
    return answers


def test_a_new_session_hears_what_no_final_covers(page: Page) -> None:
    steps = [
        *[("push", True)] * 6,
        ("speechStarted", 1.2),
        ("speechEnded",),
        ("finalised", 3.0),
        ("speechStarted", 4.9),
        ("take",),
    ]
    assert run(page, *steps)[-1] == [4, 4, 5, 5], "from half a second before the onset"


def test_of_an_utterance_that_goes_on_the_rest_is_heard(page: Page) -> None:
    steps = [*[("push", True)] * 6, ("speechStarted", 1.2), ("finalised", 3.0), ("take",)]
    assert run(page, *steps)[-1] == [3, 3, 4, 4, 5, 5]


def test_a_new_session_hears_little_of_mere_silence(page: Page) -> None:
    assert run(page, *[("push", True)] * 6, ("take",))[-1] == [4, 4, 5, 5]


def test_what_was_never_sent_is_sent_in_any_case(page: Page) -> None:
    steps = [("push", True), ("push", False), *[("push", True)] * 4, ("take",), ("take",)]
    assert run(page, *steps)[-2:] == [[1, 1, 4, 4, 5, 5], [4, 4, 5, 5]]


def test_a_session_goes_on_from_any_byte(page: Page) -> None:
    pushed = [("push", True)] * 4
    assert run(page, *pushed, ("after", 5))[-1] == [2, 3, 3]
    assert run(page, *pushed, ("after", 8))[-1] == []
    assert run(page, *pushed, ("after", 9))[-1] is None, "nobody has that yet"


def test_what_was_given_up_unsent_is_counted(page: Page) -> None:
    lost = run(page, *[("push", False)] * 7, limit=5)
    assert lost == [0, 0, 0, 0, 0, 1, 1]
    steps = [*[("push", False)] * 7, ("after", 3)]
    assert run(page, *steps, limit=5)[-1] is None, "it is not there any more"


def test_what_is_final_and_old_is_forgotten(page: Page) -> None:
    steps = [*[("push", True)] * 30, ("after", 0), ("after", 2 * 10)]
    assert run(page, *steps)[-2] is None
    assert run(page, *steps)[-1] == [second for second in range(10, 30) for _ in range(2)]

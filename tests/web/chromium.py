"""The system's Chromium, with a microphone that plays a file, and an eye on what goes wrong."""

from __future__ import annotations

import contextlib
import os
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, ViewportSize

from streaming.types import SAMPLE_RATE, Audio

EXECUTABLE = os.environ.get("SURTITLE_CHROMIUM", "/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)
WATCH_CSP = """addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));"""


@dataclass
class Watched:
    """A page, with the errors and the addresses it has seen."""

    page: Page
    errors: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(message.text)


@contextlib.contextmanager
def chromium(
    playwright: Playwright, *, microphone: Path | None = None, allow: bool = True
) -> Iterator[Browser]:
    """Launch it. Without a file the microphone beeps once a second."""
    flags = [*FLAGS, "--use-fake-ui-for-media-stream" + ("" if allow else "=deny")]
    if microphone is not None:
        flags.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=flags)
    try:
        yield browser
    finally:
        browser.close()


@contextlib.contextmanager
def watched(
    browser: Browser, *, viewport: ViewportSize | None = None, dark: bool = False
) -> Iterator[Watched]:
    """A fresh page (no storage shared with others) whose faults are collected."""
    context = browser.new_context(
        viewport=viewport or {"width": 1280, "height": 800},
        color_scheme="dark" if dark else "light",
    )
    context.add_init_script(WATCH_CSP)
    page = context.new_page()
    page.set_default_timeout(15_000)
    seen = Watched(page)
    page.on("console", seen.note)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("request", lambda request: seen.addresses.append(request.url))
    page.on("websocket", lambda socket: seen.addresses.append(socket.url))
    try:
        yield seen
    finally:
        context.close()


def write_wav(path: Path, audio: Audio) -> Path:
    """Write mono 16-bit sound at 16 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes())
    return path

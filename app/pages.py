"""The demo page and its files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DIRECTORY: Final = Path(__file__).resolve().parent.parent / "web_demo"

# Not left to the platform: where its registry calls a script text/plain, `nosniff` blocks it.
_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".vtt": "text/vtt",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True, slots=True)
class Page:
    """One file as it is sent."""

    content: bytes
    media_type: str
    etag: str


def read(name: str, directory: Path = DIRECTORY) -> Page | None:
    """A file below the directory, or None: absent, hidden, of no known type, or outside. Blocking.

    Read each time: the files are few and small, and an edit is seen at once.
    """
    relative = Path(name)
    media_type = _TYPES.get(relative.suffix.lower())
    if media_type is None or any(part.startswith(".") for part in relative.parts):
        return None
    try:
        path = (directory / relative).resolve(strict=True)
        if not path.is_relative_to(directory.resolve()):
            return None
        content = path.read_bytes()
    except (OSError, ValueError):
        return None
    return Page(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')

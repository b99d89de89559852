"""The text of an API key, and the only form of it that is kept.

A key is ``sk_surtitle_`` + 43 characters of randomness (256 bits in base 62) + 6 of checksum. The
prefix lets secret scanners find leaked keys; the checksum lets them, and us, tell a mistyped key
from a wrong one without a look-up (the layout GitHub uses for its tokens).

Kept is HMAC-SHA-256 of the key under a pepper that lives beside the database and not in it: a
copy of the database alone says nothing about the keys, not even about weak ones somebody chose.
A slow hash would add nothing against 256 random bits, and would cost every request.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import zlib
from pathlib import Path
from typing import Final

PREFIX: Final = "sk_surtitle_"
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_BYTES: Final = 32
_BODY: Final = 43
_CHECK: Final = 6
_PEPPER_BYTES: Final = 32
PEPPER_FILE: Final = "pepper"
_HINT: Final = 4


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK)


def mint() -> str:
    """A new API key with 256 bits of randomness."""
    body = _base62(int.from_bytes(secrets.token_bytes(_SECRET_BYTES)), _BODY)
    return f"{PREFIX}{body}{_checksum(body)}"


def mistyped(key: str) -> bool:
    """Whether a text looks like one of our keys and can't be one.

    Keys that somebody chose (``SURTITLE_ADMIN_KEY``) have no prefix and are never mistyped.
    """
    if not key.startswith(PREFIX):
        return False
    body, check = key[len(PREFIX) : -_CHECK], key[-_CHECK:]
    return len(body) != _BODY or not body.isascii() or _checksum(body) != check


def hint(key: str) -> str:
    """The last characters, by which an owner recognises a key in a list; none of a short one."""
    return f"…{key[-_HINT:]}" if len(key) >= len(PREFIX) + _BODY else "…"


def digest(key: str, pepper: bytes) -> bytes:
    """What is stored of a key: 32 bytes."""
    return hmac.digest(pepper, key.encode(), hashlib.sha256)


def fingerprint(pepper: bytes) -> str:
    """What tells two peppers apart and gives neither away: 64 hexadecimal digits."""
    return hmac.digest(pepper, b"surtitle pepper", hashlib.sha256).hex()


def load_pepper(directory: Path) -> bytes:
    """The pepper of a data directory, made (mode 0600) the first time it is asked for.

    Safe when the server and the command line ask at once: the file appears complete or not at
    all, and the first one wins. Raises ``ValueError`` when the file is there but is no pepper.
    """
    path = directory / PEPPER_FILE
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = directory / f".pepper.{os.getpid()}.{secrets.token_hex(4)}"
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(_PEPPER_BYTES))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()
    pepper = path.read_bytes()
    if len(pepper) != _PEPPER_BYTES:
        raise ValueError(f"{path} should hold {_PEPPER_BYTES} bytes, but holds {len(pepper)}")
    return pepper

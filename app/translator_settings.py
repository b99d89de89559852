"""Settings of translation services elsewhere."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic import SecretStr as Secret

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_PAIR: Final = re.compile(r"([A-Za-z-]{2,16})>([A-Za-z-]{2,16})")


def _parts(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no http:// or https:// address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("is an address and nothing else; a key has a setting of its own")
    return value


def _pairs(value: str) -> str:
    for text in _parts(value):
        if text not in ("all", "none") and not _PAIR.fullmatch(text):
            raise ValueError("is all, none, or pairs like de>en, separated by commas")
    return value


def named_translators(value: Any) -> Any:
    """Refuses names that clients could not be told. Raises ``ValueError``."""
    for name in value if isinstance(value, dict) else ():
        if not _NAME.fullmatch(name):
            raise ValueError("a translator's name is at most 32 letters, digits, _ and -")
    return value


class RemoteTranslator(BaseModel):
    """One service. ``languages`` and ``first`` are lists with commas; ``first`` are the pairs for
    which it comes before the models here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(_address)]
    dialect: Literal["libretranslate", "openai"] = "libretranslate"
    api_key: Secret | None = None
    model: str | None = None
    languages: str = ""
    first: Annotated[str, AfterValidator(_pairs)] = ""
    timeout_seconds: float = Field(5.0, ge=0.1, le=120)
    connections: int = Field(4, ge=1, le=256)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.dialect == "openai" and not (self.model and len(self.tags) > 1):
            raise ValueError(
                "the openai dialect needs a MODEL, and LANGUAGES it translates between"
            )
        return self

    @property
    def tags(self) -> tuple[str, ...]:
        return _parts(self.languages)

    @property
    def first_pairs(self) -> bool | frozenset[tuple[str, str]]:
        """All, none, or these pairs."""
        parts = _parts(self.first)
        if "all" in parts:
            return True
        pairs = map(_PAIR.fullmatch, parts)
        return frozenset((found[1], found[2]) for found in pairs if found)

"""Settings told to people: what is in force and from where, and ``.env.example``."""

from __future__ import annotations

import difflib
import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dotenv import dotenv_values
from pydantic import SecretStr

from app.settings import ENV_FILE, PREFIX, Settings, variable

_FOREIGN: Final = frozenset(
    {
        "SURTITLE_KEY",
        "SURTITLE_SERVER",
        "SURTITLE_SPEECH",
        "SURTITLE_REQUIRE_SPEECH",
        "SURTITLE_REQUIRE_REDIS",
        "SURTITLE_UPDATE_SNAPSHOTS",
    }
)
"""Variables with our prefix that are read by the command line's clients and by the tests."""

_MASK: Final = "********"
_HEADER: Final = """\
# Copy to .env and change what you need. `surtitle settings` shows what is in force and where from.
# The environment wins over this file. Values shown are the defaults.
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One effective setting. ``value`` is masked where it is a secret."""

    variable: str
    value: str | int | float | list[str] | None
    source: str
    description: str


def report(
    settings: Settings, environ: Mapping[str, str] = os.environ, env_file: Path = Path(ENV_FILE)
) -> list[Entry]:
    """Every setting with its source: ``environment``, ``.env`` or ``default``."""
    in_environment = {name.upper(): value for name, value in environ.items()}
    in_file = _file(env_file)
    entries = []
    for name, field in Settings.model_fields.items():
        key = variable(name)
        if _given(in_environment, key):
            source = "environment"
        elif _given(in_file, key):
            source = ENV_FILE
        else:
            source = "default"
        entries.append(Entry(key, _plain(getattr(settings, name)), source, field.description or ""))
    return entries


def unknown_variables(
    environ: Mapping[str, str] = os.environ, env_file: Path = Path(ENV_FILE)
) -> list[str]:
    """A line for each ``SURTITLE_…`` variable that is none, with what was probably meant."""
    known = [variable(name) for name in Settings.model_fields]
    names = {
        name.upper() for name in (*environ, *_file(env_file)) if name.upper().startswith(PREFIX)
    }
    lines = []
    nested = {name for name in names if name.startswith(f"{variable('translators')}__")}
    for name in sorted(names - set(known) - nested - _FOREIGN):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        lines.append(f"{name}: no such setting" + (f"; did you mean {near[0]}?" if near else ""))
    return lines


def env_example() -> str:
    """The text of ``.env.example``: every setting, described, commented out."""
    parts = [_HEADER]
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory else _text(_plain(field.default))
        comment = textwrap.fill(
            field.description or "", 96, initial_indent="# ", subsequent_indent="# "
        )
        parts.append(f"{comment}\n# {variable(name)}={default}\n")
    return "\n".join(parts)


def _given(variables: Mapping[str, str | None], key: str) -> bool:
    parts = f"{key}__"
    return bool(variables.get(key)) or any(name.startswith(parts) for name in variables)


def _file(path: Path) -> dict[str, str | None]:
    return {name.upper(): value for name, value in dotenv_values(path).items()}


def _plain(value: Any) -> str | int | float | list[str] | None:
    if isinstance(value, SecretStr):
        return _MASK
    if isinstance(value, tuple | dict):
        return [str(item) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    return str(value)


def _text(value: str | float | list[str] | None) -> str:
    if value is None:
        return ""
    return ",".join(value) if isinstance(value, list) else str(value)

"""Ways to run the same code: named sets of overrides, for comparing one with another.

An override is ``key=value``, the value JSON or else a plain string. Keys:

- ``partial_ms``, ``segmenter.endpoint_ms``: a field of the session's configuration, by its path
  or, where that is unique, by its name alone;
- ``start.endpoint_ms``: a field of the client's ``start``;
- ``settings.asr_model``: a setting of the server;
- ``simulation.workers``: an argument of :class:`~bench.replay.Simulation`;
- ``recognizer.beam_size``: an attribute of the recogniser;
- ``inference.decoding.LIKELY_LANGUAGE``: a module's constant, wherever it was imported.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from streaming.session_config import SessionConfig

_PREFIXES = ("start", "settings", "simulation", "recognizer")
_PACKAGES = ("streaming", "inference", "app")


@dataclass(frozen=True, slots=True)
class Variant:
    """A name and its overrides, in order."""

    name: str
    overrides: tuple[tuple[str, Any], ...] = ()

    def under(self, prefix: str) -> dict[str, Any]:
        """The overrides below a prefix, without it."""
        head = prefix + "."
        return {key[len(head) :]: v for key, v in self.overrides if key.startswith(head)}

    @property
    def constants(self) -> dict[str, Any]:
        """The overrides of modules' constants, by full name."""
        return {key: value for key, value in self.overrides if key.split(".")[0] in _PACKAGES}

    def config(self) -> SessionConfig:
        """The session's configuration. Raises ``ValueError`` for a field there is none of."""
        config = SessionConfig()
        for key, value in self.overrides:
            if key.split(".")[0] not in (*_PREFIXES, *_PACKAGES):
                config = _changed(config, _path(config, key), value)
        return config


def parse(text: str) -> tuple[str, Any]:
    """Read ``key=value``. Raises ``ValueError``."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ValueError(f"{text!r} is not key=value")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


@contextmanager
def patched(recognizer: Any, variant: Variant) -> Iterator[None]:
    """Apply what a variant changes in a recogniser and in modules, for a while."""
    undo: list[tuple[Any, str, Any]] = []

    def put(owner: Any, name: str, value: Any) -> None:
        undo.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    try:
        for name, value in variant.under("recognizer").items():
            put(recognizer, name, value)
        for full, value in variant.constants.items():
            for owner, name, changed in _places(full, value):
                put(owner, name, changed)
        yield
    finally:
        for owner, name, value in reversed(undo):
            setattr(owner, name, value)


def _places(full: str, value: Any) -> Iterator[tuple[Any, str, Any]]:
    """Every module of ours that holds a constant, and its new value there."""
    path, _, name = full.rpartition(".")
    old = getattr(importlib.import_module(path), name)
    changed = tuple(value) if isinstance(old, tuple) else value
    for module in list(sys.modules.values()):
        ours = getattr(module, "__name__", "").split(".")[0] in _PACKAGES
        if ours and vars(module).get(name) is old:
            yield module, name, changed


def _path(config: Any, key: str) -> list[str]:
    if "." in key:
        return key.split(".")
    found = [path for path in _paths(config) if path[-1] == key]
    if len(found) != 1:
        known = ", ".join(".".join(path) for path in _paths(config))
        raise ValueError(f"{key!r} is not one of {known}; or begin it with {_PREFIXES}")
    return found[0]


def _paths(config: Any) -> Iterator[list[str]]:
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            yield from ([item.name, *rest] for rest in _paths(value))
        else:
            yield [item.name]


def _changed(config: Any, path: list[str], value: Any) -> Any:
    name, *rest = path
    if name not in {item.name for item in fields(config)}:
        raise ValueError(f"{type(config).__name__} has no {name!r}")
    if rest:
        value = _changed(getattr(config, name), rest, value)
    return replace(config, **{name: value})


def describe(variant: Variant) -> str:
    """The overrides as they were given."""
    return " ".join(f"{key}={json.dumps(value)}" for key, value in variant.overrides) or "as it is"


def check(variant: Variant) -> None:
    """Raise ``ValueError`` or ``AttributeError`` for what can't be overridden."""
    variant.config()
    constants: Mapping[str, Any] = variant.constants
    for full in constants:
        path, _, name = full.rpartition(".")
        getattr(importlib.import_module(path), name)

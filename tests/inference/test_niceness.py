"""Threads that give way."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from inference.niceness import made_nice

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness on Linux")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_what_is_made_is_made_nicely_and_nothing_else_is_changed() -> None:
    before = niceness()

    def made() -> tuple[int, int]:
        inherited: list[int] = []
        thread = threading.Thread(target=lambda: inherited.append(niceness()))
        thread.start()
        thread.join()
        return niceness(), inherited[0]

    expected = min(19, before + 5)
    assert made_nice(made) == (expected, expected)
    assert niceness() == before


def test_what_can_not_be_made_says_why() -> None:
    def broken() -> None:
        raise ValueError("no such model")

    with pytest.raises(ValueError, match="no such model"):
        made_nice(broken)

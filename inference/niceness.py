"""Lets a model's threads give way to the event loop.

An event loop needs little time and needs it at once: while a thousand sessions are read, a model
that takes its share of the cores like any other thread makes everybody's captions late. On Linux
each thread has a niceness of its own, and threads that it starts inherit it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

_STEP: Final = 5
"""A third of the time of a thread beside it, where there is not enough for both."""


def give_way() -> None:
    """Make the thread that calls this nicer than the process is. Does nothing but on Linux."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a sandbox may forbid it: then all are alike
            nice = os.getpriority(os.PRIO_PROCESS, os.getpid()) + _STEP
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


def made_nice(make: Callable[[], T]) -> T:
    """What ``make`` makes, its threads nicer than the process is. Raises what it raises."""
    with ThreadPoolExecutor(1, initializer=give_way) as pool:
        return pool.submit(make).result()

"""Who uses something, and who wants it alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Exclusive:
    """Any number of threads use something side by side, unless one has it alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users = 0
        self._taken = False

    @contextmanager
    def used(self) -> Iterator[None]:
        """Use it beside others; waits while somebody has it alone."""
        with self._changed:
            while self._taken:
                self._changed.wait()
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self, timeout: float) -> Iterator[bool]:
        """Have it alone; False when others use it for longer than ``timeout`` seconds.

        Meanwhile nobody begins to use it.
        """
        with self._changed:
            free = not self._taken
            if free:
                self._taken = True
                free = self._changed.wait_for(lambda: not self._users, timeout)
                if not free:
                    self._give_back()
        try:
            yield free
        finally:
            if free:
                with self._changed:
                    self._give_back()

    def _give_back(self) -> None:
        self._taken = False
        self._changed.notify_all()

"""Runs a batch so that what is wrong with one row is no fault of the others."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

from inference.supervision import out_of_memory
from streaming.errors import SurtitleError

logger = logging.getLogger(__name__)

J = TypeVar("J")
J_contra = TypeVar("J_contra", contravariant=True)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Backend(Protocol[J_contra, R_co]):
    """One replica of a model, used by one thread at a time."""

    def run(self, jobs: Sequence[J_contra]) -> Sequence[R_co | SurtitleError]:
        """One result for each job, in order: blocking. A row that can't be done is an error
        among the results; raising makes every row run alone.
        """
        ...


@runtime_checkable
class Reloadable(Protocol):
    """A backend that can free what its library keeps."""

    def reload(self) -> bool:
        """Load the model anew, freeing all caches: blocking. False if it can't be done now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows(Generic[J, R]):
    """Runs batches on one replica.

    Where memory runs out batches are halved. A row that is alone is tried again after the garbage
    was collected, and after the model was loaded anew.
    """

    name: str
    backend: Backend[J, R]
    failure: Callable[[str], SurtitleError]
    """Makes the error of a job whose backend raised something else than a ``SurtitleError``."""
    calls: Callable[[], None]
    """Is told of each call of the backend, before it."""
    ran_out: Callable[[int], None]
    """Is told for how many rows memory did not suffice."""
    reloaded: Callable[[], None]
    """Is told when the model was loaded anew."""

    def run(self, jobs: Sequence[J]) -> Sequence[R | SurtitleError]:
        """One result for each job, in order. Raises nothing but what ends a thread."""
        results = self._attempt(jobs)
        if isinstance(results, Exception) and out_of_memory(results):
            logger.warning("%s: out of memory for %d rows: %s", self.name, len(jobs), results)
            results.with_traceback(None)  # its frames hold what was too much
            self.ran_out(len(jobs))
            gc.collect()
            if len(jobs) > 1:
                middle = len(jobs) // 2
                return [*self.run(jobs[:middle]), *self.run(jobs[middle:])]
            results = self._squeeze(jobs)
        if not isinstance(results, Exception):
            return results
        if len(jobs) > 1:
            return [self.run([job])[0] for job in jobs]
        return [self._failed(results)]

    def _attempt(self, jobs: Sequence[J]) -> Sequence[R | SurtitleError] | Exception:
        self.calls()
        try:
            results = self.backend.run(jobs)
        except Exception as error:  # noqa: BLE001 - what it means is for `run` to say
            return error
        if len(results) != len(jobs):
            return RuntimeError(f"{len(results)} results for {len(jobs)} jobs")
        return results

    def _squeeze(self, jobs: Sequence[J]) -> Sequence[R | SurtitleError] | Exception:
        """Try once more what is as small as can be."""
        results = self._attempt(jobs)
        if isinstance(results, Exception) and out_of_memory(results):
            results.with_traceback(None)
            if self._reload():
                self.reloaded()
                return self._attempt(jobs)
        return results

    def _reload(self) -> bool:
        if not isinstance(self.backend, Reloadable):
            return False
        self.calls()
        try:
            return self.backend.reload()
        except Exception:
            logger.exception("%s could not be loaded anew", self.name)
            return False

    def _failed(self, error: Exception) -> SurtitleError:
        if isinstance(error, SurtitleError):
            return error
        # The cause is for our log; clients are told no internals.
        logger.error("%s could not do a job", self.name, exc_info=error)
        failed = self.failure(f"{self.name} could not process this.")
        failed.__cause__ = error
        return failed

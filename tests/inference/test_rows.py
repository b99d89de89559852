from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.rows import Rows
from streaming.errors import RecognitionFailed, SurtitleError


@dataclass
class Model:
    """Has room for so many rows, or for what it says; may be loaded anew."""

    room: int = 1000
    room_reloaded: int | None = None
    batches: list[list[int]] = field(default_factory=list)

    def run(self, jobs: Sequence[int]) -> Sequence[str | SurtitleError]:
        self.batches.append(list(jobs))
        if len(jobs) > self.room:
            raise RuntimeError("CUDA failed with error out of memory")
        if any(job < 0 for job in jobs):
            raise ValueError("a bad row")
        return [RecognitionFailed("refused") if job == 0 else str(job) for job in jobs]


class Reloading(Model):
    def reload(self) -> bool:
        if self.room_reloaded is None:
            return False
        self.room = self.room_reloaded
        return True


@dataclass
class Noted:
    calls: int = 0
    ran_out: list[int] = field(default_factory=list)
    reloaded: int = 0

    def rows(self, model: Model) -> Rows[int, str]:
        return Rows(
            name="model",
            backend=model,
            failure=RecognitionFailed,
            calls=self.called,
            ran_out=self.ran_out.append,
            reloaded=self.was_reloaded,
        )

    def called(self) -> None:
        self.calls += 1

    def was_reloaded(self) -> None:
        self.reloaded += 1


@given(st.lists(st.integers(-2, 9), min_size=1, max_size=32), st.integers(1, 40))
def test_every_row_gets_its_own_answer_whatever_the_others(jobs: list[int], room: int) -> None:
    noted, model = Noted(), Model(room)
    results = noted.rows(model).run(jobs)
    assert len(results) == len(jobs)
    for job, result in zip(jobs, results, strict=True):
        if job > 0:
            assert result == str(job)
        else:
            assert isinstance(result, RecognitionFailed)
            assert (result.message == "refused") is (job == 0)
    assert noted.calls == len(model.batches)
    assert all(rows > room for rows in noted.ran_out)
    assert bool(noted.ran_out) is (len(jobs) > room)


def test_batches_are_halved_until_there_is_room() -> None:
    noted, model = Noted(), Model(2)
    assert list(noted.rows(model).run(range(1, 9))) == [str(n) for n in range(1, 9)]
    assert [len(batch) for batch in model.batches] == [8, 4, 2, 2, 4, 2, 2]
    assert noted.ran_out == [8, 4, 4]


def test_a_single_row_is_tried_again_on_a_model_loaded_anew() -> None:
    noted, model = Noted(), Reloading(0, room_reloaded=1)
    assert noted.rows(model).run([7]) == ["7"]
    assert (noted.ran_out, noted.reloaded, len(model.batches)) == ([1], 1, 3)


@pytest.mark.parametrize("model", [Model(0), Reloading(0), Reloading(0, room_reloaded=0)])
def test_what_never_has_room_fails_and_may_be_asked_for_again(
    model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    (result,) = Noted().rows(model).run([7])
    assert isinstance(result, RecognitionFailed)
    assert result.retryable
    assert "memory" not in result.message
    assert "out of memory" in caplog.text


def test_what_kills_a_thread_is_not_held_up() -> None:
    class Leaving(Model):
        def run(self, jobs: Sequence[int]) -> Sequence[str | SurtitleError]:
            raise SystemExit(len(jobs))

    with pytest.raises(SystemExit):
        Noted().rows(Leaving()).run([1, 2])

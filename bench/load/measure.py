"""From what clients saw to figures. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jiwer

from bench.corpus import Errors, normalize
from bench.load.plan import RunLog, StreamLog
from bench.load.speech import LANGUAGE, Utterance
from bench.load.transcript import Run, settled
from bench.metrics import Spoken, erasure, first_shown, quantile, rounded, stable_erasure

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What became of one utterance of one stream. Times are in seconds."""

    stream: int
    utterance: int
    steady: bool
    """Whether it began when all speakers of its group were speaking."""
    at: float
    """When its speech began, from the start of the run's speaking."""
    final_lag: float | None
    """From its last speech to the last of its final text; None: it had none."""
    first_text: float | None
    """From its first speech to its first word on screen."""
    errors: Errors
    offline: Errors


def heard(log: StreamLog, pool: Sequence[Utterance], run: RunLog, steady: float) -> list[Heard]:
    """Each utterance of a stream that was let in. ``steady`` is on the wall clock."""
    if log.began is None:
        return []
    spoken = [(line, pool[line.utterance]) for line in log.script.lines]
    texts = [utterance.text for _, utterance in spoken]
    words: list[Spoken] = []
    owner: list[int] = []
    for number, (line, utterance) in enumerate(spoken):
        for word in utterance.words:
            words.append(Spoken(word.word, line.start + word.end, line.start + word.start))
            owner.append(number)
    first: dict[int, float] = {}
    for index, time in first_shown(words, log.transcript.shown).items():
        first[owner[index]] = min(time, first.get(owner[index], time))
    last = final_times(texts, settled(log.transcript.finals))
    for index, time in first_shown(words, log.transcript.finals, promised=True).items():
        number = owner[index]
        # "Ten" and "10" don't meet: such an utterance is found by what the model heard offline.
        if not spoken[number][1].recognisable:
            last[number] = max(time, last[number] or 0.0)
    counted = utterance_errors(texts, log.transcript.text)
    found = []
    for number, (line, utterance) in enumerate(spoken):
        begin, end = (line.start + at for at in utterance.speech)
        final, shown = last[number], first.get(number)
        found.append(
            Heard(
                stream=log.script.stream,
                utterance=line.utterance,
                steady=log.began + begin >= steady,
                at=log.began + begin - run.speaking,
                final_lag=None if final is None else final - end,
                first_text=None if shown is None else max(0.0, shown - begin),
                errors=counted[number],
                offline=utterance.offline,
            )
        )
    return found


def _reference(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """The normalised words of utterances, and which utterance each is of."""
    words: list[str] = []
    owner: list[int] = []
    for number, text in enumerate(texts):
        own = normalize(text, LANGUAGE).split()
        words += own
        owner += [number] * len(own)
    return words, owner


def utterance_errors(texts: Sequence[str], hypothesis: str) -> list[Errors]:
    """The errors of each utterance, where the stream's whole text is one hypothesis.

    A word too many counts to the utterance of the word before it.
    """
    words, owner = _reference(texts)
    counts = [Counter({"words": count}) for count in _counts(owner, len(texts))]
    if words:
        found = jiwer.process_words(" ".join(words), normalize(hypothesis, LANGUAGE))
        for chunk in found.alignments[0]:
            if chunk.type == "insert":
                whose = owner[max(0, chunk.ref_start_idx - 1)]
                counts[whose]["insert"] += chunk.hyp_end_idx - chunk.hyp_start_idx
            else:
                for index in range(chunk.ref_start_idx, chunk.ref_end_idx):
                    counts[owner[index]][chunk.type] += 1
    return [Errors(c["words"], c["substitute"], c["delete"], c["insert"]) for c in counts]


def _counts(owner: Sequence[int], size: int) -> list[int]:
    counted = Counter(owner)
    return [counted[number] for number in range(size)]


def final_times(texts: Sequence[str], runs: Sequence[Run]) -> list[float | None]:
    """When the last of each utterance's final text came; None where no word of it came.

    The reference words and the final words are aligned. An utterance has the runs that have one of
    its words right, and those that are nearer to it than to any other: the last words of an
    utterance may all be wrong, and a word may only by chance stand where another's was.
    """
    words, owner = _reference(texts)
    said = [
        (word, number)
        for number, run in enumerate(runs)
        for word in normalize(run.words, LANGUAGE).split()
    ]
    times: list[float | None] = [None] * len(texts)
    if not words or not said:
        return times
    right: list[Counter[int]] = [Counter() for _ in runs]
    votes: list[Counter[int]] = [Counter() for _ in runs]
    found = jiwer.process_words(" ".join(words), " ".join(word for word, _ in said))
    for chunk in found.alignments[0]:
        if chunk.type not in ("equal", "substitute"):
            continue
        for step in range(chunk.ref_end_idx - chunk.ref_start_idx):
            whose = owner[chunk.ref_start_idx + step]
            _, run = said[chunk.hyp_start_idx + step]
            right[run][whose] += chunk.type == "equal"
            votes[run][whose] += 2 if chunk.type == "equal" else 1
    came = {whose for run in right for whose, count in run.items() if count}
    for number, run in enumerate(runs):
        nearest = {max(votes[number], key=votes[number].__getitem__)} if votes[number] else set()
        for whose in came & (nearest | {one for one, count in right[number].items() if count}):
            times[whose] = max(run.time, times[whose] or 0.0)
    return times


@dataclass(frozen=True, slots=True)
class Baseline:
    """How one speaker alone fared, utterance by utterance."""

    errors: Mapping[int, Errors]

    @classmethod
    def of(cls, all_heard: Iterable[Heard]) -> Baseline:
        pooled: dict[int, Errors] = {}
        for one in all_heard:
            pooled[one.utterance] = pooled.get(one.utterance, Errors()) + one.errors
        return cls(pooled)

    def change(self, all_heard: Iterable[Heard]) -> float | None:
        """By how many points the error rate is above one speaker's, on the same utterances."""
        words = errors = 0
        expected = 0.0
        for one in all_heard:
            alone = self.errors.get(one.utterance)
            if alone is not None and alone.words:
                words += one.errors.words
                errors += one.errors.total
                expected += alone.total * one.errors.words / alone.words
        return 100 * (errors - expected) / words if words else None


@dataclass(frozen=True, slots=True)
class Group:
    """The streams of one group of a run."""

    logs: Sequence[StreamLog]
    heard: Sequence[Heard]


def groups(run: RunLog, pool: Sequence[Utterance]) -> dict[str, Group]:
    """What was heard, by group, in the order of the scripts."""
    logs: dict[str, list[StreamLog]] = {}
    for log in run.streams:
        logs.setdefault(log.script.group, []).append(log)
    found = {}
    for name, members in logs.items():
        steady = run.speaking + max(log.script.offset for log in members)
        found[name] = Group(
            members, [one for log in members for one in heard(log, pool, run, steady)]
        )
    return found


def figures(group: Group, baseline: Baseline | None = None) -> Figures:
    """The figures of a group."""
    spoken = group.heard
    steady = [one for one in spoken if one.steady]
    lags = [one.final_lag for one in steady if one.final_lag is not None]
    firsts = [one.first_text for one in steady if one.first_text is not None]
    errors = sum((one.errors for one in spoken), Errors())
    offline = sum((one.offline for one in spoken), Errors())
    lines = [log.transcript.shown for log in group.logs]
    taken = [erasure(line) for line in lines]
    last = sum(words for _, words in taken)
    return {
        "streams": len(group.logs),
        "refused": dict(Counter(log.refused for log in group.logs if log.refused)),
        "retry_after": sorted({log.retry_after for log in group.logs if log.retry_after}),
        "broken": dict(Counter(log.broken for log in group.logs if log.broken)),
        "utterances": len(spoken),
        "measured": len(steady),
        "missed": sum(one.final_lag is None for one in spoken),
        **_quantiles("final_lag", lags, (0.5, 0.95, 0.99)),
        "final_lag_max": rounded(max(lags, default=None)),
        **_quantiles("first_text", firsts, (0.5, 0.95)),
        "words": errors.words,
        "wer": rounded(errors.rate),
        "wer_offline": rounded(offline.rate),
        "wer_change": rounded(baseline.change(spoken)) if baseline else None,
        "erasure": rounded(sum(erased for erased, _ in taken) / last, 3) if last else None,
        "stable_erased": sum(map(stable_erasure, lines)),
        "notices": dict(sum((log.transcript.notices for log in group.logs), Counter[str]())),
        "held_back": rounded(max((log.late for log in group.logs), default=None)),
    }


def shortcomings(row: Figures, *, lag: float = 1.0, points: float = 1.0) -> list[str]:
    """Why a number of speakers is not held; empty if it is."""
    p95, change = row["final_lag_p95"], row["wer_change"]
    reasons = [
        (p95 is None, "no finals"),
        (p95 is not None and p95 > lag, f"p95 final lag {p95} s > {lag} s"),
        (row["missed"] > 0, f"{row['missed']} of {row['utterances']} utterances missed"),
        (change is not None and change > points, f"{change} points more errors than one speaker"),
        (bool(row["refused"]), f"refused: {row['refused']}"),
        (bool(row["broken"]), f"broken: {row['broken']}"),
    ]
    return [text for wrong, text in reasons if wrong]


def _quantiles(name: str, values: Sequence[float], at: Sequence[float]) -> Figures:
    return {f"{name}_p{round(100 * q)}": rounded(quantile(values, q)) for q in at}

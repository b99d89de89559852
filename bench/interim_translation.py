"""What a viewer of a translation sees while the sentence is still being spoken.

    python -m bench.interim_translation [--manifest PATH] [--out docs/benchmarks] [--every N]

Texts grow word by word through the session's own translation planner and the embedded engine,
each call answered before the next word comes: the repository's own prose and, where there is a
corpus, its transcripts. Nothing is timed: all figures are counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from bench.corpus import default_manifest, read_manifest, utterances
from bench.metrics import Shown, common_prefix, erasure, stable_erasure
from inference.bergamot import BergamotEngine
from inference.languages import Languages
from inference.translator import TextTranslator
from streaming.actions import Action, Emit, Translate
from streaming.stabilizer import units
from streaming.steadying import Agreement, Steadier
from streaming.translations import Translations
from streaming.types import Priority, TranslationJob
from streaming.wire import TranslationEvent

ROOT = Path(__file__).resolve().parents[1]
MIN_WORDS, MAX_WORDS = 5, 55
"""Words in a segment: the session cuts at 20 s, some 55 words."""


class Unsteadied:
    """Shows each translation as it comes."""

    def __init__(self) -> None:
        self.shown = ""

    def update(self, text: str) -> None:
        self.shown = text


class Masked:
    """Shows all but the last ``k`` words (Arivazhagan et al. 2020, arXiv 1912.03393).

    ``keep``: only what begins with what is shown.
    """

    def __init__(self, k: int, *, keep: bool = False) -> None:
        self.shown = ""
        self._k = k
        self._keep = keep

    def update(self, text: str) -> None:
        parts = units(text)
        shown = "".join(parts[: max(0, len(parts) - self._k)])
        if not self._keep or shown.startswith(self.shown):
            self.shown = shown


@dataclass(frozen=True, slots=True)
class Variant:
    """One way of showing translations of what is still growing."""

    name: str
    steadier: Callable[[], Steadier]
    wait: int = 3
    step: int = 1
    """Words that come at once."""
    whole: bool = False
    """Whether the segment is one sentence, however many it has."""
    interim: bool = True


VARIANTS = (
    Variant("finals only", Agreement, interim=False),
    Variant("whole text, as it comes", Unsteadied, wait=1, whole=True),
    Variant("by sentence, as it comes", Unsteadied, wait=1),
    Variant("… from the third word on", Unsteadied),
    *(Variant(f"… mask {k}", partial(Masked, k)) for k in (2, 4)),
    Variant("… mask 2, never taken back", partial(Masked, 2, keep=True)),
    Variant("… agreement", partial(Agreement, patience=1)),
    Variant("… agreement, never taken back", partial(Agreement, patience=1_000)),
    Variant("**… agreement, taken back at the fourth contradiction**", Agreement),
    Variant("the same, from the first word on", Agreement, wait=1),
    Variant("the same, two words at a time", Agreement, step=2),
)


@dataclass(frozen=True, slots=True)
class Texts:
    """What is translated: one text for each segment."""

    name: str
    source: str
    target: str
    segments: tuple[str, ...]


@dataclass(slots=True)
class Outcome:
    """A variant over all segments of one set of texts."""

    name: str
    texts: str
    source: str
    target: str
    segments: int = 0
    words: int = 0
    """Of the source."""
    calls: int = 0
    """Sentences given to the translator, those it remembers included."""
    erased: int = 0
    """Words taken back."""
    final_words: int = 0
    stable_erased: int = 0
    """Characters of stable text taken back. Must be 0."""
    shown_lag: float = 0.0
    """Words of the source between a word's place and when a word was first shown there: mean."""
    settled_lag: float = 0.0
    """The same, to when it was there and stayed."""
    similarity: float = 0.0
    """chrF of the finals against translating each segment's whole text at once, 0…100."""
    _lags: list[tuple[float, float]] = field(default_factory=list, repr=False)
    _finals: list[tuple[str, str]] = field(default_factory=list, repr=False)

    def add(self, words: int, history: Sequence[Shown], whole: str) -> None:
        """Count one segment: its history by words heard, and its translation in one go."""
        erased, final_words = erasure(history)
        self.segments += 1
        self.words += words
        self.erased += erased
        self.final_words += final_words
        self.stable_erased += stable_erasure(history)
        self._lags += lags(words, history)
        self._finals.append((history[-1].text, whole))

    def close(self) -> Outcome:
        """Compute what is a mean."""
        shown, settled = zip(*self._lags, strict=True)
        self.shown_lag, self.settled_lag = float(np.mean(shown)), float(np.mean(settled))
        self.similarity = chrf(self._finals)
        return self

    def row(self) -> str:
        return (
            f"| {self.name} | {self.erased / self.final_words:.2f} | {self.stable_erased} "
            f"| {self.shown_lag:.1f} | {self.settled_lag:.1f} | {self.calls / self.words:.2f} "
            f"| {self.similarity:.1f} |"
        )

    def plain(self) -> dict[str, object]:
        return {key: value for key, value in asdict(self).items() if not key.startswith("_")}


def lags(heard: int, history: Sequence[Shown]) -> Iterator[tuple[float, float]]:
    """For each word of the final: source words heard when a word first stood in its place, and
    when it was there to stay, minus the words it had to wait for if both languages ran alongside.
    """
    final = history[-1].text.split()
    screens = [(int(shown.time), shown.text.split()) for shown in history]
    kept = [common_prefix(words, final) for _, words in screens]
    for index in range(len(final)):
        due = (index + 1) * heard / len(final)
        first = next(time for time, words in screens if len(words) > index)
        stays = len(screens) - 1
        while stays and kept[stays - 1] > index:
            stays -= 1
        yield first - due, screens[stays][0] - due


def chrf(pairs: Sequence[tuple[str, str]], order: int = 6, beta: float = 2.0) -> float:
    """Corpus chrF of (text, reference) pairs, 0…100 (Popović 2015): F over character n-grams."""
    scores = []
    for n in range(1, order + 1):
        match = made = wanted = 0
        for text, reference in pairs:
            ours, theirs = _ngrams(text, n), _ngrams(reference, n)
            match += (ours & theirs).total()
            made += ours.total()
            wanted += theirs.total()
        precision, recall = match / max(1, made), match / max(1, wanted)
        both = beta**2 * precision + recall
        scores.append((1 + beta**2) * precision * recall / both if both else 0.0)
    return 100 * float(np.mean(scores))


def _ngrams(text: str, n: int) -> Counter[str]:
    letters = "".join(text.split())
    return Counter(letters[i : i + n] for i in range(len(letters) - n + 1))


class Bench:
    """A variant, run."""

    def __init__(self, translator: TextTranslator, languages: Languages) -> None:
        self._translator = translator
        self._languages = languages

    async def run(self, variant: Variant, texts: Texts) -> Outcome:
        """Let each segment grow, one after the other."""
        source, target = texts.source, texts.target
        outcome = Outcome(variant.name, texts.name, source, target)
        for number, text in enumerate(texts.segments):
            actions: list[Action] = []
            planner = Translations(
                session="bench",
                tenant="",
                languages=_Whole(self._languages) if variant.whole else self._languages,
                actions=actions,
                targets=(target,),
                wait=variant.wait,
                steadier=variant.steadier,
            )
            words = text.split()
            history: list[Shown] = []
            for count in range(variant.step, len(words), variant.step) if variant.interim else ():
                # The stabiliser leaves the punctuation behind the last word open.
                stable = re.sub(r"[^\w]+\Z", "", " ".join(words[:count]))
                planner.interim(number, source, stable, "")
                history += await self._settle(planner, actions, count, outcome)
            planner.final(number, source, text, np.zeros(0, np.float32), 0)
            history += await self._settle(planner, actions, len(words), outcome)
            job = TranslationJob("whole", number, 1, text, source, target, Priority.FINAL)
            whole = await self._translator.translate(job)
            outcome.add(len(words), history, whole.text)
        return outcome.close()

    async def _settle(
        self, planner: Translations, actions: list[Action], heard: int, outcome: Outcome
    ) -> list[Shown]:
        """Answer all calls, one after the other; return what was shown."""
        shown = []
        while actions:
            match actions.pop(0):
                case Translate(job=job):
                    outcome.calls += 1
                    planner.receive(job, await self._translator.translate(job))
                case Emit(event=TranslationEvent() as event):
                    stable = event.text if event.final else event.stable
                    unstable = "" if event.final else event.unstable
                    shown.append(
                        Shown(heard, event.segment, str(stable), str(unstable), event.final)
                    )
        return shown


class _Whole(Languages):
    """Languages that know of no sentences."""

    def __init__(self, languages: Languages) -> None:
        self.__dict__.update(languages.__dict__)

    def sentences(self, text: str, language: str) -> list[str]:  # noqa: ARG002 - the port's
        return [text]


def corpus_texts(manifest: Path, language: str) -> list[str]:
    """Reference transcripts with case and punctuation, as a recogniser writes them."""
    texts = [clip.text or "" for clip in utterances(read_manifest(manifest), language)]
    return [text for text in texts if any(map(str.isupper, text))]


def repository_texts() -> list[str]:
    """English prose of this repository's pages, without code, tables and markup."""
    paragraphs: list[str] = []
    for page in sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")]):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for block in text.split("\n\n"):
            prose = re.sub(r"\[([^\]]*)\]\([^)]*\)|[*`_]", r"\1", " ".join(block.split()))
            if re.match(r"[A-Z]", prose) and prose.endswith("."):
                paragraphs.append(prose)
    return paragraphs


def segments(texts: Sequence[str], every: int) -> tuple[str, ...]:
    """Texts cut to what a segment may hold; very short ones are left out."""
    found: list[str] = []
    for text in texts:
        words = text.split()
        cut = [words[i : i + MAX_WORDS] for i in range(0, len(words), MAX_WORDS)]
        found += [" ".join(part) for part in cut if len(part) >= MIN_WORDS]
    return tuple(dict.fromkeys(found))[::every]


def table(engine: str, outcomes: Sequence[Outcome]) -> str:
    """The report as Markdown."""
    lines = [
        "# Interim translation",
        "",
        f"Engine {engine}. Text grows word by word; each call is answered before the next word.",
        "",
        "- *erasure*: words taken back for each word of the finals; *stable*: characters of stable",
        "  text taken back;",
        "- *shown*, *settled*: how many source words behind a word is shown, and is to stay, on",
        "  average;",
        "- *calls*: sentences translated for each source word;",
        "- *chrF*: finals against translating each segment's whole text at once.",
    ]
    for texts, source, target in dict.fromkeys((o.texts, o.source, o.target) for o in outcomes):
        rows = [o for o in outcomes if (o.texts, o.source, o.target) == (texts, source, target)]
        size = f"{rows[0].segments} segments, {rows[0].words} words"
        lines += ["", f"## {source} → {target}, {texts}: {size}", ""]
        lines += ["| translations are shown | erasure | stable | shown | settled | calls | chrF |"]
        lines += ["|---|---|---|---|---|---|---|", *(one.row() for one in rows)]
    return "\n".join([*lines, ""])


async def measure(sets: Sequence[Texts], variants: Sequence[Variant] = VARIANTS) -> list[Outcome]:
    """All variants on all texts."""
    translator = TextTranslator([BergamotEngine()])
    await asyncio.to_thread(translator.warm_up)
    translator.start()
    languages = Languages(
        speech=frozenset({"en", "pt"}),
        speech_to_english=False,
        text_pairs=translator.pairs,
        text_route=translator.route,
    )
    bench = Bench(translator, languages)
    outcomes = [await bench.run(variant, texts) for texts in sets for variant in variants]
    await translator.close()
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", type=Path, default=default_manifest())
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    parser.add_argument("--every", type=int, default=1, help="only every n-th segment")
    arguments = parser.parse_args()
    named = [("this repository's prose", "en", "pt", repository_texts())]
    if arguments.manifest is not None:
        for source, target in (("en", "pt"), ("pt", "en")):
            found = corpus_texts(arguments.manifest, source)
            named.append(("transcripts", source, target, found))
    sets = [
        Texts(name, source, target, segments(found, arguments.every))
        for name, source, target, found in named
    ]
    outcomes = asyncio.run(measure(sets))
    engine = BergamotEngine().version
    report = {"engine": engine, "every": arguments.every}
    full = {**report, "outcomes": [one.plain() for one in outcomes]}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "interim-translation.json").write_text(json.dumps(full, indent=2) + "\n")
    (arguments.out / "interim-translation.md").write_text(table(engine, outcomes))
    print(table(engine, outcomes))


if __name__ == "__main__":
    main()

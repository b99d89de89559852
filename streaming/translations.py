"""The translations of one session: which are asked for, which are still to come.

While a segment is open, its sentences are translated into every target: each once when it is
complete and stable, and those that may still change again as they grow. The final translation of a
segment is these sentences' and the rest's. Each (segment, target) applies results by their
revisions, and nothing after its final.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from streaming.actions import Action, Emit, Recognize, Translate
from streaming.checkpoint import Checkpoint, Owed
from streaming.errors import SurtitleError, TranslationFailed
from streaming.lines import Line, Request
from streaming.ports import LanguageCatalogue
from streaming.sentences import SourceText
from streaming.steadying import Agreement, Steadier
from streaming.types import (
    Audio,
    Hypothesis,
    Priority,
    RecognitionJob,
    Translation,
    TranslationJob,
)
from streaming.wire import ErrorEvent, TranslationEvent, WarningEvent

_ATTEMPTS = 2


@dataclass(slots=True)
class _Spoken:
    """A segment whose audio is being translated to English by the recogniser."""

    targets: list[str]
    attempts: int = 1


@dataclass(slots=True, kw_only=True)
class Translations:
    """Plans the translations of a session and takes their results."""

    session: str
    tenant: str
    languages: LanguageCatalogue
    actions: list[Action]
    weight: float = 1.0
    targets: tuple[str, ...] = ()
    wait: int = 3
    """Words of a sentence before its first interim translation (as in wait-k, arXiv 1810.08398).
    Fewer are mostly translated to something else than they will mean."""
    steadier: Callable[[], Steadier] = Agreement
    """Makes what keeps the translation of one open sentence still."""
    characters: int = 0
    """Characters of final source text translated, once for each target."""
    _sources: dict[int, SourceText] = field(default_factory=dict)
    """Open segments."""
    _lines: dict[tuple[int, str], Line] = field(default_factory=dict)
    _spoken: dict[int, _Spoken] = field(default_factory=dict)
    _audio: dict[int, Audio] = field(default_factory=dict)
    """Of finished segments whose text is being translated, and whose audio could be instead."""
    _outages: dict[tuple[str, str], int] = field(default_factory=dict)
    """The last outage of each pair that the client was told of."""
    _stood_in: set[tuple[str, str]] = field(default_factory=set)
    """Pairs that the recogniser translates because nothing else does."""
    _warned: set[tuple[str, str]] = field(default_factory=set)
    _owed: dict[int, Owed] = field(default_factory=dict)
    """Finals whose translations are not all there."""

    @property
    def pending(self) -> bool:
        """Whether a final translation is still to come."""
        return bool(self._owed)

    @property
    def owed(self) -> list[Owed]:
        """Finals whose translations are not all there, with what was promised of each."""
        return [
            replace(owed, targets={to: self._lines[owed.segment, to].stable for to in owed.targets})
            for owed in self._owed.values()
        ]

    @property
    def warned(self) -> list[tuple[str, str]]:
        """Pairs that the client was told are not served."""
        return sorted(self._warned)

    def recall(self, checkpoint: Checkpoint) -> list[Owed]:
        """Go on where another left off; returns what is owed and made of audio."""
        self.characters = checkpoint.characters
        self._warned.update((source, target) for source, target in checkpoint.warned)
        spoken: list[Owed] = []
        for owed in checkpoint.owed:
            for target, stable in owed.targets.items():
                line = self._line(owed.segment, target)
                line.stable, line.due = stable, True
            self._owed[owed.segment] = replace(owed, targets=dict(owed.targets))
            if self._translate(owed.segment, owed.language, owed.text, list(owed.targets)):
                spoken.append(owed)
        return spoken

    def speak(self, owed: Owed, audio: Audio | None) -> None:
        """Translate the audio of a final that another left off. None: it will not come."""
        spoken = self._by_speech(owed.language, owed.targets)
        if audio is not None:
            self._listen(owed.segment, owed.language, audio, spoken)
            return
        for target in spoken:
            error = TranslationFailed("the audio that was to be translated did not come again")
            self._give_up(owed.segment, target, error)

    def interim(self, segment: int, language: str, stable: str, unstable: str) -> None:
        """Follow an open segment's caption."""
        source = self._sources.get(segment) or SourceText(self.languages.sentences)
        self._sources[segment] = source
        source.follow(stable, language, unstable)
        for target in self.targets:
            route = self.languages.speech_route(language, target)
            if route is None or route.spoken:
                continue
            line = self._line(segment, target)
            if route.kind != "identity":
                self._ask(segment, line, line.follow(source.sentences, len(source.complete)))
            elif line.mirror(stable, unstable):
                self._show(segment, line)

    def final(self, segment: int, language: str, text: str, audio: Audio, start: int) -> None:
        """Translate a finished segment into every target. Its audio begins at sample ``start``."""
        source = self._sources.pop(segment, None) or SourceText(self.languages.sentences)
        # A target that was taken away while the segment was open has nothing more to come.
        for key in [key for key in self._lines if key[0] == segment]:
            if key[1] not in self.targets:
                del self._lines[key]
            elif not text:
                self._finish(segment, self._lines[key], "")
        if not text:
            return
        served: list[str] = []
        for target in self.targets:
            if self.languages.speech_route(language, target) is not None:
                served.append(target)
            else:
                self._lines.pop((segment, target), None)
                self._warn(language, target)
        if not served:
            return
        self.characters += len(text) * len(served)
        self._sources[segment] = source
        self._owed[segment] = Owed(
            segment=segment,
            language=language,
            text=text,
            start=start,
            end=start + audio.size,
            targets=dict.fromkeys(served, ""),
        )
        spoken = self._translate(segment, language, text, served)
        self._keep(segment, audio)
        if spoken:
            self._listen(segment, language, audio, spoken)

    def receive(self, job: TranslationJob, result: Translation) -> None:
        self._note_outage(job, result)
        line = self._lines.get((job.segment, job.target))
        if line is None:
            return
        self._ask(job.segment, line, line.take(job.revision, result.text))
        if line.due:
            self._settle(job.segment, line)
        elif line.show():
            self._show(job.segment, line)

    def receive_failure(self, job: TranslationJob, error: SurtitleError) -> None:
        line = self._lines.get((job.segment, job.target))
        if line is None:
            return
        if line.fail(job.revision, retryable=error.retryable):
            self.actions.append(Translate(job))
        elif line.due and line.failed and not self._stand_in(job):
            self._give_up(job.segment, job.target, error)

    def receive_spoken(self, job: RecognitionJob, hypothesis: Hypothesis) -> None:
        """Take English that the recogniser made of a segment's audio."""
        spoken = self._spoken.pop(job.segment, None)
        if spoken is None:
            return
        for target in spoken.targets:
            line = self._lines[job.segment, target]
            if target == "en":
                self._finish(job.segment, line, hypothesis.text)
            else:
                english = SourceText(self.languages.sentences).conclude(hypothesis.text, "en")
                self._ask(job.segment, line, line.conclude(english))
                self._settle(job.segment, line)

    def receive_spoken_failure(self, job: RecognitionJob, error: SurtitleError) -> None:
        spoken = self._spoken.get(job.segment)
        if spoken is None:
            return
        if error.retryable and spoken.attempts < _ATTEMPTS:
            spoken.attempts += 1
            self.actions.append(Recognize(job))
            return
        del self._spoken[job.segment]
        for target in spoken.targets:
            self._give_up(job.segment, target, error)

    # ------------------------------------------------------------ outages

    def _note_outage(self, job: TranslationJob, result: Translation) -> None:
        """Say that another engine than usual translates, once in each outage."""
        pair = job.source, job.target
        if not result.outage:
            self._stood_in.discard(pair)
        elif result.outage != self._outages.get(pair):
            self._outages[pair] = result.outage
            self._tell_fallback(*pair, result.engine)

    def _stand_in(self, job: TranslationJob) -> bool:
        """Have a finished segment's audio translated, since its text can't be."""
        audio = self._audio.get(job.segment)
        if audio is None or self.languages.spoken_route(job.source, job.target) is None:
            return False
        waiting = self._spoken.get(job.segment)
        if waiting is None:
            self._listen(job.segment, job.source, audio, [job.target])
        elif job.target not in waiting.targets:
            waiting.targets.append(job.target)
            self._tell_stand_in(job.source, job.target)
        return True

    def _tell_stand_in(self, source: str, target: str) -> None:
        """Say that the recogniser translates what text engines usually do, once."""
        route = self.languages.spoken_route(source, target)
        usual = self.languages.text_route(source, target)
        if route is not None and usual is not None and (source, target) not in self._stood_in:
            self._stood_in.add((source, target))
            self._tell_fallback(source, target, route.engine)

    def _tell_fallback(self, source: str, target: str, engine: str) -> None:
        event = WarningEvent(
            code="translator_fallback",
            message=f"what usually translates {source} to {target} does not answer; "
            f"{engine} does it meanwhile",
            details={"source": source, "target": target, "engine": engine},
        )
        self.actions.append(Emit(event))

    # ------------------------------------------------------------ inside

    def _listen(self, segment: int, language: str, audio: Audio, targets: list[str]) -> None:
        for target in targets:
            self._tell_stand_in(language, target)
        self._spoken[segment] = _Spoken(targets)
        self._recognize(segment, language, audio)

    def _keep(self, segment: int, audio: Audio) -> None:
        """Keep a segment's audio for as long as something of it is still to be translated."""
        if any(key[0] == segment for key in self._lines):
            self._audio[segment] = audio

    def _translate(self, segment: int, language: str, text: str, targets: list[str]) -> list[str]:
        """Have a final's text translated; returns the targets that are made of its audio."""
        source = self._sources.pop(segment, None) or SourceText(self.languages.sentences)
        sentences = source.conclude(text, language)
        spoken = self._by_speech(language, targets)
        for target in targets:
            line = self._line(segment, target)
            route = self.languages.speech_route(language, target)
            if target in spoken:
                line.due = True
            elif route is not None and route.kind == "identity":
                self._finish(segment, line, text)
            else:
                self._ask(segment, line, line.conclude(sentences))
                self._settle(segment, line)
        return spoken

    def _by_speech(self, language: str, targets: Iterable[str]) -> list[str]:
        """Those of the targets that are made of the audio."""
        routes = {target: self.languages.speech_route(language, target) for target in targets}
        return [target for target, route in routes.items() if route is not None and route.spoken]

    def _line(self, segment: int, target: str) -> Line:
        key = segment, target
        if key not in self._lines:
            self._lines[key] = Line(target, wait=self.wait, steadier=self.steadier)
        return self._lines[key]

    def _ask(self, segment: int, line: Line, requests: Iterable[Request]) -> None:
        """Have sentences translated. A complete one is as urgent as a final: it is one."""
        for request in requests:
            job = TranslationJob(
                session=self.session,
                segment=segment,
                revision=request.revision,
                text=request.sentence.text,
                source=request.sentence.language,
                target=line.target,
                priority=Priority.FINAL if request.complete else Priority.PARTIAL,
                prefix=request.prefix,
                tenant=self.tenant,
                weight=self.weight,
            )
            self.actions.append(Translate(job))

    def _recognize(self, segment: int, language: str, audio: Audio) -> None:
        job = RecognitionJob(
            session=self.session,
            segment=segment,
            revision=0,
            audio=audio,
            priority=Priority.FINAL,
            language=language,
            task="translate",
            tenant=self.tenant,
            weight=self.weight,
        )
        self.actions.append(Recognize(job))

    def _show(self, segment: int, line: Line) -> None:
        event = TranslationEvent(
            segment=segment,
            target=line.target,
            text=line.text,
            final=False,
            stable=line.stable,
            unstable=line.unstable,
        )
        self.actions.append(Emit(event))

    def _settle(self, segment: int, line: Line) -> None:
        """Finish a line whose final is due, if all of it is there."""
        if line.finished:
            self._finish(segment, line, None)

    def _finish(self, segment: int, line: Line, text: str | None) -> None:
        """Send the last word: the text, or all translations, behind what is stable."""
        self._end(segment, line.target)
        event = TranslationEvent(
            segment=segment, target=line.target, text=line.final(text), final=True
        )
        self.actions.append(Emit(event))

    def _give_up(self, segment: int, target: str, error: SurtitleError) -> None:
        self._end(segment, target)
        event = ErrorEvent.of(error, fatal=False, segment=segment, target=target)
        self.actions.append(Emit(event))

    def _end(self, segment: int, target: str) -> None:
        del self._lines[segment, target]
        owed = self._owed.get(segment)
        if owed is not None:
            owed.targets.pop(target, None)
            if not owed.targets:
                del self._owed[segment]
        if not any(key[0] == segment for key in self._lines):
            self._audio.pop(segment, None)

    def _warn(self, language: str, target: str) -> None:
        if (language, target) in self._warned:
            return
        self._warned.add((language, target))
        event = WarningEvent(
            code="language_unsupported",
            message=f"no engine here translates {language} to {target}",
            details={"source": language, "target": target},
        )
        self.actions.append(Emit(event))

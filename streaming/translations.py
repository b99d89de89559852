"""The translations of one session: which are asked for, which are still to come.

Finals of each segment are translated into every target; while a segment is open its stable text
is translated again as it grows. Each (segment, target) applies results in the order of their
revisions, and nothing after its final.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from streaming.actions import Action, Emit, Recognize, Translate
from streaming.errors import SurtitleError
from streaming.ports import LanguageCatalogue
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
class _Line:
    """One segment in one target."""

    revision: int = 0
    shown: int = 0
    source: str = ""
    """The text last sent off."""
    text: str = ""
    """The translation last shown."""
    final: int | None = None
    """The revision that is the last word."""
    attempts: int = 0


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
    targets: tuple[str, ...] = ()
    characters: int = 0
    """Characters of final source text translated, once for each target."""
    _lines: dict[tuple[int, str], _Line] = field(default_factory=dict)
    _spoken: dict[int, _Spoken] = field(default_factory=dict)
    _warned: set[tuple[str, str]] = field(default_factory=set)

    @property
    def pending(self) -> bool:
        """Whether a final translation is still to come."""
        return bool(self._spoken) or any(line.final is not None for line in self._lines.values())

    def interim(self, segment: int, language: str, stable: str, unstable: str) -> None:
        """Follow an open segment's caption."""
        for target in self.targets:
            route = self.languages.speech_route(language, target)
            if route is None or route.spoken:
                continue
            line = self._lines.setdefault((segment, target), _Line())
            if route.kind == "identity":
                self._show(segment, target, stable, unstable)
            elif stable and stable != line.source:
                line.revision += 1
                line.source = stable
                self._translate(segment, target, language, stable, line.revision, Priority.PARTIAL)

    def final(self, segment: int, language: str, text: str, audio: Audio) -> None:
        """Translate a finished segment into every target."""
        if not text:
            for key in [key for key in self._lines if key[0] == segment]:
                self._finish(*key, "")
            return
        spoken: list[str] = []
        for target in self.targets:
            route = self.languages.speech_route(language, target)
            if route is None:
                self._lines.pop((segment, target), None)
                self._warn(language, target)
                continue
            self.characters += len(text)
            line = self._lines.setdefault((segment, target), _Line())
            line.revision += 1
            line.final = line.revision
            line.attempts = 1
            line.source = text
            if route.kind == "identity":
                self._finish(segment, target, text)
            elif route.spoken:
                spoken.append(target)
            else:
                self._translate(segment, target, language, text, line.revision, Priority.FINAL)
        if spoken:
            self._spoken[segment] = _Spoken(spoken)
            self._recognize(segment, language, audio)
        # A target that was taken away while the segment was open has nothing more to come.
        for key in [key for key, line in self._lines.items() if key[0] == segment]:
            if self._lines[key].final is None:
                del self._lines[key]

    def receive(self, job: TranslationJob, result: Translation) -> None:
        line = self._lines.get((job.segment, job.target))
        if line is None or job.revision <= line.shown:
            return
        if job.revision == line.final:
            self._finish(job.segment, job.target, result.text)
        elif line.final is None:
            line.shown = job.revision
            self._show(job.segment, job.target, "", result.text)

    def receive_failure(self, job: TranslationJob, error: SurtitleError) -> None:
        line = self._lines.get((job.segment, job.target))
        if line is None or job.revision != line.final:
            return
        if error.retryable and line.attempts < _ATTEMPTS:
            line.attempts += 1
            self.actions.append(Translate(job))
            return
        self._give_up(job.segment, job.target, error)

    def receive_spoken(self, job: RecognitionJob, hypothesis: Hypothesis) -> None:
        """Take English that the recogniser made of a segment's audio."""
        spoken = self._spoken.pop(job.segment, None)
        if spoken is None:
            return
        for target in spoken.targets:
            if target == "en":
                self._finish(job.segment, target, hypothesis.text)
            else:
                line = self._lines[job.segment, target]
                self._translate(
                    job.segment, target, "en", hypothesis.text, line.revision, Priority.FINAL
                )

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

    # ------------------------------------------------------------ inside

    def _translate(
        self,
        segment: int,
        target: str,
        source: str,
        text: str,
        revision: int,
        priority: Priority,
    ) -> None:
        job = TranslationJob(
            session=self.session,
            segment=segment,
            revision=revision,
            text=text,
            source=source,
            target=target,
            priority=priority,
            tenant=self.tenant,
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
        )
        self.actions.append(Recognize(job))

    def _show(self, segment: int, target: str, stable: str, unstable: str) -> None:
        line = self._lines[segment, target]
        text = stable + unstable
        if text == line.text:
            return
        line.text = text
        event = TranslationEvent(
            segment=segment,
            target=target,
            text=text,
            final=False,
            stable=stable,
            unstable=unstable,
        )
        self.actions.append(Emit(event))

    def _finish(self, segment: int, target: str, text: str) -> None:
        del self._lines[segment, target]
        event = TranslationEvent(segment=segment, target=target, text=text, final=True)
        self.actions.append(Emit(event))

    def _give_up(self, segment: int, target: str, error: SurtitleError) -> None:
        del self._lines[segment, target]
        event = ErrorEvent.of(error, fatal=False, segment=segment, target=target)
        self.actions.append(Emit(event))

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

"""From one process to another: a session written down after its last event, and taken up again."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from streaming.captions import Captions
from streaming.checkpoint import Checkpoint
from streaming.hearing import Hearing
from streaming.intake import Intake
from streaming.segmenter import Segmenter, SegmenterConfig
from streaming.terms import Terms
from streaming.translations import Translations


class Handover:
    """Writes and reads the checkpoints of one session, of whose parts it keeps nothing."""

    def __init__(
        self,
        session: str,
        terms: Terms,
        intake: Intake,
        hearing: Hearing[Any],
        captions: Captions,
        translations: Translations,
    ) -> None:
        self.first_segment: int | None = None
        """The first segment of a session that another process began."""
        self._session = session
        self._terms = terms
        self._intake = intake
        self._hearing = hearing
        self._captions = captions
        self._translations = translations

    def checkpoint(self) -> Checkpoint:
        """What another process needs to go on after everything that was emitted."""
        captions, translations = self._captions, self._translations
        form, options = self._intake.form, captions.options
        segmenter, oldest = self._hearing.segmenter, captions.oldest
        place = segmenter.place(oldest.utterance if oldest else None)
        if oldest is not None and place.rest is not None:
            place = replace(place, rest=replace(place.rest, skip=oldest.skipped))
        return Checkpoint(
            session=self._session,
            encoding=form.encoding,
            sample_rate=form.sample_rate,
            channels=form.channels,
            language=options.language,
            targets=list(translations.targets),
            interim=options.interim,
            words=options.words,
            vocabulary=list(options.vocabulary),
            endpoint_ms=segmenter.endpoint_ms,
            place=place,
            segment=segmenter.next_segment,
            finals=captions.finals,
            characters=translations.characters,
            background=captions.context.background,
            owed=translations.owed,
            warned=translations.warned,
        )

    def go_on(self, checkpoint: Checkpoint, config: SegmenterConfig) -> None:
        """Go on where another process left off. Audio is then expected from its ``frame`` on.

        Raises ``ResumeImpossible``, and ``UnknownLanguage`` when other engines are here.
        """
        self._intake.go_on(checkpoint)
        self._terms.translate_to(checkpoint.targets)
        self.first_segment = checkpoint.segment
        self._captions.recall(checkpoint)
        segmenter = Segmenter(
            config,
            position=checkpoint.position,
            place=checkpoint.place,
            segment=checkpoint.segment,
        )
        segmenter.set_endpoint(checkpoint.endpoint_ms)
        self._hearing.go_on(segmenter, self._translations.recall(checkpoint))

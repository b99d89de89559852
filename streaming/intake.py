"""A client's audio as it comes in: bytes of some form, counted, on their way to be heard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streaming.actions import Action, Decode
from streaming.checkpoint import Checkpoint
from streaming.errors import ResumeImpossible
from streaming.hearing import Hearing
from streaming.pcm import CONTAINER_ENCODINGS, PcmDecoder
from streaming.types import SAMPLE_RATE, seconds


@dataclass(frozen=True, slots=True)
class Form:
    """What the bytes are. A container tells rate and channels itself."""

    encoding: str = "pcm_s16le"
    sample_rate: int = SAMPLE_RATE
    channels: int = 1

    @property
    def container(self) -> bool:
        return self.encoding in CONTAINER_ENCODINGS

    def decoder(self) -> PcmDecoder | None:
        """What makes samples of raw audio; None for a container. Raises as ``PcmDecoder`` does."""
        if self.container:
            return None
        return PcmDecoder(self.encoding, self.sample_rate, self.channels)


class Intake:
    """Takes the audio of one client. Raw audio is decoded here, a container by the driver."""

    def __init__(self, hearing: Hearing[Any], actions: list[Action]) -> None:
        self.form = Form()
        self.bytes = 0
        """Bytes received."""
        self._hearing = hearing
        self._actions = actions
        self._pcm: PcmDecoder | None = None
        """None for a container."""

    @property
    def container(self) -> bool:
        """Whether the driver decodes it. So it says, too, while the form is not known."""
        return self._pcm is None

    @property
    def received(self) -> float:
        """Seconds received; of a container, seconds that were decoded."""
        if self._pcm is None:
            return seconds(self._hearing.samples)
        return round(self.bytes / self._pcm.frame / self.form.sample_rate, 3)

    def begin(self, form: Form, pcm: PcmDecoder | None) -> None:
        """Expect audio of a form, with the decoder that was made for it."""
        self.form = form
        self._pcm = pcm

    def go_on(self, checkpoint: Checkpoint) -> None:
        """Expect audio from the checkpoint's ``frame`` on. Raises ``ResumeImpossible``."""
        form = Form(checkpoint.encoding, checkpoint.sample_rate, checkpoint.channels)
        pcm = form.decoder()
        if pcm is None:
            raise ResumeImpossible(
                "a container can only be decoded from its beginning: begin a new session, with a "
                "new container"
            )
        self.begin(form, pcm)
        self.bytes = checkpoint.frame * pcm.frame

    def take(self, data: bytes) -> None:
        """Take a piece of audio, cut anywhere."""
        self.bytes += len(data)
        if self._pcm is None:
            self._actions.append(Decode(data))
        else:
            self._hearing.hear(self._pcm.feed(data))

    def finish(self) -> bool:
        """No more will come. Whether all of it was heard: a container's rest is decoded first."""
        if self._pcm is None:
            self._actions.append(Decode(b"", last=True))
            return False
        self._hearing.hear(self._pcm.flush())
        return True

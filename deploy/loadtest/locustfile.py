"""Load on a running Surtitle, over REST and WebSocket, with Locust.

    pip install --group loadtest        # or: pip install locust websocket-client
    export SURTITLE_KEY=…               # a key whose tier allows as many streams
    locust -f deploy/loadtest/locustfile.py --host https://captions.example.org \
           --speech talk.wav --headless --users 10 --spawn-rate 1 --run-time 2m

Speakers send the WAV (16-bit PCM, mono, spoken pauses included) in real time, over and over.
Beside Locust's own figures there are three, in milliseconds, of type WSS:

- ``first text``: from when the words began to be sent until a partial shows some of them;
- ``final``: from when the last audio of an utterance was sent until its final came;
- ``stream``: a whole stream; it fails if it is refused, breaks, or ends without a final.

``bench/load`` finds how many speakers a machine holds; this shows how a site as a whole behaves.
"""

from __future__ import annotations

import json
import os
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import websocket
from locust import HttpUser, User, between, constant, events, task
from locust.env import Environment

FRAME_SECONDS = 0.1
ANSWER_SECONDS = 30.0


@events.init_command_line_parser.add_listener
def _options(parser: Any) -> None:
    parser.add_argument("--speech", required=True, help="WAV file, 16-bit PCM, mono")
    parser.add_argument("--language", default="en", help="language spoken in it")
    parser.add_argument("--target", default="", help="language to translate into, if any")
    parser.add_argument("--insecure", action="store_true", help="believe any certificate")


@events.init.add_listener
def _read(environment: Environment, **_: Any) -> None:
    """Take key and speech once, and stop at once if there are none."""
    options = environment.parsed_options
    if options is None:
        return
    if not os.environ.get("SURTITLE_KEY"):
        raise SystemExit("SURTITLE_KEY: a key is needed")
    with wave.open(options.speech, "rb") as file:
        if file.getsampwidth() != 2 or file.getnchannels() != 1:  # noqa: PLR2004 - bytes of 16 bits
            raise SystemExit(f"{options.speech}: 16-bit PCM, mono, is needed")
        Talk.rate = file.getframerate()
        Talk.audio = file.readframes(file.getnframes())


class Talk:
    """What is said, by everybody."""

    rate = 0
    audio = b""

    @classmethod
    def frames(cls) -> Iterator[bytes]:
        size = int(cls.rate * FRAME_SECONDS) * 2
        for at in range(0, len(cls.audio), size):
            yield cls.audio[at : at + size]


def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {os.environ['SURTITLE_KEY']}"}


class Speaker(User):
    """Speaks, pauses for a moment, and speaks again."""

    weight = 4
    wait_time = between(0.5, 2)

    @task
    def speak(self) -> None:
        began = time.perf_counter()
        failure: Exception | None = None
        try:
            _Stream(self.environment, str(self.host)).run()
        except (OSError, websocket.WebSocketException, StreamFailedError, gevent.Timeout) as error:
            failure = error if isinstance(error, Exception) else TimeoutError(str(error))
        _fire(self.environment, "stream", time.perf_counter() - began, failure)


class StreamFailedError(Exception):
    """A stream that the server ended with an error, or without a final."""


class _Stream:
    """One stream: a greenlet sends in real time while this one reads."""

    def __init__(self, environment: Environment, host: str) -> None:
        options = environment.parsed_options
        assert options is not None  # noqa: S101 - Locust has parsed them
        self._environment = environment
        self._start = {
            "type": "start",
            "sample_rate": Talk.rate,
            "source": options.language,
            "targets": [options.target] if options.target else [],
        }
        self._socket = websocket.create_connection(
            host.rstrip("/").replace("http", "ws", 1) + "/v1/stream",
            header=[f"{name}: {value}" for name, value in bearer().items()],
            timeout=ANSWER_SECONDS,
            sslopt={"cert_reqs": 0} if options.insecure else None,
        )
        self._sent_at: list[float] = []
        """When each frame had been sent: time of the audio to time of the clock."""
        self._finals = 0
        self._shown: set[int] = set()

    def run(self) -> None:
        self._socket.send(json.dumps(self._start))
        sending = gevent.spawn(self._send)
        try:
            self._receive()
        finally:
            sending.kill()
            self._socket.close()
        if not self._finals:
            raise StreamFailedError("there was no final")

    def _send(self) -> None:
        began = time.perf_counter()
        for number, frame in enumerate(Talk.frames(), 1):
            gevent.sleep(max(0.0, began + number * FRAME_SECONDS - time.perf_counter()))
            self._socket.send_binary(frame)
            self._sent_at.append(time.perf_counter())
        self._socket.send(json.dumps({"type": "stop"}))

    def _receive(self) -> None:
        while True:
            event = json.loads(self._socket.recv() or '{"type": "closed"}')
            match event["type"]:
                case "partial" if event["segment"] not in self._shown:
                    self._shown.add(event["segment"])
                    self._measure("first text", event["start"])
                case "final":
                    self._finals += 1
                    self._measure("final", event["end"])
                case "error" if event["fatal"]:
                    raise StreamFailedError(event["code"])
                case "done":
                    return
                case "closed":
                    raise StreamFailedError("closed before it was done")

    def _measure(self, name: str, audio_time: float) -> None:
        """From when audio of this time was sent until now."""
        frame = min(int(audio_time / FRAME_SECONDS), len(self._sent_at) - 1)
        if frame >= 0:
            _fire(self._environment, name, time.perf_counter() - self._sent_at[frame])


class Reader(HttpUser):
    """Asks for texts and looks things up."""

    weight = 1
    wait_time = constant(1)

    def on_start(self) -> None:
        options = self.environment.parsed_options
        self.client.verify = not (options and options.insecure)
        self.client.headers.update(bearer())

    @task(4)
    def translate(self) -> None:
        # A new text each time: cached answers say nothing of the engine.
        text = f"The meeting begins at {time.time_ns() % 86_400} seconds past midnight."
        body = {"text": text, "source": "en", "target": "pt"}
        self.client.post("/translate/text", json=body)

    @task(1)
    def transcribe(self) -> None:
        path = Path(str(getattr(self.environment.parsed_options, "speech", "")))
        with path.open("rb") as file:
            self.client.post("/transcribe/audio", files={"file": (path.name, file)})

    @task(2)
    def languages(self) -> None:
        self.client.get("/languages")

    @task(1)
    def ready(self) -> None:
        self.client.get("/health/simple")


def _fire(
    environment: Environment, name: str, seconds: float, exception: Exception | None = None
) -> None:
    environment.events.request.fire(
        request_type="WSS",
        name=name,
        response_time=seconds * 1000,
        response_length=0,
        exception=exception,
        context={},
    )

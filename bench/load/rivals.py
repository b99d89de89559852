"""Other servers, for comparison: WhisperLive 0.10.0 and WhisperLiveKit 0.2.26.

    python -m bench.load.rivals install --into DIR [--only whisperlive]

Each gets a virtual environment of its own below DIR; nothing of them is part of this project. Their
plain installations pull in CUDA, PyAudio and OpenVINO, none of which serving on a CPU needs, hence
``--no-deps`` and what they import by name. Both are then given the same CTranslate2 model files
as this server, and as many threads as the machine has cores.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

WHISPERLIVE, WHISPERLIVEKIT = "whisperlive", "whisperlivekit"
KINDS = (WHISPERLIVE, f"{WHISPERLIVE}-batch", WHISPERLIVEKIT)
PATHS: Mapping[str, str] = MappingProxyType({WHISPERLIVE: "/", WHISPERLIVEKIT: "/asr?language=en"})

_TORCH = "torch==2.13.0"
_HOME = "home"
_VAD = Path(".cache/whisper-live/silero_vad.onnx")
_SERVE_WHISPERLIVE = (
    "import sys; from whisper_live.server import TranscriptionServer as Server; "
    "Server().run('127.0.0.1', port=int(sys.argv[1]), backend='faster_whisper', "
    "faster_whisper_custom_model_path=sys.argv[2], single_model=True, max_clients=64, "
    "max_connection_time=7200, batch_enabled=sys.argv[3] == 'batch', batch_max_size=16)"
)


@dataclass(frozen=True, slots=True)
class Rival:
    """What is installed: first with, then without dependencies."""

    needs: tuple[str, ...]
    package: str


RIVALS: Mapping[str, Rival] = MappingProxyType(
    {
        WHISPERLIVE: Rival(
            (
                *(_TORCH, "faster-whisper==1.2.0", "requests", "websockets", "fastapi", "uvicorn"),
                *("python-multipart", "tqdm"),
            ),
            "whisper-live==0.10.0",
        ),
        WHISPERLIVEKIT: Rival(
            (
                *(_TORCH, "faster-whisper>=1.2.0", "requests", "librosa", "soundfile", "uvicorn"),
                *("fastapi", "starlette", "websockets", "tqdm", "tiktoken", "python-multipart"),
                "huggingface-hub",
            ),
            "whisperlivekit==0.2.26",
        ),
    }
)


def dialect(kind: str) -> str:
    """How a rival is spoken to."""
    return kind.removesuffix("-batch")


def environment(installed: Path) -> dict[str, str]:
    """Variables a rival runs with: a home of its own, no hub, all cores."""
    return {
        "HOME": str(installed / _HOME),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(os.cpu_count() or 1),
    }


def command(kind: str, installed: Path, *, port: int, model: Path) -> list[str]:
    """The command that serves on 127.0.0.1. Raises ``ValueError`` if it isn't installed."""
    binaries = installed / dialect(kind) / "bin"
    if not (binaries / "python").exists():
        raise ValueError(
            f"{dialect(kind)} is not in {installed}: python -m bench.load.rivals install "
            f"--into {installed}"
        )
    if dialect(kind) == WHISPERLIVE:
        batch = "batch" if kind.endswith("-batch") else "single"
        python = str(binaries / "python")
        return [python, "-c", _SERVE_WHISPERLIVE, str(port), str(model), batch]
    return [
        *(str(binaries / "wlk"), "serve", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend", "faster-whisper", "--backend-policy", "localagreement"),
        *("--model_dir", str(model), "--lan", "en", "--pcm-input", "--warmup-file", ""),
    ]


def install(name: str, into: Path) -> None:
    """Make a rival's environment anew. Raises ``subprocess.CalledProcessError``."""
    rival = RIVALS[name]
    folder = into / name
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    # torch first and by itself: it is to be the CPU build that its version names.
    subprocess.run([*pip, _TORCH], check=True)
    subprocess.run([*pip, *rival.needs], check=True)
    subprocess.run([*pip, "--no-deps", rival.package], check=True)
    if name == WHISPERLIVE:
        # It would download its detector on first use.
        target = into / _HOME / _VAD
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_detector(), target)


def _detector() -> Path:
    """Silero's model in the installed package, which can't be imported without torch."""
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package silero-vad is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "data" / "silero_vad.onnx"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("install")
    verb.add_argument("--into", type=Path, required=True)
    verb.add_argument("--only", choices=RIVALS)
    arguments = parser.parse_args()
    for name in [arguments.only] if arguments.only else RIVALS:
        install(name, arguments.into.resolve())
        print(f"{name}: {arguments.into.resolve() / name}")


if __name__ == "__main__":
    main()

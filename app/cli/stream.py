"""``surtitle stream``: a file, or the microphone, captioned live by a server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from app.cli.common import USAGE, fail

_DEFAULT = "ws://127.0.0.1:8000"


@click.command("stream")
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False
)
@click.option("--mic", is_flag=True, help="Caption the microphone instead of a file.")
@click.option("--to", "targets", multiple=True, help="Language to translate into; may be repeated.")
@click.option("--language", default="auto", show_default=True, help="What is spoken.")
@click.option(
    "--server", envvar="SURTITLE_SERVER", default=_DEFAULT, show_default=True, help="The server."
)
@click.option("--key", envvar="SURTITLE_KEY", help="API key (SURTITLE_KEY).")
def command(
    file: Path | None, mic: bool, targets: tuple[str, ...], language: str, server: str, key: str
) -> None:
    """Play FILE to a server as if it were spoken now, and show the captions live."""
    if mic == (file is not None):
        fail("give either a file or --mic", USAGE)
    from app.cli.captions import display
    from app.cli.client import StreamFailed, caption
    from app.cli.sources import file_source, microphone_source
    from streaming.errors import SurtitleError

    try:
        source = file_source(file) if file is not None else microphone_source()
        with display(sys.stdout, len(targets)) as show:
            asyncio.run(
                caption(
                    source, show, server=server, key=key, language=language, targets=list(targets)
                )
            )
    except StreamFailed as error:
        fail(str(error))
    except SurtitleError as error:
        fail(error.message)
    except KeyboardInterrupt:
        sys.exit(130)

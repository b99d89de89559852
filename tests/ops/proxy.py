"""NGINX as it is deployed, on ports and with files of a test's own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.app.test_tls import certificate
from tests.redis_server import free_port

ROOT: Final = Path(__file__).parents[2]
TEMPLATE: Final = ROOT / "deploy" / "nginx" / "surtitle.conf.template"
VARIABLES: Final = (
    *("SERVER_NAME", "HTTP_LISTEN", "HTTPS_LISTEN", "CERTIFICATE", "CERTIFICATE_KEY"),
    *("UPSTREAM_CONF", "LOG_DIR"),
)

# What a distribution's own nginx.conf has around conf.d; the account is that of the test.
_MAIN: Final = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/main.log notice;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  include {folder}/surtitle.conf;
}}
"""


@dataclass(frozen=True, slots=True)
class Proxy:
    """NGINX before some processes."""

    folder: Path
    http_port: int
    https_port: int
    tls: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.https_port}"

    @property
    def stream_url(self) -> str:
        return f"wss://127.0.0.1:{self.https_port}/v1/stream"

    def entries(self) -> list[dict[str, Any]]:
        """What is in the access log."""
        text = (self.folder / "access.log").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def logs(self) -> str:
        """All that was written, whatever the file."""
        return "".join(path.read_text(encoding="utf-8") for path in self.folder.glob("*.log"))


def render(folder: Path, **variables: str) -> Path:
    """The configuration, filled in as the documentation says."""
    assert set(variables) == set(VARIABLES)
    envsubst = shutil.which("envsubst")
    assert envsubst is not None, "envsubst (gettext-base) is not installed"
    filled = subprocess.run(
        [envsubst, " ".join(f"${name}" for name in VARIABLES)],
        input=TEMPLATE.read_text(encoding="utf-8"),
        env=variables,
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    user = "user root;" if os.getuid() == 0 else ""
    (folder / "surtitle.conf").write_text(filled, encoding="utf-8")
    main = folder / "nginx.conf"
    main.write_text(_MAIN.format(folder=folder, user=user), encoding="utf-8")
    return main


@contextmanager
def proxy(folder: Path, upstreams: Iterable[str]) -> Iterator[Proxy]:
    """NGINX with TLS before ``host:port`` …, checked with ``nginx -t`` before it is started."""
    binary = shutil.which("nginx")
    assert binary is not None, "nginx is not installed"
    folder.mkdir()
    chain, key = certificate(folder)
    servers = "".join(f"server {address} max_fails=0;\n" for address in upstreams)
    (folder / "upstream.conf").write_text(servers, encoding="utf-8")
    here = Proxy(folder, free_port(), free_port(), ssl.create_default_context(cafile=str(chain)))
    main = render(
        folder,
        SERVER_NAME="127.0.0.1",
        HTTP_LISTEN=f"127.0.0.1:{here.http_port}",
        HTTPS_LISTEN=f"127.0.0.1:{here.https_port}",
        CERTIFICATE=str(chain),
        CERTIFICATE_KEY=str(key),
        UPSTREAM_CONF=str(folder / "upstream.conf"),
        LOG_DIR=str(folder),
    )
    checked = subprocess.run(
        [binary, "-t", "-c", str(main)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen([binary, "-c", str(main)], stderr=subprocess.DEVNULL)
    try:
        _wait(process, here)
        yield here
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(process: subprocess.Popen[bytes], here: Proxy) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, here.logs()
        try:
            socket.create_connection(("127.0.0.1", here.https_port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"nginx does not listen:\n{here.logs()}")

"""TLS, with a certificate made for the test."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect

from app.server import ServeError, check_certificate
from app.settings import load
from tests.app.support import admin, running


def certificate(folder: Path, name: str = "server", password: bytes | None = None) -> list[Path]:
    """A self-signed certificate for 127.0.0.1 and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = [folder / f"{name}.pem", folder / f"{name}.key"]
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    return paths


async def test_requests_and_streams_over_tls(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(chain))
    async with running(tmp_path, ssl_certfile=chain, ssl_keyfile=key) as (address, _, _):
        async with httpx.AsyncClient(verify=context) as http:
            response = await http.get(f"https://{address}/health")
            assert response.status_code == 200
            assert response.headers["strict-transport-security"] == "max-age=31536000"
        url = f"wss://{address}/v1/stream"
        async with connect(url, ssl=context, additional_headers=admin()) as socket:
            await socket.send(json.dumps({"type": "start"}))
            assert json.loads(await socket.recv())["type"] == "ready"
        old = ssl.create_default_context(cafile=str(chain))
        old.minimum_version = ssl.TLSVersion.TLSv1_2
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        async with httpx.AsyncClient(verify=old) as http:
            assert (await http.get(f"https://{address}/health")).status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            async with httpx.AsyncClient() as http:
                await http.get(f"http://{address}/health")


@pytest.mark.parametrize("wrong", ["another's key", "no PEM", "encrypted key"])
def test_what_is_no_certificate_stops_the_start_with_one_line(tmp_path: Path, wrong: str) -> None:
    chain, key = certificate(tmp_path)
    if wrong == "another's key":
        _, key = certificate(tmp_path, "other")
    elif wrong == "no PEM":
        chain.write_text("none")
    else:
        chain, key = certificate(tmp_path, "locked", password=b"secret")
    settings = load(data_dir=tmp_path, ssl_certfile=str(chain), ssl_keyfile=str(key))
    with pytest.raises(ServeError, match=r"^SURTITLE_SSL_CERTFILE, SURTITLE_SSL_KEYFILE") as caught:
        check_certificate(settings)
    assert "\n" not in str(caught.value)


def test_a_right_pair_passes(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    check_certificate(load(data_dir=tmp_path, ssl_certfile=str(chain), ssl_keyfile=str(key)))
    check_certificate(load(data_dir=tmp_path))

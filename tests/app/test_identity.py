from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest

from app.identity import build_throttle, build_tokens
from app.settings import SettingsError, load
from app.state import State, opened
from guards.principal import Tier
from tests.guards.signing import ec_jwk, key_set, rsa_jwk


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    async with opened(load(data_dir=tmp_path)) as found:
        yield found


async def test_tokens_are_signed_with_the_first_key_of_the_file(
    tmp_path: Path, state: State
) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(ec_jwk("new"), rsa_jwk("old")))
    settings = load(data_dir=tmp_path, jwt_keys=path, jwt_issuer="us", jwt_audience="them")
    tokens, closers = build_tokens(settings, state.keyring, state.pepper)
    key, _ = await state.keyring.issue(user_id="ana", tier=Tier.FREE)
    token = tokens.issue(await state.keyring.authenticate(key))
    assert jwt.get_unverified_header(token) == {"typ": "JWT", "alg": "ES256", "kid": "new"}
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["iss"], claims["aud"]) == ("us", "them")
    assert closers == []


async def test_without_a_file_servers_of_one_pepper_take_each_others(
    tmp_path: Path, state: State
) -> None:
    settings = load(data_dir=tmp_path)
    one, other = (build_tokens(settings, state.keyring, state.pepper)[0] for _ in range(2))
    key, record = await state.keyring.issue(user_id="ana", tier=Tier.FREE)
    token = one.issue(await state.keyring.authenticate(key))
    assert (await other.authenticate(token)).key_id == record.key_id


@pytest.mark.parametrize(
    "content", [b"", b"{}", key_set(), key_set(rsa_jwk(private=False)), key_set(rsa_jwk(bits=1024))]
)
async def test_a_file_that_can_not_sign_stops_the_start(
    tmp_path: Path, state: State, content: bytes
) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"^SURTITLE_JWT_KEYS: ") as caught:
        build_tokens(load(data_dir=tmp_path, jwt_keys=path), state.keyring, state.pepper)
    assert "\n" not in str(caught.value)


async def test_the_throttle_can_be_turned_off(tmp_path: Path, state: State) -> None:
    off = load(data_dir=tmp_path, login_failures_per_minute=0)
    assert build_throttle(off, state.windows) is None
    assert build_throttle(load(data_dir=tmp_path), state.windows) is not None

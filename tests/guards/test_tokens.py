from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest

from guards.errors import ExpiredCredential, Forbidden, InvalidCredential, KeyRevoked
from guards.jwks import Key, KeySet, parse_key_set
from guards.keyring import Keyring
from guards.principal import ADMIN, STREAM, TRANSLATE, WORK, Credential, Principal, Tier
from guards.sqlite import Database
from guards.sqlite_keys import SqliteKeyStore
from guards.tokens import Issuer, Tokens, looks_like_token
from tests.guards.signing import ec_jwk, key_set, oct_jwk, rsa_jwk, sign

ISSUER = "https://id.example/"


def parsed(*keys: dict[str, Any], ours: bool = True) -> KeySet:
    return parse_key_set(key_set(*keys), ours=ours)


@pytest.fixture
async def keyring(tmp_path: Path) -> AsyncIterator[Keyring]:
    database = await Database.open(tmp_path / "surtitle.db")
    yield Keyring(SqliteKeyStore(database), b"p" * 32)
    await database.close()


def make(keyring: Keyring, *keys: dict[str, Any], **options: Any) -> Tokens:
    external = parsed(rsa_jwk("idp", private=False), ours=False)

    async def find(kid: str) -> Key | None:
        return external.get(kid)

    return Tokens(
        keyring,
        parsed(*(keys or (oct_jwk(),))),
        issuer="surtitle",
        audience="captions",
        external=Issuer(name=ISSUER, audience="captions-of-ours", find=find),
        **options,
    )


async def principal_of(keyring: Keyring, tier: Tier = Tier.PRO, **options: Any) -> Principal:
    key, _ = await keyring.issue(user_id="ana", tier=tier, **options)
    return await keyring.authenticate(key)


def claims(principal: Principal, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    ours = {
        "iss": "surtitle",
        "aud": "captions",
        "sub": principal.user_id,
        "key": principal.key_id,
        "scope": "stream",
        "iat": now,
        "nbf": now,
        "exp": now + 60,
    }
    return {name: value for name, value in (ours | changes).items() if value is not None}


def foreign(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    theirs = {
        "iss": ISSUER,
        "aud": "captions-of-ours",
        "sub": "rui",
        "scope": "stream admin openid",
        "exp": now + 60,
    }
    return {name: value for name, value in (theirs | changes).items() if value is not None}


@pytest.mark.parametrize("key", [oct_jwk(), rsa_jwk(), ec_jwk()], ids=["HS256", "RS256", "ES256"])
async def test_a_token_stands_for_its_key(keyring: Keyring, key: dict[str, Any]) -> None:
    principal = await principal_of(keyring)
    tokens = make(keyring, key)
    token = tokens.issue(principal)
    assert looks_like_token(token)
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["kid"]) == (key["alg"], key["kid"])
    assert await tokens.authenticate(token) == replace(principal, credential=Credential.TOKEN)


async def test_a_token_may_do_less_than_its_key_and_never_more(keyring: Keyring) -> None:
    principal = await principal_of(keyring)
    tokens = make(keyring)
    narrow = await tokens.authenticate(tokens.issue(principal, scopes=[STREAM]))
    assert narrow.scopes == {STREAM}
    with pytest.raises(Forbidden) as caught:
        tokens.issue(principal, scopes=[STREAM, ADMIN])
    assert caught.value.details == {"scopes": [ADMIN]}
    token = tokens.issue(principal)
    await keyring.amend(principal.key_id, {"scopes": frozenset({TRANSLATE}), "tier": Tier.FREE})
    later = await tokens.authenticate(token)
    assert later.scopes == {TRANSLATE}
    assert later.tier is Tier.FREE


async def test_an_administrators_token(keyring: Keyring) -> None:
    admin = await principal_of(keyring, Tier.ADMIN)
    tokens = make(keyring)
    assert (await tokens.authenticate(tokens.issue(admin))).scopes == WORK | {ADMIN}
    narrow = await tokens.authenticate(tokens.issue(admin, scopes=[TRANSLATE]))
    assert narrow.scopes == {TRANSLATE}
    assert not narrow.may(ADMIN)


async def test_a_token_does_not_prolong_itself(keyring: Keyring) -> None:
    tokens = make(keyring)
    holder = await tokens.authenticate(tokens.issue(await principal_of(keyring)))
    with pytest.raises(Forbidden, match="not for another token"):
        tokens.issue(holder)


async def test_a_token_ends_with_its_key(keyring: Keyring) -> None:
    principal = await principal_of(keyring)
    tokens = make(keyring)
    token = tokens.issue(principal)
    await keyring.revoke(principal.key_id)
    with pytest.raises(KeyRevoked):
        await tokens.authenticate(token)
    deleted = sign(claims(replace(principal, key_id="key_none")), oct_jwk())
    with pytest.raises(KeyRevoked):
        await tokens.authenticate(deleted)


async def test_keys_rotate(keyring: Keyring) -> None:
    principal = await principal_of(keyring)
    before = make(keyring, oct_jwk("2025"))
    both = make(keyring, ec_jwk("2026"), oct_jwk("2025"))
    after = make(keyring, ec_jwk("2026"))
    old, new = before.issue(principal), both.issue(principal)
    assert jwt.get_unverified_header(new)["kid"] == "2026"
    for token in (old, new):
        assert (await both.authenticate(token)).key_id == principal.key_id
    assert (await after.authenticate(new)).key_id == principal.key_id
    with pytest.raises(InvalidCredential, match="kid"):
        await after.authenticate(old)


async def test_a_set_that_can_only_verify_is_no_set_of_ours(keyring: Keyring) -> None:
    with pytest.raises(ValueError, match="no key that can sign"):
        make(keyring, rsa_jwk(private=False))


def unsigned(body: dict[str, Any], algorithm: str, kid: str) -> str:
    parts = ({"alg": algorithm, "typ": "JWT", "kid": kid}, body)
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return b".".join([*coded, b""]).decode()


def tampered(token: str, **changes: Any) -> str:
    head, body, signature = token.split(".")
    content = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    changed = base64.urlsafe_b64encode(json.dumps(content | changes).encode()).rstrip(b"=")
    return f"{head}.{changed.decode()}.{signature}"


async def test_forgeries(keyring: Keyring) -> None:
    principal = await principal_of(keyring)
    tokens = make(keyring, rsa_jwk(), oct_jwk())
    good = claims(principal)
    # The classic: the public key, which everybody has, as an HMAC secret.
    public = jwt.PyJWK(rsa_jwk(private=False)).key.public_numbers()
    secret = f"{public.n}".encode()
    signed = sign(good, rsa_jwk())
    forged = [
        unsigned(good, "none", "rsa"),
        unsigned(good, "None", "oct"),
        unsigned(good, "HS256", "oct"),
        sign(good, oct_jwk("rsa", secret)),
        jwt.encode(good, b"s" * 64, "HS512", {"kid": "oct"}),
        jwt.encode(good, b"s" * 32, "HS256"),
        sign(good, oct_jwk("oct", b"t" * 32)),
        sign(good, oct_jwk("other")),
        tampered(signed, scope="admin"),
        tampered(signed, key="key_environment"),
        signed[:-4] + ("AAAA" if signed[-4:] != "AAAA" else "BBBB"),
        "eyJ.eyJ.",
        "eyJhbGciOiJIUzI1NiJ9.W10.x",
        "eyJ" + "a" * 9000 + "..",
    ]
    for token in forged:
        with pytest.raises(InvalidCredential):
            await tokens.authenticate(token)
    assert (await tokens.authenticate(signed)).user_id == "ana"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "others"},
        {"aud": None},
        {"iss": "others"},
        {"iss": None},
        {"iss": ISSUER},
        {"exp": None},
        {"exp": "soon"},
        {"sub": None},
        {"nbf": int(time.time()) + 3600},
        {"iat": int(time.time()) + 3600},
    ],
)
async def test_wrong_claims(keyring: Keyring, changes: dict[str, Any]) -> None:
    principal = await principal_of(keyring)
    tokens = make(keyring)
    with pytest.raises(InvalidCredential):
        await tokens.authenticate(sign(claims(principal, **changes), oct_jwk()))


async def test_an_expired_token(keyring: Keyring) -> None:
    principal = await principal_of(keyring)
    past = sign(claims(principal, exp=int(time.time()) - 60), oct_jwk())
    with pytest.raises(ExpiredCredential):
        await make(keyring).authenticate(past)
    within_leeway = sign(claims(principal, exp=int(time.time()) - 5), oct_jwk())
    await make(keyring).authenticate(within_leeway)


async def test_the_lifetime_is_a_setting(keyring: Keyring) -> None:
    principal = await principal_of(keyring)
    tokens = make(keyring, lifetime=120, clock=lambda: 1000.0)
    for token, expires in (
        (tokens.issue(principal), 1120),
        (tokens.issue(principal, lifetime=30), 1030),
    ):
        body = jwt.decode(token, options={"verify_signature": False})
        assert (body["iat"], body["nbf"], body["exp"]) == (1000, 1000, expires)


async def test_an_external_issuers_user(keyring: Keyring) -> None:
    tokens = make(keyring, tier=Tier.BASIC)
    body = foreign()
    principal = await tokens.authenticate(sign(body, rsa_jwk("idp")))
    assert principal.user_id == f"{ISSUER}|rui"
    assert principal.key_id.startswith("sub_")
    assert (principal.tier, principal.issuer) == (Tier.BASIC, ISSUER)
    assert principal.scopes == {STREAM}
    assert principal.expires_at == datetime.fromtimestamp(body["exp"], UTC)
    assert principal.credential is Credential.TOKEN
    listed = foreign(scope=sorted(WORK), tier="pro")
    rich = await tokens.authenticate(sign(listed, rsa_jwk("idp")))
    assert (rich.tier, rich.scopes) == (Tier.PRO, WORK)
    risen = await tokens.authenticate(sign(foreign(tier="admin", scope=7), rsa_jwk("idp")))
    assert (risen.tier, risen.scopes) == (Tier.BASIC, frozenset())


@pytest.mark.parametrize("exp", ["17955947540", 2**60, 1.5e10])
async def test_an_end_that_is_far_away(keyring: Keyring, exp: Any) -> None:
    principal = await make(keyring).authenticate(sign(foreign(exp=exp), rsa_jwk("idp")))
    assert principal.expires_at is not None
    assert principal.expires_at.year > 2400


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"aud": "captions"}, rsa_jwk("idp")),
        ({"sub": "x" * 129}, rsa_jwk("idp")),
        ({"sub": ""}, rsa_jwk("idp")),
        ({"sub": 7}, rsa_jwk("idp")),
        ({"exp": float("inf")}, rsa_jwk("idp")),
        ({"exp": []}, rsa_jwk("idp")),
        ({"nbf": float("nan")}, rsa_jwk("idp")),
        ({}, rsa_jwk("unknown")),
        # Each issuer's tokens are checked by its own keys.
        ({}, oct_jwk()),
        ({"iss": "surtitle", "aud": "captions"}, rsa_jwk("idp")),
    ],
)
async def test_external_tokens_that_are_refused(
    keyring: Keyring, changes: dict[str, Any], key: dict[str, Any]
) -> None:
    with pytest.raises(InvalidCredential):
        await make(keyring).authenticate(sign(foreign(**changes), key))

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import Settings, SettingsError, default_data_dir, load, variable
from app.settings_report import env_example, report, unknown_variables


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of the machine and no .env of the checkout."""
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_defaults() -> None:
    settings = load()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.asr_model, settings.device) == ("base", "auto")
    assert settings.admin_key is None
    assert settings.database.parent == settings.data_dir


def test_the_environment_wins_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("SURTITLE_PORT=9001\nSURTITLE_HOST=0.0.0.0\nOTHER=1\n")
    monkeypatch.setenv("SURTITLE_PORT", "9002")
    settings = load()
    assert (settings.host, settings.port) == ("0.0.0.0", 9002)
    sources = {entry.variable: entry.source for entry in report(settings)}
    assert sources["SURTITLE_PORT"] == "environment"
    assert sources["SURTITLE_HOST"] == ".env"
    assert sources["SURTITLE_DEVICE"] == "default"


def test_what_is_given_wins_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURTITLE_PORT", "9002")
    assert load(port=9003, host=None).port == 9003


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURTITLE_ALLOWED_ORIGINS", "https://A.example/, http://b.example:80")
    monkeypatch.setenv("SURTITLE_TRUSTED_PROXIES", "10.0.0.0/8,::1")
    settings = load()
    assert settings.allowed_origins == ("https://a.example", "http://b.example")
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURTITLE_PORT", "")
    monkeypatch.setenv("SURTITLE_ADMIN_KEY", "")
    monkeypatch.setenv("REDIS_URL", "")
    assert load().port == 8000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SURTITLE_PORT", "eighty"),
        ("SURTITLE_PORT", "70000"),
        ("SURTITLE_DEVICE", "gpu"),
        ("SURTITLE_COMPUTE_TYPE", "int4"),
        ("SURTITLE_ADMIN_KEY", "two words"),
        ("SURTITLE_ADMIN_KEY", "schlüssel"),
        ("SURTITLE_ALLOWED_ORIGINS", "example.org"),
        ("SURTITLE_TRUSTED_PROXIES", "proxy"),
        ("SURTITLE_TRANSLATION_MODELS", "/nowhere/at/all"),
        ("SURTITLE_SSL_CERTFILE", "/nowhere/at/all"),
        ("SURTITLE_ENDPOINT_MS", "1"),
        ("SURTITLE_MAX_UPLOAD_BYTES", "-1"),
        ("SURTITLE_LOG_LEVEL", "loud"),
        ("SURTITLE_JWT_KEYS", "/nowhere/at/all"),
        ("SURTITLE_JWKS_URL", "http://id.example/jwks"),
        ("SURTITLE_JWKS_URL", "jwks"),
        ("SURTITLE_JWKS_TIER", "admin"),
        ("SURTITLE_TOKEN_SECONDS", "1"),
        ("REDIS_URL", "http://user:secret@host"),
        ("REDIS_URL", "redis://user:secret@host:port"),
        ("REDIS_URL", "redis://user:secret@one,two"),
        ("REDIS_URL", "redis+sentinel://user:secret@one,two"),
        ("REDIS_URL", "redis+cluster://user:secret@one/1"),
        ("SURTITLE_REDIS_PREFIX", "two words"),
        ("SURTITLE_PEPPER", "secret"),
        ("SURTITLE_AWAY_AUTH", "maybe"),
        ("SURTITLE_TIERS_FILE", "/nowhere/at/all"),
        ("SURTITLE_BREAKERS", "redis"),
        ("SURTITLE_BREAKERS", "redis=0/1"),
        ("SURTITLE_BREAKERS", "redis=1/0"),
        ("SURTITLE_BREAKER_FAILURES", "0"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load()
    line = str(caught.value)
    assert line.startswith(f"{name}: ")
    assert "\n" not in line
    assert "secret" not in line
    assert "schlüssel" not in line


def test_a_certificate_needs_its_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("x")
    monkeypatch.setenv("SURTITLE_SSL_CERTFILE", str(tmp_path / "cert.pem"))
    with pytest.raises(SettingsError, match=r"^SURTITLE_SSL_KEYFILE: "):
        load()


def test_an_external_issuer_needs_its_keys_and_a_name_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SURTITLE_JWKS_URL", "https://id.example/jwks")
    with pytest.raises(SettingsError, match=r"^SURTITLE_JWKS_ISSUER: "):
        load()
    monkeypatch.setenv("SURTITLE_JWKS_ISSUER", "surtitle")
    with pytest.raises(SettingsError, match=r"^SURTITLE_JWKS_ISSUER: "):
        load()
    monkeypatch.setenv("SURTITLE_JWKS_ISSUER", "https://id.example/")
    assert load().jwks_url == "https://id.example/jwks"
    monkeypatch.delenv("SURTITLE_JWKS_URL")
    with pytest.raises(SettingsError, match=r"^SURTITLE_JWKS_URL: "):
        load()


def translator(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"SURTITLE_TRANSLATORS__FAR__{name}", value)


def test_translators_have_settings_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    translator(
        monkeypatch, URL="https://mt.example", API_KEY="very-secret", FIRST="de>en, pt-BR>en"
    )
    monkeypatch.setenv("SURTITLE_TRANSLATORS__CHAT__URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("SURTITLE_TRANSLATORS__CHAT__DIALECT", "openai")
    monkeypatch.setenv("SURTITLE_TRANSLATORS__CHAT__MODEL", "small")
    monkeypatch.setenv("SURTITLE_TRANSLATORS__CHAT__LANGUAGES", "en, de")
    monkeypatch.setenv("SURTITLE_TRANSLATORS__CHAT__FIRST", "all")
    settings = load()
    assert set(settings.translators) == {"far", "chat"}
    assert settings.translators["far"].first_pairs == frozenset({("de", "en"), ("pt-BR", "en")})
    assert settings.translators["chat"].first_pairs is True
    assert settings.translators["chat"].tags == ("en", "de")
    assert settings.secrets == ["very-secret"]
    assert unknown_variables() == []
    (entry,) = (one for one in report(settings) if one.variable == "SURTITLE_TRANSLATORS")
    assert (entry.value, entry.source) in [
        (["far", "chat"], "environment"),
        (["chat", "far"], "environment"),
    ]
    assert "very-secret" not in repr(report(settings)) + repr(settings)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"API_KEY": "k"}, "FAR__URL"),
        ({"URL": "mt.example"}, "FAR__URL"),
        ({"URL": "https://user:secret@mt.example"}, "FAR__URL"),
        ({"URL": "https://mt.example?api_key=secret"}, "FAR__URL"),
        ({"URL": "https://mt.example", "FIRST": "de"}, "FAR__FIRST"),
        ({"URL": "https://mt.example", "DIALECT": "deepl"}, "FAR__DIALECT"),
        ({"URL": "https://mt.example", "TIMEOUT_SECONDS": "0"}, "FAR__TIMEOUT_SECONDS"),
        ({"URL": "https://mt.example", "KEY": "secret"}, "FAR__KEY"),
        ({"URL": "https://mt.example", "DIALECT": "openai", "LANGUAGES": "en,de"}, "FAR"),
        ({"URL": "https://mt.example", "DIALECT": "openai", "MODEL": "m"}, "FAR"),
    ],
)
def test_what_is_wrong_with_a_translator_is_one_line(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], name: str
) -> None:
    translator(monkeypatch, **values)
    with pytest.raises(SettingsError) as caught:
        load()
    line = str(caught.value)
    assert line.startswith(f"SURTITLE_TRANSLATORS__{name}: ")
    assert "\n" not in line
    assert "secret" not in line


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURTITLE_ADMIN_KEY", "very-secret")
    settings = load()
    assert "very-secret" not in repr(report(settings))
    assert "very-secret" not in repr(settings)


def test_secrets_are_known_to_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().secrets == []
    monkeypatch.setenv("SURTITLE_ADMIN_KEY", "very-secret")
    monkeypatch.setenv("SURTITLE_PEPPER", "p" * 32)
    monkeypatch.setenv("REDIS_URL", "redis://user:w%20rd@host/0")
    assert set(load().secrets) == {
        "very-secret",
        "p" * 32,
        "redis://user:w%20rd@host/0",
        "w rd",
    }


def test_an_unknown_variable_is_told_with_what_was_meant(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SURTITLE_MODEL_ASR=x\n")
    lines = unknown_variables({"SURTITLE_PROT": "1", "SURTITLE_KEY": "k", "PATH": "/"})
    assert lines[0].startswith("SURTITLE_MODEL_ASR: no such setting")
    assert lines[1] == "SURTITLE_PROT: no such setting; did you mean SURTITLE_PORT?"
    assert len(lines) == 2


def test_the_data_directory_follows_the_platform(tmp_path: Path) -> None:
    assert default_data_dir({"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "surtitle"
    assert default_data_dir({"XDG_DATA_HOME": "relative"}) == default_data_dir({})
    assert default_data_dir({}).name == "surtitle"


def test_every_setting_is_described_and_in_the_example() -> None:
    example = Path(__file__).parents[2] / ".env.example"
    assert example.read_text(encoding="utf-8") == env_example()
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"# {variable(name)}=" in env_example()

"""Settings: the environment (prefix ``SURTITLE_``), then ``.env``, then the defaults here."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.setting_types import (
    AnyCase,
    BreakerPolicies,
    DataDirectory,
    ExistingDirectories,
    ExistingFile,
    HeaderSecret,
    Networks,
    Origins,
    RedisUrl,
    Rising,
    SecureUrl,
    UserTier,
)
from app.translator_settings import RemoteTranslator, named_translators
from guards.principal import Tier

PREFIX: Final = "SURTITLE_"
ENV_FILE: Final = ".env"

MIB: Final = 1024 * 1024

ComputeType = Literal[
    "default",
    "auto",
    "int8",
    "int8_float32",
    "int8_float16",
    "int8_bfloat16",
    "int16",
    "float16",
    "bfloat16",
    "float32",
]


class SettingsError(Exception):
    """A setting that can't be: one line that names its variable."""


def default_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Where this platform keeps an application's data (``XDG_DATA_HOME`` is honoured)."""
    if sys.platform == "win32":
        root = environ.get("LOCALAPPDATA")
        return Path(root) / "surtitle" if root else Path.home() / "AppData/Local/surtitle"
    given = environ.get("XDG_DATA_HOME", "")
    if Path(given).is_absolute():
        return Path(given) / "surtitle"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/surtitle"
    return Path.home() / ".local/share/surtitle"


class Settings(BaseSettings):
    """All settings. Read them with :func:`load`, which turns what is wrong into one line."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        env_nested_delimiter="__",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    data_dir: DataDirectory = Field(
        default_factory=default_data_dir,
        description="Directory for keys and models (default: the platform's own data directory).",
    )
    admin_key: HeaderSecret | None = Field(
        None,
        description="An admin key that always works, 16 characters or more; without one, the first "
        "start makes one.",
    )
    redis_url: RedisUrl | None = Field(
        None,
        validation_alias=AliasChoices("REDIS_URL"),
        description="Where several servers share their state: redis://, rediss://, unix://, "
        "redis+sentinel://host,host/service or redis+cluster://host,host. Without it state is kept "
        "in the data directory and in memory, for one server.",
    )
    redis_prefix: str = Field(
        "surtitle", pattern=r"^[\w.:-]{1,64}$", description="Beginning of every key in Redis."
    )
    redis_wait_seconds: float = Field(
        30.0,
        ge=0,
        le=600,
        description="How long a server that starts waits for a Redis that does not answer, until "
        "it gives up.",
    )
    pepper: SecretStr | None = Field(
        None,
        min_length=32,
        description="Secret with which API keys are hashed, for servers that share Redis and not "
        "their data directory. Without one it is made and kept there.",
    )
    away_auth: Annotated[Literal["closed", "open"], AnyCase] = Field(
        "closed",
        description="While Redis is away: turn new requests and streams away (closed), or believe "
        "the keys that this server has seen before (open).",
    )
    away_metering: Annotated[Literal["open", "closed"], AnyCase] = Field(
        "open",
        description="While Redis is away: note usage in the data directory and book it later "
        "(open), or turn away what is new (closed). What runs goes on and is noted.",
    )
    tiers_file: ExistingFile | None = Field(
        None, description="TOML file with the limits of tiers that are not the default."
    )
    adaptive_limits: bool = Field(
        True, description="Whether limits of the lower tiers shrink while the server is overloaded."
    )

    token_seconds: int = Field(
        900, ge=10, le=86_400, description="How long a token of POST /auth/token is good for."
    )
    jwt_keys: ExistingFile | None = Field(
        None,
        description="JSON Web Key set (RFC 7517) that tokens are signed with, HS256, RS256 or "
        "ES256: the first key signs, all verify (default: one key made from the pepper).",
    )
    jwt_issuer: str = Field("surtitle", min_length=1, description="Issuer (`iss`) of our tokens.")
    jwt_audience: str = Field(
        "surtitle", min_length=1, description="Audience (`aud`) of our tokens."
    )
    jwks_url: SecureUrl | None = Field(
        None,
        description="Where an external token issuer publishes its keys; its users need none here.",
    )
    jwks_issuer: str | None = Field(
        None, min_length=1, description="The external issuer's name (`iss`); needed with the URL."
    )
    jwks_audience: str = Field(
        "surtitle", min_length=1, description="Audience (`aud`) of the external issuer's tokens."
    )
    jwks_tier: UserTier = Field(
        Tier.FREE, description="Tier of the external issuer's users whose token names none."
    )
    login_failures_per_minute: int = Field(
        100,
        ge=0,
        description="Wrong credentials after which an address has to wait; 0 counts none.",
    )

    asr_model: str = Field(
        "base", min_length=1, description="Whisper model: a name, a directory or a hub id."
    )
    device: Annotated[Literal["auto", "cpu", "cuda"], AnyCase] = Field(
        "auto", description="Where models run."
    )
    compute_type: Annotated[ComputeType, AnyCase] = Field(
        "default", description="Number format of the weights; default: int8 on CPU."
    )
    asr_replicas: int | None = Field(
        None, ge=1, le=64, description="Speech workers side by side (default: fits the machine)."
    )
    asr_threads: int | None = Field(
        None, ge=1, le=256, description="Threads of each speech worker (default: fits the machine)."
    )
    capacity_strain: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the speech workers' time that finals may take before new streams are "
        "refused: more streams with later finals, or fewer with earlier ones (default: by the "
        "number of workers, and their speed).",
    )
    translation_models: ExistingDirectories = Field(
        (), description="Directories of CTranslate2 translation models, separated by commas."
    )

    translators: Annotated[dict[str, RemoteTranslator], BeforeValidator(named_translators)] = Field(
        default_factory=dict,
        description="Translation services elsewhere, each by a name of its own: "
        "SURTITLE_TRANSLATORS__LIBRE__URL and so on. See docs/remote-engines.md.",
    )
    translation_cache_seconds: int = Field(
        86_400,
        ge=0,
        le=2_592_000,
        description="How long translations of texts are kept, in Redis if there is one; 0: not.",
    )
    translation_cache_mib: int = Field(
        16, ge=1, le=65_536, description="Most memory for them, in the process and in Redis each."
    )
    transcript_cache_seconds: int = Field(
        86_400,
        ge=0,
        le=2_592_000,
        description="How long transcripts of files are kept, in Redis if there is one; 0: not.",
    )
    transcript_cache_mib: int = Field(
        64, ge=1, le=65_536, description="Most memory for them, in the process and in Redis each."
    )
    breaker_failures: int = Field(
        5, ge=1, le=1000, description="Failed calls in a row after which a service is left alone."
    )
    breaker_recovery_seconds: float = Field(
        10.0, gt=0, le=3600, description="How long it is left alone before one call is tried."
    )
    breakers: BreakerPolicies = Field(
        ("redis=1/0.5",),
        description="Services with breakers of their own, name=failures/seconds, separated by "
        "commas. Names are those of GET /admin/circuit-breakers.",
    )

    allowed_origins: Origins = Field(
        (),
        description="Origins of other web pages that may use this server, separated by commas.",
    )
    trusted_proxies: Networks = Field(
        (),
        description="Addresses or networks of proxies whose X-Forwarded headers are believed, "
        "separated by commas.",
    )
    hsts_seconds: int = Field(
        31_536_000,
        ge=0,
        description="How long browsers shall insist on TLS once they had it; 0 does not tell them.",
    )
    ssl_certfile: ExistingFile | None = Field(None, description="TLS certificate chain, PEM.")
    ssl_keyfile: ExistingFile | None = Field(None, description="TLS private key, PEM.")

    max_upload_bytes: int = Field(
        200 * MIB, ge=1024, description="Largest file POST /transcribe/audio takes."
    )
    max_audio_seconds: float = Field(
        7200.0, gt=0, le=86_400, description="Longest audio file that is transcribed, in seconds."
    )
    max_text_chars: int = Field(
        50_000, ge=1, description="Most characters one POST /translate/text may hold."
    )
    max_message_bytes: int = Field(
        MIB, ge=4096, le=16 * MIB, description="Largest WebSocket message a client may send."
    )

    endpoint_ms: int = Field(
        800,
        ge=100,
        le=5000,
        description="Silence that ends an utterance at the latest, in milliseconds.",
    )
    start_timeout_seconds: float = Field(
        10.0, gt=0, description="How long a new connection may wait with its `start`."
    )
    idle_timeout_seconds: float = Field(
        60.0, gt=0, description="How long a connection may be silent: no audio and no keepalive."
    )
    resume_seconds: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="How long a stream outlives its connection, for the client to come back; "
        "0 ends it with the connection.",
    )
    resume_log: Annotated[Literal["memory", "disk"], AnyCase] = Field(
        "memory",
        description="Where streams are kept for clients that come back: in memory, or on the disk, "
        "so that they outlive a restart. With Redis they are kept there.",
    )
    ticket_seconds: float = Field(
        60.0, gt=0, le=3600, description="How long an unused WebSocket ticket is good for."
    )
    drain_timeout_seconds: float = Field(
        20.0, ge=0, description="How long a stop waits for running sessions to get their finals."
    )

    model_timeout_seconds: float = Field(
        60.0,
        ge=1,
        le=3600,
        description="Longest that a call of a model may take. One that takes longer has hung: its "
        "worker is replaced, and its jobs are done once more.",
    )
    model_timeout_factor: float = Field(
        10.0,
        ge=2,
        description="How many times longer than the slowest of late a call may take (10 s in any "
        "case) before it has hung.",
    )
    max_hung_calls: int = Field(
        3,
        ge=0,
        le=64,
        description="Calls of a model that may hang at once. With more the server is not ready, "
        "and GET /health/live asks for a restart.",
    )
    canary_interval_seconds: float = Field(
        30.0,
        ge=0,
        description="How long a model may be idle before it is asked something small, to know that "
        "it answers; 0 never asks.",
    )
    canary_timeout_seconds: float = Field(
        10.0, gt=0, le=600, description="How long a model may take to answer that."
    )
    health_cpu_percent: Rising = Field(
        (80, 95),
        description="Processors in use, mean of a minute: from where on /health is degraded, and "
        "from where on critical. So are the others.",
    )
    health_memory_percent: Rising = Field(
        (80, 95), description="Memory in use, of the container's limit where that is tighter."
    )
    health_disk_percent: Rising = Field((85, 95), description="Disk of the data directory in use.")
    health_gpu_memory_percent: Rising = Field(
        (85, 95), description="Memory of the fullest GPU in use."
    )
    health_store_seconds: Rising = Field(
        (0.1, 1.0), description="How long Redis, or the database, takes to answer a ping."
    )
    health_model_seconds: Rising = Field(
        (2.0, 8.0), description="How long an idle model takes to answer something small."
    )
    health_queue_wait_seconds: Rising = Field(
        (1.0, 5.0), description="How long jobs wait for a worker."
    )
    health_loop_delay_seconds: Rising = Field(
        (0.1, 1.0), description="How late the event loop is, 99th percentile of half a minute."
    )

    metrics_access: Annotated[Literal["key", "loopback", "open"], AnyCase] = Field(
        "key",
        description="Who may read GET /metrics: a key with the scope `metrics` or the token below; "
        "also whoever asks from this machine and not through a proxy (loopback); everybody (open).",
    )
    metrics_token: HeaderSecret | None = Field(
        None,
        min_length=16,
        description="A token with which Prometheus may read GET /metrics, also while Redis is "
        "away; 16 characters or more.",
    )

    log_level: Annotated[Literal["debug", "info", "warning", "error"], AnyCase] = Field(
        "info", description="Least severe entries to log."
    )
    log_format: Annotated[Literal["console", "json"], AnyCase] = Field(
        "console", description="Form of the log."
    )

    @model_validator(mode="after")
    def _whole_certificate(self) -> Self:
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            missing = "SSL_KEYFILE" if self.ssl_keyfile is None else "SSL_CERTFILE"
            raise SettingsError(
                f"{PREFIX}{missing}: a certificate and its key are only of use together"
            )
        return self

    @model_validator(mode="after")
    def _whole_issuer(self) -> Self:
        if (self.jwks_url is None) != (self.jwks_issuer is None):
            missing = "JWKS_ISSUER" if self.jwks_issuer is None else "JWKS_URL"
            raise SettingsError(
                f"{PREFIX}{missing}: an issuer and its keys are only of use together"
            )
        if self.jwks_issuer == self.jwt_issuer:
            raise SettingsError(f"{PREFIX}JWKS_ISSUER: is the name of our own tokens' issuer")
        return self

    @property
    def secure(self) -> bool:
        """Whether the server itself speaks TLS."""
        return self.ssl_certfile is not None

    @property
    def resumes_elsewhere(self) -> bool:
        """Whether another process can go on with this one's streams."""
        shared = self.redis_url is not None or self.resume_log == "disk"
        return shared and self.resume_seconds > 0

    @property
    def secrets(self) -> list[str]:
        """Every secret among these, as it may turn up somewhere: a URL's password, too."""
        found = []
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                text = value.get_secret_value()
                found += [text, unquote(urlsplit(text).password or "")]
        keys = [one.api_key for one in self.translators.values()]
        found += [key.get_secret_value() for key in keys if key is not None]
        return list(filter(None, found))

    @property
    def database(self) -> Path:
        return self.data_dir / "surtitle.db"


def variable(field: str) -> str:
    """The environment variable of a field."""
    return "REDIS_URL" if field == "redis_url" else PREFIX + field.upper()


def load(**overrides: Any) -> Settings:
    """The effective settings; ``overrides`` (the command line's) go first.

    Raises :class:`SettingsError`, whose text is one line that names the variable.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(_line(error)) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{ENV_FILE}: is not UTF-8 text") from None


def _line(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    parts = [str(part) for part in first["loc"]]
    field = parts[0] if parts else ""
    if field == "translators":
        field = "__".join(parts)
    message = str(first["msg"]).removeprefix("Value error, ")
    name = field if field == "REDIS_URL" else variable(field)
    return f"{name}: {message[:1].lower()}{message[1:]}".replace("\n", " ")

"""Configuration: from the process environment, else from a ``.env`` file, else these defaults."""

import os
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from payment_token.domain.card_data import CardChecksPolicy
from payment_token.domain.enrolment import RegistrationRule
from payment_token.domain.key_life.cryptoperiod import Cryptoperiod
from payment_token.domain.operator_error import OperatorError
from payment_token.domain.sensitive import SensitiveText

SERVICE_FOLDER = Path(__file__).parents[2]
DEVELOPMENT_FOLDER = SERVICE_FOLDER / ".dev"


class ConfigurationError(OperatorError):
    """The configuration does not let this command run. The text says what to change, and never shows a value."""


class Environment(StrEnum):
    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


def _blank_is_unset(value: object) -> object:
    return None if value == "" else value


OptionalPath = Annotated[Path | None, BeforeValidator(_blank_is_unset)]
OptionalText = Annotated[str | None, BeforeValidator(_blank_is_unset)]
Origin = Annotated[
    Annotated[str, Field(pattern=r"^[^\s+]{1,200}$")] | None, BeforeValidator(_blank_is_unset)
]
BucketURL = Annotated[
    Annotated[str, Field(pattern=r"^s3://[a-z0-9.-]{3,63}(/[^\s?#]*)?$")] | None,
    BeforeValidator(_blank_is_unset),
]
Address = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^\s:\[\]]*):\d{1,5}$")]


class Settings(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    environment: Environment = Environment.DEVELOPMENT
    debug: bool = False

    database_url: OptionalText = Field(None, repr=False)
    migration_database_url: OptionalText = Field(None, repr=False)

    bdk_kms_key_id: OptionalText = None
    service_kms_key_id: OptionalText = None
    current_key_version: str = Field("v1", pattern=r"^[A-Za-z0-9._-]{1,32}$")
    local_keystore_file: OptionalPath = None
    local_keystore_key_file: OptionalPath = None
    local_keystore_passphrase: OptionalText = Field(None, repr=False)
    kms_endpoint_url: OptionalText = None
    payment_cryptography_endpoint_url: OptionalText = None
    pkcs11_module: OptionalPath = None
    pkcs11_pin: OptionalText = Field(None, repr=False)
    pkcs11_pin_file: OptionalPath = None
    key_cryptoperiod_days: int = Field(90, ge=1, le=3650)
    key_grace_days: int = Field(14, ge=0, le=365)
    device_key_cache_size: int = Field(10_000, ge=1, le=1_000_000)
    device_key_cache_seconds: int = Field(300, ge=1, le=3600)

    public_address: Address = "127.0.0.1:8000"
    internal_address: Address = "127.0.0.1:8001"
    public_grpc_address: Address = "127.0.0.1:8002"
    internal_grpc_address: Address = "127.0.0.1:8003"
    metrics_address: Address = "127.0.0.1:8004"
    public_tls_cert_file: OptionalPath = None
    public_tls_key_file: OptionalPath = None
    trusted_proxies: str = ""
    internal_tls_cert_file: OptionalPath = None
    internal_tls_key_file: OptionalPath = None
    client_ca_file: OptionalPath = None
    client_crl_file: OptionalPath = None
    client_fingerprints_file: OptionalPath = None
    worker_policy_file: OptionalPath = None

    audit_log_origin: Origin = None
    audit_checkpoint_file: OptionalPath = None
    audit_checkpoint_bucket: BucketURL = None
    audit_checkpoint_seconds: int = Field(60, ge=1, le=3600)
    audit_hot_months: int = Field(13, ge=3, le=120)
    audit_retention_years: float = Field(7, gt=0, le=100)
    aws_region: OptionalText = None
    s3_endpoint_url: OptionalText = None

    card_checks: CardChecksPolicy | None = None
    device_registration: RegistrationRule | None = None
    failed_attempts_per_ksn: int = Field(3, ge=1, le=100)
    device_event_days: int = Field(400, ge=1, le=3650)
    device_suspend_failures: int = Field(0, ge=0, le=1_000_000)
    device_suspend_seconds: int = Field(300, ge=1, le=86_400)
    idempotency_window_hours: int = Field(24, ge=1, le=720)
    sad_ttl_seconds: int = Field(3600, ge=1, le=86_400)
    sad_epoch_seconds: int = Field(3600, ge=1, le=86_400)
    default_token_ttl_hours: int = Field(24, ge=1)
    max_token_ttl_hours: int = Field(9600, ge=1, le=87_600)

    _folder: Path = PrivateAttr(DEVELOPMENT_FOLDER)

    @classmethod
    def load(cls, env_file: Path | None = None) -> Self:
        """Reads ``env_file``, else ``./.env``, else the development folder's. Raises ConfigurationError."""
        chosen = _choose_env_file(env_file)
        try:
            settings = cls(_env_file=chosen)  # type: ignore[call-arg]
        except ValidationError as error:
            problems = [
                f"{str(problem['loc'][0]).upper() if problem['loc'] else 'settings'}: {problem['msg']}"
                for problem in error.errors(include_input=False, include_context=False)
            ]
        else:
            return settings._resolved_against(chosen)
        raise ConfigurationError("The configuration is not valid. " + "; ".join(problems))

    @model_validator(mode="after")
    def _check_ttls(self) -> Self:
        if self.default_token_ttl_hours > self.max_token_ttl_hours:
            raise ValueError("DEFAULT_TOKEN_TTL_HOURS is longer than MAX_TOKEN_TTL_HOURS")
        return self

    def _resolved_against(self, env_file: Path | None) -> Self:
        """Relative paths of a file are relative to that file; those of the process environment to where it runs."""
        folder = env_file.parent if env_file is not None else DEVELOPMENT_FOLDER
        paths = {
            name: (Path.cwd() if name.upper() in os.environ else folder) / value
            for name, value in self
            if isinstance(value, Path)
        }
        resolved = self.model_copy(update=paths)
        resolved._folder = folder  # noqa: SLF001 - a copy of this very class
        return resolved

    def on_free_ports(self) -> Self:
        """The same deployment on loopback ports that the system chooses, so that two can run side by side."""
        addresses = [name for name in type(self).model_fields if name.endswith("_address")]
        chosen = self.model_copy(update=dict.fromkeys(addresses, "127.0.0.1:0"))
        chosen._folder = self._folder  # noqa: SLF001 - likewise
        return chosen

    @property
    def folder(self) -> Path:
        """The deployment's folder: where its ``.env`` is, and where the embedded database lives."""
        return self._folder

    def read_pkcs11_pin(self) -> SensitiveText:
        """The PIN from PKCS11_PIN_FILE or PKCS11_PIN. Raises ConfigurationError when there is none."""
        pin = self.pkcs11_pin
        if self.pkcs11_pin_file is not None:
            try:
                pin = self.pkcs11_pin_file.read_text().strip()
            except (OSError, UnicodeDecodeError):
                raise ConfigurationError(
                    f"PKCS11_PIN_FILE: {self.pkcs11_pin_file} cannot be read."
                ) from None
        if not pin:
            raise ConfigurationError("PKCS11_PIN_FILE or PKCS11_PIN is required by a pkcs11: key.")
        return SensitiveText(pin)

    @property
    def in_development(self) -> bool:
        return self.environment is Environment.DEVELOPMENT

    @property
    def uses_embedded_database(self) -> bool:
        return self.in_development and self.database_url is None

    @property
    def in_production(self) -> bool:
        return self.environment is Environment.PRODUCTION

    @property
    def log_origin(self) -> str:
        """The name of the audit log in its checkpoints."""
        return self.audit_log_origin or f"payment-token/{self.environment}/decrypt-audit"

    @property
    def checkpoint_file(self) -> Path | None:
        """In production there is none that nobody chose."""
        if self.audit_checkpoint_file is not None or self.in_production:
            return self.audit_checkpoint_file
        return self._folder / "audit-checkpoints"

    @property
    def card_checks_policy(self) -> CardChecksPolicy:
        default = CardChecksPolicy.LENIENT if self.in_development else CardChecksPolicy.STRICT
        return self.card_checks or default

    @property
    def registration_rule(self) -> RegistrationRule:
        default = RegistrationRule.OPEN if self.in_development else RegistrationRule.REQUIRED
        return self.device_registration or default

    @property
    def device_events_kept(self) -> timedelta:
        return timedelta(days=self.device_event_days)

    @property
    def default_ttl(self) -> timedelta:
        return timedelta(hours=self.default_token_ttl_hours)

    @property
    def max_ttl(self) -> timedelta:
        return timedelta(hours=self.max_token_ttl_hours)

    @property
    def sad_ttl(self) -> timedelta:
        return timedelta(seconds=self.sad_ttl_seconds)

    @property
    def sad_epoch(self) -> timedelta:
        return timedelta(seconds=self.sad_epoch_seconds)

    @property
    def cryptoperiod(self) -> Cryptoperiod:
        return Cryptoperiod(
            timedelta(days=self.key_cryptoperiod_days), timedelta(days=self.key_grace_days)
        )

    @property
    def idempotency_window(self) -> timedelta:
        return timedelta(hours=self.idempotency_window_hours)


def _choose_env_file(given: Path | None) -> Path | None:
    if given is not None:
        if not given.is_file():
            raise ConfigurationError(f"There is no file {given}.")
        return given.absolute()
    for candidate in (Path.cwd() / ".env", DEVELOPMENT_FOLDER / ".env"):
        if candidate.is_file():
            return candidate
    return None

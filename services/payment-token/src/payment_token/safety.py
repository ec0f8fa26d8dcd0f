"""What must hold before a process may start, and what is merely unwise. ``doctor`` shows it, ``serve`` insists on it."""

import ipaddress
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from payment_token.domain.custody import LOCAL_SCHEME, CustodyError, check_kek, custodian_of
from payment_token.settings import ConfigurationError, Settings


class Severity(StrEnum):
    REFUSED = "refused"
    UNWISE = "unwise"


@dataclass(frozen=True, slots=True)
class Finding:
    severity: Severity
    setting: str
    advice: str


def configuration_findings(settings: Settings) -> list[Finding]:
    """Everything about the configuration that is unsafe. In development little is; outside, what is unsafe is refused."""
    findings = [
        *_secrets_that_others_can_read(settings),
        *_misnamed_keys(settings),
        *_custodians_in_clear(settings),
    ]
    if settings.in_development:
        findings += _development_reaching_out(settings)
    else:
        findings += _missing_outside_development(settings)
        findings += _unsafe_outside_development(settings)
    if settings.in_production:
        findings += _local_keys(settings)
    return findings


def check_safe_to_start(settings: Settings) -> None:
    """Raises ConfigurationError with everything that is refused; `doctor` shows the rest as well."""
    refused = [
        f"{finding.setting}: {finding.advice}"
        for finding in configuration_findings(settings)
        if finding.severity is Severity.REFUSED
    ]
    if refused:
        raise ConfigurationError("This configuration is not safe to start on. " + " ".join(refused))


def _secrets_that_others_can_read(settings: Settings) -> Iterator[Finding]:
    secrets = {
        "LOCAL_KEYSTORE_FILE": settings.local_keystore_file,
        "LOCAL_KEYSTORE_KEY_FILE": settings.local_keystore_key_file,
        "PKCS11_PIN_FILE": settings.pkcs11_pin_file,
        "INTERNAL_TLS_KEY_FILE": settings.internal_tls_key_file,
        "PUBLIC_TLS_KEY_FILE": settings.public_tls_key_file,
    }
    for name, path in secrets.items():
        if path is not None and path.is_file() and _readable_by_others(path):
            yield Finding(Severity.REFUSED, name, f"{path} can be read by others: chmod 600 it.")


def _misnamed_keys(settings: Settings) -> Iterator[Finding]:
    for name, uri, check in (
        ("SERVICE_KMS_KEY_ID", settings.service_kms_key_id, check_kek),
        ("BDK_KMS_KEY_ID", settings.bdk_kms_key_id, custodian_of),
    ):
        try:
            if uri is not None:
                check(uri)
        except CustodyError as error:
            yield Finding(Severity.REFUSED, name, f"{error}.")


def _custodians_in_clear(settings: Settings) -> Iterator[Finding]:
    endpoints = {
        "KMS_ENDPOINT_URL": settings.kms_endpoint_url,
        "PAYMENT_CRYPTOGRAPHY_ENDPOINT_URL": settings.payment_cryptography_endpoint_url,
        "S3_ENDPOINT_URL": settings.s3_endpoint_url,
    }
    for name, text in endpoints.items():
        url = urlsplit(text or "")
        if text and url.scheme not in ("http", "https"):
            yield Finding(Severity.REFUSED, name, "must be a URL that begins with https://.")
        elif url.scheme == "http" and not _is_loopback(url.netloc):
            yield Finding(
                Severity.REFUSED, name, "keys and card data would travel in clear: use https."
            )


def _readable_by_others(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _development_reaching_out(settings: Settings) -> Iterator[Finding]:
    addresses = {
        "PUBLIC_ADDRESS": settings.public_address,
        "INTERNAL_ADDRESS": settings.internal_address,
        "PUBLIC_GRPC_ADDRESS": settings.public_grpc_address,
        "INTERNAL_GRPC_ADDRESS": settings.internal_grpc_address,
        "METRICS_ADDRESS": settings.metrics_address,
    }
    for name, address in addresses.items():
        if not _is_loopback(address):
            yield Finding(
                Severity.REFUSED, name, "ENVIRONMENT=development listens on loopback only."
            )


def _is_loopback(address: str) -> bool:
    host = re.sub(r":\d*$", "", address).strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _missing_outside_development(settings: Settings) -> Iterator[Finding]:
    if settings.database_url is None:
        yield Finding(Severity.REFUSED, "DATABASE_URL", "is required outside development.")
    if settings.debug:
        yield Finding(Severity.REFUSED, "DEBUG", "is for development only.")


def _local_keys(settings: Settings) -> Iterator[Finding]:
    for name, uri in (
        ("SERVICE_KMS_KEY_ID", settings.service_kms_key_id),
        ("BDK_KMS_KEY_ID", settings.bdk_kms_key_id),
    ):
        if uri is not None and uri.startswith(LOCAL_SCHEME):
            yield Finding(Severity.REFUSED, name, "names a key of the development keystore.")
    if settings.local_keystore_file is not None:
        yield Finding(
            Severity.REFUSED,
            "LOCAL_KEYSTORE_FILE",
            "the development keystore is refused in production.",
        )


def _unsafe_outside_development(settings: Settings) -> Iterator[Finding]:
    if settings.public_tls_cert_file is None and not settings.trusted_proxies:
        yield Finding(
            Severity.REFUSED,
            "PUBLIC_TLS_CERT_FILE",
            "the public listener needs TLS, or TRUSTED_PROXIES must name what ends TLS in front of it.",
        )
    if settings.migration_database_url in (None, settings.database_url):
        yield Finding(
            Severity.REFUSED,
            "MIGRATION_DATABASE_URL",
            "one login for everything: give migrations the owner's login and the service one of its own.",
        )
    if settings.card_checks_policy != "strict":
        yield Finding(Severity.UNWISE, "CARD_CHECKS", "lenient takes card numbers that fail Luhn.")
    if settings.registration_rule != "required":
        yield Finding(
            Severity.UNWISE,
            "DEVICE_REGISTRATION",
            "open takes payloads of terminals nobody registered.",
        )
    if settings.checkpoint_file is None and settings.audit_checkpoint_bucket is None:
        # Only a sealer needs it, and refuses to start without it.
        yield Finding(
            Severity.UNWISE,
            "AUDIT_CHECKPOINT_FILE",
            "this or AUDIT_CHECKPOINT_BUCKET must be set where the sealer runs: without checkpoints outside the"
            " database, whoever has the signing key can rewrite the audit log unseen.",
        )
    if not _is_loopback(settings.metrics_address):
        yield Finding(
            Severity.UNWISE, "METRICS_ADDRESS", "metrics are plain HTTP: keep them inside."
        )
    if settings.client_crl_file is None:
        yield Finding(
            Severity.UNWISE,
            "CLIENT_CRL_FILE",
            "without it a revoked worker certificate still works.",
        )

"""Whether the certificates of the listeners are in date, and for how long."""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from payment_token.bootstrap.listeners import Role
from payment_token.safety import Finding, Severity
from payment_token.settings import Settings

SOON = timedelta(days=30)


def certificate_findings(
    settings: Settings, roles: Collection[Role], now: datetime
) -> list[Finding]:
    """What is out of date is refused: whoever connects would be. What ends soon is unwise to leave.

    Of a file with several certificates each counts. The files must be readable. ``now`` is aware of its time zone.
    """
    return [
        finding
        for setting, path in _files(settings, roles)
        for certificate in x509.load_pem_x509_certificates(path.read_bytes())
        for finding in _findings(setting, certificate, now)
    ]


def _files(settings: Settings, roles: Collection[Role]) -> Iterator[tuple[str, Path]]:
    named = {
        "PUBLIC_TLS_CERT_FILE": (Role.PUBLIC, settings.public_tls_cert_file),
        "INTERNAL_TLS_CERT_FILE": (Role.INTERNAL, settings.internal_tls_cert_file),
        "CLIENT_CA_FILE": (Role.INTERNAL, settings.client_ca_file),
    }
    for setting, (role, path) in named.items():
        if role in roles and path is not None:
            yield setting, path


def _findings(setting: str, certificate: x509.Certificate, now: datetime) -> Iterator[Finding]:
    starts, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    name = certificate.subject.rfc4514_string() or f"serial {certificate.serial_number:X}"
    if now >= ends:
        yield Finding(Severity.REFUSED, setting, f"{name} ended on {ends:%Y-%m-%d}: renew it")
    elif now < starts:
        yield Finding(Severity.REFUSED, setting, f"{name} is not valid before {starts:%Y-%m-%d}")
    elif now >= ends - SOON:
        yield Finding(Severity.UNWISE, setting, f"{name} ends on {ends:%Y-%m-%d}: renew it")

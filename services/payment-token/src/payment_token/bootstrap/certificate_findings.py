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
    """What ends soon is unwise to leave, and a server's certificate that is out of date is refused: by whoever connects.

    Of a file with several certificates each counts. One authority of several may be out of date, as long as another is not:
    so it is while one follows another. ``now`` is aware of its time zone. Raises OSError for a file that cannot be read.
    """
    findings: list[Finding] = []
    if Role.PUBLIC in roles:
        findings += _of_server("PUBLIC_TLS_CERT_FILE", settings.public_tls_cert_file, now)
    if Role.INTERNAL in roles:
        findings += _of_server("INTERNAL_TLS_CERT_FILE", settings.internal_tls_cert_file, now)
        findings += _of_authorities("CLIENT_CA_FILE", settings.client_ca_file, now)
    return findings


def _of_server(setting: str, path: Path | None, now: datetime) -> Iterator[Finding]:
    for name, starts, ends in _certificates(path):
        severity = Severity.UNWISE if starts <= now < ends else Severity.REFUSED
        yield from _finding(severity, setting, name, starts, ends, now)


def _of_authorities(setting: str, path: Path | None, now: datetime) -> Iterator[Finding]:
    authorities = list(_certificates(path))
    any_in_date = any(starts <= now < ends for _, starts, ends in authorities)
    severity = Severity.UNWISE if any_in_date else Severity.REFUSED
    for name, starts, ends in authorities:
        yield from _finding(severity, setting, name, starts, ends, now)


def _certificates(path: Path | None) -> Iterator[tuple[str, datetime, datetime]]:
    """Whose each is, and from when until when. One that this library cannot read, and TLS can, is passed over."""
    if path is None:
        return
    try:
        for certificate in x509.load_pem_x509_certificates(path.read_bytes()):
            name = certificate.subject.rfc4514_string() or f"serial {certificate.serial_number:X}"
            yield name, certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except ValueError:
        return


def _finding(
    severity: Severity, setting: str, name: str, starts: datetime, ends: datetime, now: datetime
) -> Iterator[Finding]:
    if now >= ends:
        yield Finding(severity, setting, f"{name} ended on {ends:%Y-%m-%d}: renew it")
    elif now < starts:
        yield Finding(severity, setting, f"{name} is not valid before {starts:%Y-%m-%d}")
    elif now >= ends - SOON:
        yield Finding(severity, setting, f"{name} ends on {ends:%Y-%m-%d}: renew it")

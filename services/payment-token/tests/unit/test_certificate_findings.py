"""Certificates of the listeners that are out of date, or soon will be."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import Certificate

from payment_token.bootstrap.certificate_findings import SOON, certificate_findings
from payment_token.bootstrap.listeners import Role
from payment_token.safety import Severity
from payment_token.settings import Settings
from tests.support.certificates import DAY, Authority

SECOND = timedelta(seconds=1)


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Authority(tmp_path).issue("server", [], ends=400 * DAY)


@pytest.fixture
def settings(tmp_path: Path, certificate: Certificate) -> Settings:
    return Settings(
        public_tls_cert_file=tmp_path / "server.pem",
        internal_tls_cert_file=tmp_path / "server.pem",
        client_ca_file=tmp_path / "ca.pem",
    )


def found(settings: Settings, role: Role, now: datetime) -> list[tuple[Severity, str]]:
    return [
        (finding.severity, finding.setting)
        for finding in certificate_findings(settings, [role], now)
    ]


def test_the_end_of_a_certificate_to_the_second(
    settings: Settings, certificate: Certificate
) -> None:
    starts, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc

    def of_the_public_one(now: datetime) -> list[tuple[Severity, str]]:
        return found(settings, Role.PUBLIC, now)

    refused = [(Severity.REFUSED, "PUBLIC_TLS_CERT_FILE")]
    unwise = [(Severity.UNWISE, "PUBLIC_TLS_CERT_FILE")]
    assert of_the_public_one(starts - SECOND) == refused
    assert of_the_public_one(starts) == []
    assert of_the_public_one(ends - SOON - SECOND) == []
    assert of_the_public_one(ends - SOON) == unwise
    assert of_the_public_one(ends - SECOND) == unwise
    assert of_the_public_one(ends) == refused


def test_a_process_is_told_of_what_it_uses(settings: Settings) -> None:
    """The authority of these tests ends tomorrow."""
    now = datetime.now(UTC)

    assert found(settings, Role.INTERNAL, now) == [(Severity.UNWISE, "CLIENT_CA_FILE")]
    assert found(settings, Role.PUBLIC, now) == []
    assert found(settings, Role.SEALER, now) == []


def test_one_authority_may_be_out_of_date_beside_another(
    settings: Settings, tmp_path: Path
) -> None:
    authority, later = tmp_path / "ca.pem", datetime.now(UTC) + 3 * DAY
    assert found(settings, Role.INTERNAL, later) == [(Severity.REFUSED, "CLIENT_CA_FILE")]
    authority.write_bytes(authority.read_bytes() + (tmp_path / "server.pem").read_bytes())

    assert found(settings, Role.INTERNAL, later) == [(Severity.UNWISE, "CLIENT_CA_FILE")]


def test_every_certificate_of_a_file_counts(settings: Settings, tmp_path: Path) -> None:
    server, authority = tmp_path / "server.pem", tmp_path / "ca.pem"
    server.write_bytes(server.read_bytes() + authority.read_bytes())
    (finding,) = certificate_findings(settings, [Role.PUBLIC], datetime.now(UTC))

    assert finding.severity is Severity.UNWISE
    assert finding.advice.startswith("CN=authority ca ends on 20")
    assert finding.advice.endswith(": renew it")

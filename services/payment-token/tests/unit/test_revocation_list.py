from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from payment_token.api.revocation_list import RevocationList
from tests.support.certificates import Authority, uri

KNOWN = [uri("spiffe://test/known")]
HOUR = timedelta(hours=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path)
    made.issue("known", KNOWN)
    return made


def pem(folder: Path, name: str) -> str:
    return (folder / f"{name}.pem").read_text()


def stale(authority: Authority) -> bytes:
    now = datetime.now(UTC)
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority._certificate.subject)
        .last_update(now - 2 * HOUR)
        .next_update(now - HOUR)
        .sign(authority._key, SHA256())
    )
    return made.public_bytes(Encoding.PEM)


def test_who_is_listed_is_not_let_in(tmp_path, authority):
    authority.revoke(authority.issue("revoked", KNOWN))
    found = RevocationList(tmp_path / "crl.pem", tmp_path / "ca.pem")

    assert found.lets_in(pem(tmp_path, "known"))
    assert not found.lets_in(pem(tmp_path, "revoked"))
    assert not found.lets_in(pem(tmp_path, "revoked"))


def test_a_list_past_its_next_update_lets_nobody_in(tmp_path, authority):
    (tmp_path / "crl.pem").write_bytes(stale(authority))
    found = RevocationList(tmp_path / "crl.pem", tmp_path / "ca.pem")

    assert found.is_stale
    assert not found.lets_in(pem(tmp_path, "known"))


def test_an_issuer_without_a_list_vouches_for_nobody(tmp_path, authority):
    authority.revoke()
    other = Authority(tmp_path, "other")
    other.issue("theirs", KNOWN)
    both = tmp_path / "both.pem"
    both.write_text(pem(tmp_path, "ca") + pem(tmp_path, "other"))
    found = RevocationList(tmp_path / "crl.pem", both)

    assert found.lets_in(pem(tmp_path, "known"))
    assert not found.lets_in(pem(tmp_path, "theirs"))


def test_each_authority_may_have_a_list_in_the_file(tmp_path, authority):
    authority.revoke()
    first = (tmp_path / "crl.pem").read_bytes()
    other = Authority(tmp_path, "other")
    other.revoke(other.issue("theirs", KNOWN))
    (tmp_path / "crl.pem").write_bytes(first + (tmp_path / "crl.pem").read_bytes())
    both = tmp_path / "both.pem"
    both.write_text(pem(tmp_path, "ca") + pem(tmp_path, "other"))
    found = RevocationList(tmp_path / "crl.pem", both)

    assert found.lets_in(pem(tmp_path, "known"))
    assert not found.lets_in(pem(tmp_path, "theirs"))


def test_a_list_that_the_authority_did_not_sign_is_none(tmp_path, authority):
    # Of the same name, with another key.
    Authority(tmp_path, "ca").revoke()
    (tmp_path / "ca.pem").write_bytes(authority._certificate.public_bytes(Encoding.PEM))

    with pytest.raises(ValueError, match="signed"):
        RevocationList(tmp_path / "crl.pem", tmp_path / "ca.pem")


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN X509 CRL-----\nAAAA\n"])
def test_what_is_no_list_is_none(tmp_path, authority, text):
    (tmp_path / "crl.pem").write_text(text)

    with pytest.raises(ValueError):  # noqa: PT011 - the texts are the library's
        RevocationList(tmp_path / "crl.pem", tmp_path / "ca.pem")


def test_a_file_that_is_not_there(tmp_path, authority):
    with pytest.raises(FileNotFoundError):
        RevocationList(tmp_path / "crl.pem", tmp_path / "ca.pem")

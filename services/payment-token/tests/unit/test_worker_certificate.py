"""Names that a certificate of the right authority may carry, and must not get away with."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID

from payment_token.api import read_again
from payment_token.api.allowed_certificates import AllowedCertificates, fingerprints_of
from payment_token.api.revocation_file import RevocationFile
from payment_token.api.worker_certificate import WorkerCertificates
from tests.support.certificates import DAY, Authority, dns, uri

KNOWN = uri("spiffe://test/known")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the file with every request."""
    monkeypatch.setattr(read_again, "LOOK_SECONDS", 0.0)


def identity(folder: Path, workers: WorkerCertificates | None = None, name: str = "worker") -> str:
    pem = (folder / f"{name}.pem").read_text()
    worker = (workers or WorkerCertificates(None)).worker_with(pem, "192.0.2.1:4711")
    # Whoever is refused is known by fingerprint all the same.
    assert len(worker.certificate_sha256) == 32
    return worker.identity


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([KNOWN], "spiffe://test/known"),
        ([dns("worker.test")], "worker.test"),
        ([dns("a.test"), dns("b.test"), KNOWN], "spiffe://test/known"),
        ([], ""),
        ([KNOWN, uri("spiffe://test/other")], ""),
        ([KNOWN, KNOWN], ""),
        ([dns("a.test"), dns("b.test")], ""),
        ([dns("*.test")], ""),
        ([dns("a*.test")], ""),
        ([uri("spiffe://test/*")], ""),
        ([uri("spiffe://test/known\0.evil.test")], ""),
        ([uri("spiffe://test/known\n")], ""),
        ([uri(" spiffe://test/known")], ""),
        ([dns("worker.test\0.evil.test")], ""),
        ([dns("worker.test\x7f")], ""),
        ([uri("")], ""),
        # A bad URI does not let a good DNS name stand in for it.
        ([uri("spiffe://test/*"), dns("worker.test")], ""),
    ],
)
def test_the_one_name_that_counts(tmp_path, authority, names, expected):
    authority.issue("worker", names)

    assert identity(tmp_path) == expected


def test_a_certificate_for_servers_names_no_worker(tmp_path, authority):
    authority.issue("worker", [KNOWN], usages=[ExtendedKeyUsageOID.SERVER_AUTH])

    assert identity(tmp_path) == ""


def test_an_authority_is_no_worker(tmp_path, authority):
    assert identity(tmp_path, name="ca") == ""


@pytest.mark.parametrize(
    ("starts", "ends"),
    [(-2 * DAY, -timedelta(seconds=2)), (timedelta(minutes=1), DAY)],
    ids=["expired", "not yet"],
)
def test_dates_count_with_every_request(tmp_path, authority, starts, ends):
    authority.issue("worker", [KNOWN], starts=starts, ends=ends)

    assert identity(tmp_path) == ""


def test_no_certificate_is_nobody():
    assert WorkerCertificates(None).worker_with(None, "192.0.2.1:4711").identity == ""


@pytest.mark.usefixtures("eager")
def test_a_new_list_counts_and_a_wrong_one_changes_nothing(tmp_path, authority, caplog):
    certificate = authority.issue("worker", [KNOWN])
    authority.revoke()
    workers = WorkerCertificates(RevocationFile(tmp_path / "crl.pem", tmp_path / "ca.pem"))
    assert identity(tmp_path, workers) == "spiffe://test/known"

    authority.revoke(certificate)
    assert identity(tmp_path, workers) == ""

    # Of an authority with the same name and another key, and then nothing at all.
    genuine = (tmp_path / "ca.pem").read_bytes()
    Authority(tmp_path, "ca").revoke()
    (tmp_path / "ca.pem").write_bytes(genuine)
    assert identity(tmp_path, workers) == ""
    (tmp_path / "crl.pem").unlink()
    assert [identity(tmp_path, workers) for _ in range(3)] == [""] * 3
    # A line for each change, however many ask.
    assert sum("not read again" in line.getMessage() for line in caplog.records) == 2

    authority.revoke()
    assert identity(tmp_path, workers) == "spiffe://test/known"


@pytest.mark.usefixtures("eager")
def test_a_list_goes_stale_while_it_is_in_force(tmp_path, authority):
    authority.issue("worker", [KNOWN])
    authority.revoke(next_update=-timedelta(hours=1))
    workers = WorkerCertificates(RevocationFile(tmp_path / "crl.pem", tmp_path / "ca.pem"))
    assert workers.list_is_stale
    assert identity(tmp_path, workers) == ""

    authority.revoke()
    assert not workers.list_is_stale
    assert identity(tmp_path, workers) == "spiffe://test/known"


def test_the_file_is_looked_at_once_a_second_at_most(tmp_path, authority, monkeypatch):
    authority.issue("worker", [KNOWN])
    authority.revoke()
    workers = WorkerCertificates(RevocationFile(tmp_path / "crl.pem", tmp_path / "ca.pem"))
    monkeypatch.setattr(read_again, "LOOK_SECONDS", 3600.0)
    looked: list[object] = []
    monkeypatch.setattr(read_again, "stamp_of", looked.append)

    for _ in range(100):
        identity(tmp_path, workers)

    assert looked == []


def colons(fingerprint: bytes) -> str:
    return fingerprint.hex(":").upper()


def test_where_a_list_of_certificates_is_given_others_are_nobody(tmp_path, authority, eager):
    known = authority.issue("worker", [KNOWN])
    authority.issue("other", [KNOWN])
    listed = tmp_path / "fingerprints"
    listed.write_text(f"# workers\n\n{colons(known.fingerprint(SHA256()))}  # settlement\n")
    workers = WorkerCertificates(None, AllowedCertificates(listed))

    assert identity(tmp_path, workers) == "spiffe://test/known"
    # The same authority and name, another certificate.
    assert identity(tmp_path, workers, "other") == ""


def test_the_list_is_read_again_and_one_that_is_wrong_changes_nothing(tmp_path, authority, eager):
    known = authority.issue("worker", [KNOWN]).fingerprint(SHA256()).hex()
    listed = tmp_path / "fingerprints"
    listed.write_text(known)
    workers = WorkerCertificates(None, AllowedCertificates(listed))

    listed.write_text("0" * 64 + "\n")
    assert identity(tmp_path, workers) == ""
    listed.write_text(f"{known}\n{known}\n")
    assert identity(tmp_path, workers) == "spiffe://test/known"
    for wrong in ("", "# nobody\n", known[:-1], f"{known}\nabc", "\u00fc" * 64):
        listed.write_text(wrong)
        assert identity(tmp_path, workers) == "spiffe://test/known"
    listed.unlink()
    assert identity(tmp_path, workers) == "spiffe://test/known"


@pytest.mark.parametrize(
    "text", ["", "#", "ab", "g" * 64, "0" * 63, "0" * 65, "0" * 32 + " " + "0" * 32]
)
def test_what_is_no_list_of_certificates(text):
    with pytest.raises(ValueError, match="fingerprints"):
        fingerprints_of(text)

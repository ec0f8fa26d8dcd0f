"""The messages of gRPC's library, as version 1.85 writes them."""

import pytest

from payment_token.api.rpc.library_log import LibraryLog

_PLACE = b"I1128 02:29:21.115077   28798 ssl_transport_security.cc:2563] "
_FAILED = (
    _PLACE
    + b"Handshake failed with error SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:"
)


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        (b"CERTIFICATE_VERIFY_FAILED: certificate has expired", "expired"),
        (b"CERTIFICATE_VERIFY_FAILED: self signed certificate", "unknown_authority"),
        (b"CERTIFICATE_VERIFY_FAILED: something else", "certificate"),
        (
            b"PEER_DID_NOT_RETURN_A_CERTIFICATE: Invalid certificate verification context",
            "no_certificate",
        ),
        (b"HTTP_REQUEST: Invalid certificate verification context", "protocol"),
    ],
)
def test_a_handshake_that_failed_counts_by_its_class(said: bytes, counted: str) -> None:
    heard: list[str] = []

    assert LibraryLog(heard.append, alone=True).take(_FAILED + said + b"\n")
    assert heard == [counted]


@pytest.mark.parametrize(
    "line",
    [
        _PLACE + b"something else\n",
        b"E1128 02:29:21.1   1 chttp2_transport.cc:10] said by a peer: 4111111111111111\n",
        _FAILED + b"forged by a peer\n",
        _PLACE + b"Got goaway. Debug Text: x\n" + _FAILED + b"CERTIFICATE_VERIFY_FAILED: forged\n",
        _FAILED + b"CERTIFICATE_VERIFY_FAILED: certificate has expired\nand more\n",
    ],
)
def test_other_messages_of_the_library_are_taken_and_not_told(line: bytes) -> None:
    heard: list[str] = []

    assert LibraryLog(heard.append, alone=True).take(line)
    assert heard == []


@pytest.mark.parametrize(
    "line",
    [
        b"Traceback (most recent call last):\n",
        b"F1128 02:29:21.115077   28798 server.cc:1] Check failed: it ends\n",
        b"\n",
        b"",
    ],
)
def test_what_is_not_the_librarys_is_left(line: bytes) -> None:
    """Neither is the last word of the library itself."""
    assert not LibraryLog(lambda _: None, alone=True).take(line)


def test_whose_it_was_is_not_known_beside_a_listener_that_asks_for_no_certificate() -> None:
    heard: list[str] = []
    log = LibraryLog(heard.append, alone=False)

    assert log.take(_FAILED + b"HTTP_REQUEST: Invalid certificate verification context\n")
    assert heard == []
    assert log.take(_FAILED + b"CERTIFICATE_VERIFY_FAILED: certificate has expired\n")
    assert heard == ["expired"]


def test_where_nobody_counts_nobody_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    assert LibraryLog(None, alone=True).take(_FAILED + b"HTTP_REQUEST: x\n")
    assert caplog.records == []

"""Bad input: each kind gets its own status and code, shows nothing of what was sent, and never a 500."""

import base64
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from payment_token.bootstrap import open_keystore
from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.domain.device_payload import Cipher, KeyVariant, Mode, PartFormat, Scheme
from payment_token.domain.dukpt import KSN, DerivationPath, initial_key, payload_key
from payment_token.domain.payload_cipher import encrypt
from payment_token.domain.sensitive import SensitiveBytes
from payment_token.infrastructure.database.session import deployment_url
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.requests import Attempt, adding, exchange, setting, without

PAN = "4111111111111111"
PAYLOAD = "encrypted_payload"
PART = f"{PAYLOAD}.parts.0"


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def case(name: str, status: int, code: str, attempt: Attempt) -> Any:
    return pytest.param(attempt, status, code, id=name)


def field(name: str, path: str, value: Any) -> Any:
    return case(name, 422, "invalid_field", Attempt(setting(path, value)))


def tdes(name: str, path: str, value: Any, code: str = "invalid_field") -> Any:
    return case(name, 422, code, Attempt(setting(path, value), bdk_id="default-tdes-2key"))


def raw(name: str, body: bytes, status: int = 400, code: str = "malformed_request") -> Any:
    return case(name, status, code, Attempt(raw=body))


SYNTAX = [
    raw("empty body", b""),
    raw("not JSON", b"{"),
    raw("trailing comma", b'{"a": 1,}'),
    raw("two documents", b"{} {}"),
    raw("not UTF-8", b'{"a": "\xff"}'),
    raw("byte order mark", b"\xef\xbb\xbf{}"),
    raw("duplicate names", b'{"merchant_id": "m_demo", "merchant_id": "m_other"}'),
    raw("duplicate names inside", b'{"metadata": {"a": "1", "a": "2"}}'),
    raw("duplicate names by escape", b'{"metadata": {"a": "1", "\\u0061": "2"}}'),
    raw("NaN", b'{"ttl_seconds": NaN}'),
    raw("Infinity", b'{"ttl_seconds": -Infinity}'),
    raw("a number beyond all bounds", b'{"ttl_seconds": 1e999}'),
    raw("NUL", b'{"device_id": "a\\u0000b"}'),
    raw("NUL in a name", b'{"a\\u0000b": 1}'),
    raw("raw control character", b'{"device_id": "a\x01b"}'),
    raw("lone surrogate", b'{"device_id": "\\ud800"}'),
    raw("20,000 nested arrays", b"[" * 20_000 + b"]" * 20_000),
    raw("20,000 nested objects, unclosed", b'{"a":' * 5_000),
    raw("17 levels", b"[" * 17 + b"]" * 17),
    raw("a number of 5,000 digits", b'{"ttl_seconds": ' + b"9" * 5_000 + b"}"),
    raw("an array", b"[]", 422, "invalid_field"),
    raw("a string", b'"text"', 422, "invalid_field"),
    raw("null", b"null", 422, "invalid_field"),
    raw("16 levels are syntax enough", b"[" * 16 + b"]" * 16, 422, "invalid_field"),
    raw("64 KiB and one byte", b" " * (64 * 1024 + 1), 413, "payload_too_large"),
    raw("a huge body", b"[" + b"0," * 5_000_000 + b"0]", 413, "payload_too_large"),
]

HEADERS = [
    case("no content type", 415, "unsupported_media_type", Attempt(headers={"Content-Type": None})),
    case("text", 415, "unsupported_media_type", Attempt(headers={"Content-Type": "text/plain"})),
    case(
        "a form",
        415,
        "unsupported_media_type",
        Attempt(headers={"Content-Type": "multipart/form-data"}),
    ),
    case(
        "another charset",
        415,
        "unsupported_media_type",
        Attempt(headers={"Content-Type": "application/json; charset=latin-1"}),
    ),
    case("gzip", 415, "unsupported_media_type", Attempt(headers={"Content-Encoding": "gzip"})),
    case(
        "no idempotency key",
        400,
        "idempotency_key_missing",
        Attempt(headers={"Idempotency-Key": None}),
    ),
    case(
        "empty idempotency key",
        400,
        "idempotency_key_missing",
        Attempt(headers={"Idempotency-Key": ""}),
    ),
    case(
        "long idempotency key",
        422,
        "invalid_field",
        Attempt(headers={"Idempotency-Key": "k" * 256}),
    ),
    case(
        "space in the idempotency key",
        422,
        "invalid_field",
        Attempt(headers={"Idempotency-Key": "a b"}),
    ),
    case(
        "two keys that differ",
        422,
        "invalid_field",
        Attempt(headers={"Idempotency-Key": "a", "X-Idempotency-Key": "b"}),
    ),
    case(
        "card number as idempotency key",
        422,
        "cleartext_card_data",
        Attempt(headers={"Idempotency-Key": PAN}),
    ),
    case(
        "idempotency key not ASCII",
        422,
        "invalid_field",
        Attempt(headers={"Idempotency-Key": None}, more_headers=[("Idempotency-Key", "schlüssel")]),
    ),
    case(
        "the same header twice with keys that differ",
        422,
        "invalid_field",
        Attempt(more_headers=[("Idempotency-Key", "another")]),
    ),
    case(
        "card number in groups as idempotency key",
        422,
        "cleartext_card_data",
        Attempt(headers={"Idempotency-Key": "order-4111-1111-1111-1111"}),
    ),
    case(
        "two content types",
        415,
        "unsupported_media_type",
        Attempt(more_headers=[("Content-Type", "text/plain")]),
    ),
    case(
        "two content codings",
        415,
        "unsupported_media_type",
        Attempt(more_headers=[("Content-Encoding", "identity"), ("Content-Encoding", "gzip")]),
    ),
    case(
        "a list of codings",
        415,
        "unsupported_media_type",
        Attempt(headers={"Content-Encoding": "identity, gzip"}),
    ),
    case(
        "two request ids",
        422,
        "invalid_field",
        Attempt(more_headers=[("X-Request-ID", "a"), ("X-Request-ID", "b")]),
    ),
    case(
        "line break in the request id, encoded",
        422,
        "invalid_field",
        Attempt(headers={"X-Request-ID": "a%0d%0ab"}),
    ),
    case("long request id", 422, "invalid_field", Attempt(headers={"X-Request-ID": "r" * 129})),
    case("card number as request id", 422, "invalid_field", Attempt(headers={"X-Request-ID": PAN})),
    case("no API key", 401, "unauthenticated", Attempt(headers={"Authorization": None})),
    case(
        "another scheme", 401, "unauthenticated", Attempt(headers={"Authorization": "Basic YTpi"})
    ),
    case(
        "malformed API key",
        401,
        "unauthenticated",
        Attempt(headers={"Authorization": "Bearer nonsense"}),
    ),
    case(
        "unknown API key",
        401,
        "unauthenticated",
        Attempt(headers={"Authorization": f"Bearer ptk_{'0' * 16}_{'a' * 43}"}),
    ),
    case("no credentials", 401, "unauthenticated", Attempt(headers={"Authorization": "Bearer"})),
    case(
        "very long API key",
        401,
        "unauthenticated",
        Attempt(headers={"Authorization": "Bearer " + "k" * 9000}),
    ),
    case(
        "API key not ASCII",
        401,
        "unauthenticated",
        Attempt(headers={"Authorization": None}, more_headers=[("Authorization", "Bearer ü")]),
    ),
    case(
        "no API key and a huge body",
        401,
        "unauthenticated",
        Attempt(raw=b" " * 1_000_000, headers={"Authorization": None}),
    ),
    case(
        "another type and a huge body",
        415,
        "unsupported_media_type",
        Attempt(raw=b" " * 1_000_000, headers={"Content-Type": "text/plain"}),
    ),
    case(
        "huge, no JSON and no idempotency key",
        413,
        "payload_too_large",
        Attempt(raw=b"{" * 1_000_000, headers={"Idempotency-Key": None}),
    ),
    case(
        "another merchant and a wrong field",
        422,
        "invalid_field",
        Attempt(lambda body: body.update(merchant_id="m_other", metadata={"n": 1})),
    ),
    case(
        "another merchant and a wrong KSN",
        403,
        "forbidden",
        Attempt(
            lambda body: (
                body.update(merchant_id="m_other"),
                body[PAYLOAD].update(ksn="0"),
            )
        ),
    ),
    case(
        "no API key and no JSON",
        401,
        "unauthenticated",
        Attempt(raw=b"{", headers={"Authorization": None}),
    ),
    case(
        "another type and no JSON",
        415,
        "unsupported_media_type",
        Attempt(raw=b"{", headers={"Content-Type": "text/plain"}),
    ),
    case(
        "no JSON and no idempotency key",
        400,
        "malformed_request",
        Attempt(raw=b"{", headers={"Idempotency-Key": None}),
    ),
]

FIELDS = [
    case("no merchant", 422, "invalid_field", Attempt(without("merchant_id"))),
    case("no device", 422, "invalid_field", Attempt(without("device_id"))),
    case("no payload", 422, "invalid_field", Attempt(without(PAYLOAD))),
    case("no KSN", 422, "invalid_field", Attempt(without(f"{PAYLOAD}.ksn"))),
    case("no parts", 422, "invalid_field", Attempt(without(f"{PAYLOAD}.parts"))),
    case("no ciphertext", 422, "invalid_field", Attempt(without(f"{PART}.ciphertext"))),
    case("an unknown field", 422, "invalid_field", Attempt(adding("amount", 1))),
    case("an unknown field named like a card", 422, "invalid_field", Attempt(adding(PAN, "x"))),
    case(
        "an unknown field in the payload",
        422,
        "invalid_field",
        Attempt(setting(f"{PAYLOAD}.pin", "1")),
    ),
    case(
        "an unknown field in a part",
        422,
        "invalid_field",
        Attempt(setting(f"{PART}.{PAN}", "1")),
    ),
    field("payload of another type", PAYLOAD, []),
    field("payload null", PAYLOAD, None),
    field("merchant null", "merchant_id", None),
    field("merchant empty", "merchant_id", ""),
    field("merchant of another type", "merchant_id", 7),
    field("merchant with a slash", "merchant_id", "a/b"),
    field("merchant with a newline", "merchant_id", "m_demo\n"),
    field("merchant too long", "merchant_id", "m" * 65),
    field("device null", "device_id", None),
    field("device empty", "device_id", ""),
    field("device with a space", "device_id", "a b"),
    field("device too long", "device_id", "d" * 65),
    field("device not ASCII", "device_id", "gerät"),
    field("wrong base64", f"{PART}.ciphertext", "!!!!"),
    field("base64 without padding", f"{PART}.ciphertext", "AAAAAA"),
    field("base64 of the other alphabet", f"{PART}.ciphertext", "_-_-" * 8),
    field("base64 with white space", f"{PART}.ciphertext", b64(bytes(16)) + "\n"),
    field("empty ciphertext", f"{PART}.ciphertext", ""),
    field("ciphertext of another type", f"{PART}.ciphertext", 7),
    field("odd ciphertext length", f"{PART}.ciphertext", b64(bytes(15))),
    field("a block and a half", f"{PART}.ciphertext", b64(bytes(24))),
    field("no part", f"{PAYLOAD}.parts", []),
    field("parts of another type", f"{PAYLOAD}.parts", {}),
    field(
        "nine parts", f"{PAYLOAD}.parts", [{"format": "track2", "ciphertext": b64(bytes(16))}] * 9
    ),
    field("a part that is null", f"{PAYLOAD}.parts", [None]),
    field("a part that is empty", f"{PAYLOAD}.parts", [{}]),
    field("base64 of other letters", f"{PART}.ciphertext", "ÄÖÜß"),
    field("unknown format", f"{PART}.format", "track9"),
    field("a container that is not there yet", f"{PART}.format", "magtek-swipe"),
    field("unknown scheme", f"{PAYLOAD}.scheme", "rot13"),
    field("a scheme that is not there yet", f"{PAYLOAD}.scheme", "device-aead"),
    field("scheme of another type", f"{PAYLOAD}.scheme", ["dukpt-aes"]),
    field("unknown variant", f"{PAYLOAD}.key_variant", "mac"),
    field("pin variant where it is not allowed", f"{PAYLOAD}.key_variant", "pin"),
    field("unknown cipher", f"{PAYLOAD}.cipher", "des"),
    field("cipher stronger than the key", f"{PAYLOAD}.cipher", "aes-256"),
    field("unknown mode", f"{PAYLOAD}.mode", "gcm"),
    field("IV that is not hexadecimal", f"{PAYLOAD}.iv", "zz" * 16),
    field("IV of another block", f"{PAYLOAD}.iv", "00" * 8),
    field("IV of no block", f"{PAYLOAD}.iv", "00" * 12),
    field("IV empty", f"{PAYLOAD}.iv", ""),
    field("IV of another type", f"{PAYLOAD}.iv", 0),
    field("IV in other digits", f"{PAYLOAD}.iv", "\uff10" * 32),
    case(
        "IV in ECB",
        422,
        "invalid_field",
        Attempt(lambda body: body[PAYLOAD].update(mode="ecb", iv="00" * 16)),
    ),
    field("KSN of another type", f"{PAYLOAD}.ksn", 7),
    field("KSN null", f"{PAYLOAD}.ksn", None),
    field("KSN far too long", f"{PAYLOAD}.ksn", "F" * 65),
    case(
        "KSN in other digits",
        422,
        "bad_ksn",
        Attempt(setting(f"{PAYLOAD}.ksn", "DE00012800000000000000\uff10\uff11")),
    ),
    case(
        "KSN with a space behind",
        422,
        "bad_ksn",
        Attempt(setting(f"{PAYLOAD}.ksn", "DE0001280000000000000001 ")),
    ),
    tdes("data-both under TDES", f"{PAYLOAD}.key_variant", "data-both"),
    tdes("pin variant under TDES where it is not allowed", f"{PAYLOAD}.key_variant", "pin"),
    tdes("three-key TDES under TDES", f"{PAYLOAD}.cipher", "tdes-3key"),
    tdes("IV of an AES block under TDES", f"{PAYLOAD}.iv", "00" * 16),
    tdes("odd ciphertext length under TDES", f"{PART}.ciphertext", b64(bytes(12))),
    case(
        "a cipher stronger than TDES",
        422,
        "invalid_field",
        Attempt(
            lambda body: (
                body[PAYLOAD].update(cipher="aes-192"),
                body[PAYLOAD]["parts"][0].update(ciphertext=b64(bytes(48))),
            ),
            bdk_id="default-tdes-2key",
        ),
    ),
    tdes("TDES counter zero", f"{PAYLOAD}.ksn", "FFFFDE00020000000000", "bad_ksn"),
    tdes("TDES counter of 16 bits", f"{PAYLOAD}.ksn", "FFFFDE0002000000FFFF", "bad_ksn"),
    tdes("TDES KSN of 9 bytes", f"{PAYLOAD}.ksn", "FFDE00020000000001", "bad_ksn"),
    case(
        "AES KSN under TDES",
        422,
        "bad_ksn",
        Attempt(setting(f"{PAYLOAD}.scheme", "dukpt-tdes")),
    ),
    case(
        "KSN too short",
        422,
        "bad_ksn",
        Attempt(setting(f"{PAYLOAD}.ksn", "DE00012800000000000001")),
    ),
    case(
        "TDES KSN under AES",
        422,
        "bad_ksn",
        Attempt(setting(f"{PAYLOAD}.ksn", "FFFF9876543210E00001")),
    ),
    case(
        "KSN not hexadecimal",
        422,
        "bad_ksn",
        Attempt(setting(f"{PAYLOAD}.ksn", "DE0001280000000000000G01")),
    ),
    case("KSN empty", 422, "bad_ksn", Attempt(setting(f"{PAYLOAD}.ksn", ""))),
    case(
        "KSN with counter zero",
        422,
        "bad_ksn",
        Attempt(setting(f"{PAYLOAD}.ksn", "DE0001280000000000000000")),
    ),
    case(
        "KSN with 17 bits",
        422,
        "bad_ksn",
        Attempt(setting(f"{PAYLOAD}.ksn", "DE000128000000000001FFFF")),
    ),
    field("life of zero", "ttl_seconds", 0),
    field("negative life", "ttl_seconds", -1),
    field("life too long", "ttl_seconds", 9600 * 3600 + 1),
    field("life as a fraction", "ttl_seconds", 1.5),
    field("life as a whole fraction", "ttl_seconds", 60.0),
    field("life as text", "ttl_seconds", "60"),
    field("life as a boolean", "ttl_seconds", True),
    field("life beyond any integer", "ttl_seconds", 10**400),
    field("metadata as a list", "metadata", []),
    field("metadata null", "metadata", None),
    field("metadata with null", "metadata", {"n": None}),
    field("metadata of 21 pairs", "metadata", {str(number): "" for number in range(21)}),
    field("metadata with an empty name", "metadata", {"": "x"}),
    field("metadata with a long name", "metadata", {"n" * 41: "x"}),
    field("metadata with a long value", "metadata", {"n": "v" * 501}),
    field("metadata with a number", "metadata", {"n": 1}),
    field("metadata with an object", "metadata", {"n": {}}),
    case(
        "card number in metadata",
        422,
        "cleartext_card_data",
        Attempt(setting("metadata", {"n": PAN})),
    ),
    case(
        "spaced card number in metadata",
        422,
        "cleartext_card_data",
        Attempt(setting("metadata", {"n": "card 4111 1111 1111 1111!"})),
    ),
    case(
        "dashed card number in metadata",
        422,
        "cleartext_card_data",
        Attempt(setting("metadata", {"n": "3782-822463-10005"})),
    ),
    case(
        "card number as a metadata name",
        422,
        "cleartext_card_data",
        Attempt(setting("metadata", {PAN: "x"})),
    ),
    case(
        "track in metadata",
        422,
        "cleartext_card_data",
        Attempt(setting("metadata", {"n": f";{PAN}=3012201?"})),
    ),
    case(
        "card number as merchant",
        422,
        "cleartext_card_data",
        Attempt(setting("merchant_id", PAN)),
    ),
    case("card number as device", 422, "cleartext_card_data", Attempt(setting("device_id", PAN))),
    case("another merchant", 403, "forbidden", Attempt(setting("merchant_id", "m_other"))),
    case(
        "another key's ciphertext",
        422,
        "decryption_failed",
        Attempt(setting(f"{PART}.ciphertext", b64(bytes(range(48))))),
    ),
    case(
        "another variant",
        422,
        "decryption_failed",
        Attempt(setting(f"{PAYLOAD}.key_variant", "data-response")),
    ),
    case("another mode", 422, "decryption_failed", Attempt(setting(f"{PAYLOAD}.mode", "ofb"))),
    case("another format", 422, "decryption_failed", Attempt(setting(f"{PART}.format", "track1"))),
]


@pytest.mark.parametrize(("attempt", "status", "code"), [*SYNTAX, *HEADERS, *FIELDS])
def test_bad_input(
    deployment: Deployment, pos: httpx.Client, attempt: Attempt, status: int, code: str
) -> None:
    answer = attempt.send(deployment, pos)

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    check_problem(answer)


def check_problem(answer: httpx.Response) -> None:
    problem = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert {"type", "title", "status", "code", "detail", "request_id"} <= problem.keys()
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert PAN not in answer.text
    assert ("Retry-After" in answer.headers) == (answer.status_code in (409, 429, 503))


MARKER = "zq9-Canary"
MARKED = [
    *(
        Attempt(setting(path, f"{MARKER} \u00fc"))
        for path in (
            "merchant_id",
            "device_id",
            "ttl_seconds",
            "metadata",
            PAYLOAD,
            *(
                f"{PAYLOAD}.{name}"
                for name in ("scheme", "ksn", "key_variant", "cipher", "mode", "iv", "parts")
            ),
            f"{PART}.format",
            f"{PART}.ciphertext",
        )
    ),
    *(Attempt(setting(path, 1)) for path in (MARKER, f"{PAYLOAD}.{MARKER}", f"{PART}.{MARKER}")),
    Attempt(setting("metadata", {MARKER: 1})),
    Attempt(setting("metadata", {MARKER * 5: "x"})),
    Attempt(setting("metadata", {"n": [MARKER]})),
    Attempt(setting("metadata", {"n": f"{MARKER} {PAN}"})),
    Attempt(setting("merchant_id", MARKER)),
    Attempt(raw=f'{{"{MARKER}": "{MARKER}'.encode()),
    Attempt(raw=f'{{"{MARKER}": 1, "{MARKER}": 2}}'.encode()),
    Attempt(raw=f'{{"{MARKER}": NaN}}'.encode()),
    Attempt(raw=f'["{MARKER}"]'.encode()),
    *(
        Attempt(headers={name: f"{MARKER} x"})
        for name in ("Idempotency-Key", "X-Request-ID", "Authorization", "Content-Type")
    ),
]


@pytest.mark.parametrize("attempt", MARKED)
def test_a_refusal_repeats_nothing_that_was_sent(
    deployment: Deployment, service: RunningService, pos: httpx.Client, attempt: Attempt
) -> None:
    answer = attempt.send(deployment, pos)

    assert 400 <= answer.status_code < 500, answer.text
    check_problem(answer)
    assert MARKER not in answer.text + str(answer.headers)
    assert not any(MARKER in line for line in service.log_lines)


def test_a_body_of_exactly_64_kib_is_taken(deployment: Deployment, pos: httpx.Client) -> None:
    body = json.dumps(deployment.body()).encode().ljust(64 * 1024)
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}

    taken = pos.post("/v1/payment-tokens", content=body, headers=headers)
    refused = pos.post("/v1/payment-tokens", content=body + b" ", headers=headers)

    assert taken.status_code == 201
    assert (refused.status_code, refused.json()["code"]) == (413, "payload_too_large")


def test_at_least_sixty_cases() -> None:
    assert len([*SYNTAX, *HEADERS, *FIELDS]) >= 60


def encrypted(deployment: Deployment, *parts: tuple[PartFormat, bytes]) -> dict[str, Any]:
    """A body whose parts decrypt to exactly this."""
    body = deployment.body()
    ksn = KSN.from_hex(body[PAYLOAD]["ksn"], Scheme.DUKPT_AES)
    bdk = open_keystore(deployment.settings).bdk_for_simulation("local:default-aes-128")
    transaction_key = DerivationPath(ksn.scheme, initial_key(bdk, ksn)).transaction_key(ksn)
    key = payload_key(transaction_key, ksn, KeyVariant.DATA_REQUEST, Cipher.AES_128)
    body[PAYLOAD]["parts"] = [
        {
            "format": format_,
            "ciphertext": b64(
                encrypt(
                    key,
                    Cipher.AES_128,
                    Mode.CBC,
                    None,
                    SensitiveBytes(clear + bytes(-len(clear) % 16)),
                )
            ),
        }
        for format_, clear in parts
    ]
    return body


def tlv(text: str) -> tuple[PartFormat, bytes]:
    return PartFormat.EMV_TLV, bytes.fromhex(text)


TRACK2 = PartFormat.TRACK2
WRONG_PLAINTEXTS = {
    "nothing but padding": [(TRACK2, bytes(16))],
    "prose": [(TRACK2, b"this is not a card")],
    "a letter in the PAN": [(TRACK2, b";411111111111111A=30122010000000000000?")],
    "a PAN of 20 digits": [(TRACK2, b";41111111111111111111=3012201?")],
    "a PAN of 11 digits": [(TRACK2, b";41111111111=3012201?")],
    "track 3 alone": [(PartFormat.TRACK3, b"+5163499080020445=000000000000?")],
    "two PANs": [
        (TRACK2, b";4111111111111111=3012201?"),
        (PartFormat.CARD_JSON, b'{"pan": "5555555555554444"}'),
    ],
    "two expiries": [
        (TRACK2, b";4111111111111111=3012201?"),
        (PartFormat.CARD_JSON, b'{"pan": "4111111111111111", "exp_month": 11, "exp_year": 2030}'),
    ],
    "the same format twice": [(TRACK2, b";4111111111111111=3012201?")] * 2,
    "truncated TLV": [tlv("5A084111111111111111" + "5F2050")],
    "TLV without a length": [tlv("5A")],
    "TLV of endless length": [tlv("5A84FFFFFFFF4111")],
    "TLV nested too deep": [
        tlv("E1" + "".join(f"{length:02X}E1" for length in range(40, 0, -2)) + "00")
    ],
    "PIN block": [tlv("5A084111111111111111" + "99080123456789ABCDEF")],
    "TLV without a card": [tlv("9F0206000000000100")],
    "JSON that is none": [(PartFormat.CARD_JSON, b'{"pan": ')],
    "JSON with a PIN": [(PartFormat.CARD_JSON, b'{"pan": "4111111111111111", "pin": "1234"}')],
    "JSON with something else": [
        (PartFormat.CARD_JSON, b'{"pan": "4111111111111111", "amount": 1}')
    ],
    "JSON nested deep": [(PartFormat.CARD_JSON, b"[" * 3000)],
    "a month that is none": [
        (PartFormat.CARD_JSON, b'{"pan": "4111111111111111", "exp_month": 100, "exp_year": 2030}')
    ],
}


@pytest.mark.parametrize("name", WRONG_PLAINTEXTS)
def test_a_wrong_plaintext_looks_like_any_other(
    deployment: Deployment, service: RunningService, pos: httpx.Client, name: str
) -> None:
    answer = service.create(pos, encrypted(deployment, *WRONG_PLAINTEXTS[name]))
    check_problem(answer)

    problem = answer.json()
    assert isinstance(problem.pop("hint"), str)
    del problem["request_id"]
    assert problem == {
        "type": "urn:payment-token:error:decryption_failed",
        "title": "Decryption failed",
        "status": 422,
        "code": "decryption_failed",
        "detail": "The payload did not decrypt to card data. Check key, KSN, key variant, cipher and format.",
    }


FLAWED = {
    "Luhn": (
        b";4111111111111112=30122010000000000000?",
        {"luhn": False, "expired": False, "expiry_valid": True},
    ),
    "month 82": (
        b";4111111111111111=37822010000000000000?",
        {"luhn": True, "expired": False, "expiry_valid": False},
    ),
}


@pytest.mark.parametrize("name", FLAWED)
def test_lenient_takes_and_flags_what_strict_refuses(
    deployment: Deployment,
    service: RunningService,
    strict_service: RunningService,
    pos: httpx.Client,
    name: str,
) -> None:
    clear, checks = FLAWED[name]

    taken = service.create(pos, encrypted(deployment, (TRACK2, clear)))
    with strict_service.public() as strict_pos:
        refused = strict_service.create(strict_pos, encrypted(deployment, (TRACK2, clear)))

    assert taken.status_code == 201
    assert taken.json()["card"]["checks"] == checks
    assert (refused.status_code, refused.json()["code"]) == (422, "decryption_failed")


def test_a_card_past_its_expiry_is_taken_and_flagged_by_both(
    deployment: Deployment, service: RunningService, strict_service: RunningService
) -> None:
    for running in (service, strict_service):
        with running.public() as pos:
            body = encrypted(deployment, (TRACK2, b";4111111111111111=20012010000000000000?"))
            taken = running.create(pos, body)
        assert taken.status_code == 201
        assert taken.json()["card"]["checks"] == {
            "luhn": True,
            "expired": True,
            "expiry_valid": True,
        }


@pytest.fixture(scope="module")
def strict_service(deployment: Deployment, service: RunningService) -> Iterator[RunningService]:
    with deployment.serving(CARD_CHECKS="strict") as running:
        yield running


def test_two_authorizations(deployment: Deployment, pos: httpx.Client) -> None:
    headers = [
        ("Authorization", f"Bearer {deployment.api_key}"),
        ("Authorization", f"Bearer {deployment.api_key}"),
        ("Idempotency-Key", "k"),
    ]
    answer = httpx.post(
        f"{pos.base_url}/v1/payment-tokens", json=deployment.body(), headers=headers
    )

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_revoked_api_key(deployment: Deployment, service: RunningService) -> None:
    secret = deployment.run_here("api-keys", "create", "--merchant", MERCHANT).stdout.strip()
    with service.public(headers={"Authorization": f"Bearer {secret}"}) as pos:
        assert service.create(pos, deployment.body()).status_code == 201
        deployment.run_here("api-keys", "revoke", secret.split("_")[1])
        refused = service.create(pos, deployment.body())

    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")


def test_a_known_api_key_with_another_secret(
    deployment: Deployment, service: RunningService
) -> None:
    *known, _ = deployment.api_key.rpartition("_")
    forged = "".join(known) + "A" * 43
    with service.public(headers={"Authorization": f"Bearer {forged}"}) as pos:
        answer = service.create(pos, deployment.body())

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_the_alias_of_the_idempotency_key(deployment: Deployment, pos: httpx.Client) -> None:
    key = str(uuid.uuid4())
    body = deployment.body()
    first = pos.post("/v1/payment-tokens", json=body, headers={"X-Idempotency-Key": key})
    again = pos.post(
        "/v1/payment-tokens", json=body, headers={"Idempotency-Key": key, "X-Idempotency-Key": key}
    )

    assert (first.status_code, again.status_code) == (201, 200)


UNKNOWN_TOKENS = {
    "well-formed": "pt_" + "b" * 36,
    "empty id": "pt_",
    "a card number": PAN,
    "upper case": "PT_" + "B" * 36,
    "too long": "pt_" + "b" * 5000,
    "percent-encoded NUL": "pt_%00",
    "percent-encoded line break": "pt_%0d%0aX",
    "not ASCII": "pt_ü",
    "SQL": "pt_';--",
    "dots": "..pt",
}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("name", UNKNOWN_TOKENS)
def test_what_is_no_token_of_this_merchant(
    deployment: Deployment, service: RunningService, pos: httpx.Client, method: str, name: str
) -> None:
    answer = pos.request(method, f"/v1/payment-tokens/{UNKNOWN_TOKENS[name]}")

    assert (answer.status_code, answer.json()["code"]) == (404, "token_not_found"), answer.text
    check_problem(answer)


def test_another_merchants_token_looks_unknown(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    token = service.create(pos, deployment.body()).json()["payment_token"]
    secret = deployment.run_here(
        "api-keys", "create", "--merchant", "m_other", "--merchant", "m_more"
    ).stdout.strip()
    with service.public(headers={"Authorization": f"Bearer {secret}"}) as other:
        theirs = other.get(f"/v1/payment-tokens/{token}", params={"merchant_id": "m_other"})
        unknown = other.get(f"/v1/payment-tokens/pt_{'b' * 36}", params={"merchant_id": "m_other"})
        ours = other.get(f"/v1/payment-tokens/{token}", params={"merchant_id": MERCHANT})
        unnamed = other.get(f"/v1/payment-tokens/{token}")
        malformed = other.get(f"/v1/payment-tokens/{token}", params={"merchant_id": "a/b"})
        deleted = other.delete(f"/v1/payment-tokens/{token}", params={"merchant_id": "m_other"})

    assert theirs.status_code == 404
    assert {**theirs.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}
    assert (ours.status_code, ours.json()["code"]) == (403, "forbidden")
    assert (unnamed.status_code, unnamed.json()["code"]) == (422, "invalid_field")
    assert (malformed.status_code, malformed.json()["code"]) == (422, "invalid_field")
    assert deleted.status_code == 404
    assert pos.get(f"/v1/payment-tokens/{token}").status_code == 200


ROUTES = [
    ("GET", "/", 404, "route_not_found"),
    ("GET", "/v1", 404, "route_not_found"),
    ("POST", "/v1/payment-tokens/", 404, "route_not_found"),
    ("POST", "/v1/payment-tokens:batch", 404, "route_not_found"),
    ("POST", "/internal/v1/decrypt", 404, "route_not_found"),
    ("GET", "/v1/payment-tokens", 405, "method_not_allowed"),
    ("PUT", "/v1/payment-tokens", 405, "method_not_allowed"),
    ("PATCH", "/v1/payment-tokens/pt_x", 405, "method_not_allowed"),
    ("OPTIONS", "/v1/payment-tokens", 405, "method_not_allowed"),
    ("TRACE", "/v1/payment-tokens", 405, "method_not_allowed"),
    ("POST", "/v1/payment-tokens/pt_x", 405, "method_not_allowed"),
    ("GET", "/v1/payment-tokens/pt_x/", 404, "route_not_found"),
    ("GET", "/V1/payment-tokens/pt_x", 404, "route_not_found"),
    ("GET", "//v1/payment-tokens/pt_x", 404, "route_not_found"),
    ("GET", f"/{PAN}", 404, "route_not_found"),
]


@pytest.mark.parametrize(("method", "path", "status", "code"), ROUTES)
def test_routes_and_methods(
    service: RunningService, method: str, path: str, status: int, code: str
) -> None:
    # Without a key: the route is looked at before the caller.
    answer = httpx.request(method, service.urls["public"] + path)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    check_problem(answer)
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("path", ["/v1/payment-tokens", "/v1/payment-tokens/pt_x"])
def test_head(service: RunningService, path: str) -> None:
    answer = httpx.head(service.urls["public"] + path)

    assert answer.status_code == 405
    assert "Allow" in answer.headers
    assert answer.content == b""


ENCODED_TOKENS = {
    # An encoded slash is a slash to the router: the path has one step too many, and is no route.
    "path traversal": ("..%2f..%2fhealthz", b"route_not_found"),
    "a slash in the middle": ("pt_a%2Fb", b"route_not_found"),
    "encoded dots": ("%2e%2e", b"token_not_found"),
    "NUL alone": ("%00", b"token_not_found"),
    "a byte that is not UTF-8": ("pt_%ff", b"token_not_found"),
    "four bytes": ("pt_%F0%9F%92%B3", b"token_not_found"),
    "a parameter": ("pt_b;a=1", b"token_not_found"),
    "20,000 characters": ("x" * 20_000, b"token_not_found"),
}


@pytest.mark.parametrize("name", ENCODED_TOKENS)
def test_an_encoded_path_reaches_nothing_else(
    deployment: Deployment, service: RunningService, name: str
) -> None:
    path, code = ENCODED_TOKENS[name]
    answer = exchange(
        service.urls["public"],
        f"GET /v1/payment-tokens/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        f"Authorization: Bearer {deployment.api_key}\r\n\r\n".encode(),
    )

    assert answer.startswith(b"HTTP/1.1 404")
    assert b"application/problem+json" in answer
    assert b'"code": "' + code + b'"' in answer


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("merchant_id=", 422, "invalid_field"),
        ("merchant_id=m_demo&merchant_id=m_demo", 422, "invalid_field"),
        ("merchant_id=m_demo%0a", 422, "invalid_field"),
        ("merchant_id=%00", 422, "invalid_field"),
        ("merchant_id=%ff", 422, "invalid_field"),
        (f"merchant_id={'m' * 65}", 422, "invalid_field"),
        (f"merchant_id={PAN}", 403, "forbidden"),
        ("merchant_id=M_DEMO", 403, "forbidden"),
    ],
)
def test_a_bad_merchant_in_the_query(
    pos: httpx.Client, method: str, query: str, status: int, code: str
) -> None:
    answer = pos.request(method, f"/v1/payment-tokens/pt_{'b' * 36}?{query}")

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    check_problem(answer)


def test_devices(deployment: Deployment, service: RunningService, pos: httpx.Client) -> None:
    terminal = deployment.terminal()
    body = terminal.create_body(MERCHANT, PUBLISHED_CARDS[0], TRACK2)
    assert service.create(pos, body).status_code == 201

    stolen = terminal.create_body(MERCHANT, PUBLISHED_CARDS[0], TRACK2) | {
        "device_id": "somebody-else"
    }
    answer = service.create(pos, stolen)
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_device")

    deployment.run_here(
        *(
            "devices",
            "register",
            "--device-id",
            "till-9",
            "--merchant",
            MERCHANT,
            "--bdk",
            "default-aes-128",
        ),
        *("--mode", "cbc"),
    )
    differs = deployment.body(device_id="till-9")
    differs[PAYLOAD]["mode"] = "ecb"
    answer = service.create(pos, differs)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert "differs from the device's profile" in answer.json()["detail"]

    other_scheme = deployment.body(device_id="till-9")
    other_scheme[PAYLOAD]["scheme"] = "dukpt-tdes"
    answer = service.create(pos, other_scheme)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")

    for state in ("suspended", "stolen", "retired"):
        with psycopg.connect(deployment_url(deployment.settings)) as database:
            database.execute("UPDATE devices SET state = %s WHERE device_id = 'till-9'", (state,))
        answer = service.create(pos, deployment.body(device_id="till-9"))
        assert (answer.status_code, answer.json()["code"]) == (422, "device_suspended")


def test_an_initial_key_that_was_bound_at_registration_serves_nobody_else(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    body = deployment.body(device_id="till-10")
    deployment.run_here(
        *(
            "devices",
            "register",
            "--device-id",
            "till-10",
            "--merchant",
            MERCHANT,
            "--bdk",
            "default-aes-128",
        ),
        *("--ksn", body[PAYLOAD]["ksn"]),
    )

    stolen = service.create(pos, body | {"device_id": "till-11"})
    other_key = service.create(pos, deployment.body(device_id="till-10"))
    own = service.create(pos, body)

    assert stolen.json()["code"] == "unknown_device"
    assert other_key.json()["code"] == "unknown_device"
    assert own.status_code == 201


def test_the_initial_key_of_another_merchants_device(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    terminal = deployment.terminal()
    own = terminal.create_body(MERCHANT, PUBLISHED_CARDS[0], TRACK2)
    theirs = terminal.create_body("m_other", PUBLISHED_CARDS[0], TRACK2)
    secret = deployment.run("api-keys", "create", "--merchant", "m_other").stdout.strip()

    assert service.create(pos, own).status_code == 201
    with service.public(headers={"Authorization": f"Bearer {secret}"}) as other:
        answer = service.create(other, theirs)

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_device")
    check_problem(answer)


def test_an_unregistered_device_where_registration_is_required(
    deployment: Deployment, service: RunningService
) -> None:
    with deployment.serving(DEVICE_REGISTRATION="required") as running, running.public() as pos:
        answer = running.create(pos, deployment.body())

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_device")


DECRYPT = {
    "not JSON": (b"{", 400, "malformed_request"),
    "no token": ({"merchant_id": MERCHANT, "purpose": "p"}, 422, "invalid_field"),
    "unknown field": ({"fields": ["pin"]}, 422, "invalid_field"),
    "no field": ({"fields": []}, 422, "invalid_field"),
    "a field twice": ({"fields": ["pan", "pan"]}, 422, "invalid_field"),
    "purpose in capitals": ({"purpose": "Capture"}, 422, "invalid_field"),
    "long purpose": ({"purpose": "p" * 65}, 422, "invalid_field"),
    "something else": ({"amount": 1}, 422, "invalid_field"),
    "a token that is none": ({"payment_token": PAN}, 404, "token_not_found"),
    "a card number as purpose": ({"purpose": PAN}, 422, "cleartext_card_data"),
    "a card number as merchant": ({"merchant_id": PAN}, 422, "cleartext_card_data"),
    "a token far too long": ({"payment_token": "pt_" + "b" * 9000}, 404, "token_not_found"),
    "an unknown token": ({"payment_token": "pt_" + "b" * 36}, 404, "token_not_found"),
    "another merchant": ({"merchant_id": "m_other"}, 403, "forbidden"),
    "empty body": (b"", 400, "malformed_request"),
    "an array": (b"[]", 422, "invalid_field"),
    "duplicate names": (b'{"purpose": "a", "purpose": "b"}', 400, "malformed_request"),
    "a huge body": (b" " * 70_000, 413, "payload_too_large"),
    "a token of another type": ({"payment_token": 1}, 422, "invalid_field"),
    "a token with other characters": ({"payment_token": "pt_\u00fc'--"}, 404, "token_not_found"),
    "a merchant with a newline": ({"merchant_id": "m_demo\n"}, 422, "invalid_field"),
    "an empty purpose": ({"purpose": ""}, 422, "invalid_field"),
    "fields as text": ({"fields": "pan"}, 422, "invalid_field"),
    "fields null": ({"fields": None}, 422, "invalid_field"),
}


@pytest.mark.parametrize("name", DECRYPT)
def test_a_bad_release_is_refused_and_recorded(
    deployment: Deployment,
    service: RunningService,
    pos: httpx.Client,
    worker: httpx.Client,
    name: str,
) -> None:
    change, status, code = DECRYPT[name]
    body = {"payment_token": "pt_" + "c" * 36, "merchant_id": MERCHANT, "purpose": "capture"}
    if name == "no token":
        content = json.dumps(change).encode()
    else:
        content = change if isinstance(change, bytes) else json.dumps(body | change).encode()
    request_id = uuid.uuid4().hex

    answer = worker.post(
        "/internal/v1/decrypt",
        content=content,
        headers={"Content-Type": "application/json", "X-Request-ID": request_id},
    )

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    check_problem(answer)
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        rows = database.execute(
            "SELECT outcome, code FROM decrypt_audit_log WHERE request_id = %s", (request_id,)
        ).fetchall()
    assert rows == [("refused", code)]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        ({"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
        ({"X-Request-ID": "a b"}, 422, "invalid_field"),
        ({"X-Request-ID": PAN}, 422, "invalid_field"),
        ({"X-Request-ID": "r" * 129}, 422, "invalid_field"),
    ],
)
def test_bad_headers_of_a_release_are_refused_and_recorded(
    deployment: Deployment,
    worker: httpx.Client,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    body = {"payment_token": "pt_" + "c" * 36, "merchant_id": MERCHANT, "purpose": "capture"}

    answer = worker.post(
        "/internal/v1/decrypt",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"} | headers,
    )

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    check_problem(answer)
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        rows = database.execute(
            "SELECT outcome, code FROM decrypt_audit_log WHERE request_id = %s",
            (answer.json()["request_id"],),
        ).fetchall()
    assert rows == [("refused", code)]


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"POST /v1/payment-tokens HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
        b"POST /v1/payment-tokens HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/payment-tokens HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/payment-tokens HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x00\xff\x01",
        b"\0" * 1000,
    ],
    ids=[
        "garbage",
        "huge header",
        "short body",
        "negative length",
        "both lengths",
        "bad chunk",
        "TLS",
        "NULs",
    ],
)
def test_broken_http_ends_one_connection_and_nothing_else(
    service: RunningService, sent: bytes
) -> None:
    answer = exchange(service.urls["public"], sent, half_close=True)

    assert not answer or answer.split(b" ")[1] in (b"400", b"401", b"404", b"413", b"431")
    assert httpx.get(service.urls["public"] + "/healthz").status_code == 200


BROKEN_AFTER_THE_KEY = {
    "bad chunk": (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
    "length and chunks": (
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"400",
    ),
    "two lengths": (b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", b"400"),
    "negative length": (b"Content-Length: -1\r\n\r\n", b"400"),
    "length beyond 64 bits": (b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", b"400"),
    "length of 19 digits": (b"Content-Length: " + b"9" * 19 + b"\r\n\r\n", b"413"),
    "huge, asking first": (b"Expect: 100-continue\r\nContent-Length: 9999999\r\n\r\n", b"413"),
    "folded request id": (b"X-Request-ID: a\r\n b\r\nContent-Length: 2\r\n\r\n{}", b"400"),
    "line feed in the request id": (
        b"X-Request-ID: a\nX: b\r\nContent-Length: 2\r\n\r\n{}",
        b"400",
    ),
    "carriage return in it": (b"X-Request-ID: a\rX: b\r\nContent-Length: 2\r\n\r\n{}", b"400"),
    "NUL in it": (b"X-Request-ID: a\0b\r\nContent-Length: 2\r\n\r\n{}", b"400"),
}


@pytest.mark.parametrize("name", BROKEN_AFTER_THE_KEY)
def test_broken_http_of_a_caller_with_a_key(
    deployment: Deployment, service: RunningService, name: str
) -> None:
    rest, status = BROKEN_AFTER_THE_KEY[name]

    answer = exchange(service.urls["public"], head_of_a_create(deployment) + rest)

    assert answer.split(b" ")[1] == status
    assert b"X: b" not in answer
    assert httpx.get(service.urls["public"] + "/readyz").status_code == 200


@pytest.mark.parametrize(
    "rest",
    [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n10\r\n{"],
    ids=["of a stated length", "in chunks"],
)
def test_a_body_that_is_cut_short_is_malformed(
    deployment: Deployment, service: RunningService, rest: bytes
) -> None:
    request_id = uuid.uuid4().hex
    head = head_of_a_create(deployment) + f"X-Request-ID: {request_id}\r\n".encode()

    exchange(service.urls["public"], head + rest, half_close=True)

    # Nobody is there to read the answer, so the log has to tell.
    deadline = time.monotonic() + 5
    while not (lines := [line for line in service.log_lines if request_id in line]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [json.loads(line)["code"] for line in lines] == ["malformed_request"]
    assert httpx.get(service.urls["public"] + "/readyz").status_code == 200


def head_of_a_create(deployment: Deployment) -> bytes:
    return (
        "POST /v1/payment-tokens HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        f"Authorization: Bearer {deployment.api_key}\r\n"
        f"Content-Type: application/json\r\nIdempotency-Key: {uuid.uuid4()}\r\n"
    ).encode()


@pytest.mark.parametrize(
    "sent", [b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"\0" * 1000], ids=["HTTP", "NULs"]
)
def test_what_is_not_tls_gets_no_answer_from_the_internal_listener(
    service: RunningService, worker: httpx.Client, sent: bytes
) -> None:
    answer = exchange(service.urls["internal"], sent, half_close=True)

    assert not answer.startswith(b"HTTP")
    assert worker.get("/healthz").status_code == 200


def test_a_body_in_chunks_is_bounded_too(deployment: Deployment, pos: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b" " * 1024

    answer = pos.post(
        "/v1/payment-tokens",
        content=endless(),
        headers={"Content-Type": "application/json", "Idempotency-Key": "k"},
    )

    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize("which", ["service", "strict_service"])
def test_nothing_of_all_this_was_a_defect(request: pytest.FixtureRequest, which: str) -> None:
    """Runs last: no answer was a 5xx, no exception was logged, and the card number stands in no line."""
    running: RunningService = request.getfixturevalue(which)

    counts = httpx.get(running.urls["metrics"] + "/metrics").text.splitlines()
    requests = [line for line in counts if line.startswith("payment_token_requests_total{")]
    assert requests
    assert not [line for line in requests if 'status="5' in line]
    assert not [
        line
        for line in running.log_lines
        if "internal_error" in line or '"exception"' in line or PAN in line
    ]

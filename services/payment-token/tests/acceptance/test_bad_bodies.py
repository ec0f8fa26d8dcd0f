"""Bodies that are wrong: in syntax, in size, in a field. Each gets its own code, shows nothing of what was sent, and never a 500."""

import json
import uuid

import httpx
import pytest

from tests.support.deployment import Deployment, RunningService
from tests.support.problems import PAN, PART, PAYLOAD, b64, case, check_problem, field, raw, tdes
from tests.support.requests import Attempt, adding, setting, without

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
    field("device-aead with a KSN", f"{PAYLOAD}.scheme", "device-aead"),
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


@pytest.mark.parametrize(("attempt", "status", "code"), [*SYNTAX, *FIELDS])
def test_a_bad_body(
    deployment: Deployment, pos: httpx.Client, attempt: Attempt, status: int, code: str
) -> None:
    answer = attempt.send(deployment, pos)

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    check_problem(answer)


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
    assert len([*SYNTAX, *FIELDS]) >= 60

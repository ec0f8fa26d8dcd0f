"""Every published card read that this service takes comes back right through the running service."""

import base64
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.vectors import dukpt_vectors, entries

SCHEMES = {"tdes-dukpt": "dukpt-tdes", "aes-dukpt": "dukpt-aes"}
VARIANTS = {
    "pin": "pin",
    "data_req": "data-request",
    "data_enc": "data-request",
    "data_both": "data-both",
}
CIPHERS = {"TDES": "tdes-2key", "AES128": "aes-128", "AES192": "aes-192", "AES256": "aes-256"}
# Counters that no terminal uses, and a track that is taken and discarded.
IMPOSSIBLE = {"node-3des", "node-aes"}
WITHOUT_CARD = {"magtek-t3"}
EVERYTHING = ["pan", "expiry", "cardholder_name", "sad"]

BRANDS = {"4": "visa", "5": "mastercard", "3": "amex"}


@pytest.fixture(scope="module")
def keys_are_imported(deployment: Deployment, service: RunningService) -> None:
    """A BDK id for each vector: several share a key and a KSN, and an initial key belongs to one device."""
    reads = [{"id": "magtek-read", "bdk": "0123456789ABCDEFFEDCBA9876543210"}]
    reads += [{"id": name, "bdk": frame("magtek-kb-string-08")["bdk"]} for name in FRAME_READS]
    for entry in dukpt_vectors()["card_data"] + reads:
        algorithm = {32: "aes-128", 48: "aes-192", 64: "aes-256"}[len(entry["bdk"])]
        if entry.get("scheme", "tdes-dukpt") == "tdes-dukpt":
            algorithm = "tdes-2key"
        deployment.run_here(
            *("bdk", "import", "--id", entry["id"], "--algorithm", algorithm),
            *("--component", entry["bdk"], "--allow-pin-variant"),
        )
        deployment.run_here(
            *(
                "devices",
                "register",
                "--device-id",
                entry["id"],
                "--merchant",
                MERCHANT,
                "--bdk",
                entry["id"],
            )
        )


def frame(frame_id: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        entry for entry in dukpt_vectors()["frames"] if entry["id"] == frame_id
    )
    return found


def magtek_fields() -> list[tuple[str, str]]:
    """Clear masked tracks | status | track 1 | track 2 | track 3 | ..."""
    fields = frame("magtek-kb-string-08")["frame_ascii"].split("|")
    return list(zip(("track1", "track2", "track3"), fields[2:5], strict=True))


def id_tech_enhanced_fields() -> list[tuple[str, str]]:
    """Ten bytes of head with the lengths of the tracks, tracks 1 and 2 masked, then all three in whole blocks."""
    raw = bytes.fromhex(frame("idtech-enhanced-03")["frame_hex"])
    lengths = raw[5:8]
    start = 10 + lengths[0] + lengths[1]
    parts = []
    for name, length in zip(("track1", "track2", "track3"), lengths, strict=True):
        end = start + length + -length % 8
        parts.append((name, raw[start:end].hex()))
        start = end
    return parts


def id_tech_emv_field(tag: str) -> list[tuple[str, str]]:
    return [("emv-tlv", frame("idtech-emv-tlv-tdes")["expect"]["encrypted"][tag])]


# Of each reader's frame, what a terminal would send as parts: frame, key variant, parts, expiry.
FRAME_READS: dict[str, tuple[str, str, list[tuple[str, str]], tuple[int | None, int | None]]] = {
    "magtek-string": ("magtek-kb-string-08", "pin", magtek_fields(), (2008, 4)),
    "idtech-enhanced": (
        "idtech-enhanced-03",
        "data-request",
        id_tech_enhanced_fields(),
        (2008, 9),
    ),
    "idtech-emv-57": (
        "idtech-emv-tlv-tdes",
        "data-request",
        id_tech_emv_field("57"),
        (2020, 12),
    ),
    "idtech-emv-5A": (
        "idtech-emv-tlv-tdes",
        "data-request",
        id_tech_emv_field("5A"),
        (None, None),
    ),
}


def body_of(device_id: str, entry: dict[str, Any], parts: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "merchant_id": MERCHANT,
        "device_id": device_id,
        "encrypted_payload": {
            "scheme": SCHEMES[entry["scheme"]],
            "ksn": entry["ksn"],
            "key_variant": VARIANTS[entry["key_variant"]],
            "cipher": CIPHERS[entry["cipher"]],
            "mode": entry["mode"].lower(),
            "iv": entry["iv"],
            "parts": [
                {"format": format_, "ciphertext": base64.b64encode(bytes.fromhex(text)).decode()}
                for format_, text in parts
            ],
        },
    }


def create(pos: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return pos.post("/v1/payment-tokens", json=body, headers={"Idempotency-Key": str(uuid.uuid4())})


@pytest.mark.usefixtures("keys_are_imported")
@pytest.mark.parametrize("entry", entries("card_data"))
def test_a_published_read(
    service: RunningService, pos: httpx.Client, worker: httpx.Client, entry: dict[str, Any]
) -> None:
    created = create(pos, body_of(entry["id"], entry, [(entry["content"], entry["ciphertext"])]))

    if entry["id"] in IMPOSSIBLE:
        assert (created.status_code, created.json()["code"]) == (422, "bad_ksn")
        return
    if entry["id"] in WITHOUT_CARD:
        assert (created.status_code, created.json()["code"]) == (422, "decryption_failed")
        return
    assert created.status_code == 201, created.text
    expected = expected_card(entry)
    card = created.json()["card"]
    assert (card["bin"], card["last4"]) == (expected["pan"][:6], expected["pan"][-4:])
    assert card["brand"] == BRANDS[expected["pan"][0]]

    released = service.release(worker, created.json()["payment_token"], fields=EVERYTHING).json()[
        "payment_data"
    ]
    assert released["pan"] == expected["pan"]
    assert (released["exp_year"], released["exp_month"]) == expected["expiry"]
    assert released["cardholder_name"] == expected["name"]
    assert released["sad"][entry["content"].removesuffix("-tlv")] == expected["read"]


def expected_card(entry: dict[str, Any]) -> dict[str, Any]:
    clear = bytes.fromhex(entry["plaintext_hex"]).rstrip(b"\0")
    if entry["content"] == "emv-tlv":
        return {
            "pan": "4761739001010010",
            "expiry": (2015, 12),
            "name": None,
            "read": clear.hex().upper(),
        }
    yymm = entry["expect_card"]["expiry_yymm"]
    text = clear.decode("ascii")
    return {
        "pan": entry["expect_card"]["pan"],
        "expiry": (2000 + int(yymm[:2]), int(yymm[2:])),
        "name": text.split("^")[1].rstrip() if entry["content"] == "track1" else None,
        "read": text,
    }


@pytest.mark.usefixtures("keys_are_imported")
def test_the_tracks_of_one_swipe_are_merged(
    service: RunningService, pos: httpx.Client, worker: httpx.Client
) -> None:
    tracks = {
        entry["id"]: entry
        for entry in dukpt_vectors()["card_data"]
        if entry["id"].startswith("magtek-")
    }
    parts = [
        (tracks[f"magtek-t{number}"]["content"], tracks[f"magtek-t{number}"]["ciphertext"])
        for number in (1, 2, 3)
    ]

    created = create(pos, body_of("magtek-read", tracks["magtek-t1"], parts))

    assert created.status_code == 201, created.text
    assert created.json()["card"]["checks"]["luhn"] is False
    assert created.json()["card"]["checks"]["expired"] is True
    data = service.release(worker, created.json()["payment_token"], fields=EVERYTHING).json()[
        "payment_data"
    ]
    assert data["pan"] == "5452300551227189"
    assert data["cardholder_name"] == "HOGAN/PAUL"
    assert data["sad"]["track1"] == tracks["magtek-t1"]["plaintext_ascii"]
    assert data["sad"]["track2"] == tracks["magtek-t2"]["plaintext_ascii"]
    assert data["sad"]["service_code"] == "321"
    assert "5163499080020445" not in str(data)


@pytest.mark.usefixtures("keys_are_imported")
@pytest.mark.parametrize("name", FRAME_READS)
def test_the_encrypted_fields_of_a_readers_frame(
    service: RunningService, pos: httpx.Client, worker: httpx.Client, name: str
) -> None:
    frame_id, variant, parts, expiry = FRAME_READS[name]
    expected = frame(frame_id)["expect"]
    body = {
        "merchant_id": MERCHANT,
        "device_id": name,
        "encrypted_payload": {
            "ksn": expected["ksn"],
            "key_variant": variant,
            "parts": [
                {"format": format_, "ciphertext": base64.b64encode(bytes.fromhex(text)).decode()}
                for format_, text in parts
            ],
        },
    }

    created = create(pos, body)

    assert created.status_code == 201, created.text
    data = service.release(worker, created.json()["payment_token"], fields=EVERYTHING).json()[
        "payment_data"
    ]
    assert data["pan"] == expected["pan"]
    assert (data["exp_year"], data["exp_month"]) == expiry
    assert data["cardholder_name"] == expected.get("name")
    sad = data["sad"]
    if "track1" in expected:
        assert (sad["track1"], sad["track2"]) == (expected["track1"], expected["track2"])
        assert sad["service_code"] == expected["service_code"]
        assert expected["track3"] not in str(data)
    else:
        assert expected["decrypted_tlv"][name[-2:]] in sad["emv"]


@pytest.fixture(scope="module")
def strict(new_deployment: Callable[[], Deployment]) -> Iterator[tuple[Deployment, RunningService]]:
    deployment = new_deployment()
    with deployment.serving(CARD_CHECKS="strict") as service:
        yield deployment, service


def test_a_published_card_that_fails_luhn_is_refused_where_checks_are_strict(
    strict: tuple[Deployment, RunningService],
) -> None:
    deployment, service = strict
    (entry,) = (entry for entry in dukpt_vectors()["card_data"] if entry["id"] == "magtek-t1")
    deployment.run_here(
        *("bdk", "import", "--id", "magtek", "--algorithm", "tdes-2key"),
        *("--component", entry["bdk"], "--allow-pin-variant"),
    )
    deployment.run_here(
        "devices", "register", "--device-id", "d", "--merchant", MERCHANT, "--bdk", "magtek"
    )

    with service.public() as pos:
        refused = create(pos, body_of("d", entry, [("track1", entry["ciphertext"])]))

    assert (refused.status_code, refused.json()["code"]) == (422, "decryption_failed")
    assert refused.json()["hint"] == "luhn"

"""A card that is used nowhere else runs through everything, and is then looked for everywhere."""

import base64
import json
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha1
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from payment_token.cli.published_cards import PublishedCard
from payment_token.domain.device_payload import KeyVariant, PartFormat
from payment_token.infrastructure.database.embedded import EmbeddedServer
from tests.support.card_number_scanner import find, planted
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.reader_frames import BDK, IDTECHSwipe, in_envelope

# A published test number, a name, and discretionary data that stand in no other test.
CANARY = PublishedCard("4000056655665556", "3109", "226", "CANARY/YELLOW")
DISCRETIONARY = "0000000000000"
# What an ID TECH reader tells of a track beside its ciphertext: without a key, so that a few thousand guesses find the card.
HASH = sha1(CANARY.track2.encode(), usedforsecurity=False).hexdigest()
SECRETS = (
    *(CANARY.pan, CANARY.name, f"={CANARY.expiry_yymm}{CANARY.service_code}{DISCRETIONARY}"),
    *(HASH, HASH.upper()),
)
FORMATS = (PartFormat.TRACK1, PartFormat.TRACK2, PartFormat.EMV_TLV, PartFormat.CARD_JSON)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment.made_in(tmp_path_factory.mktemp("canary"))
    with EmbeddedServer(deployment.folder):
        yield deployment


@pytest.mark.parametrize("secret", SECRETS)
def test_the_scanner_finds_what_is_planted(secret: str) -> None:
    for name, haystack in planted(secret).items():
        assert find(secret, haystack), name
    assert not find(secret, b"nothing of the kind, 4000 0566 0000 5556" * 100)


def test_no_card_data_anywhere(deployment: Deployment) -> None:
    with deployment.serving(DEBUG="true") as service:
        seen = run_through_everything(deployment, service)
        seen["metrics"] = httpx.get(service.urls["metrics"] + "/metrics").content
        with EmbeddedServer(deployment.folder) as server:
            seen["dump"] = dump(server)
            seen["statistics"] = statements(server)
    seen["service log"] = "".join(service.log_lines).encode()
    for path in deployment.folder.rglob("*"):
        if path.is_file() and path.name != "postmaster.pid":
            seen[str(path.relative_to(deployment.folder))] = path.read_bytes()

    assert len(seen["dump"]) > 10_000
    assert len(seen) > 60
    hits = {
        f"{secret[:2]}… in {place}": where
        for secret in SECRETS
        for place, text in seen.items()
        if (where := find(secret, text))
    }
    assert hits == {}


def run_through_everything(deployment: Deployment, service: RunningService) -> dict[str, bytes]:
    """Every answer but the releases themselves, by name."""
    answers: dict[str, bytes] = {}

    def note(name: str, answer: httpx.Response) -> httpx.Response:
        answers[name] = answer.content + json.dumps(dict(answer.headers)).encode()
        return answer

    with service.public() as pos, service.worker() as worker:
        for part in FORMATS:
            body, key = canary_body(deployment, part), uuid.uuid4().hex
            token = note(f"create {part}", service.create(pos, body, key)).json()["payment_token"]
            note(f"replay {part}", service.create(pos, body, key))
            note(f"view {part}", pos.get(f"/v1/payment-tokens/{token}"))
            released = service.release(
                worker, token, fields=["pan", "expiry", "cardholder_name", "sad"]
            )
            # The one answer that may hold it does.
            assert find(CANARY.pan, released.content)
            note(f"reused {part}", service.create(pos, body | {"metadata": {"a": "b"}}, key))
            for field in ("scheme", "key_variant", "mode", "cipher"):
                note(f"wrong {field} {part}", service.create(pos, broken(body, field)))
            note(f"other format {part}", service.create(pos, mislabelled(body)))
        for name, message in messages(deployment).items():
            key = uuid.uuid4().hex
            created = note(name, service.create(pos, message, key))
            note(f"{name}, again", service.create(pos, message, key))
            assert created.status_code == (201 if name == "message" else 422), created.text
        for name, changes in in_clear(deployment).items():
            answer = note(
                name, service.create(pos, canary_body(deployment, PartFormat.TRACK2) | changes)
            )
            assert answer.status_code == 422, name
        note("key", service.create(pos, deployment.body(), CANARY.pan))
        note("path", pos.get(f"/v1/payment-tokens/{CANARY.pan}"))
        note("route", pos.get(f"/v1/cards/{CANARY.pan}"))
        note("query", pos.get(f"/v1/payment-tokens/{token}", params={"merchant_id": CANARY.pan}))
        note("header", pos.get(f"/v1/payment-tokens/{token}", headers={"X-Request-ID": CANARY.pan}))
        note(
            "credential",
            pos.get(
                f"/v1/payment-tokens/{token}", headers={"Authorization": f"Bearer {CANARY.pan}"}
            ),
        )
        note(
            "agent",
            pos.get("/healthz", headers={"User-Agent": CANARY.pan, "X-Forwarded-For": CANARY.pan}),
        )
        for name, changes in {
            "purpose": {"purpose": CANARY.pan},
            "token": {"payment_token": CANARY.pan},
            "merchant": {"merchant_id": CANARY.pan},
            "fields": {"fields": [CANARY.pan]},
            "unknown": {CANARY.pan: 1},
        }.items():
            note(f"release by {name}", service.release(worker, token, **changes))
        break_records(deployment, token)
        for fields in (["pan"], ["pan", "sad"]):
            note(f"integrity {fields}", service.release(worker, token, fields=fields))
        note("revoke", pos.delete(f"/v1/payment-tokens/{token}"))
        note("release of a revoked token", service.release(worker, token))
    return answers


def canary_body(deployment: Deployment, part: PartFormat) -> dict[str, Any]:
    return deployment.terminal().create_body(MERCHANT, CANARY, part)


def broken(body: dict[str, Any], field: str) -> dict[str, Any]:
    wrong = {
        "scheme": "dukpt-tdes",
        "key_variant": KeyVariant.DATA_RESPONSE.value,
        "mode": "ecb",
        "cipher": "tdes-3key",
    }
    return body | {"encrypted_payload": body["encrypted_payload"] | {field: wrong[field]}}


def mislabelled(body: dict[str, Any]) -> dict[str, Any]:
    (part,) = body["encrypted_payload"]["parts"]
    other = "track2" if part["format"] != "track2" else "track1"
    return body | {
        "encrypted_payload": body["encrypted_payload"] | {"parts": [part | {"format": other}]}
    }


def messages(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """A reader's whole message, and what becomes of it on a bad line or in the wrong hands."""
    device = "canary-reader"
    deployment.run(
        *("bdk", "import", "--id", device, "--algorithm", "tdes-2key"),
        *("--component", BDK.reveal().hex()),
    )
    deployment.run(
        *("devices", "register", "--device-id", device, "--merchant", MERCHANT, "--bdk", device)
    )
    masked = f"%*4000********5556^{CANARY.name}^***?".encode().ljust(len(CANARY.track1), b"*")
    swipe = IDTECHSwipe(
        tracks=(CANARY.track1.encode(), CANARY.track2.encode(), b""), masked=(masked, b"", b"")
    )
    frame, unknown_hash = swipe.enhanced(), bytearray(swipe.enhanced()[3:-3])
    unknown_hash[-11] ^= 1
    frames = {
        "message": frame,
        "message, damaged": frame[:30] + b"?" + frame[31:],
        "message, cut": frame[:-30],
        "message, another hash": in_envelope(bytes(unknown_hash)),
        "message, in clear": replace(
            swipe, masked=swipe.tracks, sent=0x80, hashes=[bytes.fromhex(HASH)]
        ).enhanced(),
        "message, typed": frame.hex().encode()[:-4],
    }
    return {
        name: {
            "merchant_id": MERCHANT,
            "device_id": device,
            "encrypted_payload": {
                "parts": [{"format": "idtech-msr", "frame": base64.b64encode(text).decode()}]
            },
        }
        for name, text in frames.items()
    }


def in_clear(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """A terminal or integrator that sends card data where it must not be."""
    payload = canary_body(deployment, PartFormat.TRACK2)["encrypted_payload"]
    spaced = " ".join(CANARY.pan[start : start + 4] for start in range(0, 16, 4))
    return {
        "metadata": {"metadata": {"note": CANARY.pan}},
        "metadata, spaced": {"metadata": {"note": f"card {spaced}"}},
        "metadata name": {"metadata": {CANARY.pan: "x"}},
        "metadata, track": {"metadata": {"note": CANARY.track2}},
        "device": {"device_id": CANARY.pan},
        "unknown field": {CANARY.pan: CANARY.name},
        "life": {"ttl_seconds": int(CANARY.pan)},
        "KSN": {"encrypted_payload": payload | {"ksn": CANARY.pan}},
        "IV": {"encrypted_payload": payload | {"iv": CANARY.pan}},
        "format": {
            "encrypted_payload": payload | {"parts": [{"format": CANARY.pan, "ciphertext": "AAAA"}]}
        },
        "ciphertext": {
            "encrypted_payload": payload
            | {"parts": [{"format": "track2", "ciphertext": CANARY.track2}]}
        },
    }


def break_records(deployment: Deployment, token: str) -> None:
    with EmbeddedServer(deployment.folder) as server, psycopg.connect(server.url) as database:
        database.execute(
            "UPDATE payment_tokens SET sealed_pan = set_bit(sealed_pan, 900, 1 - get_bit(sealed_pan, 900))"
            " WHERE token_id = %s",
            (token,),
        )


def dump(server: EmbeddedServer) -> bytes:
    program = Path(server._binaries) / "pg_dump"
    return subprocess.run(
        [program, "--inserts", server.url], capture_output=True, check=True
    ).stdout


def statements(server: EmbeddedServer) -> bytes:
    """What a database operator sees of running and last statements."""
    with psycopg.connect(server.url) as database:
        return repr(database.execute("SELECT * FROM pg_stat_activity").fetchall()).encode()

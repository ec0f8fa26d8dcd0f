"""``payment-token diagnose`` and the simulators, as a developer calls them."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.card_number_scanner import find
from tests.support.deployment import Deployment, RunningService
from tests.support.problems import check_nothing_was_a_defect
from tests.support.vectors import dukpt_vectors

X9_24_1 = "0123456789ABCDEFFEDCBA9876543210"
PAN = "5452300551227189"


@pytest.fixture(scope="module")
def keyed(deployment: Deployment) -> Deployment:
    deployment.run_here(
        *("bdk", "import", "--id", "diagnosed", "--algorithm", "tdes-2key"),
        *("--component", X9_24_1, "--ksn-prefix", "FFFF9876543210E", "--allow-pin-variant"),
    )
    return deployment


def vector(name: str) -> dict[str, Any]:
    section = [*dukpt_vectors()["card_data"], *dukpt_vectors()["frames"]]
    found: dict[str, Any] = next(entry for entry in section if entry["id"] == name)
    return found


def diagnosed(keyed: Deployment, *arguments: str, status: int = 0) -> dict[str, Any]:
    """Under a DUKPT key of this file, since tests of other files give the deployment the same key under other names."""
    only = ("--bdk", "diagnosed") if {"--ksn", "--frame"} & set(arguments) else ()
    done = keyed.run_here("diagnose", *arguments, *only, "--json", check=False)
    assert done.returncode == status, done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def mistakes(document: dict[str, Any]) -> set[str]:
    found = document["findings"][0]["remarks"] if document["findings"] else []
    return {remark["mistake"] for remark in (*document["remarks"], *found)}


def test_a_read_is_found_with_a_profile_to_paste(keyed: Deployment) -> None:
    track1, track2 = vector("magtek-t1"), vector("magtek-t2")

    document = diagnosed(keyed, "--ksn", track1["ksn"], track1["ciphertext"], track2["ciphertext"])

    (found,) = document["findings"]
    assert document["verdict"] == "found"
    assert found["bdk"] == "diagnosed"
    assert found["card"] == {"brand": "mastercard", "bin": PAN[:6], "last4": PAN[-4:]}
    assert found["profile"] == "key-variant=pin,cipher=tdes-2key,mode=cbc"
    assert [part["format"] for part in found["parts"]] == ["track1", "track2"]


def test_the_profile_that_it_names_can_be_pasted(keyed: Deployment) -> None:
    track = vector("magtek-t1")
    found = diagnosed(keyed, "--ksn", track["ksn"], track["ciphertext"])["findings"][0]

    keyed.run_here(
        *("bdk", "import", "--id", "pasted", "--algorithm", "tdes-2key", "--component", X9_24_1),
        *("--allow-pin-variant", "--profile", found["profile"]),
    )
    keyed.run_here(
        *("devices", "register", "--device-id", "pasted", "--merchant", "m_demo"),
        *("--bdk", "pasted", *found["register"].split()),
    )


def test_people_get_lines_without_a_card_or_a_key(keyed: Deployment) -> None:
    track = vector("magtek-t2")
    shown = keyed.run_here(
        *("diagnose", "--bdk", "diagnosed", "--ksn", track["ksn"], track["ciphertext"])
    ).stdout

    assert shown.startswith("Found: track 2 of 545230…7189 (mastercard)")
    assert "--profile key-variant=pin,cipher=tdes-2key,mode=cbc" in shown
    assert find(PAN, shown.encode()) == []
    assert X9_24_1 not in shown


def test_whole_messages_of_readers_are_diagnosed(keyed: Deployment, tmp_path: Path) -> None:
    swipe = tmp_path / "swipe"
    swipe.write_text(vector("magtek-kb-string-08")["frame_ascii"] + "\n")
    for given, container in (
        (str(swipe), "magtek-swipe"),
        (vector("idtech-original-01")["frame_hex"], "idtech-msr"),
        (vector("idtech-enhanced-03")["frame_hex"], "idtech-msr"),
    ):
        document = diagnosed(keyed, "--frame", given)
        assert document["verdict"] == "found"
        assert document["findings"][0]["container"] == container
        assert len(document["findings"][0]["parts"]) == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--ksn", "FFFF9876543210E00009", "T2"), "ksn_off"),
        (("--ksn", "FF FF 98 76 54 32 10 E0 00 08", "T2"), "ksn_not_hex"),
        (("--ksn", "FFFF9876543210E00008", "T2", "--part", "track1"), "other_format"),
        (("--ksn", "FFFF9876543210E00008", "T2", "--iv", "0011223344556677"), "unused_iv"),
    ],
)
def test_a_mistake_is_named_beside_the_finding(
    keyed: Deployment, arguments: tuple[str, ...], named: str
) -> None:
    track = vector("magtek-t2")["ciphertext"]
    given = [track if one == "T2" else one for one in arguments]
    assert named in mistakes(diagnosed(keyed, *given))


@pytest.mark.parametrize(
    ("ciphertext", "named"),
    [
        (";4111111111111111=30122010000012345678?", "clear_text"),
        ("00" * 16, "wrong_key"),
        ("00" * 13, "not_whole_blocks"),
        ("nonsense!", "not_ciphertext"),
    ],
)
def test_where_nothing_is_found_the_status_says_so(
    keyed: Deployment, ciphertext: str, named: str
) -> None:
    document = diagnosed(keyed, "--ksn", "FFFF9876543210E00008", ciphertext, status=1)
    assert document["verdict"] == "nothing"
    assert named in mistakes(document)
    assert "4111111111111111" not in json.dumps(document)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "1 to 8 ciphertexts"),
        (("00" * 8,), "--ksn is required"),
        (("--ksn", "F" * 20, *["00" * 8] * 9), "1 to 8 ciphertexts"),
        (("--ksn", "F" * 20, "00" * 9000), "at most 16384 characters"),
        (("--ksn", "F" * 20, "00" * 8, "--bdk", "nobody's"), "no key nobody's"),
        (("--ksn", "F" * 20, "00" * 8, "--iv", "xyz"), "--iv"),
        (("--ksn", "F" * 20, "00" * 8, "--part", "track1", "--part", "track2"), "--part"),
        (("--frame", "00" * 8, "--ksn", "F" * 20), "leave out --ksn"),
        (("--frame", "00" * 8), "no message of a reader"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(
    keyed: Deployment, arguments: tuple[str, ...], said: str
) -> None:
    refused = keyed.run_here("diagnose", *arguments, check=False)
    assert refused.returncode == 1
    assert said in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_production_is_refused(keyed: Deployment) -> None:
    production = keyed.run_here(
        "diagnose",
        *("--ksn", "F" * 20, "00" * 8),
        check=False,
        ENVIRONMENT="production",
        DATABASE_URL="postgresql://h/d",
    )
    assert production.returncode == 1
    assert "outside production only" in production.stderr


def test_device_aead_is_opened_or_not_at_all(keyed: Deployment) -> None:
    printed = keyed.run_here(
        *("simulate", "terminal", "--profile", "device-aead", "--device-id", "aead-9"),
        *("--format", "card-json", "--count", "1", "--print"),
    ).stdout
    (part,) = json.loads(printed)["encrypted_payload"]["parts"]
    who = ("--merchant", "m_demo", "--device-id", "aead-9")

    for epoch in ("1", "4"):
        document = diagnosed(keyed, part["ciphertext"], *who, "--key-epoch", epoch)
        (found,) = document["findings"]
        assert (found["key_epoch"], found["parts"]) == (1, [{"format": "card-json"}])
        assert found["card"]["last4"] == "1111"
    other = ("--merchant", "m_demo", "--device-id", "aead-8")
    assert diagnosed(keyed, part["ciphertext"], *other, status=1)["verdict"] == "nothing"


# --- Terminals in software ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "profile",
    [
        "generic-tdes",
        "generic-aes",
        "idtech-msr-tdes",
        "idtech-msr-aes",
        "idtech-emv-aes",
        "magtek-swipe",
        "dspread",
        "device-aead",
    ],
)
def test_a_reader_of_each_profile_sends(
    keyed: Deployment, service: RunningService, profile: str
) -> None:
    url = service.urls["public"]
    sent = keyed.run_here(
        "simulate", "terminal", "--profile", profile, "--count", "3", "--url", url
    )
    assert "3 x 201" in sent.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--profile", "nobody's"), "one of generic-tdes"),
        (("--profile", "generic-aes", "--mode", "ecb"), "settles the rest"),
        (("--profile", "magtek-swipe", "--bdk", "default-tdes-2key"), "--allow-pin-variant"),
    ],
)
def test_a_reader_that_is_not_there_is_refused(
    keyed: Deployment, arguments: tuple[str, ...], said: str
) -> None:
    refused = keyed.run_here("simulate", "terminal", *arguments, check=False)
    assert refused.returncode == 1
    assert said in refused.stderr


@pytest.fixture(scope="module")
def strictly_registered(keyed: Deployment) -> Iterator[RunningService]:
    with keyed.serving(DEVICE_REGISTRATION="required") as running:
        yield running
        check_nothing_was_a_defect(running)


def fleet(*arguments: str) -> tuple[str, ...]:
    return ("simulate", "fleet", "--devices", "20", *arguments)


def test_a_fleet_is_answered_as_it_should_be(
    keyed: Deployment, strictly_registered: RunningService
) -> None:
    shown = keyed.run_here(
        *fleet("--rate", "500", "--reads", "400", "--seed", "7"),
        *("--url", strictly_registered.urls["public"]),
        *("--profile", "generic-aes", "--profile", "generic-tdes", "--profile", "idtech-msr-tdes"),
        DEVICE_REGISTRATION="required",
    ).stdout

    assert "Every answer is as it should be." in shown
    for kind in ("read", "late read", "retry"):
        assert re.search(rf"{kind}.* ok", shown)
    # Which of the rare ones came, the seed decides.
    assert len(re.findall(r"ms +ok", shown)) > 6


def test_an_answer_that_differs_ends_with_one(keyed: Deployment, service: RunningService) -> None:
    """This service takes unknown devices, and the fleet is told that it does not."""
    shown = keyed.run_here(
        *fleet("--rate", "500", "--reads", "400", "--url", service.urls["public"]),
        check=False,
        DEVICE_REGISTRATION="required",
    )
    assert shown.returncode == 1
    assert re.search(r"unknown device.*422 unknown_device.*201.*differs", shown.stdout)


def test_ctrl_c_ends_a_fleet_with_its_table(
    keyed: Deployment, strictly_registered: RunningService
) -> None:
    command = [
        *(sys.executable, "-m", "payment_token"),
        *fleet("--rate", "50", "--reads", "100000", "--url", strictly_registered.urls["public"]),
        *("--env-file", str(keyed.folder / ".env")),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        assert running.stdout is not None
        assert "20 terminals" in running.stdout.readline()
        time.sleep(2)
        running.send_signal(signal.SIGINT)
        shown = running.communicate(timeout=30)[0]
    assert running.returncode == 0
    assert "Stopped early" in shown
    assert "Every answer is as it should be." in shown


def test_a_fleet_without_a_service_says_so(keyed: Deployment) -> None:
    shown = keyed.run_here(
        *fleet("--rate", "500", "--reads", "10", "--url", "http://127.0.0.1:9"), check=False
    )
    assert shown.returncode == 1
    assert "no answer (ConnectError)" in shown.stdout

"""Devices as operators have them on the command line: profiles, states, and an inventory that is imported."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from payment_token.infrastructure.database.embedded import EmbeddedServer
from tests.support.deployment import Deployment
from tests.support.problems import PAN

M = "m_fleet"
TDES = "default-tdes-2key"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment.made_in(tmp_path_factory.mktemp("fleet"))
    # Held here, so that not every command starts and stops the server.
    with EmbeddedServer(deployment.folder):
        yield deployment


def register(fleet: Deployment, device_id: str, *more: str) -> None:
    fleet.run_here(
        *("devices", "register", "--device-id", device_id, "--merchant", M, "--bdk", TDES), *more
    )


def devices(fleet: Deployment, *arguments: str) -> subprocess.CompletedProcess[str]:
    return fleet.run_here("devices", *arguments, check=False)


def shown(fleet: Deployment, device_id: str) -> dict[str, Any]:
    found = fleet.run_here("devices", "show", device_id, "--merchant", M, "--json")
    return dict(json.loads(found.stdout))


def words(text: str) -> str:
    return " ".join(text.split())


def test_a_device_with_all_that_is_known_of_it(fleet: Deployment) -> None:
    register(
        fleet,
        "bbpos-1",
        *("--ksn", "FFFF00000000A0E00001", "--ksn", "FFFF00000000B0E00001"),
        *("--ksn", "FFFF00000000C0E00001", "--serial", "WPC1", "--make", "BBPOS"),
        *("--model", "WisePad 2", "--firmware", "1.2.3", "--profile", "bbpos"),
    )

    found = shown(fleet, "bbpos-1")
    assert (found["serial"], found["make"], found["model"]) == ("WPC1", "BBPOS", "WisePad 2")
    assert (found["profile"], found["encryption"]["container"]) == ("bbpos", "bbpos-tlv")
    assert [key["initial_key_id"] for key in found["initial_keys"]] == [
        "FFFF00000000A0E00000",
        "FFFF00000000B0E00000",
        "FFFF00000000C0E00000",
    ]
    text = words(devices(fleet, "show", "bbpos-1", "--merchant", M).stdout)
    assert "bbpos: dukpt-tdes data-request tdes-2key cbc in bbpos-tlv" in text
    assert "FFFF00000000B0E00000" in text


def test_states(fleet: Deployment) -> None:
    register(fleet, "[red]till/1")
    here = ("[red]till/1", "--merchant", M)

    assert "Missing option '--reason'" in words(devices(fleet, "suspend", *here).stderr)
    assert "is suspended" in devices(fleet, "suspend", *here, "--reason", "x").stdout
    again = devices(fleet, "suspend", *here, "--reason", "x")
    assert again.returncode == 1
    assert "The device is suspended: it cannot be suspended" in again.stderr
    assert "is stolen" in devices(fleet, "report-stolen", *here).stdout
    assert "Reason: is required" in devices(fleet, "reactivate", *here).stderr
    assert "is registered" in devices(fleet, "reactivate", *here, "--reason", "found").stdout
    unasked = devices(fleet, "retire", *here)
    assert unasked.returncode == 2
    assert "say --yes" in unasked.stderr
    assert "is retired" in devices(fleet, "retire", *here, "--yes").stdout
    assert "which is final" in devices(fleet, "reactivate", *here, "--reason", "x").stderr
    assert "[red]till/1" in devices(fleet, "list", "--state", "retired").stdout
    assert json.loads(devices(fleet, "list", "--state", "stolen", "--json").stdout) == []


def test_counters_are_reset_once_somebody_has_said_yes(fleet: Deployment) -> None:
    register(fleet, "till-2", "--ksn", "FFFF00000000D0E00001")
    here = ("till-2", "--merchant", M)

    unasked = devices(fleet, "reset-counter", *here)
    assert unasked.returncode == 2
    assert "Recorded reads of it can then be sent once more" in unasked.stderr
    done = devices(fleet, "reset-counter", *here, "--yes", "--initial-key", "ffff00000000d0e00000")
    assert "Reset: initial key FFFF00000000D0E00000 of till-2, which was unused" in done.stdout
    for key, said in (("zz", "must be hexadecimal"), ("00", "is not one of this device's")):
        refused = devices(fleet, "reset-counter", *here, "--yes", "--initial-key", key)
        assert refused.returncode == 1
        assert said in refused.stderr


@pytest.mark.parametrize(
    "command", ["show", "suspend", "reactivate", "report-stolen", "retire", "reset-counter"]
)
def test_what_is_not_there(fleet: Deployment, command: str) -> None:
    more = {"suspend": ("--reason", "x"), "retire": ("--yes",), "reset-counter": ("--yes",)}
    for device_id, merchant in (("nobody", M), ("till-2", "m_other"), ("two words", M)):
        refused = devices(fleet, command, device_id, "--merchant", merchant, *more.get(command, ()))
        assert refused.returncode == 1
        assert "This merchant has no such device" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_profiles(fleet: Deployment) -> None:
    assert "magtek-swipe" in devices(fleet, "profiles").stdout
    added = devices(
        fleet,
        *("profiles", "add", "house-ecb", "--cipher", "tdes-2key", "--mode", "ecb"),
        *("--description", "our old tills"),
    )
    assert "Added house-ecb: tdes-2key ecb." in added.stdout
    assert "our old tills" in devices(fleet, "profiles", "list").stdout
    assert "already" in devices(fleet, "profiles", "add", "house-ecb", "--mode", "cbc").stderr
    assert "built-in" in devices(fleet, "profiles", "add", "bbpos", "--mode", "cbc").stderr
    register(fleet, "till-3", "--profile", "house-ecb")
    kept = devices(fleet, "profiles", "remove", "house-ecb")
    assert kept.returncode == 1
    assert "Devices that have the profile house-ecb: 1" in kept.stderr
    devices(fleet, "retire", "till-3", "--merchant", M, "--yes")
    assert "Removed house-ecb" in devices(fleet, "profiles", "remove", "house-ecb").stdout
    assert (
        "There is no profile house-ecb" in devices(fleet, "profiles", "remove", "house-ecb").stderr
    )
    assert "is built in" in devices(fleet, "profiles", "remove", "bbpos").stderr
    assert shown(fleet, "till-3")["encryption"]["mode"] == "ecb"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--profile", "nothing"), "there is no profile nothing"),
        (("--profile", "bbpos", "--mode", "ecb"), "leave out --cipher and the like"),
        (("--profile", "generic-aes"), "does not fit: the key default-tdes-2key serves dukpt-tdes"),
        (("--profile", "magtek-swipe"), "the PIN variant is not allowed"),
        (("--cipher", "aes-256"), "there is no aes-256 under a TDES key"),
        (("--iv", "00" * 16), "the IV must be 8 bytes"),
        (("--mode", "ecb", "--iv", "00" * 8), "ecb has no IV"),
        (("--serial", PAN), "serial: holds what looks like card data in clear"),
        (("--make", ""), "make: must be 1 to 64"),
        (("--ksn", "1234"), "ksns: must be key serial numbers"),
    ],
)
def test_what_is_no_registration(fleet: Deployment, options: tuple[str, ...], said: str) -> None:
    refused = devices(
        fleet,
        *("register", "--device-id", "till-4", "--merchant", M, "--bdk", TDES),
        *options,
    )
    assert refused.returncode == 1
    assert said.lower() in words(refused.stderr).lower()
    assert PAN not in refused.stderr
    assert "no such device" in devices(fleet, "show", "till-4", "--merchant", M).stderr


def test_a_bdk_has_a_profile_by_name(fleet: Deployment) -> None:
    bdk = (
        *("bdk", "import", "--id", "mag", "--algorithm", "tdes-2key"),
        *("--component", "0123456789ABCDEFFEDCBA9876543210", "--profile", "magtek-swipe"),
    )
    refused = fleet.run_here(*bdk, check=False)
    assert "without --allow-pin-variant" in refused.stderr
    fleet.run_here(*bdk, "--allow-pin-variant")
    assert "pin tdes-2key cbc in magtek-swipe" in fleet.run_here("bdk", "list").stdout
    assert (
        "there is no profile house"
        in fleet.run_here(*bdk[:-1], "house", "--allow-pin-variant", check=False).stderr
    )


HEADER = "device_id,merchant_id,bdk_id,ksn,serial,make,model,firmware,profile\n"


def written(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "fleet.csv"
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return str(path)


def test_an_inventory_is_imported_and_again(fleet: Deployment, tmp_path: Path) -> None:
    good = [
        f"i-{number},{M},{TDES},FFFF0000{number:05X}000000F,S{number},ID TECH,VP3300,1,idtech-emv-tdes"
        for number in range(450)
    ]
    bad = [
        f"i-0,{M},{TDES},,,,,,",
        f"i-x,{M},{TDES},FFFF0000000000000000,,,,,",
        f"i-y,{M},nobody,,,,,,",
        f"i-z,{M},{TDES},,{PAN},,,,",
        f"i-p,{M},{TDES},,,,,,magtek-swipe",
    ]
    file = written(tmp_path, *good[:200], *bad, *good[200:])

    tried = devices(fleet, "import", file, "--dry-run")
    assert "Would register 450 of 455 devices." in tried.stdout
    assert "i-0" not in devices(fleet, "list", "--merchant", M).stdout
    done = devices(fleet, "import", file, "--refused", str(tmp_path / "refused.csv"))
    again = devices(fleet, "import", file)

    for ran in (tried, done, again):
        assert ran.returncode == 1
        assert PAN not in ran.stdout + ran.stderr
        for number, reason in (
            (202, "device_id: stands on line 2 already"),
            (203, "ksn: is of the device on line 2"),
            (204, "bdk_id: names no base derivation key"),
            (205, "serial: holds what looks like card data in clear"),
            (206, "profile: does not fit: the PIN variant is not allowed"),
        ):
            assert any(
                line.split()[:1] == [str(number)] and reason in words(line)
                for line in ran.stdout.splitlines()
            ), (number, ran.stdout)
    assert "Registered 450 of 455 devices. 0 were registered so before. 5 lines" in done.stdout
    assert "Registered 0 of 455 devices. 450 were registered so before. 5 lines" in again.stdout
    assert shown(fleet, "i-449")["firmware"] == "1"
    registered = fleet.run_here("audit", "search", "--event", "device_registered", "--merchant", M)
    assert registered.stdout.count("operator:") >= 100

    refused = (tmp_path / "refused.csv").read_text()
    assert PAN not in refused
    (tmp_path / "refused.csv").write_text(refused.replace("nobody", TDES).replace("(removed)", ""))
    mended = devices(fleet, "import", str(tmp_path / "refused.csv"))
    assert "Registered 2 of 5 devices." in mended.stdout


def test_an_import_into_a_registry_that_others_have_changed(
    fleet: Deployment, tmp_path: Path
) -> None:
    register(fleet, "j-1", "--make", "Own")
    register(fleet, "j-2", "--ksn", "FFFF11110000A0E00001")
    file = written(
        tmp_path,
        f"j-1,{M},{TDES},,,Other,,,",
        f"j-3,{M},{TDES},FFFF11110000A0E00000,,,,,",
        f"j-4,{M},{TDES},,,,,,",
    )

    done = devices(fleet, "import", file)

    assert "Registered 1 of 3 devices." in done.stdout
    assert "what it is registered with differs" in words(done.stdout)
    assert "An initial key of this device is another device's" in words(done.stdout)
    assert shown(fleet, "j-1")["make"] == "Own"


def test_what_the_lines_leave_out_options_say(fleet: Deployment, tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_bytes("\ufeffdevice_id;make\r\nk-1;Müller\r\nk-2;\r\n".encode())

    without = devices(fleet, "import", str(path))
    assert "2 lines were refused" in without.stdout
    done = devices(fleet, "import", str(path), "--merchant", M, "--bdk", TDES, "--profile", "miura")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Registered 2 of 2 devices." in done.stdout
    assert (shown(fleet, "k-1")["make"], shown(fleet, "k-2")["profile"]) == ("Müller", "miura")


def test_what_is_no_inventory(fleet: Deployment, tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("x")
    (tmp_path / "latin.csv").write_bytes(b"device_id,make\nd,M\xfcller\n")
    for arguments, said in (
        ((str(tmp_path / "nothing.csv"),), "cannot be read"),
        ((str(tmp_path / "there.csv"),), "The first line must name the columns"),
        ((str(tmp_path / "latin.csv"),), "name its --encoding"),
        ((written(tmp_path), "--refused", str(tmp_path / "there.csv")), "must be a new file"),
    ):
        refused = devices(fleet, "import", *arguments)
        assert refused.returncode == 1
        assert said in words(refused.stderr)
        assert "Traceback" not in refused.stderr

"""The key ceremony: a BDK arrives in components or in a key block, and what does not fit is refused with a reason."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from payment_token.domain.key_block import KeyBlockHeader, KeyBlockVersion, OptionalBlock, wrap
from payment_token.domain.sensitive import SecretKey
from tests.support.deployment import Deployment
from tests.support.vectors import VECTORS

PUBLISHED = {
    entry["id"]: entry
    for entry in json.loads((VECTORS / "key-blocks.json").read_text("ascii"))["key_blocks"]
}
KBPK = bytes(range(32))
KEY = bytes(range(100, 116))


@pytest.fixture(scope="module")
def fresh(new_deployment: Callable[[], Deployment]) -> Deployment:
    return new_deployment()


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text + "\n")
    return str(folder / name)


def block_of(
    key: bytes = KEY,
    kbpk: bytes = KBPK,
    usage: str = "B0",
    algorithm: str = "A",
    version: KeyBlockVersion = KeyBlockVersion.AES,
    blocks: tuple[OptionalBlock, ...] = (),
) -> str:
    header = KeyBlockHeader(version, usage, algorithm, "X", "E", optional_blocks=blocks)
    return wrap(SecretKey(kbpk), header, SecretKey(key))


def import_block(bdk_id: str, algorithm: str, block: str, *kbpk_files: str) -> tuple[str, ...]:
    files = [word for file in kbpk_files for word in ("--kbpk-file", file)]
    return ("bdk", "import", "--id", bdk_id, "--algorithm", algorithm, "--key-block", block, *files)


@pytest.mark.parametrize("vector_id", ["tr31-a-7-3-2", "payshield-tdes-bdk"])
def test_a_published_key_block_is_imported(
    fresh: Deployment, tmp_path: Path, vector_id: str
) -> None:
    vector = PUBLISHED[vector_id]

    imported = fresh.run_here(
        *import_block(
            vector_id,
            "tdes-2key",
            written(tmp_path, "block", vector["key_block"]),
            written(tmp_path, "kbpk", vector["kbpk"]),
        ),
        *("--check-value", vector["check_value"]),
    )

    assert f"key check value {vector['check_value']}" in imported.stdout
    assert ("KSNs of 00604B120F9292800000" in imported.stdout) == (
        "KS" in vector["optional_blocks"]
    )
    shown = fresh.run_here("bdk", "show", vector_id).stdout
    assert vector["check_value"] in shown
    assert "has it" in shown
    keystore = (fresh.folder / "keystore.json").read_text().upper()
    assert vector["key"] not in keystore + imported.stdout + imported.stderr


def test_the_protection_key_is_brought_in_components(fresh: Deployment, tmp_path: Path) -> None:
    shares = [bytes([0x5A] * 32), bytes([0xC3] * 32)]
    last = bytes(a ^ b ^ c for a, b, c in zip(KBPK, *shares, strict=True))
    files = [
        written(tmp_path, f"share-{number}", share.hex().upper())
        for number, share in enumerate([*shares, last])
    ]
    block = written(tmp_path, "block", block_of())

    imported = fresh.run_here(*import_block("shared", "aes-128", block, *files))

    assert "Imported shared (aes-128)" in imported.stdout
    assert "protection key of the block has the check value" in imported.stdout


def test_the_protection_key_is_prompted_for_and_each_component_has_its_check_value(
    fresh: Deployment, tmp_path: Path
) -> None:
    one = bytes([0x5A] * 32)
    two = bytes(a ^ b for a, b in zip(KBPK, one, strict=True))
    block = written(tmp_path, "block", block_of())

    imported = fresh.run(
        *import_block("typed", "aes-128", block),
        *("--components", "2"),
        stdin=f"{one.hex()}\n{two.hex()}\n",
    )

    assert "Component 1 has the check value" in imported.stdout
    assert "Imported typed" in imported.stdout
    assert one.hex() not in imported.stdout + imported.stderr
    assert two.hex() not in imported.stdout + imported.stderr


def test_a_changed_block_and_a_wrong_protection_key_get_one_answer(
    fresh: Deployment, tmp_path: Path
) -> None:
    block = block_of()
    kbpk = written(tmp_path, "kbpk", KBPK.hex())
    changed = block[:-1] + ("0" if block[-1] != "0" else "1")
    cases = {
        "changed": (written(tmp_path, "changed", changed), kbpk),
        "wrong": (
            written(tmp_path, "block", block),
            written(tmp_path, "other", KBPK[::-1].hex()),
        ),
    }

    refusals = {
        name: fresh.run_here(*import_block("never", "aes-128", *files), check=False)
        for name, files in cases.items()
    }

    for refused in refusals.values():
        assert refused.returncode == 1
        assert "changed, or was made under another protection key" in refused.stderr
        assert "compare it with the sender's" in refused.stderr
    assert "never" not in fresh.run_here("bdk", "list").stdout
    assert "never" not in (fresh.folder / "keystore.json").read_text()


@pytest.mark.parametrize(
    ("block", "algorithm", "said"),
    [
        (block_of(usage="B1"), "aes-128", "usage is not B0"),
        (block_of(), "aes-256", "AES key of 128 bits, which is not aes-256"),
        (block_of(), "tdes-2key", "AES key of 128 bits, which is not tdes-2key"),
        (block_of(algorithm="T"), "aes-128", "TDES key of 128 bits, which is not aes-128"),
        (block_of(), "device-aead", "import this one from its components"),
        (block_of(blocks=(OptionalBlock("KC", "01000000"),)), "aes-128", "check value in KC"),
        (block_of(blocks=(OptionalBlock("KP", "01000000"),)), "aes-128", "check value in KP"),
        (block_of()[:-2], "aes-128", "copied whole"),
        ("A" + block_of()[1:], "aes-128", "version B or D"),
        ("", "aes-128", "does not start as a key block"),
        ("0123456789ABCDEFFEDCBA9876543210", "aes-128", "does not start as a key block"),
        ("é" * 40, "aes-128", "up to 9999 ASCII characters"),
        ("0" * 12_000, "aes-128", "up to 9999 ASCII characters"),
    ],
)
def test_a_block_that_does_not_fit_is_refused_with_its_reason(
    fresh: Deployment, tmp_path: Path, block: str, algorithm: str, said: str
) -> None:
    refused = fresh.run_here(
        *import_block(
            "unfit",
            algorithm,
            written(tmp_path, "block", block),
            written(tmp_path, "kbpk", KBPK.hex()),
        ),
        check=False,
    )

    assert refused.returncode == 1
    assert said in refused.stderr
    assert KEY.hex() not in refused.stderr.lower()
    assert "unfit" not in (fresh.folder / "keystore.json").read_text()


def test_a_block_under_a_weaker_key_is_refused(fresh: Deployment, tmp_path: Path) -> None:
    kbpk = bytes(range(24))
    block = block_of(kbpk=kbpk, version=KeyBlockVersion.TDES)

    refused = fresh.run_here(
        *import_block(
            "weak",
            "aes-128",
            written(tmp_path, "block", block),
            written(tmp_path, "kbpk", kbpk.hex()),
        ),
        check=False,
    )

    assert refused.returncode == 1
    assert "weaker" in refused.stderr


def test_another_check_value_than_the_announced_one_imports_nothing(
    fresh: Deployment, tmp_path: Path
) -> None:
    refused = fresh.run_here(
        *import_block(
            "unannounced",
            "aes-128",
            written(tmp_path, "block", block_of()),
            written(tmp_path, "kbpk", KBPK.hex()),
        ),
        *("--check-value", "000000"),
        check=False,
    )

    assert refused.returncode == 1
    assert "Nothing was imported" in refused.stderr
    assert "unannounced" not in (fresh.folder / "keystore.json").read_text()


@pytest.mark.parametrize(
    ("kbpk", "said"),
    [
        ("", "Component 1 must be 32 or 48 or 64 hexadecimal digits"),
        ("zz" * 16, "Component 1 must be 32 or 48 or 64 hexadecimal digits"),
        ("11" * 17, "Component 1 must be 32 or 48 or 64 hexadecimal digits"),
        ("00" * 32, "a key of zeros"),
    ],
)
def test_a_wrong_protection_key_component_is_refused(
    fresh: Deployment, tmp_path: Path, kbpk: str, said: str
) -> None:
    refused = fresh.run_here(
        *import_block(
            "badshare",
            "aes-128",
            written(tmp_path, "block", block_of()),
            written(tmp_path, "kbpk", kbpk),
        ),
        check=False,
    )

    assert refused.returncode == 1
    assert said in refused.stderr


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        (["11" * 16, "11" * 16], "same component was given twice"),
        (["11" * 16, "22" * 16, "11" * 16], "same component was given twice"),
        (["11" * 16, "22" * 16, "33" * 16], "a key of zeros"),
        (["11" * 16, "22" * 24], "same length"),
        (["11" * 16, "22" * 16, "44" * 16, "88" * 16], "one to three components"),
    ],
)
def test_components_that_make_no_key_are_refused(
    fresh: Deployment, tmp_path: Path, shares: list[str], said: str
) -> None:
    files = [written(tmp_path, f"share-{number}", share) for number, share in enumerate(shares)]

    refused = fresh.run_here(
        *import_block("noshare", "aes-128", written(tmp_path, "block", block_of()), *files),
        check=False,
    )

    assert refused.returncode == 1
    assert said in refused.stderr


def test_options_that_contradict_each_other_are_refused(fresh: Deployment, tmp_path: Path) -> None:
    block = written(tmp_path, "block", block_of())
    kbpk = written(tmp_path, "kbpk", KBPK.hex())
    both = (*import_block("both", "aes-128", block, kbpk), "--component", "11" * 16)
    no_block = ("bdk", "import", "--id", "both", "--algorithm", "aes-128", "--kbpk-file", kbpk)
    missing = import_block("both", "aes-128", str(tmp_path / "nowhere"), kbpk)
    no_kbpk = import_block("both", "aes-128", block, str(tmp_path / "nowhere"))

    for arguments, said in (
        (both, "leave out --component"),
        (no_block, "--kbpk-file goes with --key-block"),
        (missing, "--key-block"),
        (no_kbpk, "--kbpk-file"),
    ):
        refused = fresh.run_here(*arguments, check=False)
        assert refused.returncode == 1
        assert said in refused.stderr
        assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("kind", ["key", "protection key"])
def test_nobody_may_know_a_whole_key_of_a_token(
    fresh: Deployment, tmp_path: Path, kind: str
) -> None:
    one = written(tmp_path, "one", KBPK.hex())
    key = ("--key", "pkcs11:token=unused;object=bdk")
    arguments = (
        ("bdk", "import", "--id", "whole", "--algorithm", "aes-256", "--component-file", one)
        if kind == "key"
        else import_block("whole", "aes-128", written(tmp_path, "block", block_of()), one)
    )

    refused = fresh.run_here(*arguments, *key, check=False)

    assert refused.returncode == 1
    assert "nobody may know a whole key" in refused.stderr


def test_outside_development_nobody_else_may_read_a_component(
    fresh: Deployment, tmp_path: Path
) -> None:
    one = written(tmp_path, "one", KBPK.hex())
    block = written(tmp_path, "block", block_of())
    Path(one).chmod(0o640)
    for arguments in (
        ("bdk", "import", "--id", "open", "--algorithm", "aes-256", "--component-file", one),
        import_block("open", "aes-128", block, one),
    ):
        refused = fresh.run_here(*arguments, check=False, ENVIRONMENT="test")
        assert refused.returncode == 1
        assert "chmod 600" in refused.stderr


def test_a_custodian_with_its_own_tools_takes_no_key_block(
    fresh: Deployment, tmp_path: Path
) -> None:
    refused = fresh.run_here(
        *import_block("own", "aes-128", str(tmp_path / "never-read")),
        *("--key", "arn:aws:kms:eu-central-1:111122223333:key/1"),
        check=False,
    )

    assert refused.returncode == 1
    assert "bdk register" in refused.stderr

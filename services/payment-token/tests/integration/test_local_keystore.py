"""The development keystore on disk: sealed, bound to names and algorithms, and nowhere in production."""

import json
from pathlib import Path
from typing import Any

import pytest

from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.errors import KeyCustodianRefusedError, PaymentTokenError
from payment_token.domain.sensitive import SecretKey, SensitiveText
from payment_token.infrastructure.custody.custodians import Custodians
from payment_token.infrastructure.custody.local_keystore import KEK_ALGORITHM, LocalKeystore, Sealer
from payment_token.settings import ConfigurationError, Environment, Settings

SECRET = SecretKey(bytes(range(16)))
CONTEXT = {"purpose": "service"}
PASSPHRASE = SensitiveText("a long enough passphrase")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keystore.json"


@pytest.fixture(params=["key file", "passphrase"])
def sealer(request: pytest.FixtureRequest, tmp_path: Path) -> Sealer:
    return tmp_path / "keystore.key" if request.param == "key file" else PASSPHRASE


@pytest.fixture
def keystore(file: Path, sealer: Sealer) -> LocalKeystore:
    keystore = LocalKeystore.create(file, sealer, Environment.TEST)
    keystore.import_key("one", BDKAlgorithm.AES_128, SECRET)
    keystore.import_key("two", BDKAlgorithm.AES_128, SecretKey(bytes(16)))
    keystore.import_key("kek", KEK_ALGORITHM, SecretKey(bytes(32)))
    return keystore


def bdk(name: str, algorithm: BDKAlgorithm = BDKAlgorithm.AES_128) -> BaseDerivationKey:
    return BaseDerivationKey("b", f"local:{name}", algorithm)


async def refused(keystore: LocalKeystore, name: str = "one") -> str:
    with pytest.raises(KeyCustodianRefusedError) as error:
        await keystore.check_value(bdk(name))
    assert error.value.__context__ is None
    return error.value.advice


@pytest.mark.parametrize("sealed_by", [PASSPHRASE, Path("no-such-file")], ids=str)
def test_it_does_not_exist_in_production(
    keystore: LocalKeystore, file: Path, sealed_by: Sealer
) -> None:
    with pytest.raises(ConfigurationError, match="refused in production"):
        LocalKeystore(file, sealed_by, Environment.PRODUCTION)
    with pytest.raises(ConfigurationError, match="refused in production"):
        LocalKeystore.create(file.parent / "new", PASSPHRASE, Environment.PRODUCTION)
    assert not (file.parent / "new").exists()


async def test_a_row_that_names_a_local_key_is_refused_in_production(
    keystore: LocalKeystore, file: Path
) -> None:
    settings = Settings(
        environment=Environment.PRODUCTION,
        local_keystore_file=file,
        local_keystore_passphrase=PASSPHRASE.reveal(),
    )

    with pytest.raises(KeyCustodianRefusedError) as error:
        await Custodians(settings).check_value(bdk("one"))
    assert "refused in production" in error.value.advice


async def test_it_opens_again_with_what_seals_it(
    keystore: LocalKeystore, file: Path, sealer: Sealer
) -> None:
    again = LocalKeystore(file, sealer, Environment.TEST)

    again.check()
    assert await again.check_value(bdk("one")) == await keystore.check_value(bdk("one"))


def test_no_key_is_in_the_file(keystore: LocalKeystore, file: Path) -> None:
    assert SECRET.reveal().hex() not in file.read_text().lower()


async def test_another_passphrase_or_key_file_opens_nothing(
    keystore: LocalKeystore, file: Path, sealer: Sealer, tmp_path: Path
) -> None:
    other: Sealer = SensitiveText("another passphrase")
    if isinstance(sealer, Path):
        other = tmp_path / "other.key"
        other.write_text("ab" * 32)

    opened = LocalKeystore(file, other, Environment.TEST)

    assert "does not open one" in await refused(opened)
    with pytest.raises(ConfigurationError, match="does not open"):
        opened.check()


def test_a_keystore_that_is_sealed_the_other_way_says_so(
    keystore: LocalKeystore, file: Path, sealer: Sealer, tmp_path: Path
) -> None:
    (tmp_path / "some.key").write_text("ab" * 32)
    other: Sealer = PASSPHRASE if isinstance(sealer, Path) else tmp_path / "some.key"

    with pytest.raises(ConfigurationError, match=r"sealed under a (key file|passphrase): set"):
        LocalKeystore(file, other, Environment.TEST)


def changed(file: Path, change: Any) -> None:
    content = json.loads(file.read_text())
    change(content["keys"])
    file.write_text(json.dumps(content))


def spoil(file: Path, content: str | None) -> None:
    file.unlink()
    if content is not None:
        file.write_text(content)


def names_in(file: Path) -> set[str]:
    return set(json.loads(file.read_text())["keys"])


def swap(keys: dict[str, Any]) -> None:
    keys["one"], keys["two"] = keys["two"], keys["one"]


def rename(keys: dict[str, Any]) -> None:
    keys["one"] = keys.pop("two")


def relabel(keys: dict[str, Any]) -> None:
    keys["one"]["algorithm"] = "tdes-2key"


def flip(keys: dict[str, Any]) -> None:
    sealed = bytearray.fromhex(keys["one"]["sealed"])
    sealed[-1] ^= 1
    keys["one"]["sealed"] = sealed.hex()


@pytest.mark.parametrize(
    "change",
    [
        swap,
        rename,
        relabel,
        flip,
        lambda keys: keys["one"].update(sealed=""),
        lambda keys: keys["one"].update(sealed="abcd"),
        lambda keys: keys["one"].update(sealed="no hex"),
        lambda keys: keys["one"].update(sealed=None),
        lambda keys: keys["one"].update(algorithm=7),
        lambda keys: keys["one"].pop("sealed"),
        lambda keys: keys["one"].pop("algorithm"),
        lambda keys: keys.update(one="text"),
        lambda keys: keys.update(one=[]),
        lambda keys: keys.pop("one"),
        lambda keys: keys.update(one=None),
    ],
)
async def test_an_entry_that_was_tampered_with_is_refused(
    keystore: LocalKeystore, file: Path, change: Any
) -> None:
    changed(file, change)

    assert await refused(keystore)


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", '{"keys": []}', '{"keys": null}', "{}"], ids=str
)
async def test_a_file_that_goes_bad_under_a_running_service_is_an_outage_not_a_defect(
    keystore: LocalKeystore, file: Path, content: str | None
) -> None:
    spoil(file, content)

    assert "is not a readable keystore" in await refused(keystore)
    for asked in (
        keystore.generate_key("local:kek", CONTEXT),
        keystore.unwrap_key("local:kek", bytes(60), CONTEXT),
        keystore.destruction_due("local:kek"),
    ):
        with pytest.raises(PaymentTokenError):
            await asked


@pytest.mark.parametrize("salt", ["xyz", 7, ""])
def test_a_salt_that_is_none_is_one_clear_line(tmp_path: Path, salt: object) -> None:
    file = tmp_path / "keystore.json"
    file.write_text(json.dumps({"keys": {"one": {}}, "scrypt_salt": salt}))

    with pytest.raises(ConfigurationError):
        LocalKeystore(file, PASSPHRASE, Environment.TEST).check()


@pytest.mark.parametrize("text", [None, "", "ab" * 31, "ab" * 33, "zz" * 32])
def test_a_key_file_that_is_none_is_one_clear_line(tmp_path: Path, text: str | None) -> None:
    key_file = tmp_path / "keystore.key"
    LocalKeystore.create(tmp_path / "keystore.json", key_file, Environment.TEST)
    key_file.unlink()
    if text is not None:
        key_file.write_text(text)

    with pytest.raises(ConfigurationError, match="64 hexadecimal digits"):
        LocalKeystore(tmp_path / "keystore.json", key_file, Environment.TEST)


async def test_a_key_serves_what_it_was_made_for_only(keystore: LocalKeystore) -> None:
    with pytest.raises(KeyCustodianRefusedError) as error:
        await keystore.generate_key("local:one", CONTEXT)
    assert error.value.advice == "The key one of the local keystore is for aes-128, not for kek."
    with pytest.raises(KeyCustodianRefusedError):
        await keystore.check_value(bdk("kek"))
    with pytest.raises(KeyCustodianRefusedError):
        await keystore.check_value(bdk("one", BDKAlgorithm.AES_256))


async def test_another_process_s_import_and_removal_are_seen(
    keystore: LocalKeystore, file: Path, sealer: Sealer
) -> None:
    other = LocalKeystore(file, sealer, Environment.TEST)
    other.import_key("three", BDKAlgorithm.AES_128, SECRET)
    assert await keystore.check_value(bdk("three")) == await keystore.check_value(bdk("one"))

    other.remove_key("three")

    assert "no key three" in await refused(keystore, "three")
    keystore.import_key("four", BDKAlgorithm.AES_128, SECRET)
    assert names_in(file) == {"one", "two", "kek", "four"}

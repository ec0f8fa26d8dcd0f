"""What the token itself refuses: a BDK or a KEK in it cannot be read, changed, or wrapped for the way out."""

from collections.abc import Iterator
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import AttributeSensitive, KeyUnextractable, PKCS11Error

from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.errors import KeyCustodianRefusedError
from payment_token.domain.key_life.version import key_context
from payment_token.domain.sensitive import SecretKey
from payment_token.infrastructure.custody import pkcs11_token
from payment_token.infrastructure.custody.pkcs11_session import PKCS11Session
from payment_token.infrastructure.custody.pkcs11_token import PKCS11Token
from tests.support.softhsm import Token

CONTEXT = key_context("service", "v1", "test")


@pytest.fixture
def custodian(token: Token) -> Iterator[PKCS11Token]:
    session = PKCS11Session(token.module, token.label, token.secret_pin)
    yield PKCS11Token(session)
    session.close()


@pytest.fixture
async def objects(custodian: PKCS11Token, token: Token) -> Any:
    """Every object of one BDK of each algorithm and of one KEK, in the hands of one who has the PIN."""
    for algorithm in BDKAlgorithm:
        bdk = BaseDerivationKey("b", token.uri(f"bdk-{algorithm}"), algorithm)
        await custodian.import_bdk(bdk, SecretKey(bytes(range(algorithm.key_bytes))))
    await custodian.make_kek(token.uri("any"), "kek")
    opened = pkcs11.lib(str(token.module)).get_token(token_label=token.label).open(rw=True)
    yield list(opened.get_objects())
    opened.close()


def named(held: Any) -> str:
    return f"{held[Attribute.LABEL]} {held[Attribute.KEY_TYPE]} {held[Attribute.ID].hex()}"


def test_every_key_is_there(objects: Any) -> None:
    assert len(objects) == 6 + 2


def test_every_key_is_private_sensitive_and_stays(objects: Any) -> None:
    for held in objects:
        assert held[Attribute.TOKEN], named(held)
        assert held[Attribute.PRIVATE], named(held)
        assert held[Attribute.SENSITIVE], named(held)
        assert not held[Attribute.EXTRACTABLE], named(held)
        assert not held[Attribute.MODIFIABLE], named(held)


def test_every_key_does_what_it_is_for_and_nothing_else(objects: Any) -> None:
    uses = ("ENCRYPT", "DECRYPT", "SIGN", "VERIFY", "WRAP", "UNWRAP", "DERIVE")
    for held in objects:
        allowed = {use for use in uses if held[Attribute[use]]}
        kek, secret = held[Attribute.LABEL] == "kek", held[Attribute.KEY_TYPE]
        if secret is KeyType.GENERIC_SECRET:
            assert allowed == {"SIGN"}, named(held)
        else:
            assert allowed == ({"WRAP", "UNWRAP"} if kek else {"ENCRYPT"}), named(held)


def test_no_value_can_be_read(objects: Any) -> None:
    for held in objects:
        with pytest.raises(AttributeSensitive):
            held[Attribute.VALUE]


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (Attribute.SENSITIVE, False),
        (Attribute.EXTRACTABLE, True),
        (Attribute.PRIVATE, False),
        (Attribute.MODIFIABLE, True),
        (Attribute.WRAP, True),
        (Attribute.DECRYPT, True),
        (Attribute.LABEL, "other"),
        (Attribute.ID, b"\x07"),
    ],
)
def test_no_attribute_can_be_changed(objects: Any, attribute: Attribute, value: object) -> None:
    for held in objects:
        before = held[attribute]
        with pytest.raises(PKCS11Error):
            held[attribute] = value
        assert held[attribute] == before


def test_no_bdk_can_be_wrapped_for_the_way_out(objects: Any) -> None:
    kek = next(
        held
        for held in objects
        if held[Attribute.LABEL] == "kek" and held[Attribute.KEY_TYPE] is KeyType.AES
    )
    for held in objects:
        with pytest.raises(KeyUnextractable):
            kek.wrap_key(held, mechanism=Mechanism.AES_KEY_WRAP)


def test_no_copy_is_less_protected(objects: Any) -> None:
    for held in objects:
        with pytest.raises(PKCS11Error):
            held.copy({Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False})


async def test_service_keys_leave_nothing_in_the_token(
    custodian: PKCS11Token, token: Token, objects: Any
) -> None:
    before = sorted(path.name for path in token.objects.rglob("*.object"))
    kek = token.uri("kek")

    for _ in range(3):
        key, wrapped = await custodian.generate_key(kek, CONTEXT)
        await custodian.wrap_key(kek, key, CONTEXT)
        await custodian.unwrap_key(kek, wrapped, CONTEXT)

    assert sorted(path.name for path in token.objects.rglob("*.object")) == before
    on_disk = b"".join(path.read_bytes() for path in token.objects.rglob("*.object"))
    assert key.reveal() not in on_disk
    left = await custodian._session.run(lambda session: len(list(session.get_objects())))
    assert left == len(objects)


async def test_a_key_that_could_be_taken_out_is_no_bdk(
    custodian: PKCS11Token, token: Token
) -> None:
    """As an operator might have made it with the vendor's tools."""
    await custodian._session.run(
        lambda session: session.create_object(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KeyType.AES,
                Attribute.TOKEN: True,
                Attribute.LABEL: "loose",
                Attribute.ENCRYPT: True,
                Attribute.SENSITIVE: False,
                Attribute.EXTRACTABLE: True,
                Attribute.VALUE: bytes(16),
            }
        )
    )

    with pytest.raises(KeyCustodianRefusedError) as refused:
        await custodian.check_value(
            BaseDerivationKey("b", token.uri("loose"), BDKAlgorithm.AES_128)
        )
    assert "that is no custody" in refused.value.advice


async def test_an_import_that_fails_half_way_leaves_nothing(
    custodian: PKCS11Token, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = pkcs11_token._bdk_object

    def second_is_malformed(*arguments: Any) -> dict[Attribute, object]:
        made = right(*arguments)
        if made[Attribute.ID] == b"\x02":
            del made[Attribute.VALUE]
        return made

    monkeypatch.setattr(pkcs11_token, "_bdk_object", second_is_malformed)
    bdk = BaseDerivationKey("b", token.uri("half"), BDKAlgorithm.TDES_2KEY)

    with pytest.raises(KeyCustodianRefusedError):
        await custodian.import_bdk(bdk, SecretKey(bytes(16)))

    assert not await custodian._session.run(lambda session: list(session.get_objects()))

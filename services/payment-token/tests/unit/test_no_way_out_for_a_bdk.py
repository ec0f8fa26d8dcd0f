"""A BDK stays with its custodian: nothing outside the development keystore and the ceremony can hold one.

Seen from the types: what every port and custodian takes and returns, by reflection over the whole package, so that a
new method has to be thought of here before it can hand out a key.
"""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import payment_token
from payment_token.domain import ports
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.sensitive import SecretKey, Sensitive
from payment_token.infrastructure import custody
from payment_token.infrastructure.custody.local_keystore import LocalKeystore

# What derives from a BDK, or wraps for storage: each gives a key, and none gives a BDK.
GIVES_A_KEY = {"initial_key", "initial_key_tried", "device_key", "generate_key", "unwrap_key"}

# What takes a key: service keys to wrap, and the two doors of the ceremony.
TAKES_A_KEY = {"wrap_key", "import_bdk", "import_key"}

# These take a BDK in clear. Who calls them must hold one.
TAKES_A_BDK = {
    "payment_token.domain.dukpt": {"initial_key"},
    "payment_token.domain.dukpt.aes": {"initial_key"},
    "payment_token.domain.dukpt.tdes": {"initial_key", "right_half_key"},
    "payment_token.domain.device_aead": {"device_key"},
}

MAY_HOLD_A_BDK = (
    "payment_token.infrastructure.custody.local_keystore",
    # Of an imported key it makes the object for right halves, on its way into the token.
    "payment_token.infrastructure.custody.pkcs11_token",
    # Published ones, with known answers.
    "payment_token.domain.self_test",
    "payment_token.domain.diagnosis.published_keys",
)


def modules_below(package: ModuleType) -> list[ModuleType]:
    found = pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    return [importlib.import_module(info.name) for info in found if "__main__" not in info.name]


def classes_of(module: ModuleType) -> Iterator[type]:
    for _, found in inspect.getmembers(module, inspect.isclass):
        if found.__module__ == module.__name__:
            yield found


def functions_of(owner: type | ModuleType) -> Iterator[Callable[..., object]]:
    for member in vars(owner).values():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if inspect.isfunction(function) and function.__module__ == (
            owner.__name__ if isinstance(owner, ModuleType) else owner.__module__
        ):
            yield inspect.unwrap(function)


def parts_of(hint: object) -> Iterator[object]:
    """A type and everything that it is made of."""
    yield hint
    for part in typing.get_args(hint):
        yield from parts_of(part)


def is_secret(hint: object) -> bool:
    return any(inspect.isclass(part) and issubclass(part, SecretKey) for part in parts_of(hint))


def hints_of(function: Callable[..., object]) -> dict[str, object]:
    return typing.get_type_hints(function)


PORTS = list(classes_of(ports))
CUSTODY = modules_below(custody)
CUSTODIANS = [found for module in CUSTODY for found in classes_of(module)]
METHODS = [
    pytest.param(owner, method, id=f"{owner.__name__}.{method.__name__}")
    for owner in [*PORTS, *CUSTODIANS]
    for method in functions_of(owner)
]


def test_the_walk_sees_ports_and_custodians() -> None:
    names = {owner.__name__ for owner in [*PORTS, *CUSTODIANS]}
    assert {"InitialKeys", "RemoteDecryptor", "KeyEncrypter", "KEKs"} <= names
    assert {"Custodians", "AWSKMS", "AWSPaymentCryptography", "PKCS11Token"} <= names
    assert len(METHODS) > 60


@pytest.mark.parametrize(("owner", "method"), METHODS)
def test_no_method_returns_a_bdk(owner: type, method: Callable[..., object]) -> None:
    returned = hints_of(method).get("return")
    if owner is LocalKeystore and method.__name__.startswith("_"):
        return
    if is_secret(returned):
        assert method.__name__ in GIVES_A_KEY


@pytest.mark.parametrize(("owner", "method"), METHODS)
def test_no_method_that_names_a_bdk_returns_bytes_or_anything(
    owner: type, method: Callable[..., object]
) -> None:
    """Bytes and Any could hold a key without a type that says so."""
    hints = hints_of(method)
    returned = hints.pop("return", None)
    if BaseDerivationKey in hints.values() and not method.__name__.startswith("_"):
        assert not {bytes, bytearray, object, typing.Any} & set(parts_of(returned))


@pytest.mark.parametrize(("owner", "method"), METHODS)
def test_no_method_takes_a_key_but_to_wrap_or_to_import_it(
    owner: type, method: Callable[..., object]
) -> None:
    hints = hints_of(method)
    hints.pop("return", None)
    if any(is_secret(hint) for hint in hints.values()):
        assert method.__name__ in TAKES_A_KEY


@pytest.mark.parametrize("module", CUSTODY, ids=lambda module: module.__name__.rpartition(".")[2])
def test_functions_beside_the_custodians_hold_no_bdk(module: ModuleType) -> None:
    for function in functions_of(module):
        hints = hints_of(function)
        takes = [name for name, hint in hints.items() if name != "return" and is_secret(hint)]
        assert not is_secret(hints.get("return"))
        assert not takes or function.__name__ == "_bdk_object"


@pytest.mark.parametrize("owner", CUSTODIANS, ids=lambda owner: owner.__name__)
def test_no_custodian_keeps_a_key(owner: type) -> None:
    """An attribute is set from an annotated argument, or annotated itself."""
    hints = typing.get_type_hints(owner)
    constructor = inspect.getattr_static(owner, "__init__")
    if inspect.isfunction(constructor):
        hints |= hints_of(constructor)
    assert not any(is_secret(hint) for hint in hints.values())


def test_the_name_of_a_bdk_has_no_place_for_the_key() -> None:
    for field, hint in typing.get_type_hints(BaseDerivationKey).items():
        for part in parts_of(hint):
            assert part is not bytes, field
            assert not (inspect.isclass(part) and issubclass(part, Sensitive)), field
    assert dataclasses.is_dataclass(BaseDerivationKey)
    assert not hasattr(BaseDerivationKey("b", "local:b", next(iter(_algorithms()))), "__dict__")


def _algorithms() -> Iterator[typing.Any]:
    yield from typing.get_type_hints(BaseDerivationKey)["algorithm"]


def test_only_the_keystore_and_the_ceremony_derive_from_a_bdk_in_clear() -> None:
    holders = {
        module.__name__
        for module in modules_below(payment_token)
        if not module.__name__.startswith("payment_token.domain.dukpt") and _calls_a_taker(module)
    }
    assert "payment_token.infrastructure.custody.local_keystore" in holders
    assert [name for name in sorted(holders) if not name.startswith(MAY_HOLD_A_BDK)] == []


def _calls_a_taker(module: ModuleType) -> bool:
    """It imports a function that takes a BDK, or reaches it through its module."""
    tree = ast.parse(Path(module.__file__ or "").read_text())
    named: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if {alias.name for alias in node.names} & TAKES_A_BDK.get(node.module or "", set()):
                return True
            named |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            reached = named.get(node.value.id, "")
            if node.attr in TAKES_A_BDK.get(reached, set()):
                return True
    return False

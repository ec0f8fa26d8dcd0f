"""Each custodian with keys in it, put there the way that it takes keys, and asked through the one face of them all."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from payment_token.domain.custody import CAPABILITIES, Custodian
from payment_token.domain.device_payload import Cipher
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.sensitive import SecretKey
from payment_token.infrastructure.custody.custodians import Custodians
from payment_token.infrastructure.custody.local_keystore import LocalKeystore
from payment_token.settings import Environment, Settings

PutBDK = Callable[[BDKAlgorithm, SecretKey], str]


@dataclass
class HeldKeys:
    """``kek`` is a KEK of this custodian, where it holds any."""

    custodian: Custodian
    custodians: Custodians
    name_for: PutBDK
    kek: str = ""
    unknown: str = ""
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def bdk(
        self, algorithm: BDKAlgorithm, key: SecretKey, **fields: object
    ) -> BaseDerivationKey:
        """The name of a BDK that is this key."""
        uri = self.name_for(algorithm, key)
        bdk = BaseDerivationKey(f"b{next(self._numbers)}", uri, algorithm)
        if CAPABILITIES[self.custodian].imports:
            await self.custodians.import_bdk(bdk, key)
        return replace(bdk, **fields)  # type: ignore[arg-type]


def all_that(predicate: Callable[[Custodian], bool] = lambda _: True) -> list[Custodian]:
    return [custodian for custodian in Custodian if predicate(custodian)]


@asynccontextmanager
async def held_keys(
    custodian: Custodian, request: pytest.FixtureRequest
) -> AsyncIterator[HeldKeys]:
    held = _MAKERS[custodian](request)
    try:
        yield held
    finally:
        held.custodians.close()


def _local(request: pytest.FixtureRequest) -> HeldKeys:
    folder: Path = request.getfixturevalue("tmp_path")
    files = folder / "keystore.json", folder / "keystore.key"
    keystore = LocalKeystore.create(*files, Environment.TEST)
    kek = keystore.import_key("kek", "kek", SecretKey(bytes(range(32))))
    names = itertools.count()
    custodians = _custodians(local_keystore_file=files[0], local_keystore_key_file=files[1])
    return HeldKeys(
        Custodian.LOCAL, custodians, lambda *_: f"local:bdk-{next(names)}", kek, "local:no-such"
    )


def _pkcs11(request: pytest.FixtureRequest) -> HeldKeys:
    token = request.getfixturevalue("token")
    names = itertools.count()
    custodians = _custodians(
        pkcs11_module=token.module, pkcs11_pin_file=token.environment["PKCS11_PIN_FILE"]
    )
    return HeldKeys(
        Custodian.PKCS11,
        custodians,
        lambda *_: token.uri(f"bdk-{next(names)}"),
        token.uri("kek"),
        token.uri("no-such"),
    )


def _kms(request: pytest.FixtureRequest) -> HeldKeys:
    kms = request.getfixturevalue("kms")
    return HeldKeys(
        Custodian.AWS_KMS,
        _custodians(kms_endpoint_url=kms.endpoint),
        lambda _, key: kms.hmac_key(key.reveal()),
        kms.kek(),
        "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000",
    )


def _payment_cryptography(request: pytest.FixtureRequest) -> HeldKeys:
    double = request.getfixturevalue("payment_cryptography")
    return HeldKeys(
        Custodian.AWS_PAYMENT_CRYPTOGRAPHY,
        _custodians(payment_cryptography_endpoint_url=double.server.url),
        double.import_bdk,
        unknown="arn:aws:payment-cryptography:eu-central-1:123456789012:key/zzzzzzzzzzzzzzzz",
    )


def _custodians(**settings: object) -> Custodians:
    return Custodians(Settings(environment=Environment.TEST, **settings))  # type: ignore[arg-type]


_MAKERS: dict[Custodian, Callable[[pytest.FixtureRequest], HeldKeys]] = {
    Custodian.LOCAL: _local,
    Custodian.PKCS11: _pkcs11,
    Custodian.AWS_KMS: _kms,
    Custodian.AWS_PAYMENT_CRYPTOGRAPHY: _payment_cryptography,
}

CIPHERS_OF_VECTORS = {
    "TDES": Cipher.TDES_2KEY,
    "AES128": Cipher.AES_128,
    "AES192": Cipher.AES_192,
    "AES256": Cipher.AES_256,
}

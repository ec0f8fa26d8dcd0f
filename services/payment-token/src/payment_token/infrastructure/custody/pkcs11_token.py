"""A PKCS#11 token (an HSM): BDKs and KEKs are objects in it that it gives to nobody.

====================  =====================================================================================
key                   objects in the token; all PRIVATE, SENSITIVE, not EXTRACTABLE, not MODIFIABLE
====================  =====================================================================================
BDK, ``tdes-2key``    two DES2 keys of the key's label, for ENCRYPT only: id 01 the BDK, id 02 the BDK with
                      every byte of X9.24-1 A.6 masked by C0, as the right half of an initial key needs it
BDK, ``aes-…``        one AES key, for ENCRYPT only
BDK, ``device-aead``  one generic secret, for SIGN (HMAC-SHA-256) only
KEK                   one AES-256 key for WRAP and UNWRAP, and one generic secret of its label for SIGN only
====================  =====================================================================================

AES key wrap (RFC 3394) binds no context. So a wrapped key is the HMAC-SHA-256, made in the token, over context and
blob (32 bytes), followed by the blob (40 bytes).

Whoever may log in to the token may derive any terminal's key: the PIN is worth as much as the BDK, while it works.
"""

import hmac
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, Session

from payment_token.domain.device_aead import AEADKeyName
from payment_token.domain.dukpt import KSN, aes, tdes
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.errors import KeyCustodianRefusedError, RecordIntegrityFailureError
from payment_token.domain.key_check_value import CHECK_VALUE_BYTES, HMAC_MESSAGE
from payment_token.domain.length_prefixed import length_prefixed
from payment_token.domain.sensitive import SecretKey
from payment_token.infrastructure.custody.pkcs11_session import PKCS11Session
from payment_token.infrastructure.custody.pkcs11_uri import PKCS11URI

_BDK_ID = b"\x01"
_RIGHT_HALF_ID = b"\x02"

_KEY_TYPES = {
    BDKAlgorithm.TDES_2KEY: KeyType.DES2,
    BDKAlgorithm.AES_128: KeyType.AES,
    BDKAlgorithm.AES_192: KeyType.AES,
    BDKAlgorithm.AES_256: KeyType.AES,
    BDKAlgorithm.DEVICE_AEAD: KeyType.GENERIC_SECRET,
}

_STAYS_INSIDE = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.MODIFIABLE: False,
}

_KEK_OBJECTS = {
    KeyType.AES: MechanismFlag.WRAP | MechanismFlag.UNWRAP,
    KeyType.GENERIC_SECRET: MechanismFlag.SIGN,
}

# A service key is made in the token, and leaves it once: that is what it is for.
_LEAVES_ONCE = {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True}

_WRAP_LABEL = b"payment-token/pkcs11-wrap/v1"
_KEY_BITS = 256
_MAC_BYTES = 32
_AES_BLOCK = 16
_CMAC_POLYNOMIAL = 0x87


# The binding mixes encrypt, sign and the like into each key at run time, where no type can see them.
TokenKey = Any


class PKCS11Token:
    """Meets the ports InitialKeys, KeyEncrypter and KEKs, and takes BDKs from a ceremony. One for each token."""

    def __init__(self, session: PKCS11Session) -> None:
        self._session = session

    async def initial_key(self, bdk: BaseDerivationKey, ksn: KSN) -> SecretKey:
        label = PKCS11URI.parse(bdk.key_uri).label

        def derive(session: Session) -> bytes:
            if bdk.algorithm is BDKAlgorithm.TDES_2KEY:
                block = tdes.initial_key_block(ksn)
                halves = [
                    _key(session, KeyType.DES2, label, "encrypt", key_id).encrypt(
                        block, mechanism=Mechanism.DES3_ECB
                    )
                    for key_id in (_BDK_ID, _RIGHT_HALF_ID)
                ]
                return b"".join(halves)
            blocks = aes.initial_key_blocks(ksn, bdk.algorithm.key_bytes)
            key = _key(session, KeyType.AES, label, "encrypt")
            encrypted: bytes = key.encrypt(blocks, mechanism=Mechanism.AES_ECB)
            return encrypted[: bdk.algorithm.key_bytes]

        return SecretKey(await self._session.run(derive))

    async def device_key(self, bdk: BaseDerivationKey, name: AEADKeyName) -> SecretKey:
        label = PKCS11URI.parse(bdk.key_uri).label

        def derive(session: Session) -> bytes:
            return _mac(
                _key(session, KeyType.GENERIC_SECRET, label, "sign"), name.derivation_message
            )

        return SecretKey(await self._session.run(derive))

    async def check_value(self, bdk: BaseDerivationKey) -> str:
        """Also checks that the key is of the stated algorithm and does not leave the token.

        Raises KeyCustodianRefusedError.
        """
        label = PKCS11URI.parse(bdk.key_uri).label

        def compute(session: Session) -> bytes:
            for key in _keys_of_bdk(session, bdk.algorithm, label):
                if key[Attribute.EXTRACTABLE] or not key[Attribute.SENSITIVE]:
                    raise KeyCustodianRefusedError(
                        f"The key {label} can be taken out of the PKCS#11 token: that is no custody."
                    )
            return _check_value(session, bdk.algorithm, label)

        return (await self._session.run(compute))[:CHECK_VALUE_BYTES].hex().upper()

    async def import_bdk(self, bdk: BaseDerivationKey, key: SecretKey) -> None:
        """Makes the objects of a BDK. Raises KeyCustodianRefusedError when the label is taken."""
        label = PKCS11URI.parse(bdk.key_uri).label
        values = {_BDK_ID: key}
        if bdk.algorithm is BDKAlgorithm.TDES_2KEY:
            values[_RIGHT_HALF_ID] = tdes.right_half_key(key)

        def create(session: Session) -> None:
            _check_free(session, label)
            with _all_or_none(session, label):
                for key_id, value in values.items():
                    session.create_object(_bdk_object(bdk.algorithm, label, key_id, value))

        await self._session.run(create)

    async def remove_bdk(self, bdk: BaseDerivationKey) -> None:
        """Undoes an import."""
        label = PKCS11URI.parse(bdk.key_uri).label
        await self._session.run(lambda session: _destroy(session, label))

    async def generate_key(
        self, kek_uri: str, context: Mapping[str, str]
    ) -> tuple[SecretKey, bytes]:
        label = PKCS11URI.parse(kek_uri).label

        def generate(session: Session) -> tuple[bytes, bytes]:
            key = session.generate_key(
                KeyType.AES,
                _KEY_BITS,
                store=False,
                capabilities=MechanismFlag.ENCRYPT,
                template=_LEAVES_ONCE,
            )
            try:
                return key[Attribute.VALUE], _wrapped(session, label, key, context)
            finally:
                key.destroy()

        clear, wrapped = await self._session.run(generate)
        return SecretKey(clear), wrapped

    async def wrap_key(self, kek_uri: str, key: SecretKey, context: Mapping[str, str]) -> bytes:
        label = PKCS11URI.parse(kek_uri).label

        def wrap(session: Session) -> bytes:
            held = session.create_object(
                {
                    **_LEAVES_ONCE,
                    Attribute.CLASS: ObjectClass.SECRET_KEY,
                    Attribute.KEY_TYPE: KeyType.AES,
                    Attribute.TOKEN: False,
                    Attribute.VALUE: key.reveal(),
                }
            )
            try:
                return _wrapped(session, label, held, context)
            finally:
                held.destroy()

        return await self._session.run(wrap)

    async def unwrap_key(
        self, kek_uri: str, wrapped: bytes, context: Mapping[str, str]
    ) -> SecretKey:
        label = PKCS11URI.parse(kek_uri).label

        def unwrap(session: Session) -> bytes:
            mac, blob = wrapped[:_MAC_BYTES], wrapped[_MAC_BYTES:]
            mac_key = _key(session, KeyType.GENERIC_SECRET, label, "sign")
            if not hmac.compare_digest(mac, _mac(mac_key, _bound(context, blob))):
                raise RecordIntegrityFailureError
            key = _key(session, KeyType.AES, label, "unwrap_key").unwrap_key(
                ObjectClass.SECRET_KEY,
                KeyType.AES,
                blob,
                mechanism=Mechanism.AES_KEY_WRAP,
                store=False,
                capabilities=MechanismFlag.ENCRYPT,
                template=_LEAVES_ONCE,
            )
            clear: bytes = key[Attribute.VALUE]
            key.destroy()
            return clear

        return SecretKey(await self._session.run(unwrap))

    async def make_kek(self, like_uri: str, name: str) -> str:
        uri = PKCS11URI(PKCS11URI.parse(like_uri).token, name)

        def make(session: Session) -> None:
            _check_free(session, name)
            with _all_or_none(session, name):
                for key_type, capabilities in _KEK_OBJECTS.items():
                    session.generate_key(
                        key_type,
                        _KEY_BITS,
                        label=name,
                        store=True,
                        capabilities=capabilities,
                        template=_STAYS_INSIDE,
                    )

        await self._session.run(make)
        return str(uri)

    async def destroy_kek(self, kek_uri: str, waiting_days: int) -> datetime | None:
        """At once: a token has no waiting period."""
        del waiting_days
        label = PKCS11URI.parse(kek_uri).label
        await self._session.run(lambda session: _destroy(session, label))
        return None

    async def destruction_due(self, kek_uri: str) -> datetime | None:
        label = PKCS11URI.parse(kek_uri).label
        if await self._session.run(lambda session: _taken(session, label)):
            raise KeyCustodianRefusedError(f"The destruction of the key {label} has not begun.")
        return None


def _key(
    session: Session, key_type: KeyType, label: str, use: str, key_id: bytes | None = None
) -> TokenKey:
    """``use`` is the method that the binding gives to a key only if the token allows it."""
    key = session.get_key(ObjectClass.SECRET_KEY, key_type=key_type, label=label, id=key_id)
    if not hasattr(key, use):
        raise KeyCustodianRefusedError(f"The key {label} of the PKCS#11 token may not {use}.")
    return key


def _keys_of_bdk(session: Session, algorithm: BDKAlgorithm, label: str) -> list[TokenKey]:
    if algorithm is BDKAlgorithm.TDES_2KEY:
        return [
            _key(session, KeyType.DES2, label, "encrypt", key_id)
            for key_id in (_BDK_ID, _RIGHT_HALF_ID)
        ]
    use = "sign" if algorithm is BDKAlgorithm.DEVICE_AEAD else "encrypt"
    key = _key(session, _KEY_TYPES[algorithm], label, use)
    if algorithm is not BDKAlgorithm.DEVICE_AEAD and key.key_length != algorithm.key_bytes * 8:
        raise KeyCustodianRefusedError(f"The key {label} of the PKCS#11 token is not {algorithm}.")
    return [key]


def _check_value(session: Session, algorithm: BDKAlgorithm, label: str) -> bytes:
    if algorithm is BDKAlgorithm.TDES_2KEY:
        key = _key(session, KeyType.DES2, label, "encrypt", _BDK_ID)
        return bytes(key.encrypt(bytes(8), mechanism=Mechanism.DES3_ECB))
    if algorithm is BDKAlgorithm.DEVICE_AEAD:
        return _mac(_key(session, KeyType.GENERIC_SECRET, label, "sign"), HMAC_MESSAGE)
    # CMAC of one whole block (NIST SP 800-38B §6.2) with nothing but ECB, which is all that the key allows.
    key = _key(session, KeyType.AES, label, "encrypt")
    subkey = int.from_bytes(key.encrypt(bytes(_AES_BLOCK), mechanism=Mechanism.AES_ECB), "big") << 1
    if subkey >> 128:
        subkey = subkey & ((1 << 128) - 1) ^ _CMAC_POLYNOMIAL
    return bytes(key.encrypt(subkey.to_bytes(_AES_BLOCK, "big"), mechanism=Mechanism.AES_ECB))


def _mac(key: TokenKey, message: bytes) -> bytes:
    return bytes(key.sign(message, mechanism=Mechanism.SHA256_HMAC))


def _wrapped(session: Session, label: str, key: TokenKey, context: Mapping[str, str]) -> bytes:
    kek = _key(session, KeyType.AES, label, "wrap_key")
    blob: bytes = kek.wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP)
    return _mac(_key(session, KeyType.GENERIC_SECRET, label, "sign"), _bound(context, blob)) + blob


def _bound(context: Mapping[str, str], blob: bytes) -> bytes:
    pairs = (text.encode() for pair in sorted(context.items()) for text in pair)
    return length_prefixed(_WRAP_LABEL, *pairs, blob)


def _bdk_object(
    algorithm: BDKAlgorithm, label: str, key_id: bytes, value: SecretKey
) -> dict[Attribute, object]:
    signs = algorithm is BDKAlgorithm.DEVICE_AEAD
    return {
        **_STAYS_INSIDE,
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: _KEY_TYPES[algorithm],
        Attribute.TOKEN: True,
        Attribute.LABEL: label,
        Attribute.ID: key_id,
        Attribute.ENCRYPT: not signs,
        Attribute.SIGN: signs,
        Attribute.DECRYPT: False,
        Attribute.VERIFY: False,
        Attribute.WRAP: False,
        Attribute.UNWRAP: False,
        Attribute.DERIVE: False,
        Attribute.VALUE: value.reveal(),
    }


def _check_free(session: Session, label: str) -> None:
    if _taken(session, label):
        raise KeyCustodianRefusedError(f"The PKCS#11 token has an object named {label} already.")


def _taken(session: Session, label: str) -> bool:
    return bool(list(session.get_objects({Attribute.LABEL: label})))


@contextmanager
def _all_or_none(session: Session, label: str) -> Iterator[None]:
    """For the objects of one key: none stays behind when one of them cannot be made."""
    done = False
    try:
        yield
        done = True
    finally:
        if not done:
            _destroy(session, label)


def _destroy(session: Session, label: str) -> None:
    for found in list(session.get_objects({Attribute.LABEL: label})):
        found.destroy()

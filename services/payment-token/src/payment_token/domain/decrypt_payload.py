"""Decrypts what a terminal sent: with a derived key here, or inside a custodian that gives no key at all."""

from payment_token.domain import device_aead
from payment_token.domain.custody import Gives, capabilities_of
from payment_token.domain.device_keys import DeviceKeys
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.dukpt import KSN, payload_key
from payment_token.domain.dukpt.retail_mac import check_mac
from payment_token.domain.payload_cipher import decrypt
from payment_token.domain.ports import RemoteDecryptor
from payment_token.domain.reader_frames.opened_frame import FrameMAC
from payment_token.domain.self_test import CryptographyState
from payment_token.domain.sensitive import SensitiveBytes
from payment_token.domain.settled_payload import AEADPayload, DUKPTPayload, SettledPayload

DecryptedParts = list[tuple[PartFormat, SensitiveBytes]]


class DecryptPayload:
    def __init__(
        self,
        device_keys: DeviceKeys,
        remote_decryptor: RemoteDecryptor,
        cryptography: CryptographyState,
    ) -> None:
        self._device_keys = device_keys
        self._remote_decryptor = remote_decryptor
        self._cryptography = cryptography

    async def __call__(self, payload: SettledPayload) -> DecryptedParts:
        """The parts in clear, in their order.

        Raises DecryptionFailedError where the payload itself tells that it is not of this terminal, or its reader's message
        that it was changed, InvalidFieldError for a cipher that the scheme does not have, KeyCustodianUnavailableError.
        """
        # Keys of terminals may be in memory, where no custodian is asked.
        self._cryptography.check()
        if isinstance(payload, AEADPayload):
            return await self._open(payload)
        if capabilities_of(payload.bdk.key_uri).gives is Gives.PLAINTEXT:
            plaintexts = await self._decrypt_remotely(payload)
        else:
            plaintexts = await self._decrypt(payload)
        if payload.frame is not None:
            return list(payload.frame.assemble(plaintexts))
        formats = (part.format for part in payload.parts)
        return list(zip(formats, plaintexts, strict=True))

    async def _open(self, payload: AEADPayload) -> DecryptedParts:
        key = await self._device_keys.aead_key(payload.bdk, payload.name)
        return [
            (
                part.format,
                device_aead.open_part(key, payload.name, part.format, part.ciphertext),
            )
            for part in payload.parts
        ]

    async def _decrypt(self, payload: DUKPTPayload) -> list[SensitiveBytes]:
        encryption, ksn = payload.encryption, payload.ksn
        if payload.frame is not None and payload.frame.mac is not None:
            await self._check_mac(payload, payload.frame.mac)
        transaction_key = await self._device_keys.transaction_key(payload.bdk, ksn)
        key = payload_key(transaction_key, ksn, encryption.key_variant, encryption.cipher)
        return [
            decrypt(key, encryption.cipher, encryption.mode, encryption.iv, ciphertext)
            for ciphertext in payload.ciphertexts
        ]

    async def _check_mac(self, payload: DUKPTPayload, mac: FrameMAC) -> None:
        ksn = KSN.from_hex(mac.ksn, payload.ksn.scheme)
        check_mac(await self._device_keys.transaction_key(payload.bdk, ksn), mac.message, mac.mac)

    async def _decrypt_remotely(self, payload: DUKPTPayload) -> list[SensitiveBytes]:
        return [
            await self._remote_decryptor.decrypt(
                payload.bdk, payload.ksn, payload.encryption, ciphertext
            )
            for ciphertext in payload.ciphertexts
        ]

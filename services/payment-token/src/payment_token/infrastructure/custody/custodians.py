"""All custodians behind one face: the scheme of a key's name picks the one that is asked.

A custodian is opened when its first key is named, so a deployment configures only those that it uses.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property

from payment_token.domain.custody import Custodian, CustodyError, check_imports, custodian_of
from payment_token.domain.device_aead import AEADKeyName
from payment_token.domain.device_profile import Encryption
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.errors import KeyCustodianRefusedError
from payment_token.domain.self_test import CryptographyState
from payment_token.domain.sensitive import SecretKey, SensitiveBytes, SensitiveText
from payment_token.infrastructure.custody.aws import AWSService
from payment_token.infrastructure.custody.aws_kms import AWSKMS
from payment_token.infrastructure.custody.local_keystore import LocalKeystore
from payment_token.infrastructure.custody.payment_cryptography import AWSPaymentCryptography
from payment_token.infrastructure.custody.pkcs11_session import PKCS11Session
from payment_token.infrastructure.custody.pkcs11_token import PKCS11Token
from payment_token.infrastructure.custody.pkcs11_uri import PKCS11URI
from payment_token.infrastructure.custody.self_tested import self_tested
from payment_token.settings import ConfigurationError, Settings

KeyCustodian = AWSKMS | PKCS11Token | LocalKeystore
"""One that gives initial keys and wraps service keys."""


class Custodians:
    """Meets the ports InitialKeys, RemoteDecryptor, KeyEncrypter and KEKs. For one event loop.

    Whoever builds one has asked the self-tests, unless ``cryptography`` says that somebody did. Every method that
    needs a key raises SelfTestFailedError once one has failed.
    """

    def __init__(self, settings: Settings, cryptography: CryptographyState | None = None) -> None:
        self.cryptography = cryptography or self_tested()
        self._settings = settings
        self._aws_services: list[AWSService] = []
        self._tokens: dict[str, tuple[PKCS11Session, PKCS11Token]] = {}

    def close(self) -> None:
        for service in self._aws_services:
            service.close()
        for session, _ in self._tokens.values():
            session.close()
        self._tokens.clear()

    async def initial_key(self, bdk: BaseDerivationKey, ksn: KSN) -> SecretKey:
        return await self._holder(bdk.key_uri).initial_key(bdk, ksn)

    async def device_key(self, bdk: BaseDerivationKey, name: AEADKeyName) -> SecretKey:
        return await self._holder(bdk.key_uri).device_key(bdk, name)

    async def decrypt(
        self, bdk: BaseDerivationKey, ksn: KSN, encryption: Encryption, ciphertext: bytes
    ) -> SensitiveBytes:
        self.cryptography.check()
        return await self._payment_cryptography.decrypt(bdk, ksn, encryption, ciphertext)

    async def check_value(self, bdk: BaseDerivationKey) -> str:
        """The check value of a BDK, from its custodian: proof that the key is there and usable."""
        self.cryptography.check()
        if custodian_of(bdk.key_uri) is Custodian.AWS_PAYMENT_CRYPTOGRAPHY:
            return await self._payment_cryptography.check_value(bdk)
        return await self._holder(bdk.key_uri).check_value(bdk)

    async def import_bdk(self, bdk: BaseDerivationKey, key: SecretKey) -> None:
        """Raises CustodyError for a custodian whose keys are imported with its own tools."""
        await self._importer(bdk).import_bdk(bdk, key)

    async def remove_bdk(self, bdk: BaseDerivationKey) -> None:
        await self._importer(bdk).remove_bdk(bdk)

    async def generate_key(
        self, kek_uri: str, context: Mapping[str, str]
    ) -> tuple[SecretKey, bytes]:
        return await self._holder(kek_uri).generate_key(kek_uri, context)

    async def wrap_key(self, kek_uri: str, key: SecretKey, context: Mapping[str, str]) -> bytes:
        return await self._holder(kek_uri).wrap_key(kek_uri, key, context)

    async def unwrap_key(
        self, kek_uri: str, wrapped: bytes, context: Mapping[str, str]
    ) -> SecretKey:
        return await self._holder(kek_uri).unwrap_key(kek_uri, wrapped, context)

    async def make_kek(self, like_uri: str, name: str) -> str:
        return await self._holder(like_uri).make_kek(like_uri, name)

    async def destroy_kek(self, kek_uri: str, waiting_days: int) -> datetime | None:
        return await self._holder(kek_uri).destroy_kek(kek_uri, waiting_days)

    async def destruction_due(self, kek_uri: str) -> datetime | None:
        return await self._holder(kek_uri).destruction_due(kek_uri)

    @cached_property
    def local_keystore(self) -> LocalKeystore:
        """Raises ConfigurationError in production, and where none is configured."""
        self.cryptography.check()
        settings = self._settings
        file, key_file = settings.local_keystore_file, settings.local_keystore_key_file
        passphrase = settings.local_keystore_passphrase
        if file is None:
            raise _missing("LOCAL_KEYSTORE_FILE")
        if passphrase is not None:
            return LocalKeystore(file, SensitiveText(passphrase), settings.environment)
        if key_file is None:
            raise _missing("LOCAL_KEYSTORE_KEY_FILE")
        return LocalKeystore(file, key_file, settings.environment)

    def _holder(self, key_uri: str) -> KeyCustodian:
        self.cryptography.check()
        fault = None
        try:
            return self._opened(key_uri)
        except (ConfigurationError, CustodyError) as error:
            # A row of the database may name a key that this process is not configured for. That is no defect.
            fault = str(error)
        raise KeyCustodianRefusedError(fault)

    def _opened(self, key_uri: str) -> KeyCustodian:
        custodian = custodian_of(key_uri)
        if custodian is Custodian.LOCAL:
            return self.local_keystore
        if custodian is Custodian.AWS_KMS:
            return self._aws_kms
        if custodian is Custodian.PKCS11:
            return self._pkcs11_token(PKCS11URI.parse(key_uri).token)
        raise CustodyError(f"{custodian} gives no keys")

    def _importer(self, bdk: BaseDerivationKey) -> LocalKeystore | PKCS11Token:
        check_imports(bdk.key_uri)
        holder = self._holder(bdk.key_uri)
        if isinstance(holder, AWSKMS):
            raise CustodyError(f"{bdk.key_uri} takes no keys")
        return holder

    @cached_property
    def _aws_kms(self) -> AWSKMS:
        return AWSKMS(self._aws_service("kms", self._settings.kms_endpoint_url))

    @cached_property
    def _payment_cryptography(self) -> AWSPaymentCryptography:
        return AWSPaymentCryptography(
            self._aws_service(
                "payment-cryptography-data", self._settings.payment_cryptography_endpoint_url
            )
        )

    def _aws_service(self, name: str, endpoint_url: str | None) -> AWSService:
        service = AWSService(name, endpoint_url)
        self._aws_services.append(service)
        return service

    def _pkcs11_token(self, label: str) -> PKCS11Token:
        if label not in self._tokens:
            module = self._settings.pkcs11_module
            if module is None:
                raise _missing("PKCS11_MODULE")
            session = PKCS11Session(module, label, self._settings.read_pkcs11_pin())
            self._tokens[label] = (session, PKCS11Token(session))
        return self._tokens[label][1]


def _missing(name: str) -> ConfigurationError:
    return ConfigurationError(f"{name} is required by a key that the configuration names.")

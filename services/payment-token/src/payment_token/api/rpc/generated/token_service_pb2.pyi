import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Scheme(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCHEME_UNSPECIFIED: _ClassVar[Scheme]
    SCHEME_DUKPT_TDES: _ClassVar[Scheme]
    SCHEME_DUKPT_AES: _ClassVar[Scheme]
    SCHEME_DEVICE_AEAD: _ClassVar[Scheme]

class KeyVariant(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KEY_VARIANT_UNSPECIFIED: _ClassVar[KeyVariant]
    KEY_VARIANT_DATA_REQUEST: _ClassVar[KeyVariant]
    KEY_VARIANT_DATA_RESPONSE: _ClassVar[KeyVariant]
    KEY_VARIANT_DATA_BOTH: _ClassVar[KeyVariant]
    KEY_VARIANT_PIN: _ClassVar[KeyVariant]

class Cipher(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CIPHER_UNSPECIFIED: _ClassVar[Cipher]
    CIPHER_TDES_2KEY: _ClassVar[Cipher]
    CIPHER_TDES_3KEY: _ClassVar[Cipher]
    CIPHER_AES_128: _ClassVar[Cipher]
    CIPHER_AES_192: _ClassVar[Cipher]
    CIPHER_AES_256: _ClassVar[Cipher]

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODE_UNSPECIFIED: _ClassVar[Mode]
    MODE_CBC: _ClassVar[Mode]
    MODE_ECB: _ClassVar[Mode]
    MODE_OFB: _ClassVar[Mode]

class PartFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PART_FORMAT_UNSPECIFIED: _ClassVar[PartFormat]
    PART_FORMAT_TRACK1: _ClassVar[PartFormat]
    PART_FORMAT_TRACK2: _ClassVar[PartFormat]
    PART_FORMAT_TRACK3: _ClassVar[PartFormat]
    PART_FORMAT_EMV_TLV: _ClassVar[PartFormat]
    PART_FORMAT_CARD_JSON: _ClassVar[PartFormat]
    PART_FORMAT_IDTECH_MSR: _ClassVar[PartFormat]
    PART_FORMAT_IDTECH_EMV: _ClassVar[PartFormat]
    PART_FORMAT_MAGTEK_SWIPE: _ClassVar[PartFormat]
    PART_FORMAT_MAGTEK_EMV: _ClassVar[PartFormat]
    PART_FORMAT_MIURA_TLV: _ClassVar[PartFormat]
    PART_FORMAT_BBPOS_TLV: _ClassVar[PartFormat]

class TokenStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOKEN_STATUS_UNSPECIFIED: _ClassVar[TokenStatus]
    TOKEN_STATUS_ACTIVE: _ClassVar[TokenStatus]
    TOKEN_STATUS_REVOKED: _ClassVar[TokenStatus]

class CardBrand(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CARD_BRAND_UNSPECIFIED: _ClassVar[CardBrand]
    CARD_BRAND_VISA: _ClassVar[CardBrand]
    CARD_BRAND_MASTERCARD: _ClassVar[CardBrand]
    CARD_BRAND_AMEX: _ClassVar[CardBrand]
    CARD_BRAND_DISCOVER: _ClassVar[CardBrand]
    CARD_BRAND_DINERS: _ClassVar[CardBrand]
    CARD_BRAND_JCB: _ClassVar[CardBrand]
    CARD_BRAND_UNIONPAY: _ClassVar[CardBrand]
    CARD_BRAND_MAESTRO: _ClassVar[CardBrand]
    CARD_BRAND_UNKNOWN: _ClassVar[CardBrand]

class EntryMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENTRY_MODE_UNSPECIFIED: _ClassVar[EntryMode]
    ENTRY_MODE_SWIPE: _ClassVar[EntryMode]
    ENTRY_MODE_CHIP: _ClassVar[EntryMode]
    ENTRY_MODE_CONTACTLESS: _ClassVar[EntryMode]
    ENTRY_MODE_MANUAL: _ClassVar[EntryMode]
SCHEME_UNSPECIFIED: Scheme
SCHEME_DUKPT_TDES: Scheme
SCHEME_DUKPT_AES: Scheme
SCHEME_DEVICE_AEAD: Scheme
KEY_VARIANT_UNSPECIFIED: KeyVariant
KEY_VARIANT_DATA_REQUEST: KeyVariant
KEY_VARIANT_DATA_RESPONSE: KeyVariant
KEY_VARIANT_DATA_BOTH: KeyVariant
KEY_VARIANT_PIN: KeyVariant
CIPHER_UNSPECIFIED: Cipher
CIPHER_TDES_2KEY: Cipher
CIPHER_TDES_3KEY: Cipher
CIPHER_AES_128: Cipher
CIPHER_AES_192: Cipher
CIPHER_AES_256: Cipher
MODE_UNSPECIFIED: Mode
MODE_CBC: Mode
MODE_ECB: Mode
MODE_OFB: Mode
PART_FORMAT_UNSPECIFIED: PartFormat
PART_FORMAT_TRACK1: PartFormat
PART_FORMAT_TRACK2: PartFormat
PART_FORMAT_TRACK3: PartFormat
PART_FORMAT_EMV_TLV: PartFormat
PART_FORMAT_CARD_JSON: PartFormat
PART_FORMAT_IDTECH_MSR: PartFormat
PART_FORMAT_IDTECH_EMV: PartFormat
PART_FORMAT_MAGTEK_SWIPE: PartFormat
PART_FORMAT_MAGTEK_EMV: PartFormat
PART_FORMAT_MIURA_TLV: PartFormat
PART_FORMAT_BBPOS_TLV: PartFormat
TOKEN_STATUS_UNSPECIFIED: TokenStatus
TOKEN_STATUS_ACTIVE: TokenStatus
TOKEN_STATUS_REVOKED: TokenStatus
CARD_BRAND_UNSPECIFIED: CardBrand
CARD_BRAND_VISA: CardBrand
CARD_BRAND_MASTERCARD: CardBrand
CARD_BRAND_AMEX: CardBrand
CARD_BRAND_DISCOVER: CardBrand
CARD_BRAND_DINERS: CardBrand
CARD_BRAND_JCB: CardBrand
CARD_BRAND_UNIONPAY: CardBrand
CARD_BRAND_MAESTRO: CardBrand
CARD_BRAND_UNKNOWN: CardBrand
ENTRY_MODE_UNSPECIFIED: EntryMode
ENTRY_MODE_SWIPE: EntryMode
ENTRY_MODE_CHIP: EntryMode
ENTRY_MODE_CONTACTLESS: EntryMode
ENTRY_MODE_MANUAL: EntryMode

class CreateTokenRequest(_message.Message):
    __slots__ = ("request_id", "idempotency_key", "merchant_id", "device_id", "encrypted_payload", "ttl_seconds", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTED_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    idempotency_key: str
    merchant_id: str
    device_id: str
    encrypted_payload: EncryptedPayload
    ttl_seconds: int
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, request_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., merchant_id: _Optional[str] = ..., device_id: _Optional[str] = ..., encrypted_payload: _Optional[_Union[EncryptedPayload, _Mapping]] = ..., ttl_seconds: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class CreateTokenResponse(_message.Message):
    __slots__ = ("token", "replayed")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    token: Token
    replayed: bool
    def __init__(self, token: _Optional[_Union[Token, _Mapping]] = ..., replayed: _Optional[bool] = ...) -> None: ...

class BatchCreateTokensRequest(_message.Message):
    __slots__ = ("request_id", "items")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    items: _containers.RepeatedCompositeFieldContainer[CreateTokenItem]
    def __init__(self, request_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[CreateTokenItem, _Mapping]]] = ...) -> None: ...

class CreateTokenItem(_message.Message):
    __slots__ = ("idempotency_key", "merchant_id", "device_id", "encrypted_payload", "ttl_seconds", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTED_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    merchant_id: str
    device_id: str
    encrypted_payload: EncryptedPayload
    ttl_seconds: int
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, idempotency_key: _Optional[str] = ..., merchant_id: _Optional[str] = ..., device_id: _Optional[str] = ..., encrypted_payload: _Optional[_Union[EncryptedPayload, _Mapping]] = ..., ttl_seconds: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class BatchCreateTokensResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[CreateTokenResult]
    def __init__(self, results: _Optional[_Iterable[_Union[CreateTokenResult, _Mapping]]] = ...) -> None: ...

class CreateTokenResult(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: CreateTokenResponse
    error: _status_pb2.Status
    def __init__(self, response: _Optional[_Union[CreateTokenResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class GetTokenRequest(_message.Message):
    __slots__ = ("request_id", "payment_token", "merchant_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    payment_token: str
    merchant_id: str
    def __init__(self, request_id: _Optional[str] = ..., payment_token: _Optional[str] = ..., merchant_id: _Optional[str] = ...) -> None: ...

class GetTokenResponse(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: Token
    def __init__(self, token: _Optional[_Union[Token, _Mapping]] = ...) -> None: ...

class DeleteTokenRequest(_message.Message):
    __slots__ = ("request_id", "payment_token", "merchant_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    payment_token: str
    merchant_id: str
    def __init__(self, request_id: _Optional[str] = ..., payment_token: _Optional[str] = ..., merchant_id: _Optional[str] = ...) -> None: ...

class DeleteTokenResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EncryptedPayload(_message.Message):
    __slots__ = ("scheme", "ksn", "key_epoch", "key_variant", "cipher", "mode", "iv", "parts")
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    KSN_FIELD_NUMBER: _ClassVar[int]
    KEY_EPOCH_FIELD_NUMBER: _ClassVar[int]
    KEY_VARIANT_FIELD_NUMBER: _ClassVar[int]
    CIPHER_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    IV_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    scheme: Scheme
    ksn: str
    key_epoch: int
    key_variant: KeyVariant
    cipher: Cipher
    mode: Mode
    iv: str
    parts: _containers.RepeatedCompositeFieldContainer[EncryptedPart]
    def __init__(self, scheme: _Optional[_Union[Scheme, str]] = ..., ksn: _Optional[str] = ..., key_epoch: _Optional[int] = ..., key_variant: _Optional[_Union[KeyVariant, str]] = ..., cipher: _Optional[_Union[Cipher, str]] = ..., mode: _Optional[_Union[Mode, str]] = ..., iv: _Optional[str] = ..., parts: _Optional[_Iterable[_Union[EncryptedPart, _Mapping]]] = ...) -> None: ...

class EncryptedPart(_message.Message):
    __slots__ = ("format", "ciphertext", "frame")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXT_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    format: PartFormat
    ciphertext: bytes
    frame: bytes
    def __init__(self, format: _Optional[_Union[PartFormat, str]] = ..., ciphertext: _Optional[bytes] = ..., frame: _Optional[bytes] = ...) -> None: ...

class Token(_message.Message):
    __slots__ = ("payment_token", "merchant_id", "status", "created_at", "expires_at", "card", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PAYMENT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    payment_token: str
    merchant_id: str
    status: TokenStatus
    created_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    card: Card
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, payment_token: _Optional[str] = ..., merchant_id: _Optional[str] = ..., status: _Optional[_Union[TokenStatus, str]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., card: _Optional[_Union[Card, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Card(_message.Message):
    __slots__ = ("brand", "bin", "last4", "exp_month", "exp_year", "entry_mode", "checks")
    BRAND_FIELD_NUMBER: _ClassVar[int]
    BIN_FIELD_NUMBER: _ClassVar[int]
    LAST4_FIELD_NUMBER: _ClassVar[int]
    EXP_MONTH_FIELD_NUMBER: _ClassVar[int]
    EXP_YEAR_FIELD_NUMBER: _ClassVar[int]
    ENTRY_MODE_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    brand: CardBrand
    bin: str
    last4: str
    exp_month: int
    exp_year: int
    entry_mode: EntryMode
    checks: CardChecks
    def __init__(self, brand: _Optional[_Union[CardBrand, str]] = ..., bin: _Optional[str] = ..., last4: _Optional[str] = ..., exp_month: _Optional[int] = ..., exp_year: _Optional[int] = ..., entry_mode: _Optional[_Union[EntryMode, str]] = ..., checks: _Optional[_Union[CardChecks, _Mapping]] = ...) -> None: ...

class CardChecks(_message.Message):
    __slots__ = ("luhn", "expired", "expiry_valid")
    LUHN_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    EXPIRY_VALID_FIELD_NUMBER: _ClassVar[int]
    luhn: bool
    expired: bool
    expiry_valid: bool
    def __init__(self, luhn: _Optional[bool] = ..., expired: _Optional[bool] = ..., expiry_valid: _Optional[bool] = ...) -> None: ...

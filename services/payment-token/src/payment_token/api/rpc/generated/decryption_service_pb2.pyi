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

class ReleaseField(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RELEASE_FIELD_UNSPECIFIED: _ClassVar[ReleaseField]
    RELEASE_FIELD_PAN: _ClassVar[ReleaseField]
    RELEASE_FIELD_EXPIRY: _ClassVar[ReleaseField]
    RELEASE_FIELD_CARDHOLDER_NAME: _ClassVar[ReleaseField]
    RELEASE_FIELD_SAD: _ClassVar[ReleaseField]

class SADStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SAD_STATUS_UNSPECIFIED: _ClassVar[SADStatus]
    SAD_STATUS_NONE: _ClassVar[SADStatus]
    SAD_STATUS_LIVE: _ClassVar[SADStatus]
    SAD_STATUS_EXPIRED: _ClassVar[SADStatus]
    SAD_STATUS_DESTROYED: _ClassVar[SADStatus]

class AuthorizationOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUTHORIZATION_OUTCOME_UNSPECIFIED: _ClassVar[AuthorizationOutcome]
    AUTHORIZATION_OUTCOME_APPROVED: _ClassVar[AuthorizationOutcome]
    AUTHORIZATION_OUTCOME_DECLINED: _ClassVar[AuthorizationOutcome]
    AUTHORIZATION_OUTCOME_CANCELLED: _ClassVar[AuthorizationOutcome]
RELEASE_FIELD_UNSPECIFIED: ReleaseField
RELEASE_FIELD_PAN: ReleaseField
RELEASE_FIELD_EXPIRY: ReleaseField
RELEASE_FIELD_CARDHOLDER_NAME: ReleaseField
RELEASE_FIELD_SAD: ReleaseField
SAD_STATUS_UNSPECIFIED: SADStatus
SAD_STATUS_NONE: SADStatus
SAD_STATUS_LIVE: SADStatus
SAD_STATUS_EXPIRED: SADStatus
SAD_STATUS_DESTROYED: SADStatus
AUTHORIZATION_OUTCOME_UNSPECIFIED: AuthorizationOutcome
AUTHORIZATION_OUTCOME_APPROVED: AuthorizationOutcome
AUTHORIZATION_OUTCOME_DECLINED: AuthorizationOutcome
AUTHORIZATION_OUTCOME_CANCELLED: AuthorizationOutcome

class DecryptRequest(_message.Message):
    __slots__ = ("request_id", "payment_token", "merchant_id", "purpose", "fields")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_ID_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    payment_token: str
    merchant_id: str
    purpose: str
    fields: _containers.RepeatedScalarFieldContainer[ReleaseField]
    def __init__(self, request_id: _Optional[str] = ..., payment_token: _Optional[str] = ..., merchant_id: _Optional[str] = ..., purpose: _Optional[str] = ..., fields: _Optional[_Iterable[_Union[ReleaseField, str]]] = ...) -> None: ...

class BatchDecryptRequest(_message.Message):
    __slots__ = ("request_id", "items")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    items: _containers.RepeatedCompositeFieldContainer[DecryptItem]
    def __init__(self, request_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[DecryptItem, _Mapping]]] = ...) -> None: ...

class DecryptItem(_message.Message):
    __slots__ = ("payment_token", "merchant_id", "purpose", "fields")
    PAYMENT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_ID_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    payment_token: str
    merchant_id: str
    purpose: str
    fields: _containers.RepeatedScalarFieldContainer[ReleaseField]
    def __init__(self, payment_token: _Optional[str] = ..., merchant_id: _Optional[str] = ..., purpose: _Optional[str] = ..., fields: _Optional[_Iterable[_Union[ReleaseField, str]]] = ...) -> None: ...

class BatchDecryptResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[DecryptResult]
    def __init__(self, results: _Optional[_Iterable[_Union[DecryptResult, _Mapping]]] = ...) -> None: ...

class DecryptResult(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: DecryptResponse
    error: _status_pb2.Status
    def __init__(self, response: _Optional[_Union[DecryptResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class DecryptResponse(_message.Message):
    __slots__ = ("payment_token", "payment_data", "metadata", "audit_receipt")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PAYMENT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_DATA_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    AUDIT_RECEIPT_FIELD_NUMBER: _ClassVar[int]
    payment_token: str
    payment_data: PaymentData
    metadata: _containers.ScalarMap[str, str]
    audit_receipt: str
    def __init__(self, payment_token: _Optional[str] = ..., payment_data: _Optional[_Union[PaymentData, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., audit_receipt: _Optional[str] = ...) -> None: ...

class PaymentData(_message.Message):
    __slots__ = ("pan", "exp_month", "exp_year", "cardholder_name", "sad", "sad_status")
    PAN_FIELD_NUMBER: _ClassVar[int]
    EXP_MONTH_FIELD_NUMBER: _ClassVar[int]
    EXP_YEAR_FIELD_NUMBER: _ClassVar[int]
    CARDHOLDER_NAME_FIELD_NUMBER: _ClassVar[int]
    SAD_FIELD_NUMBER: _ClassVar[int]
    SAD_STATUS_FIELD_NUMBER: _ClassVar[int]
    pan: str
    exp_month: int
    exp_year: int
    cardholder_name: str
    sad: SensitiveAuthenticationData
    sad_status: SADStatus
    def __init__(self, pan: _Optional[str] = ..., exp_month: _Optional[int] = ..., exp_year: _Optional[int] = ..., cardholder_name: _Optional[str] = ..., sad: _Optional[_Union[SensitiveAuthenticationData, _Mapping]] = ..., sad_status: _Optional[_Union[SADStatus, str]] = ...) -> None: ...

class SensitiveAuthenticationData(_message.Message):
    __slots__ = ("service_code", "cvv", "track1", "track2", "emv")
    SERVICE_CODE_FIELD_NUMBER: _ClassVar[int]
    CVV_FIELD_NUMBER: _ClassVar[int]
    TRACK1_FIELD_NUMBER: _ClassVar[int]
    TRACK2_FIELD_NUMBER: _ClassVar[int]
    EMV_FIELD_NUMBER: _ClassVar[int]
    service_code: str
    cvv: str
    track1: str
    track2: str
    emv: str
    def __init__(self, service_code: _Optional[str] = ..., cvv: _Optional[str] = ..., track1: _Optional[str] = ..., track2: _Optional[str] = ..., emv: _Optional[str] = ...) -> None: ...

class CompleteAuthorizationRequest(_message.Message):
    __slots__ = ("request_id", "payment_token", "merchant_id", "outcome")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    payment_token: str
    merchant_id: str
    outcome: AuthorizationOutcome
    def __init__(self, request_id: _Optional[str] = ..., payment_token: _Optional[str] = ..., merchant_id: _Optional[str] = ..., outcome: _Optional[_Union[AuthorizationOutcome, str]] = ...) -> None: ...

class CompleteAuthorizationResponse(_message.Message):
    __slots__ = ("sad_status", "sad_destroyed_at", "unrecoverable_from", "receipt")
    SAD_STATUS_FIELD_NUMBER: _ClassVar[int]
    SAD_DESTROYED_AT_FIELD_NUMBER: _ClassVar[int]
    UNRECOVERABLE_FROM_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    sad_status: SADStatus
    sad_destroyed_at: _timestamp_pb2.Timestamp
    unrecoverable_from: _timestamp_pb2.Timestamp
    receipt: str
    def __init__(self, sad_status: _Optional[_Union[SADStatus, str]] = ..., sad_destroyed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., unrecoverable_from: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., receipt: _Optional[str] = ...) -> None: ...

"""One table maps every error of the domain to what a caller sees."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

import payment_token
from payment_token.api.errors import ANSWERS, answer_to
from payment_token.domain import errors
from payment_token.domain.errors import PaymentTokenError

STATUSES = {
    400: {"malformed_request", "idempotency_key_missing"},
    413: {"payload_too_large"},
    415: {"unsupported_media_type"},
    422: {
        "invalid_field",
        "idempotency_key_reused",
        "unknown_device",
        "device_suspended",
        "bad_ksn",
        "ksn_replayed",
        "decryption_failed",
        "cleartext_card_data",
    },
    401: {"unauthenticated"},
    403: {"forbidden"},
    404: {"route_not_found", "token_not_found", "device_not_found"},
    405: {"method_not_allowed"},
    409: {"idempotency_in_progress", "device_state_conflict", "device_exists"},
    410: {"token_expired", "token_revoked"},
    429: {"rate_limited"},
    503: {
        "database_unavailable",
        "key_custodian_unavailable",
        "audit_unavailable",
        "encryption_key_overdue",
        "overloaded",
    },
    500: {"record_integrity_failure"},
}
RPC_STATUSES = {
    "INVALID_ARGUMENT": {
        "malformed_request",
        "idempotency_key_missing",
        "unsupported_media_type",
        "invalid_field",
        "bad_ksn",
        "decryption_failed",
        "cleartext_card_data",
    },
    "ALREADY_EXISTS": {"idempotency_key_reused", "ksn_replayed", "device_exists"},
    "FAILED_PRECONDITION": {
        "unknown_device",
        "device_suspended",
        "device_state_conflict",
        "token_expired",
        "token_revoked",
    },
    "UNAUTHENTICATED": {"unauthenticated"},
    "PERMISSION_DENIED": {"forbidden"},
    "NOT_FOUND": {"token_not_found", "device_not_found"},
    "UNIMPLEMENTED": {"route_not_found", "method_not_allowed"},
    "ABORTED": {"idempotency_in_progress"},
    "RESOURCE_EXHAUSTED": {"payload_too_large", "rate_limited"},
    "UNAVAILABLE": {
        "database_unavailable",
        "key_custodian_unavailable",
        "audit_unavailable",
        "encryption_key_overdue",
        "overloaded",
    },
    "DATA_LOSS": {"record_integrity_failure"},
}
WAITING_HELPS = {429, 503}
WAITS_FOR_ITSELF = "idempotency_in_progress"


def descendants(error: type[PaymentTokenError]) -> Iterator[type[PaymentTokenError]]:
    for child in error.__subclasses__():
        yield child
        yield from descendants(child)


def every_module() -> Iterator[str]:
    for module in pkgutil.walk_packages(payment_token.__path__, "payment_token."):
        if not module.name.endswith("__main__"):
            yield module.name


WITH_KINDS = list(descendants(PaymentTokenError))
EVERY_ERROR = [error for error in WITH_KINDS if "code" in vars(error)]
KINDS = [error for error in WITH_KINDS if error not in EVERY_ERROR]
LEAVES = [error for error in EVERY_ERROR if not set(error.__subclasses__()) - set(KINDS)]


def name_of(error: type) -> str:
    return error.__name__


def example(error: type[PaymentTokenError]) -> PaymentTokenError:
    if error is errors.InvalidFieldError:
        return error("merchant_id", "must be there")
    if error in (errors.DecryptionFailedError, errors.CleartextCardDataError) or issubclass(
        error, errors.TokenGoneError
    ):
        return error("something")
    return error("advice for operators") if error is errors.KeyCustodianRefusedError else error()


def test_every_error_that_a_caller_can_meet_has_an_answer():
    assert set(ANSWERS) == set(LEAVES)


def test_no_error_is_hidden_in_another_module():
    for name in every_module():
        importlib.import_module(name)
    assert set(descendants(PaymentTokenError)) == set(WITH_KINDS)
    assert {error.__module__ for error in WITH_KINDS} == {errors.__name__}


def test_statuses_are_those_that_callers_rely_on():
    found: dict[int, set[str]] = {}
    for error, answer in ANSWERS.items():
        found.setdefault(answer.status, set()).add(error.code)
    assert found == STATUSES


def test_statuses_of_grpc_are_those_that_callers_rely_on():
    found: dict[str, set[str]] = {}
    for error, answer in ANSWERS.items():
        found.setdefault(answer.rpc, set()).add(error.code)
    assert found == RPC_STATUSES


def test_grpc_s_client_libraries_send_again_what_may_succeed_later():
    for answer in ANSWERS.values():
        assert (answer.status == 503) is (answer.rpc == "UNAVAILABLE")


def test_codes_are_unique():
    codes = [error.code for error in EVERY_ERROR]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error", EVERY_ERROR, ids=name_of)
def test_every_error_has_a_code_and_a_detail_of_its_own(error):
    assert "code" in vars(error)
    assert re.fullmatch("[a-z]+(_[a-z]+)*", error.code)
    assert "default_detail" in vars(error)
    assert re.search(r"[.…']$", error.default_detail)


@pytest.mark.parametrize("error", EVERY_ERROR, ids=name_of)
def test_the_code_is_the_name_of_the_class(error):
    name = error.__name__.removesuffix("Error").lower()
    assert error.code.replace("_", "") == name


@pytest.mark.parametrize("error", LEAVES, ids=name_of)
def test_an_error_s_answer(error):
    answer = answer_to(example(error))
    assert answer is ANSWERS[error]
    assert answer.title
    assert (answer.retry_after_seconds is not None) is (
        answer.status in WAITING_HELPS or error.code == WAITS_FOR_ITSELF
    )
    assert (answer.retry_after_seconds or 1) > 0


@pytest.mark.parametrize("error", KINDS, ids=name_of)
def test_a_kind_of_an_error_answers_as_that_error_does(error):
    (parent,) = error.__bases__
    assert parent in LEAVES
    assert answer_to(example(error)) is ANSWERS[parent]
    assert error.code == parent.code
    assert "advice" not in str(example(error))


def test_titles_are_unique():
    assert len({answer.title for answer in ANSWERS.values()}) == len(ANSWERS)


def test_a_detail_is_the_default_or_what_was_said():
    assert errors.ForbiddenError().detail == errors.ForbiddenError.default_detail
    assert errors.ForbiddenError("Not this one.").detail == "Not this one."
    assert errors.InvalidFieldError("ttl_seconds", "must be positive").detail == (
        "ttl_seconds: must be positive"
    )


@pytest.mark.parametrize("stage", ["wrong key", "padding", "luhn"])
def test_a_failed_decryption_has_one_text_for_every_stage(stage):
    error = errors.DecryptionFailedError(stage)
    assert error.stage == stage
    assert str(error) == errors.DecryptionFailedError.default_detail
    assert stage not in str(error)
    assert error.args == (errors.DecryptionFailedError.default_detail,)

import base64
import dataclasses
import hashlib
import os
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.api_key import (
    DEFAULT_SCOPES,
    APIKey,
    KeyReading,
    PresentedKey,
    Scope,
    new_api_key,
    successor_of,
)
from payment_token.domain.errors import ForbiddenError, UnauthenticatedError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.permits import Rate
from payment_token.domain.sensitive import SensitiveText

ONE, OTHER = MerchantId("m_4711"), MerchantId("m_4712")
NOW = datetime(2026, 7, 2, 12, tzinfo=UTC)
GOOD = "ptk_0123456789abcdef_" + "A-_z" * 10 + "A-_"


def parsed(text: str) -> PresentedKey:
    return PresentedKey.parse(SensitiveText(text))


def fixed(size: int) -> bytes:
    return bytes(range(size))


def test_a_new_key_authenticates():
    key, text = new_api_key("till", (ONE,), os.urandom)
    presented = PresentedKey.parse(text)
    assert presented.key_id == key.key_id
    key.authenticate(presented, NOW)


def test_a_new_key_is_made_of_64_and_256_random_bits():
    sizes = []
    key, text = new_api_key("till", (ONE, OTHER), lambda n: sizes.append(n) or fixed(n))
    secret = base64.urlsafe_b64encode(bytes(range(32))).rstrip(b"=").decode()
    assert sizes == [8, 32]
    assert text.reveal() == f"ptk_0001020304050607_{secret}"
    assert key == APIKey(
        "0001020304050607", "till", (ONE, OTHER), hashlib.sha256(secret.encode()).digest()
    )


def test_what_is_stored_and_presented_shows_no_secret():
    key, text = new_api_key("till", (ONE,), os.urandom)
    secret = text.reveal()[len("ptk_0123456789abcdef_") :]
    for shown in (repr(key), repr(PresentedKey.parse(text)), repr(text)):
        assert secret not in shown


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=32, max_size=32))
def test_every_key_that_is_made_can_be_presented(key_id, secret):
    key, text = new_api_key("till", (ONE,), lambda size: key_id if size == 8 else secret)
    assert len(text.reveal()) == len(GOOD)
    key.authenticate(PresentedKey.parse(text), NOW)


def test_a_wrong_secret_and_a_key_that_has_ended_are_refused_alike():
    key, text = new_api_key("till", (ONE,), os.urandom)
    _, other = new_api_key("till", (ONE,), os.urandom)
    revoked = dataclasses.replace(key, revoked_at=datetime(2026, 7, 1, tzinfo=UTC))
    expired = dataclasses.replace(key, expires_at=NOW)

    refusals = []
    for stored, presented in (
        (key, other),
        (revoked, text),
        (revoked, other),
        (expired, text),
        (expired, other),
    ):
        with pytest.raises(UnauthenticatedError) as refusal:
            stored.authenticate(PresentedKey.parse(presented), NOW)
        refusals.append(refusal.value.detail)
    assert set(refusals) == {UnauthenticatedError.default_detail}


HOSTILE = {
    "nothing": "",
    "the prefix": "ptk_",
    "another prefix": GOOD.replace("ptk", "sk"),
    "no prefix": GOOD[4:],
    "upper-case prefix": GOOD.replace("ptk", "PTK"),
    "upper-case id": GOOD.upper(),
    "a short id": GOOD.replace("0123", "123"),
    "a long id": GOOD.replace("0123", "00123"),
    "an id past f": GOOD.replace("0123", "g123"),
    "a short secret": GOOD[:-1],
    "a long secret": GOOD + "A",
    "padding": GOOD[:-1] + "=",
    "standard base64": GOOD[:-1] + "+",
    "a blank": GOOD + " ",
    "a line feed": GOOD + "\n",
    "a NUL": GOOD[:-1] + "\0",
    "a full-width letter": GOOD[:-1] + "\uff21",
    "an Arabic digit": GOOD.replace("0", "\u0660"),
    "half of a surrogate pair": GOOD[:-1] + "\ud800",
    "a megabyte": "ptk_" + "0" * 1_000_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_cannot_be_a_key_is_refused(text):
    with pytest.raises(UnauthenticatedError) as refusal:
        parsed(text)
    assert refusal.value.args == (UnauthenticatedError.default_detail,)
    assert refusal.value.__context__ is None


def test_the_form_of_a_key():
    assert parsed(GOOD).key_id == "0123456789abcdef"
    assert parsed(GOOD).secret_sha256 == hashlib.sha256(GOOD[21:].encode()).digest()


def of(*merchants: MerchantId) -> APIKey:
    return APIKey("0123456789abcdef", "till", merchants, bytes(32))


def test_a_key_of_one_merchant_need_not_name_it():
    assert of(ONE).acting_for(None) == ONE
    assert of(ONE).acting_for(ONE) == ONE


def test_a_key_of_two_merchants_must_name_one():
    assert of(ONE, OTHER).acting_for(OTHER) == OTHER
    with pytest.raises(ForbiddenError):
        of(ONE, OTHER).acting_for(None)


@pytest.mark.parametrize("named", [None, ONE, MerchantId(""), MerchantId("*")])
def test_a_key_of_no_merchant_acts_for_none(named):
    with pytest.raises(ForbiddenError):
        of().acting_for(named)


@pytest.mark.parametrize("named", [OTHER, "m_471", "m_47111", "M_4711", "m_4711 ", "*", ""])
def test_a_key_acts_for_nobody_else(named):
    with pytest.raises(ForbiddenError) as refusal:
        of(ONE).acting_for(MerchantId(named))
    assert ONE not in refusal.value.detail


def test_a_key_ends_at_its_instant_and_not_before():
    instant = timedelta(microseconds=1)
    key, text = new_api_key("till", (ONE,), os.urandom, expires_at=NOW)
    presented = PresentedKey.parse(text)

    key.authenticate(presented, NOW - instant)
    for late in (NOW, NOW + instant):
        with pytest.raises(UnauthenticatedError):
            key.authenticate(presented, late)
    assert KeyReading(key, NOW - instant).seconds_left == pytest.approx(1e-6)
    assert KeyReading(of(ONE), NOW).seconds_left == float("inf")


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_includes_no_other(scope):
    key = dataclasses.replace(of(ONE), scopes=frozenset({scope}))

    key.require(scope)
    for other in set(Scope) - {scope}:
        with pytest.raises(ForbiddenError, match=f"lacks the scope {other}"):
            key.require(other)


def test_without_being_asked_a_key_may_do_all_that_concerns_tokens():
    assert of(ONE).scopes == DEFAULT_SCOPES == {Scope.TOKENS_READ, Scope.TOKENS_WRITE}


def test_a_successor_may_do_the_same_under_another_id_and_secret():
    key, text = new_api_key(
        "till", (ONE, OTHER), os.urandom, scopes=frozenset({Scope.ADMIN}), rate=Rate(5, 9)
    )
    successor, other_text = successor_of(key, os.urandom, NOW)

    assert (successor.name, successor.merchants) == (key.name, key.merchants)
    assert (successor.scopes, successor.rate) == (key.scopes, key.rate)
    assert successor.expires_at == NOW
    assert successor.key_id != key.key_id
    assert other_text.reveal() != text.reveal()
    with pytest.raises(UnauthenticatedError):
        key.authenticate(PresentedKey.parse(other_text), NOW)


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (1, 0), (-1, 5), (10**9, 1)])
def test_a_rate_of_nothing_is_none(per_second, burst):
    with pytest.raises(ValueError, match="a rate and its burst"):
        Rate(per_second, burst)

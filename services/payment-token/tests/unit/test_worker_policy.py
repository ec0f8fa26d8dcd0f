import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.errors import ForbiddenError, UnauthenticatedError
from payment_token.domain.identifiers import MerchantId
from payment_token.domain.worker_policy import (
    EVERYTHING,
    Asked,
    GrantPart,
    Operation,
    ReleaseField,
    Worker,
    WorkerGrant,
    WorkerPolicy,
)

PAN, EXPIRY, NAME, SAD = (
    ReleaseField.PAN,
    ReleaseField.EXPIRY,
    ReleaseField.CARDHOLDER_NAME,
    ReleaseField.SAD,
)
MERCHANT = MerchantId("m_4711")


def worker(identity: str) -> Worker:
    return Worker(identity, bytes(32), "203.0.113.7:50000")


def grant(merchants=("m_4711",), purposes=("authorization",), fields=(PAN, EXPIRY)) -> WorkerGrant:
    return WorkerGrant(frozenset(merchants), frozenset(purposes), frozenset(fields))


POLICY = WorkerPolicy(
    {
        "spiffe://example/authorizer": grant(
            (EVERYTHING,), ("authorization", "capture"), ReleaseField
        ),
        "spiffe://example/refunder": grant(purposes=("refund",)),
        "spiffe://example/reporter": grant(purposes=(EVERYTHING,), fields=(EXPIRY,)),
        "spiffe://example/nobody": grant((), (), ()),
    }
)


def allowed(identity: str, merchant: str, purpose: str, *fields: ReleaseField) -> bool:
    try:
        POLICY.check(
            worker(f"spiffe://example/{identity}"),
            Asked(MerchantId(merchant), purpose=purpose, fields=frozenset(fields)),
        )
    except ForbiddenError:
        return False
    return True


def test_a_grant_covers_what_it_names():
    assert allowed("refunder", "m_4711", "refund", PAN, EXPIRY)
    assert allowed("refunder", "m_4711", "refund", PAN)
    assert allowed("authorizer", "m_4711", "authorization", PAN, EXPIRY, NAME, SAD)
    assert allowed("authorizer", "m_4712", "capture", PAN)
    assert allowed("reporter", "m_4711", "anything-at-all", EXPIRY)


@pytest.mark.parametrize(
    ("identity", "merchant", "purpose", "fields"),
    [
        ("refunder", "m_4712", "refund", [PAN]),
        ("refunder", "m_471", "refund", [PAN]),
        ("refunder", "M_4711", "refund", [PAN]),
        ("refunder", "*", "refund", [PAN]),
        ("refunder", "m_4711", "authorization", [PAN]),
        ("refunder", "m_4711", "*", [PAN]),
        ("refunder", "m_4711", "", [PAN]),
        ("refunder", "m_4711", "Refund", [PAN]),
        ("refunder", "m_4711", "refund", [SAD]),
        ("authorizer", "m_4711", "refund", [PAN]),
        ("reporter", "m_4711", "report", [PAN]),
        ("nobody", "m_4711", "authorization", []),
    ],
)
def test_what_no_grant_names_is_denied(identity, merchant, purpose, fields):
    assert not allowed(identity, merchant, purpose, *fields)


def test_one_field_too_many_denies_the_whole_request():
    assert allowed("refunder", "m_4711", "refund", PAN, EXPIRY)
    assert not allowed("refunder", "m_4711", "refund", PAN, EXPIRY, NAME)


@pytest.mark.parametrize(
    "identity",
    ["*", "spiffe://example/", "spiffe://example/Refunder", "spiffe://example/refunder "],
)
def test_an_identity_that_is_not_named_is_denied(identity):
    with pytest.raises(ForbiddenError, match="does not name this worker") as refusal:
        POLICY.check_known(worker(identity))
    assert "example" not in refusal.value.detail
    with pytest.raises(ForbiddenError, match="does not name this worker"):
        POLICY.check(worker(identity), Asked(MERCHANT, purpose="refund", fields=frozenset({PAN})))


def test_who_has_no_identity_is_not_authenticated():
    with pytest.raises(UnauthenticatedError):
        POLICY.check_known(worker(""))
    with pytest.raises(UnauthenticatedError):
        POLICY.check(worker(""), Asked(MERCHANT, purpose="refund", fields=frozenset({PAN})))


def test_a_named_identity_is_known_whatever_it_may():
    POLICY.check_known(worker("spiffe://example/nobody"))


def test_an_empty_policy_knows_nobody():
    with pytest.raises(ForbiddenError):
        WorkerPolicy({}).check_known(worker("spiffe://example/refunder"))


def test_certificate_and_address_do_not_matter_to_a_grant():
    other = Worker("spiffe://example/refunder", b"\xff" * 32, "198.51.100.1:1")
    POLICY.check(other, Asked(MERCHANT, purpose="refund", fields=frozenset({PAN})))


names = st.sampled_from(["a", "b", "*"])
few = st.frozensets(names, max_size=2)
releases = st.frozensets(st.sampled_from(ReleaseField))


@given(few, few, releases, st.sampled_from("ab"), st.sampled_from("ab"), releases)
def test_a_grant_is_the_three_rules_together(
    merchants, purposes, granted, merchant, purpose, wanted
):
    covered = (
        (merchant in merchants or "*" in merchants)
        and (purpose in purposes or "*" in purposes)
        and all(field in granted for field in wanted)
    )
    rule = WorkerGrant(merchants, purposes, granted)
    asked = Asked(MerchantId(merchant), purpose=purpose, fields=wanted)
    assert rule.covers(asked) is covered
    assert (list(rule.lacking(asked)) == []) is covered
    assert WorkerPolicy({"w": rule}).allows("w", asked) is covered
    assert not WorkerPolicy({"w": rule}).allows("v", asked)


def test_every_part_that_is_lacking_is_named():
    asked = Asked(
        MerchantId("m_9"), Operation.AUTHORIZATION_COMPLETE, "refund", frozenset({SAD, PAN})
    )

    assert list(grant().lacking(asked)) == [*GrantPart]
    assert list(grant().lacking(Asked(MERCHANT, fields=frozenset({SAD})))) == [GrantPart.FIELDS]
    # A completion has no purpose, so none is asked for.
    assert list(grant(purposes=()).lacking(Asked(MERCHANT))) == []


def test_an_operation_is_granted_by_name_and_by_merchant():
    completer = WorkerGrant(
        frozenset({"m_4711"}),
        frozenset({EVERYTHING}),
        frozenset(ReleaseField),
        frozenset({Operation.AUTHORIZATION_COMPLETE}),
    )
    policy = WorkerPolicy(
        {"spiffe://example/completer": completer, "spiffe://example/reader": grant()}
    )

    def may(identity: str, merchant: str, operation: Operation) -> bool:
        try:
            policy.check(worker(identity), Asked(MerchantId(merchant), operation))
        except ForbiddenError:
            return False
        return True

    assert may("spiffe://example/completer", "m_4711", Operation.AUTHORIZATION_COMPLETE)
    assert not may("spiffe://example/completer", "m_4712", Operation.AUTHORIZATION_COMPLETE)
    assert not may("spiffe://example/completer", "m_4711", Operation.DECRYPT)
    assert not completer.covers(Asked(MERCHANT, purpose="authorization", fields=frozenset({PAN})))
    assert may("spiffe://example/reader", "m_4711", Operation.DECRYPT)
    assert not may("spiffe://example/reader", "m_4711", Operation.AUTHORIZATION_COMPLETE)
    assert not may("spiffe://example/unknown", "m_4711", Operation.DECRYPT)

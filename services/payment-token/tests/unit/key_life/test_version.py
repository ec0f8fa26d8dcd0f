"""Versions: their names, their states, and what a KEK binds them to."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.key_life.version import (
    VERSION_NAME,
    KeyPurpose,
    KeyState,
    KeyVersion,
    key_context,
    next_version,
)


@pytest.mark.parametrize(
    ("known", "following"),
    [
        (["v1"], "v2"),
        (["v1", "v2"], "v3"),
        (["v9"], "v10"),
        (["v1", "v3"], "v4"),
        (["v3", "v1"], "v2"),
        (["v2", "v3", "v1"], "v4"),
        (["spring"], "spring-2"),
        (["spring", "spring-2"], "spring-3"),
        (["spring-2", "spring"], "spring-3"),
        (["1"], "2"),
        (["2026"], "2027"),
        (["v0"], "v1"),
        (["v007"], "v8"),
        (["a.1"], "a.2"),
        (["x" * 32], "x" * 31 + "2"),
        (["x" * 31 + "9"], "x" * 30 + "10"),
    ],
)
def test_the_next_version(known, following):
    assert next_version(known) == following


@given(st.lists(st.from_regex(VERSION_NAME, fullmatch=True), min_size=1, max_size=5, unique=True))
def test_a_next_version_is_new_however_often_it_is_asked_for(known):
    names = list(known)
    for _ in range(3):
        following = next_version(names)
        assert following not in names
        names.append(following)


def test_the_longest_names_stay_names():
    """32 characters: a name that is counted on must still be one."""
    for name in ("x" * 32, "9" * 32, "x" * 31 + "9"):
        assert VERSION_NAME.fullmatch(next_version([name])), name


@pytest.mark.parametrize("state", KeyState)
def test_which_states_open(state):
    assert state.opens is (state in {"pending", "active", "decrypt-only"})


def test_only_signing_goes_on_when_it_is_overdue():
    """The rotation that ends an overdue signing key must itself be signed."""
    assert {purpose for purpose in KeyPurpose if not purpose.closes} == {KeyPurpose.AUDIT_SIGNING}


def version(purpose: KeyPurpose, name: str, environment: str) -> KeyVersion:
    return KeyVersion(purpose, name, KeyState.ACTIVE, "local:kek", b"", environment)


def test_a_context_names_service_purpose_version_and_environment():
    assert version(KeyPurpose.SERVICE, "v1", "production").context == {
        "service": "payment-token",
        "purpose": "service",
        "version": "v1",
        "environment": "production",
    }


def test_no_two_versions_have_one_context():
    contexts = [
        tuple(sorted(key_context(*names).items()))
        for names in itertools.product(
            [*KeyPurpose, "sad-epoch", "self-test"], ["v1", "v2"], ["test", "production"]
        )
    ]
    assert len(set(contexts)) == len(contexts)

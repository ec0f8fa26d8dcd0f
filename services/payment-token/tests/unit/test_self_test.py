"""Self-tests: each notices what it is there for, and one failure stops every use of a key."""

import dataclasses
import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Mapping

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payment_token.domain import key_check_value, payload_cipher
from payment_token.domain.dukpt import aes, tdes
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.errors import (
    KeyCustodianRefusedError,
    KeyCustodianThrottledError,
    KeyCustodianUnavailableError,
    RecordIntegrityFailureError,
    SelfTestFailedError,
)
from payment_token.domain.sealing import associated_data
from payment_token.domain.self_test import (
    KNOWN_ANSWERS,
    CryptographyState,
    KnownAnswer,
    SelfTestResult,
    ask,
    primitives,
)
from payment_token.domain.self_test.custodians import (
    KEKProofs,
    Unanswered,
    prove_bdk,
    prove_kek,
)
from payment_token.domain.self_test.guarded_keys import GuardedKeys, GuardedRotatingKeys
from payment_token.domain.sensitive import SecretKey
from payment_token.infrastructure.custody.self_tested import self_tested
from tests.fakes.fixed_keys import FixedKeys
from tests.support.use_cases import World
from tests.support.vectors import VECTORS, dukpt_vectors

FAILED = SelfTestResult("AES-256-GCM", passed=False, detail="")
PASSED = SelfTestResult("AES-256-GCM", passed=True, detail="")


def failed_names() -> set[str]:
    return {result.name for result in ask(KNOWN_ANSWERS) if not result.passed}


# --- Known answers --------------------------------------------------------------------------------------------------


def test_every_known_answer_is_right_and_named_once():
    assert failed_names() == set()
    assert len({test.name for test in KNOWN_ANSWERS}) == len(KNOWN_ANSWERS)


@pytest.mark.parametrize("test", KNOWN_ANSWERS, ids=lambda test: test.name)
def test_a_wrong_expectation_is_noticed(test):
    """Else a test would pass whatever is computed."""
    other = bytes([bytes.fromhex(test.expected)[0] ^ 1]) + bytes.fromhex(test.expected)[1:]
    for expected in (other.hex(), test.expected[2:], test.expected + "00"):
        (result,) = ask([dataclasses.replace(test, expected=expected)])
        assert not result.passed


def broken() -> bytes:
    raise MemoryError


@pytest.mark.parametrize("compute", [broken, lambda: None, lambda: "text", lambda: b""])
def test_whatever_a_broken_primitive_does_is_a_failed_test(compute):
    assert ask([KnownAnswer("broken", "here", compute, "00")]) == (
        SelfTestResult("broken", passed=False, detail="here"),
    )


@pytest.mark.parametrize(
    ("owner", "name", "replacement", "noticed"),
    [
        (hashlib, "sha256", hashlib.sha512, {"SHA-256"}),
        (
            hmac,
            "digest",
            lambda key, message, _: hashlib.sha256(key + message).digest(),
            {"HMAC-SHA-256", "device-aead"},
        ),
        (
            tdes,
            "_TRANSFORM_MASK",
            tdes._TRANSFORM_MASK ^ 2,
            {"TDES DUKPT, initial key", "TDES DUKPT, transaction key", "TDES DUKPT, data"},
        ),
        (
            aes,
            "_VERSION",
            2,
            {"AES-128 DUKPT, transaction key", "AES-256 DUKPT, transaction key", "AES DUKPT, data"},
        ),
        (
            payload_cipher,
            "CBC",
            payload_cipher.OFB,
            {"TDES DUKPT, data", "AES DUKPT, data"},
        ),
        (key_check_value, "CHECK_VALUE_BYTES", 2, {"TDES key check value"}),
        (associated_data, "_PAYLOAD", b"payment-token/sealed-record/v2", {"sealed record"}),
    ],
    ids=lambda value: getattr(value, "__name__", None) if not isinstance(value, str) else value,
)
def test_what_is_broken_is_noticed(monkeypatch, owner, name, replacement, noticed):
    monkeypatch.setattr(owner, name, replacement)
    assert failed_names() >= noticed


class BlindGCM:
    """Decrypts without looking at the tag."""

    def __init__(self, key: bytes) -> None:
        self._real = AESGCM(key)

    def encrypt(self, *given: bytes) -> bytes:
        return self._real.encrypt(*given)

    def decrypt(self, nonce: bytes, sealed: bytes, data: bytes) -> bytes:
        try:
            return self._real.decrypt(nonce, sealed, data)
        except InvalidTag:
            return b""


def test_a_gcm_that_takes_any_tag_is_noticed(monkeypatch):
    monkeypatch.setattr(primitives, "AESGCM", BlindGCM)
    assert failed_names() == {"AES-256-GCM, a changed tag"}


def test_a_verification_that_takes_any_message_is_noticed(monkeypatch):
    class Gullible:
        @classmethod
        def from_public_bytes(cls, _: bytes) -> "Gullible":
            return cls()

        def verify(self, *_: bytes) -> None:
            pass

    monkeypatch.setattr(primitives, "Ed25519PublicKey", Gullible)
    assert failed_names() == {"Ed25519, a changed message"}


def test_the_expected_answers_are_those_of_the_vector_files():
    expected = {test.name: test.expected for test in KNOWN_ANSWERS}
    entries = {
        entry["id"]: entry
        for section in ("tdes_keys", "aes_keys")
        for entry in dukpt_vectors()[section]
    }
    tdes_entry = entries["x924-1-A.4.2-00001"]["expect"]
    assert expected["TDES DUKPT, initial key"] == tdes_entry["ipek"]
    assert expected["TDES DUKPT, transaction key"] == tdes_entry["txn_key"]
    for size in (128, 256):
        known = entries[f"x924-3-AES{size}-00000001"]["expect"]["txn_key"]
        assert expected[f"AES-{size} DUKPT, transaction key"] == known
    for file, list_name, test in (
        ("device-aead.json", "payloads", "device-aead"),
        ("sealed-record-v1.json", "records", "sealed record"),
    ):
        first = json.loads((VECTORS / file).read_text())[list_name][0]
        assert expected[test] == first["plaintext"]
    private = Ed25519PrivateKey.from_private_bytes(primitives._ED25519_KEY)
    assert private.public_key().public_bytes_raw() == primitives._ED25519_PUBLIC_KEY


# --- What a failure stops -------------------------------------------------------------------------------------------


def test_a_failure_stops_and_alarms_once():
    alarms: list[object] = []
    state = CryptographyState(alarms.append)
    state.learn([PASSED])
    state.check()
    assert not state.stopped

    state.learn([PASSED, FAILED])
    state.learn([FAILED])
    state.learn([PASSED])

    assert state.stopped
    assert alarms == [["AES-256-GCM"]]
    with pytest.raises(SelfTestFailedError):
        state.check()


def test_a_failure_is_one_critical_line_that_names_the_test(caplog):
    with caplog.at_level(logging.INFO):
        assert not self_tested().stopped
        assert not caplog.records
        wrong = dataclasses.replace(KNOWN_ANSWERS[0], expected="00")
        assert self_tested([wrong, *KNOWN_ANSWERS]).stopped
    (record,) = caplog.records
    assert record.levelno == logging.CRITICAL
    assert vars(record)["failed"] == [wrong.name]


async def test_keys_in_memory_are_out_of_reach_after_a_failure():
    keys, state = FixedKeys("v1"), CryptographyState(lambda _: None)
    guarded = GuardedRotatingKeys(keys, state)
    assert (await guarded.active()).name == "v1"
    assert await guarded.named("v2") is None
    assert set(await guarded.opening()) == {"v1"}
    keys.seems_active = "v1"
    guarded.forget_active()
    assert keys.seems_active is None

    state.learn([FAILED])

    uses: list[Callable[[], object]] = [
        guarded.active,
        guarded.opening,
        lambda: guarded.named("v1"),
        lambda: GuardedKeys(keys, state).named("v1"),
        GuardedKeys(keys, state).active,
    ]
    for use in uses:
        with pytest.raises(SelfTestFailedError):
            await use()  # type: ignore[misc]


async def test_a_warm_terminal_is_refused_after_a_failure():
    world = World()
    tokenise = world.tokenise
    request = world.request()
    await tokenise(request)
    world.cryptography.learn([FAILED])
    calls = world.custodian_calls

    with pytest.raises(SelfTestFailedError):
        await tokenise(dataclasses.replace(request, idempotency_key="another"))
    assert world.custodian_calls == calls


# --- What custodians prove ------------------------------------------------------------------------------------------


class Custodian:
    """Wraps by XOR with a pad and says its context, and can be made to do wrong."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fault: Exception | None = None
        self.check = "08D7B4"
        self.clear = SecretKey(bytes(range(32)))

    async def generate_key(
        self, kek_uri: str, context: Mapping[str, str]
    ) -> tuple[SecretKey, bytes]:
        self.calls.append(kek_uri)
        if self.fault:
            raise self.fault
        self.clear = SecretKey(bytes(range(32)))
        return self.clear, self.wrapped(context)

    def wrapped(self, context: Mapping[str, str]) -> bytes:
        return bytes(b ^ 0x55 for b in self.clear.reveal()) + json.dumps(dict(context)).encode()

    async def wrap_key(self, kek_uri: str, key: SecretKey, context: Mapping[str, str]) -> bytes:
        raise NotImplementedError

    async def unwrap_key(
        self, kek_uri: str, wrapped: bytes, context: Mapping[str, str]
    ) -> SecretKey:
        if json.loads(wrapped[32:]) != context:
            raise RecordIntegrityFailureError
        return SecretKey(bytes(b ^ 0x55 for b in wrapped[:32]))

    async def check_value(self, bdk: BaseDerivationKey) -> str:
        if self.fault:
            raise self.fault
        return self.check


class Leaky(Custodian):
    def wrapped(self, context: Mapping[str, str]) -> bytes:
        return b"header" + self.clear.reveal()


class Unbound(Custodian):
    async def unwrap_key(
        self, kek_uri: str, wrapped: bytes, context: Mapping[str, str]
    ) -> SecretKey:
        return SecretKey(bytes(b ^ 0x55 for b in wrapped[:32]))


class Forgetful(Custodian):
    async def unwrap_key(
        self, kek_uri: str, wrapped: bytes, context: Mapping[str, str]
    ) -> SecretKey:
        raise RecordIntegrityFailureError


class Confused(Custodian):
    async def unwrap_key(
        self, kek_uri: str, wrapped: bytes, context: Mapping[str, str]
    ) -> SecretKey:
        return SecretKey(bytes(32))


async def test_a_kek_that_answers_right():
    custodian = Custodian()
    result = await prove_kek(custodian, "local:kek", "test")
    assert result == SelfTestResult(
        "KEK local:kek", passed=True, detail="wraps and unwraps, bound to its context"
    )
    with pytest.raises(ValueError, match="wiped"):
        custodian.clear.reveal()


@pytest.mark.parametrize(
    ("custodian", "fault"),
    [
        (Leaky(), "in clear"),
        (Unbound(), "does not bind"),
        (Forgetful(), "does not unwrap what it wrapped"),
        (Confused(), "another key"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Custodian) else "",
)
async def test_a_kek_that_answers_wrong(custodian, fault):
    result = await prove_kek(custodian, "local:kek", "test")
    assert isinstance(result, SelfTestResult)
    assert not result.passed
    assert fault in result.detail


BDK = BaseDerivationKey("b_1", "local:b_1", BDKAlgorithm.TDES_2KEY)


async def test_a_bdk_is_the_one_that_was_registered():
    custodian = Custodian()
    assert await prove_bdk(custodian, BDK, "08D7B4") == SelfTestResult(
        "BDK b_1", passed=True, detail="key check value 08D7B4"
    )
    custodian.check = "000000"
    other = await prove_bdk(custodian, BDK, "08D7B4")
    assert isinstance(other, SelfTestResult)
    assert not other.passed
    assert "another key" in other.detail


@pytest.mark.parametrize(
    ("error", "refused", "detail"),
    [
        (KeyCustodianUnavailableError(), False, "does not answer"),
        (KeyCustodianThrottledError(), False, "at its limit"),
        (KeyCustodianRefusedError("The key is disabled."), True, "The key is disabled."),
    ],
)
async def test_no_answer_is_no_failure(error, refused, detail):
    custodian, state = Custodian(), CryptographyState(lambda _: None)
    custodian.fault = error
    for result in (
        await prove_kek(custodian, "local:kek", "test"),
        await prove_bdk(custodian, BDK, "08D7B4"),
    ):
        assert isinstance(result, Unanswered)
        assert result.refused is refused
        assert detail in result.detail

    proofs = KEKProofs(custodian, state, "test")
    custodian.calls.clear()
    for _ in range(3):
        await proofs(["local:kek"])
    # One that was away is asked again; one that refuses waits for an operator.
    assert len(custodian.calls) == (1 if refused else 3)
    assert not state.stopped


async def test_each_kek_is_proven_once_and_a_new_one_when_it_comes():
    custodian, state = Custodian(), CryptographyState(lambda _: None)
    proofs = KEKProofs(custodian, state, "test")
    await proofs(["k1", "k1"])
    await proofs(["k1", "k2"])
    await proofs(["k1", "k2"])
    assert custodian.calls == ["k1", "k2"]


async def test_a_kek_that_comes_back_with_wrong_answers_stops_everything():
    custodian, state = Confused(), CryptographyState(lambda _: None)
    custodian.fault = KeyCustodianUnavailableError()
    proofs = KEKProofs(custodian, state, "test")
    await proofs(["k1"])
    state.check()

    custodian.fault = None
    await proofs(["k1", "k2"])

    assert state.stopped
    # What is stopped asks nobody any more.
    assert custodian.calls == ["k1", "k1"]

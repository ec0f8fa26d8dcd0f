"""The token away, its PIN wrong, its library missing, its session older than a fork, and many callers at once."""

import _ssl
import asyncio
import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path

import pkcs11
import pytest

from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN, initial_key
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.domain.errors import KeyCustodianRefusedError, KeyCustodianUnavailableError
from payment_token.domain.sensitive import SecretKey, SensitiveText
from payment_token.infrastructure.custody import pkcs11_session
from payment_token.infrastructure.custody.pkcs11_session import PKCS11Session
from payment_token.infrastructure.custody.pkcs11_token import PKCS11Token
from tests.support.softhsm import USER_PIN, Token, new_token

SECRET = SecretKey(bytes(range(32)))
OTHER_PIN = "1111111111"


@pytest.fixture
def session(token: Token) -> Iterator[PKCS11Session]:
    session = PKCS11Session(token.module, token.label, token.secret_pin)
    yield session
    session.close()


@pytest.fixture
async def bdk(token: Token, session: PKCS11Session) -> BaseDerivationKey:
    bdk = BaseDerivationKey("b", token.uri("bdk"), BDKAlgorithm.AES_256)
    await PKCS11Token(session).import_bdk(bdk, SECRET)
    return bdk


def ksn(device: int) -> KSN:
    return KSN.from_hex(f"{device:016X}00000001", Scheme.DUKPT_AES)


async def refusal(session: PKCS11Session, bdk: BaseDerivationKey) -> str:
    with pytest.raises(KeyCustodianRefusedError) as refused:
        await PKCS11Token(session).initial_key(bdk, ksn(1))
    assert refused.value.__context__ is None
    return refused.value.advice


async def test_a_wrong_pin_is_tried_once_and_never_again(
    token: Token, session: PKCS11Session, bdk: BaseDerivationKey
) -> None:
    session.close()
    wrong = PKCS11Session(token.module, token.label, SensitiveText(OTHER_PIN))
    assert "refuses the PIN" in await refusal(wrong, bdk)
    assert OTHER_PIN not in await refusal(wrong, bdk)

    # Even where it would be right by now: it is not tried.
    found = pkcs11.lib(str(token.module)).get_token(token_label=token.label)
    with found.open(rw=True, user_pin=USER_PIN) as opened:
        opened.set_pin(USER_PIN, OTHER_PIN)
    for _ in range(3):
        assert "refuses the PIN" in await refusal(wrong, bdk)
    wrong.close()

    again = PKCS11Session(token.module, token.label, SensitiveText(OTHER_PIN))
    assert await PKCS11Token(again).initial_key(bdk, ksn(1)) == initial_key(SECRET, ksn(1))
    again.close()


@pytest.mark.parametrize("pin", ["1", "x" * 300, "ü" * 20])
async def test_a_pin_of_no_possible_form_is_refused(
    token: Token, session: PKCS11Session, bdk: BaseDerivationKey, pin: str
) -> None:
    session.close()
    malformed = PKCS11Session(token.module, token.label, SensitiveText(pin))

    assert "refuses the PIN" in await refusal(malformed, bdk)
    assert "refuses the PIN" in await refusal(malformed, bdk)
    malformed.close()


async def test_many_callers_with_a_wrong_pin_are_one_try(token: Token) -> None:
    bdk = BaseDerivationKey("b", token.uri("bdk"), BDKAlgorithm.AES_256)
    wrong = PKCS11Session(token.module, token.label, SensitiveText(OTHER_PIN))

    answers = await asyncio.gather(*(refusal(wrong, bdk) for _ in range(50)))

    assert set(answers) == {"The PKCS#11 token refuses the PIN."}
    wrong.close()
    right = PKCS11Session(token.module, token.label, token.secret_pin)
    assert "no key of this name" in await refusal(right, bdk)
    right.close()


@pytest.mark.parametrize("module", ["/no/such/library.so", "/etc/hostname", "/usr/lib"])
async def test_a_library_that_is_none_is_one_clear_line(module: str) -> None:
    missing = PKCS11Session(Path(module), "t", SensitiveText("1234"))
    bdk = BaseDerivationKey("b", "pkcs11:token=t;object=o", BDKAlgorithm.AES_256)

    assert await refusal(missing, bdk) == f"PKCS11_MODULE {module} cannot be loaded."
    missing.close()


async def test_a_library_that_is_not_of_pkcs11_is_one_clear_line() -> None:
    other = PKCS11Session(Path(_ssl.__file__), "t", SensitiveText("1234"))
    bdk = BaseDerivationKey("b", "pkcs11:token=t;object=o", BDKAlgorithm.AES_256)

    assert "cannot be loaded" in await refusal(other, bdk)
    other.close()


async def test_a_token_that_is_not_there_is_named(token: Token) -> None:
    absent = PKCS11Session(token.module, "absent", token.secret_pin)
    bdk = BaseDerivationKey("b", "pkcs11:token=absent;object=o", BDKAlgorithm.AES_256)

    assert await refusal(absent, bdk) == f"PKCS11_MODULE {token.module} has no token absent."
    absent.close()


# The binding complains of searches that it could not finish in the session that is gone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_token_that_is_removed_is_an_outage_until_it_is_back(
    token: Token, session: PKCS11Session, bdk: BaseDerivationKey
) -> None:
    custodian = PKCS11Token(session)
    assert await custodian.initial_key(bdk, ksn(1))
    library = pkcs11.lib(str(token.module))
    (place,) = token.objects.iterdir()
    place.rename(token.home / "away")
    library.reinitialize()

    with pytest.raises(KeyCustodianUnavailableError):
        await custodian.initial_key(bdk, ksn(1))

    (token.home / "away").rename(place)
    library.reinitialize()
    deadline = asyncio.get_running_loop().time() + 30
    while True:
        try:
            key = await custodian.initial_key(bdk, ksn(1))
            break
        except KeyCustodianUnavailableError:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)
    assert key == initial_key(SECRET, ksn(1))


async def test_a_token_that_hangs_is_given_up_at_the_deadline_and_asked_no_more(
    session: PKCS11Session, bdk: BaseDerivationKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pkcs11_session, "DEADLINE_SECONDS", 0.2)
    released = threading.Event()
    hanging = asyncio.ensure_future(session.run(lambda _: released.wait(30)))

    with pytest.raises(KeyCustodianUnavailableError):
        await hanging
    for _ in range(100):
        with pytest.raises(KeyCustodianUnavailableError):
            await PKCS11Token(session).initial_key(bdk, ksn(1))

    released.set()
    monkeypatch.undo()
    await asyncio.sleep(0.2)
    assert await PKCS11Token(session).initial_key(bdk, ksn(1)) == initial_key(SECRET, ksn(1))


async def test_more_callers_than_can_wait_are_shed(
    session: PKCS11Session, bdk: BaseDerivationKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pkcs11_session, "MOST_WAITING", 10)
    released = threading.Event()
    working = [asyncio.ensure_future(session.run(lambda _: released.wait(30))) for _ in range(10)]
    await asyncio.sleep(0)

    with pytest.raises(KeyCustodianUnavailableError):
        await PKCS11Token(session).initial_key(bdk, ksn(1))

    released.set()
    await asyncio.gather(*working)
    assert await PKCS11Token(session).initial_key(bdk, ksn(1))


async def test_a_thousand_calls_at_once_are_each_right(
    session: PKCS11Session, bdk: BaseDerivationKey
) -> None:
    custodian = PKCS11Token(session)
    devices = range(900)

    keys = await asyncio.gather(*(custodian.initial_key(bdk, ksn(device)) for device in devices))

    assert keys == [initial_key(SECRET, ksn(device)) for device in devices]


def test_eight_threads_on_two_tokens_of_one_library_are_each_right(tmp_path: Path) -> None:
    """Each with a loop, a custodian and a session of its own: what corrupts the library without the lock."""
    with new_token(tmp_path, "one", "two") as tokens:
        asyncio.run(_import_into(tokens))
        wrong: list[object] = []
        threads = [
            threading.Thread(target=_derive_in_a_loop, args=(tokens[number % 2], wrong))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert wrong == []


async def _import_into(tokens: list[Token]) -> None:
    for token in tokens:
        session = PKCS11Session(token.module, token.label, token.secret_pin)
        bdk = BaseDerivationKey("b", token.uri("bdk"), BDKAlgorithm.AES_256)
        await PKCS11Token(session).import_bdk(bdk, SECRET)
        session.close()


def _derive_in_a_loop(token: Token, wrong: list[object]) -> None:
    async def derive() -> None:
        session = PKCS11Session(token.module, token.label, token.secret_pin)
        bdk = BaseDerivationKey("b", token.uri("bdk"), BDKAlgorithm.AES_256)
        for device in range(60):
            key = await PKCS11Token(session).initial_key(bdk, ksn(device))
            assert key == initial_key(SECRET, ksn(device))

    try:
        asyncio.run(derive())
    except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
        wrong.append(error)


def _derive_in_a_child(token: Token, session: PKCS11Session, answer: "Answers") -> None:
    async def derive() -> bytes:
        bdk = BaseDerivationKey("b", token.uri("bdk"), BDKAlgorithm.AES_256)
        return (await PKCS11Token(session).initial_key(bdk, ksn(1))).reveal()

    answer.put(asyncio.run(derive()))


Answers = multiprocessing.Queue


async def test_a_session_is_opened_after_the_fork(tmp_path: Path) -> None:
    """The custodians of a process are made before it forks, its workers use them after."""
    with new_token(tmp_path, "forked") as (token,):
        await _import_into([token])
        pkcs11.lib(str(token.module)).finalize()
        session = PKCS11Session(token.module, token.label, token.secret_pin)
        context = multiprocessing.get_context("fork")
        answer = context.Queue()
        child = context.Process(target=_derive_in_a_child, args=(token, session, answer))
        child.start()
        derived = answer.get(timeout=30)
        child.join(30)

        assert derived == initial_key(SECRET, ksn(1)).reveal()
        assert child.exitcode == 0
        bdk = BaseDerivationKey("b", token.uri("bdk"), BDKAlgorithm.AES_256)
        assert (await PKCS11Token(session).initial_key(bdk, ksn(1))).reveal() == derived
        session.close()

"""Whatever shows an object by accident shows no card data."""

import copy
import json
import pickle
from dataclasses import FrozenInstanceError, asdict

import pytest

from payment_token_client import CardText, Release
from payment_token_client.answers import Answer
from payment_token_client.errors import UnexpectedAnswerError
from payment_token_client.exchanges import result_of
from payment_token_client.operations import Operation, decrypt

PAN, NAME, CVV, TRACK2 = (
    "4111111111111111",
    "DOE/JANE",
    "987",
    "4111111111111111=30121010000098700000",
)
DOCUMENT = {
    "payment_token": "pt_abc",
    "payment_data": {
        "pan": PAN,
        "exp_month": 12,
        "exp_year": 2030,
        "cardholder_name": NAME,
        "sad": {"service_code": "101", "cvv": CVV, "track1": None, "track2": TRACK2, "emv": None},
        "sad_status": "live",
    },
    "metadata": {"order": "A-100"},
    "audit_receipt": "ar2.1",
}


def release() -> Release:
    return Release.of(DOCUMENT)


def read(body: bytes) -> object:
    operation: Operation[Release] = decrypt("pt_abc", "m_1", "refund", ("pan",), "r-1")
    return result_of(operation, Answer(200, {"x-request-id": "r-1"}, body))


def test_card_data_is_there_for_who_asks_by_name() -> None:
    released = release()
    assert released.pan is not None
    assert released.pan.reveal() == PAN
    assert released.sad is not None
    assert released.sad.track2 == CardText(TRACK2)
    assert released.sad.track1 is None


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r}".format, lambda it: f"{it!s:>80}"])
def test_no_text_of_a_release_has_card_data(show: object) -> None:
    assert callable(show)
    released = release()
    for shown in (show(released), show(released.pan), show(released.sad), show([released])):
        for secret in (PAN, NAME, CVV, TRACK2, "2030", "101"):
            assert secret not in shown


@pytest.mark.parametrize("copies", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, hash])
def test_card_data_is_not_copied_out_by_accident(copies: object) -> None:
    assert callable(copies)
    with pytest.raises(TypeError):
        copies(CardText(PAN))


@pytest.mark.parametrize("copies", [pickle.dumps, copy.deepcopy, asdict, json.dumps, hash])
def test_nor_is_a_release(copies: object) -> None:
    assert callable(copies)
    with pytest.raises(TypeError):
        copies(release())


def test_a_release_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        release().sad_status = "none"  # type: ignore[misc]


def test_card_data_is_equal_by_content_only_to_card_data() -> None:
    assert CardText(PAN) == CardText(PAN)
    assert CardText(PAN) != CardText("4111111111111112")
    assert CardText(PAN) != PAN
    assert CardText("\ud800") != CardText("é")


@pytest.mark.parametrize(
    "body",
    [
        f'{{"payment_data": {{"pan": "{PAN}"}}}}'.encode(),
        f'{{"pan": "{PAN}"'.encode(),
        f'["{PAN}"]'.encode(),
        f'{{"payment_data": "{PAN}"}}'.encode(),
        json.dumps(DOCUMENT | {"payment_data": {"pan": int(PAN)}}).encode(),
        PAN.encode() + b"\xff",
        b"[" * 100_000,
    ],
)
def test_an_answer_that_cannot_be_read_leaves_no_card_data_in_the_error(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswerError) as caught:
        read(body)
    error = caught.value
    # A JSONDecodeError would carry the whole body.
    assert error.__cause__ is None
    assert error.__context__ is None
    assert PAN not in str(error) + repr(error) + repr(vars(error))
    assert error.request_id == "r-1"


def test_neither_requests_nor_answers_show_their_bodies() -> None:
    assert PAN not in repr(Answer(200, {}, PAN.encode()))
    assert "refund" not in repr(decrypt("pt_abc", "m_1", "refund", ("pan",), "r-1"))


def test_what_a_newer_service_adds_is_passed_over() -> None:
    assert read(json.dumps(DOCUMENT | {"new": 1}).encode()) == release()

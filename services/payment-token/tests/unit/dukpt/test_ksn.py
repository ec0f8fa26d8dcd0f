from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN
from payment_token.domain.errors import BadKSNError
from tests.support.vectors import entries

SCHEMES = {"tdes-dukpt": Scheme.DUKPT_TDES, "aes-dukpt": Scheme.DUKPT_AES}


@pytest.mark.parametrize("entry", entries("ksn_rules"))
def test_rules(entry: dict[str, Any]) -> None:
    scheme = SCHEMES[entry["scheme"]]

    if entry["valid"]:
        ksn = KSN.from_hex(entry["ksn"], scheme)
        assert (ksn.counter, ksn.counter.bit_count()) == (entry["counter"], entry["one_bits"])
    else:
        with pytest.raises(BadKSNError):
            KSN.from_hex(entry["ksn"], scheme)


def test_a_short_ksn_gets_back_what_terminals_leave_out() -> None:
    short = KSN.from_hex("9876543210E00001", Scheme.DUKPT_TDES)

    assert short == KSN.from_hex("ffff9876543210e00001", Scheme.DUKPT_TDES)
    assert str(short) == "FFFF9876543210E00001"
    assert short.initial_key_id.hex().upper() == "FFFF9876543210E00000"


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "FFFF9876543210E0001",
        "FFFF9876543210E000011",
        "FFFF9876543210E0000G",
        "0xFF9876543210E00001",
        "FFFF 9876543210E0001",
        "FFFF9876543210E0000\n",
        "FFFF9876543210E0000\N{FULLWIDTH DIGIT ONE}",
        "١٢٣٤٥٦٧٨٩٠١٢٣٤٥٦٧٨٩٠",
        "F" * 10_000,
    ],
)
def test_what_is_no_ksn(text: str, scheme: Scheme) -> None:
    with pytest.raises(BadKSNError) as refused:
        KSN.from_hex(text, scheme)
    assert refused.value.__context__ is None


@given(st.text(max_size=30), st.sampled_from(Scheme))
def test_any_text_is_a_ksn_or_a_bad_one(text: str, scheme: Scheme) -> None:
    try:
        ksn = KSN.from_hex(text, scheme)
    except BadKSNError:
        return
    assert str(ksn).endswith(text.upper())

"""A diagnosis names the profile of every published read, among the keys of all of them."""

import pytest

from payment_token.domain.device_payload import Cipher, KeyVariant, Mode, Scheme
from payment_token.domain.device_profile import DeviceProfile
from tests.support.diagnosing import Keys, diagnosed, mistakes
from tests.support.vectors import dukpt_vectors, entries

SCHEMES = {"tdes-dukpt": Scheme.DUKPT_TDES, "aes-dukpt": Scheme.DUKPT_AES}
VARIANTS = {
    "pin": KeyVariant.PIN,
    "data_req": KeyVariant.DATA_REQUEST,
    "data_enc": KeyVariant.DATA_REQUEST,
    "data_both": KeyVariant.DATA_BOTH,
}
CIPHERS = {
    "TDES": Cipher.TDES_2KEY,
    "AES128": Cipher.AES_128,
    "AES192": Cipher.AES_192,
    "AES256": Cipher.AES_256,
}
SIZES = {32: "aes-128", 48: "aes-192", 64: "aes-256"}


def algorithm_of(entry: dict[str, str]) -> str:
    return "tdes-2key" if entry["scheme"] == "tdes-dukpt" else SIZES[len(entry["bdk"])]


ALL_KEYS = Keys(
    **{
        f"k{entry['bdk']}": (entry["bdk"], algorithm_of(entry))
        for entry in dukpt_vectors()["card_data"]
    }
)


@pytest.mark.parametrize("entry", entries("card_data"))
def test_the_profile_of_a_published_read_is_named(entry):
    diagnosis = diagnosed(bytes.fromhex(entry["ciphertext"]), ksn=entry["ksn"], keys=ALL_KEYS)

    (found,) = diagnosis.findings
    assert found.settled
    assert diagnosis.why == ""
    assert found.attempt.bdk.bdk_id == f"k{entry['bdk']}"
    assert found.profile == DeviceProfile(
        SCHEMES[entry["scheme"]],
        VARIANTS[entry["key_variant"]],
        CIPHERS[entry["cipher"]],
        Mode.CBC,
    )
    assert found.reading.parts[0].format == entry["content"]


@pytest.mark.parametrize("entry", entries("card_data"))
def test_the_card_is_shown_masked_only(entry):
    diagnosis = diagnosed(bytes.fromhex(entry["ciphertext"]), ksn=entry["ksn"], keys=ALL_KEYS)

    card = diagnosis.findings[0].reading.card
    if "expect_card" not in entry:
        return
    pan = entry["expect_card"]["pan"]
    assert card is not None
    assert (card.bin, card.last4) == (pan[:6], pan[-4:])
    assert pan not in repr(diagnosis)
    assert entry["bdk"] not in repr(diagnosis).replace(f"k{entry['bdk']}", "")


@pytest.mark.parametrize("name", ["node-3des", "node-aes"])
def test_a_counter_that_no_terminal_has_is_said_beside(name):
    entry = next(one for one in dukpt_vectors()["card_data"] if one["id"] == name)
    diagnosis = diagnosed(bytes.fromhex(entry["ciphertext"]), ksn=entry["ksn"], keys=ALL_KEYS)

    assert "ksn_counter" in mistakes(diagnosis)
    text = " ".join(remark.text for remark in diagnosis.findings[0].remarks)
    assert "21 one-bits" in text
    assert "bad_ksn" in text


@pytest.mark.parametrize("entry", entries("card_data"))
def test_without_its_key_a_published_read_is_of_another_key_or_of_a_published_one(entry):
    others = Keys(**{name: (key, algorithm) for name, key, algorithm in OTHERS})
    diagnosis = diagnosed(bytes.fromhex(entry["ciphertext"]), ksn=entry["ksn"], keys=others)

    if entry["bdk"] == "0123456789ABCDEFFEDCBA9876543210":
        assert "published_key" in mistakes(diagnosis)
    else:
        assert not diagnosis.findings
        assert not diagnosis.closest
        assert mistakes(diagnosis) == {"wrong_key"}


OTHERS = [
    ("one", "00112233445566778899AABBCCDDEEFF", "tdes-2key"),
    ("two", "FFEEDDCCBBAA99887766554433221100", "aes-128"),
    ("three", "FFEEDDCCBBAA998877665544332211000011223344556677", "aes-192"),
    ("four", "FFEEDDCCBBAA9988776655443322110000112233445566778899AABBCCDDEEFF", "aes-256"),
]

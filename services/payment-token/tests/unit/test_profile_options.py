"""Profiles as options of a command."""

import pytest

from payment_token.cli.profile_options import initialisation_vector, parse_profile
from payment_token.domain.device_payload import Cipher, KeyVariant, Mode
from payment_token.domain.device_profile import DeviceProfile
from payment_token.settings import ConfigurationError


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        (None, DeviceProfile()),
        ("", DeviceProfile()),
        ("cipher=aes-128", DeviceProfile(cipher=Cipher.AES_128)),
        (
            "key-variant=pin,cipher=tdes-2key,mode=cbc,iv=0011223344556677",
            DeviceProfile(
                key_variant=KeyVariant.PIN,
                cipher=Cipher.TDES_2KEY,
                mode=Mode.CBC,
                iv=bytes.fromhex("0011223344556677"),
            ),
        ),
        (" mode=ecb , cipher=aes-256 ", DeviceProfile(mode=Mode.ECB, cipher=Cipher.AES_256)),
    ],
)
def test_a_profile(text, profile):
    assert parse_profile(text) == profile


@pytest.mark.parametrize(
    "text",
    [
        "cipher",
        "cipher=aes-128,",
        ",",
        "=aes-128",
        "Cipher=aes-128",
        "key_variant=pin",
        "scheme=dukpt-aes",
        "pin=1",
        "mode=cbc,mode=cbc",
        "mode=cbc,mode=ecb",
        "mode cbc",
    ],
)
def test_what_is_no_list_of_pairs_is_refused_with_the_names(text):
    if text == "cipher":
        message = "cipher has no value"
    else:
        message = "the names are key-variant, cipher, mode, iv, container, once each"
    with pytest.raises(ConfigurationError, match=message) as refused:
        parse_profile(text)
    assert str(refused.value).startswith("--profile: ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cipher", "cipher=AES-128"),
        ("cipher", "cipher=des"),
        ("cipher", "cipher="),
        ("mode", "mode=gcm"),
        ("mode", "mode=cbc=ecb"),
        ("key-variant", "key-variant=mac"),
        ("iv", "iv=xyz"),
        ("iv", "iv=001"),
    ],
)
def test_a_value_that_is_not_there(name, text):
    with pytest.raises(ConfigurationError, match=f"--profile: {name} has no value") as refused:
        parse_profile(text)
    assert refused.value.__suppress_context__


@pytest.mark.parametrize("text", ["iv=", "iv=00", "iv=0011", f"iv={'00' * 15}", f"iv={'00' * 17}"])
def test_an_iv_is_one_block(text):
    """Else every payload of the fleet would be refused, and no one would know why."""
    with pytest.raises(ConfigurationError, match="iv has no value"):
        parse_profile(text)


def test_an_iv_of_its_own_option():
    assert initialisation_vector(None) is None
    assert initialisation_vector("00" * 16) == bytes(16)
    assert initialisation_vector("ff" * 8) == b"\xff" * 8
    for text in ("xyz", "0", "", "00", "00" * 15):
        with pytest.raises(ConfigurationError, match="--iv: "):
            initialisation_vector(text)

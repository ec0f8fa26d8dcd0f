"""A diagnosis tries the keys of the development keystore, and no others."""

import pytest

from payment_token.cli.diagnose import _tried
from payment_token.domain.enrolment import BaseDerivationKey, BDKAlgorithm
from payment_token.settings import ConfigurationError


def key(name, uri):
    return BaseDerivationKey(name, uri, BDKAlgorithm.AES_128)


LOCAL = key("local", "local:local")
OTHERS = [
    key("hsm", "pkcs11:token=payments;object=bdk"),
    key("kms", "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"),
    key("apc", "arn:aws:payment-cryptography:eu-central-1:111122223333:key/kwapwa6qaifllw2h"),
]


def test_by_default_all_of_the_keystore_are_tried():
    assert _tried([LOCAL, *OTHERS], []) == [LOCAL]


@pytest.mark.parametrize("other", OTHERS, ids=lambda bdk: bdk.bdk_id)
def test_a_key_of_another_custodian_is_refused_by_name(other):
    with pytest.raises(ConfigurationError, match=f"{other.bdk_id} is with .*development keystore"):
        _tried([LOCAL, *OTHERS], ["local", other.bdk_id])


def test_a_key_that_is_not_there_is_refused():
    with pytest.raises(ConfigurationError, match="no key another"):
        _tried([LOCAL], ["another"])


@pytest.mark.parametrize("known", [[], OTHERS], ids=["none", "others alone"])
def test_without_a_key_in_the_keystore_there_is_nothing_to_try(known):
    with pytest.raises(ConfigurationError, match="bdk import"):
        _tried(known, [])

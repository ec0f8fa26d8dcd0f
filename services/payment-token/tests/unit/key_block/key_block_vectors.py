"""The published key blocks, and psec as a second implementation."""

import json
import warnings
from typing import Any

import pytest
from cryptography.utils import CryptographyDeprecationWarning

from payment_token.domain.sensitive import SecretKey
from tests.support.vectors import VECTORS

DOCUMENT: dict[str, Any] = json.loads((VECTORS / "key-blocks.json").read_text("ascii"))
KEY_BLOCKS = [pytest.param(entry, id=entry["id"]) for entry in DOCUMENT["key_blocks"]]

Vector = dict[str, Any]

with warnings.catch_warnings():
    # psec takes TDES from where cryptography used to have it.
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from psec import tr31

# … and gives it keys of 16 bytes. Tests that use psec have this filter.
PSEC_WARNS = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")

__all__ = ["KEY_BLOCKS", "PSEC_WARNS", "Vector", "entry", "secret", "tr31"]


def entry(vector_id: str) -> Vector:
    return next(known for known in DOCUMENT["key_blocks"] if known["id"] == vector_id)


def secret(text: str) -> SecretKey:
    return SecretKey(bytes.fromhex(text))

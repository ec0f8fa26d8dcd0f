"""From decrypted bytes to a card, and to the two parts that are sealed apart.

The order, in :func:`read_card`: bound the size of each part, parse it by its format, merge the parts into one card,
check it under the policy. The rules:

- A part is card data of its format to the last byte, or it is refused: CBC is malleable, and what is skipped could be
  anybody's.
- One read is one card. Parts or tags that name two PANs or two expiries are refused.
- PIN data is refused wherever it shows.
- What is sensitive authentication data (PCI DSS 4.0.1 3.3.1) is in the SAD part from the first moment on.
- Every refusal is a ``DecryptionFailedError``. Its stage says where, never what; nothing rides along as its context.
- Nothing here reads a clock or keeps anything.

``payment_data`` has the result, ``tracks`` (with ``packed_track``), ``ber_tlv`` and ``emv``, and ``card_json`` the
formats, ``part_read`` the merging, ``checks`` (with ``luhn`` and ``brand``) the policy, ``encoding`` the bytes to seal.
"""

from payment_token.domain.card_data.brand import Brand, brand_of
from payment_token.domain.card_data.checks import CardChecksPolicy
from payment_token.domain.card_data.encoding import (
    decode_pan_part,
    decode_sad_part,
    encode_pan_part,
    encode_sad_part,
)
from payment_token.domain.card_data.luhn import passes_luhn
from payment_token.domain.card_data.payment_data import (
    PAN,
    CardChecks,
    EntryMode,
    MaskedCard,
    PANPart,
    PaymentData,
    SADPart,
    mask,
)
from payment_token.domain.card_data.read import read_card

__all__ = [
    "PAN",
    "Brand",
    "CardChecks",
    "CardChecksPolicy",
    "EntryMode",
    "MaskedCard",
    "PANPart",
    "PaymentData",
    "SADPart",
    "brand_of",
    "decode_pan_part",
    "decode_sad_part",
    "encode_pan_part",
    "encode_sad_part",
    "mask",
    "passes_luhn",
    "read_card",
]

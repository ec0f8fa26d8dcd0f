"""From the decrypted parts of one read to one card."""

from collections.abc import Callable, Sequence
from datetime import datetime

from payment_token.domain.card_data.card_json import read_card_json
from payment_token.domain.card_data.checks import CardChecksPolicy, check_card
from payment_token.domain.card_data.emv import read_emv
from payment_token.domain.card_data.part_read import PartRead, merge
from payment_token.domain.card_data.payment_data import PaymentData
from payment_token.domain.card_data.tracks import discard_track3, read_track1, read_track2
from payment_token.domain.device_payload import PartFormat
from payment_token.domain.errors import DecryptionFailedError
from payment_token.domain.sensitive import SensitiveBytes

# In the order in which they count where two parts may differ, whatever the order of the request.
_READERS: dict[PartFormat, Callable[[bytes], PartRead]] = {
    PartFormat.TRACK1: read_track1,
    PartFormat.TRACK2: read_track2,
    PartFormat.TRACK3: discard_track3,
    PartFormat.EMV_TLV: read_emv,
    PartFormat.CARD_JSON: read_card_json,
}


def read_card(
    parts: Sequence[tuple[PartFormat, SensitiveBytes]],
    policy: CardChecksPolicy,
    now: datetime,
) -> PaymentData:
    """Reads decrypted parts, whose order does not matter. ``now`` is aware of its time zone.

    Takes each format once, parses each part, merges them (one PAN, one expiry), and checks the card.

    Raises:
        DecryptionFailedError: ``duplicate-part``, ``part-format`` (one that is not card data itself), ``no-pan``,
            ``two-pans``, ``two-expiries``, ``luhn``, ``expiry``, or a stage of the part's own reader.
    """
    by_format = _each_format_once(parts)
    reads = [read(by_format[name].reveal()) for name, read in _READERS.items() if name in by_format]
    card = merge(reads)
    pan_part = card.pan_part()
    checks = check_card(pan_part, policy, now)
    return PaymentData(pan_part, card.sad_part(), card.entry_mode, checks)


def _each_format_once(
    parts: Sequence[tuple[PartFormat, SensitiveBytes]],
) -> dict[PartFormat, SensitiveBytes]:
    by_format = dict(parts)
    if len(by_format) < len(parts):
        raise DecryptionFailedError("duplicate-part")
    if not by_format.keys() <= _READERS.keys():
        raise DecryptionFailedError("part-format")
    return by_format

"""KSNs and ciphertexts as people paste them: what was meant, and what the service would not have taken."""

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from payment_token.domain.cleartext_guard import find_card_number
from payment_token.domain.device_payload import Scheme
from payment_token.domain.diagnosis.plaintext import read_part
from payment_token.domain.diagnosis.remark import Mistake, Remark
from payment_token.domain.dukpt import KSN
from payment_token.domain.errors import BadKSNError
from payment_token.domain.sensitive import SensitiveBytes, SensitiveText

_SEPARATORS = re.compile(r"[\s:,-]+")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_ODD_HEX = re.compile(r"[0-9A-Fa-f]+")  # once an even number of digits is ruled out
_HEX_BYTES = re.compile(rb"(?:[0-9A-Fa-f]{2}){8,}\s*")
_BASE64_BYTES = re.compile(rb"[A-Za-z0-9+/]{10,}={0,2}\s*")
_DATA_URL = re.compile(r"data:[^,]*;base64,")
_TDES_DIGITS, _AES_DIGITS = 20, 24
_MOST_ONE_BITS = {Scheme.DUKPT_TDES: 10, Scheme.DUKPT_AES: 16}
_STANDARDS = {Scheme.DUKPT_TDES: "X9.24-1", Scheme.DUKPT_AES: "X9.24-3"}


@dataclass(frozen=True, slots=True)
class Written:
    """``data`` is ``None`` for a text that is neither hexadecimal nor base64, and for card data in clear."""

    data: bytes | None
    remarks: tuple[Remark, ...] = ()


def read_ciphertext(text: SensitiveText) -> Written:
    """Hexadecimal or base64, and either of them inside of the other. A text may be card data in clear, by mistake."""
    given = text.reveal().strip()
    data, remarks = _decoded(given)
    # Hexadecimal and base64 have runs of digits that pass for a card number now and then; other texts have not.
    if (data is None or _SEPARATORS.sub("", given).isdigit()) and find_card_number(given):
        return Written(None, (_clear(),))
    if data is None:
        return Written(None, (_neither(),))
    inner = _decoded_again(data)
    if inner is not None:
        data = inner
        remarks.append(_twice())
    if _is_clear(data):
        return Written(None, (*remarks, _clear()))
    return Written(data, tuple(remarks))


def _decoded(given: str) -> tuple[bytes | None, list[Remark]]:
    packed = _SEPARATORS.sub("", given)
    digits = packed.removeprefix("0x").removeprefix("0X")
    if _HEX.fullmatch(digits):
        other = [] if digits == given else [_written("hexadecimal with spaces, separators or 0x")]
        return bytes.fromhex(digits), other
    if _ODD_HEX.fullmatch(digits):
        return None, []
    joined = "".join(given.split())
    plain = _DATA_URL.sub("", joined, count=1)
    standard = plain.replace("-", "+").replace("_", "/").rstrip("=")
    with suppress(binascii.Error, ValueError):
        data = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        if data:
            exact = base64.b64encode(data).decode("ascii") == given
            return data, (
                [] if exact else [_written("base64 that is not RFC 4648 section 4, padded")]
            )
    return None, []


def _decoded_again(data: bytes) -> bytes | None:
    if _HEX_BYTES.fullmatch(data):
        return bytes.fromhex(data.decode("ascii"))
    if _BASE64_BYTES.fullmatch(data):
        with suppress(binascii.Error):
            return base64.b64decode(data.strip(), validate=True)
    return None


def _is_clear(data: bytes) -> bool:
    return read_part(SensitiveBytes(data)) is not None or find_card_number(data.decode("latin-1"))


def _clear() -> Remark:
    return Remark(
        Mistake.CLEAR_TEXT,
        "The ciphertext is card data in clear: the terminal does not encrypt. Is it injected, and is encryption on?"
        " The service answers cleartext_card_data or decryption_failed. Take it for seen by others.",
    )


def _neither() -> Remark:
    return Remark(
        Mistake.NOT_CIPHERTEXT,
        "A ciphertext is neither hexadecimal (two digits for each byte, so an even number) nor base64: is a character lost,"
        " or another one?",
    )


def _twice() -> Remark:
    return Remark(
        Mistake.ENCODED_TWICE,
        "The ciphertext is encoded twice, such as base64 of hexadecimal digits: the service would decrypt the digits."
        " Send base64 of the bytes.",
    )


def _written(how: str) -> Remark:
    return Remark(
        Mistake.WRITTEN_OTHERWISE,
        f"Read as {how}. The service takes base64 of RFC 4648 section 4, padded, alone.",
    )


@dataclass(frozen=True, slots=True)
class KSNReading:
    """One KSN that a text may mean. The remarks say what the service makes of the text as it stands."""

    ksn: KSN
    remarks: tuple[Remark, ...] = ()


def read_ksn(text: str) -> tuple[list[KSNReading], tuple[Remark, ...]]:
    """The KSNs that it may mean, the likeliest first, and what is wrong with it whichever it is."""
    digits, remarks = _ksn_digits(text.strip())
    if digits is None:
        return [], remarks
    readings = list(_readings(digits))
    if not readings:
        remarks = (*remarks, _bad_length(len(digits)))
    return readings, remarks


def _ksn_digits(given: str) -> tuple[str | None, tuple[Remark, ...]]:
    digits = _SEPARATORS.sub("", given).removeprefix("0x").removeprefix("0X")
    if re.fullmatch(r"[0-9A-Fa-f]+", digits):
        if digits == given:
            return digits.upper(), ()
        text = "The KSN has spaces, separators or 0x in it: bad_ksn. Send its digits alone."
        return digits.upper(), (Remark(Mistake.KSN_NOT_HEX, text),)
    with suppress(binascii.Error, ValueError):
        decoded = base64.b64decode(given, validate=True)
        if len(decoded) in (8, 10, 12):
            text = "The KSN is base64: bad_ksn. Send it in hexadecimal."
            return decoded.hex().upper(), (Remark(Mistake.KSN_NOT_HEX, text),)
    return None, (Remark(Mistake.KSN_NOT_HEX, "The KSN is not hexadecimal: bad_ksn."),)


def _readings(digits: str) -> Iterator[KSNReading]:
    for scheme in (Scheme.DUKPT_TDES, Scheme.DUKPT_AES):
        with suppress(BadKSNError):
            ksn = KSN.of_any_counter(digits, scheme)
            yield KSNReading(ksn, tuple(_counter_remarks(ksn)))
    if len(digits) == _AES_DIGITS:
        # An X9.24-1 KSN in a field of twelve bytes; or one of ten, with what stands behind it.
        for cut, where in ((digits[4:], "in front"), (digits[:_TDES_DIGITS], "behind")):
            ksn = KSN.of_any_counter(cut, Scheme.DUKPT_TDES)
            yield KSNReading(ksn, (_padded(where), *_counter_remarks(ksn)))
    elif _TDES_DIGITS < len(digits) < _AES_DIGITS or len(digits) in range(17, _TDES_DIGITS):
        # Leading zeros that were lost, as a number loses them.
        for scheme, size in ((Scheme.DUKPT_TDES, _TDES_DIGITS), (Scheme.DUKPT_AES, _AES_DIGITS)):
            if len(digits) < size:
                ksn = KSN.of_any_counter(digits.rjust(size, "0"), scheme)
                yield KSNReading(ksn, (_bad_length(len(digits)), *_counter_remarks(ksn)))
    if len(digits) == _TDES_DIGITS:
        ksn = KSN.of_any_counter(digits.rjust(_AES_DIGITS, "0"), Scheme.DUKPT_AES)
        yield KSNReading(ksn, (_cut(), *_counter_remarks(ksn)))


def _counter_remarks(ksn: KSN) -> Iterator[Remark]:
    ones, most = ksn.counter.bit_count(), _MOST_ONE_BITS[ksn.scheme]
    standard = _STANDARDS[ksn.scheme]
    if ones == 0:
        yield Remark(
            Mistake.KSN_COUNTER,
            "The counter of the KSN is zero: that is the KSN of the initial key, which encrypts nothing. The service"
            " answers bad_ksn.",
        )
    elif ones > most:
        yield Remark(
            Mistake.KSN_COUNTER,
            f"The counter of the KSN has {ones} one-bits; no terminal of {standard} uses more than {most}. The service"
            " answers bad_ksn, also with the right profile.",
        )


def _bad_length(digits: int) -> Remark:
    return Remark(
        Mistake.KSN_LENGTH,
        f"The KSN has {digits} digits: bad_ksn. It has 16 or 20 under dukpt-tdes, 24 under dukpt-aes. Leading zeros are"
        " part of it.",
    )


def _padded(where: str) -> Remark:
    return Remark(
        Mistake.KSN_PADDED,
        f"The KSN of 24 digits is one of dukpt-tdes with 4 digits {where} that are none of it. Send 20 digits.",
    )


def _cut() -> Remark:
    return Remark(
        Mistake.KSN_PADDED,
        "The KSN of 20 digits is one of dukpt-aes without its leading zeros. Send 24 digits.",
    )

"""Whatever comes as a reader's message: it is opened or refused by an error of ours, and nothing of it shows."""

import gc
import itertools
import logging
import random
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.cli.readers.tracks import Tracks
from payment_token.domain.device_payload import Cipher, Container, KeyVariant, ReaderFrame
from payment_token.domain.errors import (
    BadKSNError,
    CleartextCardDataError,
    DecryptionFailedError,
    InvalidFieldError,
)
from payment_token.domain.reader_frames.open_frame import open_frame
from payment_token.domain.reader_frames.opened_frame import ClearParts, OpenedFrame
from payment_token.domain.sensitive import SensitiveBytes
from payment_token.domain.tlv import written
from tests.support.long_form import usual_or_long
from tests.support.reader_frames import (
    KSN_TEXT,
    PUBLISHED,
    TRACK1,
    TRACK2,
    TRACK3,
    IDTECHSwipe,
    MagTekSwipe,
    assembled,
    in_envelope,
    published,
)
from tests.support.readers import BUILDERS, SERIAL, built, encrypting, ksn

many = settings(
    # Of each container as many that were changed as at random, 2,000 together, or 100,000; and what readers send, of which
    # some have not so many kinds.
    max_examples=usual_or_long(1_000, 50_000),
    suppress_health_check=[HealthCheck.too_slow],
)
each_container = pytest.mark.parametrize("container", Container)

# Of the messages below: card numbers whole and masked, names, key serial numbers.
MARKERS = (
    *("4111111111111111", "4111********1111", "4111000000001111", "PURPLE", KSN_TEXT),
    *("4266841088889999", "4266****", "BUSH", "629949011900"),
    *("5452300551227189", "5452000000007189", "HOGAN", "FFFF9876543210E00008"),
    *("5413339000001513", "5413CCCC", "41111111", "4111CCCC"),
)

# --- Valid: every layout that a reader can be set up for -------------------------------------------------------------

tracks = st.tuples(
    st.sampled_from([b"", TRACK1, TRACK1 + b"!"]),
    st.sampled_from([b"", TRACK2, TRACK2 + b"0"]),
    st.sampled_from([b"", TRACK3]),
).filter(lambda found: found[0] or found[1])


@st.composite
def idtech_swipes(draw: st.DrawFn) -> bytes:
    found = draw(tracks)
    swipe = IDTECHSwipe(
        tracks=found,
        masked=tuple(b"*" * len(track) for track in found),  # type: ignore[arg-type]
        cipher=draw(st.sampled_from([Cipher.TDES_2KEY, Cipher.AES_128])),
        status=draw(st.integers(0, 0x3F)),
        serial=draw(st.sampled_from([b"", b"613T296947", b"T1\0\0\0\0\0\0\0\0"])),
    )
    frame = swipe.original() if draw(st.booleans()) else swipe.enhanced()
    form: Callable[[bytes], bytes] = draw(
        st.sampled_from([bytes, lambda raw: raw.hex().encode(), lambda raw: raw + bytes(9)])
    )
    return form(frame)


@st.composite
def magtek_swipes(draw: st.DrawFn) -> bytes:
    return MagTekSwipe(
        tracks=draw(tracks),
        masked=draw(st.sampled_from([b"", MagTekSwipe().masked])),
        serial=draw(st.sampled_from(["", "B061234"])),
        more=draw(st.sampled_from([(), ("00012C",)])),
        crc=draw(st.sampled_from(["", None])),
        encrypted_crc=draw(st.sampled_from(["", None])),
    ).text()


@st.composite
def tlv_reads(draw: st.DrawFn, container: Container) -> bytes:
    builder = draw(st.sampled_from([build for of, build in BUILDERS.values() if of is container]))
    card = Tracks.of(draw(st.sampled_from(PUBLISHED_CARDS)))
    frame = builder(ksn(), encrypting, card, draw(st.sampled_from(["", SERIAL])))
    form: Callable[[bytes], bytes] = draw(
        st.sampled_from(
            [bytes, lambda raw: raw.hex().encode(), lambda raw: raw.hex().upper().encode()]
        )
    )
    return form(frame)


TLV = [container for container, _ in BUILDERS.values()]
VALID = {
    Container.IDTECH_MSR: idtech_swipes(),
    Container.MAGTEK_SWIPE: magtek_swipes(),
    **{container: tlv_reads(container) for container in TLV},
}

# --- Mutated: bytes changed, doubled, left out; with or without an envelope that agrees ------------------------------

SEEDS = {
    container: [published(name)[0] for name, (of, _) in PUBLISHED.items() if of is container]
    for container in VALID
}
for name, (container, _) in BUILDERS.items():
    SEEDS[container].append(built(name))


@st.composite
def mutated(draw: st.DrawFn, container: Container) -> bytes:
    frame = bytearray(draw(st.sampled_from(SEEDS[container]) | VALID[container]))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(frame) - 1, 0)))
        change = draw(st.sampled_from(["byte", "cut", "double", "head"]))
        if change == "byte":
            frame[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif change == "head":
            frame[draw(st.integers(3, 12)) :][:1] = bytes([draw(st.integers(0, 255))])
        elif change == "cut":
            del frame[at : at + draw(st.integers(1, 40))]
        else:
            frame[at:at] = frame[at : at + draw(st.integers(1, 40))]
    if container is Container.IDTECH_MSR and draw(st.booleans()):
        return in_envelope(bytes(frame[3:-3]))
    return bytes(frame)


READERS_TAGS = (
    *("DFEE12", "57A1", "57C1", "5AC1", "57", "5A", "DFEF5D", "FF8105", "F9", "FA", "70", "F8"),
    *("DFDF54", "DFDF56", "DFDF57", "DFDF58", "DFDF59", "DFAE02", "DFAE03", "E4", "C0", "C2", "99"),
)

# --- Random ----------------------------------------------------------------------------------------------------------

FIELDS = st.sampled_from(
    ["", "0600", "0608", "0000", "FFFF9876543210E00008", "00" * 8, "E", "B78F"]
)
RANDOM = {
    Container.IDTECH_MSR: st.binary(max_size=300)
    | st.binary(max_size=300).map(in_envelope)
    | st.builds(
        lambda head, rest: in_envelope(bytes(head) + rest),
        st.lists(st.integers(0, 255), min_size=7, max_size=7),
        st.binary(max_size=200),
    ),
    Container.MAGTEK_SWIPE: st.binary(max_size=300)
    | st.text(st.characters(codec="ascii"), max_size=300).map(str.encode)
    | st.lists(FIELDS | st.text("|0123456789ABCDEF", max_size=20), min_size=12, max_size=15).map(
        lambda fields: "|".join(fields).encode()
    ),
    **dict.fromkeys(
        TLV,
        st.binary(max_size=300)
        | st.lists(
            st.builds(
                lambda tag, value: written(bytes.fromhex(tag), value),
                st.sampled_from(READERS_TAGS),
                st.binary(max_size=24),
            ),
            max_size=40,
        ).map(b"".join),
    ),
}


@contextmanager
def log() -> Iterator[list[logging.LogRecord]]:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield records
    finally:
        logging.getLogger().removeHandler(handler)


def opened(container: Container, frame: bytes) -> OpenedFrame | Exception:
    try:
        return open_frame(ReaderFrame(container, SensitiveBytes(frame)))
    except (InvalidFieldError, CleartextCardDataError) as error:
        return error


def read(found: OpenedFrame) -> ClearParts | Exception:
    """Decrypted as the profile would have it, where the ciphertexts are whole blocks of its cipher.

    That a KSN is one of the scheme is seen once the scheme is known.
    """
    cipher = found.cipher or Cipher.TDES_2KEY
    block = 16 if cipher is Cipher.AES_128 else 8
    if any(len(text) % block for text in found.ciphertexts):
        return []
    try:
        return assembled(found, found.key_variant or KeyVariant.DATA_REQUEST, cipher)
    except (BadKSNError, DecryptionFailedError) as error:
        return error


def assert_hidden(found: object) -> None:
    shown = repr(found) + str(found)
    if isinstance(found, Exception):
        shown = "".join(traceback.format_exception(found)) + repr(found) + str(vars(found))
        assert found.__context__ is None
    elif isinstance(found, OpenedFrame):
        # Its KSNs are no secret; whoever keeps them must not keep a track beside.
        for stated in (found.ksn, found.mac.ksn if found.mac else found.ksn):
            shown = shown.replace(stated, "")
    hits = [marker for marker in MARKERS if marker in shown]
    assert hits == []


def check(container: Container, frame: bytes) -> OpenedFrame | Exception:
    with log() as records:
        found = opened(container, frame)
        assert_hidden(found)
        if isinstance(found, OpenedFrame):
            assert_hidden(read(found))
    assert records == []
    return found


@each_container
@many
@given(data=st.data())
def test_what_readers_send(container: Container, data: st.DataObject) -> None:
    found = check(container, data.draw(VALID[container]))

    assert isinstance(found, OpenedFrame), found
    parts = read(found)
    # The original layout does not always tell the cipher, and was read as TDES.
    if found.cipher is not None:
        assert not isinstance(parts, Exception)
        assert len(parts) in (1, 2)


@each_container
@many
@given(data=st.data())
def test_what_was_changed(container: Container, data: st.DataObject) -> None:
    check(container, data.draw(mutated(container)))


@each_container
@many
@given(data=st.data())
def test_what_comes_at_random(container: Container, data: st.DataObject) -> None:
    check(container, data.draw(RANDOM[container]))


@each_container
def test_a_message_of_another_container_does_not_show(container: Container) -> None:
    for frame in itertools.chain(*SEEDS.values()):
        check(container, frame)


@each_container
def test_memory_does_not_grow(container: Container) -> None:
    chance = random.Random(7)  # noqa: S311 - it must be the same each time
    seeds = [*SEEDS[container], b"\x02\xff\xff" + bytes(16_000), b"|" * 16_000, b"02" * 8_000]

    def some(count: int) -> None:
        for _ in range(count):
            frame = bytearray(chance.choice(seeds))
            frame[chance.randrange(len(frame))] = chance.randrange(256)
            opened(container, bytes(frame))
        gc.collect()

    some(200)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    some(1_000)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert after - before < 64 * 1024
    assert peak - before < 256 * 1024

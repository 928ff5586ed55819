import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.residuals import block_means, pack
from smalti.errors import DamagedArchiveError, SmaltiError, UnsupportedArchiveError
from smalti.residual.residual_prior import ResidualPrior

SHAPE = (28, 28, 1)


@pytest.fixture(scope="module")
def packed(digits):
    images = digits.images[:40, ..., None].copy()
    images[5:9] = np.random.default_rng(0).integers(0, 256, (4, *SHAPE), np.uint8)
    return pack(images, block_means(images), 0.002, block_images=40)


def decode(packed, section, stream):
    prior = ResidualPrior.from_bytes(section, SHAPE)
    return prior.decode(stream, 40, np.arange(40), lambda rows: packed.base[rows])


def test_a_flipped_bit_gives_a_clear_error_or_pixels(packed):
    """Flips that go unnoticed here are caught by the checksums of sections and pixels."""
    noticed = 0
    for number in range(0, 8 * len(packed.blocks[0]), 37):
        stream = bytearray(packed.blocks[0])
        stream[number // 8] ^= 1 << number % 8
        try:
            assert decode(packed, packed.section, bytes(stream)).shape == packed.base.shape
        except DamagedArchiveError:
            noticed += 1
    assert noticed


def test_a_flipped_bit_in_the_tables_gives_a_clear_error_or_pixels(packed):
    for number in range(8 * len(packed.section)):
        section = bytearray(packed.section)
        section[number // 8] ^= 1 << number % 8
        with suppress(DamagedArchiveError, UnsupportedArchiveError):
            assert decode(packed, bytes(section), packed.blocks[0]).shape == packed.base.shape


@pytest.mark.parametrize("size", [0, 1, 2, 5, -1])
def test_cut_bytes_are_refused(packed, size):
    with pytest.raises(DamagedArchiveError):
        decode(packed, packed.section, packed.blocks[0][:size])
    with pytest.raises(DamagedArchiveError):
        decode(packed, packed.section[:size], packed.blocks[0])


def test_added_bytes_are_refused(packed):
    for extra in (b"\0", b"x", b"\0\0\0\0"):
        with pytest.raises(DamagedArchiveError):
            decode(packed, packed.section, packed.blocks[0] + extra)
        with pytest.raises(DamagedArchiveError):
            decode(packed, packed.section + extra, packed.blocks[0])


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_read(packed, data):
    for section, stream in ((data, packed.blocks[0]), (packed.section, data)):
        try:
            decode(packed, section, stream)
        except SmaltiError as error:
            assert isinstance(error, DamagedArchiveError | UnsupportedArchiveError)


HEAD = struct.Struct("<BBHHBBH")
FIELDS = ("kind", "precision", "group_images", "symbols", "modes", "tables", "map_bytes")


def with_head(section, **changes):
    fields = dict(zip(FIELDS, HEAD.unpack_from(section), strict=True)) | changes
    return HEAD.pack(*fields.values()) + section[HEAD.size :]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": 25}, "out of range"),
        ({"group_images": 0}, "out of range"),
        ({"group_images": 2000}, "too many for a group"),
        ({"symbols": 0}, "out of range"),
        ({"symbols": 257}, "out of range"),
        ({"tables": 0}, "out of range"),
        ({"tables": 1}, "."),
        ({"modes": 0}, "modes are not"),
        ({"modes": 255}, "."),
        ({"map_bytes": 65535}, "after the data"),
        ({"map_bytes": 0}, "."),
    ],
)
def test_a_field_out_of_range_is_refused(packed, changes, message):
    with pytest.raises(DamagedArchiveError, match=message):
        ResidualPrior.from_bytes(with_head(packed.section, **changes), SHAPE)


def test_data_of_a_later_release_are_named(packed):
    with pytest.raises(UnsupportedArchiveError, match="kind 3"):
        ResidualPrior.from_bytes(with_head(packed.section, kind=3), SHAPE)
    modes = HEAD.unpack_from(packed.section)[4]
    section = bytearray(packed.section)
    section[HEAD.size + 3 * (modes - 1)] = 200
    with pytest.raises(UnsupportedArchiveError, match="mode 200"):
        ResidualPrior.from_bytes(bytes(section), SHAPE)


def test_a_map_that_unpacks_to_more_is_refused_before_it_is_unpacked(packed):
    modes, map_bytes = HEAD.unpack_from(packed.section)[4], HEAD.unpack_from(packed.section)[6]
    start = HEAD.size + 3 * modes
    bomb = zlib.compress(bytes(1 << 25), 9)
    section = packed.section[:start] + bomb + packed.section[start + map_bytes :]
    with pytest.raises(DamagedArchiveError, match="another length"):
        ResidualPrior.from_bytes(with_head(section, map_bytes=len(bomb)), SHAPE)

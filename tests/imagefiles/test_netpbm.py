"""Netpbm files: odd headers, several images, hostile texts."""

import io

import numpy as np
import pytest

from helpers.image_files import noise, read_header, read_image
from inputs.netpbm_files import pam, raw
from smalti.imagefiles.encoded import netpbm
from smalti.imagefiles.format import UnreadableImageError
from smalti.imagefiles.table import format_of, open_images

GREY = noise(5, 7)


@pytest.mark.parametrize(
    "head",
    [
        b"P5 7 5 255\n",
        b"P5\n# a comment\n7 5\n255\n",
        b"P5#a\n7#b\r\n5\t255\r",
        b"P5\n7\n5\n255# a comment before the samples\n",
        b"P5\n0000000007 5 0255 ",
    ],
)
def test_headers_with_comments_and_other_white_space(head: bytes) -> None:
    np.testing.assert_array_equal(read_image(io.BytesIO(head + GREY.tobytes()))[1][..., 0], GREY)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 16])
def test_rows_of_bits_end_at_whole_bytes(width: int) -> None:
    bits = noise(3, width) % 2
    header, pixels = read_image(io.BytesIO(b"P4 %d 3\n" % width + np.packbits(bits, axis=1).tobytes()))
    np.testing.assert_array_equal(pixels[..., 0], (1 - bits) * 255)
    assert header.fields == {"source_mode": "1;I"}


def test_plain_samples_over_the_blocks_in_which_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (40, 30, 3))
    one_line = " ".join(str(sample) for sample in pixels.ravel()).encode()
    lines = b"\n".join(b"%d # here" % sample for sample in pixels.ravel())
    for size in (5, 7, 64):
        monkeypatch.setattr(netpbm, "_TEXT_BYTES", size)
        for text in (one_line, lines):
            header, found = read_image(io.BytesIO(b"P3 30 40 65535\n" + text))
            assert header.fields == {}
            np.testing.assert_array_equal(found, pixels)


def test_images_of_several_kinds_follow_one_another() -> None:
    rgb, planes = noise(4, 6, 3), noise(3, 2, 2)
    file = open_images(
        io.BytesIO(raw(5, 255, GREY) + raw(6, 255, rgb) + pam(255, "x y", planes) + raw(5, 15, GREY % 16))
    )
    assert [header.shape for header in file.headers] == [(5, 7, 1), (4, 6, 3), (3, 2, 1), (3, 2, 1), (5, 7, 1)]
    assert file.headers[3].fields == {"plane": 3, "c": 1, "tupltype": "x y"}
    assert file.headers[4].fields == {"plane": 4, "significant_bits": 4}
    np.testing.assert_array_equal(file.image(1)[1], rgb)
    np.testing.assert_array_equal(file.image(3)[1][..., 0], planes[..., 1])
    np.testing.assert_array_equal(file.image(2)[1][..., 0], planes[..., 0])
    np.testing.assert_array_equal(file.image(4)[1][..., 0], GREY % 16)


def test_bytes_behind_the_pixels_are_told_of_and_white_space_is_none() -> None:
    assert read_header(io.BytesIO(raw(5, 255, GREY) + b"\n\n")).unread is None
    assert read_header(io.BytesIO(raw(5, 255, GREY) + b"more of it")).unread == "10 bytes behind its pixels"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"P5 7 5", "no width, height and largest value"),
        (b"P5 -7 5 255\n", "no width, height and largest value"),
        (b"P5 99999999999 5 255\n", "no width, height and largest value"),
        (b"P5 7 5 0\n" + bytes(35), "a largest value of 0"),
        (b"P7\nWIDTH 7\nHEIGHT 5\nENDHDR\n", "without its WIDTH, HEIGHT, DEPTH or MAXVAL"),
        (b"P7\nWIDTH 7\nHEIGHT 5\nDEPTH 1\nMAXVAL 255\n" + bytes(35), "without the end of its header"),
        (b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 5000\nMAXVAL 255\nTUPLTYPE x\nENDHDR\n" + bytes(5000), "5000 channels"),
        (b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 0\nMAXVAL 255\nENDHDR\n", "0 channels"),
        (b"P2 2 1 255\n1 -2", "no numbers"),
        (b"P2 2 1 255\n1 2_0", "no numbers"),
        (b"P2 2 1 255\n1 " + b"9" * 5000, "above its largest value"),
        (b"P1 2 1\n0 2", "above its largest value"),
    ],
)
def test_damaged_files_are_refused_with_a_reason(data: bytes, words: str) -> None:
    with pytest.raises(UnreadableImageError, match=words):
        read_image(io.BytesIO(data))


def test_more_images_than_any_file_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netpbm, "_MAX_IMAGES", 3)
    with pytest.raises(UnreadableImageError, match="more than 3 images"):
        _ = open_images(io.BytesIO(raw(5, 255, GREY) * 4)).headers


@pytest.mark.parametrize("head", [b"P7 332\n#XVVERSION", b"P8 7 5 255\n", b"P5", b"PK\3\4", b"Plain text", b"P"])
def test_other_files_that_begin_with_a_p_are_of_no_format(head: bytes) -> None:
    assert format_of(head) is None

"""JPEG XL, AVIF, HEIC, JPEG 2000, QOI, DDS, Netpbm, deep JPEG: damage, sizes, and a second decoder of each."""

import io
import random
import struct
import sys
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from helpers.image_files import noise
from inputs.codec_files import codestream, heic, jp2, with_alpha
from inputs.making import exif, pillow, smooth, upright, wide
from inputs.netpbm_files import pam, raw
from smalti.imagefiles.format import HEAD_BYTES, ImageHeader, UnreadableImageError
from smalti.imagefiles.table import FORMATS, open_images
from smalti.images.batch import Pixels

RGB = noise(9, 11, 3)

FILES: dict[str, tuple[str, bytes]] = {
    "codestream of JPEG XL": ("JPEG XL", imagecodecs.jpegxl_encode(RGB)),
    "boxes of JPEG XL": ("JPEG XL", imagecodecs.jpegxl_encode(RGB, usecontainer=True)),
    "AVIF": ("AVIF", imagecodecs.avif_encode(RGB, level=100)),
    "frames of AVIF": ("AVIF", imagecodecs.avif_encode(noise(3, 9, 11, 3), level=100)),
    "HEIC": ("HEIC", heic("RGB", noise(20, 30, 3))),
    "JP2": ("JPEG 2000", pillow(RGB, "jpeg2000", irreversible=False)),
    "codestream of JPEG 2000": ("JPEG 2000", codestream(RGB)),
    "QOI": ("QOI", imagecodecs.qoi_encode(RGB)),
    "DDS": ("DDS", pillow(RGB, "dds")),
    "DDS in blocks": ("DDS", pillow(noise(8, 12, 4), "dds", pixel_format="DXT5")),
    "PPM": ("Netpbm", raw(6, 255, RGB)),
    "plain PGM": ("Netpbm", b"P2 11 9 255\n" + " ".join(str(value) for value in RGB[..., 0].ravel()).encode() + b"\n"),
    "PAM": ("Netpbm", pam(255, "RGB", RGB)),
    "tiles of JPEG 2000": (
        "JPEG 2000",
        pillow(noise(32, 48, 3), "jpeg2000", no_jp2=True, irreversible=False, tile_size=(16, 16)),
    ),
    "JPEG of 12 bits": ("JPEG", imagecodecs.jpeg8_encode(wide(9, 11) % 4096, bitspersample=12)),
    "lossless JPEG": ("JPEG", imagecodecs.jpeg8_encode(wide(9, 11), lossless=True, bitspersample=16)),
    "JPEG-LS": ("JPEG", imagecodecs.jpegls_encode(RGB)),
}
WHOLE = frozenset({"plain PGM"})  # without its last digit, it is another file that is whole


def images(data: bytes) -> list[tuple[ImageHeader, Pixels]]:
    file = open_images(io.BytesIO(data))
    return [file.image(number) for number in range(len(file.headers))]


def only(data: bytes) -> tuple[ImageHeader, Pixels]:
    (image,) = images(data)
    return image


def refusal(data: bytes) -> str:
    with pytest.raises(UnreadableImageError) as error:
        images(data)
    return str(error.value)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_known_by_its_first_bytes(name: str) -> None:
    kind, data = FILES[name]
    assert [one.name for one in FORMATS if one.matches(data[:HEAD_BYTES])] == [kind]


@pytest.mark.parametrize("name", FILES)
def test_headers_are_those_of_the_images(name: str) -> None:
    file = open_images(io.BytesIO(FILES[name][1]))
    for number, header in enumerate(file.headers):
        again, pixels = file.image(number)
        assert (again, pixels.shape, pixels.dtype) == (header, header.shape, header.dtype)


@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_damaged(name: str) -> None:
    data = FILES[name][1]
    for size in sorted({*range(1, len(data), max(1, len(data) // 40)), *range(max(1, len(data) - 12), len(data))}):
        try:
            images(data[:size])
        except UnreadableImageError as error:
            assert "\n" not in str(error)
        else:
            assert name in WHOLE, (size, len(data))


def test_a_codestream_of_jpeg_2000_without_some_of_its_tiles_is_damaged() -> None:
    data = FILES["tiles of JPEG 2000"][1]
    places = [place for place in range(len(data)) if data[place : place + 4] == b"\xff\x90\0\x0a"]
    assert len(places) == 6
    for cut in (data[: places[5]] + b"\xff\xd9", data[: places[1]] + data[places[2] :]):
        assert imagecodecs.jpeg2k_decode(cut).shape == (32, 48, 3)  # the decoder says nothing
        assert "without some of its tiles" in refusal(cut)


@pytest.mark.parametrize("name", FILES)
def test_changed_bytes_give_pixels_or_a_reason(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    data, chance = FILES[name][1], random.Random(name)
    for _ in range(60):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 4))):
            changed[chance.randrange(min(len(data), chance.choice((60, 400, len(data)))))] = chance.randrange(256)
        try:
            images(bytes(changed))
        except UnreadableImageError as error:
            assert "\n" not in str(error)
    assert capfd.readouterr() == ("", "")  # decoders write nothing of their own


SAID: dict[str, Callable[[bytes], bytes]] = {
    "AVIF": lambda data: changed_at(data, b"ispe", 8, struct.pack(">II", 60000, 60000)),
    "frames of AVIF": lambda data: changed_at(data, b"av01\0\0\0\0\0\0\0\1", 28, struct.pack(">HH", 60000, 60000)),
    "HEIC": lambda data: changed_at(data, b"ispe", 8, struct.pack(">II", 60000, 60000)),
    "JP2": lambda data: changed_at(data, b"\xff\x4f\xff\x51", 8, struct.pack(">II", 60000, 60000)),
    "QOI": lambda data: data[:4] + struct.pack(">II", 60000, 60000) + data[12:],
    "DDS": lambda data: data[:12] + struct.pack("<II", 60000, 60000) + data[20:],
    "PPM": lambda data: data.replace(b"11 9", b"60000 60000", 1),
    "PAM": lambda data: data.replace(b"WIDTH 11\nHEIGHT 9", b"WIDTH 60000\nHEIGHT 60000"),
    "JPEG of 12 bits": lambda data: changed_at(data, b"\xff\xc1", 5, struct.pack(">HH", 60000, 60000)),
    "JPEG-LS": lambda data: changed_at(data, b"\xff\xf7", 5, struct.pack(">HH", 60000, 60000)),
    "codestream of JPEG XL": lambda data: data[:2] + jpegxl_size(60000, 60000) + data[8:],
}


def changed_at(data: bytes, mark: bytes, behind: int, new: bytes) -> bytes:
    """Return the data with other bytes, so many behind the start of a mark."""
    place = data.index(mark) + behind
    return data[:place] + new + data[place + len(new) :]


def jpegxl_size(height: int, width: int) -> bytes:
    """Return the bits of a size, each side of it in 18 bits."""
    bits = 0 | 2 << 1 | (height - 1) << 3 | 0 << 21 | 2 << 24 | (width - 1) << 26
    return bits.to_bytes(6, "little")


@pytest.mark.parametrize("name", SAID)
def test_a_huge_size_is_refused_before_pixels_are_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(UnreadableImageError, match="too many pixels"):
        _ = open_images(io.BytesIO(SAID[name](FILES[name][1]))).headers


BY_IMAGECODECS = [name for name in FILES if name not in ("HEIC", "DDS", "DDS in blocks", "PPM", "plain PGM", "PAM")]


@pytest.mark.parametrize("name", BY_IMAGECODECS)
def test_headers_need_no_decoder_and_pixels_name_the_one_that_is_missing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    file = open_images(io.BytesIO(FILES[name][1]))
    assert file.headers[0].shape[:2] == ((32, 48) if name.startswith("tiles") else (9, 11))
    with pytest.raises(UnreadableImageError, match=r"needs imagecodecs, .* pip install \"smalti\[formats\]\""):
        file.image(0)


def test_heic_without_its_library_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert 'HEIC needs pillow-heif, which is not installed; pip install "smalti[heif]"' in refusal(FILES["HEIC"][1])


def second(data: bytes) -> NDArray[np.generic]:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("name", ["JP2", "codestream of JPEG 2000", "QOI", "PPM", "plain PGM"])
def test_pillow_reads_the_same_from_lossless_files_of_8_bits(name: str) -> None:
    data = FILES[name][1]
    np.testing.assert_array_equal(only(data)[1].squeeze(), second(data))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_pillow_reads_the_same_alpha_of_jpeg_2000(mode: str) -> None:
    data = pillow(Image.fromarray(noise(9, 11, 4)).convert(mode), "jpeg2000", irreversible=False)
    np.testing.assert_array_equal(only(data)[1], second(data))


@pytest.mark.parametrize("name", ["lossless JPEG", "lossless JPEG, RGB"])
def test_another_decoder_reads_the_same_from_lossless_jpeg(name: str) -> None:
    rgb = imagecodecs.jpeg8_encode(wide(9, 11, 3) % 4096, lossless=True, bitspersample=12)
    data = rgb if name.endswith("RGB") else FILES[name][1]
    np.testing.assert_array_equal(only(data)[1].squeeze(), imagecodecs.jpegsof3_decode(data))


def test_lossy_files_are_close_to_what_another_decoder_reads() -> None:
    picture = smooth(40, 60, 3)
    avif, jpeg2000 = imagecodecs.avif_encode(picture, level=80), pillow(picture, "jpeg2000", quality_layers=[10])
    for data in (avif, jpeg2000):
        assert np.abs(only(data)[1].astype(int) - second(data)).max() <= 2
    photo = pillow(picture, "jpeg", quality=90)
    turned = imagecodecs.jpegxl_encode_jpeg(photo)  # the coefficients of the JPEG, decoded by another program
    assert np.abs(only(turned)[1].astype(int) - second(photo)).mean() < 2


@pytest.mark.parametrize("kind", ["DXT1", "DXT3", "DXT5"])
def test_blocks_of_dds_are_close_to_what_imagecodecs_reads(kind: str) -> None:
    data = pillow(smooth(8, 12, 3), "dds", pixel_format=kind)
    pixels = only(data)[1]
    found = imagecodecs.dds_decode(data)[..., : pixels.shape[2]]
    assert np.abs(pixels.astype(int) - found).max() <= 4  # decoders round 5 and 6 bits in ways of their own


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["avif", "jxl"])
def test_a_turned_file_is_turned_once(kind: str, turn: int) -> None:
    picture = smooth(16, 24, 3)
    if kind == "avif":
        data = pillow(picture, "avif", quality=100, subsampling="4:4:4", exif=exif(turn))
        expected = imagecodecs.avif_decode(data)
    else:
        data = imagecodecs.jpegxl_encode_jpeg(pillow(picture, "jpeg", quality=95, exif=exif(turn)))
        expected = imagecodecs.jpegxl_decode(data, keeporientation=True)
    header, pixels = only(data)
    assert header.fields == ({"source_orientation": turn} if turn > 1 else {})
    assert np.abs(pixels.astype(int) - upright(expected, turn)).max() <= 1  # JPEG XL dithers by place


@pytest.mark.parametrize("bits", [1, 2, 5, 8, 9, 12, 14, 16])
@pytest.mark.parametrize("shape", [(9, 11), (9, 11, 2), (9, 11, 3), (9, 11, 4), (16, 16, 3), (27, 48), (1, 513)])
def test_heads_of_jpeg_xl_say_bits_and_channels(bits: int, shape: tuple[int, ...]) -> None:
    pixels = (wide(*shape) >> (16 - bits)).astype(np.uint8 if bits <= 8 else np.uint16)
    header, found = only(imagecodecs.jpegxl_encode(pixels, bitspersample=bits, effort=1))
    np.testing.assert_array_equal(found.reshape(shape), pixels)
    assert header.fields == ({} if bits in (8, 16) else {"significant_bits": bits})


def jpegxl_head(*parts: tuple[int, int]) -> bytes:
    """Return the beginning of a codestream of 8x8 pixels, by numbers and their bits."""
    value, place = 0, 0
    for number, bits in ((1, 1), (0, 5), (1, 3), *parts):  # in blocks of 8, as wide as high
        value |= number << place
        place += bits
    return b"\xff\x0a" + value.to_bytes(64, "little")


COLOURS = ((1, 1), (0, 1), (1, 1))  # 16 bits are enough, no XYB, usual colours
PLAIN = ((0, 1), (0, 1), (0, 1), (0, 2))  # not all as usual, nothing further, 8 bits


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((*PLAIN[:2], (1, 1), (1, 2)), "float samples of 16 bits"),
        ((*PLAIN[:2], (0, 1), (3, 2), (31, 6)), "32-bit samples"),
        (
            (*PLAIN, (1, 1), (1, 2), (0, 1), (1, 2), (0, 3), (0, 2), (0, 2), (0, 1), (1, 1)),
            "not one alpha",
        ),
        ((*PLAIN, (1, 1), (2, 2), (0, 4), (1, 1), (1, 1), (0, 1), (1, 1)), "not one alpha"),
        ((*PLAIN[:3], (2, 2), (1, 1), (1, 2), (1, 1), (0, 1), (1, 1)), "alpha with other bits"),
    ],
)
def test_jpeg_xl_with_samples_that_do_not_fit_is_refused(parts: tuple[tuple[int, int], ...], words: str) -> None:
    assert words in refusal(jpegxl_head(*parts))


def test_a_release_of_imagecodecs_that_scales_jpeg_xl_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagecodecs, "__version__", "2024.6.1")
    assert "needs imagecodecs 2024.12.30 or later" in refusal(FILES["boxes of JPEG XL"][1])


def test_associated_alpha_is_a_field_of_jpeg_xl() -> None:
    alpha = ((0, 1), (0, 2), (0, 1), (0, 2), (0, 2), (0, 2), (1, 1))  # a kind, 8 bits, whole size, no name, associated
    (header,) = open_images(io.BytesIO(jpegxl_head(*PLAIN, (1, 1), (1, 2), *alpha, (0, 1), (1, 1)))).headers
    assert (header.shape, header.fields) == ((8, 8, 4), {"alpha_associated": True})


def test_frames_that_together_need_too_much_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smalti.imagefiles.animations.decoded_frames._MAX_BYTES", 3 * 9 * 11 * 3 - 1)
    for data in (FILES["frames of AVIF"][1], imagecodecs.jpegxl_encode(noise(3, 9, 11, 3))):
        assert "3 frames of 9x11 pixels" in refusal(data)


def test_alpha_first_and_colours_in_another_order_are_put_right() -> None:
    stored = noise(9, 11, 4)
    places = box_of_channels((0, 1, 0), (1, 0, 3), (2, 0, 2), (3, 0, 1))  # alpha, blue, green, red
    header, pixels = only(jp2(codestream(stored), 16, places))
    np.testing.assert_array_equal(pixels, stored[..., [3, 2, 1, 0]])
    assert header.fields == {}


def box_of_channels(*channels: tuple[int, int, int]) -> bytes:
    content = struct.pack(">H", len(channels)) + b"".join(struct.pack(">3H", *one) for one in channels)
    return struct.pack(">I", 8 + len(content)) + b"cdef" + content


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (jp2(codestream(noise(9, 11, 4)), 16, with_alpha(7)), "1 of 4 channels are neither colour nor alpha"),
        (jp2(codestream(noise(9, 11, 3)), 14), "colour space CIELab"),
        (codestream(noise(9, 11, 5)), "5 components"),
        (codestream(np.zeros((9, 11), np.uint32), bitspersample=20), "20-bit samples"),
        (jp2(codestream(RGB), 16)[:60] + b"\0\0\0\x09", "cut off"),
    ],
)
def test_jpeg_2000_of_other_kinds_is_refused(data: bytes, words: str) -> None:
    assert words in refusal(data)


@pytest.mark.parametrize("name", ["boxes of JPEG XL", "AVIF", "HEIC", "JP2"])
@pytest.mark.parametrize("more", [b"\1", b"\0\0\xff\xffmore than the file has", b"SEFT" * 9])
def test_bytes_behind_the_boxes_change_nothing(name: str, more: bytes) -> None:
    data = FILES[name][1]
    (header, pixels), (expected, expected_pixels) = only(data + more), only(data)
    assert header == expected
    np.testing.assert_array_equal(pixels, expected_pixels)


def test_further_codestreams_are_told_of() -> None:
    more = codestream(RGB)
    data = jp2(more, 16) + struct.pack(">I", 8 + len(more)) + b"jp2c" + more
    assert only(data)[0].unread == "1 further codestream"


def test_a_volume_and_a_cube_of_dds_are_told_of() -> None:
    data = pillow(RGB, "dds")
    cube = data[:112] + struct.pack("<I", 0xFE00) + data[116:]
    volume = data[:24] + struct.pack("<I", 3) + data[28:112] + struct.pack("<I", 0x200000) + data[116:]
    assert [only(one)[0].unread for one in (data, cube, volume)] == [
        None,
        "the other faces of a cube",
        "2 further slices of a volume",
    ]


def test_colours_of_dds_with_more_than_8_bits_are_refused() -> None:
    masks = struct.pack("<4I", 0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)
    data = pillow(noise(9, 11, 4), "dds")
    assert "colours of more than 8 bits" in refusal(data[:92] + masks + data[108:])


def dds_of_masks(flags: int, bits: int, masks: tuple[int, int, int, int], pixels: bytes) -> bytes:
    """Return an uncompressed DDS file of 9x11 pixels."""
    head = pillow(noise(9, 11, 3), "dds")[:80]
    return head + struct.pack("<II", flags, 0) + struct.pack("<5I", bits, *masks) + bytes(20) + pixels


@pytest.mark.parametrize(
    ("flags", "bits", "masks", "fields"),
    [
        (0x40, 24, (0xFF, 0xFF00, 0xFF0000, 0), {}),
        (0x40, 32, (0xFF0000, 0xFF00, 0xFF, 0), {}),
        (0x41, 32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000), {}),
        (0x41, 32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF), {}),
        (0x40, 16, (0xF800, 0x7E0, 0x1F, 0), {"source_mode": "RGB;565"}),
        (0x41, 16, (0xF00, 0xF0, 0xF, 0xF000), {"source_mode": "RGB;4444"}),
    ],
)
def test_uncompressed_dds_is_what_pillow_reads(
    flags: int, bits: int, masks: tuple[int, int, int, int], fields: dict[str, str]
) -> None:
    data = dds_of_masks(flags, bits, masks, noise(9 * 11 * bits // 8).tobytes())
    header, pixels = only(data)
    assert header.fields == fields
    np.testing.assert_array_equal(pixels, second(data))


def test_a_palette_of_jpeg_ls_is_refused_and_other_extensions_are_none() -> None:
    data = imagecodecs.jpegls_encode(RGB[..., 0].copy())
    np.testing.assert_array_equal(only(data)[1][..., 0], RGB[..., 0])
    place = data.index(b"\xff\xf7")
    table = b"\xff\xf8\0\x08\2\1\3\0\0\0"
    assert "JPEG-LS with a palette" in refusal(data[:place] + table + data[place:])


def test_bytes_that_fill_up_before_a_marker_are_passed_over() -> None:
    for name in ("JPEG of 12 bits", "lossless JPEG"):
        data = FILES[name][1]
        (header, pixels), (expected, expected_pixels) = only(data[:2] + b"\xff" * 50 + data[2:]), only(data)
        assert header == expected
        np.testing.assert_array_equal(pixels, expected_pixels)


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["AVIF", "AVIF of frames", "JPEG XL of frames"])
def test_all_kinds_of_channels_and_bits(kind: str, channels: int, bits: int) -> None:
    shape = (9, 11, channels) if kind == "AVIF" else (3, 9, 11, channels)
    pixels = (wide(*shape) >> (16 - bits)).astype(np.uint8 if bits == 8 else np.uint16)
    stored = pixels[..., 0] if channels == 1 else pixels
    if kind == "JPEG XL of frames":
        data = imagecodecs.jpegxl_encode(stored, bitspersample=bits)
    else:
        data = imagecodecs.avif_encode(stored, bitspersample=bits, level=100)
    found = images(data)
    np.testing.assert_array_equal(np.stack([one for _, one in found]), pixels.reshape(-1, 9, 11, channels))
    for number, (header, _) in enumerate(found):
        depth = {} if bits == 8 else {"significant_bits": bits}
        assert header.fields == ({"frame": number, **depth} if len(found) > 1 else depth)


def test_spiff_says_colours_of_jpeg_ls() -> None:
    data = FILES["JPEG-LS"][1]
    place = data.index(b"SPIFF\0") + 18
    assert data[place] == 10  # RGB
    assert "SPIFF" in refusal(data[:place] + b"\x03" + data[place + 1 :])

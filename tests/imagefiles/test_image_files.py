"""Image files written by Pillow, imagecodecs and tifffile: pixels and headers."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageFile

from helpers.image_files import noise, png_bytes, read_header, read_image
from smalti.errors import SourceError
from smalti.imagefiles.format import ImageHeader, UnreadableImageError

Words = str | None

pytestmark = [
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),  # files are made to cause it
    pytest.mark.filterwarnings("ignore:Corrupt EXIF data"),
]


def wide(*shape: int, seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 65536, shape, dtype=np.uint16)


def pillow(image: Image.Image | NDArray[np.generic], kind: str, **options: object) -> bytes:
    file = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def tiff(pixels: NDArray[np.generic], **options: object) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(png: bytes, kind: bytes, data: bytes, before: bytes) -> bytes:
    place = png.index(before) - 4
    return png[:place] + chunk(kind, data) + png[place:]


def read(data: bytes) -> tuple[ImageHeader, NDArray[np.generic]]:
    """Read header and pixels, and check that the header read alone is the same."""
    header, pixels = read_image(BytesIO(data))
    assert header == read_header(BytesIO(data))
    assert (pixels.shape, pixels.dtype) == (header.shape, header.dtype)
    return header, pixels


def holds(data: bytes, expected: NDArray[np.generic], mode: Words = None, orientation: int | None = None) -> None:
    header, pixels = read(data)
    assert pixels.dtype == expected.dtype
    np.testing.assert_array_equal(pixels, expected.reshape(*expected.shape[:2], -1))
    contributed = {"source_mode": mode, "source_orientation": orientation}
    assert header.fields == {name: value for name, value in contributed.items() if value is not None}


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png_is_kept(channels: int) -> None:
    pixels = wide(5, 6, channels)
    holds(imagecodecs.png_encode(pixels), pixels)
    if channels == 1:
        holds(pillow(pixels[..., 0], "png"), pixels)


def test_sixteen_bit_grey_needs_no_further_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imagecodecs", None)
    holds(pillow(wide(5, 6), "png"), wide(5, 6))
    holds(pillow(wide(5, 6), "tiff"), wide(5, 6))
    colour = png_bytes(2, 16, b"\1\2" * 12, 4, 4)
    assert read_header(BytesIO(colour)).dtype == np.uint16
    with pytest.raises(UnreadableImageError, match=r'needs imagecodecs.*pip install "smalti\[formats\]"'):
        read_image(BytesIO(colour))


def test_a_transparent_colour_of_sixteen_bits_becomes_alpha() -> None:
    grey, colour = wide(4, 6), wide(4, 6, 3)
    clear, opaque = np.uint16(0), np.uint16(65535)
    made = with_chunk(pillow(grey, "png"), b"tRNS", int(grey[1, 2]).to_bytes(2), b"IDAT")
    holds(made, np.stack([grey, np.where(grey == grey[1, 2], clear, opaque)], 2), "L;tRNS")
    made = with_chunk(imagecodecs.png_encode(colour), b"tRNS", colour[1, 2].astype(">u2").tobytes(), b"IDAT")
    alpha = np.where((colour == colour[1, 2]).all(axis=2), clear, opaque)
    holds(made, np.concatenate([colour, alpha[..., None]], 2), "RGB;tRNS")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("byteorder", "bigtiff"), [("<", False), (">", False), ("<", True), (">", True)])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(("compression", "predictor"), [(None, None), ("zlib", None), ("zlib", True), ("lzw", True)])
def test_sixteen_bit_tiff_is_kept(
    channels: int, byteorder: str, bigtiff: bool, planar: str, compression: str | None, predictor: bool | None
) -> None:
    pixels = wide(5, 6, channels)
    stored = np.moveaxis(pixels, -1, 0) if planar == "separate" and channels > 1 else pixels.squeeze()
    made = tiff(
        stored,
        byteorder=byteorder,
        planarconfig=planar if channels > 1 else None,
        compression=compression,
        predictor=predictor,
        bigtiff=bigtiff,
        photometric="rgb" if channels > 2 else "minisblack",
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
    )
    holds(made, pixels)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_white_that_is_stored_as_zero_is_white(byteorder: str, compression: str | None) -> None:
    def made(pixels: NDArray[np.generic], **options: object) -> bytes:
        return tiff(pixels, photometric="miniswhite", byteorder=byteorder, compression=compression, **options)

    holds(made(noise(4, 5)), 255 - noise(4, 5), "L;I")
    holds(made(wide(4, 5)), 65535 - wide(4, 5), "L;I")
    pair = wide(4, 5, 2)
    turned = np.stack([65535 - pair[..., 0], pair[..., 1]], 2)
    holds(made(pair, planarconfig="contig", extrasamples=["unassalpha"]), turned, "LA;I")


@pytest.mark.parametrize(("bits", "mode"), [(1, "1"), (2, "L;2"), (4, "L;4")])
def test_grey_of_few_bits_is_spread_over_eight(bits: int, mode: str) -> None:
    levels = np.arange(8) % (1 << bits)
    row = np.packbits(np.unpackbits(levels.astype(np.uint8)[:, None], axis=1)[:, 8 - bits :].ravel()).tobytes()
    expected = np.tile((levels * 255 // ((1 << bits) - 1)).astype(np.uint8), (3, 1))
    holds(png_bytes(0, bits, row, 8, 3), expected, mode)


@pytest.mark.parametrize("compression", [None, "group4"])
def test_black_and_white_tiff_of_either_meaning(compression: str | None) -> None:
    pixels = np.where(noise(6, 7) > 127, np.uint8(255), np.uint8(0))
    image = Image.fromarray(pixels).convert("1")
    holds(pillow(image, "tiff", compression=compression, tiffinfo={262: 1}), pixels, "1")
    holds(pillow(image, "tiff", compression=compression, tiffinfo={262: 0}), pixels, "1;I")


def test_colours_multiplied_by_alpha_are_divided_by_it() -> None:
    stored = np.array([[[50, 100, 20, 100], [7, 8, 9, 255], [0, 0, 0, 0]]], np.uint8)
    made = tiff(stored, photometric="rgb", extrasamples=["assocalpha"])
    holds(made, np.array([[[127, 255, 51, 100], [7, 8, 9, 255], [0, 0, 0, 0]]], np.uint8), "RGBa")


def test_palettes_become_colours_with_alpha_if_there_is_transparency() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 7, 8, 9])
    image.putdata([0, 1, 2])
    colours = np.array([[[10, 20, 30], [40, 50, 60], [7, 8, 9]]], np.uint8)
    for kind in ("png", "gif", "tiff", "bmp"):
        holds(pillow(image, kind), colours, "P")
    partly = np.concatenate([colours, np.array([[[255], [77], [0]]], np.uint8)], 2)
    holds(pillow(image, "png", transparency=bytes([255, 77, 0])), partly, "P")
    holds(
        pillow(image, "gif", transparency=1)[:], np.concatenate([colours, [[[255], [0], [255]]]], 2).astype("u1"), "P"
    )


def test_a_palette_of_sixteen_bit_colours_is_not_cut() -> None:
    exact = np.stack([np.arange(256) * 257] * 3).astype(np.uint16)
    levels = noise(4, 5)
    holds(tiff(levels, photometric="palette", colormap=exact), np.repeat(levels[..., None], 3, 2), "P")
    with pytest.raises(UnreadableImageError, match="16-bit colours"):
        read_image(BytesIO(tiff(levels, photometric="palette", colormap=exact + 1)))


def plain_rgb(inks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert by R = (255 - C)(255 - K) / 255, rounded, and so on: the formula of docs/images.md."""
    light = 255 - inks.astype(np.int64)
    return ((light[..., :3] * light[..., 3:] * 2 + 255) // 510).astype(np.uint8)


def test_inks_become_colours_by_the_plain_formula() -> None:
    inks = noise(40, 50, 4)
    image = Image.fromarray(inks, "CMYK")
    holds(pillow(image, "tiff"), plain_rgb(inks), "CMYK")
    holds(tiff(inks, photometric="separated", planarconfig="contig"), plain_rgb(inks), "CMYK")
    smooth = np.stack(np.broadcast_arrays(*np.ogrid[0:160:4, 0:200:4], 90, 30), 2).astype(np.uint8)
    for mode, made in {
        "CMYK": pillow(Image.fromarray(smooth, "CMYK"), "jpeg", quality=100, subsampling=0),
        "YCCK": imagecodecs.jpeg8_encode(255 - smooth, level=100, colorspace="CMYK", outcolorspace="YCCK"),
    }.items():
        header, pixels = read(made)
        assert header.fields["source_mode"] == mode
        assert np.abs(pixels.astype(int) - plain_rgb(smooth)).max() <= 6, mode  # JPEG is lossy; inverted it is 200


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


UPRIGHT: dict[int, Callable[[NDArray[np.generic]], NDArray[np.generic]]] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright_by_exif(orientation: int) -> None:
    told = orientation if orientation > 1 else None
    narrow, square, deep = noise(4, 6, 3), noise(5, 5, 3), wide(4, 6, 3)
    tag = [(274, "H", 1, orientation, True)]
    exif = oriented(orientation)
    for pixels in (narrow, square):
        upright = UPRIGHT[orientation](pixels)
        holds(pillow(pixels, "png", exif=exif), upright, None, told)
        behind = with_chunk(pillow(pixels, "png"), b"eXIf", exif.tobytes()[6:], b"IEND")
        holds(behind, upright, None, told)
        holds(pillow(pixels, "webp", lossless=True, exif=exif), upright, None, told)
        for compression in (None, "zlib"):
            holds(tiff(pixels, photometric="rgb", compression=compression, extratags=tag), upright, None, told)
    for compression in (None, "zlib"):
        made = tiff(deep, photometric="rgb", compression=compression, extratags=tag)
        holds(made, UPRIGHT[orientation](deep), None, told)
        made = tiff(deep[..., 0], photometric="minisblack", compression=compression, extratags=tag)
        holds(made, UPRIGHT[orientation](deep[..., 0]), None, told)
    deep_png = with_chunk(imagecodecs.png_encode(deep), b"eXIf", exif.tobytes()[6:], b"IDAT")
    holds(deep_png, UPRIGHT[orientation](deep), None, told)
    flat = np.zeros((16, 24), np.uint8)
    flat[:8, :8] = 255  # a corner tells the eight apart but for mirrored ones, which the lossless kinds tell
    header, pixels = read(pillow(flat, "jpeg", quality=100, exif=exif))
    assert header.fields.get("source_orientation") == told
    assert np.abs(pixels[..., 0].astype(int) - UPRIGHT[orientation](flat)).max() < 8


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_is_not_taken(orientation: int) -> None:
    holds(pillow(noise(4, 6), "png", exif=oriented(orientation)), noise(4, 6))


def test_a_second_view_behind_a_photo_does_not_matter() -> None:
    photo = Image.fromarray(np.full((8, 8), 77, np.uint8))
    made = pillow(photo, "mpo", save_all=True, append_images=[photo])
    holds(made, np.full((8, 8), 77, np.uint8))


REFUSED = {
    "32-bit": lambda: tiff(np.ones((4, 5), np.float32)),
    "float 64-bit": lambda: tiff(np.ones((4, 5), np.float64)),
    "32-bit samples": lambda: tiff(np.ones((4, 5), np.uint32)),
    "signed 8-bit": lambda: tiff(np.ones((4, 5), np.int8)),
    "signed 16-bit samples that are neither": lambda: tiff(np.ones((4, 5), np.int16), photometric="miniswhite"),
    "float 16-bit": lambda: tiff(np.ones((4, 5, 3), np.float16), photometric="rgb"),
    "colour space other than grey": lambda: tiff(wide(4, 5, 4), photometric="separated", planarconfig="contig"),
    "multiplied by their alpha": lambda: tiff(wide(4, 5, 4), photometric="rgb", extrasamples=["assocalpha"]),
    "4 channels, of which 1": lambda: tiff(wide(4, 5, 4), photometric="rgb", extrasamples=["unspecified"]),
    "4 channels, of which 1 are": lambda: tiff(noise(4, 5, 4), photometric="rgb", extrasamples=["unspecified"]),
    "5 channels": lambda: tiff(noise(4, 5, 5), photometric="minisblack", planarconfig="contig"),
    "colour mode LAB": lambda: pillow(Image.new("LAB", (4, 4)), "tiff"),
    "empty file": lambda: b"",
    "not an image": lambda: b"this is a text",
    "damaged": lambda: b"II*\0\x08\0\0\0",
    "damaged: a TIFF": lambda: b"MM\0*\0\0\0\x08" + bytes(8),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_kept_is_refused_by_its_header(words: str) -> None:
    data = REFUSED[words]()
    for reader in (read_header, read_image):
        with pytest.raises(UnreadableImageError, match=words) as raised:
            reader(BytesIO(data))
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_damaged_files_of_sixteen_bits_are_refused(kind: str, channels: int) -> None:
    pixels = wide(40, 40, channels).squeeze()
    whole = imagecodecs.png_encode(pixels) if kind == "png" else tiff(pixels, compression="zlib")
    with pytest.raises(UnreadableImageError):
        read_image(BytesIO(whole[: len(whole) // 2]))


def test_no_bit_of_a_png_can_change_its_pixels_without_a_word() -> None:
    slope = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)
    whole = pillow(slope, "png")
    refused = 0
    for place in range(len(whole) - 100, len(whole)):  # where Pillow has all pixels before the checksum of zlib
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            try:
                np.testing.assert_array_equal(read_image(BytesIO(damaged))[1][..., 0], slope)
            except UnreadableImageError:
                refused += 1
    assert refused > 600


@pytest.mark.parametrize("make", [lambda a: pillow(a, "png"), lambda a: pillow(a, "bmp"), tiff])
def test_a_bomb_is_refused_before_it_is_decoded(make: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    bombs = [
        make(np.zeros((60, 60), np.uint8)),
        tiff(wide(60, 60, 3), photometric="rgb"),
        imagecodecs.png_encode(wide(60, 60, 3)),
    ]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    for bomb in bombs:
        for reader in (read_header, read_image):
            with pytest.raises(UnreadableImageError, match=r"too many pixels \(more than 3,000\)"):
                reader(BytesIO(bomb))


def test_headers_are_read_without_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = Image.fromarray(noise(30, 40, 3))
    files = {
        kind: pillow(photo, kind, **({"exif": oriented(6)} if kind in ("png", "jpeg", "webp") else {}))
        for kind in ("png", "jpeg", "webp", "bmp", "gif", "tiff")
    }
    files["wide png"] = imagecodecs.png_encode(wide(30, 40, 3))
    files["wide tiff"] = tiff(wide(30, 40, 3), photometric="rgb")
    expected = {name: read_image(BytesIO(data))[0] for name, data in files.items()}
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    monkeypatch.setitem(__import__("sys").modules, "imagecodecs", None)
    assert {name: read_header(BytesIO(data)) for name, data in files.items()} == expected


def test_a_network_that_fails_is_not_the_fault_of_the_file() -> None:
    class Failing(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= 600:
                raise SourceError("s3://bucket/a.png: no answer")
            return super().read(size)

    data = pillow(noise(40, 40, 3), "png")
    with pytest.raises(SourceError, match="no answer"):
        read_image(Failing(data))

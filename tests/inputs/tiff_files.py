"""Cases of TIFF files."""

from io import BytesIO

import numpy as np
import tifffile
from PIL import Image

from inputs.case import Case
from inputs.making import image, noise, pillow, plain_rgb, refused, smooth, tiff, upright, wide


def cases() -> list[Case]:
    return [*_eight_bits(), *_sixteen_bits(), *_converted(), *_rarely_compressed(), *_odd()]


def _eight_bits() -> list[Case]:
    grey, rgb, rgba, large = noise(5, 6), noise(5, 6, 3), noise(5, 6, 4), noise(40, 50, 3)
    planes = tiff(np.moveaxis(rgb, 2, 0), photometric="rgb", planarconfig="separate")
    return [
        image("TIFF, 8 bits, grey", "tifffile", ".tif", tiff(grey), grey),
        image("TIFF, 8 bits, grey, LZW", "Pillow", ".tif", pillow(grey, "tiff", compression="tiff_lzw"), grey),
        image("TIFF, 8 bits, RGB, deflate", "Pillow", ".tif", pillow(rgb, "tiff", compression="tiff_deflate"), rgb),
        image("TIFF, 8 bits, RGB, big endian", "tifffile", ".tif", tiff(rgb, photometric="rgb", byteorder=">"), rgb),
        image("TIFF, 8 bits, RGB, by planes", "tifffile", ".tif", planes, rgb),
        image(
            "TIFF, 8 bits, RGB, LZW, predictor, tiles",
            "tifffile",
            ".tif",
            tiff(large, photometric="rgb", compression="lzw", predictor=True, tile=(16, 16)),
            large,
        ),
        image(
            "TIFF, 8 bits, RGBA",
            "tifffile",
            ".tiff",
            tiff(rgba, photometric="rgb", extrasamples=["unassalpha"]),
            rgba,
        ),
    ]


def _sixteen_bits() -> list[Case]:
    grey, rgb, rgba, large = wide(5, 6), wide(5, 6, 3), wide(5, 6, 4), wide(40, 50, 3)
    planes = tiff(np.moveaxis(rgb, 2, 0), photometric="rgb", planarconfig="separate")
    alpha = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    tiles = tiff(large, photometric="rgb", compression="zlib", predictor=True, tile=(16, 16))
    return [
        image("TIFF, 16 bits, grey", "Pillow", ".tif", pillow(grey, "tiff"), grey),
        image("TIFF, 16 bits, grey, big endian", "tifffile", ".tif", tiff(grey, byteorder=">"), grey),
        image("TIFF, 16 bits, grey, deflate, tiles", "tifffile", ".tif", *_grey_tiles()),
        image("TIFF, 16 bits, RGB, LZW", "tifffile", ".tif", tiff(rgb, photometric="rgb", compression="lzw"), rgb),
        image("TIFF, 16 bits, RGB, by planes", "tifffile", ".tif", planes, rgb),
        image("TIFF, 16 bits, RGB, deflate, predictor, tiles", "tifffile", ".tif", tiles, large),
        image("TIFF, 16 bits, RGBA, big endian", "tifffile", ".tif", tiff(rgba, byteorder=">", **alpha), rgba),
        image("TIFF, 16 bits, signed", "tifffile", ".tif", tiff(grey.view(np.int16)), grey.view(np.int16)),
        image("TIFF, 16 bits, signed, RGB", "tifffile", ".tif", *_signed_colours()),
        image("BigTIFF, 16 bits, RGB", "tifffile", ".tif", tiff(rgb, photometric="rgb", bigtiff=True), rgb),
    ]


def _grey_tiles() -> tuple[bytes, np.ndarray]:
    pixels = wide(40, 50)
    return tiff(pixels, compression="zlib", tile=(16, 16)), pixels


def _signed_colours() -> tuple[bytes, np.ndarray]:
    pixels = wide(5, 6, 3).view(np.int16)
    return tiff(pixels, photometric="rgb", compression="zlib", predictor=True, byteorder=">"), pixels


def _converted() -> list[Case]:
    grey, deep, rgb, inks = noise(5, 6), wide(5, 6), noise(5, 6, 3), noise(5, 6, 4)
    two = grey > 127
    levels, colours = noise(5, 6) % 7, noise(7, 3, seed=1)
    palette = Image.fromarray(levels)
    palette.putpalette(colours.ravel().tobytes())
    multiplied = np.dstack([rgb // 2, np.full((5, 6), 200, np.uint8)])
    divided = np.dstack([np.minimum(multiplied[..., :3].astype(int) * 255 // 200, 255), multiplied[..., 3]])
    alpha = {"photometric": "rgb", "extrasamples": ["assocalpha"]}
    turned = tiff(rgb, photometric="rgb", extratags=[(274, "H", 1, 8, True)])
    return [
        image(
            "TIFF, 1 bit, fax",
            "Pillow",
            ".tif",
            pillow(Image.fromarray(two), "tiff", compression="group4"),
            two * 255 if False else (two * np.uint8(255)).astype(np.uint8),
            "1",
        ),
        image("TIFF, 8 bits, white is 0", "tifffile", ".tif", tiff(255 - grey, photometric="miniswhite"), grey, "L;I"),
        image(
            "TIFF, 16 bits, white is 0", "tifffile", ".tif", tiff(65535 - deep, photometric="miniswhite"), deep, "L;I"
        ),
        image("TIFF, palette", "Pillow", ".tif", pillow(palette, "tiff"), colours[levels], "P"),
        image("TIFF, CMYK", "tifffile", ".tif", tiff(inks, photometric="separated"), plain_rgb(inks), "CMYK"),
        image(
            "TIFF, RGB multiplied by alpha",
            "tifffile",
            ".tif",
            tiff(multiplied, **alpha),
            divided.astype(np.uint8),
            "RGBa",
        ),
        image("TIFF, RGB, JPEG", "tifffile", ".tif", *_jpeg()),
        image("TIFF, RGB, orientation 8", "tifffile", ".tif", turned, upright(rgb, 8), None, 8),
    ]


def _jpeg() -> tuple[bytes, np.ndarray]:
    data = tiff(smooth(32, 48, 3), photometric="rgb", compression="jpeg", compressionargs={"level": 90}, tile=(16, 16))
    return data, tifffile.imread(BytesIO(data))


def _rarely_compressed() -> list[Case]:
    rgb = noise(40, 50, 3)
    kinds = {
        "LERC": {"compression": "lerc"},
        "JPEG 2000": {"compression": "jpeg2000", "compressionargs": {"reversible": True}},
        "JPEG XL": {"compression": "jpegxl"},
        "PNG": {"compression": "png"},
        "WebP": {"compression": "webp", "compressionargs": {"lossless": True}},
        "Zstandard": {"compression": "zstd"},
        "LZMA": {"compression": "lzma"},
    }
    files = {name: tiff(rgb, photometric="rgb", tile=(16, 16), **options) for name, options in kinds.items()}
    return [image(f"TIFF, RGB, {name}, tiles", "tifffile", ".tif", data, rgb) for name, data in files.items()]


def _odd() -> list[Case]:
    whole = tiff(wide(40, 50, 3), photometric="rgb", compression="zlib")
    return [
        refused("TIFF, 32-bit float", "tifffile", "a.tif", tiff(np.ones((4, 5), np.float32)), "32-bit"),
        refused("TIFF, 32-bit unsigned", "tifffile", "a.tif", tiff(np.ones((4, 5), np.uint32)), "32-bit"),
        refused("TIFF, 8-bit signed", "tifffile", "a.tif", tiff(np.ones((4, 5), np.int8)), "signed 8-bit"),
        refused("TIFF, a compression that is not read", "tifffile, changed", "a.tif", _other_scheme(), "not read"),
        refused("TIFF, RGB, JPEG XR", "tifffile", "a.tif", _jpeg_xr(), "not read (JPEG XR)"),
        refused(
            "TIFF, 5 channels",
            "tifffile",
            "a.tif",
            tiff(noise(4, 5, 5), photometric="minisblack", planarconfig="contig"),
            "5 channels",
        ),
        refused("TIFF, 12 bits", "tifffile", "a.tif", _twelve(), "12"),
        refused("TIFF whose header says 1,000,000 pixels each way", "tifffile, changed", "a.tif", _huge(), "too many"),
        refused("TIFF, LAB", "Pillow", "a.tif", pillow(Image.new("LAB", (4, 4)), "tiff"), "LAB"),
        refused("TIFF, 16 bits, RGB, cut in half", "tifffile", "a.tif", whole[: len(whole) // 2], "damaged"),
    ]


def _twelve() -> bytes:
    """Pack samples of 12 bits as cameras do: two samples in three bytes."""
    return _patched(tiff(noise(4, 6, seed=1)[:, :6]), {258: 12})


def _jpeg_xr() -> bytes:
    return tiff(noise(40, 50, 3), photometric="rgb", compression="jpegxr")


def _other_scheme() -> bytes:
    return _patched(tiff(noise(40, 50), compression="zlib"), {259: 34661})


def _huge() -> bytes:
    return _patched(tiff(noise(4, 5)), {256: 10**6, 257: 10**6})


def _patched(data: bytes, tags: dict[int, int]) -> bytes:
    """Return a little-endian TIFF file with other values of some tags."""
    changed = bytearray(data)
    start = int.from_bytes(data[4:8], "little") + 2
    for place in range(start, start + 12 * int.from_bytes(data[start - 2 : start], "little"), 12):
        tag = int.from_bytes(data[place : place + 2], "little")
        if tag in tags:
            size = 2 if data[place + 2] == 3 else 4
            changed[place + 8 : place + 8 + size] = tags[tag].to_bytes(size, "little")
    return bytes(changed)

"""Cases of further kinds of image files, and of files that are no images."""

import struct

import imagecodecs
import numpy as np
from PIL import Image

from inputs.case import Case, Pixels
from inputs.making import exif, image, noise, pillow, png, refused, smooth, upright, wide


def cases() -> list[Case]:
    return [*_webp(), *_gif(), *_bmp(), *_no_images()]


def _webp() -> list[Case]:
    rgb, rgba = smooth(20, 30, 3), noise(5, 6, 4)
    lossy = pillow(rgb, "webp", quality=80)
    turned = pillow(noise(5, 6, 3), "webp", lossless=True, exif=exif(3))
    lossless = imagecodecs.webp_encode(noise(5, 6, 3), lossless=True)
    with_alpha = pillow(rgba, "webp", lossless=True, exact=True)
    return [
        image("WebP, lossy", "Pillow", ".webp", lossy, imagecodecs.webp_decode(lossy)),
        image("WebP, lossless", "imagecodecs", ".webp", lossless, noise(5, 6, 3)),
        image("WebP, lossless, RGBA", "Pillow", ".webp", with_alpha, rgba),
        image("WebP, EXIF orientation 3", "Pillow", ".webp", turned, upright(noise(5, 6, 3), 3), None, 3),
    ]


def _palette() -> tuple[Image.Image, np.ndarray, np.ndarray]:
    levels, colours = noise(5, 6) % 7, noise(7, 3, seed=1)
    made = Image.fromarray(levels)
    made.putpalette(colours.ravel().tobytes())
    return made, levels, colours


def _gif() -> list[Case]:
    made, levels, colours = _palette()
    clear = np.dstack([colours[levels], np.where(levels == 2, 0, 255).astype(np.uint8)])
    grey, greys = noise(5, 6), np.arange(256, dtype=np.uint8).reshape(8, 32)
    return [
        image("GIF", "Pillow", ".gif", pillow(made, "gif"), colours[levels], "P"),
        image("GIF, one colour transparent", "Pillow", ".gif", pillow(made, "gif", transparency=2), clear, "P"),
        image("GIF, all 256 greys", "Pillow", ".gif", pillow(greys, "gif"), greys),
        image("GIF, some greys", "Pillow", ".gif", pillow(grey, "gif"), np.repeat(grey[..., None], 3, 2), "P"),
    ]


def _bmp() -> list[Case]:
    made, levels, colours = _palette()
    two = noise(5, 6) > 127
    return [
        image("BMP, RGB", "imagecodecs", ".bmp", imagecodecs.bmp_encode(noise(5, 6, 3)), noise(5, 6, 3)),
        image("BMP, grey", "Pillow", ".bmp", pillow(noise(5, 6), "bmp"), noise(5, 6)),
        image(
            "BMP, 32 bits, fourth byte unused", "Pillow", ".bmp", pillow(noise(5, 6, 4), "bmp"), noise(5, 6, 4)[..., :3]
        ),
        image(
            "BMP, 32 bits, alpha (version 5)", "bytes by the BMP specification", ".bmp", _with_alpha(), noise(5, 6, 4)
        ),
        image("BMP, 16 bits, 5-6-5", "bytes by the BMP specification", ".bmp", *_five_six_five(), "RGB;565"),
        refused("BMP whose header says 1,000,000 pixels each way", "Pillow, changed", "a.bmp", _huge_bmp(), "too many"),
        image("BMP, palette", "Pillow", ".bmp", pillow(made, "bmp"), colours[levels], "P"),
        image("BMP, 1 bit", "Pillow", ".bmp", pillow(Image.fromarray(two), "bmp"), two.astype(np.uint8) * 255, "1"),
    ]


def _bmp_bytes(masks: tuple[int, ...], bits: int, rows: Pixels) -> bytes:
    """Make a BMP file with masks of samples; `rows` from the top, each a multiple of 4 bytes long."""
    size = {3: 40, 4: 124}[len(masks)]
    body = rows[::-1].tobytes()
    known = struct.pack("<IiiHHIIiiII", size, 6, 5, 1, bits, 3, len(body), 0, 0, 0, 0) + struct.pack(
        f"<{len(masks)}I", *masks
    )
    known = known.ljust(size, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + len(known) + len(body), 0, 0, 14 + len(known)) + known + body


def _huge_bmp() -> bytes:
    made = pillow(noise(5, 6, 3), "bmp")
    return made[:18] + struct.pack("<II", 10**6, 10**6) + made[26:]


def _with_alpha() -> bytes:
    return _bmp_bytes((0xFF0000, 0xFF00, 0xFF, 0xFF000000), 32, noise(5, 6, 4)[..., [2, 1, 0, 3]])


def _five_six_five() -> tuple[bytes, Pixels]:
    red, green, blue = (wide(5, 6, seed=seed) % levels for seed, levels in enumerate((32, 64, 32)))
    data = _bmp_bytes((0xF800, 0x7E0, 0x1F), 16, (red << 11 | green << 5 | blue).astype("<u2"))
    spread = [np.floor(part * 255 / most).astype(np.uint8) for part, most in ((red, 31), (green, 63), (blue, 31))]
    return data, np.dstack(spread)


def _no_images() -> list[Case]:
    return [
        refused("an empty file called .png", "bytes by hand", "a.png", b"", "empty"),
        refused("a text called .png", "bytes by hand", "a.png", b"This is a text.\n", "not an image"),
        refused(
            "an HTML page called .jpg", "bytes by hand", "a.jpg", b"<!DOCTYPE html><title>404</title>", "not an image"
        ),
        refused("a text file", "bytes by hand", "notes.txt", b"These are notes.\n", "suffix"),
        refused("a pickle called .png", "bytes by hand", "a.png", b"\x80\x04cos\nsystem\n.", "not an image"),
        refused("a program called .png", "bytes by hand", "a.png", b"\x7fELF" + png(noise(4, 5)), "not an image"),
    ]

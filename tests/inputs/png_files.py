"""Cases of PNG files."""

import zlib

import imagecodecs
import numpy as np
from PIL import Image

from inputs.case import Case, Pixels
from inputs.making import chunk, exif, image, noise, pillow, png, refused, upright, wide, with_chunk

_ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def cases() -> list[Case]:
    return [*_eight_bits(), *_palettes_and_transparency(), *_few_bits(), *_sixteen_bits(), *_odd()]


def _eight_bits() -> list[Case]:
    made = [
        image(f"PNG, 8 bits, {words}", "Pillow", ".png", png(noise(5, 6, n).squeeze()), noise(5, 6, n))
        for n, words in enumerate(["grey", "grey + alpha", "RGB", "RGBA"], 1)
    ]
    turned = pillow(noise(5, 6, 3), "png", exif=exif(6))
    return [
        *made,
        image("PNG, RGB, interlaced", "bytes by the PNG specification", ".png", *_interlaced()),
        image("PNG, RGB, EXIF orientation 6", "Pillow", ".png", turned, upright(noise(5, 6, 3), 6), None, 6),
        image("a PNG file called .jpg", "Pillow", ".jpg", png(noise(5, 6)), noise(5, 6)),
    ]


def _few_bits() -> list[Case]:
    black_white = np.indices((5, 6)).sum(0) % 2 == 0
    two, four = (np.arange(30, dtype=np.uint8).reshape(5, 6) % (1 << bits) for bits in (2, 4))
    yield_1 = pillow(Image.fromarray(black_white), "png")
    return [
        image("PNG, 1 bit, grey", "Pillow", ".png", yield_1, black_white.astype(np.uint8) * 255, "1"),
        image("PNG, 2 bits, grey", "bytes by the PNG specification", ".png", _grey(two, 2), two * 85, "L;2"),
        image("PNG, 4 bits, grey", "bytes by the PNG specification", ".png", _grey(four, 4), four * 17, "L;4"),
        *(_few_bits_and_transparency(bits, levels) for bits, levels in ((1, two % 2), (2, two), (4, four))),
    ]


def _few_bits_and_transparency(bits: int, levels: Pixels) -> Case:
    clear = (1 << bits) - 2  # with 2 and 4 bits, another value once it is spread over 8
    data = with_chunk(_grey(levels, bits), b"tRNS", bytes([0, clear]))
    expected = np.dstack([levels * (255 // ((1 << bits) - 1)), np.where(levels == clear, 0, 255)]).astype(np.uint8)
    np.testing.assert_array_equal(imagecodecs.png_decode(data), expected)
    mode = "1;tRNS" if bits == 1 else f"L;{bits};tRNS"
    what = f"PNG, {bits} bit{'s' if bits > 1 else ''}, grey, one value transparent (tRNS)"
    return image(what, "bytes by the PNG specification", ".png", data, expected, mode)


def _palettes_and_transparency() -> list[Case]:
    levels, colours = noise(5, 6) % 16, noise(16, 3, seed=1)
    palette = Image.fromarray(levels)
    palette.putpalette(colours.ravel().tobytes())
    alpha = noise(16, seed=2)
    clear = with_chunk(png(noise(5, 6)), b"tRNS", bytes([0, noise(5, 6)[1, 2]]))
    grey = noise(5, 6)
    see_through = np.stack([grey, np.where(grey == grey[1, 2], 0, 255)], 2).astype(np.uint8)
    rgb = noise(5, 6, 3)
    one = tuple(int(value) for value in rgb[1, 2])
    opaque = np.where((rgb == rgb[1, 2]).all(2), 0, 255).astype(np.uint8)
    in_colours = np.concatenate([colours[levels], alpha[levels][..., None]], 2)
    return [
        image("PNG, palette of 16 colours (4 bits)", "Pillow", ".png", pillow(palette, "png"), colours[levels], "P"),
        image(
            "PNG, palette with alpha",
            "Pillow",
            ".png",
            pillow(palette, "png", transparency=alpha.tobytes()),
            in_colours,
            "P",
        ),
        image("PNG, grey, one value transparent (tRNS)", "Pillow, chunk added", ".png", clear, see_through, "L;tRNS"),
        image(
            "PNG, RGB, one colour transparent (tRNS)",
            "Pillow",
            ".png",
            pillow(rgb, "png", transparency=one),
            np.dstack([rgb, opaque]),
            "RGB;tRNS",
        ),
    ]


def _sixteen_bits() -> list[Case]:
    made = [
        image(
            f"PNG, 16 bits, {words}",
            "imagecodecs",
            ".png",
            imagecodecs.png_encode(wide(5, 6, n).squeeze()),
            wide(5, 6, n),
        )
        for n, words in enumerate(["grey", "grey + alpha", "RGB", "RGBA"], 1)
    ]
    return [image("PNG, 16 bits, grey", "Pillow", ".png", pillow(wide(5, 6), "png"), wide(5, 6)), *made]


def _odd() -> list[Case]:
    whole = png(noise(40, 50, 3))
    bomb = pillow(Image.new("1", (10_000, 9_000)), "png")
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", _head(2**31 - 1, 2**31 - 1, 8, 2))
    zero = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", _head(0, 5, 8, 0)) + _rest(b"")
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255
    return [
        refused("PNG, cut in half", "Pillow", "a.png", whole[: len(whole) // 2], "damaged"),
        refused("PNG, one byte changed", "Pillow", "a.png", bytes(damaged), "checksum"),
        refused("PNG of 10,000x9,000 pixels in 11 kB", "Pillow", "a.png", bomb, "too many pixels"),
        refused(
            "PNG whose header says 2,147,483,647 pixels each way",
            "bytes by hand",
            "a.png",
            head + _rest(b""),
            "too many",
        ),
        refused("PNG whose header says 0 pixels", "bytes by hand", "a.png", zero, "0"),
    ]


def _head(width: int, height: int, bits: int, colour_type: int, interlaced: bool = False) -> bytes:
    return width.to_bytes(4) + height.to_bytes(4) + bytes([bits, colour_type, 0, 0, int(interlaced)])


def _rest(rows: bytes) -> bytes:
    return chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _grey(levels: Pixels, bits: int) -> bytes:
    """Make a grey PNG file of 1, 2 or 4 bits, which Pillow does not write."""
    rows = np.packbits(np.unpackbits(levels[..., None], axis=2)[..., 8 - bits :].reshape(len(levels), -1), axis=1)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", _head(levels.shape[1], len(levels), bits, 0))
        + _rest(b"".join(b"\0" + row.tobytes() for row in rows))
    )


def _interlaced() -> tuple[bytes, Pixels]:
    """Return the rows of the seven passes of Adam7, none of them filtered."""
    pixels = noise(9, 11, 3)
    passes = [pixels[top::down, left::right] for top, left, down, right in _ADAM7]
    rows = b"".join(b"\0" + part[row].tobytes() for part in passes if part.size for row in range(len(part)))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", _head(11, 9, 8, 2, interlaced=True)) + _rest(rows)
    np.testing.assert_array_equal(imagecodecs.png_decode(data), pixels)
    return data, pixels

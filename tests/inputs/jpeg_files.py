"""Cases of JPEG files; another decoder (imagecodecs) gives the expected pixels."""

import imagecodecs
import numpy as np
from PIL import Image

from inputs.case import Case, Pixels
from inputs.making import exif, fields_of, image, noise, pillow, plain_rgb, refused, smooth, upright, wide

# 300 * row + 37 * column of 9x11 pixels, by `jpeg_ls.encode_array` of pyjpegls 1.5.1; imagecodecs writes 8 and 16 bits.
LS_OF_12_BITS = bytes.fromhex(
    "ffd8fff7000b0c0009000b01011100ffda000801010000000092525251d150d07fa4a3802c2524232221207ef9e9280163c76e9cb86ed8a94241"
    "564c91120fbef3ae918aa71c71b6da69a688854b2cb2cb0c30c30422a175d75d75d65962024eb2cb2cb2cab5afc9335ad6b58c631f00ffd9"
)


def cases() -> list[Case]:
    return [*_colours(), *_suffixes(), *_inks(), *_orientations(), *_odd(), *_deep()]


def _decoded(data: bytes) -> Pixels:
    pixels: Pixels = imagecodecs.jpeg8_decode(data)
    return pixels


def _colours() -> list[Case]:
    made = {
        "JPEG, grey": ("Pillow", pillow(smooth(20, 30, 1)[..., 0], "jpeg", quality=90)),
        "JPEG, RGB, 4:2:0": ("Pillow", pillow(smooth(20, 30, 3), "jpeg", quality=75)),
        "JPEG, RGB, 4:4:4, progressive": (
            "Pillow",
            pillow(smooth(20, 30, 3), "jpeg", quality=95, subsampling=0, progressive=True),
        ),
        "JPEG, RGB": ("imagecodecs", imagecodecs.jpeg8_encode(smooth(20, 30, 3), level=90)),
        "JPEG stored as RGB (Adobe, no YCbCr)": (
            "imagecodecs",
            imagecodecs.jpeg8_encode(smooth(20, 30, 3), level=90, colorspace="RGB", outcolorspace="RGB"),
        ),
    }
    return [image(what, maker, ".jpg", data, _decoded(data)) for what, (maker, data) in made.items()]


def _suffixes() -> list[Case]:
    data = pillow(smooth(20, 30, 3), "jpeg", quality=75)
    return [image(f"JPEG called `{suffix}`", "Pillow", suffix, data, _decoded(data)) for suffix in (".jfif", ".jpe")]


def _inks() -> list[Case]:
    inks = smooth(20, 30, 4)
    cmyk = pillow(Image.fromarray(inks, "CMYK"), "jpeg", quality=95)
    ycck = imagecodecs.jpeg8_encode(255 - inks, level=95, colorspace="CMYK", outcolorspace="YCCK")
    return [
        image("JPEG, CMYK (Adobe)", "Pillow", ".jpg", cmyk, _of_inks(cmyk, inks), "CMYK"),
        image("JPEG, YCCK (Adobe)", "imagecodecs", ".jpg", ycck, _of_inks(ycck, inks), "YCCK"),
    ]


def _of_inks(data: bytes, original: Pixels) -> Pixels:
    """Convert the inks of a file by the formula. Adobe's inks are inverted; `original` checks that."""
    inks = 255 - imagecodecs.jpeg8_decode(data, outcolorspace="CMYK")
    assert np.abs(inks.astype(int) - original).mean() < 20
    return plain_rgb(inks)


def _orientations() -> list[Case]:
    made = {turn: pillow(smooth(20, 30, 3), "jpeg", quality=90, exif=exif(turn)) for turn in range(1, 9)}
    return [
        image(
            f"JPEG, EXIF orientation {turn}",
            "Pillow",
            ".jpg",
            data,
            upright(_decoded(data), turn),
            None,
            turn if turn > 1 else None,
        )
        for turn, data in made.items()
    ]


def _odd() -> list[Case]:
    first, second = (Image.fromarray(smooth(20, 30, 3) + shade) for shade in (0, 9))
    views = pillow(first, "mpo", save_all=True, append_images=[second], quality=90)
    whole = pillow(noise(64, 64, 3), "jpeg")
    no_end = whole[:-2]
    frame = whole.index(b"\xff\xc0") + 5
    huge = whole[:frame] + b"\xff\xdc" * 2 + whole[frame + 4 :]
    return [
        image("JPEG with a second view (MPO)", "Pillow", ".jpg", views, _decoded(views)),
        refused("JPEG, cut in half", "Pillow", "a.jpg", whole[: len(whole) // 2], "damaged"),
        refused("JPEG without its end mark", "Pillow, cut", "a.jpg", no_end, "damaged"),
        refused("JPEG whose header says 65,500 pixels each way", "Pillow, changed", "a.jpg", huge, "too many"),
    ]


def _deep() -> list[Case]:
    grey, rgb, deep = wide(20, 30) % 4096, wide(20, 30, 3) % 4096, wide(20, 30)
    twelve = imagecodecs.jpeg8_encode(smooth(20, 30, 3).astype(np.uint16) * 16, level=95, bitspersample=12)
    turned = _with_exif(imagecodecs.jpeg8_encode(grey, lossless=True, bitspersample=12), exif(6))
    lossless, ten = imagecodecs.ljpeg_encode(deep, bitspersample=16), wide(20, 30) % 1024
    bits = {"significant_bits": 12}
    ls = imagecodecs.jpegls_encode(grey)
    slope = (300 * np.arange(9)[:, None] + 37 * np.arange(11)).astype(np.uint16)
    return [
        fields_of("JPEG of 12 bits", "imagecodecs", ".jpg", twelve, _decoded(twelve), **bits),
        fields_of("JPEG, lossless, 16 bits", "imagecodecs", ".jpg", lossless, deep),
        fields_of(
            "JPEG, lossless, RGB of 12 bits", "imagecodecs", ".jpg", _lossless(rgb, bitspersample=12), rgb, **bits
        ),
        fields_of(
            "JPEG, lossless, 10 bits",
            "imagecodecs",
            ".jpeg",
            _lossless(ten, bitspersample=10),
            ten,
            significant_bits=10,
        ),
        fields_of(
            "JPEG, lossless, 12 bits, EXIF orientation 6",
            "imagecodecs, EXIF by Pillow",
            ".jpg",
            turned,
            upright(grey, 6),
            source_orientation=6,
            **bits,
        ),
        fields_of("JPEG-LS, 12 bits", "pyjpegls 1.5.1", ".jls", LS_OF_12_BITS, slope, **bits),
        fields_of("JPEG-LS, 16 bits", "imagecodecs", ".jls", ls, grey),
        fields_of("JPEG-LS, RGB", "imagecodecs", ".jls", imagecodecs.jpegls_encode(noise(20, 30, 3)), noise(20, 30, 3)),
        refused("JPEG of 12 bits, cut", "imagecodecs, cut", "a.jpg", twelve[:-40], "cut off"),
        refused("JPEG-LS, cut", "imagecodecs, cut", "a.jls", ls[:-40], "damaged"),
        refused(
            "JPEG of 12 bits, CMYK",
            "imagecodecs, changed",
            "a.jpg",
            _with_channels(twelve, 4),
            "4 channels",
        ),
    ]


def _lossless(pixels: Pixels, **options: object) -> bytes:
    made: bytes = imagecodecs.jpeg8_encode(pixels, lossless=True, **options)
    return made


def _with_exif(data: bytes, said: Image.Exif) -> bytes:
    content = b"Exif\0\0" + said.tobytes().removeprefix(b"Exif\0\0")
    return data[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2) + content + data[2:]


def _with_channels(data: bytes, channels: int) -> bytes:
    frame = data.index(b"\xff\xc1") + 9
    return data[:frame] + bytes([channels]) + data[frame + 1 :]

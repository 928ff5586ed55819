"""Cases of Netpbm files: written by Pillow and imagecodecs, or as the manual pages of Netpbm define the bytes."""

import numpy as np

from inputs.case import Case, Pixels
from inputs.making import fields_of, noise, pillow, refused, several, wide


def cases() -> list[Case]:
    return [*_written(), *_depths(), *_plain(), *_pam(), *_several(), *_refused()]


BY_HAND = "bytes by the manual page"


def raw(magic: int, maxval: int, pixels: Pixels) -> bytes:
    """Return a PGM or PPM file with its samples in bytes, or in pairs of them above 255."""
    samples = pixels.astype(">u2" if maxval > 255 else np.uint8)
    return b"P%d\n%d %d\n%d\n" % (magic, pixels.shape[1], pixels.shape[0], maxval) + samples.tobytes()


def pam(maxval: int, kind: str | None, pixels: Pixels) -> bytes:
    height, width, depth = pixels.shape
    words = f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {depth}\nMAXVAL {maxval}\n"
    words += "" if kind is None else f"TUPLTYPE {kind}\n"
    return (words + "ENDHDR\n").encode() + pixels.astype(">u2" if maxval > 255 else np.uint8).tobytes()


def _written() -> list[Case]:
    grey, rgb, deep = noise(5, 7), noise(5, 7, 3), wide(5, 7)
    bits = grey > 127
    black_is_one = np.where(bits, 255, 0).astype(np.uint8)
    return [
        fields_of("PGM", "Pillow", ".pgm", pillow(grey, "ppm"), grey),
        fields_of("PPM", "Pillow", ".ppm", pillow(rgb, "ppm"), rgb),
        fields_of("PBM, raw bits", "Pillow", ".pbm", pillow(bits, "ppm"), black_is_one, source_mode="1;I"),
        fields_of("PGM of 16 bits", "Pillow", ".pgm", pillow(deep, "ppm"), deep),
    ]


def _depths() -> list[Case]:
    ten, odd, four, rgb = wide(5, 7) % 1024, wide(5, 7) % 1001, noise(5, 7) % 16, wide(5, 7, 3)
    return [
        fields_of("PGM, largest value 1023", BY_HAND, ".pgm", raw(5, 1023, ten), ten, significant_bits=10),
        fields_of("PGM, largest value 1000", BY_HAND, ".pgm", raw(5, 1000, odd), odd, maxval=1000),
        fields_of("PGM, largest value 15", BY_HAND, ".pgm", raw(5, 15, four), four, significant_bits=4),
        fields_of("PPM of 16 bits", BY_HAND, ".ppm", raw(6, 65535, rgb), rgb),
        fields_of("a PPM file of 16 bits called .png", BY_HAND, ".png", raw(6, 65535, rgb), rgb),
    ]


def _plain() -> list[Case]:
    grey, rgb, bits = wide(5, 7) % 1024, noise(5, 7, 3), noise(5, 7) % 2
    plain_grey = b"P2 # comment\n7\n# 9 9\n5 1023\n" + " # row\n".join(
        " ".join(str(sample) for sample in row) for row in grey
    ).encode("ascii")
    plain_rgb = b"P3\n7 5\n255\n" + "\n".join(str(sample) for sample in rgb.ravel()).encode("ascii")
    plain_bits = b"P1\n7 5\n" + b"\n".join("".join(str(bit) for bit in row).encode("ascii") for row in bits)
    return [
        fields_of("PGM, plain, with comments", BY_HAND, ".pgm", plain_grey, grey, significant_bits=10),
        fields_of("PPM, plain", BY_HAND, ".ppm", plain_rgb, rgb),
        fields_of("PBM, plain, without spaces", BY_HAND, ".pbm", plain_bits, ((1 - bits) * 255), source_mode="1;I"),
    ]


def _pam() -> list[Case]:
    rgba, grey_alpha, planes = noise(5, 7, 4), wide(5, 7, 2) % 4096, noise(5, 7, 5)
    apart = np.moveaxis(planes, 2, 0)
    two = noise(5, 7, 1) % 2
    return [
        fields_of("PAM, RGB_ALPHA", BY_HAND, ".pam", pam(255, "RGB_ALPHA", rgba), rgba),
        fields_of(
            "PAM, GRAYSCALE_ALPHA of 12 bits",
            BY_HAND,
            ".pam",
            pam(4095, "GRAYSCALE_ALPHA", grey_alpha),
            grey_alpha,
            significant_bits=12,
        ),
        fields_of("PAM, BLACKANDWHITE", BY_HAND, ".pam", pam(1, "BLACKANDWHITE", two), two, significant_bits=1),
        fields_of("PAM without a kind, 3 channels", BY_HAND, ".pam", pam(255, None, rgba[..., :3]), rgba[..., :3]),
        several(
            "PAM of 5 channels that are no colours",
            BY_HAND,
            "a.pam",
            pam(255, "spectrum", planes),
            apart,
            c=[0, 1, 2, 3, 4],
            tupltype=["spectrum"] * 5,
        ),
    ]


def _several() -> list[Case]:
    frames = noise(3, 5, 7, 3)
    data = b"".join(raw(6, 255, frame) for frame in frames)
    return [several("PPM, three images in one file", BY_HAND, "a.ppm", data, frames, plane=[0, 1, 2])]


def _refused() -> list[Case]:
    grey = noise(5, 7)
    whole, good = raw(5, 255, grey), pillow(grey.astype(np.float32), "ppm")
    return [
        refused("PFM", "Pillow", "a.pfm", good, "float samples"),
        refused("PGM, cut", BY_HAND, "a.pgm", whole[:-1], "cut off"),
        refused("PGM of no rows", BY_HAND, "a.pgm", b"P5 7 0 255\n", "nothing to read"),
        refused("PGM that says 1,000,000 pixels each way", BY_HAND, "a.pgm", b"P5 1000000 1000000 255\n1", "too many"),
        refused("PGM, a sample above the largest value", BY_HAND, "a.pgm", raw(5, 15, grey), "above its largest value"),
        refused("PGM, plain, too few samples", BY_HAND, "a.pgm", b"P2 2 2 255\n1 2  33  \n", "where 4 are needed"),
        refused("PGM, largest value 65536", BY_HAND, "a.pgm", b"P5 1 1 65536\n123", "largest value"),
    ]

"""Cases of JPEG XL, AVIF, HEIC, JPEG 2000, QOI and DDS files, written by imagecodecs, pillow-heif and Pillow.

Files are lossless where the format can be, so that the pixels are those that were written.
"""

import struct
import tarfile
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pillow_heif
from PIL import Image

from inputs.case import Case, Made, Pixels, Value, group
from inputs.making import exif, fields_of, noise, pillow, refused, several, smooth, upright, wide, write


def cases() -> list[Case]:
    return [*_jpegxl(), *_avif(), *_heic(), *_jpeg2000(), *_jpegxr(), *_qoi(), *_dds(), *_together()]


def _jpegxl() -> list[Case]:
    rgb, rgba, ten, two = noise(9, 11, 3), wide(9, 11, 4), wide(9, 11, 3) % 1024, wide(9, 11, 2)
    four, frames = noise(9, 11) % 16, noise(3, 9, 11, 3)
    photo = pillow(smooth(20, 30, 3), "jpeg", quality=90, exif=exif(6))
    packed = imagecodecs.jpegxl_encode_jpeg(photo)
    lossy = imagecodecs.jpegxl_encode(smooth(20, 30, 3), level=90)
    whole = imagecodecs.jpegxl_encode(rgb, usecontainer=True)
    encode, by, suffix = imagecodecs.jpegxl_encode, "imagecodecs", ".jxl"
    return [
        fields_of("JPEG XL", by, suffix, encode(rgb), rgb),
        fields_of("JPEG XL, boxes around the codestream", by, suffix, whole, rgb),
        fields_of("JPEG XL, lossy", by, suffix, lossy, imagecodecs.jpegxl_decode(lossy)),
        fields_of("JPEG XL, RGBA of 16 bits", by, suffix, encode(rgba), rgba),
        fields_of("JPEG XL, grey + alpha of 16 bits", by, suffix, encode(two), two),
        fields_of("JPEG XL, 10 bits", by, suffix, encode(ten, bitspersample=10), ten, significant_bits=10),
        fields_of("JPEG XL, grey of 4 bits", by, suffix, encode(four, bitspersample=4), four, significant_bits=4),
        fields_of(
            "JPEG XL made of a JPEG, turned",
            by,
            suffix,
            packed,
            imagecodecs.jpegxl_decode(packed),
            source_orientation=6,
        ),
        several("JPEG XL, animated", by, "a.jxl", encode(frames), frames, frame=[0, 1, 2]),
        fields_of("a JPEG XL file called .png", by, ".png", encode(rgb), rgb),
        refused("JPEG XL of floats", by, "a.jxl", encode(noise(9, 11, 3).astype(np.float32)), "float samples"),
        refused("JPEG XL, cut", f"{by}, cut", "a.jxl", whole[:-9], "damaged"),
    ]


def _avif() -> list[Case]:
    encode, by, suffix = imagecodecs.avif_encode, "imagecodecs", ".avif"
    rgb, rgba, grey, ten, twelve = noise(9, 11, 3), noise(9, 11, 4), noise(9, 11), wide(9, 11, 3) % 1024, wide(9, 11)
    frames, lossy = noise(3, 9, 11, 3), encode(smooth(20, 30, 3), level=60)
    turned = pillow(rgb, "avif", quality=100, subsampling="4:4:4", exif=exif(5))
    times = pillow(rgba, "avif", quality=100, subsampling="4:4:4", alpha_premultiplied=True)
    decode, whole = imagecodecs.avif_decode, encode(rgb, level=100)
    grey12 = twelve % 4096
    return [
        fields_of("AVIF", by, suffix, whole, rgb),
        fields_of("AVIF, lossy", by, suffix, lossy, decode(lossy)),
        fields_of("AVIF, RGBA", by, suffix, encode(rgba, level=100), rgba),
        fields_of("AVIF, grey", by, suffix, encode(grey, level=100), grey),
        fields_of("AVIF, 10 bits", by, suffix, encode(ten, level=100, bitspersample=10), ten, significant_bits=10),
        fields_of(
            "AVIF, grey of 12 bits",
            by,
            suffix,
            encode(grey12, level=100, bitspersample=12),
            grey12,
            significant_bits=12,
        ),
        fields_of(
            "AVIF, turned and mirrored (EXIF says so too)",
            "Pillow",
            suffix,
            turned,
            upright(decode(turned), 5),
            source_orientation=5,
        ),
        fields_of("AVIF, colours multiplied by alpha", "Pillow", suffix, times, decode(times), source_mode="RGBa"),
        several("AVIF, animated", by, "a.avif", encode(frames, level=100), frames, frame=[0, 1, 2]),
        fields_of("an AVIF file called .png", by, ".png", whole, rgb),
        refused("AVIF, cut", f"{by}, cut", "a.avif", whole[:-9], "damaged"),
    ]


def heic(mode: str, *images: Pixels, **options: object) -> bytes:
    """Return a lossless HEIC file of images of one mode, as pillow-heif names it."""
    made = pillow_heif.HeifFile()
    for pixels in images:
        made.add_frombytes(mode, (pixels.shape[1], pixels.shape[0]), np.ascontiguousarray(pixels).tobytes())
    file = BytesIO()
    matrix = {"matrix_coefficients": 0} if mode.startswith("RGB") else {}
    made.save(file, quality=-1, chroma=444, **matrix, **options)
    return file.getvalue()


def _heic() -> list[Case]:
    rgb, rgba, ten, two = noise(20, 30, 3), noise(20, 30, 4), wide(20, 30, 3) % 1024, wide(20, 30, 2) % 1024
    grey, deep, images, by = noise(20, 30), wide(20, 30) % 1024, noise(2, 20, 30), "pillow-heif"
    turned = BytesIO()
    made = pillow_heif.from_pillow(Image.fromarray(rgb))
    made[0].info["exif"] = exif(6).tobytes()
    made.save(turned, quality=-1, chroma=444, matrix_coefficients=0)
    tens = {"significant_bits": 10}
    whole = heic("RGB", rgb)
    return [
        fields_of("HEIC", by, ".heic", whole, rgb),
        fields_of("HEIC called `.hif`, RGBA", by, ".hif", heic("RGBA", rgba), rgba),
        fields_of("HEIC, grey", by, ".heic", heic("L", grey), grey),
        fields_of("HEIC, 10 bits", by, ".heic", heic("RGB;16", ten << 6), ten, **tens),
        fields_of("HEIC, grey of 10 bits", by, ".heif", heic("I;16", deep << 6), deep, **tens),
        fields_of("HEIC, grey + alpha of 10 bits", by, ".heic", heic("LA;16", two << 6), two, **tens),
        fields_of(
            "HEIC, turned (EXIF says so too)",
            by,
            ".heic",
            turned.getvalue(),
            upright(rgb, 6),
            source_orientation=6,
        ),
        several("HEIC, two images", by, "a.heic", heic("L", *images), images, plane=[0, 1]),
        refused("HEIC, cut", f"{by}, cut", "a.heic", whole[:-9], "damaged"),
    ]


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def jp2(codestream: bytes, space: int, more: bytes = b"") -> bytes:
    """Return a JP2 file around a codestream. space : the enumerated colour space    more : boxes of its header"""
    right, bottom, left, top = struct.unpack(">4I", codestream[8:24])
    (count,) = struct.unpack(">H", codestream[40:42])
    sizes = struct.pack(">IIHBBBB", bottom - top, right - left, count, codestream[42], 7, 0, 0)
    colours = box(b"colr", b"\1\0\0" + struct.pack(">I", space))
    signature = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return signature + box(b"jp2h", box(b"ihdr", sizes) + colours + more) + box(b"jp2c", codestream)


def codestream(pixels: Pixels, **options: object) -> bytes:
    made: bytes = imagecodecs.jpeg2k_encode(pixels, codecformat="J2K", reversible=True, mct=False, **options)
    return made


def with_alpha(kind: int) -> bytes:
    """Return the box that says that channel 3 is this kind: 1 alpha, 2 alpha by which colours are multiplied."""
    colours = [(channel, 0, channel + 1) for channel in range(3)]
    return box(b"cdef", struct.pack(">H", 4) + b"".join(struct.pack(">3H", *one) for one in [*colours, (3, kind, 0)]))


def palette(colours: Pixels) -> bytes:
    head = struct.pack(">HB", len(colours), 3) + b"\7\7\7"
    places = b"".join(struct.pack(">HBB", 0, 1, column) for column in range(3))
    return box(b"pclr", head + colours.tobytes()) + box(b"cmap", places)


def _jpeg2000() -> list[Case]:
    rgb, rgba, grey, twelve, deep = noise(9, 11, 3), noise(9, 11, 4), noise(9, 11), wide(9, 11) % 4096, wide(9, 11, 3)
    signed, levels, colours = wide(9, 11).view(np.int16), noise(9, 11) % 7, noise(7, 3, seed=1)
    whole, ycc = pillow(rgb, "jpeg2000", irreversible=False), jp2(codestream(smooth(20, 30, 3)), 18)
    lossy = pillow(smooth(20, 30, 3), "jpeg2000", irreversible=True, quality_layers=[20])
    by, made = "imagecodecs", "imagecodecs, boxes by ISO/IEC 15444-1"
    decode = imagecodecs.jpeg2k_decode
    return [
        fields_of("JPEG 2000 (JP2)", "Pillow", ".jp2", whole, rgb),
        fields_of("JPEG 2000, bare codestream", by, ".j2k", codestream(rgb), rgb),
        fields_of("JPEG 2000, lossy", "Pillow", ".jp2", lossy, decode(lossy)),
        fields_of("JPEG 2000, grey of 12 bits", by, ".jp2", codestream(twelve, bitspersample=12), twelve, **_bits(12)),
        fields_of("JPEG 2000, RGB of 16 bits", by, ".jp2", imagecodecs.jpeg2k_encode(deep, reversible=True), deep),
        fields_of("JPEG 2000, signed 16 bits", by, ".j2c", codestream(signed), signed),
        fields_of(
            "JPEG 2000, signed 12 bits", by, ".jpc", codestream(signed >> 4, bitspersample=12), signed >> 4, **_bits(12)
        ),
        fields_of(
            "JPEG 2000, signed 8 bits", by, ".j2k", codestream(grey.view(np.int8)), _int16(grey), stored_dtype="int8"
        ),
        fields_of(
            "JPEG 2000, palette", made, ".jp2", jp2(codestream(levels), 16, palette(colours)), colours[levels], **_p()
        ),
        fields_of(
            "JPEG 2000, colours multiplied by alpha",
            made,
            ".jp2",
            jp2(codestream(rgba), 16, with_alpha(2)),
            rgba,
            alpha_associated=True,
        ),
        fields_of("JPEG 2000, sYCC", made, ".jp2", ycc, decode(ycc), source_mode="sYCC"),
        fields_of("JPEG 2000, high throughput", by, ".jph", imagecodecs.htj2k_encode(rgb, reversible=True), rgb),
        refused("JPEG 2000, a fourth channel of no kind", made, "a.jp2", _no_kind(rgba), "neither colour nor alpha"),
        refused("JPEG 2000, CMYK", made, "a.jp2", jp2(codestream(rgba), 12), "CMYK"),
        refused("JPEG 2000, cut", "Pillow, cut", "a.jp2", whole[:-9], "damaged"),
    ]


def _no_kind(rgba: Pixels) -> bytes:
    return jp2(codestream(rgba), 16, with_alpha(0xFFFF))


def _bits(bits: int) -> dict[str, int]:
    return {"significant_bits": bits}


def _p() -> dict[str, str]:
    return {"source_mode": "P"}


def _int16(grey: Pixels) -> Pixels:
    return grey.view(np.int8).astype(np.int16)


def _jpegxr() -> list[Case]:
    data = imagecodecs.jpegxr_encode(noise(9, 11, 3))
    return [refused("JPEG XR", "imagecodecs", "a.jxr", data, "no safe decoder")]


def _together() -> list[Case]:
    jxl, avif, pgm = noise(8, 10, 3), noise(8, 10, 3, seed=1), noise(8, 10, seed=2)
    files = {
        "a.jxl": imagecodecs.jpegxl_encode(jxl),
        "a.cls": b"3",
        "b.avif": imagecodecs.avif_encode(avif, level=100),
        "b.cls": b"0",
    }

    def tar(root: Path) -> Made:
        with tarfile.open(root / "a.tar", "w") as made:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                made.addfile(member, BytesIO(data))
        return Made(root / "a.tar", [group([jxl, avif], names=["a.jxl", "b.avif"], labels=[3, 0])])

    def folder(root: Path) -> Made:
        for name in ("a.jxl", "b.avif"):
            write(root / name, files[name])
        write(root / "c.PGM", pillow(pgm, "ppm"))
        write(root / "d.heif", heic("L", *noise(2, 8, 10, seed=3)))
        plane: list[Value] = [None, 0, 1]
        greys = group([pgm, *noise(2, 8, 10, seed=3)], names=["c.PGM", "d.heif#0", "d.heif#1"], fields={"plane": plane})
        colours = group([jxl, avif], names=["a.jxl", "b.avif"], fields={"plane": [None, None]})
        return Made(root, [colours, greys])

    return [
        Case("WebDataset of JPEG XL and AVIF, with labels", "imagecodecs, tarfile", tar),
        Case("a folder of JPEG XL, AVIF, PGM and HEIC", "imagecodecs, Pillow, pillow-heif", folder),
    ]


def _qoi() -> list[Case]:
    rgb, rgba, encode = noise(9, 11, 3), noise(9, 11, 4), imagecodecs.qoi_encode
    return [
        fields_of("QOI", "imagecodecs", ".qoi", encode(rgb), rgb),
        fields_of("QOI, RGBA", "imagecodecs", ".qoi", encode(rgba), rgba),
        refused("QOI, cut", "imagecodecs, cut", "a.qoi", encode(rgb)[:-9], "cut off"),
    ]


def dds_of_blocks(fourcc: bytes, pixels: bytes, height: int, width: int) -> bytes:
    """Return a DDS file of compressed blocks. fourcc : four letters, or those of DX10 and the number of the format"""
    newer = struct.pack("<5I", int.from_bytes(fourcc[4:], "little"), 3, 0, 1, 0) if len(fourcc) > 4 else b""
    head = struct.pack("<7I44x", 124, 0x1007, height, width, len(pixels), 0, 0)
    form = struct.pack("<2I4s5I", 32, 4, fourcc[:4], 0, 0, 0, 0, 0)
    return b"DDS " + head + form + struct.pack("<5I", 0x1000, 0, 0, 0, 0) + newer + pixels


def _dds() -> list[Case]:
    grey, rgb, rgba = noise(8, 12), noise(8, 12, 3), noise(8, 12, 4)
    solid = pillow(smooth(8, 12, 3), "dds", pixel_format="DXT1")
    clear = np.dstack([smooth(8, 12, 3), np.where(grey > 127, 255, 0).astype(np.uint8)])
    some, three = pillow(clear, "dds", pixel_format="DXT1"), pillow(rgba, "dds", pixel_format="DXT5")
    blocks = noise(2 * 3 * 16).tobytes()
    seven, four = dds_of_blocks(b"DX10\x62", blocks, 8, 12), dds_of_blocks(b"ATI1", blocks[:48], 8, 12)
    by_hand = "bytes by the DDS specification"
    decode = imagecodecs.dds_decode
    bcn = imagecodecs.bcn_decode(blocks, 7, shape=(8, 12, 4))
    return [
        fields_of("DDS, RGB", "Pillow", ".dds", pillow(rgb, "dds"), rgb),
        fields_of("DDS, RGBA", "Pillow", ".dds", pillow(rgba, "dds"), rgba),
        fields_of("DDS, grey", "Pillow", ".dds", pillow(grey, "dds"), grey),
        fields_of("DDS, BC1", "Pillow", ".dds", solid, _pillow_pixels(solid)[..., :3]),
        fields_of("DDS, BC1 with clear pixels", "Pillow", ".dds", some, _pillow_pixels(some)),
        fields_of("DDS, BC3", "Pillow", ".dds", three, _pillow_pixels(three)),
        fields_of("DDS, BC4", by_hand, ".dds", four, decode(four)),
        fields_of("DDS, BC7", by_hand, ".dds", seven, bcn),
        refused("DDS, BC4 of signed samples", by_hand, "a.dds", dds_of_blocks(b"BC4S", blocks, 8, 12), "signed"),
        refused("DDS, BC6H", by_hand, "a.dds", dds_of_blocks(b"DX10\x5f", blocks, 8, 12), "float"),
        refused("DDS, cut", "Pillow, cut", "a.dds", three[:-9], "damaged"),
    ]


def _pillow_pixels(data: bytes) -> Pixels:
    return np.asarray(Image.open(BytesIO(data)))

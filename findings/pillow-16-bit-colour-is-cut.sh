#!/usr/bin/env bash
# Pillow opens PNG and TIFF files of 16-bit colour as images of 8 bits, and neither mode nor info says so.
#
# Versions: Pillow 13.0.0, NumPy 2.4.6, tifffile 2026.3.3; Python 3.11.7 on Linux x86-64.
#
# RGB of 16 bits becomes mode RGB with the high byte of each sample: no error, no warning, nothing in `info`. So
# 0 and 255 become one value, and so do 256 and 511. Grey with alpha of 16 bits even becomes RGBA. Plain grey of
# 16 bits is kept (mode I;16), so a test with a grey image does not show it. Only the raw mode inside
# `image.tile` tells what lies in the file.
#
# It matters to whoever promises lossless pixels: look at the raw mode before decoding, and decode such files
# with another library.
#
# Output seen:
#
#   PNG, grey: mode I;16, raw mode I;16B, uint16 [[0, 255, 256, 511, 65535]]
#   PNG, RGB: mode RGB, raw mode RGB;16B, uint8 [[[0, 0, 1], [1, 128, 255]]]
#   PNG, grey and alpha: mode RGBA, raw mode LA;16B, uint8 [[[0, 0, 0, 255], [1, 1, 1, 1]]]
#   TIFF, RGB: mode RGB, raw mode RGB;16L, uint8 [[[0, 0, 1], [1, 128, 255]]]
#   stored RGB was: [[[0, 255, 256], [511, 32768, 65535]]]

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pillow==13.0.0 numpy==2.4.6 tifffile==2026.3.3
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io, struct, sys, warnings, zlib
import numpy as np
import tifffile
from PIL import Image

warnings.simplefilter("error")  # a warning would end this script


def png(samples, colour_type):
    """A PNG file of 16 bits a sample, one row."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    framed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def tiff(samples, photometric):
    file = io.BytesIO()
    tifffile.imwrite(file, samples, photometric=photometric, metadata=None)
    return file.getvalue()


grey = np.array([[0, 255, 256, 511, 65535]], np.uint16)
rgb = np.array([[[0, 255, 256], [511, 32768, 65535]]], np.uint16)
grey_alpha = np.array([[[255, 65535], [511, 256]]], np.uint16)
seen = {}
for name, data in {
    "PNG, grey": png(grey, 0),
    "PNG, RGB": png(rgb, 2),
    "PNG, grey and alpha": png(grey_alpha, 4),
    "TIFF, RGB": tiff(rgb, "rgb"),
}.items():
    image = Image.open(io.BytesIO(data))
    raw = image.tile[0].args
    raw = raw if isinstance(raw, str) else raw[0]
    pixels = np.asarray(image)
    seen[name] = (image.mode, str(pixels.dtype), raw)
    print(f"{name}: mode {image.mode}, raw mode {raw}, {pixels.dtype} {pixels.tolist()}")
    if name.endswith("RGB") and not np.array_equal(pixels, rgb >> 8):
        sys.exit("The behaviour changed: these are not the high bytes.")
print("stored RGB was:", rgb.tolist())
if seen != {
    "PNG, grey": ("I;16", "uint16", "I;16B"),
    "PNG, RGB": ("RGB", "uint8", "RGB;16B"),
    "PNG, grey and alpha": ("RGBA", "uint8", "LA;16B"),
    "TIFF, RGB": ("RGB", "uint8", "RGB;16L"),
}:
    sys.exit("The behaviour changed.")
END

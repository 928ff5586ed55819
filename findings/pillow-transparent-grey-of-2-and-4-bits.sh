#!/usr/bin/env bash
# Pillow loses the transparent colour of grey PNG files of 2 and 4 bits: nothing becomes transparent.
#
# Versions: Pillow 13.0.0, imagecodecs 2026.3.6, NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# A grey PNG file may name one value as transparent (chunk tRNS), in the unit of its samples. Pillow spreads
# samples of 2 and 4 bits over 0 to 255, but leaves `info["transparency"]` as it is in the file. So
# `convert("LA")` and `convert("RGBA")` compare values of two different scales, and each pixel comes out opaque.
# With 1 and 8 bits it is right. libpng, through imagecodecs, is right at each depth.
#
# It matters to whoever keeps an alpha channel: multiply the value by 255 / (2**bits - 1) before converting.
#
# Output seen:
#
#   1 bits, samples (0, 1, 1, 0), transparent 1: info says 255,
#       alpha by Pillow [255, 0, 0, 255], by libpng [255, 0, 0, 255]
#   2 bits, samples (0, 1, 2, 3), transparent 2: info says 2,
#       alpha by Pillow [255, 255, 255, 255], by libpng [255, 255, 0, 255]
#   4 bits, samples (0, 2, 9, 15), transparent 9: info says 9,
#       alpha by Pillow [255, 255, 255, 255], by libpng [255, 255, 0, 255]
#   8 bits, samples (0, 2, 9, 255), transparent 9: info says 9,
#       alpha by Pillow [255, 255, 0, 255], by libpng [255, 255, 0, 255]
#   wrong at [2, 4] bits

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pillow==13.0.0 imagecodecs==2026.3.6 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io, struct, sys, zlib
import imagecodecs
import numpy as np
from PIL import Image


def png(values, bits, transparent):
    """A grey PNG file of one row of four pixels."""
    row = 0
    for value in values:
        row = row << bits | value
    size = -(-bits * len(values) // 8)
    row <<= 8 * size - bits * len(values)
    head = struct.pack(">IIBBBBB", len(values), 1, bits, 0, 0, 0, 0)
    data = zlib.compress(b"\0" + row.to_bytes(size, "big"))
    chunks = [(b"IHDR", head), (b"tRNS", struct.pack(">H", transparent)), (b"IDAT", data), (b"IEND", b"")]
    framed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


wrong = []
for bits, values, transparent in ((1, (0, 1, 1, 0), 1), (2, (0, 1, 2, 3), 2), (4, (0, 2, 9, 15), 9), (8, (0, 2, 9, 255), 9)):
    data = png(values, bits, transparent)
    image = Image.open(io.BytesIO(data))
    alpha = np.asarray(image.convert("LA"))[0, :, 1].tolist()
    right = imagecodecs.png_decode(data)[0, :, 1].tolist()
    print(f"{bits} bits, samples {values}, transparent {transparent}: info says {image.info['transparency']},")
    print(f"    alpha by Pillow {alpha}, by libpng {right}")
    if right != [0 if value == transparent else 255 for value in values]:
        sys.exit("The behaviour of imagecodecs changed.")
    if alpha != right:
        wrong.append(bits)
        if alpha != [255] * 4:
            sys.exit("The behaviour changed.")
print("wrong at", wrong, "bits")
if wrong != [2, 4]:
    sys.exit("The behaviour changed.")
END

#!/usr/bin/env bash
# Pillow inverts TIFF files whose white is stored as 0, but only up to 8 bits; at 16 bits the picture comes out
# as a negative.
#
# Versions: Pillow 13.0.0, tifffile 2026.3.3, NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# TIFF's photometric interpretation 0 (WhiteIsZero) means that 0 is white. Of 8 bits Pillow gives 255 - v, as a
# viewer needs it. Of 16 bits it gives v, without a warning, so that two files of one picture, one of each
# depth, come out black on white and white on black.
#
# It matters to whoever reads microscope and scanner files: look at tag 262 and invert 16-bit samples yourself,
# and 8-bit ones not.
#
# Output seen:
#
#   8 bits, minisblack, tag 262 is 1: mode L, [0, 1, 100, 200]
#   8 bits, miniswhite, tag 262 is 0: mode L, [255, 254, 155, 55]
#   16 bits, minisblack, tag 262 is 1: mode I;16, [0, 1, 100, 200]
#   16 bits, miniswhite, tag 262 is 0: mode I;16, [0, 1, 100, 200]

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io, sys
import numpy as np
import tifffile
from PIL import Image

seen = {}
for bits, dtype in ((8, np.uint8), (16, np.uint16)):
    for photometric in ("minisblack", "miniswhite"):
        file = io.BytesIO()
        tifffile.imwrite(file, np.array([[0, 1, 100, 200]], dtype), photometric=photometric, metadata=None)
        image = Image.open(file)
        seen[bits, photometric] = np.asarray(image)[0].tolist()
        print(f"{bits} bits, {photometric}, tag 262 is {image.tag_v2[262]}: mode {image.mode}, {seen[bits, photometric]}")
plain = [0, 1, 100, 200]
if seen != {
    (8, "minisblack"): plain,
    (8, "miniswhite"): [255, 254, 155, 55],
    (16, "minisblack"): plain,
    (16, "miniswhite"): plain,
}:
    sys.exit("The behaviour changed.")
END

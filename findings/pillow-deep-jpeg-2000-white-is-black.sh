#!/usr/bin/env bash
# Pillow opens JPEG 2000 colours of 16 bits as 8 bits, and makes white black.
#
# Versions: Pillow 13.0.0, imagecodecs 2026.3.6, NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# A file of three components of 16 bits has mode RGB, and its samples are rounded to 8 bits: (v + 128) >> 8. From
# 65,408 on that is 256, which does not fit, and 0 is stored. So the brightest parts of a picture turn black, without a
# warning; at 12 bits it begins at 4,088. Grey of 12 bits is opened as I;16, with each sample times 16.
#
# It matters to whoever reads scans, satellite or medical images: use another decoder for more than 8 bits.
#
# Output seen:
#
#   RGB of 16 bits, 32768: mode RGB, 128
#   RGB of 16 bits, 65407: mode RGB, 255
#   RGB of 16 bits, 65408: mode RGB, 0
#   RGB of 16 bits, 65535: mode RGB, 0
#   grey of 12 bits, 1000: mode I;16, 16000

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pillow==13.0.0 imagecodecs==2026.3.6 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io, sys
import imagecodecs
import numpy as np
from PIL import Image

seen = []
for what, shape, bits, value in (
    ("RGB", (4, 4, 3), 16, 32768),
    ("RGB", (4, 4, 3), 16, 65407),
    ("RGB", (4, 4, 3), 16, 65408),
    ("RGB", (4, 4, 3), 16, 65535),
    ("grey", (4, 4), 12, 1000),
):
    data = imagecodecs.jpeg2k_encode(np.full(shape, value, np.uint16), bitspersample=bits, reversible=True)
    assert (imagecodecs.jpeg2k_decode(data) == value).all()
    image = Image.open(io.BytesIO(data))
    first = int(np.asarray(image).flat[0])
    print(f"{what} of {bits} bits, {value}: mode {image.mode}, {first}")
    seen.append((image.mode, first))
if seen != [("RGB", 128), ("RGB", 255), ("RGB", 0), ("RGB", 0), ("I;16", 16000)]:
    sys.exit("The behaviour changed.")
END

#!/usr/bin/env bash
# After a GIF frame that is to be cleared, Pillow also clears the frames that say nothing about it.
#
# Versions: Pillow 13.0.0, imagecodecs 2026.3.6, NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# Each frame of a GIF has its own disposal: 0 says "no action required", so that the picture stays. Pillow keeps the disposal
# of an earlier frame where a later one has 0. Of three frames (a red pixel to be cleared, a green one with 0, a blue one) the
# green pixel is gone when the blue one is shown. imagecodecs (giflib) shows both.
#
# It matters to whoever takes frames from GIF files by `seek`: the pictures are valid, only a part is missing.
#
# Output seen:
#
#   Pillow, frame 2:      [[0, 0, 0], [0, 0, 0], [0, 0, 255]]
#   imagecodecs, frame 2: [[0, 0, 0], [0, 255, 0], [0, 0, 255]]

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pillow==13.0.0 imagecodecs==2026.3.6 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io, struct, sys
import imagecodecs
import numpy as np
from PIL import Image

# A canvas of three pixels; palette: black (transparent), red, green, blue.
data = b"GIF89a" + struct.pack("<HHBBB", 3, 1, 0x81, 0, 0) + bytes([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
for place, disposal in enumerate((2, 0, 0)):
    data += struct.pack("<BBBBHBB", 0x21, 0xF9, 4, disposal << 2 | 1, 5, 0, 0)  # colour 0 is transparent
    data += struct.pack("<BHHHHB", 0x2C, place, 0, 1, 1, 0)
    level = place + 1
    codes = 4 | level << 3 | 5 << 6  # codes of 3 bits: clear, one pixel, end
    data += bytes([2, 2, codes & 255, codes >> 8, 0])
data += b"\x3b"

with Image.open(io.BytesIO(data)) as image:
    image.seek(2)
    seen = np.asarray(image.convert("RGBA"))[0]
by_pillow = (seen[:, :3] * (seen[:, 3:] > 0)).tolist()
by_imagecodecs = imagecodecs.gif_decode(data)[2][0, :, :3].tolist()
print("Pillow, frame 2:     ", by_pillow)
print("imagecodecs, frame 2:", by_imagecodecs)
if by_pillow != [[0, 0, 0], [0, 0, 0], [0, 0, 255]] or by_imagecodecs != [[0, 0, 0], [0, 255, 0], [0, 0, 255]]:
    sys.exit("The behaviour changed.")
END

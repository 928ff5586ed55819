#!/usr/bin/env bash
# Pillow does not recognise big-endian BigTIFF, although it reads BigTIFF and it reads big-endian TIFF.
#
# Versions: Pillow 13.0.0, imagecodecs 2026.3.6, tifffile 2026.3.3, NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# Of the four kinds of TIFF file (two byte orders, 32-bit or 64-bit offsets) three are opened. The fourth is
# "cannot identify image file", the words for a file that is no image at all, so that a sound file looks like
# rubbish. imagecodecs reads all four.
#
# It matters to whoever reports why a file was skipped: look for the bytes "MM", 0, 43 at its beginning and say
# what it is.
#
# Output seen:
#
#   TIFF, little endian, begins b'II*\x00': Pillow read, imagecodecs read
#   TIFF, big endian, begins b'MM\x00*': Pillow read, imagecodecs read
#   BigTIFF, little endian, begins b'II+\x00': Pillow read, imagecodecs read
#   BigTIFF, big endian, begins b'MM\x00+': Pillow UnidentifiedImageError, imagecodecs read

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pillow==13.0.0 imagecodecs==2026.3.6 tifffile==2026.3.3 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io, sys
import imagecodecs
import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

pixels = np.arange(20, dtype=np.uint8).reshape(4, 5)
seen = []
for bigtiff in (False, True):
    for order, name in (("<", "little"), (">", "big")):
        file = io.BytesIO()
        tifffile.imwrite(file, pixels, bigtiff=bigtiff, byteorder=order, metadata=None)
        file.seek(0)
        try:
            words = "read" if np.array_equal(np.asarray(Image.open(file)), pixels) else "other pixels"
        except UnidentifiedImageError:
            words = "UnidentifiedImageError"
        other = np.array_equal(imagecodecs.tiff_decode(file.getvalue()), pixels)
        seen.append((words, other))
        kind = "BigTIFF" if bigtiff else "TIFF"
        print(f"{kind}, {name} endian, begins {file.getvalue()[:4]}: Pillow {words}, imagecodecs {'read' if other else 'failed'}")
if seen != [("read", True)] * 3 + [("UnidentifiedImageError", True)]:
    sys.exit("The behaviour changed.")
END

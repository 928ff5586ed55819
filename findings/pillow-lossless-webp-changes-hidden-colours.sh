#!/usr/bin/env bash
# Pillow's `lossless=True` for WebP changes pixels: colours under alpha 0 are lost unless `exact=True` is given
# too.
#
# Versions: Pillow 13.0.0, imagecodecs 2026.3.6, NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# An RGBA image is written as lossless WebP and read back. Each pixel of alpha 0 comes back with other colours,
# because the encoder may replace what cannot be seen by what packs better. `exact=True` keeps them.
# imagecodecs, on the same library, keeps them without being asked, so that two programs that both write
# "lossless WebP" differ.
#
# It matters to whoever compares lossless codecs, or keeps data in pixels that are masked by alpha.
#
# Output seen:
#
#   Pillow, lossless=True: 0 of 32 visible pixels changed, 32 of 32 of alpha 0
#   Pillow, lossless=True, exact=True: 0 of 32 visible pixels changed, 0 of 32 of alpha 0
#   imagecodecs, lossless=True: 0 of 32 visible pixels changed, 0 of 32 of alpha 0

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

pixels = np.random.default_rng(0).integers(1, 256, (8, 8, 4), np.uint8)
pixels[::2, :, 3] = 0


def changed(data):
    """How many pixels came back otherwise, of those that can be seen and of those that cannot."""
    differs = (imagecodecs.webp_decode(data) != pixels).any(axis=2)
    return int(differs[1::2].sum()), int(differs[::2].sum())


def by_pillow(**options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True, **options)
    return file.getvalue()


seen = []
for name, data in (
    ("Pillow, lossless=True", by_pillow()),
    ("Pillow, lossless=True, exact=True", by_pillow(exact=True)),
    ("imagecodecs, lossless=True", bytes(imagecodecs.webp_encode(pixels, lossless=True))),
):
    seen.append(changed(data))
    print(f"{name}: {seen[-1][0]} of 32 visible pixels changed, {seen[-1][1]} of 32 of alpha 0")
if seen[0][0] != 0 or seen[0][1] == 0 or seen[1:] != [(0, 0), (0, 0)]:
    sys.exit("The behaviour changed.")
END

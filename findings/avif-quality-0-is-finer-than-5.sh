#!/usr/bin/env bash
# AVIF's quality is no scale at its low end: 0, 1 and 2 give a larger file and a smaller error than 3, 4 and 5.
#
# Versions: imagecodecs 2026.3.6 (libavif 1.4.0), NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# A noisy picture is encoded as monochrome AVIF at speed 6 with quality 0 to 12. One would expect the smallest
# file at 0. But 0, 1 and 2 give one and the same file, which is larger and nearer to the picture than that of
# 3, 4 and 5 (one and the same as well). From there on quality, size and nearness rise together.
#
# It matters to whoever searches for the coarsest setting, or brackets a target size by bisection: begin at 5.
#
# Output seen:
#
#   libavif 1.4.0
#   quality 0: 1322 bytes, MSE 5092
#   quality 1: 1322 bytes, MSE 5092
#   quality 2: 1322 bytes, MSE 5092
#   quality 3: 1277 bytes, MSE 5120
#   quality 4: 1277 bytes, MSE 5120
#   quality 5: 1277 bytes, MSE 5120
#   quality 6: 1521 bytes, MSE 5022
#   quality 8: 2004 bytes, MSE 4828
#   quality 10: 2369 bytes, MSE 4691
#   quality 12: 2709 bytes, MSE 4556

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    imagecodecs==2026.3.6 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys
import imagecodecs
import numpy as np

grey = np.random.default_rng(0).integers(0, 256, (256, 256), np.uint8)
colour = np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2))
print(imagecodecs.avif_version())
files, seen = {}, {}
for quality in (0, 1, 2, 3, 4, 5, 6, 8, 10, 12):
    files[quality] = bytes(imagecodecs.avif_encode(colour, level=quality, speed=6, pixelformat="400", numthreads=1))
    decoded = imagecodecs.avif_decode(files[quality], numthreads=1)
    decoded = decoded if decoded.ndim == 2 else decoded[..., 0]
    seen[quality] = len(files[quality]), float(((decoded.astype(int) - grey) ** 2).mean())
    print(f"quality {quality}: {seen[quality][0]} bytes, MSE {seen[quality][1]:.0f}")
same = files[0] == files[1] == files[2] and files[3] == files[4] == files[5]
if not same or not seen[0][0] > seen[5][0] or not seen[0][1] < seen[5][1] or not seen[5][0] < seen[6][0]:
    sys.exit("The behaviour changed.")
END

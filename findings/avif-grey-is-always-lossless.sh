#!/usr/bin/env bash
# imagecodecs encodes grey AVIF without loss, whatever quality is asked for.
#
# Versions: imagecodecs 2026.3.6 (libavif 1.4.0), NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# `avif_encode(image, level=...)` of a grey image [H, W] gives the same large file at each level, and its pixels
# come back exactly. Three equal channels [H, W, 3] at the same levels, stored as monochrome by
# `pixelformat="400"`, are grey in the file again and follow the level. A comparison of codecs on grey images
# would find that AVIF needs many times the bytes of all others at every quality.
#
# It matters to whoever measures codecs: look at the error too, not at the size alone.
#
# Output seen:
#
#   libavif 1.4.0
#   level 5: grey 13186 bytes, MSE 0.0; three channels as 4:0:0 364 bytes, MSE 156.2
#   level 50: grey 13186 bytes, MSE 0.0; three channels as 4:0:0 1900 bytes, MSE 85.9
#   level 90: grey 13186 bytes, MSE 0.0; three channels as 4:0:0 7915 bytes, MSE 2.0

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

y, x = np.mgrid[:128, :128]
noise = np.random.default_rng(0).normal(0, 12, (128, 128))
grey = (127 + 60 * np.sin(x / 9) + 40 * np.cos(y / 13) + noise).clip(0, 255).astype(np.uint8)
colour = np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2))


def size_and_error(image, **options):
    data = imagecodecs.avif_encode(image, speed=6, numthreads=1, **options)
    decoded = imagecodecs.avif_decode(data, numthreads=1)
    decoded = decoded if decoded.ndim == 2 else decoded[..., 0]
    return len(data), round(float(((decoded.astype(int) - grey) ** 2).mean()), 1)


print(imagecodecs.avif_version())
plain, repeated = [], []
for level in (5, 50, 90):
    plain.append(size_and_error(grey, level=level))
    repeated.append(size_and_error(colour, level=level, pixelformat="400"))
    print(f"level {level}: grey {plain[-1][0]} bytes, MSE {plain[-1][1]}; three channels as 4:0:0 {repeated[-1][0]} bytes, MSE {repeated[-1][1]}")
sizes = [size for size, _ in repeated]
if len(set(plain)) != 1 or plain[0][1] != 0 or sizes != sorted(set(sizes)) or min(error for _, error in repeated) == 0:
    sys.exit("The behaviour changed.")
END

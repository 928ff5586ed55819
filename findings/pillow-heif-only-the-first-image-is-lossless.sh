#!/usr/bin/env bash
# pillow-heif writes the first image of a HEIC file without loss, as it was asked to, and the others not.
#
# Versions: pillow-heif 1.8.1, Pillow 13.0.0, NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# Lossless colours need `quality=-1`, `chroma=444` and `matrix_coefficients=0`, which keeps RGB as it is. The first two
# hold for all images of a file, the third only for the first one: the others are converted to YCbCr and back. Their
# samples differ by 1, so nobody sees it, and the file opens without a warning.
#
# It matters to whoever stores a series in one file: set `info["nclx_profile"]` of each image, or read back what was
# written.
#
# Output seen:
#
#   matrix_coefficients=0 of save(): largest differences [0, 1, 1], stored matrices [0, 6, 6]
#   nclx_profile of each image: largest differences [0, 0, 0], stored matrices [0, 0, 0]

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pillow-heif==1.8.1 pillow==13.0.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io, sys
import numpy as np
import pillow_heif

pictures = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
profile = {"color_primaries": 1, "transfer_characteristics": 13, "matrix_coefficients": 0, "full_range_flag": 1}
seen = []
for how in ("matrix_coefficients=0 of save()", "nclx_profile of each image"):
    made = pillow_heif.HeifFile()
    for picture in pictures:
        made.add_frombytes("RGB", (50, 40), picture.tobytes())
    if how.startswith("nclx"):
        for image in made:
            image.info["nclx_profile"] = profile
    file = io.BytesIO()
    made.save(file, quality=-1, chroma=444, **({} if how.startswith("nclx") else {"matrix_coefficients": 0}))
    found = list(pillow_heif.open_heif(file))
    off = [int(np.abs(np.asarray(one).astype(int) - picture).max()) for one, picture in zip(found, pictures)]
    stored = [one.info["nclx_profile"]["matrix_coefficients"] for one in found]
    print(f"{how}: largest differences {off}, stored matrices {stored}")
    seen.append((off, stored))
if seen != [([0, 1, 1], [0, 6, 6]), ([0, 0, 0], [0, 0, 0])]:
    sys.exit("The behaviour changed.")
END

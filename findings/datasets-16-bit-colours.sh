#!/usr/bin/env bash
# Hugging Face `datasets` makes two different wrong things of 16-bit colours: files lose their low bytes, arrays
# lose their high ones.
#
# Versions: datasets 5.2.0, Pillow 13.0.0, NumPy 2.4.6, pyarrow 26.0.1, tifffile 2026.3.3; Python 3.11.7 on
# Linux x86-64.
#
# A TIFF file of 16-bit RGB in an `Image()` column is kept as it is and decoded to the high byte of each sample,
# without a warning. The same samples given to the same column as an array uint16 [H, W, 3] are stored modulo
# 256: 256 becomes 0 and 65,535 becomes 255, with a UserWarning about "downcasting". Grey of 16 bits, [H, W], is
# kept in both ways.
#
# It matters to whoever puts deep images into a dataset: keep the files, and read them with
# `Image(decode=False)`.
#
# Output seen:
#
#   samples: [[[0, 255, 256], [300, 32768, 65535]]]
#   as a file: uint8 [[[0, 0, 1], [1, 128, 255]]], a warning: False
#   as an array: uint8 [[[0, 255, 0], [44, 0, 255]]], a warning: True
#   grey, as a file and as an array, kept: [True, True]

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    datasets==5.2.0 pillow==13.0.0 numpy==2.4.6 pyarrow==26.0.1 tifffile==2026.3.3
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io, os, sys, warnings

os.environ |= {"HF_HOME": os.getcwd(), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
import datasets
import numpy as np
import tifffile

FEATURES = datasets.Features({"image": datasets.Image()})


def stored(image):
    """An image of a data set, and the warnings on the way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = datasets.Dataset.from_dict({"image": [image]}, features=FEATURES)[0]["image"]
        warned = any("owncast" in str(warning.message) for warning in caught)
    return np.asarray(found), warned


def tiff(samples, photometric):
    file = io.BytesIO()
    tifffile.imwrite(file, samples, photometric=photometric, metadata=None)
    return {"bytes": file.getvalue(), "path": None}


rgb = np.array([[[0, 255, 256], [300, 32768, 65535]]], np.uint16)
grey = np.array([[0, 255, 256, 65535]], np.uint16)
print("samples:", rgb.tolist())
seen = []
for name, image in (("as a file", tiff(rgb, "rgb")), ("as an array", rgb)):
    found, warned = stored(image)
    seen.append((found.tolist(), warned))
    print(f"{name}: {found.dtype} {found.tolist()}, a warning: {warned}")
kept = [np.array_equal(stored(image)[0], grey) for image in (tiff(grey, "minisblack"), grey)]
print("grey, as a file and as an array, kept:", kept)
if seen != [((rgb >> 8).tolist(), False), ((rgb % 256).tolist(), True)] or kept != [True, True]:
    sys.exit("The behaviour changed.")
END

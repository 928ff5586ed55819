#!/usr/bin/env bash
# mosaicml-streaming stores a big-endian array with its bytes as they are, and reads it as a little-endian one.
#
# Versions: mosaicml-streaming 0.13.0, numpy 2.4.6, Pillow 13.0.0; Python 3.11.7 on Linux x86-64.
#
# A column `ndarray` takes the name of the dtype, which is `uint16` for both orders of bytes, and the bytes of the
# array in its own order. So 0, 1, 2 come back as 0, 256, 512, without an error on either side. A column
# `ndarray:uint16` compares dtypes and refuses the array, by a message that names one dtype twice. Arrays of FITS
# and of TIFF are often big-endian.
#
# It matters to whoever packs arrays of 16 bits or more from files: convert them by `.astype("<u2")` first.
#
# Output seen:
#
#   ndarray: [0 1 2] of >u2 comes back as [  0 256 512] of uint16
#   ndarray:uint16: Wrong dtype: expected uint16, got uint16.

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
# The module of the encodings needs nothing of PyTorch, which the package as a whole imports.
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    mosaicml-streaming==0.13.0 numpy==2.4.6 Pillow==13.0.0 typing_extensions
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import importlib.util
import sys
from pathlib import Path

import numpy as np

package = Path(importlib.util.find_spec("streaming").submodule_search_locations[0])
spec = importlib.util.spec_from_file_location("encodings_of_mds", package / "base/format/mds/encodings.py")
encodings = importlib.util.module_from_spec(spec)
spec.loader.exec_module(encodings)
array = np.arange(3, dtype=">u2")
back = encodings.mds_decode("ndarray", encodings.mds_encode("ndarray", array))
print("ndarray:", array, "of", array.dtype.str, "comes back as", back, "of", back.dtype)
try:
    encodings.mds_encode("ndarray:uint16", array)
    words = "no error"
except ValueError as error:
    words = str(error)
print("ndarray:uint16:", words)
if back.tolist() != [0, 256, 512] or "expected uint16, got uint16" not in words:
    sys.exit("The behaviour changed.")
END

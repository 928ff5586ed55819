#!/usr/bin/env bash
# A copy of an unsigned FITS image is signed: astropy drops the offset in the header, in silence.
#
# Versions: astropy 8.0.2, NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# FITS has no unsigned integers; uint16 is stored as int16 with BZERO 32768. Whoever wants the stored integers (for a memory
# map, or to copy a file without a change) reads with `do_not_scale_image_data=True` and hands samples and header to a new
# PrimaryHDU or CompImageHDU. These take BZERO out of the header, as it does not fit an int16 array, and each sample
# is 32,768 less from then on. No error, no warning. Writing the list of HDUs that was read keeps it.
#
# Output seen:
#
#   original:     uint16 40000, BZERO 32768
#   PrimaryHDU:   int16 7232, BZERO None
#   CompImageHDU: int16 7232, BZERO None
#   writeto:      uint16 40000, BZERO 32768

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check astropy==8.0.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io, sys, warnings
import numpy as np
from astropy.io import fits

warnings.simplefilter("error")


def written(*hdus) -> io.BytesIO:
    file = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(file)
    return io.BytesIO(file.getvalue())


def told(file: io.BytesIO) -> str:
    with fits.open(file) as hdus:
        hdu = hdus[-1]
        offset = hdu.header.get("BZERO")  # before the data are read, which changes the header
        return f"{hdu.data.dtype.name} {int(hdu.data[0, 0])}, BZERO {offset}"


original = written(fits.PrimaryHDU(np.full((20, 30), 40000, np.uint16)))
with fits.open(io.BytesIO(original.getvalue()), do_not_scale_image_data=True) as hdus:
    stored, header = hdus[0].data, hdus[0].header
    found = {
        "original": told(original),
        "PrimaryHDU": told(written(fits.PrimaryHDU(stored, header.copy()))),
        "CompImageHDU": told(written(fits.PrimaryHDU(), fits.CompImageHDU(stored, header.copy()))),
        "writeto": told(written(*hdus)),
    }
for name, words in found.items():
    print(f"{name + ':':<13} {words}")
if not (found["original"] == found["writeto"] == "uint16 40000, BZERO 32768" and found["PrimaryHDU"].startswith("int16 7232")):
    sys.exit("The behaviour changed.")
END

#!/usr/bin/env bash
# imagecodecs decodes the first half of a QOI, JPEG XR or JPEG file to an image of full size, without an error; for
# eight other formats it raises one.
#
# Versions: imagecodecs 2026.3.6, NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# The rest of the image is made up: the decoders repeat the last colour, or fill up with grey. Their C libraries do
# so by design, or only warn, and the warning does not reach Python. Formats with checksums or lengths raise.
#
# It matters to whoever reads downloads and logs of cameras: look for the end mark of the file yourself (ff d9 of
# JPEG, the last eight bytes of QOI), or compare the length that the header of JPEG XR states with that of the file.
#
# Output seen:
#
#   the first half of a file is an image of full size: jpeg8, jpegxr, qoi
#   ... is an error: avif, bmp, gif, jpeg2k, jpegls, jpegxl, png, webp

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check imagecodecs==2026.3.6 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys
import imagecodecs
import numpy as np

picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
images, errors = [], []
for name in ("avif", "bmp", "gif", "jpeg2k", "jpeg8", "jpegls", "jpegxl", "jpegxr", "png", "qoi", "webp"):
    data = getattr(imagecodecs, f"{name}_encode")(picture[..., 0].copy() if name == "gif" else picture)
    decode = getattr(imagecodecs, f"{name}_decode")
    try:
        half = decode(data[: len(data) // 2])
    except Exception:
        errors.append(name)
    else:
        whole = decode(data)
        assert half.shape == whole.shape and (half != whole).any()
        images.append(name)
print("the first half of a file is an image of full size:", ", ".join(images))
print("... is an error:", ", ".join(errors))
if images != ["jpeg8", "jpegxr", "qoi"]:
    sys.exit("The behaviour changed.")
END

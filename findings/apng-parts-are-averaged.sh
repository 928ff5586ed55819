#!/usr/bin/env bash
# A frame of an animated PNG that is to be laid "over" the one before makes it more transparent, in Pillow and imagecodecs.
#
# Versions: Pillow 13.0.0, imagecodecs 2026.3.6, NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# Blending 1 of APNG is the operator "over" (PNG, third edition, section 4.9.2 with 13.16): alpha 100 over alpha 128 gives
# 178. Both decoders average all four channels by the alpha of the front instead, alpha itself too, and get 117: less than
# either of the two. Pillow's own `alpha_composite` has it right. The two decoders agree with each other to the bit, so that
# one does not betray the other. Nothing is wrong where each pixel is opaque or empty.
#
# It matters to whoever compares a decoder of animations with these two: take a third for what is partly transparent.
#
# Output seen:
#
#   Pillow, frame 1:      [125, 69, 42, 117]
#   imagecodecs, frame 1: [125, 69, 42, 117]
#   alpha_composite:      [93, 55, 39, 178]

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

below, above = (
    Image.fromarray(np.full((2, 2, 4), colour, np.uint8)) for colour in ([200, 100, 50, 128], [10, 20, 30, 100])
)
file = io.BytesIO()
below.save(file, "png", save_all=True, append_images=[above], blend=1)
with Image.open(io.BytesIO(file.getvalue())) as image:
    image.seek(1)
    by_pillow = np.asarray(image)[0, 0].tolist()
by_imagecodecs = imagecodecs.apng_decode(file.getvalue())[1][0, 0].tolist()
over = np.asarray(Image.alpha_composite(below, above))[0, 0].tolist()
print("Pillow, frame 1:     ", by_pillow)
print("imagecodecs, frame 1:", by_imagecodecs)
print("alpha_composite:     ", over)
if not (by_pillow == by_imagecodecs == [125, 69, 42, 117] and over == [93, 55, 39, 178]):
    sys.exit("The behaviour changed.")
END

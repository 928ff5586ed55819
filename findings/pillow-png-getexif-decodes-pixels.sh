#!/usr/bin/env bash
# Asking Pillow for the EXIF data of a PNG file that has none decodes all of its pixels; of other formats it
# reads the header.
#
# Versions: Pillow 13.0.0; Python 3.11.7 on Linux x86-64.
#
# `Image.open` is lazy, and `getexif()` reads like a look at the header. But PNG allows EXIF data behind the
# pixels, so `PngImageFile.getexif` loads the image if the header has none, which is the common case: the whole
# file is read and unpacked. The same method of the base class, `Image.Image.getexif(image)`, reads the header
# alone (and misses EXIF data behind the pixels).
#
# It matters to whoever surveys the headers of many files for their orientation: it costs as much as decoding
# them all.
#
# Output seen:
#
#   PNG, image.getexif(): {}; pixels decoded: True; read to 100% of the file
#   PNG, Image.Image.getexif(image): {}; pixels decoded: False; read to 0% of the file
#   JPEG, image.getexif(): {}; pixels decoded: False; read to 0% of the file

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io, sys
from PIL import Image

noise = Image.effect_noise((1500, 1500), 80)
seen = {}
for name, kind, ask in (
    ("PNG, image.getexif()", "PNG", lambda image: image.getexif()),
    ("PNG, Image.Image.getexif(image)", "PNG", lambda image: Image.Image.getexif(image)),
    ("JPEG, image.getexif()", "JPEG", lambda image: image.getexif()),
):
    file = io.BytesIO()
    noise.save(file, kind)
    file.seek(0)
    image = Image.open(file)
    opened = file.tell()
    found = dict(ask(image))
    seen[name] = not image.tile  # Pillow empties this list when the pixels are decoded
    print(f"{name}: {found}; pixels decoded: {seen[name]}; read to {file.tell() / len(file.getvalue()):.0%} of the file")
if list(seen.values()) != [True, False, False]:
    sys.exit("The behaviour changed.")
END

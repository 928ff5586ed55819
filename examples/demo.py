"""Fit the study's codec to MNIST, pack all 70,000 digits, check the file against its source, and draw the result.

`make demo` runs it. It uses the command line like a user, and then draws digits from the archive.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
from PIL import Image

import smalti
from smalti.images.source import read_images
from smalti.sources.open import open_source

SMALTI = [sys.executable, "-m", "smalti"]
CODEBOOK_SIZE = 128
DRAWN = 12


def run(*arguments: str) -> dict[str, Any]:
    """Run a smalti command with its progress on the terminal and return its JSON."""
    print(f"$ smalti {' '.join(arguments)}", flush=True)
    result = subprocess.run([*SMALTI, *arguments, "--json"], stdout=subprocess.PIPE, check=False)
    if result.returncode:
        sys.exit(result.returncode)
    plain: dict[str, Any] = json.loads(result.stdout)
    return plain


def draw(archive: Path, folder: Path) -> Path:
    """Draw the first test digits above their decoded versions, and return the picture's path."""
    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415 (after the backend)

    first = 60_000
    originals = read_images(open_source("mnist/test"), DRAWN).pixels[..., 0]
    with smalti.open(archive) as opened:
        decoded = opened[first : first + DRAWN]
    figure, axes = pyplot.subplots(2, DRAWN, figsize=(DRAWN, 2.4), layout="constrained")
    for row, images in zip(axes, (originals, decoded), strict=True):
        for cell, image in zip(row, images, strict=True):
            cell.imshow(255 - image, cmap="gray", vmin=0, vmax=255)
            cell.set_xticks([])
            cell.set_yticks([])
    axes[0, 0].set_ylabel("original")
    axes[1, 0].set_ylabel("from the file")
    path = folder / "digits.png"
    figure.savefig(path, dpi=100)
    return path


def main() -> None:
    """Run the demo in the folder named on the command line."""
    started = time.monotonic()
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    model, archive = folder / "mnist.smalti-model", folder / "mnist.smalti"
    run("fit", "mnist/train", "-o", str(model), "--codebook-size", str(CODEBOOK_SIZE), "-f")
    run("compress", "mnist", "--model", str(model), "-o", str(archive), "-f")
    tested = run("test", str(archive), "--full", "--against", "mnist")
    run("get", str(archive), "0", "1", "69999", "-o", str(folder / "images"), "-f")
    (folder / "test.json").write_text(json.dumps(tested, indent=2) + "\n")
    picture = draw(archive, folder)
    with Image.open(picture) as image:
        image.verify()
    parts = ", ".join(f"{name} {size:,}" for name, size in tested["bytes"].items())
    print(
        f"\n{tested['images']:,} images in {tested['archive_bytes']:,} bytes ({parts})\n"
        f"ratio         {tested['ratio']:.1f}:1 with everything, "
        f"{tested['ratio_without_model']:.1f}:1 without the model\n"
        f"quality       MSE {tested['mse_mean']:.5f}, SSIM {tested['ssim_mean']:.4f}"
        f" (first 100 images: {tested['first_100']['mse']:.5f}, {tested['first_100']['ssim']:.4f})\n"
        f"codes used    {tested['codes_used']} of {tested['codebook_size']}, perplexity {tested['perplexity']:.2f}\n"
        f"picture       {picture}\n"
        f"took          {time.monotonic() - started:.0f} s"
    )


if __name__ == "__main__":
    main()

"""Install the reader alone in an environment of its own, use it there, and measure its size and its start.

    python -m acceptance.check_reader ARCHIVE -o results/reader.json [--starts 15]

The environment is made in a temporary folder from the ordinary package index, with no extra of smalti and without
pip, so that everything in it belongs to the reader. There the archive is opened, read, listed, tested and extracted.
Exit code 1 if something fails or a goal is missed, 3 if the package index cannot be reached.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.harness import ROOT, Findings

GOAL_MB, GOAL_DISK_MIB, GOAL_SECONDS = 120.0, 125.0, 0.25  # a disk counts whole blocks
NO_INDEX = 3

START = """
import sys, time
begun = time.perf_counter()
{work}
print(time.perf_counter() - begun)
"""
OPEN = "import smalti; archive = smalti.open({path!r})"

USE = """
import hashlib, importlib.util, json, sys
from pathlib import Path
import smalti
from smalti.cli import run

path, out = sys.argv[1], Path(sys.argv[2])
with smalti.open(path) as archive:
    images = archive[:]
    count = len(archive)
    assert images.shape == archive.shape and images.dtype == archive.dtype
    assert (archive[count - 1] == images[-1]).all() and (archive[1:3] == images[1:3]).all()
    assert (archive[[count - 1, 0]] == images[[-1, 0]]).all()
    assert len(archive.tokens(0, 2)) == 2
    labels, names = archive.labels, archive.names
    channels = archive.image_shape[2]

def smalti_command(*arguments):
    assert run([*arguments, "-q"]) == 0, arguments

smalti_command("info", path)
smalti_command("test", path)
smalti_command("test", path, "--full")
smalti_command("decompress", path, "-o", str(out / "all.npy"))
smalti_command("get", path, "0", str(count - 1), "-o", str(out / "two"))
import numpy
assert (numpy.load(out / "all.npy") == images).all()
assert len([file for file in (out / "two").rglob("*.png")]) == 2
if channels == 1:
    smalti_command("decompress", path, "-o", str(out / "all-images-idx3-ubyte"))
    assert (out / "all-images-idx3-ubyte").read_bytes()[16:] == images.tobytes()
if count <= 2000:
    smalti_command("decompress", path, "-o", str(out / "folder"))
    assert len(list((out / "folder").rglob("*.png"))) == count

frameworks = ("torch", "safetensors", "jax", "tensorflow")
print(json.dumps({
    "images": count,
    "pixels_sha256": hashlib.sha256(images.tobytes()).hexdigest(),
    "frameworks_installed": [name for name in frameworks if importlib.util.find_spec(name)],
    "frameworks_imported": [name for name in frameworks if name in sys.modules],
}))
"""


class Environment:
    """A virtual environment that holds the reader and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self._clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def install(self, what: str) -> "subprocess.CompletedProcess[str]":
        """Install with the pip of this program's own environment."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet"]
        return subprocess.run([*pip, what], capture_output=True, text=True, check=False)

    def run(self, code: str, *arguments: str) -> str:
        """Run a program there, in an empty folder, and return what it prints; its errors end this program."""
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run(
                [str(self.python), "-c", code, *arguments],
                env=self._clean,
                cwd=empty,
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            sys.exit(f"check_reader: failed in the environment of the reader:\n{done.stderr}")
        return done.stdout

    def packages(self) -> dict[str, int]:
        """Bytes of everything installed, by its first folder or file: the sum of file sizes, byte code included."""
        (site,) = self.folder.rglob("site-packages")
        sizes: dict[str, int] = {}
        for file in site.rglob("*"):
            if file.is_file():
                first = file.relative_to(site).parts[0]
                sizes[first] = sizes.get(first, 0) + file.stat().st_size
        return dict(sorted(sizes.items(), key=lambda item: -item[1]))

    def disk_bytes(self) -> int:
        """Bytes that the file system has set aside for it (what `du` counts)."""
        (site,) = self.folder.rglob("site-packages")
        return sum(512 * path.lstat().st_blocks for path in [site, *site.rglob("*")])


def starts(environment: Environment, archive: Path, repeats: int) -> dict[str, Any]:
    """Seconds of fresh processes, in turns: NumPy alone, smalti with an archive opened, and the command line."""
    works = {"import_numpy": "import numpy", "import_and_open": OPEN.format(path=str(archive))}
    commands = {"smalti_help": ["--help"], "smalti_info": ["info", str(archive)]}
    seconds: dict[str, list[float]] = {name: [] for name in [*works, *commands]}
    for _ in range(repeats):
        for name, work in works.items():
            seconds[name].append(float(environment.run(START.format(work=work))))
        for name, arguments in commands.items():
            begun = time.perf_counter()
            environment.run("from smalti.cli import main; main()", *arguments)
            seconds[name].append(time.perf_counter() - begun)
    return {
        name: {"median_seconds": round(statistics.median(values), 4), "least_seconds": round(min(values), 4)}
        for name, values in seconds.items()
    }


def figures_of(archive: Path, repeats: int) -> dict[str, Any]:
    """Make the environment, use the reader in it, and return what was found."""
    with tempfile.TemporaryDirectory() as folder:
        environment = Environment(Path(folder) / "reader")
        reached = environment.install("google-crc32c")
        if reached.returncode:
            print(f"the package index cannot be reached: {reached.stderr.strip()[-300:]}", file=sys.stderr)
            sys.exit(NO_INDEX)
        installed = environment.install(str(ROOT))
        if installed.returncode:
            sys.exit(f"check_reader: smalti cannot be installed:\n{installed.stderr}")
        packages, disk_bytes = environment.packages(), environment.disk_bytes()
        out = Path(folder) / "out"
        out.mkdir()
        used = json.loads(environment.run(USE, str(archive), str(out)))
        times = starts(environment, archive, repeats)
    return {
        "size_is": "sum of the sizes of all installed files, byte code included; the interpreter is not counted",
        "installed_mb": round(sum(packages.values()) / 1e6, 1),
        "installed_disk_mib": round(disk_bytes / 2**20, 1),
        "goal_mb": GOAL_MB,
        "largest_mb": {name: round(size / 1e6, 2) for name, size in list(packages.items())[:12]},
        **used,
        "seconds_of_a_fresh_process": times,
        "goal_import_and_open_seconds": GOAL_SECONDS,
    }


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("archive", type=Path)
    parser.add_argument("--starts", type=int, default=15, help="fresh processes that are timed")


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure, and say whether the goals are met."""
    figures = figures_of(arguments.archive.resolve(), arguments.starts)
    alone = not figures["frameworks_installed"] and not figures["frameworks_imported"]
    open_seconds = figures["seconds_of_a_fresh_process"]["import_and_open"]["median_seconds"]
    small = figures["installed_mb"] < GOAL_MB and figures["installed_disk_mib"] < GOAL_DISK_MIB
    return Findings(figures, alone and small and open_seconds < GOAL_SECONDS, arguments.starts)


if __name__ == "__main__":
    harness.main("acceptance.check_reader", __doc__, declare, measure)

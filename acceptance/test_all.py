"""Every slow check, with small settings: so that each still runs, and holds on what is small.

    make acceptance

Not part of `make test`, since it takes minutes. The inputs are in the project; nothing is downloaded but by
`check_reader`, which is skipped where there is no package index.
"""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from acceptance.check_reader import NO_INDEX
from benchmarks.harness import ROOT, Report
from benchmarks.processes import fresh_command, fresh_environment, run_smalti

GOLDEN = ROOT / "conformance" / "golden"
DIGITS, NAMED = GOLDEN / "format-1-digits.smalti", GOLDEN / "format-1-named.smalti"
CELLS = [GOLDEN / f"format-1-{kind}.smalti" for kind in ("pixels", "transform")]
MANY = 20  # times 500 images: so that runs take long enough to be killed
DISTRIBUTED = "--source {images} --test {images} --images 500 --seeds 1 --epochs 1"
CHECKS = {
    "check_bulk": ["--source", "{many}", "--model", "{model}", "--without-ray"],
    "check_damage": [NAMED, "--every", "20", "--processes", "1"],
    "check_dataloader": [DIGITS, "--runs", "1", "--images", "400"],
    "check_determinism": [NAMED],
    "check_distributed": DISTRIBUTED.split(),
    "check_folder_round_trip": ["--source", "{images}", "--images", "200", "--model", "{model}"],
    "check_growth": ["--files", "200"],
    "check_kills": ["--writer", "--kills", "12"],
    "check_manifest": ["--members", "30"],
    "check_memory": ["--source", "{images}", "--images", "40", "80", "--only", "read paper"],
    "check_photo_determinism": CELLS,
    "check_random_access": [DIGITS],
    "check_reader": [NAMED, "--starts", "1"],
}


@pytest.fixture(scope="session", name="small")
def _small(tmp_path_factory):
    """500 digits with labels, and a model that was fitted on them quickly."""
    folder = tmp_path_factory.mktemp("acceptance")
    with np.load(ROOT / "tests" / "data" / "mnist_slice.npz") as digits:
        np.save(folder / "digits.npy", digits["images"])
        np.save(folder / "digits.labels.npy", digits["labels"])
        np.save(folder / "many.npy", np.tile(digits["images"], (MANY, 1, 1)))
    run_smalti("fit", folder / "digits.npy", "-o", folder / "digits.smalti-model", "--epochs", "1")
    return {"images": folder / "digits.npy", "many": folder / "many.npy", "model": folder / "digits.smalti-model"}


def test_every_check_is_here():
    assert sorted([*CHECKS, "check_cuda"]) == sorted(path.stem for path in Path(__file__).parent.glob("check_*.py"))


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_holds(name, small, tmp_path):
    words, output = [str(word).format(**small) for word in CHECKS[name]], tmp_path / "report.json"
    command = fresh_command(f"acceptance.{name}", *words, "-o", output)
    ran = subprocess.run(command, cwd=ROOT, env=fresh_environment(), capture_output=True, text=True, check=False)
    if name == "check_reader" and ran.returncode == NO_INDEX:
        pytest.skip("the package index cannot be reached")
    assert output.exists(), ran.stderr
    report = Report.read(output)
    assert report.name == f"acceptance.{name}" and report.figures
    if name != "check_reader":  # its goal is in seconds, which a busy machine may miss
        assert ran.returncode == 0 and report.passed


def test_cuda(tmp_path):
    """By its path and without the project's root on Python's path, as on a bare machine."""
    command = [*fresh_command("acceptance.check_cuda"), "-o", str(tmp_path / "cuda.json")]
    subprocess.run(command, check=True, cwd=ROOT, env=fresh_environment())

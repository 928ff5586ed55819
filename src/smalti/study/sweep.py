"""The whole study: every run, then amortisation, baselines and report. Finished parts are stored and not repeated."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smalti.bench.records import describe_machine, read_json
from smalti.codec.pack import pack
from smalti.codec.request import PackOptions
from smalti.errors import SourceError, UsageError
from smalti.images.source import ImageSource, read_bytes, read_images
from smalti.sources.open import open_source
from smalti.storage.spool import spool_folder
from smalti.study.classical import ClassicalResult, measure_classical
from smalti.study.page.report import build_report
from smalti.study.results import (
    AmortisationPoint,
    RunResult,
    StudyInfo,
    read_amortisation,
    read_runs,
    write_amortisation,
)
from smalti.study.runs import ABLATED, CURED, PAPER, PICTURED_IMAGES, Run, fit_run, measure_run, model_path
from smalti.study.statistics import reference_size
from smalti.study.vae import VaeResult, measure_vae
from smalti.training.observer import Observer
from smalti.training.paper.grid_model import Model
from smalti.version import __version__

__all__ = ["STUDY_SIZES", "StudyObserver", "StudyPlan", "run_study"]

STUDY_SIZES = (64, 128, 256, 512)
AMORTISED_IMAGES = (100, 300, 1_000, 3_000, 10_000, 30_000, 70_000)
VAE_SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class StudyPlan:
    """The runs of a study.

    codebook_sizes : K of the sweeps
    seeds, cured_seeds, ablation_seeds : how many seeds of the study's own quantiser, of the one with all cures, and
        of each single cure (at K = 128, or the smallest K)
    epochs : of each fit
    limit : use only this many first images of the train part and of the test part; None for all
    baselines : also measure the VAE and the classical codecs
    """

    codebook_sizes: tuple[int, ...] = STUDY_SIZES
    seeds: int = 5
    cured_seeds: int = 3
    ablation_seeds: int = 2
    epochs: int = 3
    limit: int | None = None
    baselines: bool = True

    def __post_init__(self) -> None:
        if not self.codebook_sizes or self.seeds < 1 or self.epochs < 1:
            raise UsageError("a study needs at least one codebook size, one seed and one epoch")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit must be at least 1, not {self.limit}")

    def runs(self) -> tuple[Run, ...]:
        """Return every run, seed by seed, so that a study that stops early has complete sweeps."""
        sizes = self.codebook_sizes
        ablation_size = reference_size(sizes)
        paper = [Run(PAPER, size, seed) for seed in range(self.seeds) for size in sizes]
        cured = [Run(CURED, size, seed) for seed in range(self.cured_seeds) for size in sizes]
        ablation = [Run(name, ablation_size, seed) for seed in range(self.ablation_seeds) for name in ABLATED]
        return (*paper, *cured, *ablation)


class StudyObserver(Protocol):
    """The interface of a front end that observes a study."""

    def say(self, line: str) -> None:
        """Report a line about a step that begins or has ended."""

    def fit_observer(self, run: Run, number: int, runs: int) -> Observer:
        """Return the observer of the fit of `run`, which is number `number` of the `runs` to do."""


def run_study(plan: StudyPlan, source: str, folder: Path, command: str, observer: StudyObserver) -> Path:
    """Do the unfinished parts of `plan` in `folder`, then write the report and return its path.

    source : a named set with a train and a test part
    command : the command line of the user, stored in the results

    Raises FitInterruptedError when the observer stops a fit; the same call resumes it.
    """
    train, test = _parts(source, plan.limit)
    missing = [run for run in plan.runs() if not _is_done(run, plan, len(train), folder)]
    folder.mkdir(parents=True, exist_ok=True)
    StudyInfo(command, describe_machine(), __version__).write(folder)
    pictured = read_bytes(test, PICTURED_IMAGES)[..., 0]
    for number, run in enumerate(missing, 1):
        model = fit_run(run, plan.epochs, train, test, folder, observer.fit_observer(run, number, len(missing)))
        result, pictures = measure_run(run, model, test, pictured, folder)
        if run.seed == 0:
            pictures.write(folder, run.name)
        result.write(folder)
        observer.say(_line(result))
    _amortise(plan, source, folder, observer)
    if plan.baselines:
        _measure_baselines(train, test, folder, command, observer)
    return build_report(folder)


def _parts(source: str, limit: int | None) -> tuple[ImageSource, ImageSource]:
    """Return the train and the test part of a named set, in memory."""
    if source != "mnist":
        raise UsageError(f"{source}: the study is of MNIST, whose figures it repeats; name mnist")
    parts = [read_images(open_source(f"{source}/{part}"), limit) for part in ("train", "test")]
    train, test = (open_source(part.pixels) for part in parts)
    return train, test


def _is_done(run: Run, plan: StudyPlan, train_images: int, folder: Path) -> bool:
    """True if the folder has the run's result; SourceError if that is of another protocol."""
    path = folder / "runs" / f"{run.name}.json"
    if not path.exists():
        return False
    done = read_json(RunResult, path)
    if (done.epochs, done.train_images) != (plan.epochs, train_images):
        raise SourceError(
            f"{path} is of {done.epochs} epochs on {done.train_images:,} images, not {plan.epochs} on "
            f"{train_images:,}; name another folder"
        )
    return True


def _line(result: RunResult) -> str:
    return (
        f"{result.name}: MSE {result.test.mse:.5f} (first 100 {result.first_100.mse:.5f}), "
        f"SSIM {result.test.ssim:.4f} ({result.first_100.ssim:.4f}), {result.codes_used} codes, "
        f"{result.entropy_bits_per_token:.2f} bits/token, "
        f"{result.archive.bytes_per_image:.2f} bytes/image without the model"
    )


def _amortise(plan: StudyPlan, source: str, folder: Path, observer: StudyObserver) -> None:
    """Pack more and more images with the model of median MSE, and store the sizes of the files."""
    size = reference_size(plan.codebook_sizes)
    runs = [run for run in read_runs(folder) if (run.variant, run.codebook_size) == (PAPER, size)]
    median = sorted(runs, key=lambda run: run.test.mse)[(len(runs) - 1) // 2]
    path = model_path(folder, Run(PAPER, size, median.seed))
    if read_amortisation(folder) or not path.exists():
        return
    observer.say("amortisation: packing more and more images")
    model, images = Model.load(path), read_bytes(open_source(source), plan.limit)
    with spool_folder(folder / "amortisation") as scratch:
        points = tuple(_pack_first(model, images[:count], scratch) for count in _counts(len(images)))
    write_amortisation(folder, points)


def _counts(images: int) -> Iterator[int]:
    yield from (count for count in AMORTISED_IMAGES if count < images)
    yield images


def _pack_first(model: Model, pixels: NDArray[np.uint8], scratch: Path) -> AmortisationPoint:
    path = scratch / f"{len(pixels)}.smalti"
    info = pack(open_source(pixels), path, model, options=PackOptions(labels=False)).info
    return AmortisationPoint(len(pixels), info.archive_bytes, info.ratio)


def _measure_baselines(
    train: ImageSource, test: ImageSource, folder: Path, command: str, observer: StudyObserver
) -> None:
    train_images, test_images = (read_bytes(part)[..., 0] for part in (train, test))
    machine = describe_machine()
    if VaeResult.read(folder) is None:
        measure_vae(
            train_images,
            test_images,
            VAE_SEEDS,
            command,
            machine,
            on_seed=lambda seed: observer.say(f"VAE, seed {seed}: fitting"),
        ).write(folder)
    if ClassicalResult.read(folder) is None:
        measure_classical(
            test_images, command, machine, on_codec=lambda name: observer.say(f"classical codecs: {name}")
        ).write(folder)

"""The measurements of the study, as typed records, and the folder that holds them.

    FOLDER/study.json                                 how the study was run (StudyInfo); optional
    FOLDER/runs/<variant>-k<K>-s<seed>.json           one finished training run (RunResult)
    FOLDER/pictures/<variant>-k<K>-s<seed>.npz        its reconstructions and its codebook (Pictures)
    FOLDER/amortisation.json                          archives of more and more images (AmortisationPoint, ...)
    FOLDER/classical.json, FOLDER/vae.json            baselines (`classical`, `vae`)

Figures, tables and the report use only these files. Quality is measured on uint8 images scaled to [0, 1]. "Ko", the
study's unit of model size, is 1,024 bytes.
"""

import io
import math
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from smalti.bench.records import read_json, write_bytes, write_json
from smalti.errors import SourceError
from smalti.training.reports import EpochReport

__all__ = [
    "STUDY_TABLE",
    "AmortisationPoint",
    "ArchiveBytes",
    "ArchiveMeasure",
    "Pictures",
    "RunQuality",
    "RunResult",
    "StoredResult",
    "StudyInfo",
    "TestQuality",
    "break_even_images",
    "read_amortisation",
    "read_runs",
    "write_amortisation",
]

RAW_IMAGE_BYTES = 28 * 28


class StoredResult:
    """A frozen dataclass with a JSON file of its own, `file_name`, in the study's folder."""

    file_name: ClassVar[str]

    def write(self, folder: Path) -> None:
        """Write the result to the study's folder."""
        write_json(folder / self.file_name, self)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the result in the study's folder; None if it was not measured."""
        path = folder / cls.file_name
        return read_json(cls, path) if path.exists() else None


@dataclass(frozen=True)
class RunQuality:
    """MSE per pixel and mean SSIM of images in [0, 1] after rounding to uint8."""

    mse: float
    ssim: float


@dataclass(frozen=True)
class TestQuality:
    """Quality over the first `images` test images."""

    __test__ = False  # it is no test of pytest

    images: int
    mse: float
    ssim: float


@dataclass(frozen=True)
class StudyRow:
    """A row of the study's Table 1: quality on the first 100 test images, and model size in Ko."""

    mse: float
    ssim: float
    model_ko: int


STUDY_TABLE: dict[int, StudyRow] = {
    64: StudyRow(0.0188, 0.6901, 1062),
    128: StudyRow(0.0094, 0.8713, 1078),
    256: StudyRow(0.0126, 0.8212, 1110),
    512: StudyRow(0.0123, 0.8597, 1174),
}
"""The figures that the study published (Guszkiewicz, Table 1), one run each, by codebook size."""


@dataclass(frozen=True)
class ArchiveBytes:
    """An archive's bytes by part; they sum to the file."""

    header: int
    model: int
    prior: int
    tokens: int
    index: int
    columns: int

    def total(self) -> int:
        """Return the size of the file."""
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class ArchiveMeasure:
    """The size on disk of a real archive of `images` images, with and without model and prior.

    bytes_per_image : without model and prior
    ratio, ratio_without_model : raw bytes of the images divided by those of the file
    """

    images: int
    archive_bytes: int
    bytes: ArchiveBytes
    bytes_per_image: float
    bytes_per_image_with_model: float
    ratio: float
    ratio_without_model: float

    def __post_init__(self) -> None:
        if self.bytes.total() != self.archive_bytes:
            raise SourceError(f"the archive's parts sum to {self.bytes.total()}, not to {self.archive_bytes} bytes")

    @classmethod
    def of(cls, images: int, parts: ArchiveBytes, image_bytes: int = RAW_IMAGE_BYTES) -> "ArchiveMeasure":
        """Return the measure of an archive of `images` images of `image_bytes` raw bytes each."""
        total = parts.total()
        varying = total - parts.model - parts.prior
        raw_bytes = images * image_bytes
        return cls(images, total, parts, varying / images, total / images, raw_bytes / total, raw_bytes / varying)


@dataclass(frozen=True)
class RunResult:
    """One finished training run.

    variant : "paper", "cured", or a variant of the ablation ("ema", "kmeans", "restart", "low-dim", ...)
    model_bytes : float32 size of all parameters, codebook included
    fixed_length_bytes_per_image : tokens x ceil(log2 K) bits
    codes_used, perplexity, entropy_bits_per_token : of the test images' tokens, of order 0
    history : one report per epoch
    """

    variant: str
    codebook_size: int
    seed: int
    epochs: int
    train_images: int
    parameters: int
    model_bytes: int
    fit_seconds: float
    first_100: RunQuality
    test: TestQuality
    codes_used: int
    perplexity: float
    entropy_bits_per_token: float
    tokens_per_image: int
    fixed_length_bytes_per_image: float
    archive: ArchiveMeasure
    history: tuple[EpochReport, ...]
    machine: str

    @property
    def name(self) -> str:
        """The name of the run and of its file: `<variant>-k<K>-s<seed>`."""
        return f"{self.variant}-k{self.codebook_size}-s{self.seed}"

    @property
    def model_ko(self) -> float:
        """Model size in the study's unit."""
        return self.model_bytes / 1024

    def write(self, folder: Path) -> Path:
        """Write the result to the study's folder and return the path."""
        path = folder / "runs" / f"{self.name}.json"
        write_json(path, self)
        return path


def read_runs(folder: Path) -> tuple[RunResult, ...]:
    """Return every run in the study's folder, by variant, codebook size and seed."""
    runs = [read_json(RunResult, path) for path in (folder / "runs").glob("*.json")]
    return tuple(sorted(runs, key=lambda run: (run.variant, run.codebook_size, run.seed)))


@dataclass(frozen=True)
class AmortisationPoint:
    """A real archive of the first `images` images, model included."""

    images: int
    archive_bytes: int
    ratio: float


def write_amortisation(folder: Path, points: tuple[AmortisationPoint, ...]) -> None:
    """Write the points to the study's folder, as a JSON list."""
    write_json(folder / "amortisation.json", points)


def read_amortisation(folder: Path) -> tuple[AmortisationPoint, ...]:
    """Return the points in the study's folder, fewest images first; an empty tuple if they were not measured."""
    path = folder / "amortisation.json"
    if not path.exists():
        return ()
    points = read_json(tuple[AmortisationPoint, ...], path)
    return tuple(sorted(points, key=lambda point: point.images))


def break_even_images(points: tuple[AmortisationPoint, ...], bytes_per_image: float) -> int | None:
    """Return the least number of images at which the archive takes at most `bytes_per_image` each.

    points : real archives, fewest images first. Between them the file's size is interpolated linearly, because the
        model is constant and the tokens grow evenly

    Returns None if even the largest archive takes more.
    """
    for number, point in enumerate(points):
        if point.archive_bytes > bytes_per_image * point.images:
            continue
        if number == 0:
            return point.images
        before = points[number - 1]
        growth = (point.archive_bytes - before.archive_bytes) / (point.images - before.images)
        fixed = before.archive_bytes - growth * before.images
        return min(point.images, math.ceil(fixed / (bytes_per_image - growth)))
    return None


@dataclass(frozen=True)
class StudyInfo(StoredResult):
    """How the study was run: the command that makes these results, the machine, and the release."""

    file_name: ClassVar[str] = "study.json"
    command: str
    machine: str
    smalti_version: str


@dataclass(frozen=True)
class Pictures:
    """Pictures of a run.

    originals, reconstructions : uint8 [n, 28, 28], the first test images and their reconstructions
    atlas : uint8 [codes_used, 28, 28], each used code decoded alone, surrounded by the most used one; most used first
    uses : int64 [codes_used], how many tokens of the test images use each code
    """

    originals: NDArray[np.uint8]
    reconstructions: NDArray[np.uint8]
    atlas: NDArray[np.uint8]
    uses: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.originals.shape != self.reconstructions.shape or len(self.atlas) != len(self.uses):
            raise SourceError(
                f"pictures do not fit together: originals {self.originals.shape}, reconstructions "
                f"{self.reconstructions.shape}, atlas {self.atlas.shape}, uses {self.uses.shape}"
            )

    def write(self, folder: Path, run_name: str) -> Path:
        """Write the pictures of the run called `run_name` to the study's folder."""
        path = folder / "pictures" / f"{run_name}.npz"
        stored = io.BytesIO()
        np.savez_compressed(
            stored, allow_pickle=False, **{each.name: getattr(self, each.name) for each in fields(self)}
        )
        write_bytes(path, stored.getvalue())
        return path

    @classmethod
    def read(cls, folder: Path, run_name: str) -> "Pictures | None":
        """Return the pictures of a run, None if there are none; SourceError if the file is damaged."""
        path = folder / "pictures" / f"{run_name}.npz"
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as stored:
                return cls(**{field.name: stored[field.name] for field in fields(cls)})
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise SourceError(f"{path} holds no pictures of this release: {error}; run the study anew") from error

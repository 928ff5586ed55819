"""One run of the study: fit a model (or take the stored one), pack a real archive, and measure its decoded images.

A run has a variant of the quantiser: the study's own, one with a single cure of codebook collapse, or one with all.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smalti.archive.read.reader import open_archive
from smalti.bench.records import describe_machine
from smalti.codec.fit import fit_source
from smalti.codec.pack import pack
from smalti.codec.request import PackOptions
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.errors import SourceError
from smalti.exchange import compare
from smalti.images.source import ImageSource
from smalti.storage.spool import spool_folder
from smalti.study.results import ArchiveBytes, ArchiveMeasure, Pictures, RunQuality, RunResult, TestQuality
from smalti.training.observer import Observer
from smalti.training.paper.grid_model import Model
from smalti.training.paper.settings import FitSettings, QuantizerSettings
from smalti.training.reports import EpochReport, token_statistics

__all__ = ["ABLATED", "CURED", "PAPER", "PICTURED_IMAGES", "VARIANTS", "Run", "fit_run", "measure_run", "model_path"]

PICTURED_IMAGES = 10
LOW_CODE_DIM = 8

PAPER = "paper"
CURED = "cured"

VARIANTS: dict[str, QuantizerSettings] = {
    PAPER: QuantizerSettings(),
    "ema": QuantizerSettings(update="ema"),
    "kmeans": QuantizerSettings(start="kmeans"),
    "restart": QuantizerSettings(restart=True),
    "low-dim": QuantizerSettings(code_dim=LOW_CODE_DIM),
    CURED: QuantizerSettings(update="ema", start="kmeans", restart=True, code_dim=LOW_CODE_DIM),
}
"""Each variant's quantiser; the codebook size is the run's."""

ABLATED = tuple(name for name in VARIANTS if name not in {PAPER, CURED})
"""The variants with one cure each."""


@dataclass(frozen=True, order=True)
class Run:
    """One fit of the study: a variant, a codebook size K and a seed."""

    variant: str
    codebook_size: int
    seed: int

    @property
    def name(self) -> str:
        """The stem of every file of this run."""
        return f"{self.variant}-k{self.codebook_size}-s{self.seed}"

    def settings(self, epochs: int) -> FitSettings:
        """Return the settings of the fit: the study's protocol and network, this run's quantiser."""
        quantizer = replace(VARIANTS[self.variant], codebook_size=self.codebook_size)
        return FitSettings(profile=PAPER, quantizer=quantizer, epochs=epochs, seed=self.seed)


def model_path(folder: Path, run: Run) -> Path:
    """Return the path of a run's model in the study's folder."""
    return folder / "models" / f"{run.name}.smalti-model"


def fit_run(run: Run, epochs: int, train: ImageSource, test: ImageSource, folder: Path, observer: Observer) -> Model:
    """Return the run's model: the one stored in `folder` if it is of the same fit, else a new one, which is stored.

    An interrupted fit leaves a checkpoint next to the model, and resumes from it next time.
    """
    path, settings = model_path(folder, run), run.settings(epochs)
    if path.exists():
        model = Model.load(path)
        if model.settings == settings and model.provenance["images"] == len(train):
            return model
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = path.with_suffix(".checkpoint")
    fitted = fit_source(train, settings, validation=test, checkpoint=checkpoint, resume=True, observer=observer)
    fitted.save(path)
    checkpoint.unlink(missing_ok=True)
    assert isinstance(fitted, Model)  # such settings fit a Model
    return fitted


def measure_run(
    run: Run, model: Model, test: ImageSource, pictured: NDArray[np.uint8], folder: Path
) -> tuple[RunResult, Pictures]:
    """Pack the test images with the run's model, and measure the file and its decoded images.

    pictured : uint8 [n, H, W], the first test images, for the pictures
    folder : of the study; the archive is a temporary file in it
    """
    with spool_folder(folder / "test") as scratch:
        path = scratch / "test.smalti"
        pack(test, path, model, options=PackOptions(labels=False, threads=1))
        with open_archive(path) as archive:
            quality = compare(archive, test).quality
            info, tokens = archive.info(), archive.tokens()
            reconstructions = archive[: len(pictured)].astype(np.uint8, copy=False)  # they are uint8, like `pictured`
    counts = np.bincount(tokens.ravel(), minlength=run.codebook_size)
    statistics = token_statistics(counts)
    tokens_per_image = int(np.prod(tokens.shape[1:]))
    result = RunResult(
        variant=run.variant,
        codebook_size=run.codebook_size,
        seed=run.seed,
        epochs=model.settings.epochs,
        train_images=model.provenance["images"],
        parameters=model.provenance["parameters"],
        model_bytes=4 * int(model.provenance["parameters"]),
        fit_seconds=sum(epoch["seconds"] for epoch in model.history),
        first_100=RunQuality(quality.first_100.mse, _known(quality.first_100.ssim)),
        test=TestQuality(quality.images, quality.mse_mean, _known(quality.ssim_mean)),
        codes_used=statistics.codes_used,
        perplexity=statistics.perplexity,
        entropy_bits_per_token=statistics.entropy_bits_per_token,
        tokens_per_image=tokens_per_image,
        fixed_length_bytes_per_image=tokens_per_image * (run.codebook_size - 1).bit_length() / 8,
        archive=ArchiveMeasure.of(info.images, ArchiveBytes(**asdict(info.bytes))),
        history=tuple(EpochReport(**epoch) for epoch in model.history),
        machine=describe_machine(),
    )
    return result, _pictures(model, counts, pictured, reconstructions)


def _pictures(
    model: Model, counts: NDArray[np.int64], pictured: NDArray[np.uint8], reconstructions: NDArray[np.uint8]
) -> Pictures:
    """Return the run's pictures; in the atlas the most used code is the background of every other code."""
    by_use = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    rows, columns = reconstructions.shape[1] // 4, reconstructions.shape[2] // 4
    grids = np.full((len(by_use), rows, columns), by_use[0])
    grids[:, rows // 2, columns // 2] = by_use
    atlas = IntegerDecoder(model.decoder).decode(grids)[..., 0].astype(np.uint8, copy=False)
    return Pictures(pictured, reconstructions, atlas, counts[by_use])


def _known(value: float | None) -> float:
    if value is None:
        raise SourceError("SSIM needs images of at least 7x7 pixels; run the study on larger ones")
    return value

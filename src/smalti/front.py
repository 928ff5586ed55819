"""What `import smalti` offers to do: the same work as the command line, through the same code.

`smalti.open`, `merge`, `drop` and `relabel` are of the archive's layer. What fits or packs needs the extra
`smalti[train]`, whose packages are imported when they are first needed. The highest layer, beside the command line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from smalti.archive.collection.collection import Collection
from smalti.archive.collection.collection_info import CollectionInfo
from smalti.archive.edit.edit import append_archive
from smalti.archive.format.limits import Limits
from smalti.archive.open import open_images
from smalti.archive.read.reader import Archive
from smalti.archive.recovery.parity import RecoverySpec
from smalti.archive.recovery.repair import RepairReport, repair_archive
from smalti.archive.report import ArchiveInfo, Level, VerifyReport
from smalti.errors import DamagedArchiveError, MissingDependencyError, UsageError
from smalti.exchange import Comparison, Extracted, compare
from smalti.exchange import extract as extract_images
from smalti.extras import needing
from smalti.images.batch import Pixels, SkippedFile
from smalti.threads import default_threads

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from smalti.codec.estimate import CodecComparison, ImageSample
    from smalti.codec.fit import FitReport
    from smalti.codec.pack import CompressReport
    from smalti.images.source import ImageSource
    from smalti.sources.tables.dataset_object import DatasetObject

__all__ = ["EstimateReport", "TestReport", "append", "compress", "estimate", "extract", "fit", "repair", "test"]

PathText = str | PathLike[str]
Images: TypeAlias = "str | Path | Pixels | DatasetObject"
Progress = Callable[[str, int, int], None]
"""Called with a stage of the work, and how many of its steps are done, of how many."""


def fit(
    images: Images,
    out: PathText,
    *,
    profile: str | None = None,
    codebook_size: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    target_mse: float | None = None,
    target_ssim: float | None = None,
    target_bytes: int | None = None,
    effort: int | None = None,
    validation: "Images | None" = None,
    strict: bool = False,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> "FitReport":
    """Fit a model on images of one shape and write it to the file `out`. Parameters are those of `compress`.

    validation : images that each epoch of "paper" is measured on; None for the test part of a named set, else some of
        `images`

    The figures of the fit go to OUT.log.json. Needs the extra `smalti[train]`. Raises what reading images, fitting and
    writing raise: all SmaltiError.
    """
    with needing("fitting", "train"):
        from smalti.codec.fit import fit_file  # noqa: PLC0415 (torch)
        from smalti.codec.request import FitRequest  # noqa: PLC0415 (torch)
        from smalti.training.observer import LoggingObserver  # noqa: PLC0415
    report = fit_file(
        images,
        Path(out),
        FitRequest(
            profile,
            codebook_size,
            epochs,
            seed,
            target_mse,
            target_ssim,
            target_bytes,
            effort,
            device=device,
            resume=resume,
        ),
        LoggingObserver(progress),
        validation=validation,
        strict=strict,
        overwrite=overwrite,
        threads=threads,
    )
    assert report is not None  # this process is rank 0
    return report


def compress(
    images: Images,
    out: PathText,
    *,
    model: PathText | None = None,
    profile: str | None = None,
    codebook_size: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    target_mse: float | None = None,
    target_ssim: float | None = None,
    target_bytes: int | None = None,
    effort: int | None = None,
    adapt: bool = False,
    labels: "ArrayLike | bool | None" = None,
    max_mse: float | None = None,
    recovery: str | None = None,
    strict: bool = False,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
    storage_options: "Mapping[str, Any] | None" = None,
) -> "CompressReport":
    """Write images to the archive `out`, with a model from a file or one fitted on the images themselves.

    images : uint8 or uint16 [N, H, W] or [N, H, W, C] with C from 1 to 4, a dataset of Hugging Face `datasets`, or any
        SOURCE that the command line takes; images of several shapes become a collection
    model : a file from `smalti fit`; with it, profile, codebook_size, epochs and seed must be left alone
    profile : "paper", the study's network; "compact", the fewest bytes; "fine", more quality. None is "paper", or
        "compact" if there is a target or an effort
    target_mse, target_ssim, target_bytes : what the collection is to come to, one of them at most; see docs/rate.md
    effort : 0 to 9, the time for "compact" and "fine"
    adapt : whether the archive's copy of a given model may learn from these images
    labels : integers [N], for an array, as an array, a list or a tensor; False leaves out those that the source has
    max_mse : error bound of every image (mean squared error of pixels scaled to 0..1); 0 is lossless
    recovery : "m/n" adds data that repair up to m lost blocks in every n; needs the extra `smalti[recovery]`
    strict : whether a file that cannot be read is an error, and not skipped
    device : where to compute: "cpu", "cuda", "mps" or "auto"
    resume : whether to go on from what an interrupted call left beside `out`
    threads : how many to use; None for all cores
    progress : called as `progress(stage, done, total)`; what it raises ends the work. Stages are "fit", "encode",
        "search", "refit" and "write"
    storage_options : what fsspec needs to reach images behind a URL, as for `smalti.open`

    Needs the extra `smalti[train]`. Raises what reading the source, fitting and writing raise: all SmaltiError.
    """
    with needing("compressing", "train"):
        from smalti.codec.compress import compress_images  # noqa: PLC0415 (torch)
        from smalti.codec.request import FitRequest, PackOptions  # noqa: PLC0415 (torch)
        from smalti.training.observer import LoggingObserver  # noqa: PLC0415
    given = None if labels is None or isinstance(labels, bool) else labels
    return compress_images(
        images,
        Path(out),
        None if model is None else Path(model),
        FitRequest(
            profile,
            codebook_size,
            epochs,
            seed,
            target_mse,
            target_ssim,
            target_bytes,
            effort,
            adapt,
            device,
            resume,
        ),
        PackOptions(
            labels is not False,
            max_mse,
            None if recovery is None else RecoverySpec.parse(recovery),
            strict,
            overwrite,
            threads,
        ),
        LoggingObserver(progress),
        labels=given,
        storage_options=storage_options,
    )


def append(
    path: PathText,
    added: Images,
    *,
    model: PathText | None = None,
    labels: bool = True,
    max_mse: float | None = None,
    strict: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> "CompressReport | None":
    """Put images behind those of an archive, in place; what is there is copied as it is.

    added : another archive; or, with a model, images as `compress` takes them, whose report is returned
    model : a file from `smalti fit`. With the one that the archive was made with, no second model is stored
    labels : whether labels go with the images
    limits : for opening the archives, if there is no model

    The other parameters are those of `compress`. Raises what `merge` raises, and with a model what `compress` raises.
    """
    if model is None:
        if not isinstance(added, str | PathLike):
            raise UsageError("images need a model to be appended: give model, a file from smalti fit")
        append_archive(path, added, limits=limits)
        return None
    with needing("compressing", "train"):
        from smalti.codec.compress import append_images  # noqa: PLC0415 (torch)
        from smalti.codec.request import FitRequest, PackOptions  # noqa: PLC0415 (torch)
        from smalti.training.observer import LoggingObserver  # noqa: PLC0415
    options = PackOptions(labels, max_mse, strict=strict, threads=threads)
    return append_images(Path(path), added, Path(model), FitRequest(device=device), options, LoggingObserver(progress))


def extract(
    archive: PathText,
    out: PathText,
    indices: Sequence[int] | None = None,
    *,
    skip_damaged: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Extracted:
    """Write images of an archive to files, with all that is known of them.

    archive : a path or URL of an archive, a collection or a manifest
    out : .npy, IDX (-idx3-ubyte, also .gz), .tar (also .gz, .zst), .parquet, or else a folder of PNG files
    indices : which images, in this order; None for all. An index from the end is negative
    skip_damaged : whether what can be read of a damaged archive is written; the report lists what is missing
    threads, progress : as for `compress`; the stage is "decompress"

    Raises ImageIndexError, DamagedArchiveError, UsageError if `out` is the archive itself, OutputError.
    """
    target = Path(out)
    with open_images(archive, threads=default_threads(threads)) as opened:
        return extract_images(
            opened,
            target,
            indices,
            overwrite=overwrite,
            skip_damaged=skip_damaged,
            progress=_staged("decompress", progress),
        )


@dataclass(frozen=True)
class EstimateReport:
    """What images would come to, beside classical codecs.

    comparison : its `estimate` has the bytes, its `verdict` and `sentence()` what to use
    skipped : files of the sample that could not be read
    not_compared : why classical codecs were not measured, in one line; None if they were
    """

    comparison: "CodecComparison"
    skipped: tuple[SkippedFile, ...]
    not_compared: str | None


def estimate(
    images: Images,
    *,
    profile: str | None = None,
    target_mse: float | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    report: Callable[[str], None] | None = None,
) -> EstimateReport:
    """Return what images would about come to with "compact" or "fine", from a sample and without a fit.

    profile : whose aim is taken if there is no `target_mse`; None is "compact"
    threads, progress : as for `compress`; the stage is "classical codecs". These need the extra `smalti[study]`
    report : takes a line for each step of a download; None sends it to the logger "smalti"

    Needs the extra `smalti[train]`. Raises SourceError, UsageError.
    """
    with needing("estimating", "train"):
        from smalti.codec.estimate import CodecComparison, draw_sample, goal_of  # noqa: PLC0415 (torch)
        from smalti.codec.estimate import estimate as estimate_sample  # noqa: PLC0415
        from smalti.codec.fit import torch_threads  # noqa: PLC0415
        from smalti.sources.open import open_source  # noqa: PLC0415
    goal = goal_of(profile, target_mse)
    source = open_source(images, report=report)
    with torch_threads(default_threads(threads)):
        sample = draw_sample(source)
        assert goal.mse is not None
        mse = sample.scale.true_mse(goal.mse) if goal.of_range else goal.mse
        found = estimate_sample(sample, mse)
    needed: dict[str, int] = {}
    not_compared = None
    try:
        needed = _classical(sample, mse, _staged("classical codecs", progress))
    except (MissingDependencyError, UsageError) as error:
        not_compared = str(error)
    return EstimateReport(CodecComparison(found, needed), tuple(source.skipped), not_compared)


def repair(archive: PathText, out: PathText, *, partial: bool = False, overwrite: bool = False) -> RepairReport:
    """Write a sound file from a damaged archive: the bytes that were written at first, if nothing stays lost.

    out : may be the archive itself, with `overwrite`
    partial : whether a file is written even if something stays lost

    Raises NotAnArchiveError, UnsupportedArchiveError, OutputError, OutputExistsError.
    """
    return repair_archive(Path(archive), Path(out), overwrite=overwrite, partial=partial)


@dataclass(frozen=True)
class TestReport:
    """What was checked of an archive.

    integrity : `ok` says whether every checksum holds    damage : what was wrong on opening, and was overcome
    comparison : with the originals, if there were any and the archive is sound
    skipped : files of the originals that could not be read
    """

    __test__ = False  # no test of pytest

    path: Path | str
    info: ArchiveInfo | CollectionInfo
    integrity: VerifyReport
    damage: tuple[str, ...]
    comparison: Comparison | None = None
    skipped: tuple[SkippedFile, ...] = ()


def test(
    archive: PathText,
    *,
    against: "Images | None" = None,
    level: Level = "tokens",
    threads: int | None = None,
    progress: Progress | None = None,
    report: Callable[[str], None] | None = None,
) -> TestReport:
    """Check the checksums of an archive, and measure its quality if there are originals.

    archive : a path or URL of an archive, a collection or a manifest
    against : the original images, as `compress` takes them
    level : "quick" checks the index and heads, "tokens" also decodes every token, "pixels" also every image
    threads, progress : as for `compress`; the stages are "test" and "compare"    report : as for `estimate`

    Damage is in the report. Raises DamagedArchiveError if pixels are not those that were written, and what opening
    raises.
    """
    if level == "quick" and against is not None:
        raise UsageError("--quick decodes nothing: give it alone")
    with open_images(archive, threads=default_threads(threads)) as opened:
        info, integrity = opened.info(), opened.verify(level, _staged("test", progress))
        damage, path = tuple(opened.damage), opened.path
        if against is None or not integrity.ok:
            return TestReport(path, info, integrity, damage)
        sources = _originals(opened, against, report)
        comparison = compare(opened, sources, _staged("compare", progress))
    if integrity.stored_sha256 not in (None, comparison.pixels_sha256):  # a collection has none of all its pixels
        raise DamagedArchiveError(f"{path}: its pixels are not those that were written: wrong SHA-256")
    skipped = tuple(file for source in sources for file in source.skipped)
    return TestReport(path, info, integrity, damage, comparison, skipped)


test.__test__ = False  # type: ignore[attr-defined]  # no test of pytest, wherever it is imported


def _originals(
    opened: Archive | Collection, against: Images, report: Callable[[str], None] | None
) -> "Sequence[ImageSource]":
    """Return the images to compare with: of a collection those of every shape."""
    from smalti.sources.open import open_groups, open_source  # noqa: PLC0415 (image files and downloads, slow to import)

    if isinstance(opened, Collection):
        return open_groups(against, report=report)
    return [open_source(against, report=report)]


def _classical(sample: "ImageSample", mse: float, progress: Callable[[int, int], None]) -> dict[str, int]:
    """Return what classical codecs need for all images; MissingDependencyError or UsageError if they cannot be run."""
    with needing("comparing with classical codecs", "study"):
        from smalti.bench.mosaics import baseline_bytes_per_image  # noqa: PLC0415 (codecs are slow to import)
    needed = baseline_bytes_per_image(sample.pixels, mse, progress)
    return {name: round(each * sample.images) for name, each in needed.items()}


def _staged(stage: str, progress: Progress | None) -> Callable[[int, int], None]:
    def on_step(done: int, total: int) -> None:
        if progress is not None:
            progress(stage, done, total)

    return on_step

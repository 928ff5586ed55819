"""Fit models on images, pack images, and estimate. Layer: part of `front`.

All of it needs the extra `smalti[train]`, whose packages are imported when a function first needs them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from smalti.archive.edit.edit import append_archive
from smalti.archive.format.limits import Limits
from smalti.archive.recovery.parity import RecoverySpec
from smalti.errors import MissingDependencyError, UsageError
from smalti.extras import needing
from smalti.front.arguments import Images, PathText, Progress, progress_of
from smalti.images.batch import SkippedFile
from smalti.threads import default_threads

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from smalti.codec.bulk.plan import Plan
    from smalti.codec.bulk.running import BulkReport
    from smalti.codec.estimate import CodecComparison
    from smalti.codec.fit import FitReport
    from smalti.codec.foretelling import Foretold
    from smalti.codec.pack import CompressReport

__all__ = ["EstimateReport", "append", "compress", "estimate", "fit", "plan", "run_plan"]


def fit(
    images: Images,
    out: PathText,
    *,
    profile: str | None = None,
    codebook_size: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    psnr: float | None = None,
    ssim: float | None = None,
    target_mse: float | None = None,
    target_ssim: float | None = None,
    target_bytes: int | None = None,
    max_error: int | None = None,
    effort: int | None = None,
    validation: "Images | None" = None,
    strict: bool = False,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> "FitReport":
    """Fit a model on images and write it to the file `out`: of any sizes for "photo", of one shape for other profiles.

    validation : images that each epoch of "paper" is measured on; None for the test part of a named set, else some of
        `images`

    The other parameters are those of `compress`. The figures of the fit go to OUT.log.json. Needs the extra
    `smalti[train]`. Raises what reading images, fitting and writing raise: all SmaltiError.
    """
    with needing("fitting", "train"):
        from smalti.codec import FitRequest, fit_file  # noqa: PLC0415 (torch)
        from smalti.training.observer import LoggingObserver  # noqa: PLC0415
    targets = (target_mse, _ssim(ssim, target_ssim), target_bytes)
    report = fit_file(
        images,
        Path(out),
        FitRequest(
            profile,
            codebook_size,
            epochs,
            seed,
            *targets,
            effort,
            device=device,
            resume=resume,
            psnr=psnr,
            max_error=max_error,
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
    psnr: float | None = None,
    ssim: float | None = None,
    target_mse: float | None = None,
    target_ssim: float | None = None,
    target_bytes: int | None = None,
    max_error: int | None = None,
    effort: int | None = None,
    adapt: bool = False,
    labels: "ArrayLike | bool | None" = None,
    max_mse: float | None = None,
    recovery: str | None = None,
    block_images: int | None = None,
    compare: bool = True,
    strict: bool = False,
    device: str = "cpu",
    resume: bool = False,
    page: PathText | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
    storage_options: "Mapping[str, Any] | None" = None,
) -> "CompressReport":
    """Write images to the archive `out`, with a model from a file or one that is fitted on the images themselves.

    images : uint8 or uint16 [N, H, W] or [N, H, W, C] with C from 1 to 4, a dataset of Hugging Face `datasets`, or any
        SOURCE that the command line takes
    model : a file from `smalti fit`, which fixes profile, codebook_size, epochs and seed: do not give them too
    profile : "photo", for images of any sizes; "drawing", the part of it for sharp edges and few colours, which "photo"
        takes by itself; "lossless", every sample as it was; "compact", the fewest bytes for many small images of one
        size; "fine", more of their detail; "paper", the network of the study; "auto", the choice of "photo" or
        "compact" by images and target. None is "auto"; with a codebook size or epochs it is "paper", or "compact" if
        there is a target; with `max_error` it is "lossless"
    codebook_size : codes of a codebook, 2 to 65536; None for 128 ("paper"), or what the fit chooses
    epochs : passes over the images, for "paper"; None for 3
    seed : of everything random; None for 0
    psnr : the quality that the whole collection should reach, in dB: that of the mean squared error over all images.
        None is 36 for "auto" and "photo", if there is no other target
    ssim, target_mse, target_bytes : instead of `psnr`, the mean similarity, the mean squared error (pixels scaled to
        0..1), or the size of the archive; at most one of the four (docs/rate.md). `target_ssim` is `ssim`
    max_error : instead, how far each sample may be from its original, of 255 or 65,535; 0 loses nothing
    effort : 0 to 9, the time for all profiles but "paper"
    adapt : let the archive's copy of a given model learn from these images
    labels : integers [N], for an array, as an array, a list or a tensor; False leaves out those that the source has
    max_mse : error bound of every image (mean squared error of pixels scaled to 0..1); 0 is lossless
    compare : with the profiles "auto" and "photo", measure AVIF and JPEG XL on a sample afterwards, with
        "lossless" JPEG XL, WebP and PNG, for up to 20 seconds; the logger "smalti" warns if they are smaller
    recovery : "m/n" adds data that repair up to m lost blocks in every n; needs the extra `smalti[recovery]`
    block_images : about how many images reading one of them decodes; fewer make that quicker and the archive larger
        (docs/speed.md)
    strict : raise an error for a file that cannot be read, and do not skip it
    device : where to compute: "cpu", "cuda", "mps" or "auto"
    resume : continue from the state that an interrupted call left next to `out`
    page : an HTML file to write as well: originals, decoded images, differences, the worst ten, a histogram of PSNR
    overwrite : replace `out` and `page` if they exist
    threads : how many to use; None for all cores
    progress : called as `progress(stage, done, total)`; an error that it raises ends the work. Stages are "fit",
        "encode", "search", "refit" and "write"
    storage_options : options with which fsspec reaches images behind a URL, as for `smalti.open`

    Needs the extra `smalti[train]`. Raises what reading the source, fitting and writing raise: all SmaltiError.
    """
    with needing("compressing", "train"):
        from smalti.codec import FitRequest, PackOptions, compress_images  # noqa: PLC0415 (torch)
        from smalti.training.observer import LoggingObserver  # noqa: PLC0415
    given = None if labels is None or isinstance(labels, bool) else labels
    targets = (target_mse, _ssim(ssim, target_ssim), target_bytes)
    if page is not None:
        from smalti.bench.pictures_page import check_page, write_page_of  # noqa: PLC0415 (image files are slow to import)

        check_page(Path(page), Path(out), overwrite)
    report = compress_images(
        images,
        Path(out),
        None if model is None else Path(model),
        FitRequest(profile, codebook_size, epochs, seed, *targets, effort, adapt, device, resume, psnr, max_error),
        PackOptions(
            labels is not False, max_mse, _recovery(recovery), strict, overwrite, threads, compare, block_images
        ),
        LoggingObserver(progress),
        labels=given,
        storage_options=storage_options,
    )
    if page is not None:
        on_step = progress or (lambda stage, done, total: None)
        write_page_of(images, Path(out), Path(page), threads, on_step, overwrite, storage_options)
    return report


def append(
    path: PathText,
    added: Images,
    *,
    model: PathText | None = None,
    psnr: float | None = None,
    ssim: float | None = None,
    target_mse: float | None = None,
    effort: int | None = None,
    labels: bool = True,
    max_mse: float | None = None,
    strict: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> "CompressReport | None":
    """Add images at the end of an archive, in place; the images it has are copied unchanged.

    added : another archive; or, with a model, images as `compress` takes them
    model : a file from `smalti fit`. No second model is stored if the archive was made with this one
    labels : whether labels go with the images
    limits : for opening the archives, if there is no model

    The other parameters are those of `compress`. Returns the report on the added images; None without a model. Raises
    what `merge` raises, and with a model what `compress` raises.
    """
    if model is None:
        if not isinstance(added, str | PathLike):
            raise UsageError("images need a model to be appended: give model, a file from smalti fit")
        if any(value is not None for value in (psnr, ssim, target_mse, effort)):
            raise UsageError("an archive is appended as it is: leave target and effort out, or give model")
        append_archive(path, added, limits=limits)
        return None
    with needing("compressing", "train"):
        from smalti.codec import FitRequest, PackOptions, append_images  # noqa: PLC0415 (torch)
        from smalti.training.observer import LoggingObserver  # noqa: PLC0415
    options = PackOptions(labels, max_mse, strict=strict, threads=threads)
    request = FitRequest(target_mse=target_mse, target_ssim=ssim, effort=effort, device=device, psnr=psnr)
    return append_images(Path(path), added, Path(model), request, options, LoggingObserver(progress))


def plan(
    source: str,
    out: PathText,
    *,
    model: PathText,
    shard_images: int,
    out_folder: PathText | None = None,
    by_file: bool = False,
    labels: bool = True,
    max_mse: float | None = None,
    recovery: str | None = None,
    block_images: int | None = None,
    psnr: float | None = None,
    ssim: float | None = None,
    target_mse: float | None = None,
    effort: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> "Plan":
    """Fix how a large source is cut into shards, and write the plan to the file `out`; `run_plan` makes the shards.

    source : any SOURCE that the command line takes; no image of it is decoded
    model : a file from `smalti fit`, for all shards
    shard_images : images of a shard; the last may have fewer
    out_folder : where the shards go; None for OUT.shards
    by_file : for many TAR, TFRecord or Parquet files: shards end where files end, as far as `shard_images` allows

    The other parameters are those of `compress`, and a target holds for each shard; the stage is "count". Raises what
    opening the source and loading the model raise, UsageError, OutputExistsError, OutputError.
    """
    with needing("planning", "train"):
        from smalti.codec import FitRequest, PackOptions  # noqa: PLC0415 (torch)
        from smalti.codec.bulk.plan import plan_file  # noqa: PLC0415
        from smalti.training.observer import LoggingObserver  # noqa: PLC0415
    return plan_file(
        source,
        Path(out),
        Path(model),
        shard_images,
        None if out_folder is None else Path(out_folder),
        FitRequest(target_mse=target_mse, target_ssim=ssim, effort=effort, psnr=psnr),
        PackOptions(labels, max_mse, _recovery(recovery), block_images=block_images),
        LoggingObserver(progress),
        by_file=by_file,
        overwrite=overwrite,
    )


def run_plan(
    path: PathText,
    *,
    task: str | None = None,
    engine: Literal["local", "ray"] | None = None,
    workers: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> "BulkReport":
    """Make the shards of a plan that are missing or damaged, and the manifest once all of them are there.

    path : a file from `plan`
    task : "i/n" makes part i, from 0, of n parts of the shards in this process; None makes all, with workers
    engine : what runs the workers; None is "local", processes of this machine
    workers : shards made at a time; None for all cores
    strict : fail a shard if an entry of it cannot be read, and do not skip the entry
    overwrite : replace shards of another plan in the same folder
    progress : as for `compress`; the stage is "shards"

    Local workers are spawned: a script that calls this needs `if __name__ == "__main__":`. The report lists failures of
    single shards. Raises SmaltiError if there is no sound plan, UsageError, OutputError, OutputExistsError.
    """
    with needing("compressing", "train"):
        from smalti.codec.bulk.running import compress_plan  # noqa: PLC0415 (torch)
        from smalti.training.observer import LoggingObserver  # noqa: PLC0415
    observer = LoggingObserver(progress)
    return compress_plan(
        Path(path), observer, task=task, engine=engine, workers=workers, strict=strict, overwrite=overwrite
    )


@dataclass(frozen=True)
class EstimateReport:
    """The estimated size of an archive, and the sizes that classical codecs need.

    comparison : `estimate` has the profile and the bytes; `verdict` and `sentence()` say what to use
    skipped : files of the sample that could not be read
    not_compared : why no other codec was measured, in one line; None if they were measured
    """

    comparison: "CodecComparison"
    skipped: tuple[SkippedFile, ...]
    not_compared: str | None


def estimate(
    images: Images,
    *,
    profile: str | None = None,
    psnr: float | None = None,
    target_mse: float | None = None,
    max_error: int | None = None,
    effort: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    report: Callable[[str], None] | None = None,
) -> EstimateReport:
    """Estimate the size of the archive that `compress` would write with the same options, from a sample and no fit.

    profile : "photo", "lossless", "compact" or "fine"; "auto" and None choose as `compress` does
    psnr, target_mse : as for `compress`: the default is 36 dB, and with "compact" and "fine" their own
    max_error : how far each sample may be off; 0 is lossless
    effort : 0 to 9, as for `compress`; it matters to "photo" and "lossless" alone
    threads, progress : as for `compress`; the stage is "other codecs": with "photo" AVIF and JPEG XL file by file, else
        JPEG XL, AVIF and WebP with all images as one, which needs the extra `smalti[study]`
    report : called with a line for each step of a download; None sends it to the logger "smalti"

    Labels and names are not counted. Needs the extra `smalti[train]`. Raises SourceError, UsageError.
    """
    with needing("estimating", "train"):
        from smalti.codec.estimate import CodecComparison  # noqa: PLC0415 (torch)
        from smalti.codec.fit import torch_threads  # noqa: PLC0415
        from smalti.codec.foretelling import estimate_request, foretell  # noqa: PLC0415
        from smalti.sources.open import open_images_of  # noqa: PLC0415
    request = estimate_request(profile, target_mse, psnr, effort, max_error)
    with torch_threads(default_threads(threads)):
        found = foretell(open_images_of(images, report=report), request)
    needed: dict[str, int] = {}
    not_compared = None
    try:
        needed = _other_codecs(found, progress_of("other codecs", progress))
    except (MissingDependencyError, UsageError) as error:
        not_compared = str(error)
    return EstimateReport(CodecComparison(found.estimate, needed, found.sample is None), found.skipped, not_compared)


def _other_codecs(found: "Foretold", progress: Callable[[int, int], None]) -> dict[str, int]:
    """Return what other codecs need for all images; MissingDependencyError or UsageError if they cannot be run."""
    sample, at = found.sample, found.estimate
    if sample is None:
        from smalti.peers.comparison import bytes_of_peers, lossless_bytes  # noqa: PLC0415 (codecs are slow to import)

        if found.max_error is not None:
            return lossless_bytes([sample for sample, _ in found.files], found.max_error, progress)
        return bytes_of_peers(found.files, progress)
    with needing("comparing with classical codecs", "study"):
        from smalti.bench.mosaics import baseline_bytes_per_image  # noqa: PLC0415 (codecs are slow to import)
    needed = baseline_bytes_per_image(sample.pixels, at.target_mse, progress)
    return {name: round(each * sample.images) for name, each in needed.items()}


def _ssim(ssim: float | None, target_ssim: float | None) -> float | None:
    """Return the target of similarity, which has two names; UsageError for both."""
    if ssim is not None and target_ssim is not None:
        raise UsageError("ssim and target_ssim are one target: give one of them")
    return target_ssim if ssim is None else ssim


def _recovery(recovery: str | None) -> RecoverySpec | None:
    return None if recovery is None else RecoverySpec.parse(recovery)

"""What `smalti compress` would make of images with the same options: the profile, and about how many bytes.

Nothing is fitted. `choice` chooses the profile; `estimate` estimates `compact` and `fine`, and
`training.transform.forecast` estimates `photo`. Layer: part of `codec`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from smalti.codec.choice import AUTO, COMPACT, LOSSLESS, PHOTO, ImageFacts, choose_profile
from smalti.codec.estimate import Estimate, ImageSample, draw_sample, estimate
from smalti.codec.request import FitRequest
from smalti.errors import UsageError
from smalti.images.batch import SkippedFile
from smalti.images.signs import unsigned
from smalti.images.source import SizedSource
from smalti.peers.comparison import Sample, sample_of
from smalti.sources.open import OpenedImages
from smalti.training.cells.forecast import WITHIN, Forecast
from smalti.training.common.goal import Goal
from smalti.training.lossless.lossless_forecast import forecast_lossless
from smalti.training.photo.photo_forecast import forecast_photo
from smalti.training.pixels.pixel_settings import PixelSettings
from smalti.training.pyramid.pyramid_settings import DEFAULT_MSE
from smalti.training.transform.transform_settings import TransformSettings

__all__ = ["Foretold", "estimate_request", "foretell"]


@dataclass(frozen=True)
class Foretold:
    """An estimate, and what other codecs are measured on.

    sample : images of one size, for codecs that take them as one large image; None with `photo`
    files : with `photo`, for each number of channels and dtype, images and the error that files of them should have
    skipped : files that could not be read
    max_error : with `lossless`, how far samples may be off; else None
    """

    estimate: Estimate
    sample: ImageSample | None
    files: tuple[tuple[Sample, float], ...]
    skipped: tuple[SkippedFile, ...]
    max_error: int | None = None


def estimate_request(
    profile: str | None,
    target_mse: float | None = None,
    psnr: float | None = None,
    effort: int | None = None,
    max_error: int | None = None,
) -> FitRequest:
    """Return what would be asked of a fit. UsageError for `paper`, two targets, or impossible ones."""
    if profile not in (None, AUTO, PHOTO, LOSSLESS, *DEFAULT_MSE):
        raise UsageError(
            f"the profile {profile} cannot be estimated: use --profile auto, photo, lossless, compact or fine"
        )
    return FitRequest(profile or AUTO, target_mse=target_mse, psnr=psnr, effort=effort, max_error=max_error)


def foretell(images: OpenedImages, request: FitRequest) -> Foretold:
    """Choose a profile as `compress` does, and estimate it. SourceError if no image can be read."""
    if isinstance(lossless := None if request.is_auto else request.settings(), PixelSettings):
        return _foretell_lossless([unsigned(one) for one in images.any_size()], lossless)
    request, why = _chosen(images, request)
    settings = request.settings()
    if isinstance(settings, TransformSettings):
        return _foretell_photo([unsigned(one) for one in images.any_size()], settings, why)
    goal = request.goal() or Goal(mse=DEFAULT_MSE[settings.profile], of_range=True)
    source = unsigned(images.usual())
    sample = draw_sample(source)
    assert goal.mse is not None
    mse = sample.scale.true_mse(goal.mse) if goal.of_range else goal.mse
    found = replace(estimate(sample, mse), profile=settings.profile, why=why)
    return Foretold(found, sample, (), tuple(source.skipped))


def _chosen(images: OpenedImages, request: FitRequest) -> tuple[FitRequest, str]:
    """Return a request with a profile, and in one line why it has this one."""
    decided = request.decided(AUTO)
    goal = decided.goal()
    assert goal is not None
    choice = choose_profile(ImageFacts.of(images.any_size()), goal)
    if request.is_auto:
        return decided.decided(choice.profile), choice.why
    own = COMPACT if request.profile in DEFAULT_MSE else PHOTO
    if choice.profile == own or not request.has_goal:
        return request, "as asked"
    return request, f"as asked; without --profile it would be {choice.profile} ({choice.why})"


def _foretell_lossless(sources: Sequence[SizedSource], settings: PixelSettings) -> Foretold:
    """Add up what the images of each number of channels and dtype would take; each has a model of its own."""
    assert settings.goal.max_error is not None
    found = _added(
        sources, [forecast_lossless(source, settings) for source in sources], 0.0, settings.profile, "as asked"
    )
    samples = [sample_of(source) for source in sources]
    files = tuple((sample, 0.0) for sample in samples if sample.originals)
    skipped = tuple(file for source in sources for file in source.skipped)
    return Foretold(found, None, files, skipped, settings.goal.max_error)


def _added(sources: Sequence[SizedSource], parts: Sequence[Forecast], mse: float, profile: str, why: str) -> Estimate:
    """The estimate of all sources together."""
    images = sum(map(len, sources))
    raw = sum(int(each.sizes.prod(axis=1).sum()) * each.channels * each.dtype.itemsize for each in sources)
    bits = sum(part.tokens_bits for part in parts) / images
    stored = sum(part.other_bytes for part in parts)
    return Estimate(images, raw, mse, bits, stored, None, profile, why, 1 / WITHIN, WITHIN)


def _foretell_photo(sources: Sequence[SizedSource], settings: TransformSettings, why: str) -> Foretold:
    """Add up what the images of each number of channels and dtype would take; each has a model of its own."""
    mse = settings.goal.mse
    assert mse is not None
    parts = [forecast_photo(source, settings).chosen for source in sources]
    found = _added(sources, parts, mse, settings.profile, why)
    samples = [sample_of(source) for source in sources]
    files = tuple((sample, mse) for sample in samples if sample.originals)
    return Foretold(found, None, files, tuple(file for source in sources for file in source.skipped))

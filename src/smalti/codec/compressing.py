"""From images and wishes to an archive, with a model from a file or one that is fitted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smalti.archive.recovery.parity import RecoverySpec
from smalti.codec.fitting import fit_source
from smalti.codec.groups import AnyModel, compress_groups
from smalti.codec.loading import load_model
from smalti.codec.packing import CompressReport, compress_source
from smalti.codec.pyramids import PyramidPacking, compress_with_pyramid, fit_pyramid_source
from smalti.codec.wanted import Wanted
from smalti.errors import ModelError, UsageError
from smalti.images.batch import shape_words
from smalti.images.source import ImageSource
from smalti.training.paper.grid_model import Model
from smalti.training.pyramid.pyramid_model import PyramidModel
from smalti.training.pyramid.pyramid_settings import EFFORTS

__all__ = ["compress_images", "packing_of", "unfitted"]


def compress_images(
    groups: Sequence[ImageSource],
    out: Path,
    wanted: Wanted,
    model: Path | None = None,
    *,
    labels: bool = True,
    max_mse: float | None = None,
    recovery: RecoverySpec | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> CompressReport:
    """Write the archive `out`, or a collection of images of several shapes. The rest is as for `compress_source`.

    groups : a source for each shape, as `open_groups` gives them
    model : a file from `smalti fit`; None fits one on the images
    """
    if wanted.adapt and model is None:
        raise UsageError("only a model that is given can be adapted: without one, it is fitted on these images anyway")
    wanted.check_for_groups(len(groups))
    models = [] if model is None else [load_model(model)]
    packer = _Packer(wanted, model, labels, max_mse, recovery, strict, overwrite)
    return compress_groups(groups, out, packer, models, overwrite=overwrite)


def packing_of(model: PyramidModel, wanted: Wanted, fitted_here: bool) -> PyramidPacking:
    """Return how a source is packed with a pyramid.

    fitted_here : whether the model was fitted on these very images
    """
    own = fitted_here or wanted.adapt
    goal = wanted.goal() or (model.settings.goal if own else None)
    effort = model.settings.effort if wanted.effort is None else wanted.effort
    refits = EFFORTS[effort].refits if own else 0
    # a model that was fitted on these images has learned from their tokens already
    return PyramidPacking(goal, effort, min(1, refits) if fitted_here else refits)


def unfitted(source: ImageSource, model: AnyModel) -> ModelError:
    """The error for images that a model which was given does not take."""
    other = "" if source.dtype == model.scale.dtype else f" ({source.dtype}, not {model.scale.dtype})"
    return ModelError(
        f"the model takes images of {shape_words(model.image_shape)}, but {source.description} has {len(source):,} of "
        f"{shape_words(source.image_shape)}{other}; fit a model on such images, or leave --model out"
    )


@dataclass(frozen=True)
class _Packer:
    """Fits and packs without a word."""

    wanted: Wanted
    model: Path | None
    labels: bool
    max_mse: float | None
    recovery: RecoverySpec | None
    strict: bool
    overwrite: bool

    def fit(self, source: ImageSource) -> AnyModel:
        """See Packer."""
        if self.model is not None:
            raise unfitted(source, load_model(self.model))
        if self.wanted.is_pyramid:
            return fit_pyramid_source(source, self.wanted.pyramid_settings(), strict=self.strict)
        return fit_source(source, self.wanted.paper_settings(), strict=self.strict)

    def pack(self, source: ImageSource, out: Path, model: AnyModel) -> CompressReport:
        """See Packer."""
        if isinstance(model, Model):
            self.wanted.check_for_paper_model()
            return compress_source(
                source,
                out,
                model,
                labels=self.labels,
                max_mse=self.max_mse,
                recovery=self.recovery,
                strict=self.strict,
                overwrite=self.overwrite,
            )
        return compress_with_pyramid(
            source,
            out,
            model,
            packing_of(model, self.wanted, self.model is None),
            labels=self.labels,
            max_mse=self.max_mse,
            recovery=self.recovery,
            strict=self.strict,
            overwrite=self.overwrite,
        )

"""From images and wishes to an archive, with a model from a file or one that is fitted."""

from pathlib import Path

from smalti.archive.recovery import RecoverySpec
from smalti.codec.fitting import fit_source
from smalti.codec.loading import load_model
from smalti.codec.packing import CompressReport, compress_source
from smalti.codec.pyramids import PyramidPacking, compress_with_pyramid, fit_pyramid_source
from smalti.codec.wanted import Wanted
from smalti.errors import UsageError
from smalti.images import ImageSource
from smalti.training import Model
from smalti.training.pyramid import EFFORTS, PyramidModel

__all__ = ["compress_images", "packing_of"]


def compress_images(
    source: ImageSource,
    out: Path,
    wanted: Wanted,
    model: Path | None = None,
    *,
    max_mse: float | None = None,
    recovery: RecoverySpec | None = None,
    overwrite: bool = False,
) -> CompressReport:
    """Write the archive `out`. The rest is as for `compress_source`.

    model : a file from `smalti fit`; None fits one on the images
    """
    if wanted.adapt and model is None:
        raise UsageError("only a model that is given can be adapted: without one, it is fitted on these images anyway")
    fitted: Model | PyramidModel
    if model is not None:
        fitted = load_model(model)
    elif wanted.is_pyramid:
        fitted = fit_pyramid_source(source, wanted.pyramid_settings())
    else:
        fitted = fit_source(source, wanted.paper_settings())
    if isinstance(fitted, Model):
        wanted.check_for_paper_model()
        return compress_source(source, out, fitted, max_mse=max_mse, recovery=recovery, overwrite=overwrite)
    packing = packing_of(fitted, wanted, model is None)
    return compress_with_pyramid(source, out, fitted, packing, max_mse=max_mse, recovery=recovery, overwrite=overwrite)


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

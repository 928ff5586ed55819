"""Pack images of several shapes as one collection: choose a model for each shape, and write a member for each.

Layer: part of `codec`, used by `pack` alone.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from smalti.archive.collection.collection_writer import write_collection
from smalti.archive.open import open_images
from smalti.archive.read.reader import open_archive
from smalti.errors import ModelError
from smalti.images.batch import shape_words
from smalti.images.source import ImageSource
from smalti.storage.spool import spool_folder
from smalti.training.training_kind import FittedModel

if TYPE_CHECKING:
    from smalti.codec.pack import CompressReport, Packer

__all__ = ["model_for", "pack_groups", "wrong_model"]


def pack_groups(groups: Sequence[ImageSource], out: Path, packer: "Packer") -> "CompressReport":
    """Write a collection with a member for each group. Members are made one by one in the folder of `out`.

    groups : a source for each shape and dtype

    A model is fitted for each group that no model takes yet. The group with the most pixels comes first, so that other
    groups may use its model. Raises what fitting and packing raise.
    """
    chosen = _models_for(groups, packer)
    reports = []
    with spool_folder(out) as folder:
        paths = [folder / f"{number}.smalti" for number in range(len(groups))]
        for number, group in enumerate(groups):
            packer.observer.on_message(f"group {number + 1} of {len(groups)}: {len(group):,} images, {_words(group)}")
            reports.append(packer.pack(group, paths[number], chosen[number]))
        overwrite = packer.options.overwrite
        write_collection(out, [partial(open_archive, path) for path in paths], overwrite=overwrite)
    missed = [report.missed for report in reports if report.missed is not None]
    with open_images(out) as written:
        skipped = tuple(file for report in reports for file in report.skipped)
        return type(reports[0])(written.info(), skipped, "; ".join(missed) or None)


def model_for(source: ImageSource, models: Sequence[FittedModel]) -> FittedModel | None:
    """Return the first model that takes the images of a source; None if there is none."""
    return next((model for model in models if model.takes(source.image_shape, source.dtype)), None)


def wrong_model(source: ImageSource, model: FittedModel) -> ModelError:
    """Return the error for images that the given model does not take."""
    other = "" if source.dtype == model.scale.dtype else f" ({source.dtype}, not {model.scale.dtype})"
    return ModelError(
        f"the model takes images of {shape_words(model.image_shape)}, but {source.description} has {len(source):,} of "
        f"{shape_words(source.image_shape)}{other}; fit a model on such images, or leave --model out"
    )


def _models_for(groups: Sequence[ImageSource], packer: "Packer") -> dict[int, FittedModel]:
    """Return the model of each group, by the index of the group."""
    known = [] if packer.given is None else [packer.given]
    chosen: dict[int, FittedModel] = {}
    for number in sorted(range(len(groups)), key=lambda number: -_pixels(groups[number])):
        group = groups[number]
        found = model_for(group, known)
        if found is None:
            packer.observer.on_message(f"fitting on {len(group):,} images, {_words(group)}")
            found = packer.fit(group)
            known.append(found)
        chosen[number] = found
    return chosen


def _words(source: ImageSource) -> str:
    return f"{shape_words(source.image_shape)}{' of 16 bits' if source.dtype.itemsize == 2 else ''}"


def _pixels(source: ImageSource) -> int:
    height, width, _ = source.image_shape
    return height * width * len(source)

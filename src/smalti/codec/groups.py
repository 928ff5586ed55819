"""Images of several shapes in one file: which model each shape gets, and all of them packed as one collection."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from smalti.archive.collection.collection_writer import write_collection
from smalti.archive.open import open_images
from smalti.archive.read.reader import open_archive
from smalti.codec.packing import CompressReport
from smalti.errors import ModelError
from smalti.images.batch import shape_words
from smalti.images.source import ImageSource
from smalti.storage.atomic import check_output
from smalti.training.paper.grid_model import Model
from smalti.training.pyramid.pyramid_model import PyramidModel

__all__ = ["AnyModel", "Packer", "compress_groups", "model_for"]

AnyModel = Model | PyramidModel


class Packer(Protocol):
    """How the images of one shape become an archive."""

    def fit(self, source: ImageSource) -> AnyModel:
        """A model for these images; ModelError if none may be fitted."""

    def pack(self, source: ImageSource, out: Path, model: AnyModel) -> CompressReport:
        """Write the archive `out` with a model that takes these images."""


def compress_groups(
    groups: Sequence[ImageSource],
    out: Path,
    packer: Packer,
    models: Sequence[AnyModel] = (),
    *,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> CompressReport:
    """Write images of any shapes: an archive if all are of one shape, else a collection with a member for each.

    groups : a source for each shape and dtype, as `open_groups` gives them
    models : those that are there already. A group that none of them takes has one fitted, the group with the most
        pixels first, so that the others of its channels may use it (see `model_for`)
    say : told what is being packed, if there are several groups

    Raises what fitting and packing raise.
    """
    if len(groups) == 1:
        model = model_for(groups[0], models) or packer.fit(groups[0])
        return packer.pack(groups[0], out, model)
    check_output(out, overwrite)
    known: list[AnyModel] = list(models)
    chosen: dict[int, AnyModel] = {}
    for number in sorted(range(len(groups)), key=lambda number: -_pixels(groups[number])):
        group = groups[number]
        found = model_for(group, known)
        if found is None:
            say(f"fitting on {len(group):,} images, {_words(group)}")
            found = packer.fit(group)
            known.append(found)
        chosen[number] = found
    reports: list[CompressReport] = []
    with tempfile.TemporaryDirectory(prefix="smalti-") as folder:
        paths = [Path(folder) / f"{number}.smalti" for number in range(len(groups))]
        for number, group in enumerate(groups):
            say(f"group {number + 1} of {len(groups)}: {len(group):,} images, {_words(group)}")
            reports.append(packer.pack(group, paths[number], chosen[number]))
        write_collection(out, [partial(open_archive, path) for path in paths], overwrite=overwrite)
    missed = [report.missed for report in reports if report.missed is not None]
    with open_images(out) as written:
        skipped = tuple(file for report in reports for file in report.skipped)
        return CompressReport(written.info(), skipped, "; ".join(missed) or None)


def model_for(source: ImageSource, models: Sequence[AnyModel]) -> AnyModel | None:
    """The first of some models that takes the images of a source, None if there is none.

    A model of the profile `paper` is convolutional, so that it takes any height and width; others take the shape that
    they were fitted on.
    """
    for model in models:
        fitting = model
        if isinstance(model, Model) and model.image_shape[2] == source.image_shape[2]:
            fitting = replace(model, image_shape=source.image_shape)
        try:
            fitting.check_shape(source.image_shape, source.description, source.dtype)
        except ModelError:
            continue
        return fitting
    return None


def _words(source: ImageSource) -> str:
    return f"{shape_words(source.image_shape)}{' of 16 bits' if source.dtype.itemsize == 2 else ''}"


def _pixels(source: ImageSource) -> int:
    height, width, _ = source.image_shape
    return height * width * len(source)

"""Pack several groups of images as one collection: choose a model for each, and write a member for each.

A group is the images of one shape and dtype, or of one number of channels and dtype. Layer: part of `codec`, used by
`pack` alone.
"""

from collections.abc import Sequence, Sized
from functools import partial
from pathlib import Path
from typing import TypeVar

from smalti.archive.collection.collection_writer import write_collection
from smalti.archive.open import open_images
from smalti.archive.read.reader import open_archive
from smalti.codec.packer import CompressReport, Packer
from smalti.storage.spool import spool_folder
from smalti.training.training_kind import AnyModel, AnySource

__all__ = ["pack_groups"]

S = TypeVar("S", bound=AnySource)
M = TypeVar("M", bound=AnyModel)


def pack_groups(groups: Sequence[S], out: Path, packer: Packer[S, M]) -> CompressReport:
    """Write a collection with a member for each group. Members are made one by one in the folder of `out`.

    groups : a source for each

    Members come in the order in which their groups first occur; in each, the images are in their original order. A
    model is fitted for each group that no model takes yet. The group with the most pixels comes first, so that other
    groups may use its model. Raises what fitting and packing raise.
    """
    chosen = _models_for(groups, packer)
    reports = []
    with spool_folder(out) as folder:
        paths = [folder / f"{number}.smalti" for number in range(len(groups))]
        for number, group in enumerate(groups):
            words = f"group {number + 1} of {len(groups)}: {_counted(group)}, {packer.words(group)}"
            packer.observer.on_message(words)
            reports.append(packer.pack(group, paths[number], chosen[number]))
        overwrite = packer.options.overwrite
        write_collection(out, [partial(open_archive, path) for path in paths], overwrite=overwrite)
    missed = [report.missed for report in reports if report.missed is not None]
    with open_images(out) as written:
        skipped = tuple(file for report in reports for file in report.skipped)
        return CompressReport(written.info(), skipped, "; ".join(missed) or None)


def _models_for(groups: Sequence[S], packer: Packer[S, M]) -> dict[int, M]:
    """Return the model of each group, by the index of the group."""
    known = [] if packer.given is None else [packer.given]
    chosen: dict[int, M] = {}
    for number in sorted(range(len(groups)), key=lambda number: -packer.values(groups[number])):
        group = groups[number]
        found = packer.known_model(group, known)
        if found is None:
            packer.observer.on_message(f"fitting on {_counted(group)}, {packer.words(group)}")
            found = packer.fit(group)
            known.append(found)
        chosen[number] = found
    return chosen


def _counted(group: Sized) -> str:
    return f"{len(group):,} image{'' if len(group) == 1 else 's'}"

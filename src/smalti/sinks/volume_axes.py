"""What an output that holds a volume states of images: their axes, and the fields that all of them share."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.archive.collection.collection import Collection
from smalti.archive.read.reader import Archive
from smalti.archive.write.fields import FIELD_PREFIX
from smalti.images.batch import Scalar

__all__ = ["axes_of", "volume_of"]

_AXES = ("t", "z", "c", "plane", "plane2", "frame")


def volume_of(
    archive: Archive | Collection, numbers: NDArray[np.int64] | None, lost_columns: Sequence[str], whole: bool
) -> tuple[tuple[tuple[str, int], ...], dict[str, Scalar]]:
    """Return the axes of images of an archive, as `axes_of` does, and the fields that have one value for all.

    numbers : of the images; None for all    whole : whether none of them is missing
    """
    chosen = range(len(archive)) if numbers is None else numbers.tolist()
    kept = {name: archive.fields[name] for name in archive.fields if FIELD_PREFIX + name not in lost_columns}
    fields: dict[str, list[Any]] = {name: [values[number] for number in chosen] for name, values in kept.items()}
    names = None if "names" in lost_columns else archive.names
    axes = axes_of(None if names is None else [names[number] for number in chosen], fields) if whole else ()
    shared = {name: values[0] for name, values in fields.items() if values and len(set(values)) == 1}
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in shared.items()}
    return axes, {name: value for name, value in plain.items() if value is not None}


def axes_of(names: Sequence[str | None] | None, fields: Mapping[str, Sequence[Any]]) -> tuple[tuple[str, int], ...]:
    """Return name and length of each axis, the slowest first; none if images are not all of a volume, in its order.

    names, fields : of the images, in their order. Planes of one file are called `FILE#0`, `FILE#1`, ...
    """
    places = {name: fields[name] for name in _AXES if name in fields and None not in fields[name]}
    if names is None or not places or len({None if name is None else name.rpartition("#")[0] for name in names}) != 1:
        return ()
    slowest_first = sorted(places, key=lambda name: sum(one != other for one, other in pairwise(places[name])))
    axes = tuple((name, len(set(places[name]))) for name in slowest_first)
    grid = np.indices([size for _, size in axes]).reshape(len(axes), -1)
    for (name, _), expected in zip(axes, grid, strict=True):
        if not np.array_equal(np.unique(np.array(places[name]), return_inverse=True)[1], expected):
            return ()
    return axes

"""Finds which arrays of a container (`.npz`, HDF5, Zarr) are images, and which belong to them as columns.

It needs only names, shapes and dtypes, so the same rules hold for all containers (docs/images.md).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from smalti.errors import SourceError, UsageError
from smalti.images.vocabulary import LABEL_NAMES, SPLIT_NAMES, SPLIT_ORDER, first_known, split_part
from smalti.sources.arrays.array_source import pixel_dtype

__all__ = ["ArrayFacts", "ImagePart", "find_parts"]

_SPLIT_FIRST = re.compile(rf"({'|'.join(SPLIT_NAMES)})[_/](.+)", re.IGNORECASE)
_SPLIT_LAST = re.compile(rf"(.+)_({'|'.join(SPLIT_NAMES)})", re.IGNORECASE)
_CANDIDATES_SHOWN = 8


@dataclass(frozen=True)
class ArrayFacts:
    """Shape and dtype of an array that has not been read."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


@dataclass(frozen=True)
class ImagePart:
    """An array of images, and the arrays that belong to it.

    images : the key of the array
    columns : keys of arrays with a first axis of the same length, by the names of the columns they may become
    split : "train", "val" or "test" if the images are in several such arrays, else None
    other_lengths : keys of arrays in the same group with a first axis of another length, which are no columns
    """

    images: str
    columns: Mapping[str, str]
    split: str | None = None
    other_lengths: tuple[str, ...] = ()


def find_parts(arrays: Mapping[str, ArrayFacts], key: str | None, where: str) -> tuple[ImagePart, ...]:
    """Return the parts that hold the images of a container, in the order in which they are read.

    arrays : by key, such as "x_train" or "train/images"
    key : the array of images, if the user named one

    Without a key, the images are the only array that can hold images; or one array for each of train, val and test,
    with names that differ in the split alone. Raises UsageError if there is no array with this key; SourceError, with
    the candidates, if it is not clear which arrays are meant.
    """
    if key is not None:
        if key not in arrays:
            raise UsageError(f"{where}: holds no array {key!r}; {_offer(arrays, where)}")
        return (_part(arrays, key, None, where),)
    fitting = [name for name, facts in arrays.items() if _fits(facts)]
    if not fitting:  # the nearest miss makes the best message: it may hold floats
        near = [name for name, facts in arrays.items() if len(facts.shape) in (3, 4)]
        if len(near) == 1:
            return (_part(arrays, near[0], None, where),)
        what = f"{len(arrays)} arrays, none of them" if arrays else "no array"
        held = f"; there {'is' if len(arrays) == 1 else 'are'} {_listed(arrays)}" if arrays else ""
        advice = "these are uint8, uint16 or int16 [N, H, W] or [N, H, W, C], C from 1 to 4"
        raise SourceError(f"{where}: holds {what} of images; {advice}{held}")
    if len(fitting) == 1:
        return (_part(arrays, fitting[0], None, where),)
    splits = {split: name for split, name in ((_split_of(name)[0], name) for name in fitting) if split is not None}
    if len(splits) == len(fitting) and len({_split_of(name)[1] for name in fitting}) == 1:
        return tuple(_part(arrays, splits[split], split, where) for split in SPLIT_ORDER if split in splits)
    candidates = {name: arrays[name] for name in fitting}
    raise SourceError(f"{where}: holds several arrays of images; {_offer(candidates, where)}")


def _part(arrays: Mapping[str, ArrayFacts], images: str, split: str | None, where: str) -> ImagePart:
    """Return an array of images with the arrays of its group, and of its split if it has one.

    SourceError if the only labels have another length.
    """
    own_split, own_rest = _split_of(images)
    count, columns, others = arrays[images].shape[:1], dict[str, str](), dict[str, str]()
    for key, facts in arrays.items():
        key_split, rest = _split_of(key) if own_split else (None, key)
        group, _, name = rest.rpartition("/")
        own_group = (own_rest if own_split else images).rpartition("/")[0]
        if key != images and key_split == own_split and group == own_group:
            (columns if facts.shape[:1] == count else others)[name] = key
    label = first_known(others, LABEL_NAMES)
    if label is not None and first_known(columns, LABEL_NAMES) is None and _is_number(arrays[others[label]]):
        shape, key = list(arrays[others[label]].shape), others[label]
        raise SourceError(f"{where}::{key}: has shape {shape} beside {count[0]} images; give one label for each")
    other_lengths = tuple(key for key in others.values() if len(arrays[key].shape) == 1)
    return ImagePart(images, columns, split, other_lengths)


def _is_number(facts: ArrayFacts) -> bool:
    return facts.dtype.kind in "biuf" and len(facts.shape) > 0


def _split_of(key: str) -> tuple[str | None, str]:
    """Return the split in a key, and the rest of the key: `x_train`, `train_images` and `train/images` have a split."""
    first, last = _SPLIT_FIRST.fullmatch(key), _SPLIT_LAST.fullmatch(key)
    if first:
        return split_part(first[1]), first[2]
    if last:
        return split_part(last[2]), last[1]
    return None, key


def _fits(facts: ArrayFacts) -> bool:
    """Whether an array can hold images. One with channels first counts too, so that a message can explain it."""
    shape = facts.shape
    if pixel_dtype(facts.dtype) is None or len(shape) not in (3, 4) or 0 in shape:
        return False
    return len(shape) == 3 or 1 <= shape[3] <= 4 or 1 <= shape[1] <= 4


def _offer(arrays: Mapping[str, ArrayFacts], where: str) -> str:
    if not arrays:
        return "there are no arrays in it"
    return f"name one of {_listed(arrays)}, as in {where}::{next(iter(arrays))}"


def _listed(arrays: Mapping[str, ArrayFacts]) -> str:
    """Name the first arrays with their dtypes and shapes."""
    shown = [f"{name} ({facts.dtype} {list(facts.shape)})" for name, facts in list(arrays.items())[:_CANDIDATES_SHOWN]]
    more = f" and {len(arrays) - len(shown)} more" if len(arrays) > len(shown) else ""
    return f"{', '.join(shown)}{more}"

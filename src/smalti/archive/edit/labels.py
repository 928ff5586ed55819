"""Images and labels as people name them: images by number or name, labels by number or class name.

Turns names into the numbers that `edit` works with; it changes no file. Layer: part of `archive`.
"""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.archive.collection.collection import Collection
from smalti.archive.read.reader import Archive
from smalti.archive.read.selection import resolve
from smalti.errors import SourceError, UsageError

__all__ = ["ClassNumbers", "changed_labels", "image_numbers", "read_labels"]


class ClassNumbers:
    """The number of each class name. New names get the next number.

    names : the names so far, by number; None if there are none
    """

    def __init__(self, names: Sequence[str] | None) -> None:
        self.names = None if names is None else list(names)

    def number(self, label: int | str) -> int:
        """Return the number of a label. A word is the name of a class, else an integer, else a new class."""
        if not isinstance(label, str):
            return int(label)
        if self.names is not None and label in self.names:
            return self.names.index(label)
        try:
            return int(label)
        except ValueError:
            self.names = [*(self.names or ()), label]
            return len(self.names) - 1

    def numbers(self, labels: Iterable[int | str]) -> NDArray[np.int64]:
        """Return the numbers of labels, int64 [N]."""
        return np.array([self.number(label) for label in labels], np.int64)


def read_labels(path: str | PathLike[str]) -> NDArray[Any]:
    """Read a file of labels [N]: a .npy of integers, else a text file with a number or a class name on each line.

    Raises SourceError if the file cannot be read.
    """
    try:
        if Path(path).suffix == ".npy":
            labels: NDArray[Any] = np.load(path, allow_pickle=False)
            return labels
        return np.array([line.strip() for line in Path(path).read_text("utf-8").splitlines()], np.str_)
    except (OSError, ValueError) as error:
        raise SourceError(f"{fspath(path)}: cannot be read as labels: {error}") from error


def changed_labels(
    opened: Archive | Collection, changes: Mapping[Any, int | str], classes: ClassNumbers
) -> NDArray[np.int64]:
    """Return the labels of all images, some of them changed.

    changes : the new label of each image, which `image_numbers` finds; `classes` numbers the labels

    Raises UsageError if the archive has no labels or no such image, ImageIndexError.
    """
    if opened.labels is None:
        raise UsageError(f"{opened.path}: has no labels; give those of all images with --labels FILE")
    labels = opened.labels.astype(np.int64)
    numbers = image_numbers(opened, list(changes))
    labels[numbers] = classes.numbers(changes.values())
    return labels


def image_numbers(opened: Archive | Collection, images: Sequence[int | str]) -> NDArray[np.int64]:
    """Return the numbers of images, int64 [n]. A word is the name of an image, else its number.

    Raises UsageError for a word that is neither, ImageIndexError for a number without an image.
    """
    names = opened.names
    positions = {name: number for number, name in enumerate(names or ())}
    return resolve([_image_number(image, positions, opened, names is None) for image in images], len(opened))[0]


def _image_number(
    image: int | str, positions: Mapping[str | None, int], opened: Archive | Collection, nameless: bool
) -> int:
    if not isinstance(image, str):
        return image
    if image in positions:
        return positions[image]
    try:
        return int(image)
    except ValueError as error:
        known = "; its images have no names" if nameless else ""
        raise UsageError(f"{opened.path}: has no image called {image!r}{known}; smalti info shows how many") from error

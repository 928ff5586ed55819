"""A case: files that another program writes, and the images that smalti must read, stated without smalti."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Value = bool | int | float | str | None
Pixels = NDArray[np.generic]


@dataclass(frozen=True)
class Group:
    """Images of one shape and dtype, with their columns.

    pixels : uint8, uint16 or int16 [n, H, W, C], from the program that made the files, or from another decoder than
        smalti's
    """

    pixels: Pixels
    labels: Sequence[int] | None = None
    class_names: Sequence[str] | None = None
    names: Sequence[str] | None = None
    fields: Mapping[str, Sequence[Value]] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """Files that were written, and the outcome that they must have.

    spec : the argument of `open_groups`: a path, a URL, a pattern, an array or an object of `datasets`
    groups : the images that must be read, in order
    skipped : the entries that must be skipped, by name, each with words of its reason
    error : words of the error, if the input must be refused
    """

    spec: object
    groups: Sequence[Group] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Case:
    """One line of the table.

    what : the input, in words
    maker : the program that writes it
    make : writes into an empty folder and returns the outcome; or a context manager, if a server must run meanwhile
    """

    what: str
    maker: str
    make: Callable[[Path], Made | AbstractContextManager[Made]]

    @contextmanager
    def made(self, root: Path) -> Iterator[Made]:
        """Make the files, which exist while the `with` block runs."""
        made = self.make(root)
        if isinstance(made, Made):
            yield made
        else:
            with made as running:
                yield running


def group(images: Sequence[Pixels] | Pixels, **columns: object) -> Group:
    """Make a group of images [H, W] or [H, W, C]."""
    pixels = np.stack(list(images))
    return Group(pixels.reshape(*pixels.shape[:3], -1), **columns)  # type: ignore[arg-type]

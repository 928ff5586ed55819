"""A case: files that another program writes, and what smalti must read from them, stated without smalti."""

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
    """Images of one shape and dtype, with what is known of each.

    pixels : uint8 or uint16 [n, H, W, C], as the making program has them, or another decoder than smalti's
    """

    pixels: Pixels
    labels: Sequence[int] | None = None
    class_names: Sequence[str] | None = None
    names: Sequence[str] | None = None
    fields: Mapping[str, Sequence[Value]] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """Files that were written, and what must be read from them.

    spec : what `open_groups` is given: a path, a URL, a pattern, an array or an object of `datasets`
    groups : what must be read, group by group in order
    skipped : what must be passed over, by name, and words that the reason must have
    error : words of the line with which all is refused, in place of groups
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
    make : writes into an empty folder and says what must be read; or a context, for what must run meanwhile
    """

    what: str
    maker: str
    make: Callable[[Path], Made | AbstractContextManager[Made]]

    @contextmanager
    def made(self, root: Path) -> Iterator[Made]:
        """The files, while the `with` block runs."""
        made = self.make(root)
        if isinstance(made, Made):
            yield made
        else:
            with made as running:
                yield running


def group(images: Sequence[Pixels] | Pixels, **known: object) -> Group:
    """A group of images [H, W] or [H, W, C]."""
    pixels = np.stack(list(images))
    return Group(pixels.reshape(*pixels.shape[:3], -1), **known)  # type: ignore[arg-type]

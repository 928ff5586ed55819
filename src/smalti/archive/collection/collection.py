"""An open collection: several archives that are read as one."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.archive.collection.collection_info import CollectionInfo, collection_info, joined_reports
from smalti.archive.collection.joined_columns import JoinedColumns
from smalti.archive.collection.members import Members
from smalti.archive.format.column import ColumnValues
from smalti.archive.format.limits import Limits
from smalti.archive.read.image_reader import Span
from smalti.archive.read.selection import ArchiveBatch, Selection, resolve
from smalti.archive.report import DamagedBlock, Level, VerifyReport
from smalti.errors import UsageError
from smalti.images.batch import PIXEL_DTYPES, PixelDtype, Pixels, shape_words
from smalti.lazy import cached_property

__all__ = ["Collection"]


class Collection:
    """The images of several archives, numbered consecutively. Has the interface of `Archive`; safe to use from threads.

    members : the archives, opened when they are needed
    damage : what was found damaged when the collection was opened, in words; reading goes on in spite of it

    Images that are selected with brackets must have one shape and dtype; `images` takes any. Made by `smalti.open`.
    """

    def __init__(
        self,
        path: Path | str,
        members: Members,
        archive_bytes: int,
        shared_bytes: int,
        reopen: tuple[Callable[..., "Collection"], tuple[object, ...]],
        close: Callable[[], None],
        damage: tuple[str, ...] = (),
        check_frames: Callable[[], tuple[str, ...]] = lambda: (),
        limits: Limits | None = None,
    ) -> None:
        self.path, self.members, self.damage = path, members, damage
        self.archive_bytes, self._shared_bytes = archive_bytes, shared_bytes
        self._reopen, self._close, self._check_frames = reopen, close, check_frames
        self._limits = limits or Limits()
        self._columns = JoinedColumns(members)

    def __enter__(self) -> "Collection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all files. Reading afterwards raises SmaltiError."""
        self.members.close()
        self._close()

    def __len__(self) -> int:
        return int(self.members.starts[-1])

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as a call that opens the same file, for worker processes."""
        return self._reopen

    def __repr__(self) -> str:
        return f"<smalti collection {self.path}: {len(self)} images in {len(self.members)} archives>"

    @property
    def columns(self) -> JoinedColumns:
        """The columns of all members, for code that copies them. All other code uses `labels`, `names` and `fields`."""
        return self._columns

    @property
    def image_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """The distinct (H, W, C) of the images, in order of appearance."""
        return tuple(
            dict.fromkeys(shape for number in range(len(self.members)) for shape in self.members.shapes(number))
        )

    def shape_of(self, number: int) -> tuple[int, int, int]:
        """(H, W, C) of an image. Nothing is decoded. ImageIndexError."""
        member, own = self._place(number)
        facts = self.members.facts[member]
        return self.members[member].shape_of(own) if facts.any_size else facts.image_shape

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image. UsageError if there are several shapes."""
        if len(self.image_shapes) > 1:
            first = ", ".join(map(shape_words, self.image_shapes[:3]))
            raise UsageError(
                f"{self.path}: its images have several shapes ({first} ...): ask image_shapes, or a member"
            )
        return self.image_shapes[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W) for one channel, (N, H, W, C) for more. UsageError if the images have several shapes."""
        height, width, channels = self.image_shape
        return (len(self), height, width) if channels == 1 else (len(self), height, width, channels)

    @property
    def dtypes(self) -> tuple[PixelDtype, ...]:
        """The distinct dtypes of pixels: uint8 before uint16 before int16."""
        return tuple(kind for kind in PIXEL_DTYPES if kind.name in {facts.dtype for facts in self.members.facts})

    @property
    def dtype(self) -> PixelDtype:
        """The dtype of pixels: uint8, uint16 or int16. UsageError if members differ."""
        if len(self.dtypes) > 1:
            raise UsageError(f"{self.path}: its images have pixels of several dtypes: use dtypes, or ask a member")
        return self.dtypes[0]

    def __getitem__(self, selection: Selection) -> Pixels:
        """Pixels, as from an `Archive`. Raises UsageError if the selected images have several shapes or dtypes."""
        numbers, single = resolve(selection, len(self), self._check_request)
        if single:
            found: Pixels = self.images(numbers)[0]
            return found
        pixels: Pixels | None = None
        for member, positions, own in self._by_member(numbers):
            part = self.members[member][own]
            if pixels is None:
                pixels = np.empty((len(numbers), *part.shape[1:]), part.dtype)
            if part.shape[1:] != pixels.shape[1:] or part.dtype != pixels.dtype:
                raise UsageError(f"{self.path}: images of several shapes make no array; use .images(...) for a list")
            pixels[positions] = part
        return np.empty((0, *self.shape[1:]), self.dtype) if pixels is None else pixels

    def images(self, selection: Selection) -> list[Pixels]:
        """A list of the images of a selection, each as `self[number]`, of any shapes."""
        numbers, _ = resolve(selection, len(self), self._check_request)
        images: list[Pixels] = [np.empty(0, np.uint8)] * len(numbers)
        for member, positions, own in self._by_member(numbers):
            for position, image in zip(positions.tolist(), self.members[member].images(own), strict=True):
                images[position] = image
        return images

    def region(self, number: int, rows: Span, columns: Span) -> Pixels:
        """A part of an image, as `Archive.region`."""
        member, own = self._place(number)
        return self.members[member].region(own, rows, columns)

    def __iter__(self) -> Iterator[Pixels]:
        """Iterate over all images in order."""
        for member in range(len(self.members)):
            yield from self.members[member]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[np.generic]:
        """All images, for `np.asarray(collection)`. Raises ValueError for copy=False, UsageError for several shapes."""
        if copy is False:
            raise ValueError(f"{self.path}: images are decoded, so an array of them is always a new one")
        return np.asarray(self[:], dtype)

    @property
    def levels(self) -> int:
        """The number of token levels that every member has."""
        return min(map(self.members.levels, range(len(self.members))))

    def preview(self, selection: Selection, levels: int) -> Pixels:
        """Decode the first levels of the tokens alone, as `Archive.preview`, for images of one shape."""
        numbers, single = resolve(selection, len(self), self._check_request)
        self._check_request(len(numbers))
        pixels: Pixels = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        for member, positions, own in self._by_member(numbers):
            pixels[positions] = self.members[member].preview(own, levels)
        first: Pixels = pixels[0] if single else pixels
        return first

    def tokens(self, start: int = 0, stop: int | None = None) -> NDArray[np.uint16]:
        """Tokens of images start to stop - 1, as from an `Archive`. UsageError if their token grids differ."""
        self._limits.check("request_bytes", 2 * len(range(*slice(start, stop).indices(len(self)))), "this request")
        numbers = np.arange(*slice(start, stop).indices(len(self)), dtype=np.int64)
        parts = [
            self.members[member].tokens(int(own[0]), int(own[-1]) + 1) for member, _, own in self._by_member(numbers)
        ]
        if not parts:
            return self.members[0].tokens(0, 0)
        if len({part.shape[1:] for part in parts}) > 1:
            raise UsageError(f"{self.path}: its members have other grids of tokens than each other; ask one of them")
        return np.concatenate(parts)

    @property
    def block_bounds(self) -> NDArray[np.int64]:
        """int64 [blocks + 1]: the number of the first image of each token block, ascending, and N."""
        starts = self.members.starts
        bounds = [own.block_bounds[:-1] + start for own, start in zip(self.members.summaries(), starts, strict=False)]
        return np.concatenate([*bounds, starts[-1:]])

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """int64 [N], read-only, numbered by `class_names`; -1 for an image without label. None if no image has one."""
        return self._columns.labels

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The distinct class names of the members, in order of appearance.

        None if no member has class names, or if a member has labels without class names.
        """
        return self._columns.class_names

    @property
    def names(self) -> tuple[str | None, ...] | None:
        """The N names of the images, None for an image without a name. None if no image has one."""
        return self._columns.names

    @property
    def fields(self) -> Mapping[str, ColumnValues]:
        """Further columns by name, as of an `Archive`. Images of a member that lacks a field have None there."""
        return self._columns

    def batches(
        self, batch_images: int, on_error: Literal["raise", "skip"] = "raise", start: int = 0, stop: int | None = None
    ) -> Iterator[ArchiveBatch]:
        """Yield images in order, as `Archive.batches`. A batch belongs to one member: its images have one shape.

        Batches of a member without labels or names have none, even if batches of other members have them.
        """
        start, stop, _ = slice(start, stop).indices(len(self))
        lost = self.lost_columns if on_error == "skip" else ()
        for number, first in enumerate(self.members.starts[:-1].tolist()):
            end = first + self.members.facts[number].images
            if start < end and first < stop:
                own = self.members[number].batches(
                    batch_images, on_error, max(0, start - first), min(end, stop) - first
                )
                for batch in own:
                    yield self._columns.batch(number, batch, lost)

    def missing(self) -> tuple[DamagedBlock, ...]:
        """The token blocks that cannot be read, as `Archive.missing`. Blocks are numbered consecutively."""
        found: list[DamagedBlock] = []
        blocks = 0
        for number, first in enumerate(self.members.starts[:-1].tolist()):
            archive = self.members[number]
            found += [
                replace(block, block=block.block + blocks, first_image=block.first_image + first)
                for block in archive.missing()
            ]
            blocks += archive.sections.layout.blocks
        return tuple(found)

    @property
    def lost_columns(self) -> tuple[str, ...]:
        """Names of the columns that a member was written with and that cannot be read."""
        found: dict[str, None] = {}
        for number, summary in enumerate(self.members.summaries()):
            known = "lost_columns" not in summary.unreadable
            found |= dict.fromkeys(summary.lost_columns if known else self.members[number].lost_columns)
        return tuple(found)

    def info(self) -> CollectionInfo:
        """Facts about the collection and its members, and the bytes of each part."""
        infos = [self.members.info(number) for number in range(len(self.members))]
        return collection_info(infos, self.archive_bytes, self._shared_bytes, self.damage, self._columns.gaps())

    def verify(
        self, level: Level = "tokens", progress: Callable[[int, int], None] = lambda done, total: None
    ) -> VerifyReport:
        """Check all members, as `Archive.verify`, and the frames around them."""
        reports = []
        for number, first in enumerate(self.members.starts[:-1].tolist()):
            reports.append(self.members[number].verify(level, _from(first, len(self), progress)))
        damage = tuple(dict.fromkeys([*self.damage, *self._check_frames()]))
        return joined_reports(reports, self.members.starts.tolist(), damage)

    def _check_request(self, images: int) -> None:
        """Raise LimitExceededError if one request may not have so many images, even of the smallest shape."""
        self._limits.check("request_bytes", images * self._smallest_bytes, "this request")

    @cached_property
    def _smallest_bytes(self) -> int:
        """Bytes of the pixels of the smallest image."""
        return min(
            math.prod(shape) * np.dtype(facts.dtype).itemsize
            for number, facts in enumerate(self.members.facts)
            for shape in self.members.shapes(number)
        )

    def _place(self, number: int) -> tuple[int, int]:
        """The member that holds an image, and the number of the image in it."""
        numbers, _ = resolve(number, len(self))
        ((member, _, own),) = self._by_member(numbers)
        return member, int(own[0])

    def _by_member(self, numbers: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.int64]]]:
        """Yield each member with selected images: its position, their positions in `numbers`, their numbers in it."""
        owners = np.searchsorted(self.members.starts, numbers, side="right") - 1
        for member in np.unique(owners).tolist():
            positions = np.flatnonzero(owners == member)
            yield member, positions, numbers[positions] - self.members.starts[member]


def _from(first: int, images: int, progress: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """Convert the progress of a member whose first image is `first` to that of all images."""
    return lambda done, _: progress(first + done, images)

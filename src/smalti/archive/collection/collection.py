"""A collection that is open: several archives read as one, by the numbers of their images."""

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
from smalti.archive.read.selection import ArchiveBatch, Selection, resolve
from smalti.archive.report import DamagedBlock, Level, VerifyReport
from smalti.decoders.layers.integer_network import PixelType
from smalti.errors import UsageError
from smalti.images.batch import Pixels, shape_words
from smalti.lazy import cached_property

__all__ = ["Collection"]


class Collection:
    """Images of several archives, numbered through; used as an `Archive` is, and safe from several threads.

    members : the archives, opened when they are needed
    damage : what was found to be wrong when the collection was opened, and was overcome

    What is asked for with brackets must be of one shape and dtype; `images` takes any. Made by `smalti.open`.
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
        """Close all files; reading afterwards raises SmaltiError."""
        self.members.close()
        self._close()

    def __len__(self) -> int:
        return int(self.members.starts[-1])

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as an order to open the same file, for worker processes."""
        return self._reopen

    def __repr__(self) -> str:
        return f"<smalti collection {self.path}: {len(self)} images in {len(self.members)} archives>"

    @property
    def columns(self) -> JoinedColumns:
        """The columns of all members, for those who copy them; `labels`, `names`, `fields` are for everybody else."""
        return self._columns

    @property
    def image_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(H, W, C) of the images, each shape once, in the order in which they come."""
        return tuple(dict.fromkeys(facts.image_shape for facts in self.members.facts))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image; UsageError if they are of several shapes."""
        if len(self.image_shapes) > 1:
            shown = ", ".join(map(shape_words, self.image_shapes[:3]))
            raise UsageError(
                f"{self.path}: its images have several shapes ({shown} ...): ask image_shapes, or a member"
            )
        return self.image_shapes[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W) for one channel, (N, H, W, C) for more; UsageError if the images are of several shapes."""
        height, width, channels = self.image_shape
        return (len(self), height, width) if channels == 1 else (len(self), height, width, channels)

    @property
    def dtypes(self) -> tuple[PixelType, ...]:
        """What pixels are, each once, 8 bits before 16."""
        kinds: list[PixelType] = [np.dtype(np.uint8), np.dtype(np.uint16)]
        return tuple(kind for kind in kinds if kind.name in {facts.dtype for facts in self.members.facts})

    @property
    def dtype(self) -> PixelType:
        """uint8 or uint16; UsageError if members differ."""
        if len(self.dtypes) > 1:
            raise UsageError(f"{self.path}: its images have 8 and 16 bits: use dtypes, or ask a member")
        return self.dtypes[0]

    def __getitem__(self, selection: Selection) -> Pixels:
        """As `Archive.__getitem__`; UsageError if images of several shapes are asked for at once."""
        numbers, single = resolve(selection, len(self), self._check_request)
        if single:
            found: Pixels = self.images(numbers)[0]
            return found
        pixels: Pixels | None = None
        for member, places, own in self._by_member(numbers):
            part = self.members[member][own]
            if pixels is None:
                pixels = np.empty((len(numbers), *part.shape[1:]), part.dtype)
            if part.shape[1:] != pixels.shape[1:] or part.dtype != pixels.dtype:
                raise UsageError(f"{self.path}: images of several shapes make no array; use .images(...) for a list")
            pixels[places] = part
        return np.empty((0, *self.shape[1:]), self.dtype) if pixels is None else pixels

    def images(self, selection: Selection) -> list[Pixels]:
        """The images of a selection, each as `self[number]` gives it, whatever their shapes."""
        numbers, _ = resolve(selection, len(self), self._check_request)
        images: list[Pixels] = [np.empty(0, np.uint8)] * len(numbers)
        for member, places, own in self._by_member(numbers):
            for place, image in zip(places.tolist(), self.members[member][own], strict=True):
                images[place] = image
        return images

    def __iter__(self) -> Iterator[Pixels]:
        """Every image in order."""
        for member in range(len(self.members)):
            yield from self.members[member]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[np.generic]:
        """As `Archive.__array__`."""
        if copy is False:
            raise ValueError(f"{self.path}: images are decoded, so an array of them is always a new one")
        return np.asarray(self[:], dtype)

    @property
    def levels(self) -> int:
        """Levels of tokens that every member has."""
        return min(map(self.members.levels, range(len(self.members))))

    def preview(self, selection: Selection, levels: int) -> Pixels:
        """As `Archive.preview`, for images of one shape."""
        numbers, single = resolve(selection, len(self), self._check_request)
        self._check_request(len(numbers))
        pixels: Pixels = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        for member, places, own in self._by_member(numbers):
            pixels[places] = self.members[member].preview(own, levels)
        first: Pixels = pixels[0] if single else pixels
        return first

    def tokens(self, start: int = 0, stop: int | None = None) -> NDArray[np.uint16]:
        """As `Archive.tokens`; UsageError if the images asked for have other grids of tokens than each other."""
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
        """Numbers of images at which token blocks begin, and N at the end: int64 [blocks + 1]."""
        starts = self.members.starts
        bounds = [own.block_bounds[:-1] + start for own, start in zip(self.members.summaries(), starts, strict=False)]
        return np.concatenate([*bounds, starts[-1:]])

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """int64 [N], read-only, numbered by `class_names`; None if no image has a label, -1 for those without."""
        return self._columns.labels

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The members' class names, each once, in the order in which they come.

        None if no member has any, or if a member has labels without names.
        """
        return self._columns.class_names

    @property
    def names(self) -> tuple[str | None, ...] | None:
        """The N names of the images, None for those without; None if no image has one."""
        return self._columns.names

    @property
    def fields(self) -> Mapping[str, ColumnValues]:
        """As `Archive.fields`; images of a member that does not have a field have None there."""
        return self._columns

    def batches(
        self, batch_images: int, on_error: Literal["raise", "skip"] = "raise", start: int = 0, stop: int | None = None
    ) -> Iterator[ArchiveBatch]:
        """As `Archive.batches`; a batch is of one member, so that its images have one shape.

        Batches of a member without labels or names have none, also where those of other members do.
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
        """As `Archive.missing`, blocks numbered through."""
        found: list[DamagedBlock] = []
        blocks = 0
        for number, first in enumerate(self.members.starts[:-1].tolist()):
            archive = self.members[number]
            found += [
                replace(block, block=block.block + blocks, first_image=block.first_image + first)
                for block in archive.missing()
            ]
            blocks += archive.sections.header.blocks
        return tuple(found)

    @property
    def lost_columns(self) -> tuple[str, ...]:
        """As `Archive.lost_columns`, of all members."""
        found: dict[str, None] = {}
        for number, summary in enumerate(self.members.summaries()):
            known = "lost_columns" not in summary.unreadable
            found |= dict.fromkeys(summary.lost_columns if known else self.members[number].lost_columns)
        return tuple(found)

    def info(self) -> CollectionInfo:
        """What the members are, and what all of it costs."""
        infos = [self.members.info(number) for number in range(len(self.members))]
        return collection_info(infos, self.archive_bytes, self._shared_bytes, self.damage, self._columns.gaps())

    def verify(
        self, level: Level = "tokens", progress: Callable[[int, int], None] = lambda done, total: None
    ) -> VerifyReport:
        """As `Archive.verify`, member after member."""
        reports = []
        for number, first in enumerate(self.members.starts[:-1].tolist()):
            reports.append(self.members[number].verify(level, _from(first, len(self), progress)))
        damage = tuple(dict.fromkeys([*self.damage, *self._check_frames()]))
        return joined_reports(reports, self.members.starts.tolist(), damage)

    def _check_request(self, images: int) -> None:
        """LimitExceededError if so many images may not be asked for at once; by the smallest image there is."""
        self._limits.check("request_bytes", images * self._smallest_bytes, "this request")

    @cached_property
    def _smallest_bytes(self) -> int:
        """Bytes of the pixels of the smallest image."""
        kinds = {(facts.image_shape, facts.dtype) for facts in self.members.facts}
        return min(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in kinds)

    def _by_member(self, numbers: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.int64]]]:
        """The members that hold images: which, the places in `numbers`, and their own numbers of these."""
        owners = np.searchsorted(self.members.starts, numbers, side="right") - 1
        for member in np.unique(owners).tolist():
            places = np.flatnonzero(owners == member)
            yield member, places, numbers[places] - self.members.starts[member]


def _from(first: int, images: int, progress: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """Progress of a member whose first image is `first`, as that of all images."""
    return lambda done, _: progress(first + done, images)

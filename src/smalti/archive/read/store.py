"""Parsed sections of an open archive: token blocks, model, priors and columns, read when they are first needed."""

import os
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from smalti.archive.collection.sharing import unpack_cells_model, unpack_model, unpack_referenced
from smalti.archive.format.block_layout import CopiedLayout, Rectangle, SizedLayout
from smalti.archive.format.column import Column, unpack_column
from smalti.archive.format.copies import Copies
from smalti.archive.format.frames import Block, unpack_block, unpack_cells
from smalti.archive.format.layout import SHARED_MODEL, SHARED_PRIOR, Entry, Section
from smalti.archive.read.block_decoder import BlockDecoder
from smalti.archive.read.sections import SectionFile, SharedPayloads
from smalti.decoders.contract import CellFacts, CellModel, CellPrior, ImageModel, Prior
from smalti.errors import DamagedArchiveError, LimitExceededError, UnsupportedArchiveError
from smalti.lazy import cached_property
from smalti.residual.residual_prior import ResidualPrior

__all__ = ["CellStore", "ImageStore", "SectionStore", "open_store", "section_name"]

_CACHE_BYTES = 64 << 20  # of tokens: 300,000 images of 28x28, so that random access decodes each block once

_KEPT_BYTES = (
    64 << 20
)  # of tokens of images that have copies, so that a pass need not decode their blocks for each copy
_MOST_CACHE_BYTES = 256 << 20
_MOST_REACH = 64  # cells: with more, a region would cost far more memory than its own cells

T = TypeVar("T")


def open_store(file: SectionFile) -> "ImageStore | CellStore":
    """The store of a file: of images of one shape, or of images of any sizes."""
    return CellStore(file) if file.header.any_size else ImageStore(file)


class SectionStore(ABC):
    """Parses sections and caches them: the token blocks used last, and all others. Safe to use from several threads.

    `ImageStore` and `CellStore` know the models of the two forms of archive.
    """

    def __init__(self, file: SectionFile) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._cache: OrderedDict[int, Block] = OrderedDict()
        self._cache_bytes = 0
        self._most_bytes = _CACHE_BYTES
        self._decoding: dict[tuple[int, int], threading.Lock] = {}
        self._columns: dict[int, Column | None] = {}

    def block(self, number: int) -> Block:
        """A token block, its tokens decoded. DamagedArchiveError names the block and its images."""
        self._file.require_open()
        found = self._cached(number)
        if found is not None:
            return found
        key = (os.getpid(), number)  # by process: a forked process must not wait for a thread that it does not have
        with self._lock:
            decoding = self._decoding.setdefault(key, threading.Lock())
        with decoding:
            found = self._cached(number)  # another thread may have decoded it
            if found is None:
                found = self._decode(number)
                self._keep(number, found)
        with self._lock:
            self._decoding.pop(key, None)
        return found

    def _cached(self, number: int) -> Block | None:
        with self._lock:
            if number in self._cache:
                self._cache.move_to_end(number)
            return self._cache.get(number)

    def _keep(self, number: int, block: Block) -> None:
        with self._lock:
            if number not in self._cache:
                self._cache[number] = block
                self._cache_bytes += block.cache_bytes
            while len(self._cache) > 1 and self._cache_bytes > self._most_bytes:
                self._cache_bytes -= self._cache.popitem(last=False)[1].cache_bytes

    def fetch_blocks(self, numbers: Sequence[int]) -> Iterator[slice]:
        """Cut block numbers into runs, and yield each run once its blocks are fetched from a remote file.

        With the first run the model, the priors and the residuals' prior are fetched, which all blocks need. Nothing is
        fetched that is cached. See `SectionFile.fetch_runs` for how long fetched bytes stay.
        """
        if not self._file.source.is_remote:
            return iter((slice(0, len(numbers)),))
        with self._lock:
            cached = set(self._cache)
        blocks = [None if number in cached else self._entry(Section.TOKENS, number) for number in numbers]
        return self._file.fetch_runs(blocks, self._unread())

    def _unread(self) -> list[Entry]:
        """The sections that all blocks need and that were not read yet."""
        parsed = {Section.MODEL: "_model", Section.PRIOR: "_prior", Section.CORRECTIONS: "_residuals"}
        unread = [self._entry(section, 0) for section, name in parsed.items() if name not in self.__dict__]
        return [entry for entry in unread if entry is not None]

    def keeps(self, images: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the tokens of each image are here without its block: bool [n]."""
        return np.zeros(len(images), np.bool_)

    @abstractmethod
    def tokens(self, number: int) -> NDArray[np.uint16]:
        """The tokens of a block: uint16 [n, T], codes in [0, K), or absent. Images of any sizes: uint16 [cells, M]."""

    @abstractmethod
    def load(self) -> None:
        """Read the sections that all images need, or raise their error."""

    @abstractmethod
    def check_prior(self, ordinal: int) -> None:
        """Read the prior (0) or its copy (1). Raises its error."""

    @abstractmethod
    def _unpack(self, number: int, data: bytes) -> Block:
        """Parse the payload of a token block."""

    def column(self, ordinal: int) -> Column | None:
        """A column, cached once it was read; None if this release does not know its kind."""
        with self._lock:
            if ordinal not in self._columns:
                self._columns[ordinal] = self.parse(Section.COLUMN, ordinal, lambda data: self._column(ordinal, data))
            return self._columns[ordinal]

    def parse(self, section: int, ordinal: int, parser: Callable[[bytes], T], where: str = "") -> T:
        """Read a section and give its payload to `parser`. Messages of errors name the path and the section."""
        with self._naming(section_name(section, ordinal) + (f" ({where})" if where else "")):
            return parser(self._file.read(self._file.entry(section, ordinal)))

    @contextmanager
    def naming_block(self, number: int) -> Iterator[None]:
        """Put path, block and images into the messages of errors."""
        with self._naming(f"{section_name(Section.TOKENS, number)} ({self._images_of(number)})"):
            yield

    @contextmanager
    def _naming(self, section: str) -> Iterator[None]:
        try:
            yield
        except (DamagedArchiveError, UnsupportedArchiveError, LimitExceededError) as error:
            if str(error).startswith(f"{self._file.path}: "):
                raise
            raise type(error)(f"{self._file.path}: {section}: {str(error).removeprefix(f'{section}: ')}") from error

    def _entry(self, section: int, ordinal: int) -> Entry | None:
        return self._file.entry(section, ordinal) if self._file.has(section, ordinal) else None

    def _images_of(self, number: int) -> str:
        first, *others = self._file.layout.image_runs(number)
        more = f" and {sum(map(len, others))} others" if others else ""
        return f"images {first.start} to {first.stop - 1}{more}"

    def _column(self, ordinal: int, data: bytes) -> Column | None:
        column, listed = unpack_column(data, self._file.limits), self._file.header.columns[ordinal]
        if column is not None and column.name != listed:
            raise DamagedArchiveError(f"it is {column.name!r}, the header lists {listed!r}")
        return column

    def _has(self, feature: int) -> bool:
        return bool(self._file.header.required_features & feature)

    def _shared(self) -> SharedPayloads:
        """Finds shared payloads. UnsupportedArchiveError for a member outside its collection."""
        if self._file.shared is None:
            raise UnsupportedArchiveError(
                "its model is in the collection that it was taken from; open the collection instead"
            )
        return self._file.shared

    def _fatal(self, error: DamagedArchiveError) -> DamagedArchiveError:
        repairable = any(entry.section == Section.RECOVERY for entry in self._file.entries)
        advice = "smalti repair may bring it back" if repairable else "get the file again from where it came"
        return DamagedArchiveError(f"{error}; no image can be decoded without it: {advice}")

    def _decode(self, number: int) -> Block:
        self.load()
        return self.parse(Section.TOKENS, number, lambda data: self._unpack(number, data), self._images_of(number))

    def _fatal_unless_read(self, section: Section, parser: Callable[[bytes], T]) -> T:
        """Read a section that all images need."""
        try:
            return self.parse(section, 0, parser)
        except DamagedArchiveError as error:
            raise self._fatal(error) from error

    def _either_prior(self, parser: Callable[[int], T]) -> T:
        """Read the prior, or else its copy."""
        last = self._file.header.priors - 1
        for ordinal in range(last):
            with suppress(DamagedArchiveError):  # the copy may be intact
                return parser(ordinal)
        try:
            return parser(last)
        except DamagedArchiveError as error:
            raise self._fatal(error) from error

    def _prior_bytes(self, data: bytes) -> bytes:
        """The payload of the prior, which members of a collection may share."""
        return self._shared()(data) if self._has(SHARED_PRIOR) else data


class ImageStore(SectionStore):
    """The sections of an archive whose images have one shape."""

    def tokens(self, number: int) -> NDArray[np.uint16]:
        """The tokens of a block: uint16 [n, T], codes in [0, K), or absent."""
        return self.model.code_ids[self.block(number).indices]

    @property
    def model(self) -> ImageModel:
        """The decoder, and the codes of the indices."""
        with self._lock:
            return self._model

    @property
    def prior(self) -> Prior:
        """The prior that the tokens are coded with."""
        with self._lock:
            return self._prior

    @property
    def residuals(self) -> ResidualPrior | None:
        """The prior that the residuals are coded with; None if no image has residuals."""
        with self._lock:
            return self._residuals

    @property
    def decoder(self) -> BlockDecoder:
        """Decodes blocks to pixels."""
        with self._lock:
            return self._decoder

    def load(self) -> None:
        """Read model, prior and the residuals' prior, or raise their error."""
        _, _, _ = self.model, self.prior, self.residuals

    def check_prior(self, ordinal: int) -> None:
        """Read the prior (0) or its copy (1). The model is read first, since it parses priors."""
        self._read_prior(ordinal)

    def _read_prior(self, ordinal: int) -> Prior:
        model = self.model

        def parser(data: bytes) -> Prior:
            prior = model.read_prior(self._prior_bytes(data))
            self._file.limits.check("network_operations", prior.operations, "the prior of an image")
            return prior

        return self.parse(Section.PRIOR, ordinal, parser)

    def _unpack(self, number: int, data: bytes) -> Block:
        block = unpack_block(data, self._file.header.layout.image_range(number), self.prior, self.model.code_ids)
        if block.residuals and self.residuals is None:
            raise DamagedArchiveError("it holds corrections, of which the header knows nothing")
        return block

    def _parse_model(self, data: bytes) -> ImageModel:
        file = self._file
        if self._has(SHARED_MODEL):
            return unpack_referenced(data, file.header, file.limits, self._shared())
        return unpack_model(data, file.header, file.limits)

    @cached_property
    def _model(self) -> ImageModel:
        return self._fatal_unless_read(Section.MODEL, self._parse_model)

    @cached_property
    def _prior(self) -> Prior:
        return self._either_prior(self._read_prior)

    @cached_property
    def _decoder(self) -> BlockDecoder:
        return BlockDecoder(self._model, self._residuals, self._file.header)

    @cached_property
    def _residuals(self) -> ResidualPrior | None:
        header = self._file.header
        if not header.has_residuals:
            return None

        def parser(data: bytes) -> ResidualPrior:
            return ResidualPrior.from_bytes(data, header.image_shape, header.pixel_type)

        return self._fatal_unless_read(Section.CORRECTIONS, parser)


class CellStore(SectionStore):
    """The sections of an archive whose images have any sizes.

    Tokens of images that have copies are kept longer than their blocks.

    layout : of the stored images, whose numbers all methods take but `stored_numbers` and `keeps`
    copies : None if all images are stored
    """

    layout: SizedLayout
    copies: Copies | None

    def __init__(self, file: SectionFile) -> None:
        super().__init__(file)
        if isinstance(file.layout, CopiedLayout):
            self.layout, self.copies = file.layout.stored, file.layout.copies
        else:
            assert isinstance(file.layout, SizedLayout)
            self.layout, self.copies = file.layout, None
        self._kept: dict[int, NDArray[np.uint16]] = {}  # by stored number, first those kept first
        self._kept_bytes = 0
        # regions depend on those around them: with three rows of regions cached, a block is decoded once for its image
        row_bytes = 2 * file.header.tokens_per_image * self.layout.widest_row
        self._most_bytes = min(max(_CACHE_BYTES, 4 * row_bytes), _MOST_CACHE_BYTES)

    def keeps(self, images: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the tokens of each image are here without its block: bool [n]."""
        return self.keeps_stored(self.stored_numbers(images))

    def keeps_stored(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """The same by stored numbers."""
        if not self._kept:
            return np.zeros(len(numbers), np.bool_)
        return np.array([number in self._kept for number in numbers.tolist()], np.bool_)

    def stored_numbers(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        """The stored number of each image: its own, or that of the image it is a copy of. int64 [n]"""
        return images if self.copies is None else self.copies.numbers_of_images[images]

    def tokens(self, number: int) -> NDArray[np.uint16]:
        """The tokens of all cells of a block: uint16 [cells, M]."""
        return self.block(number).indices

    @property
    def model(self) -> CellModel:
        """The decoder."""
        with self._lock:
            return self._model

    @property
    def prior(self) -> CellPrior:
        """The prior that the tokens are coded with."""
        with self._lock:
            return self._prior

    def load(self) -> None:
        """Read model and prior, or raise their error."""
        _, _ = self.model, self.prior

    def fetch(self) -> None:
        """The same, before any block: from a remote file the two are fetched together."""
        for _ in self._file.fetch_runs([None], self._unread()):
            self.load()

    def check_prior(self, ordinal: int) -> None:
        """Read the prior (0) or its copy (1). The model is read first, since it parses priors."""
        self._read_prior(ordinal)

    def window(self, wanted: Rectangle) -> NDArray[np.uint16]:
        """The tokens of cells of an image: uint16 [rows, columns, M]. Only blocks that hold them are read."""
        layout, tokens = self.layout, self._file.header.tokens_per_image
        kept = self._kept.get(wanted.image)
        if kept is not None:
            whole = kept.reshape(*layout.grid(wanted.image), tokens)
            return whole[wanted.top : wanted.top + wanted.rows, wanted.left : wanted.left + wanted.columns]
        found: NDArray[np.uint16] | None = None
        for unit, held in layout.units_in(wanted):
            block, before = layout.place(unit)
            of_unit = self.block(block).indices[before : before + held.cells].reshape(held.rows, held.columns, tokens)
            top, left = max(held.top, wanted.top), max(held.left, wanted.left)
            bottom = min(held.top + held.rows, wanted.top + wanted.rows)
            right = min(held.left + held.columns, wanted.left + wanted.columns)
            part = of_unit[top - held.top : bottom - held.top, left - held.left : right - held.left]
            if part.shape[:2] == (wanted.rows, wanted.columns):
                return part
            if found is None:
                found = np.empty((wanted.rows, wanted.columns, tokens), np.uint16)
            found[top - wanted.top : bottom - wanted.top, left - wanted.left : right - wanted.left] = part
        assert found is not None  # a rectangle lies in the units of its image
        return found

    def whole(self, images: NDArray[np.int64]) -> NDArray[np.uint16]:
        """The tokens of images that are not cut, in ascending order: uint16 [cells, M]."""
        kept = [self._kept.get(image) for image in images.tolist()] if self._kept else [None]
        found = [tokens for tokens in kept if tokens is not None]
        if len(found) == len(images):
            return np.concatenate(found)
        layout = self.layout
        blocks, starts = layout.image_places(images)
        ends = starts + np.prod(layout.image_grids(images), axis=1)
        if blocks[0] == blocks[-1] and int(images[-1]) - int(images[0]) + 1 == len(images):
            return self.block(int(blocks[0])).indices[int(starts[0]) : int(ends[-1])]
        places = zip(blocks.tolist(), starts.tolist(), ends.tolist(), strict=True)
        return np.concatenate([self.block(block).indices[start:end] for block, start, end in places])

    def _keep(self, number: int, block: Block) -> None:
        super()._keep(number, block)
        if self.copies is None:
            return
        held = self.layout.image_range(number)
        images = held.start + np.flatnonzero(self._copied[held.start : held.stop])
        images = images[~self.layout.cut(images)]
        _, starts = self.layout.image_places(images)
        ends = starts + np.prod(self.layout.image_grids(images), axis=1)
        with self._lock:
            for image, start, end in zip(images.tolist(), starts.tolist(), ends.tolist(), strict=True):
                if image not in self._kept:
                    self._kept[image] = block.indices[start:end].copy()
                    self._kept_bytes += self._kept[image].nbytes
            while self._kept_bytes > _KEPT_BYTES:
                self._kept_bytes -= self._kept.pop(next(iter(self._kept))).nbytes

    @cached_property
    def _copied(self) -> NDArray[np.bool_]:
        """Whether there are copies of each stored image: bool [stored]."""
        assert self.copies is not None
        return self.copies.copied

    def _read_prior(self, ordinal: int) -> CellPrior:
        model = self.model

        def parser(data: bytes) -> CellPrior:
            prior = model.read_prior(self._prior_bytes(data))
            operations = prior.operations * self.layout.largest_block
            self._file.limits.check("network_operations", operations, "the prior of a token block")
            needed = prior.cell_bytes * self.layout.largest_block
            self._file.limits.check("block_bytes", needed, "the prior of a token block")
            return prior

        return self.parse(Section.PRIOR, ordinal, parser)

    def _unpack(self, number: int, data: bytes) -> Block:
        return unpack_cells(data, self.layout.block_units(number), self.layout.grids(number), self.prior)

    def _parse_model(self, data: bytes) -> CellModel:
        file, sizes = self._file, self.layout.sizes
        header = file.header
        tokens, most = header.tokens_per_image, self.layout.largest_block
        facts = CellFacts(header.image_shape[2], header.pixel_type, sizes.cell, tokens, most)
        model = unpack_cells_model(
            data, header, facts, file.limits, self._shared() if self._has(SHARED_MODEL) else None
        )
        if (model.cell, model.tokens_per_cell) != (facts.cell, facts.tokens_per_cell):
            raise DamagedArchiveError(
                f"it has cells of {model.cell} pixels and {model.tokens_per_cell} tokens, not of {facts.cell} and "
                f"{facts.tokens_per_cell}"
            )
        if not 0 <= model.reach <= _MOST_REACH:
            raise DamagedArchiveError(f"pixels depend on cells up to {model.reach} away, the most is {_MOST_REACH}")
        if model.channels != facts.channels or model.dtype != facts.dtype:
            raise DamagedArchiveError(
                f"it makes {model.channels} channels of {model.dtype}, not what the header states"
            )
        return model

    @cached_property
    def _model(self) -> CellModel:
        return self._fatal_unless_read(Section.MODEL, self._parse_model)

    @cached_property
    def _prior(self) -> CellPrior:
        return self._either_prior(self._read_prior)


def section_name(section: int, ordinal: int) -> str:
    """The name of a section in messages, whether it is in the file or not."""
    return Entry(section, ordinal, 0, 0, 0).name

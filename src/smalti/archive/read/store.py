"""The tokens, the decoder and the columns of an open archive, read when they are first needed."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from smalti.archive.collection.sharing import unpack_model, unpack_referenced
from smalti.archive.format.column import Column, unpack_column
from smalti.archive.format.frames import Block, unpack_block
from smalti.archive.format.layout import SHARED_MODEL, SHARED_PRIOR, Entry, Section
from smalti.archive.read.block_decoder import BlockDecoder
from smalti.archive.read.sections import SectionFile, SharedPayloads
from smalti.decoders.contract import ImageModel, Prior
from smalti.errors import DamagedArchiveError, LimitExceededError, UnsupportedArchiveError
from smalti.lazy import cached_property
from smalti.residual.residual_prior import ResidualPrior

__all__ = ["SectionStore", "section_name"]

_CACHE_BYTES = 64 << 20  # of tokens: 300,000 images of 28x28, so that random access decodes each block once

T = TypeVar("T")


class SectionStore:
    """Parses sections: keeps the token blocks last used, and all of the others; safe to use from several threads."""

    def __init__(self, file: SectionFile) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._cache: OrderedDict[int, Block] = OrderedDict()
        self._cache_bytes = 0
        self._columns: dict[int, Column | None] = {}

    def block(self, number: int) -> Block:
        """A token block, decoded up to its tokens; DamagedArchiveError names it and its images."""
        self._file.require_open()
        with self._lock:
            if number in self._cache:
                self._cache.move_to_end(number)
                return self._cache[number]
        block = self._decode(number)
        with self._lock:
            if number not in self._cache:  # another thread may have been faster
                self._cache[number] = block
                self._cache_bytes += block.kept_bytes
            while len(self._cache) > 1 and self._cache_bytes > _CACHE_BYTES:
                self._cache_bytes -= self._cache.popitem(last=False)[1].kept_bytes
        return block

    def together(self, numbers: Sequence[int]) -> Iterator[slice]:
        """Cut block numbers into runs; the blocks of a run that are not kept yet, and what all blocks need, are fetched
        together from a remote file, and held until the next run is asked for."""
        if not self._file.source.is_remote:
            return iter((slice(0, len(numbers)),))
        parsed = {Section.MODEL: "_model", Section.PRIOR: "_prior", Section.CORRECTIONS: "_corrections"}
        shared = [self._entry(section, 0) for section, name in parsed.items() if name not in self.__dict__]
        with self._lock:
            kept = set(self._cache)
        blocks = [None if number in kept else self._entry(Section.TOKENS, number) for number in numbers]
        return self._file.together(blocks, [entry for entry in shared if entry is not None])

    def tokens(self, number: int) -> NDArray[np.uint16]:
        """The tokens of a block as numbers of codes in [0, K), or absent: uint16 [n, T]."""
        return self.model.code_ids[self.block(number).indices]

    @property
    def model(self) -> ImageModel:
        """The decoder, and what indices mean."""
        with self._lock:
            return self._model

    @property
    def prior(self) -> Prior:
        """The distributions that the tokens were coded with."""
        with self._lock:
            return self._prior

    @property
    def corrections(self) -> ResidualPrior | None:
        """The distributions that the corrections were coded with, None if no image has any."""
        with self._lock:
            return self._corrections

    @property
    def decoder(self) -> BlockDecoder:
        """What makes pixels of blocks."""
        with self._lock:
            return self._decoder

    def column(self, ordinal: int) -> Column | None:
        """A column, None if it is of a kind not known; kept once it has been read."""
        with self._lock:
            if ordinal not in self._columns:
                self._columns[ordinal] = self.parse(Section.COLUMN, ordinal, lambda data: self._column(ordinal, data))
            return self._columns[ordinal]

    def parse(self, section: int, ordinal: int, parser: Callable[[bytes], T], where: str = "") -> T:
        """Read a section and give its payload to `parser`; errors are told with the path and the section."""
        with self._naming(section_name(section, ordinal) + (f" ({where})" if where else "")):
            return parser(self._file.read(self._file.entry(section, ordinal)))

    def parse_prior(self, ordinal: int) -> Prior:
        """Read the prior (0) or its copy (1); the model comes first, for it says what a prior is of."""
        model = self.model

        def parser(data: bytes) -> Prior:
            prior = model.read_prior(self._shared()(data) if self._has(SHARED_PRIOR) else data)
            self._file.limits.check("network_operations", prior.operations, "the prior of an image")
            return prior

        return self.parse(Section.PRIOR, ordinal, parser)

    @contextmanager
    def naming_block(self, number: int) -> Iterator[None]:
        """Tell errors with the path, the block and its images."""
        with self._naming(f"{section_name(Section.TOKENS, number)} ({self._images_of(number)})"):
            yield

    @contextmanager
    def _naming(self, place: str) -> Iterator[None]:
        try:
            yield
        except (DamagedArchiveError, UnsupportedArchiveError, LimitExceededError) as error:
            if str(error).startswith(f"{self._file.path}: "):
                raise
            raise type(error)(f"{self._file.path}: {place}: {str(error).removeprefix(f'{place}: ')}") from error

    def _entry(self, section: int, ordinal: int) -> Entry | None:
        return self._file.entry(section, ordinal) if self._file.has(section, ordinal) else None

    def _images_of(self, number: int) -> str:
        images = self._file.header.block_range(number)
        return f"images {images.start} to {images.stop - 1}"

    def _column(self, ordinal: int, data: bytes) -> Column | None:
        column, listed = unpack_column(data, self._file.limits), self._file.header.columns[ordinal]
        if column is not None and column.name != listed:
            raise DamagedArchiveError(f"it is {column.name!r}, the header lists {listed!r}")
        return column

    def _parse_model(self, data: bytes) -> ImageModel:
        file = self._file
        if self._has(SHARED_MODEL):
            return unpack_referenced(data, file.header, file.limits, self._shared())
        return unpack_model(data, file.header, file.limits)

    def _has(self, feature: int) -> bool:
        return bool(self._file.header.required_features & feature)

    def _shared(self) -> SharedPayloads:
        """What finds payloads that are shared; a member by itself has none."""
        if self._file.shared is None:
            raise UnsupportedArchiveError(
                "its model is in the collection that it was taken from; open the collection instead"
            )
        return self._file.shared

    @cached_property
    def _model(self) -> ImageModel:
        try:
            return self.parse(Section.MODEL, 0, self._parse_model)
        except DamagedArchiveError as error:
            raise self._fatal(error) from error

    @cached_property
    def _prior(self) -> Prior:
        last = self._file.header.priors - 1
        for ordinal in range(last):
            with suppress(DamagedArchiveError):  # the copy may be whole
                return self.parse_prior(ordinal)
        try:
            return self.parse_prior(last)
        except DamagedArchiveError as error:
            raise self._fatal(error) from error

    @cached_property
    def _decoder(self) -> BlockDecoder:
        return BlockDecoder(self._model, self._corrections, self._file.header)

    @cached_property
    def _corrections(self) -> ResidualPrior | None:
        header = self._file.header
        if not header.has_corrections:
            return None

        def parser(data: bytes) -> ResidualPrior:
            return ResidualPrior.from_bytes(data, header.image_shape, header.pixel_type)

        try:
            return self.parse(Section.CORRECTIONS, 0, parser)
        except DamagedArchiveError as error:
            raise self._fatal(error) from error

    def _fatal(self, error: DamagedArchiveError) -> DamagedArchiveError:
        repairable = any(entry.section == Section.RECOVERY for entry in self._file.entries)
        advice = "smalti repair may bring it back" if repairable else "get the file again from where it came"
        return DamagedArchiveError(f"{error}; no image can be decoded without it: {advice}")

    def _decode(self, number: int) -> Block:
        prior, code_ids, corrected = self.prior, self.model.code_ids, self.corrections is not None
        images = self._file.header.block_range(number)

        def parser(data: bytes) -> Block:
            block = unpack_block(data, images, prior, code_ids)
            if block.corrections and not corrected:
                raise DamagedArchiveError("it holds corrections, of which the header knows nothing")
            return block

        return self.parse(Section.TOKENS, number, parser, self._images_of(number))


def section_name(section: int, ordinal: int) -> str:
    """What to call a section in a message, whether it is there or not."""
    return Entry(section, ordinal, 0, 0, 0).name

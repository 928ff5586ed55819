"""The tokens, the decoder and the columns of an open archive, read when they are first needed."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from smalti.archive.blocks import unpack_block
from smalti.archive.columns import Column, unpack_column
from smalti.archive.layout import Entry, Section
from smalti.archive.model import unpack_model
from smalti.archive.sections import SectionFile
from smalti.entropy import TokenPrior
from smalti.errors import DamagedArchiveError, LimitExceededError, UnsupportedArchiveError
from smalti.floating import DecoderWeights, FloatDecoder

__all__ = ["SectionStore"]

_CACHED_BLOCKS = 8

T = TypeVar("T")


class Block(NamedTuple):
    """Tokens of one block: code ids in [0, K) and indices among the codes in use, each uint16 [n, T]."""

    tokens: NDArray[np.uint16]
    indices: NDArray[np.uint16]


class SectionStore:
    """Parses sections: keeps the last few token blocks, and all of the others; safe to use from several threads."""

    def __init__(self, file: SectionFile) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._cache: OrderedDict[int, Block] = OrderedDict()
        self._columns: dict[int, Column | None] = {}

    def block(self, number: int) -> Block:
        """The tokens of a block; DamagedArchiveError names the block and its images."""
        with self._lock:
            if number in self._cache:
                self._cache.move_to_end(number)
                return self._cache[number]
        block = self._decode(number)
        with self._lock:
            self._cache[number] = block
            while len(self._cache) > _CACHED_BLOCKS:
                self._cache.popitem(last=False)
        return block

    @property
    def model(self) -> tuple[DecoderWeights, NDArray[np.uint16]]:
        """The decoder with the codes in use, and their numbers in [0, K)."""
        with self._lock:
            return self._model

    @property
    def prior(self) -> TokenPrior:
        """The distributions that the tokens were coded with."""
        with self._lock:
            return self._prior

    @property
    def decoder(self) -> FloatDecoder:
        """The decoder, ready to run."""
        with self._lock:
            return self._decoder

    def column(self, entry: Entry) -> Column | None:
        """The column in a section, None if it is of a kind not known; kept once it has been read."""
        with self._lock:
            if entry.ordinal not in self._columns:
                self._columns[entry.ordinal] = self.parse(entry, lambda data: unpack_column(data, self._file.limits))
            return self._columns[entry.ordinal]

    def column_names(self) -> list[str]:
        """Names of all columns of known kinds."""
        entries = [entry for entry in self._file.entries if entry.section == Section.COLUMN]
        return [column.name for column in map(self.column, entries) if column is not None]

    @cached_property
    def _model(self) -> tuple[DecoderWeights, NDArray[np.uint16]]:
        return self.parse(
            self._file.entry(Section.MODEL), lambda data: unpack_model(data, self._file.header, self._file.limits)
        )

    @cached_property
    def _prior(self) -> TokenPrior:
        header = self._file.header
        return self.parse(
            self._file.entry(Section.PRIOR),
            lambda data: TokenPrior.from_bytes(data, header.codes_used, header.tokens_per_image),
        )

    @cached_property
    def _decoder(self) -> FloatDecoder:
        return FloatDecoder(self._model[0])

    def _decode(self, number: int) -> Block:
        prior, (_, code_ids) = self.prior, self.model
        images = self._file.header.block_range(number)
        where = f"images {images.start} to {images.stop - 1}"
        entry = self._file.entry(Section.TOKENS, number)
        return Block(*self.parse(entry, lambda data: unpack_block(data, images, prior, code_ids), where))

    def parse(self, entry: Entry, parser: Callable[[bytes], T], where: str = "") -> T:
        """Read a section and give its payload to `parser`; errors are told with the path and the section."""
        place = f"{self._file.path}: {entry.name}" + (f" ({where})" if where else "")
        try:
            return parser(self._file.read(entry))
        except (DamagedArchiveError, UnsupportedArchiveError, LimitExceededError) as error:
            raise type(error)(f"{place}: {error}") from error

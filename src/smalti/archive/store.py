"""The tokens, the decoder and the columns of an open archive, read when they are first needed."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

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

_CACHE_BYTES = 64 << 20  # of tokens: 300,000 images of 28x28, so that random access decodes each block once

T = TypeVar("T")


class SectionStore:
    """Parses sections: keeps the token blocks last used, and all of the others; safe to use from several threads."""

    def __init__(self, file: SectionFile) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._cache: OrderedDict[int, NDArray[np.uint16]] = OrderedDict()
        self._columns: dict[int, Column | None] = {}

    def indices(self, number: int) -> NDArray[np.uint16]:
        """The tokens of a block as indices among the codes in use, uint16 [n, T].

        DamagedArchiveError names the block and its images.
        """
        with self._lock:
            if number in self._cache:
                self._cache.move_to_end(number)
                return self._cache[number]
        indices = self._decode(number)
        with self._lock:
            self._cache[number] = indices
            self._cache.move_to_end(number)
            while len(self._cache) > 1 and sum(block.nbytes for block in self._cache.values()) > _CACHE_BYTES:
                self._cache.popitem(last=False)
        return indices

    def tokens(self, number: int) -> NDArray[np.uint16]:
        """The tokens of a block as numbers of codes in [0, K), uint16 [n, T]."""
        return self.model[1][self.indices(number)]

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

    def _decode(self, number: int) -> NDArray[np.uint16]:
        prior, (_, code_ids) = self.prior, self.model
        images = self._file.header.block_range(number)
        where = f"images {images.start} to {images.stop - 1}"
        entry = self._file.entry(Section.TOKENS, number)
        return self.parse(entry, lambda data: unpack_block(data, images, prior, code_ids), where)

    def parse(self, entry: Entry, parser: Callable[[bytes], T], where: str = "") -> T:
        """Read a section and give its payload to `parser`; errors are told with the path and the section."""
        place = f"{self._file.path}: {entry.name}" + (f" ({where})" if where else "")
        try:
            return parser(self._file.read(entry))
        except (DamagedArchiveError, UnsupportedArchiveError, LimitExceededError) as error:
            raise type(error)(f"{place}: {error}") from error

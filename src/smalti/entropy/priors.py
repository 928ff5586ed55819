"""What is expected of the tokens of an image before they are seen, as tables of stored integers.

Kinds, by a number in the file so that later ones can join them:

    1 shared     one table for every position of the token grid
    2 position   one table for each position

`TokenPrior.fit` takes the kind and the precision that make tables and tokens together smallest.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smalti.entropy.coder import SymbolDecoder, SymbolEncoder
from smalti.entropy.frequency import MAX_PRECISION, FrequencyTable
from smalti.entropy.tables import pack_tables, unpack_tables
from smalti.errors import DamagedArchiveError, UnsupportedArchiveError, UsageError

__all__ = ["MAX_POSITION_CELLS", "TokenPrior"]

MAX_POSITION_CELLS = 1 << 22  # tables x codes of a "position" prior: bounds the memory of a reader and a writer
_HEAD = struct.Struct("<BBHII")  # kind, precision, reserved, codes, positions
_KINDS: dict[str, int] = {"shared": 1, "position": 2}
_PRECISIONS = (8, 10, 12, 14, 16)


@dataclass(frozen=True, eq=False)
class TokenPrior:
    """Distributions of the tokens of an image: `positions` tokens, each an index into the codes in use.

    kind : "shared" (one table) or "position" (one table for each of `positions`)
    tables : FrequencyTable, all of one precision and one alphabet
    positions : T, tokens per image

    >>> prior = TokenPrior.fit(counts)                    # counts: int64 [T, U]
    >>> prior.decode(prior.encode(tokens), len(tokens))   # equals tokens
    >>> TokenPrior.from_bytes(prior.to_bytes())           # the same prior
    """

    kind: Literal["shared", "position"]
    tables: tuple[FrequencyTable, ...]
    positions: int

    def __post_init__(self) -> None:
        expected = self.positions if self.kind == "position" else 1
        if self.positions < 1 or len(self.tables) != expected:
            raise UsageError(f"{self.kind} prior of {self.positions} positions with {len(self.tables)} tables")
        if len({(table.precision, len(table.frequencies)) for table in self.tables}) != 1:
            raise UsageError("the tables of a prior differ in precision or alphabet")

    @property
    def codes(self) -> int:
        """U, the size of the alphabet."""
        return len(self.tables[0].frequencies)

    @classmethod
    def fit(cls, counts: NDArray[np.int64]) -> "TokenPrior":
        """The prior that codes tokens with these counts in the fewest bytes, its own tables included.

        counts : int64 [T, U], how often each code stands at each position; no row all 0
        """
        if counts.ndim != 2 or not counts.any(axis=1).all():
            raise UsageError(f"counts {list(counts.shape)} must be [positions, codes] with no empty row")
        positions = counts.shape[0]
        candidates = [*_candidates(counts.sum(axis=0, keepdims=True), positions)]
        if positions > 1 and counts.size <= MAX_POSITION_CELLS:
            candidates += _candidates(counts, positions)
        return min(candidates, key=lambda candidate: candidate[0])[1]

    @classmethod
    def fit_shared(cls, counts: NDArray[np.int64], positions: int) -> "TokenPrior":
        """The best "shared" prior for counts int64 [U] pooled over `positions` (when [T, U] would not fit)."""
        return min(_candidates(counts[None, :], positions), key=lambda candidate: candidate[0])[1]

    def encode(self, tokens: NDArray[np.integer]) -> bytes:
        """Code tokens (integers [n, T], each in [0, U) and possible under its table), else raise UsageError."""
        if tokens.ndim != 2 or tokens.shape[1] != self.positions:
            raise UsageError(f"tokens {list(tokens.shape)} are not [n, {self.positions}]")
        encoder = SymbolEncoder()
        if self.kind == "shared":
            encoder.add(tokens.T.ravel(), self.tables[0])
        else:
            for position, table in enumerate(self.tables):
                encoder.add(tokens[:, position], table)
        return encoder.finish()

    def decode(self, data: bytes, images: int) -> NDArray[np.uint16]:
        """Read back the tokens of `images` images: uint16 [images, T]; DamagedArchiveError if `data` do not fit."""
        decoder = SymbolDecoder(data)
        if self.kind == "shared":
            flat = decoder.take(images * self.positions, self.tables[0])
            tokens = flat.astype(np.uint16).reshape(self.positions, images)
        else:
            tokens = np.empty((self.positions, images), np.uint16)
            for position, table in enumerate(self.tables):
                tokens[position] = decoder.take(images, table)
        decoder.finish()
        return np.ascontiguousarray(tokens.T)

    def to_bytes(self) -> bytes:
        """Serialise; `from_bytes` is the inverse."""
        precision = self.tables[0].precision
        head = _HEAD.pack(_KINDS[self.kind], precision, 0, self.codes, self.positions)
        return head + pack_tables(np.stack([table.frequencies for table in self.tables]), precision)

    @classmethod
    def from_bytes(cls, data: bytes, codes: int, positions: int) -> "TokenPrior":
        """Read a prior for `codes` codes and `positions` positions, which the file states elsewhere too.

        Raises DamagedArchiveError if the bytes are not such a prior, UnsupportedArchiveError for an unknown kind.
        """
        if len(data) < _HEAD.size:
            raise DamagedArchiveError(f"prior: {len(data)} bytes are too few")
        number, precision, reserved, stored_codes, stored_positions = _HEAD.unpack_from(data)
        if (stored_codes, stored_positions) != (codes, positions):
            raise DamagedArchiveError(
                f"prior: made for {stored_positions} x {stored_codes}, the archive has {positions} x {codes}"
            )
        kinds: dict[int, Literal["shared", "position"]] = {1: "shared", 2: "position"}
        if number not in kinds:
            raise UnsupportedArchiveError(f"prior: kind {number} is not known to this release; use a newer smalti")
        kind = kinds[number]
        rows = positions if kind == "position" else 1
        if precision > MAX_PRECISION or reserved != 0 or (rows > 1 and rows * codes > MAX_POSITION_CELLS):
            raise DamagedArchiveError("prior: a field of its head is out of range")
        frequencies = unpack_tables(data[_HEAD.size :], rows, codes, precision)
        try:
            return cls(kind, tuple(FrequencyTable(row, precision) for row in frequencies), positions)
        except UsageError as error:
            raise DamagedArchiveError(f"prior: {error}") from error


def _candidates(counts: NDArray[np.int64], positions: int) -> Iterator[tuple[float, TokenPrior]]:
    """Priors of one kind at each sensible precision, with their cost in bits (tables + tokens)."""
    kind: Literal["shared", "position"] = "shared" if len(counts) == 1 else "position"
    needed = int(np.count_nonzero(counts, axis=1).max() - 1).bit_length()
    for precision in sorted({*_PRECISIONS, min(needed + 2, MAX_PRECISION)}):
        if precision >= needed:
            tables = tuple(FrequencyTable.from_counts(row, precision) for row in counts)
            prior = TokenPrior(kind, tables, positions)
            tokens_bits = sum(table.cost_bits(row) for table, row in zip(tables, counts, strict=True))
            yield 8.0 * len(prior.to_bytes()) + tokens_bits, prior

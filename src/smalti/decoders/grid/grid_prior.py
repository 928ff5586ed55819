"""The prior of a grid of tokens: how a block's tokens are grouped for coding, and the bytes of the prior.

The file names the kind by a number, so that later kinds can follow:

    1 shared     one table for all positions of the token grid
    2 position   one table for each position
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smalti.entropy.coder import SymbolDecoder, SymbolEncoder
from smalti.entropy.frequency import MAX_PRECISION
from smalti.entropy.priors import MAX_POSITION_CELLS, TablePrior, needed_precision
from smalti.errors import DamagedArchiveError, ModelError, UnsupportedArchiveError, UsageError

__all__ = ["TokenPrior"]

_HEAD = struct.Struct("<BBHII")  # kind, precision, reserved, codes, positions
_KINDS: dict[str, int] = {"shared": 1, "position": 2}


@dataclass(frozen=True, eq=False)
class TokenPrior:
    """Distributions of the tokens of an image. Each token is an index into the codes in use.

    tables : one for all positions, or one for each
    positions : T, tokens per image

    >>> prior = TokenPrior.fit(counts)                    # counts: int64 [T, U]
    >>> prior.decode(prior.encode(tokens), len(tokens))   # equals tokens
    >>> TokenPrior.from_bytes(prior.to_bytes(), codes, positions)   # the same prior

    `fit` chooses the kind and the precision that need the fewest bytes for tables and tokens together.
    """

    tables: TablePrior
    positions: int

    def __post_init__(self) -> None:
        if self.positions < 1 or self.tables.rows not in (1, self.positions):
            raise UsageError(f"a prior of {self.positions} positions with {self.tables.rows} tables")

    @property
    def kind(self) -> Literal["shared", "position"]:
        """ "shared" for one table for all positions, "position" for one table each."""
        return "shared" if self.tables.rows == 1 else "position"

    @property
    def codes(self) -> int:
        """U, the size of the alphabet."""
        return self.tables.codes

    @property
    def operations(self) -> int:
        """Steps to code one image: one for each token."""
        return self.positions

    @classmethod
    def fit(cls, counts: NDArray[np.int64]) -> "TokenPrior":
        """The prior that codes tokens with these counts in the fewest bytes, its own tables included.

        counts : int64 [T, U], how often each code stands at each position; no row all 0
        """
        if counts.ndim != 2 or not counts.any(axis=1).all():
            raise UsageError(f"counts {list(counts.shape)} must be [positions, codes] with no empty row")
        positions = counts.shape[0]
        candidates = [*_costed(counts.sum(axis=0, keepdims=True), positions)]
        if positions > 1 and counts.size <= MAX_POSITION_CELLS:
            candidates += _costed(counts, positions)
        return min(candidates, key=lambda candidate: candidate[0])[1]

    @classmethod
    def fit_shared(cls, counts: NDArray[np.int64], positions: int) -> "TokenPrior":
        """The best "shared" prior for counts int64 [U] over all `positions`, for when [T, U] would be too large."""
        return min(_costed(counts[None, :], positions), key=lambda candidate: candidate[0])[1]

    def encode(self, tokens: NDArray[np.integer]) -> bytes:
        """Code tokens (integers [n, T], each in [0, U) and possible under its table), else raise UsageError."""
        if tokens.ndim != 2 or tokens.shape[1] != self.positions:
            raise UsageError(f"tokens {list(tokens.shape)} are not [n, {self.positions}]")
        encoder = SymbolEncoder()
        if self.kind == "shared":
            encoder.add(tokens.T.ravel(), self.tables.frequency_tables[0])
        else:
            for position, table in enumerate(self.tables.frequency_tables):
                encoder.add(tokens[:, position], table)
        return encoder.finish()

    def decode(self, data: bytes, images: int) -> NDArray[np.uint16]:
        """Read back the tokens of `images` images: uint16 [images, T]; DamagedArchiveError if `data` do not fit."""
        decoder = SymbolDecoder(data)
        if self.kind == "shared":
            flat = decoder.take(images * self.positions, self.tables.frequency_tables[0])
            tokens = flat.astype(np.uint16).reshape(self.positions, images)
        else:
            tokens = np.empty((self.positions, images), np.uint16)
            for position, table in enumerate(self.tables.frequency_tables):
                tokens[position] = decoder.take(images, table)
        decoder.finish()
        return np.ascontiguousarray(tokens.T)

    def to_bytes(self) -> bytes:
        """Serialise; `from_bytes` is the inverse."""
        head = _HEAD.pack(_KINDS[self.kind], self.tables.precision, 0, self.codes, self.positions)
        return head + self.tables.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes, codes: int, positions: int) -> "TokenPrior":
        """Read a prior for `codes` codes and `positions` positions; the file states both elsewhere too.

        Raises DamagedArchiveError if the bytes are not such a prior, UnsupportedArchiveError for an unknown kind.
        """
        if len(data) < _HEAD.size:
            raise DamagedArchiveError(f"prior: {len(data)} bytes are too few")
        kind, precision, reserved, stored_codes, stored_positions = _HEAD.unpack_from(data)
        if (stored_codes, stored_positions) != (codes, positions):
            raise DamagedArchiveError(
                f"prior: made for {stored_positions} x {stored_codes}, the archive has {positions} x {codes}"
            )
        if kind not in _KINDS.values():
            raise UnsupportedArchiveError(f"prior: kind {kind} is not known to this release; use a newer smalti")
        rows = positions if kind == _KINDS["position"] else 1
        if precision > MAX_PRECISION or reserved != 0 or (rows > 1 and rows * codes > MAX_POSITION_CELLS):
            raise DamagedArchiveError("prior: a field of its head is out of range")
        try:
            return cls(TablePrior.from_bytes(data[_HEAD.size :], rows, codes, precision), positions)
        except ModelError as error:
            raise DamagedArchiveError(f"prior: {error}") from error


def _costed(counts: NDArray[np.int64], positions: int) -> Iterator[tuple[float, TokenPrior]]:
    """Yield priors of one kind at each sensible precision, with their cost in bits (tables and tokens)."""
    for tables in TablePrior.candidates(counts, [min(needed_precision(counts) + 2, MAX_PRECISION)]):
        prior = TokenPrior(tables, positions)
        yield 8.0 * len(prior.to_bytes()) + tables.counted_bits(counts), prior

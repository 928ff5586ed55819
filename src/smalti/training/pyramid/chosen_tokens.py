"""The tokens that are chosen for a collection: in memory, or in a temporary file if there are many."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smalti.storage.spooled_rows import SpooledRows
from smalti.training.pyramid.token_search import SearchState

__all__ = ["BlendedTokens", "TokenChoice", "TokenRows", "Tokens", "parts_of"]

IN_MEMORY_BYTES = 16 << 20
"""More tokens go into a nameless temporary file, so that memory does not grow with the images."""

CHUNK_IMAGES = 1 << 14
_DTYPE: np.dtype[Any] = np.dtype(np.int16)

Images = slice | Tensor
"""Images from `start` to before `stop`, or those of given numbers."""


class Tokens(Protocol):
    """Tokens that can be read."""

    def of(self, images: Images) -> list[Tensor]:
        """Return the tokens of some images: int64 [n, positions] for each level."""


class TokenRows:
    """The tokens of all images, a row for each.

    images : their number; tokens are 0 until they are put    positions : of each level
    beside : the output; a file goes into its folder. None for the system's temporary folder
    """

    def __init__(self, images: int, positions: tuple[int, ...], beside: Path | None = None) -> None:
        self.positions, self._beside = positions, beside
        shape = (images, sum(positions))
        large = _DTYPE.itemsize * shape[0] * shape[1] > IN_MEMORY_BYTES
        self._rows: SpooledRows | NDArray[np.int16] = (
            SpooledRows(images, shape[1:], _DTYPE, beside) if large else np.zeros(shape, _DTYPE)
        )

    def __len__(self) -> int:
        return len(self._rows)

    def of(self, images: Images) -> list[Tensor]:
        """Return the tokens of some images: int64 [n, positions] for each level."""
        rows = self._rows[images if isinstance(images, slice) else images.numpy()]
        return [level.long() for level in torch.split(torch.from_numpy(rows), list(self.positions), 1)]

    def put(self, start: int, tokens: list[Tensor]) -> None:
        """Store the tokens of the images from `start` on."""
        rows = torch.cat(tokens, 1).to(torch.int16).numpy()
        self._rows[start : start + len(rows)] = rows

    def parts(self) -> Iterator[slice]:
        """Yield all images, some at a time."""
        return parts_of(len(self))

    def copy(self) -> "TokenRows":
        """Return an independent copy."""
        result = TokenRows(len(self), self.positions, self._beside)
        for part in self.parts():
            result.put(part.start, self.of(part))
        return result


def parts_of(images: int) -> Iterator[slice]:
    """Yield so many images, some at a time."""
    for start in range(0, images, CHUNK_IMAGES):
        yield slice(start, min(start + CHUNK_IMAGES, images))


@dataclass(frozen=True)
class BlendedTokens:
    """Tokens of one choice for some images, and of another for the rest. first : bool [N], whose are of the first"""

    one: Tokens
    other: Tokens
    first: Tensor

    def of(self, images: Images) -> list[Tensor]:
        """Return the tokens of some images: int64 [n, positions] for each level."""
        first = self.first[images][:, None]
        return [torch.where(first, a, b) for a, b in zip(self.one.of(images), self.other.of(images), strict=True)]


@dataclass
class TokenChoice:
    """Tokens of a collection.

    tokens : of each image
    sse, bits : squared error and bits of each image, float32 [N]
    depths : int32 [N], how many levels of each image are worth their bits; all levels until `Encoding.run` ends
    """

    tokens: Tokens
    sse: Tensor
    bits: Tensor
    depths: Tensor

    @classmethod
    def empty(cls, tokens: TokenRows) -> "TokenChoice":
        """Return a choice for all images whose tokens, errors and bits are still to be put."""
        count, levels = len(tokens), len(tokens.positions)
        return cls(tokens, torch.zeros(count), torch.zeros(count), torch.full((count,), levels, dtype=torch.int32))

    def __len__(self) -> int:
        return len(self.sse)

    @property
    def rows(self) -> TokenRows:
        """The tokens, which can be changed."""
        assert isinstance(self.tokens, TokenRows)
        return self.tokens

    def copy(self) -> "TokenChoice":
        """Return an independent copy."""
        return TokenChoice(self.rows.copy(), self.sse.clone(), self.bits.clone(), self.depths.clone())

    def put(self, start: int, state: SearchState) -> None:
        """Store the state of images from `start` on."""
        stop = start + len(state.sse)
        self.rows.put(start, state.tokens)
        self.sse[start:stop], self.bits[start:stop] = state.sse, state.bits

    def blended(self, other: "TokenChoice", first: Tensor) -> "TokenChoice":
        """Return this choice for some images and another one for the rest. first : bool [N], for which this one"""
        return TokenChoice(
            BlendedTokens(self.tokens, other.tokens, first),
            torch.where(first, self.sse, other.sse),
            torch.where(first, self.bits, other.bits),
            torch.where(first, self.depths, other.depths),
        )

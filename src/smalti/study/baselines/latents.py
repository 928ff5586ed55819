"""Continuous latents as real bytes: a uniform scalar quantiser and the archive's own entropy coder.

The bytes hold everything but the decoder network: step, range, frequency tables (one for each dimension where that
pays) and the coded integers.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.grid.prior import TokenPrior
from smalti.errors import DamagedArchiveError, UsageError

__all__ = ["pack_latents", "unpack_latents"]

HEAD = struct.Struct("<IHHhfI")
"""images, dimensions, levels, lowest level, step, bytes of the prior."""


def pack_latents(latents: NDArray[np.float32], step: float) -> bytes:
    """Return latents float [N, D] as bytes, each rounded to the nearest multiple of `step`.

    `unpack_latents` gives back the multiples. UsageError if the step is too fine for 65,536 levels.
    """
    levels = np.rint(latents / np.float32(step)).astype(np.int64)
    lowest, highest = int(levels.min()), int(levels.max())
    if lowest < -(1 << 15) or highest - lowest >= 1 << 16 or lowest >= 1 << 15:
        raise UsageError(f"step {step} makes levels from {lowest} to {highest}: choose a larger one")
    symbols = levels - lowest
    alphabet = highest - lowest + 1
    counts = np.stack([np.bincount(column, minlength=alphabet) for column in symbols.T]).astype(np.int64)
    prior = TokenPrior.fit(counts)
    stored_prior = prior.to_bytes()
    head = HEAD.pack(*latents.shape, alphabet, lowest, step, len(stored_prior))
    return head + stored_prior + prior.encode(symbols)


def unpack_latents(data: bytes) -> NDArray[np.float32]:
    """Return the latents float32 [N, D] in bytes from `pack_latents`; DamagedArchiveError if they are not such."""
    if len(data) < HEAD.size:
        raise DamagedArchiveError(f"latents: {len(data)} bytes are too few")
    images, dimensions, alphabet, lowest, step, prior_bytes = HEAD.unpack_from(data)
    start = HEAD.size + prior_bytes
    prior = TokenPrior.from_bytes(data[HEAD.size : start], alphabet, dimensions)
    levels = prior.decode(data[start:], images).astype(np.int64) + lowest
    latents: NDArray[np.float32] = (levels * np.float32(step)).astype(np.float32)
    return latents

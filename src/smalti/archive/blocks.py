"""Token blocks: some images' tokens, decodable with the model and prior alone."""

import struct

import numpy as np
from numpy.typing import NDArray

from smalti.archive.layout import crc32c
from smalti.entropy import TokenPrior
from smalti.errors import DamagedArchiveError

__all__ = ["pack_block", "unpack_block"]

_HEAD = struct.Struct("<QII")  # first image, images, crc32c of the tokens


def pack_block(first: int, tokens: NDArray[np.uint16], indices: NDArray[np.uint16], prior: TokenPrior) -> bytes:
    """Serialise a block: `tokens` are code ids [n, T] in [0, K), `indices` the same among the codes in use."""
    return _HEAD.pack(first, len(tokens), _tokens_crc(tokens)) + prior.encode(indices)


def unpack_block(data: bytes, images: range, prior: TokenPrior, code_ids: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Read the block that must hold `images`: indices among the codes in use, uint16 [n, T].

    Raises DamagedArchiveError if it holds others, or if its tokens are not those that were written.
    """
    if len(data) < _HEAD.size:
        raise DamagedArchiveError("too short for a token block")
    first, count, checksum = _HEAD.unpack_from(data)
    if (first, count) != (images.start, len(images)):
        raise DamagedArchiveError(f"it says it holds {count} images from {first}, not those of its place")
    indices = prior.decode(data[_HEAD.size :], count)
    if _tokens_crc(code_ids[indices]) != checksum:
        raise DamagedArchiveError("its tokens are not those that were written: wrong checksum after decoding")
    return indices


def _tokens_crc(tokens: NDArray[np.uint16]) -> int:
    return crc32c(np.ascontiguousarray(tokens, "<u2").tobytes())

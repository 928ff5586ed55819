"""Token blocks: some images' tokens and corrections, decodable with the model and the priors alone."""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.archive.imagemodel import Prior
from smalti.archive.layout import crc32c
from smalti.errors import DamagedArchiveError

__all__ = ["Block", "pack_block", "unpack_block"]

_HEAD = struct.Struct("<QIIII")  # first image, images, crc32c of tokens, crc32c of pixels, bytes of the token stream


@dataclass(frozen=True, eq=False)
class Block:
    """A token block that was read.

    indices : uint16 [n, T], each among the codes in use, or absent
    pixels_crc : crc32c of the pixels that its images must come to
    corrections : the corrections stream of its images, still coded
    """

    indices: NDArray[np.uint16]
    pixels_crc: int
    corrections: bytes

    @property
    def kept_bytes(self) -> int:
        """What it takes to keep it in memory."""
        return self.indices.nbytes + len(self.corrections)


def pack_block(first: int, code_ids: NDArray[np.uint16], block: Block, prior: Prior) -> bytes:
    """Serialise a block that begins with image `first`; `code_ids` [U] are the numbers of the indices."""
    tokens = prior.encode(block.indices)
    checksum = _tokens_crc(code_ids[block.indices])
    head = _HEAD.pack(first, len(block.indices), checksum, block.pixels_crc, len(tokens))
    return head + tokens + block.corrections


def unpack_block(data: bytes, images: range, prior: Prior, code_ids: NDArray[np.uint16]) -> Block:
    """Read the block that must hold `images`.

    Raises DamagedArchiveError if it holds others, or if its tokens are not those that were written.
    """
    if len(data) < _HEAD.size:
        raise DamagedArchiveError("too short for a token block")
    first, count, tokens_crc, pixels_crc, tokens_bytes = _HEAD.unpack_from(data)
    if (first, count) != (images.start, len(images)):
        raise DamagedArchiveError(f"it says it holds {count} images from {first}, not those of its place")
    end = _HEAD.size + tokens_bytes
    if end > len(data):
        raise DamagedArchiveError("its tokens end after its data")
    indices = prior.decode(data[_HEAD.size : end], count)
    if _tokens_crc(code_ids[indices]) != tokens_crc:
        raise DamagedArchiveError("its tokens are not those that were written: wrong checksum after decoding")
    return Block(indices, pixels_crc, data[end:])


def _tokens_crc(tokens: NDArray[np.uint16]) -> int:
    return crc32c(np.ascontiguousarray(tokens, "<u2").tobytes())

"""Writing the frames of a file one after the other, and the payload of a token block.

A file is the prelude, frames, the index and the trailer. A token block holds the tokens and residuals of some images;
the model and the priors are enough to decode it.
"""

import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.layout import (
    PRELUDE_BYTES,
    TRAILER_BYTES,
    Entry,
    Section,
    Trailer,
    crc32c,
    pack_index,
    pack_prelude,
)
from smalti.decoders.contract import CellPrior, Prior
from smalti.errors import DamagedArchiveError

__all__ = ["Block", "FrameWriter", "pack_block", "pack_cells", "unpack_block", "unpack_cells"]


class FrameWriter:
    """Writes sections to a file from its beginning, and collects their index entries.

    >>> frames = FrameWriter(file)
    >>> frames.add(Section.HEADER, header.to_bytes())
    >>> frames.finish()
    """

    def __init__(self, file: BinaryIO, required_features: int = 0) -> None:
        self._file = file
        self._offset = PRELUDE_BYTES
        self._ordinals: Counter[int] = Counter()
        self.entries: list[Entry] = []
        file.write(pack_prelude(required_features))

    def add(self, section: int, payload: bytes) -> Entry:
        """Write a section after the last one. It gets the next ordinal of its type."""
        return self.add_chunks(section, [payload], len(payload), crc32c(payload))

    def add_chunks(self, section: int, chunks: Iterable[bytes], payload_bytes: int, payload_crc: int) -> Entry:
        """Write a section whose payload comes in chunks. Its length and crc32c must be known before."""
        entry = Entry(int(section), self._ordinals[section], self._offset, payload_bytes, payload_crc)
        self._ordinals[section] += 1
        self._file.write(entry.pack_frame_head())
        self._file.writelines(chunks)
        self.entries.append(entry)
        self._offset = entry.end
        return entry

    def finish(self) -> None:
        """Write the index and the trailer."""
        index = self.add(Section.INDEX, pack_index(self.entries))
        self._file.write(Trailer(index.offset, index.end + TRAILER_BYTES).pack())


_HEAD = struct.Struct(
    "<QIIII"
)  # first image or unit, their number, crc32c of tokens, crc32c of pixels, bytes of the token stream


@dataclass(frozen=True, eq=False)
class Block:
    """A token block.

    indices : uint16 [n, T], positions among the codes in use, or absent; for images of any sizes the tokens of all
        cells, uint16 [cells, M]
    pixels_crc : crc32c of the decoded pixels of its images
    residuals : the coded residuals of its images (the format's "corrections stream")
    """

    indices: NDArray[np.uint16]
    pixels_crc: int
    residuals: bytes

    @property
    def cache_bytes(self) -> int:
        """Bytes of memory that it takes."""
        return self.indices.nbytes + len(self.residuals)


def pack_block(first: int, code_ids: NDArray[np.uint16], block: Block, prior: Prior) -> bytes:
    """Serialise a block that begins with image `first`. code_ids : uint16 [U], the code of each index"""
    tokens = prior.encode(block.indices)
    checksum = _tokens_crc(code_ids[block.indices])
    head = _HEAD.pack(first, len(block.indices), checksum, block.pixels_crc, len(tokens))
    return head + tokens + block.residuals


def pack_cells(first: int, grids: NDArray[np.int64], block: Block, prior: CellPrior) -> bytes:
    """Serialise a block of units, `first` being the number of the first one. grids : int64 [units, 2], of cells"""
    tokens = prior.encode(block.indices, grids)
    head = _HEAD.pack(first, len(grids), _tokens_crc(block.indices), block.pixels_crc, len(tokens))
    return head + tokens


def unpack_block(data: bytes, images: range, prior: Prior, code_ids: NDArray[np.uint16]) -> Block:
    """Read a block that must hold `images`. `pack_block` is the inverse.

    Raises DamagedArchiveError if it holds other images, or if its tokens are not those that were written.
    """
    tokens_crc, pixels_crc, end = _unpack_head(data, images, "images")
    indices = prior.decode(data[_HEAD.size : end], len(images))
    _check_tokens(code_ids[indices], tokens_crc)
    return Block(indices, pixels_crc, data[end:])


def unpack_cells(data: bytes, units: range, grids: NDArray[np.int64], prior: CellPrior) -> Block:
    """Read a block that must hold `units`. `pack_cells` is the inverse, the errors are those of `unpack_block`."""
    tokens_crc, pixels_crc, end = _unpack_head(data, units, "units")
    if end != len(data):
        raise DamagedArchiveError("bytes follow its tokens")
    tokens = prior.decode(data[_HEAD.size : end], grids)
    _check_tokens(tokens, tokens_crc)
    return Block(tokens, pixels_crc, b"")


def _unpack_head(data: bytes, held: range, what: str) -> tuple[int, int, int]:
    """The checksums of tokens and pixels, and the end of the tokens' bytes."""
    if len(data) < _HEAD.size:
        raise DamagedArchiveError("too short for a token block")
    first, count, tokens_crc, pixels_crc, tokens_bytes = _HEAD.unpack_from(data)
    if (first, count) != (held.start, len(held)):
        raise DamagedArchiveError(f"it states {count} {what} from {first}, not those of this block")
    end = _HEAD.size + tokens_bytes
    if end > len(data):
        raise DamagedArchiveError("its tokens end after its data")
    return tokens_crc, pixels_crc, end


def _check_tokens(tokens: NDArray[np.uint16], stated: int) -> None:
    if _tokens_crc(tokens) != stated:
        raise DamagedArchiveError("its tokens are not those that were written: wrong checksum after decoding")


def _tokens_crc(tokens: NDArray[np.uint16]) -> int:
    return crc32c(np.ascontiguousarray(tokens, "<u2").tobytes())

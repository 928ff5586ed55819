"""Writing sections one after the other: the prelude, their frames, and at the end the index and the trailer.

Token blocks: some images' tokens and corrections, decodable with the model and the priors alone.
"""

import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.layout import PRELUDE_BYTES, TRAILER_BYTES, Entry, Section, Trailer, crc32c, pack_prelude
from smalti.decoders.contract import Prior
from smalti.errors import DamagedArchiveError

__all__ = ["Block", "FrameWriter", "pack_block", "unpack_block"]


class FrameWriter:
    """Puts sections into a file from its beginning, and remembers them for the index.

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
        """Write a section after the last one, with the next ordinal of its type."""
        return self.add_pieces(section, [payload], len(payload), crc32c(payload))

    def add_pieces(self, section: int, pieces: Iterable[bytes], payload_bytes: int, payload_crc: int) -> Entry:
        """The same for a payload that comes in pieces, of a length and crc32c known before."""
        entry = Entry(int(section), self._ordinals[section], self._offset, payload_bytes, payload_crc)
        self._ordinals[section] += 1
        self._file.write(entry.pack_frame_head())
        self._file.writelines(pieces)
        self.entries.append(entry)
        self._offset = entry.end
        return entry

    def finish(self) -> None:
        """Write the index and the trailer."""
        count = len(self.entries).to_bytes(4, "little")
        index = self.add(Section.INDEX, count + b"".join(entry.pack() for entry in self.entries))
        self._file.write(Trailer(index.offset, index.end + TRAILER_BYTES).pack())


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

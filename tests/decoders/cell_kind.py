"""A kind of decoder whose images have any size: tokens are the pixels of cells, blurred with those of cells around."""

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from smalti.errors import DamagedArchiveError

_MODEL = struct.Struct("<4sBBBB")
PRIOR = b"zlib"


@dataclass(frozen=True)
class CellsModel:
    """The mean of each pixel and of the pixels one cell away from it, to the left, right, above and below.

    reach : 1, or 0 for the pixels alone
    """

    channels: int = 1
    cell: int = 8
    bits: int = 8
    reach: int = 1
    kind = "cells"

    @property
    def tokens_per_cell(self):
        return self.cell**2 * self.channels

    @property
    def dtype(self):
        return np.dtype(np.uint8) if self.bits == 8 else np.dtype(np.uint16)

    def decode(self, tokens, grids, threads):
        found, start = [], 0
        for rows, columns in grids.tolist():
            part = tokens[start : start + rows * columns]
            start += rows * columns
            cells = part.reshape(rows, columns, self.cell, self.cell, self.channels).astype(np.int64)
            total, count = cells.copy(), np.ones((rows, columns, 1, 1, 1), np.int64)
            if self.reach:
                for into, away in ((np.s_[1:], np.s_[:-1]), (np.s_[:-1], np.s_[1:])):
                    total[into] += cells[away]
                    count[into] += 1
                    total[:, into] += cells[:, away]
                    count[:, into] += 1
            pixels = (total // count).swapaxes(1, 2).reshape(rows * self.cell, columns * self.cell, self.channels)
            found.append(pixels.astype(self.dtype))
        assert start == len(tokens)
        return found

    def read_prior(self, data):
        if data != PRIOR:
            raise DamagedArchiveError("it is no prior of cells")
        return CellsPrior(self.tokens_per_cell)

    def to_bytes(self):
        return _MODEL.pack(b"cell", self.channels, self.cell, self.bits, self.reach)

    def tokens(self, images):
        """The tokens uint16 [cells, M] and sizes int64 [n, 2] of images [H, W, C]; edges are repeated."""
        parts, sizes = [], []
        for image in images:
            height, width, _ = image.shape
            sizes.append((height, width))
            padded = np.pad(image, ((0, -height % self.cell), (0, -width % self.cell), (0, 0)), "edge")
            rows, columns = padded.shape[0] // self.cell, padded.shape[1] // self.cell
            cells = padded.reshape(rows, self.cell, columns, self.cell, self.channels).swapaxes(1, 2)
            parts.append(cells.reshape(rows * columns, self.tokens_per_cell).astype(np.uint16))
        return np.concatenate(parts), np.array(sizes, np.int64)

    def decoded(self, images):
        """What an archive gives for images: [H, W, C] each."""
        found = []
        for image in images:
            tokens, _ = self.tokens([image])
            height, width, _ = image.shape
            grid = np.array([[-(-height // self.cell), -(-width // self.cell)]])
            found.append(self.decode(tokens, grid, 1)[0][:height, :width])
        return found


@dataclass(frozen=True)
class CellsPrior:
    operations: int
    cell_bytes: int = 0

    def encode(self, tokens, grids):
        assert len(tokens) == np.prod(grids, axis=1).sum()
        return zlib.compress(tokens.astype("<u2").tobytes(), 1)

    def decode(self, data, grids):
        cells = int(np.prod(grids, axis=1).sum())
        try:
            plain = zlib.decompressobj().decompress(data, 2 * cells * self.operations + 1)
        except zlib.error as error:
            raise DamagedArchiveError(f"no zlib stream: {error}") from error
        if len(plain) != 2 * cells * self.operations:
            raise DamagedArchiveError(f"{len(plain)} bytes of tokens")
        return np.frombuffer(plain, "<u2").astype(np.uint16).reshape(cells, self.operations)

    def to_bytes(self):
        return PRIOR


class CellsKind:
    name = "cells"
    prior_copies = 2

    def unpack_cells(self, data, facts, limits):
        if len(data) != _MODEL.size or data[:4] != b"cell":
            raise DamagedArchiveError("it is no model of cells")
        model = CellsModel(*data[4:])
        if model.bits not in (8, 16) or model.reach not in (0, 1) or model.cell != facts.cell:
            raise DamagedArchiveError("it is no model of cells")
        limits.check("network_operations", facts.tokens_per_cell * facts.block_cells, "a token block")
        return model


CELLS = CellsKind()

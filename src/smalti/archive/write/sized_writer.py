"""Writing an archive of images of any sizes: tokens are appended in batches, the file appears whole on commit."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.block_layout import SizedLayout
from smalti.archive.format.frames import Block, pack_cells
from smalti.archive.format.header import DTYPES, MAX_CODES, MAX_GRID, Header
from smalti.archive.format.layout import COPIES, SIZED, Section
from smalti.archive.format.limits import Limits
from smalti.archive.format.sizes import MAX_BLOCK_CELLS, MAX_CELL, MAX_SIDE, Sizes
from smalti.archive.read.cell_pixels import UnitChecksums
from smalti.archive.recovery.parity import RecoverySpec
from smalti.archive.report import perplexity
from smalti.archive.write.cell_spool import CellSpool
from smalti.archive.write.copy_finder import CopyFinder
from smalti.archive.write.image_rows import ImageRows
from smalti.archive.write.protected_frames import protected_frames
from smalti.decoders.contract import CellModel, CellPrior
from smalti.errors import UsageError
from smalti.images.batch import Fields
from smalti.storage.atomic import atomic_file, check_output, writing
from smalti.threads import for_each
from smalti.version import __version__

__all__ = ["SizedArchiveWriter", "SizedSpec"]

_NO_LIMITS = Limits(index_bytes=1 << 62, column_bytes=1 << 62)  # what is written is trusted


@dataclass(frozen=True)
class SizedSpec:
    """What is known of an archive of images of any sizes before its first image. The model tells the rest.

    profile : the name of the settings it is made with, for people
    block_cells : the most cells of a token block, the unit of damage and of random access; 16,384 cells of 8 x 8 pixels
        are a megapixel. An image of more cells is cut into regions
    region : rows and columns of cells of a region
    class_names : the name of each label 0, 1, ..., or None
    provenance : pairs of strings for people, such as ("training", "3 epochs"); no times, no names of machines
    recovery : how many lost sections are recoverable, None for none
    signed : whether pixels are int16: those of the model, which are uint16, less 32,768

    Raises UsageError if a number is out of range.
    """

    profile: str
    block_cells: int = 1 << 14
    region: int = 64
    class_names: tuple[str, ...] | None = None
    provenance: tuple[tuple[str, str], ...] = ()
    recovery: RecoverySpec | None = None
    signed: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.block_cells <= MAX_BLOCK_CELLS:
            raise UsageError(f"blocks of {self.block_cells} cells are outside 1..{MAX_BLOCK_CELLS}")
        if not 1 <= self.region <= 0xFFFF or self.region**2 > self.block_cells:
            raise UsageError(f"regions of {self.region} x {self.region} cells do not fit blocks of {self.block_cells}")


class SizedArchiveWriter:
    """Collects tokens, sizes, labels and names, and writes the archive on `commit`. Without it nothing is written.

    An image with the size and tokens of an earlier one is a copy of it: its tokens are stored once.

    >>> with SizedArchiveWriter("photos.smalti", SizedSpec("transform"), model, prior) as writer:
    ...     writer.append(tokens, sizes)
    ...     writer.commit()

    model : the decoder    prior : made for it
    threads : the number of threads that code tokens and decode pixels on commit; the bytes do not depend on it

    Raises OutputExistsError at once if the file exists and `overwrite` is not given, OutputError if it cannot be
    written, UsageError for a model that the format cannot hold.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        spec: SizedSpec,
        model: CellModel,
        prior: CellPrior,
        overwrite: bool = False,
        threads: int = 1,
    ) -> None:
        self._path, self._overwrite, self._threads = Path(path), overwrite, threads
        self._spec, self._model, self._prior = spec, model, prior
        _check_model(model, spec)
        check_output(self._path, overwrite)
        self._rows = ImageRows()
        with writing(self._path):
            self._spool = CellSpool(self._path, model.cell, model.tokens_per_cell)
        self._finder = CopyFinder(self._spool, model.cell)
        self._open = True

    def __enter__(self) -> "SizedArchiveWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Discard what was collected. Does nothing after `commit`."""
        self._open = False
        self._spool.close()

    def append(
        self,
        tokens: NDArray[np.uint16],
        sizes: NDArray[np.int64],
        labels: NDArray[np.integer] | None = None,
        names: Sequence[str] | None = None,
        fields: Fields | None = None,
    ) -> None:
        """Add n images.

        tokens : uint16 [cells, M], image after image, each row by row
        sizes : int64 [n, 2], H and W; an image has ceil(H / cell) x ceil(W / cell) cells
        labels : integers [n]; for all images of the archive or for none
        names : n strings; for all images or for none
        fields : further columns, by name, n values each; the same names each time

        Raises UsageError if shapes, ranges, or the presence of labels and names do not fit earlier batches. The writer
        is closed then, since half of a batch may not stay.
        """
        self._require_open()
        try:
            self._check(tokens, sizes)
            if len(sizes):
                self._rows.add(len(sizes), labels, names)
                with writing(self._path):
                    self._finder.append(tokens, sizes)
                self._rows.add_fields(len(sizes), fields)
        except BaseException:
            self.close()
            raise

    def commit(self) -> None:
        """Write the archive. Until this returns, a file that was at the path before is still there."""
        self._require_open()
        if not len(self._spool):
            raise UsageError(f"{self._path}: there are no images to write")
        with atomic_file(self._path, overwrite=self._overwrite) as file, writing(self._path):
            self._write(file)
        self.close()

    def _require_open(self) -> None:
        if not self._open:
            raise UsageError(f"{self._path}: this writer was closed already")

    def _check(self, tokens: NDArray[np.uint16], sizes: NDArray[np.int64]) -> None:
        cell, per_cell = self._model.cell, self._model.tokens_per_cell
        if sizes.ndim != 2 or sizes.shape[1] != 2 or sizes.dtype.kind not in "iu":
            raise UsageError(f"sizes are {sizes.dtype} {list(sizes.shape)}, not integers [n, 2]")
        if sizes.size and not 1 <= int(sizes.min()) <= int(sizes.max()) <= MAX_SIDE:
            raise UsageError(f"a side of {int(sizes.min())} to {int(sizes.max())} pixels is outside 1..{MAX_SIDE}")
        if tokens.ndim != 2 or tokens.shape[1] != per_cell or tokens.dtype != np.uint16:
            raise UsageError(f"tokens are {tokens.dtype} {list(tokens.shape)}, not uint16 [cells, {per_cell}]")
        cells = int(np.prod(-(-sizes.astype(np.int64) // cell), axis=1).sum())
        if len(tokens) != cells:
            raise UsageError(f"tokens of {len(tokens)} cells for images of {cells}")

    def _write(self, file: BinaryIO) -> None:
        spec, spool = self._spec, self._spool
        sizes = Sizes(spool.heights, spool.widths, self._model.cell, spec.region, spec.block_cells)
        layout, columns = SizedLayout(sizes, _NO_LIMITS), dict(self._rows.columns(spec.class_names))
        copies, prior = self._finder.copies(), self._prior.to_bytes()
        sizes_bytes = sizes.to_bytes() if copies is None else copies.to_bytes() + sizes.to_bytes()
        header = self._header(sizes, tuple(columns), SIZED if copies is None else SIZED | COPIES)
        checksums = UnitChecksums(self._model, layout, spool, self._spec.signed)
        with protected_frames(file, self._path, spec.recovery, header.required_features) as frames:
            frames.begin(header, sizes_bytes, self._model.to_bytes(), prior)
            for start in range(0, layout.blocks, self._threads):
                numbers = range(start, min(start + self._threads, layout.blocks))
                blocks = [
                    Block(self._tokens(layout, number), checksums.checksum(number, self._threads), b"")
                    for number in numbers
                ]
                for payload in self._packed(layout, start, blocks):
                    frames.add(Section.TOKENS, payload)
            frames.end(header, sizes_bytes, prior, columns.values(), checksums.digest.digest())

    def _tokens(self, layout: SizedLayout, number: int) -> NDArray[np.uint16]:
        """The tokens of a block: uint16 [cells, M]."""
        images, per_cell = layout.image_range(number), self._model.tokens_per_cell
        numbers = np.arange(images.start, images.stop, dtype=np.int64)
        if not layout.cut(numbers).any():
            return self._spool.whole(numbers)
        units = layout.rectangles(layout.block_units(number))
        return np.concatenate([self._spool.window(unit).reshape(unit.cells, per_cell) for unit in units])

    def _packed(self, layout: SizedLayout, first: int, blocks: Sequence[Block]) -> list[bytes]:
        """The payloads of blocks in a row, each packed in a thread of its own."""
        payloads = [b""] * len(blocks)

        def pack(position: int) -> None:
            units, grids = layout.block_units(first + position), layout.grids(first + position)
            payloads[position] = pack_cells(units.start, grids, blocks[position], self._prior)

        for_each(pack, range(len(blocks)), self._threads)
        return payloads

    def _header(self, sizes: Sizes, columns: tuple[str, ...], features: int) -> Header:
        model, counts = self._model, self._spool.counts
        return Header(
            images=self._finder.images,
            image_shape=(*sizes.largest, model.channels),
            padded_shape=sizes.largest,
            token_grid=(1, model.tokens_per_cell),
            codebook_size=MAX_CODES,
            codes_used=int(np.count_nonzero(counts)),
            perplexity=perplexity(counts),
            block_images=1,
            columns=columns,
            promise=None,
            profile=self._spec.profile,
            dtype="int16" if self._spec.signed else model.dtype.name,
            decoder=model.kind,
            provenance=tuple(sorted({"smalti": __version__, **dict(self._spec.provenance)}.items())),
            required_features=features,
        )


def _check_model(model: CellModel, spec: SizedSpec) -> None:
    if not 1 <= model.cell <= MAX_CELL or not 1 <= model.tokens_per_cell <= MAX_GRID:
        raise UsageError(f"cells of {model.cell} pixels and {model.tokens_per_cell} tokens cannot be stored")
    if not 1 <= model.channels <= 4 or model.dtype.name not in DTYPES:
        raise UsageError(f"pixels of {model.dtype} in {model.channels} channels cannot be stored")
    if spec.signed and model.dtype != np.uint16:
        raise UsageError(f"a model of {model.dtype} makes no signed pixels, which have 16 bits")

"""An open archive: images by number, tokens, columns, and facts about the file.

`sections` reads and checks sections, `store` parses and caches them, `pixels` decodes the images of a request.
"""

from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.archive.format.block_layout import spanned
from smalti.archive.format.column import ColumnValues
from smalti.archive.format.limits import Limits
from smalti.archive.read.copied_images import CopiedImages
from smalti.archive.read.damage import missing_blocks
from smalti.archive.read.image_columns import ImageColumns
from smalti.archive.read.image_reader import FixedImages, ImageReader, SignedImages, Span, span_of
from smalti.archive.read.sections import SectionFile, SharedPayloads
from smalti.archive.read.selection import ArchiveBatch, Selection, batch_images, resolve
from smalti.archive.read.sized_images import SizedImages
from smalti.archive.read.store import CellStore, ImageStore, open_store
from smalti.archive.read.verify import Verifier
from smalti.archive.report import (
    ArchiveInfo,
    DamagedBlock,
    Level,
    LevelInfo,
    VerifyReport,
    break_even_images,
    known_provenance,
    recovery_bytes,
    section_bytes,
)
from smalti.decoders.contract import ImageModel, Prior
from smalti.errors import DamagedArchiveError, LimitExceededError, UnsupportedArchiveError, UsageError
from smalti.images.batch import PixelDtype, Pixels, shape_words
from smalti.residual.residuals import Residuals
from smalti.storage.positioned import Positioned, file_at

__all__ = ["Archive", "open_archive", "open_positioned"]


def open_archive(
    path: str | PathLike[str],
    limits: Limits | None = None,
    threads: int = 1,
    storage_options: Mapping[str, Any] | None = None,
) -> "Archive":
    """Open a file of one archive. Parameters and errors are those of `open_images`, which also opens collections."""
    if threads < 1:
        raise UsageError(f"threads is {threads}; it must be at least 1")
    return open_positioned(file_at(path, storage_options), limits, threads)


def open_positioned(
    file: Positioned, limits: Limits | None = None, threads: int = 1, shared: SharedPayloads | None = None
) -> "Archive":
    """Open an archive in a file that is open already, such as a window of a file. Closing the archive closes it.

    shared : for a member of a collection, the payloads that members share
    """
    return Archive(SectionFile(file, limits or Limits(), shared=shared), threads)


class Archive:
    """Images read by number. A context manager, and safe to use from several threads.

    >>> with open_archive("digits.smalti") as archive:
    ...     archive[3], archive[10:20], archive[[5, 900, 7]], archive[mask]

    Its images have one shape, unless its decoder is of a kind whose images have any size: then brackets give images of
    one shape, `images` gives a list of any shapes, and `region` a part of a large one.

    Made by `smalti.open`. Reading a damaged part raises DamagedArchiveError, which names it.
    """

    def __init__(self, file: SectionFile, threads: int) -> None:
        self._file = file
        self._header = file.header
        self._store = open_store(file)
        self._images = _image_reader(file, self._store, threads)
        self._columns = ImageColumns(file.header, self._store, str(file.path))
        self._threads = threads

    def __enter__(self) -> "Archive":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Reading afterwards raises SmaltiError."""
        self._file.close()

    def __len__(self) -> int:
        return self._header.images

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as a call that opens the same file, for worker processes. Storage options are part of it."""
        return open_positioned, (self._file.source, self._file.limits, self._threads, self._file.shared)

    def __repr__(self) -> str:
        shapes = self.image_shapes
        words = f"{list(shapes[0])}" if len(shapes) == 1 else f"of {len(shapes)} shapes"
        return f"<smalti archive {self.path}: {len(self)} images {words}>"

    @property
    def path(self) -> Path | str:
        """The path or URL of the archive; a URL without user, password and query."""
        return self._file.path

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W) for one channel, (N, H, W, C) for more: the shape of `archive[:]`.

        UsageError if the images have several shapes.
        """
        height, width, channels = self.image_shape
        return (len(self), height, width) if channels == 1 else (len(self), height, width, channels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image. UsageError if there are several shapes."""
        if len(self.image_shapes) > 1:
            first = ", ".join(map(shape_words, self.image_shapes[:3]))
            raise UsageError(f"{self.path}: its images have several shapes ({first} ...): ask image_shapes")
        return self.image_shapes[0]

    @property
    def image_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """The distinct (H, W, C) of the images, in order of appearance."""
        return self._images.image_shapes

    def shape_of(self, number: int) -> tuple[int, int, int]:
        """(H, W, C) of an image. Nothing is decoded. ImageIndexError."""
        return self._images.shape_of(int(resolve(number, len(self))[0][0]))

    @property
    def dtypes(self) -> tuple[PixelDtype, ...]:
        """The distinct dtypes of pixels, in the order uint8, uint16, int16; an archive has one."""
        return (self.dtype,)

    @property
    def dtype(self) -> PixelDtype:
        """The dtype of pixels: uint8, uint16 or int16."""
        return self._header.shown_type

    @property
    def block_bounds(self) -> NDArray[np.int64]:
        """int64 [blocks + 1]: the number of the first image of each token block, ascending, and N.

        An image of several blocks is between two of them: `archive` reads images between two bounds together. Copies
        of images are wherever they are, and need the block of the image that is stored.
        """
        return self._file.layout.block_bounds

    @property
    def model(self) -> ImageModel:
        """The decoder network and the codes of its tokens, for code that decodes tokens by other means.

        Raises DamagedArchiveError if it cannot be read, UsageError if the images have any sizes.
        """
        return self._fixed.model

    @property
    def prior(self) -> Prior:
        """The prior that the tokens are coded with, for code that merges archives. Errors are those of `model`."""
        return self._fixed.prior

    @property
    def cells(self) -> CellStore:
        """Model, prior and tokens of an archive whose images have any sizes, for code that copies or changes archives.

        UsageError if its images have one shape by the kind of its decoder.
        """
        if isinstance(self._store, ImageStore):
            raise UsageError(f"{self.path}: its decoder makes images of one shape, not of cells")
        return self._store

    @property
    def any_size(self) -> bool:
        """Whether its decoder is of a kind whose images have any size."""
        return self._header.any_size

    @property
    def sections(self) -> SectionFile:
        """The checked sections of the file, for code that copies or changes archives."""
        return self._file

    @property
    def columns(self) -> ImageColumns:
        """Its columns, for code that copies or changes archives. All other code uses `labels`, `names` and `fields`."""
        return self._columns

    def block_residuals(self, number: int, threads: int = 1) -> Residuals | None:
        """The residuals of the images of a token block; None if the archive has no residuals.

        Raises DamagedArchiveError.
        """
        store = self._fixed
        prior = store.residuals
        if prior is None:
            return None
        block = store.block(number)

        def base_of(rows: NDArray[np.intp]) -> Pixels:
            return store.decoder.base(block.indices[rows], threads)

        with store.naming_block(number):
            return prior.read(block.residuals, len(block.indices), base_of)

    def __getitem__(self, selection: Selection) -> Pixels:
        """Pixels as `dtype`: [H, W] or [H, W, C] for an integer, else [n, ...]. Other token blocks are not read.

        Raises ImageIndexError (also an IndexError) for a number out of range, UsageError for anything that is no index,
        and for images of several shapes.
        """
        return self._pixels(selection, None)

    def images(self, selection: Selection) -> list[Pixels]:
        """A list of the images of a selection, each as `self[number]`, of any shapes."""
        numbers, _ = resolve(selection, len(self), self._check_request)
        return [_plain(image) for image in self._images.read_each(numbers)]

    def region(self, number: int, rows: Span, columns: Span) -> Pixels:
        """A part of an image: [h, w] or [h, w, C], as `self[number][rows, columns]`.

        rows, columns : a slice without a step, or start and stop

        If images have any sizes, only the token blocks that the part needs are read, and memory does not grow with the
        image. Raises ImageIndexError, UsageError for rows or columns outside the image, DamagedArchiveError.
        """
        image = int(resolve(number, len(self))[0][0])
        height, width, _ = self._images.shape_of(image)
        return _plain(self._images.region(image, span_of(rows, height, "rows"), span_of(columns, width, "columns")))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[np.generic]:
        """All images, for `np.asarray(archive)`. They must fit in memory.

        Raises ValueError for copy=False, since decoded images are always new.
        """
        if copy is False:
            raise ValueError(f"{self.path}: images are decoded, so an array of them is always a new one")
        return np.asarray(self[:], dtype)

    @property
    def levels(self) -> int:
        """Levels of the tokens: 1, unless the decoder is a pyramid."""
        return self._images.levels

    def preview(self, selection: Selection, levels: int) -> Pixels:
        """Decode the first levels of the tokens alone, without residuals. Shapes are those of `self[selection]`.

        levels : 1 to `self.levels`; UsageError for any other number
        """
        if not 1 <= levels <= self.levels:
            raise UsageError(f"{levels} levels, the archive has 1 to {self.levels}")
        return self._pixels(selection, levels)

    def __iter__(self) -> Iterator[Pixels]:
        """Iterate over all images in order, each as `archive[i]`."""
        for batch in self.batches(min(256, batch_images(self._header.image_shape, self.dtype))):
            yield from map(_plain, batch.pixels)

    def tokens(self, start: int = 0, stop: int | None = None) -> NDArray[np.uint16]:
        """Tokens of images start to stop - 1: uint16 [n, h, w], codes in [0, codebook_size).

        A pyramid has [n, 1, T], level by level; 65,535 where a level is absent. Images of any sizes: [n, rows, columns,
        M], M for each cell; UsageError if they have several grids of cells.
        """
        return self._images.tokens(range(*slice(start, stop).indices(len(self))))

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """int64 [N], read-only; None if the archive has no labels. No image is decoded."""
        return self._columns.labels

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The name of each label 0, 1, ...; None if the labels have no names."""
        return self._columns.texts("class_names", None)

    @property
    def names(self) -> tuple[str, ...] | None:
        """The N names of the images, relative POSIX paths; None if they have no names."""
        return self._columns.texts("names", len(self))

    @property
    def fields(self) -> Mapping[str, ColumnValues]:
        """Further columns, by name.

        Values are int64, float64 or bool [N], read-only, or a tuple of N strings. A field that some images lack is a
        tuple with None for these. Fields of kinds that this release does not know are omitted. Each field is read when
        it is first asked for.
        """
        return self._columns

    def batches(
        self, batch_images: int, on_error: Literal["raise", "skip"] = "raise", start: int = 0, stop: int | None = None
    ) -> Iterator[ArchiveBatch]:
        """Yield images in order with their numbers, labels, names and fields, in batches of `batch_images`.

        The images of a batch have one shape: where the shape changes, a batch ends early.

        start, stop : the range of images, 0 to N; all images by default
        on_error : "skip" omits the images of token blocks that cannot be read (`missing` names them), so that some
            batches are shorter or absent; it also omits columns that are lost. "raise" raises DamagedArchiveError at
            the first damaged part. Damage to the model or to all priors raises either way
        """
        if batch_images < 1 or on_error not in ("raise", "skip"):
            raise UsageError(f"batches of {batch_images} with on_error={on_error!r} cannot be")
        start, stop, _ = slice(start, stop).indices(len(self))
        lost = self.lost_columns if on_error == "skip" else ()
        for first in range(start, stop, batch_images):
            numbers = np.arange(first, min(first + batch_images, stop), dtype=np.int64)
            if on_error == "skip":
                numbers = numbers[self._readable(numbers)]
            if len(numbers):
                for pixels, run in self._images.stacks(numbers):
                    yield self._columns.batch(pixels, numbers[run], lost)

    def missing(self) -> tuple[DamagedBlock, ...]:
        """The token blocks that cannot be read, each with the numbers and names of its images.

        The tokens of every block are decoded for this. If the model is lost, or the prior and its copy, every block is
        missing.
        """
        return tuple(missing_blocks(self._file, self._store))

    @property
    def damage(self) -> tuple[str, ...]:
        """Damage found when the file was opened, in words. Reading goes on in spite of it; `verify` finds the rest."""
        return self._file.damage

    @property
    def lost_columns(self) -> tuple[str, ...]:
        """Names of the columns that the archive was written with and that cannot be read."""
        return self._columns.lost()

    def info(self) -> ArchiveInfo:
        """Facts about the file, and the bytes of each part. No token and no pixel is decoded."""
        header, size = self._header, self._file.archive_bytes
        parts = section_bytes(self._file)
        layout, sized = self._file.layout, header.any_size
        raw_bytes = header.raw_bytes(layout.pixels)
        return ArchiveInfo(
            images=header.images,
            copies=self._copies,
            shape=self.shape if len(self.image_shapes) == 1 else None,
            shapes=len(self.image_shapes),
            dtype=header.dtype,
            archive_bytes=size,
            raw_bytes=raw_bytes,
            pixels=layout.pixels,
            ratio=raw_bytes / size,
            ratio_without_model=raw_bytes / (size - parts.model),
            bytes=parts,
            bits_per_pixel=8 * size / layout.pixels,
            bytes_per_image=size / header.images,
            tokens_bits_per_image=8 * parts.tokens / header.images,
            token_grid=header.token_grid,
            codebook_size=header.codebook_size,
            codes_used=header.codes_used,
            perplexity=header.perplexity,
            levels=self._level_infos(),
            break_even_images=break_even_images(parts, header.images, raw_bytes),
            blocks=layout.blocks,
            block_images=None if sized else header.block_images,
            columns=header.columns,
            promise=header.promise,
            recovery_bytes=recovery_bytes(self._file),
            damage=self.damage,
            format_version=header.format_version,
            decoder=header.decoder,
            profile=header.profile,
            provenance=known_provenance(header.provenance),
        )

    def verify(
        self, level: Level = "tokens", progress: Callable[[int, int], None] = lambda done, total: None
    ) -> VerifyReport:
        """Check the file. Damage is reported, not raised.

        level : "quick" for the index and the heads of all sections, "tokens" for every checksum and every token,
            "pixels" also for the pixels, against the checksums stored with them
        progress : called with the number of images done, and of all images
        """
        if level not in ("quick", "tokens", "pixels"):
            raise UsageError(f"level {level!r} is none of quick, tokens, pixels")
        return Verifier(self._file, level, self._threads, progress).run()

    def _pixels(self, selection: Selection, levels: int | None) -> Pixels:
        numbers, single = resolve(selection, len(self), self._check_request)
        pixels = self._images.read(numbers, levels)
        pixels = pixels.reshape(pixels.shape[: 3 + (pixels.shape[3] > 1)])
        return pixels[0] if single else pixels

    def _check_request(self, images: int) -> None:
        """Raise LimitExceededError if one request may not have so many images."""
        self._file.limits.check("request_bytes", images * self._images.smallest_bytes, "this request")

    @property
    def _fixed(self) -> ImageStore:
        """The store of images of one shape."""
        if not isinstance(self._store, ImageStore):
            raise UsageError(f"{self.path}: its images have any sizes: use `cells`")
        return self._store

    @property
    def _copies(self) -> int:
        """The number of images that are copies of others."""
        copies = self._store.copies if isinstance(self._store, CellStore) else None
        return 0 if copies is None else len(copies)

    def _level_infos(self) -> tuple[LevelInfo, ...] | None:
        """The levels, which the model states; None if there are none, or if the model cannot be read."""
        if not self._header.has_levels:
            return None
        try:
            return self._fixed.model.levels
        except (DamagedArchiveError, LimitExceededError, UnsupportedArchiveError):
            return None

    def _readable(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool [n]: whether each image's token block can be decoded. A damaged model or prior raises."""
        readable = self._store.keeps(numbers)
        asked = np.flatnonzero(~readable)
        if not len(asked):
            return readable
        first, last = self._file.layout.blocks_of(numbers[asked])
        blocks = spanned(first, last)
        lost_before = np.zeros(len(blocks) + 1, np.int64)  # lost blocks before each block
        for run in self._store.fetch_blocks(blocks.tolist()):
            self._store.load()
            for position in range(run.start, run.stop):
                try:
                    self._store.block(int(blocks[position]))
                except DamagedArchiveError:
                    lost_before[position + 1] = 1
        lost_before = np.cumsum(lost_before)
        readable[asked] = lost_before[np.searchsorted(blocks, last) + 1] == lost_before[np.searchsorted(blocks, first)]
        return readable


def _image_reader(file: SectionFile, store: ImageStore | CellStore, threads: int) -> ImageReader:
    images: ImageReader
    if isinstance(store, ImageStore):
        images = FixedImages(file, store, threads)
    else:
        stored = SizedImages(file, store, threads)
        images = stored if store.copies is None else CopiedImages(stored, store)
    return SignedImages(images) if file.header.is_signed else images


def _plain(image: Pixels) -> Pixels:
    """An image without its last axis if it has one channel. image : [h, w, C]"""
    return image[:, :, 0] if image.shape[2] == 1 else image

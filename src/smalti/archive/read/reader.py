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

from smalti.archive.format.column import ColumnValues
from smalti.archive.format.limits import Limits
from smalti.archive.read.damage import missing_blocks
from smalti.archive.read.image_columns import ImageColumns
from smalti.archive.read.pixels import read_pixels
from smalti.archive.read.sections import SectionFile, SharedPayloads
from smalti.archive.read.selection import ArchiveBatch, Selection, resolve
from smalti.archive.read.store import SectionStore
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
from smalti.decoders.layers.integer_network import PixelType
from smalti.errors import DamagedArchiveError, LimitExceededError, UnsupportedArchiveError, UsageError
from smalti.images.batch import Pixels
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
    """Images of one shape, read by number. A context manager, and safe to use from several threads.

    >>> with open_archive("digits.smalti") as archive:
    ...     archive[3], archive[10:20], archive[[5, 900, 7]], archive[mask]

    Made by `smalti.open`. Reading a damaged part raises DamagedArchiveError, which names it.
    """

    def __init__(self, file: SectionFile, threads: int) -> None:
        self._file = file
        self._header = file.header
        self._store = SectionStore(file)
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
        return f"<smalti archive {self.path}: {len(self)} images {list(self.image_shape)}>"

    @property
    def path(self) -> Path | str:
        """The path or URL of the archive; a URL without user, password and query."""
        return self._file.path

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W) for one channel, (N, H, W, C) for more: the shape of `archive[:]`."""
        height, width, channels = self.image_shape
        return (len(self), height, width) if channels == 1 else (len(self), height, width, channels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image."""
        return self._header.image_shape

    @property
    def image_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """The distinct (H, W, C) of the images: one for an archive, one or more for a collection."""
        return (self.image_shape,)

    @property
    def dtypes(self) -> tuple[PixelType, ...]:
        """The distinct dtypes of pixels, uint8 before uint16: one for an archive, one or two for a collection."""
        return (self.dtype,)

    @property
    def dtype(self) -> PixelType:
        """The dtype of pixels: uint8 or uint16."""
        return self._header.pixel_type

    @property
    def block_bounds(self) -> NDArray[np.int64]:
        """int64 [blocks + 1]: the number of the first image of each token block, ascending, and N."""
        starts = np.arange(self._header.blocks + 1, dtype=np.int64) * self._header.block_images
        return np.minimum(starts, len(self))

    @property
    def model(self) -> ImageModel:
        """The decoder network and the codes of its tokens, for code that decodes tokens by other means.

        Raises DamagedArchiveError if it cannot be read.
        """
        return self._store.model

    @property
    def prior(self) -> Prior:
        """The prior that the tokens are coded with, for code that merges archives. Raises DamagedArchiveError."""
        return self._store.prior

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
        prior = self._store.residuals
        if prior is None:
            return None
        block = self._store.block(number)

        def base_of(rows: NDArray[np.intp]) -> Pixels:
            return self._store.decoder.base(block.indices[rows], threads)

        with self._store.naming_block(number):
            return prior.read(block.residuals, len(block.indices), base_of)

    def __getitem__(self, selection: Selection) -> Pixels:
        """Pixels uint8 or uint16: [H, W] or [H, W, C] for an integer, else [n, ...]. Other token blocks are not read.

        Raises ImageIndexError (also an IndexError) for a number out of range, UsageError for anything that is no index.
        """
        return self._pixels(selection, None)

    def images(self, selection: Selection) -> list[Pixels]:
        """A list of the images of a selection, each as `self[number]`. In a collection they may have several shapes."""
        numbers, _ = resolve(selection, len(self), self._check_request)
        return list(self[numbers])

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
        return len(self._store.model.levels or ()) if self._header.kind.has_levels else 1

    def preview(self, selection: Selection, levels: int) -> Pixels:
        """Decode the first levels of the tokens alone, without residuals. Shapes are those of `self[selection]`.

        levels : 1 to `self.levels`; UsageError for any other number
        """
        if not 1 <= levels <= self.levels:
            raise UsageError(f"{levels} levels, the archive has 1 to {self.levels}")
        return self._pixels(selection, levels)

    def __iter__(self) -> Iterator[Pixels]:
        """Iterate over all images in order, each as `archive[i]`."""
        for batch in self.batches(256):
            yield from batch.pixels.reshape(len(batch), *self.shape[1:])

    def tokens(self, start: int = 0, stop: int | None = None) -> NDArray[np.uint16]:
        """Tokens of images start to stop - 1: uint16 [n, h, w], codes in [0, codebook_size).

        A pyramid has [n, 1, T], level by level; 65,535 where a level is absent.
        """
        numbers = range(*slice(start, stop).indices(len(self)))
        self._file.limits.check("request_bytes", 2 * len(numbers) * self._header.tokens_per_image, "this request")
        tokens = np.empty((len(numbers), self._header.tokens_per_image), np.uint16)
        parts = list(self._parts(numbers))
        for run in self._store.fetch_blocks([block for block, _ in parts]):
            for block, part in parts[run]:
                first = self._header.block_range(block).start
                rows = self._store.tokens(block)[part.start - first : part.stop - first]
                tokens[part.start - numbers.start : part.stop - numbers.start] = rows
        return tokens.reshape(-1, *self._header.token_grid)

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
                pixels = read_pixels(self._file, self._store, numbers, self._threads)
                yield self._columns.batch(pixels, numbers, lost)

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
        pixels = header.images * header.image_shape[0] * header.image_shape[1]
        return ArchiveInfo(
            images=header.images,
            shape=self.shape,
            dtype=header.dtype,
            archive_bytes=size,
            raw_bytes=header.raw_bytes,
            ratio=header.raw_bytes / size,
            ratio_without_model=header.raw_bytes / (size - parts.model),
            bytes=parts,
            bits_per_pixel=8 * size / pixels,
            bytes_per_image=size / header.images,
            tokens_bits_per_image=8 * parts.tokens / header.images,
            token_grid=header.token_grid,
            codebook_size=header.codebook_size,
            codes_used=header.codes_used,
            perplexity=header.perplexity,
            levels=self._level_infos(),
            break_even_images=break_even_images(parts, header.images, header.raw_bytes),
            blocks=header.blocks,
            block_images=header.block_images,
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
        pixels = read_pixels(self._file, self._store, numbers, self._threads, levels)
        pixels = pixels.reshape(len(numbers), *self.shape[1:])
        return pixels[0] if single else pixels

    def _check_request(self, images: int) -> None:
        """Raise LimitExceededError if one request may not have so many images."""
        self._file.limits.check("request_bytes", images * self._header.image_bytes, "this request")

    def _level_infos(self) -> tuple[LevelInfo, ...] | None:
        """The levels, which the model states; None if there are none, or if the model cannot be read."""
        if not self._header.kind.has_levels:
            return None
        try:
            return self._store.model.levels
        except (DamagedArchiveError, LimitExceededError, UnsupportedArchiveError):
            return None

    def _readable(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool [n]: whether each image's token block can be decoded. A damaged model or prior raises."""
        found, inverse = np.unique(numbers // self._header.block_images, return_inverse=True)
        blocks, readable = found.tolist(), np.ones(len(found), np.bool_)
        for run in self._store.fetch_blocks(blocks):
            _, _, _ = self._store.model, self._store.prior, self._store.residuals
            for position in range(run.start, run.stop):
                try:
                    self._store.block(blocks[position])
                except DamagedArchiveError:
                    readable[position] = False
        return readable[inverse]

    def _parts(self, numbers: range) -> Iterator[tuple[int, range]]:
        """Cut a range of images (step 1) at the bounds of token blocks."""
        for block in range(numbers.start // self._header.block_images, self._header.blocks if numbers else 0):
            images = self._header.block_range(block)
            part = range(max(images.start, numbers.start), min(images.stop, numbers.stop))
            if not part:
                return
            yield block, part

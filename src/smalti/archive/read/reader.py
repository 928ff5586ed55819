"""An open archive: images by number, tokens, columns, and what the file is made of.

Which tokens and pixels are decoded for a request is in `pixels`; where sections lie, in `sections`; what is in
them, in `model`, `blocks` and `columns`.
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
    """Open a file of one archive; the rest is as for `smalti.archive.open.open_images`, which opens collections too."""
    if threads < 1:
        raise UsageError(f"threads is {threads}; it must be at least 1")
    return open_positioned(file_at(path, storage_options), limits, threads)


def open_positioned(
    file: Positioned, limits: Limits | None = None, threads: int = 1, shared: SharedPayloads | None = None
) -> "Archive":
    """The same for bytes that are open already, such as a window of a file; closing the archive closes them.

    shared : of a member of a collection, the payloads that it shares with others
    """
    return Archive(SectionFile(file, limits or Limits(), shared=shared), threads)


class Archive:
    """Images of one shape, read by number; a context manager, and safe to use from several threads.

    >>> with open_archive("digits.smalti") as archive:
    ...     archive[3], archive[10:20], archive[[5, 900, 7]], archive[mask]

    Made by `open_archive`. Reading damaged parts raises DamagedArchiveError, which names them.
    """

    def __init__(self, file: SectionFile, threads: int) -> None:
        self._file = file
        self._header = file.header
        self._store = SectionStore(file)
        self._besides = ImageColumns(file.header, self._store, str(file.path))
        self._threads = threads

    def __enter__(self) -> "Archive":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; reading afterwards raises SmaltiError."""
        self._file.close()

    def __len__(self) -> int:
        return self._header.images

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as an order to open the same file, for worker processes; storage options are part of it."""
        return open_positioned, (self._file.source, self._file.limits, self._threads, self._file.shared)

    def __repr__(self) -> str:
        return f"<smalti archive {self.path}: {len(self)} images {list(self.image_shape)}>"

    @property
    def path(self) -> Path | str:
        """Where the archive is; a URL without what may be secret in it."""
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
        """(H, W, C) of the images, each shape once: of an archive one, of a collection one or more."""
        return (self.image_shape,)

    @property
    def dtypes(self) -> tuple[PixelType, ...]:
        """What pixels are, each once, 8 bits before 16: of an archive one, of a collection one or both."""
        return (self.dtype,)

    @property
    def dtype(self) -> PixelType:
        """Of pixels: uint8 or uint16."""
        return self._header.pixel_type

    @property
    def block_bounds(self) -> NDArray[np.int64]:
        """The numbers of the images that token blocks begin with, ascending, and N at the end: int64 [blocks + 1]."""
        starts = np.arange(self._header.blocks + 1, dtype=np.int64) * self._header.block_images
        return np.minimum(starts, len(self))

    @property
    def model(self) -> ImageModel:
        """The decoder network and what its tokens mean: for those who decode tokens by other means.

        Raises DamagedArchiveError if it cannot be read.
        """
        return self._store.model

    @property
    def prior(self) -> Prior:
        """What the tokens of its blocks are coded with, for those who put archives together. DamagedArchiveError."""
        return self._store.prior

    @property
    def sections(self) -> SectionFile:
        """The checked sections that it is read from, for those who copy or change archives."""
        return self._file

    @property
    def besides(self) -> ImageColumns:
        """Its columns, for those who copy or change archives; `labels`, `names` and `fields` are for everybody else."""
        return self._besides

    def block_corrections(self, number: int, threads: int = 1) -> Residuals | None:
        """What the images of a token block carry besides tokens, None if no image of the archive carries anything.

        Raises DamagedArchiveError.
        """
        prior = self._store.corrections
        if prior is None:
            return None
        block = self._store.block(number)

        def base_of(rows: NDArray[np.intp]) -> Pixels:
            return self._store.decoder.base(block.indices[rows], threads)

        with self._store.naming_block(number):
            return prior.read(block.corrections, len(block.indices), base_of)

    def __getitem__(self, selection: Selection) -> Pixels:
        """Pixels uint8 or uint16: [H, W] or [H, W, C] for an integer, else [n, ...]; only what holds them is decoded.

        Raises ImageIndexError (also an IndexError) for a number outside, UsageError for anything that is no index.
        """
        return self._pixels(selection, None)

    def images(self, selection: Selection) -> list[Pixels]:
        """The images of a selection, each as `self[number]` gives it, in a list: what collections of any shape have."""
        numbers, _ = resolve(selection, len(self), self._check_request)
        return list(self[numbers])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[np.generic]:
        """All images, as `np.asarray(archive)` asks for them; they must fit in memory.

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
        """What the first `levels` levels of the tokens give alone, 1 to `self.levels`, without corrections.

        The shapes are those of `self[selection]`. Raises UsageError for levels that are not there.
        """
        if not 1 <= levels <= self.levels:
            raise UsageError(f"{levels} levels, the archive has 1 to {self.levels}")
        return self._pixels(selection, levels)

    def __iter__(self) -> Iterator[Pixels]:
        """Every image in order, each as `archive[i]` gives it."""
        for batch in self.batches(256):
            yield from batch.pixels.reshape(len(batch), *self.shape[1:])

    def tokens(self, start: int = 0, stop: int | None = None) -> NDArray[np.uint16]:
        """Tokens of images start to stop - 1: uint16 [n, h, w], numbers of codes in [0, codebook_size).

        If the decoder is a pyramid, they are [n, 1, T], level by level, and 65,535 where a level is absent.
        """
        numbers = range(*slice(start, stop).indices(len(self)))
        self._file.limits.check("request_bytes", 2 * len(numbers) * self._header.tokens_per_image, "this request")
        tokens = np.empty((len(numbers), self._header.tokens_per_image), np.uint16)
        parts = list(self._parts(numbers))
        for run in self._store.together([block for block, _ in parts]):
            for block, part in parts[run]:
                first = self._header.block_range(block).start
                rows = self._store.tokens(block)[part.start - first : part.stop - first]
                tokens[part.start - numbers.start : part.stop - numbers.start] = rows
        return tokens.reshape(-1, *self._header.token_grid)

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """int64 [N], read-only, or None if the archive has no labels; no image is decoded for it."""
        return self._besides.labels

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The name of each label 0, 1, ..., or None if the labels have no names."""
        return self._besides.texts("class_names", None)

    @property
    def names(self) -> tuple[str, ...] | None:
        """The N names of the images, relative POSIX paths, or None if they have none."""
        return self._besides.texts("names", len(self))

    @property
    def fields(self) -> Mapping[str, ColumnValues]:
        """Further columns, by their names.

        Values are int64, float64 or bool [N], read-only, or a tuple of N strings; of a field that some images do not
        have, a tuple with None for these. Fields of kinds that this release does not know are left out. Each is read
        when it is first asked for.
        """
        return self._besides

    def batches(
        self, batch_images: int, on_error: Literal["raise", "skip"] = "raise", start: int = 0, stop: int | None = None
    ) -> Iterator[ArchiveBatch]:
        """Yield images in order with their numbers, labels, names and fields, in batches of `batch_images`.

        start, stop : which images, 0 to N; all of them by default
        on_error : "skip" leaves out the images of token blocks that cannot be read (`missing` names them), so that
            some batches are shorter or absent, and labels, names or fields if their column is lost; "raise" raises
            DamagedArchiveError at the first. What all images need is raised either way
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
                yield self._besides.batch(pixels, numbers, lost)

    def missing(self) -> tuple[DamagedBlock, ...]:
        """The token blocks that cannot be read, with the images and names that are lost with each.

        Every block is decoded up to its tokens. If the model is lost, or the prior and its copy, every block is
        missing.
        """
        return tuple(missing_blocks(self._file, self._store))

    @property
    def damage(self) -> tuple[str, ...]:
        """What was found to be wrong when the file was opened, and was overcome, in words; `verify` finds the rest."""
        return self._file.damage

    @property
    def lost_columns(self) -> tuple[str, ...]:
        """Names of the columns that the archive was written with and that cannot be read any more."""
        return self._besides.lost()

    def info(self) -> ArchiveInfo:
        """What the file is and what each part of it costs; no token and no pixel is read for it."""
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
        """Check the file; damage is reported, not raised.

        level : "quick" for the index and the heads of all sections, "tokens" for every checksum and every token,
            "pixels" for the pixels too, against the checksums stored with them
        progress : called with the images done and those to do
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
        """LimitExceededError if so many images may not be asked for at once."""
        self._file.limits.check("request_bytes", images * self._header.image_bytes, "this request")

    def _level_infos(self) -> tuple[LevelInfo, ...] | None:
        """Only the model says what levels there are; without it there is still the rest to tell."""
        if not self._header.kind.has_levels:
            return None
        try:
            return self._store.model.levels
        except (DamagedArchiveError, LimitExceededError, UnsupportedArchiveError):
            return None

    def _readable(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which images lie in token blocks that can be decoded; a damaged model or prior raises all the same."""
        found, inverse = np.unique(numbers // self._header.block_images, return_inverse=True)
        blocks, readable = found.tolist(), np.ones(len(found), np.bool_)
        for run in self._store.together(blocks):
            _, _, _ = self._store.model, self._store.prior, self._store.corrections
            for place in range(run.start, run.stop):
                try:
                    self._store.block(blocks[place])
                except DamagedArchiveError:
                    readable[place] = False
        return readable[inverse]

    def _parts(self, numbers: range) -> Iterator[tuple[int, range]]:
        """Cut a run of images (step 1) where token blocks end."""
        for block in range(numbers.start // self._header.block_images, self._header.blocks if numbers else 0):
            images = self._header.block_range(block)
            part = range(max(images.start, numbers.start), min(images.stop, numbers.stop))
            if not part:
                return
            yield block, part

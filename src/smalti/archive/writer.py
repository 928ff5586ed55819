"""Writing an archive: images come in batches of tokens, and the file appears whole at the end, or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalti.archive.blocks import pack_block
from smalti.archive.columns import TextBuilder, pack_integers
from smalti.archive.header import MAX_BLOCK_IMAGES, MAX_CODES, Header
from smalti.archive.layout import PRELUDE_BYTES, TRAILER_BYTES, Entry, Section, Trailer, crc32c, pack_prelude
from smalti.archive.model import pack_model
from smalti.archive.report import perplexity
from smalti.archive.spool import TokenSpool
from smalti.entropy import MAX_POSITION_CELLS, TokenPrior
from smalti.errors import UsageError
from smalti.files import atomic_file, check_output, writing
from smalti.floating import DecoderWeights
from smalti.version import __version__

__all__ = ["ArchiveSpec", "ArchiveWriter"]


@dataclass(frozen=True)
class ArchiveSpec:
    """What an archive is to hold, known before its first image.

    image_shape : (H, W, C), C from 1 to 4; images were padded below and to the right to 4 * token_grid
    token_grid : (h, w) tokens of an image
    codebook_size : K, 2 to 65,536
    profile : name of the settings it was made with, for people
    block_images : images per token block, the unit of damage and of random access
    class_names : the name of each label 0, 1, ..., or None
    provenance : pairs of strings for people, such as ("training", "3 epochs"); no times, no names of machines

    Raises UsageError if the numbers do not fit each other.
    """

    image_shape: tuple[int, int, int]
    token_grid: tuple[int, int]
    codebook_size: int
    profile: str
    block_images: int = 1024
    class_names: tuple[str, ...] | None = None
    provenance: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        (height, width, channels), (rows, columns) = self.image_shape, self.token_grid
        if not (1 <= height <= 4 * rows and 1 <= width <= 4 * columns and 1 <= channels <= 4):
            raise UsageError(f"images of {list(self.image_shape)} do not fit a token grid of {list(self.token_grid)}")
        if not 2 <= self.codebook_size <= MAX_CODES:
            raise UsageError(f"codebook size {self.codebook_size} is outside 2..{MAX_CODES}")
        if not 1 <= self.block_images <= MAX_BLOCK_IMAGES:
            raise UsageError(f"{self.block_images} images per block is outside 1..{MAX_BLOCK_IMAGES}")


class ArchiveWriter:
    """Collects tokens, labels and names, and writes the archive on `commit`; leaving without it writes nothing.

    >>> with ArchiveWriter("digits.smalti", spec, weights) as writer:
    ...     writer.append(tokens, labels)
    ...     writer.commit()

    weights : the decoder with the whole codebook [K, D]; codes that no token uses are not stored

    Raises OutputExistsError at once if the file exists and `overwrite` is not given, OutputError if it cannot be
    written, UsageError if `weights` do not fit `spec`.
    """

    def __init__(
        self, path: str | PathLike[str], spec: ArchiveSpec, weights: DecoderWeights, overwrite: bool = False
    ) -> None:
        self._path, self._spec, self._weights, self._overwrite = Path(path), spec, weights, overwrite
        if weights.codes != spec.codebook_size or weights.channels != spec.image_shape[2]:
            raise UsageError(
                f"decoder of {weights.codes} codes and {weights.channels} channels, the archive is to have "
                f"{spec.codebook_size} and {spec.image_shape[2]}"
            )
        check_output(self._path, overwrite)
        self._labels: list[NDArray[np.int64]] = []
        self._names = TextBuilder("names")
        self._has: dict[str, bool] = {}  # whether labels and names are given: the first images decide
        with writing(self._path):
            self._spool = TokenSpool(self._path.parent, spec.token_grid[0] * spec.token_grid[1], spec.codebook_size)
        self._open = True

    def __enter__(self) -> "ArchiveWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop what was collected; does nothing after `commit`."""
        self._open = False
        self._spool.close()

    def append(
        self,
        tokens: NDArray[np.integer],
        labels: NDArray[np.integer] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        """Add images: tokens integers [n, h, w], each in [0, K); labels int64 [n] and n names, for all or for none.

        Raises UsageError if shapes, ranges or the presence of labels and names do not fit what came before; the
        writer is closed then, since half of a batch may not stay.
        """
        self._require_open()
        try:
            self._append(tokens, labels, names)
        except BaseException:
            self.close()
            raise

    def _append(
        self, tokens: NDArray[np.integer], labels: NDArray[np.integer] | None, names: Sequence[str] | None
    ) -> None:
        self._check_tokens(tokens)
        count = len(tokens)
        if not count:
            return
        for what, given in (("labels", labels), ("names", names)):
            if given is not None and len(given) != count:
                raise UsageError(f"{len(given)} {what} for {count} images")
            if self._has.setdefault(what, given is not None) != (given is not None):
                raise UsageError(f"{what} must be given for all images or for none")
        if labels is not None:
            if labels.ndim != 1 or labels.dtype.kind not in "iu":
                raise UsageError(f"labels are {labels.dtype} {list(labels.shape)}, not integers [{count}]")
            self._labels.append(labels.astype(np.int64))
        if names is not None:
            self._names.extend(names)
        with writing(self._path):
            self._spool.append(tokens.reshape(count, -1))

    def commit(self) -> None:
        """Write the archive. Until this returns, what was at the path before is still there."""
        self._require_open()
        if not self._spool.images:
            raise UsageError(f"{self._path}: there are no images to write")
        with atomic_file(self._path, overwrite=self._overwrite) as file, writing(self._path):
            self._write(_FrameWriter(file))
        self.close()

    def _require_open(self) -> None:
        if not self._open:
            raise UsageError(f"{self._path}: this writer was closed already")

    def _check_tokens(self, tokens: NDArray[np.integer]) -> None:
        if tokens.ndim != 3 or tokens.shape[1:] != self._spec.token_grid or tokens.dtype.kind not in "iu":
            expected = ", ".join(["n", *map(str, self._spec.token_grid)])
            raise UsageError(f"tokens are {tokens.dtype} {list(tokens.shape)}, not integers [{expected}]")
        if tokens.size and not (int(tokens.min()) >= 0 and int(tokens.max()) < self._spec.codebook_size):
            raise UsageError(f"tokens outside the codebook of {self._spec.codebook_size}")

    def _write(self, frames: "_FrameWriter") -> None:
        spec, spool = self._spec, self._spool
        code_ids = np.flatnonzero(spool.counts)
        ranks = np.zeros(spec.codebook_size, np.uint16)
        ranks[code_ids] = np.arange(len(code_ids))
        prior = self._fit_prior(code_ids, ranks)
        frames.add(Section.HEADER, self._header(len(code_ids)).to_bytes())
        frames.add(Section.MODEL, pack_model(self._weights.with_codes(code_ids), code_ids))
        frames.add(Section.PRIOR, prior.to_bytes())
        first = 0
        for tokens in spool.read(spec.block_images):
            frames.add(Section.TOKENS, pack_block(first, tokens, ranks[tokens], prior))
            first += len(tokens)
        if self._has["labels"]:
            frames.add(Section.COLUMN, pack_integers("labels", np.concatenate(self._labels)))
        if spec.class_names is not None:
            class_names = TextBuilder("class_names")
            class_names.extend(spec.class_names)
            frames.add(Section.COLUMN, class_names.to_bytes())
        if self._has["names"]:
            frames.add(Section.COLUMN, self._names.to_bytes())
        frames.finish()

    def _fit_prior(self, code_ids: NDArray[np.intp], ranks: NDArray[np.uint16]) -> TokenPrior:
        positions = self._spec.token_grid[0] * self._spec.token_grid[1]
        if positions * len(code_ids) <= MAX_POSITION_CELLS:
            return TokenPrior.fit(self._spool.position_counts(ranks, len(code_ids)))
        return TokenPrior.fit_shared(self._spool.counts[code_ids], positions)

    def _header(self, codes_used: int) -> Header:
        spec = self._spec
        return Header(
            images=self._spool.images,
            image_shape=spec.image_shape,
            padded_shape=(4 * spec.token_grid[0], 4 * spec.token_grid[1]),
            token_grid=spec.token_grid,
            codebook_size=spec.codebook_size,
            codes_used=codes_used,
            perplexity=perplexity(self._spool.counts),
            block_images=spec.block_images,
            profile=spec.profile,
            provenance=tuple(sorted({"smalti": __version__, **dict(spec.provenance)}.items())),
        )


class _FrameWriter:
    """Puts sections one after the other, and remembers them for the index."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._offset = PRELUDE_BYTES
        self._entries: list[Entry] = []
        self._ordinals: dict[Section, int] = {}
        file.write(pack_prelude())

    def add(self, section: Section, payload: bytes) -> Entry:
        """Write a section after the last one."""
        ordinal = self._ordinals.get(section, 0)
        self._ordinals[section] = ordinal + 1
        entry = Entry(section, ordinal, self._offset, len(payload), crc32c(payload))
        self._file.write(entry.pack_frame_head())
        self._file.write(payload)
        self._entries.append(entry)
        self._offset = entry.end
        return entry

    def finish(self) -> None:
        """Write the index and the trailer."""
        count = len(self._entries).to_bytes(4, "little")
        index = self.add(Section.INDEX, count + b"".join(entry.pack() for entry in self._entries))
        self._file.write(Trailer(index.offset, index.end + TRAILER_BYTES).pack())

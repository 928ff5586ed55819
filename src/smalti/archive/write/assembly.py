"""Writes the sections of an archive from collected tokens, residuals and columns, in the order of the format."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.frames import Block, pack_block
from smalti.archive.format.header import ErrorBound, Header
from smalti.archive.format.layout import Section, crc32c
from smalti.archive.read.block_decoder import BlockDecoder, plain_bytes
from smalti.archive.report import perplexity
from smalti.archive.write.image_rows import ImageRows
from smalti.archive.write.protected_frames import ProtectedFrames, protected_frames
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.token_spool import BlankTokens, PlainImages, ResidualSpool
from smalti.decoders.blank import blank_grid, blank_writer
from smalti.decoders.contract import Tokens, WriterModel
from smalti.images.batch import Pixels
from smalti.residual.residual_prior import ResidualPrior
from smalti.residual.residuals import ResidualCounts, Residuals, apply_residuals
from smalti.version import __version__

__all__ = ["Collected", "write_archive"]

_ALL_TOKENS = 1 << 16


@dataclass(frozen=True, eq=False)
class Collected:
    """The contents of an archive.

    model : the decoder, with all K codes
    residuals : of all images, or None without an error bound
    rows : their labels, names and fields
    """

    spec: ArchiveSpec
    model: WriterModel
    tokens: Tokens
    residuals: ResidualSpool | PlainImages | None
    rows: ImageRows = field(default_factory=ImageRows)


def write_archive(file: BinaryIO, out_path: Path, collected: Collected, threads: int) -> None:
    """Write the whole file. Every block is decoded as a reader decodes it, for the checksums of its pixels.

    out_path : the output; a temporary file for recovery sections lies beside it
    """
    recovery = collected.spec.recovery
    with protected_frames(file, out_path, recovery) as frames:
        assembly = _Assembly(frames, _without_decoder(collected), threads)
        assembly.write()
    if collected.residuals is None or frames.image_bytes <= assembly.raw_bytes:
        return
    # A decoder makes such images larger, however well it was fitted: the pixels that it would have given are stored.
    file.seek(0)
    file.truncate()
    plain = _without_decoder(replace(collected, residuals=PlainImages(collected.tokens.images, assembly.pixels)))
    with protected_frames(file, out_path, recovery) as frames:
        _Assembly(frames, plain, threads).write()


def _without_decoder(collected: Collected) -> Collected:
    """Replace the network if no image needs it: by one that decodes everything to black."""
    tokens, residuals = collected.tokens, collected.residuals
    if residuals is None or residuals.stored < tokens.images:
        return collected
    spec = replace(collected.spec, token_grid=blank_grid(collected.spec.image_shape))
    blank = BlankTokens(tokens.images, math.prod(spec.token_grid), spec.codebook_size)
    return replace(collected, spec=spec, model=blank_writer(spec.tokens), tokens=blank)


class _Assembly:
    """One archive being written to a file."""

    def __init__(self, frames: ProtectedFrames, collected: Collected, threads: int) -> None:
        self._frames, self._collected, self._threads = frames, collected, threads
        self._model, self._prior = collected.model.stored(collected.tokens)
        self._code_index = np.zeros(_ALL_TOKENS, np.uint16)
        self._code_index[self._model.code_ids] = np.arange(len(self._model.code_ids))
        self._columns = dict(collected.rows.columns(collected.spec.class_names))
        self._header = self._make_header()
        self._decoder = BlockDecoder(self._model, None, self._header)
        self._digest = hashlib.sha256()

    def write(self) -> None:
        """Write all sections."""
        prior = self._prior.to_bytes()
        self._frames.begin(self._header, b"", self._model.to_bytes(), prior)
        self._add_blocks(self._add_residuals_prior())
        self._frames.end(self._header, b"", prior, self._columns.values(), self._digest.digest())

    @property
    def raw_bytes(self) -> int:
        """Bytes of the plain pixels of all images."""
        return self._header.raw_bytes(self._header.layout.pixels)

    def pixels(self, piece_images: int) -> Iterator[Pixels]:
        """Yield the pixels of all images as a reader decodes them, block by block: [n, H, W, C]."""
        assert piece_images == self._header.block_images
        for indices, residuals in self._blocks():
            yield apply_residuals(self._decoder.base(indices, self._threads), residuals)

    def _add_residuals_prior(self) -> ResidualPrior | None:
        """Write the residuals' prior, if there are residuals. It is fitted to these and to the decoded images."""
        if not self._header.has_residuals:
            return None
        counts = ResidualCounts(self._header.pixel_type)
        for indices, residuals in self._blocks():
            counts.add(self._decoder.base(indices, self._threads), residuals)
        prior = ResidualPrior.fit(counts, self._header.image_shape)
        self._frames.add(Section.CORRECTIONS, prior.to_bytes())
        return prior

    def _add_blocks(self, residuals_prior: ResidualPrior | None) -> None:
        first = 0
        for indices, residuals in self._blocks():
            block = self._block(indices, residuals, residuals_prior)
            self._frames.add(Section.TOKENS, pack_block(first, self._model.code_ids, block, self._prior))
            first += len(indices)

    def _blocks(self) -> Iterator[tuple[NDArray[np.uint16], Residuals]]:
        """Yield indices and residuals of each block. Without an error bound the residuals are of no images."""
        step, spool = self._header.block_images, self._collected.residuals
        none = Residuals.none(0, self._header.image_shape, self._header.pixel_type)
        parts = iter(()) if spool is None else spool.read(step)
        for tokens in self._collected.tokens.read(step):
            yield self._code_index[tokens], next(parts, none)

    def _block(self, indices: NDArray[np.uint16], residuals: Residuals, prior: ResidualPrior | None) -> Block:
        """Make a block with its residuals and the checksum of its pixels. The pixels are added to the digest."""
        block = Block(indices, 0, b"")
        if prior is None:
            parts = self._decoder.rows(block, np.arange(len(indices)), self._threads)
            return replace(block, pixels_crc=self._digested(pixels for _, pixels in parts))
        base = self._decoder.base(indices, self._threads)
        pixels_crc = self._digested([apply_residuals(base, residuals)])
        return replace(block, pixels_crc=pixels_crc, residuals=prior.encode(base, residuals))

    def _digested(self, parts: Iterator[Pixels] | list[Pixels]) -> int:
        """Compute the crc32c of pixels, and add them to the digest of all pixels."""
        checksum = 0
        for pixels in parts:
            plain = plain_bytes(pixels, self._header.is_signed)
            checksum = crc32c(plain, checksum)
            self._digest.update(plain)
        return checksum

    def _make_header(self) -> Header:
        spec, tokens, residuals = self._collected.spec, self._collected.tokens, self._collected.residuals
        bound = None
        if spec.max_mse is not None and residuals is not None:
            bound = ErrorBound(float(spec.max_mse), residuals.corrected, residuals.stored)
        return Header(
            images=tokens.images,
            image_shape=spec.image_shape,
            padded_shape=self._model.padded_shape,
            token_grid=spec.token_grid,
            codebook_size=spec.codebook_size,
            codes_used=int(np.count_nonzero(tokens.counts)),
            perplexity=perplexity(tokens.counts),
            block_images=spec.images_per_block,
            columns=tuple(self._columns),
            promise=bound,
            profile=spec.profile,
            dtype=spec.dtype,
            decoder=self._model.kind,
            provenance=tuple(sorted({"smalti": __version__, **dict(spec.provenance)}.items())),
        )

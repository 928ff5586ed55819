"""The sections of an archive, made from what a writer has collected, in the order of the format."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.column import TextBuilder, pack_integers
from smalti.archive.format.frames import Block, FrameWriter, pack_block
from smalti.archive.format.header import ErrorBound, Header
from smalti.archive.format.layout import Section, crc32c
from smalti.archive.read.block_decoder import BlockDecoder, plain_bytes
from smalti.archive.recovery.parity import RecoveryBuilder
from smalti.archive.report import perplexity
from smalti.archive.write.fields import FieldsBuilder
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.token_spool import BlankTokens, PlainImages, ResidualSpool
from smalti.decoders.blank import blank_grid, blank_writer
from smalti.decoders.contract import Tokens, WriterModel
from smalti.images.batch import Pixels
from smalti.residual.residual_prior import ResidualPrior
from smalti.residual.residuals import ResidualCounts, Residuals, apply_residuals
from smalti.version import __version__

__all__ = ["Collected", "write_archive"]

_NUMBERS = 1 << 16


@dataclass(frozen=True, eq=False)
class Collected:
    """All that an archive is made of.

    model : the decoder, with all K codes
    corrections : of all images, or None if nothing was promised of them
    labels : int64 [N], or None    names : N names, or None
    """

    spec: ArchiveSpec
    model: WriterModel
    tokens: Tokens
    corrections: ResidualSpool | PlainImages | None
    labels: NDArray[np.int64] | None
    names: TextBuilder | None
    fields: FieldsBuilder = dataclass_field(default_factory=FieldsBuilder)


def write_archive(file: BinaryIO, spool_beside: Path, collected: Collected, threads: int) -> None:
    """Write the whole file. Every block is decoded as a reader will, for the checksums of its pixels.

    spool_beside : the output, beside which a temporary file for recovery sections may be
    """
    recovery = collected.spec.recovery
    with nullcontext() if recovery is None else RecoveryBuilder(recovery, spool_beside) as builder:
        assembly = _Assembly(FrameWriter(file), builder, _without_decoder(collected), threads)
        assembly.write()
    if collected.corrections is None or assembly.image_bytes <= assembly.raw_bytes:
        return
    # Such images are no gain for a decoder, however well it was fitted: they are stored as they would have been read.
    file.seek(0)
    file.truncate()
    plain = _without_decoder(replace(collected, corrections=PlainImages(collected.tokens.images, assembly.pixels)))
    with nullcontext() if recovery is None else RecoveryBuilder(recovery, spool_beside) as builder:
        _Assembly(FrameWriter(file), builder, plain, threads).write()


def _without_decoder(collected: Collected) -> Collected:
    """Leave the network out if no image needs it; one that knows nothing but black takes its place."""
    tokens, corrections = collected.tokens, collected.corrections
    if corrections is None or corrections.stored < tokens.images:
        return collected
    spec = replace(collected.spec, token_grid=blank_grid(collected.spec.image_shape))
    blank = BlankTokens(tokens.images, math.prod(spec.token_grid), spec.codebook_size)
    return replace(collected, spec=spec, model=blank_writer(spec.tokens), tokens=blank)


class _Assembly:
    """One archive on its way into a file."""

    def __init__(
        self, frames: FrameWriter, recovery: RecoveryBuilder | None, collected: Collected, threads: int
    ) -> None:
        self._frames, self._recovery, self._collected, self._threads = frames, recovery, collected, threads
        self._model, self._prior = collected.model.stored(collected.tokens)
        self._ranks = np.zeros(_NUMBERS, np.uint16)
        self._ranks[self._model.code_ids] = np.arange(len(self._model.code_ids))
        self._columns = dict(_columns(collected))
        self._header = self._make_header()
        self._decoder = BlockDecoder(self._model, None, self._header)
        self._digest = hashlib.sha256()
        self.image_bytes = 0  # of all sections but columns and recovery

    def write(self) -> None:
        """Write all sections."""
        header, prior = self._header.to_bytes(), self._prior.to_bytes()
        self._add(Section.HEADER, header)
        self._add(Section.MODEL, self._model.to_bytes())
        self._add(Section.PRIOR, prior)
        self._add_blocks(self._add_corrections())
        for payload in self._columns.values():
            self._add(Section.COLUMN, payload)
        self._add(Section.DIGEST, self._digest.digest())
        self._add(Section.HEADER, header)
        for _ in range(1, self._header.priors):
            self._add(Section.PRIOR, prior)
        for payload in () if self._recovery is None else self._recovery.payloads():
            self._frames.add(Section.RECOVERY, payload)
        self._frames.finish()

    @property
    def raw_bytes(self) -> int:
        """Bytes of the plain pixels of all images."""
        return self._header.raw_bytes

    def pixels(self, piece_images: int) -> Iterator[Pixels]:
        """All images as they would be read, block by block (which are the pieces), [n, H, W, C]."""
        assert piece_images == self._header.block_images
        for indices, corrections in self._blocks():
            yield apply_residuals(self._decoder.base(indices, self._threads), corrections)

    def _add(self, section: Section, payload: bytes) -> None:
        entry = self._frames.add(section, payload)
        if section != Section.COLUMN:
            self.image_bytes += entry.frame_bytes
        if self._recovery is not None:
            self._recovery.add(entry, payload)

    def _add_corrections(self) -> ResidualPrior | None:
        """Write the tables of the corrections, if there are any; what they are for depends on the decoded images."""
        if not self._header.has_corrections:
            return None
        counts = ResidualCounts(self._header.pixel_type)
        for indices, corrections in self._blocks():
            counts.add(self._decoder.base(indices, self._threads), corrections)
        prior = ResidualPrior.fit(counts, self._header.image_shape)
        self._add(Section.CORRECTIONS, prior.to_bytes())
        return prior

    def _add_blocks(self, corrections_prior: ResidualPrior | None) -> None:
        first = 0
        for indices, corrections in self._blocks():
            block = self._block(indices, corrections, corrections_prior)
            self._add(Section.TOKENS, pack_block(first, self._model.code_ids, block, self._prior))
            first += len(indices)

    def _blocks(self) -> Iterator[tuple[NDArray[np.uint16], Residuals]]:
        """Indices and corrections of each block; the latter are of no images if there are none."""
        step, spool = self._header.block_images, self._collected.corrections
        none = Residuals.none(0, self._header.image_shape, self._header.pixel_type)
        parts = iter(()) if spool is None else spool.read(step)
        for tokens in self._collected.tokens.read(step):
            yield self._ranks[tokens], next(parts, none)

    def _block(self, indices: NDArray[np.uint16], corrections: Residuals, prior: ResidualPrior | None) -> Block:
        """A block with its corrections and the checksum of its pixels, which go into the digest too."""
        block = Block(indices, 0, b"")
        if prior is None:
            pieces = self._decoder.rows(block, np.arange(len(indices)), self._threads)
            return replace(block, pixels_crc=self._digested(pixels for _, pixels in pieces))
        base = self._decoder.base(indices, self._threads)
        pixels_crc = self._digested([apply_residuals(base, corrections)])
        return replace(block, pixels_crc=pixels_crc, corrections=prior.encode(base, corrections))

    def _digested(self, pieces: Iterator[Pixels] | list[Pixels]) -> int:
        """Crc32c of pixels, which are added to the digest of all."""
        checksum = 0
        for pixels in pieces:
            plain = plain_bytes(pixels)
            checksum = crc32c(plain, checksum)
            self._digest.update(plain)
        return checksum

    def _make_header(self) -> Header:
        spec, tokens, corrections = self._collected.spec, self._collected.tokens, self._collected.corrections
        promise = None
        if spec.max_mse is not None and corrections is not None:
            promise = ErrorBound(float(spec.max_mse), corrections.corrected, corrections.stored)
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
            promise=promise,
            profile=spec.profile,
            dtype=spec.dtype,
            decoder=self._model.kind,
            provenance=tuple(sorted({"smalti": __version__, **dict(spec.provenance)}.items())),
        )


def _columns(collected: Collected) -> Iterator[tuple[str, bytes]]:
    """Names and payloads of the columns, in the order of the file."""
    if collected.labels is not None:
        yield "labels", pack_integers("labels", collected.labels)
    if collected.spec.class_names is not None:
        class_names = TextBuilder("class_names")
        class_names.extend(collected.spec.class_names)
        yield "class_names", class_names.to_bytes()
    if collected.names is not None:
        yield "names", collected.names.to_bytes()
    yield from collected.fields.columns()

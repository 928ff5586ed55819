"""Pack a source of images into an archive with a fitted model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smalti.archive.collection.collection_info import CollectionInfo
from smalti.archive.read.reader import open_archive
from smalti.archive.recovery.parity import RecoverySpec
from smalti.archive.report import ArchiveInfo
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.decoders.layers.integer_network import IntegerNetwork
from smalti.decoders.pyramid.pyramid_network import PyramidNetwork
from smalti.errors import SourceError
from smalti.images.batch import Pixels, SkippedFile
from smalti.images.source import ImageSource, refuse_skipped, skipped_words
from smalti.residual.choice import CorrectionEstimator, choose_corrections
from smalti.residual.residuals import Corrections, max_squared_error
from smalti.training.common.training_images import to_unit_range
from smalti.training.paper.grid_model import Model
from smalti.training.paper.vqvae import DOWNSAMPLING, padded_size

__all__ = ["CompressReport", "Promise", "compress_source"]

ENCODE_VALUES = 64 * 28 * 28
"""Pixels encoded at a time: the fastest batch of 28x28 images on CPUs, and a bound of memory for larger ones."""


@dataclass(frozen=True)
class CompressReport:
    """What packing made, and which files of the source it passed over."""

    info: ArchiveInfo | CollectionInfo
    skipped: tuple[SkippedFile, ...]
    missed: str | None = None
    """What of a target was out of reach, in words for a person."""


def compress_source(
    source: ImageSource,
    out: Path,
    model: Model,
    *,
    labels: bool = True,
    max_mse: float | None = None,
    recovery: RecoverySpec | None = None,
    strict: bool = False,
    overwrite: bool = False,
    threads: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CompressReport:
    """Encode every image of `source` with `model` and write the archive `out`, whole or not at all.

    labels : whether labels and class names go into the archive; names always do, if there are any
    max_mse : what every image must decode within (mean squared error of pixels scaled to 0..1): images that the model
        serves worse are corrected, or stored without it; 0 is lossless. None promises nothing
    recovery : how many lost sections are to be recoverable; needs the extra `smalti[recovery]`
    strict : whether a file that would be passed over is an error, so that nothing is written
    threads : how many may decode pixels; the bytes of the file do not depend on it
    progress : called with the images that are done and the entries of the source

    Raises ModelError if the images have another shape than the model's, SourceError if no image can be read,
    UsageError for a promise that cannot be, OutputExistsError, OutputError.
    """
    model.check_shape(source.image_shape, source.description, source.dtype)
    height, width, _ = source.image_shape
    padded_height, padded_width = padded_size(height, width)
    spec = ArchiveSpec(
        image_shape=source.image_shape,
        dtype=model.scale.dtype,
        token_grid=(padded_height // DOWNSAMPLING, padded_width // DOWNSAMPLING),
        codebook_size=model.codebook_size,
        profile=model.settings.profile,
        class_names=source.class_names if labels else None,
        provenance=_provenance(model),
        max_mse=max_mse,
        recovery=recovery,
    )
    batch_images = max(1, ENCODE_VALUES // (padded_height * padded_width))
    promise = None if max_mse is None else Promise(IntegerDecoder(model.decoder), source.image_shape, max_mse, threads)
    with ArchiveWriter(out, spec, model.decoder, overwrite, threads) as writer:
        done = 0
        for batch in source.batches(batch_images):
            tokens = model.encode(to_unit_range(batch.pixels, model.scale)).numpy()
            corrections = None if promise is None else promise.corrections(batch.pixels, tokens)
            writer.append(tokens, batch.labels if labels else None, batch.names, corrections, batch.fields)
            done += len(batch)
            progress(done, len(source))
        if not done:
            raise SourceError(
                f"{source.description}: no image could be read ({skipped_words(source.skipped)}); nothing was written"
            )
        if strict:
            refuse_skipped(source.description, source.skipped)
        writer.commit()
    with open_archive(out) as archive:
        return CompressReport(archive.info(), tuple(source.skipped))


class TokenDecoder(Protocol):
    """What makes pixels of tokens, exactly."""

    @property
    def network(self) -> IntegerNetwork | PyramidNetwork:
        """Its numbers."""

    def decode(self, tokens: NDArray[np.integer], threads: int = 1) -> Pixels:
        """Return pixels [n, H', W', C]."""


class Promise:
    """Finds the corrections that bring every image within a bound, measured on what the exact decoder gives."""

    def __init__(self, decoder: TokenDecoder, image_shape: tuple[int, int, int], max_mse: float, threads: int) -> None:
        dtype = decoder.network.dtype
        self._decoder = decoder
        self._height, self._width, _ = image_shape
        self._max_sse = max_squared_error(max_mse, image_shape, dtype)
        self._estimator = CorrectionEstimator(dtype)
        self._threads = threads

    def corrections(self, pixels: Pixels, tokens: NDArray[np.integer]) -> Corrections:
        """Return the corrections of images [n, H, W, C] with tokens as the decoder takes them."""
        base = self._decoder.decode(tokens, self._threads)[:, : self._height, : self._width]
        return choose_corrections(pixels, base, self._max_sse, self._estimator)


def _provenance(model: Model) -> tuple[tuple[str, str], ...]:
    """Return what the archive says of its model: settings that shaped it and what it was fitted on."""
    quantizer = model.settings.quantizer
    return (
        ("fitted on", str(model.provenance.get("source", "unknown"))),
        ("fitted images", str(model.provenance.get("images", "unknown"))),
        ("epochs", str(model.settings.epochs)),
        ("seed", str(model.settings.seed)),
        ("quantizer", f"update {quantizer.update}, start {quantizer.start}, restart {quantizer.restart}"),
    )

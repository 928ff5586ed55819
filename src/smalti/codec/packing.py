"""Pack a source of images into an archive with a fitted model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from smalti.archive import ArchiveInfo, ArchiveSpec, ArchiveWriter, open_archive
from smalti.errors import SourceError
from smalti.floating import DecoderWeights
from smalti.images import ImageSource, SkippedFile
from smalti.training import DOWNSAMPLING, Model, padded_size, to_unit_range

__all__ = ["CompressReport", "compress_source", "decoder_weights"]

ENCODE_VALUES = 64 * 28 * 28
"""Pixels encoded at a time: the fastest batch of 28x28 images on CPUs, and a bound of memory for larger ones."""


@dataclass(frozen=True)
class CompressReport:
    """What packing made, and which files of the source it passed over."""

    info: ArchiveInfo
    skipped: tuple[SkippedFile, ...]


def decoder_weights(model: Model) -> DecoderWeights:
    """Return the part of a model that decoding needs: every code as the decoder sees it, and the decoder."""
    decoder = model.network.decoder

    def plain(tensor: Tensor) -> NDArray[np.float32]:
        return np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype=np.float32)

    return DecoderWeights(
        codebook=plain(model.network.quantizer.code_latents()),
        up1_weight=plain(decoder.up1.weight),
        up1_bias=plain(_bias(decoder.up1.bias)),
        up2_weight=plain(decoder.up2.weight),
        up2_bias=plain(_bias(decoder.up2.bias)),
    )


def compress_source(
    source: ImageSource,
    out: Path,
    model: Model,
    *,
    labels: bool = True,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CompressReport:
    """Encode every image of `source` with `model` and write the archive `out`, whole or not at all.

    labels : whether labels and class names go into the archive; names always do, if there are any
    progress : called with the images that are done and the entries of the source

    Raises ModelError if the images have another shape than the model's, SourceError if no image can be read,
    OutputExistsError, OutputError.
    """
    model.check_shape(source.image_shape, source.description)
    height, width, _ = source.image_shape
    padded_height, padded_width = padded_size(height, width)
    spec = ArchiveSpec(
        image_shape=source.image_shape,
        token_grid=(padded_height // DOWNSAMPLING, padded_width // DOWNSAMPLING),
        codebook_size=model.codebook_size,
        profile=model.settings.profile,
        class_names=source.class_names if labels else None,
        provenance=_provenance(model),
    )
    batch_images = max(1, ENCODE_VALUES // (padded_height * padded_width))
    with ArchiveWriter(out, spec, decoder_weights(model), overwrite) as writer:
        done = 0
        for batch in source.batches(batch_images):
            tokens = model.encode(to_unit_range(batch.pixels)).numpy()
            writer.append(tokens, batch.labels if labels else None, batch.names)
            done += len(batch)
            progress(done, len(source))
        if not done:
            reasons = "; ".join(f"{file.name}: {file.reason}" for file in source.skipped[:3])
            raise SourceError(f"{source.description}: no image could be read ({reasons}); nothing was written")
        writer.commit()
    with open_archive(out) as archive:
        return CompressReport(archive.info(), tuple(source.skipped))


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


def _bias(bias: Tensor | None) -> Tensor:
    assert bias is not None  # both layers are made with one
    return bias

"""Fit a pyramid on a source, and pack a source with one: the profiles `compact` and `fine`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smalti.archive.read.reader import open_archive
from smalti.archive.recovery.parity import RecoverySpec
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.codec.packing import CompressReport, Promise
from smalti.decoders.pyramid.pyramid_decoder import PyramidDecoder
from smalti.decoders.pyramid.token_layout import TokenLayout
from smalti.images.source import ImageSource, refuse_skipped
from smalti.training.common.distributed import ALONE, Group
from smalti.training.common.training_images import TrainingImages
from smalti.training.pyramid.build import search_rounds
from smalti.training.pyramid.encoding import Encoding, Progress
from smalti.training.pyramid.export import bytes_besides_tokens, global_tokens, to_network, to_prior
from smalti.training.pyramid.fit_pyramid import PyramidObserver, fit_pyramid
from smalti.training.pyramid.pyramid_model import PyramidModel
from smalti.training.pyramid.pyramid_settings import PyramidSettings
from smalti.training.pyramid.trade_off import Goal

__all__ = ["PyramidPacking", "compress_with_pyramid", "fit_pyramid_source"]

PIECE_IMAGES = 4_096


def fit_pyramid_source(
    source: ImageSource,
    settings: PyramidSettings,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    observer: PyramidObserver | None = None,
    group: Group = ALONE,
    strict: bool = False,
) -> PyramidModel:
    """Fit a pyramid on every image of `source`. The rest is as for `smalti.training.pyramid.fit_pyramid.fit_pyramid`.

    strict : whether a file that would be passed over is an error
    """
    provenance: dict[str, Any] = {"source": source.description}
    with group.agreed():
        images = TrainingImages(source)
        if strict:
            refuse_skipped(source.description, source.skipped)
    return fit_pyramid(
        images,
        settings,
        checkpoint=checkpoint,
        resume=resume,
        observer=observer,
        provenance=provenance,
        group=group,
    )


@dataclass(frozen=True)
class PyramidPacking:
    """How a source is packed.

    goal : what the collection is to come to; None takes bits at the model's own price
    effort : 0 to 9, of the search for better tokens
    refits : how often the model learns from the tokens of these very images, if it is theirs alone
    """

    goal: Goal | None
    effort: int
    refits: int = 0


def compress_with_pyramid(
    source: ImageSource,
    out: Path,
    model: PyramidModel,
    packing: PyramidPacking,
    *,
    labels: bool = True,
    max_mse: float | None = None,
    recovery: RecoverySpec | None = None,
    strict: bool = False,
    overwrite: bool = False,
    threads: int = 1,
    state: Path | None = None,
    resume: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> CompressReport:
    """Encode every image of `source` with `model` and write the archive `out`, whole or not at all.

    labels, max_mse, recovery, strict, threads : as for `compress_source`
    state, resume : where packing keeps how far it is, to go on from; it is removed once the archive is there
    progress : called with what is being done, how much of it is done, and of how much

    Raises what `compress_source` raises.
    """
    model.check_shape(source.image_shape, source.description, source.dtype)
    images = TrainingImages(source, model.scale)
    if strict:
        refuse_skipped(source.description, source.skipped)  # all images have been read, and the long work has not begun
    rounds = search_rounds(packing.effort, model.pyramid.shape)
    encoding = Encoding(
        model, images, packing.goal, rounds, progress, state, resume, lambda: 8.0 * bytes_besides_tokens(model.pyramid)
    )
    found = encoding.run(packing.refits)
    network = to_network(model.pyramid)
    tokens = global_tokens(model.pyramid, found.tokens, found.depths.numpy())
    prior = to_prior(model.pyramid, network, tokens)
    grid = model.pyramid.shape.canvas
    spec = ArchiveSpec(
        image_shape=source.image_shape,
        dtype=model.scale.dtype,
        token_grid=(1, TokenLayout(network, grid).tokens),
        codebook_size=network.codes,
        profile=model.settings.profile,
        class_names=source.class_names if labels else None,
        provenance=_provenance(model),
        max_mse=max_mse,
        recovery=recovery,
    )
    decoder = PyramidDecoder(network, grid)
    promise = None if max_mse is None else Promise(decoder, source.image_shape, max_mse, threads)
    with ArchiveWriter(out, spec, network, overwrite, threads, prior) as writer:
        done = 0
        for batch in source.batches(PIECE_IMAGES):
            own = tokens[done : done + len(batch)]
            corrections = None if promise is None else promise.corrections(batch.pixels, own)
            given = batch.labels if labels else None
            writer.append(own[:, None], given, batch.names, corrections, batch.fields)
            done += len(batch)
            progress("write", done, len(images))
        writer.commit()
    if state is not None:
        state.unlink(missing_ok=True)
    with open_archive(out) as archive:
        return CompressReport(archive.info(), tuple(source.skipped), encoding.missed(found))


def _provenance(model: PyramidModel) -> tuple[tuple[str, str], ...]:
    """Return what a person may want to know of the model, as pairs of strings."""
    known = model.provenance
    pairs = {
        "fitted_on": str(known.get("source", "unknown")),
        "fitted_images": str(known.get("images", "unknown")),
        "effort": str(model.settings.effort),
        "seed": str(model.settings.seed),
        "torch": str(known.get("torch", "unknown")),
    }
    return tuple(sorted(pairs.items()))

"""Pack images into an archive: the one function, and the one packer, behind every way to do so.

The residuals that bring every image within an error bound, measured on what a reader will decode.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.archive.collection.collection_info import CollectionInfo
from smalti.archive.read.reader import open_archive
from smalti.archive.recovery.reed_solomon import require_reedsolo
from smalti.archive.report import ArchiveInfo
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.codec.fit import checkpoint_path, fit, torch_threads
from smalti.codec.groups import model_for, pack_groups, unfitted
from smalti.codec.request import FitRequest, PackOptions
from smalti.errors import SourceError
from smalti.images.batch import Pixels, SkippedFile
from smalti.images.source import ImageSource, refuse_skipped, skipped_words
from smalti.residual.choice import ResidualEstimator, choose_residuals
from smalti.residual.residuals import Residuals, max_squared_error
from smalti.storage.atomic import check_output
from smalti.threads import default_threads
from smalti.training.observer import FitInterruptedError, Observer, SilentObserver, stop_if_asked
from smalti.training.training_kind import Encoded, EncodeRequest, FittedModel

__all__ = ["CompressReport", "Packer", "ResidualMaker", "pack"]


class ResidualMaker:
    """An error bound for images [n, H, W, C] of one shape and dtype.

    max_mse : mean squared error that each may have, of pixels scaled to 0..1
    decode : pixels of tokens by the exact decoder, with so many threads; their sides may be padded
    """

    def __init__(
        self,
        max_mse: float,
        image_shape: tuple[int, int, int],
        dtype: DTypeLike,
        decode: Callable[[NDArray[np.integer], int], Pixels],
        threads: int,
    ) -> None:
        kind = np.dtype(dtype)
        self._height, self._width, _ = image_shape
        self._max_sse = max_squared_error(max_mse, image_shape, kind)
        self._estimator = ResidualEstimator(kind)
        self._decode, self._threads = decode, threads

    def residuals(self, pixels: Pixels, tokens: NDArray[np.integer]) -> Residuals:
        """Return the residuals of images with tokens [n, h, w]."""
        base = self._decode(tokens, self._threads)[:, : self._height, : self._width]
        return choose_residuals(pixels, base, self._max_sse, self._estimator)


# was sibling import


@dataclass(frozen=True)
class CompressReport:
    """What packing made, and which files of the source it skipped.

    missed : which target was out of reach, in one line; None if none was
    """

    info: ArchiveInfo | CollectionInfo
    skipped: tuple[SkippedFile, ...]
    missed: str | None = None


def pack(
    sources: ImageSource | Sequence[ImageSource],
    out: Path,
    model: FittedModel | None = None,
    request: FitRequest | None = None,
    options: PackOptions | None = None,
    observer: Observer | None = None,
    *,
    resumable: bool = True,
) -> CompressReport:
    """Write the archive `out`, whole or not at all; a collection if there are images of several shapes.

    sources : one for each shape and dtype, as `open_groups` gives them
    model : what encodes them; None fits one on them, or several if no model can serve all shapes
    resumable : whether an interrupted run leaves OUT.checkpoint and OUT.packing, from which `request.resume` goes on

    Raises FitInterruptedError if the observer stops it, ModelError if the model does not take the images, SourceError
    if no image can be read, UsageError for what cannot be asked together, OutputExistsError, OutputError.
    """
    groups = list(sources) if isinstance(sources, Sequence) else [sources]
    request, options = request or FitRequest(), options or PackOptions()
    request.check_for(model, len(groups))
    if model is not None:
        model.check_request(request.encoding())
    if options.recovery is not None:
        require_reedsolo()
    check_output(out, options.overwrite)
    packer = Packer(request, options, observer or SilentObserver(), model, out, len(groups) > 1, resumable)
    try:
        if len(groups) > 1:
            report = pack_groups(groups, out, packer)
        else:
            report = packer.pack(groups[0], out, packer.model_for(groups[0]))
    except KeyboardInterrupt as interrupt:
        left = next((path for path in packer.kept(groups) if path.exists()), None)
        if left is None or isinstance(interrupt, FitInterruptedError):
            raise
        raise FitInterruptedError(left) from interrupt
    for path in packer.kept(groups):
        path.unlink(missing_ok=True)
    return report


@dataclass(frozen=True)
class Packer:
    """Fits and packs the images of one shape at a time.

    given : the model for all images; None fits one
    output : what states are named by    several : whether there are several shapes, each with states of its own name
    resumable : whether states are kept
    """

    request: FitRequest
    options: PackOptions
    observer: Observer
    given: FittedModel | None
    output: Path
    several: bool = False
    resumable: bool = True

    def model_for(self, source: ImageSource) -> FittedModel:
        """Return the given model, or one fitted on the source; ModelError if the given one does not take its images."""
        return self.fit(source) if self.given is None else model_for(source, [self.given]) or self.fit(source)

    def fit(self, source: ImageSource) -> FittedModel:
        """Fit a model on these images; ModelError if one was given, which does not take them."""
        if self.given is not None:
            raise unfitted(source, self.given)
        return fit(
            source,
            self.request,
            self.observer,
            checkpoint=self.states(source)[0] if self.resumable else None,
            strict=self.options.strict,
            threads=self.options.threads,
            beside=self.output,
        )

    def pack(self, source: ImageSource, out: Path, model: FittedModel) -> CompressReport:
        """Write the archive `out` with a model that takes these images."""
        threads = default_threads(self.options.threads)
        self.observer.on_stage("compress", stops=False)
        with torch_threads(threads):
            encoded = model.encode(source, self._encoding(source), self.observer)
            self._write(source, out, model, encoded, threads)
        with open_archive(out) as archive:
            return CompressReport(archive.info(), tuple(source.skipped), encoded.missed)

    def states(self, source: ImageSource) -> tuple[Path, Path]:
        """Return where a fit, and the choice of tokens, keep their state for a source."""
        place = self.output
        if self.several:
            shape = "x".join(map(str, source.image_shape))
            place = place.with_name(f"{place.name}.{shape}-{source.dtype.name}")
        return checkpoint_path(place), place.with_name(f"{place.name}.packing")

    def kept(self, groups: Sequence[ImageSource]) -> list[Path]:
        """Return all states that this run may leave: those of fits only if it fits."""
        if not self.resumable:
            return []
        return [path for group in groups for path in self.states(group)[0 if self.given is None else 1 :]]

    def _encoding(self, source: ImageSource) -> EncodeRequest:
        return replace(
            self.request.encoding(),
            fitted_here=self.given is None,
            strict=self.options.strict,
            checkpoint=self.states(source)[1] if self.resumable else None,
            beside=self.output,
        )

    def _write(self, source: ImageSource, out: Path, model: FittedModel, encoded: Encoded, threads: int) -> None:
        options = self.options
        spec = ArchiveSpec(
            image_shape=source.image_shape,
            dtype=model.scale.dtype,
            token_grid=encoded.token_grid,
            codebook_size=encoded.codebook_size,
            profile=model.settings.profile,
            class_names=source.class_names if options.labels else None,
            provenance=model.archive_provenance(),
            max_mse=options.max_mse,
            recovery=options.recovery,
        )
        bound = None
        if options.max_mse is not None:
            bound = ResidualMaker(options.max_mse, source.image_shape, spec.dtype, encoded.decode, threads)
        with ArchiveWriter(out, spec, encoded.network, options.overwrite, threads, encoded.prior) as writer:
            done = 0
            for batch, tokens in encoded.batches:
                residuals = None if bound is None else bound.residuals(batch.pixels, tokens)
                labels = batch.labels if options.labels else None
                writer.append(tokens, labels, batch.names, residuals, batch.fields)
                done += len(batch)
                self.observer.on_step("write", done, len(source))
                stop_if_asked(self.observer, None)
            if not done:
                raise SourceError(
                    f"{source.description}: no image could be read ({skipped_words(source.skipped)}); "
                    "nothing was written"
                )
            if options.strict:
                refuse_skipped(source.description, source.skipped)
            writer.commit()

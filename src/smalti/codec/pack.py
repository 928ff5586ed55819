"""Pack images into an archive: the one packer behind every function and command that makes archives.

Encoding is the model's work (`training`), the bytes are the writer's (`archive`). Residuals are measured on the pixels
that a reader will decode, so that the error bound holds for every reader. Layer: part of `codec`.
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
from smalti.codec.groups import model_for, pack_groups, wrong_model
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
    """Makes the residuals that keep images [n, H, W, C] of one shape and dtype within an error bound.

    max_mse : largest mean squared error of an image, of pixels scaled to 0..1
    decode : pixels of tokens, by the exact decoder and a number of threads; the sides may be padded
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


@dataclass(frozen=True)
class CompressReport:
    """The archive that was written, and the files of the source that were skipped.

    missed : the target that was out of reach, in one line; None if there was none
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

    sources : one for each shape and dtype, as `open_groups` returns them
    model : encodes the images; None fits a model on them, or several if one cannot take all shapes
    resumable : an interrupted run leaves OUT.checkpoint and OUT.packing, from which `request.resume` continues

    Raises FitInterruptedError if the observer stops the work, ModelError if the model does not take the images,
    SourceError if no image can be read, UsageError for settings that exclude each other, OutputExistsError,
    OutputError.
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
        left = next((path for path in packer.all_state_files(groups) if path.exists()), None)
        if left is None or isinstance(interrupt, FitInterruptedError):
            raise
        raise FitInterruptedError(left) from interrupt
    for path in packer.all_state_files(groups):
        path.unlink(missing_ok=True)
    return report


@dataclass(frozen=True)
class Packer:
    """Fits and packs the images of one shape at a time.

    given : the model for all images; None fits one
    output : the final archive, which names the state files
    several : there are several shapes, and each has state files of its own
    resumable : write state files
    """

    request: FitRequest
    options: PackOptions
    observer: Observer
    given: FittedModel | None
    output: Path
    several: bool = False
    resumable: bool = True

    def model_for(self, source: ImageSource) -> FittedModel:
        """Return the given model, or one that is fitted on the source. ModelError if the given one does not take it."""
        return self.fit(source) if self.given is None else model_for(source, [self.given]) or self.fit(source)

    def fit(self, source: ImageSource) -> FittedModel:
        """Fit a model on these images. ModelError if one was given, for it does not take them."""
        if self.given is not None:
            raise wrong_model(source, self.given)
        return fit(
            source,
            self.request,
            self.observer,
            checkpoint=self.state_files(source)[0] if self.resumable else None,
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

    def state_files(self, source: ImageSource) -> tuple[Path, Path]:
        """Return the files for the state of a fit, and of the choice of tokens, for a source."""
        base = self.output
        if self.several:
            shape = "x".join(map(str, source.image_shape))
            base = base.with_name(f"{base.name}.{shape}-{source.dtype.name}")
        return checkpoint_path(base), base.with_name(f"{base.name}.packing")

    def all_state_files(self, groups: Sequence[ImageSource]) -> list[Path]:
        """Return every state file that this run may leave; those of fits only if it fits."""
        if not self.resumable:
            return []
        return [path for group in groups for path in self.state_files(group)[0 if self.given is None else 1 :]]

    def _encoding(self, source: ImageSource) -> EncodeRequest:
        return replace(
            self.request.encoding(),
            fitted_here=self.given is None,
            strict=self.options.strict,
            checkpoint=self.state_files(source)[1] if self.resumable else None,
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

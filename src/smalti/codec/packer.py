"""Packing one group of images: fit or take a model, encode, write the archive, name the state files.

A group is the images of one shape and dtype (`ShapePacker`), or of one number of channels and dtype (`SizedPacker`).
Encoding is the model's work (`training`), the bytes are the writer's (`archive`). Residuals are measured on the pixels
that a reader will decode, so that the error bound holds for every reader. Layer: part of `codec`, used by `pack`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.archive.collection.collection_info import CollectionInfo
from smalti.archive.read.reader import open_archive
from smalti.archive.report import ArchiveInfo
from smalti.archive.write.sized_writer import SizedArchiveWriter, SizedSpec
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.codec.fit import checkpoint_path, fit, torch_threads
from smalti.codec.request import FitRequest, PackOptions
from smalti.errors import ModelError, SourceError
from smalti.images.batch import ImageBatch, Pixels, SkippedFile, shape_words
from smalti.images.signs import is_signed
from smalti.images.sized import as_sized
from smalti.images.source import ImageSource, SizedSource, refuse_skipped, skipped_words
from smalti.peers.comparison import PeerComparison, Sample
from smalti.residual.choice import ResidualEstimator, choose_residuals
from smalti.residual.residuals import Residuals, max_squared_error
from smalti.threads import default_threads
from smalti.training.observer import Observer, stop_if_asked
from smalti.training.training_kind import (
    REGION_PIXELS,
    AnyModel,
    AnySource,
    Encoded,
    EncodedCells,
    EncodeRequest,
    FittedModel,
    SizedModel,
    block_pixels,
    takes_signed,
)

__all__ = ["CompressReport", "Packer", "ResidualMaker", "ShapePacker", "SizedPacker"]

S = TypeVar("S", bound=AnySource)
M = TypeVar("M", bound=AnyModel)


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
    peers : what AVIF and JPEG XL take file by file; None if they were not asked
    found : by kind of file, how many files the source has, and how many images can be read from them; empty for arrays
        and archives
    """

    info: ArchiveInfo | CollectionInfo
    skipped: tuple[SkippedFile, ...]
    missed: str | None = None
    peers: PeerComparison | None = None
    found: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Packer(ABC, Generic[S, M]):
    """Fits and packs one group of images at a time; what differs between kinds of source is in its subclasses.

    given : the model for all images; None fits one
    output : the final archive, which names the state files
    several : there are several groups, and each has state files of its own
    resumable : write state files
    samples : takes a sample of the images of each group, in the order in which they are packed; None draws none
    """

    request: FitRequest
    options: PackOptions
    observer: Observer
    given: M | None
    output: Path
    several: bool = False
    resumable: bool = True
    samples: list[Sample] | None = None

    @abstractmethod
    def takes(self, model: M, source: S) -> bool:
        """Return whether a model can encode the images of a source."""

    @abstractmethod
    def refusal(self, model: M, source: S) -> ModelError:
        """Return the error for images that the given model does not take."""

    @abstractmethod
    def words(self, source: S) -> str:
        """Return what the images of a source are, in words."""

    @abstractmethod
    def values(self, source: S) -> int:
        """Return about how many pixels a source has."""

    @abstractmethod
    def pack(self, source: S, out: Path, model: M) -> CompressReport:
        """Write the archive `out` with a model that takes these images."""

    @abstractmethod
    def _state_name(self, source: S) -> str:
        """Return what names the state files of a source among those of others."""

    def model_for(self, source: S) -> M:
        """Return the given model, or one that is fitted on the source. ModelError if the given one does not take it."""
        return self.known_model(source, [] if self.given is None else [self.given]) or self.fit(source)

    def known_model(self, source: S, models: Sequence[M]) -> M | None:
        """Return the first model that takes the images of a source; None if there is none."""
        return next((model for model in models if self.takes(model, source)), None)

    def fit(self, source: S) -> M:
        """Fit a model on these images. ModelError if one was given, for it does not take them."""
        if self.given is not None:
            raise self.refusal(self.given, source)
        fitted = fit(
            source,
            self.request,
            self.observer,
            checkpoint=self.state_files(source)[0] if self.resumable else None,
            strict=self.options.strict,
            threads=self.options.threads,
            beside=self.output,
        )
        return cast(M, fitted)

    def state_files(self, source: S) -> tuple[Path, Path]:
        """Return the files for the state of a fit, and of the choice of tokens, for a source."""
        base = self.output
        if self.several:
            base = base.with_name(f"{base.name}.{self._state_name(source)}-{_dtype_name(source)}")
        return checkpoint_path(base), base.with_name(f"{base.name}.packing")

    def all_state_files(self, groups: Sequence[S]) -> list[Path]:
        """Return every state file that this run may leave; those of fits only if it fits."""
        if not self.resumable:
            return []
        return [path for group in groups for path in self.state_files(group)[0 if self.given is None else 1 :]]

    def _encoding(self, source: S) -> EncodeRequest:
        return replace(
            self.request.encoding(),
            fitted_here=self.given is None,
            strict=self.options.strict,
            checkpoint=self.state_files(source)[1] if self.resumable else None,
            beside=self.output,
        )

    def _sample(self, sizes: NDArray[np.int64]) -> Sample | None:
        """Return a new sample of images of these sizes, if samples are drawn."""
        if self.samples is None:
            return None
        self.samples.append(Sample(sizes))
        return self.samples[-1]

    def _written(self, source: S, done: int, batch: ImageBatch, sample: Sample | None) -> None:
        """Announce how many images are written, and draw from the last ones."""
        if sample is not None:
            sample.add(batch.pixels)
        self.observer.on_step("write", done, len(source))
        stop_if_asked(self.observer, None)

    def _check_written(self, source: S, done: int) -> None:
        """Raise SourceError if there was no image, or if a file was skipped that must not be."""
        if not done:
            raise SourceError(
                f"{source.description}: no image could be read ({skipped_words(source.skipped)}); nothing was written"
            )
        if self.options.strict:
            refuse_skipped(source.description, source.skipped)


class ShapePacker(Packer[ImageSource, FittedModel]):
    """Packs the images of one shape at a time."""

    def takes(self, model: FittedModel, source: ImageSource) -> bool:
        """Return whether a model can encode the images of a source."""
        return model.takes(source.image_shape, source.dtype) and takes_signed(model) == is_signed(source)

    def refusal(self, model: FittedModel, source: ImageSource) -> ModelError:
        """Return the error for images of another shape or dtype than the model's."""
        own, other = "int16" if takes_signed(model) else model.scale.dtype, _dtype_name(source)
        words = "" if own == other else f" ({other}, not {own})"
        return ModelError(
            f"the model takes images of {shape_words(model.image_shape)}, but {source.description} has "
            f"{len(source):,} of {shape_words(source.image_shape)}{words}; fit a model on such images, or leave "
            "--model out"
        )

    def words(self, source: ImageSource) -> str:
        """Return the shape and depth of the images."""
        return f"{shape_words(source.image_shape)}{_depth_words(source)}"

    def values(self, source: ImageSource) -> int:
        """Return how many pixels the source has."""
        height, width, _ = source.image_shape
        return height * width * len(source)

    def pack(self, source: ImageSource, out: Path, model: FittedModel) -> CompressReport:
        """Write the archive `out` with a model that takes these images."""
        threads = default_threads(self.options.threads)
        self.observer.on_stage("compress", stops=False)
        with torch_threads(threads):
            encoded = model.encode(source, self._encoding(source), self.observer)
            self._write(source, out, model, encoded, threads)
        with open_archive(out) as archive:
            return CompressReport(archive.info(), tuple(source.skipped), encoded.missed)

    def _state_name(self, source: ImageSource) -> str:
        return "x".join(map(str, source.image_shape))

    def _write(self, source: ImageSource, out: Path, model: FittedModel, encoded: Encoded, threads: int) -> None:
        options = self.options
        spec = ArchiveSpec(
            image_shape=source.image_shape,
            dtype="int16" if is_signed(source) else model.scale.dtype,
            token_grid=encoded.token_grid,
            codebook_size=encoded.codebook_size,
            profile=model.settings.profile,
            class_names=source.class_names if options.labels else None,
            provenance=model.archive_provenance(),
            max_mse=options.max_mse,
            block_images=options.block_images,
            recovery=options.recovery,
        )
        bound = None
        if options.max_mse is not None:
            bound = ResidualMaker(options.max_mse, source.image_shape, spec.decoded_type, encoded.decode, threads)
        with ArchiveWriter(out, spec, encoded.network, options.overwrite, threads, encoded.prior) as writer:
            done, sample = 0, self._sample(as_sized(source).sizes)
            for batch, tokens in encoded.batches:
                residuals = None if bound is None else bound.residuals(batch.pixels, tokens)
                labels = batch.labels if options.labels else None
                writer.append(tokens, labels, batch.names, residuals, batch.fields)
                done += len(batch)
                self._written(source, done, batch, sample)
            self._check_written(source, done)
            writer.commit()


class SizedPacker(Packer[SizedSource, SizedModel]):
    """Packs the images of one number of channels and one dtype at a time, whatever their sizes."""

    def takes(self, model: SizedModel, source: SizedSource) -> bool:
        """Return whether a model can encode the images of a source."""
        return (model.channels, model.scale.dtype, takes_signed(model)) == (
            source.channels,
            source.dtype.name,
            is_signed(source),
        )

    def refusal(self, model: SizedModel, source: SizedSource) -> ModelError:
        """Return the error for images of another number of channels or another depth than the model's."""
        depth = "" if model.scale.dtype == "uint8" else " of 16 bits, signed" if takes_signed(model) else " of 16 bits"
        own = f"{_channel_words(model.channels)}{depth}"
        return ModelError(
            f"the model takes images of {own}, but {source.description} has {len(source):,} of {self.words(source)}; "
            "fit a model on such images, or leave --model out"
        )

    def words(self, source: SizedSource) -> str:
        """Return the channels and depth of the images."""
        return f"{_channel_words(source.channels)}{_depth_words(source)}"

    def values(self, source: SizedSource) -> int:
        """Return how many pixels the source has."""
        return int(source.sizes.prod(1).sum())

    def pack(self, source: SizedSource, out: Path, model: SizedModel) -> CompressReport:
        """Write the archive `out` with a model that takes these images."""
        threads = default_threads(self.options.threads)
        self.observer.on_stage("compress", stops=False)
        with torch_threads(threads):
            encoded = model.encode(source, self._encoding(source), self.observer)
            self._write(source, out, model, encoded, threads)
        with open_archive(out) as archive:
            info = archive.info()
        goal = self.request.goal()
        most = None if goal is None else goal.archive_bytes
        missed = encoded.missed
        if most is not None and info.archive_bytes > most:
            missed = f"the archive takes {info.archive_bytes:,} bytes, more than {most:,}"
        return CompressReport(info, tuple(source.skipped), missed)

    def _state_name(self, source: SizedSource) -> str:
        return f"{source.channels}-channels"

    def _write(self, source: SizedSource, out: Path, model: SizedModel, encoded: EncodedCells, threads: int) -> None:
        options = self.options
        cell = encoded.model.cell
        block_cells = _block_cells(source.sizes, cell, options.block_images)
        spec = SizedSpec(
            profile=model.settings.profile,
            block_cells=block_cells,
            region=math.isqrt(min(REGION_PIXELS // cell**2, block_cells)),
            class_names=source.class_names if options.labels else None,
            provenance=model.archive_provenance(),
            recovery=options.recovery,
            signed=is_signed(source),
        )
        with SizedArchiveWriter(out, spec, encoded.model, encoded.prior, options.overwrite, threads) as writer:
            done, sample = 0, self._sample(source.sizes)
            for batch, tokens in encoded.batches:
                sizes = np.tile(np.array(batch.pixels.shape[1:3], np.int64), (len(batch), 1))
                labels = batch.labels if options.labels else None
                writer.append(tokens, sizes, labels, batch.names, batch.fields)
                done += len(batch)
                self._written(source, done, batch, sample)
            self._check_written(source, done)
            writer.commit()


def _block_cells(sizes: NDArray[np.int64], cell: int, images: int | None) -> int:
    """Return the most cells of a block.

    sizes : H and W of images, int64 [n, 2]    images : how many a block shall have; None for as many as usual

    Fewer images in a block cut none into regions that would be whole otherwise: tokens are chosen for those regions.
    """
    usual = block_pixels(cell) // cell**2
    if images is None:
        return usual
    cells = (-(-sizes // cell)).prod(1)
    return min(usual, max(round(images * float(cells.mean())), int(cells.max())))


def _channel_words(channels: int) -> str:
    return f"{channels} channel{'s' if channels > 1 else ''}"


def _depth_words(source: AnySource) -> str:
    return "" if source.dtype.itemsize == 1 else " of 16 bits, signed" if is_signed(source) else " of 16 bits"


def _dtype_name(source: AnySource) -> str:
    return "int16" if is_signed(source) else source.dtype.name

"""Pack images into an archive: the one way behind every function and command that makes archives.

`pack` takes a source for each shape, and `pack_any_size` one for each kind of pixel; `packer` does the work for one
source, `groups` for several. Layer: part of `codec`.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from smalti.archive.open import open_images
from smalti.archive.read.reader import Archive
from smalti.archive.recovery.reed_solomon import require_reedsolo
from smalti.buffers import keep_large_buffers
from smalti.codec.choice import PHOTO
from smalti.codec.groups import pack_groups
from smalti.codec.packer import CompressReport, Packer, ShapePacker, SizedPacker
from smalti.codec.request import FitRequest, PackOptions
from smalti.errors import UsageError
from smalti.images.batch import Pixels
from smalti.images.signs import to_unsigned, unsigned
from smalti.images.source import ImageSource, SizedSource
from smalti.peers.comparison import PeerComparison, Sample, compare_with_peers
from smalti.storage.atomic import check_output
from smalti.training.observer import FitInterruptedError, Observer, SilentObserver
from smalti.training.training_kind import AnyModel, AnySource, FittedModel, SizedModel

__all__ = ["CompressReport", "pack", "pack_any_size"]

S = TypeVar("S", bound=AnySource)
M = TypeVar("M", bound=AnyModel)


def pack(
    sources: ImageSource | Sequence[ImageSource],
    out: Path,
    model: FittedModel | None = None,
    request: FitRequest | None = None,
    options: PackOptions | None = None,
    observer: Observer | None = None,
    *,
    resumable: bool = True,
    compare: bool = False,
) -> CompressReport:
    """Write the archive `out`, whole or not at all; a collection if there are images of several shapes.

    sources : one for each shape and dtype, as `open_groups` returns them
    model : encodes the images; None fits a model on them, or several if one cannot take all shapes
    resumable : an interrupted run leaves OUT.checkpoint and OUT.packing, from which `request.resume` continues
    compare : measure other codecs on a sample afterwards, and warn if they are smaller

    Raises FitInterruptedError if the observer stops the work, ModelError if the model does not take the images,
    SourceError if no image can be read, UsageError for settings that exclude each other, OutputExistsError,
    OutputError.
    """
    groups = [unsigned(source) for source in (sources if isinstance(sources, Sequence) else [sources])]
    request, options = request or FitRequest(), options or PackOptions()
    if model is None:
        request = request.without_choice()
    samples: list[Sample] | None = [] if compare else None
    watcher = observer or SilentObserver()
    packer = ShapePacker(request, options, watcher, model, out, len(groups) > 1, resumable, samples)
    return _packed(packer, groups, out)


def pack_any_size(
    sources: SizedSource | Sequence[SizedSource],
    out: Path,
    model: SizedModel | None = None,
    request: FitRequest | None = None,
    options: PackOptions | None = None,
    observer: Observer | None = None,
    *,
    resumable: bool = True,
    compare: bool = False,
) -> CompressReport:
    """Write the archive `out` of images of any sizes; a collection if there are several kinds of pixel.

    sources : one for each number of channels and dtype, as `open_any_size` returns them
    model : takes images of all sizes; None fits one for each source, by the profile of the request

    The rest is as for `pack`.
    """
    groups = [unsigned(source) for source in (sources if isinstance(sources, Sequence) else [sources])]
    request, options = request or FitRequest(profile=PHOTO), options or PackOptions()
    if options.max_mse is not None:
        raise UsageError(
            "an error bound of each image (--max-mse) is for images of one shape: leave it out, or take --profile "
            "paper, compact or fine"
        )
    samples: list[Sample] | None = [] if compare else None
    watcher = observer or SilentObserver()
    packer = SizedPacker(request, options, watcher, model, out, len(groups) > 1, resumable, samples)
    return _packed(packer, groups, out)


def _packed(packer: "Packer[S, M]", groups: Sequence[S], out: Path) -> CompressReport:
    """Write the archive `out` with a packer. The state files of an interruption stay, all others are removed."""
    given, options = packer.given, packer.options
    packer.request.check_for(given, len(groups))
    if given is not None:
        given.check_request(packer.request.encoding())
    if options.recovery is not None:
        require_reedsolo()
    check_output(out, options.overwrite)
    keep_large_buffers()
    try:
        if len(groups) > 1:
            report = pack_groups(groups, out, packer)
        else:
            report = packer.pack(groups[0], out, packer.model_for(groups[0]))
    except KeyboardInterrupt as interrupt:
        left = [path for path in packer.all_state_files(groups) if path.exists()]
        if not left:
            raise
        own = interrupt.checkpoint if isinstance(interrupt, FitInterruptedError) else None
        raise FitInterruptedError(own or left[0], left) from interrupt
    for path in packer.all_state_files(groups):
        path.unlink(missing_ok=True)
    if packer.samples is None:
        return report
    return replace(report, peers=_compared(packer.samples, out, packer.observer))


def _compared(samples: Sequence[Sample], out: Path, observer: Observer) -> PeerComparison | None:
    """Measure other codecs beside an archive, and tell the user. None if the user stops it: the archive is whole."""
    observer.on_stage("compare", stops=False)
    try:
        with open_images(out) as archive:
            numbers = range(len(samples))
            members = [archive] if isinstance(archive, Archive) else map(archive.members.__getitem__, numbers)
            parts = [(sample, _decoded(member, sample)) for sample, member in zip(samples, members, strict=True)]
            size = archive.info().archive_bytes
        found = compare_with_peers(parts, size, partial(observer.on_step, "compare"))
    except KeyboardInterrupt:
        observer.on_message("not compared with other codecs: interrupted; the archive is complete")
        return None
    (observer.on_warning if found.smaller else observer.on_message)(found.sentence())
    return found


def _decoded(archive: Archive, sample: Sample) -> list[Pixels]:
    """Decode the images of a sample: [H, W, C] each."""
    found: list[Pixels] = []
    for number in sample.numbers:
        height, width, channels = archive.shape_of(number)
        rows, columns = sample.window(height, width)
        pixels = to_unsigned(archive.region(number, rows, columns))
        found.append(pixels.reshape(*pixels.shape[:2], channels))
    return found

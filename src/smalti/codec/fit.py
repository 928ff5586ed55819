"""Fit a model of any kind on a source of images, with a checkpoint from which an interrupted fit is resumed.

`training` knows how a kind of model learns; this module opens sources and writes files. Layer: part of `codec`.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

import torch

from smalti.buffers import keep_large_buffers
from smalti.codec.choice import AUTO, ImageFacts, choose_profile
from smalti.codec.request import FitRequest
from smalti.errors import UsageError
from smalti.images.batch import SkippedFile
from smalti.images.signs import is_signed, unsigned
from smalti.images.source import ImageSource, SizedSource
from smalti.sources.local_files import local_files
from smalti.sources.open import OpenedImages, open_images_of
from smalti.storage.atomic import atomic_file, check_output, refuse_input, writing
from smalti.threads import threads_of_rank
from smalti.training.common.distributed import ALONE, ProcessGroup
from smalti.training.kinds import kind_of_profile
from smalti.training.observer import Observer, SilentObserver
from smalti.training.reports import Report
from smalti.training.training_kind import (
    AnyModel,
    AnySource,
    FitOptions,
    FittedSettings,
    SizedTrainingKind,
    TrainingKind,
    note_signed,
)

__all__ = ["FitReport", "checkpoint_path", "decide", "fit", "fit_file", "fit_source", "torch_threads"]


@dataclass(frozen=True)
class FitReport:
    """A model that was fitted and written.

    model_file_bytes : size of the model file
    skipped : files of the source that could not be read
    """

    model: AnyModel
    model_file_bytes: int
    skipped: tuple[SkippedFile, ...]


def fit_file(
    images: object,
    out: Path,
    request: FitRequest | None = None,
    observer: Observer | None = None,
    *,
    validation: object | None = None,
    strict: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    group: ProcessGroup = ALONE,
) -> FitReport | None:
    """Fit a model on images and write it to `out`; figures are written to OUT.log.json while the fit runs.

    images : as `open_source` takes them
    validation : images that each epoch is measured on, likewise; None for the test part of a named set whose train part
        is fitted, else some of the images
    strict : raise an error for a file that cannot be read
    overwrite : replace `out` if it exists
    threads : None for all cores, or for this rank's share of them
    group : the ranks that fit together; all but rank 0 return None

    An interrupted fit leaves OUT.checkpoint, from which `request.resume` continues. Raises FitInterruptedError,
    SourceError, UsageError, ModelError, OutputError, OutputExistsError.
    """
    request, observer = request or FitRequest(), observer or SilentObserver()
    with group.agreed():
        if group.is_main:
            check_output(out, overwrite)
            refuse_input(out, chain(local_files(images), local_files(validation)))
        if validation is not None:
            request = request.without_choice()
            if not request.kind.takes_validation:
                raise UsageError("--validation is for the profile paper")
    opened = _open_on_all(images, out, observer, group)
    with group.agreed():
        if request.is_auto:
            request = decide(request, [opened.usual_any_size()], observer if group.is_main else SilentObserver())
        source: AnySource = opened.usual_any_size() if request.kind.any_size else opened.usual()
    measured = None if validation is None else _open_on_all(validation, out, observer, group).usual()
    model = fit(
        source,
        request,
        _LogWriter(observer, out.with_name(f"{out.name}.log.json")) if group.is_main else observer,
        validation=measured,
        checkpoint=checkpoint_path(out),
        group=group,
        strict=strict,
        threads=threads,
        beside=out,
    )
    with group.agreed():
        if group.is_main:
            model.save(out)
            checkpoint_path(out).unlink(missing_ok=True)
    return FitReport(model, out.stat().st_size, tuple(source.skipped)) if group.is_main else None


def decide(request: FitRequest, sources: Sequence[SizedSource], observer: Observer) -> FitRequest:
    """Return a request whose profile is chosen by the images, and tell the user what was chosen and why."""
    decided = request.decided(AUTO)
    goal = decided.goal()
    assert goal is not None
    choice = choose_profile(ImageFacts.of(sources), goal)
    observer.on_message(choice.sentence())
    return decided.decided(choice.profile)


def fit(
    source: AnySource,
    request: FitRequest | None = None,
    observer: Observer | None = None,
    *,
    validation: ImageSource | None = None,
    checkpoint: Path | None = None,
    group: ProcessGroup = ALONE,
    strict: bool = False,
    threads: int | None = None,
    beside: Path | None = None,
) -> AnyModel:
    """Fit a model with the settings of `request` on every image of `source`.

    source : an ImageSource, or a SizedSource if the profile takes images of all sizes
    checkpoint : the file for the state of an interrupted fit. An old one is replaced, unless `request.resume` is set;
        the caller removes it once the model is saved
    beside : the output; temporary data lies in its folder. None for the system's temporary folder

    The rest is as for `fit_file`.
    """
    request, observer = request or FitRequest(), observer or SilentObserver()
    settings = request.settings()
    if group.is_main and checkpoint is not None:
        _prepare(checkpoint, request.resume, observer)
    keep_large_buffers()
    with torch_threads(threads_of_rank(threads)):
        return fit_source(
            source,
            settings,
            validation=validation,
            device=request.device,
            checkpoint=checkpoint,
            resume=request.resume,
            observer=observer,
            group=group,
            strict=strict,
            beside=beside,
        )


def fit_source(
    source: AnySource,
    settings: FittedSettings,
    *,
    validation: ImageSource | None = None,
    device: str = "cpu",
    checkpoint: Path | None = None,
    resume: bool = False,
    observer: Observer | None = None,
    group: ProcessGroup = ALONE,
    strict: bool = False,
    beside: Path | None = None,
) -> AnyModel:
    """Fit a model with settings of any kind on every image of `source`. The rest is as for `fit`, with threads as set.

    Raises SourceError if the validation images have another shape.
    """
    observer = observer or SilentObserver()
    validation = None if validation is None else unsigned(validation)
    options = FitOptions(validation, device, checkpoint, resume, strict, group, beside)
    observer.on_stage(f"fit {settings.profile}", stops=True)
    kind = kind_of_profile(settings.profile)
    model: AnyModel
    if kind.any_size:
        model = cast(SizedTrainingKind, kind).fit(unsigned(cast(SizedSource, source)), settings, options, observer)
    else:
        model = cast(TrainingKind, kind).fit(unsigned(cast(ImageSource, source)), settings, options, observer)
    if is_signed(source):
        note_signed(model)
    return model


def checkpoint_path(out: Path) -> Path:
    """Return the file that holds the state of a fit for `out` while it runs."""
    return out.with_name(f"{out.name}.checkpoint")


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Set the number of PyTorch's threads within the block, and restore it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _prepare(checkpoint: Path, resume: bool, observer: Observer) -> None:
    """Remove the checkpoint of an earlier fit unless it is resumed, and say so."""
    if checkpoint.exists() and not resume:
        observer.on_warning(
            f"{checkpoint} of an interrupted fit exists and will be replaced; --resume would continue from it"
        )
        checkpoint.unlink()
    elif resume and not checkpoint.exists():
        observer.on_warning(f"there is no checkpoint {checkpoint} to resume from; fitting from the start")


def _open_on_all(images: Any, out: Path, observer: Observer, group: ProcessGroup) -> OpenedImages:
    """Open images on every rank, on rank 0 first: then the others find its downloads in the cache of the machine."""
    opened: OpenedImages | None = None
    for turn in (True, False):
        with group.agreed():
            if turn == group.is_main:
                opened = open_images_of(images, report=observer.on_message, spool_beside=out)
    assert opened is not None  # every rank opens in one of both turns
    return opened


class _LogWriter:
    """An observer that also writes the figures of a fit, as a JSON list with one object for each epoch or report."""

    def __init__(self, observer: Observer, log: Path) -> None:
        self._observer, self._log = observer, log
        self.on_stage, self.on_step = observer.on_stage, observer.on_step
        self.on_message, self.on_warning = observer.on_message, observer.on_warning
        self.should_stop = observer.should_stop

    def on_report(self, report: Report, history: list[dict[str, Any]]) -> None:
        """Write the history, then pass the report on."""
        with atomic_file(self._log, overwrite=True) as file, writing(self._log):
            file.write(f"{json.dumps(history, indent=2)}\n".encode())
        self._observer.on_report(report, history)

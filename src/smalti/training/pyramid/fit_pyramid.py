"""The training loop of the profiles `compact` and `fine`: batches in a fixed order, checkpoints, reports.

A fit can stop at any step and resume without a change of the result. `learner_state` is the state in a checkpoint.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from smalti.errors import ModelError
from smalti.training.common.distributed import ALONE, ProcessGroup
from smalti.training.common.tensors import (
    State,
    adam_states,
    adam_tensors,
    read_checkpoint,
    with_prefix,
    without_prefix,
    write_tensors,
)
from smalti.training.common.training_images import TrainingImages, check_equal, check_same_images
from smalti.training.observer import FitInterruptedError, Observer, SilentObserver
from smalti.training.pyramid.build import BATCH_IMAGES, FitSize, choose_size, make_learner, search_rounds
from smalti.training.pyramid.encoding import Encoding
from smalti.training.pyramid.export import overhead_bytes
from smalti.training.pyramid.learner import Learner
from smalti.training.pyramid.pyramid_model import PyramidModel
from smalti.training.pyramid.pyramid_settings import EFFORTS, PyramidSettings
from smalti.training.reports import PyramidReport
from smalti.version import __version__

__all__ = ["fit_pyramid", "learner_state", "restore_learner"]


def learner_state(learner: Learner) -> State:
    """Return the state of a learner: tensors by name, and the remaining numbers as JSON."""
    tensors = with_prefix("encoder.", learner.encoder.state_dict())
    tensors |= with_prefix("pyramid.", learner.pyramid.state_dict()) | adam_tensors(learner.optimizer)
    for level, total in enumerate(learner.totals):
        tensors[f"counts.{level}"], tensors[f"sums.{level}"] = learner.counts[level], learner.sums[level]
        tensors[f"used.{level}"], tensors[f"spared.{level}"] = total.count, total.spared
        tensors[f"distortion.{level}"] = total.distortion
    for scale, weight in enumerate(learner.weights):
        tensors[f"weight.{scale}"] = weight
    numbers = {
        "done": learner.done,
        "copies": learner.copies,
        "trade_off": learner.trade_off.state(),
        "whole": learner.pyramid.whole,
        "codes": [len(codes) for codes in learner.pyramid.codes],
        "highest": [group["highest"] for group in learner.optimizer.param_groups],
        "totalled": [total.images for total in learner.totals],
    }
    return tensors, numbers


def restore_learner(learner: Learner, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    """Put a state into a learner with the same settings; KeyError or RuntimeError if the state is another learner's."""
    pyramid = learner.pyramid
    for level, codes in enumerate(numbers["codes"]):
        pyramid.codes[level] = nn.Parameter(torch.zeros(codes, pyramid.forms[level].channels))
        pyramid.prior(level).select(torch.zeros(codes, dtype=torch.int64), torch.zeros(codes))
    if numbers["whole"]:
        pyramid.set_whole()
    learner.encoder.load_state_dict(without_prefix("encoder.", tensors))
    pyramid.load_state_dict(without_prefix("pyramid.", tensors))
    learner.done = int(numbers["done"])
    learner.copies = bool(numbers.get("copies", False))  # checkpoints of older releases lack the entry
    learner.trade_off.restore(numbers["trade_off"])
    learner.weights = [tensors[f"weight.{scale}"] for scale in range(pyramid.scales)]
    learner.renew_optimizer()
    groups = learner.optimizer.state_dict()["param_groups"]
    learner.optimizer.load_state_dict({"state": adam_states(tensors), "param_groups": groups})
    for parameter, state in learner.optimizer.state.items():  # moments get the memory layout of their parameter
        for key, value in state.items():
            if value.shape == parameter.shape:
                state[key] = torch.empty_like(parameter).copy_(value)
    for group, highest in zip(learner.optimizer.param_groups, numbers["highest"], strict=True):
        group["highest"] = float(highest)
    for level, total in enumerate(learner.totals):
        learner.counts[level], learner.sums[level] = tensors[f"counts.{level}"], tensors[f"sums.{level}"]
        total.count, total.spared = tensors[f"used.{level}"], tensors[f"spared.{level}"]
        total.distortion, total.images = tensors[f"distortion.{level}"], int(numbers["totalled"][level])


CHECKPOINT_FORMAT = "smalti-pyramid-checkpoint"
CHECKPOINT_SECONDS = 60
SETTLING_IMAGES, SETTLING_BATCH = 8_192, 512
REPORTS = 20
"""Number of reports of a fit."""

REFINING = {
    "encode": "refining: choose tokens",
    "search": "refining: search for better tokens",
    "refit": "refining: decoder and prior learn from the tokens",
}


def fit_pyramid(
    images: TrainingImages,
    settings: PyramidSettings,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    observer: Observer | None = None,
    provenance: dict[str, Any] | None = None,
    group: ProcessGroup = ALONE,
) -> PyramidModel:
    """Fit a pyramid.

    checkpoint : file for the state: written every minute, on interruption and at the end. The caller removes it once
        the model is safe
    resume : whether to continue from the checkpoint, if it exists
    group : the ranks that fit together, as for `smalti.training.paper.fit_grid.fit`

    On one machine, with equal numbers of threads and ranks, equal arguments give equal weights, interrupted or not.
    Raises FitInterruptedError, on all ranks, when the observer of any asks to stop; SourceError if ranks have different
    images, ModelError if they end with different weights, RankError if one of them fails.
    """
    check_same_images(images, group)
    size = choose_size(images, settings)
    if len(set(group.texts(repr(size)))) > 1:
        raise ModelError("the ranks would fit networks of different sizes; fit on machines of one kind")
    loop = _PyramidLoop(images, settings, size, checkpoint, group)
    if resume and checkpoint is not None:
        loop.load(checkpoint)
    observer = observer or SilentObserver()
    loop.run(observer)
    model = _refined(loop.model(provenance or {}), images, checkpoint, resume, observer, group)
    check_equal({**model.encoder.state_dict(), **model.pyramid.state_dict()}, group)
    return model


def _refined(
    model: PyramidModel,
    images: TrainingImages,
    checkpoint: Path | None,
    resume: bool,
    observer: Observer,
    group: ProcessGroup,
) -> PyramidModel:
    """Let decoder, codes and priors learn from the tokens that the search finds for the images of the fit."""
    state = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}.tokens")
    if state is not None and not resume and group.is_main:
        state.unlink(missing_ok=True)
    effort, shape = model.settings.effort, model.pyramid.shape
    refits = EFFORTS[effort].refits
    if not refits or not model.settings.rate_aware:
        return model

    announced = ""

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal announced
        if stage != announced and stage in REFINING:
            announced = stage
            observer.on_message(REFINING[stage])
        observer.on_step(stage, done, total)
        if group.any(observer.should_stop()):
            raise FitInterruptedError(checkpoint)

    encoding = Encoding(
        model,
        images,
        model.settings.goal,
        search_rounds(effort, shape),
        progress,
        state,
        resume,
        lambda: 8.0 * overhead_bytes(model.pyramid),
        group,
        checkpoint,
    )
    encoding.refine(refits)
    if state is not None and group.is_main:
        state.unlink(missing_ok=True)
    return replace(model, price=encoding.price)


class _PyramidLoop:
    """The state of a fit: a learner, its images, and the measures so far."""

    def __init__(
        self,
        images: TrainingImages,
        settings: PyramidSettings,
        size: FitSize,
        checkpoint: Path | None,
        group: ProcessGroup,
    ) -> None:
        self._group = group
        self._images, self._settings, self._size, self._checkpoint = images, settings, size, checkpoint
        self.learner: Learner = make_learner(images, settings, size, group)
        self.history: list[dict[str, Any]] = []
        self._sums = [0.0, 0.0, 0.0]
        self._seconds = 0.0

    def run(self, observer: Observer) -> None:
        """Do the remaining steps."""
        steps, per_epoch = self._size.steps, self._images.steps_per_epoch(BATCH_IMAGES)
        started = saved = time.monotonic()
        while self.learner.done < steps:
            epoch, first = divmod(self.learner.done, per_epoch)
            batches = self._images.epoch(BATCH_IMAGES, self._settings.seed, epoch, first, self._group)
            for number, batch in enumerate(batches, first):
                measured = self.learner.step(batch, self._images.batch_size(BATCH_IMAGES, number))
                self._sums = [self._sums[0] + measured.sse, self._sums[1] + measured.bits, self._sums[2] + 1]
                done, now = self.learner.done, time.monotonic()
                observer.on_step("fit", done, steps)
                if done % max(1, steps // REPORTS) == 0 or done == steps:
                    self._report(observer, self._seconds + now - started)
                stop = self._group.any(observer.should_stop()) and done < steps
                if self._checkpoint is not None and (stop or done == steps or now - saved > CHECKPOINT_SECONDS):
                    self._save(self._seconds + now - started)
                    saved = now
                if stop:
                    self._group.barrier()  # when one rank ends, torchrun stops the one that writes the checkpoint
                    raise FitInterruptedError(self._checkpoint)
                if done == steps:
                    break
        self._seconds += time.monotonic() - started

    def model(self, provenance: dict[str, Any]) -> PyramidModel:
        """Return the fitted model."""
        facts: dict[str, Any] = {
            "smalti": __version__,
            "torch": torch.__version__,
            "images": len(self._images),
        }
        if self._group.size > 1:
            facts["ranks"] = self._group.size
        learner = self.learner
        learner.encoder.settle(self._images.batch(self._group.part(rows)) for rows in self._settling_rows())
        learner.encoder.share(ALONE)
        learner.pyramid.ensure_two_codes()
        learner.pyramid.eval()
        return PyramidModel(
            learner.encoder,
            learner.pyramid,
            [weight.clone() for weight in learner.weights],
            learner.trade_off.price,
            self._size.levels,
            self._settings,
            {**facts, **provenance},
            self.history,
        )

    def _settling_rows(self) -> list[NDArray[np.int64]]:
        """Return the indices of evenly spaced images, in batches."""
        count = min(len(self._images), SETTLING_IMAGES)
        rows = np.linspace(0, len(self._images) - 1, count).astype(np.int64)
        return np.array_split(rows, -(-count // SETTLING_BATCH))

    def _report(self, observer: Observer, seconds: float) -> None:
        sse, bits, count = self._sums
        self._sums = [0.0, 0.0, 0.0]
        pyramid = self.learner.pyramid
        height, width, channels = self._images.image_shape
        report = PyramidReport(
            self.learner.done,
            self._images.scale.true_mse(sse / count / (height * width * channels)),
            bits / count,
            self.learner.trade_off.price,
            tuple(len(codes) for codes in pyramid.codes),
            round(float(pyramid.weight_bits().detach()) / 8),
            pyramid.whole,
            round(seconds, 1),
        )
        self.history.append(report.to_json())
        observer.on_report(report, self.history)

    def _save(self, seconds: float) -> None:
        assert self._checkpoint is not None
        if not self._group.is_main:
            return
        tensors, numbers = learner_state(self.learner)
        description = {
            "format": CHECKPOINT_FORMAT,
            "settings": self._settings.to_json(),
            "fingerprint": self._images.fingerprint,
            "learner": numbers,
            "history": self.history,
            "sums": self._sums,
            "seconds": seconds,
        }
        write_tensors(self._checkpoint, tensors, description)

    def load(self, path: Path) -> None:
        """Continue from the checkpoint, if rank 0 has it; ModelError if it has other settings or images."""
        stored = self._group.from_main(lambda: read_checkpoint(path) if path.exists() else None)
        if stored is not None:
            with self._group.agreed():
                self._restore(path, *stored)

    def _restore(self, path: Path, tensors: dict[str, Tensor], found: dict[str, Any]) -> None:
        if found.get("format") != CHECKPOINT_FORMAT:
            raise ModelError(f"{path} is no checkpoint of such a fit; remove it to start anew")
        if PyramidSettings.from_json(found["settings"]) != self._settings:
            raise ModelError(f"{path} is of a fit with other settings; give the same ones, or remove it to start anew")
        if found["fingerprint"] != self._images.fingerprint:
            raise ModelError(f"{path} is of a fit on other images; give the same source, or remove it to start anew")
        try:
            restore_learner(self.learner, tensors, found["learner"])
            self.history, self._sums = list(found["history"]), list(found["sums"])
            self._seconds = float(found["seconds"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"{path} is damaged, or of another release; remove it to start anew") from error

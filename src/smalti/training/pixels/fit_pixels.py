"""The fit of a pixel prior: steps on random crops, first on the nearest levels, then on those that packing chooses.

A fit can be stopped at any step and resumed with the same result.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from smalti.decoders.pixels.mixture_prior import MixturePrior
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_prior import PixelPrior
from smalti.errors import ModelError
from smalti.images.batch import Pixels
from smalti.training.cells.samples import Samples, seen_weights
from smalti.training.cells.sized_fits import Effort
from smalti.training.common.tensors import (
    adam_states,
    adam_tensors,
    read_checkpoint,
    with_prefix,
    without_prefix,
    write_tensors,
)
from smalti.training.observer import FitInterruptedError, Observer, stop_if_asked
from smalti.training.pixels.learned_mixture import LearnedMixture
from smalti.training.pixels.learned_pixels import LearnedPixels
from smalti.training.pixels.level_choice import choose_levels
from smalti.training.pixels.levels import Levels
from smalti.training.pixels.pixel_settings import PixelSettings

__all__ = ["PixelFit"]

WARM_UP_STEPS = 50
LAST_SHARE = 0.02
LARGEST_GRADIENT = 1.0

_POOL = 96
"""Batches whose levels are chosen; the last steps go through them again and again."""

_TOGETHER = 8
"""Batches whose levels are chosen at once."""

_CALIBRATED = 8
"""Activations are measured on so many times the pixels of a step."""

_CHECKED_STEPS = 50
CHECKPOINT_STEPS = 100
CHECKPOINT_FORMAT = "smalti-pixels-checkpoint"


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Crops: samples [n, h, w, C]."""

    pixels: Pixels

    @property
    def grids(self) -> NDArray[np.int64]:
        """Rows and columns of each."""
        return np.array([self.pixels.shape[1:3]] * len(self.pixels), np.int64)


class PixelFit:
    """A fit, step by step.

    learned : begins at random    samples : crops are drawn from them    model : the levels
    price : of a bit, for samples in [0, 1]; with 0 there is no choice of levels
    settings : a checkpoint is refused if its settings are others
    """

    def __init__(
        self,
        learned: LearnedPixels | LearnedMixture,
        samples: Samples,
        levels: Levels,
        model: PixelModel,
        price: float,
        work: Effort,
        settings: PixelSettings,
        device: str = "cpu",
    ) -> None:
        self.learned, self._samples, self._levels, self._model = learned.to(device), samples, levels, model
        self.price, self._work, self._settings, self._device = price, work, settings, device
        self._facts = {
            "settings": settings.to_json(),
            "images": samples.fingerprint(),
            "shape": learned.shape.to_json(),
        }
        self._plain = work.steps
        self._steps = work.steps + (work.tuning if price > 0 else 0)
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self._optimizer = torch.optim.Adam(
            [p for p in learned.parameters() if p.requires_grad], learned.rate, (0.9, 0.99), fused=True
        )
        self._chooser: dict[str, Tensor] | None = None
        self._pool: list[Tensor] = []

    def run(self, observer: Observer, checkpoint: Path | None) -> None:
        """Do the steps that are left. Raises FitInterruptedError."""
        while self.step < self._steps:
            try:
                bits = self._advance(observer)
            except FitInterruptedError as error:  # while levels are chosen
                if checkpoint is not None:
                    self.save(checkpoint)
                raise FitInterruptedError(checkpoint) from error
            self.step += 1
            observer.on_step("fit", self.step, self._steps)
            if self.step % _CHECKED_STEPS == 0 or self.step == self._steps:
                self.history.append({"step": self.step, "bits_per_pixel": bits})
            stops = observer.should_stop()
            due = self.step % CHECKPOINT_STEPS == 0 or self.step == self._steps
            if checkpoint is not None and (stops or due):
                self.save(checkpoint)
            if stops:
                raise FitInterruptedError(checkpoint)

    @torch.no_grad()
    def prior(self) -> PixelPrior | MixturePrior:
        """The integers of the network, as it is."""
        sample = self._nearest(self._draw(2, 0, _CALIBRATED)).to(self._device)
        return self.learned.eval().prior(sample, self._model)

    def chosen(self, prior: PixelPrior, numbers: Sequence[int]) -> tuple[list[Tensor], float]:
        """The levels int64 [n, C, h, w], in coding order, that packing chooses for some crops of each number.

        Also their mean squared error. Waves go over all of them at once, which is faster than one after the other.
        """
        drawn = [self._draw(1, number) for number in numbers]
        channels, width = self._model.channels, self._samples.scale.high - self._samples.scale.low
        samples = np.concatenate([each.pixels.reshape(-1, channels) for each in drawn])
        counted = [seen_weights(each.pixels) for each in drawn]
        weights = [each.reshape(-1, channels) for each in counted if each is not None]
        flat = np.concatenate(weights) if weights else None
        grids = np.concatenate([each.grids for each in drawn])
        found, _ = choose_levels(prior, samples, flat, grids, self.price * width**2)
        values = np.stack([own[found[:, c]] for c, own in enumerate(self._model.levels)], 1)
        squares = np.square((values - samples) / width)
        seen = len(samples) if flat is None else max(1, int((samples[:, -1] > 0).sum()))
        error = float((squares if flat is None else squares * flat).sum()) / (seen * channels)
        parts = np.split(found, np.cumsum([each.pixels[..., 0].size for each in drawn])[:-1])
        batches = [self._in_order(part.reshape(each.pixels.shape)) for part, each in zip(parts, drawn, strict=True)]
        return batches, error

    def save(self, path: Path) -> None:
        """Write the state of the fit."""
        tensors = {**with_prefix("learned.", dict(self.learned.state_dict())), **adam_tensors(self._optimizer)}
        if self._chooser is not None:
            tensors |= with_prefix("chooser.", self._chooser)
        state = {"step": self.step, "history": self.history, "chooses": self._chooser is not None}
        write_tensors(path, tensors, {"format": CHECKPOINT_FORMAT, "facts": self._facts, **state})

    def restore(self, path: Path) -> None:
        """Continue from the state of `save`; ModelError if it cannot be read, or is of other settings or images."""
        tensors, state = read_checkpoint(path)
        if state.get("format") != CHECKPOINT_FORMAT:
            raise ModelError(f"{path} is no checkpoint of such a fit; remove it to start anew")
        found, own = state.get("facts", {}), json.loads(json.dumps(self._facts))
        for fact, words in (("settings", "with other settings"), ("images", "on other images")):
            if found.get(fact) != own[fact]:
                raise ModelError(f"{path} is of a fit {words}; give the same ones, or remove it to start anew")
        if found.get("shape") != own["shape"]:
            raise ModelError(f"{path} is of another release; remove it to start anew")
        try:
            self.learned.load_state_dict(without_prefix("learned.", tensors))
            groups = self._optimizer.state_dict()["param_groups"]
            self._optimizer.load_state_dict({"state": adam_states(tensors), "param_groups": groups})
            self.step, self.history = state["step"], state["history"]
            self._chooser = without_prefix("chooser.", tensors) if state["chooses"] else None
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"{path} is damaged, or of another release; remove it to start anew") from error

    def _advance(self, observer: Observer) -> float:
        """One step: returns its bits for a pixel."""
        for part in self._optimizer.param_groups:
            part["lr"] = self.learned.rate * self._rate()
        levels = self._batch(observer).to(self._device)
        bits = self._bits(levels)
        pixels = levels[:, 0].numel()
        self.learned.train()
        self._optimizer.zero_grad()
        (bits / pixels).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.learned.parameters(), LARGEST_GRADIENT)
        self._optimizer.step()
        return float(bits.detach()) / pixels

    def _bits(self, levels: Tensor) -> Tensor:
        """The bits of levels int64 [n, C, h, w], in coding order."""
        shown = None
        if self._model.hides:
            shown = torch.from_numpy(self._model.levels[-1]).to(levels.device)[levels[:, 0]] > 0
        return self.learned.bits(levels, shown)

    def _batch(self, observer: Observer) -> Tensor:
        """The levels of a step."""
        if self.step < self._plain:
            return self._nearest(self._draw(0, self.step))
        if not self._pool:
            self._fill(observer)
        return self._pool[self.step % len(self._pool)]

    def _fill(self, observer: Observer) -> None:
        """Choose the levels that the last steps learn from."""
        now = {name: value.clone() for name, value in self.learned.state_dict().items()}
        if self._chooser is None:
            self._chooser = now
        self.learned.load_state_dict(self._chooser)
        prior = self.prior()
        assert isinstance(prior, PixelPrior)  # of a mixture every level is exact
        self.learned.load_state_dict(now)
        count = min(_POOL, self._steps - self._plain)
        for start in range(0, count, _TOGETHER):
            numbers = range(start, min(start + _TOGETHER, count))
            self._pool += self.chosen(prior, numbers)[0]
            observer.on_step("search", numbers.stop, count)
            stop_if_asked(observer, None)

    def _draw(self, purpose: int, number: int, times: int = 1) -> _Drawn:
        """Random crops; other ones for each purpose and number."""
        generator = np.random.default_rng([self._settings.seed, purpose, number])
        return _Drawn(self._samples.crops(generator, times * self._work.pixels)[0])

    def _nearest(self, drawn: _Drawn) -> Tensor:
        """The nearest levels int64 [n, C, h, w] in coding order; 0 for hidden colours."""
        found = self._levels.nearest(drawn.pixels)
        if self._model.hides:
            found[self._model.levels[-1][found[..., -1]] == 0] = 0
        return self._in_order(found)

    def _in_order(self, levels: NDArray[np.uint16]) -> Tensor:
        ordered = levels[..., self._model.order].transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(ordered, np.int64))

    def _rate(self) -> float:
        rising = min(1.0, (self.step + 1) / min(WARM_UP_STEPS, max(1, self._steps // 4)))
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self._steps))
        return rising * (cosine * (1 - LAST_SHARE) + LAST_SHARE)

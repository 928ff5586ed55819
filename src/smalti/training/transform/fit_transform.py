"""The fit of a transform: steps of all parts together on random crops of the images.

The price of a bit follows the goal, and all steps of the quantiser follow the price. A fit can be stopped at any step
and resumed with the same result.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from smalti.errors import ModelError
from smalti.training.cells.samples import Samples
from smalti.training.common.distributed import ALONE, ProcessGroup
from smalti.training.common.tensors import (
    adam_states,
    adam_tensors,
    read_checkpoint,
    with_prefix,
    without_prefix,
    write_tensors,
)
from smalti.training.observer import FitInterruptedError, Observer
from smalti.training.transform.learned_transform import LearnedTransform
from smalti.training.transform.transform_settings import TransformSettings

__all__ = ["FittingGoal", "TransformFit"]

PRICE = 1.55
"""The price of a bit in units of the water's level (found on two sets; the goal then corrects it)."""

BASIS_RATE, STEP_RATE, NETWORK_RATE = 6e-4, 5e-3, 3e-3
WARM_UP_STEPS = 60
LAST_SHARE = 0.03
DEAD_ZONE = 0.1
LARGEST_GRADIENT = 1.0

GAIN = 0.02
SETTLING_SHARE = 0.08
"""The share of a fit after which the price begins to follow the goal."""

_CHECKED_STEPS = 50
CHECKPOINT_STEPS = 100
CHECKPOINT_FORMAT = "smalti-transform-checkpoint"


@dataclass(frozen=True)
class FittingGoal:
    """What the price follows: a mean squared error of pixels in [0, 1], or else bits for a pixel."""

    mse: float | None
    bits_per_pixel: float | None = None


class TransformFit:
    """A fit, step by step.

    learned : begins as the KLT    samples : crops are drawn from them
    level : of the water at the goal    steps : of the fit    pixels : of a step
    settings : a checkpoint is refused if its settings are others
    """

    def __init__(
        self,
        learned: LearnedTransform,
        samples: Samples,
        goal: FittingGoal,
        level: float,
        steps: int,
        pixels: int,
        seed: int,
        device: str = "cpu",
        group: ProcessGroup = ALONE,
        settings: TransformSettings | None = None,
    ) -> None:
        self.learned, self._samples, self._goal, self._group = learned.to(device), samples, goal, group
        self._facts = {
            "settings": None if settings is None else settings.to_json(),
            "images": samples.fingerprint(),
            "shape": learned.shape.to_json(),
        }
        self._device, self._steps, self._pixels, self._seed = device, steps, pixels, seed
        self.price = PRICE * level
        self._first_price = self.price
        self._smooth: float | None = None
        self.step = 0
        self.history: list[dict[str, Any]] = []
        basis, scales, networks = [], [], []
        for name, parameter in learned.named_parameters():
            if name == "log_step":
                scales.append(parameter)
            elif name.split(".")[0].removeprefix("analysis_") in ("lap", "colour", "rows", "columns"):
                basis.append(parameter)
            else:
                networks.append(parameter)
        rates = (BASIS_RATE, STEP_RATE, NETWORK_RATE)
        parts = zip((basis, scales, networks), rates, strict=True)
        self._optimizer = torch.optim.Adam([{"params": p, "lr": r, "highest": r} for p, r in parts], betas=(0.9, 0.99))

    def run(self, observer: Observer, checkpoint: Path | None) -> None:
        """Do the steps that are left. Raises FitInterruptedError."""
        while self.step < self._steps:
            measured = self._advance()
            self.step += 1
            observer.on_step("fit", self.step, self._steps)
            if self.step % _CHECKED_STEPS == 0 or self.step == self._steps:
                self.history.append({"step": self.step, "price": self.price, **measured})
            stops = observer.should_stop()
            due = self.step % CHECKPOINT_STEPS == 0 or self.step == self._steps
            if checkpoint is not None and (stops or due):
                self.save(checkpoint)
            if stops:
                raise FitInterruptedError(checkpoint)

    def save(self, path: Path) -> None:
        """Write the state of the fit."""
        state = {"step": self.step, "price": self.price, "smooth": self._smooth, "history": self.history}
        tensors = {**with_prefix("learned.", dict(self.learned.state_dict())), **adam_tensors(self._optimizer)}
        write_tensors(path, tensors, {"format": CHECKPOINT_FORMAT, "facts": self._facts, **state})

    def restore(self, path: Path) -> None:
        """Continue from the state of `save`; ModelError if it cannot be read, or is of other settings or images."""
        tensors, state = read_checkpoint(path)
        if state.get("format") != CHECKPOINT_FORMAT:
            raise ModelError(f"{path} is no checkpoint of such a fit; remove it to start anew")
        found, own = state.get("facts", {}), json.loads(json.dumps(self._facts))
        if found.get("settings") != own["settings"]:
            raise ModelError(f"{path} is of a fit with other settings; give the same ones, or remove it to start anew")
        if found.get("images") != own["images"]:
            raise ModelError(f"{path} is of a fit on other images; give the same source, or remove it to start anew")
        if found.get("shape") != own["shape"]:
            raise ModelError(f"{path} is of another release; remove it to start anew")
        try:
            self._restore(tensors, state)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"{path} is damaged, or of another release; remove it to start anew") from error

    def _restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        self.learned.load_state_dict(without_prefix("learned.", tensors))
        own = self._optimizer.state_dict()
        self._optimizer.load_state_dict({"state": adam_states(tensors), "param_groups": own["param_groups"]})
        self.step, self.price, self._smooth = state["step"], state["price"], state["smooth"]
        self.history = state["history"]

    def _advance(self) -> dict[str, float]:
        """One step: returns its mean squared error and its bits for a pixel."""
        generator = np.random.default_rng([self._seed, self.step])
        self.learned.set_gain(math.sqrt(self.price / self._first_price))
        for part in self._optimizer.param_groups:
            part["lr"] = part["highest"] * self._rate()
        images, weights = self._samples.draw(generator, self._pixels)
        images = images.to(self._device)
        weights = None if weights is None else weights.to(self._device)
        noise = self._noise(generator, images)
        decoded, bits = self.learned(images, noise, DEAD_ZONE)
        errors = (decoded - images).square()
        distortion = (errors if weights is None else errors * weights).sum()
        inside = images[:, 0].numel() if weights is None else max(1.0, float(weights[:, -1].sum()))
        # errors are divided by the pixels of which something is seen, as quality is (`smalti.images.seen`)
        seen = inside if weights is None else max(1.0, float((weights[:, 0] > 0).sum()))
        rate = bits.sum()
        loss = (distortion + self.price * rate) / images.numel()
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.learned.parameters(), LARGEST_GRADIENT)
        self._optimizer.step()
        mse = float(distortion.detach()) / (seen * images.shape[1])
        bits_per_pixel = float(rate.detach()) / inside
        self._follow(mse, bits_per_pixel)
        return {"mse": mse, "bits_per_pixel": bits_per_pixel}

    def _noise(self, generator: np.random.Generator, images: Tensor) -> Tensor:
        """Uniform noise for the coefficients of images."""
        side = self.learned.shape.cell
        count, _, height, width = images.shape
        torch_generator = torch.Generator(self._device).manual_seed(int(generator.integers(1 << 62)))
        shape = (count, self.learned.shape.components, height // side, width // side)
        return torch.rand(shape, generator=torch_generator, device=self._device) - 0.5

    def _rate(self) -> float:
        rising = min(1.0, (self.step + 1) / min(WARM_UP_STEPS, max(1, self._steps // 4)))
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self._steps))
        return rising * (cosine * (1 - LAST_SHARE) + LAST_SHARE)

    def _follow(self, mse: float, bits_per_pixel: float) -> None:
        """Move the price towards the goal."""
        if self._goal.mse is not None:
            error = math.log(self._goal.mse / max(mse, 1e-12))
        else:
            assert self._goal.bits_per_pixel is not None
            error = -math.log(self._goal.bits_per_pixel / max(bits_per_pixel, 1e-9))
        self._smooth = error if self._smooth is None else 0.9 * self._smooth + 0.1 * error
        if self.step > SETTLING_SHARE * self._steps:
            self.price *= math.exp(GAIN * max(-1.0, min(1.0, 2 * self._smooth)))

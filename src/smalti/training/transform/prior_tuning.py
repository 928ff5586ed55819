"""The last part of a fit: the prior learns from the tokens that packing chooses, while the transform stands still."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from smalti.decoders.transform.transform_prior import TransformPrior
from smalti.training.cells.samples import Samples
from smalti.training.observer import Observer, stop_if_asked
from smalti.training.transform.cell_encoder import CellEncoder
from smalti.training.transform.export import TableCounts, export_prior
from smalti.training.transform.learned_transform import LearnedTransform, logistic_bits
from smalti.training.transform.token_choice import choose_tokens

__all__ = ["exported_prior", "tune_prior"]

_POOL = 32
"""Batches whose tokens are chosen; the steps go through them again and again."""

_RATE = 1e-3
_LARGEST_GRADIENT = 1.0


def tune_prior(
    learned: LearnedTransform, samples: Samples, prior: TransformPrior, price: float, steps: int, pixels: int,
    seed: int, observer: Observer,
) -> None:  # fmt: skip
    """Let the prior learn for some steps. prior : its integers, which choose the tokens    price : of a bit

    Raises FitInterruptedError without a checkpoint: resuming does this part again.
    """
    device = learned.log_step.device
    batches = [
        _chosen(learned, samples, prior, price, pixels, np.random.default_rng([seed, 1, number]), observer).to(device)
        for number in range(min(_POOL, steps))
    ]
    optimizer = torch.optim.Adam(learned.prior.parameters(), _RATE, betas=(0.9, 0.99))
    for step in range(steps):
        for part in optimizer.param_groups:
            part["lr"] = _RATE * (0.5 * (1 + math.cos(math.pi * step / steps)) * 0.97 + 0.03)
        tokens = batches[step % len(batches)]
        means, scales = learned.prior(tokens)
        loss = logistic_bits(tokens - means, scales).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learned.prior.parameters(), _LARGEST_GRADIENT)
        optimizer.step()
        observer.on_step("tune", step + 1, steps)
        stop_if_asked(observer, None)


@torch.no_grad()
def exported_prior(learned: LearnedTransform, tokens: Tensor) -> TransformPrior:
    """The integers of the prior, with tables for whole coefficients [n, M, rows, columns]."""
    network = export_prior(learned.prior, tokens)
    counts = TableCounts(learned.shape.scales, learned.shape.ratio)
    flat: NDArray[np.int32] = tokens.permute(0, 2, 3, 1).reshape(-1, tokens.shape[1]).cpu().numpy().astype(np.int32)
    counts.add(network, flat, np.array([tokens.shape[2:]] * len(tokens), np.int64))
    return TransformPrior(network, counts.tables())


@torch.no_grad()
def _chosen(
    learned: LearnedTransform, samples: Samples, prior: TransformPrior, price: float, pixels: int,
    generator: np.random.Generator, observer: Observer,
) -> Tensor:  # fmt: skip
    """The tokens of random crops: whole coefficients [n, M, rows, columns]."""
    stop_if_asked(observer, None)
    images, _ = samples.draw(generator, pixels)
    values = learned.analyse(images.to(learned.log_step.device)).cpu()
    count, components, rows, columns = values.shape
    flat = values.permute(0, 2, 3, 1).reshape(-1, components).numpy().astype(np.float32)
    weights = CellEncoder(learned, samples.scale).squares
    chosen = choose_tokens(prior, flat, np.array([[rows, columns]] * count, np.int64), weights, price)
    tokens = torch.from_numpy(chosen.coefficients.astype(np.float32)).reshape(count, rows, columns, components)
    return tokens.permute(0, 3, 1, 2).contiguous()

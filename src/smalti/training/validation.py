"""How a network does on images that it does not learn from, by its own float arithmetic."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from smalti.images.batch import Pixels
from smalti.training.distributed import ALONE, Group
from smalti.training.images import to_unit_range
from smalti.training.network import VQVAE
from smalti.training.scaling import EIGHT_BITS, PixelScale

__all__ = ["Validation", "validate"]

VALIDATION_BATCH = 256


@dataclass(frozen=True)
class Validation:
    """How a network does on images, by its own float arithmetic."""

    mse: float
    token_counts: NDArray[np.int64]


@torch.no_grad()
def validate(
    network: VQVAE,
    pixels: Pixels,
    device: str = "cpu",
    group: Group = ALONE,
    scale: PixelScale = EIGHT_BITS,
) -> Validation:
    """Measure a network on images [n, H, W, C]; its mode (training or not) is as before afterwards.

    group : its ranks share the images, and all learn the result
    """
    was_training = network.training
    network.eval()
    size = network.quantizer.settings.codebook_size
    squares, counts = torch.zeros(1, dtype=torch.float64), torch.zeros(size, dtype=torch.int64)
    own = group.part(pixels)
    for start in range(0, len(own), VALIDATION_BATCH):
        batch = to_unit_range(own[start : start + VALIDATION_BATCH], scale).to(device)
        result = network(batch)
        squares += float((result.images - batch).square().sum())  # in float32: MPS has no doubles
        counts += torch.bincount(result.quantized.tokens.flatten().cpu(), minlength=size)
    network.train(was_training)
    group.add_up([squares, counts])
    return Validation(scale.true_mse(float(squares) / pixels.size), counts.numpy())

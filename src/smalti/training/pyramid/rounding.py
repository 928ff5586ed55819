"""Rounding that gradients pass as if it were not there (Bengio, Léonard & Courville 2013)."""

import torch
from torch import Tensor

__all__ = ["clipped", "rounded"]


def rounded(values: Tensor) -> Tensor:
    """Return the nearest whole numbers, halves rounded up: what adding a half and cutting gives."""
    return values + (torch.floor(values + 0.5) - values).detach()


def clipped(values: Tensor, low: float, high: float) -> Tensor:
    """Return values cut to low..high; gradients pass everywhere, so that what was cut can come back."""
    return values + (values.clamp(low, high) - values).detach()

"""Rounding and cutting that gradients pass as if they were not there (Bengio, Léonard & Courville 2013)."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["activated", "clipped", "rounded"]


class _Rounded(torch.autograd.Function):
    """One pass over the values, and none over their gradients."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        del context
        return torch.add(values, 0.5).floor_()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        del context
        return gradients[0]


class _Activated(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, sums: Tensor, scale: Tensor, high: float) -> Tensor:
        values = torch.mul(sums, scale).add_(0.5).floor_().clamp_(0, high)
        context.save_for_backward(values, scale)
        context.high = high
        return values

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        values, scale = context.saved_tensors
        inside = (values > 0) & (values < context.high)
        return gradients[0] * scale * inside, None, None


def rounded(values: Tensor) -> Tensor:
    """Return the nearest whole numbers, halves rounded up: what adding a half and cutting gives."""
    result: Tensor = _Rounded.apply(values)  # type: ignore[no-untyped-call]
    return result


def activated(sums: Tensor, shift: Tensor, high: float) -> Tensor:
    """Return sums [n, channels, y, x] shifted by `shift` [channels], rounded and cut to 0..high, all at once.

    No gradient passes where a value is cut.
    """
    scale = torch.exp2(-shift)[:, None, None]
    result: Tensor = _Activated.apply(sums, scale, high)  # type: ignore[no-untyped-call]
    return result


def clipped(values: Tensor, low: float, high: float) -> Tensor:
    """Return values cut to low..high; gradients pass everywhere, so that what was cut can come back."""
    return values + (values.clamp(low, high) - values).detach()

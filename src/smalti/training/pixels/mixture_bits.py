"""The bits of samples by mixtures of curves, with their gradient in closed form: a third of the passes of autograd.

The curves are those of `smalti.decoders.pixels.mixture`, with the exponentials of floats.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from smalti.decoders.pixels.mixture import STEEPEST
from smalti.entropy.priors import UNITS

__all__ = ["mixture_bits"]

_WIDEST = 17

_FAR = 1e9
"""Beyond every level, in widths of a curve."""


def mixture_bits(outputs: Tensor, apart: Tensor, levels: Tensor, count: int) -> Tensor:
    """Bits of samples [n].

    outputs : float32 [3 * M + 1, n], as `outputs_of` orders them; scores in nats, shifts in widths, widths in octaves
    apart : float32 [M, n], levels less anchors    levels : [n], of `count` levels
    """
    bits: Tensor = _MixtureBits.apply(outputs, apart, levels, count)  # type: ignore[no-untyped-call]
    return bits


class _MixtureBits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, outputs: Tensor, apart: Tensor, levels: Tensor, count: int) -> Tensor:
        components = len(apart)
        scores, shifts, widths = torch.split(outputs, [components + 1, components, components])
        shares = torch.softmax(scores, 0)
        inverses = torch.exp2(-widths.clamp(-STEEPEST, _WIDEST)).mul_(math.log(2))
        moved = shifts * math.log(2)
        upper = (apart + 0.5).mul_(inverses).sub_(moved).masked_fill_(levels >= count - 1, _FAR)
        lower = (apart - 0.5).mul_(inverses).sub_(moved).masked_fill_(levels <= 0, -_FAR)
        # a curve is symmetric; below its middle, what is left of 0 is more exact than what is left of 1
        sign = torch.where(upper + lower > 0, -1.0, 1.0)
        upper, lower = torch.sigmoid(upper.mul_(sign)), torch.sigmoid(lower.mul_(sign))
        whole = (upper - lower).mul_(sign)
        own = (shares[:-1] * whole).sum(0) + shares[-1] / count
        kept = 1 - count / UNITS
        likely = own * kept + 1 / UNITS
        if ctx.needs_input_grad[0]:
            scale = likely.reciprocal().mul_(-kept / math.log(2))
            gradient = torch.empty_like(outputs)
            weighted = shares * scale
            torch.mul(weighted[:-1], whole - own, out=gradient[:components])
            torch.mul(weighted[-1], 1 / count - own, out=gradient[components])
            rising, falling = upper.mul_(1 - upper), lower.mul_(1 - lower)  # slopes at both ends
            slopes = rising - falling
            steep = weighted[:-1]
            torch.mul(steep, slopes, out=gradient[components + 1 : -components]).mul_(-math.log(2))
            spread = slopes.mul_(apart).add_(rising.add_(falling), alpha=0.5).mul_(inverses).mul_(steep)
            inside = (widths >= -STEEPEST) & (widths <= _WIDEST)
            torch.mul(spread, inside, out=gradient[-components:]).mul_(-math.log(2))
            ctx.save_for_backward(gradient)
        return -torch.log2(likely)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0], None, None, None

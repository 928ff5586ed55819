"""The closed form of a mixture's bits and their gradient are those of autograd in float64."""

import math

import pytest
import torch
from torch import Tensor

from smalti.decoders.pixels.mixture import STEEPEST
from smalti.entropy.priors import UNITS
from smalti.training.pixels.mixture_bits import mixture_bits


def plain_bits(outputs: Tensor, apart: Tensor, levels: Tensor, count: int) -> Tensor:
    """The same, as the definition says it: each curve's rise over a level, open at both ends of the range."""
    components = len(apart)
    scores, shifts, widths = torch.split(outputs, [components + 1, components, components])
    shares = torch.softmax(scores, 0)
    scale = torch.exp2(-widths.clamp(-STEEPEST, 17))

    def up_to(ends: Tensor) -> Tensor:
        return torch.sigmoid((ends * scale - shifts) * math.log(2))

    upper = torch.where(levels >= count - 1, torch.ones(()), up_to(apart + 0.5))
    lower = torch.where(levels <= 0, torch.zeros(()), up_to(apart - 0.5))
    own = (shares[:-1] * (upper - lower)).sum(0) + shares[-1] / count
    return -torch.log2(own * (1 - count / UNITS) + 1 / UNITS)


@pytest.mark.parametrize(("components", "count"), [(1, 2), (2, 256), (4, 256), (3, 60_000)])
def test_bits_and_gradient_are_those_of_the_definition(components, count):
    generator = torch.Generator().manual_seed(components)
    outputs = torch.randn(3 * components + 1, 500, generator=generator, dtype=torch.float64) * 3
    levels = torch.randint(0, count, (500,), generator=generator)
    levels[:40], levels[40:80] = 0, count - 1
    anchors = (levels + torch.randint(-9, 10, (components, 500), generator=generator)).clamp(0, count - 1)
    weights = torch.rand(500, generator=generator, dtype=torch.float64)
    found = []
    for function, dtype in ((mixture_bits, torch.float32), (plain_bits, torch.float64)):
        own = outputs.to(dtype).requires_grad_()
        bits = function(own, (levels - anchors).to(dtype), levels, count)
        (bits * weights.to(dtype)).sum().backward()
        found.append((bits.detach().double(), own.grad.double()))
    (bits, gradient), (plain, wanted) = found
    torch.testing.assert_close(bits, plain, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(gradient, wanted, rtol=1e-2, atol=2e-3)


def test_a_width_beyond_its_bounds_has_no_gradient():
    outputs = torch.tensor([[0.0], [0.0], [0.0], [-STEEPEST - 1.0]], requires_grad=True)
    mixture_bits(outputs, torch.tensor([[3.0]]), torch.tensor([9]), 100).sum().backward()
    assert outputs.grad is not None and float(outputs.grad[3]) == 0

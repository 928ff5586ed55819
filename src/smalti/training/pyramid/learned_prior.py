"""The prior of a level's tokens, learned in the integers of the archive (`smalti.entropy.priors.NetworkPrior`).

Also here: rounding and clipping with straight-through gradients (Bengio, Léonard & Courville 2013).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smalti.decoders.pyramid.context import reach

__all__ = [
    "HIDDEN_SHIFT",
    "LOGIT_SHIFT",
    "STEPS_PER_BIT",
    "LevelPrior",
    "activated",
    "clipped",
    "coarser",
    "context_size",
    "contexts",
    "rounded",
]


class _Rounded(torch.autograd.Function):
    """Rounding as one pass over the values, without a pass over their gradients."""

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


class _CodedBits(torch.autograd.Function):
    """The bits of tokens from hidden values, in few passes over the sums of all codes: most memory is theirs."""

    @staticmethod
    def forward(context: Any, hidden: Tensor, weight: Tensor, bias: Tensor, tokens: Tensor, whole: bool) -> Tensor:
        steps = _steps(hidden, weight, bias, whole)
        logarithms = F.log_softmax(steps.mul_(math.log(2) / STEPS_PER_BIT), -1)
        context.save_for_backward(hidden, weight, tokens, logarithms)
        return logarithms.gather(1, tokens[:, None])[:, 0] / -math.log(2)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        hidden, weight, tokens, logarithms = context.saved_tensors
        each = gradients[0][:, None] / (STEPS_PER_BIT * 2**LOGIT_SHIFT)
        sums = logarithms.exp().mul_(each).scatter_add_(1, tokens[:, None], -each)
        return sums @ weight.T, hidden.T @ sums, sums.sum(0), None, None


def _steps(hidden: Tensor, weight: Tensor, bias: Tensor, whole: bool) -> Tensor:
    """Return what each code's probability is raised by, in steps: [n, K] for hidden values [n, hidden]."""
    steps = torch.addmm(bias / 2**LOGIT_SHIFT, hidden, weight / 2**LOGIT_SHIFT)  # powers of two: exact
    return steps.add_(0.5).floor_() if whole else steps


def rounded(values: Tensor) -> Tensor:
    """Return the nearest whole numbers, halves rounded up: floor(x + 1/2). Gradients pass unchanged."""
    result: Tensor = _Rounded.apply(values)  # type: ignore[no-untyped-call]
    return result


def activated(sums: Tensor, shift: Tensor, high: float) -> Tensor:
    """Return sums [n, channels, y, x] shifted by `shift` [channels], rounded and clipped to 0..high, in one step.

    No gradient passes where a value is at a bound.
    """
    scale = torch.exp2(-shift)[:, None, None]
    result: Tensor = _Activated.apply(sums, scale, high)  # type: ignore[no-untyped-call]
    return result


def clipped(values: Tensor, low: float, high: float) -> Tensor:
    """Return values clipped to low..high. Gradients pass everywhere, so that clipped values can come back."""
    return values + (values.clamp(low, high) - values).detach()


HIDDEN_SHIFT = 4
LOGIT_SHIFT = 4
STEPS_PER_BIT = 16
LARGEST_WEIGHT = 127
LARGEST_HIDDEN = 255
TYPICAL_HIDDEN = 24.0


Numbers = tuple[Tensor, Tensor, Tensor, Tensor]


class LevelPrior(nn.Module):
    """A network with one hidden layer, from a token's context to the bits of each code; without a context, a table.

    features : numbers in a context; 0 makes the prior a table
    hidden : hidden units
    codes : K
    positions : positions of the level; each has its own bias

    Its numbers are in integer units from the start, but rounded only once it is `whole`.
    """

    def __init__(self, features: int, hidden: int, codes: int, positions: int, generator: torch.Generator) -> None:
        super().__init__()
        self.features = features
        self.whole = False
        if not features:
            self.bias2 = nn.Parameter(torch.zeros(positions, codes))
            return
        self.weight1 = nn.Parameter(torch.randn(features, hidden, generator=generator) * 12 / features**0.5)
        self.bias1 = nn.Parameter(torch.full((positions, hidden), 2.0**HIDDEN_SHIFT * TYPICAL_HIDDEN))
        self.weight2 = nn.Parameter(torch.randn(hidden, codes, generator=generator))
        self.bias2 = nn.Parameter(torch.zeros(codes))

    @property
    def codes(self) -> int:
        """K."""
        return int(self.bias2.shape[-1])

    def numbers(self) -> Numbers:
        """Return weight1, bias1, weight2 and bias2 as `bits` uses them: weights clipped, all rounded once `whole`."""
        number = rounded if self.whole else _unrounded
        first, second = (w.clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT) for w in (self.weight1, self.weight2))
        return number(first), number(self.bias1), number(second), number(self.bias2)

    @torch.no_grad()
    def bits(self, context: Tensor) -> Tensor:
        """Return the bits of every code: [n, positions, K] for contexts [n, positions, features]; without gradients."""
        if not self.features:
            table = F.log_softmax(self.bias2 * (math.log(2) / STEPS_PER_BIT), -1) / -math.log(2)
            return table.expand(len(context), *table.shape)
        weight1, bias1, weight2, bias2 = self.numbers()
        hidden = self.hidden_values(context @ weight1 + bias1)
        steps = _steps(hidden.flatten(0, 1), weight2, bias2, self.whole).view(*hidden.shape[:2], self.codes)
        return F.log_softmax(steps.mul_(math.log(2) / STEPS_PER_BIT), -1) / -math.log(2)

    def bits_of(self, context: Tensor, tokens: Tensor) -> Tensor:
        """Return the bits of tokens [n, positions], each in its context [n, positions, features]."""
        if not self.features:
            table = F.log_softmax(self.bias2 * (math.log(2) / STEPS_PER_BIT), -1) / -math.log(2)
            return table.gather(1, tokens.T).T
        weight1, bias1, weight2, bias2 = self.numbers()
        hidden = self.hidden_values(context @ weight1 + bias1).flatten(0, 1)
        bits: Tensor = _CodedBits.apply(hidden, weight2, bias2, tokens.flatten(), self.whole)  # type: ignore[no-untyped-call]
        return bits.view(tokens.shape)

    def hidden_values(self, sums: Tensor) -> Tensor:
        """Return the values of the hidden layer."""
        number = rounded if self.whole else _unrounded
        return number(sums / 2**HIDDEN_SHIFT).clamp(0, LARGEST_HIDDEN)

    def likely(self, sums: Tensor, numbers: Numbers) -> Tensor:
        """Return the bits that each code spares against the others: [n, K] for sums [n, hidden] of the first layer.

        numbers : the result of `numbers`
        """
        return _steps(self.hidden_values(sums), numbers[2], numbers[3], self.whole).div_(STEPS_PER_BIT)

    def select(self, codes: Tensor, penalties: Tensor) -> None:
        """Replace the codes: code k becomes the old code `codes[k]`, with `penalties[k]` more bits."""
        steps = STEPS_PER_BIT * (2**LOGIT_SHIFT if self.features else 1)
        self.bias2 = nn.Parameter(self.bias2.detach()[..., codes] - steps * penalties)
        if self.features:
            self.weight2 = nn.Parameter(self.weight2.detach()[:, codes].clone())


def context_size(latents: tuple[int, ...], positions: tuple[int, ...], scale: int) -> int:
    """Return the size of a context on `scale`: latents of the positions around, and coarser latents at the position."""
    far = reach(latents[scale], positions[scale])
    return latents[scale] * (2 * far + 1) ** 2 + sum(latents[:scale])


def contexts(
    before: list[Tensor], after: Tensor, scale: int, strides: tuple[tuple[int, int], ...], empty: bool = False
) -> Tensor:
    """Return the contexts of all positions of a scale: [n, positions, features].

    before : latents of each scale before the level
    after : latents of the level's own scale with the level's tokens; the context takes earlier positions from these
    empty : whether the level is the first of its scale, so that later positions are still zero
    """
    own = before[scale]
    channels, rows, columns = own.shape[1:]
    far = reach(channels, rows * columns)
    if far:
        causal = torch.arange((2 * far + 1) ** 2, device=own.device)[:, None] < 2 * far * (far + 1)
        early = _windows(after, far)
        around = (early * causal if empty else torch.where(causal, early, _windows(own, far))).flatten(2)
    else:
        around = own.flatten(1)[:, None]
    return torch.cat([around, *coarser(before, scale, strides)], 2)


def coarser(before: list[Tensor], scale: int, strides: tuple[tuple[int, int], ...]) -> list[Tensor]:
    """Return the last numbers of the contexts of all positions: coarser latents, [n, positions, channels] each."""
    grid = before[scale].shape[2:]
    return [_at_positions(before[other], strides[other], strides[scale], grid) for other in range(scale)]


def _unrounded(values: Tensor) -> Tensor:
    return values


def _windows(latents: Tensor, far: int) -> Tensor:
    """Return the vectors around each position, zeros outside: [n, positions, positions around, channels].

    They may share memory: not to be changed in place.
    """
    count, channels, rows, columns = latents.shape
    side = 2 * far + 1
    framed = F.pad(latents.permute(0, 2, 3, 1), (0, 0, far, far, far, far))
    windows = framed.unfold(1, side, 1).unfold(2, side, 1).permute(0, 1, 2, 4, 5, 3)
    return windows.reshape(count, rows * columns, side**2, channels)


def _at_positions(latents: Tensor, stride: tuple[int, int], fine: tuple[int, int], grid: torch.Size) -> Tensor:
    """Return a coarser scale's vectors at the positions of a finer grid: [n, positions, channels]."""
    rows = torch.arange(grid[0], device=latents.device) * fine[0] // stride[0]
    columns = torch.arange(grid[1], device=latents.device) * fine[1] // stride[1]
    return latents[:, :, rows][:, :, :, columns].flatten(2).transpose(1, 2)

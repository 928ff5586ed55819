"""From latents to tokens: at each place the code of the least distortion + price * bits, place after place.

Bits are those of the prior that the file will hold, given all tokens before (entropy-constrained vector quantisation;
Chou, Lookabaugh & Gray 1989).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from smalti.decoders.pyramid.context import reach
from smalti.training.common.distributed import ALONE, ProcessGroup
from smalti.training.pyramid.learned_pyramid import Pyramid

__all__ = ["Assigned", "CodeUse", "assign", "curvatures"]


@dataclass
class CodeUse:
    """How codes of a level served some tokens, [K] each.

    count : tokens that took the code
    spared : what the next best code would have cost more, distortion + price * bits
    distortion : of the tokens that took it
    sums : [K, d], of what was to be quantised
    """

    count: Tensor
    spared: Tensor
    distortion: Tensor
    sums: Tensor


@dataclass(frozen=True)
class Assigned:
    """tokens : int64 [n, positions] for each level    latents : what they come to    uses : of each level's codes"""

    tokens: list[Tensor]
    latents: list[Tensor]
    uses: list[CodeUse]


@torch.no_grad()
def assign(
    pyramid: Pyramid, wanted: list[Tensor], weights: list[Tensor], price: float, count_use: bool = False
) -> Assigned:
    """Choose tokens.

    wanted : latents [n, D, rows, columns] for each scale
    weights : distortion of a squared unit of each channel, [D] for each scale
    price : distortion that a bit is worth
    count_use : whether to find out how codes serve, which takes a while; else `spared` and `distortion` are 0
    """
    latents = pyramid.empty_latents(len(wanted[0]))
    tokens, uses = [], []
    for level in range(len(pyramid.forms)):
        found, use = _assign_level(pyramid, level, wanted, latents, weights, price, count_use)
        tokens.append(found)
        uses.append(use)
    return Assigned(tokens, latents, uses)


def _assign_level(
    pyramid: Pyramid,
    level: int,
    wanted: list[Tensor],
    latents: list[Tensor],
    weights: list[Tensor],
    price: float,
    count_use: bool,
) -> tuple[Tensor, CodeUse]:
    """Choose a level's tokens and add their codes to `latents`."""
    form, prior = pyramid.forms[level], pyramid.prior(level)
    own = latents[form.scale]
    count, _, rows, columns = own.shape
    root = weights[form.scale][form.slice].sqrt()
    codes = pyramid.code_values(level).detach()
    scaled = codes * root
    squares = scaled.square().sum(1)
    context = _Context(pyramid, latents, form.scale)
    missing = ((wanted[form.scale] - own)[:, form.slice] * root[:, None, None]).flatten(2).permute(2, 0, 1)
    chosen = torch.empty(rows * columns, count, dtype=torch.int64, device=own.device)
    numbers = prior.numbers() if prior.features else None
    size = len(codes)
    spared, distortion = torch.zeros(size), torch.zeros(size)
    for place in range(rows * columns):
        bits = prior.bits(context.at(place), slice(place, place + 1), numbers)[:, 0]
        far = squares - 2 * missing[place] @ scaled.T
        costs = far + price * bits
        best = costs.argmin(1)
        if count_use and size > 1:
            two = torch.topk(costs, 2, dim=1, largest=False).values
            spared.index_add_(0, best, two[:, 1] - two[:, 0])
            near = far.gather(1, best[:, None])[:, 0] + missing[place].square().sum(1)
            distortion.index_add_(0, best, near)
        chosen[place] = best
        context.add(place, form.slice, codes[best])
    flat = chosen.flatten()
    sums = torch.zeros_like(codes).index_add_(0, flat, missing.reshape(len(flat), form.channels) / root)
    counts = torch.bincount(flat, minlength=size).to(codes.dtype)
    return chosen.T.contiguous(), CodeUse(counts, spared, distortion, sums)


class _Context:
    """Contexts of a level's places one after another: what `prior.contexts` gives for all at once."""

    def __init__(self, pyramid: Pyramid, latents: list[Tensor], scale: int) -> None:
        self._own = latents[scale]
        count, channels, self._rows, self._columns = self._own.shape
        self._reach = far = reach(channels, self._rows * self._columns)
        self._unit = 1.0 if pyramid.whole else pyramid.unit_value
        self._framed = self._own.new_zeros(count, self._rows + 2 * far, self._columns + 2 * far, channels)
        self._framed[:, far : far + self._rows, far : far + self._columns] = self._own.permute(0, 2, 3, 1)
        strides = pyramid.shape.strides
        self._coarser = [(latents[other], strides[other]) for other in range(scale)]
        self._stride = strides[scale]

    def at(self, place: int) -> Tensor:
        """The context of one place, [n, 1, features]."""
        row, column = divmod(place, self._columns)
        side = 2 * self._reach + 1
        around = self._framed[:, row : row + side, column : column + side].flatten(1)
        coarser = [
            values[:, :, row * self._stride[0] // stride[0], column * self._stride[1] // stride[1]]
            for values, stride in self._coarser
        ]
        return (self._unit * torch.cat([around, *coarser], 1))[:, None]

    def add(self, place: int, channels: slice, values: Tensor) -> None:
        """Add codes [n, d] at a place."""
        row, column = divmod(place, self._columns)
        self._framed[:, row + self._reach, column + self._reach, channels] += values
        self._own[:, channels, row, column] += values


def curvatures(
    pyramid: Pyramid, latents: list[Tensor], generator: torch.Generator, images: int, group: ProcessGroup = ALONE
) -> list[Tensor]:
    """Return the distortion of a squared unit of each channel, [D] for each scale, by one random probe of each image.

    images : of all ranks of the group together, each of which has its part of the latents

    The square of a latent's gradient, for a random sign at each pixel, is on average the sum of squares of its
    derivatives (Hutchinson 1989): the diagonal of the Gauss-Newton matrix of the squared error.
    """
    inputs = [scale.detach().requires_grad_() for scale in latents]
    decoded = pyramid.decode(inputs)
    signs = group.part(torch.randint(0, 2, (images, *decoded.shape[1:]), generator=generator) * 2 - 1).to(decoded)
    inside = ((decoded > 0) & (decoded < 1)).to(decoded)  # what is cut off at black and white adds no distortion
    gradients = torch.autograd.grad((decoded * signs * inside).sum(), inputs)
    share = len(decoded) / images
    found = [share * gradient.square().mean((0, 2, 3)).nan_to_num() for gradient in gradients]  # of no images: 0
    group.add_up(found)
    return found

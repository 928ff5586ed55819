"""From latents to tokens: one position after another takes the code of least distortion + price * bits.

The bits are those of the archive's prior, given all earlier tokens (entropy-constrained vector quantisation; Chou,
Lookabaugh & Gray 1989).
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
    """How some tokens use the codes of a level.

    count : number of tokens with each code, [K]
    spared : the extra cost (distortion + price * bits) of these tokens with the next best code, [K]
    distortion : the distortion of these tokens, [K]
    sums : sums of the vectors that were quantised, [K, d]
    """

    count: Tensor
    spared: Tensor
    distortion: Tensor
    sums: Tensor


@dataclass(frozen=True)
class Assigned:
    """Tokens and their latents.

    tokens : int64 [n, positions] for each level
    latents : sums of the tokens' codes, [n, D, rows, columns] for each scale
    uses : the use of each level's codes
    """

    tokens: list[Tensor]
    latents: list[Tensor]
    uses: list[CodeUse]


@torch.no_grad()
def assign(
    pyramid: Pyramid, targets: list[Tensor], weights: list[Tensor], price: float, count_use: bool = False
) -> Assigned:
    """Choose tokens for latents.

    targets : latents [n, D, rows, columns] for each scale
    weights : distortion of a squared unit of each channel, [D] for each scale
    price : distortion that one bit is worth
    count_use : whether to measure `spared` and `distortion`, which takes time; else they are 0
    """
    latents = pyramid.empty_latents(len(targets[0]))
    tokens, uses = [], []
    for level in range(len(pyramid.forms)):
        found, use = _assign_level(pyramid, level, targets, latents, weights, price, count_use)
        tokens.append(found)
        uses.append(use)
    return Assigned(tokens, latents, uses)


def _assign_level(
    pyramid: Pyramid,
    level: int,
    targets: list[Tensor],
    latents: list[Tensor],
    weights: list[Tensor],
    price: float,
    count_use: bool,
) -> tuple[Tensor, CodeUse]:
    """Choose a level's tokens; add their codes to `latents`, in place."""
    form, prior = pyramid.forms[level], pyramid.prior(level)
    own = latents[form.scale]
    count, _, rows, columns = own.shape
    root = weights[form.scale][form.slice].sqrt()
    codes = pyramid.code_values(level).detach()
    scaled = codes * root
    squares = scaled.square().sum(1)
    context = _Context(pyramid, latents, form.scale)
    missing = ((targets[form.scale] - own)[:, form.slice] * root[:, None, None]).flatten(2).permute(2, 0, 1)
    chosen = torch.empty(rows * columns, count, dtype=torch.int64, device=own.device)
    numbers = prior.numbers() if prior.features else None
    size = len(codes)
    spared, distortion = torch.zeros(size), torch.zeros(size)
    for position in range(rows * columns):
        bits = prior.bits(context.at(position), slice(position, position + 1), numbers)[:, 0]
        far = squares - 2 * missing[position] @ scaled.T
        costs = far + price * bits
        best = costs.argmin(1)
        if count_use and size > 1:
            two = torch.topk(costs, 2, dim=1, largest=False).values
            spared.index_add_(0, best, two[:, 1] - two[:, 0])
            near = far.gather(1, best[:, None])[:, 0] + missing[position].square().sum(1)
            distortion.index_add_(0, best, near)
        chosen[position] = best
        context.add(position, form.slice, codes[best])
    flat = chosen.flatten()
    sums = torch.zeros_like(codes).index_add_(0, flat, missing.reshape(len(flat), form.channels) / root)
    counts = torch.bincount(flat, minlength=size).to(codes.dtype)
    return chosen.T.contiguous(), CodeUse(counts, spared, distortion, sums)


class _Context:
    """The contexts of a level's positions, one after another; `learned_prior.contexts` computes all at once."""

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

    def at(self, position: int) -> Tensor:
        """Return the context of one position, [n, 1, features]."""
        row, column = divmod(position, self._columns)
        side = 2 * self._reach + 1
        around = self._framed[:, row : row + side, column : column + side].flatten(1)
        coarser = [
            values[:, :, row * self._stride[0] // stride[0], column * self._stride[1] // stride[1]]
            for values, stride in self._coarser
        ]
        return (self._unit * torch.cat([around, *coarser], 1))[:, None]

    def add(self, position: int, channels: slice, values: Tensor) -> None:
        """Add codes [n, d] at a position."""
        row, column = divmod(position, self._columns)
        self._framed[:, row + self._reach, column + self._reach, channels] += values
        self._own[:, channels, row, column] += values


def curvatures(
    pyramid: Pyramid, latents: list[Tensor], generator: torch.Generator, images: int, group: ProcessGroup = ALONE
) -> list[Tensor]:
    """Return the distortion of a squared unit of each channel, [D] for each scale, by one random probe of each image.

    latents : this rank's part
    images : number of images on all ranks of the group together

    With a random sign at each pixel, the square of a latent's gradient is on average the sum of squares of its
    derivatives (Hutchinson 1989): the diagonal of the Gauss-Newton matrix of the squared error.
    """
    inputs = [scale.detach().requires_grad_() for scale in latents]
    decoded = pyramid.decode(inputs)
    signs = group.part(torch.randint(0, 2, (images, *decoded.shape[1:]), generator=generator) * 2 - 1).to(decoded)
    inside = ((decoded > 0) & (decoded < 1)).to(decoded)  # pixels clipped to black or white add no distortion
    gradients = torch.autograd.grad((decoded * signs * inside).sum(), inputs)
    share = len(decoded) / images
    found = [share * gradient.square().mean((0, 2, 3)).nan_to_num() for gradient in gradients]  # no images: 0
    group.add_up(found)
    return found

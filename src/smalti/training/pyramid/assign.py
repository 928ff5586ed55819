"""From latents to tokens: one position after another takes the code of least distortion + price * bits.

The bits are those of the archive's prior, given all earlier tokens (entropy-constrained vector quantisation; Chou,
Lookabaugh & Gray 1989).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from smalti.decoders.pyramid.context import reach
from smalti.training.common.distributed import ALONE, ProcessGroup
from smalti.training.pyramid.learned_prior import STEPS_PER_BIT, coarser, contexts
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
    form = pyramid.forms[level]
    own = latents[form.scale]
    count, _, rows, columns = own.shape
    root = weights[form.scale][form.slice].sqrt()
    codes = pyramid.code_values(level).detach()
    scaled = codes * root
    squares = scaled.square().sum(1)
    missing = ((targets[form.scale] - own)[:, form.slice] * root[:, None, None]).flatten(2).permute(2, 0, 1)
    chosen = torch.empty(rows * columns, count, dtype=torch.int64, device=own.device)
    likely = _Likely(pyramid, level, latents)
    size = len(codes)
    spared, distortion = torch.zeros(size), torch.zeros(size)
    for position in range(rows * columns):
        far = torch.addmm(squares, missing[position], scaled.T, alpha=-2)
        costs = torch.sub(far, likely.at(position), alpha=price)
        best = costs.argmin(1)
        if count_use and size > 1:
            two = torch.topk(costs, 2, dim=1, largest=False).values
            spared.index_add_(0, best, two[:, 1] - two[:, 0])
            near = far.gather(1, best[:, None])[:, 0] + missing[position].square().sum(1)
            distortion.index_add_(0, best, near)
        chosen[position] = best
        likely.add(position, codes[best])
    flat = chosen.flatten()
    own[:, form.slice] += codes[chosen].permute(1, 2, 0).view(count, form.channels, rows, columns)
    sums = torch.zeros_like(codes).index_add_(0, flat, missing.reshape(len(flat), form.channels) / root)
    counts = torch.bincount(flat, minlength=size).to(codes.dtype)
    return chosen.T.contiguous(), CodeUse(counts, spared, distortion, sums)


class _Likely:
    """The bits that codes spare against each other, position by position, as the codes before are chosen.

    What the first layer of the prior sums up of the latents before the level is known for all positions. The code of a
    position adds to the sums of the positions around it that come later.
    """

    def __init__(self, pyramid: Pyramid, level: int, latents: list[Tensor]) -> None:
        form = pyramid.forms[level]
        self._prior = pyramid.prior(level)
        self._features = bool(self._prior.features)
        if not self._features:
            return
        count, channels, self._rows, self._columns = latents[form.scale].shape
        self._numbers = self._prior.numbers()
        weight = self._numbers[0] * (1.0 if pyramid.whole else pyramid.unit_value)
        if pyramid.is_first(level):  # nothing is around yet
            seen = coarser(latents, form.scale, pyramid.shape.strides)
        else:
            seen = [contexts(latents, latents[form.scale], form.scale, pyramid.shape.strides)]
        sums = self._numbers[1].expand(count, -1, -1)
        if seen:
            known = torch.cat(seen, 2)
            sums = known @ weight[len(weight) - known.shape[2] :] + sums
        self._hidden = hidden = sums.shape[2]
        # a row of positions of an image after each other: sums [rows, n, columns * hidden]
        by_rows = sums.reshape(count, self._rows, self._columns * hidden).transpose(0, 1)
        self._sums = by_rows.clone(memory_format=torch.contiguous_format)  # it will be added to
        self._reach = far = reach(channels, self._rows * self._columns)
        side = 2 * far + 1
        if far:
            # a position sees those above it first; so what a code adds to those below is in reverse order
            around = weight[: side**2 * channels].view(side, side, channels, hidden)[:, :, form.slice].flip(0, 1)
            self._taps = around.permute(0, 2, 1, 3).reshape(side, form.channels, side * hidden)

    def at(self, position: int) -> Tensor:
        """Return what each code spares at a position: [n, K], or [K] if all images have the same."""
        if not self._features:
            return self._prior.bias2[position] / STEPS_PER_BIT
        row, column = divmod(position, self._columns)
        sums = self._sums[row][:, column * self._hidden : (column + 1) * self._hidden]
        return self._prior.likely(sums, self._numbers)

    def add(self, position: int, values: Tensor) -> None:
        """Add codes [n, d] at a position."""
        if not self._features or not self._reach:
            return
        (row, column), far, hidden = divmod(position, self._columns), self._reach, self._hidden
        for below in range(min(far, self._rows - 1 - row) + 1):
            first = max(column - far, 0) if below else column + 1
            last = min(column + far, self._columns - 1)
            if first <= last:
                taps = self._taps[far + below][:, (far + first - column) * hidden : (far + last + 1 - column) * hidden]
                self._sums[row + below][:, first * hidden : (last + 1) * hidden].addmm_(values, taps)


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

"""Searching for better tokens, image by image, against the decoder and the prior that the file will hold.

A gradient tells how the squared error would change with each latent, the diagonal of the Gauss-Newton matrix how fast
the gradient itself does. So the outcome of every single change of a token can be foretold; the most promising changes
are decoded, and the best one stays if it lowers squared error + price * bits. (Analysis by synthesis: the encoder is
not stored, so it may take its time.)
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from smalti.training.pyramid.learned_pyramid import Pyramid

__all__ = ["SearchState", "improve", "measure"]

SINGLE_CHANGES = 2
"""Foretold changes that are decoded in a round, each by itself; many changes at once are one more."""

PATIENCE = 2
"""Rounds without a better outcome after which an image is left as it is."""


@dataclass
class SearchState:
    """Tokens of some images and what they come to. sse, bits : [n]"""

    tokens: list[Tensor]
    sse: Tensor
    bits: Tensor

    def cost(self, price: float) -> Tensor:
        """Squared error + price * bits, [n]."""
        return self.sse + price * self.bits

    def rows(self, which: Tensor) -> "SearchState":
        """Return some of the images."""
        return SearchState([level[which] for level in self.tokens], self.sse[which], self.bits[which])


@torch.no_grad()
def measure(pyramid: Pyramid, images: Tensor, tokens: list[Tensor]) -> SearchState:
    """Decode tokens and count their bits."""
    decoded = pyramid.decode(pyramid.latents_of(tokens))
    return SearchState(tokens, (decoded - images).square().sum((1, 2, 3)), pyramid.bits_of(tokens).sum(1))


def improve(
    pyramid: Pyramid,
    images: Tensor,
    state: SearchState,
    weights: list[Tensor],
    price: float,
    rounds: int,
    generator: torch.Generator,
) -> SearchState:
    """Return tokens of lower squared error + price * bits; none is worse than before.

    images : [n, C, H, W] in [0, 1]
    weights : distortion of a squared unit of each channel, [D] for each scale
    rounds : changes that an image may see
    """
    state = SearchState([level.clone() for level in state.tokens], state.sse.clone(), state.bits.clone())
    failures = torch.zeros(len(images), dtype=torch.int64)
    for number in range(rounds):
        active = torch.nonzero(failures < PATIENCE)[:, 0]
        if not len(active):
            break
        part, here = state.rows(active), images[active]
        better, found = _round(pyramid, here, part, weights, price, number, generator)
        failures[active] += 1
        rows = active[better]
        failures[rows] = 0
        for level, tokens in enumerate(found.tokens):
            state.tokens[level][rows] = tokens[better]
        state.sse[rows], state.bits[rows] = found.sse[better], found.bits[better]
    return state


def _round(
    pyramid: Pyramid,
    images: Tensor,
    state: SearchState,
    weights: list[Tensor],
    price: float,
    number: int,
    generator: torch.Generator,
) -> tuple[Tensor, SearchState]:
    """Try the most promising changes; return which images are better, and the best outcome of each."""
    foretold = _foretold(pyramid, images, state.tokens, weights, price)
    best, best_cost = state, state.cost(price)
    better = torch.zeros(len(images), dtype=torch.bool)
    for tokens in _candidates(foretold, state.tokens, number, generator):
        trial = measure(pyramid, images, tokens)
        cost = trial.cost(price)
        improved = cost < best_cost - 1e-6
        better |= improved
        best_cost = torch.where(improved, cost, best_cost)
        chosen = [torch.where(improved[:, None], new, old) for new, old in zip(trial.tokens, best.tokens, strict=True)]
        best = SearchState(
            chosen, torch.where(improved, trial.sse, best.sse), torch.where(improved, trial.bits, best.bits)
        )
    return better, best


def _foretold(
    pyramid: Pyramid, images: Tensor, tokens: list[Tensor], weights: list[Tensor], price: float
) -> list[Tensor]:
    """What each change of one token would add to the cost, about: [n, positions, K] for each level."""
    with torch.no_grad():
        latents = pyramid.latents_of(tokens)
    inputs = [scale.requires_grad_() for scale in latents]
    sse = (pyramid.decode(inputs) - images).square().sum()
    gradients = torch.autograd.grad(sse, inputs)
    result = []
    with torch.no_grad():
        before = pyramid.empty_latents(len(images))
        for level, form in enumerate(pyramid.forms):
            bits, before = pyramid.expected(before, level, tokens[level])
            codes, weight = pyramid.code_values(level), weights[form.scale][form.slice]
            slope = gradients[form.scale][:, form.slice].flatten(2).transpose(1, 2)  # [n, positions, d]
            now = codes[tokens[level]]
            # slope * (code - now) + weight * (code - now)^2, without the differences themselves
            linear = (slope - 2 * weight * now) @ codes.T + (weight * codes.square()).sum(1)
            constant = (weight * now.square() - slope * now).sum(2, keepdim=True)
            own_bits = bits.gather(2, tokens[level][..., None])
            change = linear + constant + price * (bits - own_bits)
            result.append(change.scatter(2, tokens[level][..., None], float("inf")))
    return result


def _candidates(
    foretold: list[Tensor], tokens: list[Tensor], number: int, generator: torch.Generator
) -> list[list[Tensor]]:
    """Return tokens to try: the best single changes, and about half of all places' changes at once."""
    best = [change.min(2) for change in foretold]
    gains = torch.cat([least.values for least in best], 1)  # [n, T]
    codes = torch.cat([least.indices for least in best], 1)
    flat = torch.cat(tokens, 1)
    sizes = [level.shape[1] for level in tokens]
    order = torch.topk(gains, min(SINGLE_CHANGES, gains.shape[1]), dim=1, largest=False).indices
    tries = [flat.scatter(1, place, codes.gather(1, place)) for place in order.T[..., None]]
    if flat.shape[1] > SINGLE_CHANGES:
        some = torch.rand(gains.shape, generator=generator) < 0.5 / (1 + number // 4)
        tries.append(torch.where(some & (gains < 0), codes, flat))
    return [list(torch.split(trial, sizes, 1)) for trial in tries]

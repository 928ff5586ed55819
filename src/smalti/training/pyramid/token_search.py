"""The search for better tokens, image by image, with the archive's decoder and prior.

The gradient predicts how the squared error changes with each latent; the diagonal of the Gauss-Newton matrix predicts
how the gradient itself changes. Together they predict the effect of every change of a single token. The most promising
changes are decoded, and the best one stays if it lowers squared error + price * bits. (Analysis by synthesis: only the
encoder searches, so a slow search costs readers nothing.)
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from smalti.training.pyramid.learned_pyramid import Pyramid

__all__ = ["SearchState", "improve", "measure"]

SINGLE_CHANGES = 2
"""Predicted changes to decode in a round, each alone. One more candidate makes many changes at once."""

PATIENCE = 2
"""Rounds without improvement after which the search skips an image."""


@dataclass
class SearchState:
    """Tokens of some images, int64 [n, positions] for each level, with their squared errors and bits, [n] each."""

    tokens: list[Tensor]
    sse: Tensor
    bits: Tensor

    def cost(self, price: float) -> Tensor:
        """Squared error + price * bits, [n]."""
        return self.sse + price * self.bits

    def rows(self, indices: Tensor) -> "SearchState":
        """Return the state of some images."""
        return SearchState([level[indices] for level in self.tokens], self.sse[indices], self.bits[indices])


@torch.no_grad()
def measure(pyramid: Pyramid, images: Tensor, tokens: list[Tensor]) -> SearchState:
    """Return the state of tokens: decode them and count their bits."""
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
    rounds : the most changes of an image
    """
    state = SearchState([level.clone() for level in state.tokens], state.sse.clone(), state.bits.clone())
    failures = torch.zeros(len(images), dtype=torch.int64)
    for number in range(rounds):
        active = torch.nonzero(failures < PATIENCE)[:, 0]
        if not len(active):
            break
        better, found = _round(pyramid, images[active], state.rows(active), weights, price, number, generator)
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
    """Try the most promising changes; return which images improve, and the best state of each."""
    predicted = _predicted_costs(pyramid, images, state.tokens, weights, price)
    best, best_cost = state, state.cost(price)
    better = torch.zeros(len(images), dtype=torch.bool)
    for tokens in _candidates(predicted, state.tokens, number, generator):
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


def _predicted_costs(
    pyramid: Pyramid, images: Tensor, tokens: list[Tensor], weights: list[Tensor], price: float
) -> list[Tensor]:
    """Predict the change of the cost for each change of a single token: [n, positions, K] for each level."""
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
    predicted: list[Tensor], tokens: list[Tensor], number: int, generator: torch.Generator
) -> list[list[Tensor]]:
    """Return tokens to try: each of the best single changes, and the changes of about half of all positions at once."""
    best = [change.min(2) for change in predicted]
    gains = torch.cat([least.values for least in best], 1)  # [n, T]
    codes = torch.cat([least.indices for least in best], 1)
    flat = torch.cat(tokens, 1)
    sizes = [level.shape[1] for level in tokens]
    order = torch.topk(gains, min(SINGLE_CHANGES, gains.shape[1]), dim=1, largest=False).indices
    tries = [flat.scatter(1, position, codes.gather(1, position)) for position in order.T[..., None]]
    if flat.shape[1] > SINGLE_CHANGES:
        some = torch.rand(gains.shape, generator=generator) < 0.5 / (1 + number // 4)
        tries.append(torch.where(some & (gains < 0), codes, flat))
    return [list(torch.split(trial, sizes, 1)) for trial in tries]

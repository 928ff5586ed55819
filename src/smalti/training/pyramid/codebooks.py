"""Codebooks that size themselves: codes are added while they pay for themselves in bytes, and removed when not.

A code costs bytes of its own, stored once for all images: its numbers, and what the prior stores for it. It stays if
what it saves over all images, in distortion + price * bits, is more than that (minimum description length; Rissanen
1978). Codes that serve many and serve them badly are split in two; what did not help is removed the next time.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from smalti.training.pyramid.assign import CodeUse

__all__ = ["CodeChanges", "UseTotals", "distinct", "few_different", "kmeans", "resized"]

BITS_PER_NUMBER = 6.0
BITS_PER_WEIGHT = 3.0
FEW_IMAGES = 8
"""So many different images have a code each, whatever it costs: there is no other way to tell them apart."""

ALIKE = 1e-3
"""Vectors are copies of each other if they are closer than this share of the longest one."""

SPLIT_SHARE = 0.5
"""Share of a codebook that may be split at a time."""


@dataclass(frozen=True)
class CodeChanges:
    """What becomes of a codebook.

    sources : the old code of each new one, int64 [K']
    offsets : what is added to it, float [K', d]
    penalties : bits by which it is less likely than the old one, float [K']
    """

    sources: Tensor
    offsets: Tensor
    penalties: Tensor


class UseTotals:
    """How the codes of a level have served since the last change."""

    def __init__(self, codes: int) -> None:
        self.count, self.spared, self.distortion = torch.zeros(codes), torch.zeros(codes), torch.zeros(codes)
        self.images = 0

    def add(self, use: CodeUse, images: int) -> None:
        """Add a batch."""
        self.count += use.count
        self.spared += use.spared
        self.distortion += use.distortion
        self.images += images


def resized(
    codes: Tensor, totals: UseTotals, weight: Tensor, price: float, images: int, hidden: int, room: int
) -> CodeChanges:
    """Return which codes stay and which are split.

    weight : distortion of a squared unit of each channel, [d]
    images : of the whole collection
    hidden : units of the prior, each of which has a weight for a code
    room : codes that may be added
    """
    size, channels = codes.shape
    copies = images / max(1, totals.images)
    code_cost = price * (BITS_PER_NUMBER * channels + BITS_PER_WEIGHT * (hidden + 2))
    worth = totals.spared * copies
    keep = worth > code_cost
    if not bool(keep.any()):
        keep[int(worth.argmax())] = True
    kept = torch.nonzero(keep)[:, 0]
    sources, offsets, penalties = [kept], [torch.zeros(len(kept), channels)], [torch.zeros(len(kept))]
    if room:
        # halving a cell's volume along its longest axis leaves about this share of its distortion
        gain = (1 - 0.25 ** (1 / channels)) * totals.distortion - 0.5 * price * totals.count
        pays = kept[(gain[kept] * copies) > 2 * code_cost]
        order = pays[torch.argsort(gain[pays], descending=True)]
        split = order[: min(len(order), max(1, int(SPLIT_SHARE * size)), room)]
        spread = (totals.distortion / totals.count.clamp_min(1) / channels).sqrt()[split, None] / weight.sqrt()
        direction = torch.randn(len(split), channels, generator=torch.Generator().manual_seed(size))
        step = spread * direction / direction.norm(dim=1, keepdim=True) * channels**0.5
        place = torch.searchsorted(kept, split)
        offsets[0][place] -= 0.5 * step
        penalties[0][place] = 1.0
        sources.append(split)
        offsets.append(0.5 * step)
        penalties.append(torch.ones(len(split)))
    return CodeChanges(torch.cat(sources), torch.cat(offsets), torch.cat(penalties))


def kmeans(points: Tensor, size: int, generator: torch.Generator, rounds: int = 8) -> Tensor:
    """Return `size` codes [size, d] for points [m, d], by Lloyd's algorithm from points drawn at random."""
    size = min(size, len(points))
    codes = points[torch.randperm(len(points), generator=generator)[:size]].clone()
    for _ in range(rounds):
        nearest = torch.cdist(points, codes).argmin(1)
        counts = torch.bincount(nearest, minlength=size)
        sums = torch.zeros_like(codes).index_add_(0, nearest, points)
        codes = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], codes)
    return codes


def few_different(latents: list[Tensor]) -> bool:
    """Whether images are copies of a few, by their latents [n, D, rows, columns] of each scale."""
    images = torch.cat([scale.flatten(1) for scale in latents], 1)
    return len(distinct(images)) <= min(FEW_IMAGES, len(images) / 2)


def distinct(vectors: Tensor) -> Tensor:
    """Return the first of each group of vectors [m, d] that are copies of each other."""
    distances = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    alike = distances <= ALIKE * vectors.norm(dim=1).max()
    return vectors[~alike.tril(-1).any(1)]

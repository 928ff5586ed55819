"""Codebooks that find their own size: codes that pay for their bytes are added, and others are removed.

A code costs bytes once for all images: its own numbers, and those of the prior for it. It stays if it saves more than
that over all images, in distortion + price * bits (minimum description length; Rissanen 1978). A code with many tokens
and a large distortion is split in two. If that does not help, the next change removes it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from smalti.training.pyramid.assign import CodeUse

__all__ = ["CodeChanges", "UseTotals", "distinct", "few_different", "kmeans", "resized"]

BITS_PER_NUMBER = 6.0
BITS_PER_WEIGHT = 3.0
FEW_IMAGES = 8
"""Up to this many different images get a code each at any cost: nothing else can tell them apart."""

ALIKE = 1e-3
"""Two vectors are copies if their distance is at most this share of the longest vector."""

SPLIT_SHARE = 0.5
"""The largest share of a codebook to split in one change."""


@dataclass(frozen=True)
class CodeChanges:
    """A new codebook, in terms of the old one.

    sources : the old code of each new one, int64 [K']
    offsets : the new code minus the old one, float [K', d]
    penalties : the extra bits of the new code, compared with the old one, float [K']
    """

    sources: Tensor
    offsets: Tensor
    penalties: Tensor


class UseTotals:
    """The use of a level's codes since the last change of the codebook: sums of CodeUse over batches."""

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
    """Choose the codes to keep and the codes to split.

    weight : distortion of a squared unit of each channel, [d]
    images : number of images of the whole collection
    hidden : number of hidden units of the prior; each has one weight for a code
    room : the most codes to add
    """
    size, channels = codes.shape
    repeats = images / max(1, totals.images)
    code_cost = price * (BITS_PER_NUMBER * channels + BITS_PER_WEIGHT * (hidden + 2))
    worth = totals.spared * repeats
    keep = worth > code_cost
    if not bool(keep.any()):
        keep[int(worth.argmax())] = True
    kept = torch.nonzero(keep)[:, 0]
    sources, offsets, penalties = [kept], [torch.zeros(len(kept), channels)], [torch.zeros(len(kept))]
    if room:
        # halving a cell's volume along its longest axis removes about this share of its distortion
        gain = (1 - 0.25 ** (1 / channels)) * totals.distortion - 0.5 * price * totals.count
        pays = kept[(gain[kept] * repeats) > 2 * code_cost]
        order = pays[torch.argsort(gain[pays], descending=True)]
        split = order[: min(len(order), max(1, int(SPLIT_SHARE * size)), room)]
        deviation = (totals.distortion / totals.count.clamp_min(1) / channels).sqrt()[split, None] / weight.sqrt()
        direction = torch.randn(len(split), channels, generator=torch.Generator().manual_seed(size))
        step = deviation * direction / direction.norm(dim=1, keepdim=True) * channels**0.5
        index = torch.searchsorted(kept, split)
        offsets[0][index] -= 0.5 * step
        penalties[0][index] = 1.0
        sources.append(split)
        offsets.append(0.5 * step)
        penalties.append(torch.ones(len(split)))
    return CodeChanges(torch.cat(sources), torch.cat(offsets), torch.cat(penalties))


def kmeans(points: Tensor, size: int, generator: torch.Generator, rounds: int = 8) -> Tensor:
    """Return `size` codes [size, d] for points [m, d], by Lloyd's algorithm from a random sample of the points."""
    size = min(size, len(points))
    codes = points[torch.randperm(len(points), generator=generator)[:size]].clone()
    for _ in range(rounds):
        nearest = torch.cdist(points, codes).argmin(1)
        counts = torch.bincount(nearest, minlength=size)
        sums = torch.zeros_like(codes).index_add_(0, nearest, points)
        codes = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], codes)
    return codes


def few_different(latents: list[Tensor]) -> bool:
    """Return whether images are copies of a few, by their latents [n, D, rows, columns] for each scale."""
    images = torch.cat([scale.flatten(1) for scale in latents], 1)
    return len(distinct(images)) <= min(FEW_IMAGES, len(images) / 2)


def distinct(vectors: Tensor) -> Tensor:
    """Return vectors [m, d] without those that are copies of an earlier one."""
    distances = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    alike = distances <= ALIKE * vectors.norm(dim=1).max()
    return vectors[~alike.tril(-1).any(1)]

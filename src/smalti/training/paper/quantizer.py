"""The codebook and the vector quantiser: latents in, tokens and straight-through latents out."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smalti.training.common.distributed import ALONE, ProcessGroup
from smalti.training.paper.settings import QuantizerSettings

__all__ = ["Codebook", "Quantized", "VectorQuantizer", "mean_square"]

DISTANCES_AT_ONCE = 1 << 23
"""The most distances in memory at a time (32 MiB as float32), for any codebook size."""

KMEANS_ITERATIONS = 10
DEAD_SHARE = 0.02
"""A code is dead if its running count is below this share of the mean count."""


class Codebook(nn.Module):
    """K codes of D dimensions: `weight` float32 [K, D], with the running statistics for EMA and restarts."""

    weight: nn.Parameter
    counts: Tensor
    sums: Tensor

    def __init__(self, codebook_size: int, code_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(codebook_size, code_dim))
        nn.init.uniform_(self.weight, -1 / codebook_size, 1 / codebook_size)
        self.register_buffer("counts", torch.ones(codebook_size))
        self.register_buffer("sums", self.weight.detach().clone())

    def nearest(self, vectors: Tensor) -> Tensor:
        """Return the index of the nearest code by L2 distance: float [n, D] -> int64 [n], the lower one in a tie."""
        with torch.no_grad():
            squares = self.weight.square().sum(1)
            parts = torch.split(vectors, max(1, DISTANCES_AT_ONCE // len(squares)))
            # |v - e|^2 without |v|^2, which is the same for every code
            return torch.cat([torch.addmm(squares, part, self.weight.t(), alpha=-2).argmin(1) for part in parts])

    @torch.no_grad()
    def track(self, vectors: Tensor, tokens: Tensor, decay: float, group: ProcessGroup = ALONE) -> None:
        """Add a batch to the running counts and sums: vectors [n, D], tokens [n]. group : the ranks of the batch"""
        counts, sums = self._totals(vectors, tokens, group)
        self.counts.lerp_(counts, 1 - decay)
        self.sums.lerp_(sums, 1 - decay)

    @torch.no_grad()
    def move_to_means(self) -> None:
        """Move each code to the running mean of the latents that picked it."""
        self.weight.copy_(self.sums / self.counts.clamp_min(1e-3)[:, None])

    @torch.no_grad()
    def move(self, indices: Tensor, vectors: Tensor, count: float) -> None:
        """Move the codes at `indices` to `vectors`, each with a running count of `count`."""
        self.weight[indices] = vectors
        self.counts[indices] = count
        self.sums[indices] = vectors * count

    @torch.no_grad()
    def start_from_kmeans(
        self, vectors: Tensor, vectors_per_step: int, generator: torch.Generator, group: ProcessGroup = ALONE
    ) -> None:
        """Set the codes to the centroids of `vectors` [n, D], by Lloyd's algorithm from a random sample of them.

        The running counts are set to those of a step with `vectors_per_step` vectors, so that the next step moves the
        codes a little and not all the way.

        group : the ranks; each passes its own vectors, and a generator in the same state
        """
        size, population = len(self.weight), group.count(vectors)
        self.weight.copy_(group.pick(vectors, _draw(population, size, generator)))
        for _ in range(KMEANS_ITERATIONS):
            counts, sums = self._totals(vectors, self.nearest(vectors), group)
            empty = counts == 0
            sums[empty] = group.pick(vectors, _draw(population, int(empty.sum()), generator))
            self.weight.copy_(sums / counts.clamp_min(1)[:, None])
        self.counts.copy_((counts * (vectors_per_step / population)).clamp_min(1e-3))
        self.sums.copy_(self.weight * self.counts[:, None])

    def _totals(self, vectors: Tensor, tokens: Tensor, group: ProcessGroup) -> tuple[Tensor, Tensor]:
        """Return how many vectors picked each code, [K], and their sums, [K, D], on all ranks together."""
        counts = torch.bincount(tokens, minlength=len(self.weight)).to(vectors.dtype)
        sums = torch.zeros_like(self.sums).index_add_(0, tokens, vectors)
        group.add_up([counts, sums])
        return counts, sums


class Quantized(NamedTuple):
    """The output of the quantiser for latents [n, D, h, w]."""

    latents: Tensor
    """[n, D, h, w], each vector replaced by its code. The gradient passes straight through."""
    tokens: Tensor
    """int64 [n, h, w], each in [0, K)."""
    codebook_loss: Tensor
    """Mean squared distance whose gradient moves the codes; zero if running means move them."""
    commitment_loss: Tensor
    """Mean squared distance whose gradient moves the encoder, before its weight."""


class VectorQuantizer(nn.Module):
    """Replace each latent vector by the nearest code (van den Oord, Vinyals & Kavukcuoglu 2017).

    The fit decides when a k-means start or a restart happens: it calls `start_from_kmeans` and `restart_dead_codes`.

    group : the ranks whose latents move the codes together, each calling with its part; set by a fit
    """

    group: ProcessGroup = ALONE

    def __init__(self, latent_channels: int, settings: QuantizerSettings) -> None:
        super().__init__()
        self.settings = settings
        code_dim = settings.code_dim or latent_channels
        self.codebook = Codebook(settings.codebook_size, code_dim)
        self.codebook.weight.requires_grad_(settings.update == "gradient")
        low = settings.code_dim is not None
        self.project_in: nn.Module = nn.Linear(latent_channels, code_dim) if low else nn.Identity()
        self.project_out: nn.Module = nn.Linear(code_dim, latent_channels) if low else nn.Identity()

    def forward(self, latents: Tensor) -> Quantized:
        """Quantise latents [n, D, h, w]. In training mode, also update the running statistics."""
        vectors = self.vectors(latents)
        tokens = self.codebook.nearest(vectors)
        if self.training:
            self._track(vectors.detach(), tokens)
        codes = F.embedding(tokens, self.codebook.weight)
        commitment_loss = mean_square(vectors, codes.detach())
        if self.settings.update == "gradient":
            codebook_loss = mean_square(codes, vectors.detach())
        else:
            codebook_loss = torch.zeros_like(commitment_loss)
        through = vectors + (codes - vectors).detach()
        count, _, height, width = latents.shape
        return Quantized(
            self._to_grid(self.project_out(through), latents),
            tokens.view(count, height, width),
            codebook_loss,
            commitment_loss,
        )

    def vectors(self, latents: Tensor) -> Tensor:
        """Return latents [n, D, h, w] as vectors to compare with codes: [n * h * w, code_dim]."""
        flat = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
        projected: Tensor = self.project_in(flat)
        return projected

    def code_latents(self) -> Tensor:
        """Return the decoder's input for each code: float32 [K, latent_channels]."""
        latents: Tensor = self.project_out(self.codebook.weight)
        return latents.detach()

    def unquantized(self, latents: Tensor) -> Tensor:
        """Pass latents through the maps in and out, without codes (warm-up)."""
        return self._to_grid(self.project_out(self.vectors(latents)), latents)

    @torch.no_grad()
    def restart_dead_codes(self, latents: Tensor, generator: torch.Generator) -> int:
        """Move dead codes to random vectors of latents [n, D, h, w]; return the number of dead codes."""
        vectors = self.vectors(latents)
        population = self.group.count(vectors)
        even = population / self.settings.codebook_size
        dead = (self.codebook.counts < DEAD_SHARE * even).nonzero().flatten()
        if len(dead):
            picked = _draw(population, len(dead), generator)
            self.codebook.move(dead, self.group.pick(vectors, picked), 0.2 * even)
        return len(dead)

    @torch.no_grad()
    def start_from_kmeans(self, latents: Tensor, vectors_per_step: int, generator: torch.Generator) -> None:
        """Start the codebook from latents [n, D, h, w] by `Codebook.start_from_kmeans`."""
        self.codebook.start_from_kmeans(self.vectors(latents), vectors_per_step, generator, self.group)

    def _track(self, vectors: Tensor, tokens: Tensor) -> None:
        if self.settings.update == "ema" or self.settings.restart:
            self.codebook.track(vectors, tokens, self.settings.ema_decay, self.group)
        if self.settings.update == "ema":
            self.codebook.move_to_means()

    @staticmethod
    def _to_grid(vectors: Tensor, like: Tensor) -> Tensor:
        count, _, height, width = like.shape
        return vectors.view(count, height, width, vectors.shape[-1]).permute(0, 3, 1, 2)


def mean_square(values: Tensor, goals: Tensor) -> Tensor:
    """Return the mean squared difference; 0 if there are no values, as on a rank without a share of a small batch."""
    return F.mse_loss(values, goals) if values.numel() else (values - goals).square().sum()


def _draw(population: int, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` random indices below `population`, without repeats if there are enough."""
    if count <= population:
        return torch.randperm(population, generator=generator)[:count]
    return torch.randint(population, (count,), generator=generator)

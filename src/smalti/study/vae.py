"""The baseline with continuous latents from related work: the VAE of Kingma and Welling (2013), as a codec.

It is a network of fully connected layers, 784-400-20-400-784, with a Bernoulli likelihood and Adam at 1e-3, like the
reference implementations. It is fitted about as long as a run of the study takes. As a codec, an image is the mean of
its posterior, each dimension rounded to multiples of a step (`pack_latents`); several steps give a curve. Encoder and
fit do not know about the rounding: this is the plain VAE, not one made for compression.
"""

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from smalti.decoders.grid.grid_prior import TokenPrior
from smalti.errors import DamagedArchiveError, SourceError, UsageError
from smalti.peers.matching import RatePoint, rate_point
from smalti.study.results import StoredResult

__all__ = [
    "Vae",
    "VaeResult",
    "VaeRun",
    "VaeSettings",
    "fit_vae",
    "measure_vae",
    "pack_latents",
    "rate_distortion",
    "unpack_latents",
]

BATCH_IMAGES = 1000

HEAD = struct.Struct("<IHHhfI")
"""Images, dimensions, levels, lowest level, step, bytes of the prior."""


@dataclass(frozen=True)
class VaeSettings:
    """Network and protocol of the VAE; the defaults are those of the reference implementations.

    latents : dimensions of the latent; hidden : width of the one hidden layer on each side
    steps : quantiser steps measured, in units of the prior's standard deviation
    """

    latents: int = 20
    hidden: int = 400
    epochs: int = 30
    batch_images: int = 128
    learning_rate: float = 1e-3
    steps: tuple[float, ...] = (3.0, 2.5, 2.0, 1.75, 1.5, 1.25, 1.0, 0.8, 0.6, 0.4, 0.2, 0.1)


class Vae(nn.Module):
    """An encoder and a decoder of fully connected layers, with one hidden layer each.

    pixels : the number of pixels of an image
    """

    def __init__(self, pixels: int, settings: VaeSettings) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(pixels, settings.hidden), nn.ReLU())
        self.mean = nn.Linear(settings.hidden, settings.latents)
        self.log_variance = nn.Linear(settings.hidden, settings.latents)
        self.decoder = nn.Sequential(
            nn.Linear(settings.latents, settings.hidden), nn.ReLU(), nn.Linear(settings.hidden, pixels)
        )

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance [N, latents] of the posterior of images [N, pixels] in [0, 1]."""
        hidden = self.encoder(pixels)
        return self.mean(hidden), self.log_variance(hidden)

    def decode(self, latents: Tensor) -> Tensor:
        """Return the logits [N, pixels] of latents [N, latents]."""
        logits: Tensor = self.decoder(latents)
        return logits

    def loss(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Return the negative evidence lower bound, in nats per image, with one sample of the posterior."""
        mean, log_variance = self.encode(pixels)
        noise = torch.randn(mean.shape, generator=generator)
        logits = self.decode(mean + noise * (0.5 * log_variance).exp())
        likelihood = F.binary_cross_entropy_with_logits(logits, pixels, reduction="sum")
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
        return (likelihood + divergence) / len(pixels)


@dataclass(frozen=True)
class VaeRun:
    """A fitted VAE as a codec.

    parameters : of encoder and decoder; decoder_bytes : float32 size of the decoder, which a reader would need
    negative_elbo : of the training images in the last epoch, nats per image
    points : on the test images; the bytes are those of `pack_latents`, tables included
    """

    seed: int
    fit_seconds: float
    parameters: int
    decoder_bytes: int
    negative_elbo: float
    points: tuple[RatePoint, ...]


@dataclass(frozen=True)
class VaeResult(StoredResult):
    """The VAE baseline over seeds. command : the command that measured it"""

    file_name: ClassVar[str] = "vae.json"
    command: str
    machine: str
    settings: VaeSettings
    train_images: int
    test_images: int
    runs: tuple[VaeRun, ...]


def fit_vae(images: NDArray[np.uint8], settings: VaeSettings, seed: int) -> tuple[Vae, float]:
    """Return a VAE fitted to uint8 images [N, H, W], and its negative evidence lower bound in the last epoch."""
    flat = torch.from_numpy(images.reshape(len(images), -1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = Vae(flat.shape[1], settings)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(vae.parameters(), lr=settings.learning_rate)
    total = 0.0
    for _ in range(settings.epochs):
        total = 0.0
        for batch in torch.split(torch.randperm(len(flat), generator=generator), settings.batch_images):
            loss = vae.loss(flat[batch].float() / 255, generator)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item() * len(batch)
    return vae, total / len(flat)


@torch.no_grad()
def rate_distortion(vae: Vae, images: NDArray[np.uint8], steps: tuple[float, ...]) -> tuple[RatePoint, ...]:
    """Return a fitted VAE's curve on uint8 images [N, H, W], each point decoded from its bytes."""
    batches = torch.split(torch.from_numpy(images.reshape(len(images), -1)), BATCH_IMAGES)
    means = torch.cat([vae.encode(batch.float() / 255)[0] for batch in batches]).numpy()
    points = []
    for step in steps:
        data = pack_latents(means, step)
        latents = torch.from_numpy(unpack_latents(data))
        decoded = torch.cat([_to_bytes(vae.decode(batch)) for batch in torch.split(latents, BATCH_IMAGES)])
        points.append(rate_point(step, len(data), images, decoded.numpy().reshape(images.shape)))
    return tuple(points)


def _to_bytes(logits: Tensor) -> Tensor:
    return (logits.sigmoid() * 255).round().to(torch.uint8)


def measure_vae(
    train: NDArray[np.uint8],
    test: NDArray[np.uint8],
    seeds: tuple[int, ...],
    command: str,
    machine: str,
    settings: VaeSettings | None = None,
    on_seed: Callable[[int], None] = lambda seed: None,
) -> VaeResult:
    """Fit a VAE to uint8 images `train` [N, H, W] for each seed and return its curves on `test` [M, H, W].

    `on_seed` is called with each seed first.
    """
    if train.ndim != 3 or test.ndim != 3 or train.shape[1:] != test.shape[1:] or not (len(train) and len(test)):
        raise SourceError(f"the VAE is measured on grey images [N, H, W] of one size, not {train.shape}, {test.shape}")
    settings = VaeSettings() if settings is None else settings
    runs = []
    for seed in seeds:
        on_seed(seed)
        start = time.monotonic()
        vae, negative_elbo = fit_vae(train, settings, seed)
        seconds = time.monotonic() - start
        points = rate_distortion(vae, test, settings.steps)
        parameters, decoder = _parameters(vae), _parameters(vae.decoder)
        runs.append(VaeRun(seed, seconds, parameters, 4 * decoder, negative_elbo, points))
    return VaeResult(command, machine, settings, len(train), len(test), tuple(runs))


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def pack_latents(latents: NDArray[np.float32], step: float) -> bytes:
    """Return latents float [N, D] as bytes, each rounded to the nearest multiple of `step`.

    The archive's own entropy coder codes them. The bytes hold everything but the decoder network: step, range,
    frequency tables (one for each dimension where that saves bytes) and the coded integers. `unpack_latents` returns
    the multiples. UsageError if the step is too fine for 65,536 levels.
    """
    levels = np.rint(latents / np.float32(step)).astype(np.int64)
    lowest, highest = int(levels.min()), int(levels.max())
    if lowest < -(1 << 15) or highest - lowest >= 1 << 16 or lowest >= 1 << 15:
        raise UsageError(f"step {step} makes levels from {lowest} to {highest}: choose a larger one")
    symbols = levels - lowest
    alphabet = highest - lowest + 1
    counts = np.stack([np.bincount(column, minlength=alphabet) for column in symbols.T]).astype(np.int64)
    prior = TokenPrior.fit(counts)
    stored_prior = prior.to_bytes()
    head = HEAD.pack(*latents.shape, alphabet, lowest, step, len(stored_prior))
    return head + stored_prior + prior.encode(symbols)


def unpack_latents(data: bytes) -> NDArray[np.float32]:
    """Return the latents float32 [N, D] in bytes from `pack_latents`; DamagedArchiveError for other bytes."""
    if len(data) < HEAD.size:
        raise DamagedArchiveError(f"latents: {len(data)} bytes are too few")
    images, dimensions, alphabet, lowest, step, prior_bytes = HEAD.unpack_from(data)
    start = HEAD.size + prior_bytes
    prior = TokenPrior.from_bytes(data[HEAD.size : start], alphabet, dimensions)
    levels = prior.decode(data[start:], images).astype(np.int64) + lowest
    latents: NDArray[np.float32] = (levels * np.float32(step)).astype(np.float32)
    return latents

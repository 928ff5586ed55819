"""The study's network on one page: encoder, quantiser, mirrored decoder (study, sections 3.1 and 3.2)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smalti.training.paper.quantizer import Quantized, VectorQuantizer
from smalti.training.paper.settings import FitSettings

__all__ = ["DOWNSAMPLING", "VQVAE", "Decoder", "Encoder", "Reconstruction", "padded_size"]

DOWNSAMPLING = 4
"""Pixels along a side for each token. Sides that are no multiple of it are padded."""


def padded_size(height: int, width: int) -> tuple[int, int]:
    """Return the sides after padding: each rounded up to a multiple of 4."""
    return -(-height // DOWNSAMPLING) * DOWNSAMPLING, -(-width // DOWNSAMPLING) * DOWNSAMPLING


class Encoder(nn.Module):
    """[n, C, H, W] in [0, 1] -> latents [n, D, H/4, W/4], by two 4x4 convolutions of stride 2."""

    def __init__(self, channels: int, hidden_channels: int, latent_channels: int) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(channels, hidden_channels, 4, stride=2, padding=1)
        self.down2 = nn.Conv2d(hidden_channels, latent_channels, 4, stride=2, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the latents of images."""
        latents: Tensor = self.down2(F.relu(self.down1(images)))
        return latents


class Decoder(nn.Module):
    """Latents [n, D, h, w] -> [n, C, 4h, 4w] in [0, 1], by two transposed 4x4 convolutions of stride 2."""

    def __init__(self, channels: int, hidden_channels: int, latent_channels: int) -> None:
        super().__init__()
        self.up1 = nn.ConvTranspose2d(latent_channels, hidden_channels, 4, stride=2, padding=1)
        self.up2 = nn.ConvTranspose2d(hidden_channels, channels, 4, stride=2, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """Return the images of latents."""
        return torch.sigmoid(self.up2(F.relu(self.up1(latents))))


class Reconstruction(NamedTuple):
    """The output of a VQVAE for images [n, C, H, W]."""

    images: Tensor
    """[n, C, H, W] in [0, 1]."""
    quantized: Quantized


class VQVAE(nn.Module):
    """Encoder, VectorQuantizer and Decoder.

    With one channel and the study's settings it has 266,561 + 64 K parameters. Sides that are no multiple of 4 are
    padded with the nearest pixel before encoding and cropped after decoding.
    """

    def __init__(self, channels: int, settings: FitSettings) -> None:
        super().__init__()
        self.encoder = Encoder(channels, settings.hidden_channels, settings.latent_channels)
        self.quantizer = VectorQuantizer(settings.latent_channels, settings.quantizer)
        self.decoder = Decoder(channels, settings.hidden_channels, settings.latent_channels)

    def forward(self, images: Tensor, *, quantize: bool = True) -> Reconstruction:
        """Encode, quantise and decode images; quantize=False skips the codes (warm-up)."""
        latents = self.latents(images)
        if quantize:
            quantized = self.quantizer(latents)
        else:
            nothing = latents.new_zeros(())
            quantized = Quantized(self.quantizer.unquantized(latents), latents.new_empty(0).long(), nothing, nothing)
        height, width = images.shape[2:]
        return Reconstruction(self.decoder(quantized.latents)[..., :height, :width], quantized)

    def latents(self, images: Tensor) -> Tensor:
        """Return the latents [n, D, h, w] of images [n, C, H, W] in [0, 1]."""
        height, width = images.shape[2:]
        padded_height, padded_width = padded_size(height, width)
        if (height, width) != (padded_height, padded_width):
            images = F.pad(images, (0, padded_width - width, 0, padded_height - height), mode="replicate")
        latents: Tensor = self.encoder(images)
        return latents

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Return the tokens of images: float [n, C, H, W] in [0, 1] -> int64 [n, h, w]."""
        latents = self.latents(images)
        count, _, height, width = latents.shape
        return self.quantizer.codebook.nearest(self.quantizer.vectors(latents)).view(count, height, width)

    def parameter_count(self) -> int:
        """Return the number of learned values, including the codebook."""
        return sum(parameter.numel() for parameter in self.parameters())

"""Quantisation-aware fine-tuning: the last part of a fit, after which the decoder is integers and nothing else.

Encoder and codebook stay as they are, so that tokens do not change; only the decoder learns, on the images' own
tokens, through the rounding that it will meet. It starts from the calibrated network, which is kept if it is better.
"""

import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from smalti.errors import ModelError
from smalti.integer import IntegerDecoder, IntegerNetwork
from smalti.training.images import TrainingImages, to_unit_range
from smalti.training.integers import QuantizedDecoder, calibrate
from smalti.training.network import VQVAE
from smalti.training.report import QuantizationReport
from smalti.training.settings import FitSettings

__all__ = ["finetune_steps", "quantize_decoder"]

CALIBRATION_IMAGES = 2048
BATCH_IMAGES = 64
SHARE_OF_FIT = 5
"""Fine-tuning takes at most this fraction of the fit's own steps, so that a short fit stays short."""

StepCallback = Callable[[int], None]


def finetune_steps(settings: FitSettings, steps: int) -> int:
    """Return the steps of fine-tuning that follow a fit of `steps` steps."""
    return min(settings.finetune_steps, steps // SHARE_OF_FIT)


def quantize_decoder(
    network: VQVAE,
    images: TrainingImages,
    validation: NDArray[np.uint8],
    settings: FitSettings,
    steps: int,
    on_step: StepCallback = lambda step: None,
) -> tuple[IntegerNetwork, QuantizationReport]:
    """Turn the decoder of a fitted network into integers.

    validation : uint8 [n, H, W, C], what the report is measured on
    on_step : called after each of `steps` steps; what it raises ends the fine-tuning
    """
    started = time.monotonic()
    network.eval()
    decoder = calibrate(network, _encode(network, images.sample(CALIBRATION_IMAGES, settings.seed)))
    calibrated = decoder.to_network()
    _train(decoder, network, images, settings, steps, on_step)
    tokens = _encode(network, validation)
    calibrated_mse = _mse(_exact(calibrated, tokens), validation)
    kept, mse = calibrated, calibrated_mse
    try:
        trained = decoder.to_network()
    except ModelError:  # its weights grew until sums could be inexact: the calibrated ones are left room for that
        steps = 0
    else:
        trained_mse = _mse(_exact(trained, tokens), validation)
        if trained_mse < calibrated_mse:
            kept, mse = trained, trained_mse
    float_mse = _mse(_float(network, tokens), validation)
    return kept, QuantizationReport(float_mse, calibrated_mse, mse, steps, time.monotonic() - started)


def _train(
    decoder: QuantizedDecoder,
    network: VQVAE,
    images: TrainingImages,
    settings: FitSettings,
    steps: int,
    on_step: StepCallback,
) -> None:
    device = next(network.parameters()).device
    decoder.to(device).train()
    optimizer = torch.optim.Adam(decoder.learning_rates(settings.learning_rate))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / max(1, steps))
    )
    height, width, _ = images.image_shape
    for step, pixels in zip(range(steps), _batches(images, settings), strict=False):
        batch = pixels.to(device)
        tokens = network.encode(batch)
        loss = F.mse_loss(decoder(tokens)[..., :height, :width], batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        on_step(step + 1)


def _batches(images: TrainingImages, settings: FitSettings) -> Iterator[Tensor]:
    """Yield batches without end, in epochs that follow those of the fit."""
    epoch = settings.epochs
    while True:
        yield from images.epoch(BATCH_IMAGES, settings.seed, epoch)
        epoch += 1


@torch.no_grad()
def _encode(network: VQVAE, pixels: NDArray[np.uint8]) -> Tensor:
    """Return the tokens of uint8 [n, H, W, C] on the CPU."""
    device = next(network.parameters()).device
    parts = [pixels[start : start + BATCH_IMAGES] for start in range(0, len(pixels), BATCH_IMAGES)]
    return torch.cat([network.encode(to_unit_range(part).to(device)).cpu() for part in parts])


def _exact(network: IntegerNetwork, tokens: Tensor) -> NDArray[np.uint8]:
    return IntegerDecoder(network).decode(tokens.numpy())


@torch.no_grad()
def _float(network: VQVAE, tokens: Tensor) -> NDArray[np.uint8]:
    """Return the images of tokens by the float decoder, uint8 [n, H', W', C]."""
    device = next(network.parameters()).device
    codes = network.quantizer.code_latents()
    parts = []
    for part in torch.split(tokens, BATCH_IMAGES):
        latents = codes[part.to(device)].permute(0, 3, 1, 2)
        parts.append(torch.round(255 * network.decoder(latents)).to(torch.uint8).cpu())
    return torch.cat(parts).permute(0, 2, 3, 1).numpy()


def _mse(decoded: NDArray[np.uint8], originals: NDArray[np.uint8]) -> float:
    height, width = originals.shape[1:3]
    errors = decoded[:, :height, :width].astype(np.int32) - originals
    return float(np.square(errors).sum(dtype=np.int64)) / (255**2 * originals.size)

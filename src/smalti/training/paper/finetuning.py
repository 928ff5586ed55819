"""Quantisation-aware fine-tuning: the last part of a fit, which leaves a decoder of integers alone.

Encoder and codebook stay fixed, so that tokens do not change. Only the decoder learns, from the images' own tokens and
through the rounding of the exact decoder. It starts from the calibrated network; the better of the two is the result.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.decoders.layers.integer_network import IntegerNetwork
from smalti.errors import ModelError
from smalti.images.batch import Pixels
from smalti.images.quality import squared_errors
from smalti.training.common.distributed import ALONE, ProcessGroup
from smalti.training.common.scaling import PixelScale
from smalti.training.common.training_images import TrainingImages, to_unit_range
from smalti.training.paper.integers import QuantizedDecoder, calibrate
from smalti.training.paper.quantizer import mean_square
from smalti.training.paper.settings import FitSettings
from smalti.training.paper.vqvae import VQVAE
from smalti.training.reports import QuantizationReport

__all__ = ["finetune_steps", "quantize_decoder"]

CALIBRATION_IMAGES = 2048
BATCH_IMAGES = 64
SHARE_OF_FIT = 5
"""Fine-tuning takes at most one step for this many steps of the fit, so that a short fit stays short."""

StepCallback = Callable[[int], None]


def finetune_steps(settings: FitSettings, steps: int) -> int:
    """Return the number of fine-tuning steps after a fit of `steps` steps."""
    return min(settings.finetune_steps, steps // SHARE_OF_FIT)


def quantize_decoder(
    network: VQVAE,
    images: TrainingImages,
    validation: Pixels,
    settings: FitSettings,
    steps: int,
    on_step: StepCallback = lambda step: None,
    group: ProcessGroup = ALONE,
) -> tuple[IntegerNetwork, QuantizationReport]:
    """Turn the decoder of a fitted network into integers.

    validation : pixels [n, H, W, C] for the report
    steps : number of fine-tuning steps
    on_step : called after each step; its exceptions end the fine-tuning
    group : the ranks that share batches and validation images; all return the same result
    """
    started = time.monotonic()
    network.eval()
    sample = group.part(images.sample(CALIBRATION_IMAGES, settings.seed))
    decoder = calibrate(network, group.gather(_encode(network, sample, images.scale)), images.scale)
    decoder.take_from_main(group)
    calibrated = decoder.to_network()
    _train(decoder, network, images, settings, steps, on_step, group)
    pixels = group.part(validation)
    tokens = _encode(network, pixels, images.scale)
    calibrated_mse = _mse(_exact(calibrated, tokens), pixels, group)
    best, mse = calibrated, calibrated_mse
    try:
        trained = decoder.to_network()
    except ModelError:  # its weights grew until sums could be inexact; calibration leaves room against that
        steps = 0
    else:
        trained_mse = _mse(_exact(trained, tokens), pixels, group)
        if trained_mse < calibrated_mse:
            best, mse = trained, trained_mse
    float_mse = _mse(_float(network, tokens, images.scale), pixels, group)
    return best, QuantizationReport(float_mse, calibrated_mse, mse, steps, time.monotonic() - started)


def _train(
    decoder: QuantizedDecoder,
    network: VQVAE,
    images: TrainingImages,
    settings: FitSettings,
    steps: int,
    on_step: StepCallback,
    group: ProcessGroup,
) -> None:
    device = next(network.parameters()).device
    decoder.to(device).train()
    optimizer = torch.optim.Adam(decoder.learning_rates(settings.learning_rate))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / max(1, steps))
    )
    height, width, _ = images.image_shape
    for step, (pixels, share) in zip(range(steps), _batches(images, settings, group), strict=False):
        batch = pixels.to(device)
        tokens = network.encode(batch)
        loss = share * mean_square(decoder(tokens)[..., :height, :width], batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        group.add_up([weight.grad for weight in decoder.parameters() if weight.grad is not None])
        optimizer.step()
        schedule.step()
        on_step(step + 1)


def _batches(images: TrainingImages, settings: FitSettings, group: ProcessGroup) -> Iterator[tuple[Tensor, float]]:
    """Yield this rank's parts of batches, and their shares, without end. The epochs continue those of the fit."""
    epoch = settings.epochs
    while True:
        for step, batch in enumerate(images.epoch(BATCH_IMAGES, settings.seed, epoch, group=group)):
            yield batch, len(batch) / images.batch_size(BATCH_IMAGES, step)
        epoch += 1


@torch.no_grad()
def _encode(network: VQVAE, pixels: Pixels, scale: PixelScale) -> Tensor:
    """Return the tokens of images [n, H, W, C] on the CPU."""
    device = next(network.parameters()).device
    parts = [pixels[start : start + BATCH_IMAGES] for start in range(0, max(1, len(pixels)), BATCH_IMAGES)]
    return torch.cat([network.encode(to_unit_range(part, scale).to(device)).cpu() for part in parts])


def _exact(network: IntegerNetwork, tokens: Tensor) -> Pixels:
    return IntegerDecoder(network).decode(tokens.numpy())


@torch.no_grad()
def _float(network: VQVAE, tokens: Tensor, scale: PixelScale) -> Pixels:
    """Decode tokens with the float decoder: [n, H', W', C]."""
    device = next(network.parameters()).device
    codes = network.quantizer.code_latents()
    parts: list[NDArray[Any]] = []
    for part in torch.split(tokens, BATCH_IMAGES):
        latents = codes[part.to(device)].permute(0, 3, 1, 2)
        parts.append(scale.to_pixels(network.decoder(latents)))
    joined: Pixels = np.concatenate(parts)
    return joined


def _mse(decoded: Pixels, originals: Pixels, group: ProcessGroup) -> float:
    """Return the mean squared error over the images of all ranks."""
    height, width = originals.shape[1:3]
    squared = int(squared_errors(originals, decoded[:, :height, :width]).sum())
    totals = torch.tensor([squared, originals.size])
    group.add_up([totals])
    squares, values = totals.tolist()
    return int(squares) / (int(np.iinfo(originals.dtype).max) ** 2 * int(values))

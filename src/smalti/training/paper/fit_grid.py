"""The training loop of the profile `paper`: the study's protocol (section 3.3).

A fit can stop at any step and resume without a change of the result. After each epoch, the network is validated in its
own float arithmetic.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smalti.decoders.layers.integer_network import IntegerNetwork
from smalti.decoders.layers.network_packing import pack_network
from smalti.errors import UsageError
from smalti.images.batch import Pixels
from smalti.training.common.distributed import ALONE, ProcessGroup
from smalti.training.common.scaling import EIGHT_BITS, PixelScale
from smalti.training.common.tensors import read_checkpoint
from smalti.training.common.training_images import TrainingImages, check_equal, check_same_images, to_unit_range
from smalti.training.observer import FitInterruptedError, Observer, SilentObserver
from smalti.training.paper.checkpoint import FitProgress, load_checkpoint, save_checkpoint
from smalti.training.paper.finetuning import finetune_steps, quantize_decoder
from smalti.training.paper.grid_model import Model
from smalti.training.paper.quantizer import mean_square
from smalti.training.paper.settings import FitSettings
from smalti.training.paper.vqvae import VQVAE
from smalti.training.reports import EpochReport, QuantizationReport, token_statistics
from smalti.version import __version__

__all__ = ["Validation", "choose_device", "fit", "validate"]


VALIDATION_BATCH = 256


@dataclass(frozen=True)
class Validation:
    """Measures of a network in float arithmetic: its mean squared error, and int64 [K], how often each code occurs."""

    mse: float
    token_counts: NDArray[np.int64]


@torch.no_grad()
def validate(
    network: VQVAE,
    pixels: Pixels,
    device: str = "cpu",
    group: ProcessGroup = ALONE,
    scale: PixelScale = EIGHT_BITS,
) -> Validation:
    """Measure a network on images [n, H, W, C]. Its mode (training or evaluation) is restored at the end.

    group : its ranks share the images; all return the same result
    """
    was_training = network.training
    network.eval()
    size = network.quantizer.settings.codebook_size
    squares, counts = torch.zeros(1, dtype=torch.float64), torch.zeros(size, dtype=torch.int64)
    own = group.part(pixels)
    for start in range(0, len(own), VALIDATION_BATCH):
        batch = to_unit_range(own[start : start + VALIDATION_BATCH], scale).to(device)
        result = network(batch)
        squares += float((result.images - batch).square().sum())  # in float32: MPS has no doubles
        counts += torch.bincount(result.quantized.tokens.flatten().cpu(), minlength=size)
    network.train(was_training)
    group.add_up([squares, counts])
    return Validation(scale.true_mse(float(squares) / pixels.size), counts.numpy())


CHECKPOINT_SECONDS = 60
RESTART_EVERY_STEPS = 50
RESTART_UNTIL_SHARE = 0.8
"""Dead codes restart only in this first share of a fit: a code needs time to settle."""

KMEANS_IMAGES = 1024


def choose_device(name: str) -> str:
    """Return the device for "auto", "cpu", "cuda" (or "cuda:N") or "mps"; UsageError if the machine lacks it."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if available[device])
    kind = name.partition(":")[0]
    if kind not in available:
        raise UsageError(f"unknown device {name!r}: choose auto, cpu, cuda or mps")
    if not available[kind]:
        raise UsageError(f"this machine has no {kind} device that PyTorch can use; choose --device cpu")
    return name


def fit(
    images: TrainingImages,
    validation: Pixels,
    settings: FitSettings,
    *,
    device: str = "cpu",
    checkpoint: Path | None = None,
    resume: bool = False,
    observer: Observer | None = None,
    provenance: dict[str, Any] | None = None,
    group: ProcessGroup = ALONE,
) -> Model:
    """Fit a network, turn its decoder into integers, and return both.

    images : images to learn from
    validation : pixels [n, H, W, C] for each epoch's report
    checkpoint : file for the state: written every minute, on interruption and at the end. The caller removes it once
        the model is safe
    resume : whether to continue from the checkpoint, if it exists
    group : the ranks that fit together. Each calls this function with the same images and settings; all return the
        model. Only rank 0 reads and writes the checkpoint. A fit may resume with another number of ranks

    On one machine, with equal numbers of threads and ranks, equal arguments give equal weights, interrupted or not.
    Raises FitInterruptedError, on all ranks, when the observer of any asks to stop; SourceError if ranks have different
    images, ModelError if they end with different weights, RankError if one of them fails.
    """
    check_same_images(images, group)
    loop = _GridLoop(images, settings, device, group)
    if resume and checkpoint is not None:
        loop.load(checkpoint)
    observer = observer or SilentObserver()
    steps_per_epoch = images.steps_per_epoch(settings.batch_images)
    fit_steps = settings.epochs * steps_per_epoch
    tuning_steps = finetune_steps(settings, fit_steps)
    saved_at = time.monotonic()
    while loop.progress.epoch < settings.epochs:
        epoch = loop.progress.epoch
        for batch in images.epoch(settings.batch_images, settings.seed, epoch, loop.progress.step, group):
            loop.step(batch)
            observer.on_step("fit", epoch * steps_per_epoch + loop.progress.step, fit_steps + tuning_steps)
            stop = group.any(observer.should_stop())
            if checkpoint is not None and (stop or time.monotonic() - saved_at > CHECKPOINT_SECONDS):
                loop.save(checkpoint)
                saved_at = time.monotonic()
            if stop:
                group.barrier()  # when one rank ends, torchrun stops the one that writes the checkpoint
                raise FitInterruptedError(checkpoint)
        observer.on_report(loop.end_epoch(validation), loop.progress.history)
    if checkpoint is not None:
        loop.save(checkpoint)

    def on_tuning_step(step: int) -> None:
        observer.on_step("fit", fit_steps + step, fit_steps + tuning_steps)
        if group.any(observer.should_stop()):
            raise FitInterruptedError(checkpoint)  # the fit itself is done; a resumed fit repeats only the fine-tuning

    decoder, report = quantize_decoder(loop.network, images, validation, settings, tuning_steps, on_tuning_step, group)
    observer.on_report(report, loop.progress.history)
    return loop.model(decoder, report, provenance or {})


class _GridLoop:
    """The state of a fit: network, optimiser and progress."""

    def __init__(self, images: TrainingImages, settings: FitSettings, device: str, group: ProcessGroup = ALONE) -> None:
        self.images, self.settings, self.device, self.group = images, settings, device, group
        self.image_shape = images.image_shape
        torch.manual_seed(settings.seed)
        self.network = VQVAE(self.image_shape[2], settings)
        self.network.to(torch.device(device)).train()
        for weight in self.network.parameters():
            if weight.dim() == 4:  # channels last is the faster layout for these convolutions
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        group.broadcast(list(self.network.state_dict().values()))  # in case generators differ between machines
        self.network.quantizer.group = group
        self.learned = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(self.learned, lr=settings.learning_rate)
        self.progress = FitProgress()
        self.steps_per_epoch = images.steps_per_epoch(settings.batch_images)
        self.total_steps = settings.epochs * self.steps_per_epoch
        self.sums = torch.zeros(3, dtype=torch.float64)
        self.started = time.monotonic()

    def step(self, batch: Tensor) -> None:
        """Learn from this rank's part of a batch."""
        number = self.progress.epoch * self.steps_per_epoch + self.progress.step
        batch = batch.to(self.device, memory_format=torch.channels_last)
        warm_up = min(self.settings.quantizer.warm_up_steps, self.total_steps // 4)
        kmeans = self.settings.quantizer.start == "kmeans"
        if kmeans and number == warm_up:
            self._start_from_kmeans(number)
        result = self.network(batch, quantize=not kmeans or number >= warm_up)
        reconstruction = mean_square(result.images, batch)
        codebook, commitment = result.quantized.codebook_loss, result.quantized.commitment_loss
        # the mean over a part, times its share of the batch: the sum over ranks is the mean over the batch
        share = len(batch) / self.images.batch_size(self.settings.batch_images, self.progress.step)
        loss = share * (reconstruction + codebook + self.settings.quantizer.commitment_weight * commitment)
        self.optimizer.zero_grad()
        loss.backward()
        parts = share * torch.stack([reconstruction, codebook, commitment]).detach()
        self.group.add_up([*(weight.grad for weight in self.learned if weight.grad is not None), parts])
        self.optimizer.step()
        if self._is_restart_step(number):
            with torch.no_grad():
                self.network.quantizer.restart_dead_codes(self.network.latents(batch), self._generator(number))
        # summed as doubles, in step order, so that a resumed fit reports the same means
        self.sums += parts.cpu().double()
        self.progress.step += 1

    def end_epoch(self, validation: Pixels) -> EpochReport:
        """Measure the network, add the report to the history, and move to the next epoch."""
        measured = validate(self.network, validation, self.device, self.group, self.images.scale)
        tokens = token_statistics(measured.token_counts)
        reconstruction, codebook, commitment = (self.sums / self.progress.step).tolist()
        report = EpochReport(
            self.progress.epoch + 1,
            reconstruction,
            codebook,
            commitment,
            validation_mse=measured.mse,
            codes_used=tokens.codes_used,
            perplexity=tokens.perplexity,
            entropy_bits_per_token=tokens.entropy_bits_per_token,
            seconds=self._seconds(),
        )
        self.progress = FitProgress(epoch=report.epoch, history=[*self.progress.history, report.to_json()])
        self.sums.zero_()
        self.started = time.monotonic()
        return report

    def save(self, path: Path) -> None:
        """Write the state to `path`, on rank 0 only."""
        if not self.group.is_main:
            return
        self.progress.sums, self.progress.seconds = self.sums.tolist(), self._seconds()
        self.started = time.monotonic()
        save_checkpoint(path, self.network, self.optimizer, self.settings, self.images.fingerprint, self.progress)

    def load(self, path: Path) -> None:
        """Continue from the state in `path`, if rank 0 has that file."""
        stored = self.group.from_main(lambda: read_checkpoint(path) if path.exists() else None)
        if stored is None:
            return
        with self.group.agreed():
            self.progress = load_checkpoint(
                path, stored, self.network, self.optimizer, self.settings, self.images.fingerprint
            )
        self.sums = torch.tensor(self.progress.sums, dtype=torch.float64)

    def model(self, decoder: IntegerNetwork, report: QuantizationReport, provenance: dict[str, Any]) -> Model:
        """Return the network and its integer decoder as a Model; ModelError if they differ between ranks."""
        self.network.quantizer.group = ALONE
        packed = torch.frombuffer(bytearray(pack_network(decoder)), dtype=torch.uint8)
        check_equal({**self.network.state_dict(), "the integer decoder": packed}, self.group)
        facts: dict[str, Any] = {
            "smalti": __version__,
            "torch": torch.__version__,
            "images": len(self.images),
            "parameters": self.network.parameter_count(),
        }
        if self.group.size > 1:
            facts["ranks"] = self.group.size
        return Model(
            self.network.eval(),
            decoder,
            self.settings,
            self.image_shape,
            {**facts, **provenance},
            self.progress.history,
            report.to_json(),
            self.images.scale,
        )

    def _seconds(self) -> float:
        return self.progress.seconds + time.monotonic() - self.started

    def _is_restart_step(self, number: int) -> bool:
        return (
            self.settings.quantizer.restart
            and number % RESTART_EVERY_STEPS == RESTART_EVERY_STEPS - 1
            and number < RESTART_UNTIL_SHARE * self.total_steps
        )

    @torch.no_grad()
    def _start_from_kmeans(self, number: int) -> None:
        pixels = self.group.part(self.images.sample(KMEANS_IMAGES, self.settings.seed))
        parts = np.array_split(pixels, max(1, len(pixels) // 64))
        units = [to_unit_range(part, self.images.scale).to(self.device) for part in parts]
        latents = torch.cat([self.network.latents(unit) for unit in units])
        height, width = latents.shape[2:]
        vectors_per_step = self.settings.batch_images * height * width
        self.network.quantizer.start_from_kmeans(latents, vectors_per_step, self._generator(number))

    def _generator(self, number: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.settings.seed << 32) + number)

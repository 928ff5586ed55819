"""Codes, priors and decoder of a pyramid as one network, which learns in floats and then in the archive's integers.

Once `whole`, the learned numbers are the stored ones, except for rounding: the forward pass rounds, and the backward
pass ignores it. A hidden layer's largest activation is 255; sums become activations by a shift. A small shift gives
weights of few bits: they are within `WEIGHT_LIMIT` at first, and each shrinks while that saves more bytes than it costs
in distortion.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smalti.training.common.scaling import EIGHT_BITS, PixelScale
from smalti.training.pyramid.learned_prior import LevelPrior, activated, clipped, contexts, rounded
from smalti.training.pyramid.pyramid_settings import LayerShape, PyramidShape

__all__ = ["LevelForm", "Pyramid", "upsampled"]

LARGEST_CODE = 2047
LARGEST_WEIGHT = 127
LARGEST_ACTIVATION = 255
WEIGHT_LIMIT = 31
LARGEST_FIRST_CODE = 120.0
"""The largest code in integer units: fine enough that rounding a code costs nothing."""

LEAST_LARGEST_CODE = 1e-2
"""Replaces the largest code if all codes are nearly zero: larger units would leave the exact range."""

SPARE_PENALTY = 8.0
"""Extra bits of an unused code, compared with the code that it copies."""


@dataclass(frozen=True)
class LevelForm:
    """A level: its scale, the first of its channels there, and the number of its channels."""

    scale: int
    start: int
    channels: int

    @property
    def slice(self) -> slice:
        """The level's channels."""
        return slice(self.start, self.start + self.channels)


class Pyramid(nn.Module):
    """Codes, priors and decoder.

    shape : sizes of the network
    forms : levels in coding order
    codes : float [K, d] for each level
    priors : one LevelPrior for each level, in integer units from the start
    scale : the scale of the pixels; once whole, outputs are its levels
    """

    def __init__(
        self,
        shape: PyramidShape,
        forms: list[LevelForm],
        codes: list[Tensor],
        priors: list[LevelPrior],
        scale: PixelScale = EIGHT_BITS,
    ) -> None:
        super().__init__()
        self.shape, self.scale = shape, scale
        self.forms = forms
        self.whole = False
        self.sharpness = 1.0  # the activation in floats is x * sigmoid(sharpness * x); it approaches a ReLU
        self.codes = nn.ParameterList(codes)
        self.priors = nn.ModuleList(priors)
        stems = [
            torch.randn(latents, shape.widths[0], *kernel)
            * (2 / sum(shape.latents) / (9 if max(padding) else 1)) ** 0.5
            for latents, (kernel, padding) in zip(shape.latents, shape.stem_kernels, strict=True)
        ]
        # [inputs, outputs, ky, kx]: stems of all scales, then layers
        self.weights = nn.ParameterList([*stems, *map(_first_weight, shape.layers)])
        # canvas, then layers
        self.biases = nn.ParameterList(
            [torch.zeros(shape.widths[0]), *(torch.zeros(layer.outputs) for layer in shape.layers)]
        )
        for number, bias in enumerate(self.biases):
            self.register_buffer(f"shift{number}", torch.zeros_like(bias))
        self.register_buffer("unit", torch.tensor(16.0))

    @property
    def scales(self) -> int:
        """The number of scales."""
        return len(self.shape.strides)

    def shift(self, number: int) -> Tensor:
        """Return the shifts of the canvas (0) or of a layer (1, 2, ...): whole numbers [outputs]."""
        value: Tensor = getattr(self, f"shift{number}")
        return value

    @property
    def unit_value(self) -> float:
        """The integer units of a latent of 1."""
        unit: Tensor = self.unit  # type: ignore[assignment]
        return float(unit)

    def set_unit(self, unit: float) -> None:
        """Set the integer units of a latent of 1."""
        stored: Tensor = self.unit  # type: ignore[assignment]
        stored.fill_(unit)

    def prior(self, level: int) -> LevelPrior:
        """Return the prior of a level."""
        prior: LevelPrior = self.priors[level]  # type: ignore[assignment]
        return prior

    def code_values(self, level: int) -> Tensor:
        """Return the codes of a level, [K, d]."""
        return rounded(self.codes[level].clamp(-LARGEST_CODE, LARGEST_CODE)) if self.whole else self.codes[level]

    def empty_latents(self, images: int) -> list[Tensor]:
        """Return latents before the first token: zeros [n, D, rows, columns] for each scale."""
        device = self.biases[0].device
        return [
            torch.zeros(images, latents, *self.shape.grid(scale), device=device)
            for scale, latents in enumerate(self.shape.latents)
        ]

    def empty_tokens(self, images: int) -> list[Tensor]:
        """Return tokens of code 0 everywhere: int64 [n, positions] for each level."""
        return [torch.zeros(images, self.shape.positions[form.scale], dtype=torch.int64) for form in self.forms]

    def decode(self, latents: list[Tensor]) -> Tensor:
        """Return the images [n, C, H, W] of latents, in [0, 1]; once whole, each value is a level of the scale."""
        values = self._activated(self.canvas_sums(latents), 0)
        last = len(self.biases) - 1
        for number in range(1, last):
            values = self._activated(self._sums(values, number), number)
        sums = self._sums(values, last)
        if not self.whole:
            return clipped(sums, 0, 1)
        levels = self.scale.levels
        return clipped(rounded(sums / torch.exp2(self.shift(last))[:, None, None]), 0, levels) / levels

    def canvas_sums(self, latents: list[Tensor]) -> Tensor:
        """Return the sums of the canvas, [n, channels, rows, columns]."""
        sums = self._number(self.biases[0])[:, None, None]
        stems = zip(self.weights, self.shape.strides, self.shape.stem_kernels, latents, strict=False)
        for weight, stride, (_, padding), scale in stems:
            sums = sums + F.conv_transpose2d(scale, self._weight(weight), stride=stride, padding=padding)
        return sums

    def _sums(self, values: Tensor, number: int) -> Tensor:
        """Return the sums of layer `number`, from 1."""
        weight = self._weight(self.weights[self.scales + number - 1])
        bias = self._number(self.biases[number])
        if self.shape.layers[number - 1].kind == "conv":
            return F.conv2d(values, weight.transpose(0, 1), bias, padding=1)
        return upsampled(values, weight, bias)

    def _weight(self, weight: Tensor) -> Tensor:
        return rounded(weight.clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT)) if self.whole else weight

    def _number(self, values: Tensor) -> Tensor:
        return rounded(values) if self.whole else values

    def _activated(self, sums: Tensor, number: int) -> Tensor:
        if not self.whole:
            return sums * torch.sigmoid(self.sharpness * sums)
        return activated(sums, self.shift(number), LARGEST_ACTIVATION)

    def latents_of(self, tokens: list[Tensor], levels: int | None = None) -> list[Tensor]:
        """Return the latents of tokens (int64 [n, positions] for each level), or of the first `levels` levels only."""
        latents = self.empty_latents(len(tokens[0]))
        for level in range(len(self.forms) if levels is None else levels):
            latents = self.added(latents, level, tokens[level])
        return latents

    def bits_of(self, tokens: list[Tensor]) -> Tensor:
        """Return the bits of tokens: [n, T], level after level."""
        latents, parts = self.empty_latents(len(tokens[0])), []
        for level, found in enumerate(tokens):
            context, latents = self._contexts(latents, level, found)
            parts.append(self.prior(level).bits_of(context, found))
        return torch.cat(parts, 1)

    def expected(self, before: list[Tensor], level: int, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the bits of every code at every position of a level [n, positions, K], and the latents after it.

        tokens : int64 [n, positions]; the context of a position has the earlier ones. Bits have no gradient
        """
        context, after = self._contexts(before, level, tokens)
        return self.prior(level).bits(context), after

    @torch.no_grad()
    def _contexts(self, before: list[Tensor], level: int, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the contexts of a level's positions as its prior takes them, and the latents after it."""
        after = self.added(before, level, tokens)
        scale = self.forms[level].scale
        context = contexts(before, after[scale], scale, self.shape.strides, self.is_first(level))
        return context if self.whole else context.mul_(self.unit_value), after

    def is_first(self, level: int) -> bool:
        """Return whether no earlier level is of the same scale, so that its latents are zeros."""
        return all(form.scale != self.forms[level].scale for form in self.forms[:level])

    def added(self, latents: list[Tensor], level: int, tokens: Tensor) -> list[Tensor]:
        """Return the latents plus the codes of a level's tokens."""
        form = self.forms[level]
        values = self.code_values(level)[tokens]  # [n, positions, d]
        own = values.transpose(1, 2).reshape(len(values), form.channels, *self.shape.grid(form.scale))
        before = latents[form.scale]
        rest = before.shape[1] - form.start - form.channels
        padded = F.pad(own, (0, 0, 0, 0, form.start, rest)) if form.start or rest else own
        return [before + padded if scale == form.scale else each for scale, each in enumerate(latents)]

    def stored_weights(self) -> list[Tensor]:
        """Return the weights that `weight_bits` counts."""
        learned: list[Tensor] = [*self.weights] if self.whole else []
        for level in range(len(self.forms)):
            prior = self.prior(level)
            if prior.features:
                learned += [prior.weight1, prior.weight2]
        return learned

    def weight_bits(self) -> Tensor:
        """Return the approximate bits of the weights, coded by a two-sided geometric distribution fitted to them."""
        total = torch.zeros((), device=self.biases[0].device)
        for weight in self.stored_weights():
            magnitude = weight.abs().mean().clamp_min(0.05)
            total = total + weight.numel() * torch.log2(1 + 2 * math.e * magnitude)
        return total

    def fitting_unit(self) -> float:
        """Return the integer units of a latent of 1 for which the largest code is `LARGEST_FIRST_CODE`.

        If all images are alike, codes are zeros, which fit any unit.
        """
        largest = max(float(codes.detach().abs().max()) for codes in self.codes)
        return LARGEST_FIRST_CODE / max(largest, LEAST_LARGEST_CODE)

    @torch.no_grad()
    def ensure_two_codes(self) -> None:
        """Give a pyramid with a single code a second, unused one: an archive has at least two codes."""
        if sum(len(codes) for codes in self.codes) < 2:
            self.codes[0] = nn.Parameter(self.codes[0].detach().repeat(2, 1))
            self.prior(0).select(torch.tensor([0, 0]), torch.tensor([0.0, SPARE_PENALTY]))

    @torch.no_grad()
    def make_whole(self, latents: list[Tensor]) -> float:
        """Change to integer units, with scales that fit `latents` of tokens; return the units of a latent of 1."""
        unit = self.fitting_unit()
        sums, inputs, scale_in = self.canvas_sums(latents), None, unit
        first = torch.stack([stem.abs().amax((0, 2, 3)) for stem in list(self.weights)[: self.scales]]).amax(0)
        for number in range(len(self.biases)):
            if inputs is not None:
                sums = self._sums(inputs, number)
                first = self.weights[self.scales + number - 1].abs().amax((0, 2, 3))
            last = number == len(self.biases) - 1
            scale = self.scale.levels if last else LARGEST_ACTIVATION / float(sums.max().clamp_min(1e-6))
            shift = torch.floor(torch.log2(WEIGHT_LIMIT * scale_in / (scale * first.clamp_min(1e-9)))).clamp(0, 24)
            factor = scale / scale_in * torch.exp2(shift)
            own = range(self.scales) if number == 0 else [self.scales + number - 1]
            inputs = F.relu(sums)  # before the weights of this layer change
            for index in own:
                self.weights[index].mul_(factor[:, None, None])
            self.biases[number].mul_(factor * scale_in)
            self.shift(number).copy_(shift)
            scale_in = scale
        for codes in self.codes:
            codes.mul_(unit)
        for level in range(len(self.forms)):  # contexts were in other units
            prior = self.prior(level)
            if prior.features:
                prior.weight1.mul_(self.unit_value / unit)
        self.set_unit(unit)
        self.set_whole()
        return unit

    def set_whole(self) -> None:
        """Compute in integers from now on."""
        self.whole = True
        for level in range(len(self.forms)):
            self.prior(level).whole = True


def _phases() -> Tensor:
    """Return where the taps of a kernel of 4 x 4 are in kernels of 3 x 3 for each place in a cell: [16, 4 * 9]."""
    taps = ((0, 1, 1), (0, 3, 0), (1, 2, 1), (1, 0, 2))  # place, tap, and the tap of 3 it becomes: the inputs around
    found = torch.zeros(4, 4, 2, 2, 3, 3)
    for down, row, above in taps:
        for right, column, beside in taps:
            found[row, column, down, right, above, beside] = 1
    return found.view(16, 36)


_PHASES = _phases()
_FEW_OUTPUTS = 4


def upsampled(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return a transposed convolution of stride 2 and padding 1. weight : [inputs, outputs, ky, kx]

    For few outputs a convolution that makes the four pixels of each cell is faster (Shi et al. 2016, sub-pixel
    convolution): 2.4 instead of 4.1 ms forth and back, for 128 images and 8 inputs.
    """
    inputs, outputs, *sides = weight.shape
    none = not len(values)  # as on a rank without a share: pixel_shuffle then fails on its way back
    if sides != [4, 4] or outputs > _FEW_OUTPUTS or none:
        return F.conv_transpose2d(values, weight, bias, 2, 1)
    kernels = (weight.reshape(-1, 16) @ _PHASES.to(weight.device)).view(inputs, 4 * outputs, 3, 3).transpose(0, 1)
    return F.pixel_shuffle(F.conv2d(values, kernels, bias.repeat_interleave(4), padding=1), 2)


def _first_weight(layer: LayerShape) -> Tensor:
    """Return random weights [inputs, outputs, ky, kx] that roughly keep the variance of values (He et al. 2015)."""
    taps = layer.kernel[0] * layer.kernel[1] / (1 if layer.kind == "conv" else 4)
    deviation = math.sqrt(2 / (layer.inputs * taps))
    return torch.randn(layer.inputs, layer.outputs, *layer.kernel) * deviation

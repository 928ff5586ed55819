"""A fitted float decoder in integer units: calibration, and the decoder that fine-tuning trains through the rounding.

`decoder_layers` describes the float decoder as a chain of plain layers; `calibrate` turns them into a
`QuantizedDecoder`. Its numbers are learned in integer units: the trained network is the stored one, except for
rounding. The forward pass rounds; the backward pass ignores it (the straight-through estimator; Bengio, Léonard &
Courville 2013, and Jacob et al. 2018 for training with quantised weights and activations).

Calibration fixes the scales. A hidden layer's largest activation becomes 255. Weights are as large as int8, the shift
and 2**24 allow. So sums become activations without a multiplication: by a shift, which is exact everywhere.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from smalti.decoders.layers.integer_network import EXACT, Clip, IntegerNetwork, Layer, PixelTable
from smalti.training.common.distributed import ProcessGroup
from smalti.training.common.scaling import EIGHT_BITS, PixelScale
from smalti.training.paper.vqvae import VQVAE

__all__ = ["FloatLayer", "QuantizedDecoder", "apply_layer", "calibrate", "decoder_layers", "fold"]


Kind = Literal["tokens", "up", "conv"]
Activation = Literal["linear", "relu", "sigmoid"]


@dataclass(frozen=True)
class FloatLayer:
    """A float32 layer with the geometry of `smalti.decoders.layers.integer_network.Layer`.

    weight : [inputs, outputs, ky, kx]; for the kind "tokens", inputs are codes
    bias : [outputs]
    """

    kind: Kind
    weight: Tensor
    bias: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int]
    activation: Activation

    def outputs(self, inputs: Tensor) -> Tensor:
        """Return the layer's outputs [n, outputs, y, x]."""
        sums = apply_layer(self.kind, inputs, self.weight, self.bias, self.stride, self.padding)
        if self.activation == "relu":
            return F.relu(sums)
        return torch.sigmoid(sums) if self.activation == "sigmoid" else sums


def apply_layer(
    kind: Kind, inputs: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Return bias plus sum of products, [n, outputs, y', x'].

    inputs : tokens int64 [n, h, w] for the kind "tokens", else floats [n, inputs, y, x]

    For training only: a framework's convolutions may round. `smalti.decoders` computes exactly.
    """
    if kind == "conv":
        return F.conv2d(inputs, weight.transpose(0, 1), bias, padding=padding)
    if kind == "tokens":
        # only the codes that occur: a collapsed codebook costs no more than its few codes
        present, code_index = torch.unique(inputs, return_inverse=True)
        weight = weight[present]
        inputs = F.one_hot(code_index, len(present)).permute(0, 3, 1, 2).to(weight.dtype)
    return F.conv_transpose2d(inputs, weight, bias, stride=stride, padding=padding)


def decoder_layers(network: VQVAE) -> list[FloatLayer]:
    """Return the decoder of a network as layers, codebook first, with detached tensors."""
    codes = network.quantizer.code_latents()
    decoder = network.decoder
    lookup = FloatLayer("tokens", codes[:, :, None, None], torch.zeros_like(codes[0]), (1, 1), (0, 0), "linear")
    hidden, pixels = decoder.up1, decoder.up2
    return [
        lookup,
        FloatLayer("up", hidden.weight.detach(), _bias(hidden.bias), (2, 2), (1, 1), "relu"),
        FloatLayer("up", pixels.weight.detach(), _bias(pixels.bias), (2, 2), (1, 1), "sigmoid"),
    ]


def fold(lookup: FloatLayer, following: FloatLayer) -> FloatLayer:
    """Merge a codebook and the transposed convolution after it into one layer that takes tokens.

    lookup : a "tokens" layer with a kernel of 1 and no bias
    following : an "up" layer
    """
    weight = torch.einsum("ud,dmyx->umyx", lookup.weight[:, :, 0, 0], following.weight)
    return FloatLayer("tokens", weight, following.bias, following.stride, following.padding, following.activation)


def _bias(bias: Tensor | None) -> Tensor:
    assert bias is not None  # every layer of the decoder has one
    return bias.detach()


LARGEST_ACTIVATION = 255
LARGEST_WEIGHT = 127
LARGEST_TABLE_ENTRY = 32_767
TABLE_STEPS_PER_UNIT = {"uint8": 128, "uint16": 512}
"""The fewest entries of the pixel table for a unit of the sigmoid's argument. Where the sigmoid is steep, a grey level
of 8 bits is 1/64 of a unit. With 16 bits, adjacent entries differ by 1/2048 of the range, an error of 2e-8 of it."""

ROOM = 0.8
"""Share of 2**24 that calibrated sums may reach, so that fine-tuning stays in the exact range."""


@dataclass(frozen=True)
class _Form:
    """The fixed part of a layer.

    shift : whole numbers [outputs]
    limit : the largest magnitude of a weight
    low, high : bounds of a hidden layer's activation
    """

    layer: FloatLayer
    shift: Tensor
    limit: int
    low: int
    high: int


class QuantizedDecoder(nn.Module):
    """A decoder whose weights are trained in integer units.

    unit : integer units of the last layer's sums for a unit of the sigmoid's argument
    scale : the scale of its pixels
    forward : tokens int64 [n, h, w] -> images [n, C, H', W'] in [0, 1], each value that of a pixel
    """

    def __init__(
        self,
        forms: list[_Form],
        weights: list[Tensor],
        biases: list[Tensor],
        unit: float,
        scale: PixelScale = EIGHT_BITS,
    ) -> None:
        super().__init__()
        self.forms = forms
        self.weights = nn.ParameterList(weights)
        self.biases = nn.ParameterList(biases)
        self.scale = scale
        self.unit = unit

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the images of tokens."""
        values = tokens
        for form, weight, bias in zip(self.forms, self.weights, self.biases, strict=True):
            layer = form.layer
            rounded = _round(weight.clamp(-form.limit, form.limit))
            sums = apply_layer(layer.kind, values, rounded, _round(bias), layer.stride, layer.padding)
            if layer.activation == "sigmoid":
                width = self.scale.high - self.scale.low
                return _round(width * torch.sigmoid(sums / self.unit)) / width
            # `_stored` adds to the bias the half that makes a shift round
            units = torch.exp2(form.shift).to(sums.device)[:, None, None]
            values = _round(sums / units).clamp(form.low, form.high)
        raise AssertionError("a decoder ends in a sigmoid")

    def learning_rates(self, rate: float) -> list[dict[str, object]]:
        """Return Adam's parameter groups: `rate` is for float weights and is scaled to the integer units of each layer.

        So all groups have equal steps relative to the size of their weights; Adam's steps do not scale with it.
        """
        return [
            {
                "params": [weight, bias],
                "lr": rate * float(weight.detach().abs().mean() / form.layer.weight.abs().mean()),
            }
            for form, weight, bias in zip(self.forms, self.weights, self.biases, strict=True)
        ]

    def take_from_main(self, group: ProcessGroup) -> None:
        """Take the numbers of rank 0: scales come from sums of floats, which processors may round differently."""
        unit = torch.tensor([self.unit], dtype=torch.float64)
        group.broadcast([*self.parameters(), *(form.shift for form in self.forms), unit])
        self.unit = float(unit)

    def to_network(self) -> IntegerNetwork:
        """Return the integer network; ModelError if sums could leave the exact range."""
        return IntegerNetwork(tuple(map(self._stored, self.forms, self.weights, self.biases)))

    def _stored(self, form: _Form, weight: Tensor, bias: Tensor) -> Layer:
        layer, hidden = form.layer, form.layer.activation != "sigmoid"
        shift = _integers(form.shift)
        half = (1 << shift) // 2 if hidden else 0
        return Layer(
            layer.kind,
            np.ascontiguousarray(_integers(weight.clamp(-form.limit, form.limit)).transpose(0, 2, 3, 1), np.int16),
            (_integers(bias) + half).astype(np.int32),
            shift.astype(np.uint8),
            layer.stride,
            layer.padding,
            Clip(form.low, form.high) if hidden else _pixel_table(self.unit, int(shift[0]), self.scale),
        )


@torch.no_grad()
def calibrate(network: VQVAE, tokens: Tensor, pixels: PixelScale = EIGHT_BITS) -> QuantizedDecoder:
    """Return the decoder of `network` in integer units, with scales that fit `tokens` (int64 [n, h, w]), on the CPU.

    pixels : the scale of its pixels

    The codebook is merged with the first layer if that takes fewer numbers for the codes in `tokens`.
    """
    layers = [_on_cpu(layer) for layer in decoder_layers(network)]
    if _folding_pays(layers[0], layers[1], len(torch.unique(tokens))):
        layers = [fold(layers[0], layers[1]), *layers[2:]]
    forms, weights, biases = [], [], []
    values, scale = tokens, 1.0  # scale : integer units of an incoming value of 1.0
    for layer in layers:
        values = layer.outputs(values)
        form, factor, scale_out = _scaled(layer, values, scale, pixels)
        forms.append(form)
        weights.append(layer.weight * factor[:, None, None])
        biases.append(layer.bias * factor * scale)
        scale = scale_out
    return QuantizedDecoder(forms, weights, biases, scale, pixels)


def _scaled(layer: FloatLayer, outputs: Tensor, scale_in: float, pixels: PixelScale) -> tuple[_Form, Tensor, float]:
    """Return a layer's form, the factor of its weights [outputs], and the scale of its outputs.

    For the last layer, whose sums go into a table, it is the scale of the sums.
    """
    largest = layer.weight.abs().amax((0, 2, 3)).clamp_min(1e-12)
    if layer.activation == "sigmoid":
        factor = float(LARGEST_WEIGHT / largest.max())
        factor *= min(1.0, ROOM * EXACT / _largest_sum(layer, factor, scale_in))
        scale = factor * scale_in
        bits = max(0, math.floor(math.log2(scale / TABLE_STEPS_PER_UNIT[pixels.dtype])))
        return (
            _Form(layer, torch.full_like(largest, bits), LARGEST_WEIGHT, 0, 0),
            torch.full_like(largest, factor),
            scale,
        )
    low, high = (0, LARGEST_ACTIVATION) if layer.activation == "relu" else (-LARGEST_WEIGHT, LARGEST_WEIGHT)
    scale = high / float(outputs.abs().max().clamp_min(1e-12))
    if layer.kind == "tokens":  # its weights are in units of its sums already
        shift, limit = torch.zeros_like(largest), LARGEST_TABLE_ENTRY
    else:
        shift, limit = (
            torch.floor(torch.log2(LARGEST_WEIGHT * scale_in / (scale * largest))).clamp(0, 24),
            LARGEST_WEIGHT,
        )
        while _largest_sum(layer, scale / scale_in * torch.exp2(shift), scale_in) > ROOM * EXACT:
            shift = (shift - 1).clamp_min(0)
    return _Form(layer, shift, limit, low, high), scale / scale_in * torch.exp2(shift), scale


def _largest_sum(layer: FloatLayer, factor: float | Tensor, scale_in: float) -> float:
    """Return a bound of a layer's sums, if its weights are multiplied by `factor` and its inputs are at most 255."""
    factor = torch.as_tensor(factor)
    stride_y, stride_x = layer.stride
    taps = (layer.weight.abs().sum(0) * LARGEST_ACTIVATION).permute(1, 2, 0)  # [ky, kx, outputs]
    classes = [taps[y::stride_y, x::stride_x].sum((0, 1)) for y in range(stride_y) for x in range(stride_x)]
    return float(((torch.stack(classes).amax(0) + layer.bias.abs() * scale_in) * factor).max())


def _folding_pays(lookup: FloatLayer, following: FloatLayer, codes_used: int) -> bool:
    if following.kind != "up":
        return False
    per_code = following.weight[0].numel()
    return codes_used * per_code <= codes_used * lookup.weight.shape[1] + following.weight.numel()


def _pixel_table(unit: float, shift: int, scale: PixelScale) -> PixelTable:
    """Return the sigmoid as a table of rounded pixels, for sums in `unit` units after a shift by `shift` bits."""
    width = scale.high - scale.low
    reach = math.ceil((1 + math.log(2 * width)) * unit / 2**shift)  # sigmoid(-log(2 width)) is half a pixel's step
    entries = np.arange(-reach, reach)
    middles = (entries + 0.5) * (2**shift / unit)
    values = scale.table(width / (1 + np.exp(-middles)))
    first, last = int(np.flatnonzero(values > values[0])[0]) - 1, int(np.flatnonzero(values < values[-1])[-1]) + 1
    return PixelTable(int(entries[first]), values[first : last + 1])


def _round(values: Tensor) -> Tensor:
    """Round values; the gradient passes unchanged."""
    return values + (torch.round(values) - values).detach()


def _on_cpu(layer: FloatLayer) -> FloatLayer:
    weight, bias = layer.weight.cpu(), layer.bias.cpu()
    return FloatLayer(layer.kind, weight, bias, layer.stride, layer.padding, layer.activation)


def _integers(values: Tensor) -> NDArray[np.int64]:
    return torch.round(values.detach()).cpu().numpy().astype(np.int64)

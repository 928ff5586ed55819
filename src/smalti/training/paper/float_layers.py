"""A decoder as a chain of plain layers, whatever module it was fitted as: what is turned into integers.

A new profile's decoder joins by describing itself here, in `decoder_layers`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from smalti.training.paper.vqvae import VQVAE

__all__ = ["FloatLayer", "apply_layer", "decoder_layers", "fold"]

Kind = Literal["tokens", "up", "conv"]
Activation = Literal["linear", "relu", "sigmoid"]


@dataclass(frozen=True)
class FloatLayer:
    """A layer in float32, with the geometry of `smalti.decoders.layers.integer_network.Layer`.

    weight : [inputs, outputs, ky, kx]; inputs are codes for the kind "tokens"
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

    For training: a framework's convolutions may round. What must be exact goes through `smalti.integer`.
    """
    if kind == "conv":
        return F.conv2d(inputs, weight.transpose(0, 1), bias, padding=padding)
    if kind == "tokens":
        # only codes that occur take part: a collapsed codebook costs what its few codes cost
        present, ranks = torch.unique(inputs, return_inverse=True)
        weight = weight[present]
        inputs = F.one_hot(ranks, len(present)).permute(0, 3, 1, 2).to(weight.dtype)
    return F.conv_transpose2d(inputs, weight, bias, stride=stride, padding=padding)


def decoder_layers(network: VQVAE) -> list[FloatLayer]:
    """Return the decoder of a network, codebook first, as layers whose tensors are detached copies."""
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
    """Push a codebook through the transposed convolution after it: one layer that takes tokens.

    lookup : a "tokens" layer with a kernel of 1 and no bias; following : an "up" layer
    """
    weight = torch.einsum("ud,dmyx->umyx", lookup.weight[:, :, 0, 0], following.weight)
    return FloatLayer("tokens", weight, following.bias, following.stride, following.padding, following.activation)


def _bias(bias: Tensor | None) -> Tensor:
    assert bias is not None  # every layer of the decoder is made with one
    return bias.detach()

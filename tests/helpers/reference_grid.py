"""The grid decoder after docs/format.md, one output at a time in Python's integers: slow, and plainly right."""

import numpy as np

from smalti.decoders.layers.integer_network import Clip, IntegerNetwork


def reference_decode(network: IntegerNetwork, tokens) -> np.ndarray:
    """Return pixels uint8 [n, H, W, C] of tokens [n, h, w]."""
    return np.array([_image(network, image) for image in np.asarray(tokens).tolist()], np.uint8)


def _image(network, tokens):
    values = tokens
    for layer in network.layers:
        height, width = layer.output_size((len(values), len(values[0])))
        values = [[outputs_at(layer, values, y, x) for x in range(width)] for y in range(height)]
    return values


def outputs_at(layer, values, y, x):
    """Return all channels of output (y, x)."""
    sums = layer.bias.astype(np.int64)
    for ky in range(layer.kernel[0]):
        for kx in range(layer.kernel[1]):
            row, column = input_index(layer, 0, y, ky), input_index(layer, 1, x, kx)
            if row is None or column is None or not (0 <= row < len(values) and 0 <= column < len(values[0])):
                continue
            taps = layer.weight[:, ky, kx].astype(np.int64)
            there = values[row][column]
            sums = sums + (taps[there] if layer.kind == "tokens" else np.array(there, np.int64) @ taps)
    return [activate(layer.activation, int(total) >> int(by)) for total, by in zip(sums, layer.shift, strict=True)]


def input_index(layer, axis, output, tap):
    """Return the index of the input that reaches output `output` through `tap` along an axis, or None."""
    if layer.kind == "conv":
        return output - layer.padding[axis] + tap
    steps, rest = divmod(output + layer.padding[axis] - tap, layer.stride[axis])
    return None if rest else steps


def activate(activation, value):
    if isinstance(activation, Clip):
        return min(max(value, activation.low), activation.high)
    return int(activation.values[min(max(value - activation.low, 0), len(activation.values) - 1)])

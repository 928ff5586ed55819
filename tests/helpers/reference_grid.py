"""The decoder network as docs/format.md states it, one output at a time in Python's integers: slow, plainly right."""

import numpy as np

from smalti.decoders.layers.integer_network import Clip, IntegerNetwork


def reference_decode(network: IntegerNetwork, tokens) -> np.ndarray:
    """Pixels uint8 [n, H, W, C] of tokens [n, h, w]."""
    return np.array([_image(network, image) for image in np.asarray(tokens).tolist()], np.uint8)


def _image(network, tokens):
    values = tokens
    for layer in network.layers:
        height, width = layer.output_size((len(values), len(values[0])))
        values = [[_outputs(layer, values, y, x) for x in range(width)] for y in range(height)]
    return values


def _outputs(layer, values, y, x):
    """What every channel of output (y, x) comes to."""
    sums = layer.bias.astype(np.int64)
    for ky in range(layer.kernel[0]):
        for kx in range(layer.kernel[1]):
            row, column = _source(layer, 0, y, ky), _source(layer, 1, x, kx)
            if row is None or column is None or not (0 <= row < len(values) and 0 <= column < len(values[0])):
                continue
            taps = layer.weight[:, ky, kx].astype(np.int64)
            there = values[row][column]
            sums = sums + (taps[there] if layer.kind == "tokens" else np.array(there, np.int64) @ taps)
    return [_activate(layer.activation, int(total) >> int(by)) for total, by in zip(sums, layer.shift, strict=True)]


def _source(layer, axis, place, tap):
    """The input that reaches output `place` through `tap` along an axis, or None."""
    if layer.kind == "conv":
        return place - layer.padding[axis] + tap
    steps, rest = divmod(place + layer.padding[axis] - tap, layer.stride[axis])
    return None if rest else steps


def _activate(activation, value):
    if isinstance(activation, Clip):
        return min(max(value, activation.low), activation.high)
    return int(activation.values[min(max(value - activation.low, 0), len(activation.values) - 1)])

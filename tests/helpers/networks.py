"""Networks of random numbers, of every kind, up to the bound of exactness."""

import numpy as np

from smalti.decoders.layers.integer_network import EXACT, Clip, IntegerNetwork, Layer, PixelTable

KINDS = [
    ["tokens"],
    ["tokens", "up"],
    ["tokens", "conv"],
    ["tokens", "up", "up"],
    ["tokens", "up", "conv"],
    ["tokens", "conv", "up", "conv"],
]


def random_layer(rng, kind, inputs, outputs, kernel, stride=(1, 1), padding=(0, 0), activation=None, low=0, high=0):
    """A layer whose sums come as close to 2**24 as its weights allow, for inputs within low..high."""
    limit = 32767 if kind == "tokens" else 127
    weight = rng.integers(-limit, limit + 1, (inputs, *kernel, outputs)).astype(np.int16)
    shape = np.zeros(outputs, np.int32)
    bare = Layer(kind, weight, shape, shape.astype(np.uint8), stride, padding, Clip(0, 255))
    while (room := EXACT - bare.largest_sum(low, high)) < 0:
        weight = (weight // 2).astype(np.int16)
        bare = Layer(kind, weight, shape, shape.astype(np.uint8), stride, padding, Clip(0, 255))
    bias = rng.integers(-room, room + 1, outputs).astype(np.int32)
    if rng.random() < 0.3:
        bias = rng.choice([-room, 0, room], outputs).astype(np.int32)
    sums = max(bare.largest_sum(low, high), 1)
    shift = rng.integers(0, 25, outputs).astype(np.uint8)
    if rng.random() < 0.7:  # so that values fall within the activation's range
        bias = rng.integers(-sums, sums + 1, outputs).clip(-room, room).astype(np.int32)
        shift = (
            rng.integers(max(sums.bit_length() - 10, 0), sums.bit_length() + 1, outputs).astype(np.uint8).clip(0, 24)
        )
    return Layer(kind, weight, bias, shift, stride, padding, activation or random_clip(rng))


def random_clip(rng):
    low, high = (
        sorted(rng.integers(0, 256, 2).tolist()) if rng.random() < 0.5 else sorted(rng.integers(-128, 128, 2).tolist())
    )
    return Clip(low, high)


def random_table(rng):
    size = int(rng.choice([1, 2, 256, 4096, 65536]))
    low = int(rng.choice([-EXACT, -size // 2, 0, EXACT]))
    return PixelTable(low if rng.random() < 0.2 else -size // 2, rng.integers(0, 256, size).astype(np.uint8))


def random_network(rng, kinds, codes=5, hidden=3, channels=1, kernels=(1, 2, 3, 4)):
    """A chain of `kinds` with random kernels, strides and paddings."""
    layers, low, high = [], 0, 0
    for number, kind in enumerate(kinds):
        last = number == len(kinds) - 1
        kernel = tuple(int(k) for k in rng.choice(kernels, 2))
        stride = tuple(int(s) for s in rng.integers(1, 4, 2)) if kind != "conv" else (1, 1)
        padding = tuple(int(rng.integers(0, k)) for k in kernel)
        inputs = codes if number == 0 else hidden
        activation = random_table(rng) if last else random_clip(rng)
        layer = random_layer(
            rng, kind, inputs, channels if last else hidden, kernel, stride, padding, activation, low, high
        )
        layers.append(layer)
        if not last:
            low, high = activation.low, activation.high
    return IntegerNetwork(tuple(layers))


def study_network(rng, codes=22, hidden=16, channels=1):
    """The study's shape: two transposed convolutions 4x4 of stride 2, the first folded into the tokens."""
    first = random_layer(rng, "tokens", codes, hidden, (4, 4), (2, 2), (1, 1), Clip(0, 255))
    second = random_layer(rng, "up", hidden, channels, (4, 4), (2, 2), (1, 1), random_table(rng), 0, 255)
    return IntegerNetwork((first, second))

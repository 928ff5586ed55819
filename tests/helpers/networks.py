"""Small random networks of both decoder kinds, with priors and tokens, up to the bounds of exactness."""

from dataclasses import replace

import numpy as np

from smalti.decoders.layers.integer_network import EXACT, Clip, IntegerNetwork, Layer, PixelTable
from smalti.decoders.pyramid.context import feature_magnitudes
from smalti.decoders.pyramid.pyramid_network import ABSENT, Level, PyramidNetwork, Scale, TokenLayout
from smalti.decoders.pyramid.pyramid_prior import PyramidPrior
from smalti.entropy.frequency import FrequencyTable
from smalti.entropy.priors import NetworkPrior, TablePrior
from smalti.errors import ModelError

KINDS = [
    ["tokens"],
    ["tokens", "up"],
    ["tokens", "conv"],
    ["tokens", "up", "up"],
    ["tokens", "up", "conv"],
    ["tokens", "conv", "up", "conv"],
]


def random_layer(rng, kind, inputs, outputs, kernel, stride=(1, 1), padding=(0, 0), activation=None, low=0, high=0):
    """Return a layer whose sums come as close to 2**24 as its weights allow, for inputs within low..high."""
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
    """Return a chain of layers of these kinds, with random kernels, strides and paddings."""
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
    """Return a network of the study's shape: two transposed convolutions 4x4 of stride 2, the first on tokens."""
    first = random_layer(rng, "tokens", codes, hidden, (4, 4), (2, 2), (1, 1), Clip(0, 255))
    second = random_layer(rng, "up", hidden, channels, (4, 4), (2, 2), (1, 1), random_table(rng), 0, 255)
    return IntegerNetwork((first, second))


def unfolded_study_network(rng, codes=22, hidden=16, channels=1):
    """Return one that begins with a vector for each token; with many codes the two layers after it are a stage."""
    lookup = random_layer(rng, "tokens", codes, 8, (1, 1), activation=Clip(-127, 127))
    first = random_layer(rng, "up", 8, hidden, (4, 4), (2, 2), (1, 1), Clip(0, 255), -127, 127)
    second = random_layer(rng, "up", hidden, channels, (4, 4), (2, 2), (1, 1), random_table(rng), 0, 255)
    return IntegerNetwork((lookup, first, second))


SHAPES = [  # grid of the canvas, strides of the scales
    ((1, 1), [(1, 1)]),
    ((2, 3), [(1, 1)]),
    ((2, 2), [(2, 2)]),
    ((4, 4), [(4, 4), (2, 2)]),
    ((2, 4), [(2, 4), (1, 2), (1, 1)]),
    ((3, 2), [(3, 1), (1, 2)]),
]


def random_scale(rng, stride, channels, hidden):
    padding = tuple(int(rng.integers(0, 2)) for _ in range(2))
    kernel = tuple(step + 2 * more for step, more in zip(stride, padding, strict=True))
    return Scale(stride, rng.integers(-128, 128, (channels, *kernel, hidden)).astype(np.int16), padding)


def random_levels(rng, scales, most=5):
    levels = []
    for number, scale in enumerate(scales):
        for _ in range(rng.integers(1, 3)):
            start = int(rng.integers(0, scale.channels))
            width = int(rng.integers(1, scale.channels - start + 1))
            size = int(rng.choice([1, 2, most]))
            low, high = (-2048, 2049) if rng.random() < 0.3 else (-40, 41)
            levels.append(Level(number, start, rng.integers(low, high, (size, width)).astype(np.int16)))
    return tuple(levels)


def random_pyramid(rng, strides=((2, 2),), hidden=3, channels=1, kinds=("up",)):
    """Return a network: in half of all cases with numbers up to the bounds (wild), else one whose images differ."""
    while True:
        wild = rng.random() < 0.5
        scales = tuple(random_scale(rng, stride, int(rng.integers(1, 4)), hidden) for stride in strides)
        levels, clip = random_levels(rng, scales), random_clip(rng) if wild else Clip(-128, 127)
        reach = int(rng.choice([EXACT // 50, 1000]))
        bias = rng.integers(-reach, reach, hidden).astype(np.int32)
        shift = rng.integers(0, 20, hidden) if wild else rng.integers(4, 9, hidden)
        layers = random_layers(rng, kinds, hidden, channels, clip, wild)
        try:
            return PyramidNetwork(scales, levels, bias, shift.astype(np.uint8), clip, layers)
        except ModelError:  # sums of the canvas
            continue


def random_layers(rng, kinds, hidden, channels, clip, wild):
    layers, before, inputs = [], clip, hidden
    for number, kind in enumerate(kinds):
        last = number == len(kinds) - 1
        kernel = tuple(int(k) for k in rng.choice((1, 2, 3, 4), 2))
        stride = tuple(int(s) for s in rng.integers(1, 4, 2)) if kind != "conv" else (1, 1)
        padding = tuple(int(rng.integers(0, (k + 1) // 2)) for k in kernel)
        activation = small_table(rng) if last else random_clip(rng)
        if not wild:
            activation = PixelTable(-128, np.arange(256, dtype=np.uint8)) if last else Clip(0, 255)
        outputs = channels if last else hidden
        layer = random_layer(rng, kind, inputs, outputs, kernel, stride, padding, activation, before.low, before.high)
        if not wild:
            shift = max(layer.largest_sum(before.low, before.high).bit_length() - 10, 0)
            bias, shifts = np.full(outputs, 1 << shift, np.int32), np.full(outputs, shift, np.uint8)
            layer = replace(layer, weight=layer.weight // 2, bias=bias, shift=shifts)
        layers.append(layer)
        before, inputs = activation, outputs
    return tuple(layers)


def small_table(rng):
    size = int(rng.choice([1, 2, 256]))
    return PixelTable(int(rng.integers(-size, 1)), rng.integers(0, 256, size).astype(np.uint8))


def random_depths(rng, levels):
    return FrequencyTable.from_counts(rng.integers(1, 9, levels + 1).astype(np.int64), 12)


def random_table_prior(rng, positions, codes):
    rows = int(rng.choice([1, positions]))
    tables = [FrequencyTable.from_counts(rng.integers(1, 99, codes).astype(np.int64), 14) for _ in range(rows)]
    return TablePrior(np.stack([table.frequencies for table in tables]), 14)


def random_network_prior(rng, magnitudes, positions, codes, hidden=4):
    """Return a prior whose scores stay within some thousands of sixteenths of a bit."""
    limit = int(rng.choice([1, 9, 127]))
    weight1 = rng.integers(-limit, limit + 1, (len(magnitudes), hidden)).astype(np.int16)
    while int((magnitudes @ np.abs(weight1.astype(np.int64))).max()) > EXACT // 2:
        weight1 //= 2
    rows = int(rng.choice([1, positions]))
    largest = int((magnitudes @ np.abs(weight1.astype(np.int64))).max())
    return NetworkPrior(
        weight1,
        rng.integers(-largest // 2 - 9, largest // 2 + 9, (rows, hidden)).astype(np.int32),
        min(max(largest.bit_length() - int(rng.integers(6, 11)), 0), 24),
        rng.integers(-limit, limit + 1, (hidden, codes)).astype(np.int16),
        rng.integers(-3000, 3000, codes).astype(np.int32),
        int(rng.integers(0, 9)),
    )


def random_prior(rng, network, grid):
    layout, levels = TokenLayout(network, grid), []
    for number, level in enumerate(network.levels):
        positions = int(np.prod(layout.grids[number]))
        if rng.random() < 0.3:
            levels.append(random_table_prior(rng, positions, level.size))
        else:
            magnitudes = feature_magnitudes(network, layout, number)
            levels.append(random_network_prior(rng, magnitudes, positions, level.size))
    return PyramidPrior(network, grid, random_depths(rng, layout.levels), tuple(levels))


def random_tokens(rng, network, grid, images):
    """Return tokens of random depths."""
    layout = TokenLayout(network, grid)
    tokens = np.full((images, layout.tokens), ABSENT, np.uint16)
    depths = rng.integers(0, layout.levels + 1, images)
    for level in range(layout.levels):
        part = layout.part(level)
        drawn = rng.integers(layout.numbers[level], layout.numbers[level + 1], (images, part.stop - part.start))
        tokens[:, part] = np.where((depths > level)[:, None], drawn, ABSENT)
    return tokens

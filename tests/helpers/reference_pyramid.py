"""Pyramids as docs/format.md states them, one number at a time in Python's integers: slow, plainly right."""

from fractions import Fraction
from math import floor, prod

import numpy as np

from helpers.reference_grid import activate, input_index, outputs_at
from smalti.decoders.pyramid.pyramid_network import ABSENT
from smalti.entropy.priors import NetworkPrior

B = [floor(Fraction(2**16) * Fraction(2 ** (-j / 16)) + Fraction(1, 2)) for j in range(16)]


def grids(network, canvas):
    """Rows and columns of each scale."""
    return [(canvas[0] // scale.stride[0], canvas[1] // scale.stride[1]) for scale in network.scales]


def places(network, canvas):
    """For every token of an image: its level, the row and the column."""
    found = []
    for number, level in enumerate(network.levels):
        rows, columns = grids(network, canvas)[level.scale]
        found += [(number, row, column) for row in range(rows) for column in range(columns)]
    return found


def empty_latents(network, canvas):
    return [
        [[[0] * scale.channels for _ in range(columns)] for _ in range(rows)]
        for scale, (rows, columns) in zip(network.scales, grids(network, canvas), strict=True)
    ]


def first_codes(network):
    firsts = [0]
    for level in network.levels:
        firsts.append(firsts[-1] + len(level.codes))
    return firsts


def add_code(network, latents, place, code):
    number, row, column = place
    level = network.levels[number]
    for channel, value in enumerate(level.codes[code].tolist()):
        latents[level.scale][row][column][level.start + channel] += value


def reference_decode(network, canvas, tokens):
    """Pixels uint8 [n, H, W, C] of tokens [n, T]."""
    return np.array([image_pixels(network, canvas, image) for image in np.asarray(tokens).tolist()], np.uint8)


def image_pixels(network, canvas, tokens):
    latents, firsts = empty_latents(network, canvas), first_codes(network)
    for place, token in zip(places(network, canvas), tokens, strict=True):
        if token != ABSENT:
            add_code(network, latents, place, token - firsts[place[0]])
    values = [[canvas_values(network, latents, y, x) for x in range(canvas[1])] for y in range(canvas[0])]
    for layer in network.layers:
        height, width = layer.output_size((len(values), len(values[0])))
        values = [[outputs_at(layer, values, y, x) for x in range(width)] for y in range(height)]
    return values


def canvas_values(network, latents, y, x):
    sums = network.bias.tolist()
    for scale, grid in zip(network.scales, latents, strict=True):
        layer = scale.layer(network.bias)
        for ky in range(layer.kernel[0]):
            for kx in range(layer.kernel[1]):
                row, column = input_index(layer, 0, y, ky), input_index(layer, 1, x, kx)
                if row is None or column is None or not (0 <= row < len(grid) and 0 <= column < len(grid[0])):
                    continue
                for channel, value in enumerate(grid[row][column]):
                    for output, weight in enumerate(scale.stem[channel, ky, kx].tolist()):
                        sums[output] += value * weight
    return [activate(network.clip, total >> by) for total, by in zip(sums, network.shift.tolist(), strict=True)]


def reach(channels, places):
    if places == 1:
        return 0
    if 49 * channels <= 300:
        return 3
    return 2 if 25 * channels <= 300 else 1


def features(network, canvas, latents, place):
    number, row, column = place
    scale = network.levels[number].scale
    grid, found = latents[scale], []
    far = reach(network.scales[scale].channels, prod(grids(network, canvas)[scale]))
    near = range(-far, far + 1)
    for y in near:
        for x in near:
            inside = 0 <= row + y < len(grid) and 0 <= column + x < len(grid[0])
            found += grid[row + y][column + x] if inside else [0] * network.scales[scale].channels
    (sy, sx) = network.scales[scale].stride
    for coarse in range(scale):
        (cy, cx) = network.scales[coarse].stride
        found += latents[coarse][row * sy // cy][column * sx // cx]
    return found


def network_units(prior, position, found):
    """The units of each code, of 2^24 together."""
    bias1 = prior.bias1[position if len(prior.bias1) > 1 else 0].tolist()
    weight1, weight2 = prior.weight1.tolist(), prior.weight2.tolist()
    hidden = [
        min(max(bias + sum(f * row[h] for f, row in zip(found, weight1, strict=True)) >> prior.shift1, 0), 255)
        for h, bias in enumerate(bias1)
    ]
    scores = [
        bias + sum(v * row[k] for v, row in zip(hidden, weight2, strict=True)) >> prior.shift2
        for k, bias in enumerate(prior.bias2.tolist())
    ]
    return units(scores)


def units(scores):
    codes, best = len(scores), max(scores)
    far = [min(best - score, 255) for score in scores]
    weights = [B[e % 16] >> e // 16 for e in far]
    found = [1 + weight * (2**24 - codes) // sum(weights) for weight in weights]
    found[scores.index(best)] += 2**24 - sum(found)
    return found


def level_units(prior, network, canvas, latents, place, position):
    level_prior = prior.levels[place[0]]
    if isinstance(level_prior, NetworkPrior):
        return network_units(level_prior, position, features(network, canvas, latents, place))
    row = level_prior.tables[position if len(level_prior.tables) > 1 else 0]
    return [int(frequency) << 24 - level_prior.precision for frequency in row]


def all_units(prior, tokens):
    """For each image, for each token that it has: the units of every code of its level, and which code it is."""
    network, canvas = prior.network, prior.grid
    firsts = first_codes(network)
    for image in np.asarray(tokens).tolist():
        latents, found, positions = empty_latents(network, canvas), [], {}
        for place, token in zip(places(network, canvas), image, strict=True):
            position = positions[place[0]] = positions.get(place[0], -1) + 1
            if token != ABSENT:
                code = token - firsts[place[0]]
                found.append((level_units(prior, network, canvas, latents, place, position), code))
                add_code(network, latents, place, code)
        yield found

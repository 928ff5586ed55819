"""From the learned floats of a pixel prior to the integers of an archive."""

import math

import numpy as np
import torch
from torch import Tensor

from smalti.decoders.pixels.pixel_network import MOST_HIDDEN, OWN_FEATURES, ChannelNetwork, PixelNetwork
from smalti.training.cells.whole_layers import as_array, unit_of, whole, whole_layer
from smalti.training.pixels.learned_pixels import FULL, LearnedPixels

__all__ = ["export_pixels"]

_SCORE_UNITS = 16 / math.log(2)
"""A nat in units of 1/16 bit."""


@torch.no_grad()
def export_pixels(learned: LearnedPixels, sample: Tensor) -> PixelNetwork:
    """The integer network. sample : levels int64 [n, C, H, W] in coding order, on which activations are measured"""
    shape, bits = learned.shape, learned.shape.bits
    firsts = learned.hidden(sample)
    layers = [learned.layers(number, hidden) for number, hidden in enumerate(firsts)]
    unit = max(unit_of(values) for own in layers for values in own)
    context = as_array(learned.context) * 2 / FULL / unit
    owns = [as_array(own) * 2 / FULL / unit for own in learned.own]
    edges = [as_array(table) / unit for table in (learned.tops, learned.lefts, learned.rights)]
    biases = (as_array(learned.bias) - as_array(learned.context).sum(axis=0)) / unit
    stacked = np.concatenate([context, *owns])
    room = sum(np.abs(table).max(axis=0) for table in edges) + np.abs(biases).max(axis=0)
    weights, _, shift = whole_layer(stacked, room, np.full(len(stacked), int(FULL)), bits)
    starts = np.cumsum([len(context), *(OWN_FEATURES * number for number in range(shape.channels))])
    networks = []
    for number in range(shape.channels):
        middle, middle_bias, shifts = [], [], [shift]
        for weight, bias in zip(learned.middle[number], learned.middle_bias[number], strict=True):
            made = whole_layer(as_array(weight), as_array(bias) / unit, np.full(shape.width, MOST_HIDDEN), bits)
            middle.append(made[0])
            middle_bias.append(made[1])
            shifts.append(made[2])
        scores, scores_bias, last = whole_layer(
            as_array(learned.scores[number]) * unit * _SCORE_UNITS,
            as_array(learned.scores_bias[number]) * _SCORE_UNITS,
            np.full(shape.width, MOST_HIDDEN),
            bits,
        )
        networks.append(
            ChannelNetwork(
                weights[starts[number] : starts[number + 1]],
                whole(biases[number] * 2.0**shift) + (1 << shift >> 1),
                np.array(middle, np.int64).reshape(shape.depth, shape.width, shape.width),
                np.array(middle_bias, np.int64).reshape(shape.depth, shape.width),
                scores,
                scores_bias,
                (*shifts, last),
            )
        )
    tops, lefts, rights = (whole(table * 2.0**shift) for table in edges)
    return PixelNetwork(shape.radius, weights[: len(context)], tops, lefts, rights, tuple(networks))

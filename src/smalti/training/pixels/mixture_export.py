"""From the learned floats of a mixture prior to the integers of an archive."""

import math

import numpy as np
import torch
from torch import Tensor

from smalti.decoders.pixels.mixture import STEEPEST
from smalti.decoders.pixels.mixture_network import MixtureChannel, MixtureNetwork, own_inputs
from smalti.decoders.pixels.pixel_network import MOST_HIDDEN
from smalti.training.cells.whole_layers import as_array, unit_of, whole, whole_layer
from smalti.training.pixels.learned_mixture import FULL, LearnedMixture

__all__ = ["export_mixture"]

_UNITS = 16
"""A bit, a width and an octave are so many units of scores, shifts and widths."""


@torch.no_grad()
def export_mixture(learned: LearnedMixture, sample: Tensor) -> MixtureNetwork:
    """The integer network. sample : levels int64 [n, C, H, W] in coding order, on which activations are measured"""
    shape, bits = learned.shape, learned.shape.bits
    unit = max(unit_of(values) for layers in learned.hidden(sample) for values in layers)
    context = as_array(learned.context) / FULL / unit
    owns = [as_array(own) / FULL / unit for own in learned.own]
    edges = [as_array(table) / unit for table in (learned.tops, learned.lefts, learned.rights)]
    biases = as_array(learned.bias) / unit
    stacked = np.concatenate([context, *owns])
    room = sum(np.abs(table).max(axis=0) for table in edges) + np.abs(biases).max(axis=0)
    weights, _, shift = whole_layer(stacked, room, np.full(len(stacked), 255), bits)
    starts = np.cumsum([len(context), *(own_inputs(number) for number in range(shape.channels))])
    components = shape.components
    scales = np.repeat([_UNITS / math.log(2), _UNITS, _UNITS], [components + 1, components, components])
    networks = []
    for number in range(shape.channels):
        middle, middle_bias, shifts = [], [], [shift]
        for weight, bias in zip(learned.middle[number], learned.middle_bias[number], strict=True):
            made = whole_layer(as_array(weight), as_array(bias) / unit, np.full(shape.width, MOST_HIDDEN), bits)
            middle.append(made[0])
            middle_bias.append(made[1])
            shifts.append(made[2])
        moved = as_array(learned.outputs_bias[number])
        moved[-components:] += STEEPEST
        outputs, outputs_bias, last = whole_layer(
            as_array(learned.outputs[number]) * unit * scales, moved * scales, np.full(shape.width, MOST_HIDDEN), bits
        )
        networks.append(
            MixtureChannel(
                learned.foretelling.weights[number],
                learned.foretelling.places,
                weights[starts[number] : starts[number + 1]],
                whole(biases[number] * 2.0**shift) + (1 << shift >> 1),
                np.array(middle, np.int64).reshape(shape.depth, shape.width, shape.width),
                np.array(middle_bias, np.int64).reshape(shape.depth, shape.width),
                outputs,
                outputs_bias,
                (*shifts, last),
            )
        )
    tops, lefts, rights = (whole(table * 2.0**shift) for table in edges)
    levels = list(shape.levels)
    return MixtureNetwork(shape.radius, levels, weights[: len(context)], tops, lefts, rights, tuple(networks))

"""From a pyramid that learns in integers to the integers that an archive stores: network, prior and tokens."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smalti.decoders.layers.integer_network import Clip, Layer, PixelTable
from smalti.decoders.pyramid.pyramid_network import ABSENT, Level, PyramidNetwork, Scale
from smalti.decoders.pyramid.pyramid_packing import pack_pyramid
from smalti.decoders.pyramid.pyramid_prior import PyramidPrior
from smalti.entropy.frequency import FrequencyTable
from smalti.entropy.priors import NetworkPrior, TablePrior
from smalti.training.common.scaling import PixelScale
from smalti.training.pyramid.learned_prior import HIDDEN_SHIFT, LOGIT_SHIFT, LevelPrior
from smalti.training.pyramid.learned_pyramid import LARGEST_ACTIVATION, LARGEST_CODE, LARGEST_WEIGHT, Pyramid

__all__ = ["global_tokens", "overhead_bytes", "to_network", "to_prior"]

TABLE_PRECISION = 12
FRAME_BYTES = 2_500
"""Approximate bytes of headers, checksums and index."""


def to_network(pyramid: Pyramid) -> PyramidNetwork:
    """Return the integers of codes and decoder; ModelError if a sum could leave the exact range."""
    stems = zip(pyramid.shape.strides, pyramid.weights, pyramid.shape.stem_kernels, strict=False)
    scales = tuple(Scale(stride, _kernel(weight), padding) for stride, weight, (_, padding) in stems)
    levels = tuple(
        Level(form.scale, form.start, _whole(codes, LARGEST_CODE).astype(np.int16))
        for form, codes in zip(pyramid.forms, pyramid.codes, strict=True)
    )
    bias, shift = _bias(pyramid, 0)
    layers = []
    for number in range(1, len(pyramid.biases)):
        layer_bias, layer_shift = _bias(pyramid, number)
        last = number == len(pyramid.biases) - 1
        activation = _pixel_table(pyramid.scale) if last else Clip(0, LARGEST_ACTIVATION)
        kernel = _kernel(pyramid.weights[pyramid.scales + number - 1])
        kind = pyramid.shape.layers[number - 1].kind
        stride = (1, 1) if kind == "conv" else (2, 2)
        layers.append(Layer(kind, kernel, layer_bias, layer_shift, stride, (1, 1), activation))
    return PyramidNetwork(scales, levels, bias, shift, Clip(0, LARGEST_ACTIVATION), tuple(layers))


def _pixel_table(scale: PixelScale) -> PixelTable:
    """Return the pixels of the levels: equal steps, which take next to no bytes."""
    return PixelTable(0, scale.table(scale.step * np.arange(scale.levels + 1)))


def to_prior(pyramid: Pyramid, network: PyramidNetwork, tokens: Iterable[NDArray[np.uint16]]) -> PyramidPrior:
    """Return the prior for tokens, with tables from their counts.

    tokens : batches uint16 [n, T] of global numbers or ABSENT

    Every code has a frequency, so that other images can be coded too.
    """
    forms = pyramid.forms
    positions = [pyramid.shape.positions[form.scale] for form in forms]
    starts, firsts = np.cumsum([0, *positions[:-1]]), np.cumsum([0, *map(len, pyramid.codes)])
    priors = [pyramid.prior(level) for level in range(len(forms))]
    counts = [
        np.zeros((0 if prior.features else size, prior.codes), np.int64)
        for prior, size in zip(priors, positions, strict=True)
    ]
    depths = np.zeros(len(forms) + 1, np.int64)
    for batch in tokens:
        depths += np.bincount((batch[:, starts] != ABSENT).sum(1), minlength=len(depths))
        for own, start, first in zip(counts, starts, firsts[:-1], strict=True):
            for position in range(len(own)):
                column = batch[:, start + position]
                own[position] += np.bincount(column[column != ABSENT].astype(np.int64) - first, minlength=own.shape[1])
    levels = tuple(map(_level, priors, counts))
    return PyramidPrior(network, pyramid.shape.canvas, FrequencyTable.from_counts(depths, TABLE_PRECISION), levels)


def overhead_bytes(pyramid: Pyramid) -> int:
    """Return the approximate size of an archive with this pyramid, without tokens and columns."""
    network = to_network(pyramid)
    prior = to_prior(pyramid, network, [global_tokens(pyramid, pyramid.empty_tokens(1))])
    return len(pack_pyramid(network, pyramid.shape.canvas)) + len(prior.to_bytes()) + FRAME_BYTES


def global_tokens(
    pyramid: Pyramid, tokens: list[Tensor], depths: NDArray[np.integer] | None = None
) -> NDArray[np.uint16]:
    """Return tokens (int64 [n, positions] for each level) as global numbers uint16 [n, T]; ABSENT beyond `depths`."""
    parts, first = [], 0
    for level, (found, codes) in enumerate(zip(tokens, pyramid.codes, strict=True)):
        numbers = (found.cpu().numpy() + first).astype(np.uint16)
        if depths is not None:
            numbers[depths <= level] = ABSENT
        parts.append(numbers)
        first += len(codes)
    return np.concatenate(parts, axis=1)


def _level(prior: LevelPrior, counts: NDArray[np.int64]) -> TablePrior | NetworkPrior:
    """Return the prior of a level. counts : of each position's codes, if it is a table"""
    if prior.features:
        return NetworkPrior(
            _whole(prior.weight1, LARGEST_WEIGHT).astype(np.int16),
            _whole(prior.bias1).astype(np.int32) + _half(HIDDEN_SHIFT),
            HIDDEN_SHIFT,
            _whole(prior.weight2, LARGEST_WEIGHT).astype(np.int16),
            _whole(prior.bias2).astype(np.int32) + _half(LOGIT_SHIFT),
            LOGIT_SHIFT,
        )
    rows = [FrequencyTable.from_counts(16 * found + 1, TABLE_PRECISION).frequencies for found in counts]
    return TablePrior(np.stack(rows), TABLE_PRECISION)


def _bias(pyramid: Pyramid, number: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return bias and shift of the canvas (0) or a later layer; the bias has the half that makes the shift round."""
    shift = _whole(pyramid.shift(number))
    return (_whole(pyramid.biases[number]) + ((1 << shift) >> 1)).astype(np.int32), shift.astype(np.uint8)


def _kernel(weight: Tensor) -> NDArray[np.int16]:
    """Convert a weight [inputs, outputs, ky, kx] to int16 [inputs, ky, kx, outputs]."""
    return np.ascontiguousarray(_whole(weight, LARGEST_WEIGHT).transpose(0, 2, 3, 1), np.int16)


def _half(shift: int) -> np.int32:
    return np.int32((1 << shift) >> 1)


def _whole(values: Tensor, limit: int | None = None) -> NDArray[np.int64]:
    """Clamp and round as the learned network does, by `learned_prior.rounded`."""
    values = values.detach() if limit is None else values.detach().clamp(-limit, limit)
    return torch.floor(values + 0.5).cpu().numpy().astype(np.int64)

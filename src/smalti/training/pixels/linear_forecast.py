"""The linear forecast of a mixture prior: weighted least squares over the differences around pixels."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.pixels.mixture_network import MOST_MIXED_LEVELS
from smalti.decoders.pixels.wavefront import Wavefront, context_size, place_of
from smalti.training.pixels.learned_mixture import Foretelling

__all__ = ["differences_of", "fit_foretelling", "left_over"]

PLACES = 12

_LEAST = 2.0
"""Added to the mean difference around a pixel; errors weigh its inverse, so that edges do not decide all."""

_RIDGE = 1e-3

_LARGEST = 1 << 15

Ints = NDArray[np.int64]


def fit_foretelling(levels: list[NDArray[np.uint16]], radius: int) -> Foretelling:
    """The weights for pictures of levels [n, H, W, C], channels in coding order."""
    channels = levels[0].shape[3]
    around = context_size(radius) * channels
    squares = np.zeros((around + channels, around + channels))
    parts = [differences_of(stack, radius) for stack in levels]
    for differences, own in parts:
        values = np.concatenate([differences, own], 1).astype(np.float64)
        weights = 1 / (np.abs(differences).mean(axis=1) + _LEAST)
        squares += (values * weights[:, None]).T @ values
    made = []
    for number in range(channels):
        size = around + number
        own_squares = squares[:size, :size]
        ridge = _RIDGE * (np.trace(own_squares) / size + 1e-9) * np.eye(size)
        solved = np.linalg.solve(own_squares + ridge, squares[:size, size])
        made.append(np.clip(np.round(solved * (1 << PLACES)), -_LARGEST, _LARGEST).astype(np.int64))
    found = Foretelling(tuple(made), PLACES, (1.0,) * channels)
    differences, own = parts[0]
    missed = [float(np.abs(left_over(found, number, differences, own)).mean()) for number in range(channels)]
    return replace(found, missed=tuple(missed))


def left_over(foretelling: Foretelling, number: int, around: Ints, own: Ints) -> Ints:
    """What a forecast leaves of a channel, [pixels]. around, own : of `differences_of`"""
    values = np.concatenate([around, own[:, :number]], 1)
    sums = values @ foretelling.weights[number] + (1 << foretelling.places >> 1)
    return np.asarray(own[:, number] - (sums >> foretelling.places))


def differences_of(stack: NDArray[np.uint16], radius: int) -> tuple[Ints, Ints]:
    """How far the levels around pixels are from their bases, [pixels, P * C], and those of the pixels, [pixels, C]."""
    count, rows, columns, channels = stack.shape
    grids = np.array([(rows, columns)] * count, np.int64)
    front = Wavefront(grids, radius)
    canvas = np.full((front.room, channels), MOST_MIXED_LEVELS, np.int64)
    flat = stack.reshape(-1, channels).astype(np.int64)
    canvas[front.places] = flat
    around = canvas.take(front.context(np.arange(len(flat))), axis=0)
    outside = around == MOST_MIXED_LEVELS
    left, above = around[:, place_of(radius, 0, -1)], around[:, place_of(radius, 1, 0)]
    no_left, no_above = left == MOST_MIXED_LEVELS, above == MOST_MIXED_LEVELS
    left, above = (
        np.where(no_left, np.where(no_above, 0, above), left),
        np.where(no_above, np.where(no_left, 0, left), above),
    )
    base = left + above >> 1
    return np.where(outside, 0, around - base[:, None]).reshape(len(flat), -1), flat - base

"""From the learned floats to the integers of an archive.

`smalti.training.cells.whole_layers` says how a layer becomes whole numbers.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from smalti.decoders.transform.cells import FIRST_PHASES, PHASES
from smalti.decoders.transform.prior_network import FRACTIONS, MEAN_UNITS, FirstNetwork, PriorNetwork
from smalti.decoders.transform.transform_network import (
    MATRIX_BITS,
    MIX_UNITS,
    Mixing,
    TransformNetwork,
)
from smalti.decoders.transform.transform_prior import Coding, Walk
from smalti.entropy.priors import TablePrior
from smalti.training.cells.whole_layers import as_array, unit_of, whole, whole_layer
from smalti.training.common.scaling import PixelScale
from smalti.training.transform.learned_transform import (
    FINEST_SCALE,
    SIGNED_UNIT,
    LearnedPrior,
    LearnedTransform,
)

__all__ = ["TableCounts", "export_network", "export_prior"]

_FINE_STEP = 64.0  # a step has at least about so many units, so that rounding it costs nothing
RADIUS = 48
_TABLE_BITS, _FEW_TABLE_BITS, _FEW_SCALES = 14, 11, 16
_UNITS = 1 << 20
_MODEL_WEIGHT = 24.0
"""Counts that the logistic distribution stands for in a table."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def export_network(learned: LearnedTransform, scale: PixelScale, sample: Tensor) -> TransformNetwork:
    """The integer decoder. sample : coefficients [n, M, rows, columns], on which activations are measured"""
    bits = learned.shape.bits
    width = scale.high - scale.low
    steps = as_array(learned.steps) * width
    most = 4 if scale.dtype == "uint16" else 6
    fraction = int(np.clip(math.ceil(math.log2(_FINE_STEP / max(float(steps.min()), 1e-9))), 0, most))
    unit = 2.0**fraction
    matrix = {
        name: whole(as_array(getattr(learned, name)) * 2**MATRIX_BITS) for name in ("colour", "rows", "columns", "lap")
    }
    return TransformNetwork(
        dtype=scale.dtype,
        fraction=fraction,
        mean=whole((as_array(learned.mean) * width + scale.low) * unit),  # type: ignore[arg-type]
        places=np.array(learned.shape.places, np.int64),
        steps=np.maximum(whole(steps * unit), 1),
        mixing=_export_mixing(learned, sample, bits) if learned.shape.mixing else None,
        **matrix,
    )


@torch.no_grad()
def _export_mixing(learned: LearnedTransform, sample: Tensor, bits: int) -> Mixing:
    weight1, bias1, weight2, bias2, weight3, bias3 = learned.mixing
    first = F.relu(F.conv2d(sample.clamp(-127, 127), weight1.T[:, :, None, None], bias1))
    width = learned.shape.mixing
    kernel = weight2.reshape(3, 3, width, width).permute(3, 2, 0, 1)
    second = F.relu(F.conv2d(first, kernel, bias2, padding=1))
    unit1, unit2 = unit_of(first), unit_of(second)
    layers = [
        whole_layer(as_array(weight1) / unit1, as_array(bias1) / unit1, np.full(len(weight1), 127), bits),
        whole_layer(as_array(weight2) * unit1 / unit2, as_array(bias2) / unit2, np.full(9 * width, 255), bits),
        whole_layer(as_array(weight3) * unit2 * MIX_UNITS, as_array(bias3) * MIX_UNITS, np.full(width, 255), bits),
    ]
    (one, bias_one, shift1), (two, bias_two, shift2), (three, bias_three, shift3) = layers
    return Mixing(one, bias_one, two.reshape(9, width, width), bias_two, three, bias_three, (shift1, shift2, shift3))


@torch.no_grad()
def export_prior(prior: LearnedPrior, sample: Tensor) -> PriorNetwork:
    """The integer network of a prior. sample : whole coefficients [n, M, rows, columns]"""
    shape, bits = prior.shape, prior.shape.bits
    activities, widths, hiddens, firsts = prior.measured(sample)
    active, width, hidden, first_unit = (unit_of(values) for values in (activities, widths, hiddens, firsts))
    logarithm = math.log(shape.ratio)
    limits = np.array(shape.limits, np.int64)
    seen = -(-limits >> np.array(shape.limit_shifts))  # shifts round down
    inputs = np.tile(np.concatenate([np.full(shape.activities, 255), seen]), 9)
    gains = np.tile(np.concatenate([np.full(shape.activities, active), np.full(shape.signed, SIGNED_UNIT)]), 9)[:, None]
    # 16 units of a magnitude are a binary logarithm of 1
    activity, activity_bias, shift_activity = whole_layer(
        as_array(prior.activity) / 16 / active,
        as_array(prior.activity_bias) / active,
        np.full(shape.components, 127),
        bits,
    )
    contexts = np.concatenate([as_array(part) * gains / width for part in prior.context], axis=1)
    places = as_array(prior.places).reshape(-1, shape.width) / width
    context_bias = as_array(prior.context_bias) / width
    extra = np.abs(places).max(axis=0, initial=0)
    bound = np.abs(context_bias).max(axis=1) + extra
    context, _, shift_context = whole_layer(contexts, bound.ravel(), inputs, bits)
    scaled = 2.0**shift_context
    hidden_weight, hidden_bias, shift_hidden = whole_layer(
        as_array(prior.hidden) * width / hidden, as_array(prior.hidden_bias) / hidden, np.full(shape.width, 255), bits
    )
    least = math.log(FINEST_SCALE)
    scale_weight, scale_bias, shift_scale = whole_layer(
        as_array(prior.scale_weight) * hidden / logarithm, (as_array(prior.scale_bias) - least) / logarithm + 1,
        np.full(shape.width, 255), bits,
    )  # fmt: skip
    mean_weight, mean_bias, shift_mean = whole_layer(
        as_array(prior.mean_weight) * hidden * MEAN_UNITS, as_array(prior.mean_bias) * MEAN_UNITS,
        np.full(shape.width, 255), bits,
    )  # fmt: skip
    linears = np.concatenate([as_array(part) for part in prior.linear], axis=1) * MEAN_UNITS
    linear, _, shift_linear = whole_layer(linears, np.zeros(linears.shape[1]), np.tile(limits, 9), bits + 2)
    first, first_shifts = _export_first(prior, first_unit, bits)
    return PriorNetwork(
        groups=shape.groups,
        limits=limits,
        activity=activity,
        activity_bias=activity_bias,
        context=np.stack(np.split(context, PHASES, axis=1)),
        context_bias=whole(context_bias * scaled) + (1 << shift_context >> 1),
        places=whole(places * scaled),
        grid=(shape.grid[0], shape.grid[1]),
        hidden=hidden_weight,
        hidden_bias=hidden_bias,
        scale_weight=scale_weight,
        scale_bias=scale_bias,
        mean_weight=mean_weight,
        mean_bias=mean_bias,
        linear=np.stack(np.split(linear, PHASES, axis=1)),
        first=first,
        shifts=(shift_activity, shift_context, shift_hidden, shift_scale, shift_mean, shift_linear, *first_shifts),
    )


def _export_first(prior: LearnedPrior, unit: float, bits: int) -> tuple[FirstNetwork, tuple[int, ...]]:
    """The network of the first component, and the shifts of its hidden, scale, mean and linear layers."""
    logarithm, least = math.log(prior.shape.ratio), math.log(FINEST_SCALE)
    limit = prior.shape.limits[0]
    seen = -(-limit >> prior.shape.limit_shifts[0])
    weights = np.concatenate([as_array(part) for part in prior.first_weight], axis=1) * SIGNED_UNIT / unit
    weight, bias, shift_hidden = whole_layer(weights, as_array(prior.first_bias).ravel() / unit, np.full(9, seen), bits)
    scale_weight, scale_bias, shift_scale = whole_layer(
        as_array(prior.first_scale_weight).T * unit / logarithm,
        (as_array(prior.first_scale_bias) - least) / logarithm + 1, np.full(len(weight[0]) // FIRST_PHASES, 255), bits,
    )  # fmt: skip
    mean_weight, mean_bias, shift_mean = whole_layer(
        as_array(prior.first_mean_weight).T * unit * MEAN_UNITS, as_array(prior.first_mean_bias) * MEAN_UNITS,
        np.full(len(weight[0]) // FIRST_PHASES, 255), bits,
    )  # fmt: skip
    linear, _, shift_linear = whole_layer(
        as_array(prior.first_linear).T * MEAN_UNITS, np.zeros(FIRST_PHASES), np.full(9, limit), bits + 2
    )
    first = FirstNetwork(
        np.stack(np.split(weight, FIRST_PHASES, axis=1)), bias.reshape(FIRST_PHASES, -1), scale_weight.T.copy(),
        scale_bias, mean_weight.T.copy(), mean_bias, linear.T.copy(),
    )  # fmt: skip
    return first, (shift_hidden, shift_scale, shift_mean, shift_linear)


class TableCounts:
    """How often each code of each table occurs: counts int64 [tables, codes].

    scales, ratio : of the tables, as in TransformShape
    """

    def __init__(self, scales: int, ratio: float) -> None:
        self.scales, self.ratio = scales, ratio
        self.counts = np.zeros(((scales - 1) * FRACTIONS, 2 * RADIUS + 2), np.int64)

    def empty(self) -> "TableCounts":
        """Return counts of nothing for the same tables."""
        return TableCounts(self.scales, self.ratio)

    def merge(self, other: "TableCounts") -> None:
        """Add the counts of another."""
        self.counts += other.counts

    def add(self, network: PriorNetwork, coefficients: NDArray[np.int32], grids: Ints) -> None:
        """Count the coefficients [cells, M] of pictures."""
        walk = Walk(network, self.scales, grids)
        for step in walk.steps():
            values = coefficients[step.cells, step.start : step.stop]
            self.add_step(walk.coding(step), values)
            walk.set(step, values)

    def add_step(self, coding: Coding, values: NDArray[np.int32]) -> None:
        """Count the coefficients of a step."""
        differences = values - coding.centres
        differences = np.where(coding.flips, -differences, differences)
        codes = np.where(np.abs(differences) > RADIUS, 2 * RADIUS + 1, differences + RADIUS)  # as if all were codable
        coded = coding.tables >= 0
        flat = coding.tables[coded].astype(np.int64) * self.counts.shape[1] + codes[coded]
        self.counts += np.bincount(flat, minlength=self.counts.size).reshape(self.counts.shape)

    def tables(self) -> TablePrior:
        """Tables for the counts, which lean on logistic distributions where little was counted."""
        bits = _FEW_TABLE_BITS if self.scales <= _FEW_SCALES else _TABLE_BITS
        return TablePrior.from_counts(self._blended(bits), bits)

    def _blended(self, bits: int) -> Ints:
        blended = np.zeros_like(self.counts)
        blended[:, [RADIUS, 2 * RADIUS + 1]] = 1  # a table that was never used costs nothing but this
        for table in np.flatnonzero(self.counts.any(axis=1)).tolist():
            scale = FINEST_SCALE * self.ratio ** (table // FRACTIONS) * 0.55
            edges = (np.arange(-RADIUS, RADIUS + 2) - 0.5 - table % FRACTIONS / 4) / scale
            shares = np.append(np.diff(1 / (1 + np.exp(-np.clip(edges, -60, 60)))), 0.0)
            shares[-1] = max(1 - float(shares.sum()), 0)
            row = self.counts[table]
            mixed = (row + _MODEL_WEIGHT * shares) * _UNITS / (int(row.sum()) + _MODEL_WEIGHT)
            blended[table] = np.where(mixed >= _UNITS / (1 << bits) / 3, np.maximum(mixed, 1), 0).astype(np.int64)
            blended[table, [RADIUS, 2 * RADIUS + 1]] = np.maximum(blended[table, [RADIUS, 2 * RADIUS + 1]], 1)
        return blended

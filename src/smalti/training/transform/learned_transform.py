"""Analysis, synthesis and prior as one network, which learns in floats. `export` turns it into the archive's integers.

The forward pass is that of `smalti.decoders.transform`, without its rounding. Coefficients are in units of their steps.
"""

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smalti.decoders.transform.cells import FIRST_PHASES, PHASES, REACHES, CellLists
from smalti.training.transform.bases import Basis

__all__ = ["LearnedPrior", "LearnedTransform", "TransformShape"]

SIGNED_UNIT = 1 / 32
"""What the context sees of a signed component of 1 (after the shift to int8)."""

FINEST_SCALE = 0.11
"""The scale of table 1, in steps."""

LARGEST_SEEN = 127.0


@dataclass(frozen=True)
class TransformShape:
    """The sizes of a network.

    places : of the components, in coding order, as in TransformNetwork
    groups : sizes of the groups of components; the first is 1
    limits : the largest magnitudes of the signed components, 2**n - 1
    activities, width, first : E, H, D of the prior    mixing : width of the mixing network    analysis : of the encoder
    grid : rows and columns of cells if all pictures have the same few; else (0, 0)
    scales, ratio : the number of scales of tables, and the ratio of two    bits : of the largest weight of the networks
    fixed : whether the decoder's rows, columns and filter stay what files have without learning
    """

    channels: int
    cell: int
    dtype: str
    places: tuple[int, ...]
    groups: tuple[int, ...]
    limits: tuple[int, ...]
    activities: int
    width: int
    first: int
    mixing: int
    analysis: int
    grid: tuple[int, int]
    scales: int
    ratio: float
    bits: int
    fixed: bool

    @property
    def components(self) -> int:
        """M."""
        return len(self.places)

    @property
    def signed(self) -> int:
        """L."""
        return len(self.limits)

    @property
    def limit_shifts(self) -> list[int]:
        """How far the signed components are shifted down to int8."""
        return [max(0, limit.bit_length() - 7) for limit in self.limits]

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "TransformShape":
        """Return a stored shape."""
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in stored.items()}
        return cls(**values)


class LearnedPrior(nn.Module):
    """The prior in floats; its parts are those of PriorNetwork. deviations : of the coefficients at the start [M]"""

    def __init__(self, shape: TransformShape, deviations: Tensor) -> None:
        super().__init__()
        self.shape = shape
        components, signed = shape.components, shape.signed
        activities, width, first, groups = shape.activities, shape.width, shape.first, len(shape.groups)
        inputs = 9 * (activities + signed)
        self.activity = nn.Parameter(torch.randn(components, activities) * 0.3 / math.sqrt(components))
        self.activity_bias = nn.Parameter(torch.zeros(groups, activities))
        self.context = nn.Parameter(torch.randn(PHASES, inputs, width) / math.sqrt(inputs))
        self.context_bias = nn.Parameter(torch.zeros(PHASES, groups, width))
        self.places = nn.Parameter(torch.zeros(shape.grid[0] * shape.grid[1], width))
        self.hidden = nn.Parameter(torch.eye(width) + torch.randn(width, width) * 0.3 / math.sqrt(width))
        self.hidden_bias = nn.Parameter(torch.zeros(width))
        self.scale_weight = nn.Parameter(torch.zeros(width, components))
        self.scale_bias = nn.Parameter(deviations.log())
        self.mean_weight = nn.Parameter(torch.zeros(width, signed))
        self.mean_bias = nn.Parameter(torch.zeros(signed))
        self.linear = nn.Parameter(torch.zeros(PHASES, 9 * signed, signed))
        self.first_weight = nn.Parameter(torch.randn(FIRST_PHASES, 9, first) * 0.3)
        self.first_bias = nn.Parameter(torch.zeros(FIRST_PHASES, first))
        self.first_scale_weight = nn.Parameter(torch.zeros(FIRST_PHASES, first))
        self.first_scale_bias = nn.Parameter(deviations[0].log().repeat(FIRST_PHASES))
        self.first_mean_weight = nn.Parameter(torch.zeros(FIRST_PHASES, first))
        self.first_mean_bias = nn.Parameter(torch.zeros(FIRST_PHASES))
        self.first_linear = nn.Parameter(torch.zeros(FIRST_PHASES, 9))
        self.register_buffer("limits", torch.tensor(shape.limits, dtype=torch.float32))
        self.register_buffer("seen_unit", SIGNED_UNIT / 2.0 ** torch.tensor(shape.limit_shifts, dtype=torch.float32))
        self._seen: dict[str, list[Tensor]] | None = None
        self._masks: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def forward(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of scales of coefficients [n, M, rows, columns], each from those coded before it."""
        rows, columns = coefficients.shape[2:]
        first_phase, phase = self._phases(rows, columns)
        signed = self.shape.signed
        limits: Tensor = self.limits[:, None, None]  # type: ignore[index]
        seen = torch.maximum(torch.minimum(coefficients[:, :signed], limits), -limits)
        magnitudes = torch.log2(1 + coefficients.abs())
        places = self.places.T.reshape(1, -1, rows, columns) if tuple(self.shape.grid) == (rows, columns) else None
        mean, scale = self._first(seen[:, :1], first_phase)
        means, scales = [mean], [scale]
        known = torch.einsum("ma,nmhw->nahw", self.activity[:1], magnitudes[:, :1])
        start = 1
        for group, size in enumerate(self.shape.groups[1:], 1):
            stop = start + size
            own = torch.einsum("ma,nmhw->nahw", self.activity[start:stop], magnitudes[:, start:stop])
            made = [
                self._step(known, own, seen, start, stop, group, number, (phase < number).float(), places)
                for number in range(PHASES)
            ]
            black = (phase == 0).float()
            means.append(made[0][0] * black + made[1][0] * (1 - black))
            scales.append(made[0][1] * black + made[1][1] * (1 - black))
            known = known + own
            start = stop
        return torch.cat(means, 1), torch.cat(scales, 1)

    @torch.no_grad()
    def measured(self, coefficients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The activities, the two hidden layers and the first network's hidden layer, of whole coefficients."""
        seen: dict[str, list[Tensor]] = {"activity": [], "context": [], "hidden": [], "first": []}
        self._seen = seen
        try:
            self(coefficients)
        finally:
            self._seen = None
        return tuple(torch.cat(values) for values in seen.values())  # type: ignore[return-value]

    def blind(self) -> None:
        """Let the prior see no other coefficient: for measuring what it gains by that."""
        for parameter in (self.context, self.linear, self.first_weight, self.first_linear):
            parameter.data.zero_()
            parameter.requires_grad_(False)

    def _note(self, name: str, values: Tensor) -> Tensor:
        if self._seen is not None:
            self._seen[name].append(values.amax(1).flatten())
        return values

    def activations(self, known: Tensor, group: int) -> Tensor:
        """What the contexts of a group see of sums of magnitudes."""
        return self._note("activity", F.relu(known + self.activity_bias[group][None, :, None, None]))

    def _step(
        self, known: Tensor, own: Tensor, seen: Tensor, start: int, stop: int, group: int, phase: int,
        decoded: Tensor, places: Tensor | None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Means and scales of a group in one phase. decoded : 1 for the cells of earlier phases"""
        signed = self.shape.signed
        unit: Tensor = self.seen_unit[:, None, None]  # type: ignore[index]
        activities = self.activations(known + own * decoded, group)
        parts = [seen[:, :start], seen[:, start:stop] * decoded, torch.zeros_like(seen[:, stop:])]
        visible = torch.cat([part for part in parts if part.shape[1]], 1)[:, :signed]
        inputs = torch.cat([activities, visible * unit], 1)
        hidden = F.conv2d(inputs, _kernel(self.context[phase], inputs.shape[1]), padding=1)
        hidden = hidden + self.context_bias[phase, group][None, :, None, None]
        hidden = self._note("context", F.relu(hidden if places is None else hidden + places))
        hidden = self._note("hidden", F.relu(F.conv2d(hidden, self.hidden.T[:, :, None, None], self.hidden_bias)))
        scale = F.conv2d(hidden, self.scale_weight[:, start:stop].T[:, :, None, None], self.scale_bias[start:stop])
        mean = torch.zeros_like(scale)
        if start < signed:
            own_part = slice(start, min(stop, signed))
            moved = F.conv2d(hidden, self.mean_weight[:, own_part].T[:, :, None, None], self.mean_bias[own_part])
            moved = moved + F.conv2d(visible, _kernel(self.linear[phase][:, own_part], signed), padding=1)
            mean = torch.cat([moved, mean[:, moved.shape[1] :]], 1)
        return mean, scale

    def _first(self, seen: Tensor, phases: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales of the first component."""
        mean, scale = torch.zeros_like(seen), torch.zeros_like(seen)
        unit: Tensor = self.seen_unit[0]  # type: ignore[index]
        for phase, reach in enumerate(REACHES):
            here = phases == phase
            if not bool(here.any()):
                continue
            bias = self.first_bias[phase][None, :, None, None]
            known = seen * (phases < phase)
            hidden, linear = F.relu(bias), torch.zeros_like(seen)
            if reach:
                weight = _kernel(self.first_weight[phase], 1)
                hidden = F.relu(F.conv2d(known * unit, weight, padding=reach, dilation=reach) + bias)
                linear = F.conv2d(known, _kernel(self.first_linear[phase][:, None], 1), padding=reach, dilation=reach)
            self._note("first", hidden)
            found = torch.einsum("d,ndhw->nhw", self.first_scale_weight[phase], hidden)[:, None]
            moved = torch.einsum("d,ndhw->nhw", self.first_mean_weight[phase], hidden)[:, None]
            scale = torch.where(here, found + self.first_scale_bias[phase], scale)
            mean = torch.where(here, moved + self.first_mean_bias[phase] + linear, mean)
        return mean, scale

    def _phases(self, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """The phase of each cell, for the first component and for others."""
        if (rows, columns) not in self._masks:
            lists = CellLists(np.array([[rows, columns]], np.int64))
            found = []
            for phases in (lists.first_phase(), lists.phase()):
                mask = torch.empty(rows * columns, dtype=torch.int64)
                for number, cells in enumerate(phases):
                    mask[torch.from_numpy(cells)] = number
                found.append(mask.reshape(rows, columns).to(self.hidden.device))
            self._masks[rows, columns] = (found[0], found[1])
        return self._masks[rows, columns]


def _kernel(weight: Tensor, inputs: int) -> Tensor:
    """The kernel [outputs, inputs, 3, 3] of weights [9 * inputs, outputs], cell after cell."""
    return weight.reshape(3, 3, inputs, -1).permute(3, 2, 0, 1)


def logistic_bits(differences: Tensor, log_scales: Tensor) -> Tensor:
    """Bits of differences to the mean under a logistic distribution of unit bins. log_scales : of the deviations"""
    scales = log_scales.clamp(-3, 6).exp() * 0.55
    above, below = (differences + 0.5) / scales, (differences - 0.5) / scales
    sign = torch.where(differences > 0, -1.0, 1.0)
    share = torch.sigmoid(torch.maximum(sign * above, sign * below)) - torch.sigmoid(
        torch.minimum(sign * above, sign * below)
    )
    return -torch.log2(share.clamp_min(1e-6))


class LearnedTransform(nn.Module):
    """Analysis, synthesis and prior.

    shape : sizes of the network
    basis : the start
    level : of the water of the basis at the goal, which gives the first steps
    """

    def __init__(self, shape: TransformShape, basis: Basis, level: float) -> None:
        super().__init__()
        self.shape = shape
        start = {
            name: torch.tensor(getattr(basis, name), dtype=torch.float32) for name in ("colour", "rows", "columns")
        }
        lap = torch.tensor(basis.lap, dtype=torch.float32)
        self.register_buffer("mean", torch.tensor(basis.mean, dtype=torch.float32))
        self.register_buffer("places", torch.tensor(shape.places))
        self.analysis_lap, self.lap = nn.Parameter(lap.clone()), nn.Parameter(lap.T.clone())
        for name, value in start.items():
            self.register_parameter(f"analysis_{name}", nn.Parameter(value.clone()))
            self.register_parameter(name, nn.Parameter(value.clone()))
        if shape.fixed:
            for parameter in (self.lap, self.rows, self.columns):
                parameter.requires_grad_(False)
        self.log_step = nn.Parameter(torch.full((shape.components,), 0.5 * math.log(9.6 * level)))
        self.register_buffer("log_gain", torch.zeros(()))
        width, components = shape.mixing, shape.components
        self.mixing = nn.ParameterList()
        if width:
            self.mixing.extend(
                [
                    torch.randn(components, width) * 0.3 / math.sqrt(components), torch.zeros(width),
                    torch.randn(9 * width, width) / math.sqrt(9 * width), torch.zeros(width),
                    torch.zeros(width, components), torch.zeros(components),
                ]
            )  # fmt: skip
        self.encoder = _encoder(shape) if shape.analysis else None
        variances = torch.tensor(basis.variances, dtype=torch.float32)[self.places]  # type: ignore[index]
        self.prior = LearnedPrior(shape, (variances.sqrt() / self.steps.detach()).clamp_min(0.1))

    @property
    def steps(self) -> Tensor:
        """The steps, [M], of pixels in [0, 1]."""
        gain: Tensor = self.log_gain  # type: ignore[assignment]
        return (self.log_step + gain).exp()

    def set_gain(self, gain: float) -> None:
        """Multiply all steps."""
        stored: Tensor = self.log_gain  # type: ignore[assignment]
        stored.fill_(math.log(gain))

    def analyse(self, images: Tensor) -> Tensor:
        """Coefficients [n, M, rows, columns] in steps, not yet whole, of images [n, C, H, W] in whole cells."""
        mean: Tensor = self.mean  # type: ignore[assignment]
        centred = images - mean[:, None, None]
        values = lap_filter(centred, self.analysis_lap)
        values = torch.einsum("kc,nchw->nkhw", self.analysis_colour, values)
        count, channels, height, width = values.shape
        side = self.shape.cell
        values = values.reshape(count, channels, height // side, side, width // side, side)
        values = torch.einsum("kai,nkhiwj,kej->nkaehw", self.analysis_rows, values, self.analysis_columns)
        chosen = values.reshape(count, -1, height // side, width // side)[:, self.places]  # type: ignore[index]
        chosen = chosen / self.steps[:, None, None]
        return chosen if self.encoder is None else chosen + 2 * self.encoder(2 * centred)

    def synthesise(self, coefficients: Tensor) -> Tensor:
        """Images [n, C, H, W] of coefficients [n, M, rows, columns]."""
        mixed = coefficients + self.mixed(coefficients) if self.shape.mixing else coefficients
        count, _, rows, columns = mixed.shape
        side, channels = self.shape.cell, self.shape.channels
        values = mixed.new_zeros(count, channels * side * side, rows, columns)
        values[:, self.places] = mixed * self.steps[:, None, None]  # type: ignore[index]
        values = values.reshape(count, channels, side, side, rows, columns)
        planes = torch.einsum("kai,nkaehw,kej->nkhiwj", self.rows, values, self.columns)
        planes = planes.reshape(count, channels, rows * side, columns * side)
        planes = torch.einsum("kc,nkhw->nchw", self.colour, planes)
        mean: Tensor = self.mean  # type: ignore[assignment]
        return lap_filter(planes, self.lap) + mean[:, None, None]

    def mixed(self, coefficients: Tensor) -> Tensor:
        """What the mixing network adds to coefficients."""
        weight1, bias1, weight2, bias2, weight3, bias3 = self.mixing
        seen = coefficients.clamp(-LARGEST_SEEN, LARGEST_SEEN)
        hidden = F.relu(F.conv2d(seen, weight1.T[:, :, None, None], bias1))
        hidden = F.relu(F.conv2d(hidden, _kernel(weight2, self.shape.mixing), bias2, padding=1))
        return F.conv2d(hidden, weight3.T[:, :, None, None], bias3)

    def forward(self, images: Tensor, noise: Tensor | None, dead_zone: float) -> tuple[Tensor, Tensor]:
        """Decoded images, and the bits of each coefficient.

        noise : added to the coefficients whose bits are counted, in [-0.5, 0.5]; None rounds them
        dead_zone : by how much the interval of 0 and the lower ends of others are wider than that of plain rounding
        """
        values = self.analyse(images)
        whole = torch.sign(values) * torch.floor(values.abs() + 0.5 - dead_zone).clamp_min(0)
        rounded = values + (whole - values).detach()
        means, scales = self.prior(rounded)
        counted = rounded if noise is None else values + noise
        return self.synthesise(rounded), logistic_bits(counted - means, scales)


def lap_filter(planes: Tensor, lap: Tensor) -> Tensor:
    """Filter planes [n, C, H, W] across the borders of their cells."""
    side, half = len(lap), len(lap) // 2
    count, channels, height, width = planes.shape
    if height > side:
        inner = planes[:, :, half:-half].reshape(count, channels, -1, side, width)
        inner = torch.einsum("ij,ncbjw->ncbiw", lap, inner).reshape(count, channels, -1, width)
        planes = torch.cat([planes[:, :, :half], inner, planes[:, :, -half:]], 2)
    if width > side:
        inner = planes[..., half:-half].reshape(count, channels, height, -1, side)
        inner = torch.einsum("ij,nchbj->nchbi", lap, inner).reshape(count, channels, height, -1)
        planes = torch.cat([planes[..., :half], inner, planes[..., -half:]], 3)
    return planes


def _encoder(shape: TransformShape) -> nn.Sequential:
    """A network from pixels to corrections of coefficients, which begin as 0. It is not stored in archives."""
    width, halvings = shape.analysis, int(math.log2(shape.cell))
    widths = [shape.channels, *(min(width * 2 ** max(0, number - 1), 2 * width) for number in range(halvings))]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 5, 2, 2), nn.GELU()]
    last = nn.Conv2d(widths[-1], shape.components, 3, 1, 1)
    nn.init.zeros_(last.weight)
    assert last.bias is not None
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)

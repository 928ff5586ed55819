"""A reader of transforms, written from docs/format.md: the network, its prior, tokens of cells and their pixels."""

from dataclasses import dataclass
from math import cos, floor, log2, pi, sqrt
from typing import Any

import numpy as np

from conformance.readers.basics import Bytes, Coder, are_integers, demand, read_tables
from conformance.readers.packed import Packed, exact

LARGEST, EXACT_DOUBLE = 1 << 26, 1 << 53
MAGNITUDE = np.array([min(floor(16 * log2(1 + k) + 0.5), 127) for k in range(256)])
REACHES = (0, 4, 4, 2, 2, 1, 1)
NETWORK_KEYS = {
    "cell": (8, 32),
    "channels": (1, 4),
    "components": (1, 4096),
    "fraction": (0, 8),
    "mixing": (0, 256),
    "shift1": (0, 24),
    "shift2": (0, 24),
    "shift3": (0, 24),
}
PRIOR_KEYS = {
    "activities": (1, 256),
    "signed": (1, 256),
    "width": (1, 256),
    "first": (1, 256),
    "rows": (0, 4096),
    "columns": (0, 4096),
    "radius": (1, 4096),
    "scales": (2, 256),
    "table_bits": (1, 24),
}


def cosines(n: int) -> list[list[float]]:
    """D_n."""
    return [
        [sqrt(2 / n) * cos(pi * (2 * x + 1) * u / (2 * n)) / (sqrt(2) if u == 0 else 1) for x in range(n)]
        for u in range(n)
    ]


def fixed_lap(b: int) -> np.ndarray:
    """Q, in units of 1/1,024."""
    h, q = b // 2, np.zeros((b, b), np.int64)
    small = cosines(h)
    f = [[sqrt(2 / h) * cos(pi * (2 * m + 1) * (2 * i + 1) / (4 * h)) for i in range(h)] for m in range(h)]
    for i in range(h):
        for j in range(h):
            g, d = sum(f[m][i] * small[m][j] for m in range(h)), float(i == j)
            q[i, j] = q[b - 1 - i, b - 1 - j] = floor(1024 * (d + g) / 2 + 0.5)
            q[i, b - 1 - j] = q[b - 1 - i, j] = floor(1024 * (d - g) / 2 + 0.5)
    return q


def to_tokens(k: np.ndarray) -> np.ndarray:
    """Tokens of coefficients."""
    return np.where(k >= 0, 2 * k, -2 * k - 1)


def to_coefficients(tokens: np.ndarray) -> np.ndarray:
    """Coefficients of tokens."""
    return np.where(tokens % 2, -(tokens + 1) // 2, tokens // 2)


def rounded(x: np.ndarray, s: int) -> np.ndarray:
    """Divide by 2^s, round to the nearest, clip."""
    return np.clip(x + (1 << s - 1) >> s, -LARGEST, LARGEST)


def neighbours(values: np.ndarray, reach: int) -> np.ndarray:
    """[rows, columns, 9, ...] of values [rows, columns, ...]; 0 outside."""
    rows, columns = values.shape[:2]
    framed = np.pad(values, ((reach, reach), (reach, reach), (0, 0)))
    steps = [(n // 3 * reach, n % 3 * reach) for n in range(9)]
    return np.stack([framed[y : y + rows, x : x + columns] for y, x in steps], axis=2)


@dataclass
class Network:
    """The transform network."""

    fields: dict[str, int]
    mean: np.ndarray
    colour: np.ndarray
    rows: list[np.ndarray]
    columns: list[np.ndarray]
    lap: np.ndarray
    places: np.ndarray
    steps: np.ndarray
    mixing: list[np.ndarray]
    top: int

    def pixels(self, k: np.ndarray) -> np.ndarray:
        """Pixels [H, W, C] of a picture of coefficients [rows, columns, M]."""
        b, channels = self.fields["cell"], self.fields["channels"]
        rows, columns = k.shape[:2]
        moved = self.mixed(k) if self.mixing else 0
        value = np.clip((16 * k + moved) * self.steps + 8 >> 4, -LARGEST, LARGEST)
        planes = np.zeros((channels, rows, b, columns, b), np.int64)
        for m, p in enumerate(self.places.tolist()):
            c, u, v = p // (b * b), p // b % b, p % b
            basis = self.rows[c][u][:, None] * self.columns[c][v]
            planes[c] += value[:, None, :, None, m] * basis[None, :, None, :]
        old = rounded(planes, 20).reshape(channels, rows * b, columns * b)
        if channels > 1:
            old = rounded(sum(self.colour[c][:, None, None] * old[c] for c in range(channels)), 10)
        for y in range(b // 2, (rows - 1) * b, b):
            old[:, y : y + b] = rounded(self.lap @ old[:, y : y + b], 10)
        for x in range(b // 2, (columns - 1) * b, b):
            old[:, :, x : x + b] = rounded(old[:, :, x : x + b] @ self.lap.T, 10)
        fraction = self.fields["fraction"]
        new = np.clip(old + self.mean[:, None, None] + (1 << fraction >> 1) >> fraction, 0, self.top)
        pixels = new.transpose(1, 2, 0)
        if channels in (2, 4):
            pixels[pixels[:, :, -1] == 0] = 0
        return pixels

    def mixed(self, k: np.ndarray) -> np.ndarray:
        """What mixing moves."""
        weight1, bias1, weight2, bias2, weight3, bias3 = self.mixing
        a = np.clip(np.clip(k, -127, 127) @ weight1 + bias1 >> self.fields["shift1"], 0, 255)
        around = neighbours(a, 1).reshape(*a.shape[:2], -1)
        h = np.clip(around @ weight2 + bias2 >> self.fields["shift2"], 0, 255)
        return np.clip(h @ weight3 + bias3 >> self.fields["shift3"], -127, 127)


def read_network(data: bytes, header: dict[str, Any], cell: int) -> Network:
    """Read the transform network."""
    packed = Packed(data, NETWORK_KEYS)
    found = packed.found
    b, channels, components, width = (found[key] for key in ("cell", "channels", "components", "mixing"))
    demand(b in (8, 16, 32) and components <= channels * b * b, "cells and components")
    demand([b, channels, [1, components]] == [cell, header["image_shape"][2], header["token_grid"]], "cells")
    most = {"low": -8191, "high": 8191}
    fixed = np.array([[floor(1024 * x + 0.5) for x in row] for row in cosines(b)])
    mean, colour = packed.take(channels, low=0), packed.take(channels, channels, **most)
    rows = [fixed + packed.take(b, b, **most) for _ in range(channels)]
    columns = [fixed + packed.take(b, b, **most) for _ in range(channels)]
    lap = fixed_lap(b) + packed.take(b, b, **most)
    places = packed.take(components, low=0, high=channels * b * b - 1)
    demand(len(set(places.tolist())) == components, "two components have one place")
    steps = packed.take(components, low=1, high=(1 << 24) - 1)
    mixing = []
    if width:
        for inputs, outputs, largest in ((components, width, 127), (9 * width, width, 255), (width, components, 255)):
            mixing += [packed.take(inputs, outputs), packed.take(outputs)]
            exact(mixing[-2], mixing[-1], largest)
    packed.end()
    gains = [max(int(np.abs(matrix).sum(axis=0).max()) for matrix in each) for each in (rows, columns)]
    demand(gains[0] * gains[1] * LARGEST <= EXACT_DOUBLE, "sums are not exact")
    top = 65535 if header["dtype"] != "uint8" else 255
    return Network(found, mean, colour, rows, columns, lap, places, steps, mixing, top)


class Prior:
    """The transform prior."""

    def __init__(self, data: bytes, components: int) -> None:
        source = Bytes(data)
        packed = Packed(source.take(source.fields("I")[0]), PRIOR_KEYS, ("groups", "shifts"))
        self.found = found = packed.found
        groups, shifts = found["groups"], found["shifts"]
        demand(isinstance(groups, list) and 1 <= len(groups) <= 256 and are_integers(groups, len(groups)), "groups")
        demand(min(groups) >= 1 and groups[0] == 1 and sum(groups) == components, "groups")
        demand(are_integers(shifts, 10) and min(shifts) >= 0 and max(shifts) <= 24, "shifts")
        active, signed, width, first_width = (found[key] for key in ("activities", "signed", "width", "first"))
        places = found["rows"] * found["columns"]
        demand(
            signed <= components and places <= 4096 and bool(found["rows"]) == bool(found["columns"]),
            "L, rows, columns",
        )
        self.limits = packed.take(signed, low=1, high=32767)
        self.activity, self.activity_bias = packed.take(components, active), packed.take(len(groups), active)
        self.context = [packed.take(9 * (active + signed), width) for _ in range(2)]
        self.context_bias = [packed.take(len(groups), width) for _ in range(2)]
        self.places = packed.take(places, width)
        self.hidden, self.hidden_bias = packed.take(width, width), packed.take(width)
        self.scale_weight, self.scale_bias = packed.take(width, components), packed.take(components)
        self.mean_weight, self.mean_bias = packed.take(width, signed), packed.take(signed)
        self.linear = [packed.take(9 * signed, signed) for _ in range(2)]
        of_phases = (7, first_width)
        first = [np.stack([packed.take(9, first_width) for _ in range(7)])]
        first += [packed.take(*shape) for shape in (of_phases, of_phases, (7,), of_phases, (7,), (7, 9))]
        packed.end()
        self.first, self.groups, self.shifts = first, groups, shifts
        self.halvings = np.array([max(int(limit).bit_length() - 7, 0) for limit in self.limits])
        self.check(active)
        rows, self.radius, self.bits = 3 * (found["scales"] - 1), found["radius"], found["table_bits"]
        demand(rows * (2 * self.radius + 2) <= 1 << 22, "number of frequencies")
        self.tables = read_tables(source, rows, 2 * self.radius + 2, self.bits)
        demand(not source.rest(), "bytes after the prior")
        demand(all(table[self.radius] and table[-1] for table in self.tables), "a centre or far differences")

    def check(self, activities: int) -> None:
        """Check the bounds of sums."""
        seen = -(-self.limits >> self.halvings)
        exact(self.activity, np.abs(self.activity_bias).max(axis=0), 127)
        own = np.abs(self.places).max(axis=0, initial=0)
        for q in range(2):
            inputs = np.tile(np.concatenate([np.full(activities, 255), seen]), 9)
            exact(self.context[q], np.abs(self.context_bias[q]).max(axis=0) + own, inputs)
            exact(self.linear[q], 0, np.tile(self.limits, 9))
        exact(self.hidden, self.hidden_bias, 255)
        exact(self.scale_weight, self.scale_bias, 255)
        exact(self.mean_weight, self.mean_bias, 255)
        weight, bias, scale_weight, scale_bias, mean_weight, mean_bias, linear = self.first
        for q in range(7):
            exact(weight[q], bias[q], seen[0])
            exact(scale_weight[q][:, None], scale_bias[q], 255)
            exact(mean_weight[q][:, None], mean_bias[q], 255)
            exact(linear[q][:, None], 0, self.limits[0])

    def decode(self, coder: Coder, grids: list[tuple[int, int]]) -> list[np.ndarray]:
        """The coefficients [rows, columns, M] of pictures."""
        pictures = [_Picture(self, rows, columns) for rows, columns in grids]
        start = 0
        for group, size in enumerate(self.groups):
            for phase in range(2 if group else 7):
                masks = [picture.other_cells(phase) if group else picture.first_cells(phase) for picture in pictures]
                if not any(mask.any() for mask in masks):
                    continue
                found = [
                    picture.distributions(group, phase, range(start, start + size), mask)
                    for picture, mask in zip(pictures, masks, strict=True)
                ]
                scale, mean = (np.concatenate([each[part].ravel() for each in found]) for part in range(2))
                values = self.step(coder, scale, mean)
                at = 0
                for picture, mask in zip(pictures, masks, strict=True):
                    count = int(mask.sum()) * size
                    picture.set(range(start, start + size), mask, values[at : at + count].reshape(-1, size))
                    at += count
            start += size
        for picture in pictures:
            demand((picture.k >= -32768).all() and (picture.k <= 32767).all(), "a coefficient beyond int16")
        return [picture.k for picture in pictures]

    def step(self, coder: Coder, scale: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Decode the coefficients of a step."""
        quarters = mean + 2 >> 2
        centre = quarters + 2 >> 2
        part = quarters - 4 * centre
        z = np.clip(scale, 0, self.found["scales"] - 1)
        table = np.where(z > 0, 3 * (z - 1) + np.abs(part), -1)
        d = np.zeros(len(table), np.int64)
        for number in sorted(set(table.tolist()) - {-1}):
            (at,) = np.nonzero(table == number)
            d[at] = np.array(coder.group(self.tables[number], self.bits, len(at))) - self.radius
        (far,) = np.nonzero(d == self.radius + 1)
        if len(far):
            signs = np.array(coder.group([1, 1], 1, len(far)))
            digits = np.array(coder.group([1] * 16, 4, len(far))) + 1
            size = 1 << digits - 1
            for plane in range(15):
                (at,) = np.nonzero(digits > plane + 1)
                if len(at):
                    size[at] |= np.array(coder.group([1, 1], 1, len(at))) << plane
            d[far] = np.where(signs == 1, -size, size)
        return centre + np.where(part < 0, -d, d)


class _Picture:
    """What is known of a picture."""

    def __init__(self, prior: Prior, rows: int, columns: int) -> None:
        self.prior = prior
        self.k = np.zeros((rows, columns, len(prior.activity)), np.int64)
        self.known = np.zeros(self.k.shape, bool)
        self.y, self.x = np.indices((rows, columns))

    def first_cells(self, phase: int) -> np.ndarray:
        """The cells of a phase of component 0."""
        if phase == 0:
            return (self.y % 8 == 0) & (self.x % 8 == 0)
        s = 16 >> (phase + 1) // 2
        on_rows, on_columns = self.y % s == 0, self.x % s == 0
        which = ~on_rows & ~on_columns if phase % 2 else on_rows ^ on_columns
        return (self.y % (s // 2) == 0) & (self.x % (s // 2) == 0) & which

    def other_cells(self, phase: int) -> np.ndarray:
        """The cells of a phase of the other components."""
        return (self.y + self.x) % 2 == phase

    def set(self, components: range, mask: np.ndarray, values: np.ndarray) -> None:
        """Tell the coefficients of a step."""
        self.k[mask, components.start : components.stop] = values
        self.known[mask, components.start : components.stop] = True

    def distributions(
        self, group: int, phase: int, components: range, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scales and means [cells, components]."""
        prior, shifts = self.prior, self.prior.shifts
        signed = np.clip(self.k[..., : len(prior.limits)], -prior.limits, prior.limits)
        shifted = signed >> prior.halvings
        if not group:
            weight, bias, scale_weight, scale_bias, mean_weight, mean_bias, linear = (
                each[phase] for each in prior.first
            )
            reach = REACHES[phase]
            near = neighbours(shifted[..., :1], reach)[mask][..., 0] if reach else np.zeros((int(mask.sum()), 9), int)
            full = neighbours(signed[..., :1], reach)[mask][..., 0] if reach else near
            hidden = np.clip(near @ weight + bias >> shifts[6], 0, 255)
            mean = (hidden @ mean_weight + mean_bias >> shifts[8]) + (full @ linear >> shifts[9])
            return hidden @ scale_weight + scale_bias >> shifts[7], mean
        magnitude = np.where(self.known, MAGNITUDE[np.minimum(np.abs(self.k), 255)], 0)
        active = np.clip(magnitude @ prior.activity + prior.activity_bias[group] >> shifts[0], 0, 255)
        features = neighbours(np.concatenate([active, shifted], axis=2), 1)[mask]
        own = np.zeros((int(mask.sum()), prior.found["width"]), np.int64)
        if mask.shape == (prior.found["rows"], prior.found["columns"]):
            own = prior.places[np.flatnonzero(mask)]
        one = (
            features.reshape(len(own), len(prior.context[phase])) @ prior.context[phase]
            + prior.context_bias[phase][group]
            + own
        )
        one = np.clip(one >> shifts[1], 0, 255)
        two = np.clip(one @ prior.hidden + prior.hidden_bias >> shifts[2], 0, 255)
        scale = two @ prior.scale_weight + prior.scale_bias >> shifts[3]
        mean = np.zeros(scale.shape, np.int64)
        full = neighbours(signed, 1)[mask].reshape(len(own), len(prior.linear[phase]))
        means = (two @ prior.mean_weight + prior.mean_bias >> shifts[4]) + (full @ prior.linear[phase] >> shifts[5])
        mean[:, : means.shape[1]] = means
        return scale[:, components.start : components.stop], mean[:, components.start : components.stop]


class Transform:
    """The decoder of one archive: tokens of its units, and their pixels."""

    def __init__(self, model: bytes, prior: bytes, header: dict[str, Any], cell: int) -> None:
        self.network = read_network(model, header, cell)
        self.prior = Prior(prior, header["token_grid"][1])

    def decode(self, coder: Coder, grids: list[tuple[int, int]]) -> list[np.ndarray]:
        """The tokens [rows, columns, M] of pictures."""
        return [to_tokens(k) for k in self.prior.decode(coder, grids)]

    def pixels(self, tokens: np.ndarray) -> np.ndarray:
        """Pixels [H, W, C] of tokens."""
        return self.network.pixels(to_coefficients(tokens))

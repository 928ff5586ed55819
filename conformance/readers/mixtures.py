"""A reader of pixels whose prior is one of mixtures, written from docs/format.md: *The mixture prior*."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.readers.basics import Bytes, Coder, canonical_json, demand
from conformance.readers.packed import Packed, exact
from conformance.readers.pixels import PRIOR_KEYS, B, Pixels

KEYS = PRIOR_KEYS | {"components": (1, 4), "places": (0, 16)}
UNITS, WHOLE = 1 << 24, 1 << 38


def power(t: int) -> int:
    """I(t) of the page."""
    return B[t % 16] << 14 >> t // 16


RISING = [(1 << 54) // ((1 << 30) + power(t)) for t in range(257)]
CURVE = np.array([UNITS - RISING[256 - i] if i < 256 else RISING[i - 256] for i in range(513)])
INVERSE = [power(t) for t in range(384)]


def seen(differences: Any) -> np.ndarray:
    """What is seen of differences."""
    found = np.asarray(differences, np.int64)
    more = np.abs(found) + 1
    octave = np.array([int(each).bit_length() - 1 for each in more.ravel()], np.int64).reshape(more.shape)
    return np.sign(found) * np.minimum(16 * octave + (16 * (more - (1 << octave)) >> octave), 255)


@dataclass
class View:
    """What is known of a pixel, channels in coding order. sums : of the context and the edges, [H]"""

    left: np.ndarray
    above: np.ndarray
    base: np.ndarray
    differences: list[int]
    sums: np.ndarray
    own: list[int]


@dataclass(frozen=True)
class Mixture:
    """The curves of a sample with `count` levels. shares : of each curve, and of all levels alike"""

    count: int
    forecast: int
    shares: list[int]
    anchors: list[int]
    inverses: list[int]
    moves: list[int]

    def up_to(self, levels: np.ndarray) -> np.ndarray:
        """What levels have up to each of these, of 2^38."""
        found = self.shares[-1] * (UNITS // self.count) * (levels + 1)
        for share, anchor, inverse, move in zip(self.shares, self.anchors, self.inverses, self.moves, strict=False):
            z = ((2 * (levels - anchor) + 1) * inverse >> 9) - 4096 * move
            u = np.clip(z, -(1 << 20), (1 << 20) - 1) + (1 << 20)
            found += share * (CURVE[u >> 12] + ((CURVE[(u >> 12) + 1] - CURVE[u >> 12]) * (u % 4096) >> 12))
        return np.where(levels < 0, 0, np.where(levels >= self.count - 1, WHOLE, found))

    def first(self) -> list[int]:
        """Units of the first symbol, or the only one."""
        size = 1 if self.count <= 256 else 256
        symbols = -(-self.count // size)
        sums = self.up_to(size * np.arange(symbols + 1) - 1)
        return (1 + np.diff(sums * (UNITS - symbols) >> 38)).tolist()

    def second(self, s: int) -> list[int]:
        """Units of the second symbol after the first one."""
        sums = self.up_to(256 * s + np.arange(-1, 256))
        parts = sums - sums[0] + 64 * np.arange(257)
        return (1 + np.diff(parts * (UNITS - 256) // parts[-1])).tolist()


class MixedPixels(Pixels):
    """The decoder of an archive with a prior of mixtures."""

    most_levels = 65536

    def read_prior(self, data: bytes, channels: int) -> None:
        """Read the arrays of the network, and check its sums."""
        packed = Packed(data, KEYS, ("shifts",))
        found = packed.found
        self.radius, width, depth, components = (found[key] for key in ("radius", "width", "depth", "components"))
        self.places, self.components = found["places"], components
        self.shifts = self.shifts_of(found["shifts"], channels, depth)
        places = 2 * self.radius * (self.radius + 1)
        self.near = [(0, -1), (-1, 0), (-1, -1), (-1, 1)] + [(0, -2), (-2, 0)] * (self.radius > 1)
        self.context = packed.take((places + 1 + len(self.near)) * channels, width)
        self.edges = [packed.take(found[name], width) for name in ("tops", "lefts", "rights")]
        room = sum(np.abs(table).max(axis=0) for table in self.edges)
        self.networks, self.weights = [], []
        for number in range(channels):
            self.weights.append(packed.take(places * channels + number))
            own, bias = packed.take(3 * number + 1, width), packed.take(width)
            middle = [packed.take(width, width) for _ in range(depth)]
            middle_bias = packed.take(depth, width)
            outputs, outputs_bias = packed.take(width, 3 * components + 1), packed.take(3 * components + 1)
            exact(np.concatenate([self.context, own]), np.abs(bias) + room, 255)
            for weight, added in zip(middle, middle_bias, strict=True):
                exact(weight, added, 255)
            exact(outputs, outputs_bias, 255)
            self.networks.append((own, bias, middle, middle_bias, outputs, outputs_bias))
        packed.end()

    def decode(self, coder: Coder, grids: list[tuple[int, int]]) -> list[np.ndarray]:
        """The tokens [rows, columns, C] of pictures."""
        self.missed = [np.zeros((rows, columns, len(self.order)), np.int64) for rows, columns in grids]
        return super().decode(coder, grids)

    def piece(
        self,
        coder: Coder,
        places: list[tuple[int, int, int]],
        grids: list[tuple[int, int]],
        tokens: list[np.ndarray],
        framed: list[np.ndarray],
    ) -> None:
        """Decode the samples of a piece: of each channel the first symbols, then the second ones."""
        del framed
        views = [self.view(tokens[picture], self.missed[picture], y, x, grids[picture]) for picture, y, x in places]
        shown = list(range(len(places)))
        for number, channel in enumerate(self.order):
            count = len(self.levels[channel])
            mixtures = [self.mixture(number, views[at], count) for at in shown]
            levels = [coder.each(mixture.first()) if count > 1 else 0 for mixture in mixtures]
            if count > 256:
                rest = [coder.each(mixture.second(s)) for mixture, s in zip(mixtures, levels, strict=True)]
                levels = [256 * s + r for s, r in zip(levels, rest, strict=True)]
                demand(all(level < count for level in levels), "a level beyond the last one")
            for at, mixture, level in zip(shown, mixtures, levels, strict=True):
                picture, y, x = places[at]
                tokens[picture][y, x, channel] = level
                away, missed = level - int(views[at].base[number]), level - mixture.forecast
                self.missed[picture][y, x, number] = missed
                views[at].differences.append(away)
                views[at].own += [int(seen(away)), int(seen(missed)), abs(int(seen(missed)))]
            if self.hides and number == 0:
                alpha = self.levels[channel]
                shown = [at for at, level in zip(shown, levels, strict=True) if alpha[level] > 0]

    def view(self, picture: np.ndarray, missed: np.ndarray, y: int, x: int, grid: tuple[int, int]) -> View:
        """What is known of a pixel before its channels are."""
        r, nothing = self.radius, np.zeros(len(self.order), np.int64)

        def at(v: int, w: int) -> np.ndarray | None:
            return picture[v, w, self.order] if v >= 0 and 0 <= w < grid[1] else None

        left, above = at(y, x - 1), at(y - 1, x)
        left = above if left is None else left
        above = left if above is None else above
        left, above = (nothing if each is None else each for each in (left, above))
        base = (left + above) // 2
        around = [at(y - up, x + beside) for up in range(r, 0, -1) for beside in range(-r, r + 1)]
        around += [at(y, x - back) for back in range(r, 0, -1)]
        differences = np.concatenate([nothing if each is None else each - base for each in around])
        tops = [max(len(self.levels[channel]) - 1, 1) for channel in self.order]
        near = [
            missed[y + down, x + right] if y + down >= 0 and 0 <= x + right < grid[1] else nothing
            for down, right in self.near
        ]
        inputs = np.concatenate([seen(differences), 255 * base // tops, seen(np.concatenate(near))])
        distances = (y, x, grid[1] - 1 - x)
        edges = [table[min(far, len(table) - 1)] for table, far in zip(self.edges, distances, strict=True)]
        return View(left, above, base, differences.tolist(), inputs @ self.context + sum(edges), [])

    def mixture(self, number: int, view: View, count: int) -> Mixture:
        """The curves of the channel with this number in coding order."""
        own, bias, middle, middle_bias, outputs, outputs_bias = self.networks[number]
        shifts, base, size = self.shifts[number], int(view.base[number]), self.components
        total = int(np.array(view.differences) @ self.weights[number])
        forecast = min(max(base + (total + (1 << self.places >> 1) >> self.places), 0), count - 1)
        known = np.array([int(seen(forecast - base)), *view.own])
        hidden = np.clip(bias + view.sums + known @ own >> shifts[0], 0, 255)
        for weight, added, shift in zip(middle, middle_bias, shifts[1:-1], strict=True):
            hidden = np.minimum(hidden + np.maximum(added + hidden @ weight >> shift, 0), 255)
        output = (outputs_bias + hidden @ outputs >> shifts[-1]).tolist()
        scores, moves, widths = output[: size + 1], output[size + 1 : 2 * size + 1], output[2 * size + 1 :]
        best = max(scores)
        far = [min(best - score, 255) for score in scores]
        w = [B[e % 16] >> e // 16 for e in far]
        shares = [each * (1 << 14) // sum(w) for each in w]
        shares[scores.index(best)] += (1 << 14) - sum(shares)
        return Mixture(
            count,
            forecast,
            shares,
            [forecast, forecast, int(view.left[number]), int(view.above[number])],
            [INVERSE[min(max(width, 0), 383)] for width in widths],
            [min(max(move, -4096), 4096) for move in moves],
        )


def pixels_of(model: bytes, prior: bytes, header: dict[str, Any], cell: int) -> Pixels:
    """The decoder of an archive of pixels, with the prior that its description tells."""
    source = Bytes(prior)
    text = source.take(source.fields("I")[0])
    demand(len(text) <= 65536, "length of a description")
    return (MixedPixels if "components" in canonical_json(text) else Pixels)(model, prior, header, cell)

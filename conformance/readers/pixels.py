"""A reader of pixels, written from docs/format.md: the pixel model, the pixel prior, and the order of their tokens."""

from typing import Any

import numpy as np

from conformance.readers.basics import Coder, are_integers, demand
from conformance.readers.packed import Packed, exact

B = (65536, 62757, 60097, 57549, 55109, 52773, 50535, 48393, 46341, 44376, 42495, 40693, 38968, 37316, 35734, 34219)
PIECE = 2048
MODEL_KEYS = {"channels": (1, 4), "hides": (0, 1)}
PRIOR_KEYS = {
    "depth": (0, 4),
    "lefts": (1, 4096),
    "radius": (1, 8),
    "rights": (1, 4096),
    "tops": (1, 4096),
    "width": (1, 256),
}


class Pixels:
    """The decoder of one archive: tokens of its units, and their pixels."""

    most_levels = 4096

    def __init__(self, model: bytes, prior: bytes, header: dict[str, Any], cell: int) -> None:
        top = 65535 if header["dtype"] != "uint8" else 255
        packed = Packed(model, MODEL_KEYS, ("levels",))
        channels, counts = packed.found["channels"], packed.found["levels"]
        demand(are_integers(counts, channels) and min(counts) >= 1 and max(counts) <= self.most_levels, "levels")
        shape = [channels, channels, 1]
        demand(shape == [header["image_shape"][2], header["token_grid"][1], cell], "channels and cells")
        self.hides = packed.found["hides"]
        demand(channels in (2, 4) or not self.hides, "colours are hidden without alpha")
        steps = [packed.take(count, low=0, high=top) for count in counts]
        packed.end()
        demand(all((own[1:] > 0).all() and own.sum() <= top for own in steps), "levels do not ascend to the top")
        self.levels = [np.cumsum(own) for own in steps]
        self.order = [channels - 1, *range(channels - 1)] if channels in (2, 4) else list(range(channels))
        self.sight = [(own - own[0]) * 255 // max(1, int(own[-1] - own[0])) for own in self.levels]
        self.read_prior(prior, channels)

    def read_prior(self, data: bytes, channels: int) -> None:
        """Read the arrays of the network, and check its sums."""
        packed = Packed(data, PRIOR_KEYS, ("shifts",))
        found = packed.found
        self.radius, width, depth = found["radius"], found["width"], found["depth"]
        self.shifts = self.shifts_of(found["shifts"], channels, depth)
        self.context = packed.take(2 * self.radius * (self.radius + 1) * channels, width)
        self.edges = [packed.take(found[name], width) for name in ("tops", "lefts", "rights")]
        room = sum(np.abs(table).max(axis=0) for table in self.edges)
        self.networks = []
        for number, channel in enumerate(self.order):
            own, bias = packed.take(4 * number, width), packed.take(width)
            middle = [packed.take(width, width) for _ in range(depth)]
            middle_bias = packed.take(depth, width)
            count = len(self.levels[channel]) + 5 * (3 if number == 0 else 4)
            scores, scores_bias = packed.take(width, count), packed.take(count)
            exact(np.concatenate([self.context, own]), np.abs(bias) + room, 255)
            for weight, added in zip(middle, middle_bias, strict=True):
                exact(weight, added, 255)
            exact(scores, scores_bias, 255)
            largest = 255 * np.abs(scores).sum(axis=0) + np.abs(scores_bias)
            demand(largest.max() <= 1 << 21 + self.shifts[number][-1], "sums of scores are not exact")
            self.networks.append((own, bias, middle, middle_bias, scores, scores_bias))
        packed.end()

    def shifts_of(self, shifts: Any, channels: int, depth: int) -> list[list[int]]:
        """The shifts of each channel."""
        demand(are_integers(shifts, channels * (depth + 2)), "shifts")
        demand(min(shifts) >= 0 and max(shifts) <= 24, "shifts")
        found: list[list[int]] = np.array(shifts).reshape(channels, depth + 2).tolist()
        return found

    def decode(self, coder: Coder, grids: list[tuple[int, int]]) -> list[np.ndarray]:
        """The tokens [rows, columns, C] of pictures."""
        r, channels = self.radius, len(self.order)
        tokens = [np.zeros((rows, columns, channels), np.int64) for rows, columns in grids]
        framed = [np.zeros((rows + r, columns + 2 * r, channels), np.int64) for rows, columns in grids]
        waves: dict[int, list[tuple[int, int, int]]] = {}
        for picture, (rows, columns) in enumerate(grids):
            for y in range(rows):
                for x in range(columns):
                    waves.setdefault(x + (r + 1) * y, []).append((picture, y, x))
        for number in sorted(waves):
            for start in range(0, len(waves[number]), PIECE):
                self.piece(coder, waves[number][start : start + PIECE], grids, tokens, framed)
        return tokens

    def piece(
        self,
        coder: Coder,
        places: list[tuple[int, int, int]],
        grids: list[tuple[int, int]],
        tokens: list[np.ndarray],
        framed: list[np.ndarray],
    ) -> None:
        """Decode the samples of a piece. framed : what is seen, channels in coding order, with room around"""
        r = self.radius
        sums = []
        for picture, y, x in places:
            near = framed[picture][y : y + r + 1, x : x + 2 * r + 1]
            around = np.concatenate([near[:r].reshape(-1), near[r, :r].reshape(-1)])
            distances = (y, x, grids[picture][1] - 1 - x)
            edges = [table[min(far, len(table) - 1)] for table, far in zip(self.edges, distances, strict=True)]
            sums.append(around @ self.context + sum(edges))
        shown = [True] * len(places)
        for number, channel in enumerate(self.order):
            for at, (picture, y, x) in enumerate(places):
                if not shown[at]:
                    continue
                near = tokens[picture][max(y - 1, 0) : y + 1, max(x - 1, 0) : x + 1]
                known = self.neighbours(near, y, x)
                level = self.sample(coder, number, sums[at], known)
                tokens[picture][y, x, channel] = level
                framed[picture][y + r, x + r, number] = self.sight[channel][level]
                shown[at] = number > 0 or not self.hides or self.levels[channel][level] > 0

    def neighbours(self, near: np.ndarray, y: int, x: int) -> list[list[int]]:
        """Of each channel in coding order: its level, and those to the left, above, and above to the left."""
        square = np.zeros((2, 2, len(self.order)), int)
        square[2 - near.shape[0] :, 2 - near.shape[1] :] = near
        assert near.shape[:2] == (min(y, 1) + 1, min(x, 1) + 1)
        return [[int(square[at][channel]) for at in ((1, 1), (1, 0), (0, 1), (0, 0))] for channel in self.order]

    def sample(self, coder: Coder, number: int, sums: np.ndarray, known: list[list[int]]) -> int:
        """Decode the level of a sample of the channel with this number in coding order."""
        own, bias, middle, middle_bias, scores, scores_bias = self.networks[number]
        count = len(self.levels[self.order[number]])
        if count == 1:
            return 0
        shifts = self.shifts[number]
        guesses = [sorted([left, above, left + above - corner])[1] for _, left, above, corner in known]
        candidates = [known[number][1], known[number][2], guesses[number]]
        if number:
            moved = guesses[number] + known[number - 1][0] - guesses[number - 1]
            candidates.append(min(max(moved, 0), count - 1))
        features: list[int] = []
        for d in range(number):
            sight = self.sight[self.order[d]]
            s, t = int(sight[known[d][0]]), int(sight[guesses[d]])
            features += [s, max(s - t, 0), max(t - s, 0), 64 * (s != t)]
        hidden = np.clip(bias + sums + np.array(features, int) @ own >> shifts[0], 0, 255)
        for weight, added, shift in zip(middle, middle_bias, shifts[1:-1], strict=True):
            hidden = np.minimum(hidden + np.maximum(added + hidden @ weight >> shift, 0), 255)
        output = (scores_bias + hidden @ scores >> shifts[-1]).tolist()
        score = output[:count]
        for p, candidate in enumerate(candidates):
            for k in range(max(0, candidate - 2), min(count, candidate + 3)):
                score[k] += output[count + 5 * p + 2 + k - candidate]
        best = max(score)
        far = [min(best - each, 255) for each in score]
        w = [B[e % 16] >> e // 16 for e in far]
        units = [1 + each * ((1 << 24) - len(w)) // sum(w) for each in w]
        units[score.index(best)] += (1 << 24) - sum(units)
        return coder.each(units)

    def pixels(self, tokens: np.ndarray) -> np.ndarray:
        """Pixels [H, W, C] of tokens."""
        samples = np.stack([own[tokens[..., channel]] for channel, own in enumerate(self.levels)], axis=-1)
        if self.hides:
            samples[samples[..., -1] == 0] = 0
        return samples

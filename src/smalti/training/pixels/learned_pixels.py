"""The causal network in floats, which learns. `pixel_export` turns it into the archive's integers.

The forward pass is that of `smalti.decoders.pixels.pixel_prior`, without its rounding.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_network import OWN_FEATURES, REACH, SCORES_OF_CANDIDATE, UNLIKE
from smalti.decoders.pixels.pixel_prior import PixelPrior
from smalti.decoders.pixels.wavefront import context_size
from smalti.training.pixels.pixel_settings import PixelShape

__all__ = ["LearnedPixels"]

FULL = 255.0
"""What is seen of the largest level. The network learns from values in [-1, 1]."""


class LearnedPixels(nn.Module):
    """The network of all channels, in coding order. seen : of each channel, what is seen of each level, 0..255"""

    rate = 3e-3

    def __init__(self, shape: PixelShape, seen: list[Tensor]) -> None:
        super().__init__()
        self.shape = shape
        channels, width, radius = shape.channels, shape.width, shape.radius
        inputs = context_size(radius) * channels
        self.context = nn.Parameter(torch.randn(inputs, width) / math.sqrt(inputs))
        self.tops, self.lefts, self.rights = (nn.Parameter(torch.zeros(length, width)) for length in shape.edges)
        self.own = nn.ParameterList(
            torch.randn(OWN_FEATURES * number, width) * 0.3 / math.sqrt(max(1, OWN_FEATURES * number))
            for number in range(channels)
        )
        self.bias = nn.Parameter(torch.zeros(channels, width))
        scale = 0.5 / math.sqrt(width)
        self.middle = nn.Parameter(torch.randn(channels, shape.depth, width, width) * scale)
        self.middle_bias = nn.Parameter(torch.zeros(channels, shape.depth, width))
        outputs = [shape.outputs(number) for number in range(channels)]
        self.scores = nn.ParameterList(torch.randn(width, count) * scale for count in outputs)
        self.scores_bias = nn.ParameterList(torch.zeros(count) for count in outputs)
        self._seen = nn.ParameterList([nn.Parameter(table.clone(), requires_grad=False) for table in seen])

    def forward(self, levels: Tensor) -> list[Tensor]:
        """Scores in nats [n, K, H, W] of each channel's levels, each from those coded before it.

        levels : int64 [n, C, H, W], in coding order
        """
        guesses, candidates = self._candidates(levels)
        return [
            self._scores(number, hidden, candidates[number])
            for number, hidden in enumerate(self._hidden(levels, guesses))
        ]

    def bits(self, levels: Tensor, shown: Tensor | None) -> Tensor:
        """The bits of levels int64 [n, C, H, W], in coding order. shown : where channels after the first are coded"""
        total = torch.zeros((), device=levels.device)
        for number, scores in enumerate(self(levels)):
            bits = F.cross_entropy(scores, levels[:, number], reduction="none")
            total = total + (bits if shown is None or number == 0 else bits * shown).sum()
        return total / math.log(2)

    def prior(self, levels: Tensor, model: PixelModel) -> PixelPrior:
        """The integers of the network, as it is. levels : on which activations are measured"""
        from smalti.training.pixels.pixel_export import export_pixels  # noqa: PLC0415

        return PixelPrior(export_pixels(self, levels), model)

    def hidden(self, levels: Tensor) -> list[Tensor]:
        """The first hidden values [n, H, rows, columns] of each channel."""
        return self._hidden(levels, self._candidates(levels)[0])

    def _hidden(self, levels: Tensor, guesses: list[Tensor]) -> list[Tensor]:
        seen = torch.stack([table[levels[:, number]] for number, table in enumerate(self._seen)], 1)
        sums = self._contexts(seen)
        features: list[Tensor] = []
        found = []
        for number in range(self.shape.channels):
            own = sums + self.bias[number][None, :, None, None]
            if features:
                own = own + F.conv2d(torch.cat(features, 1), self.own[number].T[:, :, None, None])
            found.append(F.relu(own))
            above = seen[:, number] - self._seen[number][guesses[number]]
            features.append(
                torch.stack([seen[:, number], F.relu(above), F.relu(-above), UNLIKE * (above != 0)], 1) * (2 / FULL)
            )
        return found

    def _candidates(self, levels: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """The guess of each channel, int64 [n, H, W], and its candidates."""
        wide = F.pad(levels, (1, 0, 1, 0))
        left, above, corner = wide[:, :, 1:, :-1], wide[:, :, :-1, 1:], wide[:, :, :-1, :-1]
        guess = torch.clamp(left + above - corner, torch.minimum(left, above), torch.maximum(left, above))
        guesses, found = [], []
        for number in range(self.shape.channels):
            guesses.append(guess[:, number])
            own = [left[:, number], above[:, number], guess[:, number]]
            if number:
                carried = levels[:, number - 1] - guess[:, number - 1]
                own.append((guess[:, number] + carried).clamp(0, self.shape.levels[number] - 1))
            found.append(own)
        return guesses, found

    def layers(self, number: int, hidden: Tensor) -> list[Tensor]:
        """The hidden values of a channel after each of its layers, the first ones as well."""
        made = [hidden]
        for weight, bias in zip(self.middle[number], self.middle_bias[number], strict=True):
            hidden = hidden + F.relu(F.conv2d(hidden, weight.T[:, :, None, None], bias))
            made.append(hidden)
        return made

    def _scores(self, number: int, hidden: Tensor, candidates: list[Tensor]) -> Tensor:
        last = self.layers(number, hidden)[-1]
        outputs = F.conv2d(last, self.scores[number].T[:, :, None, None], self.scores_bias[number])
        count = self.shape.levels[number]
        wide = F.pad(outputs[:, :count], (0, 0, 0, 0, REACH, REACH))
        away = torch.arange(SCORES_OF_CANDIDATE, device=outputs.device)[None, :, None, None]
        for place, candidate in enumerate(candidates):
            first = count + place * SCORES_OF_CANDIDATE
            own = outputs[:, first : first + SCORES_OF_CANDIDATE]
            wide = wide.scatter_add(1, candidate[:, None] + away, own)
        return wide[:, REACH:-REACH]

    def _contexts(self, seen: Tensor) -> Tensor:
        """The sums of contexts and edges."""
        radius, width = self.shape.radius, self.shape.width
        rows, columns = seen.shape[2:]
        inside = F.pad(seen, (radius, radius, radius, 0)) * (2 / FULL) - 1  # outside is as the least level
        channels, side = self.shape.channels, 2 * radius + 1
        above = self.context[: radius * side * channels].reshape(radius, side, channels, width)
        beside = self.context[radius * side * channels :].reshape(1, radius, channels, width)
        beside = F.pad(beside, (0, 0, 0, 0, 0, radius + 1))
        kernel = torch.cat([above, beside]).permute(3, 2, 0, 1)
        sums = F.conv2d(inside, kernel)
        device = sums.device
        tables = (
            self.tops[torch.arange(rows, device=device).clamp_max(len(self.tops) - 1)].T[:, :, None],
            self.lefts[torch.arange(columns, device=device).clamp_max(len(self.lefts) - 1)].T[:, None],
            self.rights[torch.arange(columns - 1, -1, -1, device=device).clamp_max(len(self.rights) - 1)].T[:, None],
        )
        return sums + tables[0] + tables[1] + tables[2]

"""The causal network in floats, which learns. `pixel_export` turns it into the archive's integers.

The forward pass is that of `smalti.decoders.pixels.pixel_prior`, without its rounding.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smalti.decoders.pixels.pixel_network import KNOTS
from smalti.decoders.pixels.wavefront import context_size
from smalti.training.pixels.pixel_settings import PixelShape

__all__ = ["LearnedPixels"]

FULL = 255.0
"""What is seen of the largest level. The network learns from values in [-1, 1]."""


class LearnedPixels(nn.Module):
    """The network of all channels, in coding order. seen : of each channel, what is seen of each level, 0..255"""

    def __init__(self, shape: PixelShape, seen: list[Tensor]) -> None:
        super().__init__()
        self.shape = shape
        channels, width, radius = shape.channels, shape.width, shape.radius
        inputs = context_size(radius) * channels
        self.context = nn.Parameter(torch.randn(inputs, width) / math.sqrt(inputs))
        self.tops, self.lefts, self.rights = (nn.Parameter(torch.zeros(length, width)) for length in shape.edges)
        self.own = nn.ParameterList(
            torch.randn(len(KNOTS) * number, width) * 0.3 / math.sqrt(max(1, len(KNOTS) * number))
            for number in range(channels)
        )
        self.bias = nn.Parameter(torch.zeros(channels, width))
        scale = 0.5 / math.sqrt(width)
        self.middle = nn.Parameter(torch.randn(channels, shape.depth, width, width) * scale)
        self.middle_bias = nn.Parameter(torch.zeros(channels, shape.depth, width))
        self.scores = nn.ParameterList(torch.randn(width, count) * scale for count in shape.levels)
        self.scores_bias = nn.ParameterList(torch.zeros(count) for count in shape.levels)
        self._seen = nn.ParameterList([nn.Parameter(table.clone(), requires_grad=False) for table in seen])

    def forward(self, levels: Tensor) -> list[Tensor]:
        """Scores in nats [n, K, H, W] of each channel's levels, each from those coded before it.

        levels : int64 [n, C, H, W], in coding order
        """
        return [self._scores(number, hidden) for number, hidden in enumerate(self.hidden(levels))]

    def hidden(self, levels: Tensor) -> list[Tensor]:
        """The first hidden values [n, H, rows, columns] of each channel."""
        seen = torch.stack([table[levels[:, number]] for number, table in enumerate(self._seen)], 1)
        sums = self._contexts(seen)
        found = []
        for number in range(self.shape.channels):
            own = sums + self.bias[number][None, :, None, None]
            if number:
                own = own + F.conv2d(_knotted(seen[:, :number]), self.own[number].T[:, :, None, None])
            found.append(F.relu(own))
        return found

    def layers(self, number: int, hidden: Tensor) -> list[Tensor]:
        """The hidden values of a channel after each of its layers, the first ones as well."""
        made = [hidden]
        for weight, bias in zip(self.middle[number], self.middle_bias[number], strict=True):
            hidden = hidden + F.relu(F.conv2d(hidden, weight.T[:, :, None, None], bias))
            made.append(hidden)
        return made

    def _scores(self, number: int, hidden: Tensor) -> Tensor:
        last = self.layers(number, hidden)[-1]
        return F.conv2d(last, self.scores[number].T[:, :, None, None], self.scores_bias[number])

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


def _knotted(seen: Tensor) -> Tensor:
    """How far samples [n, c, H, W] are above each knot: [n, 4 * c, H, W], in units of half the range."""
    knots = torch.tensor(KNOTS, dtype=seen.dtype, device=seen.device)[None, None, :, None, None]
    above = F.relu(seen[:, :, None] - knots) * (2 / FULL)
    return above.reshape(seen.shape[0], -1, *seen.shape[2:])

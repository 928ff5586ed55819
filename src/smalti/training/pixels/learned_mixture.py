"""The network of a mixture prior in floats, which learns. `mixture_export` turns it into the archive's integers.

The forward pass is that of `smalti.decoders.pixels.mixture_prior`, without the rounding of its activations.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from smalti.decoders.pixels.mixture import STEEPEST, outputs_of
from smalti.decoders.pixels.mixture_network import SQUASHED, missed_places, mixture_inputs, own_inputs
from smalti.decoders.pixels.mixture_prior import MixturePrior
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.wavefront import context_size
from smalti.entropy.priors import UNITS
from smalti.training.pixels.pixel_settings import MixtureShape

__all__ = ["FULL", "Foretelling", "LearnedMixture"]

FULL = 64.0
"""What is seen of a difference of 15 levels. The network learns from numbers of about this magnitude as 1."""

ALIKE = -4.0
"""The score, in nats, that all levels alike begin with: 1% and less."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Foretelling:
    """The weights of differences that foretell each channel's levels, in 2**-places: [P * C + c] each.

    missed : by how many levels they are off, on average, of each channel
    """

    weights: tuple[Ints, ...]
    places: int
    missed: tuple[float, ...]


class LearnedMixture(nn.Module):
    """The network of all channels, in coding order. foretelling : stays as it is"""

    rate = 1e-2

    def __init__(self, shape: MixtureShape, foretelling: Foretelling) -> None:
        super().__init__()
        self.shape, self.foretelling = shape, foretelling
        channels, width, components = shape.channels, shape.width, shape.components
        inputs = mixture_inputs(shape.radius, channels)
        self.context = nn.Parameter(torch.randn(inputs, width) / math.sqrt(inputs))
        self.tops, self.lefts, self.rights = (nn.Parameter(torch.zeros(length, width)) for length in shape.edges)
        self.own = nn.ParameterList(
            torch.randn(own_inputs(number), width) / math.sqrt(own_inputs(number)) for number in range(channels)
        )
        self.bias = nn.Parameter(torch.zeros(channels, width))
        scale = 0.5 / math.sqrt(width)
        self.middle = nn.Parameter(torch.randn(channels, shape.depth, width, width) * scale)
        self.middle_bias = nn.Parameter(torch.zeros(channels, shape.depth, width))
        self.outputs = nn.Parameter(torch.zeros(channels, width, outputs_of(components)))
        start = torch.zeros(channels, outputs_of(components))
        start[:, components] = ALIKE
        widths = torch.tensor(foretelling.missed).clamp_min(0.5).log2() - 0.5
        start[:, -components:] = widths[:, None] + torch.arange(components)
        self.outputs_bias = nn.Parameter(start)
        self.register_buffer("_squashed", torch.from_numpy(SQUASHED / FULL), persistent=False)
        for number, weights in enumerate(foretelling.weights):
            own = torch.from_numpy(weights.astype(np.float64 if shape.deep else np.float32))
            self.register_buffer(f"_weights{number}", own, persistent=False)

    def bits(self, levels: Tensor, shown: Tensor | None) -> Tensor:
        """The bits of levels int64 [n, C, H, W], in coding order. shown : where channels after the first are coded"""
        total = torch.zeros((), device=levels.device)
        for number, (anchors, layers) in enumerate(self._passes(levels, shown)):
            if self.shape.levels[number] > 1:
                outputs = layers[-1] @ self.outputs[number] + self.outputs_bias[number]
                own = self._bits(levels[:, number], anchors, outputs, self.shape.levels[number])
                total = total + (own if shown is None or number == 0 else own * shown).sum()
        return total

    def hidden(self, levels: Tensor) -> list[list[Tensor]]:
        """The hidden values of each channel after each of its layers, [n, H, W, width]."""
        return [layers for _, layers in self._passes(levels, None)]

    def prior(self, levels: Tensor, model: PixelModel) -> MixturePrior:
        """The integers of the network, as it is. levels : on which activations are measured"""
        from smalti.training.pixels.mixture_export import export_mixture  # noqa: PLC0415

        return MixturePrior(export_mixture(self, levels), model)

    def _passes(self, levels: Tensor, shown: Tensor | None) -> list[tuple[Tensor, list[Tensor]]]:
        """Of each channel the anchors [n, H, W, M], and the hidden values after each layer."""
        shape = self.shape
        left, above, base, differences = self._around(levels)
        apart = levels - base
        foretold = self._foretold(differences, apart, base)
        missed = levels - foretold
        if shown is not None:
            missed = torch.cat([missed[:, :1], missed[:, 1:] * shown[:, None]], 1)
        tops = torch.tensor([max(count - 1, 1) for count in shape.levels], device=levels.device)
        seen = (255 * base // tops[:, None, None]).permute(0, 2, 3, 1) / FULL
        known = [self._squash(differences).flatten(3), seen, self._squash(self._near(missed))]
        sums = torch.cat(known, 3) @ self.context + self._edges(levels)
        own: list[Tensor] = []
        found = []
        for number in range(shape.channels):
            away = self._squash(foretold[:, number] - base[:, number])
            hidden = F.relu(sums + self.bias[number] + torch.stack([away, *own], 3) @ self.own[number])
            layers = [hidden]
            for weight, bias in zip(self.middle[number], self.middle_bias[number], strict=True):
                hidden = hidden + F.relu(hidden @ weight + bias)
                layers.append(hidden)
            anchors = torch.stack([foretold[:, number]] * 2 + [left[:, number], above[:, number]], 3)
            found.append((anchors[..., : shape.components], layers))
            beside = self._squash(missed[:, number])
            own += [self._squash(apart[:, number]), beside, beside.abs()]
        return found

    def _bits(self, levels: Tensor, anchors: Tensor, outputs: Tensor, count: int) -> Tensor:
        """The bits of levels [n, H, W] of a channel."""
        components = self.shape.components
        scores, shifts, widths = torch.split(outputs, [components + 1, components, components], 3)
        shares = F.softmax(scores, 3)
        inverses = torch.exp2(-widths.clamp(-STEEPEST, 17))
        places = (levels[..., None] - anchors).float()
        upper = ((places + 0.5) * inverses - shifts) * math.log(2)
        lower = ((places - 0.5) * inverses - shifts) * math.log(2)
        last, first = (levels >= count - 1)[..., None], (levels <= 0)[..., None]
        right = upper + lower > 0  # there, what is left of 1 is more exact
        above = torch.sigmoid(torch.where(right, -lower, upper))
        below = torch.sigmoid(torch.where(right, -upper, lower))
        inside = above - below
        whole = torch.where(last, torch.sigmoid(-lower), torch.where(first, torch.sigmoid(upper), inside))
        own = (shares[..., :components] * whole).sum(3) + shares[..., components] / count
        return -torch.log2(own * (1 - count / UNITS) + 1 / UNITS)

    def _around(self, levels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Levels to the left and above, and bases, [n, C, H, W]; differences around, [n, H, W, P, C]."""
        radius = self.shape.radius
        rows, columns = levels.shape[2:]
        wide = F.pad(levels + 1, (radius, radius, radius, 0))  # 0 is outside
        places = [(up, beside) for up in range(radius, 0, -1) for beside in range(-radius, radius + 1)]
        places += [(0, beside) for beside in range(-radius, 0)]
        around = torch.stack(
            [
                wide[:, :, radius - up : radius - up + rows, radius + beside : radius + beside + columns]
                for up, beside in places
            ],
            4,
        ).permute(0, 2, 3, 4, 1)
        left, above = (around[..., places.index(place), :].permute(0, 3, 1, 2) - 1 for place in ((0, -1), (1, 0)))
        left, above = torch.where(left < 0, above.clamp_min(0), left), torch.where(above < 0, left.clamp_min(0), above)
        base = torch.div(left + above, 2, rounding_mode="floor")
        apart = around - 1 - base.permute(0, 2, 3, 1)[..., None, :]
        return left, above, base, torch.where(around == 0, torch.zeros_like(apart), apart)

    def _foretold(self, differences: Tensor, apart: Tensor, base: Tensor) -> Tensor:
        """The levels that differences foretell, int64 [n, C, H, W]."""
        places, found = self.foretelling.places, []
        around = context_size(self.shape.radius) * self.shape.channels
        flat = differences.flatten(3).to(self.get_buffer("_weights0").dtype)
        for number, count in enumerate(self.shape.levels):
            weights = self.get_buffer(f"_weights{number}")
            sums = flat @ weights[:around]
            for before in range(number):
                sums = sums + apart[:, before] * weights[around + before]
            moved = torch.floor((sums + (1 << places >> 1)) * 2.0**-places).long()
            found.append((base[:, number] + moved).clamp(0, count - 1))
        return torch.stack(found, 1)

    def _near(self, missed: Tensor) -> Tensor:
        """What was missed at each of `missed_places`, [n, H, W, places * C]. missed : [n, C, H, W]"""
        rows, columns, radius = missed.shape[2], missed.shape[3], self.shape.radius
        wide = F.pad(missed, (radius, radius, radius, 0))
        found = [
            wide[:, :, radius - up : radius - up + rows, radius + right : radius + right + columns]
            for up, right in missed_places(radius)
        ]
        return torch.stack(found, 1).flatten(1, 2).permute(0, 2, 3, 1)

    def _squash(self, differences: Tensor) -> Tensor:
        table: Tensor = self.get_buffer("_squashed")
        return table[differences.abs()] * torch.sign(differences)

    def _edges(self, levels: Tensor) -> Tensor:
        """The sums of the numbers for edges, [H, W, width]."""
        rows, columns, device = levels.shape[2], levels.shape[3], levels.device
        return (
            self.tops[torch.arange(rows, device=device).clamp_max(len(self.tops) - 1)][:, None]
            + self.lefts[torch.arange(columns, device=device).clamp_max(len(self.lefts) - 1)]
            + self.rights[torch.arange(columns - 1, -1, -1, device=device).clamp_max(len(self.rights) - 1)]
        )

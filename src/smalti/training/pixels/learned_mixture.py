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

from smalti.decoders.pixels.mixture import outputs_of
from smalti.decoders.pixels.mixture_network import missed_places, mixture_inputs, own_inputs
from smalti.decoders.pixels.mixture_prior import MixturePrior
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.wavefront import context_size
from smalti.training.pixels.mixture_bits import mixture_bits
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
        for number, weights in enumerate(foretelling.weights):
            own = torch.from_numpy(weights.astype(np.float64 if shape.deep else np.float32))
            self.register_buffer(f"_weights{number}", own, persistent=False)

    def bits(self, levels: Tensor, shown: Tensor | None) -> Tensor:
        """The bits of levels int64 [n, C, H, W], in coding order. shown : where channels after the first are coded"""
        total = torch.zeros((), device=levels.device)
        for number, (anchors, layers) in enumerate(self._passes(levels, shown)):
            count = self.shape.levels[number]
            if count > 1:
                outputs = self.outputs[number].t() @ layers[-1].t() + self.outputs_bias[number][:, None]
                own = levels[:, number].flatten()
                bits = mixture_bits(outputs, (own - anchors).float(), own, count)
                total = total + (bits if shown is None or number == 0 else bits * shown.flatten()).sum()
        return total

    def hidden(self, levels: Tensor) -> list[list[Tensor]]:
        """The hidden values of each channel after each of its layers, [pixels, width]."""
        return [layers for _, layers in self._passes(levels, None)]

    def prior(self, levels: Tensor, model: PixelModel) -> MixturePrior:
        """The integers of the network, as it is. levels : on which activations are measured"""
        from smalti.training.pixels.mixture_export import export_mixture  # noqa: PLC0415

        return MixturePrior(export_mixture(self, levels), model)

    def _passes(self, levels: Tensor, shown: Tensor | None) -> list[tuple[Tensor, list[Tensor]]]:
        """Of each channel the anchors [M, pixels], and the hidden values [pixels, width] after each layer."""
        shape = self.shape
        with torch.no_grad():
            left, above, base, differences = self._around(levels)
            apart = levels - base
            foretold = self._foretold(differences, apart, base)
            missed = levels - foretold
            if shown is not None:
                missed = torch.cat([missed[:, :1], missed[:, 1:] * shown[:, None]], 1)
            tops = torch.tensor([max(count - 1, 1) for count in shape.levels], device=levels.device)
            seen = (255 * base // tops[:, None, None]).permute(0, 2, 3, 1) / FULL
            known = torch.cat([differences, self._near(missed)], 3)
            known = torch.cat([_squash(known), seen], 3)
            aways, aparts, besides = (_squash(each) for each in (foretold - base, apart, missed))
        around = self._in_order(self.context)
        sums = (known.flatten(0, 2) @ around).view(*known.shape[:3], shape.width) + self._edges(levels)
        sums = sums.flatten(0, 2)
        own: list[Tensor] = []
        ones, found = sums.new_ones(len(sums)), []
        for number in range(shape.channels):
            inputs = torch.stack([aways[:, number].flatten(), *own, ones], 1)
            weights = torch.cat([self.own[number], self.bias[number : number + 1]])
            hidden = torch.relu_(torch.addmm(sums, inputs, weights))
            layers = [hidden]
            for weight, bias in zip(self.middle[number], self.middle_bias[number], strict=True):
                hidden = hidden + torch.relu_(torch.addmm(bias, hidden, weight))
                layers.append(hidden)
            anchors = [foretold[:, number]] * 2 + [left[:, number], above[:, number]]
            found.append((torch.stack([each.flatten() for each in anchors[: shape.components]]), layers))
            beside = besides[:, number].flatten()
            own += [aparts[:, number].flatten(), beside, beside.abs()]
        return found

    def _in_order(self, context: Tensor) -> Tensor:
        """The weights of a context in the order of `known`: bases last."""
        around = context_size(self.shape.radius) * self.shape.channels
        bases = slice(around, around + self.shape.channels)
        return torch.cat([context[:around], context[bases.stop :], context[bases]])

    def _around(self, levels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Levels to the left and above, and bases, int64 [n, C, H, W]; differences around, float32 [n, H, W, P * C]."""
        radius = self.shape.radius
        rows, columns = levels.shape[2:]
        wide = F.pad(levels + 1, (radius, radius, radius, 0))  # 0 is outside

        def at(up: int, right: int) -> Tensor:
            return wide[:, :, radius - up : radius - up + rows, radius + right : radius + right + columns] - 1

        left, above = at(0, -1), at(1, 0)
        left, above = torch.where(left < 0, above.clamp_min(0), left), torch.where(above < 0, left.clamp_min(0), above)
        base = torch.div(left + above, 2, rounding_mode="floor")
        places = [(up, beside) for up in range(radius, 0, -1) for beside in range(-radius, radius + 1)]
        places += [(0, beside) for beside in range(-radius, 0)]
        lines = wide.float().permute(0, 2, 3, 1)
        centre = (base + 1).float().permute(0, 2, 3, 1)
        around = torch.cat(
            [
                lines[:, radius - up : radius - up + rows, radius + beside : radius + beside + columns]
                for up, beside in places
            ],
            3,
        )
        apart = around.view(*centre.shape[:3], len(places), -1) - centre[..., None, :]
        return left, above, base, (apart.flatten(3) * (around > 0))

    def _foretold(self, differences: Tensor, apart: Tensor, base: Tensor) -> Tensor:
        """The levels that differences foretell, int64 [n, C, H, W]."""
        places, found = self.foretelling.places, []
        around = context_size(self.shape.radius) * self.shape.channels
        flat = differences.to(self.get_buffer("_weights0").dtype)
        for number, count in enumerate(self.shape.levels):
            weights = self.get_buffer(f"_weights{number}")
            sums = flat @ weights[:around]
            for before in range(number):
                sums = sums + apart[:, before] * weights[around + before]
            moved = torch.floor((sums + (1 << places >> 1)) * 2.0**-places).long()
            found.append((base[:, number] + moved).clamp(0, count - 1))
        return torch.stack(found, 1)

    def _near(self, missed: Tensor) -> Tensor:
        """What was missed at each of `missed_places`, float32 [n, H, W, places * C]. missed : [n, C, H, W]"""
        rows, columns, radius = missed.shape[2], missed.shape[3], self.shape.radius
        wide = F.pad(missed, (radius, radius, radius, 0)).float().permute(0, 2, 3, 1)
        found = [
            wide[:, radius - up : radius - up + rows, radius + right : radius + right + columns]
            for up, right in missed_places(radius)
        ]
        return torch.cat(found, 3)

    def _edges(self, levels: Tensor) -> Tensor:
        """The sums of the numbers for edges, [H, W, width]."""
        rows, columns, device = levels.shape[2], levels.shape[3], levels.device
        return (
            self.tops[torch.arange(rows, device=device).clamp_max(len(self.tops) - 1)][:, None]
            + self.lefts[torch.arange(columns, device=device).clamp_max(len(self.lefts) - 1)]
            + self.rights[torch.arange(columns - 1, -1, -1, device=device).clamp_max(len(self.rights) - 1)]
        )


def _squash(differences: Tensor) -> Tensor:
    """What is seen of differences, of FULL: `mixture_network.squash`, from the bits of floats."""
    differences = differences.float()
    octaves = (differences.abs() + 1).view(torch.int32) >> 19
    return torch.copysign((octaves - (127 << 4)).clamp_max(255).float() / FULL, differences)

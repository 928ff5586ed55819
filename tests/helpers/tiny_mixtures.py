"""Made-up mixture priors of small random networks."""

from helpers.tiny_pixels import numbers, random_levels
from smalti.decoders.pixels.mixture import outputs_of
from smalti.decoders.pixels.mixture_network import MixtureChannel, MixtureNetwork, mixture_inputs, own_inputs
from smalti.decoders.pixels.mixture_prior import MixturePrior
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.wavefront import context_size


def random_mixture(
    rng, counts=(5, 4, 6), radius=2, width=6, depth=1, components=4, edges=(2, 3, 1), dtype="uint8", hides=False
):
    """A prior for channels of so many levels, whose distributions depend on all that it sees."""
    model = PixelModel(random_levels(rng, counts, dtype), dtype, hides)
    H, C, D, M = width, len(counts), depth, components
    networks = [
        MixtureChannel(
            weights=numbers(rng, context_size(radius) * C + number, 300),
            places=9,
            own=numbers(rng, (own_inputs(number), H), 60),
            bias=numbers(rng, H, 3000),
            middle=numbers(rng, (D, H, H), 40),
            middle_bias=numbers(rng, (D, H), 900),
            outputs=numbers(rng, (H, outputs_of(M)), 60),
            outputs_bias=numbers(rng, outputs_of(M), 9000),
            shifts=(6, *rng.integers(4, 7, D).tolist(), 7),
        )
        for number in range(C)
    ]
    tops, lefts, rights = (numbers(rng, (length, H), 3000) for length in edges)
    context = numbers(rng, (mixture_inputs(radius, C), H), 40)
    levels = [counts[channel] for channel in model.order]
    return MixturePrior(MixtureNetwork(radius, levels, context, tops, lefts, rights, tuple(networks)), model)

"""Made-up transform networks, priors and tokens, with every corner of the format."""

import numpy as np

from smalti.decoders.transform.cells import FIRST_PHASES
from smalti.decoders.transform.fixed_bases import whole_bases
from smalti.decoders.transform.prior_network import FRACTIONS, FirstNetwork, PriorNetwork
from smalti.decoders.transform.transform_model import TransformModel
from smalti.decoders.transform.transform_network import Mixing, TransformNetwork
from smalti.decoders.transform.transform_prior import TransformPrior, unsigned
from smalti.entropy.frequency import FrequencyTable
from smalti.entropy.priors import TablePrior

GROUPS = ((1,), (1, 1), (1, 2, 4), (1, 3, 1, 2))


def numbers(rng, shape, magnitude):
    """Integers from -magnitude to magnitude."""
    return rng.integers(-magnitude, magnitude + 1, shape)


def random_transform(rng, channels=3, cell=8, components=7, mixing=4, dtype="uint8", fraction=4, wild=20):
    """A network near the fixed bases. wild : the largest difference to them"""
    cosines, lap = whole_bases(cell, 10)
    places = rng.permutation(channels * min(cell * cell, 24))[:components]
    places = places % channels * cell * cell + places // channels  # low frequencies of all channels
    unit = 1 << fraction
    top = 255 if dtype == "uint8" else 65_535
    mixer = None
    if mixing:
        m, a = components, mixing
        mixer = Mixing(
            numbers(rng, (m, a), 9),
            numbers(rng, a, 90),
            numbers(rng, (9, a, a), 5),
            numbers(rng, a, 90),
            numbers(rng, (a, m), 9),
            numbers(rng, m, 90),
            (2, 4, 5),
        )
    return TransformNetwork(
        dtype,
        fraction,
        rng.integers(0, top * unit, channels),
        np.eye(channels, dtype=np.int64) * 1000 + numbers(rng, (channels, channels), 100),
        cosines + numbers(rng, (channels, cell, cell), wild),
        cosines + numbers(rng, (channels, cell, cell), wild),
        lap + numbers(rng, (cell, cell), wild),
        places,
        rng.integers(1, max(2, top * unit // 8), components),
        mixer,
    )


def random_prior(rng, groups=(1, 2, 4), signed=3, activities=2, width=5, first=3, grid=(0, 0), scales=5, radius=3):
    """A prior for sum(groups) components. Some scales are certain, some tables have codes that cannot occur."""
    M, G, E, L, H, D, P = sum(groups), len(groups), activities, signed, width, first, FIRST_PHASES
    signed_limits = rng.choice([1, 7, 100, 127, 129, 1000, 2047, 32_767], L)
    network = PriorNetwork(
        groups=groups,
        limits=signed_limits,
        activity=numbers(rng, (M, E), 20),
        activity_bias=numbers(rng, (G, E), 200),
        context=numbers(rng, (2, 9 * (E + L), H), 6),
        context_bias=numbers(rng, (2, G, H), 900),
        places=numbers(rng, (grid[0] * grid[1], H), 900),
        grid=grid,
        hidden=numbers(rng, (H, H), 20),
        hidden_bias=numbers(rng, H, 900),
        scale_weight=numbers(rng, (H, M), 20),
        scale_bias=numbers(rng, M, 900),
        mean_weight=numbers(rng, (H, L), 9),
        mean_bias=numbers(rng, L, 90),
        linear=numbers(rng, (2, 9 * L, L), 3),
        first=FirstNetwork(
            weight=numbers(rng, (P, 9, D), 9),
            bias=numbers(rng, (P, D), 300),
            scale_weight=numbers(rng, (P, D), 9),
            scale_bias=numbers(rng, P, 300),
            mean_weight=numbers(rng, (P, D), 9),
            mean_bias=numbers(rng, P, 300),
            linear=numbers(rng, (P, 9), 3),
        ),
        shifts=(3, 5, 5, 8, 3, 4, 3, 7, 3, 3),
    )
    counts = rng.integers(0, 40, ((scales - 1) * FRACTIONS, 2 * radius + 2))
    counts[:, [radius, -1]] += 1
    tables = np.stack([FrequencyTable.from_counts(row, 10).frequencies for row in counts])
    return TransformPrior(network, TablePrior(tables, 10))


def possible_tokens(rng, prior, grids, far=0.05):
    """Tokens [cells, M] that a prior can code: near the centres, and any int16 with a probability of `far`."""
    walk = prior.walk(grids)
    for step in walk.steps():
        coding = walk.coding(step)
        shape = coding.centres.shape
        values = coding.centres + numbers(rng, shape, 4)
        values = np.where(rng.random(shape) < far, rng.integers(-(1 << 15), 1 << 15, shape), values)
        values = np.where(rng.random(shape) < far, rng.choice([-(1 << 15), (1 << 15) - 1], shape), values)
        walk.set(step, np.where(coding.tables < 0, coding.centres, values))
    return unsigned(walk.coefficients)


def random_grids(rng, pictures, most=13):
    """Grids of pictures, some of one cell."""
    return rng.integers(1, most + 1, (pictures, 2)) ** rng.integers(0, 2, (pictures, 1))


def random_tokens(rng, cells, components, largest=40):
    """Any tokens: mostly small, some as large as they can be."""
    tokens = rng.integers(0, largest, (cells, components))
    return np.where(rng.random(tokens.shape) < 0.01, rng.integers(0, 1 << 16, tokens.shape), tokens).astype(np.uint16)


def random_model(rng, **sizes):
    return TransformModel(random_transform(rng, **sizes))

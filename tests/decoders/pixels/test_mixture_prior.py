import numpy as np
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from helpers.tiny_mixtures import random_mixture
from helpers.tiny_pixels import random_grids, random_tokens

LEVELS = st.one_of(st.integers(1, 9), st.sampled_from([1, 256, 257, 513, 3000]))
SHAPES = st.fixed_dictionaries(
    {
        "counts": st.lists(LEVELS, min_size=1, max_size=4).map(tuple),
        "radius": st.integers(1, 4),
        "width": st.integers(1, 7),
        "depth": st.integers(0, 2),
        "components": st.integers(1, 4),
        "edges": st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
        "dtype": st.just("uint16"),
        "hides": st.booleans(),
    }
)


def made(seed, shape):
    """A generator and a prior. Only channels with alpha can hide."""
    rng = np.random.default_rng(seed)
    return rng, random_mixture(rng, **{**shape, "hides": shape["hides"] and len(shape["counts"]) in (2, 4)})


@hypothesis_settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES, pictures=st.integers(0, 5), most=st.sampled_from([3, 9]))
def test_tokens_come_back(seed, shape, pictures, most):
    rng, prior = made(seed, shape)
    grids = random_grids(rng, pictures, most)
    tokens = random_tokens(rng, prior.model, int(grids.prod(axis=1).sum()))
    data = prior.encode(tokens, grids)
    found = prior.decode(data, grids)
    assert found.dtype == np.uint16 and (found == tokens).all() and found.shape == tokens.shape
    again = prior.model.read_prior(prior.to_bytes())
    assert again.to_bytes() == prior.to_bytes() and (again.decode(data, grids) == tokens).all()

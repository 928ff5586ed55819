import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from decoders.pixels.test_mixture_prior import SHAPES, made
from helpers.kernels import kernels, with_and_without
from helpers.tiny_mixtures import random_mixture
from helpers.tiny_pixels import random_grids, random_tokens
from smalti.errors import DamagedArchiveError
from smalti.threads import for_each


@hypothesis_settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES, pictures=st.integers(0, 5), most=st.sampled_from([3, 24]))
def test_gives_the_bytes_and_levels_of_numpy(seed, shape, pictures, most):
    rng, prior = made(seed, shape)
    grids = random_grids(rng, pictures, most)
    tokens = random_tokens(rng, prior.model, int(grids.prod(axis=1).sum()))
    plain, compiled = with_and_without(lambda: prior.encode(tokens, grids))
    assert plain == compiled
    for found in with_and_without(lambda: prior.decode(plain, grids)):
        assert (found == tokens).all() and found.dtype == np.uint16


def test_many_pictures_are_the_same():
    rng = np.random.default_rng(5)
    prior = random_mixture(rng, counts=(300, 2, 40, 3), radius=1, edges=(40, 40, 1), dtype="uint16", hides=True)
    grids = np.concatenate([np.full((200, 2), 9), np.ones((2300, 2), np.int64)])
    tokens = random_tokens(rng, prior.model, int(grids.prod(axis=1).sum()))
    plain, compiled = with_and_without(lambda: prior.encode(tokens, grids))
    assert plain == compiled
    with kernels("always"):
        assert (prior.decode(plain, grids) == tokens).all()


@pytest.mark.parametrize("cut", [slice(4, None), slice(0, -4), slice(0, 0), slice(0, -1)])
@pytest.mark.parametrize("counts", [(5, 4, 6), (700, 257)])
def test_damage_is_the_same_error(cut, counts):
    rng = np.random.default_rng(7)
    prior, grids = random_mixture(rng, counts, dtype="uint16"), np.array([(9, 9)])
    data = prior.encode(random_tokens(rng, prior.model, 81), grids)

    def decode():
        try:
            return prior.decode(data[cut], grids).tobytes()
        except DamagedArchiveError as error:
            return str(error)

    plain, compiled = with_and_without(decode)
    assert plain == compiled


def test_threads_change_nothing():
    rng = np.random.default_rng(8)
    prior, grids = random_mixture(rng), random_grids(rng, 20)
    tokens = random_tokens(rng, prior.model, int(grids.prod(axis=1).sum()))
    with kernels("always"):
        data = prior.encode(tokens, grids)
        found = [None] * 6

        def work(number):
            found[number] = prior.decode(data, grids)

        for_each(work, range(6), 3)
    assert all((own == tokens).all() for own in found)

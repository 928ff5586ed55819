import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from decoders.pixels.test_pixel_prior import SHAPES, made
from helpers.kernels import kernels, with_and_without
from helpers.tiny_pixels import random_grids, random_prior, random_tokens
from smalti.errors import DamagedArchiveError
from smalti.threads import for_each


def flat_tokens(rng, model, grids):
    """Pictures of few large areas, so that contexts are equal."""
    tokens = random_tokens(rng, model, int(grids.prod(axis=1).sum()))
    start = 0
    for rows, columns in grids.tolist():
        own = tokens[start : start + rows * columns].reshape(rows, columns, -1)
        own[:] = own[:1, :1]
        top, left = rng.integers(0, rows + 1), rng.integers(0, columns + 1)
        own[top:, left:] = random_tokens(rng, model, 1)
        start += rows * columns
    return tokens


@hypothesis_settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES, pictures=st.integers(0, 5), most=st.sampled_from([3, 24]))
def test_gives_the_bytes_and_levels_of_numpy(seed, shape, pictures, most):
    rng, prior = made(seed, shape)
    grids = random_grids(rng, pictures, most)
    for tokens in (
        random_tokens(rng, prior.model, int(grids.prod(axis=1).sum())),
        flat_tokens(rng, prior.model, grids),
    ):
        plain, compiled = with_and_without(lambda tokens=tokens: prior.encode(tokens, grids))
        assert plain == compiled
        for found in with_and_without(lambda data=plain: prior.decode(data, grids)):
            assert (found == tokens).all() and found.dtype == np.uint16


def test_many_flat_pictures_share_memos():
    rng = np.random.default_rng(5)
    prior = random_prior(rng, counts=(3, 2, 4, 3), radius=1, edges=(40, 40, 1), hides=True)
    grids = np.full((300, 2), 24)
    tokens = flat_tokens(rng, prior.model, grids)
    plain, compiled = with_and_without(lambda: prior.encode(tokens, grids))
    assert plain == compiled
    with kernels("always"):
        assert (prior.decode(plain, grids) == tokens).all()


def test_many_levels_are_the_same():
    rng = np.random.default_rng(6)
    prior = random_prior(rng, counts=(700, 300), dtype="uint16", width=9, depth=2)
    grids = np.array([(20, 30), (1, 1), (7, 2)])
    tokens = random_tokens(rng, prior.model, int(grids.prod(axis=1).sum()))
    plain, compiled = with_and_without(lambda: prior.encode(tokens, grids))
    assert plain == compiled


@pytest.mark.parametrize("cut", [slice(4, None), slice(0, -4), slice(0, 0), slice(0, -1)])
def test_damage_is_the_same_error(cut):
    rng = np.random.default_rng(7)
    prior, grids = random_prior(rng), np.array([(9, 9)])
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
    prior, grids = random_prior(rng), random_grids(rng, 20)
    tokens = random_tokens(rng, prior.model, int(grids.prod(axis=1).sum()))
    with kernels("always"):
        data = prior.encode(tokens, grids)
        found = [None] * 6

        def work(number):
            found[number] = prior.decode(data, grids)

        for_each(work, range(6), 3)
    assert all((own == tokens).all() for own in found)

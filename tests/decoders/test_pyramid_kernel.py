import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from helpers.kernels import kernels, with_and_without
from helpers.networks import random_prior, random_pyramid, random_tokens
from smalti.decoders.pyramid import pyramid_kernel
from smalti.entropy.priors import EXP, share_units
from smalti.errors import DamagedArchiveError, UsageError
from smalti.threads import for_each

GRIDS = {((2, 2),): (4, 4), ((4, 4), (1, 1)): (4, 8), ((1, 2), (1, 1)): (1, 2), ((3, 3), (3, 1), (1, 1)): (6, 6)}


def made(seed, strides, images):
    rng = np.random.default_rng(seed)
    network = random_pyramid(rng, strides)
    prior = random_prior(rng, network, GRIDS[strides])
    return prior, random_tokens(rng, network, GRIDS[strides], images)


@hypothesis_settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), strides=st.sampled_from(list(GRIDS)), images=st.sampled_from([0, 1, 3, 300]))
def test_gives_the_bytes_and_tokens_of_numpy(seed, strides, images):
    prior, tokens = made(seed, strides, images)

    def encode():
        try:
            return prior.encode(tokens)
        except UsageError as error:  # a code that has no units
            return str(error)

    plain, compiled = with_and_without(encode)
    assert plain == compiled
    if isinstance(plain, bytes):
        for found in with_and_without(lambda: prior.decode(plain, images)):
            assert (found == tokens).all() and found.dtype == np.uint16


@pytest.mark.parametrize("codes", [2, 40, 256, 700])
def test_shares_are_those_of_numpy(codes):
    """Of scores far apart and near, of few codes and of so many that weights add up to more than 2**24."""
    rng = np.random.default_rng(codes)
    for spread in (0, 2, 30, 300, 9000):
        scores = np.round(rng.normal(0, spread, (codes, 500))).astype(np.float32)
        wanted = share_units(scores.T)
        sums = np.empty((-(-len(scores) // pyramid_kernel.GROUP), scores.shape[1]), np.float32)
        pyramid_kernel.share(EXP.astype(np.float32), scores, sums)
        assert (wanted == scores.T).all()


@pytest.mark.parametrize("cut", [slice(4, None), slice(0, -4), slice(0, 0), slice(0, -1)])
def test_damage_is_the_same_error(cut):
    prior, tokens = made(3, ((4, 4), (1, 1)), 60)
    data = prior.encode(tokens)

    def decode():
        try:
            return prior.decode(data[cut], 60).tobytes()
        except DamagedArchiveError as error:
            return str(error)

    plain, compiled = with_and_without(decode)
    assert plain == compiled


def test_threads_change_nothing():
    prior, tokens = made(8, ((4, 4), (1, 1)), 400)
    with kernels("always"):
        data = prior.encode(tokens)
        found = [None] * 6

        def work(number):
            found[number] = prior.decode(data, len(tokens))

        for_each(work, range(6), 3)
    assert all((own == tokens).all() for own in found)

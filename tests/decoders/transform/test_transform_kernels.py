import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from decoders.transform.test_transform_model import SHAPES as MODELS
from decoders.transform.test_transform_prior import SHAPES as PRIORS
from decoders.transform.test_transform_prior import made
from helpers.kernels import kernels, with_and_without
from helpers.transforms import possible_tokens, random_grids, random_model, random_prior, random_tokens
from smalti.decoders.transform import transform_kernel
from smalti.decoders.transform.tokens import unsigned
from smalti.errors import DamagedArchiveError, ModelError, UsageError


@hypothesis_settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1), shape=MODELS, pictures=st.integers(0, 4), largest=st.sampled_from([2, 40, 1 << 15])
)
def test_gives_the_pixels_of_numpy(seed, shape, pictures, largest):
    rng = np.random.default_rng(seed)
    model, grids = random_model(rng, **shape), random_grids(rng, pictures, 4)
    tokens = random_tokens(rng, int(grids.prod(axis=1).sum()), shape["components"])
    tokens = np.minimum(tokens, largest).astype(np.uint16)
    tokens[rng.random(tokens.shape) < 0.5] = 0
    plain, compiled = with_and_without(lambda: model.decode(tokens, grids, 1))
    for one, other in zip(plain, compiled, strict=True):
        assert one.dtype == other.dtype and (one == other).all()


def test_most_pictures_are_exact_in_float32(monkeypatch):
    """NumPy decodes the others, so a kernel that always gives up would pass the test above."""
    answers, true = [], transform_kernel._decode
    monkeypatch.setattr(transform_kernel, "_decode", lambda *given: answers.append(true(*given)) or answers[-1])
    rng = np.random.default_rng(1)
    model = random_model(rng, components=3, mixing=0, fraction=2)
    for token in (2, 40_000):
        with kernels("always"):
            model.decode(np.full((12, 3), token, np.uint16), np.array([(3, 4)]), 1)
    assert answers == [True, False]


@hypothesis_settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), shape=PRIORS, pictures=st.integers(0, 5), far=st.sampled_from([0.0, 0.05, 0.5]))
def test_gives_the_bytes_and_tokens_of_numpy(seed, shape, pictures, far):
    rng, prior = made(seed, shape)
    grids = random_grids(rng, pictures)
    tokens = possible_tokens(rng, prior, grids, far)
    plain, compiled = with_and_without(lambda: prior.encode(tokens, grids))
    assert plain == compiled
    for found in with_and_without(lambda: prior.decode(plain, grids)):
        assert (found == tokens).all() and found.dtype == np.uint16


def test_tokens_that_are_not_coded_must_be_their_centres():
    rng, prior = made(2, {"groups": (1, 2), "signed": 1})
    prior.network.scale_weight[:] = 0
    prior.network.scale_bias[:] = -1
    grids = np.array([(2, 3)])
    tokens = possible_tokens(rng, prior, grids)
    tokens[3, 2] ^= 1
    with kernels("always"), pytest.raises(ModelError, match="not coded"):
        prior.encode(tokens, grids)


def test_a_difference_of_17_digits_cannot_be_coded():
    """-32,768 with a centre of 32,768."""
    _, prior = made(1, {"groups": (1,), "signed": 1})
    first = prior.network.first
    first.scale_bias[:] = 1 << 16
    first.mean_bias[:] = 16 * 32_768 << prior.network.shifts[8]
    first.linear[:] = first.mean_weight[:] = 0
    tokens, grids = unsigned(np.full((16, 1), -32_768)), np.array([(4, 4)])
    for wanted in ("never", "always"):
        with kernels(wanted), pytest.raises(UsageError):
            prior.encode(tokens, grids)


@pytest.mark.parametrize("cut", [slice(4, None), slice(0, -4), slice(0, 0), slice(0, -1)])
def test_damage_is_the_same_error(cut):
    rng = np.random.default_rng(3)
    prior, grids = random_prior(rng), np.array([(5, 9)])
    data = prior.encode(possible_tokens(rng, prior, grids), grids)

    def decode():
        try:
            return prior.decode(data[cut], grids).tobytes()
        except DamagedArchiveError as error:
            return str(error)

    plain, compiled = with_and_without(decode)
    assert plain == compiled

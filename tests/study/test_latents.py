import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smalti.errors import DamagedArchiveError, UsageError
from smalti.study.vae import pack_latents, unpack_latents

LATENTS = arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 5)), elements=st.floats(-9, 9, width=32))


@given(LATENTS, st.sampled_from([0.125, 0.5, 1.0, 3.0]))
def test_latents_come_back_as_the_nearest_multiple(latents, step):
    levels = np.rint(latents / np.float32(step)).astype(np.int64)
    back = unpack_latents(pack_latents(latents, step))
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, (levels * np.float32(step)).astype(np.float32))
    assert np.abs(back - latents).max() <= step / 2 + 1e-5


def test_bytes_are_near_the_entropy_of_each_dimension():
    rng = np.random.default_rng(0)
    latents = (rng.standard_normal((20_000, 3)) * [0.01, 1, 4]).astype(np.float32)
    levels = np.rint(latents).astype(int)
    bits = 0.0
    for column in levels.T:
        shares = np.unique(column, return_counts=True)[1] / len(column)
        bits -= len(column) * (shares * np.log2(shares)).sum()
    size = len(pack_latents(latents, 1.0))
    assert bits / 8 < size < bits / 8 * 1.02 + 100


def test_a_step_too_fine_is_refused():
    with pytest.raises(UsageError, match="larger"):
        pack_latents(np.array([[0.0, 1.0]], np.float32), 1e-6)


def test_truncated_bytes_are_refused():
    data = pack_latents(np.random.default_rng(0).standard_normal((500, 4)).astype(np.float32), 0.25)
    for end in (3, 30, len(data) - 3):
        with pytest.raises(DamagedArchiveError):
            unpack_latents(data[:end])

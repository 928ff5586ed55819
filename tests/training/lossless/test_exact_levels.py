import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smalti.training.lossless.exact_levels import exact_levels
from smalti.training.lossless.occurring import Occurring

SAMPLES = st.lists(st.integers(0, 255), min_size=1, max_size=60)


def occurring(*channels, largest=255):
    counts = np.stack([np.bincount(samples, minlength=largest + 1) for samples in channels])
    return Occurring(counts, False, len(channels[0]))


@given(samples=SAMPLES, error=st.integers(0, 40))
def test_every_sample_has_a_level_within_the_error(samples, error):
    (table,) = exact_levels(occurring(samples), error).tables
    found = table.values[table.nearest[samples]]
    assert np.abs(found - samples).max() <= error
    assert (np.diff(table.values) > 0).all() and table.values[0] >= 0 and table.values[-1] <= 255


@given(samples=SAMPLES, error=st.integers(0, 40))
def test_there_are_no_fewer_levels_that_would_do(samples, error):
    """Samples that lie further apart than two errors need a level each: the levels are as many as such samples."""
    (table,) = exact_levels(occurring(samples), error).tables
    apart, last = 0, -1000
    for sample in sorted(samples):
        if sample - last > 2 * error:
            apart, last = apart + 1, sample
    assert len(table.values) == apart


def test_no_error_means_the_samples_that_occur():
    (table,) = exact_levels(occurring([7, 200, 7, 9]), 0).tables
    assert table.values.tolist() == [7, 9, 200]


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_stays_exact(channels):
    ramp = np.arange(256)
    tables = exact_levels(occurring(*[ramp] * channels), 3).tables
    assert [len(table.values) for table in tables] == [37] * (channels - 1) + [256]


def test_sixteen_bits_with_gaps_list_their_samples_only_if_that_pays():
    rng = np.random.default_rng(0)
    sparse = np.repeat(np.arange(0, 65536, 257), 50)  # 8 bits that were made 16
    (table,) = exact_levels(occurring(sparse, largest=65535), 0).tables
    assert len(table.values) == 256
    noise = rng.integers(1000, 60000, 90_000)
    (table,) = exact_levels(occurring(noise, largest=65535), 0).tables
    assert table.values.tolist() == list(range(noise.min(), noise.max() + 1))


def test_a_channel_that_nothing_is_known_of_has_one_level():
    (table,) = exact_levels(Occurring(np.zeros((1, 256), np.int64), False, 0), 0).tables
    assert table.values.tolist() == [0]

import numpy as np
import pytest

from smalti.training.reports import token_statistics


def test_even_use_has_as_much_perplexity_as_codes():
    statistics = token_statistics(np.array([5, 5, 0, 5, 5]))
    assert statistics.codes_used == 4
    assert statistics.perplexity == pytest.approx(4) and statistics.entropy_bits_per_token == pytest.approx(2)


def test_entropy_of_uneven_use():
    statistics = token_statistics(np.array([3, 1]))
    assert statistics.entropy_bits_per_token == pytest.approx(0.8112781)
    assert statistics.perplexity == pytest.approx(2**0.8112781)


def test_one_code_carries_nothing():
    statistics = token_statistics(np.array([0, 9]))
    assert (statistics.codes_used, statistics.perplexity, statistics.entropy_bits_per_token) == (1, 1.0, 0.0)
    assert str(statistics.entropy_bits_per_token) == "0.0"  # not -0.0

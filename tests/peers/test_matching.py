import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smalti.errors import SourceError
from smalti.peers.matching import Matched, RatePoint, at_matched, at_rate, rate_point

CURVE = (RatePoint(1, 10, 0.04, 0.5), RatePoint(2, 20, 0.01, 0.7), RatePoint(3, 40, 0.0025, 0.9))


def test_between_points_bytes_are_interpolated_in_logarithms():
    assert at_matched(CURVE, mse=0.02).bytes_per_image == pytest.approx(10 * 2**0.5)
    assert at_matched(CURVE, ssim=0.8).bytes_per_image == pytest.approx(20 * 2**0.5)


def test_on_a_point():
    assert at_matched(CURVE, mse=0.01) == Matched(pytest.approx(20), False)


def test_both_targets_cost_as_much_as_the_dearer_one():
    assert at_matched(CURVE, mse=0.01, ssim=0.9).bytes_per_image == pytest.approx(40)
    assert at_matched(CURVE, mse=0.0025, ssim=0.5).bytes_per_image == pytest.approx(40)


def test_nothing_is_extrapolated():
    assert at_matched(CURVE, mse=0.001) is None
    assert at_matched(CURVE, ssim=0.95) is None
    assert at_matched(CURVE, mse=0.01, ssim=0.95) is None
    assert at_matched((), mse=0.01) is None


def test_coarsest_setting_that_is_better_than_asked_is_marked():
    assert at_matched(CURVE, mse=0.05) == Matched(10, True)
    assert at_matched((RatePoint(0, 165, 0.0, 1.0),), mse=0.01, ssim=0.9) == Matched(165, True)


def test_points_worth_nothing_change_nothing():
    worse = (RatePoint(9, 15, 0.05, 0.4), RatePoint(9, 45, 0.0025, 0.9))
    assert at_matched(CURVE + worse, mse=0.02) == at_matched(CURVE, mse=0.02)


def test_something_must_be_asked():
    with pytest.raises(ValueError, match="give an MSE"):
        at_matched(CURVE)


@given(st.floats(0.0025, 0.04), st.floats(0.0025, 0.04))
def test_better_never_costs_less(one, other):
    coarse, fine = max(one, other), min(one, other)
    assert at_matched(CURVE, mse=fine).bytes_per_image >= at_matched(CURVE, mse=coarse).bytes_per_image - 1e-9


def test_quality_at_a_rate():
    mse, ssim = at_rate(CURVE, 10 * 2**0.5)
    assert (mse, ssim) == (pytest.approx(0.02), pytest.approx(0.6))
    assert at_rate(CURVE, 40) == (pytest.approx(0.0025), pytest.approx(0.9))
    assert at_rate(CURVE, 9) is None
    assert at_rate(CURVE, 41) is None


def test_point_of_real_images():
    images = np.zeros((2, 8, 8), np.uint8)
    decoded = images.copy()
    decoded[0] = 255
    point = rate_point(3, 50, images, decoded)
    assert (point.setting, point.bytes_per_image, point.mse) == (3, 25, 0.5)
    assert point.ssim == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(SourceError, match="SSIM cannot"):
        rate_point(3, 50, images[:, :5], decoded[:, :5])

import numpy as np

from smalti.training.pyramid.build import size_up
from smalti.training.pyramid.sizing import MOST_OPERATIONS, choose_shape, likely_bits
from training.tiny import small_images, training_images

from .tiny import pyramid_settings


def test_bits_fall_with_the_error_and_nothing_takes_none():
    images = small_images(60, 12, 12)
    bits = [likely_bits(images, mse) for mse in (0.0005, 0.002, 0.01)]
    assert bits[0] > bits[1] > bits[2] > 0
    assert likely_bits(np.full((9, 12, 12, 1), 80, np.uint8), 0.002) == 0


def test_larger_collections_get_larger_networks():
    weights = [choose_shape((28, 28, 1), images, 40.0).weights for images in (100, 60_000, 1_000_000)]
    assert weights == sorted(weights) and weights[0] < weights[2]
    assert choose_shape((28, 28, 1), 10**7, 40.0).operations <= MOST_OPERATIONS


def test_a_coarse_scale_can_be_left_out():
    assert len(choose_shape((28, 28, 1), 1_000, 40.0).strides) == 2
    assert choose_shape((28, 28, 1), 1_000, 40.0, coarse=False).strides == ((1, 1),)


def test_sizes_are_found_for_one_image():
    assert size_up(training_images(small_images(1, 12, 12)), pyramid_settings()).steps > 0

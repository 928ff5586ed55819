import numpy as np
import pytest

from helpers.tiny_fits import small_images, training_images
from helpers.tiny_pyramids import pyramid_settings
from smalti.training.pyramid.build import (
    MOST_OPERATIONS,
    Spectrum,
    choose_shape,
    choose_size,
    learned_share,
    make_pyramid,
)
from smalti.training.pyramid.pyramid_settings import PyramidShape


def test_bits_and_price_follow_the_error_and_nothing_takes_none():
    spectrum = Spectrum(small_images(60, 12, 12))
    likely = [spectrum.at_mse(mse) for mse in (0.0005, 0.002, 0.01)]
    assert likely[0].bits > likely[1].bits > likely[2].bits > 0
    assert 0 < likely[0].price < likely[1].price < likely[2].price
    assert Spectrum(np.full((9, 12, 12, 1), 80, np.uint8)).at_mse(0.002).bits == 0


@pytest.mark.parametrize("shape", [(8, 8, 1), (40, 40, 3)], ids=str)
def test_estimates_by_bits_and_by_their_error_agree(shape):
    spectrum = Spectrum(small_images(40, *shape[:2], shape[2]))
    likely = spectrum.at_mse(0.001)
    again = spectrum.at_bits(likely.bits)
    assert again.bits == pytest.approx(likely.bits) and again.price == pytest.approx(likely.price)


def test_the_price_is_the_slope_of_error_along_bits_of_gaussian_vectors():
    spectrum = Spectrum(small_images(60, 12, 12))
    fewer, more = spectrum.at_mse(0.0021), spectrum.at_mse(0.0019)
    slope = learned_share(1) * 0.0002 * 12 * 12 / (more.bits - fewer.bits)
    assert more.price < slope < fewer.price


def test_larger_collections_get_larger_networks():
    weights = [choose_shape((28, 28, 1), images, 40.0).weights for images in (100, 60_000, 1_000_000)]
    assert weights == sorted(weights) and weights[0] < weights[2]
    assert choose_shape((28, 28, 1), 10**7, 40.0).operations <= 28 * 28 * MOST_OPERATIONS


def test_many_bits_take_smaller_cells_in_grey_and_sliced_latents_in_colour():
    few, grey, colour = (
        choose_shape(shape, 10_000, bits) for shape, bits in (((32, 32, 1), 40), ((32, 32, 1), 400), ((32, 32, 3), 400))
    )
    assert (few.cell, grey.cell, colour.cell) == (8, 4, 8)
    assert (few.sliced, grey.sliced, colour.sliced) == (False, False, True)
    assert colour.latents[-1] == 32 and choose_shape((32, 32, 3), 10_000, 150).latents[-1] == 16
    assert not choose_shape((32, 32, 3), 10_000, 40).sliced


def test_sliced_levels_share_the_channels_of_their_scale():
    shape = PyramidShape((16, 16, 3), ((2, 2), (1, 1)), (3, 10), (8, 8, 8), sliced=True)
    forms = make_pyramid(shape, (1, 3), [2, 2, 2, 2], conditional=True, seed=0).forms
    assert [(form.scale, form.start, form.channels) for form in forms] == [(0, 0, 3), (1, 0, 3), (1, 3, 3), (1, 6, 4)]


def test_a_coarse_scale_can_be_switched_off():
    assert len(choose_shape((28, 28, 1), 1_000, 40.0).strides) == 2
    assert choose_shape((28, 28, 1), 1_000, 40.0, coarse=False).strides == ((1, 1),)


def test_sizes_are_found_for_one_image():
    assert choose_size(training_images(small_images(1, 12, 12)), pyramid_settings()).steps > 0

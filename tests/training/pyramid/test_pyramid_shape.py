import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.tiny_pyramids import random_pyramid
from smalti.errors import UsageError
from smalti.training.pyramid.build import choose_shape
from smalti.training.pyramid.encoder import PyramidEncoder
from smalti.training.pyramid.pyramid_settings import PyramidShape

sides = st.integers(1, 70)


def shape_of(height, width, channels, cell):
    strides = PyramidShape.strides_for((height, width, channels), cell)
    widths = (8,) * (3 if cell == 8 else 2)
    return PyramidShape((height, width, channels), strides, (3, 2)[-len(strides) :], widths)


@settings(max_examples=40, deadline=None)
@given(height=sides, width=sides, channels=st.integers(1, 4), cell=st.sampled_from([4, 8]))
def test_images_are_decoded_to_their_own_shape(height, width, channels, cell):
    shape = shape_of(height, width, channels, cell)
    assert shape.cell == cell and shape.canvas == (-(-height // cell), -(-width // cell))
    pyramid = random_pyramid(shape, levels=(1,) * len(shape.strides), whole=False)
    assert pyramid.decode(pyramid.empty_latents(2)).shape == (2, channels, height, width)
    assert shape.weights == sum(weight.numel() for weight in pyramid.weights)


@settings(max_examples=15, deadline=None)
@given(height=sides, width=sides, cell=st.sampled_from([4, 8]))
def test_images_are_encoded_to_the_grids_of_the_scales(height, width, cell):
    shape = shape_of(height, width, 1, cell)
    with torch.no_grad():
        latents = PyramidEncoder(shape)(torch.rand(2, 1, height, width))
    assert [tuple(scale.shape[2:]) for scale in latents] == [shape.grid(scale) for scale in range(len(shape.strides))]
    assert [scale.shape[1] for scale in latents] == list(shape.latents)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 600), width=st.integers(1, 600), cell=st.sampled_from([4, 8]))
def test_the_fine_scale_has_a_vector_for_each_cell(height, width, cell):
    shape = shape_of(height, width, 1, cell)
    rows, columns = shape.canvas
    assert shape.strides[-1] == (1, 1) and shape.positions[-1] == rows * columns
    assert rows * columns == 1 or shape.positions[0] < rows * columns or max(shape.strides[0]) == 1


def test_strides_must_divide_the_canvas_and_be_of_the_scales():
    with pytest.raises(UsageError, match=r"\[2, 2\] does not divide a canvas of \[3, 3\]"):
        PyramidShape((24, 24, 1), ((2, 2),), (4,), (8, 8, 8))
    with pytest.raises(UsageError, match="2 strides for 1 scales"):
        PyramidShape((16, 16, 1), ((2, 2), (1, 1)), (4,), (8, 8, 8))


def test_real_collections_get_cells_of_4_pixels_too():
    assert choose_shape((28, 28, 1), 60_000, 200.0).cell == 4
    assert choose_shape((28, 28, 1), 60_000, 30.0).cell == 8

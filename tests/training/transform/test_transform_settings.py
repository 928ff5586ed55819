import numpy as np
import pytest

from smalti.training.common.goal import Goal
from smalti.training.transform.bases import Basis
from smalti.training.transform.transform_settings import TransformSettings, choose_shape

SIDE = 8
BASIS = Basis(
    np.zeros(1), np.ones((1, 1)), *np.zeros((2, 1, SIDE, SIDE)), np.eye(SIDE), 0.1 * 0.9 ** np.arange(SIDE * SIDE)
)


def widths(cells):
    """The widths of the prior by effort."""
    return [
        choose_shape(BASIS, 1e-4, "uint8", cells, (4, 4), TransformSettings("photo", Goal(mse=1e-4), effort))[0].width
        for effort in range(10)
    ]


def test_small_efforts_take_small_networks():
    found = widths(10_000_000)
    assert found[:4] == [20, 20, 32, 64] and set(found[3:]) == {64}  # those of `_SIZES`


@pytest.mark.parametrize(("cells", "width"), [(1, 4), (10_000, 12)])
def test_small_sets_take_small_networks_at_any_effort(cells, width):
    assert set(widths(cells)) == {width}

import numpy as np
import pytest

from smalti.storage.spooled_rows import SpooledRows


@pytest.fixture(params=["int16", "uint8"])
def rows(request, tmp_path):
    values = np.arange(60).reshape(10, 2, 3).astype(request.param)
    rows = SpooledRows(10, (2, 3), values.dtype, tmp_path / "out.smalti")
    rows[4:10] = values[4:]
    rows[0:4] = values[:4]
    assert not list(tmp_path.iterdir()), "the file has no name"
    return rows, values


@pytest.mark.parametrize("where", [slice(None), slice(3, 5), slice(7, 99), slice(4, 4), np.array([9, 0, 0]), []])
def test_rows_are_those_of_an_array(where, rows):
    found, values = rows
    where = np.array(where, int) if isinstance(where, list) else where
    assert found[where].dtype == values.dtype and (found[where] == values[where]).all()
    assert found[where].shape == values[where].shape


def test_rows_are_0_until_they_are_set():
    assert not SpooledRows(3, (4,), np.dtype(np.int16))[:].any()


def test_other_rows_do_not_exist(rows):
    with pytest.raises(IndexError, match="row 10 of 10"):
        rows[0][np.array([10])]


def test_the_last_rows_can_be_left_out(rows):
    found, values = rows
    found.shorten(8)
    assert len(found) == 8 and (found[:] == values[:8]).all()


def test_no_rows_can_be_set(rows):
    found, values = rows
    found[7:7] = values[:0]
    assert (found[:] == values).all()

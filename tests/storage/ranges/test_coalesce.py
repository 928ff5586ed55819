from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smalti.storage.ranges.connection import Gathering, requests_for

ranges = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 400)), max_size=30)


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ([], []),
        ([(5, 0)], []),
        ([(0, 10), (10, 10)], [(0, 20)]),
        ([(40, 5), (0, 10)], [(0, 10), (40, 45)]),
        ([(30, 5), (0, 10)], [(0, 35)]),  # 20 bytes between them
        ([(0, 250)], [(0, 100), (100, 200), (200, 250)]),
        ([(0, 90), (10, 5), (95, 10)], [(0, 100), (100, 105)]),
    ],
)
def test_by_hand(asked, made):
    assert [(request.start, request.stop) for request in requests_for(asked, 20, 100)] == made


@given(asked=ranges, gap=st.integers(0, 500), most=st.integers(1, 900), seed=st.integers(0, 9))
def test_every_range_comes_back(asked, gap, most, seed):
    data = np.random.default_rng(0).bytes(3400)
    requests = requests_for(asked, gap, most)
    assert all(0 < len(request) <= most for request in requests)
    assert all(first.stop <= second.start for first, second in pairwise(requests))
    needed = {byte for offset, length in asked for byte in range(offset, offset + length)}
    assert needed <= {byte for request in requests for byte in request}
    gathering = Gathering(asked, requests)
    for index in np.random.default_rng(seed).permutation(len(requests)).tolist():
        gathering.deliver(index, data[requests[index].start : requests[index].stop])
    assert list(gathering.parts()) == [data[offset : offset + length] for offset, length in asked]

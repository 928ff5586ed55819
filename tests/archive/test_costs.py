"""What decoding costs, in counts that no busy machine changes. A stage that becomes a fifth dearer fails here.

If it is worth it, say why in the commit and put the new counts into COSTS: the failure prints them.
"""

import gc
import sys
import tracemalloc
from pathlib import Path
from typing import NamedTuple

import pytest

import smalti
from smalti import compiled
from smalti.storage.positioned import PositionedFile

pytest.importorskip("numba", reason="products and sums are counted where kernels could be taken")

GOLDEN = Path(__file__).parents[2] / "conformance" / "golden"
MARGIN = 1.2


class Cost(NamedTuple):
    """reads, read_bytes : of the file    products : products and sums of priors, transforms, pyramids and windows
    calls : of functions, of Python and of C    peak_kb : of memory that Python and NumPy took at once
    """

    reads: int
    read_bytes: int
    products: int
    calls: int
    peak_kb: int


COSTS: dict[str, dict[str, Cost]] = {
    "format-1-digits": {
        "open": Cost(4, 831, 0, 759, 16),
        "one image": Cost(8, 38856, 13018050, 6325, 3257),
        "all images": Cost(8, 38856, 96430000, 8379, 6679),
    },
    "format-1-pyramid": {
        "open": Cost(4, 722, 0, 764, 13),
        "one image": Cost(8, 3324, 1064320, 10210, 390),
        "all images": Cost(10, 4523, 3412788, 15059, 652),
    },
    "format-1-transform": {
        "open": Cost(5, 921, 0, 1415, 16),
        "one image": Cost(8, 3342, 129435, 13811, 265),
        "all images": Cost(13, 4046, 1486875, 30855, 395),
    },
    "format-1-pixels": {
        "open": Cost(5, 888, 0, 1394, 16),
        "one image": Cost(8, 5526, 16924800, 32976, 182),
        "all images": Cost(12, 15706, 82466088, 103830, 279),
    },
    "format-1-mixtures": {
        "open": Cost(5, 795, 0, 1325, 15),
        "one image": Cost(8, 9303, 66354225, 103836, 411),
        "all images": Cost(9, 17567, 177049425, 223344, 478),
    },
    "format-1-mixtures-uint16": {
        "open": Cost(5, 703, 0, 926, 12),
        "one image": Cost(8, 4919, 16877952, 20622, 663),
        "all images": Cost(9, 5891, 28129920, 37478, 666),
    },
}


def cost_of(work, monkeypatch):
    """What a function costs, the second time that it runs."""
    work()
    reads, calls = [], [0]
    read_some = PositionedFile._read_some

    def counted(self, number, offset, length):
        reads.append(length)
        return read_some(self, number, offset, length)

    def count(_frame, event, _argument):
        calls[0] += event in ("call", "c_call")

    gc.collect()
    with monkeypatch.context() as patched:
        patched.delenv("SMALTI_KERNELS", raising=False)
        patched.setattr(compiled, "WORTH", 1 << 62)
        patched.setattr(PositionedFile, "_read_some", counted)
        before = compiled._done
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        products = compiled._done - before
        own = Cost(len(reads), sum(reads), products, 0, peak // 1024)
        sys.setprofile(count)
        try:
            work()
        finally:
            sys.setprofile(None)
    return own._replace(calls=calls[0])


def stages(path):
    """To open an archive, to read one image, and to read all of them."""

    def opened():
        with smalti.open(path, threads=1):
            pass

    def one():
        with smalti.open(path, threads=1) as archive:
            archive.images([len(archive) // 2])

    def everything():
        with smalti.open(path, threads=1) as archive:
            archive.images(range(len(archive)))

    return {"open": opened, "one image": one, "all images": everything}


@pytest.mark.parametrize("name", list(COSTS))
def test_no_stage_became_a_fifth_dearer(name, monkeypatch):
    found = {stage: cost_of(work, monkeypatch) for stage, work in stages(GOLDEN / f"{name}.smalti").items()}
    for stage, cost in found.items():
        known = COSTS[name][stage]
        for field, now, before in zip(Cost._fields, cost, known, strict=True):
            assert now <= before * MARGIN, f"{name}, {stage}: {field} was {before}, is {now}; all now: {found}"


def test_counting_notices_what_is_dearer(monkeypatch):
    path = GOLDEN / "format-1-digits.smalti"
    work = stages(path)["one image"]
    once = cost_of(work, monkeypatch)
    twice = cost_of(lambda: (work(), work()), monkeypatch)
    assert twice.reads == 2 * once.reads and twice.products == 2 * once.products
    assert twice.calls > 1.9 * once.calls

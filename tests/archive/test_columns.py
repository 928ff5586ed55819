"""Packing and unpacking of columns."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smalti.archive.format.column import TextBuilder, pack_integers, unpack_column
from smalti.archive.format.limits import Limits
from smalti.errors import DamagedArchiveError, LimitExceededError, UsageError
from smalti.storage.canonical import canonical_json

INT64 = st.integers(-(2**63), 2**63 - 1)


def texts(*strings):
    builder = TextBuilder("t")
    builder.extend(strings)
    return builder.to_bytes()


def column(head, body=b""):
    head = canonical_json({"name": "c", **head})
    return len(head).to_bytes(4, "little") + head + body


@given(st.lists(INT64, min_size=1, max_size=50) | st.lists(st.integers(0, 9), min_size=1, max_size=50))
def test_integers_come_back(values):
    read = unpack_column(pack_integers("labels", np.array(values, np.int64)), Limits())
    assert read.name == "labels" and read.values.dtype == np.int64 and read.values.tolist() == values


def test_integers_across_chunks_take_the_bits_they_need():
    values = np.random.default_rng(0).integers(-3, 7, 200_001)
    data = pack_integers("labels", values)
    assert len(data) < 200_001 * 4 / 8 + 80
    assert (unpack_column(data, Limits()).values == values).all()


@given(st.lists(st.text(max_size=20), max_size=30))
def test_texts_come_back(strings):
    assert unpack_column(texts(*strings), Limits()).values == tuple(strings)


def test_alike_names_cost_little():
    names = [f"train/{i % 10}/{i:05}.png" for i in range(5000)]
    assert len(texts(*names)) < 5000 * 4


def test_text_that_is_no_unicode_is_refused():
    with pytest.raises(UsageError, match="UTF-8"):
        texts("\udcff")


def integers(**changes):
    return {"kind": "int", "bits": 4, "minimum": 0, "rows": 3} | changes


def strings(raw, **changes):
    return column({"kind": "text", "raw_bytes": len(raw), "rows": 1} | changes, zlib.compress(raw))


BAD = {
    "empty": b"",
    "head beyond": b"\xff\0\0\0{}",
    "no name": (2).to_bytes(4, "little") + b"{}",
    "bits": column(integers(bits=65), bytes(25)),
    "negative bits": column(integers(bits=-1)),
    "no rows": column(integers(rows=0)),
    "text rows": column(integers(rows="3"), b"\0\0"),
    "length": column(integers(), b"\0\0\0"),
    "filling": column(integers(), b"\0\x01"),
    "minimum": column(integers(minimum=1 << 63), b"\0\0"),
    "overflow": column(integers(minimum=(1 << 63) - 2), b"\x10\x30"),
    "more keys": column(integers(more=1), b"\0\0"),
    "no zlib": column({"kind": "text", "raw_bytes": 4, "rows": 1}, b"nonsense"),
    "longer": strings(b"\1\0\0\0ab"),
    "shorter": strings(b"\1\0\0\0"),
    "bomb": strings(bytes(10_000), raw_bytes=4),
    "rows": strings(b"\1\0\0\0a", rows=2),
    "not utf-8": strings(b"\1\0\0\0\xff"),
    "trailing": strings(b"\1\0\0\0a") + b"x",
    "unfinished": strings(b"\1\0\0\0a")[:-1],
}


@pytest.mark.parametrize("name", BAD)
def test_columns_that_cannot_be(name):
    with pytest.raises(DamagedArchiveError):
        unpack_column(BAD[name], Limits())


def test_a_column_that_would_unpack_to_too_much():
    for data in (column(integers(bits=0, rows=1 << 50)), column({"kind": "text", "raw_bytes": 1 << 50, "rows": 0})):
        with pytest.raises(LimitExceededError, match="column_bytes"):
            unpack_column(data, Limits())


def test_a_kind_of_later_days_is_passed_over():
    assert unpack_column(column({"kind": "quaternion"}), Limits()) is None

"""Fields: further columns of an archive, from a writer to a reader."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.made_up_archives import random_network, random_tokens
from smalti.archive.format.column import pack_integers, pack_optional, unpack_column
from smalti.archive.format.limits import Limits
from smalti.archive.read.reader import open_archive
from smalti.archive.write.fields import FieldBuilder
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.errors import DamagedArchiveError, UsageError

NETWORK = random_network()
SPEC = ArchiveSpec(image_shape=(8, 12, 1), token_grid=(2, 3), codebook_size=8, profile="test")
INT = st.integers(-(2**63), 2**63 - 1)
FLOAT = st.floats(allow_nan=False)


def packed(values):
    builder = FieldBuilder("f")
    builder.extend(values)
    return unpack_column(builder.to_bytes(), Limits())


@given(
    st.one_of(
        st.lists(st.booleans(), min_size=1),
        st.lists(INT, min_size=1),
        st.lists(FLOAT, min_size=1),
        st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1),
    )
)
def test_values_of_one_kind_come_back(values):
    column = packed(values)
    found = column.values.tolist() if isinstance(column.values, np.ndarray) else list(column.values)
    assert column.name == "field:f" and found == values and [type(v) for v in found] == [type(v) for v in values]


@given(st.lists(st.none() | INT, min_size=1).filter(lambda values: None in values))
def test_gaps_stay_gaps(values):
    assert packed(values).values == tuple(values)


def test_floats_come_back_bit_for_bit():
    values = [-0.0, float("nan"), float("inf"), 5e-324]
    assert np.array_equal(packed(values).values.view(np.int64), np.array(values).view(np.int64))


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        ([1, 2.5], [1.0, 2.5]),
        ([2**53 + 1, 0.5], ["9007199254740993", "0.5"]),
        ([0.5, 2**60], ["0.5", "1152921504606846976"]),
        ([True, 3], ["true", "3"]),
        ([1, "a", 2.0, False], ["1", "a", "2.0", "false"]),
        ([2**63], ["9223372036854775808"]),
        ([np.int32(4), np.int64(5)], [4, 5]),
    ],
)
def test_values_of_several_kinds_widen_without_loss(values, stored):
    found = packed(values).values
    assert (found.tolist() if isinstance(found, np.ndarray) else list(found)) == stored


def test_what_is_no_scalar_is_refused():
    with pytest.raises(UsageError, match="no bool, int, float or str"):
        packed([[1, 2]])


def test_a_column_with_gaps_holds_no_other_such():
    inner = pack_optional("c", np.array([True, False]), pack_integers("c", np.array([1])))
    with pytest.raises(DamagedArchiveError, match="gaps"):
        unpack_column(pack_optional("c", np.array([True, True]), inner), Limits())


def test_gaps_that_do_not_fit_the_values_are_damage():
    two = pack_integers("c", np.array([1, 2]))
    with pytest.raises(DamagedArchiveError, match="do not fit"):
        unpack_column(pack_optional("c", np.array([True, False]), two), Limits())
    with pytest.raises(DamagedArchiveError, match="without values"):
        unpack_column(pack_optional("c", np.array([False]), two), Limits())


def test_fields_of_an_archive(tmp_path):
    path = tmp_path / "a.smalti"
    tokens = random_tokens(5)
    fields = {
        "age": [3, None, 5, 6, 7],
        "site": list("abcde"),
        "weight": [0.5, 1.5, 2.5, 3.5, 4.5],
        "names": [True] * 5,
    }
    with ArchiveWriter(path, SPEC, NETWORK) as writer:
        writer.append(tokens[:2], fields={name: values[:2] for name, values in fields.items()})
        writer.append(tokens[2:], fields={name: values[2:] for name, values in fields.items()})
        writer.commit()
    with open_archive(path) as archive:
        assert archive.names is None  # a field of that name is another thing
        assert set(archive.fields) == set(fields) and len(archive.fields) == 4
        assert archive.fields["age"] == (3, None, 5, 6, 7)
        assert archive.fields["weight"].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
        batches = list(archive.batches(2, start=1))
        assert [batch.fields["age"] for batch in batches] == [[None, 5], [6, 7]]
        assert batches[1].numbers.tolist() == [3, 4]
        with pytest.raises(KeyError):
            archive.fields["height"]


def test_fields_must_be_the_same_in_every_batch(tmp_path):
    with ArchiveWriter(tmp_path / "a.smalti", SPEC, NETWORK) as writer:
        writer.append(random_tokens(2), fields={"a": [1, 2]})
        with pytest.raises(UsageError, match="fields"):
            writer.append(random_tokens(2))

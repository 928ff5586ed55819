"""CSV with cells longer than the limit of Python's `csv`, which is a setting of the whole process."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smalti.sources.folder import metadata
from smalti.sources.folder.metadata import CsvError, csv_rows, read_metadata

LONG = "x" * (1 << 18)


def rows(text: str) -> list[list[str]]:
    return [row for _, row in csv_rows(text)]


def test_the_limit_of_the_process_is_never_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*limits: int) -> int:
        raise AssertionError("csv.field_size_limit is of the whole process")

    monkeypatch.setattr(csv, "field_size_limit", refuse)
    (tmp_path / "metadata.csv").write_text(f'file_name,text\na.png,"{LONG}"\nb.png,short\n')
    table = read_metadata(tmp_path / "metadata.csv")
    assert table is not None and list(table.columns["text"]) == [LONG, "short"]


CELLS = st.text(st.sampled_from('ab",\n\r x'), max_size=6)


@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), min_size=1, max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_rows_with_a_long_cell_are_those_of_pythons_csv(table: list[list[str]], end: str) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([*table, [LONG, "last"]])
    assert rows(text.getvalue()) == [*table, [LONG, "last"]]
    assert [row for _, row in metadata._split(text.getvalue())] == rows(text.getvalue())


@given(st.text(st.sampled_from('ab",\n\r '), max_size=12))
def test_both_ways_of_splitting_agree_on_any_text(text: str) -> None:
    try:
        expected = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error:
        with pytest.raises(CsvError):
            list(metadata._split(text))
        return
    try:
        found = [row for _, row in metadata._split(text)]
    except CsvError:
        assert '"' in text  # a mark inside a cell, which Python's csv lets pass
        return
    assert found == expected


def test_errors_have_the_number_of_the_line() -> None:
    for long in ("short", LONG):
        with pytest.raises(CsvError) as error:
            rows(f'a,b\n"1\n2",{long}\n"c" d,e\n')
        assert error.value.line == 4, long

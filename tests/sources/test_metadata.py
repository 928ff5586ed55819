"""Rows beside image files, written by csv, json, pyarrow and pandas' habits: types of columns, and refusals."""

import json
from pathlib import Path

import pytest

from smalti.errors import SourceError
from smalti.sources.folder.metadata import MetadataTable, read_metadata


def table(path: Path) -> MetadataTable:
    found = read_metadata(path)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "-2", "0"], [1, -2, 0]),
        (["1", "", "3"], [1, None, 3]),
        (["1", "2.5", ".5", "1e3"], [1.0, 2.5, 0.5, 1000.0]),
        (["true", "False", "TRUE", ""], [True, False, True, None]),
        (["1", "true"], ["1", "true"]),
        (["007", "12"], ["007", "12"]),
        (["9223372036854775807", "-9223372036854775808"], [2**63 - 1, -(2**63)]),
        (["9223372036854775808", "1"], ["9223372036854775808", "1"]),
        (["12345678901234567890123", "0.5"], ["12345678901234567890123", "0.5"]),
        (["9" * 5000, "1"], ["9" * 5000, "1"]),
        (["1_000", "1"], ["1_000", "1"]),
        (["a, b", "say x\nthere"], ["a, b", "say x\nthere"]),
        (["-0", "1"], ["-0", "1"]),
        (["ä", " "], ["ä", " "]),
    ],
)
def test_cells_of_csv_have_the_narrowest_type_of_their_column(
    tmp_path: Path, cells: list[str], expected: list[object]
) -> None:
    rows = "".join(f'{n}.png,"{cell.replace(chr(34), chr(34) * 2)}"\r\n' for n, cell in enumerate(cells))
    (tmp_path / "metadata.csv").write_text("\ufefffile_name,value\r\n" + rows, encoding="utf-8", newline="")
    found = table(tmp_path / "metadata.csv")
    assert found.files == [f"{n}.png" for n in range(len(cells))]
    assert list(found.columns["value"]) == expected
    assert [type(value) for value in found.columns["value"]] == [type(value) for value in expected]


def test_short_rows_and_columns_without_a_name(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text(",file_name,a\n0,x.png\n\n1,y.png,2\n")
    found = table(tmp_path / "metadata.csv")
    assert found.files == ["x.png", "y.png"]
    assert found.columns == {"column 1": [0, 1], "a": [None, 2]}


def test_lines_of_json_keep_their_types(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        {"file_name": "a.png", "n": 1, "box": [1, 2], "text": "ä"},
        {"n": 2.5, "file_name": "b.png", "on": True},
        {"file_name": "c.png", "n": None, "half": "\ud800"},
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    found = table(tmp_path / "metadata.jsonl")
    assert found.files == ["a.png", "b.png", "c.png"]
    assert found.columns == {"n": [1, 2.5, None], "text": ["ä", None, None], "on": [None, True, None]}
    assert "left out what is no number, text or truth value: box, half" in caplog.text


def test_parquet_keeps_types_over_row_groups(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import datetime  # noqa: PLC0415

    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    rows = pa.table(
        {
            "file_name": [f"{n}.png" for n in range(5)],
            "n": pa.array([1, None, 3, 4, 5], pa.int16()),
            "day": [datetime.date(2024, 1, n + 1) for n in range(5)],
            "boxes": [[n] for n in range(5)],
        }
    )
    pq.write_table(rows, tmp_path / "metadata.parquet", row_group_size=2)
    found = table(tmp_path / "metadata.parquet")
    assert found.columns == {"n": [1, None, 3, 4, 5], "day": [f"2024-01-0{n + 1}" for n in range(5)]}
    assert "boxes" in caplog.text


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("metadata.csv", b"file_name,a\nx.png,1,2\n", "line 2: 3 cells under 2 names"),
        ("metadata.csv", b"file_name,a,a\n", "two columns of one name"),
        ("metadata.csv", b'file_name,a\nx.png,"y"z\n', "line 2: is no CSV"),
        ("metadata.csv", b"file_name,a\nx.png,\xff\n", "not UTF-8"),
        ("metadata.jsonl", b'{"file_name": "x.png"}\n{"file_name"\n', "line 2: is no JSON"),
        ("metadata.jsonl", b"[1]\n", "line 1: is no JSON object"),
        ("metadata.jsonl", b"[" * 100_000, "line 1: is no JSON"),
        ("metadata.jsonl", b"\xff\n", "line 1: is no JSON"),
        ("metadata.parquet", b"PAR1 but nothing else", "cannot be read"),
    ],
)
def test_rows_that_cannot_be_read_say_where(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=words) as raised:
        read_metadata(tmp_path / name)
    assert name in str(raised.value) and "\n" not in str(raised.value)


def test_a_file_without_file_names_is_of_another_use(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("a,b\n1,2\n")
    (tmp_path / "metadata.jsonl").write_text("")
    assert read_metadata(tmp_path / "metadata.csv") is None
    assert read_metadata(tmp_path / "metadata.jsonl") is None

"""A reader of labels, names and class names, written from docs/format.md."""

from typing import Any

import numpy as np

from conformance.readers.basics import BadArchiveError, Bytes, canonical_json, demand, unpack
from conformance.readers.sections import COLUMN

MOST_TEXT = 1 << 30


def read_column(
    sections: dict[int, list[bytes]], header: dict[str, Any], name: str, kind: str
) -> tuple[dict[str, Any], bytes] | None:
    """The head and the data of a column; None if the header does not list it."""
    if name not in header["columns"]:
        return None
    source = Bytes(sections[COLUMN][header["columns"].index(name)])
    head = canonical_json(source.take(source.fields("I")[0]))
    demand({"kind", "name", "rows"} <= set(head) and type(head["rows"]) is int, "head of a column")
    demand((head["name"], head["kind"]) == (name, kind), "head of a column")
    demand(name == "class_names" or head["rows"] == header["images"], "rows of a column")
    return head, source.rest()


def read_labels(sections: dict[int, list[bytes]], header: dict[str, Any]) -> np.ndarray | None:
    """The label of each image, int64 [N]."""
    column = read_column(sections, header, "labels", "int")
    if column is None:
        return None
    head, packed = column
    demand(sorted(head) == ["bits", "kind", "minimum", "name", "rows"] and 0 <= head["bits"] <= 64, "labels")
    demand(-(1 << 63) <= head["minimum"] < 1 << 63, "minimum of the labels")
    bits, rows = head["bits"], head["rows"]
    demand(len(packed) == -(-bits * rows // 8), "length of the labels")
    filling = -bits * rows % 8
    whole = int.from_bytes(packed, "big")
    demand(whole % (1 << filling) == 0, "filling bits")
    values = [(whole >> filling + bits * (rows - 1 - row)) % (1 << bits) + head["minimum"] for row in range(rows)]
    demand(min(values) >= -(1 << 63) and max(values) < 1 << 63, "range of the labels")
    return np.array(values, np.int64)


def read_texts(sections: dict[int, list[bytes]], header: dict[str, Any], name: str) -> list[str] | None:
    """The strings of a column of texts."""
    column = read_column(sections, header, name, "text")
    if column is None:
        return None
    head, packed = column
    demand(sorted(head) == ["kind", "name", "raw_bytes", "rows"], name)
    demand(0 <= head["raw_bytes"] <= MOST_TEXT, f"length of {name}")
    source = Bytes(unpack(packed, head["raw_bytes"]))
    demand(len(source.data) == head["raw_bytes"], f"length of {name}")
    try:
        texts = [source.take(length).decode("utf-8") for length in source.fields(f"{head['rows']}I")]
    except UnicodeDecodeError as error:
        raise BadArchiveError(f"text of {name}") from error
    demand(not source.rest(), f"bytes after {name}")
    return texts

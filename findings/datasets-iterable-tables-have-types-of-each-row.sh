#!/usr/bin/env bash
# An IterableDataset of Hugging Face that is asked for tables makes one of each row, with the types of that row,
# and fails where a column is None in one of them; asked for plain values, it does not.
#
# Versions: datasets 5.2.0, pyarrow 26.0.1; Python 3.11.7 on Linux x86-64.
#
# The same three rows, in which a column is None at first and a text later, come out of `iter(3)` as a batch of
# plain values. With `with_format("arrow")` each row is made a table by itself, so that the first has a column
# of type null, the second one of type string, and they cannot be joined: ArrowInvalid. Features that say what
# the column is do not help.
#
# It matters to whoever reads streams with gaps in their columns: ask for plain values, and make tables of them
# yourself.
#
# Output seen:
#
#   features: None
#   plain: {'text': [None, 'a', 'b']}
#   arrow: ArrowInvalid: Schema at index 1 was different: text: null vs text: string
#   arrow, with features: ArrowInvalid: Schema at index 1 was different: text: null vs text: string

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    datasets==5.2.0 pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import os, sys

os.environ |= {"HF_HOME": os.getcwd(), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
import datasets
import pyarrow as pa


def rows():
    yield {"text": None}
    yield {"text": "a"}
    yield {"text": "b"}


def first_batch(dataset):
    try:
        return next(iter(dataset.iter(3)))
    except pa.ArrowInvalid as error:
        return f"ArrowInvalid: {' '.join(str(error).split())}"


stream = datasets.IterableDataset.from_generator(rows)
known = datasets.IterableDataset.from_generator(rows, features=datasets.Features({"text": datasets.Value("string")}))
print("features:", stream.features)
plain, tables, typed = first_batch(stream), first_batch(stream.with_format("arrow")), first_batch(known.with_format("arrow"))
print("plain:", plain)
print("arrow:", tables)
print("arrow, with features:", typed)
if plain != {"text": [None, "a", "b"]} or not all(str(found).startswith("ArrowInvalid") for found in (tables, typed)):
    sys.exit("The behaviour changed.")
END

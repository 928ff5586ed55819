"""Collections in which some archives have labels, names, classes and fields and others do not: nothing is hidden."""

import json
import tarfile

import numpy as np
import pytest

from helpers.made_up_archives import random_network, random_tokens, write
from smalti.archive.edit.edit import append_archive, merge_archives, relabel
from smalti.archive.open import open_images
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.cli.summary import info_text
from smalti.exchange import extract
from smalti.sources.archive import ArchiveSource

NETWORK = random_network()
LABELS = [0, 1, 0, 1]
NAMES = [f"{'ab'[label]}/{number}.png" for number, label in enumerate(LABELS)]


@pytest.fixture(name="named")
def _named(tmp_path):
    spec = ArchiveSpec((8, 12, 1), (2, 3), 8, "test", class_names=("cat", "dog"))
    with ArchiveWriter(tmp_path / "l.smalti", spec, NETWORK) as writer:
        writer.append(random_tokens(4), np.array(LABELS), NAMES, fields={"age": [7, 8, 9, None]})
        writer.commit()
    return tmp_path / "l.smalti"


@pytest.fixture(name="bare")
def _bare(tmp_path):
    return write(tmp_path / "n.smalti", random_tokens(3, seed=2), NETWORK)


@pytest.fixture(name="both", params=["merged", "appended", "before"])
def _both(request, tmp_path, named, bare):
    """The two archives as a collection, and the number of the first image without a label."""
    path = tmp_path / "m.smalti"
    merge_archives({"merged": [named, bare], "appended": [named], "before": [bare, named]}[request.param], path)
    if request.param == "appended":
        append_archive(path, bare)
    return path, request.param == "before"


def ordered(of_named, of_bare, bare_first):
    return [*of_bare, *of_named] if bare_first else [*of_named, *of_bare]


def test_columns_have_gaps(both):
    """Before: labels, class names and names were None for all."""
    path, bare_first = both
    with open_images(path) as whole:
        assert whole.labels.dtype == np.int64 and whole.labels.tolist() == ordered(LABELS, [-1] * 3, bare_first)
        assert whole.class_names == ("cat", "dog")
        assert whole.names == tuple(ordered(NAMES, [None] * 3, bare_first))
        assert whole.fields["age"] == tuple(ordered([7, 8, 9, None], [None] * 3, bare_first))
        assert whole.lost_columns == ()


def test_batches_have_them_where_images_do(both):
    path, bare_first = both
    with open_images(path) as whole:
        batches = list(whole.batches(10))
        labels = [None if batch.labels is None else batch.labels.tolist() for batch in batches]
        assert labels == ordered([LABELS], [None], bare_first)
        assert [batch.names for batch in batches] == ordered([tuple(NAMES)], [None], bare_first)
        assert [list(batch.fields["age"]) for batch in batches] == ordered([[7, 8, 9, None]], [[None] * 3], bare_first)


def test_info_tells_of_them(both):
    with open_images(both[0]) as whole:
        info = whole.info()
    assert set(info.columns) == {"labels", "class_names", "names", "field:age"}
    assert info.columns_with_gaps == ("field:age", "labels", "names")
    assert "(not all images have field:age, labels, names)" in info_text(both[0], info)


def test_a_source_has_labels_and_names_for_all(both):
    path, bare_first = both
    with open_images(path) as whole:
        batches = list(ArchiveSource(whole).batches(10))
        assert ArchiveSource(whole).class_names == ("cat", "dog")
    assert np.concatenate([batch.labels for batch in batches]).tolist() == ordered(LABELS, [-1] * 3, bare_first)
    names = [name for batch in batches for name in batch.names]
    start = 0 if bare_first else 4
    assert names == ordered(NAMES, [f"{number:06}.png" for number in range(start, start + 3)], bare_first)


@pytest.mark.parametrize("chosen", [None, [0, 6, 3, 4, 1, 5, 2]])
def test_a_folder_has_them(tmp_path, both, chosen):
    with open_images(both[0]) as whole:
        extract(whole, tmp_path / "out", chosen)
        names, labels, ages = whole.names, whole.labels.tolist(), whole.fields["age"]
    rows = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    order = chosen or list(range(7))
    assert [row.get("label") for row in rows] == [None if labels[one] < 0 else labels[one] for one in order]
    assert [row["age"] for row in rows] == [ages[one] for one in order]
    stored = [row["file_name"] if names[one] is not None else None for row, one in zip(rows, order, strict=True)]
    assert stored == [names[one] for one in order]
    assert all((tmp_path / "out" / row["file_name"]).is_file() for row in rows)


@pytest.mark.parametrize("chosen", [None, [0, 6, 3, 4, 1, 5, 2]])
def test_an_array_has_them(tmp_path, both, chosen):
    with open_images(both[0]) as whole:
        extract(whole, tmp_path / "x.npy", chosen)
        order = chosen or list(range(7))
        assert np.array_equal(np.load(tmp_path / "x.npy"), whole[order])
        assert np.load(tmp_path / "x.labels.npy").tolist() == whole.labels[order].tolist()
        rows = [json.loads(line) for line in (tmp_path / "x.metadata.jsonl").read_text().splitlines()]
        assert [row.get("file_name") for row in rows] == [whole.names[one] for one in order]
        assert [row.get("age") for row in rows] == [whole.fields["age"][one] for one in order]


def test_a_table_has_them(tmp_path, both):
    parquet = pytest.importorskip("pyarrow.parquet", reason="writes a table")
    with open_images(both[0]) as whole:
        extract(whole, tmp_path / "x.parquet")
        table = parquet.read_table(tmp_path / "x.parquet").to_pydict()
        assert table["label"] == [None if label < 0 else label for label in whole.labels.tolist()]
        assert [image["path"] for image in table["image"]] == list(whole.names)
        assert table["age"] == list(whole.fields["age"])


def test_a_tar_has_them(tmp_path, both):
    with open_images(both[0]) as whole:
        extract(whole, tmp_path / "x.tar")
        named = [name.removesuffix(".png") for name in whole.names if name is not None]
    with tarfile.open(tmp_path / "x.tar") as tar:
        members = tar.getnames()
    assert [name for name in members if name.endswith(".cls")] == [f"{name}.cls" for name in named]
    assert sum(name.endswith(".png") for name in members) == 7


def test_no_names_of_classes_for_labels_without(tmp_path, named):
    numbers = write(tmp_path / "numbers.smalti", random_tokens(2), NETWORK, np.array([5, 0]))
    merge_archives([named, numbers], tmp_path / "m.smalti")
    with open_images(tmp_path / "m.smalti") as whole:
        assert whole.class_names is None and whole.labels.tolist() == [*LABELS, 5, 0]


def test_labels_can_be_given_to_all(both):
    relabel(both[0], labels=np.arange(7), class_names=[f"class {number}" for number in range(7)])
    with open_images(both[0]) as whole:
        assert whole.labels.tolist() == list(range(7)) and len(whole.class_names) == 7
        assert whole.info().columns_with_gaps == ("field:age", "names")


def test_changing_some_labels_gives_none_to_images_without(both):
    path, bare_first = both
    with open_images(path) as whole:
        labels = whole.labels.copy()
    labels[labels == 1] = 0
    relabel(path, labels=labels)
    with open_images(path) as whole:
        assert whole.labels.tolist() == ordered([0] * 4, [-1] * 3, bare_first)
        assert "labels" in whole.info().columns_with_gaps and whole.class_names == ("cat", "dog")

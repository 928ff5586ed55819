"""The parts that all sources of encoded images share: survey, groups, labels and columns; all passes are the same."""

import io
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.image_files import everything, noise, reasons
from smalti.errors import SourceError
from smalti.images.batch import ImageBatch, SkippedFile
from smalti.sources.records.record import EntryData, Record, Records, Unreadable, survey
from smalti.sources.records.record_source import sources_of, usual_of


class Listed:
    """Records from a list."""

    def __init__(
        self,
        records: Sequence[Record],
        class_names: tuple[str, ...] | None = None,
        field_names: tuple[str, ...] = (),
        skipped: Sequence[SkippedFile] = (),
    ) -> None:
        self.records = list(records)
        self.description = "listed"
        self.class_names = class_names
        self.field_names = field_names
        self.skipped = skipped
        self.handed_out: list[int] = []

    def __len__(self) -> int:
        return len(self.records)

    def read(self, entries: Iterable[int]) -> Iterator[tuple[int, Record]]:
        for entry in entries:
            self.handed_out.append(int(entry))
            yield entry, self.records[entry]


def png(*shape: int, seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(*shape, seed=seed)).save(file, "png")
    return file.getvalue()


def cut(*shape: int) -> bytes:
    """Make a file with a good header and damaged pixels."""
    whole = png(*shape)
    return whole[:-30]


def test_data_may_be_bytes_paths_and_arrays(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(4, 5, seed=1))
    data: list[EntryData] = [
        png(4, 5),
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        noise(4, 5, seed=2),
        noise(4, 5, 1, seed=3),
        np.asfortranarray(noise(4, 5, seed=4)),
        tmp_path / "none.png",
        tmp_path,
        np.zeros((4, 5), np.float32),
        np.zeros((4, 5, 5), np.uint8),
        np.zeros((0, 5), np.uint8),
        np.zeros(4, np.uint8),
        Unreadable("nothing there"),
    ]
    records: Records = Listed([Record(f"{number:02}", one) for number, one in enumerate(data)])
    source = usual_of(records)
    found = everything(source)
    seeds = (0, 1, 1, 2, 3, 4)
    np.testing.assert_array_equal(found.pixels[..., 0], np.stack([noise(4, 5, seed=seed) for seed in seeds]))
    told = reasons(source)
    assert list(told) == ["06", "07", "08", "09", "10", "11", "12"]
    assert told["06"] == "cannot be read: No such file or directory"
    assert told["08"] == "holds float32; images are uint8, uint16 or int16, scale and convert them"
    assert told["12"] == "nothing there"
    assert all("images are [H, W]" in told[name] for name in ("09", "10", "11"))


def test_groups_begin_with_images_that_can_be_decoded() -> None:
    data = [cut(6, 6), png(4, 4), cut(4, 4), np.zeros((4, 4), np.uint16), cut(9, 9), png(6, 6), cut(6, 6)]
    records = Listed([Record(str(number), one) for number, one in enumerate(data)])
    found = survey(records)
    assert [shape for shape, _ in found.groups] == [(4, 4, 1), (4, 4, 1), (6, 6, 1)]
    assert found.group_of.tolist() == [-1, 0, 0, 1, -1, 2, 2]
    assert [images.tolist() for images in found.images()] == [[1, 2], [3], [5, 6]]
    small, wide, large = sources_of(records)
    assert [everything(source).names for source in (small, wide, large)] == [("1",), ("3",), ("5",)]
    assert [list(reasons(source)) for source in (small, wide, large)] == [["0", "2", "4"], [], ["6"]]
    assert (small.dtype, wide.dtype) == (np.dtype("uint8"), np.dtype("uint16"))


def test_a_source_reads_no_entries_of_others() -> None:
    records = Listed([Record(None, noise(2 + number % 2, 2, seed=number)) for number in range(10)])
    even, odd = sources_of(records)
    records.handed_out.clear()
    assert len(everything(odd)) == 5
    assert records.handed_out == [1, 3, 5, 7, 9]
    records.handed_out.clear()
    assert [len(batch) for batch in even.batches(2, 1, 4)] == [2, 1]
    assert records.handed_out == [2, 4, 6]


def test_names_and_labels_that_only_some_have_are_fields() -> None:
    data = noise(2, 2)
    whole = Listed([Record("a", data, 3), Record("b", data, -1)])
    found = everything(usual_of(whole))
    assert (found.names, found.labels is not None and found.labels.tolist(), found.fields) == (("a", "b"), [3, -1], {})
    partly = Listed([Record("a", data, 3), Record(None, data), Record(None, b"", 5)], ("x", "y"))
    source = usual_of(partly)
    found = everything(source)
    assert (found.names, found.labels, source.class_names) == (None, None, None)
    assert found.fields == {"name": ["a", None], "label": [3, None]}
    assert reasons(source) == {"entry 2": "empty file"}
    own = Listed([Record("a", data, None, {"name": "mine"}), Record(None, data)], field_names=("name",))
    assert everything(usual_of(own)).fields == {"name": ["mine", None]}


def test_labels_that_are_texts_are_numbers_of_classes() -> None:
    data = noise(2, 2)
    records = Listed([Record(None, data, name) for name in ("b", "a", "b")], ("a", "b"))
    source = usual_of(records)
    labels = everything(source).labels
    assert labels is not None and (labels.tolist(), source.class_names) == ([1, 0, 1], ("a", "b"))
    with pytest.raises(SourceError, match="'c' is none of its classes"):
        everything(usual_of(Listed([Record("x", data, "c")], ("a", "b"))))


def test_every_batch_has_the_same_columns() -> None:
    image = io.BytesIO()
    Image.new("P", (4, 4)).save(image, "png")
    records = Listed(
        [
            Record(None, noise(4, 4, 3), None, {"n": 1}),
            Record(None, image.getvalue()),
            Record(None, noise(4, 4), None, {"m": "x"}),
        ],
        field_names=("n", "m"),
    )
    colour, grey = sources_of(records)
    assert [batch.fields for batch in colour.batches(1)] == [
        {"n": [1], "m": [None], "source_mode": [None]},
        {"n": [None], "m": [None], "source_mode": ["P"]},
    ]
    assert everything(grey).fields == {"n": [None], "m": ["x"], "source_mode": [None]}


def test_an_entry_that_changes_is_an_error() -> None:
    records = Listed([Record(str(number), png(4, 4, seed=number)) for number in range(3)])
    source = usual_of(records)
    everything(source)
    records.records[1] = Record("1", b"")
    with pytest.raises(SourceError, match="listed: 1: changed while it was read"):
        everything(source)
    records.records[1] = Record("1", png(4, 5))
    with pytest.raises(SourceError, match="is 4x5 L, was 4x4 L"):
        everything(source)


def test_nothing_to_read_says_why() -> None:
    with pytest.raises(SourceError, match="holds no files"):
        usual_of(Listed([]))
    told = [SkippedFile("z.txt", "no image")]
    with pytest.raises(SourceError, match=r"no readable image: 0: empty file; z\.txt: no image$"):
        sources_of(Listed([Record("0", b"")], skipped=told))
    with pytest.raises(SourceError, match="unreadable"):  # each header is fine
        sources_of(Listed([Record(None, cut(4, 4)), Record(None, cut(5, 5))]))


def test_memory_is_that_of_a_batch_and_a_few_bytes_an_entry() -> None:
    data = png(64, 64)

    class Many(Listed):
        def __len__(self) -> int:
            return 800

        def read(self, entries: Iterable[int]) -> Iterator[tuple[int, Record]]:
            for entry in entries:
                yield entry, Record(f"{entry}.png", data)

    tracemalloc.start()
    try:
        source = usual_of(Many([]))
        images = sum(len(batch) for batch in source.batches(50))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert images == 800
    assert peak_bytes < 3 * 50 * 64 * 64 + 800 * 30 + 200_000  # the whole is 3 MB


def test_batches_are_full_whatever_is_passed_over() -> None:
    data = [cut(4, 4) if number % 3 == 1 else png(4, 4, seed=number) for number in range(20)]
    source = usual_of(Listed([Record(f"{number:02}", one) for number, one in enumerate(data)]))
    assert [len(batch) for batch in source.batches(4)] == [4, 4, 4, 1]
    parts: list[ImageBatch] = [*source.batches(3, 0, 7), *source.batches(3, 7)]
    assert [name for part in parts for name in part.names or ()] == [
        f"{number:02}" for number in range(20) if number % 3 != 1
    ]

import errno
from dataclasses import dataclass

import numpy as np
import pytest

from smalti.bench.records import read_json, write_json, write_text
from smalti.bench.style import drawing
from smalti.errors import OutputError
from smalti.storage import atomic
from smalti.study.results import Pictures


@dataclass(frozen=True)
class Number:
    value: float


def draw(path, height):
    with drawing(path, height) as figure:
        figure.subplots()


def pictures(path, value):
    images, uses = np.full((1, 4, 4), value, np.uint8), np.ones(1, np.int64)
    Pictures(images, images, images, uses).write(path.parent.parent, path.stem)


WRITERS = {
    "numbers.json": lambda path, value: write_json(path, Number(value)),
    "page.md": lambda path, value: write_text(path, f"{value}"),
    "figure.png": draw,
    "pictures/run.npz": pictures,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_result_that_cannot_be_written_leaves_the_one_before_as_it_was(name, tmp_path, monkeypatch):
    path, write = tmp_path / name, WRITERS[name]
    write(path, 1)
    before = path.read_bytes()

    def no_room(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", no_room)
    with pytest.raises(OutputError, match="No space left"):
        write(path, 2)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    write(path, 2)
    assert path.read_bytes() != before


def test_a_number_survives_its_file_as_the_kind_that_it_is(tmp_path):
    write_json(tmp_path / "new" / "number.json", Number(2))
    assert read_json(Number, tmp_path / "new" / "number.json") == Number(2.0)

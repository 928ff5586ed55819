"""A folder output syncs its own files to the disk, and does not wait for all disks of the machine."""

import os
from pathlib import Path

import pytest

from helpers.image_files import noise
from smalti.errors import OutputError
from smalti.images.batch import ImageBatch
from smalti.sinks.sink import open_image_writer
from smalti.storage import atomic


def write(out: Path) -> None:
    with open_image_writer(out, (4, 5, 1), 3) as writer:
        writer.write(ImageBatch(noise(3, 4, 5, 1), names=("a/1.png", "a/2.png", "b.png")))


def test_the_disks_of_the_machine_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("os.sync() waits for every disk")

    monkeypatch.setattr(os, "sync", refuse)
    write(tmp_path / "out")
    assert (tmp_path / "out" / "a" / "2.png").is_file()


def test_without_a_call_for_a_file_system_each_file_and_folder_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    monkeypatch.setattr(atomic, "_syncfs", lambda: None)
    monkeypatch.setattr(os, "fsync", note)
    write(tmp_path / "out")
    assert {Path(path).name for path in synced} >= {"1.png", "2.png", "b.png", "a"}


def test_a_disk_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(atomic, "_syncfs", lambda: fail)
    with pytest.raises(OutputError, match="Input/output error"):
        write(tmp_path / "out")
    assert not (tmp_path / "out").exists()

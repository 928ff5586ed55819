"""How often the members of a collection are opened, by which thread, and how many stay open."""

import gc
import os
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from helpers.made_up_archives import one_layer_network, random_tokens, write
from smalti.archive.collection import members, open_collection
from smalti.archive.edit.edit import merge_archives, write_manifest
from smalti.archive.open import open_images
from smalti.archive.read import reader
from smalti.errors import DamagedArchiveError, SmaltiError

MEMBERS = 12
NETWORK = one_layer_network()


@pytest.fixture(name="manifest")
def _manifest(tmp_path, monkeypatch):
    """A manifest of more members than stay open. Each has its own classes and fields."""
    monkeypatch.setattr(members, "_OPEN_MEMBERS", 4)
    paths = []
    for number in range(MEMBERS):
        tokens = random_tokens(5, (1, 2), 3, seed=number)
        names = [f"{number}/{image}.png" for image in range(5)]
        path = tmp_path / f"{number}.smalti"
        classes = ("cat", f"dog {number}")
        paths.append(write(path, tokens, NETWORK, np.arange(5) % 2, names, block_images=3, class_names=classes))
    write_manifest(paths, tmp_path / "all.smalti-manifest")
    return tmp_path / "all.smalti-manifest"


@pytest.fixture(name="opens")
def _opens(monkeypatch):
    """The paths of members, in the order in which they are opened."""
    opened = []
    file_at = open_collection.file_at

    def counted(place, *rest):
        if Path(place).suffix == ".smalti":
            opened.append(Path(place).name)
        return file_at(place, *rest)

    monkeypatch.setattr(open_collection, "file_at", counted)
    return opened


def test_the_first_batch_opens_each_member_once(manifest, opens):
    """Before: 2 M + 1 openings of M members."""
    with open_images(manifest) as whole:
        assert not opens
        batch = next(whole.batches(5))
        assert batch.names[1] == "0/1.png" and batch.labels.tolist() == [0, 1, 0, 1, 0]
    assert sorted(opens) == sorted(set(opens)) and len(opens) == MEMBERS


def test_what_a_dataset_asks_opens_each_member_once(manifest, opens):
    """Before: 2 M openings more."""
    with open_images(manifest) as whole:
        assert len(whole.block_bounds) == 2 * MEMBERS + 1
        assert whole.class_names == ("cat", *(f"dog {number}" for number in range(MEMBERS)))
        assert whole.labels.reshape(MEMBERS, 5).tolist() == [[0, one, 0, one, 0] for one in range(1, MEMBERS + 1)]
        assert whole.lost_columns == () and whole.levels == 1 and not whole.fields
    assert len(opens) == MEMBERS


@pytest.mark.parametrize("first", ["info", "lost_columns"])
def test_info_and_lost_columns_open_each_member_once(manifest, opens, first):
    """Before: 2 M openings."""
    with open_images(manifest) as whole:
        if first == "info":
            assert whole.info().images == 5 * MEMBERS and whole.lost_columns == ()
        else:
            assert whole.lost_columns == () and whole.info().images == 5 * MEMBERS
    assert len(opens) == MEMBERS


def test_only_the_members_that_are_needed_are_opened(manifest, opens):
    with open_images(manifest) as whole:
        assert whole[[7, 8]].shape[0] == 2 and whole[-1].shape
    assert opens == ["1.smalti", "11.smalti"]


def test_a_pass_opens_members_again_only_if_they_were_let_go(manifest, opens):
    with open_images(manifest) as whole:
        names = [name for batch in whole.batches(2) for name in batch.names]
        assert names == list(whole.names) and len(names) == 5 * MEMBERS
    assert len(opens) <= 3 * MEMBERS


def test_a_slow_opening_holds_up_no_other_member(manifest, monkeypatch):
    """Before: members were opened under one lock of all threads."""
    slow, go_on = threading.Event(), threading.Event()
    positioned = open_collection.open_positioned

    def waiting(file, *rest):
        if file.path.name == "3.smalti":
            slow.set()
            assert go_on.wait(30)
        return positioned(file, *rest)

    monkeypatch.setattr(open_collection, "open_positioned", waiting)
    with open_images(manifest) as whole:
        first = threading.Thread(target=whole.__getitem__, args=(15,))
        first.start()
        assert slow.wait(30)
        other = threading.Thread(target=whole.__getitem__, args=(0,))
        other.start()
        other.join(30)
        blocked = other.is_alive()
        go_on.set()
        first.join(30)
        other.join(30)
        assert not blocked


def test_threads_that_ask_for_one_member_open_it_once(manifest, opens):
    with open_images(manifest) as whole:
        threads = [threading.Thread(target=whole.__getitem__, args=(number % 5,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert opens == ["0.smalti"]


def open_files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files where the system lists them")
def test_a_member_that_is_another_file_is_closed_at_once(manifest):
    """Before: members were closed by the garbage collector."""
    longer = manifest.parent / "2.smalti"
    longer.write_bytes(longer.read_bytes() + b"x")
    gc.collect()
    gc.disable()
    try:
        with open_images(manifest) as whole:
            before = open_files()
            with pytest.raises(DamagedArchiveError, match="make the manifest again") as caught:
                whole[10]
            assert open_files() == before
            assert caught.value.__traceback__ is not None  # its frames hold what they saw
    finally:
        gc.enable()


def test_after_close_nothing_is_read(tmp_path, manifest):
    """Before: a closed manifest opened its members again, and a closed archive served cached blocks."""
    merged = tmp_path / "merged.smalti"
    merge_archives([tmp_path / "0.smalti", tmp_path / "1.smalti"], merged)
    for path in (manifest, merged, tmp_path / "0.smalti"):
        whole = open_images(path)
        assert whole[3] is not None
        whole.close()
        for ask in (partial(whole.__getitem__, 3), partial(whole.images, [3]), partial(whole.tokens, 3, 4)):
            with pytest.raises(SmaltiError, match="closed"):
                ask()
        with pytest.raises(SmaltiError, match="closed"):
            next(whole.batches(2))
        with suppress(SmaltiError):
            whole.close()


def test_a_read_that_goes_on_keeps_its_file(tmp_path, manifest, monkeypatch):
    """Before: a thread could still read from a closed descriptor, whose number another file had by then."""
    file = reader.file_at(tmp_path / "0.smalti")
    expected = file.read(0, 40)
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"f" * 4096)
    pread = os.pread
    opened = []

    def interrupted(descriptor, length, offset):
        if not opened:
            file.close()
            opened.append(os.open(foreign, os.O_RDONLY))  # which takes the number, if it is free
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", interrupted)
    try:
        assert file.read(0, 40) == expected
    finally:
        os.close(opened[0])
    with pytest.raises(SmaltiError, match="closed"):
        file.read(0, 1)

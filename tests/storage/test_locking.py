"""Two changes of one archive at once: one is refused, and none is lost."""

import multiprocessing
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from helpers.made_up_archives import one_layer_network, random_tokens, write
from smalti.archive.edit.edit import append_archive, drop_images, merge_archives, relabel
from smalti.archive.open import open_images
from smalti.archive.recovery.repair import repair_archive
from smalti.errors import OutputError
from smalti.storage.locking import locked

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")

NETWORK = one_layer_network()


def made(path, images, seed=1):
    return write(path, random_tokens(images, (1, 2), 3, seed), NETWORK, np.zeros(images, np.int64))


@pytest.fixture(name="path")
def _path(tmp_path):
    return made(tmp_path / "a.smalti", 6)


@contextmanager
def locked_elsewhere(path):
    """Within, another process is changing the archive."""
    holding = f"with locked({str(path)!r}): print('locked', flush=True); input()"
    script = f"from smalti.storage.locking import locked\n{holding}"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            other.communicate("\n")


def test_a_change_is_refused_at_once_while_another_process_makes_one(tmp_path, path):
    """Without the lock, both are made, and the one that ends first is lost."""
    more, before = made(tmp_path / "more.smalti", 3), path.read_bytes()
    changes = {
        "append": partial(append_archive, path, more),
        "drop": partial(drop_images, path, [0]),
        "relabel": partial(relabel, path, labels=np.arange(6)),
        "merge": partial(merge_archives, [path, more], path, overwrite=True),
        "repair": partial(repair_archive, path, path, overwrite=True),
    }
    with locked_elsewhere(path):
        for change in changes.values():
            with pytest.raises(OutputError, match=r"a\.smalti: another process is changing it"):
                change()
        assert path.read_bytes() == before
        with open_images(path) as opened:  # readers go on
            assert len(opened) == 6
        drop_images(path, [0], tmp_path / "less.smalti")  # and so do changes that are written to another file
    append_archive(path, more)
    with open_images(path) as opened:
        assert len(opened) == 9


def test_a_lock_through_a_link_is_that_of_the_file(tmp_path, path):
    (tmp_path / "link.smalti").symlink_to(path)
    with locked_elsewhere(tmp_path / "link.smalti"), pytest.raises(OutputError, match="another process"):
        drop_images(path, [0])


def _drop_until_done(path, times):
    for _ in range(times):
        while True:
            try:
                drop_images(path, [0])
                break
            except OutputError as error:
                assert "another process is changing it" in str(error)


def test_no_change_of_two_processes_is_lost(tmp_path):
    path = made(tmp_path / "b.smalti", 40)
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_drop_until_done, args=(path, 6)) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert [other.exitcode for other in others] == [0, 0]
    with open_images(path) as opened:
        assert len(opened) == 40 - 2 * 6


def test_another_thread_is_refused_too(path):
    refused = []

    def change():
        try:
            drop_images(path, [0])
        except OutputError as error:
            refused.append(error)

    with locked(path):
        other = threading.Thread(target=change)
        other.start()
        other.join()
        drop_images(path, [0])  # the thread that has the lock may go on
    assert len(refused) == 1
    with open_images(path) as opened:
        assert len(opened) == 5


def test_nothing_is_left_beside_the_archive(tmp_path, path):
    drop_images(path, [0])
    assert [found.name for found in tmp_path.iterdir()] == ["a.smalti"]

"""The threads that share work: how many are started, how errors pass through, and forked processes."""

import multiprocessing
import threading
import warnings

import numpy as np
import pytest

from helpers.made_up_archives import random_network, random_tokens, write
from smalti import threads as workers
from smalti.archive.read.reader import open_archive
from smalti.threads import for_each


@pytest.fixture(name="started")
def _started(monkeypatch):
    """A list of threads, in order of their start."""
    monkeypatch.setattr(workers, "_pools", {})
    found, start = [], threading.Thread.start

    def counted(thread):
        found.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", counted)
    return found


def test_requests_share_their_threads(tmp_path, started):
    """Before: each request started threads of its own, 22 here."""
    path = write(tmp_path / "a.smalti", random_tokens(60), random_network(), block_images=10)
    with open_archive(path, threads=3) as archive:
        first = archive[:]
        for _ in range(9):
            assert np.array_equal(archive[:], first)
    assert len(started) <= 2


def test_every_part_is_done_once(started):
    for threads in (1, 2, 7):
        done = []
        for_each(done.append, range(50), threads)
        assert sorted(done) == list(range(50))
    assert len(started) <= 1 + 6


def test_work_within_work_ends():
    done = []
    for_each(lambda outer: for_each(lambda inner: done.append((outer, inner)), range(5), 4), range(20), 8)
    assert sorted(done) == [(outer, inner) for outer in range(20) for inner in range(5)]


def test_the_first_error_is_raised_and_what_has_not_begun_is_left():
    begun, together = [], threading.Barrier(2)

    def work(number):
        begun.append(number)
        if number < 2:
            together.wait(30)
            raise ValueError(str(number))

    with pytest.raises(ValueError, match="0"):
        for_each(work, range(100), 2)
    assert sorted(begun) == [0, 1]


def _child(path, expected):
    with open_archive(path, threads=3) as archive:
        assert np.array_equal(archive[:], expected)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the system cannot fork")
def test_a_forked_process_makes_threads_of_its_own(tmp_path):
    path = write(tmp_path / "a.smalti", random_tokens(60), random_network(), block_images=10)
    with open_archive(path, threads=3) as archive:
        expected = archive[:]
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # Python warns of forks beside threads, which is the case here
            child = multiprocessing.get_context("fork").Process(target=_child, args=(path, expected))
            child.start()
        child.join(60)
        assert child.exitcode == 0

"""The threads that share work: how many are started, how errors pass through, and forked processes."""

import multiprocessing
import threading
import warnings

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

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


def blas_threads():
    return [library.num_threads for library in ThreadpoolController().select(user_api="blas").lib_controllers]


@pytest.fixture(name="two_blas_threads")
def _two_blas_threads():
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        if 2 not in blas_threads():
            pytest.skip("this BLAS has one thread")
        yield


def test_products_of_matrices_have_one_thread_within_work(two_blas_threads):
    before, seen = blas_threads(), []
    for threads in (1, 3):
        for_each(lambda part: seen.append(blas_threads()), range(4), threads)
        for_each(lambda part: for_each(lambda inner: seen.append(blas_threads()), range(2), 2), range(2), 2)
        assert blas_threads() == before
    assert set(map(tuple, seen)) == {(1,) * len(before)}


def test_work_of_any_thread_has_one_blas_thread(two_blas_threads):
    """threadpoolctl obeys the thread that came first, and no other one while that lives."""
    before, seen = blas_threads(), []
    for_each(lambda part: None, range(2), 1)

    def other():
        for_each(lambda part: seen.append(blas_threads()), range(2), 1)
        seen.append(blas_threads())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [[1] * len(before)] * 2 + [before]
    assert blas_threads() == before


def test_an_error_gives_blas_its_threads_back(two_blas_threads):
    before = blas_threads()

    def work(part):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        for_each(work, range(3), 2)
    assert blas_threads() == before


def test_a_process_forked_within_work_has_one_blas_thread_and_can_work(two_blas_threads):
    context, queue = multiprocessing.get_context("fork"), multiprocessing.get_context("fork").SimpleQueue()

    def child():
        done = []
        for_each(done.append, range(3), 2)
        queue.put(len(done))

    def work(part):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            process = context.Process(target=child)
            process.start()
        process.join(60)

    for_each(work, range(1), 1)
    assert queue.get() == 3

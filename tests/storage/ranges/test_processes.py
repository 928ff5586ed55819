"""Remote archives in forked and in new processes, and in threads."""

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from smalti.archive.read.reader import open_archive


def read_in_child(archive, numbers, queue):
    queue.put((os.getpid(), archive[numbers]))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("where", ["http", "s3"])
def test_workers_read_on(large, web, s3, method, where):
    url, options = (web.url + "large.smalti", None) if where == "http" else (s3.url, s3.options)
    context = multiprocessing.get_context(method)
    workers = 1 if method == "spawn" else 4 if where == "http" else 2
    with open_archive(url, storage_options=options) as archive:
        assert (archive[0] == large.pixels([0])[0]).all()  # the parent's connections are in use
        queue = context.Queue()
        jobs = [
            context.Process(target=read_in_child, args=(archive, [900 * k + 899, 50], queue), daemon=True)
            for k in range(workers)
        ]
        for job in jobs:
            job.start()
        assert (archive[[1500, 3000]] == large.pixels([1500, 3000])).all()
        found = dict(queue.get(timeout=60) for _ in jobs)
        for number, job in enumerate(jobs):
            job.join(60)
            assert job.exitcode == 0
            assert (found[job.pid] == large.pixels([900 * number + 899, 50])).all()
        assert (archive[[3500, 100]] == large.pixels([3500, 100])).all()  # and the parent's still work


def test_threads_share_a_remote_archive(large, web):
    with open_archive(web.url + "large.smalti", threads=2) as archive, ThreadPoolExecutor(8) as pool:
        numbers = list(range(0, 4000, 500))
        for number, image in zip(numbers, pool.map(archive.__getitem__, numbers), strict=True):
            assert (image == large.pixels([number])[0]).all()
        assert archive._file._fetched._runs == {}

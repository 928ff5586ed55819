"""Engines of one machine: this process, and a pool of processes that outlives the death of any of them.

Not `concurrent.futures`: its pool is broken for good once a process of it is killed.
"""

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import cast

import torch

from smalti.codec.bulk.making import Outcome, ShardMaker

__all__ = ["MOST_DEATHS", "make_here", "make_in_pool"]

MOST_DEATHS = 3
"""Workers that may die at a shard before it is given up: a shard may be what kills them, as by its need of memory."""


def make_here(plan: Path, shards: list[int], workers: int, *, strict: bool) -> Iterator[Outcome]:
    """The engine of this process alone; `workers` does not matter."""
    threads = torch.get_num_threads()
    maker = ShardMaker(plan, strict=strict)
    try:
        for number in shards:
            yield maker.attempt(number)
    finally:
        torch.set_num_threads(threads)


def make_in_pool(plan: Path, shards: list[int], workers: int, *, strict: bool) -> Iterator[Outcome]:
    """The engine of `workers` spawned processes; only numbers of shards and their records travel."""
    waiting = deque(shards)
    deaths: Counter[int] = Counter()
    pool: list[_Worker] = []
    try:
        with _one_thread_each():
            pool = [_Worker(plan, strict) for _ in range(min(workers, len(shards)))]
        while waiting or any(worker.shard is not None for worker in pool):
            for worker in pool:
                if worker.shard is None and waiting:
                    worker.give(waiting.popleft())
            ready = wait([worker.pipe for worker in pool if worker.shard is not None])
            for place, worker in enumerate(pool):
                if worker.pipe not in ready or worker.shard is None:
                    continue
                outcome, number = worker.outcome(), worker.shard
                if outcome is not None:
                    worker.shard = None
                    yield outcome
                    continue
                deaths[number] += 1
                if deaths[number] < MOST_DEATHS:
                    waiting.appendleft(number)
                else:
                    yield Outcome(number, None, f"{MOST_DEATHS} workers died at it, the last {worker.end()}")
                worker.stop()
                with _one_thread_each():
                    pool[place] = _Worker(plan, strict)
    finally:
        for worker in pool:
            worker.stop()


class _Worker:
    """A process and the shard it is at, or None."""

    def __init__(self, plan: Path, strict: bool) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would take the locks of PyTorch's threads along
        self.pipe, theirs = context.Pipe()
        self.shard: int | None = None
        self._process = context.Process(target=_serve, args=(theirs, plan, strict), daemon=True)
        self._process.start()
        theirs.close()  # so that the death of the process ends the pipe

    def give(self, number: int) -> None:
        """Have it make a shard."""
        self.shard = number
        with suppress(OSError):  # it is dead: the pipe is at its end, which `outcome` tells
            self.pipe.send(number)

    def outcome(self) -> Outcome | None:
        """What became of the shard; None if the process died."""
        try:
            return cast(Outcome, self.pipe.recv())
        except (EOFError, OSError):
            return None

    def end(self) -> str:
        """How the process ended, in words for a person."""
        self._process.join()
        code = self._process.exitcode or 0
        if code == -signal.SIGKILL:
            return "killed by signal 9, as the system does when memory runs out; take smaller shards or fewer workers"
        return f"killed by signal {-code}" if code < 0 else f"with exit code {code}"

    def stop(self) -> None:
        """End the process, wherever it is: a shard that is not whole leaves nothing."""
        self.pipe.close()
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, plan: Path, strict: bool) -> None:
    """Make the shards whose numbers come, until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that ends this one
    maker = ShardMaker(plan, strict=strict)
    with suppress(EOFError, OSError):
        while True:
            pipe.send(maker.attempt(pipe.recv()))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Have processes that start within compute with one thread each; a library reads this when it is loaded."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before

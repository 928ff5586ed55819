"""Engines of one machine: this process, and a pool of processes that outlives the death of any of them.

Not `concurrent.futures`: its pool is broken for good once a process of it is killed.

The engine on Ray: actors that hold the model. Numbers of shards and their records travel, never pixels.

Every machine of a cluster must see source, model, plan and folder of shards at the same paths.
"""

import logging
import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, cast

import torch

from smalti.codec.bulk.shards import Outcome, ShardMaker
from smalti.errors import MissingDependencyError, SmaltiError

__all__ = ["MOST_DEATHS", "make_here", "make_in_pool", "make_on_ray"]


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


# was sibling import


def make_on_ray(plan: Path, shards: list[int], workers: int, *, strict: bool) -> Iterator[Outcome]:
    """The engine of `workers` actors of one CPU each.

    Ray that is running already is used and left as it is (`ray.init` was called, or the environment names it in
    RAY_ADDRESS); else it is started on this machine, and ended. MissingDependencyError without Ray.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    try:
        import ray  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise MissingDependencyError.of("--engine ray", "ray", "ray") from error
    waiting = deque(shards)
    deaths: Counter[int] = Counter()
    busy: dict[Any, tuple[Any, int]] = {}  # by the reference to what will come of it: an actor and its shard
    with _running(min(workers, len(shards))):
        actor_class = ray.remote(num_cpus=1)(ShardMaker)

        def give(actor: Any) -> None:
            """Have an actor make the next shard; without one it makes room for actors that wait for a CPU."""
            if waiting:
                number = waiting.popleft()
                busy[actor.attempt.remote(number)] = actor, number
            else:
                ray.kill(actor)

        try:
            for _ in range(min(workers, len(shards))):
                give(actor_class.remote(plan, strict=strict))
            while busy:
                (ready, *_), _ = ray.wait(list(busy), num_returns=1)
                actor, number = busy.pop(ready)
                try:
                    outcome = ray.get(ready)
                except ray.exceptions.RayActorError as error:
                    deaths[number] += 1
                    if deaths[number] < MOST_DEATHS:
                        waiting.appendleft(number)
                    else:
                        outcome = Outcome(number, None, f"{MOST_DEATHS} actors died at it, the last: {_line(error)}")
                        yield outcome
                    ray.kill(actor)
                    if waiting:
                        give(actor_class.remote(plan, strict=strict))
                    continue
                give(actor)
                yield outcome
        finally:
            for actor, _ in busy.values():
                ray.kill(actor)


@contextmanager
def _running(cpus: int) -> Iterator[None]:
    """Ray: the one that is there, or one of our own for the time of the block."""
    import ray  # noqa: PLC0415 (optional)

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    ours: dict[str, Any] = {} if address else {"num_cpus": cpus, "include_dashboard": False}
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **ours)
    except (OSError, RuntimeError, ValueError) as error:  # among them that nobody answers at the address
        what = f"Ray at {address} cannot be reached" if address else "Ray cannot be started"
        raise SmaltiError(f"{what}: {_line(error)}; take --engine local, or see to it") from error
    try:
        yield
    finally:
        ray.shutdown()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]

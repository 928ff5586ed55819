"""Engines that make many shards: this process, a pool of local processes, or actors on Ray.

Only shard numbers and records travel between processes, never pixels. The local pool is not `concurrent.futures`, whose
pool stays broken once one of its processes is killed; this one replaces dead workers. On Ray, every machine of the
cluster must see the source, the model, the plan and the folder of shards at the same paths.
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
"""Workers that may die at one shard before it is abandoned: the shard itself may kill them, by its need of memory."""


def make_here(plan: Path, shards: list[int], workers: int, *, strict: bool) -> Iterator[Outcome]:
    """Make shards in this process; `workers` is ignored."""
    threads = torch.get_num_threads()
    maker = ShardMaker(plan, strict=strict)
    try:
        for number in shards:
            yield maker.attempt(number)
    finally:
        torch.set_num_threads(threads)


def make_in_pool(plan: Path, shards: list[int], workers: int, *, strict: bool) -> Iterator[Outcome]:
    """Make shards in `workers` spawned processes."""
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
            for index, worker in enumerate(pool):
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
                    pool[index] = _Worker(plan, strict)
    finally:
        for worker in pool:
            worker.stop()


class _Worker:
    """A process, and the shard that it makes now; None if it makes none."""

    def __init__(self, plan: Path, strict: bool) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy the locks of PyTorch's threads
        self.pipe, theirs = context.Pipe()
        self.shard: int | None = None
        self._process = context.Process(target=_serve, args=(theirs, plan, strict), daemon=True)
        self._process.start()
        theirs.close()  # so that the death of the process ends the pipe

    def give(self, number: int) -> None:
        """Start to make a shard."""
        self.shard = number
        with suppress(OSError):  # the process is dead; `outcome` reports it, by the end of the pipe
            self.pipe.send(number)

    def outcome(self) -> Outcome | None:
        """Return the outcome of the shard; None if the process died."""
        try:
            return cast(Outcome, self.pipe.recv())
        except (EOFError, OSError):
            return None

    def end(self) -> str:
        """Return how the process ended, in words."""
        self._process.join()
        code = self._process.exitcode or 0
        if code == -signal.SIGKILL:
            return "killed by signal 9, as the system does when memory runs out; take smaller shards or fewer workers"
        return f"killed by signal {-code}" if code < 0 else f"with exit code {code}"

    def stop(self) -> None:
        """End the process at any point: an incomplete shard leaves no file."""
        self.pipe.close()
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, plan: Path, strict: bool) -> None:
    """Make the shards whose numbers arrive, until the other side closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C, and ends this one
    maker = ShardMaker(plan, strict=strict)
    with suppress(EOFError, OSError):
        while True:
            pipe.send(maker.attempt(pipe.recv()))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Limit processes that start within the block to one thread each; libraries read the variable when they load."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def make_on_ray(plan: Path, shards: list[int], workers: int, *, strict: bool) -> Iterator[Outcome]:
    """Make shards in `workers` Ray actors with one CPU each.

    Uses Ray that already runs (`ray.init` was called, or RAY_ADDRESS names it) and leaves it running; else starts it on
    this machine, and stops it. Raises MissingDependencyError without Ray.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray sends no usage statistics
    try:
        import ray  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise MissingDependencyError.of("--engine ray", "ray", "ray") from error
    waiting = deque(shards)
    deaths: Counter[int] = Counter()
    busy: dict[Any, tuple[Any, int]] = {}  # from the reference to an outcome, to its actor and shard
    with _running(min(workers, len(shards))):
        actor_class = ray.remote(num_cpus=1)(ShardMaker)

        def give(actor: Any) -> None:
            """Give an actor the next shard; if none is left, end it, so that waiting actors get its CPU."""
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
    """Use Ray that already runs, or start it for the block."""
    import ray  # noqa: PLC0415 (optional)

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    ours: dict[str, Any] = {} if address else {"num_cpus": cpus, "include_dashboard": False}
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **ours)
    except (OSError, RuntimeError, ValueError) as error:  # also if nobody answers at the address
        fault = f"Ray at {address} cannot be reached" if address else "Ray cannot be started"
        raise SmaltiError(f"{fault}: {_line(error)}; use --engine local, or start Ray") from error
    try:
        yield
    finally:
        ray.shutdown()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]

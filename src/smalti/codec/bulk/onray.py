"""The engine on Ray: actors that hold the model. Numbers of shards and their records travel, never pixels.

Every machine of a cluster must see source, model, plan and folder of shards at the same paths.
"""

import logging
import os
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smalti.codec.bulk.making import Outcome, ShardMaker
from smalti.codec.bulk.pool import MOST_DEATHS
from smalti.errors import MissingDependencyError, SmaltiError

__all__ = ["make_on_ray"]


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

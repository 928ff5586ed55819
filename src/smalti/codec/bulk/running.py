"""Run a plan: make the shards that are missing, and report on all of them. Layer: part of `codec`."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from smalti.codec.bulk.engines import make_here, make_in_pool, make_on_ray
from smalti.codec.bulk.plan import Plan, read_plan
from smalti.codec.bulk.shards import Outcome, ShardEngine, ShardFolder, ShardRecord
from smalti.errors import UsageError
from smalti.images.batch import SkippedFile
from smalti.threads import default_threads
from smalti.training.observer import Observer, SilentObserver

__all__ = ["BulkReport", "Failure", "Task", "compress_plan", "run_plan"]


@dataclass(frozen=True)
class Task:
    """Part `number`, from 0, of `tasks` parts of a plan's shards, which are about equal.

    Raises UsageError if there is no such part.
    """

    number: int = 0
    tasks: int = 1

    def __post_init__(self) -> None:
        if self.tasks < 1 or not 0 <= self.number < self.tasks:
            raise UsageError(f"task {self.number}/{self.tasks}: tasks of n are numbered from 0/n to n-1/n")

    @classmethod
    def parse(cls, text: str) -> "Task":
        """Read "i/n"; UsageError, in one line, for anything else."""
        number, slash, tasks = text.partition("/")
        if not (slash and all(part.isascii() and part.isdigit() and len(part) <= 9 for part in (number, tasks))):
            raise UsageError(f"task {text!r} is not i/n, such as 0/8 for the first of eight")
        return cls(int(number), int(tasks))

    def shards(self, plan: Plan) -> range:
        """Return the numbers of its shards. They are consecutive, so that they share opened files of the source."""
        count = len(plan.shards)
        return range(count * self.number // self.tasks, count * (self.number + 1) // self.tasks)


@dataclass(frozen=True)
class Failure:
    """A shard that could not be made, and why."""

    shard: int
    reason: str


@dataclass(frozen=True)
class BulkReport:
    """The result of a run, for all shards or for those of its task.

    shards : their number
    done : shards that exist now
    made_now : shards that this run made
    images, archive_bytes : of the shards that exist
    skipped : (shard, file) for each entry that was skipped
    manifest : its path once all shards of the plan exist; else None
    """

    shards: int
    done: int
    made_now: int
    images: int
    archive_bytes: int
    skipped: tuple[tuple[int, SkippedFile], ...]
    failures: tuple[Failure, ...]
    manifest: Path | None
    seconds: float


def compress_plan(
    path: Path,
    observer: Observer | None = None,
    *,
    task: str | None = None,
    engine: Literal["local", "ray"] | None = None,
    workers: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> BulkReport:
    """Run a plan as a user asks for it. The rest is as for `run_plan`.

    observer : the stage is "shards"
    task : "i/n", made in this process; None for all shards
    engine : what runs the workers; None is "local"
    workers : None for all cores

    Raises UsageError for a task with an engine or workers, and what `run_plan` raises.
    """
    if task is not None and (engine is not None or workers is not None):
        raise UsageError("--task runs in this process alone: leave --engine and --workers out")
    observer = observer or SilentObserver()
    observer.on_stage("shards", stops=False)
    return run_plan(
        path,
        engine=make_here if task is not None else make_on_ray if engine == "ray" else make_in_pool,
        workers=default_threads(workers),
        task=None if task is None else Task.parse(task),
        strict=strict,
        overwrite=overwrite,
        progress=partial(observer.on_step, "shards"),
    )


def run_plan(
    path: Path,
    *,
    engine: ShardEngine = make_in_pool,
    workers: int = 1,
    task: Task | None = None,
    strict: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BulkReport:
    """Make the shards of a plan that are missing or damaged, and the manifest once all are there.

    engine : `make_in_pool`, `make_here`, `make_on_ray`; the bytes do not depend on it
    workers : shards made at a time
    task : which shards to make; None for all
    strict : fail a shard if an entry of it cannot be read, and do not skip the entry
    overwrite : replace shards of another plan in the same folder
    progress : called with the number of shards done, and of all shards

    Several runs of a plan may go on at once, on one machine or many. A script that calls this with the pool needs
    `if __name__ == "__main__":`, because the processes are spawned.

    Raises SmaltiError if there is no sound plan, OutputError, OutputExistsError, and what the engine raises. The report
    lists failures of single shards.
    """
    started = time.monotonic()
    plan = read_plan(path)
    folder = ShardFolder(plan)
    numbers = (task or Task()).shards(plan)
    folder.claim(overwrite=overwrite)
    outcomes: dict[int, Outcome] = {}
    progress(0, len(numbers))
    for outcome in _made(path, folder, numbers, engine, workers, strict):
        outcomes[outcome.shard] = outcome
        progress(len(outcomes), len(numbers))
    complete = folder.write_manifest()
    return _report([outcomes[number] for number in numbers], folder.manifest if complete else None, started)


def _made(
    path: Path, folder: ShardFolder, numbers: range, engine: ShardEngine, workers: int, strict: bool
) -> Iterator[Outcome]:
    """Yield the outcome of each shard.

    Records and file sizes show which shards are missing; these are made first. The workers then check every byte of the
    others. If no shard is missing, threads check them, so that no worker starts in vain.
    """
    present = [number for number in numbers if _is_present(folder, number, strict)]
    missing = sorted(set(numbers) - set(present))
    if not missing:
        with ThreadPoolExecutor(max(1, workers)) as pool:
            for number, record in zip(present, pool.map(folder.intact, present), strict=True):
                if record is None:
                    missing.append(number)
                else:
                    yield Outcome(number, record, made=False)
        present = []
    if missing:
        yield from engine(path, [*missing, *present], workers, strict=strict)


def _is_present(folder: ShardFolder, number: int, strict: bool) -> bool:
    record = folder.known(number)
    return record is not None and not (strict and record.skipped)


def _report(outcomes: Sequence[Outcome], manifest: Path | None, started: float) -> BulkReport:
    records: list[ShardRecord] = [outcome.record for outcome in outcomes if outcome.record is not None]
    return BulkReport(
        shards=len(outcomes),
        done=len(records),
        made_now=sum(outcome.record is not None and outcome.made for outcome in outcomes),
        images=sum(record.images for record in records),
        archive_bytes=sum(record.archive_bytes or 0 for record in records),
        skipped=tuple((record.shard, file) for record in records for file in record.skipped),
        failures=tuple(Failure(outcome.shard, outcome.reason or "") for outcome in outcomes if outcome.record is None),
        manifest=manifest,
        seconds=time.monotonic() - started,
    )

"""Doing what is missing of a plan, and telling what there is."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from smalti.codec.bulk.engines import make_in_pool
from smalti.codec.bulk.plan import Plan, read_plan
from smalti.codec.bulk.shards import Outcome, ShardEngine, ShardFolder, ShardRecord
from smalti.errors import UsageError
from smalti.images.batch import SkippedFile

__all__ = ["BulkReport", "Failure", "Task", "run_plan"]


@dataclass(frozen=True)
class Task:
    """Part `number`, from 0, of `tasks` parts of a plan's shards, of which each has as many, as far as it goes.

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
        """The numbers of its shards: they follow each other, so that they share what is opened of the source."""
        count = len(plan.shards)
        return range(count * self.number // self.tasks, count * (self.number + 1) // self.tasks)


@dataclass(frozen=True)
class Failure:
    """A shard that could not be made, and why."""

    shard: int
    reason: str


@dataclass(frozen=True)
class BulkReport:
    """What a run found and made, of all shards or of those of its task.

    shards : how many it had to see to    done : which of them are there now
    made_now : made by this run, the others were there
    images, archive_bytes : of those that are there
    skipped : what was passed over in them, by the number of the shard
    manifest : where it is, once all shards of the plan are there; else None
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
    workers : how many shards are made at a time
    task : which of the shards are to be made; None for all
    strict : whether entries that would be passed over make a shard fail
    overwrite : whether shards of another plan, which lie in the same folder, may be replaced
    progress : called with the shards that are done, and all

    Several runs of a plan at once, on one machine or many, do not disturb each other. A script that calls this with
    the pool needs `if __name__ == "__main__":`, because its processes are spawned.

    Raises SmaltiError if there is no sound plan, OutputError, OutputExistsError, what the engine raises. What goes
    wrong with a shard is in the report.
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
    """Yield what becomes of each shard.

    By record and size alone it is known which shards are missing; these are made first. Whether every byte of the
    others is as it was written, the workers find out afterwards. If none is missing, threads do, and no worker starts
    that is not needed.
    """
    there = [number for number in numbers if _is_there(folder, number, strict)]
    left = sorted(set(numbers) - set(there))
    if not left:
        with ThreadPoolExecutor(max(1, workers)) as pool:
            for number, record in zip(there, pool.map(folder.intact, there), strict=True):
                if record is None:
                    left.append(number)
                else:
                    yield Outcome(number, record, made=False)
        there = []
    if left:
        yield from engine(path, [*left, *there], workers, strict=strict)


def _is_there(folder: ShardFolder, number: int, strict: bool) -> bool:
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

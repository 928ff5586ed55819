"""Making one shard: the worker that every engine has, with the model and the part of the source it is at."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from smalti.codec.bulk.plan import Part, group_of, read_plan
from smalti.codec.bulk.shards import ShardFolder, ShardRecord
from smalti.codec.pack import CompressReport, pack
from smalti.errors import ModelError, SmaltiError, SourceError
from smalti.images.batch import ImageBatch, SkippedFile
from smalti.images.source import ImageSource, refuse_skipped
from smalti.sources.entry_range import Entries, listing_sha256
from smalti.storage.location import redacted
from smalti.training.fitted import FittedModel
from smalti.training.kinds import load_model

__all__ = ["Engine", "Outcome", "ShardMaker"]


@dataclass(frozen=True)
class Outcome:
    """What became of a shard: its record, or in one line why there is none. made : whether it was made just now"""

    shard: int
    record: ShardRecord | None
    reason: str | None = None
    made: bool = True


class Engine(Protocol):
    """Makes shards of a plan. A shard that cannot be made leaves the others; a worker that dies is replaced."""

    def __call__(self, plan: Path, shards: list[int], workers: int, *, strict: bool) -> Iterator[Outcome]:
        """Yield what became of each shard, once, as it is done. workers : how many are made at a time"""


class ShardMaker:
    """Makes shards, one after the other. The model is loaded for the first; a part stays open while it serves.

    strict : whether entries that would be passed over are an error

    PyTorch is held to one thread: how the sums of a convolution are rounded may depend on the number of threads, and
    with them a token; and workers would fight for cores.
    """

    def __init__(self, plan: Path, *, strict: bool) -> None:
        self._plan = read_plan(plan)
        self._folder = ShardFolder(self._plan)
        self._strict = strict
        self._loaded: FittedModel | None = None
        self._opened: tuple[int, Entries] | None = None

    def attempt(self, number: int) -> Outcome:
        """Make a shard unless it is there. What goes wrong is in the outcome, so that others go on."""
        try:
            found = self._folder.intact(number)
            record = found or self._make(number)
            if self._strict:
                refuse_skipped(f"shard {number}", record.skipped)
        except SmaltiError as error:
            return Outcome(number, None, str(error))
        except Exception as error:  # noqa: BLE001 (the report names it, and the exit code is 1)
            return Outcome(number, None, f"a fault of smalti: {type(error).__name__}: {error}; please report it")
        return Outcome(number, record, made=found is None)

    def _make(self, number: int) -> ShardRecord:
        torch.set_num_threads(1)
        shard = self._plan.shards[number]
        source, skipped = self._entries(shard.part).stretch(shard.start, shard.stop)
        watched = None if source is None else _Watched(source)
        report = None if watched is None else self._pack(number, watched)
        if report is None or watched is None:
            skipped = skipped if watched is None else tuple(watched.skipped)
            if self._strict:
                refuse_skipped(f"shard {number}", skipped)
            self._folder.drop(number)
            record = ShardRecord(number, self._folder.plan_sha256, 0, None, None, None, None, skipped)
        else:
            digest = self._folder.archive_sha256(number)
            size, images = report.info.archive_bytes, report.info.images
            shape, dtype = watched.image_shape, str(watched.dtype)
            record = ShardRecord(number, self._folder.plan_sha256, images, size, digest, shape, dtype, report.skipped)
        self._folder.note(record)
        return record

    def _pack(self, number: int, source: "_Watched") -> CompressReport | None:
        """Write the archive of a shard; None if no image of it can be read, though headers can."""
        options = replace(self._plan.options, strict=self._strict, overwrite=True, threads=1)
        try:
            out, model = self._folder.archive(number), self._model
            return pack(source, out, model, self._plan.request, options, resumable=False)
        except SourceError:
            if source.was_read and not source.images:
                return None
            raise

    @property
    def _model(self) -> FittedModel:
        if self._loaded is None:
            path = Path(self._plan.model)
            model = load_model(path)
            if hashlib.sha256(path.read_bytes()).hexdigest() != self._plan.model_sha256:
                raise ModelError(
                    f"{path}: is not the model of the plan: its SHA-256 is another; bring it back, or plan anew"
                )
            self._loaded = model
        return self._loaded

    def _entries(self, number: int) -> Entries:
        """The entries of a part; SourceError if they are not those that were planned."""
        if self._opened is None or self._opened[0] != number:
            self._opened = None  # the old one is let go first
            part = self._plan.parts[number]
            entries = Entries(self._plan.source, part.files, group=group_of(self._model))
            if len(entries) != part.entries or listing_sha256(self._plan.source, part.files) != part.listing_sha256:
                raise SourceError(
                    f"{redacted(self._plan.source)}: is not what was planned: {_changed(part, len(entries))}; bring it "
                    "back, or plan anew"
                )
            self._opened = number, entries
        return self._opened[1]


def _changed(part: Part, entries: int) -> str:
    if entries != part.entries:
        return f"{entries:,} entries in place of {part.entries:,}"
    return "files have other names or sizes"


class _Watched:
    """A source that knows whether it was read to its end, and how many images that gave."""

    def __init__(self, source: ImageSource) -> None:
        self.description, self.image_shape, self.dtype = source.description, source.image_shape, source.dtype
        self.class_names = source.class_names
        self.was_read = False
        self.images = 0
        self._source = source

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """See ImageSource."""
        return tuple(self._source.skipped)

    def __len__(self) -> int:
        return len(self._source)

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """See ImageSource."""
        for batch in self._source.batches(batch_images, start, stop):
            self.images += len(batch)
            yield batch
        self.was_read = True

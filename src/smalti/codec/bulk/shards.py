"""The folder of shards, and the worker that makes one shard.

The folder holds the archives, a record of each, a copy of the plan, and finally the manifest. Every engine runs
`ShardMaker`s. Layer: part of `codec`.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import torch

from smalti.archive.collection.directory import MANIFEST_SUFFIX, Listed, MemberFacts, pack_manifest
from smalti.archive.read.reader import open_archive
from smalti.codec.bulk.plan import Plan, SourcePart, group_of, read_plan
from smalti.codec.pack import CompressReport, pack, pack_any_size
from smalti.errors import ModelError, OutputError, OutputExistsError, SmaltiError, SourceError
from smalti.images.batch import ImageBatch, SkippedFile
from smalti.images.source import ImageSource, SizedSource, refuse_skipped
from smalti.sources.entry_range import Entries, listing_sha256
from smalti.storage.atomic import atomic_file, writing
from smalti.storage.canonical import canonical_json, parse_canonical_json
from smalti.storage.location import redacted
from smalti.training.kinds import load_model
from smalti.training.training_kind import AnyModel, AnySource, FittedModel, SizedModel

__all__ = ["Outcome", "ShardEngine", "ShardFolder", "ShardMaker", "ShardRecord"]


_PLAN = "plan.json"


@dataclass(frozen=True)
class ShardRecord:
    """The facts of a shard that was made; they do not depend on the machine or the time.

    images : 0 if no entry could be read; then there is no archive, and the next four are None
    skipped : entries that could not be read
    any_size : whether images have any sizes; `image_shape` has the largest sides then
    """

    shard: int
    plan_sha256: str
    images: int
    archive_bytes: int | None
    archive_sha256: str | None
    image_shape: tuple[int, int, int] | None
    dtype: str | None
    skipped: tuple[SkippedFile, ...]
    any_size: bool = False

    def to_bytes(self) -> bytes:
        """Return canonical JSON; `from_bytes` is the inverse. `any_size` is there if it is true."""
        plain = {name: value for name, value in asdict(self).items() if name != "any_size" or value}
        return canonical_json(plain) + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> "ShardRecord":
        """Parse; ValueError if the bytes are no record."""
        found: dict[str, Any] = parse_canonical_json(data.removesuffix(b"\n"), "record")
        try:
            shape = found.pop("image_shape")
            skipped = tuple(SkippedFile(**file) for file in found.pop("skipped"))
            return cls(image_shape=None if shape is None else tuple(shape), skipped=skipped, **found)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not a record: {error}") from error


class ShardFolder:
    """The folder of a plan's shards. `claim` makes it; nothing is written before."""

    def __init__(self, plan: Plan) -> None:
        self.path = Path(plan.out_folder)
        self.plan_sha256 = hashlib.sha256(plan.to_bytes()).hexdigest()
        self.manifest = self.path / f"manifest{MANIFEST_SUFFIX}"
        self._plan = plan
        self._digits = max(5, len(str(len(plan.shards) - 1)))

    def archive(self, number: int) -> Path:
        """Return the path of the archive of a shard."""
        return self.path / f"shard-{number:0{self._digits}}.smalti"

    def record(self, number: int) -> Path:
        """Return the path of the record of a shard."""
        return self.path / f"shard-{number:0{self._digits}}.json"

    def claim(self, *, overwrite: bool = False) -> None:
        """Make the folder, and write the plan into it, which owns the shards.

        overwrite : replace shards of another plan; without it they are an OutputExistsError

        Raises OutputError if it cannot be written.
        """
        mark, plan = self.path / _PLAN, self._plan.to_bytes()
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            if mark.exists() and mark.read_bytes() == plan:
                return
            if not overwrite and (mark.exists() or any(self.path.glob("shard-*"))):
                raise OutputExistsError(
                    f"{self.path}: holds shards of another plan; plan for another folder, or replace them (-f)"
                )
            self.manifest.unlink(missing_ok=True)  # it lists what will be replaced
        with atomic_file(mark, overwrite=True) as file, writing(mark):
            file.write(plan)

    def known(self, number: int) -> ShardRecord | None:
        """Return the record of a shard of this plan whose archive has the right size; None if it has to be made."""
        try:
            record = ShardRecord.from_bytes(self.record(number).read_bytes())
            if (record.plan_sha256, record.shard) != (self.plan_sha256, number):
                return None
            present = record.images == 0 or self.archive(number).stat().st_size == record.archive_bytes
        except (FileNotFoundError, ValueError):  # not made yet, or the record is damaged
            return None
        except OSError as error:
            raise OutputError(f"{error.filename}: cannot be read: {error.strerror or error}; check it") from error
        return record if present else None

    def intact(self, number: int) -> ShardRecord | None:
        """Return the record of a shard of this plan whose archive has the right SHA-256; None if it has to be made."""
        record = self.known(number)
        if record is None or record.images == 0:
            return record
        with suppress(FileNotFoundError):  # removed meanwhile
            return record if self.archive_sha256(number) == record.archive_sha256 else None
        return None

    def archive_sha256(self, number: int) -> str:
        """Return the SHA-256 of the archive of a shard, in hexadecimal."""
        with self.archive(number).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def write_record(self, record: ShardRecord) -> None:
        """Write the record of a shard; its archive must be complete."""
        path = self.record(record.shard)
        with atomic_file(path, overwrite=True) as file, writing(path):
            file.write(record.to_bytes())

    def drop(self, number: int) -> None:
        """Remove the archive of a shard that has no image."""
        with writing(self.archive(number)), suppress(FileNotFoundError):
            self.archive(number).unlink()

    def write_manifest(self) -> bool:
        """Write the manifest if all shards are made, always the same bytes. Returns whether it exists."""
        listed = []
        for record in self._records():
            if record is None:
                return False
            if record.images:
                assert record.archive_bytes is not None and record.image_shape is not None and record.dtype is not None
                facts = MemberFacts(record.images, record.image_shape, record.dtype, record.any_size)
                listed.append(Listed(self.archive(record.shard).name, record.archive_bytes, facts))
        if not listed:
            return False
        data = pack_manifest(listed)
        if not (self.manifest.exists() and self.manifest.read_bytes() == data):
            with atomic_file(self.manifest, overwrite=True) as file, writing(self.manifest):
                file.write(data)
        return True

    def _records(self) -> Iterator[ShardRecord | None]:
        for number in range(len(self._plan.shards)):
            yield self.known(number)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one shard: its record, or in one line the reason for none. made : whether it was made just now"""

    shard: int
    record: ShardRecord | None
    reason: str | None = None
    made: bool = True


class ShardEngine(Protocol):
    """Makes shards of a plan. A failed shard does not stop the others; a worker that dies is replaced."""

    def __call__(self, plan: Path, shards: list[int], workers: int, *, strict: bool) -> Iterator[Outcome]:
        """Yield the outcome of each shard once, in order of completion. workers : shards made at a time"""


class ShardMaker:
    """Makes shards one by one. Loads the model for the first shard, and keeps a part of the source open between shards.

    strict : fail for entries that cannot be read, and do not skip them

    PyTorch gets one thread: the rounding of a convolution's sums may depend on the number of threads, and a token on
    the rounding. Workers would also compete for cores.
    """

    def __init__(self, plan: Path, *, strict: bool) -> None:
        self._plan = read_plan(plan)
        self._folder = ShardFolder(self._plan)
        self._strict = strict
        self._loaded: AnyModel | None = None
        self._opened: tuple[int, Entries] | None = None

    def attempt(self, number: int) -> Outcome:
        """Make a shard unless it exists. Errors are put in the outcome, so that other shards go on."""
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
        source, skipped = self._entries(shard.part).entry_range(shard.start, shard.stop)
        counted = None if source is None else _counted(source)
        report = None if counted is None else self._pack(number, counted)
        if report is None or counted is None:
            skipped = skipped if counted is None else tuple(counted.skipped)
            if self._strict:
                refuse_skipped(f"shard {number}", skipped)
            self._folder.drop(number)
            record = ShardRecord(number, self._folder.plan_sha256, 0, None, None, None, None, skipped)
        else:
            digest = self._folder.archive_sha256(number)
            size, images = report.info.archive_bytes, report.info.images
            with open_archive(self._folder.archive(number)) as archive:
                facts = MemberFacts.of(archive.sections.header)
            record = ShardRecord(
                number,
                self._folder.plan_sha256,
                images,
                size,
                digest,
                facts.image_shape,
                facts.dtype,
                report.skipped,
                facts.any_size,
            )
        self._folder.write_record(record)
        return record

    def _pack(self, number: int, source: "_CountedShape | _CountedSizes") -> CompressReport | None:
        """Write the archive of a shard; None if its headers can be read but none of its images."""
        options = replace(self._plan.options, strict=self._strict, overwrite=True, threads=1)
        try:
            out, model, request = self._folder.archive(number), self._model, self._plan.request
            if isinstance(source, _CountedSizes):
                return pack_any_size(source, out, cast(SizedModel, model), request, options, resumable=False)
            return pack(source, out, cast(FittedModel, model), request, options, resumable=False)
        except SourceError:
            if source.was_read and not source.images:
                return None
            raise

    @property
    def _model(self) -> AnyModel:
        if self._loaded is None:
            path = Path(self._plan.model)
            model = load_model(path)
            if hashlib.sha256(path.read_bytes()).hexdigest() != self._plan.model_sha256:
                raise ModelError(
                    f"{path}: is not the model of the plan: its SHA-256 differs; restore it, or make a new plan"
                )
            self._loaded = model
        return self._loaded

    def _entries(self, number: int) -> Entries:
        """Return the entries of a part; SourceError if they changed since the plan was made."""
        if self._opened is None or self._opened[0] != number:
            self._opened = None  # close the old part first
            part = self._plan.parts[number]
            entries = Entries(self._plan.source, part.files, group=group_of(self._model))
            if len(entries) != part.entries or listing_sha256(self._plan.source, part.files) != part.listing_sha256:
                raise SourceError(
                    f"{redacted(self._plan.source)}: changed since the plan was made: {_changed(part, len(entries))}; "
                    "restore it, or make a new plan"
                )
            self._opened = number, entries
        return self._opened[1]


def _changed(part: SourcePart, entries: int) -> str:
    if entries != part.entries:
        return f"{entries:,} entries, not {part.entries:,}"
    return "files have other names or sizes"


class _CountedSource:
    """A source that counts the images read from it, and knows whether it was read to its end."""

    def __init__(self, source: AnySource) -> None:
        self.description, self.dtype, self.class_names = source.description, source.dtype, source.class_names
        self.was_read = False
        self.images = 0
        self._source = source

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """Return the entries that could not be read so far."""
        return tuple(self._source.skipped)

    def __len__(self) -> int:
        return len(self._source)

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield the images [start, stop) in order."""
        for batch in self._source.batches(batch_images, start, stop):
            self.images += len(batch)
            yield batch
        self.was_read = True


class _CountedShape(_CountedSource):
    """Counts images of one shape."""

    def __init__(self, source: ImageSource) -> None:
        super().__init__(source)
        self.image_shape = source.image_shape


class _CountedSizes(_CountedSource):
    """Counts images of any sizes."""

    def __init__(self, source: SizedSource) -> None:
        super().__init__(source)
        self.channels, self.sizes = source.channels, source.sizes


def _counted(source: AnySource) -> _CountedShape | _CountedSizes:
    return _CountedSizes(source) if isinstance(source, SizedSource) else _CountedShape(source)

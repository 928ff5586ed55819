"""What lies in the folder of shards: archives, a record of each, the plan they belong to, and at last the manifest."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smalti.archive.collection.directory import MANIFEST_SUFFIX, Listed, MemberFacts, pack_manifest
from smalti.codec.bulk.plan import Plan
from smalti.errors import OutputError, OutputExistsError
from smalti.images.batch import SkippedFile
from smalti.storage.atomic import atomic_file, writing
from smalti.storage.canonical import canonical_json, parse_canonical_json

__all__ = ["ShardFolder", "ShardRecord"]

_PLAN = "plan.json"


@dataclass(frozen=True)
class ShardRecord:
    """What is known of a shard that was made; nothing in it tells by whom or when.

    images : 0 if no entry of it could be read: then there is no archive, and the next four are None
    skipped : what was passed over in its entries
    """

    shard: int
    plan_sha256: str
    images: int
    archive_bytes: int | None
    archive_sha256: str | None
    image_shape: tuple[int, int, int] | None
    dtype: str | None
    skipped: tuple[SkippedFile, ...]

    def to_bytes(self) -> bytes:
        """Canonical JSON; `from_bytes` is the inverse."""
        return canonical_json(asdict(self)) + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> "ShardRecord":
        """Parse; ValueError if it is no record."""
        found: dict[str, Any] = parse_canonical_json(data.removesuffix(b"\n"), "record")
        try:
            shape = found.pop("image_shape")
            skipped = tuple(SkippedFile(**file) for file in found.pop("skipped"))
            return cls(image_shape=None if shape is None else tuple(shape), skipped=skipped, **found)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not a record: {error}") from error


class ShardFolder:
    """The folder of a plan's shards. Nothing is touched before `claim`."""

    def __init__(self, plan: Plan) -> None:
        self.path = Path(plan.out_folder)
        self.plan_sha256 = hashlib.sha256(plan.to_bytes()).hexdigest()
        self.manifest = self.path / f"manifest{MANIFEST_SUFFIX}"
        self._plan = plan
        self._digits = max(5, len(str(len(plan.shards) - 1)))

    def archive(self, number: int) -> Path:
        """Where the archive of a shard lies."""
        return self.path / f"shard-{number:0{self._digits}}.smalti"

    def record(self, number: int) -> Path:
        """Where its record lies."""
        return self.path / f"shard-{number:0{self._digits}}.json"

    def claim(self, *, overwrite: bool = False) -> None:
        """Make the folder, and note in it whose shards these are.

        overwrite : whether shards of another plan may be replaced; else they are an OutputExistsError

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
        """The record of a shard if it is of this plan and its archive has the size; None if it has to be made."""
        try:
            record = ShardRecord.from_bytes(self.record(number).read_bytes())
            if (record.plan_sha256, record.shard) != (self.plan_sha256, number):
                return None
            sound = record.images == 0 or self.archive(number).stat().st_size == record.archive_bytes
        except (FileNotFoundError, ValueError):  # not made yet, or the record is damaged
            return None
        except OSError as error:
            raise OutputError(f"{error.filename}: cannot be read: {error.strerror or error}; check it") from error
        return record if sound else None

    def intact(self, number: int) -> ShardRecord | None:
        """The same, if every byte of the archive is the one that was written."""
        record = self.known(number)
        if record is None or record.images == 0:
            return record
        with suppress(FileNotFoundError):  # taken away meanwhile
            return record if self.archive_sha256(number) == record.archive_sha256 else None
        return None

    def archive_sha256(self, number: int) -> str:
        """Of the whole file."""
        with self.archive(number).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def note(self, record: ShardRecord) -> None:
        """Write the record of a shard, after its archive."""
        path = self.record(record.shard)
        with atomic_file(path, overwrite=True) as file, writing(path):
            file.write(record.to_bytes())

    def drop(self, number: int) -> None:
        """Take away the archive of a shard that turns out to have no image."""
        with writing(self.archive(number)), suppress(FileNotFoundError):
            self.archive(number).unlink()

    def write_manifest(self) -> bool:
        """Write the manifest if all shards are known, the same bytes whoever does it. Returns whether it is there."""
        listed = []
        for record in self._records():
            if record is None:
                return False
            if record.images:
                assert record.archive_bytes is not None and record.image_shape is not None and record.dtype is not None
                facts = MemberFacts(record.images, record.image_shape, record.dtype)
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

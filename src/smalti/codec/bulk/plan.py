"""The plan of bulk compression: a small file that fixes the shards and every setting that shapes their bytes.

Makes, writes and reads plans; makes no shard. Layer: part of `codec`.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, cast

from smalti.codec.request import FitRequest, PackOptions
from smalti.errors import DamagedArchiveError, ModelError, SmaltiError, SourceError, UsageError
from smalti.images.batch import INT16, UINT8, UINT16
from smalti.sources.entry_range import Entries, listing_sha256, member_files, source_kind
from smalti.sources.local_files import local_files
from smalti.sources.records.record import PixelKind, ShapeGroup
from smalti.sources.spec import absolute_spec
from smalti.storage.atomic import atomic_file, check_output, refuse_input, writing
from smalti.storage.canonical import canonical_json, parse_canonical_json
from smalti.storage.location import redacted
from smalti.training.kinds import load_model, takes_any_size
from smalti.training.observer import Observer, SilentObserver
from smalti.training.training_kind import AnyModel, FittedModel, takes_signed
from smalti.version import __version__

__all__ = ["Plan", "Shard", "SourcePart", "group_of", "make_plan", "plan_file", "read_plan", "write_plan"]

_FORMAT = "smalti-plan"
_VERSION = 1
_MOST_SHARDS = 1_000_000
_TEXTS = ("source", "kind", "model", "model_sha256", "out_folder", "smalti")


@dataclass(frozen=True)
class SourcePart:
    """The part of a source that a worker opens at once: the whole source, or some of its files.

    files : as `member_files` names them; none for the whole source
    entries : their number when the plan was made
    listing_sha256 : of names and sizes, as `smalti.sources.entry_range` computes it
    """

    files: tuple[str, ...]
    entries: int
    listing_sha256: str


@dataclass(frozen=True)
class Shard:
    """Entries [start, stop) of a part. part : its index"""

    part: int
    start: int
    stop: int


@dataclass(frozen=True)
class Plan:
    """The shards, and every setting that shapes their bytes.

    source : an absolute path, a URL or the name of a set
    kind : as `source_kind` returns it
    model, out_folder : absolute paths
    model_sha256 : of the model file
    request, options : how every shard is packed; the file calls them `settings`
    smalti : the release that made the plan, and must make the shards
    """

    source: str
    kind: str
    model: str
    model_sha256: str
    out_folder: str
    request: FitRequest
    options: PackOptions
    parts: tuple[SourcePart, ...]
    shards: tuple[Shard, ...]
    smalti: str = __version__

    def __post_init__(self) -> None:
        at = Shard(0, 0, 0)
        for shard in self.shards:
            follows = shard.part == at.part and shard.start == at.stop
            begins = shard.part == at.part + 1 and shard.start == 0 and at.stop == self.parts[at.part].entries
            if not (follows or begins) or not 0 <= shard.part < len(self.parts):
                raise ValueError(f"shard {shard} does not follow {at}")
            if not shard.start < shard.stop <= self.parts[shard.part].entries:
                raise ValueError(f"shard {shard} lies outside its part")
            at = shard
        if at.part != len(self.parts) - 1 or at.stop != self.parts[-1].entries:
            raise ValueError("entries that are in no shard")

    @property
    def entries(self) -> int:
        """Entries of all parts."""
        return sum(part.entries for part in self.parts)

    def to_bytes(self) -> bytes:
        """Return canonical JSON; `from_bytes` is the inverse."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in _TEXTS}
        plain |= {"format": _FORMAT, "version": _VERSION, "parts": [asdict(part) for part in self.parts]}
        plain["shards"] = [[shard.part, shard.start, shard.stop] for shard in self.shards]
        plain["settings"] = {**self.options.to_json(), **self.request.to_json(), "effort": self.request.effort}
        return canonical_json(plain) + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> "Plan":
        """Parse and check; ValueError if the bytes are no plan."""
        try:
            found: dict[str, Any] = parse_canonical_json(data.removesuffix(b"\n"), "plan")
        except DamagedArchiveError as error:
            raise ValueError("not canonical JSON") from error
        known = {*_TEXTS, "format", "version", "settings", "parts", "shards"}
        if not isinstance(found, dict) or found.get("format") != _FORMAT:
            raise ValueError("it does not say that it is a plan")
        if found.get("version") != _VERSION or set(found) != known:
            raise ValueError(f"of version {found.get('version')}; this release reads version {_VERSION}")
        if not all(isinstance(found[name], str) for name in _TEXTS):
            raise ValueError("a field is of the wrong type")
        try:
            of_options = {field.name for field in fields(PackOptions)}
            settings = dict(found["settings"])
            options = {name: settings.pop(name) for name in of_options & settings.keys()}
            return cls(
                request=FitRequest.from_json(settings),
                options=PackOptions.from_json(options),
                parts=tuple(
                    SourcePart(tuple(part["files"]), part["entries"], part["listing_sha256"]) for part in found["parts"]
                ),
                shards=tuple(Shard(*shard) for shard in found["shards"]),
                **{name: found[name] for name in _TEXTS},
            )
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"a field is missing or of the wrong type: {error}") from error


def plan_file(
    source: str,
    out: Path,
    model: Path | None,
    shard_images: int,
    out_folder: Path | None = None,
    request: FitRequest | None = None,
    options: PackOptions | None = None,
    observer: Observer | None = None,
    *,
    by_file: bool = False,
    overwrite: bool = False,
) -> Plan:
    """Make a plan and write it to the file `out`.

    out_folder : where the shards go; None for OUT.shards
    observer : the stage is "count". It is warned if the plan holds a secret of the source's URL

    The rest is as for `make_plan`. Raises what `make_plan` and `write_plan` raise, and UsageError without a model or if
    `out` is a file that is read.
    """
    observer = observer or SilentObserver()
    check_output(out, overwrite)
    if model is None:
        raise UsageError(
            "a plan needs a model for all shards: fit one on a sample (smalti fit SAMPLE -o MODEL), give --model MODEL"
        )
    refuse_input(out, chain([model], local_files(source)))
    observer.on_stage("count", stops=False)
    plan = make_plan(
        source,
        model,
        out_folder or out.with_name(f"{out.name}.shards"),
        shard_images,
        request,
        options,
        by_file=by_file,
        report=observer.on_message,
        progress=partial(observer.on_step, "count"),
    )
    write_plan(plan, out, overwrite=overwrite)
    if redacted(plan.source) != plan.source:
        observer.on_warning(f"{out}: holds the address of the images as you gave it, with what may be secret in it")
    files = 0 if by_file else len(member_files(plan.source))
    if files > 1:
        observer.on_message(f"every worker will open all {files:,} files; with --by-file, those of its shards alone")
    return plan


def make_plan(
    source: str,
    model: Path,
    out_folder: Path,
    shard_images: int,
    request: FitRequest | None = None,
    options: PackOptions | None = None,
    *,
    by_file: bool = False,
    report: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Plan:
    """Choose the borders of shards. Reads names, sizes and tables of contents; decodes no pixel.

    shard_images : entries of a shard; the last may have fewer
    request, options : how every shard is packed
    by_file : put borders where files end, as far as `shard_images` allows, so that a worker opens only the files of its
        shard; for a folder or a pattern of TAR, TFRecord or Parquet files
    report : called with a line for each step of a download
    progress : called with the number of files counted, and of all files

    Raises what opening the source and loading the model raise, and UsageError for impossible settings.
    """
    if shard_images < 1:
        raise UsageError(f"shards of {shard_images} images; give at least 1")
    request, options = request or FitRequest(), options or PackOptions()
    group = group_of(_loaded(model, request))
    spec = absolute_spec(source)
    kind = source_kind(spec)
    if by_file:
        parts = tuple(_parts_by_file(spec, shard_images, group, progress))
    else:
        opened = Entries(spec, report=report, group=group)
        if not len(opened):
            raise SourceError(f"{redacted(source)}: nothing in it is of the model's shape; fit a model on such images")
        parts = (SourcePart((), len(opened), listing_sha256(spec)),)
    shards = tuple(
        Shard(number, start, stop)
        for number, part in enumerate(parts)
        for start, stop in _cut(part.entries, shard_images, even=by_file)
    )
    if len(shards) > _MOST_SHARDS:
        raise UsageError(f"{len(shards):,} shards are more than {_MOST_SHARDS:,}; take more images in each")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    model_path, shards_path = map(os.path.abspath, (model, out_folder))  # links stay
    return Plan(spec, kind, model_path, digest, shards_path, request, options, parts, shards)


def read_plan(path: Path) -> Plan:
    """Read a plan; SmaltiError if it is missing, is no plan, or is from another release."""
    try:
        plan = Plan.from_bytes(path.read_bytes())
    except OSError as error:
        raise SmaltiError(f"{path}: cannot be read: {error.strerror or error}; make a plan with smalti plan") from error
    except ValueError as error:
        raise SmaltiError(f"{path}: is no sound plan ({error}); make one with smalti plan") from error
    if plan.smalti != __version__:
        raise SmaltiError(
            f"{path}: planned by smalti {plan.smalti}, this is {__version__}: their bytes may differ; use that release "
            "for all shards, or plan anew"
        )
    return plan


def write_plan(plan: Plan, path: Path, *, overwrite: bool = False) -> None:
    """Write a plan, whole or not at all. Raises OutputExistsError, OutputError."""
    with atomic_file(path, overwrite=overwrite) as file, writing(path):
        file.write(plan.to_bytes())


def group_of(model: AnyModel) -> ShapeGroup | PixelKind:
    """Return the shape and dtype of the images that a model takes; the channels and dtype if they have any sizes."""
    dtype = INT16 if takes_signed(model) else UINT8 if model.scale.dtype == "uint8" else UINT16
    return (model.channels, dtype) if takes_any_size(model) else (cast(FittedModel, model).image_shape, dtype)


def _loaded(model: Path, request: FitRequest) -> AnyModel:
    if not model.exists():
        raise ModelError(
            f"there is no model {model}; fit one on a sample of the images first: smalti fit SAMPLE -o {model}"
        )
    loaded = load_model(model)
    request.check_for(loaded)
    loaded.check_request(request.encoding())
    return loaded


def _parts_by_file(
    spec: str, shard_images: int, group: ShapeGroup | PixelKind, progress: Callable[[int, int], None]
) -> Iterator[SourcePart]:
    files = member_files(spec)
    if not files:
        raise UsageError(
            f"{redacted(spec)}: does not consist of several TAR, TFRecord or Parquet files; leave --by-file out"
        )
    names: list[str] = []
    entries = 0
    for done, name in enumerate(files):
        more = len(Entries(spec, (name,), group=group))
        if names and entries + more > shard_images:
            yield _part(spec, names, entries)
            names, entries = [], 0
        if more:  # files without any entry belong to no part
            names.append(name)
            entries += more
        progress(done + 1, len(files))
    if not names:
        raise SourceError(f"{redacted(spec)}: no image is in its {len(files):,} files; check the name")
    yield _part(spec, names, entries)


def _part(spec: str, files: Sequence[str], entries: int) -> SourcePart:
    return SourcePart(tuple(files), entries, listing_sha256(spec, files))


def _cut(entries: int, shard_images: int, *, even: bool) -> Iterator[tuple[int, int]]:
    """Cut a part into shards, as (start, stop). even : of about equal size, for a file larger than a shard"""
    shards = -(-entries // shard_images)
    size = -(-entries // shards) if even else shard_images
    for start in range(0, entries, size):
        yield start, min(start + size, entries)

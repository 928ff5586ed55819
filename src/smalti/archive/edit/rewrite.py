"""An archive copied section by section, with some of them changed: no image is decoded for it.

An archive with other labels, names or fields: its columns are written anew, and everything else is copied.

An archive without some of its images: the tokens of the others are written again, and decode to the same pixels.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.column import ColumnValues, TextBuilder, pack_integers
from smalti.archive.format.frames import FrameWriter
from smalti.archive.format.header import Header
from smalti.archive.format.layout import Section
from smalti.archive.read.image_columns import ImageColumns
from smalti.archive.read.reader import Archive
from smalti.archive.read.sections import SectionFile
from smalti.archive.recovery.parity import Key, ParitySection, RecoveryBuilder, RecoverySpec
from smalti.archive.write.fields import FIELD_PREFIX, FieldsBuilder
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.errors import DamagedArchiveError, SmaltiError, UsageError
from smalti.images.batch import Scalar
from smalti.residual.residuals import Residuals

__all__ = ["NewColumns", "recovery_spec", "rewrite_archive", "write_relabelled", "write_without"]


def rewrite_archive(
    file: SectionFile,
    out: BinaryIO,
    spool_beside: Path,
    *,
    header: Header | None = None,
    replaced: Mapping[Key, bytes] | None = None,
    columns: Sequence[bytes] | None = None,
) -> None:
    """Write an archive like the one that is open.

    spool_beside : the output, beside which a temporary file for recovery sections may be
    header : instead of the old one, in both its places
    replaced : payloads of other sections, by type and ordinal
    columns : payloads of all columns, in the order of the header; None leaves them as they are

    Raises DamagedArchiveError if the archive is not intact.
    """
    if file.damage:
        raise DamagedArchiveError(f"{file.path}: {file.damage[0]}; smalti repair it first")
    new = dict(replaced or {})
    if header is not None:
        new |= {(Section.HEADER, ordinal): header.to_bytes() for ordinal in range(2)}
    features = (header or file.header).required_features
    spec = recovery_spec(file)
    with nullcontext() if spec is None else RecoveryBuilder(spec, spool_beside) as recovery:
        copy = _Copy(file, FrameWriter(out, features), recovery)
        for entry in file.entries:
            key = entry.section, entry.ordinal
            if entry.section == Section.DIGEST and columns is not None:
                for payload in columns:
                    copy.add(Section.COLUMN, payload)
            if entry.section == Section.RECOVERY or (entry.section == Section.COLUMN and columns is not None):
                continue
            copy.add(entry.section, new[key] if key in new else _read(file, key))
        copy.finish()


def recovery_spec(file: SectionFile) -> RecoverySpec | None:
    """How much of an archive is recoverable, None if nothing is."""
    entry = next((entry for entry in file.entries if entry.section == Section.RECOVERY), None)
    return None if entry is None else ParitySection.unpack(file.read(entry)).spec


class _Copy:
    """An archive on its way out, and the recovery sections that it will have."""

    def __init__(self, file: SectionFile, frames: FrameWriter, recovery: RecoveryBuilder | None) -> None:
        self._file, self._frames, self._recovery = file, frames, recovery

    def add(self, section: int, payload: bytes) -> None:
        entry = self._frames.add(section, payload)
        if self._recovery is not None:
            self._recovery.add(entry, payload)

    def finish(self) -> None:
        for payload in () if self._recovery is None else self._recovery.payloads():
            self._frames.add(Section.RECOVERY, payload)
        self._frames.finish()


def _read(file: SectionFile, key: Key) -> bytes:
    entry = file.entry(*key)
    try:
        return file.read(entry)
    except DamagedArchiveError as error:
        raise DamagedArchiveError(f"{file.path}: {entry.name}: {error}; smalti repair it first") from error


# was sibling import


@dataclass(frozen=True)
class NewColumns:
    """All that is said of N images besides their pixels.

    labels : int64 [N], or None    class_names : the name of each label 0, 1, ..., or None
    names : N relative paths, or None    fields : further columns of N values
    """

    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] | None = None
    names: Sequence[str] | None = None
    fields: Mapping[str, ColumnValues | Sequence[Scalar | None]] | None = None

    def check(self, images: int, where: str) -> None:
        """Raise UsageError unless every column has a value for each image."""
        columns = {"labels": self.labels, "names": self.names, **(self.fields or {})}
        for name, values in columns.items():
            if values is not None and len(values) != images:
                raise UsageError(f"{where}: {len(values):,} values of {name} for {images:,} images")

    def part(self, start: int, stop: int) -> "NewColumns":
        """What is said of images `start` to `stop` (exclusive)."""
        return NewColumns(
            None if self.labels is None else self.labels[start:stop],
            self.class_names,
            None if self.names is None else self.names[start:stop],
            {name: values[start:stop] for name, values in (self.fields or {}).items()},
        )

    def over(self, other: "NewColumns", dropped: Collection[str] = ()) -> "NewColumns":
        """What this says, and what `other` says where this says nothing, but for fields that are dropped."""
        kept = {name: values for name, values in (other.fields or {}).items() if name not in dropped}
        return NewColumns(
            other.labels if self.labels is None else self.labels,
            other.class_names if self.class_names is None else self.class_names,
            other.names if self.names is None else self.names,
            {**kept, **(self.fields or {})},
        )

    def columns(self) -> Iterator[tuple[str, bytes]]:
        """Names and payloads of the columns, in the order of a file."""
        if self.labels is not None:
            yield "labels", pack_integers("labels", self.labels)
        for name, texts in (("class_names", self.class_names), ("names", self.names)):
            if texts is not None:
                builder = TextBuilder(name)
                builder.extend(texts)
                yield name, builder.to_bytes()
        fields = FieldsBuilder()
        for name, values in (self.fields or {}).items():
            plain = values.tolist() if isinstance(values, np.ndarray) else values
            fields.extend_field(name, plain)
        yield from fields.columns()


def write_relabelled(archive: Archive, beside: NewColumns, out: BinaryIO, spool_beside: Path) -> None:
    """Write an archive like the one that is open, of which `beside` says all there is to say.

    spool_beside : the output, beside which a temporary file for recovery sections may be

    Raises UsageError if a column does not fit the images, DamagedArchiveError if the archive is not intact.
    """
    beside.check(len(archive), str(archive.path))
    columns = dict(beside.columns())
    header = replace(archive.sections.header, columns=tuple(columns))
    rewrite_archive(archive.sections, out, spool_beside, header=header, columns=list(columns.values()))


# was sibling import


_KNOWN_COLUMNS = ("labels", "class_names", "names")


def write_without(archive: Archive, dropped: NDArray[np.bool_], out: Path, threads: int = 1) -> None:
    """Write the archive `out` of the images that are not dropped, in their order.

    dropped : bool [N], not all of them
    threads : how many may decode pixels, for their checksums

    Nothing is encoded anew: tokens and corrections are those of the archive, coded with a prior that fits what is left
    (that of a pyramid stays). Raises DamagedArchiveError if a block cannot be read, OutputExistsError, OutputError.
    """
    if dropped.all():
        raise UsageError(f"{archive.path}: no image would be left; delete the file instead")
    header = archive.sections.header
    _refuse_unknown(archive)
    network = archive.model.whole_network()
    prior = None if header.kind.fits_prior else archive.prior
    with ArchiveWriter(out, _spec(archive, header), network, threads=threads, prior=prior) as writer:
        for numbers, corrections in _blocks(archive, threads):
            kept = ~dropped[numbers.start : numbers.stop]
            if not kept.any():
                continue
            rows = np.flatnonzero(kept) + numbers.start
            beside = archive.besides.batch(np.zeros((len(rows), *header.image_shape), archive.dtype), rows)
            writer.append(
                archive.tokens(numbers.start, numbers.stop)[kept],
                beside.labels,
                beside.names,
                None if corrections is None else _kept(corrections, kept),
                beside.fields,
            )
        writer.commit()


def _spec(archive: Archive, header: Header) -> ArchiveSpec:
    return ArchiveSpec(
        image_shape=header.image_shape,
        token_grid=header.token_grid,
        codebook_size=header.codebook_size,
        profile=header.profile,
        block_images=header.block_images,
        class_names=archive.class_names,
        provenance=tuple(pair for pair in header.provenance if pair[0] != "smalti"),
        max_mse=None if header.promise is None else header.promise.max_mse,
        recovery=recovery_spec(archive.sections),
        dtype=header.dtype,
    )


def _blocks(archive: Archive, threads: int) -> Iterator[tuple[range, Residuals | None]]:
    header = archive.sections.header
    for block in range(header.blocks):
        yield header.block_range(block), archive.block_corrections(block, threads)


def _kept(corrections: Residuals, kept: NDArray[np.bool_]) -> Residuals:
    return Residuals(corrections.modes[kept], corrections.symbols[kept[corrections.rows]])


def _refuse_unknown(archive: Archive) -> None:
    """A column that cannot be read could not be written again either."""
    known: ImageColumns = archive.besides
    for name in archive.sections.header.columns:
        if name not in _KNOWN_COLUMNS and name.removeprefix(FIELD_PREFIX) not in set(known):
            raise SmaltiError(f"{archive.path}: column {name} is of a kind unknown here: use a newer smalti")

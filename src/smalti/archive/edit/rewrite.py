"""Rewriting one archive: copying its sections, replacing its columns, or dropping images.

No image is encoded anew. A copy and new columns decode no image; dropping images decodes the rest for checksums.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.block_layout import Rectangle
from smalti.archive.format.column import ColumnValues, TextBuilder
from smalti.archive.format.header import Header
from smalti.archive.format.layout import Section
from smalti.archive.read.image_columns import ImageColumns
from smalti.archive.read.reader import Archive
from smalti.archive.read.sections import SectionFile
from smalti.archive.read.store import CellStore
from smalti.archive.recovery.parity import Key, ParitySection, RecoverySpec
from smalti.archive.write.fields import FIELD_PREFIX, FieldsBuilder, pack_columns
from smalti.archive.write.protected_frames import protected_frames
from smalti.archive.write.sized_writer import SizedArchiveWriter, SizedSpec
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.errors import DamagedArchiveError, SmaltiError, UsageError
from smalti.images.batch import Scalar
from smalti.residual.residuals import Residuals

__all__ = ["NewColumns", "recovery_spec", "rewrite_archive", "write_relabelled", "write_without"]


def rewrite_archive(
    file: SectionFile,
    out: BinaryIO,
    out_path: Path,
    *,
    header: Header | None = None,
    replaced: Mapping[Key, bytes] | None = None,
    columns: Sequence[bytes] | None = None,
) -> None:
    """Copy an open archive section by section, and replace some sections.

    out_path : the output; a temporary file for recovery sections lies beside it
    header : replaces the header and its copy
    replaced : new payloads of other sections, by type and ordinal
    columns : new payloads of all columns, in the order of the header; None copies the columns

    Recovery sections are made anew. Raises DamagedArchiveError if the archive is not intact.
    """
    if file.damage:
        raise DamagedArchiveError(f"{file.path}: {file.damage[0]}; smalti repair it first")
    new = dict(replaced or {})
    if header is not None:
        new |= {(Section.HEADER, ordinal): header.to_bytes() for ordinal in range(2)}
    features = (header or file.header).required_features
    with protected_frames(out, out_path, recovery_spec(file), features) as copy:
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
    """The recovery specification of an archive; None if it has no recovery sections."""
    entry = next((entry for entry in file.entries if entry.section == Section.RECOVERY), None)
    return None if entry is None else ParitySection.unpack(file.read(entry)).spec


def _read(file: SectionFile, key: Key) -> bytes:
    entry = file.entry(*key)
    try:
        return file.read(entry)
    except DamagedArchiveError as error:
        raise DamagedArchiveError(f"{file.path}: {entry.name}: {error}; smalti repair it first") from error


@dataclass(frozen=True)
class NewColumns:
    """The columns of N images.

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
        """The columns of images [start, stop)."""
        return NewColumns(
            None if self.labels is None else self.labels[start:stop],
            self.class_names,
            None if self.names is None else self.names[start:stop],
            {name: values[start:stop] for name, values in (self.fields or {}).items()},
        )

    def over(self, other: "NewColumns", dropped: Collection[str] = ()) -> "NewColumns":
        """These columns, completed by those of `other` that are missing here. dropped : names of its fields to omit"""
        fields = {name: values for name, values in (other.fields or {}).items() if name not in dropped}
        return NewColumns(
            other.labels if self.labels is None else self.labels,
            other.class_names if self.class_names is None else self.class_names,
            other.names if self.names is None else self.names,
            fields | dict(self.fields or {}),
        )

    def payloads(self) -> Iterator[tuple[str, bytes]]:
        """Yield names and payloads of the columns, in the order of the file."""
        fields = FieldsBuilder()
        for name, values in (self.fields or {}).items():
            plain = values.tolist() if isinstance(values, np.ndarray) else values
            fields.extend_field(name, plain)
        names = None if self.names is None else TextBuilder.of("names", self.names)
        yield from pack_columns(self.labels, self.class_names, names, fields)


def write_relabelled(archive: Archive, columns: NewColumns, out: BinaryIO, out_path: Path) -> None:
    """Copy an open archive with other columns.

    columns : all columns of the copy
    out_path : the output; a temporary file for recovery sections lies beside it

    Raises UsageError if a column does not fit the images, DamagedArchiveError if the archive is not intact.
    """
    columns.check(len(archive), str(archive.path))
    payloads = dict(columns.payloads())
    header = replace(archive.sections.header, columns=tuple(payloads))
    rewrite_archive(archive.sections, out, out_path, header=header, columns=list(payloads.values()))


_KNOWN_COLUMNS = ("labels", "class_names", "names")


def write_without(archive: Archive, dropped: NDArray[np.bool_], out: Path, threads: int = 1) -> None:
    """Write an archive of the images that are not dropped, in their order.

    dropped : bool [N], not all True
    threads : the number of threads that decode pixels, for checksums

    Tokens and residuals stay; they are coded with a prior that is fitted to them anew (the prior of a pyramid stays).
    Raises DamagedArchiveError if a block cannot be read, OutputExistsError, OutputError.
    """
    if dropped.all():
        raise UsageError(f"{archive.path}: no image would be left; delete the file instead")
    header = archive.sections.header
    _refuse_unknown(archive)
    if archive.any_size:
        _write_cells_without(archive, dropped, out, threads)
        return
    network = archive.model.whole_network()
    prior = None if header.has_own_prior else archive.prior
    with ArchiveWriter(out, _spec(archive, header), network, threads=threads, prior=prior) as writer:
        for numbers, residuals in _blocks(archive, threads):
            remaining = ~dropped[numbers.start : numbers.stop]
            if not remaining.any():
                continue
            rows = np.flatnonzero(remaining) + numbers.start
            columns = archive.columns.batch(np.zeros((len(rows), *header.image_shape), archive.dtype), rows)
            writer.append(
                archive.tokens(numbers.start, numbers.stop)[remaining],
                columns.labels,
                columns.names,
                None if residuals is None else _part(residuals, remaining),
                columns.fields,
            )
        writer.commit()


def _write_cells_without(archive: Archive, dropped: NDArray[np.bool_], out: Path, threads: int) -> None:
    """The same for images of any sizes. Tokens, model and prior stay; blocks are cut, and copies found, anew."""
    header, store = archive.sections.header, archive.cells
    sizes = store.layout.sizes
    spec = SizedSpec(
        profile=header.profile,
        block_cells=sizes.block_cells,
        region=sizes.region,
        class_names=archive.class_names,
        provenance=_provenance(header),
        recovery=recovery_spec(archive.sections),
        signed=header.is_signed,
    )
    with SizedArchiveWriter(out, spec, store.model, store.prior, threads=threads) as writer:
        for rows in _batches(store, np.flatnonzero(~dropped)):
            numbers = store.stored_numbers(rows).tolist()
            columns = archive.columns.batch(np.zeros((len(rows), 1, 1, header.image_shape[2]), archive.dtype), rows)
            cells = [Rectangle(number, 0, 0, *store.layout.grid(number)) for number in numbers]
            writer.append(
                np.concatenate([store.window(image).reshape(image.cells, header.tokens_per_image) for image in cells]),
                np.array([store.layout.size(number) for number in numbers], np.int64),
                columns.labels,
                columns.names,
                columns.fields,
            )
        writer.commit()


def _batches(store: CellStore, images: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut image numbers into batches of as many cells as a block has, of one image at least."""
    start, cells, layout = 0, 0, store.layout
    for stop, number in enumerate(store.stored_numbers(images).tolist()):
        cells += math.prod(layout.grid(number))
        if stop > start and cells > layout.sizes.block_cells:
            yield images[start:stop]
            start, cells = stop, math.prod(layout.grid(number))
    yield images[start:]


def _provenance(header: Header) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in header.provenance if pair[0] != "smalti")


def _spec(archive: Archive, header: Header) -> ArchiveSpec:
    return ArchiveSpec(
        image_shape=header.image_shape,
        token_grid=header.token_grid,
        codebook_size=header.codebook_size,
        profile=header.profile,
        block_images=header.block_images,
        class_names=archive.class_names,
        provenance=_provenance(header),
        max_mse=None if header.promise is None else header.promise.max_mse,
        recovery=recovery_spec(archive.sections),
        dtype=header.dtype,
    )


def _blocks(archive: Archive, threads: int) -> Iterator[tuple[range, Residuals | None]]:
    layout = archive.sections.header.layout
    for block in range(layout.blocks):
        yield layout.image_range(block), archive.block_residuals(block, threads)


def _part(residuals: Residuals, chosen: NDArray[np.bool_]) -> Residuals:
    """The residuals of the chosen images. chosen : bool [n]"""
    return Residuals(residuals.modes[chosen], residuals.symbols[chosen[residuals.rows]])


def _refuse_unknown(archive: Archive) -> None:
    """Raise SmaltiError for a column of an unknown kind: it could not be written again."""
    known: ImageColumns = archive.columns
    for name in archive.sections.header.columns:
        if name not in _KNOWN_COLUMNS and name.removeprefix(FIELD_PREFIX) not in set(known):
            raise SmaltiError(f"{archive.path}: column {name} is of a kind unknown here: use a newer smalti")

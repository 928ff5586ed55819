"""An archive without some of its images: the tokens of the others are written again, and decode to the same pixels."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smalti.archive.edit.rewrite import recovery_spec
from smalti.archive.format.header import Header
from smalti.archive.read.annotations import Besides
from smalti.archive.read.reader import Archive
from smalti.archive.write.fields import FIELD_PREFIX
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.errors import SmaltiError, UsageError
from smalti.residual.residuals import Corrections

__all__ = ["write_without"]

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


def _blocks(archive: Archive, threads: int) -> Iterator[tuple[range, Corrections | None]]:
    header = archive.sections.header
    for block in range(header.blocks):
        yield header.block_range(block), archive.block_corrections(block, threads)


def _kept(corrections: Corrections, kept: NDArray[np.bool_]) -> Corrections:
    return Corrections(corrections.modes[kept], corrections.symbols[kept[corrections.rows]])


def _refuse_unknown(archive: Archive) -> None:
    """A column that cannot be read could not be written again either."""
    known: Besides = archive.besides
    for name in archive.sections.header.columns:
        if name not in _KNOWN_COLUMNS and name.removeprefix(FIELD_PREFIX) not in set(known):
            raise SmaltiError(f"{archive.path}: column {name} is of a kind unknown here: use a newer smalti")

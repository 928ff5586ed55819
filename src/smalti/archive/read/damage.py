"""Reports of damage: the token blocks that cannot be read, and the images that are lost with them."""

from collections.abc import Iterator

from smalti.archive.read.sections import SectionFile
from smalti.archive.read.store import SectionStore
from smalti.archive.report import DamagedBlock
from smalti.errors import DamagedArchiveError

__all__ = ["damaged_blocks", "missing_blocks", "reason_of"]


def damaged_blocks(file: SectionFile, store: SectionStore, number: int, reason: str) -> list[DamagedBlock]:
    """Report a block that cannot be read, with the names of its images if they are known: once for each run of them."""
    names = _names(store, file)
    return [
        DamagedBlock(number, run.start, len(run), None if names is None else names[run.start : run.stop], reason)
        for run in file.layout.image_runs(number)
    ]


def _names(store: SectionStore, file: SectionFile) -> tuple[str, ...] | None:
    """The names of all images; None if the file has no names or has lost them."""
    if "names" not in file.header.columns:
        return None
    try:
        column = store.column(file.header.columns.index("names"))
    except DamagedArchiveError:
        return None
    if column is None or not isinstance(column.values, tuple) or len(column.values) != file.header.images:
        return None
    return column.values


def missing_blocks(file: SectionFile, store: SectionStore) -> Iterator[DamagedBlock]:
    """Yield the blocks whose tokens cannot be read: all blocks if the model or the priors are lost."""
    for run in store.fetch_blocks(range(file.layout.blocks)):
        for number in range(run.start, run.stop):
            try:
                store.block(number)
            except DamagedArchiveError as error:
                yield from damaged_blocks(file, store, number, reason_of(file, error))


def reason_of(file: SectionFile, error: Exception) -> str:
    """The message of an error without the path."""
    return str(error).removeprefix(f"{file.path}: ")

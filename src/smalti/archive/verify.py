"""Go through a whole archive: every checksum, every token; report what is damaged instead of raising."""

import numpy as np

from smalti.archive.layout import Section
from smalti.archive.report import DamagedBlock, VerifyReport, perplexity
from smalti.archive.sections import SectionFile
from smalti.archive.store import SectionStore
from smalti.errors import DamagedArchiveError

__all__ = ["verify"]


def verify(file: SectionFile) -> VerifyReport:
    """Check an open file.

    What is not damage is raised all the same: a file that can no longer be read, a limit, an unknown kind of prior.
    """
    header, store = file.header, SectionStore(file)
    sections = _damaged_sections(file, store)
    counts = np.zeros(header.codebook_size, np.int64)
    blocks: list[DamagedBlock] = []
    model_lost = any(reason.startswith(("model", "prior")) for reason in sections)
    for number in range(header.blocks):
        images = header.block_range(number)
        try:
            if model_lost:  # its tokens cannot be decoded, but its bytes can be checked
                file.read(file.entry(Section.TOKENS, number))
            else:
                counts += np.bincount(store.tokens(number).ravel(), minlength=header.codebook_size)
        except DamagedArchiveError as error:
            blocks.append(DamagedBlock(number, images.start, len(images), _reason(file, error)))
    codes_used, found = int(np.count_nonzero(counts)), perplexity(counts)
    same = codes_used == header.codes_used and abs(found - header.perplexity) < 1e-5 * found  # logarithms differ
    if not (sections or blocks or same):
        sections.append(f"header: states {header.codes_used} codes, perplexity {header.perplexity}; found otherwise")
    return VerifyReport(
        ok=not sections and not blocks,
        images=header.images,
        blocks=header.blocks,
        damaged_blocks=tuple(blocks),
        damaged_sections=tuple(sections),
        damaged_images=header.images if model_lost else sum(block.images for block in blocks),
        codes_used=codes_used,
        perplexity=found,
    )


def _damaged_sections(file: SectionFile, store: SectionStore) -> list[str]:
    """Sections other than token blocks that cannot be read, as "section: reason"."""
    damaged = []
    for entry in file.entries:
        if entry.section == Section.TOKENS:
            continue
        try:
            if entry.section == Section.MODEL:
                _ = store.model
            elif entry.section == Section.PRIOR:
                _ = store.prior
            elif entry.section == Section.COLUMN:
                store.column(entry)
            else:
                store.parse(entry, len)
        except DamagedArchiveError as error:
            damaged.append(_reason(file, error))
    return damaged


def _reason(file: SectionFile, error: Exception) -> str:
    return str(error).removeprefix(f"{file.path}: ")

"""Checks a whole archive, and reports damage instead of raising it."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from smalti.archive.format.block_layout import joined
from smalti.archive.format.layout import Entry, Section
from smalti.archive.read.checksums import NeighbourLostError, open_checksums
from smalti.archive.read.damage import damaged_blocks, reason_of
from smalti.archive.read.image_columns import ImageColumns
from smalti.archive.read.sections import SectionFile
from smalti.archive.read.store import open_store, section_name
from smalti.archive.report import DamagedBlock, Level, VerifyReport, perplexity
from smalti.archive.write.token_spool import count_codes
from smalti.errors import DamagedArchiveError

__all__ = ["Verifier"]

_DIGEST_BYTES = 32

Progress = Callable[[int, int], None]


class Verifier:
    """One check of an open file. `run` returns the report.

    Errors other than damage are raised: a file that cannot be read any more, a limit, an unknown kind of prior.
    """

    def __init__(self, file: SectionFile, level: Level, threads: int, progress: Progress) -> None:
        self._file, self._level, self._threads, self._progress = file, level, threads, progress
        self._store = open_store(file)  # a new one, so that everything is read again
        self._checksums = open_checksums(file, self._store, threads)
        self._columns = ImageColumns(file.header, self._store, str(file.path))
        self._sections: list[str] = list(file.damage)
        self._blocks: list[DamagedBlock] = []
        self._counts = np.zeros(file.header.codebook_size, np.int64)
        self._undecoded = False  # whether pixels could not be checked, since others are damaged
        self._stored_sha256: str | None = None

    def run(self) -> VerifyReport:
        """Check all that the level includes."""
        header, quick = self._file.header, self._level == "quick"
        self._check_start()
        self._sections += [f"{section_name(*key)}: it is missing" for key in self._absent_sections()]
        if quick:
            for run in self._file.fetch_runs(self._file.entries, heads_only=True):
                self._check_heads(self._file.entries[run])
        lost = self._absent_for_all() if quick else self._check_payloads()
        decoded = self._level == "pixels" and lost is None and not self._blocks and not self._undecoded
        if decoded:
            self._check_digest()
        return VerifyReport(
            ok=not self._sections and not self._blocks and lost is None,
            level=self._level,
            images=header.images,
            blocks=self._file.layout.blocks,
            damaged_blocks=tuple(self._blocks),
            damaged_sections=tuple(dict.fromkeys([*self._sections, *([] if lost is None else [lost])])),
            damaged_images=self._damaged_images() if lost is None else header.images,
            codes_used=None if quick or lost is not None else int(np.count_nonzero(self._counts)),
            perplexity=None if quick or lost is not None else perplexity(self._counts),
            stored_sha256=self._stored_sha256,
            pixels_sha256=self._checksums.digest if decoded else None,
        )

    def _check_payloads(self) -> str | None:
        """Check heads and payloads. Returns the damage to a section that all images need, None if these are sound."""
        layout = self._file.layout
        self._check_sections()
        lost = self._model_lost()
        for run in self._store.fetch_blocks(range(layout.blocks)):
            for number in range(run.start, run.stop):
                if self._file.has(Section.TOKENS, number):
                    self._check_heads([self._file.entry(Section.TOKENS, number)])
                self._check_block(number, lost is not None)
                self._progress(layout.images_up_to(number), layout.images)
        if lost is None:
            self._check_statistics()
        return lost

    def _absent_for_all(self) -> str | None:
        """Report missing token blocks. Returns which section that all images need is missing, None if all are there."""
        for number in range(self._file.layout.blocks):
            if not self._file.has(Section.TOKENS, number):
                self._blocks.extend(damaged_blocks(self._file, self._store, number, "it is missing"))
        needed = [Section.MODEL, Section.PRIOR] + [Section.CORRECTIONS] * self._file.header.has_residuals
        for section in needed:
            if not any(self._file.has(section, ordinal) for ordinal in range(2)):
                return f"{section_name(section, 0)}: it is missing"
        return None

    def _damaged_images(self) -> int:
        """The number of images in damaged blocks, each counted once."""
        return sum(
            map(len, joined(range(block.first_image, block.first_image + block.images) for block in self._blocks))
        )

    def _damage(self, error: DamagedArchiveError) -> None:
        self._sections.append(reason_of(self._file, error))

    def _check_start(self) -> None:
        try:
            self._file.check_start()
        except DamagedArchiveError as error:
            self._damage(error)

    def _check_heads(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            try:
                self._file.check_head(entry)
            except DamagedArchiveError as error:
                self._sections.append(f"{entry.name}: head: {error}")

    def _absent_sections(self) -> Iterator[tuple[Section, int]]:
        """Yield the sections that are missing, other than token blocks."""
        header = self._file.header
        counts = {Section.HEADER: 2, Section.MODEL: 1, Section.PRIOR: header.priors, Section.DIGEST: 1}
        counts |= {Section.CORRECTIONS: int(header.has_residuals), Section.COLUMN: len(header.columns)}
        counts[Section.SIZES] = 2 * header.any_size
        for section, count in counts.items():
            for ordinal in range(count):
                if not self._file.has(section, ordinal):
                    yield section, ordinal

    def _check_sections(self) -> None:
        """Check the heads of all sections but token blocks, and the payloads of those that not all images need."""
        entries = [entry for entry in self._file.entries if entry.section != Section.TOKENS]
        for run in self._file.fetch_runs(entries):
            self._check_heads(entries[run])
            self._check_some(entries[run])

    def _check_some(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            section = entry.section
            try:
                if section == Section.COLUMN:
                    self._columns.check(self._file.header.columns[entry.ordinal])
                elif section == Section.PRIOR:
                    self._store.check_prior(entry.ordinal)
                elif section == Section.HEADER:
                    self._store.parse(Section.HEADER, entry.ordinal, self._same_header)
                elif section == Section.SIZES:
                    self._store.parse(Section.SIZES, entry.ordinal, self._same_sizes)
                elif section == Section.DIGEST:
                    self._stored_sha256 = self._store.parse(Section.DIGEST, 0, _digest_hex)
                elif section not in (Section.MODEL, Section.CORRECTIONS):
                    self._store.parse(section, entry.ordinal, len)
            except DamagedArchiveError as error:
                self._damage(error)

    def _same_header(self, payload: bytes) -> None:
        if payload != self._file.header_bytes:
            raise DamagedArchiveError("it differs from the other one")

    def _same_sizes(self, payload: bytes) -> None:
        if payload != self._file.sizes_bytes:
            raise DamagedArchiveError("it differs from the other one")

    def _model_lost(self) -> str | None:
        """The damage to a section that all images need; None if all of these can be read."""
        try:
            self._store.load()
        except DamagedArchiveError as error:
            return reason_of(self._file, error)
        return None

    def _check_block(self, number: int, model_lost: bool) -> None:
        try:
            if model_lost:  # tokens cannot be decoded; bytes can be checked
                self._store.parse(Section.TOKENS, number, len)
                return
            tokens = self._store.tokens(number)
            self._counts += count_codes(tokens, len(self._counts))
            if self._level == "pixels":
                self._check_pixels(number)
        except DamagedArchiveError as error:
            self._blocks.extend(damaged_blocks(self._file, self._store, number, reason_of(self._file, error)))

    def _check_pixels(self, number: int) -> None:
        stated = self._store.block(number).pixels_crc
        try:
            found = self._checksums.of_block(number)
        except NeighbourLostError:  # that block is reported itself
            self._undecoded = True
            return
        if found != stated:
            raise DamagedArchiveError("its pixels are not those that were written: wrong checksum after decoding")

    def _check_digest(self) -> None:
        if self._stored_sha256 not in (None, self._checksums.digest):
            self._sections.append("digest: it is not that of the decoded pixels")

    def _check_statistics(self) -> None:
        if self._sections or self._blocks:
            return
        header, found = self._file.header, perplexity(self._counts)
        same = np.count_nonzero(self._counts) == header.codes_used
        if not (same and abs(found - header.perplexity) <= 1e-5 * found):  # logarithms differ between machines
            self._sections.append(
                f"header: states {header.codes_used} codes, perplexity {header.perplexity}; found otherwise"
            )


def _digest_hex(payload: bytes) -> str:
    if len(payload) != _DIGEST_BYTES:
        raise DamagedArchiveError(f"{len(payload)} bytes are no SHA-256")
    return payload.hex()

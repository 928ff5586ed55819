"""What an archive is, in numbers: the results of `Archive.info` and `Archive.verify`."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.header import ErrorBound
from smalti.archive.format.layout import PRELUDE_BYTES, Section
from smalti.archive.read.sections import SectionFile
from smalti.decoders.contract import LevelInfo

__all__ = [
    "ArchiveInfo",
    "DamagedBlock",
    "Level",
    "LevelInfo",
    "SectionBytes",
    "VerifyReport",
    "break_even_images",
    "known_provenance",
    "perplexity",
    "recovery_bytes",
    "section_bytes",
]

Level = Literal["quick", "tokens", "pixels"]

_OLDER_KEYS = {"fitted on": "fitted_on", "fitted images": "fitted_images"}


def known_provenance(stored: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return provenance by the keys of this release; archives of the profile `paper` once spelled two with spaces."""
    return {_OLDER_KEYS.get(key, key): value for key, value in stored}


@dataclass(frozen=True)
class SectionBytes:
    """Bytes of the file by what they are for, frames included; they sum to the size of the file.

    header : prelude and both headers    model : decoder and codes in use    prior : it, and its copy if there is one
    tokens : token blocks and tables of corrections    columns : columns and ancillary sections
    index : index, trailer, digest, recovery sections, and in a damaged file what belongs to no section
    """

    header: int
    model: int
    prior: int
    tokens: int
    index: int
    columns: int


@dataclass(frozen=True)
class ArchiveInfo:
    """An archive in numbers.

    shape : (N, H, W) or (N, H, W, C)
    ratio : raw_bytes / archive_bytes, with everything in the file counted
    ratio_without_model : the same without the model's bytes, which are shared by all images
    bits_per_pixel : 8 * archive_bytes / (N * H * W), all channels of a pixel together
    bytes_per_image : archive_bytes / N
    perplexity : 2 to the order-0 entropy, in bits, of all tokens pooled; absent ones are left out
    levels : of the tokens; None if the decoder has no levels, or if the model is damaged
    promise : what it promises of every image, or None
    recovery_bytes : of `bytes.index`, what serves to repair the file
    damage : what was found to be wrong on opening
    break_even_images : the number of images from which a file of this kind, with everything in it, is smaller than
        the raw pixels, if tokens, columns and index grow with the images and the rest does not; None if never
    """

    images: int
    shape: tuple[int, ...]
    dtype: str
    archive_bytes: int
    raw_bytes: int
    ratio: float
    ratio_without_model: float
    bytes: SectionBytes
    bits_per_pixel: float
    bytes_per_image: float
    tokens_bits_per_image: float
    token_grid: tuple[int, int]
    codebook_size: int
    codes_used: int
    perplexity: float
    levels: tuple[LevelInfo, ...] | None
    break_even_images: int | None
    blocks: int
    block_images: int
    columns: tuple[str, ...]
    promise: ErrorBound | None
    recovery_bytes: int
    damage: tuple[str, ...]
    format_version: int
    decoder: str
    profile: str
    provenance: dict[str, str]


@dataclass(frozen=True)
class DamagedBlock:
    """A token block that cannot be read: images first_image to first_image + images - 1, and why.

    names : of these images, or None if the file has no names or has lost them
    """

    block: int
    first_image: int
    images: int
    names: tuple[str, ...] | None
    reason: str


@dataclass(frozen=True)
class VerifyReport:
    """What `Archive.verify` found.

    level : how much was checked: "quick", "tokens" or "pixels"
    damaged_blocks : token blocks whose images are lost
    damaged_sections : all other damage, as "section: reason"
    damaged_images : images that cannot be read (all of them if the model or the prior, in all its copies, is damaged)
    codes_used, perplexity : counted again from the tokens that could be read; None if none were read
    stored_sha256 : what the file states of its pixels; None if it was not read or is damaged
    pixels_sha256 : of all decoded pixels in order, at level "pixels", if all could be decoded; else None
    """

    ok: bool
    level: Level
    images: int
    blocks: int
    damaged_blocks: tuple[DamagedBlock, ...]
    damaged_sections: tuple[str, ...]
    damaged_images: int
    codes_used: int | None
    perplexity: float | None
    stored_sha256: str | None
    pixels_sha256: str | None


def perplexity(counts: NDArray[np.int64]) -> float:
    """2 to the entropy in bits of a distribution given by counts (int64 [K]), to 6 decimals; 0.0 if all are 0.

    The seen counts are sorted and summed exactly, so that the order of codes cannot change the result.
    """
    total = int(counts.sum())
    if total == 0:
        return 0.0
    shares = np.sort(counts[counts > 0]).tolist()
    entropy_bits = -math.fsum(count / total * math.log2(count / total) for count in shares)
    return round(math.pow(2.0, entropy_bits), 6)


def section_bytes(file: SectionFile) -> SectionBytes:
    """Add the frames of a file up by what they are for."""
    totals: Counter[int] = Counter()
    for entry in file.entries:
        totals[entry.section] += min(entry.frame_bytes, file.archive_bytes - entry.offset)
    parts = {
        "header": PRELUDE_BYTES + totals[Section.HEADER],
        "model": totals[Section.MODEL],
        "prior": totals[Section.PRIOR],
        "tokens": totals[Section.TOKENS] + totals[Section.CORRECTIONS],
        "columns": sum(size for section, size in totals.items() if _is_column(section)),
    }
    return SectionBytes(**parts, index=file.archive_bytes - sum(parts.values()))


def recovery_bytes(file: SectionFile) -> int:
    """Bytes of the recovery sections, frames included."""
    return sum(entry.frame_bytes for entry in file.entries if entry.section == Section.RECOVERY)


def _is_column(section: int) -> bool:
    return section == Section.COLUMN or section not in set(Section)


def break_even_images(parts: SectionBytes, images: int, raw_bytes: int) -> int | None:
    """Smallest n with fixed bytes + n * bytes that grow < n * raw bytes of an image; None if there is none."""
    fixed = parts.header + parts.model + parts.prior
    saved = raw_bytes - (parts.tokens + parts.columns + parts.index)  # by all images together
    return None if saved <= 0 else fixed * images // saved + 1

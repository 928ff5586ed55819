"""The results of `Archive.info` and `Archive.verify`: facts about an archive, and the damage found in it."""

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
    """Return provenance with the keys of this release. Older archives of the profile `paper` spell two with spaces."""
    return {_OLDER_KEYS.get(key, key): value for key, value in stored}


@dataclass(frozen=True)
class SectionBytes:
    """Bytes of the file by purpose, frames included. They sum to the size of the file.

    header : prelude, both headers, and both tables of sizes if there are any
    model : decoder and codes in use    prior : the prior, and its copy if any
    tokens : token blocks and tables of the residuals    columns : columns and ancillary sections
    index : index, trailer, digest and recovery sections; in a damaged file also bytes that belong to no section
    """

    header: int
    model: int
    prior: int
    tokens: int
    index: int
    columns: int


@dataclass(frozen=True)
class ArchiveInfo:
    """Facts about an archive.

    shape : (N, H, W) or (N, H, W, C); None if the images have several shapes
    shapes : the number of distinct shapes
    pixels : of all images, H * W each
    ratio : raw_bytes / archive_bytes, the whole file counted
    ratio_without_model : the same without the bytes of the model, which all images share
    bits_per_pixel : 8 * archive_bytes / (pixels of all images), all channels of a pixel together
    bytes_per_image : archive_bytes / N
    perplexity : 2 to the order-0 entropy, in bits, of all stored tokens pooled, absent ones excluded
    levels : the levels of the tokens; None if the decoder has none, or if the model is damaged
    block_images : the most images of a block; None if images have any sizes, so that blocks are bounded in pixels
    promise : the error bound that every image keeps, or None
    recovery_bytes : the part of `bytes.index` that serves to repair the file
    damage : what was found damaged on opening, in words
    break_even_images : from this number of images on, a whole file of this kind is smaller than the raw pixels, if
        tokens, columns and index grow with the images and the rest does not; None if it never is
    copies : the number of images that are exact copies of others, which are stored once
    """

    images: int
    shape: tuple[int, ...] | None
    shapes: int
    dtype: str
    archive_bytes: int
    raw_bytes: int
    pixels: int
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
    block_images: int | None
    columns: tuple[str, ...]
    promise: ErrorBound | None
    recovery_bytes: int
    damage: tuple[str, ...]
    format_version: int
    decoder: str
    profile: str
    provenance: dict[str, str]
    copies: int = 0


@dataclass(frozen=True)
class DamagedBlock:
    """A token block that cannot be read, with the images first_image to first_image + images - 1.

    If copies of images are lost with a block, or lie between its images, the block is listed for each run of images.

    names : of these images; None if the file has no names or has lost them
    reason : why it cannot be read
    """

    block: int
    first_image: int
    images: int
    names: tuple[str, ...] | None
    reason: str


@dataclass(frozen=True)
class VerifyReport:
    """The result of `Archive.verify`.

    level : the depth of the check: "quick", "tokens" or "pixels"
    damaged_blocks : token blocks whose images are lost
    damaged_sections : all other damage, as "section: reason"
    damaged_images : the number of images that cannot be read; all if the model, or each copy of the prior, is damaged
    codes_used, perplexity : counted again from the tokens that could be read; None if none were read
    stored_sha256 : the digest of the pixels that the file states; None if it was not read or is damaged
    pixels_sha256 : the digest of all decoded pixels in order, at level "pixels"; None if some could not be decoded.
        Images that are stored once are in both digests once
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
    """2 to the entropy, in bits, of a distribution given by counts (int64 [K]), to 6 decimals. 0.0 if all counts are 0.

    Counts above 0 are sorted and summed exactly, so that the order of codes does not change the result.
    """
    total = int(counts.sum())
    if total == 0:
        return 0.0
    shares = np.sort(counts[counts > 0]).tolist()
    entropy_bits = -math.fsum(count / total * math.log2(count / total) for count in shares)
    return round(math.pow(2.0, entropy_bits), 6)


def section_bytes(file: SectionFile) -> SectionBytes:
    """Sum the bytes of a file's frames by purpose."""
    totals: Counter[int] = Counter()
    for entry in file.entries:
        totals[entry.section] += min(entry.frame_bytes, file.archive_bytes - entry.offset)
    parts = {
        "header": PRELUDE_BYTES + totals[Section.HEADER] + totals[Section.SIZES],
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
    """The smallest n with fixed bytes + n * growing bytes < n * raw bytes of an image; None if there is none."""
    fixed = parts.header + parts.model + parts.prior
    saved = raw_bytes - (parts.tokens + parts.columns + parts.index)  # of all images together
    return None if saved <= 0 else fixed * images // saved + 1

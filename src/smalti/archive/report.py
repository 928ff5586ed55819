"""What an archive is, in numbers: the results of `Archive.info` and `Archive.verify`."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.archive.layout import PRELUDE_BYTES, TRAILER_BYTES, Section
from smalti.archive.sections import SectionFile

__all__ = ["ArchiveInfo", "DamagedBlock", "SectionBytes", "VerifyReport", "perplexity"]


@dataclass(frozen=True)
class SectionBytes:
    """Bytes of the file by what they are for, frames included; they sum to the size of the file.

    header : prelude and header    model : decoder and codes in use    prior : frequency tables
    tokens : token blocks          index : index and trailer           columns : all else
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
    perplexity : 2 to the order-0 entropy, in bits, of all tokens pooled
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
    break_even_images: int | None
    blocks: int
    block_images: int
    columns: tuple[str, ...]
    format_version: int
    decoder: str
    profile: str
    provenance: dict[str, str]


@dataclass(frozen=True)
class DamagedBlock:
    """A token block that cannot be read: images first_image to first_image + images - 1, and why."""

    block: int
    first_image: int
    images: int
    reason: str


@dataclass(frozen=True)
class VerifyReport:
    """What `Archive.verify` found.

    damaged_sections : "section: reason" for sections other than token blocks
    damaged_images : images that cannot be read (all of them if the model or the prior is damaged)
    codes_used, perplexity : counted again from the tokens that could be read
    """

    ok: bool
    images: int
    blocks: int
    damaged_blocks: tuple[DamagedBlock, ...]
    damaged_sections: tuple[str, ...]
    damaged_images: int
    codes_used: int
    perplexity: float


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
        totals[entry.section] += entry.frame_bytes
    named = {Section.HEADER, Section.MODEL, Section.PRIOR, Section.TOKENS}
    return SectionBytes(
        header=PRELUDE_BYTES + totals[Section.HEADER],
        model=totals[Section.MODEL],
        prior=totals[Section.PRIOR],
        tokens=totals[Section.TOKENS],
        index=file.index.frame_bytes + TRAILER_BYTES,
        columns=sum(size for section, size in totals.items() if section not in named),
    )


def break_even_images(parts: SectionBytes, images: int, raw_bytes: int) -> int | None:
    """Smallest n with fixed bytes + n * bytes that grow < n * raw bytes of an image; None if there is none."""
    fixed = parts.header + parts.model + parts.prior
    saved = raw_bytes - (parts.tokens + parts.columns + parts.index)  # by all images together
    return None if saved <= 0 else fixed * images // saved + 1

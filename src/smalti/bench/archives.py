"""An archive's bytes and quality, by its exact reader, against the images it was made from."""

import hashlib
from pathlib import Path

from smalti.archive.read.reader import open_archive
from smalti.bench.results import ArchiveResult
from smalti.exchange import compare
from smalti.images.source import ImageSource

__all__ = ["measure_archive"]


def measure_archive(path: Path, source: ImageSource, known: ArchiveResult | None, threads: int) -> ArchiveResult:
    """Decode every image of an archive and compare it with the source's; `known` is returned if the file is its.

    Raises SourceError if the archive is of other images, DamagedArchiveError if it is damaged.
    """
    with open_archive(path, threads=threads) as archive:
        sha256 = _sha256(path)
        if known is not None and known.sha256 == sha256:
            return known
        info, quality = archive.info(), compare(archive, source).quality
    return ArchiveResult(
        name=path.stem,
        sha256=sha256,
        profile=info.profile,
        codebook_size=info.codebook_size,
        images=info.images,
        archive_bytes=info.archive_bytes,
        header_bytes=info.bytes.header,
        model_bytes=info.bytes.model,
        prior_bytes=info.bytes.prior,
        tokens_bytes=info.bytes.tokens,
        index_bytes=info.bytes.index,
        columns_bytes=info.bytes.columns,
        mse=quality.mse_mean,
        mse_max=quality.mse_max,
        ssim=quality.ssim_mean,
        first_100_mse=quality.first_100.mse,
        first_100_ssim=quality.first_100.ssim,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""What the bench measured, kept as JSON: the page and the figure are made from it alone."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from smalti.study.baselines.matching import RatePoint
from smalti.study.strict_json import read_json, write_json

__all__ = ["ArchiveResult", "BenchResult", "PeerCurve"]


@dataclass(frozen=True)
class PeerCurve:
    """A codec's points on images as mosaics (`mosaics`); see `peers.Peer` for the first five."""

    codec: str
    name: str
    library: str
    settings: str
    ladder: tuple[float, ...]
    points: tuple[RatePoint, ...]


@dataclass(frozen=True)
class ArchiveResult:
    """An archive of the same images: its bytes, and the quality of what its reader decodes.

    name : of its file, without the suffix; sha256 : of the file
    header_bytes ... columns_bytes : what it is made of (`archive.report.SectionBytes`); they sum to archive_bytes
    mse, mse_max, ssim : over all images; first_100_mse, first_100_ssim : over the first 100
    """

    name: str
    sha256: str
    profile: str
    codebook_size: int
    images: int
    archive_bytes: int
    header_bytes: int
    model_bytes: int
    prior_bytes: int
    tokens_bytes: int
    index_bytes: int
    columns_bytes: int
    mse: float
    mse_max: float
    ssim: float | None
    first_100_mse: float
    first_100_ssim: float | None

    @property
    def bytes_without_columns(self) -> int:
        """The file without labels and names, which the codecs do not keep either."""
        return self.archive_bytes - self.columns_bytes

    @property
    def bytes_per_image(self) -> float:
        """Of `bytes_without_columns`: the model counts."""
        return self.bytes_without_columns / self.images


@dataclass(frozen=True)
class BenchResult:
    """Codecs and archives on one set of images.

    pixels_sha256 : of all images in order, uint8 [N, H, W, C] in C order; curves of other images are not kept
    command : what measured it last; machine : where the codecs were measured
    mosaic_images : how many images a mosaic has at most; mosaics : how many there were
    versions : of each codec's library
    """

    source: str
    images: int
    image_shape: tuple[int, ...]
    pixels_sha256: str
    command: str
    machine: str
    mosaic_images: int
    mosaics: int
    versions: dict[str, str]
    curves: tuple[PeerCurve, ...]
    archives: tuple[ArchiveResult, ...]

    def with_curve(self, curve: PeerCurve) -> "BenchResult":
        """Return the result with a curve more, in place of one of the same name."""
        others = tuple(each for each in self.curves if each.name != curve.name)
        return replace(self, curves=(*others, curve))

    def with_archive(self, archive: ArchiveResult) -> "BenchResult":
        """Return the result with an archive more, in place of one of the same name, by bytes."""
        others = [each for each in self.archives if each.name != archive.name]
        ordered = sorted([*others, archive], key=lambda each: (each.bytes_without_columns, each.name))
        return replace(self, archives=tuple(ordered))

    def curve(self, name: str) -> PeerCurve | None:
        """Return the curve of this name, None if it was not measured."""
        return _named(self.curves, name)

    def archive(self, name: str) -> ArchiveResult | None:
        """Return the archive of this name, None if it was not measured."""
        return next((each for each in self.archives if each.name == name), None)

    def write(self, path: Path) -> None:
        """Write the result, whole or not at all."""
        write_json(path, self)

    @classmethod
    def read(cls, path: Path) -> "BenchResult | None":
        """Return the result in a file, None if there is none."""
        return read_json(cls, path) if path.exists() else None


def _named(curves: Iterable[PeerCurve], name: str) -> PeerCurve | None:
    return next((curve for curve in curves if curve.name == name), None)

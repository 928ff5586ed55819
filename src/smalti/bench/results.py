"""What the bench measured, kept as JSON, and what follows from it: the page and the figure are made from it alone.

What the codecs need where an archive is, or where JPEG XL is at its reference distance, is interpolated in logarithms
of bytes between the two measured points on either side (`matching`); nothing is extrapolated.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from smalti.bench.matching import RatePoint, at_matched
from smalti.bench.records import read_json, write_json

__all__ = [
    "JPEG_XL",
    "REFERENCE_DISTANCE",
    "ArchiveResult",
    "BaselineCurve",
    "BenchResult",
    "Need",
    "Reference",
    "best_need",
    "needs",
    "reference",
]

JPEG_XL = "JPEG XL"
REFERENCE_DISTANCE = 10.0
"""The setting of JPEG XL that goals are stated at; it is in the codec's ladder."""


@dataclass(frozen=True)
class BaselineCurve:
    """A codec's points on images as mosaics (`mosaics`); see `codecs.Codec` for the first five; codec : its family."""

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
    curves: tuple[BaselineCurve, ...]
    archives: tuple[ArchiveResult, ...]

    def with_curve(self, curve: BaselineCurve) -> "BenchResult":
        """Return the result with a curve more, in place of one of the same name."""
        others = tuple(each for each in self.curves if each.name != curve.name)
        return replace(self, curves=(*others, curve))

    def with_archive(self, archive: ArchiveResult) -> "BenchResult":
        """Return the result with an archive more, in place of one of the same name, by bytes."""
        others = [each for each in self.archives if each.name != archive.name]
        ordered = sorted([*others, archive], key=lambda each: (each.bytes_without_columns, each.name))
        return replace(self, archives=tuple(ordered))

    def curve(self, name: str) -> BaselineCurve | None:
        """Return the curve of this name, None if it was not measured."""
        return next((each for each in self.curves if each.name == name), None)

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


@dataclass(frozen=True)
class Need:
    """What a codec needs to be at least as good as asked.

    coarsest : True if its coarsest setting is better already, so that it cannot be had with fewer bytes
    """

    name: str
    bytes_per_image: float
    coarsest: bool


@dataclass(frozen=True)
class Reference:
    """JPEG XL at its reference distance, and what the other codecs need for its MSE, fewest bytes first."""

    distance: float
    mse: float
    bytes_per_image: float
    needs: tuple[Need, ...]


def needs(result: BenchResult, mse: float) -> tuple[Need, ...]:
    """Return what each codec needs at an MSE, fewest bytes first; those that never reach it are left out."""
    found = []
    for curve in result.curves:
        matched = at_matched(curve.points, mse=mse)
        if matched is not None:
            found.append(Need(curve.name, matched.bytes_per_image, matched.coarsest))
    return tuple(sorted(found, key=lambda need: need.bytes_per_image))


def best_need(result: BenchResult, mse: float) -> Need | None:
    """Return what the best codec needs at an MSE; None if none reaches it."""
    return next(iter(needs(result, mse)), None)


def reference(result: BenchResult) -> Reference | None:
    """Return JPEG XL at its reference distance, None if it was not measured."""
    curve = result.curve(JPEG_XL)
    points = () if curve is None else curve.points
    point = next((each for each in points if each.setting == REFERENCE_DISTANCE), None)
    if point is None:
        return None
    others = tuple(need for need in needs(result, point.mse) if need.name != JPEG_XL)
    return Reference(point.setting, point.mse, point.bytes_per_image, others)

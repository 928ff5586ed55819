"""The results of the bench, stored as JSON, and conclusions from them. The page and the figure need nothing else.

The bytes that codecs need at the MSE of an archive, or of JPEG XL at its reference distance, are interpolated between
the two nearest measured points in logarithms of bytes (`matching`). Nothing is extrapolated.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from smalti.bench.records import read_json, write_json
from smalti.peers.matching import RatePoint, at_matched

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
"""The setting of JPEG XL for which goals are stated; it is in the codec's ladder."""


@dataclass(frozen=True)
class BaselineCurve:
    """A codec's points on mosaics. codec : its family; `codecs.Codec` describes the four fields after it."""

    codec: str
    name: str
    library: str
    settings: str
    ladder: tuple[float, ...]
    points: tuple[RatePoint, ...]


@dataclass(frozen=True)
class ArchiveResult:
    """An archive of the same images: its bytes, and the quality of its decoded images.

    name : of its file, without the suffix; sha256 : of the file
    header_bytes ... columns_bytes : its parts (`archive.report.SectionBytes`); they sum to archive_bytes
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
        """The file without labels and names, which codecs do not store either."""
        return self.archive_bytes - self.columns_bytes

    @property
    def bytes_per_image(self) -> float:
        """The mean of `bytes_without_columns`, which include the model."""
        return self.bytes_without_columns / self.images


@dataclass(frozen=True)
class BenchResult:
    """Codecs and archives on one set of images.

    pixels_sha256 : of all images in order, uint8 [N, H, W, C] in C order; curves of other images are dropped
    command : the last command that measured; machine : the one that measured the codecs
    mosaic_images : the most images in a mosaic; mosaics : their number
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
        """Return the result with this curve; it replaces one of the same name."""
        others = tuple(each for each in self.curves if each.name != curve.name)
        return replace(self, curves=(*others, curve))

    def with_archive(self, archive: ArchiveResult) -> "BenchResult":
        """Return the result with this archive, which replaces one of the same name. Archives are sorted by bytes."""
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
    """The bytes that a codec needs for a target quality.

    coarsest : True if its coarsest setting is better than the target, so that fewer bytes are impossible
    """

    name: str
    bytes_per_image: float
    coarsest: bool


@dataclass(frozen=True)
class Reference:
    """JPEG XL at its reference distance, and the needs of the other codecs at its MSE, fewest bytes first."""

    distance: float
    mse: float
    bytes_per_image: float
    needs: tuple[Need, ...]


def needs(result: BenchResult, mse: float) -> tuple[Need, ...]:
    """Return the need of each codec that reaches an MSE, fewest bytes first."""
    found = []
    for curve in result.curves:
        matched = at_matched(curve.points, mse=mse)
        if matched is not None:
            found.append(Need(curve.name, matched.bytes_per_image, matched.coarsest))
    return tuple(sorted(found, key=lambda need: need.bytes_per_image))


def best_need(result: BenchResult, mse: float) -> Need | None:
    """Return the smallest need at an MSE; None if no codec reaches it."""
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

"""How close two sets of images are: MSE, PSNR and SSIM of images of 8 or 16 bits, with pixels scaled to [0, 1].

Squared errors are summed in integers, so MSE and PSNR do not depend on the order, the batches or the machine. SSIM is
scikit-image's formula in floating point, on window sums that are integers. `seen` measures what is seen of images with
alpha, besides.

Layer: within `images`, above `batch` and `seen`.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from smalti.images.batch import PIXEL_DTYPES, Pixels, UnsignedPixels
from smalti.images.seen import has_alpha, psnr_db, seen_errors
from smalti.images.signs import to_unsigned

__all__ = [
    "FIRST_IMAGES",
    "SSIM_WINDOW",
    "FirstImages",
    "Quality",
    "QualityMeter",
    "SeenQuality",
    "image_errors",
    "squared_errors",
    "ssim",
]

FIRST_IMAGES = 100  # the images the study reports on
SSIM_WINDOW = 7
_K1, _K2 = 0.01, 0.03
_CHUNK_BYTES = 1 << 18  # pixels at a time: with the integers made of them they fit in a core's cache


@dataclass(frozen=True)
class FirstImages:
    """Quality of the first 100 images, or of all if there are fewer."""

    mse: float
    ssim: float | None


@dataclass(frozen=True)
class SeenQuality:
    """Quality over what is seen of images with alpha (`seen`). Images without alpha in the same set count as they are.

    mse_mean : mean over images; mse_max : that of the worst image
    psnr_db : 10·log10(1 / mse_mean), or None if nothing that is seen differs
    """

    mse_mean: float
    mse_max: float
    psnr_db: float | None


@dataclass(frozen=True)
class Quality:
    """How close images are to their originals. Errors are of values in [0, 1]: pixels times 1/255 or 1/65535.

    mse_mean : mean squared error per sample (pixel and channel) of an image, mean over images
    mse_max : that of the worst image
    psnr_db : 10·log10(1 / mse_mean), or None if all images are equal and it is infinite
    ssim_mean : mean over images of the structural similarity, or None with the reason in `ssim_absent`
    seen : over what is seen, if some images have alpha, else None
    range_psnr_db : for 16 bits, PSNR against the range that the originals fill, from the least to the largest pixel of
        all; None for 8 bits, for a set of both, and where psnr_db is None
    """

    images: int
    mse_mean: float
    mse_max: float
    psnr_db: float | None
    ssim_mean: float | None
    ssim_absent: str | None
    first_100: FirstImages
    seen: SeenQuality | None = None
    range_psnr_db: float | None = None


class QualityMeter:
    """Measures the quality of images batch by batch; memory does not grow with their number.

    Batches may differ in shape and dtype: every image has the same weight.

    with_ssim : whether to measure SSIM as well, which is most of the work
    """

    def __init__(self, with_ssim: bool = True) -> None:
        self._ssim_absent = None if with_ssim else "not asked for"
        self._images = 0
        # exact sums of squared errors: integers, by the unit that stands for an MSE of 1 of images of that shape
        self._squares: Counter[int] = Counter()
        self._first_squares: Counter[int] = Counter()
        self._worst = Fraction(0)
        self._ssim_sum = 0.0
        self._first_ssims: list[float] = []
        self._any_alpha = False
        self._opaque_squares: Counter[int] = Counter()  # as _squares, of images without alpha
        self._seen_sum = self._seen_worst = Fraction(0)  # of float64, whose sum is exact in any order
        self._range: tuple[int, int] | None = None  # of pixels of 16 bits
        self._only_wide = True

    def add(self, original: Pixels, decoded: Pixels) -> None:
        """Add images and their originals, of a dtype of pixels, [n, H, W, C]. ValueError if shapes or dtypes differ."""
        original, decoded = _checked(original, decoded)
        if not len(original):
            return
        if original.dtype == np.uint8:
            self._only_wide = False
        else:
            ends = (int(original.min()), int(original.max()))
            self._range = ends if self._range is None else (min(self._range[0], ends[0]), max(self._range[1], ends[1]))
        samples = math.prod(original.shape[1:])
        if min(original.shape[1:3]) < SSIM_WINDOW:
            size = f"{original.shape[1]}x{original.shape[2]}"
            self._ssim_absent = self._ssim_absent or f"images of {size} are smaller than SSIM's window of 7x7"
        first = max(0, FIRST_IMAGES - self._images)
        step = max(1, _CHUNK_BYTES // samples)
        for start in range(0, len(original), step):
            chunk = slice(start, start + step)
            self._add_chunk(original[chunk], decoded[chunk], max(0, first - start))
        self._images += len(original)

    def _add_chunk(self, original: Pixels, decoded: Pixels, first: int) -> None:
        squares = squared_errors(original, decoded)
        unit = math.prod(original.shape[1:]) * int(np.iinfo(original.dtype).max) ** 2
        self._squares[unit] += int(squares.sum())
        self._worst = max(self._worst, Fraction(int(squares.max()), unit))
        self._first_squares[unit] += int(squares[:first].sum())
        self._add_seen(original, decoded, squares, unit)
        if self._ssim_absent is None:
            values = ssim(original, decoded).tolist()
            self._ssim_sum += math.fsum(values)
            self._first_ssims.extend(values[:first])

    def _add_seen(self, original: Pixels, decoded: Pixels, squares: NDArray[np.int64], unit: int) -> None:
        if has_alpha(original):
            self._any_alpha = True
            errors = [Fraction(error) for error in seen_errors(original, decoded).tolist()]
            self._seen_sum += sum(errors)
            self._seen_worst = max(self._seen_worst, *errors)
        else:
            self._opaque_squares[unit] += int(squares.sum())
            self._seen_worst = max(self._seen_worst, Fraction(int(squares.max()), unit))

    def result(self) -> Quality:
        """The quality of all images so far. ValueError if there are none."""
        if not self._images:
            raise ValueError("no images were compared")
        first = min(FIRST_IMAGES, self._images)
        mse_mean = _mean(self._squares, self._images)
        has_ssim = self._ssim_absent is None
        return Quality(
            images=self._images,
            mse_mean=mse_mean,
            mse_max=float(self._worst),
            psnr_db=-10 * math.log10(mse_mean) if mse_mean else None,
            ssim_mean=self._ssim_sum / self._images if has_ssim else None,
            ssim_absent=self._ssim_absent,
            first_100=FirstImages(
                mse=_mean(self._first_squares, first),
                ssim=math.fsum(self._first_ssims) / first if has_ssim else None,
            ),
            seen=self._seen(),
            range_psnr_db=self._range_psnr(mse_mean),
        )

    def _seen(self) -> SeenQuality | None:
        if not self._any_alpha:
            return None
        opaque = (Fraction(total, unit) for unit, total in self._opaque_squares.items())
        mean = float(sum(opaque, self._seen_sum) / self._images)
        return SeenQuality(mean, float(self._seen_worst), psnr_db(mean))

    def _range_psnr(self, mse_mean: float) -> float | None:
        if self._range is None or not self._only_wide or self._range[0] == self._range[1]:
            return None
        return psnr_db(mse_mean, (self._range[1] - self._range[0]) / int(np.iinfo(np.uint16).max))


def _mean(squares: Mapping[int, int], images: int) -> float:
    """The mean over images of the sums of squared errors. squares : by unit, the sum in that unit"""
    return float(sum((Fraction(total, unit) for unit, total in squares.items()), Fraction(0)) / images)


def squared_errors(original: Pixels, decoded: Pixels) -> NDArray[np.int64]:
    """The exact sum of squared differences of each image, in units of 1/255² or 1/65535².

    original, decoded : uint8, uint16 or int16 [n, H, W, C]; returns int64 [n]
    """
    original, decoded = _checked(original, decoded)
    difference = np.subtract(original, decoded, dtype=_wide(original))
    flat = difference.reshape(len(difference), -1)
    sums: NDArray[np.int64] = (flat * flat).sum(axis=1, dtype=np.int64)
    return sums


def image_errors(original: Pixels, decoded: Pixels) -> NDArray[np.float64]:
    """The mean squared error of each image in [0, 1], over what is seen if it has alpha: what a target in dB is of.

    original, decoded : uint8, uint16 or int16 [n, H, W, C]; returns float64 [n]
    """
    original, decoded = _checked(original, decoded)
    if has_alpha(original):
        return seen_errors(original, decoded)
    unit = math.prod(original.shape[1:]) * int(np.iinfo(original.dtype).max) ** 2
    return squared_errors(original, decoded) / unit


def ssim(original: Pixels, decoded: Pixels) -> NDArray[np.float64]:
    """Structural similarity of each image (Wang, Bovik, Sheikh, Simoncelli 2004).

    original, decoded : uint8, uint16 or int16 [n, H, W, C] with H and W of at least 7; returns float64 [n]

    It is scikit-image's `structural_similarity(a / M, b / M, data_range=1.0, channel_axis=-1)` with M = 255 or 65,535
    and its defaults: flat 7x7 windows that lie inside the image, sample covariances, the mean over windows and
    channels. It equals scikit-image to about 1e-15 and is some 8 times as fast on 28x28 images, because the sums over
    windows are exact integers of many images at once.
    """
    original, decoded = _checked(original, decoded)
    if min(original.shape[1:3]) < SSIM_WINDOW:
        raise ValueError(f"images of {original.shape[1:3]} are smaller than SSIM's window of 7x7")
    largest, wide = int(np.iinfo(original.dtype).max), _wide(original)
    x: NDArray[np.signedinteger] = original.astype(wide)
    y: NDArray[np.signedinteger] = decoded.astype(wide)
    count = SSIM_WINDOW**2
    sum_x, sum_y = _window_sums(x), _window_sums(y)
    # second moments times count², in integers: at most 2 · 49² · 255² < 2^29, and with 65,535 < 2^45
    product = sum_x * sum_y
    squares = sum_x * sum_x + sum_y * sum_y
    covariance = count * _window_sums(x * y) - product
    variances = count * _window_sums(x * x + y * y) - squares
    # means are sum / count and sample covariances (.) / (count · (count - 1)), all in units of 1/largest
    scale = 1.0 / (count * (count - 1))
    c1, c2 = (_K1 * largest) ** 2, (_K2 * largest) ** 2
    numerator = (2.0 / count**2 * product + c1) * (2.0 * scale * covariance + c2)
    denominator = (1.0 / count**2 * squares + c1) * (scale * variances + c2)
    numerator /= denominator
    means: NDArray[np.float64] = numerator.reshape(len(numerator), -1).mean(axis=1)
    return means


def _wide(pixels: Pixels) -> type[np.int32] | type[np.int64]:
    """A dtype that holds the sums of squares of pixels in a window."""
    return np.int32 if pixels.dtype == np.uint8 else np.int64


def _window_sums(values: NDArray[np.signedinteger]) -> NDArray[np.signedinteger]:
    """Sums over all 7x7 windows: integers [n, H, W, C] -> [n, H - 6, W - 6, C]."""
    return _running_sums(_running_sums(values, 1), 2)


def _running_sums(values: NDArray[np.signedinteger], axis: int) -> NDArray[np.signedinteger]:
    """Sums of 7 neighbours along an axis, by adding shifted views: cheaper here than a cumulative sum."""
    length = values.shape[axis] - SSIM_WINDOW + 1
    views = np.moveaxis(values, axis, 0)
    pairs = views[:-1] + views[1:]  # 2 neighbours
    fours = pairs[:-2] + pairs[2:]  # 4
    sums = fours[:length] + pairs[4 : 4 + length] + views[6 : 6 + length]
    return np.moveaxis(sums, 0, axis)


def _checked(original: Pixels, decoded: Pixels) -> tuple[UnsignedPixels, UnsignedPixels]:
    """Return both, unsigned: errors of signed pixels are those of the same steps of 65,535."""
    if original.shape != decoded.shape or original.ndim != 4:
        raise ValueError(f"originals {original.shape} and decoded images {decoded.shape} must be [n, H, W, C]")
    if original.dtype not in PIXEL_DTYPES or decoded.dtype != original.dtype:
        raise ValueError(f"originals {original.dtype} and decoded images {decoded.dtype} must have one dtype of pixels")
    return to_unsigned(original), to_unsigned(decoded)

"""The goal of a fit or of packing, for all kinds of model: one target of quality or size for a whole collection."""

import math
from dataclasses import dataclass

from smalti.errors import UsageError
from smalti.training.common.scaling import PixelScale

__all__ = ["Goal", "mse_of_psnr", "psnr_of_mse"]

MOST_ERROR = (1 << 15) - 1
"""The most that --max-error takes: half of the range of 16 bits."""


def mse_of_psnr(psnr: float) -> float:
    """Return the mean squared error, of pixels scaled to 0..1, for a PSNR in dB; UsageError for an impossible one."""
    if not (math.isfinite(psnr) and psnr > 0):
        raise UsageError(f"a PSNR of {psnr:g} dB cannot be a target: it must be above 0, as 36 is")
    return float(10 ** (-psnr / 10))


def psnr_of_mse(mse: float) -> float:
    """Return the PSNR in dB for a mean squared error of pixels scaled to 0..1; infinite for none."""
    return -10 * math.log10(mse) if mse > 0 else math.inf


@dataclass(frozen=True)
class Goal:
    """The target for a collection: exactly one of `mse`, `ssim`, `archive_bytes` and `max_error`.

    mse : mean squared error over all images, of pixels scaled to 0..1 (by 1/255 or 1/65535)
    ssim : mean structural similarity over all images
    archive_bytes : size of the whole archive, with the best quality for it
    of_range : whether `mse` is of pixels scaled by the collection's own range, as the goals of profiles are. With 8
        bits both are the same
    in_db : whether the user gave the error as a PSNR, so that messages speak in dB
    max_error : how far each sample may be from the original one; 0 is lossless
    """

    mse: float | None = None
    ssim: float | None = None
    archive_bytes: int | None = None
    of_range: bool = False
    in_db: bool = False
    max_error: int | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.mse, self.ssim, self.archive_bytes, self.max_error) if value is not None]
        if len(given) != 1:
            raise UsageError(
                "give one of a target PSNR, a target MSE, a target SSIM, a target of bytes, and a largest error"
            )
        if self.max_error is not None:
            if not 0 <= self.max_error <= MOST_ERROR:
                raise UsageError(f"a largest error of {self.max_error} is outside 0..{MOST_ERROR:,}")
            return
        if not (math.isfinite(given[0]) and given[0] > 0):
            raise UsageError(f"a target of {given[0]} cannot be met: it must be above 0")
        if self.ssim is not None and self.ssim >= 1:
            raise UsageError(f"a mean SSIM of {self.ssim} is out of reach: choose one below 1")

    @classmethod
    def of_psnr(cls, psnr: float) -> "Goal":
        """Return the goal of a PSNR in dB: the mean over the collection is that of the mean squared error."""
        return cls(mse=mse_of_psnr(psnr), in_db=True)

    def unit_mse(self, scale: PixelScale) -> float | None:
        """Return `mse` as an error of the network's values in [0, 1]."""
        return self.mse if self.mse is None or self.of_range else scale.unit_mse(self.mse)

    def words(self) -> str:
        """Return the target in words for a message, such as "a PSNR of 36 dB"."""
        if self.max_error is not None:
            return f"an error of at most {self.max_error} of each sample" if self.max_error else "no loss"
        if self.archive_bytes is not None:
            return f"{self.archive_bytes:,} bytes"
        if self.ssim is not None:
            return f"a mean SSIM of {self.ssim:g}"
        assert self.mse is not None
        return f"a PSNR of {psnr_of_mse(self.mse):.4g} dB" if self.in_db else f"a mean squared error of {self.mse:g}"

    def missed_words(self, mse: float, target: float) -> str:
        """Return in words that a mean squared error is not the target; both of pixels scaled to 0..1."""
        if self.in_db:
            return f"the PSNR is {psnr_of_mse(mse):.2f} dB, not {psnr_of_mse(target):.4g}"
        return f"the mean squared error is {mse:.4g}, not {target:g}"

"""Tokens to samples: a token is the level of a sample, and a table says what each level is."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.layers.integer_network import PixelType
from smalti.decoders.layers.numbers import description_of
from smalti.errors import DamagedArchiveError, ModelError
from smalti.images.batch import Pixels
from smalti.images.seen import ALPHA_CHANNELS
from smalti.lazy import cached_property

if TYPE_CHECKING:
    from smalti.decoders.pixels.mixture_prior import MixturePrior
    from smalti.decoders.pixels.pixel_prior import PixelPrior

__all__ = ["PixelModel"]


class PixelModel:
    """A CellModel whose cells are pixels. Immutable, and safe to use from several threads.

    levels : of each channel, the samples that its levels stand for, ascending    dtype : of the samples
    hides : whether colours are not coded, and decode as 0, where the last channel, alpha, is 0
    limit_bytes : the most bytes that the unpacked numbers of a prior may take
    """

    kind = "pixels"
    cell = 1
    reach = 0

    def __init__(
        self, levels: tuple[NDArray[np.int64], ...], dtype: str, hides: bool, limit_bytes: int = 1 << 28
    ) -> None:
        self.levels, self.hides, self._limit_bytes = levels, hides, limit_bytes
        self._dtype: PixelType = np.dtype(np.uint8) if dtype == "uint8" else np.dtype(np.uint16)
        self.tokens_per_cell = len(levels)

    @property
    def channels(self) -> int:
        """C."""
        return len(self.levels)

    @property
    def dtype(self) -> PixelType:
        """Of the samples."""
        return self._dtype

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha, which is coded first."""
        return self.channels in ALPHA_CHANNELS

    @property
    def order(self) -> list[int]:
        """The channels in coding order."""
        return [self.channels - 1, *range(self.channels - 1)] if self.has_alpha else list(range(self.channels))

    @cached_property
    def seen(self) -> list[NDArray[np.float32]]:
        """What the prior sees of each level of each channel: its share of the range of levels, whole numbers 0..255."""
        return [_shares(values) for values in self.levels]

    def decode(self, tokens: NDArray[np.uint16], grids: NDArray[np.int64], threads: int) -> list[Pixels]:
        """The pixels [rows, columns, C] of each picture. tokens : uint16 [pixels, C]; DamagedArchiveError"""
        samples = np.empty(tokens.shape, self.dtype)
        for channel, values in enumerate(self.levels):
            if tokens.size and int(tokens[:, channel].max()) >= len(values):
                raise DamagedArchiveError(f"a token is no level of channel {channel}")
            samples[:, channel] = values.astype(self.dtype)[tokens[:, channel]]
        if self.hides:
            samples[samples[:, -1] == 0] = 0
        bounds = np.cumsum(grids.prod(axis=1))[:-1]
        parts = np.split(samples, bounds) if len(grids) else []
        return [part.reshape(rows, columns, -1) for part, (rows, columns) in zip(parts, grids.tolist(), strict=True)]

    def read_prior(self, data: bytes) -> "PixelPrior | MixturePrior":
        """The prior of the tokens, from its payload; DamagedArchiveError, LimitExceededError."""
        counts = [len(self.levels[channel]) for channel in self.order]
        try:
            if "components" in description_of(data, "prior"):
                from smalti.decoders.pixels.mixture_packing import unpack_mixture_prior  # noqa: PLC0415
                from smalti.decoders.pixels.mixture_prior import MixturePrior  # noqa: PLC0415

                return MixturePrior(unpack_mixture_prior(data, counts, self._limit_bytes), self)
            from smalti.decoders.pixels.pixel_packing import unpack_prior  # noqa: PLC0415
            from smalti.decoders.pixels.pixel_prior import PixelPrior  # noqa: PLC0415

            return PixelPrior(unpack_prior(data, counts, self._limit_bytes), self)
        except ModelError as error:
            raise DamagedArchiveError(f"prior: {error}") from error

    def to_bytes(self) -> bytes:
        """The packed levels."""
        from smalti.decoders.pixels.pixel_packing import pack_levels  # noqa: PLC0415

        return pack_levels(self.levels, self.hides)


def _shares(values: NDArray[np.int64]) -> NDArray[np.float32]:
    width = max(1, int(values[-1] - values[0]))
    return np.asarray((values - values[0]) * 255 // width, np.float32)

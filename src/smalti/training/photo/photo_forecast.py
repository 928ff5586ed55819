"""What a collection will take with `photo`, without a fit; and with it the choice of the kind of its tokens."""

from dataclasses import dataclass

from smalti.images.source import SizedSource
from smalti.training.cells.forecast import Forecast
from smalti.training.pixels.pixel_forecast import forecast_pixels
from smalti.training.transform.forecast import forecast
from smalti.training.transform.survey import survey
from smalti.training.transform.transform_settings import TransformSettings

__all__ = ["PhotoForecast", "forecast_photo"]

_SLOWER_PAYS = 0.95
"""Pixels are decoded more slowly, so they are taken only if they are foretold to be smaller by this."""


@dataclass(frozen=True)
class PhotoForecast:
    """What a collection takes as a transform, and as pixels."""

    transform: Forecast
    pixels: Forecast

    @property
    def takes_pixels(self) -> bool:
        """Whether pixels are the better kind."""
        return self.pixels.archive_bytes < _SLOWER_PAYS * self.transform.archive_bytes

    @property
    def chosen(self) -> Forecast:
        """The forecast of the better kind."""
        return self.pixels if self.takes_pixels else self.transform

    def words(self) -> str:
        """Return the choice in one line."""
        kinds = (("pixels", self.pixels), ("transform", self.transform))
        (kind, best), (_, other) = kinds if self.takes_pixels else kinds[::-1]
        return (
            f"tokens of the kind {kind}: about {best.archive_bytes:,} bytes are foretold, and {other.archive_bytes:,} "
            f"with the other kind"
        )


def forecast_photo(source: SizedSource, settings: TransformSettings) -> PhotoForecast:
    """Forecast both kinds at the quality of the goal. SourceError if no image can be read."""
    start = survey(source, settings, brief=True)
    return PhotoForecast(forecast(source, settings, start), forecast_pixels(source, start.mse, settings.effort))
